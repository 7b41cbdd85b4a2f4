//! What frames the keys of a file: its beginning, the databases, its end.

use crate::db::DbIndex;
use crate::ds::entry::ValueRef;
use crate::persist::rdb::format::{
    MAGIC_REDIS, MAGIC_VALKEY, REDIS_VERSION_CONSUMERS, REDIS_VERSION_WRITTEN, VALKEY_VERSION_MIN,
    opcode,
};

use super::{LargeKind, text};

/// In which version of the format a file or payload is written: the lowest that holds what is in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// RDB 10, which Redis 7.0 and all later servers read.
    Redis10,
    /// RDB 11, which Redis 7.2 and all later servers read: for streams whose groups have consumers.
    Redis11,
    /// RDB 80, of Valkey 9: for hashes with fields that expire.
    Valkey80,
}

impl Version {
    /// The lowest version that holds a value.
    pub fn of(value: ValueRef<'_>) -> Version {
        match value.as_collection().map(LargeKind::of) {
            Some(LargeKind::EXPIRING_HASH) => Version::Valkey80,
            Some(LargeKind::CONSUMED_STREAM) => Version::Redis11,
            _ => Version::Redis10,
        }
    }

    /// The number.
    pub fn number(self) -> u32 {
        match self {
            Version::Redis10 => REDIS_VERSION_WRITTEN,
            Version::Redis11 => REDIS_VERSION_CONSUMERS,
            Version::Valkey80 => VALKEY_VERSION_MIN,
        }
    }
}

/// What a file tells of itself and of the server that wrote it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aux {
    /// The version of Redis that the server says it is.
    pub redis_version: &'static str,
    /// The server's own version.
    pub kivi_version: &'static str,
    /// When the snapshot was taken.
    pub ctime_unix_secs: u64,
    /// The server's memory then.
    pub used_memory_bytes: u64,
    /// Whether the file is the base of an append-only log.
    pub aof_base: bool,
}

/// Writes the beginning of a file.
pub fn header(out: &mut Vec<u8>, version: Version, aux: &Aux) {
    let magic = match version {
        Version::Redis10 | Version::Redis11 => MAGIC_REDIS,
        Version::Valkey80 => MAGIC_VALKEY,
    };
    out.extend_from_slice(magic);
    let digits = super::format::MAGIC_BYTES - magic.len();
    out.extend_from_slice(format!("{:0digits$}", version.number()).as_bytes());
    let mut put = |name: &str, value: &dyn Fn(&mut Vec<u8>)| {
        out.push(opcode::AUX);
        text::string(out, name.as_bytes(), false);
        value(out);
    };
    let int =
        |value: u64| move |out: &mut Vec<u8>| text::int(out, value.min(i64::MAX as u64) as i64);
    let string =
        |value: &'static str| move |out: &mut Vec<u8>| text::string(out, value.as_bytes(), false);
    put("redis-ver", &string(aux.redis_version));
    put("kivi-ver", &string(aux.kivi_version));
    put("redis-bits", &int(u64::from(usize::BITS)));
    put("ctime", &int(aux.ctime_unix_secs));
    put("used-mem", &int(aux.used_memory_bytes));
    put("aof-base", &int(u64::from(aux.aof_base)));
}

/// Writes that the keys that follow are in a database, with how many keys and how many expiries it
/// has: a reader makes room for so many.
pub fn select(out: &mut Vec<u8>, db: DbIndex, keys: u64, expires: u64) {
    select_again(out, db);
    out.push(opcode::RESIZEDB);
    text::length(out, keys);
    text::length(out, expires);
}

/// Writes that what follows is in a database that was begun before.
pub fn select_again(out: &mut Vec<u8>, db: DbIndex) {
    out.push(opcode::SELECTDB);
    text::length(out, u64::from(db.0));
}

/// Writes a library of functions: these come before the keys.
pub fn library(out: &mut Vec<u8>, source: &[u8], compress: bool) {
    out.push(opcode::FUNCTION2);
    text::string(out, source, compress);
}

/// Writes the end. The checksum of all before it follows ([`super::format::crc64`]), eight bytes,
/// little endian, or 0 if there shall be none.
pub fn end(out: &mut Vec<u8>) {
    out.push(opcode::EOF);
}
