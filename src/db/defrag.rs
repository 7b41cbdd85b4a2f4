//! Moving the dataset together in memory (`activedefrag`), so that what is deleted in the middle of it goes back to the
//! system.
//!
//! The allocator gives pages back when nothing in them is in use any more. Keys that are deleted at random, or change
//! their sizes, leave something in nearly all pages. One thread looks once a second how much is wasted like that; when
//! it is worth it, it goes through all keys and moves what lies in the emptier runs of pages to the fuller ones
//! (`ds::mover`), until that helps no more.
//!
//! - It holds one shard for some 64 keys at a time, and works a share of a processor that grows with what is wasted
//!   (`Settings::effort`): `active-defrag-cycle-us` of work, then a rest.
//! - Large collections are gone through in steps of their own, by key, without the shard in between.
//! - While a snapshot is going on nothing is moved: it knows large values by where they are.
//! - What is not data (buffers of clients, scripts) stays. A pass that gained little is not repeated at once
//!   (`Patience`).
//!
//! Nothing of it can be seen but in memory and INFO: no key changes, nobody is told.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::keyspace::{DbIndex, Keyspace, ShardId};
use crate::ds::mover::Mover;
use crate::sys::alloc::{self, Runs};

/// Time between two looks at the allocator.
const LOOK: Duration = Duration::from_secs(1);
/// Time between two looks while something is moved.
const LOOK_AT_WORK: Duration = Duration::from_millis(100);
/// Wait for others: a snapshot, or whoever has the keyspace for himself.
const WAIT: Duration = Duration::from_millis(10);
/// Collections of more elements than this are gone through in steps, whatever `active-defrag-max-scan-fields` says.
const ELEMENTS_MAX: usize = 256;
/// `active-defrag-ignore-bytes` is meant for large datasets: of smaller ones only this part is ignored...
const IGNORED_PART: u64 = 8;
/// ... but at least so much less than it says; which holds for what was begun, too, so that it is brought to an end.
const IGNORED_DIVISOR: u64 = 10;
/// A pass that leaves more than this of what was wasted has helped little...
const LEFT_PERCENT: u64 = 90;
/// ... if it has moved less than one block in so many, too: more may have been deleted meanwhile than was won.
const MOVED_DIVISOR: u64 = 16;
/// How long to wait after such a pass, if not more is wasted meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the latency monitor calls it: the time for which a shard is held.
const CYCLE: &[&str] = &["active-defrag-cycle"];

/// The directives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    /// `activedefrag`
    pub is_on: bool,
    /// `active-defrag-ignore-bytes`
    pub ignored_bytes: u64,
    /// `active-defrag-threshold-lower`
    pub lower_percent: u32,
    /// `active-defrag-threshold-upper`
    pub upper_percent: u32,
    /// `active-defrag-cycle-min`
    pub cycle_min_percent: u32,
    /// `active-defrag-cycle-max`
    pub cycle_max_percent: u32,
    /// `active-defrag-cycle-us`
    pub cycle_us: u32,
    /// `active-defrag-max-scan-fields`
    pub elements_max: u64,
}

impl Settings {
    /// How much of a processor to spend, percent, when so much of what is in use is wasted; `None`: it is too little
    /// to begin, or to go on with another pass.
    fn effort(&self, used_bytes: u64, wasted_bytes: u64, has_begun: bool) -> Option<u32> {
        let percent = self.wasted_percent(used_bytes, wasted_bytes);
        let least_bytes = self.ignored_bytes / IGNORED_DIVISOR;
        let ignored_bytes = match has_begun {
            true => least_bytes,
            false => (used_bytes / IGNORED_PART).clamp(least_bytes, self.ignored_bytes),
        };
        (percent >= u64::from(self.lower_percent) && wasted_bytes >= ignored_bytes)
            .then(|| self.share(percent))
    }

    fn wasted_percent(&self, used_bytes: u64, wasted_bytes: u64) -> u64 {
        wasted_bytes.saturating_mul(100) / used_bytes.max(1)
    }

    /// From `cycle_min_percent` at the lower threshold to `cycle_max_percent` at the upper one.
    fn share(&self, wasted_percent: u64) -> u32 {
        let (lower, upper) = (u64::from(self.lower_percent), u64::from(self.upper_percent));
        let (min, max) = (self.cycle_min_percent, self.cycle_max_percent);
        let more = u64::from(max.saturating_sub(min));
        let above = wasted_percent.clamp(lower, upper.max(lower)) - lower;
        let share = match upper.saturating_sub(lower) {
            0 => more,
            width => more * above / width,
        };
        min + share as u32
    }
}

/// The settings, and the figures of INFO.
#[derive(Default)]
pub struct Defrag {
    settings: Mutex<Settings>,
    thread: OnceLock<Thread>,
    /// Percent of a processor that is spent now; 0 while nothing is moved.
    running_percent: AtomicU32,
    figures: Figures,
    /// When the work that is going on began.
    began_at: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Figures {
    hits: AtomicU64,
    misses: AtomicU64,
    key_hits: AtomicU64,
    key_misses: AtomicU64,
    total_ms: AtomicU64,
}

/// What INFO tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DefragStats {
    /// `active_defrag_running`
    pub running_percent: u32,
    /// Blocks that were moved.
    pub hits: u64,
    /// Blocks that were looked at and not moved.
    pub misses: u64,
    /// Keys of which something was moved.
    pub key_hits: u64,
    /// Keys that were looked at and of which nothing was moved.
    pub key_misses: u64,
    /// Time with work going on, milliseconds.
    pub total_ms: u64,
    /// Of it since the work that is going on began.
    pub current_ms: u64,
}

impl Defrag {
    /// Sets the directives.
    pub fn set(&self, settings: Settings) {
        let before = std::mem::replace(&mut *self.settings.lock(), settings);
        if before != settings {
            self.wake();
        }
    }

    /// Has the thread look at once: settings have changed, or the server stops.
    pub fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// The figures of INFO.
    pub fn stats(&self) -> DefragStats {
        let figure = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let current_ms = self
            .began_at
            .lock()
            .map_or(0, |at| at.elapsed().as_millis() as u64);
        let figures = &self.figures;
        DefragStats {
            running_percent: self.running_percent.load(Ordering::Relaxed),
            hits: figure(&figures.hits),
            misses: figure(&figures.misses),
            key_hits: figure(&figures.key_hits),
            key_misses: figure(&figures.key_misses),
            total_ms: figure(&figures.total_ms) + current_ms,
            current_ms,
        }
    }

    /// CONFIG RESETSTAT.
    pub fn reset_stats(&self) {
        let figures = &self.figures;
        let all = [
            &figures.hits,
            &figures.misses,
            &figures.key_hits,
            &figures.key_misses,
            &figures.total_ms,
        ];
        all.iter()
            .for_each(|figure| figure.store(0, Ordering::Relaxed));
    }

    fn note(&self, mover: &Mover<'_>) {
        let figures = &self.figures;
        figures.hits.fetch_add(mover.moved, Ordering::Relaxed);
        figures.misses.fetch_add(mover.left, Ordering::Relaxed);
        figures
            .key_hits
            .fetch_add(mover.keys_moved, Ordering::Relaxed);
        figures
            .key_misses
            .fetch_add(mover.keys_left, Ordering::Relaxed);
    }

    /// Work begins, or goes on with another share of a processor.
    fn run(&self, percent: u32) {
        if self.running_percent.swap(percent, Ordering::Relaxed) == 0 {
            *self.began_at.lock() = Some(Instant::now());
        }
    }

    /// Work has ended, if any was going on.
    fn rest(&self) {
        self.running_percent.store(0, Ordering::Relaxed);
        if let Some(began_at) = self.began_at.lock().take() {
            let spent_ms = began_at.elapsed().as_millis() as u64;
            self.figures.total_ms.fetch_add(spent_ms, Ordering::Relaxed);
        }
    }
}

/// Whether another pass may help.
#[derive(Default)]
struct Patience {
    /// What the last pass has left, and when, if it has helped little.
    left: Option<(u64, Instant)>,
}

impl Patience {
    /// A pass has moved some of the blocks that it looked at, and left so much wasted.
    fn note_pass(&mut self, before_bytes: u64, after_bytes: u64, moved: (u64, u64), now: Instant) {
        let has_won = after_bytes.saturating_mul(100) <= before_bytes.saturating_mul(LEFT_PERCENT);
        let (moved, looked_at) = moved;
        let has_moved = moved.saturating_mul(MOVED_DIVISOR) >= looked_at.max(1);
        self.left = (!has_won && !has_moved).then_some((after_bytes, now));
    }

    fn has_hope(&self, wasted_bytes: u64, now: Instant) -> bool {
        self.left.is_none_or(|(left_bytes, at)| {
            left_bytes.saturating_mul(100) < wasted_bytes.saturating_mul(LEFT_PERCENT)
                || now.saturating_duration_since(at) >= PATIENCE
        })
    }
}

impl Keyspace {
    /// The thread of `activedefrag`: works when it is worth it, until `stop` says so (and [`Defrag::wake`] was called).
    pub fn defrag_forever(&self, stop: impl Fn() -> bool) {
        alloc::bypass_thread_cache();
        let _ = self.defrag.thread.set(std::thread::current());
        let mut patience = Patience::default();
        let blocks = || {
            let stats = self.defrag.stats();
            (stats.hits, stats.hits + stats.misses)
        };
        while !stop() {
            if !self.defrag.settings.lock().is_on {
                self.defrag.rest();
                std::thread::park();
                continue;
            }
            let runs = Runs::read().filter(|runs| {
                let settings = *self.defrag.settings.lock();
                let has_begun = self.defrag.running_percent.load(Ordering::Relaxed) > 0;
                settings
                    .effort(alloc::allocated_bytes(), runs.wasted_bytes(), has_begun)
                    .is_some()
                    && patience.has_hope(runs.wasted_bytes(), Instant::now())
            });
            let Some(runs) = runs else {
                self.defrag.rest();
                std::thread::park_timeout(LOOK);
                continue;
            };
            let (before_bytes, before) = (runs.wasted_bytes(), blocks());
            if Pass::new(self, runs, &stop).go() {
                let after_bytes = Runs::read().map_or(0, |runs| runs.wasted_bytes());
                let after = blocks();
                // CONFIG RESETSTAT may have come between.
                let moved = (
                    after.0.saturating_sub(before.0),
                    after.1.saturating_sub(before.1),
                );
                patience.note_pass(before_bytes, after_bytes, moved, Instant::now());
            }
        }
        self.defrag.rest();
    }

    /// Moves everything once, without regard to anybody: for DEBUG and tests.
    #[cfg(test)]
    pub fn relocate_all(&self) {
        for id in self.shard_ids() {
            let mut data = self.shard(id).lock();
            for table in &mut data.tables {
                let mut cursor = 0;
                loop {
                    let mut mover = Mover::of_all();
                    cursor = mover.relocate_keys(table, cursor, usize::MAX, |_| {});
                    if cursor == 0 {
                        break;
                    }
                }
            }
        }
    }
}

/// One walk over all keys.
struct Pass<'k, S> {
    keyspace: &'k Keyspace,
    stop: &'k S,
    runs: Runs,
    looked_at: Instant,
    slice_began_at: Instant,
    settings: Settings,
    percent: u32,
}

impl<'k, S: Fn() -> bool> Pass<'k, S> {
    fn new(keyspace: &'k Keyspace, runs: Runs, stop: &'k S) -> Pass<'k, S> {
        let now = Instant::now();
        let mut pass = Pass {
            keyspace,
            stop,
            runs,
            looked_at: now,
            slice_began_at: now,
            settings: Settings::default(),
            percent: 0,
        };
        pass.adapt();
        pass
    }

    /// Adapts the effort to what is wasted now.
    fn adapt(&mut self) {
        self.settings = *self.keyspace.defrag.settings.lock();
        let (used, wasted) = (alloc::allocated_bytes(), self.runs.wasted_bytes());
        let percent = self.settings.wasted_percent(used, wasted);
        self.percent = self.settings.share(percent).max(1);
        self.keyspace.defrag.run(self.percent);
    }

    /// Walks; false if it was ended before the end.
    fn go(&mut self) -> bool {
        for id in self.keyspace.shard_ids() {
            let mut db = DbIndex(0);
            while let Some(has_ended) = self.walk_table(id, db) {
                if !has_ended {
                    return false;
                }
                db.0 += 1;
            }
        }
        true
    }

    /// Walks one table; `None` if there is none. False: the pass is to end.
    fn walk_table(&mut self, id: ShardId, db: DbIndex) -> Option<bool> {
        let mut cursor = 0;
        let mut large: Vec<Box<[u8]>> = Vec::new();
        loop {
            if !self.may_go_on() {
                return Some(false);
            }
            let elements_max = usize::try_from(self.settings.elements_max).unwrap_or(usize::MAX);
            let mut mover = Mover::new(&self.runs);
            if let Some(mut data) = self.keyspace.claim(id).filter(|_| self.is_free()) {
                let table = data.tables.get_mut(db.0 as usize)?;
                let elements_max = elements_max.min(ELEMENTS_MAX);
                let later = |key: &[u8]| large.push(key.into());
                let begun = self.keyspace.spikes.begin();
                cursor = mover.relocate_keys(table, cursor, elements_max, later);
                self.keyspace.spikes.end(begun, CYCLE);
            } else {
                std::thread::sleep(WAIT);
                continue;
            }
            self.keyspace.defrag.note(&mover);
            for key in large.drain(..) {
                if !self.walk_collection(id, db, &key) {
                    return Some(false);
                }
            }
            if cursor == 0 {
                return Some(true);
            }
        }
    }

    /// Walks the collection of a key for as long as it is there. False: the pass is to end.
    fn walk_collection(&mut self, id: ShardId, db: DbIndex, key: &[u8]) -> bool {
        let hash = self.keyspace.hash(key);
        let mut cursor = 0;
        let mut has_moved = false;
        loop {
            if !self.may_go_on() {
                return false;
            }
            let mut mover = Mover::new(&self.runs);
            if let Some(mut data) = self.keyspace.claim(id).filter(|_| self.is_free()) {
                let table = data.tables.get_mut(db.0 as usize);
                let found = table.and_then(|table| {
                    let slot = table.find(hash, key)?;
                    table.meta_mut(slot).into_collection()
                });
                let begun = self.keyspace.spikes.begin();
                cursor = found.map_or(0, |found| found.relocate(cursor, &mut mover));
                self.keyspace.spikes.end(begun, CYCLE);
            } else {
                std::thread::sleep(WAIT);
                continue;
            }
            has_moved |= mover.moved > 0;
            if cursor == 0 {
                mover.note_key(has_moved);
            }
            self.keyspace.defrag.note(&mover);
            if cursor == 0 {
                return true;
            }
        }
    }

    /// Whether nothing is going on that wants everything to stay where it is. Under a shard's lock, so it stays so.
    fn is_free(&self) -> bool {
        !self.keyspace.snapshot.is_running() && !self.keyspace.gate.is_closed()
    }

    /// Rests if there was enough work; false if the pass is to end.
    fn may_go_on(&mut self) -> bool {
        let worked = self.slice_began_at.elapsed();
        if worked < Duration::from_micros(u64::from(self.settings.cycle_us)) {
            return true;
        }
        if (self.stop)() || !self.keyspace.defrag.settings.lock().is_on {
            return false;
        }
        if self.looked_at.elapsed() >= LOOK_AT_WORK {
            if let Some(runs) = Runs::read() {
                self.runs = runs;
            }
            self.looked_at = Instant::now();
            self.adapt();
        }
        std::thread::sleep(worked * (100 - self.percent.min(99)) / self.percent);
        self.slice_began_at = Instant::now();
        true
    }
}

#[cfg(test)]
mod tests;
