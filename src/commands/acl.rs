//! ACL: users, what they may do, and what was denied. Rules, rights and the log are in `acl`; this says
//! it in replies.
//!
//! Replies and errors are Valkey's, byte for byte. What users are called and may do is read and changed
//! under nobody's lock but `acl`'s own, so none of these touches the keyspace.

use std::path::PathBuf;
use std::sync::Arc;

use crate::acl::{
    Acl, Changed, DEFAULT_USER, Denial, Recorded, Rights, Selector, User, World, category,
    describe_user, has_spaces, password_text,
};
use crate::config::{AclPubsubDefault, Config};
use crate::resp::write::ReplyWriter;
use crate::server::Server;
use crate::spec::{AclCategories, CmdError, Flags, Group, Secrets};
use crate::sys::random;

use super::denied;
use super::table::Found;
use super::{
    CmdResult, Command, CommandTable, Ctx, Handler, Next, c_text, command, container, help,
};

#[cfg(test)]
mod tests;

const SERVED: Flags = Flags::LOADING.and(Flags::STALE);
/// For everybody who may.
const OPEN: Flags = SERVED.and(Flags::NOSCRIPT);
const ADMIN: Flags = OPEN.and(Flags::ADMIN);
/// What changes users has to be told to all nodes.
const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
/// Bits of GENPASS, unless it says otherwise, and at most.
const GENPASS_BITS: i64 = 256;
const GENPASS_BITS_MAX: i64 = 4096;
/// Entries that ACL LOG shows unless it is told how many.
const LOG_COUNT: usize = 10;

const NO_FILE: CmdError = CmdError::text(
    "ERR This instance is not configured to use an ACL file. You may want to specify users via the \
     ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a configuration file \
     set) in order to store users in the configuration.",
);

/// One of this family's rows.
const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    run: Handler,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Command {
    command(name, arity, flags, run).docs(Group::Server, since, complexity, summary)
}

/// The rows of this family.
pub const COMMANDS: &[Command] = &[row(
    "acl",
    -2,
    Flags::NONE,
    container,
    "6.0.0",
    "Depends on the subcommand.",
    "Groups the commands that manage users and what they may do.",
)
.subcommands(&[
    row(
        "cat",
        -2,
        OPEN,
        cat,
        "6.0.0",
        "O(N) in the number of commands",
        "Lists the categories of commands, or the commands of one.",
    )
    .syntax("category?"),
    row(
        "deluser",
        -3,
        ADMIN,
        deluser,
        "6.0.0",
        "O(N) in the number of clients",
        "Deletes users, and cuts their clients off.",
    )
    .secrets(Secrets::From(2))
    .tips(ALL_NODES)
    .syntax("username*"),
    row(
        "dryrun",
        -4,
        ADMIN,
        dryrun,
        "7.0.0",
        "O(N) in the arguments of the command",
        "Tells whether a user could run a command, without running it.",
    )
    .syntax("username command arg?*"),
    row(
        "genpass",
        -2,
        OPEN,
        genpass,
        "6.0.0",
        "O(1)",
        "Makes up a password that nobody can guess.",
    )
    .syntax("bits:integer?"),
    row(
        "getuser",
        3,
        ADMIN,
        getuser,
        "6.0.0",
        "O(N) in the rules of the user",
        "Tells what a user may do.",
    )
    .secrets(Secrets::From(2))
    .syntax("username"),
    row(
        "help",
        2,
        SERVED,
        acl_help,
        "6.0.0",
        "O(1)",
        "Lists the subcommands.",
    ),
    row(
        "list",
        2,
        ADMIN,
        list,
        "6.0.0",
        "O(N) in the number of users",
        "Tells what all users may do, as rules.",
    ),
    row(
        "load",
        2,
        ADMIN,
        acl_load,
        "6.0.0",
        "O(N) in the number of users",
        "Takes the users over that are in the ACL file.",
    ),
    row(
        "log",
        -2,
        ADMIN,
        log,
        "6.0.0",
        "O(N) in the entries shown",
        "Shows what was denied lately.",
    )
    .syntax("operation(count:integer|RESET)?"),
    row(
        "save",
        2,
        ADMIN,
        save,
        "6.0.0",
        "O(N) in the number of users",
        "Writes the users into the ACL file.",
    )
    .tips(ALL_NODES),
    row(
        "setuser",
        -3,
        ADMIN,
        setuser,
        "6.0.0",
        "O(N) in the number of rules",
        "Makes a user, or changes what it may do.",
    )
    .secrets(Secrets::From(2))
    .tips(ALL_NODES)
    .syntax("username rule?*"),
    row(
        "users",
        2,
        ADMIN,
        users,
        "6.0.0",
        "O(N) in the number of users",
        "Lists the names of all users.",
    ),
    row(
        "whoami",
        2,
        OPEN,
        whoami,
        "6.0.0",
        "O(1)",
        "Tells which user the connection is.",
    ),
])];

/// What rules refer to.
fn world<'a>(server: &Server, config: &Config, table: &'a CommandTable) -> World<'a> {
    World {
        catalog: table.acl_catalog(),
        databases: server.keyspace.databases(),
        all_channels: config.acl_pubsub_default == AclPubsubDefault::AllChannels,
    }
}

/// Where the users are kept, if they are.
fn file(config: &Config) -> Option<PathBuf> {
    let file = config.aclfile.as_deref();
    file.map(|file| config.dir.join(file))
}

/// The users that the configuration names, or its file of users does; for the start of the server.
///
/// # Errors
/// What is wrong with them.
pub(crate) fn load_at_start(server: &Server, table: &CommandTable) -> Result<(), String> {
    let config = server.config();
    load(&server.acl, &config, world(server, &config, table))
}

fn load(acl: &Acl, config: &Config, world: World<'_>) -> Result<(), String> {
    let lossy = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    match (file(config), config.users.is_empty()) {
        (None, true) => Ok(()),
        (None, false) => {
            let users = acl.set_configured_users(&config.users, world);
            users.map_err(|error| lossy(&error))
        }
        (Some(file), true) => {
            let loaded = acl.load_file(&file, world);
            let loaded = loaded.map_err(|error| lossy(&error.0));
            loaded
                .map(|_| ())
                .map_err(|error| format!("Aborting Kivi startup because of ACL errors: {error}"))
        }
        (Some(_), false) => Err(
            "Configuring users in the configuration file and at the same time \
             an ACL file is invalid. This setup is very likely to lead to configuration errors and \
             security holes, please define either an ACL file or declare users directly in the \
             configuration file, but not both."
                .into(),
        ),
    }
}

/// The users as lines of the configuration; none when that is where they are not kept, or when it would
/// say nothing that the other directives do not say already.
pub(super) fn config_lines(server: &Server, config: &Config) -> Vec<Vec<Vec<u8>>> {
    let users = server.acl.users();
    let plain = describe_user(&Rights::with_password(&config.requirepass));
    let is_plain = users.len() == 1
        && config.users.is_empty()
        && users
            .iter()
            .all(|user| describe_user(&user.rights()) == plain);
    if config.aclfile.is_some() || is_plain {
        return Vec::new();
    }
    let line = |user: &Arc<User>| {
        let rules = describe_user(&user.rights());
        let words = rules.split(|&byte| byte == b' ').map(<[u8]>::to_vec);
        std::iter::once(user.name.to_vec()).chain(words).collect()
    };
    users.iter().map(line).collect()
}

/// `ACL SETUSER username [rule ...]`
fn setuser(ctx: &mut Ctx<'_>) -> CmdResult {
    let name = ctx.args.bytes()?;
    if has_spaces(name) {
        return Err(CmdError::text(
            "ERR Usernames can't contain spaces or null characters",
        ));
    }
    let rules: Vec<&[u8]> = ctx.args.rest().iter().collect();
    let world = world(ctx.server, ctx.config, ctx.table);
    let set = ctx.server.acl.set_user(name, &rules, world);
    let changed = set.map_err(|error| with_code(&error.text()))?;
    follow_up(ctx.server, changed);
    ctx.out.ok();
    Ok(Next::Done)
}

fn with_code(text: &[u8]) -> CmdError {
    CmdError::owned([b"ERR ", text].concat())
}

/// What clients notice of users that have changed.
fn follow_up(server: &Server, changed: Vec<Changed>) {
    for change in changed {
        match change {
            Changed::Rights(user, before) => server.rights_changed(&user, &before),
            Changed::Deleted(user) => server.user_gone(&user),
        }
    }
}

/// `ACL DELUSER username [username ...]`
fn deluser(ctx: &mut Ctx<'_>) -> CmdResult {
    let names = ctx.args.rest();
    if names.iter().any(|name| name == DEFAULT_USER.as_bytes()) {
        return Err(CmdError::text("ERR The 'default' user cannot be removed"));
    }
    let acl = &ctx.server.acl;
    let deleted = names.iter().filter_map(|name| acl.delete_user(name));
    let deleted: Vec<Changed> = deleted.map(Changed::Deleted).collect();
    ctx.out.integer(deleted.len() as i64);
    follow_up(ctx.server, deleted);
    Ok(Next::Done)
}

/// `ACL GETUSER username`
fn getuser(ctx: &mut Ctx<'_>) -> CmdResult {
    let Some(user) = ctx.server.acl.user(ctx.args.bytes()?) else {
        ctx.out.null();
        return Ok(Next::Done);
    };
    let rights = user.rights();
    let out = &mut *ctx.out;
    out.map(7);
    out.bulk(b"flags");
    out.set(1 + usize::from(rights.nopass));
    out.bulk(if rights.is_enabled { b"on" } else { b"off" });
    if rights.nopass {
        out.bulk(b"nopass");
    }
    out.bulk(b"passwords");
    out.array(rights.passwords.len());
    for hash in &rights.passwords {
        out.bulk(&password_text(hash));
    }
    permissions(out, rights.root());
    out.bulk(b"selectors");
    out.array(rights.selectors().len());
    for selector in rights.selectors() {
        out.map(4);
        permissions(out, selector);
    }
    Ok(Next::Done)
}

/// The four fields of GETUSER that a selector has.
fn permissions(out: &mut ReplyWriter, selector: &Selector) {
    for (name, text) in [
        ("commands", selector.commands_text()),
        ("keys", selector.keys_text()),
        ("channels", selector.channels_text()),
        ("databases", selector.dbs_text()),
    ] {
        out.bulk(name.as_bytes());
        out.bulk(&text);
    }
}

/// `ACL LIST`
fn list(ctx: &mut Ctx<'_>) -> CmdResult {
    let users = ctx.server.acl.users();
    ctx.out.array(users.len());
    for user in users {
        let rules = describe_user(&user.rights());
        ctx.out
            .bulk(&[b"user ", &*user.name, b" ", &rules[..]].concat());
    }
    Ok(Next::Done)
}

/// `ACL USERS`
fn users(ctx: &mut Ctx<'_>) -> CmdResult {
    let users = ctx.server.acl.users();
    ctx.out.array(users.len());
    for user in users {
        ctx.out.bulk(&user.name);
    }
    Ok(Next::Done)
}

/// `ACL WHOAMI`
fn whoami(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.out.bulk(&ctx.client.login.user.name);
    Ok(Next::Done)
}

/// `ACL CAT [category]`
fn cat(ctx: &mut Ctx<'_>) -> CmdResult {
    let Some(name) = ctx.args.option() else {
        ctx.out.array(AclCategories::NAMES.len());
        for (_, name) in AclCategories::NAMES {
            ctx.out.bulk(&name.as_bytes()[1..]);
        }
        return Ok(Next::Done);
    };
    no_more(ctx, "cat")?;
    let Some(wanted) = category(c_text(name)) else {
        let text = [b"ERR Unknown category '", c_text(name), b"'"].concat();
        return Err(CmdError::owned(text));
    };
    let all = ctx.table.acl_catalog().entries();
    let all = all.filter(|(_, entry)| !entry.is_hidden);
    let found: Vec<_> = all
        .filter(|(_, entry)| entry.categories.has(wanted))
        .collect();
    ctx.out.array(found.len());
    for (_, entry) in found {
        ctx.out.bulk(entry.full_name.as_bytes());
    }
    Ok(Next::Done)
}

/// The error for more arguments than a subcommand has.
fn no_more(ctx: &Ctx<'_>, subcommand: &str) -> Result<(), CmdError> {
    match ctx.args.is_empty() {
        true => Ok(()),
        // As typed.
        false => {
            let typed = ctx.args.argv().get(1).unwrap_or(subcommand.as_bytes());
            let start = &b"ERR unknown subcommand or wrong number of arguments for '"[..];
            let text = [start, c_text(typed), b"'. Try ACL HELP."].concat();
            Err(CmdError::owned(text))
        }
    }
}

/// `ACL GENPASS [bits]`
fn genpass(ctx: &mut Ctx<'_>) -> CmdResult {
    let bits = match ctx.args.is_empty() {
        true => GENPASS_BITS,
        false if ctx.args.remaining() > 1 => return no_more(ctx, "genpass").map(|()| Next::Done),
        false => ctx.args.int()?,
    };
    if !(1..=GENPASS_BITS_MAX).contains(&bits) {
        return Err(CmdError::text(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a \
             positive number up to 4096",
        ));
    }
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits];
    random::fill(&mut bytes).map_err(|error| CmdError::owned(format!("ERR {error}")))?;
    for byte in &mut bytes {
        *byte = b"0123456789abcdef"[usize::from(*byte & 15)];
    }
    ctx.out.bulk(&bytes);
    Ok(Next::Done)
}

/// `ACL DRYRUN username command [arg ...]`
fn dryrun(ctx: &mut Ctx<'_>) -> CmdResult {
    let name = ctx.args.bytes()?;
    let Some(user) = ctx.server.acl.user(name) else {
        let text = [b"ERR User '", c_text(name), b"' not found"].concat();
        return Err(CmdError::owned(text));
    };
    let argv = ctx.args.rest();
    let command = match ctx.table.find(argv) {
        Found::Command(command) if !command.row.flags.has(Flags::HIDDEN) => command,
        _ => {
            let text = [b"ERR Command '", c_text(&argv[0]), b"' not found"].concat();
            return Err(CmdError::owned(text));
        }
    };
    if !command.row.arity_fits(argv.len()) {
        return Err(CmdError::WrongArity(command.full_name.clone().into()));
    }
    let request = denied::request(command, argv, ctx.client.db);
    let Err(denial) = user.rights().check(&request) else {
        ctx.out.ok();
        return Ok(Next::Done);
    };
    let at = |at: usize| argv.get(at).unwrap_or_default();
    let lacking = match denial {
        Denial::Command => [b"run the '", command.full_name.as_bytes(), b"' command"].concat(),
        Denial::Key(key) => [b"access the '", at(key), b"' key"].concat(),
        Denial::Channel(channel) => [b"access the '", at(channel), b"' channel"].concat(),
        Denial::Database(db) => [b"access database ", at(db)].concat(),
    };
    let start = [b"User ", &*user.name, b" has no permissions to "].concat();
    ctx.out.bulk(&[start, lacking].concat());
    Ok(Next::Done)
}

/// `ACL LOAD`
fn acl_load(ctx: &mut Ctx<'_>) -> CmdResult {
    let file = file(ctx.config).ok_or(NO_FILE)?;
    let world = world(ctx.server, ctx.config, ctx.table);
    let loaded = ctx.server.acl.load_file(&file, world);
    let changed = loaded.map_err(|error| with_code(&error.0))?;
    follow_up(ctx.server, changed);
    ctx.out.ok();
    Ok(Next::Done)
}

/// `ACL SAVE`
fn save(ctx: &mut Ctx<'_>) -> CmdResult {
    let file = file(ctx.config).ok_or(NO_FILE)?;
    if let Err(error) = ctx.server.acl.save_file(&file) {
        tracing::warn!("Saving the ACL file {}: {error}", file.display());
        return Err(CmdError::text(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more \
             information",
        ));
    }
    ctx.out.ok();
    Ok(Next::Done)
}

/// `ACL LOG [count | RESET]`
fn log(ctx: &mut Ctx<'_>) -> CmdResult {
    if ctx.args.remaining() > 1 {
        no_more(ctx, "log")?;
    }
    let log = &ctx.server.acl.log;
    if ctx.args.take("RESET") {
        log.reset();
        ctx.out.ok();
        return Ok(Next::Done);
    }
    let count = match ctx.args.is_empty() {
        true => LOG_COUNT,
        false => usize::try_from(ctx.args.int()?).unwrap_or(0),
    };
    let now_ms = ctx.server.clock.unix_ms();
    let entries = log.newest(count);
    ctx.out.array(entries.len());
    for entry in entries {
        log_entry(ctx.out, &entry, now_ms);
    }
    Ok(Next::Done)
}

fn log_entry(out: &mut ReplyWriter, entry: &Recorded, now_ms: u64) {
    out.map(10);
    out.bulk(b"count");
    out.integer(entry.count as i64);
    out.bulk(b"reason");
    out.bulk(entry.reason.name().as_bytes());
    out.bulk(b"context");
    out.bulk(entry.context.name().as_bytes());
    out.bulk(b"object");
    out.bulk(&entry.object);
    out.bulk(b"username");
    out.bulk(&entry.username);
    out.bulk(b"age-seconds");
    out.double(now_ms.saturating_sub(entry.updated_ms) as f64 / 1000.0);
    out.bulk(b"client-info");
    out.bulk(&entry.client_info);
    out.bulk(b"entry-id");
    out.integer(entry.id as i64);
    out.bulk(b"timestamp-created");
    out.integer(entry.created_ms as i64);
    out.bulk(b"timestamp-last-updated");
    out.integer(entry.updated_ms as i64);
}

fn acl_help(ctx: &mut Ctx<'_>) -> CmdResult {
    let lines = [
        "CAT [<category>]",
        "    List the commands of <category>, or the categories themselves.",
        "DELUSER <username> [<username> ...]",
        "    Delete users, and cut their clients off.",
        "DRYRUN <username> <command> [<arg> ...]",
        "    Tell whether the user could run the command, without running it.",
        "GETUSER <username>",
        "    Tell what the user may do.",
        "GENPASS [<bits>]",
        "    Make up a password of 256 bits, or of so many.",
        "LIST",
        "    Tell what all users may do, as lines of a configuration file.",
        "LOAD",
        "    Take the users over that are in the ACL file.",
        "LOG [<count> | RESET]",
        "    Show what was denied lately, or forget it.",
        "SAVE",
        "    Write the users into the ACL file.",
        "SETUSER <username> <rule> [<rule> ...]",
        "    Make a user, or change what it may do.",
        "USERS",
        "    List the names of all users.",
        "WHOAMI",
        "    Tell which user the connection is.",
    ];
    help(ctx, "ACL", &lines)
}
