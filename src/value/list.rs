//! List values: a listpack while it is short, then a quicklist.
//!
//! The encodings change as Valkey's do: a listpack that an addition would take past
//! `list-max-listpack-size` becomes a quicklist before it; a quicklist that is down to one node, at
//! most half full, becomes a listpack after a removal (`ListMut::shrink`).
//!
//! [`ListRef`] reads, [`ListMut`] changes. Neither knows keys: a list that is emptied is removed by
//! who holds its key.
//!
//! To add an operation: on `ListRef`, by [`ListRef::walk`]; on `ListMut`, for both encodings.

use std::ops::{ControlFlow, Range};

use smallvec::SmallVec;

use super::{Encoding, Limits};
use crate::ds::buf::Buf;
use crate::ds::collection::Collection;
use crate::ds::entry::{EntrySlot, NewValue, ValueRef};
use crate::ds::listpack::{self, HEADER_BYTES, Listpack, Value};
use crate::ds::quicklist::{Fill, Quicklist};

pub use crate::ds::quicklist::End;

#[cfg(test)]
mod tests;

/// The text of an element that is moved from one list to another.
pub type Element = SmallVec<[u8; 128]>;

/// A list to be read.
#[derive(Clone, Copy)]
pub enum ListRef<'a> {
    /// A short one.
    Listpack(Listpack<'a>),
    /// A long one.
    Quicklist(&'a Quicklist),
}

impl<'a> ListRef<'a> {
    /// The list that an entry of type list holds.
    #[inline]
    pub fn new(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Collection(Collection::List(list)) => ListRef::Quicklist(list),
            other => ListRef::Listpack(Listpack::new(other.as_bytes().unwrap_or(&listpack::EMPTY))),
        }
    }

    /// Number of elements.
    #[inline]
    pub fn len(self) -> usize {
        match self {
            ListRef::Listpack(list) => list.len(),
            ListRef::Quicklist(list) => list.len(),
        }
    }

    /// Whether there are no elements; never so of a key's value.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Puts the element at an end into `element`.
    pub fn end_element(self, end: End, element: &mut Element) {
        let (at, towards) = match end {
            End::Head => (0, End::Tail),
            End::Tail => (self.len().saturating_sub(1), End::Head),
        };
        let mut digits = itoa::Buffer::new();
        self.walk(at, towards, |value| {
            element.extend_from_slice(value.bytes(&mut digits));
            ControlFlow::Break(())
        });
    }

    /// Visits elements from the one at `index` on towards `end`, until a visit breaks.
    #[inline]
    pub fn walk<B>(
        self,
        index: usize,
        end: End,
        mut visit: impl FnMut(Value<'_>) -> ControlFlow<B>,
    ) -> Option<B> {
        let list = match self {
            ListRef::Quicklist(list) => return list.walk(index, end, visit),
            ListRef::Listpack(list) => list,
        };
        let mut at = list.seek(i64::try_from(index).ok()?)?;
        loop {
            if let ControlFlow::Break(found) = visit(list.value(at)) {
                return Some(found);
            }
            at = match end {
                End::Tail => list.next(at)?,
                End::Head => list.prev(at)?,
            };
        }
    }

    /// Visits the elements of a range; towards the head of the list if `end` is the head.
    #[inline]
    pub fn walk_range(self, range: Range<usize>, end: End, mut visit: impl FnMut(Value<'_>)) {
        let mut left = range.len();
        if left == 0 {
            return;
        }
        let first = match end {
            End::Tail => range.start,
            End::Head => range.end - 1,
        };
        self.walk(first, end, |value| {
            visit(value);
            left -= 1;
            match left {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
    }

    /// The index that a client means; negative ones count from the end.
    pub fn index(self, index: i64) -> Option<usize> {
        let len = self.len();
        let index = match index {
            0.. => usize::try_from(index).ok()?,
            _ => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
        };
        (index < len).then_some(index)
    }
}

/// What inclusive bounds name in a list of `len` elements; negative ones count from the end. The
/// range is always inside the list, and empty when the bounds name nothing.
pub fn range(len: usize, start: i64, stop: i64) -> Range<usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_end = |bound: i64| if bound < 0 { bound + len } else { bound };
    let (start, stop) = (from_end(start).max(0), from_end(stop).min(len - 1));
    if start > stop {
        return 0..0;
    }
    start as usize..stop as usize + 1
}

/// The value of a new list with these elements pushed to an end one after the other.
pub fn with_new_value<'v, R>(
    end: End,
    elements: impl DoubleEndedIterator<Item = &'v [u8]> + Clone,
    limits: &Limits,
    store: impl FnOnce(Encoding, NewValue<'_>) -> R,
) -> R {
    let fill = Fill::new(limits.list_max_listpack_size);
    let (bytes, count) = text_bytes(elements.clone());
    if fill.is_exceeded(listpack::EMPTY.len().saturating_add(bytes), count) {
        let empty = Listpack::new(&listpack::EMPTY);
        let mut list = Quicklist::from_listpack(empty, fill, limits.list_compress_depth);
        elements.for_each(|element| list.push(end, element.into()));
        let list = Box::new(Collection::List(list));
        return store(Encoding::Quicklist, NewValue::Collection(list));
    }
    let list = match end {
        End::Tail => listpack::collect(elements),
        End::Head => listpack::collect(elements.rev()),
    };
    store(Encoding::Listpack, NewValue::Bytes(&list))
}

/// The value of a new list that is the result of a command (SORT). In Valkey it is put together as a
/// quicklist and is a listpack in the end only if one node holds it all.
pub fn with_result<'v, R>(
    elements: impl Iterator<Item = &'v [u8]>,
    limits: &Limits,
    store: impl FnOnce(Encoding, NewValue<'_>) -> R,
) -> R {
    let fill = Fill::new(limits.list_max_listpack_size);
    let empty = Listpack::new(&listpack::EMPTY);
    let mut list = Quicklist::from_listpack(empty, fill, limits.list_compress_depth);
    elements.for_each(|element| list.push(End::Tail, element.into()));
    match list.as_listpack(fill) {
        Some(bytes) => store(Encoding::Listpack, NewValue::Bytes(&bytes)),
        None => {
            let list = Box::new(Collection::List(list));
            store(Encoding::Quicklist, NewValue::Collection(list))
        }
    }
}

/// Sum of the lengths and number of elements.
fn text_bytes<'v>(elements: impl Iterator<Item = &'v [u8]>) -> (usize, usize) {
    elements.fold((0usize, 0usize), |(bytes, count), element| {
        (bytes.saturating_add(element.len()), count + 1)
    })
}

/// A list to be changed.
pub struct ListMut<'a> {
    slot: EntrySlot<'a>,
    limits: Limits,
}

impl<'a> ListMut<'a> {
    /// The list in the slot of an entry of type list.
    #[inline]
    pub fn new(slot: EntrySlot<'a>, limits: Limits) -> Self {
        ListMut { slot, limits }
    }

    /// The list as it is now.
    #[inline]
    pub fn view(&self) -> ListRef<'_> {
        ListRef::new(self.slot.view().value())
    }

    /// Pushes elements to an end one after the other; the number of elements then.
    #[inline]
    pub fn push<'v>(
        &mut self,
        end: End,
        elements: impl DoubleEndedIterator<Item = &'v [u8]> + Clone,
    ) -> usize {
        let (bytes, count) = text_bytes(elements.clone());
        if let Some(list) = self.grow(bytes, count) {
            elements.for_each(|element| list.push(end, element.into()));
            return list.len();
        }
        let list = Listpack::new(self.slot.bytes());
        let len = list.len() + count;
        let (place, (entries, _)) = match end {
            End::Tail => (list.end(), listpack::encode_all(elements)),
            End::Head => (HEADER_BYTES, listpack::encode_all(elements.rev())),
        };
        listpack::edit(&mut self.slot, place..place, &entries, 0, count);
        len
    }

    /// Takes `count` elements from an end, fewer if there are fewer; the outermost is visited first.
    #[inline]
    pub fn pop(&mut self, end: End, count: usize, mut visit: impl FnMut(Value<'_>)) {
        if let Some(list) = self.quicklist() {
            list.pop(end, count, visit);
            return self.shrink();
        }
        let list = Listpack::new(self.slot.bytes());
        let (mut from, mut to, mut taken) = match end {
            End::Head => (HEADER_BYTES, HEADER_BYTES, 0),
            End::Tail => (list.end(), list.end(), 0),
        };
        while taken < count {
            match end {
                End::Head if to < list.end() => {
                    let (value, next) = list.read(to);
                    visit(value);
                    to = next;
                }
                End::Tail if from > HEADER_BYTES => {
                    from = list.prev(from).unwrap_or(HEADER_BYTES);
                    visit(list.value(from));
                }
                _ => break,
            }
            taken += 1;
        }
        listpack::remove_span(&mut self.slot, from..to, taken);
    }

    /// Puts an element in the place of the one that a client means by `index`; false if there is
    /// none.
    pub fn set(&mut self, index: i64, element: &[u8]) -> bool {
        self.grow(element.len(), 1);
        let Some(index) = self.view().index(index) else {
            return false;
        };
        match self.quicklist() {
            Some(list) => list.set(index, element.into()),
            None => {
                let list = Listpack::new(self.slot.bytes());
                if let Some(at) = list.seek(index as i64) {
                    listpack::replace(&mut self.slot, at, element);
                }
            }
        }
        self.shrink();
        true
    }

    /// Puts an element before or after the first one whose text is `pivot`; false if there is none.
    pub fn insert(&mut self, pivot: &[u8], after: bool, element: &[u8]) -> bool {
        if let Some(list) = self.grow(element.len(), 1) {
            let needle = listpack::Needle::new(pivot);
            let mut index = 0;
            let found = list.walk(0, End::Tail, |value| match needle.is(value) {
                true => ControlFlow::Break(index),
                false => {
                    index += 1;
                    ControlFlow::Continue(())
                }
            });
            if let Some(index) = found {
                list.insert(index, after, element.into());
            }
            return found.is_some();
        }
        let list = Listpack::new(self.slot.bytes());
        let Some(at) = list.find(HEADER_BYTES, pivot, 0) else {
            return false;
        };
        let place = match after {
            true => list.next(at).unwrap_or(list.end()),
            false => at,
        };
        listpack::insert(&mut self.slot, place, element);
        true
    }

    /// Removes up to `count` elements whose text is `text`, beginning at an end; answers how many
    /// were.
    pub fn remove_equal(&mut self, text: &[u8], count: usize, from: End) -> usize {
        if let Some(list) = self.quicklist() {
            let removed = list.remove_equal(text, count, from);
            if removed > 0 {
                self.shrink();
            }
            return removed;
        }
        listpack::remove_equal(&mut self.slot, text, count, from == End::Tail)
    }

    /// Removes all elements but those of a range, which must be inside the list and not empty.
    pub fn keep(&mut self, range: Range<usize>) {
        if let Some(list) = self.quicklist() {
            let len = list.len();
            list.remove_range(range.end..len);
            list.remove_range(0..range.start);
            return self.shrink();
        }
        let list = Listpack::new(self.slot.bytes());
        let len = list.len();
        let seek = |index: usize| list.seek(index as i64).unwrap_or(list.end());
        let (from, to, end) = (seek(range.start), seek(range.end), list.end());
        listpack::remove_span(&mut self.slot, to..end, len - range.end);
        listpack::remove_span(&mut self.slot, HEADER_BYTES..from, range.start);
    }

    /// Takes one element from an end and pushes it to an end of the same list; it is handed to
    /// `visit`.
    pub fn rotate(&mut self, from: End, to: End, visit: impl FnOnce(&[u8])) {
        let mut element = Element::new();
        self.pop_element(from, &mut element);
        self.push(to, std::iter::once(&element[..]));
        self.shrink();
        visit(&element);
    }

    /// As [`ListMut::pop`], one element into `element`. Leaves the encoding as it is.
    fn pop_element(&mut self, end: End, element: &mut Element) {
        let mut digits = itoa::Buffer::new();
        let visit = |value: Value<'_>| element.extend_from_slice(value.bytes(&mut digits));
        match self.quicklist() {
            Some(list) => list.pop(end, 1, visit),
            None => self.pop(end, 1, visit),
        }
    }

    /// Makes a quicklist a listpack again if it has become short.
    fn shrink(&mut self) {
        let fill = Fill::new(self.limits.list_max_listpack_size);
        let listpack = self
            .quicklist()
            .and_then(|list| list.as_small_listpack(fill));
        if let Some(listpack) = listpack {
            let value = NewValue::Bytes(&listpack);
            self.slot.set_value(Encoding::Listpack as u8, value);
        }
    }

    #[inline]
    fn quicklist(&mut self) -> Option<&mut Quicklist> {
        match self.slot.collection_mut() {
            Some(Collection::List(list)) => Some(list),
            _ => None,
        }
    }

    /// Makes a listpack a quicklist if elements of so many bytes would be too many. The quicklist,
    /// if it is one then.
    #[inline]
    fn grow(&mut self, more_bytes: usize, more: usize) -> Option<&mut Quicklist> {
        let fill = Fill::new(self.limits.list_max_listpack_size);
        if let ListRef::Listpack(list) = self.view() {
            let bytes = list.bytes().len().saturating_add(more_bytes);
            if !fill.is_exceeded(bytes, list.len().saturating_add(more)) {
                return None;
            }
            let depth = self.limits.list_compress_depth;
            let list = Quicklist::from_listpack(list, fill, depth);
            let value = NewValue::Collection(Box::new(Collection::List(list)));
            self.slot.set_value(Encoding::Quicklist as u8, value);
        }
        self.quicklist()
    }
}
