//! What a row of the table of directives says, and finding rows by name. The rows are in `rows`.
//!
//! Every name, alias or canonical, is in lower case and belongs to one row; lookups take any case.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::kind::Kind;
use super::rows::THEMES;

/// Whether a directive has its effect in Kivi.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Has its effect.
    Working,
    /// Accepted everywhere and without effect by nature: deprecated, or always so in Kivi.
    Accepted,
    /// Its feature is still to come: accepted at start with a warning, refused by CONFIG SET.
    Later,
}

/// When a directive may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mutability {
    /// At start and by CONFIG SET.
    Mutable,
    /// At start, and by CONFIG SET if `enable-protected-configs` allows it.
    Protected,
    /// At start only; CONFIG GET shows it.
    Immutable,
    /// At start only; CONFIG does not know it.
    FileOnly,
}

/// One row of the table.
#[derive(Debug)]
pub struct Directive {
    /// The canonical name, in lower case.
    pub name: &'static str,
    /// Other names of the same value.
    pub aliases: &'static [&'static str],
    /// The value that CONFIG GET shows on a fresh server (for `io-threads`: the value stored).
    pub default: &'static str,
    /// Whether it works.
    pub status: Status,
    /// One sentence for users.
    pub doc: &'static str,
    pub(super) kind: Kind,
    pub(super) mutability: Mutability,
    /// CONFIG GET shows it only when asked for by its full name.
    pub(super) hidden: bool,
    /// CONFIG SET puts it into force also when the value is the same: it names a file, which may be another now.
    pub(super) reapplied: bool,
    /// CONFIG REWRITE writes it although CONFIG SET does not know it: commands change what it says.
    pub(super) rewritten: bool,
}

/// Starts a row; the methods of [`Directive`] add what is special.
pub(super) const fn row(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    status: Status,
) -> Directive {
    Directive {
        name,
        aliases: &[],
        default,
        status,
        doc: "",
        kind,
        mutability: Mutability::Mutable,
        hidden: false,
        rewritten: false,
        reapplied: false,
    }
}

impl Directive {
    /// Its value is nobody else's business.
    #[cfg(test)]
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Text(super::kind::Check::Secret)
    }

    pub(super) const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    pub(super) const fn immutable(mut self) -> Self {
        self.mutability = Mutability::Immutable;
        self
    }

    pub(super) const fn protected(mut self) -> Self {
        self.mutability = Mutability::Protected;
        self
    }

    pub(super) const fn file_only(mut self) -> Self {
        self.mutability = Mutability::FileOnly;
        self
    }

    pub(super) const fn rewritten(mut self) -> Self {
        self.rewritten = true;
        self
    }

    pub(super) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub(super) const fn reapplied(mut self) -> Self {
        self.reapplied = true;
        self
    }

    pub(super) const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }
}

/// A row's place in [`directives`]: the index of its value in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Row(pub(super) usize);

impl Row {
    pub(super) fn directive(self) -> &'static Directive {
        directives()[self.0]
    }
}

/// One name under which a value is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    pub(super) name: &'static str,
    pub(super) row: Row,
}

/// Every directive, by theme, in the order of `redis.conf.example`.
pub fn directives() -> &'static [&'static Directive] {
    static ALL: LazyLock<Vec<&'static Directive>> =
        LazyLock::new(|| THEMES.iter().flat_map(|(_, rows)| *rows).collect());
    &ALL
}

/// Every name, aliases too, sorted.
pub(super) fn names() -> &'static [Name] {
    static ALL: LazyLock<Vec<Name>> = LazyLock::new(|| {
        let mut names = Vec::new();
        for (index, directive) in directives().iter().enumerate() {
            let spellings = std::iter::once(&directive.name).chain(directive.aliases);
            names.extend(spellings.map(|name| Name {
                name,
                row: Row(index),
            }));
        }
        names.sort_by_key(|name| name.name);
        names
    });
    &ALL
}

/// The row called `name` (any case, alias or not), with the spelling of the table.
pub(super) fn find_name(name: &[u8]) -> Option<Name> {
    static BY_NAME: LazyLock<HashMap<&'static [u8], Name>> = LazyLock::new(|| {
        names()
            .iter()
            .map(|name| (name.name.as_bytes(), *name))
            .collect()
    });
    BY_NAME.get(name.to_ascii_lowercase().as_slice()).copied()
}

/// The directive called `name` (any case, alias or not).
pub fn find(name: &[u8]) -> Option<&'static Directive> {
    find_name(name).map(|name| name.row.directive())
}

/// The directives whose feature is still to come.
#[cfg(test)]
pub fn later() -> impl Iterator<Item = &'static Directive> {
    directives()
        .iter()
        .copied()
        .filter(|directive| directive.status == Status::Later)
}
