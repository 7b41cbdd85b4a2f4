//! String values: which encoding a value gets, how it is read, how it changes in place.
//!
//! A string is stored in one of three ways (`ds::entry`): as an integer, as bytes inside the entry,
//! or as a shared buffer outside of it. What OBJECT ENCODING reports is something else: Valkey's
//! names, which follow from the lengths of key and value as they were when the value was written
//! ([`encoding`]) and from what was done to it since. They are kept in the entry's encoding nibble.
//!
//! Invariants:
//! - an integer is stored as such only when its text is the one that it prints as, so nothing is
//!   lost by it; `Encoding::Int` and the integer kind of an entry always go together;
//! - bytes that were changed in place are `raw`, whatever their length, as in Valkey;
//! - a buffer that grows has room to spare, so that many small APPENDs cost one copy in all.
//!
//! To add an operation that changes bytes: [`write_in_place`], and [`spliced`] when the value has to
//! move; or [`make_room`], when what is written depends on what is there.

use std::collections::TryReserveError;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Encoding;
use crate::ds::bits;
use crate::ds::buf::Buf;
use crate::ds::entry::{EntryMut, EntrySlot, NewValue, ValueRef};
use crate::util::long_double::LongDouble;
use crate::util::num;

pub mod lcs;

#[cfg(test)]
mod tests;

/// Bytes of the largest allocation in which Valkey keeps key and value together.
pub(super) const EMBEDDED_BYTES_MAX: usize = 128;
/// Bytes of an object's header there.
const OBJECT_BYTES: usize = 8;
/// Bytes of an expiry there.
const EXPIRE_BYTES: usize = 8;
/// Bytes that a value needs there besides its own.
const VALUE_BYTES: usize = 4;
/// Keys of at least this many bytes have the longer header there.
const LONG_KEY_BYTES: usize = 32;

/// Values that are changed and reach this length move into a buffer that can grow, bytes. Below it
/// a change copies the value, which costs no more than the rest of the command.
const GROWING_BYTES_MIN: usize = 4096;
/// Up to this length a growing buffer doubles, bytes; then it grows by this much, or an eighth.
const DOUBLING_BYTES_MAX: usize = 1 << 20;

/// What short values grow by.
const ZEROS: [u8; GROWING_BYTES_MIN] = [0; GROWING_BYTES_MIN];

/// Memory that a value needs cannot be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl From<TryReserveError> for OutOfMemory {
    fn from(_: TryReserveError) -> Self {
        OutOfMemory
    }
}

/// Room on the stack for a short value that is put together before it is stored.
pub type Scratch = SmallVec<[u8; 512]>;

/// The integer that `bytes` are the canonical text of: such a value is stored as `Encoding::Int`.
#[inline]
pub fn canonical_int(bytes: &[u8]) -> Option<i64> {
    num::parse_i64(bytes)
}

/// The encoding of bytes that are written to a key of `key_len` bytes. `has_expire`: the key has an
/// expiry at that moment (the one that it had before the write, if it was there).
#[inline]
pub fn encoding(key_len: usize, value_len: usize, has_expire: bool) -> Encoding {
    if embedded_bytes(key_len, value_len, has_expire) <= EMBEDDED_BYTES_MAX {
        Encoding::Embstr
    } else {
        Encoding::Raw
    }
}

/// The encoding of an embstr value when its key gets an expiry that it did not have: there may be
/// no room for it. Once the rest alone is too long for it, Valkey leaves the value where it is.
#[inline]
pub fn encoding_with_expire(key_len: usize, value_len: usize) -> Encoding {
    let without_value = embedded_bytes(key_len, 0, true).saturating_sub(VALUE_BYTES);
    if without_value > EMBEDDED_BYTES_MAX {
        Encoding::Embstr
    } else {
        encoding(key_len, value_len, true)
    }
}

#[inline]
fn embedded_bytes(key_len: usize, value_len: usize, has_expire: bool) -> usize {
    let key_overhead = if key_len < LONG_KEY_BYTES { 3 } else { 5 };
    let fixed = OBJECT_BYTES + VALUE_BYTES + key_overhead;
    let expire_bytes = if has_expire { EXPIRE_BYTES } else { 0 };
    key_len
        .saturating_add(value_len)
        .saturating_add(fixed + expire_bytes)
}

/// The value as text; an integer is printed into `digits`. A collection, which no string is, has none.
#[inline]
pub fn bytes<'a>(value: ValueRef<'a>, digits: &'a mut itoa::Buffer) -> &'a [u8] {
    match value {
        ValueRef::Int(int) => digits.format(int).as_bytes(),
        ValueRef::Bytes(bytes) => bytes,
        ValueRef::Shared(shared) => shared.as_slice(),
        ValueRef::Collection(_) => &[],
    }
}

/// Length of the value as text, bytes.
#[inline]
pub fn len(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::Int(int) => num::digits_i64_count(int),
        ValueRef::Bytes(bytes) => bytes.len(),
        ValueRef::Shared(shared) => shared.len(),
        ValueRef::Collection(_) => 0,
    }
}

/// Whether the value's text is `text`.
pub fn eq(value: ValueRef<'_>, text: &[u8]) -> bool {
    bytes(value, &mut itoa::Buffer::new()) == text
}

/// The value as an integer, if it is the text of one.
#[inline]
pub fn int(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Int(int) => Some(int),
        ValueRef::Bytes(bytes) => num::parse_i64(bytes),
        ValueRef::Shared(shared) => num::parse_i64(shared),
        ValueRef::Collection(_) => None,
    }
}

/// The value as a float, if it is the text of one.
pub fn float(value: ValueRef<'_>) -> Option<LongDouble> {
    match value {
        ValueRef::Int(int) => Some(LongDouble::from(int)),
        ValueRef::Bytes(bytes) => LongDouble::parse(bytes),
        ValueRef::Shared(shared) => LongDouble::parse(shared),
        ValueRef::Collection(_) => None,
    }
}

/// What GETRANGE's inclusive bounds name in a value of `len` bytes; negative ones count from the
/// end. The range is always inside the value, and empty when the bounds name nothing.
pub fn range(len: usize, start: i64, end: i64) -> Range<usize> {
    // Both are clamped to the first byte below, which would make a reversed pair look like it.
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_end = |bound: i64| match bound {
        0.. => usize::try_from(bound).unwrap_or(usize::MAX),
        _ => len.saturating_sub(usize::try_from(bound.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let (start, end) = (from_end(start), from_end(end).min(len.saturating_sub(1)));
    if len == 0 || start > end {
        return 0..0;
    }
    start..end + 1
}

/// Writes `patch` at `offset` where the value lies, zeros before it if the value is shorter; false
/// when the value has to move, see [`spliced`].
pub fn write_in_place(
    entry: &mut EntryMut<'_>,
    offset: usize,
    patch: &[u8],
) -> Result<bool, OutOfMemory> {
    let value = entry.view().value();
    let old_len = len(value);
    let end = offset.checked_add(patch.len()).ok_or(OutOfMemory)?;
    // A reply that is still being sent holds the buffer: copying it here and growing it would copy
    // it twice, and cannot fail but by aborting.
    if matches!(value, ValueRef::Shared(shared) if Arc::strong_count(shared) > 1) {
        return Ok(false);
    }
    if end <= old_len {
        let Some(at) = entry
            .value_bytes_mut()
            .and_then(|bytes| bytes.get_mut(offset..end))
        else {
            return Ok(false);
        };
        at.copy_from_slice(patch);
    } else {
        let Some(buffer) = entry.shared_mut() else {
            return Ok(false);
        };
        grow(buffer, end)?;
        write_over_end(buffer, offset, patch);
    }
    entry.set_enc(Encoding::Raw as u8);
    Ok(true)
}

/// A new value: `value` with `patch` written at `offset`, zeros before it if the value is shorter.
/// Short ones are put together in `scratch`. The encoding of the result is `raw`.
pub fn spliced<'s>(
    value: ValueRef<'_>,
    offset: usize,
    patch: &[u8],
    scratch: &'s mut Scratch,
) -> Result<NewValue<'s>, OutOfMemory> {
    let mut digits = itoa::Buffer::new();
    let old = bytes(value, &mut digits);
    let end = offset.checked_add(patch.len()).ok_or(OutOfMemory)?;
    let new_len = old.len().max(end);
    let head = &old[..old.len().min(offset)];
    let tail = old.get(end..).unwrap_or_default();
    if new_len < GROWING_BYTES_MIN {
        scratch.clear();
        scratch.extend_from_slice(head);
        scratch.resize(offset, 0);
        scratch.extend_from_slice(patch);
        scratch.extend_from_slice(tail);
        return Ok(NewValue::Bytes(scratch));
    }
    let mut buffer = Vec::new();
    // A value that was there and grows will probably grow on.
    if !old.is_empty() && new_len > old.len() {
        grow(&mut buffer, new_len)?;
    } else {
        buffer.try_reserve_exact(new_len)?;
    }
    buffer.extend_from_slice(head);
    buffer.resize(offset, 0);
    buffer.extend_from_slice(patch);
    buffer.extend_from_slice(tail);
    Ok(NewValue::Shared(Arc::new(buffer)))
}

/// The value that a new key begins with to become `len` zeros: as many, unless that takes memory of
/// its own, which [`make_room`] gets.
#[inline]
pub fn zeros(len: usize) -> &'static [u8] {
    ZEROS.get(..len).unwrap_or_default()
}

/// Makes the value bytes that nobody else holds, at least `len` of them, with zeros where there were
/// none: from then on `slot.bytes_mut()` can be written to.
#[inline]
pub fn make_room(slot: &mut EntrySlot<'_>, len: usize) -> Result<(), OutOfMemory> {
    let entry = slot.view();
    let is_there = match entry.value() {
        ValueRef::Bytes(bytes) => bytes.len() >= len,
        ValueRef::Shared(shared) => shared.len() >= len && Arc::strong_count(shared) == 1,
        ValueRef::Int(_) | ValueRef::Collection(_) => false,
    };
    if !is_there {
        extend(slot, len)?;
    }
    if slot.view().enc() != Encoding::Raw as u8 {
        slot.set_enc(Encoding::Raw as u8);
    }
    Ok(())
}

/// What [`make_room`] does to a value that is too short, an integer, or held by others.
#[inline(never)]
fn extend(slot: &mut EntrySlot<'_>, len: usize) -> Result<(), OutOfMemory> {
    let value = slot.view().value();
    let old_len = self::len(value);
    let new_len = old_len.max(len);
    if new_len < GROWING_BYTES_MIN {
        match value {
            ValueRef::Bytes(_) => slot.splice(old_len, 0, &ZEROS[old_len..new_len]),
            _ => {
                let mut text = Scratch::from_slice(bytes(value, &mut itoa::Buffer::new()));
                text.resize(new_len, 0);
                slot.set_value(Encoding::Raw as u8, NewValue::Bytes(&text));
            }
        }
        return Ok(());
    }
    // What becomes much longer is not copied and filled up, but put into new zeros.
    let stays = matches!(value, ValueRef::Shared(shared) if Arc::strong_count(shared) == 1);
    if stays
        && new_len / 2 < old_len
        && let Some(buffer) = slot.view_mut().shared_mut()
    {
        grow(buffer, new_len)?;
        buffer.resize(new_len, 0);
        return Ok(());
    }
    let value = slot.view().value();
    let mut digits = itoa::Buffer::new();
    let old = bytes(value, &mut digits);
    let buffer = extended(old, new_len)?;
    slot.set_value(Encoding::Raw as u8, NewValue::Shared(Arc::new(buffer)));
    Ok(())
}

/// A copy of `old`, and zeros behind it up to `len` bytes.
fn extended(old: &[u8], len: usize) -> Result<Vec<u8>, OutOfMemory> {
    let grows = !old.is_empty() && len > old.len();
    let spare = if grows { spare(len) } else { 0 };
    let capacity = len.saturating_add(spare);
    if old.len() > len / 2 {
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(capacity)?;
        buffer.extend_from_slice(old);
        buffer.resize(len, 0);
        return Ok(buffer);
    }
    let mut buffer = bits::zeros(len, capacity).ok_or(OutOfMemory)?;
    buffer[..old.len()].copy_from_slice(old);
    Ok(buffer)
}

/// Writes `patch` at `offset` where it ends past the buffer's end; the room is there.
fn write_over_end(buffer: &mut Vec<u8>, offset: usize, patch: &[u8]) {
    if offset > buffer.len() {
        buffer.resize(offset, 0);
    }
    let (inside, after) = patch.split_at((buffer.len() - offset).min(patch.len()));
    if let Some(at) = buffer.get_mut(offset..).filter(|at| !at.is_empty()) {
        at.copy_from_slice(inside);
    }
    buffer.extend_from_slice(after);
}

/// Makes room for `len` bytes, and more to come.
fn grow(buffer: &mut Vec<u8>, len: usize) -> Result<(), OutOfMemory> {
    if len <= buffer.capacity() {
        return Ok(());
    }
    let additional = len.saturating_add(spare(len)).saturating_sub(buffer.len());
    Ok(buffer.try_reserve_exact(additional)?)
}

/// How much room a buffer gets beyond `len` bytes when it grows.
fn spare(len: usize) -> usize {
    len.min(DOUBLING_BYTES_MAX).max(len / 8)
}
