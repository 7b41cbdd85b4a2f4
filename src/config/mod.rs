//! Configuration: one table of directives, and everything that is read from or written by it.
//!
//! - `table`: one row per directive: name, aliases, kind, default, mutability, status, a sentence.
//! - `kind`: what a directive's value may be; text -> `Value` -> text, with Valkey's error texts.
//! - `typed`: `Config`, the typed fields that subsystems read. Nobody looks a directive up by string.
//! - `store`: `ConfigStore`: CONFIG GET and an atomic CONFIG SET over the table.
//! - `grammar`, `toml`, `sources`, `cli`: files, `.toml` files, environment, command line.
//! - `rewrite`: CONFIG REWRITE, keeping the comments and the order of the file.
//!
//! Invariant: a value in the store has passed its row's kind, and the typed fields are always the
//! image of the store; `ConfigStore::set` replaces both or neither.
//!
//! To add a directive: one row in `table` and its lines in `redis.conf.example` (a test compares).
//! To make one work: set its status to `Working` and add its field in `typed` (a test compares).

mod cli;
mod kind;
mod sources;
mod store;
mod table;
mod typed;

pub use cli::{Invocation, Ping, USAGE, parse};
pub use kind::{BindAddress, OutputLimit, OutputLimits};
pub use sources::{ConfigError, FileSource, Sources, Warning, load};
pub use store::{Changes, ConfigStore, RewriteError};
pub use table::{Directive, Status, directives, find, later};
pub use typed::{
    Config, EnableCommand, Field, LogFormat, LogLevel, LogTimestampFormat, Supervised,
};
