//! Clients that follow what becomes of a key: WATCH, CLIENT TRACKING.

use std::sync::Arc;

use super::super::listen::WatchFlag;
use super::Access;

impl Access<'_> {
    /// Has `flag` raised when a key of the current database is touched (WATCH); false if it watches
    /// the key already. That one goes which has expired by now is no touch.
    pub fn watch(&mut self, key: &[u8], flag: &Arc<WatchFlag>) -> bool {
        let (hash, db, had_expired) = (self.hash(key), self.db, self.has_expired(key));
        let listeners = &mut self.side(key).listeners;
        listeners.watch(hash, db, key, (flag, had_expired))
    }

    /// Ends [`Access::watch`].
    pub fn unwatch(&mut self, key: &[u8], flag: &Arc<WatchFlag>) {
        let (hash, db) = (self.hash(key), self.db);
        self.side(key).listeners.unwatch(hash, db, key, flag);
    }

    /// Remembers that a client keeps a copy of a key (CLIENT TRACKING). Of so many that keep one,
    /// those that `is_gone` says have left are forgotten now and then.
    pub fn track(&mut self, key: &[u8], client_id: u64, is_gone: impl Fn(u64) -> bool) {
        let hash = self.hash(key);
        let total = &self.keyspace.tracked;
        let listeners = &mut self.side(key).listeners;
        listeners.track(hash, key, client_id, total, is_gone);
    }

    /// Whether a key of the current database has expired, and is still there because such keys are left alone.
    pub fn has_expired(&mut self, key: &[u8]) -> bool {
        let (hash, now_ms) = (self.hash(key), self.now_ms);
        let at_ms = self.held_table(hash).and_then(|table| {
            let slot = table.find(hash, key)?;
            table.get(slot).expire_at_ms()
        });
        at_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }
}
