//! Tests of the keyspace: locks, the gate, expiry, walks. All of them with one shard and with many.
//!
//! Threads are waited for on conditions with a generous deadline, never for a time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::expire::{Pass, SLICE_KEYS};
use super::{Access, DbIndex, Expire, Keyspace, Lookup, ShardId};
use crate::ds::entry::{NewValue, ValueRef};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::util::clock::Clock;
use crate::util::rng::Rng;

const NOW_MS: u64 = 1_700_000_000_000;
const SHARDS: [usize; 2] = [1, 64];
const DEADLINE: Duration = Duration::from_secs(60);
const DB0: DbIndex = DbIndex(0);
const DB1: DbIndex = DbIndex(1);

fn keyspace(shards: usize) -> Keyspace {
    Keyspace::new(shards, 16, KeyHash::process(HashFunction::Fast))
}

impl Keyspace {
    /// Access to some keys, as `exec` gives it to a command that names them.
    fn at(&self, db: DbIndex, keys: &[&[u8]], now_ms: u64) -> Access<'_> {
        let locks = match keys {
            [] => self.lock_none(),
            [only] => self.lock_one(self.hash(only)),
            many => self.lock_many(many.iter().map(|key| self.hash(key))),
        };
        Access::new(self, locks, db, now_ms, true)
    }

    fn put_int(&self, key: &[u8], int: i64) {
        let mut access = self.at(DB0, &[key], NOW_MS);
        access.set(key, 0, 0, NewValue::Int(int), Expire::Keep);
    }

    fn put_expiring(&self, key: &[u8], expire_at_ms: u64) {
        let mut access = self.at(DB0, &[key], NOW_MS);
        access.set(key, 0, 0, NewValue::Int(1), Expire::At(expire_at_ms));
    }

    fn delete(&self, key: &[u8]) -> bool {
        self.at(DB0, &[key], NOW_MS).remove(key)
    }

    /// Keys and keys with a TTL, expired ones included.
    fn sizes(&self, db: DbIndex) -> (u64, u64) {
        self.at(db, &[], NOW_MS).size(db)
    }

    fn expired(&self) -> u64 {
        let mut expired = 0;
        self.at(DB0, &[], NOW_MS)
            .for_each_shard(|_, data| expired += data.stats.expired);
        expired
    }

    /// Asserts that no shard claims to expire later than it does.
    fn check_next_expire(&self) {
        let mut least = HashMap::new();
        self.at(DB0, &[], NOW_MS).for_each_shard(|id, data| {
            let expiries = data
                .tables
                .iter()
                .flat_map(|table| table.iter().filter_map(|entry| entry.expire_at_ms()));
            least.insert(id.0, expiries.min().unwrap_or(u64::MAX));
        });
        for (id, least) in least {
            let promised = self
                .shard(ShardId(id))
                .next_expire_at_ms
                .load(Ordering::SeqCst);
            assert!(
                promised <= least,
                "shard {id}: {promised} promised, {least} is due"
            );
        }
    }
}

fn int(access: &mut Access<'_>, key: &[u8]) -> Option<i64> {
    match access.find(key, Lookup::Silent)?.value() {
        ValueRef::Int(int) => Some(int),
        other => panic!("no integer: {other:?}"),
    }
}

fn name(prefix: &str, n: usize) -> Vec<u8> {
    format!("{prefix}:{n}").into_bytes()
}

/// Fails when `work` does not end: a deadlock.
#[track_caller]
fn ends(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = mpsc::channel();
    let worker = thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    match wait.recv_timeout(DEADLINE) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("deadlock"),
        _ => worker.join().expect("the work's own assertions hold"),
    }
}

#[track_caller]
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "waited in vain: {what}");
        thread::yield_now();
    }
}

#[test]
fn shards_are_a_power_of_two_and_cover_all_hashes() {
    for (asked, got) in [(0, 1), (1, 1), (3, 4), (64, 64), (1024, 1024)] {
        let keyspace = keyspace(asked);
        assert_eq!(keyspace.shards(), got);
        assert_eq!(keyspace.shard_of(0), ShardId(0));
        assert_eq!(keyspace.shard_of(u64::MAX), ShardId(got as u32 - 1));
    }
    for (workers, shards) in [(0, 16), (1, 16), (2, 64), (16, 256), (1_000, 1024)] {
        assert_eq!(Keyspace::shards_for(workers), shards);
    }
    assert_eq!(Keyspace::shards_for(100_000), 1024);
}

#[test]
fn a_shard_that_is_named_twice_is_locked_once() {
    for shards in SHARDS {
        ends(move || {
            let keyspace = keyspace(shards);
            let mut rng = Rng::from_seed(1);
            for _ in 0..200 {
                let mut hashes: Vec<u64> = (0..rng.below(40)).map(|_| rng.next_u64()).collect();
                hashes.extend_from_within(..);
                rng.shuffle(&mut hashes);
                let mut locks = keyspace.lock_many(hashes.iter().copied());
                let held: HashSet<u32> = hashes
                    .iter()
                    .map(|&hash| keyspace.shard_of(hash).0)
                    .collect();
                assert_eq!(locks.is_empty(), held.is_empty());
                for id in 0..shards as u32 {
                    assert_eq!(locks.get(ShardId(id)).is_some(), held.contains(&id));
                }
            }
        });
    }
}

#[test]
fn locks_in_any_order_do_not_deadlock() {
    for shards in SHARDS {
        ends(move || {
            let keyspace = keyspace(shards);
            thread::scope(|scope| {
                for seed in 0..8 {
                    let keyspace = &keyspace;
                    scope.spawn(move || {
                        let mut rng = Rng::from_seed(seed);
                        for round in 0..3_000 {
                            let hashes: Vec<u64> = (0..4).map(|_| rng.next_u64()).collect();
                            match round % 100 {
                                0 => drop(keyspace.lock_all()),
                                1..10 => drop(keyspace.lock_one(hashes[0])),
                                _ => drop(keyspace.lock_many(hashes.into_iter())),
                            }
                        }
                    });
                }
            });
        });
    }
}

/// Money moves between accounts: whoever holds them all sees that none is lost or made.
#[test]
fn several_keys_change_as_one() {
    const ACCOUNTS: usize = 24;
    const TOTAL: i64 = 1_000 * ACCOUNTS as i64;
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        let names: Vec<Vec<u8>> = (0..ACCOUNTS).map(|n| name("account", n)).collect();
        let all: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
        names.iter().for_each(|name| keyspace.put_int(name, 1_000));
        let moving = AtomicUsize::new(4);
        let looks = thread::scope(|scope| {
            for seed in 0..4 {
                let (keyspace, all, moving) = (&keyspace, &all, &moving);
                scope.spawn(move || {
                    let mut rng = Rng::from_seed(seed);
                    for _ in 0..5_000 {
                        let (from, to) = (all[rng.index(ACCOUNTS)], all[rng.index(ACCOUNTS)]);
                        if from == to {
                            continue;
                        }
                        let amount = rng.below(10) as i64;
                        let mut access = keyspace.at(DB0, &[from, to], NOW_MS);
                        let left = int(&mut access, from).expect("an account") - amount;
                        access.set(from, 0, 0, NewValue::Int(left), Expire::Keep);
                        let right = int(&mut access, to).expect("an account") + amount;
                        access.set(to, 0, 0, NewValue::Int(right), Expire::Keep);
                    }
                    moving.fetch_sub(1, Ordering::SeqCst);
                });
            }
            let mut looks = 0;
            while moving.load(Ordering::SeqCst) > 0 {
                let mut access = keyspace.at(DB0, &all, NOW_MS);
                let total: Option<i64> = all.iter().map(|key| int(&mut access, key)).sum();
                assert_eq!(total, Some(TOTAL));
                looks += 1;
            }
            looks
        });
        assert!(looks > 0);
    }
}

/// A key is renamed back and forth: whoever holds both names sees it under exactly one.
#[test]
fn a_key_that_moves_is_never_gone() {
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        let keys: [&[u8]; 2] = [b"one", b"other"];
        keyspace.put_int(keys[0], 7);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut access = keyspace.at(DB0, &keys, NOW_MS);
                    let found = keys.map(|key| int(&mut access, key));
                    assert!(matches!(found, [Some(7), None] | [None, Some(7)]));
                }
            });
            for round in 0..20_000 {
                let (from, to) = (keys[round % 2], keys[(round + 1) % 2]);
                let mut access = keyspace.at(DB0, &keys, NOW_MS);
                let taken = access.take(from).expect("it is there");
                let ValueRef::Int(int) = taken.view().value() else {
                    panic!("no integer")
                };
                access.set(to, 0, 0, NewValue::Int(int), Expire::Keep);
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn one_holds_the_gate() {
    let keyspace = keyspace(64);
    assert!(!keyspace.gate.is_closed());
    let held = keyspace.gate.try_close().expect("it is open");
    assert!(keyspace.gate.is_closed());
    assert!(keyspace.gate.try_close().is_none());
    drop(held);
    assert!(!keyspace.gate.is_closed());
    assert!(keyspace.gate.try_close().is_some());
}

#[test]
fn whoever_waits_at_the_gate_is_let_in() {
    ends(|| {
        let keyspace = keyspace(64);
        let waiting = AtomicUsize::new(0);
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime")
        };
        // An open gate holds nobody up.
        runtime().block_on(keyspace.gate.opened());
        thread::scope(|scope| {
            let held = keyspace.gate.try_close().expect("it is open");
            for _ in 0..4 {
                scope.spawn(|| {
                    runtime().block_on(async {
                        waiting.fetch_add(1, Ordering::SeqCst);
                        keyspace.gate.opened().await;
                        waiting.fetch_sub(1, Ordering::SeqCst);
                    });
                });
            }
            wait_until("four wait", || waiting.load(Ordering::SeqCst) == 4);
            drop(held);
        });
        assert_eq!(waiting.load(Ordering::SeqCst), 0);
    });
}

/// Whoever closed the gate and holds all shards is alone: no command is halfway.
#[test]
fn the_exclusive_path_waits_for_running_commands() {
    for shards in SHARDS {
        ends(move || {
            let keyspace = keyspace(shards);
            let pair: [&[u8]; 2] = [b"left", b"right"];
            pair.iter().for_each(|key| keyspace.put_int(key, 0));
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        while !stop.load(Ordering::Relaxed) {
                            if keyspace.gate.is_closed() {
                                thread::yield_now();
                                continue;
                            }
                            let mut access = keyspace.at(DB0, &pair, NOW_MS);
                            for key in pair {
                                let next = int(&mut access, key).expect("a number") + 1;
                                access.set(key, 0, 0, NewValue::Int(next), Expire::Keep);
                            }
                        }
                    });
                }
                for _ in 0..500 {
                    let gate = keyspace.gate.try_close().expect("nobody else closes it");
                    let mut access = Access::new(&keyspace, keyspace.lock_all(), DB0, NOW_MS, true);
                    let seen = pair.map(|key| int(&mut access, key));
                    assert_eq!(seen[0], seen[1]);
                    drop(access);
                    drop(gate);
                }
                stop.store(true, Ordering::Relaxed);
            });
        });
    }
}

#[test]
fn prefetching_waits_for_nobody() {
    ends(|| {
        let keyspace = keyspace(1);
        keyspace.put_int(b"key", 1);
        let hash = keyspace.hash(b"key");
        for entries in [false, true] {
            keyspace.prefetch(DB0, hash, entries);
            keyspace.prefetch(DB1, hash, entries);
            let held = keyspace.lock_all();
            keyspace.prefetch(DB0, hash, entries);
            drop(held);
        }
    });
}

#[test]
fn databases_are_apart_but_share_a_keys_shard() {
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        for n in 0..100 {
            let key = name("key", n);
            let mut access = keyspace.at(DB0, &[&key], NOW_MS);
            for db in [0, 15, 3] {
                access.select(DbIndex(db));
                assert_eq!(int(&mut access, &key), None);
                access.set(&key, 0, 0, NewValue::Int(db.into()), Expire::Keep);
            }
            for db in [3, 0, 15] {
                access.select(DbIndex(db));
                assert_eq!(int(&mut access, &key), Some(db.into()));
            }
        }
        for (db, size) in [(0, 100), (1, 0), (3, 100), (14, 0), (15, 100)] {
            assert_eq!(keyspace.sizes(DbIndex(db)), (size, 0));
        }
    }
}

#[test]
fn changes_are_counted_where_they_are_made() {
    let keyspace = keyspace(64);
    let mut access = keyspace.at(DB0, &[b"a", b"b"], NOW_MS);
    let changes = |access: &Access<'_>, expected| {
        assert_eq!(access.effects.changes, expected);
    };
    assert!(!access.remove(b"a"));
    assert!(access.take(b"a").is_none());
    assert!(access.find_mut(b"a").is_none());
    changes(&access, 0);
    access.set(b"a", 0, 0, NewValue::Int(1), Expire::At(NOW_MS + 1));
    changes(&access, 1);
    drop(access.find_mut(b"a"));
    changes(&access, 1);
    access.find_mut(b"a").expect("set above").set_expire(None);
    changes(&access, 2);
    let entry = access.take(b"a").expect("set above");
    changes(&access, 2);
    access.put(entry);
    changes(&access, 3);
    let mut found = access.find_mut(b"a").expect("put back");
    found.set_value(0, NewValue::Int(2));
    found.set_expire(Some(NOW_MS + 5));
    drop(found);
    changes(&access, 4);
    assert!(access.remove(b"a"));
    changes(&access, 5);
    // What was deleted because it had expired changes nothing.
    access.set(b"b", 0, 0, NewValue::Int(1), Expire::At(NOW_MS));
    assert!(!access.remove(b"b"));
    changes(&access, 6);
}

#[test]
fn an_expired_key_is_never_seen() {
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        let looks: [fn(&mut Access<'_>) -> bool; 7] = [
            |access| access.find(b"key", Lookup::Read).is_some(),
            |access| access.find(b"key", Lookup::Touch).is_some(),
            |access| access.exists(b"key", Lookup::NoTouch),
            |access| access.find(b"key", Lookup::Silent).is_some(),
            |access| access.find_mut(b"key").is_some(),
            |access| access.take(b"key").is_some(),
            |access| access.remove(b"key"),
        ];
        for (round, look) in looks.into_iter().enumerate() {
            keyspace.put_expiring(b"key", NOW_MS + 10);
            assert_eq!(keyspace.sizes(DB0), (1, 1));
            let mut before = keyspace.at(DB0, &[b"key"], NOW_MS + 9);
            assert!(before.exists(b"key", Lookup::Silent));
            drop(before);
            assert!(!look(&mut keyspace.at(DB0, &[b"key"], NOW_MS + 10)));
            assert_eq!(keyspace.sizes(DB0), (0, 0));
            assert_eq!(keyspace.expired(), round as u64 + 1);
        }
        // KEEPTTL keeps nothing of a key that is over.
        keyspace.put_expiring(b"key", NOW_MS + 10);
        let mut access = keyspace.at(DB0, &[b"key"], NOW_MS + 10);
        access.set(b"key", 0, 0, NewValue::Int(1), Expire::Keep);
        let entry = access.find(b"key", Lookup::Silent).expect("written");
        assert_eq!(entry.expire_at_ms(), None);
        assert_eq!(access.effects.changes, 1);
    }
}

#[test]
fn walks_do_not_see_expired_keys() {
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        for n in 0..500 {
            keyspace.put_expiring(&name("old", n), NOW_MS + 10);
            keyspace.put_expiring(&name("new", n), NOW_MS + 11);
        }
        let mut access = keyspace.at(DB0, &[], NOW_MS + 10);
        let mut seen = 0;
        access.for_each_key(|entry| {
            assert!(entry.key().starts_with(b"new:"));
            seen += 1;
        });
        assert_eq!(seen, 500);
        assert!(access.peek(b"new:7") && !access.peek(b"old:7") && !access.peek(b"none"));
        assert_eq!(keyspace.sizes(DB0), (1000, 1000));
        // SCAN deletes what it was asked for and finds expired, RANDOMKEY what it draws.
        let end = access.scan(0, 10_000, |entry| entry.key().ends_with(b"7"), |_| {});
        assert_eq!((end, keyspace.sizes(DB0).0), (0, 950));
        let mut rng = Rng::from_seed(1);
        for _ in 0..300 {
            let key = access.random_key(&mut rng).expect("there are live keys");
            assert!(key.starts_with(b"new:"));
        }
        assert!(keyspace.sizes(DB0).0 < 950);
        let mut access = keyspace.at(DB0, &[], NOW_MS + 11);
        assert_eq!(access.random_key(&mut rng), None);
        assert_eq!(keyspace.expired(), 1000 - keyspace.sizes(DB0).0);
    }
}

#[test]
fn the_cycle_deletes_exactly_what_is_due() {
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        let mut rng = Rng::from_seed(7);
        let mut due: BTreeMap<u64, u64> = BTreeMap::new();
        for n in 0..20_000 {
            let at_ms = NOW_MS + 1 + rng.below(10_000);
            keyspace.put_expiring(&name("key", n), at_ms);
            *due.entry(at_ms).or_default() += 1;
        }
        keyspace.put_int(b"stays", 1);
        let mut now_ms = NOW_MS;
        while !due.is_empty() {
            let back_at_ms = keyspace.expire_due(now_ms);
            due = due.split_off(&(now_ms + 1));
            let left: u64 = due.values().sum();
            assert_eq!(keyspace.sizes(DB0), (left + 1, left));
            assert_eq!(keyspace.expired(), 20_000 - left);
            let next_ms = due.keys().next().copied().unwrap_or(u64::MAX);
            assert!(
                (now_ms + 1..=next_ms).contains(&back_at_ms),
                "{back_at_ms} at {now_ms}, due at {next_ms}"
            );
            keyspace.check_next_expire();
            now_ms += 1 + rng.below(400);
        }
        assert_eq!(keyspace.next_expire_at_ms(), u64::MAX);
    }
}

#[test]
fn the_cycle_works_in_slices() {
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        for n in 0..5_000 {
            let key = name("key", n);
            let mut access = keyspace.at(DbIndex(n as u32 % 3), &[&key], NOW_MS);
            access.set(&key, 0, 0, NewValue::Int(1), Expire::At(NOW_MS));
        }
        let size = || (0..3).map(|db| keyspace.sizes(DbIndex(db)).0).sum::<u64>();
        let (mut left, mut passes) = (5_000, 0);
        let mut removed = Vec::new();
        loop {
            let pass = keyspace.expire_pass(NOW_MS, &mut removed);
            assert!(removed.is_empty());
            let deleted = left - size();
            assert!(deleted <= (SLICE_KEYS * shards) as u64);
            left -= deleted;
            passes += 1;
            if pass == Pass::Done {
                break;
            }
            assert!(deleted > 0, "a pass that does nothing and wants more");
        }
        assert_eq!(left, 0);
        assert!(passes >= 5_000 / (SLICE_KEYS * shards));
        assert!(keyspace.expire_clock.cycle_us() > 0);
    }
}

#[test]
fn the_cycle_stops_for_the_gate() {
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        keyspace.put_expiring(b"key", NOW_MS);
        let gate = keyspace.gate.try_close().expect("it is open");
        assert!(keyspace.expire_due(NOW_MS) > NOW_MS);
        assert_eq!(keyspace.sizes(DB0).0, 1);
        drop(gate);
        assert_eq!(keyspace.expire_due(NOW_MS), u64::MAX);
        assert_eq!(keyspace.sizes(DB0).0, 0);
    }
}

#[test]
fn the_cycle_can_be_held_back() {
    let keyspace = keyspace(64);
    keyspace.put_expiring(b"key", NOW_MS);
    keyspace.expire_clock.set_enabled(false);
    assert_eq!(keyspace.expire_due(NOW_MS), u64::MAX);
    keyspace.expire_clock.set_enabled(true);
    keyspace.expire_clock.pause_until(NOW_MS + 100);
    assert_eq!(keyspace.expire_due(NOW_MS + 99), NOW_MS + 100);
    assert_eq!(keyspace.sizes(DB0).0, 1);
    // Held back or not: an expired key is not seen.
    let mut access = keyspace.at(DB0, &[], NOW_MS + 99);
    assert!(!access.peek(b"key"));
    assert_eq!(keyspace.expire_due(NOW_MS + 100), u64::MAX);
    assert_eq!(keyspace.sizes(DB0).0, 0);
    keyspace.put_expiring(b"key", NOW_MS);
    keyspace.expire_clock.pause_until(NOW_MS + 1_000);
    keyspace.expire_clock.pause_until(0);
    assert_eq!(keyspace.expire_due(NOW_MS), u64::MAX);
}

/// Everything that can happen to expiries, against a plain map.
#[test]
fn no_shard_promises_to_expire_later_than_it_does() {
    for (seed, shards) in SHARDS.into_iter().enumerate() {
        let keyspace = keyspace(shards);
        let mut rng = Rng::from_seed(seed as u64);
        let mut model: HashMap<(u32, Vec<u8>), Option<u64>> = HashMap::new();
        let mut now_ms = NOW_MS;
        for step in 0..30_000 {
            let db = DbIndex(rng.below(2) as u32);
            let key = name("key", rng.index(700));
            let other = name("key", rng.index(700));
            let reach_bits = rng.below(30);
            let at_ms = now_ms + 1 + rng.below(1 << reach_bits);
            let place = (db.0, key.clone());
            let mut held = Some(keyspace.at(db, &[&key, &other], now_ms));
            let access = held.as_mut().expect("just made");
            match rng.below(100) {
                0..30 => {
                    access.set(&key, 0, 0, NewValue::Int(1), Expire::At(at_ms));
                    model.insert(place, Some(at_ms));
                }
                30..40 => {
                    access.set(&key, 0, 0, NewValue::Bytes(b"value"), Expire::Keep);
                    model.entry(place).or_insert(None);
                }
                40..50 => {
                    access.set(&key, 0, 0, NewValue::Int(1), Expire::Never);
                    model.insert(place, None);
                }
                50..65 => {
                    let expire = (rng.below(3) > 0).then_some(at_ms);
                    let found = access.find_mut(&key);
                    assert_eq!(found.is_some(), model.contains_key(&place));
                    if let Some(mut found) = found {
                        found.set_expire(expire);
                        model.insert(place, expire);
                    }
                }
                65..80 => {
                    assert_eq!(access.remove(&key), model.remove(&place).is_some());
                }
                80..90 => {
                    let taken = access.take(&key);
                    assert_eq!(taken.is_some(), model.contains_key(&place));
                    if let Some(entry) = taken {
                        access.select(DbIndex(1 - db.0));
                        access.put(entry);
                        let expire = model.remove(&place).flatten();
                        model.insert((1 - db.0, key.clone()), expire);
                    }
                }
                90..99 => {
                    held = None;
                    now_ms += rng.below(2_000);
                    keyspace.expire_due(now_ms);
                    model.retain(|_, at_ms| at_ms.is_none_or(|at_ms| at_ms > now_ms));
                }
                _ => {
                    held = None;
                    let mut all = Access::new(&keyspace, keyspace.lock_all(), db, now_ms, true);
                    if rng.below(4) == 0 {
                        drop(all.flush(Some(db)));
                        model.retain(|(of_db, _), _| *of_db != db.0);
                    } else {
                        all.swap(DB0, DB1);
                        let swap = |((db, key), at_ms)| ((1 - db, key), at_ms);
                        model = model.into_iter().map(swap).collect();
                    }
                }
            }
            drop(held);
            if step % 100 == 0 {
                keyspace.check_next_expire();
                for db in [0, 1] {
                    let mut keys = 0;
                    let mut access = keyspace.at(DbIndex(db), &[], now_ms);
                    access.for_each_key(|entry| {
                        let place = (db, entry.key().to_vec());
                        assert_eq!(model.get(&place), Some(&entry.expire_at_ms()));
                        keys += 1;
                    });
                    let live = model.keys().filter(|(of_db, _)| *of_db == db).count();
                    assert_eq!(keys, live);
                }
            }
        }
        keyspace.expire_due(u64::MAX - 1);
        assert_eq!(keyspace.next_expire_at_ms(), u64::MAX);
        assert_eq!((keyspace.sizes(DB0).1, keyspace.sizes(DB1).1), (0, 0));
    }
}

/// A cycle on a thread of its own that sleeps for an hour if nobody wakes it.
struct Cycle {
    keyspace: Arc<Keyspace>,
    clock: Clock,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Cycle {
    fn start(shards: usize) -> Cycle {
        let keyspace = Arc::new(keyspace(shards));
        let (clock, stop) = (Clock::fake(NOW_MS), Arc::new(AtomicBool::new(false)));
        let run = {
            let (keyspace, clock, stop) = (keyspace.clone(), clock.clone(), stop.clone());
            move || {
                let hour = Duration::from_secs(3_600);
                keyspace.expire_until(&clock, hour, || stop.load(Ordering::SeqCst));
            }
        };
        Cycle {
            keyspace,
            clock,
            stop,
            thread: Some(thread::spawn(run)),
        }
    }

    /// Waits until the cycle sleeps. Until when is a lower bound of what is due next.
    #[track_caller]
    fn sleeps(&self, next_ms: u64) {
        wait_until("the cycle sleeps", || {
            let wake_at_ms = self.keyspace.expire_clock.wake_at_ms();
            wake_at_ms != 0 && wake_at_ms == self.keyspace.next_expire_at_ms()
        });
        assert!(self.keyspace.next_expire_at_ms() <= next_ms);
    }

    #[track_caller]
    fn leaves(&self, keys: u64) {
        wait_until("keys are deleted", || self.keyspace.sizes(DB0).0 == keys);
    }
}

impl Drop for Cycle {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.keyspace.expire_clock.set_enabled(true);
        let thread = self.thread.take().expect("started");
        let ended = thread.join();
        assert!(ended.is_ok() || thread::panicking());
    }
}

#[test]
fn an_earlier_expiry_wakes_the_cycle() {
    for shards in SHARDS {
        let cycle = Cycle::start(shards);
        cycle.sleeps(u64::MAX);
        const DAY_MS: u64 = 86_400_000;
        cycle.keyspace.put_expiring(b"first", NOW_MS + DAY_MS);
        cycle.sleeps(NOW_MS + DAY_MS);
        // A later one, in whatever shard, changes nothing.
        cycle.keyspace.put_expiring(b"later", NOW_MS + 2 * DAY_MS);
        cycle.sleeps(NOW_MS + DAY_MS);
        for n in 0..50 {
            let due_ms = cycle.clock.unix_ms() + 5;
            let key = name("soon", n);
            cycle.keyspace.put_expiring(&key, due_ms);
            assert_eq!(cycle.keyspace.sizes(DB0).0, 3);
            cycle.clock.advance(5);
            cycle.leaves(2);
            cycle.sleeps(NOW_MS + DAY_MS);
        }
        assert_eq!(cycle.keyspace.expired(), 50);
    }
}

#[test]
fn a_cycle_that_may_work_again_works() {
    for shards in SHARDS {
        let cycle = Cycle::start(shards);
        cycle.sleeps(u64::MAX);
        let clock = &cycle.keyspace.expire_clock;
        clock.set_enabled(false);
        cycle.keyspace.put_expiring(b"key", NOW_MS + 1);
        cycle.clock.advance(10);
        assert!(cycle.keyspace.expire_due(NOW_MS + 10) == u64::MAX);
        clock.set_enabled(true);
        cycle.leaves(0);
        cycle.sleeps(u64::MAX);
        clock.pause_until(NOW_MS + 86_400_000);
        cycle.keyspace.put_expiring(b"key", NOW_MS + 1);
        assert_eq!(cycle.keyspace.sizes(DB0).0, 1);
        clock.pause_until(0);
        cycle.leaves(0);
    }
}

#[test]
fn the_cycle_keeps_up_with_many_writers() {
    for shards in SHARDS {
        let cycle = Cycle::start(shards);
        thread::scope(|scope| {
            for seed in 0..4 {
                let cycle = &cycle;
                scope.spawn(move || {
                    let mut rng = Rng::from_seed(seed);
                    for n in 0..3_000 {
                        let key = name(&seed.to_string(), n);
                        let now_ms = cycle.clock.unix_ms();
                        cycle.keyspace.put_expiring(&key, now_ms + rng.below(3));
                        if n % 10 == 0 {
                            cycle.clock.advance(1);
                        }
                    }
                });
            }
        });
        // The clock stands still from here on: only who was woken in time deletes the last ones.
        cycle.clock.advance(3);
        cycle.leaves(0);
        cycle.sleeps(u64::MAX);
        assert_eq!(cycle.keyspace.expired(), 12_000);
    }
}

/// One whole SCAN; the keys in the order in which they came.
fn scan_all(keyspace: &Keyspace, count: usize, mut between: impl FnMut()) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut cursor = 0;
    loop {
        let next = keyspace.at(DB0, &[], NOW_MS).scan(
            cursor,
            count,
            |_| true,
            |entry| keys.push(entry.key().to_vec()),
        );
        assert!(next == 0 || next > cursor && next < 1 << 48);
        if next == 0 {
            return keys;
        }
        cursor = next;
        between();
    }
}

/// Asserts that of the first `stable` keys each came exactly once.
#[track_caller]
fn check_stable(keys: &[Vec<u8>], stable: usize) {
    let stable_keys = keys.iter().filter(|key| key.starts_with(b"stable:"));
    assert_eq!(stable_keys.clone().count(), stable);
    assert_eq!(stable_keys.collect::<HashSet<_>>().len(), stable);
}

#[test]
fn scan_returns_what_is_there_throughout_exactly_once() {
    const STABLE: usize = 1_000;
    for shards in [1, 64, 1024] {
        let keyspace = keyspace(shards);
        for n in 0..STABLE {
            keyspace.put_int(&name("stable", n), 1);
        }
        for (count, churn) in [(1, 60), (10, 400), (100, 4_000)] {
            // Grows to many times its size on the way, then shrinks, then grows again.
            for phase in 0..2 {
                let (mut step, mut others) = (0, 0);
                let keys = scan_all(&keyspace, count, || {
                    step += 1;
                    for _ in 0..churn {
                        let grow = (step / 40 + phase) % 2 == 0;
                        if grow && others < 30_000 {
                            keyspace.put_int(&name("other", others), 1);
                            others += 1;
                        } else if !grow && others > 0 {
                            others -= 1;
                            keyspace.delete(&name("other", others));
                        }
                    }
                });
                check_stable(&keys, STABLE);
                for n in 0..others {
                    keyspace.delete(&name("other", n));
                }
                assert_eq!(keyspace.sizes(DB0).0, STABLE as u64);
            }
        }
    }
}

#[test]
fn scan_beside_writers_on_other_threads() {
    const STABLE: usize = 3_000;
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        for n in 0..STABLE {
            keyspace.put_int(&name("stable", n), 1);
        }
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for seed in 0..2 {
                let (keyspace, stop) = (&keyspace, &stop);
                scope.spawn(move || {
                    let mut rng = Rng::from_seed(seed);
                    while !stop.load(Ordering::Relaxed) {
                        let key = name(&format!("other{seed}"), rng.index(20_000));
                        match rng.below(2) {
                            0 => keyspace.put_int(&key, 1),
                            _ => drop(keyspace.delete(&key)),
                        }
                    }
                });
            }
            for count in [7, 50, 1_000_000] {
                check_stable(&scan_all(&keyspace, count, || {}), STABLE);
                let mut walked = Vec::new();
                keyspace
                    .at(DB0, &[], NOW_MS)
                    .for_each_key(|entry| walked.push(entry.key().to_vec()));
                check_stable(&walked, STABLE);
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn flush_empties_one_database_or_all() {
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        let fill = || {
            for n in 0..300 {
                let key = name("key", n);
                for db in [DB0, DB1, DbIndex(9)] {
                    let mut access = keyspace.at(db, &[&key], NOW_MS);
                    access.set(&key, 0, 0, NewValue::Int(1), Expire::At(NOW_MS + 5));
                }
            }
        };
        let flush = |db| {
            let mut access = Access::new(&keyspace, keyspace.lock_all(), DB0, NOW_MS, true);
            let removed = access.flush(db);
            let keys: usize = removed.iter().map(|table| table.len()).sum();
            assert_eq!(access.effects.changes, keys as u64);
            keys
        };
        assert_eq!(flush(None), 0);
        fill();
        assert_eq!(flush(Some(DB1)), 300);
        assert_eq!(flush(Some(DB1)), 0);
        assert_eq!(flush(Some(DbIndex(15))), 0);
        let sizes = [DB0, DB1, DbIndex(9)].map(|db| keyspace.sizes(db));
        assert_eq!(sizes, [(300, 300), (0, 0), (300, 300)]);
        assert_eq!(flush(None), 600);
        assert_eq!(keyspace.sizes(DB0), (0, 0));
        keyspace.check_next_expire();
        assert_eq!(keyspace.expire_due(NOW_MS + 5), u64::MAX);
        assert_eq!(keyspace.expired(), 0);
        fill();
        assert_eq!(keyspace.sizes(DbIndex(9)), (300, 300));
    }
}

#[test]
fn swap_exchanges_two_databases() {
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        for n in 0..200 {
            keyspace.put_expiring(&name("key", n), NOW_MS + 5);
        }
        let swap = |a, b| {
            Access::new(&keyspace, keyspace.lock_all(), DB0, NOW_MS, true).swap(a, b);
        };
        swap(DB0, DbIndex(12));
        assert_eq!(keyspace.sizes(DB0), (0, 0));
        assert_eq!(keyspace.sizes(DbIndex(12)), (200, 200));
        swap(DbIndex(12), DbIndex(12));
        swap(DbIndex(12), DB1);
        assert_eq!(keyspace.sizes(DB1), (200, 200));
        keyspace.check_next_expire();
        keyspace.expire_due(NOW_MS + 5);
        assert_eq!(keyspace.sizes(DB1), (0, 0));
    }
}

#[test]
fn every_key_is_drawn_about_as_often() {
    const KEYS: usize = 500;
    const DRAWS_PER_KEY: usize = 100;
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        for n in 0..KEYS {
            keyspace.put_int(&name("key", n), 1);
        }
        let mut rng = Rng::from_seed(3);
        let mut drawn: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut access = keyspace.at(DB0, &[], NOW_MS);
        for _ in 0..KEYS * DRAWS_PER_KEY {
            let key = access.random_key(&mut rng).expect("there are keys");
            *drawn.entry(key).or_default() += 1;
        }
        // Ten standard deviations, and what the fills of segments may differ.
        let bounds = DRAWS_PER_KEY / 4..DRAWS_PER_KEY * 3;
        assert_eq!(drawn.len(), KEYS);
        for (key, times) in drawn {
            assert!(bounds.contains(&times), "{key:?}: {times}");
        }
        access.select(DB1);
        assert_eq!(access.random_key(&mut rng), None);
    }
}

#[test]
fn random_key_finds_the_last_live_one_among_many_expired() {
    for shards in SHARDS {
        let keyspace = keyspace(shards);
        for n in 0..20_000 {
            keyspace.put_expiring(&name("old", n), NOW_MS);
        }
        keyspace.put_int(b"live", 1);
        let mut access = keyspace.at(DB0, &[], NOW_MS);
        let key = access.random_key(&mut Rng::from_seed(1));
        assert_eq!(key.as_deref(), Some(&b"live"[..]));
    }
}
