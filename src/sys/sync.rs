//! The locks and atomics whose interleavings are explored by models.
//!
//! Usually these are those of the standard library and of `parking_lot`, nothing in between. With the
//! feature `model` they are loom's, which has the very same code run through every interleaving of
//! its threads, and through what the memory model allows each of them to see. The models stand
//! beside what they try, in files called `model.rs`; `tests/run.sh model` runs them.
//!
//! What stays with the standard library takes part in a model, too, as something that happens at
//! once: good for counters and for what is only used under a lock. It must not be held by a thread
//! that comes to anything of this module, for all threads of a model are one.
//!
//! To have a module modelled: let it take its primitives from here.

#[cfg(not(feature = "model"))]
pub use std::hint::spin_loop;
#[cfg(not(feature = "model"))]
pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, fence};
#[cfg(not(feature = "model"))]
pub use std::thread::{sleep, yield_now};

#[cfg(not(feature = "model"))]
pub use parking_lot::{Mutex, MutexGuard};
#[cfg(not(feature = "model"))]
pub use tokio::sync::Notify;

pub use std::sync::atomic::Ordering;

#[cfg(feature = "model")]
mod modelled;
#[cfg(feature = "model")]
pub use modelled::*;

#[cfg(all(feature = "model", not(test)))]
compile_error!("a server with the feature `model` would not run: it is for tests/run.sh model");
