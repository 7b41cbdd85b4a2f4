//! Where the server listens, changed while it runs; what a new connection has of its listener.
//!
//! With one worker that worker accepts, with more the main thread does: every test runs with both.

use std::net::TcpStream;

use crate::client::Client;
use crate::harness::{PATIENCE, Server, eventually, free_port};

const THREADS: [&str; 2] = ["1", "3"];

fn is_refused(port: u16) -> bool {
    let connected = TcpStream::connect(("127.0.0.1", port));
    connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn assert_serves(port: u16) {
    let client = Client::tcp_with_timeout(("127.0.0.1", port), PATIENCE);
    let mut client = client.unwrap_or_else(|error| panic!("connecting to {port}: {error}"));
    assert_eq!(client.raw(&["PING"]), b"+PONG\r\n");
}

/// Moves through several ports, the last time onto one that is taken.
fn moves(server: &Server) {
    let mut control = server.connect();
    let mut bystander = server.connect();
    let mut port = server.port;
    for round in 0..3 {
        let next = free_port();
        let reply = control.raw(&["CONFIG", "SET", "port", &next.to_string()]);
        assert_eq!(reply, b"+OK\r\n", "{} round {round}", server.name);
        // Nobody waits for the old one to go.
        assert!(is_refused(port), "{} round {round}", server.name);
        assert_serves(next);
        port = next;
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let number = taken.local_addr().expect("its number").port().to_string();
    let reply = control.raw(&["CONFIG", "SET", "port", &number]);
    let error = "-ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this port";
    assert!(reply.starts_with(error.as_bytes()), "{reply:?}");
    assert_serves(port);
    // The address alone moves away and back.
    for (address, refused) in [("127.0.0.2", true), ("127.0.0.1 127.0.0.2", false)] {
        let reply = control.raw(&["CONFIG", "SET", "bind", address]);
        assert_eq!(reply, b"+OK\r\n", "{} {address}", server.name);
        assert_eq!(is_refused(port), refused, "{} {address}", server.name);
    }
    assert_serves(port);
    assert_eq!(bystander.raw(&["PING"]), b"+PONG\r\n");
}

#[test]
fn the_port_and_the_addresses_change_while_clients_stay() {
    for threads in THREADS {
        moves(&Server::kivi(&["--io-threads", threads]));
    }
    if let Some(valkey) = Server::valkey(&[]) {
        moves(&valkey);
    }
}

#[test]
fn without_a_port_nobody_connects_until_there_is_one_again() {
    for threads in THREADS {
        let server = Server::kivi(&["--io-threads", threads]);
        let mut control = server.connect();
        assert_eq!(control.raw(&["CONFIG", "SET", "port", "0"]), b"+OK\r\n");
        assert!(is_refused(server.port));
        let port = server.port.to_string();
        assert_eq!(control.raw(&["CONFIG", "SET", "port", &port]), b"+OK\r\n");
        assert_serves(server.port);
    }
}

/// Seconds until the server's end of a connection asks whether its peer is alive; `None` if it never will.
/// <https://www.kernel.org/doc/Documentation/networking/proc_net_tcp.txt>
fn keepalive_secs(server: &Server, peer: u16) -> Option<u64> {
    let ends = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let mut port = || u16::from_str_radix(words.next()?.rsplit(':').next()?, 16).ok();
        (port(), port())
    };
    // The timer of a reply that is not yet confirmed comes first.
    eventually("the connection to be at rest", || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
        let line = table
            .lines()
            .find(|line| ends(line) == (Some(server.port), Some(peer)))?;
        let timer = line.split_whitespace().nth(5).expect("a timer");
        match timer.split_once(':').expect("its kind and its time") {
            ("00", _) => Some(None),
            ("02", ticks) => Some(Some(u64::from_str_radix(ticks, 16).expect("ticks") / 100)),
            _ => None,
        }
    })
}

#[test]
fn new_connections_have_the_keepalive_of_the_moment() {
    for threads in THREADS {
        let server = Server::kivi(&["--io-threads", threads]);
        let mut control = server.connect();
        for (secs, expected) in [("300", 290..=300), ("0", 0..=0), ("1000", 990..=1000)] {
            let set = ["CONFIG", "SET", "tcp-keepalive", secs];
            assert_eq!(control.raw(&set), b"+OK\r\n");
            // The first one was in the listener's queue before it learnt of the change.
            for _ in 0..3 {
                let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connecting");
                let port = stream.local_addr().expect("its port").port();
                let mut client = Client::over(Box::new(stream));
                assert_eq!(client.raw(&["PING"]), b"+PONG\r\n");
                let got = keepalive_secs(&server, port).unwrap_or(0);
                assert!(
                    expected.contains(&got),
                    "{threads} threads, {secs}: {got} s"
                );
            }
        }
    }
}
