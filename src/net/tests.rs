//! Workers and connections over real sockets, in the process: moving from worker to worker under
//! load, and stopping whatever connections are waiting for.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::listener::is_of_one_client;
use super::parcel::Parcel;
use super::stream::Socket;
use super::tls::Session;
use super::worker::{self, Crew};
use crate::client::{Client, Endpoint, Shared, Signal};
use crate::commands::CommandTable;
use crate::config;
use crate::server::{Lifecycle, Server};
use crate::tls;
use crate::util::clock::Clock;

mod durable;
mod outbox;
mod records;
mod sessions;
mod waits;

/// Far above what anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server with workers and no listener.
struct House {
    server: Arc<Server>,
    crew: Arc<Crew>,
    threads: Vec<JoinHandle<()>>,
}

impl House {
    fn new(workers: usize) -> House {
        let args = ["--enable-debug-command", "yes"].map(Into::into);
        let Ok(config::Invocation::Run(sources)) = config::parse(args, []) else {
            panic!("no run")
        };
        let (store, _) = config::load(&sources).unwrap();
        let server = Arc::new(Server::new(store, Clock::real()));
        let table = Arc::new(CommandTable::new(&[]).unwrap());
        server.enter(Lifecycle::Running);
        let (crew, threads) = worker::start(workers, &server, &table).unwrap();
        House {
            server,
            crew,
            threads,
        }
    }

    /// Both ends of a new connection that starts on the first worker.
    fn connect(&self) -> (TcpStream, Arc<Shared>) {
        self.connect_by(Socket::Tcp)
    }

    /// The same with TLS, which begins with the first byte that is sent.
    fn connect_tls(&self) -> (StreamOwned<ClientConnection, TcpStream>, Arc<Shared>) {
        if self.server.tls.context().is_none() {
            self.server.tls.configure(&tls_config()).unwrap();
        }
        let context = self.server.tls.context().unwrap();
        let (peer, shared) = self.connect_by(|accepted| {
            let session = Session::new(&context).unwrap();
            Socket::Tls(accepted, Box::new(session))
        });
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(tls::probe(&tls_config()).unwrap(), name).unwrap();
        (StreamOwned::new(client, peer), shared)
    }

    fn connect_by(&self, socket: impl FnOnce(TcpStream) -> Socket) -> (TcpStream, Arc<Shared>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.set_nodelay(true).unwrap();
        let (accepted, addr) = listener.accept().unwrap();
        accepted.set_nonblocking(true).unwrap();
        let endpoint = Endpoint {
            addr: addr.to_string(),
            laddr: String::new(),
            local: true,
            unix: false,
        };
        let socket = socket(accepted);
        let now_ms = self.server.clock.unix_ms();
        let shared = self.server.clients.connect(endpoint, socket.fd(), now_ms);
        let client = Client::new(shared.clone(), &self.server.acl);
        self.crew.send(0, Parcel::new(socket, client));
        (peer, shared)
    }

    /// Tells everyone to stop, as `boot` does, and waits for the workers.
    fn stop(self) {
        self.server.enter(Lifecycle::Stopping);
        let clients = self.server.clients.all();
        clients.iter().for_each(|client| client.raise(Signal::Kill));
        wait_for("the workers to end", || {
            self.threads.iter().all(JoinHandle::is_finished)
        });
        for thread in self.threads {
            thread.join().unwrap();
        }
        assert!(self.server.clients.is_empty(), "somebody is still listed");
    }
}

/// Directives of a server that shows the certificate of `tls`'s tests.
fn tls_config() -> Arc<config::Config> {
    let file = |name: &str| format!("{}/src/tls/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    let args = [
        "--tls-port",
        "1",
        "--tls-cert-file",
        &file("server.crt"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-auth-clients",
        "no",
    ];
    let Ok(config::Invocation::Run(sources)) = config::parse(args.map(Into::into), []) else {
        panic!("no run")
    };
    config::load(&sources).unwrap().0.config()
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "did not happen: {what}");
        thread::yield_now();
    }
}

/// Requests and the exact bytes of their replies; `count` is what the client's counter stands at.
fn batch(name: usize, round: usize, count: &mut usize) -> (Vec<u8>, Vec<u8>) {
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for n in 0..1 + round % 40 {
        *count += 1;
        let echo = format!("{name}-{round}-{n}");
        requests.extend(format!("INCR counter{name}\r\nECHO {echo}\r\n").into_bytes());
        replies.extend(format!(":{count}\r\n${}\r\n{echo}\r\n", echo.len()).into_bytes());
    }
    if round.is_multiple_of(16) {
        // More than a socket takes at once, so that replies wait.
        let long = "x".repeat(3_000_000);
        let set = format!("*3\r\n$3\r\nSET\r\n$7\r\nlong:{name:02}\r\n$3000000\r\n{long}\r\n");
        requests.extend(set.into_bytes());
        requests.extend(format!("GET long:{name:02}\r\n").into_bytes());
        replies.extend(format!("+OK\r\n$3000000\r\n{long}\r\n").into_bytes());
    }
    (requests, replies)
}

#[test]
fn connections_lose_nothing_on_their_way_between_workers() {
    lose_nothing(|house| {
        let (peer, shared) = house.connect();
        (Box::new(peer), shared)
    });
}

#[test]
fn nor_do_those_with_tls() {
    lose_nothing(|house| {
        let (peer, shared) = house.connect_tls();
        (Box::new(peer), shared)
    });
}

/// The client's end of a connection.
trait Peer: Read + Write + Send {}
impl<T: Read + Write + Send> Peer for T {}

fn lose_nothing(connect: impl Fn(&House) -> (Box<dyn Peer>, Arc<Shared>)) {
    const WORKERS: usize = 3;
    // So many that short replies are sent together.
    const CLIENTS: usize = 24;
    const ROUNDS: usize = 34;
    const MOVES: usize = 50;
    let house = House::new(WORKERS);
    let moves: Vec<AtomicUsize> = (0..CLIENTS).map(|_| AtomicUsize::new(0)).collect();
    let pairs: Vec<_> = (0..CLIENTS).map(|_| connect(&house)).collect();
    let shared: Vec<_> = pairs.iter().map(|(_, shared)| shared.clone()).collect();
    let running = AtomicUsize::new(CLIENTS);
    thread::scope(|scope| {
        for (name, (mut peer, _)) in pairs.into_iter().enumerate() {
            let (moves, running) = (&moves[name], &running);
            scope.spawn(move || {
                struct Done<'a>(&'a AtomicUsize);
                impl Drop for Done<'_> {
                    fn drop(&mut self) {
                        self.0.fetch_sub(1, Ordering::Relaxed);
                    }
                }
                let _done = Done(running);
                let (start, mut count, mut round) = (Instant::now(), 0, 0);
                while round < ROUNDS || moves.load(Ordering::Relaxed) < MOVES {
                    assert!(start.elapsed() < PATIENCE, "it hardly moves");
                    let (requests, expected) = batch(name, round, &mut count);
                    // In two pieces: the first ends within a request.
                    let (first, second) = requests.split_at(requests.len() * 2 / 3);
                    peer.write_all(first).unwrap();
                    peer.write_all(second).unwrap();
                    let mut replies = vec![0; expected.len()];
                    peer.read_exact(&mut replies).unwrap();
                    assert!(replies == expected, "client {name}, round {round}");
                    round += 1;
                }
            });
        }
        let mut last = [0; CLIENTS];
        while running.load(Ordering::Relaxed) > 0 {
            for (name, client) in shared.iter().enumerate() {
                let worker = client.worker.load(Ordering::Relaxed);
                if worker != last[name] {
                    last[name] = worker;
                    moves[name].fetch_add(1, Ordering::Relaxed);
                }
                client
                    .move_to
                    .store((worker + 1) % WORKERS, Ordering::Relaxed);
                client.raise(Signal::Move);
            }
            thread::yield_now();
        }
    });
    wait_for("all connections to end", || house.server.clients.is_empty());
    wait_for("the crew's count of connections to agree", || {
        (0..WORKERS).all(|worker| house.crew.connections(worker) == 0)
    });
    house.stop();
}

#[test]
fn who_does_not_shake_hands_is_given_up() {
    let house = House::new(1);
    let (mut silent, _) = house.connect_tls();
    let (mut slow, _) = house.connect_tls();
    // The beginning of a record, and no more.
    slow.sock.write_all(&[22, 3, 1, 2]).unwrap();
    let (mut fine, _) = house.connect_tls();
    fine.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    fine.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    wait_for("the others to be given up", || {
        house.server.clients.len() == 1
    });
    for lost in [&mut silent, &mut slow] {
        assert_eq!(lost.sock.read(&mut answer).unwrap(), 0);
    }
    fine.write_all(b"PING\r\n").unwrap();
    fine.read_exact(&mut answer).unwrap();
    house.stop();
}

#[test]
fn a_killed_connection_ends_wherever_it_is() {
    let house = House::new(3);
    for round in 0..200 {
        let (mut peer, shared) = house.connect();
        peer.write_all(b"PING\r\n").unwrap();
        shared.move_to.store(1 + round % 2, Ordering::Relaxed);
        shared.raise(Signal::Move);
        if round % 3 == 0 {
            wait_for("the move", || shared.worker.load(Ordering::Relaxed) != 0);
        }
        shared.raise(Signal::Kill);
        let mut rest = Vec::new();
        // The request may be answered, or the connection be reset with it unread.
        if peer.read_to_end(&mut rest).is_ok() {
            assert!(rest.is_empty() || rest == b"+PONG\r\n");
        }
    }
    wait_for("all connections to end", || house.server.clients.is_empty());
    house.stop();
}

#[test]
fn a_stop_ends_connections_that_wait() {
    let house = House::new(2);
    let send = |line: &str| {
        let (mut peer, shared) = house.connect();
        peer.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        (peer, shared)
    };
    let idle = house.connect();
    let (mut pauser, _) = send("CLIENT PAUSE 1000000000 WRITE");
    let mut ok = [0; 5];
    pauser.read_exact(&mut ok).unwrap();
    assert_eq!(&ok, b"+OK\r\n");
    let paused = send("SET key value");
    let is_paused = || paused.1.paused.load(Ordering::Relaxed);
    wait_for("the pause", is_paused);
    // The second sleeper waits for the first, and what comes after a sleep does not run any more.
    let sleepers = [
        send("DEBUG SLEEP 1000000000\r\nCLIENT SETNAME late"),
        send("DEBUG SLEEP 1e300\r\nDEBUG SLEEP 1000000000"),
    ];
    wait_for("the sleep", || house.server.keyspace.gate.is_closed());
    let behind = send("PING");
    let was_read = || behind.1.net_in_bytes.load(Ordering::Relaxed) > 0;
    wait_for("the request behind the gate", was_read);
    // A peer that has said half a request, and one with a long way to go.
    let half = send("*3\r\n$3\r\nSET\r\n$100");
    house.stop();
    assert!(sleepers[0].1.names.lock().name.is_empty());
    // With requests unread the peer learns of it by a reset, else by the end.
    for mut peer in [idle.0, paused.0, pauser, half.0] {
        let mut rest = String::new();
        let _ = peer.read_to_string(&mut rest);
        assert_eq!(rest, "");
    }
    // The gate may have opened before this one was told to stop.
    let (mut behind, mut rest) = (behind.0, String::new());
    let _ = behind.read_to_string(&mut rest);
    assert!(["", "+PONG\r\n"].contains(&&*rest), "{rest}");
}

#[test]
fn errors_of_one_connection_hold_nobody_up() {
    let alone = |number| is_of_one_client(&io::Error::from_raw_os_error(number));
    assert!([libc::ECONNABORTED, libc::EPROTO, libc::EPERM].map(alone) == [true; 3]);
    assert!([libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EINVAL].map(alone) == [false; 4]);
}

#[test]
fn a_request_is_unfinished_until_its_last_byte_and_only_then_anybody_waits_for_it() {
    let house = House::new(1);
    let (mut peer, shared) = house.connect();
    let is_unfinished = || shared.unfinished_since_ms.load(Ordering::Relaxed) > 0;
    let mut reply = [0; 7];
    // One by one, and the end of it with the beginning of the next.
    for byte in b"*1\r\n$4\r\nPING\r" {
        peer.write_all(&[*byte]).unwrap();
        wait_for("half a request", is_unfinished);
    }
    peer.write_all(b"\nPI").unwrap();
    peer.read_exact(&mut reply).unwrap();
    wait_for("half a request", is_unfinished);
    peer.write_all(b"NG\r\n").unwrap();
    peer.read_exact(&mut reply).unwrap();
    wait_for("the end of it", || !is_unfinished());
    // Whoever is blocked may have begun what he sends next.
    peer.write_all(b"BLPOP nothing 0\r\nPIN").unwrap();
    let held = || shared.query_buffer_bytes.load(Ordering::Relaxed);
    wait_for("the wait", || shared.is_blocked() && held() == 3);
    assert!(!is_unfinished());
    assert!(shared.unblock(crate::db::Outcome::TimedOut));
    wait_for("half a request", is_unfinished);
    drop(peer);
    house.stop();
}

#[test]
fn new_connections_are_taken_a_few_at_a_time_and_all_of_them() {
    let house = House::new(1);
    let one = [(&b"max-new-connections-per-cycle"[..], &b"1"[..])];
    house.server.set_config(&one, false, false).unwrap();
    let peers: Vec<_> = (0..100).map(|_| house.connect().0).collect();
    for mut peer in peers {
        let mut reply = [0; 7];
        peer.write_all(b"PING\r\n").unwrap();
        peer.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+PONG\r\n");
    }
    house.stop();
}
