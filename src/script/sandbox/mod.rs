//! The globals that scripts see, which none of them can change.
//!
//! [`install`] takes an interpreter with all libraries as globals, replaces what of Lua's own is dangerous
//! or would let a script reach what it shall not, and puts a *front* before the table of globals and before
//! each table in it: an empty table, whose metatable has the real one as `__index`, and a function that
//! refuses as `__newindex`. Scripts see fronts only. Lua 5.1 knows no tables that cannot be changed, so:
//! - real tables are found where scripts cannot look: under a hidden key of a front's metatable;
//! - whatever reads or changes tables without asking metatables (`next`, `pairs`, `rawget`, `rawset`,
//!   `setmetatable`, `getmetatable`, `table.insert`, `table.foreach`) is replaced by what knows fronts
//!   (`front`), and no script ever gets a real table or a front's metatable. What only looks at the
//!   values 1, 2, ... of a table needs no replacement: real tables have none;
//! - the metatables that scripts may see (of strings, and of the globals) have fronts, too.
//!
//! Files: `front` the fronts, `base` functions of Lua's base library, `tables` of `table`, `math` of
//! `math` and `os`, `strings` of `string`, together with `lib::pattern`. To add a global: set it before [`install`] is called.

use crate::sys::lua::{Function, Ref, Stack, State};

mod base;
mod front;
mod math;
mod strings;
mod tables;
#[cfg(test)]
mod tests;

pub use front::{is_front, make_front, refuse_unknown};
pub use math::seed;

/// What of Lua's libraries no script sees. `newproxy` never: it makes objects with finalizers, and one that raises an
/// error would jump over frames of Rust (`sys::lua`).
const HIDDEN: [&str; 4] = ["dofile", "loadfile", "newproxy", "print"];
/// What is seen only with `lua-enable-insecure-api`.
const INSECURE: [&str; 2] = ["getfenv", "setfenv"];

/// How much scripts may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `lua-enable-insecure-api`: they have `getfenv` and `setfenv`, with which a script can change what
    /// it sees itself. [`Globals::restore`] has to be called before each of them then.
    pub has_insecure_api: bool,
}

/// The table of globals.
#[derive(Debug)]
pub struct Globals {
    real: Ref,
    front: Ref,
}

impl Globals {
    /// Pushes the real table, which no script may get.
    pub fn push_real(&self, stack: &mut Stack<'_>) {
        stack.push_ref(&self.real);
    }

    /// Undoes what a script has done to its globals by `setfenv`: the function at `index` is about to run.
    pub fn restore(&self, stack: &mut Stack<'_>, index: i32) {
        let index = stack.at(index);
        stack.push_ref(&self.front);
        stack.push_value(-1);
        stack.replace_globals();
        stack.set_environment(index);
    }
}

/// Makes what is in the table of globals all that scripts see; see the module's text.
pub fn install(state: &mut State, options: &Options) -> Globals {
    let mut stack = state.stack();
    let stack = &mut stack;
    stack.push_globals();
    let globals = stack.top();
    remove(stack, globals, &HIDDEN);
    if !options.has_insecure_api {
        remove(stack, globals, &INSECURE);
    }
    front::open(stack);
    base::open(stack, globals);
    for (name, open) in [
        (
            "coroutine",
            base::open_coroutines as fn(&mut Stack<'_>, i32),
        ),
        ("table", tables::open),
        ("math", math::open),
        ("string", strings::open),
    ] {
        stack.raw_get_name(globals, name);
        let library = stack.top();
        open(stack, library);
        stack.pop(1);
    }
    math::push_os(stack);
    set(stack, globals, "os");
    front::front_tables(stack, globals);
    front::front_strings(stack, globals);
    stack.push_value(globals);
    refuse_unknown(stack);
    make_front(stack);
    stack.push_value(-1);
    set(stack, globals, "_G");
    stack.push_value(-1);
    stack.replace_globals();
    let front = stack.keep();
    let real = stack.keep();
    Globals { real, front }
}

/// Sets functions in a table.
fn set_functions(stack: &mut Stack<'_>, table: i32, functions: &[(&str, Function)]) {
    for &(name, function) in functions {
        stack.push_function(function);
        set(stack, table, name);
    }
}

/// Sets what is on top in a table, and takes it.
fn set(stack: &mut Stack<'_>, table: i32, name: &str) {
    stack
        .raw_set_name(table, name)
        .expect("a name, and memory, since no script has run");
}

fn remove(stack: &mut Stack<'_>, table: i32, names: &[&str]) {
    for name in names {
        stack.push_nil();
        set(stack, table, name);
    }
}
