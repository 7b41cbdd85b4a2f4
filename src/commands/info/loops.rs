//! What INFO tells of the threads that serve clients, of the main thread, and of their loops.
//!
//! Where Valkey has one loop, on its main thread, Kivi has one per worker: `eventloop_*` are sums over
//! the workers, or the largest of them, and what is named after the main thread is the main thread's,
//! which accepts connections and does what is due regularly, but executes no commands.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::stats::Metric;
use crate::sys::tsc;

use super::Report;
use super::figure::Figure;

/// The lines of section Stats.
pub(super) fn stats(report: &mut Report<'_, '_>) {
    let stats = &report.server.stats;
    let turns = stats.turns();
    let commands_us = tsc::ticks_to_us(stats.command_ticks());
    let rate = |metric| stats.sampler.rate(metric);
    for (name, value) in [
        ("eventloop_cycles", turns.count),
        ("eventloop_duration_sum", turns.us),
        ("eventloop_duration_cmd_sum", commands_us),
        (
            "instantaneous_eventloop_cycles_per_sec",
            rate(Metric::Cycles),
        ),
        (
            "instantaneous_eventloop_duration_usec",
            rate(Metric::CycleUs),
        ),
    ] {
        report.line(name, value);
    }
}

/// A section of its own that has to be named.
pub(super) fn debug(report: &mut Report<'_, '_>) {
    let stats = &report.server.stats;
    let turns = stats.turns();
    for (name, value) in [
        ("eventloop_duration_aof_sum", turns.log_us),
        (
            "eventloop_duration_cron_sum",
            stats.main.cycles.turns().cron_us,
        ),
        ("eventloop_duration_max", turns.longest_us),
        ("eventloop_cmd_per_cycle_max", turns.commands_max),
    ] {
        report.line(name, value);
    }
    // A thread reads and writes for itself: nothing is handed over that could be pending.
    report.zeros(&["io_threaded_reads_pending", "io_threaded_writes_pending"]);
}

/// Redis 8's section, a line for each thread that serves clients.
pub(super) fn threads(report: &mut Report<'_, '_>) {
    let mut clients = Vec::new();
    report.server.clients.for_each(|client| {
        let worker = client.worker.load(Ordering::Relaxed);
        if clients.len() <= worker {
            clients.resize(worker + 1, 0u64);
        }
        clients[worker] += 1;
    });
    for served in report.server.stats.served() {
        let clients = clients.get(served.number).copied().unwrap_or(0);
        report.line(
            &format!("io_thread_{}", served.number),
            format_args!(
                "clients={clients},reads={},writes={}",
                served.reads, served.writes
            ),
        );
    }
}

/// The main thread's lines of section CPU.
pub(super) fn main_thread(report: &mut Report<'_, '_>) {
    let times = *report.server.stats.main_cpu.lock();
    let active = Duration::from_micros(report.server.stats.main.cycles.turns().us);
    for (name, time) in [
        ("used_cpu_sys_main_thread", times.system),
        ("used_cpu_user_main_thread", times.user),
        ("used_active_time_main_thread", active),
    ] {
        report.line(name, Secs(time));
    }
}

/// Seconds with six digits.
pub(super) struct Secs(pub(super) Duration);

impl Figure for Secs {
    fn write(self, text: &mut String) {
        format_args!("{}.{:06}", self.0.as_secs(), self.0.subsec_micros()).write(text);
    }
}
