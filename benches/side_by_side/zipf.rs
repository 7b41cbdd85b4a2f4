//! Requests for keys whose popularity follows Zipf's law, and what ideal caches make of them.
//!
//! A sequence is the same for all who ask for the same one: servers and ideal caches are compared over
//! exactly the same requests. The key of rank 1 is `s`-Zipf's most popular; ranks are numbers of keys
//! unless the sequence drifts: then the keys of popular ranks are replaced one by one, each about once
//! per sequence, while the shape of the popularity stays. So the share of the requests that the most
//! popular keys of the moment get is the same everywhere in a sequence, and no cache of so many keys
//! that does not know the future gets more (`Zipf::best`).
//!
//! The caches take requests in batches as the servers get them: all lookups of a batch, then its
//! insertions.

use std::collections::BTreeSet;

use crate::load::Random;

/// The exponent that caches are usually compared with.
pub(crate) const EXPONENT: f64 = 0.99;

/// Probabilities of the ranks.
pub(crate) struct Zipf {
    /// Of this rank and all more popular ones.
    sums: Vec<f64>,
}

impl Zipf {
    /// Of so many keys.
    pub(crate) fn new(keys: u64, exponent: f64) -> Self {
        let weights = (1..=keys).map(|rank| (rank as f64).powf(-exponent));
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        let mut sums: Vec<f64> = sums.collect();
        let total = sums.last().copied().unwrap_or(1.0);
        sums.iter_mut().for_each(|sum| *sum /= total);
        Self { sums }
    }

    /// The share of requests, in percent, for the `keys` most popular ones.
    pub(crate) fn best(&self, keys: usize) -> f64 {
        match keys.min(self.sums.len()) {
            0 => 0.0,
            keys => self.sums[keys - 1] * 100.0,
        }
    }

    /// The keys of so many requests; `drifting_over` is the number of popular ranks that get new keys.
    pub(crate) fn sequence(
        &self,
        requests: usize,
        drifting_over: Option<usize>,
        seed: u64,
    ) -> Vec<u32> {
        let mut random = Random(seed);
        let mut keys: Vec<u32> = (0..self.sums.len() as u32).collect();
        let mut sequence = Vec::with_capacity(requests);
        // One exchange every so many requests.
        let every = drifting_over.map_or(usize::MAX, |ranks| (requests / ranks.max(1)).max(1));
        for number in 1..=requests {
            let point = (random.next() >> 11) as f64 / (1u64 << 53) as f64;
            let rank = self.sums.partition_point(|&sum| sum <= point);
            sequence.push(keys[rank.min(keys.len() - 1)]);
            if number % every == 0 {
                let popular = random.below(drifting_over.unwrap_or(1) as u64) as usize;
                let other = random.below(keys.len() as u64) as usize;
                keys.swap(popular, other);
            }
        }
        sequence
    }
}

/// What an ideal cache needs to be.
trait Cache {
    /// Whether the key is there; it counts as an access.
    fn look_up(&mut self, key: u32) -> bool;
    /// Puts in a key that was missing.
    fn insert(&mut self, key: u32);
}

/// Percent of the requests from `begin` on that a cache of `room` keys answers, by policy.
pub(crate) struct Ideal {
    /// The least recently used key goes.
    pub(crate) lru: f64,
    /// The least frequently used one goes, among equals the least recently used; what has gone is
    /// forgotten.
    pub(crate) lfu: f64,
}

/// What ideal caches make of a sequence.
pub(crate) fn ideal(sequence: &[u32], keys: u64, room: usize, batch: usize, begin: usize) -> Ideal {
    let room = room.max(1);
    Ideal {
        lru: ratio(Lru::new(keys as usize, room), sequence, batch, begin),
        lfu: ratio(Lfu::new(keys as usize, room), sequence, batch, begin),
    }
}

fn ratio(mut cache: impl Cache, sequence: &[u32], batch: usize, begin: usize) -> f64 {
    let mut hits = 0u64;
    let mut missing = Vec::new();
    for (index, keys) in sequence.chunks(batch).enumerate() {
        for &key in keys {
            match cache.look_up(key) {
                true => hits += u64::from(index * batch >= begin),
                false => missing.push(key),
            }
        }
        missing.drain(..).for_each(|key| cache.insert(key));
    }
    hits as f64 * 100.0 / (sequence.len() - begin) as f64
}

/// A ring of keys in the order of their use, by number of key; the last place is the ring's head.
struct Lru {
    links: Vec<(u32, u32)>,
    is_in: Vec<bool>,
    room: usize,
    len: usize,
}

impl Lru {
    fn new(keys: usize, room: usize) -> Self {
        let head = keys as u32;
        let mut links = vec![(0, 0); keys + 1];
        links[keys] = (head, head);
        let is_in = vec![false; keys];
        let len = 0;
        Self {
            links,
            is_in,
            room,
            len,
        }
    }

    fn head(&self) -> u32 {
        self.is_in.len() as u32
    }

    fn unlink(&mut self, key: u32) {
        let (before, after) = self.links[key as usize];
        self.links[before as usize].1 = after;
        self.links[after as usize].0 = before;
    }

    fn link_first(&mut self, key: u32) {
        let head = self.head();
        let first = self.links[head as usize].1;
        self.links[key as usize] = (head, first);
        self.links[head as usize].1 = key;
        self.links[first as usize].0 = key;
    }
}

impl Cache for Lru {
    fn look_up(&mut self, key: u32) -> bool {
        let found = self.is_in[key as usize];
        if found {
            self.unlink(key);
            self.link_first(key);
        }
        found
    }

    fn insert(&mut self, key: u32) {
        if self.look_up(key) {
            return;
        }
        if self.len == self.room {
            let last = self.links[self.head() as usize].0;
            self.unlink(last);
            self.is_in[last as usize] = false;
            self.len -= 1;
        }
        self.is_in[key as usize] = true;
        self.link_first(key);
        self.len += 1;
    }
}

/// Counts of the keys that are in, and all of them in order.
struct Lfu {
    /// Uses and the time of the last one; 0 uses: not in.
    uses: Vec<(u32, u32)>,
    order: BTreeSet<(u32, u32, u32)>,
    room: usize,
    now: u32,
}

impl Lfu {
    fn new(keys: usize, room: usize) -> Self {
        Self {
            uses: vec![(0, 0); keys],
            order: BTreeSet::new(),
            room,
            now: 0,
        }
    }
}

impl Cache for Lfu {
    fn look_up(&mut self, key: u32) -> bool {
        let (count, last) = self.uses[key as usize];
        if count == 0 {
            return false;
        }
        self.now += 1;
        self.order.remove(&(count, last, key));
        self.order.insert((count + 1, self.now, key));
        self.uses[key as usize] = (count + 1, self.now);
        true
    }

    fn insert(&mut self, key: u32) {
        if self.look_up(key) {
            return;
        }
        if self.order.len() == self.room
            && let Some((_, _, gone)) = self.order.pop_first()
        {
            self.uses[gone as usize] = (0, 0);
        }
        self.now += 1;
        self.order.insert((1, self.now, key));
        self.uses[key as usize] = (1, self.now);
    }
}
