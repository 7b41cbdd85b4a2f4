//! RDB: encoding. Everything here appends bytes to a buffer; who writes them out, and when, is the
//! caller's (`persist::snapshot`, DUMP).
//!
//! A key is written whole by [`entry`], or, if its collection is large, in pieces: [`large_head`],
//! then a [`large_element`] for each of as many elements as the head announced, in any order but a
//! list's. Both ways give the same record.
//!
//! Values are written in the oldest form that holds them, so that Redis 7.0 reads what it can: a
//! short set is written member by member, since its listpack came with Redis 7.2. Only a stream whose
//! groups have consumers needs RDB 11, of Redis 7.2, for the times at which they were active, and a
//! hash with fields that expire needs Valkey's line of the format ([`Version::Valkey80`]). With them
//! the file that holds them does: whoever writes a file must know that when it begins.
//!
//! This is the inner loop of a snapshot: nothing is allocated but room in the buffer, and a plain
//! string takes the straight way, `text::string`.
//!
//! Invariant: a compact value is written as it is stored, so what is stored there must be valid.
//!
//! To add a type: an arm in [`entry`], its element in [`large_element`], and a step of the test that
//! has the peers read a file with everything.

use smallvec::SmallVec;

use crate::db::usage::{Measure, Stamp};
use crate::ds::collection::{Collection, Element, for_each_element};
use crate::ds::entry::{EntryRef, Meta, ValueRef};
use crate::ds::listpack::Value;
use crate::value::set::SetRef;
use crate::value::{Encoding, Type, zset};

use super::format::{self, NO_FIELD_EXPIRY, kind, node, opcode};

mod file;
mod stream;
mod text;

pub use file::{Aux, Version, end, header, library, select, select_again};

#[cfg(test)]
mod tests;

/// Listpacks of so many bytes are put together without an allocation.
const COMPACT_BYTES: usize = 1024;

/// How keys are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncodeOptions {
    /// `rdbcompression`
    pub compress: bool,
    /// As of when it is told how keys were used, if `maxmemory-policy` wants that to be kept.
    pub usage: Option<Stamp>,
}

/// A key with a large collection.
#[derive(Clone, Copy, Debug)]
pub struct LargeHead<'a> {
    /// Its name.
    pub key: &'a [u8],
    /// As its entry has it.
    pub meta: Meta,
    /// When it expires, Unix ms.
    pub expire_at_ms: Option<u64>,
    /// What follows.
    pub kind: LargeKind,
    /// How many elements follow; of a list, nodes.
    pub len: usize,
}

/// The kinds of large collections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LargeKind {
    /// Nodes: [`Element::Listpack`] and [`Element::Plain`].
    List,
    /// [`Element::Member`].
    Set,
    /// [`Element::Field`].
    Hash {
        /// Whether any of the fields has an expiry: then all are written with one.
        fields_expire: bool,
    },
    /// [`Element::Scored`].
    Zset,
    /// [`Element::Node`], then the others of a stream in their order.
    Stream {
        /// Whether any of its groups has a consumer: then the times of these are written, too.
        has_consumers: bool,
    },
}

impl LargeKind {
    /// The kind of a collection as it is now.
    pub fn of(collection: &Collection) -> LargeKind {
        match collection {
            Collection::List(_) => LargeKind::List,
            Collection::Set(_) => LargeKind::Set,
            Collection::Zset(_) => LargeKind::Zset,
            Collection::Stream(stream) => LargeKind::Stream {
                has_consumers: stream.groups().have_consumers(),
            },
            Collection::Hash(fields) => LargeKind::Hash {
                fields_expire: fields.table.expires_len() > 0,
            },
        }
    }

    const EXPIRING_HASH: LargeKind = LargeKind::Hash {
        fields_expire: true,
    };

    const CONSUMED_STREAM: LargeKind = LargeKind::Stream {
        has_consumers: true,
    };

    /// Its type in the form in which it is written.
    fn number(self) -> u8 {
        match self {
            LargeKind::List => kind::LIST_QUICKLIST_2,
            LargeKind::Set => kind::SET,
            LargeKind::Zset => kind::ZSET_2,
            LargeKind::CONSUMED_STREAM => kind::STREAM_LISTPACKS_3,
            LargeKind::Stream { .. } => kind::STREAM_LISTPACKS_2,
            LargeKind::EXPIRING_HASH => kind::VALKEY_HASH_2,
            LargeKind::Hash { .. } => kind::HASH,
        }
    }
}

/// Writes a key with all of its value.
#[inline]
pub fn entry(out: &mut Vec<u8>, entry: EntryRef<'_>, options: &EncodeOptions) {
    opcodes(out, entry.lru(), entry.expire_at_ms(), options.usage);
    out.push(kind_of(entry));
    text::string(out, entry.key(), options.compress);
    body(out, entry, options);
}

/// Writes a key with a large collection up to the number of its elements.
pub fn large_head(out: &mut Vec<u8>, head: &LargeHead<'_>, options: &EncodeOptions) {
    opcodes(out, head.meta.lru, head.expire_at_ms, options.usage);
    out.push(head.kind.number());
    text::string(out, head.key, options.compress);
    text::length(out, head.len as u64);
}

/// Writes one element of a large collection.
#[inline]
pub fn large_element(
    out: &mut Vec<u8>,
    kind: LargeKind,
    element: Element<'_>,
    options: &EncodeOptions,
) {
    let compress = options.compress;
    match element {
        Element::Member(member) => text::string(out, member, compress),
        Element::Field(field, value, expire_at_ms) => {
            text::string(out, field, compress);
            text::value(out, value, compress);
            if kind == LargeKind::EXPIRING_HASH {
                let at_ms = expire_at_ms.and_then(|at_ms| i64::try_from(at_ms).ok());
                out.extend_from_slice(&at_ms.unwrap_or(NO_FIELD_EXPIRY).to_le_bytes());
            }
        }
        Element::Scored(member, score) => {
            text::string(out, member, compress);
            out.extend_from_slice(&score.to_le_bytes());
        }
        Element::Listpack(bytes) => {
            text::length(out, node::PACKED);
            text::raw(out, bytes, compress);
        }
        Element::Plain(bytes) => {
            text::length(out, node::PLAIN);
            text::raw(out, bytes, compress);
        }
        Element::Node(node) => stream::node(out, &node, compress),
        Element::Figures(figures) => stream::figures(out, &figures),
        Element::Group(group) => stream::group(out, &group, compress),
        Element::Pending(id, pending) => stream::pending(out, id, &pending),
        Element::Consumers(count) => text::length(out, count as u64),
        Element::PendingWith(some) => stream::pending_with(out, some),
        Element::Consumer(consumer) => {
            stream::consumer(out, &consumer, kind == LargeKind::CONSUMED_STREAM, compress);
        }
    }
}

/// What DUMP answers: type and value, then the version that it needs and the checksum.
pub fn dump(entry: EntryRef<'_>, options: &EncodeOptions) -> Vec<u8> {
    let mut out = vec![kind_of(entry)];
    body(&mut out, entry, options);
    footer(&mut out, Version::of(entry.value()));
    out
}

/// Libraries of functions as FUNCTION DUMP answers them.
pub fn dump_libraries<'s>(sources: impl Iterator<Item = &'s [u8]>, compress: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for source in sources {
        library(&mut out, source, compress);
    }
    footer(&mut out, Version::Redis10);
    out
}

/// What stands behind a payload: the version that it needs, and its checksum.
fn footer(out: &mut Vec<u8>, version: Version) {
    let version = version.number() as u16;
    out.extend_from_slice(&version.to_le_bytes());
    let checksum = format::crc64(0, out);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// What stands before the type of a key.
#[inline]
fn opcodes(out: &mut Vec<u8>, lru: u32, expire_at_ms: Option<u64>, usage: Option<Stamp>) {
    if let Some(at_ms) = expire_at_ms {
        let [a, b, c, d, e, f, g, h] = at_ms.to_le_bytes();
        out.extend_from_slice(&[opcode::EXPIRETIME_MS, a, b, c, d, e, f, g, h]);
    }
    let Some(stamp) = usage else { return };
    match stamp.measure() {
        Measure::Lru | Measure::Lrm => {
            out.push(opcode::IDLE);
            text::length(out, stamp.saved_idle_secs(lru));
        }
        Measure::Lfu => out.extend_from_slice(&[opcode::FREQ, stamp.saved_frequency(lru)]),
    }
}

/// The type of a value in the form in which it is written.
#[inline]
fn kind_of(entry: EntryRef<'_>) -> u8 {
    match Type::from_nibble(entry.type_()) {
        Type::String => kind::STRING,
        type_ => kind_of_collection(entry, type_),
    }
}

fn kind_of_collection(entry: EntryRef<'_>, type_: Type) -> u8 {
    if let Some(collection) = entry.value().as_collection() {
        return LargeKind::of(collection).number();
    }
    match (type_, Encoding::from_nibble(entry.enc())) {
        (Type::List, _) => kind::LIST_QUICKLIST_2,
        (Type::Set, Encoding::Intset) => kind::SET_INTSET,
        (Type::Set, _) => kind::SET,
        (Type::Zset, _) => kind::ZSET_LISTPACK,
        (Type::Hash, _) => kind::HASH_LISTPACK,
        (Type::Stream, _) => kind::STREAM_LISTPACKS_2,
        (Type::String, _) => kind::STRING,
    }
}

/// The value, which is what follows the name.
#[inline]
fn body(out: &mut Vec<u8>, entry: EntryRef<'_>, options: &EncodeOptions) {
    match Type::from_nibble(entry.type_()) {
        Type::String => text::value(out, entry.value(), options.compress),
        type_ => body_of_collection(out, entry, type_, options),
    }
}

fn body_of_collection(
    out: &mut Vec<u8>,
    entry: EntryRef<'_>,
    type_: Type,
    options: &EncodeOptions,
) {
    let value = entry.value();
    if let ValueRef::Collection(collection) = value {
        return whole_collection(out, collection, options);
    }
    let bytes = value.as_bytes().unwrap_or_default();
    match type_ {
        Type::List => {
            // A list of one node.
            text::length(out, 1);
            large_element(out, LargeKind::List, Element::Listpack(bytes), options);
        }
        Type::Set => compact_set(out, SetRef::of(entry), options),
        Type::Zset => {
            let listpack: SmallVec<[u8; COMPACT_BYTES]> = zset::listpack_of(bytes);
            text::raw(out, &listpack, options.compress);
        }
        Type::Hash | Type::String | Type::Stream => text::raw(out, bytes, options.compress),
    }
}

fn compact_set(out: &mut Vec<u8>, set: SetRef<'_>, options: &EncodeOptions) {
    if let SetRef::Intset(intset) = set {
        return text::raw(out, intset.bytes(), options.compress);
    }
    text::length(out, set.len() as u64);
    for member in set {
        match member {
            Value::Int(int) => text::int(out, int),
            Value::Bytes(bytes) => text::string(out, bytes, options.compress),
        }
    }
}

/// All of a large collection from the number of its elements on.
fn whole_collection(out: &mut Vec<u8>, collection: &Collection, options: &EncodeOptions) {
    let kind = LargeKind::of(collection);
    text::length(out, collection.save_len() as u64);
    for_each_element(collection, &mut |element| {
        large_element(out, kind, element, options);
    });
}
