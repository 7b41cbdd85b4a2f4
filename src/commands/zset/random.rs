//! ZRANDMEMBER: one random member, several different ones, or any number with repetitions.

use std::collections::HashSet;

use super::{Members, find, is, reply};
use crate::commands::{CmdResult, Ctx, Next};
use crate::spec::CmdError;
use crate::spec::limits::RANDOM_REPLY_BYTES_MAX;
use crate::util::rng::Rng;
use crate::value::zset::{Member, ZsetRef};

const OUT_OF_RANGE: CmdError = CmdError::text("ERR value is out of range");
const BELOW_RANGE: CmdError = CmdError::text(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
);

/// Fewest bytes of a member in a reply.
const MEMBER_BYTES_MIN: usize = b"$0\r\n\r\n".len();
/// Fewer members than one in so many are drawn by rank; others are chosen on a walk over all.
const WALK_SHARE: usize = 8;

/// `ZRANDMEMBER key [count [WITHSCORES]]`
pub(super) fn zrandmember(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let mut rng = Rng::from_os();
    if ctx.args.is_empty() {
        let zset = find(&mut ctx.db, key)?;
        match zset.and_then(|zset| zset.range(rng.index(zset.len()), 1).next()) {
            Some((member, _)) => reply(ctx.out, member),
            None => ctx.out.null(),
        }
        return Ok(Next::Done);
    }
    let count = ctx.args.int_in(-i64::MAX, i64::MAX, BELOW_RANGE)?;
    let with_scores = match ctx.args.option() {
        Some(option) if is(option, "WITHSCORES") && ctx.args.is_empty() => true,
        Some(_) => return Err(CmdError::Syntax),
        None => false,
    };
    // Twice the number has to be one, too.
    if with_scores && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err(OUT_OF_RANGE);
    }
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    let zset = find(&mut ctx.db, key)?;
    let mut out = Members::new(ctx.out, with_scores);
    match zset {
        Some(zset) if count < 0 => repeated(&mut out, zset, wanted, &mut rng)?,
        Some(zset) => different(&mut out, zset, wanted, &mut rng),
        None => out.begin(0),
    }
    Ok(Next::Done)
}

/// `wanted` draws, each from all members.
fn repeated(
    out: &mut Members<'_>,
    zset: ZsetRef<'_>,
    wanted: usize,
    rng: &mut Rng,
) -> Result<(), CmdError> {
    if wanted > RANDOM_REPLY_BYTES_MAX / MEMBER_BYTES_MIN {
        return Err(OUT_OF_RANGE);
    }
    let mark = out.out.mark();
    out.begin(wanted);
    // A walk to each member of a small set would be long.
    let listed: Vec<(Member<'_>, f64)> = match zset {
        ZsetRef::Compact(_) => zset.iter().collect(),
        ZsetRef::Large(_) => Vec::new(),
    };
    let len = zset.len();
    for _ in 0..wanted {
        let rank = rng.index(len);
        let found = listed.get(rank).copied();
        if let Some((member, score)) = found.or_else(|| zset.range(rank, 1).next()) {
            out.push(member, score);
        }
        if out.out.len_since(mark) > RANDOM_REPLY_BYTES_MAX {
            return Err(OUT_OF_RANGE);
        }
    }
    Ok(())
}

/// `wanted` different members, or all if there are not as many.
fn different(out: &mut Members<'_>, zset: ZsetRef<'_>, wanted: usize, rng: &mut Rng) {
    let len = zset.len();
    let wanted = wanted.min(len);
    out.begin(wanted);
    if wanted < len / WALK_SHARE {
        let mut drawn: HashSet<usize> = HashSet::with_capacity(wanted);
        while drawn.len() < wanted {
            let rank = rng.index(len);
            if drawn.insert(rank)
                && let Some((member, score)) = zset.range(rank, 1).next()
            {
                out.push(member, score);
            }
        }
        return;
    }
    // From the last to the first, as Valkey gives all of them.
    let mut left = wanted;
    for (seen, (member, score)) in zset.range_back(len - 1, len).enumerate() {
        // Every selection is equally likely: as many are left of as many.
        if (rng.below((len - seen) as u64) as usize) < left {
            out.push(member, score);
            left -= 1;
        }
    }
}
