//! Eviction: which keys go when memory is full, and what follows from their going.
//!
//! Whoever needs room calls [`Keyspace::evict_some`] while he holds no shard; whether there is room at all
//! is asked elsewhere: here nothing is measured but what the keys that go have taken.
//!
//! - **Used least** (LRU, LFU, LRM), or any key: a `hand` goes round each shard, and all threads
//!   together go round the shards, so nobody looks at a key again before all others were looked at. For
//!   each key that goes, `maxmemory-samples` keys are looked at; the best of what a thread has met are in
//!   its `Pool`, whichever shard or database they are in, and the very best goes first. What is looked
//!   at in one go is a run of whole lines of the table, asked for ahead (`ds::table`).
//! - **Expires soonest** (`soonest`): the expiry index knows, so keys go in the order of their expiry.
//!
//! Nobody waits for a shard that is in use while keys of others may go, and what was taken out is freed when no
//! shard is held, large values by the lazy-free thread.
//!
//! Invariant: what holds for a key that a command deletes holds for one that is evicted: the log repeats
//! it, whoever watches, tracks or waits for it is told, a snapshot that is going on has it.
//!
//! To add a policy: a variant of [`Policy`], its word in `config`, what it measures.

mod pool;
mod soonest;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::ds::entry::{Entry, EntryRef};
use crate::ds::lock::ShardGuard;
use crate::ds::table::Slot;
use crate::util::padded::Padded;
use crate::util::rng::Rng;

use super::effects::Effects;
use super::keyspace::{DbIndex, Keyspace, ShardData, ShardId};
use super::lazyfree::{Cause, about_bytes, is_large};
use super::pressure::Pressure;
use super::usage::{Measure, Stamp};
use pool::{Candidate, Pool};

/// Keys that go in one call.
const SLICE_KEYS: usize = 16;
/// Candidates that are tried in one call: some have been used since they were chosen.
const TRIES_MAX: usize = 4 * SLICE_KEYS;
/// Keys that are looked at in one go.
const LOOK_KEYS: usize = 64;
/// Candidates that are kept although their shards are in use.
const BUSY_MAX: usize = 4;

/// What to evict when memory is full (`maxmemory-policy`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Policy {
    /// Nothing: writes are refused.
    #[default]
    NoEviction,
    /// What was accessed least recently.
    AllKeysLru,
    /// What is accessed least often.
    AllKeysLfu,
    /// What was written least recently.
    AllKeysLrm,
    /// Any key.
    AllKeysRandom,
    /// As [`Policy::AllKeysLru`], of keys with a TTL.
    VolatileLru,
    /// As [`Policy::AllKeysLfu`], of keys with a TTL.
    VolatileLfu,
    /// As [`Policy::AllKeysLrm`], of keys with a TTL.
    VolatileLrm,
    /// Any key with a TTL.
    VolatileRandom,
    /// What expires soonest.
    VolatileTtl,
}

impl Policy {
    /// All of them.
    pub const ALL: [Policy; 10] = [
        Policy::NoEviction,
        Policy::AllKeysLru,
        Policy::AllKeysLfu,
        Policy::AllKeysLrm,
        Policy::AllKeysRandom,
        Policy::VolatileLru,
        Policy::VolatileLfu,
        Policy::VolatileLrm,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
    ];

    /// The word that `maxmemory-policy` shows.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::NoEviction => "noeviction",
            Policy::AllKeysLru => "allkeys-lru",
            Policy::AllKeysLfu => "allkeys-lfu",
            Policy::AllKeysLrm => "allkeys-lrm",
            Policy::AllKeysRandom => "allkeys-random",
            Policy::VolatileLru => "volatile-lru",
            Policy::VolatileLfu => "volatile-lfu",
            Policy::VolatileLrm => "volatile-lrm",
            Policy::VolatileRandom => "volatile-random",
            Policy::VolatileTtl => "volatile-ttl",
        }
    }

    /// What has to be measured of keys for it.
    pub fn measure(self) -> Measure {
        match self {
            Policy::AllKeysLfu | Policy::VolatileLfu => Measure::Lfu,
            Policy::AllKeysLrm | Policy::VolatileLrm => Measure::Lrm,
            _ => Measure::Lru,
        }
    }

    /// Whether keys go by how they are used.
    pub fn goes_by_use(self) -> bool {
        let is_ttl = self == Policy::VolatileTtl;
        self != Policy::NoEviction && !is_ttl && !self.is_random()
    }

    /// Whether any key is as good as another.
    fn is_random(self) -> bool {
        matches!(self, Policy::AllKeysRandom | Policy::VolatileRandom)
    }

    /// Whether only keys with a TTL may go.
    pub fn is_volatile(self) -> bool {
        matches!(
            self,
            Policy::VolatileLru
                | Policy::VolatileLfu
                | Policy::VolatileLrm
                | Policy::VolatileRandom
                | Policy::VolatileTtl
        )
    }
}

/// The settings of eviction, and its figures.
#[derive(Default)]
pub struct Eviction {
    limit_bytes: AtomicU64,
    policy: AtomicU8,
    samples: AtomicU32,
    /// Written with each eviction, whereas the limit is read with each command.
    pub taking: Padded<Taking>,
    /// How long memory has been above the limit, and who does something about it.
    pub pressure: Pressure,
}

/// What threads that evict tell each other.
#[derive(Default)]
pub struct Taking {
    /// The shard where somebody looks for candidates next.
    next_shard: AtomicU32,
    /// Threads that have taken keys which are not counted yet.
    takers: AtomicU32,
    /// Keys that were evicted.
    pub evicted_keys: AtomicU64,
}

impl Eviction {
    /// Sets `maxmemory` (0: no limit), `maxmemory-policy` and `maxmemory-samples`.
    pub fn set(&self, limit_bytes: u64, policy: Policy, samples: u32) {
        self.policy.store(policy as u8, Ordering::Relaxed);
        self.samples.store(samples, Ordering::Relaxed);
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
    }

    /// `maxmemory`; 0: no limit. Read before every command: a word that is hardly ever written.
    #[inline]
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// `maxmemory-policy`.
    pub fn policy(&self) -> Policy {
        let number = self.policy.load(Ordering::Relaxed);
        Policy::ALL[usize::from(number) % Policy::ALL.len()]
    }

    fn samples(&self) -> usize {
        self.samples.load(Ordering::Relaxed) as usize
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        self.taking.evicted_keys.store(0, Ordering::Relaxed);
        self.pressure.reset_stats();
    }
}

/// Where the search for candidates goes on in a shard.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Hand {
    /// A table.
    db: u32,
    /// See `ds::table::sweep`.
    place: u64,
}

/// What one thread knows of keys that may go.
pub struct Sweep {
    pool: Pool,
    rng: Rng,
    /// Taken out, to be freed when no shard is held. Empty between two calls.
    removed: Vec<Entry>,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep {
            pool: Pool::default(),
            rng: Rng::from_os(),
            removed: Vec::new(),
        }
    }
}

/// What [`Keyspace::evict_some`] has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evicted {
    /// Keys have gone.
    Some {
        /// How many.
        keys: u64,
        /// What they took, bytes: of large values about, and these are yet to be freed.
        bytes: u64,
    },
    /// There is no key that the policy lets go.
    Nothing,
    /// Someone has the keyspace for himself, or others are just using the candidates: none has gone.
    Busy,
}

/// What has gone so far in one call.
struct Haul<'a> {
    want_bytes: u64,
    bytes: u64,
    keys: usize,
    removed: &'a mut Vec<Entry>,
}

impl Haul<'_> {
    fn is_enough(&self) -> bool {
        self.bytes >= self.want_bytes && self.keys > 0 || self.keys >= SLICE_KEYS
    }
}

/// A shard that is held, and what is to be told before it is released.
struct Hold<'k> {
    id: ShardId,
    data: ShardGuard<'k, ShardData>,
    effects: Effects,
}

/// Whether there was anything to look at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Looked {
    AtSome,
    AtNone,
    Busy,
}

impl Keyspace {
    /// Evicts keys until they have given back `want_bytes`, at least one and at most a few, so that the
    /// caller has control again within microseconds. No shard may be held.
    pub fn evict_some(&self, sweep: &mut Sweep, now_ms: u64, want_bytes: u64) -> Evicted {
        let policy = self.eviction.policy();
        if policy == Policy::NoEviction {
            return Evicted::Nothing;
        }
        if self.gate.is_closed() {
            return Evicted::Busy;
        }
        let eviction = &self.eviction;
        let evicted_before = eviction.taking.evicted_keys.load(Ordering::Relaxed);
        let mut removed = std::mem::take(&mut sweep.removed);
        let mut haul = Haul {
            want_bytes,
            bytes: 0,
            keys: 0,
            removed: &mut removed,
        };
        let begun = self.spikes.begin();
        let found = match policy {
            Policy::VolatileTtl => self.evict_soonest(now_ms, &mut haul),
            _ => self.evict_idlest(sweep, policy, now_ms, &mut haul),
        };
        let (keys, bytes) = (haul.keys as u64, haul.bytes);
        self.free_removed(&mut removed);
        sweep.removed = removed;
        self.spikes.end(begun, &["eviction-del"]);
        if keys > 0 {
            eviction
                .taking
                .evicted_keys
                .fetch_add(keys, Ordering::Relaxed);
            eviction.taking.takers.fetch_sub(1, Ordering::Release);
            return Evicted::Some { keys, bytes };
        }
        // If others have taken what there was, there may be more by now.
        let is_alone = eviction.taking.takers.load(Ordering::Acquire) == 0
            && eviction.taking.evicted_keys.load(Ordering::Relaxed) == evicted_before;
        match found == Looked::AtNone && is_alone {
            true => Evicted::Nothing,
            false => Evicted::Busy,
        }
    }

    /// Evicts those of the pool that are used least.
    fn evict_idlest(
        &self,
        sweep: &mut Sweep,
        policy: Policy,
        now_ms: u64,
        haul: &mut Haul<'_>,
    ) -> Looked {
        let stamp = self.usage.stamp(now_ms);
        let samples = self.eviction.samples();
        sweep.pool.turn_to(policy, stamp, now_ms);
        let mut hold: Option<Hold<'_>> = None;
        let mut busy: SmallVec<[Candidate; BUSY_MAX]> = SmallVec::new();
        let mut looked = Looked::AtSome;
        for _ in 0..TRIES_MAX {
            if haul.is_enough() {
                break;
            }
            if sweep.pool.is_used_up(samples) {
                self.release(&mut hold);
                looked = self.look_around(sweep, policy, stamp);
            }
            let Some(candidate) = sweep.pool.take(samples) else {
                break;
            };
            let id = self.shard_of(candidate.hash);
            if hold.as_ref().is_none_or(|hold| hold.id != id) {
                self.release(&mut hold);
                hold = self.hold(id, false);
            }
            match &mut hold {
                Some(hold) => self.evict_candidate(sweep, hold, candidate, (policy, stamp), haul),
                None if busy.len() < BUSY_MAX => busy.push(candidate),
                // It will be met again.
                None => {}
            }
        }
        self.release(&mut hold);
        if haul.keys == 0 && !busy.is_empty() {
            looked = Looked::Busy;
            let candidate = busy.remove(0);
            hold = self.hold(self.shard_of(candidate.hash), true);
            if let Some(hold) = &mut hold {
                self.evict_candidate(sweep, hold, candidate, (policy, stamp), haul);
            }
            self.release(&mut hold);
        }
        busy.into_iter()
            .for_each(|candidate| sweep.pool.offer(candidate));
        looked
    }

    /// Evicts a candidate, unless it has gone, or has been used since and others are better by now.
    fn evict_candidate(
        &self,
        sweep: &mut Sweep,
        hold: &mut Hold<'_>,
        candidate: Candidate,
        (policy, stamp): (Policy, Stamp),
        haul: &mut Haul<'_>,
    ) {
        let Some(table) = hold.data.table(candidate.db) else {
            return;
        };
        hold.data.prefetch_ghost(candidate.db, candidate.hash);
        let Some(slot) = table.find_hash(candidate.hash) else {
            return;
        };
        let entry = table.get(slot);
        if policy.is_volatile() && entry.expire_at_ms().is_none() {
            return;
        }
        if !policy.is_random() {
            let usage = entry.lru();
            let idleness = stamp.idleness(usage);
            if idleness < candidate.idleness {
                return sweep.pool.offer(Candidate {
                    idleness,
                    usage,
                    ..candidate
                });
            }
        }
        let (key, usage) = ((candidate.db, candidate.hash), entry.lru());
        hold.data.remember_evicted(&self.usage, stamp, key, usage);
        self.evict_slot(hold, (candidate.db, candidate.hash), slot, haul);
    }

    /// A shard, if it is free, or in any case: `None` then if someone has the keyspace for himself.
    fn hold(&self, id: ShardId, waits: bool) -> Option<Hold<'_>> {
        let data = match waits {
            true => self.claim(id)?,
            false => self.try_claim(id)?,
        };
        Some(Hold {
            id,
            data,
            effects: Effects::new(false, self.interest.load()),
        })
    }

    /// Tells what has gone of a shard, and releases it.
    fn release(&self, hold: &mut Option<Hold<'_>>) {
        if let Some(mut hold) = hold.take()
            && let Some(notices) = hold.effects.take_notices()
        {
            self.tell(notices, 0);
        }
    }

    /// Looks at some more keys, of as many shards as it takes.
    fn look_around(&self, sweep: &mut Sweep, policy: Policy, stamp: Stamp) -> Looked {
        let next_shard = &self.eviction.taking.next_shard;
        let mut looked_at = 0;
        let mut was_busy = false;
        for waits in [false, true] {
            // Others may begin where this has not been yet, but leave nothing out.
            let first = next_shard.fetch_add(1, Ordering::Relaxed);
            for step in 0..self.shards() as u32 {
                let id = ShardId(first.wrapping_add(step) & (self.shards() as u32 - 1));
                if policy.is_volatile() && !self.shard(id).may_expire() {
                    continue;
                }
                let guard = match waits {
                    true => self.claim(id),
                    false => self.try_claim(id),
                };
                let Some(mut guard) = guard else {
                    was_busy = true;
                    continue;
                };
                let budget = LOOK_KEYS - looked_at;
                looked_at += self.look_at(&mut guard, sweep, budget, (policy, stamp));
                if looked_at >= LOOK_KEYS {
                    next_shard.fetch_add(step, Ordering::Relaxed);
                    break;
                }
            }
            if looked_at > 0 || !was_busy {
                break;
            }
        }
        sweep.pool.add_looked_at(looked_at);
        match (looked_at, was_busy) {
            (0, false) => Looked::AtNone,
            (0, true) => Looked::Busy,
            _ => Looked::AtSome,
        }
    }

    /// Looks at keys of a shard from its hand on, at each once at most; at how many.
    fn look_at(
        &self,
        data: &mut ShardData,
        sweep: &mut Sweep,
        budget: usize,
        (policy, stamp): (Policy, Stamp),
    ) -> usize {
        let ShardData { tables, hand, .. } = data;
        let tables_len = tables.len() as u32;
        if hand.db >= tables_len {
            *hand = Hand::default();
        }
        // Whoever begins within a table comes to what is before the hand at last.
        let rounds = tables_len + u32::from(hand.place > 0);
        let mut looked_at = 0;
        for _ in 0..rounds {
            let Hand { db, place } = *hand;
            let left = budget.saturating_sub(looked_at);
            let mut look = |entry: EntryRef<'_>| {
                looked_at += 1;
                let usage = entry.lru();
                let idleness = match policy.is_random() {
                    true => sweep.rng.next_u64(),
                    false => stamp.idleness(usage),
                };
                if sweep.pool.admits(idleness) {
                    sweep.pool.offer(Candidate {
                        idleness,
                        hash: self.hash(entry.key()),
                        usage,
                        db: DbIndex(db),
                    });
                }
            };
            let next = tables[db as usize].sweep(place, left, policy.is_volatile(), &mut look);
            *hand = match next {
                Some(place) => Hand { db, place },
                None => Hand {
                    db: (db + 1) % tables_len,
                    place: 0,
                },
            };
            if looked_at >= budget {
                break;
            }
        }
        looked_at
    }

    /// Takes a key out.
    fn evict_slot(
        &self,
        hold: &mut Hold<'_>,
        (db, hash): (DbIndex, u64),
        slot: Slot,
        haul: &mut Haul<'_>,
    ) {
        let table = &mut hold.data.tables[db.0 as usize];
        let is_unsaved = table.is_saving() && !table.is_saved(slot);
        if is_unsaved {
            table.set_saved(slot);
        }
        let entry = table.remove(slot);
        self.evicted(hold, (db, hash), (entry, is_unsaved), haul);
    }

    /// What follows from a key's having been taken out; a snapshot may still need it.
    fn evicted(
        &self,
        hold: &mut Hold<'_>,
        (db, hash): (DbIndex, u64),
        (mut entry, is_unsaved): (Entry, bool),
        haul: &mut Haul<'_>,
    ) {
        let Hold { data, effects, .. } = hold;
        let key = (db, hash);
        self.note_gone(&mut data.side, effects, key, &mut entry, Cause::Eviction);
        let bytes = match is_large(&entry) {
            true => about_bytes(entry.view()),
            false => entry.view().alloc_bytes(0) as u64,
        };
        if haul.keys == 0 {
            // While the shard is held: whoever finds the key gone knows of this.
            self.eviction.taking.takers.fetch_add(1, Ordering::Relaxed);
        }
        haul.bytes += bytes;
        haul.keys += 1;
        if is_unsaved {
            return data.save_removed(&self.snapshot, db, entry);
        }
        self.snapshot.note_left(entry.view());
        haul.removed.push(entry);
    }
}
