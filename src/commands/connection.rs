//! Connection commands: who the client is, which protocol and database it uses, whether it lives.
//!
//! What can be said and asked about clients (CLIENT) is in `client.rs`.
//!
//! Two rows are no commands: `POST` and `Host:` are how a web page's request begins that was aimed
//! at this port. Their flag makes `exec` cut the connection off, and they appear nowhere.

use crate::acl::{Context, DEFAULT_USER};
use crate::client::ReplyMode;
use crate::db::DbIndex;
use crate::server::REDIS_VERSION;
use crate::spec::{AclCategories, CmdError, Databases, Flags, Group, Secrets};
use crate::util::num;

use super::client::{name_error, set_name};
use super::denied::Denied;
use super::monitor::stop_monitor;
use super::pubsub::leave_channels;
use super::{CmdResult, Command, Ctx, Next, c_text, command};

use std::sync::atomic::Ordering;

/// Served in every state of the server, and before authentication.
const ALWAYS: Flags = Flags::ALLOW_BUSY
    .and(Flags::FAST)
    .and(Flags::LOADING)
    .and(Flags::NO_AUTH)
    .and(Flags::NOSCRIPT)
    .and(Flags::STALE);
/// What is no command: see the module's text.
const CROSS_PROTOCOL: Flags = Flags::HTTP.and(Flags::HIDDEN);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("auth", -2, ALWAYS.and(Flags::LOGS_IN), auth)
        .acl(AclCategories::CONNECTION)
        .docs(
            Group::Connection,
            "1.0.0",
            "O(N) in the passwords of the user",
            "Proves who the client is, by a password and perhaps a user name.",
        )
        .secrets(Secrets::All)
        .syntax("username?@6.0.0 password"),
    command(
        "echo",
        2,
        Flags::FAST.and(Flags::LOADING).and(Flags::STALE),
        echo,
    )
    .acl(AclCategories::CONNECTION)
    .docs(Group::Connection, "1.0.0", "O(1)", "Answers its argument.")
    .syntax("message"),
    command("hello", -1, ALWAYS.and(Flags::LOGS_IN), hello)
        .acl(AclCategories::CONNECTION)
        .docs(
            Group::Connection,
            "6.0.0",
            "O(1)",
            "Chooses the protocol, if asked logs in and names the connection; tells who answers.",
        )
        .secrets(Secrets::After(&[("AUTH", 2)]))
        .syntax("arguments{protover:integer AUTH=auth{username password}? SETNAME=clientname?}?"),
    command("host:", -1, CROSS_PROTOCOL, cut_off),
    command("ping", -1, Flags::FAST.and(Flags::SUBSCRIBED), ping)
        .acl(AclCategories::CONNECTION)
        // Whoever watches the server with it learns that it is not well.
        .tells_misconf()
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs(
            Group::Connection,
            "1.0.0",
            "O(1)",
            "Answers PONG, or its argument: shows that the server is alive.",
        )
        .syntax("message?"),
    command("post", -1, CROSS_PROTOCOL, cut_off),
    command(
        "quit",
        -1,
        ALWAYS.and(Flags::SUBSCRIBED).and(Flags::NOT_QUEUED),
        quit,
    )
    .acl(AclCategories::CONNECTION)
    .docs(
        Group::Connection,
        "1.0.0",
        "O(1)",
        "Ends the connection once everything is answered.",
    ),
    command(
        "reset",
        1,
        ALWAYS.and(Flags::SUBSCRIBED).and(Flags::NOT_QUEUED),
        reset,
    )
    .acl(AclCategories::CONNECTION)
    .docs(
        Group::Connection,
        "6.2.0",
        "O(1)",
        "Makes the connection as it was when it began.",
    ),
    command(
        "select",
        2,
        Flags::ALLOW_BUSY
            .and(Flags::FAST)
            .and(Flags::LOADING)
            .and(Flags::STALE),
        select,
    )
    .acl(AclCategories::CONNECTION)
    .databases(Databases::Named(&[1]))
    .docs(
        Group::Connection,
        "1.0.0",
        "O(1)",
        "Chooses the database that the connection works in.",
    )
    .syntax("index:integer"),
];

fn auth(ctx: &mut Ctx<'_>) -> CmdResult {
    let first = ctx.args.bytes()?;
    let (user, password) = match ctx.args.option() {
        Some(password) => {
            ctx.client.tried_login.set(Some(first.into()));
            (first, password)
        }
        None if ctx.server.acl.default_user().rights().nopass => {
            return Err(CmdError::text(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        None => (DEFAULT_USER.as_bytes(), first),
    };
    ctx.args.finish()?;
    log_in(ctx, user, password)?;
    ctx.out.ok();
    Ok(Next::Done)
}

/// Makes the client `user`, if the password is right. A client that fails stays what it was.
fn log_in(ctx: &mut Ctx<'_>, user: &[u8], password: &[u8]) -> Result<(), CmdError> {
    if let Some(user) = ctx.server.acl.log_in(user, password) {
        ctx.client.log_in(user, true);
        return Ok(());
    }
    let denied = Denied {
        server: ctx.server,
        table: ctx.table,
        client: &ctx.client.shared,
        sent: ctx.args.argv(),
        context: Context::of(ctx.client.in_multi),
    };
    denied.record_login(user);
    let attempts = &ctx.server.attempts;
    let delay = attempts.wrong(&ctx.client.shared.endpoint, ctx.server.clock.unix_ms());
    ctx.client.penalty = ctx.client.penalty.saturating_add(delay);
    Err(CmdError::text(
        "WRONGPASS invalid username-password pair or user is disabled.",
    ))
}

fn echo(ctx: &mut Ctx<'_>) -> CmdResult {
    let message = ctx.args.bytes()?;
    ctx.out.bulk(message);
    Ok(Next::Done)
}

/// Options of HELLO.
#[derive(Default)]
struct Hello<'a> {
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn hello(ctx: &mut Ctx<'_>) -> CmdResult {
    let resp3 = hello_version(ctx)?;
    let options = hello_options(ctx)?;
    if let Some((user, password)) = options.credentials {
        ctx.client.tried_login.set(Some(user.into()));
        log_in(ctx, user, password)?;
    }
    if !ctx.client.authenticated && ctx.server.acl.must_log_in() {
        return Err(CmdError::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = options.name {
        set_name(ctx.client, name)?;
    }
    if let Some(resp3) = resp3 {
        set_protocol(ctx, resp3);
    }
    let zone = &ctx.config.availability_zone;
    ctx.out.map(7 + !zone.is_empty() as usize);
    ctx.out.bulk(b"server");
    let server = match ctx.config.extended_redis_compatibility {
        true => "redis",
        false => "kivi",
    };
    ctx.out.bulk(server.as_bytes());
    // Clients choose what they may use by it, so it is the version of Redis that this server is as
    // good as.
    ctx.out.bulk(b"version");
    ctx.out.bulk(REDIS_VERSION.as_bytes());
    ctx.out.bulk(b"proto");
    let resp = 2 + ctx.out.is_resp3() as i64;
    ctx.out.integer(resp);
    ctx.out.bulk(b"id");
    ctx.out.integer(ctx.client.shared.id as i64);
    ctx.out.bulk(b"mode");
    ctx.out.bulk(b"standalone");
    ctx.out.bulk(b"role");
    ctx.out.bulk(b"master");
    ctx.out.bulk(b"modules");
    ctx.out.array(0);
    if !zone.is_empty() {
        ctx.out.bulk(b"availability_zone");
        ctx.out.bulk(zone.as_bytes());
    }
    Ok(Next::Done)
}

/// HELLO's first argument: whether replies shall be RESP3; `None` without one.
fn hello_version(ctx: &mut Ctx<'_>) -> Result<Option<bool>, CmdError> {
    let Some(version) = ctx.args.option() else {
        return Ok(None);
    };
    match num::parse_i64(version) {
        Some(2) => Ok(Some(false)),
        Some(3) => Ok(Some(true)),
        Some(_) => Err(CmdError::text("NOPROTO unsupported protocol version")),
        None => Err(CmdError::text(
            "ERR Protocol version is not an integer or out of range",
        )),
    }
}

fn hello_options<'a>(ctx: &mut Ctx<'a>) -> Result<Hello<'a>, CmdError> {
    let mut options = Hello::default();
    while let Some(option) = ctx.args.option() {
        let left = ctx.args.remaining();
        if option.eq_ignore_ascii_case(b"AUTH") && left >= 2 {
            options.credentials = Some((ctx.args.bytes()?, ctx.args.bytes()?));
        } else if option.eq_ignore_ascii_case(b"SETNAME") && left >= 1 {
            let name = ctx.args.bytes()?;
            name_error(name)?;
            options.name = Some(name);
        } else {
            let mut text = b"ERR Syntax error in HELLO option '".to_vec();
            text.extend_from_slice(c_text(option));
            text.push(b'\'');
            return Err(CmdError::owned(text));
        }
    }
    Ok(options)
}

fn set_protocol(ctx: &mut Ctx<'_>, resp3: bool) {
    ctx.out.set_resp3(resp3);
    let resp = 2 + resp3 as u8;
    ctx.client.shared.resp.store(resp, Ordering::Relaxed);
}

fn ping(ctx: &mut Ctx<'_>) -> CmdResult {
    let message = ctx.args.option();
    if !ctx.args.is_empty() {
        return Err(CmdError::WrongArity("ping".into()));
    }
    if ctx.client.is_subscriber() && !ctx.out.is_resp3() {
        // In the form of a message: such a client expects nothing else.
        ctx.out.array(2);
        ctx.out.bulk(b"pong");
        ctx.out.bulk(message.unwrap_or_default());
        return Ok(Next::Done);
    }
    match message {
        Some(message) => ctx.out.bulk(message),
        None => ctx.out.simple("PONG"),
    }
    Ok(Next::Done)
}

fn quit(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.out.ok();
    Ok(Next::Close)
}

fn reset(ctx: &mut Ctx<'_>) -> CmdResult {
    stop_monitor(ctx.server, ctx.client);
    leave_channels(ctx);
    let (tracking, keyspace) = (&ctx.server.tracking, &ctx.server.keyspace);
    tracking.disable(ctx.client, keyspace);
    set_protocol(ctx, false);
    let client = &mut *ctx.client;
    client.end_transaction(&mut ctx.db);
    client.select(DbIndex::default());
    let acl = &ctx.server.acl;
    client.log_in(acl.default_user().clone(), !acl.must_log_in());
    client.set_no_touch(false);
    client.set_import_source(false);
    client.shared.no_evict.store(false, Ordering::Relaxed);
    client.shared.names.lock().name.clear();
    // CLIENT REPLY SKIP still holds for this reply, as in Redis.
    if client.reply == ReplyMode::Off {
        client.set_reply(ReplyMode::On);
    }
    ctx.out.simple("RESET");
    Ok(Next::Done)
}

fn select(ctx: &mut Ctx<'_>) -> CmdResult {
    let index = ctx.args.int()?;
    if i32::try_from(index).is_err() {
        return Err(CmdError::text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    match u32::try_from(index) {
        Ok(index) if index < ctx.db.keyspace().databases() => {
            ctx.client.select(DbIndex(index));
            ctx.out.ok();
            Ok(Next::Done)
        }
        _ => Err(CmdError::DbIndexOutOfRange),
    }
}

/// Never runs: `exec` sees the row's flag and cuts the connection off.
fn cut_off(_: &mut Ctx<'_>) -> CmdResult {
    Ok(Next::Close)
}

#[cfg(test)]
mod tests;
