//! The large form of a sorted set: a hash table from members to scores, and a tree of their order.
//!
//! - A member with its score is one allocation (`member`), which the table owns.
//! - The tree (`tree`) points to them in the order of scores, and of bytes where those are equal.
//!   It counts, so that ranks and what is between two scores cost O(log n), whatever the range.
//!
//! A 16-byte member costs 24 bytes, its slot in the table 12, its pointer in the tree 10: some 46,
//! at any score that people use.
//!
//! No single operation is long: the most one does is to split a segment of the table and a few
//! nodes of the tree. What works on many members ([`Zset::remove_range`], [`Builder`]) is linear.
//!
//! Invariants: table and tree hold the same members; no score is NaN.

mod leaf;
mod member;
mod node;
mod relocate;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

use std::ptr::NonNull;

use smallvec::SmallVec;

use crate::ds::hash::KeyHash;
use crate::ds::table::{Item, Slot, Table};
use crate::util::check::{Checked, holds};

use leaf::{Probe, Tie};
use member::order;
use tree::Tree;

pub use member::{MemberMut, MemberRef, ScoredMember};
pub use walk::Walk;

/// See the module.
pub struct Zset {
    /// First, since the members outlive the tree that points to them only if both go together.
    tree: Tree,
    table: Table<ScoredMember>,
}

// SAFETY: the tree points to members that the table owns, which is Send, and both move together.
unsafe impl Send for Zset {}

impl Zset {
    /// An empty set.
    pub fn new(key_hash: KeyHash) -> Zset {
        Zset {
            tree: Tree::default(),
            table: Table::new(0, key_hash),
        }
    }

    /// The number of members.
    #[inline]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether there are no members.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks at all of the set.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn check(&self) -> Checked {
        self.table.check()?;
        self.tree.check()?;
        let (len, in_order) = (self.table.len(), self.tree.len());
        holds!(
            len == in_order,
            "{len} members, {in_order} of them in order"
        );
        let mut before: Option<MemberRef<'_>> = None;
        for member in self.range(0, len) {
            let text = member.member();
            holds!(!member.score().is_nan(), "a score is NaN");
            // As many as in the table, all different, and each of them there: the same.
            let slot = self.find(self.hash(text), text);
            let is_it = slot.is_some_and(|slot| self.get(slot).raw() == member.raw());
            holds!(is_it, "{} is not in the table", text.escape_ascii());
            let ascends = before
                .is_none_or(|before| (before.order(), before.member()) < (member.order(), text));
            holds!(ascends, "{} is not in order", text.escape_ascii());
            before = Some(member);
        }
        Ok(())
    }

    /// The hash of a member, for [`Zset::find`] and [`Zset::insert`].
    #[inline]
    pub fn hash(&self, member: &[u8]) -> u64 {
        self.table.key_hash().hash(member)
    }

    /// Finds a member. The slot is good until the set changes.
    #[inline]
    pub fn find(&self, hash: u64, member: &[u8]) -> Option<Slot> {
        self.table.find(hash, member)
    }

    /// The member in a slot.
    #[inline]
    pub fn get(&self, slot: Slot) -> MemberRef<'_> {
        self.table.get(slot)
    }

    /// The score of a member.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let slot = self.find(self.hash(member), member)?;
        Some(self.get(slot).score())
    }

    /// Asks for what an insertion with this score reads, while something else is done.
    #[inline]
    pub fn prefetch_score(&self, score: f64) {
        self.tree.prefetch(order(score));
    }

    /// Adds a member that is not there; the score is not NaN.
    pub fn insert(&mut self, hash: u64, member: &[u8], score: f64) {
        let slot = self.table.insert(hash, ScoredMember::new(member, score));
        // SAFETY: the table owns the member, and only this module changes it.
        unsafe { self.tree.insert(self.table.get(slot).raw()) }
    }

    /// Gives a member another score, which is not NaN.
    pub fn set_score(&mut self, slot: Slot, score: f64) {
        let raw = self.table.get(slot).raw();
        // SAFETY: the member is live; nobody changes it before the views have been used.
        let old = unsafe { ScoredMember::borrow(raw) };
        if old.score() == score {
            return;
        }
        let table = &mut self.table;
        let mut replaced = None;
        let mut change = || {
            if !table.get_mut(slot).try_set_score(score) {
                let new = ScoredMember::new(table.get(slot).member(), score);
                replaced = Some(table.replace(slot, new));
            }
            table.get(slot).raw()
        };
        // SAFETY: the tree forgets the old pointer, or the old score, in the moment in which it
        // gets the new one. The old block is freed after that.
        unsafe {
            if !self.tree.update(old, order(score), &mut change) {
                self.tree.remove(old);
                self.tree.insert(change());
            }
        }
        drop(replaced);
    }

    /// Removes a member; its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let slot = self.find(self.hash(member), member)?;
        self.tree.remove(self.table.get(slot));
        Some(self.table.remove(slot).view().score())
    }

    /// How many members are before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let slot = self.find(self.hash(member), member)?;
        let member = self.get(slot);
        Some((self.tree.rank(&Probe::of(member)), member.score()))
    }

    /// How many members have a lower score than this, or, with `through`, an equal one.
    pub fn rank_of_score(&self, score: f64, through: bool) -> usize {
        let tie = if through { Tie::After } else { Tie::Before };
        let key = order(score);
        self.tree.rank(&Probe { key, tie })
    }

    /// How many members `before` is true of, which it is of all up to some place.
    pub fn rank_by(&self, mut before: impl FnMut(&[u8]) -> bool) -> usize {
        self.tree.rank_by(|member| before(member.member()))
    }

    /// Up to `count` members in order, from the one on that has `rank` others before it.
    pub fn range(&self, rank: usize, count: usize) -> Walk<'_> {
        self.tree.walk(rank, count)
    }

    /// As [`Zset::range`], but downwards.
    pub fn range_back(&self, rank: usize, count: usize) -> Walk<'_> {
        self.tree.walk_back(rank, count)
    }

    /// Removes up to `count` members from the one on that has `rank` others before it, and calls
    /// `removed` with each before it goes. Says how many it were.
    pub fn remove_range(
        &mut self,
        rank: usize,
        count: usize,
        mut removed: impl FnMut(MemberRef<'_>),
    ) -> usize {
        let count = count.min(self.len().saturating_sub(rank));
        let mut left = count;
        while left > 0 {
            let mut raws: SmallVec<[(u64, NonNull<u8>); 64]> = SmallVec::new();
            left -= self
                .tree
                .remove_ranks(rank, left, &mut |raw| raws.push((0, raw)));
            for (hash, raw) in &mut raws {
                // SAFETY: out of the tree, but still live and in the table, as each one is until
                // it is removed below.
                unsafe {
                    removed(ScoredMember::borrow(*raw));
                    *hash = ScoredMember::hash(*raw, &self.table.key_hash());
                }
                self.table.prefetch_bucket(*hash);
            }
            for (hash, raw) in raws {
                // SAFETY: as above.
                let slot = self.table.find(hash, unsafe { ScoredMember::key(raw) });
                drop(slot.map(|slot| self.table.remove(slot)));
            }
        }
        count
    }

    /// All members, in no useful order.
    pub fn iter(&self) -> crate::ds::table::Iter<'_, ScoredMember> {
        self.table.iter()
    }

    /// Hands out members as [`Table::scan`] does.
    pub fn scan(&self, cursor: u64, budget: usize, f: impl FnMut(MemberRef<'_>)) -> u64 {
        self.table.scan(cursor, budget, f)
    }

    /// Asks for the table line of the member with this hash or, in a second step, for the member.
    #[inline]
    pub fn prefetch(&self, hash: u64, entries: bool) {
        self.table.prefetch(hash, entries);
    }

    /// The members, to be saved.
    pub(in crate::ds) fn table(&self) -> &Table<ScoredMember> {
        &self.table
    }

    /// The members, for the walk of a snapshot, which changes none.
    pub(in crate::ds) fn table_mut(&mut self) -> &mut Table<ScoredMember> {
        &mut self.table
    }

    /// A copy of everything.
    pub fn duplicate(&self) -> Zset {
        let mut copy = SortedBuilder::new(self.table.key_hash());
        for member in self.range(0, self.len()) {
            copy.push(member.member(), member.score());
        }
        copy.finish()
    }

    /// The hash function of the set.
    pub fn key_hash(&self) -> KeyHash {
        self.table.key_hash()
    }

    /// The memory of the set in bytes, of the members as far as `samples` of them tell; 0 looks at
    /// all.
    pub fn alloc_bytes(&self, samples: usize) -> usize {
        let looked_at = match samples {
            0 => self.len(),
            samples => samples.min(self.len()),
        };
        let bytes: usize = self
            .iter()
            .take(looked_at)
            .map(MemberRef::alloc_bytes)
            .sum();
        let members = match looked_at {
            0 => 0,
            looked_at => (bytes as u128 * self.len() as u128 / looked_at as u128) as usize,
        };
        members + self.table.memory_bytes() + self.tree.memory_bytes()
    }
}

impl std::fmt::Debug for Zset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.range(0, self.len())).finish()
    }
}

/// A set whose members come in their order.
pub struct SortedBuilder {
    table: Table<ScoredMember>,
    sorted: Vec<(u64, NonNull<u8>)>,
}

impl SortedBuilder {
    /// Nothing yet.
    pub fn new(key_hash: KeyHash) -> SortedBuilder {
        SortedBuilder {
            table: Table::new(0, key_hash),
            sorted: Vec::new(),
        }
    }

    /// Adds a member that comes after all others; the score is not NaN.
    #[inline]
    pub fn push(&mut self, member: &[u8], score: f64) {
        let hash = self.table.key_hash().hash(member);
        let slot = self.table.insert(hash, ScoredMember::new(member, score));
        self.sorted.push((order(score), self.table.get(slot).raw()));
    }

    /// The set.
    pub fn finish(self) -> Zset {
        // SAFETY: the table owns the members, and only this module changes them.
        let tree = unsafe { Tree::build(&self.sorted) };
        Zset {
            tree,
            table: self.table,
        }
    }
}

/// A set that comes to be out of many scores: it is put in order at the end.
pub struct Builder {
    table: Table<ScoredMember>,
}

impl Builder {
    /// Nothing yet.
    pub fn new(key_hash: KeyHash) -> Builder {
        Builder {
            table: Table::new(0, key_hash),
        }
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Gives a member the score that `combine` makes of the one it has; it is not NaN.
    #[inline]
    pub fn put(&mut self, member: &[u8], combine: impl FnOnce(Option<f64>) -> f64) {
        let hash = self.table.key_hash().hash(member);
        let Some(slot) = self.table.find(hash, member) else {
            let score = combine(None);
            self.table.insert(hash, ScoredMember::new(member, score));
            return;
        };
        let score = combine(Some(self.table.get(slot).score()));
        if !self.table.get_mut(slot).try_set_score(score) {
            drop(self.table.replace(slot, ScoredMember::new(member, score)));
        }
    }

    /// Removes a member.
    pub fn remove(&mut self, member: &[u8]) {
        let hash = self.table.key_hash().hash(member);
        if let Some(slot) = self.table.find(hash, member) {
            drop(self.table.remove(slot));
        }
    }

    /// The set.
    pub fn finish(self) -> Zset {
        let mut members: Vec<(u64, MemberRef<'_>)> = Vec::with_capacity(self.table.len());
        members.extend(self.table.iter().map(|member| (member.order(), member)));
        members.sort_unstable_by(|(a_key, a), (b_key, b)| {
            a_key.cmp(b_key).then_with(|| a.member().cmp(b.member()))
        });
        let sorted = members.into_iter().map(|(key, member)| (key, member.raw()));
        let sorted: Vec<(u64, NonNull<u8>)> = sorted.collect();
        // SAFETY: the table owns the members, and only this module changes them.
        let tree = unsafe { Tree::build(&sorted) };
        Zset {
            tree,
            table: self.table,
        }
    }
}
