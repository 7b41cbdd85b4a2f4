//! Loading the log: the BASE, then the INCR files, command by command.
//!
//! One thread reads and finds the requests, the caller's executes them. A file that ends within a
//! request, or within a transaction, was torn by a crash: with `aof-load-truncated` it is cut back to
//! where the last whole one ends, and said so. Anything else that is wrong stops the start.
//!
//! Two things differ from Redis on purpose. A tail of zeros, as some file systems leave one after a
//! power failure, counts as torn, wherever it begins. And what looks torn, but has whole requests in it, is a damaged
//! length in the middle: it is refused instead of cutting off everything behind it.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Instant;

use smallvec::SmallVec;

use crate::db::DbIndex;
use crate::persist::disk::{DiskFile, FileReader, OpenMode, read_full};
use crate::resp::parse::{Argv, Span};
use crate::sys::files::os_text;
use crate::util::ascii::eq_nocase;
use crate::util::num::parse_u64;

use super::files::Files;
use super::group::{end_of_log, has_group};
use super::read::{Batch, End, Scanner, has_requests};
use super::{AofError, fail};

/// How many pieces are read ahead.
const PIECES_AHEAD: usize = 4;
/// How many commands [`Target::look_ahead`] is told of: a processor fetches about so many lines at a
/// time.
const LOOK_AHEAD: usize = 16;
/// How far a tail that looks torn is searched for whole requests.
const SEARCH_BYTES_MAX: u64 = 8 << 20;
/// How much of a tail of zeros is looked at together.
const ZEROS_PIECE_BYTES: u64 = 64 << 10;
/// What snapshots begin with.
const SNAPSHOT_MAGICS: [&[u8]; 2] = [b"REDIS", b"VALKEY"];
/// The length of the longest of these.
pub(super) const SNAPSHOT_MAGIC_BYTES: usize = 6;

/// What the configuration says of loading.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadOptions {
    /// A torn tail is cut off (`aof-load-truncated`).
    pub truncated: bool,
    /// How many databases there are.
    pub databases: u32,
}

/// What became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loaded {
    /// There is no log.
    NotExist,
    /// There is one, and nothing in it.
    Empty,
    /// It is loaded.
    Ok,
    /// It is loaded, but for a torn tail, which was cut off.
    Truncated,
}

/// Where a log is loaded to.
pub trait Target {
    /// The next file begins.
    fn begin_file(&mut self, _name: &str) {}

    /// Some commands are executed next: what they need may be brought into the cache.
    fn look_ahead(&mut self, _db: DbIndex, _requests: &[Argv<'_>]) {}

    /// Executes a command. SELECT, MULTI and EXEC do not come here.
    ///
    /// # Errors
    /// A text that stops the loading, such as `Unknown command 'x' reading the append only file`; the
    /// file's name is put behind it.
    fn run(&mut self, db: DbIndex, argv: Argv<'_>) -> Result<(), String>;

    /// Loads a snapshot that `input` begins with; how many bytes it takes.
    ///
    /// # Errors
    /// A text that stops the loading.
    fn load_rdb(&mut self, input: Box<dyn Read + Send>) -> Result<u64, String>;
}

/// Loads all files. `loaded_bytes` counts along.
pub(super) fn load(
    files: &Files,
    options: LoadOptions,
    target: &mut dyn Target,
    loaded_bytes: &Arc<AtomicU64>,
) -> Result<Loaded, AofError> {
    if files.manifest.is_empty() {
        return Ok(Loaded::NotExist);
    }
    let (base_bytes, incr_bytes) = files.sizes()?;
    if base_bytes + incr_bytes == 0 {
        return Ok(Loaded::Empty);
    }
    let mut loaded = Loaded::Ok;
    let names: Vec<&str> = files
        .manifest
        .live()
        .map(|file| file.name.as_str())
        .collect();
    for (index, name) in names.iter().enumerate() {
        let is_empty = |name: &&str| files.disk.stat(&files.path(name)).is_ok_and(|s| s.len == 0);
        // A rewrite that had just begun leaves an empty file behind the one that was written.
        let is_last = names[index + 1..].iter().all(is_empty);
        let kind = match &files.manifest.base {
            Some(base) if base.name == *name => "base",
            _ => "incr",
        };
        target.begin_file(name);
        let started = Instant::now();
        let file = LoadFile {
            files,
            name,
            options,
            is_last,
            loaded_bytes,
        };
        if file.load(target)? == Loaded::Truncated {
            loaded = Loaded::Truncated;
        }
        let secs = started.elapsed().as_secs_f64();
        tracing::info!("DB loaded from {kind} file {name}: {secs:.3} seconds");
    }
    Ok(loaded)
}

struct LoadFile<'a> {
    files: &'a Files,
    name: &'a str,
    options: LoadOptions,
    /// No data comes after this file.
    is_last: bool,
    loaded_bytes: &'a Arc<AtomicU64>,
}

impl LoadFile<'_> {
    fn load(&self, target: &mut dyn Target) -> Result<Loaded, AofError> {
        let name = self.name;
        let path = self.files.path(name);
        let file = self
            .files
            .disk
            .open(&path, OpenMode::Read)
            .or_else(|error| {
                let reason = os_text(&error);
                fail(format!(
                    "Fatal error: can't open the append log file {name} for reading: {reason}"
                ))
            })?;
        let unreadable = |error: io::Error| {
            let reason = os_text(&error);
            AofError(format!(
                "Unrecoverable error reading the append only file {name}: {reason}"
            ))
        };
        let start = match is_snapshot(&*file).map_err(unreadable)? {
            true => self.load_snapshot(&file, target)?,
            false => 0,
        };
        let scanner = Scanner::new(file.clone(), start).map_err(unreadable)?;
        let mut replay = Replay {
            name,
            databases: self.options.databases,
            target,
            db: DbIndex::default(),
            queue: None,
            valid_up_to: start,
            valid_before_multi: start,
        };
        let end = replay.run(scanner, self.loaded_bytes)?;
        let open_transaction = replay.queue.is_some();
        let cut_at = match open_transaction {
            true => replay.valid_before_multi,
            false => replay.valid_up_to,
        };
        let bad = || {
            fail(format!(
                "Bad file format reading the append only file {name}, at offset {cut_at}: make a \
                 backup of your AOF file, then use ./kivi-server --check-aof <filename.manifest> --fix"
            ))
        };
        match end {
            End::Clean if !open_transaction => Ok(Loaded::Ok),
            End::Clean => {
                tracing::warn!("Revert incomplete MULTI/EXEC transaction in AOF file {name}");
                self.cut(cut_at)
            }
            End::Io(error) => Err(unreadable(error)),
            end => match is_torn(&file, end).map_err(unreadable)? {
                true => self.cut(cut_at),
                false => bad(),
            },
        }
    }

    fn load_snapshot(
        &self,
        file: &Arc<dyn DiskFile>,
        target: &mut dyn Target,
    ) -> Result<u64, AofError> {
        let name = self.name;
        let is_old_style = name == self.files.place.filename;
        match is_old_style {
            true => tracing::info!("Reading RDB preamble from AOF file..."),
            false => tracing::info!("Reading RDB base file on AOF loading..."),
        }
        let input = CountingReader {
            reader: FileReader {
                file: file.clone(),
                offset: 0,
            },
            count: self.loaded_bytes.clone(),
        };
        let before = self.loaded_bytes.load(Ordering::Relaxed);
        match target.load_rdb(Box::new(input)) {
            Ok(bytes) => {
                // It may have read ahead.
                let done = before.saturating_add(bytes);
                self.loaded_bytes.store(done, Ordering::Relaxed);
                if is_old_style {
                    tracing::info!("Reading the remaining AOF tail...");
                }
                Ok(bytes)
            }
            Err(text) => {
                tracing::warn!("{text}");
                match is_old_style {
                    true => fail(format!(
                        "Error reading the RDB preamble of the AOF file {name}, AOF loading aborted"
                    )),
                    false => fail(format!(
                        "Error reading the RDB base file {name}, AOF loading aborted"
                    )),
                }
            }
        }
    }

    /// Cuts off the tail of a torn file, if that is allowed.
    fn cut(&self, at: u64) -> Result<Loaded, AofError> {
        let name = self.name;
        if !self.options.truncated {
            return fail(format!(
                "Unexpected end of file reading the append only file {name}. You can: \
                 1) Make a backup of your AOF file, then use ./kivi-server --check-aof \
                 <filename.manifest> --fix. 2) Alternatively you can set the 'aof-load-truncated' \
                 configuration option to yes and restart the server."
            ));
        }
        if !self.is_last {
            return fail(format!(
                "Fatal error: the truncated file is not the last file ({name})"
            ));
        }
        tracing::warn!("!!! Warning: short read while loading the AOF file {name}!!!");
        tracing::warn!("!!! Truncating the AOF {name} at offset {at} !!!");
        let file = self.files.disk.open(&self.files.path(name), OpenMode::Edit);
        let cut = file.and_then(|file| {
            file.set_len(at)?;
            file.sync_data()
        });
        cut.or_else(|error| {
            let reason = os_text(&error);
            fail(format!("Error truncating the AOF file {name}: {reason}"))
        })?;
        tracing::warn!("AOF {name} loaded anyway because aof-load-truncated is enabled");
        Ok(Loaded::Truncated)
    }
}

/// The execution of one file.
struct Replay<'a> {
    name: &'a str,
    databases: u32,
    target: &'a mut dyn Target,
    db: DbIndex,
    /// What came since MULTI.
    queue: Option<Queue>,
    valid_up_to: u64,
    valid_before_multi: u64,
}

impl Replay<'_> {
    /// Executes the file; how it ends.
    fn run(&mut self, scanner: Scanner, loaded_bytes: &AtomicU64) -> Result<End, AofError> {
        std::thread::scope(|scope| {
            let (full_sender, full) = sync_channel(PIECES_AHEAD);
            let (empty, empty_receiver) = channel();
            scope.spawn(move || read_ahead(scanner, &full_sender, &empty_receiver));
            for piece in full {
                let batch: Batch = match piece {
                    Ok(batch) => batch,
                    Err(end) => return Ok(end),
                };
                let start = self.valid_up_to;
                self.batch(&batch)?;
                loaded_bytes.fetch_add(self.valid_up_to - start, Ordering::Relaxed);
                // The reader is at its end: it needs no more buffers.
                let _ = empty.send(batch);
            }
            // The reader always says how the file ends.
            Ok(End::Torn(self.valid_up_to))
        })
    }

    fn batch(&mut self, batch: &Batch) -> Result<(), AofError> {
        for index in 0..batch.len() {
            if index % LOOK_AHEAD == 0 {
                let next = index..batch.len().min(index + LOOK_AHEAD);
                let requests: SmallVec<[Argv<'_>; LOOK_AHEAD]> =
                    next.map(|index| batch.argv(index)).collect();
                self.target.look_ahead(self.db, &requests);
            }
            self.request(batch.argv(index))?;
            self.valid_up_to = batch.end(index);
        }
        Ok(())
    }

    fn request(&mut self, argv: Argv<'_>) -> Result<(), AofError> {
        match &mut self.queue {
            Some(queue) if !is_word(argv, b"EXEC") => queue.push(argv),
            Some(_) => {
                let queue = self.queue.take().unwrap_or_default();
                for argv in queue.iter() {
                    self.execute(argv)?;
                }
            }
            None if is_word(argv, b"MULTI") => {
                self.valid_before_multi = self.valid_up_to;
                self.queue = Some(Queue::default());
            }
            None => self.execute(argv)?,
        }
        Ok(())
    }

    fn execute(&mut self, argv: Argv<'_>) -> Result<(), AofError> {
        let Some(db) = selected(argv) else {
            let done = self.target.run(self.db, argv);
            return done.or_else(|text| fail(format!("{text} {}", self.name)));
        };
        match parse_u64(db).filter(|index| *index < u64::from(self.databases)) {
            Some(index) => {
                self.db = DbIndex(index as u32);
                Ok(())
            }
            None => fail(format!(
                "DB index {} is out of range reading the append only file {}",
                db.escape_ascii(),
                self.name
            )),
        }
    }
}

/// The database that a request selects, as it is written; none if it is no SELECT.
pub(super) fn selected<'r>(argv: Argv<'r>) -> Option<&'r [u8]> {
    let is_select = argv.len() == 2 && eq_nocase(argv.get(0)?, b"SELECT");
    argv.get(1).filter(|_| is_select)
}

/// Whether a request is just this word.
pub(super) fn is_word(argv: Argv<'_>, word: &[u8]) -> bool {
    argv.len() == 1 && argv.get(0).is_some_and(|name| eq_nocase(name, word))
}

/// Requests that wait for EXEC.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Arguments, counted from where the request begins in `bytes`.
    spans: Vec<Span>,
    /// Where each request ends in `bytes` and in `spans`.
    ends: Vec<(usize, usize)>,
}

impl Queue {
    fn push(&mut self, argv: Argv<'_>) {
        let mut start = 0;
        for arg in argv.iter() {
            // It is shorter than the request that it comes from.
            let len = arg.len() as u32;
            self.spans.push(Span { start, len });
            self.bytes.extend_from_slice(arg);
            start += len;
        }
        self.ends.push((self.bytes.len(), self.spans.len()));
    }

    fn iter(&self) -> impl Iterator<Item = Argv<'_>> {
        let starts = std::iter::once(&(0, 0)).chain(&self.ends);
        starts
            .zip(&self.ends)
            .map(|(start, end)| Argv::new(&self.bytes[start.0..end.0], &self.spans[start.1..end.1]))
    }
}

/// Reads pieces until the file ends or nobody wants them.
fn read_ahead(
    mut scanner: Scanner,
    full: &SyncSender<Result<Batch, End>>,
    empty: &Receiver<Batch>,
) {
    loop {
        let mut batch = empty.try_recv().unwrap_or_default();
        let piece = scanner.next(&mut batch).map(|()| batch);
        let is_end = piece.is_err();
        if full.send(piece).is_err() || is_end {
            return;
        }
    }
}

struct CountingReader {
    reader: FileReader,
    count: Arc<AtomicU64>,
}

impl Read for CountingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The bytes from `at` to `end`, of a tail no more than is searched; fewer where the file ends.
fn read_range(file: &dyn DiskFile, at: u64, end: u64) -> io::Result<Vec<u8>> {
    let left = file.stat_len()?.min(end).saturating_sub(at);
    let mut bytes = vec![0; left.min(SEARCH_BYTES_MAX) as usize];
    let end = read_full(file, &mut bytes, at)?;
    bytes.truncate(end);
    Ok(bytes)
}

/// Whether a file begins with a snapshot.
pub(super) fn is_snapshot(file: &dyn DiskFile) -> io::Result<bool> {
    Ok(begins_snapshot(&read_range(
        file,
        0,
        SNAPSHOT_MAGIC_BYTES as u64,
    )?))
}

/// Whether a file that begins with `head` begins with a snapshot.
pub(super) fn begins_snapshot(head: &[u8]) -> bool {
    SNAPSHOT_MAGICS.iter().any(|magic| head.starts_with(magic))
}

/// Whether a file that ends so was torn by a crash, and not damaged.
fn is_torn(file: &Arc<dyn DiskFile>, end: End) -> io::Result<bool> {
    let (End::Bad(at) | End::Torn(at) | End::TornGroup(at)) = end else {
        return Ok(matches!(end, End::Clean));
    };
    let len = end_of_log(&**file)?;
    let data_end = before_zeros(&**file, at, len)?;
    let end = match end {
        // Without the zeros that a power failure has left, what was being written only ends too early.
        End::Bad(_) if data_end < len => {
            let mut scanner = Scanner::up_to(file.clone(), at, data_end);
            match scanner.next(&mut Batch::default()) {
                Err(end) => end,
                Ok(()) => return Ok(false),
            }
        }
        end => end,
    };
    Ok(match end {
        End::Clean => true,
        // It claims the rest of the file: there must not be whole requests in it.
        End::Torn(at) => !has_requests(&read_range(&**file, at, data_end)?, at),
        // Behind a group that is not whole there are none that are.
        End::TornGroup(at) => !has_group(&read_range(&**file, at + 1, data_end)?),
        End::Bad(_) | End::Io(_) => false,
    })
}

/// Where the zeros begin with which what is between `at` and `end` ends.
fn before_zeros(file: &dyn DiskFile, at: u64, mut end: u64) -> io::Result<u64> {
    while end > at {
        let start = end.saturating_sub(ZEROS_PIECE_BYTES).max(at);
        let bytes = read_range(file, start, end)?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(at)
}
