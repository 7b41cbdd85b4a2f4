//! How long values are in an RDB file that is not compressed (DEBUG OBJECT).
//!
//! A short collection is one string there, its listpack or intset; a list is its nodes, each a
//! string; other long collections are their elements one after the other. A field with an expiry
//! has that in front, and then all fields of its hash have. A stream is of so many parts that it is
//! written, part by part, to be measured.

use crate::ds::collection::{Collection, FieldTable, for_each_element};
use crate::ds::entry::{EntryRef, ValueRef};
use crate::ds::stream::Stream;
use crate::persist::rdb::encode::{self, EncodeOptions, LargeKind};
use crate::value::{Type, string};

/// What a short sorted set is kept without, the first four bytes of a listpack and its last.
const ZSET_BYTES_LEFT_OUT: usize = 5;
/// Bytes of a score, of a field's expiry.
const NUMBER_BYTES: usize = 8;

/// The length of an entry's value.
pub(super) fn entry_len(entry: EntryRef<'_>) -> usize {
    let value = entry.value();
    let bytes = value.as_bytes().map_or(0, <[u8]>::len);
    match (Type::from_nibble(entry.type_()), value) {
        (_, ValueRef::Collection(collection)) => collection_len(collection),
        (Type::String, value) => string_len(value),
        // A list of one node: their number, and of which kind it is.
        (Type::List, _) => 2 + text_len(bytes),
        (Type::Zset, _) => text_len(bytes + ZSET_BYTES_LEFT_OUT),
        (Type::Set | Type::Hash | Type::Stream, _) => text_len(bytes),
    }
}

fn collection_len(collection: &Collection) -> usize {
    let count = length_len(collection.len());
    match collection {
        Collection::List(list) => {
            let nodes = list.node_bytes();
            let count = length_len(nodes.len());
            // Before each node stands of which kind it is.
            nodes.fold(count, |sum, bytes| sum.saturating_add(1 + text_len(bytes)))
        }
        Collection::Hash(fields) => fields_len(fields),
        Collection::Stream(stream) => stream_len(collection, stream),
        Collection::Set(members) => members.iter().fold(count, |sum, member| {
            sum.saturating_add(bytes_len(member.key()))
        }),
        Collection::Zset(members) => members.iter().fold(count, |sum, member| {
            sum.saturating_add(bytes_len(member.member()) + NUMBER_BYTES)
        }),
    }
}

fn fields_len(fields: &FieldTable) -> usize {
    let expiry = match fields.table.expires_len() {
        0 => 0,
        _ => NUMBER_BYTES,
    };
    let count = length_len(fields.table.len());
    fields.table.iter().fold(count, |sum, field| {
        sum.saturating_add(bytes_len(field.key()))
            .saturating_add(string_len(field.value()) + expiry)
    })
}

fn stream_len(collection: &Collection, stream: &Stream) -> usize {
    let kind = LargeKind::of(collection);
    let options = EncodeOptions {
        compress: false,
        usage: None,
    };
    let (mut part, mut sum) = (Vec::new(), length_len(stream.entries().nodes()));
    for_each_element(collection, &mut |element| {
        part.clear();
        encode::large_element(&mut part, kind, element, &options);
        sum = sum.saturating_add(part.len());
    });
    sum
}

/// The length of a string: integers of up to 32 bits have a form of their own, also those that are
/// stored as text.
fn string_len(value: ValueRef<'_>) -> usize {
    int_len(string::int(value)).unwrap_or_else(|| text_len(string::len(value)))
}

fn bytes_len(bytes: &[u8]) -> usize {
    string_len(ValueRef::Bytes(bytes))
}

fn int_len(int: Option<i64>) -> Option<usize> {
    match i32::try_from(int?).ok()? {
        -128..=127 => Some(2),
        -32_768..=32_767 => Some(3),
        _ => Some(5),
    }
}

/// A string with its length in front.
fn text_len(len: usize) -> usize {
    length_len(len).saturating_add(len)
}

/// A length.
fn length_len(len: usize) -> usize {
    match len {
        0..64 => 1,
        64..16_384 => 2,
        _ if u32::try_from(len).is_ok() => 5,
        _ => 9,
    }
}
