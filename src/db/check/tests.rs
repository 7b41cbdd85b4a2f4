//! What is damaged is found, and nothing is that is not.

use super::*;
use crate::commands::tests::Test;
use crate::ds::entry::EntrySlot;
use crate::value::Encoding;

fn check(t: &Test) -> Check {
    let keyspace = &t.session.server().keyspace;
    let now_ms = t.clock.unix_ms();
    Access::new(keyspace, keyspace.lock_all(), DbIndex(0), now_ms, false).check()
}

/// Changes the shard of the key "key" in a way that nobody should.
fn damage(t: &Test, change: impl FnOnce(&Shard, &mut ShardData)) -> Vec<String> {
    let keyspace = &t.session.server().keyspace;
    let id = keyspace.shard_of(keyspace.hash(b"key"));
    change(keyspace.shard(id), &mut keyspace.shard(id).lock());
    let faults = check(t).faults;
    // A session looks at the book itself when it ends.
    keyspace.shard(id).lock().side.sizes = None;
    faults
}

/// A server in which nothing is wrong, with a key of that kind.
fn with(lines: &[&str]) -> Test {
    let mut t = Test::new();
    for line in lines {
        let reply = t.run(line).text();
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    let check = check(&t);
    assert_eq!(check.faults, Vec::<String>::new());
    assert_eq!(check.keys, 1);
    assert!(check.bytes > 0);
    t
}

#[track_caller]
fn finds(faults: &[String], part: &str) {
    assert!(
        faults.iter().any(|fault| fault.contains(part)),
        "no {part:?} in {faults:?}"
    );
}

#[test]
fn a_key_in_a_strange_encoding() {
    let t = with(&["SADD key a b"]);
    let hash = t.session.server().keyspace.hash(b"key");
    let faults = damage(&t, |_, data| {
        data.side.sizes = None;
        let table = &mut data.tables[0];
        let slot = table.find(hash, b"key").unwrap();
        EntrySlot::new(table, slot).set_enc(Encoding::Intset as u8);
    });
    finds(
        &faults,
        "key of database 0: set as intset: the bytes are no intset",
    );
}

#[test]
fn an_expiry_that_is_published_too_late() {
    let t = with(&["SET key v PX 1000"]);
    let faults = damage(&t, |shard, _| {
        shard.next_expire_at_ms.fetch_add(1, Ordering::SeqCst);
    });
    finds(&faults, "the first expiry is at");
}

#[test]
fn fields_that_are_not_listed() {
    let t = with(&["HSETEX key PX 1000 FIELDS 1 f v"]);
    let faults = damage(&t, |_, data| data.side.field_due = Default::default());
    finds(&faults, "fields that expire, and are not listed");
    let t = with(&["HSETEX key PX 1000 FIELDS 1 f v"]);
    let faults = damage(&t, |_, data| {
        let place = (7, DbIndex(0), b"other"[..].into());
        data.side.field_due.insert(place);
    });
    finds(
        &faults,
        "fields of other of database 0 are listed for 7, it says None",
    );
}

#[test]
fn sizes_that_are_not_in_the_book() {
    let t = with(&["SET key v"]);
    let hash = t.session.server().keyspace.hash(b"key");
    let faults = damage(&t, |_, data| {
        let slot = data.tables[0].find(hash, b"key").unwrap();
        data.leave_size_of(DbIndex(0), slot);
    });
    finds(&faults, "sizes in the book of database 0");
}

#[test]
fn consumers_of_whom_the_shard_does_not_know() {
    let t = with(&[
        "XADD key 1-1 f v",
        "XGROUP CREATE key g 0",
        "XREADGROUP GROUP g c STREAMS key >",
    ]);
    let faults = damage(&t, |_, data| data.side.forget_all_collections(DbIndex(0)));
    finds(&faults, "consumers of which the shard does not know");
}

#[test]
fn figures_of_what_is_tracked() {
    let t = with(&["SET key v", "HELLO 3", "CLIENT TRACKING ON", "GET key"]);
    let tracked = &t.session.server().keyspace.tracked;
    tracked.items.fetch_add(1, Ordering::Relaxed);
    finds(&check(&t).faults, "all shards: (1, 2) keys are tracked");
}

/// Not all faults are told, however many there are.
#[test]
fn faults_are_many() {
    let mut check = Check::default();
    for number in 0..FAULTS_MAX + 5 {
        check.note(|| number.to_string(), Err("wrong".into()));
    }
    assert_eq!((check.faults.len(), check.more_faults), (FAULTS_MAX, 5));
    assert_eq!(check.faults[0], "0: wrong");
}

/// A value that two hashes share is there once.
#[test]
fn shared_values_are_counted_once() {
    let mut t = Test::new();
    t.run("CONFIG SET hash-max-listpack-value 8").is("+OK");
    t.run(&format!("HSET key f {}", "v".repeat(100_000)))
        .is(":1");
    let before = check(&t).bytes;
    t.run("COPY key other").is(":1");
    let after = check(&t).bytes;
    assert!(
        before < after && after < before + 50_000,
        "{before} {after}"
    );
}
