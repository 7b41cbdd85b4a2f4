//! Commands that change one list: pushes, LSET, LINSERT, LREM, LTRIM.

use super::super::{CmdResult, Ctx, Next, typed_mut};
use super::negatable;
use crate::db::notice::EventClass;
use crate::spec::CmdError;
use crate::value::Type;
use crate::value::list::{self, End, ListMut};

pub(super) fn lpush(ctx: &mut Ctx<'_>) -> CmdResult {
    push(ctx, End::Head, true)
}

pub(super) fn rpush(ctx: &mut Ctx<'_>) -> CmdResult {
    push(ctx, End::Tail, true)
}

pub(super) fn lpushx(ctx: &mut Ctx<'_>) -> CmdResult {
    push(ctx, End::Head, false)
}

pub(super) fn rpushx(ctx: &mut Ctx<'_>) -> CmdResult {
    push(ctx, End::Tail, false)
}

/// The event of a push at an end.
pub(super) fn pushed(end: End) -> &'static str {
    match end {
        End::Head => "lpush",
        End::Tail => "rpush",
    }
}

fn push(ctx: &mut Ctx<'_>, end: End, creates: bool) -> CmdResult {
    let key = ctx.args.bytes()?;
    let elements = ctx.args.rest();
    let count = elements.len();
    let limits = ctx.config.limits();
    if let Some(mut found) = typed_mut(&mut ctx.db, key, Type::List)? {
        let len = ListMut::new(found.slot_mut(), limits).push(end, elements.iter());
        found.add_changes(count as u64);
        found.notify(EventClass::LIST, pushed(end));
        ctx.out.integer(len as i64);
        return Ok(Next::Done);
    }
    if !creates {
        ctx.out.integer(0);
        return Ok(Next::Done);
    }
    let db = &mut ctx.db;
    list::with_new_value(end, elements.iter(), &limits, |enc, value| {
        let mut created = db.find_or_insert(key, Type::List, enc, value);
        created.add_changes(count as u64);
        created.notify(EventClass::LIST, pushed(end));
    });
    ctx.out.integer(count as i64);
    Ok(Next::Done)
}

pub(super) fn lset(ctx: &mut Ctx<'_>) -> CmdResult {
    const OUT_OF_RANGE: CmdError = CmdError::text("ERR index out of range");
    let key = ctx.args.bytes()?;
    let limits = ctx.config.limits();
    let Some(mut found) = typed_mut(&mut ctx.db, key, Type::List)? else {
        return Err(CmdError::NoSuchKey);
    };
    // Redis checks a 64-bit number and uses the lower half of it.
    let index = i64::from(ctx.args.int()? as i32);
    let element = ctx.args.bytes()?;
    if !ListMut::new(found.slot_mut(), limits).set(index, element) {
        return Err(OUT_OF_RANGE);
    }
    found.add_changes(1);
    found.notify(EventClass::LIST, "lset");
    ctx.out.ok();
    Ok(Next::Done)
}

pub(super) fn linsert(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let after = if ctx.args.take("AFTER") {
        true
    } else if ctx.args.take("BEFORE") {
        false
    } else {
        return Err(CmdError::Syntax);
    };
    let (pivot, element) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let limits = ctx.config.limits();
    let Some(mut found) = typed_mut(&mut ctx.db, key, Type::List)? else {
        ctx.out.integer(0);
        return Ok(Next::Done);
    };
    let mut list = ListMut::new(found.slot_mut(), limits);
    if list.insert(pivot, after, element) {
        let len = list.view().len();
        found.add_changes(1);
        found.notify(EventClass::LIST, "linsert");
        ctx.out.integer(len as i64);
    } else {
        ctx.out.integer(-1);
    }
    Ok(Next::Done)
}

pub(super) fn lrem(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let (count, from) = match negatable(&mut ctx.args)? {
        0 => (usize::MAX, End::Head),
        count @ 1.. => (count as usize, End::Head),
        count => (count.unsigned_abs() as usize, End::Tail),
    };
    let element = ctx.args.bytes()?;
    let limits = ctx.config.limits();
    let mut removed = 0;
    if let Some(mut found) = typed_mut(&mut ctx.db, key, Type::List)? {
        removed = ListMut::new(found.slot_mut(), limits).remove_equal(element, count, from);
        found.add_changes(removed as u64);
        if removed > 0 {
            found.notify(EventClass::LIST, "lrem");
        }
    }
    ctx.out.integer(removed as i64);
    Ok(Next::Done)
}

pub(super) fn ltrim(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let (start, stop) = (ctx.args.int()?, ctx.args.int()?);
    let limits = ctx.config.limits();
    let mut all = 0;
    if let Some(mut found) = typed_mut(&mut ctx.db, key, Type::List)? {
        let mut list = ListMut::new(found.slot_mut(), limits);
        let len = list.view().len();
        let range = list::range(len, start, stop);
        match range.is_empty() {
            true => all = len,
            false => {
                let removed = len - range.len();
                list.keep(range);
                found.add_changes(removed as u64);
            }
        }
        // Also if nothing was removed.
        found.notify(EventClass::LIST, "ltrim");
    }
    if all > 0 {
        // One change is the key's, the others are those of its elements.
        ctx.db.remove(key);
        ctx.db.effects.changes += all as u64 - 1;
    }
    ctx.out.ok();
    Ok(Next::Done)
}
