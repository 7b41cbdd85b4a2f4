//! The model: maps and sets of the standard library, without nodes, chunks and snapshots.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// A stream.
#[derive(Default, Clone)]
pub(super) struct Model {
    pub(super) entries: BTreeMap<StreamId, Vec<Vec<u8>>>,
    pub(super) last_id: StreamId,
    pub(super) max_deleted_id: StreamId,
    pub(super) entries_added: u64,
    pub(super) groups: BTreeMap<Vec<u8>, ModelGroup>,
}

/// A group; consumers by their names.
#[derive(Default, Clone)]
pub(super) struct ModelGroup {
    pub(super) last_id: StreamId,
    pub(super) pending: BTreeMap<StreamId, (Vec<u8>, u64, u64)>,
    pub(super) consumers: BTreeSet<Vec<u8>>,
}

impl Model {
    pub(super) fn append(&mut self, id: StreamId, texts: Vec<Vec<u8>>) {
        self.entries.insert(id, texts);
        self.last_id = id;
        self.entries_added += 1;
    }

    pub(super) fn range(&self, start: StreamId, end: StreamId) -> Vec<Known> {
        if start > end {
            return Vec::new();
        }
        let found = self.entries.range(start..=end);
        found.map(|(&id, texts)| (id, texts.clone())).collect()
    }

    fn may_delete(&mut self, id: StreamId, references: References) -> bool {
        match references {
            References::Keep => {}
            References::Delete => {
                for group in self.groups.values_mut() {
                    group.pending.remove(&id);
                }
            }
            References::Acked => {
                let mut groups = self.groups.values();
                return groups.all(|group| group.last_id >= id && !group.pending.contains_key(&id));
            }
        }
        true
    }

    pub(super) fn delete(&mut self, id: StreamId, references: References) -> Deleted {
        if !self.entries.contains_key(&id) {
            return Deleted::NotFound;
        }
        if !self.may_delete(id, references) {
            return Deleted::Kept;
        }
        self.entries.remove(&id);
        self.max_deleted_id = self.max_deleted_id.max(id);
        Deleted::Yes
    }

    /// Trims exactly, but not more than `limit`.
    pub(super) fn trim(&mut self, until: Until, references: References, limit: u64) -> u64 {
        let mut deleted = 0;
        for id in self.entries.keys().copied().collect::<Vec<_>>() {
            let goes = match until {
                Until::MaxLen(len) => self.entries.len() as u64 > len,
                Until::MinId(min) => id < min,
            };
            if !goes || deleted == limit {
                break;
            }
            if self.may_delete(id, references) {
                self.entries.remove(&id);
                deleted += 1;
            }
        }
        deleted
    }

    /// The stream's groups are these.
    pub(super) fn check_groups(&self, stream: &Stream) {
        let groups = stream.groups();
        assert_eq!(groups.len(), self.groups.len());
        assert_eq!(groups.is_empty(), self.groups.is_empty());
        let names = groups.iter_named().map(|(name, _)| name);
        assert!(names.eq(self.groups.keys()));
        for ((_, group), wanted) in groups.iter_named().zip(self.groups.values()) {
            wanted.check(group);
        }
        let of_groups = self.groups.values();
        let of_groups = of_groups.map(|group| group.pending.len() + group.consumers.len());
        assert_eq!(
            stream.weight(),
            self.entries.len() + of_groups.sum::<usize>()
        );
    }
}

impl ModelGroup {
    fn check(&self, group: &Group) {
        assert_eq!(group.last_id, self.last_id);
        let name_of = |id| group.consumer(id).name.to_vec();
        let open = |(id, pending): (StreamId, Pending)| {
            let Pending {
                consumer,
                delivered_at_ms,
                deliveries,
            } = pending;
            (id, (name_of(consumer), delivered_at_ms, deliveries))
        };
        let all = self.pending.iter().map(|(&id, known)| (id, known.clone()));
        let range = group.pending_range(StreamId::MIN, StreamId::MAX);
        assert!(range.map(open).eq(all.clone()));
        assert_eq!(group.pending_len(), self.pending.len());
        let back = group.pending_range(StreamId::MIN, StreamId::MAX).rev();
        assert!(back.map(open).eq(all.clone().rev()));
        assert!(
            group
                .consumers()
                .map(|(_, consumer)| &*consumer.name)
                .eq(&self.consumers)
        );
        for (id, consumer) in group.consumers() {
            assert_eq!(group.consumer_id(&consumer.name), Some(id));
            let of_it = all
                .clone()
                .filter(|(_, known)| known.0 == consumer.name.to_vec());
            assert_eq!(consumer.pending_len(), of_it.clone().count());
            let range = group.pending_range_of(id, StreamId::MIN, StreamId::MAX);
            assert!(range.map(open).eq(of_it));
        }
        for (&from, to) in self.pending.keys().zip(self.pending.keys().skip(3)) {
            let range = group.pending_range(from, *to);
            assert!(
                range
                    .map(|(id, _)| id)
                    .eq(self.pending.range(from..=*to).map(|at| *at.0))
            );
            assert_eq!(group.pending_range(*to, from).count(), 0);
        }
    }
}

/// A random change of a group, or of which there are.
pub(super) fn change_groups(pair: &mut Pair, rng: &mut Rng) {
    let name = vec![b'g', b'0' + rng.below(3) as u8];
    let Some(group) = pair.model.groups.get_mut(&name) else {
        let last_id = pair.some_id(rng);
        let group = pair.stream.groups_mut().create(&name, last_id, None);
        assert!(group.is_some_and(|group| group.last_id == last_id));
        assert!(
            pair.stream
                .groups_mut()
                .create(&name, last_id, None)
                .is_none()
        );
        let group = ModelGroup {
            last_id,
            ..ModelGroup::default()
        };
        pair.model.groups.insert(name, group);
        return;
    };
    let there = pair.stream.groups_mut().get_mut(&name).unwrap();
    let consumer = vec![b'c', b'0' + rng.below(4) as u8];
    let pending: Vec<StreamId> = group.pending.keys().copied().collect();
    let some_pending = pending.get(rng.index(pending.len().max(1))).copied();
    match rng.below(30) {
        0 => {
            pair.model.groups.remove(&name);
            assert!(pair.stream.groups_mut().destroy(&name));
            assert!(!pair.stream.groups_mut().destroy(&name));
        }
        1 => {
            let there_len = there
                .consumer_id(&consumer)
                .map(|id| there.delete_consumer(id));
            let before = group.pending.len();
            group.pending.retain(|_, known| known.0 != consumer);
            let was_there = group.consumers.remove(&consumer);
            assert_eq!(there_len, was_there.then(|| before - group.pending.len()));
        }
        2..10 => {
            let id = some_pending.unwrap_or_default();
            assert_eq!(there.ack(id), group.pending.remove(&id).is_some());
            assert!(!there.ack(id));
        }
        10..12 => {
            group.last_id = pair.model.last_id;
            there.last_id = group.last_id;
        }
        _ => {
            let number = rng.below(2000);
            let id = match some_pending {
                Some(id) if rng.below(4) == 0 => id,
                _ => StreamId::new(number / 50, number),
            };
            let known = (consumer.clone(), rng.next_u64(), random_count(rng));
            let of = there.consumer_id(&consumer);
            let of = of.unwrap_or_else(|| there.create_consumer(&consumer, 0));
            group.consumers.insert(consumer);
            let pending = Pending {
                consumer: of,
                delivered_at_ms: known.1,
                deliveries: known.2,
            };
            there.set_pending(id, pending);
            assert_eq!(there.pending(id), Some(pending));
            group.pending.insert(id, known);
        }
    }
}

fn random_count(rng: &mut Rng) -> u64 {
    match rng.below(10) {
        0 => u64::from(u32::MAX) - 1 + rng.below(3),
        1 => rng.next_u64(),
        _ => rng.below(5),
    }
}
