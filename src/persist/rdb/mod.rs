//! The RDB format: snapshots and DUMP payloads.
//!
//! `format` is what both directions share, `encode` writes, `decode` reads, `load` fills a keyspace
//! from a file, `check` is what `--check-rdb` tells of one.

pub mod check;
pub mod decode;
pub mod encode;
pub mod format;
pub mod load;

pub use load::{LoadProgress, OnLibrary, load_into};
