//! Replies and changes of every HyperLogLog command, most of them as Valkey 9.1.2 gave them:
//! `valkey.txt` is a transcript of a real server, one request a line, then how far it moved
//! keyspace_hits, keyspace_misses and rdb_changes_since_last_save, then its reply. `!add key 1 100` adds
//! the numbers from 1 to 100, `!ones key` writes ones over the registers of a dense value. DEBUG
//! DIGEST-VALUE shows that all bytes are the same.

use crate::commands::tests::Test;
use crate::commands::tests::propagation::Logged;
use crate::ds::hll::{PACKED_BYTES, REGISTERS};
use crate::value::hyperloglog::{DENSE_BYTES, EMPTY, HEADER_BYTES, Place};

/// PFADDs of the numbers from `first` to `last`, a hundred at a time.
fn add(t: &mut Test, key: &str, first: u64, last: u64) {
    let numbers: Vec<String> = (first..=last).map(|number| number.to_string()).collect();
    for some in numbers.chunks(100) {
        t.run(&format!("PFADD {key} {}", some.join(" ")));
    }
}

/// The bytes of a key.
fn bytes(t: &mut Test, key: &str) -> Vec<u8> {
    let reply = t.run(&format!("GET {key}")).0;
    let start = reply.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    reply[start..reply.len() - 2].to_vec()
}

/// What a line of the transcript answers.
fn answer(t: &mut Test, line: &str) -> String {
    let Some(rest) = line.strip_prefix('!') else {
        return t.run(line).text();
    };
    let words: Vec<&str> = rest.split(' ').collect();
    match words[..] {
        ["add", key, first, last] => add(t, key, first.parse().unwrap(), last.parse().unwrap()),
        ["ones", key] => {
            let args = [b"SETRANGE", key.as_bytes(), b"16", &[0xFF; PACKED_BYTES]];
            t.args(&args).is(&format!(":{DENSE_BYTES}"));
        }
        _ => panic!("{line}"),
    }
    "done".to_owned()
}

#[test]
fn everything_is_as_valkey_answers_it() {
    let mut t = Test::new();
    let mut requests = 0;
    for line in include_str!("valkey.txt").lines() {
        if line.starts_with("## ") {
            t = Test::new();
            continue;
        }
        let fields: Vec<&str> = line.split('\t').collect();
        let [request, moved, reply] = fields[..] else {
            panic!("three fields: {line}")
        };
        requests += 1;
        let before = t.counts();
        assert_eq!(answer(&mut t, request), reply, "{request}");
        let after = t.counts();
        let counts: Vec<String> = (0..3).map(|i| (after[i] - before[i]).to_string()).collect();
        assert_eq!(counts.join(" "), moved, "{request}");
    }
    assert!(requests > 1500, "{requests}");
}

#[test]
fn getreg_shows_all_registers_and_makes_dense() {
    let mut t = Test::new();
    add(&mut t, "k", 1, 200);
    let mut registers = vec![0; REGISTERS];
    for number in 1..=200 {
        let place = Place::of(number.to_string().as_bytes());
        registers[place.index] = registers[place.index].max(place.rank);
    }
    let elements: Vec<String> = registers.iter().map(|rank| format!(":{rank}")).collect();
    let expected = format!("*{REGISTERS} {}", elements.join(" "));
    t.counted("PFDEBUG GETREG k", &expected, [0, 0, 1, 0]);
    t.run("PFDEBUG ENCODING k").is("+dense");
    t.counted("PFDEBUG GETREG k", &expected, [0, 0, 0, 0]);
    assert_eq!(bytes(&mut t, "k").len(), DENSE_BYTES);
}

#[test]
fn simd_has_one_reply() {
    let mut t = Test::new();
    // Valkey sends a second one behind the error.
    t.run("PFDEBUG SIMD k")
        .is("-ERR Argument must be ON or OFF");
    t.run("PFDEBUG SIMD off").is("+disabled");
    t.run("PFDEBUG SIMD ON").is("+enabled");
}

#[test]
fn a_half_run_at_the_end_is_never_replaced() {
    let mut t = Test::new();
    // 256 zeros, then half of a run that would be 16129 with a zero behind it: with that they are
    // all registers, and for reading Valkey takes it so.
    let mut value = EMPTY[..HEADER_BYTES].to_vec();
    value[15] = 0x80;
    value.extend_from_slice(&[0x3F, 0x3F, 0x3F, 0x3E, 0x7F]);
    t.args(&[b"SET", b"k", &value]).is("+OK");
    t.run("PFCOUNT k x").is(":0");
    t.run("PFDEBUG DECODE k")
        .is("$27 z:64 z:64 z:64 z:63 Z:16129");
    t.run("PFADD k a")
        .is("-INVALIDOBJ Corrupted HLL object detected");
    assert_eq!(bytes(&mut t, "k"), value);
}

#[test]
fn large_values_that_a_reply_holds_are_changed_apart() {
    let mut t = Test::new();
    add(&mut t, "k", 1, 5000);
    let dense = bytes(&mut t, "k");
    // A buffer outside of the entry, which is shared with whoever sends it.
    t.run("SETRANGE s 12303 \"\\x00\"").is(":12304");
    t.args(&[b"SETRANGE", b"s", b"0", &dense]).is(":12304");
    t.run("COPY s c").is(":1");
    t.run("PFADD s new elements here").is(":1");
    assert_eq!(bytes(&mut t, "c"), dense);
    t.run("PFCOUNT c").is(":4985");
    t.run("PFADD k new elements here").is(":1");
    t.run("PFCOUNT k").is(":4989");
    t.run("PFCOUNT s").is(":4989");
    assert_eq!(bytes(&mut t, "k"), bytes(&mut t, "s"));
}

#[test]
fn an_estimate_that_is_stored_counts_as_a_write() {
    let mut logged = Logged::new();
    logged.logs("PFADD k a b", &["SELECT 0", "PFADD k a b"]);
    logged.logs("PFCOUNT k", &["PFCOUNT k"]);
    logged.logs("PFCOUNT k", &[]);
    logged.logs("PFCOUNT k k", &[]);
    logged.logs("PFADD k a", &[]);
    logged.logs("PFMERGE d k x", &["PFMERGE d k x"]);
    logged.logs("PFDEBUG GETREG d", &["PFDEBUG GETREG d"]);
    logged.logs("PFDEBUG TODENSE d", &[]);
    logged.repeats();
}

#[test]
fn what_is_added_before_a_corrupt_place_is_logged() {
    let mut logged = Logged::new();
    // The first half of the registers.
    let line =
        "SET k \"HYLL\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x5f\\xff\"";
    logged.test.run(line).is("+OK");
    logged.records();
    let number = |wanted: bool| {
        let is_low = |n: &u32| Place::of(n.to_string().as_bytes()).index < REGISTERS / 2;
        (0..).find(|n| is_low(n) == wanted).unwrap()
    };
    let line = format!("PFADD k {} {}", number(true), number(false));
    logged
        .test
        .run(&line)
        .is("-INVALIDOBJ Corrupted HLL object detected");
    assert_eq!(logged.records(), [line]);
    logged.repeats();
}

#[test]
fn who_watches_sees_an_estimate_stored() {
    let mut t = Test::new();
    let mut other = t.client();
    let mut watched = |t: &mut Test, line: &str| {
        other.run("WATCH k").is("+OK");
        t.run(line);
        other.run("MULTI").is("+OK");
        other.run("PING").is("+QUEUED");
        other.run("EXEC").text() != "*-1"
    };
    assert!(!watched(&mut t, "PFADD k a"));
    assert!(!watched(&mut t, "PFCOUNT k"));
    assert!(watched(&mut t, "PFCOUNT k"));
    assert!(watched(&mut t, "PFADD k a"));
    assert!(watched(&mut t, "PFADD k"));
    // As in Valkey: the value means what it meant.
    assert!(watched(&mut t, "PFDEBUG TODENSE k"));
    assert!(!watched(&mut t, "PFMERGE k"));
}

#[test]
fn in_a_transaction_a_destination_needs_no_sources() {
    let mut t = Test::new();
    t.run("MULTI").is("+OK");
    t.run("PFMERGE k").is("+QUEUED");
    t.run("PFMERGE k2 k k").is("+QUEUED");
    t.run("EXEC").is("*2 +OK +OK");
    t.run("PFMERGE k3").is("+OK");
    t.run("EXISTS k k2 k3").is(":3");
}
