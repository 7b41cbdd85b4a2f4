//! One key with its value in one heap allocation.
//!
//! ```text
//! offset 0  type:4 | enc:4
//!        1  flags: key width:2 | value width:2 | kind:2 | has expire:1 | highest bit of lru:1
//!        2  lru, its other 24 bits, little endian
//!        5  key length, 1, 2, 4 or 8 bytes
//!           value length, 1 or 2 bytes, only of inline bytes
//!           expire_at_ms, 8 bytes, only if there is one
//!           key
//!           value: an i64, the bytes, or (at the next multiple of 8) a pointer
//! ```
//!
//! A 16 B key with a 16 B value takes 39 bytes, 47 with an expiry, 29 as an integer: classes 40, 48
//! and 32 of an allocator that rounds to 8. Fields are unaligned; only pointers are aligned.
//!
//! Invariants:
//! - A block's size is [`size_class`] of what it holds, so the block can be freed knowing only its
//!   content; an update happens in place exactly when the class stays the same.
//! - Whether there is an expiry changes only through [`Entry::set_expire_at_ms`], which the table's
//!   index wraps: [`EntryMut`] can't touch it.
//! - `type` and `enc` are opaque here; the layer above gives them their meaning.
//!
//! - The four kinds of values are all taken: an integer, bytes inside the block, shared bytes outside
//!   of it, and a [`Collection`] behind a pointer.
//!
//! An entry inside a table whose block may have to move is edited through [`EntrySlot`].

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::ds::buf::Buf;
use crate::ds::collection::Collection;
use crate::ds::footprint;
use crate::ds::hash::KeyHash;
use crate::ds::table::{Slot, Table, prefetch};

/// Values of at least this many bytes live outside the entry in an `Arc`, so that a reply can hold
/// the value and send it without a copy. Shorter ones are inline.
pub const SHARED_MIN: usize = 16 * 1024;

/// The largest value of the LRU/LFU field, which has 25 bits.
pub const LRU_MAX: u32 = (1 << 25) - 1;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;
/// How much of an entry is asked for ahead at most, bytes: as long as the processor would not have
/// guessed by itself that it is read from front to back.
const PREFETCH_BYTES_MAX: usize = 512;

const LENGTHS_AT: usize = 5;
const EXPIRE_BYTES: usize = 8;
const POINTER_BYTES: usize = 8;
const ALIGN: usize = 8;
const BLOCK_BYTES_MIN: usize = 16;

const KEY_WIDTH_MASK: u8 = 0b0000_0011;
const VALUE_WIDTH_SHIFT: u32 = 2;
const VALUE_WIDTH_MASK: u8 = 0b0000_1100;
const KIND_MASK: u8 = 0b0011_0000;
const KIND_INT: u8 = 0b0000_0000;
const KIND_INLINE: u8 = 0b0001_0000;
const KIND_SHARED: u8 = 0b0010_0000;
const KIND_BOXED: u8 = 0b0011_0000;
const HAS_EXPIRE_SHIFT: u32 = 6;
const HAS_EXPIRE: u8 = 1 << HAS_EXPIRE_SHIFT;
/// The highest bit of the LRU/LFU field: no matter of an entry's shape.
const LRU_HIGH: u8 = 1 << 7;
/// From its place in the word of the flags and the three bytes behind them to its place in the field.
const LRU_HIGH_SHIFT: u32 = 24 - 7;

/// What the layer above keeps with a key. `type_` and `enc` hold 4 bits, `lru` 25; higher bits are
/// cut off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meta {
    /// The data type, opaque here.
    pub type_: u8,
    /// The encoding, opaque here.
    pub enc: u8,
    /// When or how often the key was used, opaque here.
    pub lru: u32,
}

/// The value of a new entry.
#[derive(Debug)]
pub enum NewValue<'a> {
    /// Stored as 8 bytes.
    Int(i64),
    /// Copied into the entry, or into a new `Arc` from [`SHARED_MIN`] bytes on.
    Bytes(&'a [u8]),
    /// Taken over without a copy, whatever its length.
    Shared(Arc<Vec<u8>>),
    /// Taken over.
    Collection(Box<Collection>),
}

/// The value of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueRef<'a> {
    /// An integer.
    Int(i64),
    /// Bytes inside the entry.
    Bytes(&'a [u8]),
    /// Bytes outside the entry; clone the `Arc` to keep them past the shard's lock.
    Shared(&'a Arc<Vec<u8>>),
    /// A large collection.
    Collection(&'a Collection),
}

impl<'a> ValueRef<'a> {
    /// The bytes inside or outside of the entry; `None` for an integer or a collection.
    #[inline]
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            ValueRef::Bytes(bytes) => Some(bytes),
            ValueRef::Shared(shared) => Some(shared),
            ValueRef::Int(_) | ValueRef::Collection(_) => None,
        }
    }

    /// The large collection, if that is what the value is.
    #[inline]
    pub fn as_collection(self) -> Option<&'a Collection> {
        match self {
            ValueRef::Collection(collection) => Some(collection),
            _ => None,
        }
    }
}

/// An owned entry: one pointer wide. Dropping it frees the block and releases a shared value.
#[repr(transparent)]
pub struct Entry(NonNull<u8>);

/// A read view of an entry.
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    raw: NonNull<u8>,
    entry: PhantomData<&'a Entry>,
}

/// A write view of an entry. It changes everything but the key and the expiry, in place.
pub struct EntryMut<'a> {
    raw: NonNull<u8>,
    entry: PhantomData<&'a mut Entry>,
}

// SAFETY: an entry owns its block and the collection that this may point to; the only thing in it
// that is shared is an Arc<Vec<u8>>, which is Send.
unsafe impl Send for Entry {}
// SAFETY: a shared entry allows only reads.
unsafe impl Sync for Entry {}

/// The bytes an allocation of `bytes` really takes: jemalloc's size classes with a quantum of 8,
/// which are four to each doubling and at least 8 apart.
#[inline]
pub const fn size_class(bytes: usize) -> usize {
    if bytes <= BLOCK_BYTES_MIN {
        return BLOCK_BYTES_MIN;
    }
    let log = (bytes - 1).ilog2();
    let step = if log > 5 { 1usize << (log - 2) } else { 8 };
    // Nothing that exists in memory is so long that this wraps.
    bytes.wrapping_add(step - 1) & !(step - 1)
}

/// Where everything is in a block.
#[derive(Clone, Copy)]
struct Shape {
    flags: u8,
    key_at: usize,
    key_len: usize,
    value_at: usize,
    value_len: usize,
}

impl Shape {
    fn new(key_len: usize, kind: u8, value_len: usize, has_expire: bool) -> Self {
        let key_width = match key_len {
            0..=0xFF => 0,
            0x100..=0xFFFF => 1,
            0x1_0000..=0xFFFF_FFFF => 2,
            _ => 3,
        };
        let value_width = match (kind, value_len) {
            (KIND_INLINE, 0..=0xFF) => 1,
            (KIND_INLINE, _) => 2,
            _ => 0,
        };
        let has_expire = u8::from(has_expire) << HAS_EXPIRE_SHIFT;
        let flags = key_width | value_width << VALUE_WIDTH_SHIFT | kind | has_expire;
        let key_at = key_at(flags);
        Self {
            flags,
            key_at,
            key_len,
            value_at: value_at(flags, key_at, key_len),
            value_len,
        }
    }

    /// The shape of the block at `raw`.
    ///
    /// # Safety
    /// `raw` is a live entry's block.
    #[inline]
    unsafe fn read(raw: NonNull<u8>) -> Self {
        // SAFETY: the caller's; every block has the header, and the flags say which fields follow.
        unsafe {
            let flags = raw.add(1).read();
            let (key_at, key_len) = key_span(raw);
            let value_len = match flags & VALUE_WIDTH_MASK {
                0 => POINTER_BYTES,
                width => {
                    let at = raw.add(value_len_at(flags));
                    match width >> VALUE_WIDTH_SHIFT {
                        1 => at.read() as usize,
                        _ => at.cast::<u16>().read_unaligned() as usize,
                    }
                }
            };
            let value_at = value_at(flags, key_at, key_len);
            Self {
                flags,
                key_at,
                key_len,
                value_at,
                value_len,
            }
        }
    }

    /// The size of the whole block.
    #[inline]
    fn block_bytes(&self) -> usize {
        size_class(self.value_at.wrapping_add(self.value_len))
    }

    #[inline]
    fn has_expire(&self) -> bool {
        self.flags & HAS_EXPIRE != 0
    }

    /// Writes flags, lengths and expiry; the header's other fields, key and value stay.
    ///
    /// # Safety
    /// `raw` is a block of at least `self.block_bytes()` bytes with a header, and `expire_at_ms` is
    /// there exactly if the flags say so.
    #[inline]
    unsafe fn write_fields(&self, raw: NonNull<u8>, expire_at_ms: Option<u64>) {
        debug_assert_eq!(self.has_expire(), expire_at_ms.is_some());
        // SAFETY: all offsets are below key_at, hence inside the block.
        unsafe {
            let lru_high = raw.add(1).read() & LRU_HIGH;
            raw.add(1).write(self.flags & !LRU_HIGH | lru_high);
            let at = raw.add(LENGTHS_AT);
            match self.flags & KEY_WIDTH_MASK {
                0 => at.write(self.key_len as u8),
                1 => at.cast::<u16>().write_unaligned(self.key_len as u16),
                2 => at.cast::<u32>().write_unaligned(self.key_len as u32),
                _ => at.cast::<u64>().write_unaligned(self.key_len as u64),
            }
            let at = raw.add(value_len_at(self.flags));
            match (self.flags & VALUE_WIDTH_MASK) >> VALUE_WIDTH_SHIFT {
                0 => {}
                1 => at.write(self.value_len as u8),
                _ => at.cast::<u16>().write_unaligned(self.value_len as u16),
            }
            if let Some(expire_at_ms) = expire_at_ms {
                let at = raw.add(self.key_at - EXPIRE_BYTES);
                at.cast::<u64>().write_unaligned(expire_at_ms);
            }
        }
    }

    /// Allocates a block with the header's first bytes, the fields and the key written.
    fn alloc(&self, meta: Meta, key: &[u8], expire_at_ms: Option<u64>) -> NonNull<u8> {
        debug_assert_eq!(self.key_len, key.len());
        let layout = block_layout(self.block_bytes());
        // SAFETY: the size is at least BLOCK_BYTES_MIN; the writes are inside the block by the
        // offsets' definition, and a new block overlaps nothing.
        unsafe {
            let Some(raw) = NonNull::new(alloc(layout)) else {
                handle_alloc_error(layout)
            };
            raw.write(meta.type_ << 4 | meta.enc & 0xF);
            raw.add(1).cast::<[u8; 4]>().write([0; 4]);
            write_lru(raw, meta.lru);
            self.write_fields(raw, expire_at_ms);
            ptr::copy_nonoverlapping(key.as_ptr(), raw.add(self.key_at).as_ptr(), key.len());
            raw
        }
    }
}

#[inline]
fn value_len_at(flags: u8) -> usize {
    LENGTHS_AT + (1usize << (flags & KEY_WIDTH_MASK))
}

#[inline]
fn key_at(flags: u8) -> usize {
    let value_width = ((flags & VALUE_WIDTH_MASK) >> VALUE_WIDTH_SHIFT) as usize;
    let expire_bytes = ((flags & HAS_EXPIRE) >> (HAS_EXPIRE_SHIFT - 3)) as usize;
    value_len_at(flags) + value_width + expire_bytes
}

#[inline]
fn value_at(flags: u8, key_at: usize, key_len: usize) -> usize {
    // Nothing that exists in memory is so long that this wraps.
    let end = key_at.wrapping_add(key_len);
    if flags & KIND_MASK >= KIND_SHARED {
        end.wrapping_add(ALIGN - 1) & !(ALIGN - 1)
    } else {
        end
    }
}

/// Offset and length of the key.
///
/// # Safety
/// `raw` is a live entry's block.
#[inline]
unsafe fn key_span(raw: NonNull<u8>) -> (usize, usize) {
    // SAFETY: the caller's; the key length is at LENGTHS_AT in the width the flags say.
    unsafe {
        let flags = raw.add(1).read();
        let at = raw.add(LENGTHS_AT);
        let key_len = match flags & KEY_WIDTH_MASK {
            0 => at.read() as usize,
            1 => at.cast::<u16>().read_unaligned() as usize,
            2 => at.cast::<u32>().read_unaligned() as usize,
            _ => at.cast::<u64>().read_unaligned() as usize,
        };
        (key_at(flags), key_len)
    }
}

/// # Safety
/// `raw` is a block with a header.
#[inline]
unsafe fn write_lru(raw: NonNull<u8>, lru: u32) {
    // SAFETY: bytes 1 to 4 are the header's.
    unsafe {
        let at = raw.add(1).cast::<u32>();
        let flags = u32::from_le(at.read_unaligned()) & u32::from(!LRU_HIGH);
        let high = lru >> LRU_HIGH_SHIFT & u32::from(LRU_HIGH);
        at.write_unaligned((flags | high | lru << u8::BITS).to_le());
    }
}

/// The memory of a shared value, bytes, whoever shares it.
pub fn shared_bytes(shared: &Arc<Vec<u8>>) -> usize {
    // The Arc's block is two counters and the Vec.
    let arc_bytes = size_class(2 * size_of::<usize>() + size_of::<Vec<u8>>());
    arc_bytes.saturating_add(footprint::block_bytes(shared.capacity()))
}

fn block_layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGN)
        .unwrap_or_else(|_| handle_alloc_error(Layout::new::<[u8; 1 << 30]>()))
}

impl Entry {
    /// A new entry. `Bytes` of at least [`SHARED_MIN`] become `Shared`. Lengths are limited by
    /// memory only; callers cap what they accept from a client. Aborts when memory is out.
    pub fn new(key: &[u8], meta: Meta, value: NewValue<'_>, expire_at_ms: Option<u64>) -> Self {
        let has_expire = expire_at_ms.is_some();
        let shared = match value {
            NewValue::Int(value) => {
                let shape = Shape::new(key.len(), KIND_INT, POINTER_BYTES, has_expire);
                let raw = shape.alloc(meta, key, expire_at_ms);
                // SAFETY: the shape has room for 8 bytes at value_at.
                unsafe { raw.add(shape.value_at).cast::<i64>().write_unaligned(value) };
                return Self(raw);
            }
            NewValue::Bytes(bytes) if bytes.len() < SHARED_MIN => {
                let shape = Shape::new(key.len(), KIND_INLINE, bytes.len(), has_expire);
                let raw = shape.alloc(meta, key, expire_at_ms);
                // SAFETY: the shape has room for the bytes at value_at, in a block of its own.
                unsafe {
                    let at = raw.add(shape.value_at).as_ptr();
                    ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
                }
                return Self(raw);
            }
            NewValue::Collection(collection) => {
                let shape = Shape::new(key.len(), KIND_BOXED, POINTER_BYTES, has_expire);
                let raw = shape.alloc(meta, key, expire_at_ms);
                // SAFETY: the shape has room for a pointer at value_at, which is a multiple of 8.
                unsafe {
                    let at = raw.add(shape.value_at).cast::<Box<Collection>>();
                    at.write(collection);
                }
                return Self(raw);
            }
            NewValue::Bytes(bytes) => Arc::new(bytes.to_vec()),
            NewValue::Shared(shared) => shared,
        };
        let shape = Shape::new(key.len(), KIND_SHARED, POINTER_BYTES, has_expire);
        let raw = shape.alloc(meta, key, expire_at_ms);
        // SAFETY: the shape has room for a pointer at value_at, which is a multiple of 8.
        unsafe { raw.add(shape.value_at).cast::<Arc<Vec<u8>>>().write(shared) };
        Self(raw)
    }

    /// The read view.
    #[inline]
    pub fn view(&self) -> EntryRef<'_> {
        EntryRef {
            raw: self.0,
            entry: PhantomData,
        }
    }

    /// The write view.
    #[inline]
    pub fn view_mut(&mut self) -> EntryMut<'_> {
        EntryMut {
            raw: self.0,
            entry: PhantomData,
        }
    }

    /// Sets or removes the expiry. The block stays if its size class does, else it is replaced. For
    /// an entry inside a table use [`Table::set_expire`](crate::ds::table::Table::set_expire).
    pub fn set_expire_at_ms(&mut self, expire_at_ms: Option<u64>) {
        // SAFETY: self is a live entry; old and new shape differ only in the expiry.
        unsafe {
            let old = Shape::read(self.0);
            if old.has_expire() == expire_at_ms.is_some() {
                return old.write_fields(self.0, expire_at_ms);
            }
            let kind = old.flags & KIND_MASK;
            let new = Shape::new(old.key_len, kind, old.value_len, expire_at_ms.is_some());
            if new.block_bytes() == old.block_bytes() && kind < KIND_SHARED {
                // Key and value are adjacent and move together, within the block's size.
                let from = self.0.add(old.key_at).as_ptr();
                let to = self.0.add(new.key_at).as_ptr();
                ptr::copy(from, to, old.key_len + old.value_len);
                return new.write_fields(self.0, expire_at_ms);
            }
            let view = self.view();
            let raw = new.alloc(view.meta(), view.key(), expire_at_ms);
            // A pointer moves like any other value: what it points to is not dropped below.
            let from = self.0.add(old.value_at).as_ptr();
            ptr::copy_nonoverlapping(from, raw.add(new.value_at).as_ptr(), old.value_len);
            dealloc(self.0.as_ptr(), block_layout(old.block_bytes()));
            self.0 = raw;
        }
    }
}

impl Entry {
    /// The same value, type, encoding, LRU field and expiry under another key. Whatever the value's
    /// size, only its own bytes in the block are copied.
    pub fn with_key(self, key: &[u8]) -> Self {
        // SAFETY: self is a live entry, whose block is freed without dropping what it points to:
        // that moves.
        unsafe {
            let old = Shape::read(self.0);
            let kind = old.flags & KIND_MASK;
            let new = Shape::new(key.len(), kind, old.value_len, old.has_expire());
            let view = self.view();
            let raw = new.alloc(view.meta(), key, view.expire_at_ms());
            let from = self.0.add(old.value_at).as_ptr();
            ptr::copy_nonoverlapping(from, raw.add(new.value_at).as_ptr(), old.value_len);
            dealloc(self.0.as_ptr(), block_layout(old.block_bytes()));
            std::mem::forget(self);
            Self(raw)
        }
    }

    /// Puts `insert` in the place of `remove` bytes of an inline or shared value. The block stays if
    /// its size class does, else it is replaced; bytes that reach [`SHARED_MIN`] become shared ones,
    /// and stay so. Panics if the bytes are not there.
    fn splice(mut self, at: usize, remove: usize, insert: &[u8]) -> Self {
        if let Some(shared) = self.view_mut().shared_mut() {
            Buf::splice(shared, at, remove, insert);
            return self;
        }
        // SAFETY: self is a live entry, and exclusively ours; the offsets are checked first.
        unsafe {
            let old = Shape::read(self.0);
            assert!(old.flags & KIND_MASK == KIND_INLINE, "no bytes to splice");
            let tail = at + remove;
            assert!(tail <= old.value_len, "{tail} beyond {}", old.value_len);
            let tail_len = old.value_len - tail;
            let new_len = old.value_len - remove + insert.len();
            if new_len >= SHARED_MIN {
                return self.spliced_to_shared(at, remove, insert, new_len);
            }
            let new = Shape::new(old.key_len, KIND_INLINE, new_len, old.has_expire());
            let value = self.0.add(old.value_at).as_ptr();
            if new.key_at == old.key_at && new.block_bytes() == old.block_bytes() {
                ptr::copy(value.add(tail), value.add(at + insert.len()), tail_len);
                ptr::copy_nonoverlapping(insert.as_ptr(), value.add(at), insert.len());
                new.write_fields(self.0, self.view().expire_at_ms());
                return self;
            }
            let view = self.view();
            let raw = new.alloc(view.meta(), view.key(), view.expire_at_ms());
            let to = raw.add(new.value_at).as_ptr();
            ptr::copy_nonoverlapping(value, to, at);
            ptr::copy_nonoverlapping(insert.as_ptr(), to.add(at), insert.len());
            ptr::copy_nonoverlapping(value.add(tail), to.add(at + insert.len()), tail_len);
            // An inline value has nothing to drop but the block.
            drop(self);
            Self(raw)
        }
    }

    #[cold]
    fn spliced_to_shared(self, at: usize, remove: usize, insert: &[u8], new_len: usize) -> Self {
        let view = self.view();
        let mut bytes = Vec::with_capacity(new_len);
        bytes.extend_from_slice(view.value().as_bytes().unwrap_or_default());
        Buf::splice(&mut bytes, at, remove, insert);
        let value = NewValue::Shared(Arc::new(bytes));
        Self::new(view.key(), view.meta(), value, view.expire_at_ms())
    }
}

impl Drop for Entry {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: self owns a live block, whose size is a function of its shape.
        unsafe {
            let shape = Shape::read(self.0);
            let at = self.0.add(shape.value_at);
            match shape.flags & KIND_MASK {
                KIND_SHARED => ptr::drop_in_place(at.cast::<Arc<Vec<u8>>>().as_ptr()),
                KIND_BOXED => ptr::drop_in_place(at.cast::<Box<Collection>>().as_ptr()),
                _ => {}
            }
            dealloc(self.0.as_ptr(), block_layout(shape.block_bytes()));
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl<'a> EntryRef<'a> {
    /// The key.
    #[inline]
    pub fn key(self) -> &'a [u8] {
        // SAFETY: raw is a live entry for 'a, and its key is key_len bytes at key_at.
        unsafe {
            let (key_at, key_len) = key_span(self.raw);
            std::slice::from_raw_parts(self.raw.add(key_at).as_ptr(), key_len)
        }
    }

    /// The value.
    #[inline]
    pub fn value(self) -> ValueRef<'a> {
        // SAFETY: raw is a live entry for 'a; the kind says what is at value_at.
        unsafe {
            let shape = Shape::read(self.raw);
            let at = self.raw.add(shape.value_at);
            match shape.flags & KIND_MASK {
                KIND_INT => ValueRef::Int(at.cast::<i64>().read_unaligned()),
                KIND_INLINE => {
                    ValueRef::Bytes(std::slice::from_raw_parts(at.as_ptr(), shape.value_len))
                }
                KIND_BOXED => ValueRef::Collection(at.cast::<Box<Collection>>().as_ref()),
                _ => ValueRef::Shared(at.cast::<Arc<Vec<u8>>>().as_ref()),
            }
        }
    }

    /// When the key expires, in milliseconds of the Unix epoch.
    #[inline]
    pub fn expire_at_ms(self) -> Option<u64> {
        // SAFETY: raw is a live entry; with the flag set 8 bytes before the key are the expiry.
        unsafe {
            let flags = self.raw.add(1).read();
            if flags & HAS_EXPIRE == 0 {
                return None;
            }
            let at = self.raw.add(key_at(flags) - EXPIRE_BYTES);
            Some(at.cast::<u64>().read_unaligned())
        }
    }

    /// The data type, 4 bits.
    #[inline]
    pub fn type_(self) -> u8 {
        // SAFETY: every block has the header.
        unsafe { self.raw.read() >> 4 }
    }

    /// The encoding, 4 bits.
    #[inline]
    pub fn enc(self) -> u8 {
        // SAFETY: every block has the header.
        unsafe { self.raw.read() & 0xF }
    }

    /// When or how often the key was used, 25 bits.
    #[inline]
    pub fn lru(self) -> u32 {
        // SAFETY: bytes 1 to 4 are the header's.
        let word = unsafe { self.raw.add(1).cast::<u32>().read_unaligned() };
        let word = u32::from_le(word);
        word >> u8::BITS | (word & u32::from(LRU_HIGH)) << LRU_HIGH_SHIFT
    }

    /// Type, encoding and LRU together.
    #[inline]
    pub fn meta(self) -> Meta {
        Meta {
            type_: self.type_(),
            enc: self.enc(),
            lru: self.lru(),
        }
    }

    /// Asks for the cache lines of a compact collection behind the first, which is read here, or for
    /// the head of a large one. True for a large one.
    #[inline]
    pub fn prefetch_value(self) -> bool {
        // SAFETY: raw is a live entry; a boxed value has its pointer at value_at, aligned.
        unsafe {
            let shape = Shape::read(self.raw);
            let at = self.raw.add(shape.value_at).as_ptr();
            if shape.flags & KIND_MASK == KIND_BOXED {
                let collection = at.cast::<*const u8>().read();
                prefetch(collection);
                prefetch(collection.wrapping_add(LINE_BYTES));
                true
            } else {
                let ahead = (shape.value_at + shape.value_len).min(PREFETCH_BYTES_MAX);
                for offset in (LINE_BYTES..ahead).step_by(LINE_BYTES) {
                    prefetch(self.raw.as_ptr().wrapping_add(offset));
                }
                false
            }
        }
    }

    /// The memory of the entry in bytes, with what it shares: the usable size of its allocations.
    /// Of a large collection `samples` elements are looked at, all of them if that is 0.
    pub fn alloc_bytes(self, samples: usize) -> usize {
        // SAFETY: raw is a live entry.
        let block_bytes = unsafe { Shape::read(self.raw) }.block_bytes();
        match self.value() {
            ValueRef::Shared(shared) => block_bytes.saturating_add(shared_bytes(shared)),
            ValueRef::Collection(collection) => block_bytes
                .saturating_add(footprint::block_bytes(size_of::<Collection>()))
                .saturating_add(collection.alloc_bytes(samples))
                .saturating_add(collection.note_bytes(self.key().len())),
            _ => block_bytes,
        }
    }
}

impl fmt::Debug for EntryRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key().escape_ascii().to_string())
            .field("meta", &self.meta())
            .field("expire_at_ms", &self.expire_at_ms())
            .finish_non_exhaustive()
    }
}

impl<'a> EntryMut<'a> {
    /// The bytes of an inline or shared value, to be changed in place; `None` for other kinds.
    #[inline]
    pub fn into_value_bytes(self) -> Option<&'a mut [u8]> {
        // SAFETY: the view, which is used up, is exclusive for 'a; inline bytes are value_len bytes
        // at value_at, and a shared value has its Arc there, aligned.
        unsafe {
            let shape = Shape::read(self.raw);
            let at = self.raw.add(shape.value_at);
            match shape.flags & KIND_MASK {
                KIND_INLINE => {
                    let bytes = std::slice::from_raw_parts_mut(at.as_ptr(), shape.value_len);
                    Some(bytes)
                }
                KIND_SHARED => {
                    Some(Arc::make_mut(at.cast::<Arc<Vec<u8>>>().as_mut()).as_mut_slice())
                }
                _ => None,
            }
        }
    }

    /// The large collection, to be changed in place; `None` for other kinds.
    #[inline]
    pub fn into_collection(self) -> Option<&'a mut Collection> {
        // SAFETY: the view, which is used up, is exclusive for 'a; a boxed value has its Box at
        // value_at, aligned.
        unsafe {
            let shape = Shape::read(self.raw);
            if shape.flags & KIND_MASK != KIND_BOXED {
                return None;
            }
            let at = self.raw.add(shape.value_at).cast::<Box<Collection>>();
            Some(&mut **at.as_ptr())
        }
    }

    /// The read view, for as long as nothing is changed.
    #[inline]
    pub fn view(&self) -> EntryRef<'_> {
        EntryRef {
            raw: self.raw,
            entry: PhantomData,
        }
    }

    /// Sets the LRU field to the low 25 bits of `lru`. Writes only a change, so that reading a hot
    /// key doesn't dirty its cache line.
    #[inline]
    pub fn set_lru(&mut self, lru: u32) {
        if self.view().lru() != lru & LRU_MAX {
            // SAFETY: the view is exclusive.
            unsafe { write_lru(self.raw, lru) }
        }
    }

    /// Sets the encoding to the low 4 bits of `enc`.
    #[inline]
    pub fn set_enc(&mut self, enc: u8) {
        let type_ = self.view().type_();
        // SAFETY: the view is exclusive; byte 0 is the header's.
        unsafe { self.raw.write(type_ << 4 | enc & 0xF) }
    }

    /// Sets the type to the low 4 bits of `type_`.
    #[inline]
    pub fn set_type(&mut self, type_: u8) {
        let enc = self.view().enc();
        // SAFETY: the view is exclusive; byte 0 is the header's.
        unsafe { self.raw.write(type_ << 4 | enc) }
    }

    /// Sets the integer and returns true if the value is one; else changes nothing.
    #[inline]
    pub fn set_int(&mut self, value: i64) -> bool {
        // SAFETY: the view is exclusive; an integer has 8 bytes at value_at.
        unsafe {
            let shape = Shape::read(self.raw);
            if shape.flags & KIND_MASK != KIND_INT {
                return false;
            }
            self.raw
                .add(shape.value_at)
                .cast::<i64>()
                .write_unaligned(value);
        }
        true
    }

    /// Turns the value into an integer if it is one or the block has the same size with one;
    /// else changes nothing and returns false. The caller sets `enc`.
    pub fn try_set_int(&mut self, value: i64) -> bool {
        // SAFETY: try_reshape left an integer's shape, with 8 bytes at value_at.
        unsafe {
            let Some(at) = self.try_reshape(KIND_INT, POINTER_BYTES) else {
                return false;
            };
            at.cast::<i64>().write_unaligned(value);
        }
        true
    }

    /// The bytes of the value, to be changed in place; `None` for an integer. Shared bytes that
    /// somebody else holds are copied first.
    pub fn value_bytes_mut(&mut self) -> Option<&mut [u8]> {
        let reborrowed = EntryMut {
            raw: self.raw,
            entry: PhantomData,
        };
        reborrowed.into_value_bytes()
    }

    /// The buffer of a shared value, to be grown in place; `None` for other kinds. A buffer that
    /// somebody else holds is copied first. It may end shorter than [`SHARED_MIN`].
    pub fn shared_mut(&mut self) -> Option<&mut Vec<u8>> {
        // SAFETY: the view is exclusive; a shared value has its Arc at value_at, aligned.
        unsafe {
            let shape = Shape::read(self.raw);
            if shape.flags & KIND_MASK != KIND_SHARED {
                return None;
            }
            Some(Arc::make_mut(
                self.raw.add(shape.value_at).cast::<Arc<Vec<u8>>>().as_mut(),
            ))
        }
    }

    /// Replaces the value by `bytes` if that needs no allocation: an integer or inline bytes whose
    /// block keeps its size class, or a shared value nobody else holds whose buffer suffices and
    /// is not mostly slack. Else changes nothing and returns false. The caller sets `enc`.
    pub fn try_set_bytes(&mut self, bytes: &[u8]) -> bool {
        // SAFETY: the view is exclusive; try_reshape makes room for the bytes at the place it
        // returns, and a live &[u8] can't lie in an exclusively borrowed block.
        unsafe {
            let shape = Shape::read(self.raw);
            if shape.flags & KIND_MASK == KIND_SHARED {
                let at = self.raw.add(shape.value_at).cast::<Arc<Vec<u8>>>().as_mut();
                return match Arc::get_mut(at) {
                    Some(buffer)
                        if bytes.len() >= SHARED_MIN
                            && bytes.len() <= buffer.capacity()
                            && bytes.len() >= buffer.capacity() / 2 =>
                    {
                        buffer.clear();
                        buffer.extend_from_slice(bytes);
                        true
                    }
                    _ => false,
                };
            }
            if bytes.len() >= SHARED_MIN {
                return false;
            }
            let Some(at) = self.try_reshape(KIND_INLINE, bytes.len()) else {
                return false;
            };
            ptr::copy_nonoverlapping(bytes.as_ptr(), at.as_ptr(), bytes.len());
        }
        true
    }

    /// Makes an inline value or an integer into room for another one in the same block, if the size
    /// class allows, and returns where to write it.
    ///
    /// # Safety
    /// `kind` is `KIND_INT` or `KIND_INLINE`; the caller writes `value_len` bytes there.
    unsafe fn try_reshape(&mut self, kind: u8, value_len: usize) -> Option<NonNull<u8>> {
        // SAFETY: the view is exclusive. Both shapes fit the block. The key moves before the fields
        // are written, which lie below its new place.
        unsafe {
            let old = Shape::read(self.raw);
            if old.flags & KIND_MASK >= KIND_SHARED {
                return None;
            }
            let new = Shape::new(old.key_len, kind, value_len, old.has_expire());
            if new.block_bytes() != old.block_bytes() {
                return None;
            }
            if new.key_at != old.key_at {
                let expire_at_ms = self.view().expire_at_ms();
                let from = self.raw.add(old.key_at).as_ptr();
                ptr::copy(from, self.raw.add(new.key_at).as_ptr(), old.key_len);
                new.write_fields(self.raw, expire_at_ms);
            } else {
                new.write_fields(self.raw, self.view().expire_at_ms());
            }
            Some(self.raw.add(new.value_at))
        }
    }
}

/// The entry in a slot of a table, to be changed in every way but key and expiry, also where its
/// block has to move.
pub struct EntrySlot<'a> {
    table: &'a mut Table<Entry>,
    slot: Slot,
}

impl<'a> EntrySlot<'a> {
    /// The entry in an occupied slot.
    #[inline]
    pub fn new(table: &'a mut Table<Entry>, slot: Slot) -> Self {
        Self { table, slot }
    }

    /// The entry as it is now.
    #[inline]
    pub fn view(&self) -> EntryRef<'_> {
        self.table.get(self.slot)
    }

    /// The write view, for changes that leave the block where it is.
    #[inline]
    pub fn view_mut(&mut self) -> EntryMut<'_> {
        self.table.get_mut(self.slot)
    }

    /// Sets the encoding to the low 4 bits of `enc`.
    #[inline]
    pub fn set_enc(&mut self, enc: u8) {
        self.view_mut().set_enc(enc);
    }

    /// The hash function of the table that the entry is in, and of all tables in it.
    pub fn key_hash(&self) -> KeyHash {
        self.table.key_hash()
    }

    /// The large collection, to be changed in place; `None` for other kinds of values.
    #[inline]
    pub fn collection_mut(&mut self) -> Option<&mut Collection> {
        self.table.get_mut(self.slot).into_collection()
    }

    /// Replaces value and encoding; key, type, LRU field and expiry stay.
    pub fn set_value(&mut self, enc: u8, value: NewValue<'_>) {
        self.table.map(self.slot, |entry| {
            let view = entry.view();
            let meta = Meta { enc, ..view.meta() };
            Entry::new(view.key(), meta, value, view.expire_at_ms())
        });
    }
}

/// The bytes of an inline or shared value; other kinds have none and panic when they are spliced.
impl Buf for EntrySlot<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.view().value().as_bytes().unwrap_or_default()
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        let view = self.table.get_mut(self.slot);
        view.into_value_bytes().unwrap_or_default()
    }

    #[inline]
    fn splice(&mut self, at: usize, remove: usize, insert: &[u8]) {
        self.table
            .map(self.slot, |entry| entry.splice(at, remove, insert));
    }
}

mod item;
#[cfg(test)]
mod tests;
