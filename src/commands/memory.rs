//! MEMORY: what keys and the server take, and what the allocator says.
//!
//! Where the memory is, is found out in one place ([`Overview`]), for MEMORY STATS, MEMORY DOCTOR and
//! INFO alike. What a key takes is asked of its value's structure (`alloc_bytes`), which knows the
//! sizes that the allocator has really handed out; what it shares with others, its table and the list of
//! hashes whose fields expire, is divided equally among them.
//!
//! To add a figure: a field of [`Overview`], its line in `stats` and in `info::memory`; if it is no part
//! of the dataset, also in [`Overview::overhead_bytes`].

use crate::db::Lookup;
use crate::spec::{CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::sys::alloc;

use super::{CmdResult, Command, Ctx, Next, command, container, help};

pub use overview::{Overview, Part};

mod doctor;
mod overview;

/// What may run at any time.
const ANYTIME: Flags = Flags::LOADING.and(Flags::STALE);
/// What looks at the whole keyspace, each shard for a moment.
const WHOLE: Flags = Flags::ALL_SHARDS;
const FIGURES: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_shards",
    "response_policy:special",
];
const ALL_SUCCEED: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

/// The rows of this family.
pub const COMMANDS: &[Command] = &[command("memory", -2, Flags::NONE, container)
    .docs(
        Group::Server,
        "4.0.0",
        "Depends on the subcommand",
        "Groups the commands that tell about memory.",
    )
    .subcommands(&[
        command("doctor", 2, WHOLE, doctor::doctor)
            .tips(FIGURES)
            .docs(
                Group::Server,
                "4.0.0",
                "O(1)",
                "Tells what is unusual about the memory in use.",
            ),
        command("help", 2, ANYTIME, memory_help).docs(
            Group::Server,
            "4.0.0",
            "O(1)",
            "Lists the subcommands of MEMORY.",
        ),
        command("malloc-stats", 2, Flags::LOADING, malloc_stats)
            .tips(FIGURES)
            .docs(
                Group::Server,
                "4.0.0",
                "Depends on how much memory is in use, may take long",
                "Shows the allocator's own report.",
            ),
        command("purge", 2, Flags::LOADING, purge)
            .tips(ALL_SUCCEED)
            .docs(
                Group::Server,
                "4.0.0",
                "Depends on how much memory is in use, may take long",
                "Has the allocator give unused memory back to the system.",
            ),
        command("stats", 2, WHOLE, stats).tips(FIGURES).docs(
            Group::Server,
            "4.0.0",
            "O(1)",
            "Tells what the memory is used for.",
        ),
        command("usage", -3, Flags::READONLY, memory_usage)
            .keys(&[KeySpec::at(2, KeyFlags::RO)])
            .docs(
                Group::Server,
                "4.0.0",
                "O(N), N being the elements that are sampled",
                "Tells how many bytes a key takes, with its value and its share of the table.",
            )
            .syntax("key#0 SAMPLES=count:integer?"),
    ])];

fn memory_help(ctx: &mut Ctx<'_>) -> CmdResult {
    let lines = [
        "DOCTOR",
        "    Return memory problems reports.",
        "MALLOC-STATS",
        "    Return internal statistics report from the memory allocator.",
        "PURGE",
        "    Attempt to purge dirty pages for reclamation by the allocator.",
        "STATS",
        "    Return information about the memory usage of the server.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value. Nested values are",
        "    sampled up to <count> times (default: 5, 0 means sample all).",
    ];
    help(ctx, "MEMORY", &lines)
}

fn malloc_stats(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.out.verbatim("txt", alloc::malloc_stats().as_bytes());
    Ok(Next::Done)
}

fn purge(ctx: &mut Ctx<'_>) -> CmdResult {
    if !alloc::purge() {
        return Err(CmdError::text("ERR Error purging dirty pages"));
    }
    ctx.server.memory_sample.forget();
    ctx.out.ok();
    Ok(Next::Done)
}

/// Elements of a large collection that MEMORY USAGE looks at when a client does not say.
const SAMPLES: usize = 5;

fn memory_usage(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let mut samples = SAMPLES;
    while !ctx.args.is_empty() {
        if !ctx.args.take("SAMPLES") {
            return Err(CmdError::Syntax);
        }
        let asked = ctx.args.int_in(0, i64::MAX, CmdError::Syntax)?;
        samples = usize::try_from(asked).unwrap_or(usize::MAX);
    }
    let Some(entry) = ctx.db.find(key, Lookup::Silent) else {
        ctx.out.null();
        return Ok(Next::Done);
    };
    let entry_bytes = entry.alloc_bytes(samples);
    let shared_bytes = ctx.db.table_bytes_per_key(key) + ctx.db.list_bytes_per_hash(key);
    let bytes = entry_bytes.saturating_add(shared_bytes);
    ctx.out.integer(i64::try_from(bytes).unwrap_or(i64::MAX));
    Ok(Next::Done)
}

/// Writes the lines of MEMORY STATS. Their number comes first, so they are counted before.
struct Lines<'o> {
    out: &'o mut crate::resp::write::ReplyWriter,
}

impl Lines<'_> {
    fn int(&mut self, name: &str, value: impl TryInto<i64>) {
        self.out.bulk(name.as_bytes());
        self.out.integer(value.try_into().unwrap_or(i64::MAX));
    }

    /// A figure that Redis computes with the precision of C's `float`, which its digits show.
    fn ratio(&mut self, name: &str, value: f32) {
        self.out.bulk(name.as_bytes());
        self.out.double(f64::from(value));
    }
}

/// Lines of MEMORY STATS besides those of the databases.
const STATS_LINES: usize = 34;

fn stats(ctx: &mut Ctx<'_>) -> CmdResult {
    let census = ctx.db.census(false);
    let overview = Overview::new(ctx.server, &census);
    let databases = census.databases.iter().enumerate();
    let databases: Vec<_> = databases.filter(|(_, db)| db.keys > 0).collect();
    ctx.out.map(STATS_LINES + databases.len());
    let mut lines = Lines { out: ctx.out };
    lines.int("peak.allocated", overview.peak_bytes);
    lines.int("total.allocated", overview.used_bytes);
    lines.int("startup.allocated", overview.startup_bytes);
    lines.int("replication.backlog", 0);
    lines.int("replicas.repl.buffer", 0);
    lines.int("clients.slaves", 0);
    lines.int("clients.normal", overview.clients_bytes);
    lines.int("cluster.links", 0);
    lines.int("cluster.slot_import", 0);
    lines.int("cluster.slot_export", 0);
    lines.int("aof.buffer", overview.aof_buffer_bytes);
    lines.int("lua.caches", overview.scripts_bytes);
    lines.int("functions.caches", overview.functions_bytes);
    for (index, db) in databases {
        lines.out.bulk(format!("db.{index}").as_bytes());
        lines.out.map(2);
        let main_bytes = db.table_bytes - db.expires_bytes;
        lines.int("overhead.hashtable.main", main_bytes);
        lines.int("overhead.hashtable.expires", db.expires_bytes);
    }
    lines.int("overhead.db.hashtable.lut", overview.tables_bytes);
    // A table grows segment by segment: never is there a second one besides.
    lines.int("overhead.db.hashtable.rehashing", 0);
    lines.int("overhead.total", overview.overhead_bytes());
    lines.int("db.dict.rehashing.count", 0);
    ratios(&mut lines, &overview, &census);
    Ok(Next::Done)
}

/// The second part of MEMORY STATS.
fn ratios(lines: &mut Lines<'_>, overview: &Overview, census: &crate::db::Census) {
    let heap = &overview.heap;
    let keys: u64 = census.databases.iter().map(|db| db.keys).sum();
    let dataset_bytes = overview.dataset_bytes();
    lines.int("keys.count", keys);
    lines.int(
        "keys.bytes-per-key",
        dataset_bytes.checked_div(keys).unwrap_or(0),
    );
    lines.int("dataset.bytes", dataset_bytes);
    lines.ratio("dataset.percentage", overview.dataset_percent());
    lines.ratio("peak.percentage", overview.peak_percent());
    lines.int("allocator.allocated", heap.allocated);
    lines.int("allocator.active", heap.active);
    lines.int("allocator.resident", heap.resident);
    lines.int("allocator.muzzy", heap.muzzy);
    for (name, part) in [
        ("allocator-fragmentation", overview.fragmentation()),
        ("allocator-rss", overview.allocator_rss()),
        ("rss-overhead", overview.rss_overhead()),
    ] {
        lines.ratio(&format!("{name}.ratio"), part.ratio);
        lines.int(&format!("{name}.bytes"), part.bytes);
    }
    let total = overview.total_fragmentation();
    lines.ratio("fragmentation", total.ratio);
    lines.int("fragmentation.bytes", total.bytes);
}

#[cfg(test)]
mod tests;
