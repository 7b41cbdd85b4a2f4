//! The addresses of a crashed thread's stack, and the stack that a handler runs on.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most addresses of a stack.
const FRAMES_MAX: usize = 96;
/// Room for a handler: the processor's state, which may take some kilobytes itself, unwinding, text.
const SIGNAL_STACK_BYTES: usize = 64 << 10;

/// Where the program was loaded, less the addresses that its file says.
static LOADED_AT: AtomicUsize = AtomicUsize::new(0);

// The unwinder that Rust's own panics use; it comes with the standard library.
#[repr(C)]
struct UnwindContext {
    _opaque: [u8; 0],
}

unsafe extern "C-unwind" {
    fn _Unwind_Backtrace(
        visit: extern "C-unwind" fn(*mut UnwindContext, *mut c_void) -> c_int,
        to: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(context: *mut UnwindContext) -> usize;
}

/// The addresses of a stack, innermost first.
#[derive(Clone, Copy)]
pub(super) struct Frames {
    addresses: [usize; FRAMES_MAX],
    len: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Frames {
            addresses: [0; FRAMES_MAX],
            len: 0,
        }
    }
}

impl Frames {
    pub(super) fn addresses(&self) -> &[usize] {
        &self.addresses[..self.len]
    }
}

/// Collects the addresses of the calling thread's stack. If `crashed_at` is among them, which is the
/// instruction that raised a signal, what stands before it is the handler's own and left out.
pub(super) fn walk(frames: &mut Frames, crashed_at: Option<usize>) {
    extern "C-unwind" fn visit(context: *mut UnwindContext, to: *mut c_void) -> c_int {
        // SAFETY: `to` is the `Frames` that `walk` has handed over, which nobody else uses meanwhile;
        // the context is the unwinder's own.
        let (frames, address) = unsafe { (&mut *to.cast::<Frames>(), _Unwind_GetIP(context)) };
        const STOP: c_int = 5;
        if frames.len == FRAMES_MAX || address == 0 {
            return STOP;
        }
        frames.addresses[frames.len] = address;
        frames.len += 1;
        0
    }
    let to: *mut Frames = frames;
    // SAFETY: the callback has the type that the unwinder calls, does not unwind, and `to` outlives
    // the call. The unwinder reads tables of the program, and the stack.
    unsafe { _Unwind_Backtrace(visit, to.cast()) };
    if let Some(at) = crashed_at {
        let is_there = |&address: &usize| address == at || address == at + 1;
        if let Some(first) = frames.addresses().iter().position(is_there) {
            frames.addresses.copy_within(first..frames.len, 0);
            frames.len -= first;
        }
    }
}

/// Looks up where the program was loaded.
pub(super) fn note_load_address() {
    unsafe extern "C" fn first(
        info: *mut libc::dl_phdr_info,
        _: libc::size_t,
        to: *mut c_void,
    ) -> c_int {
        // SAFETY: the linker hands over a valid description, and `to` is the place of the caller.
        unsafe { *to.cast::<usize>() = (*info).dlpi_addr as usize };
        // The program itself comes first.
        1
    }
    let mut address = 0usize;
    // SAFETY: the callback only writes to `address`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut address).cast()) };
    LOADED_AT.store(address, Ordering::Relaxed);
}

/// An address as the program's file counts, for `addr2line`.
pub(super) fn offset(address: usize) -> usize {
    address.wrapping_sub(LOADED_AT.load(Ordering::Relaxed))
}

/// A stack for the calling thread's signal handlers, until it is dropped. Threads have a small one
/// without it, which may be too small for a report.
pub struct SignalStack {
    memory: *mut c_void,
    before: libc::stack_t,
}

impl SignalStack {
    /// Gives the calling thread such a stack; `None` when the system does not.
    pub fn new() -> Option<SignalStack> {
        // SAFETY: new memory at an address of the kernel's choice.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                SIGNAL_STACK_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return None;
        }
        let ours = libc::stack_t {
            ss_sp: memory,
            ss_flags: 0,
            ss_size: SIGNAL_STACK_BYTES,
        };
        let mut before = libc::stack_t {
            ss_sp: ptr::null_mut(),
            ss_flags: libc::SS_DISABLE,
            ss_size: 0,
        };
        // SAFETY: the memory is ours alone and stays mapped until this value is dropped, which puts
        // the former stack back first.
        let done = unsafe { libc::sigaltstack(&ours, &mut before) };
        let stack = SignalStack { memory, before };
        (done == 0).then_some(stack)
    }
}

impl Drop for SignalStack {
    fn drop(&mut self) {
        // SAFETY: the value cannot leave its thread (it holds a pointer), so this is the thread that
        // has the stack; no handler runs on it, since the thread runs this.
        unsafe {
            libc::sigaltstack(&self.before, ptr::null_mut());
            libc::munmap(self.memory, SIGNAL_STACK_BYTES);
        }
    }
}
