//! How a snapshot walks a list that goes on changing.
//!
//! A snapshot begins by numbering the nodes. A node that has a number is unsaved; it is copied aside
//! before it changes or goes, and new nodes have none. So the walk finds every number once, in the
//! list or among the copies, in order. A list that is dropped before the walk has come to its end
//! goes to its [`ListHeir`] instead, where the walk goes on.
//!
//! Invariant: without a snapshot no node has a number; numbers ascend from head to tail.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::node::Node;
use super::{End, Quicklist};
use crate::ds::collection::Element;

/// Where a list goes that is dropped while it is being saved.
pub type ListHeir = Arc<Mutex<Option<Quicklist>>>;

/// A snapshot that is going on.
pub(super) struct Saving {
    /// Nodes that have changed since, by their number.
    old: BTreeMap<u32, Node>,
    /// The number that the walk looks for next.
    next: u32,
    /// The last number.
    last: u32,
    /// Where the walk has found the last node.
    hint: usize,
    heir: ListHeir,
}

impl Quicklist {
    /// Begins a snapshot. Takes time in proportion to the number of nodes, some nanoseconds each.
    pub fn begin_save(&mut self) -> ListHeir {
        debug_assert!(self.saving.is_none(), "one snapshot at a time");
        let mut last = 0;
        for node in &mut self.nodes {
            last += 1;
            node.number = last;
        }
        let heir = ListHeir::default();
        self.saving = Some(Box::new(Saving {
            old: BTreeMap::new(),
            next: 1,
            last,
            hint: 0,
            heir: heir.clone(),
        }));
        heir
    }

    /// Ends a snapshot whose walk has come to its end.
    pub fn end_save(&mut self) {
        self.saving = None;
    }

    /// The number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Hands out all nodes as they are.
    pub fn for_each_node(&self, f: &mut dyn FnMut(Element<'_>)) {
        self.nodes.iter().for_each(|node| node.hand_out(f));
    }

    /// Whether the snapshot that is going on is the one that `heir` came from.
    pub fn is_saved_for(&self, heir: &ListHeir) -> bool {
        let saving = self.saving.as_ref();
        saving.is_some_and(|saving| Arc::ptr_eq(&saving.heir, heir))
    }

    /// Which snapshot is going on: a number that no other one has meanwhile.
    pub fn saving_id(&self) -> Option<usize> {
        let saving = self.saving.as_ref();
        saving.map(|saving| Arc::as_ptr(&saving.heir).addr())
    }

    /// Hands out up to `budget` unsaved nodes, from head to tail; false at the end.
    pub fn save_slice(&mut self, budget: usize, f: &mut dyn FnMut(Element<'_>)) -> bool {
        let Some(saving) = &mut self.saving else {
            return false;
        };
        for _ in 0..budget {
            if saving.next > saving.last {
                return false;
            }
            if let Some(node) = saving.old.remove(&saving.next) {
                node.hand_out(f);
            } else if let Some(at) = find(&self.nodes, saving.next, saving.hint) {
                saving.hint = at;
                self.nodes[at].number = 0;
                self.nodes[at].hand_out(f);
            } else {
                debug_assert!(false, "a numbered node is lost");
            }
            saving.next += 1;
        }
        saving.next <= saving.last
    }

    /// Copies nodes aside that may be about to change, as far as they are there and unsaved.
    #[inline]
    pub(super) fn keep(&mut self, nodes: Range<usize>) {
        if let Some(saving) = &mut self.saving {
            let end = nodes.end.min(self.nodes.len());
            for at in nodes.start.min(end)..end {
                keep_node(saving, &mut self.nodes[at]);
            }
        }
    }

    /// As [`Quicklist::keep`], of the node at an end.
    #[inline]
    pub(super) fn keep_end(&mut self, end: End) {
        if self.saving.is_some() {
            let at = match end {
                End::Head => 0,
                End::Tail => self.nodes.len().saturating_sub(1),
            };
            self.keep(at..at + 1);
        }
    }
}

#[cold]
fn keep_node(saving: &mut Saving, node: &mut Node) {
    if node.number != 0 {
        let mut old = node.clone();
        old.number = 0;
        saving.old.insert(node.number, old);
        node.number = 0;
    }
}

/// Where the node with this number is: as many steps from `hint` as others have come or gone in between.
fn find(nodes: &VecDeque<Node>, number: u32, hint: usize) -> Option<usize> {
    let hint = hint.min(nodes.len());
    let (mut before, mut behind) = (hint, hint);
    while before > 0 || behind < nodes.len() {
        if behind < nodes.len() {
            if nodes[behind].number == number {
                return Some(behind);
            }
            behind += 1;
        }
        if before > 0 {
            before -= 1;
            if nodes[before].number == number {
                return Some(before);
            }
        }
    }
    None
}

impl Drop for Quicklist {
    fn drop(&mut self) {
        let Some(saving) = &mut self.saving else {
            return;
        };
        // The list must not hold the heir that holds it.
        let heir = std::mem::take(&mut saving.heir);
        // A walk that was given up has no use for it.
        if Arc::strong_count(&heir) > 1 {
            *heir.lock() = Some(Quicklist {
                nodes: std::mem::take(&mut self.nodes),
                len: self.len,
                fill: self.fill,
                compress_depth: self.compress_depth,
                saving: self.saving.take(),
            });
        }
    }
}

/// A copy, which is not being saved.
impl Clone for Quicklist {
    fn clone(&self) -> Self {
        let mut nodes = self.nodes.clone();
        if self.saving.is_some() {
            nodes.iter_mut().for_each(|node| node.number = 0);
        }
        Quicklist {
            nodes,
            len: self.len,
            fill: self.fill,
            compress_depth: self.compress_depth,
            saving: None,
        }
    }
}
