//! The keys with the largest sums, of more keys than there is room for.
//!
//! Space-Saving, in buckets: a key's hash chooses a bucket of eight places, each of which counts for one
//! key. A key without a place takes that of the smallest sum of its bucket, whose sum it inherits as its
//! possible error. So a key's true sum lies between its sum without that error, which is what is told,
//! and its sum; a key whose share is large never loses its place for long. As long as no bucket is full
//! every sum is exact. An update looks at two cache lines.
//!
//! Names are kept only of keys that come again, or that are heavy at once: the long tail of keys that
//! are met once costs no copies.
//!
//! Invariants: a place with hash 0 is empty, and has neither sum nor name; the names take at most
//! [`NAMES_BYTES_MAX`] bytes besides those of [`SHORT_NAME_BYTES`] and less.

/// Places of a bucket: hashes, sums and errors are a cache line each.
const WAYS: usize = 8;
/// Buckets of a sketch.
const BUCKETS: usize = 512;
/// A name of so many bytes always has room.
const SHORT_NAME_BYTES: usize = 256;
/// Bytes of all longer names together; keys for whose names there is no more room are not told.
const NAMES_BYTES_MAX: usize = 8 << 20;

/// See the module's text.
pub(super) struct Sketch {
    buckets: Box<[Bucket]>,
    /// Bytes of the longer names.
    names_bytes: usize,
}

#[repr(align(64))]
#[derive(Default)]
struct Bucket {
    hashes: [u64; WAYS],
    sums: [u64; WAYS],
    errors: [u64; WAYS],
    names: [Option<Box<[u8]>>; WAYS],
}

impl Sketch {
    pub(super) fn new() -> Sketch {
        Sketch {
            buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
            names_bytes: 0,
        }
    }

    /// Adds to the sum of a key, given with its hash.
    pub(super) fn add(&mut self, hash: u64, key: &[u8], weight: u64) {
        let hash = hash.max(1);
        let bucket = &mut self.buckets[(hash as usize) % BUCKETS];
        if let Some(way) = bucket.hashes.iter().position(|&of| of == hash) {
            bucket.sums[way] = bucket.sums[way].saturating_add(weight);
            if bucket.names[way].is_none() {
                self.names_bytes = bucket.name(way, key, self.names_bytes);
            }
            return;
        }
        let way = bucket.smallest();
        let (is_empty, least) = (bucket.hashes[way] == 0, bucket.sums[way]);
        let old = bucket.names[way].take();
        self.names_bytes -= old.map_or(0, |name| counted_bytes(&name));
        bucket.hashes[way] = hash;
        bucket.errors[way] = least;
        bucket.sums[way] = least.saturating_add(weight);
        if is_empty || weight > least {
            self.names_bytes = bucket.name(way, key, self.names_bytes);
        }
    }

    /// Keys with what their sums are at least.
    pub(super) fn sums(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.buckets.iter().flat_map(|bucket| {
            let named = bucket.names.iter().enumerate();
            named.filter_map(|(way, name)| {
                Some((&**name.as_ref()?, bucket.sums[way] - bucket.errors[way]))
            })
        })
    }
}

impl Bucket {
    /// An empty place, or else the one with the smallest sum.
    fn smallest(&self) -> usize {
        if let Some(empty) = self.hashes.iter().position(|&hash| hash == 0) {
            return empty;
        }
        let mut smallest = 0;
        for way in 1..WAYS {
            if self.sums[way] < self.sums[smallest] {
                smallest = way;
            }
        }
        smallest
    }

    /// Keeps a key's name if there is room for it, all longer ones taking `names_bytes` so far; what
    /// they take then.
    #[cold]
    fn name(&mut self, way: usize, key: &[u8], names_bytes: usize) -> usize {
        let after = names_bytes + counted_bytes(key);
        if after > NAMES_BYTES_MAX {
            return names_bytes;
        }
        self.names[way] = Some(key.into());
        after
    }
}

/// What a name counts for.
fn counted_bytes(name: &[u8]) -> usize {
    match name.len() {
        0..=SHORT_NAME_BYTES => 0,
        long => long,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::util::rng::Rng;

    fn sum_of(sketch: &Sketch, key: &[u8]) -> Option<u64> {
        sketch.sums().find(|(of, _)| *of == key).map(|(_, sum)| sum)
    }

    /// Any function will do whose values are spread.
    fn hash(number: u64) -> u64 {
        Rng::from_seed(number).next_u64()
    }

    #[test]
    fn few_keys_are_counted_exactly() {
        let mut sketch = Sketch::new();
        for round in 1..=100u64 {
            for key in 0..200u64 {
                sketch.add(hash(key), &key.to_le_bytes(), key * round);
            }
        }
        for key in 0..200u64 {
            assert_eq!(sum_of(&sketch, &key.to_le_bytes()), Some(key * 5050));
        }
        // A hash of 0 is as good as any.
        sketch.add(0, b"zero", 7);
        sketch.add(0, b"zero", 7);
        assert_eq!(sum_of(&sketch, b"zero"), Some(14));
        assert_eq!(sketch.sums().count(), 201);
    }

    /// A million different keys, among which some are hot: those are found, in order, and no sum is
    /// larger than the truth.
    #[test]
    fn hot_keys_are_found_among_very_many() {
        let (mut sketch, mut rng) = (Sketch::new(), Rng::from_seed(1));
        let mut truth: HashMap<u64, u64> = HashMap::new();
        for round in 0..1_000_000u64 {
            // One in four is one of 64 hot ones, of different heat.
            let key = match rng.below(4) {
                0 => rng.below(64).min(rng.below(64)),
                _ => 1000 + round,
            };
            let weight = 100 + rng.below(50);
            *truth.entry(key).or_default() += weight;
            sketch.add(hash(key), &key.to_le_bytes(), weight);
        }
        let mut told: Vec<(u64, u64)> = sketch
            .sums()
            .map(|(key, sum)| (u64::from_le_bytes(key.try_into().unwrap()), sum))
            .collect();
        for (key, sum) in &told {
            assert!(sum <= &truth[key], "{key}: {sum} of {}", truth[key]);
        }
        told.sort_by_key(|&(_, sum)| std::cmp::Reverse(sum));
        for (place, &(key, sum)) in told.iter().take(20).enumerate() {
            assert!(key < 40, "{key} at place {place}");
            let part = sum as f64 / truth[&key] as f64;
            assert!(part > 0.8, "{key}: {part}");
        }
    }

    /// A key that is met once is told if it is heavier than what it takes the place of.
    #[test]
    fn one_heavy_command_is_enough() {
        let mut sketch = Sketch::new();
        for key in 0..100_000u64 {
            sketch.add(hash(key), &key.to_le_bytes(), 10);
        }
        let heavy = 1 << 40;
        sketch.add(hash(heavy), &heavy.to_le_bytes(), 5_000_000);
        assert_eq!(sum_of(&sketch, &heavy.to_le_bytes()), Some(5_000_000));
        // One that is not is not worth a copy of its name, until it comes again.
        let light = heavy + 1;
        sketch.add(hash(light), &light.to_le_bytes(), 1);
        assert_eq!(sum_of(&sketch, &light.to_le_bytes()), None);
        sketch.add(hash(light), &light.to_le_bytes(), 2);
        assert_eq!(sum_of(&sketch, &light.to_le_bytes()), Some(3));
    }

    #[test]
    fn long_names_do_not_fill_the_memory() {
        let mut sketch = Sketch::new();
        let mut key = vec![b'x'; 1 << 20];
        for number in 0..50u64 {
            key[..8].copy_from_slice(&number.to_le_bytes());
            sketch.add(hash(number), &key, 1);
            sketch.add(hash(number), &key, 1);
        }
        assert_eq!(sketch.sums().count(), 8);
        assert_eq!(sketch.names_bytes, 8 << 20);
        // Short ones always find room; places that are taken over give theirs back.
        for number in 100..100_000u64 {
            sketch.add(hash(number), &number.to_le_bytes(), 3);
            sketch.add(hash(number), &number.to_le_bytes(), 3);
        }
        assert_eq!(sketch.sums().count(), BUCKETS * WAYS);
        assert_eq!(sketch.names_bytes, 0);
    }

    #[test]
    fn absurd_sums_do_no_harm() {
        let mut sketch = Sketch::new();
        sketch.add(1, b"a", u64::MAX);
        sketch.add(1, b"a", u64::MAX);
        assert_eq!(sum_of(&sketch, b"a"), Some(u64::MAX));
        for key in 0..20u64 {
            sketch.add(hash(key), &key.to_le_bytes(), u64::MAX);
        }
    }
}
