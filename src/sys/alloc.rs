//! The global allocator: jemalloc, and how much of it is in use.
//!
//! Size classes are 8 bytes apart (`JEMALLOC_SYS_WITH_LG_QUANTUM=3` in `.cargo/config.toml`), so
//! plain `malloc` promises an alignment of 8 only, and anything stricter goes through `mallocx`.
//! Builds without that setting are just as correct, only bigger.
//!
//! `used_memory` is exact: jemalloc counts the bytes that each thread ever took and gave back, and
//! [`allocated_bytes`] sums these counters. A thread is put on the list by its first allocation and
//! folds its counters into a total when it ends; both are rare, so the list sits behind one lock.
//! Counted are usable sizes, as Redis does.
//!
//! Under miri, fuzzing and address sanitizers (`--cfg kivi_system_alloc`) the system's allocator
//! serves instead, since these tools must see every allocation; only a total is kept then.

#[cfg(not(any(miri, fuzzing, kivi_system_alloc)))]
pub use jemalloc::{
    Jemalloc, allocated_bytes, allocated_or_freed_by, malloc_stats, purge, stats, this_thread,
    thread_freed_bytes, thread_net_bytes, version,
};
#[cfg(not(any(miri, fuzzing, kivi_system_alloc)))]
pub use runs::{ASKED_MAX, Runs};
#[cfg(any(miri, fuzzing, kivi_system_alloc))]
pub use system::{
    ASKED_MAX, Jemalloc, Runs, allocated_bytes, allocated_or_freed_by, bypass_thread_cache,
    flush_thread_cache, join_arena, malloc_stats, purge, set_background_thread, start, stats,
    this_thread, thread_freed_bytes, thread_net_bytes, version,
};
#[cfg(not(any(miri, fuzzing, kivi_system_alloc)))]
pub use upkeep::{
    bypass_thread_cache, flush_thread_cache, join_arena, set_background_thread, start,
};

#[cfg(not(any(miri, fuzzing, kivi_system_alloc)))]
mod runs;
#[cfg(not(any(miri, fuzzing, kivi_system_alloc)))]
mod upkeep;

/// Unit tests run on it as well; the binaries set their own.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// A thread whose returns can be told from those of the others: [`allocated_or_freed_by`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadId(usize);

impl ThreadId {
    /// As a number, to be kept in an atomic. 0, the default, is no thread.
    pub fn get(self) -> usize {
        self.0
    }

    /// What [`ThreadId::get`] gave.
    pub fn from_number(number: usize) -> ThreadId {
        ThreadId(number)
    }
}

/// What the allocator holds, in bytes. See [`stats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorStats {
    /// In use by the program, exact: [`allocated_bytes`].
    pub allocated: u64,
    /// In pages that hold at least one allocation.
    pub active: u64,
    /// Physically resident: active pages, metadata and unused dirty pages.
    pub resident: u64,
    /// Address space that was given back to the system but is kept for reuse.
    pub retained: u64,
    /// Unused pages that the system may take back lazily.
    pub muzzy: u64,
    /// The allocator's own structures.
    pub metadata: u64,
}

#[cfg(not(any(miri, fuzzing, kivi_system_alloc)))]
mod jemalloc {
    use std::alloc::{GlobalAlloc, Layout};
    use std::cell::Cell;
    use std::ffi::{CStr, c_char, c_int, c_void};
    use std::mem::size_of;
    use std::ptr;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{LazyLock, PoisonError, RwLock};

    use tikv_jemalloc_sys as sys;

    use super::{AllocatorStats, ThreadId};

    /// What plain `malloc` promises with size classes of 8 bytes.
    const PLAIN_ALIGN: usize = 8;
    /// jemalloc's name for all arenas together.
    pub(super) const ALL_ARENAS: &str = "4096";

    /// Freed pages go back to the system within seconds, as eviction and `FLUSHALL` users expect. One
    /// arena for all threads but further workers, see `upkeep`, which also sees to huge pages.
    /// jemalloc reads this symbol when the process starts.
    #[used]
    #[unsafe(export_name = "_rjem_malloc_conf")]
    static MALLOC_CONF: Option<&'static c_char> =
        // SAFETY: a reference to the first byte of a NUL-terminated static string; i8 and u8 have
        // the same size and no invalid values.
        Some(unsafe {
            &*c"narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0,dss:disabled".as_ptr()
        });

    /// jemalloc as `#[global_allocator]`.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Jemalloc;

    // SAFETY: every block comes from jemalloc with at least the layout's size and alignment
    // (`flags` explains the alignment) and goes back to jemalloc with the very same size and flags.
    // None of these functions unwinds.
    unsafe impl GlobalAlloc for Jemalloc {
        #[inline]
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            register_thread();
            // SAFETY: the caller passes a size above 0.
            unsafe {
                match flags(layout) {
                    0 => sys::malloc(layout.size()),
                    flags => sys::mallocx(layout.size(), flags),
                }
            }
            .cast()
        }

        #[inline]
        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            register_thread();
            // SAFETY: the caller passes a size above 0.
            unsafe {
                match flags(layout) {
                    0 => sys::calloc(1, layout.size()),
                    flags => sys::mallocx(layout.size(), flags | sys::MALLOCX_ZERO),
                }
            }
            .cast()
        }

        #[inline]
        unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
            // SAFETY: the caller passes a block of ours with its layout, which gives the flags that
            // it was taken with.
            unsafe { sys::sdallocx(ptr.cast(), layout.size(), flags(layout)) }
        }

        #[inline]
        unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            register_thread();
            // SAFETY: as for `dealloc`; the caller passes a new size above 0.
            unsafe {
                match flags(layout) {
                    0 => sys::realloc(ptr.cast(), new_size),
                    flags => sys::rallocx(ptr.cast(), new_size, flags),
                }
            }
            .cast()
        }
    }

    /// The `mallocx` flags of a layout; 0 when plain `malloc` aligns well enough.
    #[inline]
    const fn flags(layout: Layout) -> c_int {
        if layout.align() <= PLAIN_ALIGN {
            0
        } else {
            sys::MALLOCX_ALIGN(layout.align())
        }
    }

    /// A thread's counters. The node lives in the thread's own TLS.
    struct Node {
        /// Null before registration; then it points at jemalloc's counter in the same TLS.
        allocated: Cell<*const AtomicU64>,
        deallocated: Cell<*const AtomicU64>,
        next: Cell<*const Node>,
    }

    thread_local! {
        static NODE: Node = const {
            Node {
                allocated: Cell::new(ptr::null()),
                deallocated: Cell::new(ptr::null()),
                next: Cell::new(ptr::null()),
            }
        };
    }

    /// Every thread that has allocated and has not ended.
    struct Registry {
        head: *const Node,
        /// Bytes taken less bytes given back by threads that have ended; wraps below 0, since a
        /// thread may free what another one took.
        ended_net: u64,
        /// Tells us when a thread ends.
        exit_key: Option<libc::pthread_key_t>,
    }

    // SAFETY: the nodes behind `head` belong to other threads, but each stays on the list only
    // while its thread lives (`forget_thread` takes it off, under the write lock), is changed only
    // under the write lock, and is read only under the lock.
    unsafe impl Send for Registry {}
    // SAFETY: as above: shared access only reads nodes, and nobody changes them meanwhile.
    unsafe impl Sync for Registry {}

    /// What a thread has given back whose returns are left out.
    static NOTHING: AtomicU64 = AtomicU64::new(0);

    static REGISTRY: RwLock<Registry> = RwLock::new(Registry {
        head: ptr::null(),
        ended_net: 0,
        exit_key: None,
    });

    /// Puts the current thread on the list, once. Nothing is lost before that: the counters run
    /// from the thread's start.
    #[inline(always)]
    fn register_thread() {
        NODE.with(|node| {
            if node.allocated.get().is_null() {
                register_new_thread(node);
            }
        });
    }

    /// Runs inside an allocation, so it must not allocate: jemalloc's and glibc's own structures do
    /// not come from here, and std's lock is a futex.
    #[cold]
    #[inline(never)]
    fn register_new_thread(node: &Node) {
        let allocated: Option<*const AtomicU64> = read(c"thread.allocatedp");
        let deallocated: Option<*const AtomicU64> = read(c"thread.deallocatedp");
        let (Some(allocated), Some(deallocated)) = (allocated, deallocated) else {
            return;
        };
        if allocated.is_null() || deallocated.is_null() {
            return;
        }
        let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
        if registry.exit_key.is_none() {
            let mut key = 0;
            // SAFETY: `key` is a valid place, the function has the right signature.
            if unsafe { libc::pthread_key_create(&mut key, Some(forget_thread)) } == 0 {
                registry.exit_key = Some(key);
            }
        }
        let Some(key) = registry.exit_key else { return };
        // SAFETY: the key exists. The value only has to be other than null.
        if unsafe { libc::pthread_setspecific(key, ptr::from_ref(node).cast()) } != 0 {
            return;
        }
        node.allocated.set(allocated);
        node.deallocated.set(deallocated);
        node.next.set(registry.head);
        registry.head = node;
    }

    /// Takes an ending thread off the list. glibc calls it on that thread after the destructors of
    /// Rust's thread-locals, and before the TLS itself is freed.
    unsafe extern "C" fn forget_thread(node: *mut c_void) {
        let node: *const Node = node.cast_const().cast();
        let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: nodes on the list belong to living threads, this one included; see `Registry`.
        unsafe {
            let mut at = registry.head;
            let mut previous: *const Node = ptr::null();
            while !at.is_null() && at != node {
                previous = at;
                at = (*at).next.get();
            }
            if at.is_null() {
                return;
            }
            match previous.as_ref() {
                Some(previous) => previous.next.set((*at).next.get()),
                None => registry.head = (*at).next.get(),
            }
            let net = counter((*at).allocated.get()).wrapping_sub(counter((*at).deallocated.get()));
            registry.ended_net = registry.ended_net.wrapping_add(net);
        }
    }

    /// Reads a counter that its own thread may be changing.
    ///
    /// # Safety
    /// `counter` points at a counter of a living thread.
    #[inline]
    unsafe fn counter(counter: *const AtomicU64) -> u64 {
        // SAFETY: the caller's promise. jemalloc changes it with aligned 8-byte stores, which on
        // 64-bit targets are single, so an atomic load never sees half of one.
        unsafe { (*counter).load(Ordering::Relaxed) }
    }

    impl Registry {
        fn net_bytes(&self) -> u64 {
            self.net_bytes_but_returns_of(ThreadId::default())
        }

        fn net_bytes_but_returns_of(&self, thread: ThreadId) -> u64 {
            // All returns are read before all takes: a block that changes hands between the two
            // passes is counted, so the sum can be too high for an instant but never negative.
            let returned = self.sum(|node| match ptr::from_ref(node).addr() == thread.0 {
                true => &NOTHING,
                false => node.deallocated.get(),
            });
            let taken = self.sum(|node| node.allocated.get());
            let net = taken.wrapping_sub(returned).wrapping_add(self.ended_net);
            u64::try_from(net.cast_signed()).unwrap_or(0)
        }

        fn sum(&self, which: impl Fn(&Node) -> *const AtomicU64) -> u64 {
            let (mut sum, mut at) = (0u64, self.head);
            // SAFETY: nodes on the list belong to living threads, and the lock that gave us `self`
            // keeps them there; registered nodes have both counters.
            while let Some(node) = unsafe { at.as_ref() } {
                // SAFETY: as above.
                sum = sum.wrapping_add(unsafe { counter(which(node)) });
                at = node.next.get();
            }
            sum
        }
    }

    /// Bytes in use right now, over all threads: `used_memory`. Exact, and well below a microsecond
    /// for a few dozen threads (two loads per thread).
    pub fn allocated_bytes() -> u64 {
        REGISTRY
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .net_bytes()
    }

    /// As [`allocated_bytes`], as if this thread, while it lives, had never given anything back.
    pub fn allocated_or_freed_by(thread: ThreadId) -> u64 {
        REGISTRY
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .net_bytes_but_returns_of(thread)
    }

    /// The current thread.
    pub fn this_thread() -> ThreadId {
        register_thread();
        ThreadId(NODE.with(|node| ptr::from_ref(node).addr()))
    }

    /// What the current thread has given back, since it started.
    pub fn thread_freed_bytes() -> u64 {
        NODE.with(|node| match node.deallocated.get() {
            deallocated if deallocated.is_null() => 0,
            // SAFETY: the counter of the current thread, which lives.
            deallocated => unsafe { counter(deallocated) },
        })
    }

    /// What the current thread took less what it gave back, since it started. The difference of two
    /// readings is the growth caused by what ran between them. A few nanoseconds.
    #[inline]
    pub fn thread_net_bytes() -> i64 {
        NODE.with(|node| {
            let (allocated, deallocated) = (node.allocated.get(), node.deallocated.get());
            if allocated.is_null() {
                return 0;
            }
            // SAFETY: the counters of the current thread, which lives.
            let net = unsafe { counter(allocated).wrapping_sub(counter(deallocated)) };
            net.cast_signed()
        })
    }

    /// What the allocator holds. Walks the arenas (tens of microseconds): for INFO, not for
    /// every command.
    pub fn stats() -> AllocatorStats {
        // jemalloc's figures are a snapshot.
        renew_stats();
        let bytes = |name| read::<usize>(name).unwrap_or(0) as u64;
        let page_bytes = bytes(c"arenas.page");
        AllocatorStats {
            allocated: allocated_bytes(),
            active: bytes(c"stats.active"),
            resident: bytes(c"stats.resident"),
            retained: bytes(c"stats.retained"),
            muzzy: bytes(c"stats.arenas.4096.pmuzzy") * page_bytes,
            metadata: bytes(c"stats.metadata"),
        }
    }

    /// Gives all unused pages back to the system now (MEMORY PURGE).
    pub fn purge() -> bool {
        let name = format!("arena.{ALL_ARENAS}.purge\0");
        CStr::from_bytes_with_nul(name.as_bytes()).is_ok_and(command)
    }

    /// Has jemalloc do something; false if it cannot.
    pub(super) fn command(name: &CStr) -> bool {
        // SAFETY: a command without input and output.
        0 == unsafe {
            sys::mallctl(
                name.as_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                0,
            )
        }
    }

    /// Has the figures of jemalloc be those of now.
    pub(super) fn renew_stats() {
        write(c"epoch", 1u64);
    }

    /// `jemalloc-5.3.1`: INFO's mem_allocator.
    pub fn version() -> &'static str {
        static VERSION: LazyLock<String> = LazyLock::new(read_version);
        &VERSION
    }

    fn read_version() -> String {
        let Some(text) = read::<*const c_char>(c"version").filter(|text| !text.is_null()) else {
            return "jemalloc".to_owned();
        };
        // SAFETY: jemalloc answers a static NUL-terminated string.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        format!("jemalloc-{}", text.split('-').next().unwrap_or_default())
    }

    /// jemalloc's own report, for MEMORY MALLOC-STATS.
    pub fn malloc_stats() -> String {
        unsafe extern "C" fn append(out: *mut c_void, text: *const c_char) {
            // SAFETY: `out` is the vector below, which outlives the call and is used by nobody else
            // meanwhile; jemalloc passes a NUL-terminated string.
            unsafe {
                let out = &mut *out.cast::<Vec<u8>>();
                out.extend_from_slice(CStr::from_ptr(text).to_bytes());
            }
        }
        // Room for the usual report, so that the numbers are not changed by the writing of them.
        let mut out: Vec<u8> = Vec::with_capacity(256 * 1024);
        write(c"epoch", 1u64);
        // SAFETY: the function and its argument match, see above; no options.
        unsafe {
            sys::malloc_stats_print(Some(append), ptr::from_mut(&mut out).cast(), ptr::null());
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Reads a setting or figure; `T` must be its type by jemalloc's manual (a wrong size is
    /// refused by jemalloc).
    pub(super) fn read<T: Copy + Control>(name: &CStr) -> Option<T> {
        let mut value = T::ZERO;
        let mut len = size_of::<T>();
        // SAFETY: `value` has `len` bytes to write to, and every bit pattern of the types that are
        // `Control` and read here is valid.
        let failed = unsafe {
            sys::mallctl(
                name.as_ptr(),
                ptr::from_mut(&mut value).cast(),
                &mut len,
                ptr::null_mut(),
                0,
            )
        };
        (failed == 0 && len == size_of::<T>()).then_some(value)
    }

    /// Writes a setting and reads what jemalloc answers; types as for [`read`].
    pub(super) fn exchange<T: Copy + Control, A: Copy + Control>(
        name: &CStr,
        mut value: T,
    ) -> Option<A> {
        let mut answer = A::ZERO;
        let mut len = size_of::<A>();
        // SAFETY: both have as many bytes as are announced, and every bit pattern is a valid answer.
        let failed = unsafe {
            sys::mallctl(
                name.as_ptr(),
                ptr::from_mut(&mut answer).cast(),
                &mut len,
                ptr::from_mut(&mut value).cast(),
                size_of::<T>(),
            )
        };
        (failed == 0 && len == size_of::<A>()).then_some(answer)
    }

    /// Writes a setting; its type as for [`read`].
    pub(super) fn write<T: Copy + Control>(name: &CStr, mut value: T) -> bool {
        // SAFETY: `value` has as many bytes as are announced, and jemalloc only reads them.
        0 == unsafe {
            sys::mallctl(
                name.as_ptr(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::from_mut(&mut value).cast(),
                size_of::<T>(),
            )
        }
    }

    /// The types of jemalloc's settings and figures.
    pub(super) trait Control {
        const ZERO: Self;
    }
    impl Control for u32 {
        const ZERO: Self = 0;
    }
    impl Control for u64 {
        const ZERO: Self = 0;
    }
    impl Control for usize {
        const ZERO: Self = 0;
    }
    impl Control for isize {
        const ZERO: Self = 0;
    }
    impl Control for bool {
        const ZERO: Self = false;
    }
    impl<T> Control for *const T {
        const ZERO: Self = ptr::null();
    }
    impl<T> Control for *mut T {
        const ZERO: Self = ptr::null_mut();
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn our_settings_reach_jemalloc() {
            assert_eq!(read::<isize>(c"opt.dirty_decay_ms"), Some(1000));
            assert_eq!(read::<isize>(c"opt.muzzy_decay_ms"), Some(0));
            assert_eq!(read::<u32>(c"opt.narenas"), Some(1));
        }
    }
}

#[cfg(any(miri, fuzzing, kivi_system_alloc))]
mod system {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use super::{AllocatorStats, ThreadId};

    static IN_USE: AtomicU64 = AtomicU64::new(0);

    /// What was given back by the threads that asked for a place of their own, by place; at 0 by all others.
    static FREED: [AtomicU64; 256] = [const { AtomicU64::new(0) }; 256];

    thread_local! {
        static PLACE: Cell<usize> = const { Cell::new(0) };
    }

    fn given_back(bytes: usize) {
        // In this order, and read in the other: a block is rather counted twice than not at all.
        FREED[PLACE.get()].fetch_add(bytes as u64, Ordering::SeqCst);
        IN_USE.fetch_sub(bytes as u64, Ordering::SeqCst);
    }

    /// The system's allocator under the name of the usual one, with a total.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Jemalloc;

    // SAFETY: everything is handed to the system's allocator as it comes.
    unsafe impl GlobalAlloc for Jemalloc {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            IN_USE.fetch_add(layout.size() as u64, Ordering::Relaxed);
            // SAFETY: the caller's promise.
            unsafe { System.alloc(layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            IN_USE.fetch_add(layout.size() as u64, Ordering::Relaxed);
            // SAFETY: the caller's promise.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
            given_back(layout.size());
            // SAFETY: the caller's promise.
            unsafe { System.dealloc(ptr, layout) }
        }

        unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
            IN_USE.fetch_add(new_size as u64, Ordering::Relaxed);
            given_back(layout.size());
            // SAFETY: the caller's promise.
            unsafe { System.realloc(ptr, layout, new_size) }
        }
    }

    /// Bytes asked for and not given back.
    pub fn allocated_bytes() -> u64 {
        IN_USE.load(Ordering::Relaxed)
    }

    /// As [`allocated_bytes`], as if this thread, while it lives, had never given anything back.
    pub fn allocated_or_freed_by(thread: ThreadId) -> u64 {
        let in_use = IN_USE.load(Ordering::SeqCst);
        match thread.0 {
            0 => in_use,
            place => in_use + FREED[place].load(Ordering::SeqCst),
        }
    }

    /// The current thread, which gets a place. There are 255; the next thread has that of the first, which
    /// should have ended by then.
    pub fn this_thread() -> ThreadId {
        static PLACES: AtomicUsize = AtomicUsize::new(0);
        if PLACE.get() == 0 {
            let place = 1 + PLACES.fetch_add(1, Ordering::Relaxed) % (FREED.len() - 1);
            FREED[place].store(0, Ordering::SeqCst);
            PLACE.set(place);
        }
        ThreadId(PLACE.get())
    }

    /// What the current thread has given back since it was first asked who it is.
    pub fn thread_freed_bytes() -> u64 {
        FREED[this_thread().0].load(Ordering::SeqCst)
    }

    /// Not kept per thread: the total.
    pub fn thread_net_bytes() -> i64 {
        allocated_bytes().cast_signed()
    }

    /// Only the total is known.
    pub fn stats() -> AllocatorStats {
        let allocated = allocated_bytes();
        AllocatorStats {
            allocated,
            active: allocated,
            resident: allocated,
            ..Default::default()
        }
    }

    /// Nothing to purge.
    pub fn purge() -> bool {
        false
    }

    /// No such thread.
    pub fn set_background_thread(_on: bool) -> bool {
        false
    }

    /// Nothing to set.
    pub fn start(_huge_pages: bool) {}

    /// No arenas.
    pub fn join_arena(_worker: usize) {}

    /// No cache.
    pub fn flush_thread_cache() {}

    /// No cache.
    pub fn bypass_thread_cache() {}

    /// Blocks that can be asked for at once.
    pub const ASKED_MAX: usize = 64;

    /// Nothing is known of runs: every block should be moved, so that tools see all moves.
    #[derive(Debug)]
    pub struct Runs;

    impl Runs {
        /// Always there.
        pub fn read() -> Option<Runs> {
            Some(Runs)
        }

        /// Unknown: 0.
        pub fn used_bytes(&self) -> u64 {
            0
        }

        /// Unknown: 0.
        pub fn wasted_bytes(&self) -> u64 {
            0
        }

        /// All of them.
        ///
        /// # Safety
        /// None needed; the twin over jemalloc has conditions.
        pub unsafe fn sparse(&self, blocks: &[*const u8]) -> u64 {
            blocks.iter().fold(0, |bits, _| bits << 1 | 1)
        }
    }

    /// INFO's mem_allocator.
    pub fn version() -> &'static str {
        "libc"
    }

    /// No report.
    pub fn malloc_stats() -> String {
        "Stats not supported for the current allocator".to_owned()
    }
}

#[cfg(all(test, not(any(miri, fuzzing, kivi_system_alloc))))]
mod tests {
    use std::alloc::{GlobalAlloc, Layout};
    use std::hint::black_box;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_a_thread_gives_back_can_be_left_out() {
        let block = vec![0u8; 512 << 20];
        let (send, receive) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let before = (this_thread(), thread_freed_bytes());
            drop(black_box(block));
            send.send((before, thread_freed_bytes())).unwrap();
            wait.recv().unwrap_err();
        });
        let ((id, before), after) = receive.recv().unwrap();
        assert!(after - before >= 512 << 20, "{before} {after}");
        // Other tests take and give back meanwhile, but not as much.
        let left_out = allocated_or_freed_by(id).checked_sub(allocated_bytes());
        assert!(left_out.unwrap() > 256 << 20, "{left_out:?}");
        assert_eq!(ThreadId::from_number(id.get()), id);
        drop(done);
        thread.join().unwrap();
    }

    #[test]
    fn every_alignment_is_kept() {
        for shift in 0..=16 {
            for size in [1usize, 7, 8, 9, 24, 40, 100, 4096, 5000, 100_000] {
                let layout = Layout::from_size_align(size, 1 << shift).unwrap();
                // SAFETY: sizes above 0; the block is used within its bounds and given back with
                // the layout that it has at that time.
                unsafe {
                    let block = Jemalloc.alloc(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(layout.align()));
                    block.write_bytes(0x5a, size);
                    let bigger = Jemalloc.realloc(block, layout, size * 3);
                    assert!(bigger.addr().is_multiple_of(layout.align()));
                    assert!((0..size).all(|at| bigger.add(at).read() == 0x5a));
                    let layout = Layout::from_size_align(size * 3, 1 << shift).unwrap();
                    Jemalloc.dealloc(bigger, layout);
                    let zeroed = Jemalloc.alloc_zeroed(layout);
                    assert!((0..layout.size()).all(|at| zeroed.add(at).read() == 0));
                    Jemalloc.dealloc(zeroed, layout);
                }
            }
        }
    }

    #[test]
    fn size_classes_are_eight_bytes_apart() {
        for size in [8, 24, 40, 56] {
            let before = thread_net_bytes();
            let block = black_box(vec![0u8; size]);
            let taken = thread_net_bytes() - before;
            let hint = "built with JEMALLOC_SYS_WITH_LG_QUANTUM=3?";
            assert_eq!(taken, block.len() as i64, "{hint}");
        }
    }

    #[test]
    fn a_thread_sees_its_own_growth_to_the_byte() {
        let before = thread_net_bytes();
        let block = black_box(vec![1u8; 4096]);
        assert_eq!(thread_net_bytes() - before, 4096);
        drop(block);
        assert_eq!(thread_net_bytes(), before);
    }

    /// Other tests run beside this one, so it starts a process of its own.
    #[test]
    fn the_total_is_exact_over_living_and_ended_threads() {
        if std::env::var_os("KIVI_ALLOC_CHILD").is_some() {
            return exactness_in_a_quiet_process();
        }
        let test = "sys::alloc::tests::the_total_is_exact_over_living_and_ended_threads";
        let output = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--test-threads=1"])
            .env("KIVI_ALLOC_CHILD", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
    }

    fn exactness_in_a_quiet_process() {
        const BLOCK: usize = 1 << 20;
        // Whatever starting a first thread sets up for good is set up before the first reading.
        std::thread::spawn(|| black_box(vec![0u8; 64]))
            .join()
            .unwrap();
        let start = allocated_bytes();
        // Taken by threads that end, and kept: counted.
        let blocks: Vec<Vec<u8>> = (0..8)
            .map(|_| {
                std::thread::spawn(|| black_box(vec![7u8; BLOCK]))
                    .join()
                    .unwrap()
            })
            .collect();
        let list = (8 * size_of::<Vec<u8>>()) as u64;
        let slack = 2048;
        let grown = allocated_bytes() - start;
        let want = 8 * BLOCK as u64 + list;
        assert!(grown.abs_diff(want) < slack, "grew by {grown}, want {want}");
        // Given back by another thread than took them, while it lives.
        let (done_tx, done_rx) = std::sync::mpsc::channel();
        let (stop_tx, stop_rx) = std::sync::mpsc::channel::<()>();
        let freer = std::thread::spawn(move || {
            drop(blocks);
            done_tx.send(()).unwrap();
            let _ = stop_rx.recv();
        });
        done_rx.recv().unwrap();
        let living = allocated_bytes().abs_diff(start);
        assert!(
            living < 2 * slack,
            "{living} bytes off while the thread lives"
        );
        drop(stop_tx);
        freer.join().unwrap();
        drop(done_rx);
        let left = allocated_bytes().abs_diff(start);
        assert!(left < slack, "{left} bytes off at the end");
    }

    #[test]
    fn the_figures_fit_together() {
        let block = black_box(vec![3u8; 8 << 20]);
        let stats = stats();
        assert!(stats.allocated >= 8 << 20);
        assert!(stats.active >= stats.allocated / 2 && stats.resident >= stats.active);
        assert!(stats.metadata > 0);
        drop(block);
        assert!(purge());
        assert!(version().starts_with("jemalloc-5."), "{}", version());
        let report = malloc_stats();
        assert!(
            report.contains("Allocated:") && report.contains("jemalloc"),
            "{report}"
        );
    }

    #[test]
    fn the_background_thread_starts() {
        assert!(set_background_thread(true));
        assert!(set_background_thread(false));
        assert!(set_background_thread(true));
    }
}
