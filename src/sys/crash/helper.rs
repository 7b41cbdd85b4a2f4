//! The thread that waits for a crash: it writes what a signal handler cannot.

use std::fmt::{self, Write};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use super::report::Report;
use super::stack::Frames;
use super::{Facts, STATE, thread_id};

/// How long a crashed thread waits for the rest of its report.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The end of a pipe on which the helper is called; -1: there is none.
static CALL: AtomicI32 = AtomicI32::new(-1);
/// Its thread.
static THREAD: AtomicI32 = AtomicI32::new(0);
static IS_DONE: AtomicBool = AtomicBool::new(false);
/// What it is asked. Only the one thread that reports writes it, before it calls.
static QUESTION: Mutex<Option<(Frames, Option<u64>)>> = Mutex::new(None);

/// Starts the thread.
pub(super) fn start(facts: Box<Facts>) -> io::Result<()> {
    let (mut wait, call) = pipe()?;
    let work = move || {
        THREAD.store(thread_id(), Ordering::SeqCst);
        let mut byte = [0];
        if wait.read_exact(&mut byte).is_err() {
            return;
        }
        if let Some((frames, client)) = QUESTION.lock().ok().and_then(|mut asked| asked.take()) {
            let _ = answer(&frames, client, &facts);
        }
        IS_DONE.store(true, Ordering::SeqCst);
        // The process ends now; if this thread did, its part might be freed under a handler.
        loop {
            std::thread::park();
        }
    };
    std::thread::Builder::new()
        .name("kivi-crash".into())
        .spawn(work)?;
    CALL.store(call.into_raw_fd(), Ordering::SeqCst);
    Ok(())
}

fn pipe() -> io::Result<(File, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors to the array.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were just opened and belong to nobody else.
    unsafe { Ok((File::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))) }
}

/// Whether the thread with this number is the helper.
pub(super) fn is_me(thread: i32) -> bool {
    THREAD.load(Ordering::SeqCst) == thread
}

/// Has the helper write its part, and waits for it; false when that takes too long, or there is none.
pub(super) fn help(frames: &Frames, client: Option<u64>) -> bool {
    let call = CALL.load(Ordering::SeqCst);
    if call < 0 {
        return false;
    }
    match QUESTION.try_lock() {
        Ok(mut question) => *question = Some((*frames, client)),
        Err(_) => return false,
    }
    // SAFETY: writes one byte to a pipe that is never closed.
    if unsafe { libc::write(call, [1u8].as_ptr().cast(), 1) } != 1 {
        return false;
    }
    let mut waited = Duration::ZERO;
    while !IS_DONE.load(Ordering::SeqCst) {
        if waited >= PATIENCE {
            return false;
        }
        let pause = libc::timespec {
            tv_sec: 0,
            tv_nsec: LOOK_EVERY.as_nanos() as libc::c_long,
        };
        // SAFETY: reads the time and writes nowhere.
        unsafe { libc::nanosleep(&pause, std::ptr::null_mut()) };
        waited += LOOK_EVERY;
    }
    true
}

/// The names of the stack's functions, then the server's figures. What is known is written at once, so
/// that it is there if what follows hangs.
fn answer(frames: &Frames, client: Option<u64>, facts: &Facts) -> fmt::Result {
    let Some(state) = STATE.get() else {
        return Ok(());
    };
    let report = &mut Report::open(state.log.as_deref());
    report.heading("STACK TRACE, NAMED")?;
    for (at, &address) in frames.addresses().iter().enumerate() {
        name(at, address, report)?;
        report.flush();
    }
    let mut lines = Lines(report);
    facts(client, &mut lines);
    Ok(())
}

/// One frame, which may stand for several functions that the compiler has put into one.
fn name(at: usize, address: usize, report: &mut Report) -> fmt::Result {
    // All but the innermost are addresses to return to: the call stands before them.
    let inside = if at == 0 { address } else { address - 1 };
    let mut found = false;
    let mut result = Ok(());
    backtrace::resolve(std::ptr::without_provenance_mut(inside), |symbol| {
        found = true;
        result = result.and_then(|()| {
            write!(report, "#{at} ")?;
            match symbol.name() {
                Some(name) => write!(report, "{name:#}")?,
                None => report.write_str("?")?,
            }
            if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
                write!(report, " at {}:{line}", file.display())?;
            }
            report.write_str("\n")
        });
    });
    match found {
        true => result,
        false => writeln!(report, "#{at} {address:#x}"),
    }
}

/// Has every line in the log when it is complete.
struct Lines<'r>(&'r mut Report);

impl Write for Lines<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_str(text)?;
        if text.ends_with('\n') {
            self.0.flush();
        }
        Ok(())
    }
}
