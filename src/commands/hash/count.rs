//! HINCRBY and HINCRBYFLOAT: values as numbers. A field keeps its expiry.

use super::{edit, find_mut, note_expired, terms};
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::notice::EventClass;
use crate::ds::entry::ValueRef;
use crate::ds::listpack::Value;
use crate::spec::CmdError;
use crate::util::long_double::LongDouble;
use crate::value::Type;
use crate::value::hash::{Draft, HashMut, Terms, Ttl};
use crate::value::string;

const NOT_INTEGER: CmdError = CmdError::text("ERR hash value is not an integer");
const NOT_FLOAT: CmdError = CmdError::text("ERR hash value is not a float");
const NAN_OR_INFINITY: CmdError = CmdError::text("ERR value is NaN or Infinity");

/// HINCRBY key field increment
pub(super) fn hincrby(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, field) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let delta = ctx.args.int()?;
    let terms = terms(ctx);
    let mut had_expired = false;
    let sum = if let Some(mut found) = find_mut(&mut ctx.db, key)? {
        let mut hash = edit(&mut found, terms);
        let place = hash.find(field);
        let old = match hash.get(place) {
            Some(value) => string::int(value).ok_or(NOT_INTEGER)?,
            None => 0,
        };
        let sum = old.checked_add(delta).ok_or(CmdError::IncrOverflow)?;
        hash.set_at(place, field, Value::Int(sum), Ttl::Keep);
        let expired = hash.expired();
        found.add_changes(1);
        note_expired(&mut found, expired);
        found.notify(EventClass::HASH, "hincrby");
        had_expired = expired > 0;
        sum
    } else {
        create(ctx, key, field, Value::Int(delta), terms, "hincrby");
        delta
    };
    if had_expired && ctx.db.is_logged() {
        let mut digits = itoa::Buffer::new();
        let sum = digits.format(sum).as_bytes();
        ctx.db.propagate_as([&b"HSET"[..], key, field, sum]);
    }
    ctx.out.integer(sum);
    Ok(Next::Done)
}

/// HINCRBYFLOAT key field increment
pub(super) fn hincrbyfloat(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, field) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let delta = LongDouble::parse(ctx.args.bytes()?).ok_or(CmdError::NotFloat)?;
    if delta.is_nan() || delta.is_infinite() {
        return Err(NAN_OR_INFINITY);
    }
    let terms = terms(ctx);
    let mut expire_at_ms = None;
    let text = if let Some(mut found) = find_mut(&mut ctx.db, key)? {
        let mut hash = edit(&mut found, terms);
        let place = hash.find(field);
        let text = sum_text(hash.get(place), delta)?;
        expire_at_ms = hash.expire_at_ms(place).flatten();
        hash.set_at(place, field, Value::from(&text[..]), Ttl::Keep);
        let expired = hash.expired();
        found.add_changes(1);
        note_expired(&mut found, expired);
        found.notify(EventClass::HASH, "hincrbyfloat");
        text
    } else {
        let text = sum_text(None, delta)?;
        let value = Value::from(&text[..]);
        create(ctx, key, field, value, terms, "hincrbyfloat");
        text
    };
    match expire_at_ms {
        None => ctx.db.propagate_as([&b"HSET"[..], key, field, &text]),
        Some(at_ms) => {
            let mut digits = itoa::Buffer::new();
            let at = digits.format(at_ms).as_bytes();
            let head = [&b"HSETEX"[..], key, b"PXAT", at, b"FIELDS", b"1"];
            ctx.db.propagate_as(head.into_iter().chain([field, &text]));
        }
    }
    ctx.out.bulk(&text);
    Ok(Next::Done)
}

fn sum_text(old: Option<ValueRef<'_>>, delta: LongDouble) -> Result<Vec<u8>, CmdError> {
    let old = match old {
        Some(value) => string::float(value).ok_or(NOT_FLOAT)?,
        None => LongDouble::from(0),
    };
    let sum = old + delta;
    if sum.is_nan() || sum.is_infinite() {
        return Err(CmdError::IncrNanOrInfinity);
    }
    Ok(sum.to_redis_string())
}

/// A new hash with one field.
fn create(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    field: &[u8],
    value: Value<'_>,
    terms: Terms,
    event: &'static str,
) {
    let mut draft = HashMut::new(Draft::with_capacity(value.entry_len() + field.len()), terms);
    draft.set(field, value, Ttl::Never);
    let mut draft = draft.into_home();
    let (enc, value) = draft.value();
    let mut created = ctx.db.find_or_insert(key, Type::Hash, enc, value);
    created.add_changes(1);
    created.notify(EventClass::HASH, event);
}
