//! Transactions in the process: what runs inside of them, and what threads see of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::commands::tests::Test;
use crate::exec::{Flow, Wait};
use crate::persist::state::JobKind;
use crate::sys::fiber;
use crate::util::rng::Rng;

/// Runs lines in a transaction; what EXEC answers.
#[track_caller]
fn transaction(test: &mut Test, lines: &[&str]) -> String {
    test.run("MULTI").is("+OK");
    for line in lines {
        test.run(line).is("+QUEUED");
    }
    test.run("EXEC").text()
}

#[test]
fn without_a_stack_for_its_scripts_it_is_discarded() {
    let mut test = Test::new();
    test.run("MULTI").is("+OK");
    test.run("EVAL return(1) 0").is("+QUEUED");
    fiber::FAILS_NEXT.set(true);
    test.run("EXEC")
        .is("-EXECABORT Transaction discarded because of: OOM not enough memory to run the script");
    test.run("PING").is("+PONG");
    test.run("EXEC").is("-ERR EXEC without MULTI");
    assert_eq!(transaction(&mut test, &["EVAL return(1) 0"]), "*1 :1");
}

#[test]
fn what_blocks_elsewhere_finds_nothing() {
    let mut test = Test::new();
    let lines = [
        "BLPOP l 0",
        "BLMOVE l m LEFT RIGHT 0",
        "BLMPOP 0 1 l LEFT",
        "BZPOPMIN z 0",
        "BZMPOP 0 1 z MIN",
        "RPUSH l a b",
        "BLPOP l 0",
        "BLPOP l -1",
    ];
    let expected = "*8 *-1 $-1 *-1 *-1 *-1 :2 *2 $1 l $1 a -ERR timeout is negative";
    assert_eq!(transaction(&mut test, &lines), expected);
    test.run("INFO clients").has("blocked_clients:0");
    let waiter = test.blocks("BLPOP nothing 1");
    test.client().run("RPUSH nothing x").is(":1");
    test.waited(&waiter).unwrap().is("*2 $7 nothing $1 x");
}

#[test]
fn waiting_clients_are_served_when_it_is_over() {
    let mut test = Test::new();
    let mut blocked = test.client();
    let waiter = blocked.blocks("BLPOP l m 0");
    let lines = ["RPUSH l a", "DEL l", "SET l x", "RPUSH m 1 2", "DEL m"];
    assert_eq!(transaction(&mut test, &lines), "*5 :1 :1 +OK :2 :1");
    assert!(blocked.waited(&waiter).is_none());
    let lines = ["RPUSH m 1 2", "DEL l", "RPUSH l a b", "LLEN l"];
    assert_eq!(transaction(&mut test, &lines), "*4 :2 :1 :2 :2");
    // The command runs again: its first key comes first.
    blocked.waited(&waiter).unwrap().is("*2 $1 l $1 a");
    // It works under the locks of the transaction that serves it, and touches what is watched.
    let waiter = blocked.blocks("BLMOVE q r LEFT RIGHT 0");
    let mut watcher = test.client();
    watcher.run("WATCH r").is("+OK");
    assert_eq!(
        transaction(&mut test, &["RPUSH q a", "RPUSH r x"]),
        "*2 :1 :1"
    );
    blocked.waited(&waiter).unwrap().is("$1 a");
    test.run("LRANGE r 0 -1").is("*2 $1 x $1 a");
    assert_eq!(transaction(&mut watcher, &["PING"]), "*-1");
}

#[test]
fn the_whole_keyspace_is_at_hand() {
    let mut test = Test::new();
    let lines = [
        "SET a 1",
        "FLUSHALL",
        "DBSIZE",
        "SET b 2",
        "DBSIZE",
        "KEYS *",
        "RANDOMKEY",
        "SCAN 0",
    ];
    let expected = "*8 +OK +OK :0 +OK :1 *1 $1 b $1 b *2 $1 0 *1 $1 b";
    assert_eq!(transaction(&mut test, &lines), expected);
    let lines = [
        "SWAPDB 0 1",
        "GET b",
        "SELECT 1",
        "GET b",
        "FLUSHDB",
        "SELECT 0",
    ];
    assert_eq!(
        transaction(&mut test, &lines),
        "*6 +OK $-1 +OK $1 2 +OK +OK"
    );
    test.run("MSET w1 2 w2 1 x1 b x2 a").is("+OK");
    let lines = [
        "RPUSH l 1 2",
        "SORT l BY w* GET x*",
        "DEBUG OBJECT l",
        "INFO keyspace",
    ];
    let reply = transaction(&mut test, &lines);
    assert!(
        reply.starts_with("*4 :2 *2 $1 a $1 b +Value at:"),
        "{reply}"
    );
    assert!(reply.contains("db0:keys=5,"), "{reply}");
    let lines = [
        "DEBUG POPULATE 100",
        "CONFIG RESETSTAT",
        "DEBUG DIGEST",
        "DBSIZE",
    ];
    let reply = transaction(&mut test, &lines);
    assert!(
        reply.starts_with("*4 +OK +OK +") && reply.ends_with(" :105"),
        "{reply}"
    );
}

#[test]
fn it_waits_for_the_gate() {
    let mut test = Test::new();
    let server = test.session.server().clone();
    test.run("WATCH w").is("+OK");
    for line in ["MULTI", "FLUSHALL", "SET a 1"] {
        test.run(line);
    }
    let gate = server.keyspace.gate.try_close().unwrap();
    assert_eq!(test.flow("EXEC"), Flow::Wait(Wait::Gate));
    drop(gate);
    test.client().run("SET w 1").is("+OK");
    test.run("EXEC").is("*-1");
    test.run("GET a").is("$-1");
}

#[test]
fn snapshots_begin_afterwards() {
    let mut test = Test::new();
    let server = test.session.server().clone();
    let lines = [
        "SET a 1",
        "BGSAVE",
        "BGSAVE SCHEDULE",
        "BGSAVE foo",
        "BGREWRITEAOF",
    ];
    let expected = "*5 +OK +Background saving scheduled +Background saving scheduled \
                    -ERR syntax error +Background append only file rewriting scheduled";
    assert_eq!(transaction(&mut test, &lines), expected);
    let book = server.persist.book().clone();
    assert!(book.is_bgsave_scheduled && book.is_rewrite_scheduled && book.job.is_none());
    test.run("BGSAVE CANCEL")
        .is("+Scheduled background saving cancelled");
    let job = server.persist.begin(JobKind::BgSave, 0).unwrap();
    let reply = transaction(&mut test, &["BGSAVE", "BGREWRITEAOF"]);
    assert_eq!(
        reply,
        "*2 -ERR Background save already in progress \
         +Background append only file rewriting scheduled"
    );
    drop(job);
}

#[test]
fn what_takes_threads_is_refused() {
    let mut test = Test::new();
    let refused = "-ERR Command 'debug' not allowed inside a transaction";
    let reply = transaction(
        &mut test,
        &["SET a 1", "DEBUG RELOAD", "DEBUG LOADAOF", "GET a"],
    );
    assert_eq!(reply, format!("*4 +OK {refused} {refused} $1 1"));
    let reply = transaction(
        &mut test,
        &[
            "SET a 2",
            "CONFIG SET appendonly yes",
            "CONFIG SET hz 20 port 0",
            "CONFIG SET tls-port 0",
            "CONFIG SET metrics-port 0",
            "CONFIG SET metrics-bind 127.0.0.1",
            "GET a",
        ],
    );
    assert!(
        reply.starts_with(
            "*7 +OK -ERR CONFIG SET failed (possibly related to argument 'appendonly')"
        )
    );
    assert!(reply.ends_with(" $1 2"), "{reply}");
    assert_eq!(
        reply.matches("-ERR CONFIG SET failed").count(),
        5,
        "{reply}"
    );
    for line in ["MULTI", "SET a 1", "DEBUG SLEEP 0.5", "DEBUG SLEEP 0.25"] {
        test.run(line);
    }
    let (reply, flow) = test.session.call(&[b"EXEC"]);
    assert_eq!(flow, Flow::Sleep(std::time::Duration::from_millis(750)));
    assert_eq!(reply, b"*3\r\n+OK\r\n+OK\r\n+OK\r\n");
}

#[test]
fn the_configuration_may_change_within() {
    let mut test = Test::new();
    let limit = "CONFIG SET hash-max-listpack-entries";
    let (low, high) = (format!("{limit} 1"), format!("{limit} 2"));
    let lines = [
        &low,
        "HSET h a 1 b 2",
        "OBJECT ENCODING h",
        "DEL h",
        &high,
        "HSET h a 1 b 2",
        "OBJECT ENCODING h",
        "CONFIG SET no-such 1",
    ];
    assert_eq!(
        transaction(&mut test, &lines),
        "*8 +OK :2 $9 hashtable :1 +OK :2 $8 listpack \
         -ERR Unknown option or number of arguments for CONFIG SET - 'no-such'"
    );
    let many: Vec<&str> = (0..2_000)
        .map(|n| if n % 2 == 0 { &*low } else { &*high })
        .collect();
    assert!(transaction(&mut test, &many).ends_with("+OK +OK"));
    // Refused while another one may be waiting for the shards.
    test.run("CONFIG GET hash-max-listpack-entries").has("$1 2");
}

#[test]
fn events_that_are_switched_on_within_are_told() {
    let mut test = Test::new();
    let server = test.session.server().clone();
    let mut watcher = test.client();
    watcher.run("WATCH k").is("+OK");
    let lines = ["CONFIG SET notify-keyspace-events KEA", "SET k v", "DEL k"];
    assert_eq!(transaction(&mut test, &lines), "*3 +OK +OK :1");
    assert!(server.config().notify_keyspace_events.keyspace);
    assert_eq!(transaction(&mut watcher, &["PING"]), "*-1");
}

#[test]
fn monitor_shows_exec_behind_what_it_has_run() {
    let mut test = Test::new();
    let mut monitor = test.client();
    monitor.run("MONITOR").is("+OK");
    let shown = |monitor: &mut Test| {
        let text = String::from_utf8(monitor.session.take_pushes()).unwrap();
        let lines = text.lines().map(|line| line.split_once("] ").unwrap().1);
        lines.collect::<Vec<_>>().join("; ")
    };
    test.run("WATCH w").is("+OK");
    transaction(&mut test, &["SELECT 1", "SET a 1", "GET a"]);
    let expected = r#""WATCH" "w"; "MULTI"; "SELECT" "1"; "SET" "a" "1"; "GET" "a"; "EXEC""#;
    assert_eq!(shown(&mut monitor), expected);
    for line in ["WATCH w", "SET w 1", "MULTI", "SET a 1"] {
        test.run(line);
    }
    test.run("EXEC").is("*-1");
    let expected = r#""WATCH" "w"; "SET" "w" "1"; "MULTI"; "EXEC""#;
    assert_eq!(shown(&mut monitor), expected);
    for line in ["MULTI", "SET a 1", "NOSUCH"] {
        test.run(line);
    }
    test.run("EXEC").has("EXECABORT");
    assert_eq!(shown(&mut monitor), r#""MULTI"; "EXEC""#);
}

#[test]
fn a_queue_is_counted_and_given_back() {
    let mut test = Test::new();
    let empty = test.session.client().shared.memory_bytes();
    test.run("MULTI").is("+OK");
    let value = "x".repeat(10_000);
    for _ in 0..100 {
        test.run(&format!("SET k {value}")).is("+QUEUED");
    }
    let client = test.session.client();
    assert!(
        (1_000_000..1_020_000).contains(&client.transaction_bytes()),
        "{}",
        client.transaction_bytes()
    );
    assert!(client.shared.memory_bytes() > empty + 1_000_000);
    test.run("DISCARD").is("+OK");
    let client = test.session.client();
    assert_eq!(client.transaction_bytes(), 0);
    assert!(client.shared.memory_bytes() < empty + 2_000);
    // Arguments without a byte take memory, too.
    test.run("MULTI").is("+OK");
    let request = vec![&b""[..]; 10_000];
    test.args(&[&[&b"DEL"[..]], &request[..]].concat())
        .is("+QUEUED");
    assert!(test.session.client().transaction_bytes() > 80_000);
}

#[test]
fn watched_keys_are_counted() {
    let mut test = Test::new();
    let keys: Vec<String> = (0..1_000).map(|number| format!("key:{number}")).collect();
    for _ in 0..2 {
        test.run(&format!("WATCH {}", keys.join(" "))).is("+OK");
        let bytes = test.session.client().transaction_bytes();
        assert!((100_000..300_000).contains(&bytes), "{bytes}");
    }
    test.run("UNWATCH").is("+OK");
    assert_eq!(test.session.client().transaction_bytes(), 0);
}

#[test]
fn replies_past_the_limit_are_not_kept() {
    let mut test = Test::new();
    test.run("CONFIG SET client-output-buffer-limit \"normal 1mb 0 0\"")
        .is("+OK");
    test.run("DEBUG POPULATE 1 big 600000").is("+OK");
    for line in [
        "MULTI",
        "GET big:0",
        "GET big:0",
        "GET big:0",
        "SET a 1",
        "GET big:0",
    ] {
        test.run(line);
    }
    let (reply, flow) = test.session.call(&[b"EXEC"]);
    assert_eq!(flow, Flow::Close);
    assert!(reply.len() < 700_000, "{}", reply.len());
    test.client().run("GET a").is("$1 1");
    test.client()
        .run("INFO stats")
        .has("client_output_buffer_limit_disconnections:1");
}

#[test]
fn with_save_points_what_was_flushed_stays_away() {
    let mut test = Test::with(&["--save", "3600 1", "--enable-debug-command", "yes"]);
    let server = test.session.server().clone();
    assert_eq!(
        transaction(&mut test, &["SET a 1", "FLUSHALL"]),
        "*2 +OK +OK"
    );
    let start = std::time::Instant::now();
    while server.persist.book().saves == 0 || server.persist.book().job.is_some() {
        assert!(start.elapsed().as_secs() < 30, "no snapshot");
        thread::yield_now();
    }
}

/// As [`transaction`], while others take the exclusive path.
fn retried(test: &mut Test, lines: &[&str]) -> String {
    let mut run = |line: &str| loop {
        let reply = test.run(line).text();
        if !reply.is_empty() {
            return reply;
        }
        thread::yield_now();
    };
    run("MULTI");
    lines
        .iter()
        .for_each(|line| assert_eq!(run(line), "+QUEUED"));
    run("EXEC")
}

/// What `threads` clients do at the same time, each with a generator of its own.
fn at_once(test: &Test, threads: u64, work: impl Fn(&mut Test, &mut Rng) + Sync) {
    thread::scope(|scope| {
        for seed in 0..threads {
            let (connect, work) = (test.connector(), &work);
            scope.spawn(move || work(&mut connect(), &mut Rng::from_seed(seed)));
        }
    });
}

const ACCOUNTS: u64 = 24;

fn sum(text: &str) -> i64 {
    let numbers = text
        .split(' ')
        .filter(|word| !word.starts_with(['*', '$', ':', '+']));
    numbers.map(|number| number.parse::<i64>().unwrap()).sum()
}

fn transfers_keep_their_sum(threads: u64) {
    let mut test = Test::new();
    for account in 0..ACCOUNTS {
        test.run(&format!("SET account:{account} 100"));
    }
    let all: Vec<String> = (0..ACCOUNTS)
        .map(|account| format!("account:{account}"))
        .collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (connect, done, all) = (test.connector(), &done, &all);
        scope.spawn(move || {
            let mut reader = connect();
            let gets: Vec<String> = all.iter().map(|key| format!("GET {key}")).collect();
            let gets: Vec<&str> = gets.iter().map(|line| &**line).collect();
            let mget = format!("MGET {}", all.join(" "));
            while !done.load(Ordering::Relaxed) {
                assert_eq!(sum(&retried(&mut reader, &gets)), 100 * ACCOUNTS as i64);
                assert_eq!(sum(&retried(&mut reader, &[&mget])), 100 * ACCOUNTS as i64);
            }
        });
        at_once(&test, threads, |client, rng| {
            for round in 0..2_000 / threads {
                let [from, to] = [rng.below(ACCOUNTS), rng.below(ACCOUNTS)];
                let amount = rng.below(100);
                let (out, back) = (
                    format!("DECRBY account:{from} {amount}"),
                    format!("INCRBY account:{to} {amount}"),
                );
                match round % 50 {
                    // On the exclusive path, too.
                    0 => retried(client, &[&out, "DBSIZE", &back]),
                    _ => retried(client, &[&out, &back]),
                };
            }
        });
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn transfers_keep_their_sum_to_every_reader() {
    [1, 4, 8].into_iter().for_each(transfers_keep_their_sum);
}

/// Adds one to a number by WATCH, GET, MULTI, SET, EXEC, until that works.
fn increment(client: &mut Test, key: &str) {
    loop {
        client.run(&format!("WATCH {key}")).is("+OK");
        let text = client.run(&format!("GET {key}")).text();
        let number: u64 = text
            .split(' ')
            .nth(1)
            .map_or(0, |number| number.parse().unwrap());
        if transaction(client, &[&format!("SET {key} {}", number + 1)]) == "*1 +OK" {
            return;
        }
    }
}

#[test]
fn optimistic_locking_loses_no_update() {
    for threads in [1, 4, 8] {
        let mut test = Test::new();
        let each = 800 / threads;
        at_once(&test, threads, |client, rng| {
            for _ in 0..each {
                increment(client, ["a", "b"][rng.index(2)]);
            }
        });
        let [a, b] = ["a", "b"].map(|key| sum(&test.run(&format!("GET {key}")).text()));
        assert_eq!(a + b, (each * threads) as i64);
        test.run("INFO clients").has("total_watched_keys:0");
    }
}
