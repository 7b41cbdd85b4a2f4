//! The exclusive gate: how one command gets the whole keyspace for itself.
//!
//! Whoever needs everything (FLUSHALL, SWAPDB, DEBUG SLEEP) closes the gate, locks all shards in ascending order, which
//! waits for running commands to drain, works, and opens it again. Connections look at the gate before a command; one
//! that finds it closed waits asynchronously, so its thread stays free. Only one can hold the gate.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// See the module's text.
#[derive(Default)]
pub struct Gate {
    closed: AtomicBool,
    opened: Notify,
}

/// Keeps the gate closed while it lives.
pub struct GateGuard<'a>(&'a Gate);

impl Gate {
    /// True while someone works exclusively. Meant to be read before every command: one shared, rarely written line.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Closes the gate; `None` when somebody else holds it: wait, then try again.
    pub fn try_close(&self) -> Option<GateGuard<'_>> {
        self.closed
            .compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
            .then_some(GateGuard(self))
    }

    /// Returns once the gate is, or was meanwhile, open.
    pub async fn opened(&self) {
        let notified = self.opened.notified();
        tokio::pin!(notified);
        // Enrolled before the check: an opening in between is not missed.
        notified.as_mut().enable();
        if self.is_closed() {
            notified.await;
        }
    }
}

impl Drop for GateGuard<'_> {
    fn drop(&mut self) {
        self.0.closed.store(false, Ordering::Release);
        self.0.opened.notify_waiters();
    }
}
