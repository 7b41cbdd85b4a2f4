//! XPENDING: what was delivered to a group and not yet acknowledged.

use super::{idle_ms, interval_end, interval_start, is, no_key_or_group, reply_id};
use crate::commands::{CmdResult, Ctx, Next, typed};
use crate::ds::stream::{Group, Pending};
use crate::resp::write::ReplyWriter;
use crate::spec::{Args, CmdError};
use crate::value::Type;
use crate::value::stream::{StreamId, stream};

/// Which pending entries are asked for.
struct Range<'a> {
    start: StreamId,
    end: StreamId,
    count: usize,
    /// IDLE: only such as were delivered so long ago, ms.
    min_idle_ms: i64,
    /// Only those of one consumer.
    consumer: Option<&'a [u8]>,
}

impl<'a> Range<'a> {
    /// `[IDLE min-idle-time] start end count [consumer]`; `None` if nothing is left of the arguments.
    /// What is behind a consumer is ignored, as long as it is not too much, as in Redis.
    fn parse(args: &mut Args<'a>) -> Result<Option<Range<'a>>, CmdError> {
        const WORDS_MAX: usize = 6;
        if args.is_empty() {
            return Ok(None);
        }
        if !(3..=WORDS_MAX).contains(&args.remaining()) {
            return Err(CmdError::Syntax);
        }
        let mut min_idle_ms = 0;
        if args.peek().is_some_and(|word| is(word, "IDLE")) {
            args.bytes()?;
            min_idle_ms = args.int()?;
        }
        let bounds = args.many(2)?;
        let count = args.int()?;
        Ok(Some(Range {
            start: interval_start(&bounds[0])?,
            end: interval_end(&bounds[1])?,
            count: usize::try_from(count).unwrap_or(0),
            min_idle_ms,
            consumer: args.option(),
        }))
    }
}

/// `XPENDING key group [[IDLE min-idle-time] start end count [consumer]]`
pub(super) fn xpending(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, name) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let range = Range::parse(&mut ctx.args)?;
    let now_ms = ctx.clock_ms();
    let found = typed(&mut ctx.db, key, Type::Stream)?;
    let stream = found.and_then(|entry| stream(entry.value()));
    let group = stream.and_then(|stream| stream.groups().get(name));
    let group = group.ok_or_else(|| no_key_or_group(key, name))?;
    match range {
        None => summary(ctx.out, group),
        Some(range) => list(ctx.out, group, &range, now_ms),
    }
    Ok(Next::Done)
}

/// How many there are, the first and the last one, and how many each consumer has.
fn summary(out: &mut ReplyWriter, group: &Group) {
    let mut all = group.pending_range(StreamId::MIN, StreamId::MAX);
    let first = all.next();
    let last = all.next_back().or(first);
    drop(all);
    out.array(4);
    out.integer(group.pending_len() as i64);
    let Some((first, last)) = first.zip(last) else {
        out.null();
        out.null();
        out.null_array();
        return;
    };
    reply_id(out, first.0);
    reply_id(out, last.0);
    let busy = group.consumers().filter(|(_, it)| it.pending_len() > 0);
    let list = out.deferred_array();
    let mut count = 0;
    for (_, consumer) in busy {
        out.array(2);
        out.bulk(&consumer.name);
        out.bulk_int(consumer.pending_len() as i64);
        count += 1;
    }
    out.set_deferred(list, count);
}

/// The pending entries of a range.
fn list(out: &mut ReplyWriter, group: &Group, range: &Range<'_>, now_ms: u64) {
    let Range { start, end, .. } = *range;
    match range.consumer.map(|name| group.consumer_id(name)) {
        None => list_all(out, group, range, now_ms, group.pending_range(start, end)),
        Some(Some(consumer)) => list_all(
            out,
            group,
            range,
            now_ms,
            group.pending_range_of(consumer, start, end),
        ),
        Some(None) => out.array(0),
    }
}

fn list_all(
    out: &mut ReplyWriter,
    group: &Group,
    range: &Range<'_>,
    now_ms: u64,
    all: impl Iterator<Item = (StreamId, Pending)>,
) {
    let since_ms = |pending: &Pending| idle_ms(pending, now_ms);
    let is_wanted = |(_, pending): &(StreamId, Pending)| {
        range.min_idle_ms == 0 || since_ms(pending) >= range.min_idle_ms
    };
    let list = out.deferred_array();
    let mut count = 0;
    for (id, pending) in all.filter(is_wanted).take(range.count) {
        out.array(4);
        reply_id(out, id);
        out.bulk(&group.consumer(pending.consumer).name);
        out.integer(since_ms(&pending).max(0));
        out.integer(pending.deliveries as i64);
        count += 1;
    }
    out.set_deferred(list, count);
}
