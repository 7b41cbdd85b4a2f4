//! Functions of Lua's base library that are ours: code is loaded as text only, ranges are checked, no
//! setting of the collector outlives a script, and what handles errors can be ended.

use std::ffi::CString;

use crate::script::lib::arguments::{expect, expect_any, int_or, is_given};
use crate::sys::lua::{CallError, Kind, Raise, Stack};

use super::{front, set, set_functions};

/// Most values on the stack of a function (Lua's `LUAI_MAXCSTACK`).
const VALUES_MAX: i64 = 8000;
/// Longest source that `load` takes from a function, bytes: nothing bounds it but memory that nobody counts.
const LOAD_BYTES_MAX: usize = 16 << 20;

/// What a coroutine costs.
const COROUTINE_STEPS: usize = 1_000;
/// How often an error handler may fail in a row: about as often as Lua has room for.
const HANDLED_MAX: u32 = 190;
/// What compiled code begins with: it is refused, whatever follows.
const COMPILED: u8 = 0x1b;

pub(super) fn open(stack: &mut Stack<'_>, globals: i32) {
    front::open_base(stack, globals);
    set_functions(
        stack,
        globals,
        &[
            ("collectgarbage", collectgarbage),
            ("load", load),
            ("loadstring", loadstring),
            ("unpack", unpack),
            ("xpcall", xpcall),
        ],
    );
}

/// Puts functions that say what they cost before those that make coroutines.
pub(super) fn open_coroutines(stack: &mut Stack<'_>, library: i32) {
    for name in ["create", "wrap"] {
        stack.raw_get_name(library, name);
        stack.push_closure(create, 1);
        set(stack, library, name);
    }
}

/// Each coroutine has instructions of its own until its first tick: making many must not go unnoticed.
fn create(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.kind(1) != Kind::Function || stack.is_native(1) {
        return Err(stack.argument_error(1, "Lua function expected"));
    }
    stack.spend(COROUTINE_STEPS)?;
    stack.set_top(1);
    stack.push_upvalue(1);
    stack.insert(1);
    stack.call(1, 1, None).map_err(|_| Raise)?;
    Ok(1)
}

/// As Lua's, but that the handler runs behind the error, not within: there no instruction is counted if it
/// was a tick that has raised it, and a handler could go on for ever.
fn xpcall(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    expect_any(stack, 2)?;
    stack.set_top(2);
    stack.insert(1);
    // What happened, the handler, the function: there may be no room for more behind the call.
    stack.push_bool(true);
    stack.insert(1);
    let mut called = stack.call(0, -1, None);
    let is_right = called.is_ok();
    let mut handled = 0;
    while called == Err(CallError::Runtime) {
        if handled == HANDLED_MAX || stack.kind(2) != Kind::Function {
            stack.pop(1);
            stack.push_string("error in error handling");
            break;
        }
        // Its own errors are its own to handle.
        handled += 1;
        stack.push_value(2);
        stack.insert(-2);
        called = stack.call(1, 1, None);
    }
    stack.remove(2);
    if !is_right {
        stack.push_bool(false);
        stack.replace(1);
    }
    Ok(stack.top())
}

fn unpack(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    expect(stack, 1, Kind::Table)?;
    let first = int_or(stack, 2, 1)?;
    let length = stack.len(1) as i32;
    let last = int_or(stack, 3, length)?;
    if first > last {
        return Ok(0);
    }
    let count = i64::from(last) - i64::from(first) + 1;
    if i64::from(stack.top()) + count > VALUES_MAX {
        return Err(stack.error("too many results to unpack"));
    }
    stack.reserve((count as usize).saturating_sub(4))?;
    for index in first..=last {
        stack.raw_get_index(1, index);
    }
    Ok(count as i32)
}

fn loadstring(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    stack.string_argument(1)?;
    let name = match is_given(stack, 2) {
        true => {
            stack.string_argument(2)?;
            c_string(stack.string(2))
        }
        false => c_string(stack.string(1)),
    };
    let loaded = stack.with_string(1, |stack, source| stack.load(source, &name));
    finish_load(stack, loaded.unwrap_or(Err(Raise)))
}

fn load(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let name = match is_given(stack, 2) {
        true => {
            stack.string_argument(2)?;
            c_string(stack.string(2))
        }
        false => c"=(load)".to_owned(),
    };
    expect(stack, 1, Kind::Function)?;
    stack.set_top(1);
    // The compiler does not run while the function does: it would not live through a collection.
    let loaded = read_source(stack).and_then(|source| stack.load(&source, &name));
    finish_load(stack, loaded)
}

/// What function 1 returns, piece by piece.
fn read_source(stack: &mut Stack<'_>) -> Result<Vec<u8>, Raise> {
    let mut source = Vec::new();
    loop {
        stack.spend(100)?;
        stack.push_value(1);
        stack.call(0, 1, None).map_err(|_| Raise)?;
        if stack.kind(-1) == Kind::Nil {
            return Ok(source);
        }
        if !stack.make_string(-1) {
            return Err(stack.error("reader function must return a string"));
        }
        let piece = stack.string(-1).unwrap_or_default();
        if piece.is_empty() {
            return Ok(source);
        }
        if source.len() + piece.len() > LOAD_BYTES_MAX {
            stack.push_string("not enough memory");
            return Err(Raise);
        }
        source.extend_from_slice(piece);
        stack.pop(1);
        if source[0] == COMPILED {
            return Ok(source);
        }
    }
}

/// The results of `load`: the function on top, or `nil` and the error on top.
fn finish_load(stack: &mut Stack<'_>, loaded: Result<(), Raise>) -> Result<i32, Raise> {
    match loaded {
        Ok(()) => Ok(1),
        Err(Raise) => {
            stack.push_nil();
            stack.insert(-2);
            Ok(2)
        }
    }
}

/// What C takes a string for.
fn c_string(bytes: Option<&[u8]>) -> CString {
    let bytes = bytes.unwrap_or_default();
    let end = bytes.iter().position(|&byte| byte == 0);
    CString::new(&bytes[..end.unwrap_or(bytes.len())]).unwrap_or_default()
}

/// What changes how the collector works changes nothing, since it would for those who come after.
fn collectgarbage(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if is_given(stack, 1) {
        stack.string_argument(1)?;
    }
    let option = stack.string(1).unwrap_or(b"collect").to_vec();
    let option = &option[..];
    let known: [&[u8]; 7] = [
        b"stop",
        b"restart",
        b"collect",
        b"count",
        b"step",
        b"setpause",
        b"setstepmul",
    ];
    if !known.contains(&option) {
        let text = [b"invalid option '", option, b"'"].concat();
        return Err(stack.argument_error(1, text));
    }
    let size = int_or(stack, 2, 0)?;
    // All that is in use is looked at, which is no instruction of the script's.
    stack.spend(1_000)?;
    match option {
        b"collect" => {
            let bytes = stack.used_bytes();
            stack.spend(bytes / 64)?;
            stack.collect_garbage();
            stack.push_number(0.0);
        }
        b"count" => {
            let bytes = stack.used_bytes();
            stack.push_number(bytes as f64 / 1024.0);
        }
        b"step" => {
            let is_finished = stack.collect_some_garbage(size);
            stack.push_bool(is_finished);
        }
        b"setpause" | b"setstepmul" => stack.push_number(200.0),
        _ => stack.push_number(0.0),
    }
    Ok(1)
}
