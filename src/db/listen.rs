//! Who listens to single keys of a shard: transactions that watch them (WATCH), and clients that
//! keep copies of them (CLIENT TRACKING).
//!
//! Kept under the shard's lock, so what was read and what is listened to cannot come apart. A write
//! asks first whether anybody listens to anything in the shard ([`Listeners::is_empty`]), then looks
//! the key's hash up; nobody else pays.
//!
//! Watchers are told by a flag of their own ([`WatchFlag`]), trackers by
//! [`Notices`](super::notice::Notices): a key that is told is tracked no longer.
//!
//! Invariant: `count` is the number of (key, listener) pairs of both kinds; the shared counters of
//! [`Tracked`] add up all shards.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use smallvec::SmallVec;

use super::keyspace::DbIndex;

/// Raised when a key that a client watches is touched.
#[derive(Default, Debug)]
pub struct WatchFlag(AtomicBool);

impl WatchFlag {
    /// Whether a watched key was touched.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// A watched key was touched.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Nothing is watched any more.
    pub fn lower(&self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Figures of all shards together (INFO's `tracking_total_keys` and `_items`).
#[derive(Default, Debug)]
pub struct Tracked {
    /// Keys that somebody tracks.
    pub keys: AtomicU64,
    /// Pairs of a key and a client that tracks it.
    pub items: AtomicU64,
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

/// A key that somebody watches.
#[derive(Debug)]
struct WatchedKey {
    db: DbIndex,
    key: Box<[u8]>,
    watchers: SmallVec<[Arc<WatchFlag>; 1]>,
}

/// A key that somebody tracks, in whatever database.
#[derive(Debug)]
struct TrackedKey {
    key: Box<[u8]>,
    trackers: Vec<u64>,
}

/// Tells those who watch one of the keys that `is_touched` finds, and takes these out; the number of
/// those who were told.
fn raise_where(
    keys: &mut SmallVec<[WatchedKey; 1]>,
    is_touched: impl Fn(&WatchedKey) -> bool,
) -> usize {
    let mut told = 0;
    keys.retain(|known| {
        let touched = is_touched(known);
        if touched {
            known.watchers.iter().for_each(|flag| flag.raise());
            told += known.watchers.len();
        }
        !touched
    });
    told
}

/// See the module's text.
#[derive(Default, Debug)]
pub struct Listeners {
    watched: ByHash<WatchedKey>,
    tracked: ByHash<TrackedKey>,
    count: usize,
}

impl Listeners {
    /// True when nobody listens to a key of this shard: what writers ask first.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// WATCH; false if the flag watches the key already.
    pub fn watch(&mut self, hash: u64, db: DbIndex, key: &[u8], flag: &Arc<WatchFlag>) -> bool {
        let keys = self.watched.entry(hash).or_default();
        let found = keys
            .iter_mut()
            .find(|known| known.db == db && *known.key == *key);
        match found {
            Some(known) if known.watchers.iter().any(|other| Arc::ptr_eq(other, flag)) => {
                return false;
            }
            Some(known) => known.watchers.push(flag.clone()),
            None => keys.push(WatchedKey {
                db,
                key: key.into(),
                watchers: SmallVec::from_iter([flag.clone()]),
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
            known.watchers.retain(|other| !Arc::ptr_eq(other, flag));
            self.count -= before - known.watchers.len();
        }
        keys.retain(|known| !known.watchers.is_empty());
        if keys.is_empty() {
            self.watched.remove(&hash);
        }
    }

    /// Raises the flags of those who watch a key. They need not be told again, so nobody watches it
    /// afterwards.
    pub(super) fn raise(&mut self, hash: u64, db: DbIndex, key: &[u8]) {
        let Some(keys) = self.watched.get_mut(&hash) else {
            return;
        };
        let found = |known: &WatchedKey| known.db == db && *known.key == *key;
        self.count -= raise_where(keys, found);
        if keys.is_empty() {
            self.watched.remove(&hash);
        }
    }

    /// Raises the flags of those who watch a key of a database for which `is_touched` says so.
    pub(super) fn raise_all(&mut self, db: DbIndex, is_touched: impl Fn(u64, &[u8]) -> bool) {
        let count = &mut self.count;
        self.watched.retain(|&hash, keys| {
            *count -= raise_where(keys, |known| known.db == db && is_touched(hash, &known.key));
            !keys.is_empty()
        });
    }

    /// Keys that somebody watches who has not been told yet that one of his was touched.
    pub fn watched_keys(&self) -> usize {
        let keys = self.watched.values().flatten();
        let is_watched = |known: &&WatchedKey| known.watchers.iter().any(|flag| !flag.is_raised());
        keys.filter(is_watched).count()
    }

    /// Remembers that a client keeps a copy of a key.
    pub fn track(&mut self, hash: u64, key: &[u8], client_id: u64, total: &Tracked) {
        let keys = self.tracked.entry(hash).or_default();
        match keys.iter_mut().find(|known| *known.key == *key) {
            Some(known) if known.trackers.contains(&client_id) => return,
            Some(known) => known.trackers.push(client_id),
            None => {
                keys.push(TrackedKey {
                    key: key.into(),
                    trackers: vec![client_id],
                });
                total.keys.fetch_add(1, Ordering::Relaxed);
            }
        }
        total.items.fetch_add(1, Ordering::Relaxed);
        self.count += 1;
    }

    /// Forgets who tracks a key; who that was.
    pub(super) fn untrack(&mut self, hash: u64, key: &[u8], total: &Tracked) -> Option<Vec<u64>> {
        let keys = self.tracked.get_mut(&hash)?;
        let at = keys.iter().position(|known| *known.key == *key)?;
        let trackers = keys.swap_remove(at).trackers;
        if keys.is_empty() {
            self.tracked.remove(&hash);
        }
        self.count -= trackers.len();
        total.keys.fetch_sub(1, Ordering::Relaxed);
        total
            .items
            .fetch_sub(trackers.len() as u64, Ordering::Relaxed);
        Some(trackers)
    }

    /// Forgets whoever tracks any key.
    pub(super) fn untrack_all(&mut self, total: &Tracked) {
        for known in std::mem::take(&mut self.tracked).into_values().flatten() {
            self.count -= known.trackers.len();
            total.keys.fetch_sub(1, Ordering::Relaxed);
            total
                .items
                .fetch_sub(known.trackers.len() as u64, Ordering::Relaxed);
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
        listeners.watch(7, DB, b"k", &flags[0]);
        listeners.watch(7, DB, b"k", &flags[0]);
        // The same hash: another key, another database.
        listeners.watch(7, DB, b"other", &flags[1]);
        listeners.watch(7, DbIndex(1), b"k", &flags[2]);
        listeners.raise(7, DB, b"k");
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
            listeners.track(hash, key.as_bytes(), client, &total);
        }
        assert_eq!(figures(), (3, 4));
        assert_eq!(listeners.untrack(1, b"a", &total), Some(vec![1, 2]));
        assert_eq!(listeners.untrack(1, b"a", &total), None);
        assert_eq!(figures(), (2, 2));
        listeners.untrack_all(&total);
        assert_eq!(figures(), (0, 0));
        assert!(listeners.is_empty());
    }
}
