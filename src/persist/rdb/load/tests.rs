//! Whole files into a keyspace, with one thread and with several.

use super::*;
use crate::db::{Access, Lookup};
use crate::ds::hash::{HashFunction, KeyHash};
use crate::persist::rdb::decode::tests::{NOW_MS, options};
use crate::persist::rdb::format::{crc64, opcode};

fn file(records: &[u8]) -> Vec<u8> {
    let mut bytes = [b"REDIS0010", records, &[opcode::EOF]].concat();
    let checksum = crc64(0, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn none(_: &[u8]) -> Result<(), String> {
    Err("there are no libraries".to_owned())
}

fn string(key: &str) -> Vec<u8> {
    let len = key.len() as u8;
    [&[0, len][..], key.as_bytes(), &[len], key.as_bytes()].concat()
}

fn has(keyspace: &Keyspace, db: u32, key: &str) -> bool {
    let locks = keyspace.lock_one(keyspace.hash(key.as_bytes()));
    let mut access = Access::new(keyspace, locks, DbIndex(db), NOW_MS, false);
    access.exists(key.as_bytes(), Lookup::Silent)
}

fn empty() -> Keyspace {
    Keyspace::new(8, 16, KeyHash::process(HashFunction::Fast))
}

#[test]
fn every_key_arrives_with_any_number_of_threads() {
    let mut records = b"\xFA\x08used-mem\x0412345".to_vec();
    records[10] = 5;
    for db in [0u8, 5] {
        records.extend_from_slice(&[opcode::SELECTDB, db]);
        records.extend((0..3000).flat_map(|n| string(&format!("{db}:{n}"))));
    }
    let bytes = file(&records);
    for inserters in [0, 1, 3] {
        let (keyspace, progress) = (empty(), LoadProgress::default());
        let summary = load_with(
            &keyspace,
            &bytes[..],
            &options(),
            &progress,
            inserters,
            &mut none,
        )
        .unwrap();
        assert_eq!((summary.keys, summary.bytes), (6000, bytes.len() as u64));
        for db in [0, 5] {
            for n in 0..3000 {
                assert!(has(&keyspace, db, &format!("{db}:{n}")));
            }
            assert!(!has(&keyspace, db, &format!("{}:1", 5 - db)));
        }
        assert_eq!(progress.keys_loaded.load(Ordering::Relaxed), 6000);
        assert_eq!(progress.rdb_used_mem.load(Ordering::Relaxed), 12345);
        let loaded_bytes = progress.loaded_bytes.load(Ordering::Relaxed);
        assert_eq!(loaded_bytes, bytes.len() as u64);
    }
}

#[test]
fn libraries_are_handed_out_and_may_be_refused() {
    let bytes = file(b"\xF5\x03lib\xF5\x05other");
    let progress = LoadProgress::default();
    let mut sources = Vec::new();
    let mut take = |source: &[u8]| {
        sources.push(source.to_vec());
        Ok(())
    };
    load_with(&empty(), &bytes[..], &options(), &progress, 1, &mut take).unwrap();
    assert_eq!(sources, [&b"lib"[..], b"other"]);
    let mut refuse = |_: &[u8]| Err("no such library".to_owned());
    let fault = load_with(&empty(), &bytes[..], &options(), &progress, 1, &mut refuse);
    let fault = fault.unwrap_err();
    assert_eq!(
        (fault.kind, &*fault.message),
        (FaultKind::Rejected, "no such library")
    );
}

#[test]
fn a_key_that_is_there_twice_ends_it() {
    let mut records: Vec<u8> = (0..5000).flat_map(|n| string(&format!("k{n}"))).collect();
    records.extend(string("k7"));
    records.extend((0..5000).flat_map(|n| string(&format!("z{n}"))));
    let bytes = file(&records);
    for inserters in [0, 1, 3] {
        let (keyspace, progress) = (empty(), LoadProgress::default());
        let error = load_with(
            &keyspace,
            &bytes[..],
            &options(),
            &progress,
            inserters,
            &mut none,
        );
        let error = error.unwrap_err();
        assert_eq!(error.message, "RDB has duplicated key 'k7' in DB 0");
        assert_eq!(error.kind, FaultKind::Rejected);
    }
}

#[test]
fn it_can_be_stopped_and_errors_come_through() {
    let records: Vec<u8> = (0..5000).flat_map(|n| string(&format!("k{n}"))).collect();
    let bytes = file(&records);
    for inserters in [0, 1] {
        let (keyspace, progress) = (empty(), LoadProgress::default());
        progress.stop.store(true, Ordering::Relaxed);
        let error = load_with(
            &keyspace,
            &bytes[..],
            &options(),
            &progress,
            inserters,
            &mut none,
        );
        assert_eq!(error.unwrap_err().message, "Loading was stopped");
        let progress = LoadProgress::default();
        let cut = &bytes[..bytes.len() - 100];
        let error =
            load_with(&empty(), cut, &options(), &progress, inserters, &mut none).unwrap_err();
        assert_eq!(error.kind, FaultKind::Truncated);
    }
}
