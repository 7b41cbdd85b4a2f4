//! Shards, their locks, and what a command holds of them.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use crate::ds::entry::{Entry, EntryRef};
use crate::ds::hash::KeyHash;
use crate::ds::lock::{ShardGuard, ShardLock, lock_unless};
use crate::ds::table::Table;
use crate::util::padded::Padded;
use crate::util::sampled::Sampled;
use crate::util::spikes::Spikes;

use super::census::Ttls;
use super::defrag::Defrag;
use super::evict::{Eviction, Hand};
use super::expire::ExpireClock;
use super::gate::Gate;
use super::lazyfree::LazyFree;
use super::listen::Tracked;
use super::notice::{Interest, Observer};
use super::oplog::OpLog;
use super::side::Side;
use super::sizes::SizesClock;
use super::snapshot::{ShardSnapshot, Snapshot};
use super::usage::Usage;

/// Shards for each thread that serves clients.
const SHARDS_PER_WORKER: usize = 16;
/// Fewest shards of several threads.
const SHARDS_MIN: usize = 64;
/// Most shards.
const SHARDS_MAX: usize = 1024;

/// A numbered database (SELECT).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct DbIndex(pub u32);

/// A shard of the keyspace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ShardId(pub u32);

/// One shard: its mutex, and what others may read without it. Two cache lines, so that neighbours do not share.
#[repr(align(128))]
pub struct Shard {
    data: ShardLock<ShardData>,
    /// No key of the shard expires before this (Unix ms, `u64::MAX`: none holds a TTL). May be too early, never too late.
    pub(super) next_expire_at_ms: AtomicU64,
}

/// What a shard's mutex guards.
#[derive(Default)]
pub struct ShardData {
    /// Tables by database; shorter than the number of databases until one of them is written.
    pub(super) tables: Vec<Table<Entry>>,
    /// What is known of some keys besides.
    pub(super) side: Side,
    /// What a snapshot that is going on still needs of this shard.
    pub(super) snapshot: Option<Box<ShardSnapshot>>,
    /// Where candidates for eviction are looked for next.
    pub(super) hand: Hand,
    /// Counters of INFO stats.
    pub stats: ShardStats,
}

/// Counters that a shard keeps under its lock.
#[derive(Clone, Copy, Default, Debug)]
pub struct ShardStats {
    /// Lookups that found their key.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Keys removed because they expired.
    pub expired: u64,
    /// Fields of hashes removed because they expired.
    pub expired_fields: u64,
}

impl ShardData {
    /// The table of a database, if anything was ever written there.
    #[inline]
    pub(super) fn table(&self, db: DbIndex) -> Option<&Table<Entry>> {
        self.tables.get(db.0 as usize)
    }

    /// Calls `visit` with every entry, database by database, in the order of storage.
    pub fn for_each_entry(&self, mut visit: impl FnMut(DbIndex, EntryRef<'_>)) {
        for (db, table) in (0..).zip(&self.tables) {
            table.for_each(|entry| visit(DbIndex(db), entry));
        }
    }

    /// How many listen to keys of the shard, each for each key.
    #[cfg(test)]
    pub fn listeners_len(&self) -> usize {
        self.side.listeners.len()
    }

    /// Tells those who watch keys of a database that it is emptied.
    pub(super) fn touch_flushed(&mut self, db: DbIndex) {
        let table = self.tables.get(db.0 as usize);
        let is_there = |hash, key: &[u8]| {
            let before = table.is_some_and(|table| table.find(hash, key).is_some());
            (before, false)
        };
        self.side.listeners.raise_all(db, is_there);
    }

    /// Tells those who watch keys of one of two databases that these are exchanged.
    pub(super) fn touch_swapped(&mut self, a: DbIndex, b: DbIndex) {
        let tables = [a, b].map(|db| self.tables.get(db.0 as usize));
        let is_in = |table: Option<&Table<Entry>>, hash, key: &[u8]| {
            table.is_some_and(|table| table.find(hash, key).is_some())
        };
        for (db, [before, then]) in [(a, tables), (b, [tables[1], tables[0]])] {
            let is_there = |hash, key: &[u8]| (is_in(before, hash, key), is_in(then, hash, key));
            self.side.listeners.raise_all(db, is_there);
        }
    }

    /// The table of a database, made when there is none yet, what is known besides, and counters.
    #[inline]
    pub(super) fn parts(
        &mut self,
        db: DbIndex,
        skip_bits: u32,
        hash: KeyHash,
    ) -> (&mut Table<Entry>, &mut Side, &mut ShardStats) {
        let index = db.0 as usize;
        if index >= self.tables.len() {
            self.tables
                .resize_with(index + 1, || Table::new(skip_bits, hash));
        }
        (&mut self.tables[index], &mut self.side, &mut self.stats)
    }
}

/// The whole dataset.
pub struct Keyspace {
    shards: Box<[Shard]>,
    shard_bits: u32,
    databases: u32,
    hash: KeyHash,
    /// Keeps everyone else out while the exclusive path is taken.
    pub gate: Gate,
    /// When the expiry cycle has to run next.
    pub expire_clock: ExpireClock,
    /// Frees large things in the background.
    pub lazyfree: LazyFree,
    /// Moves the dataset together in memory.
    pub defrag: Defrag,
    /// What is measured of how keys are used.
    pub usage: Usage,
    /// Which keys have to go when memory is full.
    pub eviction: Eviction,
    /// The order of writes.
    pub oplog: OpLog,
    /// Who hears of what has taken long.
    pub spikes: Arc<Spikes>,
    /// What anybody wants to know of every key.
    pub interest: Interest,
    /// Figures of the keys that are tracked one by one.
    pub tracked: Tracked,
    /// Who tells those who want to know; set once, when the server is made.
    pub observer: OnceLock<Box<dyn Observer>>,
    /// The snapshot that is going on.
    pub snapshot: Snapshot,
    /// How long keys have still to live, by database.
    pub(super) ttls: Sampled<Vec<Ttls>>,
    /// Whether anybody wants to know how large values are.
    pub(super) sizes: SizesClock,
    /// Changes since the server started or CONFIG RESETSTAT's kin; see [`Keyspace::changes`]. Each worker adds to it
    /// with each batch that writes.
    changes: Padded<AtomicU64>,
}

impl Keyspace {
    /// An empty keyspace of at least `shards` shards (rounded up to a power of two) and `databases` databases.
    pub fn new(shards: usize, databases: u32, hash: KeyHash) -> Keyspace {
        let shards = shards.max(1).next_power_of_two();
        let shard = || Shard {
            data: ShardLock::new(ShardData {
                tables: Vec::new(),
                side: Side::default(),
                snapshot: None,
                hand: Hand::default(),
                stats: ShardStats::default(),
            }),
            next_expire_at_ms: AtomicU64::new(u64::MAX),
        };
        let oplog = OpLog::new(shards / SHARDS_PER_WORKER);
        Keyspace {
            shards: (0..shards).map(|_| shard()).collect(),
            shard_bits: shards.trailing_zeros(),
            databases,
            hash,
            gate: Gate::default(),
            expire_clock: ExpireClock::default(),
            lazyfree: LazyFree::default(),
            defrag: Defrag::default(),
            usage: Usage::default(),
            eviction: Eviction::default(),
            spikes: oplog.spikes.clone(),
            oplog,
            interest: Interest::default(),
            tracked: Tracked::default(),
            observer: OnceLock::new(),
            snapshot: Snapshot::default(),
            ttls: Sampled::default(),
            sizes: SizesClock::default(),
            changes: Padded::default(),
        }
    }

    /// How many shards a server of `workers` threads uses: conflicts stay rare, an empty server stays small. A
    /// single worker meets only what works in the background, and is sooner through with all shards.
    pub fn shards_for(workers: usize) -> usize {
        let least = if workers > 1 {
            SHARDS_MIN
        } else {
            SHARDS_PER_WORKER
        };
        (SHARDS_PER_WORKER * workers)
            .next_power_of_two()
            .clamp(least, SHARDS_MAX)
    }

    /// Number of databases.
    pub fn databases(&self) -> u32 {
        self.databases
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// All shards, in the order in which they are locked.
    #[inline]
    pub fn shard_ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shards() as u32).map(ShardId)
    }

    /// Hash of a key; the top bits choose the shard.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hash.hash(key)
    }

    /// The hash function.
    pub fn key_hash(&self) -> KeyHash {
        self.hash
    }

    /// Bits of the hash that choose the shard.
    #[inline]
    pub(super) fn shard_bits(&self) -> u32 {
        self.shard_bits
    }

    /// The shard of a hash.
    #[inline]
    pub fn shard_of(&self, hash: u64) -> ShardId {
        // Two shifts: with a single shard, 64 - 0 would be out of range for one.
        ShardId((hash >> 1 >> (63 - self.shard_bits)) as u32)
    }

    #[inline]
    pub(super) fn shard(&self, id: ShardId) -> &Shard {
        &self.shards[id.0 as usize]
    }

    /// All shards, in locking order.
    pub(super) fn all(&self) -> &[Shard] {
        &self.shards
    }

    /// Locks nothing: for commands without keys.
    #[inline(always)]
    pub fn lock_none(&self) -> Locks<'_> {
        Locks {
            first: None,
            rest: Vec::new(),
        }
    }

    /// Locks the shard of one key.
    #[inline(always)]
    pub fn lock_one(&self, hash: u64) -> Locks<'_> {
        let id = self.shard_of(hash);
        Locks {
            first: Some((id, Hold::Own(self.shard(id).data.lock()))),
            rest: Vec::new(),
        }
    }

    /// Locks the shards of several keys, each once, in ascending order.
    #[cfg(test)]
    pub fn lock_many(&self, hashes: impl Iterator<Item = u64>) -> Locks<'_> {
        let mut ids: SmallVec<[ShardId; 16]> = hashes.map(|hash| self.shard_of(hash)).collect();
        ids.sort_unstable();
        ids.dedup();
        let lock = |id| (id, Hold::Own(self.shard(id).data.lock()));
        let mut guards = ids.into_iter().map(lock);
        Locks {
            first: guards.next(),
            rest: guards.collect(),
        }
    }

    /// As [`Keyspace::lock_one`]; `None` when someone has the keyspace for himself, for long.
    #[inline(always)]
    pub fn claim_one(&self, hash: u64) -> Option<Locks<'_>> {
        let id = self.shard_of(hash);
        Some(Locks {
            first: Some((id, Hold::Own(self.claim(id)?))),
            rest: Vec::new(),
        })
    }

    /// Locks the shards of several keys, each once, in ascending order; `None` when someone has the keyspace for himself,
    /// for long.
    pub fn claim_many(&self, hashes: impl Iterator<Item = u64>) -> Option<Locks<'_>> {
        let mut ids: SmallVec<[ShardId; 16]> = hashes.map(|hash| self.shard_of(hash)).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut ids = ids.into_iter();
        let mut locks = self.lock_none();
        if let Some(id) = ids.next() {
            locks.first = Some((id, Hold::Own(self.claim(id)?)));
        }
        for id in ids {
            locks.rest.push((id, Hold::Own(self.claim(id)?)));
        }
        Some(locks)
    }

    /// A shard; `None` when someone has the keyspace for himself, for long.
    #[inline(always)]
    pub(super) fn claim(&self, id: ShardId) -> Option<ShardGuard<'_, ShardData>> {
        lock_unless(&self.shard(id).data, || self.gate.is_held_long())
    }

    /// A shard, if it is free.
    #[inline]
    pub(super) fn try_claim(&self, id: ShardId) -> Option<ShardGuard<'_, ShardData>> {
        self.shard(id).data.try_lock()
    }

    /// Locks every shard. Only for the exclusive path: see [`Gate`].
    pub fn lock_all(&self) -> Locks<'_> {
        let lock = |(id, shard)| (ShardId(id as u32), Hold::Own(Shard::lock(shard)));
        let mut guards = self.shards.iter().enumerate().map(lock);
        Locks {
            first: guards.next(),
            rest: guards.collect(),
        }
    }

    /// Brings the lines that a lookup of `hash` reads into the cache, when its shard is free. `entries`: the second
    /// stage, which expects the first to have been done a few lookups ago.
    #[inline]
    pub fn prefetch(&self, db: DbIndex, hash: u64, entries: bool) {
        if let Some(shard) = self.shard(self.shard_of(hash)).data.try_lock()
            && let Some(table) = shard.table(db)
        {
            table.prefetch(hash, entries);
            if !entries {
                shard.prefetch_ghost(db, hash);
            }
        }
    }

    /// A third stage for commands on collections, which read more of an entry than its first line.
    /// True if the value is a large one, to be looked into by [`Keyspace::prefetch_elements`].
    #[inline]
    pub fn prefetch_value(&self, db: DbIndex, hash: u64) -> bool {
        let mut is_large = false;
        if let Some(shard) = self.shard(self.shard_of(hash)).data.try_lock()
            && let Some(table) = shard.table(db)
        {
            table.peek(hash, |entry| is_large |= entry.prefetch_value());
        }
        is_large
    }

    /// As [`Keyspace::prefetch`], of elements of the key's large collection.
    pub fn prefetch_elements(
        &self,
        db: DbIndex,
        hash: u64,
        mut elements: impl Iterator<Item = u64>,
        entries: bool,
    ) {
        if let Some(shard) = self.shard(self.shard_of(hash)).data.try_lock()
            && let Some(table) = shard.table(db)
        {
            table.peek(hash, |entry| {
                if let Some(collection) = entry.value().as_collection() {
                    for element in elements.by_ref() {
                        collection.prefetch(element, entries);
                    }
                }
            });
        }
    }

    /// Changes to the dataset since start (`rdb_changes_since_last_save`).
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Adds a command's changes.
    #[inline]
    pub fn add_changes(&self, changes: u64) {
        if changes != 0 {
            self.changes.fetch_add(changes, Ordering::Relaxed);
        }
    }
}

impl Shard {
    /// Whether a key of the shard, or a field of one, may have a TTL.
    pub(super) fn may_expire(&self) -> bool {
        self.next_expire_at_ms.load(Ordering::Relaxed) != u64::MAX
    }

    pub(super) fn lock(&self) -> ShardGuard<'_, ShardData> {
        self.data.lock()
    }
}

/// The shards that a command holds, ascending but for the first. Mostly one, so that has a place of its own.
pub struct Locks<'k> {
    first: Option<(ShardId, Hold<'k>)>,
    rest: Vec<(ShardId, Hold<'k>)>,
}

/// How a shard is held.
enum Hold<'k> {
    /// It is locked.
    Own(ShardGuard<'k, ShardData>),
    /// Somebody else has locked it, and lends it.
    Lent(&'k mut ShardData),
}

impl Deref for Hold<'_> {
    type Target = ShardData;

    #[inline(always)]
    fn deref(&self) -> &ShardData {
        match self {
            Hold::Own(guard) => guard,
            Hold::Lent(data) => data,
        }
    }
}

impl DerefMut for Hold<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut ShardData {
        match self {
            Hold::Own(guard) => guard,
            Hold::Lent(data) => data,
        }
    }
}

impl<'k> Locks<'k> {
    /// The data of a shard, if held.
    #[inline(always)]
    pub(super) fn get(&mut self, id: ShardId) -> Option<&mut ShardData> {
        if matches!(&self.first, Some((first, _)) if *first == id) {
            return self.first.as_mut().map(|(_, guard)| &mut **guard);
        }
        self.get_of_rest(id)
    }

    #[inline(never)]
    fn get_of_rest(&mut self, id: ShardId) -> Option<&mut ShardData> {
        let at = self.place_in_rest(id)?;
        Some(&mut self.rest[at].1)
    }

    fn place_in_rest(&self, id: ShardId) -> Option<usize> {
        // Of all shards, which are all in order, each is where its number says.
        let guess = (id.0 as usize).wrapping_sub(1);
        match self.rest.get(guess) {
            Some((held, _)) if *held == id => Some(guess),
            _ => self.rest.binary_search_by_key(&id, |(held, _)| *held).ok(),
        }
    }

    /// Lends one shard, if it is held.
    #[inline]
    pub(super) fn lend_one(&mut self, id: ShardId) -> Option<Locks<'_>> {
        let data = self.get(id)?;
        Some(Locks {
            first: Some((id, Hold::Lent(data))),
            rest: Vec::new(),
        })
    }

    /// Lends these shards, which ascend, each named once, if all of them are held.
    pub(super) fn lend_many(&mut self, ids: &[ShardId]) -> Option<Locks<'_>> {
        let is_asked = |held: &ShardId| ids.binary_search(held).is_ok();
        let first = self.first.iter_mut();
        let held = first.chain(&mut self.rest);
        let asked = held.filter(|(held, _)| is_asked(held));
        let mut rest: Vec<_> = asked.map(|(id, hold)| (*id, Hold::Lent(hold))).collect();
        // The first of a lender need not be the lowest.
        rest.sort_unstable_by_key(|(id, _)| *id);
        (rest.len() == ids.len()).then_some(Locks { first: None, rest })
    }

    /// Lends all that is held.
    pub(super) fn lend_all(&mut self) -> Locks<'_> {
        fn lend<'a>((id, hold): &'a mut (ShardId, Hold<'_>)) -> (ShardId, Hold<'a>) {
            (*id, Hold::Lent(hold))
        }
        Locks {
            first: self.first.as_mut().map(lend),
            rest: self.rest.iter_mut().map(lend).collect(),
        }
    }

    /// The highest shard that is held.
    pub(super) fn highest(&self) -> Option<ShardId> {
        let first = self.first.as_ref().map(|(id, _)| *id);
        first.max(self.rest.last().map(|(id, _)| *id))
    }

    /// Holds one more shard, which comes behind all that are held: waits for it. False if someone has the
    /// keyspace for himself.
    pub(super) fn hold_next(&mut self, keyspace: &'k Keyspace, id: ShardId) -> bool {
        debug_assert!(
            self.highest() < Some(id),
            "shards are locked in ascending order"
        );
        let Some(guard) = keyspace.claim(id) else {
            return false;
        };
        self.add(id, Hold::Own(guard));
        true
    }

    fn add(&mut self, id: ShardId, hold: Hold<'k>) {
        match self.first {
            None => self.first = Some((id, hold)),
            Some(_) => {
                let at = self.rest.partition_point(|(held, _)| *held < id);
                self.rest.insert(at, (id, hold));
            }
        }
    }

    /// The data of a shard, if held, to be read.
    #[inline]
    pub(super) fn peek(&self, id: ShardId) -> Option<&ShardData> {
        if let Some((first, guard)) = &self.first
            && *first == id
        {
            return Some(guard);
        }
        let at = self.place_in_rest(id)?;
        Some(&self.rest[at].1)
    }

    /// Holds one more shard, if it is held already or free: nobody waits, so the order does not
    /// matter.
    pub(super) fn try_hold(&mut self, keyspace: &'k Keyspace, id: ShardId) -> bool {
        if self.get(id).is_some() {
            return true;
        }
        let Some(guard) = keyspace.shard(id).data.try_lock() else {
            return false;
        };
        self.add(id, Hold::Own(guard));
        true
    }

    /// True when no shard is held.
    pub fn is_empty(&self) -> bool {
        self.first.is_none() && self.rest.is_empty()
    }

    /// Number of shards that are held.
    pub fn len(&self) -> usize {
        self.first.is_some() as usize + self.rest.len()
    }
}
