//! The log of a stream: nodes in the order of their ids.
//!
//! Node boundaries, and what stays of deleted entries, are Redis's (see [`Node`]), since approximate
//! trims and DUMP show them. The oldest entry is kept at hand: streams are trimmed there, one entry
//! after the other.
//!
//! A snapshot begins by counting up `stamp`, and with that every node is unsaved. A node is copied
//! aside before it changes or goes, and gets the stamp; the walk finds the nodes of the moment here
//! or among the copies, in the order of their ids (`save`).
//!
//! Invariants:
//! - ids of entries that are not deleted ascend strictly over all nodes, and so do those of nodes;
//!   `last_id` is not below any of them. (Those of deleted entries do, too, unless XSETID has gone back.)
//! - `radix_nodes` is what [`radix::nodes_of`] says of the ids of nodes, 0 if there are none;
//! - `len` is the number of entries that are not deleted;
//! - `first_id` is the id of the first of them, or 0-0; if it is in the first node, `first_at` is where;
//! - what changes a node has called [`Entries::keep`] before.

use std::collections::BTreeMap;

use super::chunks::{self, Chunks, Item, Pos};
use super::element;
use super::node::{Node, Walk, WalkBack};
use super::radix;
use super::{StreamId, save};
use crate::ds::footprint;
use crate::ds::listpack::{Listpack, Value};
use crate::ds::mover::Mover;
use crate::util::check::{Checked, holds};

/// Up to where a node is filled: the directives of the same names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// `stream-node-max-bytes`; 0 for no limit
    pub node_max_bytes: u64,
    /// `stream-node-max-entries`; 0 for no limit
    pub node_max_entries: u64,
}

/// What is trimmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trim {
    /// Which entries go.
    pub until: Until,
    /// `~`: only whole nodes.
    pub approximate: bool,
    /// At most so many entries; 0 for no limit.
    pub limit: u64,
}

/// Which entries a trim removes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// MAXLEN: the oldest, until so many are left.
    MaxLen(u64),
    /// MINID: those below.
    MinId(StreamId),
}

/// Whether an entry that is to be trimmed may go.
pub(super) type MayDelete<'a> = &'a mut dyn FnMut(StreamId) -> bool;

/// The entries of a stream.
#[derive(Default)]
pub struct Entries {
    nodes: Chunks<Node>,
    radix_nodes: usize,
    len: u64,
    first_id: StreamId,
    first_at: usize,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    stamp: u32,
    saving: Option<Box<Saving>>,
}

/// A snapshot that is going on.
#[derive(Default)]
struct Saving {
    /// Nodes that have changed or gone since, by their ids.
    kept: BTreeMap<StreamId, Node>,
    /// The last node that was handed out.
    after: Option<StreamId>,
    /// How many nodes are still to be handed out.
    left: usize,
}

impl Entries {
    /// Moves the nodes of one chunk that lie badly, see [`Mover`]; a cursor is the number of a chunk.
    pub(super) fn relocate(&mut self, cursor: u64, mover: &mut Mover<'_>) -> u64 {
        if self.saving.is_some() {
            return 0;
        }
        let number = usize::try_from(cursor).unwrap_or(usize::MAX);
        match self
            .nodes
            .relocate(number, mover, |mover, node| node.relocate(mover))
        {
            true => cursor + 1,
            false => 0,
        }
    }
}

/// A copy, which is not being saved.
impl Clone for Entries {
    fn clone(&self) -> Self {
        Entries {
            nodes: self.nodes.clone(),
            saving: None,
            ..*self
        }
    }
}

/// An entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    fields: Fields<'a>,
}

impl<'a> Entry<'a> {
    /// An entry of so many fields; `names` has their names if they are not among the values.
    #[inline]
    pub(super) fn new(
        id: StreamId,
        names: Option<&'a [u8]>,
        values: &'a [u8],
        count: usize,
    ) -> Entry<'a> {
        let fields = Fields {
            names,
            values,
            left: count,
        };
        Entry { id, fields }
    }

    /// Fields with their values, in order.
    #[inline]
    pub fn fields(&self) -> Fields<'a> {
        self.fields
    }
}

/// Fields with their values. The number of those that are left is known.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    names: Option<&'a [u8]>,
    values: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Value<'a>, Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = match &mut self.names {
            Some(names) => element::read(names),
            None => element::read(&mut self.values),
        };
        Some((name, element::read(&mut self.values)))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Fields<'_> {}

impl Entries {
    /// How many entries there are.
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The id of the oldest entry; 0-0 if there is none.
    #[inline]
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The id of the oldest entry that is still stored, be it as a deleted one; `None` if there is none.
    pub fn first_stored_id(&self) -> Option<StreamId> {
        let first = self.nodes.get(self.nodes.start());
        first.map(Node::master_id)
    }

    /// The id of the last entry that was ever added, or one above that was set: new ones must be above.
    #[inline]
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// XSETID; the caller has checked that no entry is above.
    pub fn set_last_id(&mut self, id: StreamId) {
        // Below deleted entries is allowed, and new ones come behind those. But nodes could not stand
        // in order if one without any other entries stayed there.
        while let Some(pos) = self.nodes.last_pos()
            && let Some(node) = self.nodes.get(pos)
            && node.live() == 0
            && node.id() > id
        {
            self.remove_node(pos);
        }
        self.last_id = id;
    }

    /// The highest id that was ever deleted; 0-0 if none was. Trimming does not count.
    #[inline]
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// XSETID MAXDELETEDID
    pub fn set_max_deleted_id(&mut self, id: StreamId) {
        self.max_deleted_id = id;
    }

    /// How many entries were ever added.
    #[inline]
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// XSETID ENTRIESADDED
    pub fn set_entries_added(&mut self, added: u64) {
        self.entries_added = added;
    }

    /// Appends an entry. Its id is above the last one; `fields` are fields and values alternately,
    /// an even number, with no more than [`Entries::TEXT_BYTES_MAX`].
    #[inline]
    pub fn append<'f>(
        &mut self,
        id: StreamId,
        fields: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
        limits: &Limits,
    ) {
        debug_assert!(id > self.last_id && fields.len().is_multiple_of(2));
        let text_bytes = fields.clone().map(<[u8]>::len).sum();
        match self.nodes.last() {
            Some(last) if !last.is_full(text_bytes, limits) => self.keep_last(),
            _ => self.open_node(id, fields.clone()),
        }
        let node = self.nodes.last_mut().expect("one was opened if need be");
        node.append(id, fields, text_bytes);
        self.last_id = id;
        self.entries_added = self.entries_added.wrapping_add(1);
        self.len += 1;
        if self.len == 1 {
            self.find_first();
        }
    }

    /// The most bytes of text that an entry may have: Redis's limit.
    pub const TEXT_BYTES_MAX: usize = 1 << 30;

    /// A new node at the end; the one that was the last will not grow any more.
    fn open_node<'f>(
        &mut self,
        id: StreamId,
        fields: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
    ) {
        if let Some(last) = self.nodes.last_mut() {
            last.shrink();
        }
        let names = fields.step_by(2).map(Value::from);
        self.push_node(Node::open(id, names, self.stamp));
    }

    fn push_node(&mut self, node: Node) {
        self.radix_nodes += self.radix_growth(node.id());
        self.nodes.push_back(node);
    }

    /// How many nodes Redis's radix tree has more with this key, which is not there, than without it.
    fn radix_growth(&self, key: StreamId) -> usize {
        let nodes = &self.nodes;
        let at = |pos| nodes.get(pos).map(Node::id);
        let before = |pos| nodes.before(pos).and_then(at);
        let here = nodes.lower_bound(key);
        let Some(shared) = radix::shared_bytes(key, before(here), at(here)) else {
            return radix::ONE_KEY;
        };
        let (first, last) = radix::alike(key, shared);
        let (from, to) = (nodes.lower_bound(first), nodes.upper_bound(last));
        let (Some(first), Some(last)) = (at(from), before(to)) else {
            debug_assert!(false, "a neighbour has these bytes in common");
            return radix::ONE_KEY;
        };
        let around = radix::Around {
            before: before(from),
            alike: (first, last),
            after: at(to),
        };
        radix::growth(key, shared, &around)
    }

    /// Appends a node: the listpack, a valid one, that Redis keeps for it under this id; or tells what
    /// is wrong with it. The last id is that of its last entry then, if it is not above; the number
    /// of entries ever added stays. `last` is the last entry, to be 0-0 for the first node and kept for the
    /// next one: nodes without entries are passed over but once.
    pub fn push_listpack(
        &mut self,
        last: &mut StreamId,
        master_id: StreamId,
        listpack: Listpack<'_>,
    ) -> Result<(), &'static str> {
        let last_node = self.nodes.last().map(Node::id);
        // No entry has the id 0-0.
        if master_id <= (*last).max(last_node.unwrap_or_default()) {
            return Err("stream: nodes are not in order");
        }
        let node = Node::from_listpack(master_id, listpack, self.stamp)?;
        if node.live() > 0 {
            if self.is_empty() {
                (self.first_at, self.first_id) = node.walk().find_first();
            }
            let back = node.walk_back_from(StreamId::MAX).next();
            *last = back.map(|entry| entry.id).unwrap_or_default();
        }
        self.len += node.live();
        self.last_id = self.last_id.max(node.last_id());
        self.push_node(node);
        Ok(())
    }

    /// Whether nodes, entries and counts are as they should be.
    pub(super) fn check(&self) -> Checked {
        self.nodes.check()?;
        let ids = self.all_nodes().map(|node| node.id());
        let (said, found) = (self.radix_tree_nodes(), radix::nodes_of(ids));
        holds!(said == found, "{said} nodes of the radix tree are {found}");
        let (mut len, mut first, mut before) = (0, None, None);
        for node in self.all_nodes() {
            let (ids, live) = (node.walk().map(|entry| entry.id), node.live());
            let mut walked = 0;
            for id in ids {
                holds!(before < Some(id), "entry {id} comes behind {before:?}");
                holds!(
                    node.master_id() <= id && id <= node.last_id(),
                    "entry {id} is not between those that its node names"
                );
                first = first.or(Some(id));
                before = Some(id);
                walked += 1;
            }
            let back = node.walk_back_from(StreamId::MAX).count() as u64;
            holds!(
                walked == live && back == live,
                "{live} entries of a node are {walked}, {back} from the end"
            );
            len += walked;
        }
        let said = (self.len, self.first_id);
        let found = (len, first.unwrap_or_default());
        holds!(
            said == found,
            "{said:?} entries and the first are {found:?}"
        );
        let last = self.last_id;
        holds!(before <= Some(last), "{before:?} is above the last, {last}");
        Ok(())
    }

    /// Whether there is an entry with this id.
    pub fn contains(&self, id: StreamId) -> bool {
        self.find(id).is_some()
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        let node = self.nodes.get(self.node_of(id)?)?;
        let found = node.walk_to(id).next()?;
        (found.id == id).then_some(found)
    }

    /// The entries from `start` to `end`, both included, in order.
    #[inline]
    pub fn range(&self, start: StreamId, end: StreamId) -> Range<'_> {
        // No entry is before the first one, but what was deleted there may be many.
        let from = self.node_of(start).unwrap_or(self.nodes.start());
        let to = self.nodes.upper_bound(end);
        let mut nodes = self.nodes.iter(from, to);
        let in_first = start <= self.first_id && from == self.nodes.start();
        let walk = nodes.next().map(|node| match in_first {
            true if node.live() > 0 => node.walk_from_first(self.first_at, self.first_id),
            _ => node.walk_to(start),
        });
        Range { nodes, walk, end }
    }

    /// The same, from the last to the first.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> RangeBack<'_> {
        let start = start.max(self.first_id);
        let from = self.node_of(start).unwrap_or(self.nodes.start());
        let to = self.nodes.upper_bound(end);
        let mut nodes = self.nodes.iter(from, to);
        let walk = nodes.next_back().map(|node| node.walk_back_from(end));
        RangeBack { nodes, walk, start }
    }

    /// The node that an entry with this id is in if it is there; none if it is before all.
    #[inline]
    fn node_of(&self, id: StreamId) -> Option<Pos> {
        self.nodes.before(self.nodes.upper_bound(id))
    }

    /// Where an entry is: its node, and its place there.
    fn find(&self, id: StreamId) -> Option<(Pos, usize)> {
        let pos = self.node_of(id)?;
        Some((pos, self.nodes.get(pos)?.find(id)?))
    }

    /// Deletes an entry if it is there and may go; `None` if it is not there, else whether it went.
    pub(super) fn delete(
        &mut self,
        id: StreamId,
        may_delete: impl FnOnce() -> bool,
    ) -> Option<bool> {
        let (pos, at) = self.find(id)?;
        if !may_delete() {
            return Some(false);
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        if self.nodes.get(pos).is_some_and(|node| node.live() > 1) {
            self.keep(pos);
            if let Some(node) = self.nodes.get_mut(pos) {
                node.delete(at);
            }
        } else {
            self.remove_node(pos);
        }
        if id == self.first_id {
            self.find_first();
        }
        Some(true)
    }

    /// Deletes entries from the oldest on, as far as `may_delete` lets them go; how many.
    pub(super) fn trim(&mut self, trim: Trim, mut may_delete: Option<MayDelete<'_>>) -> u64 {
        let len = self.len;
        // Entries that may not go count as if they went, so that the limit is one of time.
        let mut visited: u64 = 0;
        let mut pos = self.nodes.start();
        while let Some(node) = self.nodes.get(pos) {
            let live = node.live();
            visited = visited.saturating_add(live);
            if matches!(trim.until, Until::MaxLen(max) if self.len <= max)
                || (trim.limit > 0 && visited > trim.limit)
            {
                break;
            }
            let is_whole = match trim.until {
                Until::MaxLen(max) => self.len - live >= max,
                Until::MinId(min) => node.last_id() < min,
            };
            if !is_whole && trim.approximate {
                break;
            }
            if is_whole && may_delete.is_none() {
                self.len -= live;
                self.remove_node(pos);
                continue;
            }
            let goes_on = self.trim_node(pos, trim.until, &mut may_delete);
            // Redis leaves a node that it has not removed as a whole, even if nothing is left in it.
            match self.nodes.get(pos) {
                Some(node) if is_whole && node.live() == 0 => self.remove_node(pos),
                _ => pos = self.nodes.after(pos),
            }
            if !goes_on {
                break;
            }
        }
        let deleted = len - self.len;
        if deleted > 0 {
            self.find_first();
        }
        deleted
    }

    /// Deletes entries of one node; whether those of the next may go, too.
    fn trim_node(
        &mut self,
        pos: Pos,
        until: Until,
        may_delete: &mut Option<MayDelete<'_>>,
    ) -> bool {
        self.keep(pos);
        let (mut at, mut before) = self.first_place(pos);
        let mut left = self.len;
        let Some(node) = self.nodes.get_mut(pos) else {
            return false;
        };
        let mut goes_on = true;
        while let Some(raw) = node.raw(at) {
            let (id, next, is_deleted) = (raw.id(before), raw.next, raw.is_deleted());
            goes_on = match until {
                _ if is_deleted => true,
                Until::MaxLen(max) => left > max,
                Until::MinId(min) => id < min,
            };
            if !goes_on {
                break;
            }
            if !is_deleted && may_delete.as_mut().is_none_or(|may_delete| may_delete(id)) {
                node.delete(at);
                left -= 1;
            }
            (at, before) = (next, id);
        }
        self.len = left;
        goes_on
    }

    /// Where the first entry of a node is that may be there, and the id before it.
    fn first_place(&self, pos: Pos) -> (usize, StreamId) {
        match self.nodes.get(pos) {
            // A trim has not looked for the new first entry yet when it comes to the next node.
            // One without entries may span the first one all the same, after XSETID has gone back.
            Some(node)
                if pos == self.nodes.start() && node.live() > 0 && node.spans(self.first_id) =>
            {
                node.walk_from_first(self.first_at, self.first_id).place()
            }
            Some(node) => node.walk().place(),
            None => (0, StreamId::MIN),
        }
    }

    fn remove_node(&mut self, pos: Pos) {
        let node = self.nodes.remove(pos);
        let growth = self.radix_growth(node.id());
        self.radix_nodes = self.radix_nodes.saturating_sub(growth);
        if let Some(saving) = &mut self.saving
            && node.stamp != self.stamp
        {
            saving.kept.insert(node.id(), node);
        }
    }

    /// Finds the first entry, after there was none or the first has gone.
    fn find_first(&mut self) {
        let mut pos = self.nodes.start();
        let hint = self.first_id;
        self.first_id = StreamId::MIN;
        while let Some(node) = self.nodes.get(pos) {
            if node.live() > 0 {
                let is_hinted = pos == self.nodes.start() && node.spans(hint);
                let mut walk = match is_hinted {
                    true => node.walk_from_first(self.first_at, hint),
                    false => node.walk(),
                };
                (self.first_at, self.first_id) = walk.find_first();
                return;
            }
            pos = self.nodes.after(pos);
        }
    }

    /// The number of nodes: XINFO STREAM's `radix-tree-keys`.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// XINFO STREAM's `radix-tree-nodes`: how many nodes Redis's radix tree of these has.
    pub fn radix_tree_nodes(&self) -> usize {
        // The root is there without keys, too.
        self.radix_nodes.max(1)
    }

    fn all_nodes(&self) -> chunks::Iter<'_, Node> {
        self.nodes.iter(self.nodes.start(), self.nodes.end())
    }

    /// Hands out all nodes as they are.
    pub(super) fn for_each_node(&self, f: &mut dyn FnMut(save::Node<'_>)) {
        self.all_nodes().for_each(|node| f(save::Node::new(node)));
    }

    /// The memory in bytes, estimated from `samples` nodes; from all if that is 0.
    pub(super) fn alloc_bytes(&self, samples: usize) -> usize {
        let count = self.nodes.len();
        let size = |at| self.nodes.nth(at).map_or(0, Node::alloc_bytes);
        let all = match samples {
            0 => self.all_nodes().map(Node::alloc_bytes).sum(),
            samples => footprint::estimate(count, samples.min(count), size),
        };
        self.nodes.alloc_bytes().saturating_add(all)
    }

    /// Begins a snapshot, in no time.
    pub(super) fn begin_save(&mut self) {
        debug_assert!(self.saving.is_none(), "one snapshot at a time");
        self.stamp = self.stamp.wrapping_add(1);
        self.saving = Some(Box::new(Saving {
            left: self.nodes.len(),
            ..Saving::default()
        }));
    }

    /// Hands out the next unsaved node, as it was when the snapshot began; false if there is none any
    /// more, and with that it has ended.
    pub(super) fn save_next(&mut self, f: &mut dyn FnMut(save::Node<'_>)) -> bool {
        let Some(saving) = self.saving.as_mut().filter(|saving| saving.left > 0) else {
            self.saving = None;
            return false;
        };
        saving.left -= 1;
        let kept = saving.kept.first_key_value().map(|(&id, _)| id);
        let mut pos = match saving.after {
            Some(after) => self.nodes.upper_bound(after),
            None => self.nodes.start(),
        };
        let stamp = self.stamp;
        let comes = |node: &&Node| kept.is_none_or(|kept| node.id() < kept);
        while let Some(node) = self.nodes.get(pos).filter(comes) {
            if node.stamp != stamp {
                f(save::Node::new(node));
                saving.after = Some(node.id());
                if let Some(node) = self.nodes.get_mut(pos) {
                    node.stamp = stamp;
                }
                return true;
            }
            pos = self.nodes.after(pos);
        }
        match saving.kept.pop_first() {
            Some((id, node)) => {
                saving.after = Some(id);
                f(save::Node::new(&node));
            }
            None => debug_assert!(false, "an unsaved node is lost"),
        }
        true
    }

    /// Copies a node aside that is about to change, if it is unsaved.
    #[inline]
    fn keep(&mut self, pos: Pos) {
        if self.saving.is_some() {
            self.keep_unsaved(pos);
        }
    }

    /// As [`Entries::keep`], of the last node.
    #[inline]
    fn keep_last(&mut self) {
        if self.saving.is_some()
            && let Some(pos) = self.nodes.last_pos()
        {
            self.keep_unsaved(pos);
        }
    }

    #[cold]
    fn keep_unsaved(&mut self, pos: Pos) {
        let stamp = self.stamp;
        if let (Some(saving), Some(node)) = (&mut self.saving, self.nodes.get_mut(pos))
            && node.stamp != stamp
        {
            saving.kept.insert(node.id(), node.clone());
            node.stamp = stamp;
        }
    }
}

/// Entries in their order.
pub struct Range<'a> {
    nodes: chunks::Iter<'a, Node>,
    walk: Option<Walk<'a>>,
    end: StreamId,
}

impl<'a> Iterator for Range<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some(entry) = self.walk.as_mut()?.next() {
                if entry.id <= self.end {
                    return Some(entry);
                }
                self.walk = None;
                return None;
            }
            self.walk = self.nodes.next().map(Node::walk);
        }
    }
}

/// Entries from the last to the first.
pub struct RangeBack<'a> {
    nodes: chunks::Iter<'a, Node>,
    walk: Option<WalkBack<'a>>,
    start: StreamId,
}

impl<'a> Iterator for RangeBack<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            if let Some(entry) = self.walk.as_mut()?.next() {
                if entry.id >= self.start {
                    return Some(entry);
                }
                self.walk = None;
                return None;
            }
            let node = self.nodes.next_back();
            self.walk = node.map(|node| node.walk_back_from(StreamId::MAX));
        }
    }
}
