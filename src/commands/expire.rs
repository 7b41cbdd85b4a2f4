//! expire commands.

use super::Command;

/// The rows of this family.
pub const COMMANDS: &[Command] = &[];
