//! What is said at most once in a while, however often there is reason to: strangers must not fill a log.

use std::sync::atomic::{AtomicU64, Ordering};

/// Lets one through in so many milliseconds.
#[derive(Debug)]
pub struct Seldom {
    every_ms: u64,
    /// When the next one may pass.
    next_ms: AtomicU64,
}

impl Seldom {
    /// The first one passes.
    pub const fn new(every_ms: u64) -> Seldom {
        Seldom {
            every_ms,
            next_ms: AtomicU64::new(0),
        }
    }

    /// Whether one may pass now; of several at the same moment one may.
    pub fn passes(&self, now_ms: u64) -> bool {
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        // A clock that was set back must not silence it for as long.
        let is_due = now_ms >= next_ms || next_ms - now_ms > self.every_ms;
        let after_ms = now_ms.saturating_add(self.every_ms);
        let ordering = Ordering::Relaxed;
        is_due
            && self
                .next_ms
                .compare_exchange(next_ms, after_ms, ordering, ordering)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_in_a_while() {
        let seldom = Seldom::new(1000);
        let passed = |times: &[u64]| times.iter().filter(|at| seldom.passes(**at)).count();
        assert_eq!(passed(&[5000, 5000, 5001, 5999]), 1);
        assert_eq!(passed(&[6000, 6000, 6999]), 1);
        assert_eq!(passed(&[90_000]), 1);
        assert_eq!(passed(&[100, 200]), 1, "the clock was set back");
    }
}
