//! Persistence: what is written to disk and read back. Knows the keyspace and files; no commands, no
//! sockets, no configuration (options are passed in).
//!
//! - `rdb`: the format of snapshots and of DUMP payloads, written and read;
//! - `snapshot`: a point-in-time walk over the live keyspace, without fork;
//! - `aof`: the append-only log, in several files with a manifest;
//! - `state`: what is going on, what is due, and the figures of INFO persistence;
//! - `disk`: how files are reached, so that tests can let a disk fail.

pub mod aof;
pub mod disk;
pub mod rdb;
pub mod snapshot;
pub mod state;

pub use state::State;
