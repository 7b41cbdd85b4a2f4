//! What Valkey 9.1.2 answered, except where a comment says otherwise.

use std::collections::BTreeSet;

use super::parse_cursor;
use crate::commands::tests::Test;

const INVALID: &str = "-ERR invalid cursor";
const SYNTAX: &str = "-ERR syntax error";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";

/// The keys that a reply of KEYS, or the second half of one of SCAN, lists; they hold no spaces.
fn listed(reply: &str) -> Vec<String> {
    let words = reply.split(' ').skip(1);
    words.skip(1).step_by(2).map(str::to_owned).collect()
}

/// One SCAN: the next cursor and the keys.
fn step(t: &mut Test, cursor: &str, options: &str) -> (String, Vec<String>) {
    let reply = t.run(&format!("SCAN {cursor} {options}")).text();
    let mut words = reply.splitn(4, ' ');
    assert_eq!(words.next(), Some("*2"), "{reply}");
    assert!(words.next().is_some_and(|len| len.starts_with('$')));
    let next = words.next().expect("a cursor").to_owned();
    (next, listed(words.next().expect("keys")))
}

/// A whole iteration, in order; asserts that nothing came twice.
fn scan_all(t: &mut Test, options: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut cursor = "0".to_owned();
    for _ in 0..100_000 {
        let (next, more) = step(t, &cursor, options);
        keys.extend(more);
        cursor = next;
        if cursor == "0" {
            let unique: BTreeSet<&String> = keys.iter().collect();
            assert_eq!(unique.len(), keys.len(), "a key came twice");
            return keys;
        }
        let cursor: u64 = cursor.parse().expect("a number");
        assert!(cursor < 1 << 63);
    }
    panic!("SCAN does not end")
}

fn filled(keys: usize) -> Test {
    let mut t = Test::new();
    for n in 0..keys {
        t.run(&format!("SET key:{n} {n}")).is("+OK");
    }
    t
}

#[test]
fn wrong_numbers_of_arguments() {
    let mut t = Test::new();
    for line in ["SCAN", "KEYS", "KEYS a b", "RANDOMKEY x", "DBSIZE x"] {
        let name = line.split(' ').next().unwrap_or_default().to_lowercase();
        t.run(line).is(&format!(
            "-ERR wrong number of arguments for '{name}' command"
        ));
    }
}

#[test]
fn cursors_are_read_as_redis_does() {
    let mut t = Test::new();
    let end = "*2 $1 0 *0";
    let read: &[&[u8]] = &[
        b"0",
        b" 0",
        b" 1",
        b"\t\x0b0",
        b"+1",
        b"01",
        b"-01",
        b"-0",
        b"0\0",
        b"0\0x",
        b"18446744073709551615",
        b"9223372036854775808",
        b"9223372036854775807",
        b"-18446744073709551615",
    ];
    for cursor in read {
        t.args(&[b"SCAN", cursor]).is(end);
    }
    let refused: &[&[u8]] = &[
        b"",
        b" ",
        b"1 ",
        b"-1",
        b"-9223372036854775808",
        b"1e3",
        b"0x1",
        b"a",
        b"1a",
        b"\0",
        b"\x000",
        b"+",
        b"-",
        b"--1",
        b"+-1",
        b"- 1",
        b"18446744073709551616",
        b"-99999999999999999999",
    ];
    for cursor in refused {
        t.args(&[b"SCAN", cursor]).is(INVALID);
        t.args(&[b"SCAN", cursor, b"COUNT", b"0"]).is(INVALID);
    }
    assert_eq!(parse_cursor(b"-01"), Some(u64::MAX));
    assert_eq!(parse_cursor(b"-9223372036854775809"), Some((1 << 63) - 1));
    assert_eq!(parse_cursor(b" 007"), Some(7));
}

#[test]
fn scan_refuses_bad_options() {
    let mut t = filled(1);
    for (options, reply) in [
        ("COUNT 0", SYNTAX),
        ("COUNT -1", SYNTAX),
        ("COUNT -9223372036854775808", SYNTAX),
        ("COUNT a", NOT_INTEGER),
        ("COUNT 01", NOT_INTEGER),
        ("COUNT 9223372036854775808", NOT_INTEGER),
        ("COUNT", SYNTAX),
        ("MATCH", SYNTAX),
        ("TYPE", SYNTAX),
        ("foo", SYNTAX),
        ("foo bar", SYNTAX),
        ("''", SYNTAX),
        ("SLOT 1", SYNTAX),
        ("COUNT 5 COUNT 0", SYNTAX),
        ("COUNT 0 NOVALUES", SYNTAX),
        ("TYPE foo", "-ERR unknown type name 'foo'"),
        ("TYPE foo COUNT 0", "-ERR unknown type name 'foo'"),
        ("TYPE foo TYPE string", "-ERR unknown type name 'foo'"),
        ("TYPE module", "-ERR unknown type name 'module'"),
        ("TYPE none", "-ERR unknown type name 'none'"),
        ("TYPE ''", "-ERR unknown type name ''"),
        ("NOVALUES", "-ERR NOVALUES option can only be used in HSCAN"),
        ("NOSCORES", "-ERR NOSCORES option can only be used in ZSCAN"),
        (
            "NOVALUES COUNT 0",
            "-ERR NOVALUES option can only be used in HSCAN",
        ),
    ] {
        t.run(&format!("SCAN 0 {options}")).is(reply);
        t.run(&format!("scan 0 {}", options.to_lowercase()))
            .is(reply);
    }
    t.args(&[b"SCAN", b"0", b"TYPE", b"fo\r\n+OK"])
        .is("-ERR unknown type name 'fo  +OK'");
    t.args(&[b"SCAN", b"0", b"TYPE", b"fo\0o"])
        .is("-ERR unknown type name 'fo'");
    t.args(&[b"SCAN", b"0", b"TYPE", b"string\0o"])
        .is("*2 $1 0 *1 $5 key:0");
}

#[test]
fn scan_filters() {
    let mut t = Test::new();
    t.run("MSET foo 1 bar abc").is("+OK");
    let mut both = scan_all(&mut t, "");
    both.sort();
    assert_eq!(both, ["bar", "foo"]);
    for options in [
        "TYPE string",
        "type STRING",
        "COUNT 9223372036854775807",
        "MATCH *",
    ] {
        assert_eq!(scan_all(&mut t, options).len(), 2, "{options}");
    }
    for kind in ["list", "set", "ZSET", "hash", "stream", "Stream"] {
        assert_eq!(scan_all(&mut t, &format!("TYPE {kind}")).len(), 0, "{kind}");
    }
    assert_eq!(scan_all(&mut t, "MATCH f* COUNT 100 TYPE string"), ["foo"]);
    assert_eq!(scan_all(&mut t, "MATCH f* MATCH b*"), ["bar"]);
    assert_eq!(
        scan_all(&mut t, "TYPE list TYPE string MATCH [f]??"),
        ["foo"]
    );
    assert_eq!(scan_all(&mut t, "match FOO").len(), 0);
    t.run("SELECT 1").is("+OK");
    t.run("SCAN 0").is("*2 $1 0 *0");
}

#[test]
fn scan_and_keys_meet_every_key_once() {
    for keys in [1, 9, 500, 5_000] {
        let mut t = filled(keys);
        let all = t.run("KEYS *").text();
        assert!(all.starts_with(&format!("*{keys} ")));
        let all: BTreeSet<String> = listed(&all).into_iter().collect();
        assert_eq!(all.len(), keys);
        for options in [
            "",
            "COUNT 1",
            "COUNT 7",
            "COUNT 1000",
            "COUNT 100000",
            "MATCH key:*",
        ] {
            let found: BTreeSet<String> = scan_all(&mut t, options).into_iter().collect();
            assert!(found == all, "{options}: {} of {keys}", found.len());
        }
        t.run("DBSIZE").is(&format!(":{keys}"));
    }
}

#[test]
fn count_bounds_a_step() {
    let mut t = filled(5_000);
    let (_, keys) = step(&mut t, "0", "COUNT 100000");
    assert_eq!(keys.len(), 5_000);
    // The filter does not make a step longer.
    let (next, keys) = step(&mut t, "0", "COUNT 10 MATCH nosuch");
    assert!(keys.is_empty() && next != "0");
    // A step ends at the end of a line of the table, so it may give some more than it was asked
    // for.
    for _ in 0..50 {
        let (_, keys) = step(&mut t, "0", "COUNT 10");
        assert!((10..100).contains(&keys.len()), "{}", keys.len());
    }
}

/// The guarantee: what is there throughout is returned, while half of the keys come and go.
#[test]
fn scan_while_the_keyspace_changes() {
    let mut t = filled(2_000);
    for (round, count) in [1, 10, 50].into_iter().enumerate() {
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let mut cursor = "0".to_owned();
        let mut steps = 0;
        loop {
            let (next, keys) = step(&mut t, &cursor, &format!("COUNT {count}"));
            for key in keys {
                if let Some(n) = key.strip_prefix("key:") {
                    assert!(seen.insert(n.to_owned()), "{key} came twice");
                }
            }
            cursor = next;
            if cursor == "0" {
                break;
            }
            steps += 1;
            if steps % 5 == 0 {
                let grow = (steps / 100) % 2 == round % 2;
                for n in 0..200 {
                    let key = format!("other:{}", (steps * 200 + n) % 10_000);
                    let line = if grow {
                        format!("SET {key} v")
                    } else {
                        format!("DEL {key}")
                    };
                    t.run(&line);
                }
            }
        }
        assert_eq!(seen.len(), 2_000, "round {round}");
    }
}

#[test]
fn any_cursor_is_a_place() {
    let mut t = filled(1_000);
    for cursor in [
        1u64,
        12_345,
        1 << 47,
        (1 << 48) - 1,
        1 << 48,
        1 << 63,
        u64::MAX,
    ] {
        let (next, _) = step(&mut t, &cursor.to_string(), "COUNT 3");
        let next: u64 = next.parse().expect("a number");
        assert!(next == 0 || next > cursor, "{cursor} {next}");
    }
    let (middle, keys) = step(&mut t, &(1u64 << 47).to_string(), "COUNT 1000000");
    assert_eq!(middle, "0");
    assert!((400..600).contains(&keys.len()), "{}", keys.len());
}

#[test]
fn expired_keys_are_not_shown_and_scan_deletes_them() {
    let mut t = Test::new();
    t.run("SET live 1").is("+OK");
    t.run("SET e 1 PX 1").is("+OK");
    t.run("SET f 1 PX 1").is("+OK");
    t.clock.advance(1);
    t.counted("KEYS *", "*1 $4 live", [0, 0, 0, 0]);
    t.counted("KEYS e", "*0", [0, 0, 0, 0]);
    t.run("DBSIZE").is(":3");
    t.counted("SCAN 0 MATCH f", "*2 $1 0 *0", [0, 0, 0, 1]);
    t.run("DBSIZE").is(":2");
    t.counted("SCAN 0 TYPE list", "*2 $1 0 *0", [0, 0, 0, 0]);
    t.run("DBSIZE").is(":2");
    t.counted("SCAN 0", "*2 $1 0 *1 $4 live", [0, 0, 0, 1]);
    t.run("DBSIZE").is(":1");
}

#[test]
fn scan_deletes_many_expired_keys() {
    let mut t = filled(100);
    for n in 0..3_000 {
        t.run(&format!("SET old:{n} v PX 1")).is("+OK");
    }
    t.clock.advance(1);
    assert_eq!(scan_all(&mut t, "COUNT 1000000").len(), 100);
    t.run("DBSIZE").is(":100");
}

#[test]
fn keys_matches_patterns() {
    let mut t = Test::new();
    for key in ["abc", "abd", "xyz", "a*c", "a\\c", "[x]"] {
        t.args(&[b"SET", key.as_bytes(), b"v"]).is("+OK");
    }
    let all = vec!["[x]", "a*c", "a\\c", "abc", "abd", "xyz"];
    for (pattern, mut expected) in [
        ("abc", vec!["abc"]),
        ("nosuch", vec![]),
        ("ab?", vec!["abc", "abd"]),
        ("ab[d-z]", vec!["abd"]),
        ("a\\*c", vec!["a*c"]),
        ("a\\\\c", vec!["a\\c"]),
        ("a\\c", vec![]),
        ("\\[x]", vec!["[x]"]),
        ("*", all.clone()),
        ("**", all),
        ("ABC", vec![]),
        ("", vec![]),
    ] {
        let reply = t.args(&[b"KEYS", pattern.as_bytes()]);
        let mut found = listed(&reply.text());
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{pattern}");
    }
}

#[test]
fn the_empty_key_matches_a_lone_star_only() {
    let mut t = Test::new();
    t.run("SET '' x").is("+OK");
    for (line, reply) in [
        ("KEYS *", "*1 $0 "),
        ("KEYS ''", "*1 $0 "),
        ("KEYS **", "*0"),
        ("KEYS ?", "*0"),
        ("SCAN 0", "*2 $1 0 *1 $0 "),
        ("SCAN 0 MATCH *", "*2 $1 0 *1 $0 "),
        ("SCAN 0 MATCH ''", "*2 $1 0 *1 $0 "),
        ("SCAN 0 MATCH **", "*2 $1 0 *0"),
        ("RANDOMKEY", "$0 "),
    ] {
        // The bulk's own line break is part of what is trimmed.
        t.run(line).is(reply.trim_end());
    }
}

#[test]
fn a_hostile_pattern_costs_linear_time() {
    let mut t = Test::new();
    let key = vec![b'a'; 100_000];
    let pattern = [&b"*a".repeat(5_000)[..], b"b"].concat();
    t.args(&[b"SET", &key, b"v"]).is("+OK");
    t.args(&[b"KEYS", &pattern]).is("*0");
    t.args(&[b"SCAN", b"0", b"MATCH", &pattern])
        .is("*2 $1 0 *0");
}

#[test]
fn binary_keys_come_back_as_they_are() {
    let mut t = Test::new();
    let key = b"\0\r\n\xff";
    t.args(&[b"SET", key, b"v"]).is("+OK");
    let bulk = b"$4\r\n\0\r\n\xff\r\n";
    assert_eq!(t.run("KEYS *").0, [&b"*1\r\n"[..], bulk].concat());
    assert_eq!(t.args(&[b"KEYS", key]).0, [&b"*1\r\n"[..], bulk].concat());
    assert_eq!(t.run("RANDOMKEY").0, bulk);
    assert_eq!(
        t.run("SCAN 0").0,
        [&b"*2\r\n$1\r\n0\r\n*1\r\n"[..], bulk].concat()
    );
}

#[test]
fn randomkey_finds_every_live_key() {
    let mut t = Test::new();
    t.run("RANDOMKEY").is("$-1");
    t.run("MSET a 1 b 2 c 3").is("+OK");
    let mut met = BTreeSet::new();
    for _ in 0..1_000 {
        met.insert(t.run("RANDOMKEY").text());
    }
    assert_eq!(
        met.into_iter().collect::<Vec<_>>(),
        ["$1 a", "$1 b", "$1 c"]
    );
    t.run("SELECT 1").is("+OK");
    t.run("RANDOMKEY").is("$-1");
    t.run("HELLO 3");
    t.run("RANDOMKEY").is("_");
}

#[test]
fn randomkey_deletes_the_expired_it_meets() {
    let mut t = Test::new();
    for n in 0..50 {
        t.run(&format!("SET old:{n} v PX 1")).is("+OK");
    }
    t.run("SET live 1").is("+OK");
    t.clock.advance(1);
    for _ in 0..20 {
        t.run("RANDOMKEY").is("$4 live");
    }
    t.run("DEL live").is(":1");
    t.run("RANDOMKEY").is("$-1");
    t.run("DBSIZE").is(":0");
}

#[test]
fn dbsize_counts_one_database() {
    let mut t = filled(10);
    t.run("DBSIZE").is(":10");
    t.run("SELECT 3").is("+OK");
    t.counted("DBSIZE", ":0", [0; 4]);
    t.run("SET k v").is("+OK");
    t.run("DBSIZE").is(":1");
}

/// With the same seed keys have the same order on another server, and a cursor of one is a place on the
/// other, whatever the number of shards.
#[test]
fn a_seed_makes_the_order() {
    let with = |seed: &str, threads: &str| {
        let mut t = Test::with(&["--hash-seed", seed, "--io-threads", threads]);
        for key in 0..500 {
            t.run(&format!("SET key:{key} x"));
        }
        t
    };
    let (mut one, mut many) = (with("a seed", "1"), with("a seed", "16"));
    assert_ne!(
        one.session.server().keyspace.shards(),
        many.session.server().keyspace.shards()
    );
    let order = scan_all(&mut one, "COUNT 7");
    assert_eq!(order.len(), 500);
    assert_eq!(scan_all(&mut with("a seed", "1"), "COUNT 7"), order);
    let (cursor, mut keys) = step(&mut one, "0", "COUNT 50");
    let (_, rest) = step(&mut many, &cursor, "COUNT 1000");
    keys.extend(rest);
    let all: BTreeSet<&String> = keys.iter().collect();
    assert_eq!((keys.len(), all.len()), (500, 500), "each exactly once");
    assert_ne!(scan_all(&mut with("another", "1"), "COUNT 7"), order);
    assert_ne!(scan_all(&mut with("", "1"), "COUNT 7"), order);
}
