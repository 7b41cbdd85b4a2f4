//! CLIENT PAUSE, and the last save of a shutdown: until when which commands wait.
//!
//! Each of the two has a pause of its own, and begins and ends only that one. What is held back is what either of them holds
//! back.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a pause holds back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum PauseMode {
    /// Nothing.
    None = 0,
    /// Commands that may write.
    Write = 1,
    /// All commands.
    All = 2,
}

/// Who has commands wait.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PauseBy {
    /// CLIENT PAUSE.
    Client = 0,
    /// A shutdown, whose snapshot would lack what is written now.
    Shutdown = 1,
}

const ALL: [PauseBy; 2] = [PauseBy::Client, PauseBy::Shutdown];

/// What holds commands back, the strongest in front.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct InForce {
    /// What waits.
    pub mode: PauseMode,
    /// Until when, Unix ms.
    pub until_ms: u64,
    /// For whom.
    pub by: PauseBy,
}

/// The pauses that are in force, if any.
#[derive(Default)]
pub struct Pause {
    /// When the last of them ends, Unix ms.
    last_end_ms: AtomicU64,
    /// Of each [`PauseBy`].
    own: [Own; ALL.len()],
    /// One change at a time.
    changing: Mutex<()>,
    changed: Notify,
}

/// The pause of one of those who have commands wait.
#[derive(Default)]
struct Own {
    mode: AtomicU8,
    until_ms: AtomicU64,
}

impl Own {
    /// What it holds back, and until when; of one that has run out, nothing.
    fn in_force(&self, now_ms: u64) -> (PauseMode, u64) {
        let mode = match self.mode.load(Ordering::Acquire) {
            0 => return (PauseMode::None, 0),
            1 => PauseMode::Write,
            _ => PauseMode::All,
        };
        match self.until_ms.load(Ordering::Acquire) {
            until_ms if until_ms > now_ms => (mode, until_ms),
            _ => (PauseMode::None, 0),
        }
    }
}

impl Pause {
    /// What is held back at `now_ms`.
    #[inline]
    pub fn mode(&self, now_ms: u64) -> PauseMode {
        match self.last_end_ms.load(Ordering::Acquire) > now_ms {
            true => self.mode_of_any(now_ms),
            false => PauseMode::None,
        }
    }

    #[cold]
    fn mode_of_any(&self, now_ms: u64) -> PauseMode {
        self.in_force(now_ms)
            .map_or(PauseMode::None, |pause| pause.mode)
    }

    /// Whether anything is held back at `now_ms`.
    #[inline]
    pub fn is_on(&self, now_ms: u64) -> bool {
        self.mode(now_ms) != PauseMode::None
    }

    /// What holds commands back at `now_ms`: what holds back more, or does so for longer.
    pub fn in_force(&self, now_ms: u64) -> Option<InForce> {
        let of = |by: PauseBy| {
            let (mode, until_ms) = self.own[by as usize].in_force(now_ms);
            InForce { mode, until_ms, by }
        };
        let strongest = ALL.into_iter().map(of).max();
        strongest.filter(|pause| pause.mode != PauseMode::None)
    }

    /// When the pause of one of them ends, Unix ms; 0 when he has none in force.
    pub fn until_ms(&self, by: PauseBy, now_ms: u64) -> u64 {
        self.own[by as usize].in_force(now_ms).1
    }

    /// Begins a pause, or widens the one in force: the stronger mode and the later end win, as in
    /// Redis.
    pub fn start(&self, by: PauseBy, mode: PauseMode, until_ms: u64, now_ms: u64) {
        let changing = self.changing.lock();
        let own = &self.own[by as usize];
        let current = own.in_force(now_ms);
        own.until_ms
            .store(until_ms.max(current.1), Ordering::Release);
        own.mode.store(mode.max(current.0) as u8, Ordering::Release);
        self.note_last_end();
        drop(changing);
        self.changed.notify_waiters();
    }

    /// Ends it.
    pub fn end(&self, by: PauseBy) {
        let changing = self.changing.lock();
        let own = &self.own[by as usize];
        own.mode.store(PauseMode::None as u8, Ordering::Release);
        own.until_ms.store(0, Ordering::Release);
        self.note_last_end();
        drop(changing);
        self.changed.notify_waiters();
    }

    /// During a change.
    fn note_last_end(&self) {
        let ends = self.own.iter().map(|own| own.in_force(0).1);
        self.last_end_ms
            .store(ends.max().unwrap_or(0), Ordering::Release);
    }

    /// Returns when a pause that is in force at `now_ms` has changed or run out.
    pub async fn changed(&self, now_ms: u64) {
        let notified = self.changed.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        let ends = self.own.iter().map(|own| own.in_force(now_ms).1);
        if let Some(end_ms) = ends.filter(|end_ms| *end_ms > 0).min() {
            let left = Duration::from_millis(end_ms - now_ms);
            let _ = tokio::time::timeout(left, notified).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ends_his_own() {
        use PauseBy::{Client, Shutdown};
        let pause = Pause::default();
        assert!(!pause.is_on(0));
        pause.start(Client, PauseMode::All, 100, 10);
        pause.start(Shutdown, PauseMode::Write, u64::MAX, 10);
        let by = |now_ms| pause.in_force(now_ms).map(|pause| pause.by);
        assert_eq!((pause.mode(99), by(99)), (PauseMode::All, Some(Client)));
        assert_eq!(
            (pause.mode(100), by(100)),
            (PauseMode::Write, Some(Shutdown))
        );
        // It widens its own only.
        pause.start(Client, PauseMode::Write, 50, 20);
        assert_eq!(pause.until_ms(Client, 20), 100);
        pause.end(Client);
        assert_eq!(pause.mode(20), PauseMode::Write);
        pause.start(Client, PauseMode::Write, 50, 20);
        pause.end(Shutdown);
        assert_eq!((pause.mode(20), by(20)), (PauseMode::Write, Some(Client)));
        assert!(!pause.is_on(50));
        pause.end(Client);
        assert_eq!((pause.mode(20), by(20)), (PauseMode::None, None));
    }
}
