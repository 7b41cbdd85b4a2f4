//! The allocator of an interpreter: the process's own, counted, with a limit that holds while Lua code
//! runs.
//!
//! A refusal makes Lua raise an error, so there must be none while a Rust function runs that Lua has
//! called: [`Memory::hold`] says when that is.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ffi::c_void;
use std::ptr;

use super::{Extra, MEMORY_BYTES_MAX};

/// What Lua asks for.
const ALIGN: usize = 16;

/// Memory of one interpreter, and its limit.
pub(super) struct Memory {
    used_bytes: usize,
    limit_bytes: usize,
    /// More than the limit is refused: Lua code runs.
    is_held: bool,
}

impl Memory {
    pub(super) fn new(limit_bytes: u64) -> Memory {
        let mut memory = Memory {
            used_bytes: 0,
            limit_bytes: 0,
            is_held: false,
        };
        memory.set_limit(limit_bytes);
        memory
    }

    pub(super) fn set_limit(&mut self, bytes: u64) {
        let bytes = if bytes == 0 { MEMORY_BYTES_MAX } else { bytes };
        self.limit_bytes = bytes.min(MEMORY_BYTES_MAX) as usize;
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes as u64
    }

    /// How much there is below the limit.
    pub(super) fn left_bytes(&self) -> usize {
        self.limit_bytes.saturating_sub(self.used_bytes)
    }

    /// Whether more is in use than the limit.
    #[inline]
    pub(super) fn is_exceeded(&self) -> bool {
        self.used_bytes > self.limit_bytes
    }

    /// Whether less than a quarter of the limit is left.
    pub(super) fn is_short(&self) -> bool {
        self.used_bytes > self.limit_bytes / 4 * 3
    }

    /// Has the limit hold, or not; what was before.
    #[inline]
    pub(super) fn hold(&mut self, is_held: bool) -> bool {
        std::mem::replace(&mut self.is_held, is_held)
    }
}

/// `lua_Alloc`.
///
/// # Safety
/// `extra` is an interpreter's [`Extra`], `block` null or one of its blocks of `old` bytes.
pub(super) unsafe extern "C" fn allocate(
    extra: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: `State::new` gives this pointer; only this place is used, so that a reference that
    // somebody has to another field does no harm.
    let memory = unsafe { &mut (*extra.cast::<Extra>()).memory };
    let old = if block.is_null() { 0 } else { old };
    if new == 0 {
        if old > 0 {
            memory.used_bytes -= old;
            // SAFETY: the block was allocated below, with this size.
            unsafe { dealloc(block.cast(), layout(old)) };
        }
        return ptr::null_mut();
    }
    if memory.is_held && new > old && memory.used_bytes + (new - old) > memory.limit_bytes {
        return ptr::null_mut();
    }
    let Some(wanted) = Layout::from_size_align(new, ALIGN).ok() else {
        return ptr::null_mut();
    };
    // SAFETY: sizes are not zero; the block was allocated here with the old one.
    let at = unsafe {
        match old {
            0 => alloc(wanted),
            _ => realloc(block.cast(), layout(old), new),
        }
    };
    if at.is_null() {
        handle_alloc_error(wanted);
    }
    memory.used_bytes = memory.used_bytes - old + new;
    at.cast()
}

/// The layout of a block that was allocated before.
fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGN).expect("it was allocated with this size")
}
