//! Nodes of the tree: [`Node`], which owns a leaf or an inner node, and [`Inner`].
//!
//! An inner node knows of every child how many members are in it, the first of them, and that
//! one's order number: so ranks are sums, and the way down touches no member unless scores are
//! equal. All children of a node are of the same kind.
//!
//! Children are made and merged here. A leaf that is full shares with a neighbour that has room;
//! two full neighbours become three, so that leaves that fill in random order are some 80 % full;
//! one that grows at its end, where the tree ends, is left full and a new one begun. A node with
//! few entries shares with a neighbour, or becomes one with it.

use std::marker::PhantomData;
use std::ptr::NonNull;

use smallvec::SmallVec;

use super::leaf::{Grid, LEAF_MEMBERS, Leaf, Probe, Word};
use super::member::MemberRef;
use crate::ds::table::prefetch;
use crate::util::check::{Checked, holds};

/// Children of a full inner node, which has 2 KiB.
pub(super) const INNER_CHILDREN: usize = 63;
/// A neighbour with at least so much room takes members of a full leaf.
const LEAF_ROOM_MIN: usize = LEAF_MEMBERS / 4;
/// Nodes with fewer entries than this one in so many of the most share with a neighbour...
const ENTRIES_MIN_DIVISOR: usize = 3;
/// ... or become one if that leaves them filled so far, percent.
const MERGED_PERCENT: usize = 75;

/// An owned leaf or inner node: a pointer whose lowest bit is set for an inner one.
pub(super) struct Node {
    tagged: NonNull<u8>,
    owns: PhantomData<(Box<Leaf>, Box<Inner>)>,
}

/// What a node is.
pub(super) enum View<'a> {
    Leaf(&'a Leaf),
    Inner(&'a Inner),
}

/// What a node is, to be changed.
pub(super) enum ViewMut<'a> {
    Leaf(&'a mut Leaf),
    Inner(&'a mut Inner),
}

const INNER_TAG: usize = 1;
/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

impl Node {
    pub(super) fn leaf(leaf: Box<Leaf>) -> Node {
        Node {
            tagged: NonNull::from(Box::leak(leaf)).cast(),
            owns: PhantomData,
        }
    }

    pub(super) fn inner(inner: Box<Inner>) -> Node {
        let raw: NonNull<u8> = NonNull::from(Box::leak(inner)).cast();
        // SAFETY: the node is longer than a byte.
        let tagged = unsafe { raw.add(INNER_TAG) };
        Node {
            tagged,
            owns: PhantomData,
        }
    }

    #[inline]
    fn is_inner(&self) -> bool {
        self.tagged.as_ptr().addr() & INNER_TAG != 0
    }

    #[inline]
    pub(super) fn view(&self) -> View<'_> {
        // SAFETY: the tag, which nodes aligned to 8 have room for, says what the box was.
        unsafe {
            if self.is_inner() {
                View::Inner(self.tagged.sub(INNER_TAG).cast().as_ref())
            } else {
                View::Leaf(self.tagged.cast().as_ref())
            }
        }
    }

    #[inline]
    pub(super) fn view_mut(&mut self) -> ViewMut<'_> {
        // SAFETY: as in `view`; the node is borrowed exclusively.
        unsafe {
            if self.is_inner() {
                ViewMut::Inner(self.tagged.sub(INNER_TAG).cast().as_mut())
            } else {
                ViewMut::Leaf(self.tagged.cast().as_mut())
            }
        }
    }

    /// Lends the box of a leaf or of an inner node, which may be exchanged for another.
    pub(super) fn with_box(&mut self, work: impl FnOnce(Result<&mut Box<Leaf>, &mut Box<Inner>>)) {
        let is_inner = self.is_inner();
        // SAFETY: the box is owned, and the tag says what it was; it is taken out and put back, or what it was
        // exchanged for. A panic between the two would leave the box owned twice, so the box there is forgotten.
        unsafe {
            if is_inner {
                let raw = self.tagged.sub(INNER_TAG).cast::<Inner>();
                let mut boxed = std::mem::ManuallyDrop::new(Box::from_raw(raw.as_ptr()));
                work(Err(&mut boxed));
                let raw: NonNull<u8> = NonNull::from(&mut **boxed).cast();
                self.tagged = raw.add(INNER_TAG);
            } else {
                let raw = self.tagged.cast::<Leaf>();
                let mut boxed = std::mem::ManuallyDrop::new(Box::from_raw(raw.as_ptr()));
                work(Ok(&mut boxed));
                self.tagged = NonNull::from(&mut **boxed).cast();
            }
        }
    }

    /// Asks for all of a leaf, as a search meets its lines one after the other.
    #[inline]
    fn prefetch_leaf(&self) {
        if !self.is_inner() {
            for at in (0..size_of::<Leaf>()).step_by(LINE_BYTES) {
                prefetch(self.tagged.as_ptr().wrapping_add(at));
            }
        }
    }

    /// Whether there is no room for one more entry.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        match self.view() {
            View::Leaf(leaf) => leaf.is_full(),
            View::Inner(inner) => inner.len == INNER_CHILDREN,
        }
    }

    /// Members of a leaf, children of an inner node.
    fn entries(&self) -> usize {
        match self.view() {
            View::Leaf(leaf) => leaf.len(),
            View::Inner(inner) => inner.len,
        }
    }

    fn entries_max(&self) -> usize {
        if self.is_inner() {
            INNER_CHILDREN
        } else {
            LEAF_MEMBERS
        }
    }

    fn as_leaf(&self) -> Option<&Leaf> {
        match self.view() {
            View::Leaf(leaf) => Some(leaf),
            View::Inner(_) => None,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // SAFETY: the box is owned, and the tag says what it was. An inner node drops its children
        // in turn; the tree is a few nodes high.
        unsafe {
            if self.is_inner() {
                let raw = self.tagged.sub(INNER_TAG).cast::<Inner>();
                drop(Box::from_raw(raw.as_ptr()));
            } else {
                drop(Box::from_raw(self.tagged.cast::<Leaf>().as_ptr()));
            }
        }
    }
}

/// A child of an inner node, with what the node knows of it.
pub(super) struct Child {
    pub(super) node: Node,
    pub(super) members: usize,
    pub(super) first_key: u64,
    pub(super) first: Word,
}

impl Child {
    /// A node that is not empty.
    pub(super) fn new(node: Node) -> Child {
        let (members, first_key, first) = match node.view() {
            View::Leaf(leaf) => (leaf.len(), leaf.member(0).order(), leaf.words()[0]),
            View::Inner(inner) => (inner.members(), inner.first_keys[0], inner.firsts[0]),
        };
        Child {
            node,
            members,
            first_key,
            first,
        }
    }
}

/// See the module.
pub(super) struct Inner {
    len: usize,
    members: [usize; INNER_CHILDREN],
    first_keys: [u64; INNER_CHILDREN],
    firsts: [Word; INNER_CHILDREN],
    children: [Option<Node>; INNER_CHILDREN],
}

/// Which members to remove.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// The one that is there.
    Member(Probe<'a>),
    /// At most `count` ones from `rank` on.
    Ranks { rank: usize, count: usize },
}

impl Inner {
    pub(super) fn new() -> Box<Inner> {
        Box::new(Inner {
            len: 0,
            members: [0; INNER_CHILDREN],
            first_keys: [0; INNER_CHILDREN],
            firsts: [Word::NONE; INNER_CHILDREN],
            children: [const { None }; INNER_CHILDREN],
        })
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Members below the node.
    pub(super) fn members(&self) -> usize {
        self.members[..self.len].iter().sum()
    }

    /// Members below the children before `at`.
    #[inline]
    pub(super) fn members_before(&self, at: usize) -> usize {
        self.members[..at].iter().sum()
    }

    /// The child at a place below `len`.
    #[inline]
    pub(super) fn child(&self, at: usize) -> &Node {
        let child = self.children[at].as_ref().expect("a child below len");
        child.prefetch_leaf();
        child
    }

    #[inline]
    pub(super) fn child_mut(&mut self, at: usize) -> &mut Node {
        let child = self.children[at].as_mut().expect("a child below len");
        child.prefetch_leaf();
        child
    }

    /// The child at a place below `len`, if it is an inner node; a leaf is asked for only.
    #[inline]
    pub(super) fn child_if_inner(&self, at: usize) -> Option<&Node> {
        Some(self.child(at)).filter(|child| child.is_inner())
    }

    /// The only child of a node that has no other.
    pub(super) fn take_only_child(&mut self) -> Option<Node> {
        debug_assert!(self.len <= 1);
        self.len = 0;
        self.children[0].take()
    }

    /// The first member of the child at a place below `len`.
    #[inline]
    fn first(&self, at: usize) -> MemberRef<'_> {
        first(&self.firsts[..self.len][at])
    }

    /// The child in which a place is: the last one that begins before it or there, else the first.
    #[inline]
    pub(super) fn find(&self, probe: &Probe<'_>) -> usize {
        let keys = &self.first_keys[1..self.len.max(1)];
        let lower = keys.partition_point(|&key| key < probe.key);
        match keys.get(lower) {
            Some(&key) if key == probe.key => {
                let alike = keys[lower..].partition_point(|&key| key == probe.key);
                lower
                    + self.firsts[lower + 1..lower + 1 + alike]
                        .partition_point(|word| probe.is_at_or_after(first(word).member()))
            }
            _ => lower,
        }
    }

    /// The last child whose first member `before` is true of, which it is up to some place.
    pub(super) fn find_by(&self, before: &mut impl FnMut(MemberRef<'_>) -> bool) -> usize {
        self.firsts[1..self.len.max(1)].partition_point(|word| before(first(word)))
    }

    /// The child that has the member of a rank, and the rank in it.
    #[inline]
    pub(super) fn find_rank(&self, rank: usize) -> (usize, usize) {
        let mut left = rank;
        for (at, &members) in self.members[..self.len].iter().enumerate() {
            if left < members {
                return (at, left);
            }
            left -= members;
        }
        debug_assert!(false, "a rank below the number of members");
        (self.len - 1, left)
    }

    /// The child for a member that is about to be inserted, counted there, with room for it.
    pub(super) fn enter(&mut self, probe: &Probe<'_>, word: Word) -> &mut Node {
        let mut at = self.find(probe);
        if self.child(at).is_full() {
            self.make_room(at, probe, word);
            at = self.find(probe);
        }
        self.members[at] += 1;
        let begins = at == 0
            && (probe.key < self.first_keys[0]
                || probe.key == self.first_keys[0]
                    && !probe.is_at_or_after(self.first(0).member()));
        if begins {
            self.first_keys[0] = probe.key;
            self.firsts[0] = word;
        }
        self.child_mut(at)
    }

    /// Adds a child, for which there is room.
    pub(super) fn insert(&mut self, at: usize, child: Child) {
        let len = self.len;
        self.members.copy_within(at..len, at + 1);
        self.first_keys.copy_within(at..len, at + 1);
        self.firsts.copy_within(at..len, at + 1);
        self.children[at..=len].rotate_right(1);
        self.members[at] = child.members;
        self.first_keys[at] = child.first_key;
        self.firsts[at] = child.first;
        self.children[at] = Some(child.node);
        self.len += 1;
    }

    /// Adds a child at the end.
    pub(super) fn push(&mut self, child: Child) {
        self.insert(self.len, child);
    }

    fn remove(&mut self, at: usize) -> Child {
        let len = self.len;
        let child = Child {
            node: self.children[at].take().expect("a child below len"),
            members: self.members[at],
            first_key: self.first_keys[at],
            first: self.firsts[at],
        };
        self.members.copy_within(at + 1..len, at);
        self.first_keys.copy_within(at + 1..len, at);
        self.firsts.copy_within(at + 1..len, at);
        self.children[at..len].rotate_left(1);
        self.len -= 1;
        child
    }

    /// Makes room around the full child at `at`, where `word` is about to be inserted. There is
    /// room for one more child.
    fn make_room(&mut self, at: usize, probe: &Probe<'_>, word: Word) {
        let Some(leaf) = self.child(at).as_leaf() else {
            return self.split_inner(at, probe);
        };
        let ends = leaf.find(probe) == leaf.len() && at + 1 == self.len;
        let begins = leaf.find(probe) == 0 && at == 0;
        if ends || begins {
            let child = Child {
                node: Node::leaf(Leaf::new(probe.key, Some(leaf))),
                members: 0,
                first_key: probe.key,
                first: word,
            };
            return self.insert(at + usize::from(ends), child);
        }
        let Some(neighbour) = self.smaller_neighbour(at) else {
            return self.share(at, 1, 2);
        };
        let has_room = LEAF_MEMBERS - self.child(neighbour).entries() >= LEAF_ROOM_MIN;
        self.share(at.min(neighbour), 2, if has_room { 2 } else { 3 });
    }

    /// Splits a full inner child: in the middle, or before the last child if it grows there.
    fn split_inner(&mut self, at: usize, probe: &Probe<'_>) {
        let grows_at_end = at + 1 == self.len
            && matches!(self.child(at).view(), View::Inner(inner)
                if inner.find(probe) + 1 == inner.len);
        if !grows_at_end {
            return self.share(at, 1, 2);
        }
        let ViewMut::Inner(inner) = self.child_mut(at).view_mut() else {
            return;
        };
        let mut last = Inner::new();
        last.push(inner.remove(inner.len - 1));
        let child = Child::new(Node::inner(last));
        self.members[at] -= child.members;
        self.insert(at + 1, child);
    }

    /// The neighbour of a child that has fewer entries.
    fn smaller_neighbour(&self, at: usize) -> Option<usize> {
        let entries = |at: &usize| self.child(*at).entries();
        let before = at.checked_sub(1);
        let after = Some(at + 1).filter(|&after| after < self.len);
        before.into_iter().chain(after).min_by_key(entries)
    }

    /// Spreads what is in `count` children from `at` on evenly over `shares` ones. There is room
    /// for them.
    fn share(&mut self, at: usize, count: usize, shares: usize) {
        match self.child(at).view() {
            View::Leaf(_) => self.share_leaves(at, count, shares),
            View::Inner(_) => self.share_inners(at, count, shares),
        }
    }

    fn share_leaves(&mut self, at: usize, count: usize, shares: usize) {
        let mut words: SmallVec<[(Word, Grid); 128]> = SmallVec::new();
        let mut leaves: SmallVec<[Node; 4]> = SmallVec::new();
        for _ in 0..count {
            let mut node = self.remove(at).node;
            if let ViewMut::Leaf(leaf) = node.view_mut() {
                let grid = leaf.grid();
                words.extend(leaf.words().iter().map(|&word| (word, grid)));
                leaf.clear();
            }
            leaves.push(node);
        }
        leaves.truncate(shares);
        while leaves.len() < shares {
            let leaf = Leaf::new(0, leaves[0].as_leaf());
            leaves.insert(1, Node::leaf(leaf));
        }
        let total = words.len();
        for (share, mut node) in leaves.into_iter().enumerate() {
            if let ViewMut::Leaf(leaf) = node.view_mut() {
                let range = total * share / shares..total * (share + 1) / shares;
                leaf.fill(words[range].iter());
            }
            self.insert(at + share, Child::new(node));
        }
    }

    fn share_inners(&mut self, at: usize, count: usize, shares: usize) {
        let mut children: Vec<Child> = Vec::with_capacity(count * INNER_CHILDREN);
        for _ in 0..count {
            let mut node = self.remove(at).node;
            if let ViewMut::Inner(inner) = node.view_mut() {
                while inner.len > 0 {
                    children.push(inner.remove(0));
                }
            }
        }
        let total = children.len();
        let mut children = children.into_iter();
        for share in 0..shares {
            let range = total * share / shares..total * (share + 1) / shares;
            let mut inner = Inner::new();
            children
                .by_ref()
                .take(range.len())
                .for_each(|child| inner.push(child));
            self.insert(at + share, Child::new(Node::inner(inner)));
        }
    }

    /// Removes members that lie in one leaf, and says how many it were.
    pub(super) fn remove_members(
        &mut self,
        target: Target<'_>,
        removed: &mut impl FnMut(Word),
    ) -> usize {
        let (at, target) = match target {
            Target::Member(probe) => (self.find(&probe), target),
            Target::Ranks { rank, count } => {
                let (at, rank) = self.find_rank(rank);
                (at, Target::Ranks { rank, count })
            }
        };
        let (count, first) = match self.child_mut(at).view_mut() {
            ViewMut::Leaf(leaf) => {
                let count = remove_from_leaf(leaf, target, removed);
                (count, leaf.words().first().copied())
            }
            ViewMut::Inner(inner) => {
                let count = inner.remove_members(target, removed);
                (count, inner.firsts[..inner.len].first().copied())
            }
        };
        self.members[at] -= count;
        if let Some(word) = first
            && !word.is(self.firsts[at].raw())
        {
            self.firsts[at] = word;
            self.first_keys[at] = self.first(at).order();
        }
        self.mend(at);
        count
    }

    /// Merges the child at `at` with a neighbour, or takes some entries of it, if it has become
    /// too small.
    fn mend(&mut self, at: usize) {
        let (entries, entries_max) = (self.child(at).entries(), self.child(at).entries_max());
        if entries == 0 {
            drop(self.remove(at));
            return;
        }
        if entries >= entries_max / ENTRIES_MIN_DIVISOR {
            return;
        }
        let Some(neighbour) = self.smaller_neighbour(at) else {
            return;
        };
        let total = entries + self.child(neighbour).entries();
        let merges = total * 100 <= entries_max * MERGED_PERCENT;
        self.share(at.min(neighbour), 2, if merges { 1 } else { 2 });
    }

    /// Whether all below is as it should be; the number of leaves.
    pub(super) fn check(&self, height: usize) -> Checked<usize> {
        let mut leaves = 0;
        for at in 0..self.len {
            let child = self.child(at);
            let (members, first) = match child.view() {
                View::Leaf(leaf) => {
                    holds!(height == 1, "a leaf at height {height}");
                    leaf.check()?;
                    leaves += 1;
                    holds!(leaf.len() > 0, "a leaf without members");
                    (leaf.len(), leaf.member(0))
                }
                View::Inner(inner) => {
                    holds!(height > 1, "an inner node at height {height}");
                    leaves += inner.check(height - 1)?;
                    (inner.members(), inner.first(0))
                }
            };
            let said = self.members[at];
            holds!(
                said == members && members > 0,
                "{said} members are {members}"
            );
            holds!(
                self.firsts[at].is(first.raw()) && self.first_keys[at] == first.order(),
                "a child does not begin with what its parent says"
            );
        }
        let mut others = self.children[self.len..].iter();
        holds!(others.all(Option::is_none), "a child behind the last");
        Ok(leaves)
    }
}

/// Removes members of a leaf, and says how many it were.
pub(super) fn remove_from_leaf(
    leaf: &mut Leaf,
    target: Target<'_>,
    removed: &mut impl FnMut(Word),
) -> usize {
    let (at, count) = match target {
        Target::Member(probe) => (leaf.find(&probe), 1),
        Target::Ranks { rank, count } => (rank, count),
    };
    let count = count.min(leaf.len() - at);
    leaf.remove(at, count, removed);
    count
}

/// The member of a word in an inner node.
#[inline]
fn first(word: &Word) -> MemberRef<'_> {
    // SAFETY: words in use are those of live members, as in a leaf.
    unsafe { word.member() }
}
