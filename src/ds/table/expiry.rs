//! The expiry index: which items are due, without looking at those that aren't.
//!
//! Three levels, each a lower bound of what is below: `next_expire_at_ms` of the table, `due_at_ms`
//! of each segment, and the due code of each item ([`due`]). Bounds are lowered at once when an
//! expiry appears, and raised only when `take_expired` has looked: removing or extending an expiry
//! costs nothing but a needless look at its segment later, which reads 2 bytes per slot.
//!
//! The codes of a segment are relative to a base, the time when they were made or last moved. When
//! a segment is looked at long after, its base moves on, so that the codes of what is due soon are
//! exact enough: never more than `REBASE_AFTER_MS` / 2048 early.

use super::due::{self, NEVER};
use super::grow::rebase;
use super::line::{self, Bits, LINE_SLOTS, prefetch};
use super::segment::{Loose, Segment, bit};
use super::{Item, NO_EXPIRY, Slot, Table};

/// The base of codes made before the table was ever told the time lies this far before the first
/// expiry.
const UNKNOWN_NOW_MS: u64 = 3_600_000;
/// A base older than this is moved on. Moving costs some 2 us per segment.
const REBASE_AFTER_MS: u64 = 1 << 16;
/// Due items looked at together, so that their cache misses overlap.
const BATCH: usize = 32;

impl<T: Item> Table<T> {
    /// A lower bound of all expiries, in milliseconds of the Unix epoch: there is nothing to do for
    /// [`Self::take_expired`] before. [`NO_EXPIRY`] if no item expires.
    #[inline]
    pub fn next_expire_at_ms(&self) -> u64 {
        self.next_expire_at_ms
    }

    /// Tells the table the time without expiring anything. Worth a call before items with an expiry
    /// are loaded into a new table, whose index is else made relative to a guess.
    pub fn set_clock_ms(&mut self, now_ms: u64) {
        self.clock_ms = now_ms;
    }

    /// Takes out items that expire at `now_ms` or before, up to `budget` of them, and hands them to
    /// `f`. Returns how many; fewer than `budget` means that there are no more. Slots are invalid
    /// afterwards.
    #[inline]
    pub fn take_expired(&mut self, now_ms: u64, budget: usize, f: &mut impl FnMut(T)) -> usize {
        self.take_expired_unsaved(now_ms, budget, &mut |item, _| f(item))
    }

    /// As [`Self::take_expired`]; `f` also learns whether the item still has to be saved, which a
    /// table that keeps what changes does by itself.
    #[inline]
    pub fn take_expired_unsaved(
        &mut self,
        now_ms: u64,
        budget: usize,
        f: &mut impl FnMut(T, bool),
    ) -> usize {
        // NO_EXPIRY is never reached.
        let now_ms = now_ms.min(NO_EXPIRY - 1);
        self.take_expiring_until((now_ms, now_ms), budget, f)
    }

    /// Takes out items that expire at `until_ms` or before although that is not yet due: it is
    /// `now_ms`. Else as [`Self::take_expired_unsaved`]. Of what expires at nearly the same time
    /// (`until_ms` included) any may come first.
    #[inline]
    pub fn take_expiring_until(
        &mut self,
        (now_ms, until_ms): (u64, u64),
        budget: usize,
        f: &mut impl FnMut(T, bool),
    ) -> usize {
        let until_ms = until_ms.min(NO_EXPIRY - 1);
        self.clock_ms = now_ms;
        match until_ms < self.next_expire_at_ms {
            true => 0,
            false => self.take_due(until_ms, budget, f),
        }
    }

    #[cold]
    fn take_due(&mut self, now_ms: u64, budget: usize, f: &mut impl FnMut(T, bool)) -> usize {
        let mut taken = 0;
        // Segments are visited round robin from where the last call stopped. Halving the directory
        // on the way moves later segments to lower indices, and so does merging: the round starts
        // again.
        let mut visited = 0;
        let mut next_expire_at_ms = NO_EXPIRY;
        let mut dir_index = self.due_cursor;
        while visited < self.due_at_ms.len() {
            if dir_index >= self.due_at_ms.len() {
                dir_index = 0;
            }
            if self.due_at_ms[dir_index] <= now_ms {
                if taken >= budget {
                    self.due_cursor = dir_index;
                    return taken;
                }
                let dir_len = self.dir.len();
                taken += self.take_due_of_segment(dir_index, now_ms, budget - taken, f);
                if self.due_at_ms[dir_index] <= now_ms {
                    continue;
                }
                // Shrinking may merge this segment with one that was or will be visited.
                next_expire_at_ms = next_expire_at_ms.min(self.due_at_ms[dir_index]);
                self.shrink(dir_index);
                if self.dir.len() != dir_len {
                    (visited, dir_index, next_expire_at_ms) = (0, 0, NO_EXPIRY);
                    continue;
                }
                // Behind a buddy to the left there may have been one to the right of both.
                let run_start = self.run_start(dir_index, self.segment(dir_index));
                if run_start < dir_index {
                    (visited, dir_index, next_expire_at_ms) = (0, run_start, NO_EXPIRY);
                    continue;
                }
                if self.due_at_ms[dir_index] <= now_ms {
                    continue;
                }
            }
            next_expire_at_ms = next_expire_at_ms.min(self.due_at_ms[dir_index]);
            visited += 1;
            dir_index += 1;
        }
        self.due_cursor = dir_index;
        self.next_expire_at_ms = next_expire_at_ms;
        taken
    }

    /// Takes the due items out of one segment. Leaves `due_at_ms` at or below `now_ms` only if the
    /// budget ended first.
    fn take_due_of_segment(
        &mut self,
        dir_index: usize,
        now_ms: u64,
        budget: usize,
        f: &mut impl FnMut(T, bool),
    ) -> usize {
        let segment = self.segment(dir_index);
        let mut taken = 0;
        // SAFETY: the segment is live, and nothing here frees or replaces it. `f` gets only items,
        // and can't reach the table.
        unsafe {
            // What is taken may be due in future: codes stay relative to the present.
            let base_ms = base_at::<T>(segment, self.clock_ms.min(NO_EXPIRY - 1));
            let limit = due::encode(now_ms.saturating_sub(base_ms));
            // What is not due, but has the code of what is.
            let mut due_soon_ms = NO_EXPIRY;
            let mut homes = 0;
            let mut first = 0;
            let mut places = [0; BATCH];
            loop {
                let (found, next) = find_due(segment, limit, first, &mut places);
                first = next;
                for &place in &places[..found] {
                    let word = segment.slot(place).expect("found above").read();
                    prefetch(line::pointer(word).as_ptr());
                }
                for &place in &places[..found] {
                    let word = segment.slot(place).expect("found above").read();
                    let raw = line::pointer(word);
                    let expire_at_ms = T::expire_at_ms(raw).unwrap_or(NO_EXPIRY);
                    if expire_at_ms > now_ms {
                        let code = due::encode(expire_at_ms.saturating_sub(base_ms));
                        segment.code(place).expect("the item expires").write(code);
                        due_soon_ms = due_soon_ms.min(expire_at_ms);
                    } else if taken < budget {
                        let is_unsaved = word & line::STAMP != self.stamp;
                        if is_unsaved && !self.is_watched() {
                            self.keep_word(word);
                        }
                        homes |= segment.take_in_place(place);
                        self.len -= 1;
                        self.expires_len -= 1;
                        taken += 1;
                        f(T::from_raw(raw), is_unsaved);
                    } else {
                        self.tidy(segment, homes);
                        return taken;
                    }
                }
                if found < BATCH {
                    break;
                }
            }
            self.tidy(segment, homes);
            let due_at_ms = due_soon_ms.min(due_after(segment, limit));
            self.set_due_at(self.run_start(dir_index, segment), due_at_ms);
            self.drop_index_if_unused(dir_index);
        }
        taken
    }

    /// Puts a segment in order after items of the given homes were taken in place.
    ///
    /// # Safety
    /// The segment is live.
    unsafe fn tidy(&mut self, segment: Segment, homes: u64) {
        // SAFETY: the caller's.
        unsafe {
            let bytes = segment.memory_bytes();
            segment.tidy_overflow(homes);
            self.segment_bytes = self.segment_bytes - bytes + segment.memory_bytes();
        }
    }

    /// Notes the expiry of an item whose word has the expiry bit and was counted.
    pub(super) fn index_expiry(&mut self, slot: Slot, expire_at_ms: u64) {
        let dir_index = slot.dir_index as usize;
        let segment = self.segment(dir_index);
        // SAFETY: the segment is live, and the slot one of its occupied ones.
        unsafe {
            let header = segment.header();
            if (*header).codes.is_null() {
                let bytes = segment.memory_bytes();
                segment.make_codes(match self.clock_ms {
                    0 => expire_at_ms.saturating_sub(UNKNOWN_NOW_MS),
                    clock_ms => clock_ms,
                });
                self.segment_bytes = self.segment_bytes - bytes + segment.memory_bytes();
                self.code_bytes += segment.code_bytes();
            }
            let code = due::encode(expire_at_ms.saturating_sub((*header).codes_base_ms));
            segment
                .code(slot.place as usize)
                .expect("made above")
                .write(code);
        }
        let run_start = self.run_start(dir_index, segment);
        if expire_at_ms < self.due_at(run_start) {
            self.set_due_at(run_start, expire_at_ms);
        }
        self.next_expire_at_ms = self.next_expire_at_ms.min(expire_at_ms);
    }

    /// Notes that an item's expiry changed, after its word was written.
    #[inline]
    pub(super) fn reindex_expiry(&mut self, slot: Slot, before: bool, expire_at_ms: Option<u64>) {
        if before || expire_at_ms.is_some() {
            self.reindex_changed(slot, before, expire_at_ms);
        }
    }

    fn reindex_changed(&mut self, slot: Slot, before: bool, expire_at_ms: Option<u64>) {
        let dir_index = slot.dir_index as usize;
        let segment = self.segment(dir_index);
        let after = expire_at_ms.is_some();
        // SAFETY: the segment is live, and the slot one of its occupied ones.
        unsafe {
            let header = segment.header();
            (*header).expires_len = (*header).expires_len - u32::from(before) + u32::from(after);
            self.expires_len = self.expires_len - usize::from(before) + usize::from(after);
            match expire_at_ms {
                Some(expire_at_ms) => self.index_expiry(slot, expire_at_ms),
                None => {
                    segment
                        .code(slot.place as usize)
                        .expect("it had one")
                        .write(NEVER);
                    self.drop_index_if_unused(dir_index);
                }
            }
        }
    }

    /// Gives a segment's codes back if none of its items expires.
    pub(super) fn drop_index_if_unused(&mut self, dir_index: usize) {
        let segment = self.segment(dir_index);
        // SAFETY: the segment is live, and no item needs the codes.
        unsafe {
            if (*segment.header()).expires_len == 0 {
                let bytes = segment.memory_bytes();
                self.code_bytes -= segment.code_bytes();
                segment.drop_codes();
                self.segment_bytes = self.segment_bytes - bytes + segment.memory_bytes();
                self.set_due_at(self.run_start(dir_index, segment), NO_EXPIRY);
                if self.expires_len == 0 {
                    self.next_expire_at_ms = NO_EXPIRY;
                }
            }
        }
    }

    /// The bound of the segment whose run starts here.
    #[inline]
    pub(super) fn due_at(&self, run_start: usize) -> u64 {
        self.due_at_ms.get(run_start).copied().unwrap_or(NO_EXPIRY)
    }

    /// Sets the bound of the segment whose run starts here.
    #[inline]
    pub(super) fn set_due_at(&mut self, run_start: usize, due_at_ms: u64) {
        if let Some(slot) = self.due_at_ms.get_mut(run_start) {
            *slot = due_at_ms;
        } else if due_at_ms != NO_EXPIRY {
            self.due_at_ms = vec![NO_EXPIRY; self.dir.len()];
            self.due_at_ms[run_start] = due_at_ms;
        }
    }
}

/// Calls `f` with every code of a segment.
///
/// # Safety
/// The segment is live.
#[inline]
unsafe fn for_each_code(segment: Segment, mut f: impl FnMut(&mut i16)) {
    // SAFETY: the caller's.
    unsafe {
        segment.codes().iter_mut().flatten().for_each(&mut f);
        segment
            .chain()
            .for_each(|(at, _)| (*at).codes.iter_mut().for_each(&mut f));
    }
}

/// The base of a segment's codes, not after `now_ms` and not so long before it that codes get coarse.
///
/// # Safety
/// The segment is live.
unsafe fn base_at<T: Item>(segment: Segment, now_ms: u64) -> u64 {
    // SAFETY: the caller's.
    unsafe {
        let header = segment.header();
        if now_ms < (*header).codes_base_ms {
            make_codes_anew::<T>(segment, now_ms);
        } else if now_ms - (*header).codes_base_ms >= REBASE_AFTER_MS {
            let delta_ms = now_ms - (*header).codes_base_ms;
            (*header).codes_base_ms = now_ms;
            for_each_code(segment, |code| *code = rebase(*code, delta_ms));
        }
        (*header).codes_base_ms
    }
}

/// Makes all codes of a segment from the items, relative to an earlier time: the clock went back.
///
/// # Safety
/// The segment is live.
unsafe fn make_codes_anew<T: Item>(segment: Segment, base_ms: u64) {
    // SAFETY: the caller's; every occupied word is a live item's.
    unsafe {
        (*segment.header()).codes_base_ms = base_ms;
        let code_of = |word: u64| {
            let expires = line::is_occupied(word) && line::expires(word);
            let expire_at_ms = expires.then(|| T::expire_at_ms(line::pointer(word)));
            expire_at_ms
                .flatten()
                .map_or(NEVER, |at_ms| due::encode(at_ms.saturating_sub(base_ms)))
        };
        for (place, code) in segment.codes().iter_mut().flatten().enumerate() {
            *code = code_of(segment.line(place / LINE_SLOTS).0[place % LINE_SLOTS]);
        }
        for (at, _) in segment.chain() {
            let chained = &mut *at;
            for (code, word) in chained.codes.iter_mut().zip(chained.line.0) {
                *code = code_of(word);
            }
        }
    }
}

/// A lower bound of the expiries whose codes are above `limit`.
///
/// # Safety
/// The segment is live.
unsafe fn due_after(segment: Segment, limit: i16) -> u64 {
    // SAFETY: the caller's.
    unsafe {
        let mut least = due::least_above(segment.codes(), limit);
        for (at, _) in segment.chain() {
            least = least.min(due::least_above(&[(*at).codes], limit));
        }
        match least {
            NEVER => NO_EXPIRY,
            code => (*segment.header())
                .codes_base_ms
                .saturating_add(due::decode(code)),
        }
    }
}

/// Fills `places` with places from `first` on whose codes are at most `limit`. Returns how many
/// there are, and where to go on.
///
/// # Safety
/// The segment is live.
unsafe fn find_due(
    segment: Segment,
    limit: i16,
    first: usize,
    places: &mut [usize; BATCH],
) -> (usize, usize) {
    // SAFETY: the caller's.
    let (codes, chain) = unsafe { (segment.codes(), segment.chain()) };
    let lines = segment.stash().end;
    let groups = codes.iter().enumerate().skip(first / LINE_SLOTS);
    let chained = chain.enumerate().map(|(number, (at, _))| {
        // SAFETY: the caller's; chain lines are live.
        (lines + number, unsafe { &(*at).codes })
    });
    let mut found = 0;
    for (number, codes) in groups.chain(chained) {
        let due = due::at_most(codes, limit);
        if due == 0 {
            continue;
        }
        for slot in Bits(due) {
            let place = number * LINE_SLOTS + slot;
            if place >= first {
                if found == BATCH {
                    return (found, place);
                }
                places[found] = place;
                found += 1;
            }
        }
    }
    (found, usize::MAX)
}

impl Segment {
    /// Takes the item at a place out and leaves a hole; [`Self::tidy_overflow`] must follow.
    /// Returns the bit of its home.
    ///
    /// # Safety
    /// The segment is live, and the place occupied by an item that expires.
    unsafe fn take_in_place(self, place: usize) -> u64 {
        // SAFETY: the caller's.
        unsafe {
            let header = self.header();
            let word = self.slot(place).expect("occupied").replace(0);
            self.code(place).expect("it expires").write(NEVER);
            (*header).len -= 1;
            (*header).expires_len -= 1;
            bit(self.home_of_word(word))
        }
    }

    /// Recomputes which of the given homes have items elsewhere, and closes the holes of the chain.
    ///
    /// # Safety
    /// The segment is live.
    unsafe fn tidy_overflow(self, mut homes: u64) {
        // SAFETY: the caller's.
        unsafe {
            let header = self.header();
            if homes != 0 && !(*header).chain.is_null() {
                self.close_chain();
            }
            homes &= (*header).in_neighbour | (*header).in_stash;
            while homes != 0 {
                self.recheck(homes.trailing_zeros() as usize);
                homes &= homes - 1;
            }
        }
    }

    /// Builds the chain anew without holes.
    ///
    /// # Safety
    /// The segment is live.
    unsafe fn close_chain(self) {
        let mut items = Vec::new();
        // SAFETY: the caller's.
        unsafe {
            let header = self.header();
            for (at, _) in self.chain() {
                let chained = &*at;
                items.extend(chained.line.occupied().map(|slot| Loose {
                    word: chained.line.0[slot],
                    code: chained.codes[slot],
                }));
            }
            self.free_chain();
            for item in items {
                (*header).len -= 1;
                (*header).expires_len -= u32::from(line::expires(item.word));
                self.place_in_chain(item);
            }
        }
    }
}
