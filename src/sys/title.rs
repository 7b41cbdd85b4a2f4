//! The process's title in `ps` and `top` (`proc-title-template`).
//!
//! The kernel shows the memory that holds the program's arguments, and when these run up to their
//! very last byte, the environment behind them. So the title is written there. Before the first
//! time, every argument and variable is copied elsewhere and the tables that std and libc read are
//! pointed at the copies: from then on nobody but this module looks at that memory.
//!
//! This is only sound while no other thread can be reading them, so the first call must come before
//! threads are started; later it answers an error and changes nothing but the thread's name.

use std::ffi::{CStr, c_char};
use std::io;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::process;

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// The memory of the arguments and variables, once it is ours.
struct Area {
    start: *mut u8,
    /// Bytes of the arguments; the title is shown beyond them only if it fills them.
    len: usize,
}

// SAFETY: the area is plain memory that lives as long as the process, and after `Area::claim` only
// the owner of the `Area` touches it.
unsafe impl Send for Area {}

static AREA: Mutex<Option<Area>> = Mutex::new(None);

/// Sets the title, cut to the room there is. The first call must come before threads are started.
///
/// # Errors
/// When other threads run already or the process's memory is not laid out as expected.
pub fn set_process_title(title: &str) -> io::Result<()> {
    let mut area = AREA.lock().unwrap_or_else(PoisonError::into_inner);
    if area.is_none() {
        *area = Some(Area::claim()?);
    }
    if let Some(area) = area.as_mut() {
        area.write(title.as_bytes());
    }
    Ok(())
}

impl Area {
    fn claim() -> io::Result<Self> {
        if process::thread_count()? != 1 {
            return Err(io::Error::other(
                "the title must be set before threads are started",
            ));
        }
        let unexpected = || io::Error::other("the arguments are not where they are expected");
        let [arg_start, arg_end, env_start, env_end] =
            process::argument_area().ok_or_else(unexpected)?;
        if arg_start == 0 || arg_end <= arg_start {
            return Err(unexpected());
        }
        // The variables usually follow the arguments directly; then their room is ours as well.
        let end = if env_start == arg_end && env_end > env_start {
            env_end
        } else {
            arg_end
        };
        let inside = |at: *mut c_char| (arg_start..end).contains(&at.addr());
        // SAFETY: this is the only thread, so nobody changes the table meanwhile; libc keeps it
        // valid and ended by a null pointer.
        unsafe {
            let env = environ;
            if env.is_null() {
                return Err(unexpected());
            }
            // The arguments' table ends just before that of the variables: count, pointers, null.
            // Known only while libc has not moved the variables' table: checked by its contents.
            let Some(args) = find_args(env, arg_start) else {
                return Err(unexpected());
            };
            let start = (*args).cast::<u8>();
            copy_out(args, inside);
            copy_out(env, inside);
            Ok(Area {
                start,
                len: end - arg_start,
            })
        }
    }

    fn write(&mut self, title: &[u8]) {
        // The last byte stays NUL, so that whoever reads a string here stops.
        let kept = title.len().min(self.len - 1);
        // SAFETY: the area has `len` bytes, is ours alone, and `kept` is below `len`.
        unsafe {
            ptr::copy_nonoverlapping(title.as_ptr(), self.start, kept);
            ptr::write_bytes(self.start.add(kept), 0, self.len - kept);
        }
    }
}

/// The table of arguments, which the kernel puts right before that of the variables, if `env` is
/// still the kernel's table.
///
/// # Safety
/// `env` is the process's table of variables and this is its only thread.
unsafe fn find_args(env: *mut *mut c_char, arg_start: usize) -> Option<*mut *mut c_char> {
    // A table that libc has moved lies elsewhere than on the stack, where the strings are; before
    // it there may be no memory of ours to look at.
    const STACK_REACH: usize = 8 << 20;
    if arg_start
        .checked_sub(env.addr())
        .is_none_or(|distance| distance > STACK_REACH)
    {
        return None;
    }
    const ARGS_MAX: usize = 4096;
    // SAFETY: `env` is on the stack below the strings, hence the kernel's own table, before which
    // come the null pointer that ends the arguments, the arguments and their count; the search ends
    // at the first argument, which is known to point at `arg_start`.
    unsafe {
        if !(*env.sub(1)).is_null() {
            return None;
        }
        for count in 1..=ARGS_MAX {
            let at = env.sub(1 + count);
            if (*at).addr() == arg_start {
                // The word before must be the number of arguments.
                return ((*at.sub(1)).addr() == count).then_some(at);
            }
            // Every argument lies behind the first one; anything else is no argument.
            if (*at).addr() < arg_start {
                return None;
            }
        }
    }
    None
}

/// Replaces the strings of a table that lie in the area by copies, which live for ever.
///
/// # Safety
/// `table` is a table of C strings ended by a null pointer, and no other thread uses it.
unsafe fn copy_out(mut table: *mut *mut c_char, inside: impl Fn(*mut c_char) -> bool) {
    // SAFETY: the caller's promise.
    unsafe {
        while !(*table).is_null() {
            if inside(*table) {
                *table = CStr::from_ptr(*table).to_owned().into_raw();
            }
            table = table.add(1);
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::process::{Command, Output};

    use super::*;

    /// The test starts itself anew, to fork from a process that is quiet.
    fn in_child(test: &str, case: &str) -> Output {
        Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--test-threads=1", "--nocapture"])
            .env("KIVI_TITLE_CASE", case)
            .env("KIVI_TITLE_PADDING", "x".repeat(300))
            .output()
            .unwrap()
    }

    #[test]
    fn the_title_is_shown_and_nothing_else_is_lost() {
        let test = "sys::title::tests::the_title_is_shown_and_nothing_else_is_lost";
        if let Some(case) = std::env::var_os("KIVI_TITLE_CASE") {
            let len = if case == "long" { 250 } else { 9 };
            return assert!(process::succeeds_in_fork(move || show(len)));
        }
        for case in ["short", "long"] {
            let output = in_child(test, case);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains("1 passed"),
                "{case}: {text}"
            );
        }
    }

    fn show(len: usize) {
        let cmdline = || {
            let raw = std::fs::read("/proc/self/cmdline").unwrap();
            let end = raw.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
            String::from_utf8(raw[..end].to_vec()).unwrap()
        };
        let args: Vec<String> = std::env::args().collect();
        let vars: Vec<_> = std::env::vars_os().collect();
        let title: String = "kivi-server 127.0.0.1:6379 "
            .chars()
            .cycle()
            .take(len)
            .collect();
        set_process_title(&title).unwrap();
        assert_eq!(cmdline(), title);
        // Later titles may come from any thread.
        std::thread::spawn(|| set_process_title("kivi 2").unwrap())
            .join()
            .unwrap();
        assert_eq!(cmdline(), "kivi 2");
        assert_eq!(std::env::args().collect::<Vec<_>>(), args);
        assert_eq!(std::env::vars_os().collect::<Vec<_>>(), vars);
        // Longer than the room there is: cut, not overrun.
        set_process_title(&"y".repeat(100_000)).unwrap();
        assert!(cmdline().len() > 300 && cmdline().bytes().all(|b| b == b'y'));
        assert_eq!(std::env::vars_os().collect::<Vec<_>>(), vars);
    }

    #[test]
    fn with_threads_the_first_title_is_refused() {
        let (stop_tx, stop_rx) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::spawn(move || stop_rx.recv());
        assert!(set_process_title("late").is_err());
        drop(stop_tx);
        let _ = worker.join();
    }
}
