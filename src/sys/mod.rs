//! The operating system and the allocator: whatever needs `libc` or raw pointers and is no data
//! structure. Everything public here is safe to call unless it says so; each `unsafe` block argues
//! why it is sound. Linux only.

#![allow(unsafe_code)]

pub mod alloc;
pub mod crash;
pub mod fiber;
pub mod files;
pub mod listen;
pub mod local_time;
pub mod lua;
pub mod places;
pub mod process;
pub mod random;
pub mod sync;
pub mod title;
pub mod tsc;
