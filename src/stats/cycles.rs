//! How often the loop of a thread goes round, and how long it works each time (`eventloop_*` of INFO).
//!
//! A cycle begins when the thread wakes up and ends when it has nothing left to do: a thread that is never
//! out of work is in one long cycle. Each thread that has a loop says once whose figures it feeds
//! ([`feed`]), and its runtime calls [`begin`] and [`end`]. Only that thread writes them, so nothing is
//! added atomically; whoever sums them reads what is there.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys::tsc;

use super::Worker;

/// Figures of one loop, or of several together. Times are in ticks of [`tsc`].
#[derive(Default, Debug)]
pub struct Cycles {
    count: AtomicU64,
    ticks: AtomicU64,
    longest_ticks: AtomicU64,
    commands_max: AtomicU64,
    log_ticks: AtomicU64,
    cron_ticks: AtomicU64,
}

/// What [`Cycles`] held at some moment.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Turns {
    /// Cycles that have ended.
    pub count: u64,
    /// Their time without waiting, microseconds.
    pub us: u64,
    /// The longest one, microseconds.
    pub longest_us: u64,
    /// Most commands executed in one.
    pub commands_max: u64,
    /// Of the time, what went into writing the log.
    pub log_us: u64,
    /// Of the time, what went into what is done regularly.
    pub cron_us: u64,
}

impl Turns {
    /// Adds those of another loop.
    pub fn add(&mut self, other: Turns) {
        self.count += other.count;
        self.us += other.us;
        self.longest_us = self.longest_us.max(other.longest_us);
        self.commands_max = self.commands_max.max(other.commands_max);
        self.log_us += other.log_us;
        self.cron_us += other.cron_us;
    }
}

/// Adds to a figure that only this thread writes.
fn add(figure: &AtomicU64, more: u64) {
    figure.store(figure.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Cycles {
    fn ended(&self, ticks: u64, commands: u64) {
        add(&self.count, 1);
        add(&self.ticks, ticks);
        if ticks > self.longest_ticks.load(Relaxed) {
            self.longest_ticks.store(ticks, Relaxed);
        }
        if commands > self.commands_max.load(Relaxed) {
            self.commands_max.store(commands, Relaxed);
        }
    }

    /// Runs a write of the log; its time is noted.
    pub fn writing_log<R>(&self, write: impl FnOnce() -> R) -> R {
        Self::timed(&self.log_ticks, write)
    }

    /// Runs what is done regularly; its time is noted.
    pub fn cron<R>(&self, work: impl FnOnce() -> R) -> R {
        Self::timed(&self.cron_ticks, work)
    }

    fn timed<R>(figure: &AtomicU64, work: impl FnOnce() -> R) -> R {
        let begun = tsc::ticks();
        let result = work();
        add(figure, tsc::ticks().saturating_sub(begun));
        result
    }

    /// What they are now.
    pub fn turns(&self) -> Turns {
        let us = |figure: &AtomicU64| tsc::ticks_to_us(figure.load(Relaxed));
        Turns {
            count: self.count.load(Relaxed),
            us: us(&self.ticks),
            longest_us: us(&self.longest_ticks),
            commands_max: self.commands_max.load(Relaxed),
            log_us: us(&self.log_ticks),
            cron_us: us(&self.cron_ticks),
        }
    }

    /// Begins to count anew. A cycle that ends at this moment may be counted as if it had been before.
    pub fn reset(&self) {
        for figure in [
            &self.count,
            &self.ticks,
            &self.longest_ticks,
            &self.commands_max,
            &self.log_ticks,
            &self.cron_ticks,
        ] {
            figure.store(0, Relaxed);
        }
    }
}

/// The loop of the current thread.
struct Loop {
    figures: RefCell<Option<Arc<Worker>>>,
    begun_at: Cell<u64>,
    /// Commands that had been executed when the last cycle ended.
    commands: Cell<u64>,
}

thread_local! {
    static LOOP: Loop = const {
        Loop {
            figures: RefCell::new(None),
            begun_at: Cell::new(0),
            commands: Cell::new(0),
        }
    };
}

/// From now on the cycles of the current thread are counted there.
pub fn feed(figures: Arc<Worker>) {
    LOOP.with(|this| {
        this.begun_at.set(tsc::ticks());
        this.commands.set(figures.lock().commands_total);
        *this.figures.borrow_mut() = Some(figures);
    });
}

/// The thread has woken up at this moment, in ticks.
pub fn begin(now: u64) {
    LOOP.with(|this| this.begun_at.set(now));
}

/// The thread is about to sleep, as it has nothing to do at this moment, in ticks.
pub fn end(now: u64) {
    LOOP.with(|this| {
        let Ok(figures) = this.figures.try_borrow() else {
            return;
        };
        if let Some(figures) = &*figures {
            let commands = figures.lock().commands_total;
            // Less than before when the statistics were reset.
            let executed = commands.checked_sub(this.commands.replace(commands));
            let ticks = now.saturating_sub(this.begun_at.get());
            figures.cycles.ended(ticks, executed.unwrap_or(commands));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_counted_where_the_thread_has_said() {
        let worker = Arc::new(Worker::default());
        let counted = worker.clone();
        let thread = std::thread::spawn(move || {
            begin(tsc::ticks());
            end(tsc::ticks());
            feed(counted.clone());
            for commands in [3, 7, 0] {
                begin(tsc::ticks());
                counted.lock().commands_total += commands;
                end(tsc::ticks() + tsc::ns_to_ticks(2_000_000));
            }
            counted.cycles.cron(|| ());
        });
        thread.join().unwrap();
        let turns = worker.cycles.turns();
        assert_eq!((turns.count, turns.commands_max), (3, 7));
        assert!(
            turns.longest_us >= 1_999 && turns.us >= 3 * 1_999,
            "{turns:?}"
        );
        assert_eq!(turns.log_us, 0);
        let mut both = turns;
        both.add(turns);
        assert_eq!((both.count, both.us), (6, 2 * turns.us));
        assert_eq!((both.longest_us, both.commands_max), (turns.longest_us, 7));
        worker.cycles.reset();
        assert_eq!(worker.cycles.turns(), Turns::default());
    }

    #[test]
    fn statistics_that_begin_anew_confuse_nobody() {
        let worker = Arc::new(Worker::default());
        worker.lock().commands_total = 100;
        let counted = worker.clone();
        let thread = std::thread::spawn(move || {
            feed(counted.clone());
            counted.lock().commands_total = 4;
            end(0);
        });
        thread.join().unwrap();
        let turns = worker.cycles.turns();
        assert_eq!((turns.commands_max, turns.us), (4, 0), "{turns:?}");
    }
}
