//! What --check-rdb says of good, cut and corrupt files.

use super::*;
use crate::persist::rdb::format::crc64;

const NOW_MS: u64 = 1_700_000_000_000;

fn report(bytes: &[u8]) -> (bool, String) {
    let mut out = Vec::new();
    let good = check(bytes, NOW_MS, &mut out).unwrap();
    (good.is_some(), String::from_utf8(out).unwrap())
}

fn file() -> Vec<u8> {
    let mut bytes = b"REDIS0010\xFA\x09redis-ver\x057.0.0\xFE\0\xFB\x02\x01\0\x01a\x01x".to_vec();
    bytes.extend_from_slice(b"\xFC\x01\0\0\0\0\0\0\0\0\x01b\x01y\xF5\x03lib\xFF");
    let checksum = crc64(0, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

#[test]
fn a_good_file_is_told_of_in_valkeys_words() {
    let (good, report) = report(&file());
    assert!(good);
    let expected = "\
        [offset 26] AUX FIELD redis-ver = '7.0.0'\n\
        [offset 28] Selecting DB ID 0\n\
        [offset 64] Checksum OK\n\
        [offset 64] \\o/ RDB looks OK! \\o/\n\
        [info] 2 keys read\n\
        [info] 1 expires\n\
        [info] 1 already expired\n\
        [info] 1 functions\n";
    assert_eq!(report, expected);
}

#[test]
fn a_bad_file_is_told_of_with_the_place() {
    let whole = file();
    let (good, text) = report(&whole[..35]);
    assert!(!good);
    assert!(text.contains("--- RDB ERROR DETECTED ---"), "{text}");
    assert!(text.contains("[offset 35] Unexpected EOF"), "{text}");
    let mut changed = whole.clone();
    changed[33] ^= 1;
    let (good, text) = report(&changed);
    assert!(!good);
    assert!(text.contains("[offset 64] Wrong RDB checksum"), "{text}");
    let (good, text) = report(b"no RDB file");
    assert!(!good && text.contains("Wrong signature"), "{text}");
}

#[test]
fn files_that_are_not_there_are_told_of() {
    let mut out = Vec::new();
    let missing = Path::new("/nonexistent/dump.rdb");
    assert!(!check_file(missing, NOW_MS, &mut out).unwrap());
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("Cannot open file /nonexistent/dump.rdb: "));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dump.rdb");
    std::fs::write(&path, file()).unwrap();
    assert!(check_file(&path, NOW_MS, &mut Vec::new()).unwrap());
}
