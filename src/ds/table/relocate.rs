//! Moving a table's items and segments to other addresses, see [`Mover`].
//!
//! The walk goes segment by segment in the order of positions, and within a segment line by line as they lie. A
//! cursor is the position of a segment with the number of a line in its low bits; a position's low 16 bits are not
//! used by any directory.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};

use super::line::{self, LINE_SLOTS, Line};
use super::{Item, Table, prefetch};
use crate::ds::mover::Mover;
use crate::sys::alloc::ASKED_MAX;

/// Lines of a step.
const STEP_LINES: usize = ASKED_MAX / LINE_SLOTS;
const LINE_BITS: u32 = 16;
const ALIGN: usize = 8;

impl<T: Item> Table<T> {
    /// Moves what lies badly in a few lines from `cursor` on; the cursor to go on from, 0 at the end. `before_free` is
    /// called with an item's old address, which is still good, and the new one; `each` with every item, and whether it
    /// was moved.
    pub fn relocate(
        &mut self,
        cursor: u64,
        mover: &mut Mover<'_>,
        before_free: &mut dyn FnMut(NonNull<u8>, NonNull<u8>),
        each: &mut dyn FnMut(&mut Mover<'_>, &mut T, bool),
    ) -> u64 {
        if self.len == 0 || self.is_saving() || self.dir_shift < LINE_BITS {
            return 0;
        }
        let mut dir_index = self.dir_index(cursor);
        dir_index = self.run_start(dir_index, self.segment(dir_index));
        let first = (cursor & ((1 << LINE_BITS) - 1)) as usize;
        if first == 0 {
            self.relocate_segment(dir_index, mover);
        }
        let segment = self.segment(dir_index);
        let lines = segment.stash().end;
        let last = lines.min(first + STEP_LINES);
        // SAFETY: the segment is live, and the table exclusively ours; lines below the stash's end exist. The chain's
        // lines are not added to or taken from meanwhile.
        unsafe {
            relocate_lines(
                first..last,
                |number| segment.line_mut(number),
                mover,
                before_free,
                each,
            );
            if last == lines {
                let chain: Vec<_> = segment.chain().map(|(at, _)| &raw mut (*at).line).collect();
                for some in chain.chunks(STEP_LINES) {
                    relocate_lines(
                        0..some.len(),
                        |number| some[number],
                        mover,
                        before_free,
                        each,
                    );
                }
            }
        }
        let (line, next_run) = match last < lines {
            true => (last, dir_index),
            false => (0, dir_index + self.run_len(segment)),
        };
        if next_run == self.dir.len() {
            return 0;
        }
        (next_run as u64) << self.dir_shift | line as u64
    }

    /// Builds a segment anew if its block or its codes lie badly.
    fn relocate_segment(&mut self, dir_index: usize, mover: &mut Mover<'_>) {
        let segment = self.segment(dir_index);
        // SAFETY: the segment is live, and its header says which blocks it has.
        let wants = unsafe {
            let header = segment.header();
            let codes = (*header).codes;
            let wants =
                mover.wants(header.cast()) | (!codes.is_null() && mover.wants(codes.cast::<u8>()));
            wants && (*header).chain.is_null()
        };
        if wants {
            self.resize(dir_index, segment.homes());
        }
    }
}

/// Moves what lies badly of at most [`STEP_LINES`] lines.
///
/// # Safety
/// `line` returns live lines of a table that is exclusively ours, each once.
unsafe fn relocate_lines<T: Item>(
    numbers: std::ops::Range<usize>,
    line: impl Fn(usize) -> *mut Line,
    mover: &mut Mover<'_>,
    before_free: &mut dyn FnMut(NonNull<u8>, NonNull<u8>),
    each: &mut dyn FnMut(&mut Mover<'_>, &mut T, bool),
) {
    let mut places = [ptr::null_mut::<u64>(); ASKED_MAX];
    let mut blocks = [ptr::null::<u8>(); ASKED_MAX];
    let mut count = 0;
    // SAFETY: the caller's: occupied words are live items'. An item that moves is copied whole, and its old block freed
    // as it was allocated, with nothing in it dropped. `each` has the item for itself, and what it leaves is put back.
    unsafe {
        for number in numbers {
            let line = line(number);
            for slot in (*line).occupied() {
                let word = &raw mut (*line).0[slot];
                places[count] = word;
                blocks[count] = line::pointer(*word).as_ptr();
                prefetch(blocks[count]);
                count += 1;
            }
        }
        let sparse = match T::MOVES {
            true => mover.ask(&blocks[..count]),
            false => 0,
        };
        for (at, &place) in places[..count].iter().enumerate() {
            let mut raw = line::pointer(*place);
            let moves = sparse >> at & 1 != 0;
            if moves {
                let bytes = T::block_bytes(raw);
                let layout = Layout::from_size_align_unchecked(bytes, ALIGN);
                let Some(new) = NonNull::new(alloc(layout)) else {
                    handle_alloc_error(layout)
                };
                ptr::copy_nonoverlapping(raw.as_ptr(), new.as_ptr(), bytes);
                *place = line::with_item(*place, new, line::expires(*place));
                before_free(raw, new);
                dealloc(raw.as_ptr(), layout);
                raw = new;
            }
            let mut item = std::mem::ManuallyDrop::new(T::from_raw(raw));
            each(mover, &mut item, moves);
        }
    }
}
