//! The events of keys, and which keys count as touched, against what Valkey 9.1.2 says of the same
//! commands (`events.txt`).

use std::collections::BTreeSet;

use super::Test;
use super::script::{Script, entries};
use crate::resp::read::Reply;

/// Commands, each with what Valkey tells of it: events in their order as `event key`, with `@db` in
/// databases other than 0; behind a tilde the keys that are touched. `V` before it: what only Valkey
/// tells; `K`: what Kivi tells instead. `&name line`: a client of its own that blocks, `?name`: it was
/// served; `!sleep seconds`.
const SCRIPT: &str = include_str!("events.txt");

/// A server, a client of it that is told of every event, and one that keeps copies of every key.
struct Told {
    test: Test,
    subscriber: Test,
    cacher: Test,
}

impl Told {
    fn new() -> Told {
        let mut test = Test::new();
        test.run("CONFIG SET notify-keyspace-events KAmn").is("+OK");
        let mut subscriber = test.client();
        subscriber.run("PSUBSCRIBE __keyspace@*__:*");
        let mut cacher = test.client();
        cacher.run("HELLO 3");
        cacher.run("CLIENT TRACKING ON BCAST").is("+OK");
        Told {
            test,
            subscriber,
            cacher,
        }
    }

    /// The events since the last call.
    fn events(&mut self) -> Vec<String> {
        let pushes = self.subscriber.session.take_pushes();
        let event = |reply: Reply| {
            let Reply::Array(parts) = reply else {
                panic!("no message: {reply:?}")
            };
            let texts: Vec<String> = parts
                .into_iter()
                .map(|part| match part {
                    Reply::Bulk(text) => text.iter().map(|&byte| char::from(byte)).collect(),
                    other => panic!("{other:?}"),
                })
                .collect();
            let place = texts[2].strip_prefix("__keyspace@").unwrap();
            let (db, key) = place.split_once("__:").unwrap();
            let key = if key.is_empty() { "\"\"" } else { key };
            match db {
                "0" => format!("{} {key}", texts[3]),
                _ => format!("{} {key}@{db}", texts[3]),
            }
        };
        Reply::parse_all(&pushes)
            .unwrap()
            .into_iter()
            .map(event)
            .collect()
    }

    /// The keys that were touched since the last call, in alphabetical order.
    fn touched(&mut self) -> Vec<String> {
        let mut touched = BTreeSet::new();
        let pushes = self.cacher.session.take_pushes();
        for push in Reply::parse_all(&pushes).unwrap() {
            let Reply::Push(parts) = push else {
                panic!("no push: {push:?}")
            };
            // All of them are no single keys.
            if let Reply::Array(keys) = &parts[1] {
                for key in keys {
                    let Reply::Bulk(key) = key else {
                        panic!("no key: {key:?}")
                    };
                    let key: String = key.iter().map(|&byte| char::from(byte)).collect();
                    touched.insert(if key.is_empty() { "\"\"".into() } else { key });
                }
            }
        }
        touched.into_iter().collect()
    }

    /// Asserts the events of a line.
    #[track_caller]
    fn tells(&mut self, line: &str, events: &str) {
        self.test.run(line);
        assert_eq!(self.events().join(", "), events, "{line}");
    }
}

#[test]
fn each_command_tells_what_valkey_does() {
    let mut told = Told::new();
    let mut clients = Script::default();
    let mut faults = String::new();
    for (line, notes) in entries(SCRIPT) {
        let mut expected = "";
        for said in notes {
            let said = said.trim();
            match said.split_once(' ').unwrap_or((said, "")) {
                ("K", ours) => expected = ours,
                ("V", _) => {}
                _ => expected = said,
            }
        }
        let test = &mut told.test;
        clients.run(test, line);
        let mut events = told.events();
        let (expected, touched) = expected.split_once('~').unwrap_or((expected, ""));
        let expected = expected.trim().split(", ");
        let mut expected: Vec<&str> = expected.filter(|event| !event.is_empty()).collect();
        let touched: Vec<&str> = touched.split_whitespace().collect();
        if line.starts_with('!') {
            // Keys that are due together expire in no order.
            let key = |event: &str| event.split(' ').nth(1).map(str::to_owned);
            events.sort_by_key(|event| key(event));
            expected.sort_by_key(|event| key(event));
        }
        let (told, ours) = (events.join(", "), told.touched());
        if events != expected || ours != touched {
            let (expected, touched) = (expected.join(", "), touched.join(" "));
            faults += &format!(
                "{line}\n  expected {expected} ~ {touched}\n  told     {told} ~ {}\n",
                ours.join(" ")
            );
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

/// What is not told: classes that nobody asked for, and nothing at all without a channel.
#[test]
fn classes_and_channels_are_chosen() {
    let mut told = Told::new();
    for (flags, shown, events) in [
        ("K$", "$K", "set k"),
        ("Kg", "gK", "expire k"),
        ("Kn", "nK", "new k"),
        ("KAmn", "AKm", "keymiss k, new k, set k, expire k"),
        ("KAm", "AKm", "keymiss k, set k, expire k"),
        ("KA", "AK", "set k, expire k"),
        ("EA", "AE", ""),
        ("A", "A", ""),
        ("", "", ""),
    ] {
        let test = &mut told.test;
        test.run("DEL k");
        test.run(&format!("CONFIG SET notify-keyspace-events \"{flags}\""))
            .is("+OK");
        let len = shown.len();
        let text = format!("*2 $22 notify-keyspace-events ${len} {shown}");
        assert_eq!(
            test.run("CONFIG GET notify-keyspace-events")
                .text()
                .trim_end(),
            text.trim_end()
        );
        told.events();
        told.tells("SET k v EX 100 GET", events);
    }
    told.test
        .run("CONFIG SET notify-keyspace-events KQ")
        .has("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
}

/// The name of an event's second channel, and its message, are the other way round.
#[test]
fn both_channels_tell_of_an_event() {
    let mut told = Told::new();
    told.test.run("CONFIG SET notify-keyspace-events KEA");
    let mut other = told.test.client();
    other.run("SUBSCRIBE __keyevent@3__:lpush __keyspace@3__:l");
    told.test.run("SELECT 3");
    told.tells("LPUSH l a", "lpush l@3");
    let pushes = other.session.take_pushes();
    let text = String::from_utf8(pushes).unwrap().replace("\r\n", " ");
    assert_eq!(
        text,
        "*3 $7 message $16 __keyspace@3__:l $5 lpush \
         *3 $7 message $20 __keyevent@3__:lpush $1 l "
    );
    // The client itself hears of it behind its reply.
    told.test.run("HELLO 3");
    told.test.run("SUBSCRIBE __keyevent@3__:rpop");
    told.test
        .run("RPOP l")
        .is("$1 a >3 $7 message $19 __keyevent@3__:rpop $1 l");
    assert_eq!(told.events(), ["rpop l@3", "del l@3"]);
}

/// A transaction's events come command by command.
#[test]
fn events_of_a_transaction() {
    let mut told = Told::new();
    for line in [
        "MULTI",
        "SET a 1",
        "INCR a",
        "LPUSH a x",
        "GET none",
        "RPUSH l 1 2",
        "LPOP l 9",
    ] {
        told.tells(line, "");
    }
    told.tells(
        "EXEC",
        "new a, set a, incrby a, keymiss none, new l, rpush l, lpop l, del l",
    );
}

/// Expiry is told when it happens: by the cycle to the millisecond, by whoever comes upon the key
/// while the cycle rests, and never twice.
#[test]
fn expiry_is_told_when_it_happens() {
    let mut told = Told::new();
    let cycle = |told: &mut Told| {
        told.test.clock.advance(1);
        let keyspace = &told.test.session.server().keyspace;
        keyspace.expire_due(told.test.clock.unix_ms());
    };
    told.tells("SET k v PX 3", "new k, set k, expire k");
    told.tells("HSETEX h PX 2 FIELDS 2 a 1 b 2", "new h, hset h, hexpire h");
    told.tells("HSETEX h PX 3 FIELDS 1 c 1", "hset h, hexpire h");
    for expected in [
        &[][..],
        &["hexpired h"],
        &["expired k", "hexpired h", "del h"],
        &[],
    ] {
        cycle(&mut told);
        let mut events = told.events();
        events.sort_by_key(|event| event.ends_with('h'));
        assert_eq!(events, expected);
    }
    told.tells("SET k v PX 1", "new k, set k, expire k");
    told.tells("DEBUG SET-ACTIVE-EXPIRE 0", "");
    cycle(&mut told);
    assert_eq!(told.events(), [""; 0]);
    told.tells("SCAN 0", "expired k");
    told.tells("GET k", "keymiss k");
}

/// With the log on, fields that have expired are told as they are without it: when they are set again, or taken
/// out.
#[test]
fn expired_fields_with_a_log() {
    let mut told = Told::new();
    told.test.session.server().keyspace.oplog.set_on(true);
    told.tells("DEBUG SET-ACTIVE-EXPIRE 0", "");
    told.tells(
        "HSETEX h PX 1 FIELDS 3 a 1 b 1 c 1",
        "new h, hset h, hexpire h",
    );
    told.tells("HSET h stay 1", "hset h");
    told.test.clock.advance(1);
    told.tells("HSET h a 2", "hexpired h, hset h");
    told.tells("HDEL h b", "");
    told.tells("HINCRBY h c 2", "hexpired h, hincrby h");
    told.tells("HSETEX h PX 1 FIELDS 1 a 1", "hset h, hexpire h");
    told.test.clock.advance(1);
    told.tells("HLEN h", "hexpired h");
    told.tells("HDEL h stay c", "hdel h, del h");
}
