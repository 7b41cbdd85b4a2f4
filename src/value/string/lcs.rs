//! The longest common subsequence of two strings (LCS).
//!
//! The textbook table has one number per pair of prefixes. Two neighbours in a row of it differ by
//! 0 or 1, so a row is kept as one bit per byte of `b`, and a word of 64 of them is computed with a
//! handful of instructions (Hyyrö's bit-parallel form of the recurrence). The rows are kept only
//! when someone wants to know where the subsequence is; they take 1/32 of Redis's table of u32.
//!
//! Of several subsequences of greatest length the one is found that Redis finds: from the ends of
//! both strings backwards, equal bytes are always taken; else the last byte of `a` is dropped if
//! only that keeps the length, the last byte of `b` otherwise.

use super::OutOfMemory;

/// Longest strings, bytes: Redis's own limit.
const LEN_MAX: u64 = u32::MAX as u64 - 2;
/// Bytes of one cell of Redis's table, by which it limits the command.
const CELL_BYTES: u128 = 4;

/// Why a pair of strings is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// One of them is too long whatever the limit.
    TooLong,
    /// Redis's table would be larger than the limit.
    OverLimit,
}

/// A run of bytes that both strings have in common, part of the subsequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Match {
    /// Where it starts in `a`.
    pub a_start: usize,
    /// Where it starts in `b`.
    pub b_start: usize,
    /// Its length, at least 1.
    pub len: usize,
}

/// Refuses lengths that Redis refuses. `limit_bytes` is proto-max-bulk-len.
pub fn admit(a_len: usize, b_len: usize, limit_bytes: u64) -> Result<(), Refused> {
    if a_len as u64 > LEN_MAX || b_len as u64 > LEN_MAX {
        return Err(Refused::TooLong);
    }
    let cells = (a_len as u128 + 1) * (b_len as u128 + 1);
    if cells * CELL_BYTES > u128::from(limit_bytes) {
        return Err(Refused::OverLimit);
    }
    Ok(())
}

/// The length of the longest common subsequence.
pub fn len(a: &[u8], b: &[u8]) -> Result<usize, OutOfMemory> {
    let mut row = Row::new(a, b)?;
    for &byte in a {
        row.advance(byte);
    }
    Ok(row.len())
}

/// The longest common subsequence, with where it is.
pub struct Lcs<'s> {
    a: &'s [u8],
    b: &'s [u8],
    len: usize,
    /// A row for each byte of `a`, of `row_bytes` each. Bit `j` of row `i`: the subsequence of
    /// `a[..=i]` and `b[..=j]` is longer than that of `a[..=i]` and `b[..j]`.
    rows: Vec<u8>,
    row_bytes: usize,
}

impl<'s> Lcs<'s> {
    /// Finds it. Takes `a.len() * b.len() / 8` bytes of memory.
    pub fn new(a: &'s [u8], b: &'s [u8]) -> Result<Lcs<'s>, OutOfMemory> {
        let row_bytes = b.len().div_ceil(8);
        let mut rows = Vec::new();
        rows.try_reserve_exact(a.len().checked_mul(row_bytes).ok_or(OutOfMemory)?)?;
        let mut row = Row::new(a, b)?;
        for &byte in a {
            row.advance(byte);
            row.write(&mut rows, row_bytes);
        }
        Ok(Lcs {
            a,
            b,
            len: row.len(),
            rows,
            row_bytes,
        })
    }

    /// Its length.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when the strings have no byte in common.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The runs that it consists of, the last one first.
    pub fn matches(&self) -> Matches<'_> {
        Matches {
            lcs: self,
            i: self.a.len(),
            j: self.b.len(),
        }
    }

    /// The subsequence itself.
    pub fn text(&self) -> Vec<u8> {
        let mut text = vec![0; self.len];
        let mut end = self.len;
        for run in self.matches() {
            let start = end.saturating_sub(run.len);
            if let Some(at) = text.get_mut(start..end) {
                at.copy_from_slice(&self.a[run.a_start..run.a_start + run.len]);
            }
            end = start;
        }
        text
    }

    /// Whether `b`'s byte before `j` makes the subsequence with `a[..i]` longer.
    fn adds(&self, i: usize, j: usize) -> bool {
        let (row, bit) = (i - 1, j - 1);
        self.rows[row * self.row_bytes + bit / 8] >> (bit % 8) & 1 != 0
    }
}

/// See [`Lcs::matches`].
pub struct Matches<'l> {
    lcs: &'l Lcs<'l>,
    i: usize,
    j: usize,
}

impl Iterator for Matches<'_> {
    type Item = Match;

    fn next(&mut self) -> Option<Match> {
        let Lcs { a, b, .. } = *self.lcs;
        while self.i > 0 && self.j > 0 && a[self.i - 1] != b[self.j - 1] {
            // The bytes differ, so the length stays when the right one of them is dropped.
            if self.lcs.adds(self.i, self.j) {
                self.i -= 1;
            } else {
                self.j -= 1;
            }
        }
        let common = a[..self.i].iter().rev().zip(b[..self.j].iter().rev());
        let len = common.take_while(|(a, b)| a == b).count();
        self.i -= len;
        self.j -= len;
        (len > 0).then_some(Match {
            a_start: self.i,
            b_start: self.j,
            len,
        })
    }
}

/// One row of the table, advanced byte by byte of `a`.
struct Row {
    /// Which byte values occur in `a`: 1 + the number of their mask.
    mask_of: [u16; 256],
    /// Where each of those byte values is in `b`, `words` words each.
    masks: Vec<u64>,
    /// The row; a bit is 0 where the length grows. Bits past the end of `b` stay 1.
    bits: Vec<u64>,
    words: usize,
}

impl Row {
    fn new(a: &[u8], b: &[u8]) -> Result<Row, OutOfMemory> {
        let mut mask_of = [0u16; 256];
        let mut count = 0;
        for &byte in a {
            let mask = &mut mask_of[usize::from(byte)];
            if *mask == 0 {
                count += 1;
                *mask = count;
            }
        }
        let words = b.len().div_ceil(64);
        let mut masks = Vec::new();
        let masks_len = words.checked_mul(usize::from(count)).ok_or(OutOfMemory)?;
        masks.try_reserve_exact(masks_len)?;
        masks.resize(masks_len, 0u64);
        for (at, &byte) in b.iter().enumerate() {
            if let Some(mask) = mask_of[usize::from(byte)].checked_sub(1) {
                masks[usize::from(mask) * words + at / 64] |= 1 << (at % 64);
            }
        }
        let mut bits = Vec::new();
        bits.try_reserve_exact(words)?;
        bits.resize(words, u64::MAX);
        Ok(Row {
            mask_of,
            masks,
            bits,
            words,
        })
    }

    /// The row of the prefix of `a` that is longer by `byte`, which must occur in `a`.
    fn advance(&mut self, byte: u8) {
        let mask = usize::from(self.mask_of[usize::from(byte)].saturating_sub(1));
        let mask = &self.masks[mask * self.words..][..self.words];
        let mut carry = false;
        for (bits, &mask) in self.bits.iter_mut().zip(mask) {
            let (sum, over) = bits.overflowing_add(*bits & mask);
            let (sum, over_carry) = sum.overflowing_add(u64::from(carry));
            carry = over | over_carry;
            *bits = sum | (*bits & !mask);
        }
    }

    /// Appends the row, a bit set where the length grows.
    fn write(&self, rows: &mut Vec<u8>, row_bytes: usize) {
        let mut left = row_bytes;
        for bits in &self.bits {
            let bytes = (!bits).to_le_bytes();
            let len = left.min(bytes.len());
            rows.extend_from_slice(&bytes[..len]);
            left -= len;
        }
    }

    fn len(&self) -> usize {
        self.bits
            .iter()
            .map(|bits| bits.count_zeros() as usize)
            .sum()
    }
}
