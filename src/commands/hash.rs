//! Hash commands: the rows of the family, and what they share.
//!
//! Reading is in `hash/read.rs`, writing in `hash/write.rs`, numbers in `hash/count.rs`, HSETEX and
//! HGETEX with their options in `hash/ex.rs`, the expiry of fields in `hash/expire.rs`, HRANDFIELD
//! in `hash/random.rs`, HSCAN in `hash/scan.rs`. What a hash is and how it is stored is
//! `value::hash`'s; here are keys, options and replies.
//!
//! A field that has expired stays stored until it is set again, or the expiry cycle comes by, and keeps its key there; for
//! a log that is repeated nothing has expired. So a command whose outcome depends on it has the log repeat
//! what it has done instead of what was asked for.
//!
//! Invariants: a field that has expired is never seen, since the views of `value::hash` are given
//! the time; a hash that has lost its last field is gone when its guard is dropped (`db::KeyMut`).

use super::{CmdResult, Command, Ctx, Next, command, reply, typed, typed_mut};
use crate::db::notice::EventClass;
use crate::db::{Access, KeyMut};
use crate::ds::entry::{EntrySlot, ValueRef};
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::args::c_str;
use crate::spec::{AclCategories, Args, CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::value::Type;
use crate::value::hash::{HashMut, HashRef, Terms};

mod count;
mod ex;
mod expire;
mod random;
mod read;
mod scan;
mod write;

#[cfg(test)]
mod tests;

/// Reads.
const READ: Flags = Flags::READONLY;
/// Reads, in constant time.
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
/// Writes, and may need memory, in constant time.
const FAST_STORE: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);
/// Writes and needs no memory, in constant time.
const FAST_WRITE: Flags = Flags::WRITE.and(Flags::FAST);

/// Tells something about the hash.
const LOOK: &[KeySpec] = &[KeySpec::at(1, KeyFlags::RO)];
/// Reads fields for the client.
const FETCH: &[KeySpec] = &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))];
/// Reads fields for the client and changes them.
const FETCH_UPDATE: &[KeySpec] = &[KeySpec::at(
    1,
    KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE),
)];
/// Changes fields.
const UPDATE: &[KeySpec] = &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))];
/// Adds fields.
const INSERT: &[KeySpec] = &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::INSERT))];

/// The order of the reply means nothing.
const UNORDERED: &[&str] = &["nondeterministic_output_order"];
/// The reply is another one each time.
const RANDOM: &[&str] = &["nondeterministic_output"];

/// What most complexities say.
const PER_FIELD: &str = "O(N) where N is the number of fields that are named.";
/// What complexities of commands on whole hashes say.
const PER_SIZE: &str = "O(N) where N is the number of fields in the hash.";

/// Fields at the end of a command, of a documentation that ties their number to the key.
const FIELDS: &str = "key#0 FIELDS=fields{numfields:integer#0 field*}";

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    row("hdel", -3, FAST_WRITE, write::hdel)
        .element(2)
        .keys(&[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::DELETE))])
        .docs(
            Group::Hash,
            "2.0.0",
            PER_FIELD,
            "Deletes fields; the hash is gone with its last one.",
        )
        .syntax("key#0 field*"),
    row("hexists", 3, FAST_READ, read::hexists)
        .element(2)
        .keys(LOOK)
        .docs(
            Group::Hash,
            "2.0.0",
            "O(1)",
            "Tells whether a field is there.",
        )
        .syntax("key#0 field"),
    row("hexpire", -6, FAST_WRITE, expire::hexpire)
        .keys(UPDATE)
        .docs(
            Group::Hash,
            "9.0.0",
            PER_FIELD,
            "Lets fields expire after some seconds.",
        )
        .syntax(
            "key#0 seconds:integer condition(NX|XX|GT|LT)? \
             FIELDS=fields{numfields:integer field*}",
        ),
    row("hexpireat", -6, FAST_WRITE, expire::hexpireat)
        .keys(UPDATE)
        .docs(
            Group::Hash,
            "9.0.0",
            PER_FIELD,
            "Lets fields expire at a Unix time in seconds.",
        )
        .syntax(
            "key#0 unix-time-seconds:integer condition(NX|XX|GT|LT)?@9.0.0 \
             FIELDS=fields{numfields:integer#0 field*}",
        ),
    row("hexpiretime", -5, FAST_READ, expire::hexpiretime)
        .keys(FETCH)
        .docs(
            Group::Hash,
            "9.0.0",
            PER_FIELD,
            "Tells when fields expire, as Unix times in seconds.",
        )
        .syntax(FIELDS),
    row("hget", 3, FAST_READ, read::hget)
        .element(2)
        .keys(FETCH)
        .docs(
            Group::Hash,
            "2.0.0",
            "O(1)",
            "Returns the value of a field.",
        )
        .syntax("key#0 field"),
    row("hgetall", 2, READ, read::hgetall)
        .keys(FETCH)
        .tips(UNORDERED)
        .docs(
            Group::Hash,
            "2.0.0",
            PER_SIZE,
            "Returns all fields with their values.",
        )
        .syntax("key#0"),
    row("hgetdel", -5, FAST_WRITE, write::hgetdel)
        .keys(&[KeySpec::at(
            1,
            KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE),
        )])
        .docs(
            Group::Hash,
            "9.1.0",
            PER_FIELD,
            "Returns the values of fields and deletes them.",
        )
        .syntax(FIELDS),
    row("hgetex", -5, FAST_WRITE, ex::hgetex)
        .keys(FETCH_UPDATE)
        .docs(
            Group::Hash,
            "9.0.0",
            PER_FIELD,
            "Returns the values of fields and sets or removes their expiry.",
        )
        .syntax(
            "key#0 expiration(EX=seconds:integer|PX=milliseconds:integer|\
             EXAT=unix-time-seconds:unix-time|PXAT=unix-time-milliseconds:unix-time|PERSIST)? \
             FIELDS=fields{numfields:integer#0 field*}",
        ),
    row("hincrby", 4, FAST_STORE, count::hincrby)
        .element(2)
        .keys(FETCH_UPDATE)
        .docs(
            Group::Hash,
            "2.0.0",
            "O(1)",
            "Adds a number to an integer in a field; a missing field counts as 0.",
        )
        .syntax("key#0 field increment:integer"),
    row("hincrbyfloat", 4, FAST_STORE, count::hincrbyfloat)
        .element(2)
        .keys(FETCH_UPDATE)
        .docs(
            Group::Hash,
            "2.6.0",
            "O(1)",
            "Adds a floating point number to a number in a field; a missing field counts as 0.",
        )
        .syntax("key#0 field increment:double"),
    row("hkeys", 2, READ, read::hkeys)
        .keys(FETCH)
        .tips(UNORDERED)
        .docs(
            Group::Hash,
            "2.0.0",
            PER_SIZE,
            "Returns the names of all fields.",
        )
        .syntax("key#0"),
    row("hlen", 2, FAST_READ, read::hlen)
        .keys(LOOK)
        .docs(Group::Hash, "2.0.0", "O(1)", "Counts the fields of a hash.")
        .syntax("key#0"),
    row("hmget", -3, FAST_READ, read::hmget)
        .element(2)
        .keys(FETCH)
        .docs(
            Group::Hash,
            "2.0.0",
            PER_FIELD,
            "Returns the values of several fields.",
        )
        .syntax("key#0 field*"),
    row("hmset", -4, FAST_STORE, write::hmset)
        .element(2)
        .keys(UPDATE)
        .docs(
            Group::Hash,
            "2.0.0",
            PER_FIELD,
            "Sets several fields, as HSET does, but answers OK.",
        )
        .syntax("key#0 data{field value}*"),
    row("hpersist", -5, FAST_WRITE, expire::hpersist)
        .keys(UPDATE)
        .docs(
            Group::Hash,
            "9.0.0",
            PER_FIELD,
            "Takes the expiry off fields.",
        )
        .syntax(FIELDS),
    row("hpexpire", -6, FAST_WRITE, expire::hpexpire)
        .keys(UPDATE)
        .docs(
            Group::Hash,
            "9.0.0",
            PER_FIELD,
            "Lets fields expire after some milliseconds.",
        )
        .syntax(
            "key#0 milliseconds:integer condition(NX|XX|GT|LT)?@9.0.0 \
             FIELDS=fields{numfields:integer#0 field*}",
        ),
    row("hpexpireat", -6, FAST_WRITE, expire::hpexpireat)
        .keys(UPDATE)
        .docs(
            Group::Hash,
            "9.0.0",
            PER_FIELD,
            "Lets fields expire at a Unix time in milliseconds.",
        )
        .syntax(
            "key#0 unix-time-milliseconds:integer condition(NX|XX|GT|LT)?@9.0.0 \
             FIELDS=fields{numfields:integer#0 field*}",
        ),
    row("hpexpiretime", -5, FAST_READ, expire::hpexpiretime)
        .keys(FETCH)
        .docs(
            Group::Hash,
            "9.0.0",
            PER_FIELD,
            "Tells when fields expire, as Unix times in milliseconds.",
        )
        .syntax(FIELDS),
    row("hpttl", -5, FAST_READ, expire::hpttl)
        .keys(FETCH)
        .docs(
            Group::Hash,
            "9.0.0",
            PER_FIELD,
            "Tells how many milliseconds fields have still to live.",
        )
        .syntax(FIELDS),
    row("hrandfield", -2, READ, random::hrandfield)
        .keys(FETCH)
        .tips(RANDOM)
        .docs(
            Group::Hash,
            "6.2.0",
            "O(N) where N is the number of fields returned.",
            "Returns random fields, different ones or, for a negative count, with repetitions.",
        )
        .syntax("key#0 options{count:integer WITHVALUES?}?"),
    row("hscan", -3, READ, scan::hscan)
        .keys(FETCH)
        .tips(RANDOM)
        .docs(
            Group::Hash,
            "2.8.0",
            "O(1) for a call, O(N) for a whole iteration over N fields.",
            "Lists the fields of a hash a few at a time.",
        )
        .syntax("key#0 cursor:integer MATCH=pattern:pattern? COUNT=count:integer? NOVALUES?"),
    row("hset", -4, FAST_STORE, write::hset)
        .element(2)
        .keys(UPDATE)
        .docs(
            Group::Hash,
            "2.0.0",
            PER_FIELD,
            "Sets fields to values; creates the hash if it is not there.",
        )
        .syntax("key#0 data{field value}*"),
    row("hsetex", -6, FAST_STORE, ex::hsetex)
        .keys(INSERT)
        .docs(
            Group::Hash,
            "9.0.0",
            PER_FIELD,
            "Sets fields with a common expiry; options tell under which condition.",
        )
        .syntax(
            "key#0 key-condition(NX|XX)? fields-condition(FNX|FXX)? \
             expiration(EX=seconds:integer|PX=milliseconds:integer|\
             EXAT=unix-time-seconds:unix-time|PXAT=unix-time-milliseconds:unix-time|KEEPTTL)? \
             FIELDS=fields{numfields:integer#0 data{field value}*}",
        ),
    row("hsetnx", 4, FAST_STORE, write::hsetnx)
        .element(2)
        .keys(INSERT)
        .docs(
            Group::Hash,
            "2.0.0",
            "O(1)",
            "Sets a field, but only if it is not there.",
        )
        .syntax("key#0 field value"),
    row("hstrlen", 3, FAST_READ, read::hstrlen)
        .element(2)
        .keys(LOOK)
        .docs(
            Group::Hash,
            "3.2.0",
            "O(1)",
            "Returns the length of the value of a field.",
        )
        .syntax("key#0 field"),
    row("httl", -5, FAST_READ, expire::httl)
        .keys(FETCH)
        .docs(
            Group::Hash,
            "9.0.0",
            PER_FIELD,
            "Tells how many seconds fields have still to live.",
        )
        .syntax(FIELDS),
    row("hvals", 2, READ, read::hvals)
        .keys(FETCH)
        .tips(UNORDERED)
        .docs(
            Group::Hash,
            "2.0.0",
            PER_SIZE,
            "Returns the values of all fields.",
        )
        .syntax("key#0"),
];

/// Starts a row of this family.
const fn row(name: &'static str, arity: i32, flags: Flags, run: super::Handler) -> Command {
    command(name, arity, flags, run).acl(AclCategories::HASH)
}

/// numfields that is no count of the fields that follow.
const BAD_NUMFIELDS: CmdError = CmdError::text(
    "ERR numfields should be greater than 0 and match the provided number of fields",
);

/// The hash of a key, to be read.
#[inline]
fn find<'d>(db: &'d mut Access<'_>, key: &[u8]) -> Result<Option<HashRef<'d>>, CmdError> {
    let now_ms = db.now_ms();
    let found = typed(db, key, Type::Hash)?;
    Ok(found.map(|entry| HashRef::new(entry.value(), now_ms)))
}

/// The hash of a key, to be changed: [`edit`] what is found.
#[inline]
fn find_mut<'d>(db: &'d mut Access<'_>, key: &[u8]) -> Result<Option<KeyMut<'d>>, CmdError> {
    typed_mut(db, key, Type::Hash)
}

/// The write view of a key's hash.
#[inline]
fn edit<'f>(found: &'f mut KeyMut<'_>, terms: Terms) -> HashMut<EntrySlot<'f>> {
    HashMut::new(found.slot_mut(), terms)
}

/// Tells that fields were taken out because they had expired: there they count as changed.
#[inline]
fn note_expired(found: &mut KeyMut<'_>, fields: u64) {
    if fields > 0 {
        found.add_expired_fields(fields as usize);
        found.touch();
        found.notify(EventClass::HASH, "hexpired");
    }
}

/// What writes of this command follow.
#[inline]
fn terms(ctx: &Ctx<'_>) -> Terms {
    Terms {
        entries_max: ctx.config.hash_max_listpack_entries,
        value_bytes_max: ctx.config.hash_max_listpack_value,
        key_hash: ctx.db.keyspace().key_hash(),
        now_ms: ctx.now_ms(),
    }
}

/// Answers a value, or that there is none.
#[inline]
fn reply_or_null(out: &mut ReplyWriter, value: Option<ValueRef<'_>>) {
    match value {
        Some(value) => reply(out, value),
        None => out.null(),
    }
}

/// `FIELDS numfields field ...`, all that is left of a request; `mismatch` is the error when
/// numfields lies.
fn fields<'a>(args: &mut Args<'a>, mismatch: CmdError) -> Result<Argv<'a>, CmdError> {
    if !is_word(args.bytes()?, "FIELDS") {
        return Err(CmdError::Syntax);
    }
    counted(args, 1, mismatch)
}

/// `numfields field ...`, all that is left of a request, with so many arguments to each field.
fn counted<'a>(
    args: &mut Args<'a>,
    args_per_field: usize,
    mismatch: CmdError,
) -> Result<Argv<'a>, CmdError> {
    let count = args.int()?;
    let wanted = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(args_per_field));
    match wanted == Some(args.remaining()) && count > 0 {
        true => Ok(args.rest()),
        false => Err(mismatch),
    }
}

/// The arguments up to the word FIELDS, as a cursor of their own; the given one stands behind that
/// word then. Commands look for it before they look at anything else.
fn before_fields<'a>(args: &mut Args<'a>) -> Result<Args<'a>, CmdError> {
    let rest = args.rest();
    // The last argument is never the word: nothing could follow it.
    let searched = rest.iter().take(rest.len().saturating_sub(1));
    let at = searched.into_iter().position(|arg| is_word(arg, "FIELDS"));
    let options = args.many(at.ok_or(BAD_NUMFIELDS)?)?;
    args.bytes()?;
    Ok(Args::new(options, 0))
}

fn is_word(arg: &[u8], word: &str) -> bool {
    c_str(arg).eq_ignore_ascii_case(word.as_bytes())
}

/// The pairs of field and value in arguments.
fn pairs<'a>(args: Argv<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
    args.spans().chunks_exact(2).map(move |pair| {
        let pair = Argv::new(args.bytes(), pair);
        (
            pair.get(0).unwrap_or_default(),
            pair.get(1).unwrap_or_default(),
        )
    })
}

/// The error of a request whose number of arguments cannot be.
fn wrong_arity(ctx: &Ctx<'_>) -> CmdError {
    CmdError::WrongArity(ctx.command.full_name.clone().into())
}

/// Answers that as many fields as are named are not there.
fn all_null(ctx: &mut Ctx<'_>, count: usize) -> CmdResult {
    ctx.out.array(count);
    (0..count).for_each(|_| ctx.out.null());
    Ok(Next::Done)
}
