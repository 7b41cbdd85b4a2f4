//! The table of directives.

/// Whether a directive has its effect in Kivi.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Has its effect.
    Working,
    /// Accepted everywhere and without effect by nature.
    Accepted,
    /// Its feature is still to come.
    Later,
}

/// One row of the table.
#[derive(Debug)]
pub struct Directive {
    /// The canonical name.
    pub name: &'static str,
    /// Other names of the same value.
    pub aliases: &'static [&'static str],
    /// The value that CONFIG GET shows on a fresh server.
    pub default: &'static str,
    /// Whether it works.
    pub status: Status,
    /// One sentence for users.
    pub doc: &'static str,
}

/// Every directive.
pub fn directives() -> &'static [Directive] {
    &[]
}

/// The directive called `name` (any case, alias or not).
pub fn find(_name: &[u8]) -> Option<&'static Directive> {
    None
}

/// The directives whose feature is still to come.
pub fn later() -> impl Iterator<Item = &'static Directive> {
    directives()
        .iter()
        .filter(|directive| directive.status == Status::Later)
}
