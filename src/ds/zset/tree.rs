//! The order of a sorted set: a B+tree of members by score, then bytes, that counts.
//!
//! Leaves hold pointers to members (`leaf`), inner nodes counts (`node`). Every operation is one or
//! two walks from the root, which has a height of 4 at ten million members. The way down makes room
//! where it is needed before it goes on, so that nothing has to go back up after an insertion.
//!
//! Invariants: members are in ascending order, each at most once; no node but the root is empty;
//! all leaves are at the same height; the tree's members are live and unchanged.

use std::ptr::NonNull;

use crate::ds::entry::size_class;
use crate::util::check::{Checked, holds};

use super::leaf::{LEAF_MEMBERS, Leaf, Probe, Tie, Word};
use super::member::MemberRef;
use super::node::{self, Child, INNER_CHILDREN, Inner, Node, Target, View, ViewMut};
use super::walk::Walk;

/// How full nodes are made that are built at once, percent: room for a few that come later.
const BUILD_PERCENT: usize = 90;

/// See the module.
#[derive(Default)]
pub(super) struct Tree {
    root: Option<Node>,
    len: usize,
}

impl Tree {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The root.
    pub(super) fn root_mut(&mut self) -> Option<&mut Node> {
        self.root.as_mut()
    }

    /// Adds a member that is not there.
    ///
    /// # Safety
    /// The member is live, and neither changed nor freed until it is removed or the tree dropped.
    pub(super) unsafe fn insert(&mut self, raw: NonNull<u8>) {
        let word = Word::new(raw);
        // SAFETY: the caller's.
        let probe = Probe::of(unsafe { word.member() });
        self.len += 1;
        let root = self
            .root
            .get_or_insert_with(|| Node::leaf(Leaf::new(probe.key, None)));
        if root.is_full() {
            let mut inner = Inner::new();
            let old = std::mem::replace(root, Node::leaf(Leaf::new(0, None)));
            inner.push(Child::new(old));
            *root = Node::inner(inner);
        }
        let mut node = root;
        loop {
            match node.view_mut() {
                ViewMut::Leaf(leaf) => return leaf.insert(&probe, word),
                ViewMut::Inner(inner) => node = inner.enter(&probe, word),
            }
        }
    }

    /// Takes a member out that is there.
    pub(super) fn remove(&mut self, member: MemberRef<'_>) {
        let target = Target::Member(Probe::of(member));
        self.remove_some(target, &mut |word| debug_assert!(word.is(member.raw())));
    }

    /// Takes up to `count` members from `rank` on out, some of them if there are many; the first
    /// is there. Says how many it were.
    pub(super) fn remove_ranks(
        &mut self,
        rank: usize,
        count: usize,
        removed: &mut impl FnMut(NonNull<u8>),
    ) -> usize {
        debug_assert!(rank < self.len);
        self.remove_some(Target::Ranks { rank, count }, &mut |word| {
            removed(word.raw())
        })
    }

    fn remove_some(&mut self, target: Target<'_>, removed: &mut impl FnMut(Word)) -> usize {
        let Some(root) = &mut self.root else {
            return 0;
        };
        let count = match root.view_mut() {
            ViewMut::Leaf(leaf) => node::remove_from_leaf(leaf, target, removed),
            ViewMut::Inner(inner) => inner.remove_members(target, removed),
        };
        self.len -= count;
        while let Some(root) = &mut self.root
            && let ViewMut::Inner(inner) = root.view_mut()
            && inner.len() <= 1
        {
            self.root = inner.take_only_child();
        }
        if self.len == 0 {
            self.root = None;
        }
        count
    }

    /// Calls `change` if the member stays in its leaf when its score gets the order number `key`,
    /// and puts what `change` returns where it belongs; else returns false.
    ///
    /// # Safety
    /// What `change` returns is as [`Tree::insert`] wants it, with that key and the same bytes.
    pub(super) unsafe fn update(
        &mut self,
        member: MemberRef<'_>,
        key: u64,
        change: impl FnOnce() -> NonNull<u8>,
    ) -> bool {
        let old = Probe::of(member);
        let new = Probe { key, ..old };
        let mut node = self.root.as_mut();
        while let Some(found) = node {
            match found.view_mut() {
                ViewMut::Inner(inner) => {
                    let at = inner.find(&old);
                    node = Some(inner.child_mut(at));
                }
                ViewMut::Leaf(leaf) => {
                    let at = leaf.find(&old);
                    let place = leaf.new_place(at, &new);
                    if let Some(place) = place {
                        leaf.replace(at, place, Word::new(change()), key);
                    }
                    return place.is_some();
                }
            }
        }
        false
    }

    /// Asks for the leaf where scores of this order number are.
    pub(super) fn prefetch(&self, key: u64) {
        let probe = Probe {
            key,
            tie: Tie::After,
        };
        let mut node = self.root.as_ref();
        while let Some(View::Inner(inner)) = node.map(Node::view) {
            node = inner.child_if_inner(inner.find(&probe));
        }
    }

    /// How many members lie before a place.
    #[inline]
    pub(super) fn rank(&self, probe: &Probe<'_>) -> usize {
        self.descend(|inner| inner.find(probe), |leaf| leaf.find(probe))
    }

    /// How many members `before` is true of, which it is up to some place.
    pub(super) fn rank_by(&self, mut before: impl FnMut(MemberRef<'_>) -> bool) -> usize {
        let before = std::cell::RefCell::new(&mut before);
        self.descend(
            |inner| inner.find_by(&mut *before.borrow_mut()),
            |leaf| leaf.find_by(&mut *before.borrow_mut()),
        )
    }

    #[inline]
    fn descend(&self, child: impl Fn(&Inner) -> usize, place: impl Fn(&Leaf) -> usize) -> usize {
        let Some(mut node) = self.root.as_ref() else {
            return 0;
        };
        let mut rank = 0;
        loop {
            match node.view() {
                View::Leaf(leaf) => return rank + place(leaf),
                View::Inner(inner) => {
                    let at = child(inner);
                    rank += inner.members_before(at);
                    node = inner.child(at);
                }
            }
        }
    }

    /// The `count` members from `rank` on, or fewer where the tree ends.
    pub(super) fn walk(&self, rank: usize, count: usize) -> Walk<'_> {
        let count = count.min(self.len.saturating_sub(rank));
        Walk::new(self.root.as_ref(), rank, count, false)
    }

    /// The `count` members from `rank` on downwards, or fewer where the tree begins.
    pub(super) fn walk_back(&self, rank: usize, count: usize) -> Walk<'_> {
        let count = if rank < self.len {
            count.min(rank + 1)
        } else {
            0
        };
        Walk::new(self.root.as_ref(), rank, count, true)
    }

    /// The tree of members that are in order, each there once, with their scores' order numbers.
    ///
    /// # Safety
    /// As for [`Tree::insert`], of all of them.
    pub(super) unsafe fn build(members: &[(u64, NonNull<u8>)]) -> Tree {
        let len = members.len();
        let leaves = len.div_ceil(LEAF_MEMBERS * BUILD_PERCENT / 100);
        let mut nodes: Vec<Child> = Vec::with_capacity(leaves);
        for at in 0..leaves {
            let range = len * at / leaves..len * (at + 1) / leaves;
            let leaf = Leaf::of(&members[range]);
            nodes.push(Child::new(Node::leaf(leaf)));
        }
        while nodes.len() > 1 {
            let len = nodes.len();
            let inners = len.div_ceil(INNER_CHILDREN * BUILD_PERCENT / 100);
            let mut below = nodes.into_iter();
            nodes = Vec::with_capacity(inners);
            for at in 0..inners {
                let count = len * (at + 1) / inners - len * at / inners;
                let mut inner = Inner::new();
                below
                    .by_ref()
                    .take(count)
                    .for_each(|child| inner.push(child));
                nodes.push(Child::new(Node::inner(inner)));
            }
        }
        Tree {
            root: nodes.pop().map(|child| child.node),
            len,
        }
    }

    /// The memory of the tree in bytes, without the members.
    pub(super) fn memory_bytes(&self) -> usize {
        const LEAF_BYTES: usize = size_class(size_of::<Leaf>());
        const INNER_BYTES: usize = size_class(size_of::<Inner>());
        fn of(node: &Node) -> usize {
            match node.view() {
                View::Leaf(_) => LEAF_BYTES,
                View::Inner(inner) => {
                    let children = (0..inner.len()).map(|at| inner.child(at));
                    let below: usize = match inner.child(0).view() {
                        View::Leaf(_) => inner.len() * LEAF_BYTES,
                        View::Inner(_) => children.map(of).sum(),
                    };
                    below + INNER_BYTES
                }
            }
        }
        self.root.as_ref().map_or(0, of)
    }

    /// Whether all of it is as it should be; the number of leaves.
    pub(super) fn check(&self) -> Checked<usize> {
        let mut height = 0;
        let mut node = self.root.as_ref();
        while let Some(View::Inner(inner)) = node.map(Node::view) {
            let children = inner.len();
            holds!(
                children > usize::from(height == 0),
                "a node with {children} children"
            );
            height += 1;
            node = Some(inner.child(0));
        }
        let (members, leaves) = match self.root.as_ref().map(Node::view) {
            None => (0, 0),
            Some(View::Leaf(leaf)) => {
                leaf.check()?;
                (leaf.len(), 1)
            }
            Some(View::Inner(inner)) => (inner.members(), inner.check(height)?),
        };
        let said = self.len;
        holds!(said == members, "{said} members in order are {members}");
        Ok(leaves)
    }
}
