//! The operating system and the allocator: whatever needs `libc` or raw pointers and is no data
//! structure. Everything public here is safe to call; each `unsafe` block argues why it is sound.

#![allow(unsafe_code)]

pub mod alloc;
pub mod process;
pub mod tsc;
