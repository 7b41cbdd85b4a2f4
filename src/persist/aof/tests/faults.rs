//! Every operation of the disk fails in turn, while a server starts, logs, rewrites, is switched off
//! and on; then the power fails, and the log is loaded.
//!
//! Each record says its number, so what is loaded must be `1, 2, 3, ..` up to some number that is at
//! least what was promised: with `always` the last record that was published, else the last sync.

use super::*;
use crate::db::oplog::Promise;
use crate::persist::disk::fake::{Fault, FaultKind};

/// A run of a server.
struct Run {
    disk: FakeDisk,
    oplog: Arc<OpLog>,
    policy: AppendFsync,
    now_ms: u64,
    /// Records so far, in all lives.
    last: u64,
    /// What was promised to be there.
    promised: u64,
    /// Records of former lives.
    offset: u64,
    /// The log is off, or its first rewrite is not done: what comes is not promised.
    unlogged: bool,
}

/// The server has ended.
struct Ended;

impl Run {
    fn new(disk: FakeDisk, policy: AppendFsync, offset: u64) -> Run {
        let oplog = Arc::new(OpLog::new(1));
        Run {
            disk,
            oplog,
            policy,
            now_ms: 1_700_000_000_000,
            last: offset,
            promised: offset,
            offset,
            unlogged: false,
        }
    }

    /// Some records, and the time goes on.
    fn write(&mut self, count: u64, log: &mut Log<'_>, aof: &Aof) -> Result<(), Ended> {
        for _ in 0..count {
            // As MISCONF does: nothing is promised while the disk does not take it.
            if aof.disk_error().is_none() {
                self.last += 1;
                append(&self.oplog, &format!("RPUSH l {}", self.last));
            }
        }
        self.now_ms += 700;
        self.settle(log, aof)
    }

    fn settle(&mut self, log: &mut Log<'_>, aof: &Aof) -> Result<(), Ended> {
        let settled = settle(log, aof, self.now_ms);
        if !self.unlogged {
            let promised = self.offset + self.oplog.durable_seq();
            self.promised = self.promised.max(promised);
        }
        settled.map(drop).map_err(|_| Ended)
    }

    fn words(&self) -> Vec<String> {
        (1..=self.last).map(|n| n.to_string()).collect()
    }

    fn rewrite(&mut self, log: &mut Log<'_>, aof: &Aof) -> Result<(), Ended> {
        let Ok(mut rewrite) = aof.begin_rewrite() else {
            return self.write(1, log, aof);
        };
        self.write(2, log, aof)?;
        aof.at_cut(&self.oplog, &mut rewrite);
        let words = self.words();
        self.write(2, log, aof)?;
        let base = aof.temp_base();
        match write_base(&self.disk, &base, &words) {
            // Its error is reported, and the log goes on.
            Ok(()) => drop(aof.finish_rewrite(&self.oplog, rewrite, &base, true)),
            Err(_) => aof.abort_rewrite(&self.oplog, rewrite),
        }
        self.write(2, log, aof)
    }

    /// The life of a server.
    fn live(&mut self) -> Result<(), Ended> {
        let aof = open(&self.disk, settings(self.policy)).map_err(|_| Ended)?;
        aof.configure(&self.oplog, settings(self.policy));
        aof.load(LOAD, &mut Kept::default()).map_err(|_| Ended)?;
        let disk = self.disk.clone();
        let mut make_base = |path: &Path| write_base(&disk, path, &[]);
        aof.start(&self.oplog, true, &mut make_base)
            .map_err(|_| Ended)?;
        let oplog = self.oplog.clone();
        let mut log = Log::new(aof.parts().0, &oplog);
        self.write(3, &mut log, &aof)?;
        self.rewrite(&mut log, &aof)?;
        self.write(3, &mut log, &aof)?;
        self.rewrite(&mut log, &aof)?;
        self.write(2, &mut log, &aof)
    }
}

/// What is on the disk, which must be loadable; how many records.
#[track_caller]
fn loaded(disk: &FakeDisk, context: &str) -> u64 {
    let aof = open(disk, Settings::default()).unwrap_or_else(|e| panic!("{context}: {e}"));
    for line in text_of_manifest(disk) {
        let words: Vec<&str> = line.split(' ').collect();
        let exists = disk.content(&at(words[1])).is_some();
        assert!(
            exists || words[5] == "h",
            "{context}: {line} names a missing file"
        );
    }
    let mut kept = Kept::default();
    let loaded = aof.load(LOAD, &mut kept);
    loaded.unwrap_or_else(|e| panic!("{context}: {e}; {:?}", disk.paths()));
    for (line, n) in kept.lines.iter().zip(1..) {
        let manifest = text_of_manifest(disk);
        assert_eq!(*line, format!("0:RPUSH l {n}"), "{context}; {manifest:?}");
    }
    kept.lines.len() as u64
}

fn text_of_manifest(disk: &FakeDisk) -> Vec<String> {
    let manifest = disk.content(&at("appendonly.aof.manifest"));
    let manifest = String::from_utf8(manifest.unwrap_or_default()).unwrap();
    manifest.lines().map(str::to_owned).collect()
}

fn every_operation_fails(policy: AppendFsync) {
    let operations = {
        let mut run = Run::new(FakeDisk::new(DIR), policy, 0);
        assert!(run.live().is_ok());
        assert_eq!(loaded(&run.disk, "no fault"), run.last);
        run.disk.operations()
    };
    assert!(operations > 50, "{operations}");
    let kinds = [
        FaultKind::Dead,
        FaultKind::Io,
        FaultKind::NoSpace,
        FaultKind::ShortWrite,
    ];
    for at in 0..operations {
        for (kind, count) in kinds.into_iter().flat_map(|kind| [(kind, 1), (kind, 3)]) {
            for seed in 0..2 {
                let context = format!("{policy:?}, {kind:?} x {count} at {at}, seed {seed}");
                let mut run = Run::new(FakeDisk::new(DIR), policy, 0);
                run.disk.fail(Some(Fault { at, count, kind }));
                let ended = run.live().is_err();
                assert!(
                    !ended
                        || policy == AppendFsync::Always
                        || kind == FaultKind::Dead
                        || run.last == 0,
                    "{context}: ended"
                );
                if !ended && kind != FaultKind::Dead {
                    // The fault is over: nothing is missing, without a crash.
                    assert_eq!(loaded(&run.disk, &context), run.last, "{context}");
                }
                run.disk.crash(&mut Rng::from_seed(seed));
                let found = loaded(&run.disk, &context);
                assert!(
                    (run.promised..=run.last).contains(&found),
                    "{context}: {found} found, {} promised, {} written",
                    run.promised,
                    run.last
                );
                // And a server starts on it.
                let mut next = Run::new(run.disk.clone(), policy, found);
                assert!(next.live().is_ok(), "{context}");
                assert_eq!(loaded(&next.disk, &context), next.last, "{context}");
            }
        }
    }
}

#[test]
fn nothing_promised_is_lost_with_always() {
    every_operation_fails(AppendFsync::Always);
}

#[test]
fn nothing_synced_is_lost_with_everysec() {
    every_operation_fails(AppendFsync::EverySec);
}

#[test]
fn nothing_synced_is_lost_with_no() {
    every_operation_fails(AppendFsync::No);
}

/// `appendonly` is switched on while the disk fails: there is the old log or the new one.
#[test]
fn switching_on_is_all_or_nothing() {
    let first_life = || {
        let mut run = Run::new(FakeDisk::new(DIR), AppendFsync::Always, 0);
        assert!(run.live().is_ok());
        run
    };
    let switch = |run: &mut Run| -> Result<bool, Ended> {
        let aof = open(&run.disk, settings(run.policy)).map_err(|_| Ended)?;
        let oplog = run.oplog.clone();
        let mut log = Log::new(aof.parts().0, &oplog);
        run.oplog.set_promise(Promise::Durable);
        aof.switch_on();
        run.unlogged = true;
        run.rewrite(&mut log, &aof)?;
        let is_on = aof.state() == super::super::AofState::On;
        run.unlogged = !is_on;
        run.write(2, &mut log, &aof)?;
        Ok(is_on)
    };
    let operations = {
        let first = first_life();
        let before = first.disk.operations();
        let mut run = Run::new(first.disk.clone(), AppendFsync::Always, first.last);
        assert!(matches!(switch(&mut run), Ok(true)));
        assert_eq!(loaded(&run.disk, "no fault"), run.last);
        run.disk.operations() - before
    };
    let first = first_life();
    let before = first.disk.operations();
    for index in 0..operations {
        for kind in [FaultKind::Dead, FaultKind::Io, FaultKind::NoSpace] {
            let context = format!("{kind:?} at {index}");
            let first = first_life();
            let mut run = Run::new(first.disk.clone(), AppendFsync::Always, first.last);
            let at = before + index;
            run.disk.fail(Some(Fault { at, count: 1, kind }));
            let switched = switch(&mut run);
            run.disk.crash(&mut Rng::from_seed(index));
            let found = loaded(&run.disk, &context);
            let least = match switched {
                Ok(true) => run.promised,
                Ok(false) | Err(Ended) => first.last,
            };
            assert!(
                (least..=run.last).contains(&found),
                "{context}: {found} of {least}"
            );
        }
    }
}

/// A process is killed while it switches the log on, so what it has written is there: the next one
/// goes on with what it has loaded, whatever files the first one left.
#[test]
fn nothing_is_appended_to_what_a_switch_left() {
    let lines_of = |aof: &Aof| {
        let mut kept = Kept::default();
        aof.load(LOAD, &mut kept).unwrap();
        kept.lines
    };
    let mut left_by_itself = 0;
    for has_base in [false, true] {
        for index in 0.. {
            let disk = FakeDisk::new(DIR);
            let oplog = OpLog::new(1);
            let aof = open(&disk, Settings::default()).unwrap();
            let mut log = Log::new(aof.parts().0, &oplog);
            if has_base {
                let rewrite = aof.begin_rewrite().unwrap();
                write_base(&disk, &aof.temp_base(), &[]).unwrap();
                aof.finish_rewrite(&oplog, rewrite, &aof.temp_base(), true)
                    .unwrap();
            }
            aof.switch_on();
            let mut rewrite = aof.begin_rewrite().unwrap();
            aof.at_cut(&oplog, &mut rewrite);
            append(&oplog, "RPUSH l 1");
            let _ = settle(&mut log, &aof, 0);
            write_base(&disk, &aof.temp_base(), &[]).unwrap();
            let before = disk.operations();
            disk.fail(Some(Fault {
                at: before + index,
                count: 1,
                kind: FaultKind::Dead,
            }));
            let _ = aof.finish_rewrite(&oplog, rewrite, &aof.temp_base(), true);
            let is_over = disk.operations() <= before + index;
            disk.fail(None);

            let context = format!("Dead at {index}, BASE before: {has_base}");
            let first_incr = disk.content(&at("appendonly.aof.1.incr.aof"));
            let is_named = text_of_manifest(&disk)
                .iter()
                .any(|line| line.contains("incr.aof"));
            left_by_itself += usize::from(first_incr.is_some() && !is_named);

            let (second, oplog) = (open(&disk, Settings::default()).unwrap(), OpLog::new(1));
            let mut expected = lines_of(&second);
            let mut make_base = |path: &Path| write_base(&disk, path, &[]);
            second.start(&oplog, true, &mut make_base).unwrap();
            let mut log = Log::new(second.parts().0, &oplog);
            append(&oplog, "RPUSH l 2");
            let _ = settle(&mut log, &second, 0);
            expected.push("0:RPUSH l 2".to_owned());

            let third = open(&disk, Settings::default()).unwrap();
            assert_eq!(lines_of(&third), expected, "{context}");
            if is_over {
                break;
            }
        }
    }
    assert!(left_by_itself > 0, "the case that this is about");
}

/// Groups that nobody syncs meanwhile (`no-appendfsync-on-rewrite`): what a power failure leaves of them
/// can be loaded, and what was synced before and after is there.
#[test]
fn what_is_not_synced_while_the_disk_is_busy_may_be_lost_but_hinders_no_start() {
    for seed in 0..200 {
        let mut run = Run::new(FakeDisk::new(DIR), AppendFsync::Always, 0);
        let spared = Settings {
            no_fsync_on_rewrite: true,
            ..settings(AppendFsync::Always)
        };
        let aof = open(&run.disk, spared).unwrap();
        let (disk, oplog) = (run.disk.clone(), run.oplog.clone());
        let mut make_base = |path: &Path| write_base(&disk, path, &[]);
        aof.start(&oplog, true, &mut make_base).unwrap();
        let mut log = Log::new(aof.parts().0, &oplog);
        let mut write = |count| {
            for _ in 0..count {
                assert!(run.write(1, &mut log, &aof).is_ok());
            }
            run.last
        };
        let mut promised = write(3);
        aof.set_disk_busy(&oplog, true);
        let last = write(5);
        aof.set_disk_busy(&oplog, false);
        let last = match seed % 2 {
            0 => last,
            _ => {
                promised = write(2);
                promised
            }
        };
        run.disk.crash(&mut Rng::from_seed(seed));
        let found = loaded(&run.disk, &format!("seed {seed}"));
        assert!((promised..=last).contains(&found), "{found} of {promised}");
    }
}

/// Room is reserved over and over, and the power fails at any operation.
#[test]
fn groups_cross_the_end_of_the_room() {
    let live = |run: &mut Run| -> Result<(), Ended> {
        let aof = open(&run.disk, settings(run.policy)).map_err(|_| Ended)?;
        let (disk, oplog) = (run.disk.clone(), run.oplog.clone());
        let mut make_base = |path: &Path| write_base(&disk, path, &[]);
        aof.start(&oplog, true, &mut make_base).map_err(|_| Ended)?;
        let mut log = Log::new(aof.parts().0, &oplog);
        for count in (1..=6).cycle().take(30) {
            run.write(count, &mut log, &aof)?;
        }
        Ok(())
    };
    let start = FakeDisk::new(DIR);
    let mut run = Run::new(start, AppendFsync::Always, 0);
    assert!(live(&mut run).is_ok());
    for at in 0..run.disk.operations() {
        for seed in 0..20 {
            let context = format!("at {at}, seed {seed}");
            let mut run = Run::new(FakeDisk::new(DIR), AppendFsync::Always, 0);
            let (count, kind) = (1, FaultKind::Dead);
            run.disk.fail(Some(Fault { at, count, kind }));
            assert!(live(&mut run).is_err(), "{context}");
            run.disk.crash(&mut Rng::from_seed(seed));
            let found = loaded(&run.disk, &context);
            let promised = run.promised..=run.last;
            assert!(
                promised.contains(&found),
                "{context}: {found}, {promised:?}"
            );
        }
    }
}

/// A process was killed before it had synced the former file: the next one syncs that, too, before it
/// promises anything.
#[test]
fn a_start_makes_all_files_durable() {
    for seed in 0..20 {
        let disk = FakeDisk::new(DIR);
        let (aof, oplog) = (
            open(&disk, settings(AppendFsync::No)).unwrap(),
            OpLog::new(1),
        );
        let mut make_base = |path: &Path| write_base(&disk, path, &[]);
        aof.start(&oplog, true, &mut make_base).unwrap();
        let mut log = Log::new(aof.parts().0, &oplog);
        append(&oplog, "RPUSH l 1");
        let _ = settle(&mut log, &aof, 0);
        aof.begin_rewrite().unwrap();
        drop(log);
        let mut run = Run::new(disk.clone(), AppendFsync::Always, 1);
        let aof = open(&disk, settings(AppendFsync::Always)).unwrap();
        assert_eq!(aof.load(LOAD, &mut Kept::default()), Ok(Loaded::Ok));
        let oplog = run.oplog.clone();
        aof.start(&oplog, true, &mut make_base).unwrap();
        let mut log = Log::new(aof.parts().0, &oplog);
        assert!(run.write(1, &mut log, &aof).is_ok());
        assert_eq!(run.promised, 2);
        disk.crash(&mut Rng::from_seed(seed));
        assert_eq!(loaded(&disk, &format!("seed {seed}")), 2);
    }
}
