//! The keyspace's hash table: an extendible hash of small segments.
//!
//! - A directory, indexed by the top bits of an item's position (its hash without the skip bits),
//!   says which segment holds it. The segment's lines and the words in them are described in
//!   `segment` and `line`. A lookup touches the directory (8 bytes per some 300 items, in
//!   cache), one line of tags and one item.
//! - Growth happens one segment at a time (`grow`): a full segment first grows in steps of 512
//!   bytes, which touches no item, then splits in two. The most a single insert does is to rebuild
//!   one segment of 500 slots, or to double the directory. Shrinking is the mirror image.
//! - The table is in the order of the hash, and so is SCAN (`walk`): a cursor stays valid whatever
//!   happens to the segments, and never returns an item twice. Who looks for items that may go
//!   takes lines as they lie (`sweep`).
//! - A snapshot walks the table while it goes on changing (`save`): one bit per slot.
//! - Items and segments can be moved to other addresses (`relocate`).
//! - The expiry index is exact (`expiry`): 2 bytes per slot, only in segments that hold an item
//!   with an expiry, plus one number per directory slot.
//!
//! Invariants:
//! - `dir.len()` is 0 or a power of two of at least 2; a segment of depth d fills an aligned run of
//!   `dir.len() >> d` slots. The run's first slot also owns the segment's `due_at_ms`.
//! - Every word's window is that of its item's hash at the segment's depth; its expiry bit is set
//!   exactly if the item has an expiry.
//! - `due_at_ms` is a lower bound of the segment's expiries (`NO_EXPIRY` if there are none), and
//!   `next_expire_at_ms` of all of them.
//! - A table never runs into trouble with bad hashes, only into lists: what a segment of full size
//!   and depth can't hold is chained to it.
//!
//! To store another kind of item, implement [`Item`].

mod check;
mod due;
mod expiry;
mod grow;
mod line;
mod relocate;
mod save;
mod segment;
mod sweep;
#[cfg(test)]
mod tests;
mod walk;

use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::ds::footprint;
use crate::ds::hash::KeyHash;
use due::NEVER;
pub(crate) use line::prefetch;
use line::{Bits, LINE_SLOTS, Line};
pub use save::Heir;
use save::Saving;
use segment::{HOMES_MIN, Loose, Segment};
pub use walk::Iter;

/// The last byte of an item that is asked for ahead: that of a 16-byte key with such a value.
const ITEM_REACH_BYTES: usize = 39;
/// Bytes of a cache line.
const CACHE_LINE_BYTES: usize = 64;

/// What `next_expire_at_ms` says when no item expires.
pub const NO_EXPIRY: u64 = u64::MAX;
/// The most skip bits a table can be made with.
pub const SKIP_BITS_MAX: u32 = 16;

/// An owning handle of the size of a pointer, which a [`Table`] can hold.
///
/// # Safety
/// - `into_raw` returns an address that is a multiple of 8 and below 2^48, different for any two
///   live items; it gives the item up, and `from_raw` takes it back.
/// - `key`, `hash` and `expire_at_ms` don't change while the item is in a table, except through
///   `set_expire_at_ms`, whatever is done through `Mut`.
/// - Dropping an item doesn't panic.
/// - Views made from a raw pointer stay valid for as long as the item is neither changed nor freed.
pub unsafe trait Item: Sized {
    /// A read view of the item.
    type Ref<'a>: Copy;
    /// A write view of the item.
    type Mut<'a>;

    /// Gives up the item.
    fn into_raw(self) -> NonNull<u8>;

    /// Takes the item back.
    ///
    /// # Safety
    /// `raw` is from `into_raw` or `set_expire_at_ms`, and is not used any more. This also holds
    /// for the functions below, except that they leave the item where it is.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;

    /// The read view.
    ///
    /// # Safety
    /// `raw` is an item given up, which nobody changes during `'a`.
    unsafe fn borrow<'a>(raw: NonNull<u8>) -> Self::Ref<'a>;

    /// The write view.
    ///
    /// # Safety
    /// `raw` is an item given up, which nobody else uses during `'a`.
    unsafe fn borrow_mut<'a>(raw: NonNull<u8>) -> Self::Mut<'a>;

    /// The key.
    ///
    /// # Safety
    /// As for [`Item::borrow`].
    unsafe fn key<'a>(raw: NonNull<u8>) -> &'a [u8];

    /// The key's hash.
    ///
    /// # Safety
    /// As for [`Item::borrow`].
    unsafe fn hash(raw: NonNull<u8>, hash: &KeyHash) -> u64;

    /// When the item expires, in milliseconds of the Unix epoch.
    ///
    /// # Safety
    /// As for [`Item::borrow`].
    unsafe fn expire_at_ms(raw: NonNull<u8>) -> Option<u64>;

    /// A copy of the item.
    ///
    /// # Safety
    /// As for [`Item::borrow`].
    unsafe fn duplicate(raw: NonNull<u8>) -> Self;

    /// Sets or removes the expiry and returns where the item is now.
    ///
    /// # Safety
    /// As for [`Item::borrow_mut`]; `raw` is not used any more.
    unsafe fn set_expire_at_ms(raw: NonNull<u8>, expire_at_ms: Option<u64>) -> NonNull<u8>;

    /// Whether an item is one block aligned to 8 that can be copied to another address, and
    /// [`Item::block_bytes`] tells its size.
    const MOVES: bool = false;

    /// The size that the item's block was allocated with.
    ///
    /// # Safety
    /// As for [`Item::borrow`].
    unsafe fn block_bytes(_raw: NonNull<u8>) -> usize {
        0
    }
}

/// Ends the process when it is dropped.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Where an item is. Valid until the next `insert`, `remove`, `take_expired` or `clear`; a slot
/// used later refers to another item, or makes the call panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    dir_index: u32,
    place: u32,
}

/// See the module. All operations take the item's 64-bit hash, which must be [`Item::hash`] of the
/// table's [`KeyHash`].
pub struct Table<T: Item> {
    dir: Vec<Segment>,
    /// 64 minus the directory's bits.
    dir_shift: u32,
    skip_bits: u32,
    len: usize,
    key_hash: KeyHash,
    segments: usize,
    /// Segments as deep as the directory.
    deepest: usize,
    /// Memory of all segments with their codes and chains.
    segment_bytes: usize,
    /// Memory of the codes among that.
    code_bytes: usize,
    expires_len: usize,
    next_expire_at_ms: u64,
    /// The latest time the table was told.
    clock_ms: u64,
    /// As long as the directory, or empty while no item has had an expiry.
    due_at_ms: Vec<u64>,
    /// Where an unfinished `take_expired` goes on.
    due_cursor: usize,
    /// The stamp of saved items, see `save`.
    stamp: u64,
    saving: Saving<T>,
    items: PhantomData<T>,
}

// SAFETY: a table owns its segments and items; nothing in it is shared with anybody.
unsafe impl<T: Item + Send> Send for Table<T> {}

impl<T: Item> Table<T> {
    /// An empty table, which allocates nothing. `skip_bits` is how many top bits of the hash are
    /// the same for all items, because they chose the shard; at most [`SKIP_BITS_MAX`].
    pub fn new(skip_bits: u32, key_hash: KeyHash) -> Self {
        assert!(skip_bits <= SKIP_BITS_MAX, "{skip_bits} skip bits");
        Self {
            dir: Vec::new(),
            dir_shift: u64::BITS - 1,
            skip_bits,
            len: 0,
            key_hash,
            segments: 0,
            deepest: 0,
            segment_bytes: 0,
            code_bytes: 0,
            expires_len: 0,
            next_expire_at_ms: NO_EXPIRY,
            clock_ms: 0,
            due_at_ms: Vec::new(),
            due_cursor: 0,
            stamp: 0,
            saving: Saving::No,
            items: PhantomData,
        }
    }

    /// The hash function the table was made with.
    pub fn key_hash(&self) -> KeyHash {
        self.key_hash
    }

    /// The number of items.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no items.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of items with an expiry.
    #[inline]
    pub fn expires_len(&self) -> usize {
        self.expires_len
    }

    /// The number of segments.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// The memory of the table in bytes, without the items: segments, directory, expiry index.
    pub fn memory_bytes(&self) -> usize {
        self.segment_bytes
            + footprint::block_bytes(self.dir.capacity() * size_of::<Segment>())
            + self.due_bytes()
    }

    /// What of that is the expiry index.
    pub fn expires_bytes(&self) -> usize {
        self.code_bytes + self.due_bytes()
    }

    fn due_bytes(&self) -> usize {
        footprint::block_bytes(self.due_at_ms.capacity() * size_of::<u64>())
    }

    /// Finds the item with this key.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Slot> {
        if self.len == 0 {
            return None;
        }
        let position = self.position(hash);
        let dir_index = self.dir_index(position);
        let segment = self.segment(dir_index);
        let home = segment.home_of(position);
        let window = segment.window_of(position);
        // SAFETY: the segment is live, and its home lines are below homes().
        unsafe {
            if let Some(slot) = find_in_line::<T>(segment.line(home), window, key) {
                return Some(Slot::new(dir_index, home.wrapping_mul(LINE_SLOTS) + slot));
            }
            let header = segment.header();
            if ((*header).in_neighbour | (*header).in_stash) & segment::bit(home) == 0 {
                return None;
            }
            let place = find_beyond::<T>(segment, home, window, key)?;
            Some(Slot::new(dir_index, place))
        }
    }

    /// The item in a slot.
    #[inline]
    pub fn get(&self, slot: Slot) -> T::Ref<'_> {
        // SAFETY: the word is an item's, and self is borrowed as long as the view.
        unsafe { T::borrow(line::pointer(self.word(slot).read())) }
    }

    /// The hash of the item in a slot.
    pub fn hash_of(&self, slot: Slot) -> u64 {
        // SAFETY: the word is an item's, which lives and is not changed while self is borrowed.
        unsafe { T::hash(line::pointer(self.word(slot).read()), &self.key_hash) }
    }

    /// The item in a slot, to be changed.
    #[inline]
    pub fn get_mut(&mut self, slot: Slot) -> T::Mut<'_> {
        self.keep(slot);
        self.meta_mut(slot)
    }

    /// As [`Self::get_mut`], to change only what a snapshot may show as it is later (the LRU field).
    #[inline]
    pub fn meta_mut(&mut self, slot: Slot) -> T::Mut<'_> {
        // SAFETY: the word is an item's, and self is mutably borrowed as long as the view.
        unsafe { T::borrow_mut(line::pointer(self.word(slot).read())) }
    }

    /// Adds an item, whose key must not be in the table.
    #[inline]
    pub fn insert(&mut self, hash: u64, item: T) -> Slot {
        if self.dir.is_empty() {
            self.start();
        }
        let raw = item.into_raw();
        // SAFETY: the item was just given up.
        let expire_at_ms = unsafe { T::expire_at_ms(raw) };
        let position = self.position(hash);
        let mut dir_index = self.dir_index(position);
        let place = loop {
            let segment = self.segment(dir_index);
            let window = segment.window_of(position);
            let word = line::pack(raw, window, expire_at_ms.is_some(), self.stamp);
            let loose = Loose { word, code: NEVER };
            // SAFETY: the segment is live, and the word has its window.
            if let Some(place) = unsafe { segment.place(loose) } {
                break place;
            }
            if !self.grow(dir_index) {
                break self.chain_up(dir_index, loose);
            }
            dir_index = self.dir_index(position);
        };
        self.len += 1;
        let slot = Slot::new(dir_index, place);
        if let Some(expire_at_ms) = expire_at_ms {
            self.expires_len += 1;
            self.index_expiry(slot, expire_at_ms);
        }
        slot
    }

    /// Replaces an item by another one with the same key and returns the old one. The slot stays
    /// valid.
    #[inline]
    pub fn replace(&mut self, slot: Slot, item: T) -> T {
        self.keep(slot);
        let word = self.word(slot);
        let raw = item.into_raw();
        // SAFETY: the word is an item's, and both items are given up to the table, which gives the
        // old one back after its word is overwritten.
        unsafe {
            let old = word.read();
            let expire_at_ms = T::expire_at_ms(raw);
            word.write(line::with_item(old, raw, expire_at_ms.is_some()));
            self.reindex_expiry(slot, line::expires(old), expire_at_ms);
            T::from_raw(line::pointer(old))
        }
    }

    /// Sets or removes an item's expiry. The slot stays valid.
    pub fn set_expire(&mut self, slot: Slot, expire_at_ms: Option<u64>) {
        self.keep(slot);
        let word = self.word(slot);
        // SAFETY: the word is an item's, which nobody else uses; it is overwritten with where the
        // item is now.
        unsafe {
            let old = word.read();
            let raw = T::set_expire_at_ms(line::pointer(old), expire_at_ms);
            word.write(line::with_item(old, raw, expire_at_ms.is_some()));
            self.reindex_expiry(slot, line::expires(old), expire_at_ms);
        }
    }

    /// Replaces an item by what `make` makes of it, which has the same key and expiry. The slot stays
    /// valid.
    #[inline]
    pub fn map(&mut self, slot: Slot, make: impl FnOnce(T) -> T) {
        self.keep(slot);
        let word = self.word(slot);
        // The item is nobody's while `make` has it: a panic there must not lead back to the table.
        let unwinding = AbortOnUnwind;
        // SAFETY: the word is an item's, which is given up to `make`; the word is overwritten with
        // where the item is now, before anybody can use it.
        unsafe {
            let old = word.read();
            let raw = make(T::from_raw(line::pointer(old))).into_raw();
            debug_assert_eq!(T::expire_at_ms(raw).is_some(), line::expires(old));
            word.write(line::with_item(old, raw, line::expires(old)));
        }
        std::mem::forget(unwinding);
    }

    /// Takes an item out.
    #[inline]
    pub fn remove(&mut self, slot: Slot) -> T {
        self.keep(slot);
        let dir_index = slot.dir_index as usize;
        self.word(slot);
        let segment = self.segment(dir_index);
        // SAFETY: `word` has checked that the slot is an occupied one of a live segment. The word
        // taken out was the item's only one.
        unsafe {
            let bytes = segment.memory_bytes();
            let word = segment.take(slot.place as usize);
            self.segment_bytes = self.segment_bytes - bytes + segment.memory_bytes();
            self.len -= 1;
            if line::expires(word) {
                self.expires_len -= 1;
                self.drop_index_if_unused(dir_index);
            }
            self.shrink(dir_index);
            T::from_raw(line::pointer(word))
        }
    }

    /// Asks for the line where an item with this hash would be. The first of the two steps that
    /// prepare a batch of commands.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if self.len == 0 {
            return;
        }
        let position = self.position(hash);
        let segment = self.segment(self.dir_index(position));
        prefetch(segment.line_address(segment.home_of(position)));
        prefetch(segment.header());
    }

    /// Asks for the items in the home line that may be the one with this hash. Reads the line, so
    /// it comes some time after [`Self::prefetch_bucket`].
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        if self.len == 0 {
            return;
        }
        let position = self.position(hash);
        let segment = self.segment(self.dir_index(position));
        let (home, window) = (segment.home_of(position), segment.window_of(position));
        // SAFETY: the segment is live, its home lines are below homes(), and the neighbour of a
        // home line is one too.
        unsafe {
            if !prefetch_matches(segment.line(home), window)
                && (*segment.header()).in_neighbour & segment::bit(home) != 0
            {
                prefetch_matches(segment.line(home ^ 1), window);
            }
        }
    }

    /// Calls `look` with the items in the home line that may be the one with this hash: mostly with
    /// that one, but no key is compared. For a third step, which asks for more of an item than its
    /// first bytes.
    #[inline]
    pub fn peek(&self, hash: u64, mut look: impl FnMut(T::Ref<'_>)) {
        if self.len == 0 {
            return;
        }
        let position = self.position(hash);
        let segment = self.segment(self.dir_index(position));
        let (home, window) = (segment.home_of(position), segment.window_of(position));
        // SAFETY: the segment is live, its home lines are below homes(), and a matching word is
        // occupied, so it is a live item's, which nobody changes while self is borrowed.
        unsafe {
            let line = segment.line(home);
            for slot in line.matches(window) {
                look(T::borrow(line::pointer(line.0[slot])));
            }
        }
    }

    /// [`Self::prefetch_bucket`] or, with `entries`, [`Self::prefetch_entry`].
    #[inline]
    pub fn prefetch(&self, hash: u64, entries: bool) {
        match entries {
            true => self.prefetch_entry(hash),
            false => self.prefetch_bucket(hash),
        }
    }

    /// Drops all items and gives all memory back.
    pub fn clear(&mut self) {
        if self.is_saving() {
            return self.bequeath();
        }
        let mut dir_index = 0;
        while dir_index < self.dir.len() {
            let segment = self.segment(dir_index);
            dir_index += self.run_len(segment);
            // SAFETY: every segment is freed once, after each of its items is.
            unsafe {
                let drop_line = |line: &Line| {
                    line.occupied()
                        .for_each(|slot| drop(T::from_raw(line::pointer(line.0[slot]))));
                };
                let lines = segment.stash().end;
                for number in 0..lines {
                    if number + 1 < lines {
                        prefetch_items(segment.line(number + 1));
                    }
                    drop_line(segment.line(number));
                }
                segment.chain().for_each(|(at, _)| drop_line(&(*at).line));
                segment.free();
            }
        }
        self.dir = Vec::new();
        self.dir_shift = u64::BITS - 1;
        self.len = 0;
        self.segments = 0;
        self.deepest = 0;
        self.segment_bytes = 0;
        self.code_bytes = 0;
        self.expires_len = 0;
        self.next_expire_at_ms = NO_EXPIRY;
        self.due_at_ms = Vec::new();
        self.due_cursor = 0;
    }

    /// The bits of a hash that this table orders by, moved up to bit 63.
    #[inline]
    fn position(&self, hash: u64) -> u64 {
        hash.wrapping_shl(self.skip_bits)
    }

    #[inline]
    fn dir_index(&self, position: u64) -> usize {
        position.wrapping_shr(self.dir_shift) as usize
    }

    /// The segment at a directory index below `dir.len()`.
    #[inline]
    fn segment(&self, dir_index: usize) -> Segment {
        debug_assert!(dir_index < self.dir.len());
        // SAFETY: all callers have an index made by `dir_index` while the directory isn't empty,
        // below 2^bits = dir.len(), or one they compared with dir.len().
        unsafe { *self.dir.get_unchecked(dir_index) }
    }

    /// The number of directory slots that show a segment.
    #[inline]
    fn run_len(&self, segment: Segment) -> usize {
        self.dir.len() >> segment.depth()
    }

    /// The directory index of the first slot that shows a segment.
    #[inline]
    fn run_start(&self, dir_index: usize, segment: Segment) -> usize {
        dir_index & !(self.run_len(segment) - 1)
    }

    /// The word of an occupied slot. Panics if the slot is stale and shows nothing.
    #[inline]
    fn word(&self, slot: Slot) -> NonNull<u64> {
        let dir_index = slot.dir_index as usize;
        assert!(dir_index < self.dir.len(), "a stale slot");
        // SAFETY: the segment is live, and any place may be asked for.
        unsafe {
            let word = self.segment(dir_index).slot(slot.place as usize);
            word.filter(|word| line::is_occupied(word.read()))
                .expect("a stale slot")
        }
    }

    /// Makes the first segment.
    #[cold]
    fn start(&mut self) {
        let segment = Segment::new(0, HOMES_MIN);
        // SAFETY: the segment is live.
        self.segment_bytes = unsafe { segment.memory_bytes() };
        self.segments = 1;
        self.dir = vec![segment; 2];
        self.dir_shift = u64::BITS - 1;
    }

    /// Adds an item to a segment that is full and can't grow.
    #[cold]
    fn chain_up(&mut self, dir_index: usize, loose: Loose) -> usize {
        let segment = self.segment(dir_index);
        // SAFETY: the segment is live, and the word has its window.
        unsafe {
            let bytes = segment.memory_bytes();
            let place = segment.place_in_chain(loose);
            self.segment_bytes = self.segment_bytes - bytes + segment.memory_bytes();
            place
        }
    }
}

impl<T: Item> Drop for Table<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Slot {
    #[inline]
    fn new(dir_index: usize, place: usize) -> Self {
        // A directory has at most 2^33 slots of 8 bytes only if 64 GiB are spent on it, and a chain
        // is not that long; a wrapped number would be a stale slot, not a wild pointer.
        Self {
            dir_index: dir_index as u32,
            place: place as u32,
        }
    }
}

/// The slot of the item with this key in a line.
///
/// # Safety
/// The line is live.
#[inline]
unsafe fn find_in_line<T: Item>(line: &Line, window: u32, key: &[u8]) -> Option<usize> {
    line.matches(window).find(|&slot| {
        // SAFETY: a matching word is occupied, so it is a live item's.
        unsafe { same(T::key(line::pointer(line.0[slot])), key) }
    })
}

/// Whether two keys are the same; keys of 8 to 16 bytes, the common ones, without a call.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (
        a.first_chunk::<8>(),
        b.first_chunk(),
        a.last_chunk::<8>(),
        b.last_chunk(),
    ) {
        (Some(a_first), Some(b_first), Some(a_last), Some(b_last)) if a.len() <= 16 => {
            a_first == b_first && a_last == b_last
        }
        _ => a == b,
    }
}

/// Finds an item of `home` in the neighbour, the stash or the chain, and returns its place.
///
/// # Safety
/// The segment is live.
#[cold]
unsafe fn find_beyond<T: Item>(
    segment: Segment,
    home: usize,
    window: u32,
    key: &[u8],
) -> Option<usize> {
    // SAFETY: the caller's; the neighbour of a home line is one too.
    unsafe {
        let header = segment.header();
        if (*header).in_neighbour & segment::bit(home) != 0 {
            let neighbour = home ^ 1;
            if let Some(slot) = find_in_line::<T>(segment.line(neighbour), window, key) {
                return Some(neighbour * LINE_SLOTS + slot);
            }
        }
        if (*header).in_stash & segment::bit(home) == 0 {
            return None;
        }
        for number in segment.stash() {
            if let Some(slot) = find_in_line::<T>(segment.line(number), window, key) {
                return Some(number * LINE_SLOTS + slot);
            }
        }
        for (at, first) in segment.chain() {
            if let Some(slot) = find_in_line::<T>(&(*at).line, window, key) {
                return Some(first + slot);
            }
        }
        None
    }
}

/// Asks for the items of a line that may be the one looked for; false when there is none.
#[inline]
fn prefetch_matches(line: &Line, window: u32) -> bool {
    let mut found = false;
    for slot in line.matches(window) {
        let item = line::pointer(line.0[slot]).as_ptr();
        prefetch(item);
        // Every other item of the common sizes lies across two cache lines.
        prefetch(item.wrapping_add(ITEM_REACH_BYTES));
        found = true;
    }
    found
}

/// Asks for all items of a line, for a walk, which reads more of each than a lookup.
#[inline]
fn prefetch_items(line: &Line) {
    let occupied: Bits = line.occupied();
    occupied.for_each(|slot| {
        let item = line::pointer(line.0[slot]).as_ptr();
        prefetch(item);
        prefetch(item.wrapping_add(CACHE_LINE_BYTES));
    });
}
