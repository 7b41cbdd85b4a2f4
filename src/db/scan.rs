//! Walks over the keyspace: SCAN, KEYS, RANDOMKEY, DBSIZE.
//!
//! A SCAN cursor is the shard, then the position in hash order within it: elements present throughout an iteration are
//! returned, each once, however the tables grow and shrink meanwhile. 0 begins and ends.

use crate::ds::entry::EntryRef;
use crate::util::rng::Rng;

use super::access::Access;
use super::keyspace::{DbIndex, ShardId};

/// Bits of a cursor that hold the position within a shard.
const POSITION_BITS: u32 = 48;
/// Shards that one SCAN looks into at most when they are empty, so that it ends soon in an empty database.
const EMPTY_SHARDS_MAX: usize = 1024;
/// Random draws before RANDOMKEY walks all shards for any live key.
const RANDOM_DRAWS: usize = 100;

impl Access<'_> {
    /// One step of SCAN: calls `emit` with about `count` live entries and returns the next cursor.
    pub fn scan(&mut self, cursor: u64, count: usize, mut emit: impl FnMut(EntryRef<'_>)) -> u64 {
        let (db, now_ms) = (self.db(), self.now_ms());
        let shards = self.keyspace().shards() as u64;
        let mut shard = cursor >> POSITION_BITS;
        let mut position = cursor & ((1 << POSITION_BITS) - 1);
        let mut budget = count.max(1);
        let mut shards_left = EMPTY_SHARDS_MAX;
        while shard < shards && budget > 0 && shards_left > 0 {
            let mut seen = 0;
            position = self.with_shard(ShardId(shard as u32), |data| {
                let Some(table) = data.table(db) else {
                    return 0;
                };
                table.scan(position, budget, |entry| {
                    seen += 1;
                    if is_live(entry, now_ms) {
                        emit(entry);
                    }
                })
            });
            budget = budget.saturating_sub(seen);
            shards_left -= 1;
            if position == 0 {
                shard += 1;
            } else if seen == 0 {
                // The table gave up on a stretch of empty buckets: that was work enough.
                break;
            }
        }
        if shard >= shards {
            0
        } else {
            shard << POSITION_BITS | position
        }
    }

    /// Calls `visit` with every live entry of the database, shard by shard.
    pub fn for_each_key(&mut self, mut visit: impl FnMut(EntryRef<'_>)) {
        let (db, now_ms) = (self.db(), self.now_ms());
        self.for_each_shard(|_, data| {
            if let Some(table) = data.table(db) {
                table.for_each(|entry| {
                    if is_live(entry, now_ms) {
                        visit(entry);
                    }
                });
            }
        });
    }

    /// A random live key of the database.
    pub fn random_key(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let (db, now_ms) = (self.db(), self.now_ms());
        let sizes = self.sizes_by_shard(db);
        let total: u64 = sizes.iter().sum();
        for _ in 0..RANDOM_DRAWS {
            if total == 0 {
                return None;
            }
            // Shards weighted by their size: every key is equally likely to be met.
            let mut nth = rng.below(total);
            let shard = sizes.iter().position(|&size| {
                let here = nth < size;
                nth = nth.saturating_sub(size);
                here
            });
            let drawn = self.with_shard(ShardId(shard.unwrap_or(0) as u32), |data| {
                let entry = data.table(db)?.random(&mut || rng.next_u64())?;
                is_live(entry, now_ms).then(|| entry.key().to_vec())
            });
            if drawn.is_some() {
                return drawn;
            }
        }
        let mut any = None;
        self.for_each_key(|entry| {
            any.get_or_insert_with(|| entry.key().to_vec());
        });
        any
    }

    fn sizes_by_shard(&mut self, db: DbIndex) -> Vec<u64> {
        let mut sizes = Vec::with_capacity(self.keyspace().shards());
        self.for_each_shard(|_, data| {
            sizes.push(data.table(db).map_or(0, |table| table.len() as u64))
        });
        sizes
    }

    /// Keys of a database, and how many of them hold a TTL (expired ones that are not yet deleted included, as in Redis).
    pub fn size(&mut self, db: DbIndex) -> (u64, u64) {
        let mut size = (0, 0);
        self.for_each_shard(|_, data| {
            if let Some(table) = data.table(db) {
                size.0 += table.len() as u64;
                size.1 += table.expires_len() as u64;
            }
        });
        size
    }
}

fn is_live(entry: EntryRef<'_>, now_ms: u64) -> bool {
    entry.expire_at_ms().is_none_or(|at_ms| at_ms > now_ms)
}
