//! Workers that come to rest empty their caches of free blocks.
//!
//! Each thread keeps some free blocks of every size for itself. As long as it works they change all the time; when it
//! comes to rest they stay, and each keeps a run of pages from going back to the system: tens of megabytes after
//! FLUSHALL. A worker cannot tell that nothing more will come, and is not to be woken to find out; so the balancer, which
//! looks at the workers' processor clocks anyway, tells those that have been busy and are idle now.

/// Ticks (of the balancer) without work after which a worker is at rest.
const IDLE_TICKS: u32 = 10;
/// Up to so much of a tick (per mille) is no work: PINGs, and the emptying of the cache itself.
const IDLE_PER_MILLE: u64 = 5;
/// Processor time since the last rest from which on there is something in the cache, nanoseconds.
const WORKED_NS_MIN: u64 = 5_000_000;

/// What is known of a worker.
#[derive(Clone, Copy, Default)]
pub(super) struct Rest {
    worked_ns: u64,
    idle_ticks: u32,
}

impl Rest {
    /// The worker has used so much processor time in a tick, and so many per mille of it; true if it is to empty its
    /// cache now.
    pub(super) fn note(&mut self, used_ns: u64, used_per_mille: u64) -> bool {
        self.worked_ns = self.worked_ns.saturating_add(used_ns);
        if used_per_mille > IDLE_PER_MILLE {
            self.idle_ticks = 0;
            return false;
        }
        self.idle_ticks = self.idle_ticks.saturating_add(1);
        if self.idle_ticks < IDLE_TICKS || self.worked_ns < WORKED_NS_MIN {
            return false;
        }
        *self = Rest::default();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_rests_once_after_its_work() {
        let mut rest = Rest::default();
        let mut idle = |ticks: u32| (0..ticks).filter(|_| rest.note(1000, 0)).count();
        assert_eq!(idle(100), 0, "it has not worked");
        assert!(!rest.note(50_000_000, 500));
        let mut idle = |ticks: u32| (0..ticks).filter(|_| rest.note(1000, 0)).count();
        assert_eq!(idle(IDLE_TICKS - 1), 0);
        assert_eq!(idle(1), 1);
        assert_eq!(idle(1000), 0);
        // Work in between begins the wait anew.
        rest.note(50_000_000, 500);
        (1..IDLE_TICKS).for_each(|_| assert!(!rest.note(0, 0)));
        rest.note(50_000_000, 500);
        (1..IDLE_TICKS).for_each(|_| assert!(!rest.note(0, 0)));
        assert!(rest.note(0, 0));
    }
}
