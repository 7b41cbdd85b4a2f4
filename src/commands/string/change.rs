//! APPEND and SETRANGE: values that change in part.

use super::{STRING, store, string_value};
use crate::commands::{CmdResult, Ctx, Next};
use crate::db::notice::EventClass;
use crate::db::{Expire, KeyMut};
use crate::ds::entry::ValueRef;
use crate::spec::CmdError;
use crate::value::string::{OutOfMemory, Scratch};
use crate::value::{Encoding, string};

/// What a client is told when a value that it may have does not fit the machine.
const OUT_OF_MEMORY: CmdError = CmdError::text("ERR Insufficient memory, failed allocating string");

pub(super) fn append(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let tail = ctx.args.bytes()?;
    let len_max = ctx.value_bytes_max();
    let new_len = if let Some(mut found) = ctx.db.find_mut(key) {
        let old_len = string::len(string_value(found.entry())?);
        let new_len = checked_len(old_len as u64, tail, len_max)?;
        splice(&mut found, old_len, tail)?;
        found.notify(EventClass::STRING, "append");
        new_len
    } else {
        store(&mut ctx.db, key, tail, Expire::Never);
        ctx.db.notify(EventClass::STRING, "append", key);
        tail.len()
    };
    ctx.out.integer(new_len as i64);
    Ok(Next::Done)
}

pub(super) fn setrange(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let offset = ctx.args.int()?;
    let patch = ctx.args.bytes()?;
    let offset = u64::try_from(offset).map_err(|_| CmdError::OffsetOutOfRange)?;
    let len_max = ctx.value_bytes_max();
    let new_len = if let Some(mut found) = ctx.db.find_mut(key) {
        let old_len = string::len(string_value(found.entry())?);
        if patch.is_empty() {
            old_len
        } else {
            let end = checked_len(offset, patch, len_max)?;
            splice(&mut found, end - patch.len(), patch)?;
            found.notify(EventClass::STRING, "setrange");
            old_len.max(end)
        }
    } else if patch.is_empty() {
        0
    } else {
        let end = checked_len(offset, patch, len_max)?;
        let (empty, mut scratch) = (ValueRef::Bytes(b""), Scratch::new());
        let value = string::spliced(empty, end - patch.len(), patch, &mut scratch)?;
        let enc = Encoding::Raw as u8;
        ctx.db.set(key, STRING, enc, value, Expire::Never);
        ctx.db.notify(EventClass::STRING, "setrange", key);
        end
    };
    ctx.out.integer(new_len as i64);
    Ok(Next::Done)
}

/// Where `patch` written at `offset` ends, if a value may be as long as that.
fn checked_len(offset: u64, patch: &[u8], len_max: u64) -> Result<usize, CmdError> {
    let end = offset
        .checked_add(patch.len() as u64)
        .filter(|&end| end <= len_max)
        .ok_or(CmdError::StringTooLong)?;
    usize::try_from(end).map_err(|_| CmdError::StringTooLong)
}

fn splice(found: &mut KeyMut<'_>, offset: usize, patch: &[u8]) -> Result<(), OutOfMemory> {
    let mut in_place = Ok(false);
    found.edit(|entry| {
        in_place = string::write_in_place(entry, offset, patch);
        in_place == Ok(true)
    });
    if !in_place? {
        let mut scratch = Scratch::new();
        let value = string::spliced(found.entry().value(), offset, patch, &mut scratch)?;
        found.set_value(Encoding::Raw as u8, value);
    }
    Ok(())
}

impl From<OutOfMemory> for CmdError {
    fn from(_: OutOfMemory) -> CmdError {
        OUT_OF_MEMORY
    }
}
