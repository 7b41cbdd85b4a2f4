//! How a snapshot walks a stream that goes on changing. (First version: a copy.)

use std::sync::Arc;

use parking_lot::Mutex;

use super::{Entry, Group, Pending, Stream, StreamId};
use crate::ds::collection::Element;
use crate::ds::listpack::{self, Value};

/// Where a stream goes that is dropped while it is being saved.
pub type StreamHeir = Arc<Mutex<Option<Box<Stream>>>>;

/// A node as a snapshot writes it.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    entry: Entry<'a>,
}

impl<'a> Node<'a> {
    /// The id of its master entry, as Redis has it.
    pub fn master_id(&self) -> StreamId {
        self.entry.id
    }

    /// Its entries that are not deleted.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> {
        std::iter::once(self.entry)
    }

    /// Appends the listpack that Redis keeps for it, to the byte.
    pub fn write_listpack(&self, out: &mut Vec<u8>) {
        let fields = self.entry.fields();
        let count = fields.len() as i64;
        let mut elements = vec![1, 0, count]
            .into_iter()
            .map(Value::Int)
            .collect::<Vec<_>>();
        elements.extend(self.entry.fields().map(|(name, _)| name));
        elements.extend([0, 2, 0, 0].map(Value::Int));
        elements.extend(fields.map(|(_, value)| value));
        elements.push(Value::Int(count + 3));
        let texts: Vec<Vec<u8>> = elements.iter().map(|text| text.to_vec()).collect();
        let listpack = listpack::from_elements(texts.iter().map(|text| &text[..]));
        out.extend_from_slice(&listpack);
    }
}

/// The figures of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figures {
    /// Entries that are there.
    pub len: u64,
    /// See [`super::Entries::first_id`].
    pub first_id: StreamId,
    /// See [`super::Entries::last_id`].
    pub last_id: StreamId,
    /// See [`super::Entries::max_deleted_id`].
    pub max_deleted_id: StreamId,
    /// See [`super::Entries::entries_added`].
    pub entries_added: u64,
    /// How many groups follow.
    pub groups: usize,
}

/// A group without what is pending.
#[derive(Clone, Copy, Debug)]
pub struct GroupHead<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// See [`Group::last_id`].
    pub last_id: StreamId,
    /// See [`Group::entries_read`].
    pub entries_read: Option<u64>,
    /// How many pending entries follow.
    pub pending: usize,
}

/// A consumer with the ids that are pending with it.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerHead<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// See [`super::Consumer::seen_at_ms`].
    pub seen_at_ms: u64,
    /// See [`super::Consumer::active_at_ms`].
    pub active_at_ms: Option<u64>,
    /// What is pending with it.
    pub pending: &'a [(StreamId, Pending)],
}

impl Stream {
    /// Begins a snapshot; one at a time.
    pub fn begin_save(&mut self) -> StreamHeir {
        let heir = StreamHeir::default();
        *heir.lock() = Some(Box::new(self.clone()));
        heir
    }

    /// Whether the snapshot that is going on is the one that `heir` came from.
    pub fn is_saved_for(&self, heir: &StreamHeir) -> bool {
        let _ = heir;
        false
    }

    /// Hands out up to `budget` unsaved nodes or pending entries, and what stands between them, in
    /// the order of [`Stream::for_each_element`]; false at the end, when the snapshot has ended.
    pub fn save_slice(&mut self, budget: usize, f: &mut dyn FnMut(Element<'_>)) -> bool {
        let _ = budget;
        self.for_each_element(f);
        false
    }

    /// Hands out everything in the order of RDB: [`Element::Node`] for each node,
    /// [`Element::Figures`], then for each group [`Element::Group`], its [`Element::Pending`],
    /// [`Element::Consumers`], its [`Element::Consumer`]s.
    pub fn for_each_element(&self, f: &mut dyn FnMut(Element<'_>)) {
        for entry in self.entries().range(StreamId::MIN, StreamId::MAX) {
            f(Element::Node(Node { entry }));
        }
        let entries = self.entries();
        f(Element::Figures(Figures {
            len: entries.len(),
            first_id: entries.first_id(),
            last_id: entries.last_id(),
            max_deleted_id: entries.max_deleted_id(),
            entries_added: entries.entries_added(),
            groups: self.groups().len(),
        }));
        for (name, group) in self.groups().iter_named() {
            hand_out_group(name, group, f);
        }
    }
}

fn hand_out_group(name: &[u8], group: &Group, f: &mut dyn FnMut(Element<'_>)) {
    f(Element::Group(GroupHead {
        name,
        last_id: group.last_id,
        entries_read: group.entries_read,
        pending: group.pending_len(),
    }));
    for (id, pending) in group.pending_range(StreamId::MIN, StreamId::MAX) {
        f(Element::Pending(id, pending));
    }
    f(Element::Consumers(group.consumers().len()));
    for (id, consumer) in group.consumers() {
        let pending: Vec<_> = group
            .pending_range_of(id, StreamId::MIN, StreamId::MAX)
            .collect();
        f(Element::Consumer(ConsumerHead {
            name: &consumer.name,
            seen_at_ms: consumer.seen_at_ms,
            active_at_ms: consumer.active_at_ms,
            pending: &pending,
        }));
    }
}
