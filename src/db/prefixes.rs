//! Whether a key may have one of the prefixes that clients track (CLIENT TRACKING BCAST): what every
//! write asks before it records its keys for them.
//!
//! Who has which prefix is known elsewhere, behind a lock; here is a filter that all may read without
//! one. It looks at as many bytes as the shortest prefix has, at most eight, and has a bit set for
//! what these are in each prefix. It may say yes to a key that has none of them, never no to one that
//! has.
//!
//! Invariant: while the number of bytes changes, `version` is odd and every key may match. Prefixes
//! are added and thrown out by one thread at a time.

use crate::sys::sync::{AtomicU32, AtomicU64, Ordering, fence};

/// Bits of the filter, as a power of two.
const BITS_LOG2: u32 = if cfg!(feature = "model") { 7 } else { 12 };
/// Most bytes that are looked at.
const BYTES_MAX: usize = 8;
/// There are no prefixes: no key is so long.
const NONE: u32 = u32::MAX;

/// See the module's text.
#[derive(Debug)]
#[repr(align(64))]
pub struct PrefixFilter {
    version: AtomicU32,
    /// How many bytes it looks at.
    bytes: AtomicU32,
    bits: [AtomicU64; 1 << (BITS_LOG2 - 6)],
}

impl Default for PrefixFilter {
    fn default() -> PrefixFilter {
        PrefixFilter {
            version: AtomicU32::new(0),
            bytes: AtomicU32::new(NONE),
            bits: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl PrefixFilter {
    /// False for a key that has none of the prefixes.
    #[inline]
    pub fn may_match(&self, key: &[u8]) -> bool {
        let version = self.version.load(Ordering::Acquire);
        let bytes = self.bytes.load(Ordering::Relaxed) as usize;
        let hit = key.get(..bytes).is_some_and(|start| {
            let (word, bit) = place(start);
            self.bits[word].load(Ordering::Relaxed) & bit != 0
        });
        fence(Ordering::Acquire);
        hit || version & 1 != 0 || self.version.load(Ordering::Relaxed) != version
    }

    /// Adds a prefix to those that are there already; `all` are these and the new one.
    pub fn add<'p>(&self, prefix: &[u8], all: impl Iterator<Item = &'p [u8]>) {
        let bytes = prefix.len().min(BYTES_MAX) as u32;
        let now = self.bytes.load(Ordering::Relaxed);
        match bytes < now {
            true => self.set(all),
            false => self.mark(&prefix[..now as usize]),
        }
    }

    /// Has the filter say no as often as it can: prefixes that went away are still in it.
    pub fn set<'p>(&self, all: impl Iterator<Item = &'p [u8]>) {
        let all: Vec<&[u8]> = all.collect();
        let shortest = all.iter().map(|prefix| prefix.len().min(BYTES_MAX)).min();
        self.version.fetch_add(1, Ordering::AcqRel);
        fence(Ordering::Release);
        let bytes = shortest.map_or(NONE, |bytes| bytes as u32);
        self.bytes.store(bytes, Ordering::Relaxed);
        for word in &self.bits {
            word.store(0, Ordering::Relaxed);
        }
        for prefix in all {
            self.mark(&prefix[..bytes as usize]);
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    fn mark(&self, start: &[u8]) {
        let (word, bit) = place(start);
        self.bits[word].fetch_or(bit, Ordering::Relaxed);
    }
}

/// Word and bit of what the first bytes are.
#[inline]
fn place(start: &[u8]) -> (usize, u64) {
    let mut bytes = [0; BYTES_MAX];
    bytes[..start.len()].copy_from_slice(start);
    // Fibonacci hashing: the top bits depend on all.
    let hash = u64::from_le_bytes(bytes).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let index = hash >> (64 - BITS_LOG2);
    ((index >> 6) as usize, 1 << (index & 63))
}

#[cfg(all(test, feature = "model"))]
mod model;
#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn no_key_with_a_prefix_is_missed() {
        let mut rng = Rng::from_seed(11);
        let mut word = |len_min: u64, len_max: u64| -> Vec<u8> {
            let len = len_min + rng.below(len_max - len_min + 1);
            (0..len).map(|_| b'a' + rng.below(26) as u8).collect()
        };
        let filter = PrefixFilter::default();
        assert!(!filter.may_match(b"") && !filter.may_match(b"some key"));
        for len_min in [9, 4, 2] {
            let mut prefixes: Vec<Vec<u8>> = Vec::new();
            filter.set(std::iter::empty());
            for _ in 0..50 {
                prefixes.push(word(len_min, 12));
                let all = prefixes.iter().map(|prefix| &**prefix);
                filter.add(&prefixes[prefixes.len() - 1], all);
                for prefix in &prefixes {
                    let key = [&prefix[..], &word(0, 9)].concat();
                    assert!(filter.may_match(&key), "{key:?}");
                }
            }
            let others = (0..1000).map(|_| word(0, 12));
            let hits = others.filter(|key| filter.may_match(key)).count();
            assert!(hits < 150, "{hits} of 1000 with {len_min} bytes");
        }
        // The empty prefix: every key.
        filter.add(b"", [&b""[..]].into_iter());
        assert!(filter.may_match(b"") && filter.may_match(b"x"));
        filter.set(std::iter::empty());
        assert!(!filter.may_match(b"") && !filter.may_match(b"x"));
    }

    #[test]
    fn a_prefix_that_stays_is_never_missed_while_others_come_and_go() {
        let filter = PrefixFilter::default();
        filter.add(b"stays", [&b"stays"[..]].into_iter());
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut looks = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    assert!(filter.may_match(b"stays here"));
                    looks += 1;
                }
                looks
            });
            for _ in 0..20_000 {
                filter.add(b"s", [&b"stays"[..], b"s"].into_iter());
                filter.set([&b"stays"[..]].into_iter());
            }
            stop.store(true, Ordering::Relaxed);
            assert!(reader.join().unwrap() > 0);
        });
    }
}
