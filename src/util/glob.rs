//! Redis's glob-style patterns (KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET, ACL), byte for byte.
//!
//! A pattern is a row of elements, each of which takes exactly one byte (`?`, `[..]`, `\x`, a
//! literal), and of stars between them. So it is cut at the stars into segments of fixed length: the
//! first is anchored at the start, the last at the end, and each one between takes its leftmost fit.
//! That choice is never wrong, hence no recursion and no backtracking over more than one segment:
//! a hostile `*a*a*a..b` costs linear time. Literal segments go through a substring search.
//!
//! Kept on purpose, because clients can see them: an unclosed class ends with the pattern, `[]`
//! matches nothing and `[^]` anything, `[a-]` is a range up to `]`, a byte escaped inside a class
//! keeps its case even when the match ignores case, and no star matches an empty string.

use memchr::memmem;

/// Whether `string` as a whole matches `pattern`. With `nocase`, ASCII letters match both cases.
///
/// Time: linear for patterns of literals and stars; at worst `pattern.len() * string.len()`.
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
        while at < pattern.len() && pattern[at] != b'*' {
            literal &= !matches!(pattern[at], b'?' | b'[' | b'\\');
            at += Element::parse(&pattern[at..]).width();
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
        (0..=last).find(|&start| self.matches_at(&string[start..], nocase))
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
