//! FUNCTION and FCALL.

use super::Command;

pub(super) const COMMANDS: &[Command] = &[];
