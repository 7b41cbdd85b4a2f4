//! How large values are: how many keys of each type have which size (INFO keysizes), and which are the
//! largest (INFO bigkeys).
//!
//! Nothing of it is known until somebody asks. Then every shard gets a book (`Sizes`), each database
//! is walked once, a slice of keys at a time, and from then on whoever changes a key takes it out of
//! the book before and enters it again after: to know how ten million keys are spread takes no walk. When nobody
//! has asked for a while the books are thrown away. Without them a write pays one predicted branch that it has
//! in common with snapshots, and another one when it is done.
//!
//! Out goes what `ShardData::before_change` is told of, which is all that changes or leaves, and what
//! the expiry cycle removes; in goes what `Access` has put into a table, a `KeyMut` that is done, and
//! what a file brings.
//!
//! Invariant: between two holds of a shard's lock its book holds each key of a database that has been
//! walked, and of the others those before `DbSizes::counted_to`, once, with the size that it has. Tests
//! compare books with what a fresh walk counts after each command of all their sessions.
//!
//! To add a way in which keys change or leave: see `snapshot`. One in which keys come: `Side::enter_size`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::ds::entry::EntryRef;
use crate::ds::footprint::block_bytes;
use crate::ds::table::Slot;
use crate::util::check::{Checked, holds};
use crate::value::{self, Type};

use super::access::Access;
use super::keyspace::{DbIndex, Keyspace, ShardData};
use super::side::Side;

/// Types of values.
pub const TYPES: usize = 6;
/// Bins of a histogram: one for size 0, then one for each power of two.
pub const BINS: usize = 48;
/// How many of the largest keys each shard remembers, of each database and type.
const LARGEST_PER_SHARD: usize = 8;
/// Strings of fewer bytes are not large.
const LARGE_BYTES_MIN: u64 = 1024;
/// Collections of fewer elements are not large.
const LARGE_ELEMENTS_MIN: u64 = 128;
/// Keys that are counted while a shard is held.
const SLICE_KEYS: usize = 512;
/// How long books are kept up when nobody asks any more.
const IDLE_MS: u64 = 10 * 60 * 1000;
/// [`DbSizes::counted_to`] of a database that has been walked to its end.
const WALKED: u64 = u64::MAX;

/// Whether there are books.
#[derive(Default)]
pub struct SizesClock {
    /// When somebody asked last, Unix ms; 0 when there are no books.
    asked_at_ms: AtomicU64,
}

/// The book of a shard.
pub(super) struct Sizes {
    /// Of a key's hash, what a table's cursor shows.
    cursor_mask: u64,
    dbs: Vec<DbSizes>,
}

/// The book of a database in a shard.
struct DbSizes {
    /// Keys before this cursor of the table are in the book.
    counted_to: u64,
    counts: [[u32; BINS]; TYPES],
    largest: [Vec<Large>; TYPES],
}

/// A large key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Large {
    /// Its database.
    pub db: DbIndex,
    /// Bytes of a string, elements of anything else.
    pub size: u64,
    /// Its name.
    pub key: Box<[u8]>,
}

/// What the books say of all shards together.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct SizesReport {
    /// By database, type (its number) and bin.
    pub databases: Vec<[[u64; BINS]; TYPES]>,
    /// By type, largest first: large keys that were met since the books were begun, and are still there.
    pub largest: [Vec<Large>; TYPES],
}

/// The bin of a size.
#[inline]
fn bin(size: u64) -> usize {
    ((u64::BITS - size.leading_zeros()) as usize).min(BINS - 1)
}

/// The smallest size of a bin.
pub fn bin_start(bin: usize) -> u64 {
    match bin {
        0 => 0,
        bin => 1 << (bin - 1),
    }
}

#[inline]
fn is_large(type_: u8, size: u64) -> bool {
    size >= match type_ == Type::String as u8 {
        true => LARGE_BYTES_MIN,
        false => LARGE_ELEMENTS_MIN,
    }
}

impl DbSizes {
    fn new(counted_to: u64) -> DbSizes {
        DbSizes {
            counted_to,
            counts: [[0; BINS]; TYPES],
            largest: Default::default(),
        }
    }

    #[inline]
    fn enter(&mut self, db: DbIndex, entry: EntryRef<'_>) {
        let (type_, size) = (entry.type_(), value::size(entry));
        let Some(counts) = self.counts.get_mut(type_ as usize) else {
            return;
        };
        counts[bin(size)] += 1;
        if is_large(type_, size) {
            self.enter_large(db, type_, size, entry.key());
        }
    }

    #[inline]
    fn leave(&mut self, entry: EntryRef<'_>) {
        let (type_, size) = (entry.type_(), value::size(entry));
        let Some(counts) = self.counts.get_mut(type_ as usize) else {
            return;
        };
        let count = &mut counts[bin(size)];
        debug_assert!(*count > 0, "a key leaves that was not in the book");
        *count = count.saturating_sub(1);
        if is_large(type_, size) {
            let largest = &mut self.largest[type_ as usize];
            let is_it = |large: &Large| large.size == size && *large.key == *entry.key();
            if let Some(at) = largest.iter().position(is_it) {
                largest.swap_remove(at);
            }
        }
    }

    fn enter_large(&mut self, db: DbIndex, type_: u8, size: u64, key: &[u8]) {
        let largest = &mut self.largest[type_ as usize];
        let new = || Large {
            db,
            size,
            key: key.into(),
        };
        if largest.len() < LARGEST_PER_SHARD {
            largest.push(new());
        } else if let Some(least) = largest.iter_mut().min_by_key(|large| large.size)
            && least.size < size
        {
            *least = new();
        }
    }
}

impl Sizes {
    /// Memory of the book, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let lists = self.dbs.iter().flat_map(|db| &db.largest);
        let lists = lists.map(|largest| {
            let keys = largest.iter().map(|large| block_bytes(large.key.len()));
            block_bytes(largest.capacity() * size_of::<Large>()) + keys.sum::<usize>()
        });
        block_bytes(size_of::<Sizes>())
            + block_bytes(self.dbs.capacity() * size_of::<DbSizes>())
            + lists.sum::<usize>()
    }

    fn new(tables: usize, shard_bits: u32) -> Sizes {
        Sizes {
            cursor_mask: u64::MAX >> shard_bits,
            dbs: (0..tables).map(|_| DbSizes::new(0)).collect(),
        }
    }

    /// The book of a database. One that has come since the shard has a book was empty then.
    #[inline]
    fn of(&mut self, db: DbIndex) -> &mut DbSizes {
        let index = db.0 as usize;
        if index >= self.dbs.len() {
            self.dbs.resize_with(index + 1, || DbSizes::new(WALKED));
        }
        &mut self.dbs[index]
    }

    /// The book of a database, if it has, or is to have, a key with this hash.
    #[inline]
    fn with(&mut self, db: DbIndex, hash: impl FnOnce() -> u64) -> Option<&mut DbSizes> {
        let mask = self.cursor_mask;
        let book = self.of(db);
        let is_counted = book.counted_to == WALKED || hash() & mask < book.counted_to;
        is_counted.then_some(book)
    }
}

impl Side {
    /// A key is in its table, new or changed.
    #[inline(always)]
    pub(super) fn enter_size(&mut self, db: DbIndex, hash: u64, entry: EntryRef<'_>) {
        if self.sizes.is_some() {
            self.enter_in_book(db, hash, entry);
        }
    }

    #[inline(never)]
    fn enter_in_book(&mut self, db: DbIndex, hash: u64, entry: EntryRef<'_>) {
        if let Some(sizes) = &mut self.sizes
            && let Some(book) = sizes.with(db, || hash)
        {
            book.enter(db, entry);
        }
    }

    /// A key has left its table, of which nobody was told before.
    #[inline]
    pub(super) fn leave_size(&mut self, db: DbIndex, hash: u64, entry: EntryRef<'_>) {
        if let Some(sizes) = &mut self.sizes
            && let Some(book) = sizes.with(db, || hash)
        {
            book.leave(entry);
        }
    }

    /// A database was emptied.
    pub(super) fn forget_sizes(&mut self, db: DbIndex) {
        if let Some(sizes) = &mut self.sizes {
            *sizes.of(db) = DbSizes::new(WALKED);
        }
    }

    /// Two databases were exchanged.
    pub(super) fn swap_sizes(&mut self, a: DbIndex, b: DbIndex) {
        let Some(sizes) = &mut self.sizes else {
            return;
        };
        sizes.of(a.max(b));
        sizes.dbs.swap(a.0 as usize, b.0 as usize);
        for db in [a, b] {
            let largest = &mut sizes.dbs[db.0 as usize].largest;
            largest.iter_mut().flatten().for_each(|large| large.db = db);
        }
    }
}

impl ShardData {
    /// The key in a slot is about to change or to go.
    #[inline(never)]
    pub(super) fn leave_size_of(&mut self, db: DbIndex, slot: Slot) {
        let table = &self.tables[db.0 as usize];
        if let Some(sizes) = &mut self.side.sizes
            && let Some(book) = sizes.with(db, || table.hash_of(slot))
        {
            book.leave(table.get(slot));
        }
    }

    /// Whether the book says what a walk through the tables does.
    pub(super) fn check_sizes(&self, hash: impl Fn(&[u8]) -> u64) -> Checked {
        let Some(sizes) = &self.side.sizes else {
            return Ok(());
        };
        for (db, book) in (0..).map(DbIndex).zip(&sizes.dbs) {
            let mut fresh = DbSizes::new(book.counted_to);
            let table = self.table(db);
            let entries = table.into_iter().flatten();
            entries.for_each(|entry| {
                let cursor = hash(entry.key()) & sizes.cursor_mask;
                if book.counted_to == WALKED || cursor < book.counted_to {
                    fresh.enter(db, entry);
                }
            });
            let number = db.0;
            holds!(
                book.counts == fresh.counts,
                "sizes in the book of database {number}"
            );
            for (type_, largest) in book.largest.iter().enumerate() {
                for large in largest {
                    let slot = table.and_then(|table| table.find(hash(&large.key), &large.key));
                    let entry = table.zip(slot).map(|(table, slot)| table.get(slot));
                    let is = entry.map(|entry| (value::size(entry), entry.type_() as usize));
                    holds!(
                        is == Some((large.size, type_)) && large.db == db,
                        "a large key of database {number}: {large:?} is {is:?}"
                    );
                }
            }
        }
        Ok(())
    }

    /// Enters up to so many keys that are in no book yet; how many, and whether that was all.
    fn count_sizes(&mut self, keys: usize, shard_bits: u32) -> (usize, bool) {
        let tables = self.tables.len();
        let new = || Box::new(Sizes::new(tables, shard_bits));
        let sizes = self.side.sizes.get_or_insert_with(new);
        let books = (0..).map(DbIndex).zip(&mut sizes.dbs);
        let mut walked = books.zip(&self.tables);
        let Some(((db, book), table)) = walked.find(|((_, book), _)| book.counted_to != WALKED)
        else {
            return (0, true);
        };
        let mut seen = 0;
        let next = table.scan(book.counted_to, keys, |entry| {
            seen += 1;
            book.enter(db, entry);
        });
        book.counted_to = if next == 0 { WALKED } else { next };
        (seen, false)
    }
}

impl SizesReport {
    fn add(&mut self, sizes: &Sizes) {
        if self.databases.len() < sizes.dbs.len() {
            let none = [[0; BINS]; TYPES];
            self.databases.resize(sizes.dbs.len(), none);
        }
        for (sum, book) in self.databases.iter_mut().zip(&sizes.dbs) {
            let sums = sum.iter_mut().flatten();
            for (sum, count) in sums.zip(book.counts.iter().flatten()) {
                *sum += u64::from(*count);
            }
            for (all, largest) in self.largest.iter_mut().zip(&book.largest) {
                all.extend_from_slice(largest);
            }
        }
    }
}

impl Access<'_> {
    /// What the books say, which are begun if there are none. `None` if more keys than `budget` would have
    /// to be counted for it: some of the work is done then, and it is to be called again.
    pub fn sizes(&mut self, budget: usize) -> Option<SizesReport> {
        let bits = self.keyspace().shard_bits();
        let asked_at_ms = &self.keyspace().sizes.asked_at_ms;
        asked_at_ms.store(self.clock_ms().max(1), Ordering::Relaxed);
        let (mut report, mut left) = (SizesReport::default(), budget);
        let mut is_whole = true;
        for id in self.keyspace().shard_ids() {
            let mut is_walked = false;
            while !is_walked && left > 0 && !self.gave_up() {
                let slice = left.min(SLICE_KEYS);
                let (seen, is_done) = self.with_shard(id, |shard| {
                    let (seen, is_done) = shard.count_sizes(slice, bits);
                    if let Some(sizes) = shard.side.sizes.as_ref().filter(|_| is_done) {
                        report.add(sizes);
                    }
                    (seen, is_done)
                });
                is_walked = is_done;
                // What has no keys is work, too.
                left = left.saturating_sub(seen.max(usize::from(!is_done)));
            }
            is_whole &= is_walked;
        }
        if !is_whole {
            return None;
        }
        for largest in &mut report.largest {
            largest.sort_unstable_by(|a, b| (b.size, a.db, &a.key).cmp(&(a.size, b.db, &b.key)));
        }
        Some(report)
    }
}

impl Keyspace {
    /// Throws the books away when nobody has asked for a while; to be called now and then. It waits for nobody
    /// who has the keyspace for himself for long: what is left is thrown away the next time.
    pub fn forget_idle_sizes(&self, now_ms: u64) {
        let asked_at_ms = &self.sizes.asked_at_ms;
        let asked_ms = asked_at_ms.load(Ordering::Relaxed);
        if asked_ms == 0 || now_ms.saturating_sub(asked_ms) < IDLE_MS {
            return;
        }
        for id in self.shard_ids() {
            let Some(mut data) = self.claim(id) else {
                return;
            };
            data.side.sizes = None;
        }
        // Who has asked just now finds that some are missing, and begins them again.
        let _ = asked_at_ms.compare_exchange(asked_ms, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
