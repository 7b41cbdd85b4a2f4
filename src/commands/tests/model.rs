//! Whole commands in all interleavings of their threads: transactions, what has the keyspace for
//! itself, and snapshots of large collections on their way.

use loom::future::block_on;
use loom::thread::JoinHandle;

use super::Test;
use super::snapshot::{EVERYTHING_LARGE, Seen, walk};
use crate::exec::{Flow, Wait};
use crate::sys::sync::{explore, spawn};
use crate::util::ascii;
use crate::util::rng::Rng;

/// The server, known to loom before threads share it.
pub(crate) fn known(test: Test) -> Test {
    assert!(!test.session.server().keyspace.snapshot.is_running());
    test
}

/// A server to which every collection is large.
fn server() -> Test {
    known(Test::with(&EVERYTHING_LARGE))
}

/// A client on a thread of its own.
pub(crate) fn client<T: Send + 'static>(
    server: &Test,
    run: impl FnOnce(Test) -> T + Send + 'static,
) -> JoinHandle<T> {
    let connect = server.connector();
    spawn(move || run(connect()))
}

/// Runs a line; waits, as a connection does, while somebody has the keyspace for himself.
fn run(test: &mut Test, line: &str) -> String {
    let words = ascii::split_args(line.as_bytes()).expect("balanced quotes");
    let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
    loop {
        match test.session.call(&words) {
            (_, Flow::Wait(Wait::Gate)) => {
                let server = test.session.server().clone();
                block_on(server.keyspace.gate.opened());
            }
            (reply, Flow::Done) => {
                let text = String::from_utf8_lossy(&reply);
                return text.trim_end_matches("\r\n").replace("\r\n", " ");
            }
            (_, other) => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn a_watched_key_is_not_overwritten_unseen() {
    fn increment(mut test: Test) -> bool {
        run(&mut test, "WATCH k");
        let seen = run(&mut test, "STRLEN k");
        run(&mut test, "MULTI");
        run(
            &mut test,
            &format!("SET k {}x", "x".repeat(seen[1..].parse().unwrap())),
        );
        run(&mut test, "EXEC") != "*-1"
    }
    explore(2, || {
        let mut server = server();
        let others = [1, 2].map(|_| client(&server, increment));
        let done: usize = others
            .map(|other| other.join().unwrap() as usize)
            .iter()
            .sum();
        assert!(done >= 1, "one of both is first");
        assert_eq!(run(&mut server, "STRLEN k"), format!(":{done}"));
    });
}

#[test]
fn who_has_the_keyspace_for_himself_is_seen_whole() {
    explore(2, || {
        let mut server = server();
        let flushes = client(&server, |mut test| run(&mut test, "FLUSHALL"));
        let looks = client(&server, |mut test| run(&mut test, "EXISTS a b c"));
        assert_eq!(run(&mut server, "MSET a 1 b 2 c 3"), "+OK");
        assert_eq!(flushes.join().unwrap(), "+OK");
        let seen = looks.join().unwrap();
        assert!(seen == ":0" || seen == ":3", "{seen}");
        let left = run(&mut server, "EXISTS a b c");
        assert!(left == ":0" || left == ":3", "{left}");
    });
}

#[test]
fn a_transaction_is_seen_whole() {
    explore(2, || {
        let mut server = server();
        let transfers = client(&server, |mut test| {
            for line in ["MULTI", "INCRBY a 5", "DECRBY b 5"] {
                run(&mut test, line);
            }
            run(&mut test, "EXEC")
        });
        let renames = client(&server, |mut test| run(&mut test, "RENAME c a"));
        let seen = run(&mut server, "MGET a b c");
        let _ = transfers.join().unwrap();
        let renamed = renames.join().unwrap();
        assert!(
            seen == "*3 $-1 $-1 $-1" || seen == "*3 $1 5 $2 -5 $-1",
            "{seen}"
        );
        assert_eq!(renamed, "-ERR no such key");
    });
}

/// A snapshot during what two clients do to the large collections that there are.
fn snapshot_during(first: &'static [&'static str], second: &'static [&'static str]) {
    explore(2, move || {
        let mut server = server();
        run(&mut server, "SADD s a b c d e f");
        run(&mut server, "RPUSH l a b c d e f g h i j k l");
        let seen = |server: &Test| -> Seen {
            let keyspace = &server.session.server().keyspace;
            let (quiet, _, ()) = keyspace.begin_snapshot(|| ()).expect("the only one");
            walk(quiet, &mut Rng::from_seed(1), |_| {})
        };
        let before = seen(&server);

        // The cut comes first: whatever they do, it is to show what there was.
        let shared = server.session.server().clone();
        let (loud, _, ()) = shared.keyspace.begin_snapshot(|| ()).expect("the only one");
        let others = [first, second].map(|lines| {
            client(&server, move |mut test| {
                for line in lines {
                    run(&mut test, line);
                }
            })
        });
        let during = walk(loud, &mut Rng::from_seed(2), |_| {});
        assert_eq!(during, before);
        for other in others {
            other.join().unwrap();
        }
        let keyspace = &shared.keyspace;
        assert_eq!(keyspace.snapshot.held_bytes(), 0);
    });
}

#[test]
fn a_large_collection_is_read_wherever_it_goes() {
    snapshot_during(&["RENAME s t", "SREM t a"], &["RPOPLPUSH l m"]);
}

#[test]
fn a_large_collection_that_is_deleted_is_read_to_its_end() {
    snapshot_during(&["SADD s x", "DEL s"], &["SADD s y"]);
}

#[test]
fn large_collections_change_places() {
    snapshot_during(&["COPY s t", "RENAME t s"], &["SINTERSTORE s s"]);
}

#[test]
fn databases_are_exchanged_under_a_snapshot() {
    snapshot_during(&["SWAPDB 0 1"], &["LPUSH l x"]);
}

#[test]
fn everything_is_flushed_under_a_snapshot() {
    snapshot_during(&["FLUSHALL SYNC"], &["SADD s x"]);
}
