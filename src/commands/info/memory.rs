//! INFO memory: what is in use, what for, and what the allocator and the system make of it.
//!
//! Where the figures come from is [`Overview`]'s matter. Those of features that Kivi does not have
//! (replicas, cluster) are 0, which is what they take.

use crate::commands::memory::{Overview, Part};
use crate::sys::{alloc, process};

use super::{Report, scripts};

pub(super) fn write(report: &mut Report<'_, '_>) {
    let overview = Overview::new(report.server, report.census());
    used(report, &overview);
    scripts::memory(report);
    limit(report);
    for (name, part) in [
        ("allocator_frag", overview.fragmentation()),
        ("allocator_rss", overview.allocator_rss()),
        ("rss_overhead", overview.rss_overhead()),
        ("mem_fragmentation", overview.total_fragmentation()),
    ] {
        excess(report, name, part);
    }
    buffers(report, &overview);
    report.line("mem_allocator", alloc::version());
    // A table grows segment by segment: never is there a second one besides.
    report.line("mem_overhead_db_hashtable_rehashing", 0);
    let defrag = report.server.keyspace.defrag.stats();
    report.line("active_defrag_running", defrag.running_percent);
    let lazyfree = &report.server.keyspace.lazyfree;
    report.line("lazyfree_pending_objects", lazyfree.pending());
    report.line("lazyfreed_objects", lazyfree.freed());
}

/// How much is in use, and what is the dataset's of it.
fn used(report: &mut Report<'_, '_>, overview: &Overview) {
    let heap = &overview.heap;
    let percent = |part: f32| format!("{part:.2}%");
    report.bytes("used_memory", overview.used_bytes);
    report.bytes("used_memory_rss", overview.rss_bytes);
    report.bytes("used_memory_peak", overview.peak_bytes);
    report.line("used_memory_peak_time", overview.peak_at_secs);
    report.line("used_memory_peak_perc", percent(overview.peak_percent()));
    report.line("used_memory_overhead", overview.overhead_bytes());
    report.line("used_memory_startup", overview.startup_bytes);
    report.line("used_memory_dataset", overview.dataset_bytes());
    report.line(
        "used_memory_dataset_perc",
        percent(overview.dataset_percent()),
    );
    report.line("allocator_allocated", heap.allocated);
    report.line("allocator_active", heap.active);
    report.line("allocator_resident", heap.resident);
    report.line("allocator_muzzy", heap.muzzy);
    report.bytes("total_system_memory", process::total_system_memory_bytes());
}

/// How much may be in use, and what happens then.
fn limit(report: &mut Report<'_, '_>) {
    let eviction = &report.server.keyspace.eviction;
    report.bytes("maxmemory", eviction.limit_bytes());
    report.line("maxmemory_policy", eviction.policy().as_str());
}

/// One figure as a multiple of another, and what it has more.
fn excess(report: &mut Report<'_, '_>, name: &str, part: Part) {
    report.line(&format!("{name}_ratio"), format_args!("{:.2}", part.ratio));
    report.line(&format!("{name}_bytes"), part.bytes);
}

/// What is no dataset and grows with the load.
fn buffers(report: &mut Report<'_, '_>, overview: &Overview) {
    report.line(
        "mem_not_counted_for_evict",
        report.server.not_counted_bytes(),
    );
    report.zeros(&[
        "mem_replication_backlog",
        "mem_total_replication_buffers",
        "mem_replicas_repl_buffer",
        "mem_replica_full_sync_buffer",
        "mem_clients_slaves",
    ]);
    report.line("mem_clients_normal", overview.clients_bytes);
    report.zeros(&[
        "mem_cluster_links",
        "mem_cluster_slot_import",
        "mem_cluster_slot_export",
    ]);
    report.line("mem_aof_buffer", overview.aof_buffer_bytes);
}
