//! What ThreadSanitizer has to know of fibers: it keeps the calls of each, and which of them runs.
//!
//! Without `--cfg kivi_tsan` there is nothing here, and nothing to do. With it, `corosensei` still says what
//! AddressSanitizer wants to know (`--cfg kivi_system_alloc`), which nobody listens to.

pub(super) use known::{Known, leave};

#[cfg(not(kivi_tsan))]
mod known {
    /// Nothing.
    pub(in crate::sys::fiber) struct Known;

    impl Known {
        pub(in crate::sys::fiber) fn new() -> Known {
            Known
        }

        #[inline(always)]
        pub(in crate::sys::fiber) fn run<R>(&self, resume: impl FnOnce() -> R) -> R {
            resume()
        }
    }

    #[inline(always)]
    pub(in crate::sys::fiber) fn leave() {}
}

#[cfg(kivi_tsan)]
mod known {
    use std::cell::Cell;
    use std::ffi::c_void;
    use std::ptr;

    unsafe extern "C" {
        fn __tsan_get_current_fiber() -> *mut c_void;
        fn __tsan_create_fiber(flags: u32) -> *mut c_void;
        fn __tsan_switch_to_fiber(fiber: *mut c_void, flags: u32);
    }

    thread_local! {
        /// Who has resumed the fiber that runs.
        static RESUMER: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
    }

    /// A fiber as ThreadSanitizer knows it.
    pub(in crate::sys::fiber) struct Known(*mut c_void);

    impl Known {
        /// One that has not begun. It is never forgotten: they are few, in tests.
        pub(in crate::sys::fiber) fn new() -> Known {
            // SAFETY: no condition.
            Known(unsafe { __tsan_create_fiber(0) })
        }

        /// Has it run until it leaves, or ends.
        pub(in crate::sys::fiber) fn run<R>(&self, resume: impl FnOnce() -> R) -> R {
            // SAFETY: what runs now runs again before it can end.
            unsafe {
                let own = __tsan_get_current_fiber();
                let outer = RESUMER.replace(own);
                __tsan_switch_to_fiber(self.0, 0);
                let result = resume();
                __tsan_switch_to_fiber(own, 0);
                RESUMER.set(outer);
                result
            }
        }
    }

    /// The fiber that runs is about to leave.
    pub(in crate::sys::fiber) fn leave() {
        // SAFETY: inside of a fiber there is who has resumed it, who waits for just that.
        unsafe { __tsan_switch_to_fiber(RESUMER.get(), 0) }
    }

    // What `corosensei` calls for AddressSanitizer, which is not there.

    // SAFETY: no other symbol has the name, since only AddressSanitizer's runtime defines it.
    #[unsafe(no_mangle)]
    extern "C" fn __sanitizer_start_switch_fiber(save: *mut *mut u8, _: *const u8, _: usize) {
        if !save.is_null() {
            // SAFETY: the caller's variable.
            unsafe { *save = ptr::null_mut() }
        }
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn __sanitizer_finish_switch_fiber(
        _: *mut u8,
        bottom: *mut *const u8,
        size: *mut usize,
    ) {
        if !bottom.is_null() && !size.is_null() {
            // SAFETY: the caller's variables.
            unsafe {
                *bottom = ptr::null();
                *size = 0;
            }
        }
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    extern "C" fn __asan_unpoison_memory_region(_: *const u8, _: usize) {}
}
