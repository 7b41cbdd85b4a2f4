//! Whether elements that came from outside are all different, as those of sets and the fields of
//! hashes must be.
//!
//! The hashes are sorted, so that many elements cost no more than n log n, and equal ones stand side
//! by side. They are keyed: nobody can prepare elements whose hashes are all the same.

use smallvec::SmallVec;

use crate::ds::hash::KeyHash;
use crate::ds::listpack::Value;

/// So many elements need no allocation.
const INLINE_LEN: usize = 32;

/// Whether no two elements have the same text.
pub fn are_unique<'a>(elements: impl Iterator<Item = Value<'a>>, key_hash: KeyHash) -> bool {
    let mut digits = itoa::Buffer::new();
    let mut hashed: SmallVec<[(u64, Value<'a>); INLINE_LEN]> = elements
        .map(|element| (key_hash.hash(element.bytes(&mut digits)), element))
        .collect();
    hashed.sort_unstable_by_key(|&(hash, _)| hash);
    let mut rest = &hashed[..];
    while let [(hash, element), more @ ..] = rest {
        let same_hash = more.iter().take_while(|(other, _)| other == hash);
        let text = element.bytes(&mut digits);
        if same_hash.into_iter().any(|(_, other)| other.eq_bytes(text)) {
            return false;
        }
        rest = more;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ds::hash::HashFunction;

    fn check(elements: &[Value<'_>]) -> bool {
        are_unique(
            elements.iter().copied(),
            KeyHash::process(HashFunction::Fast),
        )
    }

    #[test]
    fn texts_are_compared_not_the_ways_they_are_stored() {
        assert!(check(&[]));
        assert!(check(&[
            Value::Int(1),
            Value::Bytes(b"a"),
            Value::Bytes(b"")
        ]));
        assert!(!check(&[
            Value::Int(12),
            Value::Bytes(b"x"),
            Value::Bytes(b"12")
        ]));
        assert!(check(&[Value::Int(12), Value::Bytes(b"012")]));
        assert!(!check(&[Value::Bytes(b"a"), Value::Bytes(b"a")]));
    }

    #[test]
    fn one_pair_among_many_is_found_wherever_it_is() {
        let texts: Vec<Vec<u8>> = (0..500).map(|n| format!("element:{n}").into()).collect();
        let all: Vec<Value<'_>> = texts.iter().map(|text| Value::Bytes(text)).collect();
        assert!(check(&all));
        for twice in [0, 1, 31, 32, 250, 498] {
            let mut with_pair = all.clone();
            with_pair[499] = all[twice];
            assert!(!check(&with_pair), "{twice}");
        }
    }
}
