//! Loading the dataset: at the start of the server, by DEBUG RELOAD and DEBUG LOADAOF.
//!
//! While it goes on everybody else is told LOADING (`admit`), nothing expires, and INFO tells how
//! far it is. It is done on whatever thread calls, which is never one that serves clients.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::commands::CommandTable;
use crate::config::{Config, RdbVersionCheck};
use crate::db::{Access, DbIndex, GateGuard};
use crate::persist::aof::{self, AofError, AofState, Loaded, Target};
use crate::persist::disk::{FileReader, OpenMode};
use crate::persist::rdb::decode::{self, LoadError, LoadOptions, LoadSummary, Record};
use crate::persist::rdb::{self};
use crate::persist::state::Marks;
use crate::resp::parse::Argv;
use crate::server::{Server, functions, rewriting, saving};
use crate::spec::CmdError;
use crate::sys::files::os_text;

use super::replay::Replay;

/// What DEBUG RELOAD says of a file that it cannot load.
const RELOAD_FAILED: CmdError =
    CmdError::text("ERR Error trying to load the RDB dump, check server logs.");
const SAVE_FAILED: CmdError = CmdError::text("ERR");
const LOADAOF_FAILED: CmdError =
    CmdError::text("ERR Error trying to load the AOF files, check server logs.");
/// Between two looks at a gate that somebody else holds.
const GATE_RETRY: Duration = Duration::from_millis(1);

/// Why the dataset was not loaded; the log tells the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotLoaded {
    /// There is no file.
    NoFile,
    /// What is in the file cannot be loaded.
    Failed,
    /// The server shall stop.
    Stopped,
}

/// While this lives the server is loading.
struct Loading<'s>(&'s Server);

impl<'s> Loading<'s> {
    fn begin(server: &'s Server) -> Loading<'s> {
        server.persist.mark(Marks::LOADING, true);
        server.keyspace.expire_clock.set_loading(true);
        server.persist.book().load_started_at_ms = server.clock.unix_ms();
        Loading(server)
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.0.keyspace.expire_clock.set_loading(false);
        self.0.persist.mark(Marks::LOADING, false);
    }
}

/// Loads what is on disk as the configuration chooses, into the empty keyspace of a server that
/// starts.
///
/// # Errors
/// When there is something that cannot be loaded: the server must not start then.
pub fn at_start(server: &Arc<Server>, table: &Arc<CommandTable>) -> Result<(), NotLoaded> {
    let loading = Loading::begin(server);
    let started = Instant::now();
    let config = server.config();
    let loaded = match config.appendonly {
        true => load_aof(server, table, &config),
        false => load_rdb(server, &config, false),
    };
    let secs = started.elapsed().as_secs_f64();
    let ready = match (loaded, config.appendonly) {
        (Err(NotLoaded::NoFile), false) => Ok(()),
        (Ok(()), false) => {
            tracing::info!("DB loaded from disk: {secs:.3} seconds");
            Ok(())
        }
        (Ok(()), true) => {
            tracing::info!("DB loaded from append only file: {secs:.3} seconds");
            start_logging(server)
        }
        (Err(NotLoaded::NoFile), true) => start_logging(server),
        (Err(other), _) => Err(other),
    };
    drop(loading);
    match ready {
        Ok(()) => Ok(()),
        Err(NotLoaded::NoFile | NotLoaded::Failed) => {
            tracing::warn!("Fatal error loading the DB, check server logs. Exiting.");
            Err(NotLoaded::Failed)
        }
        Err(NotLoaded::Stopped) => Err(NotLoaded::Stopped),
    }
}

fn start_logging(server: &Arc<Server>) -> Result<(), NotLoaded> {
    rewriting::start_logging(server).map_err(|error| {
        tracing::warn!("{error}");
        NotLoaded::Failed
    })
}

/// What a load of a snapshot follows.
pub(super) fn load_options(server: &Server, config: &Config, drop_expired: bool) -> LoadOptions {
    let now_ms = server.clock.unix_ms();
    LoadOptions {
        limits: config.limits(),
        key_hash: server.keyspace.key_hash(),
        databases: server.keyspace.databases(),
        verify_checksum: config.rdbchecksum,
        now_ms,
        usage: server.keyspace.usage.stamp(now_ms),
        drop_expired,
        relaxed_version: config.rdb_version_check == RdbVersionCheck::Relaxed,
    }
}

/// `key-load-delay`: microseconds per key; negative: a microsecond for so many keys.
pub fn key_delay(config: &Config) -> Duration {
    let delay = config.key_load_delay;
    match delay < 0 {
        true => Duration::from_nanos(1000 / u64::from(delay.unsigned_abs())),
        false => Duration::from_micros(u64::from(delay.unsigned_abs())),
    }
}

/// Loads `dbfilename`. `merge`: into a keyspace that is not empty, replacing what is there.
fn load_rdb(server: &Server, config: &Config, merge: bool) -> Result<(), NotLoaded> {
    let path = config.dir.join(&config.dbfilename);
    let disk = &server.persist.disk;
    let file = match disk.open(&path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(NotLoaded::NoFile),
        Err(error) => return Err(cannot_open(&path, &error)),
    };
    let len = file
        .stat_len()
        .map_err(|error| cannot_open(&path, &error))?;
    server.persist.loading.reset(len, key_delay(config));
    let input = FileReader { file, offset: 0 };
    let options = load_options(server, config, true);
    let loaded = match merge {
        true => merge_into(server, config, input, &options),
        false => {
            let progress = &server.persist.loading;
            let mut on_library = |source: &[u8]| load_library(server, config, source, false);
            rdb::load_into(&server.keyspace, input, &options, progress, &mut on_library)
        }
    };
    match loaded {
        Ok(summary) => {
            note_loaded(server, &summary);
            // What is in the file is saved.
            server.persist.book().changes_saved = server.keyspace.changes();
            Ok(())
        }
        Err(error) => Err(refused(server, &path, &error)),
    }
}

fn cannot_open(path: &Path, error: &io::Error) -> NotLoaded {
    let why = os_text(error);
    tracing::warn!(
        "Fatal error: can't open the RDB file {} for reading: {why}",
        path.display()
    );
    NotLoaded::Failed
}

fn refused(server: &Server, path: &Path, error: &LoadError) -> NotLoaded {
    if server.persist.loading.stop.load(Ordering::Relaxed) {
        return NotLoaded::Stopped;
    }
    tracing::warn!("Can't load the RDB file {}: {error}", path.display());
    NotLoaded::Failed
}

fn note_loaded(server: &Server, summary: &LoadSummary) {
    let LoadSummary { keys, expired, .. } = summary;
    tracing::info!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}.");
    if summary.empty > 0 {
        tracing::info!("Done loading RDB, empty keys skipped: {}", summary.empty);
    }
    let mut book = server.persist.book();
    book.loaded_keys = *keys;
    book.loaded_expired_keys = *expired;
}

/// Loads a library of functions of a snapshot.
pub(super) fn load_library(
    server: &Server,
    config: &Config,
    source: &[u8],
    replace: bool,
) -> Result<(), String> {
    let libraries = &server.scripts.libraries;
    match libraries.load(source, replace, &functions::of_file(config)) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("Failed creating the library: {error}")),
    }
}

/// Loads a snapshot key by key; what is there already is replaced.
fn merge_into(
    server: &Server,
    config: &Config,
    input: FileReader,
    options: &LoadOptions,
) -> Result<LoadSummary, LoadError> {
    let keyspace = &server.keyspace;
    let mut db = DbIndex(0);
    decode::load(input, options, &mut |record, _| {
        match record {
            Record::Select(selected) => db = selected,
            Record::Key { entry, .. } => {
                let key = entry.view().key().to_vec();
                let locks = keyspace.lock_one(keyspace.hash(&key));
                let access = Access::new(keyspace, locks, db, options.now_ms, false);
                let mut access = access.replaying();
                access.remove(&key);
                access.tell();
                drop(access);
                let inserted = keyspace.insert_loaded(db, vec![entry], options.now_ms);
                inserted.map_err(|duplicate| format!("{duplicate:?}"))?;
            }
            Record::Function(source) => load_library(server, config, &source, true)?,
            Record::Aux(..) | Record::Resize { .. } => {}
        }
        Ok(())
    })
}

/// Loads the log.
fn load_aof(
    server: &Arc<Server>,
    table: &Arc<CommandTable>,
    config: &Config,
) -> Result<(), NotLoaded> {
    let failed = |error: AofError| {
        tracing::warn!("{error}");
        NotLoaded::Failed
    };
    let aof = rewriting::open(server, config).map_err(failed)?;
    let progress = &server.persist.loading;
    progress.reset(aof.total_bytes(), key_delay(config));
    let mut target = Log {
        server,
        config,
        replay: Replay::new(server.clone(), table.clone()),
    };
    let options = aof::LoadOptions {
        truncated: config.aof_load_truncated,
        databases: server.keyspace.databases(),
    };
    server.persist.book().is_loading_aof = true;
    let loaded = aof.load(options, &mut target);
    server.persist.book().is_loading_aof = false;
    match loaded {
        Ok(Loaded::NotExist) => Err(NotLoaded::NoFile),
        Ok(Loaded::Empty | Loaded::Ok | Loaded::Truncated) => Ok(()),
        Err(_) if progress.stop.load(Ordering::Relaxed) => Err(NotLoaded::Stopped),
        Err(error) => Err(failed(error)),
    }
}

/// Where the log is loaded to.
struct Log<'s> {
    server: &'s Arc<Server>,
    config: &'s Config,
    replay: Replay,
}

impl Target for Log<'_> {
    fn look_ahead(&mut self, db: DbIndex, requests: &[Argv<'_>]) {
        self.replay.look_ahead(db, requests);
    }

    fn run(&mut self, db: DbIndex, argv: Argv<'_>) -> Result<(), String> {
        let progress = &self.server.persist.loading;
        if progress.stop.load(Ordering::Relaxed) {
            return Err("Loading was stopped".to_owned());
        }
        progress.pause();
        self.replay.run_argv(db, argv)
    }

    fn load_rdb(&mut self, input: Box<dyn Read + Send>) -> Result<u64, String> {
        let server = self.server;
        // What has expired may be needed by the commands that follow.
        let options = load_options(server, self.config, false);
        let progress = &server.persist.loading;
        let mut on_library = |source: &[u8]| load_library(server, self.config, source, false);
        let keyspace = &server.keyspace;
        let loaded = rdb::load_into(keyspace, input, &options, progress, &mut on_library);
        let summary = loaded.map_err(|error| error.to_string())?;
        note_loaded(server, &summary);
        Ok(summary.bytes)
    }
}

/// Has the keyspace for itself: everybody else waits.
fn close_gate(server: &Server) -> GateGuard<'_> {
    loop {
        match server.keyspace.gate.try_close() {
            Some(gate) => return gate,
            None => std::thread::sleep(GATE_RETRY),
        }
    }
}

fn empty(server: &Server) {
    let keyspace = &server.keyspace;
    let now_ms = server.clock.unix_ms();
    let mut access = Access::new(keyspace, keyspace.lock_all(), DbIndex(0), now_ms, false);
    let removed = access.flush(None);
    access.drop_unlocked(removed);
    access.tell();
    server.scripts.libraries.flush();
}

/// DEBUG RELOAD: saves, empties, loads.
pub(super) fn reload(
    server: &Arc<Server>,
    save: bool,
    flush: bool,
    merge: bool,
) -> Result<(), CmdError> {
    let _gate = close_gate(server);
    if save && saving::save_now(server).is_err() {
        return Err(SAVE_FAILED);
    }
    let config = server.config();
    let loading = Loading::begin(server);
    if flush {
        empty(server);
    }
    let loaded = load_rdb(server, &config, merge);
    drop(loading);
    match loaded {
        Ok(()) => {
            tracing::info!("DB reloaded by DEBUG RELOAD");
            Ok(())
        }
        Err(_) => Err(RELOAD_FAILED),
    }
}

/// DEBUG LOADAOF: empties, loads the log.
pub(super) fn reload_aof(server: &Arc<Server>, table: &Arc<CommandTable>) -> Result<(), CmdError> {
    let _gate = close_gate(server);
    let config = server.config();
    // What is still on its way to the file belongs to the log. One that is off has nothing on its way,
    // and perhaps never had a thread.
    let aof = server.persist.aof();
    let aof = aof.filter(|aof| aof.state() != AofState::Off);
    if let Some(aof) = aof
        && aof.flush(&server.keyspace.oplog).is_err()
    {
        return Err(LOADAOF_FAILED);
    }
    let loading = Loading::begin(server);
    empty(server);
    let loaded = load_aof(server, table, &config);
    drop(loading);
    match loaded {
        Ok(()) => {
            tracing::info!("Append Only File loaded by DEBUG LOADAOF");
            Ok(())
        }
        Err(_) => Err(LOADAOF_FAILED),
    }
}

#[cfg(test)]
mod tests;
