//! What follows from a command's effects, in one place. To add a consumer of writes: one arm in [`fan_out`].

use crate::db::Effects;
use crate::server::Server;

/// Hands a command's effects to everyone who wants to know of them.
#[inline]
pub(super) fn fan_out(server: &Server, effects: Effects) {
    server.keyspace.add_changes(effects.changes);
}
