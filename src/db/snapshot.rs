//! The keyspace at one moment, read while it goes on changing: what snapshots are made of.
//!
//! [`Keyspace::begin_snapshot`] holds all shards for the moment that it takes to turn one bit per
//! table around (`ds::table`), which makes every key *unsaved*. Then one [`Walk`] goes through the
//! shards in slices of some keys per hold of a lock, while commands go on. A command that is about to
//! change an unsaved key puts a copy of it aside first (`ShardData::before_change`, in the lookups
//! for writing, so no command has to think of it); keys that are created are saved already.
//!
//! A large collection is never copied as a whole. It is *opened*: from then on it keeps what changes
//! of it by itself (`ds::collection`), and the walk hands it over as a [`Large`], which is read in
//! slices, too. It may be renamed, changed and deleted meanwhile.
//!
//! What is kept for the snapshot alone is counted ([`Snapshot::kept_bytes`]), since it does not count against
//! `maxmemory`: copies, until they were handed out, and what has left the keyspace, about. A large string is put
//! aside without being copied, so it counts only when no key has it any more (`shared`); a large collection that is
//! open counts from when it leaves (`Snapshot::note_left`), but not what it keeps of elements that it has lost
//! before, and not at all if it had become so small that it was freed on the spot.
//!
//! Invariants:
//! - one snapshot at a time, and each one is walked to its end, also when nobody wants it any more
//!   ([`Walk::abandon`]): only then do all keys look saved again;
//! - order of locks: shards, then the list of opened collections, then one of these; that of shared values comes
//!   last, and nothing is locked or freed while it is held.
//!
//! To add a way in which keys change or leave: it goes through `Access`, or calls `before_change`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::ds::collection::{Collection, Element, Rest, Saving};
use crate::ds::entry::{Entry, EntryMut, EntryRef, Meta, ValueRef, shared_bytes};
use crate::ds::footprint;
use crate::ds::table::{Slot, Table};
use crate::sys::sync::{self, AtomicBool, Mutex, Ordering};

use super::effects::Effects;
use super::keyspace::{DbIndex, Keyspace, ShardData, ShardId};
use super::lazyfree::{about_bytes, weigh_table};
use shared::{SharedValues, place_of};

pub use shared::Places;
pub(super) use shared::for_each_shared;

mod shared;

/// Collections of more elements are opened, not copied. Few in tests, which have small collections.
const COPIED_ELEMENTS_MAX: usize = if cfg!(test) { 4 } else { 128 };
/// How many hashes are looked at to find out whether fields of any expire.
const FIELD_LOOKS_MAX: usize = 256;
/// How long the walk waits for a collection that is on its way from one place to another.
const RETRY: Duration = Duration::from_micros(100);

/// What the keyspace knows of a snapshot that is going on.
#[derive(Default)]
pub struct Snapshot {
    running: AtomicBool,
    /// Large collections that are being read, or wait for it, by [`Saving::id`].
    opened: Mutex<BTreeMap<usize, Arc<Large>>>,
    /// Values that were put aside without being copied.
    shared: SharedValues,
    /// Memory held by copies that were put aside, bytes, and the most that it was.
    held_bytes: AtomicU64,
    held_peak_bytes: AtomicU64,
    /// Buffers of whoever writes it.
    buffers_bytes: AtomicU64,
    /// Large values and tables that have left the keyspace and are still to be read.
    rests_bytes: AtomicU64,
}

/// What a shard keeps for a snapshot.
#[derive(Default)]
pub struct ShardSnapshot {
    aside: Aside,
    /// Of each table: its database when the snapshot began, and how far it has been read. They go
    /// with the table when databases are exchanged.
    places: Vec<(DbIndex, u64)>,
}

/// What a shard has put aside since the walk was last there.
#[derive(Default)]
struct Aside {
    /// Copies of keys that have changed, and what this list takes, bytes.
    early: Vec<Early>,
    list_bytes: u64,
    /// Tables that FLUSHALL and its like have taken out of the keyspace.
    flushed: Vec<(DbIndex, Table<Entry>, u64)>,
}

/// A key that was put aside.
struct Early {
    /// Its database when the snapshot began.
    db: DbIndex,
    /// It has values that are listed in [`Snapshot::shared`].
    is_sharing: bool,
    entry: Entry,
    /// What it takes besides those, bytes.
    bytes: u64,
}

/// The keyspace's figures in the moment of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// Keys and keys with an expiry, by database; without those that are empty.
    pub databases: Vec<(DbIndex, u64, u64)>,
    /// [`Keyspace::changes`] then.
    pub changes: u64,
    /// Some hash has fields that expire.
    pub fields_expire: bool,
    /// The groups of some stream have consumers, or had.
    pub consumers: bool,
}

/// A large collection as it was in the moment of the snapshot.
pub struct Large {
    /// Its database.
    pub db: DbIndex,
    /// Its key.
    pub key: Box<[u8]>,
    /// Type, encoding, LRU field.
    pub meta: Meta,
    /// Its expiry, Unix ms.
    pub expire_at_ms: Option<u64>,
    /// Elements; nodes, of a list and of a stream.
    pub len: usize,
    /// Some of its fields expire.
    pub fields_expire: bool,
    /// Some of its groups have consumers.
    pub has_consumers: bool,
    /// See [`Saving::id`].
    id: usize,
    state: Mutex<LargeState>,
}

struct LargeState {
    saving: Saving,
    /// Where it is now.
    place: (DbIndex, Box<[u8]>),
    /// What is left of it, if it was deleted.
    rest: Option<Rest>,
    /// What it takes, if it has left the keyspace, bytes.
    kept_bytes: u64,
}

impl Snapshot {
    /// Whether a snapshot is going on.
    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    /// Memory held by copies that were put aside, bytes (`current_cow_size`).
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// The most that [`Snapshot::held_bytes`] has been in the last snapshot.
    pub fn held_peak_bytes(&self) -> u64 {
        self.held_peak_bytes.load(Ordering::Relaxed)
    }

    /// Memory that will be free when the snapshot is done, bytes: copies, what has left the keyspace before it was read, and
    /// buffers of whoever writes it.
    pub fn kept_bytes(&self) -> u64 {
        let rests_bytes = self.rests_bytes.load(Ordering::Relaxed);
        self.held_bytes() + rests_bytes + self.buffers_bytes.load(Ordering::Relaxed)
    }

    /// Whoever writes the snapshot has a buffer more.
    pub fn note_buffer(&self, bytes: usize) {
        self.buffers_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// All buffers have been given back.
    pub fn forget_buffers(&self) {
        self.buffers_bytes.store(0, Ordering::Relaxed);
    }

    fn hold(&self, bytes: u64) {
        let held_bytes = self.held_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.held_peak_bytes
            .fetch_max(held_bytes, Ordering::Relaxed);
    }

    fn release(&self, bytes: u64) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Opens a large collection that is in the keyspace at (`db_now`, its key), or was: then it keeps so many bytes
    /// from being freed.
    fn open(&self, db: DbIndex, db_now: DbIndex, entry: EntryMut<'_>, kept_bytes: u64) {
        let view = entry.view();
        let key: Box<[u8]> = view.key().into();
        let (meta, expire_at_ms) = (view.meta(), view.expire_at_ms());
        let Some(collection) = entry.into_collection() else {
            return;
        };
        let fields_expire = match &collection {
            Collection::Hash(fields) => fields.table.expires_len() > 0,
            _ => false,
        };
        let has_consumers = match &collection {
            Collection::Stream(stream) => stream.groups().have_consumers(),
            _ => false,
        };
        let len = collection.save_len();
        let saving = collection.begin_save();
        let id = saving.id();
        let large = Large {
            db,
            key: key.clone(),
            meta,
            expire_at_ms,
            len,
            fields_expire,
            has_consumers,
            id,
            state: Mutex::new(LargeState {
                saving,
                place: (db_now, key),
                rest: None,
                kept_bytes,
            }),
        };
        self.rests_bytes.fetch_add(kept_bytes, Ordering::Relaxed);
        self.opened.lock().insert(id, Arc::new(large));
    }

    /// An entry has left the keyspace: if it is being read, or waits for it, it is kept for that only.
    /// Under its shard's lock.
    #[inline]
    pub(super) fn note_left(&self, entry: EntryRef<'_>) {
        if self.is_running() {
            self.keep_left(entry);
        }
    }

    #[cold]
    fn keep_left(&self, entry: EntryRef<'_>) {
        let collection = entry.value().as_collection();
        let Some(id) = collection.and_then(Collection::saving_id) else {
            return;
        };
        if let Some(large) = self.opened.lock().get(&id) {
            self.keep(&mut large.state.lock(), entry);
        }
    }

    /// Counts an opened collection that leaves as what is kept.
    fn keep(&self, state: &mut LargeState, entry: EntryRef<'_>) {
        let bytes = about_bytes(entry);
        state.kept_bytes += bytes;
        self.rests_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Drops opened collections that are in a table that goes: they are not unsaved keys any more, and are
    /// read apart.
    fn take_opened(&self, hash: impl Fn(&[u8]) -> u64, db: DbIndex, table: &mut Table<Entry>) {
        for large in self.opened.lock().values() {
            let mut state = large.state.lock();
            let (at, key) = &state.place;
            let found = (*at == db).then(|| table.find(hash(key), key)).flatten();
            let Some(slot) = found else { continue };
            let entry = table.get(slot);
            let collection = entry.value().as_collection();
            if collection.is_some_and(|collection| state.saving.is_of(collection)) {
                self.keep(&mut state, entry);
                drop(state);
                drop(table.remove(slot));
            }
        }
    }

    /// A large collection has come to another place, or another one to that place.
    pub(super) fn note_moved(&self, db: DbIndex, entry: EntryRef<'_>) {
        let Some(collection) = entry.value().as_collection() else {
            return;
        };
        if !self.is_running() {
            return;
        }
        let Some(id) = collection.saving_id() else {
            return;
        };
        if let Some(large) = self.opened.lock().get(&id) {
            large.state.lock().place = (db, entry.key().into());
        }
    }

    /// Two databases were exchanged.
    pub(super) fn note_swapped(&self, a: DbIndex, b: DbIndex) {
        for large in self.opened.lock().values() {
            let place = &mut large.state.lock().place;
            place.0 = match place.0 {
                db if db == a => b,
                db if db == b => a,
                db => db,
            };
        }
    }
}

/// Whether a value is read in slices.
#[inline]
fn is_large(entry: EntryRef<'_>) -> bool {
    let collection = entry.value().as_collection();
    collection.is_some_and(|collection| collection.len() > COPIED_ELEMENTS_MAX)
}

impl ShardData {
    /// Whether some hash has fields that expire. A hash stays listed for a while after it has lost
    /// them, so some are looked at; the rest are taken at the list's word.
    fn some_field_expires(&self, hash: impl Fn(&[u8]) -> u64, looks_left: &mut usize) -> bool {
        self.side.field_due.places().iter().any(|(_, db, key)| {
            let Some(left) = looks_left.checked_sub(1) else {
                return true;
            };
            *looks_left = left;
            let table = self.table(*db);
            let found = table.and_then(|table| Some(table.get(table.find(hash(key), key)?)));
            match found.and_then(|entry| entry.value().as_collection()) {
                Some(Collection::Hash(fields)) => fields.table.expires_len() > 0,
                _ => false,
            }
        })
    }

    /// To be called before the entry in a slot changes, expires or goes: a snapshot may need it as
    /// it is, and a book has its size.
    #[inline(always)]
    pub(super) fn before_change(
        &mut self,
        snapshot: &Snapshot,
        effects: &mut Effects,
        db: DbIndex,
        slot: Slot,
    ) {
        // One branch for what nobody wants mostly.
        if self.snapshot.is_some() | self.side.sizes.is_some() {
            self.put_aside(snapshot, effects, db, slot);
            self.leave_size_of(db, slot);
        }
    }

    #[inline(never)]
    fn put_aside(&mut self, snapshot: &Snapshot, effects: &mut Effects, db: DbIndex, slot: Slot) {
        let table = &mut self.tables[db.0 as usize];
        let Some(mine) = &mut self.snapshot else {
            return;
        };
        if table.is_saving() && !table.is_saved(slot) {
            table.set_saved(slot);
            let db_then = mine.db_then(db);
            match is_large(table.get(slot)) {
                true => snapshot.open(db_then, db, table.meta_mut(slot), 0),
                false => mine.hold(snapshot, db_then, table.get(slot).duplicate()),
            }
        }
        // When the command is done, what it shares with the snapshot may be the snapshot's alone.
        if snapshot.shared.may_be_in(table.get(slot)) {
            for_each_shared(table.get(slot), |value| {
                effects.note_shared(place_of(value));
            });
        }
    }

    /// As [`ShardData::before_change`], of an entry that has left its table.
    pub(super) fn save_removed(&mut self, snapshot: &Snapshot, db: DbIndex, mut entry: Entry) {
        let Some(mine) = &mut self.snapshot else {
            return;
        };
        let db_then = mine.db_then(db);
        match is_large(entry.view()) {
            // Dropping it leaves it to the walk.
            true => {
                let bytes = about_bytes(entry.view());
                snapshot.open(db_then, db, entry.view_mut(), bytes);
            }
            false => mine.hold(snapshot, db_then, entry),
        }
    }

    /// Keeps what a snapshot still needs of a table that was taken out; what may be freed at once is
    /// returned.
    pub(super) fn flush_table(
        &mut self,
        snapshot: &Snapshot,
        hash: impl Fn(&[u8]) -> u64,
        db: DbIndex,
        mut table: Table<Entry>,
    ) -> Option<Table<Entry>> {
        if snapshot.is_running() {
            snapshot.take_opened(&hash, db, &mut table);
        }
        let Some(mine) = &mut self.snapshot else {
            return Some(table);
        };
        let db_then = mine.db_then(db);
        mine.count_flushed(snapshot, hash, db_then, &table);
        if !table.is_saving() {
            return Some(table);
        }
        let bytes = weigh_table(&table);
        snapshot.rests_bytes.fetch_add(bytes, Ordering::Relaxed);
        mine.aside.flushed.push((db_then, table, bytes));
        None
    }

    /// Two databases were exchanged.
    pub(super) fn swap_snapshot(&mut self, a: DbIndex, b: DbIndex) {
        if let Some(mine) = &mut self.snapshot {
            mine.place(a.max(b));
            mine.places.swap(a.0 as usize, b.0 as usize);
        }
    }
}

impl ShardSnapshot {
    fn place(&mut self, db: DbIndex) -> &mut (DbIndex, u64) {
        let index = db.0 as usize;
        for new in self.places.len()..=index {
            self.places.push((DbIndex(new as u32), 0));
        }
        &mut self.places[index]
    }

    fn take_aside(&mut self) -> Aside {
        std::mem::take(&mut self.aside)
    }

    fn db_then(&mut self, db: DbIndex) -> DbIndex {
        self.place(db).0
    }

    fn hold(&mut self, snapshot: &Snapshot, db: DbIndex, entry: Entry) {
        let Aside {
            early, list_bytes, ..
        } = &mut self.aside;
        let (mut bytes, mut is_sharing) = (entry.view().alloc_bytes(0), false);
        let is_field = entry.view().value().as_collection().is_some();
        for_each_shared(entry.view(), |value| {
            bytes = bytes.saturating_sub(shared_bytes(value));
            is_sharing = true;
            snapshot.shared.add(value, is_field);
        });
        let bytes = bytes as u64;
        early.push(Early {
            db,
            is_sharing,
            entry,
            bytes,
        });
        let list_now = footprint::block_bytes(early.capacity() * size_of::<Early>()) as u64;
        let list_before = std::mem::replace(list_bytes, list_now);
        snapshot.hold(bytes + list_now - list_before);
    }

    /// A table of database `db` (then) goes, now or when it was read: what it shares with what was put aside of the
    /// same keys it gives up. What was renamed or copied is left to the walk to find.
    fn count_flushed(
        &self,
        snapshot: &Snapshot,
        hash: impl Fn(&[u8]) -> u64,
        db: DbIndex,
        table: &Table<Entry>,
    ) {
        if snapshot.shared.is_empty() {
            return;
        }
        let early = self.aside.early.iter();
        for early in early.filter(|early| early.is_sharing && early.db == db) {
            let key = early.entry.view().key();
            if let Some(slot) = table.find(hash(key), key) {
                for_each_shared(table.get(slot), |value| {
                    snapshot.count_unshared(place_of(value), 1);
                });
            }
        }
    }
}

/// Where the walk over a snapshot is.
///
/// It goes round the shards, a slice of each at a time: if it stayed with one, it would hold that
/// shard's lock nearly all the time, and whoever wants it would wait until the shard is done.
pub struct Walk<'k> {
    keyspace: &'k Keyspace,
    /// Shards that are not done yet, and which of them is next.
    shards: Vec<ShardId>,
    next: usize,
    /// Keys of large collections met in a slice.
    large: Vec<Box<[u8]>>,
    /// Nobody reads what is left.
    is_abandoned: bool,
}

/// Who is handed keys by a walk, see [`Walk::slice`].
pub type Reader<'f> = dyn FnMut(DbIndex, EntryRef<'_>, bool) + 'f;

/// What a slice of the walk has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// There is more.
    More,
    /// Everything has been handed out.
    Done,
}

impl Keyspace {
    /// Fixes the moment of a snapshot, in which `at_cut` is called; `None` if one is going on.
    pub fn begin_snapshot<R>(&self, at_cut: impl FnOnce() -> R) -> Option<(Walk<'_>, Cut, R)> {
        let snapshot = &self.snapshot;
        if snapshot.running.swap(true, Ordering::AcqRel) {
            return None;
        }
        snapshot.held_peak_bytes.store(0, Ordering::Relaxed);
        // Prepared before anybody has to wait.
        let mut prepared: Vec<_> = (0..self.shards())
            .map(|_| Box::<ShardSnapshot>::default())
            .collect();
        let mut cut = Cut::default();
        let mut sizes = vec![(0, 0); self.databases() as usize];
        let mut looks_left = FIELD_LOOKS_MAX;
        let mut guards: Vec<_> = Vec::with_capacity(self.shards());
        let begun = self.spikes.begin();
        for shard in self.all() {
            guards.push(shard.lock());
        }
        for guard in &mut guards {
            let data: &mut ShardData = guard;
            cut.fields_expire =
                cut.fields_expire || data.some_field_expires(|key| self.hash(key), &mut looks_left);
            cut.consumers |= data.side.has_consumers();
            for (size, table) in sizes.iter_mut().zip(&mut data.tables) {
                size.0 += table.len() as u64;
                size.1 += table.expires_len() as u64;
                table.begin_save();
            }
            data.snapshot = prepared.pop();
        }
        cut.changes = self.changes();
        let result = at_cut();
        drop(guards);
        // What a fork is to others.
        self.spikes.end(begun, &["snapshot-cut"]);
        let sizes = (0..).map(DbIndex).zip(sizes);
        cut.databases = sizes
            .map(|(db, (keys, expires))| (db, keys, expires))
            .filter(|(_, keys, _)| *keys > 0)
            .collect();
        let walk = Walk {
            keyspace: self,
            shards: self.shard_ids().collect(),
            next: 0,
            large: Vec::new(),
            is_abandoned: false,
        };
        Some((walk, cut, result))
    }
}

impl Walk<'_> {
    /// Hands out some `budget` keys with their databases, under one shard's lock, and what was put aside there, all of
    /// it, without: the flag says whether it is held. What is handed out without it counts as kept until `f` returns.
    /// Large collections are not among them: see [`Walk::next_large`].
    pub fn slice(&mut self, budget: usize, f: &mut Reader<'_>) -> Progress {
        if self.next >= self.shards.len() {
            self.next = 0;
        }
        let Some(&id) = self.shards.get(self.next) else {
            return Progress::Done;
        };
        self.keyspace.snapshot.count_some_unshared();
        let mut guard = self.keyspace.shard(id).lock();
        let data: &mut ShardData = &mut guard;
        let Some(mine) = &mut data.snapshot else {
            self.shards.swap_remove(self.next);
            return Progress::More;
        };
        if let Some(index) = data.tables.iter().position(Table::is_saving) {
            let db = DbIndex(index as u32);
            self.table_slice(&mut data.tables[index], db, mine, budget, f);
            let aside = mine.take_aside();
            drop(guard);
            self.next += 1;
            self.hand_out_aside(aside, f);
            return Progress::More;
        }
        // The last of this shard: nothing can be put aside any more.
        let aside = mine.take_aside();
        data.snapshot = None;
        drop(guard);
        self.shards.swap_remove(self.next);
        self.hand_out_aside(aside, f);
        Progress::More
    }

    /// What a shard has put aside, without its lock.
    fn hand_out_aside(&self, aside: Aside, f: &mut Reader<'_>) {
        let Aside {
            early,
            list_bytes,
            flushed,
        } = aside;
        let snapshot = &self.keyspace.snapshot;
        // These first: what they share with what was put aside, the snapshot shall be the last to have.
        for (db, table, bytes) in flushed {
            self.flushed_table(table, db, f);
            snapshot.rests_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        for early in early {
            f(early.db, early.entry.view(), false);
            self.let_go(early);
        }
        snapshot.release(list_bytes);
    }

    /// Drops what was put aside and has been read.
    fn let_go(&self, early: Early) {
        let Early {
            entry,
            is_sharing,
            mut bytes,
            ..
        } = early;
        let Keyspace {
            snapshot, lazyfree, ..
        } = self.keyspace;
        let values = match is_sharing {
            true => snapshot.shared.remove(entry.view()),
            false => Vec::new(),
        };
        // What is still there must not count for a moment: keys would be evicted for it.
        drop(entry);
        for (value, counted_bytes) in values {
            if counted_bytes > 0 && Arc::strong_count(&value) > 1 {
                // What it was counted to leave with has not gone yet.
                lazyfree.free_shared(value, counted_bytes);
            }
            bytes += counted_bytes;
        }
        snapshot.release(bytes);
        if is_sharing {
            snapshot.count_some_unshared();
        }
    }

    /// A slice of a table of the keyspace, which is database `db` now.
    fn table_slice(
        &mut self,
        table: &mut Table<Entry>,
        db: DbIndex,
        mine: &mut ShardSnapshot,
        budget: usize,
        f: &mut Reader<'_>,
    ) {
        let (snapshot, large) = (&self.keyspace.snapshot, &mut self.large);
        let (db_then, cursor) = *mine.place(db);
        let is_read = !self.is_abandoned;
        let mut give = |entry: EntryRef<'_>| match entry.value() {
            _ if is_large(entry) => large.push(entry.key().into()),
            // Takes long to read: it may go meanwhile.
            ValueRef::Shared(_) if is_read => mine.hold(snapshot, db_then, entry.duplicate()),
            _ => f(db_then, entry, true),
        };
        let next = table.save_slice(cursor, budget, &mut give);
        for key in self.large.drain(..) {
            if let Some(slot) = table.find(self.keyspace.hash(&key), &key) {
                snapshot.open(db_then, db, table.meta_mut(slot), 0);
            }
        }
        match next {
            Some(next) => mine.place(db).1 = next,
            None => table.end_save(),
        }
    }

    /// A whole table that is nobody else's.
    fn flushed_table(&self, mut table: Table<Entry>, db: DbIndex, f: &mut Reader<'_>) {
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        let mut give = |entry: EntryRef<'_>| match is_large(entry) {
            true => keys.push(entry.key().into()),
            false => f(db, entry, false),
        };
        table.save_slice(0, usize::MAX, &mut give);
        table.end_save();
        for key in keys {
            if let Some(slot) = table.find(self.keyspace.hash(&key), &key) {
                let mut entry = table.remove(slot);
                let bytes = about_bytes(entry.view());
                let snapshot = &self.keyspace.snapshot;
                snapshot.open(db, db, entry.view_mut(), bytes);
            }
        }
        self.keyspace.lazyfree.free(vec![table]);
    }

    /// The next large collection that is to be read, whole, with [`Walk::large_slice`].
    pub fn next_large(&self) -> Option<Arc<Large>> {
        let opened = self.keyspace.snapshot.opened.lock();
        opened.values().next_back().cloned()
    }

    /// Hands out some `budget` elements of a large collection (nodes, of a list).
    pub fn large_slice(
        &self,
        large: &Arc<Large>,
        budget: usize,
        f: &mut dyn FnMut(Element<'_>),
    ) -> Progress {
        match self.try_large_slice(large, budget, f) {
            Some(true) => Progress::More,
            Some(false) => {
                let snapshot = &self.keyspace.snapshot;
                let (rest, kept_bytes) = {
                    let mut state = large.state.lock();
                    (state.rest.take(), std::mem::take(&mut state.kept_bytes))
                };
                // As with what was put aside: not before it has gone.
                drop(rest);
                snapshot
                    .rests_bytes
                    .fetch_sub(kept_bytes, Ordering::Relaxed);
                snapshot.opened.lock().remove(&large.id);
                Progress::Done
            }
            None => {
                // It is about to be dropped, or put elsewhere.
                sync::sleep(RETRY);
                Progress::More
            }
        }
    }

    /// Whether there is more; `None` if the collection was not found.
    fn try_large_slice(
        &self,
        large: &Large,
        budget: usize,
        f: &mut dyn FnMut(Element<'_>),
    ) -> Option<bool> {
        let place = {
            let mut state = large.state.lock();
            let LargeState { saving, rest, .. } = &mut *state;
            if rest.is_none() {
                *rest = saving.take_rest();
            }
            if let Some(rest) = rest {
                return Some(saving.slice_rest(rest, budget, f));
            }
            state.place.clone()
        };
        let (db, key) = &place;
        let hash = self.keyspace.hash(key);
        let shard = self.keyspace.shard(self.keyspace.shard_of(hash));
        let mut data = shard.lock();
        let table = data.tables.get_mut(db.0 as usize)?;
        let slot = table.find(hash, key)?;
        let collection = table.meta_mut(slot).into_collection()?;
        let mut state = large.state.lock();
        let is_it = state.saving.is_of(collection);
        is_it.then(|| state.saving.slice(collection, budget, f))
    }

    /// Ends a snapshot that was walked to its end; else does that first, for nobody.
    pub fn abandon(mut self) {
        self.is_abandoned = true;
        while self.slice(usize::MAX, &mut |_, _, _| {}) == Progress::More {}
        while let Some(large) = self.next_large() {
            while self.large_slice(&large, usize::MAX, &mut |_| {}) == Progress::More {}
        }
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        debug_assert!(self.shards.is_empty(), "walked to the end");
        debug_assert!(self.next_large().is_none(), "walked to the end");
        debug_assert!(self.keyspace.snapshot.shared.is_empty());
        self.keyspace
            .snapshot
            .running
            .store(false, Ordering::Release);
    }
}

#[cfg(all(test, feature = "model"))]
mod model;
