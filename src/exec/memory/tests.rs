//! Who is refused when memory is out, and what is evicted when it may be. Other tests allocate in the
//! same process, so here memory is either never enough (a limit of one byte) or always; how exactly a
//! limit holds is tested with processes (`tests/it/maxmemory.rs`). Expected replies are Valkey 9.1.2's.

use std::sync::{Arc, mpsc};

use super::*;
use crate::commands::tests::{START_MS, Test};
use crate::db::snapshot::Progress;
use crate::db::{Access, DbIndex, Lookup, Waiter};
use crate::ds::entry::{EntryRef, ValueRef};
use crate::exec::{Flow, Wait};
use crate::util::rng::Rng;

const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.";

/// A server that evicts keys at random, once there is a limit.
fn evicting() -> (Test, Arc<Server>) {
    let mut test = Test::new();
    set(&mut test, "maxmemory-policy", "allkeys-random");
    let server = test.session.server().clone();
    (test, server)
}

fn set(test: &mut Test, directive: &str, value: &str) {
    test.run(&format!("CONFIG SET {directive} {value}"))
        .is("+OK");
}

/// A server without memory, but for what was written before.
fn out_of_memory(policy: &str, before: &[&str]) -> Test {
    let mut test = Test::new();
    set(&mut test, "maxmemory-policy", policy);
    for line in before {
        let reply = test.run(line).text();
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    set(&mut test, "maxmemory", "1");
    test
}

fn eval(test: &mut Test, name: &str, source: &str) -> String {
    test.args(&[name.as_bytes(), source.as_bytes(), b"0"])
        .text()
}

fn evicted_keys(server: &Server) -> u64 {
    let evicted_keys = &server.keyspace.eviction.taking.evicted_keys;
    evicted_keys.load(std::sync::atomic::Ordering::Relaxed)
}

#[test]
fn what_may_need_memory_is_refused() {
    let before = ["SET k v", "RPUSH l a b", "SET n 1"];
    let mut test = out_of_memory("noeviction", &before);
    for line in [
        "SET a b",
        "APPEND k x",
        "INCR n",
        "RPUSH l c",
        "HSET h f v",
        "XADD s * f v",
        "COPY k k2",
        "SETRANGE k 0 x",
        "PFADD p a",
        "GEOADD g 1 1 a",
        "SORT l ALPHA STORE d",
        "BITFIELD k",
        "LMOVE l l LEFT LEFT",
    ] {
        test.run(line).is(OOM);
    }
    for (line, reply) in [
        ("GET k", "$1 v"),
        ("DEL k", ":1"),
        ("RENAME n m", "+OK"),
        ("EXPIRE m 100", ":1"),
        ("LPOP l", "$1 a"),
        ("PUBLISH c m", ":0"),
        ("SET a", "-ERR wrong number of arguments for 'set' command"),
        (
            "NOSUCH",
            "-ERR unknown command 'NOSUCH', with args beginning with: ",
        ),
        ("FUNCTION LOAD x", OOM),
        ("FUNCTION RESTORE x", OOM),
        (
            "SCRIPT LOAD 'return 1'",
            "$40 e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
        ),
        ("DBSIZE", ":2"),
    ] {
        test.run(line).is(reply);
    }
    set(&mut test, "maxmemory", "0");
    test.run("SET a b").is("+OK");
}

#[test]
fn scripts_are_judged_by_what_they_say_and_do() {
    let mut test = out_of_memory("noeviction", &["SET k v"]);
    let called = format!("{OOM} script: on @user_script:1.");
    let called_2 = format!("{OOM} script: on @user_script:2.");
    let read_only =
        "-ERR Write commands are not allowed from read-only scripts. script: on @user_script:2.";
    let cases: &[(&str, &str, &str)] = &[
        ("EVAL", "return redis.call('set','x','1')", &called),
        ("EVAL", "return redis.pcall('set','x','1')", OOM),
        ("EVAL", "return redis.call('get','k')", "$1 v"),
        (
            "EVAL",
            "redis.call('publish','x','1') return redis.call('set','x','1')",
            &called,
        ),
        (
            "EVAL",
            "redis.call('del','x') return redis.call('set','x','1')",
            "+OK",
        ),
        (
            "EVAL",
            "return redis.call('set','x')",
            "-ERR Wrong number of args calling command from script script: on @user_script:1.",
        ),
        ("EVAL_RO", "return redis.call('get','k')", "$1 v"),
        ("EVAL_RO", "return redis.call('set','k',1)", &called),
        ("EVAL", "#!lua\nreturn redis.call('get','k')", OOM),
        ("EVAL", "#!lua\nreturn redis.call(", OOM),
        (
            "EVAL",
            "#!lua flags=bad\nreturn 1",
            "-ERR Unexpected flag in script shebang: bad",
        ),
        (
            "EVAL",
            "#!lua flags=allow-oom\nreturn redis.call('set','x',1)",
            "+OK",
        ),
        (
            "EVAL",
            "#!lua flags=no-writes\nreturn redis.call('get','k')",
            "$1 v",
        ),
        (
            "EVAL",
            "#!lua flags=no-writes\nreturn redis.call('set','k',1)",
            &called_2,
        ),
        (
            "EVAL",
            "#!lua flags=no-writes,allow-oom\nreturn redis.call('set','k',1)",
            read_only,
        ),
        ("EVAL_RO", "#!lua\nreturn redis.call('get','k')", OOM),
        (
            "EVAL_RO",
            "#!lua flags=allow-oom\nreturn 1",
            "-ERR Can not execute a script with write flag using *_ro command.",
        ),
        (
            "EVAL_RO",
            "#!lua flags=no-writes\nreturn redis.call('get','k')",
            "$1 v",
        ),
    ];
    for (name, source, reply) in cases {
        assert_eq!(eval(&mut test, name, source), *reply, "{name} {source}");
    }
    // Known by its SHA1 only.
    let loaded = test.args(&[b"SCRIPT", b"LOAD", b"#!lua\nreturn 1"]).text();
    let sha = loaded.strip_prefix("$40 ").unwrap().to_uppercase();
    assert_eq!(eval(&mut test, "EVALSHA", &sha), OOM);
    set(&mut test, "maxmemory", "0");
    assert_eq!(eval(&mut test, "EVALSHA", &sha), ":1");
}

const LIBRARY: &str = "#!lua name=lib
local function run(keys, args) return redis.call(unpack(args)) end
redis.register_function('f', run)
redis.register_function{function_name='fo', callback=run, flags={'allow-oom'}}
redis.register_function{function_name='fn', callback=run, flags={'no-writes'}}";

#[test]
fn functions_are_judged_by_their_flags() {
    let mut test = out_of_memory("noeviction", &["SET k v"]);
    set(&mut test, "maxmemory", "0");
    test.args(&[b"FUNCTION", b"LOAD", LIBRARY.as_bytes()])
        .is("$3 lib");
    set(&mut test, "maxmemory", "1");
    let called = format!("{OOM} script: on @user_function:2.");
    for (line, reply) in [
        ("FCALL f 0 GET k", OOM),
        ("FCALL_RO f 0 GET k", OOM),
        ("FCALL fo 0 SET x 1", "+OK"),
        ("FCALL fn 0 GET k", "$1 v"),
        ("FCALL fn 0 SET x 1", &called),
        ("FCALL_RO fn 0 GET k", "$1 v"),
        ("FCALL nosuch 0", "-ERR Function not found"),
        (
            "FCALL_RO fo 0 GET k",
            "-ERR Can not execute a script with write flag using *_ro command.",
        ),
    ] {
        test.run(line).is(reply);
    }
}

#[test]
fn transactions_are_refused_when_queued_or_when_run() {
    let refused = format!(
        "-EXECABORT Transaction discarded because of: {}",
        OOM.trim_start_matches('-')
    );
    let mut test = out_of_memory("noeviction", &[]);
    test.run("MULTI").is("+OK");
    test.run("SET a b").is(OOM);
    test.run("GET a").is("+QUEUED");
    test.run("EXEC")
        .is("-EXECABORT Transaction discarded because of previous errors.");
    test.run("MULTI").is("+OK");
    test.run("EVAL '#!lua\\nreturn 1' 0");
    test.run("DISCARD").is("+OK");
    let mut queue = |lines: &[&str]| {
        set(&mut test, "maxmemory", "0");
        test.run("MULTI").is("+OK");
        for line in lines {
            test.run(line).is("+QUEUED");
        }
        // By another client, or it would be queued.
        set(&mut test.client(), "maxmemory", "1");
        test.run("EXEC").text()
    };
    assert_eq!(queue(&["SET a b", "GET a"]), refused);
    assert_eq!(queue(&["DEL a", "GET a"]), "*2 :0 $-1");
    assert_eq!(queue(&["EVAL \"#!lua\\nreturn 1\" 0"]), refused);
    let legacy = [
        "EVAL \"return redis.call('set','x',1)\" 0",
        "EVAL \"redis.call('del','x') return redis.call('set','x',1)\" 0",
    ];
    let replies = format!("*2 {OOM} script: on @user_script:1. +OK");
    assert_eq!(queue(&legacy), replies);
}

/// What was not known when it was queued.
#[test]
fn a_script_that_appears_later_is_judged_when_it_runs() {
    let mut test = Test::new();
    test.run("MULTI").is("+OK");
    test.run("FCALL f 0 GET x").is("+QUEUED");
    test.run("FCALL_RO f 0 GET x").is("+QUEUED");
    let mut other = test.client();
    other
        .args(&[b"FUNCTION", b"LOAD", LIBRARY.as_bytes()])
        .is("$3 lib");
    set(&mut other, "maxmemory", "1");
    test.run("EXEC").is(
        "*2 -OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory' \
         -ERR Can not execute a script with write flag using *_ro command.",
    );
}

#[test]
fn who_is_served_later_is_refused_then() {
    fn blocked(test: &Test, line: &str) -> (Test, std::sync::Arc<Waiter>) {
        let mut client = test.client();
        let waiter = client.blocks(line);
        (client, waiter)
    }
    let mut test = Test::new();
    test.run("RPUSH src a b c").is(":3");
    let mut waiting: Vec<_> = ["BLMOVE q d LEFT LEFT 0", "BRPOPLPUSH q d 0", "BLPOP q 0"]
        .into_iter()
        .map(|line| blocked(&test, line))
        .collect();
    set(&mut test, "maxmemory", "1");
    test.run("RENAME src q").is("+OK");
    for ((client, waiter), reply) in waiting.iter_mut().zip([OOM, OOM, "*2 $1 q $1 a"]) {
        let got = client.waited(waiter).map(|reply| reply.text());
        assert_eq!(got.as_deref(), Some(reply));
    }
    test.run("LRANGE q 0 -1").is("*2 $1 b $1 c");
    let text = test.run("INFO commandstats").text();
    for (name, figures) in [("blmove", "calls=0"), ("blpop", "calls=1")] {
        assert!(
            text.contains(&format!("cmdstat_{name}:{figures},")),
            "{text}"
        );
    }
    assert!(text.contains("cmdstat_brpoplpush:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1"));
}

#[test]
fn keys_go_before_any_command_if_the_policy_lets_them() {
    let before = ["SET k v", "SET v v EX 100"];
    for (policy, left) in [
        ("noeviction", ":2"),
        ("volatile-lru", ":1"),
        ("volatile-lfu", ":1"),
        ("volatile-lrm", ":1"),
        ("volatile-random", ":1"),
        ("volatile-ttl", ":1"),
        ("allkeys-lru", ":0"),
        ("allkeys-lfu", ":0"),
        ("allkeys-lrm", ":0"),
        ("allkeys-random", ":0"),
    ] {
        let mut test = out_of_memory(policy, &before);
        test.run("DBSIZE").is(left);
        test.run("SET a b").is(OOM);
    }
    let mut test = out_of_memory("volatile-lru", &before);
    test.run("EXPIRE k 100").is(":1");
    test.run("TTL k").is(":-2");
    let stats = test.run("INFO stats").text();
    assert!(stats.contains("evicted_keys:2 "), "{stats}");
}

#[test]
fn nothing_goes_and_nobody_is_refused_in_certain_times() {
    // Clients are paused: it comes later.
    let mut test = out_of_memory("allkeys-lru", &[]);
    set(&mut test, "maxmemory", "0");
    test.run("SET k v").is("+OK");
    test.run("CLIENT PAUSE 100 WRITE").is("+OK");
    set(&mut test, "maxmemory", "1");
    test.run("DBSIZE").is(":1");
    let (reply, flow) = test.session.call(&[b"SET", b"a", b"b"]);
    assert_eq!(
        (reply, flow),
        (
            Vec::new(),
            crate::exec::Flow::Wait(crate::exec::Wait::Pause)
        )
    );
    test.clock.advance(100);
    test.run("SET a b").is(OOM);
    test.run("DBSIZE").is(":0");
    // The dataset is being loaded.
    set(&mut test, "maxmemory", "0");
    test.run("SET k v").is("+OK");
    let server = test.session.server().clone();
    server.persist.mark(Marks::LOADING, true);
    set(&mut test, "maxmemory", "1");
    assert_eq!(Evictor::default().slice(&server), Slice::Done);
    server.persist.mark(Marks::LOADING, false);
    assert_eq!(evicted_keys(&server), 1);
    // An import: nothing may go, and there is no room.
    set(&mut test, "maxmemory", "0");
    set(&mut test, "import-mode", "yes");
    test.run("SET k v").is("+OK");
    set(&mut test, "maxmemory", "1");
    test.run("SET a b").is(OOM);
    test.run("EXISTS k").is(":1");
}

#[test]
fn scripts_that_are_held_back_by_a_pause() {
    let mut test = Test::new();
    test.run("CLIENT PAUSE 100 WRITE").is("+OK");
    let mut waits = |source: &[u8]| {
        let (_, flow) = test.session.call(&[b"EVAL", source, b"0"]);
        flow == crate::exec::Flow::Wait(crate::exec::Wait::Pause)
    };
    assert!(waits(b"return 1"));
    assert!(waits(b"#!lua\nreturn 1"));
    assert!(!waits(b"#!lua flags=no-writes\nreturn 1"));
}

#[test]
fn the_background_frees_what_nobody_asks_for() {
    let (mut test, server) = evicting();
    for number in 0..1000 {
        test.run(&format!("SET k:{number} v")).is("+OK");
    }
    let (evictor, keyspace) = (Evictor::default(), &server.keyspace);
    let evicted = || evicted_keys(&server);
    assert_eq!(evictor.slice(&server), Slice::Done, "no limit");
    // By way of the settings: CONFIG SET would have the next command evict.
    let eviction = &keyspace.eviction;
    eviction.set(1, eviction.policy(), 5);
    eviction.pressure.set_tenacity(0);
    {
        let _gate = keyspace.gate.try_close().unwrap();
        assert_eq!(evictor.slice(&server), Slice::Barred);
    }
    let mut slices = 0;
    while evictor.slice(&server) == Slice::More {
        slices += 1;
    }
    assert_eq!(evicted(), 1000);
    assert!(slices >= 1000 / 16, "{slices}: a few keys at a time");
    assert!(eviction.pressure.exceeded_us(server.clock.unix_us() + 7).1 >= 7);
    eviction.set(u64::MAX, eviction.policy(), 5);
    assert_eq!(evictor.slice(&server), Slice::Done);
    assert_eq!(eviction.pressure.exceeded_us(u64::MAX).1, 0);
}

#[test]
fn a_command_has_no_more_time_than_it_is_given() {
    let (mut test, server) = evicting();
    for number in 0..1000 {
        test.run(&format!("SET k:{number} v")).is("+OK");
    }
    let eviction = &server.keyspace.eviction;
    eviction.pressure.set_tenacity(0);
    eviction.set(1, eviction.policy(), 5);
    let evicted = || evicted_keys(&server);
    // There is something left to go, so it is not refused.
    test.run("SET a b").is("+OK");
    let first = evicted();
    assert!((1..=32).contains(&first), "{first}");
    test.run("SET a b").is("+OK");
    assert!((first + 1..=first + 32).contains(&evicted()));
    eviction.pressure.set_tenacity(100);
    test.clock.advance(1);
    test.run("SET a b").is(OOM);
    test.run("DBSIZE").is(":0");
}

#[test]
fn what_is_known_is_renewed_in_time() {
    let mut test = Test::new();
    let server = test.session.server().clone();
    let memory = Memory::default();
    let far = u64::MAX;
    server.keyspace.eviction.set(far, Policy::NoEviction, 5);
    let look = |now_ms| memory.is_out(&server, Flags::DENYOOM, now_ms);
    assert!(!look(START_MS));
    assert_eq!(memory.summed_at_ms.get(), START_MS);
    // What this thread knows holds for a millisecond...
    memory.used_bytes.set(7);
    assert!(!look(START_MS));
    assert_eq!(memory.used_bytes.get(), 7);
    assert!(!look(START_MS + 1));
    assert!(memory.used_bytes.get() > 7);
    // ... and for another limit it does not.
    server.keyspace.eviction.set(1, Policy::NoEviction, 5);
    assert!(look(START_MS + 1));
    assert!(memory.was_out(&server) && memory.is_still_out(&server));
    server.keyspace.eviction.set(0, Policy::NoEviction, 5);
    assert!(!look(START_MS + 1));
    assert!(!memory.was_out(&server));
    test.run("PING").is("+PONG");
}

#[test]
fn little_may_be_taken_near_to_the_limit() {
    let test = Test::new();
    let server = test.session.server();
    let memory = Memory::default();
    for (room, allowance) in [(1 << 40, 1u64 << 36), (1 << 30, 1 << 26)] {
        let limit_bytes = alloc::allocated_bytes() + room;
        memory.sum(server, limit_bytes, START_MS);
        let got = memory.own_bytes_max.get() - memory.own_bytes.get();
        let got = u64::try_from(got).unwrap();
        // Others allocate meanwhile.
        assert!(got.abs_diff(allowance) <= allowance / 2, "{room}: {got}");
    }
    assert!(memory.sum(server, 1, START_MS) > 1);
    assert_eq!(memory.own_bytes_max.get(), i64::MIN);
}

/// A key that a snapshot still needs frees nothing when it goes, but counts no more: who does not learn of it evicts
/// for as long as he has time.
#[test]
fn what_a_snapshot_keeps_is_known_at_once() {
    let test = Test::new();
    let server = test.session.server().clone();
    let memory = Memory::default();
    let limit_bytes = u64::MAX;
    memory.sum(&server, limit_bytes, START_MS);
    let known = || {
        memory.used_bytes.set(7);
        memory.own_bytes.set(alloc::thread_net_bytes());
        memory.used_bytes(&server, limit_bytes, START_MS)
    };
    assert!(known() < SLACK_BYTES);
    let (walk, _, ()) = server.keyspace.begin_snapshot(|| ()).unwrap();
    assert!(known() > SLACK_BYTES);
    walk.abandon();
    assert!(known() < SLACK_BYTES);
}

/// What a snapshot still needs counts for nobody: it would not become less if more keys went.
#[test]
fn what_a_snapshot_keeps_does_not_count() {
    let (mut test, server) = evicting();
    let keyspace = &server.keyspace;
    let kept = || keyspace.snapshot.kept_bytes();
    let value = "v".repeat(1000);
    for is_flushed in [false, true] {
        test.run(&format!("SET text {value}")).is("+OK");
        for field in 0..100 {
            test.run(&format!("HSET hash {field} {value}")).is(":1");
        }
        assert_eq!(kept(), 0);
        let (walk, _, ()) = keyspace.begin_snapshot(|| ()).unwrap();
        match is_flushed {
            true => test.run("FLUSHALL").is("+OK"),
            false => {
                let mut sweep = Sweep::default();
                while keyspace.evict_some(&mut sweep, START_MS, 1) != Evicted::Nothing {}
            }
        }
        test.run("DBSIZE").is(":0");
        assert!((100_000..150_000).contains(&kept()), "{}", kept());
        assert!(server.not_counted_bytes() >= kept());
        walk.abandon();
        assert_eq!(kept(), 0);
    }
}

/// How a key leaves that a command does not delete.
fn leave(test: &mut Test, how: &str) {
    let server = test.session.server().clone();
    let keyspace = &server.keyspace;
    match how {
        "evict" => {
            let mut sweep = Sweep::default();
            while keyspace.evict_some(&mut sweep, START_MS, 1) != Evicted::Nothing {}
        }
        "expire" => {
            keyspace.expire_due(START_MS + 100_000);
        }
        line => {
            let reply = test.run(line).text();
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while keyspace.lazyfree.pending() > 0 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}

/// A large string that was put aside is not copied: it is kept for the snapshot alone only when no key has it any more.
#[test]
fn what_a_snapshot_shares_with_a_key_counts() {
    let (mut test, server) = evicting();
    let keyspace = &server.keyspace;
    let kept = || keyspace.snapshot.kept_bytes() as usize;
    for len in [20_000, 1 << 20] {
        let value = "v".repeat(len);
        for (how, values) in [
            ("PERSIST big", 0),
            ("RENAME big other", 0),
            ("COPY big other", 0),
            ("DEL big", 1),
            ("SET big v", 1),
            ("APPEND big v", 1),
            ("SETRANGE big 7 v", 1),
            (
                "EVAL \"redis.call('append','big','v') return redis.call('del','big')\" 1 big",
                1,
            ),
            ("HSET hash c v", 0),
            ("HSET hash a v", 1),
            ("HDEL hash a", 1),
            ("UNLINK big hash", 3),
            ("evict", 3),
            ("expire", 3),
            ("FLUSHALL", 3),
        ] {
            test.run(&format!("SET big {value}")).is("+OK");
            test.run(&format!("HSET hash a {value} b {value}")).is(":2");
            let (walk, _, ()) = keyspace.begin_snapshot(|| ()).unwrap();
            for key in ["big", "hash"] {
                test.run(&format!("PEXPIRE {key} 100000")).is(":1");
            }
            assert!(kept() < 8192, "{}", kept());
            leave(&mut test, how);
            // A flush leaves tables, too.
            let tables = usize::from(how == "FLUSHALL") * 50_000;
            let expected = values * len..values * len + 8192 + tables;
            assert!(expected.contains(&kept()), "{how}: {}", kept());
            walk.abandon();
            assert_eq!(kept(), 0, "{how}");
            test.run("FLUSHALL").is("+OK");
        }
    }
}

/// A flush takes from nobody what has gone to another database.
#[test]
fn what_was_moved_stays_when_its_database_is_flushed() {
    let mut test = Test::new();
    let server = test.session.server().clone();
    let kept = || server.keyspace.snapshot.kept_bytes();
    let value = "v".repeat(1 << 20);
    for (how, is_left) in [("MOVE big 1", true), ("RENAME big new", false)] {
        test.run(&format!("SET big {value}")).is("+OK");
        let (walk, _, ()) = server.keyspace.begin_snapshot(|| ()).unwrap();
        test.run("PEXPIRE big 100000").is(":1");
        assert!(!test.run(how).text().starts_with('-'));
        leave(&mut test, "FLUSHDB");
        // The flush leaves tables.
        assert!(kept() < 60_000 || !is_left, "{how}: {}", kept());
        leave(&mut test, "FLUSHALL");
        walk.abandon();
        assert_eq!(kept(), 0, "{how}");
    }
}

/// What was counted because it goes with a flush, and has not gone when the snapshot is done with it, is about to
/// be freed.
#[test]
fn what_a_flush_has_not_freed_yet_does_not_count() {
    struct Slow(mpsc::Receiver<()>);
    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }
    let mut test = Test::new();
    let server = test.session.server().clone();
    let keyspace = &server.keyspace;
    let kept = || keyspace.snapshot.kept_bytes();
    let given = || keyspace.lazyfree.given_bytes();
    let (go, go_on) = mpsc::channel();
    keyspace.lazyfree.free_other(0, Box::new(Slow(go_on)));
    test.run(&format!("SET big {}", "v".repeat(1 << 20)))
        .is("+OK");
    let (walk, _, ()) = keyspace.begin_snapshot(|| ()).unwrap();
    test.run("PEXPIRE big 100000").is(":1");
    test.run("FLUSHALL ASYNC").is("+OK");
    assert!(kept() > 1 << 20, "{}", kept());
    let before = given();
    walk.abandon();
    assert_eq!(kept(), 0);
    assert!(given() - before >= 1 << 20, "{}", given() - before);
    drop(go);
}

/// Who else has a value may have it for longer than the key.
#[test]
fn what_others_share_with_a_snapshot_counts() {
    let mut test = Test::new();
    let server = test.session.server().clone();
    let keyspace = &server.keyspace;
    let kept = || keyspace.snapshot.kept_bytes();
    let value = "v".repeat(1 << 20);
    test.run(&format!("SET big {value}")).is("+OK");
    test.run("COPY big twin").is(":1");
    let (mut walk, _, ()) = keyspace.begin_snapshot(|| ()).unwrap();
    test.run("COPY big new").is(":1");
    for key in ["big", "twin", "new"] {
        assert!(kept() < 8192, "{}", kept());
        test.run(&format!("DEL {key}")).is(":1");
    }
    assert!((1 << 20..3 << 19).contains(&kept()), "{}", kept());
    while walk.slice(64, &mut |_, _, _| {}) == Progress::More {}
    drop(walk);
    assert_eq!(kept(), 0);
    // A reply, of which nobody tells when it is gone.
    test.run(&format!("SET big {value}")).is("+OK");
    let (mut walk, _, ()) = keyspace.begin_snapshot(|| ()).unwrap();
    let reply = {
        let shard = keyspace.lock_one(keyspace.hash(b"big"));
        let mut access = Access::new(keyspace, shard, DbIndex(0), START_MS, false);
        match access.find(b"big", Lookup::Silent).unwrap().value() {
            ValueRef::Shared(shared) => shared.clone(),
            other => panic!("{other:?}"),
        }
    };
    test.run("DEL big").is(":1");
    assert!(kept() < 8192, "{}", kept());
    drop(reply);
    let mut keys = 0;
    let mut see = |_, _: EntryRef<'_>, _| {
        assert!(kept() > 1 << 20, "{}", kept());
        keys += 1;
    };
    while walk.slice(64, &mut see) == Progress::More {}
    drop(walk);
    assert_eq!((keys, kept()), (1, 0));
}

/// A large collection that leaves while it is being read, or waits for it, is left to the snapshot by whoever drops it.
#[test]
fn what_leaves_while_a_snapshot_reads_it_does_not_count() {
    let (mut test, server) = evicting();
    let keyspace = &server.keyspace;
    let kept = || keyspace.snapshot.kept_bytes();
    let value = "v".repeat(1000);
    for how in [
        "UNLINK hash",
        "SET hash v",
        "RENAME other hash",
        "evict",
        "expire",
        "FLUSHALL",
    ] {
        for is_met in [false, true] {
            test.run("SET other v").is("+OK");
            for field in 0..100 {
                test.run(&format!("HSET hash {field} {value}")).is(":1");
            }
            test.run("PEXPIRE hash 100000").is(":1");
            let (mut walk, _, ()) = keyspace.begin_snapshot(|| ()).unwrap();
            match is_met {
                true => {
                    while walk.next_large().is_none() {
                        walk.slice(64, &mut |_, _, _| {});
                    }
                }
                false => test.run("PEXPIRE hash 100000").is(":1"),
            }
            test.run("RENAME hash hush").is("+OK");
            test.run("RENAME hush hash").is("+OK");
            assert!(kept() < 8192, "{}", kept());
            leave(&mut test, how);
            assert!((98_000..150_000).contains(&kept()), "{how}: {}", kept());
            walk.abandon();
            assert_eq!(kept(), 0, "{how}");
            test.run("FLUSHALL").is("+OK");
        }
    }
}

/// Writers of large values, under snapshots: see [`what_is_kept_comes_and_goes`].
fn write_large(mut test: Test, mut rng: Rng) {
    let value = "v".repeat(20_000);
    let server = test.session.server().clone();
    let mut sweep = Sweep::default();
    for _ in 0..400 {
        let mut key = || ["a", "b", "c", "d", "e", "f"][rng.index(6)];
        let (from, to) = (key(), key());
        let line = match rng.below(17) {
            0..4 => format!("SET {from} {value}"),
            4..6 => format!("HSET h{from} {to} {value}"),
            6 => format!("HDEL h{from} {to}"),
            7 => format!("UNLINK {from} h{to}"),
            8 => format!("COPY {from} {to} DB 1 REPLACE"),
            9 => format!("RENAME {from} {to}"),
            10 => format!("MOVE {from} 1"),
            11 => format!("APPEND {from} v"),
            12 => format!("PEXPIRE {from} 100000"),
            13 => format!("GETEX h{from} PERSIST"),
            14 => "FLUSHDB".to_owned(),
            15 => "SWAPDB 0 1".to_owned(),
            _ => {
                server.keyspace.evict_some(&mut sweep, START_MS, 1);
                continue;
            }
        };
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        while let (_, Flow::Wait(Wait::Gate)) = test.session.call(&words) {
            std::thread::yield_now();
        }
    }
}

/// Whoever gives up a value first, what counted as kept is forgotten once.
#[test]
fn what_is_kept_comes_and_goes() {
    const WRITERS: u64 = 3;
    let (test, server) = evicting();
    let keyspace = &server.keyspace;
    let kept = || keyspace.snapshot.kept_bytes();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|seed| {
                let connect = test.connector();
                scope.spawn(move || write_large(connect(), Rng::from_seed(seed)))
            })
            .collect();
        let mut rng = Rng::from_seed(17);
        while writers.iter().any(|writer| !writer.is_finished()) {
            let (mut walk, _, ()) = keyspace.begin_snapshot(|| ()).unwrap();
            let mut see = |_, _: EntryRef<'_>, _| {
                // Below nothing is a great deal.
                assert!(kept() < 1 << 40, "{}", kept());
            };
            for _ in 0..rng.index(200) {
                walk.slice(1 + rng.index(3), &mut see);
            }
            walk.abandon();
            assert_eq!(kept(), 0);
        }
    });
}
