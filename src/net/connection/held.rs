//! Replies that a connection must not send yet: they promise, or show, what the log does not have on the disk.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use crate::client::Signal;
use crate::exec::{Late, Moment};

use super::super::worker::Worker;
use super::Connection;

/// What keeps replies back: the record of the log that has to be on the disk before they are sent.
pub(super) struct Held {
    seq: u64,
    /// See [`Relay::poll_promised`](crate::net::relay::Relay::poll_promised).
    enrolled: Option<u64>,
    /// How they are counted when they are sent.
    late: Option<Late>,
}

impl Connection {
    /// Waits until the log has what the last batch's replies have to wait for; and until the log has caught up, should it be far behind.
    pub(super) async fn follow_log(&mut self, worker: &Worker) {
        if self.held.is_some() {
            self.begin_attended();
            poll_fn(|cx| {
                let killed = self.client.shared.has(Signal::Kill);
                match killed || self.poll_held(cx, worker).is_ready() {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
            self.end_attended(worker);
            // What the socket does not take is sent along with the next turn; so is its error seen.
            poll_fn(|cx| Poll::Ready(self.poll_write_pending(cx, worker).is_ready())).await;
        }
        if std::mem::take(&mut self.has_logged) {
            let oplog = &worker.exec.server.keyspace.oplog;
            if oplog.is_congested() {
                self.unless_killed(worker, oplog.room()).await;
            }
        }
    }

    /// Ready when nothing keeps the replies back any more.
    pub(super) fn poll_held(&mut self, cx: &mut Context<'_>, worker: &Worker) -> Poll<()> {
        if let Some(held) = &mut self.held {
            let oplog = &worker.exec.server.keyspace.oplog;
            let (relay, seq) = (&worker.relay, held.seq);
            ready!(relay.poll_promised(oplog, cx, seq, &mut held.enrolled));
            if let Some(late) = &held.late {
                worker.exec.count_late(late);
            }
            self.held = None;
        }
        Poll::Ready(())
    }

    /// Keeps the replies of a batch back if they have to wait for the disk.
    pub(super) fn hold(&mut self, moment: &mut Moment, worker: &Worker) {
        let oplog = &worker.exec.server.keyspace.oplog;
        let seq = oplog.shown_seq(moment.logged_seq());
        if seq == 0 || !oplog.must_wait(seq) {
            return;
        }
        moment.keep_back();
        let before = self.held.take();
        self.held = Some(Box::new(Held {
            seq,
            enrolled: None,
            late: before.and_then(|held| held.late),
        }));
    }

    /// Ends a batch: it is counted, but for replies that are kept back.
    #[inline]
    pub(super) fn end(&mut self, moment: &mut Moment, worker: &Worker) {
        worker.exec.end(moment);
        if let Some(held) = &mut self.held
            && let Some(late) = moment.take_late()
        {
            match &mut held.late {
                Some(before) => before.extend(late),
                None => held.late = Some(late),
            }
        }
    }
}
