//! Due codes: when an item expires, in 16 bits relative to its segment's base.
//!
//! A code is a tiny floating-point number: a distance below 4096 ms is exact, a longer one is
//! rounded down to 12 significant bits, up to 139 years. Codes order like the distances, so finding
//! what is due is one comparison per code. A rounded code comes due up to 1/2048 of its distance
//! early; the item is then looked at and coded anew relative to the present, exactly at last: an
//! item is touched two or three times in its life, however long that is.
//!
//! Code [`DUE_AT_BASE`] makes no promise (the item may expire before the base); a higher code c
//! promises that the item does not expire before base + decode(c). Codes are signed because SSE2
//! compares signed numbers only.

/// The code of a slot that never expires: above all others.
pub(super) const NEVER: i16 = i16::MAX;
/// The lowest code.
pub(super) const DUE_AT_BASE: i16 = i16::MIN;
/// Codes that are compared together: those of a line.
pub(super) const GROUP: usize = 8;

const MANTISSA_BITS: u32 = 11;
const EXPONENT_MAX: u64 = 30;
/// `NEVER` without its sign.
const NEVER_BITS: u64 = 0xFFFF;

/// The code of the longest encodable distance that is at most `distance_ms`.
#[inline]
pub(super) fn encode(distance_ms: u64) -> i16 {
    let bits = u64::BITS - distance_ms.leading_zeros();
    let exponent = u64::from(bits.saturating_sub(MANTISSA_BITS + 1));
    if exponent > EXPONENT_MAX {
        return NEVER - 1;
    }
    let code = (exponent << MANTISSA_BITS) + (distance_ms >> exponent);
    code.min(NEVER_BITS - 1) as u16 as i16 ^ DUE_AT_BASE
}

/// The distance in milliseconds that a code below `NEVER` stands for.
#[inline]
pub(super) fn decode(code: i16) -> u64 {
    let code = u64::from((code ^ DUE_AT_BASE) as u16);
    let exponent = (code >> MANTISSA_BITS).saturating_sub(1);
    (code - (exponent << MANTISSA_BITS)) << exponent
}

/// Which codes of a group are at most `limit`, one bit each.
#[inline]
pub(super) fn at_most(codes: &[i16; GROUP], limit: i16) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    return sse2::at_most(codes, limit);
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    return scalar::at_most(codes, limit);
}

/// The lowest code above `limit`, `NEVER` if there is none.
#[inline]
pub(super) fn least_above(groups: &[[i16; GROUP]], limit: i16) -> i16 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    return sse2::least_above(groups, limit);
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    return scalar::least_above(groups, limit);
}

#[cfg(any(test, not(all(target_arch = "x86_64", not(miri)))))]
mod scalar {
    use super::{GROUP, NEVER};

    pub(super) fn at_most(codes: &[i16; GROUP], limit: i16) -> u32 {
        let bits = codes.iter().enumerate();
        bits.fold(0, |bits, (slot, &code)| {
            bits | u32::from(code <= limit) << slot
        })
    }

    pub(super) fn least_above(groups: &[[i16; GROUP]], limit: i16) -> i16 {
        let above = groups.iter().flatten().filter(|&&code| code > limit);
        above.copied().min().unwrap_or(NEVER)
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_andnot_si128, _mm_cmpgt_epi16, _mm_loadu_si128, _mm_min_epi16,
        _mm_movemask_epi8, _mm_or_si128, _mm_packs_epi16, _mm_set1_epi16, _mm_setzero_si128,
        _mm_storeu_si128,
    };

    use super::{GROUP, NEVER};

    #[inline]
    fn load(codes: &[i16; GROUP]) -> __m128i {
        // SAFETY: x86_64 has SSE2, and a group is 16 bytes.
        unsafe { _mm_loadu_si128(codes.as_ptr().cast()) }
    }

    #[inline]
    pub(super) fn at_most(codes: &[i16; GROUP], limit: i16) -> u32 {
        // SAFETY: x86_64 has SSE2.
        unsafe {
            let above = _mm_cmpgt_epi16(load(codes), _mm_set1_epi16(limit));
            !_mm_movemask_epi8(_mm_packs_epi16(above, _mm_setzero_si128())) as u32 & 0xFF
        }
    }

    #[inline]
    pub(super) fn least_above(groups: &[[i16; GROUP]], limit: i16) -> i16 {
        let mut lanes = [NEVER; GROUP];
        // SAFETY: x86_64 has SSE2, and the lanes are 16 bytes.
        unsafe {
            let never = _mm_set1_epi16(NEVER);
            let limit = _mm_set1_epi16(limit);
            let mut least = never;
            for codes in groups {
                let codes = load(codes);
                let above = _mm_cmpgt_epi16(codes, limit);
                let kept =
                    _mm_or_si128(_mm_and_si128(above, codes), _mm_andnot_si128(above, never));
                least = _mm_min_epi16(least, kept);
            }
            _mm_storeu_si128(lanes.as_mut_ptr().cast(), least);
        }
        lanes.into_iter().fold(NEVER, i16::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_down_and_keep_order() {
        for code in DUE_AT_BASE..NEVER {
            assert_eq!(encode(decode(code)), code);
            if code > DUE_AT_BASE {
                assert!(decode(code) > decode(code - 1));
                assert_eq!(encode(decode(code) - 1), code - 1);
            }
        }
        for distance in (0..4096).chain([4097, 1 << 30, 3_600_000, 86_400_000 * 365]) {
            let decoded = decode(encode(distance));
            assert!(decoded <= distance && distance - decoded <= distance / 2048);
            assert!(distance >= 4096 || decoded == distance);
        }
        assert_eq!(encode(0), DUE_AT_BASE);
        assert_eq!(encode(u64::MAX), NEVER - 1);
        assert_eq!(encode(decode(NEVER - 1) + 1), NEVER - 1);
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    #[test]
    fn simd_equals_scalar() {
        let codes = [DUE_AT_BASE, DUE_AT_BASE + 1, -1, 0, 1, 77, NEVER - 1, NEVER];
        for start in 0..64 {
            let at = |i: usize| codes[(start * 7 + i * (1 + start % 5)) % 8];
            let groups: [[i16; GROUP]; 3] =
                std::array::from_fn(|group| std::array::from_fn(|slot| at(group * 8 + slot)));
            for limit in codes {
                assert_eq!(
                    sse2::at_most(&groups[0], limit),
                    scalar::at_most(&groups[0], limit)
                );
                for len in 0..=3 {
                    let groups = &groups[..len];
                    assert_eq!(
                        sse2::least_above(groups, limit),
                        scalar::least_above(groups, limit)
                    );
                }
            }
        }
    }
}
