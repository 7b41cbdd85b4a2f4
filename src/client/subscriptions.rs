//! What a client has subscribed to: its own list, beside the tables of `pubsub` that messages are
//! looked up in.
//!
//! A connection owns it, so it is read without a lock; nobody who has not subscribed to anything
//! has one. Names are shared with those tables. [`Client::subscribed`] and
//! [`Client::unsubscribed`] keep it, and the figures that others see in `Shared`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

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

/// Memory that a subscription takes beside the bytes of its name, here and in the table, bytes.
const SUBSCRIPTION_BYTES: usize = 2 * size_of::<Arc<[u8]>>() + 4 * size_of::<usize>();

/// See the module's text.
#[derive(Default, Debug)]
pub struct Subscriptions {
    names: [BTreeSet<Arc<[u8]>>; 3],
}

impl Subscriptions {
    /// Names of one kind, in order.
    pub fn names(&self, subject: Subject) -> &BTreeSet<Arc<[u8]>> {
        &self.names[subject as usize]
    }

    fn is_empty(&self) -> bool {
        self.names.iter().all(BTreeSet::is_empty)
    }
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
        let bytes = name.len() + SUBSCRIPTION_BYTES;
        let own = self.subscriptions.get_or_insert_default();
        if own.names[subject as usize].insert(name) {
            let shared = &self.shared;
            shared.subscriptions[subject as usize].fetch_add(1, Ordering::Relaxed);
            shared
                .subscription_bytes
                .fetch_add(bytes, Ordering::Relaxed);
        }
        is_first
    }

    /// Forgets a subscription; true if that was the client's last one.
    pub fn unsubscribed(&mut self, subject: Subject, name: &[u8]) -> bool {
        let Some(own) = &mut self.subscriptions else {
            return false;
        };
        if own.names[subject as usize].remove(name) {
            let shared = &self.shared;
            let bytes = name.len() + SUBSCRIPTION_BYTES;
            shared.subscriptions[subject as usize].fetch_sub(1, Ordering::Relaxed);
            shared
                .subscription_bytes
                .fetch_sub(bytes, Ordering::Relaxed);
        }
        let is_last = own.is_empty();
        if is_last {
            self.subscriptions = None;
        }
        is_last
    }
}
