//! What RDB files consist of: magic words, versions, opcodes, types, encodings of lengths and
//! strings, and the checksum; shared by `encode` and `decode`.
//!
//! A file is a magic word with a version, records, and [`opcode::EOF`] with the CRC-64 of all before
//! it. A record is an opcode with its arguments, or a key: its opcodes (expiry, idle time), the type
//! of its value, its name, the value.
//!
//! There are two lines of the format. They are one up to RDB 11 (Redis 7.2, Valkey 7.2 and 8); from
//! then on Redis counts on with its own types, and Valkey began anew at 80 with another magic word
//! from Valkey 9 on. The same number means different things in the two: [`Line`] tells them apart.
//!
//! Sources: the files `rdb.h` and `rdb.c` of Redis 7.2 and Valkey (BSD), and files that Redis 8.0 and
//! Valkey 9.1 wrote.

use crc_fast::{CrcAlgorithm, Digest};

/// Which line of the format a file or payload is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// Versions 1 to 79, magic word [`MAGIC_REDIS`].
    Redis,
    /// Version [`VALKEY_VERSION_MIN`] and above, magic word [`MAGIC_VALKEY`].
    Valkey,
}

impl Line {
    /// The line that a version is of.
    pub fn of_version(version: u32) -> Line {
        match version >= VALKEY_VERSION_MIN {
            true => Line::Valkey,
            false => Line::Redis,
        }
    }
}

/// How a file of Redis begins; four digits of the version follow.
pub const MAGIC_REDIS: &[u8] = b"REDIS";
/// How a file of Valkey 9 begins; three digits of the version follow.
pub const MAGIC_VALKEY: &[u8] = b"VALKEY";
/// Bytes of magic word and version together.
pub const MAGIC_BYTES: usize = 9;
/// Bytes of the checksum behind [`opcode::EOF`], little endian; 0 if none was computed. (Files
/// before version 5 have none.)
pub const CHECKSUM_BYTES: usize = 8;
/// The first version with a checksum.
pub const CHECKSUM_VERSION_MIN: u32 = 5;
/// Bytes at the end of a DUMP payload: the version, 16 bits, and the checksum of all before that.
pub const DUMP_FOOTER_BYTES: usize = 2 + CHECKSUM_BYTES;

/// The version that holds whatever needs nothing newer: that of Redis 7.0.
pub const REDIS_VERSION_WRITTEN: u32 = 10;
/// The version of Redis 7.2: for streams whose groups have consumers.
pub const REDIS_VERSION_CONSUMERS: u32 = 11;
/// The newest version of Redis's line that is known: that of Redis 8.0.
pub const REDIS_VERSION_MAX: u32 = 12;
/// The first version of Valkey's line, which is also the newest.
pub const VALKEY_VERSION_MIN: u32 = 80;

/// What a byte stands for where a record begins; all else is the type of a value.
pub mod opcode {
    /// Valkey 9: a slot that is being imported.
    pub const SLOT_IMPORT: u8 = 243;
    /// The number of a slot with how many keys and expiries it has.
    pub const SLOT_INFO: u8 = 244;
    /// The source of a library of functions.
    pub const FUNCTION2: u8 = 245;
    /// Functions as release candidates of Redis 7.0 wrote them.
    pub const FUNCTION_PRE_GA: u8 = 246;
    /// Data of a module that is no key's.
    pub const MODULE_AUX: u8 = 247;
    /// The next key's idle time, seconds.
    pub const IDLE: u8 = 248;
    /// The next key's LFU counter, one byte.
    pub const FREQ: u8 = 249;
    /// A name with a value about the file as a whole.
    pub const AUX: u8 = 250;
    /// How many keys and how many expiries the selected database has.
    pub const RESIZEDB: u8 = 251;
    /// When the next key expires, Unix ms, 8 bytes.
    pub const EXPIRETIME_MS: u8 = 252;
    /// When the next key expires, Unix seconds, 4 bytes.
    pub const EXPIRETIME: u8 = 253;
    /// The keys that follow are in the database of this number.
    pub const SELECTDB: u8 = 254;
    /// The end; the checksum follows.
    pub const EOF: u8 = 255;
}

/// Types of values, with the first version that has them where that matters.
pub mod kind {
    /// A string.
    pub const STRING: u8 = 0;
    /// A list: its length and its elements.
    pub const LIST: u8 = 1;
    /// A set: its size and its members.
    pub const SET: u8 = 2;
    /// A sorted set with scores as text.
    pub const ZSET: u8 = 3;
    /// A hash: its size and its fields with their values.
    pub const HASH: u8 = 4;
    /// A sorted set with scores as 8 bytes.
    pub const ZSET_2: u8 = 5;
    /// A value of a module, of release candidates of Redis 4.0.
    pub const MODULE_PRE_GA: u8 = 6;
    /// A value of a module.
    pub const MODULE_2: u8 = 7;
    /// A short hash as Redis 2.4 had it.
    pub const HASH_ZIPMAP: u8 = 9;
    /// A short list as a ziplist.
    pub const LIST_ZIPLIST: u8 = 10;
    /// A short set of integers.
    pub const SET_INTSET: u8 = 11;
    /// A short sorted set as a ziplist.
    pub const ZSET_ZIPLIST: u8 = 12;
    /// A short hash as a ziplist.
    pub const HASH_ZIPLIST: u8 = 13;
    /// A list of ziplists.
    pub const LIST_QUICKLIST: u8 = 14;
    /// A stream.
    pub const STREAM_LISTPACKS: u8 = 15;
    /// A short hash as a listpack (RDB 10).
    pub const HASH_LISTPACK: u8 = 16;
    /// A short sorted set as a listpack (RDB 10).
    pub const ZSET_LISTPACK: u8 = 17;
    /// A list of listpacks and large elements (RDB 10).
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// A stream with more of its figures (RDB 10).
    pub const STREAM_LISTPACKS_2: u8 = 19;
    /// A short set as a listpack (RDB 11).
    pub const SET_LISTPACK: u8 = 20;
    /// A stream with the times at which consumers were active (RDB 11).
    pub const STREAM_LISTPACKS_3: u8 = 21;
    /// Valkey's line: a hash whose fields have an expiry each.
    pub const VALKEY_HASH_2: u8 = 22;
    /// Redis's line: a hash with fields that expire, of release candidates of Redis 7.4.
    pub const REDIS_HASH_METADATA_PRE_GA: u8 = 22;
    /// Redis's line: the same, short.
    pub const REDIS_HASH_LISTPACK_EX_PRE_GA: u8 = 23;
    /// Redis's line: a hash with fields that expire (RDB 12).
    pub const REDIS_HASH_METADATA: u8 = 24;
    /// Redis's line: the same, short (RDB 12).
    pub const REDIS_HASH_LISTPACK_EX: u8 = 25;
}

/// The first byte of a length: its top two bits tell the form.
pub mod length {
    /// Which bits tell the form.
    pub const FORM_MASK: u8 = 0b1100_0000;
    /// The other six bits are the length.
    pub const BITS_6: u8 = 0b0000_0000;
    /// The other six bits and the next byte are the length, high bits first.
    pub const BITS_14: u8 = 0b0100_0000;
    /// The whole byte: four bytes follow, big endian.
    pub const BITS_32: u8 = 0x80;
    /// The whole byte: eight bytes follow, big endian.
    pub const BITS_64: u8 = 0x81;
    /// No length: the other six bits are one of [`super::encoding`].
    pub const ENCODED: u8 = 0b1100_0000;
}

/// How a string is kept that is not its bytes behind their number.
pub mod encoding {
    /// An integer of one byte.
    pub const INT8: u8 = 0;
    /// An integer of two bytes, little endian.
    pub const INT16: u8 = 1;
    /// An integer of four bytes, little endian.
    pub const INT32: u8 = 2;
    /// Compressed: the length of that, the length of the string, the compressed bytes.
    pub const LZF: u8 = 3;
}

/// What a node of [`kind::LIST_QUICKLIST_2`] is.
pub mod node {
    /// One large element.
    pub const PLAIN: u64 = 1;
    /// A listpack.
    pub const PACKED: u64 = 2;
}

/// The expiry of a field without one, as [`kind::VALKEY_HASH_2`] has it.
pub const NO_FIELD_EXPIRY: i64 = -1;

/// When a consumer was active that never was, as [`kind::STREAM_LISTPACKS_3`] has it.
pub const NEVER_ACTIVE: i64 = -1;
/// How many entries a group has read if nobody knows.
pub const NOT_COUNTED: u64 = u64::MAX;

/// The CRC-64 of Redis (Jones's polynomial, reflected, without inversion) of the bytes behind those
/// that led to `state`; 0 is the state before the first.
pub fn crc64(state: u64, bytes: &[u8]) -> u64 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc64Redis, state);
    digest.update(bytes);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_redis_s_in_one_piece_and_in_many() {
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(0, b""), 0);
        let bytes: Vec<u8> = (0..5000u32)
            .map(|i| (i.wrapping_mul(i) >> 3) as u8)
            .collect();
        let whole = crc64(0, &bytes);
        for cut in [0, 1, 7, 8, 127, 128, 129, 255, 256, 1000, 4999, 5000] {
            assert_eq!(
                crc64(crc64(0, &bytes[..cut]), &bytes[cut..]),
                whole,
                "{cut}"
            );
        }
    }
}
