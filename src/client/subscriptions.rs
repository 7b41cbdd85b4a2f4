//! What a client has subscribed to: its own list, beside the tables of `pubsub` that messages are
//! looked up in.
//!
//! A connection owns it, so it is read without a lock; nobody who has not subscribed to anything
//! has one. Names are shared with those tables. [`Client::subscribed`] and
//! [`Client::unsubscribed`] keep it, and the figures that others see in `Shared`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ds::footprint;

use super::Client;

/// What can be subscribed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Subject {
    /// A channel (SUBSCRIBE).
    Channel = 0,
    /// All channels that match a pattern (PSUBSCRIBE).
    Pattern = 1,
    /// A sharded channel (SSUBSCRIBE).
    ShardChannel = 2,
}

/// See the module's text.
#[derive(Default, Debug)]
pub struct Subscriptions {
    names: [BTreeSet<Arc<[u8]>>; 3],
    /// Memory of the names, which are those of the tables, too.
    name_bytes: usize,
}

impl Subscriptions {
    /// Names of one kind, in order.
    pub fn names(&self, subject: Subject) -> &BTreeSet<Arc<[u8]>> {
        &self.names[subject as usize]
    }

    fn is_empty(&self) -> bool {
        self.names.iter().all(BTreeSet::is_empty)
    }

    /// Memory of the list, bytes.
    fn memory_bytes(&self) -> usize {
        let names = self.names.iter();
        let lists = names.map(|names| footprint::btree_bytes(names.len(), size_of::<Arc<[u8]>>()));
        footprint::block_bytes(size_of::<Subscriptions>()) + self.name_bytes + lists.sum::<usize>()
    }
}

/// Memory of a name with what counts its owners, bytes.
fn name_bytes(name: &[u8]) -> usize {
    footprint::block_bytes(2 * size_of::<usize>() + name.len())
}

impl Client {
    /// True while it has subscribed to anything.
    #[inline]
    pub fn is_subscriber(&self) -> bool {
        self.subscriptions.is_some()
    }

    /// Whether it has subscribed to this.
    pub fn has_subscribed(&self, subject: Subject, name: &[u8]) -> bool {
        let own = self.subscriptions.as_ref();
        own.is_some_and(|own| own.names(subject).contains(name))
    }

    /// How much it has subscribed to, of one kind.
    pub fn subscription_count(&self, subject: Subject) -> usize {
        let own = self.subscriptions.as_ref();
        own.map_or(0, |own| own.names(subject).len())
    }

    /// Notes a subscription; true if it is the client's first one.
    pub fn subscribed(&mut self, subject: Subject, name: Arc<[u8]>) -> bool {
        let is_first = self.subscriptions.is_none();
        let bytes = name_bytes(&name);
        let own = self.subscriptions.get_or_insert_default();
        if own.names[subject as usize].insert(name) {
            own.name_bytes += bytes;
            let shared = &self.shared;
            shared.subscriptions[subject as usize].fetch_add(1, Ordering::Relaxed);
            shared
                .subscription_bytes
                .store(own.memory_bytes(), Ordering::Relaxed);
        }
        is_first
    }

    /// Forgets a subscription; true if that was the client's last one.
    pub fn unsubscribed(&mut self, subject: Subject, name: &[u8]) -> bool {
        let Some(own) = &mut self.subscriptions else {
            return false;
        };
        if own.names[subject as usize].remove(name) {
            own.name_bytes -= name_bytes(name);
            let shared = &self.shared;
            shared.subscriptions[subject as usize].fetch_sub(1, Ordering::Relaxed);
            shared
                .subscription_bytes
                .store(own.memory_bytes(), Ordering::Relaxed);
        }
        let is_last = own.is_empty();
        if is_last {
            self.subscriptions = None;
            self.shared.subscription_bytes.store(0, Ordering::Relaxed);
        }
        is_last
    }
}
