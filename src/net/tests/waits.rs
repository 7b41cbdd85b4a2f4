//! Connections that wait: who is killed or goes meanwhile, and what goes on.

use super::*;
use crate::client::inbox::Push;
use crate::client::pause::{PauseBy, PauseMode};

/// Longer than any test takes.
const LONG_MS: u64 = 1_000_000_000;

impl House {
    fn pause(&self) {
        let now_ms = self.server.clock.unix_ms();
        let (by, mode) = (PauseBy::Client, PauseMode::Write);
        self.server.pause.start(by, mode, now_ms + LONG_MS, now_ms);
    }

    /// A client that has sent this.
    fn sends(&self, requests: &str) -> (TcpStream, Arc<Shared>) {
        let (mut peer, shared) = self.connect();
        peer.write_all(requests.replace('\n', "\r\n").as_bytes())
            .unwrap();
        (peer, shared)
    }
}

fn is_paused(shared: &Shared) -> bool {
    shared.paused.load(Ordering::Relaxed)
}

/// Reads to the end, which may be a reset: not all that was sent was read.
fn until_end(peer: &mut TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match peer.read_to_end(&mut rest) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("no end: {error}"),
        _ => rest,
    }
}

type IsThere = fn(&Shared) -> bool;

/// Kills each of these clients again and again, as soon as it is where it is to be.
fn kill_all(house: &House, waits: &[(&str, IsThere)]) {
    for turn in 0..20 {
        for (requests, is_there) in waits {
            let (mut peer, shared) = house.sends(requests);
            wait_for(requests, || is_there(&shared));
            if turn % 2 == 1 {
                // What it sends is read, or not any more.
                peer.write_all(b"PING\r\nPING\r\n").unwrap();
            }
            shared.raise(Signal::Kill);
            until_end(&mut peer);
        }
    }
    wait_for("all to be gone", || house.server.clients.is_empty());
}

#[test]
fn whatever_a_client_waits_for_it_can_be_killed() {
    let has_sent: IsThere = |shared| shared.net_in_bytes.load(Ordering::Relaxed) > 0;
    let house = House::new(2);
    let waits: [(&str, IsThere); 7] = [
        ("", |_| true),
        ("*3\n$3\nSET\n$1\nk\n$100\nhalf", has_sent),
        ("BLPOP nothing 0\nSET behind 1\n", Shared::is_blocked),
        ("XREAD BLOCK 0 STREAMS s $\n", Shared::is_blocked),
        ("SUBSCRIBE c\nPSUBSCRIBE p\n", Shared::is_subscriber),
        ("HELLO 3\nCLIENT TRACKING ON\nGET k\n", has_sent),
        ("WATCH k\nMULTI\nSET k 1\n", |shared| {
            shared.transaction.get().is_some()
        }),
    ];
    kill_all(&house, &waits);
    house.pause();
    let waits: [(&str, IsThere); 3] = [
        ("SET k 1\n", is_paused),
        ("BLPOP nothing 0\nGET k\n", is_paused),
        ("MULTI\nSET k 1\nEXEC\nPING\n", is_paused),
    ];
    kill_all(&house, &waits);
    house.stop();
}

#[test]
fn who_sleeps_or_stands_at_the_gate_can_be_killed() {
    let house = House::new(1);
    let gate = &house.server.keyspace.gate;
    let (mut sleeper, sleeping) = house.sends("DEBUG SLEEP 1000000000\nPING\n");
    wait_for("the sleep", || gate.is_closed());
    let (mut behind, waiting) = house.sends("PING\nPING\n");
    let was_read = || waiting.net_in_bytes.load(Ordering::Relaxed) > 0;
    wait_for("the request behind the gate", was_read);
    waiting.raise(Signal::Kill);
    assert_eq!(until_end(&mut behind), b"");
    sleeping.raise(Signal::Kill);
    until_end(&mut sleeper);
    wait_for("the gate to open", || !gate.is_closed());
    house.stop();
}

#[test]
fn who_goes_while_his_write_waits_for_the_end_of_a_pause_has_not_written() {
    let house = House::new(1);
    house.pause();
    let (peer, shared) = house.sends("SET gone 1\nSET gone 2\n");
    let (mut stays, waiting) = house.sends("SET here 1\n");
    wait_for("both to wait", || is_paused(&shared) && is_paused(&waiting));
    drop(peer);
    wait_for("the end of one", || house.server.clients.len() == 1);
    // What is sent meanwhile is done afterwards.
    stays.write_all(b"EXISTS gone here\r\n").unwrap();
    house.server.pause.end(PauseBy::Client);
    let mut replies = [0; 9];
    stays.read_exact(&mut replies).unwrap();
    assert_eq!(&replies, b"+OK\r\n:1\r\n");
    house.stop();
}

#[test]
fn what_was_answered_before_a_pause_is_sent_during_it() {
    const BYTES: usize = 64 << 20;
    let house = House::new(1);
    let (mut peer, shared) = house.sends(&format!("SETRANGE big {} x\n", BYTES - 1));
    let mut reply = vec![0; format!(":{BYTES}\r\n").len()];
    peer.read_exact(&mut reply).unwrap();
    house.pause();
    peer.write_all(b"GET big\r\nSET k 1\r\n").unwrap();
    wait_for("the write to wait", || is_paused(&shared));
    let mut reply = vec![0; format!("${BYTES}\r\n\r\n").len() + BYTES];
    peer.read_exact(&mut reply).unwrap();
    assert!(reply.ends_with(b"x\r\n") && is_paused(&shared));
    house.server.pause.end(PauseBy::Client);
    let mut ok = [0; 5];
    peer.read_exact(&mut ok).unwrap();
    assert_eq!(&ok, b"+OK\r\n");
    house.stop();
}

/// Messages that come between the look into the inbox and the look at the signals are no order to move.
#[test]
fn messages_move_nobody() {
    const MESSAGES: usize = 100_000;
    let house = House::new(2);
    let (mut peer, shared) = house.connect();
    shared.move_to.store(1, Ordering::Relaxed);
    shared.raise(Signal::Move);
    wait_for("the move", || shared.worker.load(Ordering::Relaxed) == 1);
    shared.move_to.store(0, Ordering::Relaxed);
    let message = Arc::new(b"+m\r\n".to_vec());
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..MESSAGES {
                let push = Push::Raw(message.clone());
                house.server.clients.post(&shared, push);
            }
        });
        let mut all = vec![0; MESSAGES * message.len()];
        peer.read_exact(&mut all).unwrap();
    });
    assert_eq!(shared.worker.load(Ordering::Relaxed), 1);
    house.stop();
}

#[test]
fn protocol_errors_are_told_to_those_who_want_replies() {
    let house = House::new(1);
    let error = "-ERR Protocol error: invalid multibulk length\r\n";
    for (requests, reply) in [
        ("*x\n", error),
        ("CLIENT REPLY OFF\n*x\n", ""),
        ("CLIENT REPLY SKIP\n*x\n", ""),
        ("CLIENT REPLY SKIP\nPING\n*x\n", error),
    ] {
        let (mut peer, _) = house.sends(requests);
        assert_eq!(until_end(&mut peer), reply.as_bytes(), "{requests}");
    }
    house.stop();
}

/// Others would wait for it to take what they have for it, and it does not any more.
#[test]
fn nobody_has_anything_for_a_client_that_has_had_its_last_reply() {
    // More than sockets hold, so that the last replies wait for who does not read.
    const BYTES: usize = 24 << 20;
    let house = House::new(1);
    for asks in ["CLIENT TRACKING ON BCAST", "MONITOR", "PING"] {
        let (peer, shared) = house.sends(&format!(
            "HELLO 3\nSUBSCRIBE c\nSETRANGE big {} x\nGET big\n{asks}\nQUIT\n",
            BYTES - 1
        ));
        let has_subscribed = || shared.commands.load(Ordering::Relaxed) >= 3;
        wait_for(asks, || has_subscribed() && !shared.is_subscriber());
        assert_eq!(house.server.tracking.client_count(), 0);
        assert!(!shared.is_monitor.load(Ordering::Relaxed));
        // As one does who names it in CLIENT TRACKING REDIRECT.
        let push = Push::Raw(Arc::new(vec![b'm'; 1 << 20]));
        house.server.clients.post(&shared, push);
        assert_eq!(shared.inbox_bytes.load(Ordering::Relaxed), 0);
        assert!(!shared.is_crowded());
        drop(peer);
    }
    house.stop();
}

/// What a served command has read is older than what comes behind it: a client that keeps copies would keep it for ever.
#[test]
fn the_reply_of_a_blocked_client_stands_among_messages_where_it_was_given() {
    let house = House::new(1);
    let (mut reader, shared) = house.sends("HELLO 3\nSUBSCRIBE c\n");
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"subscribe\r\n$1\r\nc\r\n:1\r\n") {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        greeting.extend(byte);
    }
    let reply = "*2\r\n$1\r\nk\r\n$1\r\nv\r\n";
    let message = |text| format!(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\n{text}\r\n");
    let (before, behind) = (message('b'), message('a'));
    for (requests, expected) in [
        ("LPUSH k v\nPUBLISH c a\n", format!("{reply}{behind}")),
        ("PUBLISH c b\nLPUSH k v\n", format!("{before}{reply}")),
        (
            "PUBLISH c b\nLPUSH k v\nPUBLISH c a\n",
            format!("{before}{reply}{behind}"),
        ),
    ] {
        reader.write_all(b"BLPOP k 0\r\n").unwrap();
        wait_for("the wait", || shared.is_blocked());
        // All of it at once, on the worker that has the reader.
        let _writer = house.sends(requests);
        let mut got = vec![0; expected.len()];
        reader.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), expected, "{requests}");
    }
    house.stop();
}
