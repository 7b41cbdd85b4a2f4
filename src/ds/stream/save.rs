//! How a snapshot walks a stream that goes on changing.
//!
//! [`Stream::begin_save`] copies the figures, the groups and the consumers. Nodes and chunks of
//! pending entries stay where they are until the walk comes, or until they are about to change: they
//! are copied aside then (`entries`, `chunks`). What is pending with each consumer is gathered while
//! the walk goes over what is pending in its group. A group that is destroyed waits for the walk
//! (`groups`). A stream that is dropped goes to its [`StreamHeir`], where the walk goes on.
//!
//! Invariant: a stream with a walk is being saved in all its parts that the walk has not passed; one
//! without is in none.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::entries::Entry;
use super::groups::{SavedConsumer, SavedGroup};
use super::{ConsumerId, Group, Groups, Pending, Stream, StreamId, node};
use crate::ds::collection::Element;

/// Where a stream goes that is dropped while it is being saved.
pub type StreamHeir = Arc<Mutex<Option<Box<Stream>>>>;

/// So many pending entries of a consumer are as much work as a node.
const PENDING_PER_UNIT: usize = 128;

/// A node as a snapshot writes it.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    node: &'a node::Node,
}

impl std::fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Node({}, {} entries)",
            self.master_id(),
            self.node.live()
        )
    }
}

impl<'a> Node<'a> {
    pub(super) fn new(node: &'a node::Node) -> Node<'a> {
        Node { node }
    }

    /// The id of its master entry, as Redis has it.
    pub fn master_id(&self) -> StreamId {
        self.node.master_id()
    }

    /// Its entries that are not deleted.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        self.node.walk()
    }

    /// The length of the listpack that Redis keeps for it, bytes.
    pub fn listpack_bytes(&self) -> usize {
        self.node.listpack_bytes()
    }

    /// Appends the listpack that Redis keeps for it, to the byte.
    pub fn write_listpack(&self, out: &mut Vec<u8>) {
        self.node.write_listpack(out);
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

/// A consumer without what is pending with it.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerHead<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// See [`super::Consumer::seen_at_ms`].
    pub seen_at_ms: u64,
    /// See [`super::Consumer::active_at_ms`].
    pub active_at_ms: Option<u64>,
    /// How many pending entries follow.
    pub pending: usize,
}

/// A snapshot that is going on, and how far it is.
pub(super) struct Walk {
    heir: StreamHeir,
    figures: Figures,
    /// Those that are still to come, the next one last; numbered from 0 in their order.
    groups: Vec<SavedGroup>,
    stage: Stage,
    /// What is pending with the consumers of the group.
    gathered: HashMap<ConsumerId, Vec<(StreamId, Pending)>>,
}

/// What comes next.
enum Stage {
    Nodes,
    Group,
    Pending,
    /// The consumer with this index.
    Consumer(usize),
    /// What is pending with it, from this one on.
    PendingWith(usize, usize),
}

impl Stream {
    /// Begins a snapshot; one at a time.
    pub fn begin_save(&mut self) -> StreamHeir {
        let heir = StreamHeir::default();
        self.entries.begin_save();
        let mut groups = self.groups.begin_save();
        groups.reverse();
        self.saving = Some(Box::new(Walk {
            heir: heir.clone(),
            figures: self.figures(),
            groups,
            stage: Stage::Nodes,
            gathered: HashMap::new(),
        }));
        heir
    }

    /// Whether the snapshot that is going on is the one that `heir` came from.
    pub fn is_saved_for(&self, heir: &StreamHeir) -> bool {
        let saving = self.saving.as_ref();
        saving.is_some_and(|walk| Arc::ptr_eq(&walk.heir, heir))
    }

    /// Which snapshot is going on: a number that no other one has meanwhile.
    pub fn saving_id(&self) -> Option<usize> {
        let walk = self.saving.as_ref();
        walk.map(|walk| Arc::as_ptr(&walk.heir).addr())
    }

    /// Hands out up to `budget` unsaved nodes, chunks of pending entries, or chunks of what is pending
    /// with a consumer, and what stands between them, in the order of [`Stream::for_each_element`]; false at
    /// the end, when the snapshot has ended.
    pub fn save_slice(&mut self, budget: usize, f: &mut dyn FnMut(Element<'_>)) -> bool {
        let Some(walk) = &mut self.saving else {
            return false;
        };
        let mut left = budget;
        while left > 0 {
            let done = match walk.stage {
                Stage::Nodes => {
                    if !self.entries.save_next(&mut |node| f(Element::Node(node))) {
                        f(Element::Figures(walk.figures));
                        walk.stage = Stage::Group;
                    }
                    1
                }
                _ => walk.group_step(&mut self.groups, f),
            };
            if done == 0 {
                self.saving = None;
                return false;
            }
            left = left.saturating_sub(done);
        }
        true
    }

    /// Hands out everything in the order of RDB: [`Element::Node`] for each node,
    /// [`Element::Figures`], then for each group [`Element::Group`], its [`Element::Pending`],
    /// [`Element::Consumers`], its [`Element::Consumer`]s, each with its [`Element::PendingWith`].
    pub fn for_each_element(&self, f: &mut dyn FnMut(Element<'_>)) {
        self.entries
            .for_each_node(&mut |node| f(Element::Node(node)));
        f(Element::Figures(self.figures()));
        for (name, group) in self.groups().iter_named() {
            hand_out_group(name, group, f);
        }
    }

    fn figures(&self) -> Figures {
        let entries = self.entries();
        Figures {
            len: entries.len(),
            first_id: entries.first_id(),
            last_id: entries.last_id(),
            max_deleted_id: entries.max_deleted_id(),
            entries_added: entries.entries_added(),
            groups: self.groups().len(),
        }
    }
}

impl Walk {
    /// Goes on with the next group; how much work that was, 0 if there was none.
    fn group_step(&mut self, groups: &mut Groups, f: &mut dyn FnMut(Element<'_>)) -> usize {
        let Some(group) = self.groups.last() else {
            return 0;
        };
        let number = self.figures.groups - self.groups.len();
        match self.stage {
            Stage::Nodes | Stage::Group => {
                f(Element::Group(group.head()));
                let lens = group.consumers.iter();
                let lens =
                    lens.map(|consumer| (consumer.id, Vec::with_capacity(consumer.pending_len)));
                self.gathered = lens.collect();
                self.stage = Stage::Pending;
            }
            Stage::Pending => {
                let gathered = &mut self.gathered;
                let live = groups.saved_mut(number, &group.name);
                let more = live.is_some_and(|live| {
                    live.save_next(&mut |stored| {
                        let (id, pending) = stored.open(&group.large_counts);
                        f(Element::Pending(id, pending));
                        if let Some(of_consumer) = gathered.get_mut(&pending.consumer) {
                            of_consumer.push((id, pending));
                        }
                    })
                });
                if !more {
                    groups.end_save(number, &group.name);
                    f(Element::Consumers(group.consumers.len()));
                    self.stage = Stage::Consumer(0);
                }
            }
            Stage::Consumer(at) => match group.consumers.get(at) {
                Some(consumer) => {
                    let pending = self.gathered.get(&consumer.id).map_or(0, Vec::len);
                    f(Element::Consumer(consumer.head(pending)));
                    self.stage = Stage::PendingWith(at, 0);
                }
                None => {
                    self.groups.pop();
                    self.stage = Stage::Group;
                }
            },
            Stage::PendingWith(at, from) => {
                let consumer = group.consumers.get(at).map(|consumer| consumer.id);
                let pending = consumer.and_then(|id| self.gathered.get(&id));
                let mut rest = pending.map_or(&[][..], |all| &all[from.min(all.len())..]);
                rest = &rest[..rest.len().min(PENDING_PER_UNIT)];
                self.stage = match rest {
                    [] => Stage::Consumer(at + 1),
                    some => {
                        f(Element::PendingWith(some));
                        Stage::PendingWith(at, from + some.len())
                    }
                };
            }
        }
        1
    }
}

impl SavedGroup {
    fn head(&self) -> GroupHead<'_> {
        GroupHead {
            name: &self.name,
            last_id: self.last_id,
            entries_read: self.entries_read,
            pending: self.pending_len,
        }
    }
}

impl SavedConsumer {
    fn head(&self, pending: usize) -> ConsumerHead<'_> {
        ConsumerHead {
            name: &self.name,
            seen_at_ms: self.seen_at_ms,
            active_at_ms: self.active_at_ms,
            pending,
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
        let pending = group.pending_range_of(id, StreamId::MIN, StreamId::MAX);
        let pending: Vec<_> = pending.collect();
        f(Element::Consumer(ConsumerHead {
            name: &consumer.name,
            seen_at_ms: consumer.seen_at_ms,
            active_at_ms: consumer.active_at_ms,
            pending: pending.len(),
        }));
        for some in pending.chunks(PENDING_PER_UNIT) {
            f(Element::PendingWith(some));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Some(walk) = &mut self.saving else {
            return;
        };
        // The stream must not hold the heir that holds it.
        let heir = std::mem::take(&mut walk.heir);
        // A walk that was given up has no use for it.
        if Arc::strong_count(&heir) > 1 {
            *heir.lock() = Some(Box::new(Stream {
                entries: std::mem::take(&mut self.entries),
                groups: std::mem::take(&mut self.groups),
                saving: self.saving.take(),
            }));
        }
    }
}

/// A copy, which is not being saved.
impl Clone for Stream {
    fn clone(&self) -> Self {
        Stream {
            entries: self.entries.clone(),
            groups: self.groups.clone(),
            saving: None,
        }
    }
}
