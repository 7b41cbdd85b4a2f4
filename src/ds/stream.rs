//! Streams: a log of entries, each with an id and fields, and the consumer groups that read it.
//!
//! - `id`: ids, their order and their text;
//! - `entries`: the log, in nodes (`node`) of elements (`element`); `radix` for what XINFO tells;
//! - `groups`: who has read how far, and what is pending with whom;
//! - `chunks`: what nodes and pending entries stand in, by the order of their ids;
//! - [`save`]: how a snapshot walks a stream that goes on changing.
//!
//! Ids only grow: an entry is appended with an id above the last one, even above one that was
//! deleted since. Deleting leaves what groups know as it is, unless asked otherwise
//! ([`References`]), so an id may be pending although its entry has gone.
//!
//! Invariant: a stream may be empty; it is its key's value all the same.

mod chunks;
mod element;
mod entries;
mod groups;
mod id;
mod node;
mod radix;
pub mod save;

use super::mover::Mover;

#[cfg(test)]
pub mod shown;

pub use entries::{Entries, Entry, Fields, Limits, Range, RangeBack, Trim, Until};
pub use groups::{Consumer, ConsumerId, Group, Groups, Pending};
pub use id::StreamId;

use crate::ds::footprint::block_bytes;
use crate::util::check::Checked;

#[cfg(test)]
mod tests;

/// What happens to the pending entries of groups when an entry is deleted or trimmed (Redis 8.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum References {
    /// KEEPREF: they stay, without their entry.
    #[default]
    Keep,
    /// DELREF: they go, too.
    Delete,
    /// ACKED: an entry is deleted only if every group has read and acknowledged it.
    Acked,
}

/// What became of an entry that was to be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deleted {
    /// There is no such entry.
    NotFound,
    /// It has gone.
    Yes,
    /// It is still there: a group has not acknowledged it ([`References::Acked`]).
    Kept,
}

/// A stream.
#[derive(Default)]
pub struct Stream {
    entries: Entries,
    groups: Groups,
    saving: Option<Box<save::Walk>>,
}

impl Stream {
    /// An empty stream without groups.
    pub fn new() -> Stream {
        Stream::default()
    }

    /// The log.
    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The log, to be changed.
    pub fn entries_mut(&mut self) -> &mut Entries {
        &mut self.entries
    }

    /// The groups.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The groups, to be changed.
    pub fn groups_mut(&mut self) -> &mut Groups {
        &mut self.groups
    }

    /// The log to be read while groups change.
    pub fn split_mut(&mut self) -> (&Entries, &mut Groups) {
        (&self.entries, &mut self.groups)
    }

    /// What the work of saving or freeing it is measured by: entries, pending entries, consumers.
    pub fn weight(&self) -> usize {
        self.groups
            .iter()
            .fold(self.entries.len() as usize, |sum, group| {
                sum + group.pending_len() + group.consumers().len()
            })
    }

    /// Looks at all of the stream.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn check(&self) -> Checked {
        self.entries.check()?;
        for (name, group) in self.groups.iter_named() {
            let of_group = |fault| format!("group {}: {fault}", name.escape_ascii());
            group.check().map_err(of_group)?;
        }
        Ok(())
    }

    /// Deletes an entry.
    pub fn delete(&mut self, id: StreamId, references: References) -> Deleted {
        let groups = &mut self.groups;
        match self
            .entries
            .delete(id, || may_delete(groups, id, references))
        {
            None => Deleted::NotFound,
            Some(true) => Deleted::Yes,
            Some(false) => Deleted::Kept,
        }
    }

    /// Deletes entries from the oldest on; how many.
    pub fn trim(&mut self, trim: Trim, references: References) -> u64 {
        let groups = &mut self.groups;
        match references {
            References::Keep => self.entries.trim(trim, None),
            _ => {
                let may_delete = &mut |id| may_delete(groups, id, references);
                self.entries.trim(trim, Some(may_delete))
            }
        }
    }

    /// Moves what lies badly of the log, a step of it, see [`Mover`]. What is pending in groups stays where it is: it
    /// comes and goes in the order of ids, so whole chunks of it are freed.
    pub fn relocate(&mut self, cursor: u64, mover: &mut Mover<'_>) -> u64 {
        match self.saving {
            None => self.entries.relocate(cursor, mover),
            Some(_) => 0,
        }
    }

    /// The memory in bytes, estimated from `samples` of its nodes; from all if that is 0.
    pub fn alloc_bytes(&self, samples: usize) -> usize {
        let groups = self.groups.alloc_bytes();
        block_bytes(size_of::<Stream>())
            .saturating_add(self.entries.alloc_bytes(samples))
            .saturating_add(groups)
    }
}

/// Whether an entry may go; what groups know of it goes with it if that is wanted.
fn may_delete(groups: &mut Groups, id: StreamId, references: References) -> bool {
    match references {
        References::Keep => true,
        References::Delete => {
            groups.iter_mut().for_each(|group| {
                group.ack(id);
            });
            true
        }
        References::Acked => groups
            .iter()
            .all(|group| group.last_id >= id && group.pending(id).is_none()),
    }
}
