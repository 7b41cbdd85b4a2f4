//! Commands that walk the keyspace: DBSIZE, KEYS, RANDOMKEY, SCAN.
//!
//! They name no keys, so they hold no shard: the walks in `db::scan` lock one at a time, for a
//! slice of keys each, and nobody waits for a long KEYS. In return KEYS and DBSIZE are no cut
//! through the keyspace: a key that another client renames meanwhile may be met under both names or
//! under none.

use crate::ds::entry::EntryRef;
use crate::resp::write::ReplyWriter;
use crate::spec::args::c_str;
use crate::spec::{AclCategories, Args, CmdError, Flags, Group};
use crate::util::glob::{glob_match, is_literal};
use crate::util::num;
use crate::util::rng::Rng;
use crate::value::Type;

use super::{CmdResult, Command, Ctx, Next, command};

/// What commands have in common that look at the whole of a database.
const LOOKS_EVERYWHERE: Flags = Flags::READONLY.and(Flags::ALL_SHARDS);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("dbsize", 1, LOOKS_EVERYWHERE.and(Flags::FAST), dbsize)
        .acl(AclCategories::KEYSPACE)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .docs(
            Group::Server,
            "1.0.0",
            "O(1)",
            "Counts the keys of the selected database.",
        ),
    command("keys", 2, LOOKS_EVERYWHERE, keys)
        .acl(AclCategories::DANGEROUS.and(AclCategories::KEYSPACE))
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .docs(
            Group::Generic,
            "1.0.0",
            "O(N) for N keys in the database.",
            "Lists all keys that match a pattern.",
        )
        .syntax("pattern:pattern"),
    command("randomkey", 1, LOOKS_EVERYWHERE, randomkey)
        .acl(AclCategories::KEYSPACE)
        .tips(&[
            "request_policy:all_shards",
            "response_policy:special",
            "nondeterministic_output",
        ])
        .docs(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Names some key of the database, every one equally likely.",
        ),
    command("scan", -2, LOOKS_EVERYWHERE, scan)
        .acl(AclCategories::KEYSPACE)
        .tips(&[
            "nondeterministic_output",
            "request_policy:special",
            "response_policy:special",
        ])
        .docs(
            Group::Generic,
            "2.8.0",
            "O(1) for a call, O(N) for a whole iteration over N keys.",
            "Lists the keys of the database a few at a time.",
        )
        .syntax("cursor:integer MATCH=pattern:pattern? COUNT=count:integer? TYPE=type?@6.0.0"),
];

/// Names of types that clients may ask SCAN for, whether or not this server has such values.
const TYPES: &[&str] = &["string", "list", "set", "zset", "hash", "stream"];
/// COUNT when a client does not say.
const COUNT_DEFAULT: usize = 10;

/// DBSIZE
fn dbsize(ctx: &mut Ctx<'_>) -> CmdResult {
    let db = ctx.db.db();
    let (keys, _) = ctx.db.size(db);
    ctx.out.integer(i64::try_from(keys).unwrap_or(i64::MAX));
    Ok(Next::Done)
}

/// KEYS pattern
fn keys(ctx: &mut Ctx<'_>) -> CmdResult {
    let pattern = ctx.args.bytes()?;
    if is_literal(pattern) {
        let found = ctx.db.peek(pattern);
        ctx.out.array(found as usize);
        if found {
            ctx.out.bulk(pattern);
        }
        return Ok(Next::Done);
    }
    let Ctx { db, out, .. } = ctx;
    let array = out.deferred_array();
    let mut len = 0;
    db.for_each_key(|entry| {
        if matches(pattern, entry.key()) {
            out.bulk(entry.key());
            len += 1;
        }
    });
    out.set_deferred(array, len);
    Ok(Next::Done)
}

/// RANDOMKEY
fn randomkey(ctx: &mut Ctx<'_>) -> CmdResult {
    match ctx.db.random_key(&mut Rng::from_os()) {
        Some(key) => ctx.out.bulk(&key),
        None => ctx.out.null(),
    }
    Ok(Next::Done)
}

/// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
fn scan(ctx: &mut Ctx<'_>) -> CmdResult {
    let cursor = parse_cursor(ctx.args.bytes()?).ok_or(CmdError::InvalidCursor)?;
    let options = Options::parse(&mut ctx.args, None)?;
    let Ctx { db, out, .. } = ctx;
    reply_step(out, |keys| {
        let mut len = 0;
        let cursor = db.scan(
            cursor,
            options.count,
            |entry| options.accept(entry),
            |entry| {
                keys.bulk(entry.key());
                len += 1;
            },
        );
        (cursor, len)
    });
    Ok(Next::Done)
}

/// The reply of one step of a walk: the next cursor and an array of what `step` writes; `step`
/// returns cursor and length.
pub(super) fn reply_step(
    out: &mut ReplyWriter,
    step: impl FnOnce(&mut ReplyWriter) -> (u64, usize),
) {
    out.array(2);
    let (start, array) = (out.mark(), out.deferred_array());
    let (cursor, len) = step(out);
    out.set_deferred(array, len);
    // It precedes the elements in the reply, but is known only after them.
    out.number_before(start, cursor);
}

/// What follows the cursor of SCAN, HSCAN, SSCAN or ZSCAN.
pub(super) struct Options<'a> {
    pattern: Option<&'a [u8]>,
    /// COUNT, at least 1.
    pub(super) count: usize,
    type_: Option<&'static str>,
    /// HSCAN's NOVALUES or ZSCAN's NOSCORES.
    pub(super) only_names: bool,
}

impl<'a> Options<'a> {
    /// Reads the options of SCAN, or those for a walk over a value `of` some type.
    pub(super) fn parse(args: &mut Args<'a>, of: Option<Type>) -> Result<Options<'a>, CmdError> {
        let mut options = Options {
            pattern: None,
            count: COUNT_DEFAULT,
            type_: None,
            only_names: false,
        };
        while let Some(option) = args.option() {
            let option = c_str(option);
            let has_value = !args.is_empty();
            if has_value && option.eq_ignore_ascii_case(b"COUNT") {
                let count = args.int_in(1, i64::MAX, CmdError::Syntax)?;
                options.count = usize::try_from(count).unwrap_or(usize::MAX);
            } else if has_value && option.eq_ignore_ascii_case(b"MATCH") {
                options.pattern = Some(args.bytes()?);
            } else if of.is_none() && has_value && option.eq_ignore_ascii_case(b"TYPE") {
                options.type_ = Some(parse_type(args.bytes()?)?);
            } else if option.eq_ignore_ascii_case(b"NOVALUES") {
                if of != Some(Type::Hash) {
                    return Err(CmdError::text(
                        "ERR NOVALUES option can only be used in HSCAN",
                    ));
                }
                options.only_names = true;
            } else if option.eq_ignore_ascii_case(b"NOSCORES") {
                if of != Some(Type::Zset) {
                    return Err(CmdError::text(
                        "ERR NOSCORES option can only be used in ZSCAN",
                    ));
                }
                options.only_names = true;
            } else {
                return Err(CmdError::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether a name fits the pattern.
    #[inline]
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| matches(pattern, name))
    }

    fn accept(&self, entry: EntryRef<'_>) -> bool {
        let of_type = |name| Type::from_nibble(entry.type_()).name() == name;
        self.type_.is_none_or(of_type) && self.matches(entry.key())
    }
}

fn parse_type(name: &[u8]) -> Result<&'static str, CmdError> {
    let name = c_str(name);
    TYPES
        .iter()
        .find(|known| known.as_bytes().eq_ignore_ascii_case(name))
        .copied()
        .ok_or_else(|| CmdError::owned([b"ERR unknown type name '", name, b"'"].concat()))
}

/// Whether a key matches. A lone star matches the empty key as well, which no other pattern with a
/// star does.
fn matches(pattern: &[u8], key: &[u8]) -> bool {
    pattern == b"*" || glob_match(pattern, key, false)
}

/// Reads a cursor as Redis does: a canonical integer that is not negative, or else whatever
/// `strtoull` reads, for which `-01` is 2^64 - 1.
pub(super) fn parse_cursor(text: &[u8]) -> Option<u64> {
    let text = c_str(text);
    if let Some(int) = num::parse_i64(text) {
        return u64::try_from(int).ok();
    }
    let start = text.iter().position(|&byte| !num::is_c_space(byte))?;
    let (negative, digits) = num::split_sign(&text[start..]);
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    let value = num::parse_u64_lenient(digits)?;
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

#[cfg(test)]
mod tests;
