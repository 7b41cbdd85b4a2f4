//! The keyed hash of keys, fields and members.
//! The secrets are drawn from the operating system once per process, so a client can't prepare
//! keys that collide. rapidhash is fast but not a cryptographic function: whoever doubts it chooses
//! SipHash-1-3, at about seven times the cost per short key.
//! To add a function: a variant of [`HashFunction`] and its arm in [`KeyHash::hash`].

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, OnceLock, PoisonError};

use rapidhash::v3::{RapidSecrets, rapidhash_v3_inline};
use siphasher::sip::SipHasher13;

/// Which hash function a table uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashFunction {
    /// rapidhash v3 with random secrets.
    Fast,
    /// SipHash-1-3 with a random 128-bit key.
    Sip,
}

#[derive(Debug)]
struct Secrets {
    rapid: RapidSecrets,
    sip: SipHasher13,
}

/// A hash function with its secrets. Small and `Copy`: every table holds one.
#[derive(Debug, Clone, Copy)]
pub struct KeyHash {
    secrets: &'static Secrets,
    function: HashFunction,
}

impl KeyHash {
    /// The given function with this process's secrets: two calls agree on every key.
    pub fn process(function: HashFunction) -> Self {
        static SECRETS: OnceLock<Secrets> = OnceLock::new();
        // RandomState is SipHash-1-3 under a key from the operating system: a generator of secrets
        // that needs no further dependency.
        let secrets = SECRETS.get_or_init(|| {
            let random = RandomState::new();
            Secrets::draw(|counter| random.hash_one(counter))
        });
        Self { secrets, function }
    }

    /// The given function with secrets derived from `seed`: for `hash-seed`, and for tests and benches
    /// that must repeat themselves. The secrets of every seed ever used are kept.
    pub fn with_seed(function: HashFunction, seed: u64) -> Self {
        static SEEDED: Mutex<BTreeMap<u64, &'static Secrets>> = Mutex::new(BTreeMap::new());
        let mut seeded = SEEDED.lock().unwrap_or_else(PoisonError::into_inner);
        let secrets = seeded.entry(seed).or_insert_with(|| {
            let generator = SipHasher13::new_with_keys(seed, !seed);
            let secrets = Secrets::draw(|counter| generator.hash(&counter.to_le_bytes()));
            Box::leak(Box::new(secrets))
        });
        Self { secrets, function }
    }

    /// The seed that a text stands for.
    pub fn seed_of(text: &[u8]) -> u64 {
        SipHasher13::new_with_keys(0, 0).hash(text)
    }

    /// The function in use.
    pub fn function(&self) -> HashFunction {
        self.function
    }

    /// The 64-bit hash of a key.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        match self.function {
            HashFunction::Fast => {
                rapidhash_v3_inline::<true, false, true>(key, &self.secrets.rapid)
            }
            HashFunction::Sip => self.secrets.sip.hash(key),
        }
    }
}

impl Secrets {
    fn draw(random: impl Fn(u64) -> u64) -> Self {
        let mut counter = 0u64;
        let mut next = || {
            counter += 1;
            random(counter)
        };
        // The multiplications of rapidhash mix badly with very sparse or very dense secrets.
        let mut balanced = || {
            loop {
                let secret = next() | 1;
                if (24..=40).contains(&secret.count_ones()) {
                    return secret;
                }
            }
        };
        let seed = balanced();
        let secrets = std::array::from_fn(|_| balanced());
        Self {
            rapid: RapidSecrets { seed, secrets },
            sip: SipHasher13::new_with_keys(next(), next()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_seeds_differ_and_repeat() {
        let fast = KeyHash::with_seed(HashFunction::Fast, 1);
        let sip = KeyHash::with_seed(HashFunction::Sip, 1);
        for key in [&b""[..], b"a", b"0123456789abcdef", &[7; 1000]] {
            assert_ne!(fast.hash(key), sip.hash(key));
            assert_ne!(
                fast.hash(key),
                KeyHash::with_seed(HashFunction::Fast, 2).hash(key)
            );
            assert_ne!(
                sip.hash(key),
                KeyHash::with_seed(HashFunction::Sip, 2).hash(key)
            );
            assert_eq!(
                fast.hash(key),
                KeyHash::with_seed(HashFunction::Fast, 1).hash(key)
            );
            let process = KeyHash::process(HashFunction::Fast);
            assert_eq!(
                process.hash(key),
                KeyHash::process(HashFunction::Fast).hash(key)
            );
        }
    }

    #[test]
    fn every_bit_is_used() {
        for function in [HashFunction::Fast, HashFunction::Sip] {
            let hash = KeyHash::process(function);
            let mut ones = [0u32; 64];
            for key in 0..4096u32 {
                let value = hash.hash(&key.to_le_bytes());
                for (bit, count) in ones.iter_mut().enumerate() {
                    *count += (value >> bit) as u32 & 1;
                }
            }
            // 2048 expected, standard deviation 32.
            assert!(
                ones.iter().all(|count| (1800..2300).contains(count)),
                "{ones:?}"
            );
        }
    }
}
