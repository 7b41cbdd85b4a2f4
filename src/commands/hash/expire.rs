//! The expiry of fields: HEXPIRE and its kin, HTTL and its kin, HPERSIST.
//!
//! One reply per field: -2 for a field that is not there; of a write 0 for a condition that is not
//! met, 1 for an expiry that is set, 2 for a field that is deleted because the time has passed; of
//! a read -1 for a field without expiry.

use super::ex::time_to_come;
use super::{
    BAD_NUMFIELDS, before_fields, counted, drop_expired, edit, fields, find, find_mut,
    note_expired, terms,
};
use crate::commands::expire::{Condition, Since, Unit, told};
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::notice::EventClass;
use crate::spec::CmdError;

/// The field is not there.
const NO_FIELD: i64 = -2;
/// The field has no expiry.
const NO_EXPIRY: i64 = -1;
/// The condition is not met.
const NOT_MET: i64 = 0;
/// It is done.
const DONE: i64 = 1;
/// The field is deleted.
const DELETED: i64 = 2;

/// `HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]`
pub(super) fn hexpire(ctx: &mut Ctx<'_>) -> CmdResult {
    set_expiry(ctx, Unit::Seconds, Since::Now)
}

/// `HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]`
pub(super) fn hpexpire(ctx: &mut Ctx<'_>) -> CmdResult {
    set_expiry(ctx, Unit::Millis, Since::Now)
}

/// `HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]`
pub(super) fn hexpireat(ctx: &mut Ctx<'_>) -> CmdResult {
    set_expiry(ctx, Unit::Seconds, Since::Epoch)
}

/// `HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]`
pub(super) fn hpexpireat(ctx: &mut Ctx<'_>) -> CmdResult {
    set_expiry(ctx, Unit::Millis, Since::Epoch)
}

fn set_expiry(ctx: &mut Ctx<'_>, unit: Unit, since: Since) -> CmdResult {
    let (key, time) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let condition = Condition::parse(&mut before_fields(&mut ctx.args)?)?;
    let fields = counted(&mut ctx.args, 1, BAD_NUMFIELDS)?;
    let at_ms = time_to_come(ctx, time, unit, since)?;
    drop_expired(ctx, key, fields.iter())?;
    // No expiry is later than that.
    let wanted = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let terms = terms(ctx);
    let mut found = find_mut(&mut ctx.db, key)?;
    let mut hash = found.as_mut().map(|found| edit(found, terms));
    let mut changes = 0;
    let mut deleted = Vec::new();
    ctx.out.array(fields.len());
    for field in fields.iter() {
        let place = hash.as_ref().map(|hash| hash.find(field));
        let outcome = match (&mut hash, place) {
            (Some(hash), Some(place)) => match hash.expire_at_ms(place) {
                None => NO_FIELD,
                Some(current_ms) if !condition.allows(current_ms, wanted) => NOT_MET,
                Some(_) if at_ms <= terms.now_ms => {
                    hash.delete_at(place);
                    deleted.push(field);
                    DELETED
                }
                Some(_) => {
                    hash.set_expire(field, Some(at_ms));
                    DONE
                }
            },
            _ => NO_FIELD,
        };
        changes += u64::from(outcome > NOT_MET);
        ctx.out.integer(outcome);
    }
    if let Some(found) = &mut found
        && changes > 0
    {
        found.add_changes(changes);
        match deleted.is_empty() {
            true => found.notify(EventClass::HASH, "hexpire"),
            false => note_expired(found, changes),
        }
    }
    drop(found);
    if changes > 0 && ctx.db.is_logged() {
        let is_absolute = (unit, since) == (Unit::Millis, Since::Epoch);
        log_expiry(ctx, key, at_ms, is_absolute, &deleted);
    }
    Ok(Next::Done)
}

/// Has the log repeat the request with an absolute time, or what it has deleted.
fn log_expiry(ctx: &mut Ctx<'_>, key: &[u8], at_ms: u64, is_absolute: bool, deleted: &[&[u8]]) {
    if !deleted.is_empty() {
        log_deleted(ctx, key, deleted);
    } else if !is_absolute {
        let argv = ctx.args.argv();
        let mut digits = itoa::Buffer::new();
        let head = [&b"HPEXPIREAT"[..], key, digits.format(at_ms).as_bytes()];
        ctx.db
            .propagate_as(head.into_iter().chain(argv.iter().skip(3)));
    }
}

/// Has the log delete fields.
pub(super) fn log_deleted(ctx: &mut Ctx<'_>, key: &[u8], fields: &[&[u8]]) {
    let head = [&b"HDEL"[..], key];
    ctx.db
        .propagate_as(head.into_iter().chain(fields.iter().copied()));
}

/// `HPERSIST key FIELDS numfields field [field ...]`
pub(super) fn hpersist(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let fields = fields(&mut ctx.args, BAD_NUMFIELDS)?;
    drop_expired(ctx, key, fields.iter())?;
    let terms = terms(ctx);
    let mut found = find_mut(&mut ctx.db, key)?;
    let mut hash = found.as_mut().map(|found| edit(found, terms));
    let mut changes = 0;
    ctx.out.array(fields.len());
    for field in fields.iter() {
        let current = hash
            .as_ref()
            .and_then(|hash| hash.view().expire_at_ms(field));
        let outcome = match (&mut hash, current) {
            (Some(hash), Some(Some(_))) => {
                hash.set_expire(field, None);
                changes += 1;
                DONE
            }
            (_, Some(_)) => NO_EXPIRY,
            (_, None) => NO_FIELD,
        };
        ctx.out.integer(outcome);
    }
    if let Some(found) = &mut found
        && changes > 0
    {
        found.add_changes(changes);
        found.notify(EventClass::HASH, "hpersist");
    }
    Ok(Next::Done)
}

/// `HTTL key FIELDS numfields field [field ...]`
pub(super) fn httl(ctx: &mut Ctx<'_>) -> CmdResult {
    tell_expiry(ctx, Unit::Seconds, Since::Now)
}

/// `HPTTL key FIELDS numfields field [field ...]`
pub(super) fn hpttl(ctx: &mut Ctx<'_>) -> CmdResult {
    tell_expiry(ctx, Unit::Millis, Since::Now)
}

/// `HEXPIRETIME key FIELDS numfields field [field ...]`
pub(super) fn hexpiretime(ctx: &mut Ctx<'_>) -> CmdResult {
    tell_expiry(ctx, Unit::Seconds, Since::Epoch)
}

/// `HPEXPIRETIME key FIELDS numfields field [field ...]`
pub(super) fn hpexpiretime(ctx: &mut Ctx<'_>) -> CmdResult {
    tell_expiry(ctx, Unit::Millis, Since::Epoch)
}

fn tell_expiry(ctx: &mut Ctx<'_>, unit: Unit, since: Since) -> CmdResult {
    let key = ctx.args.bytes()?;
    let fields = fields(&mut ctx.args, CmdError::Syntax)?;
    let now_ms = ctx.clock_ms();
    let found = find(&mut ctx.db, key)?;
    ctx.out.array(fields.len());
    for field in fields.iter() {
        let outcome = match found.and_then(|hash| hash.expire_at_ms(field)) {
            None => NO_FIELD,
            Some(None) => NO_EXPIRY,
            Some(Some(at_ms)) => told(at_ms, unit, since, now_ms),
        };
        ctx.out.integer(outcome);
    }
    Ok(Next::Done)
}
