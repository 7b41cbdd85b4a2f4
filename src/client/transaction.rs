//! A client's transaction: what it has queued since MULTI, and which keys it watches.
//!
//! Requests are kept as they came, one behind the other in one buffer, with what was found out when
//! they were queued: the command, the hashes of its keys, what all of them together need. EXEC then
//! looks nothing up and hashes nothing. Buffers of short queues are used again.
//!
//! Whoever touches a watched key raises the client's [`WatchFlag`] (`db::listen`); by then EXEC can
//! only fail, so nothing is queued any more, and what was is dropped, as after an error while
//! queuing.
//!
//! Invariant: a key is in [`Transaction`]'s list of watched keys as long as its shard may know the
//! flag. So who ends a connection ends its transaction, too ([`Client::end_transaction`]). Where a
//! shard cannot be had, since a script has the keyspace for itself, the client takes a new flag, and
//! the old one is taken out of the shard some time later.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::db::{Access, DbIndex, Lookup, WATCHED_KEY_BYTES, WatchFlag};
use crate::resp::parse::{Argv, Span};
use crate::spec::Flags;

use super::Client;

/// Buffers that a thread keeps for the next transactions.
const SPARE_QUEUES: usize = 16;
/// Memory that such a buffer may have, bytes.
const SPARE_BYTES_MAX: usize = 16 << 10;

/// What everyone may see of a client's transaction.
#[derive(Default, Debug)]
pub struct Figures {
    /// MULTI was said.
    is_open: AtomicBool,
    queued: AtomicU32,
    queue_bytes: AtomicUsize,
    watched: AtomicU32,
    watched_bytes: AtomicUsize,
    flag: Mutex<Arc<WatchFlag>>,
}

impl Figures {
    /// Between MULTI and its end.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// A watched key was touched: EXEC will do nothing.
    pub fn is_stale(&self) -> bool {
        self.flag.lock().is_raised()
    }

    /// Commands that wait for EXEC.
    pub fn queued(&self) -> u32 {
        // As in Redis, the touch itself empties the queue.
        match self.is_stale() {
            true => 0,
            false => self.queued.load(Ordering::Relaxed),
        }
    }

    /// Keys that are watched.
    pub fn watched(&self) -> u32 {
        match self.flag.lock().is_forgotten() {
            true => 0,
            false => self.watched.load(Ordering::Relaxed),
        }
    }

    /// Memory of the queue, bytes.
    pub fn queue_bytes(&self) -> usize {
        self.queue_bytes.load(Ordering::Relaxed)
    }

    /// Memory of all of it, bytes.
    pub fn memory_bytes(&self) -> usize {
        let own = size_of::<Figures>() + size_of::<Transaction>() + size_of::<WatchFlag>();
        own + self.queue_bytes() + self.watched_bytes.load(Ordering::Relaxed)
    }
}

/// What a command needs that is to be queued.
pub struct Need {
    /// Number of the command in the command table.
    pub command: u16,
    /// Flags of its row.
    pub flags: Flags,
    /// Hash of the key that it names at a fixed place.
    pub first_hash: Option<u64>,
    /// Hashes of all its keys.
    pub hashes: SmallVec<[u64; 4]>,
    /// It may touch any shard.
    pub whole: bool,
}

/// A command that waits for EXEC.
#[derive(Clone, Copy, Debug)]
pub struct Queued<'q> {
    /// Number of the command in the command table.
    pub command: u16,
    /// The request.
    argv: (&'q [u8], &'q [Span]),
    /// Hash of the key that it names at a fixed place.
    pub first_hash: Option<u64>,
}

impl<'q> Queued<'q> {
    /// The request.
    pub fn argv(&self) -> Argv<'q> {
        Argv::new(self.argv.0, self.argv.1)
    }
}

/// Where a command of a [`Queue`] ends, and what is known of it.
#[derive(Clone, Copy, Debug)]
struct Place {
    command: u16,
    bytes_end: usize,
    spans_end: usize,
    first_hash: Option<u64>,
}

/// The commands since MULTI.
#[derive(Default, Debug)]
pub struct Queue {
    bytes: Vec<u8>,
    /// Positions count from the beginning of their request.
    spans: Vec<Span>,
    places: Vec<Place>,
    hashes: Vec<u64>,
    /// Flags that any of them has, and those of [`SERVED`] that one of them lacks.
    any: Flags,
    lacking: Flags,
    needs_whole: bool,
}

/// Flags that let a command be served in times when others are not.
const SERVED: Flags = Flags::LOADING.and(Flags::STALE);
/// Flags that concern the whole transaction if any of its commands has them.
const COUNTED: Flags = Flags::WRITE.and(Flags::MAY_REPLICATE).and(Flags::DENYOOM);

thread_local! {
    static SPARE: RefCell<Vec<Queue>> = const { RefCell::new(Vec::new()) };
}

impl Queue {
    fn spare() -> Queue {
        SPARE.with_borrow_mut(|spare| spare.pop().unwrap_or_default())
    }

    /// Its memory is used again.
    pub fn give_back(mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.places.clear();
        self.hashes.clear();
        let has_room = self.places.capacity() > 0;
        if has_room && self.memory_bytes() <= SPARE_BYTES_MAX {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_QUEUES {
                    let (any, lacking, needs_whole) = Default::default();
                    spare.push(Queue {
                        any,
                        lacking,
                        needs_whole,
                        ..self
                    });
                }
            });
        }
    }

    fn push(&mut self, argv: Argv<'_>, need: &Need) {
        let start = self.bytes.len();
        for arg in argv.iter() {
            let at = (self.bytes.len() - start) as u32;
            let len = arg.len() as u32;
            self.spans.push(Span { start: at, len });
            self.bytes.extend_from_slice(arg);
        }
        self.places.push(Place {
            command: need.command,
            bytes_end: self.bytes.len(),
            spans_end: self.spans.len(),
            first_hash: need.first_hash,
        });
        self.hashes.extend_from_slice(&need.hashes);
        self.any = self.any | need.flags;
        self.lacking = self.lacking | SERVED.without(need.flags);
        self.needs_whole |= need.whole;
    }

    /// Number of commands.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The commands in order.
    pub fn iter(&self) -> impl Iterator<Item = Queued<'_>> {
        let (mut bytes_start, mut spans_start) = (0, 0);
        self.places.iter().map(move |place| {
            let bytes = &self.bytes[bytes_start..place.bytes_end];
            let spans = &self.spans[spans_start..place.spans_end];
            (bytes_start, spans_start) = (place.bytes_end, place.spans_end);
            Queued {
                command: place.command,
                argv: (bytes, spans),
                first_hash: place.first_hash,
            }
        })
    }

    /// Hashes of the keys of all commands.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Whether a command may touch any shard.
    pub fn needs_whole(&self) -> bool {
        self.needs_whole
    }

    /// Whether any command has one of these flags.
    pub fn has_any(&self, flags: Flags) -> bool {
        self.any.any(flags)
    }

    /// Bytes that its commands take, with what is known of them.
    fn used_bytes(&self) -> usize {
        self.bytes.len()
            + self.spans.len() * size_of::<Span>()
            + self.places.len() * size_of::<Place>()
            + self.hashes.len() * size_of::<u64>()
    }

    /// Bytes that it takes in memory.
    fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
            + self.spans.capacity() * size_of::<Span>()
            + self.places.capacity() * size_of::<Place>()
            + self.hashes.capacity() * size_of::<u64>()
    }
}

/// A key that the client watches.
#[derive(Debug)]
struct Watched {
    db: DbIndex,
    /// By the time of WATCH it had expired, and was left alone.
    had_expired: bool,
    key: Box<[u8]>,
}

impl Watched {
    /// Takes the flag out of the key's shard; false if that cannot be had.
    fn forget(&self, flag: &Arc<WatchFlag>, db: &mut Access<'_>) -> bool {
        db.select(self.db);
        let forgotten = db.with_key_if_free(&self.key, |db| db.unwatch(&self.key, flag));
        forgotten.is_some()
    }
}

/// See the module's text. Made when the client first says MULTI or WATCH.
#[derive(Debug)]
pub struct Transaction {
    is_open: bool,
    /// Something could not be queued: EXEC will refuse.
    is_refused: bool,
    queue: Queue,
    watched: Vec<Watched>,
    flag: Arc<WatchFlag>,
    /// What is not watched any more, but some shards do not know yet.
    left_behind: Vec<(Arc<WatchFlag>, Vec<Watched>)>,
    figures: Arc<Figures>,
}

impl Default for Transaction {
    fn default() -> Transaction {
        let flag = Arc::<WatchFlag>::default();
        let figures = Figures {
            flag: Mutex::new(flag.clone()),
            ..Figures::default()
        };
        Transaction {
            is_open: false,
            is_refused: false,
            queue: Queue::default(),
            watched: Vec::new(),
            flag,
            left_behind: Vec::new(),
            figures: Arc::new(figures),
        }
    }
}

impl Transaction {
    /// MULTI.
    pub fn open(&mut self) {
        self.is_open = true;
        self.queue = Queue::spare();
        self.figures.is_open.store(true, Ordering::Relaxed);
    }

    /// Something could not be queued since MULTI.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Remembers that something could not be queued.
    pub fn refuse(&mut self) {
        if self.is_open {
            self.is_refused = true;
            self.drop_queue();
        }
    }

    /// Whether EXEC can only fail by now, so that nothing need be queued.
    pub fn is_lost(&self) -> bool {
        self.is_refused || self.flag.is_raised()
    }

    /// Queues a command, unless that is useless.
    pub fn push(&mut self, argv: Argv<'_>, need: &Need) {
        self.queue.push(argv, need);
        let queued = self.queue.len() as u32;
        self.figures.queued.store(queued, Ordering::Relaxed);
        let bytes = self.queue.memory_bytes();
        self.figures.queue_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Drops what is queued, when EXEC can only fail.
    pub fn drop_queue(&mut self) {
        std::mem::take(&mut self.queue).give_back();
        self.figures.queued.store(0, Ordering::Relaxed);
        self.figures.queue_bytes.store(0, Ordering::Relaxed);
    }

    /// Takes what is queued, to be run. What others see stays until the end.
    pub fn take_queue(&mut self) -> Queue {
        std::mem::take(&mut self.queue)
    }

    /// What is queued.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The flags by which EXEC is admitted: its own, and those of its queue.
    pub fn flags_of_exec(&self, own: Flags) -> Flags {
        own.and(self.queue.any.only(COUNTED))
            .without(self.queue.lacking)
    }

    /// WATCH: a key of the database that `db` works in; its shard is held. One that has expired is
    /// deleted first, so that nobody takes that for a change. If the shard cannot be had, the key may
    /// be changed by a script at any time, and is taken for touched.
    pub fn watch(&mut self, db: &mut Access<'_>, key: &[u8]) {
        if db.is_barred() {
            return self.flag.raise();
        }
        db.find(key, Lookup::Silent);
        if !db.watch(key, &self.flag) {
            return;
        }
        self.watched.push(Watched {
            db: db.db(),
            had_expired: db.has_expired(key),
            key: key.into(),
        });
        let watched = self.watched.len() as u32;
        self.figures.watched.store(watched, Ordering::Relaxed);
        // The key is kept here and in its shard.
        let bytes = size_of::<Watched>() + WATCHED_KEY_BYTES + 2 * key.len();
        let total = &self.figures.watched_bytes;
        total.store(total.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    /// Hashes of the watched keys.
    pub fn watched_hashes<'a>(
        &'a self,
        hash: impl Fn(&[u8]) -> u64 + 'a,
    ) -> impl Iterator<Item = u64> {
        self.watched.iter().map(move |watched| hash(&watched.key))
    }

    /// Bytes that all of it takes.
    fn used_bytes(&self) -> usize {
        self.queue.used_bytes() + self.figures.watched_bytes.load(Ordering::Relaxed)
    }

    /// Whether a watched key was touched, or has expired since. The shards of all are held.
    pub fn is_stale(&self, db: &mut Access<'_>) -> bool {
        let before = db.db();
        for watched in &self.watched {
            if self.flag.is_raised() {
                break;
            }
            db.select(watched.db);
            db.find(&watched.key, Lookup::Silent);
            // It may be left where it is.
            if !watched.had_expired && db.has_expired(&watched.key) {
                self.flag.raise();
            }
        }
        db.select(before);
        self.flag.is_raised()
    }

    /// UNWATCH. The shards of the watched keys are held, or none is.
    pub fn unwatch(&mut self, db: &mut Access<'_>) {
        let before = db.db();
        let flag = &self.flag;
        self.watched.retain(|watched| !watched.forget(flag, db));
        if !self.left_behind.is_empty() && db.holds_none() {
            self.left_behind.retain_mut(|(flag, watched)| {
                watched.retain(|watched| !watched.forget(flag, db));
                !watched.is_empty()
            });
        }
        db.select(before);
        if self.watched.is_empty() {
            self.watched
                .shrink_to(SPARE_BYTES_MAX / size_of::<Watched>());
        } else {
            self.leave_behind();
        }
        // Nobody knows the flag any more.
        self.flag.lower();
        self.figures.watched.store(0, Ordering::Relaxed);
        self.figures.watched_bytes.store(0, Ordering::Relaxed);
    }

    /// Has another flag for what is watched from now on.
    #[cold]
    fn leave_behind(&mut self) {
        let flag = std::mem::take(&mut self.flag);
        flag.raise();
        let watched = std::mem::take(&mut self.watched);
        self.left_behind.push((flag, watched));
        *self.figures.flag.lock() = self.flag.clone();
    }

    /// Ends it, whatever came of it, when nothing is watched any more.
    fn close(&mut self) {
        debug_assert!(self.watched.is_empty());
        self.drop_queue();
        self.is_open = false;
        self.is_refused = false;
        self.figures.is_open.store(false, Ordering::Relaxed);
    }
}

impl Client {
    /// Its transaction, made when there is none yet.
    pub fn transaction_mut(&mut self) -> &mut Transaction {
        self.transaction.get_or_insert_with(|| {
            let transaction = Box::<Transaction>::default();
            // There is one for the life of the client.
            let _ = self.shared.transaction.set(transaction.figures.clone());
            transaction
        })
    }

    /// MULTI.
    pub fn open_transaction(&mut self) {
        self.transaction_mut().open();
        self.in_multi = true;
    }

    /// Ends its transaction, if there is one (DISCARD, RESET, the end of the connection). The shards of
    /// the watched keys are held, or none is.
    pub fn end_transaction(&mut self, db: &mut Access<'_>) {
        if let Some(transaction) = &mut self.transaction {
            transaction.unwatch(db);
            self.close_transaction();
        }
    }

    /// Ends its transaction, when nothing is watched any more.
    pub fn close_transaction(&mut self) {
        self.in_multi = false;
        if let Some(transaction) = &mut self.transaction {
            transaction.close();
        }
    }

    /// Nothing that it has watched is known to any shard any more.
    pub fn has_left_nothing(&self) -> bool {
        let transaction = self.transaction.as_ref();
        transaction.is_none_or(|transaction| transaction.left_behind.is_empty())
    }

    /// Something that is part of its transaction was refused.
    pub fn refuse_transaction(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.refuse();
        }
    }

    /// It watches keys.
    pub fn is_watching(&self) -> bool {
        let transaction = self.transaction.as_ref();
        transaction.is_some_and(|transaction| !transaction.watched.is_empty())
    }

    /// What it has queued and watches takes so many bytes.
    #[inline]
    pub fn transaction_bytes(&self) -> usize {
        let transaction = self.transaction.as_ref();
        transaction.map_or(0, |transaction| transaction.used_bytes())
    }
}
