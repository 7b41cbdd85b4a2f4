//! LZF, the compression of inner list nodes and of strings in RDB files: weak but fast.
//!
//! The output is a sequence of runs, each behind a control byte:
//!
//! | control byte | |
//! |---|---|
//! | `000lllll` | `l + 1` bytes follow as they are |
//! | `llloooooo oooooooo`, `l` 1 to 6 | `l + 2` bytes are repeated from `o + 1` bytes back (13 bits) |
//! | `111ooooo llllllll oooooooo` | `l + 9` bytes are repeated |
//!
//! (The first byte's five `o` are the high bits.) A repetition may reach into itself. Any output
//! that follows these rules can be read by any reader, so how well [`compress`] looks for
//! repetitions is its own affair: it remembers the last place of every hash of three bytes, and loses
//! interest where there are none for long.
//!
//! Invariant: [`decompress`] may be given anything; it allocates no more than the bytes it was given
//! can stand for.

/// Longest run of literal bytes.
const LITERAL_MAX: usize = 32;
/// How far back a repetition may begin.
const DISTANCE_MAX: usize = 1 << 13;
/// Shortest and longest repetition.
const REPEAT_MIN: usize = 3;
const REPEAT_MAX: usize = 264;
/// Lengths up to here fit into the control byte.
const SHORT_REPEAT_MAX: usize = 8;
const HASH_BITS: u32 = 12;
/// Inputs up to here have places of one byte.
const SHORT_BYTES_MAX: usize = 1 << 8;
/// Inputs up to here have places of two bytes.
const LONG_BYTES_MAX: usize = 1 << 16;
/// After so many bytes without a repetition the search gets less thorough.
const SKIP_AFTER: usize = 64;

/// Appends the compressed `input` to `out`. False if that takes more than `out_bytes_max` bytes;
/// then `out` is as before.
pub fn compress(input: &[u8], out_bytes_max: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let literals = if input.len() <= SHORT_BYTES_MAX {
        compress_short(input, out_bytes_max, out)
    } else if input.len() <= LONG_BYTES_MAX {
        compress_long(input, out_bytes_max, out, [0u16; 1 << HASH_BITS])
    } else {
        compress_long(input, out_bytes_max, out, [0u32; 1 << HASH_BITS])
    };
    let bytes = out.len() - start + literals.len() + literals.len().div_ceil(LITERAL_MAX);
    if bytes > out_bytes_max {
        out.truncate(start);
        return false;
    }
    push_literals(literals, out);
    true
}

/// Strings up to [`SHORT_BYTES_MAX`], which most are: places are bytes, so that what is remembered
/// of them is quickly cleared and no index is out of bounds. Returns the literals that are left.
fn compress_short<'i>(input: &'i [u8], out_bytes_max: usize, out: &mut Vec<u8>) -> &'i [u8] {
    let mut text = [0; SHORT_BYTES_MAX + 3];
    text[..input.len()].copy_from_slice(input);
    let three_at = |at: u8| {
        let at = usize::from(at);
        three([text[at], text[at + 1], text[at + 2], text[at + 3]])
    };
    let start = out.len();
    let mut last_seen = [0u8; 256];
    let (mut at, mut literal_from) = (0, 0);
    let end = input.len().saturating_sub(REPEAT_MIN - 1);
    while at < end {
        let here = three_at(at as u8);
        let slot = &mut last_seen[(hash(here) >> 24) as usize];
        let candidate = std::mem::replace(slot, at as u8);
        // A place that was never seen is 0. One branch that is rarely taken is what makes this fast.
        if (here != three_at(candidate)) | (usize::from(candidate) >= at) {
            at = at.wrapping_add(1);
            continue;
        }
        let candidate = usize::from(candidate);
        let len = common_len(input, candidate, at);
        push_literals(&input[literal_from..at], out);
        push_repeat(at - candidate - 1, len, out);
        at += len;
        literal_from = at;
        if out.len() - start > out_bytes_max {
            break;
        }
    }
    &input[literal_from..]
}

/// Strings of any length. The longer nothing was found the fewer places are looked at.
fn compress_long<'i, P: Place>(
    input: &'i [u8],
    out_bytes_max: usize,
    out: &mut Vec<u8>,
    mut last_seen: [P; 1 << HASH_BITS],
) -> &'i [u8] {
    let start = out.len();
    let (mut at, mut literal_from, mut skip_at) = (0, 0, SKIP_AFTER);
    while let Some(&four) = input.get(at..).and_then(<[u8]>::first_chunk) {
        let here = three(four);
        let slot = &mut last_seen[(hash(here) >> (u32::BITS - HASH_BITS)) as usize];
        let candidate = std::mem::replace(slot, P::from_usize(at)).to_usize();
        let there = input.get(candidate..).and_then(<[u8]>::first_chunk);
        // Places past 4 GB wrap, so they look too far away.
        if there.is_none_or(|&four| three(four) != here)
            | (candidate >= at)
            | (at.wrapping_sub(candidate) > DISTANCE_MAX)
        {
            at = at.wrapping_add(1);
            if at > skip_at {
                at += (at - literal_from) / SKIP_AFTER;
                skip_at = at;
            }
            continue;
        }
        let len = common_len(input, candidate, at);
        push_literals(&input[literal_from..at], out);
        push_repeat(at - candidate - 1, len, out);
        at += len;
        (literal_from, skip_at) = (at, at + SKIP_AFTER);
        if out.len() - start > out_bytes_max {
            break;
        }
    }
    &input[literal_from..]
}

/// A place in the input, as it is remembered.
trait Place: Copy {
    fn from_usize(at: usize) -> Self;
    fn to_usize(self) -> usize;
}

impl Place for u16 {
    #[inline]
    fn from_usize(at: usize) -> Self {
        at as u16
    }

    #[inline]
    fn to_usize(self) -> usize {
        self.into()
    }
}

impl Place for u32 {
    #[inline]
    fn from_usize(at: usize) -> Self {
        at as u32
    }

    #[inline]
    fn to_usize(self) -> usize {
        self as usize
    }
}

/// Appends what `input` was compressed from to `out`. False if it is not valid or does not stand
/// for exactly `len` bytes; then `out` is as before.
pub fn decompress(input: &[u8], len: usize, out: &mut Vec<u8>) -> bool {
    // The best that a byte can do is a third of the longest repetition.
    if len / REPEAT_MAX > input.len() / 3 {
        return false;
    }
    let start = out.len();
    // More than there is memory for is refused, and does not end the process.
    if out.try_reserve_exact(len).is_err() {
        return false;
    }
    let valid = decompress_runs(input, start, len, out) && out.len() - start == len;
    if !valid {
        out.truncate(start);
    }
    valid
}

fn decompress_runs(mut input: &[u8], start: usize, len: usize, out: &mut Vec<u8>) -> bool {
    while let [control, rest @ ..] = input {
        let control = usize::from(*control);
        if control < LITERAL_MAX {
            let Some((literals, rest)) = rest.split_at_checked(control + 1) else {
                return false;
            };
            out.extend_from_slice(literals);
            input = rest;
        } else {
            let (repeat_len, rest) = match (control >> 5, rest) {
                (7, [more, rest @ ..]) => (usize::from(*more) + 9, rest),
                (short, rest) => (short + 2, rest),
            };
            let [low, rest @ ..] = rest else {
                return false;
            };
            let distance = ((control & 0x1F) << 8 | usize::from(*low)) + 1;
            if distance > out.len() - start {
                return false;
            }
            repeat(out, distance, repeat_len);
            input = rest;
        }
        if out.len() - start > len {
            return false;
        }
    }
    true
}

/// Appends `len` bytes from `distance` back, which may be among those that are appended.
fn repeat(out: &mut Vec<u8>, distance: usize, mut len: usize) {
    let from = out.len() - distance;
    while len > 0 {
        // What was repeated once can be repeated together with what it repeats.
        let now = len.min(out.len() - from);
        out.extend_from_within(from..from + now);
        len -= now;
    }
}

/// The first three of four bytes, as a number.
#[inline]
fn three(four: [u8; 4]) -> u32 {
    u32::from_le_bytes(four) << 8
}

/// Knuth's multiplicative hash; the top bits are the mixed ones.
#[inline]
fn hash(three: u32) -> u32 {
    three.wrapping_mul(0x9E37_79B1)
}

/// How many bytes at `at` are the same as those at `from`, as far as one run can repeat.
fn common_len(input: &[u8], from: usize, at: usize) -> usize {
    let (a, b) = (&input[from..], &input[at..]);
    a.iter()
        .zip(b)
        .take(REPEAT_MAX)
        .take_while(|(a, b)| a == b)
        .count()
}

fn push_literals(bytes: &[u8], out: &mut Vec<u8>) {
    for run in bytes.chunks(LITERAL_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

/// `back`: distance minus 1.
fn push_repeat(back: usize, len: usize, out: &mut Vec<u8>) {
    let high = (back >> 8) as u8;
    if len <= SHORT_REPEAT_MAX {
        out.push((len as u8 - 2) << 5 | high);
    } else {
        out.extend_from_slice(&[7 << 5 | high, (len - 9) as u8]);
    }
    out.push(back as u8);
}

#[cfg(test)]
mod tests;
