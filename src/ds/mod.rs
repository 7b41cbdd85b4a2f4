//! Data structures with no knowledge of Redis: the segment table and the entries it holds.
//! Everything here is generic storage: types, encodings and commands live above (`db`, `value`).
//! This folder may use `unsafe`; every block argues its safety, and every SIMD path has a scalar
//! twin that other architectures and Miri run.
//!
//! - [`bits`]: bytes as a sequence of bits.
//! - [`buf`]: bytes that can be edited in place.
//! - [`collection`]: large values, behind a pointer in their key's entry.
//! - [`entry`]: one key with its value in one allocation.
//! - [`hash`]: the keyed hash of a process.
//! - [`hll`]: the registers of a HyperLogLog.
//! - [`intset`]: sorted integers in Redis's byte format.
//! - [`listpack`]: a short sequence of strings and integers in one block of bytes.
//! - [`lock`]: the lock of a shard.
//! - [`mover`]: moving data together in memory.
//! - [`quicklist`]: a long list.
//! - [`table`]: the extendible hash of small segments, with SCAN and an exact expiry index.
//! - [`zset`]: the large sorted set, a table and a tree that counts.
#![allow(unsafe_code)]

pub mod bits;
pub mod buf;
pub mod collection;
pub mod entry;
pub mod footprint;
pub mod hash;
pub mod hll;
pub mod intset;
pub mod listpack;
pub mod lock;
pub mod mover;
pub mod quicklist;
pub mod stream;
pub mod table;
pub mod zset;
