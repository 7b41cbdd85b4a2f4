//! Replies, changes and figures of every string command, most of them as Valkey 9.1.2 gave them:
//! `valkey.txt` is a transcript of a real server, one request a line with its reply, then how far
//! it moved rdb_changes_since_last_save, keyspace_hits, keyspace_misses and expired_keys.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::commands::tests::{START_MS, Test};
use crate::db::{Access, DbIndex, Expire, Lookup};
use crate::ds::entry::{NewValue, SHARED_MIN, ValueRef};
use crate::ds::listpack;
use crate::resp::write::ReplyWriter;
use crate::util::ascii;
use crate::value::{Encoding, Type};

/// Works on the keyspace behind the commands.
fn with_db<R>(t: &Test, key: &str, work: impl FnOnce(&mut Access<'_>) -> R) -> R {
    let keyspace = &t.session.server().keyspace;
    let locks = keyspace.lock_one(keyspace.hash(key.as_bytes()));
    let now_ms = t.clock.unix_ms();
    work(&mut Access::new(keyspace, locks, DbIndex(0), now_ms, false))
}

fn encoding(t: &Test, key: &str) -> Option<&'static str> {
    with_db(t, key, |db| {
        let entry = db.find(key.as_bytes(), Lookup::Silent)?;
        let encoding = Encoding::from_nibble(entry.enc());
        let is_int = matches!(entry.value(), ValueRef::Int(_));
        assert_eq!(is_int, encoding == Encoding::Int, "{key}");
        Some(encoding.name())
    })
}

/// `None`: no key; `Some(None)`: no expiry.
fn expire_at_ms(t: &Test, key: &str) -> Option<Option<u64>> {
    with_db(t, key, |db| {
        let entry = db.find(key.as_bytes(), Lookup::Silent)?;
        Some(entry.expire_at_ms())
    })
}

/// A key of a type that is no string.
fn put_list(t: &Test, key: &str) {
    let listpack = listpack::from_elements([&b"a"[..]]);
    let value = NewValue::Bytes(&listpack);
    with_db(t, key, |db| {
        db.set(
            key.as_bytes(),
            Type::List as u8,
            Encoding::Listpack as u8,
            value,
            Expire::Never,
        );
    });
}

/// Changes, hits, misses, expired.
fn figures(t: &Test) -> [u64; 4] {
    let keyspace = &t.session.server().keyspace;
    let (mut hits, mut misses, mut expired) = (0, 0, 0);
    let locks = keyspace.lock_none();
    Access::new(keyspace, locks, DbIndex(0), 0, false).for_each_shard(|_, shard| {
        hits += shard.stats.hits;
        misses += shard.stats.misses;
        expired += shard.stats.expired;
    });
    [keyspace.changes(), hits, misses, expired]
}

/// What other families answer about a key, so that these tests need only their own.
fn inspect(t: &Test, words: &[&str]) -> Option<String> {
    let integer = |n: i64| Some(format!(":{n}"));
    match *words {
        ["rpush", key, _] => {
            put_list(t, key);
            integer(1)
        }
        ["exists", key] => integer(encoding(t, key).is_some() as i64),
        ["object", "encoding", key] => {
            let name = encoding(t, key)?;
            Some(format!("${} {name}", name.len()))
        }
        [command @ ("ttl" | "pexpiretime"), key] => match expire_at_ms(t, key) {
            None => integer(-2),
            Some(None) => integer(-1),
            Some(Some(at_ms)) if command == "ttl" => {
                integer(((at_ms - t.clock.unix_ms() + 500) / 1000) as i64)
            }
            Some(Some(at_ms)) => integer(at_ms as i64),
        },
        _ => None,
    }
}

#[test]
fn everything_is_as_valkey_answers_it() {
    let transcript = include_str!("valkey.txt");
    let mut t = Test::new();
    let mut section = "";
    let mut requests = 0;
    for line in transcript.lines() {
        if line.starts_with("## ") {
            section = line;
            t = Test::new();
            continue;
        }
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("three fields");
        let (request, reply, moved) = (field(), field(), field());
        let reply = reply.replace("\\0", "\0");
        let words: Vec<&str> = request.split(' ').collect();
        requests += 1;
        if let Some(answer) = inspect(&t, &words) {
            assert_eq!(answer, reply, "{section}: {request}");
            continue;
        }
        let before = figures(&t);
        assert_eq!(t.run(request).text(), reply, "{section}: {request}");
        let after = figures(&t);
        let changed: Vec<String> = (0..4).map(|i| (after[i] - before[i]).to_string()).collect();
        assert_eq!(changed.join(" "), moved, "{section}: {request}");
    }
    assert!(requests > 600);
}

#[test]
fn every_row_is_in_the_transcript() {
    let transcript = include_str!("valkey.txt").to_ascii_lowercase();
    for row in super::COMMANDS {
        let start = format!("\n{} ", row.name);
        assert!(transcript.contains(&start), "{}", row.name);
        assert!(!row.docs.summary.is_empty() && !row.docs.complexity.is_empty());
        assert!(!row.docs.syntax.is_empty() && !row.docs.since.is_empty());
    }
}

#[test]
fn expiries_pass() {
    let mut t = Test::new();
    t.run("SET k v PX 100").is("+OK");
    t.clock.advance(99);
    t.run("GET k").is("$1 v");
    t.clock.advance(1);
    t.run("GET k").is("$-1");
    t.run("SET k v EX 1").is("+OK");
    assert_eq!(expire_at_ms(&t, "k"), Some(Some(START_MS + 1100)));
    t.clock.advance(1000);
    t.run("INCR k").is(":1");
    assert_eq!(expire_at_ms(&t, "k"), Some(None));
    t.run("GETEX k PX 10").is("$1 1");
    t.clock.advance(10);
    t.run("APPEND k x").is(":1");
    t.run("SETEX k 1 v").is("+OK");
    t.clock.advance(1000);
    t.run("SET k w KEEPTTL").is("+OK");
    assert_eq!(expire_at_ms(&t, "k"), Some(None));
    t.run("PSETEX k 5 v").is("+OK");
    t.clock.advance(5);
    t.run("SET k v XX").is("$-1");
    t.run("SET k v NX").is("+OK");
    t.run("MSETEX 2 a 1 b 2 PX 7").is(":1");
    t.clock.advance(7);
    t.run("MGET a b").is("*2 $-1 $-1");
    t.run("MSETNX a 1 b 2").is(":1");
    assert_eq!(figures(&t)[3], 7);
}

#[test]
fn an_expiry_in_seconds_that_only_now_makes_too_large_is_refused() {
    let mut t = Test::new();
    let most = (i64::MAX as u64 - START_MS) / 1000;
    t.run(&format!("SET k v EX {most}")).is("+OK");
    let refused = "-ERR invalid expire time in 'set' command";
    t.run(&format!("SET k v EX {}", most + 1)).is(refused);
    let most = i64::MAX as u64 - START_MS;
    t.run(&format!("SETEX k {most} v"))
        .is("-ERR invalid expire time in 'setex' command");
    t.run(&format!("PSETEX k {most} v")).is("+OK");
    t.run(&format!("PSETEX k {} v", most + 1))
        .is("-ERR invalid expire time in 'psetex' command");
}

#[test]
fn keys_and_values_are_any_bytes() {
    let mut t = Test::new();
    let key: Vec<u8> = (0..=255).collect();
    let value: Vec<u8> = (0..=255).rev().collect();
    let bulk = |bytes: &[u8]| {
        let mut out = ReplyWriter::new();
        out.bulk(bytes);
        out.to_vec()
    };
    t.args(&[b"SET", &key, &value]).is("+OK");
    assert_eq!(t.args(&[b"GET", &key]).0, bulk(&value));
    t.args(&[b"SET", b"", b"empty key"]).is("+OK");
    t.args(&[b"GET", b""]).is("$9 empty key");
    t.args(&[b"APPEND", &key, b"\r\n\0"]).is(":259");
    assert_eq!(
        t.args(&[b"GETRANGE", &key, b"255", b"-1"]).0,
        bulk(b"\0\r\n\0")
    );
    t.args(&[b"MSET", b"a\0", b"1", b"a", b"\xff"]).is("+OK");
    assert_eq!(t.args(&[b"GET", b"a"]).0, bulk(b"\xff"));
    t.args(&[b"GET", b"a\0"]).is("$1 1");
    t.args(&[b"SET", b"n", b"12\0"]).is("+OK");
    t.args(&[b"INCR", b"n"])
        .is("-ERR value is not an integer or out of range");
}

/// The buffer of a value that lies outside of its entry.
fn shared(t: &Test, key: &str) -> Arc<Vec<u8>> {
    with_db(t, key, |db| {
        let entry = db.find(key.as_bytes(), Lookup::Silent).expect("a key");
        let ValueRef::Shared(shared) = entry.value() else {
            panic!("{key} is not shared")
        };
        shared.clone()
    })
}

#[test]
fn large_values_are_stored_read_and_replaced() {
    let mut t = Test::new();
    for len in [SHARED_MIN - 1, SHARED_MIN, SHARED_MIN + 1, 100_000] {
        let value: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let text = [format!("${len}\r\n").as_bytes(), &value, b"\r\n"].concat();
        t.args(&[b"SET", b"k", &value]).is("+OK");
        assert!(t.args(&[b"GET", b"k"]).0 == text);
        t.run("STRLEN k").is(&format!(":{len}"));
        assert!(t.args(&[b"GETSET", b"k", b"short"]).0 == text);
        t.run("GET k").is("$5 short");
        t.args(&[b"MSET", b"k", &value, b"j", &value]).is("+OK");
        assert!(t.args(&[b"MGET", b"k", b"j"]).0 == [b"*2\r\n", &text[..], &text].concat());
        t.args(&[b"SET", b"k", b"v", b"IFEQ", &value]).is("+OK");
        assert!(t.args(&[b"GETDEL", b"j"]).0 == text);
        t.run("GET j").is("$-1");
    }
}

#[test]
fn a_large_value_that_is_being_sent_stays_as_it_was() {
    let mut t = Test::new();
    let value = vec![b'x'; SHARED_MIN];
    t.args(&[b"SET", b"k", &value]).is("+OK");
    let sent = shared(&t, "k");
    t.run("APPEND k y").is(&format!(":{}", SHARED_MIN + 1));
    t.run("SETRANGE k 0 z").is(&format!(":{}", SHARED_MIN + 1));
    t.args(&[b"SET", b"k", &vec![b'n'; SHARED_MIN]]).is("+OK");
    assert!(*sent == value);
}

#[test]
fn appending_keeps_the_buffer_most_of_the_time() {
    let mut t = Test::new();
    let mut model = Vec::new();
    let (mut moves, mut at) = (0, None);
    for i in 0..20_000u32 {
        let tail = i.to_string();
        model.extend_from_slice(tail.as_bytes());
        t.args(&[b"APPEND", b"k", tail.as_bytes()])
            .is(&format!(":{}", model.len()));
        if model.len() >= SHARED_MIN {
            let now = Some(shared(&t, "k").as_ptr());
            moves += (now != at) as u32;
            at = now;
        }
    }
    assert!(*shared(&t, "k") == model);
    assert!(moves < 12, "{moves} copies");
    t.run("SETRANGE k 3 abc").is(&format!(":{}", model.len()));
    model[3..6].copy_from_slice(b"abc");
    assert!(*shared(&t, "k") == model);
    assert_eq!(Some(shared(&t, "k").as_ptr()), at);
    t.run("GETRANGE k 0 7").is("$8 012abc67");
}

#[test]
fn a_gap_is_filled_with_zeros() {
    let mut t = Test::new();
    t.run("SETRANGE big 100000 end").is(":100003");
    let value = shared(&t, "big");
    assert!(value[..100_000].iter().all(|&byte| byte == 0) && value.ends_with(b"end"));
    drop(value);
    t.run("SETRANGE big 200000 x").is(":200001");
    t.run("GETRANGE big 100000 100005").is("$6 end\0\0\0");
    t.run("SET small abc").is("+OK");
    t.run("SETRANGE small 20000 x").is(":20001");
    t.run("GETRANGE small 0 4").is("$5 abc\0\0");
    t.run("SET int 1234567").is("+OK");
    t.run("SETRANGE int 5000 x").is(":5001");
    t.run("GETRANGE int 0 8").is("$9 1234567\0\0");
}

#[test]
fn nothing_grows_past_proto_max_bulk_len() {
    let mut t = Test::with(&["--proto-max-bulk-len", "1048576"]);
    let refused = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    t.run("SETRANGE k 1048575 x").is(":1048576");
    t.run("APPEND k x").is(refused);
    t.run("APPEND k \"\"").is(":1048576");
    t.run("SETRANGE k 1048576 x").is(refused);
    t.run("SETRANGE k 1048575 yy").is(refused);
    t.run("SETRANGE k 1048574 yy").is(":1048576");
    t.run("SETRANGE nokey 1048576 x").is(refused);
    t.run("SETRANGE nokey 1048576 \"\"").is(":0");
    t.run("STRLEN k").is(":1048576");
    put_list(&t, "l");
    t.run("SETRANGE l 1048576 x")
        .is("-WRONGTYPE Operation against a key holding the wrong kind of value");
}

#[test]
fn lcs_refuses_what_its_table_would_be_too_large_for() {
    let mut t = Test::with(&["--proto-max-bulk-len", "1048576"]);
    let refused = "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
    t.run("SETRANGE a 511 x").is(":512");
    t.run("SETRANGE b 510 x").is(":511");
    for options in ["", " LEN", " IDX"] {
        t.run(&format!("LCS a a{options}")).is(refused);
        t.run(&format!("LCS a b{options} BOGUS"))
            .is("-ERR syntax error");
    }
    t.run("LCS b b LEN").is(":511");
    t.run("SETRANGE c 262142 x").is(":262143");
    t.run("LCS c nokey LEN").is(":0");
    t.run("LCS nokey c").is("$0");
    t.run("APPEND c x").is(":262144");
    t.run("LCS c nokey LEN").is(refused);
    t.run("LCS nokey c").is(refused);
    t.run("LCS nokey nokey IDX")
        .is("*4 $7 matches *0 $3 len :0");
}

#[test]
fn encodings_follow_from_key_value_and_expiry() {
    let mut t = Test::new();
    // Key length; longest embstr: without expiry, with one, and over a key that had one.
    for (key_len, plain, expiring, over) in [
        (1, 112, 104, 104),
        (16, 97, 89, 89),
        (31, 82, 74, 74),
        (32, 79, 71, 71),
        (50, 61, 53, 53),
        (100, 11, 3, 3),
        (104, 7, -1, -1),
        (107, 4, -1, -1),
        (108, 3, 3, -1),
        (111, 0, 0, -1),
        (112, -1, -1, -1),
        (300, -1, -1, -1),
    ] {
        let key = "k".repeat(key_len);
        for (command, longest) in [
            ("SET k v", plain),
            ("SETNX k v", plain),
            ("MSET k v", plain),
            ("MSETNX k v", plain),
            ("MSETEX 1 k v", plain),
            ("APPEND k v", plain),
            ("GETSET k v", plain),
            ("SET k v EX 100", expiring),
            ("SETEX k 100 v", expiring),
            ("MSETEX 1 k v EX 100", expiring),
            ("SET k v;GETEX k EX 100", expiring),
            ("SET k v EX 100;GETEX k PERSIST", expiring),
            ("SET k 1 EX 100;SET k v", over),
            ("SET k 1 EX 100;SET k v KEEPTTL", over),
            ("SET k 1 EX 100;SET k v EX 10", over),
            ("SET k 1 EX 100;GETSET k v", over),
            ("SET k 1 EX 100;MSET k v", over),
        ] {
            for len in 0..120 {
                let value = "v".repeat(len);
                t.run(&format!("GETDEL {key}"));
                for command in command.split(';') {
                    let words = command.split(' ').map(|word| match word {
                        "k" => key.as_bytes(),
                        "v" => value.as_bytes(),
                        word => word.as_bytes(),
                    });
                    let words: Vec<&[u8]> = words.collect();
                    t.args(&words);
                }
                let expected = if len as i32 <= longest {
                    "embstr"
                } else {
                    "raw"
                };
                let case = format!("{command}, key of {key_len}, value of {len}");
                assert_eq!(encoding(&t, &key), Some(expected), "{case}");
            }
        }
    }
}

#[test]
fn values_keep_their_kind_through_every_change() {
    // A value of each kind, changed into each other by each command that can, against a model.
    let mut t = Test::new();
    let mut model: Vec<u8> = Vec::new();
    let mut seed = 1u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    t.run("SET k \"\"").is("+OK");
    for step in 0..3000 {
        let len = [3, 40, 300, 5000, 20_000][random(5) as usize];
        let bytes: Vec<u8> = (0..random(len)).map(|_| b'a' + random(26) as u8).collect();
        match random(6) {
            0 => {
                t.args(&[b"SET", b"k", &bytes]).is("+OK");
                model = bytes;
            }
            1 => {
                model = random(1_000_000).to_string().into_bytes();
                t.args(&[b"SET", b"k", &model]).is("+OK");
            }
            2 if model.len() < 40_000 => {
                model.extend_from_slice(&bytes);
                t.args(&[b"APPEND", b"k", &bytes])
                    .is(&format!(":{}", model.len()));
            }
            3 if !bytes.is_empty() => {
                let offset = random(model.len() as u64 + 100) as usize;
                model.resize(model.len().max(offset + bytes.len()), 0);
                model[offset..offset + bytes.len()].copy_from_slice(&bytes);
                t.args(&[b"SETRANGE", b"k", offset.to_string().as_bytes(), &bytes])
                    .is(&format!(":{}", model.len()));
            }
            4 => {
                let px = (random(1_000_000) + 1).to_string();
                t.args(&[b"GETEX", b"k", b"PX", px.as_bytes()]);
            }
            _ => {
                t.args(&[b"GETEX", b"k", b"PERSIST"]);
            }
        }
        encoding(&t, "k");
        let reply = [format!("${}\r\n", model.len()).as_bytes(), &model, b"\r\n"].concat();
        assert!(t.args(&[b"GET", b"k"]).0 == reply, "step {step}");
        t.run("STRLEN k").is(&format!(":{}", model.len()));
    }
}

#[test]
fn a_write_refreshes_the_lru_clock() {
    let mut t = Test::new();
    let lru = |t: &Test| {
        with_db(t, "k", |db| {
            db.find(b"k", Lookup::Silent).map(|entry| entry.lru())
        })
    };
    t.run("SET k 1").is("+OK");
    let mut last = lru(&t);
    for command in [
        "INCR k",
        "GET k",
        "APPEND k 2",
        "SETRANGE k 0 1",
        "SET k 1",
        "SETNX k 1",
    ] {
        t.clock.advance(1000);
        t.run(command);
        assert!(lru(&t) > last, "{command}");
        last = lru(&t);
    }
}

#[test]
fn several_clients_see_one_keyspace() {
    let mut t = Test::new();
    let mut other = t.client();
    t.run("MSET a 1 b 2").is("+OK");
    other.run("MGET b a").is("*2 $1 2 $1 1");
}

#[test]
fn many_keys_at_once() {
    let mut t = Test::new();
    let (mut set, mut get) = ("MSET".to_string(), "MGET".to_string());
    let mut expected = "*100".to_string();
    for i in 0..100 {
        set += &format!(" key:{i} value:{i}");
        get += &format!(" key:{i}");
        let value = format!("value:{i}");
        expected += &format!(" ${} {value}", value.len());
    }
    t.run(&set).is("+OK");
    t.run(&get).is(&expected);
    let words = ascii::split_args(set.as_bytes()).expect("words");
    assert_eq!(words.len(), 201);
    t.run(&set.replace("MSET", "MSETNX")).is(":0");
    t.run(&set.replace("MSET", "MSETEX 100").replace("value", "new"))
        .is(":1");
    t.run("GET key:99").is("$6 new:99");
}

#[test]
fn large_values_are_freed_elsewhere() {
    let mut t = Test::new();
    let value = vec![b'x'; 2 << 20];
    let server = t.session.server().clone();
    let lazyfree = &server.keyspace.lazyfree;
    let deletions: [&[&[u8]]; 3] = [
        &[b"DEL", b"k"],
        &[b"GETDEL", b"k"],
        &[b"DELIFEQ", b"k", &value],
    ];
    for (before, deletion) in (0..).zip(deletions) {
        t.args(&[b"SET", b"k", &value]).is("+OK");
        t.args(deletion);
        t.run("EXISTS k").is(":0");
        let deadline = Instant::now() + Duration::from_secs(60);
        while lazyfree.freed() == before {
            let name = String::from_utf8_lossy(deletion[0]);
            assert!(Instant::now() < deadline, "{name}");
            thread::yield_now();
        }
        assert_eq!(lazyfree.freed(), before + 1);
    }
}
