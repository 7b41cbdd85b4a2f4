//! The beginning of a TLS connection: the handshake, and what follows from who has come.
//!
//! Until it is over the client is listed like any other, can be killed, and is given up after [`HANDSHAKE_MAX`]; it has
//! sent no request yet. Nobody waits for it: a handshake that goes on slowly costs others nothing.

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use crate::acl::Context;
use crate::client::{Client, Signal};
use crate::commands::denied::Denied;
use crate::config::TlsAuthClientsUser;
use crate::resp::parse::Argv;
use crate::tls;
use crate::util::seldom::Seldom;

use super::tls::TlsStream;
use super::worker::Worker;
use super::{last_words, listener};

/// Lines of the log that anybody can cause: one in a tenth of a second.
static FAILURE_LOG: Seldom = Seldom::new(100);
/// How long a handshake may take; nobody wants to wait for it in tests.
const HANDSHAKE_MAX: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 30 });

/// Shakes hands; false if the connection is not to be served. A connection that comes from another worker has done so
/// long since, and is welcome.
pub async fn welcome(stream: &mut TlsStream, client: &mut Client, worker: &Worker) -> bool {
    if stream.is_established() {
        return true;
    }
    let shared = client.shared.clone();
    let shaken = poll_fn(|cx| match shared.has(Signal::Kill) {
        true => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
        false => stream.poll_handshake(cx),
    });
    let shaken = tokio::time::timeout(HANDSHAKE_MAX, shaken).await;
    let shaken = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    if let Err(error) = shaken {
        let now_ms = worker.exec.server.clock.unix_ms();
        if !shared.has(Signal::Kill) && FAILURE_LOG.passes(now_ms) {
            let endpoint = &shared.endpoint;
            tracing::warn!(
                "Error accepting a client connection: {error} (addr={} laddr={})",
                endpoint.addr,
                endpoint.laddr
            );
        }
        return false;
    }
    let server = &worker.exec.server;
    if listener::is_turned_away(server, &shared.endpoint) {
        listener::count_turned_away(server);
        let _ = stream.try_write(last_words::PROTECTED);
        return false;
    }
    log_in(stream, client, worker);
    true
}

/// Logs a client in as the user that its certificate names (`tls-auth-clients-user`). If there is none it stays who
/// it is, and may show a password.
fn log_in(stream: &TlsStream, client: &mut Client, worker: &Worker) {
    let server = &worker.exec.server;
    let field = server.config().tls_auth_clients_user;
    let Some(certificate) = stream.session().certificate() else {
        return;
    };
    if field == TlsAuthClientsUser::Off {
        return;
    }
    let names = tls::identities(certificate, field);
    let user = |name: &Vec<u8>| {
        let user = server.acl.user(name).filter(|_| tls::may_be_user(name))?;
        user.rights().is_enabled.then_some(user)
    };
    if let Some(user) = names.iter().find_map(user) {
        if !server.config().hide_user_data_from_log {
            let name = String::from_utf8_lossy(&user.name);
            tracing::debug!("TLS: Auto-authenticated client as {name}");
        }
        return client.log_in(user, true);
    }
    // Valkey speaks of the last one that it has tried.
    if let Some(name) = names.last() {
        let denied = Denied {
            server,
            table: &worker.exec.table,
            client: &client.shared,
            sent: Argv::new(&[], &[]),
            context: Context::TopLevel,
        };
        denied.record_certificate(name);
    }
}
