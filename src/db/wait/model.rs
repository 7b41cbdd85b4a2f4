//! One waiter in all interleavings of those who may end its wait: it is decided once, and its
//! connection wakes up to it.

use std::future::poll_fn;
use std::task::Poll;

use loom::future::block_on;

use super::tests::waiter;
use super::*;
use crate::sys::sync::{explore, spawn};

/// Waits as a connection does.
async fn outcome(waiter: &Waiter) -> Outcome {
    poll_fn(|cx| {
        waiter.set_waker(cx.waker());
        match waiter.take_outcome() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    })
    .await
}

fn served() -> Outcome {
    Outcome::Served {
        reply: ReplyWriter::new(),
        seq: 17,
        posted: 0,
    }
}

#[test]
fn one_decides_and_the_connection_wakes_up() {
    explore(3, || {
        let waiter = waiter("k");
        let serves = {
            let waiter = waiter.clone();
            spawn(move || match waiter.hold() {
                Some(undecided) => {
                    undecided.decide(served());
                    true
                }
                None => false,
            })
        };
        let unblocks = {
            let waiter = waiter.clone();
            spawn(move || waiter.decide(Outcome::Unblocked))
        };
        let outcome = block_on(outcome(&waiter));
        let decided = (serves.join().unwrap(), unblocks.join().unwrap());
        match outcome {
            Outcome::Served { seq: 17, .. } => assert_eq!(decided, (true, false)),
            Outcome::Unblocked => assert_eq!(decided, (false, true)),
            other => panic!("{other:?}"),
        }
        assert!(waiter.hold().is_none(), "decided for good");
        assert!(waiter.take_outcome().is_none(), "taken once");
    });
}

#[test]
fn who_serves_takes_nothing_for_one_that_has_gone() {
    explore(4, || {
        let waiter = waiter("k");
        // The key: who serves takes its element away while the waiter is held.
        let key = Arc::new(Mutex::new(1));
        let serves = {
            let (waiter, key) = (waiter.clone(), key.clone());
            spawn(move || {
                let mut elements = key.lock();
                let Some(undecided) = waiter.hold() else {
                    return;
                };
                *elements -= 1;
                undecided.decide(served());
            })
        };
        // The connection ends, unless it was served before.
        let is_gone = waiter.decide(Outcome::Gone);
        serves.join().unwrap();
        assert_eq!(*key.lock(), is_gone as u32);
    });
}
