//! The RDB format: snapshots and DUMP payloads.

pub mod decode;
pub mod encode;
pub mod format;
