//! Writing: policies, errors, going over to other files, sizes.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::persist::aof::{AofState, Rewrite};
use crate::persist::disk::RealDisk;
use crate::persist::disk::fake::{Fault, FaultKind};
use crate::util::clock::Clock;

const NOW_MS: u64 = 1_700_000_000_000;
const INCR: &str = "appendonly.aof.1.incr.aof";

/// A server that has started with an empty log.
fn started(disk: &FakeDisk, oplog: &OpLog, settings: Settings) -> Aof {
    let aof = open(disk, settings).unwrap();
    aof.configure(oplog, settings);
    start(disk, &aof, oplog);
    aof
}

fn start(disk: &FakeDisk, aof: &Aof, oplog: &OpLog) {
    let mut make_base = |path: &Path| write_base(disk, path, &[]);
    aof.start(oplog, true, &mut make_base).unwrap();
}

fn fail_next(disk: &FakeDisk, count: u64, kind: FaultKind) {
    let at = disk.operations();
    disk.fail(Some(Fault { at, count, kind }));
}

/// Takes a rewrite up to its cut.
fn begin(aof: &Aof, oplog: &OpLog) -> Rewrite {
    let mut rewrite = aof.begin_rewrite().unwrap();
    aof.at_cut(oplog, &mut rewrite);
    rewrite
}

fn finish(disk: &FakeDisk, aof: &Aof, oplog: &OpLog, rewrite: Rewrite) {
    let base = aof.temp_base();
    write_base(disk, &base, &["x".to_owned()]).unwrap();
    aof.finish_rewrite(oplog, rewrite, &base, true).unwrap();
}

/// `appendonly no`, while the log's thread runs.
fn switch_off(aof: &Aof, oplog: &OpLog, log: &mut Log<'_>) {
    std::thread::scope(|scope| {
        let off = scope.spawn(|| aof.switch_off(oplog, || ()));
        while !off.is_finished() {
            settle(log, aof, NOW_MS + 6000).unwrap();
            std::thread::yield_now();
        }
    });
}

#[test]
fn everysec_writes_at_once_and_syncs_each_second() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let shared = aof.parts().0;
    let mut log = Log::new(shared, &oplog);
    settle(&mut log, &aof, NOW_MS).unwrap();
    let seq = append(&oplog, "SET a b");
    assert!(oplog.must_wait(seq), "a reply says that it is written");
    // The first sync is due at once.
    log.step(NOW_MS).unwrap();
    assert!(!oplog.must_wait(seq), "but not that it is synced");
    assert_eq!(
        text(&disk, INCR).as_bytes(),
        requests(&["SELECT 0", "SET a b"])
    );
    assert!(aof.is_sync_pending());
    assert_eq!(oplog.durable_seq(), 0);
    assert!(shared.sync.serve_one());
    append(&oplog, "SET c d");
    assert_eq!(log.step(NOW_MS + 10).unwrap(), Step::Again);
    assert_eq!(oplog.durable_seq(), 1);
    assert!(text(&disk, INCR).ends_with("$1\r\nc\r\n$1\r\nd\r\n"));
    // Idle, it waits for the second to be over.
    let step = log.step(NOW_MS + 600).unwrap();
    assert_eq!(step, Step::Sleep(Duration::from_millis(400)));
    assert!(!shared.sync.serve_one());
    log.step(NOW_MS + 1000).unwrap();
    assert!(shared.sync.serve_one());
    log.step(NOW_MS + 1001).unwrap();
    assert_eq!(oplog.durable_seq(), 2);
    // Nothing is left to do: it only looks whether a worker has forgotten what it wrote.
    let step = log.step(NOW_MS + 3000).unwrap();
    assert_eq!(step, Step::Sleep(Duration::from_secs(1)));
    assert!(!shared.sync.serve_one(), "nothing to sync");
    assert_eq!(aof.current_bytes(), text(&disk, INCR).len() as u64);
}

#[test]
fn always_syncs_before_it_publishes() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::Always));
    let mut log = Log::new(aof.parts().0, &oplog);
    settle(&mut log, &aof, NOW_MS).unwrap();
    for _ in 0..10 {
        let seq = append(&oplog, "SET a b");
        assert!(oplog.must_wait(seq));
        assert_eq!(log.step(NOW_MS).unwrap(), Step::Again);
        assert!(!oplog.must_wait(seq));
    }
    let written = text(&disk, INCR);
    disk.crash(&mut Rng::from_seed(1));
    assert_eq!(text(&disk, INCR), written);
}

#[test]
fn no_never_syncs_by_itself() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::No));
    let mut log = Log::new(aof.parts().0, &oplog);
    settle(&mut log, &aof, NOW_MS).unwrap();
    let operations = disk.operations();
    append(&oplog, "SET a b");
    settle(&mut log, &aof, NOW_MS).unwrap();
    settle(&mut log, &aof, NOW_MS + 5000).unwrap();
    assert_eq!(disk.operations() - operations, 1, "one write");
    // Another policy finds it.
    aof.configure(&oplog, settings(AppendFsync::Always));
    settle(&mut log, &aof, NOW_MS + 5000).unwrap();
    assert_eq!(disk.operations() - operations, 2, "and one sync");
    assert_eq!(oplog.durable_seq(), 1);
}

#[test]
fn no_appendfsync_on_rewrite_spares_a_busy_disk() {
    for policy in [AppendFsync::Always, AppendFsync::EverySec] {
        let disk = FakeDisk::new(DIR);
        let oplog = OpLog::new(1);
        let spared = Settings {
            no_fsync_on_rewrite: true,
            ..settings(policy)
        };
        let aof = started(&disk, &oplog, spared);
        let mut log = Log::new(aof.parts().0, &oplog);
        settle(&mut log, &aof, NOW_MS).unwrap();
        aof.set_disk_busy(&oplog, true);
        let operations = disk.operations();
        let seq = append(&oplog, "SET a b");
        settle(&mut log, &aof, NOW_MS + 2000).unwrap();
        assert_eq!(disk.operations() - operations, 1);
        assert!(!oplog.must_wait(seq));
        aof.set_disk_busy(&oplog, false);
        settle(&mut log, &aof, NOW_MS + 4000).unwrap();
        assert_eq!(disk.operations() - operations, 2);
    }
}

/// A rewrite makes up for a file that takes nothing: the next one takes what follows.
#[test]
fn a_rewrite_ends_the_errors_of_the_former_file() {
    for (policy, is_written) in [
        (AppendFsync::EverySec, false),
        (AppendFsync::EverySec, true),
        (AppendFsync::No, false),
        (AppendFsync::No, true),
    ] {
        let disk = FakeDisk::new(DIR);
        let oplog = OpLog::new(1);
        let aof = started(&disk, &oplog, settings(policy));
        let mut log = Log::new(aof.parts().0, &oplog);
        settle(&mut log, &aof, NOW_MS).unwrap();
        append(&oplog, "SET a b");
        if is_written {
            log.step(NOW_MS).unwrap();
        }
        disk.break_file(&at(INCR));
        settle(&mut log, &aof, NOW_MS).unwrap();
        append(&oplog, "SET c d");
        let rewrite = begin(&aof, &oplog);
        append(&oplog, "SET e f");
        settle(&mut log, &aof, NOW_MS + 2000).unwrap();
        assert!(aof.disk_error().is_some());
        assert_eq!(oplog.durable_seq(), 0);
        finish(&disk, &aof, &oplog, rewrite);
        settle(&mut log, &aof, NOW_MS + 4000).unwrap();
        assert!(aof.disk_error().is_none(), "{policy:?}, {is_written}");
        assert_eq!(aof.buffered_bytes(&oplog), 0);
        assert!(oplog.durable_seq() >= 2, "what the BASE has");
        append(&oplog, "SET g h");
        settle(&mut log, &aof, NOW_MS + 6000).unwrap();
        assert_eq!(
            text(&disk, "appendonly.aof.2.incr.aof").as_bytes(),
            requests(&["SELECT 0", "SET e f", "SET g h"])
        );
        assert!(aof.disk_error().is_none());
    }
}

/// Nor does a write that succeeds mend what a sync has lost.
#[test]
fn only_a_sync_ends_the_error_of_a_sync() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let mut log = Log::new(aof.parts().0, &oplog);
    settle(&mut log, &aof, NOW_MS).unwrap();
    append(&oplog, "SET a b");
    log.step(NOW_MS).unwrap();
    fail_next(&disk, 1, FaultKind::Io);
    assert!(aof.parts().0.sync.serve_one());
    append(&oplog, "SET c d");
    fail_next(&disk, 1, FaultKind::NoSpace);
    log.step(NOW_MS + 1).unwrap();
    assert!(!aof.is_write_ok());
    log.step(NOW_MS + 2).unwrap();
    assert!(aof.is_write_ok());
    let left = aof.disk_error().and_then(|error| error.raw_os_error());
    assert_eq!(left, Some(libc::EIO));
    settle(&mut log, &aof, NOW_MS + 2000).unwrap();
    assert!(aof.disk_error().is_none());
}

#[test]
fn no_group_begins_within_a_record() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let mut log = Log::new(aof.parts().0, &oplog);
    settle(&mut log, &aof, NOW_MS).unwrap();
    append(&oplog, "SET a b");
    // A piece is written, and cannot be cut off.
    fail_next(&disk, 1000, FaultKind::ShortWrite);
    log.step(NOW_MS).unwrap();
    let expected = requests(&["SELECT 0", "SET a b"]);
    let torn = text(&disk, INCR).len();
    assert!(torn > 0 && torn < expected.len());
    disk.fail(None);
    aof.configure(&oplog, settings(AppendFsync::Always));
    settle(&mut log, &aof, NOW_MS).unwrap();
    assert_eq!(text(&disk, INCR).as_bytes(), expected);
    append(&oplog, "SET c d");
    settle(&mut log, &aof, NOW_MS).unwrap();
    assert!(text(&disk, INCR)[expected.len()..].starts_with("#KV:"));
}

/// What was reserved of the room that there was not is no annotation.
#[test]
fn room_that_is_reserved_in_part_is_cut_off() {
    for is_cut_later in [false, true] {
        let disk = FakeDisk::new(DIR);
        let oplog = OpLog::new(1);
        let aof = started(&disk, &oplog, settings(AppendFsync::Always));
        let mut log = Log::new(aof.parts().0, &oplog);
        settle(&mut log, &aof, NOW_MS).unwrap();
        append(&oplog, "SET a b");
        // The reservation, and the cut behind it.
        fail_next(&disk, 1 + u64::from(is_cut_later), FaultKind::ShortWrite);
        settle(&mut log, &aof, NOW_MS).unwrap();
        if is_cut_later {
            aof.configure(&oplog, settings(AppendFsync::EverySec));
            append(&oplog, "SET c d");
            settle(&mut log, &aof, NOW_MS).unwrap();
        }
        let written = text(&disk, INCR);
        assert!(written.ends_with("\r\n"), "{written}");
        assert!(!written.contains("##"), "{written}");
    }
}

#[test]
fn a_full_disk_is_waited_for() {
    for kind in [FaultKind::NoSpace, FaultKind::ShortWrite, FaultKind::Io] {
        let disk = FakeDisk::new(DIR);
        let oplog = OpLog::new(1);
        let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
        let mut log = Log::new(aof.parts().0, &oplog);
        settle(&mut log, &aof, NOW_MS).unwrap();
        append(&oplog, "SET a b");
        settle(&mut log, &aof, NOW_MS).unwrap();
        let before = text(&disk, INCR);
        append(&oplog, "SET c d");
        // The write, the cut that follows it, and again.
        fail_next(&disk, 1000, kind);
        for _ in 0..3 {
            assert!(matches!(log.step(NOW_MS).unwrap(), Step::Nap(_)));
        }
        assert!(
            !oplog.must_wait(oplog.cut()),
            "nobody waits for a disk that takes nothing"
        );
        assert!(!aof.is_write_ok());
        assert!(aof.disk_error().is_some());
        assert_eq!(oplog.durable_seq(), 1);
        assert!(kind == FaultKind::ShortWrite || text(&disk, INCR) == before);
        append(&oplog, "SET e f");
        log.step(NOW_MS).unwrap();
        disk.fail(None);
        settle(&mut log, &aof, NOW_MS + 2000).unwrap();
        let expected = requests(&["SELECT 0", "SET a b", "SET c d", "SET e f"]);
        assert_eq!(text(&disk, INCR).as_bytes(), expected, "{kind:?}");
        assert!(aof.is_write_ok() && aof.disk_error().is_none());
        assert_eq!(oplog.durable_seq(), 3);
        assert_eq!(aof.buffered_bytes(&oplog), 0);
    }
}

#[test]
fn a_piece_that_was_written_is_cut_off() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let mut log = Log::new(aof.parts().0, &oplog);
    settle(&mut log, &aof, NOW_MS).unwrap();
    append(&oplog, "SET a b");
    let at = disk.operations();
    // A write that takes half, one that takes half of the rest, and so on to the last byte: short
    // writes alone are no error.
    disk.fail(Some(Fault {
        at,
        count: 4,
        kind: FaultKind::ShortWrite,
    }));
    log.step(NOW_MS).unwrap();
    assert!(aof.is_write_ok());
    let whole = text(&disk, INCR);
    append(&oplog, "SET c d");
    // Half is written, then the disk is full; cutting succeeds.
    let at = disk.operations();
    let short = Fault {
        at,
        count: 5,
        kind: FaultKind::ShortWrite,
    };
    disk.fail(Some(short));
    for _ in 0..20 {
        if !aof.is_write_ok() {
            break;
        }
        log.step(NOW_MS).unwrap();
    }
    assert!(text(&disk, INCR).starts_with(&whole));
}

#[test]
fn a_sync_that_fails_is_told_and_repeated_with_what_it_lost() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let shared = aof.parts().0;
    let mut log = Log::new(shared, &oplog);
    settle(&mut log, &aof, NOW_MS).unwrap();
    append(&oplog, "SET a b");
    log.step(NOW_MS).unwrap();
    fail_next(&disk, 1, FaultKind::Io);
    assert!(shared.sync.serve_one());
    log.step(NOW_MS + 1).unwrap();
    assert_eq!(aof.disk_error().unwrap().raw_os_error(), Some(libc::EIO));
    assert!(aof.is_write_ok(), "it is not the write that failed");
    assert_eq!(oplog.durable_seq(), 0);
    settle(&mut log, &aof, NOW_MS + 1000).unwrap();
    assert!(aof.disk_error().is_none());
    assert_eq!(oplog.durable_seq(), 1);
    let written = text(&disk, INCR);
    disk.crash(&mut Rng::from_seed(1));
    assert_eq!(text(&disk, INCR), written);
}

#[test]
fn with_always_errors_end_the_server() {
    for (skip, expected) in [
        (
            0,
            "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting...",
        ),
        (
            1,
            "Can't persist AOF for fsync error when the AOF fsync policy is 'always': ",
        ),
    ] {
        let disk = FakeDisk::new(DIR);
        let oplog = OpLog::new(1);
        let aof = started(&disk, &oplog, settings(AppendFsync::Always));
        let mut log = Log::new(aof.parts().0, &oplog);
        append(&oplog, "SET room reserved");
        settle(&mut log, &aof, NOW_MS).unwrap();
        append(&oplog, "SET a b");
        let at = disk.operations() + skip;
        disk.fail(Some(Fault {
            at,
            count: 1,
            kind: FaultKind::NoSpace,
        }));
        let error = log.step(NOW_MS).unwrap_err();
        assert!(error.0.starts_with(expected), "{error}");
        assert_eq!(oplog.durable_seq(), 1);
    }
}

#[test]
fn a_slow_sync_is_counted_every_two_seconds() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let mut log = Log::new(aof.parts().0, &oplog);
    settle(&mut log, &aof, NOW_MS).unwrap();
    let mut counts = Vec::new();
    for ms in (0..=8000).step_by(500) {
        // Nobody serves the sync.
        append(&oplog, "SET a b");
        log.step(NOW_MS + ms).unwrap();
        counts.push(aof.delayed_fsync());
    }
    assert_eq!(counts[..6], [0, 0, 0, 0, 0, 1]);
    assert_eq!(counts.last(), Some(&3));
    aof.reset_stats();
    assert_eq!(aof.delayed_fsync(), 0);
}

#[test]
fn timestamps_stand_before_what_follows_them() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let stamped = Settings {
        timestamps: true,
        ..Settings::default()
    };
    let aof = started(&disk, &oplog, stamped);
    let mut log = Log::new(aof.parts().0, &oplog);
    for (ms, line) in [(0, "SET a b"), (999, "SET c d"), (1000, "SET e f")] {
        append(&oplog, line);
        settle(&mut log, &aof, NOW_MS + ms).unwrap();
        settle(&mut log, &aof, NOW_MS + ms + 1000).unwrap();
    }
    let expected = [
        b"#TS:1700000000\r\n".to_vec(),
        requests(&["SELECT 0", "SET a b", "SET c d"]),
        b"#TS:1700000001\r\n".to_vec(),
        requests(&["SET e f"]),
    ];
    assert_eq!(text(&disk, INCR).as_bytes(), expected.concat());
}

#[test]
fn a_rewrite_divides_the_log_at_its_cut() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(2);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let mut log = Log::new(aof.parts().0, &oplog);
    append(&oplog, "SET a b");
    settle(&mut log, &aof, NOW_MS).unwrap();
    let mut rewrite = aof.begin_rewrite().unwrap();
    let before = append(&oplog, "SET before cut");
    settle(&mut log, &aof, NOW_MS).unwrap();
    assert!(
        !oplog.must_wait(before),
        "who waits for it may keep the cut waiting"
    );
    append(&oplog, "SET just before");
    aof.at_cut(&oplog, &mut rewrite);
    append(&oplog, "SET after cut");
    settle(&mut log, &aof, NOW_MS).unwrap();
    assert_eq!(
        text(&disk, INCR).as_bytes(),
        requests(&["SELECT 0", "SET a b", "SET before cut", "SET just before"])
    );
    let next = "appendonly.aof.2.incr.aof";
    assert_eq!(
        text(&disk, next).as_bytes(),
        requests(&["SELECT 0", "SET after cut"])
    );
    assert_eq!(
        text(&disk, "appendonly.aof.manifest"),
        "file appendonly.aof.1.base.rdb seq 1 type b\n\
         file appendonly.aof.1.incr.aof seq 1 type i\n\
         file appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    finish(&disk, &aof, &oplog, rewrite);
    assert_eq!(
        text(&disk, "appendonly.aof.manifest"),
        "file appendonly.aof.2.base.rdb seq 2 type b\n\
         file appendonly.aof.2.incr.aof seq 2 type i\n"
    );
    let names = disk.list(&at("")).unwrap();
    assert_eq!(
        names,
        [
            "appendonly.aof.2.base.rdb",
            "appendonly.aof.2.incr.aof",
            "appendonly.aof.manifest"
        ]
    );
    let incr_len = text(&disk, next).len() as u64;
    let base_len = text(&disk, "appendonly.aof.2.base.rdb").len() as u64;
    assert_eq!(aof.current_bytes(), base_len + incr_len);
    assert_eq!(aof.base_bytes(), base_len + incr_len);
    append(&oplog, "SET c d");
    settle(&mut log, &aof, NOW_MS).unwrap();
    assert!(aof.current_bytes() > aof.base_bytes());
}

#[test]
fn rewrites_that_fail_leave_a_log_that_can_be_loaded() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let mut log = Log::new(aof.parts().0, &oplog);
    let mut expected = Vec::new();
    let mut write = |line: &str, log: &mut Log<'_>| {
        append(&oplog, line);
        expected.push(format!("0:{line}"));
        settle(log, &aof, NOW_MS).unwrap();
    };
    write("SET a 1", &mut log);
    // Before its cut.
    let rewrite = aof.begin_rewrite().unwrap();
    aof.abort_rewrite(&oplog, rewrite);
    write("SET a 2", &mut log);
    // After it.
    let rewrite = begin(&aof, &oplog);
    write("SET a 3", &mut log);
    aof.abort_rewrite(&oplog, rewrite);
    write("SET a 4", &mut log);
    // At its end: there is no BASE.
    let rewrite = begin(&aof, &oplog);
    write("SET a 5", &mut log);
    let missing = aof.temp_base();
    let error = aof
        .finish_rewrite(&oplog, rewrite, &missing, true)
        .unwrap_err();
    assert!(
        error
            .0
            .starts_with("Error trying to rename the temporary AOF base file temp-rewri")
    );
    write("SET a 6", &mut log);
    assert_eq!(aof.failures(), 3);
    assert_eq!(text(&disk, "appendonly.aof.manifest").lines().count(), 5);
    let mut kept = Kept::default();
    open(&disk, Settings::default())
        .unwrap()
        .load(LOAD, &mut kept)
        .unwrap();
    assert_eq!(kept.lines, expected);
    finish(&disk, &aof, &oplog, begin(&aof, &oplog));
    assert_eq!(aof.failures(), 0);
    assert_eq!(text(&disk, "appendonly.aof.manifest").lines().count(), 2);
}

#[test]
fn appendonly_is_switched_on_by_a_rewrite_and_off_again() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = open(&disk, settings(AppendFsync::EverySec)).unwrap();
    let mut log = Log::new(aof.parts().0, &oplog);
    settle(&mut log, &aof, NOW_MS).unwrap();
    // BGREWRITEAOF while it is off: a BASE alone.
    finish(&disk, &aof, &oplog, begin(&aof, &oplog));
    let base_alone = "file appendonly.aof.1.base.rdb seq 1 type b\n";
    assert_eq!(text(&disk, "appendonly.aof.manifest"), base_alone);
    assert!(!oplog.is_on());
    aof.switch_on();
    assert_eq!(aof.state(), AofState::WaitRewrite);
    assert!(!oplog.is_on(), "not before the cut");
    // It fails once.
    let rewrite = begin(&aof, &oplog);
    assert!(oplog.is_on());
    append(&oplog, "SET lost 1");
    settle(&mut log, &aof, NOW_MS).unwrap();
    assert!(text(&disk, "temp-appendonly.aof.incr").contains("lost"));
    assert_eq!(text(&disk, "appendonly.aof.manifest"), base_alone);
    aof.abort_rewrite(&oplog, rewrite);
    settle(&mut log, &aof, NOW_MS).unwrap();
    assert!(disk.content(&at("temp-appendonly.aof.incr")).is_none());
    assert!(!oplog.is_on() && aof.state() == AofState::WaitRewrite);
    let rewrite = begin(&aof, &oplog);
    append(&oplog, "SET a b");
    settle(&mut log, &aof, NOW_MS).unwrap();
    finish(&disk, &aof, &oplog, rewrite);
    assert_eq!(aof.state(), AofState::On);
    assert_eq!(
        text(&disk, "appendonly.aof.manifest"),
        "file appendonly.aof.2.base.rdb seq 2 type b\n\
         file appendonly.aof.1.incr.aof seq 1 type i\n"
    );
    append(&oplog, "SET c d");
    settle(&mut log, &aof, NOW_MS + 5000).unwrap();
    assert_eq!(
        text(&disk, INCR).as_bytes(),
        requests(&["SELECT 0", "SET a b", "SET c d"])
    );
    let sum = text(&disk, INCR).len() + text(&disk, "appendonly.aof.2.base.rdb").len();
    assert_eq!(aof.current_bytes(), sum as u64);
    append(&oplog, "SET e f");
    switch_off(&aof, &oplog, &mut log);
    assert!(!oplog.is_on() && aof.state() == AofState::Off);
    assert!(text(&disk, INCR).contains("$1\r\ne\r\n"));
    settle(&mut log, &aof, NOW_MS + 6000).unwrap();
    append(&oplog, "SET thrown away");
    settle(&mut log, &aof, NOW_MS + 6000).unwrap();
    assert!(!text(&disk, INCR).contains("thrown"));
    finish(&disk, &aof, &oplog, begin(&aof, &oplog));
    assert_eq!(
        text(&disk, "appendonly.aof.manifest"),
        "file appendonly.aof.3.base.rdb seq 3 type b\n"
    );
}

/// The log stays off when a rewrite that began before reaches its cut afterwards.
#[test]
fn a_rewrite_does_not_switch_on_what_was_switched_off() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let mut log = Log::new(aof.parts().0, &oplog);
    append(&oplog, "SET a b");
    settle(&mut log, &aof, NOW_MS).unwrap();
    let mut rewrite = aof.begin_rewrite().unwrap();
    switch_off(&aof, &oplog, &mut log);
    aof.at_cut(&oplog, &mut rewrite);
    assert!(!oplog.is_on());
    append(&oplog, "SET thrown away");
    aof.abort_rewrite(&oplog, rewrite);
    append(&oplog, "SET thrown away");
    settle(&mut log, &aof, NOW_MS + 7000).unwrap();
    assert!(!oplog.is_on() && aof.state() == AofState::Off);
    assert_eq!(text(&disk, "appendonly.aof.2.incr.aof"), "");
    assert_eq!(
        text(&disk, INCR).as_bytes(),
        requests(&["SELECT 0", "SET a b"])
    );
}

/// A rewrite is under way, and the disk takes nothing: the server can be ended all the same.
#[test]
fn a_disk_that_takes_nothing_keeps_nobody_from_stopping() {
    // The write fails, or the sync of the former file.
    for (skip, count) in [(0, u64::MAX), (1, u64::MAX)] {
        let disk = FakeDisk::new(DIR);
        let oplog = OpLog::new(1);
        let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
        let mut log = Log::new(aof.parts().0, &oplog);
        settle(&mut log, &aof, NOW_MS).unwrap();
        append(&oplog, "SET a b");
        let rewrite = begin(&aof, &oplog);
        append(&oplog, "SET c d");
        let at = disk.operations() + skip;
        disk.fail(Some(Fault {
            at,
            count,
            kind: FaultKind::NoSpace,
        }));
        for _ in 0..5 {
            assert!(matches!(log.step(NOW_MS).unwrap(), Step::Nap(_)));
        }
        assert!(!oplog.must_wait(2), "nor waits a reply for it");
        std::thread::scope(|scope| {
            let flush = scope.spawn(|| aof.flush(&oplog));
            while !flush.is_finished() {
                log.step(NOW_MS).unwrap();
                std::thread::yield_now();
            }
            assert!(
                flush
                    .join()
                    .unwrap()
                    .unwrap_err()
                    .0
                    .contains("No space left on device")
            );
        });
        aof.stop(&oplog);
        assert_eq!(log.step(NOW_MS).unwrap(), Step::Stop);
        aof.abort_rewrite(&oplog, rewrite);
    }
}

#[test]
fn automatic_rewrites_begin_when_the_log_has_grown() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let mut log = Log::new(aof.parts().0, &oplog);
    settle(&mut log, &aof, NOW_MS).unwrap();
    finish(&disk, &aof, &oplog, begin(&aof, &oplog));
    settle(&mut log, &aof, NOW_MS).unwrap();
    let base = aof.base_bytes();
    assert_eq!(aof.auto_rewrite(100, 0, 0), None);
    while aof.current_bytes() < 3 * base {
        append(&oplog, "SET a b");
        settle(&mut log, &aof, NOW_MS).unwrap();
    }
    let growth = aof.current_bytes() * 100 / base - 100;
    assert_eq!(aof.auto_rewrite(100, 0, 0), Some(growth));
    assert_eq!(aof.auto_rewrite(growth + 1, 0, 0), None);
    assert_eq!(aof.auto_rewrite(0, 0, 0), None);
    assert_eq!(aof.auto_rewrite(100, aof.current_bytes(), 0), None);
    for _ in 0..3 {
        aof.abort_rewrite(&oplog, begin(&aof, &oplog));
    }
    // One minute, two, four, and so on up to an hour.
    let mut now_secs = 1000;
    for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert_eq!(aof.auto_rewrite(100, 0, now_secs), None);
        now_secs += minutes * 60;
        assert_eq!(aof.auto_rewrite(100, 0, now_secs - 1), None);
        assert!(aof.auto_rewrite(100, 0, now_secs).is_some());
    }
    aof.forgive_failures();
    assert!(aof.auto_rewrite(100, 0, now_secs).is_some());
}

#[test]
fn a_restart_goes_on_in_the_last_file_and_tidies_up() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let mut log = Log::new(aof.parts().0, &oplog);
    append(&oplog, "SET a b");
    settle(&mut log, &aof, NOW_MS).unwrap();
    let mut manifest = text(&disk, "appendonly.aof.manifest");
    manifest.push_str("file old seq 1 type h\nfile gone seq 2 type h\n");
    disk.put(&at("appendonly.aof.manifest"), manifest.as_bytes());
    let leftovers = [
        "temp-appendonly.aof.incr",
        "temp-appendonly.aof.manifest",
        "old",
    ];
    for name in leftovers {
        disk.put(&at(name), b"x");
    }
    let temp_base = Path::new(DIR).join("temp-rewriteaof-bg-77.aof");
    disk.put(&temp_base, b"x");
    let aof = open(&disk, settings(AppendFsync::EverySec)).unwrap();
    let oplog = OpLog::new(1);
    assert_eq!(aof.load(LOAD, &mut Kept::default()), Ok(Loaded::Ok));
    assert_eq!(
        aof.base_bytes(),
        text(&disk, "appendonly.aof.1.base.rdb").len() as u64
    );
    start(&disk, &aof, &oplog);
    let mut log = Log::new(aof.parts().0, &oplog);
    append(&oplog, "SET c d");
    settle(&mut log, &aof, NOW_MS).unwrap();
    assert_eq!(
        text(&disk, INCR).as_bytes(),
        requests(&["SELECT 0", "SET a b", "SELECT 0", "SET c d"])
    );
    assert_eq!(aof.current_bytes(), aof.total_bytes());
    for name in leftovers {
        assert!(disk.content(&at(name)).is_none(), "{name}");
    }
    assert!(disk.content(&temp_base).is_none());
    assert!(!text(&disk, "appendonly.aof.manifest").contains("type h"));
}

/// `aof_current_size` is what is on the disk, however often it is loaded.
#[test]
fn no_file_is_counted_twice() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let mut log = Log::new(aof.parts().0, &oplog);
    append(&oplog, "SET a b");
    settle(&mut log, &aof, NOW_MS).unwrap();
    // DEBUG LOADAOF, with one INCR file and with two.
    assert_eq!(aof.load(LOAD, &mut Kept::default()), Ok(Loaded::Ok));
    assert_eq!(aof.current_bytes(), aof.total_bytes());
    aof.abort_rewrite(&oplog, begin(&aof, &oplog));
    append(&oplog, "SET c d");
    settle(&mut log, &aof, NOW_MS).unwrap();
    assert_eq!(aof.load(LOAD, &mut Kept::default()), Ok(Loaded::Ok));
    assert_eq!(aof.current_bytes(), aof.total_bytes());
    append(&oplog, "SET e f");
    settle(&mut log, &aof, NOW_MS).unwrap();
    assert_eq!(aof.current_bytes(), aof.total_bytes());
    // Killed with room reserved behind what is written.
    let last = "appendonly.aof.2.incr.aof";
    let whole = text(&disk, last);
    let padded = format!("{whole}{}\n", "#".repeat(500));
    disk.put(&at(last), padded.as_bytes());
    let (aof, oplog) = (
        open(&disk, settings(AppendFsync::Always)).unwrap(),
        OpLog::new(1),
    );
    assert_eq!(aof.load(LOAD, &mut Kept::default()), Ok(Loaded::Ok));
    start(&disk, &aof, &oplog);
    assert_eq!(text(&disk, last), whole);
    assert_eq!(aof.current_bytes(), aof.total_bytes());
}

/// The real threads on a real disk.
#[test]
fn threads_write_what_many_append() {
    for policy in [AppendFsync::Always, AppendFsync::EverySec, AppendFsync::No] {
        let dir = tempfile::tempdir().unwrap();
        let place = Place {
            dir: dir.path().into(),
            ..place()
        };
        let open = || Aof::open(Arc::new(RealDisk), place.clone(), settings(policy)).unwrap();
        let (aof, oplog) = (open(), OpLog::new(2));
        aof.configure(&oplog, settings(policy));
        let mut make_base =
            |path: &Path| std::fs::write(path, snapshot(&[])).map_err(|error| error.to_string());
        aof.start(&oplog, true, &mut make_base).unwrap();
        std::thread::scope(|scope| {
            let fatal: fn(&AofError) = |error| panic!("{error}");
            let (log, lanes) = (&aof, &oplog);
            scope.spawn(move || log.run(lanes, &Clock::real(), &fatal));
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let oplog = &oplog;
                    scope.spawn(move || {
                        for n in 0..500 {
                            append(oplog, &format!("RPUSH {writer} {n}"));
                        }
                    })
                })
                .collect();
            let mut rewrite = aof.begin_rewrite().unwrap();
            std::thread::yield_now();
            aof.at_cut(&oplog, &mut rewrite);
            writers
                .into_iter()
                .for_each(|writer| writer.join().unwrap());
            aof.flush(&oplog).unwrap();
            assert_eq!(oplog.durable_seq(), 1500);
            aof.abort_rewrite(&oplog, rewrite);
            aof.stop(&oplog);
        });
        let late = aof.flush(&oplog).unwrap_err();
        assert_eq!(late.0, "the log is closed");
        let mut kept = Kept::default();
        assert_eq!(open().load(LOAD, &mut kept), Ok(Loaded::Ok));
        assert_eq!(kept.lines.len(), 1500);
        for writer in 0..3 {
            let ours = format!("0:RPUSH {writer} ");
            let numbers: Vec<usize> = kept
                .lines
                .iter()
                .filter_map(|line| line.strip_prefix(&ours)?.parse().ok())
                .collect();
            assert_eq!(numbers, (0..500).collect::<Vec<_>>());
        }
    }
}

/// What a worker does when it has run what its clients have sent.
#[test]
fn a_worker_writes_in_the_place_of_the_thread_what_only_has_to_be_written() {
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let shared = aof.parts().0;
    let seq = append(&oplog, "SET a b");
    aof.write_through(&oplog, NOW_MS);
    assert!(
        oplog.must_wait(seq),
        "there is no file yet: the thread opens it"
    );
    settle(&mut Log::new(shared, &oplog), &aof, NOW_MS).unwrap();
    assert!(!oplog.must_wait(seq));
    let seq = append(&oplog, "SET c d");
    aof.write_through(&oplog, NOW_MS);
    assert!(!oplog.must_wait(seq));
    assert!(text(&disk, INCR).ends_with("$1\r\nc\r\n$1\r\nd\r\n"));
    // Whoever has the pen is told that there is more.
    let seq = append(&oplog, "SET e f");
    let log = Log::new(shared, &oplog);
    aof.write_through(&oplog, NOW_MS);
    assert!(oplog.must_wait(seq) && shared.is_wanted.load(Ordering::SeqCst));
    drop(log);
    // Nor does a rewrite that is about to begin keep anything back.
    let rewrite = aof.begin_rewrite().unwrap();
    aof.write_through(&oplog, NOW_MS);
    assert!(!oplog.must_wait(seq));
    aof.abort_rewrite(&oplog, rewrite);
    settle(&mut Log::new(shared, &oplog), &aof, NOW_MS + 2000).unwrap();
    assert!(!oplog.must_wait(seq));
    // A write might wait for a sync that is on its way.
    append(&oplog, "SET k l");
    Log::new(shared, &oplog).step(NOW_MS + 4000).unwrap();
    assert!(aof.is_sync_pending());
    let seq = append(&oplog, "SET m n");
    aof.write_through(&oplog, NOW_MS + 4000);
    assert!(oplog.must_wait(seq));
    settle(&mut Log::new(shared, &oplog), &aof, NOW_MS + 4000).unwrap();
    assert!(!oplog.must_wait(seq));
    // A full disk is the thread's matter.
    fail_next(&disk, 1, FaultKind::NoSpace);
    append(&oplog, "SET g h");
    aof.write_through(&oplog, NOW_MS + 6000);
    assert!(aof.disk_error().is_some());
    let seq = append(&oplog, "SET i j");
    aof.write_through(&oplog, NOW_MS + 6000);
    assert!(oplog.must_wait(seq));
    settle(&mut Log::new(shared, &oplog), &aof, NOW_MS + 8000).unwrap();
    assert!(!oplog.must_wait(seq) && aof.disk_error().is_none());
    let lines = [
        "SELECT 0", "SET a b", "SET c d", "SET e f", "SET k l", "SET m n", "SET g h", "SET i j",
    ];
    let all = text(&disk, INCR) + &text(&disk, "appendonly.aof.2.incr.aof");
    let selects = all.matches("SELECT").count();
    let expected = String::from_utf8(requests(&lines)).unwrap();
    let select = String::from_utf8(requests(&["SELECT 0"])).unwrap();
    assert_eq!(all.replace(&select, ""), expected.replace(&select, ""));
    assert!(selects >= 1);
}

/// What the latency monitor would hear of, if everything took long: which writes, and what they met.
#[test]
fn each_stage_has_its_own_event() {
    let told: Arc<Mutex<Vec<&str>>> = Arc::default();
    let disk = FakeDisk::new(DIR);
    let oplog = OpLog::new(1);
    let hears = told.clone();
    let hear = move |event, _| hears.lock().unwrap().push(event);
    oplog.spikes.listen(Box::new(hear));
    oplog.spikes.tell_all();
    let take = || std::mem::take(&mut *told.lock().unwrap());
    let aof = started(&disk, &oplog, settings(AppendFsync::EverySec));
    let mut log = Log::new(aof.parts().0, &oplog);
    settle(&mut log, &aof, NOW_MS).unwrap();
    take();
    append(&oplog, "SET a b");
    log.step(NOW_MS).unwrap();
    assert_eq!(take(), ["aof-write-alone", "aof-write"]);
    // A sync is on its way.
    append(&oplog, "SET a c");
    log.step(NOW_MS).unwrap();
    assert_eq!(take(), ["aof-write-pending-fsync", "aof-write"]);
    assert!(aof.parts().0.sync.serve_one());
    aof.set_disk_busy(&oplog, true);
    append(&oplog, "SET a d");
    log.step(NOW_MS + 10).unwrap();
    assert_eq!(take(), ["aof-write-active-child", "aof-write"]);
    aof.set_disk_busy(&oplog, false);
    aof.configure(&oplog, settings(AppendFsync::Always));
    append(&oplog, "SET a e");
    log.step(NOW_MS + 20).unwrap();
    let before = "aof-fsync-always";
    assert_eq!(
        take(),
        [before, "aof-write-alone", "aof-write", "aof-fsync-always"]
    );
    let rewrite = begin(&aof, &oplog);
    settle(&mut log, &aof, NOW_MS + 30).unwrap();
    take();
    finish(&disk, &aof, &oplog, rewrite);
    assert_eq!(take(), ["aof-rename"]);
}
