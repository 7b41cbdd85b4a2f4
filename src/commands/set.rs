//! Set commands: the rows of the family, and the commands on one set or two.
//!
//! What takes several sets together is in `set/algebra.rs`, what is random in `set/random.rs`. How a
//! set is stored and when that changes is `value::set`'s; here are keys, options and replies.
//!
//! Invariants: members go from the set straight into the reply; a set that is emptied is removed with
//! its key when its guard is dropped.

use super::{CmdResult, Command, Ctx, Next, command, scan, typed, typed_mut, typed_or_create};
use crate::db::notice::EventClass;
use crate::resp::write::ReplyWriter;
use crate::spec::{AclCategories, CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::value::Type;
use crate::value::set::{self, Member, SetMut, SetRef};

mod algebra;
mod random;

#[cfg(test)]
mod tests;

/// Reads.
const READ: Flags = Flags::READONLY;
/// Reads, in constant time.
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
/// Writes, and may need memory.
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// Writes and needs no memory, in constant time.
const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);

/// Reads members for the client.
const FETCH: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
/// Takes members out and hands them to the client.
const TAKE: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE);
/// Adds members.
const INSERT: KeyFlags = KeyFlags::RW.and(KeyFlags::INSERT);
/// Replaces the value.
const REPLACE: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);

/// Keys of SDIFF, SINTER, SUNION.
const SOURCES: &[KeySpec] = &[KeySpec::range(1, -1, 1, FETCH)];
/// Keys of SDIFFSTORE, SINTERSTORE, SUNIONSTORE.
const DESTINATION_AND_SOURCES: &[KeySpec] =
    &[KeySpec::at(1, REPLACE), KeySpec::range(2, -1, 1, FETCH)];

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("sadd", -3, STORE.and(Flags::FAST), sadd)
        .element(2)
        .acl(AclCategories::SET)
        .keys(&[KeySpec::at(1, INSERT)])
        .docs(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members given.",
            "Adds members to a set and tells how many it did not have; creates the key if it is not \
             there.",
        )
        .syntax("key#0 member*"),
    command("scard", 2, FAST_READ, scard)
        .acl(AclCategories::SET)
        .keys(&[KeySpec::at(1, KeyFlags::RO)])
        .docs(
            Group::Set,
            "1.0.0",
            "O(1)",
            "Returns the number of members of a set.",
        )
        .syntax("key#0"),
    command("sdiff", -2, READ, algebra::sdiff)
        .acl(AclCategories::SET)
        .keys(SOURCES)
        .tips(&["nondeterministic_output_order"])
        .docs(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members of all sets together.",
            "Returns the members of the first set that none of the others has.",
        )
        .syntax("key#0*"),
    command("sdiffstore", -3, STORE, algebra::sdiffstore)
        .acl(AclCategories::SET)
        .keys(DESTINATION_AND_SOURCES)
        .docs(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members of all sets together.",
            "Sets a key to the members of the first set that none of the others has.",
        )
        .syntax("destination#0 key#1*"),
    command("sinter", -2, READ, algebra::sinter)
        .acl(AclCategories::SET)
        .keys(SOURCES)
        .tips(&["nondeterministic_output_order"])
        .docs(
            Group::Set,
            "1.0.0",
            "O(N*M) where N is the number of members of the smallest set and M the number of sets.",
            "Returns the members that all sets have.",
        )
        .syntax("key#0*"),
    command(
        "sintercard",
        -3,
        READ.and(Flags::MOVABLEKEYS),
        algebra::sintercard,
    )
    .acl(AclCategories::SET)
    .keys(&[KeySpec::keynum(1, 1, 1, FETCH)])
    .docs(
        Group::Set,
        "7.0.0",
        "O(N*M) where N is the number of members of the smallest set and M the number of sets.",
        "Counts the members that all sets have, on request up to a limit.",
    )
    .syntax("numkeys:integer key#0* LIMIT=limit:integer?"),
    command("sinterstore", -3, STORE, algebra::sinterstore)
        .acl(AclCategories::SET)
        .keys(DESTINATION_AND_SOURCES)
        .docs(
            Group::Set,
            "1.0.0",
            "O(N*M) where N is the number of members of the smallest set and M the number of sets.",
            "Sets a key to the members that all sets have.",
        )
        .syntax("destination#0 key#1*"),
    command("sismember", 3, FAST_READ, sismember)
        .element(2)
        .acl(AclCategories::SET)
        .keys(&[KeySpec::at(1, KeyFlags::RO)])
        .docs(
            Group::Set,
            "1.0.0",
            "O(1)",
            "Tells whether a set has a member.",
        )
        .syntax("key#0 member"),
    command("smembers", 2, READ, smembers)
        .acl(AclCategories::SET)
        .keys(&[KeySpec::at(1, FETCH)])
        .tips(&["nondeterministic_output_order"])
        .docs(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members.",
            "Returns all members of a set.",
        )
        .syntax("key#0"),
    command("smismember", -3, FAST_READ, smismember)
        .element(2)
        .acl(AclCategories::SET)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::Set,
            "6.2.0",
            "O(N) where N is the number of members asked for.",
            "Tells of several members whether a set has them.",
        )
        .syntax("key#0 member*"),
    command("smove", 4, FAST_WRITE, smove)
        .acl(AclCategories::SET)
        .keys(&[KeySpec::at(1, TAKE), KeySpec::at(2, INSERT)])
        .docs(
            Group::Set,
            "1.0.0",
            "O(1)",
            "Takes a member out of one set and adds it to another.",
        )
        .syntax("source#0 destination#1 member"),
    command("spop", -2, FAST_WRITE, random::spop)
        .acl(AclCategories::SET)
        .keys(&[KeySpec::at(1, TAKE)])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Set,
            "1.0.0",
            "O(1) for one member, O(N) for N of them.",
            "Takes random members out of a set and returns them.",
        )
        .syntax("key#0 count:integer?@3.2.0"),
    command("srandmember", -2, READ, random::srandmember)
        .acl(AclCategories::SET)
        .keys(&[KeySpec::at(1, FETCH)])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Set,
            "1.0.0",
            "O(1) for one member, O(N) for N of them.",
            "Returns random members of a set: different ones, or, for a negative count, \
             independent ones.",
        )
        .syntax("key#0 count:integer?@2.6.0"),
    command("srem", -3, FAST_WRITE, srem)
        .element(2)
        .acl(AclCategories::SET)
        .keys(&[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::DELETE))])
        .docs(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members given.",
            "Removes members from a set and tells how many it had.",
        )
        .syntax("key#0 member*"),
    command("sscan", -3, READ, sscan)
        .acl(AclCategories::SET)
        .keys(&[KeySpec::at(1, FETCH)])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Set,
            "2.8.0",
            "O(1) for a call, O(N) for a whole iteration over N members.",
            "Lists the members of a set a few at a time.",
        )
        .syntax("key#0 cursor:integer MATCH=pattern:pattern? COUNT=count:integer?"),
    command("sunion", -2, READ, algebra::sunion)
        .acl(AclCategories::SET)
        .keys(SOURCES)
        .tips(&["nondeterministic_output_order"])
        .docs(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members of all sets together.",
            "Returns the members that any of the sets has.",
        )
        .syntax("key#0*"),
    command("sunionstore", -3, STORE, algebra::sunionstore)
        .acl(AclCategories::SET)
        .keys(DESTINATION_AND_SOURCES)
        .docs(
            Group::Set,
            "1.0.0",
            "O(N) where N is the number of members of all sets together.",
            "Sets a key to the members that any of the sets has.",
        )
        .syntax("destination#0 key#1*"),
];

/// Answers a member.
#[inline]
fn reply(out: &mut ReplyWriter, member: Member<'_>) {
    match member {
        Member::Int(int) => out.bulk_int(int),
        Member::Bytes(bytes) => out.bulk(bytes),
    }
}

/// `SADD key member [member ...]`
fn sadd(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let members = ctx.args.rest();
    let first = members.get(0).ok_or(CmdError::Syntax)?;
    let limits = ctx.config.limits();
    let enc = set::initial(first, members.len(), &limits);
    let empty = set::empty(enc, ctx.db.keyspace().key_hash());
    let mut key = typed_or_create(&mut ctx.db, key, Type::Set, enc, empty)?;
    let mut set = SetMut::of(key.slot_mut());
    set.expect(members.len(), &limits);
    let added = match members.len() {
        1 => set.add(first, &limits) as usize,
        _ => set.add_all(members.iter(), &limits),
    };
    key.add_changes(added as u64);
    if added > 0 {
        key.notify(EventClass::SET, "sadd");
    }
    ctx.out.integer(added as i64);
    Ok(Next::Done)
}

/// `SREM key member [member ...]`
fn srem(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let members = ctx.args.rest();
    let mut removed = 0;
    if let Some(mut key) = typed_mut(&mut ctx.db, key, Type::Set)? {
        let mut set = SetMut::of(key.slot_mut());
        removed = members.iter().filter(|member| set.remove(member)).count();
        key.add_changes(removed as u64);
        if removed > 0 {
            key.notify(EventClass::SET, "srem");
        }
    }
    ctx.out.integer(removed as i64);
    Ok(Next::Done)
}

/// SMOVE source destination member
fn smove(ctx: &mut Ctx<'_>) -> CmdResult {
    let (source, destination) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let member = ctx.args.bytes()?;
    let Some(from) = typed_mut(&mut ctx.db, source, Type::Set)? else {
        ctx.out.integer(0);
        return Ok(Next::Done);
    };
    if source == destination {
        let found = SetRef::of(from.entry()).contains(member);
        ctx.out.integer(found as i64);
        drop(from);
        ctx.db.count_again(source);
        return Ok(Next::Done);
    }
    drop(from);
    typed_mut(&mut ctx.db, destination, Type::Set)?;
    ctx.db.set_counting(false);
    let mut removed = false;
    if let Some(mut from) = typed_mut(&mut ctx.db, source, Type::Set)? {
        removed = SetMut::of(from.slot_mut()).remove(member);
        from.add_changes(removed as u64);
        if removed {
            from.notify(EventClass::SET, "srem");
        }
    }
    if removed {
        let limits = ctx.config.limits();
        let enc = set::initial(member, 1, &limits);
        let empty = set::empty(enc, ctx.db.keyspace().key_hash());
        let mut to = typed_or_create(&mut ctx.db, destination, Type::Set, enc, empty)?;
        let added = SetMut::of(to.slot_mut()).add(member, &limits);
        to.add_changes(added as u64);
        if added {
            to.notify(EventClass::SET, "sadd");
        }
    }
    ctx.out.integer(removed as i64);
    Ok(Next::Done)
}

/// SISMEMBER key member
fn sismember(ctx: &mut Ctx<'_>) -> CmdResult {
    let (key, member) = (ctx.args.bytes()?, ctx.args.bytes()?);
    let found = typed(&mut ctx.db, key, Type::Set)?;
    let is_member = found.is_some_and(|entry| SetRef::of(entry).contains(member));
    ctx.out.integer(is_member as i64);
    Ok(Next::Done)
}

/// `SMISMEMBER key member [member ...]`
fn smismember(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let members = ctx.args.rest();
    let Ctx { db, out, .. } = ctx;
    let found = typed(db, key, Type::Set)?;
    out.array(members.len());
    match found.map(SetRef::of) {
        Some(set) => set.contains_each(members.iter(), |found| out.integer(found as i64)),
        None => members.iter().for_each(|_| out.integer(0)),
    }
    Ok(Next::Done)
}

/// SCARD key
fn scard(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let found = typed(&mut ctx.db, key, Type::Set)?;
    let len = found.map_or(0, |entry| SetRef::of(entry).len());
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}

/// SMEMBERS key
fn smembers(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let Ctx { db, out, .. } = ctx;
    match typed(db, key, Type::Set)?.map(SetRef::of) {
        Some(set) => {
            out.set(set.len());
            set.iter().for_each(|member| reply(out, member));
        }
        None => out.set(0),
    }
    Ok(Next::Done)
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
fn sscan(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let cursor = scan::parse_cursor(ctx.args.bytes()?).ok_or(CmdError::InvalidCursor)?;
    let Ctx { args, db, out, .. } = ctx;
    let Some(set) = typed(db, key, Type::Set)?.map(SetRef::of) else {
        scan::reply_step(out, |_| (0, 0));
        return Ok(Next::Done);
    };
    let options = scan::Options::parse(args, Some(Type::Set))?;
    scan::reply_step(out, |members| {
        let (mut len, mut digits) = (0, itoa::Buffer::new());
        let cursor = set.scan(cursor, options.count, |member| {
            let text = member.bytes(&mut digits);
            if options.matches(text) {
                members.bulk(text);
                len += 1;
            }
        });
        (cursor, len)
    });
    Ok(Next::Done)
}
