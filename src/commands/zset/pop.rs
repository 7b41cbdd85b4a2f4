//! ZPOPMIN, ZPOPMAX, ZMPOP and their blocking forms.

use super::{Members, is, reply};
use crate::commands::{Block, BlockOn, CmdResult, Ctx, Next, timeout, typed_mut};
use crate::db::KeyMut;
use crate::db::notice::EventClass;
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::{Args, CmdError};
use crate::value::zset::ZsetMut;
use crate::value::{Limits, Type};

/// From which end members are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    /// The event of members' being taken there.
    fn popped(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }
}

/// Removes up to `count` members from an end and answers them.
fn pop(mut found: KeyMut<'_>, end: End, count: usize, limits: &Limits, mut reply: Members<'_>) {
    let mut zset = ZsetMut::new(found.slot_mut(), limits);
    let view = zset.view();
    let len = view.len();
    let count = count.min(len);
    reply.begin(count);
    let (members, ranks) = match end {
        End::Min => (view.range(0, count), 0..count),
        End::Max => (view.range_back(len - 1, count), len - count..len),
    };
    for (member, score) in members {
        reply.push(member, score);
    }
    zset.remove_range(ranks);
    found.add_changes(count as u64);
    found.notify(EventClass::ZSET, end.popped());
}

/// Removes the member at an end and answers it behind the name of its key.
fn pop_one(mut found: KeyMut<'_>, end: End, limits: &Limits, key: &[u8], out: &mut ReplyWriter) {
    let mut zset = ZsetMut::new(found.slot_mut(), limits);
    let rank = match end {
        End::Min => 0,
        End::Max => zset.view().len() - 1,
    };
    out.array(3);
    out.bulk(key);
    for (member, score) in zset.view().range(rank, 1) {
        reply(out, member);
        out.double(score);
    }
    zset.remove_range(rank..rank + 1);
    found.add_changes(1);
    found.notify(EventClass::ZSET, end.popped());
}

/// `ZPOPMIN key [count]`
pub(super) fn zpopmin(ctx: &mut Ctx<'_>) -> CmdResult {
    pop_count(ctx, End::Min)
}

/// `ZPOPMAX key [count]`
pub(super) fn zpopmax(ctx: &mut Ctx<'_>) -> CmdResult {
    pop_count(ctx, End::Max)
}

fn pop_count(ctx: &mut Ctx<'_>, end: End) -> CmdResult {
    const NOT_POSITIVE: CmdError = CmdError::text("ERR value is out of range, must be positive");
    let key = ctx.args.bytes()?;
    if ctx.args.remaining() > 1 {
        return Err(CmdError::Syntax);
    }
    let count = match ctx.args.is_empty() {
        true => None,
        false => {
            let count = ctx.args.int().map_err(|_| NOT_POSITIVE)?;
            Some(usize::try_from(count).map_err(|_| NOT_POSITIVE)?)
        }
    };
    let limits = ctx.config.limits();
    let found = typed_mut(&mut ctx.db, key, Type::Zset)?;
    let Some(found) = found.filter(|_| count != Some(0)) else {
        ctx.out.array(0);
        return Ok(Next::Done);
    };
    let mut reply = Members::new(ctx.out, true);
    // Without a count the pair stands alone, in RESP3, too.
    reply.pairs &= count.is_some();
    pop(found, end, count.unwrap_or(1), &limits, reply);
    Ok(Next::Done)
}

/// The next argument as MIN or MAX.
fn end(arg: &[u8]) -> Result<End, CmdError> {
    if is(arg, "MIN") {
        Ok(End::Min)
    } else if is(arg, "MAX") {
        Ok(End::Max)
    } else {
        Err(CmdError::Syntax)
    }
}

/// `ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]`
pub(super) fn zmpop(ctx: &mut Ctx<'_>) -> CmdResult {
    if FirstOf::parse(&mut ctx.args)?.pop(ctx)?.is_none() {
        ctx.out.null_array();
    }
    Ok(Next::Done)
}

/// `BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count]`
pub(super) fn bzmpop(ctx: &mut Ctx<'_>) -> CmdResult {
    let seconds = ctx.args.bytes()?;
    // Valkey looks at the timeout last.
    let from = FirstOf::parse(&mut ctx.args)?;
    let deadline_ms = timeout::deadline_ms(ctx, seconds)?;
    match from.pop(ctx)? {
        Some(key) => {
            ctx.db.count_again(key);
            Ok(Next::Done)
        }
        None => block(ctx, deadline_ms),
    }
}

/// What ZMPOP is asked for: members of the first of some keys that has any.
struct FirstOf<'a> {
    keys: Argv<'a>,
    end: End,
    count: usize,
}

impl<'a> FirstOf<'a> {
    fn parse(args: &mut Args<'a>) -> Result<FirstOf<'a>, CmdError> {
        const NO_KEYS: CmdError = CmdError::text("ERR numkeys should be greater than 0");
        const NO_COUNT: CmdError = CmdError::text("ERR count should be greater than 0");
        let positive = |text: Result<i64, CmdError>, otherwise: CmdError| match text {
            Ok(number @ 1..) => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
            _ => Err(otherwise),
        };
        let numkeys = positive(args.int(), NO_KEYS)?;
        let keys = args.many(numkeys)?;
        let end = end(args.bytes()?)?;
        let mut count = None;
        while let Some(option) = args.option() {
            if count.is_some() || !is(option, "COUNT") || args.is_empty() {
                return Err(CmdError::Syntax);
            }
            count = Some(positive(args.int(), NO_COUNT)?);
        }
        let count = count.unwrap_or(1);
        Ok(FirstOf { keys, end, count })
    }

    /// Pops, and says of which key; `None` if no key has members.
    fn pop(self, ctx: &mut Ctx<'_>) -> Result<Option<&'a [u8]>, CmdError> {
        let limits = ctx.config.limits();
        let before = ctx.db.effects.changes;
        for key in self.keys.iter() {
            let Some(found) = typed_mut(&mut ctx.db, key, Type::Zset)? else {
                continue;
            };
            ctx.out.array(2);
            ctx.out.bulk(key);
            let mut reply = Members::new(ctx.out, true);
            reply.pairs = true;
            pop(found, self.end, self.count, &limits, reply);
            if ctx.db.is_logged() {
                let taken = ctx.db.effects.changes - before;
                log_pop(ctx, self.end, key, Some(taken));
            }
            return Ok(Some(key));
        }
        Ok(None)
    }
}

/// `BZPOPMIN key [key ...] timeout`
pub(super) fn bzpopmin(ctx: &mut Ctx<'_>) -> CmdResult {
    blocking_pop(ctx, End::Min)
}

/// `BZPOPMAX key [key ...] timeout`
pub(super) fn bzpopmax(ctx: &mut Ctx<'_>) -> CmdResult {
    blocking_pop(ctx, End::Max)
}

fn blocking_pop(ctx: &mut Ctx<'_>, end: End) -> CmdResult {
    let keys: Argv<'_> = ctx.args.many(ctx.args.remaining().saturating_sub(1))?;
    let seconds = ctx.args.bytes()?;
    let deadline_ms = timeout::deadline_ms(ctx, seconds)?;
    let limits = ctx.config.limits();
    for key in keys.iter() {
        let Some(found) = typed_mut(&mut ctx.db, key, Type::Zset)? else {
            continue;
        };
        pop_one(found, end, &limits, key, ctx.out);
        ctx.db.count_again(key);
        log_pop(ctx, end, key, None);
        return Ok(Next::Done);
    }
    block(ctx, deadline_ms)
}

/// Has the log repeat a pop from the key that was found.
fn log_pop(ctx: &mut Ctx<'_>, end: End, key: &[u8], count: Option<u64>) {
    let name = match end {
        End::Min => &b"ZPOPMIN"[..],
        End::Max => b"ZPOPMAX",
    };
    match count {
        Some(count) => {
            let mut digits = itoa::Buffer::new();
            let count = digits.format(count).as_bytes();
            ctx.db.propagate_as([name, key, count]);
        }
        None => ctx.db.propagate_as([name, key]),
    }
}

/// Nothing was there: the client waits, or is answered so if it can not.
fn block(ctx: &mut Ctx<'_>, deadline_ms: Option<u64>) -> CmdResult {
    if !ctx.may_block {
        ctx.out.null_array();
        return Ok(Next::Done);
    }
    Ok(Next::Block(Block::new(
        Type::Zset,
        BlockOn::All,
        deadline_ms,
    )))
}
