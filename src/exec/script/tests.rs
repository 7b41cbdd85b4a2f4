//! Scripts in the process: what runs inside of them, what follows from it, and what threads see of it.
//! Expected replies are Valkey 9.1.2's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::find;
use crate::commands::tests::propagation::Logged;
use crate::commands::tests::{START_MS, Test};
use crate::exec::replay::Replay;
use crate::exec::{Flow, Wait};
use crate::persist::state::Marks;

/// Runs a script with keys.
fn eval_with(test: &mut Test, source: &str, keys: &[&str]) -> String {
    let numkeys = keys.len().to_string();
    let mut args: Vec<&[u8]> = vec![b"EVAL", source.as_bytes(), numkeys.as_bytes()];
    args.extend(keys.iter().map(|key| key.as_bytes()));
    test.args(&args).text()
}

/// Runs a script without keys.
fn eval(test: &mut Test, source: &str) -> String {
    eval_with(test, source, &[])
}

/// As [`eval`], with EVAL_RO.
fn eval_ro(test: &mut Test, source: &str) -> String {
    test.args(&[b"EVAL_RO", source.as_bytes(), b"0"]).text()
}

/// The lines of INFO that begin with this, without their times.
fn figures(test: &mut Test, section: &str, prefix: &str) -> Vec<String> {
    let text = test.run(&format!("INFO {section}")).text();
    let lines = text.split(' ').filter(|line| line.starts_with(prefix));
    let untimed = |line: &str| {
        let (name, all) = line.split_once(':').unwrap();
        let fields = all.split(',');
        let kept: Vec<&str> = fields.filter(|field| !field.starts_with("usec")).collect();
        format!("{}:{}", name.trim_start_matches(prefix), kept.join(","))
    };
    lines.map(untimed).collect()
}

#[test]
fn commands_run_and_fail_in_scripts() {
    let mut test = Test::new();
    for (source, reply) in [
        ("return redis.call('set','k','v')", "+OK"),
        ("return redis.call('get','k')", "$1 v"),
        ("return redis.call('mget','k','x','k')", "*3 $1 v $-1 $1 v"),
        (
            "return redis.pcall('incr','k').err",
            "$43 ERR value is not an integer or out of range",
        ),
        ("return redis.call('dbsize')", ":1"),
        ("return redis.call('keys','*')", "*1 $1 k"),
        ("return redis.call('scan',0)", "*2 $1 0 *1 $1 k"),
        (
            "redis.call('rpush','l',2,1) redis.call('mset','w1','a','w2','b') \
             return redis.call('sort','l','by','w*','alpha','get','w*')",
            "*2 $1 a $1 b",
        ),
        ("return redis.call('flushall')", "+OK"),
        ("return redis.call('dbsize')", ":0"),
    ] {
        assert_eq!(eval(&mut test, source), reply, "{source}");
    }
}

#[test]
fn what_scripts_may_not_call_is_told() {
    let mut test = Test::new();
    for (call, error) in [
        ("'nosuch','a'", "ERR Unknown command called from script"),
        ("'post','a'", "ERR Unknown command called from script"),
        (
            "'get'",
            "ERR Wrong number of args calling command from script",
        ),
        (
            "'multi','x'",
            "ERR Wrong number of args calling command from script",
        ),
        (
            "'client'",
            "ERR Wrong number of args calling command from script",
        ),
        (
            "'client','nosuch'",
            "ERR unknown subcommand 'nosuch'. Try CLIENT HELP.",
        ),
        (
            "'multi'",
            "ERR This Redis command is not allowed from script",
        ),
        (
            "'client','id'",
            "ERR This Redis command is not allowed from script",
        ),
        (
            "'eval','return 1','0'",
            "ERR This Redis command is not allowed from script",
        ),
        (
            "'config','get','x'",
            "ERR This Redis command is not allowed from script",
        ),
    ] {
        let source = format!("return redis.pcall({call}).err");
        let reply = eval(&mut test, &source);
        let text = reply.split_once(' ').map(|(_, text)| text);
        assert_eq!(text, Some(error), "{call}");
    }
}

#[test]
fn read_only_scripts_write_nothing() {
    let mut test = Test::new();
    let refused = "ERR Write commands are not allowed from read-only scripts.";
    for source in [
        "return redis.pcall('set','a','x').err",
        "return redis.pcall('publish','a','x').err",
        "return redis.pcall('pfcount','a').err",
    ] {
        let reply = format!("$58 {refused}");
        assert_eq!(eval_ro(&mut test, source), reply, "{source}");
        let flagged = format!("#!lua flags=no-writes\n{source}");
        assert_eq!(eval(&mut test, &flagged), reply, "{source}");
    }
    assert_eq!(
        eval_ro(&mut test, "#!lua\nreturn 1"),
        "-ERR Can not execute a script with write flag using *_ro command."
    );
    let flagged = "#!lua flags=no-writes\nreturn redis.call('get','a')";
    assert_eq!(eval_ro(&mut test, flagged), "$-1");
    test.run("DBSIZE").is(":0");
}

/// As for commands alone, but scripts that say nothing of themselves are refused only the writes.
#[test]
fn nothing_is_written_while_nothing_can_be_kept() {
    let mut test = Test::with(&["--save", "3600 1"]);
    let server = test.session.server().clone();
    test.run("SET k v").is("+OK");
    server.persist.mark(Marks::RDB_FAILED, true);
    assert_eq!(eval(&mut test, "return redis.call('get','k')"), "$1 v");
    let reply = eval(&mut test, "return redis.call('set','k','w')");
    assert!(reply.starts_with("-MISCONF Redis is configured"), "{reply}");
    let reply = eval(&mut test, "#!lua\nreturn 1");
    assert!(reply.starts_with("-MISCONF Redis is configured"), "{reply}");
    assert_eq!(eval(&mut test, "#!lua flags=no-writes\nreturn 1"), ":1");
    server.persist.mark(Marks::RDB_FAILED, false);
    assert_eq!(eval(&mut test, "#!lua\nreturn 1"), ":1");
}

#[test]
fn a_script_returns_to_the_database_of_its_client() {
    let mut test = Test::new();
    let source = "redis.call('select',3) redis.call('set','k','v') return redis.call('dbsize')";
    assert_eq!(eval(&mut test, source), ":1");
    test.run("DBSIZE").is(":0");
    test.run("CLIENT INFO").has(" db=0 ");
    assert_eq!(eval(&mut test, "return redis.call('dbsize')"), ":0");
    test.run("SELECT 3").is("+OK");
    test.run("GET k").is("$1 v");
    // In a transaction as well.
    for line in ["MULTI", "EVAL \"return redis.call('select',5)\" 0", "GET k"] {
        test.run(line);
    }
    test.run("EXEC").is("*2 +OK $1 v");
}

#[test]
fn what_blocks_elsewhere_finds_nothing() {
    let mut test = Test::new();
    for (call, reply) in [
        ("'blpop','l',0", "$-1"),
        ("'blmove','l','m','left','left',0", "$-1"),
        ("'bzpopmin','z',0", "$-1"),
        ("'xread','block',0,'streams','s','$'", "$-1"),
        ("'blpop','l',-1", "-ERR timeout is negative"),
    ] {
        let got = eval(&mut test, &format!("return redis.call({call})"));
        assert!(got.starts_with(reply), "{call}: {got}");
    }
    test.run("INFO clients").has("blocked_clients:0");
}

#[test]
fn waiting_clients_are_served_when_it_is_over() {
    let mut test = Test::new();
    let mut blocked = test.client();
    let waiter = blocked.blocks("BLPOP l m 0");
    let nothing = "redis.call('rpush','l','a') redis.call('del','l')";
    assert_eq!(eval(&mut test, nothing), "$-1");
    assert!(blocked.waited(&waiter).is_none());
    let source =
        "redis.call('rpush','m',1) redis.call('rpush','l','a','b') return redis.call('llen','l')";
    assert_eq!(eval(&mut test, source), ":2");
    // The command runs again: its first key comes first.
    blocked.waited(&waiter).unwrap().is("*2 $1 l $1 a");
}

#[test]
fn time_stands_still() {
    let mut test = Test::new();
    let source = "local a = redis.call('time') redis.call('set','k','v','px',1) \
                  for i = 1, 100000 do end \
                  local b = redis.call('time') \
                  return {a[1] == b[1] and a[2] == b[2], redis.call('get','k')}";
    assert_eq!(eval(&mut test, source), "*2 :1 $1 v");
    test.clock.advance(1);
    test.run("GET k").is("$-1");
    let time = eval(&mut test, "return redis.call('time')[1]");
    assert_eq!(time, format!("$10 {}", START_MS / 1_000));
}

#[test]
fn what_runs_in_scripts_is_counted() {
    let mut test = Test::new();
    test.run("SET s x");
    for (source, calls, errors) in [
        (
            "return redis.call('incr','s')",
            vec![
                "eval:calls=1,rejected_calls=0,failed_calls=1",
                "incr:calls=1,rejected_calls=0,failed_calls=1",
            ],
            vec!["ERR:count=1"],
        ),
        (
            "redis.pcall('incr','s') return 1",
            vec![
                "eval:calls=1,rejected_calls=0,failed_calls=0",
                "incr:calls=1,rejected_calls=0,failed_calls=1",
            ],
            vec!["ERR:count=1"],
        ),
        (
            "return {{redis.pcall('incr','s')},redis.pcall('incr','s'),redis.error_reply('FOO x')}",
            vec![
                "eval:calls=1,rejected_calls=0,failed_calls=3",
                "incr:calls=2,rejected_calls=0,failed_calls=2",
            ],
            vec!["ERR:count=2", "FOO:count=1"],
        ),
        (
            "return redis.pcall('nosuch')",
            vec!["eval:calls=1,rejected_calls=0,failed_calls=1"],
            vec!["ERR:count=1"],
        ),
        (
            "return redis.pcall('multi')",
            vec![
                "eval:calls=1,rejected_calls=0,failed_calls=1",
                "multi:calls=0,rejected_calls=1,failed_calls=0",
            ],
            vec!["ERR:count=1"],
        ),
        (
            "error('my error')",
            vec!["eval:calls=1,rejected_calls=0,failed_calls=1"],
            vec!["ERR:count=1"],
        ),
        (
            "syntax(",
            vec!["eval:calls=1,rejected_calls=0,failed_calls=1"],
            vec!["ERR:count=1"],
        ),
        (
            "for i=1,1000 do redis.call('set','a',i) end return redis.call('get','a')",
            vec![
                "eval:calls=1,rejected_calls=0,failed_calls=0",
                "get:calls=1,rejected_calls=0,failed_calls=0",
                "set:calls=1000,rejected_calls=0,failed_calls=0",
            ],
            vec![],
        ),
    ] {
        test.run("CONFIG RESETSTAT").is("+OK");
        eval(&mut test, source);
        let mut seen = figures(&mut test, "commandstats", "cmdstat_");
        seen.retain(|line| !line.starts_with("info:") && !line.starts_with("config"));
        seen.sort();
        assert_eq!(seen, calls, "{source}");
        assert_eq!(
            figures(&mut test, "errorstats", "errorstat_"),
            errors,
            "{source}"
        );
    }
    // Those of one that begins again are counted once.
    test.run("CONFIG RESETSTAT").is("+OK");
    let source = "redis.call('get','a') return redis.pcall('incr')";
    eval_ro(&mut test, source);
    let seen = figures(&mut test, "commandstats", "cmdstat_get");
    assert_eq!(seen, [":calls=1,rejected_calls=0,failed_calls=0"]);
    let source = "return redis.call('info','commandstats')";
    assert!(eval(&mut test, source).contains("cmdstat_get:calls=1,"));
}

/// Of a script that begins again what it has looked up first does not count, as nothing else does.
#[test]
fn lookups_of_a_script_that_begins_again_are_counted_once() {
    let mut test = Test::new();
    test.run("MSET a 1 b 2 c 3").is("+OK");
    for (source, hits, misses) in [
        ("redis.call('get','a') return redis.pcall('incr')", 1, 0),
        (
            "for _, key in ipairs({'a','b','none','a','c'}) do redis.call('get',key) end \
             redis.call('mget','a','b','none','other') return redis.pcall('incr','a')",
            6,
            3,
        ),
        ("redis.call('get','a') return redis.call('get','b')", 2, 0),
    ] {
        let before = test.counts();
        eval_ro(&mut test, source);
        let after = test.counts();
        let moved = [after[0] - before[0], after[1] - before[1]];
        assert_eq!(moved, [hits, misses], "{source}");
    }
}

#[test]
fn changes_are_counted_and_the_clients_commands() {
    let mut test = Test::new();
    let before = test.counts()[2];
    eval(&mut test, "for i=1,5 do redis.call('incr','a') end");
    assert_eq!(test.counts()[2] - before, 5);
    test.run("CLIENT INFO").has(" tot-cmds=6");
}

#[test]
fn monitors_see_the_script_before_its_commands() {
    let mut test = Test::new();
    let mut monitor = test.client();
    monitor.run("MONITOR").is("+OK");
    let source = "redis.call('set',KEYS[1],'x') redis.pcall('nosuch') redis.call('select',2) \
                  return redis.call('get','a')";
    eval_with(&mut test, source, &["a"]);
    eval_ro(&mut test, "return redis.call('get','a')");
    test.run("EVAL x notanumber");
    test.run("EVALSHA ffffffffffffffffffffffffffffffffffffffff 0");
    let shown = String::from_utf8(monitor.session.take_pushes()).unwrap();
    let lines = shown.lines().map(|line| line.split_once(' ').unwrap().1);
    let lines: Vec<String> = lines.map(|line| line.replace(source, "...")).collect();
    assert_eq!(
        lines,
        [
            "[0 127.0.0.1:0] \"EVAL\" \"...\" \"1\" \"a\"",
            "[0 lua] \"set\" \"a\" \"x\"",
            "[2 lua] \"select\" \"2\"",
            "[2 lua] \"get\" \"a\"",
            "[0 127.0.0.1:0] \"EVAL_RO\" \"return redis.call('get','a')\" \"0\"",
            "[0 lua] \"get\" \"a\"",
            "[0 127.0.0.1:0] \"EVAL\" \"x\" \"notanumber\"",
            "[0 127.0.0.1:0] \"EVALSHA\" \"ffffffffffffffffffffffffffffffffffffffff\" \"0\"",
        ]
    );
}

#[test]
fn what_a_script_reads_is_tracked_and_what_it_changes_told() {
    let mut test = Test::new();
    test.run("HELLO 3");
    test.run("CLIENT TRACKING ON").is("+OK");
    eval(&mut test, "return redis.call('get','a')");
    eval_ro(&mut test, "return redis.call('get','b')");
    let mut other = test.client();
    eval(
        &mut other,
        "redis.call('set','a',1) redis.call('set','b',1)",
    );
    let told = String::from_utf8(test.session.take_pushes()).unwrap();
    let keys = [b'a', b'b']
        .map(|key| format!(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\n{}\r\n", key as char));
    assert_eq!(told, keys.concat());
    // What is declared is not read for that.
    eval_with(&mut test, "return 1", &["c"]);
    test.args(&[b"EVAL_RO", b"return 1", b"1", b"c"]).is(":1");
    other.run("SET c 1").is("+OK");
    assert_eq!(test.session.take_pushes(), b"");
    // OPTIN: CLIENT CACHING holds for all of a script.
    test.run("CLIENT TRACKING OFF").is("+OK");
    test.run("CLIENT TRACKING ON OPTIN").is("+OK");
    test.run("CLIENT CACHING YES").is("+OK");
    eval(&mut test, "redis.call('get','a') redis.call('get','b')");
    eval(&mut test, "redis.call('get','c')");
    other.run("MSET c 1 b 1").is("+OK");
    let told = String::from_utf8(test.session.take_pushes()).unwrap();
    assert_eq!(told, keys[1]);
}

#[test]
fn events_are_told_command_by_command() {
    let mut test = Test::new();
    test.run("CONFIG SET notify-keyspace-events EA").is("+OK");
    let mut other = test.client();
    other.run("PSUBSCRIBE *");
    eval(
        &mut test,
        "redis.call('set','a',1) redis.call('select',4) redis.call('rpush','l',1) redis.call('lpop','l')",
    );
    let told = String::from_utf8(other.session.take_pushes()).unwrap();
    let channels = told.lines().filter(|line| line.starts_with("__key"));
    let channels: Vec<&str> = channels.collect();
    assert_eq!(
        channels,
        [
            "__keyevent@0__:set",
            "__keyevent@4__:rpush",
            "__keyevent@4__:lpop",
            "__keyevent@4__:del",
        ]
    );
}

/// As Valkey writes it, but that set_repl holds for what commands say themselves, too.
#[test]
fn the_log_has_what_the_commands_did_as_one() {
    let mut logged = Logged::new();
    for (source, records) in [
        ("redis.call('set','a',1)", &["set a 1"][..]),
        (
            "redis.call('set','a',1) redis.call('incr','a') return redis.call('get','a')",
            &["MULTI", "set a 1", "incr a", "EXEC"],
        ),
        (
            "redis.call('set','a',1) redis.call('select',3) redis.call('set','b',1)",
            &["MULTI", "set a 1", "SELECT 3", "set b 1", "EXEC"],
        ),
        (
            "redis.set_repl(redis.REPL_NONE) redis.call('set','c',1) \
             redis.set_repl(redis.REPL_ALL) redis.call('set','d',1)",
            &["SELECT 0", "set d 1"],
        ),
        (
            "redis.set_repl(redis.REPL_SLAVE) redis.call('set','c',1)",
            &[],
        ),
        (
            "redis.set_repl(redis.REPL_AOF) redis.call('set','c',2)",
            &["set c 2"],
        ),
        ("redis.call('set','c',3)", &["set c 3"]),
        (
            "redis.call('rpush','l','a') redis.call('blpop','l',0)",
            &["MULTI", "rpush l a", "LPOP l", "EXEC"],
        ),
        (
            "redis.call('set','a','x') redis.call('incr','a')",
            &["set a x"],
        ),
        ("redis.call('set','a','x') error('x')", &["set a x"]),
        ("return redis.call('get','a')", &[]),
        ("redis.call('publish','a','x')", &[]),
        ("redis.call('flushall')", &["flushall"]),
    ] {
        eval(&mut logged.test, source);
        let mut seen = logged.records();
        seen.retain(|line| line != "SELECT 0" || records.contains(&"SELECT 0"));
        assert_eq!(seen, records, "{source}");
    }
    logged.repeats();
    // That a key was found expired is logged whatever the script wants.
    logged.test.run("SET e 1 PX 1");
    logged.test.clock.advance(2);
    logged.records();
    eval(
        &mut logged.test,
        "redis.set_repl(redis.REPL_NONE) redis.call('incr','e')",
    );
    assert_eq!(logged.records(), ["UNLINK e"]);
    // One that reads only has its record, too.
    logged.test.run("SET e 1 PX 1");
    logged.test.clock.advance(2);
    logged.records();
    eval_ro(&mut logged.test, "return redis.call('get','e')");
    assert_eq!(logged.records(), ["UNLINK e"]);
}

/// As that keys were, if they are taken out: else the field that HSETNX makes would be there already when it is
/// repeated.
#[test]
fn fields_found_expired_are_logged_whatever_the_script_wants() {
    for (call, logs, then) in [
        ("'hlen','h'", &["HDEL h f"][..], "HSETNX h f 2"),
        ("'hdel','h','f'", &[], "HSET h f 2"),
        ("'hgetdel','h','FIELDS',1,'f'", &[], "HSET h f 2"),
    ] {
        let mut logged = Logged::new();
        logged.test.run("HSETEX h PX 1 FIELDS 1 f 1").is(":1");
        logged.test.run("HSET h g 1").is(":1");
        logged.test.clock.advance(2);
        logged.records();
        let source = format!("redis.set_repl(redis.REPL_NONE) redis.call({call})");
        eval(&mut logged.test, &source);
        assert_eq!(logged.records(), logs, "{call}");
        logged.logs("HSETNX h f 2", &[then]);
        logged.repeats();
    }
}

#[test]
fn scripts_are_parts_of_transactions() {
    let mut logged = Logged::new();
    let test = &mut logged.test;
    for line in [
        "MULTI",
        "SET x 1",
        "EVAL \"redis.call('incr','x') return redis.call('incr','x')\" 0",
        "EVAL \"return redis.call('nosuch')\" 0",
        "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0",
        "EVAL_RO \"return redis.call('get','x')\" 0",
        "EVAL x notanumber",
        "SET y 1",
    ] {
        test.run(line);
    }
    let reply = test.run("EXEC").text();
    let expected = "*7 +OK :3 -ERR Unknown command called from script script: on @user_script:1. \
                    -NOSCRIPT No matching script. $1 3 -ERR value is not an integer or out of range +OK";
    assert_eq!(reply, expected);
    let expected = [
        "SELECT 0", "MULTI", "SET x 1", "incr x", "incr x", "SET y 1", "EXEC",
    ];
    assert_eq!(logged.records(), expected);
    let test = &mut logged.test;
    test.run("CONFIG RESETSTAT");
    for line in [
        "MULTI",
        "EVAL \"return {redis.pcall('x'),redis.pcall('incr','x')}\" 0",
    ] {
        test.run(line);
    }
    test.run("EXEC");
    let seen = figures(test, "commandstats", "cmdstat_eval");
    assert_eq!(seen, [":calls=1,rejected_calls=0,failed_calls=1"]);
    logged.repeats();
}

/// Logs that Redis wrote with `lua-replicate-commands no`.
#[test]
fn a_log_may_have_scripts_in_it() {
    let test = Test::new();
    let server = test.session.server().clone();
    server.keyspace.oplog.set_on(true);
    let mut replay = Replay::new(server.clone(), test.table.clone());
    let source = b"redis.call('select',2) redis.call('set',KEYS[1],ARGV[1],'px',1) error('x')";
    let request: [&[u8]; 5] = [b"EVAL", source, b"1", b"k", b"v"];
    for db in [0, 0] {
        replay.run(crate::db::DbIndex(db), &request).unwrap();
    }
    let request: [&[u8]; 3] = [b"EVAL", b"redis.call('incr','n')", b"0"];
    replay.run(crate::db::DbIndex(0), &request).unwrap();
    let mut client = test.client();
    client.run("GET n").is("$1 1");
    client.run("SELECT 2");
    client.run("GET k").is("$1 v");
    assert_eq!(server.keyspace.oplog.cut(), 0, "nothing is logged again");
    client.run("INFO commandstats").has("cmdstat_get:calls=2");
    let seen = figures(&mut client, "commandstats", "cmdstat_incr");
    assert_eq!(seen, [""; 0]);
}

#[test]
fn it_waits_for_the_gate_unless_it_reads_only() {
    let mut test = Test::new();
    let server = test.session.server().clone();
    let gate = server.keyspace.gate.try_close().unwrap();
    let line = "EVAL \"return redis.call('set','a',1)\" 0";
    assert_eq!(test.flow(line), Flow::Wait(Wait::Gate));
    drop(gate);
    assert_eq!(test.flow(line), Flow::Done);
    test.run("GET a").is("$1 1");
}

/// Runs `work` while another thread holds the shard of a key.
fn while_held(test: &Test, key: &str, work: impl FnOnce()) {
    let server = test.session.server().clone();
    let (is_held, may_end) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let (is_held, may_end) = (&is_held, &may_end);
        scope.spawn(move || {
            let keyspace = &server.keyspace;
            let _locks = keyspace.lock_one(keyspace.hash(key.as_bytes()));
            is_held.store(true, Ordering::Release);
            while !may_end.load(Ordering::Acquire) {
                thread::yield_now();
            }
        });
        while !is_held.load(Ordering::Acquire) {
            thread::yield_now();
        }
        work();
        may_end.store(true, Ordering::Release);
    });
}

/// Two keys of different shards, in the order of these.
fn two_keys(test: &Test) -> (String, String) {
    let keyspace = &test.session.server().keyspace;
    let shard = |key: &str| keyspace.shard_of(keyspace.hash(key.as_bytes()));
    let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    let other = keys.iter().find(|key| shard(key) > shard(&keys[0]));
    match other {
        Some(other) => (keys[0].clone(), other.clone()),
        None => (keys[1].clone(), keys[0].clone()),
    }
}

#[test]
fn who_reads_only_stops_nobody_elsewhere() {
    let mut test = Test::new();
    let (low, high) = two_keys(&test);
    test.run(&format!("MSET {low} 1 {high} 2"));
    let mut client = test.client();
    while_held(&test, &high, || {
        let source = format!("return redis.call('get','{low}')");
        assert_eq!(eval_ro(&mut client, &source), "$1 1");
    });
}

/// The same scripts in every way that there is: nobody can tell which it was.
#[test]
fn the_way_is_not_seen() {
    for directive in ["", "KEA"] {
        let mut logged = Logged::new();
        let test = &mut logged.test;
        test.run(&format!(
            "CONFIG SET notify-keyspace-events \"{directive}\""
        ));
        test.run("MSET a 1 b 2");
        for source in [
            "return {redis.call('get',KEYS[1]),redis.call('get',KEYS[2])}",
            "return {redis['call']('get',KEYS[1]),redis.call('get',KEYS[2])}",
            "local got = {} for i = 1, #KEYS do got[i] = redis.call('get',KEYS[i]) end return got",
            "for i = 1, 200000 do end return {redis.call('get',KEYS[1]),redis.call('get',KEYS[2])}",
            "redis.call('keys','*') return {redis.call('get',KEYS[1]),redis.call('get',KEYS[2])}",
        ] {
            for name in ["EVAL", "EVAL_RO"] {
                for keys in [[&b"a"[..], b"b"], [b"b", b"a"]] {
                    let args = [name.as_bytes(), source.as_bytes(), b"2", keys[0], keys[1]];
                    let reply = test.args(&args).text();
                    let expected = match keys[0] {
                        b"a" => "*2 $1 1 $1 2",
                        _ => "*2 $1 2 $1 1",
                    };
                    assert_eq!(reply, expected, "{name} {source}");
                }
            }
        }
        logged.repeats();
    }
}

#[test]
fn who_is_proven_to_need_one_key_stops_nobody_elsewhere() {
    let mut test = Test::new();
    let (low, high) = two_keys(&test);
    let library = "#!lua name=l\n\
        redis.register_function('add', function(keys, args) \
        return redis.call('incrby', keys[1], args[1]) end)";
    test.args(&[b"FUNCTION", b"LOAD", library.as_bytes()])
        .is("$1 l");
    let mut client = test.client();
    while_held(&test, &high, || {
        let source = "return redis.call('incr',KEYS[1])";
        assert_eq!(eval_with(&mut client, source, &[&low]), ":1");
        client.run(&format!("FCALL add 1 {low} 2")).is(":3");
    });
}

#[test]
fn what_commands_touch_is_told_by_their_rows() {
    let test = Test::new();
    let facts = |name: &str| {
        let (name, second) = name.split_once('|').unzip();
        let name = name.unwrap_or_default().as_bytes();
        find::facts(&test.table, name, second.map(str::as_bytes))
    };
    // Whether it may be called in a loop.
    for (name, is_short) in [
        ("set|", true),
        ("setex|", true),
        ("incr|", true),
        ("hset|", true),
        ("zadd|", true),
        ("lmove|", true),
        ("del|", true),
        ("rename|", true),
        ("publish|", true),
        ("lrem|", false),
        ("lset|", false),
        ("lrange|", false),
        ("smembers|", false),
        ("sunionstore|", false),
        ("dump|", false),
        ("copy|", false),
        ("zrangestore|", false),
        ("bitcount|", false),
    ] {
        assert_eq!(facts(name).unwrap().is_short, is_short, "{name}");
    }
    // Whether it touches its keys only, and whether it only reads.
    for (name, is_confined, reads_only) in [
        ("get|", true, true),
        ("GET|x", true, true),
        ("set|", true, false),
        ("del|", true, false),
        ("pfcount|", true, false),
        ("zrangestore|", true, false),
        ("object|encoding", true, true),
        ("publish|", true, false),
        ("time|", true, true),
        ("keys|", false, true),
        ("scan|", false, true),
        ("dbsize|", false, true),
        ("randomkey|", false, true),
        ("sort|", false, false),
        ("sort_ro|", false, true),
        ("flushall|", false, false),
        ("swapdb|", false, false),
        ("select|", false, false),
        ("config|set", false, false),
        ("debug|", false, false),
        ("subscribe|", false, false),
        ("eval|", false, false),
        ("eval_ro|", false, false),
        ("fcall_ro|", false, false),
        ("multi|", false, false),
        ("exec|", false, false),
        ("watch|", false, false),
        ("wait|", false, false),
    ] {
        let Some(facts) = facts(name) else { continue };
        let told = (facts.is_confined, facts.reads_only);
        assert_eq!(told, (is_confined, reads_only), "{name}");
    }
    assert!(facts("object|").is_none());
    assert!(facts("object|unknown").is_none());
    assert!(facts("unknown|").is_none());
}

/// Threads move amounts between keys with scripts, and others add them up: in scripts, and in commands.
#[test]
fn nobody_sees_half_of_a_script() {
    const KEYS: usize = 8;
    const ROUNDS: usize = 300;
    let mut test = Test::new();
    for key in 0..KEYS {
        test.run(&format!("SET acct{key} 100"));
    }
    let transfer = "local from, to = ARGV[1], ARGV[2] \
                    redis.call('decrby',from,ARGV[3]) redis.call('incrby',to,ARGV[3])";
    let sum =
        "local sum = 0 for i = 0, 7 do sum = sum + redis.call('get','acct'..i) end return sum";
    thread::scope(|scope| {
        for number in 0..4 {
            let connect = test.connector();
            scope.spawn(move || {
                let mut client = connect();
                for round in 0..ROUNDS {
                    match number {
                        0 => {
                            let from = format!("acct{}", round % KEYS);
                            let to = format!("acct{}", (round * 5 + 3) % KEYS);
                            let args: Vec<&[u8]> = vec![
                                b"EVAL",
                                transfer.as_bytes(),
                                b"0",
                                from.as_bytes(),
                                to.as_bytes(),
                                b"7",
                            ];
                            while client.session.call(&args).1 == Flow::Wait(Wait::Gate) {
                                thread::yield_now();
                            }
                        }
                        1 | 2 => {
                            let name: &[u8] = [b"EVAL_RO".as_slice(), b"EVAL"][number - 1];
                            let args: [&[u8]; 3] = [name, sum.as_bytes(), b"0"];
                            let reply = loop {
                                let (reply, flow) = client.session.call(&args);
                                if flow == Flow::Done {
                                    break reply;
                                }
                                thread::yield_now();
                            };
                            assert_eq!(reply, b":800\r\n");
                        }
                        _ => {
                            let reply = loop {
                                let keys = (0..KEYS).map(|key| format!("acct{key}"));
                                let line =
                                    keys.fold("MGET".to_owned(), |line, key| line + " " + &key);
                                let reply = client.run(&line).text();
                                if !reply.is_empty() {
                                    break reply;
                                }
                                thread::yield_now();
                            };
                            let words = reply.split(' ').skip(2).step_by(2);
                            let sum: i64 = words.map(|word| word.parse::<i64>().unwrap()).sum();
                            assert_eq!(sum, 800);
                        }
                    }
                }
            });
        }
    });
}
