//! The book: one job at a time, what its end leaves behind.

use std::sync::Arc;

use super::*;
use crate::persist::aof::{Place, Settings};
use crate::persist::disk::RealDisk;
use crate::persist::disk::fake::FakeDisk;

const NOW_MS: u64 = 1_700_000_000_000;

fn state() -> State {
    State::new(Arc::new(FakeDisk::new("")), false, NOW_MS)
}

#[test]
fn one_job_at_a_time() {
    let state = state();
    let job = state.begin(JobKind::BgSave, NOW_MS).unwrap();
    for kind in [JobKind::Save, JobKind::BgSave, JobKind::AofRewrite] {
        assert_eq!(state.begin(kind, NOW_MS).unwrap_err(), JobKind::BgSave);
    }
    assert!(!state.cancel(JobKind::AofRewrite));
    assert!(!job.cancel.load(Ordering::Relaxed));
    assert!(state.cancel(JobKind::BgSave));
    assert!(job.cancel.load(Ordering::Relaxed));
    state.end(&job, JobEnd::Cancelled, 0, NOW_MS + 2500);
    let book = state.book().clone();
    assert_eq!(book.running(), None);
    assert_eq!((book.saves, book.rewrites), (1, 0));
    assert_eq!(book.last_bgsave_took_secs, Some(2));
    assert_eq!(book.last_save_secs, NOW_MS / 1000, "nothing was saved");
    assert!(!book.bgsave_failed && state.marks().is_empty());
}

#[test]
fn a_background_failure_is_remembered_until_something_is_saved() {
    let state = state();
    let job = state.begin(JobKind::BgSave, NOW_MS).unwrap();
    state.end(&job, JobEnd::Failed, 7, NOW_MS + 1000);
    assert!(state.marks().has(Marks::RDB_FAILED));
    assert_eq!(state.book().last_cow_bytes, 7);
    // One that a client has waited for does not count as such, but a success does.
    let job = state.begin(JobKind::Save, NOW_MS).unwrap();
    state.end(&job, JobEnd::Failed, 0, NOW_MS);
    assert!(state.marks().has(Marks::RDB_FAILED));
    assert!(
        !state
            .book()
            .may_retry_bgsave(NOW_MS / 1000 + RETRY_DELAY_SECS)
    );
    assert!(
        state
            .book()
            .may_retry_bgsave(NOW_MS / 1000 + RETRY_DELAY_SECS + 1)
    );
    let job = state.begin(JobKind::Save, NOW_MS + 9000).unwrap();
    state.end(&job, JobEnd::Done { changes: 5 }, 0, NOW_MS + 9999);
    let book = state.book().clone();
    assert!(state.marks().is_empty() && !book.bgsave_failed);
    assert_eq!(
        (book.changes_saved, book.last_save_secs),
        (5, NOW_MS / 1000 + 9)
    );
    assert_eq!(
        book.last_bgsave_took_secs,
        Some(1),
        "of the last in the background"
    );
}

#[test]
fn a_rewrite_says_nothing_of_snapshots() {
    let state = state();
    let run = |end| {
        let job = state.begin(JobKind::AofRewrite, NOW_MS).unwrap();
        state.end(&job, end, 3, NOW_MS + 4000);
        let book = state.book().clone();
        assert_eq!((book.bgsave_failed, book.changes_saved), (false, 0));
        assert_eq!(book.last_rewrite_took_secs, Some(4));
        book.rewrite_failed
    };
    assert!(!run(JobEnd::Cancelled));
    assert!(run(JobEnd::Failed));
    assert!(run(JobEnd::Cancelled), "as it was");
    assert!(!run(JobEnd::Done { changes: 9 }));
}

#[test]
fn who_waits_for_the_slot_gets_it() {
    let state = Arc::new(state());
    let job = state.begin(JobKind::AofRewrite, NOW_MS).unwrap();
    let other = state.clone();
    let waiting = std::thread::spawn(move || other.begin_when_free(JobKind::Save, || NOW_MS).kind);
    state.end(&job, JobEnd::Done { changes: 0 }, 0, NOW_MS);
    assert_eq!(waiting.join().unwrap(), JobKind::Save);
    assert_eq!(state.book().running(), Some(JobKind::Save));
}

/// CONFIG SET dir: a log that is on stays where it is, and is kept from others there.
#[test]
fn the_directory_of_a_log_stays_locked_as_long_as_it_is_written() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [first, second, third] = dirs.each_ref().map(tempfile::TempDir::path);
    let is_free = |dir: &Path| DirLock::take(dir).is_ok();
    let state = State::new(Arc::new(RealDisk), true, NOW_MS);
    state.own_dir(first).unwrap();
    let place = Place {
        dir: first.to_owned(),
        dirname: "log".to_owned(),
        filename: "log".to_owned(),
    };
    let aof = Aof::open(state.disk.clone(), place, Settings::default()).unwrap();
    aof.switch_on();
    *state.aof.write() = Some(Arc::new(aof));
    state.dir_changed(second).unwrap();
    assert!(!is_free(first) && !is_free(second));
    // Whoever saves before CONFIG SET has come to its end finds the old directory still ours, and the new one stays.
    state.own_dir(first).unwrap();
    assert!(!is_free(first) && !is_free(second));
    state.dir_changed(third).unwrap();
    assert!(!is_free(first) && is_free(second) && !is_free(third));
    // Back again.
    state.dir_changed(first).unwrap();
    assert!(!is_free(first) && is_free(third));
    state.dir_changed(second).unwrap();
    assert!(!is_free(first) && !is_free(second));
    state.log_is_off();
    assert!(is_free(first) && !is_free(second));
}

/// Not for the next one of its kind.
#[test]
fn who_cancels_a_job_waits_for_that_job() {
    let state = Arc::new(state());
    let job = state.begin(JobKind::AofRewrite, NOW_MS).unwrap();
    let other = state.clone();
    let waiting = std::thread::spawn(move || other.cancel_and_wait(JobKind::AofRewrite));
    while !job.cancel.load(Ordering::Relaxed) {
        std::thread::yield_now();
    }
    // The waiting thread never finds the slot free.
    let mut book = state.book();
    book.job = None;
    let next = start(&mut book, JobKind::AofRewrite, NOW_MS);
    state.freed.notify_all();
    drop(book);
    assert!(waiting.join().unwrap());
    assert!(!next.cancel.load(Ordering::Relaxed));
}

#[test]
fn marks_are_independent() {
    let state = state();
    for mark in [Marks::LOADING, Marks::AOF_FAILED] {
        state.mark(mark, true);
    }
    state.mark(Marks::LOADING, false);
    assert!(state.marks().has(Marks::AOF_FAILED) && !state.marks().has(Marks::LOADING));
    state.mark(Marks::AOF_FAILED, false);
    assert!(state.marks().is_empty());
}

#[test]
fn only_snapshots_of_the_dead_are_litter() {
    let disk = FakeDisk::new("/d");
    let names = [
        "temp-1.rdb",
        "temp-2.rdb",
        "temp-.rdb",
        "temp-1x.rdb",
        "dump.rdb",
        "temp-1.aof",
    ];
    for name in names {
        disk.put(&Path::new("/d").join(name), b"x");
    }
    remove_litter(&disk, Path::new("/d"), |pid| pid == "2");
    let left = |name: &&str| disk.content(&Path::new("/d").join(name)).is_some();
    let left: Vec<&str> = names.into_iter().filter(left).collect();
    assert_eq!(left, names[1..]);
    // Nobody's directory.
    remove_litter(&disk, Path::new("/nowhere"), |_| false);
}
