//! Libraries of functions: what can be told of each function, and whether they keep anything.
//!
//! A function keeps something from one call to the next in what the library's own locals hold. So a library is
//! stateless if these are plain values, functions, or tables of such, if no function assigns to them,
//! and if tables are only looked up in: they stand nowhere where they could be changed, or be known by
//! another name. What else the library does when it is loaded is to register functions; it calls nothing,
//! since what that returns might be anything.
//!
//! Functions are found where they are registered, by a literal name, as a function that stands there or as a
//! local that is one. If something is registered in a way that is not understood, nothing is told of any.

use std::collections::{HashMap, HashSet};

use super::reading::{is_server, is_way, scan};
use super::syntax::{
    Block, FunctionId, Link, LocalId, Name, Seen, Statement, Tree, Value, parse, visit,
};
use super::{Commands, Proof, bounded};

/// What can be told of a library.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LibraryProof {
    /// Its functions keep nothing between calls.
    pub is_stateless: bool,
    /// Its functions by name; of those that are missing nothing is known.
    pub functions: Vec<(Vec<u8>, Proof)>,
}

impl LibraryProof {
    /// What can be told of a function.
    pub fn function(&self, name: &str) -> Proof {
        let mut functions = self.functions.iter();
        let found = functions.find(|(it, _)| it == name.as_bytes());
        found.map(|&(_, proof)| proof).unwrap_or_default()
    }
}

/// What a local of the library holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A number, string or boolean.
    Plain,
    /// A function of the library.
    Function(FunctionId),
    /// A function that is not the library's (`local call = redis.call`).
    Foreign,
    /// A table of all these.
    Table,
}

/// What can be told of a library.
pub fn analyse_library(source: &[u8], commands: &Commands<'_>) -> LibraryProof {
    let Some(tree) = parse(source) else {
        return LibraryProof::default();
    };
    let mut library = Library {
        tree: &tree,
        kinds: HashMap::new(),
        registered: HashMap::new(),
        is_plain: true,
        is_known: true,
    };
    library.load(&tree.functions[0].body);
    LibraryProof {
        is_stateless: library.is_plain && library.is_stateless(),
        functions: library.proofs(commands),
    }
}

struct Library<'t, 'a> {
    tree: &'t Tree<'a>,
    /// What its locals hold, where that is known.
    kinds: HashMap<LocalId, Kind>,
    /// What it registers.
    registered: HashMap<Vec<u8>, FunctionId>,
    /// All that it does when it is loaded is understood.
    is_plain: bool,
    /// All that it registers is.
    is_known: bool,
}

impl<'t, 'a> Library<'t, 'a> {
    // --- loading ------------------------------------------------------------------------------------

    fn load(&mut self, block: &'t Block<'a>) {
        for statement in block {
            match statement {
                Statement::Local(ids, values) => {
                    for (at, &id) in ids.iter().enumerate() {
                        match values.get(at) {
                            Some(value) => self.holds(id, value),
                            None => {
                                self.is_plain &= values.last().is_none_or(|it| !it.is_multiple())
                            }
                        }
                    }
                }
                Statement::LocalFunction(id, function) => {
                    self.kinds.insert(*id, Kind::Function(*function));
                }
                Statement::Function(target, _) => self.is_plain &= self.is_own(target),
                Statement::Assign(targets, values) => {
                    let is_plain = values.iter().all(|value| self.entry(value));
                    self.is_plain &= is_plain && targets.iter().all(|target| self.is_own(target));
                }
                Statement::Do(body) => self.load(body),
                Statement::Call(call) => self.is_plain &= self.registers(call),
                Statement::Return(values) => self.is_plain &= values.is_empty(),
                _ => self.is_plain = false,
            }
        }
    }

    fn holds(&mut self, id: LocalId, value: &Value<'a>) {
        match self.kind(value) {
            Some(kind) => {
                self.kinds.insert(id, kind);
            }
            None => self.is_plain = false,
        }
    }

    fn kind(&self, value: &Value<'a>) -> Option<Kind> {
        match value {
            Value::Constant | Value::Number(_) | Value::String(_) => Some(Kind::Plain),
            Value::Function(id) => Some(Kind::Function(*id)),
            Value::Name(Name::Local(id)) => {
                let kind = self.kinds.get(id).copied();
                kind.filter(|kind| *kind != Kind::Table && self.tree.locals[*id].assigned == 0)
            }
            Value::Name(name @ Name::Global(_)) => {
                (!is_way(*name) && !is_server(*name)).then_some(Kind::Foreign)
            }
            Value::Parentheses(inner) => self.kind(inner),
            Value::Operation(parts, _) => {
                let are_plain = parts
                    .iter()
                    .all(|part| self.kind(part) == Some(Kind::Plain));
                are_plain.then_some(Kind::Plain)
            }
            Value::Table(entries) => {
                let are_entries = entries.iter().all(|(key, value)| {
                    key.as_ref()
                        .is_none_or(|key| self.kind(key) == Some(Kind::Plain))
                        && self.entry(value)
                });
                are_entries.then_some(Kind::Table)
            }
            // A function, or a constant, of a library of Redis's.
            Value::Chain(base, links) => match (&**base, &links[..]) {
                (Value::Name(name @ Name::Global(_)), [Link::Field(_)]) if !is_way(*name) => {
                    Some(Kind::Foreign)
                }
                _ => None,
            },
            Value::Vararg | Value::Length(_) => None,
        }
    }

    /// Whether this may be in a table.
    fn entry(&self, value: &Value<'a>) -> bool {
        self.kind(value).is_some_and(|kind| kind != Kind::Table)
    }

    /// Whether this is a local of the library, or a field of a table that is one.
    fn is_own(&self, target: &Value<'a>) -> bool {
        match target {
            Value::Name(Name::Local(_)) => true,
            Value::Chain(base, links) => match (&**base, &links[..]) {
                (Value::Name(Name::Local(id)), [Link::Field(_)]) => {
                    self.kinds.get(id) == Some(&Kind::Table)
                }
                (Value::Name(Name::Local(id)), [Link::Index(index)]) => {
                    self.kinds.get(id) == Some(&Kind::Table)
                        && self.kind(index) == Some(Kind::Plain)
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether this call registers a function, and does nothing else.
    fn registers(&mut self, call: &Value<'a>) -> bool {
        let Value::Chain(base, links) = call else {
            return false;
        };
        let (Value::Name(name), [Link::Field(b"register_function"), Link::Call(values)]) =
            (&**base, &links[..])
        else {
            return false;
        };
        if !is_server(*name) {
            return false;
        }
        let (name, callback) = match &values[..] {
            [name, callback] => (Some(name), Some(callback)),
            [Value::Table(entries)] => {
                if !entries
                    .iter()
                    .all(|(key, value)| self.describes(key.as_ref(), value))
                {
                    self.is_known = false;
                    return false;
                }
                (
                    field(entries, b"function_name"),
                    field(entries, b"callback"),
                )
            }
            _ => (None, None),
        };
        let function = callback.and_then(|callback| match self.kind(callback) {
            Some(Kind::Function(id)) => Some(id),
            _ => None,
        });
        let (Some(Value::String(name)), Some(function)) = (name, function) else {
            self.is_known = false;
            return false;
        };
        let before = self.registered.insert(name.to_vec(), function);
        self.is_known &= before.is_none();
        true
    }

    /// Whether this may be among what describes a function: its name, flags, the function itself.
    fn describes(&self, key: Option<&Value<'a>>, value: &Value<'a>) -> bool {
        matches!(key, Some(Value::String(_)))
            && match self.kind(value) {
                Some(Kind::Plain | Kind::Function(_)) => true,
                Some(Kind::Table) => matches!(value, Value::Table(_)),
                _ => false,
            }
    }

    // --- state --------------------------------------------------------------------------------------

    fn is_stateless(&self) -> bool {
        (1..self.tree.functions.len()).all(|function| {
            let mut is_stateless = true;
            visit(&self.tree.functions[function].body, &mut |seen| {
                let (may_be_inside, is_fine) = self.look(seen);
                is_stateless &= is_fine;
                is_stateless && may_be_inside
            });
            is_stateless
        })
    }

    /// Whether to look inside, and whether nothing is kept here.
    fn look(&self, seen: Seen<'_, 'a>) -> (bool, bool) {
        let is_fine = match seen {
            Seen::Value(Value::Name(name)) => !is_way(*name) && self.kind_of(*name) != Held::Table,
            Seen::Target(Value::Name(name)) => self.kind_of(*name) == Held::Nothing,
            Seen::Target(Value::Chain(base, _)) => match &**base {
                Value::Name(name) => !is_way(*name) && self.kind_of(*name) == Held::Nothing,
                _ => true,
            },
            Seen::Iterator(value) if is_walk(value) => return (false, true),
            Seen::Iterator(value) => return self.look(Seen::Value(value)),
            Seen::Value(Value::Chain(base, links)) => match (&**base, &links[..]) {
                (Value::Name(name), [Link::Method(..), ..]) => {
                    !is_way(*name) && self.kind_of(*name) != Held::Table
                }
                (Value::Name(name), _) => !is_way(*name),
                _ => true,
            },
            _ => true,
        };
        (true, is_fine)
    }

    fn kind_of(&self, name: Name<'_>) -> Held {
        match name {
            Name::Local(id) if self.tree.locals[id].function == 0 => match self.kinds.get(&id) {
                Some(Kind::Table) => Held::Table,
                _ => Held::Other,
            },
            _ => Held::Nothing,
        }
    }

    // --- functions ----------------------------------------------------------------------------------

    fn proofs(&self, commands: &Commands<'_>) -> Vec<(Vec<u8>, Proof)> {
        if !self.is_known || self.has_hidden_ways() {
            return Vec::new();
        }
        let is_constant = |id: LocalId| {
            let is_plain = self.kinds.get(&id) == Some(&Kind::Plain);
            is_plain && self.tree.locals[id].assigned == 0
        };
        let known = self.registered.iter();
        known
            .map(|(name, &function)| {
                let bounds = bounded::function(self.tree, commands, function, &is_constant);
                let proof = Proof::new(bounds, self.reads_only(function, commands));
                (name.clone(), proof)
            })
            .collect()
    }

    /// Whether functions may be registered where [`Library::load`] does not see it.
    fn has_hidden_ways(&self) -> bool {
        let mut is_hidden = false;
        let mut seen_here = 0;
        for function in &self.tree.functions {
            visit(&function.body, &mut |seen| {
                let (Seen::Value(value) | Seen::Target(value) | Seen::Iterator(value)) = seen;
                match value {
                    Value::Name(name) => is_hidden |= is_way(*name) || is_server(*name),
                    Value::Chain(base, links) => {
                        if let Value::Name(name) = **base {
                            is_hidden |= is_way(name);
                            is_hidden |= is_server(name) && !matches!(links[0], Link::Field(_));
                            let is_register = matches!(links[0], Link::Field(b"register_function"));
                            seen_here += usize::from(is_server(name) && is_register);
                        }
                    }
                    _ => {}
                }
                true
            });
        }
        is_hidden || seen_here != self.registered.len()
    }

    /// Whether this function, and those of the library that it may call, call only commands that read.
    fn reads_only(&self, function: FunctionId, commands: &Commands<'_>) -> bool {
        let mut todo = vec![function];
        let mut done = HashSet::new();
        while let Some(function) = todo.pop() {
            if !done.insert(function) {
                continue;
            }
            let Some(scan) = scan(self.tree, function, commands) else {
                return false;
            };
            todo.extend(scan.functions);
            for id in scan.locals {
                let local = &self.tree.locals[id];
                if local.function != 0 {
                    // Of a function around it, which is looked at, too.
                    continue;
                }
                match self.kinds.get(&id) {
                    Some(Kind::Plain) if local.assigned == 0 => {}
                    Some(Kind::Function(id)) if local.assigned == 0 => todo.push(*id),
                    _ => return false,
                }
            }
        }
        true
    }
}

/// The only field of this name.
fn field<'t, 'a>(
    entries: &'t [(Option<Value<'a>>, Value<'a>)],
    name: &[u8],
) -> Option<&'t Value<'a>> {
    let is_named =
        |key: &Option<Value<'a>>| matches!(key, Some(Value::String(key)) if &key[..] == name);
    let mut found = entries.iter().filter(|(key, _)| is_named(key));
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

/// Whether this is `pairs` or `ipairs` of something that has a name.
fn is_walk(value: &Value<'_>) -> bool {
    let Value::Chain(base, links) = value else {
        return false;
    };
    let is_walk = matches!(**base, Value::Name(Name::Global(b"ipairs" | b"pairs")));
    let is_of_name = |values: &[Value<'_>]| matches!(values, [Value::Name(_)]);
    is_walk && matches!(&links[..], [Link::Call(values)] if is_of_name(values))
}

/// What a function gets hold of by a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// Nothing of the library's.
    Nothing,
    /// A table of the library's.
    Table,
    /// Something else of the library's.
    Other,
}
