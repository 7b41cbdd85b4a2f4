//! One segment: a header line, home lines, stash lines; rarely due codes and a chain.
//!
//! ```text
//! | header | home 0 | home 1 | ... | home n-1 | stash | stash | stash |      each 64 bytes
//! ```
//!
//! An item's *position* is its hash without the table's skip bits, moved up to bit 63. The first
//! `depth` bits of the position choose the segment, the next 15 choose the home line (n is not a
//! power of two: position order is home order). An item lies in its home line, else in the home's
//! neighbour (home ^ 1), else in the stash, else in a chain of lines outside the segment. Two
//! bitmaps in the header say which homes have items in the neighbour and beyond; a lookup looks no
//! further without its bit.
//!
//! The window in a slot's word starts at bit `base` of the position, the last multiple of 2 not
//! above `depth`: its 16 bits always hold the 15 that choose the home, so resizing a segment and
//! every other split touch no item.
//!
//! A *place* numbers the slots: line * 8 + slot, home lines first, then stash, then the chain.
//!
//! Nothing here allocates or frees items; [`Segment`] is a plain view whose methods are unsafe
//! because they trust that the memory is live and not otherwise borrowed.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};

use super::due::{GROUP, NEVER};
use super::line::{self, LINE_SLOTS, Line, WINDOW_BITS};
use crate::ds::entry::size_class;

/// Home bits of a position after the depth.
const HOME_BITS: u32 = 15;
/// A window starts at a multiple of this: the bits it has beyond `HOME_BITS`, plus one.
const BASE_STEP: u32 = WINDOW_BITS - HOME_BITS + 1;
const LINE_BYTES: usize = size_of::<Line>();

/// The sizes of segments in home lines. With header and stash they are 4, 8, 16, 24, 32, 40, 48, 56
/// and 64 lines: 256 B to 4 KiB, all of them size classes of the allocator.
const HOMES: [u32; 9] = [2, 6, 12, 20, 28, 36, 44, 52, 60];
/// Home lines of the smallest segment.
pub(super) const HOMES_MIN: u32 = HOMES[0];
/// Home lines of the largest segment.
pub(super) const HOMES_MAX: u32 = HOMES[HOMES.len() - 1];
/// A segment built for a number of items is at most this full.
const FILL_BUILT_PERCENT: usize = 75;

/// The first line of a segment.
#[repr(C, align(64))]
pub(super) struct Header {
    /// Items in the segment, chain included.
    pub(super) len: u32,
    /// Items with an expiry.
    pub(super) expires_len: u32,
    /// Lines of the chain.
    chain_lines: u32,
    /// Homes that have items in the neighbour line.
    pub(super) in_neighbour: u64,
    /// Homes that have items in stash or chain.
    pub(super) in_stash: u64,
    /// One due code per slot, a group per line; null while no item expires.
    pub(super) codes: *mut Codes,
    /// What the codes are relative to, in milliseconds of the Unix epoch.
    pub(super) codes_base_ms: u64,
    /// Overflow lines, for hashes that collide beyond what a segment can hold.
    pub(super) chain: *mut ChainLine,
}

/// The due codes of a line.
pub(super) type Codes = [i16; GROUP];

/// A line outside the segment.
#[repr(C, align(64))]
pub(super) struct ChainLine {
    pub(super) line: Line,
    pub(super) codes: Codes,
    pub(super) next: *mut ChainLine,
}

const _: () = assert!(GROUP == LINE_SLOTS);
const _: () = assert!(size_of::<Header>() == LINE_BYTES && size_of::<ChainLine>() == 128);

/// A word with its due code, outside of any slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loose {
    pub(super) word: u64,
    pub(super) code: i16,
}

/// A segment as the directory stores it: depth:8 | homes:8 | address bits 47..6 | base:6.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Segment(u64);

const ADDRESS_MASK: u64 = 0x0000_FFFF_FFFF_FFC0;
const BASE_MASK: u64 = 0x3F;
const HOMES_SHIFT: u32 = 48;
const DEPTH_SHIFT: u32 = 56;

/// The bit of the position where windows start in a segment of this depth.
#[inline]
pub(super) fn base_of_depth(depth: u32) -> u32 {
    depth - depth % BASE_STEP
}

/// The window of a position in a segment of this depth.
#[inline]
pub(super) fn window_of_position(position: u64, depth: u32) -> u32 {
    (position << base_of_depth(depth) >> (u64::BITS - WINDOW_BITS)) as u32
}

/// The window that an item of a child with this window has in the merged parent, where the windows
/// start `BASE_STEP` bits earlier. `prefix` ends with the bits that all items of the child share.
#[inline]
pub(super) fn window_in_parent(window: u32, prefix: usize) -> u32 {
    let shared = (prefix & ((1 << BASE_STEP) - 1)) as u32;
    shared << (WINDOW_BITS - BASE_STEP) | window >> BASE_STEP
}

/// Whether items of a segment of this depth are found on the right after a split.
#[inline]
pub(super) fn splits_right(window: u32, depth: u32) -> bool {
    window >> (WINDOW_BITS - 1 - depth % BASE_STEP) & 1 == 1
}

/// A home's bit in the header's bitmaps.
#[inline]
pub(super) fn bit(home: usize) -> u64 {
    1u64.wrapping_shl(home as u32)
}

#[inline]
fn stash_lines(homes: u32) -> u32 {
    if homes < HOMES[2] { 1 } else { 3 }
}

#[inline]
fn slots_of(homes: u32) -> usize {
    (homes + stash_lines(homes)) as usize * LINE_SLOTS
}

fn layout_of(homes: u32) -> Layout {
    let bytes = (1 + homes + stash_lines(homes)) as usize * LINE_BYTES;
    Layout::from_size_align(bytes, LINE_BYTES).expect("at most 4 KiB")
}

/// The size to build a segment in for `len` items.
pub(super) fn homes_for(len: usize) -> u32 {
    let fits = |homes: &&u32| len * 100 <= slots_of(**homes) * FILL_BUILT_PERCENT;
    *HOMES.iter().find(fits).unwrap_or(&HOMES_MAX)
}

/// The next larger size, if there is one.
pub(super) fn homes_above(homes: u32) -> Option<u32> {
    HOMES.iter().copied().find(|&larger| larger > homes)
}

impl Segment {
    /// A new segment without items.
    pub(super) fn new(depth: u32, homes: u32) -> Self {
        let layout = layout_of(homes);
        // SAFETY: the layout isn't empty. Zeroes are a valid header and empty lines.
        let address = unsafe { alloc_zeroed(layout) };
        if address.is_null() {
            handle_alloc_error(layout);
        }
        let address = address.expose_provenance() as u64;
        debug_assert_eq!(address & !ADDRESS_MASK, 0);
        Self(
            u64::from(depth) << DEPTH_SHIFT
                | u64::from(homes) << HOMES_SHIFT
                | address
                | u64::from(base_of_depth(depth)),
        )
    }

    /// Builds a segment of at least `homes_min` home lines that holds `items`, whose windows are
    /// already those of `depth`. What fits in no segment goes to a chain.
    pub(super) fn build(depth: u32, homes_min: u32, items: &[Loose], codes_base_ms: u64) -> Self {
        let mut homes = homes_min;
        loop {
            let segment = Self::new(depth, homes);
            let larger = homes_above(homes);
            // SAFETY: the segment is new and only known here; so is its chain.
            unsafe {
                if items.iter().any(|item| line::expires(item.word)) {
                    segment.make_codes(codes_base_ms);
                }
                let mut placed = items.iter().map(|item| match segment.place(*item) {
                    None if larger.is_none() => Some(segment.place_in_chain(*item)),
                    place => place,
                });
                if placed.all(|place| place.is_some()) {
                    return segment;
                }
                segment.free();
            }
            homes = larger.unwrap_or(HOMES_MAX);
        }
    }

    /// How many leading bits of the position all items share.
    #[inline]
    pub(super) fn depth(self) -> u32 {
        (self.0 >> DEPTH_SHIFT) as u32
    }

    /// The number of home lines.
    #[inline]
    pub(super) fn homes(self) -> u32 {
        (self.0 >> HOMES_SHIFT) as u32 & 0xFF
    }

    #[inline]
    fn address(self) -> *mut Line {
        ptr::with_exposed_provenance_mut((self.0 & ADDRESS_MASK) as usize)
    }

    /// The number of slots without the chain's.
    #[inline]
    pub(super) fn slots(self) -> usize {
        slots_of(self.homes())
    }

    /// The window of a position.
    #[inline]
    pub(super) fn window_of(self, position: u64) -> u32 {
        (position << (self.0 & BASE_MASK) >> (u64::BITS - WINDOW_BITS)) as u32
    }

    /// The home line of a position.
    #[inline]
    pub(super) fn home_of(self, position: u64) -> usize {
        let bits = position.wrapping_shl(self.depth()) >> (u64::BITS - HOME_BITS);
        (bits.wrapping_mul(u64::from(self.homes())) >> HOME_BITS) as usize
    }

    /// The home line of a word.
    #[inline]
    pub(super) fn home_of_word(self, word: u64) -> usize {
        // The window's bits above the home's are those between base and depth.
        let above = self.depth().wrapping_sub((self.0 & BASE_MASK) as u32);
        let bits = line::window(word).wrapping_shl(u32::BITS - WINDOW_BITS + above)
            >> (u32::BITS - HOME_BITS);
        (bits.wrapping_mul(self.homes()) >> HOME_BITS) as usize
    }

    /// The first position of a home line, relative to the segment's first.
    #[inline]
    pub(super) fn home_start(self, home: usize) -> u64 {
        let bits = ((home as u64) << HOME_BITS).div_ceil(u64::from(self.homes()));
        (bits << (u64::BITS - HOME_BITS)).wrapping_shr(self.depth())
    }

    /// The header: valid as long as the segment is.
    #[inline]
    pub(super) fn header(self) -> *mut Header {
        self.address().cast()
    }

    /// A line by number, without the chain's.
    ///
    /// # Safety
    /// For all unsafe methods here: the segment is live, nobody else holds a reference into what is
    /// returned or changed, and places and lines exist.
    #[inline]
    pub(super) unsafe fn line<'a>(self, number: usize) -> &'a Line {
        // SAFETY: the caller's; lines follow the header.
        unsafe { &*self.address().add(1 + number) }
    }

    /// A line by number, without the chain's, to be changed.
    ///
    /// # Safety
    /// As for [`Self::line`].
    #[inline]
    pub(super) unsafe fn line_mut<'a>(self, number: usize) -> &'a mut Line {
        // SAFETY: the caller's; lines follow the header.
        unsafe { &mut *self.address().add(1 + number) }
    }

    /// Where a line is, to prefetch it.
    #[inline]
    pub(super) fn line_address(self, number: usize) -> *const Line {
        self.address().wrapping_add(1 + number)
    }

    /// The numbers of the stash lines.
    #[inline]
    pub(super) fn stash(self) -> std::ops::Range<usize> {
        let homes = self.homes();
        homes as usize..(homes + stash_lines(homes)) as usize
    }

    /// The lines of the chain with the place of each one's first slot.
    ///
    /// # Safety
    /// As for [`Self::line`], while the iterator lives.
    #[inline]
    pub(super) unsafe fn chain(self) -> ChainLines {
        // SAFETY: the caller's.
        let next = unsafe { (*self.header()).chain };
        ChainLines {
            next,
            place: self.slots(),
        }
    }

    /// The slot of a place, if it exists.
    ///
    /// # Safety
    /// As for [`Self::line`], but any place may be asked for.
    #[inline]
    pub(super) unsafe fn slot(self, place: usize) -> Option<NonNull<u64>> {
        // SAFETY: the caller's; a place below slots() is a word after the header, and another one
        // is in the chain or nowhere.
        unsafe {
            if place < self.slots() {
                return Some(NonNull::new_unchecked(
                    self.address().add(1).cast::<u64>().add(place),
                ));
            }
            let (at, first) = self
                .chain()
                .find(|&(_, first)| place < first + LINE_SLOTS)?;
            NonNull::new(&raw mut (*at).line.0[place - first])
        }
    }

    /// The due code of a place, if the segment has codes.
    ///
    /// # Safety
    /// As for [`Self::line`].
    #[inline]
    pub(super) unsafe fn code(self, place: usize) -> Option<NonNull<i16>> {
        // SAFETY: the caller's; there are as many codes as slots.
        unsafe {
            if place < self.slots() {
                let codes = NonNull::new((*self.header()).codes);
                return codes.map(|codes| codes.cast::<i16>().add(place));
            }
            let (at, first) = self
                .chain()
                .find(|&(_, first)| place < first + LINE_SLOTS)?;
            NonNull::new(&raw mut (*at).codes[place - first])
        }
    }

    /// The due codes without the chain's; empty while no item expires.
    ///
    /// # Safety
    /// As for [`Self::line`].
    #[inline]
    pub(super) unsafe fn codes<'a>(self) -> &'a mut [Codes] {
        // SAFETY: the caller's; there is a group of codes per line.
        unsafe {
            match (*self.header()).codes {
                codes if codes.is_null() => &mut [],
                codes => std::slice::from_raw_parts_mut(codes, self.stash().end),
            }
        }
    }

    /// Makes sure that the segment has due codes.
    ///
    /// # Safety
    /// As for [`Self::line`].
    pub(super) unsafe fn make_codes(self, base_ms: u64) {
        // SAFETY: the caller's; the block is as long as it is filled.
        unsafe {
            let header = self.header();
            if !(*header).codes.is_null() {
                return;
            }
            let layout = Layout::array::<Codes>(self.stash().end).expect("at most 1 KiB");
            (*header).codes = alloc(layout).cast();
            if (*header).codes.is_null() {
                handle_alloc_error(layout);
            }
            for number in 0..self.stash().end {
                (*header).codes.add(number).write([NEVER; GROUP]);
            }
            (*header).codes_base_ms = base_ms;
        }
    }

    /// Gives the due codes back.
    ///
    /// # Safety
    /// As for [`Self::line`]; no item expires.
    pub(super) unsafe fn drop_codes(self) {
        // SAFETY: the caller's; the layout is that of make_codes.
        unsafe {
            let header = self.header();
            if !(*header).codes.is_null() {
                let layout = Layout::array::<Codes>(self.stash().end).expect("at most 1 KiB");
                dealloc((*header).codes.cast(), layout);
                (*header).codes = ptr::null_mut();
            }
        }
    }

    /// Puts an item into home line, neighbour or stash and returns its place, `None` if all are
    /// full. The caller makes the due codes for the first item that expires.
    ///
    /// # Safety
    /// As for [`Self::line`]; the word's window is of this depth.
    pub(super) unsafe fn place(self, item: Loose) -> Option<usize> {
        // SAFETY: the caller's; the place is an empty slot's.
        unsafe {
            let home = self.home_of_word(item.word);
            let place = match self.line(home).first_empty() {
                Some(slot) => home * LINE_SLOTS + slot,
                None => self.place_beyond(home)?,
            };
            self.fill(place, item);
            let header = self.header();
            (*header).len += 1;
            (*header).expires_len += u32::from(line::expires(item.word));
            Some(place)
        }
    }

    /// An empty slot for an item whose home line is full.
    unsafe fn place_beyond(self, home: usize) -> Option<usize> {
        // SAFETY: the caller's; homes are even in number, so the neighbour exists.
        unsafe {
            if let Some(slot) = self.line(home ^ 1).first_empty() {
                (*self.header()).in_neighbour |= bit(home);
                return Some((home ^ 1) * LINE_SLOTS + slot);
            }
            for number in self.stash() {
                if let Some(slot) = self.line(number).first_empty() {
                    (*self.header()).in_stash |= bit(home);
                    return Some(number * LINE_SLOTS + slot);
                }
            }
            None
        }
    }

    /// Writes an item to an empty place.
    unsafe fn fill(self, place: usize, item: Loose) {
        // SAFETY: the caller's; the place exists.
        unsafe {
            self.slot(place).unwrap_unchecked().write(item.word);
            if let Some(code) = self.code(place) {
                code.write(item.code);
            }
        }
    }

    /// Puts an item into the chain and returns its place.
    ///
    /// # Safety
    /// As for [`Self::place`].
    pub(super) unsafe fn place_in_chain(self, item: Loose) -> usize {
        // SAFETY: the caller's; only the chain's first line has empty slots, and a new one has.
        unsafe {
            let header = self.header();
            let full = (*header).chain.is_null() || (*(*header).chain).line.first_empty().is_none();
            if full {
                let line = ChainLine {
                    line: Line::EMPTY,
                    codes: [NEVER; LINE_SLOTS],
                    next: (*header).chain,
                };
                (*header).chain = Box::into_raw(Box::new(line));
                (*header).chain_lines += 1;
            }
            let first = &mut *(*header).chain;
            let slot = first.line.first_empty().unwrap_or(0);
            first.line.0[slot] = item.word;
            first.codes[slot] = item.code;
            (*header).in_stash |= bit(self.home_of_word(item.word));
            (*header).len += 1;
            (*header).expires_len += u32::from(line::expires(item.word));
            self.slots() + slot
        }
    }

    /// Empties a place and returns its word. The bitmaps may keep bits they don't need.
    ///
    /// # Safety
    /// As for [`Self::line`]; the place is occupied and not in the chain.
    unsafe fn vacate(self, place: usize) -> Loose {
        // SAFETY: the caller's.
        unsafe {
            let word = self.slot(place).unwrap_unchecked().replace(0);
            let code = self.code(place).map_or(NEVER, |code| code.replace(NEVER));
            Loose { word, code }
        }
    }

    /// Takes the item at a place out, and pulls a displaced one into the hole.
    ///
    /// # Safety
    /// As for [`Self::line`]; the place is occupied.
    pub(super) unsafe fn take(self, place: usize) -> u64 {
        // SAFETY: the caller's; every place used below was just found occupied or empty.
        unsafe {
            let header = self.header();
            let word = if place >= self.slots() {
                // The hole gets the last item of the first line, which may be the one taken.
                let (at, code) = (self.slot(place), self.code(place));
                let (at, code) = (at.unwrap_unchecked(), code.unwrap_unchecked());
                let word = at.read();
                let moved = self.pop_chain();
                if moved.word != word {
                    at.write(moved.word);
                    code.write(moved.code);
                }
                word
            } else {
                let word = self.vacate(place).word;
                self.refill(place);
                word
            };
            (*header).len -= 1;
            (*header).expires_len -= u32::from(line::expires(word));
            self.recheck(self.home_of_word(word));
            word
        }
    }

    /// Takes the last item of the chain's first line.
    unsafe fn pop_chain(self) -> Loose {
        // SAFETY: the caller's; the chain isn't empty and neither is any of its lines.
        unsafe {
            let header = self.header();
            let first = &mut *(*header).chain;
            let slot = first.line.occupied().last().unwrap_or(0);
            let item = Loose {
                word: first.line.0[slot],
                code: first.codes[slot],
            };
            first.line.0[slot] = 0;
            first.codes[slot] = NEVER;
            if first.line.occupied().0 == 0 {
                (*header).chain = first.next;
                (*header).chain_lines -= 1;
                drop(Box::from_raw(ptr::from_mut(first)));
            }
            item
        }
    }

    /// Fills an empty place outside the chain with an item that lies further from its home.
    unsafe fn refill(self, hole: usize) {
        // SAFETY: the caller's; `find_displaced` returns occupied places.
        unsafe {
            let header = self.header();
            let number = hole / LINE_SLOTS;
            if number >= self.homes() as usize {
                if !(*header).chain.is_null() {
                    let item = self.pop_chain();
                    self.fill(hole, item);
                }
                return;
            }
            // Home's own items come home, from the stash or the neighbour; else the neighbour's
            // come from the stash.
            if (*header).in_stash & bit(number) != 0
                && let Some(place) = self.find_displaced(number, self.stash())
            {
                self.pull(place, hole);
                return self.recheck(number);
            }
            let neighbour = number ^ 1;
            if (*header).in_neighbour & bit(number) != 0
                && let Some(place) = self.find_displaced(number, neighbour..neighbour + 1)
            {
                self.pull(place, hole);
                return self.recheck(number);
            }
            if (*header).in_stash & bit(neighbour) != 0
                && let Some(place) = self.find_displaced(neighbour, self.stash())
            {
                (*header).in_neighbour |= bit(neighbour);
                self.pull(place, hole);
                self.recheck(neighbour);
            }
        }
    }

    /// Moves an item nearer to its home, and fills the hole that it leaves.
    unsafe fn pull(self, place: usize, hole: usize) {
        // SAFETY: the caller's; the place is occupied and the hole empty. The recursion ends: every
        // move brings an item nearer to its home.
        unsafe {
            let item = self.vacate(place);
            self.fill(hole, item);
            self.refill(place);
        }
    }

    /// The place of an item of `home` in the given lines.
    unsafe fn find_displaced(self, home: usize, lines: std::ops::Range<usize>) -> Option<usize> {
        for number in lines {
            // SAFETY: the caller's.
            let line = unsafe { self.line(number) };
            for slot in line.occupied() {
                if self.home_of_word(line.0[slot]) == home {
                    return Some(number * LINE_SLOTS + slot);
                }
            }
        }
        None
    }

    /// Clears the bits of a home that has nothing in the neighbour or beyond any more.
    ///
    /// # Safety
    /// As for [`Self::line`].
    pub(super) unsafe fn recheck(self, home: usize) {
        // SAFETY: the caller's.
        unsafe {
            let header = self.header();
            let neighbour = (home ^ 1)..(home ^ 1) + 1;
            if (*header).in_neighbour & bit(home) != 0
                && self.find_displaced(home, neighbour).is_none()
            {
                (*header).in_neighbour &= !bit(home);
            }
            let mut chain = self.chain();
            if (*header).in_stash & bit(home) != 0
                && self.find_displaced(home, self.stash()).is_none()
                && !chain.any(|(at, _)| {
                    let line = &(*at).line;
                    line.occupied()
                        .any(|slot| self.home_of_word(line.0[slot]) == home)
                })
            {
                (*header).in_stash &= !bit(home);
            }
        }
    }

    /// Appends all items with their codes to `items`.
    ///
    /// # Safety
    /// As for [`Self::line`].
    pub(super) unsafe fn gather(self, items: &mut Vec<Loose>) {
        // SAFETY: the caller's.
        unsafe {
            items.reserve((*self.header()).len as usize);
            let codes = self.codes();
            for number in 0..self.stash().end {
                let line = self.line(number);
                for slot in line.occupied() {
                    let code = codes.get(number).map_or(NEVER, |codes| codes[slot]);
                    items.push(Loose {
                        word: line.0[slot],
                        code,
                    });
                }
            }
            for (at, _) in self.chain() {
                let chained = &*at;
                for slot in chained.line.occupied() {
                    items.push(Loose {
                        word: chained.line.0[slot],
                        code: chained.codes[slot],
                    });
                }
            }
        }
    }

    /// Frees the segment's memory, not the items.
    ///
    /// # Safety
    /// As for [`Self::line`]; the segment is not used afterwards.
    pub(super) unsafe fn free(self) {
        // SAFETY: the caller's; the layouts are those of the allocations.
        unsafe {
            self.free_chain();
            self.drop_codes();
            dealloc(self.address().cast(), layout_of(self.homes()));
        }
    }

    /// Frees the chain's lines, not the items.
    ///
    /// # Safety
    /// As for [`Self::line`]; the chain's items have been taken.
    pub(super) unsafe fn free_chain(self) {
        // SAFETY: the caller's; every chain line was made by Box.
        unsafe {
            let header = self.header();
            let mut chain = std::mem::replace(&mut (*header).chain, ptr::null_mut());
            (*header).chain_lines = 0;
            while !chain.is_null() {
                let line = Box::from_raw(chain);
                chain = line.next;
            }
        }
    }

    /// The memory of the segment in bytes, without the items.
    ///
    /// # Safety
    /// As for [`Self::line`].
    pub(super) unsafe fn memory_bytes(self) -> usize {
        // SAFETY: the caller's.
        let header = unsafe { &*self.header() };
        // SAFETY: the caller's.
        let code_bytes = unsafe { self.code_bytes() };
        size_class(layout_of(self.homes()).size())
            + code_bytes
            + header.chain_lines as usize * size_class(size_of::<ChainLine>())
    }

    /// What of that the due codes take, but for the chain's.
    ///
    /// # Safety
    /// As for [`Self::line`].
    pub(super) unsafe fn code_bytes(self) -> usize {
        // SAFETY: the caller's.
        match unsafe { (*self.header()).codes.is_null() } {
            true => 0,
            false => size_class(self.stash().end * size_of::<Codes>()),
        }
    }
}

/// See [`Segment::chain`].
pub(super) struct ChainLines {
    next: *mut ChainLine,
    place: usize,
}

impl Iterator for ChainLines {
    type Item = (*mut ChainLine, usize);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.next.is_null() {
            return None;
        }
        let item = (self.next, self.place);
        // SAFETY: whoever made the iterator promised that the chain stays.
        self.next = unsafe { (*self.next).next };
        self.place += LINE_SLOTS;
        Some(item)
    }
}
