//! Walks over the keyspace: SCAN, KEYS, RANDOMKEY, DBSIZE.
//!
//! The whole keyspace is in one order, that of the keys' hashes: a shard is a range of hashes, its
//! tables are in hash order (`ds::table`). So a SCAN cursor needs to say only how far an iteration
//! has come, and stays right however the tables grow and shrink: a key that is there throughout is
//! returned exactly once, one that comes and goes at most once for each time it comes.
//!
//! A cursor is the top `CURSOR_BITS` of that hash: a table's own cursors end in at least 16 zero
//! bits. 0 begins and ends. Any other number is a place as good as one that was returned; beyond
//! the last place nothing follows.
//!
//! No walk keeps a shard locked for more than `SLICE_KEYS` keys at a time unless the command
//! holds it anyway, so what a walk of a command without keys sees is no cut through the keyspace:
//! each key was there, or not, at some moment between the walk's beginning and its end.
//!
//! To add a walk: build it on [`Access::walk`], or on `with_shard` and the table's own.

use std::ops::ControlFlow;

use crate::ds::entry::{Entry, EntryRef};
use crate::ds::table::Table;
use crate::util::rng::Rng;

use super::access::{Access, Lookup};
use super::keyspace::{DbIndex, ShardData, ShardId};

/// Bits of a client's cursor.
const CURSOR_BITS: u32 = 48;
/// Zero bits at the end of a table's cursor, which a client's does without.
const GRAIN_BITS: u32 = u64::BITS - CURSOR_BITS;
/// Keys that a walk looks at while it keeps one shard locked.
const SLICE_KEYS: usize = 512;
/// Random draws before RANDOMKEY walks all shards for any live key.
const RANDOM_DRAWS: usize = 100;

/// How far a walk has come: all keys of the shards before `shard`, and in it those before
/// `position`, a cursor of its table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    shard: u64,
    position: u64,
}

impl Place {
    const START: Place = Place {
        shard: 0,
        position: 0,
    };

    fn from_cursor(cursor: u64, shard_bits: u32) -> Option<Place> {
        if cursor >> CURSOR_BITS != 0 {
            return None;
        }
        let hash = cursor << GRAIN_BITS;
        let position_mask = u64::MAX >> shard_bits;
        Some(Place {
            shard: (hash & !position_mask).rotate_left(shard_bits),
            position: hash & position_mask,
        })
    }

    /// The cursor of a place within `1 << shard_bits` shards.
    fn cursor(self, shard_bits: u32) -> u64 {
        (self.shard.rotate_right(shard_bits) | self.position) >> GRAIN_BITS
    }

    /// The place behind a step that ended at `position` of the table, 0 for its end.
    fn after(self, position: u64) -> Place {
        match position {
            0 => Place {
                shard: self.shard + 1,
                position: 0,
            },
            position => Place { position, ..self },
        }
    }
}

impl Access<'_> {
    /// One step of SCAN from `cursor` on: looks at about `count` entries, calls `emit` with those
    /// that live and that `wanted` accepts, and returns the next cursor. Wanted ones that have
    /// expired are deleted, as Redis does.
    pub fn scan(
        &mut self,
        cursor: u64,
        count: usize,
        mut wanted: impl FnMut(EntryRef<'_>) -> bool,
        mut emit: impl FnMut(EntryRef<'_>),
    ) -> u64 {
        let (keyspace, now_ms) = (self.keyspace(), self.now_ms());
        let shard_bits = keyspace.shard_bits();
        let Some(mut place) = Place::from_cursor(cursor, shard_bits) else {
            return 0;
        };
        let mut budget = count.max(1);
        let mut expired: Vec<Vec<u8>> = Vec::new();
        while place.shard < keyspace.shards() as u64 {
            let (seen, next) = self.slice(place, budget, |entry| match wanted(entry) {
                true if is_live(entry, now_ms) => emit(entry),
                true => expired.push(entry.key().to_vec()),
                false => {}
            });
            for key in expired.drain(..) {
                self.drop_expired(&key);
            }
            // A step that met nothing but empty lines was work, too.
            let idle = seen == 0 && next.shard == place.shard;
            place = next;
            budget = budget.saturating_sub(seen);
            if budget == 0 || idle {
                break;
            }
        }
        match place.shard < keyspace.shards() as u64 {
            true => place.cursor(shard_bits),
            false => 0,
        }
    }

    /// Calls `visit` with every live entry of the database in the order of their hashes, until it
    /// breaks.
    pub fn walk(&mut self, mut visit: impl FnMut(EntryRef<'_>) -> ControlFlow<()>) {
        let (shards, now_ms) = (self.keyspace().shards() as u64, self.now_ms());
        let mut place = Place::START;
        let mut flow = ControlFlow::Continue(());
        while place.shard < shards && flow.is_continue() {
            let (_, next) = self.slice(place, SLICE_KEYS, |entry| {
                if flow.is_continue() && is_live(entry, now_ms) {
                    flow = visit(entry);
                }
            });
            place = next;
        }
    }

    /// Calls `visit` with every live entry of the database.
    pub fn for_each_key(&mut self, mut visit: impl FnMut(EntryRef<'_>)) {
        self.walk(|entry| {
            visit(entry);
            ControlFlow::Continue(())
        });
    }

    /// Looks at up to `budget` entries of one shard, but no more than a slice; returns how many it
    /// met, and where to go on.
    fn slice(
        &mut self,
        place: Place,
        budget: usize,
        mut visit: impl FnMut(EntryRef<'_>),
    ) -> (usize, Place) {
        let db = self.db();
        let mut seen = 0usize;
        let position = self.with_shard(ShardId(place.shard as u32), |data| {
            let Some(table) = data.table(db) else {
                return 0;
            };
            table.scan(place.position, budget.min(SLICE_KEYS), |entry| {
                seen += 1;
                visit(entry);
            })
        });
        (seen, place.after(position))
    }

    /// True when a live key is there. For commands that name no keys: locks its shard for the call
    /// unless it is held. Leaves no trace.
    pub fn peek(&mut self, key: &[u8]) -> bool {
        let (db, now_ms) = (self.db(), self.now_ms());
        let hash = self.keyspace().hash(key);
        self.with_shard(self.keyspace().shard_of(hash), |data| {
            let table = data.table(db)?;
            let slot = table.find(hash, key)?;
            is_live(table.get(slot), now_ms).then_some(())
        })
        .is_some()
    }

    /// Deletes a key that a walk found expired, if it still is.
    fn drop_expired(&mut self, key: &[u8]) {
        self.with_key(key, |access| access.exists(key, Lookup::Silent));
    }

    /// A random live key of the database. Expired ones that it meets are deleted, as Redis does.
    pub fn random_key(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let (db, now_ms) = (self.db(), self.now_ms());
        let mut sizes = Vec::with_capacity(self.keyspace().shards());
        self.for_each_shard(|_, data| sizes.push(data.table(db).map_or(0, Table::len) as u64));
        let total = sizes.iter().sum();
        if total == 0 {
            return None;
        }
        for _ in 0..RANDOM_DRAWS {
            // Shards weighted by their size: every key is equally likely to be met.
            let shard = nth_shard(&sizes, rng.below(total));
            let drawn = self.with_shard(shard, |data| {
                let entry = random_entry(data, db, rng)?;
                Some((entry.key().to_vec(), is_live(entry, now_ms)))
            });
            match drawn {
                Some((key, true)) => return Some(key),
                Some((key, false)) => self.drop_expired(&key),
                None => {}
            }
        }
        let mut any = None;
        self.walk(|entry| {
            any = Some(entry.key().to_vec());
            ControlFlow::Break(())
        });
        any
    }

    /// Keys of a database, and how many of them hold a TTL (expired ones that are not yet deleted
    /// included, as in Redis).
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

/// The shard that holds key number `nth` of all.
fn nth_shard(sizes: &[u64], mut nth: u64) -> ShardId {
    let shard = sizes.iter().position(|&size| {
        let here = nth < size;
        nth = nth.saturating_sub(size);
        here
    });
    ShardId(shard.unwrap_or(0) as u32)
}

fn random_entry<'a>(data: &'a ShardData, db: DbIndex, rng: &mut Rng) -> Option<EntryRef<'a>> {
    let table: &Table<Entry> = data.table(db)?;
    table.random(&mut || rng.next_u64())
}

fn is_live(entry: EntryRef<'_>, now_ms: u64) -> bool {
    entry.expire_at_ms().is_none_or(|at_ms| at_ms > now_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn places_survive_as_cursors() {
        let mut rng = Rng::from_seed(1);
        for shard_bits in [0, 1, 6, 10] {
            for _ in 0..1_000 {
                let place = Place {
                    shard: rng.below(1 << shard_bits),
                    position: (rng.next_u64() >> shard_bits) & !((1 << GRAIN_BITS) - 1),
                };
                let cursor = place.cursor(shard_bits);
                assert_eq!(Place::from_cursor(cursor, shard_bits), Some(place));
            }
            assert_eq!(Place::from_cursor(0, shard_bits), Some(Place::START));
            assert_eq!(Place::from_cursor(1 << CURSOR_BITS, shard_bits), None);
            assert_eq!(Place::from_cursor(u64::MAX, shard_bits), None);
        }
    }
}
