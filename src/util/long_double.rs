//! The 80-bit float of x86 in software: what INCRBYFLOAT and HINCRBYFLOAT compute with.
//!
//! Redis adds in C's `long double` and prints `%.17f` without trailing zeros, so that 10.5 + 0.1 is
//! 10.6 and not 10.600000000000001. A double cannot give the same digits; this type does, on every
//! machine: a mantissa of 64 bits, every operation rounded once, to nearest, ties to even.
//! Values a person would write take a path in `u128`; only exponents beyond ±27 or texts beyond
//! 19 digits go through `Big`.
//!
//! Invariant: a finite mantissa has its top bit set, unless it is zero or `exponent` is the least.

use std::cmp::Ordering;
use std::ops::Add;

use super::num::{HexFloat, parse_exponent, round_bits, split_sign};

/// Bits of the mantissa.
const PRECISION: u32 = 64;
/// Exponent of the last mantissa bit of the smallest numbers (2^-16445).
const EXPONENT_MIN: i64 = -16445;
/// Exponent of the last mantissa bit of the largest numbers.
const EXPONENT_MAX: i64 = 16320;
/// Redis refuses longer texts.
const TEXT_LEN_MAX: usize = 5 * 1024;
/// Digits after the point, as `%.17f`.
const FRACTION_DIGITS: usize = 17;

/// An extended-precision float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Magnitude {
    /// `mantissa * 2^exponent`.
    Finite {
        mantissa: u64,
        exponent: i64,
    },
    Infinite,
    Nan,
}

impl LongDouble {
    /// Parses a decimal or hexadecimal number or `inf`/`infinity`, each with an optional sign, as
    /// Redis does. `None` for anything else: spaces, `nan`, values out of range at either end, and
    /// texts of 5 KiB and more.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_LEN_MAX {
            return None;
        }
        let (negative, body) = split_sign(text);
        if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
            return Some(LongDouble {
                negative,
                magnitude: Magnitude::Infinite,
            });
        }
        let magnitude = match body {
            [b'0', b'x' | b'X', hex @ ..] => {
                let hex = HexFloat::parse(hex)?;
                in_range(
                    Magnitude::rounded(hex.mantissa, hex.exponent, hex.sticky),
                    hex.mantissa,
                )
            }
            _ => parse_decimal(body),
        }?;
        Some(LongDouble {
            negative,
            magnitude,
        })
    }

    /// Whether this is not a number.
    pub fn is_nan(self) -> bool {
        self.magnitude == Magnitude::Nan
    }

    /// Whether this is one of the infinities.
    pub fn is_infinite(self) -> bool {
        self.magnitude == Magnitude::Infinite
    }

    /// The number as INCRBYFLOAT answers and stores it: 17 digits after the point at most, without
    /// trailing zeros and without an exponent; `inf`, `-inf`, `nan`.
    pub fn to_redis_string(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(40);
        let (mantissa, exponent) = match self.magnitude {
            Magnitude::Nan => return b"nan".to_vec(),
            Magnitude::Infinite if self.negative => return b"-inf".to_vec(),
            Magnitude::Infinite => return b"inf".to_vec(),
            Magnitude::Finite { mantissa, exponent } => (mantissa, exponent),
        };
        if self.negative {
            out.push(b'-');
        }
        if exponent > 64 {
            Big::shifted(mantissa, exponent as usize).write_decimal(&mut out);
        } else if exponent >= 0 {
            write_u128(u128::from(mantissa) << exponent, &mut out);
        } else {
            write_fixed(mantissa, exponent.unsigned_abs(), &mut out);
        }
        if out == b"-0" { b"0".to_vec() } else { out }
    }
}

impl Add for LongDouble {
    type Output = Self;

    /// The sum, rounded once. The sum of opposite infinities is not a number.
    fn add(self, other: Self) -> Self {
        use Magnitude::{Finite, Infinite, Nan};
        match (self.magnitude, other.magnitude) {
            (Nan, _) | (_, Nan) => LongDouble {
                negative: false,
                magnitude: Nan,
            },
            (Infinite, Infinite) if self.negative != other.negative => LongDouble {
                negative: false,
                magnitude: Nan,
            },
            (Infinite, _) => self,
            (_, Infinite) => other,
            (Finite { exponent: a, .. }, Finite { exponent: b, .. }) => {
                if a >= b {
                    add_finite(self, other)
                } else {
                    add_finite(other, self)
                }
            }
        }
    }
}

impl From<i64> for LongDouble {
    fn from(value: i64) -> Self {
        let magnitude = Magnitude::rounded(u128::from(value.unsigned_abs()), 0, false);
        LongDouble {
            negative: value < 0,
            magnitude,
        }
    }
}

impl Magnitude {
    const ZERO: Magnitude = Magnitude::Finite {
        mantissa: 0,
        exponent: EXPONENT_MIN,
    };

    /// `mantissa * 2^exponent` rounded; `sticky` says that non-zero bits below were cut off (then
    /// `mantissa` must have at least 66 bits).
    fn rounded(mantissa: u128, exponent: i64, sticky: bool) -> Self {
        if mantissa == 0 {
            return Magnitude::ZERO;
        }
        let (mantissa, exponent) = round_bits(mantissa, exponent, sticky, PRECISION, EXPONENT_MIN);
        match mantissa {
            0 => Magnitude::ZERO,
            _ if exponent > EXPONENT_MAX => Magnitude::Infinite,
            _ => Magnitude::Finite { mantissa, exponent },
        }
    }
}

/// Refuses what over- or underflowed; `digits` tells a written zero from an underflow.
fn in_range(magnitude: Magnitude, digits: u128) -> Option<Magnitude> {
    match magnitude {
        Magnitude::Finite { mantissa: 0, .. } if digits != 0 => None,
        Magnitude::Finite { .. } => Some(magnitude),
        Magnitude::Infinite | Magnitude::Nan => None,
    }
}

/// `a + b`, where `a` has the larger exponent.
fn add_finite(a: LongDouble, b: LongDouble) -> LongDouble {
    let (
        Magnitude::Finite {
            mantissa: am,
            exponent,
        },
        Magnitude::Finite {
            mantissa: bm,
            exponent: be,
        },
    ) = (a.magnitude, b.magnitude)
    else {
        return a;
    };
    // One bit of room above for the carry, 63 below for what is cut off.
    let wide_a = u128::from(am) << 63;
    let full_b = u128::from(bm) << 63;
    let shift = u32::try_from(exponent - be).unwrap_or(u32::MAX);
    let kept_b = full_b.checked_shr(shift).unwrap_or(0);
    let lost = kept_b.checked_shl(shift).unwrap_or(0) != full_b;
    // A bit that stands for all that was lost: far below the rounding place, so it only breaks
    // ties.
    let wide_b = kept_b | u128::from(lost);
    let (negative, sum) = if a.negative == b.negative {
        (a.negative, wide_a + wide_b)
    } else {
        match wide_a.cmp(&wide_b) {
            Ordering::Greater => (a.negative, wide_a - wide_b),
            Ordering::Less => (b.negative, wide_b - wide_a),
            Ordering::Equal => (false, 0),
        }
    };
    LongDouble {
        negative,
        magnitude: Magnitude::rounded(sum, exponent - 63, false),
    }
}

/// The parts of a decimal text: `digits * 10^exponent`.
struct Decimal<'t> {
    whole: &'t [u8],
    fraction: &'t [u8],
    exponent: i64,
}

impl<'t> Decimal<'t> {
    fn parse(text: &'t [u8]) -> Option<Self> {
        let digits_at = |start: usize| {
            text[start..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count()
                + start
        };
        let whole_end = digits_at(0);
        let has_point = text.get(whole_end) == Some(&b'.');
        let fraction_start = whole_end + usize::from(has_point);
        let end = if has_point {
            digits_at(fraction_start)
        } else {
            fraction_start
        };
        if whole_end + (end - fraction_start) == 0 {
            return None;
        }
        let exponent = match &text[end..] {
            [] => 0,
            [b'e' | b'E', tail @ ..] => parse_exponent(tail)?,
            _ => return None,
        };
        Some(Decimal {
            whole: &text[..whole_end],
            fraction: &text[fraction_start..end],
            exponent,
        })
    }

    /// The digits without the zeros at both ends, and the exponent of the last of them.
    fn significant(&self) -> (impl Iterator<Item = u8> + Clone, usize, i64) {
        let all = self.whole.iter().chain(self.fraction);
        let total = self.whole.len() + self.fraction.len();
        let leading = all.clone().take_while(|&&b| b == b'0').count();
        let trailing = all.clone().rev().take_while(|&&b| b == b'0').count();
        let count = total.saturating_sub(leading + trailing);
        let exponent = self.exponent - self.fraction.len() as i64 + trailing as i64;
        (
            all.skip(leading).take(count).map(|b| b - b'0'),
            count,
            exponent,
        )
    }
}

fn parse_decimal(text: &[u8]) -> Option<Magnitude> {
    let decimal = Decimal::parse(text)?;
    let (digits, count, exponent) = decimal.significant();
    if count == 0 {
        return Some(Magnitude::ZERO);
    }
    // Far outside of the range on either side: refused before big numbers are built.
    let weight = exponent + count as i64;
    if !(-4960..=4940).contains(&weight) {
        return None;
    }
    let magnitude = if count <= 19 && (-27..=27).contains(&exponent) {
        let value = digits.fold(0u64, |value, digit| value * 10 + u64::from(digit));
        scale_small(value, exponent)
    } else {
        scale_big(Big::from_digits(digits), exponent)
    };
    in_range(magnitude, 1)
}

/// `value * 10^exponent` for a non-zero value and exponents within ±27: 5^27 is below 2^63.
fn scale_small(value: u64, exponent: i64) -> Magnitude {
    let power = 5u64.pow(exponent.unsigned_abs() as u32);
    if exponent >= 0 {
        return Magnitude::rounded(u128::from(value) * u128::from(power), exponent, false);
    }
    let shift = value.leading_zeros();
    let dividend = u128::from(value << shift) << 64;
    let divisor = u128::from(power);
    let quotient = dividend / divisor;
    let sticky = quotient * divisor != dividend;
    // The top bit of the dividend is set, so the quotient has at least 65 bits; one more keeps the
    // bit for ties apart from the sticky one.
    let quotient = quotient << 1 | u128::from(sticky);
    Magnitude::rounded(quotient, exponent - 65 - i64::from(shift), false)
}

/// `value * 10^exponent` for any non-zero value.
fn scale_big(mut value: Big, exponent: i64) -> Magnitude {
    let fives = exponent.unsigned_abs() as usize;
    if exponent >= 0 {
        value.multiply_pow5(fives);
        let (top, shift, sticky) = value.top_bits();
        return Magnitude::rounded(top, exponent + shift, sticky);
    }
    let mut divisor = Big(vec![1]);
    divisor.multiply_pow5(fives);
    let (quotient, shift, sticky) = value.divide(divisor);
    Magnitude::rounded(quotient, exponent + shift, sticky)
}

/// Writes `mantissa / 2^scale` with 17 digits after the point, rounded to even, zeros trimmed.
fn write_fixed(mantissa: u64, scale: u64, out: &mut Vec<u8>) {
    const UNIT: u128 = 10u128.pow(FRACTION_DIGITS as u32);
    if scale > 127 {
        // Below 2^-63: too small for any digit.
        out.push(b'0');
        return;
    }
    let value = u128::from(mantissa);
    let (mut whole, rest) = (value >> scale, value & ((1u128 << scale) - 1));
    // rest is below 2^64 and UNIT below 2^57: the product fits.
    let product = rest * UNIT;
    let (mut fraction, low) = (product >> scale, product & ((1u128 << scale) - 1));
    let half = 1u128 << (scale - 1);
    if low > half || (low == half && fraction & 1 == 1) {
        fraction += 1;
    }
    if fraction == UNIT {
        whole += 1;
        fraction = 0;
    }
    write_u128(whole, out);
    if fraction != 0 {
        let text = format!(".{fraction:0width$}", width = FRACTION_DIGITS);
        out.extend_from_slice(text.trim_end_matches('0').as_bytes());
    }
}

fn write_u128(value: u128, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A natural number of any size: limbs of 32 bits, the lowest first, no zero limb at the top.
/// Small limbs keep the divisions native.
struct Big(Vec<u32>);

impl Big {
    fn from_digits(digits: impl Iterator<Item = u8>) -> Self {
        let mut big = Big(Vec::new());
        let (mut chunk, mut scale) = (0u32, 1u32);
        for digit in digits {
            chunk = chunk * 10 + u32::from(digit);
            scale *= 10;
            if scale == 1_000_000_000 {
                big.multiply_add(scale, chunk);
                (chunk, scale) = (0, 1);
            }
        }
        big.multiply_add(scale, chunk);
        big
    }

    /// `value << shift`, for a value that is not 0.
    fn shifted(value: u64, shift: usize) -> Self {
        let mut big = Big(vec![value as u32, (value >> 32) as u32]);
        big.trim();
        big.shift_left(shift);
        big
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    fn multiply_pow5(&mut self, exponent: usize) {
        const STEP: usize = 13; // 5^13 is the largest power in 32 bits
        for _ in 0..exponent / STEP {
            self.multiply_add(5u32.pow(STEP as u32), 0);
        }
        self.multiply_add(5u32.pow((exponent % STEP) as u32), 0);
    }

    fn shift_left(&mut self, shift: usize) {
        let (limbs, bits) = (shift / 32, shift % 32);
        if bits != 0 {
            self.multiply_add(1 << bits, 0);
        }
        self.0.splice(0..0, std::iter::repeat_n(0, limbs));
    }

    fn bit_len(&self) -> usize {
        self.0
            .last()
            .map_or(0, |top| self.0.len() * 32 - top.leading_zeros() as usize)
    }

    /// The top 128 bits (fewer if there are no more), the power of two of the lowest of them, and
    /// whether a bit below is set.
    fn top_bits(&self) -> (u128, i64, bool) {
        // Four limbs hold 97 to 128 bits, more than rounding needs.
        let low = self.0.len().saturating_sub(4);
        let top = self.0[low..]
            .iter()
            .rev()
            .fold(0u128, |top, &limb| top << 32 | u128::from(limb));
        (
            top,
            low as i64 * 32,
            self.0[..low].iter().any(|&limb| limb != 0),
        )
    }

    /// The first 67 bits of `self / divisor`, the power of two of the last of them, and whether
    /// anything remains. Neither number is 0.
    fn divide(mut self, mut divisor: Big) -> (u128, i64, bool) {
        const BITS: i64 = 67;
        let (own, other) = (self.bit_len(), divisor.bit_len());
        let shift = own as i64 - other as i64;
        self.shift_left(other.saturating_sub(own));
        divisor.shift_left(own.saturating_sub(other));
        let mut quotient = 0u128;
        for _ in 0..BITS {
            quotient <<= 1;
            if self.compare(&divisor) != Ordering::Less {
                self.subtract(&divisor);
                quotient |= 1;
            }
            self.multiply_add(2, 0);
        }
        (quotient, shift - (BITS - 1), !self.0.is_empty())
    }

    fn compare(&self, other: &Big) -> Ordering {
        self.0
            .len()
            .cmp(&other.0.len())
            .then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// `self -= other`, which is not larger.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = false;
        for (at, limb) in self.0.iter_mut().enumerate() {
            let (value, under) = limb.overflowing_sub(other.0.get(at).copied().unwrap_or(0));
            let (value, under_again) = value.overflowing_sub(u32::from(borrow));
            *limb = value;
            borrow = under || under_again;
        }
        self.trim();
    }

    fn write_decimal(mut self, out: &mut Vec<u8>) {
        const UNIT: u64 = 1_000_000_000;
        let mut chunks = Vec::with_capacity(self.0.len() * 32 / 29 + 1);
        while !self.0.is_empty() {
            let mut rest = 0u64;
            for limb in self.0.iter_mut().rev() {
                let value = rest << 32 | u64::from(*limb);
                *limb = (value / UNIT) as u32;
                rest = value % UNIT;
            }
            self.trim();
            chunks.push(rest);
        }
        for (at, chunk) in chunks.iter().rev().enumerate() {
            let text = if at == 0 {
                format!("{chunk}")
            } else {
                format!("{chunk:09}")
            };
            out.extend_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// INCRBYFLOAT on Valkey 9.1.2 (x86-64): `SET k a`, `INCRBYFLOAT k b`; `None` is "not a valid
    /// float", `inf` is "would produce NaN or Infinity".
    #[rustfmt::skip]
    const GOLDEN: &[(&str, &str, Option<&str>)] = &[
        ("10.5", "0.1", Some("10.6")),
        ("0.1", "0.2", Some("0.3")),
        ("3", "0", Some("3")),
        ("5.0e3", "200", Some("5200")),
        ("-1", "1", Some("0")),
        ("0", "-0", Some("0")),
        ("1e17", "0.5", Some("100000000000000000.5")),
        ("1e19", "0.1", Some("10000000000000000000")),
        ("9223372036854775807", "1", Some("9223372036854775808")),
        ("-9223372036854775808", "-1", Some("-9223372036854775809")),
        ("18446744073709551615", "1", Some("18446744073709551616")),
        ("1", "1e-17", Some("1.00000000000000001")),
        ("0", "5e-18", Some("0")),
        ("0", "5.0000000000000000001e-18", Some("0")),
        ("0", "4.9e-18", Some("0")),
        ("0.99999999999999999", "0.00000000000000001", Some("1")),
        ("0.1", "-0.1", Some("0")),
        ("-0.1", "0.1", Some("0")),
        ("1e4932", "1e4932", Some("inf")),
        ("1e4933", "0", None),
        ("0", "3.6e-4951", Some("0")),
        ("0", "1e-4952", None),
        ("0x1p3", "0x.8", Some("8.5")),
        ("0x1.8p1", "-3", Some("0")),
        ("0xffffffffffffffff8", "0", Some("295147905179352825856")),
        ("0x1p-5", "0", Some("0.03125")),
        ("0x1p70", "0", Some("1180591620717411303424")),
        ("inf", "1", Some("inf")),
        ("1", "-inf", Some("inf")),
        ("nan", "1", None),
        ("", "1", None),
        ("1", ".", None),
        ("1 ", "1", None),
        ("1e", "1", None),
        ("00.10", "1.", Some("1.1")),
        ("+1", "+1", Some("2")),
        ("++1", "1", None),
        ("3.0000000000000000000000000000000000000001", "0", Some("3")),
        ("123456789012345678901234567890", "0.5", Some("123456789012345678899921813504")),
        ("0.0625", "0.00000000000000001", Some("0.06250000000000001")),
        ("1e40", "-1e40", Some("0")),
        ("1e30", "1", Some("1000000000000000000024696061952")),
        ("6.55670462648394832e-3814", "1527169275425311224", Some("1527169275425311224")),
        ("-7637925360916934440", "0x1738f7d9.ff29d0da9953f48f1p31", Some("-6801245472302417594.5")),
        ("47", "-1491621378785028714", Some("-1491621378785028667")),
        ("14913857325984343640", "0.2979179382324218750", Some("14913857325984343640")),
        ("79.8328453", "+7.3625473022460937500", Some("87.19539260224609375")),
        ("+544749945302120.368871838", "-513916392.541415", Some("544749431385727.82745361328125")),
        ("973", "9722217910797432131", Some("9722217910797433104")),
        ("4261271616937665934", "-483", Some("4261271616937665451")),
        ("-698", "5100342159211893938", Some("5100342159211893240")),
        ("-5694396729506573575", "519", Some("-5694396729506573056")),
        ("435", "-1.89917850", Some("433.10082150000000001")),
        ("131072", "+5.308821265049282458", Some("131077.3088212650492892")),
        ("2050", ".5", Some("2050.5")),
        ("0x9ea98b732c32444.104054ef125a25bda659p7", "9", Some("91462579646685651472")),
        ("+275", "27.3916912078857421875", Some("302.39169120788574219")),
        ("9444732965739290427393", "174", Some("9444732965739290427392")),
        ("-503069.43382163084", "19931.98297378784517827", Some("-483137.45084784299481839")),
        ("+564.0", "693445078303105643e-2", Some("6934450783031620.43017578125")),
        ("188", "+0x73bb93c8eb.2a6p14", Some("8143966431791956")),
        ("1e-5", "-78972094994564.6377517", Some("-78972094994564.6377410888671875")),
        ("+0.473622264239397879e-937", "+1.278831481933593750", Some("1.27883148193359375")),
        ("606676.1600982654", "-199", Some("606477.16009826539999494")),
        ("0x1p-16446", "-4951760157141521099596496896", None),
        ("-6203837100988639992", "18446744073709551615", Some("12242906972720911623")),
        ("+0x5b867037e034.0p55", "-106362.25695065886", Some("3625684721835943011960292900864")),
    ];

    fn sum(a: &str, b: &str) -> Option<String> {
        let total = LongDouble::parse(a.as_bytes())?.add(LongDouble::parse(b.as_bytes())?);
        if total.is_nan() || total.is_infinite() {
            return Some("inf".to_owned());
        }
        Some(String::from_utf8(total.to_redis_string()).unwrap())
    }

    #[test]
    fn sums_are_valkeys() {
        for &(a, b, want) in GOLDEN {
            assert_eq!(sum(a, b).as_deref(), want, "{a:?} + {b:?}");
            assert_eq!(sum(b, a).as_deref(), want, "{b:?} + {a:?}");
        }
    }

    #[test]
    fn ten_steps_of_a_tenth_are_one() {
        let tenth = LongDouble::parse(b"0.1").unwrap();
        let one = (0..10).fold(LongDouble::from(0), |total, _| total.add(tenth));
        assert_eq!(one.to_redis_string(), b"1");
    }

    #[test]
    fn both_roads_of_parsing_agree() {
        // Trailing zeros in the fraction are not digits; a written exponent of 30 takes the other
        // road to the same number.
        for (short, long) in [
            ("1.25", "125e-2"),
            ("0.1", "100000000000000000000000000000e-30"),
            (
                "123456789.123456789",
                "123456789123456789000000000000000000000e-30",
            ),
            ("7", "0.0000000000000000000000000000000000007e37"),
        ] {
            assert_eq!(
                LongDouble::parse(short.as_bytes()),
                LongDouble::parse(long.as_bytes())
            );
        }
        for value in (1..2_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
            for exponent in -27..=27 {
                let digits = value.to_string();
                let big = Big::from_digits(digits.bytes().map(|b| b - b'0'));
                assert_eq!(scale_small(value, exponent), scale_big(big, exponent));
            }
        }
    }

    #[test]
    fn integers_come_in_exactly() {
        for value in [0, 1, -1, i64::MAX, i64::MIN, 1 << 62] {
            let text = LongDouble::from(value).to_redis_string();
            assert_eq!(text, value.to_string().as_bytes());
        }
    }

    #[test]
    fn infinities_and_not_a_number() {
        let infinite = LongDouble::parse(b"Infinity").unwrap();
        let negative = LongDouble::parse(b"-inf").unwrap();
        assert_eq!(infinite.to_redis_string(), b"inf");
        assert_eq!(negative.add(LongDouble::from(5)).to_redis_string(), b"-inf");
        assert!(infinite.add(negative).is_nan());
        assert_eq!(infinite.add(negative).to_redis_string(), b"nan");
        let largest = LongDouble::parse(b"1.18e4932").unwrap();
        assert!(largest.add(largest).is_infinite());
    }

    #[test]
    fn the_largest_and_the_smallest() {
        assert_eq!(
            LongDouble::parse(b"1.18e4932")
                .unwrap()
                .to_redis_string()
                .len(),
            4933
        );
        assert_eq!(LongDouble::parse(b"1.19e4932"), None);
        // Half of the smallest number rounds to zero, which is refused; a little more does not.
        assert!(LongDouble::parse(b"1.9e-4951").is_some());
        assert_eq!(LongDouble::parse(b"1.8e-4951"), None);
        assert!(LongDouble::parse(b"0x1p-16445").is_some());
        assert_eq!(LongDouble::parse(b"0x1p-16446"), None);
        assert_eq!(LongDouble::parse(&[b'1'; TEXT_LEN_MAX]), None);
        assert_eq!(LongDouble::parse(b"1e-99999999999999999999999"), None);
    }
}
