//! CLIENT PAUSE: until when which commands wait.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

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

/// The pause that is in force, if any.
#[derive(Default)]
pub struct Pause {
    mode: AtomicU8,
    until_ms: AtomicU64,
    changed: Notify,
}

impl Pause {
    /// What is held back at `now_ms`.
    #[inline]
    pub fn mode(&self, now_ms: u64) -> PauseMode {
        match self.mode.load(Ordering::Acquire) {
            0 => PauseMode::None,
            _ if self.until_ms.load(Ordering::Acquire) <= now_ms => PauseMode::None,
            1 => PauseMode::Write,
            _ => PauseMode::All,
        }
    }

    /// Whether anything is held back at `now_ms`.
    pub fn is_on(&self, now_ms: u64) -> bool {
        self.mode(now_ms) != PauseMode::None
    }

    /// When the pause in force ends, Unix ms; 0 when there is none.
    pub fn until_ms(&self, now_ms: u64) -> u64 {
        match self.mode(now_ms) {
            PauseMode::None => 0,
            _ => self.until_ms.load(Ordering::Acquire),
        }
    }

    /// Milliseconds that are left of the pause.
    pub fn remaining_ms(&self, now_ms: u64) -> u64 {
        self.until_ms(now_ms).saturating_sub(now_ms)
    }

    /// Begins a pause, or widens the one in force: the stronger mode and the later end win, as in
    /// Redis.
    pub fn start(&self, mode: PauseMode, until_ms: u64, now_ms: u64) {
        let current = self.mode(now_ms);
        let until_ms = match current {
            PauseMode::None => until_ms,
            _ => until_ms.max(self.until_ms.load(Ordering::Acquire)),
        };
        self.until_ms.store(until_ms, Ordering::Release);
        self.mode.store(mode.max(current) as u8, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Ends it.
    pub fn end(&self) {
        self.mode.store(PauseMode::None as u8, Ordering::Release);
        self.until_ms.store(0, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Returns when the pause that is in force at `now_ms` has changed or run out.
    pub async fn changed(&self, now_ms: u64) {
        let notified = self.changed.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        let remaining_ms = self.remaining_ms(now_ms);
        if remaining_ms > 0 {
            let _ = tokio::time::timeout(Duration::from_millis(remaining_ms), notified).await;
        }
    }
}
