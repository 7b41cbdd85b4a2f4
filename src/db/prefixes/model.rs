//! The filter in all interleavings, with all that readers may see of a writer's stores: a key with a
//! prefix that stays is never missed, nor one whose prefix was added before.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::sys::sync::{Mutex, explore, spawn};

#[test]
fn a_prefix_that_stays_is_never_missed() {
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    explore(3, || {
        let filter = Arc::new(PrefixFilter::default());
        filter.set([&b"stays"[..]].into_iter());
        let reader = {
            let filter = filter.clone();
            spawn(move || {
                assert!(filter.may_match(b"stays here"));
                let others = filter.may_match(b"other");
                REFUSED.fetch_add(!others as usize, Ordering::Relaxed);
            })
        };
        // Fewer bytes are looked at, then more again.
        filter.add(b"st", [&b"stays"[..], b"st"].into_iter());
        filter.set([&b"stays"[..]].into_iter());
        reader.join().unwrap();
    });
    assert!(REFUSED.load(Ordering::Relaxed) > 0, "it may say no");
}

#[test]
fn what_was_added_before_is_seen() {
    explore(3, || {
        let filter = Arc::new(PrefixFilter::default());
        let added = Arc::new(Mutex::new(false));
        let reader = {
            let (filter, added) = (filter.clone(), added.clone());
            spawn(move || {
                let is_added = *added.lock();
                assert!(!is_added || filter.may_match(b"key"));
            })
        };
        filter.add(b"ke", [&b"ke"[..]].into_iter());
        *added.lock() = true;
        reader.join().unwrap();
    });
}
