//! How often keys were accessed that were evicted under LFU, so that one which comes back need not
//! begin anew: without it a cache never finds out that a key which is wanted now and then is wanted
//! more often than another.
//!
//! A shard keeps about as many ghosts as it has keys, in 2.3 bytes each: buckets of seven 16-bit
//! words, which hold 10 bits of the key's hash and its counter in 8ths. Of a full bucket the ghost that
//! was least wanted is forgotten, the oldest of several. A key that was never there is taken for a ghost
//! in less than one of 146 cases, which only makes it stay a little longer.
//!
//! Ghosts decay as keys do; a ghost that would be below what a new key starts with is forgotten.
//!
//! Invariant: what all shards' ghosts take is in [`Usage::ghost_bytes`].

use std::sync::atomic::Ordering;

use crate::ds::table::prefetch;

use super::frequency::{Frequency, LFU_INIT};
use super::{Stamp, Usage};

/// Ghosts of a bucket.
const WAYS: usize = 7;
const COUNT_BITS: u32 = 6;
const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;
/// From a counter in 64ths to one in 8ths.
const COUNT_SHIFT: u32 = 3;
const COUNTS_PER_DECAY: u32 = 8;
/// Tags are 1..=this: a word of 0 is no ghost.
const TAGS: u64 = 1023;
/// The table is made anew when the number of keys differs by this factor from that it was made for.
const MISFIT: usize = 2;

/// Ghosts whose hashes are neighbours, oldest first, behind those places that are empty.
#[derive(Clone, Copy, Default)]
struct Bucket {
    /// As of when the counts are, minutes.
    minutes: u16,
    /// tag:10 | count:6
    ghosts: [u16; WAYS],
}

/// The ghosts of a shard.
#[derive(Default)]
pub(in crate::db) struct Ghosts {
    buckets: Box<[Bucket]>,
}

impl Ghosts {
    /// Remembers a key that is evicted from a shard of so many keys, by its hash.
    pub(in crate::db) fn remember(
        &mut self,
        usage: &Usage,
        stamp: Stamp,
        (hash, lru): (u64, u32),
        keys: usize,
    ) {
        let frequency = stamp.frequency_of(lru);
        let Some(count) = frequency.0.checked_sub(Frequency::of(LFU_INIT).0) else {
            return;
        };
        self.fit(usage, keys);
        let Some((bucket, tag)) = self.bucket(hash, stamp) else {
            return;
        };
        let count = (count >> COUNT_SHIFT).min(COUNT_MAX);
        let mut least = 0;
        for (at, &ghost) in bucket.ghosts.iter().enumerate() {
            let is_less = count_of(ghost) < count_of(bucket.ghosts[least]);
            if ghost == 0 || is_less {
                least = at;
            }
            if ghost == 0 {
                break;
            }
        }
        bucket.ghosts[least..].rotate_left(1);
        bucket.ghosts[WAYS - 1] = tag << COUNT_BITS | count as u16;
    }

    /// What is known of a key with this hash, which is there again and no ghost from now on.
    #[inline]
    pub(super) fn recall(&mut self, hash: u64, stamp: Stamp) -> Option<Frequency> {
        if self.buckets.is_empty() {
            return None;
        }
        let (bucket, tag) = self.bucket(hash, stamp)?;
        let is_it = |ghost: &u16| ghost >> COUNT_BITS == tag;
        let at = bucket.ghosts.iter().position(is_it)?;
        let count = count_of(bucket.ghosts[at]);
        bucket.ghosts[at] = 0;
        bucket.ghosts[..=at].rotate_right(1);
        let known = Frequency::of(LFU_INIT).0 + (count << COUNT_SHIFT);
        Some(Frequency(known))
    }

    /// What they take, bytes.
    pub(in crate::db) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// Gives its memory back.
    pub(in crate::db) fn clear(&mut self, usage: &Usage) {
        self.replace(usage, Box::default());
    }

    /// Asks for what may be known of a key with this hash.
    pub(super) fn prefetch(&self, hash: u64) {
        if let Some(bucket) = self.buckets.get(self.place(hash)) {
            prefetch(bucket);
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Makes a table for so many keys if it has none that is near enough.
    fn fit(&mut self, usage: &Usage, keys: usize) {
        let (wanted, have) = (keys.div_ceil(WAYS).max(1), self.buckets.len());
        if wanted > have.saturating_mul(MISFIT) || wanted.saturating_mul(MISFIT) < have {
            self.replace(usage, Box::default());
            self.replace(usage, vec![Bucket::default(); wanted].into());
        }
    }

    fn replace(&mut self, usage: &Usage, buckets: Box<[Bucket]>) {
        let bytes = &usage.ghost_bytes;
        bytes.fetch_add(size_of_val(&*buckets), Ordering::Relaxed);
        bytes.fetch_sub(size_of_val(&*self.buckets), Ordering::Relaxed);
        self.buckets = buckets;
    }

    /// The bucket of a hash as of now, and the tag.
    fn bucket(&mut self, hash: u64, stamp: Stamp) -> Option<(&mut Bucket, u16)> {
        let at = self.place(hash);
        let bucket = self.buckets.get_mut(at)?;
        bucket.decay(stamp);
        Some((bucket, ((hash >> 32) % TAGS) as u16 + 1))
    }

    /// The number of a hash's bucket: by its low bits, since the top bits are the same for all keys of a
    /// shard.
    fn place(&self, hash: u64) -> usize {
        let low = hash & u64::from(u32::MAX);
        ((low * self.buckets.len() as u64) >> 32) as usize
    }
}

impl Bucket {
    /// Brings the counts up to date.
    fn decay(&mut self, stamp: Stamp) {
        let since = (stamp.minutes() as u16).wrapping_sub(self.minutes);
        let times = stamp.decays(since.into());
        if times == 0 {
            return;
        }
        // What is left of the time counts for the next time.
        let passed = times * stamp.decay_minutes();
        self.minutes = self.minutes.wrapping_add(passed as u16);
        let lost = times.saturating_mul(COUNTS_PER_DECAY);
        let mut empty = 0;
        for at in 0..WAYS {
            let ghost = self.ghosts[at];
            self.ghosts[at] = match u16::try_from(lost) {
                Ok(lost) if count_of(ghost) >= lost.into() => ghost - lost,
                _ => 0,
            };
            if self.ghosts[at] == 0 {
                self.ghosts[empty..=at].rotate_right(1);
                empty += 1;
            }
        }
    }
}

fn count_of(ghost: u16) -> u32 {
    u32::from(ghost) & COUNT_MAX
}
