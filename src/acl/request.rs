//! What rights are asked about, and what they answer when something is lacking.

use crate::db::DbIndex;
use crate::resp::parse::Argv;
use crate::spec::Command;

/// What is asked about.
pub struct Request<'a, H: 'static> {
    /// The number of the command, or of the subcommand, in the table.
    pub command: u16,
    /// Its row.
    pub row: &'a Command<H>,
    /// The request, names included.
    pub argv: Argv<'a>,
    /// The database that it runs in.
    pub db: DbIndex,
}

/// Why a request may not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial {
    /// The command (or subcommand) itself.
    Command,
    /// The database that this argument names; 0 for the one that it runs in.
    Database(usize),
    /// The key at this argument.
    Key(usize),
    /// The channel at this argument.
    Channel(usize),
}

impl Denial {
    /// Grows with how much was found to be allowed before this.
    pub(super) fn closeness(self) -> (u8, usize) {
        match self {
            Denial::Database(at) => (0, at),
            Denial::Command => (1, 0),
            Denial::Key(at) => (2, at),
            Denial::Channel(at) => (3, at),
        }
    }
}
