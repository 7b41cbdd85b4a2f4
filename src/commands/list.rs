//! List commands: the rows of the family, and the commands that read.
//!
//! What adds or replaces elements is in `list/change.rs`, what takes elements out of one of several
//! lists in `list/pop.rs`, what moves one from a list to another in `list/transfer.rs`; the last two
//! hold the blocking commands, too. What a list is and how it is stored is `value::list`'s; here are
//! keys, options and replies.
//!
//! Invariant: a list that is emptied is removed with its key, before or by the end of the `KeyMut`
//! through which it was emptied.

use std::ops::ControlFlow;

use super::{Block, BlockOn, CmdResult, Command, Ctx, Next, command, typed};
use crate::ds::listpack::{Needle, Value};
use crate::resp::write::ReplyWriter;
use crate::spec::{AclCategories, Args, CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::value::Type;
use crate::value::list::{self, End, ListRef};

mod change;
mod pop;
mod transfer;

#[cfg(test)]
mod tests;

/// Reads.
const READ: Flags = Flags::READONLY;
/// Writes and needs no memory.
const WRITE: Flags = Flags::WRITE;
/// Writes, and may need memory.
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// The same, in constant time.
const FAST_STORE: Flags = STORE.and(Flags::FAST);
/// Takes elements out, in constant time.
const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);
/// May wait for its keys.
const BLOCKING: Flags = Flags::BLOCKING;

/// Reads elements for the client.
const FETCH: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
/// Reads elements for the client and takes them out.
const TAKE: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE);
/// Adds elements.
const ADD: KeyFlags = KeyFlags::RW.and(KeyFlags::INSERT);
/// Removes elements.
const DELETE: KeyFlags = KeyFlags::RW.and(KeyFlags::DELETE);

/// Of the commands that push.
const PUSH_COMPLEXITY: &str = "O(N) where N is the number of elements added.";
/// Of the commands that pop.
const POP_COMPLEXITY: &str = "O(N) where N is the number of elements returned.";

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("blmove", 6, STORE.and(BLOCKING), transfer::blmove)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, TAKE), KeySpec::at(2, ADD)])
        .docs(
            Group::List,
            "6.2.0",
            "O(1)",
            "Moves an element from an end of a list to an end of another one and returns it; \
             waits for an element if there is none.",
        )
        .syntax("source#0 destination#1 wherefrom(LEFT|RIGHT) whereto(LEFT|RIGHT) timeout:double"),
    command(
        "blmpop",
        -5,
        WRITE.and(BLOCKING).and(Flags::MOVABLEKEYS),
        pop::blmpop,
    )
    .acl(AclCategories::LIST)
    .keys(&[KeySpec::keynum(2, 1, 1, TAKE)])
    .docs(
        Group::List,
        "7.0.0",
        "O(N+M) where N is the number of keys and M the number of elements returned.",
        "Removes and returns elements at an end of the first of several lists that is there; \
         waits for one if none is.",
    )
    .syntax("timeout:double numkeys:integer key#0* where(LEFT|RIGHT) COUNT=count:integer?"),
    command("blpop", -3, WRITE.and(BLOCKING), pop::blpop)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::range(1, -2, 1, TAKE)])
        .docs(
            Group::List,
            "2.0.0",
            "O(N) where N is the number of keys.",
            "Removes and returns the first element of the first of several lists that is there; \
             waits for one if none is.",
        )
        .syntax("key#0* timeout:double"),
    command("brpop", -3, WRITE.and(BLOCKING), pop::brpop)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::range(1, -2, 1, TAKE)])
        .docs(
            Group::List,
            "2.0.0",
            "O(N) where N is the number of keys.",
            "Removes and returns the last element of the first of several lists that is there; \
             waits for one if none is.",
        )
        .syntax("key#0* timeout:double"),
    command("brpoplpush", 4, STORE.and(BLOCKING), transfer::brpoplpush)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, TAKE), KeySpec::at(2, ADD)])
        .docs(
            Group::List,
            "2.2.0",
            "O(1)",
            "Moves the last element of a list to the start of another one and returns it; \
             waits for an element if there is none.",
        )
        .syntax("source#0 destination#1 timeout:double"),
    command("lindex", 3, READ, lindex)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::List,
            "1.0.0",
            "O(N) where N is the distance of the element from the nearer end.",
            "Returns the element at an index.",
        )
        .syntax("key#0 index:integer"),
    command("linsert", 5, STORE, change::linsert)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, ADD)])
        .docs(
            Group::List,
            "2.2.0",
            "O(N) where N is the number of elements up to the pivot.",
            "Inserts an element before or after the first one that equals the pivot.",
        )
        .syntax("key#0 where(BEFORE|AFTER) pivot element"),
    command("llen", 2, READ.and(Flags::FAST), llen)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, KeyFlags::RO)])
        .docs(
            Group::List,
            "1.0.0",
            "O(1)",
            "Returns the number of elements of a list.",
        )
        .syntax("key#0"),
    command("lmove", 5, STORE, transfer::lmove)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, TAKE), KeySpec::at(2, ADD)])
        .docs(
            Group::List,
            "6.2.0",
            "O(1)",
            "Moves an element from an end of a list to an end of another one and returns it.",
        )
        .syntax("source#0 destination#1 wherefrom(LEFT|RIGHT) whereto(LEFT|RIGHT)"),
    command("lmpop", -4, WRITE.and(Flags::MOVABLEKEYS), pop::lmpop)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::keynum(1, 1, 1, TAKE)])
        .docs(
            Group::List,
            "7.0.0",
            "O(N+M) where N is the number of keys and M the number of elements returned.",
            "Removes and returns elements at an end of the first of several lists that is there.",
        )
        .syntax("numkeys:integer key#0* where(LEFT|RIGHT) COUNT=count:integer?"),
    command("lpop", -2, FAST_WRITE, pop::lpop)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, TAKE)])
        .docs(
            Group::List,
            "1.0.0",
            POP_COMPLEXITY,
            "Removes and returns the first element or elements of a list.",
        )
        .syntax("key#0 count:integer?@6.2.0"),
    command("lpos", -3, READ, lpos)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::List,
            "6.0.6",
            "O(N) where N is the number of elements looked at.",
            "Returns the index of an element, or the indexes of several equal ones.",
        )
        .syntax("key#0 element RANK=rank:integer? COUNT=num-matches:integer? MAXLEN=len:integer?"),
    command("lpush", -3, FAST_STORE, change::lpush)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, ADD)])
        .docs(
            Group::List,
            "1.0.0",
            PUSH_COMPLEXITY,
            "Adds elements, one after the other, to the start of a list; \
             creates the key if it is not there.",
        )
        .syntax("key#0 element*"),
    command("lpushx", -3, FAST_STORE, change::lpushx)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, ADD)])
        .docs(
            Group::List,
            "2.2.0",
            PUSH_COMPLEXITY,
            "Adds elements, one after the other, to the start of a list that is there.",
        )
        .syntax("key#0 element*"),
    command("lrange", 4, READ, lrange)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::List,
            "1.0.0",
            "O(S+N) where S is the distance of the range from the nearer end and N its length.",
            "Returns the elements between two indexes, both included.",
        )
        .syntax("key#0 start:integer stop:integer"),
    command("lrem", 4, WRITE, change::lrem)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, DELETE)])
        .docs(
            Group::List,
            "1.0.0",
            "O(N) where N is the length of the list.",
            "Removes elements that equal the given one: the first, the last, or all of them.",
        )
        .syntax("key#0 count:integer element"),
    command("lset", 4, STORE, change::lset)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))])
        .docs(
            Group::List,
            "1.0.0",
            "O(N) where N is the distance of the element from the nearer end.",
            "Replaces the element at an index.",
        )
        .syntax("key#0 index:integer element"),
    command("ltrim", 4, WRITE, change::ltrim)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, DELETE)])
        .docs(
            Group::List,
            "1.0.0",
            "O(N) where N is the number of elements removed.",
            "Removes all elements but those between two indexes, both included.",
        )
        .syntax("key#0 start:integer stop:integer"),
    command("rpop", -2, FAST_WRITE, pop::rpop)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, TAKE)])
        .docs(
            Group::List,
            "1.0.0",
            POP_COMPLEXITY,
            "Removes and returns the last element or elements of a list.",
        )
        .syntax("key#0 count:integer?@6.2.0"),
    command("rpoplpush", 3, STORE, transfer::rpoplpush)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, TAKE), KeySpec::at(2, ADD)])
        .docs(
            Group::List,
            "1.2.0",
            "O(1)",
            "Moves the last element of a list to the start of another one and returns it.",
        )
        .syntax("source#0 destination#1"),
    command("rpush", -3, FAST_STORE, change::rpush)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, ADD)])
        .docs(
            Group::List,
            "1.0.0",
            PUSH_COMPLEXITY,
            "Adds elements, one after the other, to the end of a list; \
             creates the key if it is not there.",
        )
        .syntax("key#0 element*"),
    command("rpushx", -3, FAST_STORE, change::rpushx)
        .acl(AclCategories::LIST)
        .keys(&[KeySpec::at(1, ADD)])
        .docs(
            Group::List,
            "2.2.0",
            PUSH_COMPLEXITY,
            "Adds elements, one after the other, to the end of a list that is there.",
        )
        .syntax("key#0 element*"),
];

/// Answers an element.
#[inline]
fn reply(out: &mut ReplyWriter, value: Value<'_>) {
    match value {
        Value::Bytes(bytes) => out.bulk(bytes),
        Value::Int(int) => out.bulk_int(int),
    }
}

/// The list of a key to be read.
#[inline]
fn list_of<'d>(ctx: &'d mut Ctx<'_>, key: &[u8]) -> Result<Option<ListRef<'d>>, CmdError> {
    let found = typed(&mut ctx.db, key, Type::List)?;
    Ok(found.map(|entry| ListRef::new(entry.value())))
}

/// The next argument as an end of a list: LEFT or RIGHT.
fn end_of_list(args: &mut Args<'_>) -> Result<End, CmdError> {
    let word = args.bytes()?;
    if word.eq_ignore_ascii_case(b"left") {
        Ok(End::Head)
    } else if word.eq_ignore_ascii_case(b"right") {
        Ok(End::Tail)
    } else {
        Err(CmdError::Syntax)
    }
}

/// The next argument as a number that may be any but the one without a positive counterpart.
fn negatable(args: &mut Args<'_>) -> Result<i64, CmdError> {
    const OUT_OF_RANGE: CmdError = CmdError::text(
        "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
    );
    args.int_in(-i64::MAX, i64::MAX, OUT_OF_RANGE)
}

/// A command that found nothing: the client waits, or is answered `null` if it can not.
fn block(
    ctx: &mut Ctx<'_>,
    deadline_ms: Option<u64>,
    keys: BlockOn,
    null: fn(&mut ReplyWriter),
) -> CmdResult {
    if !ctx.may_block {
        null(ctx.out);
        return Ok(Next::Done);
    }
    Ok(Next::Block(Block::new(Type::List, keys, deadline_ms)))
}

fn llen(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let len = list_of(ctx, key)?.map_or(0, ListRef::len);
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}

fn lindex(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    // The key is looked at first, as in Redis.
    let Some(entry) = typed(&mut ctx.db, key, Type::List)? else {
        ctx.out.null();
        return Ok(Next::Done);
    };
    let list = ListRef::new(entry.value());
    match list.index(ctx.args.int()?) {
        Some(index) => list.walk_range(index..index + 1, End::Tail, |value| {
            reply(ctx.out, value);
        }),
        None => ctx.out.null(),
    }
    Ok(Next::Done)
}

fn lrange(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let (start, stop) = (ctx.args.int()?, ctx.args.int()?);
    let Some(entry) = typed(&mut ctx.db, key, Type::List)? else {
        ctx.out.array(0);
        return Ok(Next::Done);
    };
    let list = ListRef::new(entry.value());
    let range = list::range(list.len(), start, stop);
    let out = &mut *ctx.out;
    out.array(range.len());
    list.walk_range(range, End::Tail, |value| reply(out, value));
    Ok(Next::Done)
}

/// What LPOS looks for.
struct Search {
    /// Which match is the first that counts, at least 1.
    rank: i64,
    from: End,
    /// How many are wanted: `None` for one, not in an array; 0 for all.
    count: Option<i64>,
    /// How many elements are looked at; 0 for all.
    len_max: i64,
}

impl Search {
    fn parse(args: &mut Args<'_>) -> Result<Search, CmdError> {
        const ZERO_RANK: CmdError = CmdError::text(
            "ERR RANK can't be zero: use 1 to start from the first match, \
             2 from the second ... or use negative to start from the end of the list",
        );
        const COUNT: CmdError = CmdError::text("ERR COUNT can't be negative");
        const MAXLEN: CmdError = CmdError::text("ERR MAXLEN can't be negative");
        let mut search = Search {
            rank: 1,
            from: End::Head,
            count: None,
            len_max: 0,
        };
        while let Some(word) = args.option() {
            let positive = |args: &mut Args<'_>, error: CmdError| match args.int() {
                Ok(number @ 0..) => Ok(number),
                _ => Err(error),
            };
            if args.is_empty() {
                return Err(CmdError::Syntax);
            } else if word.eq_ignore_ascii_case(b"rank") {
                search.rank = negatable(args)?;
                if search.rank == 0 {
                    return Err(ZERO_RANK);
                }
            } else if word.eq_ignore_ascii_case(b"count") {
                search.count = Some(positive(args, COUNT)?);
            } else if word.eq_ignore_ascii_case(b"maxlen") {
                search.len_max = positive(args, MAXLEN)?;
            } else {
                return Err(CmdError::Syntax);
            }
        }
        if search.rank < 0 {
            search.from = End::Tail;
            search.rank = -search.rank;
        }
        Ok(search)
    }

    /// Hands the index of every match that is wanted to `found`.
    fn run(&self, list: ListRef<'_>, element: &[u8], mut found: impl FnMut(usize)) {
        let needle = Needle::new(element);
        let last = list.len().saturating_sub(1);
        let (first, towards) = match self.from {
            End::Head => (0, End::Tail),
            End::Tail => (last, End::Head),
        };
        let (mut looked_at, mut matches) = (0, 0);
        list.walk(first, towards, |value| {
            if needle.is(value) {
                matches += 1;
                if matches >= self.rank {
                    found(match self.from {
                        End::Head => looked_at,
                        End::Tail => last - looked_at,
                    });
                    let wanted = self.count.unwrap_or(1);
                    if wanted != 0 && matches - self.rank + 1 >= wanted {
                        return ControlFlow::Break(());
                    }
                }
            }
            looked_at += 1;
            if looked_at as i64 == self.len_max {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
    }
}

fn lpos(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, element) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let search = Search::parse(&mut ctx.args)?;
    let found = typed(&mut ctx.db, key, Type::List)?;
    let list = found.map(|entry| ListRef::new(entry.value()));
    let out = &mut *ctx.out;
    match (search.count, list) {
        (None, None) => out.null(),
        (Some(_), None) => out.array(0),
        (None, Some(list)) => {
            let mut index = None;
            search.run(list, element, |at| index = Some(at));
            match index {
                Some(index) => out.integer(index as i64),
                None => out.null(),
            }
        }
        (Some(_), Some(list)) => {
            let array = out.deferred_array();
            let mut matches = 0;
            search.run(list, element, |index| {
                out.integer(index as i64);
                matches += 1;
            });
            out.set_deferred(array, matches);
        }
    }
    Ok(Next::Done)
}
