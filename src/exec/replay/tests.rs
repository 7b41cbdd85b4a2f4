//! Commands out of logs, good and bad ones.

use super::*;
use crate::commands::tests::{START_MS, Test};

/// A server with a log of its own that is on, and commands that are run again on it.
struct Repeated {
    test: Test,
    replay: Replay,
}

impl Repeated {
    fn new() -> Repeated {
        let test = Test::new();
        let server = test.session.server().clone();
        server.keyspace.oplog.set_on(true);
        let replay = Replay::new(server, test.table.clone());
        Repeated { test, replay }
    }

    fn run(&mut self, db: u32, line: &str) -> Result<(), String> {
        let request: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        self.replay.run(DbIndex(db), &request)
    }

    #[track_caller]
    fn repeat(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.run(0, line), Ok(()), "{line}");
        }
    }
}

#[test]
fn nothing_expires_but_what_the_log_says() {
    let mut t = Repeated::new();
    let (past, next) = (START_MS - 1_000, START_MS + 1_000);
    t.repeat(&[
        &format!("SET k 1 PXAT {past}"),
        "INCR k",
        "PERSIST k",
        &format!("SET gone 1 PXAT {past}"),
        &format!("PEXPIREAT gone {past}"),
        &format!("HSETEX h PXAT {past} FIELDS 2 a 1 b 2"),
        "HINCRBY h a 1",
        "HPERSIST h FIELDS 1 a",
        "HSETNX h b 3",
        "RPUSH l a",
        &format!("PEXPIREAT l {past}"),
        &format!("PEXPIREAT l {next} GT"),
    ]);
    t.test.run("GET k").is("$1 2");
    t.test.run("PTTL k").is(":-1");
    t.test.run("DBSIZE").is(":4");
    t.test.run("EXISTS gone").is(":0");
    t.test.run("HGETALL h").is("*2 $1 a $1 2");
    t.test.run("PTTL l").is(":1000");
}

#[test]
fn relative_times_count_from_now() {
    let mut t = Repeated::new();
    t.repeat(&[
        "SET a v EX 10",
        "SETEX b 10 v",
        "SET c v",
        "EXPIRE c 10",
        "GETEX c PX 10000",
        "MSETEX 1 d v EX 10",
        "HSETEX h EX 10 FIELDS 1 f v",
    ]);
    for key in ["a", "b", "c", "d"] {
        t.test.run(&format!("PTTL {key}")).is(":10000");
    }
    t.test.run("HPTTL h FIELDS 1 f").is("*1 :10000");
}

#[test]
fn repeating_leaves_no_trace_but_in_the_keyspace() {
    let mut t = Repeated::new();
    t.repeat(&[
        "SET k v EX 10",
        "LPUSH k a",
        "DEL k",
        "BLPOP l 0",
        "FLUSHALL",
        "SWAPDB 0 1",
    ]);
    assert_eq!(t.run(3, "SET k v"), Ok(()));
    assert_eq!(t.test.session.server().keyspace.oplog.cut(), 0);
    t.test.run("INFO commandstats").is("$16 # Commandstats");
    t.test.run("INFO clients").has("connected_clients:1");
    t.test.run("INFO clients").has("blocked_clients:0");
    t.test.run("INFO keyspace").has("db3:keys=1");
    let gate = t.test.session.server().keyspace.gate.try_close().is_some();
    assert!(gate);
}

/// Even while somebody has the keyspace for himself: whoever loads.
#[test]
fn the_gate_is_no_obstacle() {
    let mut t = Repeated::new();
    let server = t.test.session.server().clone();
    let _held = server.keyspace.gate.try_close();
    t.repeat(&["SET k v", "FLUSHALL", "SET k w"]);
}

#[test]
fn what_is_no_command_is_an_error() {
    let mut t = Repeated::new();
    for (line, error) in [
        (
            "NOSUCH\x01 k",
            "Unknown command 'NOSUCH\\x01' reading the append only file",
        ),
        (
            "GET",
            "Wrong number of arguments for 'GET' reading the append only file",
        ),
        ("", "Unknown command '' reading the append only file"),
        (
            "CONFIG NOSUCH",
            "Unknown command 'CONFIG' reading the append only file",
        ),
    ] {
        assert_eq!(t.run(0, line), Err(error.into()));
    }
    t.replay.look_ahead(DbIndex(0), &[Argv::new(b"", &[])]);
    let none = t.replay.run(DbIndex(0), &[]);
    assert_eq!(
        none,
        Err("Empty command reading the append only file".into())
    );
}
