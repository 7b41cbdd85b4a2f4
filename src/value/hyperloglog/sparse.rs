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
//! eight runs are passed over at a time while each is one byte long, four where few elements are spread
//! over long runs of zeros.
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
/// Runs that are passed over at a time.
const STEP: usize = 8;

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
    let (mut before, mut here) = (None, from);
    loop {
        // With few elements nearly all runs are these two in turns.
        while let Some([first, second]) = zeros_and_values(runs, here.at) {
            let total = first.0 + first.1 + second.0 + second.1;
            if here.first + total > index {
                break;
            }
            before = Some(Mark {
                at: here.at + 5,
                first: here.first + total - second.1,
            });
            here = Mark {
                at: here.at + 6,
                first: here.first + total,
            };
        }
        while let Some(step) = runs.get(here.at..).and_then(|rest| rest.first_chunk()) {
            let Some(total) = registers_of_bytes(u64::from_le_bytes(*step)) else {
                break;
            };
            if here.first + total > index {
                break;
            }
            let last = run(runs, here.at + STEP - 1);
            before = Some(Mark {
                at: here.at + STEP - 1,
                first: here.first + total - last.len,
            });
            here = Mark {
                at: here.at + STEP,
                first: here.first + total,
            };
        }
        if here.at >= runs.len() {
            return Err(Corrupt);
        }
        let run = run(runs, here.at);
        if index < here.first + run.len {
            return Ok(Found { before, here, run });
        }
        before = Some(here);
        here = Mark {
            at: here.at + run.bytes,
            first: here.first + run.len,
        };
    }
}

/// The lengths of a long run of zeros and of the run behind it, which is not zero, and of two more, if
/// such stand here.
#[inline]
fn zeros_and_values(runs: &[u8], at: usize) -> Option<[(usize, usize); 2]> {
    const KINDS: u64 = 0x8000_C080_00C0;
    const THESE: u64 = 0x8000_4080_0040;
    let bytes = u64::from_le_bytes(*runs.get(at..)?.first_chunk()?);
    let lens = |pair: u64| {
        let zeros = ((pair & 0x3F) << 8) | ((pair >> 8) & 0xFF);
        (zeros as usize + 1, (pair >> 16 & 0x03) as usize + 1)
    };
    (bytes & KINDS == THESE).then(|| [lens(bytes), lens(bytes >> 24)])
}

/// How many registers eight runs make up, if each of the bytes is one.
#[inline]
fn registers_of_bytes(bytes: u64) -> Option<usize> {
    const TOPS: u64 = 0x8080_8080_8080_8080;
    const EVEN: u64 = 0x00FF_00FF_00FF_00FF;
    if !bytes & bytes << 1 & TOPS != 0 {
        return None;
    }
    // A set top bit becomes 0x3C: of a value only the lowest two of the six bits are a length.
    let values = (bytes & TOPS) >> 7;
    let no_length = values << 2 | values << 3 | values << 4 | values << 5;
    let lens = bytes & 0x3F3F_3F3F_3F3F_3F3F & !no_length;
    let pairs = (lens & EVEN) + (lens >> 8 & EVEN);
    let sum = pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48;
    Some(sum as usize + STEP)
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
