//! Tests of the fake disk against what is promised of it, of the real one, and of the lock.

use super::fake::{FakeDisk, Fault, FaultKind};
use super::*;
use crate::util::rng::Rng;

const DIR: &str = "/data";

fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(name)
}

/// The same few steps on any disk.
fn exercise(disk: &dyn Disk, dir: &Path) {
    let at = |name: &str| dir.join(name);
    let missing = disk.open(&at("a"), OpenMode::Read).err().map(|e| e.kind());
    assert_eq!(missing, Some(io::ErrorKind::NotFound));
    let file = disk.open(&at("a"), OpenMode::Create).unwrap();
    write_all(&*file, b"hello world").unwrap();
    file.set_len(5).unwrap();
    write_all(&*file, b"!").unwrap();
    file.sync_data().unwrap();
    assert_eq!(file.stat_len().unwrap(), 6);
    let again = disk.open(&at("a"), OpenMode::Append).unwrap();
    write_all(&*again, b"?").unwrap();
    assert_eq!(read_small(disk, &at("a"), 100).unwrap(), b"hello!?");
    let too_long = read_small(disk, &at("a"), 6).map_err(|e| e.kind());
    assert_eq!(too_long, Err(io::ErrorKind::FileTooLarge));
    let mut part = [0; 3];
    assert_eq!(again.read_at(&mut part, 5).unwrap(), 2);
    assert_eq!(&part[..2], b"!?");
    again.redirty(2).unwrap();
    assert_eq!(read_small(disk, &at("a"), 100).unwrap(), b"hello!?");
    // Later writes go over what is reserved.
    again.reserve(7, b"####").unwrap();
    again.reserve(9, b"###\n").unwrap();
    write_all(&*again, b"1").unwrap();
    assert_eq!(read_small(disk, &at("a"), 100).unwrap(), b"hello!?1####\n");
    again.set_len(8).unwrap();
    write_all(&*again, b"2").unwrap();
    assert_eq!(read_small(disk, &at("a"), 100).unwrap(), b"hello!?12");
    disk.open(&at("a"), OpenMode::Create).unwrap();
    assert_eq!(disk.stat(&at("a")).unwrap().len, 0);
    disk.create_dir(&at("d")).unwrap();
    disk.create_dir(&at("d")).unwrap();
    let taken = disk.create_dir(&at("a")).map_err(|e| e.kind());
    assert_eq!(taken, Err(io::ErrorKind::NotADirectory));
    assert!(disk.stat(&at("d")).unwrap().is_dir);
    disk.rename(&at("a"), &at("d/b")).unwrap();
    disk.fsync_dir(dir).unwrap();
    assert_eq!(disk.list(&at("d")).unwrap(), ["b"]);
    assert_eq!(disk.list(dir).unwrap(), ["d"]);
    disk.remove(&at("d/b")).unwrap();
    assert!(disk.stat(&at("d/b")).is_err());
}

#[test]
fn both_disks_do_the_same() {
    exercise(&FakeDisk::new(DIR), Path::new(DIR));
    let dir = tempfile::tempdir().unwrap();
    exercise(&RealDisk, dir.path());
}

#[test]
fn a_crash_keeps_what_was_synced_and_some_of_the_rest() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let disk = FakeDisk::new(DIR);
        let file = disk.open(&path("a"), OpenMode::Create).unwrap();
        write_all(&*file, b"safe").unwrap();
        file.sync_data().unwrap();
        disk.fsync_dir(Path::new(DIR)).unwrap();
        write_all(&*file, b"tail").unwrap();
        disk.crash(&mut Rng::from_seed(seed));
        assert!(file.sync_data().is_err(), "a file of before the crash");
        let content = disk.content(&path("a")).expect("the name was synced");
        assert!(b"safetail".starts_with(&content[..]) && content.len() >= 4);
        lengths.insert(content.len());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [4, 5, 6, 7, 8]);
}

/// Any blocks of what was written over, and a cut or none.
#[test]
fn a_crash_keeps_any_blocks_of_what_was_written_over() {
    let (mut mixed, mut lengths) = (0, std::collections::BTreeSet::new());
    for seed in 0..200 {
        let disk = FakeDisk::new(DIR);
        let file = disk.open(&path("a"), OpenMode::Create).unwrap();
        file.reserve(0, &[b'#'; 300]).unwrap();
        file.sync_data().unwrap();
        disk.fsync_dir(Path::new(DIR)).unwrap();
        write_all(&*file, &[b'x'; 100]).unwrap();
        file.set_len(100).unwrap();
        write_all(&*file, &[b'y'; 7]).unwrap();
        disk.crash(&mut Rng::from_seed(seed));
        let content = disk.content(&path("a")).expect("the name was synced");
        let (over, rest) = content.split_at(100);
        let new = over.iter().filter(|byte| **byte == b'x').count();
        assert!(over.iter().all(|byte| b"x#".contains(byte)));
        mixed += usize::from(new > 0 && new < 100);
        assert!(rest == [b'#'; 200] || b"yyyyyyy".starts_with(rest));
        lengths.insert(rest.len());
    }
    assert!(mixed > 0);
    assert_eq!(lengths.len(), 9, "{lengths:?}");
}

#[test]
fn names_survive_a_crash_in_their_order_or_not_at_all() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let disk = FakeDisk::new(DIR);
        disk.put(&path("old"), b"old");
        let file = disk.open(&path("temp"), OpenMode::Create).unwrap();
        write_all(&*file, b"new").unwrap();
        file.sync_data().unwrap();
        disk.rename(&path("temp"), &path("old")).unwrap();
        disk.crash(&mut Rng::from_seed(seed));
        let old = disk.content(&path("old")).expect("never without the name");
        assert!(old == b"old" || old == b"new");
        seen.insert((old, disk.content(&path("temp")).is_some()));
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn operations_fail_as_told() {
    let disk = FakeDisk::new(DIR);
    let file = disk.open(&path("a"), OpenMode::Create).unwrap();
    let fault = |at, kind| {
        let count = 1;
        disk.fail(Some(Fault { at, count, kind }));
    };
    fault(disk.operations(), FaultKind::ShortWrite);
    assert_eq!(file.write(b"1234").unwrap(), 2);
    fault(disk.operations() + 1, FaultKind::NoSpace);
    assert_eq!(file.write(b"56").unwrap(), 2);
    let full = write_all(&*file, b"78").unwrap_err();
    assert_eq!(full.error.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(file.write(b"78").unwrap(), 2);
    fault(disk.operations(), FaultKind::Io);
    assert_eq!(
        file.sync_data().unwrap_err().raw_os_error(),
        Some(libc::EIO)
    );
    // The next one succeeds and has nothing to do.
    file.sync_data().unwrap();
    disk.fsync_dir(Path::new(DIR)).unwrap();
    fault(disk.operations(), FaultKind::Dead);
    assert!(file.write(b"x").is_err() && file.write(b"x").is_err());
    disk.crash(&mut Rng::from_seed(1));
    assert_eq!(disk.content(&path("a")).unwrap(), b"");
    // Unless it is told what has to be written again.
    let file = disk.open(&path("b"), OpenMode::Create).unwrap();
    disk.fsync_dir(Path::new(DIR)).unwrap();
    write_all(&*file, b"1234").unwrap();
    fault(disk.operations(), FaultKind::Io);
    assert!(file.sync_data().is_err());
    file.redirty(0).unwrap();
    file.sync_data().unwrap();
    disk.crash(&mut Rng::from_seed(1));
    assert_eq!(disk.content(&path("b")).unwrap(), b"1234");
}

#[test]
fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut lock = DirLock::take(dir.path()).unwrap();
    let refused = DirLock::take(dir.path()).unwrap_err();
    assert!(matches!(refused, LockError::Taken(_)));
    let text = refused.to_string();
    assert!(text.contains("used by another server"), "{text}");
    // The same directory by another name.
    lock.move_to(&dir.path().join(".")).unwrap();
    let held = DirLock::take(other.path()).unwrap();
    assert!(lock.move_to(other.path()).is_err());
    assert!(DirLock::take(dir.path()).is_err(), "still held");
    drop(held);
    lock.move_to(other.path()).unwrap();
    assert!(DirLock::take(other.path()).is_err(), "held now");
    DirLock::take(dir.path()).unwrap();
    let missing = DirLock::take(&dir.path().join("none")).unwrap_err();
    assert!(matches!(missing, LockError::Io(..)));
}
