//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! What a client has queued and watches is `client::transaction`'s; queuing and running what is
//! queued is `exec::transaction`'s.

use crate::spec::{AclCategories, CmdError, Flags, Group, KeyFlags, KeySpec};

use super::{CmdResult, Command, Ctx, Next, command};

/// What the commands of this family have in common.
const SERVED: Flags = Flags::LOADING.and(Flags::NOSCRIPT).and(Flags::STALE);
const QUICK: Flags = SERVED.and(Flags::ALLOW_BUSY).and(Flags::FAST);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("discard", 1, QUICK.and(Flags::NOT_QUEUED), discard)
        .acl(AclCategories::TRANSACTION)
        .docs(
            Group::Transactions,
            "2.0.0",
            "O(N), N being the commands that are queued",
            "Ends a transaction without running what was queued.",
        ),
    command(
        "exec",
        1,
        SERVED
            .and(Flags::SKIP_COMMANDLOG)
            .and(Flags::NOT_QUEUED)
            .and(Flags::RUNS_QUEUE),
        exec,
    )
    .acl(AclCategories::TRANSACTION)
    .docs(
        Group::Transactions,
        "1.2.0",
        "Depends on the commands that are queued",
        "Runs what was queued since MULTI, and nobody else in between.",
    ),
    command(
        "multi",
        1,
        QUICK.and(Flags::NO_MULTI).and(Flags::NOT_QUEUED),
        multi,
    )
    .acl(AclCategories::TRANSACTION)
    .docs(
        Group::Transactions,
        "1.2.0",
        "O(1)",
        "Begins a transaction: commands are queued until EXEC.",
    ),
    command("unwatch", 1, QUICK, unwatch)
        .acl(AclCategories::TRANSACTION)
        .docs(
            Group::Transactions,
            "2.2.0",
            "O(N), N being the keys that are watched",
            "Forgets the keys that the connection watches.",
        ),
    command(
        "watch",
        -2,
        QUICK.and(Flags::NO_MULTI).and(Flags::NOT_QUEUED),
        watch,
    )
    .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO)])
    .acl(AclCategories::TRANSACTION)
    .docs(
        Group::Transactions,
        "2.2.0",
        "O(N), N being the keys",
        "Has the next EXEC do nothing if one of the keys is changed before.",
    )
    .syntax("key#0*"),
];

fn multi(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.client.open_transaction();
    ctx.out.ok();
    Ok(Next::Done)
}

fn discard(ctx: &mut Ctx<'_>) -> CmdResult {
    if !ctx.client.in_multi {
        return Err(CmdError::text("ERR DISCARD without MULTI"));
    }
    ctx.client.end_transaction(&mut ctx.db);
    ctx.out.ok();
    Ok(Next::Done)
}

fn exec(ctx: &mut Ctx<'_>) -> CmdResult {
    if !ctx.client.in_multi {
        return Err(CmdError::text("ERR EXEC without MULTI"));
    }
    if ctx.client.transaction_mut().is_refused() {
        ctx.client.end_transaction(&mut ctx.db);
        return Err(CmdError::text(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    Ok(Next::Exec)
}

fn watch(ctx: &mut Ctx<'_>) -> CmdResult {
    let keys = ctx.args.rest();
    let transaction = ctx.client.transaction_mut();
    // Once a key was touched, others cannot change the outcome.
    if !transaction.is_lost() {
        for key in keys.iter() {
            transaction.watch(&mut ctx.db, key);
        }
    }
    ctx.out.ok();
    Ok(Next::Done)
}

fn unwatch(ctx: &mut Ctx<'_>) -> CmdResult {
    // Within a transaction there is nothing watched any more.
    if let Some(transaction) = &mut ctx.client.transaction {
        transaction.unwatch(&mut ctx.db);
    }
    ctx.out.ok();
    Ok(Next::Done)
}

#[cfg(test)]
mod tests;
