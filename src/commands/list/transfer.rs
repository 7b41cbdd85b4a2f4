//! Commands that move an element from one list to another, or to the other end of the same one.

use super::super::{BlockOn, CmdResult, Ctx, Next, timeout, typed_mut};
use super::change::pushed;
use super::pop::popped;
use super::{block, end_of_list};
use crate::db::KeyMut;
use crate::db::notice::EventClass;
use crate::resp::write::ReplyWriter;
use crate::spec::CmdError;
use crate::value::Type;
use crate::value::list::{self, Element, End, ListMut, ListRef};

/// Moves an element and answers it; false if the source is not there.
fn transfer(
    ctx: &mut Ctx<'_>,
    source: &[u8],
    destination: &[u8],
    from: End,
    to: End,
) -> Result<bool, CmdError> {
    let limits = ctx.config.limits();
    let out = &mut *ctx.out;
    let Some(mut found) = typed_mut(&mut ctx.db, source, Type::List)? else {
        return Ok(false);
    };
    if source == destination {
        let mut list = ListMut::new(found.slot_mut(), limits);
        list.rotate(from, to, |element| out.bulk(element));
        found.add_changes(1);
        found.notify(EventClass::LIST, pushed(to));
        found.notify(EventClass::LIST, popped(from));
        drop(found);
        ctx.db.count_again(source);
        return Ok(true);
    }
    let mut element = Element::new();
    ListRef::new(found.entry().value()).end_element(from, &mut element);
    drop(found);
    push(ctx, destination, to, &element)?;
    ctx.out.bulk(&element);
    let counting = ctx.db.set_counting(false);
    if let Some(mut found) = typed_mut(&mut ctx.db, source, Type::List)? {
        let mut list = ListMut::new(found.slot_mut(), limits);
        list.pop(from, 1, |_| {});
        found.add_changes(1);
        found.notify(EventClass::LIST, popped(from));
    }
    ctx.db.set_counting(counting);
    Ok(true)
}

/// Pushes what is moved; nothing has changed if that is an error. The change is counted at the source.
fn push(ctx: &mut Ctx<'_>, key: &[u8], end: End, element: &[u8]) -> Result<(), CmdError> {
    let (db, limits) = (&mut ctx.db, ctx.config.limits());
    let elements = std::iter::once(element);
    let tell = |mut found: KeyMut<'_>| {
        found.touch();
        found.notify(EventClass::LIST, pushed(end));
    };
    if let Some(mut found) = typed_mut(db, key, Type::List)? {
        ListMut::new(found.slot_mut(), limits).push(end, elements);
        tell(found);
        return Ok(());
    }
    list::with_new_value(end, elements, &limits, |enc, value| {
        tell(db.find_or_insert(key, Type::List, enc, value));
    });
    Ok(())
}

pub(super) fn lmove(ctx: &mut Ctx<'_>) -> CmdResult {
    let (source, destination) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let (from, to) = (end_of_list(&mut ctx.args)?, end_of_list(&mut ctx.args)?);
    if !transfer(ctx, source, destination, from, to)? {
        ctx.out.null();
    }
    Ok(Next::Done)
}

pub(super) fn rpoplpush(ctx: &mut Ctx<'_>) -> CmdResult {
    let (source, destination) = (ctx.args.bytes()?, ctx.args.bytes()?);
    if !transfer(ctx, source, destination, End::Tail, End::Head)? {
        ctx.out.null();
    }
    Ok(Next::Done)
}

pub(super) fn blmove(ctx: &mut Ctx<'_>) -> CmdResult {
    let (source, destination) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let (from, to) = (end_of_list(&mut ctx.args)?, end_of_list(&mut ctx.args)?);
    blocking_transfer(ctx, source, destination, from, to)
}

pub(super) fn brpoplpush(ctx: &mut Ctx<'_>) -> CmdResult {
    let (source, destination) = (ctx.args.bytes()?, ctx.args.bytes()?);
    blocking_transfer(ctx, source, destination, End::Tail, End::Head)
}

/// The timeout is the next argument.
fn blocking_transfer(
    ctx: &mut Ctx<'_>,
    source: &[u8],
    destination: &[u8],
    from: End,
    to: End,
) -> CmdResult {
    let seconds = ctx.args.bytes()?;
    let deadline_ms = timeout::deadline_ms(ctx, seconds)?;
    if transfer(ctx, source, destination, from, to)? {
        ctx.db.count_again(source);
        if ctx.db.is_logged() {
            // The same without the timeout.
            let argv = ctx.args.argv();
            let args = argv.iter().take(argv.len() - 1).skip(1);
            let plain = match ctx.command.row.name {
                "brpoplpush" => &b"RPOPLPUSH"[..],
                _ => b"LMOVE",
            };
            ctx.db.propagate_as(std::iter::once(plain).chain(args));
        }
        return Ok(Next::Done);
    }
    block(ctx, deadline_ms, BlockOn::First, ReplyWriter::null)
}
