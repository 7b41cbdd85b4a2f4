//! Tests of the table: a random model test over real entries, and adversarial hashes over a test
//! item that chooses its own hash and counts its drops. `check` verifies every invariant that the
//! modules state.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use super::segment::{base_of_depth, window_of_position};
use super::*;
use crate::ds::entry::{Entry, Meta, NewValue, ValueRef};
use crate::ds::hash::HashFunction;
use crate::ds::mover::Mover;

/// Miri is a thousand times slower, so it gets this fraction of the work.
const MIRI: u64 = if cfg!(miri) { 25 } else { 1 };

/// A generator of random numbers (SplitMix64).
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// An item with a hash of the test's choice.
struct Chosen {
    key: [u8; 8],
    hash: u64,
    expire_at_ms: Option<u64>,
    live: Rc<Cell<i64>>,
}

#[repr(transparent)]
struct ChosenItem(NonNull<Chosen>);

impl ChosenItem {
    fn new(key: u64, hash: u64, expire_at_ms: Option<u64>, live: &Rc<Cell<i64>>) -> Self {
        live.set(live.get() + 1);
        let key = key.to_le_bytes();
        let live = live.clone();
        let chosen = Box::new(Chosen {
            key,
            hash,
            expire_at_ms,
            live,
        });
        Self(NonNull::from(Box::leak(chosen)))
    }
}

impl Drop for ChosenItem {
    fn drop(&mut self) {
        // SAFETY: the pointer is a leaked box's, owned by self.
        let chosen = unsafe { Box::from_raw(self.0.as_ptr()) };
        chosen.live.set(chosen.live.get() - 1);
    }
}

// SAFETY: the raw form is the box's pointer, aligned to 8.
unsafe impl Item for ChosenItem {
    type Ref<'a> = &'a [u8; 8];
    type Mut<'a> = &'a mut Chosen;

    fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).0.cast()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self(raw.cast())
    }

    unsafe fn borrow<'a>(raw: NonNull<u8>) -> Self::Ref<'a> {
        // SAFETY: raw is a live item.
        unsafe { &raw.cast::<Chosen>().as_ref().key }
    }

    unsafe fn borrow_mut<'a>(raw: NonNull<u8>) -> &'a mut Chosen {
        // SAFETY: raw is a live item, used by nobody else.
        unsafe { raw.cast::<Chosen>().as_mut() }
    }

    unsafe fn key<'a>(raw: NonNull<u8>) -> &'a [u8] {
        // SAFETY: raw is a live item.
        unsafe { &raw.cast::<Chosen>().as_ref().key }
    }

    unsafe fn hash(raw: NonNull<u8>, _: &KeyHash) -> u64 {
        // SAFETY: raw is a live item.
        unsafe { raw.cast::<Chosen>().as_ref().hash }
    }

    unsafe fn expire_at_ms(raw: NonNull<u8>) -> Option<u64> {
        // SAFETY: raw is a live item.
        unsafe { raw.cast::<Chosen>().as_ref().expire_at_ms }
    }

    unsafe fn duplicate(raw: NonNull<u8>) -> Self {
        // SAFETY: raw is a live item.
        let chosen = unsafe { raw.cast::<Chosen>().as_ref() };
        let key = u64::from_le_bytes(chosen.key);
        Self::new(key, chosen.hash, chosen.expire_at_ms, &chosen.live)
    }

    unsafe fn set_expire_at_ms(raw: NonNull<u8>, expire_at_ms: Option<u64>) -> NonNull<u8> {
        // SAFETY: raw is a live item.
        unsafe { raw.cast::<Chosen>().as_mut().expire_at_ms = expire_at_ms };
        raw
    }
}

/// Verifies everything the modules promise about a table.
#[track_caller]
fn check<T: Item>(table: &Table<T>) {
    assert_eq!(table.check(), Ok(()));
}

fn key_of(number: u64) -> Vec<u8> {
    // Lengths differ, some beyond a 1-byte length.
    let mut key = number.to_le_bytes().to_vec();
    key.resize(8 + (number % 7) as usize * 50, b'k');
    key
}

type Model = HashMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

struct ModelTest {
    random: Random,
    hash: KeyHash,
    skip_bits: u32,
    table: Table<Entry>,
    model: Model,
    now_ms: u64,
}

impl ModelTest {
    fn new(seed: u64, skip_bits: u32) -> Self {
        let hash = KeyHash::with_seed(HashFunction::Fast, seed);
        Self {
            random: Random(seed),
            hash,
            skip_bits,
            table: Table::new(skip_bits, hash),
            model: Model::new(),
            now_ms: 1_700_000_000_000,
        }
    }

    /// A key whose hash has the skip bits of this table, all zero.
    fn key(&mut self, keys: u64) -> (Vec<u8>, u64) {
        loop {
            let key = key_of(self.random.below(keys));
            let hash = self.hash.hash(&key);
            if hash.leading_zeros() >= self.skip_bits {
                return (key, hash);
            }
        }
    }

    fn expiry(&mut self) -> Option<u64> {
        let scale = [10, 1000, 100_000, 10_000_000, 1 << 45][self.random.below(5) as usize];
        match self.random.below(3) {
            0 => None,
            1 => Some(self.now_ms + self.random.below(scale)),
            _ => Some((self.now_ms + 5).saturating_sub(self.random.below(10))),
        }
    }

    fn set(&mut self, keys: u64) {
        let (key, hash) = self.key(keys);
        let expire_at_ms = self.expiry();
        let value = vec![self.random.next() as u8; self.random.below(40) as usize];
        let entry = Entry::new(&key, Meta::default(), NewValue::Bytes(&value), expire_at_ms);
        match self.table.find(hash, &key) {
            Some(slot) => {
                let old = self.table.replace(slot, entry);
                let (value, expire_at_ms) = &self.model[&key];
                assert_eq!(old.view().value(), ValueRef::Bytes(value));
                assert_eq!(old.view().expire_at_ms(), *expire_at_ms);
            }
            None => {
                assert!(!self.model.contains_key(&key));
                let slot = self.table.insert(hash, entry);
                assert_eq!(self.table.get(slot).key(), key);
            }
        }
        self.model.insert(key, (value, expire_at_ms));
    }

    fn delete(&mut self, keys: u64) {
        let (key, hash) = self.key(keys);
        let slot = self.table.find(hash, &key);
        match self.model.remove(&key) {
            None => assert!(slot.is_none()),
            Some((value, expire_at_ms)) => {
                let entry = self.table.remove(slot.unwrap());
                assert_eq!(entry.view().key(), key);
                assert_eq!(entry.view().value(), ValueRef::Bytes(&value));
                assert_eq!(entry.view().expire_at_ms(), expire_at_ms);
                assert!(self.table.find(hash, &key).is_none());
            }
        }
    }

    fn expire(&mut self, keys: u64) {
        let (key, hash) = self.key(keys);
        let new_expire_at_ms = self.expiry();
        if let Some((value, expire_at_ms)) = self.model.get_mut(&key) {
            let slot = self.table.find(hash, &key).unwrap();
            self.table.set_expire(slot, new_expire_at_ms);
            *expire_at_ms = new_expire_at_ms;
            let view = self.table.get(slot);
            assert_eq!(
                (view.key(), view.expire_at_ms()),
                (&key[..], new_expire_at_ms)
            );
            assert_eq!(view.value(), ValueRef::Bytes(value));
        }
    }

    fn take_expired(&mut self) {
        // Mostly forward, sometimes far, sometimes back.
        match self.random.below(20) {
            0 => self.now_ms -= self.random.below(20_000),
            1 => self.now_ms += self.random.below(20_000_000),
            2..6 => self.now_ms += self.random.below(5000),
            _ => self.now_ms += self.random.below(5),
        }
        let budget = [0, 1, 10, usize::MAX][self.random.below(4) as usize];
        // Sometimes ahead of time.
        let ahead_ms = [0, 0, 0, 1, 3000, 1 << 20][self.random.below(6) as usize];
        let (until_ms, mut handed) = (self.now_ms + ahead_ms, 0);
        let (table, model) = (&mut self.table, &mut self.model);
        let mut take = |entry: Entry| {
            let (value, expire_at_ms) = model.remove(entry.view().key()).unwrap();
            assert!(expire_at_ms.unwrap() <= until_ms);
            assert_eq!(entry.view().expire_at_ms(), expire_at_ms);
            assert_eq!(entry.view().value(), ValueRef::Bytes(&value));
            handed += 1;
        };
        let taken = match ahead_ms {
            0 => table.take_expired(until_ms, budget, &mut take),
            _ => {
                let times = (self.now_ms, until_ms);
                table.take_expiring_until(times, budget, &mut |entry, _| take(entry))
            }
        };
        assert_eq!(taken, handed);
        assert!(taken <= budget);
        if taken < budget {
            let due = |(_, at): &(Vec<u8>, Option<u64>)| at.is_some_and(|at| at <= until_ms);
            assert!(!self.model.values().any(due));
            assert!(self.table.next_expire_at_ms() > until_ms);
        }
    }

    /// The keys that sweeps meet, each once.
    fn swept(&mut self, only_expiring: bool) -> HashSet<Vec<u8>> {
        let mut met = HashSet::new();
        let mut hand = Some(0);
        while let Some(place) = hand {
            let budget = self.random.below(40) as usize;
            let mut handed = 0;
            hand = self.table.sweep(place, budget, only_expiring, &mut |view| {
                assert!(met.insert(view.key().to_vec()), "met twice");
                handed += 1;
            });
            assert!(hand.is_none() || handed >= budget && handed < budget + LINE_SLOTS);
        }
        met
    }

    /// Moves some lines, or everything; every item is shown once then.
    fn relocate(&mut self) {
        let (mut cursor, mut seen) = (self.random.next() & !0xFFFF, 0);
        if self.random.below(2) == 0 && !self.table.is_saving() {
            cursor = 0;
        }
        let is_whole = cursor == 0;
        loop {
            let mut mover = Mover::of_all();
            let mut shown = |_: &mut Mover<'_>, entry: &mut Entry, has_moved: bool| {
                assert!(has_moved && self.model.contains_key(entry.view().key()));
                seen += 1;
            };
            let mut freed = |old: NonNull<u8>, new: NonNull<u8>| assert_ne!(old, new);
            cursor = self
                .table
                .relocate(cursor, &mut mover, &mut freed, &mut shown);
            if cursor == 0 || !is_whole {
                break;
            }
        }
        assert!(!is_whole || seen == self.model.len());
    }

    fn look_around(&mut self) {
        check(&self.table);
        assert_eq!(self.table.len(), self.model.len());
        let expiring = self.model.values().filter(|(_, at)| at.is_some()).count();
        assert_eq!(self.table.expires_len(), expiring);
        let keys: HashSet<&[u8]> = self.table.iter().map(|view| view.key()).collect();
        assert_eq!(keys.len(), self.model.len());
        for (key, (value, expire_at_ms)) in &self.model {
            let hash = self.hash.hash(key);
            self.table.prefetch_bucket(hash);
            self.table.prefetch_entry(hash);
            let view = self.table.get(self.table.find(hash, key).unwrap());
            assert_eq!(view.value(), ValueRef::Bytes(value));
            assert_eq!(view.expire_at_ms(), *expire_at_ms);
            assert!(keys.contains(&key[..]));
            assert_eq!(self.table.find_hash(hash), self.table.find(hash, key));
        }
        let all = self.model.keys().cloned().collect();
        assert_eq!(self.swept(false), all);
        let mut expiring = self.model.clone();
        expiring.retain(|_, (_, expire_at_ms)| expire_at_ms.is_some());
        assert_eq!(self.swept(true), expiring.into_keys().collect());
        let mut random = self.random.clone();
        match self.table.random(&mut || random.next()) {
            Some(view) => assert!(self.model.contains_key(view.key())),
            None => assert!(self.model.is_empty()),
        }
        let mut scanned = HashSet::new();
        let (mut cursor, mut last) = (0, None);
        loop {
            cursor = self
                .table
                .scan(cursor, 1 + self.random.below(50) as usize, |view| {
                    let hash = self.hash.hash(view.key());
                    assert!(last.is_none_or(|last| hash >> 16 >= last));
                    assert!(scanned.insert(view.key().to_vec()));
                });
            last = Some(cursor >> 16);
            assert_eq!(cursor & 0xFFFF, 0);
            assert!(cursor.leading_zeros() >= self.skip_bits);
            if cursor == 0 {
                break;
            }
        }
        assert_eq!(scanned.len(), self.model.len());
    }

    fn run(&mut self, keys: u64, steps: u64) {
        // Waves of growing and shrinking.
        for step in 0..steps {
            let shrinking = step / (steps / 4).max(1) % 2 == 1;
            match self.random.below(100) {
                0..20 => self.expire(keys),
                20..25 if step % 8 == 0 => self.take_expired(),
                25 if step % 8 == 0 => self.relocate(),
                20..40 => self.delete(keys),
                _ if shrinking => self.delete(keys),
                _ => self.set(keys),
            }
            if step % (steps / 10).max(1) == 0 {
                self.look_around();
            }
        }
        self.look_around();
        self.table.clear();
        self.model.clear();
        self.look_around();
        assert_eq!(self.table.memory_bytes(), 0);
        self.set(keys);
        self.look_around();
    }
}

#[test]
fn behaves_like_a_map_small() {
    for seed in (0..60).step_by(MIRI as usize) {
        ModelTest::new(seed, (seed % 3) as u32).run(1 + seed * seed, 400);
    }
}

#[test]
fn behaves_like_a_map_large() {
    for seed in 0..3 {
        ModelTest::new(1000 + seed, [0, 3, 1][seed as usize])
            .run(20_000 / MIRI, 40_000 / MIRI / MIRI);
    }
}

#[test]
fn expires_everything_at_its_time() {
    // Step by step with a table that holds long expiries, compared with a sorted map.
    let live = Rc::new(Cell::new(0));
    let hash = KeyHash::with_seed(HashFunction::Fast, 5);
    let mut random = Random(5);
    let mut table = Table::<ChosenItem>::new(0, hash);
    let mut model = BTreeMap::<u64, usize>::new();
    let mut now_ms = 1_000_000_000u64;
    for key in 0..3000 / MIRI {
        let expire_at_ms = now_ms + (1 << random.below(24)) + random.below(1000);
        *model.entry(expire_at_ms).or_default() += 1;
        let hash = random.next();
        table.insert(hash, ChosenItem::new(key, hash, Some(expire_at_ms), &live));
    }
    while let Some((&first, _)) = model.first_key_value() {
        // The table may ask to be called early, but never late.
        assert!(table.next_expire_at_ms() <= first);
        assert_eq!(
            table.take_expired(first - 1, usize::MAX, &mut |_| panic!("early")),
            0
        );
        now_ms = first + random.below(3);
        let rest = model.split_off(&(now_ms + 1));
        let due: usize = std::mem::replace(&mut model, rest).into_values().sum();
        assert_eq!(table.take_expired(now_ms, usize::MAX, &mut drop), due);
        assert_eq!(live.get(), model.values().sum::<usize>() as i64);
    }
    check(&table);
    assert!(table.is_empty());
    assert_eq!(table.next_expire_at_ms(), NO_EXPIRY);
    assert_eq!(table.take_expired(u64::MAX, usize::MAX, &mut drop), 0);
}

#[test]
fn a_budget_spreads_a_burst_over_calls() {
    let live = Rc::new(Cell::new(0));
    let mut random = Random(6);
    let mut table = Table::<ChosenItem>::new(0, KeyHash::process(HashFunction::Fast));
    for key in 0..5000 / MIRI {
        let hash = random.next();
        table.insert(
            hash,
            ChosenItem::new(key, hash, Some(1000 + key % 10), &live),
        );
    }
    let mut left = 5000 / MIRI as usize;
    while left > 0 {
        let taken = table.take_expired(2000, 70, &mut drop);
        assert_eq!(taken, left.min(70));
        left -= taken;
        assert_eq!(live.get(), left as i64);
        check(&table);
    }
    assert_eq!(table.take_expired(2000, 70, &mut drop), 0);
}

#[test]
fn merging_on_expiry_forgets_no_bound() {
    for seed in 0..10 {
        let live = Rc::new(Cell::new(0));
        let mut random = Random(seed);
        let mut table = Table::<ChosenItem>::new(0, KeyHash::process(HashFunction::Fast));
        table.set_clock_ms(1);
        for key in 0..5000 / MIRI {
            let hash = random.next();
            // Only a quarter of the segments shrinks, so that the directory stays.
            let expire_at_ms = match random.below(10) {
                _ if hash >> 62 != 3 => 1 << 30,
                0 => 10_000 + random.below(1 << 20),
                _ => 1000,
            };
            table.insert(hash, ChosenItem::new(key, hash, Some(expire_at_ms), &live));
        }
        table.take_expired(2000, usize::MAX, &mut drop);
        check(&table);
        assert!(table.next_expire_at_ms() > 2000);
    }
}

/// A segment that was visited takes in the one that becomes empty, and then one that was not visited yet.
#[test]
fn merging_twice_on_expiry_forgets_no_bound() {
    let live = Rc::new(Cell::new(0));
    let mut random = Random(8);
    let mut table = Table::<ChosenItem>::new(0, KeyHash::process(HashFunction::Fast));
    table.set_clock_ms(1);
    let mut keys = 0..;
    let mut fill = |table: &mut Table<ChosenItem>, prefix: u64, bits: u32, count, expire_at_ms| {
        let add = |_| {
            let (key, hash) = (
                keys.next().unwrap(),
                random.next() >> bits | prefix << (64 - bits),
            );
            table.insert(hash, ChosenItem::new(key, hash, expire_at_ms, &live));
            (key, hash)
        };
        (0..count).map(add).collect::<Vec<_>>()
    };
    // So that the directory is not halved.
    fill(&mut table, 0b1, 1, 2000, None);
    let left = fill(&mut table, 0b000, 3, 200, None);
    fill(&mut table, 0b001, 3, 400, Some(1000));
    fill(&mut table, 0b01, 2, 5, Some(5000));
    for (key, hash) in &left[2..] {
        let slot = table.find(*hash, &key.to_le_bytes()).unwrap();
        drop(table.remove(slot));
    }
    assert_eq!(table.take_expired(2000, usize::MAX, &mut drop), 400);
    check(&table);
    assert!((2001..=5000).contains(&table.next_expire_at_ms()));
    assert_eq!(table.take_expired(6000, usize::MAX, &mut drop), 5);
    check(&table);
}

#[test]
fn what_was_due_before_the_clock_is_found() {
    let live = Rc::new(Cell::new(0));
    let mut random = Random(7);
    let mut table = Table::<ChosenItem>::new(0, KeyHash::process(HashFunction::Fast));
    table.set_clock_ms(100_000);
    for key in 0..5000 / MIRI {
        let hash = random.next();
        let expire_at_ms = 50_000 + random.below(100_000);
        table.insert(hash, ChosenItem::new(key, hash, Some(expire_at_ms), &live));
    }
    check(&table);
    // The clock may even go back.
    for now_ms in [60_000, 99_999, 100_000, 120_000] {
        table.take_expired(now_ms, usize::MAX, &mut drop);
        check(&table);
        assert!(table.next_expire_at_ms() > now_ms);
    }
}

#[test]
fn scan_returns_what_stays_exactly_once() {
    for seed in (0..12).step_by(MIRI as usize) {
        let live = Rc::new(Cell::new(0));
        let mut random = Random(seed);
        let hash = KeyHash::process(HashFunction::Fast);
        let mut table = Table::<ChosenItem>::new(2, hash);
        let stays = [10, 300, 3000][seed as usize % 3];
        let guests = [20_000, 200, 5000][seed as usize % 3];
        for key in 0..stays {
            let hash = random.next() >> 2;
            table.insert(hash, ChosenItem::new(key, hash, None, &live));
        }
        let mut others = Vec::new();
        let grow = |table: &mut Table<ChosenItem>, random: &mut Random, others: &mut Vec<_>| {
            for _ in 0..guests / 8 {
                let hash = random.next() >> 2;
                let key = stays + random.next() % (1 << 60);
                if table.find(hash, &key.to_le_bytes()).is_none() {
                    table.insert(hash, ChosenItem::new(key, hash, None, &live));
                    others.push((key, hash));
                }
            }
        };
        let shrink = |table: &mut Table<ChosenItem>, others: &mut Vec<(u64, u64)>| {
            for (key, hash) in others.drain(..) {
                let slot = table.find(hash, &key.to_le_bytes()).unwrap();
                drop(table.remove(slot));
            }
        };
        if seed % 2 == 0 {
            (0..8).for_each(|_| grow(&mut table, &mut random, &mut others));
        }
        let mut seen = HashMap::new();
        let mut cursor = 0;
        for call in 0.. {
            cursor = table.scan(cursor, 1 + random.below(20) as usize, |key| {
                *seen.entry(u64::from_le_bytes(*key)).or_insert(0) += 1;
            });
            if cursor == 0 {
                break;
            }
            match (call + seed) % 16 {
                0 | 3 | 4 => grow(&mut table, &mut random, &mut others),
                8 => shrink(&mut table, &mut others),
                _ => {}
            }
        }
        for key in 0..stays {
            assert_eq!(seen.get(&key), Some(&1), "seed {seed} key {key}");
        }
        // Guests come and go, but each is inserted once.
        assert!(seen.values().all(|&times| times == 1));
        check(&table);
        drop(table);
        assert_eq!(live.get(), 0);
    }
}

#[test]
fn a_hand_stays_good_while_the_table_changes() {
    for seed in (0..12).step_by(MIRI as usize) {
        let live = Rc::new(Cell::new(0));
        let mut random = Random(seed);
        let mut table = Table::<ChosenItem>::new(2, KeyHash::process(HashFunction::Fast));
        let mut items = Vec::new();
        let mut next_key = 0..;
        let (mut hand, mut rounds) = (0, 0);
        // Grows and shrinks while the hand goes round, and whatever it says is asked for.
        for step in 0..4000 / MIRI {
            let grows = step / 500 % 2 == 0;
            for _ in 0..10 {
                if grows || items.is_empty() {
                    let (key, hash) = (next_key.next().unwrap(), random.next() >> 2);
                    let expire_at_ms = (key % 5 == 0).then_some(1 << 40);
                    table.insert(hash, ChosenItem::new(key, hash, expire_at_ms, &live));
                    items.push((key, hash));
                } else {
                    let at = random.below(items.len() as u64) as usize;
                    let (key, hash) = items.swap_remove(at);
                    drop(table.remove(table.find(hash, &key.to_le_bytes()).unwrap()));
                }
            }
            let mut met = 0;
            match table.sweep(hand, 30, seed % 2 == 0, &mut |_| met += 1) {
                Some(next) => {
                    assert!(met >= 30);
                    hand = next;
                }
                None => (hand, rounds) = (0, rounds + 1),
            }
            // A hand of another table is as good.
            table.sweep(random.next() >> random.below(64), 3, false, &mut |_| {});
        }
        assert!(rounds > 3 || MIRI > 1, "{rounds}");
    }
}

#[test]
fn scan_accepts_any_cursor() {
    let live = Rc::new(Cell::new(0));
    let mut random = Random(3);
    let mut table = Table::<ChosenItem>::new(6, KeyHash::process(HashFunction::Fast));
    assert_eq!(table.scan(u64::MAX, 10, |_| panic!()), 0);
    for key in 0..5000 {
        let hash = random.next() >> 6;
        table.insert(hash, ChosenItem::new(key, hash, None, &live));
    }
    for _ in 0..2000 {
        let cursor = random.next() >> random.below(64);
        let next = table.scan(cursor, random.below(3) as usize, |_| {});
        assert!(next == 0 || next > cursor & (u64::MAX >> 6));
    }
    assert_eq!(table.scan(u64::MAX, 10, |_| {}), 0);
    // A budget of zero still gets on.
    let (mut cursor, mut calls) = (0, 0);
    loop {
        cursor = table.scan(cursor, 0, |_| {});
        calls += 1;
        if cursor == 0 {
            break;
        }
    }
    assert!(calls > 1);
}

#[test]
fn colliding_hashes_only_make_lists() {
    // All equal; equal in the position bits only; equal in the directory's reach; few values.
    let hashes: [fn(&mut Random) -> u64; 5] = [
        |_| 0,
        |_| u64::MAX,
        |random| 0x5555_5555_5555 << 16 | random.below(1 << 16),
        |random| random.next() >> 40,
        |random| random.below(3) << 62,
    ];
    for (case, hash_of) in hashes.into_iter().enumerate() {
        for other in [0, 300] {
            let live = Rc::new(Cell::new(0));
            let mut random = Random(case as u64);
            let mut table = Table::<ChosenItem>::new(0, KeyHash::process(HashFunction::Fast));
            let mut items = Vec::new();
            for key in 0..2000u64 {
                let hash = if key < other {
                    random.next()
                } else {
                    hash_of(&mut random)
                };
                let expire_at_ms = (key % 3 == 0).then_some(5000 + key);
                let slot = table.insert(hash, ChosenItem::new(key, hash, expire_at_ms, &live));
                assert_eq!(table.get(slot), &key.to_le_bytes());
                items.push((key, hash));
            }
            check(&table);
            assert!(
                table.segments() < 200 && table.dir.len() < 2000,
                "{}",
                table.segments()
            );
            assert!(table.memory_bytes() < 100_000);
            for &(key, hash) in &items {
                let slot = table.find(hash, &key.to_le_bytes()).unwrap();
                assert_eq!(table.get(slot), &key.to_le_bytes());
                assert!(table.find(hash, &(key + 10_000).to_le_bytes()).is_none());
            }
            let mut seen = HashSet::new();
            let mut cursor = 0;
            loop {
                cursor = table.scan(cursor, 10, |key| assert!(seen.insert(*key)));
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!(seen.len(), 2000);
            assert_eq!(table.iter().count(), 2000);
            for (only_expiring, expected) in [(false, 2000), (true, 667)] {
                let (mut met, mut hand) = (HashSet::new(), Some(0));
                while let Some(place) = hand {
                    let mut meet = |key: &[u8; 8]| assert!(met.insert(*key));
                    hand = table.sweep(place, 10, only_expiring, &mut meet);
                }
                assert_eq!(met.len(), expected);
            }
            let found = table.find_hash(items[0].1).map(|slot| *table.get(slot));
            let found = found.map(u64::from_le_bytes);
            assert_eq!(found.map(|key| items[key as usize].1), Some(items[0].1));
            assert!(table.random(&mut || random.next()).is_some());
            // Expire a part, in two budgets; then set and remove expiries.
            assert_eq!(table.take_expired(5999, 100, &mut drop), 100);
            check(&table);
            assert_eq!(table.take_expired(5999, 1000, &mut drop), 234);
            check(&table);
            items.retain(|(key, _)| key % 3 != 0 || *key >= 1000);
            assert_eq!((table.len(), live.get()), (items.len(), items.len() as i64));
            for &(key, hash) in items.iter().step_by(5) {
                let slot = table.find(hash, &key.to_le_bytes()).unwrap();
                table.set_expire(slot, (key % 2 == 0).then_some(9000));
            }
            check(&table);
            for at in (0..items.len()).rev() {
                // From the front, the back and the middle.
                let (key, hash) = items.swap_remove(at * 7 % items.len());
                let slot = table.find(hash, &key.to_le_bytes()).unwrap();
                drop(table.remove(slot));
                if at % 200 == 0 {
                    check(&table);
                }
            }
            assert_eq!((table.len(), live.get()), (0, 0));
            assert_eq!(table.segments(), 1);
        }
    }
}

#[test]
fn shrinks_to_what_is_needed() {
    let live = Rc::new(Cell::new(0));
    let mut random = Random(8);
    let mut table = Table::<ChosenItem>::new(0, KeyHash::process(HashFunction::Fast));
    let items: Vec<(u64, u64)> = (0..30_000).map(|key| (key, random.next())).collect();
    for &(key, hash) in &items {
        table.insert(hash, ChosenItem::new(key, hash, None, &live));
        assert!(
            table.memory_bytes() < 1000 + 16 * table.len(),
            "{}",
            table.len()
        );
    }
    for (taken, &(key, hash)) in items.iter().enumerate() {
        let slot = table.find(hash, &key.to_le_bytes()).unwrap();
        drop(table.remove(slot));
        let left = items.len() - taken - 1;
        assert!(
            table.memory_bytes() < 1000 + 30 * left,
            "{left}: {}",
            table.memory_bytes()
        );
    }
    check(&table);
    assert_eq!((table.segments(), table.dir.len()), (1, 2));
    assert!(table.memory_bytes() < 600);
}

#[test]
fn bytes_per_key_are_within_the_budget() {
    // 1 M keys over 64 shards are 15,625 a table: look at one table around that size.
    for seed in 0..3 {
        let live = Rc::new(Cell::new(0));
        let mut random = Random(seed);
        let mut table = Table::<ChosenItem>::new(6, KeyHash::process(HashFunction::Fast));
        for key in 0..20_000 {
            let hash = random.next() >> 6;
            table.insert(hash, ChosenItem::new(key, hash, None, &live));
            if key >= 5000 {
                let bytes = table.memory_bytes() as f64 / table.len() as f64;
                assert!(bytes < 13.5, "{bytes} at {key}");
            }
        }
    }
}

#[test]
fn random_is_fair() {
    let live = Rc::new(Cell::new(0));
    let mut random = Random(9);
    let mut table = Table::<ChosenItem>::new(0, KeyHash::process(HashFunction::Fast));
    assert!(table.random(&mut || random.next()).is_none());
    let mut random = Random(9);
    for key in 0..1000 {
        let hash = random.next();
        table.insert(hash, ChosenItem::new(key, hash, None, &live));
    }
    let mut times = [0u32; 1000];
    for _ in 0..100_000 {
        let key = table.random(&mut || random.next()).unwrap();
        times[u64::from_le_bytes(*key) as usize] += 1;
    }
    // 100 expected, standard deviation 10, and fills differ by some percent.
    assert!(
        times.iter().all(|times| (45..200).contains(times)),
        "{times:?}"
    );
    // One item in a table of one key.
    let mut table = Table::<ChosenItem>::new(0, KeyHash::process(HashFunction::Fast));
    table.insert(7, ChosenItem::new(7, 7, None, &live));
    assert_eq!(
        table.random(&mut || random.next()),
        Some(&7u64.to_le_bytes())
    );
}

#[test]
fn stale_slots_are_harmless() {
    let live = Rc::new(Cell::new(0));
    let mut table = Table::<ChosenItem>::new(0, KeyHash::process(HashFunction::Fast));
    let slot = table.insert(1, ChosenItem::new(1, 1, None, &live));
    drop(table.remove(slot));
    let get = |table: &Table<ChosenItem>, slot| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| *table.get(slot)))
    };
    assert!(get(&table, slot).is_err());
    table.clear();
    assert!(get(&table, slot).is_err());
    assert!(get(&table, Slot::new(1 << 30, 0)).is_err());
    table.insert(1, ChosenItem::new(1, 1, None, &live));
    assert!(get(&table, Slot::new(0, 1 << 20)).is_err());
}

#[test]
fn windows_follow_the_position() {
    let mut random = Random(4);
    for _ in 0..1000 {
        let position = random.next();
        for depth in 0..33u32 {
            let window = window_of_position(position, depth);
            let right = position << depth >> 63 == 1;
            assert_eq!(segment::splits_right(window, depth), right);
            if depth > 0 && base_of_depth(depth) != base_of_depth(depth - 1) {
                let prefix = (position >> (64 - depth)) as usize;
                let parent = window_of_position(position, depth - 1);
                assert_eq!(segment::window_in_parent(window, prefix), parent);
            }
        }
    }
}

#[test]
fn sampled_expiries_are_those_of_items_and_fair() {
    let live = Rc::new(Cell::new(0));
    let mut random = Random(11);
    let mut table = Table::<ChosenItem>::new(0, KeyHash::process(HashFunction::Fast));
    let sample = |table: &Table<ChosenItem>, most, random: &mut Random| {
        let mut seen = Vec::new();
        table.sample_expiries(most, &mut || random.next(), |at_ms| seen.push(at_ms));
        seen
    };
    assert!(sample(&table, 10, &mut random).is_empty());
    // One of a hundred items expires: no two at the same time.
    let mut all = Vec::new();
    for key in 0..20_000 {
        let expire_at_ms = (key % 100 == 0).then_some(1_000_000 + key);
        all.extend(expire_at_ms);
        table.insert(random.next(), ChosenItem::new(key, 0, expire_at_ms, &live));
    }
    let mut everything = sample(&table, usize::MAX, &mut random);
    everything.sort_unstable();
    assert_eq!(everything, all);
    assert!(sample(&table, 0, &mut random).is_empty());
    let mut times: HashMap<u64, u32> = HashMap::new();
    for _ in 0..5_000 {
        let seen = sample(&table, 4, &mut random);
        assert_eq!(seen.len(), 4);
        seen.iter()
            .for_each(|at_ms| *times.entry(*at_ms).or_default() += 1);
    }
    // Nearly all of the 200 are met: those at the beginnings of segments, and where these have few,
    // those behind.
    assert!(times.len() > 150, "{} different", times.len());
}

#[test]
fn keys_are_the_same_only_when_every_byte_is() {
    for len in 0..=70usize {
        let key: Vec<u8> = (0..len as u8).collect();
        assert!(super::same(&key, &key.clone()));
        assert!(!super::same(&key, &[key.as_slice(), b"x"].concat()));
        for at in 0..len {
            let mut other = key.clone();
            other[at] ^= 1;
            assert!(!super::same(&key, &other), "{len} {at}");
        }
    }
}
