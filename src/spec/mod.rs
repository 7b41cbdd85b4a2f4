//! What a command *is*: its row in the table, and the vocabulary that rows and handlers share.
//!
//! A row ([`Command`]) is data: name, arity, flags, key positions, ACL categories, documentation. Everything that
//! must know something about a command reads it from the row (shard locks, ACL, COMMAND INFO/DOCS/GETKEYS,
//! statistics); nothing compares names after lookup. The handler's type is a parameter, so this layer knows neither
//! the keyspace nor the server.
//!
//! To add a fact about commands: a flag in [`flags`] or a field of [`Command`], and the row that has it.

pub mod args;
pub mod command;
pub mod error;
pub mod flags;
pub mod keys;
pub mod limits;
pub mod scope;
pub mod syntax;

pub use args::Args;
pub use command::{Command, Docs, Group, ScriptCode, Secrets};
pub use error::CmdError;
pub use flags::{AclCategories, Flags};
pub use keys::{Begin, Find, Finder, KeyFlags, KeySpec};
pub use scope::{Channels, Databases};
