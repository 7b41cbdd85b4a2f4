//! `cjson`: JSON, as Lua CJSON 2.1.0 in Redis has it.
//!
//! What is not JSON's own follows that library: numbers are written with 14 digits, a table is an array
//! if its keys are whole numbers from 1 that are not too sparse, an empty one is an object, `null` is
//! a userdata; read are also hexadecimal numbers, infinity and NaN, and a NUL ends the text.
//!
//! - Settings belong to an instance: `cjson` itself, and what `cjson.new()` makes. They are numbers that
//!   its functions share. Those of `cjson` itself are reached by [`Config`]: whoever runs scripts sets
//!   them before each, so that none sees what another has left. (Redis leaves them.)
//! - Nothing recurses: what is open stands in a list, and on Lua's stack exactly what C's has there, so
//!   that where its stack ends nesting ends at the same depth.
//! - Texts that are made are limited by the interpreter's memory and by [`TEXT_BYTES_MAX`]: a few tables
//!   in each other can stand for a text that never ends.
//!
//! Source: <https://kyne.com.au/~mark/software/lua-cjson-manual.html>.

use crate::sys::lua::{Cells, Function, Kind, Raise, Ref, Stack};
use crate::util::c_num::c_i64;

mod decode;
mod encode;

/// Longest text that is made, bytes: that of a string in a request or a reply.
pub const TEXT_BYTES_MAX: usize = 512 << 20;

// Places of the settings.
const SPARSE_CONVERT: usize = 0;
const SPARSE_RATIO: usize = 1;
const SPARSE_SAFE: usize = 2;
const ENCODE_DEPTH_MAX: usize = 3;
const ENCODE_INVALID: usize = 4;
const PRECISION: usize = 5;
const KEEP_BUFFER: usize = 6;
const DECODE_INVALID: usize = 7;
const DECODE_DEPTH_MAX: usize = 8;

/// What numbers that JSON has not become, see [`ENCODE_INVALID`]; 0: an error.
const INVALID_ON: i32 = 1;
const INVALID_NULL: i32 = 2;

const OFF_ON: &[&str] = &["off", "on"];
const OFF_ON_NULL: &[&str] = &["off", "on", "null"];

/// What the functions of an instance have been told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings(Cells);

impl Default for Settings {
    fn default() -> Settings {
        let mut cells = Cells::default();
        cells[SPARSE_RATIO] = 2;
        cells[SPARSE_SAFE] = 10;
        cells[ENCODE_DEPTH_MAX] = 1000;
        cells[PRECISION] = 14;
        cells[KEEP_BUFFER] = 1;
        cells[DECODE_INVALID] = 1;
        cells[DECODE_DEPTH_MAX] = 1000;
        Settings(cells)
    }
}

/// The settings of `cjson` itself.
#[derive(Debug)]
pub struct Config(Ref);

impl Config {
    /// What they are.
    pub fn get(&self, stack: &mut Stack<'_>) -> Settings {
        stack.push_ref(&self.0);
        let cells = stack.cells(-1);
        stack.pop(1);
        cells.map(Settings).unwrap_or_default()
    }

    /// Has them be these.
    pub fn set(&self, stack: &mut Stack<'_>, settings: Settings) {
        stack.push_ref(&self.0);
        stack.set_cells(-1, settings.0);
        stack.pop(1);
    }
}

/// Pushes the library.
pub fn open(stack: &mut Stack<'_>) -> Config {
    instance(stack)
}

/// `cjson.new()`
fn new(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let Config(kept) = instance(stack);
    stack.forget(kept);
    Ok(1)
}

/// Pushes a table of functions with settings of their own.
fn instance(stack: &mut Stack<'_>) -> Config {
    const FUNCTIONS: &[(&str, Function)] = &[
        ("encode", encode::encode),
        ("decode", decode::decode),
        ("encode_sparse_array", encode_sparse_array),
        ("encode_max_depth", |stack| {
            set_integer(stack, ENCODE_DEPTH_MAX, i32::MAX)
        }),
        ("decode_max_depth", |stack| {
            set_integer(stack, DECODE_DEPTH_MAX, i32::MAX)
        }),
        ("encode_number_precision", |stack| {
            set_integer(stack, PRECISION, 14)
        }),
        ("encode_keep_buffer", |stack| {
            set_word(stack, KEEP_BUFFER, OFF_ON)
        }),
        ("encode_invalid_numbers", |stack| {
            set_word(stack, ENCODE_INVALID, OFF_ON_NULL)
        }),
        ("decode_invalid_numbers", |stack| {
            set_word(stack, DECODE_INVALID, OFF_ON)
        }),
        ("new", new),
    ];
    // A table that grows as C's does has its entries in the same order.
    stack.push_table(0, 0);
    let table = stack.top();
    stack.push_cells(Settings::default().0);
    for &(name, function) in FUNCTIONS {
        stack.push_value(table + 1);
        stack.push_closure(function, 1);
        super::set_field(stack, table, name);
    }
    let kept = stack.keep();
    stack.push_null();
    super::set_field(stack, table, "null");
    stack.push_string("cjson");
    super::set_field(stack, table, "_NAME");
    stack.push_string("2.1.0");
    super::set_field(stack, table, "_VERSION");
    Config(kept)
}

/// The settings of the instance whose function runs.
fn settings(stack: &mut Stack<'_>) -> Cells {
    stack.push_upvalue(1);
    let cells = stack.cells(-1);
    stack.pop(1);
    cells.unwrap_or(Settings::default().0)
}

fn change(stack: &mut Stack<'_>, setting: usize, value: i32) {
    stack.push_upvalue(1);
    if let Some(mut cells) = stack.cells(-1) {
        cells[setting] = value;
        stack.set_cells(-1, cells);
    }
    stack.pop(1);
}

/// Has the stack hold so many arguments, `nil` for those that are missing.
fn expect(stack: &mut Stack<'_>, count: i32) -> Result<(), Raise> {
    if stack.top() > count {
        return Err(stack.argument_error(count + 1, "found too many arguments"));
    }
    while stack.top() < count {
        stack.push_nil();
    }
    Ok(())
}

/// A function that sets a number, and answers it.
fn set_integer(stack: &mut Stack<'_>, setting: usize, max: i32) -> Result<i32, Raise> {
    expect(stack, 1)?;
    integer(stack, 1, setting, 1, max)?;
    Ok(1)
}

/// A function that sets a word or a boolean, and answers it.
fn set_word(stack: &mut Stack<'_>, setting: usize, words: &[&str]) -> Result<i32, Raise> {
    expect(stack, 1)?;
    word(stack, 1, setting, words)?;
    Ok(1)
}

/// `cjson.encode_sparse_array(convert, ratio, safe)`
fn encode_sparse_array(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    expect(stack, 3)?;
    word(stack, 1, SPARSE_CONVERT, OFF_ON)?;
    integer(stack, 2, SPARSE_RATIO, 0, i32::MAX)?;
    integer(stack, 3, SPARSE_SAFE, 0, i32::MAX)?;
    Ok(3)
}

/// Takes a number from an argument unless it is `nil`, and pushes what is set now.
fn integer(
    stack: &mut Stack<'_>,
    argument: i32,
    setting: usize,
    min: i32,
    max: i32,
) -> Result<(), Raise> {
    if stack.kind(argument) != Kind::Nil {
        // C's library takes the lower half of it.
        let value = c_i64(stack.number_argument(argument)?) as i32;
        if !(min..=max).contains(&value) {
            let text = format!("expected integer between {min} and {max}");
            return Err(stack.argument_error(1, text));
        }
        change(stack, setting, value);
    }
    let value = settings(stack)[setting];
    stack.push_number(f64::from(value));
    Ok(())
}

/// Takes one of these words, or a boolean for the first two, from an argument unless it is `nil`, and pushes
/// what is set now.
fn word(stack: &mut Stack<'_>, argument: i32, setting: usize, words: &[&str]) -> Result<(), Raise> {
    match stack.kind(argument) {
        Kind::Nil => {}
        Kind::Boolean => {
            let value = stack.is_true(argument);
            change(stack, setting, i32::from(value));
        }
        _ => {
            stack.string_argument(argument)?;
            let given = super::c_string(stack.string(argument).unwrap_or_default()).to_vec();
            match words.iter().position(|word| word.as_bytes() == given) {
                Some(at) => change(stack, setting, at as i32),
                None => {
                    let text = [b"invalid option '", &given[..], b"'"].concat();
                    return Err(stack.argument_error(argument, text));
                }
            }
        }
    }
    match settings(stack)[setting] {
        value @ (0 | 1) => stack.push_bool(value == 1),
        value => stack.push_string(words[value as usize]),
    }
    Ok(())
}
