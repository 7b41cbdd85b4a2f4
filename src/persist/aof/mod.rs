//! The append-only log: records of writes in the order of their execution, in several files that a
//! manifest lists.

pub mod commands;
