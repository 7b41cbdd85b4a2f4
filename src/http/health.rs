//! `/healthz` and `/readyz`: what a probe may act upon.
//!
//! Healthy is a process that answers at all: whoever restarts the server for anything less, a long script, a
//! full disk, a dataset that is still being loaded, makes it worse. Ready is a server that does everything
//! that clients may ask for; the obstacles are those for which commands are refused (`exec::admit`).

use std::sync::atomic::Ordering;

use crate::persist::state::Marks;
use crate::server::{Lifecycle, Server};

/// Why the server does not do everything that clients may ask for, a line each; empty if it does.
pub(super) fn obstacles(server: &Server) -> String {
    let (marks, config) = (server.persist.marks(), server.config());
    let mut lines = String::new();
    if server.lifecycle() >= Lifecycle::Stopping {
        lines.push_str("stopping: the server is shutting down\n");
    } else if marks.has(Marks::LOADING) || server.lifecycle() < Lifecycle::Running {
        let (loaded, total) = loaded(server);
        let percent = loaded as f64 * 100.0 / total.max(1) as f64;
        lines.push_str(&format!(
            "loading: {loaded} of {total} bytes of the dataset are loaded ({percent:.1}%)\n"
        ));
    }
    let rdb_counts = config.stop_writes_on_bgsave_error && !config.save.is_empty();
    if marks.has(Marks::RDB_FAILED) && rdb_counts {
        lines.push_str("disk: the last snapshot failed, so writes are refused; see the log\n");
    }
    if marks.has(Marks::AOF_FAILED) && config.appendonly {
        let why = &server.persist.book().aof_error;
        lines.push_str(&format!(
            "disk: the append-only file cannot be written, so writes are refused: {why}\n"
        ));
    }
    lines
}

/// Bytes of the load in progress that were read, and all of them.
pub(super) fn loaded(server: &Server) -> (u64, u64) {
    let loading = &server.persist.loading;
    let total = loading.total_bytes.load(Ordering::Relaxed);
    let is_aof = server.persist.book().is_loading_aof;
    let loaded = match server.persist.aof() {
        Some(aof) if is_aof => aof.loaded_bytes(),
        _ => loading.loaded_bytes.load(Ordering::Relaxed),
    };
    (loaded, total)
}
