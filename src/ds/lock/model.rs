//! The lock in all interleavings of its threads, with all that they may see of each other's memory.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use loom::cell::Cell;

use super::*;
use crate::sys::sync::{AtomicU8, explore, spawn};

/// A lock that is known to loom before threads share it. What is in it is watched: two accesses of
/// which none comes before the other end the model.
fn counter() -> Arc<ShardLock<Cell<u64>>> {
    let counter = Arc::new(ShardLock::new(Cell::new(0)));
    assert!(!counter.is_locked());
    counter
}

fn add(counter: &ShardLock<Cell<u64>>) {
    let held = counter.lock();
    held.set(held.get() + 1);
}

#[test]
fn holders_come_one_after_the_other() {
    explore(3, || {
        let counter = counter();
        let other = {
            let counter = counter.clone();
            spawn(move || (0..2).for_each(|_| add(&counter)))
        };
        (0..2).for_each(|_| add(&counter));
        other.join().unwrap();
        assert_eq!(counter.lock().get(), 4);
    });
}

#[test]
fn three_come_one_after_the_other() {
    explore(3, || {
        let counter = counter();
        let others = [1, 2].map(|_| {
            let counter = counter.clone();
            spawn(move || add(&counter))
        });
        add(&counter);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(counter.lock().get(), 3);
    });
}

#[test]
fn a_try_takes_the_lock_or_nothing() {
    explore(4, || {
        let counter = counter();
        let tries = {
            let counter = counter.clone();
            spawn(move || match counter.try_lock() {
                Some(held) => held.set(held.get() + 1),
                None => counter.lock().set(7),
            })
        };
        add(&counter);
        tries.join().unwrap();
        // Either both have added, or one has found the lock taken and come behind.
        let end = counter.lock().get();
        assert!(end == 2 || end == 7, "{end}");
    });
}

#[test]
fn who_may_give_up_does_so_only_while_told_to() {
    static GAVE_UP: AtomicUsize = AtomicUsize::new(0);
    static GOT_IT: AtomicUsize = AtomicUsize::new(0);
    explore(4, || {
        let counter = counter();
        let is_long = Arc::new(AtomicU8::new(0));
        let waits = {
            let (counter, is_long) = (counter.clone(), is_long.clone());
            spawn(move || {
                let gives_up = || is_long.load(Ordering::Acquire) == 1;
                match lock_unless(&counter, gives_up) {
                    Some(held) => held.set(held.get() + 1),
                    None => return false,
                }
                true
            })
        };
        is_long.store(1, Ordering::Release);
        let held = counter.lock();
        held.set(held.get() + 10);
        // It takes long: a thread of a model that waits has its turn only if others let it.
        (0..3).for_each(|_| sync::yield_now());
        is_long.store(0, Ordering::Release);
        drop(held);
        let got_it = waits.join().unwrap();
        assert_eq!(counter.lock().get(), 10 + got_it as u64);
        let which = if got_it { &GOT_IT } else { &GAVE_UP };
        which.fetch_add(1, Ordering::Relaxed);
    });
    assert!(GAVE_UP.load(Ordering::Relaxed) > 0);
    assert!(GOT_IT.load(Ordering::Relaxed) > 0);
}
