//! Snapshots into memory and onto a disk that fails. That they are what the keyspace was is tested
//! with commands (`commands::tests::snapshot`).

use std::path::Path;
use std::sync::mpsc;

use super::*;
use crate::db::{Access, Expire};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::persist::disk::fake::{FakeDisk, Fault, FaultKind};
use crate::persist::disk::{Disk, OpenMode};
use crate::util::rng::Rng;

fn keyspace(keys: u32) -> Keyspace {
    let keyspace = Keyspace::new(8, 16, KeyHash::process(HashFunction::Fast));
    for number in 0..keys {
        let key = format!("key:{number}");
        let locks = keyspace.lock_one(keyspace.hash(key.as_bytes()));
        let mut access = Access::new(&keyspace, locks, DbIndex(number % 2), 1, true);
        let value = vec![b'v'; [3, 700, 20_000][number as usize % 3]];
        access.set(key.as_bytes(), 0, 2, NewValue::Bytes(&value), Expire::Never);
    }
    keyspace
}

fn rdb() -> Rdb<'static> {
    Rdb {
        encode: EncodeOptions {
            compress: false,
            usage: None,
        },
        aux: Aux {
            redis_version: "7.2.4",
            kivi_version: "0",
            ctime_unix_secs: 1,
            used_memory_bytes: 2,
            aof_base: false,
        },
        checksum: true,
        libraries: Libraries::new(&Vec::new),
    }
}

struct Memory {
    bytes: Vec<u8>,
    /// Writes that work.
    writes_left: usize,
}

impl Sink for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.writes_left == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.writes_left -= 1;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

fn save(
    keyspace: &Keyspace,
    writes_left: usize,
    cancel: bool,
) -> Result<(Vec<u8>, u64), SnapshotError> {
    let mut memory = Memory {
        bytes: Vec::new(),
        writes_left,
    };
    let progress = SaveProgress::default();
    let summary = write(
        keyspace,
        &mut rdb(),
        &mut memory,
        &SnapshotOptions::default(),
        &progress,
        &AtomicBool::new(cancel),
        || 17,
    )?;
    assert_eq!(summary.at_cut, 17);
    assert_eq!(summary.bytes, memory.bytes.len() as u64);
    assert_eq!(progress.bytes.load(Ordering::Relaxed), summary.bytes);
    Ok((memory.bytes, summary.keys))
}

#[test]
fn a_file_has_everything_and_its_checksum() {
    let keyspace = keyspace(600);
    let (bytes, keys) = save(&keyspace, usize::MAX, false).unwrap();
    assert_eq!(keys, 600);
    let (content, checksum) = bytes.split_last_chunk::<8>().unwrap();
    assert_eq!(format::crc64(0, content), u64::from_le_bytes(*checksum));
    let count = |needle: &[u8]| {
        content
            .windows(needle.len())
            .filter(|at| *at == needle)
            .count()
    };
    assert_eq!(count(b"key:"), 600);
    assert_eq!(content.len() / 20_000, 200 + 200 * 703 / 20_000);
}

#[test]
fn a_sink_that_fails_spoils_no_later_snapshot() {
    let keyspace = keyspace(600);
    let (whole, _) = save(&keyspace, usize::MAX, false).unwrap();
    let mut failed = 0;
    for writes_left in 0..100 {
        match save(&keyspace, writes_left, false) {
            Err(SnapshotError::Io(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                failed += 1;
            }
            Err(other) => panic!("{other}"),
            Ok(_) => break,
        }
        assert!(!keyspace.snapshot.is_running());
    }
    assert!(failed > 5, "{failed}");
    let again = save(&keyspace, usize::MAX, false).unwrap();
    assert_eq!((again.0.len(), again.1), (whole.len(), 600));
}

#[test]
fn a_cancelled_snapshot_spoils_no_later_one() {
    let keyspace = keyspace(600);
    let cancelled = save(&keyspace, usize::MAX, true);
    assert!(matches!(cancelled, Err(SnapshotError::Cancelled)));
    assert_eq!(save(&keyspace, usize::MAX, false).unwrap().1, 600);
}

/// Waits when it is first called; then it may fail.
struct Late {
    begun: mpsc::Sender<()>,
    /// Ends when it is to go on.
    go_on: mpsc::Receiver<()>,
    fails: bool,
}

impl Sink for Late {
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        let _ = self.begun.send(());
        let _ = self.go_on.recv();
        match self.fails {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

/// Large strings that are deleted while they wait to be written are kept for the snapshot alone.
#[test]
fn what_goes_while_others_are_written_counts() {
    for fails in [false, true] {
        let keyspace = keyspace(0);
        // More than the buffers that are on their way take, and all of one slice.
        let keys = (0..).map(|number| format!("key:{number}"));
        let in_first = |key: &String| keyspace.shard_of(keyspace.hash(key.as_bytes())).0 == 0;
        let keys: Vec<String> = keys.filter(in_first).take(16).collect();
        let with = |key: &str, work: &dyn Fn(&mut Access<'_>)| {
            let locks = keyspace.lock_one(keyspace.hash(key.as_bytes()));
            let mut access = Access::new(&keyspace, locks, DbIndex(0), 1, true);
            work(&mut access);
            if let Some(rare) = access.into_effects().rare {
                rare.free(&keyspace);
            }
        };
        for key in &keys {
            with(key, &|access| {
                let value = NewValue::Shared(Arc::new(vec![b'v'; 1 << 20]));
                access.set(key.as_bytes(), 0, 0, value, Expire::Never);
            });
        }
        let (begun, has_begun) = mpsc::channel();
        let (go, go_on) = mpsc::channel();
        let mut sink = Late {
            begun,
            go_on,
            fails,
        };
        let held_bytes = || keyspace.snapshot.held_bytes();
        let (progress, cancel) = (SaveProgress::default(), AtomicBool::new(false));
        let options = SnapshotOptions::default();
        let result = std::thread::scope(|scope| {
            let (keyspace, sink, options) = (&keyspace, &mut sink, &options);
            let (progress, cancel) = (&progress, &cancel);
            let writing = scope
                .spawn(move || write(keyspace, &mut rdb(), sink, options, progress, cancel, || ()));
            has_begun.recv().unwrap();
            for key in &keys {
                with(key, &|access| assert!(access.remove(key.as_bytes())));
            }
            let held = held_bytes();
            drop(go);
            assert!((8 << 20..17 << 20).contains(&held), "{held}");
            writing.join().unwrap()
        });
        match result {
            Ok(summary) => assert_eq!((summary.keys, fails), (16, false)),
            Err(error) => assert!(fails, "{error}"),
        }
        assert_eq!(held_bytes(), 0);
    }
}

#[test]
fn the_old_file_stays_until_the_new_one_is_durable() {
    let keyspace = keyspace(60);
    let dir = Path::new("/data");
    let name = dir.join("dump.rdb");
    let length = |disk: &FakeDisk| disk.stat(&name).map(|stat| stat.len).unwrap_or(0);
    let mut failed = 0;
    for fails_at in 0.. {
        let disk = FakeDisk::new("/data");
        let mut rng = Rng::from_seed(fails_at);
        let old = disk.open(&name, OpenMode::Create).unwrap();
        old.write(b"old").unwrap();
        old.sync_data().unwrap();
        disk.fsync_dir(dir).unwrap();
        disk.fail(Some(Fault {
            at: disk.operations() + fails_at,
            count: u64::MAX,
            kind: FaultKind::Io,
        }));
        let save = || {
            let mut sink = FileSink::create(&disk, &dir.join("temp-1.rdb"), true)?;
            write(
                &keyspace,
                &mut rdb(),
                &mut sink,
                &SnapshotOptions::default(),
                &SaveProgress::default(),
                &AtomicBool::new(false),
                || (),
            )
            .map_err(|error| io::Error::other(error.to_string()))?;
            sink.finish(&name)
        };
        let result = save();
        let is_new = length(&disk) > 3;
        assert!(is_new || length(&disk) == 3, "one or the other");
        if result.is_ok() {
            disk.fail(None);
            disk.crash(&mut rng);
            assert!(length(&disk) > 3, "what was confirmed is durable");
            break;
        }
        failed += 1;
        disk.fail(None);
        disk.crash(&mut rng);
        assert!(length(&disk) >= 3, "one of them survives");
    }
    assert!(failed >= 4, "{failed}");
}
