//! HGET, HMGET, HGETALL, HKEYS, HVALS, HLEN, HEXISTS, HSTRLEN: fields as they are.

use super::{edit, find, find_mut, note_expired, reply, reply_or_null, terms};
use crate::commands::{CmdResult, Ctx, Next};
use crate::resp::write::ReplyWriter;
use crate::value::hash::{HashRef, Pair};
use crate::value::string;

/// Expired fields that HLEN takes out before it counts.
const TAKE_EXPIRED_MAX: usize = 1024;

/// HGET key field
pub(super) fn hget(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, field) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let found = find(&mut ctx.db, key)?;
    reply_or_null(ctx.out, found.and_then(|hash| hash.get(field)));
    Ok(Next::Done)
}

/// `HMGET key field [field ...]`
pub(super) fn hmget(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let fields = ctx.args.rest();
    let found = find(&mut ctx.db, key)?;
    ctx.out.array(fields.len());
    for field in fields.iter() {
        reply_or_null(ctx.out, found.and_then(|hash| hash.get(field)));
    }
    Ok(Next::Done)
}

/// HGETALL key
pub(super) fn hgetall(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let out = &mut *ctx.out;
    match find(&mut ctx.db, key)? {
        None => out.map(0),
        Some(HashRef::Listpack(list)) => {
            out.map(list.len() / 2);
            list.iter()
                .for_each(|element| reply(out, crate::value::hash::stored(element)));
        }
        Some(hash) if hash.may_have_expired() => {
            let map = out.deferred_map();
            let len = reply_all(out, hash, both);
            out.set_deferred(map, len);
        }
        Some(hash) => {
            out.map(hash.len());
            reply_all(out, hash, both);
        }
    }
    Ok(Next::Done)
}

/// HKEYS key
pub(super) fn hkeys(ctx: &mut Ctx<'_>) -> CmdResult {
    array_of(ctx, |out, (field, _)| reply(out, field))
}

/// HVALS key
pub(super) fn hvals(ctx: &mut Ctx<'_>) -> CmdResult {
    array_of(ctx, |out, (_, value)| reply(out, value))
}

fn array_of(ctx: &mut Ctx<'_>, one: fn(&mut ReplyWriter, Pair<'_>)) -> CmdResult {
    let key = ctx.args.bytes()?;
    let out = &mut *ctx.out;
    match find(&mut ctx.db, key)? {
        None => out.array(0),
        Some(hash) if hash.may_have_expired() => {
            let array = out.deferred_array();
            let len = reply_all(out, hash, one);
            out.set_deferred(array, len);
        }
        Some(hash) => {
            out.array(hash.len());
            reply_all(out, hash, one);
        }
    }
    Ok(Next::Done)
}

fn both(out: &mut ReplyWriter, (field, value): Pair<'_>) {
    reply(out, field);
    reply(out, value);
}

/// Answers all fields; how many there were.
#[inline]
fn reply_all(
    out: &mut ReplyWriter,
    hash: HashRef<'_>,
    one: impl Fn(&mut ReplyWriter, Pair<'_>),
) -> usize {
    let mut len = 0;
    for pair in hash.iter() {
        one(out, pair);
        len += 1;
    }
    len
}

/// HLEN key
pub(super) fn hlen(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let found = find(&mut ctx.db, key)?;
    let len = match found {
        Some(hash) if hash.may_have_expired() => len_without_expired(ctx, key)?,
        Some(hash) => hash.len(),
        None => 0,
    };
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}

/// Counts what is left when the expired fields are gone. They would be taken out at this moment
/// anyway; to go through a large hash for the sake of a few of them would cost more. While what has
/// expired is left alone they stay.
#[cold]
fn len_without_expired(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<usize, crate::spec::CmdError> {
    let terms = terms(ctx);
    let expire_clock = &ctx.db.keyspace().expire_clock;
    let most = match expire_clock.leaves_expired(terms.now_ms) {
        true => 0,
        false => TAKE_EXPIRED_MAX,
    };
    let Some(mut found) = find_mut(&mut ctx.db, key)? else {
        return Ok(0);
    };
    let mut hash = edit(&mut found, terms);
    let mut taken = Vec::new();
    hash.take_expired(most, |field| taken.push(field));
    let len = hash.view().len();
    note_expired(&mut found, taken.len() as u64);
    drop(found);
    if !taken.is_empty() {
        let fields = taken.iter().map(|field| field.view().key());
        let db = ctx.db.db();
        ctx.db.effects.log_expired_fields(db, key, fields);
    }
    Ok(len)
}

/// HEXISTS key field
pub(super) fn hexists(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, field) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let found = find(&mut ctx.db, key)?;
    let is_there = found.is_some_and(|hash| hash.contains(field));
    ctx.out.integer(is_there as i64);
    Ok(Next::Done)
}

/// HSTRLEN key field
pub(super) fn hstrlen(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, field) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let found = find(&mut ctx.db, key)?;
    let len = found
        .and_then(|hash| hash.get(field))
        .map_or(0, string::len);
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}
