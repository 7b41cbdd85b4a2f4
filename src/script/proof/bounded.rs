//! Scripts that end after few steps and touch only keys that were declared.
//!
//! The walk follows the source as it would run. What is allowed:
//! - calls of `redis` (or `server`) and of the libraries, by their names, as nobody can change what these
//!   stand for; never as values of their own, so that there is no function that the walk has not seen (those of
//!   strings can be had as their fields, but are only called with what they are fields of);
//! - KEYS and ARGV where they are only read. An element of KEYS at any index is a declared key, or nil,
//!   which no command takes; so is a local that was declared as one and is never assigned;
//! - loops over KEYS and ARGV, or up to a literal number, none in another: the size of a request is limited, and more so
//!   with loops ([`super::Proof::is_bounded_for`]). In them there are few calls and operations (strings may be
//!   compared), no functions that go over a text, and only commands that do not go over a value;
//! - what makes strings of others (`..`, `string.format`), a number of times, since values may double with
//!   each; few times where there is a loop, and in it only if nothing is kept for its next round;
//! - what makes one of all that is in a table (`cjson.encode`), fewer times, and not in loops: tables may
//!   hold one another many times over.
//!
//! A call's keys have fixed places, so arguments of which nobody knows how many they are
//! (`unpack(ARGV)`) may only stand behind all of them. `unpack(KEYS)` may stand for keys.

use std::collections::HashSet;

use super::syntax::{Block, FunctionId, Link, LocalId, Name, Statement, Tree, Value};
use super::{Commands, Facts};
use crate::spec::{Begin, Find, KeySpec};

/// Most times that values may double, ...
const GROWTH_MAX: u32 = 8;
/// ... and in a script with a loop.
const LOOP_GROWTH_MAX: u32 = 2;
/// Most times that a script may make strings of tables.
const ENCODES_MAX: u32 = 4;
/// Most calls of a script, those of commands included.
const CALLS_MAX: u32 = 256;
/// Most calls and operations in loops, in each of their rounds.
const LOOPED_MAX: u32 = 64;
/// Most rounds of a loop up to a literal number.
const ROUNDS_MAX: i64 = 1000;

/// What may be called as `library.function(...)`.
const FUNCTIONS: &[(&str, &[&str])] = &[
    (
        "bit",
        &[
            "arshift", "band", "bnot", "bor", "bswap", "bxor", "lshift", "rol", "ror", "rshift",
            "tobit", "tohex",
        ],
    ),
    (
        "math",
        &[
            "abs", "ceil", "exp", "floor", "fmod", "log", "log10", "max", "min", "mod", "modf",
            "pow", "random", "sqrt",
        ],
    ),
    (
        "redis",
        &[
            "error_reply",
            "status_reply",
            "sha1hex",
            "log",
            "setresp",
            "replicate_commands",
        ],
    ),
    (
        "server",
        &[
            "error_reply",
            "status_reply",
            "sha1hex",
            "log",
            "setresp",
            "replicate_commands",
        ],
    ),
    (
        "string",
        &["byte", "char", "len", "lower", "reverse", "sub", "upper"],
    ),
    ("struct", &["size", "unpack"]),
    ("table", &["getn", "remove"]),
];
/// The same for what makes values of others.
const GROWING: &[(&str, &[&str])] = &[
    ("cjson", &["decode"]),
    ("cmsgpack", &["unpack", "unpack_limit", "unpack_one"]),
    ("string", &["format"]),
    ("struct", &["pack"]),
];
/// The same for what makes a string of a table; this may be KEYS or ARGV.
const ENCODING: &[(&str, &[&str])] = &[
    ("cjson", &["encode"]),
    ("cmsgpack", &["pack"]),
    ("table", &["concat"]),
];
/// What may be several values, or none, of all these.
const MULTIPLE: &[(&str, &[&str])] = &[
    ("cmsgpack", &["unpack", "unpack_limit", "unpack_one"]),
    ("math", &["modf"]),
    ("string", &["byte"]),
    ("struct", &["unpack"]),
    ("table", &["remove"]),
];
/// What goes over a whole text, and is not for loops.
const SCANNING: &[&str] = &[
    "decode",
    "lower",
    "reverse",
    "sha1hex",
    "unpack",
    "unpack_limit",
    "unpack_one",
    "upper",
];
/// Values in libraries.
const CONSTANTS: &[(&str, &[&str])] = &[
    ("cjson", &["null"]),
    ("math", &["huge", "pi"]),
    ("redis", LEVELS),
    ("server", LEVELS),
];
const LEVELS: &[&str] = &["LOG_DEBUG", "LOG_NOTICE", "LOG_VERBOSE", "LOG_WARNING"];
/// What may be called by its name alone.
const PLAIN: &[&str] = &[
    "assert", "error", "select", "tonumber", "tostring", "type", "unpack",
];
/// Methods of strings.
const METHODS: &[&str] = &["byte", "len", "lower", "reverse", "sub", "upper"];

fn has(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|it| it.as_bytes() == name)
}

fn has_in(table: &[(&str, &[&str])], library: &[u8], name: &[u8]) -> bool {
    table
        .iter()
        .any(|(it, names)| it.as_bytes() == library && has(names, name))
}

/// Whether a script of EVAL is bounded, and then whether it has loops.
pub(super) fn script(tree: &Tree<'_>, commands: &Commands<'_>) -> Option<HasLoop> {
    let mut walk = Walk::new(tree, commands, 0);
    walk.keys = Some(Name::Global(b"KEYS"));
    walk.arguments = Some(Name::Global(b"ARGV"));
    walk.bounds(&tree.functions[0].body)
}

/// The same of a function of a library. `is_constant` knows which locals of the library are plain values
/// that never change.
pub(super) fn function(
    tree: &Tree<'_>,
    commands: &Commands<'_>,
    function: FunctionId,
    is_constant: &dyn Fn(LocalId) -> bool,
) -> Option<HasLoop> {
    let mut walk = Walk::new(tree, commands, function);
    let params = &tree.functions[function].params;
    if params.iter().any(|&id| tree.locals[id].assigned > 0) {
        return None;
    }
    walk.keys = params.first().map(|&id| Name::Local(id));
    walk.arguments = params.get(1).map(|&id| Name::Local(id));
    walk.is_constant = Some(is_constant);
    walk.bounds(&tree.functions[function].body)
}

/// Whether something that is bounded has loops.
#[derive(Clone, Copy)]
pub(super) struct HasLoop(pub bool);

struct Walk<'t, 'a> {
    tree: &'t Tree<'a>,
    commands: &'t Commands<'t>,
    function: FunctionId,
    /// What KEYS and ARGV are.
    keys: Option<Name<'static>>,
    arguments: Option<Name<'static>>,
    is_constant: Option<&'t dyn Fn(LocalId) -> bool>,
    /// Locals that are declared keys.
    key_locals: HashSet<LocalId>,
    /// How often values may have doubled.
    growth: u32,
    encodes: u32,
    calls: u32,
    /// Calls and operations in loops.
    looped: u32,
    has_loop: bool,
    /// The walk is inside of a loop, in which ...
    is_in_loop: bool,
    /// ... values are made of others;
    has_growth: bool,
    /// ... something is kept for the next round.
    has_memory: bool,
}

impl<'t, 'a> Walk<'t, 'a> {
    fn new(tree: &'t Tree<'a>, commands: &'t Commands<'t>, function: FunctionId) -> Self {
        Walk {
            tree,
            commands,
            function,
            keys: None,
            arguments: None,
            is_constant: None,
            key_locals: HashSet::new(),
            growth: 0,
            encodes: 0,
            calls: 0,
            looped: 0,
            has_loop: false,
            is_in_loop: false,
            has_growth: false,
            has_memory: false,
        }
    }

    fn bounds(&mut self, body: &Block<'_>) -> Option<HasLoop> {
        let is_fine = self.block(body);
        let growth_max = match self.has_loop {
            true => LOOP_GROWTH_MAX,
            false => GROWTH_MAX,
        };
        let is_bounded = is_fine
            && self.growth <= growth_max
            && self.encodes <= ENCODES_MAX
            && self.calls <= CALLS_MAX
            && self.looped <= LOOPED_MAX;
        is_bounded.then_some(HasLoop(self.has_loop))
    }

    fn is_keys(&self, value: &Value<'_>) -> bool {
        matches!(value, Value::Name(name) if self.keys.is_some_and(|keys| keys == *name))
    }

    fn is_arguments(&self, value: &Value<'_>) -> bool {
        matches!(value, Value::Name(name) if self.arguments.is_some_and(|it| it == *name))
    }

    /// KEYS or ARGV themselves.
    fn is_given(&self, value: &Value<'_>) -> bool {
        self.is_keys(value) || self.is_arguments(value)
    }

    // --- statements ---------------------------------------------------------------------------------

    fn block(&mut self, block: &Block<'_>) -> bool {
        block.iter().all(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Statement<'_>) -> bool {
        match statement {
            Statement::Local(ids, values) => {
                for (at, &id) in ids.iter().enumerate() {
                    if self.tree.locals[id].assigned == 0 && self.gives_key(values, at) {
                        self.key_locals.insert(id);
                    }
                }
                self.values(values)
            }
            Statement::Assign(targets, values) => {
                self.has_memory = true;
                targets.iter().all(|target| self.is_target(target)) && self.values(values)
            }
            Statement::Call(value) => self.value(value),
            Statement::Do(body) => self.block(body),
            Statement::If(branches) => branches.iter().all(|(condition, body)| {
                condition
                    .as_ref()
                    .is_none_or(|condition| self.value(condition))
                    && self.block(body)
            }),
            Statement::For(values, body) => self.is_short(values) && self.rounds(body),
            Statement::ForIn(ids, values, body) => {
                let [Value::Chain(base, links)] = &values[..] else {
                    return false;
                };
                let (Value::Name(Name::Global(b"ipairs")), [Link::Call(given)]) =
                    (&**base, &links[..])
                else {
                    return false;
                };
                let [given] = &given[..] else {
                    return false;
                };
                if let (true, [_, element]) = (self.is_keys(given), &ids[..])
                    && self.tree.locals[*element].assigned == 0
                {
                    self.key_locals.insert(*element);
                }
                self.is_given(given) && self.rounds(body)
            }
            Statement::Return(values) => values
                .iter()
                .all(|value| self.is_given(value) || self.value(value)),
            Statement::Break => true,
            Statement::Loop(..) | Statement::Function(..) | Statement::LocalFunction(..) => false,
        }
    }

    /// Whether a loop from, to, and by these has few rounds.
    fn is_short(&self, values: &[Value<'_>]) -> bool {
        let (Value::Number(Some(_)), Some(to)) = (&values[0], values.get(1)) else {
            return false;
        };
        let is_near = match to {
            Value::Number(Some(to)) => *to <= ROUNDS_MAX,
            Value::Length(given) => self.is_given(given),
            _ => false,
        };
        let is_forward = match &values[2..] {
            [] => true,
            [step] => matches!(step, Value::Number(Some(1..))),
            _ => false,
        };
        is_near && is_forward
    }

    fn rounds(&mut self, body: &Block<'_>) -> bool {
        if self.is_in_loop {
            return false;
        }
        (self.is_in_loop, self.has_loop) = (true, true);
        (self.has_growth, self.has_memory) = (false, false);
        let is_fine = self.block(body) && !(self.has_growth && self.has_memory);
        self.is_in_loop = false;
        is_fine
    }

    /// What may be assigned: a local, or a place in a table that is none of the given ones.
    fn is_target(&mut self, target: &Value<'_>) -> bool {
        match target {
            Value::Name(Name::Local(_)) => !self.is_given(target) && self.value(target),
            Value::Chain(base, links) => {
                let is_local = matches!(**base, Value::Name(Name::Local(_)));
                is_local && !self.is_given(base) && self.chain(base, links)
            }
            _ => false,
        }
    }

    // --- keys ---------------------------------------------------------------------------------------

    /// Whether value `at` of a list that is assigned is a declared key, or nil.
    fn gives_key(&self, values: &[Value<'_>], at: usize) -> bool {
        match values.get(at) {
            Some(value) if at + 1 < values.len() || !value.is_multiple() => self.is_key(value),
            Some(value) => self.is_unpacked_keys(value),
            None => values
                .last()
                .is_some_and(|value| self.is_unpacked_keys(value)),
        }
    }

    /// Whether this is a declared key, or nil.
    fn is_key(&self, value: &Value<'_>) -> bool {
        match value {
            Value::Name(Name::Local(id)) => self.key_locals.contains(id),
            Value::Parentheses(inner) => self.is_key(inner),
            Value::Chain(base, links) => {
                self.is_keys(base) && matches!(&links[..], [Link::Index(_)])
            }
            _ => false,
        }
    }

    /// `unpack(KEYS)`, of a part of them, perhaps.
    fn is_unpacked_keys(&self, value: &Value<'_>) -> bool {
        let Value::Chain(base, links) = value else {
            return false;
        };
        match (&**base, &links[..]) {
            (Value::Name(Name::Global(b"unpack")), [Link::Call(values)]) => {
                values.first().is_some_and(|given| self.is_keys(given))
            }
            _ => false,
        }
    }

    // --- values -------------------------------------------------------------------------------------

    fn values(&mut self, values: &[Value<'_>]) -> bool {
        values.iter().all(|value| self.value(value))
    }

    fn value(&mut self, value: &Value<'_>) -> bool {
        match value {
            Value::Constant | Value::Number(_) | Value::String(_) => true,
            Value::Vararg | Value::Function(_) => false,
            Value::Name(Name::Global(_)) => false,
            Value::Name(Name::Local(id)) => {
                let is_own = self.tree.locals[*id].function == self.function;
                let is_constant = || self.is_constant.is_some_and(|is_constant| is_constant(*id));
                !self.is_given(value) && (is_own || is_constant())
            }
            Value::Parentheses(inner) => self.value(inner),
            Value::Length(inner) => self.is_given(inner) || self.value(inner),
            Value::Table(entries) => entries.iter().all(|(key, value)| {
                key.as_ref().is_none_or(|key| self.value(key)) && self.value(value)
            }),
            Value::Operation(parts, is_concat) => {
                self.looped += u32::from(self.is_in_loop);
                if *is_concat {
                    // Four parts may double twice.
                    self.grows(usize::BITS - parts.len().saturating_sub(1).leading_zeros());
                }
                self.values(parts)
            }
            Value::Chain(base, links) => self.chain(base, links),
        }
    }

    fn grows(&mut self, times: u32) {
        self.growth = self.growth.saturating_add(times);
        self.has_growth = true;
    }

    fn chain(&mut self, base: &Value<'_>, links: &[Link<'_>]) -> bool {
        let rest = match (base, links) {
            (
                Value::Name(Name::Global(library)),
                [Link::Field(name), Link::Call(values), rest @ ..],
            ) => {
                if !self.library_call(library, name, values) {
                    return false;
                }
                rest
            }
            (Value::Name(Name::Global(library)), [Link::Field(name), rest @ ..])
                if has_in(CONSTANTS, library, name) =>
            {
                rest
            }
            (Value::Name(Name::Global(name)), [Link::Call(values), rest @ ..]) => {
                if !has(PLAIN, name) || !self.call_arguments(values, *name == b"unpack") {
                    return false;
                }
                rest
            }
            (_, [Link::Index(index), rest @ ..]) if self.is_given(base) => {
                if !self.value(index) {
                    return false;
                }
                rest
            }
            _ if self.value(base) => links,
            _ => return false,
        };
        self.calls = self.calls.saturating_add(1);
        self.looped += u32::from(self.is_in_loop);
        rest.iter().all(|link| match link {
            Link::Field(_) => true,
            Link::Index(index) => self.value(index),
            Link::Method(name, values) => {
                self.calls = self.calls.saturating_add(1);
                self.looped += u32::from(self.is_in_loop);
                has(METHODS, name) && !self.is_too_long(name) && self.values(values)
            }
            Link::Call(_) => false,
        })
    }

    /// Arguments of a call that only reads what it is given.
    fn call_arguments(&mut self, values: &[Value<'_>], may_be_given: bool) -> bool {
        values
            .iter()
            .all(|value| may_be_given && self.is_given(value) || self.value(value))
    }

    /// Whether a function takes too long for a loop.
    fn is_too_long(&self, name: &[u8]) -> bool {
        self.is_in_loop && has(SCANNING, name)
    }

    fn library_call(&mut self, library: &[u8], name: &[u8], values: &[Value<'_>]) -> bool {
        if self.is_too_long(name) {
            return false;
        }
        if matches!(library, b"redis" | b"server") && matches!(name, b"call" | b"pcall") {
            return self.command(values);
        }
        if (library, name) == (b"table", b"insert") {
            self.has_memory = true;
            return self.values(values);
        }
        if has_in(ENCODING, library, name) {
            self.encodes += 1;
            return !self.is_in_loop && self.call_arguments(values, true);
        }
        if has_in(GROWING, library, name) {
            self.grows(1);
            return self.values(values);
        }
        has_in(FUNCTIONS, library, name) && self.values(values)
    }

    // --- commands -----------------------------------------------------------------------------------

    fn command(&mut self, values: &[Value<'_>]) -> bool {
        let facts = facts(values, self.commands);
        let is_confined = facts.is_some_and(|facts| {
            // Of as many arguments as there may be, it takes long as well.
            let is_short = !self.is_in_loop || facts.is_short && !is_open(values);
            facts.is_confined
                && is_short
                && facts.keys.iter().all(|spec| self.is_declared(spec, values))
        });
        is_confined && self.values(values)
    }

    /// Whether all keys that a spec finds in this request are declared ones.
    fn is_declared(&self, spec: &KeySpec, values: &[Value<'_>]) -> bool {
        let Begin::Index(begin) = spec.begin else {
            return false;
        };
        let begin = usize::from(begin);
        let is_open = is_open(values);
        // Arguments from here on are unknown, also how many they are.
        let known = values.len() - usize::from(is_open);
        let (first, last, step) = match spec.find {
            Find::Range {
                last: last @ 0..,
                step,
                limit: 0,
            } => (begin, begin + last as usize, usize::from(step)),
            Find::Range {
                last,
                step,
                limit: 0,
            } => {
                let last = match is_open {
                    true => usize::MAX,
                    false => values.len().saturating_sub(last.unsigned_abs() as usize),
                };
                (begin, last, usize::from(step))
            }
            Find::Keynum { num, first, step } => {
                let at = begin + usize::from(num);
                let number = match values.get(at) {
                    Some(number) if at < known => literal_number(number),
                    _ => None,
                };
                let Some(number @ 1..) = number else {
                    return false;
                };
                let (first, step) = (begin + usize::from(first), usize::from(step));
                (first, first + (number - 1) * step, step)
            }
            _ => return false,
        };
        let are_keys = (first..known)
            .step_by(step.max(1))
            .take_while(|&at| at <= last)
            .all(|at| self.is_key(&values[at]));
        // Beyond what is known there are only keys, or nothing that this spec finds.
        let tail_is_fine = match is_open && last >= known {
            true => {
                step == 1
                    && values
                        .last()
                        .is_some_and(|tail| self.is_unpacked_keys(tail))
            }
            false => true,
        };
        spec.is_key() && are_keys && tail_is_fine
    }
}

/// Whether it is unknown how many values these are.
fn is_open(values: &[Value<'_>]) -> bool {
    let tail = values.last();
    tail.is_some_and(|tail| tail.is_multiple() && !is_single(tail))
}

/// Whether a call that is allowed gives one value.
fn is_single(call: &Value<'_>) -> bool {
    let Value::Chain(base, links) = call else {
        return false;
    };
    match (&**base, &links[..]) {
        (Value::Name(Name::Global(library)), [Link::Field(name), Link::Call(_)]) => {
            !has_in(MULTIPLE, library, name)
        }
        (Value::Name(Name::Global(name)), [Link::Call(_)]) => {
            matches!(*name, b"tonumber" | b"tostring" | b"type")
        }
        _ => false,
    }
}

/// What is known of the command that is called with these.
pub(super) fn facts(values: &[Value<'_>], commands: &Commands<'_>) -> Option<Facts> {
    let Some(Value::String(name)) = values.first() else {
        return None;
    };
    let second = match values.get(1) {
        Some(Value::String(second)) => Some(&second[..]),
        _ => None,
    };
    commands(name, second)
}

/// A number of keys that is written out.
fn literal_number(value: &Value<'_>) -> Option<usize> {
    let number = match value {
        Value::Number(number) => (*number)?,
        Value::String(digits) => crate::util::num::parse_i64(digits)?,
        _ => return None,
    };
    usize::try_from(number)
        .ok()
        .filter(|&number| number < 1 << 20)
}
