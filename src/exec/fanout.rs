//! What follows from a command's effects, in one place. To add a consumer of writes: one arm in [`fan_out`].

use crate::client::Client;
use crate::commands::monitor::stop_monitor;
use crate::db::Effects;
use crate::server::Server;

use super::{Exec, Moment, cached};

/// Hands a command's effects to everyone who wants to know of them.
#[inline]
pub(super) fn fan_out(server: &Server, moment: &mut Moment, effects: &mut Effects) {
    // Added up with the batch: one shared counter touched once, not once a command.
    moment.changes += effects.changes;
    if let Some(mut rare) = effects.rare.take() {
        cached::note(server, moment, rare.take_afterwards());
        rare.free(&server.keyspace);
    }
}

impl Exec {
    /// Forgets a client whose connection has ended, and what it has left behind elsewhere. False if
    /// there is something left: [`Exec::end_transaction`] has to be called again, when the gate is open.
    pub fn disconnect(&self, client: &mut Client) -> bool {
        let has_left_nothing = self.end_transaction(client);
        self.end_pushes(client);
        self.server.clients.disconnect(client.shared.id);
        has_left_nothing
    }

    /// Nothing that others have for a client reaches it any more.
    pub fn end_pushes(&self, client: &mut Client) {
        // Others may still name it as the one to be told (CLIENT TRACKING REDIRECT).
        client.shared.close_inbox();
        stop_monitor(&self.server, client);
        let (tracking, keyspace) = (&self.server.tracking, &self.server.keyspace);
        tracking.disable(client, keyspace);
        self.server.pubsub.unsubscribe_all(client);
    }
}
