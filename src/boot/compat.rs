//! `--check-compat`: what Kivi would not accept of the files of another server.
//!
//! Configuration is read line by line. A log is carried out on a server of its own that nobody talks
//! to, so that what is refused is what a start would refuse, and every request that answers an error
//! is told. A snapshot is decoded and forgotten; the one that a log begins with is kept for the
//! requests behind it. Nothing is written anywhere.
//!
//! Faults of one kind are one line, with their number and the place of the first one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::commands::CommandTable;
use crate::config::compat::{self, Finding};
use crate::config::{self, Sources};
use crate::db::DbIndex;
use crate::ds::hash::{HashFunction, KeyHash};
use crate::exec::trial::{Refusal, Trial};
use crate::persist::aof::{Surveyor, survey_file, survey_manifest};
use crate::persist::disk::RealDisk;
use crate::persist::rdb::decode::{self, LoadOptions, Record, type_name};
use crate::persist::rdb::format::Line;
use crate::resp::parse::Argv;
use crate::server::{Server, functions};
use crate::sys::files::os_text;
use crate::util::clock::Clock;
use crate::value::Limits;

/// What is accepted of databases while files are read: what they use is told.
const DATABASES: &str = "16384";
/// Databases of a server that nobody has told otherwise.
const DATABASES_DEFAULT: u32 = 16;
/// Bytes of a name or an error that are shown.
const SHOWN_BYTES_MAX: usize = 120;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Configuration,
    Manifest,
    Log,
    Snapshot,
}

/// A file to be read, and what it is, or why that cannot be found out.
type Source = (PathBuf, io::Result<Kind>);

/// Checks files, and folders with files; how many kinds of faults were found. What cannot be read is one.
///
/// # Errors
/// When there is nothing to be checked or `out` takes nothing.
pub(super) fn check(paths: &[PathBuf], out: &mut dyn Write) -> anyhow::Result<usize> {
    let mut sources = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => in_folder(path, &mut sources),
            false => sources.push((path.clone(), kind_of(path))),
        }
    }
    if sources.is_empty() {
        anyhow::bail!("no configuration file, log or snapshot is there");
    }
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, "What Kivi {version} does not accept:")?;
    let mut faults = 0;
    for (path, kind) in sources {
        faults += match kind {
            Ok(Kind::Configuration) => configuration(&path, out)?,
            Ok(Kind::Snapshot) => snapshot(&path, out)?,
            Ok(kind @ (Kind::Log | Kind::Manifest)) => log(kind, &path, out)?,
            Err(error) => {
                writeln!(out, "\nUnknown: {}", path.display())?;
                Faults::unreadable(&path, &error).write(out)?
            }
        };
    }
    match faults {
        0 => writeln!(out, "\nEverything is accepted.")?,
        1 => writeln!(out, "\n1 kind of fault.")?,
        faults => writeln!(out, "\n{faults} kinds of faults.")?,
    }
    Ok(faults)
}

/// What of a data folder is worth reading: configuration, snapshots, and the log by its manifest. Files
/// that a manifest stands for are not read twice.
fn in_folder(folder: &Path, sources: &mut Vec<Source>) {
    let has = |path: &Path, extension: &str| path.extension().is_some_and(|has| has == extension);
    let is_manifest = |path: &PathBuf| has(path, "manifest");
    let entries = entries_of(folder, sources);
    let (manifests, entries): (Vec<PathBuf>, _) = entries.into_iter().partition(is_manifest);
    for path in entries {
        if path.is_dir() {
            // `appendonlydir`, and no further.
            let entries = entries_of(&path, sources);
            let manifests = entries.into_iter().filter(is_manifest);
            sources.extend(manifests.map(|path| (path, Ok(Kind::Manifest))));
        } else if has(&path, "conf") {
            sources.push((path, Ok(Kind::Configuration)));
        } else if has(&path, "rdb") && manifests.is_empty() {
            sources.push((path, Ok(Kind::Snapshot)));
        } else if has(&path, "aof") && manifests.is_empty() {
            let kind = kind_of(&path);
            sources.push((path, kind));
        }
    }
    sources.extend(manifests.into_iter().map(|path| (path, Ok(Kind::Manifest))));
}

/// What is in a folder, sorted; one that cannot be read is a source itself.
fn entries_of(folder: &Path, sources: &mut Vec<Source>) -> Vec<PathBuf> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder)?;
        let mut entries = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        Ok(entries)
    };
    read().unwrap_or_else(|error| {
        sources.push((folder.to_owned(), Err(error)));
        Vec::new()
    })
}

/// What a file is, by how it begins.
fn kind_of(path: &Path) -> io::Result<Kind> {
    let mut head = Vec::new();
    File::open(path)?.take(16).read_to_end(&mut head)?;
    let is_log = path.extension().is_some_and(|extension| extension == "aof");
    Ok(match () {
        () if head.starts_with(b"file ") => Kind::Manifest,
        () if head.starts_with(b"*") || head.starts_with(b"#TS:") || is_log => Kind::Log,
        () if head.starts_with(b"REDIS") || head.starts_with(b"VALKEY") => Kind::Snapshot,
        () => Kind::Configuration,
    })
}

/// Faults of one kind.
#[derive(Default)]
struct Fault {
    count: u64,
    first: String,
}

/// What was found in a file.
#[derive(Default)]
struct Faults(BTreeMap<String, Fault>);

impl Faults {
    /// A file that cannot be read.
    fn unreadable(path: &Path, error: &io::Error) -> Faults {
        let mut faults = Faults::default();
        let text = format!("it cannot be read: {}", os_text(error));
        faults.add(text, || path.display().to_string());
        faults
    }

    fn add(&mut self, text: String, place: impl FnOnce() -> String) {
        let fault = self.0.entry(text).or_default();
        if fault.count == 0 {
            fault.first = place();
        }
        fault.count += 1;
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<usize> {
        for (text, fault) in &self.0 {
            match fault.count {
                1 => writeln!(out, "  {text} ({})", fault.first)?,
                count => writeln!(out, "  {text} ({count} times, first in {})", fault.first)?,
            }
        }
        Ok(self.0.len())
    }
}

fn configuration(path: &Path, out: &mut dyn Write) -> anyhow::Result<usize> {
    let mut faults = Faults::default();
    let survey = compat::survey(path).unwrap_or_else(|error| {
        faults.add(error.reason, || path.display().to_string());
        Default::default()
    });
    let count = survey.directives;
    writeln!(
        out,
        "\nConfiguration {}: {count} directives",
        path.display()
    )?;
    let mut notes = Vec::new();
    for remark in survey.remarks {
        let (name, reason) = (shown(remark.name.as_bytes()), remark.reason);
        let text = match remark.finding {
            Finding::NoEffect => {
                notes.push(format!("  note: '{name}' has no effect: {reason}"));
                continue;
            }
            Finding::Unknown => format!("unknown directive '{name}'"),
            Finding::Later => format!("'{name}' has no effect yet"),
            Finding::Refused => format!("'{name}' is refused"),
        };
        let text = match reason.is_empty() {
            true => text,
            false => format!("{text}: {reason}"),
        };
        faults.add(text, || remark.place);
    }
    if let Err(reason) = CommandTable::new(&survey.rename_command) {
        faults.add(reason, || path.display().to_string());
    }
    let count = faults.write(out)?;
    notes.iter().try_for_each(|note| writeln!(out, "{note}"))?;
    Ok(count)
}

/// A name or an error as a line can hold it.
fn shown(text: &[u8]) -> String {
    let kept = &text[..text.len().min(SHOWN_BYTES_MAX)];
    let more = if kept.len() < text.len() { "..." } else { "" };
    format!("{}{more}", kept.escape_ascii())
}

fn snapshot(path: &Path, out: &mut dyn Write) -> anyhow::Result<usize> {
    writeln!(out, "\nSnapshot {}", path.display())?;
    let options = LoadOptions {
        limits: Limits::default(),
        key_hash: KeyHash::process(HashFunction::Fast),
        databases: u32::MAX,
        verify_checksum: true,
        now_ms: Clock::real().unix_ms(),
        usage: Default::default(),
        drop_expired: false,
        relaxed_version: false,
    };
    let mut types: BTreeMap<u8, u64> = BTreeMap::new();
    let (mut writer, mut last_db, mut libraries) = (String::new(), 0, Vec::new());
    let input = match File::open(path) {
        Ok(file) => io::BufReader::new(file),
        Err(error) => return Ok(Faults::unreadable(path, &error).write(out)?),
    };
    let loaded = decode::load(input, &options, &mut |record, _| {
        match record {
            Record::Aux(name, value) if name.ends_with(b"-ver") => {
                writer = format!("{} {}", shown(&name), shown(&value));
            }
            Record::Select(DbIndex(db)) => last_db = last_db.max(db),
            Record::Key { type_, .. } => *types.entry(type_).or_default() += 1,
            Record::Function(source) => libraries.push(source),
            Record::Aux(..) | Record::Resize { .. } => {}
        }
        Ok(())
    });
    let mut faults = Faults::default();
    match &loaded {
        Ok(summary) => {
            let (version, keys) = (summary.version, summary.keys);
            writeln!(out, "  RDB version {version}, {writer}, {keys} keys")?;
            let line = Line::of_version(version);
            for (type_, count) in &types {
                writeln!(out, "  {count} of type {}", type_name(line, *type_))?;
            }
        }
        Err(fault) => faults.add(fault.message.clone(), || format!("byte {}", fault.offset)),
    }
    if !libraries.is_empty() {
        let (server, _) = scratch()?;
        let options = functions::of_file(&server.config());
        for source in &libraries {
            if let Err(error) = server.scripts.libraries.load(source, false, &options) {
                faults.add(format!("a library of functions: {error}"), || shown(source));
            }
        }
    }
    note_databases(last_db, out)?;
    Ok(faults.write(out)?)
}

fn note_databases(last: u32, out: &mut dyn Write) -> io::Result<()> {
    match last {
        last if last >= DATABASES_DEFAULT => {
            writeln!(out, "  note: needs `databases {}`", last.saturating_add(1))
        }
        _ => Ok(()),
    }
}

/// A server that nobody talks to and that saves nothing.
fn scratch() -> anyhow::Result<(Arc<Server>, Arc<CommandTable>)> {
    let directive = |name: &str, value: &str| (name.into(), vec![value.into()]);
    let sources = Sources {
        args: vec![
            directive("save", ""),
            directive("appendonly", "no"),
            directive("databases", DATABASES),
            directive("io-threads", "1"),
        ],
        ..Sources::default()
    };
    let (store, _) = config::load(&sources)?;
    let table = CommandTable::new(&[]).map_err(anyhow::Error::msg)?;
    Ok((Arc::new(Server::new(store, Clock::real())), Arc::new(table)))
}

fn log(kind: Kind, path: &Path, out: &mut dyn Write) -> anyhow::Result<usize> {
    writeln!(out, "\nLog {}", path.display())?;
    let (server, table) = scratch()?;
    let mut reading = Reading {
        trial: Trial::new(server, table),
        faults: Faults::default(),
        file: String::new(),
        requests: 0,
        keys: 0,
        last_db: 0,
    };
    let disk = RealDisk;
    match kind {
        Kind::Manifest => survey_manifest(&disk, path, &mut reading),
        _ => survey_file(&disk, path, &mut reading),
    }
    let (requests, keys) = (reading.requests, reading.keys);
    writeln!(out, "  {keys} keys in its snapshot, {requests} requests")?;
    note_databases(reading.last_db, out)?;
    Ok(reading.faults.write(out)?)
}

/// A log that is being read.
struct Reading {
    trial: Trial,
    faults: Faults,
    file: String,
    requests: u64,
    keys: u64,
    last_db: u32,
}

impl Surveyor for Reading {
    fn begin_file(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default();
        self.file = name.to_string_lossy().into_owned();
    }

    fn request(&mut self, db: DbIndex, argv: Argv<'_>, offset: u64) {
        self.requests += 1;
        self.last_db = self.last_db.max(db.0);
        let Err(refusal) = self.trial.run(db, argv) else {
            return;
        };
        let name = |at| argv.get(at).map(|name| shown(&name.to_ascii_uppercase()));
        let first = name(0).unwrap_or_default();
        let text = match refusal {
            Refusal::UnknownCommand => format!("unknown command {first}"),
            Refusal::UnknownSubcommand => {
                format!("unknown subcommand {first} {}", name(1).unwrap_or_default())
            }
            Refusal::Error(error) => format!("{first} is refused: {}", shown(error.as_bytes())),
        };
        self.faults
            .add(text, || format!("{}, byte {offset}", self.file));
    }

    fn snapshot(&mut self, input: Box<dyn Read + Send>) -> Option<u64> {
        match self.trial.load_rdb(input) {
            Ok(summary) => {
                self.keys += summary.keys;
                Some(summary.bytes)
            }
            Err(error) => {
                self.faults.add(error, || self.file.clone());
                None
            }
        }
    }

    fn damage(&mut self, reason: &str, offset: u64) {
        let place = format!("{}, byte {offset}", self.file);
        self.faults.add(reason.to_owned(), || place);
    }
}

#[cfg(test)]
mod tests;
