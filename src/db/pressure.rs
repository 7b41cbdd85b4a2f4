//! What is done about memory that is above its limit, by whom, and since when it is.
//!
//! A command that finds memory full makes room itself, for as long as `maxmemory-eviction-tenacity` allows. If that was
//! not enough it goes on all the same, and someone in the background is woken ([`Pressure::wake`]), who frees the rest.
//! So a lowered limit is reached although nobody writes.
//!
//! Invariant: while memory is within its limit nothing here is written; commands only read one word.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Up to here tenacity is a number of steps, from here on the time grows by 15 % with each.
const LINEAR_MAX: u32 = 10;
/// A step of tenacity.
const STEP_US: u64 = 50;
/// With this tenacity eviction ends when there is room.
const ENDLESS: u32 = 100;

/// See the module's text.
#[derive(Default)]
pub struct Pressure {
    tenacity: AtomicU32,
    /// Since when memory is above the limit and eviction has not helped, Unix us; 0: it is not.
    exceeded_since_us: AtomicU64,
    /// For how long it has been before that.
    exceeded_us: AtomicU64,
    work: Notify,
}

impl Pressure {
    /// `maxmemory-eviction-tenacity`.
    pub fn set_tenacity(&self, tenacity: u32) {
        self.tenacity.store(tenacity, Ordering::Relaxed);
    }

    /// How long a command may evict; `None`: until there is room.
    pub fn patience(&self) -> Option<Duration> {
        patience_of(self.tenacity.load(Ordering::Relaxed))
    }

    /// Notes whether eviction was of no avail, or is not done yet.
    #[inline]
    pub fn note(&self, is_exceeded: bool, now_us: impl FnOnce() -> u64) {
        if is_exceeded != (self.exceeded_since_us.load(Ordering::Relaxed) != 0) {
            self.turn(is_exceeded, now_us());
        }
    }

    #[cold]
    fn turn(&self, is_exceeded: bool, now_us: u64) {
        let since_us = &self.exceeded_since_us;
        if is_exceeded {
            let _ = since_us.compare_exchange(0, now_us, Ordering::Relaxed, Ordering::Relaxed);
            return;
        }
        match since_us.swap(0, Ordering::Relaxed) {
            0 => {}
            since_us => {
                let us = now_us.saturating_sub(since_us);
                self.exceeded_us.fetch_add(us, Ordering::Relaxed);
            }
        }
    }

    /// For how long memory has been above the limit in all, and since when it is now, in microseconds
    /// (`total_eviction_exceeded_time`, `current_eviction_exceeded_time`).
    pub fn exceeded_us(&self, now_us: u64) -> (u64, u64) {
        let current_us = match self.exceeded_since_us.load(Ordering::Relaxed) {
            0 => 0,
            since_us => now_us.saturating_sub(since_us),
        };
        let before_us = self.exceeded_us.load(Ordering::Relaxed);
        (before_us + current_us, current_us)
    }

    /// Has memory above the limit looked after in the background.
    pub fn wake(&self) {
        self.work.notify_one();
    }

    /// Returns when there is something to do in the background.
    pub async fn woken(&self) {
        self.work.notified().await;
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        self.exceeded_us.store(0, Ordering::Relaxed);
        self.exceeded_since_us.store(0, Ordering::Relaxed);
    }
}

/// Up to 10: 50 microseconds for each; then 15 % more for each, up to some minutes.
fn patience_of(tenacity: u32) -> Option<Duration> {
    match tenacity {
        0..=LINEAR_MAX => Some(Duration::from_micros(STEP_US * u64::from(tenacity))),
        ENDLESS.. => None,
        _ => {
            let linear_us = (STEP_US * u64::from(LINEAR_MAX)) as f64;
            let us = linear_us * 1.15_f64.powi((tenacity - LINEAR_MAX) as i32);
            Some(Duration::from_micros(us as u64))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_tenacity() {
        let us = |tenacity| patience_of(tenacity).map(|patience| patience.as_micros());
        assert_eq!([0, 1, 9, 10].map(us), [0, 50, 450, 500].map(Some));
        assert_eq!([11, 12, 50].map(us), [575, 661, 133_931].map(Some));
        assert_eq!(us(99), Some(126_205_358));
        assert_eq!(us(100), None);
        for tenacity in 0..99 {
            assert!(us(tenacity) < us(tenacity + 1), "{tenacity}");
        }
    }

    #[test]
    fn the_time_above_the_limit_adds_up() {
        let pressure = Pressure::default();
        pressure.note(false, || panic!("nothing has changed"));
        assert_eq!(pressure.exceeded_us(50), (0, 0));
        pressure.note(true, || 100);
        pressure.note(true, || panic!("nothing has changed"));
        assert_eq!(pressure.exceeded_us(150), (50, 50));
        pressure.note(false, || 200);
        assert_eq!(pressure.exceeded_us(300), (100, 0));
        pressure.note(true, || 1000);
        assert_eq!(pressure.exceeded_us(1010), (110, 10));
        // The clock was set back.
        assert_eq!(pressure.exceeded_us(900), (100, 0));
        pressure.reset_stats();
        assert_eq!(pressure.exceeded_us(2000), (0, 0));
    }
}
