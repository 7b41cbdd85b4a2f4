//! SORT as Valkey 9.1.2 answered it (`valkey.txt`: request, reply), and what that does not show.

use super::{COMMANDS, needs_all_keys, store_position};
use crate::commands::tests::Test;
use crate::resp::parse::{Argv, Span};

#[test]
fn everything_is_as_valkey_answers_it() {
    let mut t = Test::new();
    let mut requests = 0;
    for line in include_str!("valkey.txt").lines() {
        let (request, reply) = line.split_once('\t').expect("request and reply");
        let reply = reply.replace("\\0", "\0");
        assert_eq!(t.run(request).text(), reply, "{request}");
        requests += 1;
    }
    assert!(requests > 200);
}

#[test]
fn every_row_and_option_is_in_the_transcript() {
    let transcript = include_str!("valkey.txt").to_ascii_lowercase();
    for row in COMMANDS {
        assert!(
            transcript.contains(&format!("\n{} ", row.name)),
            "{}",
            row.name
        );
    }
    for option in ["by", "limit", "get", "asc", "desc", "alpha", "store"] {
        assert!(transcript.contains(&format!(" {option} ")), "{option}");
    }
}

#[test]
fn what_is_counted() {
    let mut t = Test::new();
    t.run("RPUSH l 3 1 2");
    t.counted("SORT l", "*3 $1 1 $1 2 $1 3", [1, 0, 0, 0]);
    t.counted("SORT no", "*0", [0, 1, 0, 0]);
    t.counted("SORT l STORE d", ":3", [1, 0, 3, 0]);
    t.counted("SORT no STORE d", ":0", [0, 1, 1, 0]);
    t.counted("SORT no STORE d", ":0", [0, 1, 0, 0]);
    t.run("MSET w1 3 w2 2");
    t.counted("SORT l BY w*", "*3 $1 3 $1 2 $1 1", [3, 1, 0, 0]);
    t.counted("SORT l GET w*", "*3 $1 3 $1 2 $-1", [3, 1, 0, 0]);
    let reply = "*9 $-1 $1 3 $-1 $1 2 $1 2 $-1 $1 3 $1 1 $-1";
    t.counted("SORT l BY w* GET w* GET # GET x", reply, [5, 2, 0, 0]);
    t.counted("SORT l LIMIT 0 2 STORE d", ":2", [1, 0, 2, 0]);
    t.counted("SORT l BY nosort GET w* STORE d", ":3", [3, 1, 3, 0]);
    t.counted("SORT l STORE l", ":3", [1, 0, 3, 0]);
}

#[test]
fn resp3_has_its_own_null() {
    let mut t = Test::new();
    t.run("HELLO 3");
    t.run("RPUSH l 1");
    t.run("SORT l GET no* GET # GET no").is("*3 _ $1 1 _");
    t.run("SORT_RO l GET no*").is("*1 _");
    t.run("SORT no").is("*0");
}

#[test]
fn large_values_are_sorted() {
    let mut t = Test::new();
    let numbers: Vec<String> = (0..2_000)
        .map(|n| ((n * 617) % 2_000).to_string())
        .collect();
    t.run(&format!("SADD s {} word", numbers.join(" ")));
    t.run("SREM s word");
    t.run(&format!("RPUSH l {}", numbers.join(" ")));
    let scored: Vec<String> = numbers.iter().map(|n| format!("{n} {n}")).collect();
    t.run(&format!("ZADD z {}", scored.join(" ")));
    for key in ["s", "l", "z"] {
        t.run(&format!("SORT {key} LIMIT 998 3"))
            .is("*3 $3 998 $3 999 $4 1000");
        t.run(&format!("SORT {key} DESC LIMIT 0 2"))
            .is("*2 $4 1999 $4 1998");
        t.run(&format!("SORT {key} ALPHA LIMIT 3 3"))
            .is("*3 $3 100 $4 1000 $4 1001");
        t.run(&format!("SORT {key} STORE d{key}")).is(":2000");
        t.run(&format!("LINDEX d{key} 1234")).is("$4 1234");
    }
    t.run("SORT z BY nosort LIMIT 5 2").is("*2 $1 5 $1 6");
    t.run("SORT z BY nosort DESC LIMIT 5 2")
        .is("*2 $4 1994 $4 1993");
    t.run("SORT l BY nosort LIMIT 1 2").is("*2 $3 617 $4 1234");
    t.run("SORT l BY nosort DESC LIMIT 1998 9")
        .is("*2 $3 617 $1 0");
    t.run("SORT s BY nosort STORE d").is(":2000");
    t.run("LRANGE d 3 4").is("*2 $3 100 $4 1000");
    // A window that is empty in every way.
    for limit in ["2000 1", "0 0", "9223372036854775807 9223372036854775807"] {
        for options in ["", "DESC", "BY nosort", "BY nosort DESC"] {
            for key in ["s", "l", "z"] {
                t.run(&format!("SORT {key} {options} LIMIT {limit}"))
                    .is("*0");
            }
        }
    }
    // Sorting changes nothing.
    t.run("ZADD short 2 b 1 a");
    t.run("SORT short ALPHA").is("*2 $1 a $1 b");
    t.run("OBJECT ENCODING short").is("$8 listpack");
}

#[test]
fn patterns_reach_keys_in_all_shards() {
    let mut t = Test::new();
    for n in 0..300 {
        t.run(&format!("SET w{n} {}", 300 - n));
        t.run(&format!("HSET h{n} f v{n}"));
        t.run(&format!("RPUSH l {n}"));
    }
    let reply = t.run("SORT l BY w* GET # GET h*->f LIMIT 0 3");
    reply.is("*6 $3 299 $4 v299 $3 298 $4 v298 $3 297 $4 v297");
    t.run("SORT_RO l BY h*->f ALPHA DESC LIMIT 0 2")
        .is("*2 $2 99 $2 98");
    t.run("SORT l BY w* STORE l").is(":300");
    t.run("LRANGE l 0 1").is("*2 $3 299 $3 298");
    // An expired key or field is not there.
    t.run("PEXPIRE w299 10");
    t.run("HPEXPIRE h298 10 FIELDS 1 f");
    t.clock.advance(10);
    t.run("SORT l BY w* LIMIT 0 2 GET # GET h*->f")
        .is("*4 $3 299 $4 v299 $3 298 $-1");
    // Large values are found, too.
    let long = vec![b'x'; 20_000];
    t.args(&[b"SET", b"w5", &long]);
    let reply = t.args(&[
        b"SORT", b"l", b"ALPHA", b"BY", b"w*", b"DESC", b"GET", b"w*",
    ]);
    assert!(
        reply.0[6..].starts_with(b"$20000\r\nxxx"),
        "{:?}",
        &reply.0[..20]
    );
}

#[test]
fn a_result_is_a_listpack_only_if_a_node_holds_it() {
    let mut t = Test::new();
    let ints: Vec<String> = (0..1_636).map(|n| (1_000_000 + n).to_string()).collect();
    for (count, encoding) in [(1_635, "$8 listpack"), (1_636, "$9 quicklist")] {
        t.run("DEL l");
        t.run(&format!("RPUSH l {}", ints[..count].join(" ")));
        t.run("SORT l STORE d");
        t.run("OBJECT ENCODING d").is(encoding);
        t.run("LINDEX d -1").is(&format!("$7 {}", ints[count - 1]));
    }
    for (len, encoding) in [(8_178, "$8 listpack"), (8_179, "$9 quicklist")] {
        t.run("DEL l");
        t.args(&[b"RPUSH", b"l", &vec![b'x'; len]]);
        t.run("SORT l ALPHA STORE d").is(":1");
        t.run("OBJECT ENCODING d").is(encoding);
    }
    t.run("CONFIG SET list-max-listpack-size 3");
    t.run("DEL l");
    t.run("RPUSH l 1 2 3");
    t.run("SORT l STORE d");
    t.run("OBJECT ENCODING d").is("$8 listpack");
    t.run("RPUSH l 4");
    t.run("SORT l STORE d");
    t.run("OBJECT ENCODING d").is("$9 quicklist");
}

#[test]
fn a_stored_list_ends_a_wait() {
    let mut t = Test::new();
    let mut other = t.client();
    t.run("RPUSH l 2 1");
    let waiter = other.blocks("BLPOP d 0");
    t.run("SORT l STORE d").is(":2");
    let served = other.waited(&waiter).map(|reply| reply.text());
    assert_eq!(served.as_deref(), Some("*2 $1 d $1 1"));
    t.run("LRANGE d 0 -1").is("*1 $1 2");
}

/// Calls `look` with a request.
fn with_argv<R>(line: &str, look: impl FnOnce(Argv<'_>) -> R) -> R {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for word in line.split(' ') {
        spans.push(Span {
            start: bytes.len() as u32,
            len: word.len() as u32,
        });
        bytes.extend_from_slice(word.as_bytes());
    }
    look(Argv::new(&bytes, &spans))
}

#[test]
fn the_row_finds_what_the_handler_uses() {
    for (line, position) in [
        ("sort k", None),
        ("sort k store x", Some(3)),
        ("sort k STORE a StOrE b", Some(5)),
        ("sort k limit 1 store x", None),
        ("sort k by store get store store z", Some(7)),
        ("sort k store", None),
        ("sort k store limit desc", Some(3)),
        ("sort k store store desc", Some(3)),
        ("sort k foo store x", Some(4)),
        ("sort k get a* get store desc", None),
        ("sort", None),
    ] {
        assert_eq!(with_argv(line, store_position), position, "{line}");
    }
    for (line, needs) in [
        ("sort k", false),
        ("sort k by nosort get # get x", false),
        ("sort k by w*", true),
        ("sort k get #*", true),
        ("sort k by get get *", true),
        ("sort k store by get *", true),
        ("sort k store get by nosort", false),
        ("sort k limit get *", false),
        ("sort k by", false),
        ("sort_ro k alpha get h*->f", true),
    ] {
        assert_eq!(with_argv(line, needs_all_keys), needs, "{line}");
    }
}
