//! Consumer groups. (First version: the interface is what counts.)

use std::collections::{BTreeMap, BTreeSet};

use super::StreamId;

/// Which consumer of a group; never used again for another one while the group is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ConsumerId(pub u32);

/// The groups of a stream by their names.
#[derive(Clone, Default)]
pub struct Groups {
    all: BTreeMap<Box<[u8]>, Group>,
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

/// A consumer.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// Its name.
    pub name: Box<[u8]>,
    /// When it last tried to read, claim or the like, Unix ms.
    pub seen_at_ms: u64,
    /// When it last got something, Unix ms; `None` if it never did.
    pub active_at_ms: Option<u64>,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// How many entries are pending with it.
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
    pending: BTreeMap<StreamId, Pending>,
    consumers: Vec<Option<Consumer>>,
}

impl Groups {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether any of them has a consumer.
    pub fn have_consumers(&self) -> bool {
        let has_consumers = |group: &Group| group.consumers.iter().any(Option::is_some);
        self.all.values().any(has_consumers)
    }

    /// The group of this name.
    pub fn get(&self, name: &[u8]) -> Option<&Group> {
        self.all.get(name)
    }

    /// The group of this name, to be changed.
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.all.get_mut(name)
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
            pending: BTreeMap::new(),
            consumers: Vec::new(),
        };
        Some(self.all.entry(name.into()).or_insert(group))
    }

    /// Destroys a group; whether it was there.
    pub fn destroy(&mut self, name: &[u8]) -> bool {
        self.all.remove(name).is_some()
    }

    /// All groups in the order of their names' bytes.
    pub fn iter_named(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.all.iter().map(|(name, group)| (&**name, group))
    }

    /// All groups.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.all.values()
    }

    /// All groups, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.all.values_mut()
    }
}

impl Group {
    /// The consumer of this name.
    pub fn consumer_id(&self, name: &[u8]) -> Option<ConsumerId> {
        let is_it = |at: &Option<Consumer>| at.as_ref().is_some_and(|at| &*at.name == name);
        let at = self.consumers.iter().position(is_it)?;
        Some(ConsumerId(at as u32))
    }

    /// Creates the consumer of this name, which is not there.
    pub fn create_consumer(&mut self, name: &[u8], now_ms: u64) -> ConsumerId {
        self.consumers.push(Some(Consumer {
            name: name.into(),
            seen_at_ms: now_ms,
            active_at_ms: None,
            pending: BTreeSet::new(),
        }));
        ConsumerId(self.consumers.len() as u32 - 1)
    }

    /// Deletes a consumer with all that is pending with it; how much that was.
    pub fn delete_consumer(&mut self, id: ConsumerId) -> usize {
        let Some(consumer) = self.consumers.get_mut(id.0 as usize).and_then(Option::take) else {
            return 0;
        };
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        consumer.pending.len()
    }

    /// A consumer that is there.
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers[id.0 as usize].as_ref().expect("it is there")
    }

    /// A consumer that is there; its times may be changed.
    pub fn consumer_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers[id.0 as usize].as_mut().expect("it is there")
    }

    /// All consumers in the order of their names' bytes.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = (ConsumerId, &Consumer)> {
        let numbered = self.consumers.iter().enumerate();
        let mut all: Vec<_> = numbered
            .filter_map(|(at, consumer)| Some((ConsumerId(at as u32), consumer.as_ref()?)))
            .collect();
        all.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        all.into_iter()
    }

    /// How many entries are pending.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// What is known of an entry if it is pending.
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(&id).copied()
    }

    /// Makes an entry pending, or changes with whom and how.
    pub fn set_pending(&mut self, id: StreamId, pending: Pending) {
        if let Some(old) = self.pending.insert(id, pending) {
            self.consumer_mut(old.consumer).pending.remove(&id);
        }
        self.consumer_mut(pending.consumer).pending.insert(id);
    }

    /// Makes an entry not pending any more; whether it was.
    pub fn ack(&mut self, id: StreamId) -> bool {
        let Some(old) = self.pending.remove(&id) else {
            return false;
        };
        self.consumer_mut(old.consumer).pending.remove(&id);
        true
    }

    /// What is pending from `start` to `end`, both included, in order.
    pub fn pending_range(
        &self,
        start: StreamId,
        end: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, Pending)> {
        let found = (start <= end).then(|| self.pending.range(start..=end));
        found
            .into_iter()
            .flatten()
            .map(|(&id, &pending)| (id, pending))
    }

    /// The same, of one consumer.
    pub fn pending_range_of(
        &self,
        consumer: ConsumerId,
        start: StreamId,
        end: StreamId,
    ) -> impl DoubleEndedIterator<Item = (StreamId, Pending)> {
        let found = (start <= end).then(|| self.consumer(consumer).pending.range(start..=end));
        let pending = |id: &StreamId| self.pending(*id).map(|pending| (*id, pending));
        found.into_iter().flatten().filter_map(pending)
    }
}
