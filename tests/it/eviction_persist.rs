//! What is persistent of a keyspace from which keys are evicted: the log leads to it, a snapshot is the
//! keyspace of one moment, and a kill -9 brings nothing back and takes nothing away.
//!
//! Environment: `KIVI_TEST_EVICTION_CRASHES` kills (default 12), `KIVI_TEST_SEED` the random numbers.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::thread;

use crate::client::{Client, Reply, encode, parse};
use crate::eviction::{OOM, batch, config_set, evicted, limit_to};
use crate::generate::Rng;
use crate::harness::{Server, env_number, eventually};
use crate::replay::{compare, state};
use crate::store::{ALWAYS, EVERY_SECOND, Store, await_rest, bgrewriteaof, info};

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];

/// A random command that writes; keys of a type of their own, so that none fails.
fn command(rng: &mut Rng) -> Vec<u8> {
    let number = rng.below(3000);
    let value = "v".repeat(rng.below(600));
    let (string, list) = (format!("string:{number}"), format!("list:{number}"));
    let (hash, zset) = (format!("hash:{number}"), format!("zset:{number}"));
    let member = rng.below(30).to_string();
    match rng.below(9) {
        0 => encode(&["SET", &string, &value]),
        1 => encode(&["SET", &string, &value, "EX", "10000"]),
        2 => encode(&["APPEND", &string, &value]),
        3 => encode(&["RPUSH", &list, &value, &member]),
        4 => encode(&["LPOP", &list]),
        5 => encode(&["HSET", &hash, &member, &value]),
        6 => encode(&["ZADD", &zset, &member, &value]),
        7 => encode(&["RENAME", &string, "string:renamed"]),
        _ => {
            let script = "redis.call('set', KEYS[1], ARGV[1]); return redis.call('rpush', KEYS[2], \
                          ARGV[1])";
            encode(&["EVAL", script, "2", &string, &list, &value])
        }
    }
}

/// One client: batches, some of them transactions. Nothing is refused where something may always go.
fn write(server: &Server, seed: u64, batches: usize, may_refuse: bool) {
    let mut client = server.connect();
    let mut rng = Rng::new(seed);
    for _ in 0..batches {
        let mut commands: Vec<_> = (0..12).map(|_| command(&mut rng)).collect();
        if rng.chance(20) {
            commands.insert(0, encode(&["MULTI"]));
            commands.push(encode(&["EXEC"]));
        }
        for reply in batch(&mut client, &commands) {
            if let Reply::Error(text) = &reply {
                let is_refusal = text.starts_with(b"OOM") || text.starts_with(b"EXECABORT");
                let is_fine = text == b"ERR no such key" || may_refuse && is_refusal;
                assert!(is_fine, "{reply:?}");
            }
        }
    }
}

fn write_all(server: &Server, seed: u64, batches: usize, may_refuse: bool) {
    thread::scope(|scope| {
        for client in 0..4 {
            scope.spawn(move || write(server, seed * 10 + client, batches, may_refuse));
        }
    });
}

/// The log of a keyspace from which keys go under four writers, also while it is rewritten, leads to
/// what was left: in Kivi and in Valkey.
#[test]
fn the_log_leads_to_what_was_left() {
    let store = Store::kivi();
    let args = [EVERY_SECOND, DEBUG, &["--io-threads", "4"]].concat();
    let server = store.start(&args);
    let mut control = server.connect();
    for (round, policy) in [
        "allkeys-lru",
        "volatile-ttl",
        "allkeys-random",
        "allkeys-lfu",
    ]
    .iter()
    .enumerate()
    {
        config_set(&mut control, "maxmemory-policy", policy);
        if round == 0 {
            limit_to(&mut control, 1_000_000);
        } else if *policy == "volatile-ttl" {
            // Enough of them for the whole round.
            config_set(&mut control, "maxmemory", "0");
            let keys: Vec<_> = (0..3000)
                .map(|n| encode(&["SET", &format!("ttl:{n}"), &"v".repeat(500), "EX", "9000"]))
                .collect();
            batch(&mut control, &keys);
            limit_to(&mut control, 0);
        }
        let before = evicted(&mut control);
        if round == 3 {
            assert!(!control.cmd(&["BGREWRITEAOF"]).is_error());
        }
        write_all(&server, round as u64, 60, *policy == "volatile-ttl");
        assert!(
            evicted(&mut control) > before + 100,
            "{policy}: nothing goes"
        );
    }
    await_rest(&mut control);
    config_set(&mut control, "maxmemory", "0");
    let left = state(&server);
    assert!(left.len() > 100, "{} keys are left", left.len());
    let reply = control.cmd(&["DEBUG", "LOADAOF"]);
    assert_eq!(reply, Reply::Status(b"OK".to_vec()));
    compare("DEBUG LOADAOF", &left, &state(&server), &[]);
    drop(control);
    server.signal_and_wait("TERM");
    if let Some(other) = Store::of("valkey") {
        fs::create_dir_all(other.path("appendonlydir")).expect("a folder");
        for entry in fs::read_dir(store.path("appendonlydir")).expect("the log") {
            let entry = entry.expect("an entry");
            let to = other.path("appendonlydir").join(entry.file_name());
            fs::copy(entry.path(), to).expect("a copy");
        }
        let valkey = other.start(&[EVERY_SECOND, DEBUG].concat());
        compare("Valkey", &left, &state(&valkey), &[]);
    }
    // Loading evicts nothing, whatever the limit; what comes after it does.
    let limit = ["--maxmemory", "1500000", "--maxmemory-policy", "noeviction"];
    let server = store.start(&[&args[..], &limit].concat());
    compare("a restart with a limit", &left, &state(&server), &[]);
    assert_eq!(evicted(&mut server.connect()), 0);
}

/// A snapshot that is written while keys go is the keyspace of its beginning.
#[test]
fn a_snapshot_is_of_its_beginning_while_keys_go() {
    let store = Store::kivi();
    let args = [
        DEBUG,
        &["--io-threads", "4", "--maxmemory-policy", "allkeys-lru"],
    ]
    .concat();
    let server = store.start(&args);
    let mut control = server.connect();
    limit_to(&mut control, 2_000_000);
    for round in 0..4 {
        write_all(&server, 20 + round, 80, false);
        // What is over the limit has to go before the state is looked at.
        config_set(&mut control, "maxmemory-policy", "noeviction");
        let before = state(&server);
        let gone = evicted(&mut control);
        let begin = [
            encode(&["BGSAVE"]),
            encode(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]),
        ];
        let replies = batch(&mut control, &begin);
        assert!(!replies.iter().any(Reply::is_error), "{replies:?}");
        write_all(&server, 40 + round, 60, false);
        assert!(evicted(&mut control) > gone, "nothing goes meanwhile");
        await_rest(&mut control);
        assert_eq!(info(&mut control, "rdb_last_bgsave_status"), "ok");
        let other = Store::kivi();
        fs::copy(store.path("dump.rdb"), other.path("dump.rdb")).expect("a copy");
        let loaded = other.start(DEBUG);
        compare(&format!("round {round}"), &before, &state(&loaded), &[]);
    }
}

/// What the records of a log make of each key: its last value, or that it has gone.
fn replay(store: &Store) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    let bytes = fs::read(store.log_file("incr.aof")).expect("the log");
    let mut keys = BTreeMap::new();
    let mut at = 0;
    while let Some((record, length)) = whole_record(&bytes[at..]) {
        at += length;
        let words: Vec<&[u8]> = record.items().iter().map(Reply::bytes).collect();
        match words[..] {
            [b"SET", key, value] => drop(keys.insert(key.to_vec(), Some(value.to_vec()))),
            [b"DEL" | b"UNLINK", ref gone @ ..] => {
                for key in gone {
                    let was = keys.insert(key.to_vec(), None);
                    assert!(
                        was.flatten().is_some(),
                        "a record of a key that is not there"
                    );
                }
            }
            [b"SELECT", _] | [b"MULTI"] | [b"EXEC"] => {}
            _ => panic!("a record of nothing that was asked for: {record:?}"),
        }
    }
    keys
}

/// The next record; a torn one at the end is none. Comments (`#TS:`) are passed over.
fn whole_record(bytes: &[u8]) -> Option<(Reply, usize)> {
    let mut comments = 0;
    while *bytes.get(comments)? == b'#' {
        if is_torn_group(&bytes[comments..]) {
            return None;
        }
        comments += bytes[comments..].iter().position(|byte| *byte == b'\n')? + 1;
    }
    let (record, length) = parse(&bytes[comments..])?;
    Some((record, comments + length))
}

/// Whether a group of records begins here (`#KV:checksum:length`) that a kill has cut off in the middle of its
/// write: room of `#` is still where its end would be.
fn is_torn_group(bytes: &[u8]) -> bool {
    const HEAD_BYTES: usize = "#KV:0123456789abcdef:01234567\r\n".len();
    let Some(digits) = bytes
        .strip_prefix(b"#KV:")
        .and_then(|rest| rest.get(17..25))
    else {
        return false;
    };
    let text = std::str::from_utf8(digits).expect("digits");
    let Ok(length) = usize::from_str_radix(text, 16) else {
        return true;
    };
    let end = bytes.get(..HEAD_BYTES + length);
    end.is_none_or(|group| !group.ends_with(b"\n") || group.ends_with(b"#\n"))
}

/// The last value of each key that was acknowledged.
type Acked = Mutex<BTreeMap<String, u64>>;

/// Writes its own keys again and again, with growing numbers, until the server is gone.
fn write_numbers(client: &mut Client, of: usize, seed: u64, from: u64, acked: &Acked) {
    let mut rng = Rng::new(seed + of as u64);
    let filling = "v".repeat(1000);
    for number in (from..).step_by(8) {
        let keys: Vec<String> = (0..8)
            .map(|_| format!("key:{of}:{}", rng.below(2000)))
            .collect();
        let commands: Vec<Vec<u8>> = keys
            .iter()
            .enumerate()
            .map(|(n, key)| encode(&["SET", key, &format!("{}:{filling}", number + n as u64)]))
            .collect();
        if client.try_send(&commands.concat()).is_err() {
            return;
        }
        for (n, key) in keys.into_iter().enumerate() {
            match client.try_read() {
                Ok((_, Reply::Status(_))) => {}
                // The log itself wants memory at times, and for a moment it may be all there is.
                Ok((_, reply)) => {
                    assert!(reply == Reply::Error(OOM.to_vec()), "{reply:?}");
                    continue;
                }
                Err(_) => return,
            }
            acked
                .lock()
                .expect("no panic")
                .insert(key, number + n as u64);
        }
    }
}

fn number_of(value: &[u8]) -> u64 {
    let digits = value.split(|byte| *byte == b':').next().expect("a part");
    String::from_utf8_lossy(digits).parse().expect("a number")
}

/// With appendfsync always: what was acknowledged is there, unless a record says that it was evicted
/// later; nothing else is there; and what is there is what the log says.
#[test]
fn a_kill_while_keys_go_loses_nothing_and_brings_nothing_back() {
    let crashes = env_number("KIVI_TEST_EVICTION_CRASHES", 12);
    let mut rng = Rng::new(env_number("KIVI_TEST_SEED", 1));
    for crash in 0..crashes {
        let policy = ["allkeys-lru", "allkeys-random", "allkeys-lfu"][crash as usize % 3];
        let what = format!("crash {crash}, {policy}");
        let store = Store::kivi();
        let limits = ["--io-threads", "4", "--maxmemory-policy", policy];
        let server = store.start(&[ALWAYS, &limits].concat());
        let mut control = server.connect();
        limit_to(&mut control, 1_000_000);
        let acked = Acked::default();
        let more = 500 + rng.below(1500) as u64;
        let mut held = 0;
        thread::scope(|scope| {
            for of in 0..4 {
                let mut client = server.connect();
                let (seed, acked) = (crash * 100, &acked);
                scope.spawn(move || write_numbers(&mut client, of, seed, 1, acked));
            }
            eventually("keys to go", || {
                (evicted(&mut control) >= more).then_some(())
            });
            held = control.cmd(&["DBSIZE"]).int();
            drop(server);
        });
        let log = replay(&store);
        let acked = acked.into_inner().expect("no panic");
        for (key, number) in &acked {
            match log.get(key.as_bytes()) {
                // A later write may have come as far without being acknowledged.
                Some(Some(value)) => assert!(number_of(value) >= *number, "{what}: {key}"),
                Some(None) => {}
                None => panic!("{what}: {key} was acknowledged and is not in the log"),
            }
        }
        let gone = log.values().filter(|value| value.is_none()).count();
        assert!(gone > 0, "{what}: no key has gone");
        // Without a limit, so that all that is there stays.
        let server = store.start(ALWAYS);
        let mut client = server.connect();
        let mut there = 0;
        for (key, value) in &log {
            let found = match client.cmd(&[&b"GET"[..], key]) {
                Reply::Nil => None,
                reply => Some(reply.bytes().to_vec()),
            };
            assert!(
                found == *value,
                "{what}: {} is not as the log says",
                key.escape_ascii()
            );
            there += i64::from(found.is_some());
        }
        assert_eq!(client.cmd(&["DBSIZE"]), Reply::Int(there), "{what}");
        // As many as there was room for; else what had gone would be back.
        assert!(
            there < held + 150,
            "{what}: {there} keys, before it were {held}"
        );
        assert!(
            acked.len() as i64 > held + 150,
            "{what}: hardly any key went"
        );
        if crash == 0 {
            assert_eq!(bgrewriteaof(&mut client), "ok");
        }
    }
}

/// The record of an evicted key stands before the write that needed its room, and is a DEL or UNLINK as
/// `lazyfree-lazy-eviction` says; nothing is in the log but what was asked for and these.
#[test]
fn the_log_names_what_goes_before_what_needs_its_room() {
    for (kind, lazy, expected) in [
        ("kivi", "yes", "UNLINK"),
        ("kivi", "no", "DEL"),
        ("valkey", "yes", "UNLINK"),
        ("valkey", "no", "DEL"),
    ] {
        let Some(store) = Store::of(kind) else {
            continue;
        };
        let what = format!("{kind}, lazyfree-lazy-eviction {lazy}");
        let args = [
            "--maxmemory-policy",
            "volatile-ttl",
            "--lazyfree-lazy-eviction",
            lazy,
        ];
        let server = store.start(&[ALWAYS, &args].concat());
        let mut client = server.connect();
        client.cmd(&["SET", "victim", &"v".repeat(3000), "EX", "1000"]);
        limit_to(&mut client, 2_000);
        let mut number = 0;
        while client.cmd(&["EXISTS", "victim"]) == Reply::Int(1) {
            assert!(number < 100, "{what}: it does not go");
            client.cmd(&["SET", &format!("key:{number}"), &"v".repeat(200)]);
            number += 1;
        }
        // With the reply to a write all that came before it is in the log.
        config_set(&mut client, "maxmemory", "0");
        let last = client.cmd(&["SET", "last", "v"]);
        assert_eq!(last, Reply::Status(b"OK".to_vec()), "{what}");
        drop(client);
        drop(server);
        let bytes = fs::read(store.log_file("incr.aof")).expect("the log");
        let (mut words, mut at) = (Vec::new(), 0);
        while let Some((record, length)) = whole_record(&bytes[at..]) {
            at += length;
            let record = record.items()[..2.min(record.items().len())].iter();
            words.push(record.map(Reply::text).collect::<Vec<_>>().join(" "));
        }
        let gone = words
            .iter()
            .position(|words| *words == format!("{expected} victim"));
        let gone = gone.unwrap_or_else(|| panic!("{what}: {words:?}"));
        let last = words
            .iter()
            .position(|w| *w == format!("SET key:{}", number - 1));
        if let Some(last) = last {
            assert!(gone < last, "{what}: {words:?}");
        }
    }
}
