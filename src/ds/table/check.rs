//! Whether a table is what the modules promise: every line, word, code and count is looked at.

use crate::util::check::{Checked, holds};

use super::due::{self, NEVER};
use super::line::{self, LINE_SLOTS};
use super::segment::{Segment, bit, window_of_position};
use super::{Item, NO_EXPIRY, Slot, Table};

/// What the segments of a table add up to.
#[derive(PartialEq, Eq, Debug, Default)]
struct Sum {
    len: usize,
    expires_len: usize,
    segments: usize,
    deepest: usize,
    segment_bytes: usize,
    code_bytes: usize,
}

/// What a segment holds.
struct Held {
    len: usize,
    expires_len: usize,
    least_ms: u64,
    in_neighbour: u64,
    in_stash: u64,
}

impl<T: Item> Table<T> {
    /// Looks at all of the table.
    ///
    /// # Errors
    /// The first thing that is not as it should be.
    pub fn check(&self) -> Checked {
        let bits = u64::BITS - self.dir_shift;
        let dir_len = self.dir.len();
        holds!(
            dir_len == 0 || dir_len >= 2 && dir_len == 1 << bits,
            "a directory of {dir_len} with {bits} bits"
        );
        let (mut sum, mut least_ms) = (Sum::default(), NO_EXPIRY);
        let mut dir_index = 0;
        while dir_index < dir_len {
            let segment = self.segment(dir_index);
            let run = self.run_len(segment);
            let is_run = self.dir[dir_index..][..run]
                .iter()
                .all(|other| *other == segment);
            holds!(
                dir_index % run == 0 && is_run,
                "the run of {run} at {dir_index}"
            );
            let held = self.check_segment(dir_index)?;
            self.check_due(dir_index, run, &held)?;
            sum.segments += 1;
            sum.deepest += usize::from(segment.depth() == bits);
            sum.len += held.len;
            sum.expires_len += held.expires_len;
            // SAFETY: the segment is live.
            unsafe {
                sum.segment_bytes += segment.memory_bytes();
                sum.code_bytes += segment.code_bytes();
            }
            least_ms = least_ms.min(held.least_ms);
            dir_index += run;
        }
        let next_ms = self.next_expire_at_ms;
        holds!(
            next_ms <= least_ms,
            "nothing expires before {next_ms}, but something does at {least_ms}"
        );
        holds!(
            sum.expires_len > 0 || next_ms == NO_EXPIRY,
            "something expires at {next_ms}, but nothing does"
        );
        let said = Sum {
            len: self.len,
            expires_len: self.expires_len,
            segments: self.segments,
            deepest: self.deepest,
            segment_bytes: self.segment_bytes,
            code_bytes: self.code_bytes,
        };
        holds!(sum == said, "{said:?} is {sum:?}");
        Ok(())
    }

    /// The bound of a segment's expiries.
    fn check_due(&self, dir_index: usize, run: usize, held: &Held) -> Checked {
        if self.due_at_ms.is_empty() {
            holds!(held.expires_len == 0, "expiries without bounds");
            return Ok(());
        }
        let (due_at_ms, least_ms) = (self.due_at_ms[dir_index], held.least_ms);
        holds!(
            due_at_ms <= least_ms && (held.expires_len > 0 || due_at_ms == NO_EXPIRY),
            "a segment is due at {due_at_ms}, not {least_ms}"
        );
        let mut others = self.due_at_ms[dir_index + 1..dir_index + run].iter();
        holds!(
            others.all(|&at_ms| at_ms == NO_EXPIRY),
            "two bounds for the segment at {dir_index}"
        );
        Ok(())
    }

    fn check_segment(&self, dir_index: usize) -> Checked<Held> {
        let segment = self.segment(dir_index);
        let mut held = Held {
            len: 0,
            expires_len: 0,
            least_ms: NO_EXPIRY,
            in_neighbour: 0,
            in_stash: 0,
        };
        // SAFETY: the segment is live, and nobody changes it while the table is borrowed.
        unsafe {
            let header = &*segment.header();
            let chained = segment.chain().count() * LINE_SLOTS;
            for place in 0..segment.slots() + chained {
                let slot = Slot::new(dir_index, place);
                self.check_slot(slot, segment, &mut held)?;
            }
            let bits = (held.in_neighbour, held.in_stash);
            holds!(
                (header.in_neighbour, header.in_stash) == bits,
                "bits of displaced items"
            );
            let lens = (header.len as usize, header.expires_len as usize);
            holds!(
                lens == (held.len, held.expires_len),
                "{lens:?} items of a segment are {:?}",
                (held.len, held.expires_len)
            );
            holds!(
                held.expires_len > 0 || header.codes.is_null(),
                "codes of nothing"
            );
            // No chain line is empty, and only the first has holes.
            for (number, (at, _)) in segment.chain().enumerate() {
                let occupied = (*at).line.occupied().0;
                holds!(
                    occupied != 0 && (number == 0 || occupied == 0xFF),
                    "line {number} of a chain has {occupied:b}"
                );
            }
        }
        Ok(held)
    }

    /// # Safety
    /// The segment is that of the slot, which it has.
    unsafe fn check_slot(&self, slot: Slot, segment: Segment, held: &mut Held) -> Checked {
        let place = slot.place as usize;
        // SAFETY: the caller's; the word of an occupied slot is a live item's.
        unsafe {
            let word = segment.slot(place).map_or(0, |word| word.read());
            let code = segment.code(place).map_or(NEVER, |code| code.read());
            if !line::is_occupied(word) {
                holds!(code == NEVER, "an empty slot has a code");
                return Ok(());
            }
            held.len += 1;
            let raw = line::pointer(word);
            let hash = T::hash(raw, &self.key_hash);
            let key = || T::key(raw).escape_ascii();
            let position = self.position(hash);
            let home = segment.home_of(position);
            holds!(
                self.dir[self.dir_index(position)] == segment
                    && line::window(word) == window_of_position(position, segment.depth())
                    && segment.home_of_word(word) == home,
                "{} is not where its hash leads to",
                key()
            );
            // Found, and no other with this key before it.
            let found = self.find(hash, T::key(raw));
            let is_it = found.is_some_and(|at| self.word(at).read() == word);
            holds!(is_it, "{} is not found", key());
            let number = place / LINE_SLOTS;
            if number >= segment.homes() as usize {
                held.in_stash |= bit(home);
            } else if number != home {
                holds!(number == home ^ 1, "{} is in a strange line", key());
                held.in_neighbour |= bit(home);
            }
            let is_stamped = word & line::STAMP == self.stamp;
            holds!(
                is_stamped || self.is_saving(),
                "{} is unsaved, and there is no snapshot",
                key()
            );
            let expire_at_ms = T::expire_at_ms(raw);
            holds!(
                line::expires(word) == expire_at_ms.is_some()
                    && (code != NEVER) == expire_at_ms.is_some(),
                "{} expires at {expire_at_ms:?}, not so its word or code",
                key()
            );
            let Some(expire_at_ms) = expire_at_ms else {
                return Ok(());
            };
            held.expires_len += 1;
            held.least_ms = held.least_ms.min(expire_at_ms);
            let base_ms = (*segment.header()).codes_base_ms;
            holds!(
                code == due::DUE_AT_BASE
                    || base_ms.saturating_add(due::decode(code)) <= expire_at_ms,
                "the code of {} says later than {expire_at_ms}",
                key()
            );
            Ok(())
        }
    }
}
