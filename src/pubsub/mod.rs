//! Channels: who has subscribed to which, and the way of a message to all of them.
//!
//! A message is encoded once and shared by all who get it; it goes into their inboxes
//! (`client::inbox`), so whoever publishes waits for nobody.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::client::inbox::Push;
use crate::client::{ClientId, Registry, Shared};
use crate::resp::write::ReplyWriter;

/// See the module's text.
pub struct PubSub {
    clients: Arc<Registry>,
    channels: Mutex<HashMap<Vec<u8>, Vec<Arc<Shared>>>>,
}

impl PubSub {
    /// Nobody has subscribed to anything.
    pub fn new(clients: Arc<Registry>) -> PubSub {
        PubSub {
            clients,
            channels: Mutex::default(),
        }
    }

    /// Subscribes a client to a channel.
    pub fn subscribe(&self, client: &Arc<Shared>, channel: &[u8]) {
        let mut channels = self.channels.lock();
        channels
            .entry(channel.into())
            .or_default()
            .push(client.clone());
    }

    /// Ends [`PubSub::subscribe`].
    pub fn unsubscribe(&self, client: ClientId, channel: &[u8]) {
        if let Some(subscribers) = self.channels.lock().get_mut(channel) {
            subscribers.retain(|other| other.id != client);
        }
    }

    /// Sends a message to all who have subscribed to the channel; how many these are.
    pub fn publish(&self, channel: &[u8], message: &[u8]) -> usize {
        let channels = self.channels.lock();
        let Some(subscribers) = channels.get(channel) else {
            return 0;
        };
        let mut out = ReplyWriter::new();
        out.array(3);
        out.bulk(b"message");
        out.bulk(channel);
        out.bulk(message);
        let bytes = Arc::new(out.to_vec()[1..].to_vec());
        for client in subscribers {
            self.clients.post(client, Push::Message(bytes.clone()));
        }
        subscribers.len()
    }
}
