//! Tells clients what happens to keys: the [`Observer`] of the keyspace.
//!
//! Called while shards are held, so nothing here may take a shard lock or wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::db::notice::{Event, Notices, Observer};
use crate::pubsub::PubSub;
use crate::tracking::{Change, Tracking};

/// See the module's text.
pub(super) struct Teller {
    pub(super) pubsub: Arc<PubSub>,
    pub(super) tracking: Arc<Tracking>,
    pub(super) channels: Arc<EventChannels>,
}

/// Which of the two channels of an event are wanted (`K` and `E` of `notify-keyspace-events`).
#[derive(Default, Debug)]
pub(super) struct EventChannels(AtomicU8);

const KEYSPACE: u8 = 1;
const KEYEVENT: u8 = 2;

impl EventChannels {
    pub(super) fn set(&self, keyspace: bool, keyevent: bool) {
        let bits = (KEYSPACE * u8::from(keyspace)) | (KEYEVENT * u8::from(keyevent));
        self.0.store(bits, Ordering::Relaxed);
    }
}

impl Teller {
    /// Publishes an event on `__keyspace@db__:key` and `__keyevent@db__:event`.
    fn publish(&self, event: &Event) {
        let wanted = self.channels.0.load(Ordering::Relaxed);
        let (name, key) = (event.name.as_bytes(), &*event.key);
        for (channel, what, message, bit) in [
            ("keyspace", key, name, KEYSPACE),
            ("keyevent", name, key, KEYEVENT),
        ] {
            if wanted & bit != 0 {
                let mut name = format!("__{channel}@{}__:", event.db.0).into_bytes();
                name.extend_from_slice(what);
                self.pubsub.publish(&name, message);
            }
        }
    }
}

impl Observer for Teller {
    fn tell(&self, notices: Notices, by: u64) {
        if !notices.invalidated.is_empty() {
            self.tracking.invalidate(notices.invalidated, by);
        }
        if notices.flushed {
            self.tracking.flush(by);
        }
        if !notices.changed.is_empty() {
            let age = self.tracking.age();
            let changes = notices.changed.into_iter();
            let changes: Vec<Change> = changes.map(|changed| Change { changed, age }).collect();
            self.tracking.broadcast(&changes);
        }
        // Before a name is put together for nobody.
        if self.pubsub.client_count() > 0 {
            notices.events.iter().for_each(|event| self.publish(event));
        }
    }
}
