//! What follows for clients when users change: those of a user that has gone are cut off, and
//! subscribers that have lost a channel.
//!
//! Whoever changes a user calls this behind the change. A client that becomes such a user, or
//! subscribes, at the same moment looks afterwards whether it still may; so one of both sees the other.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use crate::acl::{Rights, User};
use crate::client::Signal;
use crate::client::subscriptions::Subject;

use super::Server;

impl Server {
    /// A user was deleted: its clients go.
    pub fn user_gone(&self, user: &Arc<User>) {
        for client in self.clients.all() {
            if client.is_user(user) {
                client.raise(Signal::Kill);
            }
        }
    }

    /// A user has other rights than `before`: those of its clients go that have subscribed to what it
    /// may not any more.
    pub fn rights_changed(&self, user: &Arc<User>, before: &Rights) {
        let now = user.rights();
        // Between the change and the look at who has subscribed; its twin is in `commands::pubsub`.
        fence(Ordering::SeqCst);
        if self.pubsub.client_count() == 0 || !Rights::has_lost_channels(before, &now) {
            return;
        }
        let clients = self.clients.all();
        let clients = clients.into_iter().filter(|client| client.is_subscriber());
        let clients = clients.filter(|client| client.is_user(user));
        let ids: HashSet<_> = clients.map(|client| client.id).collect();
        if ids.is_empty() {
            return;
        }
        self.pubsub.for_each_subscription(|subject, name, client| {
            let is_pattern = subject == Subject::Pattern;
            if ids.contains(&client.id) && !now.keeps_channel(name, is_pattern) {
                client.raise(Signal::Kill);
            }
        });
    }
}
