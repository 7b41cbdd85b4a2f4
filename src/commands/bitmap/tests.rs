//! Replies, changes and figures of every bitmap command as Valkey 9.1.2 gave them (`valkey.txt`: a
//! request a line, its reply, then how far it moved hits, misses, changes and expired keys), what
//! Valkey does not have against a model, and values of every form they are stored in.

use crate::commands::tests::Test;
use crate::ds::entry::SHARED_MIN;
use crate::util::rng::Rng;

/// The bytes of a bulk string.
fn bulk(test: &mut Test, key: &str) -> Vec<u8> {
    let reply = test.run(&format!("GET {key}")).0;
    if reply == b"$-1\r\n" {
        return Vec::new();
    }
    let at = reply.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    reply[at..reply.len() - 2].to_vec()
}

fn bit(bytes: &[u8], at: usize) -> bool {
    bytes
        .get(at / 8)
        .is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

fn set_bit(bytes: &mut Vec<u8>, at: usize, bit: bool) {
    bytes.resize(bytes.len().max(at / 8 + 1), 0);
    let mask = 1 << (7 - at % 8);
    match bit {
        true => bytes[at / 8] |= mask,
        false => bytes[at / 8] &= !mask,
    }
}

#[test]
fn replies_and_figures_are_valkeys() {
    let mut test = Test::new();
    let mut lines = include_str!("tests/valkey.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    let mut count = 0;
    while let Some(line) = lines.next() {
        let (reply, figures) = (lines.next().unwrap(), lines.next().unwrap());
        let mut moved = [0; 4];
        for (number, text) in moved.iter_mut().zip(figures.split_whitespace()) {
            *number = text.parse().unwrap();
        }
        test.counted(line, reply.trim_start(), moved);
        count += 1;
    }
    assert!(count > 900, "{count}");
}

#[test]
fn what_fails_is_null_in_both_protocols() {
    let mut test = Test::new();
    let line = "BITFIELD k OVERFLOW FAIL SET u1 0 5 GET u1 0";
    test.run(line).is("*2 $-1 :0");
    test.run("HELLO 3");
    test.run(line).is("*2 _ :0");
}

/// What Redis 8.2 has, by its documentation: bits of `first` and how many others have them.
fn combined(op: &str, first: bool, others: usize) -> bool {
    match op {
        "DIFF" => first && others == 0,
        "DIFF1" => !first && others > 0,
        "ANDOR" => first && others > 0,
        "ONE" => usize::from(first) + others == 1,
        _ => panic!("{op}"),
    }
}

#[test]
fn the_operations_of_redis_8_2_combine_as_documented() {
    let mut test = Test::new();
    let mut rng = Rng::from_seed(1);
    for round in 0..200 {
        let op = ["DIFF", "DIFF1", "ANDOR", "ONE"][round % 4];
        let number = 2 + rng.index(3);
        let mut sources = Vec::new();
        for source in 0..number {
            let len = [0, 1, 3, 40][rng.index(4)];
            let mut bytes = vec![0; len];
            rng.fill(&mut bytes);
            let key = format!("s{source}");
            test.args(&[b"SET", key.as_bytes(), &bytes]).is("+OK");
            sources.push(bytes);
        }
        let keys: Vec<String> = (0..number).map(|source| format!("s{source}")).collect();
        let len = sources.iter().map(Vec::len).max().unwrap();
        // A source may be the destination.
        let destination = ["d", "s0", "s1"][rng.index(3)];
        test.run(&format!("BITOP {op} {destination} {}", keys.join(" ")))
            .is(&format!(":{len}"));
        let result = bulk(&mut test, destination);
        assert_eq!(result.len(), len);
        for at in 0..len * 8 {
            let others = sources[1..].iter().filter(|bytes| bit(bytes, at)).count();
            let wanted = combined(op, bit(&sources[0], at), others);
            assert_eq!(bit(&result, at), wanted, "{op} of {sources:?} at {at}");
        }
    }
}

#[test]
fn the_operations_of_redis_8_2_take_two_sources_but_for_one() {
    let mut test = Test::new();
    test.run("SET a \"\\x0f\"");
    for op in ["diff", "DIFF1", "AndOr"] {
        let name = op.to_uppercase();
        test.run(&format!("BITOP {op} d a")).is(&format!(
            "-ERR BITOP {name} must be called with at least two source keys."
        ));
    }
    test.run("BITOP one d a").is(":1");
    test.run("BITCOUNT d").is(":4");
    test.run("BITOP DIFF d none none").is(":0");
    test.run("EXISTS d").is(":0");
    test.run("RPUSH l a");
    test.run("BITOP ONE d a l")
        .is("-WRONGTYPE Operation against a key holding the wrong kind of value");
}

/// Bits set at random in values of every form, some of which another key holds, too, against bytes.
#[test]
fn values_grow_and_change_whatever_their_form() {
    for seed in 0..12 {
        let mut rng = Rng::from_seed(seed);
        let (mut test, mut model) = (Test::new(), Vec::new());
        let mut held = Vec::new();
        for _ in 0..300 {
            let reach = [64, 4_096 * 8, SHARED_MIN * 8, 100_000 * 8][rng.index(4)];
            let at = match rng.below(3) {
                0 => rng.index(reach),
                _ => rng.index(model.len() * 8 + 9),
            };
            match rng.below(12) {
                0..6 => {
                    let new = rng.below(2) == 1;
                    let old = u8::from(bit(&model, at));
                    test.run(&format!("SETBIT k {at} {}", u8::from(new)))
                        .is(&format!(":{old}"));
                    set_bit(&mut model, at, new);
                }
                6..8 => {
                    let value = rng.below(1 << 13);
                    test.run(&format!("BITFIELD k SET u13 {at} {value}"));
                    for bit in 0..13 {
                        set_bit(&mut model, at + bit, value >> (12 - bit) & 1 == 1);
                    }
                }
                8 => {
                    let number = rng.next_u64() as i64 >> rng.below(64);
                    test.run(&format!("SET k {number}"));
                    model = number.to_string().into_bytes();
                }
                9 => {
                    test.run("APPEND k more");
                    model.extend_from_slice(b"more");
                }
                10 => {
                    test.run("COPY k held REPLACE");
                    held = model.clone();
                }
                _ => {
                    test.run("PEXPIRE k 100000");
                }
            }
        }
        assert_eq!(bulk(&mut test, "k"), model, "seed {seed}");
        assert_eq!(bulk(&mut test, "held"), held, "seed {seed}");
        let ones: u32 = model.iter().map(|byte| byte.count_ones()).sum();
        test.run("BITCOUNT k").is(&format!(":{ones}"));
    }
}

#[test]
fn bits_lie_where_values_may_reach() {
    let mut test = Test::new();
    // Half a gigabyte of zeros, of which nobody has written more than the last.
    test.run("SETBIT k 4294967295 1").is(":0");
    test.run("STRLEN k").is(":536870912");
    test.run("GETBIT k 4294967295").is(":1");
    test.run("GETBIT k 4294967294").is(":0");
    test.run("BITFIELD_RO k GET u8 4294967295").is("*1 :128");
    test.run("SETBIT k 4294967295 0").is(":1");
    let out = "-ERR bit offset is not an integer or out of range";
    test.run("SETBIT k 4294967296 1").is(out);
    test.run("CONFIG SET proto-max-bulk-len 1048576").is("+OK");
    for line in [
        "SETBIT m 8388608 1",
        "GETBIT m 8388608",
        "BITFIELD m GET u1 8388608",
        "BITFIELD m SET u63 #133153 1",
        "BITFIELD_RO m GET u1 #8388608",
        "SETBIT m 9223372036854775807 1",
    ] {
        test.run(line).is(out);
    }
    // Only its beginning has to lie inside.
    test.run("BITFIELD m SET u63 8388607 -1").is("*1 :0");
    test.run("STRLEN m").is(":1048584");
    test.run("CONFIG SET proto-max-bulk-len 9223372036854775807")
        .is("+OK");
    test.run("GETBIT m 9223372036854775807").is(":0");
    test.run("BITFIELD m GET u63 9223372036854775807")
        .is("*1 :0");
    // No memory is large enough: nothing is left behind.
    let no_memory = "-ERR Insufficient memory, failed allocating string";
    test.run("SETBIT n 9223372036854775807 1").is(no_memory);
    test.run("BITFIELD n SET u63 9223372036854775807 1")
        .is(no_memory);
    test.run("EXISTS n").is(":0");
    test.run("SETBIT m 9223372036854775807 1").is(no_memory);
    test.run("STRLEN m").is(":1048584");
}

#[test]
fn growing_bit_by_bit_copies_little() {
    let mut test = Test::new();
    let mut capacities = std::collections::BTreeSet::new();
    for at in (0..4_000_000).step_by(800) {
        test.run(&format!("SETBIT k {at} 1"));
        let usage = test.run("MEMORY USAGE k").text();
        capacities.insert(usage);
    }
    // Each is a copy of all that is there.
    assert!(capacities.len() < 80, "{}", capacities.len());
}

#[test]
fn bitfield_reads_or_writes_its_key_by_its_operations() {
    let mut test = Test::new();
    let (reads, writes) = (
        "*1 *2 $1 k *2 +RO +access",
        "*1 *2 $1 k *3 +RW +access +update",
    );
    for (line, wanted) in [
        ("BITFIELD k", reads),
        ("BITFIELD k GET u8 0", reads),
        ("BITFIELD k get u8 0 overflow x", reads),
        ("BITFIELD k OVERFLOW SAT", reads),
        ("BITFIELD k GET u8", writes),
        ("BITFIELD k OVERFLOW", writes),
        ("BITFIELD k FOO", writes),
        ("BITFIELD k SET u8 0 1", writes),
        ("BITFIELD k GET u8 0 SET u8", writes),
        ("BITFIELD_RO k GET u8 0", reads),
    ] {
        test.run(&format!("COMMAND GETKEYSANDFLAGS {line}"))
            .is(wanted);
    }
}

/// A value that others hold is copied once, and what they hold stays as it was.
#[test]
fn a_value_that_is_held_elsewhere_is_copied() {
    let mut test = Test::new();
    test.args(&[b"SET", b"a", &[b'x'; 40_000]]).is("+OK");
    test.run("COPY a b").is(":1");
    test.run("SETBIT a 0 1").is(":0");
    test.run("BITFIELD b SET u8 #39999 0 SET u8 #40000 1")
        .is("*2 :120 :0");
    let (a, b) = (bulk(&mut test, "a"), bulk(&mut test, "b"));
    assert_eq!((a[0], a[39_999], a.len()), (b'x' | 0x80, b'x', 40_000));
    assert_eq!((b[0], b[39_999], b[40_000], b.len()), (b'x', 0, 1, 40_001));
}

#[test]
fn requests_with_very_many_operations_are_answered() {
    let mut test = Test::new();
    let mut request: Vec<&[u8]> = vec![b"BITFIELD", b"k"];
    for _ in 0..10_000 {
        request.extend([&b"INCRBY"[..], b"u16", b"#1", b"1"]);
    }
    test.args(&request).has(":9999 :10000");
    test.run("BITFIELD_RO k GET u16 16").is("*1 :10000");
}
