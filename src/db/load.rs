//! Keys that come in bulk, from a file: put into the tables shard by shard.
//!
//! A table of millions is far larger than the cache, so that a key on its own waits for its line.
//! Keys of one shard are therefore put in together: the lines of some keys ahead are asked for while
//! one is put in, and the shard is locked once for all of them.
//!
//! Nobody else may be served meanwhile (the server is loading): what is put in here is neither
//! propagated nor counted as a change, and no client that waits for a key hears of it.

use crate::ds::entry::Entry;

use super::keyspace::{DbIndex, Keyspace, ShardId};

/// For how many keys ahead lines are asked for.
const AHEAD: usize = 12;

/// A key that is there already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Duplicate {
    /// Its database.
    pub db: DbIndex,
    /// Its name.
    pub key: Vec<u8>,
}

impl Keyspace {
    /// Puts keys with their values into a database that does not have them. `now_ms` is what
    /// expiries are kept relative to. What was put in before a duplicate stays.
    pub fn insert_loaded(
        &self,
        db: DbIndex,
        entries: Vec<Entry>,
        now_ms: u64,
    ) -> Result<(), Duplicate> {
        let with_shard = entries.into_iter().map(|entry| {
            let hash = self.hash(entry.view().key());
            (self.shard_of(hash), (hash, entry))
        });
        let mut sorted: Vec<(ShardId, (u64, Entry))> = with_shard.collect();
        sorted.sort_unstable_by_key(|&(shard, _)| shard);
        let mut rest = sorted.into_iter().peekable();
        while let Some((shard, first)) = rest.next() {
            let mut entries = vec![first];
            while let Some((_, next)) = rest.next_if(|&(of, _)| of == shard) {
                entries.push(next);
            }
            self.insert_into_shard(shard, db, entries, now_ms)?;
        }
        Ok(())
    }

    /// As [`Keyspace::insert_loaded`], of keys with their hashes that all belong to one shard.
    pub fn insert_into_shard(
        &self,
        id: ShardId,
        db: DbIndex,
        entries: Vec<(u64, Entry)>,
        now_ms: u64,
    ) -> Result<(), Duplicate> {
        if entries.is_empty() {
            return Ok(());
        }
        let shard = self.shard(id);
        let mut data = shard.lock();
        let (table, side, _) = data.parts(db, self.shard_bits(), self.key_hash());
        table.set_clock_ms(now_ms);
        let hashes: Vec<u64> = entries.iter().map(|&(hash, _)| hash).collect();
        for &hash in hashes.iter().take(AHEAD) {
            table.prefetch_bucket(hash);
        }
        let mut earliest_ms: Option<u64> = None;
        let mut note = |at_ms: Option<u64>| {
            earliest_ms = earliest_ms.into_iter().chain(at_ms).min();
        };
        for (index, (hash, entry)) in entries.into_iter().enumerate() {
            if let Some(&ahead) = hashes.get(index + AHEAD) {
                table.prefetch_bucket(ahead);
            }
            let view = entry.view();
            debug_assert_eq!(self.shard_of(hash), id);
            if table.find(hash, view.key()).is_some() {
                let key = view.key().to_vec();
                return Err(Duplicate { db, key });
            }
            note(view.expire_at_ms());
            let is_large = view.value().as_collection().is_some();
            let slot = table.insert(hash, entry);
            side.enter_size(db, hash, table.get(slot));
            if is_large {
                note(side.note_collection(db, table.get_mut(slot)));
            }
        }
        if let Some(at_ms) = earliest_ms {
            shard.note_expire(&self.expire_clock, at_ms);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
