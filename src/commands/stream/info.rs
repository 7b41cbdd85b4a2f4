//! XINFO: what is known of a stream, its groups and their consumers.

use super::group::{bad_subcommand, no_group};
use super::{reply_entry, reply_id};
use crate::commands::{CmdResult, Ctx, Next, typed};
use crate::db::Access;
use crate::ds::stream::{ConsumerId, Entries, Group, Stream};
use crate::resp::write::ReplyWriter;
use crate::spec::args::c_str;
use crate::spec::{Args, CmdError};
use crate::value::Type;
use crate::value::stream::{self, StreamId, lag};

/// How many entries FULL shows of each list, unless COUNT says so; 0 for all.
const COUNT_DEFAULT: usize = 10;

/// The stream of a key that has to be there.
fn existing<'d>(db: &'d mut Access<'_>, key: &[u8]) -> Result<&'d Stream, CmdError> {
    let found = typed(db, key, Type::Stream)?;
    let stream = found.and_then(|entry| stream::stream(entry.value()));
    stream.ok_or(CmdError::NoSuchKey)
}

/// `XINFO STREAM key [FULL [COUNT count]]`
pub(super) fn stream(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let stream = existing(&mut ctx.db, key)?;
    match full_count(&mut ctx.args)? {
        None => short(ctx.out, stream),
        Some(count) => full(ctx.out, stream, count),
    }
    Ok(Next::Done)
}

/// `[FULL [COUNT count]]`
fn full_count(args: &mut Args<'_>) -> Result<Option<usize>, CmdError> {
    let is = |arg: Option<&[u8]>, word: &[u8]| {
        arg.is_some_and(|arg| c_str(arg).eq_ignore_ascii_case(word))
    };
    let rest = args.rest();
    match rest.len() {
        0 => Ok(None),
        1 if is(rest.get(0), b"FULL") => Ok(Some(COUNT_DEFAULT)),
        3 if is(rest.get(0), b"FULL") && is(rest.get(1), b"COUNT") => {
            args.many(2)?;
            let count = args.int()?;
            Ok(Some(usize::try_from(count).unwrap_or(COUNT_DEFAULT)))
        }
        _ => Err(bad_subcommand(args)),
    }
}

/// The figures with which both forms of XINFO STREAM begin.
fn figures(out: &mut ReplyWriter, entries: &Entries) {
    let numbers = [
        ("length", entries.len()),
        ("radix-tree-keys", entries.nodes() as u64),
        ("radix-tree-nodes", entries.radix_tree_nodes() as u64),
    ];
    for (name, number) in numbers {
        out.bulk(name.as_bytes());
        out.integer(number as i64);
    }
    out.bulk(b"last-generated-id");
    reply_id(out, entries.last_id());
    out.bulk(b"max-deleted-entry-id");
    reply_id(out, entries.max_deleted_id());
    out.bulk(b"entries-added");
    out.integer(entries.entries_added() as i64);
    out.bulk(b"recorded-first-entry-id");
    reply_id(out, entries.first_id());
}

fn short(out: &mut ReplyWriter, stream: &Stream) {
    let entries = stream.entries();
    out.map(10);
    figures(out, entries);
    out.bulk(b"groups");
    out.integer(stream.groups().len() as i64);
    let (min, max) = (StreamId::MIN, StreamId::MAX);
    let (first, last) = (
        entries.range(min, max).next(),
        entries.range_back(min, max).next(),
    );
    for (name, entry) in [("first-entry", first), ("last-entry", last)] {
        out.bulk(name.as_bytes());
        match entry {
            Some(entry) => reply_entry(out, &entry),
            None => out.null(),
        }
    }
}

fn full(out: &mut ReplyWriter, stream: &Stream, count: usize) {
    let entries = stream.entries();
    let count = if count == 0 { usize::MAX } else { count };
    out.map(9);
    figures(out, entries);
    out.bulk(b"entries");
    let shown = usize::try_from(entries.len()).unwrap_or(usize::MAX);
    out.array(shown.min(count));
    for entry in entries.range(StreamId::MIN, StreamId::MAX).take(count) {
        reply_entry(out, &entry);
    }
    out.bulk(b"groups");
    out.array(stream.groups().len());
    for (name, group) in stream.groups().iter_named() {
        out.map(7);
        out.bulk(b"name");
        out.bulk(name);
        progress(out, entries, group);
        out.bulk(b"pel-count");
        out.integer(group.pending_len() as i64);
        full_pending(out, group, count);
        out.bulk(b"consumers");
        out.array(group.consumers().len());
        for (id, _) in group.consumers() {
            full_consumer(out, group, id, count);
        }
    }
}

/// How far a group has read.
fn progress(out: &mut ReplyWriter, entries: &Entries, group: &Group) {
    out.bulk(b"last-delivered-id");
    reply_id(out, group.last_id);
    for (name, number) in [
        ("entries-read", group.entries_read.map(|read| read as i64)),
        ("lag", lag::lag(entries, group)),
    ] {
        out.bulk(name.as_bytes());
        match number {
            Some(number) => out.integer(number),
            None => out.null(),
        }
    }
}

/// What is pending in a group.
fn full_pending(out: &mut ReplyWriter, group: &Group, count: usize) {
    out.bulk(b"pending");
    out.array(group.pending_len().min(count));
    let all = group.pending_range(StreamId::MIN, StreamId::MAX);
    for (id, pending) in all.take(count) {
        out.array(4);
        reply_id(out, id);
        out.bulk(&group.consumer(pending.consumer).name);
        out.integer(pending.delivered_at_ms as i64);
        out.integer(pending.deliveries as i64);
    }
}

fn full_consumer(out: &mut ReplyWriter, group: &Group, id: ConsumerId, count: usize) {
    let consumer = group.consumer(id);
    out.map(5);
    out.bulk(b"name");
    out.bulk(&consumer.name);
    for (name, number) in [
        ("seen-time", consumer.seen_at_ms as i64),
        (
            "active-time",
            consumer.active_at_ms.map_or(-1, |at| at as i64),
        ),
        ("pel-count", consumer.pending_len() as i64),
    ] {
        out.bulk(name.as_bytes());
        out.integer(number);
    }
    out.bulk(b"pending");
    out.array(consumer.pending_len().min(count));
    let all = group.pending_range_of(id, StreamId::MIN, StreamId::MAX);
    for (id, pending) in all.take(count) {
        out.array(3);
        reply_id(out, id);
        out.integer(pending.delivered_at_ms as i64);
        out.integer(pending.deliveries as i64);
    }
}

/// XINFO GROUPS key
pub(super) fn groups(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let stream = existing(&mut ctx.db, key)?;
    let groups = stream.groups();
    ctx.out.array(groups.len());
    for (name, group) in groups.iter_named() {
        ctx.out.map(6);
        ctx.out.bulk(b"name");
        ctx.out.bulk(name);
        ctx.out.bulk(b"consumers");
        ctx.out.integer(group.consumers().len() as i64);
        ctx.out.bulk(b"pending");
        ctx.out.integer(group.pending_len() as i64);
        progress(ctx.out, stream.entries(), group);
    }
    Ok(Next::Done)
}

/// XINFO CONSUMERS key group
pub(super) fn consumers(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, name) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let now_ms = ctx.clock_ms() as i64;
    let groups = existing(&mut ctx.db, key)?.groups();
    let group = groups.get(name).ok_or_else(|| no_group(key, name))?;
    let since = |at_ms: u64| now_ms.saturating_sub(at_ms as i64).max(0);
    ctx.out.array(group.consumers().len());
    for (_, consumer) in group.consumers() {
        ctx.out.map(4);
        ctx.out.bulk(b"name");
        ctx.out.bulk(&consumer.name);
        for (name, number) in [
            ("pending", consumer.pending_len() as i64),
            ("idle", since(consumer.seen_at_ms)),
            ("inactive", consumer.active_at_ms.map_or(-1, since)),
        ] {
            ctx.out.bulk(name.as_bytes());
            ctx.out.integer(number);
        }
    }
    Ok(Next::Done)
}

/// XINFO HELP
pub(super) fn help(ctx: &mut Ctx<'_>) -> CmdResult {
    crate::commands::help(
        ctx,
        "XINFO",
        &[
            "CONSUMERS <key> <groupname>",
            "    Show the consumers of a group.",
            "GROUPS <key>",
            "    Show the groups of a stream.",
            "STREAM <key> [FULL [COUNT <count>]]",
            "    Show what is known of a stream; with FULL its entries, groups and consumers.",
        ],
    )
}
