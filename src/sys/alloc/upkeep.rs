//! How the allocator is run: which arenas threads share, when they empty their caches, when pages go back to the
//! system, and where huge pages are wanted.
//!
//! - Few arenas: [`WORKERS_PER_ARENA`] workers share one. Keys change hands between workers, so arenas of their own
//!   would only mean that each class of blocks is spread over more half empty runs.
//! - A thread's cache holds blocks of every class, and each keeps a run of pages from going back. Threads that come to
//!   rest empty theirs ([`flush_thread_cache`]).
//! - Huge pages ([`start`]): what is new from the system is made of them, which is all of a heap that only grows. Where
//!   pages were given back, the rest of that huge page is from then on made of small ones; the kernel would else
//!   make it whole again within minutes (`khugepaged`), and with it all that was given back resident.

use std::ffi::{c_uint, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use tikv_jemalloc_sys as sys;

use super::jemalloc::{command, read, write};

/// Workers that share an arena.
const WORKERS_PER_ARENA: usize = 4;
/// Bytes of a huge page.
const HUGE_BYTES: usize = 2 << 20;

/// jemalloc's own hooks, set before ours are in use.
static DEFAULT_HOOKS: AtomicPtr<sys::extent_hooks_t> = AtomicPtr::new(ptr::null_mut());
/// Ours, which are never freed.
static HOOKS: AtomicPtr<sys::extent_hooks_t> = AtomicPtr::new(ptr::null_mut());
/// The arena of each group of workers but the first, which uses the main one.
static ARENAS: Mutex<Vec<c_uint>> = Mutex::new(Vec::new());
static HAS_STARTED: AtomicBool = AtomicBool::new(false);

/// Has memory that comes from the system made of huge pages, if `huge_pages`; else the whole process uses none. Before
/// there are many threads, once: later calls change nothing.
pub fn start(huge_pages: bool) {
    if HAS_STARTED.swap(true, Ordering::AcqRel) {
        return;
    }
    if !huge_pages {
        // SAFETY: this request takes a flag and three zeros.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
        return;
    }
    let Some(default) = read::<*mut sys::extent_hooks_t>(c"arena.0.extent_hooks") else {
        return;
    };
    // SAFETY: jemalloc answers its own table of hooks, which is static.
    let Some(theirs) = (unsafe { default.as_ref() }) else {
        return;
    };
    DEFAULT_HOOKS.store(default, Ordering::Release);
    let ours = Box::leak(Box::new(sys::extent_hooks_s {
        alloc: Some(alloc_huge),
        // Address space is kept, as without hooks.
        dalloc: None,
        destroy: theirs.destroy,
        commit: theirs.commit,
        decommit: theirs.decommit,
        purge_lazy: theirs.purge_lazy,
        purge_forced: Some(purge),
        split: theirs.split,
        merge: Some(merge),
    }));
    let ours = ptr::from_mut(ours);
    HOOKS.store(ours, Ordering::Release);
    write(c"arena.0.extent_hooks", ours);
}

/// Gives the current thread, a worker, its arena.
pub fn join_arena(worker: usize) {
    let Some(group) = (worker / WORKERS_PER_ARENA).checked_sub(1) else {
        return;
    };
    let mut arenas = ARENAS.lock().unwrap_or_else(PoisonError::into_inner);
    while arenas.len() <= group {
        let hooks = HOOKS.load(Ordering::Acquire);
        let made = match hooks.is_null() {
            true => read::<c_uint>(c"arenas.create"),
            false => super::jemalloc::exchange(c"arenas.create", hooks),
        };
        let Some(made) = made else { return };
        arenas.push(made);
    }
    write(c"thread.arena", arenas[group]);
}

/// Gives back to the arenas what the current thread keeps for itself. Some ten microseconds.
pub fn flush_thread_cache() {
    command(c"thread.tcache.flush");
}

/// Has the current thread keep no blocks for itself from now on: what it takes comes from the fullest runs, and
/// what it gives back is free at once.
pub fn bypass_thread_cache() {
    write(c"thread.tcache.enabled", false);
}

/// Lets a thread of jemalloc give unused pages back, even while the server idles and nobody
/// allocates (`jemalloc-bg-thread`), or ends it. Call it after daemonizing, because a fork keeps no
/// threads. False when this build has no such thread; then pages go back only as allocations happen.
pub fn set_background_thread(on: bool) -> bool {
    write(c"max_background_threads", 1usize);
    write(c"background_thread", on)
}

/// New memory from the system.
unsafe extern "C" fn alloc_huge(
    _hooks: *mut sys::extent_hooks_t,
    new_addr: *mut c_void,
    size: usize,
    alignment: usize,
    zero: *mut bool,
    commit: *mut bool,
    arena: c_uint,
) -> *mut c_void {
    let default = DEFAULT_HOOKS.load(Ordering::Acquire);
    // SAFETY: the hooks are jemalloc's own, set before ours; all arguments are passed on as they came.
    let block = unsafe {
        match (*default).alloc {
            Some(alloc) => alloc(default, new_addr, size, alignment, zero, commit, arena),
            None => return ptr::null_mut(),
        }
    };
    if !block.is_null() {
        // SAFETY: advice on memory that was just mapped; it changes no contents.
        unsafe { libc::madvise(block, size, libc::MADV_HUGEPAGE) };
    }
    block
}

/// Neighbours may always become one: mappings of Linux do, too (`dss:disabled` sees to it that there is nothing else).
///
/// jemalloc's own hook must not be called in its place: it asks for the whole state of its thread. A thread whose first
/// call is one that frees has only a part of it, and what is then made for it would wait for the arena that is just held.
unsafe extern "C" fn merge(
    _hooks: *mut sys::extent_hooks_t,
    _first: *mut c_void,
    _first_bytes: usize,
    _second: *mut c_void,
    _second_bytes: usize,
    _is_committed: bool,
    _arena: c_uint,
) -> bool {
    // What C calls false is success.
    false
}

/// Gives pages back. Their huge pages are advised to be small ones if they go only in part, else to be huge again.
unsafe extern "C" fn purge(
    _hooks: *mut sys::extent_hooks_t,
    addr: *mut c_void,
    size: usize,
    offset: usize,
    length: usize,
    arena: c_uint,
) -> bool {
    let default = DEFAULT_HOOKS.load(Ordering::Acquire);
    // SAFETY: the hooks are jemalloc's own, set before ours; all arguments are passed on as they came.
    let failed = unsafe {
        match (*default).purge_forced {
            Some(purge) => purge(default, addr, size, offset, length, arena),
            None => return true,
        }
    };
    let begin = addr.addr() + offset;
    let end = begin + length;
    let (outer, inner) = blocks_around(begin, end);
    let advise = |from: usize, to: usize, advice| {
        if from < to {
            // SAFETY: advice on how memory is mapped, which changes no contents, whoever owns the
            // part of the huge page that is not ours.
            unsafe { libc::madvise(addr.with_addr(from), to - from, advice) };
        }
    };
    match inner {
        Some((first, last)) => {
            advise(outer.0, first, libc::MADV_NOHUGEPAGE);
            advise(first, last, libc::MADV_HUGEPAGE);
            advise(last, outer.1, libc::MADV_NOHUGEPAGE);
        }
        None => advise(outer.0, outer.1, libc::MADV_NOHUGEPAGE),
    }
    failed
}

/// The huge pages that `begin..end` has a part of, and those that it has all of.
fn blocks_around(begin: usize, end: usize) -> ((usize, usize), Option<(usize, usize)>) {
    let up = |at: usize| {
        at.checked_next_multiple_of(HUGE_BYTES)
            .unwrap_or(usize::MAX)
    };
    let down = |at: usize| at / HUGE_BYTES * HUGE_BYTES;
    let inner = (up(begin), down(end));
    ((down(begin), up(end)), (inner.0 < inner.1).then_some(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Such a thread has only a part of jemalloc's state, see [`merge`].
    #[test]
    fn a_thread_that_only_frees_goes_on() {
        start(true);
        for _ in 0..50 {
            // Neighbours, most of them, which become one when they are free.
            let blocks: [Box<[u8]>; 32] =
                std::array::from_fn(|_| vec![1; 64 << 10].into_boxed_slice());
            let thread = std::thread::spawn(move || drop(blocks));
            let begin = std::time::Instant::now();
            while !thread.is_finished() {
                let waited = begin.elapsed();
                assert!(waited.as_secs() < 60, "a thread waits for itself");
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn huge_pages_go_whole_or_become_small() {
        const H: usize = HUGE_BYTES;
        assert_eq!(blocks_around(H + 1, H + 2), ((H, 2 * H), None));
        assert_eq!(blocks_around(H, 2 * H), ((H, 2 * H), Some((H, 2 * H))));
        assert_eq!(
            blocks_around(H - 4096, 3 * H + 4096),
            ((0, 4 * H), Some((H, 3 * H)))
        );
        assert_eq!(blocks_around(H - 4096, H + 4096), ((0, 2 * H), None));
    }
}
