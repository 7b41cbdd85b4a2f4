//! Who waits for which key (BLPOP and its like).
//!
//! A client that blocks becomes a [`Waiter`], queued under its keys in their shards ([`Waiters`])
//! while the command that found nothing still holds them: what is added afterwards is seen. A writer
//! never wakes a waiter itself: creating a key that somebody waits for, or adding to its stream, is
//! noted in [`Effects`](super::Effects), and `exec` serves the waiters, first come first served, before
//! the writer's locks are released. A wait that ends with its keys (XREADGROUP) is looked at whenever
//! such a key was changed; the expiry cycle, which runs no commands, ends it itself.
//!
//! A waiter is decided once, by whoever sets its outcome first: the one who serves it, or sends it to wait
//! for the end of a pause, its timeout, CLIENT UNBLOCK, or the end of its connection. The lock around the outcome is held while a waiter
//! is being served, so that nothing is taken out of a key for a client that has stopped waiting.
//!
//! Invariants:
//! - a waiter is queued under all of its keys until its connection takes it out, whatever its
//!   outcome; one with an outcome is passed over;
//! - the outcome's lock is taken under shard locks, so its holder takes no shard lock (trying is
//!   fine).
//!
//! To add a blocking command, return `commands::Next::Block` from its handler; nothing here changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use crate::ds::footprint;
use crate::resp::parse::{Argv, Span};
use crate::resp::write::ReplyWriter;
use crate::spec::CmdError;
use crate::sys::sync::{Mutex, MutexGuard};
use crate::util::check::{Checked, holds};
use crate::value::Type;

use super::keyspace::DbIndex;

/// How a wait ended.
#[derive(Debug)]
pub enum Outcome {
    /// The command has run.
    Served {
        /// Its reply.
        reply: ReplyWriter,
        /// The number of its record in the log, 0 for none.
        seq: u64,
        /// How many things had been put into the client's inbox by then: they come before the reply, and others behind
        /// it, as what it has read is older.
        posted: u64,
    },
    /// The time is over, or somebody said CLIENT UNBLOCK id TIMEOUT.
    TimedOut,
    /// CLIENT UNBLOCK id ERROR.
    Unblocked,
    /// A key has gone, and the wait with it.
    Failed(CmdError),
    /// It could have been served, but a pause holds its command back: that is to run again, as if it came
    /// only now.
    Again,
    /// The connection has ended.
    Gone,
}

/// A request that is kept until it can run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Request {
    /// A copy of a request.
    pub fn new(argv: Argv<'_>) -> Request {
        Request::of(argv.iter())
    }

    /// A request of these arguments.
    pub fn of<'a>(args: impl ExactSizeIterator<Item = &'a [u8]> + Clone) -> Request {
        let mut request = Request {
            bytes: Vec::with_capacity(args.clone().map(<[u8]>::len).sum()),
            spans: Vec::with_capacity(args.len()),
        };
        for arg in args {
            request.spans.push(Span {
                start: request.bytes.len() as u32,
                len: arg.len() as u32,
            });
            request.bytes.extend_from_slice(arg);
        }
        request
    }

    /// Bytes of its arguments.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The request.
    pub fn argv(&self) -> Argv<'_> {
        Argv::new(&self.bytes, &self.spans)
    }
}

/// What a client is told when a key that it waits for has gone: the key, and the client's request.
pub type GoneError = fn(&[u8], Argv<'_>) -> CmdError;

/// A key whose waiters may be served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Its database.
    pub db: DbIndex,
    /// Its name.
    pub key: Vec<u8>,
    /// All that is known is that it was changed: only those are served whose wait ends with the key,
    /// if it has gone.
    pub if_gone: bool,
    /// Waiters with lower tickets had their turn.
    pub from: u64,
}

impl Ready {
    /// A key that is there.
    pub fn new(db: DbIndex, key: &[u8]) -> Ready {
        Ready {
            db,
            key: key.to_vec(),
            if_gone: false,
            from: 0,
        }
    }

    /// Whether it is the same key.
    pub fn is_of(&self, other: &Ready) -> bool {
        self.db == other.db && self.key == other.key
    }
}

/// What a waiter waits for, and how its command is run again.
#[derive(Debug)]
pub struct Waiting {
    /// The client that waits.
    pub client_id: u64,
    /// Its database when it blocked.
    pub db: DbIndex,
    /// Number of its command in the command table.
    pub command: u16,
    /// Its request.
    pub request: Request,
    /// It gets RESP3 replies.
    pub is_resp3: bool,
    /// The type that a key must have to end the wait.
    pub type_: Type,
    /// The keys it waits for.
    pub keys: Vec<Vec<u8>>,
    /// A key that its command writes besides (BLMOVE's destination).
    pub destination: Option<Vec<u8>>,
    /// The wait also ends when a key goes or gets another type; all keys have to be seen then. This
    /// is what the client is told of a key that has gone, given the request.
    pub gone: Option<GoneError>,
    /// It keeps copies of what it reads (CLIENT TRACKING).
    pub is_tracked: bool,
    /// When it gives up, Unix ms; `None` for never.
    pub deadline_ms: Option<u64>,
}

impl Waiting {
    /// Memory that it takes, bytes.
    pub fn memory_bytes(&self) -> usize {
        let spans = self.request.spans.len() * size_of::<Span>();
        let keys = self.keys.iter().map(|key| key.len() + size_of::<Vec<u8>>());
        let destination = self.destination.as_ref().map_or(0, Vec::len);
        size_of::<Waiter>() + self.request.bytes() + spans + keys.sum::<usize>() + destination
    }
}

/// A client that waits.
#[derive(Debug)]
pub struct Waiter {
    /// What for.
    pub waiting: Waiting,
    /// Its place in every queue.
    ticket: u64,
    outcome: Mutex<Option<Outcome>>,
    waker: Mutex<Option<Waker>>,
}

/// Every waiter is one of its own.
impl PartialEq for Waiter {
    fn eq(&self, other: &Waiter) -> bool {
        self.ticket == other.ticket
    }
}

impl Eq for Waiter {}

impl Waiter {
    /// A waiter that comes after all others that were made before.
    pub fn new(waiting: Waiting) -> Arc<Waiter> {
        static TICKETS: AtomicU64 = AtomicU64::new(0);
        Arc::new(Waiter {
            waiting,
            ticket: TICKETS.fetch_add(1, Ordering::Relaxed),
            outcome: Mutex::new(None),
            waker: Mutex::new(None),
        })
    }

    /// Keeps everybody from deciding it; `None` if it is decided already.
    pub fn hold(&self) -> Option<Undecided<'_>> {
        let outcome = self.outcome.lock();
        match *outcome {
            Some(_) => None,
            None => Some(Undecided {
                waiter: self,
                outcome,
            }),
        }
    }

    /// Decides it, unless that has happened; true if this did.
    pub fn decide(&self, outcome: Outcome) -> bool {
        match self.hold() {
            Some(undecided) => {
                undecided.decide(outcome);
                true
            }
            None => false,
        }
    }

    /// Whether it is decided, or about to be.
    pub fn is_decided(&self) -> bool {
        self.outcome
            .try_lock()
            .is_none_or(|outcome| outcome.is_some())
    }

    /// Takes the outcome; `None` while it is undecided, and when it has been taken.
    pub fn take_outcome(&self) -> Option<Outcome> {
        let mut outcome = self.outcome.lock();
        match &mut *outcome {
            None | Some(Outcome::Gone) => None,
            decided => decided.replace(Outcome::Gone),
        }
    }

    /// The task that is woken when it is decided. To be set before the outcome is looked at.
    pub fn set_waker(&self, waker: &Waker) {
        let mut slot = self.waker.lock();
        if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }
}

/// A waiter that only its holder can decide.
pub struct Undecided<'a> {
    waiter: &'a Waiter,
    outcome: MutexGuard<'a, Option<Outcome>>,
}

impl Undecided<'_> {
    /// Decides it, and wakes whoever waits.
    pub fn decide(mut self, outcome: Outcome) {
        *self.outcome = Some(outcome);
        drop(self.outcome);
        if let Some(waker) = &*self.waiter.waker.lock() {
            waker.wake_by_ref();
        }
    }
}

/// The waiters of one shard, by key.
#[derive(Default)]
pub struct Waiters {
    queues: HashMap<(DbIndex, Vec<u8>), BTreeMap<u64, Arc<Waiter>>>,
    /// How many places in queues are of waiters that end with their keys.
    ending_with_key: usize,
}

impl Waiters {
    /// True when nobody waits for a key of this shard: what writers ask first.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// True when somebody waits for the key.
    pub fn waits(&self, db: DbIndex, key: &[u8]) -> bool {
        // Nobody but waiters pays for the copy.
        self.queues.contains_key(&(db, key.to_vec()))
    }

    /// True when nobody of this shard waits in a way that ends when the key goes: what is asked
    /// whenever a key changes.
    #[inline]
    pub fn none_ends_with_key(&self) -> bool {
        self.ending_with_key == 0
    }

    /// Queues a waiter under a key.
    pub fn add(&mut self, key: &[u8], waiter: &Arc<Waiter>) {
        let queue = self.queues.entry((waiter.waiting.db, key.to_vec()));
        let old = queue.or_default().insert(waiter.ticket, waiter.clone());
        self.ending_with_key += (waiter.waiting.gone.is_some() && old.is_none()) as usize;
    }

    /// Takes a waiter out of a key's queue.
    pub fn remove(&mut self, key: &[u8], waiter: &Waiter) {
        let place = (waiter.waiting.db, key.to_vec());
        if let Some(queue) = self.queues.get_mut(&place) {
            let found = queue.remove(&waiter.ticket).is_some();
            self.ending_with_key -= (waiter.waiting.gone.is_some() && found) as usize;
            if queue.is_empty() {
                self.queues.remove(&place);
            }
        }
    }

    /// The first waiter of a key whose ticket is not below `from`, with its own.
    pub fn next(&self, db: DbIndex, key: &[u8], from: u64) -> Option<(u64, Arc<Waiter>)> {
        let queue = self.queues.get(&(db, key.to_vec()))?;
        let (ticket, waiter) = queue.range(from..).next()?;
        Some((*ticket, waiter.clone()))
    }

    /// A key has gone by itself: ends the waits that end with it.
    pub fn end_with_key(&self, db: DbIndex, key: &[u8]) {
        if self.none_ends_with_key() {
            return;
        }
        let queue = self.queues.get(&(db, key.to_vec()));
        for waiter in queue.into_iter().flat_map(BTreeMap::values) {
            if let Some(gone) = waiter.waiting.gone {
                let error = gone(key, waiter.waiting.request.argv());
                waiter.decide(Outcome::Failed(error));
            }
        }
    }

    /// Memory of the queues, bytes; the waiters themselves are counted with their clients.
    pub(super) fn memory_bytes(&self) -> usize {
        let place = size_of::<((DbIndex, Vec<u8>), BTreeMap<u64, Arc<Waiter>>)>();
        let waiter = size_of::<(u64, Arc<Waiter>)>();
        let queues = self.queues.iter().map(|((_, key), queue)| {
            footprint::block_bytes(key.capacity()) + footprint::btree_bytes(queue.len(), waiter)
        });
        footprint::hash_table_bytes(self.queues.capacity(), place) + queues.sum::<usize>()
    }

    /// Whether waiters stand under keys that they wait for, and are counted.
    pub(super) fn check(&self) -> Checked {
        let mut ending_with_key = 0;
        for ((db, key), queue) in &self.queues {
            let shown = || format!("{} of database {}", key.escape_ascii(), db.0);
            holds!(!queue.is_empty(), "nobody waits for {}", shown());
            for (ticket, waiter) in queue {
                let waiting = &waiter.waiting;
                holds!(
                    waiter.ticket == *ticket && waiting.db == *db && waiting.keys.contains(key),
                    "client {} does not wait for {}",
                    waiting.client_id,
                    shown()
                );
                ending_with_key += usize::from(waiting.gone.is_some());
            }
        }
        let said = self.ending_with_key;
        holds!(
            said == ending_with_key,
            "{said} waits end with their keys, in truth {ending_with_key}"
        );
        Ok(())
    }

    /// Calls `visit` with every waiter, once for each key that it is queued under.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&[u8], &Arc<Waiter>)) {
        for ((_, key), queue) in &self.queues {
            queue.values().for_each(|waiter| visit(key, waiter));
        }
    }

    /// The number of keys that somebody waits for.
    pub fn keys(&self) -> usize {
        self.queues.len()
    }

    /// The number of keys with somebody whose wait ends when they go.
    pub fn keys_to_go(&self) -> usize {
        let ends = |waiter: &Arc<Waiter>| waiter.waiting.gone.is_some();
        match self.none_ends_with_key() {
            true => 0,
            false => self
                .queues
                .values()
                .filter(|queue| queue.values().any(ends))
                .count(),
        }
    }

    /// All keys of a database that somebody waits for.
    pub fn keys_of(&self, db: DbIndex) -> impl Iterator<Item = &[u8]> {
        let keys = self.queues.keys().filter(move |(of, _)| *of == db);
        keys.map(|(_, key)| &key[..])
    }
}

#[cfg(all(test, feature = "model"))]
mod model;
#[cfg(test)]
mod tests {
    use super::*;

    /// One that waits for a list, for ever.
    pub(super) fn waiter(key: &str) -> Arc<Waiter> {
        Waiter::new(Waiting {
            client_id: 1,
            db: DbIndex(0),
            command: 0,
            request: Request::new(Argv::new(b"", &[])),
            is_resp3: false,
            type_: Type::List,
            keys: vec![key.into()],
            destination: None,
            gone: None,
            is_tracked: false,
            deadline_ms: None,
        })
    }

    #[test]
    fn first_come_first_served() {
        let mut waiters = Waiters::default();
        let (a, b) = (waiter("k"), waiter("k"));
        waiters.add(b"k", &b);
        waiters.add(b"k", &a);
        assert!(waiters.waits(DbIndex(0), b"k") && !waiters.waits(DbIndex(1), b"k"));
        let (ticket, first) = waiters.next(DbIndex(0), b"k", 0).unwrap();
        assert!(Arc::ptr_eq(&first, &a));
        let (ticket, second) = waiters.next(DbIndex(0), b"k", ticket + 1).unwrap();
        assert!(Arc::ptr_eq(&second, &b));
        assert!(waiters.next(DbIndex(0), b"k", ticket + 1).is_none());
        waiters.remove(b"k", &a);
        waiters.remove(b"k", &b);
        assert!(waiters.is_empty());
    }

    #[test]
    fn a_waiter_is_decided_once() {
        let waiter = waiter("k");
        assert!(waiter.take_outcome().is_none());
        assert!(waiter.decide(Outcome::TimedOut));
        assert!(!waiter.decide(Outcome::Unblocked));
        assert!(waiter.hold().is_none());
        assert!(matches!(waiter.take_outcome(), Some(Outcome::TimedOut)));
        assert!(waiter.take_outcome().is_none());
    }
}
