//! The server as such, and the process in the words that all exporters of Prometheus use.

use crate::server::{KIVI_VERSION, REDIS_VERSION};
use crate::sys::process::{self, CpuOf};

use super::super::figures::Figures;
use super::super::health;
use super::text::{Text, ms, seconds, us};

pub(super) fn server(figures: &Figures, text: &mut Text) {
    const BUILD: &str = "kivi_build_info";
    text.gauges(BUILD, "1; the labels tell which build this is.");
    let labels = [("version", KIVI_VERSION), ("redis_version", REDIS_VERSION)];
    text.sample(BUILD, &labels, 1);
    let is_ready = health::obstacles(&figures.server).is_empty();
    text.gauge("kivi_ready", "Whether /readyz says so.", is_ready as u8);
    text.gauge(
        "kivi_io_threads",
        "Threads that serve clients.",
        figures.config.io_threads,
    );
}

/// How busy the threads are that serve clients.
pub(super) fn workers(figures: &Figures, text: &mut Text) {
    let turns = figures.server.stats.turns();
    text.counter(
        "kivi_eventloop_cycles_total",
        "How often the threads that serve clients were woken.",
        turns.count,
    );
    text.counter(
        "kivi_eventloop_busy_seconds_total",
        "Time for which they worked, all together.",
        us(turns.us),
    );
}

pub(super) fn write(figures: &Figures, text: &mut Text) {
    let cpu = process::cpu_times(CpuOf::Process);
    text.counter(
        "process_cpu_seconds_total",
        "Processor time, user and system.",
        seconds(cpu.user + cpu.system),
    );
    text.counters("kivi_cpu_seconds_total", "Processor time by mode.");
    for (mode, time) in [("user", cpu.user), ("system", cpu.system)] {
        text.sample("kivi_cpu_seconds_total", &[("mode", mode)], seconds(time));
    }
    text.gauge(
        "process_resident_memory_bytes",
        "Memory in RAM.",
        figures.memory.rss_bytes,
    );
    text.gauge(
        "process_virtual_memory_bytes",
        "Address space.",
        process::virtual_bytes(),
    );
    text.gauge(
        "process_start_time_seconds",
        "When the server started, Unix time.",
        ms(figures.server.started_at_ms),
    );
    text.gauge(
        "process_open_fds",
        "Open file descriptors.",
        process::open_fds(),
    );
    text.gauge(
        "process_max_fds",
        "Most file descriptors.",
        process::raise_nofile_limit(0),
    );
    if let Ok(threads) = process::thread_count() {
        text.gauge("process_threads", "Threads.", threads);
    }
}
