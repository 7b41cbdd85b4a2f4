//! Files of others, made here byte by byte.

use super::*;
use crate::resp::request::request;

/// What is said of these files, and the number of kinds of faults.
fn said(paths: &[PathBuf]) -> (usize, String) {
    let mut out = Vec::new();
    let faults = check(paths, &mut out).unwrap();
    (faults, String::from_utf8(out).unwrap())
}

/// A log of these requests, their words separated by blanks.
fn log_of(lines: &[&str]) -> Vec<u8> {
    let mut log = Vec::new();
    for line in lines {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        request(&mut log, words.len(), words.iter().copied());
    }
    log
}

#[test]
fn a_log_is_carried_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.aof");
    let good = [
        "SELECT 3",
        "MULTI",
        "SET a 1",
        "INCR a",
        "EXEC",
        "SELECT 20",
        "RPUSH l x",
    ];
    fs::write(&path, log_of(&good)).unwrap();
    let (faults, text) = said(std::slice::from_ref(&path));
    assert_eq!(faults, 0, "{text}");
    assert!(
        text.contains("0 keys in its snapshot, 3 requests"),
        "{text}"
    );
    assert!(text.contains("needs `databases 21`"), "{text}");
    let bad = [
        "SET a 1",
        "JSON.SET a $ {}",
        "json.set b $ {}",
        "LPUSH a x",
        "CONFIG NOSUCH",
        "GET",
        "SET a 1 NOSUCH",
        "SELECT 99999",
        "SET x y",
    ];
    let mut bytes = log_of(&bad);
    let end = bytes.len();
    bytes.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$5\r\nab");
    fs::write(&path, bytes).unwrap();
    let (faults, text) = said(&[path]);
    for line in [
        "unknown command JSON.SET (2 times, first in old.aof, byte 27)",
        "LPUSH is refused: WRONGTYPE Operation against a key holding the wrong kind of value (old.aof, byte",
        "unknown subcommand CONFIG NOSUCH (old.aof, byte",
        "GET is refused: wrong number of arguments",
        "SET is refused: ERR syntax error",
        "SET is refused: ERR DB index is out of range",
        &format!("it ends within a request (old.aof, byte {end})"),
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(faults, 7, "{text}");
}

#[test]
fn a_folder_is_searched() {
    let dir = tempfile::tempdir().unwrap();
    let (path, logs) = (dir.path().to_owned(), dir.path().join("appendonlydir"));
    assert!(check(std::slice::from_ref(&path), &mut Vec::new()).is_err());
    fs::create_dir(&logs).unwrap();
    fs::write(
        logs.join("a.aof.manifest"),
        "file a.1.base.rdb seq 1 type b\nfile a.1.incr.aof seq 1 type i\n",
    )
    .unwrap();
    // A snapshot of nothing.
    fs::write(logs.join("a.1.base.rdb"), b"REDIS0006\xff\0\0\0\0\0\0\0\0").unwrap();
    fs::write(logs.join("a.1.incr.aof"), log_of(&["FT.CREATE i"])).unwrap();
    fs::write(
        path.join("redis.conf"),
        "port 7000\nloadmodule x.so\nrename-command nosuch x\n",
    )
    .unwrap();
    fs::write(path.join("dump.rdb"), b"REDIS0006\x07\x01k\x01v").unwrap();
    let (faults, text) = said(&[path]);
    for line in [
        "redis.conf: 3 directives",
        "'loadmodule' has no effect yet",
        "No such command in rename-command",
        "0 keys in its snapshot, 1 requests",
        "unknown command FT.CREATE (a.1.incr.aof, byte 0)",
        "(byte ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(faults, 4, "{text}");
}

/// KeyDB writes fields of its own between the keys.
#[test]
fn a_snapshot_may_have_fields_between_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dump.rdb");
    let mut bytes = b"REDIS0009\xfa\x09redis-ver\x056.3.4\xfe\x00".to_vec();
    for key in ["a", "b"] {
        bytes.extend_from_slice(b"\xfa\x0bmvcc-tstamp\x03123\x00\x01");
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(b"\x01v");
    }
    bytes.extend_from_slice(b"\xff\0\0\0\0\0\0\0\0");
    fs::write(&path, bytes).unwrap();
    let (faults, text) = said(&[path]);
    assert_eq!(faults, 0, "{text}");
    assert!(
        text.contains("RDB version 9, redis-ver 6.3.4, 2 keys"),
        "{text}"
    );
}

#[test]
fn files_are_told_by_how_they_begin() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for (bytes, kind) in [
        (&b"file a seq 1 type b\n"[..], Kind::Manifest),
        (b"*1\r\n$4\r\nPING\r\n", Kind::Log),
        (b"#TS:1700000000\r\n", Kind::Log),
        (b"REDIS0011", Kind::Snapshot),
        (b"VALKEY080", Kind::Snapshot),
        (b"# comment\nport 1\n", Kind::Configuration),
        (b"", Kind::Configuration),
    ] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(kind_of(&path).unwrap(), kind);
    }
    assert!(kind_of(&dir.path().join("none")).is_err());
}

/// Root reads everything, so files are missing here instead of being closed to readers.
#[test]
fn what_cannot_be_read_does_not_keep_the_rest_from_being_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let manifest = path.join("a.aof.manifest");
    fs::write(
        &manifest,
        "file gone.rdb seq 1 type b\nfile a.aof seq 1 type i\nfile lost.aof seq 2 type i\n",
    )
    .unwrap();
    fs::write(path.join("a.aof"), log_of(&["FT.CREATE i"])).unwrap();
    for name in ["broken.aof.manifest", "z.conf"] {
        fs::write(path.join(name), "nonsense 1\n").unwrap();
    }
    std::os::unix::fs::symlink("/nonexistent", path.join("b.conf")).unwrap();
    let (faults, text) = said(&[path.join("none.rdb"), path.clone()]);
    for line in [
        &format!(
            "it cannot be read: No such file or directory ({}/none.rdb)",
            path.display()
        )[..],
        "unknown command FT.CREATE (a.aof, byte 0)",
        // Those of the manifest are one kind.
        "it cannot be read: No such file or directory (2 times, first in gone.rdb, byte 0)",
        "(broken.aof.manifest, byte 0)",
        "b.conf)",
        "unknown directive 'nonsense'",
        "6 kinds of faults.",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(faults, 6, "{text}");
}
