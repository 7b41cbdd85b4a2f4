//! ACL LOG: what was denied lately, newest first.
//!
//! Who is denied the same again and again has one entry: if one of the newest ten is about the same and
//! its last time is less than a minute ago, it is counted there and comes to the front.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// Entries that are looked through for one about the same.
const GROUPED_MAX: usize = 10;
/// Time between two denials that go to one entry, ms.
const GROUPED_MS: u64 = 60_000;
/// What is kept of a name: it may have come from somebody who may do nothing.
const OBJECT_BYTES_MAX: usize = 4096;

/// What was lacking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// A database.
    Database,
    /// The right password.
    Auth,
    /// A certificate that names a user.
    TlsCert,
}

impl Reason {
    /// As ACL LOG calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Database => "database",
            Reason::Auth => "auth",
            Reason::TlsCert => "tls-cert",
        }
    }
}

/// Where it was lacking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// A command of its own.
    TopLevel,
    /// One of a transaction.
    Multi,
    /// One of a script.
    Lua,
}

impl Context {
    /// Of a command that a client has sent.
    pub fn of(in_multi: bool) -> Context {
        match in_multi {
            true => Context::Multi,
            false => Context::TopLevel,
        }
    }

    /// As ACL LOG calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
            Context::Lua => "lua",
        }
    }
}

/// A denial.
pub struct Entry<'a> {
    /// What was lacking.
    pub reason: Reason,
    /// Where.
    pub context: Context,
    /// What it was lacking for.
    pub object: &'a [u8],
    /// To whom.
    pub username: &'a [u8],
    /// The line that describes the client.
    pub client_info: Vec<u8>,
    /// When, Unix ms.
    pub now_ms: u64,
}

/// What is kept of denials about the same.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// How many.
    pub count: u64,
    /// What was lacking.
    pub reason: Reason,
    /// Where.
    pub context: Context,
    /// What it was lacking for.
    pub object: Vec<u8>,
    /// To whom.
    pub username: Vec<u8>,
    /// The client of the last one.
    pub client_info: Vec<u8>,
    /// The entry's number.
    pub id: u64,
    /// When the first one was, Unix ms.
    pub created_ms: u64,
    /// When the last one was, Unix ms.
    pub updated_ms: u64,
}

#[derive(Default)]
struct Kept {
    entries: VecDeque<Recorded>,
    next_id: u64,
}

/// See the module's text.
#[derive(Default)]
pub struct Log {
    kept: Mutex<Kept>,
    len_max: AtomicUsize,
}

impl Log {
    /// Notes a denial.
    pub fn record(&self, entry: Entry<'_>) {
        let object = &entry.object[..entry.object.len().min(OBJECT_BYTES_MAX)];
        let username = &entry.username[..entry.username.len().min(OBJECT_BYTES_MAX)];
        let mut kept = self.kept.lock();
        let is_same = |known: &Recorded| {
            known.reason == entry.reason
                && known.context == entry.context
                && entry.now_ms.abs_diff(known.updated_ms) <= GROUPED_MS
                && known.object == object
                && known.username == username
        };
        let same = kept.entries.iter().take(GROUPED_MAX).position(is_same);
        let known = same.and_then(|at| kept.entries.remove(at));
        let newest = match known {
            Some(mut known) => {
                known.client_info = entry.client_info;
                known.updated_ms = entry.now_ms;
                known.count += 1;
                known
            }
            None => {
                let id = kept.next_id;
                kept.next_id += 1;
                Recorded {
                    count: 1,
                    reason: entry.reason,
                    context: entry.context,
                    object: object.to_vec(),
                    username: username.to_vec(),
                    client_info: entry.client_info,
                    id,
                    created_ms: entry.now_ms,
                    updated_ms: entry.now_ms,
                }
            }
        };
        kept.entries.push_front(newest);
        kept.entries.truncate(self.len_max.load(Ordering::Relaxed));
    }

    /// The newest entries.
    pub fn newest(&self, count: usize) -> Vec<Recorded> {
        let kept = self.kept.lock();
        kept.entries.iter().take(count).cloned().collect()
    }

    /// Forgets all.
    pub fn reset(&self) {
        self.kept.lock().entries.clear();
    }

    /// `acllog-max-len`: so many entries are kept.
    pub fn set_len_max(&self, len_max: usize) {
        self.len_max.store(len_max, Ordering::Relaxed);
        self.kept.lock().entries.truncate(len_max);
    }
}
