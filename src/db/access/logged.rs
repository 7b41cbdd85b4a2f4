//! What a command may say for the log and for those who listen, while the value that it changes is lent to it.

use super::{DbIndex, Effects, EventClass};

/// What a command puts on record while it is changing a value.
pub struct Record<'a> {
    pub(super) effects: &'a mut Effects,
    pub(super) db: DbIndex,
}

impl Record<'_> {
    /// Whether a log wants to know what is done.
    #[inline]
    pub fn is_logged(&self) -> bool {
        self.effects.is_logged()
    }

    /// Has the log repeat this command instead of the request, behind others of which that was said.
    pub fn propagate_as<'a>(&mut self, argv: impl IntoIterator<Item = &'a [u8], IntoIter: Clone>) {
        self.effects.propagate_as(self.db, argv.into_iter());
    }

    /// Keeps the request itself out of the log.
    pub fn dont_propagate(&mut self) {
        self.effects.dont_propagate();
    }

    /// Records an event of the key, for keyspace notifications.
    #[inline]
    pub fn notify(&mut self, class: EventClass, name: &'static str, key: &[u8]) {
        self.effects.notify(class, name, self.db, key);
    }
}
