//! What hyper needs of a socket and of a clock.
//!
//! A peer that takes nothing of a response for [`STALLED_MAX`] is given up.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{self, ReadBufCursor};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long a response may wait for its peer to take something of it.
const STALLED_MAX: Duration = Duration::from_secs(10);
/// Bytes read at a time.
const CHUNK_BYTES: usize = 4096;

/// A socket of which something was read already.
pub(super) struct Io {
    stream: TcpStream,
    /// What was read, and is to be read again.
    begun: Vec<u8>,
    /// Until when the peer has to take something.
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Io {
    /// `begun` comes before what the socket holds.
    pub(super) fn new(stream: TcpStream, begun: Vec<u8>) -> Io {
        Io {
            stream,
            begun,
            deadline: None,
        }
    }

    /// Passes a write's progress on, but not for ever without any.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.deadline = None;
            return progress;
        }
        let sleep = || Box::pin(tokio::time::sleep(STALLED_MAX));
        let deadline = self.deadline.get_or_insert_with(sleep);
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl rt::Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buf.remaining();
        if !this.begun.is_empty() {
            let taken = this.begun.len().min(room);
            buf.put_slice(&this.begun[..taken]);
            this.begun.drain(..taken);
            return Poll::Ready(Ok(()));
        }
        let mut chunk = [0; CHUNK_BYTES];
        let mut read = ReadBuf::new(&mut chunk[..room.min(CHUNK_BYTES)]);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl rt::Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch(cx, progress)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let progress = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch(cx, progress)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Tokio's clock.
pub(super) struct Timer;

struct Sleep(Pin<Box<tokio::time::Sleep>>);

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep(Box::pin(tokio::time::sleep(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        let sleep = tokio::time::sleep_until(deadline.into());
        Box::pin(Sleep(Box::pin(sleep)))
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl rt::Sleep for Sleep {}
