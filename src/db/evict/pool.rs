//! The best candidates that a thread has met.
//!
//! They are known by database and hash, not by place: between the moment in which one is met and that in
//! which it goes its table may change in any way, and it is looked at anew before it goes. What was known
//! of its use is kept, so the order is made anew as time goes by.
//!
//! Invariants: candidates ascend by idleness, and none is there twice with the same use: one that was used
//! and met again is there with what was known before, too, until that is looked at and given up.

use super::Policy;
use crate::db::keyspace::DbIndex;
use crate::db::usage::Stamp;

/// The most that are kept. That many are worth knowing: those that many keys are looked at for. More than
/// Redis's 16, so that a good one that was met among many better ones is not forgotten.
const POOL_LEN: usize = 64;

/// A key that may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The more the sooner.
    pub(super) idleness: u64,
    /// Of the key.
    pub(super) hash: u64,
    /// The entry's LRU bits when it was met.
    pub(super) usage: u32,
    /// Its database.
    pub(super) db: DbIndex,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Pool {
    /// The best is the last.
    candidates: Vec<Candidate>,
    policy: Policy,
    /// When the order was made.
    ordered_at_ms: u64,
    /// Keys that were looked at, less those that are accounted for by keys that were taken.
    looked_at: usize,
}

impl Pool {
    /// Makes the order what it is at this moment under this policy.
    pub(super) fn turn_to(&mut self, policy: Policy, stamp: Stamp, now_ms: u64) {
        if self.policy != policy {
            self.policy = policy;
            self.candidates.clear();
        }
        if self.ordered_at_ms != now_ms && !policy.is_random() {
            self.ordered_at_ms = now_ms;
            for candidate in &mut self.candidates {
                candidate.idleness = stamp.idleness(candidate.usage);
            }
            // Stable, and quick for what is in order, as it mostly is.
            self.candidates.sort_by_key(|candidate| candidate.idleness);
        }
    }

    /// Whether more keys have to be looked at before another one is taken.
    pub(super) fn is_used_up(&self, samples: usize) -> bool {
        self.looked_at < samples || self.candidates.is_empty()
    }

    /// So many more were looked at.
    pub(super) fn add_looked_at(&mut self, keys: usize) {
        self.looked_at += keys;
    }

    /// Takes the best, at the price of so many that were looked at.
    pub(super) fn take(&mut self, samples: usize) -> Option<Candidate> {
        self.looked_at = self.looked_at.saturating_sub(samples);
        self.candidates.pop()
    }

    /// Whether a key of this idleness would be kept.
    #[inline]
    pub(super) fn admits(&self, idleness: u64) -> bool {
        match self.candidates.first() {
            Some(worst) if self.candidates.len() >= POOL_LEN => idleness > worst.idleness,
            _ => true,
        }
    }

    /// Keeps a candidate if it is good enough; of equal ones the first goes first.
    pub(super) fn offer(&mut self, candidate: Candidate) {
        if !self.admits(candidate.idleness) {
            return;
        }
        if self.candidates.capacity() == 0 {
            self.candidates.reserve_exact(POOL_LEN);
        }
        let is_worse = |known: &Candidate| known.idleness < candidate.idleness;
        let at = self.candidates.partition_point(is_worse);
        // Whoever is met again is as idle as before, or what is known of it is out of date anyway.
        let mut equals = self.candidates[at..]
            .iter()
            .take_while(|known| known.idleness == candidate.idleness);
        if equals.any(|known| known.hash == candidate.hash && known.db == candidate.db) {
            return;
        }
        if self.candidates.len() < POOL_LEN {
            return self.candidates.insert(at, candidate);
        }
        // The worst leaves; it is worse than this one, so `at` is not 0.
        self.candidates.copy_within(1..at, 0);
        self.candidates[at - 1] = candidate;
    }
}
