//! What happens to a client around each command, whatever the command is: CLIENT REPLY, CLIENT CACHING, and the wait
//! behind a wrong password.

use std::sync::atomic::Ordering;

use crate::client::{Client, ReplyMode};
use crate::commands::Registered;
use crate::resp::write::{Mark, ReplyWriter};
use crate::spec::Flags;

use super::Flow;

/// A command that is to be run again has changed nothing, CLIENT REPLY included.
pub(super) fn not_run(flow: Flow, reply: ReplyMode, client: &mut Client) -> Flow {
    client.reply = reply;
    flow
}

/// What is left to do after a command that may have tried a password.
#[inline]
pub(super) fn delayed(flow: Flow, client: &mut Client) -> Flow {
    if client.penalty.is_zero() {
        return flow;
    }
    match flow {
        Flow::Done => Flow::Delay(std::mem::take(&mut client.penalty)),
        Flow::Sleep(rest) => Flow::Sleep(rest.saturating_add(std::mem::take(&mut client.penalty))),
        // It is behind the next command that the client waits.
        flow => flow,
    }
}

/// CLIENT CACHING held for the command that ran, or was refused: other subcommands of CLIENT do not
/// count, and a whole transaction is one command.
#[inline]
pub(super) fn end_caching(command: Option<&Registered>, client: &mut Client) {
    let keeps = |command: &Registered| command.row.flags.has(Flags::KEEPS_CACHING);
    if client.tracking.is_caching() && !client.in_multi && !command.is_some_and(keeps) {
        client.tracking.set_caching(false);
    }
}

/// CLIENT REPLY SKIP counts for the command that begins now; returns the mode before it.
#[inline]
pub(super) fn begin_reply(client: &mut Client) -> ReplyMode {
    let before = client.reply;
    if before == ReplyMode::SkipNext {
        client.reply = ReplyMode::Skip;
    }
    before
}

/// CLIENT REPLY: takes a reply back that the client does not want, by the mode that the command
/// left.
#[inline]
pub(super) fn silence(client: &mut Client, out: &mut ReplyWriter, mark: Mark) {
    match client.reply {
        ReplyMode::On => {}
        // What is shown to it until the next command has run goes the same way, as in Redis.
        ReplyMode::SkipNext => client.shared.is_silent.store(true, Ordering::Relaxed),
        ReplyMode::Off => out.truncate(mark),
        ReplyMode::Skip => {
            out.truncate(mark);
            client.set_reply(ReplyMode::On);
        }
    }
}
