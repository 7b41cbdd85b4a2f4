//! Sorted set values: their two encodings, how they are read, how they change.
//!
//! A sorted set of few short members is a list of bytes in its key's entry (`compact`), what Redis
//! calls a listpack. Every other one is a [`Zset`]. A list grows into that when a directive's limit
//! is passed ([`Limits`]), and nothing grows back, as in Valkey. Only what a *STORE command makes is
//! a new value, whose encoding follows from its size alone ([`NewZset`]).
//!
//! - [`ZsetRef`] reads a sorted set, whatever its encoding. Ranges of all kinds are ranges of ranks.
//! - [`ZsetMut`] changes one where it lies.
//! - [`algebra`] has unions, intersections and differences.
//!
//! Invariants:
//! - members are in ascending order of score, then of their bytes; a rank counts from 0;
//! - no score is NaN; the small form does not tell the negative zero from the positive one;
//! - a member that is the text of an integer may be `Member::Int` or `Member::Bytes`, see
//!   `ds::listpack`.
//!
//! To add an operation that changes members, write its two arms into [`ZsetMut`].

use std::ops::Range;

use smallvec::{Array, SmallVec};

use super::{Encoding, Limits};
use crate::ds::buf::Buf;
use crate::ds::collection::Collection;
use crate::ds::entry::{EntryRef, EntrySlot, NewValue, ValueRef};
use crate::ds::hash::KeyHash;
use crate::ds::listpack::Listpack;
use crate::ds::zset::{SortedBuilder, Walk, Zset};
use crate::util::check::Checked;

pub mod algebra;
mod bounds;
mod compact;

#[cfg(test)]
mod tests;

pub use bounds::{LexBound, LexRange, ScoreRange};
use compact::Compact;
pub use compact::compare;

/// An element of a sorted set. Not comparable with `==`: see the invariants above.
pub use crate::ds::listpack::Value as Member;

/// Bytes of a small set without members.
pub(super) const EMPTY_BYTES: usize = compact::EMPTY.len();
/// From this many members on the tree is not in the cache, and it pays to ask for a leaf early.
const PREFETCH_LEN_MIN: usize = 10_000;
/// Zero bits at the end of a table's cursor, which a client's does without.
const CURSOR_GRAIN_BITS: u32 = 16;

/// The listpack that Redis has in the place of a short sorted set's bytes.
pub fn listpack_of<A: Array<Item = u8>>(bytes: &[u8]) -> SmallVec<A> {
    Compact::new(bytes).to_listpack()
}

/// A sorted set to be read.
#[derive(Clone, Copy)]
pub enum ZsetRef<'a> {
    /// Few short members.
    Compact(Compact<'a>),
    /// Any members.
    Large(&'a Zset),
}

impl<'a> ZsetRef<'a> {
    /// The sorted set that is the entry's value.
    #[inline]
    pub fn of(entry: EntryRef<'a>) -> Self {
        match entry.value() {
            ValueRef::Collection(Collection::Zset(zset)) => ZsetRef::Large(zset),
            value => {
                let bytes = value.as_bytes().expect("a sorted set is bytes or a tree");
                ZsetRef::Compact(Compact::new(bytes))
            }
        }
    }

    /// Number of members.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            ZsetRef::Compact(list) => list.len(),
            ZsetRef::Large(zset) => zset.len(),
        }
    }

    /// Whether there are no members. A key's sorted set has some.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it is what it should be.
    pub(super) fn check(self) -> Checked {
        match self {
            ZsetRef::Compact(list) => compact::check(list),
            ZsetRef::Large(zset) => zset.check(),
        }
    }

    /// The score of a member.
    #[inline]
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            ZsetRef::Compact(list) => Some(list.score(list.find(member)?)),
            ZsetRef::Large(zset) => zset.score(member),
        }
    }

    /// How many members are before this one, and its score.
    pub fn rank(self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            ZsetRef::Compact(list) => {
                let at = list.find(member)?;
                Some((list.rank_of(at), list.score(at)))
            }
            ZsetRef::Large(zset) => zset.rank(member),
        }
    }

    /// How many members have a lower score than this.
    pub fn rank_of_score(self, score: f64) -> usize {
        match self {
            ZsetRef::Large(zset) => zset.rank_of_score(score, false),
            ZsetRef::Compact(_) => {
                let scores = self.range(0, usize::MAX).map(|(_, score)| score);
                scores.take_while(|&before| before < score).count()
            }
        }
    }

    /// The ranks of the members whose scores are in a range.
    pub fn score_span(self, range: &ScoreRange) -> Range<usize> {
        if range.is_empty() {
            return 0..0;
        }
        let (start, end) = match self {
            ZsetRef::Large(zset) => (
                zset.rank_of_score(range.min, range.min_is_exclusive),
                zset.rank_of_score(range.max, !range.max_is_exclusive),
            ),
            ZsetRef::Compact(_) => {
                let mut scores = self.range(0, usize::MAX).map(|(_, score)| score);
                let start = scores.by_ref().take_while(|&score| range.is_below(score));
                let start = start.count();
                // The first one that is not below has been taken out.
                let rest = self.range(start, usize::MAX).map(|(_, score)| score);
                let inside = rest.take_while(|&score| range.is_not_above(score)).count();
                (start, start + inside)
            }
        };
        start..end.max(start)
    }

    /// The ranks of the members that are between two others, if all have one score. If not, the
    /// answer is Valkey's for a small set, and for a large one some range of ranks.
    pub fn lex_span(self, range: &LexRange<'_>, back: bool) -> Range<usize> {
        let len = self.len();
        let mut digits = itoa::Buffer::new();
        let mut is_below = |member: Member<'_>| range.is_below(member.bytes(&mut digits));
        let mut digits = itoa::Buffer::new();
        let mut is_not_above = |member: Member<'_>| range.is_not_above(member.bytes(&mut digits));
        let member_at = |rank| self.range(rank, 1).next().map(|(member, _)| member);
        let ends = member_at(0).zip(member_at(len.wrapping_sub(1)));
        if ends.is_none_or(|(first, last)| is_below(last) || !is_not_above(first)) {
            return 0..0;
        }
        if let ZsetRef::Large(zset) = self {
            let start = zset.rank_by(|member| range.is_below(member));
            let end = zset.rank_by(|member| range.is_not_above(member));
            return start..end.max(start);
        }
        if back {
            let members = self.range_back(len - 1, len);
            let end = len - members.take_while(|&(m, _)| !is_not_above(m)).count();
            let inside = self.range_back(end.wrapping_sub(1), end);
            let inside = inside.take_while(|&(m, _)| !is_below(m)).count();
            end - inside..end
        } else {
            let members = self.range(0, len);
            let start = members.take_while(|&(m, _)| is_below(m)).count();
            let inside = self.range(start, len);
            let inside = inside.take_while(|&(m, _)| is_not_above(m)).count();
            start..start + inside
        }
    }

    /// Up to `count` members in order, from a rank on.
    #[inline]
    pub fn range(self, rank: usize, count: usize) -> Iter<'a> {
        match self {
            ZsetRef::Large(zset) => Iter::Large(zset.range(rank, count)),
            ZsetRef::Compact(list) => Iter::Forward(list.iter_from(list.place(rank), count)),
        }
    }

    /// Up to `count` members downwards, from a rank on.
    pub fn range_back(self, rank: usize, count: usize) -> Iter<'a> {
        match self {
            ZsetRef::Large(zset) => Iter::Large(zset.range_back(rank, count)),
            ZsetRef::Compact(list) => {
                let count = if rank < list.len() { count } else { 0 };
                let after = list.place(rank.saturating_add(1));
                Iter::Backward(list.iter_before(after, count))
            }
        }
    }

    /// All members, in the order that costs least.
    pub fn iter(self) -> Iter<'a> {
        match self {
            ZsetRef::Large(zset) => Iter::Unordered(zset.iter()),
            ZsetRef::Compact(_) => self.range(0, usize::MAX),
        }
    }

    /// One step of ZSCAN from `cursor` on: some `count` members of a large set, all of a small one.
    /// Returns the next cursor, 0 at the end.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(Member<'_>, f64)) -> u64 {
        let ZsetRef::Large(zset) = self else {
            self.iter().for_each(|(member, score)| visit(member, score));
            return 0;
        };
        if cursor.leading_zeros() < CURSOR_GRAIN_BITS {
            // Beyond the last member.
            return 0;
        }
        let next = zset.scan(cursor << CURSOR_GRAIN_BITS, count, |member| {
            visit(Member::Bytes(member.member()), member.score());
        });
        next >> CURSOR_GRAIN_BITS
    }
}

/// Members with their scores.
pub enum Iter<'a> {
    /// Of a small set, upwards.
    Forward(compact::Forward<'a>),
    /// Of a small set, downwards.
    Backward(compact::Backward<'a>),
    /// Of a large set, in order.
    Large(Walk<'a>),
    /// Of a large set, in no order.
    Unordered(crate::ds::table::Iter<'a, crate::ds::zset::ScoredMember>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Member<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<(Member<'a>, f64)> {
        match self {
            Iter::Forward(members) => members.next(),
            Iter::Backward(members) => members.next(),
            Iter::Large(walk) => {
                let member = walk.next()?;
                Some((Member::Bytes(member.member()), member.score()))
            }
            Iter::Unordered(members) => {
                let member = members.next()?;
                Some((Member::Bytes(member.member()), member.score()))
            }
        }
    }
}

/// A score that would be NaN: the sum of two opposite infinities.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotANumber;

/// ZADD's options.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AddOptions {
    /// NX: leaves members alone that are there.
    pub only_new: bool,
    /// XX: adds no member.
    pub only_old: bool,
    /// GT: changes a score only to a greater one.
    pub only_greater: bool,
    /// LT: changes a score only to a lower one.
    pub only_less: bool,
    /// INCR: adds to the score that is there.
    pub increment: bool,
}

/// What [`ZsetMut::add`] did.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Added {
    /// Nothing, since the options say so.
    Nothing,
    /// The member is new and has this score.
    New(f64),
    /// The member has got this score.
    Changed(f64),
    /// The member had this score already.
    Same(f64),
}

impl AddOptions {
    /// The score that a member gets which has the score `old`.
    #[inline]
    fn score(self, old: Option<f64>, score: f64) -> Result<Option<f64>, NotANumber> {
        let Some(old) = old else {
            return Ok((!self.only_old).then_some(score));
        };
        if self.only_new {
            return Ok(None);
        }
        let new = if self.increment { old + score } else { score };
        if new.is_nan() {
            return Err(NotANumber);
        }
        let unwanted = self.only_less && new >= old || self.only_greater && new <= old;
        Ok((!unwanted).then_some(new))
    }
}

/// A sorted set to be changed.
pub struct ZsetMut<'a> {
    slot: EntrySlot<'a>,
    limits: &'a Limits,
}

impl<'a> ZsetMut<'a> {
    /// The sorted set that is the value of a key.
    pub fn new(slot: EntrySlot<'a>, limits: &'a Limits) -> Self {
        ZsetMut { slot, limits }
    }

    /// The set as it is now.
    #[inline]
    pub fn view(&self) -> ZsetRef<'_> {
        ZsetRef::of(self.slot.view())
    }

    #[inline]
    fn large(&mut self) -> Option<&mut Zset> {
        match self.slot.collection_mut() {
            Some(Collection::Zset(zset)) => Some(zset),
            _ => None,
        }
    }

    /// Chooses the encoding before `count` members are added, of which the longest has `longest`
    /// bytes. Valkey does not ask how many of them are there already, nor whether they differ.
    pub fn expect(&mut self, count: usize, longest: usize) {
        if exceeds(self.limits, count, longest) && self.large().is_none() {
            self.enlarge();
        }
    }

    /// ZADD of one member. The score is not NaN.
    #[inline]
    pub fn add(
        &mut self,
        member: &[u8],
        score: f64,
        options: AddOptions,
    ) -> Result<Added, NotANumber> {
        match self.large() {
            Some(zset) => add_to_large(zset, member, score, options),
            None => self.add_to_compact(member, score, options),
        }
    }

    fn add_to_compact(
        &mut self,
        member: &[u8],
        score: f64,
        options: AddOptions,
    ) -> Result<Added, NotANumber> {
        let list = Compact::new(self.slot.bytes());
        if let Some(at) = list.find(member) {
            let old = list.score(at);
            return Ok(match options.score(Some(old), score)? {
                None => Added::Nothing,
                Some(new) if new == old => Added::Same(new),
                Some(new) => {
                    compact::set_score(&mut self.slot, at, new);
                    Added::Changed(new)
                }
            });
        }
        let Some(score) = options.score(None, score)? else {
            return Ok(Added::Nothing);
        };
        let is_full = exceeds(self.limits, list.len() + 1, member.len());
        if is_full || !compact::fits(list.bytes().len(), member.len()) {
            return add_to_large(self.enlarge(), member, score, options);
        }
        compact::insert(&mut self.slot, member, score);
        Ok(Added::New(score))
    }

    /// Removes a member; false if it is not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        if let Some(zset) = self.large() {
            return zset.remove(member).is_some();
        }
        let found = Compact::new(self.slot.bytes()).find(member);
        if let Some(at) = found {
            compact::remove(&mut self.slot, at, 1);
        }
        found.is_some()
    }

    /// Removes the members of these ranks, which are there.
    pub fn remove_range(&mut self, ranks: Range<usize>) {
        let count = ranks.len();
        if let Some(zset) = self.large() {
            zset.remove_range(ranks.start, count, |_| {});
        } else if count > 0 {
            let at = Compact::new(self.slot.bytes()).place(ranks.start);
            compact::remove(&mut self.slot, at, count);
        }
    }

    /// Turns the small set into a large one.
    #[cold]
    fn enlarge(&mut self) -> &mut Zset {
        let zset = large_of(self.view().range(0, usize::MAX), self.slot.key_hash());
        let value = NewValue::Collection(Box::new(Collection::Zset(zset)));
        self.slot.set_value(Encoding::Skiplist as u8, value);
        self.large().expect("the set has just become large")
    }
}

#[inline]
fn add_to_large(
    zset: &mut Zset,
    member: &[u8],
    score: f64,
    options: AddOptions,
) -> Result<Added, NotANumber> {
    if !options.increment && zset.len() >= PREFETCH_LEN_MIN {
        zset.prefetch_score(score);
    }
    let hash = zset.hash(member);
    let Some(slot) = zset.find(hash, member) else {
        return Ok(match options.score(None, score)? {
            None => Added::Nothing,
            Some(score) => {
                zset.insert(hash, member, score);
                Added::New(score)
            }
        });
    };
    let old = zset.get(slot).score();
    Ok(match options.score(Some(old), score)? {
        None => Added::Nothing,
        Some(new) if new == old => Added::Same(new),
        Some(new) => {
            zset.set_score(slot, new);
            Added::Changed(new)
        }
    })
}

/// Whether so many members, the longest of `longest` bytes, are too many or too long for a small set.
fn exceeds(limits: &Limits, count: usize, longest: usize) -> bool {
    count as u64 > limits.zset_max_listpack_entries
        || longest as u64 > limits.zset_max_listpack_value
}

fn large_of<'m>(members: impl Iterator<Item = (Member<'m>, f64)>, key_hash: KeyHash) -> Zset {
    let mut zset = SortedBuilder::new(key_hash);
    let mut digits = itoa::Buffer::new();
    for (member, score) in members {
        zset.push(member.bytes(&mut digits), score);
    }
    zset.finish()
}

/// What a sorted set is in its key's entry before `count` members are added, the longest of `longest`
/// bytes.
pub fn empty(
    count: usize,
    longest: usize,
    limits: &Limits,
    key_hash: KeyHash,
) -> (Encoding, NewValue<'static>) {
    if exceeds(limits, count, longest) {
        let collection = Box::new(Collection::Zset(Zset::new(key_hash)));
        return (Encoding::Skiplist, NewValue::Collection(collection));
    }
    (Encoding::Listpack, NewValue::Bytes(&compact::EMPTY))
}

/// A sorted set that no key has yet.
pub enum NewZset {
    /// Few short members.
    Compact(Vec<u8>),
    /// Any members.
    Large(Zset),
}

impl NewZset {
    /// The set of `count` members that come in their order, the longest of `longest` bytes.
    pub fn of<'m>(
        members: impl Iterator<Item = (Member<'m>, f64)>,
        count: usize,
        longest: usize,
        limits: &Limits,
        key_hash: KeyHash,
    ) -> NewZset {
        let text_bytes = longest.saturating_mul(count);
        if exceeds(limits, count, longest) || !compact::fits(compact::EMPTY.len(), text_bytes) {
            return NewZset::Large(large_of(members, key_hash));
        }
        let mut bytes = compact::EMPTY.to_vec();
        members.for_each(|(member, score)| compact::push(&mut bytes, member, score));
        NewZset::Compact(bytes)
    }

    /// The small set that a valid listpack is, whose members are in their order, each once, and
    /// whose scores are the texts of numbers.
    pub fn of_listpack(list: Listpack<'_>) -> NewZset {
        NewZset::Compact(compact::of_entries(list.entries(), list.len()))
    }

    /// The encoding.
    pub fn encoding(&self) -> Encoding {
        match self {
            NewZset::Compact(_) => Encoding::Listpack,
            NewZset::Large(_) => Encoding::Skiplist,
        }
    }

    /// Hands the value over to be stored.
    pub fn store<R>(self, store: impl FnOnce(Encoding, NewValue<'_>) -> R) -> R {
        let enc = self.encoding();
        match self {
            NewZset::Compact(bytes) => store(enc, NewValue::Bytes(&bytes)),
            NewZset::Large(zset) => {
                let collection = Box::new(Collection::Zset(zset));
                store(enc, NewValue::Collection(collection))
            }
        }
    }
}
