//! Sets of integers in Redis's byte format, sorted, of one width.
//!
//! ```text
//! offset 0  width of an element: 2, 4 or 8, u32 little endian
//!        4  number of elements, u32 little endian
//!        8  elements: signed, little endian, ascending, none twice
//! ```
//!
//! RDB files and DUMP carry these bytes as they are. The width is that of the widest element there
//! has ever been: it grows when an element needs it and never shrinks, as in Redis.
//!
//! Edits are functions over a [`Buf`], so that a set can lie in a key's entry or in a buffer of its
//! own; [`Intset`] reads.
//!
//! Invariants: bytes handed in here come from here, or [`validate`] said yes to them. The length
//! follows from the number of bytes; the header repeats it for those who read the file. Nothing
//! here panics or reads outside on bytes that break this, it only answers nonsense.

use super::buf::Buf;

#[cfg(test)]
mod tests;

/// Bytes before the first element.
pub const HEADER_BYTES: usize = 8;
/// A set without elements.
pub const EMPTY: [u8; HEADER_BYTES] = [2, 0, 0, 0, 0, 0, 0, 0];
/// No set may have more elements: the bytes of a longer one would not fit where Redis reads them.
pub const LEN_MAX: usize = 1 << 30;

/// A width of elements in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl Width {
    /// The least width that holds `value`.
    #[inline]
    fn of(value: i64) -> Self {
        if i16::try_from(value).is_ok() {
            Width::Two
        } else if i32::try_from(value).is_ok() {
            Width::Four
        } else {
            Width::Eight
        }
    }

    #[inline]
    fn bytes(self) -> usize {
        self as usize
    }
}

/// An element as it is stored: `N` bytes.
trait Stored: Copy {
    fn load(self) -> i64;
}

impl Stored for [u8; 2] {
    #[inline]
    fn load(self) -> i64 {
        i16::from_le_bytes(self).into()
    }
}

impl Stored for [u8; 4] {
    #[inline]
    fn load(self) -> i64 {
        i32::from_le_bytes(self).into()
    }
}

impl Stored for [u8; 8] {
    #[inline]
    fn load(self) -> i64 {
        i64::from_le_bytes(self)
    }
}

/// The elements by their width.
#[derive(Clone, Copy)]
enum Elements<'a> {
    Two(&'a [[u8; 2]]),
    Four(&'a [[u8; 4]]),
    Eight(&'a [[u8; 8]]),
}

/// A set to be read.
#[derive(Clone, Copy, Debug)]
pub struct Intset<'a> {
    bytes: &'a [u8],
}

impl<'a> Intset<'a> {
    /// Reads `bytes` as a set; see the invariants above. Panics if not even a header is there.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        assert!(bytes.len() >= HEADER_BYTES, "no intset");
        Self { bytes }
    }

    /// All bytes, header included.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    fn width(self) -> Width {
        match self.bytes[0] {
            2 => Width::Two,
            4 => Width::Four,
            _ => Width::Eight,
        }
    }

    #[inline]
    fn elements(self) -> Elements<'a> {
        let bytes = &self.bytes[HEADER_BYTES..];
        match self.width() {
            Width::Two => Elements::Two(bytes.as_chunks().0),
            Width::Four => Elements::Four(bytes.as_chunks().0),
            Width::Eight => Elements::Eight(bytes.as_chunks().0),
        }
    }

    /// Number of elements.
    #[inline]
    pub fn len(self) -> usize {
        (self.bytes.len() - HEADER_BYTES) / self.width().bytes()
    }

    /// Whether there are no elements.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.bytes.len() == HEADER_BYTES
    }

    /// The element with this index in ascending order.
    #[inline]
    pub fn get(self, index: usize) -> Option<i64> {
        match self.elements() {
            Elements::Two(elements) => elements.get(index).map(|element| element.load()),
            Elements::Four(elements) => elements.get(index).map(|element| element.load()),
            Elements::Eight(elements) => elements.get(index).map(|element| element.load()),
        }
    }

    /// The least element.
    #[inline]
    pub fn min(self) -> Option<i64> {
        self.get(0)
    }

    /// The greatest element.
    #[inline]
    pub fn max(self) -> Option<i64> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The index of `value`, or that at which it would be inserted.
    #[inline]
    pub fn find(self, value: i64) -> Result<usize, usize> {
        match self.elements() {
            Elements::Two(elements) => search(elements, value),
            Elements::Four(elements) => search(elements, value),
            Elements::Eight(elements) => search(elements, value),
        }
    }

    /// Whether `value` is an element.
    #[inline]
    pub fn contains(self, value: i64) -> bool {
        self.find(value).is_ok()
    }

    /// A random element, all equally likely; `None` if there is none. `random` yields a uniform
    /// number below its argument.
    #[inline]
    pub fn random(self, mut random: impl FnMut(usize) -> usize) -> Option<i64> {
        match self.len() {
            0 => None,
            len => self.get(random(len)),
        }
    }

    /// All elements, ascending.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        Iter {
            bytes: &self.bytes[HEADER_BYTES..HEADER_BYTES + self.len() * self.width().bytes()],
            width: self.width(),
        }
    }
}

impl<'a> IntoIterator for Intset<'a> {
    type Item = i64;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Binary search; values beyond the ends are answered first, since sets are often filled in order.
#[inline]
fn search<S: Stored>(elements: &[S], value: i64) -> Result<usize, usize> {
    let (Some(first), Some(last)) = (elements.first(), elements.last()) else {
        return Err(0);
    };
    if value > last.load() {
        return Err(elements.len());
    }
    if value < first.load() {
        return Err(0);
    }
    let index = elements.partition_point(|element| element.load() < value);
    match elements.get(index) {
        Some(element) if element.load() == value => Ok(index),
        _ => Err(index),
    }
}

/// The elements of a set, ascending; from both ends.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    width: Width,
}

impl Iterator for Iter<'_> {
    type Item = i64;

    #[inline]
    fn next(&mut self) -> Option<i64> {
        let (value, rest) = match self.width {
            Width::Two => split_first::<2>(self.bytes)?,
            Width::Four => split_first::<4>(self.bytes)?,
            Width::Eight => split_first::<8>(self.bytes)?,
        };
        self.bytes = rest;
        Some(value)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.bytes.len() / self.width.bytes();
        (len, Some(len))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<i64> {
        let (value, rest) = match self.width {
            Width::Two => split_last::<2>(self.bytes)?,
            Width::Four => split_last::<4>(self.bytes)?,
            Width::Eight => split_last::<8>(self.bytes)?,
        };
        self.bytes = rest;
        Some(value)
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl std::iter::FusedIterator for Iter<'_> {}

#[inline]
fn split_first<const N: usize>(bytes: &[u8]) -> Option<(i64, &[u8])>
where
    [u8; N]: Stored,
{
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    Some((first.load(), rest))
}

#[inline]
fn split_last<const N: usize>(bytes: &[u8]) -> Option<(i64, &[u8])>
where
    [u8; N]: Stored,
{
    let (rest, last) = bytes.split_last_chunk::<N>()?;
    Some((last.load(), rest))
}

/// Adds `value`; false if it is an element already.
#[inline]
pub fn insert(buf: &mut (impl Buf + ?Sized), value: i64) -> bool {
    let set = Intset::new(buf.bytes());
    let width = set.width();
    if Width::of(value) > width {
        widen(buf, value);
        return true;
    }
    let Err(index) = set.find(value) else {
        return false;
    };
    let len = set.len() + 1;
    let at = HEADER_BYTES + index * width.bytes();
    // Cut to a lesser width, a little-endian number that fits it stays the same.
    buf.splice(at, 0, &value.to_le_bytes()[..width.bytes()]);
    write_len(buf, len);
    true
}

/// Removes `value`; false if it is no element.
#[inline]
pub fn remove(buf: &mut (impl Buf + ?Sized), value: i64) -> bool {
    match Intset::new(buf.bytes()).find(value) {
        Ok(index) => {
            remove_at(buf, index);
            true
        }
        Err(_) => false,
    }
}

/// Removes the element with this index in ascending order. Panics if there is none.
pub fn remove_at(buf: &mut (impl Buf + ?Sized), index: usize) {
    let set = Intset::new(buf.bytes());
    let (width, len) = (set.width().bytes(), set.len());
    buf.splice(HEADER_BYTES + index * width, width, &[]);
    write_len(buf, len - 1);
}

/// A new set of these elements, which are ascending and none twice.
pub fn from_sorted(values: impl ExactSizeIterator<Item = i64> + Clone) -> Vec<u8> {
    let width = values.clone().map(Width::of).max().unwrap_or(Width::Two);
    collect(width, values.len(), values)
}

fn collect(width: Width, len: usize, values: impl Iterator<Item = i64>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + len * width.bytes());
    bytes.extend_from_slice(&(width.bytes() as u32).to_le_bytes());
    bytes.extend_from_slice(&(len as u32).to_le_bytes());
    for value in values {
        bytes.extend_from_slice(&value.to_le_bytes()[..width.bytes()]);
    }
    bytes
}

/// Adds an element that needs a greater width, so that it is less or greater than all others.
#[cold]
fn widen(buf: &mut (impl Buf + ?Sized), value: i64) {
    let old = Intset::new(buf.bytes());
    let (before, after) = match value < 0 {
        true => (Some(value), None),
        false => (None, Some(value)),
    };
    let values = before.into_iter().chain(old).chain(after);
    let bytes = collect(Width::of(value), old.len() + 1, values);
    let old_bytes = buf.bytes().len();
    buf.splice(0, old_bytes, &bytes);
}

#[inline]
fn write_len(buf: &mut (impl Buf + ?Sized), len: usize) {
    let len = u32::try_from(len).expect("sets end at LEN_MAX");
    buf.bytes_mut()[4..HEADER_BYTES].copy_from_slice(&len.to_le_bytes());
}

/// Whether bytes from outside are a valid set: header, length, order.
pub fn validate(bytes: &[u8]) -> bool {
    let [w0, w1, w2, w3, l0, l1, l2, l3, elements @ ..] = bytes else {
        return false;
    };
    let width = u32::from_le_bytes([*w0, *w1, *w2, *w3]) as usize;
    let len = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
    matches!(width, 2 | 4 | 8)
        && len <= LEN_MAX
        && len.checked_mul(width) == Some(elements.len())
        && Intset::new(bytes).iter().is_sorted_by(|a, b| a < b)
}
