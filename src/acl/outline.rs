//! What `exec` and others ask of rights, as far as it can be told without rules: to be replaced by what knows them.

use parking_lot::Mutex;

use super::{Request, Rights};
use crate::db::DbIndex;

/// What was denied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// A database.
    Database,
    /// A password was wrong.
    Auth,
}

/// Where it was denied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// A command by itself.
    TopLevel,
    /// In a transaction.
    Multi,
    /// In a script.
    Lua,
    /// By a module.
    Module,
}

/// A denial.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// What.
    pub reason: Reason,
    /// Where.
    pub context: Context,
    /// The command, key, channel or database.
    pub object: &'a [u8],
    /// Who.
    pub username: &'a [u8],
    /// The client.
    pub client_info: Vec<u8>,
    /// When, Unix ms.
    pub now_ms: u64,
}

/// ACL LOG.
#[derive(Default)]
pub struct Log(pub Mutex<Vec<(Reason, Context, Vec<u8>, Vec<u8>)>>);

impl Log {
    /// Adds an entry.
    pub fn record(&self, entry: Entry<'_>) {
        let (object, username) = (entry.object.to_vec(), entry.username.to_vec());
        let mut log = self.0.lock();
        log.push((entry.reason, entry.context, object, username));
    }
}

impl Rights {
    /// Whether a request may run, and read any key.
    pub fn check_unrestricted<H>(&self, _: &Request<'_, H>) -> bool {
        self.is_unrestricted
    }

    /// Whether a subscription may stay.
    pub fn keeps_channel(&self, _: &[u8], _: bool) -> bool {
        self.is_unrestricted
    }

    /// Whether there are channels that are allowed no more.
    pub fn has_lost_channels(before: &Rights, now: &Rights) -> bool {
        before.is_unrestricted && !now.is_unrestricted
    }

    /// Whether a key may be read.
    pub fn may_read(&self, _: &[u8], _: DbIndex) -> bool {
        self.is_unrestricted
    }
}
