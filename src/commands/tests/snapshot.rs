//! A snapshot of the keyspace shows exactly the keys of its moment, whatever commands run while it is
//! taken: random commands of all kinds between its slices, in both kinds of encodings.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use super::Test;
use crate::db::evict::Sweep;
use crate::db::snapshot::{Progress, Walk};
use crate::db::{Keyspace, Policy};
use crate::ds::collection::Element;
use crate::ds::entry::EntryRef;
use crate::ds::listpack::Listpack;
use crate::ds::quicklist::End;
use crate::ds::stream::shown;
use crate::persist::{aof, snapshot};
use crate::util::num;
use crate::util::rng::Rng;
use crate::value::hash::HashRef;
use crate::value::list::ListRef;
use crate::value::set::SetRef;
use crate::value::zset::ZsetRef;
use crate::value::{Type, hash, stream};

/// Database and key, and the rest as text.
pub(super) type Seen = BTreeMap<(u32, Vec<u8>), String>;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Type, expiry and elements; those without an order sorted.
fn describe(type_: Type, expire_at_ms: Option<u64>, mut elements: Vec<String>) -> String {
    if !matches!(type_, Type::List | Type::Stream) {
        elements.sort();
    }
    format!("{type_:?} {expire_at_ms:?} {elements:?}")
}

fn elements_of(entry: EntryRef<'_>) -> Vec<String> {
    let mut all = Vec::new();
    match Type::from_nibble(entry.type_()) {
        Type::String => all.push(text(&hash::text(entry.value()))),
        Type::List => {
            let list = ListRef::new(entry.value());
            list.walk(0, End::Tail, |value| {
                all.push(text(&value.to_vec()));
                ControlFlow::<()>::Continue(())
            });
        }
        Type::Set => all.extend(
            SetRef::of(entry)
                .iter()
                .map(|member| text(&member.to_vec())),
        ),
        Type::Zset => all.extend(
            ZsetRef::of(entry)
                .iter()
                .map(|(member, score)| format!("{} {score}", text(&member.to_vec()))),
        ),
        Type::Hash => all.extend(
            HashRef::new(entry.value(), 0)
                .iter()
                .map(|(field, value)| element(Element::Field(&hash::text(field), value, None))),
        ),
        Type::Stream => all = shown::stream(stream::stream(entry.value()).expect("a stream")),
    }
    all
}

/// An element of a large collection. The expiry of fields is left to tests of single commands: what
/// [`elements_of`] sees does not have it.
fn element(element: Element<'_>) -> String {
    match element {
        Element::Member(member) => text(member),
        Element::Scored(member, score) => format!("{} {score}", text(member)),
        Element::Field(field, value, _) => format!("{}={}", text(field), text(&hash::text(value))),
        Element::Plain(value) => text(value),
        _ => panic!("not one element"),
    }
}

fn note(seen: &mut Seen, key: (u32, Vec<u8>), described: String) {
    let before = seen.insert(key.clone(), described);
    assert!(before.is_none(), "{key:?} was handed out twice");
}

/// Walks a snapshot; `between` is called before every slice.
pub(super) fn walk(mut walk: Walk<'_>, rng: &mut Rng, mut between: impl FnMut(&mut Rng)) -> Seen {
    let mut seen = Seen::new();
    loop {
        between(rng);
        let progress = walk.slice(rng.index(12), &mut |db, entry, _| {
            let type_ = Type::from_nibble(entry.type_());
            let described = describe(type_, entry.expire_at_ms(), elements_of(entry));
            note(&mut seen, (db.0, entry.key().to_vec()), described);
        });
        // Some are read at once, others when they have changed a lot.
        while progress == Progress::Done || rng.below(3) > 0 {
            let Some(large) = walk.next_large() else {
                break;
            };
            let mut elements = Vec::new();
            let mut parts = 0;
            let mut more = Progress::More;
            while more == Progress::More {
                between(rng);
                more = walk.large_slice(&large, rng.index(8), &mut |given| {
                    // Of a stream only its nodes are announced.
                    let is_node = matches!(given, Element::Node(_));
                    parts += usize::from(is_node || large.meta.type_ != Type::Stream as u8);
                    match given {
                        _ if large.meta.type_ == Type::Stream as u8 => {
                            elements.extend(shown::element(given));
                        }
                        Element::Listpack(bytes) => {
                            let list = Listpack::new(bytes);
                            elements.extend(list.iter().map(|value| text(&value.to_vec())));
                        }
                        other => elements.push(element(other)),
                    }
                });
            }
            assert_eq!(parts, large.len);
            let type_ = Type::from_nibble(large.meta.type_);
            let described = describe(type_, large.expire_at_ms, elements);
            note(&mut seen, (large.db.0, large.key.to_vec()), described);
        }
        if progress == Progress::Done {
            return seen;
        }
    }
}

fn word(rng: &mut Rng, of: u64) -> String {
    format!("e{}", rng.below(of))
}

/// A random command that changes a stream, perhaps. Its ids are small, so that many are met again.
fn change_stream(key: &str, way: u64, rng: &mut Rng) -> String {
    let id = format!("{}-{}", rng.below(30), rng.below(3));
    let (group, consumer) = (["g", "g2"][rng.index(2)], ["c1", "c2", "c3"][rng.index(3)]);
    let more = rng.below(16);
    match (way, more) {
        (6, 0..4) => format!("XDEL {key} {id}"),
        (6, 4..6) => format!("XTRIM {key} MAXLEN {more}"),
        (6, 6..8) => format!("XTRIM {key} MINID ~ {id}"),
        (6, 8) => format!("XSETID {key} {id}"),
        (6, 9) => format!("XGROUP DESTROY {key} {group}"),
        (6, 10) => format!("XGROUP DELCONSUMER {key} {group} {consumer}"),
        (6, 11) => format!("XGROUP SETID {key} {group} {id}"),
        (6, _) => format!("XGROUP CREATECONSUMER {key} {group} {consumer}"),
        (7, 0..6) => format!("XGROUP CREATE {key} {group} {id} MKSTREAM"),
        (7, 6..9) => format!("XCLAIM {key} {group} {consumer} 0 {id} RETRYCOUNT {more} FORCE"),
        (7, _) => format!("XAUTOCLAIM {key} {group} {consumer} 0 {id} COUNT {more}"),
        (8, _) => format!("XREADGROUP GROUP {group} {consumer} COUNT {more} STREAMS {key} >"),
        (9, _) => format!("XACK {key} {group} {id}"),
        (_, 0..3) => format!("XADD {key} {id} f {more}"),
        (_, 3) => format!("XADD {key} MAXLEN 8 * f {more}"),
        (_, _) => format!("XADD {key} 30-* f {more} g {id}"),
    }
}

/// A random command that changes something, perhaps.
pub(super) fn change(test: &mut Test, rng: &mut Rng) {
    let kind = ["s", "l", "t", "z", "h", "x"][rng.index(6)];
    let key = format!("{kind}{}", rng.below(6));
    let other = format!("{kind}{}", rng.below(6));
    let (a, b) = (word(rng, 40), word(rng, 40));
    let number = rng.below(20);
    let line = match (kind, rng.below(12)) {
        (_, 0) => format!("RENAME {key} {other}"),
        (_, 1) => format!("DEL {key}"),
        (_, 2) => format!("COPY {key} {other} REPLACE"),
        (_, 3) => format!("MOVE {key} {}", rng.below(3)),
        (_, 4) => format!("PEXPIRE {key} {}", 1 + rng.below(100)),
        (_, 5) if rng.below(8) == 0 => ["FLUSHDB", "FLUSHALL SYNC"][rng.index(2)].to_owned(),
        (_, 5) if rng.below(2) == 0 => format!("SWAPDB {} {}", rng.below(3), rng.below(3)),
        (_, 5) => format!("SELECT {}", rng.below(3)),
        ("s", 6) => format!("INCR {key}"),
        ("s", 7) => format!("APPEND {key} {a}"),
        ("s", 8) => format!("SETBIT {key} {} 1", rng.below(1 << (4 + number))),
        ("s", 9) => format!("BITFIELD {key} INCRBY u7 {} 1", number * 5),
        ("s", 10) => format!("BITOP XOR {key} {key} {other}"),
        ("s", _) => format!("SET {key} {number}"),
        ("l", 6) => format!("LPOP {key} {}", rng.below(5)),
        ("l", 7) => format!("LSET {key} {number} {a}"),
        ("l", 8) => format!("LINSERT {key} BEFORE {a} {b}"),
        ("l", 9) => format!("LTRIM {key} {} -2", rng.below(3)),
        ("l", 10) => format!("LREM {key} 0 {a}"),
        ("l", _) => format!("RPUSH {key} {a} {b} {a}{b} {b}{a}"),
        ("t", 6..9) => format!("SREM {key} {a} {b}"),
        ("t", _) => format!("SADD {key} {a} {b} {a}{b}"),
        ("z", 6) => format!("ZPOPMIN {key} 3"),
        ("z", 7) => format!("ZINCRBY {key} {number} {a}"),
        ("z", 8) => format!("ZREM {key} {a} {b}"),
        ("z", _) => format!("ZADD {key} {number} {a} 3 {b} 2 {a}{b}"),
        ("x", way) => change_stream(&key, way, rng),
        (_, 6) => format!("HDEL {key} {a} {b}"),
        (_, 7) => format!("HPEXPIRE {key} {} FIELDS 1 {a}", 1 + rng.below(100)),
        (_, _) => format!("HSET {key} {a} {number} {b} {a} {a}{b} {b}"),
    };
    test.run(&line);
    if rng.below(30) == 0 {
        test.clock.advance(rng.below(40));
        let now_ms = test.clock.unix_ms();
        test.session.server().keyspace.expire_due(now_ms);
    }
}

/// With these directives collections are large ones from the third element on.
pub(super) const EVERYTHING_LARGE: [&str; 10] = [
    "--list-max-listpack-size",
    "2",
    "--set-max-listpack-entries",
    "2",
    "--hash-max-listpack-entries",
    "2",
    "--zset-max-listpack-entries",
    "2",
    "--stream-node-max-entries",
    "3",
];

#[test]
fn a_snapshot_is_the_keyspace_of_its_moment() {
    for seed in 0..24 {
        let mut rng = Rng::from_seed(seed);
        let mut args = vec!["--enable-debug-command", "yes"];
        if seed % 2 == 1 {
            args.extend(EVERYTHING_LARGE);
        }
        let mut test = Test::with(&args);
        let server = test.session.server().clone();
        let keyspace = &server.keyspace;
        let mut sweep = Sweep::default();
        for _ in 0..300 {
            change(&mut test, &mut rng);
        }
        for _ in 0..6 {
            for _ in 0..rng.index(60) {
                change(&mut test, &mut rng);
            }
            let (quiet, cut, ()) = keyspace.begin_snapshot(|| ()).unwrap();
            let expected = walk(quiet, &mut rng, |_| {});
            let keys: u64 = cut.databases.iter().map(|(_, keys, _)| keys).sum();
            assert_eq!(expected.len() as u64, keys);
            let (loud, _, ()) = keyspace.begin_snapshot(|| ()).unwrap();
            assert!(keyspace.begin_snapshot(|| ()).is_none(), "one at a time");
            let seen = walk(loud, &mut rng, |rng| {
                for _ in 0..rng.index(5) {
                    change(&mut test, rng);
                }
                if rng.below(10) == 0 {
                    // Memory is full.
                    keyspace.eviction.set(1, Policy::ALL[rng.index(10)], 5);
                    let now_ms = test.clock.unix_ms();
                    keyspace.evict_some(&mut sweep, now_ms, rng.below(1000));
                    keyspace.eviction.set(0, Policy::NoEviction, 5);
                }
            });
            assert_eq!(seen, expected, "seed {seed}");
            assert_eq!(keyspace.snapshot.held_bytes(), 0);
        }
    }
}

#[test]
fn a_snapshot_that_is_given_up_leaves_nothing() {
    let mut test = Test::new();
    let mut rng = Rng::from_seed(7);
    for _ in 0..300 {
        change(&mut test, &mut rng);
    }
    let server = test.session.server().clone();
    let keyspace = &server.keyspace;
    for _ in 0..10 {
        let (mut given_up, _, ()) = keyspace.begin_snapshot(|| ()).unwrap();
        given_up.slice(3, &mut |_, _, _| {});
        for _ in 0..20 {
            change(&mut test, &mut rng);
        }
        given_up.abandon();
        assert!(!keyspace.snapshot.is_running());
        assert_eq!(keyspace.snapshot.held_bytes(), 0);
    }
    test.run("SELECT 0").is("+OK");
    test.run("SET s 1").is("+OK");
    test.run("DEL s").is(":1");
    let (full, _, ()) = keyspace.begin_snapshot(|| ()).unwrap();
    let seen = walk(full, &mut rng, |_| {});
    let in_db = |db: u32| seen.keys().filter(|(of, _)| *of == db).count();
    test.run("DBSIZE").is(&format!(":{}", in_db(0)));
}

/// All of a snapshot as commands.
struct Text(Vec<u8>);

impl snapshot::Sink for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// All of a keyspace as commands, as the BASE of a log has it.
fn as_commands(keyspace: &Keyspace) -> (snapshot::Summary<()>, Text) {
    let mut text = Text(Vec::new());
    let summary = snapshot::write(
        keyspace,
        &mut aof::commands::Commands::new(snapshot::Libraries::new(&Vec::new), None),
        &mut text,
        &snapshot::SnapshotOptions::default(),
        &snapshot::SaveProgress::default(),
        &AtomicBool::new(false),
        || (),
    );
    (summary.unwrap(), text)
}

/// Runs requests one after the other; each has to work.
fn replay(test: &mut Test, mut requests: &[u8]) -> usize {
    let mut count = 0;
    while let Some(rest) = requests.strip_prefix(b"*") {
        let number = |rest: &mut &[u8]| {
            let end = rest.iter().position(|byte| *byte == b'\r').unwrap();
            let number = num::parse_u64(&rest[..end]).unwrap() as usize;
            *rest = &rest[end + 2..];
            number
        };
        let mut rest = rest;
        let argc = number(&mut rest);
        let mut argv = Vec::new();
        for _ in 0..argc {
            rest = rest.strip_prefix(b"$").unwrap();
            let len = number(&mut rest);
            argv.push(&rest[..len]);
            rest = &rest[len + 2..];
        }
        let reply = test.args(&argv).text();
        assert!(!reply.starts_with('-'), "{argv:?}: {reply}");
        requests = rest;
        count += 1;
    }
    assert!(requests.is_empty());
    count
}

#[test]
fn a_snapshot_as_commands_makes_the_same_keyspace() {
    let mut test = Test::new();
    let mut rng = Rng::from_seed(11);
    for _ in 0..3000 {
        change(&mut test, &mut rng);
    }
    test.run("SELECT 0").is("+OK");
    for line in [
        "SET plain value",
        "SET number 12345",
        "SET dies soon PX 100000",
        "RPUSH mixed a 1 -5 70000000000",
        "SADD ints 1 2 3",
        "ZADD scores 0.1 a inf b -inf c 3 d",
        "HSET fields a 1 b 2 c 3",
        "HPEXPIRE fields 100000 FIELDS 1 b",
        "PEXPIRE fields 200000",
        "XADD stream 5-1 a 1 b x",
        "XADD stream 5-2 c 70000000000",
        "XADD stream 6-1 a 2 b y",
        "XDEL stream 6-1",
        "XGROUP CREATE stream unread 0",
        "XGROUP CREATE stream g 0",
        "XREADGROUP GROUP g one COUNT 1 STREAMS stream >",
        "XREADGROUP GROUP g two COUNT 1 STREAMS stream >",
        "XGROUP CREATECONSUMER stream g idle",
        "XADD empty 3-3 a b",
        "XDEL empty 3-3",
        "XGROUP CREATE new g $ MKSTREAM",
    ] {
        test.run(line);
    }
    for number in 0..200 {
        test.run(&format!("RPUSH long:l {number}"));
        test.run(&format!("SADD long:t m{number}"));
        test.run(&format!("HSET long:h f{number} {number}"));
        test.run(&format!("ZADD long:z {number}.5 m{number}"));
        test.run(&format!("XADD long:x {number}-1 n {number}"));
    }
    test.run("XGROUP CREATE long:x g 0");
    test.run("XREADGROUP GROUP g c COUNT 150 STREAMS long:x >");
    let server = test.session.server().clone();
    let (summary, text) = as_commands(&server.keyspace);
    assert!(summary.keys > 13);
    let mut copy = Test::new();
    assert!(replay(&mut copy, &text.0) > 20);
    let digest = test.run("DEBUG DIGEST").text();
    copy.run("DEBUG DIGEST").is(&digest);
    copy.run("SELECT 0").is("+OK");
    for key in ["stream", "empty", "new", "long:x"] {
        for what in ["XINFO STREAM", "XINFO GROUPS"] {
            let line = format!("{what} {key}");
            let expected = test.run(&line).text();
            copy.run(&line).is(&expected);
        }
    }
    for group in ["stream g", "long:x g"] {
        let line = format!("XPENDING {group} - + 1000");
        let expected = test.run(&line).text();
        copy.run(&line).is(&expected);
    }
    // No command has more than 64 elements.
    let longest = text
        .0
        .split(|byte| *byte == b'\n')
        .filter_map(|line| num::parse_u64(line.strip_prefix(b"*")?.strip_suffix(b"\r")?));
    assert_eq!(longest.max(), Some(2 + 2 * 64));
}

/// 64 elements may be more than a command may be long.
#[test]
fn commands_of_long_elements_have_fewer() {
    let mut test = Test::new();
    for _ in 0..3 {
        test.run(&format!("RPUSH list {}", "x".repeat(5 << 20)));
    }
    let (_, text) = as_commands(&test.session.server().keyspace);
    let counts = |head: &[u8]| memchr::memmem::find_iter(&text.0, head).count();
    assert_eq!(counts(b"*4\r\n$5\r\nRPUSH\r\n"), 1);
    assert_eq!(counts(b"*3\r\n$5\r\nRPUSH\r\n"), 1);
}

#[test]
fn a_snapshot_knows_whether_groups_have_consumers() {
    let mut test = Test::new();
    let server = test.session.server().clone();
    let knows = || {
        let (walk, cut, ()) = server.keyspace.begin_snapshot(|| ()).unwrap();
        walk.abandon();
        cut.consumers
    };
    test.run("XGROUP CREATE s g $ MKSTREAM").is("+OK");
    test.run("XADD s 1-1 a b").is("$3 1-1");
    assert!(!knows());
    test.run("XGROUP CREATECONSUMER s g c").is(":1");
    assert!(knows());
    test.run("SWAPDB 0 1").is("+OK");
    test.run("FLUSHDB").is("+OK");
    assert!(knows(), "they are in the other database");
    test.run("SELECT 1").is("+OK");
    test.run("COPY s s2").is(":1");
    test.run("FLUSHDB").is("+OK");
    assert!(!knows());
    test.run("XADD s 1-1 a b").is("$3 1-1");
    test.run("XGROUP CREATE s g 0").is("+OK");
    test.run("XREADGROUP GROUP g c STREAMS s >");
    assert!(knows());
}

#[test]
fn a_snapshot_knows_whether_fields_expire() {
    let mut test = Test::new();
    let server = test.session.server().clone();
    let knows = || {
        let (walk, cut, ()) = server.keyspace.begin_snapshot(|| ()).unwrap();
        walk.abandon();
        cut.fields_expire
    };
    test.run("HSET h a 1 b 2").is(":2");
    assert!(!knows());
    test.run("HPEXPIRE h 1000 FIELDS 1 a").is("*1 :1");
    assert!(knows());
    test.run("HPERSIST h FIELDS 1 a").is("*1 :1");
    assert!(!knows());
    test.run("HPEXPIRE h 1000 FIELDS 1 a").is("*1 :1");
    test.run("HDEL h a").is(":1");
    assert!(!knows());
    for number in 0..300 {
        test.run(&format!("HSET {number} a 1 b 2"));
        test.run(&format!("HPEXPIRE {number} 1000 FIELDS 1 a"));
        test.run(&format!("HPERSIST {number} FIELDS 1 a"));
    }
    assert!(knows(), "too many to look at all of them");
}
