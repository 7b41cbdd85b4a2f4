//! Scripts that run for too long, and what others are told meanwhile: one script at a time, left in the
//! middle and gone on with by hand. Replies are those of Valkey 9.1.2, but for the server's name.

use crate::commands::tests::Test;
use crate::db::{Access, DbIndex};
use crate::exec::{Flow, Wait};
use crate::persist::state::Marks;

const EVAL_IS_BUSY: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
const FUNCTION_IS_BUSY: &str =
    "-BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
const UNKILLABLE: &str = "-UNKILLABLE Sorry the script already executed write commands against the \
     dataset. You can either wait the script termination or kill the server in a hard way using the \
     SHUTDOWN NOSAVE command.";
const KILLED: &str = "-ERR Script killed by user with SCRIPT KILL. script: on @user_script:1.";
const FOR_EVER: &str = "while true do end";

/// Turns that a script may need to end.
const TURNS_MAX: u32 = 10_000;

/// Two clients of a server that is busy early.
fn clients() -> (Test, Test) {
    let script = Test::with(&["--busy-reply-threshold", "1"]);
    let other = script.client();
    (script, other)
}

/// Has a request run until it is left in the middle.
#[track_caller]
fn begin(test: &mut Test, request: &[&str]) {
    let request: Vec<&[u8]> = request.iter().map(|arg| arg.as_bytes()).collect();
    let (reply, flow) = test.session.call(&request);
    let text = String::from_utf8_lossy(&reply).into_owned();
    assert_eq!((text.as_str(), flow), ("", Flow::Alone), "{request:?}");
}

#[track_caller]
fn begin_eval(test: &mut Test, source: &str) {
    begin(test, &["EVAL", source, "0"]);
}

/// Goes on until the command ends: its reply.
#[track_caller]
fn end(test: &mut Test) -> String {
    for _ in 0..TURNS_MAX {
        let (reply, flow) = test.session.resume();
        if flow != Flow::Alone {
            assert_eq!(flow, Flow::Done);
            let text = String::from_utf8_lossy(&reply);
            return text.trim_end_matches("\r\n").replace("\r\n", " ");
        }
    }
    panic!("it does not end");
}

/// Whether no shard knows of anybody who watches a key.
fn nobody_watches(test: &Test) -> bool {
    let keyspace = &test.session.server().keyspace;
    let mut access = Access::new(keyspace, keyspace.lock_none(), DbIndex(0), 0, false);
    let mut watched = 0;
    access.for_each_shard(|_, data| watched += data.listeners_len());
    watched == 0
}

#[test]
fn what_is_answered_while_a_script_of_eval_runs() {
    let (mut script, mut other) = clients();
    for request in ["SCRIPT KILL", "FUNCTION KILL"] {
        other
            .run(request)
            .is("-NOTBUSY No scripts in execution right now.");
    }
    begin_eval(&mut script, FOR_EVER);
    for request in [
        "GET x",
        "PING",
        "FUNCTION KILL",
        "FUNCTION STATS",
        "FUNCTION LIST",
        "SCRIPT EXISTS x",
        "EVAL 'return 1' 0",
        "SHUTDOWN",
        "SHUTDOWN SAVE",
        "CLIENT INFO",
        "CLIENT LIST",
        "CLIENT KILL x:1",
        "CLIENT PAUSE 1",
        "COMMAND COUNT",
        "INFO",
        "SUBSCRIBE x",
        "MONITOR",
        "CONFIG GET maxmemory",
        "DBSIZE",
        "FLUSHALL",
    ] {
        assert_eq!(other.run(request).text(), EVAL_IS_BUSY, "{request}");
    }
    for (request, reply) in [
        ("WATCH a", "+OK"),
        ("UNWATCH", "+OK"),
        ("MULTI", "+OK"),
        ("DISCARD", "+OK"),
        ("SELECT 1", "+OK"),
        ("CLIENT SETNAME x", "+OK"),
        ("CLIENT GETNAME", "$1 x"),
        ("SHUTDOWN ABORT", "-ERR No shutdown in progress."),
        ("SHUTDOWN NOSAVE ABORT", "-ERR syntax error"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        (
            "SCRIPT",
            "-ERR wrong number of arguments for 'script' command",
        ),
        ("RESET", "+RESET"),
        ("SCRIPT KILL", "+OK"),
        ("SCRIPT KILL", "+OK"),
    ] {
        assert_eq!(other.run(request).text(), reply, "{request}");
    }
    other.run("GET x").is(EVAL_IS_BUSY);
    assert_eq!(end(&mut script), KILLED);
    other.run("GET x").is("$-1");
    other
        .run("SCRIPT KILL")
        .is("-NOTBUSY No scripts in execution right now.");
    script.run("EVAL 'return 1' 0").is(":1");
}

#[test]
fn what_is_answered_while_a_function_runs() {
    let (mut script, mut other) = clients();
    script
        .args(&[
            b"FUNCTION",
            b"LOAD",
            b"#!lua name=lib\nredis.register_function('loop', function(k, v) while true do end end)",
        ])
        .is("$3 lib");
    begin(&mut script, &["FCALL", "loop", "1", "k", "arg\r\nx"]);
    for request in ["GET x", "SCRIPT KILL", "SHUTDOWN", "FUNCTION LIST"] {
        assert_eq!(other.run(request).text(), FUNCTION_IS_BUSY, "{request}");
    }
    let stats = other.run("FUNCTION STATS").text();
    let shown = "*4 $14 running_script *6 $4 name $4 loop $7 command *5 $5 FCALL $4 loop $1 1 $1 k \
                 $6 arg x $11 duration_ms :";
    assert!(stats.starts_with(shown), "{stats}");
    other.run("MULTI").is("+OK");
    other.run("FUNCTION KILL").is("+QUEUED");
    other.run("EXEC").is(&format!(
        "-EXECABORT Transaction discarded because of: {}",
        &FUNCTION_IS_BUSY[1..]
    ));
    other.run("FUNCTION KILL").is("+OK");
    let killed = "-ERR Script killed by user with FUNCTION KILL. script: on @user_function:2.";
    assert_eq!(end(&mut script), killed);
    other
        .run("FUNCTION STATS")
        .has("*4 $14 running_script $-1 $7 engines");
}

#[test]
fn no_loop_escapes() {
    let (mut script, mut other) = clients();
    for source in [
        "while true do pcall(function() while true do end end) end",
        "local function f() return pcall(f) end while true do f() end",
        "local function f() pcall(f) f() end f()",
        "while true do xpcall(function() error('x') end, function() while true do end end) end",
        "while true do redis.pcall('get', 'x') end",
        "while true do redis.pcall('nosuch') end",
        "while true do redis.pcall('keys', '*') end",
        "while true do coroutine.wrap(function() while true do coroutine.yield() end end)() end",
        "local c = coroutine.wrap(function() while true do coroutine.yield() end end) \
         while true do c() end",
        "while true do pcall(coroutine.wrap(function() while true do end end)) end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "while true do string.find(string.rep('a', 40), string.rep('a?', 40) .. string.rep('a', 40)) end",
        "string.find(string.rep('a', 5000), '.-.-.-.-.-.-b')",
        "while true do pcall(string.find, string.rep('a', 5000), '.-.-.-.-.-.-b') end",
        "string.gsub(string.rep('a', 100), 'a', function() while true do end end)",
        "while true do pcall(string.gsub, 'aaa', 'a', function() while true do end end) end",
        "table.sort({3, 2, 1}, function() while true do end end)",
        "local t = setmetatable({}, {__index = function() while true do end end}) return t.x",
        "local t = setmetatable({}, {__eq = function() while true do end end}) \
         return t == setmetatable({}, getmetatable(t))",
        "local t = setmetatable({}, {__concat = function() while true do end end}) return t .. 'x'",
        "for x in function() return 1 end do end",
        "local s = 'x' while true do s = string.rep('x', 100000) end",
        "while true do loadstring('return 1')() end",
        "while true do pcall(loadstring, string.rep('x = ', 1000)) end",
        "while true do cjson.decode(cjson.encode({1, 2, 3})) end",
        "while true do cmsgpack.unpack(cmsgpack.pack({1, 2, 3})) end",
        "while true do local t = {} for i = 1, 100 do t[i] = {} end end",
        "repeat local a = tostring({}) until false",
        "local function f(n) return f(n + 1) end return f(0)",
    ] {
        begin_eval(&mut script, source);
        other.run("PING").is(EVAL_IS_BUSY);
        // In the middle of whatever it does.
        for _ in 0..3 {
            let (reply, flow) = script.session.resume();
            assert_eq!((reply.len(), flow), (0, Flow::Alone), "{source}");
        }
        other.run("SCRIPT KILL").is("+OK");
        let reply = end(&mut script);
        assert!(
            reply.starts_with("-ERR Script killed by user with SCRIPT KILL."),
            "{source}: {reply}"
        );
        script.run("EVAL 'return 1' 0").is(":1");
        other.run("PING").is("+PONG");
    }
}

#[test]
fn who_has_written_is_not_killed_and_ends_by_itself() {
    let (mut script, mut other) = clients();
    let source = "redis.call('set', 'k', 1) for i = 1, 3e6 do end return redis.call('incr', 'k')";
    begin_eval(&mut script, source);
    for request in ["SCRIPT KILL", "FUNCTION KILL"] {
        other.run(request).is(UNKILLABLE);
    }
    other.run("GET k").is(EVAL_IS_BUSY);
    other.run("SHUTDOWN").is(EVAL_IS_BUSY);
    assert_eq!(end(&mut script), ":2");
    other.run("GET k").is("$1 2");
    script.run("DBSIZE").is(":1");
}

#[test]
fn who_has_written_ends_though_nothing_can_be_saved_by_then() {
    let (mut script, _) = clients();
    let source = "redis.call('set', 'k', 1) for i = 1, 3e6 do end return redis.call('incr', 'k')";
    begin_eval(&mut script, source);
    let persist = &script.session.server().persist;
    persist.mark(Marks::RDB_FAILED, true);
    assert_eq!(end(&mut script), ":2");
    script.run("SET k 3").has("-MISCONF ");
}

#[test]
fn who_has_only_read_is_killed_and_leaves_nothing() {
    let (mut script, mut other) = clients();
    script.run("SET k v");
    let source = "redis.call('get', 'k') while true do redis.pcall('mget', 'k', 'x') end";
    begin_eval(&mut script, source);
    other.run("SCRIPT KILL").is("+OK");
    assert_eq!(end(&mut script), KILLED);
    // Killed in front of its first write: it is told so, and ends.
    let source = "for i = 1, 3e6 do end redis.call('set', 'k', 'w') return 1";
    begin_eval(&mut script, source);
    other.run("SCRIPT KILL").is("+OK");
    assert_eq!(end(&mut script), KILLED);
    other.run("GET k").is("$1 v");
}

#[test]
fn scripts_of_a_transaction_are_killed_one_by_one() {
    let (mut script, mut other) = clients();
    script.run("MULTI").is("+OK");
    for request in [
        "EVAL 'while true do end' 0",
        "SET y 1",
        "EVAL 'while true do end' 0",
    ] {
        script.run(request).is("+QUEUED");
    }
    begin(&mut script, &["EXEC"]);
    other.run("SCRIPT KILL").is("+OK");
    let (reply, flow) = script.session.resume();
    assert_eq!((reply.len(), flow), (0, Flow::Alone), "the second one");
    other.run("GET y").is(EVAL_IS_BUSY);
    // What the transaction has written is none of the script's doing.
    other.run("SCRIPT KILL").is("+OK");
    assert_eq!(end(&mut script), format!("*3 {KILLED} +OK {KILLED}"));
    other.run("GET y").is("$1 1");
    script.run("MULTI").is("+OK");
    script.run("PING").is("+QUEUED");
    script.run("EXEC").is("*1 +PONG");
}

#[test]
fn a_transaction_that_meets_a_busy_script_is_discarded() {
    let (mut script, mut other) = clients();
    begin_eval(&mut script, FOR_EVER);
    other.run("MULTI").is("+OK");
    other.run("GET a").is(EVAL_IS_BUSY);
    let discarded = format!(
        "-EXECABORT Transaction discarded because of: {}",
        &EVAL_IS_BUSY[1..]
    );
    other.run("EXEC").is(&discarded);
    other.run("SCRIPT KILL").is("+OK");
    end(&mut script);
    other.run("EXEC").is("-ERR EXEC without MULTI");
}

#[test]
fn what_is_watched_while_a_script_is_busy_counts_as_touched() {
    let (mut script, mut other) = clients();
    begin_eval(&mut script, FOR_EVER);
    other.run("WATCH k").is("+OK");
    other.run("SCRIPT KILL").is("+OK");
    end(&mut script);
    other.run("MULTI").is("+OK");
    other.run("PING").is("+QUEUED");
    other.run("EXEC").is("*-1");
    other.run("MULTI").is("+OK");
    other.run("PING").is("+QUEUED");
    other.run("EXEC").is("*1 +PONG");
    assert!(nobody_watches(&other));
}

#[test]
fn what_was_watched_is_forgotten_while_a_script_is_busy() {
    for forget in ["UNWATCH", "DISCARD", "RESET"] {
        let (mut script, mut other) = clients();
        other.run("WATCH k l").is("+OK");
        if forget == "DISCARD" {
            other.run("MULTI").is("+OK");
        }
        let source = "for i = 1, 3e6 do end redis.call('set', 'k', 1) return 'end'";
        begin_eval(&mut script, source);
        other.run(forget);
        assert_eq!(end(&mut script), "$3 end");
        // The shards still know of it, but it counts no more.
        assert!(!nobody_watches(&other));
        other.run("WATCH l").is("+OK");
        other.run("MULTI").is("+OK");
        other.run("PING").is("+QUEUED");
        script.run("SET k 2").is("+OK");
        other.run("EXEC").is("*1 +PONG");
        other.run("UNWATCH").is("+OK");
        assert!(nobody_watches(&other), "{forget}");
    }
}

#[test]
fn who_was_watching_learns_of_what_the_script_writes() {
    let (mut script, mut other) = clients();
    other.run("WATCH k").is("+OK");
    let source = "for i = 1, 3e6 do end redis.call('set', 'k', 1) return 'end'";
    begin_eval(&mut script, source);
    other.run("MULTI").is("+OK");
    assert_eq!(end(&mut script), "$3 end");
    other.run("PING").is("+QUEUED");
    other.run("EXEC").is("*-1");
}

#[test]
fn the_gate_is_closed_before_anybody_is_told() {
    let script = Test::with(&["--busy-reply-threshold", "1"]);
    let mut other = script.client();
    let keyspace = &script.session.server().keyspace;
    let gate = keyspace.gate.try_close().unwrap();
    gate.may_take_long();
    for request in [&["GET", "x"][..], &["SCRIPT", "KILL"], &["WATCH", "x"]] {
        let request: Vec<&[u8]> = request.iter().map(|arg| arg.as_bytes()).collect();
        let (_, flow) = other.session.call(&request);
        assert_eq!(flow, Flow::Wait(Wait::Gate));
    }
    assert!(gate.end_long().is_empty());
    drop(gate);
    other.run("GET x").is("$-1");
}

#[test]
fn waiting_clients_are_served_when_the_script_has_ended() {
    let (mut script, mut other) = clients();
    let (_, flow) = other.session.call(&[b"BLPOP", b"l", b"0"]);
    let Flow::Block(waiter) = flow else {
        panic!("{flow:?}")
    };
    let source = "redis.call('rpush', 'l', 'a', 'b') for i = 1, 3e6 do end return 'end'";
    begin_eval(&mut script, source);
    assert_eq!(other.session.end_wait(&waiter), None);
    assert_eq!(end(&mut script), "$3 end");
    let reply = other.session.end_wait(&waiter).unwrap();
    assert_eq!(reply, b"*2\r\n$1\r\nl\r\n$1\r\na\r\n");
    script.run("LRANGE l 0 -1").is("*1 $1 b");
}

#[test]
fn the_script_has_its_client_back() {
    let (mut script, mut other) = clients();
    script.run("HELLO 3");
    script.run("SELECT 3").is("+OK");
    let source = "redis.call('select', 5) redis.setresp(3) while true do end";
    begin_eval(&mut script, source);
    other.run("SCRIPT KILL").is("+OK");
    assert!(end(&mut script).starts_with("-ERR Script killed"));
    script.run("SET k v").is("+OK");
    script.run("GET x").is("_");
    other.run("SELECT 3");
    other.run("GET k").is("$1 v");
}

#[test]
fn who_has_run_is_counted_once() {
    let (mut script, mut other) = clients();
    begin_eval(&mut script, FOR_EVER);
    other.run("GET x");
    other.run("GET x");
    other.run("SCRIPT KILL");
    end(&mut script);
    let stats = other.run("INFO commandstats").text();
    let of = |name: &str| {
        let mut lines = stats.split(' ');
        let line = lines.find(|line| line.starts_with(&format!("cmdstat_{name}:")));
        let line = line.unwrap_or_default();
        let fields = line
            .split([':', ','])
            .filter(|part| part.contains("calls="));
        fields.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of("eval"), "calls=1 rejected_calls=0 failed_calls=1");
    assert_eq!(of("get"), "calls=0 rejected_calls=2 failed_calls=0");
    let errors = other.run("INFO errorstats").text();
    assert!(errors.contains("errorstat_BUSY:count=2"), "{errors}");
    assert!(errors.contains("errorstat_ERR:count=1"), "{errors}");
}

#[test]
fn handlers_of_errors_are_called_as_in_lua() {
    let mut script = Test::new();
    for (source, reply) in [
        (
            "return {xpcall(function() return 1, 2 end, nil)}",
            "*3 :1 :1 :2",
        ),
        (
            "return {xpcall(function(...) return select('#', ...) end, nil, 3)}",
            "*2 :1 :0",
        ),
        (
            "return {xpcall(function() error('a', 0) end, function(e) return e .. '!', 2 end)}",
            "*2 $-1 $2 a!",
        ),
        (
            "return {xpcall(function() error('a', 0) end, function(e) error('b') end)}",
            "*2 $-1 $23 error in error handling",
        ),
        (
            "return {xpcall(function() error('a', 0) end, function(e) \
             if e == 'b' then return 'c' end error('b', 0) end)}",
            "*2 $-1 $1 c",
        ),
        (
            "return {xpcall(1, 2)}",
            "*2 $-1 $23 error in error handling",
        ),
        (
            "return {xpcall(nil, function(e) return 'h:' .. e end)}",
            "*2 $-1 $29 h:attempt to call a nil value",
        ),
        (
            "local function f() return f() + 1 end return {xpcall(f, function(e) return #e > 9 end)}",
            "*2 $-1 :1",
        ),
        (
            "return {xpcall()}",
            "-ERR user_script:1: bad argument #2 to 'xpcall' (value expected) script: \
             a7c5f9b0, on @user_script:1.",
        ),
    ] {
        let text = script.args(&[b"EVAL", source.as_bytes(), b"0"]).text();
        match reply.strip_suffix("a7c5f9b0, on @user_script:1.") {
            Some(start) => assert!(text.starts_with(start), "{source}: {text}"),
            None => assert_eq!(text, reply, "{source}"),
        }
    }
}
