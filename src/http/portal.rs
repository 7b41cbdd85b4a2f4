//! Listening on `metrics-port`, and the thread that serves what is accepted there.
//!
//! Accepting is done on the main runtime, which never waits for shards, so that CONFIG SET can close an
//! address and open another one whatever the thread is doing; the thread is started with the first listener.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::commands::CommandTable;
use crate::config::{BindAddress, Config};
use crate::server::Server;
use crate::sys::listen;

use super::serve;

/// Pause after an `accept` that failed, so that a lasting fault does not burn a processor.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// Length of the listen queue: more do not come at once.
const BACKLOG: u32 = 64;
/// How many connections wait for the thread besides those that `accept` holds: the others wait in the
/// kernel, where they take no file descriptor.
const WAITING_MAX: usize = 1;

/// A connection that was just accepted, and whose it is.
pub(super) type Accepted = (TcpStream, SocketAddr);

/// See the module's text.
pub struct Portal {
    server: Arc<Server>,
    table: Arc<CommandTable>,
    accepted: OnceLock<mpsc::Sender<Accepted>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// Binds what the configuration names; nothing if the port is 0. An address that is not there is no error
/// when it is optional.
pub fn bind(config: &Config) -> io::Result<Vec<TcpListener>> {
    let addresses = config.metrics_bind.iter().map(BindAddress::parts);
    listen::bind_port("metrics", addresses, config.metrics_port, BACKLOG)
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
    fn thread(&self) -> io::Result<mpsc::Sender<Accepted>> {
        if let Some(accepted) = self.accepted.get() {
            return Ok(accepted.clone());
        }
        let (accepted, inbox) = mpsc::channel(WAITING_MAX);
        let (server, table) = (self.server.clone(), self.table.clone());
        std::thread::Builder::new()
            .name("kivi-http".into())
            .spawn(move || serve::run(server, table, inbox))?;
        Ok(self.accepted.get_or_init(|| accepted).clone())
    }
}

async fn accept(listener: &tokio::net::TcpListener, accepted: &mpsc::Sender<Accepted>) {
    loop {
        let next = listener.accept().await;
        match next.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            // When the thread has ended the server does, too.
            Ok(stream) => drop(accepted.send(stream).await),
            Err(error) => {
                tracing::debug!("Accepting a connection for monitoring: {error}");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
