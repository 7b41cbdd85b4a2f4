//! The expiry of fields: HEXPIRE and its kin, HTTL and its kin, HPERSIST.
//!
//! One reply per field: -2 for a field that is not there; of a write 0 for a condition that is not
//! met, 1 for an expiry that is set, 2 for a field that is deleted because the time has passed; of
//! a read -1 for a field without expiry.

use smallvec::SmallVec;

use super::ex::time_to_come;
use super::{
    BAD_NUMFIELDS, before_fields, counted, edit, fields, find, find_mut, note_expired, terms,
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
    // No expiry is later than that.
    let wanted = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let terms = terms(ctx);
    let mut found = find_mut(&mut ctx.db, key)?;
    let mut hash = found.as_mut().map(|found| edit(found, terms));
    let mut changed: SmallVec<[&[u8]; 8]> = SmallVec::new();
    let mut has_expired = false;
    ctx.out.array(fields.len());
    for field in fields.iter() {
        let place = hash.as_ref().map(|hash| hash.find(field));
        let outcome = match (&mut hash, place) {
            (Some(hash), Some(place)) => match hash.expire_at_ms(place) {
                None => {
                    has_expired |= hash.has_expired(place);
                    NO_FIELD
                }
                Some(current_ms) if !condition.allows(current_ms, wanted) => NOT_MET,
                Some(_) if at_ms <= terms.now_ms => {
                    hash.delete_at(place);
                    DELETED
                }
                Some(_) => {
                    hash.set_expire(field, Some(at_ms));
                    DONE
                }
            },
            _ => NO_FIELD,
        };
        if outcome > NOT_MET {
            changed.push(field);
        }
        ctx.out.integer(outcome);
    }
    let changes = changed.len() as u64;
    let are_deleted = at_ms <= terms.now_ms;
    if let Some(found) = &mut found
        && changes > 0
    {
        found.add_changes(changes);
        match are_deleted {
            true => note_expired(found, changes),
            false => found.notify(EventClass::HASH, "hexpire"),
        }
    }
    drop(found);
    if changes > 0 && ctx.db.is_logged() {
        let is_absolute = (unit, since) == (Unit::Millis, Since::Epoch);
        match has_expired || are_deleted {
            true => log_changed(ctx, key, Some(at_ms), &changed),
            false if is_absolute => {}
            false => log_absolute(ctx, key, at_ms),
        }
    }
    Ok(Next::Done)
}

/// Has the log repeat the request with an absolute time.
fn log_absolute(ctx: &mut Ctx<'_>, key: &[u8], at_ms: u64) {
    let argv = ctx.args.argv();
    let mut digits = itoa::Buffer::new();
    let head = [&b"HPEXPIREAT"[..], key, digits.format(at_ms).as_bytes()];
    ctx.db
        .propagate_as(head.into_iter().chain(argv.iter().skip(3)));
}

/// Has the log change the expiry of fields, or delete them if the time has passed.
pub(super) fn log_changed(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    expire_at_ms: Option<u64>,
    fields: &[&[u8]],
) {
    let (mut digits, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let count = [&b"FIELDS"[..], count.format(fields.len()).as_bytes()];
    let words = count.into_iter().chain(fields.iter().copied());
    match expire_at_ms {
        Some(at_ms) if at_ms <= ctx.now_ms() => log_deleted(ctx, key, fields),
        Some(at_ms) => {
            let head = [&b"HPEXPIREAT"[..], key, digits.format(at_ms).as_bytes()];
            ctx.db.propagate_as(head.into_iter().chain(words));
        }
        None => {
            let head = [&b"HPERSIST"[..], key];
            ctx.db.propagate_as(head.into_iter().chain(words));
        }
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
    let terms = terms(ctx);
    let mut found = find_mut(&mut ctx.db, key)?;
    let mut hash = found.as_mut().map(|found| edit(found, terms));
    let mut changed: SmallVec<[&[u8]; 8]> = SmallVec::new();
    let mut has_expired = false;
    ctx.out.array(fields.len());
    for field in fields.iter() {
        let place = hash.as_ref().map(|hash| hash.find(field));
        let outcome = match (&mut hash, place) {
            (Some(hash), Some(place)) => match hash.expire_at_ms(place) {
                Some(Some(_)) => {
                    hash.set_expire(field, None);
                    changed.push(field);
                    DONE
                }
                Some(None) => NO_EXPIRY,
                None => {
                    has_expired |= hash.has_expired(place);
                    NO_FIELD
                }
            },
            _ => NO_FIELD,
        };
        ctx.out.integer(outcome);
    }
    if let Some(found) = &mut found
        && !changed.is_empty()
    {
        found.add_changes(changed.len() as u64);
        found.notify(EventClass::HASH, "hpersist");
    }
    drop(found);
    if has_expired && !changed.is_empty() && ctx.db.is_logged() {
        log_changed(ctx, key, None, &changed);
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
