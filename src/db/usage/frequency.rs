//! LFU: how often a key is accessed.
//!
//! A counter of 8 bits grows with the logarithm of the number of accesses and loses one in
//! `lfu-decay-time` minutes: <https://valkey.io/topics/lru-cache/>. From `c` to `c + 1` an access leads
//! with the chance `1 / ((c - 5) * lfu-log-factor + 1)`.
//!
//! A fine counter adds that chance as a fraction instead of throwing dice, so it grows as Redis's does on
//! average, and tells keys apart that have the same whole number. Dice decide only on what is less than
//! a 64th. Of equals those go first that were not accessed for more minutes.

use crate::util::rng;

use super::{FINE, Stamp, VALUE_MASK};

/// The counter of a key that was just created.
pub const LFU_INIT: u8 = 5;

const MS_PER_MINUTE: u64 = 60_000;
const COUNTER_BITS: u32 = 8;
const COARSE_MINUTES_MASK: u32 = 0xffff;

const FRACTION_BITS: u32 = 6;
const ONE: u32 = 1 << FRACTION_BITS;
const FINE_MINUTES_BITS: u32 = 10;
const FINE_MINUTES_MASK: u32 = (1 << FINE_MINUTES_BITS) - 1;
/// Fine stamps become coarse from this age on, minutes.
const FINE_AGE_MAX: u32 = 4 * 60;
/// By how much the clock may be set back without harm, minutes.
const FUTURE_MAX: u32 = 2 * 60;

/// How long a snapshot may take, minutes.
const SNAPSHOT_MINUTES_MAX: u32 = 24 * 60;

/// A counter in 64ths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Frequency(pub(super) u32);

impl Frequency {
    pub(super) const MAX: Frequency = Frequency((1 << (COUNTER_BITS + FRACTION_BITS)) - 1);

    pub(super) fn of(counter: u8) -> Frequency {
        Frequency(u32::from(counter) << FRACTION_BITS)
    }

    /// The counter.
    pub(super) fn counter(self) -> u8 {
        (self.0 >> FRACTION_BITS) as u8
    }

    /// After so many times of decay.
    pub(super) fn decayed(self, times: u32) -> Frequency {
        Frequency(self.0.saturating_sub(times.saturating_mul(ONE)))
    }
}

impl Stamp {
    /// The clock of LFU.
    pub(super) fn minutes(self) -> u32 {
        (self.now_ms / MS_PER_MINUTE) as u32
    }

    /// How often a counter has lost one after so many minutes.
    pub(super) fn decays(self, minutes: u32) -> u32 {
        minutes.checked_div(self.decay_minutes()).unwrap_or(0)
    }

    /// Minutes since the counter was last brought up to date.
    fn minutes_since(self, lru: u32) -> u32 {
        if lru & FINE == 0 {
            return self.minutes().wrapping_sub(lru >> COUNTER_BITS) & COARSE_MINUTES_MASK;
        }
        let since = self.minutes().wrapping_sub(lru) & FINE_MINUTES_MASK;
        if since > FINE_MINUTES_MASK - FUTURE_MAX {
            return 0;
        }
        since
    }

    /// The counter of a key as it was when it was last brought up to date.
    fn kept(self, lru: u32) -> Frequency {
        match lru & FINE {
            0 => Frequency::of(lru as u8),
            _ => Frequency((lru & VALUE_MASK) >> FINE_MINUTES_BITS),
        }
    }

    /// The counter of a key as of now.
    pub(super) fn frequency_of(self, lru: u32) -> Frequency {
        let times = self.decays(self.minutes_since(lru));
        self.kept(lru).decayed(times)
    }

    /// How often a key is accessed: its counter as of now (OBJECT FREQ).
    pub fn frequency(self, lru: u32) -> u8 {
        self.frequency_of(lru).counter()
    }

    /// As [`Stamp::frequency`], for a snapshot, whose moment may be past: what was accessed since has not
    /// decayed.
    pub fn saved_frequency(self, lru: u32) -> u8 {
        match self.minutes_since(lru) > COARSE_MINUTES_MASK - SNAPSHOT_MINUTES_MAX {
            true => self.kept(lru).counter(),
            false => self.frequency(lru),
        }
    }

    /// When the counter was last brought up to date, as Redis has it (DEBUG OBJECT).
    pub fn counted_at_minutes(self, lru: u32) -> u32 {
        let minutes = self.minutes().wrapping_sub(self.minutes_since(lru));
        minutes & COARSE_MINUTES_MASK
    }

    /// The bits of a counter that is up to date.
    pub(super) fn frequency_bits(self, frequency: Frequency) -> u32 {
        match self.is_fine() {
            true => {
                let minutes = self.minutes() & FINE_MINUTES_MASK;
                frequency.0 << FINE_MINUTES_BITS | minutes | FINE
            }
            false => coarse(self.minutes(), frequency),
        }
    }

    /// After one more access.
    pub(super) fn incremented(self, frequency: Frequency) -> Frequency {
        let above = u64::from(frequency.counter().saturating_sub(LFU_INIT));
        // At most 250 times a number of 31 bits.
        let one_in = above * u64::from(self.log_factor()) + 1;
        let part = if self.is_fine() { u64::from(ONE) } else { 1 };
        let (sure, rest) = (part / one_in, part % one_in);
        let is_lucky = rest > 0 && rng::thread_below(one_in) < rest;
        let added = (sure + u64::from(is_lucky)) * u64::from(ONE) / part;
        Frequency(frequency.0.saturating_add(added as u32)).min(Frequency::MAX)
    }

    /// How rarely a key is accessed.
    #[inline]
    pub(super) fn rareness(self, lru: u32) -> u64 {
        let since = self.minutes_since(lru);
        let frequency = self.kept(lru).decayed(self.decays(since));
        u64::from(Frequency::MAX.0 - frequency.0) << 16 | u64::from(since)
    }

    pub(super) fn renewed_frequency(self, lru: u32) -> Option<u32> {
        let since = self.minutes_since(lru);
        let is_due = !self.is_fine() || since > FINE_AGE_MAX;
        is_due.then(|| coarse(self.minutes().wrapping_sub(since), self.kept(lru)))
    }
}

fn coarse(minutes: u32, frequency: Frequency) -> u32 {
    (minutes & COARSE_MINUTES_MASK) << COUNTER_BITS | u32::from(frequency.counter())
}
