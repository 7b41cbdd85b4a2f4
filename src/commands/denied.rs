//! What a user's rights do not allow: what is told of it, and what is kept of it.
//!
//! Whoever asks (`exec` at the door, at EXEC, for a waiter, in a script; AUTH of a password) finds the
//! error here, each place with its own words, and has the denial recorded: counted for INFO, and shown
//! by ACL LOG with a line that describes the client.
//!
//! To deny something in another place: ask `Rights::check`, then [`Denied::record`].

use std::sync::atomic::Ordering;

use crate::acl::{Context, Denial, Entry, Reason, Request};
use crate::client::{Client, Shared};
use crate::db::DbIndex;
use crate::resp::parse::Argv;
use crate::server::Server;
use crate::spec::CmdError;

use super::{CommandTable, Handler, Registered, client};

/// A request as a user's rights are asked about it.
#[inline]
pub(crate) fn request<'a>(
    command: &'a Registered,
    argv: Argv<'a>,
    db: DbIndex,
) -> Request<'a, Handler> {
    Request {
        command: command.id,
        row: command.row,
        argv,
        db,
    }
}

/// What a client is told whose request is denied.
#[cold]
pub(crate) fn noperm(client: &Client, command: &Registered, denial: Denial) -> CmdError {
    let mut text = b"NOPERM ".to_vec();
    explain(client, command, denial, &mut text);
    CmdError::owned(text)
}

/// What a script is told whose call is denied.
#[cold]
pub(crate) fn in_script(client: &Client, command: &Registered, denial: Denial) -> CmdError {
    let mut text = b"ERR ACL failure in script: ".to_vec();
    explain(client, command, denial, &mut text);
    CmdError::owned(text)
}

fn explain(client: &Client, command: &Registered, denial: Denial, text: &mut Vec<u8>) {
    let why = match denial {
        Denial::Command => {
            text.extend_from_slice(b"User ");
            text.extend_from_slice(&client.login.user.name);
            let name = &command.full_name;
            let rest = format!(" has no permissions to run the '{name}' command");
            return text.extend_from_slice(rest.as_bytes());
        }
        Denial::Key(_) => "No permissions to access a key",
        Denial::Channel(_) => "No permissions to access a channel",
        Denial::Database(_) => "No permissions to access database",
    };
    text.extend_from_slice(why.as_bytes());
}

/// What a client is told by EXEC of a command that was allowed when it was queued.
#[cold]
pub(crate) fn at_exec(denial: Denial) -> CmdError {
    let why = match denial {
        Denial::Command => "no permission to execute the command or subcommand",
        Denial::Key(_) => "no permission to touch the specified keys",
        Denial::Channel(_) => "no permission to access one of the channels used as arguments",
        Denial::Database(_) => "no permission",
    };
    CmdError::owned(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. \
         This command is no longer allowed for the following reason: {why}"
    ))
}

/// Who was denied something, and by which of his requests.
pub(crate) struct Denied<'a> {
    /// The server.
    pub(crate) server: &'a Server,
    /// All commands.
    pub(crate) table: &'a CommandTable,
    /// Who has asked.
    pub(crate) client: &'a Shared,
    /// What he has sent: of a command in a transaction EXEC, of one in a script EVAL.
    pub(crate) sent: Argv<'a>,
    /// Where it was denied.
    pub(crate) context: Context,
}

impl Denied<'_> {
    /// Records that a command was denied.
    #[cold]
    pub(crate) fn record(&self, command: &Registered, argv: Argv<'_>, denial: Denial) {
        let (reason, object) = match denial {
            Denial::Command => (Reason::Command, command.full_name.as_bytes()),
            Denial::Key(at) => (Reason::Key, argv.get(at).unwrap_or_default()),
            Denial::Channel(at) => (Reason::Channel, argv.get(at).unwrap_or_default()),
            Denial::Database(at) => (Reason::Database, argv.get(at).unwrap_or_default()),
        };
        let user = self.client.user();
        let name = user.as_ref().map_or(&b""[..], |user| &user.name);
        self.add(reason, object, name);
    }

    /// Records that somebody was not let in as this user.
    #[cold]
    pub(crate) fn record_login(&self, user: &[u8]) {
        self.add(Reason::Auth, self.sent.get(0).unwrap_or_default(), user);
    }

    /// Records that a certificate names a user that nobody can be.
    #[cold]
    pub(crate) fn record_certificate(&self, user: &[u8]) {
        self.add(Reason::TlsCert, b"", user);
    }

    fn add(&self, reason: Reason, object: &[u8], username: &[u8]) {
        let count = match reason {
            Reason::Auth => &self.server.stats.auth_denied,
            Reason::Command => &self.server.stats.commands_denied,
            Reason::Key => &self.server.stats.keys_denied,
            Reason::Channel => &self.server.stats.channels_denied,
            Reason::Database => &self.server.stats.databases_denied,
            Reason::TlsCert => &self.server.stats.certificates_denied,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let now_ms = self.server.clock.unix_ms();
        self.server.acl.log.record(Entry {
            reason,
            context: self.context,
            object,
            username,
            client_info: client::info_line(self.client, self.table, self.sent, now_ms),
            now_ms,
        });
    }
}
