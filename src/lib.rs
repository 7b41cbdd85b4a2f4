//! Kivi: a drop-in, multi-threaded Redis. This file is the map: the layers in reading order, top first.
//! A module may use the rows below its own, never above; `tests/tidy.rs` checks it.

pub mod ds;
pub mod resp;
pub mod util;
