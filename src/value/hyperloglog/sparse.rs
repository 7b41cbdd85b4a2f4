//! Registers as runs of equal ones.
//!
//! ```text
//! 00nnnnnn           zeros, n + 1 of them (1 to 64)
//! 01nnnnnn nnnnnnnn  zeros, n + 1 of them (1 to 16384)
//! 1vvvvvnn           registers that are v + 1 (1 to 32), n + 1 of them (1 to 4)
//! ```
//!
//! A register is raised by replacing its run by up to three others; then the runs around it that have
//! become equal are put together, as far as Redis looks. Most of the time goes into finding the run:
//! eight bytes are passed over at a time, whatever runs they are.
//!
//! Invariants: an index is found where Redis finds it, also in runs that do not make up all registers;
//! a half run at the end counts as if a zero followed, which Redis finds there, too, but is never
//! replaced.

use std::fmt::Write as _;

use super::{Corrupt, HEADER_BYTES, Histogram, Place, REGISTERS, Registers, VALUES};
use crate::ds::buf::Buf;

/// Longest run of zeros that one byte says.
const SHORT_ZEROS_MAX: usize = 64;
/// Highest value of a run.
const VALUE_MAX: u8 = 32;
/// Longest run of registers that are not zero.
const VALUES_MAX: usize = 4;
/// How many runs Redis looks at to put equal ones together.
const MERGED_RUNS_MAX: usize = 5;

/// A run and the index of its first register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    at: usize,
    first: usize,
}

impl Mark {
    /// The first run.
    pub const START: Mark = Mark { at: 0, first: 0 };
}

/// What raising a register came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Raised {
    /// It was as high already.
    No,
    /// It is raised.
    Yes,
    /// Runs cannot say it, or would be too long; nothing has changed.
    NoRoom,
}

/// A run: how many registers have this value, and how many bytes say so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    len: usize,
    value: u8,
    bytes: usize,
}

/// The run at `at`, which is inside.
#[inline]
fn run(runs: &[u8], at: usize) -> Run {
    let first = runs[at];
    let (len, value, bytes) = match first >> 6 {
        0 => (usize::from(first & 0x3F), 0, 1),
        1 => {
            let low = runs.get(at + 1).copied().unwrap_or_default();
            (usize::from(first & 0x3F) << 8 | usize::from(low), 0, 2)
        }
        _ => (usize::from(first & 0x03), (first >> 2 & 0x1F) + 1, 1),
    };
    Run {
        len: len + 1,
        value,
        bytes,
    }
}

/// All runs in their order.
fn iter(runs: &[u8]) -> impl Iterator<Item = Run> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let next = (at < runs.len()).then(|| run(runs, at))?;
        at += next.bytes;
        Some(next)
    })
}

/// How many registers have each value.
pub(super) fn histogram(runs: &[u8]) -> Result<Histogram, Corrupt> {
    let (mut histogram, mut total) = ([0; VALUES], 0);
    for run in iter(runs) {
        total += run.len;
        if total > REGISTERS {
            return Err(Corrupt);
        }
        histogram[usize::from(run.value)] += run.len as u32;
    }
    match total == REGISTERS {
        true => Ok(histogram),
        false => Err(Corrupt),
    }
}

/// Raises registers to those of the runs; some have been, if these are corrupt.
pub(super) fn raise(registers: &mut Registers, runs: &[u8]) -> Result<(), Corrupt> {
    let mut rest = &mut registers[..];
    for run in iter(runs) {
        let (these, others) = rest.split_at_mut_checked(run.len).ok_or(Corrupt)?;
        if run.value > 0 {
            for register in these {
                *register = (*register).max(run.value);
            }
        }
        rest = others;
    }
    match rest.is_empty() {
        true => Ok(()),
        false => Err(Corrupt),
    }
}

/// The runs as PFDEBUG DECODE shows them.
pub(super) fn describe(runs: &[u8]) -> String {
    let mut text = String::new();
    for run in iter(runs) {
        if !text.is_empty() {
            text.push(' ');
        }
        // Writing to a string does not fail.
        let _ = match (run.value, run.bytes) {
            (0, 1) => write!(text, "z:{}", run.len),
            (0, _) => write!(text, "Z:{}", run.len),
            (value, _) => write!(text, "v:{value},{}", run.len),
        };
    }
    text
}

/// A run and the one before.
#[derive(Clone, Copy)]
struct Found {
    before: Option<Mark>,
    here: Mark,
    run: Run,
}

/// The run of a register, sought from a run that is not behind it.
#[inline]
fn find(runs: &[u8], index: usize, from: Mark) -> Result<Found, Corrupt> {
    // Where the runs of the last step began, and where those begin that are left.
    let (mut stepped, mut here) = (None, from);
    while let Some(bytes) = runs.get(here.at..).and_then(|rest| rest.first_chunk()) {
        let step = Step::of(u64::from_le_bytes(*bytes));
        if here.first + step.registers > index {
            break;
        }
        stepped = Some(here);
        here = Mark {
            at: here.at + step.bytes,
            first: here.first + step.registers,
        };
    }
    let (mut before, start) = (None, here.at);
    while here.at < runs.len() {
        let run = run(runs, here.at);
        if index < here.first + run.len {
            if here.at == start {
                before = stepped.map(|stepped| last_before(runs, stepped, start));
            }
            return Ok(Found { before, here, run });
        }
        before = Some(here);
        here = Mark {
            at: here.at + run.bytes,
            first: here.first + run.len,
        };
    }
    Err(Corrupt)
}

/// The last run that begins in front of `end`, where another one begins.
fn last_before(runs: &[u8], mut here: Mark, end: usize) -> Mark {
    loop {
        let run = run(runs, here.at);
        let next = Mark {
            at: here.at + run.bytes,
            first: here.first + run.len,
        };
        if next.at >= end {
            return here;
        }
        here = next;
    }
}

/// The runs that make up the first seven or eight of eight bytes.
struct Step {
    bytes: usize,
    registers: usize,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = ONES << 7;
const LENS: u64 = ONES * 0x3F;

impl Step {
    /// The first byte begins a run. All eight are looked at together: what kind of run each byte would
    /// begin, then which do, since the one behind a long run's first byte does not, whatever it is.
    #[inline]
    fn of(bytes: u64) -> Step {
        // Bits are told apart by the top bit of their byte.
        let values = bytes & TOPS;
        let longs = !bytes & bytes << 1 & TOPS;
        // Of a run that is not zero only the lowest two of the six bits are a length.
        let lens = bytes & LENS & !((values >> 7) * 0x3C);
        if longs == 0 {
            return Step {
                bytes: 8,
                registers: sum(lens) + 8,
            };
        }
        let longs = gathered(longs);
        let (starts, width) = STARTS[usize::from(longs)];
        let begin_long = spread(starts & longs);
        let short = lens & spread(starts) & !begin_long;
        let low = bytes & begin_long << 8;
        Step {
            bytes: usize::from(width),
            registers: sum(short | low)
                + (sum(lens & begin_long) << 8)
                + starts.count_ones() as usize,
        }
    }
}

/// Which of eight bytes begin runs that end within them, and how many bytes these are, by which look
/// like the first of a long run.
const STARTS: [(u8, u8); 256] = {
    let mut all = [(0, 0); 256];
    let mut longs = 0;
    while longs < all.len() {
        let (mut starts, mut at) = (0, 0);
        while at < 8 {
            let len = 1 + (longs >> at & 1);
            if at + len > 8 {
                break;
            }
            starts |= 1 << at;
            at += len;
        }
        all[longs] = (starts, at as u8);
        longs += 1;
    }
    all
};

/// The top bits of eight bytes, the first byte's as the lowest.
#[inline]
fn gathered(tops: u64) -> u8 {
    ((tops >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

/// The opposite: bytes that are all ones where the bit is set.
#[inline]
fn spread(bits: u8) -> u64 {
    let apart = (u64::from(bits) * ONES) & 0x8040_2010_0804_0201;
    (((apart + ONES * 0x7F) & TOPS) >> 7) * 0xFF
}

/// The sum of eight bytes.
#[inline]
fn sum(bytes: u64) -> usize {
    const EVEN: u64 = 0x00FF_00FF_00FF_00FF;
    let pairs = (bytes & EVEN) + (bytes >> 8 & EVEN);
    (pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize
}

/// What takes the place of one run.
struct Replacement {
    bytes: [u8; 5],
    len: usize,
}

impl Replacement {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// Some registers of one value; nothing if there are none.
    fn push_run(&mut self, value: u8, len: usize) {
        let Some(rest) = len.checked_sub(1) else {
            return;
        };
        if value > 0 {
            self.push(value_run(value, len));
        } else if len > SHORT_ZEROS_MAX {
            self.push((rest >> 8) as u8 | 0x40);
            self.push(rest as u8);
        } else {
            self.push(rest as u8);
        }
    }
}

/// The byte of a run of registers that are not zero.
#[inline]
fn value_run(value: u8, len: usize) -> u8 {
    (value - 1) << 2 | (len - 1) as u8 | 0x80
}

/// Raises a register, see [`super::add`].
#[inline]
pub(super) fn raise_one(
    value: &mut impl Buf,
    place: Place,
    bytes_max: u64,
    mark: &mut Mark,
) -> Result<Raised, Corrupt> {
    let Place { index, rank } = place;
    let runs = super::runs(value.bytes());
    if rank > VALUE_MAX {
        return Ok(Raised::NoRoom);
    }
    let mut found = find(runs, index, *mark)?;
    if found.before.is_none() && *mark != Mark::START {
        // The run before it is wanted, too.
        found = find(runs, index, Mark::START)?;
    }
    let Found { before, here, run } = found;
    *mark = before.unwrap_or(Mark::START);
    if run.value >= rank {
        return Ok(Raised::No);
    }
    let mut new = Replacement {
        bytes: [0; 5],
        len: 0,
    };
    new.push_run(run.value, index - here.first);
    new.push_run(rank, 1);
    new.push_run(run.value, here.first + run.len - index - 1);
    let old_bytes = value.bytes().len();
    let new_bytes = old_bytes + new.len - run.bytes.min(old_bytes);
    if new_bytes > old_bytes && new_bytes as u64 > bytes_max {
        return Ok(Raised::NoRoom);
    }
    if here.at + run.bytes > runs.len() {
        return Err(Corrupt);
    }
    value.splice(HEADER_BYTES + here.at, run.bytes, &new.bytes[..new.len]);
    join_equal(value, mark.at);
    Ok(Raised::Yes)
}

/// Puts neighbouring runs of one value together, from `at` on, if one run can say both.
fn join_equal(value: &mut impl Buf, mut at: usize) {
    for _ in 0..MERGED_RUNS_MAX {
        let runs = super::runs(value.bytes());
        if at >= runs.len() {
            return;
        }
        let here = run(runs, at);
        if here.value > 0 && at + 1 < runs.len() {
            let next = run(runs, at + 1);
            let len = here.len + next.len;
            if here.value == next.value && len <= VALUES_MAX {
                value.splice(HEADER_BYTES + at, 2, &[value_run(here.value, len)]);
                continue;
            }
        }
        at += here.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn a_step_is_its_runs_one_by_one() {
        let mut rng = Rng::from_seed(1);
        for _ in 0..100_000 {
            // Of each kind in turn there are many.
            let mask = [0xFF, 0x7F, 0xBF][rng.index(3)];
            let bytes: [u8; 8] = std::array::from_fn(|_| rng.next_u64() as u8 & mask);
            let (mut at, mut registers) = (0, 0);
            while at < bytes.len() {
                let run = run(&bytes, at);
                if at + run.bytes > bytes.len() {
                    break;
                }
                at += run.bytes;
                registers += run.len;
            }
            let step = Step::of(u64::from_le_bytes(bytes));
            assert_eq!((step.bytes, step.registers), (at, registers), "{bytes:x?}");
        }
    }
}
