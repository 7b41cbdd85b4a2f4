//! The log of a stream. (First version: the interface is what counts.)

use std::collections::BTreeMap;

use super::StreamId;
use super::checked::CheckedNode;
use crate::ds::listpack::{Listpack, Value};

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

/// The entries of a stream.
#[derive(Clone, Default)]
pub struct Entries {
    all: BTreeMap<StreamId, Box<[Box<[u8]>]>>,
    /// The id of the last entry that was ever added, or one above that was set.
    last_id: StreamId,
    /// The highest id that was ever deleted.
    max_deleted_id: StreamId,
    /// How many entries were ever added.
    entries_added: u64,
}

/// An entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its id.
    pub id: StreamId,
    fields: &'a [Box<[u8]>],
}

impl<'a> Entry<'a> {
    /// Fields with their values, in order.
    pub fn fields(&self) -> Fields<'a> {
        Fields { left: self.fields }
    }
}

/// Fields with their values. The number of those that are left is known.
pub struct Fields<'a> {
    left: &'a [Box<[u8]>],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let [field, value, rest @ ..] = self.left else {
            return None;
        };
        self.left = rest;
        Some((Value::Bytes(field), Value::Bytes(value)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.len() / 2, Some(self.left.len() / 2))
    }
}

impl ExactSizeIterator for Fields<'_> {}

impl Entries {
    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.all.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The id of the oldest entry; 0-0 if there is none.
    pub fn first_id(&self) -> StreamId {
        self.all.keys().next().copied().unwrap_or_default()
    }

    /// The id that new ones must be above.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// XSETID; the caller has checked that no entry is above.
    pub fn set_last_id(&mut self, id: StreamId) {
        self.last_id = id;
    }

    /// The highest id that was ever deleted; 0-0 if none was.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// XSETID MAXDELETEDID
    pub fn set_max_deleted_id(&mut self, id: StreamId) {
        self.max_deleted_id = id;
    }

    /// How many entries were ever added.
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// XSETID ENTRIESADDED
    pub fn set_entries_added(&mut self, added: u64) {
        self.entries_added = added;
    }

    /// Appends an entry. Its id is above the last one; `fields` are fields and values alternately,
    /// an even number.
    pub fn append<'f>(
        &mut self,
        id: StreamId,
        fields: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
        limits: &Limits,
    ) {
        debug_assert!(id > self.last_id && fields.len().is_multiple_of(2));
        let _ = limits;
        self.all.insert(id, fields.map(Box::from).collect());
        self.last_id = id;
        self.entries_added += 1;
    }

    /// Appends a node: the listpack, a valid one, that Redis keeps for it under this id; or tells what
    /// is wrong with it. The number of entries ever added stays.
    pub fn push_listpack(
        &mut self,
        master_id: StreamId,
        listpack: Listpack<'_>,
    ) -> Result<(), &'static str> {
        let node = CheckedNode::new(master_id, listpack.bytes())?;
        if self.all.keys().next_back() >= Some(&node.first_kept_id()) {
            return Err("Stream entries whose IDs do not ascend");
        }
        for entry in node.entries().filter(|entry| !entry.is_deleted) {
            let fields = entry.fields().flat_map(|(name, value)| [name, value]);
            let fields = fields.map(|text| text.to_vec().into_boxed_slice());
            self.all.insert(entry.id, fields.collect());
        }
        Ok(())
    }

    /// Whether there is an entry with this id.
    pub fn contains(&self, id: StreamId) -> bool {
        self.all.contains_key(&id)
    }

    /// The entry with this id.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// The entries from `start` to `end`, both included, in order.
    pub fn range(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let found = (start <= end).then(|| self.all.range(start..=end));
        let found = found.into_iter().flatten();
        found.map(|(&id, fields)| Entry { id, fields })
    }

    /// The same, from the last to the first.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let found = (start <= end).then(|| self.all.range(start..=end).rev());
        let found = found.into_iter().flatten();
        found.map(|(&id, fields)| Entry { id, fields })
    }

    /// Deletes an entry; whether it was there.
    pub(super) fn delete(&mut self, id: StreamId) -> bool {
        let found = self.all.remove(&id).is_some();
        if found {
            self.max_deleted_id = self.max_deleted_id.max(id);
        }
        found
    }

    /// Deletes entries from the oldest on, as far as `may_delete` lets them go; how many.
    pub(super) fn trim(&mut self, trim: Trim, may_delete: &mut dyn FnMut(StreamId) -> bool) -> u64 {
        let ids: Vec<StreamId> = self.all.keys().copied().collect();
        let mut deleted = 0;
        for id in ids {
            let goes = match trim.until {
                Until::MaxLen(len) => self.len() > len,
                Until::MinId(min) => id < min,
            };
            if !goes || (trim.limit > 0 && deleted >= trim.limit) {
                break;
            }
            if may_delete(id) && self.delete(id) {
                deleted += 1;
            }
        }
        deleted
    }

    /// The number of nodes: XINFO STREAM's `radix-tree-keys`.
    pub fn nodes(&self) -> usize {
        self.all.len()
    }

    /// XINFO STREAM's `radix-tree-nodes`: how many nodes Redis's radix tree of these has.
    pub fn radix_tree_nodes(&self) -> usize {
        self.all.len() + 1
    }
}
