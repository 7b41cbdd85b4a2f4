//! The system's log (`syslog-enabled`): each line as one datagram to `/dev/log`, in the form that
//! every syslog daemon and journald take.
//!
//! A daemon that is away, or has been started anew, is looked for with the next line; a line that it
//! does not take at once is lost, since the server must not wait for it.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::config::SyslogFacility;
use crate::sys::local_time::local_time;
use crate::sys::process;

use super::log::MONTHS;

/// Where the daemon listens.
const SOCKET: &str = "/dev/log";
/// Most bytes of a line, as RFC 3164's daemons take at least.
const LINE_BYTES_MAX: usize = 1024;

/// See the module's text.
pub(super) struct Syslog {
    path: PathBuf,
    ident: String,
    facility: u8,
    socket: Mutex<Option<UnixDatagram>>,
}

/// How severe a line is, by syslog's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Warning = 4,
    Notice = 5,
    Info = 6,
    Debug = 7,
}

impl Syslog {
    /// A way to the daemon of this host.
    pub(super) fn new(ident: &str, facility: SyslogFacility) -> Syslog {
        Syslog::at(Path::new(SOCKET), ident, facility)
    }

    fn at(path: &Path, ident: &str, facility: SyslogFacility) -> Syslog {
        let is_plain = |c: &char| !c.is_control() && *c != '[' && *c != ':';
        Syslog {
            path: path.to_owned(),
            ident: ident.chars().filter(is_plain).collect(),
            facility: code(facility),
            socket: Mutex::new(connect(path)),
        }
    }

    /// Sends a line.
    pub(super) fn send(&self, unix_secs: u64, severity: Severity, message: &str) {
        let line = self.line(unix_secs, severity, message);
        let Ok(mut socket) = self.socket.lock() else {
            return;
        };
        let sends = |socket: &UnixDatagram| socket.send(line.as_bytes()).is_ok();
        if socket.as_ref().is_some_and(sends) {
            return;
        }
        *socket = connect(&self.path);
        socket.as_ref().map(sends);
    }

    fn line(&self, unix_secs: u64, severity: Severity, message: &str) -> String {
        let priority = self.facility * 8 + severity as u8;
        let time = local_time(unix_secs as i64).map_or_else(String::new, |t| {
            let month = MONTHS[t.month as usize - 1];
            let (day, hour, minute, second) = (t.day, t.hour, t.minute, t.second);
            format!("{month} {day:2} {hour:02}:{minute:02}:{second:02} ")
        });
        let (ident, pid) = (&self.ident, process::pid());
        let mut line = format!("<{priority}>{time}{ident}[{pid}]: ");
        line.extend(
            message
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c }),
        );
        if let Some(end) = (0..=LINE_BYTES_MAX.min(line.len()))
            .rev()
            .find(|&end| line.is_char_boundary(end))
        {
            line.truncate(end);
        }
        line
    }
}

fn connect(path: &Path) -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(path).ok()?;
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

fn code(facility: SyslogFacility) -> u8 {
    match facility {
        SyslogFacility::User => 1,
        SyslogFacility::Local0 => 16,
        SyslogFacility::Local1 => 17,
        SyslogFacility::Local2 => 18,
        SyslogFacility::Local3 => 19,
        SyslogFacility::Local4 => 20,
        SyslogFacility::Local5 => 21,
        SyslogFacility::Local6 => 22,
        SyslogFacility::Local7 => 23,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(socket: &UnixDatagram) -> String {
        let mut line = [0; 2 * LINE_BYTES_MAX];
        let len = socket.recv(&mut line).unwrap();
        String::from_utf8(line[..len].to_vec()).unwrap()
    }

    #[test]
    fn lines_have_the_form_of_syslog() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let log = Syslog::at(&path, "ki[v]i:", SyslogFacility::Local3);
        log.send(1_700_000_000, Severity::Notice, "hello\n<0>forged");
        let line = receive(&daemon);
        let pid = process::pid();
        assert!(line.starts_with("<157>Nov 1"), "{line}");
        assert!(
            line.ends_with(&format!(" kiv]i[{pid}]: hello <0>forged")),
            "{line}"
        );
        // The daemon starts anew.
        drop(daemon);
        log.send(0, Severity::Warning, "lost");
        std::fs::remove_file(&path).unwrap();
        let daemon = UnixDatagram::bind(&path).unwrap();
        log.send(1_700_000_000, Severity::Debug, &"ä".repeat(1000));
        let line = receive(&daemon);
        assert!(
            line.starts_with("<159>") && line.len() <= LINE_BYTES_MAX,
            "{line}"
        );
    }

    #[test]
    fn nobody_waits_for_a_daemon_that_does_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let _daemon = UnixDatagram::bind(&path).unwrap();
        let log = Syslog::at(&path, "kivi", SyslogFacility::User);
        for _ in 0..10_000 {
            log.send(0, Severity::Info, "x");
        }
    }
}
