//! `bit`: operations on 32-bit integers, as Lua BitOp 1.0.2 has them.
//!
//! A number is taken modulo 2^32 and rounded to the nearest whole one (adding 1.5 * 2^52 puts it into the
//! low bits of a double). Results are signed.
//!
//! Source: <https://bitop.luajit.org/semantics.html>.

use crate::sys::lua::{Function, Kind, Raise, Stack};

/// Pushes the library.
pub fn open(stack: &mut Stack<'_>) {
    const FUNCTIONS: &[(&str, Function)] = &[
        ("tobit", |stack| map(stack, |bits| bits)),
        ("bnot", |stack| map(stack, |bits| !bits)),
        ("bswap", |stack| map(stack, u32::swap_bytes)),
        ("band", |stack| fold(stack, |one, other| one & other)),
        ("bor", |stack| fold(stack, |one, other| one | other)),
        ("bxor", |stack| fold(stack, |one, other| one ^ other)),
        ("lshift", |stack| shift(stack, |bits, by| bits << by)),
        ("rshift", |stack| shift(stack, |bits, by| bits >> by)),
        ("arshift", |stack| {
            shift(stack, |bits, by| (bits as i32 >> by) as u32)
        }),
        ("rol", |stack| shift(stack, u32::rotate_left)),
        ("ror", |stack| shift(stack, u32::rotate_right)),
        ("tohex", tohex),
    ];
    super::push_library(stack, FUNCTIONS, |stack, _, function| {
        stack.push_wide_function(function)
    });
}

/// An argument.
fn bits(stack: &mut Stack<'_>, argument: i32) -> Result<u32, Raise> {
    const TO_LOW_BITS: f64 = 6_755_399_441_055_744.0;
    let number = stack.number_argument(argument)?;
    Ok((number + TO_LOW_BITS).to_bits() as u32)
}

fn push(stack: &mut Stack<'_>, bits: u32) -> Result<i32, Raise> {
    stack.push_number(f64::from(bits as i32));
    Ok(1)
}

/// A function of one number.
fn map(stack: &mut Stack<'_>, work: fn(u32) -> u32) -> Result<i32, Raise> {
    let value = bits(stack, 1)?;
    push(stack, work(value))
}

/// A function of one number and more.
fn fold(stack: &mut Stack<'_>, work: fn(u32, u32) -> u32) -> Result<i32, Raise> {
    let mut value = bits(stack, 1)?;
    for argument in (2..=stack.top()).rev() {
        value = work(value, bits(stack, argument)?);
    }
    push(stack, value)
}

/// A function of a number and how far to move it, modulo 32.
fn shift(stack: &mut Stack<'_>, work: fn(u32, u32) -> u32) -> Result<i32, Raise> {
    let value = bits(stack, 1)?;
    let by = bits(stack, 2)? & 31;
    push(stack, work(value, by))
}

/// `bit.tohex(x, n)`: the last `n` digits, capital ones if it is negative.
fn tohex(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let value = bits(stack, 1)?;
    let digits = match stack.kind(2) {
        Kind::None => 8,
        _ => bits(stack, 2)? as i32,
    };
    let text = match digits < 0 {
        true => format!("{value:08X}"),
        false => format!("{value:08x}"),
    };
    let len = digits.unsigned_abs().min(8) as usize;
    stack.push_string(&text[8 - len..]);
    Ok(1)
}
