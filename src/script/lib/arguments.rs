//! Arguments of functions that scripts call, taken as Lua's own libraries take them, with the same errors.

use crate::sys::lua::{Kind, Raise, Stack};

/// Of this kind, whatever it is.
pub fn expect(stack: &mut Stack<'_>, argument: i32, kind: Kind) -> Result<(), Raise> {
    match stack.kind(argument) == kind {
        true => Ok(()),
        false => Err(stack.type_error(argument, kind.name())),
    }
}

/// Any value, `nil` included.
pub fn expect_any(stack: &mut Stack<'_>, argument: i32) -> Result<(), Raise> {
    match stack.kind(argument) {
        Kind::None => Err(stack.argument_error(argument, "value expected")),
        _ => Ok(()),
    }
}

/// Whether there is such an argument, which may be left out by being `nil`, too.
pub fn is_given(stack: &Stack<'_>, argument: i32) -> bool {
    !matches!(stack.kind(argument), Kind::None | Kind::Nil)
}

/// A number as `luaL_checkinteger` has it.
pub fn integer(stack: &mut Stack<'_>, argument: i32) -> Result<i64, Raise> {
    stack.number_argument(argument).map(to_integer)
}

/// A number as `luaL_checkint` has it: the lower half of the integer.
pub fn int(stack: &mut Stack<'_>, argument: i32) -> Result<i32, Raise> {
    Ok(integer(stack, argument)? as i32)
}

/// The same, or `default` if it is not given.
pub fn int_or(stack: &mut Stack<'_>, argument: i32, default: i32) -> Result<i32, Raise> {
    match is_given(stack, argument) {
        true => int(stack, argument),
        false => Ok(default),
    }
}

/// What a C compiler makes of the conversion on x86-64: there is one integer for all that is none.
fn to_integer(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    match (-LIMIT..LIMIT).contains(&number) {
        true => number as i64,
        false => i64::MIN,
    }
}
