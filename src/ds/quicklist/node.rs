//! A node of a quicklist: some elements in one buffer.
//!
//! The elements are a listpack's without its header and end byte, and may begin anywhere in the
//! buffer: an element is put to either end, or taken from it, without moving the others. A buffer
//! that has no room at an end is slid if that gains enough, else replaced by a larger one. Nodes
//! that do not grow any more give their room back ([`Node::trim`]).
//!
//! A *plain* node holds one element that is too large for others beside it, as it is. Either kind
//! may be compressed (*closed*) while nobody changes it.
//!
//! Invariant: what changes a node requires it to be open, except [`Node::remove_equal`], which
//! opens it if it has to.

use std::ops::ControlFlow;

use super::{End, LISTPACK_BYTES};
use crate::ds::buf::Buf;
use crate::ds::collection::Element;
use crate::ds::entry::size_class;
use crate::ds::footprint::block_bytes;
use crate::ds::listpack::{self, Needle, Value};
use crate::ds::mover::Mover;
use crate::util::lzf;

/// Shorter nodes are not compressed, bytes.
const COMPRESS_BYTES_MIN: usize = 48;
/// What compression has to save, bytes.
const COMPRESS_GAIN_MIN: usize = 8;
/// Least room of a node that grows, bytes.
const ROOM_MIN: usize = 512;

/// See the module's text.
pub(super) struct Node {
    data: Data,
    count: u32,
    /// Its place in the snapshot that is going on, 0 for none (see `save`).
    pub(super) number: u32,
    /// Compressing it was tried and gained nothing.
    is_incompressible: bool,
}

enum Data {
    /// The elements are `buf[start..]`.
    Packed {
        buf: Vec<u8>,
        start: usize,
    },
    Plain(Box<[u8]>),
    Compressed {
        lzf: Box<[u8]>,
        len: u32,
        is_plain: bool,
    },
}

/// What a node holds, decompressed.
enum Content<'a> {
    Packed(&'a [u8]),
    Plain(&'a [u8]),
}

impl Node {
    /// A node of raw elements.
    pub(super) fn packed(entries: Vec<u8>, count: usize) -> Self {
        Node::new(
            Data::Packed {
                buf: entries,
                start: 0,
            },
            count,
        )
    }

    /// A node of one large element.
    pub(super) fn plain(value: Value<'_>) -> Self {
        Node::new(Data::Plain(value.to_vec().into_boxed_slice()), 1)
    }

    fn new(data: Data, count: usize) -> Self {
        Node {
            data,
            count: u32::try_from(count).expect("nodes are limited to less"),
            number: 0,
            is_incompressible: false,
        }
    }

    /// Number of elements.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether it is plain.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        match self.data {
            Data::Packed { .. } => false,
            Data::Plain(_) => true,
            Data::Compressed { is_plain, .. } => is_plain,
        }
    }

    /// Whether it is compressed.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.data, Data::Compressed { .. })
    }

    /// Length of the listpack that it stands for, bytes.
    #[inline]
    pub(super) fn listpack_bytes(&self) -> usize {
        let entries_bytes = match &self.data {
            Data::Packed { buf, start } => buf.len() - start,
            Data::Plain(text) => text.len(),
            Data::Compressed { len, .. } => *len as usize,
        };
        entries_bytes.saturating_add(LISTPACK_BYTES)
    }

    /// The listpack that it stands for.
    pub(super) fn to_listpack(&self) -> Vec<u8> {
        match self.content(&mut Vec::new()) {
            Content::Packed(entries) => listpack::from_entries(entries, self.count()),
            Content::Plain(text) => listpack::from_elements([Value::Bytes(text)]),
        }
    }

    /// Calls `f` with what the node is for a snapshot.
    pub(super) fn hand_out(&self, f: &mut dyn FnMut(Element<'_>)) {
        match self.content(&mut Vec::new()) {
            Content::Packed(entries) => {
                f(Element::Listpack(&listpack::from_entries(
                    entries,
                    self.count(),
                )));
            }
            Content::Plain(text) => f(Element::Plain(text)),
        }
    }

    /// Whether the needle is found in it.
    pub(super) fn contains(&self, needle: Needle<'_>) -> bool {
        let mut find = |value: Value<'_>| match needle.is(value) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        self.walk(0, End::Tail, &mut Vec::new(), &mut find)
            .is_break()
    }

    /// Moves the buffer if it lies badly.
    pub(super) fn relocate(&mut self, mover: &mut Mover<'_>) {
        match &mut self.data {
            Data::Packed { buf, .. } => mover.move_vec(buf),
            Data::Plain(text) => mover.move_bytes(text),
            Data::Compressed { lzf, .. } => mover.move_bytes(lzf),
        }
    }

    /// The memory of the node besides its place in the deque, bytes.
    pub(super) fn alloc_bytes(&self) -> usize {
        match &self.data {
            Data::Packed { buf, .. } => block_bytes(buf.capacity()),
            Data::Plain(text) => block_bytes(text.len()),
            Data::Compressed { lzf, .. } => block_bytes(lzf.len()),
        }
    }

    /// Puts an element at an end. When the buffer must grow it does not grow beyond `room_max`
    /// bytes for the sake of further elements.
    #[inline]
    pub(super) fn push(&mut self, end: End, value: Value<'_>, room_max: usize) {
        self.count += 1;
        self.is_incompressible = false;
        let (buf, start) = open_parts(&mut self.data);
        if let Some((head, text, back)) = listpack::short_parts(&value) {
            return push_parts(buf, start, end, room_max, [&[head], text, &[back]]);
        }
        let (head, text) = listpack::encode(&value);
        let back = listpack::back_len(head.len() + text.len());
        let parts = [head.as_slice(), text, back.as_slice()];
        push_parts(buf, start, end, room_max, parts);
    }

    /// Takes `count` elements, which must be there, from an end; the outermost is visited first.
    pub(super) fn pop(&mut self, end: End, count: usize, visit: &mut impl FnMut(Value<'_>)) {
        self.is_incompressible = false;
        self.count -= count as u32;
        if let Data::Plain(text) = &self.data {
            return visit(Value::Bytes(text));
        }
        let (buf, start) = open_parts(&mut self.data);
        for _ in 0..count {
            match end {
                End::Head => {
                    let (value, next) = listpack::read_entry(buf, *start);
                    visit(value);
                    *start = next;
                }
                End::Tail => {
                    let at = listpack::prev_entry(buf, buf.len());
                    visit(listpack::read_entry(buf, at).0);
                    buf.truncate(at);
                }
            }
        }
    }

    /// Visits elements from the one at `index` on towards `end`, until a visit breaks. `opened` is
    /// memory for what has to be decompressed.
    #[inline]
    pub(super) fn walk<B>(
        &self,
        index: usize,
        end: End,
        opened: &mut Vec<u8>,
        visit: &mut impl FnMut(Value<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let entries = match self.content(opened) {
            Content::Packed(entries) => entries,
            Content::Plain(text) => return visit(Value::Bytes(text)),
        };
        let mut at = listpack::seek_entry(entries, index, self.count());
        loop {
            let (value, next) = listpack::read_entry(entries, at);
            visit(value)?;
            at = match end {
                End::Tail if next < entries.len() => next,
                End::Head if at > 0 => listpack::prev_entry(entries, at),
                _ => return ControlFlow::Continue(()),
            };
        }
    }

    /// Puts `value` in the place of the element at `index`.
    pub(super) fn replace(&mut self, index: usize, value: Value<'_>) {
        self.splice(index, 1, Some(value));
    }

    /// Puts an element before the one at `index`, or at the end.
    pub(super) fn insert(&mut self, index: usize, value: Value<'_>) {
        self.splice(index, 0, Some(value));
        self.count += 1;
    }

    /// Removes `count` elements from the one at `index` on.
    pub(super) fn remove(&mut self, index: usize, count: usize) {
        self.splice(index, count, None);
        self.count -= count as u32;
    }

    fn splice(&mut self, index: usize, remove: usize, insert: Option<Value<'_>>) {
        self.is_incompressible = false;
        let count = self.count();
        let (buf, start) = open_parts(&mut self.data);
        let entries = &buf[*start..];
        let at = listpack::seek_entry(entries, index, count);
        let tail = match count - index {
            // From the end, and so faster, if everything from here on goes.
            left if left == remove => entries.len(),
            _ => (0..remove).fold(at, |at, _| listpack::next_entry(entries, at)),
        };
        let mut inserted = listpack::Scratch::new();
        if let Some(value) = insert {
            listpack::push_entry(&mut inserted, value);
        }
        let new_len = entries.len() - (tail - at) + inserted.len();
        if *start + new_len > buf.capacity() {
            let mut new = Vec::with_capacity(size_class(new_len));
            new.extend_from_slice(&entries[..at]);
            new.extend_from_slice(&inserted);
            new.extend_from_slice(&entries[tail..]);
            (*buf, *start) = (new, 0);
        } else {
            Buf::splice(buf, *start + at, tail - at, &inserted);
        }
    }

    /// Takes the elements from the one at `index` on out, into a node of their own.
    pub(super) fn split_off(&mut self, index: usize) -> Node {
        self.is_incompressible = false;
        let count = self.count();
        let (buf, start) = open_parts(&mut self.data);
        let at = *start + listpack::seek_entry(&buf[*start..], index, count);
        let tail = Node::packed(buf[at..].to_vec(), count - index);
        buf.truncate(at);
        self.count = index as u32;
        tail
    }

    /// Adds the elements of another node, which is not plain.
    pub(super) fn append(&mut self, mut other: Node) {
        self.open();
        other.open();
        self.is_incompressible = false;
        let (buf, start) = open_parts(&mut self.data);
        let (more, more_start) = open_parts(&mut other.data);
        let mut all = Vec::with_capacity(buf.len() - *start + more.len() - *more_start);
        all.extend_from_slice(&buf[*start..]);
        all.extend_from_slice(&more[*more_start..]);
        (*buf, *start) = (all, 0);
        self.count += other.count;
    }

    /// Removes up to `count` elements that the needle is found in, beginning at an end; answers how
    /// many were.
    pub(super) fn remove_equal(&mut self, needle: Needle<'_>, count: usize, from: End) -> usize {
        let mut opened = Vec::new();
        let spans = match self.content(&mut opened) {
            Content::Plain(text) => {
                let is_equal = needle.is(Value::Bytes(text));
                self.count -= u32::from(is_equal);
                return usize::from(is_equal);
            }
            Content::Packed(entries) => {
                listpack::equal_entries(entries, needle, count, from == End::Tail)
            }
        };
        if !spans.is_empty() {
            self.open();
            self.is_incompressible = false;
            self.count -= spans.len() as u32;
            let (buf, start) = open_parts(&mut self.data);
            let kept = listpack::entries_without(&buf[*start..], 0, &spans);
            (*buf, *start) = (kept.into_vec(), 0);
            self.trim();
        }
        spans.len()
    }

    /// Gives back room that is not used, if the allocator can do something with it.
    pub(super) fn trim(&mut self) {
        if let Data::Packed { buf, start } = &mut self.data {
            let entries = &buf[*start..];
            if size_class(entries.len()) < size_class(buf.capacity()) {
                (*buf, *start) = (entries.to_vec(), 0);
            }
        }
    }

    /// Decompresses it.
    #[inline]
    pub(super) fn open(&mut self) {
        if let Data::Compressed { len, is_plain, .. } = self.data {
            let mut opened = Vec::with_capacity(len as usize);
            self.content(&mut opened);
            self.data = match is_plain {
                true => Data::Plain(opened.into_boxed_slice()),
                false => Data::Packed {
                    buf: opened,
                    start: 0,
                },
            };
        }
    }

    /// Compresses it, if that pays.
    pub(super) fn close(&mut self) {
        let (raw, is_plain) = match &self.data {
            Data::Packed { buf, start } => (&buf[*start..], false),
            Data::Plain(text) => (&text[..], true),
            Data::Compressed { .. } => return,
        };
        let Ok(len) = u32::try_from(raw.len()) else {
            return;
        };
        if self.is_incompressible || raw.len() < COMPRESS_BYTES_MIN {
            return;
        }
        let mut lzf = Vec::with_capacity(raw.len());
        if lzf::compress(raw, raw.len() - COMPRESS_GAIN_MIN - 1, &mut lzf) {
            self.data = Data::Compressed {
                lzf: lzf.into_boxed_slice(),
                len,
                is_plain,
            };
        } else {
            self.is_incompressible = true;
            self.trim();
        }
    }

    /// What it holds; `opened` is memory for what has to be decompressed.
    #[inline]
    fn content<'a>(&'a self, opened: &'a mut Vec<u8>) -> Content<'a> {
        match &self.data {
            Data::Packed { buf, start } => Content::Packed(&buf[*start..]),
            Data::Plain(text) => Content::Plain(text),
            Data::Compressed { lzf, len, is_plain } => {
                opened.clear();
                let valid = lzf::decompress(lzf, *len as usize, opened);
                assert!(valid, "own compression can be read");
                match is_plain {
                    true => Content::Plain(opened),
                    false => Content::Packed(opened),
                }
            }
        }
    }
}

/// A copy without room.
impl Clone for Node {
    fn clone(&self) -> Self {
        let data = match &self.data {
            Data::Packed { buf, start } => Data::Packed {
                buf: buf[*start..].to_vec(),
                start: 0,
            },
            Data::Plain(text) => Data::Plain(text.clone()),
            Data::Compressed { lzf, len, is_plain } => Data::Compressed {
                lzf: lzf.clone(),
                len: *len,
                is_plain: *is_plain,
            },
        };
        Node { data, ..*self }
    }
}

/// Buffer and start of an open packed node.
#[inline]
fn open_parts(data: &mut Data) -> (&mut Vec<u8>, &mut usize) {
    match data {
        Data::Packed { buf, start } => (buf, start),
        _ => panic!("only open packed nodes are changed"),
    }
}

/// Puts bytes, in three parts, to an end of the elements.
#[inline(always)]
fn push_parts(buf: &mut Vec<u8>, start: &mut usize, end: End, room_max: usize, parts: [&[u8]; 3]) {
    let need = parts[0].len() + parts[1].len() + parts[2].len();
    match end {
        End::Tail => {
            if buf.capacity() - buf.len() < need {
                make_room(buf, start, end, need, room_max);
            }
            parts.iter().for_each(|part| buf.extend_from_slice(part));
        }
        End::Head => {
            if *start < need {
                make_room(buf, start, end, need, room_max);
            }
            *start -= need;
            let mut at = *start;
            for part in parts {
                buf[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
        }
    }
}

/// Makes room for `need` bytes at an end: after the elements, or before them.
#[cold]
fn make_room(buf: &mut Vec<u8>, start: &mut usize, end: End, need: usize, room_max: usize) {
    let len = buf.len() - *start;
    let mut capacity = buf.capacity();
    // Sliding has to gain room for a quarter of what it moves, or the next one would come too soon.
    let slides = capacity - len >= need.max(len / 4);
    if !slides {
        let least = len + need;
        let grown = (least + least / 2).max(ROOM_MIN).min(room_max);
        capacity = size_class(grown.max(least));
    }
    let new_start = match end {
        End::Head => capacity - len,
        End::Tail => 0,
    };
    if slides {
        buf.resize(capacity, 0);
        buf.copy_within(*start..*start + len, new_start);
        buf.truncate(new_start + len);
    } else {
        let mut new = Vec::with_capacity(capacity);
        new.resize(new_start, 0);
        new.extend_from_slice(&buf[*start..]);
        *buf = new;
    }
    *start = new_start;
}
