//! MONITOR: the clients that are shown every command as it runs.
//!
//! Who executes a command writes its line once and puts it into the inboxes of all who look, while
//! the command's shards are still held: commands on one key are shown in the order in which they
//! ran. Everybody who looks sees the same order.
//!
//! What nobody looks at costs nothing: that anybody does is a bit of the word that every command
//! reads anyway (`db::notice::Interest`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::client::inbox::Push;
use crate::client::{ClientId, Registry, Shared};
use crate::db::Interest;
use crate::util::ascii;
use crate::util::check::{Checked, holds};
use crate::util::clock::Clock;

/// What stands in the place of a password.
const REDACTED: &[u8] = b"\"(redacted)\"";

/// See the module's text.
pub struct Monitors {
    clients: Arc<Registry>,
    watching: Mutex<Vec<Arc<Shared>>>,
}

/// A command that has run, to be shown.
pub struct Shown<'a, A> {
    /// Who has asked for it.
    pub client: &'a Shared,
    /// A script of his has.
    pub by_script: bool,
    /// The database that the client works in.
    pub db: u32,
    /// The whole request, each argument with whether it is a secret.
    pub argv: A,
}

impl Monitors {
    /// Nobody looks.
    pub fn new(clients: Arc<Registry>) -> Monitors {
        Monitors {
            clients,
            watching: Mutex::default(),
        }
    }

    /// Shows everything to a client from now on.
    pub fn add(&self, client: &Arc<Shared>, interest: &Interest) {
        let mut watching = self.watching.lock();
        watching.push(client.clone());
        interest.set_monitored(true);
    }

    /// Ends [`Monitors::add`].
    pub fn remove(&self, client: ClientId, interest: &Interest) {
        let mut watching = self.watching.lock();
        watching.retain(|other| other.id != client);
        interest.set_monitored(!watching.is_empty());
    }

    /// Whether those who look are those who say so. While somebody begins or ends they may not be.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn check(&self) -> Checked {
        let watching = self.watching.lock();
        let listed: Vec<ClientId> = watching.iter().map(|client| client.id).collect();
        let all = self.clients.all();
        let own = all
            .iter()
            .filter(|client| client.is_monitor.load(Ordering::Relaxed));
        let own: Vec<ClientId> = own.map(|client| client.id).collect();
        let is_same = listed.len() == own.len() && own.iter().all(|id| listed.contains(id));
        holds!(is_same, "clients {own:?} monitor, listed are {listed:?}");
        Ok(())
    }

    /// Shows a command to everyone who looks.
    pub fn show<'a>(
        &self,
        clock: &Clock,
        shown: Shown<'_, impl Iterator<Item = (&'a [u8], bool)>>,
    ) {
        let args = arguments(shown.argv);
        let watching = self.watching.lock();
        if watching.is_empty() {
            return;
        }
        // The clock is read under the lock, so that later lines have later times.
        let now_us = clock.unix_us();
        let (secs, us) = (now_us / 1_000_000, now_us % 1_000_000);
        let origin = match shown.by_script {
            true => "lua".into(),
            false => origin(shown.client),
        };
        let mut line = format!("+{secs}.{us:06} [{} {origin}]", shown.db).into_bytes();
        line.extend_from_slice(&args);
        line.extend_from_slice(b"\r\n");
        self.clients.post_all(&watching, &Push::Raw(Arc::new(line)));
    }
}

/// Where a client comes from: `127.0.0.1:50000`, `unix:/run/kivi.sock`.
fn origin(client: &Shared) -> String {
    let addr = &client.endpoint.addr;
    match client.endpoint.unix {
        true => format!("unix:{}", addr.strip_suffix(":0").unwrap_or(addr)),
        false => addr.clone(),
    }
}

/// Every argument in quotes, with a space before each.
fn arguments<'a>(argv: impl Iterator<Item = (&'a [u8], bool)>) -> Vec<u8> {
    let mut text = Vec::new();
    for (arg, is_secret) in argv {
        text.push(b' ');
        match is_secret {
            true => text.extend_from_slice(REDACTED),
            false => ascii::repr_arg(arg, &mut text),
        }
    }
    text
}
