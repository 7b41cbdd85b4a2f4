//! Bitmap commands: the rows of the family.

use super::Command;

/// The rows of this family.
pub const COMMANDS: &[Command] = &[];
