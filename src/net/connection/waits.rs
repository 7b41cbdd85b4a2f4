//! What a connection waits for besides its socket, and what goes on meanwhile.
//!
//! Whoever waits may be killed. Who may have to wait for long, in a blocking command or for the end of a pause, goes on with
//! his socket: he takes what was answered before, what he sends is kept, and if he goes his command does not run any more.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;

use crate::client::Signal;
use crate::db::{Outcome, Waiter};

use super::super::worker::{Desk, Worker};
use super::{Connection, Turn};

impl Connection {
    /// Waits, but not longer than it takes someone to kill this client. What others have for it is
    /// sent meanwhile, unless that is held back.
    pub(super) async fn unless_killed(&mut self, worker: &Worker, wait: impl Future<Output = ()>) {
        let mut wait = pin!(wait);
        self.begin_attended();
        poll_fn(|cx| {
            if self.client.shared.has(Signal::Kill) {
                return Poll::Ready(());
            }
            if !self.holds_pushes {
                self.deliver(worker);
            }
            wait.as_mut().poll(cx)
        })
        .await;
        self.end_attended(worker);
    }

    /// The client waits for the server from now on.
    pub(super) fn begin_attended(&self) {
        let is_attended = &self.client.shared.is_attended;
        is_attended.store(true, Ordering::Relaxed);
    }

    /// The client has waited for the server, and may be called idle again: from now on.
    pub(super) fn end_attended(&self, worker: &Worker) {
        let shared = &self.client.shared;
        let now_ms = worker.exec.server.clock.unix_ms();
        shared.last_interaction_ms.store(now_ms, Ordering::Relaxed);
        shared.paused.store(false, Ordering::Release);
        shared.is_attended.store(false, Ordering::Release);
    }

    /// Waits until a blocking command has an outcome; `None` if the client is killed or goes away
    /// before. What it sends meanwhile is kept for afterwards.
    pub(super) async fn wait_blocked(
        &mut self,
        waiter: &Arc<Waiter>,
        worker: &Worker,
    ) -> Option<Outcome> {
        let now_ms = worker.exec.server.clock.unix_ms();
        let left = waiter
            .waiting
            .deadline_ms
            .map(|at_ms| at_ms.saturating_sub(now_ms));
        // Who waits for longer than a timer can tell waits for ever.
        let deadline = left.and_then(|left_ms| {
            tokio::time::Instant::now().checked_add(Duration::from_millis(left_ms))
        });
        let mut timer = pin!(async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|cx| {
            waiter.set_waker(cx.waker());
            if self.client.shared.has(Signal::Kill) {
                return Poll::Ready(None);
            }
            if timer.as_mut().poll(cx).is_ready() {
                waiter.decide(Outcome::TimedOut);
            }
            // Counted before the outcome is looked at: whoever serves this client after that look counts at least as
            // many, so nothing is sent now that has to stand behind his reply.
            let posted = self.client.shared.posted();
            if let Some(outcome) = waiter.take_outcome() {
                let before = match &outcome {
                    Outcome::Served { posted, .. } => *posted,
                    _ => posted,
                };
                self.deliver_until(before, worker);
                return Poll::Ready(Some(outcome));
            }
            self.deliver_until(posted, worker);
            if self.client.shared.has(Signal::Inbox) {
                // It may have come since it was counted, and nobody rings twice for what was not taken.
                cx.waker().wake_by_ref();
            }
            self.poll_meanwhile(cx, worker).map(|()| None)
        })
        .await
    }

    /// Waits until a pause has changed; false if the client goes away before.
    pub(super) async fn wait_for_change_of_pause(&mut self, worker: &Worker) -> bool {
        let server = &worker.exec.server;
        self.client.shared.paused.store(true, Ordering::Relaxed);
        let mut changed = pin!(server.pause.changed(server.clock.unix_ms()));
        let stays = poll_fn(|cx| {
            if self.client.shared.has(Signal::Kill) {
                return Poll::Ready(true);
            }
            self.deliver(worker);
            if changed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            // Of strangers no more is kept than what they have begun with.
            if !self.authenticated(worker) {
                return Poll::Pending;
            }
            self.poll_meanwhile(cx, worker).map(|()| false)
        })
        .await;
        self.end_attended(worker);
        stays
    }

    /// What goes on with a client that waits; ready when it has gone, or sends too much.
    fn poll_meanwhile(&mut self, cx: &mut Context<'_>, worker: &Worker) -> Poll<()> {
        if let Poll::Ready(Err(_)) = self.poll_write_pending(cx, worker) {
            return Poll::Ready(());
        }
        worker.with_desk(|desk| self.poll_read_on(cx, worker, desk))
    }

    /// Reads what a blocked client sends; ready when it has gone, or sends too much.
    fn poll_read_on(&mut self, cx: &mut Context<'_>, worker: &Worker, desk: &mut Desk) -> Poll<()> {
        loop {
            let mut buf = ReadBuf::new(&mut desk.input);
            let read = ready!(self.line.stream().poll_read(cx, &mut buf));
            match read {
                Ok(()) if !buf.filled().is_empty() => {
                    self.tail.extend_from_slice(buf.filled());
                    let read = buf.filled().len();
                    self.note_read(read, desk);
                    self.note_tail(&Turn::Signalled, worker);
                    if self.over_query_limit(self.tail.len(), worker) {
                        return Poll::Ready(());
                    }
                }
                _ => return Poll::Ready(()),
            }
        }
    }
}
