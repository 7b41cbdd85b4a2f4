//! What runs now: for SCRIPT KILL, FUNCTION KILL, FUNCTION STATS, and for the answer BUSY.
//!
//! A script is *busy* when it has held everybody up for longer than `busy-reply-threshold`. Only one can
//! be: those that hold the whole keyspace. Before that nobody is told of it: whoever might ask waits
//! for it to end.
//!
//! Whether it has written and whether it is to end stand in one word, so that of SCRIPT KILL and the
//! script's first write one comes first: a script that is killed has written nothing.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::spec::CmdError;

/// What a script was called as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// EVAL and its like.
    Eval,
    /// FCALL and its like.
    Function,
}

/// A script that is busy, as it is shown.
#[derive(Clone, Debug)]
pub struct Busy {
    /// What it was called as.
    pub kind: Kind,
    /// The SHA1 of its source, or the name of the function.
    pub name: Vec<u8>,
    /// The request that runs it.
    pub command: Vec<Vec<u8>>,
    /// When it began.
    pub since: Instant,
}

impl Busy {
    /// For how long it runs.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

/// The script that runs is busy.
const BUSY: u8 = 1;
/// It has written.
const WRITTEN: u8 = 2;
/// It is to end.
const KILLED: u8 = 4;

const NOT_BUSY: CmdError = CmdError::text("NOTBUSY No scripts in execution right now.");
const UNKILLABLE: CmdError = CmdError::text(
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either \
     wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
);
const EVAL_IS_BUSY: CmdError = CmdError::text(
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
);
const FUNCTION_IS_BUSY: CmdError = CmdError::text(
    "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
);

/// See the module's text.
#[derive(Default)]
pub struct Running {
    state: AtomicU8,
    busy: Mutex<Option<Busy>>,
}

impl Running {
    /// A script that holds the whole keyspace begins. Only one does at a time.
    pub fn begin(&self) {
        self.state.store(0, Ordering::Release);
    }

    /// It has run for so long that others are told.
    pub fn set_busy(&self, busy: Busy) {
        *self.busy.lock() = Some(busy);
        self.state.fetch_or(BUSY, Ordering::AcqRel);
    }

    /// It has ended.
    pub fn end(&self) {
        if self.is_busy() {
            let mut busy = self.busy.lock();
            self.state.store(0, Ordering::Release);
            *busy = None;
        } else {
            self.state.store(0, Ordering::Release);
        }
    }

    /// The script is about to write; an error if it was killed before.
    pub fn begin_write(&self) -> Result<(), CmdError> {
        let write = |state: u8| (state & KILLED == 0).then_some(state | WRITTEN);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        match self.state.fetch_update(order.0, order.1, write) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.killed_error()),
        }
    }

    /// What the script ends with, if it was killed.
    pub fn killed(&self) -> Option<CmdError> {
        let is_killed = self.state.load(Ordering::Acquire) & KILLED != 0;
        is_killed.then(|| self.killed_error())
    }

    fn killed_error(&self) -> CmdError {
        match self.kind() {
            Some(Kind::Function) => CmdError::text("ERR Script killed by user with FUNCTION KILL."),
            _ => CmdError::text("ERR Script killed by user with SCRIPT KILL."),
        }
    }

    fn kind(&self) -> Option<Kind> {
        self.busy.lock().as_ref().map(|busy| busy.kind)
    }

    /// Whether a script is busy: one load.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.state.load(Ordering::Acquire) & BUSY != 0
    }

    /// What others are answered while a script is busy; `None` if none is.
    #[cold]
    pub fn busy_error(&self) -> Option<CmdError> {
        Some(match self.kind()? {
            Kind::Eval => EVAL_IS_BUSY,
            Kind::Function => FUNCTION_IS_BUSY,
        })
    }

    /// SCRIPT KILL (`kind` is [`Kind::Eval`]) and FUNCTION KILL: has the script end soon.
    pub fn kill(&self, kind: Kind) -> Result<(), CmdError> {
        // The script cannot end meanwhile.
        let busy = self.busy.lock();
        let running = busy.as_ref().ok_or(NOT_BUSY)?.kind;
        let kill = |state: u8| (state & WRITTEN == 0 && running == kind).then_some(state | KILLED);
        let order = (Ordering::AcqRel, Ordering::Acquire);
        match self.state.fetch_update(order.0, order.1, kill) {
            Ok(_) => Ok(()),
            Err(state) if state & WRITTEN != 0 => Err(UNKILLABLE),
            Err(_) => Err(match running {
                Kind::Eval => EVAL_IS_BUSY,
                Kind::Function => FUNCTION_IS_BUSY,
            }),
        }
    }

    /// The function that is busy, for FUNCTION STATS; an error if it is a script of EVAL.
    pub fn busy_function(&self) -> Result<Option<Busy>, CmdError> {
        match &*self.busy.lock() {
            Some(busy) if busy.kind == Kind::Eval => Err(EVAL_IS_BUSY),
            busy => Ok(busy.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(kind: Kind) -> Running {
        let running = Running::default();
        running.begin();
        running.set_busy(Busy {
            kind,
            name: b"loop".to_vec(),
            command: vec![b"FCALL".to_vec(), b"loop".to_vec()],
            since: Instant::now(),
        });
        running
    }

    fn text(error: CmdError) -> String {
        String::from_utf8_lossy(&error.reply()).into_owned()
    }

    #[test]
    fn nothing_runs() {
        let running = Running::default();
        assert!(!running.is_busy());
        assert_eq!(running.busy_error(), None);
        assert!(matches!(running.busy_function(), Ok(None)));
        for kind in [Kind::Eval, Kind::Function] {
            let refused = running.kill(kind).unwrap_err();
            assert_eq!(text(refused), "NOTBUSY No scripts in execution right now.");
        }
    }

    #[test]
    fn who_is_not_busy_yet_is_not_seen() {
        let running = Running::default();
        running.begin();
        assert!(running.begin_write().is_ok());
        assert!(!running.is_busy());
        assert_eq!(running.kill(Kind::Eval), Err(NOT_BUSY));
        running.end();
        assert_eq!(running.killed(), None);
    }

    #[test]
    fn each_kind_has_its_own_kill() {
        for (kind, other, word) in [
            (Kind::Eval, Kind::Function, "SCRIPT"),
            (Kind::Function, Kind::Eval, "FUNCTION"),
        ] {
            let running = busy(kind);
            let told = running.busy_error().unwrap();
            assert_eq!(
                text(told.clone()),
                format!(
                    "BUSY Redis is busy running a script. You can only call {word} KILL or SHUTDOWN \
                     NOSAVE."
                )
            );
            assert_eq!(running.kill(other), Err(told));
            assert_eq!(running.killed(), None);
            assert_eq!(running.kill(kind), Ok(()));
            assert_eq!(running.kill(kind), Ok(()), "a second time, too");
            let end = running.killed().unwrap();
            assert_eq!(
                text(end),
                format!("ERR Script killed by user with {word} KILL.")
            );
            running.end();
            assert!(!running.is_busy());
            assert_eq!(running.killed(), None);
        }
    }

    #[test]
    fn who_has_written_is_not_killed_and_who_is_killed_does_not_write() {
        let running = busy(Kind::Eval);
        assert!(running.begin_write().is_ok());
        let refused = running.kill(Kind::Eval).unwrap_err();
        assert!(text(refused).starts_with("UNKILLABLE Sorry the script already"));
        // Asked for before the kind is.
        assert_eq!(running.kill(Kind::Function), Err(UNKILLABLE));
        assert_eq!(running.killed(), None);
        running.end();

        let running = busy(Kind::Eval);
        assert_eq!(running.kill(Kind::Eval), Ok(()));
        assert!(running.begin_write().is_err());
        assert!(running.killed().is_some());
        assert_eq!(running.kill(Kind::Eval), Ok(()), "it has not written");
    }

    #[test]
    fn only_functions_are_shown() {
        let running = busy(Kind::Function);
        let shown = running.busy_function().unwrap().unwrap();
        assert_eq!(shown.name, b"loop");
        assert_eq!(shown.command.len(), 2);
        assert_eq!(busy(Kind::Eval).busy_function().unwrap_err(), EVAL_IS_BUSY);
    }
}
