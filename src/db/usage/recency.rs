//! LRU and LRM: when a key was last accessed, or written.
//!
//! Seconds are Redis's clock. A fine stamp has ticks of 8 ms, of which 125 are a second, so that the
//! whole seconds which are shown are the same either way. 8 ms are a sixteenth of the time in which a
//! cache of 100,000 keys is turned over at 3 million requests a second.
//!
//! A fine stamp that seems to be nearly a whole turn of the clock old is of the future: the wall clock
//! was set back.

use super::{FINE, Stamp, VALUE_MASK};

const MS_PER_SECOND: u64 = 1000;
const MS_PER_TICK: u64 = 8;
const TICKS_PER_SECOND: u64 = MS_PER_SECOND / MS_PER_TICK;
/// Fine stamps become coarse from this age on, ticks: 12 hours.
const FINE_AGE_MAX: u32 = 12 * 3600 * TICKS_PER_SECOND as u32;
/// By how much the clock may be set back without harm, ticks: 4 hours.
const FUTURE_MAX: u32 = 4 * 3600 * TICKS_PER_SECOND as u32;

/// How long a snapshot may take, seconds.
const SNAPSHOT_SECS_MAX: u64 = 24 * 3600;

/// Redis's LRU clock: seconds, 24 bits.
#[inline]
pub fn lru_clock(now_ms: u64) -> u32 {
    (now_ms / MS_PER_SECOND) as u32 & VALUE_MASK
}

impl Stamp {
    #[inline]
    fn tick(self) -> u64 {
        self.now_ms / MS_PER_TICK
    }

    /// The bits of this moment.
    #[inline]
    pub(super) fn clock(self) -> u32 {
        match self.is_fine() {
            true => self.tick() as u32 & VALUE_MASK | FINE,
            false => lru_clock(self.now_ms),
        }
    }

    /// Ticks since a fine stamp.
    #[inline]
    fn age(self, lru: u32) -> u32 {
        let age = (self.tick() as u32).wrapping_sub(lru) & VALUE_MASK;
        if age > VALUE_MASK - FUTURE_MAX {
            return 0;
        }
        age
    }

    /// Ticks since the last access.
    #[inline]
    pub(super) fn idle_ticks(self, lru: u32) -> u64 {
        match lru & FINE {
            0 => self.idle_secs(lru) * TICKS_PER_SECOND,
            _ => u64::from(self.age(lru)),
        }
    }

    /// Seconds since the last access (OBJECT IDLETIME).
    pub fn idle_secs(self, lru: u32) -> u64 {
        if lru & FINE == 0 {
            return u64::from(lru_clock(self.now_ms).wrapping_sub(lru) & VALUE_MASK);
        }
        // Of two moments, as Redis does, not of the time between them.
        let then = self.tick().saturating_sub(u64::from(self.age(lru)));
        (self.now_ms / MS_PER_SECOND).saturating_sub(then / TICKS_PER_SECOND)
    }

    /// As [`Stamp::idle_secs`], for a snapshot, whose moment may be past: what was accessed since is not
    /// idle.
    pub fn saved_idle_secs(self, lru: u32) -> u64 {
        let secs = self.idle_secs(lru);
        match secs > u64::from(VALUE_MASK) - SNAPSHOT_SECS_MAX {
            true => 0,
            false => secs,
        }
    }

    /// The bits of a key that was idle for so long; of times as long as the clock the rest counts, as in
    /// Redis.
    pub(super) fn after_idle(self, idle_secs: u64) -> u32 {
        lru_clock(self.now_ms).wrapping_sub(idle_secs as u32) & VALUE_MASK
    }

    /// The field as Redis has it (DEBUG OBJECT).
    pub fn shown_clock(self, lru: u32) -> u32 {
        self.after_idle(self.idle_secs(lru))
    }

    pub(super) fn renewed_clock(self, lru: u32) -> Option<u32> {
        let is_due = !self.is_fine() || self.age(lru) > FINE_AGE_MAX;
        is_due.then(|| self.shown_clock(lru))
    }
}
