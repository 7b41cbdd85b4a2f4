//! MEMORY DOCTOR: what is unusual about the memory in use, in Valkey's words.
//!
//! To add a finding: a row of [`FINDINGS`], in the order in which they are told.

use crate::server::Server;
use crate::sys::alloc;

use super::super::{CmdResult, Ctx, Next};
use super::overview::{Overview, Part};

/// With less in use than this nothing can be told.
const USED_BYTES_MIN: u64 = 5 << 20;
/// An overhead is told of only if it is larger than this.
const EXCESS_BYTES_MIN: i64 = 10 << 20;
/// The peak as a multiple of what is in use.
const PEAK_RATIO: f32 = 1.5;
/// Resident memory as a multiple of what is in use.
const TOTAL_RATIO: f32 = 1.4;
/// Each kind of it as a multiple of what it is an overhead on.
const PART_RATIO: f32 = 1.1;
/// What clients may take on average, bytes.
const CLIENT_BYTES_MAX: u64 = 200 * 1024;
/// Cached scripts.
const SCRIPTS_MAX: u64 = 1000;

const EMPTY: &str = "Hi Sam, this instance is empty or is using very little memory, my issues \
    detector can't be used in these conditions. Please, leave for your mission on Earth and fill it \
    with some data. The new Sam and I will be back to our programming as soon as I finished \
    rebooting.\n";
const HEALTHY: &str = "Hi Sam, I can't find any memory issue in your instance. I can only account \
    for what occurs on this base.\n";
const HEAD: &str = "Sam, I detected a few issues in this Valkey instance memory implants:\n\n";
const FOOT: &str = "I'm here to keep you safe, Sam. I want to help you.\n";

/// What the findings are made of.
pub(super) struct Patient {
    pub used_bytes: u64,
    pub peak_bytes: u64,
    pub total: Part,
    pub fragmentation: Part,
    pub allocator_rss: Part,
    pub rss_overhead: Part,
    pub client_bytes: u64,
    pub scripts: u64,
}

struct Finding {
    is_found: fn(&Patient) -> bool,
    text: &'static str,
}

fn exceeds(part: Part, ratio: f32) -> bool {
    part.ratio > ratio && part.bytes > EXCESS_BYTES_MIN
}

/// Where a text names the allocator.
const ALLOCATOR: &str = "%s";

const FINDINGS: &[Finding] = &[
    Finding {
        is_found: |p| p.peak_bytes as f32 / p.used_bytes as f32 > PEAK_RATIO,
        text: " * Peak memory: In the past this instance used more than 150% the memory that is \
            currently using. The allocator is normally not able to release memory after a peak, so \
            you can expect to see a big fragmentation ratio, however this is actually harmless and \
            is only due to the memory peak, and if the Valkey instance Resident Set Size (RSS) is \
            currently bigger than expected, the memory will be used as soon as you fill the Valkey \
            instance with more data. If the memory peak was only occasional and you want to try to \
            reclaim memory, please try the MEMORY PURGE command, otherwise the only other option is \
            to shutdown and restart the instance.\n\n",
    },
    Finding {
        is_found: |p| exceeds(p.total, TOTAL_RATIO),
        text: " * High total RSS: This instance has a memory fragmentation and RSS overhead greater \
            than 1.4 (this means that the Resident Set Size of the Valkey process is much larger \
            than the sum of the logical allocations Valkey performed). This problem is usually due \
            either to a large peak memory (check if there is a peak memory entry above in the \
            report) or may result from a workload that causes the allocator to fragment memory a \
            lot. If the problem is a large peak memory, then there is no issue. Otherwise, make \
            sure you are using the Jemalloc allocator and not the default libc malloc. Note: The \
            currently used allocator is \"%s\".\n\n",
    },
    Finding {
        is_found: |p| exceeds(p.fragmentation, PART_RATIO),
        text: " * High allocator fragmentation: This instance has an allocator external \
            fragmentation greater than 1.1. This problem is usually due either to a large peak \
            memory (check if there is a peak memory entry above in the report) or may result from a \
            workload that causes the allocator to fragment memory a lot. You can try enabling \
            'activedefrag' config option.\n\n",
    },
    Finding {
        is_found: |p| exceeds(p.allocator_rss, PART_RATIO),
        text: " * High allocator RSS overhead: This instance has an RSS memory overhead is greater \
            than 1.1 (this means that the Resident Set Size of the allocator is much larger than \
            the sum what the allocator actually holds). This problem is usually due to a large peak \
            memory (check if there is a peak memory entry above in the report), you can try the \
            MEMORY PURGE command to reclaim it.\n\n",
    },
    Finding {
        is_found: |p| exceeds(p.rss_overhead, PART_RATIO),
        text: " * High process RSS overhead: This instance has non-allocator RSS memory overhead is \
            greater than 1.1 (this means that the Resident Set Size of the Valkey process is much \
            larger than the RSS the allocator holds). This problem may be due to Lua scripts or \
            Modules.\n\n",
    },
    Finding {
        is_found: |p| p.client_bytes > CLIENT_BYTES_MAX,
        text: " * Big client buffers: The clients output buffers in this instance are greater than \
            200K per client (on average). This may result from different causes, like Pub/Sub \
            clients subscribed to channels bot not receiving data fast enough, so that data piles \
            on the Valkey instance output buffer, or clients sending commands with large replies or \
            very large sequences of commands in the same pipeline. Please use the CLIENT LIST \
            command in order to investigate the issue if it causes problems in your instance, or to \
            understand better why certain clients are using a big amount of memory.\n\n",
    },
    Finding {
        is_found: |p| p.scripts > SCRIPTS_MAX,
        text: " * Many scripts: There seem to be many cached scripts in this instance (more than \
            1000). This may be because scripts are generated and `EVAL`ed, instead of being \
            parameterized (with KEYS and ARGV), `SCRIPT LOAD`ed and `EVALSHA`ed. Unless `SCRIPT \
            FLUSH` is called periodically, the scripts' caches may end up consuming most of your \
            memory.\n\n",
    },
];

impl Patient {
    fn new(server: &Server, overview: &Overview) -> Patient {
        Patient {
            used_bytes: overview.used_bytes,
            peak_bytes: overview.peak_bytes,
            total: overview.total_fragmentation(),
            fragmentation: overview.fragmentation(),
            allocator_rss: overview.allocator_rss(),
            rss_overhead: overview.rss_overhead(),
            client_bytes: overview.clients_bytes / server.clients.len().max(1) as u64,
            scripts: server.scripts.cache.figures().scripts as u64,
        }
    }

    /// The report.
    pub(super) fn report(&self) -> String {
        if self.used_bytes < USED_BYTES_MIN {
            return EMPTY.to_owned();
        }
        let found = FINDINGS.iter().filter(|finding| (finding.is_found)(self));
        let texts: String = found.map(|finding| finding.text).collect();
        match texts.is_empty() {
            true => HEALTHY.to_owned(),
            false => format!("{HEAD}{texts}{FOOT}").replace(ALLOCATOR, alloc::version()),
        }
    }
}

pub(super) fn doctor(ctx: &mut Ctx<'_>) -> CmdResult {
    let census = ctx.db.census(false);
    let overview = Overview::new(ctx.server, &census);
    let report = Patient::new(ctx.server, &overview).report();
    ctx.out.verbatim("txt", report.as_bytes());
    Ok(Next::Done)
}

#[cfg(test)]
mod tests;
