//! Chunks against a set of the standard library, with snapshots.

use std::collections::BTreeSet;

use super::super::chunks::Chunks;
use super::*;

#[derive(Default)]
struct Pair {
    chunks: Chunks<StreamId>,
    model: BTreeSet<StreamId>,
    /// What a snapshot is still to hand out.
    unsaved: Option<Vec<StreamId>>,
}

impl Pair {
    fn change(&mut self, rng: &mut Rng, grows: bool) {
        let last = self.model.last().copied().unwrap_or_default();
        let id = match rng.below(3) {
            0 if grows => StreamId::new(last.ms + 1, 0),
            0 => self.model.first().copied().unwrap_or_default(),
            _ => StreamId::new(rng.below(40), rng.below(200)),
        };
        let found = self.chunks.find(id);
        assert_eq!(found.is_some(), self.model.contains(&id));
        match found {
            Some(pos) if !grows || rng.below(3) == 0 => {
                assert_eq!(self.chunks.remove(pos), id);
                self.model.remove(&id);
            }
            Some(_) => {}
            None if grows => {
                self.chunks.insert(id);
                self.model.insert(id);
            }
            // Where there are few, what is near is taken.
            None => {
                let pos = self.chunks.lower_bound(id);
                let near = self.model.range(id..).next().copied();
                assert_eq!(self.chunks.get(pos).copied(), near);
                if let Some(near) = near {
                    assert_eq!(self.chunks.remove(pos), near);
                    self.model.remove(&near);
                }
            }
        }
    }

    /// Many go at once.
    fn thin_out(&mut self, rng: &mut Rng) {
        let (part, modulus) = (rng.below(3), 2 + rng.below(300));
        let stays = |id: &StreamId| !id.seq.is_multiple_of(modulus) && id.ms % 3 != part;
        self.chunks.retain(stays);
        self.model.retain(stays);
    }

    fn save(&mut self, rng: &mut Rng) {
        match &mut self.unsaved {
            None => {
                self.chunks.begin_save();
                self.unsaved = Some(self.model.iter().copied().collect());
            }
            Some(unsaved) => {
                for _ in 0..rng.index(4) {
                    let mut got = Vec::new();
                    let more = self.chunks.save_next(&mut |&id| got.push(id));
                    assert_eq!(more, !got.is_empty());
                    assert_eq!(got[..], unsaved[..got.len()]);
                    unsaved.drain(..got.len());
                    if !more {
                        assert!(unsaved.is_empty());
                        self.chunks.end_save();
                        self.unsaved = None;
                        return;
                    }
                }
            }
        }
    }

    fn check(&self, rng: &mut Rng) {
        let all = &self.chunks;
        assert_eq!(all.check(), Ok(()));
        assert_eq!(all.len(), self.model.len());
        assert!(all.iter(all.start(), all.end()).eq(&self.model));
        assert!(
            all.iter(all.start(), all.end())
                .rev()
                .eq(self.model.iter().rev())
        );
        assert_eq!(all.last(), self.model.last());
        for _ in 0..5 {
            let mut some = || StreamId::new(rng.below(45), rng.below(200));
            let (start, end) = (some(), some());
            assert_eq!(
                all.get(all.lower_bound(start)),
                self.model.range(start..).next()
            );
            let above = self.model.range(start.next().unwrap()..).next();
            assert_eq!(all.get(all.upper_bound(start)), above);
            let before = all.before(all.lower_bound(start));
            let before = before.and_then(|pos| all.get(pos));
            assert_eq!(before, self.model.range(..start).next_back());
            for near in [all.start(), all.lower_bound(end), all.end()] {
                assert_eq!(all.find_near(near, start), all.find(start));
            }
            if start <= end {
                assert!(all.range(start, end).eq(self.model.range(start..=end)));
            } else {
                assert!(all.range(start, end).next().is_none());
            }
        }
    }
}

#[test]
fn chunks_are_a_set_and_snapshots_its_moments() {
    let mut rng = Rng::from_seed(13);
    let mut pair = Pair::default();
    for round in 0..24 {
        let grows = round % 2 == 0;
        for step in 0..4000 {
            pair.change(&mut rng, grows);
            if rng.below(60) == 0 {
                pair.save(&mut rng);
            }
            if rng.below(2000) == 0 {
                pair.thin_out(&mut rng);
            }
            if step % 400 == 0 {
                pair.check(&mut rng);
            }
        }
        if round % 8 == 7 {
            while let Some(pos) = pair.chunks.last_pos() {
                pair.chunks.remove(pos);
            }
            pair.model.clear();
            pair.check(&mut rng);
        }
    }
    let copy = pair.chunks.clone();
    assert!(!copy.is_saving());
}

#[test]
fn sparse_chunks_are_joined() {
    let mut chunks: Chunks<StreamId> = Chunks::default();
    let ids = (1..100_000).map(|seq| StreamId::new(0, seq));
    ids.clone().for_each(|id| chunks.push_back(id));
    let full = chunks.alloc_bytes();
    for id in ids.filter(|id| id.seq % 100 != 0) {
        let pos = chunks.find(id).unwrap();
        chunks.remove(pos);
    }
    assert_eq!(chunks.len(), 999);
    assert!(chunks.alloc_bytes() * 10 < full, "{}", chunks.alloc_bytes());
}
