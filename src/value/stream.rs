//! Stream values: how entries' ids are written and read, and the stream that an entry holds.
//!
//! The structure is `ds::stream`'s; a stream has no compact encoding. Ids are read as Redis reads
//! them: two numbers as C's `strtoull` takes them, so `007-+1` is an id, too; what follows a NUL is
//! not seen, and more than `ID_BYTES_MAX` bytes are no id.

use super::Encoding;
use crate::ds::collection::Collection;
use crate::ds::entry::{EntrySlot, NewValue, ValueRef};
use crate::ds::stream::Stream;
use crate::spec::args::c_str;
use crate::util::num;

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

/// Longest text of an id.
const ID_BYTES_MAX: usize = 127;
/// Longest text of an id that is written.
const ID_TEXT_MAX: usize = 41;

/// The id of an entry that is to be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NewId {
    /// `*`: the time.
    Now,
    /// `ms-*`: the next one of this millisecond.
    NextOf(u64),
    /// This one.
    Is(StreamId),
}

impl NewId {
    /// Reads what XADD takes for an id.
    #[inline]
    pub fn parse(text: &[u8]) -> Option<NewId> {
        let text = readable(text)?;
        if text == b"*" {
            return Some(NewId::Now);
        }
        match memchr::memchr(b'-', text) {
            Some(at) if &text[at + 1..] == b"*" => Some(NewId::NextOf(parse_number(&text[..at])?)),
            at => parse_at(text, at, 0).map(NewId::Is),
        }
    }

    /// The id itself, in a stream whose last one was `last`; `None` if it would not be above that.
    #[inline]
    pub fn after(self, last: StreamId, now_ms: u64) -> Option<StreamId> {
        match self {
            NewId::Now if now_ms > last.ms => Some(StreamId::new(now_ms, 0)),
            // The clock has gone back, or not on.
            NewId::Now => last.next(),
            NewId::NextOf(ms) if ms == last.ms => Some(StreamId::new(ms, last.seq.checked_add(1)?)),
            NewId::NextOf(ms) => Some(StreamId::new(ms, 0)).filter(|&id| id > last),
            NewId::Is(id) => Some(id).filter(|&id| id > last),
        }
    }
}

/// Reads an id. Without its second number that is `seq`.
#[inline]
pub fn parse_id(text: &[u8], seq: u64) -> Option<StreamId> {
    let text = readable(text)?;
    parse_at(text, memchr::memchr(b'-', text), seq)
}

/// The end of a range as it was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// This id and what is inside of it.
    Inclusive(StreamId),
    /// What is inside of this id.
    Exclusive(StreamId),
}

impl Bound {
    /// Reads an end of a range: an id, one behind an opening bracket, `-` or `+`.
    pub fn parse(text: &[u8], seq: u64) -> Option<Bound> {
        match text {
            [b'(', id @ ..] if !id.is_empty() => parse_id(id, seq).map(Bound::Exclusive),
            text => match c_str(text) {
                b"-" if text.len() <= ID_BYTES_MAX => Some(Bound::Inclusive(StreamId::MIN)),
                b"+" if text.len() <= ID_BYTES_MAX => Some(Bound::Inclusive(StreamId::MAX)),
                _ => parse_id(text, seq).map(Bound::Inclusive),
            },
        }
    }
}

/// What C reads of a text that may be an id.
#[inline]
fn readable(text: &[u8]) -> Option<&[u8]> {
    (text.len() <= ID_BYTES_MAX).then(|| c_str(text))
}

/// The id whose numbers are apart at a dash.
#[inline]
fn parse_at(text: &[u8], dash: Option<usize>, seq: u64) -> Option<StreamId> {
    Some(match dash {
        Some(at) => StreamId::new(parse_number(&text[..at])?, parse_number(&text[at + 1..])?),
        None => StreamId::new(parse_number(text)?, seq),
    })
}

/// One of its numbers.
#[inline]
fn parse_number(text: &[u8]) -> Option<u64> {
    match num::parse_u64(text) {
        Some(number) => Some(number),
        None => parse_number_as_c(text),
    }
}

/// A number in a spelling that only `strtoull` takes; one below 0 counts down from the end, if it is
/// no proper negative number.
#[cold]
fn parse_number_as_c(text: &[u8]) -> Option<u64> {
    if let Some(number) = num::parse_u64_lenient(text) {
        return Some(number);
    }
    if num::parse_i64(text).is_some() {
        return None;
    }
    let start = text.iter().position(|&byte| !num::is_c_space(byte))?;
    let digits = text[start..].strip_prefix(b"-")?;
    let is_number = digits.first().is_some_and(u8::is_ascii_digit);
    let number = num::parse_u64_lenient(digits).filter(|_| is_number)?;
    Some(number.wrapping_neg())
}

/// An id's text, or that of a number where an id could stand.
pub struct IdText {
    bytes: [u8; ID_TEXT_MAX],
    len: usize,
}

impl IdText {
    /// The text of an id.
    #[inline]
    pub fn new(id: StreamId) -> IdText {
        let mut text = IdText {
            bytes: [0; ID_TEXT_MAX],
            len: 0,
        };
        let mut digits = itoa::Buffer::new();
        text.push(digits.format(id.ms).as_bytes());
        text.push(b"-");
        text.push(digits.format(id.seq).as_bytes());
        text
    }

    /// The text of a number.
    pub fn of_number(number: u64) -> IdText {
        let mut text = IdText {
            bytes: [0; ID_TEXT_MAX],
            len: 0,
        };
        text.push(itoa::Buffer::new().format(number).as_bytes());
        text
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.bytes[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// Its bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests;
