//! Where connections live: on the fewest workers that are not busy.
//!
//! Spreading a few unpipelined connections over many threads costs up to half as much processor time again per request
//! (fewer requests per wake-up), so new connections go to the first worker that has time. Every [`TICK`] the balancer
//! reads the workers' processor clocks: each that is busy gives half of its active connections to one that is not, the
//! busiest to the idlest; two that have little to do are brought together after a while.
//!
//! When load comes all at once it is to have all processors at once: as long as workers that had nothing to do are given
//! connections, or one has just begun to work, the next look comes after a tenth of that. Each doubles the workers that
//! work. With one pair every tick 50 connections needed 0.7 seconds for eight workers, and had a third of Valkey's rate
//! meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::client::{Shared, Signal};
use crate::server::Server;

use super::rest::Rest;
use super::worker::Crew;

/// Time between two looks at the workers.
pub const TICK: Duration = Duration::from_millis(100);
/// Time until the next look while load is being spread.
const QUICK_TICK: Duration = Duration::from_millis(10);
/// So many quick looks in a row at most: enough for a thousand workers, and never for long.
const QUICK_LOOKS_MAX: u32 = 10;
/// A worker below this has nothing to do, and one that was and is above it has begun to work.
const IDLE_PER_MILLE: u32 = 200;
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
        let (mut look, mut tick) = (Meter::new(&self.crew), Meter::new(&self.crew));
        let mut rests = vec![Rest::default(); self.crew.len()];
        let (mut idle_ticks, mut quick_looks) = (0, 0);
        let mut most_before = 0;
        loop {
            let is_quick = (1..=QUICK_LOOKS_MAX).contains(&quick_looks);
            tokio::time::sleep(if is_quick { QUICK_TICK } else { TICK }).await;
            look.read(&self.crew, |worker, _, per_mille| {
                self.busy_per_mille[worker].store(per_mille, Ordering::Relaxed);
            });
            if !is_quick {
                quick_looks = 0;
                tick.read(&self.crew, |worker, used_ns, per_mille| {
                    if rests[worker].note(used_ns, per_mille.into()) {
                        self.crew.rest(worker);
                    }
                });
            }
            if self.crew.len() < 2 {
                continue;
            }
            let busy: Vec<u32> = (0..self.crew.len())
                .map(|worker| self.busy(worker))
                .collect();
            let most = busy.iter().copied().max().unwrap_or(0);
            let is_spreading = self.spread(&busy);
            let is_roused = most >= IDLE_PER_MILLE && most_before < IDLE_PER_MILLE;
            most_before = most;
            quick_looks = match is_roused || is_spreading {
                true => quick_looks + 1,
                false => 0,
            };
            if is_spreading {
                idle_ticks = 0;
            }
            if is_quick {
                continue;
            }
            let may_merge = most < BUSY_PER_MILLE && self.mergeable().is_some();
            idle_ticks = if may_merge { idle_ticks + 1 } else { 0 };
            if idle_ticks >= MERGE_TICKS {
                idle_ticks = 0;
                self.merge();
            }
        }
    }

    fn busy(&self, worker: usize) -> u32 {
        self.busy_per_mille[worker].load(Ordering::Relaxed)
    }

    /// Moves half of the active connections of busy workers to others; whether one that had nothing to do got some.
    fn spread(&self, busy: &[u32]) -> bool {
        let pairs = pairs(busy);
        if pairs
            .iter()
            .all(|&(from, _)| self.crew.connections(from) < 2)
        {
            return false;
        }
        let since_ms = self.server.clock.unix_ms().saturating_sub(ACTIVE_MS);
        let mut active: Vec<Vec<Arc<Shared>>> = vec![Vec::new(); self.crew.len()];
        for client in self.server.clients.all() {
            if client.last_interaction_ms.load(Ordering::Relaxed) >= since_ms {
                let worker = client.worker.load(Ordering::Relaxed);
                if let Some(active) = active.get_mut(worker) {
                    active.push(client);
                }
            }
        }
        let mut is_idle_given = false;
        for (from, to) in pairs {
            // The first one stays: one that keeps a worker busy alone is not sent about.
            let moved = active[from].iter().skip(1).step_by(2);
            is_idle_given |= moved.len() > 0 && busy[to] < IDLE_PER_MILLE;
            self.move_all(moved, to);
        }
        is_idle_given
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

    fn move_all<'a>(&self, clients: impl Iterator<Item = &'a Arc<Shared>>, to: usize) {
        for client in clients {
            client.move_to.store(to, Ordering::Relaxed);
            client.raise(Signal::Move);
        }
    }
}

/// Who gives connections to whom: the busiest worker to the idlest, the next to the next, as long as the one is busy and the
/// other much less so.
fn pairs(busy: &[u32]) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..busy.len()).collect();
    order.sort_by_key(|&worker| busy[worker]);
    let takers = order.iter().take(busy.len() / 2);
    order
        .iter()
        .rev()
        .zip(takers)
        .map(|(&from, &to)| (from, to))
        .filter(|&(from, to)| {
            busy[from] >= BUSY_PER_MILLE && busy[to] + GAP_PER_MILLE <= busy[from]
        })
        .collect()
}

/// How busy workers have been since it was read last.
struct Meter {
    cpu_ns: Vec<u64>,
    at: Instant,
}

impl Meter {
    fn new(crew: &Crew) -> Meter {
        Meter {
            cpu_ns: (0..crew.len()).map(|worker| crew.cpu_ns(worker)).collect(),
            at: Instant::now(),
        }
    }

    /// Tells of each worker how much processor time it has used, in nanoseconds, and per mille of the time.
    fn read(&mut self, crew: &Crew, mut tell: impl FnMut(usize, u64, u32)) {
        let elapsed_ns = self.at.elapsed().as_nanos().max(1) as u64;
        self.at = Instant::now();
        for (worker, last_ns) in self.cpu_ns.iter_mut().enumerate() {
            let cpu_ns = crew.cpu_ns(worker);
            let used_ns = cpu_ns.saturating_sub(*last_ns);
            let per_mille = used_ns.saturating_mul(1000) / elapsed_ns;
            tell(
                worker,
                used_ns,
                u32::try_from(per_mille).unwrap_or(u32::MAX),
            );
            *last_ns = cpu_ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_busy_worker_gives_to_one_that_has_time() {
        assert_eq!(pairs(&[]), []);
        assert_eq!(pairs(&[1000]), []);
        assert_eq!(pairs(&[1000, 0]), [(0, 1)]);
        assert_eq!(pairs(&[BUSY_PER_MILLE - 1, 0]), []);
        assert_eq!(pairs(&[1000, 1000 - GAP_PER_MILLE]), [(0, 1)]);
        assert_eq!(pairs(&[1000, 1001 - GAP_PER_MILLE]), []);
        // With one, two, four that are busy of eight: as many take.
        assert_eq!(pairs(&[0, 0, 990, 0, 0, 0, 0, 0]), [(2, 0)]);
        assert_eq!(pairs(&[980, 0, 990, 0, 0, 0, 0, 0]), [(2, 1), (0, 3)]);
        let four = pairs(&[980, 960, 990, 970, 0, 0, 0, 0]);
        assert_eq!(four, [(2, 4), (0, 5), (3, 6), (1, 7)]);
        assert_eq!(pairs(&[1000, 900, 800]), [(0, 2)]);
        assert_eq!(pairs(&[1000; 8]), []);
    }

    /// Load that one worker cannot take is on all of them after a few looks.
    #[test]
    fn load_that_comes_at_once_is_soon_everywhere() {
        for workers in [2, 8, 16] {
            let mut clients = vec![0; workers];
            clients[0] = 64;
            let mut looks = 0;
            while clients.contains(&0) {
                let busy: Vec<u32> = clients.iter().map(|&n| 1000.min(n * 1000)).collect();
                for (from, to) in pairs(&busy) {
                    clients[to] += clients[from] / 2;
                    clients[from] -= clients[from] / 2;
                }
                looks += 1;
                assert!(looks < QUICK_LOOKS_MAX, "{clients:?}");
            }
            assert_eq!(looks, workers.ilog2(), "{clients:?}");
        }
    }
}
