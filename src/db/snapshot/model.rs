//! A snapshot in all interleavings with writers: it shows the moment of its cut, each key once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::db::{Access, Expire};
use crate::ds::entry::{NewValue, ValueRef};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::sys::sync::{explore, spawn};

const DB0: DbIndex = DbIndex(0);
const NOW_MS: u64 = 1_700_000_000_000;

/// What a snapshot has shown, or what there is: keys and integers.
type Seen = BTreeMap<Vec<u8>, i64>;

/// A keyspace that is known to loom before threads share it.
fn keyspace(shards: usize) -> Arc<Keyspace> {
    let keyspace = Keyspace::new(shards, 1, KeyHash::with_seed(HashFunction::Fast, 7));
    drop(keyspace.lock_all());
    assert!(!keyspace.snapshot.is_running());
    Arc::new(keyspace)
}

fn write(keyspace: &Keyspace, key: &[u8], value: Option<i64>, then: impl FnOnce()) {
    let locks = keyspace.lock_one(keyspace.hash(key));
    let mut access = Access::new(keyspace, locks, DB0, NOW_MS, true);
    match value {
        Some(int) => access.set(key, 0, 0, NewValue::Int(int), Expire::Keep),
        None => drop(access.remove(key)),
    }
    // While the shard is held.
    then();
}

/// Walks a snapshot, a key at a time.
fn read(mut walk: Walk<'_>) -> Seen {
    let mut seen = Seen::new();
    let mut note = |_, entry: EntryRef<'_>, _| {
        let ValueRef::Int(int) = entry.value() else {
            panic!("no integer");
        };
        let before = seen.insert(entry.key().to_vec(), int);
        assert!(before.is_none(), "handed out twice");
    };
    while walk.slice(2, &mut note) == Progress::More {}
    drop(walk);
    seen
}

/// What one writer does, in order.
type Steps = &'static [(&'static [u8], Option<i64>)];

const BEFORE: Steps = &[
    (b"a", Some(1)),
    (b"b", Some(2)),
    (b"c", Some(3)),
    (b"d", Some(4)),
];

/// What there is when `steps` were done in this order.
fn state(steps: impl Iterator<Item = (&'static [u8], Option<i64>)>) -> Seen {
    let mut seen = Seen::new();
    for (key, value) in BEFORE.iter().copied().chain(steps) {
        match value {
            Some(int) => drop(seen.insert(key.to_vec(), int)),
            None => drop(seen.remove(key)),
        }
    }
    seen
}

/// Writers with keys of their own each, and a snapshot in the middle.
fn cut(shards: usize, writers: &'static [Steps]) {
    let keyspace = keyspace(shards);
    for (key, value) in BEFORE {
        write(&keyspace, key, *value, || {});
    }
    let done: Arc<Vec<AtomicUsize>> =
        Arc::new(writers.iter().map(|_| AtomicUsize::new(0)).collect());
    let threads: Vec<_> = writers
        .iter()
        .enumerate()
        .map(|(who, steps)| {
            let (keyspace, done) = (keyspace.clone(), done.clone());
            spawn(move || {
                for (key, value) in *steps {
                    let count = || {
                        done[who].fetch_add(1, Ordering::Relaxed);
                    };
                    write(&keyspace, key, *value, count);
                }
            })
        })
        .collect();
    let at_cut = || -> Vec<usize> {
        done.iter()
            .map(|done| done.load(Ordering::Relaxed))
            .collect()
    };
    let (walk, cut, at_cut) = keyspace.begin_snapshot(at_cut).expect("the only one");
    let seen = read(walk);
    let steps = writers.iter().zip(at_cut);
    let expected = state(steps.flat_map(|(steps, done)| steps[..done].iter().copied()));
    assert_eq!(seen, expected);
    let keys: u64 = cut.databases.iter().map(|(_, keys, _)| keys).sum();
    assert_eq!(keys, expected.len() as u64);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(keyspace.snapshot.held_bytes(), 0);
    assert!(!keyspace.snapshot.is_running());
    // What came behind the cut is not lost either, and the next snapshot is one of it.
    let (walk, _, ()) = keyspace.begin_snapshot(|| ()).expect("the only one");
    let all = writers.iter().flat_map(|steps| steps.iter().copied());
    assert_eq!(read(walk), state(all));
}

#[test]
fn it_shows_the_moment_of_its_cut() {
    const WRITER: Steps = &[
        (b"a", Some(10)),
        (b"b", None),
        (b"e", Some(5)),
        (b"b", Some(20)),
        (b"a", None),
    ];
    for shards in [1, 2] {
        explore(2, move || cut(shards, &[WRITER]));
    }
}

#[test]
fn several_writers_are_cut_at_once() {
    const FIRST: Steps = &[(b"a", Some(10)), (b"b", None)];
    const SECOND: Steps = &[(b"c", None), (b"e", Some(5))];
    explore(2, || cut(2, &[FIRST, SECOND]));
}
