//! Freeing large things away from the commands that drop them.
//!
//! A thread of its own receives whole tables (FLUSHALL) and large values that were deleted, replaced, evicted or found
//! expired, and drops them. It starts with the first piece of work. Kivi always frees large things here, whatever the
//! `lazyfree-*` directives say: to free one elsewhere would only make somebody wait. What is left to choose is FLUSHALL's
//! default, and whether the log says UNLINK or DEL where the server deletes a key by itself ([`LazyFree::deletion`]).
//!
//! What is handed over is weighed: whoever makes room for others counts as free what soon will be
//! ([`LazyFree::counted_bytes`]). Large values are weighed by a few of their elements each, tables by some entries of
//! all of them; when one has been freed, what it was takes the place of what it weighed. Since it counts from the moment
//! that it is handed over, it must not count again while it is freed: what the thread gives back is left out.
//!
//! When the thread has nothing left to do it empties its cache of free blocks: each block in there would keep the pages
//! around it from going back to the system.
//!
//! To hand over something new: [`LazyFree::free_other`], from any thread, best without a lock.

use std::any::Any;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::ds::entry::{Entry, EntryRef, SHARED_MIN, ValueRef, shared_bytes};
use crate::ds::table::Table;
use crate::sys::alloc::{self, ThreadId};
use crate::sys::places::{self, Place};

use super::notice::EventClass;
use super::snapshot::for_each_shared;

/// Values of more elements than this are freed in the background. To hand over a smaller one costs more than to free it.
const LAZYFREE_ELEMENTS_MIN: usize = 64;
/// Strings of so many bytes are, too: their pages go back to the system at once, 4 KiB by 4 KiB (0.1 ms for a megabyte).
const LAZYFREE_BYTES_MIN: usize = 1 << 20;
/// Elements that a value is weighed by.
const SAMPLES: usize = 5;
/// Entries that the tables of a flush are weighed by, at most, and at most so many of each table.
const FLUSHED_SAMPLES: usize = 128;
const TABLE_SAMPLES: usize = 8;
/// How long the thread waits for more before it empties its cache.
const REST: Duration = Duration::from_millis(50);

/// Whether an entry that has left the keyspace is to be freed in the background.
#[inline]
pub(super) fn is_large(entry: &Entry) -> bool {
    match entry.view().value() {
        ValueRef::Collection(collection) => collection.len() > LAZYFREE_ELEMENTS_MIN,
        ValueRef::Shared(shared) => shared.capacity() >= LAZYFREE_BYTES_MIN,
        ValueRef::Int(_) | ValueRef::Bytes(_) => false,
    }
}

/// Why the server deletes a key that no client has asked it to delete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Memory is full (`lazyfree-lazy-eviction`).
    Eviction,
    /// It has expired (`lazyfree-lazy-expire`).
    Expiry,
    /// A command has replaced it or taken everything out of it (`lazyfree-lazy-server-del`).
    Command,
}

impl Cause {
    /// What is told of a key that goes.
    pub(super) fn event(self) -> (EventClass, &'static str) {
        match self {
            Cause::Eviction => (EventClass::EVICTED, "evicted"),
            Cause::Expiry => (EventClass::EXPIRED, "expired"),
            Cause::Command => (EventClass::GENERIC, "del"),
        }
    }
}

/// What is to be freed.
enum Work {
    Tables(Vec<(Table<Entry>, u64)>),
    Values(Vec<(Entry, u64)>),
    /// Objects, and what they weigh.
    Other(u64, u64, Box<dyn Any + Send>),
}

/// See the module's text.
#[derive(Default)]
pub struct LazyFree {
    thread: OnceLock<mpsc::Sender<Work>>,
    counters: Arc<Counters>,
    /// By [`Cause`]: the log says DEL.
    eager: [AtomicBool; 3],
    set_aside: Mutex<Vec<Table<Entry>>>,
}

#[derive(Default)]
struct Counters {
    pending: AtomicU64,
    freed: AtomicU64,
    /// What the thread has been given to free since it started, bytes: what it was, as far as it has been freed.
    given_bytes: AtomicU64,
    /// The thread ([`ThreadId::get`]).
    thread: AtomicUsize,
}

impl LazyFree {
    /// Sets what `lazyfree-lazy-eviction`, `lazyfree-lazy-expire` and `lazyfree-lazy-server-del` say.
    pub fn set(&self, eviction: bool, expiry: bool, command: bool) {
        for (eager, lazy) in self.eager.iter().zip([eviction, expiry, command]) {
            eager.store(!lazy, Ordering::Relaxed);
        }
    }

    /// The command that the log repeats a deletion with.
    pub fn deletion(&self, cause: Cause) -> &'static [u8] {
        match self.eager[cause as usize].load(Ordering::Relaxed) {
            true => b"DEL",
            false => b"UNLINK",
        }
    }

    /// Drops `tables` in the background.
    pub fn free(&self, tables: Vec<Table<Entry>>) {
        let objects: u64 = tables.iter().map(|table| table.len() as u64).sum();
        if objects > 0 {
            let (tables, bytes) = weigh_tables(tables);
            self.send(objects, bytes, Work::Tables(tables));
        }
    }

    /// Drops values in the background.
    pub fn free_values(&self, values: Vec<Entry>) {
        if values.is_empty() {
            return;
        }
        let weighed = values.into_iter().map(|entry| {
            let bytes = weigh(entry.view());
            (entry, bytes)
        });
        let values: Vec<_> = weighed.collect();
        let bytes = values.iter().map(|(_, bytes)| bytes).sum();
        self.send(values.len() as u64, bytes, Work::Values(values));
    }

    /// Drops a value that is also held by something which is freed here, and which was weighed without it.
    pub(super) fn free_shared(&self, value: Arc<Vec<u8>>, bytes: u64) {
        self.send(0, bytes, Work::Other(0, bytes, Box::new(value)));
    }

    /// Drops in the background what is no value; it counts as so many objects.
    pub fn free_other(&self, objects: u64, what: Box<dyn Any + Send>) {
        self.send(objects, 0, Work::Other(objects, 0, what));
    }

    /// Keeps tables that whoever removed them will free ([`LazyFree::free_set_aside`]), but later.
    pub fn set_aside(&self, tables: Vec<Table<Entry>>) {
        self.set_aside.lock().extend(tables);
    }

    /// Drops what was set aside, here and now, also by others.
    pub fn free_set_aside(&self) {
        let tables = std::mem::take(&mut *self.set_aside.lock());
        if !tables.is_empty() {
            drop(tables);
            alloc::flush_thread_cache();
        }
    }

    fn send(&self, objects: u64, bytes: u64, work: Work) {
        let counters = &self.counters;
        counters.pending.fetch_add(objects, Ordering::Relaxed);
        counters.given_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A send fails only when the thread could not be started: then all is dropped right here.
        if self.thread.get_or_init(|| self.start()).send(work).is_err() {
            counters.given_bytes.fetch_sub(bytes, Ordering::Relaxed);
            counters.done(objects);
        }
    }

    /// Keys still to be freed.
    pub fn pending(&self) -> u64 {
        self.counters.pending.load(Ordering::Relaxed)
    }

    /// What is in use, less about what will be free when all that was handed over is.
    pub fn counted_bytes(&self) -> u64 {
        let counters = &self.counters;
        let thread = ThreadId::from_number(counters.thread.load(Ordering::Acquire));
        alloc::allocated_or_freed_by(thread).saturating_sub(self.given_bytes())
    }

    /// Changes whenever something is handed over that has a weight.
    #[inline]
    pub fn given_bytes(&self) -> u64 {
        self.counters.given_bytes.load(Ordering::Relaxed)
    }

    /// Keys freed since the last [`LazyFree::reset_stats`].
    pub fn freed(&self) -> u64 {
        self.counters.freed.load(Ordering::Relaxed)
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        self.counters.freed.store(0, Ordering::Relaxed);
    }

    fn start(&self) -> mpsc::Sender<Work> {
        let (sender, receiver) = mpsc::channel::<Work>();
        let counters = self.counters.clone();
        let started = std::thread::Builder::new()
            .name("kivi-lazyfree".into())
            .spawn(move || {
                // Where it cannot be, it frees where it is.
                let _ = places::take(Place::Background);
                free_forever(&receiver, &Thread::start(&counters));
            });
        if let Err(error) = started {
            tracing::warn!("no thread for lazy freeing, large values are freed at once: {error}");
        }
        sender
    }
}

/// What an entry takes, about.
pub(super) fn about_bytes(entry: EntryRef<'_>) -> u64 {
    entry.alloc_bytes(SAMPLES) as u64
}

/// What an entry will leave free, about.
fn weigh(entry: EntryRef<'_>) -> u64 {
    match entry.value() {
        // Somebody else keeps it, a reply that is on its way or a snapshot: it goes with that.
        ValueRef::Shared(shared) if Arc::strong_count(shared) > 1 => 0,
        ValueRef::Collection(collection) if collection.saving_id().is_some() => 0,
        _ => {
            let mut bytes = about_bytes(entry);
            for_each_shared(entry, |value| {
                bytes = bytes.saturating_sub(shared_bytes(value) as u64);
            });
            bytes
        }
    }
}

/// Some entries, and what they will leave free together.
struct Sample {
    entries: u64,
    bytes: u64,
}

impl Sample {
    /// Of so many entries of each table.
    fn of<'t>(tables: impl Iterator<Item = &'t Table<Entry>>, each: usize) -> Sample {
        let none = Sample {
            entries: 0,
            bytes: 0,
        };
        let entries = tables.flat_map(|table| table.iter().take(each));
        entries.fold(none, |sample, entry| Sample {
            entries: sample.entries + 1,
            bytes: sample.bytes.saturating_add(weigh(entry)),
        })
    }

    /// What a table with such entries will leave free.
    fn weigh(&self, table: &Table<Entry>) -> u64 {
        let of_entries = u128::from(self.bytes) * table.len() as u128;
        let of_entries = of_entries / u128::from(self.entries.max(1));
        let of_entries = u64::try_from(of_entries).unwrap_or(u64::MAX / 2);
        (table.memory_bytes() as u64).saturating_add(of_entries)
    }
}

/// About what a table will leave free.
pub(super) fn weigh_table(table: &Table<Entry>) -> u64 {
    Sample::of(std::iter::once(table), TABLE_SAMPLES).weigh(table)
}

/// Each table with about what it will leave free, and the sum.
fn weigh_tables(tables: Vec<Table<Entry>>) -> (Vec<(Table<Entry>, u64)>, u64) {
    let each = (FLUSHED_SAMPLES / tables.len().max(1)).clamp(1, TABLE_SAMPLES);
    // Tables are alike, since keys are spread over them by their hashes.
    let sample = Sample::of(tables.iter().take(FLUSHED_SAMPLES), each);
    let weigh = |table: Table<Entry>| {
        let bytes = sample.weigh(&table);
        (table, bytes)
    };
    let weighed: Vec<_> = tables.into_iter().map(weigh).collect();
    let sum = |sum: u64, (_, bytes): &(_, u64)| sum.saturating_add(*bytes);
    let bytes = weighed.iter().fold(0, sum);
    (weighed, bytes)
}

/// The thread, as it knows itself.
struct Thread<'c> {
    counters: &'c Counters,
    /// What it had given back when it had last done with something.
    freed_bytes: Cell<u64>,
}

impl Thread<'_> {
    fn start(counters: &Counters) -> Thread<'_> {
        let thread = alloc::this_thread();
        let freed_bytes = alloc::thread_freed_bytes();
        counters
            .given_bytes
            .fetch_add(freed_bytes, Ordering::Relaxed);
        counters.thread.store(thread.get(), Ordering::Release);
        Thread {
            counters,
            freed_bytes: Cell::new(freed_bytes),
        }
    }

    fn free(&self, work: Work) {
        match work {
            Work::Tables(tables) => tables.into_iter().for_each(|(table, bytes)| {
                let objects = table.len() as u64;
                drop(table);
                self.done(objects, bytes);
            }),
            Work::Values(values) => values.into_iter().for_each(|(value, bytes)| {
                drop(value);
                self.done(1, bytes);
            }),
            Work::Other(objects, bytes, what) => {
                drop(what);
                self.done(objects, bytes);
            }
        }
    }

    /// Has what was freed count as what it was, instead of what it weighed.
    fn done(&self, objects: u64, weighed_bytes: u64) {
        let freed_bytes = alloc::thread_freed_bytes();
        let bytes = freed_bytes - self.freed_bytes.replace(freed_bytes);
        let difference = bytes.wrapping_sub(weighed_bytes);
        let given_bytes = &self.counters.given_bytes;
        given_bytes.fetch_add(difference, Ordering::Relaxed);
        self.counters.done(objects);
    }
}

fn free_forever(inbox: &mpsc::Receiver<Work>, thread: &Thread<'_>) {
    let mut has_freed = false;
    loop {
        let work: Result<Work, _> = match has_freed {
            true => inbox.recv_timeout(REST),
            false => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        has_freed = work.is_ok();
        match work {
            Ok(work) => thread.free(work),
            Err(RecvTimeoutError::Timeout) => alloc::flush_thread_cache(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Counters {
    fn done(&self, objects: u64) {
        self.pending.fetch_sub(objects, Ordering::Relaxed);
        self.freed.fetch_add(objects, Ordering::Relaxed);
    }
}

const _: () = assert!(LAZYFREE_BYTES_MIN >= SHARED_MIN);

#[cfg(test)]
mod tests;
