//! How fields, values and numbers stand in a node: as in a listpack ([`crate::ds::listpack`]), but
//! without the length behind each element, which a node has no use for.
//!
//! What is read here was written here: other bytes make it panic or answer nonsense.

use crate::ds::listpack::{self, Value};

/// Appends an element.
#[inline]
pub(super) fn push(out: &mut Vec<u8>, value: Value<'_>) {
    if let Some((head, text, _)) = listpack::short_parts(&value) {
        out.push(head);
        out.extend_from_slice(text);
    } else {
        let (head, text) = listpack::encode(&value);
        out.extend_from_slice(head.as_slice());
        out.extend_from_slice(text);
    }
}

/// Takes an element from the front of `bytes`.
#[inline]
pub(super) fn read<'a>(bytes: &mut &'a [u8]) -> Value<'a> {
    let (&head, rest) = bytes.split_first().expect("an element is there");
    match head {
        0x00..=0x7F => {
            *bytes = rest;
            Value::Int(i64::from(head))
        }
        0x80..=0xBF => {
            let (text, rest) = rest.split_at(usize::from(head & 0x3F));
            *bytes = rest;
            Value::Bytes(text)
        }
        _ => read_long(bytes, head, rest),
    }
}

fn read_long<'a>(bytes: &mut &'a [u8], head: u8, rest: &'a [u8]) -> Value<'a> {
    let string = |len: usize, rest: &'a [u8]| {
        let (text, rest) = rest.split_at(len);
        (Value::Bytes(text), rest)
    };
    let int = |len: usize| {
        let (data, rest) = rest.split_at(len);
        let mut le = [0; 8];
        le[..len].copy_from_slice(data);
        // The sign bit is brought to the top and back.
        let unused_bits = 64 - 8 * len as u32;
        let int = i64::from_le_bytes(le) << unused_bits >> unused_bits;
        (Value::Int(int), rest)
    };
    let (value, rest) = match head {
        0xC0..=0xDF => {
            let unsigned = i64::from(head & 0x1F) << 8 | i64::from(rest[0]);
            (Value::Int(unsigned << 51 >> 51), &rest[1..])
        }
        0xE0..=0xEF => {
            let len = usize::from(head & 0x0F) << 8 | usize::from(rest[0]);
            string(len, &rest[1..])
        }
        0xF0 => {
            let len = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]);
            string(len as usize, &rest[4..])
        }
        0xF1 => int(2),
        0xF2 => int(3),
        0xF3 => int(4),
        _ => int(8),
    };
    *bytes = rest;
    value
}

/// Appends a number, seven bits a byte, the lowest first; all bytes but the last have the top bit.
#[inline]
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the front of `bytes`.
#[inline]
pub(super) fn read_number(bytes: &mut &[u8]) -> u64 {
    match bytes.split_first() {
        Some((&byte @ 0..0x80, rest)) => {
            *bytes = rest;
            u64::from(byte)
        }
        _ => read_long_number(bytes),
    }
}

fn read_long_number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (&byte, rest) = bytes.split_first().expect("a number is there");
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

/// A number whose small values are those near 0, negative ones, too.
#[inline]
pub(super) fn fold(signed: i64) -> u64 {
    (signed as u64) << 1 ^ (signed >> 63) as u64
}

/// The inverse of [`fold`].
#[inline]
pub(super) fn unfold(folded: u64) -> i64 {
    (folded >> 1) as i64 ^ -((folded & 1) as i64)
}
