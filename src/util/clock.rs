//! Wall-clock time as a parameter: the real clock, or one that a test moves by hand.
//!
//! Redis stamps everything in Unix time (`EXPIREAT`, stream IDs, TIME), so this is the wall clock.
//! For durations (slow log, latency) use `sys::tsc`, which never jumps.
//! Time is read once per batch of commands and handed down; handlers never read a clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where Unix time comes from. Cheap to clone; clones of a fake clock move together.
#[derive(Clone, Debug, Default)]
pub struct Clock(Source);

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    Real,
    /// Microseconds since the Unix epoch.
    Fake(Arc<AtomicU64>),
}

impl Clock {
    /// The system's clock; one `clock_gettime` per reading.
    pub const fn real() -> Self {
        Clock(Source::Real)
    }

    /// A clock that stands still at `start_ms` until it is moved.
    pub fn fake(start_ms: u64) -> Self {
        let start_us = start_ms.saturating_mul(1000);
        Clock(Source::Fake(Arc::new(AtomicU64::new(start_us))))
    }

    /// Moves a fake clock forward by `ms`. The real clock cannot be moved: it ignores this.
    pub fn advance(&self, ms: u64) {
        self.advance_us(ms.saturating_mul(1000));
    }

    /// Moves a fake clock forward by `us`, as [`Clock::advance`] does.
    pub fn advance_us(&self, us: u64) {
        if let Source::Fake(now_us) = &self.0 {
            now_us.fetch_add(us, Ordering::SeqCst);
        }
    }

    /// Sets a fake clock, backwards too (as an administrator may set the real one).
    pub fn set_ms(&self, unix_ms: u64) {
        if let Source::Fake(now_us) = &self.0 {
            now_us.store(unix_ms.saturating_mul(1000), Ordering::SeqCst);
        }
    }

    /// Whether this is a test's clock.
    pub fn is_fake(&self) -> bool {
        matches!(self.0, Source::Fake(_))
    }

    /// Milliseconds since the Unix epoch; 0 before it.
    pub fn unix_ms(&self) -> u64 {
        self.unix_us() / 1000
    }

    /// Microseconds since the Unix epoch; 0 before it.
    pub fn unix_us(&self) -> u64 {
        match &self.0 {
            Source::Real => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or(Duration::ZERO)
                .as_micros() as u64,
            Source::Fake(now_us) => now_us.load(Ordering::SeqCst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fake_clock_moves_only_by_hand_and_with_its_clones() {
        let clock = Clock::fake(1_000);
        let clone = clock.clone();
        assert!(clock.is_fake());
        assert_eq!((clone.unix_ms(), clone.unix_us()), (1_000, 1_000_000));
        clock.advance(500);
        clock.advance_us(7);
        assert_eq!((clone.unix_ms(), clone.unix_us()), (1_500, 1_500_007));
        clone.set_ms(3);
        assert_eq!(clock.unix_ms(), 3);
    }

    #[test]
    #[cfg_attr(miri, ignore = "miri has no real clock")]
    fn the_real_clock_tells_unix_time() {
        let clock = Clock::real();
        let before = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_micros() as u64;
        let now = clock.unix_us();
        assert!(now >= before && now - before < 60_000_000);
        clock.advance(1_000_000_000);
        assert!(
            clock.unix_us() - now < 60_000_000,
            "the real clock cannot be moved"
        );
        assert!(!clock.is_fake());
    }
}
