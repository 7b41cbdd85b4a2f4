//! CONFIG: reads, sets and saves directives. The grammar and the texts are `crate::config`'s.

use crate::db::ShardStats;
use crate::persist::state::Marks;
use crate::spec::{CmdError, Flags, Group, Secrets};

use super::acl::config_lines;
use super::{CmdResult, Command, Ctx, Next, command, container, help};

/// What cannot be set while the dataset is being loaded.
const NOT_WHILE_LOADING: [&[u8]; 2] = [b"appendonly", b"dir"];
/// What waits for others when it is set, who may wait for shards that a transaction holds.
const NOT_IN_EXEC: [&[u8]; 6] = [
    b"appendonly",
    b"bind",
    b"metrics-bind",
    b"metrics-port",
    b"port",
    b"tls-port",
];

/// Directives whose values nobody else may see.
const SECRETS: Secrets = Secrets::After(&[
    ("requirepass", 1),
    ("primaryauth", 1),
    ("masterauth", 1),
    ("primaryuser", 1),
    ("masteruser", 1),
    ("tls-key-file-pass", 1),
    ("tls-client-key-file-pass", 1),
]);

const ADMIN: Flags = Flags::ADMIN
    .and(Flags::LOADING)
    .and(Flags::NOSCRIPT)
    .and(Flags::STALE);
const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// The rows of this family.
pub const COMMANDS: &[Command] = &[command("config", -2, Flags::NONE, container)
    .docs(
        Group::Server,
        "2.0.0",
        "Depends on the subcommand",
        "Groups the commands that read and change the configuration.",
    )
    .subcommands(&[
        command("get", -3, ADMIN, get)
            .docs(
                Group::Server,
                "2.0.0",
                "O(N), N being the patterns",
                "Lists directives whose names match any of the patterns, with their values.",
            )
            .syntax("parameter*"),
        command("help", 2, Flags::LOADING.and(Flags::STALE), config_help).docs(
            Group::Server,
            "5.0.0",
            "O(1)",
            "Lists the subcommands of CONFIG.",
        ),
        command("resetstat", 2, ADMIN.and(Flags::ALL_SHARDS), resetstat)
            .tips(ALL_NODES)
            .docs(
                Group::Server,
                "2.0.0",
                "O(1)",
                "Sets the counters that INFO shows back to zero.",
            ),
        command("rewrite", 2, ADMIN, rewrite).tips(ALL_NODES).docs(
            Group::Server,
            "2.8.0",
            "O(1)",
            "Brings the configuration file up to the values in force.",
        ),
        command("set", -4, ADMIN, set)
            .tips(ALL_NODES)
            .docs(
                Group::Server,
                "2.0.0",
                "O(N), N being the directives",
                "Sets directives while the server runs: all of those given, or none.",
            )
            .secrets(SECRETS)
            .syntax("data{parameter value}*"),
    ])];

fn get(ctx: &mut Ctx<'_>) -> CmdResult {
    let patterns: Vec<&[u8]> = ctx.args.rest().iter().collect();
    let found = ctx.server.with_config_store(|store| store.get(&patterns));
    ctx.out.map(found.len());
    for (name, value) in &found {
        ctx.out.bulk(name.as_bytes());
        ctx.out.bulk(value);
    }
    Ok(Next::Done)
}

fn set(ctx: &mut Ctx<'_>) -> CmdResult {
    let mut pairs = Vec::with_capacity(ctx.args.remaining() / 2);
    while !ctx.args.is_empty() {
        pairs.push((ctx.args.bytes()?, ctx.args.bytes()?));
    }
    let first_of = |names: &[&'static [u8]]| {
        let is_set = |name: &&[u8]| pairs.iter().any(|(set, _)| set.eq_ignore_ascii_case(name));
        names.iter().copied().find(is_set)
    };
    let is_loading = ctx.server.persist.marks().has(Marks::LOADING);
    if is_loading && first_of(&NOT_WHILE_LOADING).is_some() {
        return Err(CmdError::Loading);
    }
    if !ctx.may_block
        && let Some(name) = first_of(&NOT_IN_EXEC)
    {
        return Err(CmdError::owned(format!(
            "ERR CONFIG SET failed (possibly related to argument '{}') - not allowed inside a \
             transaction",
            name.escape_ascii()
        )));
    }
    let local = ctx.client.shared.endpoint.local;
    ctx.server
        .set_config(&pairs, local, ctx.may_block)
        .map_err(CmdError::owned)?;
    ctx.out.ok();
    Ok(Next::Done)
}

fn rewrite(ctx: &mut Ctx<'_>) -> CmdResult {
    // Whoever rewrites the file later has seen all users that were there before.
    let rewritten = ctx
        .server
        .with_config_store(|store| store.rewrite(config_lines(ctx.server, &store.config())));
    match rewritten {
        Ok(()) => {
            tracing::info!("CONFIG REWRITE executed with success.");
            ctx.out.ok();
            Ok(Next::Done)
        }
        Err(error) => {
            tracing::warn!("CONFIG REWRITE failed: {error}");
            Err(CmdError::owned(error.to_string()))
        }
    }
}

fn resetstat(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.server.stats.reset();
    ctx.server.clients.reset_stats();
    ctx.server.keyspace.lazyfree.reset_stats();
    ctx.server.keyspace.defrag.reset_stats();
    ctx.server.keyspace.eviction.reset_stats();
    ctx.server.scripts.cache.reset_stats();
    ctx.server.keyspace.expire_clock.reset_stats();
    ctx.server.persist.reset_stats();
    if let Some(aof) = ctx.server.persist.aof() {
        aof.reset_stats();
    }
    ctx.db
        .for_each_shard(|_, shard| shard.stats = ShardStats::default());
    ctx.out.ok();
    Ok(Next::Done)
}

fn config_help(ctx: &mut Ctx<'_>) -> CmdResult {
    let lines = [
        "GET <pattern> [<pattern> ...]",
        "    Directives whose names match a glob-style <pattern>, with their values.",
        "SET <directive> <value> [<directive> <value> ...]",
        "    Set directives: all of them, or none.",
        "RESETSTAT",
        "    Set the counters that INFO shows back to zero.",
        "REWRITE",
        "    Bring the configuration file up to the values in force.",
    ];
    help(ctx, "CONFIG", &lines)
}

#[cfg(test)]
mod tests;
