//! Union, intersection and difference of sets of any encodings.
//!
//! All of them hand out members by reference as they find them, and allocate nothing for a member.
//! The one loop is `select`: it walks one set in chunks of members and tests each chunk against one
//! other set after the other, so that a member's hash is computed once however many tables there are,
//! and so that the cache misses of a chunk run side by side.
//!
//! An intersection walks the smallest set. A union walks one set after the other and leaves out what
//! is in an earlier one; many sets, or long listpacks, which are slow to search, go through a hash set
//! of references instead.
//!
//! The `..._stored` functions make the sets that the *STORE commands write, with the encoding that
//! Valkey would end up with: it follows from the order of its steps, which they describe.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::ops::ControlFlow;

use smallvec::SmallVec;

use super::{CHUNK, Encoding, Limits, Member, NewSet, PREFETCH_LEN_MIN, SetRef};
use crate::ds::hash::KeyHash;

/// So many elements of a listpack are compared in the time of one lookup in a table.
const LISTPACK_PER_LOOKUP: usize = 8;
/// So many lookups take the time of one insertion into a hash set that grows.
const LOOKUPS_PER_INSERT: usize = 3;

/// Several sets; those of missing keys are left out.
pub type Sets<'a> = SmallVec<[SetRef<'a>; 8]>;

/// Calls `visit` with each member that all sets have, until it breaks; in the order of the smallest
/// set. Without sets there are none.
pub fn intersect<'a>(
    sets: &[SetRef<'a>],
    visit: impl FnMut(Member<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let sets = by_len(sets);
    match sets.split_first() {
        Some((smallest, others)) => select(*smallest, others, true, visit),
        None => ControlFlow::Continue(()),
    }
}

/// Calls `visit` with each member of `first` that no other set has, in the order of `first`.
pub fn difference<'a>(first: SetRef<'a>, others: &[SetRef<'a>], mut visit: impl FnMut(Member<'a>)) {
    // Most members drop out early when the largest set is asked first.
    let mut others = by_len(others);
    others.reverse();
    let _ = select(first, &others, false, |member| {
        visit(member);
        ControlFlow::Continue(())
    });
}

/// Calls `visit` with each member that any set has, once. Of intsets alone they ascend.
pub fn union<'a>(sets: &[SetRef<'a>], key_hash: KeyHash, mut visit: impl FnMut(Member<'a>)) {
    if sets.iter().all(|set| matches!(set, SetRef::Intset(_))) {
        let members = sets.iter().flat_map(|set| set.iter());
        let mut ints: Vec<i64> = members.filter_map(Member::int).collect();
        ints.sort_unstable();
        ints.dedup();
        return ints.into_iter().map(Member::Int).for_each(visit);
    }
    if lookups_are_cheap(sets) {
        for (at, set) in sets.iter().enumerate() {
            let _ = select(*set, &sets[..at], false, |member| {
                visit(member);
                ControlFlow::Continue(())
            });
        }
        return;
    }
    let mut seen: HashSet<Hashed<'a>, BuildHasherDefault<Precomputed>> = HashSet::default();
    let mut digits = itoa::Buffer::new();
    for member in sets.iter().flat_map(|set| set.iter()) {
        let hash = key_hash.hash(member.bytes(&mut digits));
        if seen.insert(Hashed { member, hash }) {
            visit(member);
        }
    }
}

/// What SINTERSTORE writes. The result starts as an intset if the smallest set is one, else as a
/// listpack, which becomes an intset at last if it is nothing but integers.
pub fn intersect_stored(sets: &[SetRef<'_>], limits: &Limits, key_hash: KeyHash) -> NewSet {
    let smallest = sets.iter().min_by_key(|set| set.len());
    let enc = match smallest {
        Some(SetRef::Intset(_)) => Encoding::Intset,
        _ => Encoding::Listpack,
    };
    let mut result = NewSet::new(enc, key_hash);
    let _ = intersect(sets, |member| {
        result.push(member, limits);
        ControlFlow::Continue(())
    });
    result.prefer_intset(limits);
    result
}

/// What SUNIONSTORE writes: members are added one by one to what starts as an intset.
pub fn union_stored(sets: &[SetRef<'_>], limits: &Limits, key_hash: KeyHash) -> NewSet {
    let mut result = NewSet::new(Encoding::Intset, key_hash);
    union(sets, key_hash, |member| result.push(member, limits));
    result
}

/// What SDIFFSTORE writes: as [`union_stored`], if it is less work to look every member of the first
/// set up in the others; else the first set is copied and the others' members are removed from the
/// copy, whose encoding remains.
pub fn difference_stored(
    first: SetRef<'_>,
    others: &[SetRef<'_>],
    limits: &Limits,
    key_hash: KeyHash,
) -> NewSet {
    let mut result = NewSet::new(Encoding::Intset, key_hash);
    let all = others.iter().map(|set| set.len());
    let removing = all.fold(first.len(), usize::saturating_add);
    let looking_up = first.len().saturating_mul(others.len() + 1) / 2;
    if looking_up <= removing {
        difference(first, others, |member| result.push(member, limits));
        return result;
    }
    for member in first {
        result.push(member, limits);
    }
    let mut digits = itoa::Buffer::new();
    for member in others.iter().flat_map(|set| set.iter()) {
        result.remove(member.bytes(&mut digits));
    }
    result
}

/// The sets, smallest first; equal ones stay in order.
fn by_len<'a>(sets: &[SetRef<'a>]) -> Sets<'a> {
    let mut sets = Sets::from_slice(sets);
    sets.sort_by_key(|set| set.len());
    sets
}

/// Whether it takes less time to look every member up in all sets before its own than to put them
/// all into a hash set.
fn lookups_are_cheap(sets: &[SetRef<'_>]) -> bool {
    let (mut cost_each, mut cost, mut members) = (0usize, 0usize, 0usize);
    for set in sets {
        let len = set.len();
        cost = cost.saturating_add(len.saturating_mul(cost_each));
        members = members.saturating_add(len);
        cost_each += match set {
            SetRef::Listpack(_) => len / LISTPACK_PER_LOOKUP + 1,
            _ => 1,
        };
    }
    cost <= members.saturating_mul(LOOKUPS_PER_INSERT)
}

/// A member with the hash of its text.
struct Hashed<'a> {
    member: Member<'a>,
    hash: u64,
}

impl PartialEq for Hashed<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self.member, other.member) {
            (Member::Int(a), Member::Int(b)) => a == b,
            (member, Member::Bytes(text)) | (Member::Bytes(text), member) => member.eq_bytes(text),
        }
    }
}

impl Eq for Hashed<'_> {}

impl Hash for Hashed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes a number as its own hash.
#[derive(Default)]
struct Precomputed(u64);

impl Hasher for Precomputed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        debug_assert!(false, "only numbers are hashed");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Some members of a set, as they are looked for in others. `alive` has a bit for each member that
/// is still in the running.
struct Chunk<'m> {
    members: &'m [Member<'m>],
    texts: [&'m [u8]; CHUNK],
    hashes: [u64; CHUNK],
    alive: u32,
}

impl<'m> Chunk<'m> {
    #[inline]
    fn new(
        members: &'m [Member<'m>],
        digits: &'m mut [itoa::Buffer; CHUNK],
        key_hash: Option<KeyHash>,
    ) -> Self {
        let mut chunk = Self {
            members,
            texts: [&[]; CHUNK],
            hashes: [0; CHUNK],
            alive: (1 << members.len()) - 1,
        };
        for (at, (member, digits)) in members.iter().zip(digits).enumerate() {
            let text = member.bytes(digits);
            chunk.texts[at] = text;
            if let Some(key_hash) = key_hash {
                chunk.hashes[at] = key_hash.hash(text);
            }
        }
        chunk
    }

    /// The indices of the members that are alive.
    #[inline]
    fn alive(&self) -> impl Iterator<Item = usize> + use<> {
        let mut bits = self.alive;
        std::iter::from_fn(move || {
            let at = bits.trailing_zeros();
            bits &= bits.checked_sub(1)?;
            Some(at as usize)
        })
    }

    /// Leaves those alive that are in the set, or those that are not if they are not `wanted` there.
    #[inline]
    fn test(&mut self, set: SetRef<'_>, wanted: bool) {
        match set {
            SetRef::Intset(set) => {
                let members = self.members;
                let found = |at: usize| members[at].int().is_some_and(|int| set.contains(int));
                self.keep(|at| found(at) == wanted);
            }
            SetRef::Listpack(_) => {
                let texts = self.texts;
                self.keep(|at| set.contains(texts[at]) == wanted);
            }
            SetRef::Table(table) => {
                let (texts, hashes) = (self.texts, self.hashes);
                if table.len() >= PREFETCH_LEN_MIN {
                    self.alive()
                        .for_each(|at| table.prefetch_bucket(hashes[at]));
                    self.alive().for_each(|at| table.prefetch_entry(hashes[at]));
                }
                self.keep(|at| table.find(hashes[at], texts[at]).is_some() == wanted);
            }
        }
    }

    #[inline]
    fn keep(&mut self, keeps: impl Fn(usize) -> bool) {
        let kept = self.alive().filter(|&at| keeps(at));
        self.alive = kept.fold(0, |kept, at| kept | 1 << at);
    }
}

/// Calls `visit` with each member of `walked` that is in all of `others` (`wanted`), or in none of
/// them (not `wanted`), until it breaks.
fn select<'a>(
    walked: SetRef<'a>,
    others: &[SetRef<'a>],
    wanted: bool,
    mut visit: impl FnMut(Member<'a>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut members = walked.iter();
    if others.is_empty() {
        return members.try_for_each(visit);
    }
    let key_hash = others.iter().find_map(|set| match set {
        SetRef::Table(table) => Some(table.key_hash()),
        _ => None,
    });
    let mut digits: [_; CHUNK] = std::array::from_fn(|_| itoa::Buffer::new());
    loop {
        let some: SmallVec<[Member<'a>; CHUNK]> = members.by_ref().take(CHUNK).collect();
        let mut chunk = Chunk::new(&some, &mut digits, key_hash);
        for &other in others {
            if chunk.alive == 0 {
                break;
            }
            chunk.test(other, wanted);
        }
        for at in chunk.alive() {
            visit(some[at])?;
        }
        if some.len() < CHUNK {
            return ControlFlow::Continue(());
        }
    }
}
