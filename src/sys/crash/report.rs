//! The text of a report on its way to the log: collected in a buffer of its own and written by the
//! system call itself, since a signal handler may not use anything that allocates or locks.

use crate::sys::local_time::civil;
use std::ffi::{CStr, c_int};
use std::fmt::{self, Write};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// See the module's text.
pub(super) struct Report {
    file: c_int,
    buf: [u8; 256],
    len: usize,
}

impl Report {
    /// The log, to be added to. Standard error when it cannot be opened.
    pub(super) fn open(log: Option<&CStr>) -> Report {
        let file = match log {
            None => libc::STDOUT_FILENO,
            Some(path) => {
                let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
                // SAFETY: the path ends with NUL.
                match unsafe { libc::open(path.as_ptr(), flags, 0o644) } {
                    -1 => libc::STDERR_FILENO,
                    file => file,
                }
            }
        };
        Report {
            file,
            buf: [0; 256],
            len: 0,
        }
    }

    /// Writes what is in the buffer.
    pub(super) fn flush(&mut self) {
        let mut rest = &self.buf[..self.len];
        while !rest.is_empty() {
            // SAFETY: the slice is readable.
            let wrote = unsafe { libc::write(self.file, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(wrote) {
                Ok(wrote) if wrote > 0 => rest = &rest[wrote.min(rest.len())..],
                _ => break,
            }
        }
        self.len = 0;
    }

    /// A heading as in Redis's reports.
    pub(super) fn heading(&mut self, text: &str) -> fmt::Result {
        writeln!(self, "\n------ {text} ------")
    }

    /// What the first line begins with, in UTC: the local time takes locks.
    pub(super) fn time(&mut self) -> fmt::Result {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `now` is a valid place.
        let pid = unsafe {
            libc::clock_gettime(libc::CLOCK_REALTIME, &mut now);
            libc::getpid()
        };
        let secs = now.tv_sec.max(0);
        let (year, month, day) = civil(secs / 86_400);
        let (secs, month) = (secs % 86_400, MONTHS[(month - 1) as usize % 12]);
        let (hour, minute, second) = (secs / 3600, secs / 60 % 60, secs % 60);
        let ms = now.tv_nsec / 1_000_000;
        write!(
            self,
            "{pid}:M {day:02} {month} {year} {hour:02}:{minute:02}:{second:02}.{ms:03} UTC # "
        )
    }

    /// The name of the calling thread.
    pub(super) fn thread_name(&mut self) -> fmt::Result {
        let mut name = [0u8; 16];
        // SAFETY: the kernel writes at most 16 bytes.
        unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
        let name = name.split(|&byte| byte == 0).next().unwrap_or(&[]);
        writeln!(self, "Thread: {}", name.escape_ascii())
    }
}

impl Write for Report {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.len == self.buf.len() {
                self.flush();
            }
            let take = rest.len().min(self.buf.len() - self.len);
            self.buf[self.len..self.len + take].copy_from_slice(&rest[..take]);
            self.len += take;
            rest = &rest[take..];
        }
        Ok(())
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_819, (2027, 1, 1)),
            (20_818, (2026, 12, 31)),
        ] {
            assert_eq!(civil(days), date);
        }
    }
}
