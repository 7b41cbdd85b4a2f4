//! Those who have subscribed to one channel or pattern.
//!
//! In the order of their numbers, so that one of many is found again in few steps; nearly all
//! channels have one subscriber, who needs no memory beside the list itself.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::client::{ClientId, Shared};

/// See the module's text.
#[derive(Default)]
pub(super) struct Subscribers(SmallVec<[Arc<Shared>; 1]>);

impl Subscribers {
    /// Adds a client that is not in the list.
    pub(super) fn add(&mut self, client: &Arc<Shared>) {
        let (Ok(at) | Err(at)) = self.find(client.id);
        self.0.insert(at, client.clone());
    }

    /// Takes a client out; true if nobody is left.
    pub(super) fn remove(&mut self, id: ClientId) -> bool {
        if let Ok(at) = self.find(id) {
            self.0.remove(at);
            if self.0.len() * 4 < self.0.capacity() {
                self.0.shrink_to_fit();
            }
        }
        self.0.is_empty()
    }

    fn find(&self, id: ClientId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |client| client.id)
    }
}

impl std::ops::Deref for Subscribers {
    type Target = [Arc<Shared>];

    fn deref(&self) -> &[Arc<Shared>] {
        &self.0
    }
}
