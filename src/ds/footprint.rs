//! How much memory the standard library's collections take, which they do not tell themselves.
//!
//! What a hash table takes follows from its capacity. Of a B-tree only the number of its elements is known,
//! so how full its nodes are is guessed: they are half to completely full.

use crate::ds::entry::size_class;

/// The largest allocation that has a size class of its own; larger ones are whole pages.
const CLASS_BYTES_MAX: usize = 14 * 1024;
const PAGE_BYTES: usize = 4096;

/// The bytes that an allocation of `bytes` takes; nothing for nothing.
#[inline]
pub const fn block_bytes(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=CLASS_BYTES_MAX => size_class(bytes),
        // Nothing that exists in memory is so long that this wraps.
        _ => bytes.wrapping_add(PAGE_BYTES - 1) & !(PAGE_BYTES - 1),
    }
}

/// The sum of `len` sizes, estimated from `samples` of them; from all if that is 0. The first and the last one
/// count for themselves, since nodes at the ends are filled or emptied; those between them are looked at in
/// even steps.
pub fn estimate(len: usize, samples: usize, size_of: impl Fn(usize) -> usize) -> usize {
    let sum = |places: &mut dyn Iterator<Item = usize>| {
        places.fold(0usize, |sum, at| sum.saturating_add(size_of(at)))
    };
    if samples == 0 || samples >= len {
        return sum(&mut (0..len));
    }
    let (ends, from, inside, looked_at) = match samples {
        1 | 2 => (0, 0, len, samples),
        _ => (sum(&mut [0, len - 1].into_iter()), 1, len - 2, samples - 2),
    };
    let step = |number: usize| {
        let middle = (2 * number as u128 + 1) * inside as u128 / (2 * looked_at as u128);
        from + middle as usize
    };
    let found = sum(&mut (0..looked_at).map(step));
    let between = found as u128 * inside as u128 / looked_at as u128;
    ends.saturating_add(usize::try_from(between).unwrap_or(usize::MAX))
}

/// Control bytes beyond those of the buckets, and the alignment of both.
const GROUP_BYTES: usize = 16;

/// A hash table with room for `capacity` elements of `element_bytes`.
pub fn hash_table_bytes(capacity: usize, element_bytes: usize) -> usize {
    let buckets = match capacity {
        0 => return 0,
        1..=3 => 4,
        4..=7 => 8,
        // At most seven of eight are in use.
        capacity => (capacity.saturating_mul(8) / 7).next_power_of_two(),
    };
    let elements = buckets.saturating_mul(element_bytes);
    let elements = elements.saturating_add(GROUP_BYTES - 1) & !(GROUP_BYTES - 1);
    block_bytes(elements.saturating_add(buckets + GROUP_BYTES))
}

/// Elements that a node has room for.
const NODE_ROOM: usize = 11;
/// Elements of a node, of many, in tenths: what comes in order leaves nodes a little more than half full, what
/// comes in no order leaves them two thirds full.
const NODE_TENTHS: usize = 70;
/// What a node has besides its elements.
const NODE_HEAD_BYTES: usize = 16;

/// A B-tree of `len` elements of `element_bytes`, about.
pub fn btree_bytes(len: usize, element_bytes: usize) -> usize {
    let leaf = size_class(NODE_HEAD_BYTES + NODE_ROOM.saturating_mul(element_bytes));
    let inner = size_class(leaf + (NODE_ROOM + 1) * size_of::<usize>());
    match len {
        0 => 0,
        1..=NODE_ROOM => leaf,
        len => {
            let leaves = (len.saturating_mul(10) / NODE_TENTHS).max(2);
            let inners = (leaves * 10 / NODE_TENTHS).max(1);
            leaves
                .saturating_mul(leaf)
                .saturating_add(inners.saturating_mul(inner))
        }
    }
}

#[cfg(all(test, not(any(miri, kivi_system_alloc))))]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::hint::black_box;

    use super::*;
    use crate::sys::alloc::thread_net_bytes;
    use crate::util::rng::Rng;

    #[test]
    fn blocks_are_the_allocator_s() {
        let sizes = (0..20_000).chain((20_000..2_000_000).step_by(777));
        for size in sizes.chain([1 << 24, (1 << 24) + 1, 100_000_001]) {
            let before = thread_net_bytes();
            let block = black_box(vec![0u8; size]);
            let taken = (thread_net_bytes() - before) as usize;
            drop(block);
            assert_eq!(block_bytes(size), taken, "{size}");
        }
    }

    #[test]
    fn few_samples_tell_much() {
        // Full nodes, but for those at the ends.
        let sizes = |at| match at {
            0 => 100,
            9_999 => 3000,
            _ => 8192,
        };
        let exact: usize = (0..10_000).map(sizes).sum();
        assert_eq!(exact, 9_998 * 8192 + 3100);
        for samples in [0, 3, 5, 100, 9_999, 10_000, usize::MAX] {
            assert_eq!(estimate(10_000, samples, sizes), exact, "{samples}");
        }
        assert_eq!(estimate(10_000, 1, sizes), 10_000 * 8192);
        for samples in 0..4 {
            assert_eq!(estimate(0, samples, sizes), 0);
            assert_eq!(estimate(1, samples, sizes), 100);
        }
        // What changes from one end to the other.
        let slope = |at| 1000 + at;
        let exact: usize = (0..1000).map(slope).sum();
        assert!(estimate(1000, 5, slope).abs_diff(exact) < exact / 100);
        assert!(estimate(3, 2, |_| usize::MAX) >= usize::MAX / 2);
    }

    #[test]
    fn hash_tables_are_exact() {
        for room in [0, 1, 3, 4, 7, 8, 14, 15, 100, 1000, 12_345, 100_000] {
            let before = thread_net_bytes();
            let map: HashMap<u64, [u64; 2]> = black_box(HashMap::with_capacity(room));
            let taken = (thread_net_bytes() - before) as usize;
            assert_eq!(hash_table_bytes(map.capacity(), 24), taken, "{room}");
        }
    }

    #[test]
    fn trees_are_near() {
        let mut rng = Rng::from_seed(7);
        for len in [0, 1, 5, 11, 12, 100, 1000, 30_000] {
            for in_order in [true, false] {
                let before = thread_net_bytes();
                let mut map: BTreeMap<u64, [u64; 4]> = BTreeMap::new();
                while map.len() < len {
                    let key = match in_order {
                        true => map.len() as u64,
                        false => rng.next_u64(),
                    };
                    map.insert(key, [0; 4]);
                }
                let taken = (thread_net_bytes() - before) as f64;
                let told = btree_bytes(len, 40) as f64;
                let off = (told - taken) / taken.max(1.0);
                assert!(off.abs() < 0.25, "{len}, {in_order}: {told}, not {taken}");
            }
        }
    }
}
