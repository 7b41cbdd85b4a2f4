//! Walking a table: SCAN, random items, all items.
//!
//! A scan goes home line by home line in the order of positions. Splits, merges and resizes move
//! the borders between lines but never the order, so "everything before this position has been
//! seen" is all that a cursor has to say.

use std::ptr::NonNull;

use super::line::{self, Bits, LINE_SLOTS, Line};
use super::segment::{ChainLines, Segment};
use super::{Item, NO_EXPIRY, Table, prefetch_items};

/// A scan visits at most this many home lines, plus `SCAN_LINES_PER_ITEM` for each item asked for.
const SCAN_LINES_MIN: usize = 16;
const SCAN_LINES_PER_ITEM: usize = 4;
/// How often [`Table::random`] guesses before it goes through a segment slot by slot.
const RANDOM_GUESSES: usize = 64;

impl<T: Item> Table<T> {
    /// Hands out items in the order of their hashes, from `cursor` on, until `budget` items were
    /// handed out or some 4 times as many lines visited; always whole home lines. Returns the
    /// cursor to go on from, 0 at the end.
    ///
    /// A cursor is a hash without its skip bits, `hash & (u64::MAX >> skip_bits)`: all items whose
    /// hashes are below it have been handed out. The skip bits of a cursor are 0, and so are its
    /// low 16 bits, if it was returned by a scan; any other number is as good, its skip bits are
    /// ignored. An item that is in the table throughout a whole scan is handed out exactly once,
    /// whatever else happens to the table between the calls; an item that comes or goes, at most
    /// once for each time it is inserted.
    pub fn scan(&self, cursor: u64, budget: usize, mut f: impl FnMut(T::Ref<'_>)) -> u64 {
        self.scan_raw(cursor, budget, |raw| {
            // SAFETY: a live item's, which nobody changes while the table is borrowed.
            f(unsafe { T::borrow(raw) });
        })
    }

    /// As [`Table::scan`], to change only what a snapshot may show as it is later (the LRU field).
    pub fn scan_metas(&mut self, cursor: u64, budget: usize, mut f: impl FnMut(T::Mut<'_>)) -> u64 {
        self.scan_raw(cursor, budget, |raw| {
            // SAFETY: a live item's; the table is borrowed mutably, and the scan itself is between
            // two reads.
            f(unsafe { T::borrow_mut(raw) });
        })
    }

    /// [`Table::scan`], of items that are live as long as the table is borrowed.
    fn scan_raw(&self, cursor: u64, budget: usize, mut f: impl FnMut(NonNull<u8>)) -> u64 {
        if self.len == 0 {
            return 0;
        }
        let mut position = self.position(cursor);
        let mut emitted = 0usize;
        let lines = budget
            .saturating_mul(SCAN_LINES_PER_ITEM)
            .saturating_add(SCAN_LINES_MIN);
        for _ in 0..lines {
            let dir_index = self.dir_index(position);
            let segment = self.segment(dir_index);
            let run_start = self.run_start(dir_index, segment) as u64;
            let segment_start = run_start.wrapping_shl(self.dir_shift);
            let home = segment.home_of(position);
            // Before the first line of a scan that was cut by a border that has moved since.
            let seen_before = position - (segment_start | segment.home_start(home));
            let mut emit = |word: u64| {
                if segment.home_of_word(word) != home {
                    return;
                }
                let raw = line::pointer(word);
                // SAFETY: an occupied word is a live item's, which nobody changes while the table
                // is borrowed.
                let hash = || unsafe { T::hash(raw, &self.key_hash) };
                if seen_before > 0 && self.position(hash()) < position {
                    return;
                }
                f(raw);
                emitted = emitted.saturating_add(1);
            };
            emit_home(segment, home, &mut emit);
            position = if home + 1 < segment.homes() as usize {
                segment_start | segment.home_start(home + 1)
            } else {
                // The next segment; after the last one the sum is 2^64.
                let next_run = run_start + self.run_len(segment) as u64;
                if next_run == self.dir.len() as u64 {
                    return 0;
                }
                next_run.wrapping_shl(self.dir_shift)
            };
            if emitted >= budget {
                break;
            }
        }
        position >> self.skip_bits
    }

    /// A random item; `None` if there is none. `random` yields uniform numbers. Items are equally
    /// likely within a segment, and segments are chosen in proportion to their share of the hashes,
    /// so that an item's chance differs by the random difference of segments' fills only.
    pub fn random(&self, random: &mut impl FnMut() -> u64) -> Option<T::Ref<'_>> {
        if self.len == 0 {
            return None;
        }
        for _ in 0..RANDOM_GUESSES {
            let segment = self.segment(self.dir_index(random()));
            if let Some(word) = random_slot(segment, random()) {
                // SAFETY: an occupied word is a live item's.
                return Some(unsafe { T::borrow(line::pointer(word)) });
            }
        }
        // A table of few items in many segments: the next one after a random place.
        let mut dir_index = self.dir_index(random());
        loop {
            let segment = self.segment(dir_index);
            let mut lines = Lines::of(segment);
            if let Some((line, bits)) = lines.find(|(_, bits)| bits.0 != 0) {
                let chosen = random() as usize % bits.0.count_ones() as usize;
                let slot = { bits }.nth(chosen)?;
                // SAFETY: as above; the line is live as long as the table is borrowed.
                return Some(unsafe { T::borrow(line::pointer((*line).0[slot])) });
            }
            dir_index = (dir_index + self.run_len(segment)) & (self.dir.len() - 1);
        }
    }

    /// Calls `f` with the expiries of up to `most` items that have one, of as many as there are if
    /// those are fewer. They are neighbours in the order of the hashes, from a random segment on:
    /// a fair sample of all.
    pub fn sample_expiries(
        &self,
        most: usize,
        random: &mut impl FnMut() -> u64,
        mut f: impl FnMut(u64),
    ) {
        if self.expires_len() == 0 {
            return;
        }
        let first = self.dir_index(random());
        let first = self.run_start(first, self.segment(first));
        let mut left = most;
        let mut dir_index = first;
        loop {
            let segment = self.segment(dir_index);
            if self.due_at(dir_index) != NO_EXPIRY {
                for (line, bits) in Lines::of(segment) {
                    for slot in bits {
                        if left == 0 {
                            return;
                        }
                        // SAFETY: the line is live, and an occupied word a live item's.
                        let expire_at_ms = unsafe {
                            let word = (*line).0[slot];
                            match line::expires(word) {
                                true => T::expire_at_ms(line::pointer(word)),
                                false => None,
                            }
                        };
                        if let Some(expire_at_ms) = expire_at_ms {
                            left -= 1;
                            f(expire_at_ms);
                        }
                    }
                }
            }
            dir_index = (dir_index + self.run_len(segment)) & (self.dir.len() - 1);
            if dir_index == first {
                return;
            }
        }
    }

    /// All items, in no useful order.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter {
            table: self,
            dir_index: 0,
            lines: None,
            line: None,
        }
    }

    /// Calls `f` with all items.
    pub fn for_each(&self, f: impl FnMut(T::Ref<'_>)) {
        self.iter().for_each(f);
    }
}

/// Calls `f` with the words in all lines that may hold items of a home line; `f` sorts out others.
fn emit_home(segment: Segment, home: usize, f: &mut impl FnMut(u64)) {
    // SAFETY: the segment is one of a borrowed table: live, and not changed.
    unsafe {
        let mut emit = |line: &Line| line.occupied().for_each(|slot| f(line.0[slot]));
        let header = segment.header();
        emit(segment.line(home));
        if (*header).in_neighbour & super::segment::bit(home) != 0 {
            emit(segment.line(home ^ 1));
        }
        if (*header).in_stash & super::segment::bit(home) != 0 {
            segment
                .stash()
                .for_each(|number| emit(segment.line(number)));
            segment.chain().for_each(|(at, _)| emit(&(*at).line));
        }
    }
}

/// The word of a random slot of a segment, if that is occupied.
fn random_slot(segment: Segment, random: u64) -> Option<u64> {
    // SAFETY: the segment is one of a borrowed table: live, and not changed.
    unsafe {
        let chained = match (*segment.header()).chain.is_null() {
            true => 0,
            false => segment.chain().count() * LINE_SLOTS,
        };
        let place = random as usize % (segment.slots() + chained);
        segment
            .slot(place)
            .map(|word| word.read())
            .filter(|&word| line::is_occupied(word))
    }
}

/// All lines of a segment with their occupied slots.
struct Lines {
    segment: Segment,
    number: usize,
    chain: ChainLines,
}

impl Lines {
    /// The segment must stay live and unchanged while the iterator is used.
    fn of(segment: Segment) -> Self {
        // SAFETY: all users borrow the table.
        let chain = unsafe { segment.chain() };
        Self {
            segment,
            number: 0,
            chain,
        }
    }
}

impl Iterator for Lines {
    type Item = (*const Line, Bits);

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: the segment is live, and lines below the stash's end exist.
        unsafe {
            let lines = self.segment.stash().end;
            let line: &Line = if self.number < lines {
                if self.number + 1 < lines {
                    prefetch_items(self.segment.line(self.number + 1));
                }
                self.segment.line(self.number)
            } else {
                &(*self.chain.next()?.0).line
            };
            self.number += 1;
            Some((line, line.occupied()))
        }
    }
}

/// See [`Table::iter`].
pub struct Iter<'a, T: Item> {
    table: &'a Table<T>,
    /// The next segment.
    dir_index: usize,
    lines: Option<Lines>,
    line: Option<(*const Line, Bits)>,
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = T::Ref<'a>;

    fn next(&mut self) -> Option<T::Ref<'a>> {
        loop {
            if let Some((line, bits)) = &mut self.line
                && let Some(slot) = bits.next()
            {
                // SAFETY: an occupied word is a live item's, and the table is borrowed for 'a.
                return Some(unsafe { T::borrow(line::pointer((**line).0[slot])) });
            }
            self.line = self.lines.as_mut().and_then(Lines::next);
            if self.line.is_none() {
                if self.dir_index >= self.table.dir.len() {
                    return None;
                }
                let segment = self.table.segment(self.dir_index);
                self.dir_index += self.table.run_len(segment);
                self.lines = Some(Lines::of(segment));
            }
        }
    }
}

impl<'a, T: Item> IntoIterator for &'a Table<T> {
    type Item = T::Ref<'a>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
