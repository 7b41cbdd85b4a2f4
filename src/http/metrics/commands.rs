//! Commands: how many, how they ended, how long they took.

use std::time::Duration;

use crate::stats::CommandStat;
use crate::stats::commandlog::Kind;
use crate::sys::tsc;

use super::super::figures::Figures;
use super::text::{Text, ms, seconds};

pub(super) fn write(figures: &Figures, text: &mut Text) {
    let sum = &figures.sum;
    let names = figures.table.full_names();
    let used: Vec<(&str, &CommandStat)> = names
        .into_iter()
        .zip(&sum.commands)
        .filter(|(_, stat)| stat.calls > 0 || stat.rejected > 0 || stat.failed > 0)
        .collect();
    text.counter(
        "kivi_commands_processed_total",
        "Commands executed, those in transactions and scripts included.",
        sum.commands_total,
    );
    for (name, help, value) in [
        (
            "kivi_commands_total",
            "Executions by command.",
            (|stat| stat.calls.to_string()) as fn(&CommandStat) -> String,
        ),
        (
            "kivi_command_failures_total",
            "Executions that ended with an error, by command.",
            |stat| stat.failed.to_string(),
        ),
        (
            "kivi_command_rejections_total",
            "Requests refused before execution (arguments, rights, memory, ...), by command.",
            |stat| stat.rejected.to_string(),
        ),
        (
            "kivi_command_execution_seconds_total",
            "Time of the executions alone, by command.",
            |stat| seconds(Duration::from_nanos(tsc::ticks_to_ns(stat.ticks))),
        ),
    ] {
        text.counters(name, help);
        for (command, stat) in &used {
            text.sample(name, &[("command", command)], value(stat));
        }
    }
    const RESPONSES: &str = "kivi_command_response_seconds";
    text.histograms(
        RESPONSES,
        "From the moment at which a request could be read to the writing of its reply, the time in \
         queue included, by command.",
    );
    for (command, stat) in &used {
        if let Some(responses) = &stat.responses {
            text.histogram(RESPONSES, ("command", command), responses);
        }
    }
    text.counters("kivi_error_replies_total", "Error replies by their code.");
    for (code, count) in &sum.errors {
        text.sample("kivi_error_replies_total", &[("code", code)], count);
    }
    scripts(figures, text);
}

/// What the command log and the latency monitor have.
pub(super) fn unusual(figures: &Figures, text: &mut Text) {
    let stats = &figures.server.stats;
    const ENTRIES: &str = "kivi_commandlog_entries";
    text.gauges(
        ENTRIES,
        "Commands in the command log, by what is unusual about them.",
    );
    for kind in Kind::ALL {
        text.sample(
            ENTRIES,
            &[("kind", kind.name())],
            stats.commandlog.len(kind),
        );
    }
    let events = stats.latency.all();
    const MAX: &str = "kivi_latency_event_max_seconds";
    text.gauges(
        MAX,
        "The longest of the spikes that LATENCY LATEST tells of, by event.",
    );
    for (event, series) in &events {
        text.sample(MAX, &[("event", event)], ms(series.max_ms));
    }
    const COUNT: &str = "kivi_latency_events_total";
    text.counters(COUNT, "Spikes since LATENCY RESET, by event.");
    for (event, series) in &events {
        text.sample(COUNT, &[("event", event)], series.count);
    }
}

fn scripts(figures: &Figures, text: &mut Text) {
    let scripts = &figures.server.scripts;
    let (cache, libraries) = (scripts.cache.figures(), scripts.libraries.current());
    text.gauge(
        "kivi_scripts_cached",
        "Scripts in the cache of EVAL.",
        cache.scripts,
    );
    text.counter(
        "kivi_scripts_evicted_total",
        "Scripts that left the cache of EVAL to make room.",
        cache.evicted,
    );
    text.gauge(
        "kivi_functions",
        "Functions that are loaded.",
        libraries.functions(),
    );
    text.gauge(
        "kivi_function_libraries",
        "Libraries of functions that are loaded.",
        libraries.libraries().len(),
    );
}
