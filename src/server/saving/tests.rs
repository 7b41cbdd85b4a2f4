//! When a snapshot is due; a shutdown that is aborted.

use super::*;
use crate::commands::tests::Test;

const NOW_SECS: u64 = 1_700_000_000;

fn points() -> Vec<SavePoint> {
    let point = |&(secs, changes): &(u64, u64)| SavePoint { secs, changes };
    [(900, 1), (60, 100)].iter().map(point).collect()
}

fn is_due(book: &Book, changes: u64, after_secs: u64) -> Option<u64> {
    due(&points(), book, changes, NOW_SECS + after_secs).map(|point| point.secs)
}

#[test]
fn both_time_and_changes_count() {
    let book = Book {
        last_save_secs: NOW_SECS,
        changes_saved: 1000,
        ..Book::default()
    };
    assert_eq!(is_due(&book, 1000, 10_000), None);
    assert_eq!(is_due(&book, 1001, 900), None, "more than so many seconds");
    assert_eq!(is_due(&book, 1001, 901), Some(900));
    assert_eq!(is_due(&book, 1099, 61), None);
    assert_eq!(is_due(&book, 1100, 61), Some(60));
    assert_eq!(is_due(&book, 1100, 60), None);
    assert_eq!(due(&[], &book, 5000, NOW_SECS + 5000), None);
    let always = [SavePoint {
        secs: 1,
        changes: 0,
    }];
    assert!(due(&always, &book, 1000, NOW_SECS + 2).is_some());
}

#[test]
fn a_failure_is_tried_again_after_some_seconds() {
    let book = Book {
        last_save_secs: NOW_SECS,
        bgsave_failed: true,
        last_bgsave_try_secs: NOW_SECS + 1000,
        ..Book::default()
    };
    assert_eq!(is_due(&book, 1, 1005), None);
    assert_eq!(is_due(&book, 1, 1006), Some(900));
}

#[test]
fn errors_are_told_without_numbers() {
    let error = io::Error::from_raw_os_error(28);
    assert_eq!(os_text(&error), "No space left on device");
    assert_eq!(os_text(&io::Error::other("plain")), "plain");
}

/// SHUTDOWN ABORT while a shutdown waits for another client's SAVE: the one ends, the other goes on.
#[test]
fn an_abort_ends_the_shutdown_and_nothing_else() {
    let t = Test::with(&["--save", ""]);
    let server = t.session.server();
    let save = server.persist.begin(JobKind::Save, 0).unwrap();
    let flags = ShutdownFlags {
        save: true,
        ..ShutdownFlags::default()
    };
    let stopped = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| shutdown(server, flags));
        while !server.persist.abort_shutdown() {
            std::thread::yield_now();
        }
        let is_cancelled = save.cancel.load(std::sync::atomic::Ordering::SeqCst);
        server.persist.end(&save, JobEnd::Done { changes: 0 }, 0, 0);
        assert!(!is_cancelled, "it is not the shutdown's");
        stopping.join().unwrap()
    });
    assert_eq!(stopped, Err(ShutdownFailed));
    assert_eq!(server.lifecycle(), Lifecycle::Running);
    assert!(!server.persist.abort_shutdown(), "it is over");
    // The next one is not concerned.
    assert_eq!(shutdown(server, flags), Ok(()));
    assert_eq!(server.lifecycle(), Lifecycle::Stopping);
}

/// A second SHUTDOWN, with whatever flags, does not go on where SHUTDOWN ABORT has ended the first one.
#[test]
fn an_abort_ends_all_shutdowns_that_wait() {
    let t = Test::with(&["--save", ""]);
    let persist = &t.session.server().persist;
    let first = match persist.shut_down() {
        Turn::Ours(first) => first,
        Turn::Another(_) => panic!("there was none"),
    };
    let Turn::Another(second) = persist.shut_down() else {
        panic!("it is the first one's");
    };
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| second.wait());
        assert!(persist.abort_shutdown());
        assert!(!persist.abort_shutdown(), "there is none any more");
        // One that comes now is not concerned, and waits its turn.
        let third = scope.spawn(|| matches!(persist.shut_down(), Turn::Ours(_)));
        assert!(first.is_aborted() && !waiting.is_finished() && !third.is_finished());
        drop(first);
        waiting.join().unwrap();
        assert!(third.join().unwrap());
    });
    assert!(!persist.book().is_shutting_down());
}

#[test]
fn who_joins_a_shutdown_hears_what_became_of_it() {
    let t = Test::with(&["--save", ""]);
    let server = t.session.server();
    let nosave = ShutdownFlags {
        nosave: true,
        ..ShutdownFlags::default()
    };
    // What becomes of the first one, and of one that joins it, and whether that goes on by itself.
    for (end, flags, heard) in [
        ("fails", ShutdownFlags::default(), Some(false)),
        ("fails", nosave, None),
        ("aborted", nosave, Some(false)),
        ("stops", nosave, Some(true)),
    ] {
        let Turn::Ours(first) = server.persist.shut_down() else {
            panic!("there was none");
        };
        let Turn::Another(second) = server.persist.shut_down() else {
            panic!("it is the first one's");
        };
        let joined = std::thread::scope(|scope| {
            let joined = scope.spawn(|| join(server, &second, flags));
            match end {
                "stops" => server.enter(Lifecycle::Stopping),
                "aborted" => assert!(server.persist.abort_shutdown()),
                _ => {}
            }
            drop(first);
            joined.join().unwrap()
        });
        assert_eq!(joined.map(|result| result.is_ok()), heard, "{end}");
    }
}
