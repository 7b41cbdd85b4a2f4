//! Listening on `metrics-port`, and the thread that serves what is accepted there.
//!
//! Accepting is done on the main runtime, which never waits for shards, so that CONFIG SET can close an
//! address and open another one whatever the thread is doing; the thread is started with the first listener.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::commands::CommandTable;
use crate::config::{BindAddress, Config};
use crate::server::Server;

use super::serve;

/// Pause after an `accept` that failed, so that a lasting fault does not burn a processor.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Length of the listen queue: more do not come at once.
const BACKLOG: i32 = 64;

/// A connection that was just accepted, and whose it is.
pub(super) type Accepted = (TcpStream, SocketAddr);

/// See the module's text.
pub struct Portal {
    server: Arc<Server>,
    table: Arc<CommandTable>,
    accepted: OnceLock<mpsc::UnboundedSender<Accepted>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Binds what the configuration names; nothing if the port is 0. An address that is not there is no error
/// when it is optional.
pub fn bind(config: &Config) -> io::Result<Vec<TcpListener>> {
    let (port, mut bound) = (config.metrics_port, Vec::new());
    if port == 0 {
        return Ok(bound);
    }
    for address in &config.metrics_bind {
        match bind_address(address, port) {
            Ok(listeners) => bound.extend(listeners),
            Err(error) if address.optional && is_missing(&error) => {}
            Err(error) => {
                let text = format!(
                    "Could not create metrics listening socket {}:{port}: bind: {error}",
                    address.address
                );
                return Err(io::Error::new(error.kind(), text));
            }
        }
    }
    Ok(bound)
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT)
    )
}

fn bind_address(address: &BindAddress, port: u16) -> io::Result<Vec<TcpListener>> {
    let addresses: Vec<SocketAddr> = match address.address.as_str() {
        "*" => vec![(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port).into()],
        "::*" => vec![(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port).into()],
        host => (host, port).to_socket_addrs()?.collect(),
    };
    addresses.into_iter().map(listen).collect()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Portal {
    /// One that does not listen yet.
    pub fn new(server: Arc<Server>, table: Arc<CommandTable>) -> Arc<Portal> {
        Arc::new(Portal {
            server,
            table,
            accepted: OnceLock::new(),
            tasks: Mutex::default(),
        })
    }

    /// Accepts on these from now on. On a tokio runtime.
    ///
    /// # Errors
    /// When the thread that serves cannot be started.
    pub fn listen(&self, bound: Vec<TcpListener>) -> io::Result<()> {
        for listener in bound {
            let accepted = self.thread()?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let task = tokio::spawn(async move { accept(&listener, &accepted).await });
            self.tasks.lock().push(task);
        }
        Ok(())
    }

    /// Stops accepting; the sockets are closed when this returns.
    pub async fn stop(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
    }

    /// The way to the thread that serves, which is started if there is none yet. It ends with the portal.
    fn thread(&self) -> io::Result<mpsc::UnboundedSender<Accepted>> {
        if let Some(accepted) = self.accepted.get() {
            return Ok(accepted.clone());
        }
        let (accepted, inbox) = mpsc::unbounded_channel();
        let (server, table) = (self.server.clone(), self.table.clone());
        std::thread::Builder::new()
            .name("kivi-http".into())
            .spawn(move || serve::run(server, table, inbox))?;
        Ok(self.accepted.get_or_init(|| accepted).clone())
    }
}

async fn accept(listener: &tokio::net::TcpListener, accepted: &mpsc::UnboundedSender<Accepted>) {
    loop {
        let next = listener.accept().await;
        match next.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            // When the thread has ended the server does, too.
            Ok(stream) => drop(accepted.send(stream)),
            Err(error) => {
                tracing::debug!("Accepting a connection for monitoring: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
