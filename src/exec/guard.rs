//! Rights of users, asked once more where time has passed since a request was admitted: at EXEC, and when
//! one that waits is served; and asked for each command of a script.
//!
//! The door itself is in `admit`. Everywhere the same is asked (`Rights::check`) about the same keys, those
//! that the row's key specs find, by which shards are locked, too.
//!
//! A client's copy of its rights is renewed when a request of it comes in, so a change holds for the very
//! next one, also of a batch that is there already. A transaction is judged by what holds when it begins,
//! and by what its own commands change; a script by what held when it began.

use crate::acl::{Context, Denial};
use crate::client::Client;
use crate::commands::denied::{self, Denied};
use crate::commands::{Ctx, Registered};
use crate::resp::parse::Argv;
use crate::spec::{CmdError, Flags};

use super::Exec;

/// How a denied call of a script is counted, whatever the script is told.
pub(super) const NOPERM: &[u8] = b"NOPERM";

impl Exec {
    fn denied<'a>(&'a self, client: &'a Client, sent: Argv<'a>, context: Context) -> Denied<'a> {
        Denied {
            server: &self.server,
            table: &self.table,
            client: &client.shared,
            sent,
            context,
        }
    }

    /// Records that a request was denied; what the client is told.
    #[cold]
    pub(super) fn deny(
        &self,
        command: &Registered,
        argv: Argv<'_>,
        client: &Client,
        denial: Denial,
    ) -> CmdError {
        self.denied(client, argv, Context::of(client.in_multi))
            .record(command, argv, denial);
        denied::noperm(client, command, denial)
    }

    /// Whether a command of a transaction may still run; else what EXEC tells of it. `exec` is the
    /// request that runs the transaction.
    #[inline]
    pub(super) fn check_queued(
        &self,
        ctx: &Ctx<'_>,
        argv: Argv<'_>,
        exec: Argv<'_>,
    ) -> Result<(), CmdError> {
        let Ctx {
            client, command, ..
        } = ctx;
        let request = denied::request(command, argv, client.db);
        let Err(denial) = client.login.check(&request) else {
            return Ok(());
        };
        self.denied(client, exec, Context::Multi)
            .record(command, argv, denial);
        let error = denied::at_exec(denial);
        self.audit_refusal(command, argv, client, false, &error);
        Err(error)
    }

    /// Whether a command that has waited may still run; else what its client is told.
    pub(super) fn check_waiter(&self, ctx: &Ctx<'_>, argv: Argv<'_>) -> Result<(), CmdError> {
        let Ctx {
            client, command, ..
        } = ctx;
        let request = denied::request(command, argv, client.db);
        let denial = client.login.check(&request);
        denial.map_err(|denial| {
            let error = self.deny(command, argv, client, denial);
            self.audit_refusal(command, argv, client, false, &error);
            error
        })
    }

    /// Records that a call of a script was denied. `sent` is the request that runs the script.
    #[cold]
    pub(super) fn record_call(
        &self,
        (command, argv): (&Registered, Argv<'_>),
        client: &Client,
        sent: Argv<'_>,
        denial: Denial,
    ) {
        self.denied(client, sent, Context::Lua)
            .record(command, argv, denial);
        self.audit_refusal(command, argv, client, true, &CmdError::text("NOPERM"));
    }
}

/// Whether a command may change what its own client may do.
#[inline]
pub(super) fn may_change_rights(command: &Registered) -> bool {
    command.row.flags.has(Flags::ADMIN)
}

#[cfg(test)]
mod tests;
