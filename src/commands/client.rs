//! CLIENT: what a connection says of itself, and what can be asked about all of them.
//!
//! The line that describes a client is `client/line.rs`'s, the filters of LIST and KILL are
//! `client/filter.rs`'s.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::client::pause::{PauseBy, PauseMode};
use crate::client::{Client, ReplyMode, Shared, Signal};
use crate::db::Outcome;
use crate::resp::parse::Argv;
use crate::server::Server;
use crate::spec::{AclCategories, CmdError, Flags, Group};
use crate::util::num;

use super::{CmdResult, Command, CommandTable, Ctx, Next, c_text, command, container, help};

use filter::Filter;

mod filter;
mod line;
mod tracking;

#[cfg(test)]
mod import_tests;
#[cfg(test)]
mod tests;

/// Served while the dataset is loaded and by a stale replica; not from scripts.
const SERVED: Flags = Flags::LOADING.and(Flags::NOSCRIPT).and(Flags::STALE);
/// The same, also while a script runs for too long.
const OWN: Flags = SERVED.and(Flags::ALLOW_BUSY);
/// Concerns other clients.
const ADMIN: Flags = SERVED.and(Flags::ADMIN);

/// What proxies do with a setting of the connection.
const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// One of this family's rows.
const fn client_command(
    name: &'static str,
    arity: i32,
    flags: Flags,
    run: super::Handler,
    since: &'static str,
    summary: &'static str,
) -> Command {
    command(name, arity, flags.and(Flags::KEEPS_CACHING), run)
        .acl(AclCategories::CONNECTION)
        .docs(Group::Connection, since, "O(1)", summary)
}

/// The rows of this family.
pub const COMMANDS: &[Command] = &[command("client", -2, Flags::NONE, container)
    .docs(
        Group::Connection,
        "2.4.0",
        "Depends on the subcommand.",
        "What has to do with client connections.",
    )
    .subcommands(&[
        client_command(
            "caching",
            3,
            OWN,
            tracking::caching,
            "6.0.0",
            "Says whether the keys of the next command are tracked.",
        )
        .syntax("mode(YES|NO)"),
        client_command(
            "capa",
            -3,
            OWN,
            client_capa,
            "8.0.0",
            "Tells what the connection can do.",
        )
        .syntax("capability*"),
        client_command(
            "getname",
            2,
            OWN,
            client_getname,
            "2.6.9",
            "Tells the connection's name.",
        ),
        client_command(
            "getredir",
            2,
            OWN,
            tracking::getredir,
            "6.0.0",
            "Tells which client is told of tracked keys instead.",
        ),
        client_command(
            "help",
            2,
            Flags::LOADING.and(Flags::STALE),
            client_help,
            "5.0.0",
            "Lists the subcommands.",
        ),
        client_command(
            "id",
            2,
            OWN,
            client_id,
            "5.0.0",
            "Tells the connection's number, which no other one ever has.",
        ),
        client_command(
            "import-source",
            3,
            SERVED,
            client_import_source,
            "8.1.0",
            "Lets the connection see keys that have expired while data is imported.",
        )
        .syntax("enabled(ON|OFF)"),
        client_command(
            "info",
            2,
            SERVED,
            client_info,
            "6.2.0",
            "Describes the connection.",
        )
        .tips(&["nondeterministic_output"]),
        client_command(
            "kill",
            -3,
            ADMIN,
            client_kill,
            "2.4.0",
            "Closes connections, chosen by address or by filters.",
        )
        .complexity("O(N) in the number of connections")
        .syntax(KILL_SYNTAX),
        client_command(
            "list",
            -2,
            ADMIN,
            client_list,
            "2.4.0",
            "Describes all connections, or those that pass the filters.",
        )
        .complexity("O(N) in the number of connections")
        .tips(&["nondeterministic_output"])
        .syntax(LIST_SYNTAX),
        client_command(
            "no-evict",
            3,
            OWN.and(Flags::ADMIN),
            client_no_evict,
            "7.0.0",
            "Exempts the connection from being closed when clients take too much memory.",
        )
        .syntax("enabled(ON|OFF)"),
        client_command(
            "no-touch",
            3,
            OWN,
            client_no_touch,
            "7.2.0",
            "Lets the connection read keys without making them look recently used.",
        )
        .syntax("enabled(ON|OFF)"),
        client_command(
            "pause",
            -3,
            ADMIN.and(Flags::ALL_SHARDS),
            client_pause,
            "3.0.0",
            "Makes commands wait for some time: all of them, or those that write.",
        )
        .syntax("timeout:integer mode(WRITE|ALL)?@6.2.0"),
        client_command(
            "reply",
            3,
            OWN.and(Flags::NO_MULTI),
            client_reply,
            "3.2.0",
            "Chooses which replies the connection gets.",
        )
        .syntax("action(ON|OFF|SKIP)"),
        client_command(
            "setinfo",
            4,
            OWN,
            client_setinfo,
            "7.2.0",
            "Tells the name or the version of the client library.",
        )
        .tips(EVERYWHERE)
        .syntax("attr(LIB-NAME=libname|LIB-VER=libver)"),
        client_command(
            "setname",
            3,
            OWN,
            client_setname,
            "2.6.9",
            "Names the connection.",
        )
        .tips(EVERYWHERE)
        .syntax("connection-name"),
        client_command(
            "tracking",
            -3,
            SERVED,
            tracking::tracking,
            "6.0.0",
            "Has the connection told when keys are no longer what it has read.",
        )
        .complexity("O(N) in the number of prefixes")
        .syntax(tracking::SYNTAX),
        client_command(
            "trackinginfo",
            2,
            SERVED,
            tracking::trackinginfo,
            "6.2.0",
            "Describes what the connection tracks.",
        ),
        client_command(
            "unblock",
            -3,
            ADMIN,
            client_unblock,
            "5.0.0",
            "Ends the wait of another client in a blocking command.",
        )
        .complexity("O(log N) in the number of connections")
        .syntax("client-id:integer unblock-type(TIMEOUT|ERROR)?"),
        client_command(
            "unpause",
            2,
            ADMIN,
            client_unpause,
            "6.2.0",
            "Ends what CLIENT PAUSE began.",
        )
        .complexity("O(N) in the number of waiting connections"),
    ])];

/// Filters of CLIENT KILL; see [`filter`].
const KILL_SYNTAX: &str = "filter(old-format!2.8.12\"ip:port\"|\
     new-format(ID=client-id:integer?*@2.8.12|\
     TYPE=client-type(NORMAL|MASTER@3.2.0|PRIMARY@8.0.0|SLAVE|REPLICA@5.0.0|\
     PUBSUB)?@2.8.12|USER=username?|ADDR=addr?\"ip:port\"|LADDR=laddr?@6.2.0\"ip:port\"|\
     SKIPME=skipme(YES|NO)?|MAXAGE=maxage:integer?@8.0.0|NAME=name?@9.0.0|\
     IDLE=idle:integer?@9.0.0|FLAGS=flags?@9.0.0|LIB-NAME=lib-name?@9.0.0|\
     LIB-VER=lib-ver?@9.0.0|DB=db:integer?@9.0.0|CAPA=capa?@9.0.0|IP=ip?@9.0.0|\
     NOT-TYPE=not-client-type(NORMAL|MASTER|PRIMARY|SLAVE|REPLICA|PUBSUB)?@9.0.0|\
     NOT-ID=not-client-id:integer?*@9.0.0|NOT-USER=not-username?@9.0.0|\
     NOT-ADDR=not-addr?@9.0.0\"ip:port\"|NOT-LADDR=not-laddr?@9.0.0\"ip:port\"|\
     NOT-NAME=not-name?@9.0.0|NOT-FLAGS=not-flags?@9.0.0|NOT-LIB-NAME=not-lib-name?@9.0.0|\
     NOT-LIB-VER=not-lib-ver?@9.0.0|NOT-DB=not-db:integer?@9.0.0|NOT-CAPA=not-capa?@9.0.0|\
     NOT-IP=not-ip?@9.0.0)*)";

/// Filters of CLIENT LIST.
const LIST_SYNTAX: &str = "TYPE=client-type(NORMAL|MASTER|REPLICA|PUBSUB)?@5.0.0 \
     ID=client-id:integer?*@6.2.0 \
     USER=username?@8.1.0 ADDR=addr?@8.1.0\"ip:port\" LADDR=laddr?@8.1.0\"ip:port\" \
     SKIPME=skipme(YES|NO)?@8.1.0 MAXAGE=maxage:integer?@8.1.0 NAME=name?@9.0.0 \
     IDLE=idle:integer?@9.0.0 FLAGS=flags?@9.0.0 LIB-NAME=lib-name?@9.0.0 \
     LIB-VER=lib-ver?@9.0.0 DB=db:integer?@9.0.0 CAPA=capa?@9.0.0 IP=ip?@9.0.0 \
     NOT-TYPE=not-client-type(NORMAL|MASTER|REPLICA|PUBSUB)?@9.0.0 \
     NOT-ID=not-client-id:integer?*@9.0.0 NOT-USER=not-username?@9.0.0 \
     NOT-ADDR=not-addr?@9.0.0\"ip:port\" NOT-LADDR=not-laddr?@9.0.0\"ip:port\" \
     NOT-NAME=not-name?@9.0.0 NOT-FLAGS=not-flags?@9.0.0 NOT-LIB-NAME=not-lib-name?@9.0.0 \
     NOT-LIB-VER=not-lib-ver?@9.0.0 NOT-DB=not-db:integer?@9.0.0 NOT-CAPA=not-capa?@9.0.0 \
     NOT-IP=not-ip?@9.0.0";

fn client_id(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.out.integer(ctx.client.shared.id as i64);
    Ok(Next::Done)
}

fn client_getname(ctx: &mut Ctx<'_>) -> CmdResult {
    let names = ctx.client.shared.names.lock();
    match names.name.is_empty() {
        true => ctx.out.null(),
        false => ctx.out.bulk(&names.name),
    }
    Ok(Next::Done)
}

fn client_setname(ctx: &mut Ctx<'_>) -> CmdResult {
    let name = ctx.args.bytes()?;
    set_name(ctx.client, name)?;
    ctx.out.ok();
    Ok(Next::Done)
}

/// Names a client; an empty name takes its name away.
pub(super) fn set_name(client: &Client, name: &[u8]) -> Result<(), CmdError> {
    name_error(name)?;
    client.shared.names.lock().name = name.to_vec();
    Ok(())
}

/// The error for a name that would break the lines of CLIENT LIST.
pub(super) fn name_error(name: &[u8]) -> Result<(), CmdError> {
    match is_one_word(name) {
        true => Ok(()),
        false => Err(CmdError::text(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        )),
    }
}

/// Printable ASCII without spaces. Redis stops at a NUL and lets what follows it pass; here it is
/// refused.
fn is_one_word(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn client_setinfo(ctx: &mut Ctx<'_>) -> CmdResult {
    let option = ctx.args.bytes()?;
    let value = ctx.args.bytes()?;
    let is_name = option.eq_ignore_ascii_case(b"LIB-NAME");
    if !is_name && !option.eq_ignore_ascii_case(b"LIB-VER") {
        return Err(about("ERR Unrecognized option '", option, "'"));
    }
    if !is_one_word(value) {
        let why = " cannot contain spaces, newlines or special characters.";
        return Err(about("ERR ", option, why));
    }
    let mut names = ctx.client.shared.names.lock();
    match is_name {
        true => names.lib_name = value.to_vec(),
        false => names.lib_ver = value.to_vec(),
    }
    drop(names);
    ctx.out.ok();
    Ok(Next::Done)
}

/// An error that repeats an argument.
fn about(before: &str, arg: &[u8], after: &str) -> CmdError {
    CmdError::owned([before.as_bytes(), c_text(arg), after.as_bytes()].concat())
}

fn client_info(ctx: &mut Ctx<'_>) -> CmdResult {
    let mut text = Vec::new();
    let client = ctx.client.shared.clone();
    line::Writer::new(ctx).describe(&client, &mut text);
    ctx.out.verbatim("txt", &text);
    Ok(Next::Done)
}

/// The line that describes a client without its end. `sent` is the request that runs for it.
pub(super) fn info_line(
    client: &Shared,
    table: &CommandTable,
    sent: Argv<'_>,
    now_ms: u64,
) -> Vec<u8> {
    let mut text = Vec::new();
    line::Writer::of(table, now_ms, client.id, sent).describe(client, &mut text);
    text.pop();
    text
}

fn client_list(ctx: &mut Ctx<'_>) -> CmdResult {
    let filter = Filter::parse(ctx, false)?;
    let mut text = Vec::new();
    let writer = line::Writer::new(ctx);
    for client in ctx.server.clients.all() {
        if filter.passes(&client, ctx.client.shared.id, ctx.clock_ms()) {
            writer.describe(&client, &mut text);
        }
    }
    ctx.out.verbatim("txt", &text);
    Ok(Next::Done)
}

fn client_kill(ctx: &mut Ctx<'_>) -> CmdResult {
    if ctx.args.remaining() == 1 {
        return kill_address(ctx);
    }
    let filter = Filter::parse(ctx, true)?;
    let own_id = ctx.client.shared.id;
    let mut killed = 0;
    let mut next = Next::Done;
    for client in ctx.server.clients.all() {
        if !filter.passes(&client, own_id, ctx.clock_ms()) || client.has(Signal::Kill) {
            continue;
        }
        killed += 1;
        match client.id == own_id {
            true => next = Next::Close,
            false => client.raise(Signal::Kill),
        }
    }
    ctx.out.integer(killed);
    Ok(next)
}

/// CLIENT KILL ip:port.
fn kill_address(ctx: &mut Ctx<'_>) -> CmdResult {
    let addr = ctx.args.bytes()?;
    let clients = ctx.server.clients.all();
    let is_it = |client: &&Arc<Shared>| {
        client.endpoint.addr.as_bytes() == addr && !client.has(Signal::Kill)
    };
    let Some(client) = clients.iter().find(is_it) else {
        return Err(CmdError::text("ERR No such client"));
    };
    ctx.out.ok();
    if client.id == ctx.client.shared.id {
        return Ok(Next::Close);
    }
    client.raise(Signal::Kill);
    Ok(Next::Done)
}

/// ON or OFF.
fn switch(ctx: &mut Ctx<'_>) -> Result<bool, CmdError> {
    match ctx.args.bytes()? {
        word if word.eq_ignore_ascii_case(b"ON") => Ok(true),
        word if word.eq_ignore_ascii_case(b"OFF") => Ok(false),
        _ => Err(CmdError::Syntax),
    }
}

fn client_no_evict(ctx: &mut Ctx<'_>) -> CmdResult {
    let on = switch(ctx)?;
    ctx.client.shared.no_evict.store(on, Ordering::Relaxed);
    ctx.server.clients.account(&ctx.client.shared);
    ctx.out.ok();
    Ok(Next::Done)
}

fn client_no_touch(ctx: &mut Ctx<'_>) -> CmdResult {
    let on = switch(ctx)?;
    ctx.client.set_no_touch(on);
    ctx.out.ok();
    Ok(Next::Done)
}

/// `CLIENT CAPA capability [capability ...]`; what is not known does not matter.
fn client_capa(ctx: &mut Ctx<'_>) -> CmdResult {
    while let Some(capability) = ctx.args.option() {
        if capability.eq_ignore_ascii_case(b"REDIRECT") {
            let can_redirect = &ctx.client.shared.can_redirect;
            can_redirect.store(true, Ordering::Relaxed);
        }
    }
    ctx.out.ok();
    Ok(Next::Done)
}

fn client_import_source(ctx: &mut Ctx<'_>) -> CmdResult {
    let is_off = ctx
        .args
        .peek()
        .is_some_and(|word| word.eq_ignore_ascii_case(b"OFF"));
    if !is_off && !ctx.config.import_mode {
        return Err(CmdError::text("ERR Server is not in import mode"));
    }
    let on = switch(ctx)?;
    ctx.client.set_import_source(on);
    ctx.out.ok();
    Ok(Next::Done)
}

fn client_reply(ctx: &mut Ctx<'_>) -> CmdResult {
    let action = ctx.args.bytes()?;
    if action.eq_ignore_ascii_case(b"ON") {
        ctx.client.set_reply(ReplyMode::On);
        ctx.out.ok();
    } else if action.eq_ignore_ascii_case(b"OFF") {
        ctx.client.set_reply(ReplyMode::Off);
    } else if action.eq_ignore_ascii_case(b"SKIP") {
        // Without replies there is none to skip.
        if ctx.client.reply != ReplyMode::Off {
            ctx.client.reply = ReplyMode::SkipNext;
        }
    } else {
        return Err(CmdError::Syntax);
    }
    Ok(Next::Done)
}

fn client_pause(ctx: &mut Ctx<'_>) -> CmdResult {
    let timeout = ctx.args.bytes()?;
    let mode = match ctx.args.remaining() {
        // As Redis does: with more than two arguments the rest does not count.
        1 => match ctx.args.bytes()? {
            word if word.eq_ignore_ascii_case(b"WRITE") => PauseMode::Write,
            word if word.eq_ignore_ascii_case(b"ALL") => PauseMode::All,
            _ => {
                return Err(CmdError::text("ERR CLIENT PAUSE mode must be WRITE or ALL"));
            }
        },
        _ => PauseMode::All,
    };
    let timeout_ms = num::parse_i64(timeout).ok_or(CmdError::text(
        "ERR timeout is not an integer or out of range",
    ))?;
    let timeout_ms =
        u64::try_from(timeout_ms).map_err(|_| CmdError::text("ERR timeout is negative"))?;
    let now_ms = ctx.clock_ms();
    let until_ms = now_ms
        .checked_add(timeout_ms)
        .filter(|&until_ms| i64::try_from(until_ms).is_ok())
        .ok_or(CmdError::text("ERR timeout is out of range"))?;
    let pause = &ctx.server.pause;
    pause.start(PauseBy::Client, mode, until_ms, now_ms);
    hold_expiry_back(ctx.server, now_ms);
    // Who was let in before has written then. (A script that has everything for itself is not waited for.)
    ctx.db.pass_shards();
    ctx.out.ok();
    Ok(Next::Done)
}

/// Nothing may change while clients rely on it, so keys are not expired, either.
fn hold_expiry_back(server: &Server, now_ms: u64) {
    let until_ms = || server.pause.until_ms(PauseBy::Client, now_ms);
    let mut known_ms = u64::MAX;
    // Another client may pause, or go on, at this moment.
    while known_ms != until_ms() {
        known_ms = until_ms();
        server.keyspace.expire_clock.pause_until(known_ms);
    }
}

/// `CLIENT UNBLOCK client-id [TIMEOUT | ERROR]`
fn client_unblock(ctx: &mut Ctx<'_>) -> CmdResult {
    let id = ctx.args.peek().unwrap_or_default();
    let mut args = ctx.args;
    args.option();
    let outcome = match args.remaining() {
        1 if args.take("TIMEOUT") => Outcome::TimedOut,
        1 if args.take("ERROR") => Outcome::Unblocked,
        1 => {
            return Err(CmdError::text(
                "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
            ));
        }
        // With more arguments than there are, Valkey looks at none of them.
        _ => Outcome::TimedOut,
    };
    let id = num::parse_i64(id).ok_or(CmdError::NotInteger)?;
    let client = u64::try_from(id)
        .ok()
        .and_then(|id| ctx.server.clients.get(id));
    let done = client.is_some_and(|client| client.unblock(outcome));
    ctx.out.integer(done as i64);
    Ok(Next::Done)
}

fn client_unpause(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.server.pause.end(PauseBy::Client);
    hold_expiry_back(ctx.server, ctx.clock_ms());
    ctx.out.ok();
    Ok(Next::Done)
}

fn client_help(ctx: &mut Ctx<'_>) -> CmdResult {
    help(ctx, "CLIENT", HELP)
}

/// CLIENT HELP.
const HELP: &[&str] = &[
    "CACHING (YES|NO)",
    "    Track the keys of the next command (OPTIN), or do not (OPTOUT).",
    "CAPA <option> [<option> ...]",
    "    Tell what the connection can do. Options are:",
    "    * REDIRECT: follow to another server when this one is no longer the primary.",
    "GETNAME",
    "    Tell the connection's name.",
    "GETREDIR",
    "    Tell the number of the client that is told of tracked keys instead.",
    "ID",
    "    Tell the connection's number.",
    "IMPORT-SOURCE (ON|OFF)",
    "    See keys that have expired while data is imported (import-mode).",
    "INFO",
    "    Describe the connection.",
    "KILL <ip:port>",
    "    Close the connection that comes from there.",
    "KILL <option> <value> [<option> <value> [...]]",
    "    Close the connections that fit all options, and tell how many. Options are:",
    "    * ADDR (<ip:port>|<unixsocket>:0)",
    "      Come from this address.",
    "    * LADDR (<ip:port>|<unixsocket>:0)",
    "      Were made to this address of the server.",
    "    * TYPE (NORMAL|PRIMARY|REPLICA|PUBSUB)",
    "      Are of this type.",
    "    * USER <username>",
    "      Are logged in as this user.",
    "    * SKIPME (YES|NO)",
    "      Spare the connection that asks (default: yes).",
    "    * ID <client-id> [<client-id>...]",
    "      Have one of these numbers.",
    "    * MAXAGE <seconds>",
    "      Exist for at least so long.",
    "    * IDLE <seconds>",
    "      Have sent nothing for at least so long.",
    "    * FLAGS <letters>",
    "      Have all of these flags.",
    "    * NAME <name>, LIB-NAME <name>, LIB-VER <version>",
    "      Gave themselves this name, library or version.",
    "    * DB <index>",
    "      Work in this database.",
    "    * CAPA <letters>",
    "      Have all of these capabilities.",
    "    * IP <ip>",
    "      Come from this host.",
    "    All but SKIPME, MAXAGE and IDLE may begin with NOT-: do not fit.",
    "LIST [<option> <value> ...]",
    "    Describe all connections, or those that fit the options of KILL",
    "    (SKIPME is NO by default).",
    "NO-EVICT (ON|OFF)",
    "    Do not close the connection when clients take too much memory.",
    "NO-TOUCH (ON|OFF)",
    "    Do not count what the connection reads as use of the keys.",
    "PAUSE <milliseconds> [WRITE|ALL]",
    "    Let all commands, or those that write, wait for so long.",
    "REPLY (ON|OFF|SKIP)",
    "    Send replies to the connection; send none; leave out the next one.",
    "SETINFO <option> <value>",
    "    Tell about the client library. Options are:",
    "    * LIB-NAME: its name.",
    "    * LIB-VER: its version.",
    "SETNAME <name>",
    "    Name the connection.",
    "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
    "         [OPTIN] [OPTOUT] [NOLOOP]",
    "    Tell the connection when keys are no longer what it has read.",
    "TRACKINGINFO",
    "    Describe what the connection tracks.",
    "UNBLOCK <client-id> [TIMEOUT|ERROR]",
    "    End the wait of a client in a blocking command, as if its time were over or with an error.",
    "UNPAUSE",
    "    End the pause: all commands are served again.",
];
