//! Due codes: when an item expires, in 16 bits relative to its segment's base.
//!
//! A code is a tiny floating-point number: a distance below 4096 ms is exact, a longer one is
//! rounded down to 12 significant bits, up to 139 years. Codes order like the distances, so finding
//! what is due is one comparison per code. A rounded code comes due up to 1/2048 of its distance
//! early; the item is then looked at and coded anew relative to the present, exactly at last: an
//! item is touched two or three times in its life, however long that is.
//!
//! Code 0 makes no promise (the item may expire before the base); code c > 0 promises that the item
//! does not expire before base + decode(c).

/// The code of a slot that never expires: above all others.
pub(super) const NEVER: u16 = u16::MAX;
/// Distances below this are exact, in milliseconds.
pub(super) const EXACT_BELOW_MS: u64 = 1 << (MANTISSA_BITS + 1);

const MANTISSA_BITS: u32 = 11;
const EXPONENT_MAX: u64 = 30;

/// The code of the longest encodable distance that is at most `distance_ms`.
#[inline]
pub(super) fn encode(distance_ms: u64) -> u16 {
    let bits = u64::BITS - distance_ms.leading_zeros();
    let exponent = u64::from(bits.saturating_sub(MANTISSA_BITS + 1));
    if exponent > EXPONENT_MAX {
        return NEVER - 1;
    }
    let code = (exponent << MANTISSA_BITS) + (distance_ms >> exponent);
    (code as u16).min(NEVER - 1)
}

/// The distance in milliseconds that a code below `NEVER` stands for.
#[inline]
pub(super) fn decode(code: u16) -> u64 {
    let code = u64::from(code);
    let exponent = (code >> MANTISSA_BITS).saturating_sub(1);
    (code - (exponent << MANTISSA_BITS)) << exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_down_and_keep_order() {
        for code in 0..NEVER {
            assert_eq!(encode(decode(code)), code);
            if code > 0 {
                assert!(decode(code) > decode(code - 1));
                assert_eq!(encode(decode(code) - 1), code - 1);
            }
        }
        for distance in (0..EXACT_BELOW_MS).chain([1 << 30, 3_600_000, 86_400_000 * 365]) {
            let decoded = decode(encode(distance));
            assert!(decoded <= distance && distance - decoded <= distance / 2048);
            assert!(distance >= EXACT_BELOW_MS || decoded == distance);
        }
        assert_eq!(encode(u64::MAX), NEVER - 1);
        assert_eq!(encode(decode(NEVER - 1) + 1), NEVER - 1);
    }
}
