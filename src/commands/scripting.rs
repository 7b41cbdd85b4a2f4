//! EVAL, EVALSHA, their read-only twins, and SCRIPT.
//!
//! The handlers of the first four only read their arguments: which script it is, how it runs and what it
//! locks is `exec`'s to find out ([`Next::Script`]). There is no debugger: SCRIPT DEBUG knows only NO.

use std::sync::Arc;

use crate::script::running::Kind;
use crate::script::{Script, cache};
use crate::spec::{AclCategories, CmdError, Flags, Group, KeyFlags, KeySpec, ScriptCode};
use crate::sys::lua::State;

use super::{CmdResult, Command, Ctx, Handler, Next, ScriptCall, command, container, help, is};

#[cfg(test)]
mod tests;

/// What those that run a script have in common.
const RUN: Flags = Flags::NOSCRIPT
    .and(Flags::STALE)
    .and(Flags::SKIP_MONITOR)
    .and(Flags::NO_MANDATORY_KEYS)
    .and(Flags::MOVABLEKEYS)
    .and(Flags::RUNS_SCRIPT);
/// Those that may write.
const RUN_RW: Flags = RUN.and(Flags::MAY_REPLICATE);
/// Those that may not.
const RUN_RO: Flags = RUN.and(Flags::READONLY);

const RW: KeySpec = KeySpec::keynum(
    2,
    1,
    1,
    KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE),
);
const RO: KeySpec = KeySpec::keynum(2, 1, 1, KeyFlags::RO.and(KeyFlags::ACCESS));

/// One of the rows that run a script.
const fn run(
    name: &'static str,
    code: ScriptCode,
    flags: Flags,
    run: Handler,
    keys: &'static [KeySpec],
    since: &'static str,
    summary: &'static str,
) -> Command {
    command(name, -3, flags, run)
        .script(code)
        .keys(keys)
        .acl(AclCategories::SCRIPTING)
        .docs(Group::Scripting, since, "Depends on the script", summary)
}

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    run(
        "eval",
        ScriptCode::Source,
        RUN_RW,
        eval,
        &[RW.notes(
            "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE",
        )],
        "2.6.0",
        "Runs a script in Lua.",
    )
    .syntax(EVAL_SYNTAX),
    run(
        "evalsha",
        ScriptCode::Sha,
        RUN_RW,
        evalsha,
        &[RW],
        "2.6.0",
        "Runs a script that the server has already, named by its SHA1.",
    )
    .syntax(EVALSHA_SYNTAX),
    run(
        "evalsha_ro",
        ScriptCode::Sha,
        RUN_RO,
        evalsha_ro,
        &[RO],
        "7.0.0",
        "Runs a script, named by its SHA1, that only reads.",
    )
    .syntax(EVALSHA_SYNTAX),
    run(
        "eval_ro",
        ScriptCode::Source,
        RUN_RO,
        eval_ro,
        &[RO.notes(
            "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS",
        )],
        "7.0.0",
        "Runs a script in Lua that only reads.",
    )
    .syntax(EVAL_SYNTAX),
    command("script", -2, Flags::NONE, container)
        .docs(
            Group::Scripting,
            "2.6.0",
            "Depends on the subcommand",
            "Groups the commands about the scripts that the server has.",
        )
        .subcommands(SCRIPT),
];

const EVAL_SYNTAX: &str = "script numkeys:integer key#0?* arg?*";
const EVALSHA_SYNTAX: &str = "sha1 numkeys:integer key#0?* arg?*";

/// One of SCRIPT's rows.
const fn script(
    name: &'static str,
    arity: i32,
    flags: Flags,
    run: Handler,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Command {
    command(name, arity, flags, run)
        .acl(AclCategories::SCRIPTING)
        .docs(Group::Scripting, since, complexity, summary)
}

/// What SCRIPT's subcommands have in common.
const CACHE: Flags = Flags::NOSCRIPT.and(Flags::STALE);
const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// SCRIPT's subcommands.
const SCRIPT: &[Command] = &[
    script(
        "debug",
        -3,
        Flags::NOSCRIPT,
        script_debug,
        "3.2.0",
        "O(1)",
        "Ends the debugging of scripts, which Kivi cannot begin.",
    )
    .syntax("mode(YES|SYNC|NO) engine?@9.1.0"),
    script(
        "exists",
        -3,
        CACHE,
        script_exists,
        "2.6.0",
        "O(N), N being the scripts asked for",
        "Tells which scripts the server has.",
    )
    .tips(&[
        "request_policy:all_shards",
        "response_policy:agg_logical_and",
    ])
    .syntax("sha1*"),
    script(
        "flush",
        -2,
        CACHE,
        script_flush,
        "2.6.0",
        "O(N), N being the scripts that the server has",
        "Forgets all scripts.",
    )
    .tips(EVERYWHERE)
    .syntax("flush-type(ASYNC|SYNC)?@6.2.0"),
    script(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        script_help,
        "5.0.0",
        "O(1)",
        "Lists the subcommands of SCRIPT.",
    ),
    script(
        "kill",
        2,
        Flags::NOSCRIPT.and(Flags::ALLOW_BUSY),
        script_kill,
        "2.6.0",
        "O(1)",
        "Ends the script that runs now, if it has not written yet.",
    )
    .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    script(
        "load",
        3,
        CACHE,
        script_load,
        "2.6.0",
        "O(N), N being the length of the script",
        "Has the server keep a script, for EVALSHA; tells its SHA1.",
    )
    .tips(EVERYWHERE)
    .syntax("script"),
    script(
        "show",
        3,
        CACHE,
        script_show,
        "8.0.0",
        "O(1)",
        "Tells the source of a script that the server has.",
    )
    .syntax("sha1"),
];

fn eval(ctx: &mut Ctx<'_>) -> CmdResult {
    call(ctx, ScriptCode::Source, false)
}

fn eval_ro(ctx: &mut Ctx<'_>) -> CmdResult {
    call(ctx, ScriptCode::Source, true)
}

fn evalsha(ctx: &mut Ctx<'_>) -> CmdResult {
    call(ctx, ScriptCode::Sha, false)
}

fn evalsha_ro(ctx: &mut Ctx<'_>) -> CmdResult {
    call(ctx, ScriptCode::Sha, true)
}

/// What EVAL answers to a name that is no script's.
pub const NO_SCRIPT: CmdError = CmdError::text("NOSCRIPT No matching script.");

/// `EVAL script numkeys [key ...] [arg ...]`
fn call(ctx: &mut Ctx<'_>, code: ScriptCode, is_read_only: bool) -> CmdResult {
    let script = ctx.args.bytes()?;
    if code == ScriptCode::Sha && script.len() != 40 {
        return Err(NO_SCRIPT);
    }
    let numkeys = ctx.args.int()?;
    if numkeys > ctx.args.remaining() as i64 {
        return Err(CmdError::text(
            "ERR Number of keys can't be greater than number of args",
        ));
    }
    let Ok(numkeys) = usize::try_from(numkeys) else {
        return Err(CmdError::text("ERR Number of keys can't be negative"));
    };
    Ok(Next::Script(ScriptCall {
        code,
        numkeys,
        is_read_only,
    }))
}

/// `SCRIPT LOAD script`
fn script_load(ctx: &mut Ctx<'_>) -> CmdResult {
    let script = Script::new(ctx.args.bytes()?)?;
    check(ctx, &script)?;
    let sha = script.sha;
    ctx.server.scripts.cache.load(Arc::new(script));
    ctx.out.bulk(&sha);
    Ok(Next::Done)
}

/// Whether a script can be compiled: in an interpreter of its own, since nothing is run.
fn check(ctx: &Ctx<'_>, script: &Script) -> Result<(), CmdError> {
    let mut state = State::new(ctx.config.lua_memory_limit_bytes, u32::MAX);
    let mut stack = state.stack();
    if stack.load(script.code(), c"@user_script").is_ok() {
        return Ok(());
    }
    let why = stack.string(-1).unwrap_or(b"unknown error");
    let text: &[u8] = b"ERR Error compiling script (new function): ";
    Err(CmdError::owned([text, why].concat()))
}

/// `SCRIPT EXISTS sha1 [sha1 ...]`
fn script_exists(ctx: &mut Ctx<'_>) -> CmdResult {
    let names = ctx.args.rest();
    ctx.out.array(names.len());
    for name in names.iter() {
        ctx.out.integer(named(ctx, name).is_some() as i64);
    }
    Ok(Next::Done)
}

/// `SCRIPT SHOW sha1`
fn script_show(ctx: &mut Ctx<'_>) -> CmdResult {
    let name = ctx.args.bytes()?;
    let script = named(ctx, name).ok_or(NO_SCRIPT)?;
    ctx.out.bulk(&script.source);
    Ok(Next::Done)
}

/// The script with this SHA1 in hexadecimal digits.
fn named(ctx: &Ctx<'_>, name: &[u8]) -> Option<Arc<Script>> {
    ctx.server.scripts.cache.by_sha(&cache::parse_sha(name)?)
}

/// `SCRIPT FLUSH [ASYNC | SYNC]`
fn script_flush(ctx: &mut Ctx<'_>) -> CmdResult {
    let lazy = match (ctx.args.option(), ctx.args.is_empty()) {
        (None, _) => ctx.config.lazyfree_lazy_user_flush,
        (Some(mode), true) if is(mode, "SYNC") => false,
        (Some(mode), true) if is(mode, "ASYNC") => true,
        _ => {
            return Err(CmdError::text(
                "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
            ));
        }
    };
    let flushed = ctx.server.scripts.cache.flush();
    if lazy && flushed.scripts() > 0 {
        let lazyfree = &ctx.db.keyspace().lazyfree;
        lazyfree.free_other(flushed.scripts() as u64, Box::new(flushed));
    }
    ctx.out.ok();
    Ok(Next::Done)
}

/// `SCRIPT KILL`
fn script_kill(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.server.scripts.running.kill(Kind::Eval)?;
    ctx.out.ok();
    Ok(Next::Done)
}

/// `SCRIPT DEBUG YES | SYNC | NO [engine]`
fn script_debug(ctx: &mut Ctx<'_>) -> CmdResult {
    if ctx.args.remaining() > 2 {
        return Err(CmdError::text(
            "ERR unknown subcommand or wrong number of arguments for 'DEBUG'. Try SCRIPT HELP.",
        ));
    }
    // Valkey could not tell the end of a session from the replies before it.
    if !ctx.out.is_empty() {
        return Err(CmdError::text(
            "ERR SCRIPT DEBUG must be called outside a pipeline",
        ));
    }
    let mode = ctx.args.bytes()?;
    if let Some(engine) = ctx.args.option()
        && !is(engine, "lua")
    {
        let engine = super::c_text(engine);
        let before: &[u8] = b"ERR No scripting engine found with name '";
        return Err(CmdError::owned(
            [before, engine, b"' to enable debug"].concat(),
        ));
    }
    if is(mode, "NO") {
        ctx.out.ok();
        return Ok(Next::Done);
    }
    Err(match is(mode, "YES") || is(mode, "SYNC") {
        true => CmdError::text("ERR SCRIPT DEBUG YES and SYNC are not supported"),
        false => CmdError::text("ERR Use SCRIPT DEBUG YES/SYNC/NO"),
    })
}

fn script_help(ctx: &mut Ctx<'_>) -> CmdResult {
    help(
        ctx,
        "SCRIPT",
        &[
            "DEBUG NO [<engine>]",
            "    End the debugging of scripts, which can't be begun.",
            "EXISTS <sha1> [<sha1> ...]",
            "    Tell which scripts the server has.",
            "FLUSH [ASYNC|SYNC]",
            "    Forget all scripts; free them in the background, or before the reply.",
            "    Without a mode, lazyfree-lazy-user-flush says which.",
            "KILL",
            "    End the script that runs now, if it has not written yet.",
            "LOAD <script>",
            "    Keep a script without running it; tell its SHA1.",
            "SHOW <sha1>",
            "    Tell the source of a script.",
        ],
    )
}
