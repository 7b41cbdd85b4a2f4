//! What a shard knows of some of its keys besides their values: who waits for them, who listens to
//! them, when fields of theirs expire, and whether groups of theirs have consumers.
//!
//! Most keys have none of it, so nothing is kept with the entries: a writer asks one shard-wide
//! question, whether there is anything at all.
//!
//! Invariant: a large hash in the keyspace is noted under [`FieldTable::noted_at_ms`], and no later
//! than its earliest field expires; one that leaves the keyspace is taken off the list.

use std::collections::BTreeSet;

use crate::ds::collection::Collection;
use crate::ds::entry::{Entry, EntryMut};
use crate::ds::table::NO_EXPIRY;

use super::field_due::FieldDue;
use super::keyspace::DbIndex;
use super::listen::Listeners;
use super::sizes::Sizes;
use super::usage::Ghosts;
use super::wait::Waiters;

#[cfg(doc)]
use crate::ds::collection::FieldTable;

/// See the module's text.
#[derive(Default)]
pub struct Side {
    /// Who waits for keys.
    pub waiters: Waiters,
    /// Who watches or tracks keys.
    pub(super) listeners: Listeners,
    /// Hashes by the time at which a field of theirs expires.
    pub(super) field_due: FieldDue,
    /// Databases in which groups of some stream have had consumers since it was last emptied: what a
    /// snapshot must know before it meets them.
    consumed: BTreeSet<DbIndex>,
    /// How large values are, when somebody wants to know.
    pub(super) sizes: Option<Box<Sizes>>,
    /// How often keys were accessed that have been evicted.
    pub(super) ghosts: Ghosts,
}

impl Side {
    /// Whether groups of streams have consumers, or had.
    pub(super) fn has_consumers(&self) -> bool {
        !self.consumed.is_empty()
    }

    /// Whether groups of streams of a database have consumers, or had.
    pub(super) fn has_consumers_in(&self, db: DbIndex) -> bool {
        self.consumed.contains(&db)
    }

    /// What listening, waiting and the list of expiring fields take, bytes, but for what is counted with the
    /// clients that wait or watch.
    pub(super) fn memory_bytes(&self) -> usize {
        self.waiters.memory_bytes()
            + self.listeners.memory_bytes()
            + self.sizes.as_ref().map_or(0, |sizes| sizes.memory_bytes())
            + self.field_due.memory_bytes()
    }

    /// Notes what has to be known of a collection of the keyspace: when fields of it expire, if any do
    /// earlier than was known; that time is returned if it is new.
    pub(super) fn note_collection(&mut self, db: DbIndex, entry: EntryMut<'_>) -> Option<u64> {
        let key = entry.view().key();
        // Most collections have no such fields: nothing is copied for them.
        let fields = match entry.view().value().as_collection() {
            Some(Collection::Hash(fields)) => fields,
            Some(Collection::Stream(stream)) => {
                if stream.groups().have_consumers() {
                    self.consumed.insert(db);
                }
                return None;
            }
            _ => return None,
        };
        let (next_ms, noted_ms) = (fields.table.next_expire_at_ms(), fields.noted_at_ms);
        if next_ms >= noted_ms {
            return None;
        }
        if noted_ms != NO_EXPIRY {
            self.field_due.remove(&(noted_ms, db, key.into()));
        }
        self.field_due.insert((next_ms, db, key.into()));
        if let Some(Collection::Hash(fields)) = entry.into_collection() {
            fields.noted_at_ms = next_ms;
        }
        Some(next_ms)
    }

    /// Takes an entry off the list that has left the keyspace.
    pub(super) fn forget_fields(&mut self, db: DbIndex, entry: &mut Entry) {
        let view = entry.view_mut();
        let key: Box<[u8]> = match view.view().value().as_collection() {
            Some(Collection::Hash(fields)) if fields.noted_at_ms != NO_EXPIRY => {
                view.view().key().into()
            }
            _ => return,
        };
        if let Some(Collection::Hash(fields)) = view.into_collection() {
            self.field_due.remove(&(fields.noted_at_ms, db, key));
            fields.noted_at_ms = NO_EXPIRY;
        }
    }

    /// A database was emptied.
    pub(super) fn forget_all_collections(&mut self, db: DbIndex) {
        self.field_due.forget(db);
        self.consumed.remove(&db);
        self.forget_sizes(db);
    }

    /// Two databases were exchanged.
    pub(super) fn swap_collections(&mut self, a: DbIndex, b: DbIndex) {
        let swapped = |db| match db {
            db if db == a => b,
            db if db == b => a,
            db => db,
        };
        self.field_due.rename(swapped);
        let consumed = std::mem::take(&mut self.consumed);
        self.consumed = consumed.into_iter().map(swapped).collect();
        self.swap_sizes(a, b);
    }
}
