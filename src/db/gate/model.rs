//! The gate in all interleavings: nobody sleeps through its opening, and nobody who waits for a key
//! is left to somebody who has gone.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use loom::future::block_on;

use super::*;
use crate::db::{DbIndex, Keyspace};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::sys::sync::{explore, spawn, yield_now};

#[test]
fn nobody_sleeps_through_the_opening() {
    explore(3, || {
        let gate = Arc::new(Gate::default());
        let held = gate.try_close().expect("it is open");
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let gate = gate.clone();
                spawn(move || block_on(gate.opened()))
            })
            .collect();
        drop(held);
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
        assert!(!gate.is_closed());
    });
}

#[test]
fn who_waits_for_news_hears_of_them() {
    explore(3, || {
        let gate = Arc::new(Gate::default());
        let held = gate.try_close().expect("it is open");
        held.may_take_long();
        let told = {
            let gate = gate.clone();
            spawn(move || block_on(gate.opened_or_busy()))
        };
        let opened = {
            let gate = gate.clone();
            spawn(move || block_on(gate.opened()))
        };
        gate.set_busy(true);
        told.join().unwrap();
        gate.set_busy(false);
        assert!(held.end_long().is_empty());
        drop(held);
        opened.join().unwrap();
    });
}

#[test]
fn one_at_a_time_has_it() {
    explore(4, || {
        let gate = Arc::new(Gate::default());
        let inside = Arc::new(AtomicUsize::new(0));
        let enter = |gate: &Gate, inside: &AtomicUsize| {
            while gate.is_closed() {
                block_on(gate.opened());
            }
            let Some(held) = gate.try_close() else {
                return;
            };
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
            yield_now();
            inside.fetch_sub(1, Ordering::Relaxed);
            drop(held);
        };
        let other = {
            let (gate, inside) = (gate.clone(), inside.clone());
            spawn(move || enter(&gate, &inside))
        };
        enter(&gate, &inside);
        other.join().unwrap();
        assert!(!gate.is_closed());
    });
}

#[test]
fn a_key_is_served_once_by_whoever_has_it() {
    static BY_HOLDER: AtomicUsize = AtomicUsize::new(0);
    static BY_OTHER: AtomicUsize = AtomicUsize::new(0);
    explore(3, || {
        let hash = KeyHash::process(HashFunction::Fast);
        let keyspace = Arc::new(Keyspace::new(1, 1, hash));
        drop(keyspace.lock_all());
        let other = {
            let keyspace = keyspace.clone();
            // As `exec::block` serves those who wait for a key.
            spawn(move || {
                let mut left = Some(Ready::new(DbIndex(0), b"k"));
                let mut served = 0;
                while let Some(ready) = left.take() {
                    match keyspace.claim_one(keyspace.hash(&ready.key)) {
                        Some(_locks) => served += 1,
                        None => left = keyspace.gate.postpone(ready),
                    }
                }
                served
            })
        };
        let held = keyspace.gate.try_close().expect("it is open");
        held.may_take_long();
        let locks = keyspace.lock_all();
        // It takes long: a thread of a model that waits has its turn only if others let it.
        (0..3).for_each(|_| yield_now());
        let by_holder = held.end_long().len();
        drop(locks);
        drop(held);
        let by_other: usize = other.join().unwrap();
        assert_eq!(by_holder + by_other, 1);
        BY_HOLDER.fetch_add(by_holder, Ordering::Relaxed);
        BY_OTHER.fetch_add(by_other, Ordering::Relaxed);
    });
    assert!(BY_HOLDER.load(Ordering::Relaxed) > 0);
    assert!(BY_OTHER.load(Ordering::Relaxed) > 0);
}
