//! What an entry's 24 bits (`lru`) say about how much its key is used, and how they change.
//!
//! Which measure counts follows from `maxmemory-policy`: the time of the last access (LRU), of the last
//! write (LRM), or how often the key is accessed (LFU). A change of the policy leaves the bits of all
//! entries as they are, as in Redis: until a key is accessed again they are read in the new sense.
//!
//! - LRU and LRM: seconds of the wall clock, which start anew every 194 days.
//! - LFU: 16 bits of minutes, when the counter was last brought up to date, and a counter of 8 bits
//!   that grows with the logarithm of the number of accesses and loses one in `lfu-decay-time` minutes.
//!   See <https://valkey.io/topics/lru-cache/>.
//!
//! [`Usage`] is the keyspace's setting, [`Stamp`] what a command works with: taken once, a copy.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::ds::entry::{EntryMut, LRU_MAX};
use crate::util::rng;

/// The counter of a key that was just created.
pub const LFU_INIT: u8 = 5;
/// Bits of the counter.
const COUNTER_BITS: u32 = 8;
const MS_PER_MINUTE: u64 = 60_000;
const MINUTES_MASK: u32 = 0xffff;

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

/// The setting, shared by all threads: one word that is hardly ever written.
#[derive(Default)]
pub struct Usage {
    /// measure:2 | log factor:31 | decay minutes:31
    packed: AtomicU64,
}

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    measure: Measure,
    log_factor: u32,
    decay_minutes: u32,
    now_ms: u64,
}

impl Usage {
    /// Sets what is measured, `lfu-log-factor` and `lfu-decay-time`.
    pub fn set(&self, measure: Measure, log_factor: u32, decay_minutes: u32) {
        let measure = match measure {
            Measure::Lru => 0,
            Measure::Lrm => 1,
            Measure::Lfu => 2,
        };
        let (log_factor, decay) = (u64::from(log_factor), u64::from(decay_minutes));
        let packed = measure << 62 | (log_factor & 0x7fff_ffff) << 31 | decay & 0x7fff_ffff;
        self.packed.store(packed, Ordering::Relaxed);
    }

    /// What counts for whatever happens at this moment (Unix ms).
    #[inline]
    pub fn stamp(&self, now_ms: u64) -> Stamp {
        let packed = self.packed.load(Ordering::Relaxed);
        Stamp {
            measure: match packed >> 62 {
                0 => Measure::Lru,
                1 => Measure::Lrm,
                _ => Measure::Lfu,
            },
            log_factor: (packed >> 31) as u32 & 0x7fff_ffff,
            decay_minutes: packed as u32 & 0x7fff_ffff,
            now_ms,
        }
    }
}

impl Stamp {
    /// What is measured.
    #[inline]
    pub fn measure(self) -> Measure {
        self.measure
    }

    /// The bits of a key that is created now.
    #[inline]
    pub fn fresh(self) -> u32 {
        match self.measure {
            Measure::Lru | Measure::Lrm => lru_clock(self.now_ms),
            Measure::Lfu => self.lfu(LFU_INIT),
        }
    }

    /// A key is read, or looked up to be written.
    #[inline]
    pub fn accessed(self, entry: &mut EntryMut<'_>) {
        match self.measure {
            Measure::Lru => entry.set_lru(lru_clock(self.now_ms)),
            Measure::Lrm => {}
            Measure::Lfu => self.count(entry),
        }
    }

    /// A key is written.
    #[inline]
    pub fn written(self, entry: &mut EntryMut<'_>) {
        match self.measure {
            Measure::Lru | Measure::Lrm => entry.set_lru(lru_clock(self.now_ms)),
            Measure::Lfu => self.count(entry),
        }
    }

    #[inline(never)]
    fn count(self, entry: &mut EntryMut<'_>) {
        let counter = self.frequency(entry.view().lru());
        entry.set_lru(self.lfu(self.incremented(counter)));
    }

    /// One more access, with the probability that its height leaves.
    fn incremented(self, counter: u8) -> u8 {
        if counter == u8::MAX {
            return counter;
        }
        let above = f64::from(counter.saturating_sub(LFU_INIT));
        let chance = 1.0 / (above * f64::from(self.log_factor) + 1.0);
        counter + u8::from(rng::thread_unit_f64() < chance)
    }

    /// The bits of a counter that is up to date.
    pub fn lfu(self, counter: u8) -> u32 {
        minutes(self.now_ms) << COUNTER_BITS | u32::from(counter)
    }

    /// How often a key is accessed: its counter as of now (OBJECT FREQ).
    pub fn frequency(self, lru: u32) -> u8 {
        let since = lru >> COUNTER_BITS;
        let elapsed = minutes(self.now_ms).wrapping_sub(since) & MINUTES_MASK;
        let lost = elapsed.checked_div(self.decay_minutes).unwrap_or(0);
        (lru as u8).saturating_sub(u8::try_from(lost).unwrap_or(u8::MAX))
    }

    /// Seconds since the last access (OBJECT IDLETIME).
    pub fn idle_secs(self, lru: u32) -> u64 {
        u64::from(lru_clock(self.now_ms).wrapping_sub(lru) & LRU_MAX)
    }

    /// The bits of a key that was idle for so long.
    pub fn after_idle(self, idle_secs: u64) -> u32 {
        lru_clock(self.now_ms).wrapping_sub(idle_secs as u32) & LRU_MAX
    }

    /// How little a key is used: of two keys the one with more is to go first.
    #[inline]
    pub fn idleness(self, lru: u32) -> u64 {
        match self.measure {
            Measure::Lru | Measure::Lrm => self.idle_secs(lru),
            Measure::Lfu => u64::from(u8::MAX - self.frequency(lru)),
        }
    }
}

/// Redis's LRU clock: seconds, 24 bits.
#[inline]
pub fn lru_clock(now_ms: u64) -> u32 {
    (now_ms / 1000) as u32 & LRU_MAX
}

/// The clock of LFU: minutes, 16 bits.
fn minutes(now_ms: u64) -> u32 {
    (now_ms / MS_PER_MINUTE) as u32 & MINUTES_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(measure: Measure, now_ms: u64) -> Stamp {
        let usage = Usage::default();
        usage.set(measure, 10, 1);
        usage.stamp(now_ms)
    }

    #[test]
    fn idle_time_survives_the_clocks_end() {
        let before = stamp(Measure::Lru, 0xff_fffe * 1000).fresh();
        let now = stamp(Measure::Lru, (0xff_ffff + 3) * 1000);
        assert_eq!(now.idle_secs(before), 4);
        assert_eq!(now.idle_secs(now.after_idle(77)), 77);
    }

    #[test]
    fn counters_decay() {
        let bits = stamp(Measure::Lfu, 0).lfu(10);
        let after = |minutes| stamp(Measure::Lfu, minutes * MS_PER_MINUTE).frequency(bits);
        assert_eq!([after(0), after(3), after(10), after(5000)], [10, 7, 0, 0]);
    }
}
