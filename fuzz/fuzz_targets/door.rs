//! What stands in front of a client's requests: PROXY headers, TLS, certificates, and what TLS is
//! configured with.
//!
//! - A header means the same however it is cut, and not a byte behind it is taken.
//! - Bytes that are no TLS end the connection; with a client that speaks it, what is written comes out at
//!   the other end, however records are cut, and a record that was changed on the way ends it.
//! - Certificates, keys and lists of ciphers are accepted or refused.
//!
//! The first byte chooses which.
#![no_main]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use kivi::config::{self, Config, Invocation, TlsAuthClientsUser};
use kivi::net::listener::proxy::{self, Origin};
use kivi::net::tls::{Session, TlsStream};
use kivi::tls::{self, Tls};
use kivi_fuzz::Input;
use libfuzzer_sys::fuzz_target;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
    );
}

fn directives(others: &[(&str, &str)]) -> Arc<Config> {
    let data = |name: &str| format!("{}/../src/tls/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut args = vec![
        ("tls-port", "1".to_owned()),
        ("tls-cert-file", data("server.crt")),
        ("tls-key-file", data("server.key")),
        ("tls-auth-clients", "no".to_owned()),
    ];
    args.extend(
        others
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    let args = args
        .into_iter()
        .flat_map(|(name, value)| [format!("--{name}").into(), value.into()]);
    let Ok(Invocation::Run(sources)) = config::parse(args, []) else {
        panic!("no run")
    };
    config::load(&sources).expect("a configuration").0.config()
}

static CONFIG: LazyLock<Arc<Config>> = LazyLock::new(|| directives(&[]));

static TLS: LazyLock<Tls> = LazyLock::new(|| {
    let tls = Tls::default();
    tls.configure(&CONFIG).expect("a context");
    tls
});

static CLIENTS: LazyLock<Arc<ClientConfig>> =
    LazyLock::new(|| tls::probe(&CONFIG).expect("a client's configuration"));

/// Two ends of a connection; that it is none of TCP's nobody here can tell.
fn pair() -> (UnixStream, TcpStream) {
    let (peer, socket) = UnixStream::pair().expect("a pair of sockets");
    socket.set_nonblocking(true).expect("a socket");
    let socket = std::net::TcpStream::from(OwnedFd::from(socket));
    (peer, TcpStream::from_std(socket).expect("a runtime"))
}

/// Reads a header of which so many bytes come at a time; what it says, and what is left behind it.
async fn header(bytes: &[u8], cut: usize) -> Option<(Origin, Vec<u8>)> {
    let (mut peer, mut socket) = pair();
    // All of it is read while it is written, or the socket closed: it takes only so many pieces that nobody reads.
    let reading = async move {
        let origin = proxy::read(&mut socket).await.ok()?;
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.ok()?;
        Some((origin, rest))
    };
    let writing = async {
        for piece in bytes.chunks(cut) {
            if peer.write_all(piece).is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(peer);
    };
    let (read, ()) = tokio::join!(reading, writing);
    read
}

async fn check_header(cut: usize, bytes: &[u8]) {
    let whole = header(bytes, bytes.len().max(1)).await;
    let pieces = header(bytes, cut).await;
    assert_eq!(whole, pieces);
    if let Some((_, rest)) = whole {
        assert!(bytes.ends_with(&rest) && rest.len() < bytes.len());
    }
}

/// The server's end, polled by hand.
struct Server(TlsStream);

impl Server {
    fn new(socket: TcpStream) -> Server {
        let context = TLS.context().expect("a context");
        let session = Session::new(&context).expect("a session");
        Server(TlsStream::new(socket, Box::new(session)))
    }

    /// What can be read now; `None` when the connection has ended.
    fn read(&mut self, room: usize) -> Option<Vec<u8>> {
        let mut cx = Context::from_waker(Waker::noop());
        if !self.0.is_established() {
            match self.0.poll_handshake(&mut cx) {
                Poll::Pending => return Some(Vec::new()),
                Poll::Ready(Err(_)) => return None,
                Poll::Ready(Ok(())) => {}
            }
        }
        let mut bytes = vec![0; room];
        let mut buf = ReadBuf::new(&mut bytes);
        match Pin::new(&mut self.0).poll_read(&mut cx, &mut buf) {
            Poll::Pending => Some(Vec::new()),
            Poll::Ready(Ok(())) if buf.filled().is_empty() => None,
            Poll::Ready(Ok(())) => Some(buf.filled().to_vec()),
            Poll::Ready(Err(_)) => None,
        }
    }
}

/// Lets the runtime see what the sockets have.
async fn settle() {
    tokio::task::yield_now().await;
    tokio::time::sleep(std::time::Duration::ZERO).await;
}

async fn strangers(cut: usize, bytes: &[u8]) {
    let (mut peer, socket) = pair();
    let mut server = Server::new(socket);
    for piece in bytes.chunks(cut) {
        peer.write_all(piece).expect("room for a piece");
        settle().await;
        match server.read(100) {
            Some(plain) => assert!(plain.is_empty()),
            None => return,
        }
    }
    drop(peer);
    settle().await;
    while let Some(plain) = server.read(100) {
        assert!(plain.is_empty());
        settle().await;
    }
}

/// A client and a server who understand each other, until somebody meddles.
struct Talk {
    client: ClientConnection,
    peer: UnixStream,
    server: Server,
    /// What was written at one end and is to be read at the other: the client's, the server's.
    sent: [Vec<u8>; 2],
    /// How much of it was.
    read: [usize; 2],
    is_broken: bool,
    is_over: bool,
}

impl Talk {
    fn new() -> Talk {
        let (peer, socket) = pair();
        peer.set_nonblocking(true).expect("a socket");
        let name = ServerName::try_from("localhost").expect("a name");
        Talk {
            client: ClientConnection::new(CLIENTS.clone(), name).expect("a client"),
            peer,
            server: Server::new(socket),
            sent: Default::default(),
            read: [0; 2],
            is_broken: false,
            is_over: false,
        }
    }

    /// Moves the client's records to the server, `cut` bytes at a time, one of them changed by `meddle`.
    async fn forth(&mut self, cut: usize, meddle: Option<u8>, room: usize) {
        let mut records = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut records).expect("memory");
        }
        if let Some(at) = meddle.filter(|_| !records.is_empty()) {
            let at = usize::from(at) % records.len();
            records[at] ^= 1 << (at % 8);
            self.is_broken = true;
        }
        for piece in records.chunks(cut) {
            if self.is_over || self.peer.write_all(piece).is_err() {
                return;
            }
            self.receive(room).await;
        }
        self.receive(room).await;
    }

    async fn receive(&mut self, room: usize) {
        loop {
            settle().await;
            let Some(plain) = self.server.read(room) else {
                assert!(self.is_broken, "it ends though nobody has meddled");
                self.is_over = true;
                return;
            };
            if plain.is_empty() {
                return;
            }
            let expected = &self.sent[0][self.read[0]..];
            assert!(
                expected.starts_with(&plain),
                "the server reads what the client has written"
            );
            self.read[0] += plain.len();
        }
    }

    /// Moves the server's records to the client.
    fn back(&mut self) {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = self.peer.read(&mut bytes) {
            let mut rest = &bytes[..read];
            while !rest.is_empty() {
                if self.client.read_tls(&mut rest).is_err()
                    || self.client.process_new_packets().is_err()
                {
                    assert!(self.is_broken, "the client understands the server");
                    self.is_over = true;
                    return;
                }
            }
        }
        let mut plain = Vec::new();
        let _ = self.client.reader().read_to_end(&mut plain);
        let expected = &self.sent[1][self.read[1]..];
        assert!(
            self.is_broken || expected.starts_with(&plain),
            "the client reads what was written"
        );
        self.read[1] += plain.len();
    }

    fn write(&mut self, bytes: &[u8], times: usize) {
        let bytes = bytes.repeat(times);
        let Ok(written) = self.server.0.try_write(&bytes) else {
            return;
        };
        self.sent[1].extend_from_slice(&bytes[..written]);
    }
}

async fn talk(input: &mut Input<'_>) {
    let mut talk = Talk::new();
    for _ in 0..4 {
        let cut = 1 + usize::from(input.short() % 600);
        talk.forth(cut, None, 100).await;
        talk.back();
    }
    assert!(talk.server.0.is_established() && !talk.client.is_handshaking());
    while !input.0.is_empty() && !talk.is_over {
        let choice = input.byte();
        let (cut, room) = (
            1 + usize::from(input.byte()) * 8,
            1 + usize::from(input.short() % 5000),
        );
        let len = input.below(40);
        let bytes = input.bytes(len);
        let times = 1 << (choice >> 5);
        match choice % 8 {
            0..3 => {
                let plain = bytes.repeat(times * 4);
                let written = talk.client.writer().write(&plain).unwrap_or(0);
                talk.sent[0].extend_from_slice(&plain[..written]);
                talk.forth(cut, None, room).await;
            }
            3 => {
                let _ = talk.client.refresh_traffic_keys();
                talk.forth(cut, None, room).await;
            }
            4 => talk.forth(cut, Some(choice), room).await,
            _ if talk.server.0.is_established() => {
                talk.write(bytes, times);
                talk.back();
            }
            _ => {}
        }
    }
    if !talk.is_broken {
        assert_eq!(talk.read[0], talk.sent[0].len(), "everything has arrived");
        talk.back();
        assert_eq!(talk.read[1], talk.sent[1].len(), "everything has arrived");
    }
    talk.server.0.say_goodbye();
}

fn certificate(der: &[u8]) {
    for field in [TlsAuthClientsUser::CommonName, TlsAuthClientsUser::Uri] {
        for name in tls::identities(der, field) {
            assert!(!tls::may_be_user(&name) || !name.contains(&0));
        }
    }
}

fn configure(name: &str, value: &[u8]) {
    let Ok(value) = std::str::from_utf8(value) else {
        return;
    };
    if value.contains('\0') {
        return;
    }
    let args = [format!("--{name}").into(), value.into()];
    let Ok(Invocation::Run(mut sources)) = config::parse(args, []) else {
        return;
    };
    let data = |name: &str| {
        format!("{}/../src/tls/testdata/{name}", env!("CARGO_MANIFEST_DIR")).into_bytes()
    };
    for (name, value) in [
        ("tls-port", b"1".to_vec()),
        ("tls-cert-file", data("server.crt")),
        ("tls-key-file", data("server.key")),
        ("tls-auth-clients", b"no".to_vec()),
    ] {
        sources.args.push((name.into(), vec![value]));
    }
    if let Ok((store, _)) = config::load(&sources) {
        let _ = Tls::default().configure(&store.config());
    }
}

/// A file of a certificate or a key.
fn pem(is_key: bool, text: &[u8]) {
    let _ = match is_key {
        true => tls::pem::private_key(text, b"secret").map(drop),
        false => tls::pem::certificates(text).map(drop),
    };
}

fuzz_target!(|data: &[u8]| {
    let [choice, rest @ ..] = data else { return };
    let cut = 1 + usize::from(choice >> 3);
    RUNTIME.with_borrow(|runtime| {
        runtime.block_on(async {
            match choice % 8 {
                0 | 1 => check_header(cut, rest).await,
                2 => strangers(cut * 8, rest).await,
                3 => talk(&mut Input(rest)).await,
                4 => certificate(rest),
                5 => configure("tls-ciphers", rest),
                6 => configure("tls-ciphersuites", rest),
                _ => pem(choice & 8 != 0, rest),
            }
        });
    });
});
