//! The compact encodings of before Redis 7: ziplist and zipmap. They are only read, and every offset
//! and count in them is checked; what was visited of one that turns out not to be valid is void.
//!
//! A ziplist (Redis 2.4 to 6.2):
//!
//! | bytes | |
//! |---|---|
//! | 4 | length of all of it, little endian |
//! | 4 | where the last element is |
//! | 2 | number of elements; 65535: unknown |
//! | ... | the elements |
//! | 1 | 0xFF |
//!
//! An element is the length of the element before it (one byte, or 254 and four bytes), a head and
//! its data:
//!
//! | head | data |
//! |---|---|
//! | `00llllll` | string of `l` bytes |
//! | `01llllll llllllll` | string of `l` bytes |
//! | `10000000` and 4 bytes, big endian | string of that length |
//! | `0xC0`, `0xD0`, `0xE0`, `0xF0`, `0xFE` | signed integer of 2, 4, 8, 3, 1 bytes, little endian |
//! | `0xF1` to `0xFD` | none: 0 to 12 |
//!
//! A zipmap (Redis before 2.6) is the number of fields in one byte (254 and more: unknown), then
//! field, value, field, value, and 0xFF. Each is a length (one byte, or 254 and four bytes little
//! endian) and its data; before a value's data stands how many unused bytes follow it.

use crate::ds::listpack::{self, Value};

const ZIPLIST_HEADER_BYTES: usize = 10;
const ZIPLIST_COUNT_UNKNOWN: u16 = u16::MAX;
const END: u8 = 0xFF;
/// The first byte of a length of four bytes.
const LONG: u8 = 254;

/// Visits the elements of a ziplist; `None` if some part of it is not valid.
pub(super) fn ziplist<'a>(bytes: &'a [u8], mut visit: impl FnMut(Value<'a>)) -> Option<()> {
    let (header, rest) = bytes.split_first_chunk::<ZIPLIST_HEADER_BYTES>()?;
    let [l0, l1, l2, l3, t0, t1, t2, t3, c0, c1] = *header;
    let (end, entries) = rest.split_last()?;
    let tail = u32::from_le_bytes([t0, t1, t2, t3]) as usize;
    let count = u16::from_le_bytes([c0, c1]);
    if u32::from_le_bytes([l0, l1, l2, l3]) as usize != bytes.len()
        || *end != END
        || bytes.len() > listpack::BYTES_MAX
    {
        return None;
    }
    let mut elements = 0;
    let (mut rest, mut before, mut last_at) = (entries, 0, ZIPLIST_HEADER_BYTES);
    while !rest.is_empty() {
        last_at = ZIPLIST_HEADER_BYTES + entries.len() - rest.len();
        let (said_before, after_length) = ziplist_length_before(rest)?;
        if said_before != before {
            return None;
        }
        let (element, after) = ziplist_element(after_length)?;
        before = rest.len() - after.len();
        visit(element);
        elements += 1;
        rest = after;
    }
    let count_fits = count == ZIPLIST_COUNT_UNKNOWN || usize::from(count) == elements;
    (tail == last_at && count_fits).then_some(())
}

fn ziplist_length_before(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [LONG, a, b, c, d, rest @ ..] => {
            Some((u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest))
        }
        [END, ..] => None,
        [len, rest @ ..] => Some((usize::from(*len), rest)),
        [] => None,
    }
}

fn ziplist_element(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (&head, rest) = bytes.split_first()?;
    match head {
        0x00..=0x3F => {
            let (text, rest) = rest.split_at_checked(head.into())?;
            Some((Value::from(text), rest))
        }
        0x40..=0x7F => {
            let (&low, rest) = rest.split_first()?;
            let len = usize::from(head & 0x3F) << 8 | usize::from(low);
            let (text, rest) = rest.split_at_checked(len)?;
            Some((Value::from(text), rest))
        }
        0x80 => {
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let len = u32::from_be_bytes(*len) as usize;
            let (text, rest) = rest.split_at_checked(len)?;
            Some((Value::from(text), rest))
        }
        0xC0 => ziplist_int::<2>(rest),
        0xD0 => ziplist_int::<4>(rest),
        0xE0 => ziplist_int::<8>(rest),
        0xF0 => ziplist_int::<3>(rest),
        0xFE => ziplist_int::<1>(rest),
        0xF1..=0xFD => Some((Value::Int(i64::from(head) - 0xF1), rest)),
        _ => None,
    }
}

fn ziplist_int<const N: usize>(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (data, rest) = bytes.split_first_chunk::<N>()?;
    let mut le = [0; 8];
    le[..N].copy_from_slice(data);
    // The sign bit is brought to the top and back.
    let unused_bits = 64 - 8 * N as u32;
    let int = i64::from_le_bytes(le) << unused_bits >> unused_bits;
    Some((Value::Int(int), rest))
}

/// The listpack of a ziplist's elements, if every part of that is valid.
pub(super) fn listpack_of_ziplist(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut list = listpack::EMPTY.to_vec();
    list.reserve(bytes.len());
    ziplist(bytes, |element| listpack::append(&mut list, element))?;
    Some(list)
}

/// Visits the fields and values of a zipmap; `None` if some part of it is not valid.
pub(super) fn zipmap<'a>(bytes: &'a [u8], mut visit: impl FnMut(&'a [u8], &'a [u8])) -> Option<()> {
    let (&count, mut rest) = bytes.split_first()?;
    let mut pairs = 0;
    while rest != [END] {
        let (len, after) = zipmap_length(rest)?;
        let (field, after) = after.split_at_checked(len)?;
        let (len, after) = zipmap_length(after)?;
        let (&free, after) = after.split_first()?;
        let (value, after) = after.split_at_checked(len)?;
        rest = after.get(usize::from(free)..)?;
        visit(field, value);
        pairs += 1;
    }
    (count >= LONG || usize::from(count) == pairs).then_some(())
}

fn zipmap_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [LONG, a, b, c, d, rest @ ..] => {
            Some((u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest))
        }
        [END, ..] | [] => None,
        [len, rest @ ..] => Some((usize::from(*len), rest)),
    }
}
