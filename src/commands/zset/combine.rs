//! ZUNION, ZINTER, ZDIFF, their STORE forms, and ZINTERCARD.
//!
//! All sources, sorted sets and sets, are looked up and their types checked before options are read;
//! a source that is not there is empty. A result to be stored is whole before its destination is
//! written, so that this may be one of the sources.

use smallvec::SmallVec;

use super::{Members, is, parse_score};
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::notice::EventClass;
use crate::db::{Access, Expire, Lookup};
use crate::ds::entry::EntryRef;
use crate::ds::hash::KeyHash;
use crate::resp::parse::Argv;
use crate::spec::{Args, CmdError};
use crate::value::Type;
use crate::value::set::SetRef;
use crate::value::zset::ZsetRef;
use crate::value::zset::algebra::{self, Aggregate, Input, Outcome, Source};

/// How sources are put together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

impl Operation {
    /// The event of its result's being stored.
    fn stored(self) -> &'static str {
        match self {
            Operation::Union => "zunionstore",
            Operation::Intersection => "zinterstore",
            Operation::Difference => "zdiffstore",
        }
    }
}

/// Several sources: few on the stack.
type Sources<'d> = SmallVec<[Source<'d>; 8]>;

/// The next arguments: a number of keys, and those.
fn keys<'a>(ctx: &mut Ctx<'a>) -> Result<Argv<'a>, CmdError> {
    let numkeys = ctx.args.int()?;
    if numkeys < 1 {
        let name = &ctx.command.full_name;
        return Err(CmdError::owned(format!(
            "ERR at least 1 input key is needed for '{name}' command"
        )));
    }
    ctx.args
        .many(usize::try_from(numkeys).unwrap_or(usize::MAX))
}

fn sources<'d>(db: &'d mut Access<'_>, keys: Argv<'_>) -> Result<Sources<'d>, CmdError> {
    let found = db.find_all(keys.iter(), Lookup::Read, &[Type::Zset, Type::Set])?;
    let source = |entry: Option<EntryRef<'d>>| match entry {
        None => Source::Nothing,
        Some(entry) if entry.type_() == Type::Set as u8 => Source::Set(SetRef::of(entry)),
        Some(entry) => Source::Zset(ZsetRef::of(entry)),
    };
    Ok(found.into_iter().map(source).collect())
}

/// What follows the keys.
struct Options {
    weights: SmallVec<[f64; 8]>,
    aggregate: Aggregate,
    with_scores: bool,
}

impl Options {
    fn parse(
        args: &mut Args<'_>,
        operation: Operation,
        keys: usize,
        stores: bool,
    ) -> Result<Options, CmdError> {
        const NOT_WEIGHT: CmdError = CmdError::text("ERR weight value is not a float");
        let mut options = Options {
            weights: SmallVec::new(),
            aggregate: Aggregate::Sum,
            with_scores: false,
        };
        while let Some(option) = args.option() {
            let weighs = operation != Operation::Difference;
            if weighs && args.remaining() >= keys && is(option, "WEIGHTS") {
                let weights = args.many(keys)?;
                let weights = weights.iter().map(parse_score);
                options.weights = weights.collect::<Option<_>>().ok_or(NOT_WEIGHT)?;
            } else if weighs && !args.is_empty() && is(option, "AGGREGATE") {
                options.aggregate = aggregate(args.bytes()?)?;
            } else if !stores && is(option, "WITHSCORES") {
                options.with_scores = true;
            } else {
                return Err(CmdError::Syntax);
            }
        }
        Ok(options)
    }
}

fn aggregate(word: &[u8]) -> Result<Aggregate, CmdError> {
    if is(word, "SUM") {
        Ok(Aggregate::Sum)
    } else if is(word, "MIN") {
        Ok(Aggregate::Min)
    } else if is(word, "MAX") {
        Ok(Aggregate::Max)
    } else {
        Err(CmdError::Syntax)
    }
}

/// `ZUNION numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]`
pub(super) fn zunion(ctx: &mut Ctx<'_>) -> CmdResult {
    combine(ctx, Operation::Union, None)
}

/// ZINTER, with the same arguments
pub(super) fn zinter(ctx: &mut Ctx<'_>) -> CmdResult {
    combine(ctx, Operation::Intersection, None)
}

/// `ZDIFF numkeys key [key ...] [WITHSCORES]`
pub(super) fn zdiff(ctx: &mut Ctx<'_>) -> CmdResult {
    combine(ctx, Operation::Difference, None)
}

/// ZUNIONSTORE destination, then as ZUNION without WITHSCORES
pub(super) fn zunionstore(ctx: &mut Ctx<'_>) -> CmdResult {
    let destination = ctx.args.bytes()?;
    combine(ctx, Operation::Union, Some(destination))
}

/// ZINTERSTORE destination, then as ZINTER without WITHSCORES
pub(super) fn zinterstore(ctx: &mut Ctx<'_>) -> CmdResult {
    let destination = ctx.args.bytes()?;
    combine(ctx, Operation::Intersection, Some(destination))
}

/// `ZDIFFSTORE destination numkeys key [key ...]`
pub(super) fn zdiffstore(ctx: &mut Ctx<'_>) -> CmdResult {
    let destination = ctx.args.bytes()?;
    combine(ctx, Operation::Difference, Some(destination))
}

fn combine<'a>(
    ctx: &mut Ctx<'a>,
    operation: Operation,
    destination: Option<&'a [u8]>,
) -> CmdResult {
    let keys = keys(ctx)?;
    let key_hash = ctx.db.keyspace().key_hash();
    let Some(destination) = destination else {
        let Ctx { args, db, out, .. } = ctx;
        let sources = sources(db, keys)?;
        let options = Options::parse(args, operation, keys.len(), false)?;
        let result = compute(operation, &sources, &options, key_hash);
        answer(Members::new(out, options.with_scores), &result);
        return Ok(Next::Done);
    };
    let Ctx { args, db, .. } = ctx;
    let (len, new) = {
        let sources = sources(db, keys)?;
        let options = Options::parse(args, operation, keys.len(), true)?;
        let result = compute(operation, &sources, &options, key_hash);
        (
            result.len(),
            result.into_new(&ctx.config.limits(), key_hash),
        )
    };
    match len {
        0 => {
            db.remove(destination);
        }
        _ => {
            new.store(|enc, value| {
                let type_ = Type::Zset as u8;
                db.set(destination, type_, enc as u8, value, Expire::Never);
            });
            db.notify(EventClass::ZSET, operation.stored(), destination);
        }
    }
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}

fn compute<'d>(
    operation: Operation,
    sources: &[Source<'d>],
    options: &Options,
    key_hash: KeyHash,
) -> Outcome<'d> {
    let weights = options.weights.iter().copied();
    let weights = weights.chain(std::iter::repeat(1.0));
    let weighted = sources.iter().zip(weights);
    let input = |(&source, weight)| Input { source, weight };
    let mut inputs: SmallVec<[Input<'_>; 8]> = weighted.map(input).collect();
    let how = options.aggregate;
    match operation {
        Operation::Union => algebra::union(&mut inputs, how, key_hash),
        Operation::Intersection => algebra::intersection(&mut inputs, how),
        Operation::Difference => algebra::difference(sources, key_hash),
    }
}

fn answer(mut reply: Members<'_>, result: &Outcome<'_>) {
    reply.begin(result.len());
    result.for_each(|member, score| reply.push(member, score));
}

/// `ZINTERCARD numkeys key [key ...] [LIMIT limit]`
pub(super) fn zintercard(ctx: &mut Ctx<'_>) -> CmdResult {
    const NEGATIVE: CmdError = CmdError::text("ERR LIMIT can't be negative");
    let keys = keys(ctx)?;
    let Ctx { args, db, out, .. } = ctx;
    let mut sources = sources(db, keys)?;
    let mut limit = 0;
    while let Some(option) = args.option() {
        if args.is_empty() || !is(option, "LIMIT") {
            return Err(CmdError::Syntax);
        }
        let number = args.int().map_err(|_| NEGATIVE)?;
        limit = usize::try_from(number).map_err(|_| NEGATIVE)?;
    }
    let most = if limit == 0 { usize::MAX } else { limit };
    let len = algebra::intersection_len(&mut sources, most);
    out.integer(len as i64);
    Ok(Next::Done)
}
