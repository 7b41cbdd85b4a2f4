//! Writing whole values: SET and its older forms, and the commands that write several keys.

use super::options::{self, Condition, Expiry, Options, Unit};
use super::{PREFETCH_STEP, reply, store, string_value};
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::notice::EventClass;
use crate::db::{Access, Expire, Lookup};
use crate::resp::parse::Argv;
use crate::spec::{CmdError, KeyFlags};
use crate::value::string;

const BAD_NUMKEYS: CmdError = CmdError::text("ERR invalid numkeys value or out of range");

pub(super) fn set(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let value = ctx.args.bytes()?;
    if !ctx.args.is_empty() {
        return set_with_options(ctx, key, value);
    }
    set_to(&mut ctx.db, key, value, Expire::Never);
    ctx.out.ok();
    Ok(Next::Done)
}

/// Sets a key to a value as a client sent it, with the events of SET.
#[inline]
fn set_to(db: &mut Access<'_>, key: &[u8], value: &[u8], expire: Expire) {
    store(db, key, value, expire);
    db.notify(EventClass::STRING, "set", key);
    if let Expire::At(_) = expire {
        db.notify(EventClass::GENERIC, "expire", key);
    }
}

/// What SET does with its key: GET makes it read, too.
pub(super) fn set_key_flags(argv: Argv<'_>) -> KeyFlags {
    let update = KeyFlags::UPDATE;
    match argv
        .iter()
        .skip(3)
        .any(|arg| arg.eq_ignore_ascii_case(b"GET"))
    {
        true => update.and(KeyFlags::RW).and(KeyFlags::ACCESS),
        false => update.and(KeyFlags::OW),
    }
}

fn set_with_options(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8]) -> CmdResult {
    let options = Options::parse(&mut ctx.args, &options::SET)?;
    let expire_at_ms = options.expire_at_ms(ctx.clock_ms(), "set")?;
    if options.get {
        reply_old(ctx, key)?;
    }
    let met = match options.condition {
        Condition::Always => true,
        Condition::Nx => ctx.db.find_mut(key).is_none(),
        Condition::Xx => ctx.db.find_mut(key).is_some(),
        Condition::IfEq(expected) => match ctx.db.find_mut(key) {
            Some(found) => string::eq(string_value(found.entry())?, expected),
            None => false,
        },
    };
    match (met, options.get) {
        (true, false) => ctx.out.ok(),
        (false, false) => ctx.out.null(),
        (_, true) => {}
    }
    if !met {
        return Ok(Next::Done);
    }
    if options.condition != Condition::Always {
        ctx.db.set_counting(false);
    }
    match expire_at_ms {
        Some(at_ms) if at_ms <= ctx.now_ms() => {
            ctx.db.expire_now(key);
        }
        _ => {
            let expire = expire(expire_at_ms, options.expiry);
            set_to(&mut ctx.db, key, value, expire);
            if ctx.db.is_logged() {
                log_set(ctx, &options, expire_at_ms);
            }
        }
    }
    Ok(Next::Done)
}

/// A relative time becomes an absolute one, and what decided whether to write is left out with it;
/// GET has nothing to do with what is written.
fn log_set(ctx: &mut Ctx<'_>, options: &Options<'_>, expire_at_ms: Option<u64>) {
    let argv = ctx.args.argv();
    match (options.expiry, expire_at_ms) {
        (Expiry::At(Unit::PxAt, _), _) => {}
        (_, Some(at_ms)) => {
            let mut digits = itoa::Buffer::new();
            let time = [&b"PXAT"[..], digits.format(at_ms).as_bytes()];
            let argv = argv.iter().take(3).chain(time);
            ctx.db.propagate_as(argv);
        }
        (_, None) if options.get => {
            let is_operand = |at: usize| at > 3 && argv[at - 1].eq_ignore_ascii_case(b"IFEQ");
            let is_get = |at: usize| argv[at].eq_ignore_ascii_case(b"GET") && !is_operand(at);
            let kept = (0..argv.len()).filter(|&at| at < 3 || !is_get(at));
            ctx.db.propagate_as(kept.map(|at| &argv[at]));
        }
        (_, None) => {}
    }
}

/// Has the log set a key that expires at a given time.
fn log_set_at(ctx: &mut Ctx<'_>, key: &[u8], value: &[u8], at_ms: u64) {
    if ctx.db.is_logged() {
        let mut digits = itoa::Buffer::new();
        let at = digits.format(at_ms).as_bytes();
        ctx.db.propagate_as([&b"SET"[..], key, value, b"PXAT", at]);
    }
}

fn expire(expire_at_ms: Option<u64>, expiry: Expiry<'_>) -> Expire {
    match (expire_at_ms, expiry) {
        (Some(at_ms), _) => Expire::At(at_ms),
        (None, Expiry::Keep) => Expire::Keep,
        (None, _) => Expire::Never,
    }
}

/// Answers the value that a write is about to replace.
fn reply_old(ctx: &mut Ctx<'_>, key: &[u8]) -> Result<(), CmdError> {
    match ctx.db.find(key, Lookup::Read) {
        Some(entry) => reply(ctx.out, string_value(entry)?),
        None => ctx.out.null(),
    }
    Ok(())
}

pub(super) fn setnx(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let value = ctx.args.bytes()?;
    let absent = ctx.db.find_mut(key).is_none();
    if absent {
        set_to(&mut ctx.db, key, value, Expire::Never);
    }
    ctx.out.integer(absent as i64);
    Ok(Next::Done)
}

pub(super) fn setex(ctx: &mut Ctx<'_>) -> CmdResult {
    set_for(ctx, Unit::Ex, "setex")
}

pub(super) fn psetex(ctx: &mut Ctx<'_>) -> CmdResult {
    set_for(ctx, Unit::Px, "psetex")
}

fn set_for(ctx: &mut Ctx<'_>, unit: Unit, command: &'static str) -> CmdResult {
    let key = ctx.args.bytes()?;
    let time = ctx.args.bytes()?;
    let value = ctx.args.bytes()?;
    let at_ms = options::expire_at_ms(time, unit, ctx.clock_ms(), command)?;
    set_to(&mut ctx.db, key, value, Expire::At(at_ms));
    log_set_at(ctx, key, value, at_ms);
    ctx.out.ok();
    Ok(Next::Done)
}

pub(super) fn getset(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let value = ctx.args.bytes()?;
    reply_old(ctx, key)?;
    set_to(&mut ctx.db, key, value, Expire::Never);
    ctx.db.propagate_as([&b"SET"[..], key, value]);
    Ok(Next::Done)
}

pub(super) fn getex(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let options = Options::parse(&mut ctx.args, &options::GETEX)?;
    let now_ms = ctx.now_ms();
    let expire_at_ms = options.expire_at_ms(ctx.clock_ms(), "getex")?;
    let Some(entry) = ctx.db.find(key, Lookup::Read) else {
        ctx.out.null();
        return Ok(Next::Done);
    };
    let had_expire = entry.expire_at_ms().is_some();
    reply(ctx.out, string_value(entry)?);
    ctx.db.set_counting(false);
    match expire_at_ms {
        Some(at_ms) if at_ms <= now_ms => {
            ctx.db.expire_now(key);
        }
        None if options.expiry != Expiry::Persist || !had_expire => {}
        _ => {
            if let Some(mut found) = ctx.db.find_mut(key) {
                found.set_expire(expire_at_ms);
                let event = match expire_at_ms {
                    Some(_) => "expire",
                    None => "persist",
                };
                found.notify(EventClass::GENERIC, event);
            }
            log_expire(ctx, key, expire_at_ms);
        }
    }
    Ok(Next::Done)
}

/// Has the log set or remove the expiry of a key.
fn log_expire(ctx: &mut Ctx<'_>, key: &[u8], expire_at_ms: Option<u64>) {
    if !ctx.db.is_logged() {
        return;
    }
    let mut digits = itoa::Buffer::new();
    match expire_at_ms {
        Some(at_ms) => {
            let at = digits.format(at_ms).as_bytes();
            ctx.db.propagate_as([&b"PEXPIREAT"[..], key, at]);
        }
        None => ctx.db.propagate_as([&b"PERSIST"[..], key]),
    }
}

pub(super) fn delifeq(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let expected = ctx.args.bytes()?;
    let mut removed = false;
    if let Some(found) = ctx.db.find_mut(key) {
        removed = string::eq(string_value(found.entry())?, expected);
        if removed {
            found.remove();
        }
    }
    if removed {
        ctx.db.propagate_as([&b"DEL"[..], key]);
    }
    ctx.out.integer(removed as i64);
    Ok(Next::Done)
}

pub(super) fn mset(ctx: &mut Ctx<'_>) -> CmdResult {
    let pairs = pairs(ctx, "mset")?;
    store_all(&mut ctx.db, pairs, Expire::Never);
    ctx.out.ok();
    Ok(Next::Done)
}

pub(super) fn msetnx(ctx: &mut Ctx<'_>) -> CmdResult {
    let pairs = pairs(ctx, "msetnx")?;
    let absent = keys(pairs).all(|key| ctx.db.find_mut(key).is_none());
    if absent {
        store_all(&mut ctx.db, pairs, Expire::Never);
    }
    ctx.out.integer(absent as i64);
    Ok(Next::Done)
}

pub(super) fn msetex(ctx: &mut Ctx<'_>) -> CmdResult {
    let numkeys = ctx.args.int().map_err(|_| BAD_NUMKEYS)?;
    let numkeys = u32::try_from(numkeys)
        .ok()
        .filter(|numkeys| (1..=i32::MAX as u32).contains(numkeys))
        .ok_or(BAD_NUMKEYS)? as usize;
    if numkeys > ctx.args.remaining() / 2 {
        return Err(CmdError::Syntax);
    }
    let pairs = ctx.args.many(numkeys * 2)?;
    let options = Options::parse(&mut ctx.args, &options::MSETEX)?;
    let expire_at_ms = options.expire_at_ms(ctx.clock_ms(), "msetex")?;
    let met = match options.condition {
        Condition::Nx => keys(pairs).all(|key| ctx.db.find_mut(key).is_none()),
        Condition::Xx => keys(pairs).all(|key| ctx.db.find_mut(key).is_some()),
        Condition::Always | Condition::IfEq(_) => true,
    };
    if met {
        // A time that is past already is written like any other: nobody will see the keys.
        store_all(&mut ctx.db, pairs, expire(expire_at_ms, options.expiry));
        if let (Expiry::At(unit, _), Some(at_ms)) = (options.expiry, expire_at_ms)
            && unit != Unit::PxAt
            && ctx.db.is_logged()
        {
            // Behind the name, the number of keys and the pairs.
            log_with_time(ctx, 2 + pairs.len(), at_ms);
        }
    }
    ctx.out.integer(met as i64);
    Ok(Next::Done)
}

/// Has the log repeat the request with an absolute time in the place of the relative one that stands
/// among the options from `first` on.
fn log_with_time(ctx: &mut Ctx<'_>, first: usize, at_ms: u64) {
    let argv = ctx.args.argv();
    let mut digits = itoa::Buffer::new();
    let at = digits.format(at_ms).as_bytes();
    let is_unit = |arg: &[u8]| {
        [&b"EX"[..], b"PX", b"EXAT"]
            .iter()
            .any(|unit| arg.eq_ignore_ascii_case(unit))
    };
    let argv = (0..argv.len()).map(|index| match index >= first {
        true if is_unit(&argv[index]) => &b"PXAT"[..],
        true if index > first && is_unit(&argv[index - 1]) => at,
        _ => &argv[index],
    });
    ctx.db.propagate_as(argv);
}

/// All arguments as keys, each with its value.
fn pairs<'a>(ctx: &mut Ctx<'a>, command: &'static str) -> Result<Argv<'a>, CmdError> {
    let pairs = ctx.args.rest();
    if !pairs.len().is_multiple_of(2) {
        return Err(CmdError::WrongArity(command.into()));
    }
    Ok(pairs)
}

fn keys(pairs: Argv<'_>) -> impl Iterator<Item = &[u8]> {
    pairs.iter().step_by(2)
}

fn store_all(db: &mut Access<'_>, pairs: Argv<'_>, expire: Expire) {
    for first in (0..pairs.len()).step_by(2 * PREFETCH_STEP) {
        let some = pairs.from(first);
        if some.len() > 2 {
            db.prefetch(keys(some));
        }
        let values = some.iter().skip(1).step_by(2);
        for (key, value) in keys(some).zip(values).take(PREFETCH_STEP) {
            set_to(db, key, value, expire);
        }
    }
}
