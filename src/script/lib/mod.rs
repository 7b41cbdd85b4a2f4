//! Libraries that scripts find loaded. Each has `pub fn open(stack: &mut Stack<'_>)`, which pushes its
//! table; what it does is Redis's, with limits on depth and sizes.
//!
//! A function that takes arguments as C's does (`luaL_check...`) finds them by `Stack::number_argument` and its
//! like, and checks them in the same order: scripts see the texts.

use crate::sys::lua::{Function, Stack};

pub mod arguments;
pub mod bit;
pub mod cjson;
pub mod cmsgpack;
pub mod pattern;
pub mod structs;
#[cfg(test)]
mod tests;

/// Sets a field of a library's table to the value on top; takes it.
fn set_field(stack: &mut Stack<'_>, table: i32, name: &str) {
    let done = stack.raw_set_name(table, name);
    debug_assert!(done.is_ok(), "a library is made before memory is used");
}

/// Pushes a library's table with its functions, which `push` pushes by their names.
fn push_library(
    stack: &mut Stack<'_>,
    functions: &[(&str, Function)],
    push: impl Fn(&mut Stack<'_>, &str, Function),
) {
    stack.push_table(0, functions.len());
    let table = stack.top();
    for &(name, function) in functions {
        push(stack, name, function);
        set_field(stack, table, name);
    }
}

/// What C sees of a string: all before the first NUL.
fn c_string(bytes: &[u8]) -> &[u8] {
    match memchr::memchr(0, bytes) {
        Some(end) => &bytes[..end],
        None => bytes,
    }
}
