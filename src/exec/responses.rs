//! How long clients wait for the replies of a batch: from the moment at which its requests could be read.
//!
//! All commands of a batch are answered by one write, so they all take equally long, and runs of the same
//! command are counted at once. Replies that have to wait for the disk are counted when that has it: what
//! was executed is kept until then ([`Late`]). See `stats::responses` for what becomes of it.

use smallvec::SmallVec;

use crate::stats;
use crate::sys::tsc;

use super::{Exec, Moment};

/// Replies that were not written when their batch was over.
pub struct Late {
    ready_tick: u64,
    /// Numbers of commands, and how many of each in a row.
    runs: SmallVec<[(u16, u64); 2]>,
}

impl Moment {
    /// When it began, in ticks.
    pub fn started_tick(&self) -> u64 {
        self.tick
    }

    /// When its requests could be read, in ticks: those who sent them have been waiting since.
    pub fn ready_tick(&self) -> u64 {
        self.ready_tick
    }

    /// Says when its requests could be read, if that was before it began.
    #[inline]
    pub fn ready_since(&mut self, tick: u64) {
        self.ready_tick = self.ready_tick.min(tick);
    }

    /// Its replies are not written when it ends; [`Moment::take_late`] tells what they were then.
    pub fn keep_back(&mut self) {
        let (ready_tick, runs) = (self.ready_tick, SmallVec::new());
        self.late.get_or_insert(Late { ready_tick, runs });
    }

    /// What was executed and is to be counted later, by [`Exec::count_late`].
    pub fn take_late(&mut self) -> Option<Late> {
        self.late.take()
    }
}

impl Late {
    /// Adds what another batch has executed.
    pub fn extend(&mut self, other: Late) {
        self.ready_tick = self.ready_tick.min(other.ready_tick);
        self.runs.extend(other.runs);
    }
}

impl Exec {
    /// Counts replies that are written now.
    pub fn count_late(&self, late: &Late) {
        let ns = waited_ns(late.ready_tick);
        let mut local = self.worker.lock();
        for &(command, times) in &late.runs {
            local.responded(command, ns, times);
        }
    }
}

fn waited_ns(ready_tick: u64) -> u64 {
    tsc::ticks_to_ns(tsc::ticks().saturating_sub(ready_tick))
}

/// Counts how long those waited who sent the commands of a batch: all of them until now, unless the
/// replies are late.
#[inline]
pub(super) fn count(moment: &mut Moment, local: &mut stats::Local) {
    let runs = moment.executed.chunk_by(|a, b| a.0 == b.0);
    let runs = runs.map(|run| (run[0].0, run.len() as u64));
    if let Some(late) = &mut moment.late {
        return late.runs.extend(runs);
    }
    let ns = waited_ns(moment.ready_tick);
    for (command, times) in runs {
        local.responded(command, ns, times);
    }
}
