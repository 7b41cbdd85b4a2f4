//! Every set command and option, in every encoding and both protocols, as Valkey 9.1.2 answers them.

use std::collections::BTreeSet;

use super::COMMANDS;
use crate::commands::tests::{Reply, Test};
use crate::resp::read;

const WRONGTYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// The members in a reply, which is an array or a set.
fn members(reply: Reply) -> Vec<String> {
    let mut replies = read::Reply::parse_all(&reply.0).expect("a well-formed reply");
    let (read::Reply::Array(items) | read::Reply::Set(items)) = replies.remove(0) else {
        panic!("{reply:?}")
    };
    let text = |item| match item {
        read::Reply::Bulk(bytes) => String::from_utf8(bytes).expect("text"),
        other => panic!("{other:?}"),
    };
    items.into_iter().map(text).collect()
}

fn sorted(reply: Reply) -> String {
    let mut members = members(reply);
    members.sort();
    members.join(" ")
}

/// A server whose sets start as `encoding`, whatever is in them; integers only for an intset.
fn with_encoding(encoding: &str) -> Test {
    let limits = match encoding {
        "intset" => ["512", "128"],
        "listpack" => ["0", "128"],
        _ => ["0", "0"],
    };
    let [intset, listpack] = limits;
    Test::with(&[
        "--set-max-intset-entries",
        intset,
        "--set-max-listpack-entries",
        listpack,
    ])
}

const ENCODINGS: [&str; 3] = ["intset", "listpack", "hashtable"];

#[test]
fn members_come_and_go() {
    for encoding in ENCODINGS {
        let mut t = with_encoding(encoding);
        t.counted("SADD s 1 2 3 2", ":3", [0, 0, 3, 0]);
        t.run("OBJECT ENCODING s")
            .is(&format!("${} {encoding}", encoding.len()));
        t.counted("SADD s 3", ":0", [0, 0, 0, 0]);
        t.counted("SADD s 4", ":1", [0, 0, 1, 0]);
        t.counted("SCARD s", ":4", [1, 0, 0, 0]);
        t.counted("SISMEMBER s 2", ":1", [1, 0, 0, 0]);
        t.counted("SISMEMBER s 5", ":0", [1, 0, 0, 0]);
        t.counted("SISMEMBER s 02", ":0", [1, 0, 0, 0]);
        t.counted("SMISMEMBER s 1 x 4 1", "*4 :1 :0 :1 :1", [1, 0, 0, 0]);
        assert_eq!(sorted(t.run("SMEMBERS s")), "1 2 3 4");
        t.counted("SREM s 1 9 1", ":1", [0, 0, 1, 0]);
        t.counted("SREM s 9", ":0", [0, 0, 0, 0]);
        t.counted("SREM s 2 3 4 5", ":3", [0, 0, 3, 0]);
        t.run("EXISTS s").is(":0");
        t.counted("SREM s 1", ":0", [0, 0, 0, 0]);
    }
}

#[test]
fn a_key_that_is_not_there_is_an_empty_set() {
    let mut t = Test::new();
    t.counted("SCARD no", ":0", [0, 1, 0, 0]);
    t.counted("SMEMBERS no", "*0", [0, 1, 0, 0]);
    t.counted("SISMEMBER no a", ":0", [0, 1, 0, 0]);
    t.counted("SMISMEMBER no a b", "*2 :0 :0", [0, 1, 0, 0]);
    t.counted("SRANDMEMBER no", "$-1", [0, 1, 0, 0]);
    t.counted("SRANDMEMBER no 2", "*0", [0, 1, 0, 0]);
    t.counted("SPOP no", "$-1", [0, 0, 0, 0]);
    t.counted("SPOP no 2", "*0", [0, 0, 0, 0]);
    t.counted("SSCAN no 0", "*2 $1 0 *0", [0, 1, 0, 0]);
    t.counted("SSCAN no 0 nonsense", "*2 $1 0 *0", [0, 1, 0, 0]);
    t.counted("SMOVE no d a", ":0", [0, 0, 0, 0]);
    t.counted("SINTER no no2", "*0", [0, 2, 0, 0]);
    t.counted("SUNION no no2", "*0", [0, 2, 0, 0]);
    t.counted("SDIFF no no2", "*0", [0, 2, 0, 0]);
    t.counted("SINTERCARD 1 no", ":0", [0, 1, 0, 0]);
    t.counted("SUNIONSTORE d no", ":0", [0, 1, 0, 0]);
    t.run("EXISTS no d").is(":0");
}

#[test]
fn another_type_is_refused() {
    let mut t = Test::new();
    t.run("SET str x");
    t.run("SADD s a");
    for line in [
        "SADD str a",
        "SREM str a",
        "SCARD str",
        "SMEMBERS str",
        "SISMEMBER str a",
        "SMISMEMBER str a",
        "SPOP str",
        "SPOP str 0",
        "SRANDMEMBER str",
        "SRANDMEMBER str 0",
        "SRANDMEMBER str -1",
        "SSCAN str 0",
        "SSCAN str 0 nonsense",
        "SMOVE str s a",
        "SMOVE s str a",
        "SMOVE s str zz",
        "SMOVE str no a",
        "SINTER str",
        "SINTER no str",
        "SINTER str no",
        "SINTERSTORE s no str",
        "SINTERCARD 2 no str",
        "SUNION no str",
        "SUNIONSTORE s str",
        "SDIFF no str",
        "SDIFFSTORE s no str",
    ] {
        t.run(line).is(WRONGTYPE);
    }
    t.run("SMEMBERS s").is("*1 $1 a");
    t.run("GET str").is("$1 x");
    // The source that is not there is looked at first.
    t.run("SMOVE no str a").is(":0");
    // The destination may hold anything.
    t.run("SUNIONSTORE str s").is(":1");
    t.run("TYPE str").is("+set");
}

#[test]
fn resp3_tells_sets_from_arrays() {
    for encoding in ENCODINGS {
        let mut t = with_encoding(encoding);
        t.run("HELLO 3");
        t.run("SADD s 1");
        t.run("SMEMBERS s").is("~1 $1 1");
        t.run("SMEMBERS no").is("~0");
        t.run("SINTER s s").is("~1 $1 1");
        t.run("SINTER s no").is("~0");
        t.run("SUNION s no").is("~1 $1 1");
        t.run("SDIFF s no").is("~1 $1 1");
        t.run("SDIFF no s").is("~0");
        t.run("SRANDMEMBER s").is("$1 1");
        t.run("SRANDMEMBER s 5").is("*1 $1 1");
        t.run("SRANDMEMBER s -2").is("*2 $1 1 $1 1");
        t.run("SRANDMEMBER s 0").is("*0");
        t.run("SRANDMEMBER no").is("_");
        t.run("SRANDMEMBER no 1").is("*0");
        t.run("SMISMEMBER s 1 2").is("*2 :1 :0");
        t.run("SSCAN s 0").is("*2 $1 0 *1 $1 1");
        t.run("SPOP s 0").is("~0");
        t.run("SPOP s 1").is("~1 $1 1");
        t.run("SPOP s 1").is("~0");
        t.run("SPOP s").is("_");
    }
}

#[test]
fn encodings_follow_the_directives() {
    let mut t = Test::new();
    let encoding = |t: &mut Test, key: &str| t.run(&format!("OBJECT ENCODING {key}")).text();
    let numbers = |count: usize| -> String { (0..count).map(|n| format!(" {n}")).collect() };
    t.run(&format!("SADD i{}", numbers(512)));
    assert_eq!(encoding(&mut t, "i"), "$6 intset");
    t.run("SADD i 512");
    assert_eq!(encoding(&mut t, "i"), "$9 hashtable");
    t.run("SADD l 1 2 a");
    assert_eq!(encoding(&mut t, "l"), "$8 listpack");
    t.run("SMEMBERS l").is("*3 $1 1 $1 2 $1 a");
    t.run(&format!("SADD l {}", "x".repeat(65)));
    assert_eq!(encoding(&mut t, "l"), "$9 hashtable");
    // Only the first member and how many there are decide about a new set, duplicates counted.
    t.run("CONFIG SET set-max-intset-entries 3 set-max-listpack-entries 4");
    t.run("SADD a 1 1 1 1");
    assert_eq!(encoding(&mut t, "a"), "$8 listpack");
    t.run("SADD b 1 1 1 1 1");
    assert_eq!(encoding(&mut t, "b"), "$9 hashtable");
    t.run("SADD c 1 2 3");
    t.run("SADD c 1 1 1 1").is(":0");
    assert_eq!(encoding(&mut t, "c"), "$9 hashtable");
    // What is a table stays one.
    t.run("CONFIG SET set-max-intset-entries 512 set-max-listpack-entries 128");
    t.run("SREM c 1 2");
    assert_eq!(encoding(&mut t, "c"), "$9 hashtable");
    t.run("CONFIG SET set-max-intset-entries 1");
    t.run("SADD d 1");
    t.run("SADD d 2");
    assert_eq!(encoding(&mut t, "d"), "$9 hashtable");
}

#[test]
fn results_get_the_encoding_that_valkey_gives_them() {
    let mut t = Test::new();
    let numbers =
        |from: usize, to: usize| -> String { (from..=to).map(|n| format!(" {n}")).collect() };
    t.run(&format!("SADD a{}", numbers(1, 600)));
    t.run(&format!("SADD b{}", numbers(590, 700)));
    t.run("SADD c x y z 1 2 3");
    t.run(&format!("SADD e{}", numbers(1, 200)));
    t.run(&format!("SADD f {} 1 2 3 4 5", "q".repeat(70)));
    for (line, len, encoding) in [
        ("SINTERSTORE d a b", 11, "intset"),
        ("SUNIONSTORE d a b", 700, "hashtable"),
        ("SDIFFSTORE d a b", 589, "hashtable"),
        ("SINTERSTORE d a c", 3, "intset"),
        ("SINTERSTORE d c a", 3, "intset"),
        ("SUNIONSTORE d c", 6, "listpack"),
        ("SUNIONSTORE d a c", 603, "hashtable"),
        ("SDIFFSTORE d c a", 3, "listpack"),
        ("SINTERSTORE d f e", 5, "intset"),
        ("SDIFFSTORE d f e", 1, "hashtable"),
        ("SDIFFSTORE d e f", 195, "intset"),
        ("SINTERSTORE d f f", 6, "hashtable"),
        ("SINTERSTORE d c", 6, "listpack"),
        ("SDIFFSTORE d a no", 600, "hashtable"),
        ("SDIFFSTORE d a e b", 389, "intset"),
        // To remove from a copy is less work, and the copy is a table already.
        ("SDIFFSTORE d a e c", 400, "hashtable"),
        ("SDIFFSTORE d a e e e b c f", 389, "hashtable"),
    ] {
        t.run(line).is(&format!(":{len}"));
        let found = t.run("OBJECT ENCODING d").text();
        assert!(found.ends_with(encoding), "{line}: {found}");
    }
    // An intersection of tables starts as a listpack, however many integers it has.
    t.run("CONFIG SET set-max-intset-entries 5");
    t.run(&format!("SADD g{}", numbers(1, 700)));
    t.run("SINTERSTORE d e g").is(":200");
    t.run("OBJECT ENCODING d").is("$9 hashtable");
    t.run("DEL e");
    t.run(&format!("SADD e{}", numbers(1, 100)));
    t.run("SADD e 101 102 103 104 105 106");
    t.run("OBJECT ENCODING e").is("$8 listpack");
    t.run("SUNIONSTORE e e").is(":106");
    t.run("OBJECT ENCODING e").is("$9 hashtable");
    t.run("SINTERSTORE d e g").is(":106");
    t.run("OBJECT ENCODING d").is("$8 listpack");
}

#[test]
fn the_algebra_of_sets() {
    for encoding in ENCODINGS {
        let mut t = with_encoding(encoding);
        t.run("SADD a 1 2 3 4 5");
        t.run("SADD b 4 3 9");
        t.run("SADD c 3 9 10 11");
        assert_eq!(sorted(t.run("SINTER a b c")), "3");
        assert_eq!(sorted(t.run("SINTER a b")), "3 4");
        assert_eq!(sorted(t.run("SINTER a")), "1 2 3 4 5");
        assert_eq!(sorted(t.run("SINTER a a")), "1 2 3 4 5");
        t.run("SINTER a b no").is("*0");
        assert_eq!(sorted(t.run("SUNION a b c no")), "1 10 11 2 3 4 5 9");
        assert_eq!(sorted(t.run("SUNION a a")), "1 2 3 4 5");
        assert_eq!(sorted(t.run("SDIFF a b c")), "1 2 5");
        assert_eq!(sorted(t.run("SDIFF c b no a")), "10 11");
        t.run("SDIFF a b a").is("*0");
        t.counted("SINTERSTORE d a b", ":2", [2, 0, 1, 0]);
        assert_eq!(sorted(t.run("SMEMBERS d")), "3 4");
        t.counted("SUNIONSTORE d b c", ":5", [2, 0, 1, 0]);
        assert_eq!(sorted(t.run("SMEMBERS d")), "10 11 3 4 9");
        t.counted("SDIFFSTORE d a b", ":3", [2, 0, 1, 0]);
        assert_eq!(sorted(t.run("SMEMBERS d")), "1 2 5");
        // Nothing deletes the destination, whatever it held.
        t.counted("SINTERSTORE d a no", ":0", [1, 1, 1, 0]);
        t.counted("SINTERSTORE d a no", ":0", [1, 1, 0, 0]);
        t.run("SET d x");
        t.counted("SDIFFSTORE d a a", ":0", [2, 0, 1, 0]);
        t.run("EXISTS d").is(":0");
        // The destination is a source as well.
        t.run("EXPIRE a 100");
        t.run("SUNIONSTORE a a b").is(":6");
        t.run("TTL a").is(":-1");
        t.run("SDIFFSTORE a b a").is(":0");
        t.run("EXISTS a").is(":0");
        t.run("SINTERSTORE b b c").is(":2");
        assert_eq!(sorted(t.run("SMEMBERS b")), "3 9");
    }
}

#[test]
fn many_sets_at_once() {
    for encoding in ["listpack", "hashtable"] {
        let mut t = with_encoding(encoding);
        let (mut union, mut keys) = (BTreeSet::new(), String::new());
        for key in 0..20 {
            let names: Vec<String> = (0..30).map(|n| format!("m{}", key * 7 + n)).collect();
            t.run(&format!("SADD k{key} {} all", names.join(" ")));
            union.extend(names);
            keys += &format!(" k{key}");
        }
        union.insert("all".into());
        let union: Vec<String> = union.into_iter().collect();
        assert_eq!(sorted(t.run(&format!("SUNION{keys}"))), union.join(" "));
        t.run(&format!("SUNIONSTORE d{keys}"))
            .is(&format!(":{}", union.len()));
        t.run(&format!("SINTER{keys}")).is("*1 $3 all");
        assert_eq!(sorted(t.run("SDIFF k3 k2 k1 k0")), {
            "m44 m45 m46 m47 m48 m49 m50"
        });
    }
}

#[test]
fn sintercard_counts_up_to_a_limit() {
    for encoding in ENCODINGS {
        let mut t = with_encoding(encoding);
        t.run("SADD a 1 2 3 4 5");
        t.run("SADD b 1 2 3 4 6");
        for (line, reply) in [
            ("SINTERCARD 2 a b", ":4"),
            ("SINTERCARD 2 a b LIMIT 0", ":4"),
            ("SINTERCARD 2 a b limit 3", ":3"),
            ("SINTERCARD 2 a b LIMIT 4", ":4"),
            ("SINTERCARD 2 a b LIMIT 9223372036854775807", ":4"),
            ("SINTERCARD 2 a b LIMIT 1 LIMIT 2", ":2"),
            ("SINTERCARD 1 a LIMIT 2", ":2"),
            ("SINTERCARD 2 a no", ":0"),
            ("SINTERCARD 0 a", "-ERR numkeys should be greater than 0"),
            ("SINTERCARD -1 a", "-ERR numkeys should be greater than 0"),
            ("SINTERCARD x a", "-ERR numkeys should be greater than 0"),
            (
                "SINTERCARD 2 a",
                "-ERR Number of keys can't be greater than number of args",
            ),
            (
                "SINTERCARD 9223372036854775807 a",
                "-ERR Number of keys can't be greater than number of args",
            ),
            ("SINTERCARD 1 a LIMIT", "-ERR syntax error"),
            ("SINTERCARD 1 a b", "-ERR syntax error"),
            ("SINTERCARD 1 a COUNT 1", "-ERR syntax error"),
            ("SINTERCARD 1 a LIMIT -1", "-ERR LIMIT can't be negative"),
            ("SINTERCARD 1 a LIMIT x", "-ERR LIMIT can't be negative"),
        ] {
            t.run(line).is(reply);
        }
        t.args(&[b"SINTERCARD", b"1", b"a", b"LIMIT\0x", b"1"])
            .is(":1");
        t.run("SET str x");
        t.run("SINTERCARD 1 str LIMIT -1")
            .is("-ERR LIMIT can't be negative");
    }
}

#[test]
fn smove_moves_one_member() {
    for encoding in ENCODINGS {
        let mut t = with_encoding(encoding);
        t.run("SADD s 1 2 3");
        t.counted("SMOVE s d 1", ":1", [0, 0, 2, 0]);
        t.counted("SMOVE s d 1", ":0", [0, 0, 0, 0]);
        t.run("SADD d 2");
        t.counted("SMOVE s d 2", ":1", [0, 0, 1, 0]);
        assert_eq!(sorted(t.run("SMEMBERS d")), "1 2");
        // To itself.
        t.counted("SMOVE s s 3", ":1", [0, 0, 0, 0]);
        t.counted("SMOVE s s 9", ":0", [0, 0, 0, 0]);
        t.run("SMOVE s d 3").is(":1");
        t.run("EXISTS s").is(":0");
        t.run("SCARD d").is(":3");
        t.run("SMOVE d new 1").is(":1");
        let found = t.run("OBJECT ENCODING new").text();
        assert!(found.ends_with(encoding), "{found}");
    }
}

#[test]
fn spop_takes_random_members() {
    for encoding in ENCODINGS {
        let mut t = with_encoding(encoding);
        let mut seen = BTreeSet::new();
        for _ in 0..100 {
            t.run("DEL s");
            t.run("SADD s 1 2 3");
            seen.insert(t.run("SPOP s").text());
            t.run("SCARD s").is(":2");
        }
        assert_eq!(seen.len(), 3);
        t.run("SADD s 1 2 3 4 5 6 7 8 9 10 11 12");
        t.counted("SPOP s 0", "*0", [0, 0, 0, 0]);
        t.run("EXPIRE s 100");
        for (count, left) in [(1, 11), (4, 7), (6, 1)] {
            let before = t.counts();
            let popped = members(t.run(&format!("SPOP s {count}")));
            assert_eq!(t.counts()[2] - before[2], count as u64);
            assert_eq!(popped.iter().collect::<BTreeSet<_>>().len(), count);
            for member in popped {
                t.run(&format!("SISMEMBER s {member}")).is(":0");
            }
            t.run("SCARD s").is(&format!(":{left}"));
        }
        t.run("TTL s").is(":100");
        let last = members(t.run("SMEMBERS s"));
        let reply = format!("*1 ${} {}", last[0].len(), last[0]);
        t.counted("SPOP s 9223372036854775807", &reply, [1, 0, 1, 0]);
        t.run("EXISTS s").is(":0");
        t.run("SADD s 1 2 3");
        let before = t.counts();
        assert_eq!(sorted(t.run("SPOP s 3")), "1 2 3");
        assert_eq!(t.counts()[2] - before[2], 3);
        t.run("EXISTS s").is(":0");
    }
}

#[test]
fn what_spop_leaves_of_a_large_set_is_a_new_one() {
    let mut t = Test::new();
    let numbers: String = (0..1_000).map(|n| format!(" {n}")).collect();
    t.run(&format!("SADD s{numbers}"));
    t.run("EXPIRE s 100");
    assert_eq!(members(t.run("SPOP s 800")).len(), 800);
    t.run("OBJECT ENCODING s").is("$9 hashtable");
    let before = t.counts();
    let popped: BTreeSet<String> = members(t.run("SPOP s 170")).into_iter().collect();
    assert_eq!(t.counts()[2] - before[2], 170);
    t.run("OBJECT ENCODING s").is("$8 listpack");
    t.run("TTL s").is(":100");
    let rest = members(t.run("SMEMBERS s"));
    assert_eq!((popped.len(), rest.len()), (170, 30));
    assert!(rest.iter().all(|member| !popped.contains(member)));
}

#[test]
fn srandmember_leaves_the_set_alone() {
    for encoding in ENCODINGS {
        let mut t = with_encoding(encoding);
        t.run("SADD s 1 2 3 4 5 6 7 8 9");
        let mut seen = BTreeSet::new();
        for _ in 0..300 {
            seen.insert(t.run("SRANDMEMBER s").text());
        }
        assert_eq!(seen.len(), 9);
        for count in 1..12 {
            let drawn = members(t.run(&format!("SRANDMEMBER s {count}")));
            let different: BTreeSet<&String> = drawn.iter().collect();
            assert_eq!((drawn.len(), different.len()), (count.min(9), count.min(9)));
            let drawn = members(t.run(&format!("SRANDMEMBER s -{count}")));
            assert_eq!(drawn.len(), count);
        }
        let many = members(t.run("SRANDMEMBER s -1000"));
        assert_eq!(many.iter().collect::<BTreeSet<_>>().len(), 9);
        let all = "1 2 3 4 5 6 7 8 9";
        assert_eq!(sorted(t.run("SRANDMEMBER s 9223372036854775807")), all);
        t.counted("SRANDMEMBER s 0", "*0", [1, 0, 0, 0]);
        assert_eq!(sorted(t.run("SMEMBERS s")), all);
    }
}

#[test]
fn counts_are_checked_first() {
    let mut t = Test::new();
    const BOTH: &str = "-ERR value is out of range, value must between -9223372036854775807 and \
                        9223372036854775807";
    const POSITIVE: &str = "-ERR value is out of range, must be positive";
    const INTEGER: &str = "-ERR value is not an integer or out of range";
    t.run("SET str x");
    t.run("SADD s a");
    for key in ["str", "s", "no"] {
        for count in ["-1", "x", "9223372036854775808", "-9223372036854775808"] {
            t.run(&format!("SPOP {key} {count}")).is(POSITIVE);
        }
        t.run(&format!("SPOP {key} 1 2")).is("-ERR syntax error");
        t.run(&format!("SRANDMEMBER {key} x")).is(INTEGER);
        t.run(&format!("SRANDMEMBER {key} -9223372036854775809"))
            .is(INTEGER);
        t.run(&format!("SRANDMEMBER {key} -9223372036854775808"))
            .is(BOTH);
    }
    t.run("SRANDMEMBER s 1 2").is("-ERR syntax error");
    // A reply that would take all memory; Valkey tries.
    t.run("SRANDMEMBER s -9223372036854775807")
        .is("-ERR value is out of range");
    let long = vec![b'x'; 1 << 20];
    t.args(&[b"SADD", b"long", &long]).is(":1");
    t.run("SRANDMEMBER long -600")
        .is("-ERR value is out of range");
    t.run("PING").is("+PONG");
}

#[test]
fn sscan_walks_a_set() {
    for encoding in ["intset", "listpack"] {
        let mut t = with_encoding(encoding);
        t.run("SADD s 10 9 8");
        t.run("SREM s 9");
        let order = match encoding {
            "intset" => "*2 $1 8 $2 10",
            _ => "*2 $2 10 $1 8",
        };
        for line in [
            "SSCAN s 0",
            "SSCAN s 0 COUNT 1",
            "SSCAN s 0 MATCH *",
            "SSCAN s 17",
            "SSCAN s 18446744073709551615 count 1 match *",
        ] {
            t.run(line).is(&format!("*2 $1 0 {order}"));
        }
        t.run("SSCAN s 0 MATCH 1*").is("*2 $1 0 *1 $2 10");
        t.run("SSCAN s 0 MATCH x").is("*2 $1 0 *0");
    }
    let mut t = Test::new();
    let names: String = (0..1_000).map(|n| format!(" m{n}")).collect();
    t.run(&format!("SADD s{names}"));
    let walk = |t: &mut Test, options: &str| {
        let (mut cursor, mut met, mut steps) = ("0".to_owned(), Vec::new(), 0);
        loop {
            let reply = t.run(&format!("SSCAN s {cursor} {options}"));
            let mut replies = read::Reply::parse_all(&reply.0).expect("a reply");
            let read::Reply::Array(mut parts) = replies.remove(0) else {
                panic!("{reply:?}")
            };
            let Some(read::Reply::Array(some)) = parts.pop() else {
                panic!("{reply:?}")
            };
            met.extend(some.into_iter().map(|member| format!("{member:?}")));
            steps += 1;
            let Some(read::Reply::Bulk(next)) = parts.pop() else {
                panic!("{reply:?}")
            };
            cursor = String::from_utf8(next).expect("a number");
            if cursor == "0" {
                break;
            }
        }
        let different: BTreeSet<&String> = met.iter().collect();
        assert_eq!(different.len(), met.len());
        (met.len(), steps)
    };
    let (met, steps) = walk(&mut t, "");
    assert!(met == 1_000 && steps > 50, "{steps} steps");
    let (met, steps) = walk(&mut t, "COUNT 300");
    assert!(met == 1_000 && steps < 10, "{steps} steps");
    assert_eq!(walk(&mut t, "MATCH m99*").0, 11);
    for (line, reply) in [
        ("SSCAN s x", "-ERR invalid cursor"),
        ("SSCAN no -1", "-ERR invalid cursor"),
        ("SSCAN s 0 nonsense", "-ERR syntax error"),
        ("SSCAN s 0 MATCH", "-ERR syntax error"),
        ("SSCAN s 0 COUNT 0", "-ERR syntax error"),
        ("SSCAN s 0 TYPE set", "-ERR syntax error"),
        (
            "SSCAN s 0 COUNT x",
            "-ERR value is not an integer or out of range",
        ),
        (
            "SSCAN s 0 NOVALUES",
            "-ERR NOVALUES option can only be used in HSCAN",
        ),
        (
            "SSCAN s 0 NOSCORES",
            "-ERR NOSCORES option can only be used in ZSCAN",
        ),
    ] {
        t.run(line).is(reply);
    }
}

#[test]
fn any_bytes_are_members() {
    for encoding in ["listpack", "hashtable"] {
        let mut t = with_encoding(encoding);
        let odd: [&[u8]; 7] = [b"", b"\0", b"a\r\nb", b"\xff\xfe", b"-0", b"01", b"+1"];
        let mut line: Vec<&[u8]> = vec![b"SADD", b"s"];
        line.extend(odd);
        t.args(&line).is(":7");
        for member in odd {
            t.args(&[b"SISMEMBER", b"s", member]).is(":1");
            t.args(&[b"SMOVE", b"s", b"d", member]).is(":1");
            t.args(&[b"SISMEMBER", b"s", member]).is(":0");
        }
        t.run("SCARD d").is(":7");
        t.args(&[b"SSCAN", b"d", b"0", b"MATCH", b"*"]);
        t.run("SUNIONSTORE e d").is(":7");
        t.run("SDIFF d e").is("*0");
    }
}

#[test]
fn every_command_is_in_a_test() {
    let source = include_str!("tests.rs");
    for row in COMMANDS {
        let name = row.name.to_ascii_uppercase();
        assert!(source.contains(&format!("{name} ")), "{name}");
    }
}

#[test]
fn srandmember_counts_its_arguments_before_it_reads_them() {
    let mut t = Test::new();
    t.run("SRANDMEMBER k x y").is("-ERR syntax error");
    t.run("SRANDMEMBER k x")
        .is("-ERR value is not an integer or out of range");
}
