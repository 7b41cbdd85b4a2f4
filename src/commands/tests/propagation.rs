//! What commands have the log repeat, against what Valkey 9.1.2 writes (`propagation.txt`), and that
//! repeating it gives the same keyspace.

use super::Test;
use super::fuzz::{fill, is_left_out, random_request};
use super::script::{Script, entries};
use crate::commands::Registered;
use crate::db::DbIndex;
use crate::db::oplog::Merge;
use crate::db::oplog::tests::lines;
use crate::exec::Flow;
use crate::exec::replay::Replay;
use crate::spec::Flags;
use crate::util::rng::Rng;

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
        self.repeats_with(&[]);
    }

    /// The same, of one that was configured by these lines first.
    #[track_caller]
    fn repeats_with(&mut self, configuration: &[&str]) -> Test {
        self.records();
        let mut fresh = self.test.fresh();
        for line in configuration {
            fresh.run(line).is("+OK");
        }
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
        fresh
    }

    /// The server of [`Logged::repeats`].
    #[track_caller]
    pub(crate) fn repeated(&mut self) -> Test {
        self.repeats_with(&[])
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
    let mut clients = Script::default();
    let mut faults = String::new();
    for (line, notes) in entries(SCRIPT) {
        let mut expected = Vec::new();
        for record in notes {
            let (kind, record) = record[2..].split_once(' ').unwrap();
            if kind != "V" {
                expected.push(sorted(record));
            }
        }
        let now_ms = logged.test.clock.unix_ms();
        let test = &mut logged.test;
        clients.run(test, line);
        let relative = |word: &str| match word.parse::<u64>() {
            Ok(ms) if ms.abs_diff(now_ms) < 10_000_000_000 => {
                format!("{:+}", ms.wrapping_sub(now_ms) as i64)
            }
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

/// A random choice is logged as what it has met.
#[test]
fn spop_logs_what_it_has_popped() {
    let mut logged = Logged::new();
    let all: Vec<String> = (0..2_600).map(|n| n.to_string()).collect();
    for (line, removed) in [("SPOP s", 1), ("SPOP s 3", 3), ("SPOP s 2500", 2_500)] {
        logged.test.run("DEL s");
        logged.test.run(&format!("SADD s {}", all.join(" ")));
        logged.records();
        logged.test.run(line);
        let mut records = logged.records();
        if records.len() > 1 {
            assert_eq!(records.remove(0), "MULTI");
            assert_eq!(records.pop().unwrap(), "EXEC");
        }
        let mut members = Vec::new();
        for record in &records {
            let mut words = record.split(' ');
            assert_eq!([words.next(), words.next()], [Some("SREM"), Some("s")]);
            assert!(words.clone().count() <= 1024);
            members.extend(words);
        }
        assert_eq!(members.len(), removed, "{line}");
        for member in members {
            logged.test.run(&format!("SISMEMBER s {member}")).is(":0");
        }
        logged.repeats();
    }
    logged.test.run("DEL s");
    logged.test.run("SADD s a");
    logged.records();
    logged.logs("SPOP s", &["SREM s a"]);
    logged.test.run("SADD s a b");
    logged.records();
    logged.logs("SPOP s 2", &["UNLINK s"]);
    logged.logs("SPOP s", &[]);
    logged.repeats();
}

#[test]
fn an_error_is_not_logged() {
    let mut logged = Logged::new();
    logged.logs("SET k v", &["SELECT 0", "SET k v"]);
    for line in [
        "INCR k",
        "LPUSH k a",
        "SET k v EX 0",
        "BLPOP k 1",
        "HINCRBYFLOAT k f 1",
        "NOSUCH k",
        "SET k",
        "RESTORE k 0 nonsense REPLACE",
    ] {
        logged.logs(line, &[]);
    }
    // What was found expired is gone all the same.
    logged.logs("SET gone v PX 10", &["SET gone v PXAT 1700000000010"]);
    logged.test.clock.advance(10);
    logged.logs("SETEX gone 0 v", &[]);
    logged.logs("LSET gone 0 v", &["UNLINK gone"]);
    logged.logs("COPY k gone", &["COPY k gone"]);
    logged.repeats();
}

/// Keys that were found expired by one command are of several databases.
#[test]
fn expired_keys_of_other_databases() {
    let mut logged = Logged::new();
    logged.test.run("SET k v PX 10");
    logged.test.run("SELECT 1");
    logged.test.run("SET k w");
    logged.test.clock.advance(10);
    logged.records();
    let expected = [
        "SELECT 0", "MULTI", "UNLINK k", "SELECT 1", "MOVE k 0", "EXEC",
    ];
    logged.logs("MOVE k 0", &expected);
    logged.logs("SET k x", &["SET k x"]);
    logged.repeats();
}

/// What SORT has not seen is seen again when it is repeated.
#[test]
fn sort_by_fields_that_have_expired() {
    let mut logged = Logged::new();
    logged.test.run("DEBUG SET-ACTIVE-EXPIRE 0").is("+OK");
    logged.test.run("RPUSH l 1 2").is(":2");
    for line in [
        "HSETEX w1 PX 10 FIELDS 1 f 9",
        "HSETEX w1 PX 99 FIELDS 1 g a",
    ] {
        logged.test.run(line).is(":1");
    }
    logged.test.run("HSET w2 f 5").is(":1");
    logged.records();
    let line = "SORT l BY w*->f GET w*->g STORE d";
    logged.logs(line, &[line]);
    logged.test.clock.advance(10);
    logged.logs(line, &["MULTI", "UNLINK d", "RPUSH d a ", "EXEC"]);
    logged.test.run("LRANGE d 0 -1").is("*2 $1 a $0");
    logged.repeats();
}

#[test]
fn nothing_is_built_while_no_log_is_on() {
    let mut t = Test::new();
    t.run("SET k v EX 100").is("+OK");
    t.run("SET gone v PX 10").is("+OK");
    t.clock.advance(10);
    t.run("GET gone").is("$-1");
    let oplog = &t.session.server().keyspace.oplog;
    assert_eq!((oplog.cut(), oplog.buffered_bytes()), (0, 0));
}

/// Whether a command reads or writes keys.
pub(super) fn is_on_keys(command: &Registered) -> bool {
    let flags = command.row.flags;
    let has_keys = !command.row.keys.is_empty() && !flags.has(Flags::PUBSUB);
    has_keys || flags.has(Flags::WRITE)
}

/// Requests in which what has expired a moment ago matters: `h` a hash, `k` a string, `f` a field, `ms`
/// a short time.
const ON_WHAT_EXPIRES: &[&str] = &[
    "HSETEX h PX ms FIELDS 1 f 1",
    "HSETEX h PX ms FIELDS 2 f 1 f 2",
    "HPEXPIRE h ms FIELDS 2 f f",
    "HSETEX h PX ms FIELDS 1 f 1",
    "HSETEX h FNX FIELDS 1 f 3",
    "HSETEX h FXX KEEPTTL FIELDS 1 f 4",
    "HSETEX h KEEPTTL FIELDS 1 f 5",
    "HSETNX h f 6",
    "HSET h f 7",
    "HINCRBY h f 8",
    "HINCRBYFLOAT h f 1.5",
    "HDEL h f f",
    "HGETDEL h FIELDS 2 f f",
    "HGETEX h PX ms FIELDS 2 f f",
    "HGETEX h PERSIST FIELDS 2 f f",
    "HPEXPIRE h ms NX FIELDS 2 f f",
    "HEXPIRE h 100 LT FIELDS 2 f f",
    "HPERSIST h FIELDS 2 f f",
    "HLEN h",
    "COPY h h REPLACE",
    "RENAME h h",
    "SORT l BY h->f GET h*->f STORE d",
    "SET k 1 PX ms",
    "GETEX k PX ms",
    "PEXPIRE k ms GT",
    "INCR k",
    "APPEND k 1",
    "SETNX k 9",
    "SET k 2 XX KEEPTTL",
    "MSETNX k 1 k 2",
    "COPY k k",
    "RENAMENX k k",
    "SETRANGE k 1 3",
    "DEL k",
];

pub(super) fn request_on_what_expires(rng: &mut Rng) -> Vec<Vec<u8>> {
    let line = ON_WHAT_EXPIRES[rng.index(ON_WHAT_EXPIRES.len())];
    let mut word = |word: &str| match word {
        "h" | "k" | "f" => format!("{word}{}", rng.below(3)),
        "ms" => (1 + rng.below(100)).to_string(),
        word => word.into(),
    };
    line.split(' ')
        .map(|part| word(part).into_bytes())
        .collect()
}

/// Random requests, while keys and fields expire: what was logged gives the same keyspace.
#[test]
fn whatever_is_logged_can_be_repeated() {
    let mut rng = Rng::from_seed(0x5EED_0003);
    for _ in 0..4 {
        let mut logged = Logged::new();
        fill(&mut logged.test, false);
        logged.test.run("RPUSH l 0 1 2").is(":3");
        let table = logged.test.table.clone();
        let commands: Vec<&Registered> =
            table.commands().iter().filter(|c| is_on_keys(c)).collect();
        for round in 0..3_000 {
            // A crash may come at any moment.
            if round % 500 == 499 {
                logged.repeats();
            }
            let command = commands[rng.index(commands.len())];
            let request = match rng.below(2) {
                0 => request_on_what_expires(&mut rng),
                _ => random_request(&mut rng, command),
            };
            if is_left_out(&request) {
                continue;
            }
            let args: Vec<&[u8]> = request.iter().map(|arg| &arg[..]).collect();
            let session = &mut logged.test.session;
            if let Flow::Block(waiter) = session.call(&args).1 {
                session.give_up_wait(&waiter);
            }
            logged.test.clock.advance(rng.below(50));
            if rng.below(40) == 0 {
                let test = &mut logged.test;
                let keyspace = &test.session.server().keyspace;
                keyspace.expire_due(test.clock.unix_ms());
                if rng.below(4) == 0 {
                    test.run("FLUSHALL");
                    fill(test, false);
                }
            }
        }
        logged.repeats();
    }
}

/// What was allowed when it was logged is repeated, though the limit is lower by now.
#[test]
fn a_log_is_repeated_whatever_the_limit_of_values_is() {
    let mut logged = Logged::new();
    for line in [
        "SETBIT bits 16000000 1",
        "SETRANGE text 2000000 x",
        "APPEND text y",
        "BITFIELD bits SET u8 #1999999 7",
    ] {
        let reply = logged.test.run(line).text();
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    logged.repeats_with(&["CONFIG SET proto-max-bulk-len 1mb"]);
}
