//! HyperLogLog commands: the rows of the family, then their handlers; PFDEBUG is in
//! `hyperloglog/debug.rs`.
//!
//! A HyperLogLog is a string; what its bytes mean is `value::hyperloglog`'s. Here are keys, replies,
//! and what counts as a change.
//!
//! Invariants: bytes are taken for a HyperLogLog only by [`checked`]; whatever changes registers
//! says that the stored estimate is out of date.

use super::{CmdResult, Command, Ctx, Next, command, typed, typed_or_create};
use crate::db::notice::EventClass;
use crate::ds::buf::Buf;
use crate::ds::entry::{NewValue, ValueRef};
use crate::ds::hll::{REGISTERS, Registers};
use crate::resp::parse::Argv;
use crate::spec::{AclCategories, CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::value::hyperloglog::{self as hll, Form, Mark, NotHyperLogLog, Place};
use crate::value::{Encoding, Type};

mod debug;

#[cfg(test)]
mod tests;

/// The family's category.
const CATEGORY: AclCategories = AclCategories::HYPERLOGLOG;
/// Writes, and may need memory.
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("pfadd", -2, STORE.and(Flags::FAST), pfadd)
        .acl(CATEGORY)
        .keys(&[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::INSERT))])
        .docs(
            Group::HyperLogLog,
            "2.8.9",
            "O(1) for each element.",
            "Adds elements to a HyperLogLog; creates the key if it is not there.",
        )
        .syntax("key#0 element?*"),
    command(
        "pfcount",
        -2,
        Flags::READONLY.and(Flags::MAY_REPLICATE),
        pfcount,
    )
    .acl(CATEGORY)
    .keys(&[
        KeySpec::range(1, -1, 1, KeyFlags::RW.and(KeyFlags::ACCESS)).notes(
            "RW because it may change the internal representation of the key, and propagate to \
             replicas",
        ),
    ])
    .docs(
        Group::HyperLogLog,
        "2.8.9",
        "O(1) for one key, since its estimate is stored; O(N) for N keys, with a large constant.",
        "Estimates how many different elements were added to one or more HyperLogLogs.",
    )
    .syntax("key#0*"),
    command("pfdebug", 3, STORE.and(Flags::ADMIN), debug::pfdebug)
        .acl(CATEGORY)
        .keys(&[KeySpec::at(2, KeyFlags::RW.and(KeyFlags::ACCESS))])
        .docs(
            Group::HyperLogLog,
            "2.8.9",
            "N/A",
            "Shows how a HyperLogLog is stored, or makes it dense; serves tests.",
        )
        .system()
        .syntax("subcommand key#0"),
    command("pfmerge", -2, STORE, pfmerge)
        .acl(CATEGORY)
        .keys(&[
            KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::INSERT)),
            KeySpec::range(2, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
        ])
        .docs(
            Group::HyperLogLog,
            "2.8.9",
            "O(N) for N keys, with a large constant.",
            "Adds what several HyperLogLogs have seen to the first of them.",
        )
        .syntax("destkey#0 sourcekey#1?*"),
    command("pfselftest", 1, Flags::ADMIN, pfselftest)
        .acl(CATEGORY)
        .docs(
            Group::HyperLogLog,
            "2.8.9",
            "N/A",
            "Tests on this machine whether HyperLogLogs work.",
        )
        .system(),
];

/// The encoding of whatever these commands were given as a key to work on, as in Valkey.
const RAW: u8 = Encoding::Raw as u8;

/// What a client is told of a string that is no HyperLogLog.
const NOT_HYPERLOGLOG: CmdError =
    CmdError::text("WRONGTYPE Key is not a valid HyperLogLog string value.");
/// What it is told of one whose registers are not as they have to be.
const CORRUPT: CmdError = CmdError::text("INVALIDOBJ Corrupted HLL object detected");

impl From<NotHyperLogLog> for CmdError {
    fn from(_: NotHyperLogLog) -> CmdError {
        NOT_HYPERLOGLOG
    }
}

impl From<hll::Corrupt> for CmdError {
    fn from(_: hll::Corrupt) -> CmdError {
        CORRUPT
    }
}

/// The bytes of a string if they are a HyperLogLog, and its form.
#[inline]
fn checked(value: ValueRef<'_>) -> Result<(&[u8], Form), NotHyperLogLog> {
    let bytes = value.as_bytes().ok_or(NotHyperLogLog)?;
    Ok((bytes, hll::form(bytes)?))
}

/// `PFADD key [element [element ...]]`
fn pfadd(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let bytes_max = ctx.config.hll_sparse_max_bytes;
    let empty = NewValue::Bytes(&hll::EMPTY);
    let mut found = typed_or_create(&mut ctx.db, key, Type::String, Encoding::Raw, empty)?;
    checked(found.entry().value())?;
    let mut changes = u64::from(found.is_new());
    let is_raw = found.entry().enc() == RAW;
    let mut value = found.slot_mut();
    if !is_raw {
        value.set_enc(RAW);
    }
    let mut result = Ok(());
    for element in ctx.args.rest().iter() {
        let mut mark = Mark::START;
        match hll::add(&mut value, Place::of(element), bytes_max, &mut mark) {
            Ok(raised) => changes += u64::from(raised),
            Err(corrupt) => {
                result = Err(corrupt);
                break;
            }
        }
    }
    // What was added before a corrupt place was met stays, so the log has to say so.
    if changes > 0 {
        hll::forget_estimate(value.bytes_mut());
        found.add_changes(changes);
    }
    result?;
    if changes > 0 {
        found.notify(EventClass::STRING, "pfadd");
    }
    ctx.out.integer(i64::from(changes > 0));
    Ok(Next::Done)
}

/// `PFCOUNT key [key ...]`
fn pfcount(ctx: &mut Ctx<'_>) -> CmdResult {
    let keys = ctx.args.rest();
    let estimate = match keys.len() {
        1 => count_one(ctx)?,
        _ => {
            let mut registers = [0; REGISTERS];
            merge(ctx, keys, &mut registers)?;
            hll::count_registers(&registers)
        }
    };
    // It is negative of registers that no element can have raised, as in Redis.
    ctx.out.integer(estimate as i64);
    Ok(Next::Done)
}

/// The estimate of one key. It is stored there if it had to be computed, which is a change: a read
/// that is logged, and seen by those who watch the key.
fn count_one(ctx: &mut Ctx<'_>) -> Result<u64, CmdError> {
    let key = ctx.args.bytes()?;
    let Some(entry) = typed(&mut ctx.db, key, Type::String)? else {
        return Ok(0);
    };
    let (bytes, _) = checked(entry.value())?;
    let stored = hll::stored_estimate(bytes);
    if let Some(estimate) = stored
        && entry.enc() == RAW
    {
        return Ok(estimate);
    }
    let counted = match stored {
        Some(estimate) => Ok(estimate),
        None => hll::count(bytes),
    };
    ctx.db.set_counting(false);
    if let Some(mut found) = ctx.db.find_mut(key) {
        let mut value = found.slot_mut();
        value.set_enc(RAW);
        if let (None, Ok(estimate)) = (stored, counted) {
            hll::store_estimate(value.bytes_mut(), estimate);
            found.add_changes(1);
        }
    }
    Ok(counted?)
}

/// Raises registers to those of all keys; says whether one of these is dense.
fn merge(ctx: &mut Ctx<'_>, keys: Argv<'_>, registers: &mut Registers) -> Result<bool, CmdError> {
    let mut has_dense = false;
    for key in keys.iter() {
        if let Some(entry) = typed(&mut ctx.db, key, Type::String)? {
            let (bytes, form) = checked(entry.value())?;
            has_dense |= form == Form::Dense;
            hll::merge(registers, bytes)?;
        }
    }
    Ok(has_dense)
}

/// `PFMERGE destkey [sourcekey [sourcekey ...]]`
fn pfmerge(ctx: &mut Ctx<'_>) -> CmdResult {
    let keys = ctx.args.rest();
    let dest = ctx.args.bytes()?;
    let bytes_max = ctx.config.hll_sparse_max_bytes;
    let mut registers = [0; REGISTERS];
    let has_dense = merge(ctx, keys, &mut registers)?;
    let empty = NewValue::Bytes(&hll::EMPTY);
    let mut found = typed_or_create(&mut ctx.db, dest, Type::String, Encoding::Raw, empty)?;
    if has_dense {
        let mut value = found.slot_mut();
        value.set_enc(RAW);
        hll::replace_registers(&mut value, &registers);
        hll::forget_estimate(value.bytes_mut());
        found.add_changes(1);
    } else {
        // A copy, as nothing is changed if it is corrupt.
        let mut value = checked(found.entry().value())?.0.to_vec();
        add_all(&mut value, &registers, bytes_max)?;
        hll::forget_estimate(&mut value);
        found.set_value(RAW, NewValue::Bytes(&value));
    }
    found.notify(EventClass::STRING, "pfadd");
    ctx.out.ok();
    Ok(Next::Done)
}

/// Raises the registers of a sparse value to these, which are nowhere lower, as if elements were
/// added in the registers' order: so the runs are Valkey's, too.
fn add_all(value: &mut Vec<u8>, registers: &Registers, bytes_max: u64) -> Result<(), hll::Corrupt> {
    let mut mark = Mark::START;
    for (index, &rank) in registers.iter().enumerate() {
        if rank == 0 {
            continue;
        }
        hll::add(value, Place { index, rank }, bytes_max, &mut mark)?;
        if hll::form(value) == Ok(Form::Dense) {
            hll::replace_registers(value, registers);
            break;
        }
    }
    Ok(())
}

/// PFSELFTEST
fn pfselftest(ctx: &mut Ctx<'_>) -> CmdResult {
    hll::selftest().map_err(|fault| CmdError::owned(format!("TESTFAILED {fault}")))?;
    ctx.out.ok();
    Ok(Next::Done)
}
