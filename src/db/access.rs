//! Typed access to the keys of one command: lookups, and the guards through which everything is
//! written.

use smallvec::SmallVec;

use crate::ds::entry::{Entry, EntryMut, EntryRef, EntrySlot, Meta, NewValue};
use crate::ds::table::{Slot, Table};
use crate::spec::CmdError;
use crate::value::{self, Encoding, Type};

use super::effects::Effects;
use super::keyspace::{DbIndex, Keyspace, Locks, Shard, ShardData, ShardId, ShardStats};
use super::lazyfree::Cause;
use super::notice::EventClass;
use super::side::Side;
use super::usage::Stamp;

mod follow;
mod lend;
mod logged;
#[cfg(test)]
pub mod record;
mod whole;

pub use lend::{Lookups, Needs};
pub use logged::Record;

/// Most keys that [`Access::prefetch`] takes at once: the cache has only so many line-fill slots,
/// and lines that come too early are gone again when they are needed.
pub const PREFETCH_KEYS_MAX: usize = 16;

/// What becomes of a key's expiry when its value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expire {
    /// It stays as it is.
    Keep,
    /// The key lives until it is deleted.
    Never,
    /// Unix time in milliseconds.
    At(u64),
}

/// How a lookup counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// A read: counts as hit or miss and refreshes the key's LRU clock.
    Read,
    /// As [`Lookup::Read`], and refreshes the clock even for a client that said NO-TOUCH (TOUCH).
    Touch,
    /// Counts as hit or miss, leaves the LRU clock alone (TTL, TYPE, EXISTS).
    NoTouch,
    /// As [`Lookup::NoTouch`], but a miss is no event (OBJECT).
    Untold,
    /// Leaves no trace (SCAN's filters, DEBUG OBJECT).
    Silent,
}

/// What becomes of an expired key that is met while expired keys are left alone (`import-mode`, CLIENT PAUSE).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stale {
    /// A read leaves it where it is.
    Stays,
    /// A write deletes it, as at any other time; with a log on also what it only reads
    /// ([`Effects::set_of_write`]).
    Goes,
}

/// The keyspace as one command sees it: the shards it holds, its database, its moment in time.
pub struct Access<'k> {
    keyspace: &'k Keyspace,
    locks: Locks<'k>,
    db: DbIndex,
    now_ms: u64,
    clock_ms: u64,
    stamp: Stamp,
    touch: bool,
    /// The shards held are not all that the command asked for; see [`Access::partial`].
    partial: bool,
    /// A log is repeated.
    replays: bool,
    /// Someone has the keyspace for himself, and the command had to do without some shard.
    gave_up: bool,
    /// It never had a chance, see [`Access::barred`].
    barred: bool,
    first: FirstKey,
    /// What the command did so far.
    pub effects: Effects,
}

/// The first key's hash, computed when its shard was locked. Recognised by place: a key is a slice
/// of the request.
#[derive(Clone, Copy)]
struct FirstKey {
    at: usize,
    len: usize,
    hash: u64,
}

impl<'k> Access<'k> {
    /// Access through `locks` at `now_ms`. `touch` is false for CLIENT NO-TOUCH.
    #[inline(always)]
    pub fn new(
        keyspace: &'k Keyspace,
        locks: Locks<'k>,
        db: DbIndex,
        now_ms: u64,
        touch: bool,
    ) -> Access<'k> {
        let none = FirstKey {
            at: 0,
            len: 0,
            hash: 0,
        };
        Access::with(keyspace, locks, db, (now_ms, touch), none)
    }

    #[inline(always)]
    fn with(
        keyspace: &'k Keyspace,
        locks: Locks<'k>,
        db: DbIndex,
        (now_ms, touch): (u64, bool),
        first: FirstKey,
    ) -> Access<'k> {
        let stamp = keyspace.usage.stamp(now_ms);
        Access {
            keyspace,
            locks,
            db,
            now_ms,
            clock_ms: now_ms,
            stamp,
            touch,
            partial: false,
            replays: false,
            gave_up: false,
            barred: false,
            first,
            effects: Effects::new(keyspace.oplog.is_on(), keyspace.interest.load()),
        }
    }

    /// The same for a command of one key, whose hash is known and whose shard is locked.
    #[inline(always)]
    pub fn of_key(
        keyspace: &'k Keyspace,
        locks: Locks<'k>,
        db: DbIndex,
        (now_ms, touch): (u64, bool),
        (key, hash): (&[u8], u64),
    ) -> Access<'k> {
        let first = FirstKey {
            at: key.as_ptr() as usize,
            len: key.len(),
            hash,
        };
        Access::with(keyspace, locks, db, (now_ms, touch), first)
    }

    /// Access of a command that is repeated from a log: nothing has expired unless the log says so,
    /// and nothing is logged again.
    pub fn replaying(mut self) -> Access<'k> {
        self.now_ms = 0;
        self.replays = true;
        self.effects = Effects::new(false, 0);
        self
    }

    /// The command is repeated from a log: it may be one that clients are refused.
    pub fn is_replaying(&self) -> bool {
        self.replays
    }

    /// The client imports data (CLIENT IMPORT-SOURCE): as long as the server lets it, nothing has
    /// expired for it.
    #[cold]
    pub fn see_expired(&mut self) {
        if self.keyspace.expire_clock.is_importing() {
            self.now_ms = 0;
        }
    }

    /// Says for whom the command runs, by the client's number.
    #[inline]
    pub fn set_client(&mut self, client_id: u64) {
        self.effects.by = client_id;
    }

    /// The command runs with the shards at hand: keys in others look as if they were not there. It
    /// is how a blocked command is run again when one of its keys is ready.
    pub fn set_partial(&mut self, partial: bool) {
        self.partial = partial;
    }

    /// Holds the shard of one more key if nobody else does; false if somebody does.
    pub fn try_hold(&mut self, key: &[u8]) -> bool {
        let id = self.keyspace.shard_of(self.keyspace.hash(key));
        let held = self.locks.try_hold(self.keyspace, id);
        self.look_at_log();
        held
    }

    /// Behind the taking of a shard: the log is switched on while all are held, so perhaps meanwhile, if this
    /// is the first one.
    #[inline]
    fn look_at_log(&mut self) {
        if self.keyspace.oplog.is_on() && !self.replays {
            self.effects.set_logged();
        }
    }

    /// What is known of the keys in a key's shard besides their values.
    pub fn side(&mut self, key: &[u8]) -> &mut Side {
        let id = self.keyspace.shard_of(self.hash(key));
        &mut held(&mut self.locks, id).side
    }

    /// Remembers the hash of the first key.
    #[inline(always)]
    pub fn with_first_key(mut self, key: &[u8], hash: u64) -> Access<'k> {
        self.first = FirstKey {
            at: key.as_ptr() as usize,
            len: key.len(),
            hash,
        };
        self
    }

    /// The next command of a transaction runs, with the same shards: in this database, with or without
    /// refreshing LRU clocks, and with the hash of its first key, if that is known.
    pub fn begin_next(&mut self, db: DbIndex, touch: bool, first: Option<(&[u8], u64)>) {
        self.db = db;
        self.touch = touch;
        self.now_ms = self.clock_ms;
        let (key, hash) = first.unwrap_or_default();
        self.first = FirstKey {
            at: key.as_ptr() as usize,
            len: key.len(),
            hash,
        };
        self.effects.begin_next(self.keyspace.interest.load());
    }

    /// The moment at which the command runs, Unix time in milliseconds: what is due by then has
    /// expired.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The time from which relative times count, Unix milliseconds. It is [`Access::now_ms`], but
    /// for commands that are repeated from a log, for which nothing has expired.
    #[inline]
    pub fn clock_ms(&self) -> u64 {
        self.clock_ms
    }

    /// Whether a log wants to know what is done.
    #[inline]
    pub fn is_logged(&self) -> bool {
        self.effects.is_logged()
    }

    /// Has the log repeat this command of the current database instead of the request.
    pub fn propagate_as<'a>(&mut self, argv: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>) {
        self.effects.propagate_as(self.db, argv.into_iter());
    }

    /// Has the log repeat this command of the current database before the request.
    pub fn also_propagate<'a>(
        &mut self,
        argv: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>,
    ) {
        self.effects.also_propagate(self.db, argv.into_iter());
    }

    /// Releases the locks: what the command did remains.
    #[inline(always)]
    pub fn release(&mut self) {
        self.locks = self.keyspace.lock_none();
    }

    /// Releases the locks; what the command did.
    pub fn into_effects(self) -> Effects {
        self.effects
    }

    /// Appends to the log what was recorded so far, and tells those who want to know: before locks
    /// are released.
    pub fn settle(&mut self) {
        self.effects.append_draft_to(&self.keyspace.oplog);
        self.tell();
    }

    /// Tells those who want to know what has happened to keys so far: before locks are released.
    #[inline]
    pub fn tell(&mut self) {
        if let Some(notices) = self.effects.take_notices() {
            self.keyspace.tell(notices, self.effects.by);
        }
    }

    /// Records an event of a key of the current database, for keyspace notifications.
    #[inline]
    pub fn notify(&mut self, class: EventClass, name: &'static str, key: &[u8]) {
        self.effects.notify(class, name, self.db, key);
    }

    /// The database that it works in.
    pub fn db(&self) -> DbIndex {
        self.db
    }

    /// Works in another database from now on (COPY DB, MOVE): all databases of a key are in one
    /// shard.
    pub fn select(&mut self, db: DbIndex) {
        self.db = db;
    }

    /// The keyspace as a whole.
    pub fn keyspace(&self) -> &'k Keyspace {
        self.keyspace
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        #[cfg(test)]
        record::note(self.db, key, false);
        if key.as_ptr() as usize == self.first.at && key.len() == self.first.len {
            self.first.hash
        } else {
            self.keyspace.hash(key)
        }
    }

    #[inline(always)]
    fn seen(&self) -> Seen<'k> {
        Seen {
            keyspace: self.keyspace,
            db: self.db,
            now_ms: self.now_ms,
        }
    }

    /// The entry of a key that is there and has not expired.
    #[inline]
    pub fn find(&mut self, key: &[u8], lookup: Lookup) -> Option<EntryRef<'_>> {
        let (hash, seen) = (self.hash(key), self.seen());
        let (db, touch, stamp) = (self.db, self.touch, self.stamp);
        let id = self.keyspace.shard_of(hash);
        let shard = held_or_missing(&mut self.locks, id, self.partial)?;
        let found = find_live(seen, shard, (hash, key), &mut self.effects, Stale::Stays);
        let Some(slot) = found else {
            shard.stats.misses += (lookup != Lookup::Silent) as u64;
            if !matches!(lookup, Lookup::Silent | Lookup::Untold) {
                self.effects
                    .notify(EventClass::KEY_MISS, "keymiss", db, key);
            }
            return None;
        };
        shard.stats.hits += (lookup != Lookup::Silent) as u64;
        let table = &mut shard.tables[db.0 as usize];
        if lookup == Lookup::Touch || lookup == Lookup::Read && touch {
            stamp.accessed(&mut table.meta_mut(slot));
        }
        Some(table.get(slot))
    }

    /// A key that is about to be changed. Counts neither hit nor miss, as Redis's lookupKeyWrite,
    /// but refreshes the key's LRU clock.
    #[inline(always)]
    pub fn find_mut(&mut self, key: &[u8]) -> Option<KeyMut<'_>> {
        self.find_to_edit(key, false)
    }

    /// As [`Access::find_mut`], of a key that Redis looks up as if for reading only: it counts as hit
    /// or miss (XACK, XCLAIM).
    #[inline]
    pub fn find_mut_counted(&mut self, key: &[u8]) -> Option<KeyMut<'_>> {
        self.find_to_edit(key, true)
    }

    #[inline(always)]
    fn find_to_edit(&mut self, key: &[u8], is_counted: bool) -> Option<KeyMut<'_>> {
        let (hash, seen, db) = (self.hash(key), self.seen(), self.db);
        let id = self.keyspace.shard_of(hash);
        let shard = held_or_missing(&mut self.locks, id, self.partial)?;
        let found = find_to_change(seen, shard, (hash, key), &mut self.effects);
        if is_counted {
            shard.stats.hits += found.is_some() as u64;
            shard.stats.misses += found.is_none() as u64;
            if found.is_none() {
                let effects = &mut self.effects;
                effects.notify(EventClass::KEY_MISS, "keymiss", db, key);
            }
        }
        let slot = found?;
        let table = &mut shard.tables[db.0 as usize];
        if self.touch {
            self.stamp.accessed(&mut table.meta_mut(slot));
        }
        let is_collection = table.get(slot).type_() != Type::String as u8;
        Some(KeyMut {
            table,
            slot,
            side: &mut shard.side,
            stats: &mut shard.stats,
            home: self.keyspace.shard(id),
            keyspace: self.keyspace,
            effects: &mut self.effects,
            stamp: self.stamp,
            db,
            hash,
            changes: 0,
            is_touched: false,
            is_collection,
            is_new: false,
            is_gone: false,
        })
    }

    /// As [`Access::find_mut`], of a key that is created with this value, if it is not there. A
    /// collection may be created empty: it has to have elements when the guard is dropped, or else
    /// vanishes again.
    #[inline]
    pub fn find_or_insert(
        &mut self,
        key: &[u8],
        type_: Type,
        enc: Encoding,
        value: NewValue<'_>,
    ) -> KeyMut<'_> {
        self.find_or_insert_with(key, type_, || (enc, value))
    }

    /// As [`Access::find_or_insert`], of a value that is made only if it is wanted.
    #[inline]
    pub fn find_or_insert_with<'v>(
        &mut self,
        key: &[u8],
        type_: Type,
        value: impl FnOnce() -> (Encoding, NewValue<'v>),
    ) -> KeyMut<'_> {
        let (hash, seen, db) = (self.hash(key), self.seen(), self.db);
        let id = self.keyspace.shard_of(hash);
        let shard = held(&mut self.locks, id);
        let found = find_to_change(seen, shard, (hash, key), &mut self.effects);
        let (bits, key_hash) = (self.keyspace.shard_bits(), self.keyspace.key_hash());
        let (table, side, stats) = shard.parts(db, bits, key_hash);
        let slot = match found {
            Some(slot) => {
                if self.touch {
                    self.stamp.accessed(&mut table.meta_mut(slot));
                }
                slot
            }
            None => {
                let (enc, value) = value();
                let meta = Meta {
                    type_: type_ as u8,
                    enc: enc as u8,
                    lru: self.stamp.fresh_or_known(&mut side.ghosts, db, hash),
                };
                self.effects.notify(EventClass::NEW, "new", db, key);
                table.insert(hash, Entry::new(key, meta, value, None))
            }
        };
        let is_collection = table.get(slot).type_() != Type::String as u8;
        KeyMut {
            table,
            slot,
            side,
            stats,
            home: self.keyspace.shard(id),
            keyspace: self.keyspace,
            effects: &mut self.effects,
            stamp: self.stamp,
            db,
            hash,
            changes: 0,
            is_touched: false,
            is_collection,
            is_new: found.is_none(),
            is_gone: false,
        }
    }

    /// The entries of several keys at once, each as [`Access::find`] would find it; an error if one
    /// is not of these types, which is as far as the keys are looked up.
    pub fn find_all<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a [u8]> + Clone,
        lookup: Lookup,
        types: &[Type],
    ) -> Result<SmallVec<[Option<EntryRef<'_>>; 8]>, CmdError> {
        let fits = |entry: EntryRef<'_>| types.contains(&Type::from_nibble(entry.type_()));
        // Expired keys go first; afterwards nothing moves.
        for key in keys.clone() {
            if self.find(key, lookup).is_some_and(|entry| !fits(entry)) {
                return Err(CmdError::WrongType);
            }
        }
        let this = &*self;
        let entry = |key: &'a [u8]| {
            let hash = this.hash(key);
            let shard = this.locks.peek(this.keyspace.shard_of(hash))?;
            let table = shard.table(this.db)?;
            let entry = table.get(table.find(hash, key)?);
            // While data is imported, what has expired is still there, of whatever type.
            let is_seen = entry.expire_at_ms().is_none_or(|at_ms| at_ms > this.now_ms);
            is_seen.then_some(entry)
        };
        Ok(keys.map(entry).collect())
    }

    /// True when the key is there.
    pub fn exists(&mut self, key: &[u8], lookup: Lookup) -> bool {
        self.find(key, lookup).is_some()
    }

    /// Writes a value: the key is created or its value, of whatever type, replaced. One change.
    #[inline]
    pub fn set(&mut self, key: &[u8], type_: u8, enc: u8, value: NewValue<'_>, expire: Expire) {
        let hash = self.hash(key);
        let (id, seen) = (self.keyspace.shard_of(hash), self.seen());
        let shard = held(&mut self.locks, id);
        self.effects.changes += 1;
        let found = find_to_change(seen, shard, (hash, key), &mut self.effects);
        let (bits, key_hash) = (self.keyspace.shard_bits(), self.keyspace.key_hash());
        let (table, side, _) = shard.parts(self.db, bits, key_hash);
        if found.is_none_or(|slot| may_serve(table.get(slot).type_(), type_)) {
            self.effects.note_ready(side, self.db, key);
        }
        let total = &self.keyspace.tracked;
        self.effects.touched(side, total, hash, self.db, key);
        let Some(slot) = found else {
            self.effects.notify(EventClass::NEW, "new", self.db, key);
            let lru = self.stamp.fresh_or_known(&mut side.ghosts, self.db, hash);
            let meta = Meta { type_, enc, lru };
            let expire_at_ms = match expire {
                Expire::At(at_ms) => Some(at_ms),
                Expire::Keep | Expire::Never => None,
            };
            let slot = table.insert(hash, Entry::new(key, meta, value, expire_at_ms));
            side.enter_size(self.db, hash, table.get(slot));
            note_expire(self.keyspace, self.keyspace.shard(id), expire_at_ms);
            return;
        };
        let old_expire = table.get(slot).expire_at_ms();
        if self.touch {
            self.stamp.accessed(&mut table.meta_mut(slot));
        }
        self.stamp.modified(&mut table.meta_mut(slot));
        let lru = table.get(slot).lru();
        let meta = Meta { type_, enc, lru };
        let expire_at_ms = match expire {
            Expire::Keep => old_expire,
            Expire::Never => None,
            Expire::At(at_ms) => Some(at_ms),
        };
        if expire_at_ms == old_expire && overwrite(table, slot, meta, &value) {
            side.enter_size(self.db, hash, table.get(slot));
            return;
        }
        let mut old = table.replace(slot, Entry::new(key, meta, value, expire_at_ms));
        side.forget_fields(self.db, &mut old);
        side.enter_size(self.db, hash, table.get(slot));
        self.effects.discard(&self.keyspace.snapshot, old);
        note_expire(self.keyspace, self.keyspace.shard(id), expire_at_ms);
    }

    /// Deletes a key, which is one change; false when it is not there.
    #[inline]
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.remove_as(key, EventClass::GENERIC, "del")
    }

    /// [`Access::remove`] with an event of one's own.
    #[inline]
    fn remove_as(&mut self, key: &[u8], class: EventClass, event: &'static str) -> bool {
        let Some(entry) = self.take(key) else {
            return false;
        };
        self.effects.discard(&self.keyspace.snapshot, entry);
        self.effects.changes += 1;
        self.notify(class, event, key);
        true
    }

    /// Takes a key out to [`put`](Access::put) it elsewhere, in another database or, made anew,
    /// under another name. Counts no change: `put` does.
    #[inline]
    pub fn take(&mut self, key: &[u8]) -> Option<Entry> {
        let (hash, seen, db) = (self.hash(key), self.seen(), self.db);
        let id = self.keyspace.shard_of(hash);
        let shard = held_or_missing(&mut self.locks, id, self.partial)?;
        let slot = find_to_change(seen, shard, (hash, key), &mut self.effects)?;
        let mut entry = shard.tables[self.db.0 as usize].remove(slot);
        shard.side.forget_fields(self.db, &mut entry);
        let total = &self.keyspace.tracked;
        self.effects.touched(&mut shard.side, total, hash, db, key);
        Some(entry)
    }

    /// Writes a whole entry: its key is created, or replaced with value and expiry. One change. What
    /// is replaced counts as deleted, so that the key is new in any case.
    pub fn put(&mut self, mut entry: Entry) {
        entry.view_mut().set_lru(self.stamp.fresh());
        self.put_unused(entry);
    }

    /// As [`put`](Access::put), of an entry whose LRU clock says when it was used (RESTORE).
    pub fn put_unused(&mut self, entry: Entry) {
        let (key, type_) = (entry.view().key(), entry.view().type_());
        let expire_at_ms = entry.view().expire_at_ms();
        let hash = self.keyspace.hash(key);
        let (id, seen) = (self.keyspace.shard_of(hash), self.seen());
        let shard = held(&mut self.locks, id);
        self.effects.changes += 1;
        let found = find_to_change(seen, shard, (hash, key), &mut self.effects);
        let (bits, key_hash) = (self.keyspace.shard_bits(), self.keyspace.key_hash());
        let (table, side, _) = shard.parts(self.db, bits, key_hash);
        if found.is_none_or(|slot| may_serve(table.get(slot).type_(), type_)) {
            self.effects.note_ready(side, self.db, key);
        }
        let total = &self.keyspace.tracked;
        self.effects.touched(side, total, hash, self.db, key);
        self.effects.notify(EventClass::NEW, "new", self.db, key);
        let slot = match found {
            Some(slot) => {
                let mut old = table.replace(slot, entry);
                side.forget_fields(self.db, &mut old);
                self.effects.discard(&self.keyspace.snapshot, old);
                slot
            }
            None => table.insert(hash, entry),
        };
        self.keyspace.snapshot.note_moved(self.db, table.get(slot));
        let fields_at_ms = side.note_collection(self.db, table.get_mut(slot));
        side.enter_size(self.db, hash, table.get(slot));
        note_expire(self.keyspace, self.keyspace.shard(id), expire_at_ms);
        note_expire(self.keyspace, self.keyspace.shard(id), fields_at_ms);
    }

    /// Deletes a key because the command gave it an expiry that is past already, and counts it as
    /// expired; false when it is not there. One change.
    pub fn expire_now(&mut self, key: &[u8]) -> bool {
        let removed = self.remove_as(key, EventClass::EXPIRED, "expired");
        if removed {
            let id = self.keyspace.shard_of(self.hash(key));
            held(&mut self.locks, id).stats.expired += 1;
            self.propagate_as([self.keyspace.lazyfree.deletion(Cause::Expiry), key]);
        }
        removed
    }

    /// Brings the lines that lookups of `keys` read into the cache, in two stages; worth it from a
    /// few keys on. At most [`PREFETCH_KEYS_MAX`] of them are looked at.
    #[inline]
    pub fn prefetch<'a>(&mut self, keys: impl Iterator<Item = &'a [u8]>) {
        let mut hashes: SmallVec<[u64; PREFETCH_KEYS_MAX]> = SmallVec::new();
        for key in keys.take(PREFETCH_KEYS_MAX) {
            let hash = self.hash(key);
            hashes.push(hash);
            if let Some(table) = self.held_table(hash) {
                table.prefetch_bucket(hash);
            }
        }
        for hash in hashes {
            if let Some(table) = self.held_table(hash) {
                table.prefetch_entry(hash);
            }
        }
    }

    #[inline]
    fn held_table(&mut self, hash: u64) -> Option<&Table<Entry>> {
        let db = self.db;
        let id = self.keyspace.shard_of(hash);
        held(&mut self.locks, id).table(db)
    }
}

/// A key that is being changed. Dropping it records the change in the command's [`Effects`], and
/// deletes the key if its collection has become empty.
pub struct KeyMut<'a> {
    table: &'a mut Table<Entry>,
    slot: Slot,
    side: &'a mut Side,
    stats: &'a mut ShardStats,
    home: &'a Shard,
    keyspace: &'a Keyspace,
    effects: &'a mut Effects,
    stamp: Stamp,
    db: DbIndex,
    hash: u64,
    changes: u64,
    /// Whoever listens to the key knows already.
    is_touched: bool,
    is_collection: bool,
    is_new: bool,
    /// It has been taken out of the table.
    is_gone: bool,
}

impl KeyMut<'_> {
    /// The entry as it is now.
    #[inline]
    pub fn entry(&self) -> EntryRef<'_> {
        self.table.get(self.slot)
    }

    /// Whether the key was created just now.
    #[inline]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The value, to be changed. What it changes has to be counted with [`KeyMut::add_changes`].
    #[inline]
    pub fn slot_mut(&mut self) -> EntrySlot<'_> {
        EntrySlot::new(self.table, self.slot)
    }

    /// Counts changes as Redis counts `dirty`: fields set, elements added, and so on.
    #[inline]
    pub fn add_changes(&mut self, changes: u64) {
        self.changes += changes;
    }

    /// Counts changes of which nobody is told who listens to the key (WATCH, client-side caching), as
    /// Redis does not of what the groups of a stream know.
    #[inline]
    pub fn add_untold_changes(&mut self, changes: u64) {
        self.effects.changes += changes;
    }

    /// The value, to be changed, with what is put on record meanwhile.
    #[inline]
    pub fn slot_and_record(&mut self) -> (EntrySlot<'_>, Record<'_>) {
        let slot = EntrySlot::new(self.table, self.slot);
        let (effects, db) = (&mut *self.effects, self.db);
        (slot, Record { effects, db })
    }

    /// Has those served who wait for the key, although it was there before: it has got what they may
    /// wait for. Of a key that was created just now that is known.
    #[inline]
    pub fn signal_ready(&mut self) {
        if !self.is_new {
            let key = self.table.get(self.slot).key();
            self.effects.note_ready(self.side, self.db, key);
        }
    }

    /// Replaces the value; the expiry stays.
    pub fn set_value(&mut self, enc: u8, value: NewValue<'_>) {
        self.changes = 1;
        let old = self.table.get(self.slot);
        let meta = Meta {
            type_: old.type_(),
            enc,
            lru: old.lru(),
        };
        if !overwrite(self.table, self.slot, meta, &value) {
            let old = self.table.get(self.slot);
            let entry = Entry::new(old.key(), meta, value, old.expire_at_ms());
            self.table.replace(self.slot, entry);
        }
    }

    /// Changes the value where it lies; `edit` says whether it did.
    pub fn edit(&mut self, edit: impl FnOnce(&mut EntryMut<'_>) -> bool) -> bool {
        let done = edit(&mut self.table.get_mut(self.slot));
        self.changes |= done as u64;
        done
    }

    /// Sets or removes the expiry.
    pub fn set_expire(&mut self, expire_at_ms: Option<u64>) {
        self.changes = 1;
        if expire_at_ms.is_some() {
            self.leave_room_for_expire();
        }
        self.table.set_expire(self.slot, expire_at_ms);
        note_expire(self.keyspace, self.home, expire_at_ms);
    }

    /// OBJECT ENCODING of a short string depends on whether there is room for an expiry beside it.
    fn leave_room_for_expire(&mut self) {
        let entry = self.table.get(self.slot);
        let embstr = entry.type_() == Type::String as u8 && entry.enc() == Encoding::Embstr as u8;
        if embstr && entry.expire_at_ms().is_none() {
            let value_len = value::string::len(entry.value());
            let enc = value::string::encoding_with_expire(entry.key().len(), value_len);
            self.table.get_mut(self.slot).set_enc(enc as u8);
        }
    }

    /// Records an event of the key, for keyspace notifications.
    #[inline]
    pub fn notify(&mut self, class: EventClass, name: &'static str) {
        let key = self.table.get(self.slot).key();
        self.effects.notify(class, name, self.db, key);
    }

    /// Says that the key was touched, also if nothing is counted as changed (Redis's
    /// `signalModifiedKey`). Who counts a change need not say so.
    #[inline]
    pub fn touch(&mut self) {
        self.is_touched = true;
        self.stamp.modified(&mut self.table.meta_mut(self.slot));
        let (total, key) = (&self.keyspace.tracked, self.table.get(self.slot).key());
        self.effects
            .touched(self.side, total, self.hash, self.db, key);
    }

    /// Counts fields that were taken out because they had expired.
    pub fn add_expired_fields(&mut self, fields: usize) {
        self.stats.expired_fields += fields as u64;
    }

    /// Takes the key out of the keyspace.
    pub fn remove(mut self) {
        self.changes = 1;
        self.is_collection = false;
        self.touch();
        self.notify(EventClass::GENERIC, "del");
        let mut entry = self.table.remove(self.slot);
        self.is_gone = true;
        self.side.forget_fields(self.db, &mut entry);
        self.effects.discard(&self.keyspace.snapshot, entry);
    }

    /// What follows from a change of a collection.
    fn close_collection(&mut self) {
        let entry = self.table.get(self.slot);
        if value::is_empty(entry.type_(), entry.value()) {
            let mut entry = self.table.remove(self.slot);
            self.is_gone = true;
            self.side.forget_fields(self.db, &mut entry);
            let key = entry.view().key();
            self.effects
                .notify(EventClass::GENERIC, "del", self.db, key);
            return;
        }
        if self.is_new {
            self.effects.note_ready(self.side, self.db, entry.key());
        }
        let entry = self.table.get_mut(self.slot);
        let fields_at_ms = self.side.note_collection(self.db, entry);
        note_expire(self.keyspace, self.home, fields_at_ms);
    }
}

impl Drop for KeyMut<'_> {
    #[inline]
    fn drop(&mut self) {
        self.effects.changes += self.changes;
        if self.changes > 0 && !self.is_touched {
            self.touch();
        }
        if self.is_collection {
            self.close_collection();
        }
        if !self.is_gone {
            let entry = self.table.get(self.slot);
            self.side.enter_size(self.db, self.hash, entry);
        }
    }
}

/// Whether replacing a value of one type by one of another may end somebody's wait: if those who wait
/// for the new type had nothing to wait for before, or may have waited for more.
#[inline]
fn may_serve(old: u8, new: u8) -> bool {
    old != new || new == Type::Stream as u8
}

#[inline]
fn held<'a>(locks: &'a mut Locks<'_>, id: ShardId) -> &'a mut ShardData {
    locks
        .get(id)
        .expect("a handler touches only keys that its row's key specs name")
}

/// As [`held`]; of a command that runs with the shards at hand, `None` for another one.
#[inline]
fn held_or_missing<'a>(
    locks: &'a mut Locks<'_>,
    id: ShardId,
    partial: bool,
) -> Option<&'a mut ShardData> {
    match partial {
        true => locks.get(id),
        false => Some(held(locks, id)),
    }
}

/// Where and when a command looks for keys.
#[derive(Clone, Copy)]
struct Seen<'k> {
    keyspace: &'k Keyspace,
    db: DbIndex,
    now_ms: u64,
}

/// The slot of a key that is about to be changed, given with its hash, as [`find_live`] finds it.
#[inline(always)]
fn find_to_change(
    seen: Seen<'_>,
    shard: &mut ShardData,
    named: (u64, &[u8]),
    effects: &mut Effects,
) -> Option<Slot> {
    #[cfg(test)]
    record::note(seen.db, named.1, true);
    let slot = find_live(seen, shard, named, effects, Stale::Goes)?;
    shard.before_change(&seen.keyspace.snapshot, effects, seen.db, slot);
    Some(slot)
}

/// The slot of a key, given with its hash; one that has expired is deleted here and counted, and
/// not found.
#[inline(always)]
fn find_live(
    seen: Seen<'_>,
    shard: &mut ShardData,
    (hash, key): (u64, &[u8]),
    effects: &mut Effects,
    stale: Stale,
) -> Option<Slot> {
    let Seen {
        keyspace,
        db,
        now_ms,
    } = seen;
    let table = shard.tables.get_mut(db.0 as usize)?;
    let slot = table.find(hash, key)?;
    match table.get(slot).expire_at_ms() {
        Some(at_ms) if at_ms <= now_ms => {
            let stays = stale == Stale::Stays && !effects.is_of_write();
            if stays && keyspace.expire_clock.leaves_expired(now_ms) {
                return None;
            }
            shard.before_change(&keyspace.snapshot, effects, db, slot);
            let mut entry = shard.tables[db.0 as usize].remove(slot);
            shard.side.forget_fields(db, &mut entry);
            effects.discard(&keyspace.snapshot, entry);
            effects.log_expired(keyspace.lazyfree.deletion(Cause::Expiry), db, key);
            effects.touched_expired(&mut shard.side, &keyspace.tracked, hash, db, key);
            effects.notify(EventClass::EXPIRED, "expired", db, key);
            shard.stats.expired += 1;
            None
        }
        _ => Some(slot),
    }
}

/// Writes the value into the entry where it is, when it fits; the expiry stays.
#[inline]
fn overwrite(table: &mut Table<Entry>, slot: Slot, meta: Meta, value: &NewValue<'_>) -> bool {
    let mut entry = table.get_mut(slot);
    let done = match value {
        NewValue::Int(int) => entry.try_set_int(*int),
        NewValue::Bytes(bytes) => entry.try_set_bytes(bytes),
        NewValue::Shared(_) | NewValue::Collection(_) => false,
    };
    if done {
        entry.set_type(meta.type_);
        entry.set_enc(meta.enc);
        entry.set_lru(meta.lru);
    }
    done
}

/// Tells the expiry cycle of a new expiry.
#[inline]
fn note_expire(keyspace: &Keyspace, shard: &Shard, expire_at_ms: Option<u64>) {
    if let Some(at_ms) = expire_at_ms {
        shard.note_expire(&keyspace.expire_clock, at_ms);
    }
}
