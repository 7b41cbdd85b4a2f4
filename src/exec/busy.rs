//! The time of a script that has the keyspace for itself: when others are told that the server is busy,
//! when they have their turn, and when it is to end.
//!
//! Until `busy-reply-threshold` nobody is told of it. Then those who wait at the gate are answered BUSY, as
//! is whoever comes; and every few milliseconds the script is left in the middle
//! ([`alone`](super::alone)), so that the thread on which it runs serves its other clients.

use std::time::{Duration, Instant};

use crate::script::Tick;
use crate::script::running::{Busy, Kind};
use crate::server::Server;
use crate::spec::CmdError;
use crate::sys::fiber;

/// How long a busy script runs between two turns of others.
const SLICE: Duration = Duration::from_millis(2);
/// When others have their turns, if the server is never to be called busy: they only find the gate
/// closed, but its connections can be served.
const TURNS_AFTER: Duration = Duration::from_secs(5);

/// See the module's text.
pub(super) struct Course<'s> {
    server: &'s Server,
    /// 0: the server is never called busy.
    threshold_ms: u64,
    /// For how long it has run without others having had their turn.
    started: Instant,
    turn_at: Option<Instant>,
    is_busy: bool,
    is_killed: bool,
}

impl<'s> Course<'s> {
    /// A script begins, whose caller has the whole keyspace, and the gate closed for long.
    pub(super) fn begin(server: &'s Server, threshold_ms: u64) -> Course<'s> {
        server.scripts.running.begin();
        let started = Instant::now();
        let patience = match threshold_ms {
            0 => TURNS_AFTER,
            threshold_ms => Duration::from_millis(threshold_ms),
        };
        Course {
            server,
            threshold_ms,
            started,
            // What is too late to be told is never.
            turn_at: started.checked_add(patience),
            is_busy: false,
            is_killed: false,
        }
    }

    /// The script has run for a while. `shown` is how it is shown: its kind, its name, its request.
    pub(super) fn tick(&mut self, shown: impl FnOnce() -> (Kind, Vec<u8>, Vec<Vec<u8>>)) -> Tick {
        let is_due = |at: Instant| Instant::now() >= at;
        if self.turn_at.is_some_and(is_due) {
            if !self.is_busy && self.threshold_ms > 0 {
                self.begin_busy(shown());
            }
            fiber::suspend();
            self.turn_at = Some(Instant::now() + SLICE);
        }
        match self.killed() {
            Some(error) => Tick::End(error),
            None => Tick::Continue,
        }
    }

    #[cold]
    fn begin_busy(&mut self, (kind, name, command): (Kind, Vec<u8>, Vec<Vec<u8>>)) {
        let word = match kind {
            Kind::Eval => "SCRIPT",
            Kind::Function => "FUNCTION",
        };
        let elapsed_ms = self.started.elapsed().as_millis();
        tracing::warn!(
            "Slow script detected: still in execution after {elapsed_ms} milliseconds. You can try killing \
             the script using the {word} KILL command. Script name is: {}.",
            String::from_utf8_lossy(&name)
        );
        self.is_busy = true;
        self.server.scripts.running.set_busy(Busy {
            kind,
            name,
            command,
            since: self.started,
        });
        self.server.keyspace.gate.set_busy(true);
    }

    /// What the script ends with, if it was killed.
    fn killed(&mut self) -> Option<CmdError> {
        if !self.is_busy {
            return None;
        }
        let error = self.server.scripts.running.killed()?;
        if !self.is_killed {
            self.is_killed = true;
            let text = error.reply();
            let text = text.strip_prefix(b"ERR ").unwrap_or(&text);
            tracing::info!("{}", String::from_utf8_lossy(text));
        }
        Some(error)
    }

    /// The script is about to write for the first time: an error if it was killed before that.
    pub(super) fn begin_write(&self) -> Result<(), CmdError> {
        self.server.scripts.running.begin_write()
    }
}

impl Drop for Course<'_> {
    fn drop(&mut self) {
        if self.is_busy {
            self.server.keyspace.gate.set_busy(false);
        }
        self.server.scripts.running.end();
    }
}

#[cfg(test)]
mod tests;
