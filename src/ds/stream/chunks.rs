//! A sequence of items in the order of their ids, in chunks: what the nodes of a stream, the pending
//! entries of a group and the ids of a consumer stand in.
//!
//! Most items come at the end and go at the front, which moves no others. An item in the middle
//! moves some of its chunk. A chunk that is full is halved, unless the new item is the last of all;
//! one that has become sparse is joined with a neighbour. So nothing ever moves all of it.
//!
//! A snapshot ([`Chunks::begin_save`]) knows chunks by their stamp: one with another stamp than the
//! sequence's is unsaved, and is copied aside before it changes. As unsaved chunks stay as they were,
//! the walk finds all of them in order, here or among the copies.
//!
//! Invariants:
//! - ids ascend strictly; no chunk is empty; `len` is the number of items;
//! - a chunk's `from` is not above its items' ids, and above those of the chunk before;
//! - between snapshots nobody looks at stamps; they are never above the sequence's.

use std::collections::{BTreeMap, VecDeque};

use super::StreamId;
use crate::ds::footprint;
use crate::ds::mover::Mover;
use crate::util::check::{Checked, holds};

/// What stands in chunks.
pub(super) trait Item: Clone {
    /// Most items of a chunk.
    const CHUNK_LEN: usize;

    /// What items are ordered by.
    fn id(&self) -> StreamId;
}

/// A chunk.
#[derive(Clone)]
struct Chunk<T> {
    from: StreamId,
    items: VecDeque<T>,
    stamp: u32,
}

/// See the module's text.
pub(super) struct Chunks<T> {
    chunks: VecDeque<Chunk<T>>,
    len: usize,
    stamp: u32,
    saving: Option<Box<Saving<T>>>,
}

/// A snapshot that is going on.
struct Saving<T> {
    /// Chunks that have changed since, by their `from`.
    kept: BTreeMap<StreamId, Chunk<T>>,
    /// The last chunk that was handed out.
    after: Option<StreamId>,
    /// How many chunks are still to be handed out.
    left: usize,
}

/// Where an item is, or the end; their order is that of the items.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Pos {
    chunk: usize,
    at: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Chunks {
            chunks: VecDeque::new(),
            len: 0,
            stamp: 0,
            saving: None,
        }
    }
}

/// A copy, which is not being saved.
impl<T: Item> Clone for Chunks<T> {
    fn clone(&self) -> Self {
        Chunks {
            chunks: self.chunks.clone(),
            len: self.len,
            stamp: self.stamp,
            saving: None,
        }
    }
}

impl<T: Item> Chunks<T> {
    /// Number of items.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Moves the chunk of a number if it lies badly, and calls `each` with its items, whose ids stay; false if there
    /// is none.
    pub(super) fn relocate(
        &mut self,
        number: usize,
        mover: &mut Mover<'_>,
        mut each: impl FnMut(&mut Mover<'_>, &mut T),
    ) -> bool {
        let is_saving = self.saving.is_some();
        let Some(chunk) = self.chunks.get_mut(number).filter(|_| !is_saving) else {
            return false;
        };
        let items = &mut chunk.items;
        let wants = items.front().is_some_and(|first| {
            // SAFETY: the item is in the living block of the deque, which lies in one run.
            unsafe { mover.wants((&raw const *first).cast()) }
        });
        if wants {
            let mut moved = VecDeque::with_capacity(items.capacity());
            moved.append(items);
            *items = moved;
        }
        items.iter_mut().for_each(|item| each(mover, item));
        true
    }

    /// Whether all are in order, and counted.
    pub(super) fn check(&self) -> Checked {
        let (mut before, mut len) = (None, 0);
        for chunk in &self.chunks {
            let from = chunk.from;
            holds!(
                before < Some(from),
                "a chunk from {from} comes behind {before:?}"
            );
            holds!(!chunk.items.is_empty(), "the chunk from {from} is empty");
            holds!(
                chunk.stamp <= self.stamp,
                "the chunk from {from} was saved later than now"
            );
            // What is not above what the chunk begins with may only be that itself.
            let mut above = before;
            for id in chunk.items.iter().map(T::id) {
                holds!(
                    above < Some(id) && id >= from,
                    "{id} of the chunk from {from} comes behind {above:?}"
                );
                above = Some(id);
            }
            (before, len) = (above, len + chunk.items.len());
        }
        let said = self.len;
        holds!(len == said, "{said} items are {len}");
        Ok(())
    }

    /// Where the first item is.
    #[inline]
    pub(super) fn start(&self) -> Pos {
        Pos { chunk: 0, at: 0 }
    }

    /// The place after the last item.
    #[inline]
    pub(super) fn end(&self) -> Pos {
        let chunk = self.chunks.len();
        Pos { chunk, at: 0 }
    }

    /// The item at a place; none at the end.
    #[inline]
    pub(super) fn get(&self, pos: Pos) -> Option<&T> {
        self.chunks.get(pos.chunk)?.items.get(pos.at)
    }

    /// The item before which there are `n`, found by going through the chunks.
    pub(super) fn nth(&self, mut n: usize) -> Option<&T> {
        self.chunks.iter().find_map(|chunk| {
            let found = chunk.items.get(n);
            n = n.saturating_sub(chunk.items.len());
            found
        })
    }

    /// The item at a place; its id may not be changed.
    #[inline]
    pub(super) fn get_mut(&mut self, pos: Pos) -> Option<&mut T> {
        self.keep(pos.chunk);
        self.chunks.get_mut(pos.chunk)?.items.get_mut(pos.at)
    }

    /// The last item.
    #[inline]
    pub(super) fn last(&self) -> Option<&T> {
        self.chunks.back()?.items.back()
    }

    /// The last item; its id may not be changed.
    #[inline]
    pub(super) fn last_mut(&mut self) -> Option<&mut T> {
        self.keep(self.chunks.len().wrapping_sub(1));
        self.chunks.back_mut()?.items.back_mut()
    }

    /// Where the last item is.
    pub(super) fn last_pos(&self) -> Option<Pos> {
        self.before(self.end())
    }

    /// The place after an item's.
    #[inline]
    pub(super) fn after(&self, pos: Pos) -> Pos {
        match self.chunks.get(pos.chunk) {
            Some(chunk) if pos.at + 1 < chunk.items.len() => Pos {
                at: pos.at + 1,
                ..pos
            },
            Some(_) => Pos {
                chunk: pos.chunk + 1,
                at: 0,
            },
            None => pos,
        }
    }

    /// Where the item before a place is.
    pub(super) fn before(&self, pos: Pos) -> Option<Pos> {
        if pos.at > 0 {
            return Some(Pos {
                at: pos.at - 1,
                ..pos
            });
        }
        let chunk = pos.chunk.checked_sub(1)?;
        let at = self.chunks[chunk].items.len() - 1;
        Some(Pos { chunk, at })
    }

    /// Where the first item is whose id is `id` or above.
    #[inline]
    pub(super) fn lower_bound(&self, id: StreamId) -> Pos {
        self.bound(id, |item| item < id)
    }

    /// Where the first item is whose id is above `id`.
    #[inline]
    pub(super) fn upper_bound(&self, id: StreamId) -> Pos {
        self.bound(id, |item| item <= id)
    }

    /// Where the item with this id is.
    #[inline]
    pub(super) fn find(&self, id: StreamId) -> Option<Pos> {
        let pos = self.lower_bound(id);
        let found = self.get(pos).is_some_and(|item| item.id() == id);
        found.then_some(pos)
    }

    /// As [`Chunks::find`], in no time if it is where `near` was, or in the next chunk.
    #[inline]
    pub(super) fn find_near(&self, near: Pos, id: StreamId) -> Option<Pos> {
        let from = |chunk: usize| self.chunks.get(chunk).map(|chunk| chunk.from);
        let is_in = |chunk: usize| {
            from(chunk).is_some_and(|from| from <= id)
                && from(chunk + 1).is_none_or(|next| id < next)
        };
        let chunk = match near.chunk {
            chunk if is_in(chunk) => chunk,
            chunk if is_in(chunk + 1) => chunk + 1,
            _ => return self.find(id),
        };
        let at = self.chunks[chunk].items.binary_search_by_key(&id, T::id);
        Some(Pos {
            chunk,
            at: at.ok()?,
        })
    }

    fn bound(&self, id: StreamId, is_below: impl Fn(StreamId) -> bool) -> Pos {
        let chunk = self.locate(id);
        let Some(there) = self.chunks.get(chunk) else {
            return self.end();
        };
        // What is looked for is often the first one.
        let at = match there.items.front() {
            Some(first) if !is_below(first.id()) => 0,
            _ => there.items.partition_point(|item| is_below(item.id())),
        };
        match at < there.items.len() {
            true => Pos { chunk, at },
            false => Pos {
                chunk: chunk + 1,
                at: 0,
            },
        }
    }

    /// The chunk that an item with this id is in if it is there; 0 if there are none.
    #[inline]
    fn locate(&self, id: StreamId) -> usize {
        // Most are near the end or the start.
        match self.chunks.len() {
            0 | 1 => 0,
            len if self.chunks[len - 1].from <= id => len - 1,
            _ if id < self.chunks[1].from => 0,
            _ => self.chunks.partition_point(|chunk| chunk.from <= id) - 1,
        }
    }

    /// Adds an item that comes after all others.
    #[inline]
    pub(super) fn push_back(&mut self, item: T) {
        debug_assert!(self.last().is_none_or(|last| last.id() < item.id()));
        self.len += 1;
        if let Some(last) = self.chunks.back_mut()
            && last.items.len() < T::CHUNK_LEN
        {
            self.keep(self.chunks.len() - 1);
            self.chunks
                .back_mut()
                .expect("it was there")
                .items
                .push_back(item);
            return;
        }
        // A lone item takes no room for others.
        let mut items = VecDeque::with_capacity(1);
        let from = item.id();
        items.push_back(item);
        let stamp = self.stamp;
        self.chunks.push_back(Chunk { from, items, stamp });
    }

    /// Adds an item whose id is not there.
    pub(super) fn insert(&mut self, item: T) {
        let id = item.id();
        if self.last().is_none_or(|last| last.id() < id) {
            return self.push_back(item);
        }
        let mut chunk = self.locate(id);
        self.keep(chunk);
        if self.chunks[chunk].items.len() >= T::CHUNK_LEN {
            self.halve(chunk);
            chunk += usize::from(self.chunks[chunk + 1].from <= id);
        }
        let there = &mut self.chunks[chunk];
        let at = there.items.partition_point(|item| item.id() < id);
        there.items.insert(at, item);
        there.from = there.from.min(id);
        self.len += 1;
    }

    fn halve(&mut self, chunk: usize) {
        let full = &mut self.chunks[chunk];
        let items = full.items.split_off(full.items.len() / 2);
        let from = items[0].id();
        let stamp = self.stamp;
        self.chunks.insert(chunk + 1, Chunk { from, items, stamp });
    }

    /// Takes the item out that is at a place.
    pub(super) fn remove(&mut self, pos: Pos) -> T {
        self.keep(pos.chunk);
        let chunk = &mut self.chunks[pos.chunk];
        let item = chunk.items.remove(pos.at).expect("an item is there");
        self.len -= 1;
        if chunk.items.is_empty() {
            self.chunks.remove(pos.chunk);
        } else if chunk.items.len() <= T::CHUNK_LEN / 4 {
            self.join(pos.chunk);
        }
        item
    }

    /// Takes all items out that are not to stay.
    pub(super) fn retain(&mut self, stays: impl Fn(&T) -> bool) {
        for chunk in 0..self.chunks.len() {
            if self.chunks[chunk].items.iter().all(&stays) {
                continue;
            }
            self.keep(chunk);
            let items = &mut self.chunks[chunk].items;
            let before = items.len();
            items.retain(&stays);
            self.len -= before - items.len();
            items.shrink_to(items.len() * 2);
        }
        self.chunks.retain(|chunk| !chunk.items.is_empty());
    }

    /// Joins a sparse chunk with the next one, or with the one before, if both together are no more
    /// than half a chunk.
    fn join(&mut self, chunk: usize) {
        let fits = |first: usize| {
            let len = |at: usize| self.chunks.get(at).map(|chunk| chunk.items.len());
            let both = len(first).zip(len(first + 1));
            both.is_some_and(|(first, second)| first + second <= T::CHUNK_LEN / 2)
        };
        let first = match chunk.checked_sub(1) {
            _ if fits(chunk) => chunk,
            Some(before) if fits(before) => before,
            _ => return,
        };
        self.keep(first);
        self.keep(first + 1);
        if let Some(mut second) = self.chunks.remove(first + 1) {
            let items = &mut self.chunks[first].items;
            items.append(&mut second.items);
            items.shrink_to(T::CHUNK_LEN / 2);
        }
    }

    /// The items of a span of places.
    #[inline]
    pub(super) fn iter(&self, from: Pos, to: Pos) -> Iter<'_, T> {
        Iter {
            all: self,
            front: from,
            back: to.max(from),
        }
    }

    /// The items whose ids are from `start` to `end`, both included.
    #[inline]
    pub(super) fn range(&self, start: StreamId, end: StreamId) -> Iter<'_, T> {
        let from = self.lower_bound(start);
        let to = match start <= end {
            true => self.upper_bound(end),
            false => from,
        };
        self.iter(from, to)
    }

    /// The memory besides what items own, bytes.
    pub(super) fn alloc_bytes(&self) -> usize {
        let chunks = self.chunks.iter().fold(0usize, |sum, chunk| {
            sum.saturating_add(block_bytes::<T>(chunk.items.capacity()))
        });
        chunks.saturating_add(block_bytes::<Chunk<T>>(self.chunks.capacity()))
    }

    /// Begins a snapshot, in no time; one at a time.
    pub(super) fn begin_save(&mut self) {
        debug_assert!(self.saving.is_none(), "one snapshot at a time");
        self.stamp = self.stamp.wrapping_add(1);
        self.saving = Some(Box::new(Saving {
            kept: BTreeMap::new(),
            after: None,
            left: self.chunks.len(),
        }));
    }

    /// Whether a snapshot is going on.
    pub(super) fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// Ends a snapshot.
    pub(super) fn end_save(&mut self) {
        self.saving = None;
    }

    /// Hands out the items of the next unsaved chunk, as they were when the snapshot began; false if
    /// there is none any more.
    pub(super) fn save_next(&mut self, f: &mut dyn FnMut(&T)) -> bool {
        let stamp = self.stamp;
        let Some(saving) = self.saving.as_mut().filter(|saving| saving.left > 0) else {
            return false;
        };
        let kept = saving.kept.first_key_value().map(|(&from, _)| from);
        let first = match saving.after {
            Some(after) => self.chunks.partition_point(|chunk| chunk.from <= after),
            None => 0,
        };
        let mut comes = self.chunks.iter_mut().skip(first);
        let comes = comes
            .by_ref()
            .take_while(|chunk| kept.is_none_or(|kept| chunk.from < kept))
            .find(|chunk| chunk.stamp != stamp);
        if let Some(chunk) = comes {
            chunk.stamp = stamp;
            saving.after = Some(chunk.from);
            chunk.items.iter().for_each(f);
        } else if let Some((from, chunk)) = saving.kept.pop_first() {
            saving.after = Some(from);
            chunk.items.iter().for_each(f);
        } else {
            debug_assert!(false, "an unsaved chunk is lost");
        }
        saving.left -= 1;
        true
    }

    /// Copies a chunk aside, if there is one and it is unsaved: it is about to change.
    #[inline]
    fn keep(&mut self, chunk: usize) {
        if self.saving.is_some() {
            self.keep_unsaved(chunk);
        }
    }

    #[cold]
    fn keep_unsaved(&mut self, chunk: usize) {
        let stamp = self.stamp;
        if let (Some(saving), Some(chunk)) = (&mut self.saving, self.chunks.get_mut(chunk))
            && chunk.stamp != stamp
        {
            chunk.stamp = stamp;
            saving.kept.insert(chunk.from, chunk.clone());
        }
    }
}

fn block_bytes<T>(capacity: usize) -> usize {
    footprint::block_bytes(capacity.saturating_mul(size_of::<T>()))
}

/// Items in their order, from both ends.
pub(super) struct Iter<'a, T> {
    all: &'a Chunks<T>,
    front: Pos,
    back: Pos,
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Iter { ..*self }
    }
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        if self.front >= self.back {
            return None;
        }
        let item = self.all.get(self.front);
        self.front = self.all.after(self.front);
        item
    }
}

impl<T: Item> DoubleEndedIterator for Iter<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = self.all.before(self.back)?;
        self.all.get(self.back)
    }
}
