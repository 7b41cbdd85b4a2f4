//! `--check-aof`: reads a log as a load would, executes nothing, tells what it found, and cuts off what
//! is wrong if it may. The words and the rules are valkey-check-aof's.
//!
//! A manifest is told by its first line; anything else is a file of before Redis 7. Only the last file
//! that holds data may be cut.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::persist::rdb;
use crate::sys::files::os_text;
use crate::util::ascii::eq_nocase;

use super::load::{SNAPSHOT_MAGIC_BYTES, begins_snapshot};
use super::manifest::{MANIFEST_BYTES_MAX, Manifest};

/// Longest annotation.
const ANNOTATION_BYTES_MAX: usize = 1023;
/// Longest line with a number.
const NUMBER_BYTES_MAX: usize = 127;

/// What is to be checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Check {
    /// A manifest, or a log in one file.
    pub file: PathBuf,
    /// Cut off what is wrong, after asking.
    pub fix: bool,
    /// Cut off what is younger than this (Unix seconds).
    pub truncate_to_timestamp: Option<i64>,
    /// Now, for telling which keys of a snapshot have expired.
    pub now_ms: u64,
}

/// Checks a log; whether all is well. Questions are answered by `answers`.
///
/// # Errors
/// When `out` takes nothing.
pub fn check(check: &Check, answers: &mut dyn BufRead, out: &mut dyn Write) -> io::Result<bool> {
    let mut tool = Tool {
        check,
        answers,
        out,
        line: 1,
        error: None,
        error_at: 0,
    };
    match tool.run() {
        Ok(()) => Ok(true),
        Err(Quit::Told) => Ok(false),
        Err(Quit::Io(error)) => Err(error),
    }
}

/// The end.
enum Quit {
    /// Why has been said.
    Told,
    /// It cannot be said.
    Io(io::Error),
}

impl From<io::Error> for Quit {
    fn from(error: io::Error) -> Quit {
        Quit::Io(error)
    }
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Valid,
    Empty,
    Truncated,
    TruncatedToTimestamp,
}

struct Tool<'a> {
    check: &'a Check,
    answers: &'a mut dyn BufRead,
    out: &'a mut dyn Write,
    /// The line that is read, in all files together.
    line: u64,
    error: Option<String>,
    /// Where what is being read begins.
    error_at: u64,
}

/// One file of a log.
struct Part<'a> {
    /// As it is told.
    name: &'a str,
    path: &'a Path,
    is_last: bool,
    has_snapshot: bool,
}

impl Tool<'_> {
    fn say(&mut self, text: impl Display) -> Result<(), Quit> {
        Ok(writeln!(self.out, "{text}")?)
    }

    fn quit<T>(&mut self, text: impl Display) -> Result<T, Quit> {
        self.say(text)?;
        Err(Quit::Told)
    }

    fn run(&mut self) -> Result<(), Quit> {
        let path = self.check.file.clone();
        let name = path.display().to_string();
        if self.is_manifest(&path)? {
            return self.check_parts(&path);
        }
        let has_snapshot = self.has_snapshot(&path)?;
        self.say("Start checking Old-Style AOF")?;
        let verdict = self.check_part(&Part {
            name: &name,
            path: &path,
            is_last: true,
            has_snapshot,
        })?;
        self.tell(verdict, "AOF", &name)
    }

    fn open(&mut self, path: &Path) -> Result<File, Quit> {
        let name = path.display();
        match File::open(path) {
            Ok(file) => Ok(file),
            Err(error) => {
                let reason = os_text(&error);
                self.quit(format!("Cannot open file {name}: {reason}"))
            }
        }
    }

    fn is_manifest(&mut self, path: &Path) -> Result<bool, Quit> {
        let mut reader = Reader::new(self.open(path)?);
        loop {
            let line = reader.line(1024);
            match line {
                Ok(line) if line.starts_with(b"#") => {}
                Ok(line) => return Ok(line.starts_with(b"file")),
                Err(_) => return self.quit(format!("Cannot read file: {}", path.display())),
            }
        }
    }

    fn has_snapshot(&mut self, path: &Path) -> Result<bool, Quit> {
        let file = self.open(path)?;
        let mut head = Vec::new();
        let read = file
            .take(SNAPSHOT_MAGIC_BYTES as u64)
            .read_to_end(&mut head);
        let is_snapshot = read.map(|_| begins_snapshot(&head));
        is_snapshot.or_else(|_| self.quit(format!("Cannot read file: {}", path.display())))
    }

    fn tell(&mut self, verdict: Verdict, kind: &str, name: &str) -> Result<(), Quit> {
        match (verdict, self.check.truncate_to_timestamp) {
            (Verdict::Valid, _) => self.say(format!("{kind} {name} is valid")),
            (Verdict::Empty, _) => self.say(format!("{kind} {name} is empty")),
            (Verdict::TruncatedToTimestamp, Some(secs)) => self.say(format!(
                "Successfully truncated AOF {name} to timestamp {secs}"
            )),
            (Verdict::Truncated | Verdict::TruncatedToTimestamp, _) => {
                self.say(format!("Successfully truncated AOF {name}"))
            }
        }
    }

    fn check_parts(&mut self, path: &Path) -> Result<(), Quit> {
        self.say("Start checking Multi Part AOF")?;
        let mut text = Vec::new();
        let limit = MANIFEST_BYTES_MAX as u64;
        if let Err(error) = self.open(path)?.take(limit).read_to_end(&mut text) {
            return self.quit(format!("Cannot read file: {}", os_text(&error)));
        }
        let manifest = match Manifest::parse(&text) {
            Ok(manifest) => manifest,
            Err(error) => return self.quit(error.paragraphs().join("\n")),
        };
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new("."));
        let names: Vec<&str> = manifest.live().map(|file| file.name.as_str()).collect();
        for (index, name) in names.iter().enumerate() {
            let is_base = index == 0 && manifest.base.is_some();
            let is_empty = |name: &&str| dir.join(name).metadata().is_ok_and(|m| m.len() == 0);
            let path = dir.join(name);
            let has_snapshot = is_base && self.has_snapshot(&path)?;
            if is_base {
                let format = if has_snapshot { "RDB" } else { "RESP" };
                self.say(format!("Start to check BASE AOF ({format} format)."))?;
            } else if index == usize::from(manifest.base.is_some()) {
                self.say("Start to check INCR files.")?;
            }
            let verdict = self.check_part(&Part {
                name,
                path: &path,
                is_last: names[index + 1..].iter().all(is_empty),
                has_snapshot,
            })?;
            let kind = if is_base { "BASE AOF" } else { "INCR AOF" };
            self.tell(verdict, kind, name)?;
        }
        self.say("All AOF files and manifest are valid")
    }

    fn check_part(&mut self, part: &Part<'_>) -> Result<Verdict, Quit> {
        let opened = OpenOptions::new().read(true).write(true).open(part.path);
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                let (name, reason) = (part.path.display(), os_text(&error));
                return self.quit(format!("Cannot open file {name}: {reason}, aborting..."));
            }
        };
        let Ok(size) = file.metadata().map(|metadata| metadata.len()) else {
            return self.quit(format!("Cannot stat file: {}, aborting...", part.name));
        };
        if size == 0 {
            return Ok(Verdict::Empty);
        }
        let mut reader = Reader::new(file);
        if part.has_snapshot {
            self.check_snapshot(part, &mut reader)?;
        }
        let valid_up_to = match self.check_requests(part, &mut reader)? {
            Some(valid_up_to) => valid_up_to,
            None => return Ok(Verdict::TruncatedToTimestamp),
        };
        if let Some(error) = self.error.clone() {
            self.say(error)?;
        }
        let rest = size.saturating_sub(valid_up_to);
        let name = part.name;
        if let (0, Some(secs)) = (rest, self.check.truncate_to_timestamp) {
            self.say(format!(
                "Truncate nothing in AOF {name} to timestamp {secs}"
            ))?;
            return Ok(Verdict::Valid);
        }
        let line = self.line;
        self.say(format!(
            "AOF analyzed: filename={name}, size={size}, ok_up_to={valid_up_to}, \
             ok_up_to_line={line}, diff={rest}"
        ))?;
        match rest {
            0 => Ok(Verdict::Valid),
            rest => self.fix(part, &reader, size, rest),
        }
    }

    fn check_snapshot(&mut self, part: &Part<'_>, reader: &mut Reader) -> Result<(), Quit> {
        self.say(format!(
            "[offset 0] Checking RDB file {}",
            part.path.display()
        ))?;
        let file = self.open(part.path)?;
        let bytes = rdb::check::check(file, self.check.now_ms, self.out)?;
        match bytes.filter(|bytes| reader.seek(*bytes).is_ok()) {
            Some(_) => self.say("RDB preamble is OK, proceeding with AOF tail..."),
            None => self.quit("RDB preamble of AOF file is not sane, aborting."),
        }
    }

    /// Cuts off what is wrong, if that is wanted.
    fn fix(
        &mut self,
        part: &Part<'_>,
        reader: &Reader,
        size: u64,
        rest: u64,
    ) -> Result<Verdict, Quit> {
        let name = part.name;
        if !self.check.fix {
            return self.quit(format!(
                "AOF {name} is not valid. Use the --fix option to try fixing it."
            ));
        }
        if !part.is_last {
            return self.quit(format!(
                "Failed to truncate AOF {name} because it is not the last file"
            ));
        }
        let left = size - rest;
        self.say(format!(
            "This will shrink the AOF {name} from {size} bytes, with {rest} bytes, to {left} bytes"
        ))?;
        write!(self.out, "Continue? [y/N]: ")?;
        self.out.flush()?;
        let mut answer = String::new();
        let read = self.answers.read_line(&mut answer);
        if read.is_err() || !answer.starts_with(['y', 'Y']) {
            return self.quit("Aborting...");
        }
        match reader.cut(left) {
            Ok(()) => Ok(Verdict::Truncated),
            Err(_) => self.quit(format!("Failed to truncate AOF {name}")),
        }
    }

    /// Reads requests to the end of the file or the first error: up to where all is well. `None`: the
    /// file was cut at a timestamp.
    fn check_requests(
        &mut self,
        part: &Part<'_>,
        reader: &mut Reader,
    ) -> Result<Option<u64>, Quit> {
        let mut valid_up_to = reader.at;
        let mut is_open = false;
        loop {
            if !is_open {
                valid_up_to = reader.at;
            }
            match reader.peek() {
                Err(_) => {
                    return self.quit(format!(
                        "Failed to read from AOF {}, aborting...",
                        part.name
                    ));
                }
                Ok(None) => break,
                Ok(Some(b'#')) => {
                    if self.annotation(part, reader)? {
                        return Ok(None);
                    }
                }
                Ok(Some(b'*')) => {
                    if self.request(part, reader, &mut is_open).is_none() {
                        break;
                    }
                }
                Ok(Some(_)) => {
                    self.say(format!("AOF {} format error", part.name))?;
                    break;
                }
            }
        }
        if reader.is_at_end && is_open && self.error.is_none() {
            self.wrong("Reached EOF before reading EXEC for MULTI");
        }
        Ok(Some(valid_up_to))
    }

    /// Notes what is wrong at `error_at`.
    fn wrong(&mut self, text: impl Display) {
        self.error = Some(format!("0x{:16x}: {text}", self.error_at));
    }

    /// Reads an annotation; true when the file was cut there.
    fn annotation(&mut self, part: &Part<'_>, reader: &mut Reader) -> Result<bool, Quit> {
        self.error_at = reader.at;
        let at = reader.at;
        let path = part.path.display();
        let Ok(line) = reader.line(ANNOTATION_BYTES_MAX) else {
            return self.quit(format!(
                "Failed to read annotations from AOF {path}, aborting..."
            ));
        };
        let (Some(limit), Some(stamp)) =
            (self.check.truncate_to_timestamp, line.strip_prefix(b"#TS:"))
        else {
            return Ok(false);
        };
        let (secs, digits) = leading_number(stamp);
        if stamp.get(digits) != Some(&b'\r') {
            return self.quit("Invalid timestamp annotation");
        }
        if secs <= limit {
            return Ok(false);
        }
        if at == 0 {
            return self.quit(format!(
                "AOF {path} has nothing before timestamp {limit}, aborting..."
            ));
        }
        if !part.is_last {
            self.say(format!(
                "Failed to truncate AOF {path} to timestamp {limit} to offset {at} because it is \
                 not the last file."
            ))?;
            return self.quit(
                "If you insist, please delete all files after this file according to the manifest \
                 file and delete the corresponding records in manifest file manually. Then re-run \
                 kivi-server --check-aof.",
            );
        }
        match reader.cut(at) {
            Ok(()) => Ok(true),
            Err(_) => self.quit(format!(
                "Failed to truncate AOF {path} to timestamp {limit}"
            )),
        }
    }

    /// Reads a request; `None` when it is none, which is noted.
    fn request(&mut self, part: &Part<'_>, reader: &mut Reader, is_open: &mut bool) -> Option<()> {
        let count = self.number(reader, b'*')?;
        for index in 0..count {
            let word = self.string(reader)?;
            if index > 0 {
                continue;
            }
            let path = part.path.display();
            if eq_nocase(&word, b"MULTI") {
                if *is_open {
                    self.wrong(format!("Unexpected MULTI in AOF {path}"));
                    return None;
                }
                *is_open = true;
            } else if eq_nocase(&word, b"EXEC") {
                if !*is_open {
                    self.wrong(format!("Unexpected EXEC in AOF {path}"));
                    return None;
                }
                *is_open = false;
            }
        }
        Some(())
    }

    fn number(&mut self, reader: &mut Reader, prefix: u8) -> Option<i64> {
        self.error_at = reader.at;
        let line = reader.line(NUMBER_BYTES_MAX).ok()?;
        let first = *line.first()?;
        if first != prefix {
            let (expected, got) = (char::from(prefix), char::from(first));
            self.wrong(format!("Expected prefix '{expected}', got: '{got}'"));
            return None;
        }
        let (number, digits) = leading_number(&line[1..]);
        self.newline(&line[1 + digits..])?;
        Some(number)
    }

    fn newline(&mut self, bytes: &[u8]) -> Option<()> {
        if bytes.starts_with(b"\r\n") {
            self.line += 1;
            return Some(());
        }
        let byte = |index| bytes.get(index).copied().unwrap_or(0);
        let (first, second) = (byte(0), byte(1));
        self.wrong(format!("Expected \\r\\n, got: {first:02x}{second:02x}"));
        None
    }

    /// Reads an argument; of a long one only the beginning is kept.
    fn string(&mut self, reader: &mut Reader) -> Option<Vec<u8>> {
        let len = self.number(reader, b'$')?;
        let total = u64::try_from(len).ok().and_then(|len| len.checked_add(2));
        let Some(total) = total.filter(|total| i64::try_from(*total).is_ok()) else {
            self.wrong(format!(
                "Expected to read string of {len} bytes, which is not in the suitable range"
            ));
            return None;
        };
        self.error_at = reader.at;
        let (got, head, end) = reader.skip(total).ok()?;
        if got != total {
            self.wrong(format!("Expected to read {total} bytes, got {got} bytes"));
            return None;
        }
        self.newline(&end)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(head.len());
        Some(head[..len].to_vec())
    }
}

/// The number that a text begins with, and how many bytes it takes; too large ones as near as
/// possible.
fn leading_number(text: &[u8]) -> (i64, usize) {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let mut end = sign;
    let mut value: i64 = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(end) {
        value = value
            .saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'));
        end += 1;
    }
    match end == sign {
        true => (0, 0),
        false if text[0] == b'-' => (-value, end),
        false => (value, end),
    }
}

/// A file that is read from its beginning.
struct Reader {
    file: BufReader<File>,
    at: u64,
    is_at_end: bool,
}

impl Reader {
    fn new(file: File) -> Reader {
        Reader {
            file: BufReader::with_capacity(256 << 10, file),
            at: 0,
            is_at_end: false,
        }
    }

    fn seek(&mut self, at: u64) -> io::Result<()> {
        self.at = self.file.seek(SeekFrom::Start(at))?;
        Ok(())
    }

    /// The next byte, which stays there.
    fn peek(&mut self) -> io::Result<Option<u8>> {
        let byte = self.file.fill_buf()?.first().copied();
        self.is_at_end |= byte.is_none();
        Ok(byte)
    }

    /// Reads a line, its end included, or `most` bytes of it; nothing at the end of the file.
    fn line(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut limited = (&mut self.file).take(most as u64);
        limited.read_until(b'\n', &mut line)?;
        self.at += line.len() as u64;
        self.is_at_end |= line.len() < most && !line.ends_with(b"\n");
        Ok(line)
    }

    /// Skips `len` bytes: how many there were, the first few, the last two.
    fn skip(&mut self, len: u64) -> io::Result<(u64, Vec<u8>, [u8; 2])> {
        const HEAD_BYTES: usize = 16;
        let mut head = Vec::new();
        let mut end = [0; 2];
        let mut got = 0;
        while got < len {
            let buffer = self.file.fill_buf()?;
            let left = usize::try_from(len - got).unwrap_or(usize::MAX);
            let taken = buffer.len().min(left);
            if taken == 0 {
                self.is_at_end = true;
                break;
            }
            let wanted = HEAD_BYTES.saturating_sub(head.len()).min(taken);
            head.extend_from_slice(&buffer[..wanted]);
            end = match buffer[..taken] {
                [last] => [end[1], last],
                [.., before, last] => [before, last],
                [] => end,
            };
            self.file.consume(taken);
            got += taken as u64;
        }
        self.at += got;
        Ok((got, head, end))
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        let file = self.file.get_ref();
        file.set_len(len)?;
        file.sync_all()
    }
}
