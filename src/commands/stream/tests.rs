//! Tests of streams: what Valkey 9.1.2 answers (`tests/valkey.txt` is a transcript of a real server:
//! a request, how far it moved keyspace_hits, keyspace_misses and rdb_changes_since_last_save, its reply
//! in RESP2 and, if it is another one, in RESP3), and what Redis 8.2 has added.

use crate::commands::tests::propagation::Logged;
use crate::commands::tests::transcript::Transcript;
use crate::commands::tests::{START_MS, Test};

#[test]
fn everything_is_as_valkey_answers_it() {
    let transcript = Transcript {
        text: include_str!("tests/valkey.txt"),
        variants: 2,
        least: 800,
    };
    transcript.replay(|_| Test::new(), str::to_owned);
}

#[test]
fn ids_come_by_the_clock() {
    let mut t = Test::new();
    let now = |add: u64, seq| {
        let id = format!("{}-{seq}", START_MS + add);
        format!("${} {id}", id.len())
    };
    t.run("XADD s * a 1").is(&now(0, 0));
    t.run("XADD s * a 1").is(&now(0, 1));
    t.clock.advance(5);
    t.run("XADD s * a 1").is(&now(5, 0));
    t.run(&format!("XADD s {}-* a 1", START_MS + 9))
        .is(&now(9, 0));
    // The clock is behind now.
    t.run("XADD s * a 1").is(&now(9, 1));
    t.clock.advance(5);
    t.run("XADD s * a 1").is(&now(10, 0));
    t.run(&format!(
        "XADD s {}-18446744073709551615 a 1",
        START_MS + 10
    ));
    t.run("XADD s * a 1").is(&now(11, 0));
}

#[test]
fn entries_are_deleted_with_or_without_what_is_pending() {
    let fresh = || {
        let mut t = Test::new();
        for id in ["1-1", "1-2", "1-3", "1-4"] {
            t.run(&format!("XADD s {id} a 1"));
        }
        t.run("XGROUP CREATE s g 0");
        t.run("XGROUP CREATE s h 0");
        t.run("XREADGROUP GROUP g c COUNT 3 STREAMS s >");
        t.run("XREADGROUP GROUP h c COUNT 2 STREAMS s >");
        t.run("XACK s g 1-1");
        t.run("XACK s h 1-1");
        t
    };
    let mut t = fresh();
    t.counted("XDELEX s IDS 2 1-2 9-9", "*2 :1 :-1", [0, 0, 1, 0]);
    t.run("XPENDING s g").has("*4 :2 ");
    t.counted("XDELEX s DELREF IDS 2 1-3 1-2", "*2 :1 :-1", [0, 0, 1, 0]);
    t.run("XPENDING s g").is("*4 :0 $-1 $-1 *-1");
    t.run("XPENDING s h").is("*4 :0 $-1 $-1 *-1");
    let mut t = fresh();
    // All have it, one has it still, one has not read it, nobody has.
    t.run("XDELEX s acked IDS 4 1-1 1-2 1-3 1-4")
        .is("*4 :1 :2 :2 :2");
    t.run("XLEN s").is(":3");
    // References that dangle are removed, and that is logged.
    t.run("XDEL s 1-2");
    t.counted("XDELEX s DELREF IDS 1 1-2", "*1 :-1", [0, 0, 2, 0]);
    t.run("XGROUP DESTROY s g");
    t.run("XGROUP DESTROY s h");
    t.run("XDELEX s ACKED IDS 2 1-3 1-9").is("*2 :2 :-1");
    t.run("XDELEX nokey IDS 2 1-3 1-9").is("*2 :-1 :-1");
    t.run("SET str x");
    t.run("XDELEX str IDS 1 1").has("-WRONGTYPE");
}

#[test]
fn the_ids_of_xdelex_are_counted() {
    let mut t = Test::new();
    let positive = "-ERR Number of IDs must be a positive integer";
    let matching = "-ERR The `numids` parameter must match the number of arguments";
    for (line, reply) in [
        ("XDELEX s IDS 0 1-1", positive),
        ("XDELEX s IDS -1 1-1", positive),
        ("XDELEX s IDS x 1-1", positive),
        ("XDELEX s IDS 9223372036854775807 1-1", matching),
        ("XDELEX s IDS 2 1-1", matching),
        ("XDELEX s IDS 1 1-1 1-2", "-ERR syntax error"),
        ("XDELEX s KEEPREF ACKED IDS 1 1-1", "-ERR syntax error"),
        ("XDELEX s FOO IDS 1 1-1", "-ERR syntax error"),
        ("XDELEX s IDS 1 1-1 KEEPREF", "*1 :-1"),
        (
            "XDELEX s IDS 1 x",
            "-ERR Invalid stream ID specified as stream command argument",
        ),
    ] {
        t.run(line).is(reply);
    }
}

#[test]
fn what_is_trimmed_may_depend_on_groups() {
    let mut t = Test::new();
    for n in 1..=6 {
        t.run(&format!("XADD s {n}-0 a 1"));
    }
    // Without groups there is nothing to look at.
    t.run("XTRIM s MAXLEN 5 ACKED").is(":1");
    t.run("XGROUP CREATE s g 0");
    t.run("XREADGROUP GROUP g c COUNT 3 STREAMS s >");
    t.run("XACK s g 3-0");
    t.run("XTRIM s ACKED MAXLEN 2").is(":1");
    t.run("XRANGE s - + COUNT 2")
        .is("*2 *2 $3 2-0 *2 $1 a $1 1 *2 $3 4-0 *2 $1 a $1 1");
    t.run("XTRIM s MINID 4 KEEPREF").is(":1");
    t.run("XPENDING s g").has("*4 :2 $3 2-0 $3 4-0");
    t.run("XADD s DELREF MAXLEN 2 7-0 a 1").is("$3 7-0");
    t.run("XPENDING s g").has("*4 :1 $3 2-0 $3 2-0");
    t.run("XADD s KEEPREF DELREF MAXLEN 2 8-0 a 1")
        .is("-ERR syntax error");
    t.run("XADD s ACKED 8-0 a 1").is("$3 8-0");
    t.run("XTRIM s ACKED LIMIT 0")
        .is("-ERR syntax error, XTRIM must be called with a trimming strategy");
}

/// An approximate trim is logged as what it has left, in words that no client may use.
#[test]
fn approximate_trims_are_repeated_exactly() {
    let mut logged = Logged::new();
    logged.test.run("CONFIG SET stream-node-max-entries 3");
    logged.records();
    for n in 1..=12 {
        logged.test.run(&format!("XADD s {n}-0 a 1"));
    }
    logged.records();
    logged.logs(
        "XTRIM s MAXLEN ~ 7 LIMIT 100",
        &["XTRIM s MAXLEN = 9 LIMIT 100"],
    );
    logged.logs("XTRIM s MINID ~ 8-0", &["XTRIM s MINID = 7-0"]);
    logged.test.run("XGROUP CREATE s g 0");
    logged.test.run("XREADGROUP GROUP g c STREAMS s >");
    logged.test.run("XACK s g 8-0 9-0 10-0 11-0");
    logged.records();
    // 7-0 stays, so no id says what has gone.
    logged.test.run("XTRIM s MINID ~ 12-0 ACKED");
    let len = logged.test.run("XLEN s").text();
    let len = len.trim_start_matches(':');
    match logged.records().as_slice() {
        [record] => assert_eq!(record, &format!("XTRIM s MAXLEN = {len} ACKED")),
        records => assert!(records.is_empty() && len == "6", "{records:?}"),
    }
    logged.repeats();
}

#[test]
fn keys_stand_behind_streams() {
    let mut t = Test::new();
    for (line, reply) in [
        ("XREAD STREAMS a b 0 0", "*2 $1 a $1 b"),
        ("XREAD COUNT 1 streams a b 0 0", "*2 $1 a $1 b"),
        ("XREAD STREAMS a b 0", "*1 $1 a"),
        ("XREAD STREAMS a b c 0", "*2 $1 a $1 b"),
        ("XREAD COUNT STREAMS a 0", "*1 $1 a"),
        ("XREAD FOO STREAMS a 0", "*1 $1 a"),
        (
            "XREAD FOO BAR BAZ",
            "-ERR Invalid arguments specified for command",
        ),
        ("XREADGROUP GROUP g c STREAMS a b > >", "*2 $1 a $1 b"),
        ("XREADGROUP GROUP STREAMS STREAMS STREAMS a >", "*1 $1 a"),
        ("XREADGROUP GROUP g c STREAMS STREAMS >", "*1 $7 STREAMS"),
        (
            "XREADGROUP STREAMS a b c d e >",
            "-ERR Invalid arguments specified for command",
        ),
        // Valkey takes the first word that looks like it.
        ("XREADGROUP NOACK GROUP g STREAMS STREAMS a >", "*1 $1 a"),
    ] {
        t.run(&format!("COMMAND GETKEYS {line}")).is(reply);
    }
    t.run("XADD a 1-1 f v");
    t.run("XGROUP CREATE a streams 0");
    t.run("XREADGROUP NOACK GROUP streams STREAMS STREAMS a >")
        .is("*1 *2 $1 a *1 *2 $3 1-1 *2 $1 f $1 v");
    t.run("XREAD COUNT 1 BLOCK 0 STREAMS a 0").has("$3 1-1");
}

/// A stream stays when its last entry goes, and can be read as before.
#[test]
fn a_stream_may_be_empty() {
    let mut t = Test::new();
    t.run("XADD s 1-1 a 1");
    t.run("XDEL s 1-1").is(":1");
    t.run("EXISTS s").is(":1");
    t.run("XRANGE s - +").is("*0");
    t.run("XADD s 1-1 a 1")
        .has("-ERR The ID specified in XADD is equal or smaller");
    t.run("XADD t MAXLEN 0 1-1 a 1").is("$3 1-1");
    t.run("TYPE t").is("+stream");
}

/// A node without entries stays behind, and XSETID goes back, so that it spans what comes later.
#[test]
fn a_node_without_entries_is_not_looked_into_for_the_first_one() {
    let mut t = Test::new();
    let (p, v) = ("p".repeat(200), "v");
    for (line, reply) in [
        (format!("XADD k 1-0 {p} {v}"), "$3 1-0"),
        (format!("XADD k 10-0 {p} {v}"), "$4 10-0"),
        ("XDEL k 10-0".to_owned(), ":1"),
        ("XTRIM k MINID 5-0".to_owned(), ":1"),
        (
            "XSETID k 10-0 ENTRIESADDED 2 MAXDELETEDID 2-0".to_owned(),
            "+OK",
        ),
        ("XSETID k 5-0".to_owned(), "+OK"),
        (format!("XADD k 6-0 f {}", "x".repeat(5000)), "$3 6-0"),
        ("XTRIM k MINID 7-0".to_owned(), ":1"),
        ("XLEN k".to_owned(), ":0"),
    ] {
        t.run(&line).is(reply);
    }
}

/// What commands count to can be read again, however large it is.
#[test]
fn counts_beyond_the_largest_signed_number_can_be_restored() {
    let mut t = Test::new();
    t.run("XADD s 1-0 f v").is("$3 1-0");
    t.run("XGROUP CREATE s g 0 ENTRIESREAD 9223372036854775807")
        .is("+OK");
    t.run("XSETID s 1-0 ENTRIESADDED 9223372036854775807")
        .is("+OK");
    t.run("XADD s 2-0 f v").is("$3 2-0");
    t.run("XREADGROUP GROUP g c COUNT 1 STREAMS s >").has("1-0");
    t.run("XCLAIM s g c 0 1-0 RETRYCOUNT 9223372036854775807 JUSTID")
        .is("*1 $3 1-0");
    t.run("XREADGROUP GROUP g c STREAMS s 0").has("1-0");
    let (payload, _) = t.session.call(&[b"DUMP", b"s"]);
    let start = payload.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let payload = payload[start..payload.len() - 2].to_vec();
    t.args(&[b"RESTORE", b"copy", b"0", &payload]).is("+OK");
    let full = |t: &mut Test, key: &str| t.run(&format!("XINFO STREAM {key} FULL")).text();
    assert_eq!(full(&mut t, "s"), full(&mut t, "copy"));
}
