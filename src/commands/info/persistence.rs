//! INFO persistence: what is being saved, rewritten and loaded, and how that went.
//!
//! There is no fork: `*_cow_*` is the memory that the running, or the last, snapshot holds back,
//! which is what the fields are looked at for.

use std::sync::atomic::Ordering;

use crate::persist::state::{Book, JobKind, Marks};

use super::Report;

/// Fields of features that Kivi does without.
const NO_FORKS: [&str; 3] = [
    "module_fork_in_progress",
    "module_fork_last_cow_size",
    "slot_migration_fork_in_progress",
];

pub(super) fn write(report: &mut Report<'_, '_>) {
    let server = report.server;
    let book = server.persist.book().clone();
    let is_loading = server.persist.marks().has(Marks::LOADING);
    report.line("loading", is_loading as u8);
    report.line("async_loading", 0);
    progress(report, &book);
    rdb(report, &book);
    aof(report, &book);
    report.zeros(&NO_FORKS);
    if report.config.appendonly {
        aof_figures(report);
    }
    if is_loading {
        loading(report, &book);
    }
}

fn progress(report: &mut Report<'_, '_>, book: &Book) {
    let server = report.server;
    let snapshot = &server.keyspace.snapshot;
    let (mut held, mut peak, mut keys, mut total) = (0, 0, 0, 0);
    if book.job.is_some() {
        held = snapshot.held_bytes();
        peak = snapshot.held_peak_bytes();
        let saving = &server.persist.saving;
        keys = saving.keys_processed.load(Ordering::Relaxed);
        total = saving.keys_total.load(Ordering::Relaxed);
    }
    report.line("current_cow_peak", peak);
    report.line("current_cow_size", held);
    // Read just now.
    report.line("current_cow_size_age", 0);
    let percent = keys as f64 * 100.0 / total.max(1) as f64;
    report.line("current_fork_perc", format_args!("{percent:.2}"));
    report.line("current_save_keys_processed", keys);
    report.line("current_save_keys_total", total);
}

/// Seconds, or -1 for never.
fn or_never(secs: Option<u64>) -> i64 {
    secs.map_or(-1, |secs| i64::try_from(secs).unwrap_or(i64::MAX))
}

fn status(failed: bool) -> &'static str {
    if failed { "err" } else { "ok" }
}

/// How long the job of this kind runs already, seconds.
fn running_secs(report: &Report<'_, '_>, book: &Book, kind: JobKind) -> Option<u64> {
    let job = book.job.as_ref().filter(|job| job.kind == kind)?;
    let now_ms = report.server.clock.unix_ms();
    Some(now_ms.saturating_sub(job.started_at_ms) / 1000)
}

fn rdb(report: &mut Report<'_, '_>, book: &Book) {
    let changes = report.server.keyspace.changes();
    let unsaved = changes.saturating_sub(book.changes_saved);
    let running = running_secs(report, book, JobKind::BgSave);
    report.line("rdb_changes_since_last_save", unsaved);
    report.line("rdb_bgsave_in_progress", running.is_some() as u8);
    report.line("rdb_last_save_time", book.last_save_secs);
    report.line("rdb_last_bgsave_status", status(book.bgsave_failed));
    report.line(
        "rdb_last_bgsave_time_sec",
        or_never(book.last_bgsave_took_secs),
    );
    report.line("rdb_current_bgsave_time_sec", or_never(running));
    report.line("rdb_saves", book.saves);
    report.line("rdb_last_cow_size", book.last_cow_bytes);
    report.line("rdb_last_load_keys_expired", book.loaded_expired_keys);
    report.line("rdb_last_load_keys_loaded", book.loaded_keys);
}

fn aof(report: &mut Report<'_, '_>, book: &Book) {
    let running = running_secs(report, book, JobKind::AofRewrite);
    let write_failed = report.server.persist.marks().has(Marks::AOF_FAILED);
    report.line("aof_enabled", report.config.appendonly as u8);
    report.line("aof_rewrite_in_progress", running.is_some() as u8);
    report.line("aof_rewrite_scheduled", book.is_rewrite_scheduled as u8);
    report.line(
        "aof_last_rewrite_time_sec",
        or_never(book.last_rewrite_took_secs),
    );
    report.line("aof_current_rewrite_time_sec", or_never(running));
    report.line("aof_last_bgrewrite_status", status(book.rewrite_failed));
    report.line("aof_rewrites", book.rewrites);
    let failures = report.server.persist.aof().map_or(0, |aof| aof.failures());
    report.line("aof_rewrites_consecutive_failures", failures);
    report.line("aof_last_write_status", status(write_failed));
    report.line("aof_last_cow_size", book.last_rewrite_cow_bytes);
}

fn aof_figures(report: &mut Report<'_, '_>) {
    let server = report.server;
    let Some(aof) = server.persist.aof() else {
        return;
    };
    report.line("aof_current_size", aof.current_bytes());
    report.line("aof_base_size", aof.base_bytes());
    // Rewrites do not wait for anything else.
    report.line("aof_pending_rewrite", 0);
    let buffered = aof.buffered_bytes(&server.keyspace.oplog);
    report.line("aof_buffer_length", buffered);
    report.line("aof_pending_bio_fsync", aof.is_sync_pending() as u8);
    report.line("aof_delayed_fsync", aof.delayed_fsync());
}

fn loading(report: &mut Report<'_, '_>, book: &Book) {
    let server = report.server;
    let figures = &server.persist.loading;
    let total = figures.total_bytes.load(Ordering::Relaxed);
    let loaded = match server.persist.aof() {
        Some(aof) if book.is_loading_aof => aof.loaded_bytes(),
        _ => figures.loaded_bytes.load(Ordering::Relaxed),
    };
    let used_mem = figures.rdb_used_mem.load(Ordering::Relaxed);
    let now_ms = server.clock.unix_ms();
    let elapsed_ms = now_ms.saturating_sub(book.load_started_at_ms);
    let percent = loaded as f64 * 100.0 / total.max(1) as f64;
    let left = total.saturating_sub(loaded);
    // A second, as long as nothing is known.
    let eta_secs = match elapsed_ms / 1000 {
        0 => 1,
        _ => u128::from(elapsed_ms) * u128::from(left) / u128::from(loaded + 1) / 1000,
    };
    report.line("loading_start_time", book.load_started_at_ms / 1000);
    report.line("loading_total_bytes", total);
    report.line("loading_rdb_used_mem", used_mem);
    report.line("loading_loaded_bytes", loaded);
    report.line("loading_loaded_perc", format_args!("{percent:.2}"));
    report.line("loading_eta_seconds", eta_secs);
}
