//! Commands on keys of any type: COPY, DEL, EXISTS, MOVE, OBJECT, RENAME, TOUCH, TYPE, UNLINK.
//!
//! What moves takes its expiry along. RENAME and MOVE take the entry out of its place and put it
//! into the other one; a value of 16 KiB or more and a large collection are handed over, never
//! copied. COPY shares a large string until one of the two keys changes it. Both keys' shards are
//! held, so nobody sees neither or both.
//!
//! DEL and UNLINK are one: large values are always freed in the background.

use crate::db::notice::EventClass;
use crate::db::usage::{Measure, Stamp};
use crate::db::{Access, DbIndex, Lookup, PREFETCH_KEYS_MAX};
use crate::ds::entry::{Entry, EntryRef, NewValue, ValueRef};
use crate::resp::parse::Argv;
use crate::spec::{AclCategories, Args, CmdError, Databases, Flags, Group, KeyFlags, KeySpec};
use crate::value::{self, Encoding, Type};

use super::{CmdResult, Command, Ctx, Next, command, container, help};

const ACCESS_RO: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
const UPDATE_OW: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);
const DELETE_RM: KeyFlags = KeyFlags::RM.and(KeyFlags::DELETE);
const MOVE_RW: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE);
const RENAME_RW: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE);
const INSERT_OW: KeyFlags = KeyFlags::OW.and(KeyFlags::INSERT);

/// Tips of commands that a proxy may split by key and sum up.
const SUMMED: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("copy", -3, Flags::DENYOOM.and(Flags::WRITE), copy)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::at(1, ACCESS_RO), KeySpec::at(2, UPDATE_OW)])
        .databases(Databases::Also(copy_databases))
        .docs(
            Group::Generic,
            "6.2.0",
            "O(1) for strings, O(N) for a collection of N elements.",
            "Gives a second key the value and the expiry of a first.",
        )
        .syntax("source#0 destination#1 DB=destination-db:integer? REPLACE?"),
    command("del", -2, Flags::WRITE, del)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::range(1, -1, 1, DELETE_RM)])
        .tips(SUMMED)
        .docs(
            Group::Generic,
            "1.0.0",
            "O(1) for each key.",
            "Deletes keys and tells how many there were.",
        )
        .syntax("key#0*"),
    command("exists", -2, Flags::FAST.and(Flags::READONLY), exists)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO)])
        .tips(SUMMED)
        .docs(
            Group::Generic,
            "1.0.0",
            "O(1) for each key.",
            "Counts how many of the named keys are there.",
        )
        .syntax("key#0*"),
    command("move", 3, Flags::FAST.and(Flags::WRITE), move_)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::at(1, MOVE_RW)])
        .databases(Databases::Also(|_| vec![2]))
        .docs(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Takes a key over into another database that does not have it.",
        )
        .syntax("key#0 db:integer"),
    command("object", -2, Flags::NONE, container)
        .docs(
            Group::Generic,
            "2.2.3",
            "Depends on subcommand.",
            "Groups the commands that look at how a value is kept.",
        )
        .subcommands(OBJECT),
    command("rename", 3, Flags::WRITE, rename)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::at(1, RENAME_RW), KeySpec::at(2, UPDATE_OW)])
        .docs(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Gives a key another name, in place of what had that name.",
        )
        .syntax("key#0 newkey#1"),
    command("renamenx", 3, Flags::FAST.and(Flags::WRITE), renamenx)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::at(1, RENAME_RW), KeySpec::at(2, INSERT_OW)])
        .docs(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Gives a key another name, unless that is taken.",
        )
        .syntax("key#0 newkey#1"),
    command("touch", -2, Flags::FAST.and(Flags::READONLY), touch)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::range(1, -1, 1, KeyFlags::RO)])
        .tips(SUMMED)
        .docs(
            Group::Generic,
            "3.2.1",
            "O(1) for each key.",
            "Marks keys as just used and counts how many are there.",
        )
        .syntax("key#0*"),
    command("type", 2, Flags::FAST.and(Flags::READONLY), type_)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::at(1, KeyFlags::RO)])
        .docs(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Names the type of a key's value.",
        )
        .syntax("key#0"),
    command("unlink", -2, Flags::FAST.and(Flags::WRITE), del)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::range(1, -1, 1, DELETE_RM)])
        .tips(SUMMED)
        .docs(
            Group::Generic,
            "4.0.0",
            "O(1) for each key; what large values held is freed later.",
            "Deletes keys without waiting for their memory to be freed.",
        )
        .syntax("key#0*"),
];

/// OBJECT's subcommands.
const OBJECT: &[Command] = &[
    command("encoding", 3, Flags::READONLY, object_encoding)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::at(2, KeyFlags::RO)])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Generic,
            "2.2.3",
            "O(1)",
            "Names the internal encoding of a key's value.",
        )
        .syntax("key#0"),
    command("freq", 3, Flags::READONLY, object_freq)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::at(2, KeyFlags::RO)])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Generic,
            "4.0.0",
            "O(1)",
            "Tells how often a key is used, as the LFU policies count it.",
        )
        .syntax("key#0"),
    command("help", 2, Flags::LOADING.and(Flags::STALE), object_help)
        .acl(AclCategories::KEYSPACE)
        .docs(
            Group::Generic,
            "6.2.0",
            "O(1)",
            "Lists the subcommands of OBJECT.",
        ),
    command("idletime", 3, Flags::READONLY, object_idletime)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::at(2, KeyFlags::RO)])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Generic,
            "2.2.3",
            "O(1)",
            "Tells for how many seconds a key has not been used.",
        )
        .syntax("key#0"),
    command("refcount", 3, Flags::READONLY, object_refcount)
        .acl(AclCategories::KEYSPACE)
        .keys(&[KeySpec::at(2, KeyFlags::RO)])
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Generic,
            "2.2.3",
            "O(1)",
            "Tells how many references a key's value has.",
        )
        .syntax("key#0"),
];

const NOT_LFU: CmdError = CmdError::text(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
     when switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

const IS_LFU: CmdError = CmdError::text(
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when \
     switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

const NOT_INT32: CmdError =
    CmdError::text("ERR value is out of range, value must between -2147483648 and 2147483647");

/// Where COPY's options name databases; none if they are not well-formed.
fn copy_databases(argv: Argv<'_>) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = 3;
    while let Some(option) = argv.get(at) {
        if option.eq_ignore_ascii_case(b"REPLACE") {
            at += 1;
        } else if option.eq_ignore_ascii_case(b"DB") && at + 1 < argv.len() {
            found.push(at + 1);
            at += 2;
        } else {
            return Vec::new();
        }
    }
    found
}

/// `COPY source destination [DB destination-db] [REPLACE]`
fn copy(ctx: &mut Ctx<'_>) -> CmdResult {
    let source = ctx.args.bytes()?;
    let destination = ctx.args.bytes()?;
    let (from_db, mut to_db, mut replace) = (ctx.db.db(), ctx.db.db(), false);
    while !ctx.args.is_empty() {
        if ctx.args.take("REPLACE") {
            replace = true;
        } else if ctx.args.remaining() > 1 && ctx.args.take("DB") {
            to_db = database(&mut ctx.args, ctx.db.keyspace().databases())?;
        } else {
            return Err(CmdError::Syntax);
        }
    }
    if from_db == to_db && source == destination {
        return Err(CmdError::SameObject);
    }
    let Some(entry) = ctx.db.find(source, Lookup::Read) else {
        ctx.out.integer(0);
        return Ok(Next::Done);
    };
    let copied = reencoded(duplicate(entry).with_key(destination));
    ctx.db.select(to_db);
    let done = replace || ctx.db.find_mut(destination).is_none();
    if done {
        ctx.db.put(copied);
        ctx.db.notify(EventClass::GENERIC, "copy_to", destination);
    }
    ctx.out.integer(done as i64);
    Ok(Next::Done)
}

/// `DEL key [key ...], UNLINK key [key ...]`
fn del(ctx: &mut Ctx<'_>) -> CmdResult {
    count_keys(ctx, |db, key| db.remove(key))
}

/// `EXISTS key [key ...]`
fn exists(ctx: &mut Ctx<'_>) -> CmdResult {
    count_keys(ctx, |db, key| db.exists(key, Lookup::NoTouch))
}

/// `TOUCH key [key ...]`
fn touch(ctx: &mut Ctx<'_>) -> CmdResult {
    count_keys(ctx, |db, key| db.exists(key, Lookup::Touch))
}

/// Replies for how many of the keys that are left in the arguments `act` says true.
fn count_keys<'k>(
    ctx: &mut Ctx<'k>,
    mut act: impl FnMut(&mut Access<'k>, &[u8]) -> bool,
) -> CmdResult {
    let keys = ctx.args.rest();
    let mut count = 0;
    for first in (0..keys.len()).step_by(PREFETCH_KEYS_MAX) {
        let some = keys.from(first);
        if some.len() > 1 {
            ctx.db.prefetch(some.iter());
        }
        for key in some.iter().take(PREFETCH_KEYS_MAX) {
            count += act(&mut ctx.db, key) as i64;
        }
    }
    ctx.out.integer(count);
    Ok(Next::Done)
}

/// MOVE key db
fn move_(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let from_db = ctx.db.db();
    let to_db = database(&mut ctx.args, ctx.db.keyspace().databases())?;
    if from_db == to_db {
        return Err(CmdError::SameObject);
    }
    let is_there = ctx.db.find_mut(key).is_some();
    ctx.db.select(to_db);
    let moves = is_there && ctx.db.find_mut(key).is_none();
    ctx.db.select(from_db);
    let entry = match moves {
        true => ctx.db.take(key),
        false => None,
    };
    ctx.out.integer(entry.is_some() as i64);
    if let Some(entry) = entry {
        ctx.db.select(to_db);
        ctx.db.put(entry);
        ctx.db.select(from_db);
        ctx.db.notify(EventClass::GENERIC, "move_from", key);
        ctx.db.select(to_db);
        ctx.db.notify(EventClass::GENERIC, "move_to", key);
    }
    Ok(Next::Done)
}

/// RENAME key newkey
fn rename(ctx: &mut Ctx<'_>) -> CmdResult {
    rename_if(ctx, |_| true)?;
    ctx.out.ok();
    Ok(Next::Done)
}

/// RENAMENX key newkey
fn renamenx(ctx: &mut Ctx<'_>) -> CmdResult {
    let done = rename_if(ctx, |taken| !taken)?;
    ctx.out.integer(done as i64);
    Ok(Next::Done)
}

/// Renames the key that the first argument names when `may` agrees, which hears whether the new
/// name is taken; false when it did not.
fn rename_if(ctx: &mut Ctx<'_>, may: impl FnOnce(bool) -> bool) -> Result<bool, CmdError> {
    let from = ctx.args.bytes()?;
    let to = ctx.args.bytes()?;
    if ctx.db.find_mut(from).is_none() {
        return Err(CmdError::NoSuchKey);
    }
    // Of the same name it is found again.
    let taken = from == to || ctx.db.find_mut(to).is_some();
    if !may(taken) {
        return Ok(false);
    }
    if from != to
        && let Some(entry) = ctx.db.take(from)
    {
        ctx.db.put(reencoded(entry.with_key(to)));
        ctx.db.notify(EventClass::GENERIC, "rename_from", from);
        ctx.db.notify(EventClass::GENERIC, "rename_to", to);
    }
    Ok(true)
}

/// A copy of an entry; a large string is shared until one of the two changes it.
fn duplicate(entry: EntryRef<'_>) -> Entry {
    let value = match entry.value() {
        ValueRef::Int(int) => NewValue::Int(int),
        ValueRef::Bytes(bytes) => NewValue::Bytes(bytes),
        ValueRef::Shared(bytes) => NewValue::Shared(bytes.clone()),
        ValueRef::Collection(collection) => NewValue::Collection(Box::new(collection.duplicate())),
    };
    Entry::new(entry.key(), entry.meta(), value, entry.expire_at_ms())
}

/// The entry with the encoding that its new key gives it: whether Valkey keeps a short string
/// beside its key depends on the key, too.
fn reencoded(mut entry: Entry) -> Entry {
    let view = entry.view();
    let is_string = view.type_() == Type::String as u8;
    if is_string && Encoding::from_nibble(view.enc()) == Encoding::Embstr {
        let (key_len, value_len) = (view.key().len(), value::string::len(view.value()));
        let enc = value::string::encoding(key_len, value_len, view.expire_at_ms().is_some());
        entry.view_mut().set_enc(enc as u8);
    }
    entry
}

/// The next argument as the number of one of `databases`.
fn database(args: &mut Args<'_>, databases: u32) -> Result<DbIndex, CmdError> {
    let number = args.int_in(i32::MIN.into(), i32::MAX.into(), NOT_INT32)?;
    match u32::try_from(number) {
        Ok(number) if number < databases => Ok(DbIndex(number)),
        _ => Err(CmdError::DbIndexOutOfRange),
    }
}

/// TYPE key
fn type_(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let name = match ctx.db.find(key, Lookup::NoTouch) {
        Some(entry) => Type::from_nibble(entry.type_()).name(),
        None => "none",
    };
    ctx.out.simple(name);
    Ok(Next::Done)
}

/// OBJECT ENCODING key
fn object_encoding(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    match ctx.db.find(key, Lookup::Untold) {
        Some(entry) => {
            let encoding = Encoding::from_nibble(entry.enc());
            ctx.out.bulk(encoding.name().as_bytes());
        }
        None => ctx.out.null(),
    }
    Ok(Next::Done)
}

/// OBJECT FREQ key
fn object_freq(ctx: &mut Ctx<'_>) -> CmdResult {
    object_use(ctx, |stamp, lru| match stamp.measure() {
        Measure::Lfu => Ok(stamp.frequency(lru).into()),
        Measure::Lru | Measure::Lrm => Err(NOT_LFU),
    })
}

/// OBJECT IDLETIME key
fn object_idletime(ctx: &mut Ctx<'_>) -> CmdResult {
    object_use(ctx, |stamp, lru| match stamp.measure() {
        Measure::Lfu => Err(IS_LFU),
        Measure::Lru | Measure::Lrm => Ok(stamp.idle_secs(lru) as i64),
    })
}

/// Replies what a key's LRU field says.
fn object_use(
    ctx: &mut Ctx<'_>,
    read: impl FnOnce(Stamp, u32) -> Result<i64, CmdError>,
) -> CmdResult {
    let key = ctx.args.bytes()?;
    let stamp = ctx.db.keyspace().usage.stamp(ctx.clock_ms());
    match ctx.db.find(key, Lookup::Untold) {
        Some(entry) => ctx.out.integer(read(stamp, entry.lru())?),
        None => ctx.out.null(),
    }
    Ok(Next::Done)
}

/// OBJECT REFCOUNT key
fn object_refcount(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    match ctx.db.exists(key, Lookup::Untold) {
        true => ctx.out.integer(1),
        false => ctx.out.null(),
    }
    Ok(Next::Done)
}

/// OBJECT HELP
fn object_help(ctx: &mut Ctx<'_>) -> CmdResult {
    help(
        ctx,
        "OBJECT",
        &[
            "ENCODING <key>",
            "    Name the encoding in which the value of <key> is kept.",
            "FREQ <key>",
            "    Return how often <key> is used: the logarithmic counter that the LFU maxmemory",
            "    policies keep.",
            "IDLETIME <key>",
            "    Return for how many seconds <key> has not been used.",
            "REFCOUNT <key>",
            "    Return how many references the value of <key> has.",
        ],
    )
}

#[cfg(test)]
mod tests;
