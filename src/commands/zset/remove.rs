//! ZREM and the ZREMRANGEBY... commands.

use super::range::Bounds;
use crate::commands::{CmdResult, Ctx, Next, typed_mut};
use crate::db::notice::EventClass;
use crate::value::Type;
use crate::value::zset::ZsetMut;

/// `ZREM key member [member ...]`
pub(super) fn zrem(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let limits = ctx.config.limits();
    let mut removed = 0;
    if let Some(mut found) = typed_mut(&mut ctx.db, key, Type::Zset)? {
        let mut zset = ZsetMut::new(found.slot_mut(), &limits);
        for member in ctx.args.rest().iter() {
            removed += u64::from(zset.remove(member));
        }
        found.add_changes(removed);
        if removed > 0 {
            found.notify(EventClass::ZSET, "zrem");
        }
    }
    ctx.out.integer(removed as i64);
    Ok(Next::Done)
}

/// ZREMRANGEBYRANK key start stop
pub(super) fn zremrangebyrank(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, start, stop) = (ctx.args.bytes()?, ctx.args.bytes()?, ctx.args.bytes()?);
    let bounds = Bounds::ranks_of(start, stop)?;
    remove_range(ctx, key, &bounds, "zremrangebyrank")
}

/// ZREMRANGEBYSCORE key min max
pub(super) fn zremrangebyscore(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, min, max) = (ctx.args.bytes()?, ctx.args.bytes()?, ctx.args.bytes()?);
    let bounds = Bounds::scores_of(min, max)?;
    remove_range(ctx, key, &bounds, "zremrangebyscore")
}

/// ZREMRANGEBYLEX key min max
pub(super) fn zremrangebylex(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, min, max) = (ctx.args.bytes()?, ctx.args.bytes()?, ctx.args.bytes()?);
    let bounds = Bounds::members_of(min, max)?;
    remove_range(ctx, key, &bounds, "zremrangebylex")
}

fn remove_range(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    bounds: &Bounds<'_>,
    event: &'static str,
) -> CmdResult {
    let limits = ctx.config.limits();
    let mut removed = 0;
    if let Some(mut found) = typed_mut(&mut ctx.db, key, Type::Zset)? {
        let mut zset = ZsetMut::new(found.slot_mut(), &limits);
        let ranks = bounds.ranks(zset.view(), false);
        removed = ranks.len();
        zset.remove_range(ranks);
        found.add_changes(removed as u64);
        if removed > 0 {
            found.notify(EventClass::ZSET, event);
        }
    }
    ctx.out.integer(removed as i64);
    Ok(Next::Done)
}
