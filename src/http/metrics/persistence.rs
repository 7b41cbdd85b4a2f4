//! Snapshots, the append-only file, and the load at the start.

use std::sync::Arc;

use crate::persist::aof::Aof;
use crate::persist::state::{Book, JobKind, Marks};

use super::super::figures::Figures;
use super::super::health;
use super::text::Text;

pub(super) fn write(figures: &Figures, text: &mut Text) {
    let server = &figures.server;
    let book = server.persist.book().clone();
    let is_loading = server.persist.marks().has(Marks::LOADING);
    text.gauge(
        "kivi_loading",
        "Whether the dataset is being loaded.",
        is_loading as u8,
    );
    let (loaded, total) = match is_loading {
        true => health::loaded(server),
        false => (0, 0),
    };
    text.gauge(
        "kivi_loading_loaded_bytes",
        "Bytes of the load in progress that were read.",
        loaded,
    );
    text.gauge(
        "kivi_loading_total_bytes",
        "Bytes of the load in progress.",
        total,
    );
    rdb(figures, &book, text);
    aof(figures, &book, text);
}

fn rdb(figures: &Figures, book: &Book, text: &mut Text) {
    let unsaved = figures
        .server
        .keyspace
        .changes()
        .saturating_sub(book.changes_saved);
    text.gauge(
        "kivi_rdb_changes_since_last_save",
        "Changes that are in no snapshot yet.",
        unsaved,
    );
    text.gauge(
        "kivi_rdb_save_in_progress",
        "Whether a snapshot is being written.",
        matches!(book.running(), Some(JobKind::Save | JobKind::BgSave)) as u8,
    );
    text.gauge(
        "kivi_rdb_last_save_timestamp_seconds",
        "When the last snapshot was written, or the server started.",
        book.last_save_secs,
    );
    text.gauge(
        "kivi_rdb_last_bgsave_success",
        "Whether the last snapshot in the background was written.",
        !book.bgsave_failed as u8,
    );
    text.gauges(
        "kivi_rdb_last_bgsave_duration_seconds",
        "How long the last snapshot in the background took.",
    );
    if let Some(secs) = book.last_bgsave_took_secs {
        text.sample("kivi_rdb_last_bgsave_duration_seconds", &[], secs);
    }
    text.counter("kivi_rdb_saves_total", "Snapshots begun.", book.saves);
}

fn aof(figures: &Figures, book: &Book, text: &mut Text) {
    let server = &figures.server;
    text.gauge(
        "kivi_aof_enabled",
        "Whether writes are logged (appendonly).",
        figures.config.appendonly as u8,
    );
    text.gauge(
        "kivi_aof_last_write_success",
        "Whether the last write to the append-only file succeeded.",
        !server.persist.marks().has(Marks::AOF_FAILED) as u8,
    );
    text.gauge(
        "kivi_aof_rewrite_in_progress",
        "Whether the append-only file is being rewritten.",
        (book.running() == Some(JobKind::AofRewrite)) as u8,
    );
    text.gauge(
        "kivi_aof_last_rewrite_success",
        "Whether the last rewrite succeeded.",
        !book.rewrite_failed as u8,
    );
    text.gauges(
        "kivi_aof_last_rewrite_duration_seconds",
        "How long the last rewrite took.",
    );
    if let Some(secs) = book.last_rewrite_took_secs {
        text.sample("kivi_aof_last_rewrite_duration_seconds", &[], secs);
    }
    text.counter("kivi_aof_rewrites_total", "Rewrites begun.", book.rewrites);
    files(figures, text);
}

/// Of the append-only files: nothing before there are any.
fn files(figures: &Figures, text: &mut Text) {
    let server = &figures.server;
    let log = server.persist.aof();
    let log = log.as_ref();
    let buffered = |log: &Arc<Aof>| log.buffered_bytes(&server.keyspace.oplog);
    for (name, help, bytes) in [
        (
            "kivi_aof_size_bytes",
            "Size of the append-only files.",
            log.map(|log| log.current_bytes()),
        ),
        (
            "kivi_aof_base_size_bytes",
            "Their size after the last rewrite.",
            log.map(|log| log.base_bytes()),
        ),
        (
            "kivi_aof_buffer_bytes",
            "What waits to be written to the append-only file.",
            log.map(buffered),
        ),
    ] {
        text.gauges(name, help);
        if let Some(bytes) = bytes {
            text.sample(name, &[], bytes);
        }
    }
    text.counter(
        "kivi_aof_delayed_fsyncs_total",
        "Syncs that had to wait for the one before.",
        log.map_or(0, |log| log.delayed_fsync()),
    );
}
