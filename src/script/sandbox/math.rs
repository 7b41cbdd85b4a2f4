//! `math.random` and `math.randomseed` with Redis's generator: the 48 bits of `drand48`, of which 31 are
//! used. What one script has seeded another does not see: each begins with a seed of its own ([`seed`]).
//! And `os.clock`.

use crate::script::lib::arguments::int;
use crate::sys::lua::{Raise, Stack, State};
use crate::sys::process::{CpuOf, cpu_times};

use super::{set, set_functions};

const MULTIPLIER: u64 = 0x5_DEEC_E66D;
const INCREMENT: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
/// What follows 32 bits of seed.
const SEED_LOW: u64 = 0x330E;
/// The number that 31 bits are taken modulo of.
const RANDOM_MAX: i32 = i32::MAX;

pub(super) fn open(stack: &mut Stack<'_>, library: i32) {
    set_functions(
        stack,
        library,
        &[("random", random), ("randomseed", randomseed)],
    );
}

/// Begins the numbers of the next script.
#[inline]
pub fn seed(state: &mut State, seed: u64) {
    state.stack().set_word(seed & MASK);
}

/// The next 31 bits.
fn draw(stack: &mut Stack<'_>) -> i32 {
    let next = stack
        .word()
        .wrapping_mul(MULTIPLIER)
        .wrapping_add(INCREMENT)
        & MASK;
    stack.set_word(next);
    (next >> 17) as i32
}

fn random(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let part = f64::from(draw(stack) % RANDOM_MAX) / f64::from(RANDOM_MAX);
    let number = match stack.top() {
        0 => part,
        1 => {
            let last = int(stack, 1)?;
            if last < 1 {
                return Err(stack.argument_error(1, "interval is empty"));
            }
            (part * f64::from(last)).floor() + 1.0
        }
        2 => {
            let (first, last) = (int(stack, 1)?, int(stack, 2)?);
            if first > last {
                return Err(stack.argument_error(2, "interval is empty"));
            }
            let count = last.wrapping_sub(first).wrapping_add(1);
            (part * f64::from(count)).floor() + f64::from(first)
        }
        _ => return Err(stack.error("wrong number of arguments")),
    };
    stack.push_number(number);
    Ok(1)
}

fn randomseed(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let seed = int(stack, 1)? as u32;
    stack.set_word(u64::from(seed) << 16 | SEED_LOW);
    Ok(0)
}

/// Pushes the only table of functions about the system.
pub(super) fn push_os(stack: &mut Stack<'_>) {
    stack.push_table(0, 1);
    stack.push_function(clock);
    set(stack, -2, "clock");
}

fn clock(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let times = cpu_times(CpuOf::Process);
    stack.push_number((times.user + times.system).as_secs_f64());
    Ok(1)
}
