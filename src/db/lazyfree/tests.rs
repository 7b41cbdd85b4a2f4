//! What is freed in the background, what it weighs, and that it is freed.

use std::time::Instant;

use super::*;
use crate::ds::collection::{Collection, FieldTable};
use crate::ds::entry::{Meta, NewValue};
use crate::ds::hash::{HashFunction, KeyHash};

fn hash() -> KeyHash {
    KeyHash::with_seed(HashFunction::Fast, 3)
}

fn table(len: usize, value_bytes: usize) -> Table<Entry> {
    let mut table = Table::new(0, hash());
    for number in 0..len {
        let key = number.to_string();
        let value = vec![b'x'; value_bytes];
        let value = NewValue::Bytes(&value);
        let entry = Entry::new(key.as_bytes(), Meta::default(), value, None);
        table.insert(hash().hash(key.as_bytes()), entry);
    }
    table
}

fn large_hash(len: usize) -> Entry {
    let fields = Collection::Hash(FieldTable::new(table(len, 40)));
    let value = NewValue::Collection(Box::new(fields));
    Entry::new(b"hash", Meta::default(), value, None)
}

fn string(bytes: usize) -> Entry {
    let value = NewValue::Shared(Arc::new(vec![0; bytes]));
    Entry::new(b"string", Meta::default(), value, None)
}

fn until_free(lazyfree: &LazyFree) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while lazyfree.pending() > 0 {
        assert!(Instant::now() < deadline, "still {}", lazyfree.pending());
        std::thread::yield_now();
    }
}

/// Weighs `entries` without a thread; the truth by walking all of it.
fn weights(entries: &[Entry]) -> (u64, u64) {
    let weights = entries.iter().map(|entry| weigh(entry.view()));
    let truth = entries
        .iter()
        .map(|entry| entry.view().alloc_bytes(0) as u64);
    (weights.sum(), truth.sum())
}

#[test]
fn large_is_what_takes_long_to_free() {
    assert!(!is_large(&large_hash(LAZYFREE_ELEMENTS_MIN)));
    assert!(is_large(&large_hash(LAZYFREE_ELEMENTS_MIN + 1)));
    assert!(!is_large(&string(LAZYFREE_BYTES_MIN - 1)));
    assert!(is_large(&string(LAZYFREE_BYTES_MIN)));
    let int = Entry::new(b"int", Meta::default(), NewValue::Int(1), None);
    assert!(!is_large(&int));
}

#[test]
fn what_is_pending_is_weighed() {
    let entries = [large_hash(1000), large_hash(100), string(2 << 20)];
    let (weighed, truth) = weights(&entries);
    assert!(weighed.abs_diff(truth) * 20 < truth, "{weighed} of {truth}");
    // What a reply still holds is not free when the key is.
    let shared = Arc::new(vec![0; 2 << 20]);
    let value = NewValue::Shared(shared.clone());
    let held = Entry::new(b"held", Meta::default(), value, None);
    assert_eq!(weigh(held.view()), 0);

    let tables: Vec<_> = (0..10).map(|_| table(3000, 200)).collect();
    let truth: u64 = tables
        .iter()
        .map(|table| {
            let entries = table.iter().map(|entry| entry.alloc_bytes(0));
            (table.memory_bytes() + entries.sum::<usize>()) as u64
        })
        .sum();
    let (tables, weighed) = weigh_tables(tables);
    assert_eq!(tables.len(), 10);
    assert!(weighed.abs_diff(truth) * 20 < truth, "{weighed} of {truth}");
    assert_eq!(weighed, tables.iter().map(|(_, bytes)| bytes).sum::<u64>());
    assert_eq!(weigh_tables(Vec::new()).1, 0);
}

#[test]
fn nothing_is_pending_in_the_end() {
    let lazyfree = LazyFree::default();
    let values = vec![large_hash(1000), string(2 << 20)];
    let truth = weights(&values).1;
    lazyfree.free_values(values);
    lazyfree.free(vec![table(500, 10), table(0, 0), table(700, 10)]);
    lazyfree.free(vec![table(0, 0)]);
    lazyfree.free_other(7, Box::new(vec![1u8; 100]));
    until_free(&lazyfree);
    assert_eq!(lazyfree.freed(), 2 + 1200 + 7);
    // What was freed counts as what it was, with the two tables and little else.
    let given_bytes = lazyfree.given_bytes();
    let extra_bytes = given_bytes.checked_sub(truth).unwrap();
    assert!((20_000..200_000).contains(&extra_bytes), "{extra_bytes}");
    lazyfree.reset_stats();
    assert_eq!((lazyfree.freed(), lazyfree.pending()), (0, 0));
}

#[test]
fn the_log_says_what_the_directives_say() {
    let lazyfree = LazyFree::default();
    for cause in [Cause::Eviction, Cause::Expiry, Cause::Command] {
        assert_eq!(lazyfree.deletion(cause), b"UNLINK");
    }
    lazyfree.set(false, true, false);
    assert_eq!(lazyfree.deletion(Cause::Eviction), b"DEL");
    assert_eq!(lazyfree.deletion(Cause::Expiry), b"UNLINK");
    assert_eq!(lazyfree.deletion(Cause::Command), b"DEL");
    lazyfree.set(true, false, true);
    assert_eq!(lazyfree.deletion(Cause::Expiry), b"DEL");
}
