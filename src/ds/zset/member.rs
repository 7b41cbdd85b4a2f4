//! One member of a sorted set with its score, in one small heap allocation.
//!
//! ```text
//! offset 0  score's form:3 | length of the member, or the width of the field that holds it:5
//!        1  score, 2, 4, 7 or 8 bytes, little endian
//!           length of the member, 1, 2, 4 or 8 bytes, only of members longer than 27 bytes
//!           member
//! ```
//!
//! Nearly all scores take 7 bytes or fewer, so that a member of 16 bytes takes 24: integers below
//! 2^55 as such, and other doubles between 2^-8 and 2^24 with an exponent of 5 bits, 2 of them in
//! the form. The rest (huge, tiny, infinite, the negative zero) are 8 bytes as they are.
//!
//! Invariants: a block's size is [`size_class`] of its content, so that it can be freed knowing
//! only that; at least its first 16 bytes are initialised, so that a score is read as one word; a
//! score is never NaN.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::ds::entry::size_class;
use crate::ds::hash::KeyHash;
use crate::ds::table::Item;

const ALIGN: usize = 8;
const LENGTH_BITS: u32 = 5;
const LENGTH_MASK: u8 = (1 << LENGTH_BITS) - 1;
/// Members up to this length have no length field; greater numbers tell the field's width.
const SHORT_MAX: usize = 27;

const RAW: u8 = 0;
const INT_2: u8 = 1;
const INT_4: u8 = 2;
const INT_7: u8 = 3;
/// This form and the three after it: 57 bits of a double's magnitude above `PACKED_BASE`.
const PACKED: u8 = 4;
/// Bytes of the score in each form.
const SCORE_BYTES: [usize; 8] = [8, 2, 4, 7, 7, 7, 7, 7];
/// The bits of 2^-8, the least double that can be packed.
const PACKED_BASE: u64 = (1023 - 8) << 52;
/// Bits of a packed magnitude that are in the score's bytes; the sign is the bit above.
const PACKED_BITS: u32 = 55;
const PACKED_MASK: u64 = (1 << PACKED_BITS) - 1;
const SIGN: u64 = 1 << 63;

/// A member with its score: one pointer wide. Dropping it frees the block.
#[repr(transparent)]
pub struct ScoredMember(NonNull<u8>);

/// A read view of a member.
#[derive(Clone, Copy)]
pub struct MemberRef<'a> {
    raw: NonNull<u8>,
    block: PhantomData<&'a ScoredMember>,
}

/// A write view of a member: it changes the score.
pub struct MemberMut<'a> {
    raw: NonNull<u8>,
    block: PhantomData<&'a mut ScoredMember>,
}

// SAFETY: a member owns its block, in which nothing is shared.
unsafe impl Send for ScoredMember {}
// SAFETY: a shared member allows only reads.
unsafe impl Sync for ScoredMember {}

/// A number that orders as the score does: equal exactly for equal scores, the two zeros included.
#[inline]
pub(super) fn order(score: f64) -> u64 {
    // Adding 0 makes the negative zero the positive one.
    let bits = (score + 0.0).to_bits();
    bits ^ (((bits as i64 >> 63) as u64) | SIGN)
}

/// A score as it is stored: its form, and its bytes in a word.
#[inline]
fn encode(score: f64) -> (u8, u64) {
    let int = score as i64;
    if int as f64 == score && (int != 0 || score.is_sign_positive()) {
        if i16::try_from(int).is_ok() {
            return (INT_2, int as u64);
        }
        if i32::try_from(int).is_ok() {
            return (INT_4, int as u64);
        }
        if int << 8 >> 8 == int {
            return (INT_7, int as u64);
        }
    }
    let bits = score.to_bits();
    let above = (bits & !SIGN).wrapping_sub(PACKED_BASE);
    let high = above >> PACKED_BITS;
    if high < 4 {
        let sign = bits >> 63 << PACKED_BITS;
        (PACKED + high as u8, sign | above & PACKED_MASK)
    } else {
        (RAW, bits)
    }
}

/// Where everything is in a block.
#[derive(Clone, Copy)]
struct Shape {
    form: u8,
    len: usize,
}

impl Shape {
    /// The shape of the block at `raw`.
    ///
    /// # Safety
    /// `raw` is a live member's block.
    #[inline]
    unsafe fn read(raw: NonNull<u8>) -> Self {
        // SAFETY: the caller's; a length field of the width that the head says is behind the score.
        unsafe {
            let head = raw.read();
            let form = head >> LENGTH_BITS;
            let at = raw.add(1 + SCORE_BYTES[form as usize]);
            let len = match head & LENGTH_MASK {
                28 => at.read() as usize,
                29 => at.cast::<u16>().read_unaligned() as usize,
                30 => at.cast::<u32>().read_unaligned() as usize,
                31 => at.cast::<u64>().read_unaligned() as usize,
                len => len as usize,
            };
            Self { form, len }
        }
    }

    /// What the head says of the length, and the bytes of its field.
    #[inline]
    fn length(&self) -> (u8, usize) {
        match self.len {
            0..=SHORT_MAX => (self.len as u8, 0),
            28..=0xFF => (28, 1),
            0x100..=0xFFFF => (29, 2),
            0x1_0000..=0xFFFF_FFFF => (30, 4),
            _ => (31, 8),
        }
    }

    #[inline]
    fn member_at(&self) -> usize {
        1 + SCORE_BYTES[self.form as usize] + self.length().1
    }

    #[inline]
    fn block_bytes(&self) -> usize {
        // Nothing that exists in memory is so long that this wraps.
        size_class(self.member_at().wrapping_add(self.len))
    }

    /// Writes everything but the member.
    ///
    /// # Safety
    /// `raw` is a block of at least `self.block_bytes()` bytes.
    #[inline]
    unsafe fn write_fields(&self, raw: NonNull<u8>, score: u64) {
        // SAFETY: the fields are below member_at, hence inside the block.
        unsafe {
            let (length, _) = self.length();
            raw.write(self.form << LENGTH_BITS | length);
            let at = raw.add(1);
            let score_bytes = SCORE_BYTES[self.form as usize];
            ptr::copy_nonoverlapping(score.to_le_bytes().as_ptr(), at.as_ptr(), score_bytes);
            let at = at.add(score_bytes);
            match length {
                28 => at.write(self.len as u8),
                29 => at.cast::<u16>().write_unaligned(self.len as u16),
                30 => at.cast::<u32>().write_unaligned(self.len as u32),
                31 => at.cast::<u64>().write_unaligned(self.len as u64),
                _ => {}
            }
        }
    }
}

fn block_layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGN)
        .unwrap_or_else(|_| handle_alloc_error(Layout::new::<[u8; 1 << 30]>()))
}

impl ScoredMember {
    /// A new member. Aborts when memory is out.
    pub fn new(member: &[u8], score: f64) -> Self {
        debug_assert!(!score.is_nan());
        let (form, score) = encode(score);
        let len = member.len();
        let shape = Shape { form, len };
        let layout = block_layout(shape.block_bytes());
        // SAFETY: size_class gives at least 16 bytes; the writes are inside the block by the
        // shape's definition, and a new block overlaps nothing.
        unsafe {
            let Some(raw) = NonNull::new(alloc(layout)) else {
                handle_alloc_error(layout)
            };
            raw.cast::<[u64; 2]>().write([0; 2]);
            shape.write_fields(raw, score);
            let at = raw.add(shape.member_at()).as_ptr();
            ptr::copy_nonoverlapping(member.as_ptr(), at, len);
            Self(raw)
        }
    }

    /// The read view.
    #[inline]
    pub fn view(&self) -> MemberRef<'_> {
        MemberRef {
            raw: self.0,
            block: PhantomData,
        }
    }

    /// The write view.
    #[inline]
    pub fn view_mut(&mut self) -> MemberMut<'_> {
        MemberMut {
            raw: self.0,
            block: PhantomData,
        }
    }
}

impl Drop for ScoredMember {
    fn drop(&mut self) {
        // SAFETY: the block is owned, and was allocated with the size that its content tells.
        unsafe {
            let bytes = Shape::read(self.0).block_bytes();
            dealloc(self.0.as_ptr(), block_layout(bytes));
        }
    }
}

impl fmt::Debug for ScoredMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl<'a> MemberRef<'a> {
    /// Where the member is.
    #[inline]
    pub(super) fn raw(self) -> NonNull<u8> {
        self.raw
    }

    /// The member.
    #[inline]
    pub fn member(self) -> &'a [u8] {
        // SAFETY: raw is a live block for 'a, with len bytes at member_at.
        unsafe {
            let shape = Shape::read(self.raw);
            std::slice::from_raw_parts(self.raw.add(shape.member_at()).as_ptr(), shape.len)
        }
    }

    /// The score.
    #[inline]
    pub fn score(self) -> f64 {
        // SAFETY: raw is a live block, aligned to 8, whose first 16 bytes are initialised.
        unsafe {
            let word = u64::from_le(self.raw.cast::<u64>().read());
            let low = word >> 8;
            match word as u8 >> LENGTH_BITS {
                RAW => f64::from_bits(u64::from_le(self.raw.add(1).cast::<u64>().read_unaligned())),
                INT_2 => f64::from(low as i16),
                INT_4 => f64::from(low as i32),
                INT_7 => (word as i64 >> 8) as f64,
                form => {
                    let above = low & PACKED_MASK | u64::from(form - PACKED) << PACKED_BITS;
                    f64::from_bits((above + PACKED_BASE) | (low >> PACKED_BITS << 63))
                }
            }
        }
    }

    /// The score as a number that orders as it does.
    #[inline]
    pub(super) fn order(self) -> u64 {
        order(self.score())
    }

    /// The memory of the member in bytes: the usable size of its allocation.
    pub fn alloc_bytes(self) -> usize {
        // SAFETY: raw is a live block.
        unsafe { Shape::read(self.raw) }.block_bytes()
    }
}

impl fmt::Debug for MemberRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.member().escape_ascii(), self.score())
    }
}

impl MemberMut<'_> {
    /// Sets the score if the block keeps its size; else changes nothing and returns false.
    #[inline]
    pub fn try_set_score(&mut self, score: f64) -> bool {
        let (form, score) = encode(score);
        // SAFETY: the view is exclusive. Both shapes fit the block. The member moves before the
        // fields are written, which lie below its new place.
        unsafe {
            let old = Shape::read(self.raw);
            let new = Shape { form, len: old.len };
            if new.block_bytes() != old.block_bytes() {
                return false;
            }
            if new.member_at() != old.member_at() {
                let from = self.raw.add(old.member_at()).as_ptr();
                ptr::copy(from, self.raw.add(new.member_at()).as_ptr(), old.len);
            }
            new.write_fields(self.raw, score);
        }
        true
    }
}

// SAFETY: into_raw gives up the block and from_raw takes it back; blocks are aligned to 8, and
// every other function only reads or changes the one live block it is given.
unsafe impl Item for ScoredMember {
    type Ref<'a> = MemberRef<'a>;
    type Mut<'a> = MemberMut<'a>;

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self(raw)
    }

    #[inline]
    unsafe fn borrow<'a>(raw: NonNull<u8>) -> MemberRef<'a> {
        MemberRef {
            raw,
            block: PhantomData,
        }
    }

    #[inline]
    unsafe fn borrow_mut<'a>(raw: NonNull<u8>) -> MemberMut<'a> {
        MemberMut {
            raw,
            block: PhantomData,
        }
    }

    #[inline]
    unsafe fn key<'a>(raw: NonNull<u8>) -> &'a [u8] {
        MemberRef::<'a> {
            raw,
            block: PhantomData,
        }
        .member()
    }

    #[inline]
    unsafe fn hash(raw: NonNull<u8>, hash: &KeyHash) -> u64 {
        // SAFETY: the caller's.
        hash.hash(unsafe { Self::key(raw) })
    }

    #[inline]
    unsafe fn expire_at_ms(_: NonNull<u8>) -> Option<u64> {
        None
    }

    unsafe fn duplicate(raw: NonNull<u8>) -> Self {
        // SAFETY: the caller's.
        let member = unsafe { Self::borrow(raw) };
        Self::new(member.member(), member.score())
    }

    unsafe fn set_expire_at_ms(raw: NonNull<u8>, expire_at_ms: Option<u64>) -> NonNull<u8> {
        debug_assert!(expire_at_ms.is_none(), "members do not expire");
        raw
    }

    const MOVES: bool = true;

    unsafe fn block_bytes(raw: NonNull<u8>) -> usize {
        // SAFETY: the caller's: a live block.
        unsafe { Shape::read(raw) }.block_bytes()
    }
}
