//! A small, fast random generator (xoshiro256++) for everything that is not a secret: random keys,
//! sampling for eviction, skip probabilities, LFU. Same seed, same numbers, on every machine.
//! Not for passwords or tokens: for those take bytes of the operating system ([`os_seed`] is only
//! as strong as the 64 bits it hands out).

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher, RandomState};

/// The generator. One per thread or subsystem; it is not meant to be shared.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// A generator whose numbers are a function of `seed` only.
    pub fn from_seed(seed: u64) -> Self {
        // SplitMix64 spreads the seed over the state, so that near seeds give unrelated streams.
        let mut mix = seed;
        let state = std::array::from_fn(|_| splitmix64(&mut mix));
        Rng { state }
    }

    /// A generator seeded by the operating system.
    pub fn from_os() -> Self {
        Rng {
            state: std::array::from_fn(|_| os_seed()),
        }
        .warmed()
    }

    /// An all-zero state would stay zero for ever.
    fn warmed(mut self) -> Self {
        if self.state == [0; 4] {
            self.state[0] = 1;
        }
        self
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let [s0, s1, s2, s3] = self.state;
        let result = s0.wrapping_add(s3).rotate_left(23).wrapping_add(s0);
        let [mut t0, mut t1, mut t2, mut t3] = [s0, s1, s2, s3];
        t2 ^= t0;
        t3 ^= t1;
        t1 ^= t2;
        t0 ^= t3;
        t2 ^= s1 << 17;
        t3 = t3.rotate_left(45);
        self.state = [t0, t1, t2, t3];
        result
    }

    /// A number in `0..n`, every one equally likely; 0 when `n` is 0.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        // Lemire: the high half of a product, redrawing the few low halves that would favour some.
        let mut product = u128::from(self.next_u64()) * u128::from(n);
        if (product as u64) < n {
            let threshold = n.wrapping_neg() % n;
            while (product as u64) < threshold {
                product = u128::from(self.next_u64()) * u128::from(n);
            }
        }
        (product >> 64) as u64
    }

    /// An index into something of `len` elements, as [`Rng::below`].
    #[inline]
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number in `0.0..1.0`, with 53 random bits.
    #[inline]
    pub fn unit_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }

    /// `len` random lower-case hexadecimal digits: run ids and replication ids have 40.
    pub fn hex_id(&mut self, len: usize) -> String {
        (0..len)
            .map(|_| char::from(b"0123456789abcdef"[self.index(16)]))
            .collect()
    }

    /// Puts `items` into random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.index(end + 1));
        }
    }
}

/// 64 bits that differ in every process and at every call, rooted in the operating system's
/// randomness (std seeds its hash maps with it).
pub fn os_seed() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(0);
    hasher.finish()
}

thread_local! {
    static OF_THREAD: RefCell<Rng> = RefCell::new(Rng::from_os());
}

/// [`Rng::below`] of a generator that the thread keeps.
#[inline]
pub fn thread_below(n: u64) -> u64 {
    OF_THREAD.with_borrow_mut(|rng| rng.below(n))
}

/// A fresh identifier of `len` hexadecimal digits, see [`Rng::hex_id`].
pub fn hex_id(len: usize) -> String {
    Rng::from_os().hex_id(len)
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        // xoshiro256++ with the state 1, 2, 3, 4, as other implementations test themselves.
        let mut rng = Rng {
            state: [1, 2, 3, 4],
        };
        let first: [u64; 4] = std::array::from_fn(|_| rng.next_u64());
        assert_eq!(
            first,
            [41943041, 58720359, 3588806011781223, 3591011842654386]
        );
    }

    #[test]
    fn a_seed_decides_everything() {
        let draw = |seed| -> [u64; 8] {
            let mut rng = Rng::from_seed(seed);
            std::array::from_fn(|_| rng.next_u64())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(Rng::from_os().next_u64(), Rng::from_os().next_u64());
    }

    #[test]
    fn below_reaches_all_values_equally_often() {
        let mut rng = Rng::from_seed(4);
        let mut counts = [0u32; 6];
        for _ in 0..60_000 {
            counts[rng.index(6)] += 1;
        }
        assert!(
            counts.iter().all(|count| (9_500..10_500).contains(count)),
            "{counts:?}"
        );
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
        assert!((0..100).any(|_| rng.below(u64::MAX) > u64::MAX / 2));
    }

    #[test]
    fn bytes_ids_and_orders() {
        let mut rng = Rng::from_seed(5);
        let mut bytes = [0u8; 13];
        rng.fill(&mut bytes);
        assert!(bytes.iter().filter(|&&b| b != 0).count() > 8);
        let id = rng.hex_id(40);
        assert_eq!(id.len(), 40);
        assert!(id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        assert_ne!(hex_id(40), hex_id(40));
        let mut items: Vec<u32> = (0..50).collect();
        rng.shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
        assert!((0..1000).all(|_| (0.0..1.0).contains(&rng.unit_f64())));
    }
}
