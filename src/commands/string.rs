//! String commands: the rows of the family, and the commands that read.
//!
//! Writing whole values is in `string/set.rs` (its options in `string/options.rs`), changing them
//! in part in `string/change.rs`, numbers in `string/count.rs`, LCS in `string/lcs.rs`. What a
//! value is and how it is stored is `value::string`'s; here are keys, options and replies.
//!
//! Invariants: a value that is written goes through [`store`], so that it gets the encoding that
//! Valkey reports; a value that is read goes through [`string_value`], so that no other type is
//! taken for a string.

use super::{CmdResult, Command, Ctx, Next, command, reply};
use crate::db::{Access, Expire, Lookup, PREFETCH_KEYS_MAX};
use crate::ds::entry::{EntryRef, NewValue, ValueRef};
use crate::spec::{AclCategories, CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::value::{Encoding, Type, string};

mod change;
mod count;
mod lcs;
mod options;
mod set;

#[cfg(test)]
mod tests;

/// Reads.
const READ: Flags = Flags::READONLY;
/// Reads, in constant time.
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
/// Writes, and may need memory.
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// The same, in constant time.
const FAST_STORE: Flags = STORE.and(Flags::FAST);
/// Writes and needs no memory, in constant time.
const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);

/// Reads the value for the client.
const FETCH: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
/// Reads the value for the client and changes the key.
const FETCH_UPDATE: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE);
/// Replaces the value.
const REPLACE: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);
/// Writes a value where there is none.
const INSERT: KeyFlags = KeyFlags::OW.and(KeyFlags::INSERT);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("append", 3, FAST_STORE, change::append)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::INSERT))])
        .docs(
            Group::String,
            "2.0.0",
            "O(1) amortized: a value that grows keeps room to grow on.",
            "Adds bytes to the end of a value; creates the key if it is not there.",
        )
        .syntax("key#0 value"),
    command("decr", 2, FAST_STORE, count::decr)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, FETCH_UPDATE)])
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Subtracts one from an integer; a missing key counts as 0.",
        )
        .syntax("key#0"),
    command("decrby", 3, FAST_STORE, count::decrby)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, FETCH_UPDATE)])
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Subtracts a number from an integer; a missing key counts as 0.",
        )
        .syntax("key#0 decrement:integer"),
    command("delifeq", 3, FAST_WRITE, set::delifeq)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, KeyFlags::RM.and(KeyFlags::DELETE))])
        .docs(
            Group::String,
            "9.0.0",
            "O(1)",
            "Deletes a key if its value is the given one.",
        )
        .syntax("key#0 value"),
    command("get", 2, FAST_READ, get)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Returns the value of a key.",
        )
        .syntax("key#0"),
    command("getdel", 2, FAST_WRITE, getdel)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(
            1,
            KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE),
        )])
        .docs(
            Group::String,
            "6.2.0",
            "O(1)",
            "Returns the value of a key and deletes the key.",
        )
        .syntax("key#0"),
    command("getex", -2, FAST_WRITE, set::getex)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, FETCH_UPDATE).notes("RW and UPDATE because it changes the TTL")])
        .docs(
            Group::String,
            "6.2.0",
            "O(1)",
            "Returns the value of a key and sets or removes the key's expiry.",
        )
        .syntax(
            "key#0 \
             expiration(EX=seconds:integer|PX=milliseconds:integer|\
             EXAT=unix-time-seconds:unix-time|PXAT=unix-time-milliseconds:unix-time|PERSIST)?",
        ),
    command("getrange", 4, READ, getrange)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::String,
            "2.4.0",
            "O(N) where N is the number of bytes returned.",
            "Returns a part of a value, given by the positions of its first and last byte.",
        )
        .syntax("key#0 start:integer end:integer"),
    command("getset", 3, FAST_STORE, set::getset)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, FETCH_UPDATE)])
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Sets a key and returns the value that it had before.",
        )
        .syntax("key#0 value"),
    command("incr", 2, FAST_STORE, count::incr)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, FETCH_UPDATE)])
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Adds one to an integer; a missing key counts as 0.",
        )
        .syntax("key#0"),
    command("incrby", 3, FAST_STORE, count::incrby)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, FETCH_UPDATE)])
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Adds a number to an integer; a missing key counts as 0.",
        )
        .syntax("key#0 increment:integer"),
    command("incrbyfloat", 3, FAST_STORE, count::incrbyfloat)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, FETCH_UPDATE)])
        .docs(
            Group::String,
            "2.6.0",
            "O(1)",
            "Adds a floating point number to a number; a missing key counts as 0.",
        )
        .syntax("key#0 increment:double"),
    command("lcs", -3, READ, lcs::lcs)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::range(1, 1, 1, FETCH)])
        .docs(
            Group::String,
            "7.0.0",
            "O(N*M) where N and M are the lengths of the two values.",
            "Finds the longest common subsequence of two values.",
        )
        .syntax("key1#0 key2#0 LEN? IDX? MINMATCHLEN=min-match-len:integer? WITHMATCHLEN?"),
    command("mget", -2, FAST_READ, mget)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::range(1, -1, 1, FETCH)])
        .tips(&["request_policy:multi_shard"])
        .docs(
            Group::String,
            "1.0.0",
            "O(N) where N is the number of keys.",
            "Returns the values of several keys as they are at one moment.",
        )
        .syntax("key#0*"),
    command("mset", -3, STORE, set::mset)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::range(1, -1, 2, REPLACE)])
        .tips(&[
            "request_policy:multi_shard",
            "response_policy:all_succeeded",
        ])
        .docs(
            Group::String,
            "1.0.1",
            "O(N) where N is the number of keys.",
            "Sets several keys at one moment.",
        )
        .syntax("data{key#0 value}*"),
    command("msetex", -4, STORE.and(Flags::MOVABLEKEYS), set::msetex)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::keynum(1, 1, 2, REPLACE)])
        .tips(&[
            "request_policy:multi_shard",
            "response_policy:all_succeeded",
        ])
        .docs(
            Group::String,
            "9.1.0",
            "O(N) where N is the number of keys.",
            "Sets several keys at one moment with a common expiry; \
             on request only if all or none of them are there.",
        )
        .syntax(
            "numkeys:integer data{key#0 value}* condition(NX|XX)? \
             expiration(EX=seconds:integer|PX=milliseconds:integer|\
             EXAT=unix-time-seconds:unix-time|PXAT=unix-time-milliseconds:unix-time|KEEPTTL)?",
        ),
    command("msetnx", -3, STORE, set::msetnx)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::range(1, -1, 2, INSERT)])
        .docs(
            Group::String,
            "1.0.1",
            "O(N) where N is the number of keys.",
            "Sets several keys at one moment, but only if none of them is there.",
        )
        .syntax("data{key#0 value}*"),
    command("psetex", 4, STORE, set::psetex)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, REPLACE)])
        .docs(
            Group::String,
            "2.6.0",
            "O(1)",
            "Sets a key that expires after so many milliseconds.",
        )
        .syntax("key#0 milliseconds:integer value"),
    command("set", -3, STORE, set::set)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, FETCH_UPDATE)
            .varying(set::set_key_flags)
            .notes("RW and ACCESS due to the optional `GET` argument")])
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Sets a key, whatever it held before; options tell under which condition, \
             with which expiry, and whether the old value is wanted.",
        )
        .syntax(
            "key#0 value \
             condition(NX@2.6.12|XX@2.6.12|\
             IFEQ=comparison-value@8.1.0`Writes only if the key holds this value.`)? \
             GET?@6.2.0 \
             expiration(EX=seconds:integer@2.6.12|PX=milliseconds:integer@2.6.12|\
             EXAT=unix-time-seconds:unix-time@6.2.0|\
             PXAT=unix-time-milliseconds:unix-time@6.2.0|KEEPTTL@6.0.0)?",
        ),
    command("setex", 4, STORE, set::setex)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, REPLACE)])
        .docs(
            Group::String,
            "2.0.0",
            "O(1)",
            "Sets a key that expires after so many seconds.",
        )
        .syntax("key#0 seconds:integer value"),
    command("setnx", 3, FAST_STORE, set::setnx)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, INSERT)])
        .docs(
            Group::String,
            "1.0.0",
            "O(1)",
            "Sets a key, but only if it is not there.",
        )
        .syntax("key#0 value"),
    command("setrange", 4, STORE, change::setrange)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))])
        .docs(
            Group::String,
            "2.2.0",
            "O(M) where M is the length of the new bytes, plus any gap before them.",
            "Overwrites a part of a value; a gap before it is filled with zeros.",
        )
        .syntax("key#0 offset:integer value"),
    command("strlen", 2, FAST_READ, strlen)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, KeyFlags::RO)])
        .docs(
            Group::String,
            "2.2.0",
            "O(1)",
            "Returns the length of a value.",
        )
        .syntax("key#0"),
    command("substr", 4, READ, getrange)
        .acl(AclCategories::STRING)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::String,
            "1.0.0",
            "O(N) where N is the number of bytes returned.",
            "The old name of GETRANGE.",
        )
        .syntax("key#0 start:integer end:integer"),
];

/// The type nibble of all that is written here.
const STRING: u8 = Type::String as u8;
/// Keys that are looked up or written between two rounds of prefetching.
const PREFETCH_STEP: usize = PREFETCH_KEYS_MAX;

/// The value of an entry; an error unless it is a string.
#[inline]
fn string_value(entry: EntryRef<'_>) -> Result<ValueRef<'_>, CmdError> {
    if entry.type_() == STRING {
        Ok(entry.value())
    } else {
        Err(CmdError::WrongType)
    }
}

/// Sets a key to a value as a client sent it, replacing whatever it holds. One change.
#[inline]
fn store(db: &mut Access<'_>, key: &[u8], value: &[u8], expire: Expire) {
    if let Some(int) = string::canonical_int(value) {
        let enc = Encoding::Int as u8;
        return db.set(key, STRING, enc, NewValue::Int(int), expire);
    }
    let enc = encoding_for(db, key, value.len(), expire);
    db.set(key, STRING, enc as u8, NewValue::Bytes(value), expire);
}

/// The encoding of bytes that a key is about to be set to. Only for lengths at which an expiry
/// makes the difference the key is looked up.
#[inline]
fn encoding_for(db: &mut Access<'_>, key: &[u8], len: usize, expire: Expire) -> Encoding {
    let with_expire = string::encoding(key.len(), len, true);
    let without = string::encoding(key.len(), len, false);
    if with_expire == without {
        return with_expire;
    }
    let old = db.find(key, Lookup::Silent);
    if old.is_some_and(|old| old.expire_at_ms().is_some()) {
        with_expire
    } else if matches!(expire, Expire::At(_)) {
        // The value is written first and gets its expiry then.
        string::encoding_with_expire(key.len(), len)
    } else {
        without
    }
}

fn get(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    match ctx.db.find(key, Lookup::Read) {
        Some(entry) => reply(ctx.out, string_value(entry)?),
        None => ctx.out.null(),
    }
    Ok(Next::Done)
}

fn mget(ctx: &mut Ctx<'_>) -> CmdResult {
    let keys = ctx.args.rest();
    ctx.out.array(keys.len());
    for first in (0..keys.len()).step_by(PREFETCH_STEP) {
        let some = keys.from(first);
        if some.len() > 1 {
            ctx.db.prefetch(some.iter());
        }
        for key in some.iter().take(PREFETCH_STEP) {
            let found = ctx.db.find(key, Lookup::Read);
            match found.map(string_value) {
                Some(Ok(value)) => reply(ctx.out, value),
                // A key of another type is no error here.
                Some(Err(_)) | None => ctx.out.null(),
            }
        }
    }
    Ok(Next::Done)
}

fn getdel(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let found = ctx.db.find(key, Lookup::Read);
    let Some(entry) = found else {
        ctx.out.null();
        return Ok(Next::Done);
    };
    reply(ctx.out, string_value(entry)?);
    ctx.db.remove(key);
    ctx.db.propagate_as([&b"DEL"[..], key]);
    Ok(Next::Done)
}

fn strlen(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let len = match ctx.db.find(key, Lookup::Read) {
        Some(entry) => string::len(string_value(entry)?),
        None => 0,
    };
    ctx.out.integer(len as i64);
    Ok(Next::Done)
}

fn getrange(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let (start, end) = (ctx.args.int()?, ctx.args.int()?);
    let Some(entry) = ctx.db.find(key, Lookup::Read) else {
        ctx.out.bulk(b"");
        return Ok(Next::Done);
    };
    let mut digits = itoa::Buffer::new();
    let bytes = string::bytes(string_value(entry)?, &mut digits);
    let range = string::range(bytes.len(), start, end);
    ctx.out.bulk(bytes.get(range).unwrap_or_default());
    Ok(Next::Done)
}
