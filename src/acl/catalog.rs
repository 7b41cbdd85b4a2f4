//! The commands, as rules speak of them: names, categories, and which are subcommands of which.
//!
//! Handed over by the command table, which is above this layer. Names are the original ones, whatever
//! `rename-command` says: a rule keeps its meaning when a command is renamed.

use std::collections::HashMap;

use crate::spec::AclCategories;

/// A command of the catalogue, at the place of its number in the table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `get`, `config|set`.
    pub full_name: Box<str>,
    /// The categories that it belongs to.
    pub categories: AclCategories,
    /// Whoever logs in needs it: nobody can be kept from it.
    pub no_auth: bool,
    /// No rule may name it.
    pub is_hidden: bool,
    /// The container that it is a subcommand of.
    pub parent: Option<u16>,
    /// Its subcommands.
    pub subcommands: Vec<u16>,
}

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: Vec<Entry>,
    by_name: HashMap<Box<str>, u16>,
}

impl Catalog {
    /// Entries in the order of their numbers.
    pub fn new(entries: Vec<Entry>) -> Catalog {
        let named = (0..)
            .zip(&entries)
            .filter(|(_, entry)| !entry.is_hidden)
            .map(|(id, entry)| (entry.full_name.clone(), id));
        Catalog {
            by_name: named.collect(),
            entries,
        }
    }

    /// The number of a command by its full name, in any case.
    pub fn find(&self, name: &[u8]) -> Option<u16> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.by_name.get(name.as_str()).copied()
    }

    /// A command by its number; `None` past the end.
    pub fn entry(&self, id: u16) -> Option<&Entry> {
        self.entries.get(usize::from(id))
    }

    /// All, in the order of their numbers.
    pub fn entries(&self) -> impl Iterator<Item = (u16, &Entry)> {
        (0..).zip(&self.entries)
    }
}

/// A category by its name without `@`, in any case.
pub fn category(name: &[u8]) -> Option<AclCategories> {
    let is_it = |known: &str| known.as_bytes()[1..].eq_ignore_ascii_case(name);
    let found = AclCategories::NAMES.iter().find(|(_, known)| is_it(known));
    found.map(|(category, _)| *category)
}
