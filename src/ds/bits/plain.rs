//! The plain forms. They are always inlined, so that `avx2` can be the same code compiled for more.

use super::{Combined, Op};

/// Bytes of the result that are computed at once: with a part of each source they stay in the nearest
/// cache, so memory is read and written once, whatever the number of sources.
const BLOCK_BYTES: usize = 8192;
/// Bytes that are compared at once.
const CHUNK_BYTES: usize = 128;

/// Counts bits, eight bytes at a time.
#[inline(always)]
pub(super) fn count(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let word_bits = words
        .iter()
        .map(|&word| u64::from(u64::from_ne_bytes(word).count_ones()));
    let rest_bits = rest.iter().map(|byte| u64::from(byte.count_ones()));
    word_bits.sum::<u64>() + rest_bits.sum::<u64>()
}

/// The position of the first byte that is not `skip`.
#[inline(always)]
pub(super) fn find_other(bytes: &[u8], skip: u8) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<CHUNK_BYTES>();
    for (chunk, at) in chunks.iter().zip((0..).step_by(CHUNK_BYTES)) {
        let mut different = 0;
        for byte in chunk {
            different |= byte ^ skip;
        }
        if different != 0 {
            return Some(at + chunk.iter().position(|&byte| byte != skip)?);
        }
    }
    let at = rest.iter().position(|&byte| byte != skip)?;
    Some(bytes.len() - rest.len() + at)
}

/// Appends the result to `out`, which has the room.
#[inline(always)]
pub(super) fn combine(op: Op, sources: &[&[u8]], len: usize, out: &mut Combined) {
    let Some((first, others)) = sources.split_first() else {
        return;
    };
    let mut spare = [0; BLOCK_BYTES];
    for start in (0..len).step_by(BLOCK_BYTES) {
        let end = len.min(start + BLOCK_BYTES);
        match op {
            Op::And | Op::Or | Op::Xor | Op::Diff => {
                let result = begin(out, within(first, start, end), end - start);
                for other in others {
                    apply(op, result, within(other, start, end));
                }
            }
            Op::Not => {
                let result = begin(out, within(first, start, end), end - start);
                for byte in result {
                    *byte = !*byte;
                }
            }
            Op::Diff1 | Op::AndOr => {
                let result = begin(out, &[], end - start);
                for other in others {
                    apply(Op::Or, result, within(other, start, end));
                }
                let op = if op == Op::Diff1 { Op::Diff } else { Op::And };
                apply(op, result, within(first, start, end));
            }
            Op::One => {
                let result = begin(out, within(first, start, end), end - start);
                let many = &mut spare[..end - start];
                many.fill(0);
                for other in others {
                    apply_one(result, many, within(other, start, end));
                }
                apply(Op::Diff, result, many);
            }
        }
    }
}

/// What a source has of a block.
#[inline(always)]
fn within(source: &[u8], start: usize, end: usize) -> &[u8] {
    &source[start.min(source.len())..end.min(source.len())]
}

/// Appends a block that begins with `bytes` and goes on with zeros.
#[inline(always)]
fn begin<'o>(out: &'o mut Combined, bytes: &[u8], len: usize) -> &'o mut [u8] {
    let at = out.len();
    out.extend_from_slice(bytes);
    out.resize(at + len, 0);
    &mut out[at..]
}

/// Changes `result` by what `source` has of it; zeros stand behind its end.
#[inline(always)]
fn apply(op: Op, result: &mut [u8], source: &[u8]) {
    if op == Op::And {
        result[source.len()..].fill(0);
    }
    let pairs = result.iter_mut().zip(source);
    match op {
        Op::And => pairs.for_each(|(byte, other)| *byte &= other),
        Op::Or => pairs.for_each(|(byte, other)| *byte |= other),
        Op::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
        // The others are made of these.
        _ => pairs.for_each(|(byte, other)| *byte &= !other),
    }
}

/// Adds a source to the bits that are set in any, and to those that are set in several.
#[inline(always)]
fn apply_one(any: &mut [u8], many: &mut [u8], source: &[u8]) {
    for ((any, many), other) in any.iter_mut().zip(many).zip(source) {
        *many |= *any & other;
        *any |= other;
    }
}
