//! What others find while the gate is held for long.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::db::expire::Pass;
use crate::db::{Access, DbIndex, Expire, Keyspace, Lookup};
use crate::ds::entry::NewValue;
use crate::ds::hash::{HashFunction, KeyHash};
use crate::util::rng::Rng;

const DB: DbIndex = DbIndex(0);
const NOW_MS: u64 = 1_700_000_000_000;

fn keyspace() -> Keyspace {
    let keyspace = Keyspace::new(8, 16, KeyHash::process(HashFunction::Fast));
    for key in [&b"k"[..], b"l"] {
        let locks = keyspace.lock_one(keyspace.hash(key));
        let mut access = Access::new(&keyspace, locks, DB, NOW_MS, true);
        access.set(key, 0, 0, NewValue::Int(1), Expire::At(NOW_MS + 1));
        access.track(key, 1, |_| false);
    }
    keyspace
}

fn none(keyspace: &Keyspace) -> Access<'_> {
    Access::new(keyspace, keyspace.lock_none(), DB, NOW_MS, true)
}

fn is_ready(future: impl Future<Output = ()>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    pin!(future).as_mut().poll(&mut cx) == Poll::Ready(())
}

#[test]
fn who_finds_it_closed_leaves_it_closed() {
    let gate = Gate::default();
    let held = gate.try_close().unwrap();
    for is_long in [false, true] {
        if is_long {
            held.may_take_long();
        }
        for _ in 0..2 {
            assert!(gate.try_close().is_none());
            assert!(gate.is_closed(), "it is held");
            assert_eq!(gate.is_held_long(), is_long);
        }
    }
    drop(held);
    assert!(gate.try_close().is_some());
}

#[test]
fn nobody_waits_for_shards_that_are_held_for_long() {
    let keyspace = keyspace();
    let hash = keyspace.hash(b"k");
    let gate = keyspace.gate.try_close().unwrap();
    gate.may_take_long();
    assert!(keyspace.gate.is_held_long() && !keyspace.gate.is_busy());
    // What is free can be had.
    assert!(keyspace.claim_one(hash).is_some());
    let locks = keyspace.lock_all();
    assert!(keyspace.claim_one(hash).is_none());
    assert!(keyspace.claim_many([hash, !hash].into_iter()).is_none());
    assert_eq!(keyspace.claim_many([].into_iter()).unwrap().len(), 0);

    let mut access = none(&keyspace);
    access.for_each_shard(|_, _| panic!("it is held"));
    assert!(access.gave_up());
    let mut access = none(&keyspace);
    assert!(!access.peek(b"k"), "it looks empty");
    assert!(access.gave_up());
    let mut access = none(&keyspace);
    assert_eq!(access.with_key_if_free(b"k", |_| ()), None);
    assert!(!access.gave_up(), "it can do without");
    assert_eq!(access.with_key(b"k", |_| ()), None);
    assert!(access.gave_up());

    let pass = keyspace.expire_pass(NOW_MS + 1, &mut Vec::new());
    assert!(matches!(pass, Pass::Held(_)));
    keyspace.limit_tracked(1, 100, &mut Rng::from_os());
    assert_eq!(keyspace.tracked.keys.load(Ordering::Relaxed), 2);

    drop(locks);
    assert!(gate.end_long().is_empty());
    drop(gate);
    let mut access = none(&keyspace);
    let found = access.with_key(b"k", |access| access.exists(b"k", Lookup::Silent));
    assert_eq!(found, Some(true));
    assert!(!access.gave_up());
    keyspace.limit_tracked(1, 100, &mut Rng::from_os());
    assert_eq!(keyspace.tracked.keys.load(Ordering::Relaxed), 1);
}

#[test]
fn who_waits_at_the_gate_is_told_when_it_takes_long() {
    let keyspace = keyspace();
    let gate = &keyspace.gate;
    assert!(is_ready(gate.opened()) && is_ready(gate.opened_or_busy()));
    let held = gate.try_close().unwrap();
    assert!(gate.try_close().is_none());
    held.may_take_long();
    let mut cx = Context::from_waker(Waker::noop());
    let (mut opened, mut told) = (pin!(gate.opened()), pin!(gate.opened_or_busy()));
    assert!(opened.as_mut().poll(&mut cx).is_pending());
    assert!(told.as_mut().poll(&mut cx).is_pending());
    gate.set_busy(true);
    assert!(told.as_mut().poll(&mut cx).is_ready());
    assert!(is_ready(gate.opened_or_busy()), "who comes later, too");
    assert!(opened.as_mut().poll(&mut cx).is_pending());
    gate.set_busy(false);
    assert!(gate.is_held_long() && !is_ready(gate.opened_or_busy()));
    held.end_long();
    assert!(gate.is_closed() && !gate.is_held_long());
    drop(held);
    assert!(opened.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn waiters_are_left_to_the_holder_while_he_takes_them() {
    let keyspace = keyspace();
    let gate = &keyspace.gate;
    let key = || Ready::new(DB, b"k");
    assert!(gate.postpone(key()).is_some(), "it is open");
    let held = gate.try_close().unwrap();
    assert!(gate.postpone(key()).is_some(), "he will not look");
    held.may_take_long();
    assert!(gate.postpone(key()).is_none());
    gate.set_busy(true);
    assert!(gate.postpone(key()).is_none());
    assert_eq!(held.end_long().len(), 2);
    assert!(gate.postpone(key()).is_some(), "he has looked");
}

/// The log is switched on between the beginning of a command and its first shard: what it finds expired
/// there has to be in the log.
#[test]
fn a_log_that_is_switched_on_meanwhile_has_what_a_walk_deletes() {
    type Take = fn(&mut Access<'_>);
    let takes: [Take; 3] = [
        |access| {
            access.with_key(b"k", |access| access.exists(b"k", Lookup::Silent));
        },
        |access| {
            assert!(access.try_hold(b"k") && !access.exists(b"k", Lookup::Silent));
        },
        |access| {
            let hash = access.keyspace().hash(b"k");
            assert!(access.hold_more(&[hash]) && !access.exists(b"k", Lookup::Silent));
        },
    ];
    for take in takes {
        let keyspace = keyspace();
        let late_ms = NOW_MS + 2;
        let mut access = Access::new(&keyspace, keyspace.lock_none(), DB, late_ms, true);
        let locks = keyspace.lock_all();
        keyspace.oplog.set_on(true);
        drop(locks);
        take(&mut access);
        assert!(access.is_logged());
        access.settle();
        assert_eq!(keyspace.oplog.cut(), 1);
    }
}
