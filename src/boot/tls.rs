//! TLS over the server's life: configured at the start and by CONFIG SET, its files read again on SIGHUP and every
//! `tls-auto-reload-interval` seconds.
//!
//! A reload that fails leaves what there is, and says why in the log; nobody is dropped by one that works.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use crate::config::{Config, Field, TlsAuthClients};
use crate::server::Server;
use crate::tls::{self, NotConfigured, Reloaded, Tls};

/// Time between two looks at whether it is time to look at the files.
const TICK: Duration = Duration::from_secs(1);

/// TLS as the server starts; an error ends it.
pub(super) fn at_start(config: &Config) -> Result<Tls, NotConfigured> {
    let tls = Tls::default();
    if config.tls_port == 0 {
        return Ok(tls);
    }
    match tls.configure(config) {
        Ok(()) => Ok(tls),
        Err(error) => {
            // Logged, since a daemon has no terminal any more.
            tracing::error!("{error}");
            tracing::error!("Failed to configure TLS. Check logs for more info.");
            Err(error)
        }
    }
}

/// Speaks TLS with the server of this configuration.
pub(super) fn connect(
    stream: TcpStream,
    config: &Config,
) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
    std::env::set_current_dir(&config.dir)?;
    let name = ServerName::from(stream.peer_addr()?.ip());
    let client = ClientConnection::new(tls::probe(config)?, name)?;
    Ok(StreamOwned::new(client, stream))
}

/// Fields that a context is made of.
pub(super) fn is_of(field: Field) -> bool {
    use Field::*;
    matches!(
        field,
        TlsPort
            | TlsCertFile
            | TlsKeyFile
            | TlsKeyFilePass
            | TlsCaCertFile
            | TlsCaCertDir
            | TlsAuthClients
            | TlsProtocols
            | TlsCiphers
            | TlsCipherSuites
            | TlsPreferServerCiphers
            | TlsSessionCaching
            | TlsSessionCacheSize
            | TlsSessionCacheTimeout
    )
}

/// `after`, with `tls-auth-clients` as `before` if that asks for more.
pub(super) fn stricter(before: &Config, after: &Config) -> Config {
    let strictness = |config: &Config| match config.tls_auth_clients {
        TlsAuthClients::No => 0,
        TlsAuthClients::Optional => 1,
        TlsAuthClients::Yes => 2,
    };
    let strictest = match strictness(before) > strictness(after) {
        true => before,
        false => after,
    };
    Config {
        tls_auth_clients: strictest.tls_auth_clients,
        ..after.clone()
    }
}

/// CONFIG SET: speaks TLS to new connections as the directives say from now on, if it is spoken at all.
pub(super) fn configure(server: &Server, after: &Config) -> Result<(), String> {
    if after.tls_port == 0 {
        server.tls.clear();
        return Ok(());
    }
    server.tls.configure(after).map_err(|error| {
        tracing::warn!("{error}");
        "Unable to update TLS configuration. Check server logs.".to_owned()
    })
}

/// Looks at the files, and takes what has changed.
pub(super) fn reload(server: &Server) {
    // A CONFIG SET that is under way has its directives in force before others see them: what they were
    // must not come back.
    server.with_settled_config(|config| reload_from(server, config));
}

fn reload_from(server: &Server, config: &Config) {
    if config.tls_port == 0 {
        return;
    }
    match server.tls.reload(config) {
        Ok(Reloaded::Unchanged) => tracing::debug!("TLS reload skipped: materials unchanged"),
        Ok(Reloaded::Changed) => tracing::info!("TLS materials reloaded successfully"),
        Err(error) => tracing::warn!("TLS reload failed, the old materials stay: {error}"),
    }
}

/// `tls-auto-reload-interval`, for ever.
pub(super) async fn auto_reload(server: Arc<Server>) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(TICK).await;
        let interval_secs = server.config().tls_auto_reload_interval_secs;
        if interval_secs == 0 || last.elapsed() < Duration::from_secs(interval_secs) {
            continue;
        }
        last = Instant::now();
        let server = server.clone();
        // Files may be slow, and a key under a password takes a while to open.
        let _ = tokio::task::spawn_blocking(move || reload(&server)).await;
    }
}
