//! Pub/sub: messages to whoever has subscribed to a channel, to a pattern of channels, or to a
//! sharded channel.
//!
//! What a subscriber is told of its subscriptions looks like a message, and comes whatever CLIENT
//! REPLY says. Before it is told that a subscription has ended, it gets what is in its inbox, so that
//! no message comes afterwards; in a transaction that has to wait until all is answered, as in
//! Valkey.

use std::sync::atomic::{Ordering, fence};

use std::sync::Arc;

use crate::client::ReplyMode;
use crate::client::inbox::Push;
use crate::client::subscriptions::Subject;
use crate::resp::write::ReplyWriter;
use crate::spec::{Channels, CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::util::glob::glob_match;

use super::{CmdResult, Command, Ctx, Next, c_text, command, container, help};

#[cfg(test)]
mod tests;

/// Served while the dataset is loaded and by a stale replica.
const SERVED: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE);
/// Changes what the client has subscribed to.
const SUBSCRIBING: Flags = SERVED.and(Flags::NOSCRIPT).and(Flags::SUBSCRIBED);
/// Sends a message.
const SENDING: Flags = SERVED.and(Flags::FAST).and(Flags::MAY_REPLICATE);

/// Sharded channels live where a key of that name would.
const CHANNEL: &[KeySpec] = &[KeySpec::at(1, KeyFlags::NOT_KEY)];
/// The same of several.
const CHANNELS: &[KeySpec] = &[KeySpec::range(1, -1, 1, KeyFlags::NOT_KEY)];

/// One of this family's rows.
const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    run: super::Handler,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Command {
    command(name, arity, flags, run).docs(Group::PubSub, since, complexity, summary)
}

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    row(
        "psubscribe",
        -2,
        SUBSCRIBING,
        psubscribe,
        "2.0.0",
        "O(N) in the number of patterns",
        "Subscribes to the channels that match patterns.",
    )
    .channels(Channels::Patterns)
    .syntax("pattern:pattern*"),
    row(
        "publish",
        3,
        SENDING,
        publish,
        "2.0.0",
        "O(N+M) in the channel's subscribers and all patterns",
        "Sends a message to those who have subscribed to a channel.",
    )
    .channels(Channels::First)
    .syntax("channel message"),
    row(
        "pubsub",
        -2,
        Flags::NONE,
        container,
        "2.8.0",
        "Depends on the subcommand.",
        "What can be asked about channels and their subscribers.",
    )
    .subcommands(PUBSUB),
    row(
        "punsubscribe",
        -1,
        SUBSCRIBING,
        punsubscribe,
        "2.0.0",
        "O(N) in the number of patterns",
        "Ends subscriptions to patterns, or to all of them.",
    )
    .syntax("pattern:pattern?*"),
    row(
        "spublish",
        3,
        SENDING,
        spublish,
        "7.0.0",
        "O(N) in the channel's subscribers",
        "Sends a message to those who have subscribed to a sharded channel.",
    )
    .keys(CHANNEL)
    .channels(Channels::First)
    .syntax("shardchannel message"),
    row(
        "ssubscribe",
        -2,
        SUBSCRIBING,
        ssubscribe,
        "7.0.0",
        "O(N) in the number of channels",
        "Subscribes to sharded channels.",
    )
    .keys(CHANNELS)
    .channels(Channels::All)
    .syntax("shardchannel*"),
    row(
        "subscribe",
        -2,
        SUBSCRIBING,
        subscribe,
        "2.0.0",
        "O(N) in the number of channels",
        "Subscribes to channels.",
    )
    .channels(Channels::All)
    .syntax("channel*"),
    row(
        "sunsubscribe",
        -1,
        SUBSCRIBING,
        sunsubscribe,
        "7.0.0",
        "O(N) in the number of channels",
        "Ends subscriptions to sharded channels, or to all of them.",
    )
    .keys(CHANNELS)
    .syntax("shardchannel?*"),
    row(
        "unsubscribe",
        -1,
        SUBSCRIBING,
        unsubscribe,
        "2.0.0",
        "O(N) in the number of channels",
        "Ends subscriptions to channels, or to all of them.",
    )
    .syntax("channel?*"),
];

/// PUBSUB's subcommands.
const PUBSUB: &[Command] = &[
    row(
        "channels",
        -2,
        SERVED,
        pubsub_channels,
        "2.8.0",
        "O(N) in the number of channels",
        "Lists the channels that somebody has subscribed to.",
    )
    .syntax("pattern:pattern?"),
    row(
        "help",
        2,
        Flags::LOADING.and(Flags::STALE),
        pubsub_help,
        "6.2.0",
        "O(1)",
        "Lists the subcommands.",
    ),
    row(
        "numpat",
        2,
        SERVED,
        pubsub_numpat,
        "2.8.0",
        "O(1)",
        "Counts the patterns that somebody has subscribed to.",
    ),
    row(
        "numsub",
        -2,
        SERVED,
        pubsub_numsub,
        "2.8.0",
        "O(N) in the number of channels asked for",
        "Counts the subscribers of channels.",
    )
    .syntax("channel?*"),
    row(
        "shardchannels",
        -2,
        SERVED,
        pubsub_shardchannels,
        "7.0.0",
        "O(N) in the number of sharded channels",
        "Lists the sharded channels that somebody has subscribed to.",
    )
    .syntax("pattern:pattern?"),
    row(
        "shardnumsub",
        -2,
        SERVED,
        pubsub_shardnumsub,
        "7.0.0",
        "O(N) in the number of channels asked for",
        "Counts the subscribers of sharded channels.",
    )
    .syntax("shardchannel?*"),
];

/// What a client is told when it has subscribed, and when that has ended.
const fn words(subject: Subject) -> (&'static [u8], &'static [u8]) {
    match subject {
        Subject::Channel => (b"subscribe", b"unsubscribe"),
        Subject::Pattern => (b"psubscribe", b"punsubscribe"),
        Subject::ShardChannel => (b"ssubscribe", b"sunsubscribe"),
    }
}

fn subscribe(ctx: &mut Ctx<'_>) -> CmdResult {
    subscribe_to(ctx, Subject::Channel)
}

fn psubscribe(ctx: &mut Ctx<'_>) -> CmdResult {
    subscribe_to(ctx, Subject::Pattern)
}

fn ssubscribe(ctx: &mut Ctx<'_>) -> CmdResult {
    // Not within a transaction, where the other two are fine, as in Redis.
    if !ctx.may_block {
        return Err(CmdError::text(
            "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client",
        ));
    }
    subscribe_to(ctx, Subject::ShardChannel)
}

fn subscribe_to(ctx: &mut Ctx<'_>, subject: Subject) -> CmdResult {
    for name in ctx.args.rest().iter() {
        ctx.server.pubsub.subscribe(ctx.client, subject, name);
        confirm(ctx, subject, words(subject).0, Some(name));
    }
    match may_stay(ctx, subject) {
        true => Ok(Next::Done),
        false => Ok(Next::Close),
    }
}

/// Whether the client still may have what it has just subscribed to: who has taken that right away
/// meanwhile did not find the subscription.
fn may_stay(ctx: &mut Ctx<'_>, subject: Subject) -> bool {
    let login = &mut ctx.client.login;
    // Between the subscription and the look at the rights; its twin is in `server::users`.
    fence(Ordering::SeqCst);
    if !login.has_moved() {
        return true;
    }
    login.renew();
    let is_pattern = subject == Subject::Pattern;
    let mut names = ctx.args.argv().iter().skip(1);
    names.all(|name| login.rights().keeps_channel(name, is_pattern))
}

fn unsubscribe(ctx: &mut Ctx<'_>) -> CmdResult {
    unsubscribe_from(ctx, Subject::Channel)
}

fn punsubscribe(ctx: &mut Ctx<'_>) -> CmdResult {
    unsubscribe_from(ctx, Subject::Pattern)
}

fn sunsubscribe(ctx: &mut Ctx<'_>) -> CmdResult {
    unsubscribe_from(ctx, Subject::ShardChannel)
}

fn unsubscribe_from(ctx: &mut Ctx<'_>, subject: Subject) -> CmdResult {
    let word = words(subject).1;
    if !ctx.args.is_empty() {
        for name in ctx.args.rest().iter() {
            ctx.server.pubsub.unsubscribe(ctx.client, subject, name);
            take_messages(ctx);
            confirm(ctx, subject, word, Some(name));
        }
        return Ok(Next::Done);
    }
    let own = ctx.client.subscriptions.as_ref();
    let names: Vec<Arc<[u8]>> = match own {
        Some(own) => own.names(subject).iter().cloned().collect(),
        None => Vec::new(),
    };
    for name in &names {
        ctx.server.pubsub.unsubscribe(ctx.client, subject, name);
        take_messages(ctx);
        confirm(ctx, subject, word, Some(name));
    }
    if names.is_empty() {
        confirm(ctx, subject, word, None);
    }
    Ok(Next::Done)
}

/// Ends all subscriptions without a word (RESET).
pub(super) fn leave_channels(ctx: &mut Ctx<'_>) {
    ctx.server.pubsub.unsubscribe_all(ctx.client);
    take_messages(ctx);
}

/// Whether what is written now reaches the client as it is written: there is neither a transaction
/// around it nor a CLIENT REPLY that takes it back.
fn writes_through(ctx: &Ctx<'_>) -> bool {
    let is_wanted = matches!(ctx.client.reply, ReplyMode::On | ReplyMode::SkipNext);
    is_wanted && ctx.may_block
}

/// Writes what came before a subscription ended. If that can't be now, what follows goes into the
/// inbox, too, or the client expects it to come later.
fn take_messages(ctx: &mut Ctx<'_>) {
    if writes_through(ctx) {
        ctx.client.shared.deliver(ctx.out);
    }
}

/// Tells a client of a subscription.
fn confirm(ctx: &mut Ctx<'_>, subject: Subject, word: &[u8], name: Option<&[u8]>) {
    let count = match subject {
        Subject::ShardChannel => ctx.client.subscription_count(subject),
        _ => {
            let channels = ctx.client.subscription_count(Subject::Channel);
            channels + ctx.client.subscription_count(Subject::Pattern)
        }
    };
    let write = |out: &mut ReplyWriter| {
        out.bulk(word);
        match name {
            Some(name) => out.bulk(name),
            None => out.null(),
        }
        out.integer(count as i64);
    };
    match ctx.client.reply {
        ReplyMode::On | ReplyMode::SkipNext => {
            ctx.out.push(3);
            write(ctx.out);
        }
        ReplyMode::Off | ReplyMode::Skip => {
            let mut out = ReplyWriter::new();
            out.set_resp3(ctx.out.is_resp3());
            out.push(3);
            write(&mut out);
            // Without the first byte, which is the protocol's.
            let head = Arc::new(out.to_vec().split_off(1));
            let push = Push::Message { head, text: None };
            ctx.server.clients.post(&ctx.client.shared, push);
        }
    }
}

fn publish(ctx: &mut Ctx<'_>) -> CmdResult {
    let (channel, message) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let reached = ctx.server.pubsub.publish(channel, message);
    ctx.out.integer(reached as i64);
    Ok(Next::Done)
}

fn spublish(ctx: &mut Ctx<'_>) -> CmdResult {
    let (channel, message) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let reached = ctx.server.pubsub.publish_sharded(channel, message);
    ctx.out.integer(reached as i64);
    Ok(Next::Done)
}

fn pubsub_channels(ctx: &mut Ctx<'_>) -> CmdResult {
    list_channels(ctx, false)
}

fn pubsub_shardchannels(ctx: &mut Ctx<'_>) -> CmdResult {
    list_channels(ctx, true)
}

/// `PUBSUB CHANNELS [pattern]`
fn list_channels(ctx: &mut Ctx<'_>, is_sharded: bool) -> CmdResult {
    let pattern = ctx.args.option();
    if !ctx.args.is_empty() {
        return Err(wrong_use(ctx));
    }
    let list = ctx.out.deferred_array();
    let mut count = 0;
    let out = &mut *ctx.out;
    ctx.server.pubsub.for_each_channel(is_sharded, |channel| {
        if pattern.is_none_or(|pattern| glob_match(pattern, channel, false)) {
            out.bulk(channel);
            count += 1;
        }
    });
    ctx.out.set_deferred(list, count);
    Ok(Next::Done)
}

/// The error for arguments that a subcommand does not take.
fn wrong_use(ctx: &Ctx<'_>) -> CmdError {
    let subcommand = ctx.args.argv().get(1).unwrap_or_default();
    let shown = c_text(&subcommand[..subcommand.len().min(128)]);
    let before: &[u8] = b"ERR unknown subcommand or wrong number of arguments for '";
    let called = ctx.args.argv()[0].to_ascii_uppercase();
    CmdError::owned([before, shown, b"'. Try ", &called, b" HELP."].concat())
}

fn pubsub_numsub(ctx: &mut Ctx<'_>) -> CmdResult {
    count_subscribers(ctx, false)
}

fn pubsub_shardnumsub(ctx: &mut Ctx<'_>) -> CmdResult {
    count_subscribers(ctx, true)
}

/// `PUBSUB NUMSUB [channel ...]`
fn count_subscribers(ctx: &mut Ctx<'_>, is_sharded: bool) -> CmdResult {
    ctx.out.array(ctx.args.remaining() * 2);
    for channel in ctx.args.rest().iter() {
        let count = ctx.server.pubsub.subscriber_count(is_sharded, channel);
        ctx.out.bulk(channel);
        ctx.out.integer(count as i64);
    }
    Ok(Next::Done)
}

fn pubsub_numpat(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.out.integer(ctx.server.pubsub.pattern_count() as i64);
    Ok(Next::Done)
}

fn pubsub_help(ctx: &mut Ctx<'_>) -> CmdResult {
    help(ctx, "PUBSUB", HELP)
}

/// PUBSUB HELP.
const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    List the channels with subscribers, or those of them that match the pattern.",
    "NUMPAT",
    "    Tell how many patterns have subscribers.",
    "NUMSUB [<channel> ...]",
    "    Tell how many subscribers each channel has, those of patterns not counted.",
    "SHARDCHANNELS [<pattern>]",
    "    List the sharded channels with subscribers, or those that match the pattern.",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Tell how many subscribers each sharded channel has.",
];
