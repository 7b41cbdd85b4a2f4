//! The commands of consumer groups: their rows.

use crate::commands::Command;

/// The rows of consumer groups.
pub const COMMANDS: &[Command] = &[];
