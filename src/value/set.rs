//! Set values: their three encodings, how they are read, how they change.
//!
//! A set of few integers is an intset, one of few short members a listpack, both bytes in the key's
//! entry; every other set is a table whose entries are the members. A set grows into the next
//! encoding when a directive's limit is passed ([`Limits`]), and stays there whatever becomes of it,
//! as in Valkey. Only results (`SUNIONSTORE`, what is left by a large SPOP) are new sets, and get the
//! encoding that Valkey gives them.
//!
//! - [`SetRef`] reads a set, whatever its encoding; its elements are [`Member`]s.
//! - [`SetMut`] changes one where it lies.
//! - [`NewSet`] is one that no key has yet.
//! - [`algebra`] has unions, intersections and differences.
//!
//! Invariants: members are texts. An integer is only another way to keep the text of one, so it may
//! be `Member::Int` in one set and `Member::Bytes` in another. All tables hash with the same
//! function.
//!
//! To add an operation that changes sets of any encoding, write it over `Home`, which [`SetMut`] and
//! [`NewSet`] have in common.

use std::collections::HashSet;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Encoding, Limits};
use crate::ds::buf::Buf;
use crate::ds::collection::Collection;
use crate::ds::entry::{Entry, EntryRef, EntrySlot, Meta, NewValue, SHARED_MIN, ValueRef};
use crate::ds::hash::KeyHash;
use crate::ds::intset::{self, Intset};
use crate::ds::listpack::{self, Listpack};
use crate::ds::table::{self, Table};
use crate::util::num;
use crate::util::rng::Rng;

pub mod algebra;

#[cfg(test)]
mod tests;

/// An element of a set. Not comparable with `==`: see the invariants above.
pub use crate::ds::listpack::Value as Member;

/// Members that are added or looked for at once in a table: so many cache misses run side by side.
const CHUNK: usize = 16;
/// From this many members on a table is not in the cache, and it pays to ask for its lines early.
const PREFETCH_LEN_MIN: usize = 1024;
/// Zero bits at the end of a table's cursor, which a client's does without.
const CURSOR_GRAIN_BITS: u32 = 16;
/// A sample of more than a set's length by this is drawn by walking the set.
const SAMPLE_WALK_FACTOR: usize = 3;
/// What SPOP leaves of a table is made anew unless so many times as much is left as is taken.
const SPLIT_FACTOR: usize = 5;

/// A set to be read.
#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    /// Few integers.
    Intset(Intset<'a>),
    /// Few short members.
    Listpack(Listpack<'a>),
    /// Any members.
    Table(&'a Table<Entry>),
}

impl<'a> SetRef<'a> {
    /// The set that is the entry's value.
    #[inline]
    pub fn of(entry: EntryRef<'a>) -> Self {
        match entry.value() {
            ValueRef::Collection(Collection::Set(table)) => SetRef::Table(table),
            value => {
                let bytes = value.as_bytes().expect("a set is bytes or a table");
                SetRef::compact(Encoding::from_nibble(entry.enc()), bytes)
            }
        }
    }

    #[inline]
    fn compact(enc: Encoding, bytes: &'a [u8]) -> Self {
        match enc {
            Encoding::Intset => SetRef::Intset(Intset::new(bytes)),
            _ => SetRef::Listpack(Listpack::new(bytes)),
        }
    }

    /// Number of members.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            SetRef::Intset(set) => set.len(),
            SetRef::Listpack(list) => list.len(),
            SetRef::Table(table) => table.len(),
        }
    }

    /// Whether there are no members. A key's set has some.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The encoding, as OBJECT ENCODING names it.
    pub fn encoding(self) -> Encoding {
        match self {
            SetRef::Intset(_) => Encoding::Intset,
            SetRef::Listpack(_) => Encoding::Listpack,
            SetRef::Table(_) => Encoding::Hashtable,
        }
    }

    /// Whether `member` is in the set.
    #[inline]
    pub fn contains(self, member: &[u8]) -> bool {
        match self {
            SetRef::Intset(set) => num::parse_i64(member).is_some_and(|int| set.contains(int)),
            SetRef::Listpack(list) => list.find(listpack::HEADER_BYTES, member, 0).is_some(),
            SetRef::Table(table) => table.find(table.key_hash().hash(member), member).is_some(),
        }
    }

    /// Calls `found` for each of `members` with whether it is in the set.
    pub fn contains_each<'m>(
        self,
        members: impl Iterator<Item = &'m [u8]>,
        mut found: impl FnMut(bool),
    ) {
        match self {
            SetRef::Table(table) if table.len() >= PREFETCH_LEN_MIN => {
                for_each_chunk(table, members, |hash, member| {
                    found(table.find(hash, member).is_some());
                });
            }
            _ => members.for_each(|member| found(self.contains(member))),
        }
    }

    /// All members: of an intset ascending, of a listpack in the order in which they were added.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        match self {
            SetRef::Intset(set) => Iter::Intset(set.iter()),
            SetRef::Listpack(list) => Iter::Listpack(list.iter()),
            SetRef::Table(table) => Iter::Table(table.iter()),
        }
    }

    /// One step of SSCAN from `cursor` on: some `count` members of a table, and always all of
    /// another set. Returns the next cursor, 0 at the end.
    pub fn scan(self, cursor: u64, count: usize, mut visit: impl FnMut(Member<'_>)) -> u64 {
        let SetRef::Table(table) = self else {
            self.iter().for_each(visit);
            return 0;
        };
        if cursor.leading_zeros() < CURSOR_GRAIN_BITS {
            // Beyond the last member.
            return 0;
        }
        let next = table.scan(cursor << CURSOR_GRAIN_BITS, count, |entry| {
            visit(Member::Bytes(entry.key()));
        });
        next >> CURSOR_GRAIN_BITS
    }

    /// A random member; `None` if there is none.
    pub fn random(self, rng: &mut Rng) -> Option<Member<'a>> {
        match self {
            SetRef::Intset(set) => set.random(|len| rng.index(len)).map(Member::Int),
            SetRef::Listpack(list) => {
                let index = i64::try_from(rng.index(list.len())).unwrap_or(-1);
                Some(list.value(list.seek(index)?))
            }
            SetRef::Table(table) => {
                let entry = table.random(&mut || rng.next_u64())?;
                Some(Member::Bytes(entry.key()))
            }
        }
    }

    /// Calls `visit` with `count` random members, all different; with all of them if there are not
    /// more.
    pub fn sample(self, count: usize, rng: &mut Rng, mut visit: impl FnMut(Member<'a>)) {
        let len = self.len();
        match self {
            SetRef::Table(table) if count.saturating_mul(SAMPLE_WALK_FACTOR) < len => {
                // Entries do not move, so their addresses tell them apart.
                let mut drawn: HashSet<*const u8> = HashSet::with_capacity(count);
                while drawn.len() < count {
                    let Some(entry) = table.random(&mut || rng.next_u64()) else {
                        return;
                    };
                    if drawn.insert(entry.key().as_ptr()) {
                        visit(Member::Bytes(entry.key()));
                    }
                }
            }
            _ => {
                let mut choice = Choice::of(count, len);
                let chosen = self.iter().filter(|_| choice.next(rng));
                chosen.for_each(visit);
            }
        }
    }

    /// Divides a set for SPOP: calls `pop` with `count` random members and returns a new set of the
    /// others. `None` where it is better, or where Valkey rather, removes them one by one: from
    /// compact sets, and when little is taken.
    pub fn split(
        self,
        count: usize,
        limits: &Limits,
        rng: &mut Rng,
        mut pop: impl FnMut(Member<'a>),
    ) -> Option<NewSet> {
        let SetRef::Table(table) = self else {
            return None;
        };
        let left = table.len().saturating_sub(count);
        if left.saturating_mul(SPLIT_FACTOR) > count {
            return None;
        }
        let mut rest = NewSet::new(Encoding::Listpack, table.key_hash());
        let mut choice = Choice::of(count, table.len());
        for member in self.iter() {
            match choice.next(rng) {
                true => pop(member),
                false => rest.push(member, limits),
            }
        }
        Some(rest)
    }
}

impl<'a> IntoIterator for SetRef<'a> {
    type Item = Member<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The members of a set.
pub enum Iter<'a> {
    /// Of an intset.
    Intset(intset::Iter<'a>),
    /// Of a listpack.
    Listpack(listpack::Iter<'a>),
    /// Of a table.
    Table(table::Iter<'a, Entry>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Member<'a>;

    #[inline]
    fn next(&mut self) -> Option<Member<'a>> {
        match self {
            Iter::Intset(members) => members.next().map(Member::Int),
            Iter::Listpack(members) => members.next(),
            Iter::Table(members) => members.next().map(|entry| Member::Bytes(entry.key())),
        }
    }

    #[inline]
    fn fold<B, F: FnMut(B, Member<'a>) -> B>(self, init: B, mut f: F) -> B {
        match self {
            Iter::Intset(members) => members.fold(init, |acc, int| f(acc, Member::Int(int))),
            Iter::Listpack(members) => members.fold(init, f),
            Iter::Table(members) => {
                members.fold(init, |acc, entry| f(acc, Member::Bytes(entry.key())))
            }
        }
    }
}

/// Chooses a given number of elements of a walk, every selection equally likely.
struct Choice {
    wanted: u64,
    left: u64,
}

impl Choice {
    fn of(count: usize, len: usize) -> Self {
        Self {
            wanted: count.min(len) as u64,
            left: len as u64,
        }
    }

    /// Whether the next element is chosen.
    #[inline]
    fn next(&mut self, rng: &mut Rng) -> bool {
        let chosen = self.wanted > 0 && rng.below(self.left) < self.wanted;
        self.left = self.left.saturating_sub(1);
        self.wanted -= chosen as u64;
        chosen
    }
}

/// Calls `visit` with each member and its hash after the lines where a table has them were asked
/// for.
fn for_each_chunk<'m>(
    table: &Table<Entry>,
    mut members: impl Iterator<Item = &'m [u8]>,
    mut visit: impl FnMut(u64, &'m [u8]),
) {
    let key_hash = table.key_hash();
    loop {
        let chunk: SmallVec<[(u64, &[u8]); CHUNK]> = members
            .by_ref()
            .take(CHUNK)
            .map(|member| (key_hash.hash(member), member))
            .collect();
        for &(hash, _) in &chunk {
            table.prefetch_bucket(hash);
        }
        for &(hash, _) in &chunk {
            table.prefetch_entry(hash);
        }
        for &(hash, member) in &chunk {
            visit(hash, member);
        }
        if chunk.len() < CHUNK {
            return;
        }
    }
}

/// The encoding of a new set whose first member and number of members (as the client sent them,
/// duplicates counted) are these, and its value as long as it is empty.
pub fn initial(first: &[u8], count: usize, limits: &Limits) -> Encoding {
    let count = count as u64;
    if count <= limits.set_max_intset_entries && num::parse_i64(first).is_some() {
        Encoding::Intset
    } else if count <= limits.set_max_listpack_entries {
        Encoding::Listpack
    } else {
        Encoding::Hashtable
    }
}

/// What an empty set is in a key's entry until its first member is added.
pub fn empty(enc: Encoding, key_hash: KeyHash) -> NewValue<'static> {
    match enc {
        Encoding::Intset => NewValue::Bytes(&intset::EMPTY),
        Encoding::Listpack => NewValue::Bytes(&listpack::EMPTY),
        _ => NewValue::Collection(Box::new(Collection::Set(Table::new(0, key_hash)))),
    }
}

/// Where a set that is changed lies: the compact ones are bytes.
trait Home: Buf {
    fn encoding(&self) -> Encoding;
    fn key_hash(&self) -> KeyHash;
    fn table_mut(&mut self) -> Option<&mut Table<Entry>>;
    fn become_listpack(&mut self, bytes: Vec<u8>);
    fn become_table(&mut self, table: Table<Entry>);
}

impl Home for EntrySlot<'_> {
    #[inline]
    fn encoding(&self) -> Encoding {
        Encoding::from_nibble(self.view().enc())
    }

    fn key_hash(&self) -> KeyHash {
        EntrySlot::key_hash(self)
    }

    #[inline]
    fn table_mut(&mut self) -> Option<&mut Table<Entry>> {
        match self.collection_mut() {
            Some(Collection::Set(table)) => Some(table),
            _ => None,
        }
    }

    fn become_listpack(&mut self, bytes: Vec<u8>) {
        self.set_value(Encoding::Listpack as u8, compact_value(bytes).borrowed());
    }

    fn become_table(&mut self, table: Table<Entry>) {
        let collection = Box::new(Collection::Set(table));
        self.set_value(Encoding::Hashtable as u8, NewValue::Collection(collection));
    }
}

/// Bytes on their way into an entry.
enum Compact {
    Inline(Vec<u8>),
    Shared(Arc<Vec<u8>>),
}

fn compact_value(bytes: Vec<u8>) -> Compact {
    match bytes.len() < SHARED_MIN {
        true => Compact::Inline(bytes),
        false => Compact::Shared(Arc::new(bytes)),
    }
}

impl Compact {
    fn borrowed(&self) -> NewValue<'_> {
        match self {
            Compact::Inline(bytes) => NewValue::Bytes(bytes),
            Compact::Shared(shared) => NewValue::Shared(shared.clone()),
        }
    }
}

/// Adds a member; false if it is there already.
#[inline]
fn add(home: &mut impl Home, member: &[u8], limits: &Limits) -> bool {
    match home.encoding() {
        Encoding::Intset => match num::parse_i64(member) {
            Some(int) => {
                intset::insert(home, int) && {
                    check_intset(home, limits);
                    true
                }
            }
            None => {
                outgrow_intset(home, member, limits);
                true
            }
        },
        Encoding::Listpack => {
            let list = Listpack::new(home.bytes());
            if list.find(listpack::HEADER_BYTES, member, 0).is_some() {
                return false;
            }
            push_listpack(home, Member::from(member), limits);
            true
        }
        _ => {
            let table = home.table_mut().expect("a set is bytes or a table");
            add_to_table(table, table.key_hash().hash(member), member)
        }
    }
}

/// Adds a member that is known not to be there.
#[inline]
fn push(home: &mut impl Home, member: Member<'_>, limits: &Limits) {
    match home.encoding() {
        Encoding::Intset => match member.int() {
            Some(int) => {
                intset::insert(home, int);
                check_intset(home, limits);
            }
            None => outgrow_intset(home, member.bytes(&mut itoa::Buffer::new()), limits),
        },
        Encoding::Listpack => push_listpack(home, member, limits),
        _ => {
            let table = home.table_mut().expect("a set is bytes or a table");
            push_to_table(table, member.bytes(&mut itoa::Buffer::new()));
        }
    }
}

/// Turns an intset that has too many members into a table.
#[inline]
fn check_intset(home: &mut impl Home, limits: &Limits) {
    let len = Intset::new(home.bytes()).len();
    if len as u64 > limits.set_max_intset_entries.min(intset::LEN_MAX as u64) {
        become_table(home);
    }
}

/// Adds to an intset a member that is no integer.
#[cold]
fn outgrow_intset(home: &mut impl Home, member: &[u8], limits: &Limits) {
    let set = Intset::new(home.bytes());
    let ends = [set.min(), set.max()].into_iter().flatten();
    let digits_max = ends.map(num::digits_i64_count).max().unwrap_or(0);
    let len_max = digits_max.max(member.len());
    let bytes_max = set.len().saturating_mul(len_max).saturating_add(len_max);
    let stays_compact = (set.len() as u64) < limits.set_max_listpack_entries
        && len_max as u64 <= limits.set_max_listpack_value
        && listpack::fits(0, bytes_max);
    if stays_compact {
        let mut bytes = listpack::from_elements(set);
        listpack::append(&mut bytes, member);
        home.become_listpack(bytes);
    } else {
        become_table(home);
        push(home, Member::Bytes(member), limits);
    }
}

#[inline]
fn push_listpack(home: &mut impl Home, member: Member<'_>, limits: &Limits) {
    let list = Listpack::new(home.bytes());
    let len_bytes = member.len_bytes();
    let stays_compact = (list.len() as u64) < limits.set_max_listpack_entries
        && len_bytes as u64 <= limits.set_max_listpack_value
        && listpack::fits(list.bytes().len(), len_bytes);
    if stays_compact {
        listpack::append(home, member);
    } else {
        become_table(home);
        push(home, member, limits);
    }
}

/// Turns a compact set into a table.
#[cold]
fn become_table(home: &mut impl Home) {
    let mut table = Table::new(0, home.key_hash());
    let mut digits = itoa::Buffer::new();
    for member in SetRef::compact(home.encoding(), home.bytes()) {
        push_to_table(&mut table, member.bytes(&mut digits));
    }
    home.become_table(table);
}

#[inline]
fn add_to_table(table: &mut Table<Entry>, hash: u64, member: &[u8]) -> bool {
    let is_new = table.find(hash, member).is_none();
    if is_new {
        table.insert(hash, entry(member));
    }
    is_new
}

#[inline]
fn push_to_table(table: &mut Table<Entry>, member: &[u8]) {
    table.insert(table.key_hash().hash(member), entry(member));
}

/// A member of a table.
#[inline]
fn entry(member: &[u8]) -> Entry {
    Entry::new(member, Meta::default(), NewValue::Bytes(b""), None)
}

/// Removes a member; false if it is not there.
#[inline]
fn remove(home: &mut impl Home, member: &[u8]) -> bool {
    match home.encoding() {
        Encoding::Intset => num::parse_i64(member).is_some_and(|int| intset::remove(home, int)),
        Encoding::Listpack => {
            let list = Listpack::new(home.bytes());
            let Some(at) = list.find(listpack::HEADER_BYTES, member, 0) else {
                return false;
            };
            listpack::delete(home, at, 1) > 0
        }
        _ => {
            let table = home.table_mut().expect("a set is bytes or a table");
            let Some(slot) = table.find(table.key_hash().hash(member), member) else {
                return false;
            };
            table.remove(slot);
            true
        }
    }
}

/// A set in its key's entry, to be changed.
pub struct SetMut<'a> {
    slot: EntrySlot<'a>,
}

impl<'a> SetMut<'a> {
    /// The set that is the entry's value; it may be empty.
    #[inline]
    pub fn of(slot: EntrySlot<'a>) -> Self {
        Self { slot }
    }

    /// The set as it is now.
    #[inline]
    pub fn get(&self) -> SetRef<'_> {
        SetRef::of(self.slot.view())
    }

    /// Prepares for `count` members to be added: a set that they might outgrow becomes a table at
    /// once, even if most of them are there already.
    #[inline]
    pub fn expect(&mut self, count: usize, limits: &Limits) {
        let outgrown = match self.slot.encoding() {
            Encoding::Intset => count as u64 > limits.set_max_intset_entries,
            Encoding::Listpack => count as u64 > limits.set_max_listpack_entries,
            _ => false,
        };
        if outgrown {
            become_table(&mut self.slot);
        }
    }

    /// Adds a member; false if it is there already.
    #[inline]
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        add(&mut self.slot, member, limits)
    }

    /// Adds members and returns how many were not there before.
    pub fn add_all<'m>(
        &mut self,
        mut members: impl Iterator<Item = &'m [u8]>,
        limits: &Limits,
    ) -> usize {
        let mut added = 0;
        while self.slot.encoding() != Encoding::Hashtable {
            match members.next() {
                Some(member) => added += self.add(member, limits) as usize,
                None => return added,
            }
        }
        let table = self.slot.table_mut().expect("a set is bytes or a table");
        let key_hash = table.key_hash();
        loop {
            let chunk: SmallVec<[(u64, &[u8]); CHUNK]> = members
                .by_ref()
                .take(CHUNK)
                .map(|member| (key_hash.hash(member), member))
                .collect();
            if table.len() >= PREFETCH_LEN_MIN {
                chunk
                    .iter()
                    .for_each(|&(hash, _)| table.prefetch_bucket(hash));
                chunk
                    .iter()
                    .for_each(|&(hash, _)| table.prefetch_entry(hash));
            }
            for &(hash, member) in &chunk {
                added += add_to_table(table, hash, member) as usize;
            }
            if chunk.len() < CHUNK {
                return added;
            }
        }
    }

    /// Removes a member; false if it is not there.
    #[inline]
    pub fn remove(&mut self, member: &[u8]) -> bool {
        remove(&mut self.slot, member)
    }

    /// Removes `count` random members, all if there are not more, after calling `pop` with each.
    pub fn pop(&mut self, count: usize, rng: &mut Rng, mut pop: impl FnMut(Member<'_>)) {
        let Some(table) = self.slot.table_mut() else {
            return self.pop_compact(count, rng, pop);
        };
        let key_hash = table.key_hash();
        for _ in 0..count {
            let Some(entry) = table.random(&mut || rng.next_u64()) else {
                return;
            };
            let member = entry.key();
            pop(Member::Bytes(member));
            if let Some(slot) = table.find(key_hash.hash(member), member) {
                table.remove(slot);
            }
        }
    }

    fn pop_compact(&mut self, count: usize, rng: &mut Rng, mut pop: impl FnMut(Member<'_>)) {
        if count == 1 {
            return self.pop_one(rng, pop);
        }
        let set = self.get();
        let mut choice = Choice::of(count, set.len());
        let mut keep = |member: &Member<'_>| {
            let chosen = choice.next(rng);
            if chosen {
                pop(*member);
            }
            !chosen
        };
        let bytes = match set {
            SetRef::Intset(set) => {
                let kept = set.iter().filter(|&int| keep(&Member::Int(int)));
                intset::from_sorted(kept.collect::<Vec<i64>>().into_iter())
            }
            _ => listpack::from_elements(set.iter().filter(keep)),
        };
        let old_len = self.slot.bytes().len();
        self.slot.splice(0, old_len, &bytes);
    }

    /// Takes a random member out of a compact set.
    fn pop_one(&mut self, rng: &mut Rng, mut pop: impl FnMut(Member<'_>)) {
        let (set, index) = (self.get(), rng.index(self.get().len()));
        match set {
            SetRef::Intset(set) => {
                if let Some(int) = set.get(index) {
                    pop(Member::Int(int));
                    intset::remove_at(&mut self.slot, index);
                }
            }
            SetRef::Listpack(list) => {
                if let Some(at) = i64::try_from(index).ok().and_then(|at| list.seek(at)) {
                    pop(list.value(at));
                    listpack::delete(&mut self.slot, at, 1);
                }
            }
            SetRef::Table(_) => {}
        }
    }
}

/// A set that no key has yet.
pub struct NewSet {
    form: Form,
    key_hash: KeyHash,
}

enum Form {
    Intset(Vec<u8>),
    Listpack(Vec<u8>),
    Table(Table<Entry>),
}

impl NewSet {
    /// A set without members that starts as the given encoding.
    pub fn new(enc: Encoding, key_hash: KeyHash) -> Self {
        let form = match enc {
            Encoding::Intset => Form::Intset(intset::EMPTY.to_vec()),
            Encoding::Listpack => Form::Listpack(listpack::EMPTY.to_vec()),
            _ => Form::Table(Table::new(0, key_hash)),
        };
        Self { form, key_hash }
    }

    /// The set as it is now.
    pub fn get(&self) -> SetRef<'_> {
        match &self.form {
            Form::Intset(bytes) => SetRef::Intset(Intset::new(bytes)),
            Form::Listpack(bytes) => SetRef::Listpack(Listpack::new(bytes)),
            Form::Table(table) => SetRef::Table(table),
        }
    }

    /// Adds a member; false if it is there already.
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        add(self, member, limits)
    }

    /// Adds a member that is known not to be there.
    #[inline]
    pub fn push(&mut self, member: Member<'_>, limits: &Limits) {
        push(self, member, limits);
    }

    /// Removes a member; false if it is not there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        remove(self, member)
    }

    /// Turns a set of integers, not too many, into an intset, whatever it is now.
    pub fn prefer_intset(&mut self, limits: &Limits) {
        let set = self.get();
        if matches!(self.form, Form::Intset(_)) || set.len() as u64 > limits.set_max_intset_entries
        {
            return;
        }
        let ints: Option<Vec<i64>> = set.iter().map(Member::int).collect();
        if let Some(mut ints) = ints {
            ints.sort_unstable();
            self.form = Form::Intset(intset::from_sorted(ints.into_iter()));
        }
    }

    /// Hands out encoding and value for a key's entry.
    pub fn store<R>(self, store: impl FnOnce(Encoding, NewValue<'_>) -> R) -> R {
        let enc = self.get().encoding();
        match self.form {
            Form::Intset(bytes) | Form::Listpack(bytes) => {
                store(enc, compact_value(bytes).borrowed())
            }
            Form::Table(table) => {
                store(enc, NewValue::Collection(Box::new(Collection::Set(table))))
            }
        }
    }
}

/// The bytes of a compact set.
impl Buf for NewSet {
    fn bytes(&self) -> &[u8] {
        match &self.form {
            Form::Intset(bytes) | Form::Listpack(bytes) => bytes,
            Form::Table(_) => &[],
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.form {
            Form::Intset(bytes) | Form::Listpack(bytes) => bytes,
            Form::Table(_) => &mut [],
        }
    }

    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]) {
        match &mut self.form {
            Form::Intset(bytes) | Form::Listpack(bytes) => Buf::splice(bytes, at, remove, insert),
            Form::Table(_) => panic!("a table has no bytes"),
        }
    }
}

impl Home for NewSet {
    fn encoding(&self) -> Encoding {
        self.get().encoding()
    }

    fn key_hash(&self) -> KeyHash {
        self.key_hash
    }

    fn table_mut(&mut self) -> Option<&mut Table<Entry>> {
        match &mut self.form {
            Form::Table(table) => Some(table),
            _ => None,
        }
    }

    fn become_listpack(&mut self, bytes: Vec<u8>) {
        self.form = Form::Listpack(bytes);
    }

    fn become_table(&mut self, table: Table<Entry>) {
        self.form = Form::Table(table);
    }
}
