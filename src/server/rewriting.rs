//! The append-only log as a whole: switched on and off, rewritten, ended.

use std::sync::Arc;

use super::Server;
use super::saving::NotStarted;

/// BGREWRITEAOF: begins to rewrite the log on a thread of its own.
///
/// # Errors
/// When it did not begin.
pub fn start(_: &Arc<Server>) -> Result<(), NotStarted> {
    Err(NotStarted::Failed)
}
