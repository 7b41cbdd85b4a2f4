//! Hash values: fields with their values, read through [`HashRef`], written through [`HashMut`].
//!
//! A hash is stored in one of two ways. A short one is a listpack of field, value, field, value in
//! the order in which the fields came; a field costs a walk. A long one, or one with a field that
//! expires, is a [`FieldTable`]: entries from field to value, each with an expiry of its own. Which
//! it is follows Valkey to the letter, since OBJECT ENCODING shows it: a hash becomes a table when
//! a field or value is longer, or there are more fields, than the directives allow ([`Terms`]), and
//! when a field gets an expiry. It never goes back.
//!
//! A field whose time has come is not there, for readers and writers alike, whether or not the
//! expiry cycle has taken it out. Everything here therefore knows the time.
//!
//! Values come out as [`ValueRef`], as they are stored: integers may be stored as such. Fields,
//! too, since a listpack does not know which of its elements are fields.
//!
//! Invariants:
//! - no field is in a hash twice;
//! - an integer is stored as such only if its text is the one that it prints as;
//! - expiries of fields change only through the table, whose index the expiry cycle follows.
//!
//! To add a write: find the field's [`Place`], then change what is there. To store hashes in
//! another place than an entry or a draft, implement [`Home`].

use std::borrow::Cow;

use super::Encoding;
use crate::ds::buf::Buf;
use crate::ds::collection::{Collection, FieldTable};
use crate::ds::entry::{Entry, EntryMut, EntryRef, EntrySlot, Meta, NewValue, ValueRef};
use crate::ds::hash::KeyHash;
use crate::ds::listpack::{self, Listpack, Value};
use crate::ds::table::{self, Slot, Table};
use crate::util::num;
use crate::util::rng::Rng;

pub mod build;

#[cfg(test)]
mod tests;

/// Integers of more digits take less room in an entry as 8 bytes than as text.
const INT_TEXT_BYTES_MAX: usize = 7;
/// Bits of a table's cursor that a client's does without: they are always 0.
const CURSOR_GRAIN_BITS: u32 = 16;
/// Random draws that may meet expired fields before the fields are counted through.
const RANDOM_DRAWS: usize = 32;

/// A hash to be read.
#[derive(Clone, Copy)]
pub enum HashRef<'a> {
    /// A short one.
    Listpack(Listpack<'a>),
    /// A long one, or one with fields that expire.
    Table {
        /// Its fields.
        table: &'a Table<Entry>,
        /// Fields that expire at this time or before are not seen (Unix ms).
        now_ms: u64,
    },
}

/// A field with its value.
pub type Pair<'a> = (ValueRef<'a>, ValueRef<'a>);

impl<'a> HashRef<'a> {
    /// Reads the value of a key of the type hash.
    #[inline]
    pub fn new(value: ValueRef<'a>, now_ms: u64) -> HashRef<'a> {
        match value {
            ValueRef::Collection(Collection::Hash(fields)) => HashRef::Table {
                table: &fields.table,
                now_ms,
            },
            // Nothing else is ever stored under the type; it would read as an empty hash.
            value => HashRef::Listpack(Listpack::new(value.as_bytes().unwrap_or(&listpack::EMPTY))),
        }
    }

    /// The value of a field.
    #[inline]
    pub fn get(self, field: &[u8]) -> Option<ValueRef<'a>> {
        match self {
            HashRef::Listpack(list) => {
                let at = find_in_list(list, field)?;
                Some(list_value(list, at))
            }
            HashRef::Table { table, now_ms } => {
                let entry = find_entry(table, field)?;
                is_live(entry, now_ms).then(|| entry.value())
            }
        }
    }

    /// Whether a field is there.
    #[inline]
    pub fn contains(self, field: &[u8]) -> bool {
        match self {
            HashRef::Listpack(list) => find_in_list(list, field).is_some(),
            HashRef::Table { .. } => self.get(field).is_some(),
        }
    }

    /// When a field expires (Unix ms), `Some(None)` for never; `None` if it is not there.
    pub fn expire_at_ms(self, field: &[u8]) -> Option<Option<u64>> {
        match self {
            HashRef::Listpack(list) => find_in_list(list, field).map(|_| None),
            HashRef::Table { table, now_ms } => {
                let entry = find_entry(table, field)?;
                is_live(entry, now_ms).then(|| entry.expire_at_ms())
            }
        }
    }

    /// Whether fields may have expired that are still stored; then [`HashRef::len`] has to look at
    /// all of them.
    #[inline]
    pub fn may_have_expired(self) -> bool {
        match self {
            HashRef::Listpack(_) => false,
            HashRef::Table { table, now_ms } => table.next_expire_at_ms() <= now_ms,
        }
    }

    /// The number of fields.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            HashRef::Listpack(list) => list.len() / 2,
            HashRef::Table { table, .. } if !self.may_have_expired() => table.len(),
            HashRef::Table { .. } => self.iter().count(),
        }
    }

    /// The number of fields that are stored, also of those that have expired.
    pub fn stored_len(self) -> usize {
        match self {
            HashRef::Listpack(list) => list.len() / 2,
            HashRef::Table { table, .. } => table.len(),
        }
    }

    /// Whether there are no fields.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// All fields with their values, in the order of the storage.
    pub fn iter(self) -> Iter<'a> {
        match self {
            HashRef::Listpack(list) => Iter::Listpack(list.iter()),
            HashRef::Table { table, now_ms } => Iter::Table {
                entries: table.iter(),
                now_ms,
            },
        }
    }

    /// A random field with its value, all about equally likely; `None` if there is none.
    pub fn random(self, rng: &mut Rng) -> Option<Pair<'a>> {
        let (table, now_ms) = match self {
            HashRef::Listpack(list) => return random_of_list(list, rng),
            HashRef::Table { table, now_ms } => (table, now_ms),
        };
        let mut next = || rng.next_u64();
        for _ in 0..RANDOM_DRAWS {
            let entry = table.random(&mut next)?;
            if is_live(entry, now_ms) {
                return Some(pair_of(entry));
            }
        }
        // Nearly all have expired.
        let live = self.iter().count();
        self.iter().nth(rng.index(live))
    }

    /// Hands out some `count` fields from `cursor` on; all at once of a short hash. Returns the
    /// cursor to go on from, 0 at the end. Fields that are there throughout are handed out once.
    pub fn scan(self, cursor: u64, count: usize, mut f: impl FnMut(Pair<'_>)) -> u64 {
        let (table, now_ms) = match self {
            HashRef::Listpack(_) => {
                self.iter().for_each(f);
                return 0;
            }
            HashRef::Table { table, now_ms } => (table, now_ms),
        };
        if cursor > u64::MAX >> CURSOR_GRAIN_BITS {
            return 0;
        }
        let next = table.scan(cursor << CURSOR_GRAIN_BITS, count, |entry| {
            if is_live(entry, now_ms) {
                f(pair_of(entry));
            }
        });
        next >> CURSOR_GRAIN_BITS
    }
}

/// See [`HashRef::iter`].
pub enum Iter<'a> {
    /// Of a short hash.
    Listpack(listpack::Iter<'a>),
    /// Of a long one.
    Table {
        /// Its fields.
        entries: table::Iter<'a, Entry>,
        /// As in [`HashRef::Table`].
        now_ms: u64,
    },
}

impl<'a> Iterator for Iter<'a> {
    type Item = Pair<'a>;

    #[inline]
    fn next(&mut self) -> Option<Pair<'a>> {
        match self {
            Iter::Listpack(elements) => {
                let (field, value) = (elements.next()?, elements.next()?);
                Some((stored(field), stored(value)))
            }
            Iter::Table { entries, now_ms } => {
                let entry = entries.find(|entry| is_live(*entry, *now_ms))?;
                Some(pair_of(entry))
            }
        }
    }
}

/// The text of a field or value that was read.
#[inline]
pub fn text(value: ValueRef<'_>) -> Cow<'_, [u8]> {
    match value {
        ValueRef::Int(int) => Cow::Owned(itoa::Buffer::new().format(int).into()),
        value => Cow::Borrowed(value.as_bytes().unwrap_or_default()),
    }
}

/// An element of a listpack as it is read elsewhere.
#[inline]
pub fn stored(element: Value<'_>) -> ValueRef<'_> {
    match element {
        Value::Int(int) => ValueRef::Int(int),
        Value::Bytes(bytes) => ValueRef::Bytes(bytes),
    }
}

/// Where a field is among the elements.
#[inline]
fn find_in_list(list: Listpack<'_>, field: &[u8]) -> Option<usize> {
    list.prefetch();
    list.find(listpack::HEADER_BYTES, field, 1)
}

/// The value of the field at `at`.
#[inline]
fn list_value(list: Listpack<'_>, at: usize) -> ValueRef<'_> {
    // A field is never the last element.
    list.next(at)
        .map_or(ValueRef::Bytes(b""), |at| stored(list.value(at)))
}

fn random_of_list<'a>(list: Listpack<'a>, rng: &mut Rng) -> Option<Pair<'a>> {
    let index = rng.below(list.len() as u64 / 2);
    let at = list.seek(i64::try_from(index * 2).ok()?)?;
    Some((stored(list.value(at)), list_value(list, at)))
}

#[inline]
fn find_entry<'a>(table: &'a Table<Entry>, field: &[u8]) -> Option<EntryRef<'a>> {
    let slot = find_slot(table, table.key_hash().hash(field), field)?;
    Some(table.get(slot))
}

/// The slot of a field. All of its entry comes into the cache at once, not first the field, then
/// the value behind it: nobody has looked ahead for it, as for keys.
#[inline]
fn find_slot(table: &Table<Entry>, hash: u64, field: &[u8]) -> Option<Slot> {
    table.prefetch_entry(hash);
    table.find(hash, field)
}

#[inline]
fn is_live(entry: EntryRef<'_>, now_ms: u64) -> bool {
    entry.expire_at_ms().is_none_or(|at_ms| at_ms > now_ms)
}

#[inline]
fn pair_of(entry: EntryRef<'_>) -> Pair<'_> {
    (ValueRef::Bytes(entry.key()), entry.value())
}

/// What a write follows.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// `hash-max-listpack-entries`
    pub entries_max: u64,
    /// `hash-max-listpack-value`, bytes
    pub value_bytes_max: u64,
    /// The hash function of tables.
    pub key_hash: KeyHash,
    /// Fields that expire at this time or before are not there (Unix ms).
    pub now_ms: u64,
}

impl Terms {
    #[inline]
    fn allow_bytes(&self, len: usize) -> bool {
        len as u64 <= self.value_bytes_max
    }

    #[inline]
    fn allow_fields(&self, fields: usize) -> bool {
        fields as u64 <= self.entries_max
    }
}

/// What a write does to a field's expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ttl {
    /// It stays as it is.
    Keep,
    /// The field lives until it is deleted.
    Never,
    /// Unix time in milliseconds, not yet reached.
    At(u64),
}

/// Where a hash is stored: bytes of a listpack, or else a table.
pub trait Home: Buf {
    /// The hash as it is now.
    fn view(&self, now_ms: u64) -> HashRef<'_>;

    /// The fields of a long hash, to be changed.
    fn table_mut(&mut self) -> Option<&mut Table<Entry>>;

    /// Takes the place of the listpack.
    fn become_table(&mut self, table: Table<Entry>);
}

impl Home for EntrySlot<'_> {
    #[inline]
    fn view(&self, now_ms: u64) -> HashRef<'_> {
        HashRef::new(EntrySlot::view(self).value(), now_ms)
    }

    #[inline]
    fn table_mut(&mut self) -> Option<&mut Table<Entry>> {
        match self.collection_mut() {
            Some(Collection::Hash(fields)) => Some(&mut fields.table),
            _ => None,
        }
    }

    fn become_table(&mut self, table: Table<Entry>) {
        self.set_value(Encoding::Hashtable as u8, table_value(table));
    }
}

fn table_value(table: Table<Entry>) -> NewValue<'static> {
    let fields = FieldTable::new(table);
    NewValue::Collection(Box::new(Collection::Hash(fields)))
}

/// A hash that is put together before it is stored.
pub struct Draft {
    bytes: Vec<u8>,
    table: Option<Table<Entry>>,
}

impl Draft {
    /// An empty one with room for a listpack of `bytes`.
    pub fn with_capacity(bytes: usize) -> Draft {
        Draft::of(&listpack::EMPTY, bytes)
    }

    fn of(list: &[u8], more_bytes: usize) -> Draft {
        let mut bytes = Vec::with_capacity(list.len().saturating_add(more_bytes));
        bytes.extend_from_slice(list);
        Draft { bytes, table: None }
    }

    /// What to store.
    pub fn value(&mut self) -> (Encoding, NewValue<'_>) {
        match self.table.take() {
            Some(table) => (Encoding::Hashtable, table_value(table)),
            None => (Encoding::Listpack, NewValue::Bytes(&self.bytes)),
        }
    }
}

impl Buf for Draft {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    #[inline]
    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]) {
        Buf::splice(&mut self.bytes, at, remove, insert);
    }
}

impl Home for Draft {
    fn view(&self, now_ms: u64) -> HashRef<'_> {
        match &self.table {
            Some(table) => HashRef::Table { table, now_ms },
            None => HashRef::Listpack(Listpack::new(&self.bytes)),
        }
    }

    fn table_mut(&mut self) -> Option<&mut Table<Entry>> {
        self.table.as_mut()
    }

    fn become_table(&mut self, table: Table<Entry>) {
        self.table = Some(table);
        self.bytes = Vec::new();
    }
}

/// Where a field is, or that it is not there. Good until the next change of the hash.
#[derive(Clone, Copy)]
pub struct Place(Spot);

#[derive(Clone, Copy)]
enum Spot {
    /// The field's offset, and the length of the listpack, bytes.
    List { at: Option<usize>, len: usize },
    /// The field's slot, also when it has expired.
    Table { hash: u64, slot: Option<Slot> },
}

/// A hash to be changed.
pub struct HashMut<H> {
    home: H,
    terms: Terms,
    /// Fields that had expired and were still stored, and that have given way.
    expired: u64,
}

impl<H: Home> HashMut<H> {
    /// Changes the hash that is stored there.
    #[inline]
    pub fn new(home: H, terms: Terms) -> HashMut<H> {
        HashMut {
            home,
            terms,
            expired: 0,
        }
    }

    /// Gives the place back.
    pub fn into_home(self) -> H {
        self.home
    }

    /// The hash as it is now.
    #[inline]
    pub fn view(&self) -> HashRef<'_> {
        self.home.view(self.terms.now_ms)
    }

    /// How many fields were deleted or set again that had expired but were still stored.
    #[inline]
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// Whether it is still a listpack.
    #[inline]
    pub fn is_list(&self) -> bool {
        matches!(self.view(), HashRef::Listpack(_))
    }

    /// Finds a field.
    #[inline]
    pub fn find(&self, field: &[u8]) -> Place {
        Place(match self.view() {
            HashRef::Listpack(list) => Spot::List {
                at: find_in_list(list, field),
                len: list.bytes().len(),
            },
            HashRef::Table { table, .. } => {
                let hash = self.terms.key_hash.hash(field);
                let slot = find_slot(table, hash, field);
                Spot::Table { hash, slot }
            }
        })
    }

    /// The entry in a slot of the table, if it has not expired.
    #[inline]
    fn live_entry(&self, slot: Option<Slot>) -> Option<EntryRef<'_>> {
        let HashRef::Table { table, now_ms } = self.view() else {
            return None;
        };
        let entry = table.get(slot?);
        is_live(entry, now_ms).then_some(entry)
    }

    /// The value at a place.
    #[inline]
    pub fn get(&self, place: Place) -> Option<ValueRef<'_>> {
        match place.0 {
            Spot::List { at, .. } => Some(list_value(Listpack::new(self.home.bytes()), at?)),
            Spot::Table { slot, .. } => Some(self.live_entry(slot)?.value()),
        }
    }

    /// Whether the field at a place has expired, and is still stored.
    #[inline]
    pub fn has_expired(&self, place: Place) -> bool {
        match place.0 {
            Spot::Table { slot, .. } => slot.is_some() && self.live_entry(slot).is_none(),
            Spot::List { .. } => false,
        }
    }

    /// When the field at a place expires, as [`HashRef::expire_at_ms`].
    pub fn expire_at_ms(&self, place: Place) -> Option<Option<u64>> {
        match place.0 {
            Spot::List { at, .. } => at.map(|_| None),
            Spot::Table { slot, .. } => Some(self.live_entry(slot)?.expire_at_ms()),
        }
    }

    /// Sets a field; true when it was not there.
    #[inline]
    pub fn set(&mut self, field: &[u8], value: Value<'_>, ttl: Ttl) -> bool {
        let place = self.find(field);
        self.set_at(place, field, value, ttl)
    }

    /// Sets the field that was found, or not, at a place; true when it was not there.
    pub fn set_at(&mut self, place: Place, field: &[u8], value: Value<'_>, ttl: Ttl) -> bool {
        let place = match place.0 {
            Spot::List { at, len } if self.can_stay_list(len, field.len(), value, ttl) => {
                set_in_list(&mut self.home, at, field, value);
                let fields = Listpack::new(self.home.bytes()).len() / 2;
                if !self.terms.allow_fields(fields) {
                    self.convert();
                }
                return at.is_none();
            }
            Spot::List { .. } => {
                self.convert();
                self.find(field)
            }
            Spot::Table { .. } => place,
        };
        let (Spot::Table { hash, slot }, Some(table)) = (place.0, self.home.table_mut()) else {
            return false;
        };
        let is_new = set_in_table(table, hash, slot, field, value, ttl, self.terms.now_ms);
        self.expired += u64::from(is_new && slot.is_some());
        is_new
    }

    #[inline]
    fn can_stay_list(&self, len: usize, field_len: usize, value: Value<'_>, ttl: Ttl) -> bool {
        let value_len = value.len_bytes();
        !matches!(ttl, Ttl::At(_))
            && self.terms.allow_bytes(field_len)
            && self.terms.allow_bytes(value_len)
            && listpack::fits(len, field_len.saturating_add(value_len))
    }

    /// Deletes the field at a place; false when it is not there.
    pub fn delete_at(&mut self, place: Place) -> bool {
        let was_there = self.get(place).is_some();
        match place.0 {
            Spot::List { at: Some(at), .. } => {
                listpack::delete(&mut self.home, at, 2);
            }
            Spot::Table {
                slot: Some(slot), ..
            } => {
                drop(self.home.table_mut().map(|table| table.remove(slot)));
                self.expired += u64::from(!was_there);
            }
            _ => {}
        }
        was_there
    }

    /// Deletes a field; false when it is not there.
    pub fn delete(&mut self, field: &[u8]) -> bool {
        let place = self.find(field);
        self.delete_at(place)
    }

    /// Sets or removes the expiry of a field, if that is there; a time to come.
    pub fn set_expire(&mut self, field: &[u8], expire_at_ms: Option<u64>) {
        let place = self.find(field);
        let place = match (self.expire_at_ms(place), place.0) {
            (None, _) => return,
            (Some(current_ms), _) if current_ms == expire_at_ms => return,
            (Some(_), Spot::Table { .. }) => place,
            (Some(_), Spot::List { .. }) => {
                self.convert();
                self.find(field)
            }
        };
        if let Spot::Table {
            slot: Some(slot), ..
        } = place.0
            && let Some(table) = self.home.table_mut()
        {
            table.set_expire(slot, expire_at_ms);
        }
    }

    /// Takes out fields that have expired, up to `most` of them, and hands them over; how many it
    /// were.
    pub fn take_expired(&mut self, most: usize, mut taken: impl FnMut(Entry)) -> usize {
        let now_ms = self.terms.now_ms;
        let table = self.home.table_mut();
        table.map_or(0, |table| table.take_expired(now_ms, most, &mut taken))
    }

    /// Turns a listpack into a table.
    #[cold]
    fn convert(&mut self) {
        let Terms {
            key_hash, now_ms, ..
        } = self.terms;
        let HashRef::Listpack(list) = self.view() else {
            return;
        };
        let mut table = Table::new(0, key_hash);
        table.set_clock_ms(now_ms);
        let mut digits = itoa::Buffer::new();
        let mut elements = list.iter();
        while let (Some(field), Some(value)) = (elements.next(), elements.next()) {
            let field = field.bytes(&mut digits);
            table.insert(key_hash.hash(field), new_entry(field, value, None));
        }
        self.home.become_table(table);
    }

    /// Sets fields as HSET does; answers how many were not there. What is too much for a listpack
    /// makes it a table before the first of them is set, also when some of them are the same.
    pub fn set_all<'v>(
        &mut self,
        pairs: impl Iterator<Item = (&'v [u8], &'v [u8])> + Clone,
    ) -> usize {
        if self.is_list() && !self.allow_all(pairs.clone()) {
            self.convert();
        }
        self.set_each(pairs, Ttl::Never)
    }

    /// Sets fields one after the other; answers how many were not there.
    pub fn set_each<'v>(
        &mut self,
        pairs: impl Iterator<Item = (&'v [u8], &'v [u8])>,
        ttl: Ttl,
    ) -> usize {
        pairs
            .map(|(field, value)| usize::from(self.set(field, Value::from(value), ttl)))
            .sum()
    }

    fn allow_all<'v>(&self, pairs: impl Iterator<Item = (&'v [u8], &'v [u8])>) -> bool {
        let (mut fields, mut bytes) = (0usize, 0usize);
        for (field, value) in pairs {
            if !self.terms.allow_bytes(field.len()) || !self.terms.allow_bytes(value.len()) {
                return false;
            }
            fields += 1;
            bytes = bytes
                .saturating_add(field.len())
                .saturating_add(value.len());
        }
        self.terms.allow_fields(fields) && listpack::fits(self.home.bytes().len(), bytes)
    }
}

impl HashMut<EntrySlot<'_>> {
    /// As `set` says, on a copy beside a listpack that is written back as a whole: for several
    /// fields, each of which would move the entry otherwise.
    pub fn drafted<R>(
        &mut self,
        more_bytes: usize,
        set: impl FnOnce(&mut HashMut<Draft>) -> R,
    ) -> R {
        let old_len = self.home.bytes().len();
        let draft = Draft::of(self.home.bytes(), more_bytes);
        let mut draft = HashMut::new(draft, self.terms);
        let result = set(&mut draft);
        let mut draft = draft.into_home();
        match draft.table.take() {
            Some(table) => self.home.become_table(table),
            None => self.home.splice(0, old_len, &draft.bytes),
        }
        result
    }
}

/// Bytes that a listpack grows by, at most, when these texts are put into it.
pub fn list_bytes<'v>(pairs: impl Iterator<Item = (&'v [u8], &'v [u8])>) -> usize {
    /// Head and back length of an element.
    const ELEMENT_BYTES: usize = 10;
    pairs.fold(0usize, |sum, (field, value)| {
        sum.saturating_add(field.len())
            .saturating_add(value.len())
            .saturating_add(2 * ELEMENT_BYTES)
    })
}

/// Sets a field of a listpack, found at `at` or not there.
#[inline]
fn set_in_list(buf: &mut impl Buf, at: Option<usize>, field: &[u8], value: Value<'_>) {
    let value_at = at.and_then(|at| Listpack::new(buf.bytes()).next(at));
    match value_at {
        Some(value_at) => listpack::replace(buf, value_at, value),
        None => listpack::append_all(buf, [Value::from(field), value]),
    }
}

/// Sets a field of a table; true when it was not there, or had expired.
fn set_in_table(
    table: &mut Table<Entry>,
    hash: u64,
    slot: Option<Slot>,
    field: &[u8],
    value: Value<'_>,
    ttl: Ttl,
    now_ms: u64,
) -> bool {
    let Some(slot) = slot else {
        let expire_at_ms = match ttl {
            Ttl::At(at_ms) => Some(at_ms),
            Ttl::Keep | Ttl::Never => None,
        };
        table.insert(hash, new_entry(field, value, expire_at_ms));
        return true;
    };
    let old = table.get(slot);
    let (old_expire, is_live) = (old.expire_at_ms(), is_live(old, now_ms));
    let expire_at_ms = match ttl {
        Ttl::Keep if is_live => old_expire,
        Ttl::Keep | Ttl::Never => None,
        Ttl::At(at_ms) => Some(at_ms),
    };
    if !overwrite(&mut table.get_mut(slot), value) {
        table.replace(slot, new_entry(field, value, expire_at_ms));
    } else if expire_at_ms != old_expire {
        table.set_expire(slot, expire_at_ms);
    }
    !is_live
}

/// The entry of a field.
fn new_entry(field: &[u8], value: Value<'_>, expire_at_ms: Option<u64>) -> Entry {
    let mut digits = itoa::Buffer::new();
    let value = entry_value(value, &mut digits);
    Entry::new(field, Meta::default(), value, expire_at_ms)
}

/// Writes a field's value where the old one is, if it fits there.
#[inline]
fn overwrite(entry: &mut EntryMut<'_>, value: Value<'_>) -> bool {
    let mut digits = itoa::Buffer::new();
    match entry_value(value, &mut digits) {
        NewValue::Int(int) => entry.try_set_int(int),
        NewValue::Bytes(bytes) => entry.try_set_bytes(bytes),
        NewValue::Shared(_) | NewValue::Collection(_) => false,
    }
}

/// The smaller form of a value in an entry.
#[inline]
fn entry_value<'v>(value: Value<'v>, digits: &'v mut itoa::Buffer) -> NewValue<'v> {
    match value {
        Value::Int(int) if num::digits_i64_count(int) > INT_TEXT_BYTES_MAX => NewValue::Int(int),
        value => NewValue::Bytes(value.bytes(digits)),
    }
}
