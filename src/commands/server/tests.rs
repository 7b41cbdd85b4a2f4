//! Tests of FLUSHALL, FLUSHDB, SWAPDB, TIME, ROLE and SHUTDOWN; the replies are Valkey 9.1.2's.

use std::time::{Duration, Instant};

use crate::commands::tests::{START_MS, Test};
use crate::exec::Flow;
use crate::server::Lifecycle;

/// Keys of databases 0 and 1.
fn keys(t: &mut Test) -> (usize, usize) {
    let mut count = |db: u32| {
        t.run(&format!("SELECT {db}")).is("+OK");
        (b'a'..=b'f')
            .filter(|&key| t.args(&[b"EXISTS", &[key]]).text() == ":1")
            .count()
    };
    let counts = (count(0), count(1));
    t.run("SELECT 0").is("+OK");
    counts
}

fn filled() -> Test {
    let mut t = Test::new();
    t.run("MSET a 1 b 2 c 3").is("+OK");
    t.run("SELECT 1").is("+OK");
    t.run("MSET d 4 e 5").is("+OK");
    t.run("PEXPIRE e 1000").is(":1");
    t.run("SELECT 0").is("+OK");
    t
}

fn changes(t: &Test) -> u64 {
    t.session.server().keyspace.changes()
}

#[test]
fn flushdb_empties_the_selected_database() {
    for mode in ["", "SYNC", "ASYNC", "sync", "Async"] {
        let mut t = filled();
        let before = changes(&t);
        t.run(&format!("FLUSHDB {mode}")).is("+OK");
        assert_eq!(changes(&t) - before, 3);
        assert_eq!(keys(&mut t), (0, 2));
        t.run("SET a 9").is("+OK");
        t.run("SELECT 1").is("+OK");
        t.run("FLUSHDB").is("+OK");
        assert_eq!(keys(&mut t), (1, 0));
    }
}

#[test]
fn flushall_empties_all_databases() {
    for mode in ["", "SYNC", "ASYNC"] {
        let mut t = filled();
        let before = changes(&t);
        t.run(&format!("FLUSHALL {mode}")).is("+OK");
        assert_eq!(changes(&t) - before, 5);
        assert_eq!(keys(&mut t), (0, 0));
        t.run("FLUSHALL").is("+OK");
        assert_eq!(changes(&t) - before, 5, "nothing was there");
        t.run("SET a 1 PX 5").is("+OK");
        t.clock.advance(5);
        t.run("GET a").is("$-1");
    }
}

#[test]
fn flushing_frees_here_or_in_the_background() {
    let mut t = Test::with(&["--lazyfree-lazy-user-flush", "no"]);
    let freed = |t: &Test| t.session.server().keyspace.lazyfree.freed();
    t.run("MSET a 1 b 2").is("+OK");
    t.run("FLUSHALL").is("+OK");
    t.run("MSET a 1 b 2").is("+OK");
    t.run("FLUSHDB SYNC").is("+OK");
    assert_eq!(freed(&t), 0);
    t.run("MSET a 1 b 2").is("+OK");
    t.run("FLUSHALL ASYNC").is("+OK");
    let deadline = Instant::now() + Duration::from_secs(30);
    while freed(&t) != 2 {
        assert!(Instant::now() < deadline, "nothing was freed");
        std::thread::yield_now();
    }
    assert_eq!(t.session.server().keyspace.lazyfree.pending(), 0);
}

#[test]
fn a_flush_of_many_keys_is_a_chore_but_in_transactions_and_scripts() {
    let mut t = Test::with(&["--save", ""]);
    let fill = |t: &mut Test| {
        for first in (0..12_000).step_by(100) {
            let pairs = (first..first + 100).map(|number| format!(" key:{number} {number}"));
            t.run(&format!("MSET{}", pairs.collect::<String>()))
                .is("+OK");
        }
    };
    for flush in ["FLUSHALL SYNC", "FLUSHDB SYNC"] {
        fill(&mut t);
        t.run(flush).is("+OK");
        t.run("DBSIZE").is(":0");
        fill(&mut t);
        t.run("MULTI").is("+OK");
        t.run(flush).is("+QUEUED");
        t.run("DBSIZE").is("+QUEUED");
        t.run("EXEC").is("*2 +OK :0");
    }
    fill(&mut t);
    t.run("EVAL \"return redis.call('FLUSHALL', 'SYNC')\" 0")
        .is("+OK");
    fill(&mut t);
    t.session.client_mut().may_block = false;
    t.run("FLUSHALL SYNC").is("+OK");
    t.run("DBSIZE").is(":0");
    let lazyfree = &t.session.server().keyspace.lazyfree;
    assert_eq!((lazyfree.pending(), lazyfree.freed()), (0, 0));
}

#[test]
fn a_flush_of_shared_values_leaves_replies_alone() {
    let mut t = Test::new();
    let big = vec![b'x'; 100_000];
    t.args(&[b"SET", b"big", &big]).is("+OK");
    let mut other = t.client();
    let reply = other.run("GET big");
    t.run("FLUSHALL SYNC").is("+OK");
    assert_eq!(reply.0.len(), 100_000 + "$100000\r\n\r\n".len());
    other.run("GET big").is("$-1");
}

#[test]
fn flush_errors() {
    let mut t = filled();
    for line in [
        "FLUSHALL foo",
        "FLUSHALL SYNC ASYNC",
        "FLUSHDB a b",
        "FLUSHDB SYNC SYNC",
        "FLUSHDB ''",
    ] {
        t.run(line).is("-ERR syntax error");
    }
    assert_eq!(keys(&mut t), (3, 2));
}

#[test]
fn flushes_take_the_gate() {
    let mut t = filled();
    let server = t.session.server().clone();
    let held = server.keyspace.gate.try_close().unwrap();
    assert!(matches!(t.flow("FLUSHALL"), Flow::Wait(_)));
    drop(held);
    assert_eq!(t.flow("FLUSHALL"), Flow::Done);
    assert!(!server.keyspace.gate.is_closed());
}

#[test]
fn swapdb_exchanges_contents() {
    let mut t = filled();
    let before = changes(&t);
    t.run("SWAPDB 0 1").is("+OK");
    assert_eq!(keys(&mut t), (2, 3));
    t.run("GET d").is("$1 4");
    t.run("SWAPDB 1 1").is("+OK");
    t.run("SWAPDB 1 0").is("+OK");
    assert_eq!(keys(&mut t), (3, 2));
    assert_eq!(changes(&t) - before, 3);
    // With a database that was never written.
    t.run("SWAPDB 1 15").is("+OK");
    assert_eq!(keys(&mut t), (3, 0));
    t.clock.advance(1000);
    t.run("SWAPDB 15 0").is("+OK");
    t.run("GET d").is("$1 4");
    t.run("GET e").is("$-1");
}

#[test]
fn swapdb_errors() {
    let mut t = Test::new();
    t.run("SWAPDB a 1").is("-ERR invalid first DB index");
    t.run("SWAPDB 1 a").is("-ERR invalid second DB index");
    t.run("SWAPDB 16 a").is("-ERR invalid second DB index");
    t.run("SWAPDB 99999999999 0")
        .is("-ERR invalid first DB index");
    t.run("SWAPDB 0 9999999999999999999")
        .is("-ERR invalid second DB index");
    for line in ["SWAPDB 1 16", "SWAPDB -1 0", "SWAPDB 2147483647 0"] {
        t.run(line).is("-ERR DB index is out of range");
    }
    t.run("SWAPDB 0")
        .is("-ERR wrong number of arguments for 'swapdb' command");
}

#[test]
fn time_has_seconds_and_microseconds() {
    let mut t = Test::new();
    t.clock.advance_us(7);
    t.run("TIME")
        .is(&format!("*2 $10 {} $1 7", START_MS / 1000));
    t.clock.advance(1999);
    t.run("TIME")
        .is(&format!("*2 $10 {} $6 999007", START_MS / 1000 + 1));
    t.run("TIME x")
        .is("-ERR wrong number of arguments for 'time' command");
}

#[test]
fn role_is_that_of_a_lone_master() {
    Test::new().run("ROLE").is("*3 $6 master :0 *0");
}

#[test]
fn shutdown_stops_without_a_reply() {
    for line in [
        "SHUTDOWN",
        "SHUTDOWN NOSAVE",
        "SHUTDOWN now",
        "SHUTDOWN NOSAVE NOW FORCE SAFE",
        "SHUTDOWN NOSAVE NOSAVE",
        "SHUTDOWN SAVE FORCE",
    ] {
        let mut t = Test::new();
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        assert_eq!(t.session.call(&words), (Vec::new(), Flow::Close), "{line}");
        let server = t.session.server();
        assert_eq!(server.lifecycle(), Lifecycle::Stopping);
        let saved = server
            .persist
            .disk
            .stat(&server.config().dir.join("dump.rdb"));
        assert_eq!(saved.is_ok(), !line.contains("NOSAVE"), "{line}");
    }
    let mut t = Test::with(&["--save", ""]);
    t.session.call(&[b"SHUTDOWN"]);
    let server = t.session.server();
    let saved = server
        .persist
        .disk
        .stat(&server.config().dir.join("dump.rdb"));
    assert!(saved.is_err(), "there are no save points");
}

#[test]
fn shutdown_errors() {
    let mut t = Test::new();
    for line in [
        "SHUTDOWN foo",
        "SHUTDOWN NOSAVE SAVE",
        "SHUTDOWN SAVE NOSAVE",
        "SHUTDOWN ABORT NOW",
        "SHUTDOWN NOW ABORT",
        "SHUTDOWN FAILOVER ABORT",
        "SHUTDOWN SAFE ABORT",
        "SHUTDOWN FAILOVER foo",
        "SHUTDOWN a b c d e f g h",
    ] {
        t.run(line).is("-ERR syntax error");
    }
    t.run("SHUTDOWN ABORT").is("-ERR No shutdown in progress.");
    t.run("SHUTDOWN FAILOVER")
        .is("-ERR SHUTDOWN FAILOVER is only supported in cluster mode.");
}

#[test]
fn shutdown_goes_on_when_saving_fails() {
    let mut t = Test::broken(&["--save", ""]);
    t.run("SHUTDOWN SAVE")
        .is("-ERR Errors trying to SHUTDOWN. Check logs.");
    assert_eq!(t.session.server().lifecycle(), Lifecycle::Running);
    // Writes are served again.
    t.run("SET a 1").is("+OK");
    let words: [&[u8]; 3] = [b"SHUTDOWN", b"SAVE", b"FORCE"];
    assert_eq!(t.session.call(&words), (Vec::new(), Flow::Close));
    let mut t = Test::broken(&[]);
    t.run("SHUTDOWN")
        .is("-ERR Errors trying to SHUTDOWN. Check logs.");
    t.run("SHUTDOWN NOSAVE").is("");
}

#[test]
fn flushall_empties_the_snapshot_too() {
    let saves = |t: &Test| t.session.server().persist.book().saves;
    let mut t = Test::new();
    t.run("SET a 1").is("+OK");
    t.run("SAVE").is("+OK");
    t.run("FLUSHALL").is("+OK");
    t.run("FLUSHDB").is("+OK");
    assert_eq!(saves(&t), 2);
    t.run("DEBUG RELOAD NOSAVE").is("+OK");
    t.run("DBSIZE").is(":0");
    let mut t = Test::with(&["--save", ""]);
    t.run("FLUSHALL SYNC").is("+OK");
    assert_eq!(saves(&t), 0);
}
