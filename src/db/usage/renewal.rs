//! Makes fine stamps coarse before their clock starts anew.
//!
//! All keys are looked at once in [`PASS_MS`], a few at a time, by the thread of the expiry cycle. A
//! pass costs a miss of the cache for each key: 100 million keys are 7,000 a second. Servers without a
//! limit of memory have no fine stamps, and no passes.

use std::sync::atomic::Ordering;

use crate::db::keyspace::{Keyspace, ShardId};

use super::{Measure, Stamp};

/// The time that a pass takes: short enough that a stamp which was too young for one pass is no danger
/// before the next has seen it.
const PASS_MS: u64 = 4 * 3600 * 1000;
/// Keys under one hold of a lock.
const SLICE_KEYS: usize = 64;
/// Slices before the thread looks at what else it has to do.
const SLICES_MAX: usize = 256;
/// A whole shard.
const WHOLE: u64 = 1 << 32;

/// How far a pass has come.
#[derive(Default)]
pub(in crate::db) struct Renewal {
    started_at_ms: u64,
    shard: u32,
    db: usize,
    /// Of the table's scan.
    cursor: u64,
    /// The part of the shard that it has seen, in 2^32nds.
    done: u64,
    /// Whether stamps were fine at any time since it began.
    saw_fine: bool,
}

impl Keyspace {
    /// Goes on with the pass as far as it should be by now.
    pub(in crate::db) fn renew_some(&self, renewal: &mut Renewal, now_ms: u64) {
        if !self.usage.was_fine.load(Ordering::SeqCst) {
            return;
        }
        let stamp = self.usage.stamp(now_ms);
        let has_ghosts = stamp.measure() == Measure::Lfu && stamp.is_fine();
        if !has_ghosts && self.usage.ghost_bytes() > 0 {
            self.forget_ghosts();
        }
        renewal.saw_fine |= stamp.is_fine();
        let elapsed_ms = match now_ms.checked_sub(renewal.started_at_ms) {
            Some(elapsed_ms) if renewal.started_at_ms > 0 => elapsed_ms,
            _ => {
                *renewal = Renewal {
                    started_at_ms: now_ms,
                    saw_fine: stamp.is_fine(),
                    ..Renewal::default()
                };
                0
            }
        };
        for _ in 0..SLICES_MAX {
            if self.is_ahead(renewal, elapsed_ms) || !self.renew_slice(renewal, stamp) {
                return;
            }
            if renewal.shard as usize == self.shards() {
                if !renewal.saw_fine {
                    self.usage.note_all_coarse();
                }
                *renewal = Renewal::default();
                return;
            }
        }
    }

    /// Whether the pass has come as far as it should in this time.
    fn is_ahead(&self, renewal: &Renewal, elapsed_ms: u64) -> bool {
        let all = u128::from(WHOLE) * self.shards() as u128;
        let done = u128::from(WHOLE) * u128::from(renewal.shard) + u128::from(renewal.done);
        done * u128::from(PASS_MS) > all * u128::from(elapsed_ms)
    }

    /// Looks at a few keys; false if their shard cannot be had now.
    fn renew_slice(&self, renewal: &mut Renewal, stamp: Stamp) -> bool {
        if self.gate.is_closed() {
            return false;
        }
        let Some(mut data) = self.claim(ShardId(renewal.shard)) else {
            return false;
        };
        match data.tables.get_mut(renewal.db) {
            Some(table) => {
                renewal.cursor = table.scan_metas(renewal.cursor, SLICE_KEYS, |mut entry| {
                    if let Some(lru) = stamp.renewed(entry.view().lru()) {
                        entry.set_lru(lru);
                    }
                });
                renewal.db += usize::from(renewal.cursor == 0);
                let seen = renewal.cursor << self.shard_bits() >> 32;
                renewal.done = (WHOLE * renewal.db as u64 + seen) / data.tables.len() as u64;
            }
            None => {
                (renewal.db, renewal.done) = (0, 0);
                renewal.shard += 1;
            }
        }
        true
    }

    fn forget_ghosts(&self) {
        for id in self.shard_ids() {
            if self.gate.is_closed() {
                return;
            }
            let Some(mut data) = self.claim(id) else {
                return;
            };
            data.side.ghosts.clear(&self.usage);
        }
    }
}
