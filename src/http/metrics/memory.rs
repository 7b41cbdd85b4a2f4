//! Memory: how much, what for, and how far the limit is.

use std::sync::atomic::Ordering;

use super::super::figures::Figures;
use super::text::{Text, us};

pub(super) fn write(figures: &Figures, text: &mut Text) {
    let (server, memory) = (&figures.server, &figures.memory);
    let heap = &memory.heap;
    for (name, help, bytes) in [
        (
            "kivi_memory_used_bytes",
            "Memory in use by the server, exact (used_memory).",
            memory.used_bytes,
        ),
        (
            "kivi_memory_peak_bytes",
            "The most that was in use at any time.",
            memory.peak_bytes,
        ),
        (
            "kivi_memory_max_bytes",
            "Most memory for data (maxmemory); 0: no limit.",
            server.keyspace.eviction.limit_bytes(),
        ),
        (
            "kivi_memory_active_bytes",
            "Pages of the allocator with something in them.",
            heap.active,
        ),
        (
            "kivi_memory_resident_bytes",
            "Pages of the allocator in RAM.",
            heap.resident,
        ),
    ] {
        text.gauge(name, help, bytes);
    }
    const PARTS: &str = "kivi_memory_part_bytes";
    text.gauges(
        PARTS,
        "Memory in use by what it is used for; together all of it.",
    );
    for (part, bytes) in [
        ("dataset", memory.dataset_bytes()),
        ("startup", memory.startup_bytes),
        ("tables", memory.tables_bytes + memory.side_bytes),
        ("clients", memory.clients_bytes),
        ("pubsub", memory.pubsub_bytes),
        ("scripts", memory.scripts_bytes + memory.functions_bytes),
        ("lua", memory.eval_vm_bytes + memory.functions_vm_bytes),
        ("aof_buffer", memory.aof_buffer_bytes),
        ("snapshot", memory.snapshot_bytes),
        ("statistics", memory.stats_bytes),
    ] {
        text.sample(PARTS, &[("part", part)], bytes);
    }
    eviction(figures, text);
    upkeep(figures, text);
}

fn eviction(figures: &Figures, text: &mut Text) {
    let eviction = &figures.server.keyspace.eviction;
    text.counter(
        "kivi_evicted_keys_total",
        "Keys deleted to make room.",
        eviction.taking.evicted_keys.load(Ordering::Relaxed),
    );
    let now_us = figures.server.clock.unix_us();
    let (total_us, _) = eviction.pressure.exceeded_us(now_us);
    text.counter(
        "kivi_memory_exceeded_seconds_total",
        "Time with more memory in use than maxmemory.",
        us(total_us),
    );
}

fn upkeep(figures: &Figures, text: &mut Text) {
    let keyspace = &figures.server.keyspace;
    let defrag = keyspace.defrag.stats();
    text.counter(
        "kivi_defrag_moved_total",
        "Blocks moved together in memory.",
        defrag.hits,
    );
    text.gauge(
        "kivi_lazyfree_pending_objects",
        "Values that wait to be freed in the background.",
        keyspace.lazyfree.pending(),
    );
    text.counter(
        "kivi_lazyfreed_objects_total",
        "Values freed in the background.",
        keyspace.lazyfree.freed(),
    );
}
