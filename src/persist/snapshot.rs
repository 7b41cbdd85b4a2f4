//! The walk that writes a snapshot of the live keyspace: BGSAVE, SAVE, the base of a rewritten log.
//!
//! [`write`](write()) runs on the caller's thread, slice by slice (`db::snapshot`), and encodes what it is
//! handed; a second thread, which lives as long, computes the checksum and gives the bytes to a
//! [`Sink`]. Shards are held for some keys at a time. What takes long to encode, since it is long or
//! is compressed, is copied under the lock and encoded after it.
//!
//! What the records look like is a [`Format`]'s: RDB here, commands in `aof`.
//!
//! Invariant: whatever fails, the walk is brought to its end: else the next snapshot would be wrong.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::db::snapshot::{Cut, Large, Progress, Snapshot, Walk};
use crate::db::{DbIndex, Keyspace};
use crate::ds::collection::{Collection, Element};
use crate::ds::entry::{Entry, EntryRef, Meta, NewValue, ValueRef};
use crate::sys::process;
use crate::value::Type;

use super::rdb::encode::{self, Aux, EncodeOptions, LargeHead, LargeKind, Version};
use super::rdb::format;

mod file;
#[cfg(test)]
mod tests;

pub use file::FileSink;

/// Keys per hold of a shard's lock.
const SLICE_KEYS: usize = 48;
/// Elements of a large collection per hold.
const SLICE_ELEMENTS: usize = 64;
/// Nodes of a large list or stream per hold.
const SLICE_NODES: usize = 2;
/// Longer values are copied under the lock and encoded after it, bytes.
const COPIED_BYTES_MIN: usize = 512;
/// How much is handed to the writing thread at a time, bytes.
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks on their way.
const CHUNKS_MAX: usize = 4;
/// By how much a snapshot that nobody waits for is nicer than the threads that serve clients: it
/// gets a tenth of a processor that they want, too, and all of one that they do not.
const BACKGROUND_NICE: i32 = 10;
/// Such a snapshot works for so long, then naps: a processor that is always taken is one on which
/// clients wait, and the walk is fast enough.
const BACKGROUND_WORK: Duration = Duration::from_micros(250);
const BACKGROUND_NAP: Duration = Duration::from_micros(120);
/// For how long such a snapshot keeps a processor that somebody else begins to want.
const BACKGROUND_SLICE: Duration = Duration::from_micros(100);
/// Longest pause between two slices for `rdb-key-save-delay`, so that a cancellation is seen.
const DELAY_MAX: Duration = Duration::from_millis(10);

/// Where a snapshot goes.
pub trait Sink: Send {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they cannot be written; the snapshot has failed then.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Tells the sources of all libraries of functions, in their order.
pub type Sources<'a> = &'a dyn Fn() -> Vec<Arc<[u8]>>;

/// What the records of a snapshot look like. All functions but the first append to a buffer.
pub trait Format {
    /// The moment of the snapshot, while all shards are held: notes what is no key.
    fn at_cut(&mut self);
    /// The beginning.
    fn header(&mut self, out: &mut Vec<u8>, cut: &Cut);
    /// What follows is in this database, which had so many keys, and keys with an expiry.
    fn select(&mut self, out: &mut Vec<u8>, db: DbIndex, sizes: Option<(u64, u64)>);
    /// A key with its value.
    fn entry(&mut self, out: &mut Vec<u8>, entry: EntryRef<'_>);
    /// A key with a large collection, whose elements follow.
    fn large_head(&mut self, out: &mut Vec<u8>, head: &LargeHead<'_>);
    /// One of these elements; `head` is that of their key.
    fn large_element(&mut self, out: &mut Vec<u8>, head: &LargeHead<'_>, element: Element<'_>);
    /// All elements have been written.
    fn large_end(&mut self, out: &mut Vec<u8>, head: &LargeHead<'_>);
    /// The end; the checksum of everything before it, if the format has one.
    fn end(&mut self, out: &mut Vec<u8>) -> Option<Checksum>;
}

/// What stands at the end of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// CRC-64.
    Crc64,
    /// Eight zeros: none.
    Zero,
}

/// A snapshot as an RDB file.
pub struct Rdb<'a> {
    /// How keys are written.
    pub encode: EncodeOptions,
    /// What the file tells of itself.
    pub aux: Aux,
    /// `rdbchecksum`
    pub checksum: bool,
    /// Libraries.
    pub libraries: Libraries<'a>,
}

/// The libraries of functions that go into a snapshot.
pub struct Libraries<'a> {
    sources: Sources<'a>,
    at_cut: Vec<Arc<[u8]>>,
}

impl<'a> Libraries<'a> {
    /// Those that `sources` tells in the moment of the snapshot.
    pub fn new(sources: Sources<'a>) -> Libraries<'a> {
        Libraries {
            sources,
            at_cut: Vec::new(),
        }
    }

    /// The moment of the snapshot.
    pub fn at_cut(&mut self) {
        self.at_cut = (self.sources)();
    }

    /// Their sources in that moment.
    pub fn sources(&self) -> impl Iterator<Item = &[u8]> {
        self.at_cut.iter().map(|source| &**source)
    }
}

impl Format for Rdb<'_> {
    fn at_cut(&mut self) {
        self.libraries.at_cut();
    }

    fn header(&mut self, out: &mut Vec<u8>, cut: &Cut) {
        let version = match (cut.fields_expire, cut.consumers) {
            (true, _) => Version::Valkey80,
            (false, true) => Version::Redis11,
            (false, false) => Version::Redis10,
        };
        encode::header(out, version, &self.aux);
        for source in self.libraries.sources() {
            encode::library(out, source, self.encode.compress);
        }
    }

    fn select(&mut self, out: &mut Vec<u8>, db: DbIndex, sizes: Option<(u64, u64)>) {
        match sizes {
            Some((keys, expires)) => encode::select(out, db, keys, expires),
            None => encode::select_again(out, db),
        }
    }

    #[inline]
    fn entry(&mut self, out: &mut Vec<u8>, entry: EntryRef<'_>) {
        encode::entry(out, entry, &self.encode);
    }

    fn large_head(&mut self, out: &mut Vec<u8>, head: &LargeHead<'_>) {
        encode::large_head(out, head, &self.encode);
    }

    fn large_element(&mut self, out: &mut Vec<u8>, head: &LargeHead<'_>, element: Element<'_>) {
        encode::large_element(out, head.kind, element, &self.encode);
    }

    fn large_end(&mut self, _: &mut Vec<u8>, _: &LargeHead<'_>) {}

    fn end(&mut self, out: &mut Vec<u8>) -> Option<Checksum> {
        encode::end(out);
        Some(match self.checksum {
            true => Checksum::Crc64,
            false => Checksum::Zero,
        })
    }
}

/// How a snapshot is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct SnapshotOptions {
    /// `rdb-key-save-delay`: for tests.
    pub key_delay: Duration,
    /// Nobody waits: clients come first. The calling thread keeps a lower priority.
    pub is_background: bool,
}

/// How far a snapshot has come; others look at it while it is taken.
#[derive(Default, Debug)]
pub struct SaveProgress {
    /// Keys there were in its moment.
    pub keys_total: AtomicU64,
    /// Keys of these that were written.
    pub keys_processed: AtomicU64,
    /// Bytes written.
    pub bytes: AtomicU64,
}

impl SaveProgress {
    fn begin(&self, keys_total: u64) {
        self.keys_total.store(keys_total, Ordering::Relaxed);
        self.keys_processed.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }
}

/// What a snapshot was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Summary<R> {
    /// What `at_cut` returned.
    pub at_cut: R,
    /// [`Keyspace::changes`] in its moment.
    pub changes: u64,
    /// Keys written.
    pub keys: u64,
    /// Bytes written.
    pub bytes: u64,
    /// The most memory that copies of changed keys took, bytes.
    pub held_peak_bytes: u64,
}

/// Why there is no snapshot.
#[derive(Debug)]
pub enum SnapshotError {
    /// Another one is being taken.
    Busy,
    /// Somebody has cancelled it.
    Cancelled,
    /// The sink has failed.
    Io(io::Error),
}

impl std::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SnapshotError::Busy => f.write_str("another snapshot is being taken"),
            SnapshotError::Cancelled => f.write_str("cancelled"),
            SnapshotError::Io(error) => error.fmt(f),
        }
    }
}

/// Writes the keyspace as it is in the moment in which `at_cut` is called, while all shards are held,
/// to `sink`. Returns when everything was given to it.
///
/// # Errors
/// Nothing usable was written then.
pub fn write<R>(
    keyspace: &Keyspace,
    format: &mut dyn Format,
    sink: &mut dyn Sink,
    options: &SnapshotOptions,
    progress: &SaveProgress,
    cancel: &AtomicBool,
    at_cut: impl FnOnce() -> R,
) -> Result<Summary<R>, SnapshotError> {
    let begun = keyspace.begin_snapshot(|| {
        format.at_cut();
        at_cut()
    });
    let (walk, cut, at_cut) = begun.ok_or(SnapshotError::Busy)?;
    if options.is_background {
        // Not before: in that moment everybody waits for this thread.
        process::lower_thread_priority(BACKGROUND_NICE, BACKGROUND_SLICE);
        process::set_timer_slack(Duration::from_micros(1));
    }
    progress.begin(cut.databases.iter().map(|(_, keys, _)| keys).sum());
    std::thread::scope(|scope| {
        let (chunks, inbox) = sync_channel(CHUNKS_MAX);
        let (empty, returned) = sync_channel(CHUNKS_MAX);
        let builder = std::thread::Builder::new().name("kivi-save".into());
        let writing = builder.spawn_scoped(scope, move || drain(&inbox, &empty, sink, progress));
        let writing = match writing {
            Ok(writing) => writing,
            Err(error) => {
                walk.abandon();
                return Err(SnapshotError::Io(error));
            }
        };
        let mut recorder = Recorder {
            snapshot: &keyspace.snapshot,
            format,
            options,
            progress,
            cancel,
            sizes: cut.databases.clone(),
            out: buffer(&keyspace.snapshot),
            db: None,
            keys: 0,
            copies: Vec::new(),
            chunks,
            returned,
            is_cut_off: false,
            rested_at: Instant::now(),
        };
        let result = recorder.record(walk, &cut);
        let keys = recorder.keys;
        // Ends the thread.
        drop(recorder);
        let written = writing
            .join()
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        keyspace.snapshot.forget_buffers();
        let bytes = written.map_err(SnapshotError::Io)?;
        result?;
        Ok(Summary {
            at_cut,
            changes: cut.changes,
            keys,
            bytes,
            held_peak_bytes: keyspace.snapshot.held_peak_bytes(),
        })
    })
}

/// A buffer more. It is noted before it is there: keys that are evicted for it would have to come back.
fn buffer(snapshot: &Snapshot) -> Vec<u8> {
    snapshot.note_buffer(CHUNK_BYTES * 2);
    Vec::with_capacity(CHUNK_BYTES * 2)
}

/// What goes to the writing thread.
enum Chunk {
    Bytes(Vec<u8>),
    /// The last bytes, and what stands behind them.
    End(Vec<u8>, Option<Checksum>),
}

/// The writing thread: returns the number of bytes.
fn drain(
    inbox: &Receiver<Chunk>,
    empty: &SyncSender<Vec<u8>>,
    sink: &mut dyn Sink,
    progress: &SaveProgress,
) -> io::Result<u64> {
    let mut crc = 0;
    let mut total = 0;
    let mut put = |bytes: &[u8]| {
        sink.write(bytes)?;
        total += bytes.len() as u64;
        progress.bytes.store(total, Ordering::Relaxed);
        io::Result::Ok(())
    };
    for chunk in inbox {
        match chunk {
            Chunk::Bytes(mut bytes) => {
                crc = format::crc64(crc, &bytes);
                put(&bytes)?;
                bytes.clear();
                let _ = empty.try_send(bytes);
            }
            Chunk::End(mut bytes, checksum) => {
                crc = format::crc64(crc, &bytes);
                match checksum {
                    Some(Checksum::Crc64) => bytes.extend_from_slice(&crc.to_le_bytes()),
                    Some(Checksum::Zero) => bytes.extend_from_slice(&[0; 8]),
                    None => {}
                }
                put(&bytes)?;
            }
        }
    }
    Ok(total)
}

/// Encodes what the walk hands out.
struct Recorder<'a> {
    snapshot: &'a Snapshot,
    format: &'a mut dyn Format,
    options: &'a SnapshotOptions,
    progress: &'a SaveProgress,
    cancel: &'a AtomicBool,
    /// Sizes of databases that were not yet begun.
    sizes: Vec<(DbIndex, u64, u64)>,
    out: Vec<u8>,
    db: Option<DbIndex>,
    keys: u64,
    /// Copies made under the lock.
    copies: Vec<(DbIndex, Entry)>,
    chunks: SyncSender<Chunk>,
    returned: Receiver<Vec<u8>>,
    /// The writing thread has ended.
    is_cut_off: bool,
    /// When it last napped.
    rested_at: Instant,
}

impl Recorder<'_> {
    fn record(&mut self, mut walk: Walk<'_>, cut: &Cut) -> Result<(), SnapshotError> {
        self.format.header(&mut self.out, cut);
        loop {
            let keys_before = self.keys;
            let progress = walk.slice(SLICE_KEYS, &mut |db, entry, is_held| match is_held {
                true => self.held_key(db, entry),
                false => self.aside_key(db, entry),
            });
            self.encode_copies();
            self.pass_on(CHUNK_BYTES);
            self.pause(self.keys - keys_before);
            self.nap();
            while let Some(large) = walk.next_large() {
                self.large(&walk, &large);
            }
            if self.is_given_up() {
                walk.abandon();
                // If the sink has failed, it tells why.
                return Err(SnapshotError::Cancelled);
            }
            if progress == Progress::Done {
                break;
            }
        }
        walk.abandon();
        let checksum = self.format.end(&mut self.out);
        let last = Chunk::End(std::mem::take(&mut self.out), checksum);
        let _ = self.chunks.send(last);
        Ok(())
    }

    /// Whether nobody wants it any more.
    #[inline]
    fn is_given_up(&self) -> bool {
        self.is_cut_off || self.cancel.load(Ordering::Relaxed)
    }

    /// A key that was put aside, without a lock: it counts as kept for the snapshot until it was encoded.
    fn aside_key(&mut self, db: DbIndex, entry: EntryRef<'_>) {
        if !self.is_given_up() {
            self.encode(db, entry);
            self.pass_on(CHUNK_BYTES);
            self.nap();
        }
    }

    /// A key under the lock of its shard.
    #[inline]
    fn held_key(&mut self, db: DbIndex, entry: EntryRef<'_>) {
        let is_long = match entry.value() {
            // Its form in a file has to be made, node by node.
            ValueRef::Collection(Collection::Stream(stream)) => !stream.entries().is_empty(),
            value => {
                let bytes = value.as_bytes();
                bytes.is_some_and(|bytes| bytes.len() >= COPIED_BYTES_MIN)
            }
        };
        if is_long {
            self.copies.push((db, entry.duplicate()));
            return;
        }
        self.encode(db, entry);
    }

    #[inline]
    fn encode(&mut self, db: DbIndex, entry: EntryRef<'_>) {
        if self.db != Some(db) {
            self.select(db);
        }
        self.keys += 1;
        self.format.entry(&mut self.out, entry);
    }

    fn encode_copies(&mut self) {
        let mut copies = std::mem::take(&mut self.copies);
        for (db, entry) in copies.drain(..) {
            self.encode(db, entry.view());
            self.pass_on(CHUNK_BYTES);
        }
        self.copies = copies;
    }

    #[cold]
    fn select(&mut self, db: DbIndex) {
        let at = self.sizes.iter().position(|(of, _, _)| *of == db);
        let sizes = at.map(|at| self.sizes.swap_remove(at));
        let sizes = sizes.map(|(_, keys, expires)| (keys, expires));
        self.format.select(&mut self.out, db, sizes);
        self.db = Some(db);
    }

    /// A large collection, in slices.
    fn large(&mut self, walk: &Walk<'_>, large: &Arc<Large>) {
        if self.db != Some(large.db) {
            self.select(large.db);
        }
        let (kind, budget) = match Type::from_nibble(large.meta.type_) {
            Type::List => (LargeKind::List, SLICE_NODES),
            Type::Set => (LargeKind::Set, SLICE_ELEMENTS),
            Type::Zset => (LargeKind::Zset, SLICE_ELEMENTS),
            Type::Stream => {
                let has_consumers = large.has_consumers;
                (LargeKind::Stream { has_consumers }, SLICE_NODES)
            }
            Type::Hash | Type::String => {
                let fields_expire = large.fields_expire;
                (LargeKind::Hash { fields_expire }, SLICE_ELEMENTS)
            }
        };
        let head = LargeHead {
            key: &large.key,
            meta: large.meta,
            expire_at_ms: large.expire_at_ms,
            kind,
            len: large.len,
        };
        self.format.large_head(&mut self.out, &head);
        let mut long = Vec::new();
        loop {
            let (out, format) = (&mut self.out, &mut *self.format);
            let progress = walk.large_slice(large, budget, &mut |element| match element {
                Element::Field(field, ValueRef::Shared(value), at_ms) => {
                    let value = NewValue::Shared(value.clone());
                    long.push(Entry::new(field, Meta::default(), value, at_ms));
                }
                element => format.large_element(out, &head, element),
            });
            for field in long.drain(..) {
                let field = field.view();
                let element = Element::Field(field.key(), field.value(), field.expire_at_ms());
                self.format.large_element(&mut self.out, &head, element);
            }
            self.pass_on(CHUNK_BYTES);
            self.nap();
            // What remains is walked through by whoever ends the snapshot.
            if progress == Progress::Done || self.is_given_up() {
                break;
            }
        }
        self.format.large_end(&mut self.out, &head);
        self.keys += 1;
    }

    /// Hands bytes to the writing thread, once there are `at_least` so many.
    #[inline]
    fn pass_on(&mut self, at_least: usize) {
        if self.out.len() >= at_least {
            self.send();
        }
    }

    #[cold]
    fn send(&mut self) {
        let next = self.returned.try_recv();
        let next = next.unwrap_or_else(|_| buffer(self.snapshot));
        let chunk = Chunk::Bytes(std::mem::replace(&mut self.out, next));
        self.is_cut_off |= self.chunks.send(chunk).is_err();
    }

    /// Leaves the processor to others for a moment, now and then.
    #[inline]
    fn nap(&mut self) {
        if self.options.is_background && self.rested_at.elapsed() >= BACKGROUND_WORK {
            std::thread::sleep(BACKGROUND_NAP);
            self.rested_at = Instant::now();
        }
    }

    /// `rdb-key-save-delay`, and the figures.
    #[inline]
    fn pause(&mut self, keys: u64) {
        let progress = &self.progress.keys_processed;
        progress.store(self.keys, Ordering::Relaxed);
        if !self.options.key_delay.is_zero() {
            let keys = u32::try_from(keys).unwrap_or(u32::MAX);
            let mut left = self.options.key_delay.saturating_mul(keys);
            while !left.is_zero() && !self.cancel.load(Ordering::Relaxed) {
                let now = left.min(DELAY_MAX);
                std::thread::sleep(now);
                left -= now;
            }
        }
    }
}
