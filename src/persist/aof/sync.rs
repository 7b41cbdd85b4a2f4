//! Syncs that nobody waits for: the log's thread leaves a file here, another thread syncs it, and the
//! log's thread finds the result when it looks again. One at a time, as in Redis.

use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::persist::disk::DiskFile;

/// What is to be synced, and what that makes durable.
pub(super) struct SyncJob {
    pub file: Arc<dyn DiskFile>,
    /// Length of the file when the job was made.
    pub len: u64,
    /// The last record in it.
    pub seq: u64,
    /// The number of the file, which may no longer be the current one.
    pub file_seq: u64,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct SyncSlot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Wanted(SyncJob),
    Running,
    Done(SyncJob, io::Result<()>),
    Closed,
}

impl SyncSlot {
    /// Whether a sync was asked for and its result not been taken.
    pub fn is_busy(&self) -> bool {
        matches!(*self.state.lock(), State::Wanted(_) | State::Running)
    }

    /// Asks for a sync. While another one is pending nothing happens.
    pub fn want(&self, job: SyncJob) {
        let mut state = self.state.lock();
        if matches!(*state, State::Idle) {
            *state = State::Wanted(job);
            self.changed.notify_all();
        }
    }

    /// The result of a sync, once.
    pub fn take_done(&self) -> Option<(SyncJob, io::Result<()>)> {
        let mut state = self.state.lock();
        match std::mem::take(&mut *state) {
            State::Done(job, result) => Some((job, result)),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Waits until no sync is asked for or running.
    pub fn wait_idle(&self) {
        let mut state = self.state.lock();
        while matches!(*state, State::Wanted(_) | State::Running) {
            self.changed.wait(&mut state);
        }
    }

    /// Ends [`SyncSlot::serve`], after what was asked for.
    pub fn close(&self) {
        self.wait_idle();
        *self.state.lock() = State::Closed;
        self.changed.notify_all();
    }

    /// Opens again what was closed.
    pub fn reopen(&self) {
        let mut state = self.state.lock();
        if matches!(*state, State::Closed) {
            *state = State::Idle;
        }
    }

    /// Does one sync that was asked for; false when there is none.
    pub fn serve_one(&self) -> bool {
        let mut state = self.state.lock();
        let job = match std::mem::take(&mut *state) {
            State::Wanted(job) => job,
            other => {
                *state = other;
                return false;
            }
        };
        *state = State::Running;
        drop(state);
        let result = job.file.sync_data();
        *self.state.lock() = State::Done(job, result);
        self.changed.notify_all();
        true
    }

    /// Does syncs until the slot is closed.
    pub fn serve(&self) {
        loop {
            let mut state = self.state.lock();
            while !matches!(*state, State::Wanted(_) | State::Closed) {
                self.changed.wait(&mut state);
            }
            if matches!(*state, State::Closed) {
                return;
            }
            drop(state);
            self.serve_one();
        }
    }
}
