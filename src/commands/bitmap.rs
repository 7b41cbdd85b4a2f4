//! Bitmap commands: strings as sequences of bits, the highest bit of the first byte first.
//!
//! Here are the rows of the family, and SETBIT and GETBIT. BITCOUNT and BITPOS are in
//! `bitmap/count.rs`, BITOP in `bitmap/op.rs`, BITFIELD in `bitmap/field.rs`. What runs over many bytes
//! is `ds::bits`, what a field's number is `value::bitfield`; how values grow is `value::string`'s.
//!
//! Invariants: a value that is to be changed goes through [`value_to_change`], so it is bytes of its
//! own that are long enough, and `raw`, as in Valkey. All arguments are read before the key is looked
//! up. Positions are counted in `u64`, since a value may have more bits than a 32-bit `usize` counts.

use super::{CmdResult, Command, Ctx, Next, command, is, typed, typed_or_create};
use crate::db::notice::EventClass;
use crate::db::{Access, KeyMut};
use crate::ds::buf::Buf;
use crate::ds::entry::NewValue;
use crate::spec::{AclCategories, CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::util::num;
use crate::value::{Encoding, Type, string};

mod count;
mod field;
mod op;

#[cfg(test)]
mod tests;

/// Reads.
const READ: Flags = Flags::READONLY;
/// Reads, in constant time.
const FAST_READ: Flags = Flags::READONLY.and(Flags::FAST);
/// Writes, and may need memory.
const STORE: Flags = Flags::WRITE.and(Flags::DENYOOM);

/// Reads the value for the client.
const FETCH: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
/// Reads the value for the client and changes the key.
const FETCH_UPDATE: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE);
/// Replaces the value.
const REPLACE: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);

/// A position that is none, or beyond the longest value there may be.
const NOT_OFFSET: CmdError = CmdError::text("ERR bit offset is not an integer or out of range");
/// What SETBIT says of a value that is neither 0 nor 1.
const NOT_BIT: CmdError = CmdError::text("ERR bit is not an integer or out of range");

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command("bitcount", -2, READ, count::bitcount)
        .acl(AclCategories::BITMAP)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::Bitmap,
            "2.6.0",
            "O(N) where N is the number of bytes looked at.",
            "Counts the bits that are set in a value, or in a part of it.",
        )
        .syntax(
            "key#0 range{start:integer \
             end-unit-block{end:integer unit(BYTE|BIT)?@7.0.0}?}?",
        ),
    command("bitfield", -2, STORE, field::bitfield)
        .acl(AclCategories::BITMAP)
        .keys(&[KeySpec::at(1, FETCH_UPDATE)
            .varying(field::key_flags)
            .notes("This command allows both access and modification of the key")])
        .docs(
            Group::Bitmap,
            "3.2.0",
            "O(1) for each operation.",
            "Reads, sets and increments integers of any width that lie anywhere in a value.",
        )
        .syntax(
            "key#0 operation(GET=get-block{encoding offset:integer}|\
             write{OVERFLOW=overflow-block(WRAP|SAT|FAIL)? \
             write-operation(SET=set-block{encoding offset:integer value:integer}|\
             INCRBY=incrby-block{encoding offset:integer increment:integer})})?*",
        ),
    command("bitfield_ro", -2, FAST_READ, field::bitfield_ro)
        .acl(AclCategories::BITMAP)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::Bitmap,
            "6.0.0",
            "O(1) for each operation.",
            "Reads integers of any width that lie anywhere in a value.",
        )
        .syntax("key#0 GET=get-block{encoding offset:integer}?*+"),
    command("bitop", -4, STORE, op::bitop)
        .acl(AclCategories::BITMAP)
        .keys(&[KeySpec::at(2, REPLACE), KeySpec::range(3, -1, 1, FETCH)])
        .docs(
            Group::Bitmap,
            "2.6.0",
            "O(N) where N is the length of the longest value.",
            "Puts values together bit by bit and stores the result.",
        )
        .syntax(
            "operation(AND|OR|XOR|NOT|\
             DIFF@8.2.0`Bits of the first value that no other has.`|\
             DIFF1@8.2.0`Bits of the other values that the first has not.`|\
             ANDOR@8.2.0`Bits of the first value that another has, too.`|\
             ONE@8.2.0`Bits that exactly one value has.`) \
             destkey#0 key#1*",
        ),
    command("bitpos", -3, READ, count::bitpos)
        .acl(AclCategories::BITMAP)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(
            Group::Bitmap,
            "2.8.7",
            "O(N) where N is the number of bytes looked at.",
            "Finds the first bit that is set, or the first that is not, in a value or a part of it.",
        )
        .syntax(
            "key#0 bit:integer range{start:integer \
             end-unit-block{end:integer unit(BYTE|BIT)?@7.0.0}?}?",
        ),
    command("getbit", 3, FAST_READ, getbit)
        .acl(AclCategories::BITMAP)
        .keys(&[KeySpec::at(1, FETCH)])
        .docs(Group::Bitmap, "2.2.0", "O(1)", "Returns a bit of a value.")
        .syntax("key#0 offset:integer"),
    command("setbit", 4, STORE, setbit)
        .acl(AclCategories::BITMAP)
        .keys(&[KeySpec::at(1, FETCH_UPDATE)])
        .docs(
            Group::Bitmap,
            "2.2.0",
            "O(1)",
            "Sets or clears a bit of a value, and returns what it was; a value that is too short \
             grows.",
        )
        .syntax("key#0 offset:integer value:integer"),
];

/// The position of a bit. It may be anywhere in the longest value there may be.
#[inline]
fn offset(text: &[u8], bytes_max: u64) -> Result<u64, CmdError> {
    let offset = num::parse_i64(text).ok_or(NOT_OFFSET)?;
    checked_offset(offset, bytes_max)
}

#[inline]
fn checked_offset(offset: i64, bytes_max: u64) -> Result<u64, CmdError> {
    u64::try_from(offset)
        .ok()
        .filter(|offset| offset / 8 < bytes_max)
        .ok_or(NOT_OFFSET)
}

/// A value that can be changed in place.
struct Changing<'d> {
    found: KeyMut<'d>,
    /// It was shorter before, or not there.
    has_grown: bool,
}

/// The value of a key to be changed, with room for the bits up to `last_bit`; it is created, or grows,
/// if need be.
#[inline]
fn value_to_change<'d>(
    db: &'d mut Access<'_>,
    key: &[u8],
    last_bit: u64,
) -> Result<Changing<'d>, CmdError> {
    let len = usize::try_from(last_bit / 8 + 1).map_err(|_| NOT_OFFSET)?;
    let zeros = NewValue::Bytes(string::zeros(len));
    let mut found = typed_or_create(db, key, Type::String, Encoding::Raw, zeros)?;
    let is_new = found.is_new();
    let has_grown = is_new || string::len(found.entry().value()) < len;
    if let Err(error) = string::make_room(&mut found.slot_mut(), len) {
        if is_new {
            found.remove();
        }
        return Err(error.into());
    }
    Ok(Changing { found, has_grown })
}

/// `SETBIT key offset value`
fn setbit(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let offset = offset(ctx.args.bytes()?, ctx.value_bytes_max())?;
    let bit = match ctx.args.bytes()? {
        b"0" => 0,
        b"1" => 1,
        _ => return Err(NOT_BIT),
    };
    let Changing {
        mut found,
        has_grown,
    } = value_to_change(&mut ctx.db, key, offset)?;
    let (at, shift) = ((offset / 8) as usize, 7 - offset % 8);
    let mut slot = found.slot_mut();
    let byte = &mut slot.bytes_mut()[at];
    let old = *byte >> shift & 1;
    if old != bit {
        *byte ^= 1 << shift;
    }
    if has_grown || old != bit {
        found.add_changes(1);
        found.notify(EventClass::STRING, "setbit");
    }
    ctx.out.integer(old.into());
    Ok(Next::Done)
}

/// `GETBIT key offset`
fn getbit(ctx: &mut Ctx<'_>) -> CmdResult {
    let key = ctx.args.bytes()?;
    let offset = offset(ctx.args.bytes()?, ctx.value_bytes_max())?;
    let mut bit = 0;
    if let Some(entry) = typed(&mut ctx.db, key, Type::String)? {
        let mut digits = itoa::Buffer::new();
        let bytes = string::bytes(entry.value(), &mut digits);
        let byte = usize::try_from(offset / 8)
            .ok()
            .and_then(|at| bytes.get(at));
        bit = byte.map_or(0, |byte| byte >> (7 - offset % 8) & 1);
    }
    ctx.out.integer(bit.into());
    Ok(Next::Done)
}
