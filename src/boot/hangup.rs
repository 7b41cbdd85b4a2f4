//! SIGHUP and SIGUSR1: what the server has open or in memory of files is looked at again, as logrotate
//! and whoever has new certificates ask for. (The log itself is opened for each line.)
//!
//! To have something done on it: a line in `serve`, where [`on_hangup`] is called.

use tokio::signal::unix::{SignalKind, signal};

/// Something to be done on SIGHUP, on a thread where it may wait.
pub(super) type Job = Box<dyn Fn() + Send + Sync>;

/// Does these jobs, one after the other, whenever one of the signals comes.
pub(super) async fn on_hangup(jobs: Vec<Job>) {
    let jobs = std::sync::Arc::new(jobs);
    let signals = (
        signal(SignalKind::hangup()),
        signal(SignalKind::user_defined1()),
    );
    let (Ok(mut hangup), Ok(mut user)) = signals else {
        return tracing::warn!("SIGHUP and SIGUSR1 cannot be handled");
    };
    loop {
        let (name, more) = tokio::select! {
            more = hangup.recv() => ("SIGHUP", more),
            more = user.recv() => ("SIGUSR1", more),
        };
        if more.is_none() {
            return;
        }
        tracing::info!("Received {name}: files are opened anew");
        let jobs = jobs.clone();
        let work = move || jobs.iter().for_each(|job| job());
        let _ = tokio::task::spawn_blocking(work).await;
    }
}
