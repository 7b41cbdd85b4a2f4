//! Prefixes that overlap: a client must not be told of a key twice.
//!
//! The same pair is found that Redis names: of the first prefix that overlaps with one which the
//! client has, or else with a later one of the request, the first such. By sorting, since a request
//! may have very many.

use std::collections::BTreeSet;
use std::ops::Bound;

/// Two prefixes that overlap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overlap<'a> {
    /// One of the request, and one that the client has.
    Existing(&'a [u8], &'a [u8]),
    /// Two of the request.
    Provided(&'a [u8], &'a [u8]),
}

impl<'a> Overlap<'a> {
    /// The first in a request for `provided` of a client that has `existing`.
    pub fn find(existing: &'a BTreeSet<Box<[u8]>>, provided: &[&'a [u8]]) -> Option<Overlap<'a>> {
        let with_existing = |prefix: &&'a [u8]| first_existing(existing, prefix).is_some();
        let old = provided.iter().position(with_existing);
        let new = first_among(provided);
        match (old, new) {
            (Some(old), new) if new.is_none_or(|new| old <= new) => {
                let prefix = provided[old];
                first_existing(existing, prefix).map(|other| Overlap::Existing(prefix, other))
            }
            (_, Some(new)) => {
                let prefix = provided[new];
                let mut others = provided[new + 1..].iter();
                let other = others.find(|other| overlap(prefix, other))?;
                Some(Overlap::Provided(prefix, other))
            }
            _ => None,
        }
    }
}

fn overlap(a: &[u8], b: &[u8]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

/// The first one in order that overlaps. No two of them overlap, save with an empty one.
fn first_existing<'a>(existing: &'a BTreeSet<Box<[u8]>>, prefix: &[u8]) -> Option<&'a [u8]> {
    if existing.contains(&b""[..]) {
        return Some(b"");
    }
    let mut before = existing.range::<[u8], _>((Bound::Unbounded, Bound::Included(prefix)));
    let mut after = existing.range::<[u8], _>((Bound::Excluded(prefix), Bound::Unbounded));
    let shorter = before.next_back().filter(|other| prefix.starts_with(other));
    let longer = || after.next().filter(|other| other.starts_with(prefix));
    shorter.or_else(longer).map(|other| &**other)
}

/// The place of the first that overlaps with any other.
fn first_among(provided: &[&[u8]]) -> Option<usize> {
    let mut order: Vec<usize> = (0..provided.len()).collect();
    order.sort_by_key(|&at| provided[at]);
    // Those that begin with the same one stand side by side behind it.
    let groups = order.chunk_by({
        let mut root: Option<usize> = None;
        move |&before, &at| {
            let first = *root.get_or_insert(before);
            let is_same = provided[at].starts_with(provided[first]);
            if !is_same {
                root = Some(at);
            }
            is_same
        }
    });
    let several = groups.filter(|group| group.len() > 1);
    several.flatten().min().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    /// What Redis does, word for word: every pair.
    fn pair_by_pair<'a>(
        existing: &'a BTreeSet<Box<[u8]>>,
        provided: &[&'a [u8]],
    ) -> Option<Overlap<'a>> {
        for (at, &prefix) in provided.iter().enumerate() {
            if let Some(other) = existing.iter().find(|other| overlap(prefix, other)) {
                return Some(Overlap::Existing(prefix, other));
            }
            let mut later = provided[at + 1..].iter();
            if let Some(other) = later.find(|other| overlap(prefix, other)) {
                return Some(Overlap::Provided(prefix, other));
            }
        }
        None
    }

    #[test]
    fn the_pair_is_the_one_that_redis_names() {
        let mut rng = Rng::from_seed(3);
        let mut found = [0; 3];
        for round in 0..20_000 {
            let mut word = |len_max: u64| -> Vec<u8> {
                let len = rng.below(len_max).min(rng.below(len_max)) + round % 20 / 19;
                (0..len).map(|_| b'a' + rng.below(8) as u8).collect()
            };
            let mut existing: BTreeSet<Box<[u8]>> = BTreeSet::new();
            for _ in 0..3 {
                let word = word(6);
                let is_free =
                    word.is_empty() || !existing.iter().any(|other| overlap(other, &word));
                if is_free {
                    existing.insert(word.into());
                }
            }
            let words: Vec<Vec<u8>> = (0..4).map(|_| word(8)).collect();
            let provided: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
            let expected = pair_by_pair(&existing, &provided);
            assert_eq!(
                Overlap::find(&existing, &provided),
                expected,
                "{provided:?}"
            );
            found[match expected {
                None => 0,
                Some(Overlap::Existing(..)) => 1,
                Some(Overlap::Provided(..)) => 2,
            }] += 1;
        }
        assert!(found.iter().all(|&count| count > 100), "{found:?}");
    }
}
