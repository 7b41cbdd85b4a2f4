//! The events of keys, and which keys count as touched, against what Valkey 9.1.2 says of the same
//! commands (`events.txt`).

use std::collections::HashMap;
use std::sync::Arc;

use super::Test;
use crate::db::Waiter;
use crate::resp::read::Reply;

/// Commands, each with what Valkey tells of it: events in their order as `event key`, with `@db` in
/// databases other than 0; behind a tilde the keys that are touched. `V` before it: what only Valkey
/// tells; `K`: what Kivi tells instead. `&name line`: a client of its own that blocks, `?name`: it was
/// served; `!sleep seconds`.
const SCRIPT: &str = include_str!("events.txt");

/// A server and a client of it that is told of every event.
struct Told {
    test: Test,
    subscriber: Test,
}

impl Told {
    fn new() -> Told {
        let mut test = Test::new();
        test.run("CONFIG SET notify-keyspace-events KAmn").is("+OK");
        let mut subscriber = test.client();
        subscriber.run("PSUBSCRIBE __keyspace@*__:*");
        Told { test, subscriber }
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

    /// Asserts the events of a line.
    #[track_caller]
    fn tells(&mut self, line: &str, events: &str) {
        self.test.run(line);
        assert_eq!(self.events().join(", "), events, "{line}");
    }
}

/// The events of what Valkey or Kivi tells.
fn events_of(told: &str) -> &str {
    told.split('~').next().unwrap_or_default().trim()
}

#[test]
fn each_command_tells_what_valkey_does() {
    let mut told = Told::new();
    let mut blocked: HashMap<&str, (Test, Arc<Waiter>)> = HashMap::new();
    let mut faults = String::new();
    let mut script = SCRIPT
        .lines()
        .filter(|line| !line.starts_with('#'))
        .peekable();
    while let Some(line) = script.next() {
        let mut expected = "";
        while let Some(said) = script.next_if(|line| line.starts_with("  ")) {
            let said = said.trim();
            match said.strip_prefix("K ") {
                Some(ours) => expected = ours,
                None if said.starts_with("V ") => {}
                None => expected = said,
            }
        }
        let test = &mut told.test;
        if let Some(seconds) = line.strip_prefix("!sleep ") {
            let ms = seconds.parse::<f64>().unwrap() * 1000.0;
            // Millisecond by millisecond, as time goes.
            for _ in 0..ms as u64 {
                test.clock.advance(1);
                let keyspace = &test.session.server().keyspace;
                keyspace.expire_due(test.clock.unix_ms());
            }
        } else if let Some((name, line)) =
            line.strip_prefix('&').and_then(|rest| rest.split_once(' '))
        {
            let mut client = test.client();
            let waiter = client.blocks(line);
            blocked.insert(name, (client, waiter));
        } else if let Some(name) = line.strip_prefix('?') {
            let (mut client, waiter) = blocked.remove(name).unwrap();
            assert!(client.waited(&waiter).is_some(), "{name} was not served");
        } else {
            test.run(line);
        }
        let events = told.events().join(", ");
        if events != events_of(expected) {
            faults += &format!(
                "{line}\n  expected {}\n  told     {events}\n",
                events_of(expected)
            );
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}
