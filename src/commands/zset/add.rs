//! ZADD and ZINCRBY.

use smallvec::SmallVec;

use super::{is, score};
use crate::commands::{CmdResult, Ctx, Next, typed_mut, typed_or_create};
use crate::db::notice::EventClass;
use crate::spec::{Args, CmdError};
use crate::value::Type;
use crate::value::zset::{self, AddOptions, Added, NotANumber, ZsetMut};

impl From<NotANumber> for CmdError {
    fn from(_: NotANumber) -> CmdError {
        CmdError::text("ERR resulting score is not a number (NaN)")
    }
}

/// What is added, and how.
#[derive(Default)]
pub(in crate::commands) struct Request<'a> {
    pub(in crate::commands) options: AddOptions,
    /// CH: the reply counts changed scores, too.
    pub(in crate::commands) counts_changes: bool,
    pub(in crate::commands) pairs: SmallVec<[(f64, &'a [u8]); 8]>,
    /// Bytes of the longest member.
    longest: usize,
}

impl<'a> Request<'a> {
    /// Reads ZADD's options and pairs.
    fn parse(args: &mut Args<'a>) -> Result<Request<'a>, CmdError> {
        let mut request = Request::default();
        let options = &mut request.options;
        // Nearly all requests begin with a score, and scores with anything but a letter.
        while let Some(word) = args
            .peek()
            .filter(|word| word.first().is_some_and(u8::is_ascii_alphabetic))
        {
            if is(word, "NX") {
                options.only_new = true;
            } else if is(word, "XX") {
                options.only_old = true;
            } else if is(word, "GT") {
                options.only_greater = true;
            } else if is(word, "LT") {
                options.only_less = true;
            } else if is(word, "INCR") {
                options.increment = true;
            } else if is(word, "CH") {
                request.counts_changes = true;
            } else {
                break;
            }
            args.bytes()?;
        }
        if args.is_empty() || !args.remaining().is_multiple_of(2) {
            return Err(CmdError::Syntax);
        }
        check(options, args.remaining() / 2)?;
        request.pairs.reserve(args.remaining() / 2);
        while !args.is_empty() {
            let score = score(args)?;
            let member = args.bytes()?;
            request.push(score, member);
        }
        Ok(request)
    }

    #[inline]
    pub(in crate::commands) fn push(&mut self, score: f64, member: &'a [u8]) {
        self.pairs.push((score, member));
        self.longest = self.longest.max(member.len());
    }
}

/// Refuses options that contradict each other.
fn check(options: &AddOptions, pairs: usize) -> Result<(), CmdError> {
    if options.only_new && options.only_old {
        return Err(CmdError::text(
            "ERR XX and NX options at the same time are not compatible",
        ));
    }
    let exclusive = [options.only_new, options.only_greater, options.only_less];
    if exclusive.into_iter().filter(|&is_set| is_set).count() > 1 {
        return Err(CmdError::text(
            "ERR GT, LT, and/or NX options at the same time are not compatible",
        ));
    }
    if options.increment && pairs > 1 {
        return Err(CmdError::text(
            "ERR INCR option supports a single increment-element pair",
        ));
    }
    Ok(())
}

/// `ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]`
pub(super) fn zadd(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let request = Request::parse(&mut ctx.args)?;
    add(ctx, key, &request)
}

/// ZINCRBY key increment member
pub(super) fn zincrby(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    // Read as ZADD's are, option words included: with one of those the rest is no pair.
    let mut request = Request::parse(&mut ctx.args)?;
    request.options.increment = true;
    add(ctx, key, &request)
}

/// Adds the pairs of a request, and replies.
pub(in crate::commands) fn add(ctx: &mut Ctx<'_>, key: &[u8], request: &Request<'_>) -> CmdResult {
    let Request { options, pairs, .. } = request;
    let limits = ctx.config.limits();
    let (count, longest) = (pairs.len(), request.longest);
    let found = if options.only_old {
        typed_mut(&mut ctx.db, key, Type::Zset)?
    } else {
        let key_hash = ctx.db.keyspace().key_hash();
        let (enc, value) = zset::empty(count, longest, &limits, key_hash);
        Some(typed_or_create(&mut ctx.db, key, Type::Zset, enc, value)?)
    };
    let (mut new, mut changed, mut last) = (0, 0, Added::Nothing);
    if let Some(mut found) = found {
        let is_new = found.is_new();
        let mut zset = ZsetMut::new(found.slot_mut(), &limits);
        if !is_new {
            zset.expect(count, longest);
        }
        for &(score, member) in pairs {
            last = zset.add(member, score, *options)?;
            match last {
                Added::New(_) => new += 1,
                Added::Changed(_) => changed += 1,
                Added::Same(_) | Added::Nothing => {}
            }
        }
        found.add_changes(new + changed);
        if new + changed > 0 {
            let event = if options.increment { "zincr" } else { "zadd" };
            found.notify(EventClass::ZSET, event);
        }
    }
    match last {
        _ if !options.increment => {
            let counted = if request.counts_changes { changed } else { 0 };
            ctx.out.integer((new + counted) as i64);
        }
        Added::New(score) | Added::Changed(score) | Added::Same(score) => ctx.out.double(score),
        Added::Nothing => ctx.out.null(),
    }
    Ok(Next::Done)
}
