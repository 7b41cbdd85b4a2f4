//! Kivi: a drop-in, multi-threaded Redis. This file is the map: the layers in reading order, top first.
//!
//! A module may use the rows below its own, never above; `tests/tidy.rs` checks it. What each layer is for and why stands
//! in ARCHITECTURE.md and at the top of each module.

// Start order, signals, background threads, shutdown.
pub mod boot;
// Every task that owns a client's socket; the one that owns those of browsers and monitoring.
pub mod http;
pub mod net;
// The path of a command.
pub mod exec;
// The commands, a family a file.
pub mod commands;
// Owner of the subsystems.
pub mod server;
// Subsystems that deliver to clients.
pub mod pubsub;
pub mod tracking;
// What TLS is spoken with.
pub mod tls;
// Subsystems: own their state, know no commands and no sockets.
pub mod client;
pub mod config;
pub mod persist;
pub mod script;
pub mod stats;
// The keyspace.
pub mod acl;

pub mod db;
// Types of values and their encodings.
pub mod value;
// What a command is.
pub mod spec;
// The protocol.
pub mod resp;
// Data structures.
pub mod ds;
// Pure functions.
pub mod util;
// The operating system.
pub mod sys;
