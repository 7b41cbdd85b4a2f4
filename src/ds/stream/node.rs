//! A node of a stream: some entries, one behind the other, in one allocation.
//!
//! Redis keeps a listpack in its place, whose first elements are the *master*: counts, and the
//! fields of the entry that opened the node, which other entries with the same fields need not
//! repeat. A node knows how long that listpack is, and writes and reads it, but its own form is
//! shorter:
//!
//! | bytes | |
//! |---|---|
//! | number, elements | how many fields the master has, and these |
//! | ... | the entries |
//!
//! An entry:
//!
//! | bytes | |
//! |---|---|
//! | 1 | flags: [`DELETED`], [`SAME_FIELDS`], the form of the id, [`LONG`] |
//! | 1; if `LONG` 4, little endian | length of all of the entry |
//! | 0 to 20 | the id, as what it is more than the one before (the first: than the master's) |
//! | number | how many fields; not with `SAME_FIELDS` |
//! | ... | fields and values; with `SAME_FIELDS` values |
//! | 1; if `LONG` 4, little endian, and 0xFF | the length once more, to go backwards |
//!
//! Entries that are deleted stay, marked, as they do in Redis: when a node is full, and what is trimmed
//! approximately, depends on them.
//!
//! Invariants:
//! - an entry's id is above those of all before it that are not deleted, and not below the master's;
//! - `listpack_bytes` is the length of the listpack without its header, its end and the two counts;
//! - a node has entries, if perhaps only deleted ones.

use super::element::{self, fold, unfold};
use super::entries::{Entry, Limits};
use super::{StreamId, chunks};
use crate::ds::entry::size_class;
use crate::ds::footprint::block_bytes;
use crate::ds::listpack::{self, Listpack, Value};
use crate::ds::mover::Mover;

/// The entry is deleted. (Redis's flags have these two bits, too.)
const DELETED: u8 = 1;
/// The entry has the master's fields.
const SAME_FIELDS: u8 = 2;
/// Which form the id has.
const ID: u8 = 3 << 2;
/// The next one of the same millisecond: nothing is stored.
const ID_NEXT: u8 = 0 << 2;
/// Of the same millisecond: what the counter is more.
const ID_SEQ: u8 = 1 << 2;
/// With the same counter: what the milliseconds are more.
const ID_MS: u8 = 2 << 2;
/// Both; the counter may be less, which [`fold`] is for.
const ID_BOTH: u8 = 3 << 2;
/// Lengths take four bytes.
const LONG: u8 = 1 << 4;

/// Most bytes of an entry besides its elements, if its lengths take one byte each.
const SHORT_OVERHEAD_BYTES: usize = 3 + 20 + 10;
/// Most bytes of an entry whose lengths take one byte; the next number marks the end of others.
const SHORT_BYTES_MAX: usize = 0xFE;
const LONG_MARK: u8 = 0xFF;
/// Most bytes of the head of an element.
const ELEMENT_HEAD_BYTES: usize = 5;
/// Redis starts no node's listpack, and no entry, that would be longer, bytes.
const LISTPACK_BYTES_MAX: u64 = 1 << 30;

/// See the module's text.
#[derive(Clone)]
pub(super) struct Node {
    /// The id that its entries' ids are counted from: that of the entry that opened it.
    master: StreamId,
    last: StreamId,
    data: Vec<u8>,
    live: u32,
    deleted: u32,
    listpack_bytes: u32,
    /// Where the first entry is.
    entries_at: u32,
    /// Where the last entry is.
    last_at: u32,
    /// Which snapshot it was last saved for, or created after (see `entries`).
    pub(super) stamp: u32,
}

impl chunks::Item for Node {
    const CHUNK_LEN: usize = 64;

    #[inline]
    fn id(&self) -> StreamId {
        self.master
    }
}

/// An entry as it stands in a node.
pub(super) struct Raw<'a> {
    flags: u8,
    /// What its id is more than the one before; the counter wraps.
    delta: (u64, u64),
    body: &'a [u8],
    /// Where the next entry is.
    pub(super) next: usize,
}

impl Raw<'_> {
    #[inline]
    pub(super) fn is_deleted(&self) -> bool {
        self.flags & DELETED != 0
    }

    /// Its id, which follows from the one before.
    #[inline]
    pub(super) fn id(&self, before: StreamId) -> StreamId {
        StreamId {
            ms: before.ms.wrapping_add(self.delta.0),
            seq: before.seq.wrapping_add(self.delta.1),
        }
    }

    /// The id of the one before, which follows from its own.
    #[inline]
    fn id_before(&self, id: StreamId) -> StreamId {
        StreamId {
            ms: id.ms.wrapping_sub(self.delta.0),
            seq: id.seq.wrapping_sub(self.delta.1),
        }
    }
}

impl Node {
    /// A node that an entry with these fields opens; it is still to be appended.
    pub(super) fn open<'v>(
        id: StreamId,
        fields: impl ExactSizeIterator<Item = Value<'v>>,
        stamp: u32,
    ) -> Node {
        let count = fields.len();
        let mut data = Vec::new();
        // The number of fields, and the zero behind them.
        let mut listpack_bytes = int_bytes(count as i64) + int_bytes(0);
        element::push_number(&mut data, count as u64);
        for field in fields {
            listpack_bytes += field.entry_len();
            element::push(&mut data, field);
        }
        Node {
            master: id,
            last: id,
            live: 0,
            deleted: 0,
            listpack_bytes: len_u32(listpack_bytes),
            entries_at: len_u32(data.len()),
            last_at: len_u32(data.len()),
            data,
            stamp,
        }
    }

    /// The id that its entries' ids are counted from.
    pub(super) fn master_id(&self) -> StreamId {
        self.master
    }

    /// How many entries are not deleted.
    #[inline]
    pub(super) fn live(&self) -> u64 {
        u64::from(self.live)
    }

    /// The id of the last entry, deleted or not.
    #[inline]
    pub(super) fn last_id(&self) -> StreamId {
        self.last
    }

    /// Whether an entry with this id would be in it.
    #[inline]
    pub(super) fn spans(&self, id: StreamId) -> bool {
        self.master <= id && id <= self.last
    }

    /// Length of the listpack that Redis would have, bytes.
    #[inline]
    pub(super) fn listpack_bytes(&self) -> usize {
        let counts = int_bytes(i64::from(self.live)) + int_bytes(i64::from(self.deleted));
        listpack::EMPTY.len() + counts + self.listpack_bytes as usize
    }

    /// Whether an entry with so many bytes of text opens a new node, by Redis's rules.
    #[inline]
    pub(super) fn is_full(&self, text_bytes: usize, limits: &Limits) -> bool {
        let bytes_max = match limits.node_max_bytes {
            0 => LISTPACK_BYTES_MAX,
            bytes => bytes.min(LISTPACK_BYTES_MAX),
        };
        let bytes = self.listpack_bytes().saturating_add(text_bytes) as u64;
        let entries_max = limits.node_max_entries;
        bytes >= bytes_max
            || (entries_max > 0 && u64::from(self.live) + u64::from(self.deleted) >= entries_max)
    }

    /// Appends an entry, whose id is above the last one's. `elements` are fields and values, which
    /// have so many bytes of text.
    #[inline]
    pub(super) fn append<'f>(
        &mut self,
        id: StreamId,
        elements: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
        text_bytes: usize,
    ) {
        let bound = text_bytes + ELEMENT_HEAD_BYTES * elements.len();
        self.reserve(bound + SHORT_OVERHEAD_BYTES + 2 * ELEMENT_HEAD_BYTES);
        let count = elements.len() / 2;
        let mut names = elements.clone().step_by(2);
        if self.has_fields(&mut names) {
            let values = elements.skip(1).step_by(2).map(Value::from);
            self.push_entry(id, SAME_FIELDS, count, values, bound);
        } else {
            self.push_entry(id, 0, count, elements.map(Value::from), bound);
        }
    }

    /// Whether these are the master's fields.
    #[inline]
    fn has_fields<'f>(&self, names: &mut impl Iterator<Item = &'f [u8]>) -> bool {
        let (count, mut master) = self.master_fields();
        let are_equal = (0..count).all(|_| {
            let field = element::read(&mut master);
            names.next().is_some_and(|name| field.eq_bytes(name))
        });
        are_equal && names.next().is_none()
    }

    /// Appends an entry of so many fields; `elements` take at most `bound` bytes.
    #[inline]
    fn push_entry<'v>(
        &mut self,
        id: StreamId,
        flags: u8,
        count: usize,
        elements: impl Iterator<Item = Value<'v>>,
        bound: usize,
    ) {
        let delta_ms = id.ms.wrapping_sub(self.last.ms);
        let delta_seq = id.seq.wrapping_sub(self.last.seq);
        let form = match (delta_ms, delta_seq) {
            (0, 1) => ID_NEXT,
            (0, _) => ID_SEQ,
            (_, 0) => ID_MS,
            _ => ID_BOTH,
        };
        let is_long = bound + SHORT_OVERHEAD_BYTES > SHORT_BYTES_MAX;
        let length = if is_long { LONG } else { 0 };
        let at = self.data.len();
        let data = &mut self.data;
        data.extend_from_slice(&[flags | form | length, 0]);
        if is_long {
            data.extend_from_slice(&[0; 3]);
        }
        if form & ID_MS != 0 {
            element::push_number(data, delta_ms);
        }
        match form {
            ID_SEQ => element::push_number(data, delta_seq),
            ID_BOTH => element::push_number(data, fold(delta_seq as i64)),
            _ => {}
        }
        let mut elements_count = 3 + count;
        let mut listpack_bytes = int_bytes(i64::from(flags))
            + int_bytes(id.ms.wrapping_sub(self.master.ms) as i64)
            + int_bytes(id.seq.wrapping_sub(self.master.seq) as i64);
        if flags & SAME_FIELDS == 0 {
            element::push_number(data, count as u64);
            listpack_bytes += int_bytes(count as i64);
            elements_count += 1 + count;
        }
        for value in elements {
            listpack_bytes += value.entry_len();
            element::push(data, value);
        }
        listpack_bytes += int_bytes(elements_count as i64);
        close_entry(data, at, is_long);
        self.live += 1;
        self.last = id;
        self.last_at = len_u32(at);
        self.listpack_bytes += len_u32(listpack_bytes);
    }

    /// Makes room for some more bytes, and for more to come.
    #[inline]
    fn reserve(&mut self, more: usize) {
        let (len, capacity) = (self.data.len(), self.data.capacity());
        if capacity - len < more {
            let grown = size_class(len + more.max(len / 2));
            self.data.reserve_exact(grown - len);
        }
    }

    /// Gives back room that is not used: it does not grow any more.
    pub(super) fn shrink(&mut self) {
        if size_class(self.data.len()) < size_class(self.data.capacity()) {
            self.data.shrink_to_fit();
        }
    }

    /// The number of fields of the master, and these.
    #[inline]
    pub(super) fn master_fields(&self) -> (usize, &[u8]) {
        let mut fields = &self.data[..self.entries_at as usize];
        let count = element::read_number(&mut fields) as usize;
        (count, fields)
    }

    /// Where the first entry is.
    #[inline]
    pub(super) fn entries_at(&self) -> usize {
        self.entries_at as usize
    }

    /// The entry at `at`; none at the end.
    #[inline]
    pub(super) fn raw(&self, at: usize) -> Option<Raw<'_>> {
        let data = self.data.get(at..)?;
        let (len, mut body) = match *data {
            [] => return None,
            [flags, len, ..] if flags & LONG == 0 => {
                let len = usize::from(len);
                (len, &data[2..len - 1])
            }
            _ => long_parts(data),
        };
        let (flags, next) = (data[0], at + len);
        let delta = match flags & ID {
            ID_NEXT => (0, 1),
            ID_SEQ => (0, element::read_number(&mut body)),
            ID_MS => (element::read_number(&mut body), 0),
            _ => {
                let delta_ms = element::read_number(&mut body);
                let delta_seq = unfold(element::read_number(&mut body)) as u64;
                (delta_ms, delta_seq)
            }
        };
        Some(Raw {
            flags,
            delta,
            body,
            next,
        })
    }

    /// Where the entry before the one at `at` is; none before the first.
    #[inline]
    fn before(&self, at: usize) -> Option<usize> {
        if at <= self.entries_at() {
            return None;
        }
        let len = match self.data[at - 1] {
            LONG_MARK => {
                let data = &self.data[at - 5..at - 1];
                u32::from_le_bytes([data[0], data[1], data[2], data[3]]) as usize
            }
            len => usize::from(len),
        };
        Some(at - len)
    }

    /// What a reader sees of an entry.
    #[inline]
    fn entry<'a>(&self, id: StreamId, raw: &Raw<'a>, master: (usize, &'a [u8])) -> Entry<'a> {
        let mut body = raw.body;
        match raw.flags & SAME_FIELDS {
            0 => {
                let count = element::read_number(&mut body) as usize;
                Entry::new(id, None, body, count)
            }
            _ => Entry::new(id, Some(master.1), body, master.0),
        }
    }

    /// A walk over the entries from the first one on.
    #[inline]
    pub(super) fn walk(&self) -> Walk<'_> {
        self.walk_from(self.entries_at(), self.master)
    }

    /// A walk from the entry at `at` on, behind the id `before`.
    #[inline]
    fn walk_from(&self, at: usize, before: StreamId) -> Walk<'_> {
        let master = self.master_fields();
        Walk {
            node: self,
            at,
            before,
            master,
        }
    }

    /// A walk from the entry at `at` on, whose id is `id`.
    #[inline]
    pub(super) fn walk_from_first(&self, at: usize, id: StreamId) -> Walk<'_> {
        let before = self.raw(at).map_or(id, |raw| raw.id_before(id));
        self.walk_from(at, before)
    }

    /// A walk over the entries whose ids are `id` or above.
    #[inline]
    pub(super) fn walk_to(&self, id: StreamId) -> Walk<'_> {
        if id >= self.last {
            // Readers at the tail want the last one, or none.
            let last_at = self.last_at as usize;
            return match self.raw(last_at) {
                Some(last) if id == self.last => self.walk_from(last_at, last.id_before(id)),
                _ => self.walk_from(self.data.len(), self.last),
            };
        }
        // The id is sought from the end that is nearer by the time.
        let (all_ms, ahead_ms) = (self.last.ms - self.master.ms, self.last.ms - id.ms);
        if ahead_ms < all_ms / 2 {
            return self.walk_to_near_end(id);
        }
        let mut walk = self.walk();
        while let Some(raw) = self.raw(walk.at)
            && (raw.is_deleted() || raw.id(walk.before) < id)
        {
            walk.before = raw.id(walk.before);
            walk.at = raw.next;
        }
        walk
    }

    /// As [`Node::walk_to`], sought from the end.
    fn walk_to_near_end(&self, id: StreamId) -> Walk<'_> {
        let mut walk = self.walk_from(self.data.len(), self.last);
        let (mut at, mut its_id) = (self.last_at as usize, self.last);
        while let Some(raw) = self.raw(at)
            && (raw.is_deleted() || its_id >= id)
        {
            let before = raw.id_before(its_id);
            if !raw.is_deleted() {
                (walk.at, walk.before) = (at, before);
            }
            its_id = before;
            match self.before(at) {
                Some(before_at) => at = before_at,
                None => break,
            }
        }
        walk
    }

    /// A walk over the entries backwards, from the last one whose id is not above `id` on.
    pub(super) fn walk_back_from(&self, id: StreamId) -> WalkBack<'_> {
        let mut walk = WalkBack {
            node: self,
            at: Some(self.last_at as usize),
            id: self.last,
            master: self.master_fields(),
        };
        while walk.id > id
            && let Some(raw) = walk.at.and_then(|at| self.raw(at))
        {
            walk.step(&raw);
        }
        walk
    }

    /// Where the entry with this id is, if it is there and not deleted.
    pub(super) fn find(&self, id: StreamId) -> Option<usize> {
        if id > self.last {
            return None;
        }
        let walk = self.walk_to(id);
        let raw = self.raw(walk.at)?;
        (raw.id(walk.before) == id && !raw.is_deleted()).then_some(walk.at)
    }

    /// Marks the entry at `at` as deleted, which it was not.
    pub(super) fn delete(&mut self, at: usize) {
        debug_assert!(self.data[at] & DELETED == 0);
        self.data[at] |= DELETED;
        self.live -= 1;
        self.deleted += 1;
    }

    /// Moves the entries if they lie badly.
    pub(super) fn relocate(&mut self, mover: &mut Mover<'_>) {
        mover.move_vec(&mut self.data);
    }

    /// The memory besides its place among the others, bytes.
    pub(super) fn alloc_bytes(&self) -> usize {
        block_bytes(self.data.capacity())
    }

    /// Appends the listpack that Redis has for it.
    pub(super) fn write_listpack(&self, out: &mut Vec<u8>) {
        let mut count = 0;
        let mut entries = listpack::Scratch::with_capacity(self.listpack_bytes());
        let mut push = |value: Value<'_>| {
            listpack::push_entry(&mut entries, value);
            count += 1;
        };
        let (fields, mut names) = self.master_fields();
        push(Value::Int(i64::from(self.live)));
        push(Value::Int(i64::from(self.deleted)));
        push(Value::Int(fields as i64));
        (0..fields).for_each(|_| push(element::read(&mut names)));
        push(Value::Int(0));
        let (mut at, mut id) = (self.entries_at(), self.master);
        while let Some(raw) = self.raw(at) {
            (at, id) = (raw.next, raw.id(id));
            push(Value::Int(i64::from(raw.flags & (DELETED | SAME_FIELDS))));
            push(Value::Int(id.ms.wrapping_sub(self.master.ms) as i64));
            push(Value::Int(id.seq.wrapping_sub(self.master.seq) as i64));
            let mut body = raw.body;
            let mut elements = 3;
            if raw.flags & SAME_FIELDS == 0 {
                elements += 1;
                push(Value::Int(element::read_number(&mut body) as i64));
            }
            while !body.is_empty() {
                elements += 1;
                push(element::read(&mut body));
            }
            push(Value::Int(elements));
        }
        for part in listpack::parts_of_entries(&entries, count, &mut [0; listpack::HEADER_BYTES]) {
            out.extend_from_slice(part);
        }
    }

    /// The node that Redis keeps as this listpack (which is a valid one) under this id; or what is
    /// wrong with it.
    pub(super) fn from_listpack(
        master: StreamId,
        listpack: Listpack<'_>,
        stamp: u32,
    ) -> Result<Node, &'static str> {
        let mut reader = Reader(listpack.iter());
        let live = reader.count()?;
        let deleted = reader.count()?;
        let fields = reader.count()?;
        let names = reader.0.clone();
        reader.skip(fields)?;
        let fields_bytes = reader.0.at();
        debug_assert!(fields_bytes <= listpack.bytes().len());
        if reader.int()? != 0 {
            return Err("stream: the master entry does not end with 0");
        }
        // That so many are there was found out by skipping them.
        let names = Exactly(names.take(fields as usize), fields as usize);
        let mut node = Node::open(master, names, stamp);
        // No id may be below this one.
        let mut least = Some(master);
        while reader.0.clone().next().is_some() {
            reader.entry(&mut node, fields, &mut least)?;
        }
        if node.data.len() == node.entries_at() {
            return Err("stream: a node without entries");
        }
        if node.live() != live || u64::from(node.deleted) != deleted {
            return Err("stream: a node's counts are wrong");
        }
        node.shrink();
        Ok(node)
    }
}

/// Length and body of a long entry.
fn long_parts(data: &[u8]) -> (usize, &[u8]) {
    let len = u32::from_le_bytes([data[1], data[2], data[3], data[4]]) as usize;
    (len, &data[5..len - 5])
}

/// Writes the lengths of the entry that begins at `at` and ends where `data` ends.
#[inline]
fn close_entry(data: &mut Vec<u8>, at: usize, is_long: bool) {
    if is_long {
        let len = len_u32(data.len() - at + 5).to_le_bytes();
        data.extend_from_slice(&len);
        data.push(LONG_MARK);
        data[at + 1..at + 5].copy_from_slice(&len);
    } else {
        let len = (data.len() - at + 1) as u8;
        data.push(len);
        data[at + 1] = len;
    }
}

/// A walk over a node's entries.
pub(super) struct Walk<'a> {
    node: &'a Node,
    at: usize,
    before: StreamId,
    master: (usize, &'a [u8]),
}

impl Walk<'_> {
    /// The first entry that is not deleted: where it is, and its id. Where the walk ends if there is
    /// none.
    pub(super) fn find_first(&mut self) -> (usize, StreamId) {
        while let Some(raw) = self.node.raw(self.at)
            && raw.is_deleted()
        {
            (self.before, self.at) = (raw.id(self.before), raw.next);
        }
        let raw = self.node.raw(self.at);
        (self.at, raw.map_or(self.before, |raw| raw.id(self.before)))
    }

    /// Where the next entry is, deleted or not, and the id before it.
    pub(super) fn place(&self) -> (usize, StreamId) {
        (self.at, self.before)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let raw = self.node.raw(self.at)?;
            self.before = raw.id(self.before);
            self.at = raw.next;
            if !raw.is_deleted() {
                return Some(self.node.entry(self.before, &raw, self.master));
            }
        }
    }
}

/// A walk over a node's entries backwards.
pub(super) struct WalkBack<'a> {
    node: &'a Node,
    at: Option<usize>,
    /// Of the entry there.
    id: StreamId,
    master: (usize, &'a [u8]),
}

impl WalkBack<'_> {
    #[inline]
    fn step(&mut self, raw: &Raw<'_>) {
        self.id = raw.id_before(self.id);
        self.at = self.at.and_then(|at| self.node.before(at));
    }
}

impl<'a> Iterator for WalkBack<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        loop {
            let id = self.id;
            let raw = self.node.raw(self.at?)?;
            self.step(&raw);
            if !raw.is_deleted() {
                return Some(self.node.entry(id, &raw, self.master));
            }
        }
    }
}

/// Reads a listpack that may be anything but invalid.
struct Reader<'a>(listpack::Iter<'a>);

impl Reader<'_> {
    fn int(&mut self) -> Result<i64, &'static str> {
        let value = self.0.next().ok_or("stream: a node ends too early")?;
        value.int().ok_or("stream: a node has a text for a number")
    }

    fn count(&mut self) -> Result<u64, &'static str> {
        u64::try_from(self.int()?).map_err(|_| "stream: a node has a count below 0")
    }

    fn skip(&mut self, elements: u64) -> Result<(), &'static str> {
        for _ in 0..elements {
            self.0.next().ok_or("stream: a node ends too early")?;
        }
        Ok(())
    }

    /// Appends the next entry to the node, whose master has so many fields.
    fn entry(
        &mut self,
        node: &mut Node,
        fields: u64,
        least: &mut Option<StreamId>,
    ) -> Result<(), &'static str> {
        let flags = self.int()?;
        if !(0..=i64::from(DELETED | SAME_FIELDS)).contains(&flags) {
            return Err("stream: an entry has unknown flags");
        }
        let id = StreamId {
            ms: node.master.ms.wrapping_add(self.int()? as u64),
            seq: node.master.seq.wrapping_add(self.int()? as u64),
        };
        if least.is_none_or(|least| id < least) {
            return Err("stream: ids do not ascend");
        }
        let flags = flags as u8;
        let (count, elements) = match flags & SAME_FIELDS {
            0 => {
                let count = self.count()?;
                (count, count.checked_mul(2))
            }
            _ => (fields, Some(fields)),
        };
        let elements = elements.ok_or("stream: an entry has too many fields")?;
        if elements == 0 {
            return Err("stream: an entry has no fields");
        }
        let (from, values) = (self.0.at(), self.0.clone());
        self.skip(elements)?;
        let bound = self.0.at() - from;
        let heads = if flags & SAME_FIELDS == 0 { 4 } else { 3 };
        if self.count()? != elements + heads {
            return Err("stream: an entry has a wrong number of elements");
        }
        let at = node.data.len();
        let same_fields = flags & SAME_FIELDS;
        node.reserve(bound + SHORT_OVERHEAD_BYTES + 2 * ELEMENT_HEAD_BYTES);
        let values = values.take(elements as usize);
        node.push_entry(id, same_fields, count as usize, values, bound);
        match flags & DELETED {
            0 => *least = id.next(),
            _ => node.delete(at),
        }
        Ok(())
    }
}

/// An iterator whose length was found out otherwise.
struct Exactly<I>(I, usize);

impl<I: Iterator> Iterator for Exactly<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.1, Some(self.1))
    }
}

impl<I: Iterator> ExactSizeIterator for Exactly<I> {}

/// Length of an integer in a listpack, bytes.
#[inline]
fn int_bytes(int: i64) -> usize {
    match int {
        0..=127 => 2,
        _ => Value::Int(int).entry_len(),
    }
}

#[inline]
fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("nodes end before that")
}
