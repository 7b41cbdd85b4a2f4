//! XREAD and XREADGROUP.
//!
//! Both look all keys up first, so that a fault in the last one leaves everything as it was, then read
//! them one after the other. Who finds nothing may wait: the request is kept with the ids that `$`
//! stood for, and run again when one of its streams has got an entry. Who waits as a consumer is told,
//! too, when a key or its group goes.
//!
//! What a group learns by XREADGROUP is logged as that: an XCLAIM for each entry, then XGROUP SETID;
//! that a consumer was created only if NOACK makes it the only trace, as in Redis.

use smallvec::SmallVec;

use super::group::{log_claim, log_last_id};
use super::range::reply_entries;
use super::{find, is, reply_entry, reply_id, strict_id};
use crate::commands::{Block, BlockOn, CmdResult, Ctx, Next, c_text, timeout};
use crate::db::notice::EventClass;
use crate::db::{GoneError, Record, Request as Kept};
use crate::ds::stream::{ConsumerId, Entries, Group, Pending};
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::CmdError;
use crate::spec::args::c_str;
use crate::value::Type;
use crate::value::stream::{IdText, StreamId, lag, stream_mut};

/// What is asked for.
struct Request<'a> {
    keys: Argv<'a>,
    ids: Argv<'a>,
    /// Where the ids begin.
    ids_at: usize,
    /// Entries of each stream at most.
    count: usize,
    /// BLOCK: until when.
    block: Option<Option<u64>>,
    /// XREADGROUP: for whom.
    reader: Option<Reader<'a>>,
}

/// A consumer that reads.
#[derive(Clone, Copy)]
struct Reader<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    /// NOACK: what it gets is not pending with it.
    no_ack: bool,
}

impl<'a> Request<'a> {
    fn parse(ctx: &Ctx<'a>, for_group: bool) -> Result<Request<'a>, CmdError> {
        const NO_GROUP: CmdError = CmdError::text("ERR Missing GROUP option for XREADGROUP");
        let argv = ctx.args.argv();
        let (mut count, mut block, mut group, mut no_ack) = (0, None, None, false);
        let mut at = 1;
        let streams_at = loop {
            let option = argv.get(at).ok_or(CmdError::Syntax)?;
            let left = argv.len() - at - 1;
            if is(option, "BLOCK") && left >= 1 {
                block = Some(timeout::deadline_of_ms(ctx, &argv[at + 1])?);
                at += 2;
            } else if is(option, "COUNT") && left >= 1 {
                let number = crate::util::num::parse_i64(&argv[at + 1]);
                count = number.ok_or(CmdError::NotInteger)?.max(0);
                at += 2;
            } else if is(option, "STREAMS") && left >= 1 {
                break at + 1;
            } else if is(option, "GROUP") && left >= 2 {
                if !for_group {
                    return Err(only_for_groups("GROUP"));
                }
                group = argv.get(at + 1).zip(argv.get(at + 2));
                at += 3;
            } else if is(option, "NOACK") {
                if !for_group {
                    return Err(only_for_groups("NOACK"));
                }
                no_ack = true;
                at += 1;
            } else {
                return Err(CmdError::Syntax);
            }
        };
        let streams = argv.from(streams_at);
        if !streams.len().is_multiple_of(2) {
            return Err(unbalanced(&ctx.command.full_name, for_group));
        }
        let reader = match (for_group, group) {
            (true, None) => return Err(NO_GROUP),
            (_, group) => group.map(|(group, consumer)| Reader {
                group,
                consumer,
                no_ack,
            }),
        };
        let (keys, ids) = streams.spans().split_at(streams.len() / 2);
        Ok(Request {
            keys: Argv::new(argv.bytes(), keys),
            ids: Argv::new(argv.bytes(), ids),
            ids_at: streams_at + keys.len(),
            count: match usize::try_from(count) {
                Ok(0) | Err(_) => usize::MAX,
                Ok(count) => count,
            },
            block,
            reader,
        })
    }

    /// Nothing was there: the client waits, or is told so.
    fn block(self, ctx: &mut Ctx<'_>, kept: Option<Kept>) -> CmdResult {
        let Some(deadline_ms) = self.block.filter(|_| ctx.may_block) else {
            ctx.out.null_array();
            return Ok(Next::Done);
        };
        Ok(Next::Block(Block {
            gone: self.reader.map(|_| gone as GoneError),
            kept,
            ..Block::new(Type::Stream, BlockOn::All, deadline_ms)
        }))
    }
}

/// Where the keys of XREAD begin.
pub(super) fn xread_streams(argv: Argv<'_>) -> Option<usize> {
    Some(streams(argv, 1))
}

/// Where the keys of XREADGROUP begin.
pub(super) fn xreadgroup_streams(argv: Argv<'_>) -> Option<usize> {
    Some(streams(argv, 4))
}

/// Where the keys begin: behind the first STREAMS at `from` or later that is no option's argument,
/// which is where [`Request::parse`] finds it. Of a request that is not in order behind any; at its end
/// if there is none.
fn streams(argv: Argv<'_>, from: usize) -> usize {
    let is = |at: usize, word| is(&argv[at], word);
    let mut at = 1;
    while at < argv.len() {
        if at >= from && is(at, "STREAMS") {
            return at + 1;
        }
        at += if is(at, "GROUP") {
            3
        } else if is(at, "BLOCK") || is(at, "COUNT") {
            2
        } else {
            1
        };
    }
    let any = (from..argv.len()).find(|&at| is(at, "STREAMS"));
    any.map_or(argv.len(), |at| at + 1)
}

fn only_for_groups(option: &str) -> CmdError {
    CmdError::owned(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    ))
}

fn unbalanced(name: &str, for_group: bool) -> CmdError {
    let symbol = if for_group { '>' } else { '$' };
    CmdError::owned(format!(
        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be \
         specified."
    ))
}

/// The reply: an array or a map of streams, which begins with the first one.
struct Streams<'o> {
    out: &'o mut ReplyWriter,
    all: Option<crate::resp::write::Deferred>,
    len: usize,
}

impl<'o> Streams<'o> {
    fn new(out: &'o mut ReplyWriter) -> Streams<'o> {
        Streams {
            out,
            all: None,
            len: 0,
        }
    }

    /// Begins a stream, whose entries follow.
    fn push(&mut self, key: &[u8]) -> &mut ReplyWriter {
        if self.all.is_none() {
            self.all = Some(match self.out.is_resp3() {
                true => self.out.deferred_map(),
                false => self.out.deferred_array(),
            });
        }
        self.len += 1;
        if !self.out.is_resp3() {
            self.out.array(2);
        }
        self.out.bulk(key);
        self.out
    }

    /// Ends the reply; false if there is none, since there was no stream.
    fn end(self) -> bool {
        let Some(all) = self.all else {
            return false;
        };
        self.out.set_deferred(all, self.len);
        true
    }
}

/// `XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]`
pub(super) fn xread(ctx: &mut Ctx<'_>) -> CmdResult {
    let request = Request::parse(ctx, false)?;
    let mut after: SmallVec<[StreamId; 4]> = SmallVec::new();
    for (key, id) in request.keys.iter().zip(request.ids.iter()) {
        after.push(read_after(ctx, key, id)?);
    }
    let Ctx { db, out, .. } = ctx;
    let mut streams = Streams::new(out);
    for (key, after) in request.keys.iter().zip(&after) {
        let Some(stream) = find(db, key)? else {
            continue;
        };
        let Some(start) = after.next().filter(|&id| id <= stream.entries().last_id()) else {
            continue;
        };
        let entries = stream.entries().range(start, StreamId::MAX);
        let mut entries = entries.take(request.count).peekable();
        if entries.peek().is_some() {
            reply_entries(streams.push(key), entries);
        }
    }
    if streams.end() {
        return Ok(Next::Done);
    }
    let kept = keep(ctx, &request, &after);
    request.block(ctx, kept)
}

/// The id above which XREAD reads a stream.
fn read_after(ctx: &mut Ctx<'_>, key: &[u8], id: &[u8]) -> Result<StreamId, CmdError> {
    const ONLY_FOR_GROUPS: CmdError = CmdError::text(
        "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
         <consumer> option.",
    );
    let stream = find(&mut ctx.db, key)?;
    match c_str(id) {
        b"$" => Ok(stream.map_or(StreamId::MIN, |stream| stream.entries().last_id())),
        // The last entry, unless it has been deleted since.
        b"+" => {
            let last = stream.and_then(|stream| stream.entries().last_id().prev());
            Ok(last.unwrap_or_default())
        }
        b">" => Err(ONLY_FOR_GROUPS),
        _ => strict_id(id, 0),
    }
}

/// The request to be run again: with ids where `$` stood for them; `None` if it is the same.
fn keep(ctx: &Ctx<'_>, request: &Request<'_>, after: &[StreamId]) -> Option<Kept> {
    request.block?;
    let is_last = |id: &[u8]| c_str(id) == b"$";
    if !request.ids.iter().any(is_last) {
        return None;
    }
    let texts: Vec<IdText> = after.iter().copied().map(IdText::new).collect();
    let args = ctx.args.argv().iter().enumerate();
    Some(Kept::of(args.map(|(at, arg)| {
        let text = at.checked_sub(request.ids_at).map(|at| &texts[at]);
        match text.filter(|_| is_last(arg)) {
            Some(text) => text.as_bytes(),
            None => arg,
        }
    })))
}

/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...]
/// id [id ...]`
pub(super) fn xreadgroup(ctx: &mut Ctx<'_>) -> CmdResult {
    let request = Request::parse(ctx, true)?;
    let reader = request.reader.ok_or(CmdError::Syntax)?;
    let mut after: SmallVec<[Option<StreamId>; 4]> = SmallVec::new();
    for (key, id) in request.keys.iter().zip(request.ids.iter()) {
        after.push(read_group_after(ctx, key, id, reader.group)?);
    }
    ctx.db.effects.dont_propagate();
    let now_ms = ctx.clock_ms();
    let Ctx { db, out, .. } = ctx;
    let mut streams = Streams::new(out);
    for (key, &after) in request.keys.iter().zip(&after) {
        // They are there, as was seen.
        let Some(mut found) = db.find_mut_counted(key) else {
            continue;
        };
        let (mut slot, mut record) = found.slot_and_record();
        let Some(stream) = stream_mut(&mut slot) else {
            continue;
        };
        let (entries, groups) = stream.split_mut();
        let Some(group) = groups.get_mut(reader.group) else {
            continue;
        };
        let (consumer, is_new) = see(group, &reader, key, &mut record, now_ms);
        let mut reading = Reading {
            entries,
            group,
            consumer,
            names: (key, reader.group),
            record,
            now_ms,
            count: request.count,
        };
        let is_served = match after {
            Some(after) => {
                reading.history(after, streams.push(key));
                true
            }
            None => reading.new_entries(reader.no_ack, &mut streams),
        };
        found.add_untold_changes(is_new as u64 + is_served as u64);
    }
    if streams.end() {
        return Ok(Next::Done);
    }
    request.block(ctx, None)
}

/// The id above which a consumer reads what is pending with it; `None` for new entries.
fn read_group_after(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    id: &[u8],
    group: &[u8],
) -> Result<Option<StreamId>, CmdError> {
    let stream = find(&mut ctx.db, key)?;
    if stream.is_none_or(|stream| stream.groups().get(group).is_none()) {
        return Err(no_group(key, group));
    }
    match c_str(id) {
        b">" => Ok(None),
        b"$" => Err(meaningless('$')),
        b"+" => Err(meaningless('+')),
        _ => Ok(Some(strict_id(id, 0)?).filter(|&id| id != StreamId::MAX)),
    }
}

fn no_group(key: &[u8], group: &[u8]) -> CmdError {
    let text = [
        b"NOGROUP No such key '",
        c_text(key),
        b"' or consumer group '",
        c_text(group),
        b"' in XREADGROUP with GROUP option",
    ];
    CmdError::owned(text.concat())
}

/// What a consumer is told that waits for a key which goes.
fn gone(key: &[u8], argv: Argv<'_>) -> CmdError {
    let mut at = 1;
    // The request is in order, or nobody would wait.
    while let Some(option) = argv.get(at).filter(|option| !is(option, "GROUP")) {
        at += if is(option, "NOACK") { 1 } else { 2 };
    }
    no_group(key, argv.get(at + 1).unwrap_or_default())
}

fn meaningless(id: char) -> CmdError {
    CmdError::owned(format!(
        "ERR The {id} ID is meaningless in the context of XREADGROUP: you want to read the history \
         of this consumer by specifying a proper ID, or use the > ID to get new messages. The {id} \
         ID would just return an empty result set."
    ))
}

/// The consumer that reads, which is seen now, and whether it was created for that.
fn see(
    group: &mut Group,
    reader: &Reader<'_>,
    key: &[u8],
    record: &mut Record<'_>,
    now_ms: u64,
) -> (ConsumerId, bool) {
    if let Some(consumer) = group.consumer_id(reader.consumer) {
        group.consumer_mut(consumer).seen_at_ms = now_ms;
        return (consumer, false);
    }
    let consumer = group.create_consumer(reader.consumer, now_ms);
    record.notify(EventClass::STREAM, "xgroup-createconsumer", key);
    if reader.no_ack && record.is_logged() {
        let names = [key, reader.group, reader.consumer];
        record.propagate_as([&b"XGROUP"[..], b"CREATECONSUMER"].into_iter().chain(names));
    }
    (consumer, true)
}

/// A consumer that reads a stream.
struct Reading<'a> {
    entries: &'a Entries,
    group: &'a mut Group,
    consumer: ConsumerId,
    /// Those of key and group.
    names: (&'a [u8], &'a [u8]),
    record: Record<'a>,
    now_ms: u64,
    count: usize,
}

impl Reading<'_> {
    /// Delivers entries that no consumer of the group has got yet; false if there is none.
    fn new_entries(&mut self, no_ack: bool, streams: &mut Streams<'_>) -> bool {
        let start = self.group.last_id.next();
        let Some(start) = start.filter(|&start| start <= self.entries.last_id()) else {
            return false;
        };
        let found = self.entries.range(start, StreamId::MAX).take(self.count);
        let mut found = found.peekable();
        if found.peek().is_none() {
            return false;
        }
        let out = streams.push(self.names.0);
        let all = out.deferred_array();
        let mut len = 0;
        for entry in found {
            lag::advance(self.entries, self.group, entry.id);
            reply_entry(out, &entry);
            if !no_ack {
                self.deliver(entry.id);
            }
            len += 1;
        }
        out.set_deferred(all, len);
        if !no_ack {
            self.group.consumer_mut(self.consumer).active_at_ms = Some(self.now_ms);
        }
        if self.record.is_logged() {
            log_last_id(&mut self.record, self.names, self.group);
        }
        true
    }

    /// Makes an entry pending with the consumer.
    #[inline]
    fn deliver(&mut self, id: StreamId) {
        let pending = Pending {
            consumer: self.consumer,
            delivered_at_ms: self.now_ms,
            deliveries: 1,
        };
        self.group.set_pending(id, pending);
        if self.record.is_logged() {
            let id = IdText::new(id);
            log_claim(
                &mut self.record,
                self.names,
                self.group,
                id.as_bytes(),
                pending,
            );
        }
    }

    /// Delivers again what is pending with the consumer above an id. Of entries that were deleted only
    /// the ids are left.
    fn history(&mut self, after: StreamId, out: &mut ReplyWriter) {
        let all = out.deferred_array();
        let (mut len, mut next) = (0, after.next());
        while let Some(start) = next.filter(|_| len < self.count) {
            let pending = self
                .group
                .pending_range_of(self.consumer, start, StreamId::MAX)
                .next();
            let Some((id, pending)) = pending else { break };
            match self.entries.get(id) {
                Some(entry) => {
                    reply_entry(out, &entry);
                    let pending = Pending {
                        delivered_at_ms: self.now_ms,
                        deliveries: pending.deliveries.saturating_add(1),
                        ..pending
                    };
                    self.group.set_pending(id, pending);
                }
                None => {
                    out.array(2);
                    reply_id(out, id);
                    out.null_array();
                }
            }
            len += 1;
            next = id.next();
        }
        out.set_deferred(all, len);
    }
}
