//! Libraries of functions in the files of real servers, and theirs in ours; and while they change, with
//! several threads that call them.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::{Client, Reply};
use crate::harness::{Server, StopAtEnd};
use crate::store::{Store, await_rest, bgrewriteaof};

/// A library with one function, which answers this number.
fn library(name: &str, function: &str, answer: i64) -> String {
    format!(
        "#!lua name={name}\nredis.register_function('{function}', function() return {answer} end)"
    )
}

/// Libraries with all that there is to a function.
fn libraries() -> Vec<String> {
    let rich = "#!lua name=rich\n\
        redis.register_function{function_name='r', description='all \u{fc}ber it', callback=function(keys, args) \
        return redis.call('GET', keys[1]) end, flags={'no-writes', 'allow-stale', 'allow-oom'}}\n\
        local n = 41 redis.register_function('next', function() n = n + 1 return n end)";
    let long = format!(
        "{}\n-- {}",
        library("long", "l", 7),
        "compressible ".repeat(500)
    );
    vec![library("one", "f", 1), rich.to_owned(), long]
}

fn fill(client: &mut Client) {
    for source in libraries() {
        let loaded = client.cmd(&["FUNCTION", "LOAD", &source]);
        assert!(!loaded.is_error(), "{loaded:?}");
    }
    assert_eq!(
        client.cmd(&["SET", "key", "value"]),
        Reply::Status(b"OK".to_vec())
    );
}

/// What FUNCTION LIST tells, in one order.
fn listed(client: &mut Client) -> Vec<String> {
    let listed = client.cmd(&["FUNCTION", "LIST", "WITHCODE"]);
    let mut libraries: Vec<String> = listed
        .items()
        .iter()
        .map(|library| {
            let mut parts: Vec<String> = library
                .items()
                .iter()
                .map(|part| format!("{part:?}"))
                .collect();
            // The functions.
            let mut functions: Vec<String> = library.items()[5]
                .items()
                .iter()
                .map(|one| format!("{one:?}"))
                .collect();
            functions.sort();
            parts[5] = functions.concat();
            parts.concat()
        })
        .collect();
    libraries.sort();
    libraries
}

#[track_caller]
fn works(client: &mut Client) {
    for (call, answer) in [
        (&["FCALL", "f", "0"][..], Reply::Int(1)),
        (&["FCALL", "NEXT", "0"], Reply::Int(42)),
        (
            &["FCALL_RO", "r", "1", "key"],
            Reply::Bulk(b"value".to_vec()),
        ),
        (&["FCALL", "l", "0"], Reply::Int(7)),
    ] {
        assert_eq!(client.cmd(call), answer, "{call:?}");
    }
}

/// Each server's snapshot is read by the others.
#[test]
fn snapshots_go_both_ways() {
    for (from, to) in [
        ("kivi", "redis"),
        ("kivi", "redis8"),
        ("kivi", "valkey"),
        ("redis", "kivi"),
        ("redis8", "kivi"),
        ("valkey", "kivi"),
        ("kivi", "kivi"),
    ] {
        let (Some(from_store), Some(to_store)) = (Store::of(from), Store::of(to)) else {
            continue;
        };
        for compressed in ["yes", "no"] {
            let writer = from_store.start(&["--rdbcompression", compressed, "--save", ""]);
            let mut client = writer.connect();
            client.cmd(&["FUNCTION", "FLUSH"]);
            fill(&mut client);
            let all = listed(&mut client);
            assert_eq!(client.cmd(&["SAVE"]), Reply::Status(b"OK".to_vec()));
            drop(writer);
            if from != to {
                fs::copy(from_store.path("dump.rdb"), to_store.path("dump.rdb")).expect("a copy");
            }
            let store = if from == to { &from_store } else { &to_store };
            let reader = store.start(&["--save", ""]);
            let mut client = reader.connect();
            assert_eq!(listed(&mut client), all, "{from} to {to}, {compressed}");
            works(&mut client);
        }
    }
}

/// Logs, too, whose base is a snapshot or is not.
#[test]
fn logs_go_both_ways() {
    for (from, to) in [
        ("kivi", "redis"),
        ("kivi", "valkey"),
        ("redis", "kivi"),
        ("valkey", "kivi"),
        ("kivi", "kivi"),
    ] {
        for preamble in ["yes", "no"] {
            let (Some(from_store), Some(to_store)) = (Store::of(from), Store::of(to)) else {
                continue;
            };
            let args = [
                "--appendonly",
                "yes",
                "--aof-use-rdb-preamble",
                preamble,
                "--save",
                "",
            ];
            let writer = from_store.start(&args);
            let mut client = writer.connect();
            fill(&mut client);
            bgrewriteaof(&mut client);
            await_rest(&mut client);
            // Behind the base.
            let more = library("more", "m", 5);
            for argv in [
                &["FUNCTION", "LOAD", &more][..],
                &["FUNCTION", "LOAD", &library("gone", "g", 1)],
                &["FUNCTION", "DELETE", "gone"],
            ] {
                assert!(!client.cmd(argv).is_error(), "{argv:?}");
            }
            let dumped = client.cmd(&["FUNCTION", "DUMP"]);
            let restore: [&[u8]; 4] = [b"FUNCTION", b"RESTORE", dumped.bytes(), b"FLUSH"];
            assert_eq!(client.cmd(&restore), Reply::Status(b"OK".to_vec()));
            let all = listed(&mut client);
            assert_eq!(all.len(), 4);
            drop(client);
            let (status, log) = writer.signal_and_wait("TERM");
            assert!(status.success(), "{log}");
            if from != to {
                copy_folder(
                    &from_store.path("appendonlydir"),
                    &to_store.path("appendonlydir"),
                );
            }
            let store = if from == to { &from_store } else { &to_store };
            let reader = store.start(&args);
            let mut client = reader.connect();
            assert_eq!(listed(&mut client), all, "{from} to {to}, {preamble}");
            works(&mut client);
            assert_eq!(client.cmd(&["FCALL", "m", "0"]), Reply::Int(5));
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for file in fs::read_dir(from).expect("the log") {
        let file = file.expect("a file");
        fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
    }
}

/// Payloads of FUNCTION DUMP.
#[test]
fn payloads_go_both_ways() {
    let kivi = Server::kivi(&[]);
    let mut ours = kivi.connect();
    fill(&mut ours);
    let all = listed(&mut ours);
    for peer in ["redis", "redis8", "valkey"] {
        let Some(store) = Store::of(peer) else {
            continue;
        };
        let peer = store.start(&["--save", ""]);
        let mut theirs = peer.connect();
        let dumped = ours.cmd(&["FUNCTION", "DUMP"]);
        let argv: [&[u8]; 3] = [b"FUNCTION", b"RESTORE", dumped.bytes()];
        assert_eq!(theirs.cmd(&argv), Reply::Status(b"OK".to_vec()));
        assert_eq!(listed(&mut theirs), all);
        let dumped = theirs.cmd(&["FUNCTION", "DUMP"]);
        let argv: [&[u8]; 4] = [b"FUNCTION", b"RESTORE", dumped.bytes(), b"FLUSH"];
        assert_eq!(ours.cmd(&argv), Reply::Status(b"OK".to_vec()));
        assert_eq!(listed(&mut ours), all);
        ours.cmd(&["SET", "key", "value"]);
        works(&mut ours);
    }
}

/// Libraries change while all threads call them: whoever gets an answer gets that of one version, and
/// never an older one than before.
#[test]
fn libraries_change_under_their_callers() {
    const VERSIONS: i64 = 300;
    for threads in ["1", "4"] {
        let server = Server::kivi(&["--io-threads", threads]);
        let mut loader = server.connect();
        let is_over = AtomicBool::new(false);
        let version = |at: i64| {
            format!(
                "#!lua name=lib\n\
                 redis.register_function('plain', function() return {at} end)\n\
                 local n = {at}\n\
                 redis.register_function('kept', function() n = n + 0 return n end)"
            )
        };
        loader.cmd(&["FUNCTION", "LOAD", &version(0)]);
        std::thread::scope(|scope| {
            let stop = StopAtEnd(&is_over);
            let callers: Vec<_> = (0..6)
                .map(|number| {
                    let mut client = server.connect();
                    let is_over = &is_over;
                    scope.spawn(move || {
                        let name = ["plain", "kept"][number % 2];
                        let (mut last, mut calls) = (0, 0);
                        while !is_over.load(Ordering::Relaxed) {
                            let answer = client.cmd(&["FCALL", name, "0"]).int();
                            assert!(answer >= last, "{answer} after {last}");
                            last = answer;
                            calls += 1;
                        }
                        assert_eq!(client.cmd(&["FCALL", name, "0"]).int(), VERSIONS);
                        calls
                    })
                })
                .collect();
            for at in 1..=VERSIONS {
                let loaded = loader.cmd(&["FUNCTION", "LOAD", "REPLACE", &version(at)]);
                assert_eq!(loaded.text(), "lib");
                // Who has the answer gets no older version either.
                assert_eq!(loader.cmd(&["FCALL", "plain", "0"]).int(), at);
            }
            drop(stop);
            for caller in callers {
                assert!(caller.join().expect("a caller") > 0);
            }
        });
    }
}

/// A counter that a library keeps is one counter, whichever threads count.
#[test]
fn what_a_library_keeps_is_kept_for_all_threads() {
    const CALLS: i64 = 500;
    let server = Server::kivi(&["--io-threads", "4"]);
    let mut client = server.connect();
    let source = "#!lua name=count\nlocal n = 0\nredis.register_function('next', function() n = n + 1 return n end)";
    client.cmd(&["FUNCTION", "LOAD", source]);
    let mut seen: Vec<i64> = std::thread::scope(|scope| {
        let counters: Vec<_> = (0..4)
            .map(|_| {
                let mut client = server.connect();
                let count = move || {
                    (0..CALLS)
                        .map(|_| client.cmd(&["FCALL", "next", "0"]).int())
                        .collect::<Vec<_>>()
                };
                scope.spawn(count)
            })
            .collect();
        counters
            .into_iter()
            .flat_map(|counter| counter.join().expect("a counter"))
            .collect()
    });
    seen.sort_unstable();
    assert_eq!(seen, (1..=4 * CALLS).collect::<Vec<_>>());
}
