//! What runs now: for SCRIPT KILL, FUNCTION KILL, FUNCTION STATS, and for the answer BUSY.

/// See the module's text.
#[derive(Default)]
pub struct Running {}
