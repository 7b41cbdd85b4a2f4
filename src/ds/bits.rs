//! Bytes as a sequence of bits, the highest bit of the first byte first: counting, searching, and
//! putting several together.
//!
//! What runs over many bytes has two forms. The plain one is in `bits/plain.rs`, written so that the
//! compiler makes vector instructions of it where every processor of the architecture has them (SSE2,
//! NEON). The one in `bits/avx2.rs` is for x86 processors that have AVX2, which is found out when the
//! program runs: the same code compiled for them, and for counting instructions that have no equal in
//! plain Rust. Each function here picks one; tests run both on the same bytes, and Miri the plain one.
//!
//! Invariant: nothing here depends on the alignment of bytes, and all lengths are fine.
//!
//! To add an operation over many bytes: a function in `plain`, an instance in `avx2`, a dispatch here,
//! a line in the test that compares them.

use std::alloc::{Layout, alloc_zeroed};
use std::collections::TryReserveError;
use std::ops::Range;

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod avx2;
mod plain;
#[cfg(test)]
mod tests;

/// Up to this many bytes choosing costs more than it gains.
const PLAIN_BYTES_MAX: usize = 32;

/// How several sequences become one. Those that are shorter than the longest have zeros behind their
/// end. The names are BITOP's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Bits that are set in all.
    And,
    /// Bits that are set in any.
    Or,
    /// Bits that are set in an odd number of them.
    Xor,
    /// Bits that are not set in the first; there is only one.
    Not,
    /// Bits that are set in the first and in none of the others.
    Diff,
    /// Bits that are set in any but the first, and not in the first.
    Diff1,
    /// Bits that are set in the first and in any of the others.
    AndOr,
    /// Bits that are set in exactly one.
    One,
}

/// How many bits are set.
#[inline]
pub fn count(bytes: &[u8]) -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if bytes.len() > PLAIN_BYTES_MAX && avx2::is_there() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::count(bytes) };
    }
    plain::count(bytes)
}

/// How many bits of a range are set. The range lies inside.
pub fn count_in(bytes: &[u8], bits: Range<u64>) -> u64 {
    let Some((first, whole, last)) = split(bytes, bits) else {
        return 0;
    };
    let ends = first.bits().count_ones() + last.map_or(0, |last| last.bits().count_ones());
    count(whole) + u64::from(ends)
}

/// Where the first bit is that is set, or not set.
#[inline]
pub fn find(bytes: &[u8], bit: bool) -> Option<u64> {
    let skip = if bit { 0 } else { 0xFF };
    let at = find_other(bytes, skip)?;
    Some(at as u64 * 8 + u64::from((bytes[at] ^ skip).leading_zeros()))
}

/// As [`find`], in a range, which lies inside. The position counts from the first byte.
pub fn find_in(bytes: &[u8], bit: bool, bits: Range<u64>) -> Option<u64> {
    let start = bits.start;
    let (first, whole, last) = split(bytes, bits)?;
    let whole_at = start / 8 + 1;
    if let Some(at) = first.find(bit) {
        return Some(start / 8 * 8 + at);
    }
    if let Some(at) = find(whole, bit) {
        return Some(whole_at * 8 + at);
    }
    let at = last?.find(bit)?;
    Some((whole_at + whole.len() as u64) * 8 + at)
}

/// The position of the first byte that is not `skip`.
#[inline]
fn find_other(bytes: &[u8], skip: u8) -> Option<usize> {
    // Most searches end where they begin.
    if *bytes.first()? != skip {
        return Some(0);
    }
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if bytes.len() > PLAIN_BYTES_MAX && avx2::is_there() {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2::find_other(bytes, skip) };
    }
    plain::find_other(bytes, skip)
}

/// Puts `sources` together and appends the result, which is as long as the longest of them, to
/// `out`. Fails, with nothing written, when there is no memory for it.
pub fn combine(op: Op, sources: &[&[u8]], out: &mut Vec<u8>) -> Result<(), TryReserveError> {
    let len = sources.iter().map(|source| source.len()).max();
    let len = len.unwrap_or_default();
    out.try_reserve_exact(len)?;
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if len > PLAIN_BYTES_MAX && avx2::is_there() {
        // SAFETY: the processor has AVX2.
        unsafe { avx2::combine(op, sources, len, out) };
        return Ok(());
    }
    plain::combine(op, sources, len, out);
    Ok(())
}

/// The `width` bits from `offset` on, as the low bits of a number: at most 64. Zeros stand behind the
/// end.
#[inline]
pub fn get(bytes: &[u8], offset: u64, width: u32) -> u64 {
    let Ok(at) = usize::try_from(offset / 8) else {
        return 0;
    };
    // 64 bits that do not begin with a byte lie in nine.
    let mut window = [0; 16];
    let there = bytes.get(at..).unwrap_or_default();
    match there.first_chunk::<9>() {
        Some(nine) => window[..9].copy_from_slice(nine),
        None => window[..there.len()].copy_from_slice(there),
    }
    let window = u128::from_be_bytes(window) << (offset % 8);
    (window >> (128 - width)) as u64
}

/// Sets the `width` bits from `offset` on, at most 64, to the low bits of `value`. They are all there.
#[inline]
pub fn set(bytes: &mut [u8], offset: u64, width: u32, value: u64) {
    let Ok(at) = usize::try_from(offset / 8) else {
        return;
    };
    let first_bit = (offset % 8) as u32;
    let byte_count = (first_bit + width).div_ceil(8) as usize;
    let shift = 128 - first_bit - width;
    let mask = (u128::MAX >> (128 - width)) << shift;
    let value = (u128::from(value) << shift) & mask;
    let there = bytes.get_mut(at..).unwrap_or_default();
    let masks = mask.to_be_bytes().into_iter().zip(value.to_be_bytes());
    for (byte, (mask, value)) in there.iter_mut().zip(masks).take(byte_count) {
        *byte = *byte & !mask | value;
    }
}

/// As many zeros as `len` in a buffer that has room for `capacity` bytes; `None` if there is no memory
/// for it. Large buffers come from the system as zeros: nothing is written until it is used.
pub fn zeros(len: usize, capacity: usize) -> Option<Vec<u8>> {
    let capacity = capacity.max(len);
    if capacity == 0 {
        return Some(Vec::new());
    }
    let layout = Layout::array::<u8>(capacity).ok()?;
    // SAFETY: the layout is not empty. The block is `capacity` bytes of the global allocator with a
    // byte's alignment, of which all are initialised, and `len` is not more.
    unsafe {
        let block = alloc_zeroed(layout);
        (!block.is_null()).then(|| Vec::from_raw_parts(block, len, capacity))
    }
}

/// A byte of which only some bits count.
#[derive(Clone, Copy)]
struct Part {
    byte: u8,
    mask: u8,
}

impl Part {
    /// The bits that count and are set.
    fn bits(self) -> u8 {
        self.byte & self.mask
    }

    /// The first bit that counts and is set, or not set.
    fn find(self, bit: bool) -> Option<u64> {
        let wanted = if bit { self.byte } else { !self.byte } & self.mask;
        (wanted != 0).then(|| u64::from(wanted.leading_zeros()))
    }
}

/// The first byte of a range of bits, the bytes between, and the last byte unless it is the first.
/// `None` if the range is empty, or not inside.
fn split(bytes: &[u8], bits: Range<u64>) -> Option<(Part, &[u8], Option<Part>)> {
    if bits.is_empty() {
        return None;
    }
    let last_bit = bits.end - 1;
    let from = usize::try_from(bits.start / 8).ok()?;
    let to = usize::try_from(last_bit / 8).ok()?;
    let (first, last) = (*bytes.get(from)?, *bytes.get(to)?);
    let from_mask = 0xFF >> (bits.start % 8);
    let to_mask = 0xFF << (7 - last_bit % 8);
    let part = |byte, mask| Part { byte, mask };
    if from == to {
        return Some((part(first, from_mask & to_mask), &[], None));
    }
    let whole = &bytes[from + 1..to];
    Some((part(first, from_mask), whole, Some(part(last, to_mask))))
}
