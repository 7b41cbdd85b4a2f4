//! Commands that move an element from one list to another, or to the other end of the same one.

use super::super::{BlockOn, CmdResult, Ctx, Next, timeout, typed_mut};
use super::{block, end_of_list};
use crate::resp::write::ReplyWriter;
use crate::spec::CmdError;
use crate::value::Type;
use crate::value::list::{self, Element, End, ListMut};

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
        return Ok(true);
    }
    drop(found);
    // Both types are checked before anything changes.
    typed_mut(&mut ctx.db, destination, Type::List)?;

    let mut element = Element::new();
    if let Some(mut found) = typed_mut(&mut ctx.db, source, Type::List)? {
        let mut list = ListMut::new(found.slot_mut(), limits);
        list.pop_element(from, &mut element);
        list.shrink();
        found.add_changes(1);
    }
    out.bulk(&element);
    let elements = std::iter::once(&element[..]);
    if let Some(mut found) = typed_mut(&mut ctx.db, destination, Type::List)? {
        // The change was counted at the source.
        ListMut::new(found.slot_mut(), limits).push(to, elements);
        return Ok(true);
    }
    let db = &mut ctx.db;
    list::with_new_value(to, elements, &limits, |enc, value| {
        drop(db.find_or_insert(destination, Type::List, enc, value));
    });
    Ok(true)
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
