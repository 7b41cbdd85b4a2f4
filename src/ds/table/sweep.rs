//! Sweeping a table: its items line by line, as they lie, to look for those that may go.
//!
//! The order is that of the hashes, more or less, which has nothing to do with anything that users do:
//! what a sweep meets is a fair sample of all items, and one without repetition until it has come round.
//! Items of two lines are asked for ahead, so that an item costs little more than its share of the
//! memory's throughput. A *hand* is where a sweep goes on. It stays good whatever happens to the table;
//! items that move meanwhile, or lie where the table was rebuilt, may be met twice or left out.
//!
//! Invariant: a hand is `directory index << dir_shift | line of the segment`.

use super::due::{self, NEVER};
use super::line::{self, Bits, Line, prefetch};
use super::segment::{Segment, bit};
use super::{Item, NO_EXPIRY, Slot, Table};

/// The line in a hand: the directory never has so many bits that these are needed.
const LINE_MASK: u64 = 0xFFFF;
/// Lines that are asked for ahead of their items.
const LINES_AHEAD: usize = 4;
/// Lines whose items are asked for ahead.
const ITEM_LINES_AHEAD: usize = 2;

impl<T: Item> Table<T> {
    /// Hands out the items from `hand` on (0: from the start), or only those with an expiry, in whole
    /// lines, until `budget` of them were handed out. Returns the hand to go on from; `None` at the end
    /// of the table. Segments without an item that expires cost nothing when only such are wanted.
    pub fn sweep(
        &self,
        hand: u64,
        budget: usize,
        only_expiring: bool,
        f: &mut impl FnMut(T::Ref<'_>),
    ) -> Option<u64> {
        if self.is_empty() || only_expiring && self.expires_len() == 0 {
            return None;
        }
        let mut left = budget;
        let mut dir_index = self.dir_index(hand);
        let mut first = (hand & LINE_MASK) as usize;
        loop {
            let segment = self.segment(dir_index);
            let run_start = self.run_start(dir_index, segment);
            if !only_expiring || self.due_at(run_start) != NO_EXPIRY {
                // SAFETY: the segment is one of a borrowed table: live, and not changed.
                let next =
                    unsafe { sweep_segment::<T>(segment, first, &mut left, only_expiring, f) };
                if let Some(line) = next {
                    return Some((run_start as u64).wrapping_shl(self.dir_shift) | line as u64);
                }
            }
            first = 0;
            dir_index = run_start + self.run_len(segment);
            if dir_index >= self.dir.len() {
                return None;
            }
        }
    }

    /// Finds an item by nothing but its hash.
    pub fn find_hash(&self, hash: u64) -> Option<Slot> {
        if self.is_empty() {
            return None;
        }
        let position = self.position(hash);
        let dir_index = self.dir_index(position);
        let segment = self.segment(dir_index);
        let (home, window) = (segment.home_of(position), segment.window_of(position));
        let find = |line: &Line| {
            line.matches(window).find(|&slot| {
                // SAFETY: a matching word is occupied, so it is a live item's, which nobody changes
                // while the table is borrowed.
                unsafe { T::hash(line::pointer(line.0[slot]), &self.key_hash) == hash }
            })
        };
        // SAFETY: the segment is live, and these lines exist.
        let place = unsafe {
            let in_line = |number: usize| {
                let slot = find(segment.line(number))?;
                Some(number * line::LINE_SLOTS + slot)
            };
            let header = segment.header();
            let strays = |homes: u64| homes & bit(home) != 0;
            in_line(home)
                .or_else(|| in_line(home ^ 1).filter(|_| strays((*header).in_neighbour)))
                .or_else(|| match strays((*header).in_stash) {
                    true => segment.stash().find_map(in_line).or_else(|| {
                        let mut chain = segment.chain();
                        chain.find_map(|(at, first)| Some(first + find(&(*at).line)?))
                    }),
                    false => None,
                })
        };
        place.map(|place| Slot::new(dir_index, place))
    }
}

/// Hands out the items of a segment from a line on, and takes them off the budget. Returns the line to
/// go on from when that is used up and there are more.
///
/// # Safety
/// The segment is live, and not changed.
unsafe fn sweep_segment<T: Item>(
    segment: Segment,
    first: usize,
    left: &mut usize,
    only_expiring: bool,
    f: &mut impl FnMut(T::Ref<'_>),
) -> Option<usize> {
    // SAFETY: the caller's; lines below the stash's end exist, and occupied words are live items'.
    unsafe {
        let lines = segment.stash().end;
        let codes = segment.codes();
        let wanted = |number: usize| match only_expiring {
            true => codes.get(number).map_or(Bits(0), expiring),
            false => segment.line(number).occupied(),
        };
        let ask_ahead = |number: usize| {
            if number < lines {
                for slot in wanted(number) {
                    prefetch(line::pointer(segment.line(number).0[slot]).as_ptr());
                }
            }
        };
        let starts_at = first.min(lines);
        for number in starts_at..lines.min(starts_at + LINES_AHEAD) {
            prefetch(segment.line_address(number));
        }
        for number in starts_at..starts_at + ITEM_LINES_AHEAD {
            ask_ahead(number);
        }
        for number in starts_at..lines {
            if *left == 0 {
                return Some(number);
            }
            prefetch(segment.line_address((number + LINES_AHEAD).min(lines - 1)));
            ask_ahead(number + ITEM_LINES_AHEAD);
            for slot in wanted(number) {
                f(T::borrow(line::pointer(segment.line(number).0[slot])));
                *left = left.saturating_sub(1);
            }
        }
        for (number, (at, _)) in (lines..).zip(segment.chain()) {
            if number < first {
                continue;
            }
            // A chain so long that its lines can't be numbered is walked to its end at once.
            if *left == 0 && number as u64 <= LINE_MASK {
                return Some(number);
            }
            let chained = &*at;
            let wanted = match only_expiring {
                true => expiring(&chained.codes),
                false => chained.line.occupied(),
            };
            for slot in wanted {
                f(T::borrow(line::pointer(chained.line.0[slot])));
                *left = left.saturating_sub(1);
            }
        }
    }
    None
}

/// The slots of a line whose items expire.
fn expiring(codes: &[i16; due::GROUP]) -> Bits {
    Bits(due::at_most(codes, NEVER - 1))
}
