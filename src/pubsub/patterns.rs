//! Patterns that clients have subscribed to.
//!
//! A message is compared with all of them while none can come or go, but by as many threads as
//! there are; only those whose message matches any go one after the other, which gives all
//! subscribers of patterns the same order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;

use crate::client::{ClientId, Registry, Shared};
use crate::util::glob::glob_match;

use super::message::Message;
use super::subscribers::Subscribers;

/// See the module's text.
#[derive(Default)]
pub(super) struct Patterns {
    known: RwLock<BTreeMap<Arc<[u8]>, Subscribers>>,
    /// Held while messages are posted.
    order: Mutex<()>,
    count: AtomicUsize,
}

impl Patterns {
    /// Adds a client that has not subscribed to the pattern; the pattern to be shared.
    pub(super) fn add(&self, pattern: &[u8], client: &Arc<Shared>) -> Arc<[u8]> {
        let mut known = self.known.write();
        let name = match known.get_key_value(pattern) {
            Some((name, _)) => name.clone(),
            None => pattern.into(),
        };
        known.entry(name.clone()).or_default().add(client);
        self.count.store(known.len(), Ordering::SeqCst);
        name
    }

    /// Takes a client out.
    pub(super) fn remove(&self, pattern: &[u8], id: ClientId) {
        let mut known = self.known.write();
        if let Some(subscribers) = known.get_mut(pattern)
            && subscribers.remove(id)
        {
            known.remove(pattern);
        }
        self.count.store(known.len(), Ordering::SeqCst);
    }

    /// Number of patterns.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// True without any.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a message to all who have subscribed to a pattern that matches; how many
    /// subscriptions these are.
    #[cold]
    pub(super) fn publish(
        &self,
        clients: &Registry,
        channel: &[u8],
        message: &mut Message<'_>,
    ) -> usize {
        let known = self.known.read();
        let matching: SmallVec<[_; 8]> = known
            .iter()
            .filter(|(pattern, _)| glob_match(pattern, channel, false))
            .collect();
        if matching.is_empty() {
            return 0;
        }
        let pushes: SmallVec<[_; 8]> = matching
            .iter()
            .map(|(pattern, _)| message.encode(&[b"pmessage", pattern, channel]))
            .collect();
        let _order = self.order.lock();
        let posts = matching.iter().zip(&pushes);
        posts
            .map(|((_, subscribers), push)| clients.post_all(subscribers, push))
            .sum()
    }
}
