//! Scripting: Lua for EVAL and functions. Knows no commands, no clients and no locks: what a script
//! asks of the server goes through [`Caller`].
//!
//! - `vm`: an interpreter with everything that scripts see; a worker has one for EVAL and one for
//!   functions, and the server one more for libraries that keep state between calls. Compiled scripts and
//!   loaded libraries are kept in it and follow the registries by their epochs.
//! - `sandbox`: the globals, which no script can change. `redis_api`: `redis.*`, `server.*`.
//! - `convert`: replies to Lua values and back.
//! - `lib`: cjson, cmsgpack, struct, bit, and patterns of strings.
//! - `cache`: scripts by their SHA1, for EVALSHA. `functions`: libraries. `shebang`: the first line of both.
//! - `proof`: what can be told of a script before it runs.
//! - `running`: what runs now, for SCRIPT KILL and its like.

use std::sync::atomic::AtomicU64;

use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::CmdError;

pub mod cache;
pub mod convert;
pub mod functions;
pub mod lib;
pub mod proof;
pub mod redis_api;
pub mod running;
pub mod sandbox;
pub mod shebang;
pub mod vm;

#[cfg(test)]
mod tests;

pub use cache::{Cache, Recent, Script};
pub use functions::{Function, Libraries, Library};
pub use proof::Proof;
pub use running::Running;
pub use vm::Vm;

/// What the server knows of scripts.
#[derive(Default)]
pub struct Scripts {
    /// Of EVAL and SCRIPT LOAD.
    pub cache: Cache,
    /// Of FUNCTION.
    pub libraries: Libraries,
    /// What runs now.
    pub running: Running,
    /// Memory of all interpreters for scripts, bytes.
    pub vm_bytes: AtomicU64,
    /// Of all of workers for functions; there is another one, see [`Libraries::home`].
    pub functions_vm_bytes: AtomicU64,
}

/// What a script or a function says of itself (`#!lua flags=...`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScriptFlags {
    /// `no-writes`: commands that write are refused.
    pub no_writes: bool,
    /// `allow-oom`: runs although memory is over its limit.
    pub allow_oom: bool,
    /// `allow-stale`: runs on a replica whose link is down.
    pub allow_stale: bool,
    /// `no-cluster`: does not run in a cluster.
    pub no_cluster: bool,
    /// `allow-cross-slot-keys`: may touch keys of several slots.
    pub allow_cross_slot_keys: bool,
    /// There is no shebang: what the flags say is decided by what the script does.
    pub is_legacy: bool,
}

/// Where the writes of a script are repeated (`redis.set_repl`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Repl {
    /// In the append-only file.
    pub aof: bool,
    /// By replicas.
    pub replica: bool,
}

/// What becomes of a script that has run for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tick {
    /// It goes on.
    Continue,
    /// It ends with this error (SCRIPT KILL), which it cannot catch.
    End(CmdError),
}

/// How important a line is that a script logs (`redis.log`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// `redis.LOG_DEBUG`
    Debug,
    /// `redis.LOG_VERBOSE`
    Verbose,
    /// `redis.LOG_NOTICE`
    Notice,
    /// `redis.LOG_WARNING`
    Warning,
}

/// Writes a line of a script to the server's log.
pub fn log(level: LogLevel, text: &str) {
    match level {
        LogLevel::Debug => tracing::trace!("<lua> {text}"),
        LogLevel::Verbose => tracing::debug!("<lua> {text}"),
        LogLevel::Notice => tracing::info!("<lua> {text}"),
        LogLevel::Warning => tracing::warn!("<lua> {text}"),
    }
}

/// The server as a script sees it.
pub trait Caller {
    /// Runs a command (`redis.call`), and writes its reply to `out`, which is empty and speaks the
    /// protocol that the script has chosen. An error is one of the call itself (an unknown command, one
    /// that scripts may not call, wrong arity, ...) or what the command failed with: both are told the
    /// script alike. Errors within replies (of EXEC) are in `out`.
    fn call(&mut self, argv: Argv<'_>, out: &mut ReplyWriter) -> Result<(), CmdError>;

    /// The script has run for some ten thousands of instructions.
    fn tick(&mut self) -> Tick;

    /// `redis.log`: to be written with [`log`], unless the script begins again.
    fn log(&mut self, level: LogLevel, text: String);

    /// `redis.set_repl`.
    fn set_repl(&mut self, repl: Repl);

    /// `redis.acl_check_cmd`: whether the user may run this; an error if there is no such command.
    fn acl_check_cmd(&mut self, argv: Argv<'_>) -> Result<bool, CmdError>;
}
