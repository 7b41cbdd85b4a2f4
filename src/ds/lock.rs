//! The lock of a shard: one byte, one atomic exchange to take it, one plain store to give it back.
//!
//! A shard is held for some hundred nanoseconds and mostly free, so what counts is the cost of the
//! free case: a general mutex pays a second atomic read-modify-write on unlock, to learn of waiters.
//! This one has no list of waiters. Who finds it taken spins for about as long as a command lasts,
//! then lets other threads run (the holder may have lost its processor), then sleeps in short
//! steps; nothing ever has to wake it.
//!
//! Invariant: `true` from a successful `lock` or `try_lock` until `unlock` by the holder.

use std::time::Duration;

use parking_lot::lock_api::{self, GuardSend};

use crate::sys::sync::{self, AtomicBool, Ordering};

/// Rounds of spinning before the thread lets others run.
const SPINS: u32 = if cfg!(feature = "model") { 0 } else { 100 };
/// Times that the thread lets others run before it sleeps.
const YIELDS: u32 = if cfg!(feature = "model") { 1 } else { 50 };
/// One step of sleeping.
const NAP: Duration = Duration::from_micros(50);

/// Data behind a [`RawShardLock`].
pub type ShardLock<T> = lock_api::Mutex<RawShardLock, T>;
/// Holds a [`ShardLock`].
pub type ShardGuard<'a, T> = lock_api::MutexGuard<'a, RawShardLock, T>;

/// See the module's text.
pub struct RawShardLock(AtomicBool);

// SAFETY: `try_lock` succeeds only by changing `false` to `true`, which one thread at a time can;
// `unlock`, which only the holder may call, is the only way back. Acquire and Release order what
// holders do.
unsafe impl lock_api::RawMutex for RawShardLock {
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Self = Self(AtomicBool::new(false));

    type GuardMarker = GuardSend;

    #[inline]
    fn lock(&self) {
        if !self.try_lock() {
            self.wait();
        }
    }

    #[inline]
    fn try_lock(&self) -> bool {
        // Looks first: a lock that is taken keeps its line where it is.
        !self.is_locked() && !self.0.swap(true, Ordering::Acquire)
    }

    #[inline]
    unsafe fn unlock(&self) {
        self.0.store(false, Ordering::Release);
    }

    fn is_locked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl RawShardLock {
    #[cold]
    fn wait(&self) {
        use lock_api::RawMutex;
        let mut rounds = 0;
        loop {
            pass_time(&mut rounds);
            if self.try_lock() {
                return;
            }
        }
    }
}

/// One round of waiting.
fn pass_time(rounds: &mut u32) {
    if *rounds < SPINS {
        sync::spin_loop();
    } else if *rounds < SPINS + YIELDS {
        sync::yield_now();
    } else {
        sync::sleep(NAP);
    }
    *rounds = rounds.saturating_add(1);
}

/// Takes a lock, unless that takes long and `gives_up` says then that it is not to be waited for.
#[inline(always)]
pub fn lock_unless<T>(
    lock: &ShardLock<T>,
    gives_up: impl Fn() -> bool,
) -> Option<ShardGuard<'_, T>> {
    match lock.try_lock() {
        Some(held) => Some(held),
        None => wait_unless(lock, gives_up),
    }
}

#[cold]
fn wait_unless<T>(lock: &ShardLock<T>, gives_up: impl Fn() -> bool) -> Option<ShardGuard<'_, T>> {
    let mut rounds = 0;
    loop {
        pass_time(&mut rounds);
        if let Some(held) = lock.try_lock() {
            return Some(held);
        }
        if rounds > SPINS && gives_up() {
            return None;
        }
    }
}

#[cfg(all(test, feature = "model"))]
mod model;
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let counter = Arc::new(ShardLock::new(0u64));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let counter = counter.clone();
                std::thread::spawn(move || {
                    for _ in 0..2_000 {
                        let mut held = counter.lock();
                        let seen = *held;
                        std::hint::black_box(&held);
                        *held = seen + 1;
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*counter.lock(), 16_000);
    }

    #[test]
    fn a_held_lock_is_refused_and_a_dropped_one_given() {
        let lock = ShardLock::new(());
        let held = lock.lock();
        assert!(lock.try_lock().is_none());
        drop(held);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn who_need_not_wait_does_not() {
        let lock = ShardLock::new(());
        assert!(lock_unless(&lock, || true).is_some(), "it is free");
        let held = lock.lock();
        assert!(lock_unless(&lock, || true).is_none());
        let rounds = std::cell::Cell::new(0);
        let later = || rounds.replace(rounds.get() + 1) == 10;
        assert!(lock_unless(&lock, later).is_none());
        drop(held);
    }
}
