//! FUNCTION and FCALL.
//!
//! What changes the libraries takes the whole keyspace, as FLUSHALL does, so that it has one order with
//! its record in the log and with snapshots. FCALL's handlers only read their arguments: how a function
//! runs is `exec`'s to find out ([`Next::Script`]).

use crate::config::RdbVersionCheck;
use crate::persist::rdb::decode::{self, LibrariesError};
use crate::persist::rdb::encode;
use crate::script::functions::{Library, LoadOptions, NO_FUNCTION, RestorePolicy};
use crate::script::running::Kind;
use crate::server::functions;
use crate::spec::{AclCategories, CmdError, Flags, Group, KeyFlags, KeySpec, ScriptCode};
use crate::util::glob::glob_match;
use crate::util::num;

use super::{
    CmdResult, Command, Ctx, Handler, Next, ScriptCall, c_text, command, container, help, is,
};

#[cfg(test)]
mod tests;

/// What FCALL and its twin have in common.
const RUN: Flags = Flags::NOSCRIPT
    .and(Flags::STALE)
    .and(Flags::SKIP_MONITOR)
    .and(Flags::NO_MANDATORY_KEYS)
    .and(Flags::MOVABLEKEYS)
    .and(Flags::RUNS_SCRIPT);

const RW: KeySpec = KeySpec::keynum(
    2,
    1,
    1,
    KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE),
)
.notes("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE");
const RO: KeySpec = KeySpec::keynum(2, 1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))
    .notes("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS");

const FCALL_SYNTAX: &str = "function numkeys:integer key#0?* arg?*";

/// One of this family's rows.
const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    run: Handler,
    complexity: &'static str,
    summary: &'static str,
) -> Command {
    command(name, arity, flags, run)
        .acl(AclCategories::SCRIPTING)
        .docs(Group::Scripting, "7.0.0", complexity, summary)
}

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    row(
        "fcall",
        -3,
        RUN,
        fcall,
        "Depends on the function",
        "Calls a function of a library.",
    )
    .keys(&[RW])
    .script(ScriptCode::Function)
    .syntax(FCALL_SYNTAX),
    row(
        "fcall_ro",
        -3,
        RUN.and(Flags::READONLY),
        fcall_ro,
        "Depends on the function",
        "Calls a function of a library that only reads.",
    )
    .keys(&[RO])
    .script(ScriptCode::Function)
    .syntax(FCALL_SYNTAX),
    command("function", -2, Flags::NONE, container)
        .docs(
            Group::Scripting,
            "7.0.0",
            "Depends on the subcommand",
            "Groups the commands about libraries of functions.",
        )
        .subcommands(FUNCTION),
];

/// What changes the libraries.
const CHANGE: Flags = Flags::NOSCRIPT.and(Flags::WRITE).and(Flags::EXCLUSIVE);
const ALL_SHARDS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

/// FUNCTION's subcommands.
const FUNCTION: &[Command] = &[
    row(
        "delete",
        3,
        CHANGE,
        function_delete,
        "O(1)",
        "Deletes a library with its functions.",
    )
    .tips(ALL_SHARDS)
    .syntax("library-name"),
    row(
        "dump",
        2,
        Flags::NOSCRIPT,
        function_dump,
        "O(N), N being the length of all libraries",
        "Answers all libraries in the form that FUNCTION RESTORE takes.",
    ),
    row(
        "flush",
        -2,
        CHANGE,
        function_flush,
        "O(N), N being the functions that there are",
        "Deletes all libraries.",
    )
    .tips(ALL_SHARDS)
    .syntax("flush-type(ASYNC|SYNC)?"),
    row(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        function_help,
        "O(1)",
        "Lists the subcommands of FUNCTION.",
    ),
    row(
        "kill",
        2,
        Flags::NOSCRIPT.and(Flags::ALLOW_BUSY),
        function_kill,
        "O(1)",
        "Ends the function that runs now, if it has not written yet.",
    )
    .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]),
    row(
        "list",
        -2,
        Flags::NOSCRIPT,
        function_list,
        "O(N), N being the functions that there are",
        "Tells of the libraries and their functions.",
    )
    .tips(&["nondeterministic_output_order"])
    .syntax("LIBRARYNAME=library-name-pattern? WITHCODE?"),
    row(
        "load",
        -3,
        CHANGE.and(Flags::DENYOOM),
        function_load,
        "O(N), N being the length of the library, and what its code does",
        "Makes a library.",
    )
    .tips(ALL_SHARDS)
    .syntax("REPLACE? function-code"),
    row(
        "restore",
        -3,
        CHANGE.and(Flags::DENYOOM),
        function_restore,
        "O(N), N being the length of the libraries, and what their code does",
        "Makes the libraries that FUNCTION DUMP has answered.",
    )
    .tips(ALL_SHARDS)
    .syntax("serialized-value policy(FLUSH|APPEND|REPLACE)?"),
    row(
        "stats",
        2,
        Flags::NOSCRIPT.and(Flags::ALLOW_BUSY),
        function_stats,
        "O(1)",
        "Tells which function runs now, and how many there are.",
    )
    .tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ]),
];

fn fcall(ctx: &mut Ctx<'_>) -> CmdResult {
    call(ctx, false)
}

fn fcall_ro(ctx: &mut Ctx<'_>) -> CmdResult {
    call(ctx, true)
}

/// `FCALL function numkeys [key ...] [arg ...]`
fn call(ctx: &mut Ctx<'_>, is_read_only: bool) -> CmdResult {
    let (name, numkeys) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let wrong = match num::parse_i64(numkeys) {
        None => "ERR Bad number of keys provided",
        Some(numkeys) if numkeys > ctx.args.remaining() as i64 => {
            "ERR Number of keys can't be greater than number of args"
        }
        Some(numkeys) => match usize::try_from(numkeys) {
            Ok(numkeys) => {
                return Ok(Next::Script(ScriptCall {
                    code: ScriptCode::Function,
                    numkeys,
                    is_read_only,
                }));
            }
            Err(_) => "ERR Number of keys can't be negative",
        },
    };
    // That there is no such function is told first.
    let libraries = ctx.server.scripts.libraries.current();
    Err(match libraries.function(name) {
        Some(_) => CmdError::text(wrong),
        None => NO_FUNCTION,
    })
}

/// How libraries are loaded for whoever asks.
fn load_options(ctx: &Ctx<'_>) -> LoadOptions {
    match ctx.db.is_replaying() {
        true => functions::of_file(ctx.config),
        false => functions::of_client(ctx.config),
    }
}

/// An error that would be passed over while a log is repeated, and is not what was answered when it was
/// written.
fn told(ctx: &Ctx<'_>, error: CmdError) -> CmdError {
    if ctx.db.is_replaying() {
        tracing::warn!("Failed creating the library: {error}");
    }
    error
}

/// `FUNCTION LOAD [REPLACE] function-code`
fn function_load(ctx: &mut Ctx<'_>) -> CmdResult {
    let mut replace = false;
    while ctx.args.remaining() > 1 {
        let option = ctx.args.bytes()?;
        if !is(option, "REPLACE") {
            let text = [b"ERR Unknown option given: ", c_text(option)].concat();
            return Err(CmdError::owned(text));
        }
        replace = true;
    }
    let source = ctx.args.bytes()?;
    let libraries = &ctx.server.scripts.libraries;
    let loaded = libraries.load(source, replace, &load_options(ctx));
    let library = loaded.map_err(|error| told(ctx, error))?;
    ctx.db.effects.changes += 1;
    ctx.out.bulk(library.name.as_bytes());
    Ok(Next::Done)
}

/// `FUNCTION DELETE library-name`
fn function_delete(ctx: &mut Ctx<'_>) -> CmdResult {
    let name = ctx.args.bytes()?;
    if !ctx.server.scripts.libraries.delete(name) {
        return Err(CmdError::text("ERR Library not found"));
    }
    ctx.db.effects.changes += 1;
    ctx.out.ok();
    Ok(Next::Done)
}

/// `FUNCTION FLUSH [ASYNC | SYNC]`
fn function_flush(ctx: &mut Ctx<'_>) -> CmdResult {
    if ctx.args.remaining() > 1 {
        return Err(wrong_arguments(ctx));
    }
    let lazy = match ctx.args.option() {
        None => ctx.config.lazyfree_lazy_user_flush,
        Some(mode) if is(mode, "SYNC") => false,
        Some(mode) if is(mode, "ASYNC") => true,
        Some(_) => {
            return Err(CmdError::text(
                "ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
            ));
        }
    };
    let former = ctx.server.scripts.libraries.flush();
    let objects = former.0.functions() as u64;
    if lazy && objects > 0 {
        let lazyfree = &ctx.db.keyspace().lazyfree;
        lazyfree.free_other(objects, Box::new(former));
    }
    // Also of what was empty.
    ctx.db.effects.changes += 1;
    ctx.out.ok();
    Ok(Next::Done)
}

/// What Valkey answers to too many arguments where it counts them itself.
fn wrong_arguments(ctx: &Ctx<'_>) -> CmdError {
    let argv = ctx.args.argv();
    let name = c_text(argv.get(1).unwrap_or_default());
    let before: &[u8] = b"ERR unknown subcommand or wrong number of arguments for '";
    let called = argv[0].to_ascii_uppercase();
    CmdError::owned([before, name, b"'. Try ", &called, b" HELP."].concat())
}

/// `FUNCTION DUMP`
fn function_dump(ctx: &mut Ctx<'_>) -> CmdResult {
    let sources = ctx.server.scripts.libraries.sources();
    let sources = sources.iter().map(|source| &**source);
    let payload = encode::dump_libraries(sources, ctx.config.rdbcompression);
    ctx.out.bulk(&payload);
    Ok(Next::Done)
}

/// `FUNCTION RESTORE serialized-value [FLUSH | APPEND | REPLACE]`
fn function_restore(ctx: &mut Ctx<'_>) -> CmdResult {
    let payload = ctx.args.bytes()?;
    if ctx.args.remaining() > 1 {
        return Err(wrong_arguments(ctx));
    }
    let policy = match ctx.args.option() {
        None => RestorePolicy::default(),
        Some(policy) if is(policy, "APPEND") => RestorePolicy::Append,
        Some(policy) if is(policy, "REPLACE") => RestorePolicy::Replace,
        Some(policy) if is(policy, "FLUSH") => RestorePolicy::Flush,
        Some(_) => {
            return Err(CmdError::text(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            ));
        }
    };
    let relaxed = ctx.config.rdb_version_check == RdbVersionCheck::Relaxed;
    let sources = decode::restore_libraries(payload, relaxed).map_err(|error| {
        CmdError::text(match error {
            LibrariesError::Footer => "ERR DUMP payload version or checksum are wrong",
            LibrariesError::NoLibrary => "ERR given type is not a function",
            LibrariesError::PreRelease => "ERR Pre-GA function format not supported",
            LibrariesError::Bad => "ERR Failed loading library payload",
        })
    })?;
    let libraries = &ctx.server.scripts.libraries;
    let restored = libraries.restore(&sources, policy, &load_options(ctx));
    restored.map_err(|error| told(ctx, error))?;
    ctx.db.effects.changes += 1;
    ctx.out.ok();
    Ok(Next::Done)
}

/// `FUNCTION KILL`
fn function_kill(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.server.scripts.running.kill(Kind::Function)?;
    ctx.out.ok();
    Ok(Next::Done)
}

/// `FUNCTION STATS`
fn function_stats(ctx: &mut Ctx<'_>) -> CmdResult {
    let scripts = &ctx.server.scripts;
    let running = scripts.running.busy_function()?;
    let out = &mut *ctx.out;
    out.map(2);
    out.bulk(b"running_script");
    match running {
        None => out.null(),
        Some(running) => {
            out.map(3);
            out.bulk(b"name");
            out.bulk(&running.name);
            out.bulk(b"command");
            out.array(running.command.len());
            running.command.iter().for_each(|arg| out.bulk(arg));
            out.bulk(b"duration_ms");
            let ms = running.elapsed().as_millis();
            out.integer(i64::try_from(ms).unwrap_or(i64::MAX));
        }
    }
    let libraries = scripts.libraries.current();
    out.bulk(b"engines");
    out.map(1);
    out.bulk(b"LUA");
    out.map(2);
    out.bulk(b"libraries_count");
    out.integer(libraries.libraries().len() as i64);
    out.bulk(b"functions_count");
    out.integer(libraries.functions() as i64);
    Ok(Next::Done)
}

/// `FUNCTION LIST [LIBRARYNAME library-name-pattern] [WITHCODE]`
fn function_list(ctx: &mut Ctx<'_>) -> CmdResult {
    let (mut pattern, mut with_code) = (None, false);
    while let Some(word) = ctx.args.option() {
        if !with_code && is(word, "WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && is(word, "LIBRARYNAME") {
            let missing = CmdError::text("ERR library name argument was not given");
            pattern = Some(ctx.args.option().ok_or(missing)?);
        } else {
            let text = [b"ERR Unknown argument ", c_text(word)].concat();
            return Err(CmdError::owned(text));
        }
    }
    let libraries = ctx.server.scripts.libraries.current();
    let mut shown = 0;
    let length = ctx.out.deferred_array();
    for library in libraries.libraries() {
        let name = library.name.as_bytes();
        if pattern.is_none_or(|pattern| glob_match(pattern, name, true)) {
            shown += 1;
            list_one(ctx, library, with_code);
        }
    }
    ctx.out.set_deferred(length, shown);
    Ok(Next::Done)
}

fn list_one(ctx: &mut Ctx<'_>, library: &Library, with_code: bool) {
    let out = &mut *ctx.out;
    out.map(3 + usize::from(with_code));
    out.bulk(b"library_name");
    out.bulk(library.name.as_bytes());
    out.bulk(b"engine");
    out.bulk(b"LUA");
    out.bulk(b"functions");
    out.array(library.functions.len());
    for function in &library.functions {
        out.map(3);
        out.bulk(b"name");
        out.bulk(function.name.as_bytes());
        out.bulk(b"description");
        match &function.description {
            Some(text) => out.bulk(text),
            None => out.null(),
        }
        out.bulk(b"flags");
        out.set(function.flags.names().count());
        function.flags.names().for_each(|flag| out.simple(flag));
    }
    if with_code {
        out.bulk(b"library_code");
        out.bulk(&library.source);
    }
}

fn function_help(ctx: &mut Ctx<'_>) -> CmdResult {
    help(
        ctx,
        "FUNCTION",
        &[
            "DELETE <library>",
            "    Delete a library with its functions.",
            "DUMP",
            "    Answer all libraries in the form that RESTORE takes.",
            "FLUSH [ASYNC|SYNC]",
            "    Delete all libraries; free them in the background, or before the reply.",
            "    Without a mode, lazyfree-lazy-user-flush says which.",
            "KILL",
            "    End the function that runs now, if it has not written yet.",
            "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
            "    Tell of the libraries, or of those with a name that matches: their functions, and",
            "    their source if that is wanted.",
            "LOAD [REPLACE] <source>",
            "    Make a library, in place of one of the same name if that is asked for.",
            "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
            "    Make the libraries that DUMP has answered. Those that there are stay, and one of the",
            "    same name is an error (APPEND); or go (FLUSH); or stay unless they come anew",
            "    (REPLACE).",
            "STATS",
            "    Tell which function runs now, and how many libraries and functions there are.",
        ],
    )
}
