//! Keys vanish when they are due: on time without being touched, and never seen afterwards.
//!
//! Conditions, not timings: what must not be seen is checked against the client's own clock with
//! a wide margin, and how soon dead keys are reclaimed is bounded generously (the benchmark measures
//! it). `KIVI_TEST_EXPIRY_KEYS` sets how many are due at once (a million is a good number by hand).

use std::time::{Duration, Instant};

use crate::client::{Client, Reply, encode};
use crate::harness::{PATIENCE, Server, env_number, eventually, eventually_within, is_stand_in};

/// Sends all commands in pipelines and panics on an error among the replies.
pub(crate) fn pipeline(client: &mut Client, commands: impl Iterator<Item = Vec<u8>>) {
    let mut commands = commands.peekable();
    while commands.peek().is_some() {
        let batch: Vec<Vec<u8>> = commands.by_ref().take(1000).collect();
        client.send(&batch.concat());
        for _ in &batch {
            let reply = client.read().1;
            assert!(!reply.is_error(), "{reply:?}");
        }
    }
}

pub(crate) fn dbsize(client: &mut Client) -> i64 {
    client.cmd(&["DBSIZE"]).int()
}

pub(crate) fn info_number(client: &mut Client, name: &str) -> i64 {
    let info = client.cmd(&["INFO", "everything"]).text();
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in INFO"))
        .trim()
        .parse()
        .expect("a number")
}

#[test]
fn keys_vanish_without_being_touched() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let sets = (0..5000).map(|n| {
        encode(&[
            "SET",
            &format!("k{n}"),
            "v",
            "PX",
            &(20 + n % 100).to_string(),
        ])
    });
    pipeline(&mut client, sets);
    client.cmd(&["SET", "stays", "v"]);
    client.cmd(&["SET", "stays long", "v", "EX", "1000"]);
    eventually("all keys that are due to be gone", || {
        (dbsize(&mut client) == 2).then_some(())
    });
    assert_eq!(info_number(&mut client, "expired_keys"), 5000);
    let keyspace = client.cmd(&["INFO", "keyspace"]).text();
    assert!(keyspace.contains("db0:keys=2,expires=1,"), "{keyspace}");
}

#[test]
fn an_expired_key_is_never_seen() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let life = Duration::from_millis(60);
    for round in 0..20 {
        let key = format!("k{round}");
        let sent = Instant::now();
        assert_eq!(client.raw(&["SET", &key, "v", "PX", "60"]), b"+OK\r\n");
        let written = Instant::now();
        loop {
            let asked = Instant::now();
            let reply = client.cmd(&["GET", &key]);
            // Asked this late, the key has been dead for at least 10 ms.
            let dead = asked > written + life + Duration::from_millis(10);
            assert!(
                !dead || reply == Reply::Nil,
                "seen {:?} after its end",
                asked - written - life
            );
            if reply == Reply::Nil {
                let age = sent.elapsed() + Duration::from_millis(2);
                assert!(age > life, "gone after {age:?} already");
                break;
            }
        }
    }
}

#[test]
fn access_does_not_depend_on_the_active_cycle() {
    let server = Server::kivi(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    assert_eq!(client.raw(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]), b"+OK\r\n");
    let keys = [
        "get",
        "exists",
        "type",
        "ttl",
        "append",
        "incr",
        "rename",
        "copy",
        "setnx",
        "untouched",
    ];
    pipeline(
        &mut client,
        keys.iter()
            .map(|key| encode(&["SET", key, "5", "PX", "40"])),
    );
    eventually("the keys to be dead", || {
        (client.cmd(&["GET", "get"]) == Reply::Nil).then_some(())
    });
    assert_eq!(client.cmd(&["EXISTS", "exists"]).int(), 0);
    assert_eq!(client.raw(&["TYPE", "type"]), b"+none\r\n");
    assert_eq!(client.cmd(&["TTL", "ttl"]).int(), -2);
    assert_eq!(client.cmd(&["APPEND", "append", "x"]).int(), 1);
    assert_eq!(client.cmd(&["INCR", "incr"]).int(), 1);
    assert_eq!(
        client.cmd(&["TTL", "incr"]).int(),
        -1,
        "the new key has no expiry"
    );
    assert_eq!(
        client.raw(&["RENAME", "rename", "x"]),
        b"-ERR no such key\r\n"
    );
    assert_eq!(client.cmd(&["COPY", "copy", "y"]).int(), 0);
    assert_eq!(client.cmd(&["SETNX", "setnx", "new"]).int(), 1);
    let keys = client.keys();
    assert_eq!(keys, ["append", "incr", "setnx"]);
    client.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]);
    eventually("the untouched to be reclaimed", || {
        (dbsize(&mut client) == 3).then_some(())
    });
}

#[test]
fn an_expiry_that_was_taken_back_does_not_strike() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let changes: [&[&str]; 8] = [
        &["PERSIST", "k"],
        &["EXPIRE", "k", "1000"],
        &["SET", "k", "new"],
        &["GETEX", "k", "PERSIST"],
        &["SET", "k", "new", "EX", "1000"],
        &["GETSET", "k", "new"],
        &["PEXPIREAT", "k", "4102444800000"],
        &["MSET", "k", "new"],
    ];
    let mut commands = Vec::new();
    for copy in 0..100 {
        for (index, change) in changes.iter().enumerate() {
            let key = format!("k{index}:{copy}");
            commands.push(encode(&["SET", &key, "old", "PX", "800"]));
            let words: Vec<&str> = change
                .iter()
                .map(|w| if *w == "k" { &key } else { *w })
                .collect();
            commands.push(encode(&words));
        }
    }
    pipeline(&mut client, commands.into_iter());
    pipeline(
        &mut client,
        (0..100).map(|n| encode(&["SET", &format!("due{n}"), "v", "PX", "1200"])),
    );
    // When those that were set last are gone, the old expiries have been due for long.
    eventually("the control keys to be gone", || {
        (dbsize(&mut client) <= 800).then_some(())
    });
    assert_eq!(
        dbsize(&mut client),
        800,
        "nobody was expired whose expiry was taken back"
    );
}

#[test]
fn flushed_and_replaced_keys_do_not_inherit_an_expiry() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    for command in [
        ["FLUSHALL", "SYNC"],
        ["FLUSHALL", "ASYNC"],
        ["FLUSHDB", "SYNC"],
    ] {
        client.cmd(&["FLUSHALL"]);
        let old = (0..500).map(|n| encode(&["SET", &format!("k{n}"), "old", "PX", "60"]));
        pipeline(&mut client, old);
        assert_eq!(client.raw(&command), b"+OK\r\n");
        pipeline(
            &mut client,
            (0..500).map(|n| encode(&["SET", &format!("k{n}"), "new"])),
        );
        pipeline(
            &mut client,
            (0..50).map(|n| encode(&["SET", &format!("due{n}"), "v", "PX", "120"])),
        );
        eventually("the control keys to be gone", || {
            (dbsize(&mut client) <= 500).then_some(())
        });
        assert_eq!(dbsize(&mut client), 500, "{command:?}");
    }
}

#[test]
fn an_expiry_goes_where_its_key_goes() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let mut commands = Vec::new();
    for n in 0..200 {
        let key = |name: &str| format!("{name}{n}");
        for name in ["rename", "copy", "move", "keep", "stays"] {
            commands.push(encode(&["SET", &key(name), "v", "PX", "800"]));
        }
        commands.push(encode(&["RENAME", &key("rename"), &key("renamed")]));
        commands.push(encode(&["COPY", &key("copy"), &key("copied")]));
        commands.push(encode(&["COPY", &key("copy"), &key("copied"), "DB", "3"]));
        commands.push(encode(&["MOVE", &key("move"), "2"]));
        commands.push(encode(&["SET", &key("keep"), "w", "KEEPTTL"]));
        commands.push(encode(&["APPEND", &key("stays"), "x"]));
    }
    commands.push(encode(&["SWAPDB", "0", "1"]));
    pipeline(&mut client, commands.into_iter());
    for db in ["0", "1", "2", "3"] {
        client.cmd(&["SELECT", db]);
        eventually("the database to be empty", || {
            (dbsize(&mut client) == 0).then_some(())
        });
    }
    assert_eq!(info_number(&mut client, "expired_keys"), 200 * 7);
}

#[test]
fn what_is_due_goes_first_among_many_that_are_not() {
    if is_stand_in() {
        // Real servers sample, and take minutes for this.
        return;
    }
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let others = env_number("KIVI_TEST_EXPIRY_KEYS", 100_000) as i64;
    let holders = (0..others).map(|n| encode(&["SET", &format!("other{n}"), "v", "EX", "100000"]));
    pipeline(&mut client, holders);
    let due = (0..1000).map(|n| encode(&["SET", &format!("due{n}"), "v", "PX", "500"]));
    pipeline(&mut client, due);
    let last_set = Instant::now();
    eventually_within(PATIENCE * 4, "the due keys to be gone", || {
        (dbsize(&mut client) == others).then_some(())
    });
    let late = last_set
        .elapsed()
        .saturating_sub(Duration::from_millis(500));
    eprintln!("1,000 due keys among {others} others were gone {late:?} late");
    assert!(late < Duration::from_secs(2), "{late:?} late");
}

#[test]
fn a_burst_of_due_keys_does_not_stop_the_service() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let count = env_number("KIVI_TEST_EXPIRY_KEYS", 100_000);
    client.cmd(&["SET", "alive", "v"]);
    let clock: i64 = client.cmd(&["TIME"]).items()[0]
        .text()
        .parse()
        .expect("seconds");
    // One point in time for all, far enough away to write them before it.
    let at = (clock + 3 + count as i64 / 25_000).to_string();
    let sets = (0..count).map(|n| encode(&["SET", &format!("k{n}"), "v", "EXAT", &at]));
    pipeline(&mut client, sets);
    let mut slowest = Duration::ZERO;
    eventually_within(PATIENCE * 4, "the burst to be gone", || {
        let asked = Instant::now();
        assert_eq!(client.cmd(&["GET", "alive"]).text(), "v");
        slowest = slowest.max(asked.elapsed());
        (dbsize(&mut client) == 1).then_some(())
    });
    eprintln!("slowest GET while {count} keys expired at once: {slowest:?}");
    assert_eq!(info_number(&mut client, "expired_keys"), count as i64);
}
