//! The exclusive gate: how one command gets the whole keyspace for itself.
//!
//! Whoever needs everything (FLUSHALL, SWAPDB, DEBUG SLEEP, scripts) closes the gate, locks all shards in ascending order,
//! which waits for running commands to drain, works, and opens it again. Connections look at the gate before a command;
//! one that finds it closed waits asynchronously, so its thread stays free. Only one can hold the gate.
//!
//! Who may hold it for very long, a script, says so ([`GateGuard::may_take_long`]): from then on nobody may wait for
//! shards in a way that keeps a thread of clients. Who comes upon a shard that is taken gives up
//! (`Keyspace::claim_one` and its like) and waits at the gate as well; waiting clients that he was about to serve he
//! leaves to the holder ([`Gate::postpone`]). When the holder has others answered meanwhile
//! ([`Gate::set_busy`]), those who wait at the gate are told.

use crate::sys::sync::{AtomicU8, Mutex, Notify, Ordering};

use super::wait::Ready;

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
/// Closed, and perhaps for long.
const LONG: u8 = 2;
/// The same, and commands that may run then do.
const BUSY: u8 = 3;

/// See the module's text.
#[derive(Default)]
pub struct Gate {
    state: AtomicU8,
    changed: Notify,
    /// Keys whose waiters the holder is to serve. Changes of the state from and to [`LONG`] and above
    /// are made while it is held.
    postponed: Mutex<Vec<Ready>>,
}

/// Keeps the gate closed while it lives.
pub struct GateGuard<'a>(&'a Gate);

impl Gate {
    /// True while someone works exclusively. Meant to be read before every command: one shared, rarely written line.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.state.load(Ordering::Acquire) != OPEN
    }

    /// True while it is closed by someone who may take very long.
    #[inline]
    pub fn is_held_long(&self) -> bool {
        self.state.load(Ordering::Acquire) >= LONG
    }

    /// True while whoever holds it has some commands served meanwhile, and all others refused.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.state.load(Ordering::Acquire) == BUSY
    }

    /// Closes the gate; `None` when somebody else holds it: wait, then try again.
    pub fn try_close(&self) -> Option<GateGuard<'_>> {
        self.state
            .compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
            // Not before: whoever drops a guard opens the gate.
            .then(|| GateGuard(self))
    }

    /// Returns once the gate is, or was meanwhile, open.
    pub async fn opened(&self) {
        loop {
            let notified = self.changed.notified();
            tokio::pin!(notified);
            // Enrolled before the check: an opening in between is not missed.
            notified.as_mut().enable();
            if !self.is_closed() {
                return;
            }
            notified.await;
            if !self.is_busy() {
                return;
            }
        }
    }

    /// Returns once the gate is, or was meanwhile, open, or its holder has others answered.
    pub async fn opened_or_busy(&self) {
        let notified = self.changed.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if self.is_closed() && !self.is_busy() {
            notified.await;
        }
    }

    /// For its holder, who has said before that he may take long: that he does, so that some commands are
    /// served meanwhile and others refused; or that this is over.
    pub fn set_busy(&self, is_busy: bool) {
        debug_assert!(self.is_held_long());
        let state = if is_busy { BUSY } else { LONG };
        self.state.store(state, Ordering::Release);
        if is_busy {
            self.changed.notify_waiters();
        }
    }

    /// Leaves it to the holder to serve those who wait for a key, if he holds it for long; else the key
    /// comes back.
    pub fn postpone(&self, key: Ready) -> Option<Ready> {
        let mut postponed = self.postponed.lock();
        match self.is_held_long() {
            true => postponed.push(key),
            false => return Some(key),
        }
        None
    }
}

impl GateGuard<'_> {
    /// What is done may take very long. To be said before any shard is locked.
    pub fn may_take_long(&self) {
        self.0.state.store(LONG, Ordering::Release);
    }

    /// What remains to be done is done soon: the keys whose waiters are left to the holder, who has
    /// all shards still.
    pub fn end_long(&self) -> Vec<Ready> {
        let mut postponed = self.0.postponed.lock();
        self.0.state.store(CLOSED, Ordering::Release);
        std::mem::take(&mut postponed)
    }
}

impl Drop for GateGuard<'_> {
    fn drop(&mut self) {
        debug_assert!(
            self.0.postponed.lock().is_empty(),
            "somebody waits to be served"
        );
        self.0.state.store(OPEN, Ordering::Release);
        self.0.changed.notify_waiters();
    }
}

#[cfg(all(test, feature = "model"))]
mod model;
#[cfg(test)]
mod tests;
