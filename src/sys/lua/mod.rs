//! Lua 5.1, as `mlua-sys` builds and binds it, behind an interface that is safe to use.
//!
//! [`State`] owns an interpreter, [`Stack`] is a look at the stack of one call. Functions that scripts
//! call are plain Rust functions on a [`Stack`] ([`Stack::push_function`]), or calls of whoever runs the
//! script ([`Host`], [`Stack::push_host_function`]).
//!
//! Lua's own errors are `longjmp`s, which must not cross Rust frames. So:
//! - only functions of Lua's interface that cannot raise are used, with what they ask for checked before:
//!   room on the stack, valid indexes, keys that are neither nil nor NaN, sizes; whatever can run Lua
//!   code does so in a protected call;
//! - a Rust function that fails leaves the error's value on top and returns [`Raise`]; it is raised
//!   when all its frames are gone;
//! - memory is never refused while Rust runs: the limit holds within [`Stack::call`], and in tables that
//!   grow ([`Stack::raw_set`]); what a function has made beyond it is its error when it ends
//!   ([`Stack::within_limit`]);
//! - no userdata with finalizers exists, so collecting garbage runs no code.
//!
//! What is known to be wrong in Lua 5.1.5 is kept out of reach: nothing but text is loaded, and nothing is
//! collected meanwhile (CVE-2025-49844); sources have a length (CVE-2025-46819); `script::sandbox`
//! replaces `unpack`, patterns and what reads files. `io`, `os`, `package` and `debug` are never opened.
//!
//! Source: <https://www.lua.org/manual/5.1/manual.html#3>.

use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use mlua_sys::lua51 as ffi;

mod memory;
mod protected;
mod stack;
#[cfg(test)]
mod tests;

pub use stack::{CallError, Cells, Function, Kind, Place, Plain, Raise, Ref, Stack};

use memory::Memory;

/// Longest source that is loaded, bytes.
pub const SOURCE_BYTES_MAX: usize = 512 << 20;
/// Most bytes that the limit of an interpreter can be: tables stay below sizes at which Lua raises.
pub const MEMORY_BYTES_MAX: u64 = 2 << 30;

/// Whoever runs a script: what its functions come to that are not Lua's own.
pub trait Host {
    /// A function that was made by [`Stack::push_host_function`] with this number was called; how many
    /// values on top of the stack are its results.
    fn call(&mut self, number: u32, stack: &mut Stack<'_>) -> Result<i32, Raise>;

    /// So many instructions have run as [`State::new`] was told. An error ends the script; it is
    /// raised again with every instruction, so that no `pcall` keeps the script going.
    fn tick(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise>;
}

/// What belongs to an interpreter besides what Lua knows; found by the allocator's argument.
struct Extra {
    memory: Memory,
    /// Whoever runs the script, while one runs and he is not being called himself.
    host: Option<NonNull<dyn Host>>,
    /// Instructions between two ticks.
    tick: c_int,
    /// Grows whenever a table may have been changed: walks look at it.
    changes: u64,
    /// Steps that Rust functions have done since the host was last asked, see [`Stack::spend`].
    steps: u32,
    /// See [`Stack::word`].
    word: u64,
    /// What was panicked with in a function, until the protected call has ended.
    panic: Option<Box<dyn std::any::Any + Send>>,
}

/// An interpreter. See the module's text.
pub struct State {
    raw: NonNull<ffi::lua_State>,
    extra: NonNull<Extra>,
}

// SAFETY: an interpreter has no ties to a thread, and whoever has it has all of it: references to values
// inside are numbers.
unsafe impl Send for State {}

impl State {
    /// An interpreter without any library, that may use so much memory (0: [`MEMORY_BYTES_MAX`]). While
    /// it runs, its host hears of it every `tick` instructions.
    pub fn new(memory_limit_bytes: u64, tick: u32) -> State {
        let extra = Box::new(Extra {
            memory: Memory::new(memory_limit_bytes),
            host: None,
            tick: c_int::try_from(tick).unwrap_or(c_int::MAX).max(1),
            changes: 0,
            steps: 0,
            word: 0,
            panic: None,
        });
        let extra = NonNull::from(Box::leak(extra));
        // SAFETY: `allocate` keeps the contract of a Lua allocator, and `extra` lives until the
        // interpreter is closed.
        let raw = unsafe { ffi::lua_newstate(memory::allocate, extra.as_ptr().cast()) };
        // Nothing is refused yet: an interpreter comes into being.
        let raw = NonNull::new(raw).expect("memory for a Lua state");
        let state = State { raw, extra };
        // SAFETY: a fresh interpreter; `on_count` is a hook.
        unsafe {
            ffi::lua_sethook(
                raw.as_ptr(),
                Some(stack::on_count),
                ffi::LUA_MASKCOUNT,
                extra.as_ref().tick,
            );
        }
        state
    }

    /// Its stack, from outside of any call.
    pub fn stack(&mut self) -> Stack<'_> {
        // SAFETY: the interpreter lives as long as the borrow, and nobody else uses it meanwhile.
        unsafe { Stack::new(self.raw.as_ptr(), self.extra.as_ptr()) }
    }

    /// Does `work`, during which scripts reach `host`.
    pub fn with_host<R>(
        &mut self,
        host: &mut dyn Host,
        work: impl FnOnce(&mut Stack<'_>) -> R,
    ) -> R {
        let host = NonNull::from(host);
        // SAFETY: only the lifetime changes: the pointer is used while `work` runs, and taken out
        // before the borrow ends, also if `work` panics.
        let host =
            unsafe { std::mem::transmute::<NonNull<dyn Host + '_>, NonNull<dyn Host>>(host) };
        struct Gone(NonNull<Extra>, Option<NonNull<dyn Host>>);
        impl Drop for Gone {
            fn drop(&mut self) {
                // SAFETY: the interpreter outlives `with_host`, which has it borrowed.
                unsafe { self.0.as_mut().host = self.1 };
            }
        }
        // SAFETY: as above.
        let before = unsafe { self.extra.as_mut().host.replace(host) };
        let _gone = Gone(self.extra, before);
        // Ticks are counted from here on: what ends soon sees none.
        // SAFETY: a thread of this interpreter that runs nothing; `on_count` is a hook.
        unsafe {
            let (raw, tick) = (self.raw.as_ptr(), self.extra.as_ref().tick);
            ffi::lua_sethook(raw, Some(stack::on_count), ffi::LUA_MASKCOUNT, tick);
        }
        work(&mut self.stack())
    }

    /// Opens what scripts may have of Lua's own libraries as globals: base with `coroutine`, `table`,
    /// `string`, `math`. `script::sandbox` takes away what they may not have.
    pub fn open_libraries(&mut self) {
        let openers: [ffi::lua_CFunction; 4] = [
            ffi::luaopen_base,
            ffi::luaopen_table,
            ffi::luaopen_string,
            ffi::luaopen_math,
        ];
        for open in openers {
            // SAFETY: openers are functions for Lua, called protected; memory is not refused now.
            unsafe {
                let raw = self.raw.as_ptr();
                ffi::lua_pushcclosure(raw, open, 0);
                let status = ffi::lua_pcall(raw, 0, 0, 0);
                assert_eq!(status, ffi::LUA_OK, "a Lua library opens");
            }
        }
    }

    /// Memory in use, bytes.
    pub fn used_bytes(&self) -> u64 {
        // SAFETY: see `State`.
        unsafe { self.extra.as_ref().memory.used_bytes() }
    }

    /// Whether less than a quarter of the memory is left that the limit allows.
    pub fn is_memory_short(&self) -> bool {
        // SAFETY: see `State`.
        unsafe { self.extra.as_ref().memory.is_short() }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: this is the owner; nothing refers to the interpreter any more.
        unsafe {
            ffi::lua_close(self.raw.as_ptr());
            drop(Box::from_raw(self.extra.as_ptr()));
        }
    }
}

/// The [`Extra`] of the interpreter that a Lua thread belongs to.
///
/// # Safety
/// `raw` is a thread of an interpreter that [`State::new`] made.
#[inline]
unsafe fn extra_of(raw: *mut ffi::lua_State) -> *mut Extra {
    let mut extra: *mut c_void = ptr::null_mut();
    // SAFETY: asked for by the caller.
    unsafe { ffi::lua_getallocf(raw, &mut extra) };
    extra.cast()
}

/// Ties a [`Stack`] to the borrow that it came of, and to its thread.
type Tie<'s> = PhantomData<&'s mut *mut ()>;
