//! The keyspace: shards, locks, typed access, expiry, scanning.
//!
//! A [`Keyspace`] is a power of two of shards, each behind its own mutex. A key's shard follows from the top bits of its
//! hash, so all numbered databases of a key live in the same shard. Commands run on the thread of their connection:
//! `exec` locks the shards of a command's keys in ascending order ([`Locks`]) and hands the handler an [`Access`].
//!
//! Invariants:
//! - locks are taken in ascending shard order, never held over an await;
//! - mutation goes through [`Access`] and its [`KeyMut`] guards, the one write choke point: they keep the expiry index
//!   right and record what changed in [`Effects`];
//! - a key that is past its expiry is never seen, whatever the expiry cycle does.
//!
//! What others are told of writes: `notice`, `listen`. What is logged of them: `oplog`.

pub mod access;
pub mod census;
pub mod check;
pub mod defrag;
pub mod effects;
pub mod evict;
pub mod expire;
mod field_due;
pub mod gate;
pub mod keyspace;
pub mod lazyfree;
pub mod listen;
pub mod load;
pub mod notice;
pub mod oplog;
pub mod prefixes;
pub mod pressure;
pub mod scan;
pub mod side;
pub mod sizes;
pub mod snapshot;
pub mod usage;
pub mod wait;

pub use access::{Access, Expire, KeyMut, Lookup, Lookups, Needs, PREFETCH_KEYS_MAX, Record};
pub use census::{Census, DbCensus};
pub use check::Check;
pub use effects::Effects;
pub use evict::{Evicted, Eviction, Policy};
pub use gate::{Gate, GateGuard};
pub use keyspace::{DbIndex, Keyspace, Locks, ShardId, ShardStats};
pub use listen::{WATCHED_KEY_BYTES, WatchFlag};
pub use notice::{EventClass, Interest};
pub use wait::{GoneError, Outcome, Ready, Request, Waiter, Waiting};

#[cfg(test)]
mod field_tests;
#[cfg(test)]
mod tests;
