//! Clients that wait for a key while CLIENT PAUSE holds commands back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Other, Waiter, pipeline, with_threads};
use crate::harness::Server;

#[test]
fn pauses_hold_pushes_back_and_not_timeouts() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut waiter = Waiter::on(server, &mut other, "BLPOP k 0");
        let mut pusher = Waiter::new(server);
        other.expect("CLIENT PAUSE 60000 WRITE", "+OK\r\n");
        pusher.client.send(&pipeline(&["RPUSH k x"]));
        let mut late = Waiter::new(server);
        late.client.send(&pipeline(&["BLPOP k 0"]));
        for _ in 0..20 {
            other.expect("EXISTS k", ":0\r\n");
        }
        other.expect("CLIENT UNPAUSE", "+OK\r\n");
        assert_eq!(pusher.client.read().1.int(), 1);
        assert_eq!(waiter.next(), "[k x]");
        late.wait_until_blocked(&mut other, "BLPOP k 0");
        other.expect("RPUSH k y", ":1\r\n");
        assert_eq!(late.next(), "[k y]");
    });
}

/// As in Valkey: who could have been served runs his command again behind the pause.
#[test]
fn nobody_is_served_in_a_pause() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut first = Waiter::on(server, &mut other, "BLPOP k 0");
        let mut killed = Waiter::on(server, &mut other, "BLPOP k 0");
        let mut second = Waiter::on(server, &mut other, "BLPOP k 0");
        let lines = ["MULTI", "RPUSH k x y", "CLIENT PAUSE 600000 WRITE", "EXEC"];
        first.client.send(&pipeline(&["PING", "GET none"]));
        for line in lines {
            other.raw(line);
        }
        for _ in 0..20 {
            other.expect("EXISTS k", ":1\r\n");
        }
        other.expect(&format!("CLIENT KILL ID {}", killed.id), ":1\r\n");
        assert_eq!(killed.client.read_to_close().expect("the end"), b"");
        other.expect("CLIENT UNPAUSE", "+OK\r\n");
        let served = BTreeSet::from([first.next(), second.next()]);
        assert_eq!(served, ["[k x]", "[k y]"].map(str::to_owned).into());
        assert_eq!([first.next(), first.next()], ["PONG", "nil"]);
        other.expect("EXISTS k", ":0\r\n");
    });
}

#[test]
fn a_timeout_falls_due_in_a_pause() {
    let server = Server::kivi(&[]);
    let mut other = Other::of(&server);
    let mut short = Waiter::on(&server, &mut other, "BLPOP k 0.3");
    let pause = Instant::now();
    // Long enough for a slow machine; nobody waits for its end.
    other.expect("CLIENT PAUSE 20000 ALL", "+OK\r\n");
    assert_eq!(short.next(), "nil");
    assert!(pause.elapsed() < Duration::from_secs(20));
}

/// As in Valkey; nobody waits for the end of the pause.
#[test]
fn who_is_killed_in_a_pause_goes_at_once() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut waiter = Waiter::on(server, &mut other, "BLPOP k 0");
        let mut pusher = Waiter::new(server);
        other.expect("CLIENT PAUSE 600000 WRITE", "+OK\r\n");
        pusher.client.send(&pipeline(&["RPUSH k x"]));
        for client in [&mut waiter, &mut pusher] {
            other.expect(&format!("CLIENT KILL ID {}", client.id), ":1\r\n");
            assert_eq!(client.client.read_to_close().expect("the end"), b"");
        }
        other.expect("CLIENT UNPAUSE", "+OK\r\n");
        other.expect("EXISTS k", ":0\r\n");
    });
}
