//! Sorted set commands: the rows of the family, and the commands that look single members up.
//!
//! Adding is in `zset/add.rs`, ranges in `zset/range.rs`, removing in `zset/remove.rs` and
//! `zset/pop.rs`, unions and the like in `zset/combine.rs`, ZRANDMEMBER in `zset/random.rs`. What a
//! sorted set is and how it is stored is `value::zset`'s; here are keys, options and replies.
//!
//! Invariants: members go from the set straight into the reply; a set that is emptied is removed
//! with its key when its guard is dropped.

use super::{CmdResult, Command, Ctx, Next, command, is, scan, typed};
use crate::db::Access;
use crate::resp::write::ReplyWriter;
use crate::spec::{AclCategories, Args, CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::util::num;
use crate::value::Type;
use crate::value::zset::{Member, ZsetRef};

pub(super) mod add;
mod combine;
mod pop;
mod random;
mod range;
mod remove;

#[cfg(test)]
mod tests;

/// Reads.
const READ: Flags = Flags::READONLY;
/// Reads, in constant or logarithmic time.
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
/// Writes, and may need memory.
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// The same, in logarithmic time.
const FAST_STORE: Flags = STORE.and(Flags::FAST);
/// Writes and needs no memory.
const WRITE: Flags = Flags::WRITE;
/// The same, in logarithmic time.
const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);

/// Looks at the value, but shows nothing of it.
const LOOK: KeyFlags = KeyFlags::RO;
/// Reads members for the client.
const FETCH: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
/// Takes members out and hands them to the client.
const TAKE: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE);
/// Takes members out.
const REMOVE: KeyFlags = KeyFlags::RW.and(KeyFlags::DELETE);
/// Changes scores.
const UPDATE: KeyFlags = KeyFlags::RW.and(KeyFlags::UPDATE);
/// Changes scores and hands them to the client.
const FETCH_UPDATE: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE);
/// Replaces the value.
const REPLACE: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command(
        "bzmpop",
        -5,
        WRITE.and(Flags::MOVABLEKEYS).and(Flags::BLOCKING),
        pop::bzmpop,
    )
    .acl(AclCategories::SORTEDSET)
    .keys(&[KeySpec::keynum(2, 1, 1, TAKE)])
    .docs(
        Group::SortedSet,
        "7.0.0",
        "O(K + M*log(N)) where K is the number of keys, N the number of members and M \
             how many are removed.",
        "Removes the members with the lowest or highest scores from the first key that \
             has some; waits for one if none has.",
    )
    .syntax("timeout:double numkeys:integer key#0* where(MIN|MAX) COUNT=count:integer?"),
    command(
        "bzpopmax",
        -3,
        FAST_WRITE.and(Flags::BLOCKING),
        pop::bzpopmax,
    )
    .acl(AclCategories::SORTEDSET)
    .keys(&[KeySpec::range(1, -2, 1, TAKE)])
    .docs(
        Group::SortedSet,
        "5.0.0",
        "O(log(N)) where N is the number of members.",
        "Removes the member with the highest score from the first key that has one; \
             waits for one if none has.",
    )
    .syntax("key#0* timeout:double"),
    command(
        "bzpopmin",
        -3,
        FAST_WRITE.and(Flags::BLOCKING),
        pop::bzpopmin,
    )
    .acl(AclCategories::SORTEDSET)
    .keys(&[KeySpec::range(1, -2, 1, TAKE)])
    .docs(
        Group::SortedSet,
        "5.0.0",
        "O(log(N)) where N is the number of members.",
        "Removes the member with the lowest score from the first key that has one; waits \
             for one if none has.",
    )
    .syntax("key#0* timeout:double"),
    command("zadd", -4, FAST_STORE, add::zadd)
        .element(3)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, UPDATE)])
        .docs(
            Group::SortedSet,
            "1.2.0",
            "O(log(N)) for each member that is added, where N is the number of members.",
            "Adds members to a sorted set or gives them other scores; options tell which of \
             them, and what is counted.",
        )
        .syntax(
            "key#0 condition(NX|XX)?@3.0.2 comparison(GT|LT)?@6.2.0 change=CH?@3.0.2 \
                 increment=INCR?@3.0.2 data{score:double member}*",
        ),
    command("zcard", 2, FAST_READ, zcard)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, LOOK)])
        .docs(
            Group::SortedSet,
            "1.2.0",
            "O(1)",
            "Counts the members of a sorted set.",
        )
        .syntax("key#0"),
    command("zcount", 4, FAST_READ, range::zcount)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "2.0.0",
            "O(log(N)) where N is the number of members.",
            "Counts the members whose scores are in a range.",
        )
        .syntax("key#0 min:double max:double"),
    command("zdiff", -3, READ.and(Flags::MOVABLEKEYS), combine::zdiff)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::keynum(1, 1, 1, FETCH)])
        .docs(
            Group::SortedSet,
            "6.2.0",
            "O(L + R*log(R)) where L is the number of members of all sets together and R \
             that of the result.",
            "Returns the members of the first sorted set that no other one has.",
        )
        .syntax("numkeys:integer key#0* WITHSCORES?"),
    command(
        "zdiffstore",
        -4,
        STORE.and(Flags::MOVABLEKEYS),
        combine::zdiffstore,
    )
    .acl(AclCategories::SORTEDSET)
    .keys(&[KeySpec::at(1, REPLACE), KeySpec::keynum(2, 1, 1, FETCH)])
    .docs(
        Group::SortedSet,
        "6.2.0",
        "O(L + R*log(R)) where L is the number of members of all sets together and R \
             that of the result.",
        "Sets a key to the members of the first sorted set that no other one has.",
    )
    .syntax("destination#0 numkeys:integer key#1*"),
    command("zincrby", 4, FAST_STORE, add::zincrby)
        .element(3)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH_UPDATE)])
        .docs(
            Group::SortedSet,
            "1.2.0",
            "O(log(N)) where N is the number of members.",
            "Adds a number to the score of a member; a missing member counts as 0.",
        )
        .syntax("key#0 increment:integer member"),
    command("zinter", -3, READ.and(Flags::MOVABLEKEYS), combine::zinter)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::keynum(1, 1, 1, FETCH)])
        .docs(
            Group::SortedSet,
            "6.2.0",
            "O(N*K + R*log(R)) where N is the number of members of the smallest set, K the \
             number of sets and R the number of members of the result.",
            "Returns the members that all of the sorted sets have.",
        )
        .syntax(
            "numkeys:integer key#0* WEIGHTS=weight:integer?* \
                 AGGREGATE=aggregate(SUM|MIN|MAX)? WITHSCORES?",
        ),
    command(
        "zintercard",
        -3,
        READ.and(Flags::MOVABLEKEYS),
        combine::zintercard,
    )
    .acl(AclCategories::SORTEDSET)
    .keys(&[KeySpec::keynum(1, 1, 1, FETCH)])
    .docs(
        Group::SortedSet,
        "7.0.0",
        "O(N*K) where N is the number of members of the smallest set and K the number of \
             sets.",
        "Counts the members that all of the sorted sets have, up to a limit.",
    )
    .syntax("numkeys:integer key#0* LIMIT=limit:integer?"),
    command(
        "zinterstore",
        -4,
        STORE.and(Flags::MOVABLEKEYS),
        combine::zinterstore,
    )
    .acl(AclCategories::SORTEDSET)
    .keys(&[KeySpec::at(1, REPLACE), KeySpec::keynum(2, 1, 1, FETCH)])
    .docs(
        Group::SortedSet,
        "2.0.0",
        "O(N*K + R*log(R)) where N is the number of members of the smallest set, K the \
             number of sets and R the number of members of the result.",
        "Sets a key to the members that all of the sorted sets have.",
    )
    .syntax(
        "destination#0 numkeys:integer key#1* WEIGHTS=weight:integer?* \
                 AGGREGATE=aggregate(SUM|MIN|MAX)?",
    ),
    command("zlexcount", 4, FAST_READ, range::zlexcount)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "2.8.9",
            "O(log(N)) where N is the number of members.",
            "Counts the members between two others, where all have the same score.",
        )
        .syntax("key#0 min max"),
    command("zmpop", -4, WRITE.and(Flags::MOVABLEKEYS), pop::zmpop)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::keynum(1, 1, 1, TAKE)])
        .docs(
            Group::SortedSet,
            "7.0.0",
            "O(K + M*log(N)) where K is the number of keys, N the number of members and M \
             how many are removed.",
            "Removes the members with the lowest or highest scores from the first key that \
             has some.",
        )
        .syntax("numkeys:integer key#0* where(MIN|MAX) COUNT=count:integer?"),
    command("zmscore", -3, FAST_READ, zmscore)
        .element(2)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "6.2.0",
            "O(N) where N is the number of members asked for.",
            "Returns the scores of several members.",
        )
        .syntax("key#0 member*"),
    command("zpopmax", -2, FAST_WRITE, pop::zpopmax)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, TAKE)])
        .docs(
            Group::SortedSet,
            "5.0.0",
            "O(M*log(N)) where N is the number of members and M how many are removed.",
            "Removes the members with the highest scores and returns them.",
        )
        .syntax("key#0 count:integer?"),
    command("zpopmin", -2, FAST_WRITE, pop::zpopmin)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, TAKE)])
        .docs(
            Group::SortedSet,
            "5.0.0",
            "O(M*log(N)) where N is the number of members and M how many are removed.",
            "Removes the members with the lowest scores and returns them.",
        )
        .syntax("key#0 count:integer?"),
    command("zrandmember", -2, READ, random::zrandmember)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::SortedSet,
            "6.2.0",
            "O(M*log(N)) where N is the number of members and M how many are returned.",
            "Returns random members of a sorted set.",
        )
        .syntax("key#0 options{count:integer WITHSCORES?}?"),
    command("zrange", -4, READ, range::zrange)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "1.2.0",
            "O(log(N) + M) where N is the number of members and M how many are returned.",
            "Returns the members in a range of ranks, scores, or members, in either direction.",
        )
        .syntax(
            "key#0 start stop sortby(BYSCORE|BYLEX)?@6.2.0 REV?@6.2.0 \
                 LIMIT=limit{offset:integer count:integer}?@6.2.0 WITHSCORES?",
        ),
    command("zrangebylex", -4, READ, range::zrangebylex)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "2.8.9",
            "O(log(N) + M) where N is the number of members and M how many are returned.",
            "Returns the members between two others, where all have the same score.",
        )
        .syntax("key#0 min max LIMIT=limit{offset:integer count:integer}?"),
    command("zrangebyscore", -4, READ, range::zrangebyscore)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "1.0.5",
            "O(log(N) + M) where N is the number of members and M how many are returned.",
            "Returns the members whose scores are in a range.",
        )
        .syntax(
            "key#0 min:double max:double WITHSCORES?@2.0.0 LIMIT=limit{offset:integer \
                 count:integer}?",
        ),
    command("zrangestore", -5, STORE, range::zrangestore)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, REPLACE), KeySpec::at(2, FETCH)])
        .docs(
            Group::SortedSet,
            "6.2.0",
            "O(log(N) + M) where N is the number of members and M how many are stored.",
            "Sets a key to the members in a range of another sorted set.",
        )
        .syntax(
            "dst#0 src#1 min max sortby(BYSCORE|BYLEX)? REV? LIMIT=limit{offset:integer \
                 count:integer}?",
        ),
    command("zrank", -3, FAST_READ, zrank)
        .element(2)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "2.0.0",
            "O(log(N)) where N is the number of members.",
            "Tells how many members of a sorted set are before one.",
        )
        .syntax("key#0 member WITHSCORE?"),
    command("zrem", -3, FAST_WRITE, remove::zrem)
        .element(2)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, REMOVE)])
        .docs(
            Group::SortedSet,
            "1.2.0",
            "O(M*log(N)) where N is the number of members and M how many are removed.",
            "Removes members from a sorted set and tells how many it had.",
        )
        .syntax("key#0 member*"),
    command("zremrangebylex", 4, WRITE, remove::zremrangebylex)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, REMOVE)])
        .docs(
            Group::SortedSet,
            "2.8.9",
            "O(M*log(N)) where N is the number of members and M how many are removed.",
            "Removes the members between two others, where all have the same score.",
        )
        .syntax("key#0 min max"),
    command("zremrangebyrank", 4, WRITE, remove::zremrangebyrank)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, REMOVE)])
        .docs(
            Group::SortedSet,
            "2.0.0",
            "O(M*log(N)) where N is the number of members and M how many are removed.",
            "Removes the members in a range of ranks.",
        )
        .syntax("key#0 start:integer stop:integer"),
    command("zremrangebyscore", 4, WRITE, remove::zremrangebyscore)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, REMOVE)])
        .docs(
            Group::SortedSet,
            "1.2.0",
            "O(M*log(N)) where N is the number of members and M how many are removed.",
            "Removes the members whose scores are in a range.",
        )
        .syntax("key#0 min:double max:double"),
    command("zrevrange", -4, READ, range::zrevrange)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "1.2.0",
            "O(log(N) + M) where N is the number of members and M how many are returned.",
            "Returns the members in a range of ranks, counted from the highest score down.",
        )
        .syntax("key#0 start:integer stop:integer WITHSCORES?"),
    command("zrevrangebylex", -4, READ, range::zrevrangebylex)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "2.8.9",
            "O(log(N) + M) where N is the number of members and M how many are returned.",
            "Returns the members between two others from the last to the first, where all \
             have the same score.",
        )
        .syntax("key#0 max min LIMIT=limit{offset:integer count:integer}?"),
    command("zrevrangebyscore", -4, READ, range::zrevrangebyscore)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "2.2.0",
            "O(log(N) + M) where N is the number of members and M how many are returned.",
            "Returns the members whose scores are in a range, from the highest score down.",
        )
        .syntax(
            "key#0 max:double min:double WITHSCORES? LIMIT=limit{offset:integer \
                 count:integer}?",
        ),
    command("zrevrank", -3, FAST_READ, zrevrank)
        .element(2)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "2.0.0",
            "O(log(N)) where N is the number of members.",
            "Tells how many members of a sorted set are after one.",
        )
        .syntax("key#0 member WITHSCORE?"),
    command("zscan", -3, READ, zscan)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::SortedSet,
            "2.8.0",
            "O(1) for a call, O(N) for a whole iteration over N members.",
            "Lists the members of a sorted set with their scores a few at a time.",
        )
        .syntax("key#0 cursor:integer MATCH=pattern:pattern? COUNT=count:integer? NOSCORES?"),
    command("zscore", 3, FAST_READ, zscore)
        .element(2)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::SortedSet,
            "1.2.0",
            "O(1)",
            "Returns the score of a member.",
        )
        .syntax("key#0 member"),
    command("zunion", -3, READ.and(Flags::MOVABLEKEYS), combine::zunion)
        .acl(AclCategories::SORTEDSET)
        .keys(&[KeySpec::keynum(1, 1, 1, FETCH)])
        .docs(
            Group::SortedSet,
            "6.2.0",
            "O(N + R*log(R)) where N is the number of members of all sets together and R \
             that of the result.",
            "Returns the members that any of the sorted sets has.",
        )
        .syntax(
            "numkeys:integer key#0* WEIGHTS=weight:integer?* \
                 AGGREGATE=aggregate(SUM|MIN|MAX)? WITHSCORES?",
        ),
    command(
        "zunionstore",
        -4,
        STORE.and(Flags::MOVABLEKEYS),
        combine::zunionstore,
    )
    .acl(AclCategories::SORTEDSET)
    .keys(&[KeySpec::at(1, REPLACE), KeySpec::keynum(2, 1, 1, FETCH)])
    .docs(
        Group::SortedSet,
        "2.0.0",
        "O(N + R*log(R)) where N is the number of members of all sets together and R \
             that of the result.",
        "Sets a key to the members that any of the sorted sets has.",
    )
    .syntax(
        "destination#0 numkeys:integer key#1* WEIGHTS=weight:integer?* \
                 AGGREGATE=aggregate(SUM|MIN|MAX)?",
    ),
];

/// The sorted set of a key to be read.
#[inline]
pub(super) fn find<'d>(
    db: &'d mut Access<'_>,
    key: &[u8],
) -> Result<Option<ZsetRef<'d>>, CmdError> {
    Ok(typed(db, key, Type::Zset)?.map(ZsetRef::of))
}

/// Answers a member.
#[inline]
pub(super) fn reply(out: &mut ReplyWriter, member: Member<'_>) {
    match member {
        Member::Int(int) => out.bulk_int(int),
        Member::Bytes(bytes) => out.bulk(bytes),
    }
}

/// A reply of several members, on request with their scores.
struct Members<'o> {
    out: &'o mut ReplyWriter,
    with_scores: bool,
    /// A member and its score are an array of their own: mostly in RESP3 only.
    pairs: bool,
}

impl<'o> Members<'o> {
    fn new(out: &'o mut ReplyWriter, with_scores: bool) -> Members<'o> {
        let pairs = with_scores && out.is_resp3();
        Members {
            out,
            with_scores,
            pairs,
        }
    }

    /// Begins the array of all members.
    fn begin(&mut self, len: usize) {
        let flat = self.with_scores && !self.pairs;
        self.out.array(if flat { 2 * len } else { len });
    }

    #[inline]
    fn push(&mut self, member: Member<'_>, score: f64) {
        if !self.with_scores {
            return reply(self.out, member);
        }
        if self.pairs {
            self.out.array(2);
        }
        reply(self.out, member);
        self.out.double(score);
    }
}

/// The next argument as a score.
#[inline]
pub(super) fn score(args: &mut Args<'_>) -> Result<f64, CmdError> {
    parse_score(args.bytes()?).ok_or(CmdError::NotFloat)
}

/// Reads a score or a weight. Unlike other floats they are not hexadecimal, in Valkey.
#[inline]
fn parse_score(text: &[u8]) -> Option<f64> {
    // Whole numbers, which scores mostly are, need no second look.
    match num::parse_i64(text) {
        Some(int) => Some(int as f64),
        None => num::parse_f64(text).filter(|_| memchr::memchr2(b'x', b'X', text).is_none()),
    }
}

/// ZCARD key
fn zcard(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let len = find(&mut ctx.db, key)?.map_or(0, ZsetRef::len);
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}

/// ZSCORE key member
fn zscore(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let member = ctx.args.bytes()?;
    let zset = find(&mut ctx.db, key)?;
    match zset.and_then(|zset| zset.score(member)) {
        Some(score) => ctx.out.double(score),
        None => ctx.out.null(),
    }
    Ok(Next::Done)
}

/// `ZMSCORE key member [member ...]`
fn zmscore(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let zset = find(&mut ctx.db, key)?;
    let members = ctx.args.rest();
    ctx.out.array(members.len());
    for member in members.iter() {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => ctx.out.double(score),
            None => ctx.out.null(),
        }
    }
    Ok(Next::Done)
}

/// `ZRANK key member [WITHSCORE]`
fn zrank(ctx: &mut Ctx<'_>) -> CmdResult {
    rank(ctx, false)
}

/// `ZREVRANK key member [WITHSCORE]`
fn zrevrank(ctx: &mut Ctx<'_>) -> CmdResult {
    rank(ctx, true)
}

fn rank(ctx: &mut Ctx<'_>, back: bool) -> CmdResult {
    let key = ctx.args.bytes()?;
    let member = ctx.args.bytes()?;
    if ctx.args.remaining() > 1 {
        return Err(CmdError::WrongArity(ctx.command.full_name.clone().into()));
    }
    let with_score = match ctx.args.option() {
        Some(option) if is(option, "WITHSCORE") => true,
        Some(_) => return Err(CmdError::Syntax),
        None => false,
    };
    let found = find(&mut ctx.db, key)?.and_then(|zset| {
        let (rank, score) = zset.rank(member)?;
        Some((if back { zset.len() - 1 - rank } else { rank }, score))
    });
    match found {
        Some((rank, score)) => {
            if with_score {
                ctx.out.array(2);
            }
            ctx.out.integer(rank as i64);
            if with_score {
                ctx.out.double(score);
            }
        }
        None if with_score => ctx.out.null_array(),
        None => ctx.out.null(),
    }
    Ok(Next::Done)
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count] [NOSCORES]`
fn zscan(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let cursor = scan::parse_cursor(ctx.args.bytes()?).ok_or(CmdError::InvalidCursor)?;
    let Ctx { args, db, out, .. } = ctx;
    let Some(zset) = find(db, key)? else {
        scan::reply_step(out, |_| (0, 0));
        return Ok(Next::Done);
    };
    let options = scan::Options::parse(args, Some(Type::Zset))?;
    scan::reply_step(out, |members| {
        let (mut len, mut digits) = (0, itoa::Buffer::new());
        let mut score_text = Vec::new();
        let cursor = zset.scan(cursor, options.count, |member, score| {
            let text = member.bytes(&mut digits);
            if !options.matches(text) {
                return;
            }
            members.bulk(text);
            len += 1;
            if !options.only_names {
                // A string also in RESP3, and not always the shortest one.
                score_text.clear();
                match zset {
                    ZsetRef::Compact(_) => num::fmt_double(score, &mut score_text),
                    ZsetRef::Large(_) => num::fmt_double_17(score, &mut score_text),
                }
                members.bulk(&score_text);
                len += 1;
            }
        });
        (cursor, len)
    });
    Ok(Next::Done)
}
