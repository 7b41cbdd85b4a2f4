//! Sorted set commands in both encodings and both protocols, most of them as Valkey 9.1.2 answered:
//! `valkey.txt` is a transcript of a real server, one request a line, then how far it moved
//! keyspace_hits, keyspace_misses and rdb_changes_since_last_save, then its replies. There is one;
//! or two, in RESP2 and in RESP3; or four, the last two with zset-max-listpack-entries 0.

use crate::commands::tests::{Reply, Test};
use crate::resp::read::Reply as Parsed;

/// A server in which small sets are listpacks, and one in which all are large.
fn tests() -> [Test; 2] {
    [
        Test::with(&[]),
        Test::with(&["--zset-max-listpack-entries", "0"]),
    ]
}

/// [`Test::script`] in every encoding.
#[track_caller]
fn script(lines: &[(&str, &str)]) {
    for mut test in tests() {
        test.script(lines);
    }
}

/// The words of a reply; of ZSCAN's, which come in no order, sorted.
fn words<'r>(request: &str, reply: &'r str) -> Vec<&'r str> {
    let mut words: Vec<&str> = reply.split(' ').collect();
    if request.starts_with("zscan") {
        words.sort_unstable();
    }
    words
}

#[test]
fn everything_is_as_valkey_answers_it() {
    let mut requests = 0;
    for variant in 0..4 {
        let mut t = Test::new();
        for line in include_str!("valkey.txt").lines() {
            if line.starts_with("## ") {
                let entries = if variant < 2 { "128" } else { "0" };
                t = Test::with(&["--zset-max-listpack-entries", entries]);
                t.run(if variant % 2 == 0 {
                    "HELLO 2"
                } else {
                    "HELLO 3"
                });
                continue;
            }
            let mut fields = line.split('\t');
            let mut field = || fields.next().expect("three fields");
            let (request, moved) = (field(), field());
            let replies: Vec<&str> = fields.collect();
            let reply = match replies.len() {
                1 => replies[0],
                2 => replies[variant % 2],
                _ => replies[variant],
            };
            requests += 1;
            let before = t.counts();
            let answer = t.run(&request.replace("\\0", "\0")).text();
            assert_eq!(words(request, &answer), words(request, reply), "{request}");
            let after = t.counts();
            let counts: Vec<String> = (0..3).map(|i| (after[i] - before[i]).to_string()).collect();
            // Valkey looks up no more keys behind one of the wrong type, Kivi all at once.
            if !reply.starts_with("-WRONGTYPE") {
                assert_eq!(counts.join(" "), moved, "{request}");
            }
        }
    }
    assert!(requests > 2000, "{requests}");
}

#[test]
fn every_row_is_in_the_transcript() {
    for row in super::COMMANDS {
        let start = format!("\n{} ", row.name);
        assert!(include_str!("valkey.txt").contains(&start), "{}", row.name);
    }
}

#[test]
fn options_end_at_a_nul() {
    for mut t in tests() {
        t.run("ZADD k 1 a 2 b 3 c");
        t.args(&[b"ZADD", b"k", b"xx\0y", b"ch", b"9", b"c"])
            .is(":1");
        t.args(&[b"ZRANGE", b"k", b"2\0", b"5", b"byscore\0"])
            .is("*1 $1 b");
        t.args(&[b"ZRANGEBYSCORE", b"k", b"(2\0x", b"+inf"])
            .is("*1 $1 c");
        t.args(&[b"ZADD", b"k", b"1\0", b"q"])
            .is("-ERR value is not a valid float");
        let reply = t.args(&[b"ZADD", b"k", b"5", b"n\0ul"]);
        reply.is(":1");
        t.args(&[b"ZSCORE", b"k", b"n\0ul"]).is("$1 5");
        t.args(&[b"ZSCORE", b"k", b"n"]).is("$-1");
    }
}

#[test]
fn large_sets_answer_as_small_ones() {
    // The same commands on more members than a listpack holds, against what is known of them.
    let mut t = Test::new();
    for number in 0..1000 {
        let score = (number * 7919) % 1000;
        t.run(&format!("ZADD k {score} m{score:04}")).is(":1");
    }
    t.run("OBJECT ENCODING k").is("$8 skiplist");
    t.run("ZCARD k").is(":1000");
    t.run("ZCOUNT k (9 500").is(":491");
    t.run("ZRANK k m0123").is(":123");
    t.run("ZREVRANK k m0123 WITHSCORE").is("*2 :876 $3 123");
    t.run("ZRANGE k 500 501 WITHSCORES")
        .is("*4 $5 m0500 $3 500 $5 m0501 $3 501");
    t.run("ZREVRANGE k 998 5000").is("*2 $5 m0001 $5 m0000");
    t.run("ZRANGEBYSCORE k 700 +inf LIMIT 100 2")
        .is("*2 $5 m0800 $5 m0801");
    t.run("ZREVRANGEBYSCORE k 700 -inf LIMIT 100 2")
        .is("*2 $5 m0600 $5 m0599");
    t.run("ZRANGEBYLEX k [m0500 (m0503")
        .is("*3 $5 m0500 $5 m0501 $5 m0502");
    t.run("ZLEXCOUNT k - (m0003").is(":3");
    t.run("ZINCRBY k 0.25 m0500").is("$6 500.25");
    t.run("ZRANK k m0500").is(":500");
    t.run("ZINCRBY k 499.25 m0500").is("$5 999.5");
    t.run("ZRANK k m0500").is(":999");
    t.run("ZRANGESTORE d k 0 -1").is(":1000");
    t.run("ZREMRANGEBYSCORE k 100 199").is(":100");
    t.run("ZREMRANGEBYRANK k 100 199").is(":100");
    t.run("ZREMRANGEBYLEX k [m0300 [m0399").is(":100");
    t.run("ZREM k m0000 m0100 m0999").is(":2");
    t.run("ZCARD k").is(":698");
    t.run("ZINTERCARD 2 k d").is(":698");
    t.run("ZDIFFSTORE rest 2 d k").is(":302");
    t.run("ZUNIONSTORE u 3 k rest d WEIGHTS 0 0 1").is(":1000");
    t.run("ZRANGE u 0 1 WITHSCORES")
        .is("*4 $5 m0000 $1 0 $5 m0001 $1 1");
    t.run("ZPOPMIN u 2").is("*4 $5 m0000 $1 0 $5 m0001 $1 1");
    t.run("ZPOPMAX u").is("*2 $5 m0500 $5 999.5");
    t.run("COPY d c").is(":1");
    t.run("DEL d").is(":1");
    t.run("ZRANGE c 0 0 WITHSCORES").is("*2 $5 m0000 $1 0");
    t.run("ZREMRANGEBYRANK c 0 -1").is(":1000");
    t.run("EXISTS c").is(":0");
}

#[test]
fn emptied_sets_vanish() {
    for removal in [
        "ZREM k a b",
        "ZPOPMIN k 5",
        "ZPOPMAX k 2",
        "ZMPOP 1 k MIN COUNT 9",
        "BZMPOP 0 1 k MAX COUNT 2",
        "ZREMRANGEBYRANK k 0 -1",
        "ZREMRANGEBYSCORE k -inf +inf",
        "ZREMRANGEBYLEX k - +",
        "ZDIFFSTORE k 1 none",
        "ZINTERSTORE k 2 k none",
        "ZUNIONSTORE k 1 none",
        "ZRANGESTORE k k 5 6",
    ] {
        for mut t in tests() {
            t.run("ZADD k 1 a 1 b").is(":2");
            assert!(!t.run(removal).text().starts_with('-'), "{removal}");
            t.run("EXISTS k").is(":0");
            t.run("DBSIZE").is(":0");
        }
    }
}

#[test]
fn what_fails_changes_nothing() {
    for mut t in tests() {
        t.run("ZADD k inf a 1 b").is(":2");
        t.run("SADD s a");
        t.run("SET string v");
        let before = t.counts()[2];
        for line in [
            "ZADD k 5 b 6 c nan d",
            "ZADD k 5 b 6",
            "ZADD k incr -inf a",
            "ZINCRBY k -inf a",
            "ZINCRBY none nan a",
            "ZADD none 1 a x b",
            "ZUNIONSTORE d 2 k string",
            "ZUNIONSTORE d 2 k k WEIGHTS 1 x",
            "ZRANGESTORE d string 0 -1",
            "ZMPOP 2 string k MIN",
            "ZPOPMIN string",
            "ZADD string 1 a",
            "ZADD string XX 1 a",
            "ZREM s a",
        ] {
            let reply = t.run(line).text();
            assert!(reply.starts_with('-'), "{line}: {reply}");
        }
        t.run("ZRANGE k 0 -1 WITHSCORES")
            .is("*4 $1 b $1 1 $1 a $3 inf");
        t.run("EXISTS none d").is(":0");
        assert_eq!(t.counts()[2], before);
    }
}

#[test]
fn results_may_go_into_a_source() {
    script(&[
        ("ZADD a 1 x 2 y", ":2"),
        ("ZADD b 10 y 20 z", ":2"),
        ("ZUNIONSTORE a 2 a b", ":3"),
        ("ZRANGE a 0 -1", "*3 $1 x $1 y $1 z"),
        ("ZINTERSTORE b 2 b a", ":2"),
        (
            "ZRANGE b 0 -1 WITHSCORES",
            "*4 $1 y $2 22 $1 z $2 40 / *2 *2 $1 y ,22 *2 $1 z ,40",
        ),
        ("ZDIFFSTORE a 2 a b", ":1"),
        ("ZRANGE a 0 -1", "*1 $1 x"),
        ("ZRANGESTORE b b 1 1", ":1"),
        ("ZRANGE b 0 -1", "*1 $1 z"),
        ("SADD s x y", ":2"),
        ("ZUNIONSTORE s 2 s s WEIGHTS 2 3", ":2"),
        (
            "ZRANGE s 0 -1 WITHSCORES",
            "*4 $1 x $1 5 $1 y $1 5 / *2 *2 $1 x ,5 *2 $1 y ,5",
        ),
    ]);
}

#[test]
fn sort_takes_sorted_sets() {
    script(&[
        ("ZADD z 1 30 2 4 3 100 4 -2 5 7", ":5"),
        ("SORT z", "*5 $2 -2 $1 4 $1 7 $2 30 $3 100"),
        ("SORT z LIMIT 1 3", "*3 $1 4 $1 7 $2 30"),
        ("SORT z ALPHA DESC LIMIT 0 1", "*1 $1 7"),
        ("SORT z BY nosort", "*5 $2 30 $1 4 $3 100 $2 -2 $1 7"),
        ("SORT z BY nosort DESC", "*5 $1 7 $2 -2 $3 100 $1 4 $2 30"),
        ("SORT_RO z BY nosort LIMIT 1 2", "*2 $1 4 $3 100"),
        ("SORT_RO z BY nosort DESC LIMIT 1 2", "*2 $2 -2 $3 100"),
        ("SORT_RO z BY nosort DESC LIMIT 4 20", "*1 $2 30"),
        ("SORT_RO z BY nosort DESC LIMIT 5 20", "*0"),
        ("SORT_RO z BY nosort LIMIT 9 20", "*0"),
        ("SORT z BY nosort STORE d", ":5"),
        ("LRANGE d 0 -1", "*5 $2 30 $1 4 $3 100 $2 -2 $1 7"),
        ("SORT z STORE z", ":5"),
        ("LRANGE z 0 -1", "*5 $2 -2 $1 4 $1 7 $2 30 $3 100"),
    ]);
}

/// The members of a reply: of an array, or of a map's array.
fn members(reply: &Reply) -> Vec<String> {
    fn text(reply: &Parsed) -> String {
        match reply {
            Parsed::Bulk(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            Parsed::Array(items) => items.iter().map(text).collect::<Vec<_>>().join("="),
            other => format!("{other:?}"),
        }
    }
    let parsed = Parsed::parse_all(&reply.0).unwrap().remove(0);
    match parsed {
        Parsed::Array(items) => items.iter().map(text).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn random_members() {
    for len in [1, 20, 1000] {
        for mut t in tests() {
            for number in 0..len {
                t.run(&format!("ZADD k {number} {number}"));
            }
            let mut seen = vec![false; len];
            for _ in 0..20 * len {
                let one = t.run("ZRANDMEMBER k").text();
                let number: usize = one.split_once(' ').unwrap().1.parse().unwrap();
                seen[number] = true;
            }
            assert!(seen.iter().all(|seen| *seen));
            for count in [1, 2, 1 + len / 20, 1 + len / 2, len, len + 1] {
                let mut drawn = members(&t.run(&format!("ZRANDMEMBER k {count}")));
                assert_eq!(drawn.len(), count.min(len));
                drawn.sort();
                drawn.dedup();
                assert_eq!(drawn.len(), count.min(len), "a member twice");
                let repeated = members(&t.run(&format!("ZRANDMEMBER k -{count} WITHSCORES")));
                assert_eq!(repeated.len(), 2 * count);
                assert!(repeated.chunks(2).all(|pair| pair[0] == pair[1]));
            }
            t.run("HELLO 3");
            let drawn = members(&t.run("ZRANDMEMBER k 1 WITHSCORES"));
            assert!(drawn[0].contains('='), "{drawn:?}");
            t.run("ZRANDMEMBER k -9223372036854775807")
                .is("-ERR value is out of range");
            t.run("ZRANDMEMBER k -4611686018427387903 WITHSCORES")
                .is("-ERR value is out of range");
        }
    }
}

#[test]
fn however_few_are_drawn_a_reply_has_its_limit() {
    for mut t in tests() {
        t.run(&format!("ZADD k 1 {}", "m".repeat(4 << 20)));
        let reply = t.run("ZRANDMEMBER k -140").text();
        let is_refused = reply == "-ERR value is out of range";
        assert!(is_refused, "{} bytes", reply.len());
    }
}

#[test]
fn scans_meet_all_members() {
    for mut t in tests() {
        for number in 0..500 {
            t.run(&format!("ZADD k {}.5 {number}", number));
        }
        let (mut found, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let reply = t.run(&format!("ZSCAN k {cursor} COUNT 20 MATCH *1*"));
            let Parsed::Array(parts) = Parsed::parse_all(&reply.0).unwrap().remove(0) else {
                panic!("{reply:?}");
            };
            let Parsed::Bulk(next) = &parts[0] else {
                panic!("{reply:?}");
            };
            let Parsed::Array(items) = &parts[1] else {
                panic!("{reply:?}");
            };
            for pair in items.chunks(2) {
                let [Parsed::Bulk(member), Parsed::Bulk(score)] = pair else {
                    panic!("{pair:?}");
                };
                assert_eq!(&[member, &b".5"[..]].concat(), score);
                found.push(String::from_utf8(member.clone()).unwrap());
            }
            cursor = String::from_utf8(next.clone()).unwrap();
            if cursor == "0" {
                break;
            }
        }
        found.sort();
        let mut expected: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        expected.retain(|member| member.contains('1'));
        expected.sort();
        assert_eq!(found, expected);
        assert_eq!(
            members(&t.run("ZSCAN k 0 NOSCORES COUNT 1000"))[1]
                .matches('=')
                .count(),
            499
        );
    }
}

#[test]
fn clients_wait_for_members() {
    for mut t in tests() {
        for (line, add, reply) in [
            ("BZPOPMIN k 0", "ZADD k 2 b 1.5 a", "*3 $1 k $1 a $3 1.5"),
            ("BZPOPMAX k j 0", "ZADD j 2 b 1.5 a", "*3 $1 j $1 b $1 2"),
            (
                "BZMPOP 0 2 j k MIN COUNT 2",
                "ZADD k 2 b 1.5 a 3 c",
                "*2 $1 k *2 *2 $1 a $3 1.5 *2 $1 b $1 2",
            ),
            (
                "BZMPOP 0 1 k MAX",
                "ZINCRBY k 2 b",
                "*2 $1 k *1 *2 $1 b $1 2",
            ),
            (
                "BZPOPMIN k 0",
                "ZUNIONSTORE k 1 source",
                "*3 $1 k $1 s $1 7",
            ),
            (
                "BZPOPMIN k 0",
                "ZRANGESTORE k source 0 -1",
                "*3 $1 k $1 s $1 7",
            ),
        ] {
            let mut other = t.client();
            other.run("FLUSHALL");
            other.run("ZADD source 7 s 8 t");
            let waiter = t.blocks(line);
            other.run("SET other x");
            assert_eq!(t.waited(&waiter), None);
            other.run(add);
            assert_eq!(t.waited(&waiter).expect("a reply").text(), reply, "{line}");
        }
        let waiter = t.blocks("BZPOPMIN none 1.5");
        t.clock.advance(1499);
        assert_eq!(t.waited(&waiter), None);
        t.clock.advance(1);
        assert_eq!(t.waited(&waiter).expect("a reply").text(), "*-1");
        let waiter = t.blocks("BZMPOP 0.001 1 none MAX");
        t.clock.advance(1);
        t.waited(&waiter).expect("a reply").is("*-1");
    }
}

#[test]
fn what_waits_takes_no_other_type() {
    let mut t = Test::new();
    let mut other = t.client();
    let waiter = t.blocks("BZPOPMIN k 0");
    other.run("RPUSH k a");
    other.run("DEL k");
    other.run("SADD k a");
    assert_eq!(t.waited(&waiter), None);
    other.run("DEL k");
    other.run("ZADD k 1 a");
    t.waited(&waiter).expect("a reply").is("*3 $1 k $1 a $1 1");
}

/// What the differential test found.
#[test]
fn checks_come_in_valkeys_order() {
    let mut t = Test::new();
    t.run("ZADD z inf a -inf b 3 c").is(":3");
    t.run("BZMPOP abc 2 z y MAX COUNT -1")
        .is("-ERR count should be greater than 0");
    t.run("BZMPOP abc 1 z MAX")
        .is("-ERR timeout is not a float or out of range");
    t.run("BZMPOP -1 0 z MAX")
        .is("-ERR numkeys should be greater than 0");
    for option in ["NX", "xx", "INCR", "CH", "GT", "LT"] {
        t.run(&format!("ZINCRBY z {option} c"))
            .is("-ERR syntax error");
    }
    t.run("ZINCRBY z 1 c").is("$1 4");
    // 0 * inf is no number: of the first source that is a zero, of a later one the sum is.
    t.run("ZINTER 2 z z WEIGHTS -1 0 WITHSCORES")
        .is("*6 $1 c $2 -4 $1 a $1 0 $1 b $1 0");
    t.run("ZINTER 2 z z WEIGHTS 0 -1 WITHSCORES")
        .is("*6 $1 a $4 -inf $1 c $2 -4 $1 b $3 inf");
}
