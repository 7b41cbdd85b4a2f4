//! LATENCY DOCTOR: what has taken long, with advice, in Valkey's words; advice that would not be true of Kivi is left
//! out, or says what is true. So nobody is told that large values are deleted while others wait, that `hz` drives
//! expiry, or that huge pages do harm: see ARCHITECTURE.md.
//!
//! To add an event: its advice in [`advice_on`]. To add advice: a variant of [`Advice`] and its place in [`ADVICE`].

use std::fmt::Write as _;

use crate::config::{AppendFsync, Config};
use crate::stats::latency::Series;

use super::super::{CmdResult, Ctx, Next};

const OFF: &str = "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Valkey \
    instance. You may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable \
    it.\n";
const NOTHING: &str = "No latency spike was observed during the lifetime of this Valkey instance, \
    not in the slightest bit.\n";
const HEAD: &str = "Latency spikes are observed in this Valkey instance.\n\n";
const NO_ADVICE: &str = "\nThere are latency events logged that are not easy to fix. Please get \
    some help from the Kivi community, providing this report in your help request.\n";

/// What might help.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Advice {
    /// The slow log is off.
    SlowlogOn,
    /// The slow log begins later than the latency monitor.
    SlowlogTune,
    /// The slow log knows more.
    SlowlogLook,
    /// The system gives the server too little time.
    Scheduler,
    /// The disk is far away.
    LocalDisk,
    /// The disk is slow.
    Ssd,
    /// The file system is careful.
    Writeback,
    /// Others use the disk.
    Contention,
    /// Syncs meet a snapshot or a rewrite.
    NoFsyncOnRewrite,
    /// `appendfsync always`.
    RelaxFsync,
    /// There is much to write.
    WriteLoad,
    /// Much was evicted at once.
    MassEviction,
}

/// Texts in the order in which they are told; `{}` is where the threshold stands, in microseconds.
const ADVICE: &[(Advice, &str)] = &[
    (
        Advice::SlowlogOn,
        "- There are latency issues with potentially slow commands you are using. Try to enable the \
         Slow Log Valkey feature using the command 'CONFIG SET slowlog-log-slower-than {}'. If the \
         Slow log is disabled Valkey is not able to log slow commands execution for you.\n",
    ),
    (
        Advice::SlowlogTune,
        "- Your current Slow Log configuration only logs events that are slower than your configured \
         latency monitor threshold. Please use 'CONFIG SET slowlog-log-slower-than {}'.\n",
    ),
    (
        Advice::SlowlogLook,
        "- Check your Slow Log to understand what are the commands you are running which are too \
         slow to execute. Please check https://valkey.io/commands/slowlog for more information.\n",
    ),
    (
        Advice::Scheduler,
        "- The system is slow to execute Valkey code paths not containing system calls. This \
         usually means the system does not provide Valkey CPU time to run for long periods. You \
         should try to:\n  \
         1) Lower the system load.\n  \
         2) Use a computer / VM just for Valkey if you are running other software in the same \
         system.\n  \
         3) Check if you have a \"noisy neighbour\" problem.\n  \
         4) Check with 'valkey-cli --intrinsic-latency 100' what is the intrinsic latency in your \
         system.\n",
    ),
    (
        Advice::LocalDisk,
        "- It is strongly advised to use local disks for persistence, especially if you are using \
         AOF. Remote disks provided by platform-as-a-service providers are known to be slow.\n",
    ),
    (
        Advice::Ssd,
        "- SSD disks are able to reduce fsync latency, and total time needed for snapshotting and \
         AOF log rewriting (resulting in smaller memory usage). With extremely high write load SSD \
         disks can be a good option. However Valkey should perform reasonably with high load using \
         normal disks. Use this advice as a last resort.\n",
    ),
    (
        Advice::Writeback,
        "- Mounting ext3/4 filesystems with data=writeback can provide a performance boost compared \
         to data=ordered, however this mode of operation provides less guarantees, and sometimes it \
         can happen that after a hard crash the AOF file will have a half-written command at the \
         end and will require to be repaired before Valkey restarts.\n",
    ),
    (
        Advice::Contention,
        "- Try to lower the disk contention. This is often caused by other disk intensive processes \
         running in the same computer (including other Valkey instances).\n",
    ),
    (
        Advice::NoFsyncOnRewrite,
        "- Assuming from the point of view of data safety this is viable in your environment, you \
         could try to enable the 'no-appendfsync-on-rewrite' option, so that fsync will not be \
         performed while the AOF file is rewritten or an RDB file is produced (the moment where \
         there is high disk contention).\n",
    ),
    (
        Advice::RelaxFsync,
        "- Your fsync policy is set to 'always'. It is very hard to get good performances with such \
         a setup, if possible try to relax the fsync policy to 'everysec'.\n",
    ),
    (
        Advice::WriteLoad,
        "- Latency during the AOF atomic rename operation or when the final difference is flushed \
         to the AOF file at the end of the rewrite, sometimes is caused by very high write load, \
         causing the AOF buffer to get very large. If possible try to send less commands to \
         accomplish the same work, or use Lua scripts to group multiple operations into a single \
         EVALSHA call.\n",
    ),
    (
        Advice::MassEviction,
        "- Sudden changes to the 'maxmemory' setting via 'CONFIG SET', or allocation of large \
         objects via sets or sorted sets intersections, STORE option of SORT, Valkey Cluster large \
         keys migrations (RESTORE command), may create sudden memory pressure forcing the server to \
         block trying to evict keys. \n",
    ),
];

pub(super) fn doctor(ctx: &mut Ctx<'_>) -> CmdResult {
    let events = ctx.server.stats.latency.all();
    let text = report(&events, ctx.config, ctx.server.clock.unix_ms());
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(Next::Done)
}

pub(super) fn report(events: &[(&'static str, Series)], config: &Config, now_ms: u64) -> String {
    if events.is_empty() {
        return match config.latency_monitor_threshold_ms {
            0 => OFF,
            _ => NOTHING,
        }
        .to_owned();
    }
    let mut text = HEAD.to_owned();
    let mut advice: Vec<Advice> = Vec::new();
    for (number, (name, series)) in (1..).zip(events) {
        let found = series.analyse(now_ms);
        let _ = writeln!(
            text,
            "{number}. {name}: {} latency spikes (average {}ms, mean deviation {}ms, period {:.2} \
             sec). Worst all time event {}ms.",
            found.samples,
            found.average_ms,
            found.deviation_ms,
            found.period_secs as f64 / found.samples as f64,
            series.max_ms
        );
        advice.extend(advice_on(name, config));
    }
    if advice.is_empty() {
        text.push_str(NO_ADVICE);
        return text;
    }
    text.push_str("\nHere is some advice for you:\n\n");
    let threshold_us = config.latency_monitor_threshold_ms.saturating_mul(1000);
    for (of, what) in ADVICE {
        if advice.contains(of) {
            text.push_str(&what.replace("{}", &threshold_us.to_string()));
        }
    }
    text
}

/// What may help against an event.
fn advice_on(event: &str, config: &Config) -> Vec<Advice> {
    use Advice::*;
    match event {
        "command" => on_slowlog(config)
            .into_iter()
            .chain([SlowlogLook])
            .collect(),
        "fast-command" => vec![Scheduler],
        "aof-write-pending-fsync" => vec![LocalDisk, Contention, Ssd, Writeback],
        "aof-write-active-child" => vec![NoFsyncOnRewrite, Writeback, Ssd],
        "aof-write-alone" => vec![LocalDisk, Writeback, Ssd],
        "aof-fsync-always" if config.appendfsync == AppendFsync::Always => vec![RelaxFsync],
        "aof-rename" => vec![WriteLoad, Writeback, Ssd, LocalDisk],
        "eviction-cycle" => vec![MassEviction],
        _ => Vec::new(),
    }
}

/// Whether the slow log has what the latency monitor has noticed.
fn on_slowlog(config: &Config) -> Option<Advice> {
    match u64::try_from(config.commandlog_slower_than_us) {
        Err(_) => Some(Advice::SlowlogOn),
        Ok(_) if config.commandlog_slow_max_len == 0 => Some(Advice::SlowlogOn),
        Ok(us) if us / 1000 > config.latency_monitor_threshold_ms => Some(Advice::SlowlogTune),
        Ok(_) => None,
    }
}
