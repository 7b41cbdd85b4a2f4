//! Snapshots in files: SAVE, BGSAVE, save points, and the save of a shutdown.
//!
//! A snapshot is written under a temporary name and takes the place of the old one only when it is
//! durable; whatever fails before leaves the old one alone. The slot for jobs and the figures are
//! those of `persist::State`; what is written, and how, is `persist::snapshot`'s.
//!
//! Log lines are Redis's wherever people look for them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::client::pause::{PauseBy, PauseMode};
use crate::config::{Config, SavePoint, ShutdownFlags};
use crate::db::{Access, DbIndex};
use crate::persist::rdb::encode::{Aux, EncodeOptions};
use crate::persist::snapshot::{
    self, FileSink, Libraries, Rdb, SnapshotError, SnapshotOptions, Sources, Summary,
};
use crate::persist::state::{
    AnotherShutdown, Book, Job, JobEnd, JobKind, Marks, ShuttingDown, Turn,
};
use crate::sys::files::os_text;
use crate::sys::places::{self, Place};
use crate::sys::{alloc, process};

use super::{KIVI_VERSION, Lifecycle, REDIS_VERSION, Server, rewriting};

/// How often is asked whether the script that runs has ended.
const SCRIPT_ENDS: Duration = Duration::from_millis(5);

/// Why a background job did not begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotStarted {
    /// Another job runs.
    Busy(JobKind),
    /// It failed at once; the log says why.
    Failed,
}

/// Why there is no new snapshot; the log tells more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotSaved {
    /// It could not be written.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// The shutdown did not take place; the log says why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShutdownFailed;

/// BGSAVE: begins a snapshot on a thread of its own, and returns when its moment is over. Opening the
/// file may take a while before: nobody who serves clients should wait for that.
///
/// # Errors
/// When it did not begin.
pub fn start_bgsave(server: &Arc<Server>) -> Result<(), NotStarted> {
    let cut = begin_bgsave(server)?;
    // Who has the reply may write at once, and what is written then is not in the snapshot: as with a
    // fork. (An error: there will be no snapshot.)
    let _ = cut.recv();
    Ok(())
}

/// Begins a snapshot; what tells when its moment is over.
fn begin_bgsave(server: &Arc<Server>) -> Result<mpsc::Receiver<()>, NotStarted> {
    let begun = server
        .persist
        .begin(JobKind::BgSave, server.clock.unix_ms());
    let job = begun.map_err(NotStarted::Busy)?;
    let (own, running) = (server.clone(), job.clone());
    let (at_cut, cut) = mpsc::channel();
    let spawned = std::thread::Builder::new()
        .name("kivi-bgsave".into())
        .spawn(move || {
            take_place(Place::Saving);
            run_bgsave(&own, &running, &at_cut);
        });
    match spawned {
        Ok(_) => {
            tracing::info!("Background saving started by pid {}", process::pid());
            Ok(cut)
        }
        Err(error) => {
            tracing::warn!("Can't save in background: {error}");
            end(server, &job, JobEnd::Failed, 0);
            Err(NotStarted::Failed)
        }
    }
}

/// Moves the calling thread to where its work is to be done, if it can be.
pub(super) fn take_place(place: Place) {
    if let Err(error) = places::take(place) {
        tracing::warn!("A thread cannot run where it should ({place:?}): {error}");
    }
}

fn run_bgsave(server: &Arc<Server>, job: &Job, at_cut: &mpsc::Sender<()>) {
    let cut = || {
        // Nobody may be waiting any more.
        let _ = at_cut.send(());
    };
    match save(server, job, cut) {
        Ok(()) => tracing::info!("Background saving terminated with success"),
        Err(NotSaved::Cancelled) => tracing::warn!("Background saving cancelled"),
        Err(NotSaved::Failed) => tracing::warn!("Background saving error"),
    }
}

/// SAVE: writes a snapshot and returns when it is there. Waits for a job that is running.
///
/// # Errors
/// When it could not be written.
pub fn save_now(server: &Arc<Server>) -> Result<(), NotSaved> {
    let now_ms = || server.clock.unix_ms();
    let job = server.persist.begin_when_free(JobKind::Save, now_ms);
    save(server, &job, || ())
}

/// Writes the snapshot of a job that has the slot, and ends the job. `at_cut` is called in the moment
/// whose state the file will hold.
fn save(server: &Arc<Server>, job: &Job, at_cut: impl FnOnce()) -> Result<(), NotSaved> {
    let config = server.config();
    let is_busy = |busy| {
        if let Some(aof) = server.persist.aof() {
            aof.set_disk_busy(&server.keyspace.oplog, busy);
        }
    };
    is_busy(job.kind == JobKind::BgSave);
    let written = write_file(server, &config, job, at_cut);
    is_busy(false);
    match written {
        Ok(summary) => {
            tracing::info!("DB saved on disk");
            let held_mb = summary.held_peak_bytes / (1024 * 1024);
            tracing::info!(
                "{} keys, {} bytes; {held_mb} MB held back for the snapshot at most (no fork)",
                summary.keys,
                summary.bytes
            );
            let done = JobEnd::Done {
                changes: summary.changes,
            };
            end(server, job, done, summary.held_peak_bytes);
            Ok(())
        }
        Err(failure) => {
            let cow_bytes = server.keyspace.snapshot.held_peak_bytes();
            let cancelled = matches!(failure, Failure::Cancelled);
            let (how, why) = match cancelled {
                true => (JobEnd::Cancelled, NotSaved::Cancelled),
                false => (JobEnd::Failed, NotSaved::Failed),
            };
            failure.log(&config.dir);
            end(server, job, how, cow_bytes);
            Err(why)
        }
    }
}

/// Gives the slot back; what runs next is up to the cron.
pub(super) fn end(server: &Server, job: &Job, how: JobEnd, cow_bytes: u64) {
    let now_ms = server.clock.unix_ms();
    server.persist.end(job, how, cow_bytes, now_ms);
}

/// Why a file was not written.
enum Failure {
    Cancelled,
    Open(PathBuf, String),
    Write(&'static str, io::Error),
    Rename(PathBuf, PathBuf, io::Error),
}

impl Failure {
    fn log(&self, dir: &Path) {
        let dir = dir.display();
        match self {
            Failure::Cancelled => {}
            Failure::Open(temporary, why) => tracing::warn!(
                "Failed opening the temp RDB file {} (in server root dir {dir}) for saving: {why}",
                name_of(temporary)
            ),
            Failure::Write(step, error) => tracing::warn!(
                "Write error while saving DB to the disk({step}): {}",
                os_text(error)
            ),
            Failure::Rename(temporary, name, error) => tracing::warn!(
                "Error moving temp DB file {} on the final destination {} (in server root dir \
                 {dir}): {}",
                name_of(temporary),
                name_of(name),
                os_text(error)
            ),
        }
    }
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The name that a snapshot has until it is whole. Always the same, as nobody else writes in the
/// folder: what a killed server leaves is overwritten by the next one.
fn temporary_name(config: &Config) -> PathBuf {
    let mut name = std::ffi::OsString::from("temp-");
    name.push(&config.dbfilename);
    config.dir.join(name)
}

/// What is asked of a snapshot's records; `sources` are the libraries of functions.
pub(super) fn rdb<'a>(
    server: &Server,
    config: &Config,
    aof_base: bool,
    sources: Sources<'a>,
) -> Rdb<'a> {
    let now_ms = server.clock.unix_ms();
    let stamp = || server.keyspace.usage.stamp(now_ms);
    let usage = config.maxmemory_policy.goes_by_use().then(stamp);
    Rdb {
        encode: EncodeOptions {
            compress: config.rdbcompression,
            usage,
        },
        aux: Aux {
            redis_version: REDIS_VERSION,
            kivi_version: KIVI_VERSION,
            ctime_unix_secs: now_ms / 1000,
            used_memory_bytes: alloc::allocated_bytes(),
            aof_base,
        },
        checksum: config.rdbchecksum,
        libraries: Libraries::new(sources),
    }
}

/// `rdb-key-save-delay`: microseconds per key; negative: a microsecond for so many keys.
pub(super) fn snapshot_options(config: &Config, kind: JobKind) -> SnapshotOptions {
    let delay = config.rdb_key_save_delay;
    let nanos = match delay < 0 {
        true => 1000 / u64::from(delay.unsigned_abs()),
        false => u64::from(delay.unsigned_abs()) * 1000,
    };
    SnapshotOptions {
        key_delay: Duration::from_nanos(nanos),
        is_background: kind != JobKind::Save,
    }
}

fn write_file(
    server: &Server,
    config: &Config,
    job: &Job,
    at_cut: impl FnOnce(),
) -> Result<Summary<()>, Failure> {
    let persist = &server.persist;
    let temporary = temporary_name(config);
    let open_failed = |why: String| Failure::Open(temporary.clone(), why);
    persist
        .own_dir(&config.dir)
        .map_err(|error| open_failed(error.to_string()))?;
    let mut sink = FileSink::create(
        &*persist.disk,
        &temporary,
        config.rdb_save_incremental_fsync,
    )
    .map_err(|error| open_failed(os_text(&error)))?;
    let sources = || server.scripts.libraries.sources();
    let summary = snapshot::write(
        &server.keyspace,
        &mut rdb(server, config, false, &sources),
        &mut sink,
        &snapshot_options(config, job.kind),
        &persist.saving,
        &job.cancel,
        at_cut,
    );
    let summary = summary.map_err(|error| match error {
        SnapshotError::Cancelled => Failure::Cancelled,
        SnapshotError::Io(error) => Failure::Write("write", error),
        SnapshotError::Busy => Failure::Write("walk", io::ErrorKind::ResourceBusy.into()),
    })?;
    let name = config.dir.join(&config.dbfilename);
    sink.finish(&name)
        .map_err(|error| Failure::Rename(temporary, name, error))?;
    Ok(summary)
}

/// The save point that is reached, if one is.
fn due<'p>(
    points: &'p [SavePoint],
    book: &Book,
    changes: u64,
    now_secs: u64,
) -> Option<&'p SavePoint> {
    let since_secs = now_secs.saturating_sub(book.last_save_secs);
    let unsaved = changes.saturating_sub(book.changes_saved);
    points.iter().find(|point| {
        unsaved >= point.changes && since_secs > point.secs && book.may_retry_bgsave(now_secs)
    })
}

/// Begins what is due: a snapshot that was scheduled, or by a save point. Called by the cron.
pub fn tick(server: &Arc<Server>) {
    if server.persist.marks().has(Marks::LOADING) || server.lifecycle() != Lifecycle::Running {
        return;
    }
    let now_secs = server.clock.unix_ms() / 1000;
    let book = server.persist.book().clone();
    if book.job.is_some() || book.is_shutting_down() {
        return;
    }
    let config = server.config();
    if let Some(point) = due(&config.save, &book, server.keyspace.changes(), now_secs) {
        let SavePoint { secs, changes } = point;
        tracing::info!("{changes} changes in {secs} seconds. Saving...");
        let _ = begin_bgsave(server);
    } else if book.is_bgsave_scheduled && book.may_retry_bgsave(now_secs) {
        let _ = begin_bgsave(server);
    }
}

/// FLUSHALL: a snapshot of what is no more is not wanted, and with save points an empty one is
/// written at once, so that a restart does not bring it back.
pub fn after_flush(server: &Arc<Server>) {
    server.persist.cancel_and_wait(JobKind::BgSave);
    let _ = save_now(server);
}

/// SHUTDOWN and the signals: saves what is to be saved, then has the server stop. A script that runs ends
/// first, unless it is busy and nothing is to be saved. While one is going on another one is the same one; if that
/// could not save, one that needs no saving goes on by itself.
///
/// # Errors
/// When something could not be saved and `force` is not asked for, or SHUTDOWN ABORT was there: the
/// server goes on.
pub fn shutdown(server: &Arc<Server>, flags: ShutdownFlags) -> Result<(), ShutdownFailed> {
    if flags.nosave && server.scripts.running.is_busy() {
        stop_at_once(server);
        return Ok(());
    }
    let turn = loop {
        match server.persist.shut_down() {
            Turn::Ours(turn) => break turn,
            Turn::Another(other) => match join(server, &other, flags) {
                Some(result) => return result,
                None => continue,
            },
        }
    };
    let waits = || server.keyspace.gate.is_held_long() && !turn.is_aborted();
    while waits() && server.lifecycle() < Lifecycle::Stopping {
        std::thread::sleep(SCRIPT_ENDS);
    }
    if server.lifecycle() >= Lifecycle::Stopping {
        return Ok(());
    }
    tracing::info!("User requested shutdown...");
    let prepared = match server.persist.marks().has(Marks::LOADING) {
        _ if turn.is_aborted() => Err(aborted()),
        // What is half there must not overwrite what is whole.
        true => make_certain(&turn).map(|()| server.persist.stop_loading()),
        false => prepare_shutdown(server, flags, &turn),
    };
    match prepared {
        Ok(()) => server.enter(Lifecycle::Stopping),
        Err(ShutdownFailed) => tracing::warn!(
            "Errors trying to shut down the server. Check the logs for more information."
        ),
    }
    drop(turn);
    prepared
}

/// What becomes of the shutdown of somebody else becomes of ours; `None` if it failed by what ours does not need.
fn join(
    server: &Server,
    other: &AnotherShutdown<'_>,
    flags: ShutdownFlags,
) -> Option<Result<(), ShutdownFailed>> {
    let is_aborted = other.wait();
    if server.lifecycle() >= Lifecycle::Stopping {
        return Some(Ok(()));
    }
    let goes_on = !is_aborted && (flags.nosave || flags.force);
    (!goes_on).then_some(Err(ShutdownFailed))
}

/// SHUTDOWN NOSAVE while a script is busy, which holds all shards and will not give them back: nobody is
/// waited for who may wait for these. The script leaves no trace in the log.
fn stop_at_once(server: &Arc<Server>) {
    tracing::info!("User requested shutdown...");
    for job in [JobKind::BgSave, JobKind::AofRewrite] {
        server.persist.cancel(job);
    }
    rewriting::flush_log(server);
    remove_temporary_files(server);
    server.enter(Lifecycle::Stopping);
}

/// Nothing stops the shutdown from here on.
fn make_certain(turn: &ShuttingDown<'_>) -> Result<(), ShutdownFailed> {
    match turn.make_certain() {
        true => Ok(()),
        false => Err(aborted()),
    }
}

fn aborted() -> ShutdownFailed {
    tracing::info!("Shutdown manually aborted.");
    ShutdownFailed
}

fn prepare_shutdown(
    server: &Arc<Server>,
    flags: ShutdownFlags,
    turn: &ShuttingDown<'_>,
) -> Result<(), ShutdownFailed> {
    let is_complete = rewriting::prepare_shutdown(server, flags.force);
    if server.persist.cancel(JobKind::BgSave) {
        tracing::warn!("There is a child saving an .rdb. Killing it!");
        server.persist.cancel_and_wait(JobKind::BgSave);
    }
    is_complete?;
    // What would be acknowledged from here on could not be kept. Reads are served on.
    let done = hold_writes(server, turn)
        .and_then(|()| save_at_end(server, flags, turn))
        .and_then(|()| make_certain(turn));
    if done.is_err() {
        server.pause.end(PauseBy::Shutdown);
    }
    done
}

fn save_at_end(
    server: &Arc<Server>,
    flags: ShutdownFlags,
    turn: &ShuttingDown<'_>,
) -> Result<(), ShutdownFailed> {
    let has_points = !server.config().save.is_empty();
    if !flags.save && (flags.nosave || !has_points) {
        return Ok(());
    }
    tracing::info!("Saving the final RDB snapshot before exiting.");
    let job = turn.begin_save(|| server.clock.unix_ms());
    let saved = job.map_or(Err(NotSaved::Cancelled), |job| save(server, &job, || ()));
    match saved {
        Ok(()) => Ok(()),
        Err(NotSaved::Cancelled) => Err(aborted()),
        Err(NotSaved::Failed) if flags.force => {
            tracing::warn!("Error trying to save the DB. Exit anyway.");
            Ok(())
        }
        Err(NotSaved::Failed) => {
            tracing::warn!("Error trying to save the DB, can't exit.");
            Err(ShutdownFailed)
        }
    }
}

/// Lets nobody write any more; an error if the shutdown is aborted before all have ended who were let in.
fn hold_writes(server: &Server, turn: &ShuttingDown<'_>) -> Result<(), ShutdownFailed> {
    let now_ms = server.clock.unix_ms();
    let (by, mode) = (PauseBy::Shutdown, PauseMode::Write);
    server.pause.start(by, mode, u64::MAX, now_ms);
    // Who was let in before has written then.
    let locks = server.keyspace.lock_none();
    let mut access = Access::new(&server.keyspace, locks, DbIndex(0), now_ms, false);
    while !access.pass_shards() && server.lifecycle() < Lifecycle::Stopping {
        if turn.is_aborted() {
            return Err(aborted());
        }
        std::thread::sleep(SCRIPT_ENDS);
    }
    Ok(())
}

/// The process ends at once (a second SIGINT): nothing half-written stays behind.
pub fn remove_temporary_files(server: &Server) {
    let _ = server
        .persist
        .disk
        .remove(&temporary_name(&server.config()));
}

#[cfg(test)]
mod tests;
