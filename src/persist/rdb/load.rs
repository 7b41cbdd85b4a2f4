//! A file is put into a keyspace: one thread decodes, others insert.
//!
//! Decoding cannot be divided, since only who has read a record knows where the next one begins; but
//! putting keys into tables is half of the work, and is done beside it where there are processors
//! for it. Keys are gathered by shard until there are enough of them to be put in together
//! (`db::load`), and each inserter has shards of its own.
//!
//! Memory beside the data is bounded: the decoder waits for an inserter that is behind.

use std::io::Read;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use super::decode::{self, FaultKind, LoadError, LoadOptions, LoadSummary, Record};
use crate::db::load::Duplicate;
use crate::db::{DbIndex, Keyspace, ShardId};
use crate::ds::entry::Entry;

/// Keys of a shard that are put in together.
const BATCH_KEYS: usize = 64;
/// Batches that may wait for an inserter.
const BATCHES_MAX: usize = 256;
/// More inserters than this would wait for the decoder.
const INSERTERS_MAX: usize = 3;

/// How far a load is; read by others while it goes on.
#[derive(Default, Debug)]
pub struct LoadProgress {
    /// Length of the file, as far as the caller knows it.
    pub total_bytes: AtomicU64,
    /// Of that, read so far.
    pub loaded_bytes: AtomicU64,
    /// Keys put in so far.
    pub keys_loaded: AtomicU64,
    /// Memory that the writer of the file used (its aux field `used-mem`), 0 if it did not say.
    pub rdb_used_mem: AtomicU64,
    /// Set by whoever wants the load to end.
    pub stop: AtomicBool,
    /// `key-load-delay`, for tests: a pause after each key, nanoseconds.
    key_delay_ns: AtomicU64,
}

impl LoadProgress {
    /// Forgets an earlier load.
    pub fn reset(&self, total_bytes: u64, key_delay: Duration) {
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.set_key_delay(key_delay);
        for figure in [&self.loaded_bytes, &self.keys_loaded, &self.rdb_used_mem] {
            figure.store(0, Ordering::Relaxed);
        }
    }

    /// Sets `key-load-delay`, of a load that goes on, too.
    pub fn set_key_delay(&self, delay: Duration) {
        let ns = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        self.key_delay_ns.store(ns, Ordering::Relaxed);
    }

    /// Whether there is something to load, as far as it is known yet.
    pub fn has_begun(&self) -> bool {
        self.total_bytes.load(Ordering::Relaxed) > 0
    }

    /// Waits as `key-load-delay` says; whether it says something.
    #[inline]
    pub fn pause(&self) -> bool {
        let ns = self.key_delay_ns.load(Ordering::Relaxed);
        if ns == 0 {
            return false;
        }
        thread::sleep(Duration::from_nanos(ns));
        true
    }
}

/// Who takes the source of a library of functions; the error ends the load.
pub type OnLibrary<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), String>;

/// Reads a file into a keyspace, which nobody else changes meanwhile. What was put in before an error
/// stays there. The libraries of functions in it are handed to `on_library`.
pub fn load_into(
    keyspace: &Keyspace,
    input: impl Read,
    options: &LoadOptions,
    progress: &LoadProgress,
    on_library: OnLibrary<'_>,
) -> Result<LoadSummary, LoadError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let inserters = (cores - 1).min(INSERTERS_MAX);
    load_with(keyspace, input, options, progress, inserters, on_library)
}

fn load_with(
    keyspace: &Keyspace,
    input: impl Read,
    options: &LoadOptions,
    progress: &LoadProgress,
    inserters: usize,
    on_library: OnLibrary<'_>,
) -> Result<LoadSummary, LoadError> {
    let refused: Mutex<Option<Duplicate>> = Mutex::new(None);
    let loaded = thread::scope(|scope| {
        let mut queues = Vec::new();
        for _ in 0..inserters {
            let (sender, batches) = sync_channel(BATCHES_MAX);
            let refused = &refused;
            let now_ms = options.now_ms;
            scope.spawn(move || insert_all(keyspace, &batches, now_ms, refused));
            queues.push(sender);
        }
        let mut gathered = Gathered {
            keyspace,
            now_ms: options.now_ms,
            db: DbIndex(0),
            shards: Vec::new(),
            queues,
            progress,
        };
        gathered.shards.resize_with(keyspace.shards(), Vec::new);
        let summary = decode::load(input, options, &mut |record, offset| match record {
            Record::Key { entry, .. } => gathered.push(entry, offset),
            Record::Select(db) => gathered.select(db, offset),
            Record::Function(source) => on_library(&source),
            Record::Aux(name, text) => {
                note_aux(&name, &text, options.now_ms, progress);
                Ok(())
            }
            Record::Resize { .. } => Ok(()),
        })?;
        let flushed = gathered.flush_all(summary.bytes);
        flushed.map_err(|message| rejected(summary.bytes, message))?;
        Ok(summary)
    });
    // The inserters are done: whether one of them met a duplicate is known only now.
    let refused = refused.into_inner().unwrap_or_else(PoisonError::into_inner);
    match refused {
        Some(duplicate) => {
            let offset = progress.loaded_bytes.load(Ordering::Relaxed);
            Err(rejected(offset, duplicate_message(&duplicate)))
        }
        None => loaded,
    }
}

fn rejected(offset: u64, message: String) -> LoadError {
    LoadError {
        offset,
        kind: FaultKind::Rejected,
        message,
    }
}

fn duplicate_message(duplicate: &Duplicate) -> String {
    let (db, key) = (duplicate.db.0, duplicate.key.escape_ascii());
    format!("RDB has duplicated key '{key}' in DB {db}")
}

/// Keys of one shard, with their hashes.
struct Batch {
    shard: ShardId,
    db: DbIndex,
    entries: Vec<(u64, Entry)>,
}

/// The work of an inserter; it ends with the last batch, or with the first duplicate.
fn insert_all(
    keyspace: &Keyspace,
    batches: &Receiver<Batch>,
    now_ms: u64,
    refused: &Mutex<Option<Duplicate>>,
) {
    for batch in batches {
        let inserted = keyspace.insert_into_shard(batch.shard, batch.db, batch.entries, now_ms);
        if let Err(duplicate) = inserted {
            let mut refused = refused.lock().unwrap_or_else(PoisonError::into_inner);
            *refused = Some(duplicate);
            return;
        }
    }
}

/// Keys on their way to the inserters, by shard.
struct Gathered<'a> {
    keyspace: &'a Keyspace,
    now_ms: u64,
    db: DbIndex,
    shards: Vec<Vec<(u64, Entry)>>,
    /// Of the inserters; none if this thread inserts.
    queues: Vec<SyncSender<Batch>>,
    progress: &'a LoadProgress,
}

impl Gathered<'_> {
    #[inline]
    fn push(&mut self, entry: Entry, offset: u64) -> Result<(), String> {
        let hash = self.keyspace.hash(entry.view().key());
        let shard = self.keyspace.shard_of(hash).0 as usize;
        let gathered = &mut self.shards[shard];
        gathered.push((hash, entry));
        let is_delayed = self.progress.pause();
        if is_delayed {
            self.progress.loaded_bytes.store(offset, Ordering::Relaxed);
        }
        match gathered.len() < BATCH_KEYS && !is_delayed {
            true => Ok(()),
            false => self.flush(shard, offset),
        }
    }

    fn select(&mut self, db: DbIndex, offset: u64) -> Result<(), String> {
        self.flush_all(offset)?;
        self.db = db;
        Ok(())
    }

    fn flush_all(&mut self, offset: u64) -> Result<(), String> {
        (0..self.shards.len()).try_for_each(|shard| self.flush(shard, offset))
    }

    fn flush(&mut self, shard: usize, offset: u64) -> Result<(), String> {
        let entries = std::mem::take(&mut self.shards[shard]);
        let progress = self.progress;
        progress.loaded_bytes.store(offset, Ordering::Relaxed);
        if progress.stop.load(Ordering::Relaxed) {
            return Err("Loading was stopped".to_owned());
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.shards[shard].reserve_exact(BATCH_KEYS);
        let keys = entries.len() as u64;
        progress.keys_loaded.fetch_add(keys, Ordering::Relaxed);
        let (id, db) = (ShardId(shard as u32), self.db);
        match self.queues.get(shard % self.queues.len().max(1)) {
            None => {
                let inserted = self
                    .keyspace
                    .insert_into_shard(id, db, entries, self.now_ms);
                inserted.map_err(|duplicate| duplicate_message(&duplicate))
            }
            Some(queue) => {
                let batch = Batch {
                    shard: id,
                    db,
                    entries,
                };
                // Its inserter has met a duplicate, which is what is told in the end.
                queue.send(batch).map_err(|_| String::new())
            }
        }
    }
}

/// Logs what a file says of itself, as Redis does.
fn note_aux(name: &[u8], text: &[u8], now_ms: u64, progress: &LoadProgress) {
    let number = || std::str::from_utf8(text).ok()?.parse::<i64>().ok();
    let text = text.escape_ascii();
    match &*name.to_ascii_lowercase() {
        [b'%', ..] => tracing::info!("RDB '{}': {text}", name.escape_ascii()),
        b"redis-ver" => tracing::info!("Loading RDB produced by Redis version {text}"),
        b"valkey-ver" => tracing::info!("Loading RDB produced by Valkey version {text}"),
        b"ctime" => {
            let now_secs = i64::try_from(now_ms / 1000).unwrap_or(i64::MAX);
            let age = now_secs.saturating_sub(number().unwrap_or(0)).max(0);
            tracing::info!("RDB age {age} seconds");
        }
        b"used-mem" => {
            let bytes = number()
                .and_then(|bytes| u64::try_from(bytes).ok())
                .unwrap_or(0);
            progress.rdb_used_mem.store(bytes, Ordering::Relaxed);
            let megabytes = bytes as f64 / (1024.0 * 1024.0);
            tracing::info!("RDB memory usage when created {megabytes:.2} Mb");
        }
        b"aof-preamble" if number().is_some_and(|flag| flag != 0) => {
            tracing::info!("RDB has an AOF tail");
        }
        b"aof-base" if number().is_some_and(|flag| flag != 0) => {
            tracing::info!("RDB is base AOF");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
