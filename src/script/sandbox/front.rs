//! Fronts: what scripts see of tables that they cannot change, see [`super`].

use crate::script::lib::arguments::{expect, expect_any};
use crate::sys::lua::{Kind, Raise, Stack};

use super::{set, set_functions};

/// What every attempt to change a front says.
const READONLY: &str = "Attempt to modify a readonly table";

/// Keys that no script can name.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Hidden {
    /// In a front's metatable: the real table.
    Real,
    /// In the registry: a table from real tables to their fronts.
    Fronts,
}

/// Prepares the interpreter for fronts.
pub(super) fn open(stack: &mut Stack<'_>) {
    stack.push_registry();
    stack.push_hidden(Hidden::Fronts as u8);
    stack.push_table(0, 16);
    raw_set(stack, -3);
    stack.pop(1);
}

/// Replaces the table on top by its front, the same one each time.
pub fn make_front(stack: &mut Stack<'_>) {
    if push_front(stack, -1) {
        stack.remove(-2);
        return;
    }
    let real = stack.top();
    stack.push_table(0, 0);
    stack.push_table(0, 3);
    stack.push_value(real);
    set(stack, -2, "__index");
    stack.push_function(refuse_change);
    set(stack, -2, "__newindex");
    stack.push_hidden(Hidden::Real as u8);
    stack.push_value(real);
    raw_set(stack, -3);
    stack.set_metatable(-2);
    note_front(stack, real);
    stack.remove(real);
}

/// Makes undefined variables an error in the table on top, which stays.
pub fn refuse_unknown(stack: &mut Stack<'_>) {
    stack.push_table(0, 1);
    stack.push_function(refuse_access);
    set(stack, -2, "__index");
    stack.push_value(-1);
    make_front(stack);
    stack.pop(1);
    stack.set_metatable(-2);
}

/// Puts fronts before all tables in a table.
pub(super) fn front_tables(stack: &mut Stack<'_>, table: i32) {
    let mut names = Vec::new();
    let listed = stack.for_each(table, |stack| {
        if let (Kind::Table, Some(name)) = (stack.kind(-1), stack.string(-2)) {
            names.push(name.to_vec());
        }
        Ok(())
    });
    listed.expect("nothing is changed meanwhile");
    for name in names {
        stack.push_string(&name);
        stack.raw_get_name(table, &name);
        // The table of globals itself is dealt with last.
        if !stack.is_same(-1, table) {
            make_front(stack);
        }
        raw_set(stack, table);
    }
}

/// Puts a front before the metatable of strings, which has the real table of string functions.
pub(super) fn front_strings(stack: &mut Stack<'_>, globals: i32) {
    stack.push_string("");
    let has_metatable = stack.push_metatable(-1);
    assert!(has_metatable, "strings have a metatable");
    let metatable = stack.top();
    stack.push_table(0, 1);
    stack.raw_get_name(globals, "string");
    set(stack, -2, "__index");
    make_front(stack);
    note_front(stack, metatable);
    stack.pop(3);
}

/// Notes that the table on top is the front of a real one; it stays.
fn note_front(stack: &mut Stack<'_>, real: i32) {
    push_fronts(stack);
    stack.push_value(real);
    stack.push_value(-3);
    raw_set(stack, -3);
    stack.pop(1);
}

fn push_fronts(stack: &mut Stack<'_>) {
    stack.push_registry();
    stack.push_hidden(Hidden::Fronts as u8);
    stack.raw_get(-2);
    stack.remove(-2);
}

/// Pushes the front of a real table; false, and nothing, if it has none.
fn push_front(stack: &mut Stack<'_>, real: i32) -> bool {
    let real = stack.at(real);
    push_fronts(stack);
    stack.push_value(real);
    stack.raw_get(-2);
    stack.remove(-2);
    match stack.kind(-1) {
        Kind::Table => true,
        _ => {
            stack.pop(1);
            false
        }
    }
}

/// Replaces a front by its real table; whether it was one.
pub(super) fn replace_front(stack: &mut Stack<'_>, argument: i32) -> bool {
    let argument = stack.at(argument);
    if !stack.push_metatable(argument) {
        return false;
    }
    stack.push_hidden(Hidden::Real as u8);
    stack.raw_get(-2);
    let is_front = stack.kind(-1) == Kind::Table;
    match is_front {
        true => stack.replace(argument),
        false => stack.pop(1),
    }
    stack.pop(1);
    is_front
}

/// Whether it is a front.
pub fn is_front(stack: &mut Stack<'_>, argument: i32) -> bool {
    if !stack.push_metatable(argument) {
        return false;
    }
    stack.push_hidden(Hidden::Real as u8);
    stack.raw_get(-2);
    let is_front = stack.kind(-1) == Kind::Table;
    stack.pop(2);
    is_front
}

/// The error of whatever would change a front from within a function.
#[cold]
pub(super) fn readonly(stack: &mut Stack<'_>) -> Raise {
    stack.push_string(READONLY);
    Raise
}

fn raw_set(stack: &mut Stack<'_>, table: i32) {
    stack
        .raw_set(table)
        .expect("a key, and memory, since no script has run");
}

/// `__newindex` of fronts.
fn refuse_change(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    Err(stack.error(READONLY))
}

/// `__index` of globals.
fn refuse_access(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 2 {
        return Err(stack.error("Wrong number of arguments to luaProtectedTableError"));
    }
    if !stack.make_string(2) {
        let text = "Second argument to luaProtectedTableError must be a string or number";
        return Err(stack.error(text));
    }
    let name = stack.string(2).unwrap_or_default();
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = [
        b"Script attempted to access nonexistent global variable '",
        name,
        b"'",
    ]
    .concat();
    Err(stack.error(text))
}

/// The functions of the base library that ask no metatables.
pub(super) fn open_base(stack: &mut Stack<'_>, globals: i32) {
    // Lua's own is what most loops use: it knows no fronts, and is given none by `pairs`.
    stack.raw_get_name(globals, "next");
    stack.push_function(next);
    stack.push_closure(pairs, 2);
    set(stack, globals, "pairs");
    set_functions(
        stack,
        globals,
        &[
            ("next", next),
            ("rawget", rawget),
            ("rawset", rawset),
            ("getmetatable", getmetatable),
            ("setmetatable", setmetatable),
        ],
    );
}

fn next(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    expect(stack, 1, Kind::Table)?;
    if stack.top() < 2 {
        stack.push_nil();
    }
    stack.set_top(2);
    replace_front(stack, 1);
    match stack.next(1)? {
        true => Ok(2),
        false => {
            stack.push_nil();
            Ok(1)
        }
    }
}

fn pairs(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    expect(stack, 1, Kind::Table)?;
    let next = match is_front(stack, 1) {
        true => 2,
        false => 1,
    };
    stack.push_upvalue(next);
    stack.push_value(1);
    stack.push_nil();
    Ok(3)
}

fn rawget(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    expect(stack, 1, Kind::Table)?;
    expect_any(stack, 2)?;
    stack.set_top(2);
    replace_front(stack, 1);
    stack.raw_get(1);
    Ok(1)
}

fn rawset(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    expect(stack, 1, Kind::Table)?;
    expect_any(stack, 2)?;
    expect_any(stack, 3)?;
    stack.set_top(3);
    if is_front(stack, 1) {
        return Err(readonly(stack));
    }
    match stack.kind(2) {
        Kind::Nil => {
            stack.push_string("table index is nil");
            return Err(Raise);
        }
        Kind::Number if stack.number(2).is_some_and(f64::is_nan) => {
            stack.push_string("table index is NaN");
            return Err(Raise);
        }
        _ => stack.raw_set(1)?,
    }
    Ok(1)
}

fn getmetatable(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    expect_any(stack, 1)?;
    stack.set_top(1);
    if stack.kind(1) == Kind::Table {
        replace_front(stack, 1);
    }
    if !stack.push_metatable(1) {
        stack.push_nil();
        return Ok(1);
    }
    stack.raw_get_name(2, "__metatable");
    if stack.kind(3) != Kind::Nil {
        return Ok(1);
    }
    stack.set_top(2);
    push_front(stack, 2);
    Ok(1)
}

fn setmetatable(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    expect(stack, 1, Kind::Table)?;
    if !matches!(stack.kind(2), Kind::Nil | Kind::Table) {
        return Err(stack.argument_error(2, "nil or table expected"));
    }
    stack.set_top(2);
    if is_front(stack, 1) {
        return Err(readonly(stack));
    }
    if stack.push_metatable(1) {
        stack.raw_get_name(3, "__metatable");
        if stack.kind(4) != Kind::Nil {
            return Err(stack.error("cannot change a protected metatable"));
        }
        stack.set_top(2);
    }
    if stack.kind(2) == Kind::Table {
        replace_front(stack, 2);
    }
    stack.set_metatable(1);
    Ok(1)
}
