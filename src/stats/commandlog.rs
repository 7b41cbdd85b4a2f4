//! The log of unusual commands (COMMANDLOG, SLOWLOG): those that took long, came as large requests, or had large
//! replies, the last ones of each.
//!
//! Whether a command is unusual its worker tells (`exec::unusual`); only one that is comes here and takes a lock.
//!
//! Invariant: of each kind entries have ascending numbers, the newest in front; numbers are never used again.
//!
//! To add a kind: a variant of [`Kind`], its bound in `exec::unusual`, its directives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

/// Most arguments of a request that are kept.
pub const ARGS_MAX: usize = 32;
/// Most bytes of an argument that are kept.
pub const ARG_BYTES_MAX: usize = 128;
/// What stands in the place of a secret.
const REDACTED: &[u8] = b"(redacted)";

/// What is unusual of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The time that it took, microseconds.
    Slow,
    /// The length of its request, bytes.
    LargeRequest,
    /// The length of its reply, bytes.
    LargeReply,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Slow, Kind::LargeRequest, Kind::LargeReply];

    /// The word that COMMANDLOG has for it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Slow => "slow",
            Kind::LargeRequest => "large-request",
            Kind::LargeReply => "large-reply",
        }
    }
}

/// The directives of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// From this value on a command is logged; negative: none is.
    pub from: i64,
    /// Entries kept.
    pub len_max: u64,
}

/// A command that was logged.
#[derive(PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// When it ran, Unix time in seconds.
    pub at_secs: u64,
    /// What was unusual of it.
    pub value: u64,
    /// Its request, shortened.
    pub args: Arc<[Box<[u8]>]>,
    /// Where its client came from.
    pub addr: Box<str>,
    /// What the client called itself.
    pub name: Box<[u8]>,
}

/// A command that has run.
pub struct Ran<'a> {
    /// When, Unix ms.
    pub now_ms: u64,
    /// Its request, shortened.
    pub args: Arc<[Box<[u8]>]>,
    /// Where its client came from.
    pub addr: &'a str,
    /// What the client calls itself.
    pub name: &'a [u8],
}

/// The log of one kind.
#[derive(Default)]
struct Log {
    /// See [`Settings::from`]; `i64::MAX` can't be reached.
    from: AtomicI64,
    len_max: AtomicU64,
    next_id: AtomicU64,
    entries: Mutex<VecDeque<Arc<Entry>>>,
}

/// See the module's text.
#[derive(Default)]
pub struct CommandLog([Log; 3]);

impl CommandLog {
    fn of(&self, kind: Kind) -> &Log {
        &self.0[kind as usize]
    }

    /// Takes over the directives of a kind.
    pub fn set(&self, kind: Kind, settings: Settings) {
        let log = self.of(kind);
        log.from.store(settings.from, Ordering::Relaxed);
        log.len_max.store(settings.len_max, Ordering::Relaxed);
        if log.from().is_some() {
            let len_max = usize::try_from(settings.len_max).unwrap_or(usize::MAX);
            log.entries.lock().truncate(len_max);
        }
    }

    /// From which value on a command is logged; `None`: none is.
    pub fn from(&self, kind: Kind) -> Option<u64> {
        self.of(kind).from()
    }

    /// Logs a command of which this was unusual.
    pub fn push(&self, kind: Kind, value: u64, ran: &Ran<'_>) {
        let log = self.of(kind);
        let len_max = log.len_max.load(Ordering::Relaxed);
        let mut entries = log.entries.lock();
        while entries.len() as u64 >= len_max.max(1) {
            entries.pop_back();
        }
        // Numbered under the lock, so that they stand in order.
        let id = log.next_id.fetch_add(1, Ordering::Relaxed);
        entries.push_front(Arc::new(Entry {
            id,
            at_secs: ran.now_ms / 1000,
            value,
            args: ran.args.clone(),
            addr: ran.addr.into(),
            name: ran.name.into(),
        }));
    }

    /// The newest entries, as many as there are at most.
    pub fn newest(&self, kind: Kind, most: usize) -> Vec<Arc<Entry>> {
        let entries = self.of(kind).entries.lock();
        entries.iter().take(most).cloned().collect()
    }

    /// How many entries there are.
    pub fn len(&self, kind: Kind) -> usize {
        self.of(kind).entries.lock().len()
    }

    /// Forgets all entries.
    pub fn reset(&self, kind: Kind) {
        // Freed outside of the lock.
        drop(std::mem::take(&mut *self.of(kind).entries.lock()));
    }
}

impl Log {
    fn from(&self) -> Option<u64> {
        match self.len_max.load(Ordering::Relaxed) {
            0 => None,
            _ => u64::try_from(self.from.load(Ordering::Relaxed)).ok(),
        }
    }
}

/// A request as it is kept: each argument with whether it is a secret.
pub fn shortened<'a>(len: usize, args: impl Iterator<Item = (&'a [u8], bool)>) -> Arc<[Box<[u8]>]> {
    let is_cut = len > ARGS_MAX;
    let kept = if is_cut { ARGS_MAX - 1 } else { len };
    let args = args.take(kept).map(|(arg, is_secret)| match is_secret {
        true => REDACTED.into(),
        false => shortened_arg(arg),
    });
    let more = is_cut.then(|| format!("... ({} more arguments)", len - kept));
    args.chain(more.map(|text| text.into_bytes().into()))
        .collect()
}

fn shortened_arg(arg: &[u8]) -> Box<[u8]> {
    if arg.len() <= ARG_BYTES_MAX {
        return arg.into();
    }
    let more = format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX);
    [&arg[..ARG_BYTES_MAX], more.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(args: &[&[u8]]) -> Vec<Vec<u8>> {
        let args = shortened(args.len(), args.iter().map(|arg| (*arg, false)));
        args.iter().map(|arg| arg.to_vec()).collect()
    }

    #[test]
    fn requests_are_shortened() {
        assert_eq!(short(&[b"GET", b"k"]), [&b"GET"[..], b"k"]);
        let many: Vec<&[u8]> = vec![b"a"; ARGS_MAX];
        assert_eq!(short(&many), many);
        let more: Vec<&[u8]> = vec![b"a"; ARGS_MAX + 1];
        let cut = short(&more);
        assert_eq!(cut.len(), ARGS_MAX);
        assert_eq!(cut[ARGS_MAX - 1], b"... (2 more arguments)");
        let long = [b'x'; ARG_BYTES_MAX + 1];
        let kept = [&long[..ARG_BYTES_MAX], b"... (1 more bytes)"].concat();
        assert_eq!(short(&[&long]), [kept]);
        assert_eq!(short(&[&long[1..]]), [&long[1..]]);
        let secret = shortened(2, [(&b"AUTH"[..], false), (&long[..], true)].into_iter());
        assert_eq!(&*secret[1], b"(redacted)");
    }

    #[test]
    fn the_last_ones_are_kept_with_ascending_numbers() {
        let log = CommandLog::default();
        assert_eq!(log.from(Kind::Slow), None, "off until it is set");
        log.set(
            Kind::Slow,
            Settings {
                from: 0,
                len_max: 3,
            },
        );
        log.set(
            Kind::LargeReply,
            Settings {
                from: -1,
                len_max: 3,
            },
        );
        assert_eq!(
            (log.from(Kind::Slow), log.from(Kind::LargeReply)),
            (Some(0), None)
        );
        let ran = Ran {
            now_ms: 7_000,
            args: shortened(0, [].into_iter()),
            addr: "127.0.0.1:1",
            name: b"",
        };
        (0..5).for_each(|value| log.push(Kind::Slow, value, &ran));
        let ids = |log: &CommandLog| -> Vec<u64> {
            let newest = log.newest(Kind::Slow, 10);
            newest.iter().map(|entry| entry.id).collect()
        };
        assert_eq!(ids(&log), [4, 3, 2]);
        log.set(
            Kind::Slow,
            Settings {
                from: 0,
                len_max: 1,
            },
        );
        assert_eq!(ids(&log), [4]);
        // What is off is not changed.
        log.set(
            Kind::Slow,
            Settings {
                from: 0,
                len_max: 0,
            },
        );
        assert_eq!(log.from(Kind::Slow), None);
        log.reset(Kind::Slow);
        log.set(
            Kind::Slow,
            Settings {
                from: 0,
                len_max: 2,
            },
        );
        log.push(Kind::Slow, 9, &ran);
        assert_eq!(ids(&log), [5], "numbers go on");
        assert_eq!((log.len(Kind::Slow), log.len(Kind::LargeRequest)), (1, 0));
    }
}
