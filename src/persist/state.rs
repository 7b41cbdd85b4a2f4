//! What persistence is doing and has done: the running job, what is due next, and the figures of
//! INFO persistence.
//!
//! One job at a time writes a snapshot of the keyspace: SAVE, BGSAVE, or the rewrite of the log. It
//! has the slot ([`State::begin`]) until it ends ([`State::end`]); it is asked to stop by its
//! [`Job::cancel`]. Who starts jobs is `server::saving`; this only keeps the book.
//!
//! What every command must know (the dataset is being loaded, or cannot be written to disk) is a
//! set of [`Marks`] that is read with one load.
//!
//! To add a figure: a field of [`Book`], its line in `commands::info`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use super::aof::{Aof, AofState};
use super::disk::{DirLock, Disk, LockError};
use super::rdb::LoadProgress;
use super::snapshot::SaveProgress;

/// How long a snapshot that failed is not tried again by itself, seconds.
pub const RETRY_DELAY_SECS: u64 = 5;

/// What a job writes, and who waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobKind {
    /// SAVE, the save of a shutdown, DEBUG RELOAD: a client waits.
    Save,
    /// BGSAVE.
    BgSave,
    /// The base of the append-only log.
    AofRewrite,
}

/// The job that has the slot.
#[derive(Clone, Debug)]
pub struct Job {
    /// What it is.
    pub kind: JobKind,
    /// Set: it shall stop, and leave everything as it was.
    pub cancel: Arc<AtomicBool>,
    /// When it began, Unix ms.
    pub started_at_ms: u64,
}

impl Job {
    fn stop(&self) {
        self.cancel.store(true, Ordering::Release);
    }

    /// Whether this is that very job.
    fn is(&self, other: &Job) -> bool {
        Arc::ptr_eq(&self.cancel, &other.cancel)
    }
}

/// How a job ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobEnd {
    /// What it wrote is in its place. Changes of the keyspace when the snapshot began.
    Done {
        /// See [`crate::db::Keyspace::changes`].
        changes: u64,
    },
    /// It could not.
    Failed,
    /// It was asked to stop.
    Cancelled,
}

/// Conditions that concern every command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Marks(u8);

impl Marks {
    /// The dataset is being loaded.
    pub const LOADING: Marks = Marks(1);
    /// The last background snapshot failed.
    pub const RDB_FAILED: Marks = Marks(2);
    /// The log could not be written or synced.
    pub const AOF_FAILED: Marks = Marks(4);

    /// Nothing is out of the ordinary.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a condition holds.
    #[inline]
    pub fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 != 0
    }
}

/// What is remembered, and what is due next.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// When the last snapshot was written, or the server started; Unix s.
    pub last_save_secs: u64,
    /// When a background snapshot was last begun, Unix s; 0: never.
    pub last_bgsave_try_secs: u64,
    /// The last background snapshot failed.
    pub bgsave_failed: bool,
    /// How long the last background snapshot took, seconds.
    pub last_bgsave_took_secs: Option<u64>,
    /// [`crate::db::Keyspace::changes`] at the last snapshot.
    pub changes_saved: u64,
    /// Snapshots begun.
    pub saves: u64,
    /// Most memory that the last snapshot held, bytes.
    pub last_cow_bytes: u64,
    /// BGSAVE SCHEDULE.
    pub is_bgsave_scheduled: bool,
    /// Rewrites of the log begun.
    pub rewrites: u64,
    /// The last one failed.
    pub rewrite_failed: bool,
    /// How long it took, seconds.
    pub last_rewrite_took_secs: Option<u64>,
    /// Most memory that the last rewrite held, bytes.
    pub last_rewrite_cow_bytes: u64,
    /// BGREWRITEAOF while another job ran, or a log that waits for its first rewrite.
    pub is_rewrite_scheduled: bool,
    /// Keys that the last load brought.
    pub loaded_keys: u64,
    /// Keys that it left out since they had expired.
    pub loaded_expired_keys: u64,
    /// What is being loaded is the log.
    pub is_loading_aof: bool,
    /// When the load in progress began, Unix ms.
    pub load_started_at_ms: u64,
    /// Why the log could not be written.
    pub aof_error: String,
    /// The running job.
    pub job: Option<Job>,
    /// The shutdown that is going on.
    pub shutdown: Option<Shutdown>,
    /// How many there were.
    pub shutdowns: u64,
    /// The number of the last one that was aborted.
    pub aborted_shutdown: u64,
}

/// What becomes of a shutdown.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Tells it from others.
    number: u64,
    /// SHUTDOWN ABORT: it is not to take place.
    is_aborted: bool,
    /// Nothing stops it any more.
    is_certain: bool,
    /// Its snapshot.
    save: Option<Job>,
}

impl Book {
    /// A shutdown is going on.
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown.is_some()
    }

    /// The kind of the running job.
    pub fn running(&self) -> Option<JobKind> {
        self.job.as_ref().map(|job| job.kind)
    }

    /// Whether a snapshot that failed may be tried again.
    pub fn may_retry_bgsave(&self, now_secs: u64) -> bool {
        let since_secs = now_secs.saturating_sub(self.last_bgsave_try_secs);
        !self.bgsave_failed || since_secs > RETRY_DELAY_SECS
    }
}

/// See the module's text.
pub struct State {
    /// Where files are.
    pub disk: Arc<dyn Disk>,
    /// How far the running snapshot is.
    pub saving: SaveProgress,
    /// How far the running load is.
    pub loading: LoadProgress,
    marks: AtomicU8,
    book: Mutex<Book>,
    /// The slot became free.
    freed: Condvar,
    /// The log, once it was opened.
    pub aof: RwLock<Option<Arc<Aof>>>,
    /// The thread that writes it.
    pub aof_thread: Mutex<Option<JoinHandle<()>>>,
    /// The data directory, once something is to be written there.
    dir_lock: Mutex<Option<DirLock>>,
    /// The directory of the log, when that is another one by now.
    log_lock: Mutex<Option<DirLock>>,
    locks_dir: bool,
}

impl State {
    /// Nothing done yet, on this disk. `locks_dir`: the directory is a real one, which has to be
    /// kept from other servers.
    pub fn new(disk: Arc<dyn Disk>, locks_dir: bool, now_ms: u64) -> State {
        let book = Book {
            last_save_secs: now_ms / 1000,
            ..Book::default()
        };
        State {
            disk,
            saving: SaveProgress::default(),
            loading: LoadProgress::default(),
            marks: AtomicU8::new(0),
            book: Mutex::new(book),
            freed: Condvar::new(),
            aof: RwLock::new(None),
            aof_thread: Mutex::new(None),
            dir_lock: Mutex::new(None),
            log_lock: Mutex::new(None),
            locks_dir,
        }
    }

    /// What concerns every command.
    #[inline]
    pub fn marks(&self) -> Marks {
        Marks(self.marks.load(Ordering::Acquire))
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        let mut book = self.book.lock();
        (book.saves, book.rewrites) = (0, 0);
    }

    /// Sets or clears a condition.
    pub fn mark(&self, mark: Marks, holds: bool) {
        match holds {
            true => self.marks.fetch_or(mark.0, Ordering::AcqRel),
            false => self.marks.fetch_and(!mark.0, Ordering::AcqRel),
        };
    }

    /// The book, to be read and written.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// The log, if it was opened.
    pub fn aof(&self) -> Option<Arc<Aof>> {
        self.aof.read().clone()
    }

    /// Keeps other servers off the data directory from now on.
    ///
    /// # Errors
    /// When another server has it. One that cannot be opened is none: whoever wants to write there
    /// will find out.
    pub fn own_dir(&self, dir: &Path) -> Result<(), LockError> {
        if !self.locks_dir {
            return Ok(());
        }
        let mut held = self.dir_lock.lock();
        let log_lock = self.log_lock.lock();
        if log_lock
            .as_ref()
            .is_some_and(|log_lock| log_lock.is_of(dir))
        {
            // CONFIG SET dir has not come to its end: who saves at that moment goes by the old one.
            return Ok(());
        }
        drop(log_lock);
        let locked = match &mut *held {
            Some(lock) => lock.move_to(dir).map(drop),
            None => DirLock::take(dir).map(|lock| {
                *held = Some(lock);
                remove_litter(&*self.disk, dir, |pid| {
                    Path::new("/proc").join(pid).exists()
                });
            }),
        };
        match locked {
            Err(LockError::Io(..)) => Ok(()),
            locked => locked,
        }
    }

    /// The data directory is another one from now on (CONFIG SET dir). A log that is on stays where it
    /// is, in a directory that nobody else may use.
    ///
    /// # Errors
    /// When another server has it.
    pub fn dir_changed(&self, dir: &Path) -> Result<(), LockError> {
        let mut held = self.dir_lock.lock();
        let Some(lock) = &mut *held else {
            return Ok(());
        };
        let mut log_lock = self.log_lock.lock();
        if let Some(back) = log_lock.take_if(|log_lock| log_lock.is_of(dir)) {
            *lock = back;
            return Ok(());
        }
        let former = lock.move_to(dir)?;
        let aof = self.aof();
        let is_written = aof.is_some_and(|aof| aof.state() != AofState::Off);
        if is_written && log_lock.is_none() {
            *log_lock = former;
        }
        Ok(())
    }

    /// The log is no longer written.
    pub fn log_is_off(&self) {
        *self.log_lock.lock() = None;
    }

    /// Takes the slot.
    ///
    /// # Errors
    /// The job that has it.
    pub fn begin(&self, kind: JobKind, now_ms: u64) -> Result<Job, JobKind> {
        let mut book = self.book.lock();
        match book.running() {
            Some(other) => Err(other),
            None => Ok(start(&mut book, kind, now_ms)),
        }
    }

    /// Takes the slot as soon as it is free.
    pub fn begin_when_free(&self, kind: JobKind, now_ms: impl Fn() -> u64) -> Job {
        let mut book = self.book.lock();
        while book.job.is_some() {
            self.freed.wait(&mut book);
        }
        start(&mut book, kind, now_ms())
    }

    /// Gives the slot back.
    pub fn end(&self, job: &Job, end: JobEnd, cow_bytes: u64, now_ms: u64) {
        let mut book = self.book.lock();
        let took_secs = now_ms.saturating_sub(job.started_at_ms) / 1000;
        let now_secs = now_ms / 1000;
        match job.kind {
            JobKind::Save | JobKind::BgSave => {
                if let JobEnd::Done { changes } = end {
                    book.changes_saved = changes;
                    book.last_save_secs = now_secs;
                    book.bgsave_failed = false;
                }
                if job.kind == JobKind::BgSave {
                    book.bgsave_failed |= end == JobEnd::Failed;
                    book.last_bgsave_took_secs = Some(took_secs);
                    book.last_cow_bytes = cow_bytes;
                }
                self.mark(Marks::RDB_FAILED, book.bgsave_failed);
            }
            JobKind::AofRewrite => {
                book.last_rewrite_took_secs = Some(took_secs);
                book.last_rewrite_cow_bytes = cow_bytes;
                if end != JobEnd::Cancelled {
                    book.rewrite_failed = end == JobEnd::Failed;
                }
            }
        }
        book.job = None;
        self.freed.notify_all();
    }

    /// Tells the running job to stop, if it is of this kind; whether it was.
    pub fn cancel(&self, kind: JobKind) -> bool {
        let book = self.book.lock();
        let job = book.job.as_ref().filter(|job| job.kind == kind);
        job.inspect(|job| job.stop()).is_some()
    }

    /// Tells the job of this kind to stop, and waits until it has.
    pub fn cancel_and_wait(&self, kind: JobKind) -> bool {
        let mut book = self.book.lock();
        let Some(found) = book.job.clone().filter(|job| job.kind == kind) else {
            return false;
        };
        found.stop();
        // The next one may be of the same kind.
        while book.job.as_ref().is_some_and(|job| job.is(&found)) {
            self.freed.wait(&mut book);
        }
        true
    }

    /// Waits until no job runs.
    #[cfg(test)]
    pub fn wait_until_free(&self) {
        let mut book = self.book.lock();
        while book.job.is_some() {
            self.freed.wait(&mut book);
        }
    }

    /// Has whoever loads the dataset stop.
    pub fn stop_loading(&self) {
        self.loading.stop.store(true, Ordering::Relaxed);
    }

    /// SHUTDOWN ABORT: stops a shutdown, and the save that it has begun, but no other one; whether
    /// there was one that could still be stopped.
    pub fn abort_shutdown(&self) -> bool {
        let mut book = self.book.lock();
        let shutdown = book.shutdown.as_mut();
        let Some(shutdown) = shutdown.filter(|it| !it.is_certain && !it.is_aborted) else {
            return false;
        };
        shutdown.is_aborted = true;
        let number = shutdown.number;
        if let Some(save) = &shutdown.save {
            save.stop();
        }
        book.aborted_shutdown = number;
        // It may wait for the slot.
        self.freed.notify_all();
        true
    }

    /// Begins a shutdown, or joins the one that is going on: whether that works or is aborted, all
    /// who want it hear the same. One that has been aborted is none any more, its end is waited for.
    pub fn shut_down(&self) -> Turn<'_> {
        let mut book = self.book.lock();
        while is_aborted(&book) {
            self.freed.wait(&mut book);
        }
        if let Some(other) = &book.shutdown {
            return Turn::Another(AnotherShutdown {
                state: self,
                number: other.number,
            });
        }
        book.shutdowns += 1;
        book.shutdown = Some(Shutdown {
            number: book.shutdowns,
            ..Shutdown::default()
        });
        Turn::Ours(ShuttingDown { state: self })
    }
}

/// Whose shutdown it is.
pub enum Turn<'s> {
    /// It is to be done.
    Ours(ShuttingDown<'s>),
    /// Somebody does it already.
    Another(AnotherShutdown<'s>),
}

/// The shutdown of somebody else.
pub struct AnotherShutdown<'s> {
    state: &'s State,
    number: u64,
}

impl AnotherShutdown<'_> {
    /// Returns when it has ended, in one way or the other; whether it was aborted.
    pub fn wait(&self) -> bool {
        let mut book = self.state.book.lock();
        let is_going_on = |book: &Book| {
            let shutdown = book.shutdown.as_ref();
            shutdown.is_some_and(|shutdown| shutdown.number == self.number)
        };
        while is_going_on(&book) {
            self.state.freed.wait(&mut book);
        }
        book.aborted_shutdown >= self.number
    }
}

/// Removes snapshots that processes which are no more have left half written.
fn remove_litter(disk: &dyn Disk, dir: &Path, is_alive: impl Fn(&str) -> bool) {
    for name in disk.list(dir).unwrap_or_default() {
        let name = name.to_string_lossy();
        let pid = name.strip_prefix("temp-");
        let Some(pid) = pid.and_then(|rest| rest.strip_suffix(".rdb")) else {
            continue;
        };
        let is_pid = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
        if is_pid && !is_alive(pid) && disk.remove(&dir.join(&*name)).is_ok() {
            tracing::info!("Removed {name}, a snapshot that was never finished");
        }
    }
}

fn start(book: &mut Book, kind: JobKind, now_ms: u64) -> Job {
    match kind {
        JobKind::Save => book.saves += 1,
        JobKind::BgSave => {
            book.saves += 1;
            book.last_bgsave_try_secs = now_ms / 1000;
            book.is_bgsave_scheduled = false;
        }
        JobKind::AofRewrite => book.rewrites += 1,
    }
    let job = Job {
        kind,
        cancel: Arc::default(),
        started_at_ms: now_ms,
    };
    book.job = Some(job.clone());
    job
}

/// A shutdown that is going on, held by whoever does it.
pub struct ShuttingDown<'s> {
    state: &'s State,
}

impl ShuttingDown<'_> {
    /// Takes the slot for its snapshot as soon as it is free; `None` when it was aborted.
    pub fn begin_save(&self, now_ms: impl Fn() -> u64) -> Option<Job> {
        let mut book = self.state.book.lock();
        while book.job.is_some() && !is_aborted(&book) {
            self.state.freed.wait(&mut book);
        }
        if is_aborted(&book) {
            return None;
        }
        let job = start(&mut book, JobKind::Save, now_ms());
        if let Some(shutdown) = &mut book.shutdown {
            shutdown.save = Some(job.clone());
        }
        Some(job)
    }

    /// Whether SHUTDOWN ABORT was there.
    pub fn is_aborted(&self) -> bool {
        is_aborted(&self.state.book.lock())
    }

    /// Nothing stops it from here on; false when it was aborted before.
    pub fn make_certain(&self) -> bool {
        let mut book = self.state.book.lock();
        let shutdown = book.shutdown.as_mut();
        let shutdown = shutdown.filter(|shutdown| !shutdown.is_aborted);
        shutdown.map(|it| it.is_certain = true).is_some()
    }
}

fn is_aborted(book: &Book) -> bool {
    let shutdown = book.shutdown.as_ref();
    shutdown.is_some_and(|shutdown| shutdown.is_aborted)
}

impl Drop for ShuttingDown<'_> {
    fn drop(&mut self) {
        self.state.book.lock().shutdown = None;
        self.state.freed.notify_all();
    }
}

#[cfg(test)]
mod tests;
