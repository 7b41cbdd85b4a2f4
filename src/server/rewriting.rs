//! The append-only log of the server: opened, switched on and off, rewritten, ended.
//!
//! `persist::aof` owns the files and the thread that writes them; here is what it needs of the rest
//! of the server: the configuration, the slot for jobs, and the walk that writes a new BASE.
//!
//! Log lines are Redis's wherever people look for them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::config::{self, Config};
use crate::persist::aof::commands::Commands;
use crate::persist::aof::{Aof, AofError, AofState, AppendFsync, Place, Rewrite, Settings};
use crate::persist::snapshot::{self, FileSink, Format, Libraries, SaveProgress, SnapshotError};
use crate::persist::state::{Job, JobEnd, JobKind, Marks};
use crate::sys::{places, process};

use crate::sys::files::os_text;

use super::saving::{self, NotStarted};
use super::{Lifecycle, Server};

/// Why a BASE was not written.
enum NotWritten {
    Cancelled,
    Failed(String),
}

impl From<io::Error> for NotWritten {
    fn from(error: io::Error) -> NotWritten {
        NotWritten::Failed(os_text(&error))
    }
}

/// The server's log; opened if it is not yet. One that is off is where the data directory is now, one
/// that is on stays where it is.
///
/// # Errors
/// When what is on the disk is no log.
pub fn open(server: &Server, config: &Config) -> Result<Arc<Aof>, AofError> {
    let mut opened = server.persist.aof.write();
    let place = Place {
        dir: config.dir.clone(),
        dirname: config.appenddirname.clone(),
        filename: config.appendfilename.clone(),
    };
    if let Some(aof) = opened.clone() {
        // It may have to wait for a load.
        drop(opened);
        if aof.state() == AofState::Off {
            aof.move_to(place)?;
        }
        return Ok(aof);
    }
    let aof = Arc::new(Aof::open(
        server.persist.disk.clone(),
        place,
        settings(config),
    )?);
    *opened = Some(aof.clone());
    Ok(aof)
}

fn settings(config: &Config) -> Settings {
    Settings {
        appendfsync: match config.appendfsync {
            config::AppendFsync::Always => AppendFsync::Always,
            config::AppendFsync::EverySec => AppendFsync::EverySec,
            config::AppendFsync::No => AppendFsync::No,
        },
        no_fsync_on_rewrite: config.no_appendfsync_on_rewrite,
        timestamps: config.aof_timestamp_enabled,
    }
}

/// Takes over directives that have changed.
pub fn configure(server: &Server, config: &Config) {
    if let Some(aof) = server.persist.aof() {
        aof.configure(&server.keyspace.oplog, settings(config));
    }
}

/// Starts the thread that writes the log, if it does not run.
fn start_thread(server: &Arc<Server>, aof: &Arc<Aof>) -> io::Result<()> {
    let mut thread = server.persist.aof_thread.lock();
    if thread.is_some() {
        return Ok(());
    }
    let watcher = Arc::downgrade(server);
    aof.on_status(Box::new(move |error: Option<io::Error>| {
        if let Some(server) = watcher.upgrade() {
            let failed = error.is_some();
            server.persist.book().aof_error = error.map_or(String::new(), |error| os_text(&error));
            server.persist.mark(Marks::AOF_FAILED, failed);
        }
    }));
    let (own, running) = (server.clone(), aof.clone());
    let run = move || {
        saving::take_place(places::Place::Background);
        let on_fatal = |error: &AofError| {
            tracing::error!("{error}");
            std::process::exit(1);
        };
        running.run(&own.keyspace.oplog, &own.clock, &on_fatal);
    };
    let builder = std::thread::Builder::new().name("kivi-aof".into());
    *thread = Some(builder.spawn(run)?);
    Ok(())
}

/// Begins to log at the start of the server, when everything is loaded and no command runs yet.
///
/// # Errors
/// After which the server must not start.
pub fn start_logging(server: &Arc<Server>) -> Result<(), AofError> {
    let config = server.config();
    let aof = open(server, &config)?;
    start_thread(server, &aof).map_err(|error| AofError(os_text(&error)))?;
    let oplog = &server.keyspace.oplog;
    let mut make_base = |path: &Path| {
        let progress = SaveProgress::default();
        let cancel = Default::default();
        let written = write_base(server, &config, path, &progress, &cancel, || ());
        match written {
            Ok(()) => Ok(()),
            Err(NotWritten::Cancelled) => Err("cancelled".to_owned()),
            Err(NotWritten::Failed(why)) => Err(why),
        }
    };
    aof.start(oplog, config.aof_use_rdb_preamble, &mut make_base)?;
    aof.configure(oplog, settings(&config));
    Ok(())
}

/// CONFIG SET appendonly yes: the log is complete once a rewrite has written what there is, which
/// begins now, or as soon as it can.
///
/// # Errors
/// What CONFIG SET tells.
pub fn switch_on(server: &Arc<Server>, config: &Config) -> Result<(), String> {
    let fail = |why: &dyn std::fmt::Display| {
        tracing::warn!("{why}");
        tracing::warn!(
            "The server needs to enable the AOF but can't trigger a background AOF rewrite \
             operation. Check the above logs for more info about the error."
        );
        "Unable to turn on AOF. Check server logs.".to_owned()
    };
    let persist = &server.persist;
    persist.own_dir(&config.dir).map_err(|error| fail(&error))?;
    let aof = open(server, config).map_err(|error| fail(&error))?;
    start_thread(server, &aof).map_err(|error| fail(&error))?;
    if persist.cancel_and_wait(JobKind::AofRewrite) {
        tracing::info!(
            "AOF was enabled but there is already an AOF rewriting in background. Stopping \
             background AOF and starting a rewrite now."
        );
    }
    aof.configure(&server.keyspace.oplog, settings(config));
    aof.switch_on();
    match begin(server, &aof, config) {
        Ok(()) => Ok(()),
        Err(NotStarted::Busy(_)) => {
            tracing::info!(
                "AOF was enabled but there is already another background operation. An AOF \
                 background was scheduled to start when possible."
            );
            persist.book().is_rewrite_scheduled = true;
            Ok(())
        }
        Err(NotStarted::Failed) => {
            aof.switch_off(&server.keyspace.oplog, || {
                persist.cancel_and_wait(JobKind::AofRewrite);
            });
            Err(fail(&"The AOF rewrite could not be started"))
        }
    }
}

/// CONFIG SET appendonly no. What was logged is on the disk afterwards.
pub fn switch_off(server: &Arc<Server>) {
    let persist = &server.persist;
    if let Some(aof) = persist.aof() {
        aof.switch_off(&server.keyspace.oplog, || {
            persist.cancel_and_wait(JobKind::AofRewrite);
            persist.book().is_rewrite_scheduled = false;
        });
        persist.log_is_off();
        persist.mark(Marks::AOF_FAILED, false);
    }
}

/// BGREWRITEAOF: begins to rewrite the log on a thread of its own.
///
/// # Errors
/// When it did not begin.
pub fn start(server: &Arc<Server>) -> Result<(), NotStarted> {
    let config = server.config();
    if let Some(other) = server.persist.book().running() {
        return Err(NotStarted::Busy(other));
    }
    let aof = open(server, &config).map_err(|error| {
        tracing::warn!("{error}");
        NotStarted::Failed
    })?;
    begin(server, &aof, &config)
}

fn begin(server: &Arc<Server>, aof: &Arc<Aof>, config: &Config) -> Result<(), NotStarted> {
    let persist = &server.persist;
    let now_ms = server.clock.unix_ms();
    let begun = persist.begin(JobKind::AofRewrite, now_ms);
    let job = begun.map_err(NotStarted::Busy)?;
    let failed = |why: &dyn std::fmt::Display| {
        tracing::warn!("{why}");
        saving::end(server, &job, JobEnd::Failed, 0);
        Err(NotStarted::Failed)
    };
    let owned = persist.own_dir(&config.dir);
    let owned = owned.map_err(|error| AofError(error.to_string()));
    let rewrite = match owned.and_then(|()| aof.begin_rewrite()) {
        Ok(rewrite) => rewrite,
        Err(error) => {
            aof.note_failure();
            return failed(&error);
        }
    };
    let (own, log, running) = (server.clone(), aof.clone(), job.clone());
    // What is handed to a thread that does not start is lost with it.
    let handed = Arc::new(parking_lot::Mutex::new(Some(rewrite)));
    let taken = handed.clone();
    let spawned = std::thread::Builder::new()
        .name("kivi-aofrewrite".into())
        .spawn(move || {
            saving::take_place(places::Place::Rewriting);
            // Not before: what does not begin stays scheduled.
            own.persist.book().is_rewrite_scheduled = false;
            if let Some(rewrite) = taken.lock().take() {
                run(&own, &log, rewrite, &running);
            }
        });
    match spawned {
        Ok(_) => {
            tracing::info!(
                "Background append only file rewriting started by pid {}",
                process::pid()
            );
            Ok(())
        }
        Err(error) => {
            if let Some(rewrite) = handed.lock().take() {
                aof.abort_rewrite(&server.keyspace.oplog, rewrite);
            }
            failed(&format!(
                "Can't rewrite append only file in background: {error}"
            ))
        }
    }
}

fn run(server: &Arc<Server>, aof: &Arc<Aof>, mut rewrite: Rewrite, job: &Job) {
    let config = server.config();
    let oplog = &server.keyspace.oplog;
    aof.set_disk_busy(oplog, true);
    let base = aof.temp_base();
    let written = write_base(
        server,
        &config,
        &base,
        &server.persist.saving,
        &job.cancel,
        || aof.at_cut(oplog, &mut rewrite),
    );
    let written = match written {
        Ok(()) if aof.is_overtaken(&rewrite) => {
            let _ = server.persist.disk.remove(&base);
            Err(NotWritten::Cancelled)
        }
        written => written,
    };
    let cow_bytes = server.keyspace.snapshot.held_peak_bytes();
    let how = match written {
        Ok(()) => {
            tracing::info!("Background AOF rewrite terminated with success");
            match aof.finish_rewrite(oplog, rewrite, &base, config.aof_use_rdb_preamble) {
                Ok(()) => {
                    tracing::info!("Background AOF rewrite finished successfully");
                    JobEnd::Done { changes: 0 }
                }
                Err(error) => {
                    tracing::warn!("{error}");
                    tracing::warn!("Background AOF rewrite terminated with error");
                    JobEnd::Failed
                }
            }
        }
        Err(NotWritten::Cancelled) => {
            aof.cancel_rewrite(oplog, rewrite);
            tracing::warn!("Background AOF rewrite cancelled");
            JobEnd::Cancelled
        }
        Err(NotWritten::Failed(why)) => {
            aof.abort_rewrite(oplog, rewrite);
            tracing::warn!("Write error writing append only file on disk: {why}");
            tracing::warn!("Background AOF rewrite terminated with error");
            JobEnd::Failed
        }
    };
    aof.set_disk_busy(oplog, false);
    end(server, aof, job, how, cow_bytes);
}

/// Gives the slot back. A log that was switched on is waited for until it is there: however this
/// rewrite has ended.
fn end(server: &Server, aof: &Aof, job: &Job, how: JobEnd, cow_bytes: u64) {
    if aof.state() == AofState::WaitRewrite {
        server.persist.book().is_rewrite_scheduled = true;
    }
    saving::end(server, job, how, cow_bytes);
}

/// Writes a BASE, durable, at `path`.
fn write_base(
    server: &Server,
    config: &Config,
    path: &Path,
    progress: &SaveProgress,
    cancel: &std::sync::atomic::AtomicBool,
    at_cut: impl FnOnce(),
) -> Result<(), NotWritten> {
    let persist = &server.persist;
    let name = format!("temp-rewriteaof-{}.aof", process::pid());
    let temporary = path.with_file_name(name);
    let is_incremental = config.aof_rewrite_incremental_fsync;
    let mut sink = FileSink::create(&*persist.disk, &temporary, is_incremental)?;
    let sources = || server.scripts.libraries.sources();
    let mut rdb;
    let mut commands;
    let format: &mut dyn Format = match config.aof_use_rdb_preamble {
        true => {
            rdb = saving::rdb(server, config, true, &sources);
            &mut rdb
        }
        false => {
            let secs = server.clock.unix_ms() / 1000;
            let secs = config.aof_timestamp_enabled.then_some(secs);
            commands = Commands::new(Libraries::new(&sources), secs);
            &mut commands
        }
    };
    let options = saving::snapshot_options(config, JobKind::AofRewrite);
    let keyspace = &server.keyspace;
    let written = snapshot::write(
        keyspace, format, &mut sink, &options, progress, cancel, at_cut,
    );
    let summary = written.map_err(|error| match error {
        SnapshotError::Cancelled => NotWritten::Cancelled,
        error => NotWritten::Failed(error.to_string()),
    })?;
    sink.finish(path)?;
    tracing::info!(
        "Successfully created the temporary AOF base file: {} keys, {} bytes",
        summary.keys,
        summary.bytes
    );
    Ok(())
}

/// Begins a rewrite that was scheduled, or that the growth of the log asks for. Called by the cron.
pub fn tick(server: &Arc<Server>) {
    if server.lifecycle() != Lifecycle::Running || server.persist.marks().has(Marks::LOADING) {
        return;
    }
    let aof = server.persist.aof();
    let book = server.persist.book().clone();
    if book.job.is_some() || book.is_shutting_down() {
        return;
    }
    let config = server.config();
    let now_secs = server.clock.unix_ms() / 1000;
    let percentage = u64::from(config.auto_aof_rewrite_percentage);
    let min_bytes = config.auto_aof_rewrite_min_size;
    let grown = |aof: &Arc<Aof>| aof.auto_rewrite(percentage, min_bytes, now_secs);
    if book.is_rewrite_scheduled {
        if !aof.is_some_and(|aof| aof.is_limited(now_secs)) {
            let _ = start(server);
        }
    } else if let Some(growth) = aof.as_ref().and_then(grown) {
        tracing::info!("Starting automatic rewriting of AOF on {growth}% growth");
        let _ = start(server);
    }
}

/// A shutdown: nothing of the log is left in memory. `force`: even if the log is not complete yet.
///
/// # Errors
/// When the log is being made and its first BASE is not there: the dataset would be lost.
pub fn prepare_shutdown(server: &Arc<Server>, force: bool) -> Result<(), saving::ShutdownFailed> {
    let Some(aof) = server.persist.aof() else {
        return Ok(());
    };
    if aof.state() == AofState::WaitRewrite {
        if !force {
            tracing::warn!("Writing initial AOF, can't exit.");
            return Err(saving::ShutdownFailed);
        }
        tracing::warn!("Writing initial AOF. Exit anyway.");
    }
    if server.persist.cancel(JobKind::AofRewrite) {
        tracing::warn!("There is a child rewriting the AOF. Killing it!");
        server.persist.cancel_and_wait(JobKind::AofRewrite);
    }
    flush_log(server);
    Ok(())
}

/// Brings to the disk what is in memory of the log, if one is kept.
pub fn flush_log(server: &Server) {
    if let Some(aof) = server.persist.aof()
        && aof.state() == AofState::On
    {
        tracing::info!("Calling fsync() on the AOF file.");
        flush(server, &aof);
    }
}

fn flush(server: &Server, aof: &Aof) {
    if let Err(error) = aof.flush(&server.keyspace.oplog) {
        tracing::warn!("Fail to fsync the AOF file: {error}.");
    }
}

/// The end of the process, when no command runs any more: writes the last of the log, and ends its
/// thread.
pub fn close(server: &Server) {
    let Some(aof) = server.persist.aof() else {
        return;
    };
    let Some(thread) = server.persist.aof_thread.lock().take() else {
        return;
    };
    if aof.state() == AofState::On && !thread.is_finished() {
        flush(server, &aof);
    }
    aof.stop(&server.keyspace.oplog);
    let _ = thread.join();
}

#[cfg(test)]
mod tests;
