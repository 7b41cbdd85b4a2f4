//! What a connection sends: at once, with others' replies ([`Outbox`](crate::net::outbox::Outbox)), or when the socket
//! takes more.
//!
//! Invariant: bytes leave in the order in which they came here. What is kept for a turn is sent, and what was not taken of
//! it stands in `pending`, before anything else is written ([`Connection::reclaim`]).

use std::future::poll_fn;
use std::io;
use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::client::Signal;
use crate::exec::Moment;
use crate::resp::write::ReplyWriter;
use crate::server::Lifecycle;
use crate::spec::limits::UNAUTHENTICATED_OUTPUT_BYTES_MAX;

use super::super::outbox;
use super::super::pace;
use super::super::stream::Stream;
use super::super::worker::{Desk, Worker};
use super::Connection;

/// Most pieces given to one `writev`.
const IO_SLICES_MAX: usize = 64;
/// How long a connection that is told to close waits for its peer to take the last replies.
const LAST_WRITE_MAX: Duration = Duration::from_secs(5);

impl Connection {
    /// Writes the desk's replies, behind those that still wait; what the socket does not take waits here.
    pub(super) fn send(
        &mut self,
        worker: &Worker,
        desk: &mut Desk,
        moment: &mut Moment,
    ) -> io::Result<()> {
        if desk.out.is_empty() {
            return Ok(());
        }
        worker.exec.tell_so_far(moment);
        self.hold(moment, worker);
        if self.is_free_to_send() && self.keep_for_turn(worker, desk, moment) {
            return Ok(());
        }
        self.reclaim(worker);
        if self.is_free_to_send() {
            let written = write_some(&mut self.line.stream(), &mut desk.out, &mut moment.writes)?;
            moment.net_out_bytes += written;
            self.client.wrote(written);
            if desk.out.is_empty() {
                return Ok(());
            }
        }
        self.keep(worker, desk)
    }

    /// Whether nothing goes before what comes now.
    #[inline]
    fn is_free_to_send(&self) -> bool {
        self.pending.is_none() && self.held.is_none()
    }

    /// Leaves short replies to be sent with others', if there are many clients; false if they are still here.
    #[inline]
    fn keep_for_turn(&self, worker: &Worker, desk: &mut Desk, moment: &Moment) -> bool {
        let Some(replies) = desk.out.as_contiguous() else {
            return false;
        };
        let len = replies.len();
        if len > outbox::REPLY_BYTES_MAX
            || !pace::has_company()
            || self.line.has_unsent()
            || !self.authenticated(worker)
        {
            return false;
        }
        worker.keep(&self.line, replies, moment.started_tick());
        desk.out.advance(len);
        true
    }

    /// Sends what is kept for the turn, and takes back what was not taken of it.
    #[inline]
    pub(super) fn reclaim(&mut self, worker: &Worker) {
        worker.send_kept();
        if self.line.has_unsent() {
            let pending = self.pending.get_or_insert_default();
            debug_assert!(pending.is_empty(), "what waits is older");
            pending.raw(&self.line.take_unsent());
        }
    }

    /// Has the desk's replies wait, behind those that already do.
    pub(super) fn keep(&mut self, worker: &Worker, desk: &mut Desk) -> io::Result<()> {
        self.reclaim(worker);
        match &mut self.pending {
            Some(pending) => pending.append(&mut desk.out),
            None => self.pending = Some(Box::new(desk.out.take())),
        }
        self.note_pending(worker)
    }

    pub(super) fn poll_write_pending(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
    ) -> Poll<io::Result<()>> {
        self.reclaim(worker);
        ready!(self.poll_held(cx, worker));
        while let Some(pending) = &mut self.pending {
            let mut writes = 0;
            let written = write_some(&mut self.line.stream(), pending, &mut writes)?;
            worker.count_writes(writes, written);
            self.client.wrote(written);
            if written > 0 {
                // Whoever takes a long reply bit by bit is not idle.
                let now_ms = worker.exec.server.clock.unix_ms();
                let last_interaction = &self.client.shared.last_interaction_ms;
                last_interaction.store(now_ms, Ordering::Relaxed);
            }
            if pending.is_empty() {
                self.pending = None;
                self.client.shared.note_output(0, 0);
                worker.exec.server.clients.account(&self.client.shared);
                break;
            }
            self.client.shared.note_pending(pending);
            worker.exec.server.clients.account(&self.client.shared);
            ready!(self.line.stream().poll_write_ready(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Shows how much waits, and ends a connection that lets too much wait.
    fn note_pending(&mut self, worker: &Worker) -> io::Result<()> {
        let pending = self.pending.as_ref();
        let waiting = pending.map_or(0, |pending| pending.len());
        match pending {
            Some(pending) => self.client.shared.note_pending(pending),
            None => self.client.shared.note_output(0, 0),
        }
        let clients = &worker.exec.server.clients;
        clients.account(&self.client.shared);
        let hard_bytes = match self.authenticated(worker) {
            true => clients.output_limits.get(self.client.shared.output_class()),
            false => UNAUTHENTICATED_OUTPUT_BYTES_MAX as u64,
        };
        if hard_bytes == 0 || waiting as u64 <= hard_bytes {
            return Ok(());
        }
        clients.cut_off(&self.client.shared);
        Err(io::ErrorKind::OutOfMemory.into())
    }

    /// Writes the desk's pushes, or has them wait behind what already does.
    pub(super) fn send_pushes(&mut self, worker: &Worker, desk: &mut Desk) -> io::Result<()> {
        self.reclaim(worker);
        if self.is_free_to_send() {
            let mut writes = 0;
            let written = write_some(&mut self.line.stream(), &mut desk.out, &mut writes)?;
            worker.count_writes(writes, written);
            self.client.wrote(written);
        }
        match desk.out.is_empty() {
            true => Ok(()),
            false => self.keep(worker, desk),
        }
    }

    /// Writes what waits; a client that someone else has killed gets what its socket takes at once, and no more.
    pub(super) async fn write_last_replies(&mut self, worker: &Worker) {
        let write = poll_fn(|cx| {
            let progress = self.poll_write_pending(cx, worker);
            let stopping = worker.exec.server.lifecycle() >= Lifecycle::Stopping;
            match self.client.shared.has(Signal::Kill) && !stopping {
                true => Poll::Ready(Ok(())),
                false => progress,
            }
        });
        let _ = tokio::time::timeout(LAST_WRITE_MAX, write).await;
    }
}

/// Writes until the socket takes no more; the number of bytes it took.
fn write_some(stream: &mut Stream, out: &mut ReplyWriter, writes: &mut u64) -> io::Result<u64> {
    let mut total = 0;
    while !out.is_empty() {
        let result = match out.as_contiguous() {
            Some(bytes) => stream.try_write(bytes),
            None => {
                let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(IO_SLICES_MAX);
                out.io_slices(&mut slices, IO_SLICES_MAX);
                stream.try_write_vectored(&slices)
            }
        };
        match result {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                *writes += 1;
                total += written as u64;
                out.advance(written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}
