//! MONITOR: the client is shown every command as it runs (`server::monitor`).
//!
//! Like Redis, the server takes such a client for a replica of a kind: it may not touch keys, and no
//! pause holds it. RESET makes it an ordinary client again.

use crate::server::Server;
use crate::spec::{CmdError, Flags, Group};

use crate::client::Client;

use super::{CmdResult, Command, Ctx, Next, command};

const FLAGS: Flags = Flags::ADMIN
    .and(Flags::LOADING)
    .and(Flags::NOSCRIPT)
    .and(Flags::STALE);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[command("monitor", 1, FLAGS, monitor).docs(
    Group::Server,
    "1.0.0",
    "O(1)",
    "Shows every command that the server runs, as it runs.",
)];

fn monitor(ctx: &mut Ctx<'_>) -> CmdResult {
    if !ctx.may_block {
        return Err(CmdError::text(
            "ERR MONITOR isn't allowed for DENY BLOCKING client",
        ));
    }
    // Who looks already gets no second reply, as in Redis.
    if !ctx.client.is_monitor {
        ctx.client.set_monitor(true);
        let interest = &ctx.server.keyspace.interest;
        ctx.server.monitors.add(&ctx.client.shared, interest);
        ctx.out.ok();
    }
    Ok(Next::Done)
}

/// The client looks no longer.
pub(crate) fn stop_monitor(server: &Server, client: &mut Client) {
    if client.is_monitor {
        client.set_monitor(false);
        let interest = &server.keyspace.interest;
        server.monitors.remove(client.shared.id, interest);
    }
}

#[cfg(test)]
mod tests;
