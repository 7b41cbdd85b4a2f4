//! EVAL, EVALSHA and SCRIPT.

use super::Command;

pub(super) const COMMANDS: &[Command] = &[];
