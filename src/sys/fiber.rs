//! Work on a stack of its own, which can be left in the middle and gone on with later.
//!
//! [`Fiber::resume`] runs the work until it ends or calls [`suspend`], wherever on its stack that is: below
//! C code, too. It stays on its thread. Stacks are used again.
//!
//! A fiber that is dropped in the middle is abandoned, with its stack and whatever lives there: nothing
//! of it runs any more, no destructor either (there may be frames of C, which must not be unwound).
//!
//! How it is done: `corosensei`, an audited crate, switches stacks; here is only which fiber runs.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::ManuallyDrop;
use std::ptr;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, Yielder};

mod tsan;

/// Size of a stack, of which only what was touched is memory: 200 nested calls of C functions, which
/// is Lua's limit, and what a command needs on top.
const STACK_BYTES: usize = 8 << 20;
/// Stacks that a thread keeps.
const SPARE_STACKS: usize = 1;

thread_local! {
    /// The way out of the fiber that runs on this thread; null for none.
    static CURRENT: Cell<*const Yielder<(), ()>> = const { Cell::new(ptr::null()) };
    static SPARE: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// See the module's text. `R` is what the work results in.
pub struct Fiber<R> {
    inner: ManuallyDrop<Coroutine<(), (), R, DefaultStack>>,
    known: tsan::Known,
}

/// Leaves the fiber that runs, until it is resumed; false, at once, outside of any.
pub fn suspend() -> bool {
    let current = CURRENT.get();
    if current.is_null() {
        return false;
    }
    // SAFETY: set by the fiber that runs on this thread, to what lives on its stack until it has
    // ended; whoever resumes it takes care of the pointer.
    unsafe { (*current).suspend(()) }
    // Whoever has resumed it has its own place here.
    CURRENT.set(current);
    true
}

/// Whether a fiber runs on this thread.
pub fn is_inside() -> bool {
    !CURRENT.get().is_null()
}

/// A stack for a [`Fiber`].
pub struct Stack(DefaultStack);

#[cfg(test)]
thread_local! {
    /// The next [`Stack::get`] of this thread finds no memory.
    pub static FAILS_NEXT: Cell<bool> = const { Cell::new(false) };
}

impl Stack {
    /// One that was used before, or a new one; an error if there is no memory for it.
    pub fn get() -> io::Result<Stack> {
        #[cfg(test)]
        if FAILS_NEXT.take() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        match SPARE.with_borrow_mut(Vec::pop) {
            Some(stack) => Ok(Stack(stack)),
            None => DefaultStack::new(STACK_BYTES).map(Stack),
        }
    }
}

impl<R: 'static> Fiber<R> {
    /// A fiber that has not begun.
    pub fn new(stack: Stack, work: impl FnOnce() -> R + 'static) -> Fiber<R> {
        let work = move |way_out: &Yielder<(), ()>, ()| {
            CURRENT.set(way_out);
            work()
        };
        Fiber {
            inner: ManuallyDrop::new(Coroutine::with_stack(stack.0, work)),
            known: tsan::Known::new(),
        }
    }

    /// Begins or goes on with the work; what it results in, if it has ended. Not to be called after
    /// that.
    pub fn resume(&mut self) -> Option<R> {
        /// Also if the work panics, whoever runs now is known.
        struct Before(*const Yielder<(), ()>);
        impl Drop for Before {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let _before = Before(CURRENT.get());
        let inner = &mut self.inner;
        self.known.run(|| inner.resume(())).as_return()
    }
}

impl<R> Drop for Fiber<R> {
    fn drop(&mut self) {
        if self.inner.started() && !self.inner.done() {
            return;
        }
        // SAFETY: not used afterwards.
        let inner = unsafe { ManuallyDrop::take(&mut self.inner) };
        if inner.done() {
            let stack = inner.into_stack();
            // The thread may be ending.
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < SPARE_STACKS {
                    spare.push(stack);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn make<R: 'static>(work: impl FnOnce() -> R + 'static) -> Fiber<R> {
        Fiber::new(Stack::get().unwrap(), work)
    }

    #[test]
    fn work_is_left_and_gone_on_with() {
        let seen = Rc::new(Cell::new(0));
        let own = seen.clone();
        let work = move || {
            assert!(is_inside());
            for _ in 0..3 {
                own.set(own.get() + 1);
                assert!(suspend());
            }
            "end"
        };
        let mut fiber = make(work);
        assert_eq!(seen.get(), 0);
        for round in 1..=3 {
            assert_eq!(fiber.resume(), None);
            assert_eq!(seen.get(), round);
            assert!(!is_inside() && !suspend(), "outside of it");
        }
        assert_eq!(fiber.resume(), Some("end"));
    }

    #[test]
    fn one_fiber_may_run_another() {
        let inner = || {
            let mut inner = make(|| assert!(suspend()));
            assert_eq!(inner.resume(), None);
            assert!(suspend(), "the outer one");
            assert_eq!(inner.resume(), Some(()));
            assert!(suspend());
        };
        let mut outer = make(inner);
        assert_eq!(outer.resume(), None);
        assert_eq!(outer.resume(), None);
        assert_eq!(outer.resume(), Some(()));
    }

    #[test]
    fn several_take_turns() {
        let work = |number: usize| {
            move || {
                let mut sum = 0;
                for step in 0..100 {
                    sum += step * number;
                    suspend();
                }
                sum
            }
        };
        let mut fibers: Vec<_> = (0..8).map(|number| make(work(number))).collect();
        for _ in 0..100 {
            for fiber in &mut fibers {
                assert_eq!(fiber.resume(), None);
            }
        }
        for (number, fiber) in fibers.iter_mut().enumerate() {
            assert_eq!(fiber.resume(), Some(number * 4950));
        }
    }

    #[test]
    fn stacks_are_used_again_and_deep() {
        fn deep(level: u32) -> u64 {
            let room = std::hint::black_box([u64::from(level); 128]);
            match level {
                0 => 0,
                _ => deep(level - 1) + std::hint::black_box(room)[5],
            }
        }
        for _ in 0..3 {
            // Some megabytes.
            let mut fiber = make(|| deep(1_500));
            assert_eq!(fiber.resume(), Some(1_500 * 1_501 / 2));
            drop(fiber);
            SPARE.with_borrow(|spare| assert_eq!(spare.len(), 1));
        }
    }

    #[test]
    fn an_abandoned_one_runs_no_more() {
        static DROPPED: AtomicU32 = AtomicU32::new(0);
        // Nothing on the heap: that would be a leak.
        struct Own;
        impl Drop for Own {
            fn drop(&mut self) {
                DROPPED.fetch_add(1, Ordering::Relaxed);
            }
        }
        let own = Own;
        let mut fiber = make(move || {
            let _own = own;
            suspend();
            panic!("it goes on");
        });
        assert_eq!(fiber.resume(), None);
        drop(fiber);
        assert_eq!(DROPPED.load(Ordering::Relaxed), 0, "what it had stays");
        // One that has not begun is just dropped.
        let own = Own;
        drop(make(move || drop(own)));
        assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_panic_comes_through() {
        let mut fiber = make(|| {
            suspend();
            panic!("of the work");
        });
        assert_eq!(fiber.resume(), None);
        let resume = std::panic::AssertUnwindSafe(|| fiber.resume());
        assert!(std::panic::catch_unwind(resume).is_err());
        assert!(!is_inside());
    }
}
