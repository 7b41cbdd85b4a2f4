//! Fields of a bitmap: signed and unsigned integers of any width, and what becomes of a number that
//! does not fit (BITFIELD's OVERFLOW).
//!
//! Invariant: a field is 1 to 64 bits wide, 63 if it is unsigned, so its value fits an `i64`. Sums are
//! made in `i128`, where nothing overflows.

use crate::ds::bits;

/// Which integers a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    signed: bool,
    width: u8,
}

/// What becomes of a number that does not fit its field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    /// The bits that fit are kept.
    #[default]
    Wrap,
    /// It becomes the smallest or largest number that fits.
    Sat,
    /// Nothing is written.
    Fail,
}

impl Field {
    /// A field of this width, bits; `None` if there is no such field.
    #[inline]
    pub fn new(signed: bool, width: i64) -> Option<Field> {
        let width_max = if signed { 64 } else { 63 };
        let width = u8::try_from(width).ok()?;
        (1..=width_max)
            .contains(&width)
            .then_some(Field { signed, width })
    }

    /// How wide it is, bits.
    #[inline]
    pub fn width(self) -> u32 {
        u32::from(self.width)
    }

    /// Its value in a bitmap; zeros stand behind the end.
    #[inline]
    pub fn get(self, bitmap: &[u8], offset: u64) -> i64 {
        self.cut(bits::get(bitmap, offset, self.width()))
    }

    /// Writes it. The bitmap is long enough.
    #[inline]
    pub fn set(self, bitmap: &mut [u8], offset: u64, value: i64) {
        bits::set(bitmap, offset, self.width(), value as u64);
    }

    /// The field's value after adding to it; `None` if that does not fit and is to fail.
    #[inline]
    pub fn sum(self, value: i64, increment: i64, overflow: Overflow) -> Option<i64> {
        self.fit(i128::from(value) + i128::from(increment), overflow)
    }

    /// What a number becomes in the field; `None` if it does not fit and is to fail. A negative one is
    /// too large for an unsigned field.
    #[inline]
    pub fn fitted(self, value: i64, overflow: Overflow) -> Option<i64> {
        match self.signed {
            true => self.fit(value.into(), overflow),
            false => self.fit((value as u64).into(), overflow),
        }
    }

    #[inline]
    fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = match self.signed {
            true => (-1 << (self.width - 1), (1 << (self.width - 1)) - 1),
            false => (0, (1 << self.width) - 1),
        };
        match overflow {
            _ if (min..=max).contains(&value) => Some(value as i64),
            Overflow::Wrap => Some(self.cut(value as u64)),
            Overflow::Sat => Some(value.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }

    /// The number that the field's bits of `bits` are.
    #[inline]
    fn cut(self, bits: u64) -> i64 {
        let unused = 64 - self.width();
        match self.signed {
            true => (bits << unused) as i64 >> unused,
            false => (bits << unused >> unused) as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: &str) -> Field {
        Field::new(text.starts_with('i'), text[1..].parse().unwrap()).unwrap()
    }

    #[test]
    fn widths_are_limited() {
        for (signed, width, fits) in [
            (true, 64, true),
            (true, 65, false),
            (false, 63, true),
            (false, 64, false),
            (true, 1, true),
            (false, 0, false),
            (true, -1, false),
            (true, 257, false),
            (false, i64::MIN, false),
        ] {
            assert_eq!(
                Field::new(signed, width).is_some(),
                fits,
                "{signed} {width}"
            );
        }
    }

    /// As Valkey 9.1.2.
    #[test]
    fn sums_overflow_as_asked() {
        use Overflow::{Fail, Sat, Wrap};
        const MAX: i64 = i64::MAX;
        for (text, value, increment, wrap, sat, fits) in [
            ("u8", 1, -500, 13, 0, false),
            ("u8", 255, 1, 0, 255, false),
            ("u8", 254, 1, 255, 255, true),
            ("i8", 127, 1, -128, 127, false),
            ("i8", -128, -1, 127, -128, false),
            ("i1", 0, 1, -1, 0, false),
            ("u1", 0, 1, 1, 1, true),
            ("i64", MAX, 1, i64::MIN, MAX, false),
            ("i64", i64::MIN, -1, MAX, i64::MIN, false),
            ("i64", MAX, i64::MIN, -1, -1, true),
            ("u63", MAX, MAX, MAX - 1, MAX, false),
            ("u63", 5, i64::MIN, 5, 0, false),
        ] {
            let field = field(text);
            let results = [Wrap, Sat, Fail].map(|how| field.sum(value, increment, how));
            let failed = fits.then_some(wrap);
            let wanted = [Some(wrap), Some(sat), failed];
            assert_eq!(results, wanted, "{text} {value} {increment}");
        }
    }

    #[test]
    fn negative_numbers_are_large_for_unsigned_fields() {
        assert_eq!(field("u8").fitted(-5, Overflow::Sat), Some(255));
        assert_eq!(field("u8").fitted(-5, Overflow::Wrap), Some(251));
        assert_eq!(field("u8").fitted(-5, Overflow::Fail), None);
        assert_eq!(field("i8").fitted(-5, Overflow::Fail), Some(-5));
        assert_eq!(field("i8").fitted(200, Overflow::Sat), Some(127));
        assert_eq!(
            field("i64").fitted(i64::MIN, Overflow::Fail),
            Some(i64::MIN)
        );
    }

    #[test]
    fn fields_lie_anywhere() {
        let mut bitmap = [0xFF; 12];
        field("i64").set(&mut bitmap, 5, i64::MIN);
        assert_eq!(field("i64").get(&bitmap, 5), i64::MIN);
        assert_eq!(field("i5").get(&bitmap, 0), -1);
        assert_eq!(field("u5").get(&bitmap, 69), 31);
        assert_eq!(field("u63").get(&bitmap, 90), 0b111111 << 57);
        assert_eq!(field("i8").get(&bitmap, 96), 0);
    }
}
