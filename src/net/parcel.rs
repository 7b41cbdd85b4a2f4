//! What travels when a connection goes to a worker: from the listener, or from another worker.

use crate::client::Client;
use crate::config::Config;

use super::stream::Socket;

/// A connection that no worker has.
pub struct Parcel {
    pub(super) socket: Socket,
    pub(super) client: Client,
    pub(super) resp3: bool,
    /// It was just accepted.
    pub(super) is_new: bool,
}

impl Parcel {
    /// A connection that was just accepted.
    pub fn new(socket: Socket, client: Client) -> Parcel {
        Parcel {
            socket,
            client,
            resp3: false,
            is_new: true,
        }
    }

    /// Whose it is.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How many of its kind a worker takes in one turn; `None`: it is served already, and only moves.
    pub fn most_in_a_turn(&self, config: &Config) -> Option<u32> {
        let most = match self.socket.is_tls() {
            true => config.max_new_tls_connections_per_cycle,
            false => config.max_new_connections_per_cycle,
        };
        self.is_new.then_some(most)
    }
}

/// Keeps the compiler honest: what travels between threads must be able to.
const _: fn() = || {
    fn travels<T: Send>() {}
    travels::<Parcel>();
};
