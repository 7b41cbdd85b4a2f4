//! Which keys cost most: processor time and bytes of the network, of a session that somebody starts and
//! stops (HOTKEYS).
//!
//! Each worker counts for itself, in a `Sketch` for each metric; whoever asks adds them up. Nothing is
//! counted unless a session is going on, which is one load and a predicted branch for each command
//! ([`HotKeys::is_active`]).
//!
//! Invariants: sessions have ascending numbers, and what a worker has counted belongs to the session
//! whose number it bears; what a key is said to have cost is never more than it has (see `sketch`).
//!
//! To add a metric: a field in [`Metrics`], in [`Cost`] and in `Local`, and its lines in
//! `commands::hotkeys`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::sys::process::{CpuOf, CpuTimes, cpu_times};
use crate::sys::tsc;
use crate::util::rng::Rng;

use super::Stats;

mod sketch;

use sketch::Sketch;

/// What is counted of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metrics {
    /// Processor time.
    pub cpu: bool,
    /// Bytes of requests and replies.
    pub net: bool,
}

/// How a session counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// What is counted.
    pub metrics: Metrics,
    /// How many keys are told of each metric.
    pub count: usize,
    /// When it ends by itself; `None` for never.
    pub duration_ms: Option<u64>,
    /// Of so many commands one is looked at, at random.
    pub sample_ratio: u64,
}

/// What a command cost.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Cost {
    /// Its time, in ticks of [`tsc`].
    pub ticks: u64,
    /// Bytes of its request and its reply.
    pub bytes: u64,
}

/// The session that is going on, or the last one.
#[derive(Default)]
#[repr(align(64))]
pub struct HotKeys {
    /// It is over from then on, Unix ms: 0 while there is none, the greatest number if it has no end.
    until_ms: AtomicU64,
    /// The number of the session that was begun last.
    begun: AtomicU64,
    session: Mutex<Option<Session>>,
}

#[derive(Clone, Copy)]
struct Session {
    number: u64,
    options: Options,
    started_ms: u64,
    cpu_before: CpuTimes,
    /// When it was over, and the processor time by then.
    ended: Option<(u64, CpuTimes)>,
}

/// What one worker has counted.
pub(super) struct Local {
    session: u64,
    options: Options,
    total: Cost,
    cpu: Option<Sketch>,
    net: Option<Sketch>,
    rng: Rng,
}

/// What came of a session.
#[derive(Clone, Debug)]
pub struct HotReport {
    /// It is still going on.
    pub is_active: bool,
    /// How it counts.
    pub options: Options,
    /// When it began, Unix ms.
    pub started_ms: u64,
    /// How long it has been going on, or was.
    pub duration_ms: u64,
    /// Processor time of the whole server meanwhile.
    pub cpu: CpuTimes,
    /// Time of all commands, microseconds.
    pub total_us: u64,
    /// Bytes of all commands.
    pub total_bytes: u64,
    /// Keys with their microseconds, most expensive first; empty unless they were counted.
    pub by_cpu: Vec<(Box<[u8]>, u64)>,
    /// Keys with their bytes.
    pub by_net: Vec<(Box<[u8]>, u64)>,
}

impl HotKeys {
    /// Whether commands are to be counted.
    #[inline]
    pub fn is_active(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms.load(Ordering::Relaxed)
    }

    /// Begins a session, and forgets the last one; false if one is going on.
    pub fn start(&self, options: Options, now_ms: u64) -> bool {
        let mut session = self.session.lock();
        if self.is_active(now_ms) {
            return false;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        *session = Some(Session {
            number,
            options,
            started_ms: now_ms,
            cpu_before: cpu_times(CpuOf::Process),
            ended: None,
        });
        let until_ms = options
            .duration_ms
            .map_or(u64::MAX, |ms| now_ms.saturating_add(ms));
        self.until_ms.store(until_ms, Ordering::Relaxed);
        true
    }

    /// Ends the session; false if none is going on.
    pub fn stop(&self, now_ms: u64) -> bool {
        let mut session = self.session.lock();
        let was_active = self.is_active(now_ms);
        self.note_end(&mut session, now_ms);
        if was_active && let Some(session) = &mut *session {
            session.ended = Some((now_ms, cpu_times(CpuOf::Process)));
            self.until_ms.store(0, Ordering::Relaxed);
        }
        was_active
    }

    /// Notes the end of a session whose time is over: to be called now and then.
    pub fn tick(&self, now_ms: u64) {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        if until_ms != 0 && until_ms <= now_ms {
            self.note_end(&mut self.session.lock(), now_ms);
        }
    }

    fn note_end(&self, session: &mut Option<Session>, now_ms: u64) {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        if until_ms != 0
            && until_ms <= now_ms
            && let Some(session) = session
        {
            session.ended = Some((until_ms, cpu_times(CpuOf::Process)));
            self.until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// The session that is going on, if one is.
    fn current(&self, now_ms: u64) -> Option<Session> {
        let session = self.session.lock();
        session.filter(|_| self.is_active(now_ms))
    }
}

impl Local {
    fn new(session: &Session) -> Local {
        let Metrics { cpu, net } = session.options.metrics;
        Local {
            session: session.number,
            options: session.options,
            total: Cost::default(),
            cpu: cpu.then(Sketch::new),
            net: net.then(Sketch::new),
            rng: Rng::from_os(),
        }
    }

    /// Adds what a command cost, in equal parts, to its keys, which are asked for only if they count.
    fn add<'k, K>(&mut self, cost: Cost, keys: impl FnOnce() -> K)
    where
        K: ExactSizeIterator<Item = (&'k [u8], u64)>,
    {
        self.total.ticks = self.total.ticks.saturating_add(cost.ticks);
        self.total.bytes = self.total.bytes.saturating_add(cost.bytes);
        let ratio = self.options.sample_ratio;
        if ratio > 1 && self.rng.below(ratio) != 0 {
            return;
        }
        let keys = keys();
        let parts = keys.len() as u64;
        for (key, hash) in keys {
            if let Some(cpu) = &mut self.cpu {
                cpu.add(hash, key, cost.ticks / parts);
            }
            if let Some(net) = &mut self.net {
                net.add(hash, key, cost.bytes / parts);
            }
        }
    }
}

impl Stats {
    /// Counts a command for the session that is going on, if one is. `worker` is who ran it, `keys` finds
    /// its keys with their hashes.
    pub fn count_hot<'k, K>(
        &self,
        worker: &super::Worker,
        now_ms: u64,
        cost: Cost,
        keys: impl FnOnce() -> K,
    ) where
        K: ExactSizeIterator<Item = (&'k [u8], u64)>,
    {
        if !self.hot.is_active(now_ms) {
            return;
        }
        let mut mine = worker.hot.lock();
        let begun = self.hot.begun.load(Ordering::Relaxed);
        if let Some(local) = &mut *mine
            && local.session == begun
        {
            return local.add(cost, keys);
        }
        if let Some(session) = self.hot.current(now_ms) {
            mine.insert(Box::new(Local::new(&session))).add(cost, keys);
        }
    }

    /// Forgets what was counted; false if a session is going on.
    pub fn reset_hot(&self, now_ms: u64) -> bool {
        let mut session = self.hot.session.lock();
        if self.hot.is_active(now_ms) {
            return false;
        }
        *session = None;
        self.hot.until_ms.store(0, Ordering::Relaxed);
        drop(session);
        for worker in self.workers.lock().iter() {
            *worker.hot.lock() = None;
        }
        true
    }

    /// What came of the session that is going on, or of the last one.
    pub fn hot_report(&self, now_ms: u64) -> Option<HotReport> {
        self.hot.tick(now_ms);
        let session = (*self.hot.session.lock())?;
        let (mut by_cpu, mut by_net) = (HashMap::new(), HashMap::new());
        let mut total = Cost::default();
        for worker in self.workers.lock().iter() {
            let local = worker.hot.lock();
            let Some(local) = local.as_ref().filter(|of| of.session == session.number) else {
                continue;
            };
            total.ticks = total.ticks.saturating_add(local.total.ticks);
            total.bytes = total.bytes.saturating_add(local.total.bytes);
            for (sketch, sums) in [(&local.cpu, &mut by_cpu), (&local.net, &mut by_net)] {
                for (key, sum) in sketch.iter().flat_map(Sketch::sums) {
                    add_up(sums, key, sum);
                }
            }
        }
        let count = session.options.count;
        let (ended_ms, cpu_after) = session
            .ended
            .unwrap_or_else(|| (now_ms, cpu_times(CpuOf::Process)));
        let before = session.cpu_before;
        Some(HotReport {
            is_active: session.ended.is_none(),
            options: session.options,
            started_ms: session.started_ms,
            duration_ms: ended_ms.saturating_sub(session.started_ms),
            cpu: CpuTimes {
                user: cpu_after.user.saturating_sub(before.user),
                system: cpu_after.system.saturating_sub(before.system),
            },
            total_us: tsc::ticks_to_us(total.ticks),
            total_bytes: total.bytes,
            by_cpu: largest(by_cpu, count, tsc::ticks_to_us),
            by_net: largest(by_net, count, |bytes| bytes),
        })
    }
}

fn add_up(sums: &mut HashMap<Box<[u8]>, u64>, key: &[u8], sum: u64) {
    match sums.get_mut(key) {
        Some(of_all) => *of_all = of_all.saturating_add(sum),
        None => {
            sums.insert(key.into(), sum);
        }
    }
}

/// The keys with the largest sums, in another unit; of equal ones in the order of their names.
fn largest(
    sums: HashMap<Box<[u8]>, u64>,
    count: usize,
    unit: impl Fn(u64) -> u64,
) -> Vec<(Box<[u8]>, u64)> {
    let mut all: Vec<(Box<[u8]>, u64)> = sums.into_iter().collect();
    all.sort_unstable_by(|(key, sum), (other, than)| than.cmp(sum).then_with(|| key.cmp(other)));
    all.truncate(count);
    for (_, sum) in &mut all {
        *sum = unit(*sum);
    }
    all
}
