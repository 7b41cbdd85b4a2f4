//! SLOWLOG and COMMANDLOG: what was logged of commands that took long, came as large requests, or had large replies. What
//! is logged is told by `exec::unusual` and kept by `stats::commandlog`.

use crate::spec::{CmdError, Flags, Group};
use crate::stats::commandlog::Kind;
use crate::util::num;

use super::{CmdResult, Command, Ctx, Next, c_text, command, container, help, is};

/// Entries that SLOWLOG GET tells unless it is asked for another number.
const COUNT_DEFAULT: usize = 10;

const ADMIN: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);
const HELP: Flags = Flags::LOADING.and(Flags::STALE);
const ENTRIES: &[&str] = &["request_policy:all_nodes", "nondeterministic_output"];
const SUM: &[&str] = &[
    "request_policy:all_nodes",
    "response_policy:agg_sum",
    "nondeterministic_output",
];
const ALL_SUCCEED: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

const WRONG_COUNT: CmdError = CmdError::text("ERR count should be greater than or equal to -1");
const WRONG_TYPE: CmdError =
    CmdError::text("ERR type should be one of the following: slow, large-request, large-reply");

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("commandlog", -2, Flags::NONE, container)
        .docs(
            Group::Server,
            "8.1.0",
            "Depends on the subcommand",
            "Groups the commands that look at the log of unusual commands.",
        )
        .subcommands(COMMANDLOG),
    command("slowlog", -2, Flags::NONE, container)
        .docs(
            Group::Server,
            "2.2.12",
            "Depends on the subcommand",
            "Groups the commands that look at the log of slow commands.",
        )
        .subcommands(SLOWLOG),
];

const COMMANDLOG: &[Command] = &[
    command("get", 4, ADMIN, commandlog_get)
        .tips(ENTRIES)
        .docs(
            Group::Server,
            "8.1.0",
            "O(N), N being the entries that are told",
            "Tells the last entries of one kind.",
        )
        .syntax("count:integer type(SLOW|LARGE-REQUEST|LARGE-REPLY)"),
    command("help", 2, HELP, commandlog_help).docs(
        Group::Server,
        "8.1.0",
        "O(1)",
        "Lists the subcommands of COMMANDLOG.",
    ),
    command("len", 3, ADMIN, commandlog_len)
        .tips(SUM)
        .docs(
            Group::Server,
            "8.1.0",
            "O(1)",
            "Tells how many entries of one kind there are.",
        )
        .syntax("type(SLOW|LARGE-REQUEST|LARGE-REPLY)"),
    command("reset", 3, ADMIN, commandlog_reset)
        .tips(ALL_SUCCEED)
        .docs(
            Group::Server,
            "8.1.0",
            "O(N), N being the entries",
            "Forgets all entries of one kind.",
        )
        .syntax("type(SLOW|LARGE-REQUEST|LARGE-REPLY)"),
];

const SLOWLOG: &[Command] = &[
    command("get", -2, ADMIN, slowlog_get)
        .tips(ENTRIES)
        .docs(
            Group::Server,
            "2.2.12",
            "O(N), N being the entries that are told",
            "Tells the last commands that took long.",
        )
        .syntax("count:integer?"),
    command("help", 2, HELP, slowlog_help).docs(
        Group::Server,
        "6.2.0",
        "O(1)",
        "Lists the subcommands of SLOWLOG.",
    ),
    command("len", 2, ADMIN, slowlog_len).tips(SUM).docs(
        Group::Server,
        "2.2.12",
        "O(1)",
        "Tells how many entries the log of slow commands has.",
    ),
    command("reset", 2, ADMIN, slowlog_reset)
        .tips(ALL_SUCCEED)
        .docs(
            Group::Server,
            "2.2.12",
            "O(N), N being the entries",
            "Forgets all slow commands.",
        ),
];

fn commandlog_get(ctx: &mut Ctx<'_>) -> CmdResult {
    let count = count(ctx)?;
    let kind = kind(ctx)?;
    tell(ctx, kind, count)
}

fn slowlog_get(ctx: &mut Ctx<'_>) -> CmdResult {
    let count = match ctx.args.remaining() {
        0 => COUNT_DEFAULT,
        1 => count(ctx)?,
        _ => {
            let argv = ctx.args.argv();
            let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
            text.extend_from_slice(c_text(&argv[1]));
            text.extend_from_slice(b"'. Try SLOWLOG HELP.");
            return Err(CmdError::owned(text));
        }
    };
    tell(ctx, Kind::Slow, count)
}

/// How many entries are asked for; -1 is all of them.
fn count(ctx: &mut Ctx<'_>) -> Result<usize, CmdError> {
    match num::parse_i64(ctx.args.bytes()?) {
        Some(-1) => Ok(usize::MAX),
        Some(count) => usize::try_from(count).map_err(|_| WRONG_COUNT),
        None => Err(WRONG_COUNT),
    }
}

fn kind(ctx: &mut Ctx<'_>) -> Result<Kind, CmdError> {
    let arg = ctx.args.bytes()?;
    let mut kinds = Kind::ALL.into_iter();
    kinds.find(|kind| is(arg, kind.name())).ok_or(WRONG_TYPE)
}

fn tell(ctx: &mut Ctx<'_>, kind: Kind, count: usize) -> CmdResult {
    let entries = ctx.server.stats.commandlog.newest(kind, count);
    let out = &mut *ctx.out;
    out.array(entries.len());
    for entry in &entries {
        out.array(6);
        for number in [entry.id, entry.at_secs, entry.value] {
            out.integer(i64::try_from(number).unwrap_or(i64::MAX));
        }
        out.array(entry.args.len());
        entry.args.iter().for_each(|arg| out.bulk(arg));
        out.bulk(entry.addr.as_bytes());
        out.bulk(&entry.name);
    }
    Ok(Next::Done)
}

fn commandlog_len(ctx: &mut Ctx<'_>) -> CmdResult {
    let kind = kind(ctx)?;
    len(ctx, kind)
}

fn slowlog_len(ctx: &mut Ctx<'_>) -> CmdResult {
    len(ctx, Kind::Slow)
}

fn len(ctx: &mut Ctx<'_>, kind: Kind) -> CmdResult {
    let len = ctx.server.stats.commandlog.len(kind);
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}

fn commandlog_reset(ctx: &mut Ctx<'_>) -> CmdResult {
    let kind = kind(ctx)?;
    reset(ctx, kind)
}

fn slowlog_reset(ctx: &mut Ctx<'_>) -> CmdResult {
    reset(ctx, Kind::Slow)
}

fn reset(ctx: &mut Ctx<'_>, kind: Kind) -> CmdResult {
    ctx.server.stats.commandlog.reset(kind);
    ctx.out.ok();
    Ok(Next::Done)
}

fn slowlog_help(ctx: &mut Ctx<'_>) -> CmdResult {
    let lines = [
        "GET [<count>]",
        "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
        "    Entries are made of:",
        "    id, timestamp, time in microseconds, arguments array, client IP and port,",
        "    client name",
        "LEN",
        "    Return the length of the slowlog.",
        "RESET",
        "    Reset the slowlog.",
    ];
    help(ctx, "SLOWLOG", &lines)
}

fn commandlog_help(ctx: &mut Ctx<'_>) -> CmdResult {
    let lines = [
        "GET <count> <type>",
        "    Return top <count> entries of the specified <type> from the commandlog (-1 mean all).",
        "    Entries are made of:",
        "    id, timestamp,",
        "        time in microseconds for type of slow,",
        "        or size in bytes for type of large-request,",
        "        or size in bytes for type of large-reply",
        "    arguments array, client IP and port,",
        "    client name",
        "LEN <type>",
        "    Return the length of the specified type of commandlog.",
        "RESET <type>",
        "    Reset the specified type of commandlog.",
    ];
    help(ctx, "COMMANDLOG", &lines)
}

#[cfg(test)]
mod tests;
