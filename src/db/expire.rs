//! Exact expiry: what is due is deleted when it is due, not when a sample happens to meet it.
//!
//! Each table knows what is due cheaply (`ds::table`), each shard publishes the earliest expiry it holds, and
//! [`ExpireClock`] tells one background thread until when it may sleep. A key that gets a TTL earlier than that wakes
//! it. The work is done in slices of [`SLICE_KEYS`] under one shard's lock, so a million keys due at once delay nobody;
//! what was removed is freed outside of the lock.
//!
//! Invariant: `next_expire_at_ms` of a shard is written under its lock and never later than the earliest expiry in it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use crate::ds::entry::Entry;
use crate::util::clock::Clock;

use super::keyspace::{Keyspace, Shard};

/// Keys removed under one hold of a lock.
const SLICE_KEYS: usize = 64;
/// Longest sleep, so that a wall clock that was set forward is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// When the expiry cycle has to run next, and who runs it.
pub struct ExpireClock {
    /// The cycle's thread sleeps until then. 0 while it works: it looks at every shard before it sleeps again.
    wake_at_ms: AtomicU64,
    thread: OnceLock<Thread>,
    /// DEBUG SET-ACTIVE-EXPIRE.
    disabled: AtomicBool,
    /// CLIENT PAUSE holds expiry back, too.
    paused_until_ms: AtomicU64,
    /// CPU time of the cycle, microseconds (`expire_cycle_cpu_milliseconds`).
    cycle_us: AtomicU64,
}

impl Default for ExpireClock {
    fn default() -> ExpireClock {
        ExpireClock {
            wake_at_ms: AtomicU64::new(0),
            thread: OnceLock::new(),
            disabled: AtomicBool::new(false),
            paused_until_ms: AtomicU64::new(0),
            cycle_us: AtomicU64::new(0),
        }
    }
}

impl ExpireClock {
    /// A key of a shard whose earliest expiry this is. Called under the shard's lock, after the shard has it.
    #[inline]
    pub(super) fn note(&self, at_ms: u64) {
        // SeqCst on both sides: either the cycle sees the shard's new minimum, or this sees its wake-up time.
        if at_ms < self.wake_at_ms.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Switches the cycle on or off (DEBUG SET-ACTIVE-EXPIRE); expired keys stay invisible either way.
    pub fn set_enabled(&self, enabled: bool) {
        self.disabled.store(!enabled, Ordering::Relaxed);
        self.wake();
    }

    /// Holds the cycle back until then (CLIENT PAUSE); 0 ends it.
    pub fn pause_until(&self, unix_ms: u64) {
        self.paused_until_ms.store(unix_ms, Ordering::Relaxed);
        self.wake();
    }

    /// Microseconds that the cycle has worked.
    pub fn cycle_us(&self) -> u64 {
        self.cycle_us.load(Ordering::Relaxed)
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        self.cycle_us.store(0, Ordering::Relaxed);
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Shard {
    /// Makes an expiry of a key in this shard known. Under the shard's lock.
    #[inline]
    pub(super) fn note_expire(&self, clock: &ExpireClock, at_ms: u64) {
        if at_ms < self.next_expire_at_ms.load(Ordering::Relaxed) {
            self.next_expire_at_ms.store(at_ms, Ordering::SeqCst);
            clock.note(at_ms);
        }
    }
}

impl Keyspace {
    /// Runs the expiry cycle on this thread until `stop` says so.
    pub fn expire_forever(&self, clock: &Clock, stop: impl Fn() -> bool) {
        let _ = self.expire_clock.thread.set(std::thread::current());
        while !stop() {
            let now_ms = clock.unix_ms();
            let wake_at_ms = self.expire_due(now_ms);
            self.expire_clock
                .wake_at_ms
                .store(wake_at_ms, Ordering::SeqCst);
            let earliest = self.next_expire_at_ms().max(self.held_back_until(now_ms));
            let sleep_ms = wake_at_ms.min(earliest).saturating_sub(clock.unix_ms());
            if sleep_ms > 0 {
                std::thread::park_timeout(Duration::from_millis(sleep_ms).min(SLEEP_MAX));
            }
            self.expire_clock.wake_at_ms.store(0, Ordering::SeqCst);
        }
    }

    /// Deletes every key that is due at `now_ms`, in slices; returns when to come back (Unix ms).
    pub fn expire_due(&self, now_ms: u64) -> u64 {
        let held_back = self.held_back_until(now_ms);
        if held_back > now_ms {
            return held_back;
        }
        let started = std::time::Instant::now();
        let mut removed: Vec<Entry> = Vec::with_capacity(SLICE_KEYS);
        let mut worked = false;
        let mut again = true;
        while again {
            again = false;
            for shard in self.all() {
                if shard.next_expire_at_ms.load(Ordering::Relaxed) > now_ms {
                    continue;
                }
                worked = true;
                if self.gate.is_closed() {
                    return now_ms + 1;
                }
                again |= expire_slice(shard, now_ms, &mut removed);
                removed.clear();
            }
        }
        if worked {
            let spent = started.elapsed().as_micros() as u64;
            self.expire_clock
                .cycle_us
                .fetch_add(spent, Ordering::Relaxed);
        }
        self.next_expire_at_ms()
    }

    /// No key expires before this (Unix ms).
    pub fn next_expire_at_ms(&self) -> u64 {
        let shards = self.all().iter();
        shards
            .map(|shard| shard.next_expire_at_ms.load(Ordering::SeqCst))
            .min()
            .unwrap_or(u64::MAX)
    }

    /// Until when the cycle may not work; 0 when it may.
    fn held_back_until(&self, now_ms: u64) -> u64 {
        if self.expire_clock.disabled.load(Ordering::Relaxed) {
            return u64::MAX;
        }
        let paused_until = self.expire_clock.paused_until_ms.load(Ordering::Relaxed);
        if paused_until > now_ms {
            paused_until
        } else {
            0
        }
    }
}

/// Removes up to [`SLICE_KEYS`] due keys of a shard; true when more may be due.
fn expire_slice(shard: &Shard, now_ms: u64, removed: &mut Vec<Entry>) -> bool {
    let mut data = shard.lock();
    let mut next_ms = u64::MAX;
    for table in &mut data.tables {
        let budget = SLICE_KEYS - removed.len();
        if budget > 0 {
            table.take_expired(now_ms, budget, &mut |entry| removed.push(entry));
        }
        next_ms = next_ms.min(table.next_expire_at_ms());
    }
    data.stats.expired += removed.len() as u64;
    shard.next_expire_at_ms.store(next_ms, Ordering::SeqCst);
    next_ms <= now_ms
}
