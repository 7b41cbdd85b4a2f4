//! What can be told of a script before it runs.
//!
//! A script may do anything, so it runs alone (`exec::script`), unless its source shows that it needs less:
//! - *bounded*: it ends after few steps, and each command that it calls is named by a literal and gets its
//!   keys from what was declared: `KEYS[n]`, or locals that are that and nothing else. Straight-line
//!   code, `if`, loops over KEYS and ARGV, and functions of the libraries that cost no more than they are
//!   given; see `bounded`.
//! - *reads only*: each command that it calls is named by a literal and only reads; see `reading`.
//! - of a library: *stateless*, its functions keep nothing between two calls; see `library`.
//!
//! All of this is conservative: a source is read by a parser of its own (`lexer`, `syntax`), which has names
//! resolved, and whatever is not understood, too long or nested too deeply is not proven. What a proof
//! relies on besides is that no script can change globals, libraries or metatables of strings
//! (`sandbox`). Who runs a bounded script still looks at the size of the request
//! ([`Proof::is_bounded_for`]), which limits loops and values.
//!
//! To have more proven, begin with a source in `tests`, and with the way in which it could lie.

use crate::spec::{Command, Flags, Group, KeySpec};

mod bounded;
mod lexer;
mod library;
mod reading;
mod syntax;

#[cfg(test)]
mod tests;

pub use library::{LibraryProof, analyse_library};

/// Longest source that is looked at, bytes.
const SOURCE_BYTES_MAX: usize = 256 << 10;
/// Most arguments of a request, keys included, for which a script is still bounded: loops over them.
const ARGUMENTS_MAX: usize = 1024;
/// Longest request for which a script is still bounded, bytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// The same with loops, whose rounds may go over all of it.
const LOOPS_REQUEST_BYTES_MAX: usize = 64 << 10;

/// See the module's text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Proof {
    /// Its calls name only keys that were declared, and it ends after few steps: the shards of its
    /// declared keys are all that it needs. Ask [`Proof::is_bounded_for`].
    pub is_bounded: bool,
    /// It is, and has loops.
    pub has_loop: bool,
    /// It calls only commands that read.
    pub reads_only: bool,
}

impl Proof {
    /// Whether the script is bounded when it is called with so many keys and other arguments, of so many
    /// bytes.
    pub fn is_bounded_for(self, arguments: usize, bytes: usize) -> bool {
        let bytes_max = match self.has_loop {
            true => LOOPS_REQUEST_BYTES_MAX,
            false => REQUEST_BYTES_MAX,
        };
        self.is_bounded && arguments <= ARGUMENTS_MAX && bytes <= bytes_max
    }

    fn new(bounds: Option<bounded::HasLoop>, reads_only: bool) -> Proof {
        Proof {
            is_bounded: bounds.is_some(),
            has_loop: bounds.is_some_and(|bounds| bounds.0),
            reads_only,
        }
    }
}

/// What has to be known of a command.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// It touches nothing but these keys and may be called by scripts.
    pub is_confined: bool,
    /// It changes nothing.
    pub reads_only: bool,
    /// It does not go over all of a value.
    pub is_short: bool,
}

impl Facts {
    /// Of a row, which is no container's.
    pub fn of<H>(row: &Command<H>) -> Facts {
        let elsewhere = Flags::EXCLUSIVE
            | Flags::ALL_SHARDS
            | Flags::NOSCRIPT
            | Flags::RUNS_SCRIPT
            | Flags::RUNS_QUEUE
            | Flags::NOT_QUEUED
            | Flags::PROTECTED
            | Flags::ADMIN;
        // Without keys there are PUBLISH and its like, TIME, and what had better run alone (SELECT).
        let is_plain = match row.docs.group {
            Group::PubSub => true,
            Group::Server => row.flags.has(Flags::FAST),
            _ => !row.keys.is_empty(),
        };
        let changes = Flags::WRITE | Flags::MAY_REPLICATE | Flags::NOSCRIPT;
        let is_data = row.flags.has(Flags::READONLY);
        // DEL and RENAME, whose values are freed elsewhere.
        let only_moves = row.docs.group == Group::Generic
            && row.flags.has(Flags::WRITE)
            && !row.flags.has(Flags::DENYOOM);
        Facts {
            keys: row.keys,
            is_confined: is_plain && row.exclusive_if.is_none() && !row.flags.any(elsewhere),
            reads_only: !row.flags.any(changes) && (is_data || is_plain && row.keys.is_empty()),
            is_short: only_moves || row.flags.has(Flags::FAST) || row.docs.complexity == "O(1)",
        }
    }
}

/// Finds a command by its name and, if that is a literal, too, the argument behind it (for containers).
/// `None` if there is no such command, or it cannot be told which one it is.
pub type Commands<'c> = dyn Fn(&[u8], Option<&[u8]>) -> Option<Facts> + 'c;

/// What can be told of a script of EVAL.
pub fn analyse(source: &[u8], commands: &Commands<'_>) -> Proof {
    let Some(tree) = syntax::parse(source) else {
        return Proof::default();
    };
    let bounds = bounded::script(&tree, commands);
    Proof::new(bounds, reading::is_script(&tree, commands))
}
