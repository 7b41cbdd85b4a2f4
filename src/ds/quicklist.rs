//! Quicklist: a long list, as a sequence of nodes that are packed with elements.
//!
//! A node holds the raw elements of a listpack (`Node`), or, *plain*, a single large one. Nodes
//! stand in a deque: both ends are at hand, and looking for an index passes over whole nodes by
//! their counts, which lie side by side.
//!
//! When a node is full follows Valkey's rules ([`Fill`]), as does where an element goes that is
//! inserted between others: OBJECT ENCODING depends on whether a shrinking list is a single node.
//!
//! `list-compress-depth`: nodes further than that from both ends are compressed. What reads them
//! decompresses them elsewhere, what changes them opens and closes them.
//!
//! Invariants:
//! - no node is empty; `len` is the sum of their counts;
//! - with a compress depth of `d`, the `d` nodes at each end are open; with 0 all are.
//!
//! To add an operation that changes nodes in the middle: `keep` and open what you change, and
//! `settle` when the nodes are in their places.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};

use super::footprint;
use super::listpack::{self, Listpack, Value};
use super::mover::Mover;
use crate::util::check::{Checked, holds};
use node::Node;
pub use save::ListHeir;

mod node;
mod save;

#[cfg(test)]
mod tests;

/// Listpacks that are limited by their number of elements are not longer than this either, bytes.
const SAFE_BYTES_MAX: usize = 8192;
/// What an element is assumed to need in a node besides its text, bytes.
const OVERHEAD_BYTES: usize = 8;
/// Bytes of a listpack besides its elements.
const LISTPACK_BYTES: usize = listpack::EMPTY.len();
/// Nodes that one step of [`Quicklist::relocate`] looks at.
const RELOCATED_NODES: usize = 32;
/// Most elements that a node can be limited to; the directive allows more.
const FILL_MAX: i32 = i16::MAX as i32;
/// Greatest compress depth; the directive allows more.
const DEPTH_MAX: u32 = u16::MAX as u32;

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The first element's (LEFT).
    Head,
    /// The last element's (RIGHT).
    Tail,
}

/// When a node is full: `list-max-listpack-size`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill(i32);

impl Fill {
    /// The directive's value: a number of elements, or -1 to -5 for 4 to 64 KB.
    pub const fn new(list_max_listpack_size: i32) -> Self {
        Fill(list_max_listpack_size)
    }

    /// The most bytes of a listpack; `None` if elements are counted.
    fn bytes_max(self) -> Option<usize> {
        let level = -i64::from(self.0);
        (level > 0).then(|| 4096 << (level - 1).min(4))
    }

    /// The most elements, if those are counted.
    fn count_max(self) -> usize {
        usize::try_from(self.0).unwrap_or(0).max(1)
    }

    /// Whether a listpack of so many bytes and elements is too large to be a node, or to be a list
    /// of its own.
    #[inline]
    pub fn is_exceeded(self, bytes: usize, count: usize) -> bool {
        match self.bytes_max() {
            Some(bytes_max) => bytes > bytes_max,
            None => bytes > SAFE_BYTES_MAX || count > self.count_max(),
        }
    }

    /// Whether a listpack is at most half as large as a node may be, so that a list that has shrunk
    /// to it becomes a listpack again.
    pub fn is_half(self, bytes: usize, count: usize) -> bool {
        match self.bytes_max() {
            Some(bytes_max) => bytes <= bytes_max / 2,
            None => count <= self.count_max() / 2,
        }
    }

    /// Whether a node of so many bytes and elements may be a list of its own.
    fn is_short(self, bytes: usize, count: usize) -> bool {
        match self.bytes_max() {
            Some(bytes_max) => bytes <= bytes_max,
            None => count <= self.count_max(),
        }
    }

    /// Whether an element of so many bytes of text gets a node of its own.
    #[inline]
    fn is_large(self, text_bytes: usize) -> bool {
        text_bytes > self.bytes_max().unwrap_or(SAFE_BYTES_MAX)
    }

    /// Room for the elements of the largest ordinary node, bytes.
    #[inline]
    fn room_max(self) -> usize {
        self.bytes_max().unwrap_or(SAFE_BYTES_MAX)
    }
}

/// A long list. See the module's text.
pub struct Quicklist {
    nodes: VecDeque<Node>,
    len: usize,
    fill: Fill,
    compress_depth: usize,
    saving: Option<Box<save::Saving>>,
}

impl Quicklist {
    /// The list that a listpack becomes: one node.
    pub fn from_listpack(list: Listpack<'_>, fill: Fill, compress_depth: u32) -> Self {
        let mut quicklist = Self {
            nodes: VecDeque::new(),
            len: list.len(),
            fill: Fill(fill.0.min(FILL_MAX)),
            compress_depth: compress_depth.min(DEPTH_MAX) as usize,
            saving: None,
        };
        if quicklist.len > 0 {
            let node = Node::packed(list.entries().to_vec(), quicklist.len);
            quicklist.nodes.push_back(node);
        }
        quicklist
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The only node, as a listpack, if there is but one and it is at most half full.
    pub fn as_small_listpack(&self, fill: Fill) -> Option<Vec<u8>> {
        if self.nodes.len() > 1 {
            return None;
        }
        let node = self.nodes.front()?;
        let small = !node.is_plain() && fill.is_half(node.listpack_bytes(), node.count());
        small.then(|| node.to_listpack())
    }

    /// The only node, as a listpack, if there is but one and it is not longer than the limits allow.
    pub fn as_listpack(&self, fill: Fill) -> Option<Vec<u8>> {
        if self.nodes.len() > 1 {
            return None;
        }
        let node = self.nodes.front()?;
        let short = !node.is_plain() && fill.is_short(node.listpack_bytes(), node.count());
        short.then(|| node.to_listpack())
    }

    /// Puts an element at an end.
    #[inline]
    pub fn push(&mut self, end: End, value: Value<'_>) {
        let text_bytes = value.len_bytes();
        let (fill, room_max) = (self.fill, self.fill.room_max());
        self.len += 1;
        self.keep_end(end);
        match self.end_node_mut(end) {
            Some(node) if allows(fill, node, text_bytes) => node.push(end, value, room_max),
            _ => self.push_node(end, self.new_node(end, value)),
        }
    }

    /// Puts a node of these elements at the tail, however many they are; nothing if they are none.
    pub fn push_listpack(&mut self, list: Listpack<'_>) {
        let count = list.len();
        if count > 0 {
            self.len += count;
            self.push_node(End::Tail, Node::packed(list.entries().to_vec(), count));
        }
    }

    /// Puts a node of one element, of any length, at the tail.
    pub fn push_plain(&mut self, text: &[u8]) {
        self.len += 1;
        self.push_node(End::Tail, Node::plain(Value::Bytes(text)));
    }

    /// Takes `count` elements from an end, fewer if there are fewer; the outermost is visited first.
    pub fn pop(&mut self, end: End, count: usize, mut visit: impl FnMut(Value<'_>)) {
        let mut left = count.min(self.len);
        self.len -= left;
        while left > 0 {
            self.keep_end(end);
            let Some(node) = self.end_node_mut(end) else {
                return;
            };
            let now = left.min(node.count());
            node.pop(end, now, &mut visit);
            left -= now;
            if node.count() == 0 {
                self.pop_node(end);
            }
        }
    }

    /// Visits elements from the one at `index` on towards `end`, until a visit breaks.
    #[inline]
    pub fn walk<B>(
        &self,
        index: usize,
        end: End,
        mut visit: impl FnMut(Value<'_>) -> ControlFlow<B>,
    ) -> Option<B> {
        let (mut at, mut offset) = self.locate(index)?;
        let mut opened = Vec::new();
        loop {
            let node = &self.nodes[at];
            if let ControlFlow::Break(found) = node.walk(offset, end, &mut opened, &mut visit) {
                return Some(found);
            }
            at = match end {
                End::Head => at.checked_sub(1)?,
                End::Tail => at + 1,
            };
            offset = match end {
                End::Head => self.nodes[at].count() - 1,
                End::Tail if at < self.nodes.len() => 0,
                End::Tail => return None,
            };
        }
    }

    /// Puts `value` in the place of the element at `index`, which must be there.
    pub fn set(&mut self, index: usize, value: Value<'_>) {
        let Some((at, offset)) = self.locate(index) else {
            return;
        };
        let is_large = self.fill.is_large(value.len_bytes());
        self.keep(around(at));
        let node = &mut self.nodes[at];
        if node.is_plain() {
            // The node is replaced: by one of its kind, or by the place that an insertion finds.
            if is_large {
                self.nodes[at] = Node::plain(value);
            } else {
                self.insert(index, true, value);
                self.nodes.remove(at);
                self.len -= 1;
            }
        } else if !is_large {
            node.open();
            node.replace(offset, value);
        } else {
            node.open();
            if offset + 1 < node.count() {
                let tail = node.split_off(offset + 1);
                self.nodes.insert(at + 1, tail);
            }
            self.nodes.insert(at + 1, Node::plain(value));
            self.nodes[at].pop(End::Tail, 1, &mut |_| {});
            if self.nodes[at].count() == 0 {
                self.nodes.remove(at);
            } else {
                self.merge_around(at + 1);
            }
        }
        self.settle(at.saturating_sub(2)..at + 3);
    }

    /// Puts an element before or after the one at `index`, which must be there.
    pub fn insert(&mut self, index: usize, after: bool, value: Value<'_>) {
        let Some((at, offset)) = self.locate(index) else {
            return;
        };
        self.len += 1;
        let (fill, text_bytes) = (self.fill, value.len_bytes());
        self.keep(around(at));
        let node = &mut self.nodes[at];
        node.open();
        let at_edge = match after {
            true => offset + 1 == node.count(),
            false => offset == 0,
        };
        let split_at = offset + usize::from(after);
        let beside = at + usize::from(after);
        if allows(fill, node, text_bytes) {
            node.insert(split_at, value);
        } else if fill.is_large(text_bytes) {
            let splits = !at_edge && !node.is_plain();
            if splits {
                let tail = node.split_off(split_at);
                self.nodes.insert(at + 1, tail);
            }
            let place = if splits { at + 1 } else { beside };
            self.nodes.insert(place, Node::plain(value));
        } else if at_edge {
            self.insert_beside(at, after, value);
        } else {
            let tail = node.split_off(split_at);
            self.nodes.insert(at + 1, tail);
            let near_end = if after { End::Head } else { End::Tail };
            self.nodes[beside].push(near_end, value, 0);
            self.merge_around(at + usize::from(!after));
        }
        self.settle(at.saturating_sub(2)..at + 3);
    }

    /// Removes the elements of a range.
    pub fn remove_range(&mut self, range: Range<usize>) {
        let range = range.start..range.end.min(self.len);
        let Some((at, offset)) = self.locate(range.start).filter(|_| !range.is_empty()) else {
            return;
        };
        let mut left = range.len();
        self.len -= left;
        let mut whole_from = at;
        if offset > 0 {
            self.keep(at..at + 1);
            let node = &mut self.nodes[at];
            let now = left.min(node.count() - offset);
            node.open();
            node.remove(offset, now);
            left -= now;
            whole_from += 1;
        }
        let mut whole_to = whole_from;
        while left > 0 && self.nodes[whole_to].count() <= left {
            left -= self.nodes[whole_to].count();
            whole_to += 1;
        }
        self.keep(whole_from..whole_to + usize::from(left > 0));
        if left > 0 {
            self.nodes[whole_to].open();
            self.nodes[whole_to].remove(0, left);
        }
        self.nodes.drain(whole_from..whole_to);
        self.settle(whole_from.saturating_sub(1)..whole_from + 1);
    }

    /// Removes up to `count` elements whose text is `text`, beginning at an end; answers how many
    /// were.
    pub fn remove_equal(&mut self, text: &[u8], count: usize, from: End) -> usize {
        let needle = listpack::Needle::new(text);
        let mut removed = 0;
        let mut some_empty = false;
        for step in 0..self.nodes.len() {
            if removed == count {
                break;
            }
            let at = match from {
                End::Head => step,
                End::Tail => self.nodes.len() - 1 - step,
            };
            if self.saving.is_some() && self.nodes[at].contains(needle) {
                self.keep(at..at + 1);
            }
            let node = &mut self.nodes[at];
            let now = node.remove_equal(needle, count - removed, from);
            removed += now;
            some_empty |= node.count() == 0;
            if now > 0 && self.is_deep(at) {
                self.nodes[at].close();
            }
        }
        self.len -= removed;
        if some_empty {
            self.nodes.retain(|node| node.count() > 0);
            self.settle(0..0);
        }
        removed
    }

    /// The memory of nodes and elements, estimated from `samples` nodes; from all of them if that is 0.
    pub fn alloc_bytes(&self, samples: usize) -> usize {
        let size = |at: usize| self.nodes[at].alloc_bytes();
        let all = footprint::estimate(self.nodes.len(), samples, size);
        footprint::block_bytes(self.nodes.capacity().saturating_mul(size_of::<Node>()))
            .saturating_add(all)
    }

    /// Moves the buffers of some nodes that lie badly, see [`Mover`]; a cursor is the number of a node.
    pub fn relocate(&mut self, cursor: u64, mover: &mut Mover<'_>) -> u64 {
        if self.saving.is_some() {
            return 0;
        }
        let first = usize::try_from(cursor).unwrap_or(usize::MAX);
        let last = self.nodes.len().min(first.saturating_add(RELOCATED_NODES));
        for node in self.nodes.iter_mut().take(last).skip(first) {
            node.relocate(mover);
        }
        match last < self.nodes.len() {
            true => last as u64,
            false => 0,
        }
    }

    /// Bytes of the nodes, decompressed: those of a listpack, or the text of a large element.
    pub fn node_bytes(&self) -> impl ExactSizeIterator<Item = usize> {
        self.nodes.iter().map(|node| match node.is_plain() {
            true => node.listpack_bytes() - LISTPACK_BYTES,
            false => node.listpack_bytes(),
        })
    }

    /// How full nodes get, as `list-max-listpack-size` says it.
    pub fn fill(&self) -> i32 {
        self.fill.0
    }

    /// Whether inner nodes are compressed.
    pub fn is_compressed(&self) -> bool {
        self.compress_depth > 0
    }

    /// Looks at all of the list.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn check(&self) -> Checked {
        let (nodes, len) = (self.nodes.len(), self.len);
        let counted: usize = self.nodes.iter().map(Node::count).sum();
        holds!(counted == len, "{len} elements are {counted}");
        for (at, node) in self.nodes.iter().enumerate() {
            let count = node.count();
            holds!(
                count == 1 || count > 1 && !node.is_plain(),
                "node {at} of {nodes} has {count} elements"
            );
            holds!(
                self.is_deep(at) || !node.is_closed(),
                "node {at} of {nodes} is compressed"
            );
            let listpack = node.to_listpack();
            holds!(
                listpack::validate(&listpack)
                    && (node.is_plain() || listpack.len() == node.listpack_bytes())
                    && Listpack::new(&listpack).len() == count,
                "node {at} of {nodes} does not hold {count} elements"
            );
        }
        Ok(())
    }

    /// In which node the element at `index` is, and its index there.
    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        if index >= self.len {
            return None;
        }
        if index <= self.len / 2 {
            let mut left = index;
            for (at, node) in self.nodes.iter().enumerate() {
                if left < node.count() {
                    return Some((at, left));
                }
                left -= node.count();
            }
        } else {
            let mut left = self.len - index;
            for (at, node) in self.nodes.iter().enumerate().rev() {
                if left <= node.count() {
                    return Some((at, node.count() - left));
                }
                left -= node.count();
            }
        }
        None
    }

    #[inline]
    fn end_node_mut(&mut self, end: End) -> Option<&mut Node> {
        match end {
            End::Head => self.nodes.front_mut(),
            End::Tail => self.nodes.back_mut(),
        }
    }

    /// A node for one element, with room for more towards `end`.
    fn new_node(&self, end: End, value: Value<'_>) -> Node {
        if self.fill.is_large(value.len_bytes()) {
            return Node::plain(value);
        }
        let mut node = Node::packed(Vec::new(), 0);
        node.push(end, value, self.fill.room_max());
        node
    }

    /// Puts a node at an end; the one that was there will not grow any more.
    fn push_node(&mut self, end: End, node: Node) {
        if let Some(full) = self.end_node_mut(end) {
            full.trim();
        }
        match end {
            End::Head => self.nodes.push_front(node),
            End::Tail => self.nodes.push_back(node),
        }
        let (depth, count) = (self.compress_depth, self.nodes.len());
        if depth > 0 && count > 2 * depth {
            let at = match end {
                End::Head => depth,
                End::Tail => count - 1 - depth,
            };
            self.nodes[at].close();
        }
    }

    fn pop_node(&mut self, end: End) {
        match end {
            End::Head => self.nodes.pop_front(),
            End::Tail => self.nodes.pop_back(),
        };
        let (depth, count) = (self.compress_depth, self.nodes.len());
        if depth > 0 && depth <= count {
            let at = match end {
                End::Head => depth - 1,
                End::Tail => count - depth,
            };
            self.nodes[at].open();
        }
    }

    /// Puts an element between the full node at `at` and its neighbour: into the neighbour, if that
    /// has room, or into a new node.
    fn insert_beside(&mut self, at: usize, after: bool, value: Value<'_>) {
        let (neighbour, near_end) = match after {
            true => (Some(at + 1), End::Head),
            false => (at.checked_sub(1), End::Tail),
        };
        let (fill, text_bytes) = (self.fill, value.len_bytes());
        match neighbour.and_then(|at| self.nodes.get_mut(at)) {
            Some(node) if allows(fill, node, text_bytes) => {
                node.open();
                node.push(near_end, value, 0);
            }
            _ => {
                let node = self.new_node(near_end, value);
                self.nodes.insert(at + usize::from(after), node);
            }
        }
    }

    /// After a split: makes one node of the two before the one at `center`, of the two after it, and
    /// of it and its neighbours, as far as they fit.
    fn merge_around(&mut self, mut center: usize) {
        if center >= 2 && self.merge(center - 2) {
            center -= 1;
        }
        self.merge(center + 1);
        if center >= 1 && self.merge(center - 1) {
            center -= 1;
        }
        self.merge(center);
    }

    /// Makes one node of the one at `at` and the next, if they are there and fit into one.
    fn merge(&mut self, at: usize) -> bool {
        let (Some(first), Some(second)) = (self.nodes.get(at), self.nodes.get(at + 1)) else {
            return false;
        };
        let bytes = first.listpack_bytes() + second.listpack_bytes() - LISTPACK_BYTES;
        let count = first.count() + second.count();
        if first.is_plain() || second.is_plain() || self.fill.is_exceeded(bytes, count) {
            return false;
        }
        if let Some(second) = self.nodes.remove(at + 1) {
            self.nodes[at].append(second);
        }
        true
    }

    /// Whether a node is further than the compress depth from both ends.
    fn is_deep(&self, at: usize) -> bool {
        let depth = self.compress_depth;
        depth > 0 && at >= depth && self.nodes.len() - at > depth
    }

    /// After a change in the middle: opens what is near the ends now, closes what was changed and is
    /// not, and what was pushed away from the ends.
    fn settle(&mut self, changed: Range<usize>) {
        let (depth, count) = (self.compress_depth, self.nodes.len());
        // Nodes at the ends will probably go on growing.
        for at in changed.clone().filter(|&at| at > 0 && at + 1 < count) {
            self.nodes[at].trim();
        }
        if depth == 0 {
            return;
        }
        for at in 0..depth.min(count) {
            self.nodes[at].open();
            self.nodes[count - 1 - at].open();
        }
        // No operation adds more than two nodes.
        let pushed_in = depth..depth.saturating_add(2);
        let mirrored = pushed_in.clone().map(|at| count.wrapping_sub(at + 1));
        for at in changed.chain(pushed_in.clone()).chain(mirrored) {
            if at < count && self.is_deep(at) {
                self.nodes[at].close();
            }
        }
    }
}

/// The nodes that an insertion at one of them may change: it may merge two to either side.
fn around(at: usize) -> Range<usize> {
    at.saturating_sub(3)..at + 4
}

/// Whether one more element of so many bytes of text may go into a node.
#[inline]
fn allows(fill: Fill, node: &Node, text_bytes: usize) -> bool {
    let bytes = node
        .listpack_bytes()
        .saturating_add(text_bytes + OVERHEAD_BYTES);
    !node.is_plain() && !fill.is_large(text_bytes) && !fill.is_exceeded(bytes, node.count() + 1)
}
