//! Connections of one worker share its buffers; nothing of one may ever reach another.

use std::time::{Duration, Instant};

use crate::client::encode;
use crate::harness::Server;

/// A connection that is cut off with replies unsent leaves them to nobody.
#[test]
fn replies_of_a_connection_that_was_cut_off_reach_no_other() {
    let server = Server::kivi(&["--io-threads", "1"]);
    for _ in 0..20 {
        let mut victim = server.connect();
        let mut cut_off = server.connect();
        let mut requests = encode(&["SET", "k", "secret"]);
        requests.extend(encode(&["GET", "k"]));
        requests.extend(encode(&["POST", "/"]));
        cut_off.send(&requests);
        let _ = cut_off.read_to_close();
        assert_eq!(victim.raw(&["PING"]).0, b"+PONG\r\n");
    }
}

/// As in Redis, the reply of DEBUG SLEEP comes after the sleep, and so do those of everyone else.
#[test]
fn debug_sleep_answers_when_it_is_over() {
    let server = Server::kivi(&["--enable-debug-command", "yes", "--io-threads", "2"]);
    let mut sleeper = server.connect();
    let started = Instant::now();
    assert_eq!(sleeper.raw(&["DEBUG", "SLEEP", "0.3"]).0, b"+OK\r\n");
    assert!(started.elapsed() >= Duration::from_millis(300));
    sleeper.send(&encode(&["DEBUG", "SLEEP", "0.2"]));
    assert_eq!(sleeper.raw(&["PING"]).0, b"+OK\r\n");
    assert_eq!(sleeper.read().0.0, b"+PONG\r\n");
}

/// So it does when replies wait for the log.
#[test]
fn debug_sleep_answers_when_it_is_over_with_a_log_too() {
    let log = ["--appendonly", "yes", "--appendfsync", "always"];
    let args = ["--enable-debug-command", "yes"];
    let server = Server::kivi(&[args, [log[0], log[1]], [log[2], log[3]]].concat());
    let mut sleeper = server.connect();
    let requests = [
        encode(&["SET", "a", "b"]),
        encode(&["DEBUG", "SLEEP", "0.5"]),
    ];
    let started = Instant::now();
    sleeper.send(&requests.concat());
    assert_eq!(sleeper.read().0.0, b"+OK\r\n");
    assert_eq!(sleeper.read().0.0, b"+OK\r\n");
    assert!(started.elapsed() >= Duration::from_millis(500));
}
