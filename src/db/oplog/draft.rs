//! What one command has to say to the log when that is more, or something else, than its request:
//! several commands, in order, perhaps of several databases.
//!
//! Two and more are wrapped in MULTI and EXEC, as Redis does, so that who reads the log does all or
//! nothing.

use super::select;
use crate::db::DbIndex;
use crate::resp::request::request;

/// What an empty one may keep of its room.
const KEEP_BYTES_MAX: usize = 64 << 10;

/// See the module's text.
#[derive(Default, Debug)]
pub struct Draft {
    bytes: Vec<u8>,
    commands: usize,
    /// Of its first and its last command.
    dbs: Option<(DbIndex, DbIndex)>,
}

impl Draft {
    /// Adds a command.
    pub fn push<'a>(&mut self, db: DbIndex, argv: impl Iterator<Item = &'a [u8]> + Clone) {
        self.begin_in(db);
        request(&mut self.bytes, argv.clone().count(), argv);
    }

    fn begin_in(&mut self, db: DbIndex) {
        let (first, last) = self.dbs.unwrap_or((db, db));
        if last != db {
            select(&mut self.bytes, db);
        }
        self.dbs = Some((first, db));
        self.commands += 1;
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.commands == 0
    }

    /// The databases that its first and its last command work in; `None` when there are none.
    pub(super) fn dbs(&self) -> Option<(DbIndex, DbIndex)> {
        self.dbs
    }

    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let is_group = self.commands > 1;
        if is_group {
            request(out, 1, [&b"MULTI"[..]].into_iter());
        }
        out.extend_from_slice(&self.bytes);
        if is_group {
            request(out, 1, [&b"EXEC"[..]].into_iter());
        }
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_BYTES_MAX);
        self.commands = 0;
        self.dbs = None;
    }
}
