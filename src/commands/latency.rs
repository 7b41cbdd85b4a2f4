//! LATENCY: what has taken unusually long (the latency monitor, `stats::latency`), and how long commands take (their
//! histograms, `stats`).

use crate::spec::{CmdError, Flags, Group};
use crate::stats::{CommandStat, latency};

use super::{CmdResult, Command, Ctx, Next, Registered, c_text, command, container, help};

mod doctor;
mod graph;

const ADMIN: Flags = Flags::ADMIN
    .and(Flags::LOADING)
    .and(Flags::NOSCRIPT)
    .and(Flags::STALE);
const REPORT: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_nodes",
    "response_policy:special",
];

/// The rows of this family.
pub const COMMANDS: &[Command] = &[command("latency", -2, Flags::NONE, container)
    .docs(
        Group::Server,
        "2.8.13",
        "Depends on the subcommand",
        "Groups the commands that tell what takes long.",
    )
    .subcommands(&[
        command("doctor", 2, ADMIN, doctor::doctor)
            .tips(REPORT)
            .docs(
                Group::Server,
                "2.8.13",
                "O(1)",
                "Reports in words what has taken long, with advice.",
            ),
        command("graph", 3, ADMIN, graph::graph)
            .tips(REPORT)
            .docs(
                Group::Server,
                "2.8.13",
                "O(1)",
                "Draws how long an event has taken.",
            )
            .syntax("event"),
        command("help", 2, Flags::LOADING.and(Flags::STALE), latency_help).docs(
            Group::Server,
            "2.8.13",
            "O(1)",
            "Lists the subcommands of LATENCY.",
        ),
        command("histogram", -2, ADMIN, histogram)
            .tips(REPORT)
            .docs(
                Group::Server,
                "7.0.0",
                "O(N), N being the commands that are told",
                "Tells how the latencies of commands are distributed.",
            )
            .syntax("command*?"),
        command("history", 3, ADMIN, history)
            .tips(REPORT)
            .docs(
                Group::Server,
                "2.8.13",
                "O(1)",
                "Tells when an event has taken long, and how long.",
            )
            .syntax("event"),
        command("latest", 2, ADMIN, latest).tips(REPORT).docs(
            Group::Server,
            "2.8.13",
            "O(1)",
            "Tells of every event when it has last taken long.",
        ),
        command("reset", -2, ADMIN, reset)
            .tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
            .docs(
                Group::Server,
                "2.8.13",
                "O(1)",
                "Forgets what is known of events.",
            )
            .syntax("event*?"),
    ])];

fn latest(ctx: &mut Ctx<'_>) -> CmdResult {
    let events = ctx.server.stats.latency.all();
    let out = &mut *ctx.out;
    out.array(events.len());
    for (name, series) in &events {
        let last = series.samples.back();
        out.array(6);
        out.bulk(name.as_bytes());
        out.integer(last.map_or(0, |sample| sample.at_secs) as i64);
        out.integer(last.map_or(0, |sample| sample.ms) as i64);
        out.integer(series.max_ms as i64);
        out.integer(series.sum_ms as i64);
        out.integer(series.count as i64);
    }
    Ok(Next::Done)
}

fn history(ctx: &mut Ctx<'_>) -> CmdResult {
    let found = ctx.server.stats.latency.series(ctx.args.bytes()?);
    let samples = found.map(|(_, series)| series.samples).unwrap_or_default();
    ctx.out.array(samples.len());
    for sample in &samples {
        ctx.out.array(2);
        ctx.out.integer(sample.at_secs as i64);
        ctx.out.integer(sample.ms as i64);
    }
    Ok(Next::Done)
}

fn reset(ctx: &mut Ctx<'_>) -> CmdResult {
    let latency = &ctx.server.stats.latency;
    let forgotten = match ctx.args.is_empty() {
        true => latency.reset_all(),
        false => {
            let events = ctx.args.rest();
            events.iter().filter(|event| latency.reset(event)).count()
        }
    };
    ctx.out.integer(forgotten as i64);
    Ok(Next::Done)
}

/// The error for an event of which nothing is known.
fn no_samples(event: &[u8]) -> CmdError {
    let text = [b"ERR No samples available for event '", c_text(event), b"'"];
    CmdError::owned(text.concat())
}

fn histogram(ctx: &mut Ctx<'_>) -> CmdResult {
    let sum = ctx.server.stats.sum();
    let table = ctx.table;
    let mut told: Vec<&Registered> = Vec::new();
    let named = ctx.args.rest();
    let named = named.iter().filter_map(|name| table.by_full_name(name));
    let all = table.commands().iter().filter(|_| ctx.args.is_empty());
    for command in named.chain(all) {
        told.push(command);
        told.extend(&command.subcommands);
    }
    let stat_of = |command: &&Registered| -> Option<&CommandStat> {
        let stat = sum.commands.get(usize::from(command.id));
        stat.filter(|stat| stat.latency.is_some())
    };
    told.retain(|command| stat_of(command).is_some());
    ctx.out.map(told.len());
    for command in &told {
        let Some(latency) = stat_of(command).and_then(|stat| stat.latency.as_deref()) else {
            continue;
        };
        ctx.out.bulk(command.full_name.as_bytes());
        ctx.out.map(2);
        ctx.out.bulk(b"calls");
        ctx.out.integer(latency.total() as i64);
        ctx.out.bulk(b"histogram_usec");
        let steps = latency::cumulative(latency);
        ctx.out.map(steps.len());
        for (us, count) in steps {
            ctx.out.integer(us as i64);
            ctx.out.integer(count as i64);
        }
    }
    Ok(Next::Done)
}

fn latency_help(ctx: &mut Ctx<'_>) -> CmdResult {
    let lines = [
        "DOCTOR",
        "    Return a human readable latency analysis report.",
        "GRAPH <event>",
        "    Return an ASCII latency graph for the <event> class.",
        "HISTORY <event>",
        "    Return time-latency samples for the <event> class.",
        "LATEST",
        "    Return the latest latency samples for all events.",
        "RESET [<event> ...]",
        "    Reset latency data of one or more <event> classes.",
        "    (default: reset all data for all event classes)",
        "HISTOGRAM [COMMAND ...]",
        "    Return a cumulative distribution of latencies in the format of a histogram for the \
         specified command names.",
        "    If no commands are specified then all histograms are replied.",
    ];
    help(ctx, "LATENCY", &lines)
}

#[cfg(test)]
mod tests;
