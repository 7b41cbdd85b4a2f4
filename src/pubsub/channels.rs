//! The table of channels: parts with a lock each, so that messages of different channels do not
//! wait for one another.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::client::{ClientId, Shared};
use crate::ds::footprint;
use crate::ds::hash::{HashFunction, KeyHash};
use crate::util::check::{Checked, holds};

use super::subscribers::Subscribers;

/// Number of parts: more than there are threads that publish.
const PARTS: usize = 64;

/// The channels of one part.
pub(super) type Part = HashMap<Arc<[u8]>, Subscribers, NameHash>;

/// See the module's text.
pub(super) struct Channels {
    parts: [Mutex<Part>; PARTS],
    hash: NameHash,
    count: AtomicUsize,
}

/// The keyspace's hash of names: keyed, so nobody can choose names that collide.
#[derive(Clone, Copy)]
pub(super) struct NameHash(KeyHash);

/// The one name that is hashed.
pub(super) struct NameHasher {
    hash: KeyHash,
    value: u64,
}

impl Default for NameHash {
    fn default() -> NameHash {
        NameHash(KeyHash::process(HashFunction::Fast))
    }
}

impl BuildHasher for NameHash {
    type Hasher = NameHasher;

    fn build_hasher(&self) -> NameHasher {
        NameHasher {
            hash: self.0,
            value: 0,
        }
    }
}

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.value
    }

    fn write(&mut self, name: &[u8]) {
        self.value = self.hash.hash(name);
    }

    fn write_usize(&mut self, _: usize) {
        // The length, before the only name.
    }
}

impl Default for Channels {
    fn default() -> Channels {
        let hash = NameHash::default();
        Channels {
            parts: std::array::from_fn(|_| Mutex::new(Part::with_hasher(hash))),
            hash,
            count: AtomicUsize::new(0),
        }
    }
}

impl Channels {
    /// The part in which a channel is, held.
    pub(super) fn part(&self, channel: &[u8]) -> MutexGuard<'_, Part> {
        // The table itself uses the lowest and the topmost bits.
        let at = (self.hash.0.hash(channel) >> 32) as usize % PARTS;
        self.parts[at].lock()
    }

    /// Adds a client that has not subscribed to the channel; the channel's name to be shared.
    pub(super) fn add(&self, channel: &[u8], client: &Arc<Shared>) -> Arc<[u8]> {
        let mut part = self.part(channel);
        if let Some((name, _)) = part.get_key_value(channel) {
            let name = name.clone();
            part.entry(name.clone()).or_default().add(client);
            return name;
        }
        let name: Arc<[u8]> = channel.into();
        part.entry(name.clone()).or_default().add(client);
        self.count.fetch_add(1, Ordering::Relaxed);
        name
    }

    /// Takes a client out.
    pub(super) fn remove(&self, channel: &[u8], id: ClientId) {
        let mut part = self.part(channel);
        let Some(subscribers) = part.get_mut(channel) else {
            return;
        };
        if subscribers.remove(id) {
            part.remove(channel);
            self.count.fetch_sub(1, Ordering::Relaxed);
            if part.len() * 8 < part.capacity() {
                part.shrink_to_fit();
            }
        }
    }

    /// Whether somebody has subscribed to the channel.
    pub(super) fn has(&self, channel: &[u8]) -> bool {
        self.part(channel).contains_key(channel)
    }

    /// Memory of the table but for the names, which are counted with the clients, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let place = size_of::<(Arc<[u8]>, Subscribers)>();
        let parts = self.parts.iter();
        parts
            .map(|part| footprint::hash_table_bytes(part.lock().capacity(), place))
            .sum()
    }

    /// Number of channels.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether the channels are counted, and somebody has subscribed to each.
    pub(super) fn check(&self) -> Checked {
        let mut count = 0;
        for part in &self.parts {
            let part = part.lock();
            let empty = part.iter().find(|(_, subscribers)| subscribers.is_empty());
            let empty = empty.map(|(name, _)| name.escape_ascii().to_string());
            holds!(empty.is_none(), "nobody has subscribed to {empty:?}");
            count += part.len();
        }
        let said = self.len();
        holds!(count == said, "{said} channels are {count}");
        Ok(())
    }

    /// Calls `visit` with each channel and each of its subscribers, one part after the other.
    pub(super) fn for_each_subscription(&self, mut visit: impl FnMut(&[u8], &Shared)) {
        for part in &self.parts {
            for (name, subscribers) in part.lock().iter() {
                subscribers.iter().for_each(|client| visit(name, client));
            }
        }
    }

    /// Calls `visit` with each channel, one part after the other.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&[u8])) {
        for part in &self.parts {
            part.lock().keys().for_each(|name| visit(name));
        }
    }
}
