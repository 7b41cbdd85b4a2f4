//! List commands in every encoding and both protocols.

use crate::commands::tests::{START_MS, Test};
use crate::resp::read::Reply;

/// Servers in which a list of a few elements is a listpack, is a quicklist, and is a quicklist of
/// many compressed nodes.
fn tests() -> Vec<Test> {
    [
        &["--list-max-listpack-size", "-2"][..],
        &["--list-max-listpack-size", "1"],
        &[
            "--list-max-listpack-size",
            "2",
            "--list-compress-depth",
            "1",
        ],
    ]
    .map(Test::with)
    .into()
}

/// [`Test::script`] in every encoding.
#[track_caller]
fn script(lines: &[(&str, &str)]) {
    for mut test in tests() {
        test.script(lines);
    }
}

const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INT: &str = "-ERR value is not an integer or out of range";
const SYNTAX: &str = "-ERR syntax error";
const NULL: &str = "$-1 / _";
const NULL_ARRAY: &str = "*-1 / _";

#[test]
fn pushes() {
    script(&[
        ("RPUSH l a", ":1"),
        ("RPUSH l b 12", ":3"),
        ("LPUSH l x y", ":5"),
        ("LRANGE l 0 -1", "*5 $1 y $1 x $1 a $1 b $2 12"),
        ("LPUSH new 1 2 3", ":3"),
        ("LRANGE new 0 -1", "*3 $1 3 $1 2 $1 1"),
        ("RPUSHX l c d", ":7"),
        ("LPUSHX l z", ":8"),
        (
            "LRANGE l 0 -1",
            "*8 $1 z $1 y $1 x $1 a $1 b $2 12 $1 c $1 d",
        ),
        ("RPUSHX none a", ":0"),
        ("LPUSHX none a", ":0"),
        ("EXISTS none", ":0"),
        ("LLEN l", ":8"),
        ("LLEN none", ":0"),
        ("TYPE l", "+list"),
        ("SET s v", "+OK"),
        ("RPUSH s a", WRONG),
        ("LPUSHX s a", WRONG),
        ("LLEN s", WRONG),
        (
            "RPUSH l",
            "-ERR wrong number of arguments for 'rpush' command",
        ),
        (
            "RPUSH l \"\" \"\\x00\\r\\n\" -0 007 -9223372036854775808",
            ":13",
        ),
        (
            "LRANGE l 8 -1",
            "*5 $0  $3 \0  $2 -0 $3 007 $20 -9223372036854775808",
        ),
    ]);
}

#[test]
fn pops() {
    script(&[
        ("LPOP none", NULL),
        ("RPOP none", NULL),
        ("LPOP none 1", NULL_ARRAY),
        ("LPOP none 0", NULL_ARRAY),
        ("RPUSH l a b c d e f", ":6"),
        ("LPOP l", "$1 a"),
        ("RPOP l", "$1 f"),
        ("LPOP l 0", "*0"),
        ("LPOP l 2", "*2 $1 b $1 c"),
        ("RPOP l 9223372036854775807", "*2 $1 e $1 d"),
        ("EXISTS l", ":0"),
        ("RPUSH l a", ":1"),
        ("LPOP l", "$1 a"),
        ("EXISTS l", ":0"),
        ("RPUSH l a b c", ":3"),
        ("RPOP l 2", "*2 $1 c $1 b"),
        ("LPOP l -1", "-ERR value is out of range, must be positive"),
        ("LPOP l x", "-ERR value is out of range, must be positive"),
        (
            "LPOP l -9223372036854775808",
            "-ERR value is out of range, must be positive",
        ),
        (
            "LPOP l 1 2",
            "-ERR wrong number of arguments for 'lpop' command",
        ),
        ("SET s v", "+OK"),
        ("LPOP s", WRONG),
        ("RPOP s 0", WRONG),
        ("RPOP s 1", WRONG),
    ]);
}

#[test]
fn ranges_and_indexes() {
    script(&[
        ("LRANGE none 0 -1", "*0"),
        ("LINDEX none 0", NULL),
        ("LINDEX none x", NULL),
        ("RPUSH l a b 3 d e", ":5"),
        ("LRANGE l 1 3", "*3 $1 b $1 3 $1 d"),
        ("LRANGE l -2 -1", "*2 $1 d $1 e"),
        ("LRANGE l -100 1", "*2 $1 a $1 b"),
        ("LRANGE l 4 100", "*1 $1 e"),
        ("LRANGE l 5 6", "*0"),
        ("LRANGE l 3 2", "*0"),
        (
            "LRANGE l -9223372036854775808 9223372036854775807",
            "*5 $1 a $1 b $1 3 $1 d $1 e",
        ),
        ("LRANGE l 9223372036854775807 -1", "*0"),
        ("LRANGE l x 1", NOT_INT),
        ("LRANGE none 1 x", NOT_INT),
        ("LINDEX l 0", "$1 a"),
        ("LINDEX l 2", "$1 3"),
        ("LINDEX l -1", "$1 e"),
        ("LINDEX l -5", "$1 a"),
        ("LINDEX l 5", NULL),
        ("LINDEX l -6", NULL),
        ("LINDEX l -9223372036854775808", NULL),
        ("LINDEX l 4294967296", NULL),
        ("LINDEX l x", NOT_INT),
        ("SET s v", "+OK"),
        ("LINDEX s x", WRONG),
        ("LRANGE s 0 0", WRONG),
    ]);
}

#[test]
fn replacements() {
    script(&[
        ("LSET none 0 v", "-ERR no such key"),
        ("LSET none x v", "-ERR no such key"),
        ("RPUSH l a b c", ":3"),
        ("LSET l 0 x", "+OK"),
        ("LSET l -1 10000", "+OK"),
        ("LSET l 1 \"\"", "+OK"),
        ("LRANGE l 0 -1", "*3 $1 x $0  $5 10000"),
        ("LSET l 3 v", "-ERR index out of range"),
        ("LSET l -4 v", "-ERR index out of range"),
        ("LSET l x v", NOT_INT),
        // As in Redis, where the index is cut to 32 bits.
        ("LSET l 4294967297 one", "+OK"),
        ("LSET l -9223372036854775808 nought", "+OK"),
        ("LSET l 2147483648 v", "-ERR index out of range"),
        ("LRANGE l 0 -1", "*3 $6 nought $3 one $5 10000"),
        ("SET s v", "+OK"),
        ("LSET s x v", WRONG),
    ]);
}

#[test]
fn insertions() {
    script(&[
        ("LINSERT none BEFORE a b", ":0"),
        ("LINSERT none beside a b", SYNTAX),
        ("RPUSH l a b a", ":3"),
        ("LINSERT l before a x", ":4"),
        ("LINSERT l AFTER a y", ":5"),
        ("LINSERT l after none z", ":-1"),
        ("LINSERT l BEFORE b 7", ":6"),
        ("LINSERT l AFTER 7 8", ":7"),
        ("LRANGE l 0 -1", "*7 $1 x $1 a $1 y $1 7 $1 8 $1 b $1 a"),
        ("SET s v", "+OK"),
        ("LINSERT s AFTER a b", WRONG),
        ("LINSERT s x a b", SYNTAX),
    ]);
}

#[test]
fn removals() {
    script(&[
        ("LREM none 0 a", ":0"),
        ("RPUSH l a 1 a 1 a b a", ":7"),
        ("LREM l 2 a", ":2"),
        ("LRANGE l 0 -1", "*5 $1 1 $1 1 $1 a $1 b $1 a"),
        ("LREM l -1 1", ":1"),
        ("LREM l -9 a", ":2"),
        ("LRANGE l 0 -1", "*2 $1 1 $1 b"),
        ("LREM l 0 none", ":0"),
        ("LREM l 0 01", ":0"),
        ("LREM l x a", NOT_INT),
        ("LREM none x a", NOT_INT),
        (
            "LREM l -9223372036854775808 a",
            "-ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        ),
        ("LREM l -9223372036854775807 1", ":1"),
        ("LREM l 9223372036854775807 b", ":1"),
        ("EXISTS l", ":0"),
        ("SET s v", "+OK"),
        ("LREM s 0 a", WRONG),
    ]);
}

#[test]
fn trims() {
    script(&[
        ("LTRIM none 0 1", "+OK"),
        ("LTRIM none x 1", NOT_INT),
        ("RPUSH l a b c d e f g", ":7"),
        ("LTRIM l 0 -1", "+OK"),
        ("LTRIM l 1 -2", "+OK"),
        ("LRANGE l 0 -1", "*5 $1 b $1 c $1 d $1 e $1 f"),
        ("LTRIM l -3 100", "+OK"),
        ("LTRIM l -100 1", "+OK"),
        ("LRANGE l 0 -1", "*2 $1 d $1 e"),
        ("LTRIM l 1 0", "+OK"),
        ("EXISTS l", ":0"),
        ("RPUSH l a b", ":2"),
        ("LTRIM l 9223372036854775807 -9223372036854775808", "+OK"),
        ("EXISTS l", ":0"),
        ("RPUSH l a b", ":2"),
        ("LTRIM l 2 3", "+OK"),
        ("EXISTS l", ":0"),
        ("SET s v", "+OK"),
        ("LTRIM s 0 1", WRONG),
    ]);
}

#[test]
fn positions() {
    const COUNT: &str = "-ERR COUNT can't be negative";
    const MAXLEN: &str = "-ERR MAXLEN can't be negative";
    script(&[
        ("LPOS none a", NULL),
        ("LPOS none a COUNT 1", "*0"),
        ("RPUSH l a b c 1 2 3 c c", ":8"),
        ("LPOS l a", ":0"),
        ("LPOS l 2", ":4"),
        ("LPOS l none", NULL),
        ("LPOS l c RANK 2", ":6"),
        ("LPOS l c RANK 4", NULL),
        ("LPOS l c RANK -1", ":7"),
        ("LPOS l c rank -3", ":2"),
        ("LPOS l c RANK -4", NULL),
        ("LPOS l c COUNT 0", "*3 :2 :6 :7"),
        ("LPOS l c COUNT 2", "*2 :2 :6"),
        ("LPOS l c COUNT 9223372036854775807", "*3 :2 :6 :7"),
        ("LPOS l c COUNT 2 RANK -1", "*2 :7 :6"),
        ("LPOS l c COUNT 0 RANK -2", "*2 :6 :2"),
        ("LPOS l c COUNT 1 RANK 2", "*1 :6"),
        ("LPOS l c COUNT 0 RANK 4", "*0"),
        ("LPOS l c MAXLEN 2", NULL),
        ("LPOS l c MAXLEN 3", ":2"),
        ("LPOS l c MAXLEN 0", ":2"),
        ("LPOS l c COUNT 0 MAXLEN 7", "*2 :2 :6"),
        ("LPOS l c COUNT 0 MAXLEN 2 RANK -1", "*2 :7 :6"),
        ("LPOS l c MAXLEN 9223372036854775807 RANK -1", ":7"),
        ("LPOS l c RANK 9223372036854775807", NULL),
        ("LPOS l c RANK -9223372036854775807 COUNT 0", "*0"),
        (
            "LPOS l c RANK -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        ),
        (
            "LPOS l c RANK 0",
            "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
             or use negative to start from the end of the list",
        ),
        ("LPOS l c RANK x", NOT_INT),
        ("LPOS l c COUNT -1", COUNT),
        ("LPOS l c COUNT x", COUNT),
        ("LPOS l c MAXLEN -1", MAXLEN),
        ("LPOS l c MAXLEN 9223372036854775808", MAXLEN),
        ("LPOS none c RANK", SYNTAX),
        ("LPOS none c x 1", SYNTAX),
        ("LPOS none c COUNT 1 x", SYNTAX),
        ("SET s v", "+OK"),
        ("LPOS s a", WRONG),
        ("LPOS s a x", SYNTAX),
    ]);
}

#[test]
fn moves() {
    script(&[
        ("LMOVE none d LEFT LEFT", NULL),
        ("RPOPLPUSH none d", NULL),
        ("EXISTS d", ":0"),
        ("RPUSH l a b c d", ":4"),
        ("LMOVE l d LEFT RIGHT", "$1 a"),
        ("LMOVE l d right left", "$1 d"),
        ("RPOPLPUSH l d", "$1 c"),
        ("LRANGE d 0 -1", "*3 $1 c $1 d $1 a"),
        ("LMOVE l d LEFT LEFT", "$1 b"),
        ("EXISTS l", ":0"),
        ("LRANGE d 0 -1", "*4 $1 b $1 c $1 d $1 a"),
        // On itself: a rotation, or nothing.
        ("LMOVE d d LEFT RIGHT", "$1 b"),
        ("RPOPLPUSH d d", "$1 b"),
        ("LMOVE d d LEFT LEFT", "$1 b"),
        ("LMOVE d d RIGHT RIGHT", "$1 a"),
        ("LMOVE d d RIGHT LEFT", "$1 a"),
        ("LRANGE d 0 -1", "*4 $1 a $1 b $1 c $1 d"),
        ("RPUSH one 1", ":1"),
        ("LMOVE one one LEFT RIGHT", "$1 1"),
        ("LRANGE one 0 -1", "*1 $1 1"),
        ("LMOVE d e up LEFT", SYNTAX),
        ("LMOVE none e LEFT down", SYNTAX),
        ("SET s v", "+OK"),
        ("LMOVE s d LEFT LEFT", WRONG),
        ("LMOVE none s LEFT LEFT", NULL),
        ("RPOPLPUSH d s", WRONG),
        ("LRANGE d 0 -1", "*4 $1 a $1 b $1 c $1 d"),
        ("GET s", "$1 v"),
    ]);
}

#[test]
fn pops_of_several_keys() {
    const NUMKEYS: &str = "-ERR numkeys should be greater than 0";
    const COUNT: &str = "-ERR count should be greater than 0";
    script(&[
        ("LMPOP 2 a b LEFT", NULL_ARRAY),
        ("RPUSH b 1 2 3 4", ":4"),
        ("RPUSH c 5", ":1"),
        ("LMPOP 3 a b c LEFT", "*2 $1 b *1 $1 1"),
        ("LMPOP 3 a b c right COUNT 2", "*2 $1 b *2 $1 4 $1 3"),
        (
            "LMPOP 3 a b c RIGHT count 9223372036854775807",
            "*2 $1 b *1 $1 2",
        ),
        ("LMPOP 3 a b c RIGHT", "*2 $1 c *1 $1 5"),
        ("EXISTS b c", ":0"),
        ("LMPOP 0 a LEFT", NUMKEYS),
        ("LMPOP -1 a LEFT", NUMKEYS),
        ("LMPOP x a LEFT", NUMKEYS),
        ("LMPOP 2 a LEFT", SYNTAX),
        ("LMPOP 9223372036854775807 a LEFT", SYNTAX),
        ("LMPOP 1 a up", SYNTAX),
        ("LMPOP 1 a LEFT COUNT", SYNTAX),
        ("LMPOP 1 a LEFT COUNT 0", COUNT),
        ("LMPOP 1 a LEFT COUNT x", COUNT),
        ("LMPOP 1 a LEFT COUNT 1 COUNT 1", SYNTAX),
        ("LMPOP 1 a LEFT x 1", SYNTAX),
        ("SET s v", "+OK"),
        ("LMPOP 2 a s LEFT", WRONG),
        ("RPUSH a 1", ":1"),
        ("LMPOP 2 a s LEFT", "*2 $1 a *1 $1 1"),
    ]);
}

#[test]
fn blocking_commands_that_find_something() {
    script(&[
        ("RPUSH a 1 2 3 4 5 6 7 8", ":8"),
        ("BLPOP none a 0", "*2 $1 a $1 1"),
        ("BRPOP a none 0", "*2 $1 a $1 8"),
        ("BLMPOP 0 2 none a LEFT", "*2 $1 a *1 $1 2"),
        ("BLMPOP 0 1 a RIGHT COUNT 2", "*2 $1 a *2 $1 7 $1 6"),
        ("BLMOVE a b LEFT RIGHT 0", "$1 3"),
        ("BRPOPLPUSH a b 0", "$1 5"),
        ("BLMOVE a a LEFT RIGHT 0", "$1 4"),
        ("LRANGE b 0 -1", "*2 $1 5 $1 3"),
        ("BLPOP a 1", "*2 $1 a $1 4"),
        ("EXISTS a", ":0"),
        ("SET s v", "+OK"),
        ("BLPOP s 0", WRONG),
        ("BLPOP none s b 0", WRONG),
        ("BLMPOP 0 2 b s LEFT", "*2 $1 b *1 $1 5"),
        ("BLMOVE s b LEFT LEFT 0", WRONG),
        ("BLMOVE b s LEFT LEFT 0", WRONG),
        ("LRANGE b 0 -1", "*1 $1 3"),
        ("BLPOP b x", "-ERR timeout is not a float or out of range"),
        ("BLPOP b -1", "-ERR timeout is negative"),
        ("BLMPOP -1 1 b LEFT", "-ERR timeout is negative"),
        (
            "BLMPOP -1 0 b LEFT",
            "-ERR numkeys should be greater than 0",
        ),
        ("BLMPOP x 1 b up", SYNTAX),
        ("BLMOVE b c LEFT up x", SYNTAX),
        ("BLMOVE b c LEFT LEFT inf", "-ERR timeout is out of range"),
        (
            "BRPOPLPUSH b c nan",
            "-ERR timeout is not a float or out of range",
        ),
        ("LLEN b", ":1"),
    ]);
}

#[test]
fn blocking_commands_that_find_nothing_wait() {
    for mut test in tests() {
        for (line, push, reply) in [
            ("BLPOP a b 0", "RPUSH b 1 2 3", "*2 $1 b $1 1"),
            ("BRPOP a b 0.5", "RPUSH b 1 2 3", "*2 $1 b $1 3"),
            (
                "BLMPOP 1 2 a b RIGHT COUNT 2",
                "RPUSH b 1 2 3",
                "*2 $1 b *2 $1 3 $1 2",
            ),
            ("BLMOVE b to LEFT RIGHT 0", "LPUSH b 1 2 3", "$1 3"),
            ("BRPOPLPUSH b to 0", "LPUSH b 1 2 3", "$1 1"),
            ("BLMOVE b b LEFT RIGHT 0", "RPUSH b 1 2", "$1 1"),
        ] {
            test.run("FLUSHALL");
            let waiter = test.blocks(line);
            assert!(test.waited(&waiter).is_none(), "{line}");
            test.client().run(push);
            assert_eq!(
                test.waited(&waiter).map(|reply| reply.text()),
                Some(reply.into()),
                "{line}"
            );
        }
        test.run("LRANGE b 0 -1").is("*2 $1 2 $1 1");
    }
}

#[test]
fn waiting_ends_when_the_time_is_over() {
    let mut test = Test::new();
    for line in [
        "BLPOP a b 0.0101",
        "BRPOP a 0.011",
        "BLMPOP 0.011 1 a LEFT",
        "BLMOVE a b LEFT LEFT 0.011",
        "BRPOPLPUSH a b 0.011",
    ] {
        for resp3 in [false, true] {
            test.run(if resp3 { "HELLO 3" } else { "HELLO 2" });
            let now_ms = test.clock.unix_ms();
            let waiter = test.blocks(line);
            assert_eq!(waiter.waiting.deadline_ms, Some(now_ms + 11), "{line}");
            test.clock.advance(10);
            assert!(test.waited(&waiter).is_none(), "{line}");
            test.clock.advance(1);
            let reply = test.waited(&waiter).map(|reply| reply.text());
            assert_eq!(
                reply,
                Some(if resp3 { "_" } else { "*-1" }.into()),
                "{line}"
            );
        }
    }
    test.run("HELLO 2");
    let forever = test.blocks("BLPOP a 0");
    assert_eq!(forever.waiting.deadline_ms, None);
    let longest = test.client().blocks("BLPOP a 9.2e15");
    assert_eq!(
        longest.waiting.deadline_ms,
        Some(START_MS + 110 + 9_200_000_000_000_000_000)
    );
}

#[test]
fn the_first_to_wait_is_served_first() {
    let mut test = Test::new();
    let mut clients = [test.client(), test.client(), test.client()];
    let waiters = [
        clients[0].blocks("BLPOP a b 0"),
        clients[1].blocks("BLMOVE a c LEFT LEFT 0"),
        clients[2].blocks("BLPOP c a 0"),
    ];
    test.run("RPUSH a 1 2 3").is(":3");
    let replies: Vec<Option<String>> = clients
        .iter_mut()
        .zip(&waiters)
        .map(|(client, waiter)| client.waited(waiter).map(|reply| reply.text()))
        .collect();
    let [first, second, third] = &replies[..] else {
        panic!()
    };
    assert_eq!(first.as_deref(), Some("*2 $1 a $1 1"));
    assert_eq!(second.as_deref(), Some("$1 2"));
    // Its turn came by the one key, and then its command looked at the other first, as in Valkey.
    assert_eq!(third.as_deref(), Some("*2 $1 c $1 2"));
    test.run("LRANGE a 0 -1").is("*1 $1 3");
}

#[test]
fn a_wait_is_not_ended_by_another_type_nor_by_what_is_gone() {
    let mut test = Test::new();
    let mut other = test.client();
    let waiter = other.blocks("BLPOP a 0");
    test.run("SET a v");
    test.run("DEL a");
    assert!(other.waited(&waiter).is_none());
    // The destination has become something else: an error, and the element stays.
    test.run("SET s v");
    let mut mover = test.client();
    let moves = mover.blocks("BLMOVE b s LEFT LEFT 0");
    test.run("RPUSH b 1").is(":1");
    assert_eq!(
        mover.waited(&moves).map(|reply| reply.text()).as_deref(),
        Some(WRONG)
    );
    test.run("LRANGE b 0 -1").is("*1 $1 1");
    test.run("RENAME b a").is("+OK");
    let reply = other.waited(&waiter).map(|reply| reply.text());
    assert_eq!(reply.as_deref(), Some("*2 $1 a $1 1"));
}

#[test]
fn changes_are_counted_as_redis_counts_them() {
    for mut test in tests() {
        let changes = |count| [0, 0, count, 0];
        test.counted("RPUSH l a b c a", ":4", changes(4));
        test.counted("LPUSH l x", ":5", changes(1));
        test.counted("LPUSHX l y", ":6", changes(1));
        test.counted("LPUSHX none y", ":0", changes(0));
        test.counted("LSET l 0 z", "+OK", changes(1));
        test.counted("LSET l 9 z", "-ERR index out of range", changes(0));
        test.counted("LINSERT l AFTER z y", ":7", changes(1));
        test.counted("LINSERT l AFTER none y", ":-1", changes(0));
        test.counted("LREM l 0 a", ":2", changes(2));
        test.counted("LREM l 0 a", ":0", changes(0));
        test.counted("LTRIM l 1 -1", "+OK", changes(1));
        test.counted("LTRIM l 0 -1", "+OK", changes(0));
        test.counted("LMOVE l m LEFT LEFT", "$1 y", changes(1));
        test.counted("LMOVE l l LEFT RIGHT", "$1 x", changes(1));
        test.counted("LRANGE l 0 -1", "*3 $1 b $1 c $1 x", [1, 0, 0, 0]);
        test.counted("LLEN none", ":0", [0, 1, 0, 0]);
        test.counted("LPOP l 2", "*2 $1 b $1 c", changes(2));
        test.counted("LPOP l 2", "*1 $1 x", changes(1));
        test.counted("RPOP l", "$-1", changes(0));
        test.counted("RPUSH l a b c", ":3", changes(3));
        test.counted("RPOP l 3", "*3 $1 c $1 b $1 a", changes(3));
        test.counted("RPUSH l a b c", ":3", changes(3));
        test.counted("LTRIM l 1 0", "+OK", changes(3));
        test.counted("RPUSH l a a a", ":3", changes(3));
        test.counted("LREM l 0 a", ":3", changes(3));
        test.counted("EXISTS l", ":0", [0, 1, 0, 0]);
    }
}

#[test]
fn encodings_follow_the_limits() {
    let mut test = Test::new();
    let mut is = |line: &str, encoding: &str| {
        test.run(line);
        test.run("OBJECT ENCODING l")
            .is(&format!("${} {encoding}", encoding.len()));
    };
    is("RPUSH l a", "listpack");
    is("CONFIG SET list-max-listpack-size 3", "listpack");
    is("RPUSH l b c", "listpack");
    is("LINSERT l AFTER none x", "quicklist");
    is("LSET l 0 A", "quicklist");
    is("LPOP l", "quicklist");
    is("LPOP l", "listpack");
    is("RPUSH l x y z", "quicklist");
    is("LTRIM l 0 0", "listpack");
    is("RPUSH l x y z", "quicklist");
    is("LREM l 0 x", "quicklist");
    is("LREM l 0 z", "quicklist");
    is("LREM l 0 y", "listpack");
    is("CONFIG SET list-max-listpack-size -1", "listpack");
    let long = "x".repeat(4090);
    is(&format!("LSET l 0 {long}"), "quicklist");
    is("LSET l 0 short", "listpack");
    is(&format!("RPUSH l {long}"), "quicklist");
    is("LMOVE l l RIGHT LEFT", "quicklist");
    is("LMOVE l other LEFT LEFT", "listpack");
    test.run("OBJECT ENCODING other").is("$9 quicklist");
    test.run("LLEN other").is(":1");
}

#[test]
fn expiries_stay_and_emptied_keys_go() {
    for mut test in tests() {
        test.run("RPUSH l a b c d e f g h i j");
        test.run("EXPIRE l 100").is(":1");
        for line in [
            "RPUSH l k",
            "LSET l 0 A",
            "LREM l 1 b",
            "LTRIM l 0 3",
            "LMOVE l l LEFT LEFT",
        ] {
            test.run(line);
            test.run("TTL l").is(":100");
        }
        test.run("LPOP l 4");
        test.run("TTL l").is(":-2");
        test.run("RPUSH l a").is(":1");
        test.run("TTL l").is(":-1");
        test.run("PEXPIRE l 1");
        test.clock.advance(2);
        test.run("RPUSH l x").is(":1");
    }
}

#[test]
fn long_lists_answer_the_same_in_every_encoding() {
    let mut replies: Vec<Vec<Vec<u8>>> = Vec::new();
    for mut test in tests() {
        let elements: Vec<String> = (0..500).map(|n| format!("e{}", n % 37)).collect();
        for some in elements.chunks(50) {
            test.run(&format!("RPUSH l {}", some.join(" ")));
        }
        let mut all = Vec::new();
        for line in [
            "LRANGE l 100 199",
            "LRANGE l -300 -250",
            "LPOS l e5 COUNT 0 RANK -3",
            "LPOS l e36 COUNT 3 RANK 2 MAXLEN 400",
            "LINDEX l 250",
            "LINDEX l -260",
            "LREM l -5 e7",
            "LREM l 3 e8",
            "LINSERT l BEFORE e30 new",
            "LSET l 333 changed",
            "LTRIM l 20 -30",
            "LPOP l 60",
            "RPOP l 61",
            "LRANGE l 0 -1",
        ] {
            all.push(test.run(line).0);
        }
        Reply::parse_all(all.last().unwrap()).expect("well formed");
        replies.push(all);
    }
    assert_eq!(replies[0], replies[1]);
    assert_eq!(replies[0], replies[2]);
}
