//! Unions, intersections and differences of sorted sets, and of sets, whose members count as 1.
//!
//! Scores are multiplied by weights and put together in Valkey's order, the smallest input first,
//! which shows where sums of floats are rounded. Whatever would be NaN is 0.

use super::{Member, NewZset, ZsetRef, compare};
use crate::ds::hash::KeyHash;
use crate::ds::zset::{Builder, Zset};
use crate::value::Limits;
use crate::value::set::{self, SetRef};

/// What is put together.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A key that is not there.
    Nothing,
    /// A sorted set.
    Zset(ZsetRef<'a>),
    /// A set.
    Set(SetRef<'a>),
}

/// A source with the weight of its scores.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Where the members are.
    pub source: Source<'a>,
    /// What the scores are multiplied by.
    pub weight: f64,
}

/// What becomes of two scores of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aggregate {
    /// Their sum.
    Sum,
    /// The lower one.
    Min,
    /// The higher one.
    Max,
}

/// The members of the result, in order.
pub enum Outcome<'a> {
    /// Members of the inputs.
    Pairs(Vec<(Member<'a>, f64)>),
    /// New members.
    Large(Zset),
}

impl Aggregate {
    #[inline]
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Aggregate::Sum => number(a + b),
            Aggregate::Min if b < a => b,
            Aggregate::Max if b > a => b,
            Aggregate::Min | Aggregate::Max => a,
        }
    }
}

/// Zero for what is not a number.
#[inline]
fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

impl<'a> Source<'a> {
    /// Number of members.
    pub fn len(self) -> usize {
        match self {
            Source::Nothing => 0,
            Source::Zset(zset) => zset.len(),
            Source::Set(set) => set.len(),
        }
    }

    /// Whether there are no members.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Source::Nothing => None,
            Source::Zset(zset) => zset.score(member),
            Source::Set(set) => set.contains(member).then_some(1.0),
        }
    }

    /// All members with their scores, in no particular order.
    fn iter(self) -> Members<'a> {
        match self {
            Source::Nothing => Members::Nothing,
            Source::Zset(zset) => Members::Zset(zset.iter()),
            Source::Set(set) => Members::Set(set.iter()),
        }
    }
}

/// The members of a source.
enum Members<'a> {
    Nothing,
    Zset(super::Iter<'a>),
    Set(set::Iter<'a>),
}

impl<'a> Iterator for Members<'a> {
    type Item = (Member<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Member<'a>, f64)> {
        match self {
            Members::Nothing => None,
            Members::Zset(members) => members.next(),
            Members::Set(members) => members.next().map(|member| (member, 1.0)),
        }
    }
}

/// All members of all inputs.
pub fn union<'a>(inputs: &mut [Input<'a>], how: Aggregate, key_hash: KeyHash) -> Outcome<'a> {
    inputs.sort_by_key(|input| input.source.len());
    let mut all = Builder::new(key_hash);
    let mut digits = itoa::Buffer::new();
    for input in &*inputs {
        for (member, score) in input.source.iter() {
            let score = number(input.weight * score);
            all.put(member.bytes(&mut digits), |found| match found {
                Some(found) => how.of(found, score),
                None => score,
            });
        }
    }
    Outcome::Large(all.finish())
}

/// The members that all inputs have.
pub fn intersection<'a>(inputs: &mut [Input<'a>], how: Aggregate) -> Outcome<'a> {
    inputs.sort_by_key(|input| input.source.len());
    let mut pairs = Vec::new();
    let mut digits = itoa::Buffer::new();
    if let Some((first, others)) = inputs.split_first() {
        for (member, score) in first.source.iter() {
            let bytes = member.bytes(&mut digits);
            let score = number(first.weight * score);
            let all = others.iter().try_fold(score, |score, other| {
                let found = other.source.score(bytes)?;
                // Valkey does not look at this product by itself: what is no number makes a sum zero.
                Some(how.of(score, other.weight * found))
            });
            if let Some(score) = all {
                pairs.push((member, score));
            }
        }
    }
    Outcome::sorted(pairs)
}

/// How many members all inputs have, counted up to `most`.
pub fn intersection_len(sources: &mut [Source<'_>], most: usize) -> usize {
    sources.sort_by_key(|source| source.len());
    let Some((first, others)) = sources.split_first() else {
        return 0;
    };
    let mut digits = itoa::Buffer::new();
    let members = first.iter().filter(|(member, _)| {
        let bytes = member.bytes(&mut digits);
        others.iter().all(|other| other.score(bytes).is_some())
    });
    members.take(most).count()
}

/// The members that only the first input has.
pub fn difference<'a>(sources: &[Source<'a>], key_hash: KeyHash) -> Outcome<'a> {
    let Some((first, others)) = sources.split_first() else {
        return Outcome::Pairs(Vec::new());
    };
    let mut digits = itoa::Buffer::new();
    // Looking every member up everywhere, or striking every other member off.
    let lookups = first.len().saturating_mul(others.len());
    let strikes = others
        .iter()
        .fold(first.len(), |sum, other| sum.saturating_add(other.len()));
    if lookups <= strikes {
        let members = first.iter().filter(|(member, _)| {
            let bytes = member.bytes(&mut digits);
            others.iter().all(|other| other.score(bytes).is_none())
        });
        return Outcome::sorted(members.collect());
    }
    let mut rest = Builder::new(key_hash);
    for (member, score) in first.iter() {
        rest.put(member.bytes(&mut digits), |_| score);
    }
    for other in others {
        for (member, _) in other.iter() {
            rest.remove(member.bytes(&mut digits));
        }
    }
    Outcome::Large(rest.finish())
}

impl<'a> Outcome<'a> {
    fn sorted(mut pairs: Vec<(Member<'a>, f64)>) -> Outcome<'a> {
        pairs.sort_unstable_by(|&a, &b| compare(a, b));
        Outcome::Pairs(pairs)
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match self {
            Outcome::Pairs(pairs) => pairs.len(),
            Outcome::Large(zset) => zset.len(),
        }
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` with the members in their order.
    pub fn for_each(&self, mut visit: impl FnMut(Member<'_>, f64)) {
        match self {
            Outcome::Pairs(pairs) => pairs
                .iter()
                .for_each(|&(member, score)| visit(member, score)),
            Outcome::Large(zset) => ZsetRef::Large(zset)
                .range(0, zset.len())
                .for_each(|(member, score)| visit(member, score)),
        }
    }

    /// The value that a key gets.
    pub fn into_new(self, limits: &Limits, key_hash: KeyHash) -> NewZset {
        let count = self.len();
        let mut longest = 0;
        // Among more than a small set takes it does not matter.
        if count as u64 <= limits.zset_max_listpack_entries {
            self.for_each(|member, _| longest = longest.max(member.len_bytes()));
        }
        match self {
            Outcome::Pairs(pairs) => {
                NewZset::of(pairs.into_iter(), count, longest, limits, key_hash)
            }
            Outcome::Large(zset) if super::exceeds(limits, count, longest) => NewZset::Large(zset),
            Outcome::Large(zset) => {
                let members = ZsetRef::Large(&zset).range(0, count);
                NewZset::of(members, count, longest, limits, key_hash)
            }
        }
    }
}
