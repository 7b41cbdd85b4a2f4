//! SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF.
//!
//! A snapshot that a client waits for is written on a thread of its own ([`Chore`]): only this client
//! waits, all others are served on.

use std::sync::Arc;

use crate::persist::state::JobKind;
use crate::server::Server;
use crate::server::rewriting;
use crate::server::saving::{self, NotStarted};
use crate::spec::{AclCategories, CmdError, Flags, Group};

use super::{Chore, CmdResult, Command, Ctx, Next, command};

/// What commands that write files have in common.
const WRITES_FILES: Flags = Flags::ADMIN
    .and(Flags::NOSCRIPT)
    .and(Flags::NO_ASYNC_LOADING);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("bgrewriteaof", 1, WRITES_FILES, bgrewriteaof).docs(
        Group::Server,
        "1.0.0",
        "O(1); the rewriting takes O(N) in the background, N being the keys of all databases",
        "Rewrites the append-only log in the background, as short as it can be.",
    ),
    command("bgsave", -1, WRITES_FILES, bgsave)
        .docs(
            Group::Server,
            "1.0.0",
            "O(1); the saving takes O(N) in the background, N being the keys of all databases",
            "Writes a snapshot of all databases in the background.",
        )
        .syntax("operation(SCHEDULE@3.2.2|CANCEL@8.1.0)?"),
    command(
        "lastsave",
        1,
        Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        lastsave,
    )
    .acl(AclCategories::ADMIN.and(AclCategories::DANGEROUS))
    .tips(&["nondeterministic_output"])
    .docs(
        Group::Server,
        "1.0.0",
        "O(1)",
        "Tells the Unix time of the last snapshot.",
    ),
    command("save", 1, WRITES_FILES.and(Flags::NO_MULTI), save).docs(
        Group::Server,
        "1.0.0",
        "O(N), N being the keys of all databases",
        "Writes a snapshot of all databases and replies when it is on disk.",
    ),
];

/// What a failure is told as when the log has the details.
const FAILED: CmdError = CmdError::text("ERR");

fn save(ctx: &mut Ctx<'_>) -> CmdResult {
    match ctx.server.persist.book().running() {
        Some(JobKind::BgSave | JobKind::Save) => {
            Err(CmdError::text("ERR Background save already in progress"))
        }
        // Done after it.
        Some(JobKind::AofRewrite) | None => Ok(Next::Chore(Chore::Save)),
    }
}

fn bgsave(ctx: &mut Ctx<'_>) -> CmdResult {
    let mut schedule = false;
    match ctx.args.remaining() {
        0 => {}
        1 if ctx.args.take("SCHEDULE") => schedule = true,
        1 if ctx.args.take("CANCEL") => return cancel(ctx),
        _ => return Err(CmdError::Syntax),
    }
    background(ctx, Chore::BgSave { schedule })
}

/// What begins a job touches files before that runs on its own: the client waits, nobody else. In a
/// transaction, as in Redis, it begins afterwards.
fn background(ctx: &mut Ctx<'_>, chore: Chore) -> CmdResult {
    if ctx.may_block {
        return Ok(Next::Chore(chore));
    }
    // It waits for shards that this transaction holds: later.
    let text = match chore {
        Chore::BgSave { .. } => schedule_bgsave(ctx.server)?,
        _ => schedule_bgrewriteaof(ctx.server)?,
    };
    ctx.out.simple(text);
    Ok(Next::Done)
}

fn schedule_bgsave(server: &Server) -> Result<&'static str, CmdError> {
    let mut book = server.persist.book();
    if let Some(JobKind::BgSave | JobKind::Save) = book.running() {
        return Err(CmdError::text("ERR Background save already in progress"));
    }
    tracing::info!("Background saving scheduled due to user request");
    book.is_bgsave_scheduled = true;
    Ok("Background saving scheduled")
}

/// Begins a background save; the reply.
pub(crate) fn begin_bgsave(server: &Arc<Server>, schedule: bool) -> Result<&'static str, CmdError> {
    match saving::start_bgsave(server) {
        Ok(()) => Ok("Background saving started"),
        Err(NotStarted::Failed) => Err(FAILED),
        Err(NotStarted::Busy(JobKind::AofRewrite)) if schedule => {
            tracing::info!("Background saving scheduled due to user request");
            server.persist.book().is_bgsave_scheduled = true;
            Ok("Background saving scheduled")
        }
        Err(NotStarted::Busy(JobKind::AofRewrite)) => Err(CmdError::text(
            "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE \
             SCHEDULE in order to schedule a BGSAVE whenever possible.",
        )),
        Err(NotStarted::Busy(JobKind::BgSave | JobKind::Save)) => {
            Err(CmdError::text("ERR Background save already in progress"))
        }
    }
}

fn cancel(ctx: &mut Ctx<'_>) -> CmdResult {
    let persist = &ctx.server.persist;
    if persist.cancel(JobKind::BgSave) {
        tracing::info!("Background saving will be aborted due to user request");
        ctx.out.simple("Background saving cancelled");
    } else if std::mem::take(&mut persist.book().is_bgsave_scheduled) {
        tracing::info!("Scheduled background saving will be cancelled due to user request");
        ctx.out.simple("Scheduled background saving cancelled");
    } else {
        return Err(CmdError::text(
            "ERR Background saving is currently not in progress or scheduled",
        ));
    }
    Ok(Next::Done)
}

fn lastsave(ctx: &mut Ctx<'_>) -> CmdResult {
    let secs = ctx.server.persist.book().last_save_secs;
    ctx.out.integer(i64::try_from(secs).unwrap_or(i64::MAX));
    Ok(Next::Done)
}

fn bgrewriteaof(ctx: &mut Ctx<'_>) -> CmdResult {
    background(ctx, Chore::BgRewriteAof)
}

/// Begins a rewrite of the log; the reply.
pub(crate) fn begin_bgrewriteaof(server: &Arc<Server>) -> Result<&'static str, CmdError> {
    match rewriting::start(server) {
        Ok(()) => Ok("Background append only file rewriting started"),
        Err(NotStarted::Busy(_)) => schedule_bgrewriteaof(server),
        Err(NotStarted::Failed) => Err(CmdError::text(
            "ERR Can't execute an AOF background rewriting. Please check the server logs for more \
             information.",
        )),
    }
}

fn schedule_bgrewriteaof(server: &Server) -> Result<&'static str, CmdError> {
    if server.persist.book().running() == Some(JobKind::AofRewrite) {
        return Err(CmdError::text(
            "ERR Background append only file rewriting already in progress",
        ));
    }
    tracing::info!("Background append only file rewriting scheduled.");
    server.persist.book().is_rewrite_scheduled = true;
    if let Some(aof) = server.persist.aof() {
        // Who asks for it need not wait because of earlier failures.
        aof.forgive_failures();
    }
    Ok("Background append only file rewriting scheduled")
}

#[cfg(test)]
mod tests;
