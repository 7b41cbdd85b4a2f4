//! Listeners: bind, accept, admit or refuse, hand over to a worker.
//!
//! A TCP connection takes three steps, each a function: `Acceptor::arrive` (accepted; if a trusted proxy has opened it,
//! its header says whose it is), `Acceptor::greet` (whose it is, is known: it becomes a `Socket`), and `admit` (it
//! becomes a client). To add a kind of connection: a variant of [`Kind`], and its arm in `greet`.
//!
//! An error of `accept` never ends a listener: one that concerns the accepted connection alone is passed over, whatever
//! else fails for the moment is tried again after a pause, and when no file descriptor is left a reserved one is given up
//! for an instant, so that the client learns of it.

use std::fs::File;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, SockAddr, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::client::{Client, Endpoint, Signal};
use crate::config::{BindAddress, Config};
use crate::server::{Lifecycle, Server};
use crate::sys::listen::{self, Listener};
use crate::sys::{files, process};
use crate::util::seldom::Seldom;

use super::balance::Balance;
use super::last_words::{BROKEN_HEADER, PROTECTED, TOO_MANY};
use super::parcel::Parcel;
use super::stream::Socket;
use super::tls::Session;
use super::worker::Crew;

use proxy::{Broken, Origin};
use rate::Cycle;

pub mod proxy;
pub(super) mod rate;

/// Pause after an `accept` that failed, so that a lasting fault does not burn a processor.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Time between two lines of the log about strangers that do not speak the PROXY protocol, milliseconds.
const BROKEN_HEADER_LOG_MS: u64 = 1000;

/// A bound socket.
pub enum Bound {
    /// TCP.
    Tcp(TcpListener),
    /// TCP with TLS.
    Tls(TcpListener),
    /// Unix domain.
    Unix(UnixListener),
}

impl Bound {
    fn kind(&self) -> Kind {
        match self {
            Bound::Tcp(_) => Kind::Tcp,
            Bound::Tls(_) => Kind::Tls,
            Bound::Unix(_) => Kind::Unix,
        }
    }
}

/// Binds everything that the configuration names. An address that is not there is no error when it is optional.
pub fn bind(config: &Config) -> io::Result<Vec<Bound>> {
    let mut bound = bind_tcp(config)?;
    bound.extend(bind_tls(config)?);
    if let Some(path) = &config.unixsocket {
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                format!("Could not create unix socket {}: {error}", path.display()),
            )
        };
        bound.push(Bound::Unix(bind_unix(path, config).map_err(named)?));
    }
    Ok(bound)
}

/// Binds the TCP addresses of plain connections.
pub fn bind_tcp(config: &Config) -> io::Result<Vec<Bound>> {
    let listeners = bind_port(config.port, config)?;
    Ok(listeners.into_iter().map(Bound::Tcp).collect())
}

/// Binds those of connections with TLS.
pub fn bind_tls(config: &Config) -> io::Result<Vec<Bound>> {
    let listeners = bind_port(config.tls_port, config)?;
    Ok(listeners.into_iter().map(Bound::Tls).collect())
}

fn bind_port(port: u16, config: &Config) -> io::Result<Vec<std::net::TcpListener>> {
    let addresses = config.bind.iter().map(BindAddress::parts);
    listen::bind_port("server TCP", addresses, port, config.tcp_backlog)
}

/// Whether a server that runs has this socket: it would not be reached there any more.
fn is_listened_at(path: &Path) -> io::Result<bool> {
    let probe = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    let connected = probe.connect(&socket2::SockAddr::unix(path)?);
    // With a full queue it is said to be tried again.
    Ok(connected.map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |()| true))
}

/// A unix socket that has its final rights before anyone can connect: it is bound without rights for others, given its
/// rights, and only then listens.
fn bind_unix(path: &Path, config: &Config) -> io::Result<std::os::unix::net::UnixListener> {
    if is_listened_at(path)? {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let _ = std::fs::remove_file(path);
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    if let Some(group) = &config.unixsocketgroup {
        let unknown =
            || io::Error::new(io::ErrorKind::NotFound, format!("unknown group '{group}'"));
        files::set_group(path, files::group_id(group)?.ok_or_else(unknown)?)?;
    }
    if config.unixsocketperm != 0 {
        files::set_permissions(path, config.unixsocketperm)?;
    }
    socket.listen(config.tcp_backlog.min(i32::MAX as u32) as i32)?;
    Ok(socket.into())
}

/// Accepts connections on bound sockets and gives them to the workers.
pub struct Acceptor {
    server: Arc<Server>,
    crew: Arc<Crew>,
    balance: Arc<Balance>,
    spare: Mutex<Option<File>>,
    tasks: Mutex<Vec<Listening>>,
    /// Connections whose header has not come yet.
    arriving: AtomicUsize,
    broken_header_log: Seldom,
}

/// What a listener accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// TCP.
    Tcp,
    /// TCP with TLS.
    Tls,
    /// Unix domain.
    Unix,
}

/// A task that accepts.
struct Listening {
    kind: Kind,
    socket: Arc<dyn AsFd + Send + Sync>,
    task: JoinHandle<()>,
}

impl Listening {
    /// Ends it without waiting for its thread, which may be the one that runs the CONFIG SET that asks for this: who
    /// connects from now on is refused, and the address is free.
    fn stop(self) {
        self.task.abort();
        let _ = SockRef::from(&self.socket.as_fd()).shutdown(Shutdown::Both);
    }
}

impl Acceptor {
    /// An acceptor without listeners.
    pub fn new(server: Arc<Server>, crew: Arc<Crew>, balance: Arc<Balance>) -> Arc<Acceptor> {
        let spare = Mutex::new(File::open("/dev/null").ok());
        Arc::new(Acceptor {
            server,
            crew,
            balance,
            spare,
            tasks: Mutex::default(),
            arriving: AtomicUsize::new(0),
            broken_header_log: Seldom::new(BROKEN_HEADER_LOG_MS),
        })
    }

    /// Accepts on `bound` from now on. On a tokio runtime; a single worker accepts itself, and need not be woken for a
    /// connection.
    pub fn listen(self: &Arc<Self>, bound: Vec<Bound>) -> io::Result<()> {
        for listener in bound {
            let acceptor = self.clone();
            let kind = listener.kind();
            let runtime = self.crew.only_runtime().unwrap_or_else(Handle::current);
            let _watches = runtime.enter();
            let (socket, task): (Arc<dyn AsFd + Send + Sync>, _) = match listener {
                Bound::Tcp(listener) | Bound::Tls(listener) => {
                    let options = Options::of(&self.server.config());
                    options.set(&listener);
                    let listener = Arc::new(listen::watch(listener)?);
                    let socket = listener.clone();
                    let accept = async move { acceptor.accept_tcp(&listener, options, kind).await };
                    (socket, runtime.spawn(accept))
                }
                Bound::Unix(listener) => {
                    let listener = Arc::new(listen::watch(listener)?);
                    let socket = listener.clone();
                    let accept = async move { acceptor.accept_unix(&listener).await };
                    (socket, runtime.spawn(accept))
                }
            };
            let listening = Listening { kind, socket, task };
            self.tasks.lock().push(listening);
        }
        Ok(())
    }

    /// Stops accepting; connections stay.
    pub fn stop(&self) {
        self.stop_where(|_| true);
    }

    /// Stops accepting what is of this kind.
    pub fn stop_kind(&self, kind: Kind) {
        self.stop_where(|listening| listening.kind == kind);
    }

    fn stop_where(&self, mut which: impl FnMut(&Listening) -> bool) {
        let mut tasks = self.tasks.lock();
        let stopped = tasks.extract_if(.., |listening| which(listening));
        stopped.for_each(Listening::stop);
    }

    /// Accepted sockets have the `options` of their listener, which spares a connection five calls to the system.
    async fn accept_tcp(
        self: &Arc<Self>,
        listener: &AsyncFd<TcpListener>,
        mut options: Options,
        kind: Kind,
    ) {
        let mut cycle = Cycle::default();
        // Those that came while the listener had other options are still in its queue.
        let mut queue_is_older = false;
        loop {
            let accepted = accepted(listener, || queue_is_older = false).await;
            cycle.take(self.most_in_a_turn(kind)).await;
            let wanted = Options::of(&self.server.config());
            if wanted != options {
                wanted.set(listener.get_ref());
                (options, queue_is_older) = (wanted, true);
            }
            match accepted {
                Ok((fd, peer)) => {
                    let stream = std::net::TcpStream::from(fd);
                    if queue_is_older {
                        options.set(&stream);
                    }
                    // A peer of a TCP socket has such an address.
                    if let Some(peer) = peer.as_socket() {
                        self.arrive(stream, peer, kind);
                    }
                }
                Err(error) => self.after_error(&error, listener).await,
            }
        }
    }

    /// How many connections of a kind are taken in one turn.
    fn most_in_a_turn(&self, kind: Kind) -> u32 {
        let config = self.server.config();
        match kind {
            Kind::Tls => config.max_new_tls_connections_per_cycle,
            Kind::Tcp | Kind::Unix => config.max_new_connections_per_cycle,
        }
    }

    async fn accept_unix(&self, listener: &AsyncFd<UnixListener>) {
        let mut cycle = Cycle::default();
        loop {
            let accepted = accepted(listener, || ()).await;
            cycle.take(self.most_in_a_turn(Kind::Unix)).await;
            match accepted {
                Ok((fd, _)) => {
                    let path = self.server.config().unixsocket.clone().unwrap_or_default();
                    let addr = format!("{}:0", path.display());
                    let endpoint = Endpoint {
                        laddr: addr.clone(),
                        addr,
                        local: true,
                        unix: true,
                    };
                    self.admit(Socket::Unix(fd.into()), endpoint);
                }
                Err(error) => self.after_error(&error, listener).await,
            }
        }
    }

    /// Tells why `accept` failed. Without file descriptors the waiting client would hang: the reserved one is given up
    /// for as long as it takes to accept and close.
    async fn after_error(&self, error: &io::Error, listener: &impl AsFd) {
        if is_of_one_client(error) {
            return tracing::debug!("Accepting client connection: {error}");
        }
        tracing::warn!("Accepting client connection: {error}");
        if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            drop(self.spare.lock().take());
            let _ = SockRef::from(listener).accept();
            *self.spare.lock() = File::open("/dev/null").ok();
            self.server
                .stats
                .connections_rejected
                .fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(ACCEPT_RETRY).await;
    }

    /// A connection was accepted: whose is it?
    fn arrive(self: &Arc<Self>, stream: std::net::TcpStream, peer: SocketAddr, kind: Kind) {
        let config = self.server.config();
        let trusted = &config.proxy_protocol_trusted;
        if !trusted.iter().any(|network| network.contains(peer.ip())) {
            let endpoint = own_endpoint(&stream, peer);
            return self.greet(stream, endpoint, kind);
        }
        // Each has a file descriptor, as a client has.
        if self.is_full(&config) {
            self.count_refused();
            if kind != Kind::Tls {
                Socket::Tcp(stream).write_last_word(TOO_MANY);
            }
            return;
        }
        self.arriving.fetch_add(1, Ordering::Relaxed);
        let acceptor = self.clone();
        tokio::spawn(async move {
            let arrived = acceptor.await_header(stream, peer).await;
            acceptor.arriving.fetch_sub(1, Ordering::Relaxed);
            match arrived {
                Some((stream, endpoint)) => acceptor.greet(stream, endpoint, kind),
                None => acceptor.count_refused(),
            }
        });
    }

    /// A trusted proxy has opened the connection: its header comes first.
    async fn await_header(
        &self,
        stream: std::net::TcpStream,
        peer: SocketAddr,
    ) -> Option<(std::net::TcpStream, Endpoint)> {
        let own = own_endpoint(&stream, peer);
        let mut stream = tokio::net::TcpStream::from_std(stream).ok()?;
        let why = match proxy::read(&mut stream).await {
            Ok(origin) => return Some((stream.into_std().ok()?, endpoint_of(origin, own))),
            Err(Broken::Silent) => return None,
            Err(Broken::Lost(error)) => {
                tracing::debug!("Reading a PROXY protocol header: {error}");
                return None;
            }
            Err(Broken::Malformed(why)) => why,
            Err(Broken::Late) => "it did not come in time",
        };
        let now_ms = self.server.clock.unix_ms();
        if self.broken_header_log.passes(now_ms) {
            tracing::warn!(
                "Bad PROXY protocol header from {}: {why}. Connection refused.",
                own.addr
            );
        }
        proxy::refuse(stream, BROKEN_HEADER).await;
        None
    }

    /// It is known whose the connection is.
    fn greet(&self, stream: std::net::TcpStream, endpoint: Endpoint, kind: Kind) {
        let socket = match kind {
            Kind::Tls => match self.begin_tls(stream) {
                Some(socket) => socket,
                None => return,
            },
            Kind::Tcp | Kind::Unix => Socket::Tcp(stream),
        };
        self.admit(socket, endpoint);
    }

    /// Gives a connection what its handshake needs.
    fn begin_tls(&self, stream: std::net::TcpStream) -> Option<Socket> {
        let context = self.server.tls.context()?;
        match Session::new(&context) {
            Ok(session) => Some(Socket::Tls(stream, Box::new(session))),
            Err(error) => {
                tracing::warn!("Error accepting a client connection: {error}");
                None
            }
        }
    }

    /// Whether as many are connected as may be.
    fn is_full(&self, config: &Config) -> bool {
        let connected = self.server.clients.len() + self.arriving.load(Ordering::Relaxed);
        connected >= config.maxclients as usize
    }

    /// Counts a connection that becomes no client.
    fn count_refused(&self) {
        let stats = &self.server.stats;
        stats.connections_received.fetch_add(1, Ordering::Relaxed);
        stats.connections_rejected.fetch_add(1, Ordering::Relaxed);
    }

    fn admit(&self, socket: Socket, endpoint: Endpoint) {
        let server = &self.server;
        let config = server.config();
        if server.lifecycle() >= Lifecycle::Stopping {
            return;
        }
        if self.is_full(&config) {
            self.count_refused();
            return socket.write_last_word(TOO_MANY);
        }
        // With TLS they are told so after the handshake.
        if !socket.is_tls() && is_turned_away(server, &endpoint) {
            self.count_refused();
            return socket.write_last_word(PROTECTED);
        }
        let stats = &server.stats;
        stats.connections_received.fetch_add(1, Ordering::Relaxed);
        let shared = server
            .clients
            .connect(endpoint, socket.fd(), server.clock.unix_ms());
        // Whoever stops the server may have gone through the clients before this one was among them. Who is among them,
        // or sees that it stops: one of both has happened first.
        if server.lifecycle() >= Lifecycle::Stopping {
            shared.raise(Signal::Kill);
        }
        let client = Client::new(shared, &server.acl);
        self.crew
            .send(self.balance.place(), Parcel::new(socket, client));
    }
}

/// Whether a stranger comes to a server that is protected from strangers.
pub(super) fn is_turned_away(server: &Server, endpoint: &Endpoint) -> bool {
    // As Valkey asks: a user `default` that is off, but has no password, is no protection.
    let is_open = server.acl.default_user().rights().nopass;
    server.config().protected_mode && is_open && !endpoint.local
}

/// Counts one.
pub(super) fn count_turned_away(server: &Server) {
    let rejected = &server.stats.connections_rejected;
    rejected.fetch_add(1, Ordering::Relaxed);
}

/// An error of the connection that `accept` took from the queue: it has gone, and the next one has
/// nothing to do with it. Nobody has to wait for it.
pub(super) fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENONET
                | libc::ENOPROTOOPT
        )
    )
}

/// Options that each TCP connection has.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Options {
    /// 0: none.
    keepalive_secs: u32,
}

impl Options {
    fn of(config: &Config) -> Options {
        Options {
            keepalive_secs: config.tcp_keepalive_secs,
        }
    }

    /// Gives them to a connection, or to a listener, from which connections have them.
    fn set(self, socket: &impl AsFd) {
        let socket = SockRef::from(socket);
        let _ = socket.set_tcp_nodelay(true);
        if self.keepalive_secs == 0 {
            let _ = socket.set_keepalive(false);
            return;
        }
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(self.keepalive_secs.into()))
            .with_interval(Duration::from_secs((self.keepalive_secs / 3).max(1).into()))
            .with_retries(3);
        let _ = socket.set_tcp_keepalive(&keepalive);
    }
}

/// What the connection itself says of its ends.
fn own_endpoint(stream: &std::net::TcpStream, peer: SocketAddr) -> Endpoint {
    Endpoint {
        addr: show(peer),
        laddr: stream.local_addr().map(show).unwrap_or_default(),
        local: peer.ip().to_canonical().is_loopback(),
        unix: false,
    }
}

/// What a proxy says of a connection's ends, whose own are `own`. Local is what comes from the proxy's own machine, if
/// that is ours: anybody's loopback addresses look alike.
fn endpoint_of(origin: Origin, own: Endpoint) -> Endpoint {
    match origin {
        Origin::Proxy | Origin::Unix => own,
        Origin::Unknown => Endpoint {
            local: false,
            ..own
        },
        Origin::Tcp {
            source,
            destination,
        } => Endpoint {
            addr: show(source),
            laddr: show(destination),
            local: own.local && source.ip().to_canonical().is_loopback(),
            unix: false,
        },
    }
}

/// `1.2.3.4:5` or `[::1]:5`, as CLIENT LIST shows it.
fn show(address: SocketAddr) -> String {
    let ip = address.ip().to_canonical();
    SocketAddr::new(ip, address.port()).to_string()
}

/// Waits for the next connection; `on_empty` learns that none waits. Not tokio's own listener, which has its runtime watch
/// what it has accepted, only to be told at once that the connection goes to another one's.
async fn accepted<L: Listener>(
    listener: &AsyncFd<L>,
    mut on_empty: impl FnMut(),
) -> io::Result<(OwnedFd, SockAddr)> {
    loop {
        let mut ready = listener.readable().await?;
        match ready.try_io(|listener| listen::accept(listener.get_ref())) {
            Ok(result) => return result,
            Err(_) => on_empty(),
        }
    }
}

/// Tells when the listen queue is shorter than `tcp-backlog` asks for.
pub fn warn_of_short_backlog(config: &Config) {
    if let Some(somaxconn) = process::somaxconn()
        && somaxconn < config.tcp_backlog
    {
        tracing::warn!(
            "The TCP backlog setting of {} cannot be enforced because /proc/sys/net/core/somaxconn is set to the \
             lower value of {somaxconn}.",
            config.tcp_backlog
        );
    }
}
