//! The patterns of BY and GET: which key, or field of which key, belongs to an element.
//!
//! The first star of a pattern stands for the element; what follows `->` behind it is a field. `#` is
//! the element itself, and a pattern with neither finds nothing.

use memchr::memmem;

use crate::db::{Access, Lookup};
use crate::spec::args::c_str;
use crate::value::hash::HashRef;
use crate::value::{Type, string};

/// A pattern of BY or GET.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pattern<'a> {
    /// The element itself.
    Element,
    /// The same for every element, so no key.
    Constant,
    /// A key, or a field of it.
    Key {
        /// What stands before the element.
        prefix: &'a [u8],
        /// What stands behind it.
        suffix: &'a [u8],
        /// The field.
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    pub(super) fn new(pattern: &'a [u8]) -> Self {
        // Star and arrow are looked for as C does: not beyond a NUL.
        let seen = c_str(pattern);
        if seen == b"#" {
            return Pattern::Element;
        }
        let Some(star) = memchr::memchr(b'*', seen) else {
            return Pattern::Constant;
        };
        let behind = star + 1;
        let arrow = memmem::find(&seen[behind..], b"->").map(|arrow| behind + arrow);
        // An arrow that nothing follows is part of the key.
        let arrow = arrow.filter(|arrow| seen.len() > arrow + 2);
        Pattern::Key {
            prefix: &pattern[..star],
            suffix: &pattern[behind..arrow.unwrap_or(pattern.len())],
            field: arrow.map(|arrow| &pattern[arrow + 2..]),
        }
    }

    /// Whether it makes keys out of elements.
    pub(super) fn is_key(&self) -> bool {
        matches!(self, Pattern::Key { .. })
    }

    /// The text that belongs to an element: the value of a string, or of a hash's field. `key` and
    /// `digits` are room for keys and integers.
    pub(super) fn find<'t>(
        &self,
        db: &'t mut Access<'_>,
        element: &'t [u8],
        key: &mut Vec<u8>,
        digits: &'t mut itoa::Buffer,
    ) -> Option<&'t [u8]> {
        let (prefix, suffix, field) = match *self {
            Pattern::Element => return Some(element),
            Pattern::Constant => return None,
            Pattern::Key {
                prefix,
                suffix,
                field,
            } => (prefix, suffix, field),
        };
        key.clear();
        key.extend_from_slice(prefix);
        key.extend_from_slice(element);
        key.extend_from_slice(suffix);
        let now_ms = db.now_ms();
        if field.is_some() && db.is_logged() && may_have_expired(db, key) {
            db.effects.pass_expired();
        }
        let entry = db.find(key, Lookup::Read)?;
        let value = match (Type::from_nibble(entry.type_()), field) {
            (Type::String, None) => entry.value(),
            (Type::Hash, Some(field)) => HashRef::new(entry.value(), now_ms).get(field)?,
            _ => return None,
        };
        Some(string::bytes(value, digits))
    }
}

/// Whether fields of a hash may have expired that are still stored.
fn may_have_expired(db: &mut Access<'_>, key: &[u8]) -> bool {
    let now_ms = db.now_ms();
    let found = db.find(key, Lookup::Silent);
    found.is_some_and(|entry| {
        let is_hash = entry.type_() == Type::Hash as u8;
        is_hash && HashRef::new(entry.value(), now_ms).may_have_expired()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_cut_at_star_and_arrow() {
        let key = |prefix, suffix, field| Pattern::Key {
            prefix,
            suffix,
            field,
        };
        for (pattern, parts) in [
            (&b"#"[..], Pattern::Element),
            (b"#\0x", Pattern::Element),
            (b"##", Pattern::Constant),
            (b"", Pattern::Constant),
            (b"nosort", Pattern::Constant),
            (b"a->b", Pattern::Constant),
            (b"a\0*", Pattern::Constant),
            (b"*", key(b"", b"", None)),
            (b"w_*", key(b"w_", b"", None)),
            (b"a*b*c", key(b"a", b"b*c", None)),
            (b"#*", key(b"#", b"", None)),
            (b"h*->f", key(b"h", b"", Some(b"f"))),
            (b"a->b*c->d->e", key(b"a->b", b"c", Some(b"d->e"))),
            (b"h*->", key(b"h", b"->", None)),
            (b"h*->\0f", key(b"h", b"->\0f", None)),
            (b"h*->f\0g", key(b"h", b"", Some(b"f\0g"))),
            (b"h*\0->f", key(b"h", b"\0->f", None)),
        ] {
            assert_eq!(Pattern::new(pattern), parts, "{pattern:?}");
        }
    }
}
