//! Channels: who has subscribed to which, and the way of a message to all of them.
//!
//! A message is encoded once and shared by all who get it; it goes into their inboxes
//! (`client::inbox`), so whoever publishes waits for nobody.
//!
//! **Order.** All who have subscribed to a channel see its messages in one order: the lock of the
//! channel's part of the table is held while they are posted. Those who have subscribed to patterns
//! see the messages of all channels that match in one order: `Patterns::order`
//! is held besides. What one client publishes arrives in the order in which it was published.
//!
//! Locks, in the order in which they are taken: a part of the table of channels, patterns, their
//! order, an inbox. Shards of the keyspace come before all of them.
//!
//! A subscription stands here and in the client's own list (`client::subscriptions`);
//! [`PubSub::subscribe`] and [`PubSub::unsubscribe`] keep both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::client::subscriptions::Subject;
use crate::client::{Client, ClientId, Registry, Shared};
use crate::util::check::{Checked, holds};

use channels::Channels;
use message::Message;
use patterns::Patterns;

mod channels;
mod message;
mod patterns;
mod subscribers;

#[cfg(test)]
mod tests;

/// See the module's text.
pub struct PubSub {
    clients: Arc<Registry>,
    channels: Channels,
    shard_channels: Channels,
    patterns: Patterns,
    subscribers: AtomicU64,
}

impl PubSub {
    /// Nobody has subscribed to anything.
    pub fn new(clients: Arc<Registry>) -> PubSub {
        PubSub {
            clients,
            channels: Channels::default(),
            shard_channels: Channels::default(),
            patterns: Patterns::default(),
            subscribers: AtomicU64::new(0),
        }
    }

    /// Subscribes a client; again does nothing.
    pub fn subscribe(&self, client: &mut Client, subject: Subject, name: &[u8]) {
        if client.has_subscribed(subject, name) {
            return;
        }
        let name = match subject {
            Subject::Channel => self.channels.add(name, &client.shared),
            Subject::Pattern => self.patterns.add(name, &client.shared),
            Subject::ShardChannel => self.shard_channels.add(name, &client.shared),
        };
        if client.subscribed(subject, name) {
            self.subscribers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends a subscription, if there is one. No message of it comes into the inbox afterwards.
    pub fn unsubscribe(&self, client: &mut Client, subject: Subject, name: &[u8]) {
        if !client.has_subscribed(subject, name) {
            return;
        }
        let id = client.shared.id;
        match subject {
            Subject::Channel => self.channels.remove(name, id),
            Subject::Pattern => self.patterns.remove(name, id),
            Subject::ShardChannel => self.shard_channels.remove(name, id),
        }
        if client.unsubscribed(subject, name) {
            self.subscribers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Ends all of a client's subscriptions (RESET, the end of its connection).
    pub fn unsubscribe_all(&self, client: &mut Client) {
        for subject in [Subject::Channel, Subject::Pattern, Subject::ShardChannel] {
            let own = client.subscriptions.as_ref();
            let names: Vec<Arc<[u8]>> = match own {
                Some(own) => own.names(subject).iter().cloned().collect(),
                None => return,
            };
            for name in names {
                self.unsubscribe(client, subject, &name);
            }
        }
    }

    /// Sends a message to all who have subscribed to the channel or to a pattern that it matches;
    /// how many subscriptions these are.
    pub fn publish(&self, channel: &[u8], message: &[u8]) -> usize {
        let mut message = Message::new(message);
        if message.is_large() && (!self.patterns.is_empty() || self.channels.has(channel)) {
            // Copied before others have to wait for the locks.
            message.share();
        }
        let part = self.channels.part(channel);
        let mut reached = 0;
        if let Some(subscribers) = part.get(channel) {
            let push = message.encode(&[b"message", channel]);
            reached += self.clients.post_all(subscribers, &push);
        }
        // The channel is still held: its messages and those of patterns come in the same order.
        if !self.patterns.is_empty() {
            reached += self.patterns.publish(&self.clients, channel, &mut message);
        }
        reached
    }

    /// Sends a message to all who have subscribed to the sharded channel; how many these are.
    pub fn publish_sharded(&self, channel: &[u8], message: &[u8]) -> usize {
        let mut message = Message::new(message);
        if message.is_large() && self.shard_channels.has(channel) {
            message.share();
        }
        match self.shard_channels.part(channel).get(channel) {
            Some(subscribers) => {
                let push = message.encode(&[b"smessage", channel]);
                self.clients.post_all(subscribers, &push)
            }
            None => 0,
        }
    }

    /// Calls `visit` with every channel of one kind that somebody has subscribed to.
    pub fn for_each_channel(&self, is_sharded: bool, visit: impl FnMut(&[u8])) {
        self.table(is_sharded).for_each(visit);
    }

    /// Calls `visit` with every subscription, a part of the tables after the other, each held meanwhile:
    /// for short work.
    pub fn for_each_subscription(&self, mut visit: impl FnMut(Subject, &[u8], &Shared)) {
        let channels = [
            (Subject::Channel, &self.channels),
            (Subject::ShardChannel, &self.shard_channels),
        ];
        for (subject, table) in channels {
            table.for_each_subscription(|name, client| visit(subject, name, client));
        }
        let pattern = Subject::Pattern;
        let patterns = &self.patterns;
        patterns.for_each_subscription(|name, client| visit(pattern, name, client));
    }

    /// Whether the tables and the clients know of the same subscriptions. While somebody subscribes
    /// they may not.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn check(&self) -> Checked {
        self.channels.check()?;
        self.shard_channels.check()?;
        self.patterns.check()?;
        let mut counts: BTreeMap<ClientId, [u32; 3]> = BTreeMap::new();
        self.for_each_subscription(|subject, _, client| {
            counts.entry(client.id).or_default()[subject as usize] += 1;
        });
        let (said, found) = (self.client_count(), counts.len() as u64);
        holds!(said == found, "{said} subscribers are {found}");
        for client in self.clients.all() {
            let id = client.id;
            let own = client.subscriptions.each_ref();
            let own = own.map(|count| count.load(Ordering::Relaxed));
            let found = counts.remove(&id).unwrap_or_default();
            holds!(
                own == found,
                "client {id} has {own:?} subscriptions, not {found:?}"
            );
        }
        holds!(counts.is_empty(), "subscribers that have gone: {counts:?}");
        Ok(())
    }

    /// How many clients have subscribed to a channel, patterns not counted.
    pub fn subscriber_count(&self, is_sharded: bool, channel: &[u8]) -> usize {
        let table = self.table(is_sharded);
        if table.len() == 0 {
            return 0;
        }
        let part = table.part(channel);
        part.get(channel).map_or(0, |subscribers| subscribers.len())
    }

    /// Number of channels of one kind that somebody has subscribed to.
    pub fn channel_count(&self, is_sharded: bool) -> usize {
        self.table(is_sharded).len()
    }

    /// Number of patterns that somebody has subscribed to.
    pub fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    /// Memory of the tables, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.channels.memory_bytes()
            + self.shard_channels.memory_bytes()
            + self.patterns.memory_bytes()
    }

    /// Number of clients that have subscribed to anything.
    pub fn client_count(&self) -> u64 {
        self.subscribers.load(Ordering::Relaxed)
    }

    fn table(&self, is_sharded: bool) -> &Channels {
        match is_sharded {
            true => &self.shard_channels,
            false => &self.channels,
        }
    }
}
