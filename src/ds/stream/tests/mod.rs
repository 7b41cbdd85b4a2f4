//! Tests of streams: against a model that knows no nodes, against Valkey's bytes, and of snapshots
//! under changes.

use super::*;
use crate::ds::listpack::{self, Listpack};
use crate::ds::mover::Mover;
use crate::util::rng::Rng;
use model::Model;

mod chunks;
mod model;
mod nodes;
mod snapshots;

#[test]
fn ids_go_up_and_down() {
    assert_eq!(StreamId::MAX.next(), None);
    assert_eq!(StreamId::MIN.prev(), None);
    let last_of_ms = StreamId::new(7, u64::MAX);
    assert_eq!(last_of_ms.next(), Some(StreamId::new(8, 0)));
    assert_eq!(StreamId::new(8, 0).prev(), Some(last_of_ms));
}

/// What is known of an entry: id, fields and values alternately.
type Known = (StreamId, Vec<Vec<u8>>);

fn known(entry: Entry<'_>) -> Known {
    let fields = entry.fields();
    assert_eq!(fields.len(), fields.count());
    let texts = entry
        .fields()
        .flat_map(|(field, value)| [field.to_vec(), value.to_vec()]);
    (entry.id, texts.collect())
}

/// A stream, and a model that has gone through the same.
#[derive(Default, Clone)]
struct Pair {
    stream: Stream,
    model: Model,
}

impl Pair {
    fn append(&mut self, id: StreamId, texts: Vec<Vec<u8>>, limits: &Limits) {
        let fields = texts.iter().map(|text| &text[..]);
        self.stream.entries_mut().append(id, fields, limits);
        self.model.append(id, texts);
    }

    /// An id above the last one, mostly a near one.
    fn new_id(&self, rng: &mut Rng) -> Option<StreamId> {
        let last = self.stream.entries().last_id();
        let next = last.next()?;
        Some(match rng.below(8) {
            0..3 => next,
            3 => StreamId::new(last.ms, last.seq.checked_add(1 + rng.below(300))?),
            4..6 => StreamId::new(last.ms.checked_add(1 + rng.below(300))?, 0),
            6 => StreamId::new(last.ms.checked_add(1 + rng.below(1 << 40))?, last.seq),
            _ => StreamId::new(last.ms.checked_add(1)?, rng.next_u64() >> rng.below(64)),
        })
    }

    /// The id of an entry that is there, or near one.
    fn some_id(&self, rng: &mut Rng) -> StreamId {
        let ids: Vec<StreamId> = self.model.entries.keys().copied().collect();
        let Some(&id) = ids.get(rng.index(ids.len().max(1))) else {
            return StreamId::new(rng.below(10), rng.below(10));
        };
        match rng.below(6) {
            0 => id.next().unwrap_or(id),
            1 => id.prev().unwrap_or(id),
            _ => id,
        }
    }

    fn delete(&mut self, id: StreamId, references: References) {
        let deleted = self.stream.delete(id, references);
        assert_eq!(deleted, self.model.delete(id, references));
    }

    fn trim(&mut self, trim: Trim, references: References) {
        let before = self.stream.entries().len();
        let deleted = self.stream.trim(trim, references);
        assert_eq!(deleted, before - self.stream.entries().len());
        assert!(trim.limit == 0 || deleted <= trim.limit);
        if !trim.approximate {
            assert_eq!(deleted, self.model.trim(trim.until, references, u64::MAX));
            return;
        }
        // How far it goes depends on nodes, but never further than it should.
        assert_eq!(deleted, self.model.trim(trim.until, references, deleted));
    }

    fn check_range(&self, start: StreamId, end: StreamId) {
        let wanted = self.model.range(start, end);
        let entries = self.stream.entries();
        assert!(entries.range(start, end).map(known).eq(wanted.clone()));
        let back = entries.range_back(start, end).map(known);
        assert!(back.eq(wanted.into_iter().rev()), "{start} {end}");
    }

    fn check(&self, rng: &mut Rng) {
        assert_eq!(self.stream.check(), Ok(()));
        let (entries, model) = (self.stream.entries(), &self.model);
        assert_eq!(entries.len(), model.entries.len() as u64);
        assert_eq!(entries.is_empty(), model.entries.is_empty());
        let first = model.entries.keys().next().copied();
        assert_eq!(entries.first_id(), first.unwrap_or_default());
        assert_eq!(entries.last_id(), model.last_id);
        assert_eq!(entries.max_deleted_id(), model.max_deleted_id);
        assert_eq!(entries.entries_added(), model.entries_added);
        self.check_range(StreamId::MIN, StreamId::MAX);
        for _ in 0..4 {
            let (start, end) = (self.some_id(rng), self.some_id(rng));
            self.check_range(start, end);
            self.check_range(start, StreamId::MAX);
            self.check_range(StreamId::MIN, end);
            assert_eq!(entries.contains(start), model.entries.contains_key(&start));
            assert!(
                entries
                    .get(start)
                    .map(known)
                    .into_iter()
                    .eq(model.range(start, start))
            );
        }
        model.check_groups(&self.stream);
    }
}

fn random_limits(rng: &mut Rng) -> Limits {
    let bytes = [0, 1, 64, 300, 4096];
    let entries = [0, 1, 3, 10, 100];
    Limits {
        node_max_bytes: bytes[rng.index(5)],
        node_max_entries: entries[rng.index(5)],
    }
}

fn random_text(rng: &mut Rng) -> Vec<u8> {
    match rng.below(12) {
        0 => Vec::new(),
        1..5 => (rng.next_u64() as i64 >> rng.below(64)).to_string().into(),
        5..8 => vec![b'a' + rng.below(3) as u8],
        8..10 => vec![b'k'; rng.index(70)],
        10 => vec![b'l'; rng.index(300)],
        _ if rng.below(10) == 0 => vec![b'm'; rng.index(9000)],
        _ => b"012".to_vec(),
    }
}

/// Fields and values; the fields are often the same.
fn random_texts(rng: &mut Rng) -> Vec<Vec<u8>> {
    let count = match rng.below(20) {
        0 => 1 + rng.index(140),
        1..4 => 1 + rng.index(4),
        _ => 2,
    };
    let same = rng.below(5) > 0;
    let texts = (0..count).flat_map(|at| {
        let field = match same {
            true => format!("{at}").into(),
            false => random_text(rng),
        };
        [field, random_text(rng)]
    });
    texts.collect()
}

fn random_trim(pair: &Pair, rng: &mut Rng) -> Trim {
    let until = match rng.below(2) {
        0 => Until::MaxLen(rng.below(pair.stream.entries().len() + 3)),
        _ => Until::MinId(pair.some_id(rng)),
    };
    let approximate = rng.below(2) == 0;
    let limit = match approximate {
        true if rng.below(2) == 0 => 1 + rng.below(20),
        _ => 0,
    };
    Trim {
        until,
        approximate,
        limit,
    }
}

fn random_references(rng: &mut Rng) -> References {
    match rng.below(4) {
        0 => References::Delete,
        1 => References::Acked,
        _ => References::Keep,
    }
}

fn one_change(pair: &mut Pair, rng: &mut Rng, limits: &Limits) {
    match rng.below(60) {
        0..30 => {
            if let Some(id) = pair.new_id(rng) {
                pair.append(id, random_texts(rng), limits);
            }
        }
        30..40 => {
            let id = pair.some_id(rng);
            pair.delete(id, random_references(rng));
        }
        40 => {
            let trim = random_trim(pair, rng);
            pair.trim(trim, random_references(rng));
        }
        41 => {
            let (first, len) = (pair.some_id(rng), rng.index(30));
            let ids = pair.model.entries.range(first..).take(len);
            let ids: Vec<StreamId> = ids.map(|(&id, _)| id).collect();
            ids.into_iter()
                .for_each(|id| pair.delete(id, References::Keep));
        }
        42 => {
            let top = pair.model.entries.keys().next_back();
            let id = top.copied().unwrap_or_default().next().unwrap();
            pair.stream.entries_mut().set_last_id(id);
            pair.model.last_id = id;
        }
        43 => {
            pair.stream.relocate(rng.below(4), &mut Mover::of_all());
        }
        _ => model::change_groups(pair, rng),
    }
}

#[test]
fn entries_and_groups_are_those_of_the_model() {
    let mut rng = Rng::from_seed(5);
    for round in 0..30 {
        let mut pair = Pair::default();
        for step in 0..400 {
            let limits = random_limits(&mut rng);
            one_change(&mut pair, &mut rng, &limits);
            if step % 25 == 0 {
                pair.check(&mut rng);
            }
        }
        pair.check(&mut rng);
        if round % 6 == 0 {
            pair.clone().check(&mut rng);
        }
    }
}

#[test]
fn the_last_ids_are_reached() {
    let limits = Limits {
        node_max_bytes: 0,
        node_max_entries: 0,
    };
    let mut pair = Pair::default();
    let mut rng = Rng::from_seed(6);
    for id in [
        StreamId::new(0, 1),
        StreamId::new(0, u64::MAX),
        StreamId::new(1, 0),
        StreamId::new(u64::MAX - 1, u64::MAX),
        StreamId::new(u64::MAX, 0),
        StreamId::new(u64::MAX, u64::MAX - 1),
        StreamId::MAX,
    ] {
        pair.append(id, random_texts(&mut rng), &limits);
        pair.check(&mut rng);
    }
    assert_eq!(pair.stream.entries().nodes(), 1);
    assert_eq!(pair.new_id(&mut rng), None);
}
