//! Pure functions against plain versions of themselves: patterns, numbers, compression, quoting.
//!
//! The first byte chooses the function; the rest is what it gets, cut at the first line feed where it wants
//! two texts.
#![no_main]

use kivi::util::{ascii, base64, c_num, glob, long_double, lzf, num};
use libfuzzer_sys::fuzz_target;

/// Whether one element of a pattern takes a byte, and where the next one begins: Redis's rules, one by one.
fn element(pattern: &[u8], byte: u8, nocase: bool) -> (bool, usize) {
    let lower = |byte: u8| {
        if nocase {
            byte.to_ascii_lowercase()
        } else {
            byte
        }
    };
    match pattern {
        [b'?', ..] => (true, 1),
        [b'\\', escaped, ..] => (lower(*escaped) == lower(byte), 2),
        [b'[', ..] => class(pattern, byte, nocase),
        [plain, ..] => (lower(*plain) == lower(byte), 1),
        [] => (false, 0),
    }
}

fn class(pattern: &[u8], byte: u8, nocase: bool) -> (bool, usize) {
    let lower = |byte: u8| {
        if nocase {
            byte.to_ascii_lowercase()
        } else {
            byte
        }
    };
    let mut at = 1;
    let is_not = pattern.get(at) == Some(&b'^');
    at += usize::from(is_not);
    let mut hit = false;
    loop {
        match pattern[at..] {
            [b'\\', escaped, ..] => {
                hit |= escaped == byte;
                at += 2;
            }
            [b']', ..] => return (hit != is_not, at + 1),
            [] => return (hit != is_not, at),
            [from, b'-', to, ..] => {
                let (from, to) = (from.min(to), from.max(to));
                let (from, to, byte) = (lower(from), lower(to), lower(byte));
                hit |= (from..=to).contains(&byte);
                at += 3;
            }
            [one, ..] => {
                hit |= lower(one) == lower(byte);
                at += 1;
            }
        }
    }
}

/// The same as `glob_match` by trying everything, a column at a time.
fn plain_match(pattern: &[u8], string: &[u8], nocase: bool) -> bool {
    if string.is_empty() {
        return pattern.is_empty();
    }
    // Where in the pattern one can be, having read a part of the string.
    let mut places = vec![false; pattern.len() + 1];
    places[0] = true;
    let stars = |places: &mut Vec<bool>| {
        for at in 0..pattern.len() {
            if places[at] && pattern[at] == b'*' {
                places[at + 1] = true;
            }
        }
    };
    for &byte in string {
        stars(&mut places);
        let mut next = vec![false; pattern.len() + 1];
        for at in (0..pattern.len()).filter(|&at| places[at]) {
            if pattern[at] == b'*' {
                next[at] = true;
                continue;
            }
            let (hit, len) = element(&pattern[at..], byte, nocase);
            if hit {
                next[at + len] = true;
            }
        }
        places = next;
    }
    stars(&mut places);
    places[pattern.len()]
}

fn patterns(nocase: bool, pattern: &[u8], string: &[u8]) {
    let (pattern, string) = (
        &pattern[..pattern.len().min(400)],
        &string[..string.len().min(400)],
    );
    let hit = glob::glob_match(pattern, string, nocase);
    // Only stars make a place in the pattern reachable that is no element's beginning.
    assert_eq!(
        hit,
        plain_match(pattern, string, nocase),
        "{:?} {:?}",
        pattern,
        string
    );
    if glob::is_literal(pattern) && !nocase {
        assert_eq!(hit, pattern == string);
    }
}

fn numbers(text: &[u8]) {
    if let Some(number) = num::parse_i64(text) {
        assert_eq!(number.to_string().as_bytes(), text);
        assert_eq!(num::digits_i64_count(number), text.len());
    }
    if let Some(number) = num::parse_u64(text) {
        assert_eq!(number.to_string().as_bytes(), text);
    }
    let (number, len) = c_num::strtod(text);
    assert!(len <= text.len());
    if let Some(parsed) = num::parse_f64(text) {
        assert!(
            len == text.len() && parsed.to_bits() == number.to_bits() || parsed == number,
            "{text:?}"
        );
        let mut shown = Vec::new();
        num::fmt_double(parsed, &mut shown);
        let again = num::parse_f64(&shown).expect("what is shown can be read");
        assert!(again == parsed, "{text:?} {}", shown.escape_ascii());
        for precision in [1, 14, 17] {
            shown.clear();
            c_num::fmt_g(parsed, precision, &mut shown);
            let (again, len) = c_num::strtod(&shown);
            assert_eq!(len, shown.len());
            assert!(
                precision < 17 || again == parsed,
                "{text:?} {}",
                shown.escape_ascii()
            );
        }
    }
    if let Ok(text) = std::str::from_utf8(text)
        && let Ok(expected) = text.parse::<f64>()
        && text.bytes().all(|byte| b"0123456789.eE+-".contains(&byte))
    {
        assert!(
            number == expected || number.is_nan(),
            "{text} {number} {expected}"
        );
    }
    if let Some(number) = long_double::LongDouble::parse(text)
        && !number.is_nan()
        && !number.is_infinite()
    {
        let shown = number.to_redis_string();
        assert!(
            long_double::LongDouble::parse(&shown).is_some(),
            "{}",
            shown.escape_ascii()
        );
    }
    let _ = (
        num::parse_u64_lenient(text),
        num::parse_f64_bound(text),
        num::parse_memory(text),
    );
}

fn compression(bytes: &[u8]) {
    let mut packed = vec![7];
    if lzf::compress(bytes, bytes.len() + bytes.len() / 16 + 64, &mut packed) {
        let mut out = Vec::new();
        assert!(lzf::decompress(&packed[1..], bytes.len(), &mut out));
        assert_eq!(out, bytes);
    } else {
        assert_eq!(packed, [7]);
        assert!(bytes.is_empty(), "there is room for everything");
    }
    if let [low, high, packed @ ..] = bytes {
        let len = usize::from(u16::from_le_bytes([*low, *high]));
        let mut out = Vec::new();
        if lzf::decompress(packed, len, &mut out) {
            assert_eq!(out.len(), len);
        }
    }
}

fn quoting(text: &[u8]) {
    let mut quoted = Vec::new();
    ascii::repr_arg(text, &mut quoted);
    let words = ascii::split_args(&quoted).expect("its quotes are closed");
    assert!(words.len() == 1 && words[0] == text);
    if let Some(words) = ascii::split_args(text) {
        let mut line = Vec::new();
        for word in &words {
            ascii::repr_arg(word, &mut line);
            line.push(b' ');
        }
        assert_eq!(ascii::split_args(&line), Some(words));
    }
    assert_eq!(
        base64::decode(base64::encode(text).as_bytes()).as_deref(),
        Some(text)
    );
    let _ = base64::decode(text);
}

fuzz_target!(|data: &[u8]| {
    let [choice, rest @ ..] = data else { return };
    match choice % 8 {
        0..3 => {
            let mut parts = rest.splitn(2, |&byte| byte == b'\n');
            let mut next = || parts.next().unwrap_or_default();
            patterns(choice & 8 != 0, next(), next());
        }
        3..5 => numbers(rest),
        5 => compression(rest),
        _ => quoting(rest),
    }
});
