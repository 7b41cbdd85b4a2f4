//! The audit log: a line of JSON for each command that somebody may have to answer for, with who asked for it, from
//! where, on which keys, and what became of it. Values and passwords never stand in it.
//!
//! What is in it: commands of the categories of `audit-log-categories`, and, whatever these are, attempts to log in and
//! commands that were denied. `exec` tells, behind what a command did.
//!
//! Nobody who serves clients waits for a disk: lines wait in memory for a thread of their own, which opens the file for
//! each lot that it writes, so that it can be moved away at any time. What may wait is limited ([`QUEUE_BYTES_MAX`]).
//! When a disk takes nothing, or commands come faster than it takes them, lines are dropped, and the next one that is
//! written says how many. Lines of what was denied are dropped when half of the room is used: whoever floods the log
//! with refusals cannot hide what somebody who has logged in does meanwhile.
//!
//! Invariants: lines stand in the order in which they were told; a line is whole or not there, unless the disk is full.
//!
//! To add a field: in [`Line`], and in `Line::write`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::spec::AclCategories;
use crate::sys::local_time::civil;
use crate::util::ascii;

/// Most bytes that wait to be written.
pub const QUEUE_BYTES_MAX: usize = 8 << 20;
/// What of it lines of denied commands may fill.
const DENIED_BYTES_MAX: usize = QUEUE_BYTES_MAX / 2;
/// Most keys of a command that are named.
const KEYS_MAX: usize = 64;
/// Most bytes of a key, or of a name, that are shown.
const TEXT_BYTES_MAX: usize = 256;
/// Between two lines in the server's log about a file that cannot be written.
const ERROR_LINE: Duration = Duration::from_secs(30);
/// Nobody but the server reads the file, unless it was made for others before.
const FILE_MODE: u32 = 0o600;

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome<'a> {
    /// It ran, without an error.
    Ok,
    /// It was answered with an error of this code.
    Error(&'a [u8]),
    /// Its user may not run it: an error of this code.
    Denied(&'a [u8]),
}

/// A command that is told of.
pub struct Line<'a, K> {
    /// When, Unix time in microseconds.
    pub at_us: u64,
    /// The number of the client.
    pub client: u64,
    /// Who it is logged in as.
    pub user: &'a [u8],
    /// Who it has tried to log in as.
    pub login: Option<&'a [u8]>,
    /// Where it comes from.
    pub addr: &'a str,
    /// The database that it works in.
    pub db: u32,
    /// The command, `config|set` for a subcommand.
    pub command: &'a str,
    /// The keys that the request names.
    pub keys: K,
    /// A script has asked for it.
    pub by_script: bool,
    /// What became of it.
    pub outcome: Outcome<'a>,
}

/// See the module's text.
#[derive(Default)]
pub struct Audit {
    is_on: AtomicBool,
    categories: AtomicU32,
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    /// How many lines were told that these are, or say to be missing.
    told: u64,
    /// Lines that were not kept, behind the last of these.
    dropped: u64,
    /// Lines in front of these that could not be written.
    lost: u64,
    is_closed: bool,
}

impl Audit {
    /// Whether there is an audit log.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Which commands are logged whatever becomes of them.
    pub fn set_categories(&self, categories: AclCategories) {
        self.categories.store(categories.bits(), Ordering::Relaxed);
    }

    /// Whether a command of these categories is logged whatever becomes of it.
    pub fn wants(&self, categories: AclCategories) -> bool {
        self.categories.load(Ordering::Relaxed) & categories.bits() != 0
    }

    /// Begins to write to a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn start(&self, path: &Path) -> io::Result<()> {
        // The working directory may change.
        let path = std::path::absolute(path)?;
        open(&path)?;
        let shared = self.shared.clone();
        let writer = std::thread::Builder::new()
            .name("kivi-audit".into())
            .spawn(move || shared.write_forever(&path))?;
        *self.writer.lock() = Some(writer);
        self.is_on.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes what waits, and ends.
    pub fn stop(&self) {
        self.is_on.store(false, Ordering::Relaxed);
        self.shared.queue.lock().is_closed = true;
        self.shared.changed.notify_all();
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
    }

    /// Has a line written. Never waits.
    pub fn push(&self, line: &Rendered) {
        self.shared.push(&line.text, line.room);
    }
}

/// A line as it is written.
pub struct Rendered {
    text: Vec<u8>,
    /// How much may wait for it to be kept.
    room: usize,
}

/// Makes a line's text.
pub fn render<'k>(line: Line<'_, impl Iterator<Item = &'k [u8]>>) -> Rendered {
    let room = match line.outcome {
        Outcome::Denied(_) => DENIED_BYTES_MAX,
        Outcome::Ok | Outcome::Error(_) => QUEUE_BYTES_MAX,
    };
    let mut text = Vec::with_capacity(256);
    line.write(&mut text);
    Rendered { text, room }
}

impl Queue {
    /// Says at the end that lines are missing there, and how many.
    fn note_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            self.lines.extend_from_slice(&note(dropped));
            self.told += dropped;
        }
    }
}

impl Shared {
    fn push(&self, line: &[u8], room: usize) {
        let mut queue = self.queue.lock();
        if queue.lines.len() + line.len() > room {
            queue.dropped += 1;
            return;
        }
        queue.note_dropped();
        queue.lines.extend_from_slice(line);
        queue.told += 1;
        drop(queue);
        self.changed.notify_one();
    }

    /// Writes what is told, until the log is closed and everything written.
    fn write_forever(&self, path: &Path) {
        let mut failed_at: Option<Instant> = None;
        let mut lines = Vec::new();
        while let Some(told) = self.take(&mut lines) {
            let written = open(path).and_then(|mut file| file.write_all(&lines));
            lines.clear();
            let Err(error) = written else { continue };
            if failed_at.is_none_or(|at| at.elapsed() >= ERROR_LINE) {
                failed_at = Some(Instant::now());
                tracing::warn!("Can't write the audit log {}: {error}", path.display());
            }
            let mut queue = self.queue.lock();
            queue.lost += told;
            if queue.is_closed {
                return;
            }
        }
    }

    /// Takes what waits, with notes of what is missing; how many lines that stands for. `None`: there will be no
    /// more.
    fn take(&self, lines: &mut Vec<u8>) -> Option<u64> {
        let mut queue = self.queue.lock();
        while queue.lines.is_empty() && !queue.is_closed {
            self.changed.wait(&mut queue);
        }
        if queue.is_closed {
            // Nothing follows that could say so.
            queue.note_dropped();
        }
        let lost = std::mem::take(&mut queue.lost);
        if lost > 0 {
            queue.lines.splice(..0, note(lost));
        }
        if queue.lines.is_empty() {
            return None;
        }
        std::mem::swap(&mut queue.lines, lines);
        Some(std::mem::take(&mut queue.told) + lost)
    }
}

/// The line that says how many are missing where it stands.
fn note(missing: u64) -> Vec<u8> {
    format!("{{\"dropped\":{missing}}}\n").into_bytes()
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(FILE_MODE);
    options.open(path)
}

impl<'k, K: Iterator<Item = &'k [u8]>> Line<'_, K> {
    fn write(self, out: &mut Vec<u8>) {
        let _ = write!(
            out,
            "{{\"time\":\"{}\",\"client\":{},\"user\":",
            utc(self.at_us),
            self.client
        );
        string(self.user, out);
        if let Some(login) = self.login {
            out.extend_from_slice(b",\"login\":");
            string(login, out);
        }
        out.extend_from_slice(b",\"address\":");
        string(self.addr.as_bytes(), out);
        let _ = write!(out, ",\"db\":{},\"command\":", self.db);
        string(self.command.as_bytes(), out);
        let mut left_out = 0;
        out.extend_from_slice(b",\"keys\":[");
        for (at, key) in self.keys.enumerate() {
            if at >= KEYS_MAX {
                left_out += 1;
                continue;
            }
            if at > 0 {
                out.push(b',');
            }
            string(key, out);
        }
        out.push(b']');
        if left_out > 0 {
            let _ = write!(out, ",\"more_keys\":{left_out}");
        }
        if self.by_script {
            out.extend_from_slice(b",\"script\":true");
        }
        let (word, code) = match self.outcome {
            Outcome::Ok => ("ok", None),
            Outcome::Error(code) => ("error", Some(code)),
            Outcome::Denied(code) => ("denied", Some(code)),
        };
        let _ = write!(out, ",\"outcome\":\"{word}\"");
        if let Some(code) = code {
            out.extend_from_slice(b",\"error\":");
            string(code, out);
        }
        out.extend_from_slice(b"}\n");
    }
}

/// Bytes as a string of JSON: as redis-cli shows them, so that any bytes can be told from any others.
fn string(text: &[u8], out: &mut Vec<u8>) {
    let mut shown = Vec::with_capacity(text.len() + 2);
    let kept = &text[..text.len().min(TEXT_BYTES_MAX)];
    ascii::repr_arg(kept, &mut shown);
    out.push(b'"');
    for &byte in &shown[1..shown.len() - 1] {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    if kept.len() < text.len() {
        let _ = write!(out, "... ({} more bytes)", text.len() - kept.len());
    }
    out.push(b'"');
}

/// `2026-01-31T10:00:00.123456Z`.
fn utc(unix_us: u64) -> String {
    let (secs, us) = (unix_us / 1_000_000, unix_us % 1_000_000);
    let (days, secs) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{us:06}Z")
}

#[cfg(test)]
mod tests;
