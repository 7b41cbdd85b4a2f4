//! Listpack: a short sequence of strings and integers in one block of bytes, in Redis's own format,
//! which RDB files and DUMP carry.
//!
//! | bytes | |
//! |---|---|
//! | 4 | length of all of it, little endian |
//! | 2 | number of elements, little endian; 65535: unknown, count them |
//! | ... | the elements |
//! | 1 | 0xFF |
//!
//! An element is a head, its data, and the length of both once more (the *back length*), to be read
//! from the end: seven bits a byte, the lowest last, the top bit set in all bytes but the first.
//! (Redis, unlike Valkey, begins the largest number of two, three and four bytes with one more byte,
//! which is 0. Both are read.)
//!
//! | head | data |
//! |---|---|
//! | `0vvvvvvv` | none: an integer of 0 to 127 |
//! | `10llllll` | string of `l` bytes |
//! | `110vvvvv vvvvvvvv` | none: a signed 13-bit integer |
//! | `1110llll llllllll` | string of `l` bytes |
//! | `0xF0` and 4 bytes, little endian | string of that length |
//! | `0xF1` to `0xF4` | signed integer of 2, 3, 4, 8 bytes, little endian |
//!
//! Places are byte offsets from the start of the block (`at`): the first element is at 6, and the
//! end byte's offset stands for the place after the last one. Text that is an integer's only
//! spelling is stored as that integer, so nothing is lost ([`Value::from`]).
//!
//! Invariants:
//! - the block is exactly as long as its header says, and so is everything inside;
//! - what was written by the functions here is valid; bytes from elsewhere go through [`validate`]
//!   first. Others make the reading functions panic or answer nonsense, never read out of bounds.
//! - nothing here limits growth but [`BYTES_MAX`], which the caller keeps to ([`fits`]).
//!
//! The functions on raw elements (`*_entry`) know no header: `ds::quicklist` keeps elements alone.
//! To add an edit, express it through [`edit`], which is the only writer.

use std::iter;
use std::ops::Range;

use smallvec::SmallVec;

use super::buf::Buf;
use super::table::prefetch;
use crate::util::num;

#[cfg(test)]
mod tests;

/// Bytes before the first element.
pub const HEADER_BYTES: usize = 6;
/// A listpack without elements.
pub const EMPTY: [u8; HEADER_BYTES + 1] = [7, 0, 0, 0, 0, 0, END];
/// No listpack may become longer, bytes: Redis's limit.
pub const BYTES_MAX: usize = 1 << 30;

const END: u8 = 0xFF;
/// What is asked for at once.
const CACHE_LINE_BYTES: usize = 64;
/// Most lines that are asked for ahead; the hardware follows a longer walk by itself.
const PREFETCH_LINES_MAX: usize = 8;
/// The number of elements is not known.
const COUNT_UNKNOWN: u16 = u16::MAX;
/// Heads of strings with a 12-bit length.
const STR12: u8 = 0xE0;
const STR32: u8 = 0xF0;
const INT16: u8 = 0xF1;
const INT24: u8 = 0xF2;
const INT32: u8 = 0xF3;
const INT64: u8 = 0xF4;

/// Whole length of an element by the first byte of its head, where that says it; else 0.
const ENTRY_BYTES: [u8; 256] = entry_bytes_by_head();

/// Elements that are put together before they are stored.
pub type Scratch = SmallVec<[u8; 256]>;

/// An element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value<'a> {
    /// An integer, which stands for its text.
    Int(i64),
    /// A string.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a [u8]> for Value<'a> {
    /// The element that stores `text`: an integer if it is the text of one.
    #[inline]
    fn from(text: &'a [u8]) -> Self {
        match num::parse_i64(text) {
            Some(int) => Value::Int(int),
            None => Value::Bytes(text),
        }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(text: &'a [u8; N]) -> Self {
        Value::from(&text[..])
    }
}

impl From<i64> for Value<'_> {
    fn from(int: i64) -> Self {
        Value::Int(int)
    }
}

impl<'a> Value<'a> {
    /// The element's text; an integer is printed into `digits`.
    #[inline]
    pub fn bytes<'b>(self, digits: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Value::Int(int) => digits.format(int).as_bytes(),
            Value::Bytes(bytes) => bytes,
        }
    }

    /// The element's text in a vector of its own.
    pub fn to_vec(self) -> Vec<u8> {
        self.bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// Length of the element's text, bytes.
    #[inline]
    pub fn len_bytes(self) -> usize {
        match self {
            Value::Int(int) => num::digits_i64_count(int),
            Value::Bytes(bytes) => bytes.len(),
        }
    }

    /// Whether the element's text is `text`.
    #[inline]
    pub fn eq_bytes(self, text: &[u8]) -> bool {
        match self {
            Value::Int(int) => num::parse_i64(text) == Some(int),
            Value::Bytes(bytes) => bytes == text,
        }
    }

    /// The integer that the element's text is, if it is one.
    #[inline]
    pub fn int(self) -> Option<i64> {
        match self {
            Value::Int(int) => Some(int),
            Value::Bytes(bytes) => num::parse_i64(bytes),
        }
    }

    /// How many bytes the element takes in a listpack.
    pub fn entry_len(self) -> usize {
        let len = match self {
            Value::Int(int) => match int_head(int) {
                head @ (INT16 | INT24 | INT32) => usize::from(head - INT16) + 3,
                INT64 => 9,
                0xC0 => 2,
                _ => 1,
            },
            Value::Bytes(bytes) => match bytes.len() {
                len @ ..64 => len + 1,
                len @ ..4096 => len + 2,
                len => len + 5,
            },
        };
        len + back_len_bytes(len)
    }
}

/// A text that elements are compared with.
#[derive(Clone, Copy, Debug)]
pub struct Needle<'a> {
    text: &'a [u8],
    int: Option<i64>,
}

impl<'a> Needle<'a> {
    /// To look for elements with this text.
    pub fn new(text: &'a [u8]) -> Self {
        Needle {
            text,
            int: num::parse_i64(text),
        }
    }

    /// Whether the element's text is this one.
    #[inline]
    pub fn is(self, value: Value<'_>) -> bool {
        match value {
            Value::Int(int) => self.int == Some(int),
            // Other writers may have stored an integer's text as a string.
            Value::Bytes(bytes) => bytes == self.text,
        }
    }
}

/// A listpack to be read.
#[derive(Clone, Copy, Debug)]
pub struct Listpack<'a> {
    bytes: &'a [u8],
}

impl<'a> Listpack<'a> {
    /// Reads `bytes` as a listpack; see the invariants above. Panics if not even a header is there.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        assert!(bytes.len() > HEADER_BYTES, "no listpack");
        Self { bytes }
    }

    /// All bytes, header and end included.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The elements alone, for the functions on raw elements.
    #[inline]
    pub fn entries(self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..self.end()]
    }

    /// Number of elements. Beyond 65534 it has to be counted.
    #[inline]
    pub fn len(self) -> usize {
        match self.count() {
            COUNT_UNKNOWN => self.iter().count(),
            count => usize::from(count),
        }
    }

    /// Whether there are no elements.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.bytes.len() == HEADER_BYTES + 1
    }

    fn count(self) -> u16 {
        u16::from_le_bytes([self.bytes[4], self.bytes[5]])
    }

    /// The place after the last element.
    #[inline]
    pub fn end(self) -> usize {
        self.bytes.len() - 1
    }

    /// Where the first element is.
    #[inline]
    pub fn first(self) -> Option<usize> {
        (!self.is_empty()).then_some(HEADER_BYTES)
    }

    /// Where the last element is.
    #[inline]
    pub fn last(self) -> Option<usize> {
        self.prev(self.end())
    }

    /// Where the element after the one at `at` is.
    #[inline]
    pub fn next(self, at: usize) -> Option<usize> {
        let next = next_entry(self.bytes, at);
        (next < self.end()).then_some(next)
    }

    /// Where the element before the place `at` (an element's or the end) is.
    #[inline]
    pub fn prev(self, at: usize) -> Option<usize> {
        (at > HEADER_BYTES).then(|| prev_entry(self.bytes, at))
    }

    /// The element at `at`.
    #[inline]
    pub fn value(self, at: usize) -> Value<'a> {
        read_entry(self.bytes, at).0
    }

    /// Where the element with this index is; -1 is the last one.
    pub fn seek(self, index: i64) -> Option<usize> {
        let count = self.count();
        let mut steps = usize::try_from(index.unsigned_abs()).ok()?;
        let mut forward = index >= 0;
        if count != COUNT_UNKNOWN {
            let count = usize::from(count);
            if steps >= count + usize::from(!forward) {
                return None;
            }
            if steps > count / 2 {
                steps = count - steps;
                forward = !forward;
            }
        }
        if forward {
            (0..steps).try_fold(self.first()?, |at, _| self.next(at))
        } else {
            (0..steps).try_fold(self.end(), |at, _| self.prev(at))
        }
    }

    /// The element at `at`, and the place after it.
    #[inline]
    pub fn read(self, at: usize) -> (Value<'a>, usize) {
        read_entry(self.bytes, at)
    }

    /// Asks for the memory of all of it, if it is not too much: for a walk that starts elsewhere soon,
    /// or here and now.
    #[inline]
    pub fn prefetch(self) {
        for line in self.bytes.chunks(CACHE_LINE_BYTES).take(PREFETCH_LINES_MAX) {
            prefetch(line.as_ptr());
        }
    }

    /// Where the first element is whose text is `needle`, from the place `from` on. After each
    /// element that is compared, `skip` others are passed over: 1 looks at the fields of a hash
    /// only.
    #[inline]
    pub fn find(self, from: usize, needle: &[u8], skip: usize) -> Option<usize> {
        find_entry(&self.bytes[..self.end()], from, needle, skip)
    }

    /// All elements.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        self.iter_from(HEADER_BYTES)
    }

    /// The elements from the place `at` on.
    #[inline]
    pub fn iter_from(self, at: usize) -> Iter<'a> {
        Iter {
            bytes: self.bytes,
            front: at,
            back: self.end(),
        }
    }
}

impl<'a> IntoIterator for Listpack<'a> {
    type Item = Value<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The elements of a listpack, from both ends.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iter<'a> {
    /// Over raw elements.
    #[inline]
    pub fn over_entries(entries: &'a [u8]) -> Self {
        Iter {
            bytes: entries,
            front: 0,
            back: entries.len(),
        }
    }

    /// Where the next element is.
    #[inline]
    pub fn at(&self) -> usize {
        self.front
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (value, next) = read_entry(self.bytes, self.front);
        self.front = next;
        Some(value)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = prev_entry(self.bytes, self.back);
        Some(read_entry(self.bytes, self.back).0)
    }
}

impl iter::FusedIterator for Iter<'_> {}

/// Puts an element at the place `at`, before the one that is there.
pub fn insert<'v>(buf: &mut (impl Buf + ?Sized), at: usize, element: impl Into<Value<'v>>) {
    splice(buf, at, 0, iter::once(element));
}

/// Puts an element at the end.
pub fn append<'v>(buf: &mut (impl Buf + ?Sized), element: impl Into<Value<'v>>) {
    append_all(buf, iter::once(element));
}

/// Puts elements at the end, in one edit.
pub fn append_all<'v, V: Into<Value<'v>>>(
    buf: &mut (impl Buf + ?Sized),
    elements: impl IntoIterator<Item = V>,
) {
    let end = buf.bytes().len() - 1;
    splice(buf, end, 0, elements);
}

/// Puts an element in the place of the one at `at`.
pub fn replace<'v>(buf: &mut (impl Buf + ?Sized), at: usize, element: impl Into<Value<'v>>) {
    splice(buf, at, 1, iter::once(element));
}

/// Removes `count` elements from the place `at` on, fewer if there are fewer; answers how many.
pub fn delete(buf: &mut (impl Buf + ?Sized), at: usize, count: usize) -> usize {
    splice(buf, at, count, iter::empty::<Value<'_>>())
}

/// Puts elements in the place of `remove` others from the place `at` on (fewer if there are
/// fewer), in one edit; answers how many were removed.
pub fn splice<'v, V: Into<Value<'v>>>(
    buf: &mut (impl Buf + ?Sized),
    at: usize,
    remove: usize,
    elements: impl IntoIterator<Item = V>,
) -> usize {
    let (entries, added) = encode_all(elements);
    let bytes = buf.bytes();
    let end = Listpack::new(bytes).end();
    let mut tail = at;
    let mut removed = 0;
    while removed < remove && tail < end {
        tail = next_entry(bytes, tail);
        removed += 1;
    }
    edit(buf, at..tail, &entries, removed, added);
    removed
}

/// Raw elements, and how many they are, for [`edit`].
#[inline]
pub fn encode_all<'v, V: Into<Value<'v>>>(
    elements: impl IntoIterator<Item = V>,
) -> (Scratch, usize) {
    let mut entries = Scratch::new();
    let mut count = 0;
    for element in elements {
        push_entry(&mut entries, element.into());
        count += 1;
    }
    (entries, count)
}

/// Removes the `count` elements of a span of places.
pub fn remove_span(buf: &mut (impl Buf + ?Sized), span: Range<usize>, count: usize) {
    edit(buf, span, &[], count, 0);
}

/// Puts `added` raw elements in the place of the `removed` ones of a span of places, and keeps the
/// header right.
#[inline]
pub fn edit(
    buf: &mut (impl Buf + ?Sized),
    span: Range<usize>,
    entries: &[u8],
    removed: usize,
    added: usize,
) {
    let bytes = buf.bytes_mut();
    let count = match Listpack::new(bytes).count() {
        COUNT_UNKNOWN => usize::from(COUNT_UNKNOWN),
        // Valid listpacks have no fewer elements than their count.
        count => (usize::from(count) + added).saturating_sub(removed),
    };
    let header = header(bytes.len() - span.len() + entries.len(), count);
    bytes[..HEADER_BYTES].copy_from_slice(&header);
    if entries.len() == span.len() {
        bytes[span].copy_from_slice(entries);
    } else {
        buf.splice(span.start, span.len(), entries);
    }
}

#[inline]
fn header(len: usize, count: usize) -> [u8; HEADER_BYTES] {
    let len = u32::try_from(len).expect("listpacks end at BYTES_MAX");
    let count = u16::try_from(count).unwrap_or(COUNT_UNKNOWN);
    let ([a, b, c, d], [e, f]) = (len.to_le_bytes(), count.to_le_bytes());
    [a, b, c, d, e, f]
}

/// Removes up to `count` elements whose text is `text`, the first ones, or the last ones if
/// `from_end`; answers how many were.
pub fn remove_equal(
    buf: &mut (impl Buf + ?Sized),
    text: &[u8],
    count: usize,
    from_end: bool,
) -> usize {
    let entries = Listpack::new(buf.bytes()).entries();
    let spans = equal_entries(entries, Needle::new(text), count, from_end);
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else {
        return 0;
    };
    let (from, to) = (first.start, last.end);
    let kept = entries_without(&entries[..to], from, &spans);
    edit(
        buf,
        HEADER_BYTES + from..HEADER_BYTES + to,
        &kept,
        spans.len(),
        0,
    );
    spans.len()
}

/// A new listpack of these elements.
pub fn from_elements<'v, V: Into<Value<'v>>>(elements: impl IntoIterator<Item = V>) -> Vec<u8> {
    collect(elements).to_vec()
}

/// As [`from_elements`], on the stack if it is short.
pub fn collect<'v, V: Into<Value<'v>>>(elements: impl IntoIterator<Item = V>) -> Scratch {
    let mut bytes = Scratch::from_slice(&EMPTY[..HEADER_BYTES]);
    let mut count = 0;
    for element in elements {
        push_entry(&mut bytes, element.into());
        count += 1;
    }
    bytes.push(END);
    let header = header(bytes.len(), count);
    bytes[..HEADER_BYTES].copy_from_slice(&header);
    bytes
}

/// A new listpack of these raw elements.
pub fn from_entries(entries: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + entries.len() + 1);
    for part in parts_of_entries(entries, count, &mut [0; HEADER_BYTES]) {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// The pieces of a listpack of these raw elements; the first is written to `head`.
pub fn parts_of_entries<'a>(
    entries: &'a [u8],
    count: usize,
    head: &'a mut [u8; HEADER_BYTES],
) -> [&'a [u8]; 3] {
    *head = header(HEADER_BYTES + entries.len() + 1, count);
    [head, entries, &[END]]
}

/// Whether `more_bytes` of element text can be added to a listpack of `len` bytes.
#[inline]
pub fn fits(len: usize, more_bytes: usize) -> bool {
    len.saturating_add(more_bytes) <= BYTES_MAX
}

/// Whether bytes from outside are a valid listpack, down to every element.
pub fn validate(bytes: &[u8]) -> bool {
    let [l0, l1, l2, l3, c0, c1, entries @ .., END] = bytes else {
        return false;
    };
    let count = u16::from_le_bytes([*c0, *c1]);
    u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize == bytes.len()
        && count_entries(entries)
            .is_some_and(|found| count == COUNT_UNKNOWN || usize::from(count) == found)
}

/// How many raw elements these are; `None` if they are not valid.
pub fn count_entries(entries: &[u8]) -> Option<usize> {
    let (mut rest, mut count) = (entries, 0);
    while !rest.is_empty() {
        let len = checked_head(rest)?;
        let after = rest.get(len..)?;
        let mut back = back_len(len);
        if matches!(len, 0x3FFF | 0x1F_FFFF | 0xFFF_FFFF) && after.starts_with(&[0]) {
            back = redis_back_len(back);
        }
        rest = after.strip_prefix(back.as_slice())?;
        count += 1;
    }
    Some(count)
}

/// Length of head and data of the first element of `bytes`, which may be anything.
fn checked_head(bytes: &[u8]) -> Option<usize> {
    match *bytes {
        [0x00..=0x7F, ..] => Some(1),
        [head @ 0x80..=0xBF, ..] => Some(usize::from(head & 0x3F) + 1),
        [0xC0..=0xDF, ..] => Some(2),
        [head @ 0xE0..=0xEF, low, ..] => Some(str12_len(head, low) + 2),
        [STR32, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize).checked_add(5),
        [head @ (INT16 | INT24 | INT32), ..] => Some(usize::from(head - INT16) + 3),
        [INT64, ..] => Some(9),
        _ => None,
    }
}

/// The raw element at `at`, and where the next one is.
#[inline]
pub(crate) fn read_entry(bytes: &[u8], at: usize) -> (Value<'_>, usize) {
    let head = bytes[at];
    match head {
        0x00..=0x7F => (Value::Int(i64::from(head)), at + 2),
        0x80..=0xBF => {
            let start = at + 1;
            let end = start + usize::from(head & 0x3F);
            (Value::Bytes(&bytes[start..end]), end + 1)
        }
        _ => read_long_entry(bytes, at),
    }
}

fn read_long_entry(bytes: &[u8], at: usize) -> (Value<'_>, usize) {
    let head = bytes[at];
    let string = |head_bytes: usize, len: usize| {
        let (start, end) = (at + head_bytes, at + head_bytes + len);
        let redis_byte = usize::from(bytes[end] == 0);
        let next = end + back_len_bytes(head_bytes + len) + redis_byte;
        (Value::Bytes(&bytes[start..end]), next)
    };
    let int = |data_bytes: usize| {
        let mut le = [0; 8];
        le[..data_bytes].copy_from_slice(&bytes[at + 1..at + 1 + data_bytes]);
        // The sign bit is brought to the top and back.
        let unused_bits = 64 - 8 * data_bytes as u32;
        let int = i64::from_le_bytes(le) << unused_bits >> unused_bits;
        (Value::Int(int), at + 2 + data_bytes)
    };
    match head {
        0xC0..=0xDF => {
            let unsigned = i64::from(head & 0x1F) << 8 | i64::from(bytes[at + 1]);
            (Value::Int(unsigned << 51 >> 51), at + 3)
        }
        0xE0..=0xEF => string(2, str12_len(head, bytes[at + 1])),
        STR32 => string(5, str32_len(bytes, at)),
        INT16 => int(2),
        INT24 => int(3),
        INT32 => int(4),
        INT64 => int(8),
        _ => panic!("not a listpack element: {head:#x}"),
    }
}

/// Where the raw element after the one at `at` is.
#[inline]
pub(crate) fn next_entry(bytes: &[u8], at: usize) -> usize {
    let head = bytes[at];
    if let Some(len) = short_len(head) {
        return at + len + 2;
    }
    match ENTRY_BYTES[usize::from(head)] {
        0 => read_long_entry(bytes, at).1,
        len => at + usize::from(len),
    }
}

/// Length of a short string by its head: what most elements are, and quicker than a table, since a
/// walk waits for every length in turn.
#[inline]
fn short_len(head: u8) -> Option<usize> {
    (head & 0xC0 == 0x80).then_some(usize::from(head & 0x3F))
}

/// Where the raw element before the place `at` is.
#[inline]
pub(crate) fn prev_entry(bytes: &[u8], at: usize) -> usize {
    let mut back_at = at - 1;
    let mut byte = bytes[back_at];
    let mut len = usize::from(byte & 0x7F);
    let mut shift = 7;
    while byte & 0x80 != 0 {
        back_at -= 1;
        byte = bytes[back_at];
        len |= usize::from(byte & 0x7F) << shift;
        shift += 7;
    }
    back_at - len
}

/// As [`Listpack::find`], over raw elements that end where `bytes` ends.
pub(crate) fn find_entry(bytes: &[u8], from: usize, needle: &[u8], skip: usize) -> Option<usize> {
    if needle.is_empty() || matches!(needle, [b'-' | b'0'..=b'9', ..]) {
        return find_by_value(bytes, from, Needle::new(needle), skip);
    }
    let last = needle[needle.len() - 1];
    let mut at = from;
    // Most strings have a one-byte head, which tells whether the length is the needle's.
    let short_head = match needle.len() {
        len @ ..64 => 0x80 | len as u8,
        _ => END,
    };
    while let Some(&head) = bytes.get(at) {
        let next = if let Some(len) = short_len(head) {
            let next = at + len + 2;
            // Names of one length are most often told apart by their last byte.
            if head == short_head && bytes[next - 2] == last && bytes[at + 1..next - 1] == *needle {
                return Some(at);
            }
            next
        } else {
            let (value, next) = read_entry(bytes, at);
            if value == Value::Bytes(needle) {
                return Some(at);
            }
            next
        };
        at = (0..skip).fold(next, |at, _| next_entry(bytes, at));
    }
    None
}

/// As [`find_entry`], of a needle that may be an integer.
fn find_by_value(bytes: &[u8], from: usize, needle: Needle<'_>, skip: usize) -> Option<usize> {
    let mut at = from;
    while at < bytes.len() {
        let (value, next) = read_entry(bytes, at);
        if needle.is(value) {
            return Some(at);
        }
        at = (0..skip).fold(next, |at, _| next_entry(bytes, at));
    }
    None
}

/// Places of raw elements.
pub(crate) type Spans = SmallVec<[Range<usize>; 4]>;

/// Where up to `count` raw elements are that the needle is found in: the first ones, or the last
/// ones if `from_end`. In ascending order.
pub(crate) fn equal_entries(
    bytes: &[u8],
    needle: Needle<'_>,
    count: usize,
    from_end: bool,
) -> Spans {
    let mut spans = Spans::new();
    let (mut from, mut to) = (0, bytes.len());
    while from < to && spans.len() < count {
        let at = if from_end {
            prev_entry(bytes, to)
        } else {
            from
        };
        let (value, next) = read_entry(bytes, at);
        if needle.is(value) {
            spans.push(at..next);
        }
        (from, to) = if from_end { (0, at) } else { (next, to) };
    }
    if from_end {
        spans.reverse();
    }
    spans
}

/// The raw elements from `from` on without those of the spans.
pub(crate) fn entries_without(bytes: &[u8], mut from: usize, spans: &[Range<usize>]) -> Scratch {
    let mut kept = Scratch::new();
    for span in spans {
        kept.extend_from_slice(&bytes[from..span.start]);
        from = span.end;
    }
    kept.extend_from_slice(&bytes[from..]);
    kept
}

/// Where the raw element with this index is, of `count` that these are; the end for `count`.
pub(crate) fn seek_entry(bytes: &[u8], index: usize, count: usize) -> usize {
    if index <= count / 2 {
        (0..index).fold(0, |at, _| next_entry(bytes, at))
    } else {
        (index..count).fold(bytes.len(), |at, _| prev_entry(bytes, at))
    }
}

/// Appends a raw element to `out`.
#[inline]
pub(crate) fn push_entry(out: &mut Scratch, value: Value<'_>) {
    if let Some((head, text, back)) = short_parts(&value) {
        out.reserve(text.len() + 2);
        out.push(head);
        out.extend_from_slice(text);
        out.push(back);
        return;
    }
    let (head, data) = encode(&value);
    out.extend_from_slice(head.as_slice());
    out.extend_from_slice(data);
    out.extend_from_slice(back_len(head.len() + data.len()).as_slice());
}

/// Head, data and back length of an element that has one byte of the first and the last, as nearly
/// all have.
#[inline]
pub(crate) fn short_parts<'a>(value: &Value<'a>) -> Option<(u8, &'a [u8], u8)> {
    match *value {
        Value::Bytes(bytes) if bytes.len() < 64 => {
            let len = bytes.len() as u8;
            Some((0x80 | len, bytes, len + 1))
        }
        Value::Int(int @ 0..=0x7F) => Some((int as u8, b"", 1)),
        _ => None,
    }
}

/// A few bytes by value.
#[derive(Clone, Copy)]
pub(crate) struct Few {
    bytes: [u8; 9],
    len: u8,
}

impl Few {
    const EMPTY: Few = Few {
        bytes: [0; 9],
        len: 0,
    };

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let len = usize::from(self.len);
        self.bytes[len..len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.len)
    }
}

/// Head and data of an element; an integer is all head.
#[inline]
pub(crate) fn encode<'a>(value: &Value<'a>) -> (Few, &'a [u8]) {
    let mut head = Few::EMPTY;
    match *value {
        Value::Int(int) => {
            encode_int(int, &mut head);
            (head, b"")
        }
        Value::Bytes(bytes) => {
            match bytes.len() {
                len @ ..64 => head.push(&[0x80 | len as u8]),
                len @ ..4096 => head.push(&[STR12 | (len >> 8) as u8, len as u8]),
                len => {
                    let len = u32::try_from(len).expect("listpacks end at BYTES_MAX");
                    head.push(&[STR32]);
                    head.push(&len.to_le_bytes());
                }
            }
            (head, bytes)
        }
    }
}

fn encode_int(int: i64, out: &mut Few) {
    let le = int.to_le_bytes();
    match int_head(int) {
        0xC0 => out.push(&[0xC0 | (le[1] & 0x1F), le[0]]),
        head @ (INT16 | INT24 | INT32) => {
            out.push(&[head]);
            out.push(&le[..usize::from(head - INT16) + 2]);
        }
        INT64 => {
            out.push(&[INT64]);
            out.push(&le);
        }
        small => out.push(&[small]),
    }
}

/// The first byte of an integer's head, without the bits of the integer where it has 13.
const fn int_head(int: i64) -> u8 {
    match int {
        0..=127 => int as u8,
        -4096..=4095 => 0xC0,
        -0x8000..=0x7FFF => INT16,
        -0x80_0000..=0x7F_FFFF => INT24,
        -0x8000_0000..=0x7FFF_FFFF => INT32,
        _ => INT64,
    }
}

#[inline]
fn str12_len(head: u8, low: u8) -> usize {
    usize::from(head & 0x0F) << 8 | usize::from(low)
}

#[inline]
fn str32_len(bytes: &[u8], at: usize) -> usize {
    let le = [bytes[at + 1], bytes[at + 2], bytes[at + 3], bytes[at + 4]];
    u32::from_le_bytes(le) as usize
}

/// How many bytes the back length of an element of `len` bytes takes.
#[inline]
pub(crate) const fn back_len_bytes(len: usize) -> usize {
    match len {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        0x20_0000..=0xFFF_FFFF => 4,
        _ => 5,
    }
}

/// The back length of an element of `len` bytes.
#[inline]
pub(crate) fn back_len(len: usize) -> Few {
    let mut back = Few::EMPTY;
    let count = back_len_bytes(len);
    for at in 0..count {
        let bits = (len >> (7 * (count - 1 - at))) as u8 & 0x7F;
        back.push(&[if at == 0 { bits } else { bits | 0x80 }]);
    }
    back
}

/// The back length that Redis writes for the largest number of so many bytes.
fn redis_back_len(mut back: Few) -> Few {
    back.bytes[0] |= 0x80;
    let mut longer = Few::EMPTY;
    longer.push(&[0]);
    longer.push(back.as_slice());
    longer
}

const fn entry_bytes_by_head() -> [u8; 256] {
    let mut table = [0; 256];
    let mut head = 0;
    while head < 256 {
        table[head] = match head {
            0x00..=0x7F => 2,
            0x80..=0xBF => head as u8 - 0x80 + 2,
            0xC0..=0xDF => 3,
            0xF1..=0xF3 => head as u8 - INT16 + 4,
            0xF4 => 10,
            _ => 0,
        };
        head += 1;
    }
    table
}
