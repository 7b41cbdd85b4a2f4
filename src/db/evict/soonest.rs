//! `volatile-ttl`: what expires soonest goes first.
//!
//! The expiry index knows: each shard publishes its earliest expiry, each table knows its own, and takes
//! out what expires by then ([`Table::take_expiring_until`]). So this is the expiry cycle, run ahead of
//! time. Keys go in the order of their expiry, to within [`PRECISION`] of the time that is left to them.
//!
//! Published times may be too early, when what they were about has gone or a field of a hash expires then.
//! A visit puts that right, but for fields; if these keep us from finding any key, all shards are asked.

use std::sync::atomic::Ordering;

use crate::db::keyspace::{DbIndex, Keyspace, Shard, ShardData, ShardId};
use crate::ds::entry::Entry;
use crate::ds::table::NO_EXPIRY;

use super::{Haul, Hold, Looked, SLICE_KEYS};

#[cfg(doc)]
use crate::ds::table::Table;

/// What expires within this part of the time that is left until the first key expires may go with it: a
/// due code is twice as coarse at worst, so one pass over the codes mostly finds a key.
const PRECISION: u64 = 1024;
/// Shards that are looked for in one pass over all.
const SHARDS_MAX: usize = 8;

/// Passes over the shards' expiries that may find these too early, and put them right.
const VAIN_PASSES_MAX: usize = 4;

/// Shards by their published expiry, the earliest first.
type Earliest = smallvec::SmallVec<[(u64, ShardId); SHARDS_MAX + 1]>;

impl Keyspace {
    /// Evicts what expires soonest.
    pub(super) fn evict_soonest(&self, now_ms: u64, haul: &mut Haul<'_>) -> Looked {
        for _ in 0..VAIN_PASSES_MAX {
            let mut earliest = self.earliest_shards();
            if earliest.is_empty() {
                return Looked::AtNone;
            }
            // What is not on the list comes later than that.
            let horizon_ms = match earliest.len() > SHARDS_MAX {
                true => earliest.pop().map_or(NO_EXPIRY, |last| last.0),
                false => NO_EXPIRY - 1,
            };
            while !haul.is_enough() && !earliest.is_empty() {
                let (_, id) = earliest.remove(0);
                let next_ms = earliest.first().map_or(horizon_ms, |next| next.0);
                let Some(hold) = self.hold(id, false) else {
                    continue;
                };
                let next_ms = self.evict_soonest_of(hold, now_ms, Some(next_ms), haul);
                if next_ms <= horizon_ms {
                    insert(&mut earliest, next_ms, id);
                }
            }
            if haul.keys > 0 {
                return Looked::AtSome;
            }
        }
        self.evict_soonest_of_all(now_ms, haul)
    }

    /// The shards that publish the earliest expiries.
    fn earliest_shards(&self) -> Earliest {
        let mut earliest = Earliest::new();
        for (number, shard) in (0..).zip(self.all()) {
            let at_ms = shard.next_expire_at_ms.load(Ordering::Relaxed);
            let is_among =
                earliest.len() <= SHARDS_MAX || earliest.last().is_some_and(|last| at_ms < last.0);
            if at_ms != NO_EXPIRY && is_among {
                insert(&mut earliest, at_ms, ShardId(number));
                earliest.truncate(SHARDS_MAX + 1);
            }
        }
        earliest
    }

    /// Evicts the first key of all, having asked each shard: what is published was of no help.
    #[cold]
    fn evict_soonest_of_all(&self, now_ms: u64, haul: &mut Haul<'_>) -> Looked {
        for pass in 0..=VAIN_PASSES_MAX {
            let Some(first) = self.first_two() else {
                return Looked::Busy;
            };
            let Some(&(_, id)) = first.first() else {
                return Looked::AtNone;
            };
            let second_ms = first.get(1).map_or(NO_EXPIRY, |second| second.0);
            let Some(hold) = self.hold(id, true) else {
                return Looked::Busy;
            };
            // What a shard knows may be too early, too, until it has looked.
            let next_ms = (pass < VAIN_PASSES_MAX).then_some(second_ms);
            self.evict_soonest_of(hold, now_ms, next_ms, haul);
            if haul.keys > 0 {
                break;
            }
        }
        Looked::AtSome
    }

    /// The two shards whose keys expire first, by what they know themselves. `None` when someone has the
    /// keyspace for himself.
    fn first_two(&self) -> Option<Earliest> {
        let mut first = Earliest::new();
        for id in self.shard_ids() {
            if !self.shard(id).may_expire() {
                continue;
            }
            let at_ms = self.claim(id)?.next_key_expires_at_ms();
            if at_ms != NO_EXPIRY {
                insert(&mut first, at_ms, id);
                first.truncate(2);
            }
        }
        Some(first)
    }

    /// Evicts the first keys of a shard, for as long as they expire before `next_ms` if that is given, and
    /// publishes its earliest expiry. When the first of the keys that are left expires.
    fn evict_soonest_of(
        &self,
        mut hold: Hold<'_>,
        now_ms: u64,
        next_ms: Option<u64>,
        haul: &mut Haul<'_>,
    ) -> u64 {
        let mut taken: Vec<(Entry, bool)> = Vec::new();
        // A bound may be an early guess once: the second look knows.
        for _ in 0..2 * SLICE_KEYS {
            let first_ms = hold.data.next_key_expires_at_ms();
            let is_done = match next_ms {
                Some(next_ms) => first_ms > next_ms,
                None => haul.keys > 0,
            };
            if first_ms == NO_EXPIRY || is_done || haul.is_enough() {
                break;
            }
            let until_ms = first_ms + first_ms.saturating_sub(now_ms) / PRECISION;
            let tables = (0..).map(DbIndex).zip(&mut hold.data.tables);
            let first = tables.min_by_key(|(_, table)| table.next_expire_at_ms());
            let Some((db, table)) = first else { break };
            let mut take = |entry, is_unsaved| taken.push((entry, is_unsaved));
            table.take_expiring_until((now_ms, until_ms), haul.budget(), &mut take);
            for gone in taken.drain(..) {
                let hash = self.hash(gone.0.view().key());
                self.evicted(&mut hold, (db, hash), gone, haul);
            }
        }
        hold.data.publish_next_expire(self.shard(hold.id));
        let next_ms = hold.data.next_key_expires_at_ms();
        self.release(&mut Some(hold));
        next_ms
    }
}

fn insert(earliest: &mut Earliest, at_ms: u64, id: ShardId) {
    let at = earliest.partition_point(|other| other.0 <= at_ms);
    earliest.insert(at, (at_ms, id));
}

impl Haul<'_> {
    /// How many more keys may be taken before anybody knows how much they take: as many as it will need if
    /// they are like those before.
    fn budget(&self) -> usize {
        if self.keys == 0 {
            return 1;
        }
        let each_bytes = (self.bytes / self.keys as u64).max(1);
        let missing = self.want_bytes.saturating_sub(self.bytes) / each_bytes;
        (missing as usize).clamp(1, SLICE_KEYS.saturating_sub(self.keys).max(1))
    }
}

impl ShardData {
    /// No key expires before this; [`NO_EXPIRY`] if none does.
    fn next_key_expires_at_ms(&self) -> u64 {
        let expiries = self.tables.iter().map(|table| table.next_expire_at_ms());
        expiries.min().unwrap_or(NO_EXPIRY)
    }

    /// Publishes when the first key or field expires.
    fn publish_next_expire(&self, shard: &Shard) {
        let field_ms = self.side.field_due.first_ms().unwrap_or(NO_EXPIRY);
        let next_ms = self.next_key_expires_at_ms().min(field_ms);
        shard.next_expire_at_ms.store(next_ms, Ordering::SeqCst);
    }
}
