//! What others have for a client beside its replies: messages of channels, invalidated keys, what
//! MONITOR shows.
//!
//! Whoever has something puts it into the client's inbox ([`Registry::post`]) and goes on: nobody
//! ever waits for a reader. The connection takes it out between two commands ([`Shared::deliver`]),
//! so a push stands before a reply or behind it, never within, and a client that acts and is told of
//! it gets the reply first, as in Redis. A blocked client gets its reply behind what was there when it
//! was served ([`Shared::posted`]), and in front of all else. A client whose inbox and unsent replies exceed its hard
//! limit (`client-output-buffer-limit`) is cut off by whoever posts.
//!
//! How the connections learn of it: [`bell`](super::bell).
//!
//! Invariant: [`Signal::Inbox`] is raised while the inbox has something in it (or was emptied just
//! now): it is lowered before the inbox is looked into.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::resp::write::ReplyWriter;

use super::bell::Posts;
use super::{ClientId, Registry, Shared, Signal};

/// Memory that an item of an inbox takes besides its bytes, bytes.
const ITEM_BYTES: usize = size_of::<Push>() + 2 * size_of::<usize>();

/// From how much in an inbox on the connection that takes it out is slower than those who put it in,
/// bytes.
const CROWDED_BYTES: usize = 256 << 10;
/// Most items that an empty inbox keeps room for.
const KEEP_PUSHES_MAX: usize = 16;

/// Something for a client that it did not ask for just now. The bytes are shared by all who get it.
#[derive(Clone, Debug)]
pub enum Push {
    /// A message: a whole array in RESP without its first byte (`3\r\n$7\r\nmessage\r\n...`), which
    /// is `>` for RESP3 and `*` for RESP2.
    Message {
        /// All of it, or what comes before `text`.
        head: Arc<Vec<u8>>,
        /// The last element, when it is so large that it stands on its own: not encoded.
        text: Option<Arc<Vec<u8>>>,
    },
    /// Keys that are no longer what was read: an array of them in RESP (`*1\r\n$1\r\nk\r\n`), or a
    /// null for all.
    Invalidate(Invalidate),
    /// The client that was to be told of keys instead of this one has gone.
    RedirectBroken(ClientId),
    /// Whole RESP, the same in both versions (MONITOR).
    Raw(Arc<Vec<u8>>),
}

/// See [`Push::Invalidate`].
#[derive(Clone, Debug)]
pub struct Invalidate {
    /// The keys, encoded; `None` for all keys (FLUSHALL).
    pub keys: Option<Arc<Vec<u8>>>,
    /// They are another client's (CLIENT TRACKING REDIRECT): one that knows RESP2 only gets them as
    /// a message of a channel.
    pub is_redirected: bool,
}

impl Push {
    /// Memory that it keeps, bytes.
    fn bytes(&self) -> usize {
        let bytes = match self {
            Push::Message { head, text } => head.len() + text.as_ref().map_or(0, |text| text.len()),
            Push::Raw(bytes) => bytes.len(),
            Push::Invalidate(Invalidate { keys, .. }) => keys.as_ref().map_or(0, |keys| keys.len()),
            Push::RedirectBroken(_) => 0,
        };
        bytes + ITEM_BYTES
    }

    fn write_to(self, out: &mut ReplyWriter, is_subscriber: bool) {
        match self {
            Push::Message { head, text } => {
                out.raw(if out.is_resp3() { b">" } else { b"*" });
                out.raw_shared(head);
                if let Some(text) = text {
                    out.bulk_shared(text);
                }
            }
            Push::Raw(bytes) => out.raw_shared(bytes),
            Push::RedirectBroken(id) => {
                if out.is_resp3() {
                    out.push(2);
                    out.bulk(b"tracking-redir-broken");
                    out.integer(id as i64);
                }
            }
            Push::Invalidate(Invalidate {
                keys,
                is_redirected,
            }) => {
                if out.is_resp3() {
                    out.push(2);
                    out.bulk(b"invalidate");
                } else if is_redirected && is_subscriber {
                    out.push(3);
                    out.bulk(b"message");
                    out.bulk(b"__redis__:invalidate");
                } else {
                    // It has no way to take it, as in Redis.
                    return;
                }
                match keys {
                    Some(keys) => out.raw_shared(keys),
                    None => out.null(),
                }
            }
        }
    }
}

/// What waits for one client.
#[derive(Default, Debug)]
pub(super) struct Inbox {
    pushes: VecDeque<Push>,
    bytes: usize,
    /// How many were taken out.
    taken: u64,
    /// Nobody takes anything out any more.
    is_closed: bool,
}

/// Classes of clients as `client-output-buffer-limit` knows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum OutputClass {
    /// Ordinary ones, those that watch with MONITOR among them.
    Normal = 0,
    /// Replicas.
    Replica = 1,
    /// Those that have subscribed to anything.
    PubSub = 2,
}

/// The hard limits of `client-output-buffer-limit` by [`OutputClass`], bytes; 0: none.
#[derive(Default, Debug)]
pub struct OutputLimits([AtomicU64; 3]);

impl OutputLimits {
    /// Sets a class's limit.
    pub fn set(&self, class: OutputClass, hard_bytes: u64) {
        self.0[class as usize].store(hard_bytes, Ordering::Relaxed);
    }

    /// A class's limit; 0: none.
    pub fn get(&self, class: OutputClass) -> u64 {
        self.0[class as usize].load(Ordering::Relaxed)
    }
}

impl Registry {
    /// Gives a client something. If it has too much already, it is cut off instead.
    pub fn post(&self, client: &Arc<Shared>, push: Push) {
        self.post_all(std::slice::from_ref(client), &push);
    }

    /// Gives the same to several clients; how many these are. Those that have too much already are
    /// cut off instead, and counted all the same, as in Redis.
    pub fn post_all(&self, clients: &[Arc<Shared>], push: &Push) -> usize {
        if let [client] = clients {
            return self.post_one(client, push) as usize;
        }
        let mut posts = Posts::default();
        for client in clients {
            if self.put(client, push) {
                posts.add(client, client.set(Signal::Inbox));
            }
        }
        posts.ring(self);
        clients.len()
    }

    /// Puts it into the inbox; false if there is nothing to deliver.
    fn post_one(&self, client: &Arc<Shared>, push: &Push) -> bool {
        if !self.put(client, push) {
            return false;
        }
        let is_news = client.set(Signal::Inbox);
        match self.bell(client.worker.load(Ordering::Relaxed)) {
            Some(bell) => bell.ring(is_news.then(|| client.clone()), 1),
            None => client.wake(),
        }
        true
    }

    fn put(&self, client: &Shared, push: &Push) -> bool {
        // As in Redis: CLIENT REPLY concerns what MONITOR shows, but no message.
        if matches!(push, Push::Raw(_)) && client.is_silent.load(Ordering::Relaxed) {
            return false;
        }
        let mut inbox = client.inbox.lock();
        if inbox.is_closed || client.has(Signal::Kill) {
            return false;
        }
        inbox.bytes += push.bytes();
        inbox.pushes.push_back(push.clone());
        client.inbox_bytes.store(inbox.bytes, Ordering::Relaxed);
        let hard_bytes = self.output_limits.get(client.output_class());
        if hard_bytes == 0 || client.waiting_bytes() <= hard_bytes {
            if inbox.bytes > CROWDED_BYTES {
                CROWDED.set(client.id);
            }
            drop(inbox);
            self.account(client);
            return true;
        }
        *inbox = Inbox::default();
        client.inbox_bytes.store(0, Ordering::Relaxed);
        drop(inbox);
        self.cut_off(client);
        false
    }

    /// Ends a client that lets too much wait.
    #[cold]
    pub fn cut_off(&self, client: &Shared) {
        self.output_disconnections.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            "Client id={} addr={} closed for overcoming of output buffer limits.",
            client.id,
            client.endpoint.addr
        );
        client.raise(Signal::Kill);
    }
}

thread_local! {
    /// Whose inbox this thread has found crowded, 0 for nobody's.
    static CROWDED: Cell<ClientId> = const { Cell::new(0) };
}

/// Whose inbox this thread has found crowded since it asked last.
#[inline]
pub fn take_crowded() -> Option<ClientId> {
    match CROWDED.replace(0) {
        0 => None,
        id => Some(id),
    }
}

impl Shared {
    /// True while there is so much in its inbox that whoever puts it there should wait a moment.
    pub fn is_crowded(&self) -> bool {
        self.has(Signal::Inbox) && self.inbox_bytes.load(Ordering::Relaxed) > CROWDED_BYTES
    }

    /// Forgets what the inbox holds and takes nothing more: its client has had its last reply. Else
    /// those who post would wait for a connection that does not look into it any more.
    pub fn close_inbox(&self) {
        let mut inbox = self.inbox.lock();
        *inbox = Inbox {
            is_closed: true,
            ..Inbox::default()
        };
        self.inbox_bytes.store(0, Ordering::Relaxed);
    }

    /// How many things were put into the inbox so far.
    pub fn posted(&self) -> u64 {
        let inbox = self.inbox.lock();
        inbox.taken + inbox.pushes.len() as u64
    }

    /// Writes what the inbox holds. To be called by the connection, between two replies.
    pub fn deliver(&self, out: &mut ReplyWriter) {
        self.deliver_until(u64::MAX, out);
    }

    /// The same up to what was put into it when this many things had been ([`Shared::posted`]). While something is
    /// left, its signal is raised; but nobody wakes the connection to it.
    pub fn deliver_until(&self, until: u64, out: &mut ReplyWriter) {
        if self.has(Signal::Inbox) {
            self.empty_inbox(until, out);
        }
    }

    #[cold]
    fn empty_inbox(&self, until: u64, out: &mut ReplyWriter) {
        self.lower(Signal::Inbox);
        let is_subscriber = self.is_subscriber();
        let mut inbox = self.inbox.lock();
        let due = usize::try_from(until.saturating_sub(inbox.taken)).unwrap_or(usize::MAX);
        let due = due.min(inbox.pushes.len());
        for push in inbox.pushes.drain(..due) {
            push.write_to(out, is_subscriber);
        }
        inbox.taken += due as u64;
        inbox.bytes = inbox.pushes.iter().map(Push::bytes).sum();
        self.inbox_bytes.store(inbox.bytes, Ordering::Relaxed);
        if !inbox.pushes.is_empty() {
            self.set(Signal::Inbox);
        } else if inbox.pushes.capacity() > KEEP_PUSHES_MAX {
            inbox.pushes = VecDeque::new();
        }
    }
}
