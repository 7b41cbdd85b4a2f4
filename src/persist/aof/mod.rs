//! The append-only log: records of writes in the order of their execution, in several files that a
//! manifest lists.
//!
//! The files are Redis 7's: a BASE (a snapshot), INCR files that follow it, and HISTORY files, which
//! a rewrite has made superfluous and which are about to be removed.
//!
//! - `manifest`: which files there are, as text;
//! - `files`: the files and their order of creation, renaming and removal, so that at no moment a
//!   crash leaves a manifest that names a missing file;
//! - `read`: requests out of a file, in large pieces;
//! - `load`: all files into the keyspace at the start;
//! - `group`: how `appendfsync always` writes;
//! - `log`: draining, writing and syncing, one step at a time;
//! - `sync`: syncs that nobody waits for;
//! - `run`: the threads, and what others ask of them: switching on and off, rewriting, flushing;
//! - `commands`: a snapshot as commands, the BASE without `aof-use-rdb-preamble`;
//! - `check`: `--check-aof`;
//! - `survey`: reading a log without loading it.
//!
//! To add a kind of line to the files, teach `read` to skip or report it; it is the one reader.

mod check;
pub mod commands;
mod files;
mod group;
mod load;
mod log;
mod manifest;
mod read;
mod run;
mod survey;
mod sync;
#[cfg(test)]
mod tests;

use std::fmt;

pub use check::{Check, check};
pub use files::Place;
pub use load::{LoadOptions, Loaded, Target};
pub use log::{AppendFsync, Settings};
pub use run::{Aof, AofState, Rewrite};
pub use survey::{Surveyor, survey_file, survey_manifest};

/// Why the log does not go on, in Redis's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AofError(pub String);

impl fmt::Display for AofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AofError {}

/// `Err` of a text.
fn fail<T>(text: impl Into<String>) -> Result<T, AofError> {
    Err(AofError(text.into()))
}
