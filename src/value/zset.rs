//! Sorted set values: their two encodings, how they are read, how they change.
//!
//! A sorted set of few short members is a listpack in its key's entry: member, score, member, score,
//! in their order. Every other one is a [`Zset`]. A listpack grows into that when a directive's limit
//! is passed ([`Limits`]), and nothing grows back, as in Valkey. Only what a *STORE command makes is
//! a new value, whose encoding follows from its size alone ([`NewZset`]).
//!
//! - [`ZsetRef`] reads a sorted set, whatever its encoding. Ranges of all kinds are ranges of ranks.
//! - [`ZsetMut`] changes one where it lies.
//! - [`algebra`] has unions, intersections and differences.
//!
//! Invariants:
//! - members are in ascending order of score, then of their bytes; a rank counts from 0;
//! - no score is NaN; the listpack does not tell the negative zero from the positive one;
//! - a member that is the text of an integer may be `Member::Int` or `Member::Bytes`, see
//!   `ds::listpack`.
//!
//! To add an operation that changes members, write its two arms into [`ZsetMut`].

use std::cmp::Ordering;
use std::ops::Range;

use super::{Encoding, Limits};
use crate::ds::buf::Buf;
use crate::ds::collection::Collection;
use crate::ds::entry::{EntryRef, EntrySlot, NewValue, ValueRef};
use crate::ds::hash::KeyHash;
use crate::ds::listpack::{self, Listpack};
use crate::ds::zset::{SortedBuilder, Walk, Zset};
use crate::util::num;

pub mod algebra;
mod bounds;

#[cfg(test)]
mod tests;

pub use bounds::{LexBound, LexRange, ScoreRange};

/// An element of a sorted set. Not comparable with `==`: see the invariants above.
pub use crate::ds::listpack::Value as Member;

/// Elements of a listpack that one member takes.
const PAIR: usize = 2;
/// Whole scores up to this one are integers in a listpack; so are all that `num::fmt_double` writes
/// as such.
const WHOLE_MAX: f64 = (1u64 << 62) as f64;
/// Zero bits at the end of a table's cursor, which a client's does without.
const CURSOR_GRAIN_BITS: u32 = 16;

/// A sorted set to be read.
#[derive(Clone, Copy)]
pub enum ZsetRef<'a> {
    /// Few short members.
    Listpack(Listpack<'a>),
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
                ZsetRef::Listpack(Listpack::new(bytes))
            }
        }
    }

    /// Number of members.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            ZsetRef::Listpack(list) => list.len() / PAIR,
            ZsetRef::Large(zset) => zset.len(),
        }
    }

    /// Whether there are no members. A key's sorted set has some.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The score of a member.
    #[inline]
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            ZsetRef::Listpack(list) => Some(score_at(list, find(list, member)?)),
            ZsetRef::Large(zset) => zset.score(member),
        }
    }

    /// How many members are before this one, and its score.
    pub fn rank(self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            ZsetRef::Listpack(list) => {
                let found = find(list, member)?;
                let mut elements = 0;
                let mut at = list.first();
                while let Some(before) = at.filter(|&at| at < found) {
                    elements += 1;
                    at = list.next(before);
                }
                Some((elements / PAIR, score_at(list, found)))
            }
            ZsetRef::Large(zset) => zset.rank(member),
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
            ZsetRef::Listpack(_) => {
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
    /// answer is Valkey's for a listpack, and for a large set some range of ranks.
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
            ZsetRef::Listpack(list) => {
                let left = count.min(self.len().saturating_sub(rank));
                let at = pair_at(list, rank).unwrap_or(list.end());
                let elements = list.iter_from(at);
                Iter::Listpack { elements, left }
            }
        }
    }

    /// Up to `count` members downwards, from a rank on.
    pub fn range_back(self, rank: usize, count: usize) -> Iter<'a> {
        match self {
            ZsetRef::Large(zset) => Iter::Large(zset.range_back(rank, count)),
            ZsetRef::Listpack(list) => {
                let at = pair_at(list, rank);
                let left = count.min(rank.saturating_add(1));
                Iter::ListpackBack { list, at, left }
            }
        }
    }

    /// All members, in the order that costs least.
    pub fn iter(self) -> Iter<'a> {
        match self {
            ZsetRef::Large(zset) => Iter::Unordered(zset.iter()),
            ZsetRef::Listpack(_) => self.range(0, usize::MAX),
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
    /// Of a listpack, upwards.
    Listpack {
        /// The elements from the next one on.
        elements: listpack::Iter<'a>,
        /// Members to come.
        left: usize,
    },
    /// Of a listpack, downwards.
    ListpackBack {
        /// All of it.
        list: Listpack<'a>,
        /// Where the next member is.
        at: Option<usize>,
        /// Members to come.
        left: usize,
    },
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
            Iter::Listpack { elements, left } => {
                *left = left.checked_sub(1)?;
                let member = elements.next()?;
                Some((member, score_of(elements.next()?)))
            }
            Iter::ListpackBack { list, at, left } => {
                *left = left.checked_sub(1)?;
                let member_at = (*at)?;
                *at = list
                    .prev(member_at)
                    .and_then(|score_at| list.prev(score_at));
                Some((list.value(member_at), score_at(*list, member_at)))
            }
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

/// How two members with their scores order.
pub fn compare(a: (Member<'_>, f64), b: (Member<'_>, f64)) -> Ordering {
    let by_score = a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal);
    by_score.then_with(|| match (a.0, b.0) {
        (Member::Bytes(a), Member::Bytes(b)) => a.cmp(b),
        (a, b) => {
            let (mut a_digits, mut b_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
            a.bytes(&mut a_digits).cmp(b.bytes(&mut b_digits))
        }
    })
}

/// Where a member is in a listpack.
#[inline]
fn find(list: Listpack<'_>, member: &[u8]) -> Option<usize> {
    list.find(listpack::HEADER_BYTES, member, PAIR - 1)
}

/// Where the member of a rank is in a listpack.
fn pair_at(list: Listpack<'_>, rank: usize) -> Option<usize> {
    let index = rank.checked_mul(PAIR)?;
    list.seek(i64::try_from(index).ok()?)
}

/// The score of the member at `at`.
#[inline]
fn score_at(list: Listpack<'_>, at: usize) -> f64 {
    list.next(at).map_or(0.0, |at| score_of(list.value(at)))
}

/// The score that an element of a listpack is.
#[inline]
fn score_of(element: Member<'_>) -> f64 {
    match element {
        Member::Int(int) => int as f64,
        // Only what came from a file can be anything else than a float's text.
        Member::Bytes(text) => num::parse_f64(text).unwrap_or_default(),
    }
}

/// The element that a score is in a listpack; the text is written to `text`.
#[inline]
fn score_element(score: f64, text: &mut Vec<u8>) -> Member<'_> {
    if score.fract() == 0.0 && score.abs() <= WHOLE_MAX {
        return Member::Int(score as i64);
    }
    num::fmt_double(score, text);
    Member::from(&text[..])
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
            None => self.add_to_listpack(member, score, options),
        }
    }

    fn add_to_listpack(
        &mut self,
        member: &[u8],
        score: f64,
        options: AddOptions,
    ) -> Result<Added, NotANumber> {
        let list = Listpack::new(self.slot.bytes());
        if let Some(at) = find(list, member) {
            let old = score_at(list, at);
            return Ok(match options.score(Some(old), score)? {
                None => Added::Nothing,
                Some(new) if new == old => Added::Same(new),
                Some(new) => {
                    self.change_in_listpack(at, member, new);
                    Added::Changed(new)
                }
            });
        }
        let Some(score) = options.score(None, score)? else {
            return Ok(Added::Nothing);
        };
        if exceeds(self.limits, list.len() / PAIR + 1, member.len())
            || !listpack::fits(list.bytes().len(), member.len())
        {
            return add_to_large(self.enlarge(), member, score, options);
        }
        let at = place(list, Member::from(member), score);
        let mut text = Vec::new();
        let pair = [Member::from(member), score_element(score, &mut text)];
        listpack::splice(&mut self.slot, at, 0, pair);
        Ok(Added::New(score))
    }

    /// Gives the member at `at` another score.
    fn change_in_listpack(&mut self, at: usize, member: &[u8], score: f64) {
        let list = Listpack::new(self.slot.bytes());
        let new = (Member::from(member), score);
        let score_place = list.next(at).unwrap_or(list.end());
        let before = list.prev(at).and_then(|at| list.prev(at));
        let after = list.next(score_place);
        let pair = |at: usize| (list.value(at), score_at(list, at));
        let stays = before.is_none_or(|at| compare(pair(at), new).is_lt())
            && after.is_none_or(|at| compare(pair(at), new).is_gt());
        let mut text = Vec::new();
        if stays {
            let element = score_element(score, &mut text);
            return listpack::replace(&mut self.slot, score_place, element);
        }
        listpack::delete(&mut self.slot, at, PAIR);
        let at = place(Listpack::new(self.slot.bytes()), new.0, score);
        let pair = [new.0, score_element(score, &mut text)];
        listpack::splice(&mut self.slot, at, 0, pair);
    }

    /// Removes a member; false if it is not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        if let Some(zset) = self.large() {
            return zset.remove(member).is_some();
        }
        let found = find(Listpack::new(self.slot.bytes()), member);
        if let Some(at) = found {
            listpack::delete(&mut self.slot, at, PAIR);
        }
        found.is_some()
    }

    /// Removes the members of these ranks, which are there.
    pub fn remove_range(&mut self, ranks: Range<usize>) {
        let count = ranks.len();
        if let Some(zset) = self.large() {
            zset.remove_range(ranks.start, count, |_| {});
        } else if let Some(at) = pair_at(Listpack::new(self.slot.bytes()), ranks.start) {
            listpack::delete(&mut self.slot, at, count.saturating_mul(PAIR));
        }
    }

    /// Turns the listpack into a large set.
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

/// Where a new member belongs in a listpack.
fn place(list: Listpack<'_>, member: Member<'_>, score: f64) -> usize {
    let new = (member, score);
    // Scores are often times or counters, which grow.
    let last = list.last().and_then(|at| list.prev(at));
    if last.is_none_or(|at| compare((list.value(at), score_at(list, at)), new).is_lt()) {
        return list.end();
    }
    let mut elements = list.iter();
    loop {
        let at = elements.at();
        let (Some(member), Some(element)) = (elements.next(), elements.next()) else {
            return list.end();
        };
        if compare((member, score_of(element)), new).is_gt() {
            return at;
        }
    }
}

/// Whether so many members, the longest of `longest` bytes, are too many or too long for a listpack.
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
    (Encoding::Listpack, NewValue::Bytes(&listpack::EMPTY))
}

/// A sorted set that no key has yet.
pub enum NewZset {
    /// Few short members.
    Listpack(Vec<u8>),
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
        if exceeds(limits, count, longest) || !listpack::fits(listpack::EMPTY.len(), text_bytes) {
            return NewZset::Large(large_of(members, key_hash));
        }
        let mut bytes = listpack::EMPTY.to_vec();
        let mut text = Vec::new();
        for (member, score) in members {
            text.clear();
            let pair = [member, score_element(score, &mut text)];
            listpack::append_all(&mut bytes, pair);
        }
        NewZset::Listpack(bytes)
    }

    /// The encoding.
    pub fn encoding(&self) -> Encoding {
        match self {
            NewZset::Listpack(_) => Encoding::Listpack,
            NewZset::Large(_) => Encoding::Skiplist,
        }
    }

    /// Hands the value over to be stored.
    pub fn store<R>(self, store: impl FnOnce(Encoding, NewValue<'_>) -> R) -> R {
        let enc = self.encoding();
        match self {
            NewZset::Listpack(bytes) => store(enc, NewValue::Bytes(&bytes)),
            NewZset::Large(zset) => {
                let collection = Box::new(Collection::Zset(zset));
                store(enc, NewValue::Collection(collection))
            }
        }
    }
}
