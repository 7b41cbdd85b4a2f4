//! Where the server's memory is: one answer for INFO, MEMORY STATS and MEMORY DOCTOR.
//!
//! `used_memory` is exact ([`alloc`]), and so are the parts that are kept as sums. What is none of the parts
//! is the dataset, as in Redis: a part that is forgotten here makes the dataset look larger than it is. What
//! takes longer to find out was sampled lately ([`MemorySample`]), as in Redis, too.
//!
//! Other than in Redis, interpreters and what a snapshot holds back come from the same allocator as the
//! keys, so they are part of `used_memory` and of the overhead.

use std::sync::atomic::Ordering;

use crate::db::Census;
use crate::server::Server;
use crate::server::memory::MemorySample;
use crate::sys::alloc::{self, AllocatorStats};

/// See the module's text.
pub struct Overview {
    /// In use.
    pub used_bytes: u64,
    /// What the allocator held when it was last asked.
    pub heap: AllocatorStats,
    /// Of the process, resident, at the same time.
    pub rss_bytes: u64,
    /// The most that was ever in use.
    pub peak_bytes: u64,
    /// When that was, Unix seconds.
    pub peak_at_secs: u64,
    /// In use before the first client came.
    pub startup_bytes: u64,
    /// What clients took when it was last added up.
    pub clients_bytes: u64,
    /// What is to be written to the log.
    pub aof_buffer_bytes: u64,
    /// Cached scripts.
    pub scripts_bytes: u64,
    /// Libraries.
    pub functions_bytes: u64,
    /// Interpreters of scripts.
    pub eval_vm_bytes: u64,
    /// Interpreters of functions.
    pub functions_vm_bytes: u64,
    /// Tables without the entries in them.
    pub tables_bytes: u64,
    /// What is known of keys besides: who waits for them or tracks them, when fields of theirs expire, how
    /// large they are, how often those were used that were evicted.
    pub side_bytes: u64,
    /// Channels and patterns with those who have subscribed to them.
    pub pubsub_bytes: u64,
    /// Figures of commands.
    pub stats_bytes: u64,
    /// What a running snapshot holds back.
    pub snapshot_bytes: u64,
}

/// One figure as a multiple of another, and what it has more.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// How often the other goes into it.
    pub ratio: f32,
    /// The difference.
    pub bytes: i64,
}

impl Part {
    fn of(part: u64, whole: u64) -> Part {
        Part {
            ratio: part as f32 / whole.max(1) as f32,
            bytes: part as i64 - whole as i64,
        }
    }
}

impl Overview {
    /// As things are now; the caller has counted keys.
    pub fn new(server: &Server, census: &Census) -> Overview {
        let used_bytes = alloc::allocated_bytes();
        let keyspace = &server.keyspace;
        let scripts = &server.scripts;
        let libraries = &scripts.libraries;
        let now_ms = server.clock.unix_ms();
        let aof = server.persist.aof();
        let MemorySample {
            heap,
            rss_bytes,
            clients_bytes,
            pubsub_bytes,
            stats_bytes,
        } = server.memory(now_ms);
        let workers_vm_bytes = scripts.functions_vm_bytes.load(Ordering::Relaxed);
        Overview {
            used_bytes,
            heap,
            rss_bytes,
            peak_bytes: server.stats.note_memory(used_bytes, now_ms),
            peak_at_secs: server.stats.memory_peak_at_ms.load(Ordering::Relaxed) / 1000,
            startup_bytes: server.memory_startup_bytes.load(Ordering::Relaxed),
            clients_bytes,
            aof_buffer_bytes: aof.map_or(0, |aof| aof.buffered_bytes(&keyspace.oplog)),
            scripts_bytes: scripts.cache.figures().bytes,
            functions_bytes: libraries.current().bytes(),
            eval_vm_bytes: scripts.vm_bytes.load(Ordering::Relaxed),
            functions_vm_bytes: workers_vm_bytes + libraries.home_bytes(),
            tables_bytes: census.table_bytes,
            side_bytes: census.side_bytes + keyspace.usage.ghost_bytes() as u64,
            pubsub_bytes,
            stats_bytes,
            snapshot_bytes: keyspace.snapshot.kept_bytes(),
        }
    }

    /// Everything that is no dataset.
    pub fn overhead_bytes(&self) -> u64 {
        self.startup_bytes
            + self.clients_bytes
            + self.aof_buffer_bytes
            + self.scripts_bytes
            + self.functions_bytes
            + self.eval_vm_bytes
            + self.functions_vm_bytes
            + self.tables_bytes
            + self.side_bytes
            + self.pubsub_bytes
            + self.stats_bytes
            + self.snapshot_bytes
    }

    /// What keys and values take.
    pub fn dataset_bytes(&self) -> u64 {
        // The parts are of slightly different moments.
        self.used_bytes.saturating_sub(self.overhead_bytes())
    }

    /// The dataset's share of what was taken since the start, percent.
    pub fn dataset_percent(&self) -> f32 {
        let net_bytes = self.used_bytes.saturating_sub(self.startup_bytes);
        percent(self.dataset_bytes(), net_bytes)
    }

    /// What is in use of the most that ever was, percent.
    pub fn peak_percent(&self) -> f32 {
        percent(self.used_bytes, self.peak_bytes)
    }

    /// Of the pages in use what is not: `allocator_frag`.
    pub fn fragmentation(&self) -> Part {
        Part::of(self.heap.active, self.heap.allocated)
    }

    /// Of the allocator's resident pages what is not in use: `allocator_rss`.
    pub fn allocator_rss(&self) -> Part {
        Part::of(self.heap.resident, self.heap.active)
    }

    /// Of the resident pages what is not the allocator's: `rss_overhead`.
    pub fn rss_overhead(&self) -> Part {
        Part::of(self.rss_bytes, self.heap.resident)
    }

    /// Of the resident pages what is not in use: `mem_fragmentation`.
    pub fn total_fragmentation(&self) -> Part {
        Part::of(self.rss_bytes, self.used_bytes)
    }
}

fn percent(part: u64, whole: u64) -> f32 {
    part as f32 * 100.0 / whole.max(1) as f32
}
