//! Clients that wait for entries of streams.

use std::sync::mpsc;
use std::thread;

use super::{Blocked, keys_of_two_shards};
use crate::commands::tests::{START_MS, Test};
use crate::db::{Access, DbIndex, Lookup};

const NO_GROUP: &str =
    "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";

/// The reply that holds one entry with the field a and the value 1.
fn entry(id: &str) -> String {
    format!("*1 *2 $1 s *1 *2 ${} {id} *2 $1 a $1 1", id.len())
}

/// A server with a stream that has a group.
fn grouped() -> Test {
    let mut t = Test::new();
    t.run("XADD s 1-1 a 1");
    t.run("XGROUP CREATE s g $").is("+OK");
    t
}

#[test]
fn everybody_who_reads_is_served_whatever_there_was() {
    let mut t = Test::new();
    let mut list = Blocked::new(&t, "BLPOP s 0");
    t.run("XADD s 1-1 a 1");
    list.waits();
    let mut waiting: Vec<Blocked> = (0..3)
        .map(|_| Blocked::new(&t, "XREAD BLOCK 0 STREAMS s $"))
        .collect();
    let mut later = Blocked::new(&t, "XREAD BLOCK 0 COUNT 1 STREAMS s 2-0");
    t.run("XADD s 1-2 a 1").is("$3 1-2");
    waiting
        .iter_mut()
        .for_each(|client| client.got(&entry("1-2")));
    later.waits();
    t.run("XADD s 2-1 a 1");
    later.got(&entry("2-1"));
}

/// `$` is what it was when the wait began, also when nothing was added for the waiter.
#[test]
fn the_last_id_is_kept() {
    let mut t = Test::new();
    t.run("XADD s 5-0 a 1");
    let mut last = Blocked::new(&t, "XREAD BLOCK 0 STREAMS s nokey $ $");
    let mut top = Blocked::new(&t, "XREAD BLOCK 0 STREAMS nokey +");
    t.run("XADD s MAXLEN 0 6-0 a 1");
    last.waits();
    t.run("XADD s 7-0 a 1");
    last.got(&entry("7-0"));
    t.run("MULTI");
    t.run("XADD nokey 1-1 a 1");
    t.run("XADD nokey 1-2 a 1");
    t.run("EXEC");
    top.got("*1 *2 $5 nokey *1 *2 $3 1-2 *2 $1 a $1 1");
    let mut resp3 = t.client();
    resp3.run("HELLO 3");
    let waiter = resp3.blocks("XREAD BLOCK 0 STREAMS s $");
    t.run("XADD s 8-0 a 1");
    let reply = resp3.waited(&waiter).expect("it was served");
    reply.is("%1 $1 s *1 *2 $3 8-0 *2 $1 a $1 1");
}

#[test]
fn consumers_of_a_group_share_what_comes() {
    let mut t = grouped();
    let mut a = Blocked::new(&t, "XREADGROUP GROUP g a BLOCK 0 STREAMS s >");
    let mut b = Blocked::new(&t, "XREADGROUP GROUP g b BLOCK 0 STREAMS s >");
    let mut reader = Blocked::new(&t, "XREAD BLOCK 0 STREAMS s $");
    t.run("XADD s 2-0 a 1");
    a.got(&entry("2-0"));
    b.waits();
    reader.got(&entry("2-0"));
    t.run("XADD s 3-0 a 1");
    b.got(&entry("3-0"));
    t.run("XPENDING s g - + 10 a").has("$3 2-0 $1 a :0 :1");
    t.run("XPENDING s g - + 10 b").has("$3 3-0 $1 b :0 :1");
}

#[test]
fn a_consumers_wait_ends_with_its_key_or_group() {
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    for (lines, reply) in [
        (&["DEL s"][..], NO_GROUP),
        (&["XGROUP DESTROY s g"], NO_GROUP),
        (&["SET s x"], wrong_type),
        (&["RENAME s other"], NO_GROUP),
        (&["MOVE s 1"], NO_GROUP),
        (&["RPUSH l a", "RENAME l s"], wrong_type),
        (&["XADD t 1-1 a 1", "COPY t s REPLACE"], NO_GROUP),
        (&["XADD t 1-1 a 1", "RENAME t s"], NO_GROUP),
        (&["FLUSHALL"], NO_GROUP),
        (&["FLUSHDB"], NO_GROUP),
        (&["SWAPDB 0 1"], NO_GROUP),
        (&["EXPIRE s -1"], NO_GROUP),
        (&["MULTI", "DEL s", "XADD s 1-1 a 1", "EXEC"], NO_GROUP),
    ] {
        let mut t = grouped();
        let mut consumer = Blocked::new(&t, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
        let mut reader = Blocked::new(&t, "XREAD BLOCK 0 STREAMS s 9-0");
        for line in lines {
            consumer.waits();
            t.run(line);
        }
        consumer.got(reply);
        reader.waits();
        assert_eq!(t.run("CLIENT LIST").text().matches("cmd=xread ").count(), 1);
        t.run("FLUSHALL");
    }
}

/// What changes a stream or its groups, and what is put right again, ends no wait.
#[test]
fn a_consumers_wait_does_not_end_otherwise() {
    let mut t = grouped();
    let mut consumer = Blocked::new(&t, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    for line in [
        "XDEL s 1-1",
        "XTRIM s MAXLEN 0",
        "XSETID s 5-0",
        "XGROUP SETID s g 0",
        "XGROUP DELCONSUMER s g c",
        "XGROUP CREATE s h 0",
        "XGROUP DESTROY s h",
        "EXPIRE s 100",
        "XADD s MAXLEN 0 6-0 a 1",
        "DEL other",
    ] {
        t.run(line);
        consumer.waits();
    }
    t.run("MULTI");
    t.run("DEL s");
    t.run("XADD s 7-0 a 1");
    t.run("XGROUP CREATE s g 0");
    t.run("EXEC").has("+OK");
    consumer.got(&entry("7-0"));
}

/// The expiry cycle runs no commands, but ends waits.
#[test]
fn a_consumers_wait_ends_when_its_key_expires() {
    let mut t = grouped();
    let mut consumer = Blocked::new(&t, "XREADGROUP NOACK COUNT 1 GROUP g c BLOCK 0 STREAMS s >");
    let mut reader = Blocked::new(&t, "XREAD BLOCK 0 STREAMS s $");
    t.run("PEXPIRE s 10");
    t.clock.advance(10);
    let keyspace = &t.session.server().keyspace;
    keyspace.expire_due(t.clock.unix_ms());
    consumer.got(NO_GROUP);
    reader.waits();
    // So does whoever comes upon it first.
    let mut t = grouped();
    let mut consumer = Blocked::new(&t, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    t.run("PEXPIRE s 10");
    t.clock.advance(10);
    t.run("EXISTS s").is(":0");
    consumer.got(NO_GROUP);
}

/// Who looks everywhere holds no shard any more when the wait is to be ended.
#[test]
fn a_consumers_wait_ends_when_a_walk_finds_its_key_expired() {
    for walk in ["SCAN 0", "RANDOMKEY"] {
        let mut t = grouped();
        let mut reader = Blocked::new(&t, "XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
        t.run("PEXPIRE s 10");
        t.clock.advance(11);
        reader.waits();
        t.run(walk);
        reader.got(NO_GROUP);
    }
}

#[test]
fn waits_end_in_time_and_by_others() {
    let t = grouped();
    let mut timed = Blocked::new(&t, "XREAD BLOCK 20 STREAMS s $");
    let mut told = Blocked::new(&t, "XREADGROUP GROUP g c BLOCK 100 STREAMS s >");
    t.clock.advance(19);
    timed.waits();
    t.clock.advance(1);
    timed.got("*-1");
    t.client()
        .run(&format!("CLIENT UNBLOCK {} ERROR", told.id()))
        .is(":1");
    told.got("-UNBLOCKED client unblocked via CLIENT UNBLOCK");
}

/// A consumer's command needs all of its keys: it is run with locks of its own if somebody else has
/// one of them, and nobody behind it on the key comes before it.
#[test]
fn keys_that_are_held_are_waited_for() {
    let mut t = Test::new();
    let server = t.session.server().clone();
    let keyspace = &server.keyspace;
    let (other, k) = &keys_of_two_shards(keyspace);
    for key in [other, k] {
        t.run(&format!("XGROUP CREATE {key} g $ MKSTREAM"))
            .is("+OK");
    }
    let both = format!("STREAMS {k} {other} > >");
    let mut first = Blocked::new(&t, &format!("XREADGROUP GROUP g a BLOCK 0 {both}"));
    let mut second = Blocked::new(&t, &format!("XREADGROUP GROUP g b BLOCK 0 {both}"));
    let mut third = Blocked::new(&t, &format!("XREAD BLOCK 0 STREAMS {k} $"));
    let (held, is_held) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let locks = keyspace.lock_one(keyspace.hash(other.as_bytes()));
            held.send(()).expect("the test listens");
            // The writer has added its entry and let go of the key.
            let is_there = || {
                let locks = keyspace.lock_one(keyspace.hash(k.as_bytes()));
                let mut access = Access::new(keyspace, locks, DbIndex(0), START_MS, false);
                let stream = access.find(k.as_bytes(), Lookup::Silent);
                let stream = stream.and_then(|entry| crate::value::stream::stream(entry.value()));
                stream.is_some_and(|stream| !stream.entries().is_empty())
            };
            while !is_there() {
                thread::yield_now();
            }
            drop(locks);
        });
        is_held.recv().expect("the thread holds the shard");
        t.run(&format!("XADD {k} 1-1 a 1")).is("$3 1-1");
    });
    let one = format!("*1 *2 ${} {k} *1 *2 $3 1-1 *2 $1 a $1 1", k.len());
    first.got(&one);
    second.waits();
    third.got(&one);
}

/// Who waits and keeps copies of what it reads is told when the stream changes, again and again.
#[test]
fn a_reader_that_was_served_keeps_a_copy() {
    let mut t = Test::new();
    let mut client = t.client();
    client.run("HELLO 3");
    client.run("CLIENT TRACKING ON").is("+OK");
    let waiter = client.blocks("XREAD BLOCK 0 STREAMS s $");
    t.run("XADD s 1-1 a 1");
    let reply = client.waited(&waiter).expect("it was served").text();
    assert!(
        reply.ends_with("%1 $1 s *1 *2 $3 1-1 *2 $1 a $1 1"),
        "{reply}"
    );
    let told = |bytes: Vec<u8>| {
        String::from_utf8(bytes)
            .expect("text")
            .contains("invalidate")
    };
    assert!(reply.contains("invalidate") || told(client.session.take_pushes()));
    t.run("XADD s 1-2 a 1");
    assert!(told(client.session.take_pushes()), "the copy is tracked");
    t.run("XADD s 1-3 a 1");
    assert!(
        !told(client.session.take_pushes()),
        "there is no copy any more"
    );
}

#[test]
fn nobody_waits_in_a_transaction() {
    let mut t = grouped();
    t.run("MULTI");
    t.run("XREAD BLOCK 0 STREAMS s $");
    t.run("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    t.run("XREAD BLOCK 0 STREAMS s 0");
    t.run("EXEC").is(&format!("*3 *-1 *-1 {}", entry("1-1")));
}

/// What a consumer that goes on waiting has changed is not lost for the log, and nothing else of it is
/// logged.
#[test]
fn a_wait_that_goes_on_leaves_the_log_in_order() {
    let mut t = grouped();
    let oplog = &t.session.server().keyspace.oplog;
    oplog.set_on(true);
    let mut a = Blocked::new(&t, "XREADGROUP GROUP g a BLOCK 0 STREAMS s >");
    let mut b = Blocked::new(&t, "XREADGROUP GROUP g b BLOCK 0 NOACK STREAMS s >");
    let mut c = Blocked::new(&t, "XREAD BLOCK 0 STREAMS s $");
    t.run("XGROUP DELCONSUMER s g b");
    t.run("XADD s 2-0 a 1");
    a.got(&entry("2-0"));
    b.waits();
    c.got(&entry("2-0"));
    t.run("XINFO CONSUMERS s g").has("$1 b");
}
