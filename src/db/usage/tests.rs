//! What the bits say, and how they change: against Redis's arithmetic, over the clocks' ends, and of
//! keys that go and come back.

use super::frequency::Frequency;
use super::renewal::Renewal;
use super::*;
use crate::db::keyspace::{Keyspace, ShardId};
use crate::db::{Access, Expire, Lookup};
use crate::ds::entry::{Entry, Meta, NewValue};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::util::rng::Rng;
use crate::value::{Encoding, Type};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Some day.
const NOW_MS: u64 = 1_795_750_000_123;

fn stamp(measure: Measure, is_fine: bool, now_ms: u64) -> Stamp {
    let usage = Usage::default();
    usage.set(measure, is_fine, 10, 1);
    usage.stamp(now_ms)
}

fn entry(lru: u32) -> Entry {
    let meta = Meta {
        type_: 0,
        enc: 0,
        lru,
    };
    Entry::new(b"k", meta, NewValue::Int(1), None)
}

#[test]
fn idle_time_survives_the_clocks_end() {
    for is_fine in [false, true] {
        let before = stamp(Measure::Lru, is_fine, 0xff_fffe * 1000).fresh();
        let now = stamp(Measure::Lru, is_fine, (0xff_ffff + 3) * 1000);
        assert_eq!(now.idle_secs(before), 4);
        assert_eq!(now.idle_secs(now.restored(Some(77), None)), 77);
        assert_eq!(now.idle_secs(now.restored(None, Some(9))), 0);
    }
}

#[test]
fn fine_stamps_show_the_seconds_that_coarse_ones_do() {
    let mut rng = Rng::from_seed(1);
    for _ in 0..20_000 {
        let then_ms = NOW_MS + rng.below(100 * HOUR_MS);
        let now_ms = then_ms + rng.below(24 * HOUR_MS);
        let [coarse, fine] = [false, true].map(|is_fine| {
            let bits = stamp(Measure::Lru, is_fine, then_ms).fresh();
            let now = stamp(Measure::Lru, is_fine, now_ms);
            (now.idle_secs(bits), now.shown_clock(bits), bits & FINE != 0)
        });
        assert_eq!((coarse.0, coarse.1), (fine.0, fine.1));
        assert_eq!((coarse.2, fine.2), (false, true));
    }
}

#[test]
fn a_clock_that_was_set_back_makes_no_key_old() {
    let bits = stamp(Measure::Lru, true, NOW_MS + HOUR_MS).fresh();
    let now = stamp(Measure::Lru, true, NOW_MS);
    assert_eq!((now.idle_secs(bits), now.idleness(bits)), (0, 0));
    let bits = stamp(Measure::Lfu, true, NOW_MS + HOUR_MS).fresh();
    let now = stamp(Measure::Lfu, true, NOW_MS);
    assert_eq!(now.frequency(bits), LFU_INIT);
    // Nor does a snapshot whose moment is past, whatever the stamps.
    for is_fine in [false, true] {
        let bits = stamp(Measure::Lru, is_fine, NOW_MS + HOUR_MS).fresh();
        assert_eq!(
            stamp(Measure::Lru, is_fine, NOW_MS).saved_idle_secs(bits),
            0
        );
        let bits = stamp(Measure::Lfu, is_fine, NOW_MS + HOUR_MS).fresh();
        assert_eq!(
            stamp(Measure::Lfu, is_fine, NOW_MS).saved_frequency(bits),
            LFU_INIT
        );
    }
}

#[test]
fn of_two_keys_the_one_used_later_is_less_idle() {
    let at = |ms, is_fine| stamp(Measure::Lru, is_fine, NOW_MS + ms).fresh();
    let now = stamp(Measure::Lru, true, NOW_MS + 10_000);
    // Coarse ones from before a limit was set, fine ones since.
    let bits = [
        at(0, false),
        at(2000, false),
        at(4500, true),
        at(4600, true),
    ];
    let idleness = bits.map(|bits| now.idleness(bits));
    assert!(idleness.is_sorted_by(|a, b| a > b), "{idleness:?}");
}

#[test]
fn what_is_not_measured_changes_nothing() {
    let early = entry(stamp(Measure::Lrm, false, NOW_MS).fresh())
        .view()
        .lru();
    let now = stamp(Measure::Lrm, false, NOW_MS + 5000);
    let mut read = entry(early);
    now.accessed(&mut read.view_mut());
    assert_eq!(now.idle_secs(read.view().lru()), 5);
    now.modified(&mut read.view_mut());
    assert_eq!(now.idle_secs(read.view().lru()), 0);
    for measure in [Measure::Lru, Measure::Lfu] {
        let mut written = entry(early);
        stamp(measure, false, NOW_MS + 5000).modified(&mut written.view_mut());
        assert_eq!(written.view().lru(), early);
    }
}

#[test]
fn counters_decay() {
    for is_fine in [false, true] {
        let bits = stamp(Measure::Lfu, is_fine, 0).restored(None, Some(10));
        let after = |minutes| stamp(Measure::Lfu, is_fine, minutes * MINUTE_MS).frequency(bits);
        assert_eq!([after(0), after(3), after(10), after(800)], [10, 7, 0, 0]);
        let usage = Usage::default();
        for (decay_minutes, expected) in [(0, 10), (3, 7), (11, 10), (u32::MAX, 10)] {
            usage.set(Measure::Lfu, is_fine, 10, decay_minutes);
            let now = usage.stamp(10 * MINUTE_MS);
            assert_eq!(now.frequency(bits), expected, "every {decay_minutes}");
        }
    }
}

/// The mean of the counters of many keys after so many accesses.
fn mean_counter(is_fine: bool, log_factor: u32, accesses: usize) -> f64 {
    let usage = Usage::default();
    usage.set(Measure::Lfu, is_fine, log_factor, 1);
    let now = usage.stamp(NOW_MS);
    let keys = 400;
    let count = |_| {
        let mut key = entry(now.fresh());
        for _ in 0..accesses {
            now.accessed(&mut key.view_mut());
        }
        f64::from(now.frequency(key.view().lru()))
    };
    (0..keys).map(count).sum::<f64>() / f64::from(keys)
}

#[test]
fn counters_grow_as_redis_says() {
    // What Redis's chances make of so many accesses.
    let expected = |log_factor: u32, accesses: usize| {
        let mut chances = vec![0.0; 256];
        chances[5] = 1.0;
        for _ in 0..accesses {
            for counter in (5..255).rev() {
                let chance = 1.0 / (f64::from(log_factor) * (counter - 5) as f64 + 1.0);
                let moved: f64 = chances[counter] * chance;
                chances[counter] -= moved;
                chances[counter + 1] += moved;
            }
        }
        let weighted = chances.iter().zip(0..);
        weighted
            .map(|(chance, counter)| chance * f64::from(counter))
            .sum::<f64>()
    };
    for (log_factor, accesses) in [
        (10, 1),
        (10, 12),
        (10, 100),
        (1, 100),
        (100, 1000),
        (0, 300),
    ] {
        let expected = expected(log_factor, accesses);
        let coarse = mean_counter(false, log_factor, accesses);
        assert!((coarse - expected).abs() < 0.3, "{coarse} for {expected}");
        // The fraction is not shown, so that the fine counter lags by half of one in the mean.
        let fine = mean_counter(true, log_factor, accesses);
        assert!((fine - expected).abs() < 1.0, "{fine} for {expected}");
    }
}

#[test]
fn fine_counters_tell_two_accesses_from_ten() {
    let now = stamp(Measure::Lfu, true, NOW_MS);
    let rareness = [0, 1, 3, 6, 10, 100].map(|accesses| {
        let mut key = entry(now.fresh());
        for _ in 0..accesses {
            now.accessed(&mut key.view_mut());
        }
        now.idleness(key.view().lru())
    });
    assert!(rareness.is_sorted_by(|a, b| a > b), "{rareness:?}");
    // Of keys that are equal otherwise the one goes that was not accessed for longer.
    let (old, new) = (now.fresh(), stamp(Measure::Lfu, true, NOW_MS + MINUTE_MS));
    let usage = Usage::default();
    usage.set(Measure::Lfu, true, 10, 0);
    let later = usage.stamp(NOW_MS + 5 * MINUTE_MS);
    assert!(later.idleness(old) > later.idleness(new.fresh()));
}

#[test]
fn counters_stay_within_bounds() {
    for is_fine in [false, true] {
        let usage = Usage::default();
        usage.set(Measure::Lfu, is_fine, 0, 1);
        let now = usage.stamp(NOW_MS);
        let mut key = entry(now.fresh());
        for _ in 0..1000 {
            now.accessed(&mut key.view_mut());
        }
        assert_eq!(now.frequency(key.view().lru()), u8::MAX);
        usage.set(Measure::Lfu, is_fine, u32::MAX, 1);
        usage.stamp(NOW_MS).accessed(&mut key.view_mut());
        assert_eq!(now.frequency(key.view().lru()), u8::MAX);
    }
}

fn keyspace(measure: Measure) -> Keyspace {
    let keyspace = Keyspace::new(4, 2, KeyHash::process(HashFunction::Fast));
    keyspace.usage.set(measure, true, 10, 60);
    keyspace
}

fn set(keyspace: &Keyspace, db: u32, key: &[u8], now_ms: u64) {
    let locks = keyspace.lock_one(keyspace.hash(key));
    let mut access = Access::new(keyspace, locks, DbIndex(db), now_ms, true);
    let (type_, enc) = (Type::String as u8, Encoding::Int as u8);
    access.set(key, type_, enc, NewValue::Int(1), Expire::Never);
}

fn lru(keyspace: &Keyspace, db: u32, key: &[u8]) -> u32 {
    let locks = keyspace.lock_one(keyspace.hash(key));
    let mut access = Access::new(keyspace, locks, DbIndex(db), 0, true);
    access.find(key, Lookup::Silent).unwrap().lru()
}

/// Has the keyspace renew what it should until then, every half second.
fn renew(keyspace: &Keyspace, renewal: &mut Renewal, from_ms: u64, until_ms: u64) {
    for now_ms in (from_ms..until_ms).step_by(500) {
        keyspace.renew_some(renewal, now_ms);
    }
}

#[test]
fn idle_times_are_right_when_fine_clocks_have_begun_anew() {
    for measure in [Measure::Lru, Measure::Lrm] {
        let keyspace = keyspace(measure);
        let keys: Vec<Vec<u8>> = (0..3000).map(|key| format!("k{key}").into()).collect();
        for (key, db) in keys.iter().zip([0, 1].into_iter().cycle()) {
            set(&keyspace, db, key, NOW_MS);
        }
        let mut renewal = Renewal::default();
        let mut now_ms = NOW_MS;
        for hours in [5, 13, 40, 80] {
            let until_ms = NOW_MS + hours * HOUR_MS;
            renew(&keyspace, &mut renewal, now_ms, until_ms);
            now_ms = until_ms;
            let stamp = keyspace.usage.stamp(now_ms);
            for (key, db) in keys.iter().zip([0, 1].into_iter().cycle()) {
                let bits = lru(&keyspace, db, key);
                assert_eq!(stamp.idle_secs(bits), hours * 3600, "after {hours} h");
                // Passes come every four hours, and what is older than twelve is due.
                assert!(hours == 13 || (bits & FINE != 0) == (hours == 5));
            }
        }
    }
}

#[test]
fn counters_are_right_when_fine_clocks_have_begun_anew() {
    let keyspace = keyspace(Measure::Lfu);
    set(&keyspace, 1, b"k", NOW_MS);
    for _ in 0..50 {
        set(&keyspace, 1, b"k", NOW_MS);
    }
    let counter = keyspace
        .usage
        .stamp(NOW_MS)
        .frequency(lru(&keyspace, 1, b"k"));
    assert_eq!(counter, LFU_INIT + 3);
    let mut renewal = Renewal::default();
    renew(&keyspace, &mut renewal, NOW_MS, NOW_MS + 20 * HOUR_MS);
    let bits = lru(&keyspace, 1, b"k");
    assert_eq!(bits & FINE, 0);
    // It loses one in an hour, also if it was made coarse in between.
    let frequency = |hours| {
        keyspace
            .usage
            .stamp(NOW_MS + hours * HOUR_MS)
            .frequency(bits)
    };
    assert_eq!([frequency(2), frequency(7), frequency(20)], [6, 1, 0]);
}

#[test]
fn a_pass_takes_its_time() {
    let keyspace = keyspace(Measure::Lru);
    let keys: Vec<Vec<u8>> = (0..4000).map(|key| format!("k{key}").into()).collect();
    for key in &keys {
        set(&keyspace, 0, key, NOW_MS);
    }
    let begin_ms = NOW_MS + 13 * HOUR_MS;
    let mut renewal = Renewal::default();
    renew(&keyspace, &mut renewal, begin_ms, begin_ms + 2 * HOUR_MS);
    let is_coarse = |key: &&Vec<u8>| lru(&keyspace, 0, key) & FINE == 0;
    let coarse = keys.iter().filter(is_coarse).count();
    assert!(
        coarse.abs_diff(2000) < 300,
        "{coarse} after half of the time"
    );
    let stamp = keyspace.usage.stamp(begin_ms);
    let idle_secs = keys
        .iter()
        .map(|key| stamp.idle_secs(lru(&keyspace, 0, key)));
    assert!(idle_secs.into_iter().all(|secs| secs == 13 * 3600));
}

#[test]
fn passes_end_when_nothing_is_fine_any_more() {
    let keyspace = keyspace(Measure::Lru);
    set(&keyspace, 0, b"k", NOW_MS);
    let mut renewal = Renewal::default();
    renew(&keyspace, &mut renewal, NOW_MS, NOW_MS + HOUR_MS);
    assert!(lru(&keyspace, 0, b"k") & FINE != 0);
    keyspace.usage.set(Measure::Lru, false, 10, 1);
    let until_ms = NOW_MS + 13 * HOUR_MS;
    renew(&keyspace, &mut renewal, NOW_MS + HOUR_MS, until_ms);
    let bits = lru(&keyspace, 0, b"k");
    assert_eq!(bits & FINE, 0);
    assert_eq!(keyspace.usage.stamp(until_ms).idle_secs(bits), 13 * 3600);
    assert!(!keyspace.usage.was_fine.load(Ordering::SeqCst));
    keyspace.usage.set(Measure::Lru, true, 10, 1);
    assert!(keyspace.usage.was_fine.load(Ordering::SeqCst));
}

/// Ghosts of `keys`, each with a counter.
fn haunted(keys: &[(u64, u8)], usage: &Usage, now_ms: u64) -> Ghosts {
    let (mut ghosts, stamp) = (Ghosts::default(), usage.stamp(now_ms));
    for &(hash, counter) in keys {
        let bits = stamp.restored(None, Some(counter));
        ghosts.remember(usage, stamp, (hash, bits), keys.len());
    }
    ghosts
}

fn lfu(decay_minutes: u32) -> Usage {
    let usage = Usage::default();
    usage.set(Measure::Lfu, true, 10, decay_minutes);
    usage
}

#[test]
fn a_ghost_comes_back_once_with_its_counter() {
    let usage = lfu(1);
    let mut rng = Rng::from_seed(3);
    let keys: Vec<(u64, u8)> = (0..700)
        .map(|_| (rng.next_u64(), 5 + rng.below(7) as u8))
        .collect();
    let mut ghosts = haunted(&keys, &usage, NOW_MS);
    let stamp = usage.stamp(NOW_MS);
    let mut known = 0;
    for &(hash, counter) in &keys {
        if let Some(found) = ghosts.recall(hash, stamp) {
            known += usize::from(found == Frequency::of(counter));
        }
    }
    // Some buckets have had more than seven.
    assert!(known > 500, "{known}");
    let again = keys
        .iter()
        .filter(|key| ghosts.recall(key.0, stamp).is_some());
    assert!(again.count() < 100);
    let strangers = (0..10_000).filter(|_| {
        let mut ghosts = haunted(&keys[..7], &usage, NOW_MS);
        ghosts.recall(rng.next_u64(), stamp).is_some()
    });
    assert!(strangers.count() < 10_000 / 100);
}

#[test]
fn the_least_wanted_ghost_is_forgotten_first() {
    let usage = lfu(1);
    let stamp = usage.stamp(NOW_MS);
    let tagged = |tag: u64| tag << 32;
    let mut ghosts = Ghosts::default();
    let mut remember = |tag, counter| {
        let bits = stamp.restored(None, Some(counter));
        ghosts.remember(&usage, stamp, (tagged(tag), bits), 7);
    };
    for tag in 1..=7 {
        remember(tag, if tag == 3 || tag == 5 { 6 } else { 9 });
    }
    remember(8, 6);
    remember(9, 7);
    let known: Vec<u64> = (1..=9)
        .filter(|&tag| ghosts.recall(tagged(tag), stamp).is_some())
        .collect();
    assert_eq!(known, [1, 2, 4, 6, 7, 8, 9]);
}

#[test]
fn ghosts_decay_and_vanish() {
    let usage = lfu(2);
    let keys = [(1 << 40, 5), (2 << 40, 8), (3 << 40, 40)];
    let recalled = |minutes| {
        let mut ghosts = haunted(&keys, &usage, NOW_MS);
        let stamp = usage.stamp(NOW_MS + minutes * MINUTE_MS);
        let counter = |found: Frequency| found.counter();
        keys.map(|(hash, _)| ghosts.recall(hash, stamp).map(counter))
    };
    // What is kept of a counter ends short of 13.
    assert_eq!(recalled(1), [Some(5), Some(8), Some(12)]);
    assert_eq!(recalled(3)[1..], [Some(7), Some(11)]);
    assert_eq!(recalled(7)[1..], [Some(5), Some(9)]);
    assert_eq!(recalled(8)[..2], [None, None]);
    assert_eq!(recalled(30_000), [None, None, None]);
}

#[test]
fn ghosts_are_as_many_as_keys_and_counted() {
    let usage = lfu(1);
    let stamp = usage.stamp(NOW_MS);
    let mut ghosts = Ghosts::default();
    let remember = |ghosts: &mut Ghosts, keys| {
        ghosts.remember(&usage, stamp, (7, stamp.fresh()), keys);
        usage.ghost_bytes()
    };
    assert_eq!(remember(&mut ghosts, 0), 16);
    assert_eq!(remember(&mut ghosts, 7000), 16_000);
    // Not made anew for every key that comes or goes.
    assert_eq!(remember(&mut ghosts, 13_000), 16_000);
    assert_eq!(remember(&mut ghosts, 3600), 16_000);
    assert_eq!(remember(&mut ghosts, 70), 160);
    ghosts.clear(&usage);
    assert_eq!((usage.ghost_bytes(), ghosts.is_empty()), (0, true));
    // A counter below what a new key has is not worth it.
    let rare = stamp.restored(None, Some(4));
    ghosts.remember(&usage, stamp, (7, rare), 100);
    assert_eq!(usage.ghost_bytes(), 0);
}

#[test]
fn a_key_that_was_evicted_begins_where_it_was() {
    let keyspace = keyspace(Measure::Lfu);
    let stamp = keyspace.usage.stamp(NOW_MS);
    for _ in 0..30 {
        set(&keyspace, 1, b"k", NOW_MS);
    }
    let before = stamp.frequency_of(lru(&keyspace, 1, b"k"));
    assert!(before > Frequency::of(LFU_INIT + 2));
    let hash = keyspace.hash(b"k");
    {
        let mut locks = keyspace.lock_one(hash);
        let data = locks.get(keyspace.shard_of(hash)).unwrap();
        let slot = data.tables[1].find(hash, b"k").unwrap();
        let entry = data.tables[1].remove(slot);
        data.remember_evicted(
            &keyspace.usage,
            stamp,
            (DbIndex(1), hash),
            entry.view().lru(),
        );
    }
    // In another database it is another key.
    set(&keyspace, 0, b"k", NOW_MS);
    assert_eq!(
        stamp.frequency_of(lru(&keyspace, 0, b"k")),
        Frequency::of(LFU_INIT)
    );
    set(&keyspace, 1, b"k", NOW_MS);
    let after = stamp.frequency_of(lru(&keyspace, 1, b"k"));
    assert!(after.0.abs_diff(before.0) <= 8, "{before:?} {after:?}");
    assert!(after.counter() > LFU_INIT);
}

#[test]
fn ghosts_go_with_the_policy_and_with_the_data() {
    let keyspace = keyspace(Measure::Lfu);
    let haunt = || {
        let mut locks = keyspace.lock_all();
        for id in 0..4 {
            let data = locks.get(ShardId(id)).unwrap();
            let key = entry(keyspace.usage.stamp(NOW_MS).fresh());
            let stamp = keyspace.usage.stamp(NOW_MS);
            data.remember_evicted(&keyspace.usage, stamp, (DbIndex(0), 1), key.view().lru());
        }
    };
    haunt();
    assert_eq!(keyspace.usage.ghost_bytes(), 4 * 16);
    keyspace.usage.set(Measure::Lru, true, 10, 1);
    haunt();
    keyspace.renew_some(&mut Renewal::default(), NOW_MS);
    assert_eq!(keyspace.usage.ghost_bytes(), 0);
    keyspace.usage.set(Measure::Lfu, true, 10, 1);
    haunt();
    keyspace.renew_some(&mut Renewal::default(), NOW_MS);
    assert_eq!(keyspace.usage.ghost_bytes(), 4 * 16);
    // Without a limit of memory nothing is evicted.
    keyspace.usage.set(Measure::Lfu, false, 10, 1);
    keyspace.renew_some(&mut Renewal::default(), NOW_MS);
    assert_eq!(keyspace.usage.ghost_bytes(), 0);
    keyspace.usage.set(Measure::Lfu, true, 10, 1);
    haunt();
    let mut access = Access::new(&keyspace, keyspace.lock_all(), DbIndex(0), NOW_MS, true);
    access.flush(None);
    assert_eq!(keyspace.usage.ghost_bytes(), 0);
}
