//! SDIFF, SINTER, SUNION, their STORE forms, and SINTERCARD.
//!
//! All sources are looked up, and their types checked, before anything is computed; a source that is
//! not there is an empty set. A result to be stored is whole before its destination is written, so
//! that this may be one of the sources.

use std::ops::ControlFlow;

use super::reply;
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::notice::EventClass;
use crate::db::{Access, Expire, Lookup};
use crate::ds::hash::KeyHash;
use crate::resp::parse::Argv;
use crate::spec::CmdError;
use crate::spec::args::c_str;
use crate::util::num;
use crate::value::set::algebra::{self, Sets};
use crate::value::set::{NewSet, SetRef};
use crate::value::{Limits, Type};

/// The sets of `keys`, in their order.
struct Sources<'d> {
    /// The first key is there.
    has_first: bool,
    /// All keys are there.
    has_all: bool,
    /// The sets of those that are.
    sets: Sets<'d>,
}

fn sources<'d>(db: &'d mut Access<'_>, keys: Argv<'_>) -> Result<Sources<'d>, CmdError> {
    let found = db.find_all(keys.iter(), Lookup::Read, &[Type::Set])?;
    let mut sources = Sources {
        has_first: found.first().is_some_and(Option::is_some),
        has_all: found.iter().all(Option::is_some),
        sets: Sets::new(),
    };
    sources
        .sets
        .extend(found.into_iter().flatten().map(SetRef::of));
    Ok(sources)
}

impl Sources<'_> {
    /// Leaves nothing to be intersected if a set is empty.
    fn or_none(mut self) -> Self {
        if !self.has_all {
            self.sets.clear();
        }
        self
    }

    /// The set from which the others are subtracted, and those.
    fn minuend(&self) -> Option<(SetRef<'_>, &[SetRef<'_>])> {
        let (first, others) = self.sets.split_first()?;
        self.has_first.then_some((*first, others))
    }
}

/// `SINTER key [key ...]`
pub(super) fn sinter(ctx: &mut Ctx<'_>) -> CmdResult {
    let keys = ctx.args.rest();
    let Ctx { db, out, .. } = ctx;
    let sources = sources(db, keys)?.or_none();
    let (members, mut len) = (out.deferred_set(), 0);
    let _ = algebra::intersect(&sources.sets, |member| {
        reply(out, member);
        len += 1;
        ControlFlow::Continue(())
    });
    out.set_deferred(members, len);
    Ok(Next::Done)
}

/// `SUNION key [key ...]`
pub(super) fn sunion(ctx: &mut Ctx<'_>) -> CmdResult {
    let keys = ctx.args.rest();
    let Ctx { db, out, .. } = ctx;
    let key_hash = db.keyspace().key_hash();
    let sources = sources(db, keys)?;
    let (members, mut len) = (out.deferred_set(), 0);
    algebra::union(&sources.sets, key_hash, |member| {
        reply(out, member);
        len += 1;
    });
    out.set_deferred(members, len);
    Ok(Next::Done)
}

/// `SDIFF key [key ...]`
pub(super) fn sdiff(ctx: &mut Ctx<'_>) -> CmdResult {
    let keys = ctx.args.rest();
    let Ctx { db, out, .. } = ctx;
    let sources = sources(db, keys)?;
    let (members, mut len) = (out.deferred_set(), 0);
    if let Some((first, others)) = sources.minuend() {
        algebra::difference(first, others, |member| {
            reply(out, member);
            len += 1;
        });
    }
    out.set_deferred(members, len);
    Ok(Next::Done)
}

/// `SINTERSTORE destination key [key ...]`
pub(super) fn sinterstore(ctx: &mut Ctx<'_>) -> CmdResult {
    store(ctx, "sinterstore", |sources, limits, key_hash| {
        algebra::intersect_stored(&sources.or_none().sets, limits, key_hash)
    })
}

/// `SUNIONSTORE destination key [key ...]`
pub(super) fn sunionstore(ctx: &mut Ctx<'_>) -> CmdResult {
    store(ctx, "sunionstore", |sources, limits, key_hash| {
        algebra::union_stored(&sources.sets, limits, key_hash)
    })
}

/// `SDIFFSTORE destination key [key ...]`
pub(super) fn sdiffstore(ctx: &mut Ctx<'_>) -> CmdResult {
    store(
        ctx,
        "sdiffstore",
        |sources, limits, key_hash| match sources.minuend() {
            Some((first, others)) => algebra::difference_stored(first, others, limits, key_hash),
            None => algebra::union_stored(&[], limits, key_hash),
        },
    )
}

/// Sets a key to what becomes of the sources, or deletes it when that is empty; answers the length.
fn store(
    ctx: &mut Ctx<'_>,
    event: &'static str,
    compute: impl FnOnce(Sources<'_>, &Limits, KeyHash) -> NewSet,
) -> CmdResult {
    let (destination, keys) = (ctx.args.bytes()?, ctx.args.rest());
    let (limits, key_hash) = (ctx.config.limits(), ctx.db.keyspace().key_hash());
    let result = compute(sources(&mut ctx.db, keys)?, &limits, key_hash);
    let len = result.get().len();
    if len == 0 {
        ctx.db.remove(destination);
    } else {
        result.store(|enc, value| {
            let (type_, enc) = (Type::Set as u8, enc as u8);
            ctx.db.set(destination, type_, enc, value, Expire::Never);
        });
        ctx.db.notify(EventClass::SET, event, destination);
    }
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}

const NO_KEYS: CmdError = CmdError::text("ERR numkeys should be greater than 0");
const TOO_MANY_KEYS: CmdError =
    CmdError::text("ERR Number of keys can't be greater than number of args");
const NEGATIVE_LIMIT: CmdError = CmdError::text("ERR LIMIT can't be negative");

/// `SINTERCARD numkeys key [key ...] [LIMIT limit]`
pub(super) fn sintercard(ctx: &mut Ctx<'_>) -> CmdResult {
    let numkeys = num::parse_i64(ctx.args.bytes()?).filter(|&numkeys| numkeys > 0);
    let numkeys = usize::try_from(numkeys.ok_or(NO_KEYS)?).unwrap_or(usize::MAX);
    if numkeys > ctx.args.remaining() {
        return Err(TOO_MANY_KEYS);
    }
    let keys = ctx.args.many(numkeys)?;
    let mut limit = 0;
    while let Some(option) = ctx.args.option() {
        if ctx.args.is_empty() || !c_str(option).eq_ignore_ascii_case(b"LIMIT") {
            return Err(CmdError::Syntax);
        }
        let given = num::parse_i64(ctx.args.bytes()?).filter(|&limit| limit >= 0);
        limit = given.ok_or(NEGATIVE_LIMIT)?;
    }
    let sources = sources(&mut ctx.db, keys)?.or_none();
    let mut count: i64 = 0;
    let _ = algebra::intersect(&sources.sets, |_| {
        count += 1;
        // 0 is no limit.
        match count == limit {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    ctx.out.integer(count);
    Ok(Next::Done)
}
