//! Short replies that are sent together, to clients of all kinds.

use super::*;
use crate::util::rng::Rng;

/// Enough for a worker to see a crowd.
const CROWD: usize = 12;

/// Requests and the exact bytes of their replies: some are kept for a turn, others are sent at once or in pieces, and a
/// short one is often followed by the beginning of a request that is read piece by piece.
fn mixed(rng: &mut Rng, client: usize, round: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for _ in 0..1 + rng.below(3) {
        let long = match rng.below(16) {
            0 => 100_000,
            1..=3 => 3_000 + rng.below(3_000) as usize,
            _ => rng.below(200) as usize,
        };
        let word = format!("{client}-{round}-{}", "x".repeat(long));
        let reply = format!("${}\r\n{word}\r\n", word.len());
        requests.extend(format!("*2\r\n$4\r\nECHO\r\n{reply}").into_bytes());
        replies.extend(reply.into_bytes());
    }
    (requests, replies)
}

/// All send round after round; those for whom `reads` is false take their replies at the end only, when sockets have
/// long been full.
#[test]
fn replies_stay_in_order_whoever_reads_them_when() {
    const ROUNDS: usize = 600;
    let house = House::new(1);
    let reads = |client: usize| !client.is_multiple_of(4);
    thread::scope(|scope| {
        for client in 0..CROWD {
            let (mut peer, _) = house.connect();
            scope.spawn(move || {
                let mut rng = Rng::from_seed(client as u64);
                let mut due = Vec::new();
                for round in 0..ROUNDS {
                    let (request, reply) = mixed(&mut rng, client, round);
                    peer.write_all(&request).unwrap();
                    due.extend(reply);
                    if reads(client) {
                        let mut got = vec![0; due.len()];
                        peer.read_exact(&mut got).unwrap();
                        assert!(got == due, "client {client}, round {round}");
                        due.clear();
                    }
                }
                let mut got = vec![0; due.len()];
                peer.read_exact(&mut got).unwrap();
                assert!(got == due, "client {client}");
                peer.write_all(b"QUIT\r\n").unwrap();
                let mut rest = Vec::new();
                peer.read_to_end(&mut rest).unwrap();
                assert_eq!(rest, b"+OK\r\n");
            });
        }
    });
    house.stop();
}

/// Whoever hangs up after its last request gets the replies to all of them.
#[test]
fn what_was_answered_is_sent_before_the_end() {
    let house = House::new(1);
    thread::scope(|scope| {
        for client in 0..CROWD {
            let house = &house;
            scope.spawn(move || {
                for round in 0..50 {
                    let (mut peer, _) = house.connect();
                    for _ in 0..20 {
                        peer.write_all(b"PING\r\n").unwrap();
                        peer.read_exact(&mut [0; 7]).unwrap();
                    }
                    peer.write_all(b"PING\r\nECHO last\r\n").unwrap();
                    peer.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut rest = Vec::new();
                    peer.read_to_end(&mut rest).unwrap();
                    let rest = String::from_utf8_lossy(&rest).into_owned();
                    assert_eq!(rest, "+PONG\r\n$4\r\nlast\r\n", "{client} {round}");
                }
            });
        }
    });
    house.stop();
}
