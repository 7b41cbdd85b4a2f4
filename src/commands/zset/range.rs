//! Ranges of ranks, scores and members: the ZRANGE family, ZRANGESTORE, ZCOUNT and ZLEXCOUNT.
//!
//! Each range becomes one of ranks ([`Bounds::ranks`]), of which LIMIT leaves a part; then members
//! are written one after the other.

use std::ops::Range;

use super::{Members, find, is};
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::Expire;
use crate::db::notice::EventClass;
use crate::spec::{Args, CmdError};
use crate::util::num;
use crate::value::Type;
use crate::value::zset::{self, LexBound, LexRange, NewZset, ScoreRange, ZsetRef};

const NOT_SCORE: CmdError = CmdError::text("ERR min or max is not a float");
const NOT_LEX: CmdError = CmdError::text("ERR min or max not valid string range item");

/// What the bounds are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// The bounds of a range.
pub(super) enum Bounds<'a> {
    /// The first and the last rank; negative ones count from the end.
    Rank(i64, i64),
    /// Scores.
    Score(ScoreRange),
    /// Members.
    Lex(LexRange<'a>),
}

impl<'a> Bounds<'a> {
    /// Reads two ranks.
    pub(super) fn ranks_of(start: &[u8], stop: &[u8]) -> Result<Bounds<'a>, CmdError> {
        let rank = |text| num::parse_i64(text).ok_or(CmdError::NotInteger);
        Ok(Bounds::Rank(rank(start)?, rank(stop)?))
    }

    /// Reads two scores.
    pub(super) fn scores_of(min: &[u8], max: &[u8]) -> Result<Bounds<'a>, CmdError> {
        let (min, min_is_exclusive) = score_bound(min)?;
        let (max, max_is_exclusive) = score_bound(max)?;
        Ok(Bounds::Score(ScoreRange {
            min,
            min_is_exclusive,
            max,
            max_is_exclusive,
        }))
    }

    /// Reads two members.
    pub(super) fn members_of(min: &'a [u8], max: &'a [u8]) -> Result<Bounds<'a>, CmdError> {
        let (min, max) = (lex_bound(min)?, lex_bound(max)?);
        Ok(Bounds::Lex(LexRange { min, max }))
    }

    /// Which members of a set are meant, counted from the first one. `back`: the bounds were given
    /// for the order from the last to the first.
    pub(super) fn ranks(&self, zset: ZsetRef<'_>, back: bool) -> Range<usize> {
        match self {
            Bounds::Score(range) => zset.score_span(range),
            Bounds::Lex(range) => zset.lex_span(range, back),
            &Bounds::Rank(start, stop) => {
                let len = zset.len();
                let ranks = rank_span(start, stop, len);
                match back {
                    true => len - ranks.end..len - ranks.start,
                    false => ranks,
                }
            }
        }
    }
}

/// What inclusive ranks, negative ones counted from the end, name in a set of `len` members.
fn rank_span(start: i64, stop: i64, len: usize) -> Range<usize> {
    let from_end = |rank: i64| match rank {
        0.. => Some(usize::try_from(rank).unwrap_or(usize::MAX)),
        _ => len.checked_sub(usize::try_from(rank.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let start = from_end(start).unwrap_or(0);
    // The rank before the first one ends the range before it begins.
    let end = from_end(stop).map_or(0, |stop| stop.saturating_add(1));
    let end = end.min(len);
    if start < end { start..end } else { 0..0 }
}

/// A score, behind an opening bracket if it is not in the range itself.
fn score_bound(text: &[u8]) -> Result<(f64, bool), CmdError> {
    let (text, is_exclusive) = match text {
        [b'(', text @ ..] => (text, true),
        text => (text, false),
    };
    let score = num::parse_f64_bound(text).ok_or(NOT_SCORE)?;
    Ok((score, is_exclusive))
}

fn lex_bound(text: &[u8]) -> Result<LexBound<'_>, CmdError> {
    match text {
        b"-" => Ok(LexBound::Lowest),
        b"+" => Ok(LexBound::Highest),
        [b'[', member @ ..] => Ok(LexBound::Inclusive(member)),
        [b'(', member @ ..] => Ok(LexBound::Exclusive(member)),
        _ => Err(NOT_LEX),
    }
}

/// A request of the family.
struct Request<'a> {
    bounds: Bounds<'a>,
    back: bool,
    with_scores: bool,
    limit: Option<(i64, i64)>,
}

/// What a command is fixed to, before its options.
#[derive(Clone, Copy)]
struct Form {
    by: Option<By>,
    back: Option<bool>,
    stores: bool,
}

const ZRANGE: Form = Form {
    by: None,
    back: None,
    stores: false,
};

impl Form {
    const fn fixed(by: By, back: bool) -> Form {
        Form {
            by: Some(by),
            back: Some(back),
            stores: false,
        }
    }
}

impl<'a> Request<'a> {
    /// Reads what follows the key(s).
    fn parse(args: &mut Args<'a>, form: Form) -> Result<Request<'a>, CmdError> {
        let (start, stop) = (args.bytes()?, args.bytes()?);
        let Form {
            mut by,
            mut back,
            stores,
        } = form;
        let (mut with_scores, mut limit) = (false, None);
        while let Some(option) = args.option() {
            if !stores && is(option, "WITHSCORES") {
                with_scores = true;
            } else if is(option, "LIMIT") && args.remaining() >= 2 {
                limit = Some((args.int()?, args.int()?));
            } else if back.is_none() && is(option, "REV") {
                back = Some(true);
            } else if by.is_none() && is(option, "BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && is(option, "BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(CmdError::Syntax);
            }
        }
        let (by, back) = (by.unwrap_or(By::Rank), back.unwrap_or(false));
        // Valkey cannot tell this count from none.
        let limit = limit.filter(|&(_, count)| by != By::Rank || count != -1);
        if limit.is_some() && by == By::Rank {
            return Err(CmdError::text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && by == By::Lex {
            return Err(CmdError::text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (min, max) = if back { (stop, start) } else { (start, stop) };
        let bounds = match by {
            By::Rank => Bounds::ranks_of(start, stop)?,
            By::Score => Bounds::scores_of(min, max)?,
            By::Lex => Bounds::members_of(min, max)?,
        };
        Ok(Request {
            bounds,
            back,
            with_scores,
            limit,
        })
    }

    /// The ranks of the members that are wanted.
    fn ranks(&self, zset: ZsetRef<'_>) -> Range<usize> {
        let Range { start, end } = self.bounds.ranks(zset, self.back);
        let Some((offset, count)) = self.limit else {
            return start..end;
        };
        let len = end - start;
        let skipped = match usize::try_from(offset) {
            Ok(offset) => offset.min(len),
            // Valkey counts from the end of a range, but in a large set only.
            Err(_) => {
                let from_end = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
                let is_large = matches!(zset, ZsetRef::Large(_));
                len.checked_sub(from_end)
                    .filter(|_| is_large)
                    .unwrap_or(len)
            }
        };
        // A negative count means all.
        let left = len - skipped;
        let taken = usize::try_from(count).map_or(left, |count| count.min(left));
        match self.back {
            true => end - skipped - taken..end - skipped,
            false => start + skipped..start + skipped + taken,
        }
    }

    fn members<'z>(&self, zset: ZsetRef<'z>, ranks: &Range<usize>) -> zset::Iter<'z> {
        match self.back {
            true => zset.range_back(ranks.end.wrapping_sub(1), ranks.len()),
            false => zset.range(ranks.start, ranks.len()),
        }
    }
}

/// `ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
pub(super) fn zrange(ctx: &mut Ctx<'_>) -> CmdResult {
    range(ctx, ZRANGE)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub(super) fn zrevrange(ctx: &mut Ctx<'_>) -> CmdResult {
    range(ctx, Form::fixed(By::Rank, true))
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub(super) fn zrangebyscore(ctx: &mut Ctx<'_>) -> CmdResult {
    range(ctx, Form::fixed(By::Score, false))
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
pub(super) fn zrevrangebyscore(ctx: &mut Ctx<'_>) -> CmdResult {
    range(ctx, Form::fixed(By::Score, true))
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
pub(super) fn zrangebylex(ctx: &mut Ctx<'_>) -> CmdResult {
    range(ctx, Form::fixed(By::Lex, false))
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
pub(super) fn zrevrangebylex(ctx: &mut Ctx<'_>) -> CmdResult {
    range(ctx, Form::fixed(By::Lex, true))
}

fn range(ctx: &mut Ctx<'_>, form: Form) -> CmdResult {
    let key = ctx.args.bytes()?;
    let request = Request::parse(&mut ctx.args, form)?;
    let Some(zset) = find(&mut ctx.db, key)? else {
        ctx.out.array(0);
        return Ok(Next::Done);
    };
    let ranks = request.ranks(zset);
    let mut reply = Members::new(ctx.out, request.with_scores);
    reply.begin(ranks.len());
    for (member, score) in request.members(zset, &ranks) {
        reply.push(member, score);
    }
    Ok(Next::Done)
}

/// `ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]`
pub(super) fn zrangestore(ctx: &mut Ctx<'_>) -> CmdResult {
    let destination = ctx.args.bytes()?;
    let source = ctx.args.bytes()?;
    let form = Form {
        stores: true,
        ..ZRANGE
    };
    let request = Request::parse(&mut ctx.args, form)?;
    let limits = ctx.config.limits();
    let key_hash = ctx.db.keyspace().key_hash();
    let selected = find(&mut ctx.db, source)?.map(|zset| {
        let ranks = request.ranks(zset);
        let all = || zset.range(ranks.start, ranks.len());
        let longest = match ranks.len() as u64 <= limits.zset_max_listpack_entries {
            true => all().map(|(member, _)| member.len_bytes()).max(),
            false => None,
        };
        let longest = longest.unwrap_or_default();
        let new = NewZset::of(all(), ranks.len(), longest, &limits, key_hash);
        (new, ranks.len())
    });
    let Some((new, len)) = selected.filter(|(_, len)| *len > 0) else {
        ctx.db.remove(destination);
        ctx.out.integer(0);
        return Ok(Next::Done);
    };
    new.store(|enc, value| {
        let type_ = Type::Zset as u8;
        ctx.db
            .set(destination, type_, enc as u8, value, Expire::Never);
    });
    ctx.db.notify(EventClass::ZSET, "zrangestore", destination);
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}

/// ZCOUNT key min max
pub(super) fn zcount(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, min, max) = (ctx.args.bytes()?, ctx.args.bytes()?, ctx.args.bytes()?);
    count(ctx, key, &Bounds::scores_of(min, max)?)
}

/// ZLEXCOUNT key min max
pub(super) fn zlexcount(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, min, max) = (ctx.args.bytes()?, ctx.args.bytes()?, ctx.args.bytes()?);
    count(ctx, key, &Bounds::members_of(min, max)?)
}

fn count(ctx: &mut Ctx<'_>, key: &[u8], bounds: &Bounds<'_>) -> CmdResult {
    let zset = find(&mut ctx.db, key)?;
    let count = zset.map_or(0, |zset| bounds.ranks(zset, false).len());
    ctx.out.integer(count as i64);
    Ok(Next::Done)
}
