//! Moving data together: blocks that lie in sparse runs of the allocator are copied to fuller ones.
//!
//! A structure shows its blocks to a [`Mover`], which knows from the allocator how full their runs are
//! ([`Runs`]) and says which are to be moved, or moves them: boxes and vectors. Nothing changes but where things
//! are. Who calls it holds the structure exclusively, and nobody keeps addresses of what is inside.
//!
//! Moving only helps on a thread that keeps no blocks for itself
//! ([`bypass_thread_cache`](crate::sys::alloc::bypass_thread_cache)).
//!
//! Structures are walked in steps: each has a function that takes a cursor, works on a few dozen blocks and returns
//! the cursor to go on from, 0 at the end ([`Collection::relocate`]). Whatever changes between two steps, a cursor stays
//! valid; what it misses then is met by the next pass.
//!
//! To let a structure take part: such a function, and its arm in [`Collection::relocate`].

use std::sync::Arc;

use super::collection::Collection;
use super::entry::{Entry, EntryMut};
use super::table::Table;
use crate::sys::alloc::{ASKED_MAX, Runs};

/// Blocks above this size come from no run, and stay where they are: jemalloc's largest small class, bytes.
const BLOCK_BYTES_MAX: usize = 14 * 1024;

/// See the module's text.
pub struct Mover<'r> {
    runs: Option<&'r Runs>,
    /// Blocks that were moved.
    pub moved: u64,
    /// Blocks that were looked at and lie well.
    pub left: u64,
    /// Keys of which something was moved.
    pub keys_moved: u64,
    /// Keys that were looked at and of which nothing was moved.
    pub keys_left: u64,
}

impl<'r> Mover<'r> {
    /// Moves what lies badly, by what is known of runs.
    pub fn new(runs: &'r Runs) -> Mover<'r> {
        Mover {
            runs: Some(runs),
            ..Mover::of_all()
        }
    }

    /// Moves everything.
    pub fn of_all() -> Mover<'static> {
        Mover {
            runs: None,
            moved: 0,
            left: 0,
            keys_moved: 0,
            keys_left: 0,
        }
    }

    /// Which of up to [`ASKED_MAX`] blocks are to be moved: a bit each, from the lowest on. They count as moved.
    ///
    /// # Safety
    /// All are starts of living blocks of the allocator.
    pub(super) unsafe fn ask(&mut self, blocks: &[*const u8]) -> u64 {
        debug_assert!(blocks.len() <= ASKED_MAX);
        let sparse = match self.runs {
            // SAFETY: the caller's.
            Some(runs) => unsafe { runs.sparse(blocks) },
            None => blocks.iter().fold(0, |bits, _| bits << 1 | 1),
        };
        let moved = u64::from(sparse.count_ones());
        self.moved += moved;
        self.left += blocks.len() as u64 - moved;
        sparse
    }

    /// As [`Mover::ask`], of one block.
    ///
    /// # Safety
    /// As for [`Mover::ask`].
    pub(super) unsafe fn wants(&mut self, block: *const u8) -> bool {
        // SAFETY: the caller's.
        unsafe { self.ask(&[block]) != 0 }
    }

    /// Moves what a box holds.
    pub(super) fn move_box<T>(&mut self, place: &mut Box<T>) {
        // SAFETY: a box is the start of a living block, if it holds anything.
        if size_of::<T>() > 0 && unsafe { self.wants((&raw const **place).cast()) } {
            // SAFETY: the old box is taken out of its place and used up before the new one is put there; between the
            // two only an allocation happens, which ends the process if it fails.
            unsafe {
                let old = std::ptr::read(place);
                std::ptr::write(place, Box::new(*old));
            }
        }
    }

    /// Moves the buffer of a vector, which keeps its capacity.
    pub(super) fn move_vec<T: Copy>(&mut self, vec: &mut Vec<T>) {
        let bytes = vec.capacity() * size_of::<T>();
        if bytes == 0 || bytes > BLOCK_BYTES_MAX {
            return;
        }
        // SAFETY: a vector with a capacity owns a living block.
        if unsafe { self.wants(vec.as_ptr().cast()) } {
            let mut moved = Vec::with_capacity(vec.capacity());
            moved.extend_from_slice(vec);
            *vec = moved;
        }
    }

    /// Moves bytes.
    pub(super) fn move_bytes(&mut self, bytes: &mut Box<[u8]>) {
        if bytes.is_empty() || bytes.len() > BLOCK_BYTES_MAX {
            return;
        }
        // SAFETY: a box that is not empty is the start of a living block.
        if unsafe { self.wants(bytes.as_ptr()) } {
            *bytes = bytes.to_vec().into_boxed_slice();
        }
    }

    /// Moves what a value has besides its entry's block, unless it is a collection of more than `elements_max`
    /// elements: of such a one only what hangs on the entry itself, and true is returned.
    pub(super) fn move_value(&mut self, mut entry: EntryMut<'_>, elements_max: usize) -> bool {
        if let Some(shared) = entry.arc_mut() {
            self.move_arc(shared);
        }
        let Some(collection) = entry.box_mut() else {
            return false;
        };
        self.move_box(collection);
        if collection.len() > elements_max {
            return true;
        }
        let mut cursor = 0;
        loop {
            cursor = collection.relocate(cursor, self);
            if cursor == 0 {
                return false;
            }
        }
    }

    /// Moves the small block of a shared value that nobody else holds.
    fn move_arc(&mut self, shared: &mut Arc<Vec<u8>>) {
        let block = Arc::as_ptr(shared).cast::<u8>();
        if let Some(bytes) = Arc::get_mut(shared)
            // SAFETY: within the living block of the counted value, which lies in one run.
            && unsafe { self.wants(block) }
        {
            *shared = Arc::new(std::mem::take(bytes));
        }
    }

    /// A step over keys; `later` is called with those whose values are collections of more than `elements_max`, which
    /// are left as they are.
    pub fn relocate_keys(
        &mut self,
        table: &mut Table<Entry>,
        cursor: u64,
        elements_max: usize,
        mut later: impl FnMut(&[u8]),
    ) -> u64 {
        table.relocate(
            cursor,
            self,
            &mut |_, _| {},
            &mut |mover, entry, has_moved| {
                let before = mover.moved;
                if mover.move_value(entry.view_mut(), elements_max) {
                    later(entry.view().key());
                } else {
                    mover.note_key(has_moved || mover.moved > before);
                }
            },
        )
    }

    /// Counts a key of which something was moved, or nothing.
    pub fn note_key(&mut self, has_moved: bool) {
        match has_moved {
            true => self.keys_moved += 1,
            false => self.keys_left += 1,
        }
    }

    /// A step over entries whose values are no collections.
    fn relocate_entries(&mut self, table: &mut Table<Entry>, cursor: u64) -> u64 {
        table.relocate(cursor, self, &mut |_, _| {}, &mut |mover, entry, _| {
            mover.move_value(entry.view_mut(), 0);
        })
    }
}

impl Collection {
    /// Moves what lies badly, a step of it; see [`Mover`]. Nothing is moved that a snapshot is reading.
    pub fn relocate(&mut self, cursor: u64, mover: &mut Mover<'_>) -> u64 {
        match self {
            Collection::List(list) => list.relocate(cursor, mover),
            Collection::Hash(fields) => mover.relocate_entries(&mut fields.table, cursor),
            Collection::Set(members) => mover.relocate_entries(members, cursor),
            Collection::Zset(members) => members.relocate(cursor, mover),
            Collection::Stream(stream) => {
                mover.move_box(stream);
                stream.relocate(cursor, mover)
            }
        }
    }
}

#[cfg(test)]
mod tests;
