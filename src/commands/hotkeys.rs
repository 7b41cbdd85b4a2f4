//! HOTKEYS, Redis 8.6's: a session that finds the keys which cost most, started and stopped by hand. What is
//! counted, and how, is in `exec::hot` and `stats::hot`.
//!
//! No server of Redis 8.6 was at hand: replies and errors are those of its documentation and of what its
//! clients expect.

use crate::spec::{CmdError, Flags, Group};
use crate::stats::hot::{HotReport, Metrics, Options};
use crate::util::num;

use super::{CmdResult, Command, Ctx, Next, command, container, help, is};

/// How many keys are told, unless COUNT says otherwise, and at most.
const COUNT_DEFAULT: usize = 10;
const COUNT_MAX: i64 = 64;
/// Longest DURATION, seconds.
const DURATION_SECS_MAX: i64 = 1_000_000;
/// Metrics there are.
const METRICS_MAX: i64 = 2;
/// Hash slots of a cluster: a server that is in none has them all.
const SLOTS: i64 = 16_384;

const ADMIN: Flags = Flags::ADMIN.and(Flags::NOSCRIPT);
const ONE_NODE: &[&str] = &["request_policy:special", "response_policy:special"];

const METRICS_REQUIRED: CmdError = CmdError::text("ERR METRICS parameter is required");
const METRICS_COUNT: CmdError = CmdError::text("ERR METRICS count must be > 0 and <= 2");
const METRICS_MISMATCH: CmdError =
    CmdError::text("ERR METRICS count does not match number of metric types provided");
const METRICS_NONE: CmdError =
    CmdError::text("ERR METRICS no valid metrics passed. Supported: CPU|NET");
const CPU_TWICE: CmdError = CmdError::text("ERR METRICS CPU defined more than once!");
const NET_TWICE: CmdError = CmdError::text("ERR METRICS NET defined more than once!");
const COUNT_RANGE: CmdError = CmdError::text("ERR COUNT must be between 1 and 64");
const DURATION_RANGE: CmdError = CmdError::text("ERR DURATION must be between 1 and 1000000");
const SAMPLE_RANGE: CmdError = CmdError::text("ERR SAMPLE ratio must be positive");
const NO_CLUSTER: CmdError =
    CmdError::text("ERR SLOTS parameter cannot be used in non-cluster mode");
const IN_PROGRESS: CmdError = CmdError::text("ERR hotkey tracking session already in progress");
const STOP_FIRST: CmdError =
    CmdError::text("ERR hotkey tracking session in progress, stop tracking first");

/// The rows of this family.
pub const COMMANDS: &[Command] = &[command("hotkeys", -2, Flags::NONE, container)
    .docs(
        Group::Server,
        "8.6.0",
        "Depends on the subcommand",
        "Groups the commands that find the keys which cost most.",
    )
    .subcommands(&[
        command("get", 2, ADMIN, get).tips(ONE_NODE).docs(
            Group::Server,
            "8.6.0",
            "O(K), K being the keys that are told",
            "Tells which keys have cost most in the session, and what it has counted in all.",
        ),
        command("help", 2, Flags::LOADING.and(Flags::STALE), hotkeys_help).docs(
            Group::Server,
            "8.6.1",
            "O(1)",
            "Lists the subcommands of HOTKEYS.",
        ),
        command("reset", 2, ADMIN, reset).tips(ONE_NODE).docs(
            Group::Server,
            "8.6.0",
            "O(1)",
            "Forgets what the last session has counted.",
        ),
        command("start", -2, ADMIN, start)
            .tips(ONE_NODE)
            .docs(
                Group::Server,
                "8.6.0",
                "O(1)",
                "Begins to count what keys cost.",
            )
            .syntax(
                "METRICS=metrics{count:integer CPU? NET?} COUNT=k:integer? \
                 DURATION=seconds:integer? SAMPLE=ratio:integer? \
                 SLOTS=slots{count:integer slot:integer*}?",
            ),
        command("stop", 2, ADMIN, stop).tips(ONE_NODE).docs(
            Group::Server,
            "8.6.0",
            "O(1)",
            "Ends the session; what it has counted stays.",
        ),
    ])];

fn start(ctx: &mut Ctx<'_>) -> CmdResult {
    let now_ms = ctx.server.clock.unix_ms();
    let hot = &ctx.server.stats.hot;
    if hot.is_active(now_ms) {
        return Err(IN_PROGRESS);
    }
    let options = options(ctx)?;
    if !hot.start(options, now_ms) {
        return Err(IN_PROGRESS);
    }
    ctx.out.ok();
    Ok(Next::Done)
}

fn options(ctx: &mut Ctx<'_>) -> Result<Options, CmdError> {
    let args = &mut ctx.args;
    if args.remaining() < 2 || !args.option().is_some_and(|arg| is(arg, "metrics")) {
        return Err(METRICS_REQUIRED);
    }
    let mut options = Options {
        metrics: metrics(ctx)?,
        count: COUNT_DEFAULT,
        duration_ms: None,
        sample_ratio: 1,
    };
    while let Some(option) = ctx.args.option() {
        // Whatever follows belongs to it.
        if is(option, "slots") && !ctx.args.is_empty() {
            return Err(NO_CLUSTER);
        }
        let number = ctx.args.option().ok_or(CmdError::Syntax)?;
        let within = |most: i64, otherwise: CmdError| match num::parse_i64(number) {
            Some(number) if (1..=most).contains(&number) => Ok(number as u64),
            _ => Err(otherwise),
        };
        if is(option, "count") {
            options.count = within(COUNT_MAX, COUNT_RANGE)? as usize;
        } else if is(option, "duration") {
            let secs = within(DURATION_SECS_MAX, DURATION_RANGE)?;
            options.duration_ms = Some(secs * 1000);
        } else if is(option, "sample") {
            options.sample_ratio = within(i32::MAX.into(), SAMPLE_RANGE)?;
        } else {
            return Err(CmdError::Syntax);
        }
    }
    Ok(options)
}

/// What follows METRICS: a count, then so many of the words. A word that is none ends them, and is an
/// option, or a mistake.
fn metrics(ctx: &mut Ctx<'_>) -> Result<Metrics, CmdError> {
    let count = num::parse_i64(ctx.args.bytes()?);
    let Some(count) = count.filter(|count| (1..=METRICS_MAX).contains(count)) else {
        return Err(METRICS_COUNT);
    };
    let mut metrics = Metrics {
        cpu: false,
        net: false,
    };
    while let Some(word) = ctx.args.peek() {
        let (found, twice) = match () {
            () if is(word, "cpu") => (&mut metrics.cpu, CPU_TWICE),
            () if is(word, "net") => (&mut metrics.net, NET_TWICE),
            () => break,
        };
        if std::mem::replace(found, true) {
            return Err(twice);
        }
        ctx.args.option();
    }
    match metrics.cpu as i64 + metrics.net as i64 {
        0 => Err(METRICS_NONE),
        found if found != count => Err(METRICS_MISMATCH),
        _ => Ok(metrics),
    }
}

fn stop(ctx: &mut Ctx<'_>) -> CmdResult {
    match ctx.server.stats.hot.stop(ctx.server.clock.unix_ms()) {
        true => ctx.out.ok(),
        false => ctx.out.null(),
    }
    Ok(Next::Done)
}

fn reset(ctx: &mut Ctx<'_>) -> CmdResult {
    if !ctx.server.stats.reset_hot(ctx.server.clock.unix_ms()) {
        return Err(STOP_FIRST);
    }
    ctx.out.ok();
    Ok(Next::Done)
}

fn get(ctx: &mut Ctx<'_>) -> CmdResult {
    let now_ms = ctx.server.clock.unix_ms();
    let Some(report) = ctx.server.stats.hot_report(now_ms) else {
        ctx.out.null();
        return Ok(Next::Done);
    };
    // An array of what each node tells; a client puts those of several together.
    ctx.out.array(1);
    write(ctx, &report);
    Ok(Next::Done)
}

fn write(ctx: &mut Ctx<'_>, report: &HotReport) {
    let out = &mut *ctx.out;
    let Metrics { cpu, net } = report.options.metrics;
    out.map(7 + 3 * cpu as usize + 2 * net as usize);
    out.bulk(b"tracking-active");
    out.integer(report.is_active.into());
    out.bulk(b"sample-ratio");
    out.integer(report.options.sample_ratio as i64);
    out.bulk(b"selected-slots");
    out.array(1);
    out.array(2);
    out.integer(0);
    out.integer(SLOTS - 1);
    let mut field = |name: &str, value: u64| {
        out.bulk(name.as_bytes());
        out.integer(i64::try_from(value).unwrap_or(i64::MAX));
    };
    field("all-commands-all-slots-us", report.total_us);
    field("net-bytes-all-commands-all-slots", report.total_bytes);
    field("collection-start-time-unix-ms", report.started_ms);
    field("collection-duration-ms", report.duration_ms);
    if cpu {
        field("total-cpu-time-user-ms", report.cpu.user.as_millis() as u64);
        field(
            "total-cpu-time-sys-ms",
            report.cpu.system.as_millis() as u64,
        );
    }
    if net {
        field("total-net-bytes", report.total_bytes);
    }
    for (is_told, name, keys) in [
        (cpu, "by-cpu-time-us", &report.by_cpu),
        (net, "by-net-bytes", &report.by_net),
    ] {
        if is_told {
            out.bulk(name.as_bytes());
            out.array(2 * keys.len());
            for (key, sum) in keys {
                out.bulk(key);
                out.integer(i64::try_from(*sum).unwrap_or(i64::MAX));
            }
        }
    }
}

fn hotkeys_help(ctx: &mut Ctx<'_>) -> CmdResult {
    help(
        ctx,
        "HOTKEYS",
        &[
            "GET",
            "    Tell which keys have cost most since START, and what was counted in all.",
            "RESET",
            "    Forget what was counted. The session must have been stopped.",
            "START METRICS <count> [CPU] [NET] [COUNT <k>] [DURATION <seconds>] [SAMPLE <ratio>]",
            "    Begin to count what keys cost: processor time (CPU), bytes of requests and",
            "    replies (NET), or both. Options are:",
            "    * COUNT <k>",
            "      Tell this many keys, 1 to 64. Default: 10.",
            "    * DURATION <seconds>",
            "      Stop after this time. Default: go on until STOP.",
            "    * SAMPLE <ratio>",
            "      Look at one in so many commands. Default: 1, all of them.",
            "    * SLOTS <count> <slot> [<slot> ...]",
            "      Only keys of these slots, in a cluster.",
            "STOP",
            "    Stop counting. GET still tells what was counted.",
        ],
    )
}

#[cfg(test)]
mod tests;
