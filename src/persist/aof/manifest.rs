//! Which files the log consists of: the manifest, a text file of one line a file.
//!
//! `file NAME seq NUMBER type T`, in this order: the BASE (`b`), HISTORY files (`h`), INCR files (`i`)
//! by ascending number. Lines may hold further pairs of words, for later versions; `#` begins a
//! comment. A name that needs it is quoted as `CONFIG REWRITE` quotes.

use std::fmt;

use crate::util::ascii::{eq_nocase, repr_arg, split_args};

/// A longer line is refused.
const LINE_BYTES_MAX: usize = 1024;
/// A manifest of more than this is none.
pub(super) const MANIFEST_BYTES_MAX: usize = 16 << 20;

/// One file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FileInfo {
    pub name: String,
    pub seq: u64,
}

/// All files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Manifest {
    pub base: Option<FileInfo>,
    pub history: Vec<FileInfo>,
    pub incr: Vec<FileInfo>,
    /// The number of the last BASE and of the last INCR file that were made.
    pub base_seq: u64,
    pub incr_seq: u64,
}

/// What is wrong with a manifest, in Redis's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ManifestError {
    /// The line and its number, where one is to blame.
    pub line: Option<(usize, String)>,
    pub reason: &'static str,
}

impl ManifestError {
    fn of_file(reason: &'static str) -> ManifestError {
        ManifestError { line: None, reason }
    }

    /// The paragraphs that Redis logs.
    pub fn paragraphs(&self) -> Vec<String> {
        let mut lines = vec!["\n*** FATAL AOF MANIFEST FILE ERROR ***\n".to_owned()];
        if let Some((number, text)) = &self.line {
            lines.push(format!("Reading the manifest file, at line {number}\n"));
            lines.push(format!(">>> '{text}'\n"));
        }
        lines.push(format!("{}\n", self.reason));
        lines
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.line {
            Some((number, text)) => write!(
                f,
                "the AOF manifest file, at line {number}: '{text}': {}",
                self.reason
            ),
            None => write!(f, "the AOF manifest file: {}", self.reason),
        }
    }
}

const INVALID: &str = "Invalid AOF manifest file format";

impl Manifest {
    /// Reads a manifest.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        if text.is_empty() {
            return Err(ManifestError::of_file("Found an empty AOF manifest"));
        }
        let mut manifest = Manifest::default();
        for (number, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
            if line.starts_with(b"#") {
                continue;
            }
            if !line.ends_with(b"\n") || line.len() > LINE_BYTES_MAX {
                let reason = "The AOF manifest file contains too long line";
                return Err(ManifestError::of_file(reason));
            }
            let line = line.trim_ascii();
            manifest.add_line(line).map_err(|reason| {
                let text = String::from_utf8_lossy(line).into_owned();
                let line = Some((number, text));
                ManifestError { line, reason }
            })?;
        }
        Ok(manifest)
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let words = split_args(line).ok_or(INVALID)?;
        if words.len() < 6 || words.len() % 2 != 0 {
            return Err(INVALID);
        }
        let (mut name, mut seq, mut kind) = (None, None, None);
        for pair in words.chunks_exact(2) {
            let value = &pair[1];
            if eq_nocase(&pair[0], b"file") {
                if value.iter().any(|byte| matches!(byte, b'/' | b'\\')) {
                    return Err("File can't be a path, just a filename");
                }
                name = String::from_utf8(value.clone()).ok();
            } else if eq_nocase(&pair[0], b"seq") {
                seq = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok());
            } else if eq_nocase(&pair[0], b"type") {
                kind = value.first().copied();
            }
        }
        let name = name.filter(|name| !name.is_empty()).ok_or(INVALID)?;
        let seq = seq.filter(|seq| *seq > 0).ok_or(INVALID)?;
        let file = FileInfo { name, seq };
        match kind.ok_or(INVALID)? {
            b'b' if self.base.is_some() => {
                return Err("Found duplicate base file information");
            }
            b'b' => {
                self.base_seq = seq;
                self.base = Some(file);
            }
            b'h' => self.history.push(file),
            b'i' if seq <= self.incr_seq => return Err("Found a non-monotonic sequence number"),
            b'i' => {
                self.incr_seq = seq;
                self.incr.push(file);
            }
            _ => return Err("Unknown AOF file type"),
        }
        Ok(())
    }

    /// The manifest's text.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let base = self.base.iter().map(|file| (file, 'b'));
        let history = self.history.iter().map(|file| (file, 'h'));
        let incr = self.incr.iter().map(|file| (file, 'i'));
        for (file, kind) in base.chain(history).chain(incr) {
            out.extend_from_slice(b"file ");
            match needs_quotes(&file.name) {
                true => repr_arg(file.name.as_bytes(), &mut out),
                false => out.extend_from_slice(file.name.as_bytes()),
            }
            out.extend_from_slice(format!(" seq {} type {kind}\n", file.seq).as_bytes());
        }
        out
    }

    /// The files that hold the data, in the order of loading.
    pub fn live(&self) -> impl Iterator<Item = &FileInfo> {
        self.base.iter().chain(&self.incr)
    }

    /// Whether no data is anywhere.
    pub fn is_empty(&self) -> bool {
        self.base.is_none() && self.incr.is_empty()
    }

    /// Adds a BASE file, the former one becomes history; its name.
    pub fn push_base(&mut self, filename: &str, is_rdb: bool) -> String {
        if let Some(former) = self.base.take() {
            self.history.insert(0, former);
        }
        let format = if is_rdb { "rdb" } else { "aof" };
        let (name, seq) = self.free_name(self.base_seq, |seq| {
            format!("{filename}.{seq}.base.{format}")
        });
        self.base_seq = seq;
        self.base = Some(FileInfo {
            name: name.clone(),
            seq,
        });
        name
    }

    /// Adds an INCR file behind the others; its name.
    pub fn push_incr(&mut self, filename: &str) -> String {
        let (name, seq) = self.free_name(self.incr_seq, |seq| format!("{filename}.{seq}.incr.aof"));
        self.incr_seq = seq;
        self.incr.push(FileInfo {
            name: name.clone(),
            seq,
        });
        name
    }

    /// The next name that no file of the manifest bears: one that waits for its removal may have a
    /// number that was given out before the last restart.
    fn free_name(&self, last: u64, name: impl Fn(u64) -> String) -> (String, u64) {
        let mut seq = last;
        loop {
            seq = seq.saturating_add(1);
            let name = name(seq);
            let mut all = self.live().chain(&self.history);
            if seq == u64::MAX || !all.any(|file| file.name == name) {
                return (name, seq);
            }
        }
    }

    /// INCR files with numbers below `seq` become history.
    pub fn retire_incr(&mut self, seq: u64) {
        let (retired, kept) = self.incr.drain(..).partition(|file| file.seq < seq);
        let former = std::mem::replace(&mut self.history, retired);
        self.history.extend(former);
        self.incr = kept;
    }
}

/// Whether a name would not come back as it is.
fn needs_quotes(name: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'\'');
    name.is_empty() || !name.as_bytes().iter().all(plain)
}
