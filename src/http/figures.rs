//! What `/metrics` and the console show, gathered once for each of them.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::commands::CommandTable;
use crate::commands::memory::Overview;
use crate::config::Config;
use crate::db::{Access, Census, DbIndex};
use crate::server::Server;
use crate::stats;

use super::router::Desk;

/// See the module's text.
pub(super) struct Figures {
    pub(super) server: Arc<Server>,
    pub(super) table: Arc<CommandTable>,
    pub(super) config: Arc<Config>,
    pub(super) now_ms: u64,
    /// Of all workers.
    pub(super) sum: stats::Local,
    /// Of all shards.
    pub(super) census: Rc<Census>,
    /// How old that is.
    pub(super) census_age_ms: u64,
    pub(super) memory: Overview,
    pub(super) crowd: Crowd,
}

/// Figures about all clients.
#[derive(Default)]
pub(super) struct Crowd {
    pub(super) connected: u64,
    pub(super) blocked: u64,
    pub(super) watching: u64,
}

impl Figures {
    /// As things are now. Of the keyspace, if somebody has it for himself for long, as they were when
    /// it was looked at last. Histograms of the executions are there only `with_latency`.
    pub(super) fn gather(desk: &Desk, with_latency: bool) -> Figures {
        let server = desk.server.clone();
        let now_ms = server.clock.unix_ms();
        let keyspace = &server.keyspace;
        if !keyspace.gate.is_held_long() {
            let locks = keyspace.lock_none();
            let mut access = Access::new(keyspace, locks, DbIndex::default(), now_ms, false);
            let census = access.census(true);
            if !access.gave_up() {
                *desk.census.borrow_mut() = (Rc::new(census), now_ms);
            }
        }
        let (census, census_at_ms) = desk.census.borrow().clone();
        let crowd = Crowd::look(&server);
        let memory = Overview::new(&server, &census);
        Figures {
            table: desk.table.clone(),
            config: server.config(),
            now_ms,
            sum: match with_latency {
                true => server.stats.sum(),
                false => server.stats.sum_counters(),
            },
            census,
            census_age_ms: now_ms.saturating_sub(census_at_ms),
            memory,
            crowd,
            server,
        }
    }
}

impl Crowd {
    fn look(server: &Server) -> Crowd {
        let mut crowd = Crowd::default();
        server.clients.for_each(|client| {
            crowd.connected += 1;
            let is_paused = client.paused.load(Ordering::Relaxed);
            crowd.blocked += (is_paused || client.is_blocked()) as u64;
            let transaction = client.transaction.get();
            crowd.watching += transaction.is_some_and(|seen| seen.watched() > 0) as u64;
        });
        crowd
    }
}
