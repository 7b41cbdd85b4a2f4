//! What ThreadSanitizer has to know of fibers: it keeps the calls of each, and which of them runs.
//!
//! Without `--cfg kivi_tsan` there is nothing here, and nothing to do. With it, `corosensei` still says what
//! AddressSanitizer wants to know (`--cfg kivi_system_alloc`), right before it switches stacks, and that is the one
//! moment at which ThreadSanitizer may be told: every function puts itself on the list of calls when it begins and
//! takes itself off when it ends, so a switch any earlier has some of them take off others, a little more each time.

pub(super) use known::Known;

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
}

#[cfg(kivi_tsan)]
mod known {
    use std::cell::Cell;
    use std::ffi::c_void;
    use std::ptr;

    unsafe extern "C" {
        fn __tsan_get_current_fiber() -> *mut c_void;
        fn __tsan_create_fiber(flags: u32) -> *mut c_void;
        fn __tsan_destroy_fiber(fiber: *mut c_void);
        fn __tsan_switch_to_fiber(fiber: *mut c_void, flags: u32);
        fn __tsan_func_entry(caller: *mut c_void);
    }

    /// Where the next switch of stacks leads.
    #[derive(Clone, Copy)]
    struct Next {
        fiber: *mut c_void,
        /// It has no calls yet.
        is_new: bool,
    }

    thread_local! {
        /// Who is about to be resumed; null if whoever runs is about to leave.
        static RESUMED: Cell<Next> = const {
            Cell::new(Next { fiber: ptr::null_mut(), is_new: false })
        };
        /// Who has resumed the fiber that runs.
        static RESUMER: Cell<*mut c_void> = const { Cell::new(ptr::null_mut()) };
    }

    /// A fiber as ThreadSanitizer knows it.
    pub(in crate::sys::fiber) struct Known {
        fiber: *mut c_void,
        is_new: Cell<bool>,
    }

    impl Known {
        /// One that has not begun.
        pub(in crate::sys::fiber) fn new() -> Known {
            Known {
                // SAFETY: no condition.
                fiber: unsafe { __tsan_create_fiber(0) },
                is_new: Cell::new(true),
            }
        }

        /// Has it run until it leaves, or ends.
        pub(in crate::sys::fiber) fn run<R>(&self, resume: impl FnOnce() -> R) -> R {
            // SAFETY: no condition.
            let own = unsafe { __tsan_get_current_fiber() };
            let outer = RESUMER.replace(own);
            RESUMED.set(Next {
                fiber: self.fiber,
                is_new: self.is_new.replace(false),
            });
            let result = resume();
            RESUMER.set(outer);
            result
        }
    }

    impl Drop for Known {
        fn drop(&mut self) {
            // SAFETY: it has ended, or never runs again; whoever drops it is not it.
            unsafe { __tsan_destroy_fiber(self.fiber) }
        }
    }

    /// What `corosensei` calls for AddressSanitizer, which is not there, right before it switches stacks.
    // SAFETY: no other symbol has the name, since only AddressSanitizer's runtime defines it.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn __sanitizer_start_switch_fiber(save: *mut *mut u8, _: *const u8, _: usize) {
        if !save.is_null() {
            // SAFETY: the caller's variable.
            unsafe { *save = ptr::null_mut() }
        }
        let nobody = Next {
            fiber: ptr::null_mut(),
            is_new: false,
        };
        let next = RESUMED.replace(nobody);
        let to = match next.fiber.is_null() {
            true => RESUMER.get(),
            false => next.fiber,
        };
        // SAFETY: a fiber that is there: whoever resumes another waits for it, and holds it. It goes on below in the
        // place of whoever has called this, so it has to have a call that ends here.
        unsafe {
            __tsan_switch_to_fiber(to, 0);
            if next.is_new {
                __tsan_func_entry(__sanitizer_start_switch_fiber as *mut c_void);
            }
        }
    }

    /// What `corosensei` calls right after it.
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
