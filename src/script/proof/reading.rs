//! Scripts that call only commands that read.
//!
//! All that a script can change is reached through `redis.call` and `redis.pcall`. So `redis` (or `server`) may
//! only stand before a field, these two may only be called, with a literal name, and nothing may stand in the
//! source that finds globals by other means, or makes code of strings. Loops and functions do not matter.

use std::collections::HashSet;

use super::Commands;
use super::bounded::facts;
use super::syntax::{FunctionId, Link, LocalId, Name, Seen, Tree, Value, visit};

/// Globals by which others can be reached without being named.
const WAYS: [&str; 8] = [
    "_G",
    "getfenv",
    "setfenv",
    "load",
    "loadstring",
    "dofile",
    "loadfile",
    "require",
];
/// Fields of `redis` that change nothing; also `LOG_...` and its like.
const HARMLESS: [&str; 11] = [
    "acl_check_cmd",
    "breakpoint",
    "debug",
    "error_reply",
    "log",
    "replicate_commands",
    "set_repl",
    "setresp",
    "sha1hex",
    "status_reply",
    "register_function",
];

/// Whether a name finds globals by other means than by naming them.
pub(super) fn is_way(name: Name<'_>) -> bool {
    matches!(name, Name::Global(name) if WAYS.iter().any(|way| way.as_bytes() == name))
}

/// Whether a name is that of the server's functions.
pub(super) fn is_server(name: Name<'_>) -> bool {
    matches!(name, Name::Global(b"redis" | b"server"))
}

/// Whether a script of EVAL reads only.
pub(super) fn is_script(tree: &Tree<'_>, commands: &Commands<'_>) -> bool {
    (0..tree.functions.len()).all(|function| scan(tree, function, commands).is_some())
}

/// What a function refers to besides commands that read.
#[derive(Default)]
pub(super) struct Scan {
    /// Functions that it makes.
    pub functions: Vec<FunctionId>,
    /// Locals of others.
    pub locals: HashSet<LocalId>,
}

/// `None` if it may do more than read.
pub(super) fn scan(tree: &Tree<'_>, function: FunctionId, commands: &Commands<'_>) -> Option<Scan> {
    let mut scan = Scan::default();
    let mut is_reading = true;
    visit(&tree.functions[function].body, &mut |seen| {
        let (Seen::Value(value) | Seen::Target(value) | Seen::Iterator(value)) = seen;
        let name = match value {
            Value::Name(name) => Some(*name),
            Value::Length(inner) => match &**inner {
                Value::Name(name) => Some(*name),
                _ => None,
            },
            Value::Chain(base, links) => match &**base {
                Value::Name(name) if is_server(*name) => {
                    is_reading &= is_reading_call(links, commands);
                    None
                }
                Value::Name(name) => Some(*name),
                _ => None,
            },
            Value::Function(id) => {
                scan.functions.push(*id);
                None
            }
            _ => None,
        };
        if let Some(name) = name {
            is_reading &= !is_way(name) && !is_server(name);
            if let Name::Local(id) = name
                && tree.locals[id].function != function
            {
                scan.locals.insert(id);
            }
        }
        is_reading
    });
    is_reading.then_some(scan)
}

fn is_reading_call(links: &[Link<'_>], commands: &Commands<'_>) -> bool {
    match links {
        [Link::Field(b"call" | b"pcall"), Link::Call(values), ..] => {
            facts(values, commands).is_some_and(|facts| facts.reads_only)
        }
        [Link::Field(name), ..] => {
            name.first().is_some_and(u8::is_ascii_uppercase)
                || HARMLESS.iter().any(|it| it.as_bytes() == *name)
        }
        _ => false,
    }
}
