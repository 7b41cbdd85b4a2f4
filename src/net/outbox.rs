//! Short replies of a worker's turn, sent together.
//!
//! A worker that many clients keep busy finds several of them ready at a time. To send each one's replies before the
//! next one's requests are run wakes whoever waits for them again and again, and has the code of commands and
//! that of the network drive each other out of the processor's caches; sending costs more than half of what a
//! short batch costs. So short replies are kept for the moment, up to those of [`REPLIES_MAX`] batches or
//! [`KEPT_NS_MAX`], or until nothing else is ready: a task that is woken with the first of them stands behind all
//! that was ready then. With 50 clients and a pipeline of 16 that costs the server a seventh less.
//!
//! A [`Line`] is a connection's socket, and what the socket did not take. It stays open until what is kept for
//! it is sent, so nothing can reach a later connection.
//!
//! Invariant: whoever writes to a line in any other way calls [`Outbox::send`] before.

use std::cell::{Cell, RefCell, RefMut};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::client::{Shared, Signal};
use crate::sys::tsc;

use super::stream::Stream;

/// Most batches whose replies are kept. With more the clients wait for the worker while it could serve them, and
/// then it waits for them.
const REPLIES_MAX: usize = 16;
/// Longest replies that are kept, bytes.
pub const REPLY_BYTES_MAX: usize = 4096;
/// How long they are kept at most, behind which the next batch sends them, nanoseconds.
const KEPT_NS_MAX: u64 = 300_000;

/// A connection's socket.
pub struct Line {
    stream: RefCell<Stream>,
    /// What was to be sent and was not taken.
    unsent: RefCell<Vec<u8>>,
    has_unsent: Cell<bool>,
    /// Whose it is.
    shared: Arc<Shared>,
}

impl Line {
    /// What one takes, bytes: with the counts of its owners.
    pub const BYTES: usize = size_of::<Line>() + 2 * size_of::<usize>();

    /// The line of a client.
    pub fn new(stream: Stream, shared: Arc<Shared>) -> Rc<Line> {
        Rc::new(Line {
            stream: RefCell::new(stream),
            unsent: RefCell::default(),
            has_unsent: Cell::new(false),
            shared,
        })
    }

    /// The socket; never across an await.
    #[inline]
    pub fn stream(&self) -> RefMut<'_, Stream> {
        self.stream.borrow_mut()
    }

    /// The socket, from the line's last owner.
    pub fn into_stream(self: Rc<Line>) -> Option<Stream> {
        Some(Rc::into_inner(self)?.stream.into_inner())
    }

    /// Whether something was not taken.
    #[inline]
    pub fn has_unsent(&self) -> bool {
        self.has_unsent.get()
    }

    /// Takes what was not taken.
    pub fn take_unsent(&self) -> Vec<u8> {
        self.has_unsent.set(false);
        self.unsent.take()
    }

    /// Sends what the socket takes; the rest waits for the connection, which is told.
    fn send(&self, bytes: &[u8], sent: &mut Sent) {
        let mut rest = bytes;
        let mut stream = self.stream();
        while !rest.is_empty() && !self.has_unsent() {
            match stream.try_write(rest) {
                Ok(written) if written > 0 => {
                    rest = &rest[written..];
                    sent.writes += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                _ => return self.shared.raise(Signal::Kill),
            }
        }
        let written = (bytes.len() - rest.len()) as u64;
        sent.bytes += written;
        self.shared.wrote(written);
        if !rest.is_empty() {
            self.unsent.borrow_mut().extend_from_slice(rest);
            self.has_unsent.set(true);
            self.shared.wake();
        }
    }
}

/// What has been sent.
#[derive(Clone, Copy, Default)]
pub struct Sent {
    /// Calls of the system that sent something.
    pub writes: u64,
    /// Bytes.
    pub bytes: u64,
}

/// See the module's text.
#[derive(Default)]
pub struct Outbox {
    kept: RefCell<Kept>,
    /// The task that sends what is kept.
    task: RefCell<Option<Waker>>,
}

#[derive(Default)]
struct Kept {
    /// Whose they are, and how many bytes each.
    replies: Vec<(Rc<Line>, usize)>,
    bytes: Vec<u8>,
    /// The moment of the first one, in ticks.
    since_tick: u64,
}

impl Outbox {
    /// Keeps replies at this moment, in ticks; whether all that is kept should be sent now.
    #[must_use]
    pub fn keep(&self, line: &Rc<Line>, replies: &[u8], tick: u64) -> bool {
        let mut kept = self.kept.borrow_mut();
        kept.replies.push((line.clone(), replies.len()));
        kept.bytes.extend_from_slice(replies);
        if kept.replies.len() == 1 {
            kept.since_tick = tick;
            if let Some(task) = &*self.task.borrow() {
                task.wake_by_ref();
            }
        }
        let kept_ns = tsc::ticks_to_ns(tick.saturating_sub(kept.since_tick));
        kept.replies.len() >= REPLIES_MAX || kept_ns > KEPT_NS_MAX
    }

    /// Sends what is kept.
    pub fn send(&self) -> Sent {
        let mut kept = self.kept.borrow_mut();
        let mut sent = Sent::default();
        let Kept { replies, bytes, .. } = &mut *kept;
        let mut rest = &bytes[..];
        for (line, len) in replies.drain(..) {
            let (reply, more) = rest.split_at(len);
            line.send(reply, &mut sent);
            rest = more;
        }
        bytes.clear();
        sent
    }

    /// Whether nothing is kept.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.kept.borrow().replies.is_empty()
    }

    /// The task; it never ends by itself. `send` sends what is kept.
    pub async fn run(&self, send: impl Fn()) {
        poll_fn::<(), _>(|cx| {
            send();
            let mut task = self.task.borrow_mut();
            if task.is_none() {
                *task = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::client::{Endpoint, Registry};
    use crate::net::stream::Socket;

    /// A client's line, its other end, and what others see of it.
    async fn line() -> (Rc<Line>, UnixStream, Arc<Shared>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let endpoint = Endpoint {
            addr: String::new(),
            laddr: String::new(),
            local: true,
            unix: true,
        };
        let shared = Registry::default().connect(endpoint, 0, 0);
        let stream = Stream::new(Socket::Unix(ours)).unwrap();
        // The runtime knows it by now.
        poll_fn(|cx| stream.poll_write_ready(cx)).await.unwrap();
        (Line::new(stream, shared.clone()), theirs, shared)
    }

    fn come(peer: &mut UnixStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let end = peer.read_to_end(&mut bytes).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::WouldBlock);
        bytes
    }

    #[tokio::test]
    async fn replies_are_kept_until_there_are_many_or_one_is_old() {
        let (line, mut peer, shared) = line().await;
        let outbox = Outbox::default();
        for n in 1..REPLIES_MAX {
            assert!(!outbox.keep(&line, b"ab", 7), "{n}");
        }
        assert!(come(&mut peer).is_empty());
        assert!(outbox.keep(&line, b"c", 7));
        let sent = outbox.send();
        let all = [b"ab".repeat(REPLIES_MAX - 1), b"c".to_vec()].concat();
        assert_eq!(come(&mut peer), all);
        let counted = shared
            .net_out_bytes
            .load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!((sent.bytes, counted), (all.len() as u64, sent.bytes));
        assert_eq!(sent.writes, REPLIES_MAX as u64);
        assert!(outbox.is_empty() && !line.has_unsent());
        let young = tsc::ns_to_ticks(KEPT_NS_MAX / 2);
        assert!(!outbox.keep(&line, b"d", 7));
        assert!(!outbox.keep(&line, b"e", 7 + young));
        assert!(outbox.keep(&line, b"f", 7 + 3 * young));
    }

    #[tokio::test]
    async fn what_a_socket_does_not_take_waits_in_order() {
        let (line, mut peer, shared) = line().await;
        let outbox = Outbox::default();
        let mut all = Vec::new();
        let mut more = 0..;
        while !line.has_unsent() {
            let reply = format!("{:04000}", more.next().unwrap());
            let _ = outbox.keep(&line, reply.as_bytes(), 0);
            all.extend(reply.into_bytes());
            outbox.send();
        }
        let mut got = come(&mut peer);
        // There is room again, but something stands before it.
        let _ = outbox.keep(&line, b"last", 0);
        all.extend(b"last");
        assert_eq!(outbox.send().bytes, 0);
        assert!(come(&mut peer).is_empty());
        got.extend(line.take_unsent());
        assert!(got == all);
        assert!(!line.has_unsent() && !shared.has(Signal::Kill));
    }

    #[tokio::test]
    async fn who_has_gone_is_closed_and_others_get_theirs() {
        let (gone, peer, shared) = line().await;
        let (other, mut others_peer, _) = line().await;
        drop(peer);
        let outbox = Outbox::default();
        let _ = outbox.keep(&gone, b"a", 0);
        let _ = outbox.keep(&other, b"b", 0);
        outbox.send();
        assert!(shared.has(Signal::Kill));
        assert_eq!(come(&mut others_peer), b"b");
    }

    #[test]
    fn what_is_kept_is_sent_when_nothing_else_is_ready() {
        let local = tokio::task::LocalSet::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        local.block_on(&runtime, async {
            let (line, mut peer, _) = line().await;
            let outbox = Rc::new(Outbox::default());
            let sending = outbox.clone();
            let task = tokio::task::spawn_local(async move {
                sending
                    .run(|| {
                        sending.send();
                    })
                    .await;
            });
            for round in 0..3 {
                tokio::task::yield_now().await;
                let _ = outbox.keep(&line, b"a", round);
                assert!(come(&mut peer).is_empty());
                // The task is woken by now, and has its turn.
                while !outbox.is_empty() {
                    tokio::task::yield_now().await;
                }
                assert_eq!(come(&mut peer), b"a");
            }
            task.abort();
        });
    }
}
