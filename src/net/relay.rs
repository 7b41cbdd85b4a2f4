//! Waiting for the log, together: one task of each worker waits for it on behalf of all its
//! connections, so that a group of replies costs one wake-up from another thread, not one each.
//!
//! A connection enrols with the number of its record; when the log has that, the task wakes it, on
//! their own thread. What has gone meanwhile is woken in vain.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker, ready};

use crate::db::oplog::OpLog;

/// See the module's text.
#[derive(Default)]
pub struct Relay {
    /// Who waits, for which record.
    waiting: RefCell<Vec<(u64, Waker)>>,
    task: RefCell<Option<Waker>>,
}

impl Relay {
    /// Ready when what was promised of the record is true, or nobody promises that any more. `enrolled` is the
    /// caller's memory of whether it will be woken; `false` at first.
    pub fn poll_promised(
        &self,
        oplog: &OpLog,
        cx: &mut Context<'_>,
        seq: u64,
        enrolled: &mut bool,
    ) -> Poll<()> {
        if !oplog.must_wait(seq) {
            return Poll::Ready(());
        }
        if !*enrolled {
            *enrolled = true;
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
        self.waiting.borrow_mut().retain(|(seq, waker)| {
            let waits = oplog.must_wait(*seq);
            if !waits {
                waker.wake_by_ref();
            }
            waits
        });
    }
}
