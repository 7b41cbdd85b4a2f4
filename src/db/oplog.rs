//! The order of writes: a sequence of records that commands append while they hold their shards, so
//! that two writes to one key can never swap.
//!
//! A record is what is to be repeated, as the request that it is (RESP), with its number and its
//! database. Numbers are given out under shard locks, so what one command saw of another is before it
//! in the sequence. Threads append to lanes, each behind a lock of its own and picked by the thread, so
//! that workers do not meet; [`OpLog::drain`] brings the lanes together again, in order, without gaps,
//! and says SELECT where the database changes. What has to stay together (a transaction, several
//! deletions by one command) is one record with one number: see [`Draft`].
//!
//! One consumer drains: the thread of the append-only file. It may sleep ([`OpLog::park`]); whoever
//! appends wakes it. It tells how far the log is written and how far it is on the disk
//! ([`OpLog::publish_written`], [`OpLog::publish_durable`]); connections wait for what is promised to
//! them ([`Promise`], [`OpLog::poll_promised`]), all that have come together for one write: a group
//! commit. A consumer that is slower than the writers makes these wait, too ([`OpLog::room`]): memory
//! has a bound.
//!
//! Invariants:
//! - a number is taken while the lane's lock is held: once it is known to be given out, taking the
//!   lane's lock is enough to see its record;
//! - numbers in a lane ascend;
//! - nothing is locked or allocated while no log is on: [`OpLog::is_on`] is one load.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::Thread;
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::keyspace::DbIndex;
use crate::resp::request::request;
use crate::util::padded::Padded;
use crate::util::spikes::Spikes;

mod draft;
#[cfg(test)]
pub(crate) mod tests;

pub use draft::Draft;

/// Bytes in front of a record: number, length, database before and after it.
const HEAD_BYTES: usize = 24;
/// Most lanes: more workers than that share some.
const LANES_MAX: usize = 64;
/// A lane that holds more makes its writers wait.
const LANE_BYTES_MAX: usize = 16 << 20;
/// What a drained lane's buffer keeps of its room.
const KEEP_BYTES_MAX: usize = 1 << 20;

/// What a reply to a write means, and so what it waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Promise {
    /// That the record is in memory.
    Nothing = 0,
    /// That the operating system has it: no end of this process loses it.
    Written = 1,
    /// That the disk has it.
    Durable = 2,
}

/// See the module's text.
pub struct OpLog {
    is_on: AtomicBool,
    /// A [`Promise`].
    promise: AtomicU8,
    /// A lane holds too much.
    is_congested: AtomicBool,
    /// The consumer wants to be woken by the next record.
    is_asleep: AtomicBool,
    /// Somebody called [`OpLog::wake`] since the consumer last slept.
    is_woken: AtomicBool,
    lanes: Box<[Lane]>,
    last_seq: Padded<AtomicU64>,
    written_seq: Padded<AtomicU64>,
    durable_seq: Padded<AtomicU64>,
    /// Who waits until a number is written, or durable.
    waiting: Mutex<Waiting>,
    consumer: Mutex<Option<Thread>>,
    has_room: Notify,
    /// Memory of what was taken from the lanes, and of what the consumer has put together of it, bytes.
    taken_bytes: AtomicU64,
    merged_bytes: AtomicU64,
    /// Who hears of it when writing the log takes long.
    pub spikes: Arc<Spikes>,
}

/// Who waits for the consumer.
#[derive(Default)]
struct Waiting {
    /// The number that each waits for, roughly ascending.
    queue: VecDeque<(u64, Waker)>,
    /// How often everybody was let go.
    releases: u64,
}

type Lane = Padded<Mutex<Vec<u8>>>;

thread_local! {
    /// See [`OpLog::write_here`].
    static WRITES_HERE: Cell<bool> = const { Cell::new(false) };
}

/// The number of a thread that appends.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

impl OpLog {
    /// A log that is off, for as many threads that append at a time.
    pub fn new(threads: usize) -> OpLog {
        let lanes = threads.clamp(1, LANES_MAX).next_power_of_two();
        OpLog {
            is_on: AtomicBool::new(false),
            promise: AtomicU8::new(Promise::Nothing as u8),
            is_congested: AtomicBool::new(false),
            is_asleep: AtomicBool::new(false),
            is_woken: AtomicBool::new(false),
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            last_seq: Padded::default(),
            written_seq: Padded::default(),
            durable_seq: Padded::default(),
            waiting: Mutex::default(),
            consumer: Mutex::default(),
            has_room: Notify::new(),
            taken_bytes: AtomicU64::new(0),
            merged_bytes: AtomicU64::new(0),
            spikes: Arc::default(),
        }
    }

    /// Whether writes are logged: asked once a command, under its locks.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Switches the log on or off. On: while all shards are held, so that [`OpLog::cut`] divides what
    /// is logged from what is not.
    pub fn set_on(&self, on: bool) {
        self.is_on.store(on, Ordering::SeqCst);
        self.release();
    }

    /// Says what replies wait for; those that wait when they need not any more go on.
    pub fn set_promise(&self, promise: Promise) {
        self.promise.store(promise as u8, Ordering::SeqCst);
        self.release();
    }

    /// The calling thread writes what it appends, as soon as it has appended what it can, if
    /// [`Promise::Written`] is the promise: it need not wake the consumer.
    pub fn write_here(&self) {
        WRITES_HERE.set(true);
    }

    #[inline]
    fn writes_here(&self) -> bool {
        WRITES_HERE.get() && self.promise.load(Ordering::Relaxed) == Promise::Written as u8
    }

    /// Whether the thread that asks has to see to it that what it has appended is written.
    pub fn is_written_here(&self) -> bool {
        self.writes_here() && self.is_on()
    }

    /// Appends one command; its number. Under the locks of what it has changed.
    #[inline]
    pub fn append<'a>(
        &self,
        db: DbIndex,
        argv: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    ) -> u64 {
        self.append_with(db, db, |lane| request(lane, argv.len(), argv))
    }

    /// Appends what a command has put together, under one number, and empties it; `None` when that is
    /// nothing.
    pub fn append_draft(&self, draft: &mut Draft) -> Option<u64> {
        let (first_db, last_db) = draft.dbs()?;
        let seq = self.append_with(first_db, last_db, |lane| draft.write_to(lane));
        draft.clear();
        Some(seq)
    }

    #[inline]
    fn append_with(&self, db: DbIndex, last_db: DbIndex, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let number = thread_number() & (self.lanes.len() - 1);
        let mut lane = self.lanes[number].0.lock();
        let seq = self.last_seq.0.fetch_add(1, Ordering::SeqCst) + 1;
        let start = lane.len();
        lane.extend_from_slice(&[0; HEAD_BYTES]);
        write(&mut lane);
        let end = lane.len();
        let head = Head {
            seq,
            len: end - start - HEAD_BYTES,
            db,
            last_db,
        };
        lane[start..start + HEAD_BYTES].copy_from_slice(&head.to_bytes());
        drop(lane);
        if end > LANE_BYTES_MAX {
            self.is_congested.store(true, Ordering::Relaxed);
        }
        // Either this sees that the consumer sleeps, or the consumer sees the number.
        if self.is_asleep.load(Ordering::SeqCst) && !self.writes_here() {
            self.wake();
        }
        seq
    }

    /// The last number given out. While all shards are held: the number that divides what is in a
    /// snapshot from what comes after it.
    pub fn cut(&self) -> u64 {
        self.last_seq.0.load(Ordering::SeqCst)
    }

    /// Bytes that wait in the lanes.
    pub fn buffered_bytes(&self) -> u64 {
        self.lanes
            .iter()
            .map(|lane| lane.0.lock().len() as u64)
            .sum()
    }

    /// Memory that records take until they are written, bytes: of the lanes, and of their consumer.
    pub fn memory_bytes(&self) -> u64 {
        let lanes = self.lanes.iter();
        let waiting: u64 = lanes.map(|lane| lane.0.lock().capacity() as u64).sum();
        let taken = self.taken_bytes.load(Ordering::Relaxed);
        waiting + taken + self.merged_bytes.load(Ordering::Relaxed)
    }

    /// For the consumer: how large the buffer is that it drains into.
    pub fn note_merged(&self, capacity: usize) {
        self.merged_bytes.store(capacity as u64, Ordering::Relaxed);
    }

    /// Moves what is there to `out`, in the order of the numbers, up to the record `up_to`.
    pub fn drain(&self, merge: &mut Merge, out: &mut Vec<u8>, up_to: Option<u64>) -> Drained {
        let start = out.len();
        // Read before the lanes are looked at: what has a number by now is in its lane, or its lane's
        // lock is taken.
        let last = self.cut();
        let last = up_to.map_or(last, |up_to| up_to.min(last));
        merge.tails.resize_with(self.lanes.len(), Tail::default);
        let mut heads: SmallVec<[u64; LANES_MAX]> = SmallVec::new();
        for (tail, lane) in merge.tails.iter_mut().zip(&self.lanes) {
            tail.is_refilled = false;
            heads.push(tail.next_seq(lane));
        }
        merge.tell_memory(&self.taken_bytes);
        let mut at = 0;
        while merge.next_seq <= last {
            if heads[at] != merge.next_seq {
                let Some(least) = (0..heads.len()).min_by_key(|&lane| heads[lane]) else {
                    break;
                };
                at = least;
            }
            if heads[at] > merge.next_seq {
                break;
            }
            let tail = &mut merge.tails[at];
            let (head, record) = tail.take();
            // Smaller numbers were left over when the log was off.
            if head.seq == merge.next_seq {
                if merge.db != Some(head.db) {
                    select(out, head.db);
                }
                out.extend_from_slice(record);
                merge.db = Some(head.last_db);
                merge.next_seq += 1;
            }
            heads[at] = tail.next_seq(&self.lanes[at]);
        }
        merge.tell_memory(&self.taken_bytes);
        self.note_merged(out.capacity());
        if self.is_congested.swap(false, Ordering::Relaxed) {
            self.has_room.notify_waiters();
        }
        Drained {
            last_seq: merge.next_seq - 1,
            bytes: out.len() - start,
        }
    }

    /// Sleeps until a record is appended behind the one that was drained last, somebody calls
    /// [`OpLog::wake`], or the time is over. For the consumer. Threads that write themselves do not
    /// wake it ([`OpLog::write_here`]).
    pub fn park(&self, drained: u64, most: Duration) {
        *self.consumer.lock() = Some(std::thread::current());
        self.is_asleep.store(true, Ordering::SeqCst);
        if self.cut() <= drained && !self.is_woken.load(Ordering::SeqCst) {
            std::thread::park_timeout(most);
        }
        self.is_asleep.store(false, Ordering::SeqCst);
        self.is_woken.store(false, Ordering::SeqCst);
    }

    /// Wakes the consumer, or keeps it from falling asleep.
    #[cold]
    pub fn wake(&self) {
        self.is_asleep.store(false, Ordering::SeqCst);
        self.is_woken.store(true, Ordering::SeqCst);
        if let Some(consumer) = &*self.consumer.lock() {
            consumer.unpark();
        }
    }

    /// How far the log is on the disk.
    #[inline]
    pub fn durable_seq(&self) -> u64 {
        self.durable_seq.0.load(Ordering::SeqCst)
    }

    /// Everything up to this number is written, though perhaps not on the disk.
    pub fn publish_written(&self, seq: u64) {
        let before = self.written_seq.0.fetch_max(seq, Ordering::SeqCst);
        if before < seq && self.promise.load(Ordering::SeqCst) == Promise::Written as u8 {
            self.wake_waiting(seq);
        }
    }

    /// Everything up to this number is on the disk.
    pub fn publish_durable(&self, seq: u64) {
        self.written_seq.0.fetch_max(seq, Ordering::SeqCst);
        self.durable_seq.0.fetch_max(seq, Ordering::SeqCst);
        self.wake_waiting(self.durable_seq());
    }

    /// Everybody who waits looks again.
    fn release(&self) {
        self.wake_waiting(u64::MAX);
        self.has_room.notify_waiters();
    }

    fn wake_waiting(&self, up_to: u64) {
        let mut woken: SmallVec<[Waker; 16]> = SmallVec::new();
        let mut waiting = self.waiting.lock();
        let is_release = up_to == u64::MAX;
        waiting.releases += is_release as u64;
        waiting.queue.retain(|(seq, waker)| {
            // More may be promised by now than what the caller has published.
            let waits = *seq > up_to || (!is_release && self.must_wait(*seq));
            if !waits {
                woken.push(waker.clone());
            }
            waits
        });
        drop(waiting);
        woken.into_iter().for_each(Waker::wake);
    }

    /// The record that a reply has to wait for which shows what is in memory now, `own` being the last that
    /// came of its commands. With [`Promise::Durable`] that is the last of all: what was seen of
    /// another's write must not be lost either.
    #[inline]
    pub fn shown_seq(&self, own: u64) -> u64 {
        match self.promise.load(Ordering::Relaxed) == Promise::Durable as u8 && self.is_on() {
            true => self.cut(),
            false => own,
        }
    }

    /// Whether a reply to a command with this number has to wait.
    #[inline]
    pub fn must_wait(&self, seq: u64) -> bool {
        let reached = match self.promise.load(Ordering::SeqCst) {
            0 => return false,
            1 => &self.written_seq,
            _ => &self.durable_seq,
        };
        self.is_on() && reached.0.load(Ordering::SeqCst) < seq
    }

    /// Ready when what was promised of the record is true, or nobody promises that any more.
    /// `enrolled` is the caller's memory of whether its task will be woken; `None` at first.
    pub fn poll_promised(
        &self,
        cx: &mut Context<'_>,
        seq: u64,
        enrolled: &mut Option<u64>,
    ) -> Poll<()> {
        if !self.must_wait(seq) {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock();
        // A task's waker stays the same: once is enough, until everybody is let go.
        if *enrolled != Some(waiting.releases) {
            *enrolled = Some(waiting.releases);
            waiting.queue.push_back((seq, cx.waker().clone()));
        }
        drop(waiting);
        // What was published before the queue had it woke nobody.
        match self.must_wait(seq) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    /// Whether writers are to wait for the consumer.
    #[inline]
    pub fn is_congested(&self) -> bool {
        self.is_congested.load(Ordering::Relaxed)
    }

    /// Ready when the consumer has caught up.
    pub async fn room(&self) {
        let notified = self.has_room.notified();
        tokio::pin!(notified);
        // Enrolled before the check: what happens in between is not missed.
        notified.as_mut().enable();
        if self.is_congested() && self.is_on() {
            notified.await;
        }
    }
}

/// What the consumer keeps between two calls of [`OpLog::drain`].
pub struct Merge {
    next_seq: u64,
    /// What the last SELECT in the file said.
    db: Option<DbIndex>,
    tails: Vec<Tail>,
}

impl Merge {
    /// Takes what comes after the record `seq`; 0 for all.
    pub fn after(seq: u64) -> Merge {
        Merge {
            next_seq: seq + 1,
            db: None,
            tails: Vec::new(),
        }
    }

    /// Tells the memory of what was taken from the lanes.
    fn tell_memory(&self, taken_bytes: &AtomicU64) {
        let tails = self.tails.iter();
        let bytes = tails.map(|tail| tail.bytes.capacity() as u64).sum();
        taken_bytes.store(bytes, Ordering::Relaxed);
    }

    /// A new file begins: what is written next says its database.
    pub fn forget_db(&mut self) {
        self.db = None;
    }

    /// The last record that was drained.
    pub fn last_seq(&self) -> u64 {
        self.next_seq - 1
    }
}

/// What one drain has moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drained {
    /// The last record that was drained, now or before.
    pub last_seq: u64,
    /// Bytes added.
    pub bytes: usize,
}

/// What was taken from a lane.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    at: usize,
    /// In this drain.
    is_refilled: bool,
}

impl Tail {
    /// The number of its next record, `u64::MAX` for none; looks into the lane once a drain when
    /// nothing is left here.
    fn next_seq(&mut self, lane: &Lane) -> u64 {
        if self.at == self.bytes.len() && !self.is_refilled {
            self.is_refilled = true;
            self.at = 0;
            self.bytes.clear();
            self.bytes.shrink_to(KEEP_BYTES_MAX);
            std::mem::swap(&mut self.bytes, &mut lane.0.lock());
        }
        match self.bytes.get(self.at..) {
            Some(rest) if !rest.is_empty() => Head::read(rest).seq,
            _ => u64::MAX,
        }
    }

    fn take(&mut self) -> (Head, &[u8]) {
        let head = Head::read(&self.bytes[self.at..]);
        let start = self.at + HEAD_BYTES;
        self.at = start + head.len;
        (head, &self.bytes[start..self.at])
    }
}

/// What stands before a record in its lane.
struct Head {
    seq: u64,
    len: usize,
    db: DbIndex,
    last_db: DbIndex,
}

impl Head {
    fn to_bytes(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&self.seq.to_ne_bytes());
        bytes[8..16].copy_from_slice(&(self.len as u64).to_ne_bytes());
        bytes[16..20].copy_from_slice(&self.db.0.to_ne_bytes());
        bytes[20..].copy_from_slice(&self.last_db.0.to_ne_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Head {
        let long = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(number)
        };
        let dbs = long(16).to_ne_bytes();
        let short = |at: usize| {
            let mut number = [0; 4];
            number.copy_from_slice(&dbs[at..at + 4]);
            DbIndex(u32::from_ne_bytes(number))
        };
        Head {
            seq: long(0),
            len: long(8) as usize,
            db: short(0),
            last_db: short(4),
        }
    }
}

fn select(out: &mut Vec<u8>, db: DbIndex) {
    let mut digits = itoa::Buffer::new();
    let db = digits.format(db.0).as_bytes();
    request(out, 2, [&b"SELECT"[..], db].into_iter());
}
