//! SIGHUP and SIGUSR1: certificates are read again, as whoever has new ones asks for. The log and the audit
//! log need no signal: they are opened whenever something is written to them.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::server::Server;

use super::tls;

/// Reads certificates again whenever one of the signals comes. Both are caught whatever there is to be done:
/// uncaught, SIGUSR1, which tools for logs send, ends a process.
pub(super) async fn on_hangup(server: Arc<Server>) {
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
        tracing::info!("Received {name}: certificates are read again");
        let server = server.clone();
        // Files may be slow, and a key under a password takes a while to open.
        let _ = tokio::task::spawn_blocking(move || tls::reload(&server)).await;
    }
}
