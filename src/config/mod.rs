//! Configuration: one table of directives, and everything that is read from or written by it.
//!
//! - `table`, `rows`: one row per directive: name, aliases, kind, default, mutability, status, and
//!   a sentence. `example` makes `redis.conf.example` from them.
//! - `kind`, `special`: what a value may be; text -> `Value` -> text, with Valkey's error texts.
//! - `typed`: `Config`, the typed fields that subsystems read; nobody looks a directive up by name.
//! - `store`: `ConfigStore`: CONFIG GET and an atomic CONFIG SET over the table.
//! - `grammar`, `toml_file`, `sources`, `cli`: files, `.toml` files, environment, command line.
//! - `compat`: what a file of others says that Kivi would not do.
//! - `rewrite`: CONFIG REWRITE, keeping the comments and the order of the file.
//!
//! Invariant: a value in the store has passed its row's kind, and the typed fields are always the
//! image of the store; `ConfigStore::set` replaces both or neither.
//!
//! To add a directive: one row in `rows`; `KIVI_TEST_BLESS=1 cargo test example` then writes
//! `redis.conf.example` anew (the test compares them otherwise).
//! To make one work: set its status to `Working` and add its field in `typed` (a test compares).

mod cli;
pub mod compat;
#[cfg(test)]
mod example;
mod grammar;
mod kind;
mod rewrite;
mod rows;
mod sources;
mod special;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod toml_file;
mod typed;

pub use cli::{CheckAof, Invocation, Ping, parse};
pub use kind::{BindAddress, MemoryShare, OutputLimit, OutputLimits, SavePoint, ShutdownFlags};
pub use rewrite::RewriteError;
pub use sources::{ConfigError, Sources, Warning, load};
pub use store::{Changes, ConfigStore};
pub use table::{Directive, Status, directives, find};
pub use typed::{
    AclPubsubDefault, AppendFsync, Config, EnableCommand, Field, LogFormat, LogLevel,
    LogTimestampFormat, OomScoreAdj, RdbVersionCheck, Supervised, SyslogFacility, TlsAuthClients,
    TlsAuthClientsUser,
};
