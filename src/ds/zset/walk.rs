//! Walking through the members in order, either way.

use smallvec::SmallVec;

use super::leaf::Leaf;
use super::member::MemberRef;
use super::node::{Inner, Node, View};

/// How many members ahead are asked for, each being a cache miss.
const AHEAD: usize = 6;

/// Members in order, from a rank on. See [`Zset::range`](super::Zset::range).
pub struct Walk<'a> {
    /// The inner nodes above the leaf, with the place of the child that leads to it.
    path: SmallVec<[(&'a Inner, usize); 6]>,
    leaf: Option<&'a Leaf>,
    at: usize,
    left: usize,
    back: bool,
}

impl<'a> Walk<'a> {
    /// `count` members from `rank` on; they are there.
    pub(super) fn new(root: Option<&'a Node>, rank: usize, count: usize, back: bool) -> Walk<'a> {
        let mut walk = Walk {
            path: SmallVec::new(),
            leaf: None,
            at: rank,
            left: count,
            back,
        };
        let mut node = root.filter(|_| count > 0);
        while let Some(found) = node {
            match found.view() {
                View::Leaf(leaf) => {
                    walk.enter(leaf);
                    break;
                }
                View::Inner(inner) => {
                    let (child, rank) = inner.find_rank(walk.at);
                    walk.at = rank;
                    walk.path.push((inner, child));
                    node = Some(inner.child(child));
                }
            }
        }
        walk
    }

    /// Begins a leaf at the place `at`.
    fn enter(&mut self, leaf: &'a Leaf) {
        self.leaf = Some(leaf);
        let words = leaf.words();
        let ahead = if self.back {
            &words[(self.at + 1).saturating_sub(AHEAD)..=self.at]
        } else {
            &words[self.at..words.len().min(self.at + AHEAD)]
        };
        let needed = ahead.len().min(self.left);
        let ahead = if self.back {
            &ahead[ahead.len() - needed..]
        } else {
            &ahead[..needed]
        };
        ahead.iter().for_each(|word| word.prefetch());
    }

    /// Goes to the next leaf. There is one.
    #[cold]
    fn next_leaf(&mut self) {
        while let Some((inner, at)) = self.path.pop() {
            let next = if self.back {
                at.checked_sub(1)
            } else {
                Some(at + 1).filter(|&next| next < inner.len())
            };
            let Some(next) = next else { continue };
            self.path.push((inner, next));
            let mut node = inner.child(next);
            loop {
                match node.view() {
                    View::Leaf(leaf) => {
                        self.at = if self.back { leaf.len() - 1 } else { 0 };
                        return self.enter(leaf);
                    }
                    View::Inner(inner) => {
                        let child = if self.back { inner.len() - 1 } else { 0 };
                        self.path.push((inner, child));
                        node = inner.child(child);
                    }
                }
            }
        }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = MemberRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<MemberRef<'a>> {
        if self.left == 0 {
            return None;
        }
        let leaf = self.leaf?;
        let member = leaf.member(self.at);
        self.left -= 1;
        if self.left == 0 {
            return Some(member);
        }
        let words = leaf.words();
        let (next, ahead) = if self.back {
            (self.at.checked_sub(1), self.at.checked_sub(AHEAD))
        } else {
            let next = self.at + 1;
            (
                Some(next).filter(|&next| next < words.len()),
                Some(self.at + AHEAD),
            )
        };
        if self.left >= AHEAD
            && let Some(word) = ahead.and_then(|ahead| words.get(ahead))
        {
            word.prefetch();
        }
        match next {
            Some(next) => self.at = next,
            None => self.next_leaf(),
        }
        Some(member)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Walk<'_> {}
