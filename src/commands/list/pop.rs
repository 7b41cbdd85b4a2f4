//! Commands that take elements out of one list, or out of the first of several that is there.

use super::super::{BlockOn, CmdResult, Ctx, Next, timeout, typed_mut};
use super::{block, end_of_list, reply};
use crate::db::notice::EventClass;
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::{Args, CmdError};
use crate::value::Type;
use crate::value::list::{End, ListMut, ListRef};

/// What is answered of the elements that are taken.
#[derive(Clone, Copy)]
enum Form {
    /// The one element.
    Element,
    /// An array of all.
    Array,
    /// The key and the one element.
    KeyAndElement,
    /// The key and an array of all.
    KeyAndArray,
}

impl Form {
    fn begin(self, out: &mut ReplyWriter, key: &[u8], count: usize) {
        if matches!(self, Form::KeyAndElement | Form::KeyAndArray) {
            out.array(2);
            out.bulk(key);
        }
        if matches!(self, Form::Array | Form::KeyAndArray) {
            out.array(count);
        }
    }
}

/// The event of a pop at an end.
pub(super) fn popped(end: End) -> &'static str {
    match end {
        End::Head => "lpop",
        End::Tail => "rpop",
    }
}

/// Takes up to `count` elements (at least 1) out of the list of a key and answers them; false if
/// the key is not there.
#[inline]
fn take(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    end: End,
    count: usize,
    form: Form,
) -> Result<bool, CmdError> {
    let limits = ctx.config.limits();
    let out = &mut *ctx.out;
    let Some(mut found) = typed_mut(&mut ctx.db, key, Type::List)? else {
        return Ok(false);
    };
    let list = ListRef::new(found.entry().value());
    let len = list.len();
    let count = count.min(len);
    form.begin(out, key, count);
    if count < len {
        ListMut::new(found.slot_mut(), limits).pop(end, count, |value| reply(out, value));
        found.add_changes(count as u64);
        found.notify(EventClass::LIST, popped(end));
        return Ok(true);
    }
    let towards = match end {
        End::Head => End::Tail,
        End::Tail => End::Head,
    };
    list.walk_range(0..len, towards, |value| reply(out, value));
    found.notify(EventClass::LIST, popped(end));
    drop(found);
    // One change is the key's, the others are those of its elements.
    ctx.db.remove(key);
    ctx.db.effects.changes += count as u64 - 1;
    Ok(true)
}

/// Takes elements out of the first of the lists that is there; false if none is.
fn take_first(
    ctx: &mut Ctx<'_>,
    keys: Argv<'_>,
    end: End,
    count: usize,
    form: Form,
) -> Result<bool, CmdError> {
    for key in keys.iter() {
        let before = ctx.db.effects.changes;
        if take(ctx, key, end, count, form)? {
            if ctx.db.is_logged() {
                let taken = ctx.db.effects.changes - before;
                log_pop(ctx, key, end, form, taken);
            }
            return Ok(true);
        }
    }
    Ok(false)
}

/// Has the log repeat a pop from the list that was found.
fn log_pop(ctx: &mut Ctx<'_>, key: &[u8], end: End, form: Form, taken: u64) {
    let name = match end {
        End::Head => &b"LPOP"[..],
        End::Tail => b"RPOP",
    };
    match form {
        Form::KeyAndArray => {
            let mut digits = itoa::Buffer::new();
            let count = digits.format(taken).as_bytes();
            ctx.db.propagate_as([name, key, count]);
        }
        _ => ctx.db.propagate_as([name, key]),
    }
}

pub(super) fn lpop(ctx: &mut Ctx<'_>) -> CmdResult {
    pop(ctx, End::Head)
}

pub(super) fn rpop(ctx: &mut Ctx<'_>) -> CmdResult {
    pop(ctx, End::Tail)
}

fn pop(ctx: &mut Ctx<'_>, end: End) -> CmdResult {
    const NOT_POSITIVE: CmdError = CmdError::text("ERR value is out of range, must be positive");
    let key = ctx.args.bytes()?;
    if ctx.args.is_empty() {
        if !take(ctx, key, end, 1, Form::Element)? {
            ctx.out.null();
        }
        return Ok(Next::Done);
    }
    if ctx.args.remaining() > 1 {
        return Err(CmdError::WrongArity(ctx.command.full_name.clone().into()));
    }
    let count = match ctx.args.int() {
        Ok(count @ 0..) => count as usize,
        _ => return Err(NOT_POSITIVE),
    };
    if count == 0 {
        // The key is looked at all the same.
        match typed_mut(&mut ctx.db, key, Type::List)?.is_some() {
            true => ctx.out.array(0),
            false => ctx.out.null_array(),
        }
    } else if !take(ctx, key, end, count, Form::Array)? {
        ctx.out.null_array();
    }
    Ok(Next::Done)
}

/// What LMPOP and BLMPOP say.
struct Several<'a> {
    keys: Argv<'a>,
    end: End,
    count: usize,
}

impl<'a> Several<'a> {
    fn parse(args: &mut Args<'a>) -> Result<Several<'a>, CmdError> {
        const NUMKEYS: CmdError = CmdError::text("ERR numkeys should be greater than 0");
        const COUNT: CmdError = CmdError::text("ERR count should be greater than 0");
        let positive = |args: &mut Args<'_>, error: CmdError| match args.int() {
            Ok(number @ 1..) => Ok(number as usize),
            _ => Err(error),
        };
        let numkeys = positive(args, NUMKEYS)?;
        let keys = args.many(numkeys)?;
        let end = end_of_list(args)?;
        let count = match args.take("COUNT") {
            true if args.is_empty() => return Err(CmdError::Syntax),
            true => positive(args, COUNT)?,
            false => 1,
        };
        args.finish()?;
        Ok(Several { keys, end, count })
    }
}

pub(super) fn lmpop(ctx: &mut Ctx<'_>) -> CmdResult {
    let Several { keys, end, count } = Several::parse(&mut ctx.args)?;
    if !take_first(ctx, keys, end, count, Form::KeyAndArray)? {
        ctx.out.null_array();
    }
    Ok(Next::Done)
}

pub(super) fn blmpop(ctx: &mut Ctx<'_>) -> CmdResult {
    let seconds = ctx.args.bytes()?;
    let Several { keys, end, count } = Several::parse(&mut ctx.args)?;
    let deadline_ms = timeout::deadline_ms(ctx, seconds)?;
    if take_first(ctx, keys, end, count, Form::KeyAndArray)? {
        return Ok(Next::Done);
    }
    block(ctx, deadline_ms, BlockOn::All, ReplyWriter::null_array)
}

pub(super) fn blpop(ctx: &mut Ctx<'_>) -> CmdResult {
    blocking_pop(ctx, End::Head)
}

pub(super) fn brpop(ctx: &mut Ctx<'_>) -> CmdResult {
    blocking_pop(ctx, End::Tail)
}

fn blocking_pop(ctx: &mut Ctx<'_>, end: End) -> CmdResult {
    let keys = ctx.args.many(ctx.args.remaining().saturating_sub(1))?;
    let seconds = ctx.args.bytes()?;
    let deadline_ms = timeout::deadline_ms(ctx, seconds)?;
    if take_first(ctx, keys, end, 1, Form::KeyAndElement)? {
        return Ok(Next::Done);
    }
    block(ctx, deadline_ms, BlockOn::All, ReplyWriter::null_array)
}
