//! Stream values: how entries' ids are written and read, and the stream that an entry holds.
//!
//! The structure is `ds::stream`'s; a stream has no compact encoding.

use super::Encoding;
use crate::ds::collection::Collection;
use crate::ds::entry::{EntrySlot, NewValue, ValueRef};
use crate::ds::stream::Stream;

pub use crate::ds::stream::StreamId;

pub mod lag;

/// The stream that an entry of type stream holds.
#[inline]
pub fn stream(value: ValueRef<'_>) -> Option<&Stream> {
    match value {
        ValueRef::Collection(Collection::Stream(stream)) => Some(stream),
        _ => None,
    }
}

/// The same, to be changed.
#[inline]
pub fn stream_mut<'a>(slot: &'a mut EntrySlot<'_>) -> Option<&'a mut Stream> {
    match slot.collection_mut() {
        Some(Collection::Stream(stream)) => Some(stream),
        _ => None,
    }
}

/// The value of a new key.
pub fn new_value(stream: Stream) -> (Encoding, NewValue<'static>) {
    let collection = Box::new(Collection::Stream(Box::new(stream)));
    (Encoding::Stream, NewValue::Collection(collection))
}
