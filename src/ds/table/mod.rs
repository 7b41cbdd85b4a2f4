//! Skeleton of the public API; the implementation follows.
#![allow(unused_variables, missing_docs, clippy::missing_safety_doc)]

use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::ds::hash::KeyHash;

/// A pointer-sized owning handle that a table can hold.
pub unsafe trait Item: Sized {
    type Ref<'a>: Copy;
    type Mut<'a>;
    fn into_raw(self) -> NonNull<u8>;
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;
    unsafe fn borrow<'a>(raw: NonNull<u8>) -> Self::Ref<'a>;
    unsafe fn borrow_mut<'a>(raw: NonNull<u8>) -> Self::Mut<'a>;
    unsafe fn key<'a>(raw: NonNull<u8>) -> &'a [u8];
    unsafe fn hash(raw: NonNull<u8>, hash: &KeyHash) -> u64;
    unsafe fn expire_at_ms(raw: NonNull<u8>) -> Option<u64>;
    unsafe fn set_expire_at_ms(raw: NonNull<u8>, expire_at_ms: Option<u64>) -> NonNull<u8>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    dir_index: u32,
    position: u32,
}

pub struct Table<T: Item> {
    items: PhantomData<T>,
}

unsafe impl<T: Item + Send> Send for Table<T> {}

impl<T: Item> Table<T> {
    pub fn new(skip_bits: u32, hash: KeyHash) -> Self {
        Self { items: PhantomData }
    }
    /// The hash function the table was made with; `find` and `insert` expect its hashes.
    pub fn key_hash(&self) -> KeyHash {
        panic!()
    }
    pub fn len(&self) -> usize {
        panic!()
    }
    pub fn is_empty(&self) -> bool {
        panic!()
    }
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Slot> {
        panic!()
    }
    pub fn get(&self, slot: Slot) -> T::Ref<'_> {
        panic!()
    }
    pub fn get_mut(&mut self, slot: Slot) -> T::Mut<'_> {
        panic!()
    }
    pub fn insert(&mut self, hash: u64, item: T) -> Slot {
        panic!()
    }
    pub fn replace(&mut self, slot: Slot, item: T) -> T {
        panic!()
    }
    pub fn remove(&mut self, slot: Slot) -> T {
        panic!()
    }
    pub fn set_expire(&mut self, slot: Slot, expire_at_ms: Option<u64>) {
        panic!()
    }
    pub fn take_expired(&mut self, now_ms: u64, budget: usize, f: &mut impl FnMut(T)) -> usize {
        panic!()
    }
    pub fn next_expire_at_ms(&self) -> u64 {
        panic!()
    }
    pub fn expires_len(&self) -> usize {
        panic!()
    }
    pub fn prefetch_bucket(&self, hash: u64) {
        panic!()
    }
    pub fn prefetch_entry(&self, hash: u64) {
        panic!()
    }
    pub fn scan(&self, cursor_pos: u64, budget: usize, f: impl FnMut(T::Ref<'_>)) -> u64 {
        panic!()
    }
    pub fn random(&self, random: &mut impl FnMut() -> u64) -> Option<T::Ref<'_>> {
        panic!()
    }
    pub fn for_each(&self, f: impl FnMut(T::Ref<'_>)) {
        panic!()
    }
    pub fn iter(&self) -> Iter<'_, T> {
        panic!()
    }
    pub fn clear(&mut self) {
        panic!()
    }
    pub fn memory_bytes(&self) -> usize {
        panic!()
    }
    pub fn segments(&self) -> usize {
        panic!()
    }
}

pub struct Iter<'a, T: Item> {
    table: &'a Table<T>,
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = T::Ref<'a>;
    fn next(&mut self) -> Option<T::Ref<'a>> {
        panic!()
    }
}
