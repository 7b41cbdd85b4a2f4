//! Numbers as C treats them, for what scripts see of them: `strtod`, `%g`, casts.
//!
//! Nothing depends on a locale. Casts of what does not fit are what x86 makes of them.

use std::io::Write;

use super::num::{
    HexFloat, fmt_u64, is_c_space, parse_exponent, pow2, round_bits, shortest_digits, split_sign,
};

/// Most digits that [`fmt_g`] writes.
pub const PRECISION_MAX: usize = 17;

/// A double cast to a `long`: cut off; what does not fit is the least one.
#[inline]
pub fn c_i64(value: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    match (-END..END).contains(&value) {
        true => value as i64,
        false => i64::MIN,
    }
}

/// A double cast to an `unsigned long`.
#[inline]
pub fn c_u64(value: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    match value >= HALF {
        true => c_i64(value - HALF) as u64 ^ 1 << 63,
        false => c_i64(value) as u64,
    }
}

/// Reads a number from the beginning of a text: it, and how many bytes it takes, 0 if there is none.
/// Infinity, NaN and hexadecimal ones are read; what is too large is infinite, what is too small 0.
pub fn strtod(text: &[u8]) -> (f64, usize) {
    let spaces = text.iter().take_while(|&&byte| is_c_space(byte)).count();
    let (is_negative, body) = split_sign(&text[spaces..]);
    let before = text.len() - body.len();
    let (magnitude, len) = match body {
        [b'0', b'x' | b'X', hex @ ..] => match hex_len(hex) {
            0 => (0.0, 1),
            len => (hex_value(&hex[..len]), 2 + len),
        },
        [b'0'..=b'9' | b'.', ..] => match decimal_len(body) {
            0 => return (0.0, 0),
            len => (decimal_value(&body[..len]), len),
        },
        _ => match word(body) {
            Some(found) => found,
            None => return (0.0, 0),
        },
    };
    (
        if is_negative { -magnitude } else { magnitude },
        before + len,
    )
}

/// Infinity or NaN.
fn word(text: &[u8]) -> Option<(f64, usize)> {
    let starts = |word: &[u8]| {
        text.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    if starts(b"infinity") {
        return Some((f64::INFINITY, 8));
    }
    if starts(b"inf") {
        return Some((f64::INFINITY, 3));
    }
    if !starts(b"nan") {
        return None;
    }
    let inside = match &text[3..] {
        [b'(', inside @ ..] => inside,
        _ => return Some((f64::NAN, 3)),
    };
    let len = inside
        .iter()
        .take_while(|&&byte| byte.is_ascii_alphanumeric() || byte == b'_')
        .count();
    match inside.get(len) {
        Some(b')') => Some((f64::NAN, 3 + len + 2)),
        _ => Some((f64::NAN, 3)),
    }
}

/// Length of digits with a point in or around them, 0 if there are none.
fn digits_len(text: &[u8], is_digit: impl Fn(&u8) -> bool) -> usize {
    let whole = text.iter().take_while(|&byte| is_digit(byte)).count();
    let fraction = match text.get(whole) {
        Some(b'.') => text[whole + 1..]
            .iter()
            .take_while(|&byte| is_digit(byte))
            .count(),
        _ => return whole,
    };
    match whole + fraction {
        0 => 0,
        digits => digits + 1,
    }
}

/// Length of an exponent with the letter before it, 0 if there is none.
fn exponent_len(text: &[u8], letter: u8) -> usize {
    match text {
        [first, rest @ ..] if first.eq_ignore_ascii_case(&letter) => {
            let (_, digits) = split_sign(rest);
            let count = digits
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            match count {
                0 => 0,
                count => 1 + rest.len() - digits.len() + count,
            }
        }
        _ => 0,
    }
}

fn decimal_len(text: &[u8]) -> usize {
    match digits_len(text, u8::is_ascii_digit) {
        0 => 0,
        len => len + exponent_len(&text[len..], b'e'),
    }
}

fn hex_len(text: &[u8]) -> usize {
    match digits_len(text, u8::is_ascii_hexdigit) {
        0 => 0,
        len => len + exponent_len(&text[len..], b'p'),
    }
}

fn decimal_value(text: &[u8]) -> f64 {
    let text = std::str::from_utf8(text).unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// The value of what follows `0x`.
fn hex_value(text: &[u8]) -> f64 {
    let Some(HexFloat {
        mantissa,
        exponent,
        sticky,
    }) = HexFloat::parse(text)
    else {
        return 0.0;
    };
    if mantissa == 0 {
        return 0.0;
    }
    let (mantissa, exponent) = round_bits(mantissa, exponent, sticky, 53, -1074);
    match exponent {
        1024.. => f64::INFINITY,
        // In two halves because 2^-1074 is not normal.
        _ => mantissa as f64 * pow2(exponent / 2) * pow2(exponent - exponent / 2),
    }
}

/// Appends a double as C's `%.{precision}g`, with 1 to [`PRECISION_MAX`] digits.
pub fn fmt_g(value: f64, precision: usize, out: &mut Vec<u8>) {
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if value.is_infinite() {
        return out.extend_from_slice(b"inf");
    }
    if value == 0.0 {
        return out.push(b'0');
    }
    let (digits, len, first) = g_digits(value.abs(), precision.clamp(1, PRECISION_MAX));
    layout_g(&digits[..len], first, precision as i32, out);
}

/// The digits of a finite number above 0, at most so many and without zeros behind, how many, and the
/// power of ten of the first one.
fn g_digits(value: f64, precision: usize) -> ([u8; 20], usize, i32) {
    // Up to so many digits the shortest ones, with zeros behind them, are the value rounded.
    const SURE_DIGITS: usize = 15;
    // Smaller numbers have fewer.
    const NORMAL_MIN: f64 = 1e-290;
    if precision > SURE_DIGITS || value < NORMAL_MIN {
        return exact_digits(value, precision);
    }
    let (mut digits, len, exponent) = shortest_digits(value);
    let first = exponent + len as i32 - 1;
    if len <= precision {
        return (digits, len, first);
    }
    // The shortest digits are on the same side of the middle between two numbers of fewer digits as the
    // value itself, unless they are that middle.
    if len == precision + 1 && digits[precision] == b'5' {
        return exact_digits(value, precision);
    }
    let mut at = precision;
    if digits[precision] >= b'5' {
        while at > 0 && digits[at - 1] == b'9' {
            at -= 1;
        }
        match at {
            0 => {
                digits[0] = b'1';
                return (digits, 1, first + 1);
            }
            _ => digits[at - 1] += 1,
        }
    }
    let len = significant(&digits[..at]);
    (digits, len, first)
}

fn exact_digits(value: f64, precision: usize) -> ([u8; 20], usize, i32) {
    let mut text = [0u8; 32];
    let mut rest = &mut text[..];
    // One digit, a point, the others, and an exponent of five bytes at most: it fits.
    let _ = write!(rest, "{value:.*e}", precision - 1);
    let len = 32 - rest.len();
    let mut digits = [0u8; 20];
    let (mut count, mut exponent) = (0, 0);
    for (at, &byte) in text[..len].iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                digits[count] = byte;
                count += 1;
            }
            b'e' => {
                exponent = parse_exponent(&text[at + 1..len]).unwrap_or(0) as i32;
                break;
            }
            _ => {}
        }
    }
    (digits, significant(&digits[..count]), exponent)
}

/// How many digits there are without the zeros behind.
fn significant(digits: &[u8]) -> usize {
    digits
        .iter()
        .rposition(|&digit| digit != b'0')
        .map_or(1, |at| at + 1)
}

/// Writes digits, the first of which has this power of ten.
fn layout_g(digits: &[u8], first: i32, precision: i32, out: &mut Vec<u8>) {
    let len = digits.len();
    if (0..precision).contains(&first) {
        let whole = first as usize + 1;
        out.extend_from_slice(&digits[..whole.min(len)]);
        out.resize(out.len() + whole.saturating_sub(len), b'0');
        if len > whole {
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    } else if (-4..0).contains(&first) {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + first.unsigned_abs() as usize - 1, b'0');
        out.extend_from_slice(digits);
    } else {
        out.push(digits[0]);
        if len > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if first < 0 { b"e-" } else { b"e+" });
        if first.unsigned_abs() < 10 {
            out.push(b'0');
        }
        fmt_u64(first.unsigned_abs().into(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn g(value: f64, precision: usize) -> String {
        let mut out = Vec::new();
        fmt_g(value, precision, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn g_is_what_c_writes() {
        for (value, precision, want) in [
            (0.0, 14, "0"),
            (-0.0, 14, "-0"),
            (3.0, 14, "3"),
            (0.1, 14, "0.1"),
            (0.1, 17, "0.10000000000000001"),
            (0.1, 16, "0.1"),
            (1.0 / 3.0, 14, "0.33333333333333"),
            (1.0 / 3.0, 1, "0.3"),
            (2.0 / 3.0, 14, "0.66666666666667"),
            (1e14, 14, "1e+14"),
            (99999999999999.0, 14, "99999999999999"),
            (99999999999999.5, 14, "1e+14"),
            (123456789012345.0, 14, "1.2345678901234e+14"),
            (123456789012355.0, 14, "1.2345678901236e+14"),
            (0.0001, 14, "0.0001"),
            (0.00001, 14, "1e-05"),
            (5e-324, 14, "4.9406564584125e-324"),
            (f64::MAX, 14, "1.7976931348623e+308"),
            (2.5, 1, "2"),
            (3.5, 1, "4"),
            (0.25, 1, "0.2"),
            (9.5, 1, "1e+01"),
            (8.5, 1, "8"),
            (-1234.5678, 6, "-1234.57"),
            (1e100, 3, "1e+100"),
            (f64::INFINITY, 14, "inf"),
            (f64::NEG_INFINITY, 14, "-inf"),
            (f64::NAN, 14, "nan"),
        ] {
            assert_eq!(g(value, precision), want, "{value} {precision}");
        }
    }

    #[test]
    fn g_rounds_as_exact_digits_do() {
        let mut rng = crate::util::rng::Rng::from_seed(7);
        for _ in 0..20_000 {
            let bits = rng.next_u64();
            let value = match bits & 3 {
                0 => f64::from_bits(bits >> 2),
                1 => (bits >> 20) as f64 / 10f64.powi((bits >> 2 & 15) as i32),
                2 => (bits >> 44) as f64 / 1024.0,
                _ => (bits >> 2) as f64,
            };
            if !value.is_finite() || value == 0.0 {
                continue;
            }
            let value = value.abs();
            for precision in 1..=PRECISION_MAX {
                let (digits, len, first) = exact_digits(value, precision);
                let got = g_digits(value, precision);
                assert_eq!(
                    (&got.0[..got.1], got.2),
                    (&digits[..len], first),
                    "{value:e}"
                );
            }
        }
    }

    #[test]
    fn strtod_reads_what_c_reads() {
        for (text, value, len) in [
            ("12", 12.0, 2),
            ("-0x1F,", -31.0, 5),
            ("0x", 0.0, 1),
            ("0x.", 0.0, 1),
            ("0x.8p1", 1.0, 6),
            ("0x8.p", 8.0, 4),
            ("0x1p99999", f64::INFINITY, 9),
            ("0x1p-99999", 0.0, 10),
            ("0x0.0000000000001p-1030", 0.0, 23),
            ("1.", 1.0, 2),
            (".5", 0.5, 2),
            (".", 0.0, 0),
            ("-", 0.0, 0),
            ("1e", 1.0, 1),
            ("1e+", 1.0, 1),
            ("1.e2x", 100.0, 4),
            ("1e400", f64::INFINITY, 5),
            ("1e-400", 0.0, 6),
            ("INFinite", f64::INFINITY, 3),
            ("-infinityx", f64::NEG_INFINITY, 9),
            ("+1", 1.0, 2),
            ("+-1", 0.0, 0),
            (" 7", 7.0, 2),
            ("", 0.0, 0),
        ] {
            assert_eq!(strtod(text.as_bytes()), (value, len), "{text:?}");
        }
        for (text, len) in [("nan", 3), ("nan(a_1)", 8), ("NaN(a-)", 3), ("nan(", 3)] {
            let (value, got) = strtod(text.as_bytes());
            assert!(value.is_nan() && got == len, "{text:?}");
        }
    }

    #[test]
    fn casts_are_those_of_x86() {
        assert_eq!(c_i64(-1.9), -1);
        assert_eq!(c_i64(1e19), i64::MIN);
        assert_eq!(c_i64(f64::NAN), i64::MIN);
        assert_eq!(c_u64(1e19), 10_000_000_000_000_000_000);
        assert_eq!(c_u64(1e20), 0);
        assert_eq!(c_u64(-1.0), u64::MAX);
        assert_eq!(c_u64(f64::NAN), 1 << 63);
    }
}
