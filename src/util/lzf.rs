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
//! repetitions is its own affair: it remembers the last place of every hash of three bytes.
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

/// Appends the compressed `input` to `out`. False if that takes more than `out_bytes_max` bytes;
/// then `out` is as before.
pub fn compress(input: &[u8], out_bytes_max: usize, out: &mut Vec<u8>) -> bool {
    let out_start = out.len();
    // Positions are kept as `position + 1`; 0 is none. Those past 4 GB wrap, so they look too far
    // away and are not repeated.
    let mut last_seen = [0u32; 1 << HASH_BITS];
    let (mut at, mut literal_from) = (0, 0);
    while at + REPEAT_MIN <= input.len() {
        let slot = &mut last_seen[hash([input[at], input[at + 1], input[at + 2]])];
        let candidate = std::mem::replace(slot, (at + 1) as u32) as usize;
        let len = match candidate {
            0 => 0,
            candidate if candidate > at || at - (candidate - 1) > DISTANCE_MAX => 0,
            candidate => common_len(input, candidate - 1, at),
        };
        if len < REPEAT_MIN {
            at += 1;
            continue;
        }
        push_literals(&input[literal_from..at], out);
        push_repeat(at - candidate, len, out);
        at += len;
        literal_from = at;
        if out.len() - out_start > out_bytes_max {
            break;
        }
    }
    if out.len() - out_start <= out_bytes_max {
        push_literals(&input[literal_from..], out);
    }
    if out.len() - out_start > out_bytes_max {
        out.truncate(out_start);
        return false;
    }
    true
}

/// Appends what `input` was compressed from to `out`. False if it is not valid or does not stand
/// for exactly `len` bytes; then `out` is as before.
pub fn decompress(input: &[u8], len: usize, out: &mut Vec<u8>) -> bool {
    // The best that a byte can do is a third of the longest repetition.
    if len / REPEAT_MAX > input.len() / 3 {
        return false;
    }
    let start = out.len();
    out.reserve(len);
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

fn hash([a, b, c]: [u8; 3]) -> usize {
    let bytes = u32::from_le_bytes([a, b, c, 0]);
    // Knuth's multiplicative hash; the top bits are the mixed ones.
    (bytes.wrapping_mul(0x9E37_79B1) >> (u32::BITS - HASH_BITS)) as usize
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
