//! `maxmemory`: what a worker may still take, and making room when that is nothing.
//!
//! How much is in use is the sum over all threads' counters. A worker adds it up once a millisecond, or
//! when it has grown by [`SLACK_BYTES`] itself since; in between it knows only its own growth, which
//! costs a few nanoseconds. So all workers together overshoot by at most their number times the slack.
//!
//! Keys are evicted before a command runs, and while no shard is held. A script, or a transaction, goes by
//! what was found before it began.

use std::cell::{Cell, RefCell};

use crate::db::Evicted;
use crate::db::evict::Sweep;
use crate::server::Server;
use crate::sys::alloc;

/// How much a worker may grow before it looks at what the others have taken.
const SLACK_BYTES: i64 = 64 * 1024;
/// How often one command evicts some keys at most.
const SLICES_MAX: usize = 256;

/// What one worker knows of the memory in use.
#[derive(Default)]
pub(super) struct Memory {
    /// In use by all when it was last added up, bytes.
    used_bytes: Cell<u64>,
    /// This thread's own share of it.
    own_bytes: Cell<i64>,
    /// When that was, Unix ms.
    summed_at_ms: Cell<u64>,
    sweep: RefCell<Sweep>,
    /// What was found before the last command.
    is_out: Cell<bool>,
}

impl Memory {
    /// Makes room for a command if there is none; whether there is none then.
    #[inline]
    pub(super) fn is_out(&self, server: &Server, now_ms: u64) -> bool {
        let limit_bytes = server.keyspace.eviction.limit_bytes();
        let is_out = limit_bytes > 0 && self.is_out_of(limit_bytes, server, now_ms);
        self.is_out.set(is_out);
        is_out
    }

    /// What [`Memory::is_out`] has found before the command that runs.
    pub(super) fn was_out(&self) -> bool {
        self.is_out.get()
    }

    fn is_out_of(&self, limit_bytes: u64, server: &Server, now_ms: u64) -> bool {
        if self.used_bytes(server, now_ms) <= limit_bytes {
            return false;
        }
        if server.keyspace.gate.is_closed() {
            return false;
        }
        let mut sweep = self.sweep.borrow_mut();
        for _ in 0..SLICES_MAX {
            let over_bytes = self.used_bytes(server, now_ms).saturating_sub(limit_bytes);
            if over_bytes == 0 {
                return false;
            }
            let evicted = server.keyspace.evict_some(&mut sweep, now_ms, over_bytes);
            if evicted == Evicted::Nothing {
                return self.sum(server, now_ms) > limit_bytes;
            }
        }
        false
    }

    /// What counts against the limit.
    #[inline]
    fn used_bytes(&self, server: &Server, now_ms: u64) -> u64 {
        let grown = alloc::thread_net_bytes() - self.own_bytes.get();
        if now_ms != self.summed_at_ms.get() || grown.abs() > SLACK_BYTES {
            return self.sum(server, now_ms);
        }
        self.used_bytes.get().saturating_add_signed(grown)
    }

    fn sum(&self, server: &Server, now_ms: u64) -> u64 {
        let used = alloc::allocated_bytes().saturating_sub(server.not_counted_bytes());
        self.used_bytes.set(used);
        self.own_bytes.set(alloc::thread_net_bytes());
        self.summed_at_ms.set(now_ms);
        used
    }
}
