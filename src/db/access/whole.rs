//! What a command does with shards that none of its keys names: looks at all of them, flushes,
//! exchanges databases.
//!
//! Invariant: shards are locked in ascending order, so a command that holds some of them may not lock
//! others; it holds none, or all.

use smallvec::SmallVec;

use crate::ds::collection::Collection;
use crate::ds::entry::Entry;
use crate::ds::table::Table;

use super::super::keyspace::{DbIndex, ShardData, ShardId};
use super::super::usage::Measure;
use super::super::wait::Ready;
use super::Access;

/// Shards that tell what a key's share in its table is.
const SHARE_SHARDS: usize = 16;

impl Access<'_> {
    /// Whether lookups count for what is known of their keys' use, from here on in this command; what
    /// it was before, which is false for a client that does not touch keys. Of handlers that look up again what they have looked up before: Redis holds on to
    /// what it has found.
    pub fn set_counting(&mut self, counting: bool) -> bool {
        std::mem::replace(&mut self.touch, counting)
    }

    /// Counts an access to a key, where Redis looks it up once more.
    #[inline]
    pub fn count_again(&mut self, key: &[u8]) {
        if self.stamp.measure() == Measure::Lfu {
            self.find_mut(key);
        }
    }

    /// The command runs although the shards of its keys cannot be had: someone has the keyspace for
    /// himself, and the command is one that is served meanwhile.
    #[cold]
    pub fn barred(mut self) -> Self {
        self.barred = true;
        self
    }

    /// See [`Access::barred`].
    #[inline]
    pub fn is_barred(&self) -> bool {
        self.barred
    }

    /// Someone has the keyspace for himself, for long: the command had to do without some shard, and
    /// has to be run again when that is over.
    #[inline]
    pub fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// The command has done a part of its work, and is to be run again when others have had their turn.
    /// Only of one that can wait, and holds nothing.
    #[cold]
    pub fn give_way(&mut self) {
        debug_assert!(self.locks.is_empty());
        self.gave_up = true;
    }

    /// Whether all shards are held.
    pub fn holds_all(&self) -> bool {
        self.locks.len() == self.keyspace.shards()
    }

    /// Whether no shard is held.
    pub fn holds_none(&self) -> bool {
        self.locks.is_empty()
    }

    /// Calls `visit` with every shard's data in ascending order: shards that the command holds as
    /// they are, the others locked one at a time. What is seen is no cut through all shards unless
    /// the command holds them all. It ends early if the command has to give up
    /// ([`Access::gave_up`]).
    pub fn for_each_shard(&mut self, mut visit: impl FnMut(ShardId, &mut ShardData)) {
        self.check_order();
        for id in self.keyspace.shard_ids() {
            if let Some(data) = self.locks.get(id) {
                visit(id, data);
                continue;
            }
            match self.keyspace.claim(id) {
                Some(mut data) => visit(id, &mut data),
                None => {
                    self.gave_up = true;
                    return;
                }
            }
        }
    }

    /// Waits until each shard that the command does not hold was free once: whoever held it has ended. False if
    /// somebody has the keyspace for himself, for long.
    pub fn pass_shards(&mut self) -> bool {
        self.check_order();
        let mut ids = self.keyspace.shard_ids();
        ids.all(|id| self.locks.get(id).is_some() || self.keyspace.claim(id).is_some())
    }

    /// Locking more is in order while nothing is held; while all is, there is nothing to lock. Rows of
    /// commands that do so say [`ALL_SHARDS`](crate::spec::Flags::ALL_SHARDS).
    fn check_order(&self) {
        debug_assert!(
            self.locks.is_empty() || self.locks.len() == self.keyspace.shards(),
            "a command that holds some shards locks others out of order"
        );
    }

    /// Calls `visit` with one shard's data, locked for the call unless the command holds it; with an
    /// empty one if the command has to give up ([`Access::gave_up`]).
    pub fn with_shard<R>(&mut self, id: ShardId, visit: impl FnOnce(&mut ShardData) -> R) -> R {
        self.check_order();
        if let Some(data) = self.locks.get(id) {
            return visit(data);
        }
        match self.keyspace.claim(id) {
            Some(mut data) => visit(&mut data),
            None => {
                self.gave_up = true;
                visit(&mut ShardData::default())
            }
        }
    }

    /// Empties one database, or all; returns what was there, to be freed by the caller. Needs all
    /// shards (the exclusive path).
    pub fn flush(&mut self, db: Option<DbIndex>) -> Vec<Table<Entry>> {
        let (bits, hash) = (self.keyspace.shard_bits(), self.keyspace.key_hash());
        let (keyspace, mut removed, mut changes) = (self.keyspace, Vec::new(), 0);
        let mut ready = Vec::new();
        self.for_each_shard(|_, shard| {
            shard.side.listeners.untrack_all(&keyspace.tracked);
            shard.side.ghosts.clear(&keyspace.usage);
            let flushed: SmallVec<[DbIndex; 16]> = match db {
                Some(db) => [db].into_iter().collect(),
                None => (0..shard.tables.len() as u32).map(DbIndex).collect(),
            };
            for db in flushed {
                shard.touch_flushed(db);
                if !shard.side.waiters.none_ends_with_key() {
                    let keys = shard.side.waiters.keys_of(db);
                    ready.extend(keys.map(|key| Ready::new(db, key)));
                }
                shard.side.forget_all_collections(db);
                let Some(table) = shard.tables.get_mut(db.0 as usize) else {
                    continue;
                };
                let table = std::mem::replace(table, Table::new(bits, hash));
                changes += table.len() as u64;
                let key_hash = |key: &[u8]| keyspace.hash(key);
                removed.extend(shard.flush_table(&keyspace.snapshot, key_hash, db, table));
            }
        });
        removed.retain(|table| !table.is_empty());
        self.add_ready(ready);
        self.effects.changes += changes;
        if self.keyspace.observer.get().is_some() {
            self.effects.flushed();
        }
        removed
    }

    /// Drops `tables` on this thread once the command's locks are released, so that only the client
    /// that asked for it waits.
    pub fn drop_unlocked(&mut self, tables: Vec<Table<Entry>>) {
        self.effects
            .rare
            .get_or_insert_default()
            .tables
            .extend(tables);
    }

    /// Runs `work` while the shard of `key` is held, for commands whose rows name no keys (DEBUG).
    /// Only while nothing is held, or this shard among others: that keeps the order of locking. `None`
    /// if the command has to give up ([`Access::gave_up`]).
    pub fn with_key<R>(&mut self, key: &[u8], work: impl FnOnce(&mut Self) -> R) -> Option<R> {
        let result = self.with_key_if_free(key, work);
        self.gave_up |= result.is_none();
        result
    }

    /// As [`Access::with_key`], but the command can do without.
    pub fn with_key_if_free<R>(
        &mut self,
        key: &[u8],
        work: impl FnOnce(&mut Self) -> R,
    ) -> Option<R> {
        if !self.locks.is_empty() {
            debug_assert!({
                let id = self.keyspace.shard_of(self.keyspace.hash(key));
                self.locks.peek(id).is_some()
            });
            return Some(work(self));
        }
        self.locks = self.keyspace.claim_one(self.keyspace.hash(key))?;
        self.look_at_log();
        let result = work(self);
        self.settle();
        self.locks = self.keyspace.lock_none();
        Some(result)
    }

    /// The share of one key in the memory of its database's tables, bytes, rounded up. Tables of different
    /// shards are in different phases of their growth, so some of those that nobody uses just then are looked
    /// at besides the key's own.
    pub fn table_bytes_per_key(&mut self, key: &[u8]) -> usize {
        let (own, db) = (self.keyspace.shard_of(self.hash(key)), self.db);
        let shards = self.keyspace.shards();
        let (mut bytes, mut keys) = (0, 0);
        let mut add = |data: &ShardData| {
            if let Some(table) = data.table(db) {
                bytes += table.memory_bytes();
                keys += table.len();
            }
        };
        for step in 0..shards.min(SHARE_SHARDS) {
            let id = ShardId(((own.0 as usize + step) % shards) as u32);
            match self.locks.peek(id) {
                Some(data) => add(data),
                None => {
                    if let Some(data) = self.keyspace.try_claim(id) {
                        add(&data);
                    }
                }
            }
        }
        bytes.div_ceil(keys.max(1))
    }

    /// The share of a hash in the list of those whose fields expire, bytes, rounded up; nothing if it is not in it.
    /// Only its own shard's list is looked at: even one that is short takes a whole node of a tree.
    pub fn list_bytes_per_hash(&self, key: &[u8]) -> usize {
        let hash = self.hash(key);
        let Some(data) = self.locks.peek(self.keyspace.shard_of(hash)) else {
            return 0;
        };
        let found = data.table(self.db).and_then(|table| {
            let entry = table.get(table.find(hash, key)?);
            entry.value().as_collection()
        });
        let due = &data.side.field_due;
        match found.is_some_and(Collection::is_noted) {
            true => due.memory_bytes().div_ceil(due.places().len().max(1)),
            false => 0,
        }
    }

    /// Exchanges two databases. Needs all shards (the exclusive path). Whoever waits for a key goes on
    /// waiting in the database of the same number.
    pub fn swap(&mut self, a: DbIndex, b: DbIndex) {
        let (bits, hash) = (self.keyspace.shard_bits(), self.keyspace.key_hash());
        let mut ready = Vec::new();
        self.for_each_shard(|_, shard| {
            shard.parts(a.max(b), bits, hash);
            shard.touch_swapped(a, b);
            shard.tables.swap(a.0 as usize, b.0 as usize);
            shard.swap_snapshot(a, b);
            shard.side.swap_collections(a, b);
            for db in [a, b] {
                let keys = shard.side.waiters.keys_of(db);
                ready.extend(keys.map(|key| Ready::new(db, key)));
            }
        });
        self.keyspace.snapshot.note_swapped(a, b);
        self.keyspace.ttls.forget();
        self.add_ready(ready);
        self.effects.changes += 1;
    }

    /// Has those looked at who wait for these keys.
    fn add_ready(&mut self, mut ready: Vec<Ready>) {
        if !ready.is_empty() {
            let rare = self.effects.rare.get_or_insert_default();
            rare.ready.append(&mut ready);
        }
    }
}
