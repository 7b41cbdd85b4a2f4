//! A snapshot shows exactly what was there when it began, whatever happens while it is taken.

use std::collections::BTreeMap;

use super::*;
use crate::ds::entry::{Entry, EntryRef, Meta, NewValue};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::util::rng::Rng;

/// Key to value and expiry.
type Model = BTreeMap<Vec<u8>, (i64, Option<u64>)>;

/// Miri is a thousand times slower.
const ROUNDS: usize = if cfg!(miri) { 2 } else { 60 };

struct Pair {
    table: Table<Entry>,
    model: Model,
    rng: Rng,
    /// What the snapshot has handed out.
    seen: Model,
    is_watched: bool,
    now_ms: u64,
}

fn note(seen: &mut Model, entry: EntryRef<'_>) {
    let crate::ds::entry::ValueRef::Int(value) = entry.value() else {
        panic!("only integers here")
    };
    let before = seen.insert(entry.key().to_vec(), (value, entry.expire_at_ms()));
    assert!(before.is_none(), "handed out twice");
}

impl Pair {
    fn new(is_watched: bool, seed: u64) -> Pair {
        let hash = KeyHash::process(HashFunction::Fast);
        Pair {
            table: Table::new(0, hash),
            model: Model::new(),
            rng: Rng::from_seed(seed),
            seen: Model::new(),
            is_watched,
            now_ms: 1_000_000,
        }
    }

    fn find(&self, key: &[u8]) -> Option<Slot> {
        self.table.find(self.table.key_hash().hash(key), key)
    }

    /// What the owner of a watched table does before a change.
    fn before_change(&mut self, slot: Slot) {
        if self.is_watched && self.table.is_saving() && !self.table.is_saved(slot) {
            note(&mut self.seen, self.table.get(slot));
            self.table.set_saved(slot);
        }
    }

    fn set(&mut self, key: Vec<u8>) {
        let value = self.rng.below(1000) as i64;
        let hash = self.table.key_hash().hash(&key);
        let slot = self.find(&key);
        let expire_at_ms = match self.rng.below(3) {
            0 => Some(self.now_ms + self.rng.below(1000)),
            _ => None,
        };
        let entry = Entry::new(&key, Meta::default(), NewValue::Int(value), expire_at_ms);
        match slot {
            None => {
                self.table.insert(hash, entry);
            }
            Some(slot) => {
                self.before_change(slot);
                self.table.replace(slot, entry);
            }
        }
        self.model.insert(key, (value, expire_at_ms));
    }

    fn step(&mut self, keys: u64) {
        let key = self.rng.below(keys).to_le_bytes().to_vec();
        let choice = self.rng.below(10);
        if choice < 4 {
            return self.set(key);
        }
        if choice == 9 && self.rng.below(20) == 0 {
            return self.expire();
        }
        let Some(slot) = self.find(&key) else { return };
        self.before_change(slot);
        let known = self.model.get_mut(&key).unwrap();
        match choice {
            4 => {
                assert!(self.table.get_mut(slot).try_set_int(7));
                known.0 = 7;
            }
            5 => {
                known.1 = Some(self.now_ms + 50);
                self.table.set_expire(slot, known.1);
            }
            6 => {
                let make = |entry: Entry| {
                    let view = entry.view();
                    let value = NewValue::Int(9);
                    Entry::new(view.key(), view.meta(), value, view.expire_at_ms())
                };
                self.table.map(slot, make);
                known.0 = 9;
            }
            _ => {
                self.table.remove(slot);
                self.model.remove(&key);
            }
        }
    }

    fn expire(&mut self) {
        self.now_ms += self.rng.below(200);
        let (model, seen) = (&mut self.model, &mut self.seen);
        let is_watched = self.is_watched;
        let mut taken = |entry: Entry, is_unsaved: bool| {
            model.remove(entry.view().key()).unwrap();
            if is_unsaved && is_watched {
                note(seen, entry.view());
            }
        };
        self.table
            .take_expired_unsaved(self.now_ms, 1000, &mut taken);
    }

    /// One snapshot under fire.
    fn snapshot(&mut self, keys: u64) {
        let expected = self.model.clone();
        let heir = match self.is_watched {
            true => {
                self.table.begin_save();
                None
            }
            false => Some(self.table.begin_kept_save()),
        };
        let mut cursor = Some(0);
        let gives_up_at = self.rng.below(40);
        let mut slices = 0;
        while let Some(at) = cursor {
            for _ in 0..self.rng.below(40) {
                self.step(keys);
            }
            slices += 1;
            if let (Some(heir), true) = (&heir, slices == gives_up_at) {
                assert!(self.table.is_saved_for(heir));
                self.table.clear();
                self.model.clear();
                let mut rest = heir.lock().take().unwrap();
                while let Some(at) = cursor {
                    let mut f = |entry: EntryRef<'_>| note(&mut self.seen, entry);
                    cursor = rest.save_slice(at, 100, &mut f);
                }
                rest.end_save();
                break;
            }
            let budget = self.rng.below(60) as usize;
            let mut f = |entry: EntryRef<'_>| note(&mut self.seen, entry);
            cursor = self.table.save_slice(at, budget, &mut f);
        }
        self.table.end_save();
        assert_eq!(std::mem::take(&mut self.seen), expected);
    }
}

#[test]
fn a_snapshot_is_what_was_there() {
    for (seed, is_watched) in [(1, true), (2, false)] {
        let mut pair = Pair::new(is_watched, seed);
        pair.snapshot(10);
        for round in 0..ROUNDS {
            // Waves of growth: many segments, then few.
            let keys = [20, 3000, 400, 20_000][round % 4];
            let keys = if cfg!(miri) { keys / 20 + 5 } else { keys };
            for _ in 0..keys {
                pair.step(keys);
            }
            if round % 7 == 6 {
                for key in 0..keys {
                    let key = key.to_le_bytes();
                    if let Some(slot) = pair.find(&key) {
                        pair.table.remove(slot);
                        pair.model.remove(&key[..]);
                    }
                }
            }
            pair.snapshot(keys);
            // Nothing is left that looks unsaved to the next one.
            let Pair { table, .. } = &pair;
            for key in pair.model.keys() {
                assert!(table.is_saved(pair.find(key).unwrap()));
            }
        }
    }
}

#[test]
fn a_walk_that_was_given_up_inherits_nothing() {
    let mut pair = Pair::new(false, 3);
    pair.set(b"key".to_vec());
    drop(pair.table.begin_kept_save());
    pair.table.clear();
    assert!(pair.table.is_empty() && !pair.table.is_saving());
    pair.set(b"key".to_vec());
    assert!(pair.find(b"key").is_some());
}

/// However much one command took away before: what holds a shard meanwhile is short.
#[test]
fn what_was_kept_is_handed_out_by_the_budget() {
    const KEYS: u64 = 2_000;
    let mut pair = Pair::new(false, 4);
    (0..KEYS).for_each(|key| pair.set(key.to_le_bytes().to_vec()));
    let heir = pair.table.begin_kept_save();
    for key in 1..KEYS {
        let slot = pair.find(&key.to_le_bytes()).unwrap();
        pair.table.remove(slot);
    }
    let (mut cursor, mut all) = (Some(0), 0);
    while let Some(at) = cursor {
        let mut given = 0;
        let mut count = |_: EntryRef<'_>| given += 1;
        cursor = pair.table.save_slice(at, 50, &mut count);
        assert!(given <= 90, "{given}");
        all += given;
    }
    assert_eq!(all, KEYS);
    pair.table.end_save();
    drop(heir);
}
