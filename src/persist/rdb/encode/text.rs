//! Lengths and strings.
//!
//! A string that is the text of an integer of up to 32 bits is that integer; one of more than
//! [`COMPRESS_BYTES_MIN`] bytes is compressed, if that is wanted and gains [`GAIN_BYTES_MIN`]; any
//! other is its length and its bytes. The limits are Redis's.

use crate::ds::entry::ValueRef;
use crate::persist::rdb::format::{encoding, length as form};
use crate::util::{lzf, num};

/// Longer texts are no integers of 32 bits.
const INT_TEXT_BYTES_MAX: usize = 11;
/// Strings of up to so many bytes are not compressed.
const COMPRESS_BYTES_MIN: usize = 20;
/// What compression has to gain, bytes.
const GAIN_BYTES_MIN: usize = 4;
/// Bytes of the longest length.
const LENGTH_BYTES_MAX: usize = 9;

/// A length.
#[inline]
pub(super) fn length(out: &mut Vec<u8>, len: u64) {
    match len {
        0..0x40 => out.push(form::BITS_6 | len as u8),
        0x40..0x4000 => out.extend_from_slice(&[form::BITS_14 | (len >> 8) as u8, len as u8]),
        _ => long_length(out, len),
    }
}

fn long_length(out: &mut Vec<u8>, len: u64) {
    match u32::try_from(len) {
        Ok(len) => {
            out.push(form::BITS_32);
            out.extend_from_slice(&len.to_be_bytes());
        }
        Err(_) => {
            out.push(form::BITS_64);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

/// A stored string: a key's, a field's value.
#[inline]
pub(super) fn value(out: &mut Vec<u8>, value: ValueRef<'_>, compress: bool) {
    match value {
        ValueRef::Bytes(bytes) => string(out, bytes, compress),
        ValueRef::Shared(bytes) => raw(out, bytes, compress),
        ValueRef::Int(value) => int(out, value),
        // No string is one.
        ValueRef::Collection(_) => length(out, 0),
    }
}

/// A string.
#[inline]
pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8], compress: bool) {
    if bytes.len() <= INT_TEXT_BYTES_MAX
        && let Some(value) = num::parse_i64(bytes)
    {
        return int(out, value);
    }
    raw(out, bytes, compress);
}

/// A string that is the text of an integer.
#[inline]
pub(super) fn int(out: &mut Vec<u8>, value: i64) {
    const INT8: u8 = form::ENCODED | encoding::INT8;
    const INT16: u8 = form::ENCODED | encoding::INT16;
    const INT32: u8 = form::ENCODED | encoding::INT32;
    let Ok(value) = i32::try_from(value) else {
        let mut digits = itoa::Buffer::new();
        return raw(out, digits.format(value).as_bytes(), false);
    };
    let [a, b, c, d] = value.to_le_bytes();
    if i8::try_from(value).is_ok() {
        out.extend_from_slice(&[INT8, a]);
    } else if i16::try_from(value).is_ok() {
        out.extend_from_slice(&[INT16, a, b]);
    } else {
        out.extend_from_slice(&[INT32, a, b, c, d]);
    }
}

/// Bytes that are no integer.
#[inline]
pub(super) fn raw(out: &mut Vec<u8>, bytes: &[u8], compress: bool) {
    if compress && bytes.len() > COMPRESS_BYTES_MIN && compressed(out, bytes) {
        return;
    }
    out.reserve(LENGTH_BYTES_MAX.saturating_add(bytes.len()));
    length(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes the bytes compressed; false, and nothing written, if that gains too little.
fn compressed(out: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let start = out.len();
    let bytes_max = bytes.len() - GAIN_BYTES_MIN;
    out.push(form::ENCODED | encoding::LZF);
    // How many bytes will follow is known afterwards; the largest number is put in its place.
    length(out, bytes_max as u64);
    let len_at = out.len();
    length(out, bytes.len() as u64);
    let data_at = out.len();
    if !lzf::compress(bytes, bytes_max, out) {
        out.truncate(start);
        return false;
    }
    // That it is shorter may make its length shorter, too, which then moves all behind it.
    let real_at = out.len();
    length(out, (real_at - data_at) as u64);
    let real_bytes = out.len() - real_at;
    out.copy_within(real_at.., start + 1);
    out.truncate(real_at);
    if start + 1 + real_bytes < len_at {
        out.copy_within(len_at.., start + 1 + real_bytes);
        out.truncate(real_at - (len_at - (start + 1 + real_bytes)));
    }
    true
}
