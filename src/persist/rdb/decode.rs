//! RDB: decoding files of Redis 2.6 to 8.0 and of Valkey 9, and payloads of DUMP.
//!
//! A file becomes [`Record`]s in its order, a payload becomes one entry. Keys come out as entries
//! ready to be put into a table, in the encodings that this server's directives ask for.
//!
//! - `reader`: bytes, numbers, lengths, strings, the checksum;
//! - `file`: what a file is made of;
//! - `value`, `hash`, `stream`: the values of keys, by type;
//! - `old`: the compact encodings of before Redis 7.
//!
//! Nothing that comes in is trusted: every length, count, order and number is checked before it is
//! used, and a fault says where in the input it is. Bad input never panics, never hangs, and never
//! allocates more than the bytes that are there can stand for.
//!
//! To read a new opcode, see `file`; a new type, `value`.

use std::fmt;
use std::io::Read;

use crate::db::DbIndex;
use crate::db::usage::Stamp;
use crate::ds::entry::Entry;
use crate::ds::hash::KeyHash;
use crate::persist::rdb::format::{
    CHECKSUM_BYTES, DUMP_FOOTER_BYTES, Line, REDIS_VERSION_MAX, VALKEY_VERSION_MIN, crc64, opcode,
};
use crate::value::Limits;

mod file;
mod hash;
mod old;
mod reader;
mod stream;
mod value;

#[cfg(test)]
pub(super) mod tests;

use reader::Reader;
use value::{Head, Loaded, Values, score_of_text};

pub use value::type_name;

/// What a load follows.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Up to where values are compact.
    pub limits: Limits,
    /// The hash function of the keyspace.
    pub key_hash: KeyHash,
    /// How many databases there are.
    pub databases: u32,
    /// `rdbchecksum`
    pub verify_checksum: bool,
    /// The time, Unix ms.
    pub now_ms: u64,
    /// What is kept of how keys are used, as of now.
    pub usage: Stamp,
    /// Keys and fields that have expired are left out. Not so of the base of a log, whose records
    /// may know them.
    pub drop_expired: bool,
    /// `rdb-version-check relaxed`: a version that is not known is read as far as it is understood.
    pub relaxed_version: bool,
}

/// What a file tells, one after the other.
#[derive(Debug)]
pub enum Record {
    /// Something about the file as a whole, by its name.
    Aux(Vec<u8>, Vec<u8>),
    /// The keys that follow are in this database.
    Select(DbIndex),
    /// How many keys the selected database has.
    Resize {
        /// Of all kinds.
        keys: u64,
        /// With an expiry.
        expires: u64,
    },
    /// A key.
    Key {
        /// With its value.
        entry: Entry,
        /// The type that its value had in the file, see [`type_name`].
        type_: u8,
    },
    /// The source of a library of functions.
    Function(Vec<u8>),
}

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// The input could not be read.
    Io,
    /// It ends too early.
    Truncated,
    /// Its checksum is not that of its bytes.
    Checksum,
    /// It is no RDB file, or of a version that is not known.
    Version,
    /// Something in it is not what it should be.
    Corrupt,
    /// It is something that this server does not have (yet).
    Unsupported,
    /// Who got a record did not want it.
    Rejected,
}

/// Why input was not read to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// How many bytes had been read.
    pub offset: u64,
    /// What it is.
    pub kind: FaultKind,
    /// What a person is told.
    pub message: String,
}

/// A load fails like this.
pub type LoadError = Fault;

/// Boxed, since nearly every function here may fail and hardly any does.
pub(super) type Result<T> = std::result::Result<T, Box<Fault>>;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at offset {})", self.message, self.offset)
    }
}

impl std::error::Error for Fault {}

/// What became of the checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// It is that of the file.
    Verified,
    /// The file was written without.
    Disabled,
    /// Nobody asked for it, or the version has none.
    Ignored,
}

/// What was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadSummary {
    /// The version of the format.
    pub version: u32,
    /// Keys handed out.
    pub keys: u64,
    /// Keys left out because they had expired.
    pub expired: u64,
    /// Keys left out because their collections had no elements.
    pub empty: u64,
    /// Length of the RDB part, which other things may follow.
    pub bytes: u64,
    /// What became of its checksum.
    pub checksum: Checksum,
}

/// Reads a file and hands each of its records to `on_record`, with how many bytes have been read.
/// An error of `on_record` ends it.
pub fn load(
    mut input: impl Read,
    options: &LoadOptions,
    on_record: &mut dyn FnMut(Record, u64) -> std::result::Result<(), String>,
) -> std::result::Result<LoadSummary, LoadError> {
    let reader = Reader::new(&mut input, usize::MAX, options.verify_checksum);
    file::load(reader, options, on_record).map_err(|fault| *fault)
}

/// Why a payload is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RestoreError {
    /// The version is not known, or the checksum is wrong.
    Footer,
    /// The value is not valid.
    Bad(Fault),
}

/// The version in a payload's footer, if that is valid.
fn dump_version(payload: &[u8], relaxed: bool) -> Option<u16> {
    let (rest, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>()?;
    let (_, version) = rest.split_last_chunk::<2>()?;
    let version = u16::from_le_bytes(*version);
    let known = is_known_version(version.into(), relaxed);
    (known && crc64(0, rest) == u64::from_le_bytes(*checksum)).then_some(version)
}

/// Whether files and payloads of a version are read.
fn is_known_version(version: u32, relaxed: bool) -> bool {
    matches!(version, 1..=REDIS_VERSION_MAX | VALKEY_VERSION_MIN) || relaxed && version > 0
}

/// What RESTORE is told of a key besides its value.
#[derive(Clone, Copy, Debug)]
pub struct RestoredKey<'a> {
    /// Its name.
    pub key: &'a [u8],
    /// When it expires, Unix ms.
    pub expire_at_ms: Option<u64>,
    /// For how long it has not been used, seconds.
    pub idle_secs: Option<u64>,
    /// How often it is.
    pub frequency: Option<u8>,
}

/// Why libraries are not restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LibrariesError {
    /// The version is not known, or the checksum is wrong.
    Footer,
    /// It is something else.
    NoLibrary,
    /// It is of before Redis 7.0 was out.
    PreRelease,
    /// A source cannot be read.
    Bad,
}

/// The sources of the libraries in a payload.
pub fn restore_libraries(
    payload: &[u8],
    relaxed: bool,
) -> std::result::Result<Vec<Vec<u8>>, LibrariesError> {
    dump_version(payload, relaxed).ok_or(LibrariesError::Footer)?;
    let mut rest = &payload[..payload.len().saturating_sub(DUMP_FOOTER_BYTES)];
    let len = rest.len();
    let mut reader = Reader::new(&mut rest, len, false);
    let mut sources = Vec::new();
    let bad = |_| LibrariesError::Bad;
    while !reader.is_at_end().map_err(bad)? {
        match reader.byte().map_err(bad)? {
            opcode::FUNCTION2 => {}
            opcode::FUNCTION_PRE_GA => return Err(LibrariesError::PreRelease),
            _ => return Err(LibrariesError::NoLibrary),
        }
        sources.push(reader.string().map_err(bad)?.into_vec());
    }
    Ok(sources)
}

/// The entry of a key that a payload is the value of.
pub fn restore(
    payload: &[u8],
    key: &RestoredKey<'_>,
    options: &LoadOptions,
) -> std::result::Result<Entry, RestoreError> {
    let version = dump_version(payload, options.relaxed_version).ok_or(RestoreError::Footer)?;
    let line = Line::of_version(version.into());
    let mut value = &payload[..payload.len().saturating_sub(DUMP_FOOTER_BYTES)];
    let len = value.len();
    let mut reader = Reader::new(&mut value, len, false);
    let head = Head {
        key: key.key,
        expire_at_ms: key.expire_at_ms,
        lru: options.usage.restored(key.idle_secs, key.frequency),
    };
    let values = Values { options, line };
    let loaded = reader.byte().and_then(|type_| {
        let loaded = values.read(&mut reader, type_, &head)?;
        match reader.is_at_end()? {
            true => Ok(loaded),
            false => Err(reader.corrupt("Bytes after the value")),
        }
    });
    match loaded {
        Ok(Loaded::Entry(entry)) => Ok(entry),
        Ok(Loaded::Empty | Loaded::Expired) => {
            let fault = reader.corrupt("A collection without elements");
            Err(RestoreError::Bad(*fault))
        }
        Err(fault) => Err(RestoreError::Bad(*fault)),
    }
}
