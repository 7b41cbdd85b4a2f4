//! Redis's glob-style patterns (KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET, ACL), byte for byte.
//!
//! A pattern is a row of elements, each of which takes exactly one byte (`?`, `[..]`, `\x`, a
//! literal), and of stars between them. So it is cut at the stars into segments of fixed length:
//! the first is anchored at the start, the last at the end, and each one between takes its leftmost
//! fit. That choice is never wrong, hence no recursion and no backtracking over more than one
//! segment: a hostile `*a*a*a..b` costs linear time. Literal segments go through a substring
//! search, long ones with `?` and classes through a bit-parallel one (64 elements per step).
//!
//! Kept on purpose, because clients can see them: an unclosed class ends with the pattern, `[]`
//! matches nothing and `[^]` anything, `[a-]` is a range up to `]`, a byte escaped inside a class
//! keeps its case even when the match ignores case, and no star matches an empty string.

use memchr::memmem;

/// Whether `string` as a whole matches `pattern`. With `nocase`, ASCII letters match both cases.
///
/// Redis skips the match when the pattern of KEYS and SCAN is just `*`; their callers must do so
/// too, or the empty key is missed.
///
/// Time: linear for patterns of literals and stars; at worst `pattern.len() * string.len() / 64`
/// steps (segments of more than 256 Ki elements apart).
pub fn glob_match(pattern: &[u8], string: &[u8], nocase: bool) -> bool {
    if string.is_empty() {
        return pattern.is_empty();
    }
    let first = Segment::parse(pattern, 0);
    if first.end == pattern.len() {
        return first.len == string.len() && first.matches_at(string, nocase);
    }
    if !first.matches_at(string, nocase) {
        return false;
    }
    let mut rest = &string[first.len..];
    let mut at = first.end;
    loop {
        while pattern.get(at) == Some(&b'*') {
            at += 1;
        }
        let segment = Segment::parse(pattern, at);
        if segment.end == pattern.len() {
            return match rest.len().checked_sub(segment.len) {
                Some(start) => segment.matches_at(&rest[start..], nocase),
                None => false,
            };
        }
        match segment.find(rest, nocase) {
            Some(start) => rest = &rest[start + segment.len..],
            None => return false,
        }
        at = segment.end;
    }
}

/// Whether `pattern` has no special byte, so that it matches exactly itself and nothing else.
pub fn is_literal(pattern: &[u8]) -> bool {
    !pattern
        .iter()
        .any(|b| matches!(b, b'*' | b'?' | b'[' | b'\\'))
}

/// From how many comparisons on a segment with `?` or classes is worth the table of `find_bitap`.
const BITAP_WORK_MIN: usize = 1 << 20;
/// The longest segment to build that table for: it takes 32 bytes per element.
const BITAP_LEN_MAX: usize = 256 * 1024;

/// The elements between two stars.
struct Segment<'p> {
    bytes: &'p [u8],
    /// Where in the whole pattern the segment stops: at a star or at the end.
    end: usize,
    /// How many bytes of the string it takes.
    len: usize,
    /// No `?`, no class, no escape: `bytes` stands for itself.
    literal: bool,
}

impl<'p> Segment<'p> {
    fn parse(pattern: &'p [u8], start: usize) -> Self {
        let (mut at, mut len, mut literal) = (start, 0, true);
        while let Some(&byte) = pattern.get(at) {
            match byte {
                b'*' => break,
                b'?' | b'[' | b'\\' => {
                    literal = false;
                    at += Element::parse(&pattern[at..]).width();
                }
                _ => at += 1,
            }
            len += 1;
        }
        Segment {
            bytes: &pattern[start..at],
            end: at,
            len,
            literal,
        }
    }

    /// Whether the segment fits the first `len` bytes of `string`.
    fn matches_at(&self, string: &[u8], nocase: bool) -> bool {
        if string.len() < self.len {
            return false;
        }
        if self.literal {
            let head = &string[..self.len];
            return if nocase {
                head.eq_ignore_ascii_case(self.bytes)
            } else {
                head == self.bytes
            };
        }
        let mut at = 0;
        for &byte in &string[..self.len] {
            let element = Element::parse(&self.bytes[at..]);
            if !element.matches(byte, nocase) {
                return false;
            }
            at += element.width();
        }
        true
    }

    /// The leftmost place in `string` where the segment fits.
    fn find(&self, string: &[u8], nocase: bool) -> Option<usize> {
        if self.literal && !nocase {
            return memmem::find(string, self.bytes);
        }
        let last = string.len().checked_sub(self.len)?;
        let work = self.len.saturating_mul(string.len());
        if (BITAP_WORK_MIN..).contains(&work) && self.len <= BITAP_LEN_MAX {
            return self.find_bitap(string, nocase);
        }
        (0..=last).find(|&start| self.matches_at(&string[start..], nocase))
    }

    /// As `find`, with all places tried at once, 64 elements to a step: bit `i` of `fits` says that
    /// the last `i + 1` bytes fit the first `i + 1` elements.
    fn find_bitap(&self, string: &[u8], nocase: bool) -> Option<usize> {
        let words = self.len.div_ceil(64);
        let accepts = self.acceptance_table(words, nocase);
        let mut fits = vec![0u64; words];
        let (last_word, last_bit) = ((self.len - 1) / 64, 1u64 << ((self.len - 1) % 64));
        for (at, &byte) in string.iter().enumerate() {
            let mut carry = 1;
            for (fit, accept) in fits.iter_mut().zip(&accepts[usize::from(byte) * words..]) {
                let shifted = *fit << 1 | carry;
                carry = *fit >> 63;
                *fit = shifted & accept;
            }
            if fits[last_word] & last_bit != 0 {
                return Some(at + 1 - self.len);
            }
        }
        None
    }

    /// For every byte value a row of `words` words: which elements accept it.
    fn acceptance_table(&self, words: usize, nocase: bool) -> Vec<u64> {
        let mut accepts = vec![0u64; 256 * words];
        let mut at = 0;
        for index in 0..self.len {
            let element = Element::parse(&self.bytes[at..]);
            for byte in 0..=255u8 {
                if element.matches(byte, nocase) {
                    accepts[usize::from(byte) * words + index / 64] |= 1 << (index % 64);
                }
            }
            at += element.width();
        }
        accepts
    }
}

/// One element of a pattern; never a star.
enum Element<'p> {
    Any,
    Literal {
        byte: u8,
        width: usize,
    },
    Class {
        body: &'p [u8],
        negated: bool,
        width: usize,
    },
}

impl<'p> Element<'p> {
    /// The first element of `pattern`, which is not empty.
    fn parse(pattern: &'p [u8]) -> Self {
        match pattern {
            [b'?', ..] => Element::Any,
            [b'\\', byte, ..] => Element::Literal {
                byte: *byte,
                width: 2,
            },
            [b'[', inner @ ..] => {
                let negated = inner.first() == Some(&b'^');
                let body_start = usize::from(negated);
                let mut end = body_start;
                while end < inner.len() && inner[end] != b']' {
                    end += ClassItem::parse(&inner[end..]).width();
                }
                // The `]` belongs to the element, when there is one.
                let width = 1 + end + usize::from(end < inner.len());
                Element::Class {
                    body: &inner[body_start..end],
                    negated,
                    width,
                }
            }
            _ => Element::Literal {
                byte: pattern[0],
                width: 1,
            },
        }
    }

    fn width(&self) -> usize {
        match *self {
            Element::Any => 1,
            Element::Literal { width, .. } | Element::Class { width, .. } => width,
        }
    }

    fn matches(&self, byte: u8, nocase: bool) -> bool {
        match *self {
            Element::Any => true,
            Element::Literal { byte: want, .. } => same(want, byte, nocase),
            Element::Class {
                mut body, negated, ..
            } => {
                let mut found = false;
                while !body.is_empty() {
                    let item = ClassItem::parse(body);
                    found |= item.matches(byte, nocase);
                    body = &body[item.width()..];
                }
                found != negated
            }
        }
    }
}

/// One item between the brackets of a class.
enum ClassItem {
    Escaped(u8),
    Range(u8, u8),
    Byte(u8),
}

impl ClassItem {
    /// The first item of `body`, which is not empty.
    fn parse(body: &[u8]) -> Self {
        match *body {
            [b'\\', byte, ..] => ClassItem::Escaped(byte),
            [from, b'-', to, ..] => ClassItem::Range(from.min(to), from.max(to)),
            _ => ClassItem::Byte(body[0]),
        }
    }

    fn width(&self) -> usize {
        match self {
            ClassItem::Escaped(_) => 2,
            ClassItem::Range(..) => 3,
            ClassItem::Byte(_) => 1,
        }
    }

    fn matches(&self, byte: u8, nocase: bool) -> bool {
        match *self {
            ClassItem::Escaped(want) => want == byte,
            ClassItem::Byte(want) => same(want, byte, nocase),
            // The bounds are put in order before their case is folded, as Redis does.
            ClassItem::Range(from, to) if nocase => (from.to_ascii_lowercase()
                ..=to.to_ascii_lowercase())
                .contains(&byte.to_ascii_lowercase()),
            ClassItem::Range(from, to) => (from..=to).contains(&byte),
        }
    }
}

fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || (nocase && a.eq_ignore_ascii_case(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    /// The rules as plain recursion: what the segments must amount to.
    fn reference(pattern: &[u8], string: &[u8], nocase: bool) -> bool {
        match pattern {
            [] => string.is_empty(),
            [b'*', rest @ ..] => {
                (0..=string.len()).any(|skip| reference(rest, &string[skip..], nocase))
            }
            _ => {
                let element = Element::parse(pattern);
                string.split_first().is_some_and(|(&byte, tail)| {
                    element.matches(byte, nocase)
                        && reference(&pattern[element.width()..], tail, nocase)
                })
            }
        }
    }

    fn random_text(rng: &mut Rng, alphabet: &[u8], len_max: usize) -> Vec<u8> {
        (0..rng.index(len_max + 1))
            .map(|_| alphabet[rng.index(alphabet.len())])
            .collect()
    }

    #[test]
    fn segments_amount_to_the_plain_rules() {
        let mut rng = Rng::from_seed(1);
        let mut matched = 0;
        for _ in 0..40_000 {
            let pattern = random_text(&mut rng, b"ab*?[]^-\\AB", 8);
            let mut string = random_text(&mut rng, b"abAB-]^\\", 7);
            // Not empty: no star matches that, unlike in the reference.
            string.extend_from_slice(b"a");
            for nocase in [false, true] {
                let want = reference(&pattern, &string, nocase);
                matched += usize::from(want);
                assert_eq!(
                    glob_match(&pattern, &string, nocase),
                    want,
                    "pattern {:?} string {:?} nocase {nocase}",
                    String::from_utf8_lossy(&pattern),
                    String::from_utf8_lossy(&string),
                );
            }
        }
        assert!(
            matched > 1000,
            "only {matched} matches: the test tests nothing"
        );
    }

    #[test]
    fn the_bit_parallel_search_finds_the_same() {
        let mut rng = Rng::from_seed(2);
        let mut found = 0;
        for round in 0..2_000 {
            let pattern = random_text(
                &mut rng,
                b"aaaab?[b-z]",
                if round < 1900 { 12 } else { 200 },
            );
            let segment = Segment::parse(&pattern, 0);
            if segment.len == 0 {
                continue;
            }
            let string = random_text(&mut rng, b"aaaAb", 300);
            for nocase in [false, true] {
                let want = (0..=string.len().saturating_sub(segment.len))
                    .find(|&start| segment.matches_at(&string[start..], nocase));
                found += usize::from(want.is_some());
                assert_eq!(segment.find_bitap(&string, nocase), want);
            }
        }
        assert!(found > 500);
    }

    /// As Valkey 9.1.2 and Redis 8.0.6 answer.
    #[test]
    fn corners() {
        for (pattern, string, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", false),
            ("**", "", false),
            ("a*", "a", true),
            ("a***", "a", true),
            ("?", "", false),
            ("[", "[", false),
            ("[a", "a", true),
            ("[^", "x", true),
            ("[]", "]", false),
            ("[]a]", "]a]", false),
            ("[^]", "x", true),
            ("[^a]", "a", false),
            ("[a-]", "]", true),
            ("[a-]", "^", true),
            ("[a-]", "-", false),
            ("[c-a]", "b", true),
            ("[a\\]b]", "]", true),
            ("[\\", "\\", true),
            ("a\\", "a\\", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("\\a", "a", true),
            ("h[^e]llo", "hallo", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*ab", "aab", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(
                glob_match(pattern.as_bytes(), string.as_bytes(), false),
                want,
                "{pattern}"
            );
        }
    }

    #[test]
    fn case_is_folded_but_for_escapes_in_classes() {
        assert!(glob_match(b"MaxMemory*", b"maxmemory-policy", true));
        assert!(!glob_match(b"MaxMemory*", b"maxmemory-policy", false));
        assert!(glob_match(b"[M-N]x", b"mX", true));
        assert!(glob_match(b"[\\m]x", b"mx", true));
        assert!(!glob_match(b"[\\M]x", b"mx", true));
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let string = vec![b'a'; 1 << 20];
        let mut pattern = b"*a".repeat(5000);
        pattern.push(b'b');
        assert!(!glob_match(&pattern, &string, false));
        // Segments that nearly fit everywhere: 10^10 comparisons if done one by one.
        for tail in ["b*c", "?b*c"] {
            let pattern = format!("*{}{tail}", "a".repeat(10_000));
            assert!(!glob_match(pattern.as_bytes(), &string[..100_000], false));
        }
    }

    #[test]
    fn literals_have_no_special_bytes() {
        assert!(is_literal(b"news.art-^]") && is_literal(b""));
        for special in ["a*", "?", "[a", "\\a"] {
            assert!(!is_literal(special.as_bytes()));
        }
    }
}
