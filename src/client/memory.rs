//! `maxmemory-clients`: what all clients take together, and who has to go when that is too much.
//!
//! While there is a limit, whoever changes what a client takes ([`Shared::memory_bytes`]) says so
//! afterwards ([`Registry::account`]); the sum is kept, and clients stand in buckets by powers of
//! two of their size, so that a large one is found without looking at all. When the sum has reached
//! the limit, clients of the largest bucket are closed until it has not. Without a limit nothing is
//! counted: one load.
//!
//! Whoever has just come counts from its first batch on, or when the cron job comes by, as in Valkey: what must
//! not be closed (`CLIENT NO-EVICT`) may take all that there is, and then somebody has to be heard who lifts the limit.
//!
//! Invariants: the sum is that of what each client was counted with last; a client that is being
//! closed counts no more, so that not more are closed than needed; no lock is taken under the
//! buckets'.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::{ClientId, Registry, Shared, Signal};
use crate::util::check::{Checked, holds};

/// Clients up to this size are in the first bucket, as a power of two of bytes.
const FIRST_BUCKET_LOG: u32 = 15;
/// Buckets; the last one holds everything from 4 GiB on.
const BUCKETS: usize = 19;
/// A limit below this is taken for this one: with less the server could not be talked to.
const LIMIT_BYTES_MIN: u64 = 128 * 1024;

/// What all clients take.
#[derive(Default)]
pub struct ClientMemory {
    /// 0: none.
    limit_bytes: AtomicU64,
    total_bytes: AtomicU64,
    buckets: Mutex<[BTreeSet<ClientId>; BUCKETS]>,
    /// It was said already that nobody is left who could be closed.
    has_warned: AtomicBool,
    /// Clients that were closed.
    pub evicted: AtomicU64,
}

/// What one client was counted with.
#[derive(Default)]
pub(super) struct Counted {
    bytes: u64,
    /// The bucket that it is in; none for one that may not be closed.
    bucket: Option<u8>,
    /// It is closed, or about to be: never counted again.
    has_gone: bool,
}

/// The bucket for clients of this size.
fn bucket_of(bytes: u64) -> u8 {
    let log = u64::BITS - bytes.leading_zeros();
    log.saturating_sub(FIRST_BUCKET_LOG).min(BUCKETS as u32 - 1) as u8
}

impl ClientMemory {
    /// The limit in force, bytes; 0 for none.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// What all clients take together, as far as it is counted.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        let limit_bytes = self.limit_bytes();
        limit_bytes > 0 && self.total_bytes() >= limit_bytes
    }

    /// Counts a client with this from now on.
    fn count(&self, id: ClientId, counted: &mut Counted, bytes: u64, bucket: Option<u8>) {
        let before = std::mem::replace(&mut counted.bytes, bytes);
        if bytes >= before {
            self.total_bytes
                .fetch_add(bytes - before, Ordering::Relaxed);
        } else {
            self.total_bytes
                .fetch_sub(before - bytes, Ordering::Relaxed);
        }
        let old = std::mem::replace(&mut counted.bucket, bucket);
        if old != bucket {
            let mut buckets = self.buckets.lock();
            if let Some(old) = old {
                buckets[old as usize].remove(&id);
            }
            if let Some(new) = bucket {
                buckets[new as usize].insert(id);
            }
        }
    }

    /// Takes one of the largest clients out of its bucket.
    fn take_largest(&self) -> Option<ClientId> {
        let mut buckets = self.buckets.lock();
        buckets
            .iter_mut()
            .rev()
            .find_map(|bucket| bucket.pop_first())
    }
}

impl Registry {
    /// Sets how much all clients may take together, bytes; 0 for as much as they like.
    pub fn set_memory_limit(&self, limit_bytes: u64) {
        let limit_bytes = match limit_bytes {
            0 => 0,
            bytes => bytes.max(LIMIT_BYTES_MIN),
        };
        let before = self.memory.limit_bytes.swap(limit_bytes, Ordering::Relaxed);
        if limit_bytes == 0 && before > 0 {
            for client in self.all() {
                let counted = &mut client.counted.lock();
                self.memory.count(client.id, counted, 0, None);
            }
        } else if limit_bytes > 0 && limit_bytes != before {
            // Who has changed before it saw the limit is counted here.
            self.all().iter().for_each(|client| self.recount(client));
            self.memory.has_warned.store(false, Ordering::Relaxed);
        }
    }

    /// To be called after what a client takes has changed, whoever has changed it.
    #[inline]
    pub fn account(&self, client: &Shared) {
        if self.memory.limit_bytes() > 0 {
            self.recount(client);
        }
    }

    #[cold]
    fn recount(&self, client: &Shared) {
        {
            let mut counted = client.counted.lock();
            if counted.has_gone {
                return;
            }
            let bytes = client.memory_bytes() as u64;
            let may_go = !client.no_evict.load(Ordering::Relaxed);
            let bucket = may_go.then(|| bucket_of(bytes));
            self.memory.count(client.id, &mut counted, bytes, bucket);
        }
        if self.memory.is_over() {
            self.evict();
        }
    }

    /// Whether the sum is that of what clients were counted with, and each is in its bucket and no
    /// other. While they come, go or grow it may not be.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn check_memory(&self) -> Checked {
        let (mut sum, mut in_buckets) = (0, 0);
        for client in self.all() {
            let (id, counted) = (client.id, client.counted.lock());
            sum += counted.bytes;
            if let Some(bucket) = counted.bucket
                && !counted.has_gone
            {
                in_buckets += 1;
                let is_there = self.memory.buckets.lock()[bucket as usize].contains(&id);
                holds!(is_there, "client {id} is not in bucket {bucket}");
            }
        }
        let (said, found) = (self.memory.total_bytes(), sum);
        holds!(said == found, "{said} bytes of all clients are {found}");
        let buckets = self.memory.buckets.lock();
        let placed: usize = buckets.iter().map(BTreeSet::len).sum();
        holds!(
            placed == in_buckets,
            "{in_buckets} clients have {placed} places in buckets"
        );
        Ok(())
    }

    /// Closes clients until the rest takes less than the limit.
    fn evict(&self) {
        while self.memory.is_over() {
            let Some(id) = self.memory.take_largest() else {
                if !self.memory.has_warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!("Over client maxmemory after evicting all evictable clients");
                }
                return;
            };
            let Some(client) = self.get(id) else { continue };
            let bytes = client.memory_bytes();
            if self.no_longer_counted(&client) && !client.has(Signal::Kill) {
                self.memory.evicted.fetch_add(1, Ordering::Relaxed);
                tracing::info!(
                    "Evicting client: id={id} addr={} tot-mem={bytes}",
                    client.endpoint.addr
                );
                client.raise(Signal::Kill);
            }
        }
        self.memory.has_warned.store(false, Ordering::Relaxed);
    }

    /// A client goes: it counts no longer. False if it did not already.
    pub(super) fn no_longer_counted(&self, client: &Shared) -> bool {
        let mut counted = client.counted.lock();
        let is_first = !std::mem::replace(&mut counted.has_gone, true);
        self.memory.count(client.id, &mut counted, 0, None);
        is_first
    }
}

#[cfg(test)]
mod tests;
