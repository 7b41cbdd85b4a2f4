//! Moving a sorted set's members and nodes to other addresses, see [`Mover`].
//!
//! First the table with the members is gone through, then the tree, leaf by leaf in the order of ranks. The highest bit
//! of a cursor says which; a table's cursor is even, and has room for it when it is halved.

use super::member::ScoredMember;
use super::node::{Node, ViewMut};
use super::tree::Tree;
use super::{Item, Zset};
use crate::ds::mover::Mover;

/// Leaves of a step.
const STEP_LEAVES: usize = 8;
/// The cursor is a rank.
const IN_TREE: u64 = 1 << 63;

impl Zset {
    /// Moves what lies badly, a step of it.
    pub fn relocate(&mut self, cursor: u64, mover: &mut Mover<'_>) -> u64 {
        if self.table.is_saving() {
            return 0;
        }
        if cursor & IN_TREE != 0 {
            return self.relocate_nodes((cursor & !IN_TREE) as usize, mover);
        }
        let tree = &mut self.tree;
        let mut before_free = |old, new| {
            // SAFETY: the old block is live until this returns, the new one is its copy, which the table owns from now
            // on. The tree forgets the old pointer in the moment in which it gets the new one.
            unsafe {
                let old = ScoredMember::borrow(old);
                if !tree.update(old, old.order(), || new) {
                    tree.remove(old);
                    tree.insert(new);
                }
            }
        };
        let cursor = self
            .table
            .relocate(cursor << 1, mover, &mut before_free, &mut |_, _, _| {});
        match cursor {
            0 => IN_TREE,
            cursor => cursor >> 1,
        }
    }

    fn relocate_nodes(&mut self, rank: usize, mover: &mut Mover<'_>) -> u64 {
        let mut rank = rank;
        for _ in 0..STEP_LEAVES {
            rank = self.tree.relocate(rank, mover);
            if rank >= self.tree.len() {
                return 0;
            }
        }
        rank as u64 | IN_TREE
    }
}

impl Tree {
    /// Moves the nodes on the way to the member of a rank that lie badly; the first rank of the next leaf.
    fn relocate(&mut self, rank: usize, mover: &mut Mover<'_>) -> usize {
        let len = self.len();
        if rank >= len {
            return len;
        }
        let mut node = self.root_mut();
        let mut left = rank;
        while let Some(found) = node {
            found.relocate(mover);
            match found.view_mut() {
                ViewMut::Leaf(leaf) => return rank - left + leaf.len(),
                ViewMut::Inner(inner) => {
                    let (at, rest) = inner.find_rank(left);
                    left = rest;
                    node = Some(inner.child_mut(at));
                }
            }
        }
        len
    }
}

impl Node {
    fn relocate(&mut self, mover: &mut Mover<'_>) {
        self.with_box(|node| match node {
            Ok(leaf) => mover.move_box(leaf),
            Err(inner) => mover.move_box(inner),
        });
    }
}
