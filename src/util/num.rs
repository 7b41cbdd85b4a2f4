//! Redis's number texts: what a client may write, and how numbers are written back.
//!
//! Integers have one spelling only (`string2ll`): no plus, no leading zero, no space, no `-0`.
//! Floats follow `strtod` as Redis uses it, hexadecimal included; what overflows, underflows to
//! zero or is not a number is refused. Answers are Valkey's: the shortest digits that read back the
//! same. INCRBYFLOAT is different, see [`crate::util::long_double`].

use super::c_num::fmt_g;

/// Parses an integer in its only valid spelling.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    // i64::MIN has 20 bytes; anything longer is refused before it is read.
    if text.len() > 20 {
        return None;
    }
    match text {
        [b'-', digits @ ..] if digits != b"0" => 0i64.checked_sub_unsigned(parse_u64(digits)?),
        digits => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// Parses an unsigned integer in its only valid spelling: `0`, or digits that start with 1 to 9.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        b"0" => Some(0),
        [b'1'..=b'9', ..] if text.len() <= 20 => digits_u64(text),
        _ => None,
    }
}

/// Parses an unsigned integer as `strtoull` does: leading spaces, a plus and leading zeros are
/// fine. Stream IDs are read this way (`XADD s 007-1`).
pub fn parse_u64_lenient(text: &[u8]) -> Option<u64> {
    let start = text.iter().position(|&b| !is_c_space(b))?;
    let digits = text[start..].strip_prefix(b"+").unwrap_or(&text[start..]);
    digits_u64(digits)
}

/// One or more digits, all of `text`.
fn digits_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// C's `isspace`.
pub(crate) fn is_c_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Parses a float: decimal, hexadecimal (`0x1.8p3`), or `inf`/`infinity` in any case, each with an
/// optional sign. `None` for anything else: spaces, `nan`, and values out of a double's range at
/// either end (`1e400`, `1e-400`).
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    // Small integers are what scores mostly are, and cheap to read.
    if text.len() <= 15
        && let Some(value) = parse_i64(text)
    {
        return Some(value as f64);
    }
    let (negative, body) = split_sign(text);
    if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
        return Some(if negative {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        });
    }
    let magnitude = match body {
        [b'0', b'x' | b'X', hex @ ..] => parse_hex_f64(hex)?,
        // A second sign or a word (`nan`) would be read by `str::parse`.
        [b'0'..=b'9' | b'.', ..] => parse_decimal_f64(body)?,
        _ => return None,
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// Parses a bound of a range of scores: as [`parse_f64`] but no hexadecimal; what is out of range is
/// infinite or 0, and so is nothing at all. C ends the text at a NUL.
pub fn parse_f64_bound(text: &[u8]) -> Option<f64> {
    let text = match memchr::memchr(0, text) {
        Some(end) => &text[..end],
        None => text,
    };
    let (negative, body) = split_sign(text);
    let magnitude = match body {
        b"" if text.is_empty() => 0.0,
        [b'0'..=b'9' | b'.', ..] => std::str::from_utf8(body).ok()?.parse().ok()?,
        _ => return parse_f64(text),
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// Cuts an optional sign off; true when it is a minus.
pub(crate) fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', body @ ..] => (true, body),
        [b'+', body @ ..] => (false, body),
        body => (false, body),
    }
}

fn parse_decimal_f64(body: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(body).ok()?.parse().ok()?;
    let underflow = value == 0.0
        && body
            .iter()
            .take_while(|b| !b.eq_ignore_ascii_case(&b'e'))
            .any(|b| matches!(b, b'1'..=b'9'));
    (value.is_finite() && !underflow).then_some(value)
}

/// The part of a hexadecimal float after `0x`.
fn parse_hex_f64(hex: &[u8]) -> Option<f64> {
    let HexFloat {
        mantissa,
        exponent,
        sticky,
    } = HexFloat::parse(hex)?;
    if mantissa == 0 {
        return Some(0.0);
    }
    let (mantissa, exponent) = round_bits(mantissa, exponent, sticky, 53, -1074);
    if exponent > 1023 {
        return None;
    }
    // Both factors are exact, a power of two in two halves because 2^-1074 is not normal.
    let value = mantissa as f64 * pow2(exponent / 2) * pow2(exponent - exponent / 2);
    (value.is_finite() && value != 0.0).then_some(value)
}

/// `2^exponent`, for exponents of normal doubles.
pub(crate) fn pow2(exponent: i64) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

/// Rounds `mantissa * 2^exponent` (not zero) to `precision` bits, at most 64, to nearest with ties
/// to even, and to fewer bits when the last one would weigh less than `2^exponent_min`.
/// `sticky` says that non-zero bits below the mantissa were cut off already; then the mantissa must
/// have at least `precision + 1` bits. Answers a mantissa with its top bit set, unless its exponent
/// is `exponent_min`; there it may also be 0.
pub(crate) fn round_bits(
    mantissa: u128,
    exponent: i64,
    sticky: bool,
    precision: u32,
    exponent_min: i64,
) -> (u64, i64) {
    let lead = mantissa.leading_zeros();
    let (mantissa, exponent) = (mantissa << lead, exponent - i64::from(lead));
    let dropped = i64::from(128 - precision).max(exponent_min - exponent);
    // Beyond 129 nothing is left that could round up.
    let dropped_bits = dropped.min(129) as u32;
    let kept = mantissa.checked_shr(dropped_bits).unwrap_or(0);
    let cut = mantissa - kept.checked_shl(dropped_bits).unwrap_or(0);
    let half = 1u128.checked_shl(dropped_bits - 1).unwrap_or(0);
    let up = half != 0 && (cut > half || (cut == half && (sticky || kept & 1 == 1)));
    let kept = kept + u128::from(up);
    let exponent = exponent + dropped;
    if kept >> precision != 0 {
        // Rounded up to a power of two.
        ((kept >> 1) as u64, exponent + 1)
    } else {
        (kept as u64, exponent)
    }
}

/// The text of a hexadecimal float: `mantissa * 2^exponent`, and whether non-zero bits below the
/// mantissa were dropped.
pub(crate) struct HexFloat {
    pub(crate) mantissa: u128,
    pub(crate) exponent: i64,
    pub(crate) sticky: bool,
}

impl HexFloat {
    /// Parses what follows `0x`: digits with an optional point, then an optional `p` exponent.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (mut mantissa, mut exponent, mut sticky) = (0u128, 0i64, false);
        let (mut seen_digit, mut seen_point) = (false, false);
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            if byte == b'.' && !seen_point {
                seen_point = true;
            } else if let Some(digit) = char::from(byte).to_digit(16) {
                seen_digit = true;
                if mantissa >> 124 == 0 {
                    mantissa = mantissa << 4 | u128::from(digit);
                    exponent -= if seen_point { 4 } else { 0 };
                } else {
                    sticky |= digit != 0;
                    exponent += if seen_point { 0 } else { 4 };
                }
            } else {
                break;
            }
            at += 1;
        }
        if !seen_digit {
            return None;
        }
        if let [b'p' | b'P', tail @ ..] = &text[at..] {
            exponent += parse_exponent(tail)?;
        } else if at != text.len() {
            return None;
        }
        Some(HexFloat {
            mantissa,
            exponent,
            sticky,
        })
    }
}

/// The digits of an exponent with an optional sign. Absurd values are cut at a billion, which is
/// far outside of every format's range.
pub(crate) fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |value, digit| {
        (value * 10 + i64::from(digit - b'0')).min(1_000_000_000)
    });
    Some(if negative { -value } else { value })
}

/// Appends a double as Valkey and Redis 7.2+ answer it: `3`, `0.1`, `1e+21`, `1e-7`, `inf`, `nan`.
pub fn fmt_double(value: f64, out: &mut Vec<u8>) {
    // Half of i64's range: whole numbers in it are written as integers, with all their digits.
    const WHOLE_MAX: f64 = (i64::MAX / 2) as f64;
    if value.abs() <= WHOLE_MAX && value.fract() == 0.0 && value != 0.0 {
        return fmt_i64(value as i64, out);
    }
    fmt_double_short(value, out);
}

/// As [`fmt_double`], but whole numbers with many zeros have an exponent, too (`1e+15`): what DEBUG
/// DIGEST mixes in.
pub fn fmt_double_short(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        return out.extend_from_slice(b"nan");
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value.is_infinite() {
        return out.extend_from_slice(b"inf");
    }
    if value == 0.0 {
        return out.push(b'0');
    }
    let (digits, len, exponent) = shortest_digits(value.abs());
    layout_digits(&digits[..len], exponent, out);
}

/// Appends a double as C's `%.17g`, which is how ZSCAN shows scores: 17 digits, so that every double
/// reads back, but `0.10000000000000001` for 0.1.
pub fn fmt_double_17(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() || value == 0.0 {
        return fmt_double(value, out);
    }
    fmt_g(value, 17, out);
}

/// Appends a number with four digits after the point, as distances are answered.
pub fn fmt_fixed_4(value: f64, out: &mut Vec<u8>) {
    const SCALE: u16 = 10_000;
    let scaled = (value * f64::from(SCALE)).round_ties_even() as i64;
    if scaled < 0 {
        out.push(b'-');
    }
    let scaled = scaled.unsigned_abs();
    fmt_u64(scaled / u64::from(SCALE), out);
    out.push(b'.');
    push_padded(scaled % u64::from(SCALE), 4, out);
}

/// Appends a double as positions are answered: C's `%.17f` without trailing zeros.
pub fn fmt_double_plain(value: f64, out: &mut Vec<u8>) {
    const DIGITS: usize = 17;
    const SCALE: u64 = 10u64.pow(DIGITS as u32);
    let start = out.len();
    let bits = value.abs().to_bits();
    let (mantissa, exponent) = (bits & ((1 << 52) - 1) | 1 << 52, (bits >> 52) as u32);
    // So many of the mantissa's bits are behind the point; 1075 is the exponent's bias and 52.
    let behind = 1075u32.wrapping_sub(exponent);
    // Of these numbers all bits of the scaled fraction are at hand: from 2^-18 to 2^53.
    if (1..=70).contains(&behind) {
        let mantissa = u128::from(mantissa);
        let fraction = (mantissa & ((1 << behind) - 1)) * u128::from(SCALE);
        let (digits, rest) = (fraction >> behind, fraction & ((1 << behind) - 1));
        let half = 1 << (behind - 1);
        let is_up = rest > half || rest == half && digits & 1 == 1;
        let digits = digits as u64 + u64::from(is_up);
        let whole = (mantissa >> behind) as u64 + digits / SCALE;
        if value < 0.0 {
            out.push(b'-');
        }
        fmt_u64(whole, out);
        out.push(b'.');
        push_padded(digits % SCALE, DIGITS, out);
    } else {
        out.extend_from_slice(format!("{value:.DIGITS$}").as_bytes());
    }
    if out[start..].contains(&b'.') {
        while out.last() == Some(&b'0') {
            out.pop();
        }
        if out.last() == Some(&b'.') {
            out.pop();
        }
    }
    if &out[start..] == b"-0" {
        out.remove(start);
    }
}

/// Appends an integer with zeros in front of it, `len` digits in all.
fn push_padded(value: u64, len: usize, out: &mut Vec<u8>) {
    out.resize(
        out.len() + len.saturating_sub(digits_u64_count(value)),
        b'0',
    );
    fmt_u64(value, out);
}

/// The shortest decimal digits that read back as `value` (finite, above 0): digits without leading
/// or trailing zeros, how many, and the power of ten of the last one.
pub(crate) fn shortest_digits(value: f64) -> ([u8; 20], usize, i32) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    let (mut digits, mut len, mut exponent) = ([0u8; 20], 0usize, 0i32);
    let mut seen_point = false;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'.' => seen_point = true,
            b'0'..=b'9' => {
                exponent -= i32::from(seen_point);
                // Leading zeros are no digits; a double never has more than 17.
                if len > 0 || byte != b'0' {
                    digits[len] = byte;
                    len += 1;
                }
            }
            _ => {
                exponent += parse_exponent(&text[at + 1..]).unwrap_or(0) as i32;
                break;
            }
        }
    }
    while len > 1 && digits[len - 1] == b'0' {
        len -= 1;
        exponent += 1;
    }
    (digits, len, exponent)
}

/// Writes `digits * 10^exponent`, plainly while that is short and else as `d.ddde±x`.
fn layout_digits(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    let count = digits.len() as i32;
    let first = exponent + count - 1;
    let magnitude = first.abs();
    if exponent >= 0 && magnitude < count + 7 {
        out.extend_from_slice(digits);
        out.resize(out.len() + exponent as usize, b'0');
    } else if exponent < 0 && (exponent > -7 || magnitude < 4) {
        if first >= 0 {
            let (whole, fraction) = digits.split_at(first as usize + 1);
            out.extend_from_slice(whole);
            out.push(b'.');
            out.extend_from_slice(fraction);
        } else {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + (-first - 1) as usize, b'0');
            out.extend_from_slice(digits);
        }
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.extend_from_slice(if first < 0 { b"e-" } else { b"e+" });
        fmt_i64(i64::from(magnitude), out);
    }
}

/// Appends an integer.
pub fn fmt_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends an unsigned integer.
pub fn fmt_u64(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// How many bytes [`fmt_u64`] writes.
pub fn digits_u64_count(value: u64) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// How many bytes [`fmt_i64`] writes, the minus sign included.
pub fn digits_i64_count(value: i64) -> usize {
    digits_u64_count(value.unsigned_abs()) + usize::from(value < 0)
}

/// A byte count for people, as INFO's `*_human` fields: `512B`, `1.44M`, `2.00G`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    // Redis has no name above peta: the digits grow instead.
    let unit = (bytes.ilog2() as usize / 10).min(UNITS.len());
    format!(
        "{:.2}{}",
        bytes as f64 / (1u64 << (10 * unit)) as f64,
        UNITS[unit - 1]
    )
}

/// Parses a memory size of the configuration: digits and an optional unit in any case, `b`, `k` =
/// 1000, `kb` = 1024, and so on for `m`, `mb`, `g`, `gb`. `None` also when it overflows.
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let unit_start = text
        .iter()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_start);
    let factor = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    // Redis takes a missing number for 0: `CONFIG SET maxmemory ""` lifts the limit.
    let number = if digits.is_empty() {
        0
    } else {
        digits_u64(digits)?
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        fmt_double(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn integers_have_one_spelling() {
        for value in [0, 1, -1, 10, 907, i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        }
        for text in [
            "",
            "-",
            "-0",
            "+1",
            "01",
            "00",
            "-01",
            " 1",
            "1 ",
            "1a",
            "0x1",
            "1.0",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
            "100000000000000000000",
            "1\0",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u64(b"07"), None);
    }

    #[test]
    fn stream_ids_are_read_leniently() {
        for (text, want) in [
            ("007", Some(7)),
            ("+5", Some(5)),
            (" 5", Some(5)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("0x5", None),
            ("", None),
            (" ", None),
            ("+", None),
        ] {
            assert_eq!(parse_u64_lenient(text.as_bytes()), want, "{text:?}");
        }
    }

    /// As ZADD on Redis 7.0.15 and 8.0.6; Valkey 9 does the same but for refusing hexadecimal.
    #[test]
    fn floats_are_read_as_redis_does() {
        for (text, want) in [
            ("3", 3.0),
            ("+1", 1.0),
            ("1.", 1.0),
            ("1.e3", 1000.0),
            (".5", 0.5),
            ("-.5", -0.5),
            ("1e5", 1e5),
            ("1E+05", 1e5),
            ("00012", 12.0),
            ("0e99999999999", 0.0),
            ("9007199254740993", 9007199254740992.0),
            ("4.9e-324", 5e-324),
            ("inf", f64::INFINITY),
            ("+Inf", f64::INFINITY),
            ("-INFINITY", f64::NEG_INFINITY),
            ("0x1p3", 8.0),
            ("0x10", 16.0),
            ("0X1P-2", 0.25),
            ("-0x1p3", -8.0),
            ("0x.8", 0.5),
            ("0x1.8p1", 3.0),
            ("0x1p1023", 2f64.powi(1023)),
            ("0x1p-1074", 5e-324),
            ("0x1.8p-1075", 5e-324),
            ("0x1.fffffffffffff7p0", 2.0 - f64::EPSILON),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x10000000000000000000000000000000000p-136", 1.0),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(want), "{text:?}");
        }
        for text in [
            "",
            "-",
            "+",
            ".",
            "1e",
            "1e+",
            "infin",
            "nan",
            "-nan",
            "nan(1)",
            " 1",
            "1 ",
            "\t1",
            "++1",
            "-+1",
            "1_0",
            "1,5",
            "1f",
            "1\0",
            "0x",
            "0xg",
            "0x1p",
            "0x1.8.1",
            "1e400",
            "-1e400",
            "1e-400",
            "2e-324",
            "0x1p1024",
            "0x1p-1075",
            "1e99999999999999999999",
            "0x1p99999999999999999999",
            "é",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text:?}");
        }
        assert!(parse_f64(b"-0").unwrap() == 0.0);
    }

    /// As ZRANGEBYSCORE on Valkey 9.1.2 and Redis 8.0.6.
    #[test]
    fn bounds_are_read_more_leniently() {
        for (text, want) in [
            ("", 0.0),
            ("+2", 2.0),
            ("-2.", -2.0),
            (".5", 0.5),
            ("2.e0", 2.0),
            ("-Infinity", f64::NEG_INFINITY),
            ("+inf", f64::INFINITY),
            ("1e400", f64::INFINITY),
            ("-1e400", f64::NEG_INFINITY),
            ("1e-400", 0.0),
            ("2\0x", 2.0),
            ("\0", 0.0),
        ] {
            assert_eq!(parse_f64_bound(text.as_bytes()), Some(want), "{text:?}");
        }
        for text in [
            "+", "-", ".", "+-2", "infi", "1e", "1e+", "e5", "nan", "-nan", "nan(1)", "2f", "0x1",
            " 1", "1 ", "1 5", "x",
        ] {
            assert_eq!(parse_f64_bound(text.as_bytes()), None, "{text:?}");
        }
    }

    /// As ZSCORE on Valkey 9.1.2 and Redis 8.0.6.
    #[test]
    fn doubles_are_written_as_valkey_does() {
        for text in [
            "3",
            "0.1",
            "0.01",
            "0.0001",
            "0.00001",
            "0.000001",
            "1e-7",
            "0.000015",
            "1.23456e-5",
            "1.234e-6",
            "1.2345e-4",
            "1.2345678901234568e-5",
            "123.456",
            "1e+100",
            "-1e+100",
            "-0.5",
            "5e-324",
            "1.7976931348623157e+308",
            "100000000",
            "1000000000000000000",
            "4600000000000000000",
            "4611686018427387904",
            "5e+18",
            "1e+19",
            "1e+20",
            "1e+21",
            "1.2e+21",
            "1.2345e+22",
            "123456789012345680",
            "1152921504606846976",
            "9223372036854776000",
            "1234567890123456800000",
            "12345678.9",
            "9007199254740994",
            "inf",
            "-inf",
            "nan",
            "0",
            "-0",
            "3.141",
            "-1e-7",
            "0.002",
        ] {
            assert_eq!(double(text.parse().unwrap()), text);
        }
    }

    /// As ZSCAN on Valkey 9.1.2.
    #[test]
    fn short_doubles_have_an_exponent_after_seven_zeros() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-2.5, "-2.5"),
            (3e7, "30000000"),
            (1.25e9, "1250000000"),
            (1e8, "1e+8"),
            (-1e15, "-1e+15"),
            (123_456_789_012_345_680.0, "123456789012345680"),
            (1e-7, "1e-7"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            let mut out = Vec::new();
            fmt_double_short(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn doubles_of_17_digits_are_written_as_c_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (100.0, "100"),
            (0.1, "0.10000000000000001"),
            (2.06, "2.0600000000000001"),
            (-4.1, "-4.0999999999999996"),
            (0.0001, "0.0001"),
            (0.00001, "1.0000000000000001e-05"),
            (0.0006007345973502695, "0.00060073459735026952"),
            (1e16, "10000000000000000"),
            (12345678901234568.0, "12345678901234568"),
            (1e17, "1e+17"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1e300, "1.0000000000000001e+300"),
            (1e-300, "1e-300"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            let mut out = Vec::new();
            fmt_double_17(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    /// As GEODIST on Valkey 9.1.2.
    #[test]
    fn distances_have_four_digits() {
        for (value, text) in [
            (0.0, "0.0000"),
            (0.00004, "0.0000"),
            (0.00005, "0.0000"),
            (0.00025, "0.0002"),
            (0.00035, "0.0004"),
            (0.9999, "0.9999"),
            (0.99996, "1.0000"),
            (166274.15156960033, "166274.1516"),
            (20020734.0, "20020734.0000"),
            (-1.5, "-1.5000"),
        ] {
            let mut out = Vec::new();
            fmt_fixed_4(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn positions_have_seventeen_digits_behind_the_point() {
        let mut rng = crate::util::rng::Rng::from_seed(5);
        let plain = |value: f64| {
            let mut out = b"x".to_vec();
            fmt_double_plain(value, &mut out);
            String::from_utf8(out.split_off(1)).unwrap()
        };
        for _ in 0..50_000 {
            let value = match rng.next_u64() % 3 {
                0 => (rng.next_u64() as i64 >> 8) as f64 / (1u64 << 48) as f64,
                1 => (rng.next_u64() as i64 >> (rng.next_u64() % 60)) as f64 / (1u64 << 18) as f64,
                _ => f64::from_bits(rng.next_u64()),
            };
            if !value.is_finite() || value == 0.0 {
                continue;
            }
            let text = format!("{value:.17}");
            let text = text.trim_end_matches('0').trim_end_matches('.');
            assert_eq!(plain(value), if text == "-0" { "0" } else { text });
        }
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (180.0, "180"),
            (-1e-30, "0"),
            (13.361389338970184, "13.36138933897018433"),
            (-85.05112751263943, "-85.05112751263942528"),
            (0.9999999999999999, "0.99999999999999989"),
            (2f64.powi(-18), "0.00000381469726562"),
            (3.0 * 2f64.powi(-18), "0.00001144409179688"),
            (1e22, "10000000000000000000000"),
        ] {
            assert_eq!(plain(value), text);
        }
    }

    #[test]
    fn written_doubles_read_back() {
        let mut rng = crate::util::rng::Rng::from_seed(3);
        for _ in 0..20_000 {
            let value = f64::from_bits(rng.next_u64());
            if value.is_finite() {
                assert_eq!(parse_f64(double(value).as_bytes()), Some(value));
            }
        }
    }

    #[test]
    fn lengths_are_those_of_the_text() {
        for value in [
            0,
            9,
            10,
            99,
            100,
            u64::MAX,
            10u64.pow(19),
            10u64.pow(19) - 1,
        ] {
            assert_eq!(digits_u64_count(value), value.to_string().len());
        }
        for value in [0, -1, -9, -10, i64::MIN, i64::MAX] {
            assert_eq!(digits_i64_count(value), value.to_string().len());
        }
    }

    #[test]
    fn byte_counts_for_people() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_509_949, "1.44M"),
            (2 << 30, "2.00G"),
            (3 << 40, "3.00T"),
            (1 << 50, "1.00P"),
        ] {
            assert_eq!(human_bytes(bytes), text);
        }
        assert!(human_bytes(u64::MAX).ends_with('P'));
    }

    #[test]
    fn memory_sizes_of_the_configuration() {
        for (text, want) in [
            ("0", Some(0)),
            ("00012", Some(12)),
            ("5B", Some(5)),
            ("1k", Some(1000)),
            ("1KB", Some(1024)),
            ("2m", Some(2_000_000)),
            ("2Mb", Some(2 << 20)),
            ("3g", Some(3_000_000_000)),
            ("1gB", Some(1 << 30)),
            ("", Some(0)),
            ("kb", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("17179869184gb", None),
            ("1t", None),
            ("1 kb", None),
            ("1.5gb", None),
            ("-1", None),
            ("+1", None),
        ] {
            assert_eq!(parse_memory(text.as_bytes()), want, "{text:?}");
        }
    }
}
