//! What commands have the log repeat, against what Valkey 9.1.2 writes (`propagation.txt`), and that
//! repeating it gives the same keyspace.

use std::collections::HashMap;
use std::sync::Arc;

use super::Test;
use crate::db::oplog::Merge;
use crate::db::oplog::tests::lines;
use crate::db::{DbIndex, Waiter};
use crate::exec::replay::Replay;

/// Commands, each with the records that they add. `| record` is what both write; `V record` only
/// Valkey, `K record` only Kivi. Times are `+ms` from the moment of the command. `&name line`: a
/// client of its own that blocks; `!sleep seconds`.
const SCRIPT: &str = include_str!("propagation.txt");

/// A server whose log is on, and what was read of it.
pub(crate) struct Logged {
    pub(crate) test: Test,
    merge: Merge,
    all: Vec<u8>,
}

impl Logged {
    pub(crate) fn new() -> Logged {
        let test = Test::new();
        let oplog = &test.session.server().keyspace.oplog;
        oplog.set_on(true);
        let merge = Merge::after(oplog.cut());
        let all = Vec::new();
        Logged { test, merge, all }
    }

    /// What was logged since the last call.
    pub(crate) fn records(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        let oplog = &self.test.session.server().keyspace.oplog;
        oplog.drain(&mut self.merge, &mut out, None);
        assert_eq!(oplog.cut(), self.merge.last_seq());
        self.all.extend_from_slice(&out);
        lines(&out)
    }

    /// Asserts what a line has logged.
    #[track_caller]
    pub(crate) fn logs(&mut self, line: &str, records: &[&str]) {
        self.test.run(line);
        assert_eq!(self.records(), records, "{line}");
    }

    /// Asserts that a fresh server that repeats the log has the same keyspace.
    #[track_caller]
    pub(crate) fn repeats(&mut self) {
        self.records();
        let mut fresh = self.test.fresh();
        let server = fresh.session.server().clone();
        server.keyspace.expire_clock.set_loading(true);
        let mut replay = Replay::new(server.clone(), fresh.table.clone());
        let mut db = DbIndex(0);
        for line in requests(&self.all) {
            let args: Vec<&[u8]> = line.iter().map(|arg| &arg[..]).collect();
            match args[0] {
                b"SELECT" => {
                    db = DbIndex(std::str::from_utf8(args[1]).unwrap().parse().unwrap());
                }
                b"MULTI" | b"EXEC" => {}
                _ => replay.run(db, &args).unwrap(),
            }
        }
        server.keyspace.expire_clock.set_loading(false);
        for test in [&self.test, &fresh] {
            let keyspace = &test.session.server().keyspace;
            keyspace.expire_due(test.clock.unix_ms());
        }
        let digests = [&mut self.test, &mut fresh].map(|test| test.run("DEBUG DIGEST").text());
        assert_eq!(digests[0], digests[1]);
        assert_eq!(server.keyspace.oplog.cut(), 0);
    }
}

/// Requests in RESP.
fn requests(mut bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let number = |bytes: &mut &[u8]| -> usize {
        let end = bytes.iter().position(|&byte| byte == b'\r').unwrap();
        let number = std::str::from_utf8(&bytes[1..end]).unwrap().parse();
        *bytes = &bytes[end + 2..];
        number.unwrap()
    };
    let mut requests = Vec::new();
    while !bytes.is_empty() {
        let mut request = Vec::new();
        for _ in 0..number(&mut bytes) {
            let len = number(&mut bytes);
            request.push(bytes[..len].to_vec());
            bytes = &bytes[len + 2..];
        }
        requests.push(request);
    }
    requests
}

/// A record with the fields of HDEL sorted: the order in which they expire together is a table's.
fn sorted(record: &str) -> String {
    let mut words: Vec<&str> = record.split(' ').collect();
    if words[0] == "HDEL" {
        words[2..].sort_unstable();
    }
    words.join(" ")
}

#[test]
fn each_command_logs_what_valkey_does() {
    let mut logged = Logged::new();
    let mut blocked: HashMap<&str, (Test, Arc<Waiter>)> = HashMap::new();
    let mut faults = String::new();
    let mut script = SCRIPT
        .lines()
        .filter(|line| !line.starts_with('#'))
        .peekable();
    while let Some(line) = script.next() {
        let mut expected = Vec::new();
        while let Some(record) = script.next_if(|line| line.starts_with("  ")) {
            let (kind, record) = record[2..].split_once(' ').unwrap();
            if kind != "V" {
                expected.push(sorted(record));
            }
        }
        let now_ms = logged.test.clock.unix_ms();
        let test = &mut logged.test;
        if let Some(seconds) = line.strip_prefix("!sleep ") {
            let ms = seconds.parse::<f64>().unwrap() * 1000.0;
            test.clock.advance(ms as u64);
            let keyspace = &test.session.server().keyspace;
            keyspace.expire_due(test.clock.unix_ms());
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
        let relative = |word: &str| match word.parse::<u64>() {
            Ok(ms) if ms.abs_diff(now_ms) < 10_000_000_000 => format!("+{}", ms - now_ms),
            _ if word.is_empty() => "\"\"".into(),
            _ => word.into(),
        };
        let records = logged.records().into_iter().map(|record| {
            let words: Vec<String> = record.split(' ').map(relative).collect();
            sorted(&words.join(" "))
        });
        let records: Vec<String> = records.collect();
        if records != expected {
            faults += &format!("{line}\n  expected {expected:?}\n  logged   {records:?}\n");
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
    logged.repeats();
}
