//! Stream commands: the rows of the family but for those of consumer groups, and what the files of
//! the family share.

use super::Command;

mod group;
mod info;
mod references;

pub use group::COMMANDS as GROUP_COMMANDS;

/// The rows of this family.
pub const COMMANDS: &[Command] = &[];
