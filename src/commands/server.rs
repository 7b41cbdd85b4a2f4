//! Commands about the server as a whole: FLUSHALL, FLUSHDB, SWAPDB, TIME, ROLE, SHUTDOWN.
//!
//! What takes the whole keyspace (FLUSHALL, FLUSHDB, SWAPDB) runs on the exclusive path, which its
//! row asks for with
//! [`Flags::EXCLUSIVE`]. A flush only unhooks the tables; their keys are freed without any lock, by
//! the lazy-free thread (ASYNC) or before the client gets its reply (SYNC): by this one if they are few,
//! else on a thread of its own, so that nobody else waits.
//!
//! What FLUSHALL and SHUTDOWN write to disk is done on a thread of its own ([`Chore`]).

use crate::config::ShutdownFlags;
use crate::db::DbIndex;
use crate::persist::state::JobKind;
use crate::spec::{AclCategories, CmdError, Databases, Flags, Group};
use crate::util::num;

use super::{Chore, CmdResult, Command, Ctx, Next, command};

/// What FLUSHALL and FLUSHDB have in common.
const FLUSH: Flags = Flags::WRITE.and(Flags::EXCLUSIVE);
/// Keys that are freed where nobody but who asks for it waits: some milliseconds.
const SLOW_FLUSH_KEYS: usize = 10_000;
const DANGEROUS_KEYSPACE: AclCategories = AclCategories::DANGEROUS.and(AclCategories::KEYSPACE);
const FLUSH_SYNTAX: &str = "flush-type(ASYNC@4.0.0|SYNC@6.2.0)?";
const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("flushall", -1, FLUSH, flushall)
        .acl(DANGEROUS_KEYSPACE)
        .databases(Databases::All)
        .tips(ALL_SHARDS)
        .docs(
            Group::Server,
            "1.0.0",
            "O(N), N being the keys of all databases",
            "Deletes every key of every database.",
        )
        .syntax(FLUSH_SYNTAX),
    command("flushdb", -1, FLUSH, flushdb)
        .acl(DANGEROUS_KEYSPACE)
        .tips(ALL_SHARDS)
        .docs(
            Group::Server,
            "1.0.0",
            "O(N), N being the keys of the selected database",
            "Deletes every key of the selected database.",
        )
        .syntax(FLUSH_SYNTAX),
    command(
        "role",
        1,
        Flags::FAST
            .and(Flags::LOADING)
            .and(Flags::NOSCRIPT)
            .and(Flags::STALE),
        role,
    )
    .acl(AclCategories::ADMIN.and(AclCategories::DANGEROUS))
    .docs(
        Group::Server,
        "2.8.12",
        "O(1)",
        "Tells whether the server is a primary or a replica, and of whom.",
    ),
    command(
        "shutdown",
        -1,
        Flags::ADMIN
            .and(Flags::ALLOW_BUSY)
            .and(Flags::LOADING)
            .and(Flags::NO_MULTI)
            .and(Flags::NOSCRIPT)
            .and(Flags::STALE),
        shutdown,
    )
    .docs(
        Group::Server,
        "1.0.0",
        "O(1); O(N) when it saves, N being the keys of all databases",
        "Stops the server.",
    )
    .syntax(
        "abort-selector(save-selector-block{save-selector(NOSAVE|SAVE)? NOW?@7.0.0 FORCE?@7.0.0 \
         SAFE?@9.0.0 FAILOVER?@9.0.0}|ABORT@7.0.0)?",
    ),
    command(
        "swapdb",
        3,
        Flags::FAST.and(Flags::WRITE).and(Flags::EXCLUSIVE),
        swapdb,
    )
    .acl(DANGEROUS_KEYSPACE)
    .databases(Databases::Named(&[1, 2]))
    .docs(
        Group::Server,
        "4.0.0",
        "O(N), N being the clients that watch or wait for keys of the two databases",
        "Exchanges the contents of two databases.",
    )
    .syntax("index1:integer index2:integer"),
    command(
        "time",
        1,
        Flags::FAST.and(Flags::LOADING).and(Flags::STALE),
        time,
    )
    .tips(&["nondeterministic_output"])
    .docs(
        Group::Server,
        "2.6.0",
        "O(1)",
        "Tells the server's Unix time in seconds, and the microseconds of the running second.",
    ),
];

fn flushall(ctx: &mut Ctx<'_>) -> CmdResult {
    let next = flush(ctx, None)?;
    // A snapshot of what is no more is not wanted.
    ctx.server.persist.cancel(JobKind::BgSave);
    if !ctx.config.save.is_empty() {
        return Ok(Next::Chore(Chore::SaveFlushed));
    }
    Ok(flushed(ctx, next))
}

fn flushdb(ctx: &mut Ctx<'_>) -> CmdResult {
    let db = ctx.db.db();
    let next = flush(ctx, Some(db))?;
    Ok(flushed(ctx, next))
}

/// The reply, unless it comes from a chore.
fn flushed(ctx: &mut Ctx<'_>, next: Next) -> Next {
    if let Next::Done = next {
        ctx.out.ok();
    }
    next
}

fn flush(ctx: &mut Ctx<'_>, db: Option<DbIndex>) -> CmdResult {
    let lazy = match ctx.args.remaining() {
        0 => ctx.config.lazyfree_lazy_user_flush,
        1 if ctx.args.take("ASYNC") => true,
        1 if ctx.args.take("SYNC") => false,
        _ => return Err(CmdError::Syntax),
    };
    let removed = ctx.db.flush(db);
    // Also of what was empty.
    ctx.db.effects.force_propagation();
    let lazyfree = &ctx.db.keyspace().lazyfree;
    let keys: usize = removed.iter().map(|table| table.len()).sum();
    if lazy {
        lazyfree.free(removed);
    } else if ctx.may_block && keys >= SLOW_FLUSH_KEYS {
        // Who asked for it waits, and none of the others on this thread.
        lazyfree.set_aside(removed);
        return Ok(Next::Chore(Chore::FreeFlushed));
    } else {
        ctx.db.drop_unlocked(removed);
    }
    Ok(Next::Done)
}

fn swapdb(ctx: &mut Ctx<'_>) -> CmdResult {
    let first = db_number(ctx, "ERR invalid first DB index")?;
    let second = db_number(ctx, "ERR invalid second DB index")?;
    let databases = ctx.db.keyspace().databases();
    let index = |number: i32| match u32::try_from(number) {
        Ok(index) if index < databases => Ok(DbIndex(index)),
        _ => Err(CmdError::DbIndexOutOfRange),
    };
    let (first, second) = (index(first)?, index(second)?);
    ctx.db.swap(first, second);
    ctx.out.ok();
    Ok(Next::Done)
}

/// A number that may be out of range, but must be one that Redis's `int` holds.
fn db_number(ctx: &mut Ctx<'_>, otherwise: &'static str) -> Result<i32, CmdError> {
    let number = num::parse_i64(ctx.args.bytes()?);
    let number = number.and_then(|number| i32::try_from(number).ok());
    number.ok_or(CmdError::text(otherwise))
}

fn time(ctx: &mut Ctx<'_>) -> CmdResult {
    // The moment of the batch has milliseconds only.
    let now_us = || ctx.server.clock.unix_us();
    let now_us = match ctx.script {
        Some(script) => script.unix_us(now_us),
        None => now_us(),
    };
    ctx.out.array(2);
    ctx.out.bulk_int((now_us / 1_000_000) as i64);
    ctx.out.bulk_int((now_us % 1_000_000) as i64);
    Ok(Next::Done)
}

fn role(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.out.array(3);
    ctx.out.bulk(b"master");
    ctx.out.integer(0);
    ctx.out.array(0);
    Ok(Next::Done)
}

fn shutdown(ctx: &mut Ctx<'_>) -> CmdResult {
    let mut flags = ShutdownFlags::default();
    let (mut failover, mut other, mut abort) = Default::default();
    while let Some(word) = ctx.args.option() {
        let flag: &mut bool = match &*word.to_ascii_lowercase() {
            b"save" => &mut flags.save,
            b"nosave" => &mut flags.nosave,
            b"force" => &mut flags.force,
            b"failover" => &mut failover,
            // There are no replicas to wait for, and no slots to lose.
            b"now" | b"safe" => &mut other,
            b"abort" => &mut abort,
            _ => return Err(CmdError::Syntax),
        };
        *flag = true;
    }
    let is_other = flags != ShutdownFlags::default() || failover || other;
    if (abort && is_other) || (flags.save && flags.nosave) {
        return Err(CmdError::Syntax);
    }
    if failover {
        return Err(CmdError::text(
            "ERR SHUTDOWN FAILOVER is only supported in cluster mode.",
        ));
    }
    if abort {
        return match ctx.server.persist.abort_shutdown() {
            true => {
                ctx.out.ok();
                Ok(Next::Done)
            }
            false => Err(CmdError::text("ERR No shutdown in progress.")),
        };
    }
    if !flags.nosave
        && let Some(error) = ctx.server.scripts.running.busy_error()
    {
        return Err(error);
    }
    Ok(Next::Chore(Chore::Shutdown(flags)))
}

#[cfg(test)]
mod tests;
