//! DEBUG: what tests and the curious need. Served only to whom `enable-debug-command` allows it
//! (`exec::admit`).
//!
//! Its row names no keys, as Redis's, so what touches keys holds their shards one at a time
//! ([`Access::with_key`]).
//!
//! To add a subcommand: an arm in [`debug`] with the numbers of arguments it takes, its function,
//! its lines in [`HELP`].
//!
//! [`Access::with_key`]: crate::db::Access::with_key

use std::time::Duration;

use crate::client::Signal;
use crate::db::usage::{Measure, Stamp};
use crate::db::{Expire, Lookup};
use crate::ds::collection::Collection;
use crate::ds::entry::NewValue;
use crate::ds::quicklist::Quicklist;
use crate::server::Lifecycle;
use crate::spec::{CmdError, Flags, Group};
use crate::sys::crash;
use crate::util::glob::glob_match;
use crate::util::num;
use crate::util::rng::Rng;
use crate::value::{Encoding, Type, string};

mod check;
mod digest;
mod serialized;

use super::{Chore, CmdResult, Command, Ctx, Next, c_text, command, help};

/// The rows of this family.
pub const COMMANDS: &[Command] = &[command(
    "debug",
    -2,
    Flags::ADMIN
        .and(Flags::LOADING)
        .and(Flags::NOSCRIPT)
        .and(Flags::STALE)
        .and(Flags::PROTECTED)
        .and(Flags::ALL_SHARDS),
    debug,
)
.exclusive_if(check::needs_all)
.docs(
    Group::Server,
    "1.0.0",
    "Depends on the subcommand",
    "Serves tests and the search for faults.",
)
.system()];

const HELP: &[&str] = &[
    "ASSERT",
    "    Crash as by an assertion that failed.",
    "CHECK-CLIENTS",
    "    Compare what is known of clients with what they say themselves: waiting, subscriptions,",
    "    tracking, memory. Exact while nobody else does anything.",
    "CHECK-KEYSPACE",
    "    Look at every key and all that is known of it, and tell how many there are, what they",
    "    take, and what is not as it should be. Everybody waits meanwhile.",
    "DIGEST",
    "    Fingerprint of all databases: the same for the same data in any order.",
    "DIGEST-VALUE [<key> ...]",
    "    Fingerprint of each key's value; 40 zeros if there is no such key.",
    "ERROR <string>",
    "    Reply with <string> as an error.",
    "LOADAOF",
    "    Empty the keyspace and load the append-only log. What was not logged is lost.",
    "LOG <message>",
    "    Write <message> to the log.",
    "OBJECT <key> [fast]",
    "    Tell how <key> and its value are stored; with `fast` only what is known at once.",
    "PANIC",
    "    Crash as by a bug that the program has found itself.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Create <count> strings named <prefix>:<number> (`key` unless told), with values",
    "    of <size> bytes. Keys that exist stay as they are. Does not count as changes.",
    "PROTOCOL <type>",
    "    Reply with a value of <type>: string, integer, double, bignum, null, array, set,",
    "    map, attrib, push, verbatim, true, false.",
    "RELOAD [option ...]",
    "    Write a snapshot, empty the keyspace, load the snapshot. Options:",
    "    * MERGE: keys of the snapshot replace those of the keyspace that have their names.",
    "    * NOFLUSH: do not empty the keyspace before.",
    "    * NOSAVE: load the snapshot that is there.",
    "SEGFAULT",
    "    Crash as by a bug that the processor has found.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether expired keys are deleted in the background (1, the default). They stay",
    "    invisible either way.",
    "SLEEP <seconds>",
    "    Keep every client waiting for <seconds>. Decimals allowed.",
    "STRINGMATCH-LEN <pattern> <string>",
    "    Tell whether the glob-style <pattern> matches <string>.",
    "STRINGMATCH-TEST",
    "    Try the matcher of patterns with random ones.",
];

/// Bytes of a subcommand's name that an error repeats.
const PREVIEW_BYTES: usize = 128;
/// Keys that POPULATE creates between two looks at whether it shall stop.
const POPULATE_SLICE: u64 = 1024;
/// The double of PROTOCOL: the digits that Valkey's test clients expect, not pi.
#[allow(clippy::approx_constant)]
const TEST_DOUBLE: f64 = 3.141;
/// Patterns that STRINGMATCH-TEST tries.
const FUZZ_ROUNDS: usize = 20_000;

fn debug(ctx: &mut Ctx<'_>) -> CmdResult {
    let name = ctx.args.bytes()?;
    match (&*name.to_ascii_lowercase(), ctx.args.remaining()) {
        (b"assert", 0) => {
            assert_eq!(1, 2, "DEBUG ASSERT called by a client");
            Ok(Next::Done)
        }
        (b"check-clients", 0) => check::check_clients(ctx),
        (b"check-keyspace", 0) => check::check_keyspace(ctx),
        (b"digest", 0) => digest::digest(ctx),
        (b"digest-value", _) => digest::digest_value(ctx),
        (b"error", 1) => error(ctx),
        (b"help", 0) => help(ctx, "DEBUG", HELP),
        (b"loadaof", 0) => Ok(Next::Chore(Chore::LoadAof)),
        (b"log", 1) => log(ctx),
        (b"object", 1 | 2) => object(ctx),
        (b"panic", 0) => panic!("DEBUG PANIC called by a client"),
        (b"populate", 1..=3) => populate(ctx),
        (b"protocol", 1) => protocol(ctx),
        (b"reload", _) => reload(ctx),
        (b"segfault", 0) => {
            crash::segfault();
            Ok(Next::Done)
        }
        (b"set-active-expire", 1) => set_active_expire(ctx),
        (b"sleep", 1) => sleep(ctx),
        (b"stringmatch-len", 2) => stringmatch_len(ctx),
        (b"stringmatch-test", 0) => stringmatch_test(ctx),
        _ => Err(unknown(&ctx.args.argv()[0], name)),
    }
}

fn reload(ctx: &mut Ctx<'_>) -> CmdResult {
    let (mut save, mut flush, mut merge) = (true, true, false);
    while let Some(option) = ctx.args.option() {
        match &*option.to_ascii_uppercase() {
            b"MERGE" => merge = true,
            b"NOFLUSH" => flush = false,
            b"NOSAVE" => save = false,
            _ => {
                return Err(CmdError::text(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    Ok(Next::Chore(Chore::Reload { save, flush, merge }))
}

fn unknown(called: &[u8], name: &[u8]) -> CmdError {
    let mut text = b"ERR unknown subcommand or wrong number of arguments for '".to_vec();
    let name = c_text(name);
    text.extend_from_slice(&name[..name.len().min(PREVIEW_BYTES)]);
    text.extend_from_slice(b"'. Try ");
    text.extend_from_slice(&called.to_ascii_uppercase());
    text.extend_from_slice(b" HELP.");
    CmdError::owned(text)
}

fn error(ctx: &mut Ctx<'_>) -> CmdResult {
    // Written as a reply: a test's error is none that the server's statistics should show.
    let text = ctx.args.bytes()?;
    ctx.out.error(text);
    Ok(Next::Done)
}

fn log(ctx: &mut Ctx<'_>) -> CmdResult {
    tracing::warn!("DEBUG LOG: {}", ctx.args.bytes()?.escape_ascii());
    ctx.out.ok();
    Ok(Next::Done)
}

fn sleep(ctx: &mut Ctx<'_>) -> CmdResult {
    let seconds = leading_f64(ctx.args.bytes()?);
    ctx.out.ok();
    // What is no duration (negative, NaN, past the end of time) is none to sleep.
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(Next::Sleep(duration)),
        _ => Ok(Next::Done),
    }
}

/// The number that a text begins with, as C's `strtod` reads it; 0 for none.
fn leading_f64(text: &[u8]) -> f64 {
    let longest = text.len().min(64);
    (1..=longest)
        .rev()
        .find_map(|len| num::parse_f64(&text[..len]))
        .unwrap_or(0.0)
}

fn set_active_expire(ctx: &mut Ctx<'_>) -> CmdResult {
    let enabled = leading_f64(ctx.args.bytes()?) as i64 != 0;
    ctx.server.keyspace.expire_clock.set_enabled(enabled);
    ctx.out.ok();
    Ok(Next::Done)
}

fn stringmatch_len(ctx: &mut Ctx<'_>) -> CmdResult {
    let (pattern, text) = (ctx.args.bytes()?, ctx.args.bytes()?);
    ctx.out.integer(glob_match(pattern, text, false) as i64);
    Ok(Next::Done)
}

fn stringmatch_test(ctx: &mut Ctx<'_>) -> CmdResult {
    let mut rng = Rng::from_os();
    let mut text = |letters: &[u8]| -> Vec<u8> {
        (0..rng.index(32))
            .map(|_| letters[rng.index(letters.len())])
            .collect()
    };
    let mut matches = 0;
    for _ in 0..FUZZ_ROUNDS {
        let (pattern, string) = (text(b"ab*?[]^-\\!"), text(b"ab-]"));
        matches += glob_match(&pattern, &string, false) as usize;
    }
    tracing::debug!("DEBUG STRINGMATCH-TEST: {matches} of {FUZZ_ROUNDS} random patterns matched");
    ctx.out
        .simple("Apparently the server did not crash: test passed");
    Ok(Next::Done)
}

fn object(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let fast = ctx.args.take("fast");
    let stamp = ctx.db.keyspace().usage.stamp(ctx.clock_ms());
    let text = ctx.db.with_key(key, |db| {
        let entry = db.find(key, Lookup::Silent)?;
        let encoding = Encoding::from_nibble(entry.enc()).name();
        let length = match fast {
            true => String::new(),
            false => format!("serializedlength:{} ", serialized::entry_len(entry)),
        };
        let (address, used) = (entry.key().as_ptr(), usage_figures(stamp, entry.lru()));
        let nodes = match entry.value().as_collection() {
            Some(Collection::List(list)) => quicklist_figures(list, fast),
            _ => String::new(),
        };
        Some(format!(
            "Value at:{address:p} refcount:1 encoding:{encoding} {length}{used}{nodes}"
        ))
    });
    ctx.out.simple(&text.flatten().ok_or(CmdError::NoSuchKey)?);
    Ok(Next::Done)
}

/// What DEBUG OBJECT tells of a key's use.
fn usage_figures(stamp: Stamp, lru: u32) -> String {
    match stamp.measure() {
        Measure::Lfu => {
            let (counter, minutes) = (stamp.frequency(lru), stamp.counted_at_minutes(lru));
            format!("lfu_freq:{counter} lfu_access_time_minutes:{minutes}")
        }
        Measure::Lru | Measure::Lrm => {
            let (clock, secs) = (stamp.shown_clock(lru), stamp.idle_secs(lru));
            format!("lru:{clock} lru_seconds_idle:{secs}")
        }
    }
}

/// What DEBUG OBJECT tells of a long list.
fn quicklist_figures(list: &Quicklist, fast: bool) -> String {
    let nodes = list.node_bytes();
    let count = nodes.len();
    let mean = list.len() as f64 / count.max(1) as f64;
    let (fill, compressed) = (list.fill(), list.is_compressed() as u8);
    let mut text = format!(
        " ql_nodes:{count} ql_avg_node:{mean:.2} ql_listpack_max:{fill} ql_compressed:{compressed}"
    );
    if !fast {
        let bytes: usize = nodes.sum();
        text.push_str(&format!(" ql_uncompressed_size:{bytes}"));
    }
    text
}

fn populate(ctx: &mut Ctx<'_>) -> CmdResult {
    let mut positive = |arg: &[u8]| {
        let number = num::parse_i64(arg).and_then(|number| u64::try_from(number).ok());
        number.ok_or(CmdError::text(
            "ERR value is out of range, must be positive",
        ))
    };
    let count = positive(ctx.args.bytes()?)?;
    let prefix = ctx.args.option().unwrap_or(b"key");
    let size = ctx.args.option().map_or(Ok(0), &mut positive)?;
    if size > ctx.config.proto_max_bulk_len {
        return Err(CmdError::StringTooLong);
    }
    let size = size as usize;
    let changes = ctx.db.effects.changes;
    let (mut key, mut value) = (prefix.to_vec(), Vec::new());
    value
        .try_reserve(size)
        .map_err(|_| CmdError::StringTooLong)?;
    key.push(b':');
    let prefix_len = key.len();
    for number in 0..count {
        if number % POPULATE_SLICE == 0 && told_to_stop(ctx) {
            break;
        }
        key.truncate(prefix_len);
        num::fmt_u64(number, &mut key);
        value.clear();
        value.extend_from_slice(b"value:");
        num::fmt_u64(number, &mut value);
        if size > 0 {
            value.resize(size, 0);
        }
        let enc = string::encoding(key.len(), value.len(), false) as u8;
        let added = ctx.db.with_key(&key, |db| {
            if !db.exists(&key, Lookup::Silent) {
                let value = NewValue::Bytes(&value);
                db.set(&key, Type::String as u8, enc, value, Expire::Never);
            }
        });
        if added.is_none() {
            break;
        }
    }
    ctx.db.effects.changes = changes;
    ctx.out.ok();
    Ok(Next::Done)
}

/// Whether nobody waits any more for what may take minutes.
fn told_to_stop(ctx: &Ctx<'_>) -> bool {
    ctx.server.lifecycle() == Lifecycle::Stopping || ctx.client.shared.has(Signal::Kill)
}

fn protocol(ctx: &mut Ctx<'_>) -> CmdResult {
    let name = ctx.args.bytes()?.to_ascii_lowercase();
    let out = &mut *ctx.out;
    match &*name {
        b"string" => out.bulk(b"Hello World"),
        b"integer" => out.integer(12345),
        b"double" => out.double(TEST_DOUBLE),
        b"null" => out.null(),
        b"array" => {
            out.array(3);
            (0..3).for_each(|n| out.integer(n));
        }
        b"set" => {
            out.set(3);
            (0..3).for_each(|n| out.integer(n));
        }
        b"map" => {
            out.map(3);
            for n in 0..3 {
                out.integer(n);
                out.boolean(n == 1);
            }
        }
        b"attrib" => {
            if out.attribute(1) {
                out.bulk(b"key-popularity");
                out.array(2);
                out.bulk(b"key:123");
                out.integer(90);
            }
            out.bulk(b"Some real reply following the attribute");
        }
        b"push" if !out.is_resp3() => {
            return Err(CmdError::text("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            // Out of band: the message stands before or behind the reply of the command that it
            // meets.
            out.bulk(b"Some real reply following the push reply");
            out.push(2);
            out.bulk(b"server-cpu-usage");
            out.integer(42);
        }
        b"true" => out.boolean(true),
        b"false" => out.boolean(false),
        b"verbatim" => out.verbatim("txt", b"This is a verbatim\nstring"),
        b"bignum" => out.big_number(b"1234567999999999999999999999999999999"),
        _ => {
            return Err(CmdError::text(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(Next::Done)
}

#[cfg(test)]
mod tests;
