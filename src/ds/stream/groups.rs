//! Consumer groups: who has read how far, and what is pending with whom.
//!
//! What is pending stands twice: in the group with all that is known of it, and as an id with its
//! consumer; both in the order of ids, in chunks ([`Chunks`]).
//!
//! A snapshot copies what is known of groups and consumers ([`Groups::begin_save`]); the pending
//! entries are walked. A group that is destroyed meanwhile is put aside until the walk has been there.
//!
//! Invariants:
//! - each pending entry of a group is one of exactly one consumer that is there, and the other way
//!   round;
//! - `large_counts` has an entry for each pending one whose count says so, and for no others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::StreamId;
use super::chunks::{Chunks, Item};
use crate::ds::footprint::{block_bytes, btree_bytes};
use crate::util::check::{Checked, holds};

/// Which consumer of a group, while it is there; another one may have the same later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ConsumerId(pub u32);

/// The groups of a stream by their names.
#[derive(Default)]
pub struct Groups {
    all: BTreeMap<Box<[u8]>, Box<Group>>,
    /// Groups that were destroyed before a snapshot has walked them.
    destroyed: Vec<Group>,
}

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// To whom.
    pub consumer: ConsumerId,
    /// When, the last time, Unix ms.
    pub delivered_at_ms: u64,
    /// How often.
    pub deliveries: u64,
}

/// A pending entry as it is stored.
#[derive(Clone)]
pub(super) struct Stored {
    id: StreamId,
    delivered_at_ms: u64,
    consumer: ConsumerId,
    /// [`LARGE_COUNT`] if the group has it elsewhere.
    deliveries: u32,
}

/// The count is larger than fits: what nobody reaches by delivering, only by RETRYCOUNT.
const LARGE_COUNT: u32 = u32::MAX;

/// If more than this part of what is pending goes, all of it is looked at once instead of looking each
/// one up.
const RETAIN_PART: usize = 16;

/// How often entries were delivered whose count is large.
pub(super) type LargeCounts = BTreeMap<StreamId, u64>;

impl Item for Stored {
    const CHUNK_LEN: usize = 128;

    #[inline]
    fn id(&self) -> StreamId {
        self.id
    }
}

impl Stored {
    #[inline]
    pub(super) fn open(&self, large_counts: &LargeCounts) -> (StreamId, Pending) {
        let deliveries = match self.deliveries {
            LARGE_COUNT => large_counts.get(&self.id).copied().unwrap_or_default(),
            deliveries => u64::from(deliveries),
        };
        let pending = Pending {
            consumer: self.consumer,
            delivered_at_ms: self.delivered_at_ms,
            deliveries,
        };
        (self.id, pending)
    }
}

impl Item for StreamId {
    const CHUNK_LEN: usize = 128;

    #[inline]
    fn id(&self) -> StreamId {
        *self
    }
}

/// A consumer.
#[derive(Clone)]
pub struct Consumer {
    /// Its name.
    pub name: Arc<[u8]>,
    /// When it last tried to read, claim or the like, Unix ms.
    pub seen_at_ms: u64,
    /// When it last got something, Unix ms; `None` if it never did.
    pub active_at_ms: Option<u64>,
    pending: Chunks<StreamId>,
}

impl Consumer {
    /// How many entries are pending with it.
    #[inline]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }
}

/// A consumer group.
#[derive(Clone)]
pub struct Group {
    /// The last entry that was delivered to the group.
    pub last_id: StreamId,
    /// How many entries the group has read, by its own count; `None` if that cannot be known.
    pub entries_read: Option<u64>,
    pending: Chunks<Stored>,
    large_counts: LargeCounts,
    consumers: Vec<Option<Box<Consumer>>>,
    /// Places among `consumers` that are free.
    free: Vec<u32>,
    by_name: BTreeMap<Arc<[u8]>, ConsumerId>,
    /// Which one it is for the snapshot that is going on.
    number: usize,
}

/// A group as it was when a snapshot began, but for what is pending.
pub(super) struct SavedGroup {
    pub(super) name: Box<[u8]>,
    pub(super) last_id: StreamId,
    pub(super) entries_read: Option<u64>,
    pub(super) pending_len: usize,
    pub(super) large_counts: LargeCounts,
    /// In the order of their names.
    pub(super) consumers: Vec<SavedConsumer>,
}

/// A consumer as it was when a snapshot began, but for what is pending with it.
pub(super) struct SavedConsumer {
    pub(super) id: ConsumerId,
    pub(super) name: Arc<[u8]>,
    pub(super) seen_at_ms: u64,
    pub(super) active_at_ms: Option<u64>,
    pub(super) pending_len: usize,
}

/// A copy, which is not being saved.
impl Clone for Groups {
    fn clone(&self) -> Self {
        Groups {
            all: self.all.clone(),
            destroyed: Vec::new(),
        }
    }
}

impl Groups {
    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether any of them has a consumer.
    pub fn have_consumers(&self) -> bool {
        self.iter().any(|group| !group.by_name.is_empty())
    }

    /// The group of this name.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&Group> {
        self.all.get(name).map(|group| &**group)
    }

    /// The group of this name, to be changed.
    #[inline]
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.all.get_mut(name).map(|group| &mut **group)
    }

    /// Creates a group; `None` if there is one of this name.
    pub fn create(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> Option<&mut Group> {
        if self.all.contains_key(name) {
            return None;
        }
        let group = Group {
            last_id,
            entries_read,
            pending: Chunks::default(),
            large_counts: BTreeMap::new(),
            consumers: Vec::new(),
            free: Vec::new(),
            by_name: BTreeMap::new(),
            number: 0,
        };
        Some(self.all.entry(name.into()).or_insert(Box::new(group)))
    }

    /// Destroys a group; whether it was there.
    pub fn destroy(&mut self, name: &[u8]) -> bool {
        let Some(group) = self.all.remove(name) else {
            return false;
        };
        if group.pending.is_saving() {
            self.destroyed.push(*group);
        }
        true
    }

    /// All groups in the order of their names' bytes.
    pub fn iter_named(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.all.iter().map(|(name, group)| (&**name, &**group))
    }

    /// All groups.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.all.values().map(|group| &**group)
    }

    /// All groups, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.all.values_mut().map(|group| &mut **group)
    }

    /// The memory in bytes.
    pub(super) fn alloc_bytes(&self) -> usize {
        let place = size_of::<(Box<[u8]>, Box<Group>)>();
        let start = btree_bytes(self.all.len(), place);
        self.all.iter().fold(start, |sum, (name, group)| {
            sum.saturating_add(block_bytes(name.len()) + block_bytes(size_of::<Group>()))
                .saturating_add(group.alloc_bytes())
        })
    }

    /// Begins a snapshot; copies all but what is pending.
    pub(super) fn begin_save(&mut self) -> Vec<SavedGroup> {
        let all = self.all.iter_mut().enumerate();
        all.map(|(number, (name, group))| {
            group.number = number;
            group.pending.begin_save();
            group.saved(name)
        })
        .collect()
    }

    /// The group of a snapshot, wherever it is.
    pub(super) fn saved_mut(&mut self, number: usize, name: &[u8]) -> Option<&mut Group> {
        let is_it = |group: &&mut Group| group.pending.is_saving() && group.number == number;
        let found = self.all.get_mut(name).map(|group| &mut **group);
        let found = found.filter(|group| is_it(group));
        found.or_else(|| self.destroyed.iter_mut().find(is_it))
    }

    /// Ends the snapshot of a group.
    pub(super) fn end_save(&mut self, number: usize, name: &[u8]) {
        if let Some(group) = self.saved_mut(number, name) {
            group.pending.end_save();
        }
        self.destroyed.retain(|group| group.pending.is_saving());
    }
}

impl Group {
    /// Whether what is pending is so with its consumers, and the other way round.
    pub(super) fn check(&self) -> Checked {
        self.pending.check()?;
        let mut with_consumers = 0;
        for (id, consumer) in self.consumers() {
            consumer.pending.check()?;
            with_consumers += consumer.pending.len();
            let name = consumer.name.escape_ascii();
            holds!(
                self.consumer_id(&consumer.name) == Some(id),
                "{name} is not found"
            );
            let ids = &consumer.pending;
            let is_its = |&of: &StreamId| {
                let pending = self.pending(of);
                pending.is_some_and(|pending| pending.consumer == id)
            };
            let stray = ids.iter(ids.start(), ids.end()).find(|of| !is_its(of));
            holds!(stray.is_none(), "{stray:?} is not pending with {name}");
        }
        let pending = self.pending.len();
        holds!(
            pending == with_consumers,
            "{pending} entries are pending, {with_consumers} with consumers"
        );
        let places = self.consumers.iter().flatten().count();
        let (named, free) = (self.by_name.len(), self.free.len());
        holds!(
            places == named && places + free == self.consumers.len(),
            "{places} consumers, {named} by name, {free} free places"
        );
        let is_large = |stored: &&Stored| stored.deliveries == LARGE_COUNT;
        let all = self.pending.iter(self.pending.start(), self.pending.end());
        let large = all.filter(is_large).map(|stored| stored.id);
        holds!(
            large.eq(self.large_counts.keys().copied()),
            "large counts of others than those that have one"
        );
        Ok(())
    }

    /// The consumer of this name.
    #[inline]
    pub fn consumer_id(&self, name: &[u8]) -> Option<ConsumerId> {
        self.by_name.get(name).copied()
    }

    /// Creates the consumer of this name, which is not there.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: u64) -> ConsumerId {
        let name: Arc<[u8]> = name.into();
        let consumer = Some(Box::new(Consumer {
            name: Arc::clone(&name),
            seen_at_ms: now_ms,
            active_at_ms: None,
            pending: Chunks::default(),
        }));
        let at = match self.free.pop() {
            Some(at) => {
                self.consumers[at as usize] = consumer;
                at
            }
            None => {
                self.consumers.push(consumer);
                u32::try_from(self.consumers.len() - 1).expect("memory ends before that")
            }
        };
        let id = ConsumerId(at);
        let former = self.by_name.insert(name, id);
        debug_assert!(former.is_none(), "it was not there");
        id
    }

    /// Deletes a consumer with all that is pending with it; how much that was.
    pub fn delete_consumer(&mut self, id: ConsumerId) -> usize {
        let slot = self.consumers.get_mut(id.0 as usize);
        let Some(consumer) = slot.and_then(Option::take) else {
            return 0;
        };
        self.by_name.remove(&consumer.name);
        self.free.push(id.0);
        let ids = &consumer.pending;
        if ids.len() > self.pending_len() / RETAIN_PART {
            self.pending.retain(|stored| stored.consumer != id);
            let pending = &self.pending;
            self.large_counts
                .retain(|&id, _| pending.find(id).is_some());
        } else {
            for &id in ids.iter(ids.start(), ids.end()) {
                self.take_pending(id);
            }
        }
        ids.len()
    }

    /// A consumer that is there.
    #[inline]
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.0 as usize].as_ref().expect("it is there")
    }

    /// A consumer that is there; its times may be changed.
    #[inline]
    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize].as_mut().expect("it is there")
    }

    /// All consumers in the order of their names' bytes.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = (ConsumerId, &Consumer)> {
        self.by_name.values().map(|&id| (id, self.consumer(id)))
    }

    /// How many entries are pending.
    #[inline]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// What is known of an entry if it is pending.
    #[inline]
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        let stored = self.pending.get(self.pending.find(id)?)?;
        Some(stored.open(&self.large_counts).1)
    }

    /// Makes an entry pending, or changes with whom and how.
    pub fn set_pending(&mut self, id: StreamId, pending: Pending) {
        let deliveries = match u32::try_from(pending.deliveries) {
            Ok(deliveries) if deliveries != LARGE_COUNT => deliveries,
            _ => LARGE_COUNT,
        };
        let stored = Stored {
            id,
            delivered_at_ms: pending.delivered_at_ms,
            consumer: pending.consumer,
            deliveries,
        };
        // Most are new, and come after all others.
        let is_last = self.pending.last().is_none_or(|last| last.id < id);
        let found = (!is_last).then(|| self.pending.find(id)).flatten();
        match found.and_then(|pos| self.pending.get_mut(pos)) {
            Some(there) => {
                let former = std::mem::replace(there, stored);
                if former.deliveries == LARGE_COUNT {
                    self.large_counts.remove(&id);
                }
                if former.consumer != pending.consumer {
                    self.take_from(former.consumer, id);
                    self.consumer_mut(pending.consumer).pending.insert(id);
                }
            }
            None => {
                self.pending.insert(stored);
                self.consumer_mut(pending.consumer).pending.insert(id);
            }
        }
        if deliveries == LARGE_COUNT {
            self.large_counts.insert(id, pending.deliveries);
        }
    }

    /// Makes an entry not pending any more; whether it was.
    #[inline]
    pub fn ack(&mut self, id: StreamId) -> bool {
        match self.take_pending(id) {
            Some(consumer) => {
                self.take_from(consumer, id);
                true
            }
            None => false,
        }
    }

    /// Takes a pending entry out of the group; with whom it was.
    fn take_pending(&mut self, id: StreamId) -> Option<ConsumerId> {
        let pos = self.pending.find(id)?;
        let stored = self.pending.remove(pos);
        if stored.deliveries == LARGE_COUNT {
            self.large_counts.remove(&id);
        }
        Some(stored.consumer)
    }

    fn take_from(&mut self, consumer: ConsumerId, id: StreamId) {
        let ids = &mut self.consumer_mut(consumer).pending;
        if let Some(pos) = ids.find(id) {
            ids.remove(pos);
        }
    }

    /// What is pending from `start` to `end`, both included, in order.
    pub fn pending_range(
        &self,
        start: StreamId,
        end: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, Pending)> {
        let found = self.pending.range(start, end);
        found.map(|stored| stored.open(&self.large_counts))
    }

    /// The same, of one consumer.
    pub fn pending_range_of(
        &self,
        consumer: ConsumerId,
        start: StreamId,
        end: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, Pending)> {
        let ids = self.consumer(consumer).pending.range(start, end);
        let mut near = self.pending.start();
        ids.filter_map(move |&id| {
            near = self.pending.find_near(near, id)?;
            let stored = self.pending.get(near)?;
            Some(stored.open(&self.large_counts))
        })
    }

    fn alloc_bytes(&self) -> usize {
        let slots = self.consumers.capacity() * size_of::<Option<Box<Consumer>>>();
        let free = self.free.capacity() * size_of::<u32>();
        let names = size_of::<Arc<[u8]>>() + size_of::<ConsumerId>();
        let start = block_bytes(slots)
            + block_bytes(free)
            + btree_bytes(self.by_name.len(), names)
            + btree_bytes(self.large_counts.len(), size_of::<(StreamId, u64)>());
        let start = start.saturating_add(self.pending.alloc_bytes());
        self.consumers().fold(start, |sum, (_, consumer)| {
            let name = block_bytes(consumer.name.len() + 2 * size_of::<usize>());
            sum.saturating_add(name + block_bytes(size_of::<Consumer>()))
                .saturating_add(consumer.pending.alloc_bytes())
        })
    }

    /// A copy of all but what is pending.
    fn saved(&self, name: &[u8]) -> SavedGroup {
        let consumers = self.consumers().map(|(id, consumer)| SavedConsumer {
            id,
            name: Arc::clone(&consumer.name),
            seen_at_ms: consumer.seen_at_ms,
            active_at_ms: consumer.active_at_ms,
            pending_len: consumer.pending_len(),
        });
        SavedGroup {
            name: name.into(),
            last_id: self.last_id,
            entries_read: self.entries_read,
            pending_len: self.pending_len(),
            large_counts: self.large_counts.clone(),
            consumers: consumers.collect(),
        }
    }

    /// Hands out the next pending entries that a snapshot has not saved; false if there are none.
    pub(super) fn save_next(&mut self, f: &mut dyn FnMut(&Stored)) -> bool {
        self.pending.save_next(f)
    }
}
