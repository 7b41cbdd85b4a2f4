//! How a snapshot walks a table that goes on changing.
//!
//! Every slot's word has a *stamp*, one bit. Between snapshots all items have the table's stamp. A
//! snapshot begins by turning the table's stamp around, which makes all items *unsaved* in one
//! instant, however many there are. The walk ([`Table::save_slice`]) hands unsaved items out and
//! stamps them; what is inserted is stamped from the start, since it is not part of the snapshot.
//! An unsaved item that is about to change has to be handed out before. Who sees to that:
//!
//! - the owner of the table, item by item ([`Table::begin_save`], [`Table::is_saved`]): the keyspace,
//!   which has to look at what a key's value is;
//! - the table itself ([`Table::begin_kept_save`]): it keeps copies of what changes, which the walk
//!   hands out later. If such a table is dropped before the walk has come to its end, it goes to its
//!   [`Heir`] instead, where the walk goes on.
//!
//! The walk goes through lines in the order of positions, always pairs of neighbours together and
//! first the segment's overflow: an item moves only within its pair, or there from the overflow, or
//! with a whole segment in the order of positions. So everything before the cursor is saved, whatever
//! happens between two slices.
//!
//! Invariant: while no snapshot is going on, all words have the table's stamp.

use std::sync::Arc;

use parking_lot::Mutex;

use super::line::{self, Line};
use super::segment::Segment;
use super::{Item, Slot, Table, prefetch_items};

#[cfg(test)]
mod tests;

/// Where a table goes that is dropped while it is being saved.
pub type Heir<T> = Arc<Mutex<Option<Table<T>>>>;

/// Whether a snapshot of a table is going on.
pub(super) enum Saving<T: Item> {
    No,
    /// The owner hands out what is about to change.
    Watched,
    /// The table keeps what changes.
    Kept(Box<Kept<T>>),
}

/// See [`Table::begin_kept_save`].
pub(super) struct Kept<T: Item> {
    /// Copies of items that have changed since.
    old: Vec<T>,
    heir: Heir<T>,
}

impl<T: Item> Table<T> {
    /// Begins a snapshot: all items are unsaved now. Whoever changes or removes one has to save it
    /// before (in debug builds the table checks that), or, if the item is a value of its own that
    /// leaves the table, after.
    pub fn begin_save(&mut self) {
        debug_assert!(!self.is_saving(), "one snapshot at a time");
        self.stamp ^= line::STAMP;
        self.saving = Saving::Watched;
    }

    /// Begins a snapshot of a table that keeps what changes by itself.
    pub fn begin_kept_save(&mut self) -> Heir<T> {
        debug_assert!(!self.is_saving(), "one snapshot at a time");
        self.stamp ^= line::STAMP;
        let heir = Heir::default();
        self.saving = Saving::Kept(Box::new(Kept {
            old: Vec::new(),
            heir: heir.clone(),
        }));
        heir
    }

    /// Ends a snapshot whose walk has come to its end.
    pub fn end_save(&mut self) {
        self.saving = Saving::No;
    }

    /// Whether a snapshot of this table is going on.
    #[inline]
    pub fn is_saving(&self) -> bool {
        !matches!(self.saving, Saving::No)
    }

    /// Whether a snapshot is going on whose owner hands out what changes.
    pub(super) fn is_watched(&self) -> bool {
        matches!(self.saving, Saving::Watched)
    }

    /// Whether this is the heir's table: the snapshot that is going on is the one that `heir` came
    /// from.
    pub fn is_saved_for(&self, heir: &Heir<T>) -> bool {
        matches!(&self.saving, Saving::Kept(kept) if Arc::ptr_eq(&kept.heir, heir))
    }

    /// Which snapshot of this table is going on, if the table keeps what changes: a number that no
    /// other one has meanwhile.
    pub fn saving_id(&self) -> Option<usize> {
        match &self.saving {
            Saving::Kept(kept) => Some(Arc::as_ptr(&kept.heir).addr()),
            Saving::Watched | Saving::No => None,
        }
    }

    /// Whether the item in a slot has been saved, or needs not be.
    #[inline]
    pub fn is_saved(&self, slot: Slot) -> bool {
        // SAFETY: `word` returns a live slot.
        let word = unsafe { self.word(slot).read() };
        word & line::STAMP == self.stamp
    }

    /// Notes that the item in a slot has been saved.
    pub fn set_saved(&mut self, slot: Slot) {
        let word = self.word(slot);
        // SAFETY: `word` returns a live slot, and nobody else uses it.
        unsafe { word.write(line::with_stamp(word.read(), self.stamp)) }
    }

    /// Keeps the item in a slot that is about to change, if it is unsaved.
    #[inline]
    pub(super) fn keep(&mut self, slot: Slot) {
        if self.is_saving() {
            self.keep_unsaved(slot);
        }
    }

    #[cold]
    fn keep_unsaved(&mut self, slot: Slot) {
        if self.is_saved(slot) {
            return;
        }
        // SAFETY: the slot is occupied.
        unsafe { self.keep_word(self.word(slot).read()) }
        self.set_saved(slot);
    }

    /// Keeps a copy of the item of an unsaved word.
    ///
    /// # Safety
    /// The word is that of a live item.
    pub(super) unsafe fn keep_word(&mut self, word: u64) {
        match &mut self.saving {
            // SAFETY: the caller's.
            Saving::Kept(kept) => kept.old.push(unsafe { T::duplicate(line::pointer(word)) }),
            Saving::Watched => debug_assert!(false, "an item was changed before it was saved"),
            Saving::No => debug_assert!(false, "an item without the table's stamp"),
        }
    }

    /// Hands out unsaved items from `cursor` on, first those that were kept, until `budget` of them
    /// were handed out or so; at most some 40 more. Returns the cursor to go on from (the first is
    /// 0); `None` at the end, when no item is unsaved any more.
    pub fn save_slice(
        &mut self,
        cursor: u64,
        budget: usize,
        f: &mut impl FnMut(T::Ref<'_>),
    ) -> Option<u64> {
        let mut given = self.hand_out_kept(budget, f);
        if self.has_kept() {
            return Some(cursor);
        }
        if self.len == 0 {
            return None;
        }
        let mut position = self.position(cursor);
        loop {
            let dir_index = self.dir_index(position);
            let segment = self.segment(dir_index);
            let run_start = self.run_start(dir_index, segment) as u64;
            let segment_start = run_start.wrapping_shl(self.dir_shift);
            let homes = segment.homes() as usize;
            // SAFETY: the segment is live, its lines exist, and nobody else uses them.
            unsafe {
                given += save_overflow::<T>(segment, self.stamp, f);
                let mut home = segment.home_of(position) & !1;
                while home < homes {
                    if given >= budget {
                        let next = segment_start | segment.home_start(home);
                        return Some(next >> self.skip_bits);
                    }
                    if home + 3 < homes {
                        prefetch_items(segment.line(home + 2));
                        prefetch_items(segment.line(home + 3));
                    }
                    given += save_line::<T>(segment.line_mut(home), self.stamp, f);
                    given += save_line::<T>(segment.line_mut(home + 1), self.stamp, f);
                    home += 2;
                }
            }
            let next_run = run_start + self.run_len(segment) as u64;
            if next_run == self.dir.len() as u64 {
                return None;
            }
            position = next_run.wrapping_shl(self.dir_shift);
        }
    }

    fn has_kept(&self) -> bool {
        matches!(&self.saving, Saving::Kept(kept) if !kept.old.is_empty())
    }

    /// Hands out so many of what was kept: one command may have kept millions.
    fn hand_out_kept(&mut self, budget: usize, f: &mut impl FnMut(T::Ref<'_>)) -> usize {
        let Saving::Kept(kept) = &mut self.saving else {
            return 0;
        };
        let old = match kept.old.len().checked_sub(budget) {
            None | Some(0) => std::mem::take(&mut kept.old),
            Some(left) => kept.old.split_off(left),
        };
        let given = old.len();
        for item in old {
            let raw = item.into_raw();
            // SAFETY: just given up, and taken back below.
            unsafe {
                f(T::borrow(raw));
                drop(T::from_raw(raw));
            }
        }
        given
    }

    /// Leaves everything to the heir, if there is one.
    #[cold]
    pub(super) fn bequeath(&mut self) {
        let empty = Table::new(self.skip_bits, self.key_hash);
        let mut rest = std::mem::replace(self, empty);
        if let Saving::Kept(kept) = &mut rest.saving {
            // The table must not hold the heir that holds it.
            let heir = std::mem::take(&mut kept.heir);
            // A walk that was given up has no use for it.
            if Arc::strong_count(&heir) > 1 {
                *heir.lock() = Some(rest);
                return;
            }
        }
        rest.saving = Saving::No;
    }
}

/// Hands out the unsaved items of a line.
#[inline]
fn save_line<T: Item>(line: &mut Line, stamp: u64, f: &mut impl FnMut(T::Ref<'_>)) -> usize {
    let mut given = 0;
    for slot in line.occupied() {
        let word = line.0[slot];
        if word & line::STAMP != stamp {
            line.0[slot] = line::with_stamp(word, stamp);
            // SAFETY: an occupied word is a live item's.
            f(unsafe { T::borrow(line::pointer(word)) });
            given += 1;
        }
    }
    given
}

/// Hands out the unsaved items of stash and chain.
///
/// # Safety
/// The segment is live, and nobody else uses it.
unsafe fn save_overflow<T: Item>(
    segment: Segment,
    stamp: u64,
    f: &mut impl FnMut(T::Ref<'_>),
) -> usize {
    let mut given = 0;
    // SAFETY: the caller's.
    unsafe {
        for number in segment.stash() {
            given += save_line::<T>(segment.line_mut(number), stamp, f);
        }
        for (at, _) in segment.chain() {
            given += save_line::<T>(&mut (*at).line, stamp, f);
        }
    }
    given
}
