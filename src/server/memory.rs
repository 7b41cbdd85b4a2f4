//! What takes long to find out of memory, as it was a moment ago: the allocator walks its arenas, the system
//! writes a text, and clients, channels and commands are looked at one by one. `used_memory` is not
//! among it: that is exact.

use crate::sys::alloc::{self, AllocatorStats};
use crate::sys::process;

use super::Server;

/// See the module's text.
#[derive(Clone, Copy, Default, Debug)]
pub struct MemorySample {
    /// What the allocator holds.
    pub heap: AllocatorStats,
    /// Of the process, resident, bytes.
    pub rss_bytes: u64,
    /// What clients take, bytes.
    pub clients_bytes: u64,
    /// Channels and patterns with those who have subscribed to them, bytes.
    pub pubsub_bytes: u64,
    /// Figures of commands, bytes.
    pub stats_bytes: u64,
}

impl Server {
    /// The last sample, or a new one if that is too old.
    pub fn memory(&self, now_ms: u64) -> MemorySample {
        self.memory_sample.get_or_take(now_ms, || {
            let mut clients_bytes = 0;
            self.clients
                .for_each(|client| clients_bytes += client.own_memory_bytes() as u64);
            MemorySample {
                heap: alloc::stats(),
                rss_bytes: process::rss_bytes(),
                clients_bytes,
                pubsub_bytes: self.pubsub.memory_bytes() as u64,
                stats_bytes: self.stats.memory_bytes(),
            }
        })
    }
}
