//! Large collections: what a key's value is once it has outgrown its compact encoding.
//!
//! A [`Collection`] hangs behind one pointer in its key's entry. Its variants are data structures
//! only; what they mean, and when a value becomes one, is `value`'s. Fields and members are entries
//! in tables like those of the keyspace, so that they have the same SCAN, the same random choice,
//! the same growth in small steps and, for fields, the same expiry index.
//!
//! Invariant: nothing here is larger than its parts: a collection can be freed by any thread.
//!
//! To add a structure: a variant, and its arms below.

use std::fmt;

use crate::ds::entry::{Entry, ValueRef};
use crate::ds::footprint;
use crate::ds::quicklist::Quicklist;
use crate::ds::stream::save::{ConsumerHead, Figures, GroupHead, Node};
use crate::ds::stream::{Pending, Stream, StreamId};
use crate::ds::table::{NO_EXPIRY, Table};
use crate::ds::zset::Zset;

pub use save::{Rest, Saving, for_each_element};

mod save;

/// The value of a large collection.
pub enum Collection {
    /// Elements in their order.
    List(Quicklist),
    /// Fields with their values.
    Hash(FieldTable),
    /// Members: entries with an empty value.
    Set(Table<Entry>),
    /// Members in the order of their scores.
    Zset(Zset),
    /// A log of entries with its consumer groups, also a short one.
    Stream(Box<Stream>),
}

/// The fields of a large hash: entries whose key is the field, some with an expiry of their own.
pub struct FieldTable {
    /// The fields.
    pub table: Table<Entry>,
    /// Under which time (Unix ms) the keyspace has noted that fields expire; [`NO_EXPIRY`] if it has
    /// not. Only `db` changes it.
    pub noted_at_ms: u64,
}

impl FieldTable {
    /// Fields that the keyspace does not know of yet.
    pub fn new(table: Table<Entry>) -> Self {
        Self {
            table,
            noted_at_ms: NO_EXPIRY,
        }
    }
}

impl Collection {
    /// The number of elements; expired fields that are still there count. Of a stream: how much there
    /// is to walk, see [`Stream::weight`].
    pub fn len(&self) -> usize {
        match self {
            Collection::List(list) => list.len(),
            Collection::Hash(fields) => fields.table.len(),
            Collection::Set(members) => members.len(),
            Collection::Zset(members) => members.len(),
            Collection::Stream(stream) => stream.weight(),
        }
    }

    /// Whether there are no elements, and the key must not be; never so of a stream.
    pub fn is_empty(&self) -> bool {
        !matches!(self, Collection::Stream(_)) && self.len() == 0
    }

    /// A copy that shares nothing but large values of fields.
    pub fn duplicate(&self) -> Self {
        match self {
            Collection::List(list) => Collection::List(list.clone()),
            Collection::Hash(fields) => {
                Collection::Hash(FieldTable::new(duplicate_table(&fields.table)))
            }
            Collection::Set(members) => Collection::Set(duplicate_table(members)),
            Collection::Zset(members) => Collection::Zset(members.duplicate()),
            Collection::Stream(stream) => Collection::Stream(stream.clone()),
        }
    }

    /// Asks for the table line of the element with this hash or, in a second step, for the element.
    /// A list and a stream have no such place.
    #[inline]
    pub fn prefetch(&self, hash: u64, entries: bool) {
        match self {
            Collection::List(_) | Collection::Stream(_) => {}
            Collection::Hash(fields) => fields.table.prefetch(hash, entries),
            Collection::Set(members) => members.prefetch(hash, entries),
            Collection::Zset(members) => members.prefetch(hash, entries),
        }
    }

    /// Whether the keyspace has noted when fields expire.
    pub fn is_noted(&self) -> bool {
        matches!(self, Collection::Hash(fields) if fields.noted_at_ms != NO_EXPIRY)
    }

    /// The copy of the key that the note has, whose length is that of the key: bytes. The list that the note is
    /// in is not among it.
    pub fn note_bytes(&self, key_len: usize) -> usize {
        match self.is_noted() {
            true => footprint::block_bytes(key_len),
            false => 0,
        }
    }

    /// The memory of the structure in bytes, estimated from `samples` of its elements; from all of
    /// them if that is 0.
    pub fn alloc_bytes(&self, samples: usize) -> usize {
        match self {
            Collection::List(list) => list.alloc_bytes(samples),
            Collection::Hash(fields) => table_bytes(&fields.table, samples),
            Collection::Set(members) => table_bytes(members, samples),
            Collection::Zset(members) => members.alloc_bytes(samples),
            Collection::Stream(stream) => stream.alloc_bytes(samples),
        }
    }
}

/// One element of a large collection as a snapshot writes it.
#[derive(Clone, Copy, Debug)]
pub enum Element<'a> {
    /// A member of a set.
    Member(&'a [u8]),
    /// A field of a hash with its value (never a collection) and when it expires, Unix ms.
    Field(&'a [u8], ValueRef<'a>, Option<u64>),
    /// A member of a sorted set with its score.
    Scored(&'a [u8], f64),
    /// A node of a list: a whole listpack.
    Listpack(&'a [u8]),
    /// A node of a list that is one large element.
    Plain(&'a [u8]),
    /// A node of a stream.
    Node(Node<'a>),
    /// The figures of a stream, behind its nodes.
    Figures(Figures),
    /// A group of a stream, behind the figures.
    Group(GroupHead<'a>),
    /// What is pending in the group.
    Pending(StreamId, Pending),
    /// How many consumers the group has, behind all that is pending in it.
    Consumers(usize),
    /// A consumer of the group.
    Consumer(ConsumerHead<'a>),
    /// Some of what is pending with the consumer, in order; it may come in several pieces.
    PendingWith(&'a [(StreamId, Pending)]),
}

/// Two collections are equal if they are the same one.
impl PartialEq for Collection {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Collection {}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Collection({} elements)", self.len())
    }
}

fn duplicate_table(table: &Table<Entry>) -> Table<Entry> {
    let key_hash = table.key_hash();
    let mut copy = Table::new(0, key_hash);
    for entry in table {
        copy.insert(key_hash.hash(entry.key()), entry.duplicate());
    }
    copy
}

fn table_bytes(table: &Table<Entry>, samples: usize) -> usize {
    let samples = match samples {
        0 => table.len(),
        samples => samples.min(table.len()),
    };
    let sum = table.iter().take(samples).fold(0usize, |sum, entry| {
        sum.saturating_add(entry.alloc_bytes(0))
    });
    let all = match samples {
        0 => 0,
        samples => (sum as u128 * table.len() as u128 / samples as u128) as usize,
    };
    table.memory_bytes().saturating_add(all)
}
