//! SPOP and SRANDMEMBER.
//!
//! A random selection is drawn while the set is walked, or, when it is much smaller than a table, by
//! drawing members until enough are different; the choice is `value::set`'s. SPOP takes few members
//! out where they are; when little is left, that becomes a new set, and the old one is freed in the
//! background.

use super::reply;
use crate::commands::{CmdResult, Ctx, Next, typed, typed_mut};
use crate::db::lazyfree::Cause;
use crate::db::notice::EventClass;
use crate::db::{Access, Expire, Lookup};
use crate::spec::CmdError;
use crate::spec::limits::RANDOM_REPLY_BYTES_MAX;
use crate::util::rng::Rng;
use crate::value::Type;
use crate::value::set::{Member, SetMut, SetRef};

const NOT_POSITIVE: CmdError = CmdError::text("ERR value is out of range, must be positive");
const OUT_OF_RANGE: CmdError = CmdError::text("ERR value is out of range");
const OUT_OF_BOTH_RANGES: CmdError = CmdError::text(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
);

/// Members that one command of the log removes.
const LOGGED_AT_ONCE: usize = 1024;
/// Bytes of the shortest bulk string in a reply.
const BULK_BYTES_MIN: u64 = 6;

/// `SPOP key [count]`
pub(super) fn spop(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    if !ctx.args.is_empty() {
        return spop_count(ctx, key);
    }
    let Ctx { db, out, .. } = ctx;
    let mut popped = Popped::new(db);
    match typed_mut(db, key, Type::Set)? {
        Some(mut key) => {
            let mut set = SetMut::of(key.slot_mut());
            set.pop(1, &mut Rng::from_os(), |member| {
                popped.push(member);
                reply(out, member);
            });
            key.add_changes(1);
            key.notify(EventClass::SET, "spop");
        }
        None => out.null(),
    }
    popped.log(db, key);
    Ok(Next::Done)
}

/// What was popped, for the log.
struct Popped {
    is_logged: bool,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Popped {
    fn new(db: &Access<'_>) -> Popped {
        Popped {
            is_logged: db.is_logged(),
            bytes: Vec::new(),
            ends: Vec::new(),
        }
    }

    #[inline]
    fn push(&mut self, member: Member<'_>) {
        if self.is_logged {
            let mut digits = itoa::Buffer::new();
            self.bytes.extend_from_slice(member.bytes(&mut digits));
            self.ends.push(self.bytes.len());
        }
    }

    /// Has the log remove the same members.
    fn log(&self, db: &mut Access<'_>, key: &[u8]) {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let members = starts
            .zip(&self.ends)
            .map(|(start, &end)| &self.bytes[start..end]);
        for first in (0..self.ends.len()).step_by(LOGGED_AT_ONCE) {
            let members = members.clone().skip(first).take(LOGGED_AT_ONCE);
            db.also_propagate([&b"SREM"[..], key].into_iter().chain(members));
        }
        if self.is_logged {
            db.effects.dont_propagate();
        }
    }
}

/// SPOP key count
fn spop_count(ctx: &mut Ctx<'_>, key: &[u8]) -> CmdResult {
    if ctx.args.remaining() > 1 {
        return Err(CmdError::Syntax);
    }
    let count = match ctx.args.int() {
        Ok(count @ 0..) => usize::try_from(count).unwrap_or(usize::MAX),
        _ => return Err(NOT_POSITIVE),
    };
    let Ctx { db, out, .. } = ctx;
    let found = typed_mut(db, key, Type::Set)?;
    let len = found.map_or(0, |found| SetRef::of(found.entry()).len());
    if count == 0 || len == 0 {
        out.set(0);
        return Ok(Next::Done);
    }
    let popped = count.min(len);
    db.set_counting(false);
    out.set(popped);
    if popped == len {
        // Valkey answers as SUNION would, which counts as a hit.
        if let Some(entry) = db.find(key, Lookup::Read) {
            SetRef::of(entry)
                .iter()
                .for_each(|member| reply(out, member));
        }
        db.notify(EventClass::SET, "spop", key);
        db.remove(key);
        db.propagate_as([db.keyspace().lazyfree.deletion(Cause::Command), key]);
        // Removing the key is the last of the changes.
        db.effects.changes += popped as u64 - 1;
        return Ok(Next::Done);
    }
    let rng = &mut Rng::from_os();
    let limits = ctx.config.limits();
    let mut taken = Popped::new(db);
    let mut take = |member: Member<'_>| {
        taken.push(member);
        reply(out, member);
    };
    let split = db
        .find(key, Lookup::Silent)
        .and_then(|entry| SetRef::of(entry).split(popped, &limits, rng, &mut take));
    if let Some(rest) = split {
        rest.store(|enc, value| db.set(key, Type::Set as u8, enc as u8, value, Expire::Keep));
        db.effects.changes += popped as u64 - 1;
    } else if let Some(mut key) = typed_mut(db, key, Type::Set)? {
        SetMut::of(key.slot_mut()).pop(popped, rng, take);
        key.add_changes(popped as u64);
    }
    db.notify(EventClass::SET, "spop", key);
    taken.log(db, key);
    Ok(Next::Done)
}

/// `SRANDMEMBER key [count]`
pub(super) fn srandmember(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    if !ctx.args.is_empty() {
        return srandmember_count(ctx, key);
    }
    let Ctx { db, out, .. } = ctx;
    let set = typed(db, key, Type::Set)?.map(SetRef::of);
    match set.and_then(|set| set.random(&mut Rng::from_os())) {
        Some(member) => reply(out, member),
        None => out.null(),
    }
    Ok(Next::Done)
}

/// SRANDMEMBER key count
fn srandmember_count(ctx: &mut Ctx<'_>, key: &[u8]) -> CmdResult {
    if ctx.args.remaining() > 1 {
        return Err(CmdError::Syntax);
    }
    let count = ctx.args.int_in(-i64::MAX, i64::MAX, OUT_OF_BOTH_RANGES)?;
    let Ctx { db, out, .. } = ctx;
    let Some(set) = typed(db, key, Type::Set)?.map(SetRef::of) else {
        out.array(0);
        return Ok(Next::Done);
    };
    let mut rng = Rng::from_os();
    if count >= 0 {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(set.len());
        out.array(count);
        set.sample(count, &mut rng, |member| reply(out, member));
        return Ok(Next::Done);
    }
    let count = count.unsigned_abs();
    if count.saturating_mul(BULK_BYTES_MIN) > RANDOM_REPLY_BYTES_MAX as u64 {
        return Err(OUT_OF_RANGE);
    }
    let start = out.mark();
    out.array(count as usize);
    for _ in 0..count {
        if let Some(member) = set.random(&mut rng) {
            reply(out, member);
        }
        if out.len_since(start) > RANDOM_REPLY_BYTES_MAX {
            return Err(OUT_OF_RANGE);
        }
    }
    Ok(Next::Done)
}
