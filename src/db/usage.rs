//! What an entry's 25 bits (`lru`) say about how much its key is used, and how they change.
//!
//! Which measure counts follows from `maxmemory-policy`: the time of the last access (LRU), of the last
//! write (LRM), or how often the key is accessed (LFU). A change of the policy leaves the bits of all
//! entries as they are, as in Redis: until a key is accessed again they are read in the new sense.
//!
//! Redis's own 24 bits are too coarse to choose well: its LRU clock ticks once a second, in which a busy
//! cache may be turned over as a whole, and its LFU counter hardly tells keys with two accesses from
//! those with ten. So while keys may have to go by their use, entries are stamped *finely*, which the
//! 25th bit says:
//!
//! | bits | coarse | fine |
//! |---|---|---|
//! | LRU, LRM | 24 bits of seconds: 194 days | 24 bits of 8 ms: 37 hours (`recency`) |
//! | LFU | 16 bits of minutes, 8 of counter | 8 bits of counter, 6 of its fraction, 10 of minutes: 17 hours (`frequency`) |
//!
//! Fine stamps are made coarse long before their clock starts anew (`renewal`); whatever is shown,
//! saved and restored is what Redis would have kept. Keys that were evicted under LFU leave their
//! frequency behind for a while (`ghosts`).
//!
//! [`Usage`] is the keyspace's setting, [`Stamp`] what a command works with: taken once, a copy.
//!
//! To add a measure: a variant of [`Measure`], and what its bits mean in a file of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::ds::entry::EntryMut;

use super::keyspace::{DbIndex, ShardData};

mod frequency;
mod ghosts;
mod recency;
mod renewal;

#[cfg(test)]
mod tests;

pub use frequency::LFU_INIT;
pub(super) use ghosts::Ghosts;
pub use recency::lru_clock;
pub(super) use renewal::Renewal;

use frequency::Frequency;

/// Says that an entry's other 24 bits are fine.
const FINE: u32 = 1 << 24;
/// The bits that say when, or how often.
const VALUE_MASK: u32 = FINE - 1;

const FINE_BIT: u64 = 1 << 63;
const MEASURE_SHIFT: u32 = 61;
const FACTOR_SHIFT: u32 = 30;
const FACTOR_MAX: u32 = 0x7fff_ffff;
/// Longer times of decay than a counter can tell are never over.
const DECAY_MINUTES_MAX: u32 = 0x1_0000;
const DECAY_MASK: u64 = 0x1_ffff;

/// What is kept of a key's use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Measure {
    /// When it was last accessed.
    #[default]
    Lru,
    /// When it was last written.
    Lrm,
    /// How often it is accessed.
    Lfu,
}

/// The setting, shared by all threads: words that are hardly ever written.
#[derive(Default)]
pub struct Usage {
    /// is fine:1 | measure:2 | log factor:31 | 13 unused | decay minutes:17
    packed: AtomicU64,
    /// Entries may have been stamped finely.
    was_fine: AtomicBool,
    /// What is kept of keys that were evicted, in all shards.
    ghost_bytes: AtomicUsize,
}

/// See the module's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// As [`Usage`] has it.
    packed: u64,
    now_ms: u64,
}

impl Usage {
    /// Sets what is measured, whether finely, `lfu-log-factor` and `lfu-decay-time`.
    pub fn set(&self, measure: Measure, is_fine: bool, log_factor: u32, decay_minutes: u32) {
        let measure = match measure {
            Measure::Lru => 0u64,
            Measure::Lrm => 1,
            Measure::Lfu => 2,
        };
        let factor = u64::from(log_factor.min(FACTOR_MAX));
        let decay = u64::from(decay_minutes.min(DECAY_MINUTES_MAX));
        let fine = if is_fine { FINE_BIT } else { 0 };
        let packed = fine | measure << MEASURE_SHIFT | factor << FACTOR_SHIFT | decay;
        // In this order: see `note_all_coarse`.
        self.packed.store(packed, Ordering::SeqCst);
        if is_fine {
            self.was_fine.store(true, Ordering::SeqCst);
        }
    }

    /// No entry is stamped finely, unless it has just been switched on.
    fn note_all_coarse(&self) {
        self.was_fine.store(false, Ordering::SeqCst);
        if self.packed.load(Ordering::SeqCst) & FINE_BIT != 0 {
            self.was_fine.store(true, Ordering::SeqCst);
        }
    }

    /// What counts for whatever happens at this moment (Unix ms).
    #[inline]
    pub fn stamp(&self, now_ms: u64) -> Stamp {
        let packed = self.packed.load(Ordering::Relaxed);
        Stamp { packed, now_ms }
    }

    /// Bytes that are kept for keys which were evicted.
    pub fn ghost_bytes(&self) -> usize {
        self.ghost_bytes.load(Ordering::Relaxed)
    }
}

impl Stamp {
    /// What is measured.
    #[inline]
    pub fn measure(self) -> Measure {
        match self.packed >> MEASURE_SHIFT & 0b11 {
            0 => Measure::Lru,
            1 => Measure::Lrm,
            _ => Measure::Lfu,
        }
    }

    /// Whether entries are stamped finely.
    #[inline]
    fn is_fine(self) -> bool {
        self.packed & FINE_BIT != 0
    }

    #[inline]
    fn log_factor(self) -> u32 {
        (self.packed >> FACTOR_SHIFT) as u32 & FACTOR_MAX
    }

    #[inline]
    fn decay_minutes(self) -> u32 {
        (self.packed & DECAY_MASK) as u32
    }

    /// The bits of a key that is created now.
    #[inline]
    pub fn fresh(self) -> u32 {
        match self.measure() {
            Measure::Lru | Measure::Lrm => self.clock(),
            Measure::Lfu => self.frequency_bits(Frequency::of(LFU_INIT)),
        }
    }

    /// The bits of a key with this hash that is created now, of which something may be known from
    /// before it was evicted.
    #[inline]
    pub(super) fn fresh_or_known(self, ghosts: &mut Ghosts, db: DbIndex, hash: u64) -> u32 {
        if ghosts.is_empty() || self.measure() != Measure::Lfu {
            return self.fresh();
        }
        match ghosts.recall(hash_in(db, hash), self) {
            Some(known) => self.frequency_bits(self.incremented(known)),
            None => self.fresh(),
        }
    }

    /// A key is read, or looked up to be written.
    #[inline]
    pub fn accessed(self, entry: &mut EntryMut<'_>) {
        match self.measure() {
            Measure::Lru => entry.set_lru(self.clock()),
            Measure::Lrm => {}
            Measure::Lfu => self.count(entry),
        }
    }

    /// A key has been changed.
    #[inline]
    pub fn modified(self, entry: &mut EntryMut<'_>) {
        if self.measure() == Measure::Lrm {
            entry.set_lru(self.clock());
        }
    }

    #[inline(never)]
    fn count(self, entry: &mut EntryMut<'_>) {
        let before = self.frequency_of(entry.view().lru());
        entry.set_lru(self.frequency_bits(self.incremented(before)));
    }

    /// The bits of a key of which a file, or a client, says for how many seconds it was not used, or how
    /// often it is; what is not measured now is of no account.
    pub fn restored(self, idle_secs: Option<u64>, frequency: Option<u8>) -> u32 {
        match (self.measure(), idle_secs, frequency) {
            (Measure::Lfu, _, Some(counter)) => self.frequency_bits(Frequency::of(counter)),
            (Measure::Lru | Measure::Lrm, Some(secs), _) => self.after_idle(secs),
            _ => self.fresh(),
        }
    }

    /// How little a key is used: of two keys the one with more is to go first.
    #[inline]
    pub fn idleness(self, lru: u32) -> u64 {
        match self.measure() {
            Measure::Lru | Measure::Lrm => self.idle_ticks(lru),
            Measure::Lfu => self.rareness(lru),
        }
    }

    /// The same bits, coarse, if they are fine and so old that they have to be.
    fn renewed(self, lru: u32) -> Option<u32> {
        if lru & FINE == 0 {
            return None;
        }
        match self.measure() {
            Measure::Lru | Measure::Lrm => self.renewed_clock(lru),
            Measure::Lfu => self.renewed_frequency(lru),
        }
    }
}

impl ShardData {
    /// Asks for what may be known of a key from before it was evicted, under whichever policy; for one
    /// that is evicted, too.
    #[inline]
    pub(super) fn prefetch_ghost(&self, db: DbIndex, hash: u64) {
        if !self.side.ghosts.is_empty() {
            self.side.ghosts.prefetch(hash_in(db, hash));
        }
    }

    /// Remembers what is known of a key that has just been evicted.
    pub(super) fn remember_evicted(
        &mut self,
        usage: &Usage,
        stamp: Stamp,
        (db, hash): (DbIndex, u64),
        lru: u32,
    ) {
        if stamp.measure() == Measure::Lfu {
            let keys = self.tables.iter().map(|table| table.len()).sum();
            let key = (hash_in(db, hash), lru);
            self.side.ghosts.remember(usage, stamp, key, keys);
        }
    }
}

/// Keys of the same name in two databases have different ghosts.
fn hash_in(db: DbIndex, hash: u64) -> u64 {
    hash ^ u64::from(db.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
