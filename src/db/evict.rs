//! Eviction: which keys go when memory is full, and what follows from their going.
//!
//! Whoever needs room calls [`Keyspace::evict_some`] while he holds no shard. Candidates are taken from
//! whole lines of one shard's table, which cost one miss of the cache for up to eight of them, and the
//! one that is used least goes (see [`super::usage`]; for `volatile-ttl` the one that expires first).
//! Whether there is room at all is asked elsewhere: here nothing is measured.
//!
//! Invariant: what holds for a key that a command deletes holds for one that is evicted: the log repeats
//! it, whoever watches, tracks or waits for it is told, a snapshot that is going on has it.
//!
//! To add a policy: a variant of [`Policy`], its word in `config`, what it measures.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::ds::entry::{Entry, EntryRef};
use crate::ds::table::Slot;
use crate::util::rng::Rng;

use super::effects::Effects;
use super::keyspace::{DbIndex, Keyspace, ShardData, ShardId};
use super::lazyfree::is_large;
use super::notice::EventClass;
use super::pressure::Pressure;
use super::usage::{Measure, Stamp};

/// Lines of tables that are looked at in vain before nothing is taken to be evictable.
const FRUITLESS_LINES_MAX: usize = 4096;

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
    /// Keys that were evicted.
    pub evicted_keys: AtomicU64,
    /// How long memory has been above the limit, and who does something about it.
    pub pressure: Pressure,
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

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        self.evicted_keys.store(0, Ordering::Relaxed);
        self.pressure.reset_stats();
    }
}

/// Where one thread looks for keys to evict.
pub struct Sweep {
    rng: Rng,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep {
            rng: Rng::from_os(),
        }
    }
}

/// A key that may go.
#[derive(Clone, Copy)]
struct Candidate {
    db: DbIndex,
    slot: Slot,
    idleness: u64,
}

impl Keyspace {
    /// Evicts a key; false when the policy leaves none that could go, or all shards are in use. No shard
    /// may be held.
    pub fn evict_some(&self, sweep: &mut Sweep, now_ms: u64) -> bool {
        let policy = self.eviction.policy();
        if policy == Policy::NoEviction {
            return false;
        }
        let samples = self.eviction.samples.load(Ordering::Relaxed) as usize;
        let stamp = self.usage.stamp(now_ms);
        for _ in 0..FRUITLESS_LINES_MAX {
            let id = ShardId(sweep.rng.index(self.shards()) as u32);
            if self.gate.is_closed() {
                return false;
            }
            let Some(mut guard) = self.claim(id) else {
                return false;
            };
            let data = &mut *guard;
            let Some(candidate) = choose(data, sweep, policy, stamp, samples) else {
                continue;
            };
            let entry = self.evict(data, candidate);
            drop(guard);
            match is_large(&entry) {
                true => self.lazyfree.free_values(vec![entry]),
                false => drop(entry),
            }
            return true;
        }
        false
    }

    /// Takes a key out. Under its shard's lock.
    fn evict(&self, data: &mut ShardData, candidate: Candidate) -> Entry {
        let Candidate { db, slot, .. } = candidate;
        data.before_change(&self.snapshot, db, slot);
        let mut entry = data.tables[db.0 as usize].remove(slot);
        let side = &mut data.side;
        side.forget_fields(db, &mut entry);
        let key = entry.view().key();
        if self.oplog.is_on() {
            self.oplog.append(db, [&b"UNLINK"[..], key].into_iter());
        }
        let mut effects = Effects::new(false, self.interest.load());
        effects.touched(side, &self.tracked, self.hash(key), db, key);
        effects.notify(EventClass::EVICTED, "evicted", db, key);
        side.waiters.end_with_key(db, key);
        if let Some(notices) = effects.take_notices() {
            self.tell(notices, 0);
        }
        self.eviction.evicted_keys.fetch_add(1, Ordering::Relaxed);
        entry
    }
}

/// The best of some keys of a shard, of all its databases.
fn choose(
    data: &mut ShardData,
    sweep: &mut Sweep,
    policy: Policy,
    stamp: Stamp,
    samples: usize,
) -> Option<Candidate> {
    let mut best: Option<Candidate> = None;
    for (db, table) in (0..).map(DbIndex).zip(&data.tables) {
        let mut seen = 0;
        // A table may be sparse, or have few keys with a TTL.
        for _ in 0..samples {
            if seen >= samples || table.is_empty() {
                break;
            }
            table.sample_line(sweep.rng.next_u64(), |slot, entry| {
                if policy.is_volatile() && entry.expire_at_ms().is_none() {
                    return;
                }
                seen += 1;
                let idleness = idleness(policy, stamp, entry, &mut sweep.rng);
                if best.is_none_or(|best| best.idleness < idleness) {
                    best = Some(Candidate { db, slot, idleness });
                }
            });
        }
    }
    best
}

/// Of two keys the one with more goes first.
fn idleness(policy: Policy, stamp: Stamp, entry: EntryRef<'_>, rng: &mut Rng) -> u64 {
    match policy {
        Policy::VolatileTtl => u64::MAX - entry.expire_at_ms().unwrap_or(u64::MAX),
        Policy::AllKeysRandom | Policy::VolatileRandom => rng.next_u64(),
        _ => stamp.idleness(entry.lru()),
    }
}
