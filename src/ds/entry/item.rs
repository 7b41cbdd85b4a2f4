//! Entries as items of a table, copies of them, and what hangs on them for who moves it.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{
    Entry, EntryMut, EntryRef, KIND_BOXED, KIND_MASK, KIND_SHARED, NewValue, Shape, ValueRef,
};
use crate::ds::collection::Collection;
use crate::ds::hash::KeyHash;
use crate::ds::table::Item;

impl EntryRef<'_> {
    /// A copy, which shares nothing but large strings.
    pub fn duplicate(self) -> Entry {
        let value = match self.value() {
            ValueRef::Int(int) => NewValue::Int(int),
            ValueRef::Bytes(bytes) => NewValue::Bytes(bytes),
            ValueRef::Shared(shared) => NewValue::Shared(shared.clone()),
            ValueRef::Collection(inner) => NewValue::Collection(Box::new(inner.duplicate())),
        };
        Entry::new(self.key(), self.meta(), value, self.expire_at_ms())
    }
}

// SAFETY: into_raw gives up the block and from_raw takes it back; blocks are aligned to 8, and
// every other function only reads or changes the one live entry it is given.
unsafe impl Item for Entry {
    type Ref<'a> = EntryRef<'a>;
    type Mut<'a> = EntryMut<'a>;

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Self(raw)
    }

    #[inline]
    unsafe fn borrow<'a>(raw: NonNull<u8>) -> EntryRef<'a> {
        EntryRef {
            raw,
            entry: PhantomData,
        }
    }

    #[inline]
    unsafe fn borrow_mut<'a>(raw: NonNull<u8>) -> EntryMut<'a> {
        EntryMut {
            raw,
            entry: PhantomData,
        }
    }

    #[inline]
    unsafe fn key<'a>(raw: NonNull<u8>) -> &'a [u8] {
        EntryRef::<'a> {
            raw,
            entry: PhantomData,
        }
        .key()
    }

    #[inline]
    unsafe fn hash(raw: NonNull<u8>, hash: &KeyHash) -> u64 {
        hash.hash(
            EntryRef {
                raw,
                entry: PhantomData,
            }
            .key(),
        )
    }

    #[inline]
    unsafe fn expire_at_ms(raw: NonNull<u8>) -> Option<u64> {
        EntryRef {
            raw,
            entry: PhantomData,
        }
        .expire_at_ms()
    }

    unsafe fn duplicate(raw: NonNull<u8>) -> Self {
        let view = EntryRef {
            raw,
            entry: PhantomData,
        };
        view.duplicate()
    }

    unsafe fn set_expire_at_ms(raw: NonNull<u8>, expire_at_ms: Option<u64>) -> NonNull<u8> {
        let mut entry = Self(raw);
        entry.set_expire_at_ms(expire_at_ms);
        entry.into_raw()
    }

    const MOVES: bool = true;

    unsafe fn block_bytes(raw: NonNull<u8>) -> usize {
        // SAFETY: the caller's: a live entry.
        unsafe { Shape::read(raw) }.block_bytes()
    }
}

impl EntryMut<'_> {
    /// Where a shared value hangs, for who moves it; `None` for other kinds.
    pub(in crate::ds) fn arc_mut(&mut self) -> Option<&mut Arc<Vec<u8>>> {
        // SAFETY: the view is exclusive; a shared value has its Arc at value_at, aligned.
        unsafe {
            let shape = Shape::read(self.raw);
            let at = self.raw.add(shape.value_at).cast::<Arc<Vec<u8>>>();
            (shape.flags & KIND_MASK == KIND_SHARED).then(|| &mut *at.as_ptr())
        }
    }

    /// Where a large collection hangs, for who moves it; `None` for other kinds.
    pub(in crate::ds) fn box_mut(&mut self) -> Option<&mut Box<Collection>> {
        // SAFETY: the view is exclusive; a boxed value has its Box at value_at, aligned.
        unsafe {
            let shape = Shape::read(self.raw);
            let at = self.raw.add(shape.value_at).cast::<Box<Collection>>();
            (shape.flags & KIND_MASK == KIND_BOXED).then(|| &mut *at.as_ptr())
        }
    }
}
