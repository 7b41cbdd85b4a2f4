//! Commands on the expiry of keys: EXPIRE and its kin, TTL and its kin, PERSIST.
//!
//! Whatever a command's unit and base, an expiry is a Unix time in milliseconds, at most
//! `i64::MAX`: a time that is given is brought to it with checked arithmetic, and what does not fit
//! is refused. A time that has passed deletes the key at once.

use crate::db::Lookup;
use crate::db::notice::EventClass;
use crate::spec::args::c_str;
use crate::spec::{AclCategories, Args, CmdError, Flags, Group, KeyFlags, KeySpec};

use super::{CmdResult, Command, Ctx, Next, command};

const UPDATE: &[KeySpec] = &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))];
const ACCESS: &[KeySpec] = &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))];

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("expire", -3, Flags::FAST.and(Flags::WRITE), expire)
        .acl(AclCategories::KEYSPACE)
        .keys(UPDATE)
        .docs(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Lets a key expire after some seconds.",
        )
        .syntax("key#0 seconds:integer condition(NX|XX|GT|LT)?@7.0.0"),
    command("expireat", -3, Flags::FAST.and(Flags::WRITE), expireat)
        .acl(AclCategories::KEYSPACE)
        .keys(UPDATE)
        .docs(
            Group::Generic,
            "1.2.0",
            "O(1)",
            "Lets a key expire at a Unix time in seconds.",
        )
        .syntax("key#0 unix-time-seconds:unix-time condition(NX|XX|GT|LT)?@7.0.0"),
    command(
        "expiretime",
        2,
        Flags::FAST.and(Flags::READONLY),
        expiretime,
    )
    .acl(AclCategories::KEYSPACE)
    .keys(ACCESS)
    .docs(
        Group::Generic,
        "7.0.0",
        "O(1)",
        "Tells when a key expires, as a Unix time in seconds.",
    )
    .syntax("key#0"),
    command("persist", 2, Flags::FAST.and(Flags::WRITE), persist)
        .acl(AclCategories::KEYSPACE)
        .keys(UPDATE)
        .docs(
            Group::Generic,
            "2.2.0",
            "O(1)",
            "Takes the expiry off a key.",
        )
        .syntax("key#0"),
    command("pexpire", -3, Flags::FAST.and(Flags::WRITE), pexpire)
        .acl(AclCategories::KEYSPACE)
        .keys(UPDATE)
        .docs(
            Group::Generic,
            "2.6.0",
            "O(1)",
            "Lets a key expire after some milliseconds.",
        )
        .syntax("key#0 milliseconds:integer condition(NX|XX|GT|LT)?@7.0.0"),
    command("pexpireat", -3, Flags::FAST.and(Flags::WRITE), pexpireat)
        .acl(AclCategories::KEYSPACE)
        .keys(UPDATE)
        .docs(
            Group::Generic,
            "2.6.0",
            "O(1)",
            "Lets a key expire at a Unix time in milliseconds.",
        )
        .syntax("key#0 unix-time-milliseconds:unix-time condition(NX|XX|GT|LT)?@7.0.0"),
    command(
        "pexpiretime",
        2,
        Flags::FAST.and(Flags::READONLY),
        pexpiretime,
    )
    .acl(AclCategories::KEYSPACE)
    .keys(ACCESS)
    .docs(
        Group::Generic,
        "7.0.0",
        "O(1)",
        "Tells when a key expires, as a Unix time in milliseconds.",
    )
    .syntax("key#0"),
    command("pttl", 2, Flags::FAST.and(Flags::READONLY), pttl)
        .acl(AclCategories::KEYSPACE)
        .keys(ACCESS)
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Generic,
            "2.6.0",
            "O(1)",
            "Tells how many milliseconds a key has still to live.",
        )
        .syntax("key#0"),
    command("ttl", 2, Flags::FAST.and(Flags::READONLY), ttl)
        .acl(AclCategories::KEYSPACE)
        .keys(ACCESS)
        .tips(&["nondeterministic_output"])
        .docs(
            Group::Generic,
            "1.0.0",
            "O(1)",
            "Tells how many seconds a key has still to live.",
        )
        .syntax("key#0"),
];

/// What a time counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Millis,
}

/// From when a time counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    Now,
    Epoch,
}

/// NX, XX, GT and LT: when an expiry is to be set.
#[derive(Clone, Copy, Default)]
pub(super) struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Condition {
    /// Reads all arguments that are left.
    pub(super) fn parse(args: &mut Args<'_>) -> Result<Condition, CmdError> {
        let mut condition = Condition::default();
        while let Some(option) = args.option() {
            let option = c_str(option);
            if option.eq_ignore_ascii_case(b"NX") {
                condition.nx = true;
            } else if option.eq_ignore_ascii_case(b"XX") {
                condition.xx = true;
            } else if option.eq_ignore_ascii_case(b"GT") {
                condition.gt = true;
            } else if option.eq_ignore_ascii_case(b"LT") {
                condition.lt = true;
            } else {
                return Err(CmdError::owned(
                    [b"ERR Unsupported option ", option].concat(),
                ));
            }
        }
        let Condition { nx, xx, gt, lt } = condition;
        if nx && (xx || gt || lt) {
            return Err(CmdError::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if gt && lt {
            return Err(CmdError::text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(condition)
    }

    /// Whether an expiry of `at_ms` may take the place of `current_ms`. A key without one lives for
    /// ever: nothing is later than that.
    pub(super) fn allows(self, current_ms: Option<u64>, at_ms: i64) -> bool {
        let Some(current_ms) = current_ms else {
            return !self.xx && !self.gt;
        };
        let current_ms = i64::try_from(current_ms).unwrap_or(i64::MAX);
        !(self.nx || self.gt && at_ms <= current_ms || self.lt && at_ms >= current_ms)
    }
}

/// `EXPIRE key seconds [NX | XX | GT | LT]`
fn expire(ctx: &mut Ctx<'_>) -> CmdResult {
    set_expiry(ctx, Unit::Seconds, Since::Now)
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
fn pexpire(ctx: &mut Ctx<'_>) -> CmdResult {
    set_expiry(ctx, Unit::Millis, Since::Now)
}

/// `EXPIREAT key unix-time-seconds [NX | XX | GT | LT]`
fn expireat(ctx: &mut Ctx<'_>) -> CmdResult {
    set_expiry(ctx, Unit::Seconds, Since::Epoch)
}

/// `PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]`
fn pexpireat(ctx: &mut Ctx<'_>) -> CmdResult {
    set_expiry(ctx, Unit::Millis, Since::Epoch)
}

fn set_expiry(ctx: &mut Ctx<'_>, unit: Unit, since: Since) -> CmdResult {
    let key = ctx.args.bytes()?;
    // The options are judged before the number, and both before the key is looked up.
    let mut options = ctx.args;
    options.bytes()?;
    let condition = Condition::parse(&mut options)?;
    let time = ctx.args.int()?;
    let now_ms = i64::try_from(ctx.now_ms()).unwrap_or(i64::MAX);
    let clock_ms = i64::try_from(ctx.clock_ms()).unwrap_or(i64::MAX);
    let at_ms = unix_ms(time, unit, since, clock_ms)
        .ok_or(CmdError::InvalidExpire(ctx.command.row.name.into()))?;
    let Some(mut found) = ctx.db.find_mut(key) else {
        ctx.out.integer(0);
        return Ok(Next::Done);
    };
    let done = condition.allows(found.entry().expire_at_ms(), at_ms);
    if done && at_ms > now_ms {
        found.set_expire(Some(at_ms as u64));
        found.notify(EventClass::GENERIC, "expire");
        drop(found);
        if ctx.db.is_logged() && (unit, since) != (Unit::Millis, Since::Epoch) {
            let argv = ctx.args.argv();
            let mut digits = itoa::Buffer::new();
            let head = [&b"PEXPIREAT"[..], key, digits.format(at_ms).as_bytes()];
            ctx.db
                .propagate_as(head.into_iter().chain(argv.iter().skip(3)));
        }
    } else {
        drop(found);
        if done {
            ctx.db.expire_now(key);
        }
    }
    ctx.out.integer(done as i64);
    Ok(Next::Done)
}

/// A client's time, relative to `now_ms`, as Unix time in milliseconds; may be negative. `None` when it does not fit.
pub(super) fn unix_ms(time: i64, unit: Unit, since: Since, now_ms: i64) -> Option<i64> {
    let time_ms = match unit {
        Unit::Seconds => time.checked_mul(1000)?,
        Unit::Millis => time,
    };
    match since {
        Since::Now => time_ms.checked_add(now_ms),
        Since::Epoch => Some(time_ms),
    }
}

/// TTL key
fn ttl(ctx: &mut Ctx<'_>) -> CmdResult {
    tell_expiry(ctx, Unit::Seconds, Since::Now)
}

/// PTTL key
fn pttl(ctx: &mut Ctx<'_>) -> CmdResult {
    tell_expiry(ctx, Unit::Millis, Since::Now)
}

/// EXPIRETIME key
fn expiretime(ctx: &mut Ctx<'_>) -> CmdResult {
    tell_expiry(ctx, Unit::Seconds, Since::Epoch)
}

/// PEXPIRETIME key
fn pexpiretime(ctx: &mut Ctx<'_>) -> CmdResult {
    tell_expiry(ctx, Unit::Millis, Since::Epoch)
}

fn tell_expiry(ctx: &mut Ctx<'_>, unit: Unit, since: Since) -> CmdResult {
    let key = ctx.args.bytes()?;
    let now_ms = ctx.clock_ms();
    let reply = match ctx.db.find(key, Lookup::NoTouch) {
        None => -2,
        Some(entry) => match entry.expire_at_ms() {
            None => -1,
            Some(at_ms) => told(at_ms, unit, since, now_ms),
        },
    };
    ctx.out.integer(reply);
    Ok(Next::Done)
}

/// An expiry as a client is told it.
pub(super) fn told(at_ms: u64, unit: Unit, since: Since, now_ms: u64) -> i64 {
    let time_ms = match since {
        Since::Now => at_ms.saturating_sub(now_ms),
        Since::Epoch => at_ms,
    };
    let time = match unit {
        Unit::Seconds => time_ms.saturating_add(500) / 1000,
        Unit::Millis => time_ms,
    };
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// PERSIST key
fn persist(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let mut done = false;
    if let Some(mut found) = ctx.db.find_mut(key)
        && found.entry().expire_at_ms().is_some()
    {
        found.set_expire(None);
        found.notify(EventClass::GENERIC, "persist");
        done = true;
    }
    ctx.out.integer(done as i64);
    Ok(Next::Done)
}

#[cfg(test)]
mod tests;
