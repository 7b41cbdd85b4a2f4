//! INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT: values as numbers.

use super::{STRING, encoding_for, string_value};
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::Expire;
use crate::db::notice::EventClass;
use crate::ds::entry::NewValue;
use crate::spec::CmdError;
use crate::util::long_double::LongDouble;
use crate::value::{Encoding, string};

pub(super) fn incr(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    add(ctx, key, 1)
}

pub(super) fn decr(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    add(ctx, key, -1)
}

pub(super) fn incrby(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let delta = ctx.args.int()?;
    add(ctx, key, delta)
}

pub(super) fn decrby(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let delta = ctx.args.int()?;
    let delta = delta.checked_neg().ok_or(CmdError::DecrOverflow)?;
    add(ctx, key, delta)
}

fn add(ctx: &mut Ctx<'_>, key: &[u8], delta: i64) -> CmdResult {
    if let Some(mut found) = ctx.db.find_mut(key) {
        let old = string::int(string_value(found.entry())?).ok_or(CmdError::NotInteger)?;
        let new = old.checked_add(delta).ok_or(CmdError::IncrOverflow)?;
        if !found.edit(|entry| entry.set_int(new)) {
            found.set_value(Encoding::Int as u8, NewValue::Int(new));
        }
        found.notify(EventClass::STRING, "incrby");
        ctx.out.integer(new);
    } else {
        let value = NewValue::Int(delta);
        ctx.db
            .set(key, STRING, Encoding::Int as u8, value, Expire::Never);
        ctx.db.notify(EventClass::STRING, "incrby", key);
        ctx.out.integer(delta);
    }
    Ok(Next::Done)
}

pub(super) fn incrbyfloat(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let old = match ctx.db.find_mut(key) {
        Some(found) => string::float(string_value(found.entry())?).ok_or(CmdError::NotFloat)?,
        None => LongDouble::from(0),
    };
    let delta = LongDouble::parse(ctx.args.bytes()?).ok_or(CmdError::NotFloat)?;
    let new = old + delta;
    if new.is_nan() || new.is_infinite() {
        return Err(CmdError::IncrNanOrInfinity);
    }
    // Stored as the text that it is answered as, even when that is an integer's.
    let text = new.to_redis_string();
    let enc = encoding_for(&mut ctx.db, key, text.len(), Expire::Keep);
    ctx.db.set_counting(false);
    ctx.db
        .set(key, STRING, enc as u8, NewValue::Bytes(&text), Expire::Keep);
    ctx.db.notify(EventClass::STRING, "incrbyfloat", key);
    ctx.db.propagate_as([&b"SET"[..], key, &text, b"KEEPTTL"]);
    ctx.out.bulk(&text);
    Ok(Next::Done)
}
