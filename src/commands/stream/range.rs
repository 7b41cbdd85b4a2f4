//! Ranges of ids: XRANGE and XREVRANGE; and XLEN.

use super::{find, interval_end, interval_start, is, reply_entry};
use crate::commands::{CmdResult, Ctx, Next};
use crate::ds::stream::Entry;
use crate::resp::write::ReplyWriter;
use crate::spec::CmdError;

/// XLEN key
pub(super) fn xlen(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let len = find(&mut ctx.db, key)?.map_or(0, |stream| stream.entries().len());
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}

/// `XRANGE key start end [COUNT count]`
pub(super) fn xrange(ctx: &mut Ctx<'_>) -> CmdResult {
    range(ctx, false)
}

/// `XREVRANGE key end start [COUNT count]`
pub(super) fn xrevrange(ctx: &mut Ctx<'_>) -> CmdResult {
    range(ctx, true)
}

fn range(ctx: &mut Ctx<'_>, back: bool) -> CmdResult {
    let (key, one, other) = (ctx.args.bytes()?, ctx.args.bytes()?, ctx.args.bytes()?);
    let (start, end) = if back { (other, one) } else { (one, other) };
    let (start, end) = (interval_start(start)?, interval_end(end)?);
    let mut count = None;
    while let Some(option) = ctx.args.option() {
        if !is(option, "COUNT") || ctx.args.is_empty() {
            return Err(CmdError::Syntax);
        }
        count = Some(ctx.args.int()?.max(0));
    }
    let Some(stream) = find(&mut ctx.db, key)? else {
        ctx.out.array(0);
        return Ok(Next::Done);
    };
    let count = count.map_or(usize::MAX, |count| {
        usize::try_from(count).unwrap_or(usize::MAX)
    });
    match (count, back) {
        // Redis says so.
        (0, _) => ctx.out.null_array(),
        (_, false) => reply_entries(ctx.out, stream.entries().range(start, end).take(count)),
        (_, true) => reply_entries(ctx.out, stream.entries().range_back(start, end).take(count)),
    }
    Ok(Next::Done)
}

/// Answers entries.
pub(super) fn reply_entries<'s>(out: &mut ReplyWriter, entries: impl Iterator<Item = Entry<'s>>) {
    let all = out.deferred_array();
    let mut len = 0;
    for entry in entries {
        reply_entry(out, &entry);
        len += 1;
    }
    out.set_deferred(all, len);
}
