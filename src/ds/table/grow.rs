//! How a table grows and shrinks, one segment at a time.
//!
//! A segment that can't take an item is rebuilt in the next size; one of the largest size splits;
//! one that may not split any deeper gets a chain. A segment that has become too empty merges with
//! its buddy if that leaves room to grow, else it is rebuilt smaller.
//!
//! The limit on depth is what makes colliding hashes harmless: the directory doubles only while it
//! is not much larger than the number of segments, which random hashes never come near.

use super::due::{self, DUE_AT_BASE, NEVER};
use super::line::{self, prefetch};
use super::segment::{self, Loose, Segment};
use super::{Item, NO_EXPIRY, Table};

/// The directory may have this many slots per segment before it stops doubling.
const DIR_SLOTS_PER_SEGMENT: usize = 16;
/// Directory bits plus skip bits are at most this, so that the low 16 bits of a scan cursor are 0.
const POSITION_BITS_MAX: u32 = 33;
/// A segment emptier than this shrinks.
const SHRINK_BELOW_PERCENT: usize = 35;
/// Buddies with at most this many items merge: 60 % of the largest segment.
const MERGED_LEN_MAX: usize = 300;
/// How far ahead items are prefetched while a segment is rehashed.
const REHASH_AHEAD: usize = 16;

impl<T: Item> Table<T> {
    /// Makes room in a segment. False if it has the full size and can't be split.
    #[cold]
    pub(super) fn grow(&mut self, dir_index: usize) -> bool {
        let segment = self.segment(dir_index);
        if let Some(homes) = segment::homes_above(segment.homes()) {
            self.resize(dir_index, homes);
            return true;
        }
        if segment.depth() == self.dir_bits() {
            let allowed = self.dir_bits() + self.skip_bits < POSITION_BITS_MAX
                && self.dir.len() < self.segments * DIR_SLOTS_PER_SEGMENT;
            if !allowed {
                return false;
            }
            self.double_dir();
            self.split(dir_index * 2);
        } else {
            self.split(dir_index);
        }
        true
    }

    /// Shrinks a segment if it has become too empty.
    #[inline]
    pub(super) fn shrink(&mut self, dir_index: usize) {
        let segment = self.segment(dir_index);
        // SAFETY: the segment is live.
        let len = unsafe { (*segment.header()).len } as usize;
        if len * 100 < segment.slots() * SHRINK_BELOW_PERCENT {
            self.shrink_sparse(dir_index);
        }
    }

    #[cold]
    fn shrink_sparse(&mut self, mut dir_index: usize) {
        loop {
            let segment = self.segment(dir_index);
            let len = self.segment_len(dir_index);
            if len * 100 >= segment.slots() * SHRINK_BELOW_PERCENT {
                return;
            }
            let run_start = self.run_start(dir_index, segment);
            let buddy_at = run_start ^ self.run_len(segment);
            let merges = segment.depth() > 0
                && self.segment(buddy_at).depth() == segment.depth()
                && len + self.segment_len(buddy_at) <= MERGED_LEN_MAX;
            if !merges {
                let homes = segment::homes_for(len);
                if homes < segment.homes() {
                    self.resize(dir_index, homes);
                }
                return;
            }
            dir_index = run_start & buddy_at;
            self.merge(dir_index, run_start | buddy_at);
            while self.deepest == 0 && self.dir.len() > 2 {
                self.halve_dir();
                dir_index /= 2;
            }
        }
    }

    fn segment_len(&self, dir_index: usize) -> usize {
        // SAFETY: the segment is live.
        unsafe { (*self.segment(dir_index).header()).len as usize }
    }

    fn dir_bits(&self) -> u32 {
        u64::BITS - self.dir_shift
    }

    /// Rebuilds a segment with at least `homes` home lines.
    pub(super) fn resize(&mut self, dir_index: usize, homes: u32) {
        let old = self.segment(dir_index);
        let run_start = self.run_start(dir_index, old);
        let mut items = Vec::new();
        // SAFETY: the segment is live until it is freed below, after its items were gathered.
        unsafe {
            old.gather(&mut items);
            let new = Segment::build(old.depth(), homes, &items, (*old.header()).codes_base_ms);
            self.show(run_start, new);
            self.free_segment(old);
        }
    }

    /// Splits a segment that is less deep than the directory.
    fn split(&mut self, dir_index: usize) {
        let old = self.segment(dir_index);
        let depth = old.depth() + 1;
        debug_assert!(depth <= self.dir_bits());
        let run_start = self.run_start(dir_index, old);
        let run_len = self.run_len(old);
        let mut items = Vec::new();
        // SAFETY: the segment is live until it is freed below, after its items were gathered.
        unsafe {
            old.gather(&mut items);
            // The right items go to the end. The order within the halves means nothing.
            let mut left_len = 0;
            for i in 0..items.len() {
                if !segment::splits_right(line::window(items[i].word), old.depth()) {
                    items.swap(i, left_len);
                    left_len += 1;
                }
            }
            if segment::base_of_depth(depth) != segment::base_of_depth(old.depth()) {
                self.move_windows(&mut items, depth);
            }
            let base_ms = (*old.header()).codes_base_ms;
            let due_at_ms = self.due_at(run_start);
            let halves = [&items[..left_len], &items[left_len..]];
            for (half, at) in halves.into_iter().zip([run_start, run_start + run_len / 2]) {
                let new = Segment::build(depth, segment::homes_for(half.len()), half, base_ms);
                self.show(at, new);
                self.set_due_at(at, lower_bound(half, base_ms, due_at_ms));
            }
            self.segments += 1;
            if depth == self.dir_bits() {
                self.deepest += 2;
            }
            self.free_segment(old);
        }
    }

    /// Gives items the windows of another depth, which takes their hashes.
    fn move_windows(&self, items: &mut [Loose], depth: u32) {
        for i in 0..items.len() {
            if let Some(ahead) = items.get(i + REHASH_AHEAD) {
                prefetch(line::pointer(ahead.word).as_ptr());
            }
            // SAFETY: a gathered word is a live item's.
            let hash = unsafe { T::hash(line::pointer(items[i].word), &self.key_hash) };
            let window = segment::window_of_position(self.position(hash), depth);
            items[i].word = line::with_window(items[i].word, window);
        }
    }

    /// Merges two buddies of the same depth, given by their first directory indices.
    fn merge(&mut self, left_at: usize, right_at: usize) {
        let (left, right) = (self.segment(left_at), self.segment(right_at));
        let depth = left.depth() - 1;
        let mut items = Vec::new();
        // SAFETY: both segments are live until they are freed below, after their items were
        // gathered.
        unsafe {
            let base_ms = (*left.header())
                .codes_base_ms
                .max((*right.header()).codes_base_ms);
            for (child, at) in [(left, left_at), (right, right_at)] {
                let from = items.len();
                child.gather(&mut items);
                let prefix = at >> (self.dir_bits() - child.depth());
                let delta_ms = base_ms - (*child.header()).codes_base_ms;
                for item in &mut items[from..] {
                    if segment::base_of_depth(depth) != segment::base_of_depth(child.depth()) {
                        let window = segment::window_in_parent(line::window(item.word), prefix);
                        item.word = line::with_window(item.word, window);
                    }
                    item.code = rebase(item.code, delta_ms);
                }
            }
            let new = Segment::build(depth, segment::homes_for(items.len()), &items, base_ms);
            if left.depth() == self.dir_bits() {
                self.deepest -= 2;
            }
            let due_at_ms = self.due_at(left_at).min(self.due_at(right_at));
            self.set_due_at(right_at, NO_EXPIRY);
            self.set_due_at(left_at, due_at_ms);
            self.show(left_at, new);
            self.segments -= 1;
            self.free_segment(left);
            self.free_segment(right);
        }
    }

    /// Enters a new segment into the directory.
    fn show(&mut self, run_start: usize, segment: Segment) {
        // SAFETY: the segment is live.
        unsafe {
            self.segment_bytes += segment.memory_bytes();
            self.code_bytes += segment.code_bytes();
        }
        let run_len = self.run_len(segment);
        self.dir[run_start..run_start + run_len].fill(segment);
    }

    /// Frees a segment whose items are elsewhere by now.
    ///
    /// # Safety
    /// The segment is live, and not in the directory any more.
    unsafe fn free_segment(&mut self, segment: Segment) {
        // SAFETY: the caller's.
        unsafe {
            self.segment_bytes -= segment.memory_bytes();
            self.code_bytes -= segment.code_bytes();
            segment.free();
        }
    }

    fn double_dir(&mut self) {
        self.dir = self
            .dir
            .iter()
            .flat_map(|&segment| [segment, segment])
            .collect();
        self.due_at_ms = self
            .due_at_ms
            .iter()
            .flat_map(|&due_at_ms| [due_at_ms, NO_EXPIRY])
            .collect();
        self.dir_shift -= 1;
        self.deepest = 0;
    }

    fn halve_dir(&mut self) {
        self.dir = self.dir.iter().copied().step_by(2).collect();
        self.due_at_ms = self.due_at_ms.iter().copied().step_by(2).collect();
        self.dir_shift += 1;
        let bits = self.dir_bits();
        self.deepest = self
            .dir
            .iter()
            .filter(|segment| segment.depth() == bits)
            .count();
    }
}

/// A code relative to a base that is `delta_ms` later.
#[inline]
pub(super) fn rebase(code: i16, delta_ms: u64) -> i16 {
    if code == NEVER || delta_ms == 0 {
        return code;
    }
    due::encode(due::decode(code).saturating_sub(delta_ms))
}

/// A lower bound of the items' expiries, given one of all their former segment's.
fn lower_bound(items: &[Loose], base_ms: u64, due_at_ms: u64) -> u64 {
    match items.iter().map(|item| item.code).min() {
        None | Some(NEVER) => NO_EXPIRY,
        Some(DUE_AT_BASE) => due_at_ms,
        Some(code) => due_at_ms.max(base_ms.saturating_add(due::decode(code))),
    }
}
