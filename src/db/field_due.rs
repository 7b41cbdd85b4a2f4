//! The list of a shard's hashes by the time at which a field of theirs expires, with how many there are
//! of each database: INFO tells these numbers, and shall not have to walk the list for them.
//!
//! Invariant: `hashes` has, by database, how many places the list has.

use std::collections::BTreeSet;

use crate::ds::footprint;

use super::keyspace::DbIndex;

/// When a field expires, and of which hash.
pub(super) type Place = (u64, DbIndex, Box<[u8]>);

/// See the module's text.
#[derive(Default)]
pub(super) struct FieldDue {
    places: BTreeSet<Place>,
    hashes: Vec<u64>,
}

impl FieldDue {
    /// The places, the earliest first.
    pub(super) fn places(&self) -> &BTreeSet<Place> {
        &self.places
    }

    /// How many hashes of each database are listed; databases beyond the last have none.
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// What the list takes, bytes, without the copies of keys.
    pub(super) fn memory_bytes(&self) -> usize {
        footprint::btree_bytes(self.places.len(), size_of::<Place>())
            + footprint::block_bytes(self.hashes.capacity() * size_of::<u64>())
    }

    /// When the first field expires.
    pub(super) fn first_ms(&self) -> Option<u64> {
        self.places.first().map(|place| place.0)
    }

    /// Lists a hash.
    pub(super) fn insert(&mut self, place: Place) {
        let db = place.1.0 as usize;
        if self.places.insert(place) {
            if db >= self.hashes.len() {
                self.hashes.resize(db + 1, 0);
            }
            self.hashes[db] += 1;
        }
    }

    /// Takes a hash off the list.
    pub(super) fn remove(&mut self, place: &Place) {
        if self.places.remove(place) {
            self.hashes[place.1.0 as usize] -= 1;
        }
    }

    /// Takes the first one off the list.
    pub(super) fn pop_first(&mut self) -> Option<Place> {
        let place = self.places.pop_first()?;
        self.hashes[place.1.0 as usize] -= 1;
        Some(place)
    }

    /// Takes those of a database off the list.
    pub(super) fn forget(&mut self, db: DbIndex) {
        self.places.retain(|(_, of, _)| *of != db);
        if let Some(hashes) = self.hashes.get_mut(db.0 as usize) {
            *hashes = 0;
        }
    }

    /// Has every hash be of another database.
    pub(super) fn rename(&mut self, renamed: impl Fn(DbIndex) -> DbIndex) {
        let places = std::mem::take(self).places;
        for (at_ms, db, key) in places {
            self.insert((at_ms, renamed(db), key));
        }
    }
}
