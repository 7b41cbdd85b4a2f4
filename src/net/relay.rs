//! Waiting for the log, together: one task of each worker waits for it on behalf of all its
//! connections, so that a group of replies costs one wake-up from another thread, not one each.
//!
//! A connection enrols with the number of its record; when the log has that, the task wakes it, on
//! their own thread. What has gone meanwhile is woken in vain.
//!
//! Invariant: whoever has been woken and finds that he has to wait after all (`appendfsync` promises more than a
//! moment ago) is enrolled again.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker, ready};

use crate::db::oplog::OpLog;

/// See the module's text.
#[derive(Default)]
pub struct Relay {
    /// Who waits, for which record.
    waiting: RefCell<Vec<(u64, Waker)>>,
    /// How often somebody was woken.
    rounds: Cell<u64>,
    task: RefCell<Option<Waker>>,
}

impl Relay {
    /// Ready when what was promised of the record is true, or nobody promises that any more. `enrolled` is the
    /// caller's memory of whether it will be woken; `None` at first.
    pub fn poll_promised(
        &self,
        oplog: &OpLog,
        cx: &mut Context<'_>,
        seq: u64,
        enrolled: &mut Option<u64>,
    ) -> Poll<()> {
        if !oplog.must_wait(seq) {
            return Poll::Ready(());
        }
        // It may be among those who were woken; if not, it is woken twice.
        if *enrolled != Some(self.rounds.get()) {
            *enrolled = Some(self.rounds.get());
            self.waiting.borrow_mut().push((seq, cx.waker().clone()));
            // It may wait for nobody, or for a later record.
            if let Some(task) = &*self.task.borrow() {
                task.wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// The task; it never ends by itself. `write` writes the log, where that is left to workers.
    pub async fn run(&self, oplog: &OpLog, write: impl Fn()) {
        let (mut enrolled, mut enrolled_for) = (None, 0);
        poll_fn::<(), _>(|cx| {
            *self.task.borrow_mut() = Some(cx.waker().clone());
            loop {
                self.wake_ready(oplog);
                let next = self.waiting.borrow().iter().map(|(seq, _)| *seq).min();
                let Some(next) = next else {
                    return Poll::Pending;
                };
                if oplog.must_wait(next) && oplog.is_written_here() {
                    write();
                }
                if next != enrolled_for {
                    (enrolled, enrolled_for) = (None, next);
                }
                ready!(oplog.poll_promised(cx, next, &mut enrolled));
            }
        })
        .await
    }

    fn wake_ready(&self, oplog: &OpLog) {
        let mut waiting = self.waiting.borrow_mut();
        let before = waiting.len();
        waiting.retain(|(seq, waker)| {
            let waits = oplog.must_wait(*seq);
            if !waits {
                waker.wake_by_ref();
            }
            waits
        });
        if waiting.len() < before {
            self.rounds.set(self.rounds.get() + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::db::DbIndex;
    use crate::db::oplog::Promise;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_was_let_go_too_early_waits_on_and_is_woken_again() {
        let oplog = OpLog::new(1);
        oplog.set_on(true);
        oplog.set_promise(Promise::Durable);
        let seq = oplog.append(DbIndex(0), [&b"PING"[..]].into_iter());
        let relay = Relay::default();
        let woken = Arc::new(Woken::default());
        let times = || woken.0.load(Ordering::Relaxed);
        let connection = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&connection);
        let mut enrolled = None;
        assert!(
            relay
                .poll_promised(&oplog, &mut cx, seq, &mut enrolled)
                .is_pending()
        );
        let mut task = pin!(relay.run(&oplog, || {}));
        let mut turn = || task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(turn().is_pending());
        assert_eq!(times(), 0);
        // Nothing is promised for a moment: before the connection has its turn, it has to wait again.
        oplog.set_promise(Promise::Nothing);
        assert!(turn().is_pending());
        assert_eq!(times(), 1);
        oplog.set_promise(Promise::Durable);
        assert!(
            relay
                .poll_promised(&oplog, &mut cx, seq, &mut enrolled)
                .is_pending()
        );
        assert!(turn().is_pending());
        oplog.publish_durable(seq);
        assert!(turn().is_pending());
        assert_eq!(times(), 2, "it waits for ever");
    }
}
