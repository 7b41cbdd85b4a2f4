//! Blocked clients in the process, with a fake clock: who is served, in which order, with what.

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use crate::client::Signal;
use crate::client::pause::{PauseBy, PauseMode};
use crate::commands::tests::{START_MS, Test};
use crate::db::{Access, DbIndex, Keyspace, Lookup, Waiter};

mod streams;

/// A client that waits.
struct Blocked {
    test: Test,
    waiter: Arc<Waiter>,
}

impl Blocked {
    #[track_caller]
    fn new(server: &Test, line: &str) -> Blocked {
        let mut test = server.client();
        let waiter = test.blocks(line);
        Blocked { test, waiter }
    }

    /// The reply that has come, if any.
    fn reply(&mut self) -> Option<String> {
        self.test.waited(&self.waiter).map(|reply| reply.text())
    }

    #[track_caller]
    fn got(&mut self, reply: &str) {
        assert_eq!(self.reply().as_deref(), Some(reply));
    }

    #[track_caller]
    fn waits(&mut self) {
        assert_eq!(self.reply(), None);
    }

    fn id(&self) -> u64 {
        self.test.session.client().shared.id
    }
}

#[test]
fn first_come_first_served() {
    let mut t = Test::new();
    let mut waiting: Vec<Blocked> = (0..5)
        .map(|_| Blocked::new(&t, "BLPOP nothing k 0"))
        .collect();
    t.run("RPUSH k 1 2").is(":2");
    waiting[0].got("*2 $1 k $1 1");
    waiting[1].got("*2 $1 k $1 2");
    waiting[2].waits();
    t.run("EXISTS k").is(":0");
    t.run("RPUSH k 3 4 5 6").is(":4");
    for (at, element) in [(2, 3), (3, 4), (4, 5)] {
        waiting[at].got(&format!("*2 $1 k $1 {element}"));
    }
    t.run("LRANGE k 0 -1").is("*1 $1 6");
    t.run("INFO clients").has("blocked_clients:0");
}

/// Those who wait for several keys do not take the place of those who wait for one of them.
#[test]
fn whom_another_key_has_served_keeps_nobody_waiting() {
    let mut t = Test::new();
    let mut both = Blocked::new(&t, "BLPOP a b 0");
    let mut one = Blocked::new(&t, "BLPOP b 0");
    t.run("MULTI").is("+OK");
    let long = "y".repeat(9000);
    t.run("RPUSH a x").is("+QUEUED");
    t.run(&format!("RPUSH b {long}")).is("+QUEUED");
    t.run("EXEC").is("*2 :1 :1");
    both.got("*2 $1 a $1 x");
    one.got(&format!("*2 $1 b $9000 {long}"));

    let mut both: Vec<Blocked> = (0..5)
        .map(|_| Blocked::new(&t, "BLPOP high low 0"))
        .collect();
    let mut one = Blocked::new(&t, "BLPOP low 0");
    t.run("MULTI").is("+OK");
    t.run("RPUSH high 1 2 3 4 5").is("+QUEUED");
    t.run("RPUSH low x").is("+QUEUED");
    t.run("EXEC").is("*2 :5 :1");
    for (blocked, element) in both.iter_mut().zip(1..) {
        blocked.got(&format!("*2 $4 high $1 {element}"));
    }
    one.got("*2 $3 low $1 x");
}

/// A stream that EXEC finds expired ends the wait of its group, though the transaction fails for it.
#[test]
fn what_a_failed_exec_finds_expired_ends_a_wait() {
    let mut t = Test::new();
    t.run("XGROUP CREATE s g $ MKSTREAM").is("+OK");
    t.run("PEXPIRE s 10").is(":1");
    let mut reader = Blocked::new(&t, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    let _other = Blocked::new(&t, "BLPOP l 0");
    t.run("INFO clients").has("total_blocking_keys:2");
    t.run("INFO clients").has("total_blocking_keys_on_nokey:1");
    t.run("WATCH s").is("+OK");
    t.run("MULTI").is("+OK");
    t.run("PING").is("+QUEUED");
    t.clock.advance(20);
    t.run("EXEC").is("*-1");
    let reply = reader.reply().expect("its wait has ended");
    assert!(reply.starts_with("-NOGROUP "), "{reply}");
}

#[test]
fn a_wait_is_seen_and_leaves_nothing_behind() {
    let mut t = Test::new();
    let mut blocked = Blocked::new(&t, "BRPOP a b 1.5");
    t.run("INFO clients").has("blocked_clients:1");
    t.run("INFO clients").has("clients_in_timeout_table:1");
    t.run("INFO clients").has("total_blocking_keys:2");
    t.run(&format!("CLIENT LIST ID {}", blocked.id()))
        .has("flags=b");
    t.clock.advance(1_499);
    blocked.waits();
    t.clock.advance(1);
    blocked.got("*-1");
    t.run("INFO clients").has("blocked_clients:0");
    t.run("INFO clients").has("total_blocking_keys:0");
    t.run("RPUSH a x").is(":1");
    t.run("INFO commandstats").has("cmdstat_brpop:calls=1");
    blocked.test.run("BRPOP a 0").is("*2 $1 a $1 x");
    t.run("INFO commandstats").has("cmdstat_brpop:calls=2");
}

#[test]
fn whoever_is_told_to_stop_stops() {
    let mut t = Test::new();
    let mut first = Blocked::new(&t, "BLPOP k 0");
    let mut second = Blocked::new(&t, "BLMOVE k l LEFT RIGHT 0");
    let mut third = Blocked::new(&t, "BLPOP k 0");
    t.run(&format!("CLIENT UNBLOCK {}", first.id())).is(":1");
    t.run(&format!("CLIENT UNBLOCK {} ERROR", second.id()))
        .is(":1");
    t.run(&format!("CLIENT UNBLOCK {}", first.id())).is(":0");
    t.run("RPUSH k a").is(":1");
    first.got("*-1");
    second.got("-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    third.got("*2 $1 k $1 a");
    t.run(&format!("CLIENT UNBLOCK {}", third.id())).is(":0");
    t.run("CLIENT UNBLOCK 1234567").is(":0");
}

#[test]
fn an_element_is_not_taken_for_a_client_that_has_gone() {
    let mut t = Test::new();
    let mut gone = Blocked::new(&t, "BLPOP k 0");
    let mut next = Blocked::new(&t, "BLPOP k 0");
    gone.test.session.give_up_wait(&gone.waiter);
    t.run("RPUSH k a").is(":1");
    gone.waits();
    next.got("*2 $1 k $1 a");
    // One whose connection has ended without a word is passed over as well.
    let gone = Blocked::new(&t, "BLPOP k 0");
    let mut next = Blocked::new(&t, "BLPOP k 0");
    let waiter = gone.waiter.clone();
    drop(gone);
    t.run("RPUSH k b").is(":1");
    assert!(waiter.take_outcome().is_none());
    next.got("*2 $1 k $1 b");
}

#[test]
fn chains_are_served_to_their_end() {
    let mut t = Test::new();
    let mut last = Blocked::new(&t, "BLPOP c 0");
    let mut second = Blocked::new(&t, "BLMOVE b c LEFT LEFT 0");
    let mut first = Blocked::new(&t, "BRPOPLPUSH a b 0");
    t.run("RPUSH a x").is(":1");
    first.got("$1 x");
    second.got("$1 x");
    last.got("*2 $1 c $1 x");
    t.run("DBSIZE").is(":0");
    // Longer than one hold of the locks serves.
    let mut chain: Vec<Blocked> = (0..100)
        .map(|n| Blocked::new(&t, &format!("BLMOVE k{n} k{} LEFT LEFT 0", n + 1)))
        .collect();
    t.run("RPUSH k0 x").is(":1");
    chain.iter_mut().for_each(|blocked| blocked.got("$1 x"));
    t.run("LRANGE k100 0 -1").is("*1 $1 x");
}

#[test]
fn a_list_that_moves_onto_itself_serves_everybody() {
    let mut t = Test::new();
    let mut waiting: Vec<Blocked> = (0..3)
        .map(|_| Blocked::new(&t, "BLMOVE k k LEFT RIGHT 0"))
        .collect();
    t.run("RPUSH k a b").is(":2");
    for (blocked, element) in waiting.iter_mut().zip(["a", "b", "a"]) {
        blocked.got(&format!("$1 {element}"));
    }
    t.run("LRANGE k 0 -1").is("*2 $1 b $1 a");
}

#[test]
fn a_key_of_another_type_ends_no_wait() {
    let mut t = Test::new();
    let mut blocked = Blocked::new(&t, "BLPOP k 0");
    t.run("SET k v").is("+OK");
    t.run("SADD s m").is(":1");
    t.run("RENAME s k").is("+OK");
    blocked.waits();
    t.run("DEL k").is(":1");
    t.run("RPUSH other a").is(":1");
    t.run("SET k v").is("+OK");
    t.run("RENAME other k").is("+OK");
    blocked.got("*2 $1 k $1 a");
    // A destination of the wrong type is an error that the waiter gets, and nothing is lost.
    let mut blocked = Blocked::new(&t, "BLMOVE k d LEFT LEFT 0");
    t.run("SET d v").is("+OK");
    t.run("RPUSH k b").is(":1");
    blocked.got("-WRONGTYPE Operation against a key holding the wrong kind of value");
    t.run("LRANGE k 0 -1").is("*1 $1 b");
}

#[test]
fn whatever_creates_a_key_serves_its_waiters() {
    let mut t = Test::new();
    for (setup, create) in [
        ("RPUSH src a", "COPY src k"),
        ("RPUSH src a", "RENAME src k"),
        ("RPUSH src a", "LMOVE src k LEFT LEFT"),
        ("SELECT 0", "LPUSH k a"),
        ("SELECT 0", "LINSERT k BEFORE x y"),
    ] {
        t.run("FLUSHALL").is("+OK");
        let mut blocked = Blocked::new(&t, "BLPOP k 0");
        t.run(setup);
        t.run(create);
        match create.contains("LINSERT") {
            true => blocked.waits(),
            false => blocked.got("*2 $1 k $1 a"),
        }
    }
    t.run("FLUSHALL").is("+OK");
    let mut moved = Blocked::new(&t, "BLPOP k 0");
    let mut other = t.client();
    other.run("SELECT 1").is("+OK");
    other.run("RPUSH k a b").is(":2");
    moved.waits();
    other.run("MOVE k 0").is(":1");
    moved.got("*2 $1 k $1 a");
    t.run("DEL k").is(":1");
    let mut swapped = Blocked::new(&t, "BLPOP k 0");
    other.run("RPUSH k c").is(":1");
    t.run("SWAPDB 0 1").is("+OK");
    swapped.got("*2 $1 k $1 c");
}

#[test]
fn replies_are_in_the_protocol_of_who_waits() {
    let mut t = Test::new();
    let mut blocked = {
        let mut test = t.client();
        test.run("HELLO 3");
        let waiter = test.blocks("BLPOP k 1");
        Blocked { test, waiter }
    };
    t.clock.advance(1_000);
    blocked.got("_");
    let mut silent = {
        let mut test = t.client();
        test.run("CLIENT REPLY OFF");
        let waiter = test.blocks("BLPOP k 1");
        Blocked { test, waiter }
    };
    t.run("RPUSH k a").is(":1");
    silent.got("");
    let mut selected = {
        let mut test = t.client();
        test.run("SELECT 3").is("+OK");
        let waiter = test.blocks("BLPOP k 0");
        Blocked { test, waiter }
    };
    t.run("RPUSH k a").is(":1");
    selected.waits();
    assert_eq!(selected.waiter.waiting.db, DbIndex(3));
}

/// Two keys in different shards. Shards are locked in ascending order, also by a test's threads: the
/// first one is to be locked first.
fn keys_of_two_shards(keyspace: &Keyspace) -> (String, String) {
    let shard = |key: &String| keyspace.shard_of(keyspace.hash(key.as_bytes()));
    let mut keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    keys.sort_by_key(shard);
    let (last, first) = (keys.swap_remove(99), keys.swap_remove(0));
    assert_ne!(shard(&first), shard(&last));
    (first, last)
}

/// Returns when a writer has added his element and let go of the key.
fn wait_for_key(keyspace: &Keyspace, key: &str) {
    let is_there = || {
        let locks = keyspace.lock_one(keyspace.hash(key.as_bytes()));
        let mut access = Access::new(keyspace, locks, DbIndex(0), START_MS, false);
        access.exists(key.as_bytes(), Lookup::Silent)
    };
    while !is_there() {
        thread::yield_now();
    }
}

/// The destination's shard is somebody else's while the key becomes ready: the waiter is served
/// once it is free, by the writer, who has released its own shard by then.
#[test]
fn a_destination_that_is_held_is_waited_for_without_the_writers_locks() {
    let mut t = Test::new();
    let server = t.session.server().clone();
    let keyspace = &server.keyspace;
    let (destination, k) = &keys_of_two_shards(keyspace);
    let mut first = Blocked::new(&t, &format!("BLMOVE {k} {destination} LEFT LEFT 0"));
    let mut second = Blocked::new(&t, &format!("BLPOP {k} 0"));
    let (held, is_held) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let locks = keyspace.lock_one(keyspace.hash(destination.as_bytes()));
            held.send(()).expect("the test listens");
            wait_for_key(keyspace, k);
            drop(locks);
        });
        is_held.recv().expect("the thread holds the shard");
        t.run(&format!("RPUSH {k} a b")).is(":2");
    });
    first.got("$1 a");
    second.got(&format!("*2 ${} {k} $1 b", k.len()));
    t.run(&format!("LRANGE {destination} 0 -1")).is("*1 $1 a");
}

/// A pause begins while the destination is waited for: nothing is written behind it. As in Valkey the
/// command runs again when the pause is over, and what it needs may have changed by then.
#[test]
fn whoever_would_be_served_late_waits_for_the_end_of_a_pause() {
    let mut t = Test::new();
    let server = t.session.server().clone();
    let keyspace = &server.keyspace;
    let (destination, k) = &keys_of_two_shards(keyspace);
    for by in [PauseBy::Client, PauseBy::Shutdown] {
        let mut first = Blocked::new(&t, &format!("BLMOVE {k} {destination} LEFT LEFT 0"));
        let mut second = Blocked::new(&t, &format!("BLPOP {k} 0"));
        let (held, is_held) = mpsc::channel();
        let pause = &server.pause;
        thread::scope(|scope| {
            scope.spawn(move || {
                let locks = keyspace.lock_one(keyspace.hash(destination.as_bytes()));
                held.send(()).expect("the test listens");
                wait_for_key(keyspace, k);
                pause.start(by, PauseMode::Write, u64::MAX, START_MS);
                drop(locks);
            });
            is_held.recv().expect("the thread holds the shard");
            t.run(&format!("RPUSH {k} a b")).is(":2");
        });
        t.run(&format!("LRANGE {k} 0 -1")).is("*2 $1 a $1 b");
        t.run(&format!("EXISTS {destination}")).is(":0");
        pause.end(by);
        first.got("$1 a");
        second.got(&format!("*2 ${} {k} $1 b", k.len()));
        t.run(&format!("DEL {destination}")).is(":1");
    }
}

/// Also those whose locks are at hand; who reads waits for the end of a pause of everything.
#[test]
fn nobody_is_served_in_a_pause_that_begins_with_what_he_waits_for() {
    for (mode, reads_on) in [("WRITE", true), ("ALL", false)] {
        let mut t = Test::new();
        let mut first = Blocked::new(&t, "BLPOP k 0");
        let mut second = Blocked::new(&t, "BLPOP k 0.5");
        let mut reader = Blocked::new(&t, "XREAD BLOCK 0 STREAMS s $");
        for line in [
            "MULTI",
            "RPUSH k a b",
            "XADD s 1-1 f v",
            &format!("CLIENT PAUSE 1000 {mode}"),
        ] {
            t.run(line);
        }
        t.run("EXEC").is("*3 :2 $3 1-1 +OK");
        let read = "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v";
        if reads_on {
            reader.got(read);
        }
        // It is not blocked any more, so its time does not run, and nobody can unblock it.
        t.clock.advance(900);
        if reads_on {
            t.run(&format!("CLIENT UNBLOCK {}", first.id())).is(":0");
            t.run("LLEN k").is(":2");
        }
        t.clock.advance(100);
        first.got("*2 $1 k $1 a");
        second.got("*2 $1 k $1 b");
        if !reads_on {
            reader.got(read);
        }
        t.run("EXISTS k").is(":0");
    }
}

#[test]
fn a_killed_client_is_no_longer_waited_for() {
    let mut t = Test::new();
    let blocked = Blocked::new(&t, "BLPOP k 0");
    t.run(&format!("CLIENT KILL ID {}", blocked.id())).is(":1");
    assert!(blocked.test.session.client().shared.has(Signal::Kill));
}

/// A command that runs again looks at all of its keys, as it would have if it had come now.
#[test]
fn the_other_keys_of_a_waiter_are_looked_at_again() {
    let mut t = Test::new();
    let mut blocked = Blocked::new(&t, "BLPOP a b 0");
    t.run("SET a v").is("+OK");
    t.run("RPUSH b x").is(":1");
    blocked.got("-WRONGTYPE Operation against a key holding the wrong kind of value");
    t.run("LRANGE b 0 -1").is("*1 $1 x");
}

/// As in a transaction: what would wait finds nothing instead, in the form that Valkey gives there.
#[test]
fn a_client_that_may_not_wait_is_answered_at_once() {
    let mut t = Test::new();
    t.session.client_mut().may_block = false;
    for (line, reply) in [
        ("BLPOP a b 0", "*-1"),
        ("BRPOP a 0", "*-1"),
        ("BLMPOP 0 1 a LEFT", "*-1"),
        ("BLMOVE a b LEFT RIGHT 0", "$-1"),
        ("BRPOPLPUSH a b 0", "$-1"),
        ("BZPOPMIN a 0", "*-1"),
        ("BZPOPMAX a 0", "*-1"),
        ("BZMPOP 0 1 a MIN", "*-1"),
    ] {
        t.run(line).is(reply);
    }
    t.run("INFO clients").has("blocked_clients:0");
    t.run("RPUSH a x").is(":1");
    t.run("BLPOP a 0").is("*2 $1 a $1 x");
}
