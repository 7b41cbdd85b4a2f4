//! Where connections live: on the fewest workers that are not busy.
//!
//! Spreading a few unpipelined connections over many threads costs up to half as much processor time again per request
//! (fewer requests per wake-up), so new connections go to the first worker that has time. Every [`TICK`] the balancer
//! reads the workers' processor clocks: from one that is busy, half of its active connections move to the idlest; two
//! that have little to do are brought together after a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Shared, Signal};
use crate::server::Server;

use super::rest::Rest;
use super::worker::Crew;

/// Time between two looks at the workers.
pub const TICK: Duration = Duration::from_millis(100);
/// Above this share of a processor (per mille) a worker gets no new connections and gives some away.
const BUSY_PER_MILLE: u32 = 700;
/// A worker takes connections over when it is less busy than the giver by so much.
const GAP_PER_MILLE: u32 = 200;
/// Two workers below this together are brought together.
const MERGE_PER_MILLE: u32 = 400;
/// Ticks that two workers must have been idle enough before they are.
const MERGE_TICKS: u32 = 20;
/// A connection that sent nothing for so long does not count as active.
const ACTIVE_MS: u64 = 1_000;

/// See the module's text.
pub struct Balance {
    server: Arc<Server>,
    crew: Arc<Crew>,
    busy_per_mille: Vec<AtomicU32>,
}

impl Balance {
    /// A balance over all workers of `crew`.
    pub fn new(server: Arc<Server>, crew: Arc<Crew>) -> Balance {
        let busy_per_mille = (0..crew.len()).map(|_| AtomicU32::new(0)).collect();
        Balance {
            server,
            crew,
            busy_per_mille,
        }
    }

    /// The worker for a new connection: the first that is not busy, else the one with the fewest connections.
    pub fn place(&self) -> usize {
        let idle = (0..self.crew.len()).find(|&worker| self.busy(worker) < BUSY_PER_MILLE);
        let fewest = || (0..self.crew.len()).min_by_key(|&worker| self.crew.connections(worker));
        idle.or_else(fewest).unwrap_or(0)
    }

    /// Looks at the workers again and again until the server stops.
    pub async fn run(&self) {
        let mut last: Vec<u64> = (0..self.crew.len())
            .map(|worker| self.crew.cpu_ns(worker))
            .collect();
        let mut last_at = Instant::now();
        let mut rests = vec![Rest::default(); self.crew.len()];
        let mut idle_ticks = 0;
        loop {
            tokio::time::sleep(TICK).await;
            let elapsed_ns = last_at.elapsed().as_nanos().max(1) as u64;
            last_at = Instant::now();
            for (worker, last_ns) in last.iter_mut().enumerate() {
                let cpu_ns = self.crew.cpu_ns(worker);
                let used_ns = cpu_ns.saturating_sub(*last_ns);
                let used = used_ns.saturating_mul(1000) / elapsed_ns;
                self.busy_per_mille[worker].store(used as u32, Ordering::Relaxed);
                if rests[worker].note(used_ns, used) {
                    self.crew.rest(worker);
                }
                *last_ns = cpu_ns;
            }
            if self.crew.len() < 2 || self.spread() {
                idle_ticks = 0;
                continue;
            }
            idle_ticks = if self.mergeable().is_some() {
                idle_ticks + 1
            } else {
                0
            };
            if idle_ticks >= MERGE_TICKS {
                idle_ticks = 0;
                self.merge();
            }
        }
    }

    fn busy(&self, worker: usize) -> u32 {
        self.busy_per_mille[worker].load(Ordering::Relaxed)
    }

    /// Moves half of the busiest worker's active connections to the idlest; false when nobody is busy.
    fn spread(&self) -> bool {
        let workers = 0..self.crew.len();
        let Some(from) = workers.clone().max_by_key(|&worker| self.busy(worker)) else {
            return false;
        };
        let Some(to) = workers.min_by_key(|&worker| self.busy(worker)) else {
            return false;
        };
        if self.busy(from) < BUSY_PER_MILLE {
            return false;
        }
        let active = self.active(from);
        if self.busy(to) + GAP_PER_MILLE <= self.busy(from) && active.len() > 1 {
            self.move_all(active.iter().step_by(2), to);
        }
        true
    }

    /// Two workers that could be one: (from, to).
    fn mergeable(&self) -> Option<(usize, usize)> {
        let mut workers: Vec<usize> = (0..self.crew.len())
            .filter(|&worker| self.crew.connections(worker) > 0)
            .collect();
        workers.sort_by_key(|&worker| self.busy(worker));
        let (&first, &second) = (workers.first()?, workers.get(1)?);
        (self.busy(first) + self.busy(second) < MERGE_PER_MILLE)
            .then_some((first.max(second), first.min(second)))
    }

    fn merge(&self) {
        if let Some((from, to)) = self.mergeable() {
            let here: Vec<_> = self.on(from).collect();
            self.move_all(here.iter(), to);
        }
    }

    fn on(&self, worker: usize) -> impl Iterator<Item = Arc<Shared>> {
        let all = self.server.clients.all().into_iter();
        all.filter(move |client| client.worker.load(Ordering::Relaxed) == worker)
    }

    fn active(&self, worker: usize) -> Vec<Arc<Shared>> {
        let since_ms = self.server.clock.unix_ms().saturating_sub(ACTIVE_MS);
        self.on(worker)
            .filter(|client| client.last_interaction_ms.load(Ordering::Relaxed) >= since_ms)
            .collect()
    }

    fn move_all<'a>(&self, clients: impl Iterator<Item = &'a Arc<Shared>>, to: usize) {
        for client in clients {
            client.move_to.store(to, Ordering::Relaxed);
            client.raise(Signal::Move);
        }
    }
}
