//! A leaf of the tree: pointers to members in their order, each with a hint of its score.
//!
//! A pointer needs 48 bits, so 16 are free. They hold the score's place on a *grid* of the leaf:
//! its order number without `shift` low bits, counted from `base`, cut to 16 bits. Hints never
//! decrease from one member to the next, so a search looks at hints first, and at members, each a
//! cache miss, only where hints are equal.
//!
//! Invariants: every hint is its grid's for the member's score. The hints 0 and `HINT_MAX` also
//! stand for everything below and above the grid; a leaf that has got one makes itself a new grid.

use std::ptr::NonNull;

use super::member::MemberRef;
use crate::ds::table::{Item, prefetch};
use crate::util::check::{Checked, holds};

use super::ScoredMember;

/// Members of a full leaf, which has 512 bytes.
pub(super) const LEAF_MEMBERS: usize = 62;

const POINTER_BITS: u32 = 48;
const POINTER_MASK: u64 = (1 << POINTER_BITS) - 1;
const HINT_MAX: u64 = (1 << (u64::BITS - POINTER_BITS)) - 1;
/// A new grid puts its members on this many places in the middle.
const GRID_SPAN: u64 = 1 << 15;
/// A finer grid is worth its making when all members are on fewer places.
const GRID_SPAN_MIN: u64 = 1 << 11;

/// A pointer to a live member, and a hint of its score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word(u64);

impl Word {
    /// Fills places that are not in use.
    pub(super) const NONE: Word = Word(0);

    #[inline]
    pub(super) fn new(raw: NonNull<u8>) -> Self {
        let address = raw.as_ptr().expose_provenance() as u64;
        debug_assert_eq!(address & !POINTER_MASK, 0);
        Self(address)
    }

    #[inline]
    fn with_hint(self, hint: u64) -> Self {
        Self(self.0 & POINTER_MASK | hint << POINTER_BITS)
    }

    #[inline]
    fn hint(self) -> u64 {
        self.0 >> POINTER_BITS
    }

    /// Where the member is.
    #[inline]
    pub(super) fn raw(self) -> NonNull<u8> {
        let address = (self.0 & POINTER_MASK) as usize;
        NonNull::new(std::ptr::with_exposed_provenance_mut(address)).expect("a word in use")
    }

    /// The member.
    ///
    /// # Safety
    /// There is one, and nobody changes it during `'a`.
    #[inline]
    pub(super) unsafe fn member<'a>(self) -> MemberRef<'a> {
        // SAFETY: the caller's; a word in use was made from a NonNull.
        unsafe {
            let address = (self.0 & POINTER_MASK) as usize;
            let raw = std::ptr::with_exposed_provenance_mut(address);
            ScoredMember::borrow(NonNull::new_unchecked(raw))
        }
    }

    /// Asks for the member's first cache line.
    #[inline]
    pub(super) fn prefetch(self) {
        prefetch((self.0 & POINTER_MASK) as *const u8);
    }

    #[inline]
    pub(super) fn is(self, raw: NonNull<u8>) -> bool {
        self.0 & POINTER_MASK == raw.as_ptr().addr() as u64
    }
}

/// A place between members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe<'a> {
    /// The score's order number.
    pub(super) key: u64,
    pub(super) tie: Tie<'a>,
}

/// Which members of the score itself lie before the place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tie<'a> {
    /// None.
    Before,
    /// All.
    After,
    /// Those below this one.
    At(&'a [u8]),
}

impl<'a> Probe<'a> {
    /// The place of a member.
    #[inline]
    pub(super) fn of(member: MemberRef<'a>) -> Self {
        Self {
            key: member.order(),
            tie: Tie::At(member.member()),
        }
    }

    /// Whether a member of the same score lies before the place.
    #[inline]
    pub(super) fn is_after(&self, member: &[u8]) -> bool {
        match self.tie {
            Tie::Before => false,
            Tie::After => true,
            Tie::At(at) => member < at,
        }
    }

    /// Whether a member of the same score lies before the place or at it.
    #[inline]
    pub(super) fn is_at_or_after(&self, member: &[u8]) -> bool {
        match self.tie {
            Tie::At(at) => member <= at,
            _ => self.is_after(member),
        }
    }

    /// Whether `member` lies before the place.
    #[inline(always)]
    fn follows(&self, member: MemberRef<'_>) -> bool {
        let key = member.order();
        key < self.key || key == self.key && self.is_after(member.member())
    }
}

/// How order numbers become hints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    base: u64,
    shift: u32,
}

impl Grid {
    /// As fine as this grid, with `key` in the middle.
    fn around(self, key: u64) -> Grid {
        let middle = HINT_MAX / 2;
        Grid {
            base: (key >> self.shift).saturating_sub(middle),
            shift: self.shift,
        }
    }

    /// The finest grid on which everything between two keys is in the middle.
    fn over(first: u64, last: u64) -> Grid {
        let bits = u64::BITS - (last - first).leading_zeros();
        let shift = bits.saturating_sub(GRID_SPAN.ilog2());
        let margin = (HINT_MAX - GRID_SPAN) / 2;
        Grid {
            base: (first >> shift).saturating_sub(margin),
            shift,
        }
    }

    #[inline]
    fn hint(self, key: u64) -> u64 {
        (key >> self.shift).saturating_sub(self.base).min(HINT_MAX)
    }
}

/// Whether a hint may stand for something outside of the grid.
#[inline]
fn is_end(hint: u64) -> bool {
    hint == 0 || hint == HINT_MAX
}

/// See the module. It owns no members.
pub(super) struct Leaf {
    /// The grid's two fields, with `len` where one of that type would have a gap.
    base: u64,
    shift: u32,
    len: u32,
    words: [Word; LEAF_MEMBERS],
}

impl Leaf {
    /// An empty leaf that is going to hold scores near `key`, as far apart as those of `like`.
    pub(super) fn new(key: u64, like: Option<&Leaf>) -> Box<Leaf> {
        let grid = like.map_or(Grid { base: 0, shift: 0 }, Leaf::grid);
        let Grid { base, shift } = grid.around(key);
        Box::new(Leaf {
            base,
            shift,
            len: 0,
            words: [Word::NONE; LEAF_MEMBERS],
        })
    }

    /// A leaf of members that are in order, with their scores' order numbers; there are at most
    /// `LEAF_MEMBERS`, and at least one.
    pub(super) fn of(members: &[(u64, NonNull<u8>)]) -> Box<Leaf> {
        let mut leaf = Leaf::new(0, None);
        let (first, last) = (members[0].0, members[members.len() - 1].0);
        let grid = Grid::over(first, last);
        for (place, &(key, raw)) in leaf.words.iter_mut().zip(members) {
            *place = Word::new(raw).with_hint(grid.hint(key));
        }
        leaf.set_grid(grid);
        leaf.len = members.len() as u32;
        leaf
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.len() == LEAF_MEMBERS
    }

    #[inline]
    pub(super) fn words(&self) -> &[Word] {
        &self.words[..self.len as usize]
    }

    #[inline]
    pub(super) fn grid(&self) -> Grid {
        Grid {
            base: self.base,
            shift: self.shift,
        }
    }

    /// The member at a place below `len`.
    #[inline]
    pub(super) fn member(&self, at: usize) -> MemberRef<'_> {
        member(&self.words()[at])
    }

    /// How many members lie before the place.
    #[inline]
    pub(super) fn find(&self, probe: &Probe<'_>) -> usize {
        let words = self.words();
        let hint = self.grid().hint(probe.key);
        let start = words.partition_point(|word| word.hint() < hint);
        let rest = &words[start..];
        match rest.first() {
            Some(word) if word.hint() == hint => {
                let alike = rest.partition_point(|word| word.hint() == hint);
                start + rest[..alike].partition_point(|word| probe.follows(member(word)))
            }
            _ => start,
        }
    }

    /// How many members `before` is true of, which it is up to some place.
    pub(super) fn find_by(&self, before: &mut impl FnMut(MemberRef<'_>) -> bool) -> usize {
        self.words().partition_point(|word| before(member(word)))
    }

    /// Adds a member where it belongs; the leaf is not full.
    pub(super) fn insert(&mut self, probe: &Probe<'_>, word: Word) {
        let at = self.find(probe);
        let len = self.len();
        let hint = self.grid().hint(probe.key);
        self.words.copy_within(at..len, at + 1);
        self.words[at] = word.with_hint(hint);
        self.len += 1;
        if is_end(hint) {
            self.renew_grid();
        }
    }

    /// Takes the members of `at..at + count` out.
    pub(super) fn remove(&mut self, at: usize, count: usize, removed: &mut impl FnMut(Word)) {
        let len = self.len();
        self.words[at..at + count]
            .iter()
            .for_each(|&word| removed(word));
        self.words.copy_within(at + count..len, at);
        self.len -= count as u32;
    }

    /// Where the member at `at` belongs when it gets the score of `probe`, counted as if it stood
    /// where it is now, too. `None` at an end of the leaf: then it may belong into another one, or
    /// it was the first, which the nodes above know of.
    pub(super) fn new_place(&self, at: usize, probe: &Probe<'_>) -> Option<usize> {
        let place = self.find(probe);
        (at > 0 && place > 0 && place < self.len()).then_some(place)
    }

    /// Replaces the member at `at` by one that belongs at such a new place.
    pub(super) fn replace(&mut self, at: usize, place: usize, word: Word, key: u64) {
        let to = if place > at {
            self.words.copy_within(at + 1..place, at);
            place - 1
        } else {
            self.words.copy_within(place..at, place + 1);
            place
        };
        self.words[to] = word.with_hint(self.grid().hint(key));
    }

    /// Adds a member at the end, whose hint is of another leaf's grid; see [`Leaf::settle`].
    fn push(&mut self, word: Word, grid: Grid) {
        let hint = word.hint();
        let hint = if grid == self.grid() {
            hint
        } else if grid.shift <= self.shift && !is_end(hint) {
            self.grid().hint((grid.base + hint) << grid.shift)
        } else {
            self.grid().hint(member(&word).order())
        };
        self.words[self.len()] = word.with_hint(hint);
        self.len += 1;
    }

    /// Adds members at the end, with the grids that their hints are of.
    pub(super) fn fill<'w>(&mut self, words: impl Iterator<Item = &'w (Word, Grid)>) {
        for &(word, grid) in words {
            self.push(word, grid);
        }
        self.settle();
    }

    /// Forgets all members.
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Makes a new grid if the members have moved out of the old one, or crowd on it.
    fn settle(&mut self) {
        let (Some(first), Some(last)) = (self.words().first(), self.words().last()) else {
            return;
        };
        let crowded = self.shift > 0 && last.hint() - first.hint() < GRID_SPAN_MIN;
        if is_end(first.hint()) || is_end(last.hint()) || crowded {
            self.renew_grid();
        }
    }

    /// Makes a new grid for the members that are there. Reads them all.
    pub(super) fn renew_grid(&mut self) {
        let words = &mut self.words[..self.len as usize];
        words.iter().for_each(|word| word.prefetch());
        let (Some(first), Some(last)) = (words.first(), words.last()) else {
            return;
        };
        let grid = Grid::over(member(first).order(), member(last).order());
        for word in words {
            *word = word.with_hint(grid.hint(member(word).order()));
        }
        self.set_grid(grid);
    }

    fn set_grid(&mut self, grid: Grid) {
        self.base = grid.base;
        self.shift = grid.shift;
    }

    /// Whether the hints are those of the members, in order.
    pub(super) fn check(&self) -> Checked {
        let mut before = 0;
        for word in self.words() {
            let (hint, wanted) = (word.hint(), self.grid().hint(member(word).order()));
            holds!(hint == wanted, "a hint is {hint}, not {wanted}");
            holds!(before <= hint, "hint {hint} comes behind {before}");
            before = hint;
        }
        Ok(())
    }
}

/// The member of a word in a leaf.
#[inline]
fn member(word: &Word) -> MemberRef<'_> {
    // SAFETY: words in use are those of live members: whoever puts a word into a tree promises to
    // take it out before the member is changed or freed (`Tree::insert`).
    unsafe { word.member() }
}
