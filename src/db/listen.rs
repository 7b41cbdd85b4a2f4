//! Who listens to single keys of a shard: transactions that watch them (WATCH), and clients that
//! keep copies of them (CLIENT TRACKING).
//!
//! Kept under the shard's lock, so what was read and what is listened to cannot come apart. A write
//! asks first whether anybody listens to anything in the shard ([`Listeners::is_empty`]), then looks
//! the key's hash up; nobody else pays.
//!
//! Watchers are told by a flag of their own ([`WatchFlag`]), trackers by
//! [`Notices`]: a key that is told is tracked no longer. Numbers of clients
//! that have left stay until then, as in Redis; there is a limit to the keys
//! ([`Keyspace::limit_tracked`]).
//!
//! Invariant: `count` is the number of (key, listener) pairs of both kinds; the shared counters of
//! [`Tracked`] add up all shards.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::ds::footprint;
use crate::util::check::{Checked, holds};
use crate::util::rng::Rng;

use super::keyspace::{DbIndex, Keyspace, ShardId};
use super::notice::{Invalidated, Notices};
use super::prefixes::PrefixFilter;

/// Raised when a key that a client watches is touched.
#[derive(Default, Debug)]
pub struct WatchFlag(AtomicU8);

/// A watched key went with all others of its database: the client goes on to watch, as in Redis.
const FLUSHED: u8 = 1;
/// A watched key was touched: all that the client watches is forgotten.
const TOUCHED: u8 = 2;

impl WatchFlag {
    /// Whether a watched key was touched, alone or with all others.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }

    /// Whether what is watched counts no longer.
    pub fn is_forgotten(&self) -> bool {
        self.0.load(Ordering::Acquire) == TOUCHED
    }

    /// A watched key was touched.
    pub fn raise(&self) {
        self.0.store(TOUCHED, Ordering::Release);
    }

    /// A watched key went with all others of its database.
    pub fn raise_by_flush(&self) {
        self.0.fetch_max(FLUSHED, Ordering::AcqRel);
    }

    /// Nothing is watched any more.
    pub fn lower(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// What concerns all shards together.
#[derive(Default, Debug)]
pub struct Tracked {
    /// Keys that somebody tracks one by one (INFO's `tracking_total_keys`, and `_items`).
    pub keys: AtomicU64,
    /// Pairs of a key and a client that tracks it.
    pub items: AtomicU64,
    /// The prefixes that somebody tracks.
    pub prefixes: PrefixFilter,
}

/// A hash that is one already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        // The top bits are the same in all of a shard's keys.
        self.0 = hash.rotate_left(20);
    }
}

type ByHash<T> = HashMap<u64, SmallVec<[T; 1]>, BuildHasherDefault<AsIs>>;

/// Who watches a key.
#[derive(Debug)]
struct Watcher {
    flag: Arc<WatchFlag>,
    /// By the time of WATCH the key had expired, and was left where it is: when it goes, nothing changes.
    had_expired: bool,
}

/// A key that somebody watches.
#[derive(Debug)]
struct WatchedKey {
    db: DbIndex,
    key: Box<[u8]>,
    watchers: SmallVec<[Watcher; 1]>,
}

/// The numbers of the clients that track a key, in order.
pub type Trackers = SmallVec<[u64; 2]>;

/// From so many on it is asked now and then which of a key's trackers are still there.
const CROWD: usize = 256;
/// Room for so many keys is kept when nobody listens to them any more.
const KEYS_KEPT: usize = 64;
/// No further key has the same hash.
const NO_KEY: u32 = u32::MAX;

/// A key that somebody tracks, in whatever database.
#[derive(Debug)]
struct TrackedKey {
    key: Box<[u8]>,
    hash: u64,
    trackers: Trackers,
    /// The next key with this hash.
    next: u32,
}

/// The keys that somebody tracks, side by side, so that any one can be chosen at random.
#[derive(Default, Debug)]
struct TrackedKeys {
    keys: Vec<TrackedKey>,
    /// The place of the first key with a hash.
    first: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    /// Memory of the keys' names.
    name_bytes: usize,
}

impl TrackedKeys {
    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let mut at = *self.first.get(&hash)?;
        while let Some(known) = self.keys.get(at as usize) {
            if *known.key == *key {
                return Some(at as usize);
            }
            at = known.next;
        }
        None
    }

    /// Adds a key that is not there.
    fn insert(&mut self, hash: u64, key: &[u8]) -> usize {
        let at = self.keys.len();
        let place = u32::try_from(at).expect("a shard has fewer keys than that");
        let next = self.first.insert(hash, place).unwrap_or(NO_KEY);
        self.name_bytes += footprint::block_bytes(key.len());
        self.keys.push(TrackedKey {
            key: key.into(),
            hash,
            trackers: Trackers::new(),
            next,
        });
        at
    }

    /// Takes the key at a place out; the last one moves there.
    fn remove(&mut self, at: usize) -> TrackedKey {
        let (hash, next) = (self.keys[at].hash, self.keys[at].next);
        self.relink(hash, at, next);
        let last = self.keys.len() - 1;
        if last != at {
            let hash = self.keys[last].hash;
            self.relink(hash, last, at as u32);
        }
        let known = self.keys.swap_remove(at);
        self.name_bytes -= footprint::block_bytes(known.key.len());
        if self.keys.capacity() > KEYS_KEPT && self.keys.len() < self.keys.capacity() / 8 {
            self.keys.shrink_to(self.keys.len() * 2);
            self.first.shrink_to(self.keys.len() * 2);
        }
        known
    }

    /// Has whatever leads to a place lead to another.
    fn relink(&mut self, hash: u64, from: usize, to: u32) {
        let from = from as u32;
        let Some(first) = self.first.get_mut(&hash) else {
            return;
        };
        if *first == from {
            match to {
                NO_KEY => drop(self.first.remove(&hash)),
                _ => *first = to,
            }
            return;
        }
        let mut at = *first;
        while let Some(known) = self.keys.get_mut(at as usize) {
            if known.next == from {
                known.next = to;
                return;
            }
            at = known.next;
        }
    }
}

/// What becomes of a key's watchers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Touch {
    /// It has changed, for all of them.
    Changed,
    /// It was deleted because it had expired, or to make room.
    Gone,
}

/// Tells those who watch a key, but for those to whom it was gone already, and takes them out; the number of
/// those who were told.
fn raise_of(known: &mut WatchedKey, touch: Touch) -> usize {
    let before = known.watchers.len();
    known.watchers.retain(|watcher| {
        let stays = touch == Touch::Gone && watcher.had_expired;
        watcher.had_expired = false;
        if !stays {
            watcher.flag.raise();
        }
        stays
    });
    before - known.watchers.len()
}

/// Memory that it takes to watch a key, besides the key itself, about, bytes.
pub const WATCHED_KEY_BYTES: usize =
    size_of::<(u64, SmallVec<[WatchedKey; 1]>)>() + size_of::<WatchedKey>();

/// See the module's text.
#[derive(Default, Debug)]
pub struct Listeners {
    watched: ByHash<WatchedKey>,
    tracked: TrackedKeys,
    count: usize,
}

impl Listeners {
    /// True when nobody listens to a key of this shard: what writers ask first.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Memory of the keys that are tracked, bytes, with two clients for each, and of room for keys that are
    /// watched; those keys themselves are counted with their clients.
    pub(super) fn memory_bytes(&self) -> usize {
        let TrackedKeys {
            keys,
            first,
            name_bytes,
        } = &self.tracked;
        footprint::block_bytes(keys.capacity() * size_of::<TrackedKey>())
            + footprint::hash_table_bytes(first.capacity(), size_of::<(u64, u32)>())
            + name_bytes
            + self.watched_room_bytes()
    }

    fn watched_room_bytes(&self) -> usize {
        let place = size_of::<(u64, SmallVec<[WatchedKey; 1]>)>();
        let table = footprint::hash_table_bytes(self.watched.capacity(), place);
        table.saturating_sub(self.watched.len() * place)
    }

    /// How many listen, each for each key.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether everybody who listens is found and counted; how many keys are tracked by how many.
    pub(super) fn check(&self) -> Checked<(u64, u64)> {
        let mut count = 0;
        for known in self.watched.values().flatten() {
            let watchers = known.watchers.len();
            holds!(watchers > 0, "nobody watches {}", known.key.escape_ascii());
            count += watchers;
        }
        let (mut items, mut name_bytes) = (0, 0);
        for (at, known) in self.tracked.keys.iter().enumerate() {
            let key = known.key.escape_ascii();
            holds!(
                self.tracked.find(known.hash, &known.key) == Some(at),
                "who tracks {key} is not found"
            );
            let trackers = &known.trackers;
            holds!(
                !trackers.is_empty() && trackers.is_sorted_by(|a, b| a < b),
                "{key} is tracked by {trackers:?}"
            );
            items += trackers.len();
            name_bytes += footprint::block_bytes(known.key.len());
        }
        let keys = self.tracked.keys.len();
        let said = (self.count, self.tracked.name_bytes);
        let found = (count + items, name_bytes);
        holds!(
            said == found,
            "{said:?} listeners, and bytes of keys, are {found:?}"
        );
        Ok((keys as u64, items as u64))
    }

    /// WATCH, of a key that had expired by then, or not; false if the flag watches the key already.
    pub fn watch(
        &mut self,
        hash: u64,
        db: DbIndex,
        key: &[u8],
        (flag, had_expired): (&Arc<WatchFlag>, bool),
    ) -> bool {
        let is_own = |watcher: &Watcher| Arc::ptr_eq(&watcher.flag, flag);
        let watcher = || Watcher {
            flag: flag.clone(),
            had_expired,
        };
        let keys = self.watched.entry(hash).or_default();
        let found = keys
            .iter_mut()
            .find(|known| known.db == db && *known.key == *key);
        match found {
            Some(known) if known.watchers.iter().any(is_own) => return false,
            Some(known) => known.watchers.push(watcher()),
            None => keys.push(WatchedKey {
                db,
                key: key.into(),
                watchers: SmallVec::from_iter([watcher()]),
            }),
        }
        self.count += 1;
        true
    }

    /// Ends [`Listeners::watch`]; nothing to end if the key was touched meanwhile.
    pub fn unwatch(&mut self, hash: u64, db: DbIndex, key: &[u8], flag: &Arc<WatchFlag>) {
        let Some(keys) = self.watched.get_mut(&hash) else {
            return;
        };
        for known in keys
            .iter_mut()
            .filter(|known| known.db == db && *known.key == *key)
        {
            let before = known.watchers.len();
            known
                .watchers
                .retain(|other| !Arc::ptr_eq(&other.flag, flag));
            self.count -= before - known.watchers.len();
        }
        keys.retain(|known| !known.watchers.is_empty());
        if keys.is_empty() {
            self.forget_watched(hash);
        }
    }

    /// Nobody watches the keys with a hash any more.
    fn forget_watched(&mut self, hash: u64) {
        self.watched.remove(&hash);
        let room = self.watched.capacity();
        if room > KEYS_KEPT && self.watched.len() < room / 8 {
            self.watched.shrink_to(self.watched.len() * 2);
        }
    }

    /// Raises the flags of those who watch a key. They need not be told again, so they do not watch it
    /// afterwards.
    pub(super) fn raise(&mut self, hash: u64, db: DbIndex, key: &[u8], touch: Touch) {
        let Some(keys) = self.watched.get_mut(&hash) else {
            return;
        };
        for known in keys.iter_mut() {
            if known.db == db && *known.key == *key {
                self.count -= raise_of(known, touch);
            }
        }
        keys.retain(|known| !known.watchers.is_empty());
        if keys.is_empty() {
            self.forget_watched(hash);
        }
    }

    /// Raises the flags of those who watch a key of a database that is emptied or exchanged: `is_there` says of a key
    /// whether it was there before, and whether it is there then.
    pub(super) fn raise_all(&mut self, db: DbIndex, is_there: impl Fn(u64, &[u8]) -> (bool, bool)) {
        for (&hash, keys) in &mut self.watched {
            for known in keys.iter_mut().filter(|known| known.db == db) {
                let (before, then) = is_there(hash, &known.key);
                for watcher in &mut known.watchers {
                    let had_expired = std::mem::take(&mut watcher.had_expired);
                    if before && !had_expired || then {
                        watcher.flag.raise_by_flush();
                    }
                }
            }
        }
    }

    /// Keys that somebody watches who has not been told yet that one of his was touched.
    pub fn watched_keys(&self) -> usize {
        let keys = self.watched.values().flatten();
        let is_watched = |known: &&WatchedKey| {
            known
                .watchers
                .iter()
                .any(|watcher| !watcher.flag.is_forgotten())
        };
        keys.filter(is_watched).count()
    }

    /// Remembers that a client keeps a copy of a key. Whoever `is_gone` is forgotten, of a key that
    /// very many track.
    pub fn track(
        &mut self,
        hash: u64,
        key: &[u8],
        client_id: u64,
        total: &Tracked,
        is_gone: impl Fn(u64) -> bool,
    ) {
        let found = self.tracked.find(hash, key);
        let at = found.unwrap_or_else(|| {
            total.keys.fetch_add(1, Ordering::Relaxed);
            self.tracked.insert(hash, key)
        });
        let trackers = &mut self.tracked.keys[at].trackers;
        let Err(place) = trackers.binary_search(&client_id) else {
            return;
        };
        if trackers.len() >= CROWD && trackers.len() == trackers.capacity() {
            let before = trackers.len();
            trackers.retain(|id| !is_gone(*id));
            let gone = before - trackers.len();
            self.count -= gone;
            total.items.fetch_sub(gone as u64, Ordering::Relaxed);
            let place = trackers.partition_point(|&id| id < client_id);
            trackers.insert(place, client_id);
        } else {
            trackers.insert(place, client_id);
        }
        total.items.fetch_add(1, Ordering::Relaxed);
        self.count += 1;
    }

    /// Forgets who tracks a key; who that was.
    pub(super) fn untrack(&mut self, hash: u64, key: &[u8], total: &Tracked) -> Option<Trackers> {
        let at = self.tracked.find(hash, key)?;
        Some(self.untrack_at(at, total).trackers)
    }

    /// Forgets who tracks a key, any one of them.
    pub(super) fn untrack_random(&mut self, rng: &mut Rng, total: &Tracked) -> Option<Invalidated> {
        let at = rng.below(self.tracked.keys.len() as u64) as usize;
        (at < self.tracked.keys.len()).then(|| {
            let TrackedKey { key, trackers, .. } = self.untrack_at(at, total);
            Invalidated { key, trackers }
        })
    }

    fn untrack_at(&mut self, at: usize, total: &Tracked) -> TrackedKey {
        let known = self.tracked.remove(at);
        let items = known.trackers.len();
        self.count -= items;
        total.keys.fetch_sub(1, Ordering::Relaxed);
        total.items.fetch_sub(items as u64, Ordering::Relaxed);
        known
    }

    /// Forgets whoever tracks any key.
    pub(super) fn untrack_all(&mut self, total: &Tracked) {
        let tracked = std::mem::take(&mut self.tracked);
        let items: usize = tracked.keys.iter().map(|known| known.trackers.len()).sum();
        self.count -= items;
        total
            .keys
            .fetch_sub(tracked.keys.len() as u64, Ordering::Relaxed);
        total.items.fetch_sub(items as u64, Ordering::Relaxed);
    }
}

impl Keyspace {
    /// Makes random keys untracked until no more than `keys_max` are tracked, or it has done so
    /// `budget` times, or someone has the keyspace for himself; those who track them are told. No
    /// shard is held.
    pub fn limit_tracked(&self, keys_max: u64, budget: usize, rng: &mut Rng) {
        let shards = self.all();
        for _ in 0..budget {
            if self.tracked.keys.load(Ordering::Relaxed) <= keys_max {
                return;
            }
            // Keys are spread evenly over shards, so the first one mostly has some.
            let first = rng.below(shards.len() as u64) as usize;
            let (before, after) = shards.split_at(first);
            let ids = (first..first + after.len()).chain(0..before.len());
            for id in ids {
                let Some(mut data) = self.claim(ShardId(id as u32)) else {
                    return;
                };
                let listeners = &mut data.side.listeners;
                if let Some(invalidated) = listeners.untrack_random(rng, &self.tracked) {
                    let notices = Notices {
                        invalidated: vec![invalidated],
                        ..Notices::default()
                    };
                    self.tell(notices, 0);
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DB: DbIndex = DbIndex(0);

    #[test]
    fn watchers_of_a_key_are_told_and_no_others() {
        let mut listeners = Listeners::default();
        let flags: Vec<Arc<WatchFlag>> = (0..3).map(|_| Arc::default()).collect();
        listeners.watch(7, DB, b"k", (&flags[0], false));
        listeners.watch(7, DB, b"k", (&flags[0], false));
        // The same hash: another key, another database.
        listeners.watch(7, DB, b"other", (&flags[1], false));
        listeners.watch(7, DbIndex(1), b"k", (&flags[2], false));
        listeners.raise(7, DB, b"k", Touch::Changed);
        let raised: Vec<bool> = flags.iter().map(|flag| flag.is_raised()).collect();
        assert_eq!(raised, [true, false, false]);
        listeners.unwatch(7, DB, b"k", &flags[0]);
        listeners.unwatch(7, DB, b"other", &flags[1]);
        assert!(!listeners.is_empty());
        listeners.unwatch(7, DbIndex(1), b"k", &flags[2]);
        assert!(listeners.is_empty() && listeners.watched.is_empty());
    }

    #[test]
    fn what_is_told_is_tracked_no_longer() {
        let (mut listeners, total) = (Listeners::default(), Tracked::default());
        let figures = || {
            let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
            (load(&total.keys), load(&total.items))
        };
        for (hash, key, client) in [
            (1, "a", 1),
            (1, "a", 1),
            (1, "a", 2),
            (1, "b", 3),
            (2, "c", 1),
        ] {
            listeners.track(hash, key.as_bytes(), client, &total, |_| false);
        }
        assert_eq!(figures(), (3, 4));
        let trackers = listeners.untrack(1, b"a", &total);
        assert_eq!(trackers.as_deref(), Some(&[1, 2][..]));
        assert_eq!(listeners.untrack(1, b"a", &total), None);
        assert_eq!(figures(), (2, 2));
        listeners.untrack_all(&total);
        assert_eq!(figures(), (0, 0));
        assert!(listeners.is_empty());
    }

    /// Against a plain map: keys whose hashes are equal, taken out in any order.
    #[test]
    fn keys_with_one_hash_are_told_apart() {
        let (mut listeners, total) = (Listeners::default(), Tracked::default());
        let mut model: std::collections::BTreeMap<u64, Trackers> = Default::default();
        let mut rng = Rng::from_seed(5);
        for _ in 0..20_000 {
            let number = rng.below(64);
            let (hash, key) = (number % 7, number.to_string());
            match rng.below(5) {
                0 => {
                    let trackers = listeners.untrack(hash, key.as_bytes(), &total);
                    assert_eq!(trackers, model.remove(&number));
                }
                1 => {
                    let told = listeners.untrack_random(&mut rng, &total);
                    assert_eq!(told.is_some(), !model.is_empty());
                    let Some(Invalidated { key, trackers }) = told else {
                        continue;
                    };
                    let number = std::str::from_utf8(&key).unwrap().parse().unwrap();
                    assert_eq!(model.remove(&number), Some(trackers));
                }
                _ => {
                    let client = 1 + rng.below(5);
                    listeners.track(hash, key.as_bytes(), client, &total, |_| false);
                    let trackers = model.entry(number).or_default();
                    if let Err(at) = trackers.binary_search(&client) {
                        trackers.insert(at, client);
                    }
                }
            }
            let items: usize = model.values().map(|trackers| trackers.len()).sum();
            assert_eq!(total.items.load(Ordering::Relaxed), items as u64);
            assert_eq!(total.keys.load(Ordering::Relaxed), model.len() as u64);
            assert_eq!(listeners.count, items);
        }
        listeners.untrack_all(&total);
        assert!(listeners.is_empty() && listeners.tracked.first.is_empty());
    }

    #[test]
    fn a_key_that_very_many_have_read_forgets_those_who_left() {
        let (mut listeners, total) = (Listeners::default(), Tracked::default());
        for client in 1..=100_000 {
            // One stays, of the others only the last.
            let is_gone = |id| id != 1;
            listeners.track(1, b"hot", client, &total, is_gone);
        }
        let items = total.items.load(Ordering::Relaxed);
        assert!(items <= 2 * CROWD as u64, "{items}");
        let trackers = listeners.untrack(1, b"hot", &total).unwrap();
        assert!(trackers.contains(&1) && trackers.contains(&100_000));
        assert!(trackers.is_sorted());
        assert!(listeners.is_empty());
    }
}
