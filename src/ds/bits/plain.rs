//! The plain forms. They are always inlined, so that `avx2` can be the same code compiled for more.

use smallvec::SmallVec;

use super::Op;

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

/// What a source does to the result so far.
#[derive(Clone, Copy)]
enum Step {
    And,
    Or,
    Xor,
    AndNot,
}

/// Appends the result to `out`, which has the room.
#[inline(always)]
pub(super) fn combine(op: Op, sources: &[&[u8]], len: usize, out: &mut Vec<u8>) {
    let Some((&first, others)) = sources.split_first() else {
        return;
    };
    let step = |step| others.iter().map(move |&other| (step, other));
    let (begin, steps): (&[u8], Steps<'_>) = match op {
        Op::And => (first, step(Step::And).collect()),
        Op::Or | Op::One => (first, step(Step::Or).collect()),
        Op::Xor => (first, step(Step::Xor).collect()),
        Op::Not => (first, Steps::new()),
        Op::Diff => (first, step(Step::AndNot).collect()),
        Op::Diff1 => around(others, first, Step::AndNot),
        Op::AndOr => around(others, first, Step::And),
    };
    let mut many = [0; BLOCK_BYTES];
    for start in (0..len).step_by(BLOCK_BYTES) {
        let end = len.min(start + BLOCK_BYTES);
        let many = &mut many[..end - start];
        let at = out.len();
        match op {
            Op::Not => append_not(out, within(begin, start, end)),
            Op::One => {
                append(out, within(begin, start, end), end - start);
                many.fill(0);
                for (_, other) in &steps {
                    count_twice(&mut out[at..], many, within(other, start, end));
                }
                apply(Step::AndNot, &mut out[at..], many);
            }
            _ => {
                let begin = within(begin, start, end);
                let Some(((step, other), steps)) = steps.split_first() else {
                    append(out, begin, end - start);
                    continue;
                };
                append_pair(*step, out, begin, within(other, start, end), end - start);
                for (step, other) in steps {
                    apply(*step, &mut out[at..], within(other, start, end));
                }
            }
        }
    }
}

/// The sources behind the first to be used, each with what it does.
type Steps<'s> = SmallVec<[(Step, &'s [u8]); 8]>;

/// Begins with what any of `others` has, and puts `first` in at the end.
fn around<'s>(others: &[&'s [u8]], first: &'s [u8], last: Step) -> (&'s [u8], Steps<'s>) {
    let Some((&begin, others)) = others.split_first() else {
        return (&[], Steps::from_slice(&[(last, first)]));
    };
    let mut steps: Steps<'_> = others.iter().map(|&other| (Step::Or, other)).collect();
    steps.push((last, first));
    (begin, steps)
}

/// What a source has of a block.
#[inline(always)]
fn within(source: &[u8], start: usize, end: usize) -> &[u8] {
    &source[start.min(source.len())..end.min(source.len())]
}

/// Appends `bytes`, and zeros up to `len`.
#[inline(always)]
fn append(out: &mut Vec<u8>, bytes: &[u8], len: usize) {
    let end = out.len() + len;
    out.extend_from_slice(bytes);
    out.resize(end, 0);
}

#[inline(always)]
fn append_not(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().map(|byte| !byte));
}

/// Appends `len` bytes of two sources put together, without going over the first of them twice.
#[inline(always)]
fn append_pair(step: Step, out: &mut Vec<u8>, left: &[u8], right: &[u8], len: usize) {
    let both = left.len().min(right.len());
    let end = out.len() + len;
    let (lefts, left_rest) = left.split_at(both);
    let (rights, right_rest) = right.split_at(both);
    let pairs = lefts.iter().zip(rights);
    match step {
        Step::And => out.extend(pairs.map(|(left, right)| left & right)),
        Step::Or => out.extend(pairs.map(|(left, right)| left | right)),
        Step::Xor => out.extend(pairs.map(|(left, right)| left ^ right)),
        Step::AndNot => out.extend(pairs.map(|(left, right)| left & !right)),
    }
    // One of them is at its end, and is zeros from here.
    match step {
        Step::And => {}
        Step::AndNot => out.extend_from_slice(left_rest),
        Step::Or | Step::Xor => {
            out.extend_from_slice(left_rest);
            out.extend_from_slice(right_rest);
        }
    }
    out.resize(end, 0);
}

/// Changes `result` by what `source` has of it; zeros stand behind its end.
#[inline(always)]
fn apply(step: Step, result: &mut [u8], source: &[u8]) {
    if matches!(step, Step::And) {
        result[source.len()..].fill(0);
    }
    let pairs = result.iter_mut().zip(source);
    match step {
        Step::And => pairs.for_each(|(byte, other)| *byte &= other),
        Step::Or => pairs.for_each(|(byte, other)| *byte |= other),
        Step::Xor => pairs.for_each(|(byte, other)| *byte ^= other),
        Step::AndNot => pairs.for_each(|(byte, other)| *byte &= !other),
    }
}

/// Adds a source to the bits that are set in any, and to those that are set in several.
#[inline(always)]
fn count_twice(any: &mut [u8], many: &mut [u8], source: &[u8]) {
    for ((any, many), other) in any.iter_mut().zip(many).zip(source) {
        *many |= *any & other;
        *any |= other;
    }
}
