//! A line: eight slots in one cache line, and the words the slots hold.
//!
//! ```text
//! word  occupied:1 | tag:15 | pointer bits 47..3 | stamp:1 | window top:1 | has expiry:1
//! ```
//!
//! An empty slot is 0. A *window* is 16 consecutive bits of the item's hash; the tag is its low 15
//! bits and its top bit lies in the pointer's free low bits. Which hash bits the window shows
//! depends on the segment's depth (see [`super::segment`]); it always holds the 15 bits that decide
//! the home line, so that lines are rebuilt without touching the items. The *stamp* tells items
//! that a snapshot has seen from others (see [`super::save`]).

use std::ptr::NonNull;

/// Slots of a line.
pub(super) const LINE_SLOTS: usize = 8;
/// Bits of a window.
pub(super) const WINDOW_BITS: u32 = 16;

const TAG_BITS: u32 = 15;
const TAG_MASK: u32 = (1 << TAG_BITS) - 1;
const TAG_SHIFT: u32 = 48;
const OCCUPIED: u64 = 1 << 63;
const POINTER_MASK: u64 = 0x0000_FFFF_FFFF_FFF8;
const WINDOW_TOP_SHIFT: u32 = 1;
const WINDOW_TOP_MASK: u64 = 0b010;
const EXPIRES: u64 = 0b001;
/// A word's stamp.
pub(super) const STAMP: u64 = 0b100;

/// Eight slots.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u64; LINE_SLOTS]);

/// The word of an item. `raw` is aligned to 8 and below 2^48, as [`super::Item`] demands; `stamp` is
/// [`STAMP`] or 0.
#[inline]
pub(super) fn pack(raw: NonNull<u8>, window: u32, expires: bool, stamp: u64) -> u64 {
    let address = raw.as_ptr().expose_provenance() as u64;
    debug_assert_eq!(address & !POINTER_MASK, 0);
    OCCUPIED | window_bits(window) | address | stamp | u64::from(expires)
}

#[inline]
fn window_bits(window: u32) -> u64 {
    u64::from(window & TAG_MASK) << TAG_SHIFT | u64::from(window >> TAG_BITS) << WINDOW_TOP_SHIFT
}

/// The pointer in an occupied word.
#[inline]
pub(super) fn pointer(word: u64) -> NonNull<u8> {
    debug_assert_ne!(word & OCCUPIED, 0);
    let address = (word & POINTER_MASK) as usize;
    // SAFETY: an occupied word was made by `pack` from a NonNull.
    unsafe { NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(address)) }
}

/// The window in a word.
#[inline]
pub(super) fn window(word: u64) -> u32 {
    (word >> TAG_SHIFT) as u32 & TAG_MASK
        | ((word & WINDOW_TOP_MASK) >> WINDOW_TOP_SHIFT << TAG_BITS) as u32
}

/// The word with another window.
#[inline]
pub(super) fn with_window(word: u64, window: u32) -> u64 {
    word & (OCCUPIED | POINTER_MASK | STAMP | EXPIRES) | window_bits(window)
}

/// The word with another item of the same hash and the same stamp.
#[inline]
pub(super) fn with_item(word: u64, raw: NonNull<u8>, expires: bool) -> u64 {
    pack(raw, window(word), expires, word & STAMP)
}

/// The word with this stamp, [`STAMP`] or 0.
#[inline]
pub(super) fn with_stamp(word: u64, stamp: u64) -> u64 {
    word & !STAMP | stamp
}

/// Whether a slot's word holds an item.
#[inline]
pub(super) fn is_occupied(word: u64) -> bool {
    word != 0
}

/// Whether the item has an expiry.
#[inline]
pub(super) fn expires(word: u64) -> bool {
    word & EXPIRES != 0
}

/// The set bits of a mask, lowest first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits(pub(super) u32);

impl Iterator for Bits {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        // At most 7; the mask tells the compiler so.
        let bit = self.0.trailing_zeros() as usize % LINE_SLOTS;
        self.0 &= self.0.wrapping_sub(1);
        Some(bit)
    }
}

impl Line {
    pub(super) const EMPTY: Self = Self([0; LINE_SLOTS]);

    /// The slots whose tag is that of `window`, one bit each.
    #[inline]
    pub(super) fn matches(&self, window: u32) -> Bits {
        let needle = (OCCUPIED >> TAG_SHIFT) as u16 | (window & TAG_MASK) as u16;
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        return sse2::matches(self, needle);
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        return scalar::matches(self, needle);
    }

    /// The occupied slots, one bit each.
    #[inline]
    pub(super) fn occupied(&self) -> Bits {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        return sse2::occupied(self);
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        return scalar::occupied(self);
    }

    /// The first empty slot.
    #[inline]
    pub(super) fn first_empty(&self) -> Option<usize> {
        let empty = !self.occupied().0 & 0xFF;
        if empty == 0 {
            None
        } else {
            Some(empty.trailing_zeros() as usize)
        }
    }
}

#[cfg(any(test, not(all(target_arch = "x86_64", not(miri)))))]
mod scalar {
    use super::{Bits, Line, TAG_SHIFT};

    pub(super) fn matches(line: &Line, needle: u16) -> Bits {
        let slots = line.0.iter().enumerate();
        Bits(slots.fold(0, |bits, (slot, &word)| {
            bits | u32::from((word >> TAG_SHIFT) as u16 == needle) << slot
        }))
    }

    pub(super) fn occupied(line: &Line) -> Bits {
        let slots = line.0.iter().enumerate();
        Bits(slots.fold(0, |bits, (slot, &word)| {
            bits | ((word >> 63) as u32) << slot
        }))
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi16, _mm_load_si128,
        _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32, _mm_set1_epi16, _mm_setzero_si128,
        _mm_shuffle_ps, _mm_srai_epi32,
    };

    use super::{Bits, Line};

    /// The top 16 bits of the eight words.
    #[inline]
    fn tops(line: &Line) -> __m128i {
        let at = std::ptr::from_ref(line).cast::<__m128i>();
        // SAFETY: x86_64 has SSE2, and a line is four aligned vectors.
        unsafe {
            // The high halves of two words each, then of four, in the words' order. Spelled out:
            // array::map isn't inlined at every optimisation level.
            let (a, b) = (_mm_load_si128(at), _mm_load_si128(at.add(1)));
            let (c, d) = (_mm_load_si128(at.add(2)), _mm_load_si128(at.add(3)));
            let (a, b) = (_mm_castsi128_ps(a), _mm_castsi128_ps(b));
            let (c, d) = (_mm_castsi128_ps(c), _mm_castsi128_ps(d));
            let low = _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(a, b));
            let high = _mm_castps_si128(_mm_shuffle_ps::<0b11_01_11_01>(c, d));
            // The arithmetic shift leaves 16 signed bits, which pack without saturation.
            _mm_packs_epi32(_mm_srai_epi32::<16>(low), _mm_srai_epi32::<16>(high))
        }
    }

    #[inline]
    pub(super) fn matches(line: &Line, needle: u16) -> Bits {
        // SAFETY: x86_64 has SSE2.
        unsafe {
            let equal = _mm_cmpeq_epi16(tops(line), _mm_set1_epi16(needle as i16));
            Bits(_mm_movemask_epi8(_mm_packs_epi16(equal, _mm_setzero_si128())) as u32)
        }
    }

    #[inline]
    pub(super) fn occupied(line: &Line) -> Bits {
        // SAFETY: x86_64 has SSE2. Packing keeps the sign, which is the occupied bit.
        unsafe { Bits(_mm_movemask_epi8(_mm_packs_epi16(tops(line), _mm_setzero_si128())) as u32) }
    }
}

/// Asks for the cache line at `at`, wherever that points.
#[inline]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch never faults and changes nothing.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}

#[cfg(all(test, target_arch = "x86_64", not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn simd_equals_scalar() {
        let mut state = 1u64;
        let mut random = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            state >> 20
        };
        for _ in 0..10_000 {
            let line = Line(std::array::from_fn(|_| match random() % 3 {
                0 => 0,
                // Few tags, so that they repeat; pointers with all kinds of high bits.
                _ => OCCUPIED | (random() % 4 * 0x2AAA) << TAG_SHIFT | random() & POINTER_MASK,
            }));
            for window in [0, 0x2AAA, 0x5554, 0x7FFE, random() as u32] {
                let needle = 0x8000 | (window & TAG_MASK) as u16;
                assert_eq!(
                    sse2::matches(&line, needle).0,
                    scalar::matches(&line, needle).0
                );
            }
            assert_eq!(sse2::occupied(&line).0, scalar::occupied(&line).0);
        }
    }

    #[test]
    fn words_keep_what_they_are_given() {
        let raw = NonNull::new(std::ptr::without_provenance_mut(0x0000_F123_4567_89A8)).unwrap();
        for shown in [0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x2345] {
            for (has_expiry, stamp) in [(false, 0), (true, 0), (false, STAMP), (true, STAMP)] {
                let word = pack(raw, shown, has_expiry, stamp);
                assert_eq!(word & STAMP, stamp);
                assert_eq!(with_stamp(word, 0) & STAMP, 0);
                assert_eq!(pointer(with_stamp(word, STAMP)), raw);
                assert!(is_occupied(word));
                assert_eq!(pointer(word).as_ptr().addr(), raw.as_ptr().addr());
                assert_eq!(window(word), shown);
                assert_eq!(expires(word), has_expiry);
                assert_eq!(window(with_window(word, 0xD555)), 0xD555);
                assert_eq!(with_window(with_window(word, 0xD555), shown), word);
                assert_eq!(
                    with_item(word, raw, !has_expiry),
                    pack(raw, shown, !has_expiry, stamp)
                );
            }
        }
    }
}
