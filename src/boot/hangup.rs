//! SIGHUP: what the server has open or in memory of files is looked at again.
//!
//! To have something done on it: a line in `serve`, where [`on_hangup`] is called.

use tokio::signal::unix::{SignalKind, signal};

/// Something to be done on SIGHUP, on a thread where it may wait.
pub(super) type Job = Box<dyn Fn() + Send + Sync>;

/// Does these jobs, one after the other, whenever the signal comes.
pub(super) async fn on_hangup(jobs: Vec<Job>) {
    let jobs = std::sync::Arc::new(jobs);
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return tracing::warn!("SIGHUP cannot be handled");
    };
    while hangup.recv().await.is_some() {
        let jobs = jobs.clone();
        let work = move || jobs.iter().for_each(|job| job());
        let _ = tokio::task::spawn_blocking(work).await;
    }
}
