//! What a request touches besides keys: channels and databases, as data of the row.
//!
//! Access control asks for both. To add a command that names either: say so in its row.

use crate::resp::parse::Argv;

/// Which arguments are channels that a command uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Channels {
    /// None.
    #[default]
    None,
    /// The first one, to which it publishes.
    First,
    /// All.
    All,
    /// All, as patterns.
    Patterns,
}

impl Channels {
    /// Positions of the channels in a request with so many arguments.
    pub fn positions(self, argc: usize) -> std::ops::Range<usize> {
        match self {
            Channels::None => 0..0,
            Channels::First => 1..argc.min(2),
            Channels::All | Channels::Patterns => 1..argc,
        }
    }
}

/// Which databases a command looks at.
#[derive(Clone, Copy, Debug, Default)]
pub enum Databases {
    /// The one that it runs in, if it looks at keys.
    #[default]
    Current,
    /// Those that these arguments name, whichever it runs in.
    Named(&'static [usize]),
    /// The one that it runs in, and those that the arguments name whose positions are found.
    Also(fn(Argv<'_>) -> Vec<usize>),
    /// All there are.
    All,
}
