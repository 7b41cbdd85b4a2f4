//! Text as bytes: case-insensitive words, quoting for people, and the splitting of typed lines.
//! Everything is ASCII and locale-free; bytes above 0x7f are never letters.

use smallvec::SmallVec;

/// Whether two words are the same but for the case of ASCII letters.
pub fn eq_nocase(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Lower-cases `text` into `buffer`; `None` when it does not fit, which for the lookup of a word
/// means that it is not a known one.
pub fn lower_into<'b, const N: usize>(text: &[u8], buffer: &'b mut [u8; N]) -> Option<&'b [u8]> {
    let lowered = buffer.get_mut(..text.len())?;
    lowered.copy_from_slice(text);
    lowered.make_ascii_lowercase();
    Some(lowered)
}

/// Appends `text` in double quotes with everything unprintable escaped, as MONITOR, CLIENT LIST and
/// error texts show arguments: `"a\"b\\\n\x00"`.
pub fn repr_arg(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => {
                let [high, low] = [byte >> 4, byte & 15].map(|nibble| HEX[usize::from(nibble)]);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
    }
    out.push(b'"');
}

/// The words of one line, see [`split_args`].
pub type Words = SmallVec<[Vec<u8>; 8]>;

/// Splits a line into words, as inline commands, redis.conf and redis-cli are read.
///
/// Words are separated by white space. In double quotes, `\xHH`, `\n`, `\r`, `\t`, `\b`, `\a` and a
/// backslash before any other byte are escapes; in single quotes only `\'` is. Quotes may stand
/// anywhere in a word, as in Valkey 9.1 (`a"b c"d` is one word). A NUL ends the line. `None` when a
/// quote is not closed.
pub fn split_args(line: &[u8]) -> Option<Words> {
    let line = &line[..memchr::memchr(0, line).unwrap_or(line.len())];
    let mut words = Words::new();
    let mut at = 0;
    loop {
        while line.get(at).is_some_and(|&b| is_space(b)) {
            at += 1;
        }
        if at == line.len() {
            return Some(words);
        }
        let mut word = Vec::new();
        at = read_word(line, at, &mut word)?;
        words.push(word);
    }
}

/// Reads the word at `at`; answers where it stops.
fn read_word(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    while let Some(&byte) = line.get(at) {
        at = match byte {
            b'"' => read_double_quoted(line, at + 1, word)?,
            b'\'' => read_single_quoted(line, at + 1, word)?,
            _ if is_word_end(byte) => break,
            _ => {
                word.push(byte);
                at + 1
            }
        };
    }
    Some(at)
}

fn read_double_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line.get(at..)? {
            [b'"', ..] => return Some(at + 1),
            escape @ [b'\\', _, ..] => {
                let (byte, len) = unescape(escape)?;
                word.push(byte);
                at += len;
            }
            [byte, ..] => {
                word.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

/// What the escape that `text` begins with stands for in double quotes, and its length: `\xHH`, `\n`,
/// `\r`, `\t`, `\b`, `\a`, or a backslash before the byte itself. `None` when only the backslash is
/// there.
pub fn unescape(text: &[u8]) -> Option<(u8, usize)> {
    Some(match text.get(1..)? {
        [b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            (hex_value(*high) << 4 | hex_value(*low), 4)
        }
        [b'n', ..] => (b'\n', 2),
        [b'r', ..] => (b'\r', 2),
        [b't', ..] => (b'\t', 2),
        [b'b', ..] => (0x08, 2),
        [b'a', ..] => (0x07, 2),
        [other, ..] => (*other, 2),
        [] => return None,
    })
}

fn read_single_quoted(line: &[u8], mut at: usize, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line.get(at..)? {
            [b'\\', b'\'', ..] => {
                word.push(b'\'');
                at += 2;
            }
            [b'\'', ..] => return Some(at + 1),
            [byte, ..] => {
                word.push(*byte);
                at += 1;
            }
            [] => return None,
        }
    }
}

fn is_space(byte: u8) -> bool {
    super::num::is_c_space(byte)
}

/// What ends a word that is not quoted.
fn is_word_end(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// The value of a hexadecimal digit; 0 for any other byte.
fn hex_value(digit: u8) -> u8 {
    char::from(digit).to_digit(16).unwrap_or(0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repr(text: &[u8]) -> String {
        let mut out = Vec::new();
        repr_arg(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        split_args(line).map(|words| words.into_vec())
    }

    #[test]
    fn words_are_lowered_when_they_fit() {
        let mut buffer = [0; 8];
        assert_eq!(lower_into(b"MaxLen", &mut buffer), Some(&b"maxlen"[..]));
        assert_eq!(lower_into(b"12345678", &mut buffer), Some(&b"12345678"[..]));
        assert_eq!(lower_into(b"123456789", &mut buffer), None);
        assert!(eq_nocase(b"GeT", b"gEt") && !eq_nocase(b"get", b"gets"));
        assert!(!eq_nocase("É".as_bytes(), "é".as_bytes()));
    }

    #[test]
    fn quoting_escapes_what_cannot_be_printed() {
        assert_eq!(repr(b"plain ~"), "\"plain ~\"");
        assert_eq!(repr(b""), "\"\"");
        assert_eq!(repr(b"a\"b\\\n\r\t\x07\x08"), r#""a\"b\\\n\r\t\a\b""#);
        assert_eq!(repr(b"\0\x1b\x7f\xff"), r#""\x00\x1b\x7f\xff""#);
    }

    #[test]
    fn what_is_quoted_splits_back() {
        let every: Vec<u8> = (0..=255).collect();
        let mut line = Vec::new();
        repr_arg(&every, &mut line);
        line.push(b' ');
        repr_arg(b"", &mut line);
        assert_eq!(split(&line), Some(vec![every, Vec::new()]));
    }

    #[test]
    fn lines_split_into_words() {
        let words = |list: &[&[u8]]| Some(list.iter().map(|w| w.to_vec()).collect::<Vec<_>>());
        for (line, want) in [
            (&b""[..], words(&[])),
            (b"  \t ", words(&[])),
            (b" set  k\tv\r\n", words(&[b"set", b"k", b"v"])),
            (br#""a\x41\q\n" b"#, words(&[b"aAq\n", b"b"])),
            (br"'a\'b\n' c", words(&[br"a'b\n", b"c"])),
            (br#"a"b" c"#, words(&[b"ab", b"c"])),
            (br#""\x4""#, words(&[b"x4"])),
            (br"a\n b", words(&[br"a\n", b"b"])),
            (b"\x0b a\x0bb", words(&[b"a\x0bb"])),
            (br#""" ''"#, words(&[b"", b""])),
            (b"a\0b", words(&[b"a"])),
            (br#"a"b c"d'e'"#, words(&[b"ab cde"])),
            (b"\"a\"\x0b 'b'c", words(&[b"a\x0b", b"bc"])),
            (br#"""#, None),
            (b"'", None),
            (br#""a" "b"#, None),
            (br#"a"b""c"#, None),
            (br#""\"#, None),
            (br#""\""#, None),
        ] {
            assert_eq!(split(line), want, "{}", String::from_utf8_lossy(line));
        }
    }
}
