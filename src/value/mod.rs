//! The types of values and their encodings: what a value *means*, without keys, clock or protocol.
//!
//! `ds::entry` stores two opaque nibbles per entry, type and encoding; their meaning is here. To add a type: a variant of
//! [`Type`], its encodings in [`Encoding`], and a file beside `string.rs`; what is
//! an empty value of it, in [`is_empty`].

pub mod bitfield;
mod check;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod list;
pub mod set;
pub mod stream;
pub mod string;
pub mod unique;
pub mod zset;

use crate::ds::collection::Collection;
use crate::ds::entry::{EntryRef, ValueRef};

pub use check::check;

/// The type of a value, as TYPE names it. The number is the entry's type nibble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Type {
    /// A byte string, or an integer that reads as one.
    String = 0,
    /// A sequence of byte strings.
    List = 1,
    /// Byte strings without duplicates.
    Set = 2,
    /// Byte strings without duplicates, ordered by their scores.
    Zset = 3,
    /// Fields with their values.
    Hash = 4,
    /// A log of entries with ids.
    Stream = 5,
}

impl Type {
    /// The type of an entry's nibble.
    #[inline]
    pub const fn from_nibble(nibble: u8) -> Type {
        match nibble {
            0 => Type::String,
            1 => Type::List,
            2 => Type::Set,
            3 => Type::Zset,
            4 => Type::Hash,
            _ => Type::Stream,
        }
    }

    /// The name that TYPE and SCAN TYPE use.
    pub const fn name(self) -> &'static str {
        match self {
            Type::String => "string",
            Type::List => "list",
            Type::Set => "set",
            Type::Zset => "zset",
            Type::Hash => "hash",
            Type::Stream => "stream",
        }
    }
}

/// How a value is stored, as OBJECT ENCODING names it. The number is the entry's encoding nibble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Encoding {
    /// A 64-bit integer.
    Int = 0,
    /// A short string.
    Embstr = 1,
    /// A long string, or one that was changed in place.
    Raw = 2,
    /// A short collection: one run of bytes, see `ds::listpack`.
    Listpack = 3,
    /// A short set of integers, see `ds::intset`.
    Intset = 4,
    /// A long list.
    Quicklist = 5,
    /// A long set or hash.
    Hashtable = 6,
    /// A long sorted set. (The name is Redis's; a counted B+tree stands behind it.)
    Skiplist = 7,
    /// A stream, whatever its length.
    Stream = 8,
}

impl Encoding {
    /// The encoding of an entry's nibble.
    #[inline]
    pub const fn from_nibble(nibble: u8) -> Encoding {
        match nibble {
            0 => Encoding::Int,
            1 => Encoding::Embstr,
            2 => Encoding::Raw,
            3 => Encoding::Listpack,
            4 => Encoding::Intset,
            5 => Encoding::Quicklist,
            6 => Encoding::Hashtable,
            7 => Encoding::Skiplist,
            _ => Encoding::Stream,
        }
    }

    /// The name that OBJECT ENCODING gives.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Int => "int",
            Encoding::Embstr => "embstr",
            Encoding::Raw => "raw",
            Encoding::Listpack => "listpack",
            Encoding::Intset => "intset",
            Encoding::Quicklist => "quicklist",
            Encoding::Hashtable => "hashtable",
            Encoding::Skiplist => "skiplist",
            Encoding::Stream => "stream",
        }
    }
}

/// Up to where values keep their compact encodings: the directives of the same names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// `hash-max-listpack-entries`
    pub hash_max_listpack_entries: u64,
    /// `hash-max-listpack-value`, bytes
    pub hash_max_listpack_value: u64,
    /// `list-max-listpack-size`: elements of a node, or -1 to -5 for 4 to 64 KB
    pub list_max_listpack_size: i32,
    /// `list-compress-depth`: nodes at each end that are not compressed; 0 compresses none
    pub list_compress_depth: u32,
    /// `set-max-intset-entries`
    pub set_max_intset_entries: u64,
    /// `set-max-listpack-entries`
    pub set_max_listpack_entries: u64,
    /// `set-max-listpack-value`, bytes
    pub set_max_listpack_value: u64,
    /// `zset-max-listpack-entries`
    pub zset_max_listpack_entries: u64,
    /// `zset-max-listpack-value`, bytes
    pub zset_max_listpack_value: u64,
}

/// The directives' defaults.
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            list_max_listpack_size: -2,
            list_compress_depth: 0,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
        }
    }
}

/// The bytes of a string, the elements of anything else; expired fields that are still stored count.
#[inline]
pub fn size(entry: EntryRef<'_>) -> u64 {
    let value = entry.value();
    let size = match Type::from_nibble(entry.type_()) {
        Type::String => string::len(value),
        Type::List => list::ListRef::new(value).len(),
        Type::Set => set::SetRef::of(entry).len(),
        Type::Zset => zset::ZsetRef::of(entry).len(),
        Type::Hash => hash::HashRef::new(value, 0).len(),
        Type::Stream => match value.as_collection() {
            Some(Collection::Stream(stream)) => return stream.entries().len(),
            _ => 0,
        },
    };
    size as u64
}

/// Bytes of the longest compact encoding without elements: an intset's header. A listpack with one
/// element has 9 bytes at least.
const EMPTY_BYTES_MAX: usize = 8;

/// Whether a collection has no elements: such a key must not be. Never true of a string.
#[inline]
pub fn is_empty(type_: u8, value: ValueRef<'_>) -> bool {
    if type_ == Type::String as u8 {
        return false;
    }
    let len = match value {
        ValueRef::Collection(collection) => return collection.is_empty(),
        ValueRef::Bytes(bytes) => bytes.len(),
        ValueRef::Shared(bytes) => bytes.len(),
        ValueRef::Int(_) => return false,
    };
    match type_ == Type::Zset as u8 {
        true => len <= zset::EMPTY_BYTES,
        false => len <= EMPTY_BYTES_MAX,
    }
}
