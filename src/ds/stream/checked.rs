//! A node as Redis stores it, a listpack, read with every check: RDB files and payloads carry them,
//! and nothing in them is trusted.
//!
//! | elements | |
//! |---|---|
//! | 2 | how many entries there are, and how many that are deleted but still in it |
//! | 1 | the number of fields of the master entry |
//! | ... | their names |
//! | 1 | 0 |
//! | ... | the entries |
//!
//! The master entry is no entry: its id, the node's key, and its fields are what entries refer to. An
//! entry:
//!
//! | elements | |
//! |---|---|
//! | 1 | flags: 1 deleted, 2 the fields are those of the master entry |
//! | 2 | its id less that of the master entry, milliseconds and sequence, wrapping |
//! | 1 | the number of its fields, unless they are the master's |
//! | ... | fields and values alternately; only values if the fields are the master's |
//! | 1 | how many elements the entry has before this one |
//!
//! Invariant: what [`CheckedNode::new`] accepts has at least one entry that is not deleted, their ids
//! ascend, none is below the master's, and each has a field.

use super::StreamId;
use crate::ds::listpack::{self, Iter, Listpack, Value};

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;
/// Flags and two parts of the id.
const HEAD_ELEMENTS: u64 = 3;

/// Why a node is refused.
pub type Refused = &'static str;

const NOT_WHOLE: Refused = "Stream listpack integrity check failed.";
const NOT_ASCENDING: Refused = "Stream entries whose IDs do not ascend";
const WRONG_COUNTS: Refused = "Stream listpack with wrong counts of its entries";
const EMPTY: Refused = "Empty listpack inside stream";

/// A node of which every part has been checked.
#[derive(Clone, Copy, Debug)]
pub struct CheckedNode<'a> {
    list: Listpack<'a>,
    master: StreamId,
    master_fields: u64,
    /// Where the names of the master entry's fields begin.
    names_at: usize,
    /// Where the entries begin.
    entries_at: usize,
    len: u64,
    deleted: u64,
    first_id: StreamId,
    last_id: StreamId,
    first_kept_id: StreamId,
    last_kept_id: StreamId,
    keeps_deleted: bool,
}

/// An entry of a checked node.
#[derive(Clone, Copy, Debug)]
pub struct CheckedEntry<'a> {
    /// Its id.
    pub id: StreamId,
    /// It is only there because nobody has cleared it away.
    pub is_deleted: bool,
    /// Its fields are those of the master entry.
    pub has_master_fields: bool,
    list: Listpack<'a>,
    fields: u64,
    names_at: usize,
    values_at: usize,
}

impl<'a> CheckedEntry<'a> {
    /// How many fields it has.
    pub fn len(&self) -> u64 {
        self.fields
    }

    /// Whether it has none, which is never so.
    pub fn is_empty(&self) -> bool {
        self.fields == 0
    }

    /// Fields with their values, in order.
    pub fn fields(&self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> + use<'a> {
        let same = self.has_master_fields;
        let mut names = self.list.iter_from(self.names_at);
        let mut values = self.list.iter_from(self.values_at);
        (0..self.fields).map_while(move |_| {
            let name = match same {
                true => names.next()?,
                false => values.next()?,
            };
            Some((name, values.next()?))
        })
    }
}

impl<'a> CheckedNode<'a> {
    /// Checks the node whose key is `master`.
    ///
    /// # Errors
    /// When something in it is not what it should be.
    pub fn new(master: StreamId, bytes: &'a [u8]) -> Result<Self, Refused> {
        if bytes.len() > listpack::BYTES_MAX || !listpack::validate(bytes) {
            return Err(NOT_WHOLE);
        }
        let list = Listpack::new(bytes);
        if list.is_empty() {
            return Err(EMPTY);
        }
        let mut elements = list.iter();
        let len = count(&mut elements).ok_or(NOT_WHOLE)?;
        let deleted = count(&mut elements).ok_or(NOT_WHOLE)?;
        let master_fields = count(&mut elements).ok_or(NOT_WHOLE)?;
        let names_at = elements.at();
        skip(&mut elements, master_fields).ok_or(NOT_WHOLE)?;
        if count(&mut elements) != Some(0) {
            return Err(NOT_WHOLE);
        }
        let mut node = CheckedNode {
            list,
            master,
            master_fields,
            names_at,
            entries_at: elements.at(),
            len,
            deleted,
            first_id: StreamId::MAX,
            last_id: StreamId::MIN,
            first_kept_id: StreamId::MIN,
            last_kept_id: StreamId::MIN,
            keeps_deleted: true,
        };
        node.check_entries()?;
        Ok(node)
    }

    fn check_entries(&mut self) -> Result<(), Refused> {
        let mut elements = self.list.iter_from(self.entries_at);
        let (mut len, mut deleted) = (0, 0);
        let (mut first_of_all, mut last_of_all) = (None, None);
        while elements.at() < self.list.end() {
            let entry = self.entry(&mut elements).ok_or(NOT_WHOLE)?;
            if last_of_all.is_some_and(|last| last >= entry.id) || entry.id < self.master {
                self.keeps_deleted = false;
            }
            first_of_all.get_or_insert(entry.id);
            last_of_all = Some(entry.id);
            if entry.is_deleted {
                deleted += 1;
                continue;
            }
            if (len > 0 && entry.id <= self.last_id) || entry.id < self.master {
                return Err(NOT_ASCENDING);
            }
            self.first_id = self.first_id.min(entry.id);
            self.last_id = entry.id;
            len += 1;
        }
        if (len, deleted) != (self.len, self.deleted) {
            return Err(WRONG_COUNTS);
        }
        (self.first_kept_id, self.last_kept_id) = match (first_of_all, last_of_all) {
            (Some(first), Some(last)) if self.keeps_deleted => (first, last),
            _ => (self.first_id, self.last_id),
        };
        match len {
            0 => Err(EMPTY),
            _ => Ok(()),
        }
    }

    /// The next entry; `None` if it is not whole.
    fn entry(&self, elements: &mut Iter<'a>) -> Option<CheckedEntry<'a>> {
        let flags = elements.next()?.int()?;
        if flags & !(DELETED | SAME_FIELDS) != 0 {
            return None;
        }
        let ms = elements.next()?.int()?;
        let seq = elements.next()?.int()?;
        let has_master_fields = flags & SAME_FIELDS != 0;
        let fields = match has_master_fields {
            true => self.master_fields,
            false => count(elements)?,
        };
        let values_at = elements.at();
        let (values, head) = match has_master_fields {
            true => (fields, HEAD_ELEMENTS),
            false => (fields.checked_mul(2)?, HEAD_ELEMENTS + 1),
        };
        if fields == 0 {
            return None;
        }
        skip(elements, values)?;
        if count(elements)? != values.checked_add(head)? {
            return None;
        }
        Some(CheckedEntry {
            id: StreamId {
                ms: self.master.ms.wrapping_add(ms as u64),
                seq: self.master.seq.wrapping_add(seq as u64),
            },
            is_deleted: flags & DELETED != 0,
            has_master_fields,
            list: self.list,
            fields,
            names_at: self.names_at,
            values_at,
        })
    }

    /// The id of the master entry.
    pub fn master(&self) -> StreamId {
        self.master
    }

    /// The listpack.
    pub fn listpack(&self) -> Listpack<'a> {
        self.list
    }

    /// How many entries are not deleted; never 0.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The first id that is not deleted.
    pub fn first_id(&self) -> StreamId {
        self.first_id
    }

    /// The last id that is not deleted.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The first id of [`CheckedNode::entries`].
    pub fn first_kept_id(&self) -> StreamId {
        self.first_kept_id
    }

    /// The last id of [`CheckedNode::entries`].
    pub fn last_kept_id(&self) -> StreamId {
        self.last_kept_id
    }

    /// The names of the master entry's fields.
    pub fn master_fields(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let names = self.list.iter_from(self.names_at);
        (0..self.master_fields).zip(names).map(|(_, name)| name)
    }

    /// The entries in the order of their ids, deleted ones among them. If those are not in this order
    /// (XSETID may have gone back behind them), they are left out: nobody asks for them.
    pub fn entries(&self) -> impl Iterator<Item = CheckedEntry<'a>> + use<'a> {
        let node = *self;
        let mut elements = self.list.iter_from(self.entries_at);
        let all = std::iter::from_fn(move || {
            let more = elements.at() < node.list.end();
            more.then(|| node.entry(&mut elements)).flatten()
        });
        all.filter(move |entry| node.keeps_deleted || !entry.is_deleted)
    }
}

/// A number that is not negative.
fn count(elements: &mut Iter<'_>) -> Option<u64> {
    u64::try_from(elements.next()?.int()?).ok()
}

/// Passes over so many elements, which have to be there.
fn skip(elements: &mut Iter<'_>, count: u64) -> Option<()> {
    for _ in 0..count {
        elements.next()?;
    }
    Some(())
}

#[cfg(test)]
mod tests;
