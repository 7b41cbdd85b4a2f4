//! What files are made of.

use std::io::{self, Read};

use super::corpus::{counted, length, text};
use super::*;
use crate::db::usage::{LFU_INIT, Measure};
use crate::persist::rdb::format::kind;

fn fault_of(bytes: &[u8]) -> Fault {
    loaded(bytes, &options()).expect_err("a fault")
}

fn string(key: &str) -> Vec<u8> {
    key_record(key, kind::STRING, &text(b"v"))
}

fn keys_of(records: &[Record]) -> Vec<String> {
    let key = |record: &Record| match record {
        Record::Key { entry, .. } => Some(String::from_utf8_lossy(entry.view().key()).into_owned()),
        _ => None,
    };
    records.iter().filter_map(key).collect()
}

#[test]
fn records_come_out_in_their_order() {
    let records = [
        &b"\xFA\x09redis-ver\x057.0.0"[..],
        b"\xFA\x04bits\xC0\x40",
        b"\xF5\x03lib",
        b"\xFE\x03\xFB\x02\x01",
        &string("a"),
        b"\xFE\x0F",
        &string("b"),
    ]
    .concat();
    let (records, summary) = loaded(&file(10, &records), &options()).unwrap();
    let shown: Vec<String> = records
        .iter()
        .map(|record| match record {
            Record::Aux(name, text) => {
                format!("{}={}", name.escape_ascii(), text.escape_ascii())
            }
            Record::Select(db) => format!("db {}", db.0),
            Record::Resize { keys, expires } => format!("{keys} {expires}"),
            Record::Key { entry, type_ } => {
                format!("{} {type_}", entry.view().key().escape_ascii())
            }
            Record::Function(source) => format!("function {}", source.escape_ascii()),
        })
        .collect();
    let expected = [
        "redis-ver=7.0.0",
        "bits=64",
        "function lib",
        "db 3",
        "2 1",
        "a 0",
        "db 15",
        "b 0",
    ];
    assert_eq!(shown, expected);
    assert_eq!((summary.keys, summary.expired, summary.empty), (2, 0, 0));
    assert_eq!(summary.version, 10);
    assert_eq!(summary.checksum, Checksum::Verified);
}

#[test]
fn expiries_and_idle_times_belong_to_the_next_key_only() {
    let in_ms = NOW_MS + 1234;
    let in_secs = (NOW_MS / 1000 + 77) as u32;
    let records_bytes = [
        &[0xFC][..],
        &in_ms.to_le_bytes(),
        &[0xF8],
        &length(1000),
        &string("ms"),
        &string("none"),
        &[0xFD],
        &in_secs.to_le_bytes(),
        &[0xF9, 200],
        &string("s"),
        &[0xFC],
        &u64::MAX.to_le_bytes(),
        &string("minus one"),
    ]
    .concat();
    let (records, _) = loaded(&file(9, &records_bytes), &options()).unwrap();
    let found: Vec<(Option<u64>, u64)> = records
        .iter()
        .filter_map(|record| match record {
            Record::Key { entry, .. } => {
                let entry = entry.view();
                let idle_secs = options().usage.idle_secs(entry.lru());
                Some((entry.expire_at_ms(), idle_secs))
            }
            _ => None,
        })
        .collect();
    let in_secs = u64::from(in_secs) * 1000;
    assert_eq!(
        found,
        [
            (Some(in_ms), 1000),
            (None, 0),
            (Some(in_secs), 0),
            (None, 0)
        ]
    );
    let usage = Usage::default();
    usage.set(Measure::Lfu, false, 10, 1);
    let lfu = LoadOptions {
        usage: usage.stamp(NOW_MS),
        ..options()
    };
    let (records, _) = loaded(&file(9, &records_bytes), &lfu).unwrap();
    let found: Vec<u8> = records
        .iter()
        .filter_map(|record| match record {
            Record::Key { entry, .. } => Some(lfu.usage.frequency(entry.view().lru())),
            _ => None,
        })
        .collect();
    assert_eq!(found, [LFU_INIT, LFU_INIT, 200, LFU_INIT]);
}

#[test]
fn what_has_expired_is_left_out_unless_a_log_may_know_it() {
    let expiring =
        |at_ms: u64, key: &str| [&[0xFC][..], &at_ms.to_le_bytes(), &string(key)].concat();
    let records = [
        expiring(NOW_MS - 1, "past"),
        expiring(NOW_MS, "now"),
        expiring(NOW_MS + 1, "later"),
        expiring(-5i64 as u64, "negative"),
    ]
    .concat();
    let bytes = file(9, &records);
    let (records, summary) = loaded(&bytes, &options()).unwrap();
    assert_eq!(keys_of(&records), ["now", "later"]);
    assert_eq!((summary.keys, summary.expired), (2, 2));
    let all = LoadOptions {
        drop_expired: false,
        ..options()
    };
    let (records, summary) = loaded(&bytes, &all).unwrap();
    assert_eq!(keys_of(&records), ["past", "now", "later", "negative"]);
    assert_eq!((summary.keys, summary.expired), (4, 0));
}

#[test]
fn collections_without_elements_are_left_out() {
    let empty = [
        key_record("list", kind::LIST, &[0]),
        key_record("set", kind::SET, &[0]),
        key_record("zset", kind::ZSET_2, &[0]),
        key_record("hash", kind::HASH, &[0]),
        key_record("quicklist", kind::LIST_QUICKLIST_2, &[0]),
        key_record(
            "listpack",
            kind::HASH_LISTPACK,
            &text(&corpus::listpack_of(&[])),
        ),
        string("there"),
    ]
    .concat();
    let (records, summary) = loaded(&file(10, &empty), &options()).unwrap();
    assert_eq!(keys_of(&records), ["there"]);
    assert_eq!((summary.keys, summary.empty), (1, 6));
}

#[test]
fn versions_go_with_their_magic_words() {
    for version in 1..=12 {
        let (_, summary) = loaded(&file(version, &string("a")), &options()).unwrap();
        assert_eq!(summary.version, version);
    }
    assert!(loaded(&file(80, &string("a")), &options()).is_ok());
    for magic in [
        "REDIS0000",
        "REDIS0013",
        "REDIS0079",
        "REDIS0080",
        "VALKEY011",
        "VALKEY079",
        "VALKEY081",
        "REDIS00x9",
        "REDIS1009",
        "redis0009",
        "garbage!!",
    ] {
        let fault = fault_of(&[magic.as_bytes(), &file(9, b"")[9..]].concat());
        assert_eq!(fault.kind, FaultKind::Version, "{magic}");
    }
    let relaxed = LoadOptions {
        relaxed_version: true,
        ..options()
    };
    assert!(loaded(&file(13, &string("a")), &relaxed).is_ok());
    assert!(loaded(&file(81, &string("a")), &relaxed).is_ok());
}

#[test]
fn numbers_of_types_mean_what_the_line_says() {
    let hash_2 = [counted(1, &["f", "v"]), (-1i64).to_le_bytes().to_vec()].concat();
    let record = key_record("k", kind::VALKEY_HASH_2, &hash_2);
    assert!(loaded(&file(80, &record), &options()).is_ok());
    // Redis's type of the same number has a time before each field, and Valkey has no more types.
    assert!(loaded(&file(12, &record), &options()).is_err());
    for type_ in [23, 24, 25, 26, 100] {
        let record = key_record("k", type_, &text(&corpus::listpack_of(&[])));
        let fault = fault_of(&file(80, &record));
        assert!(
            fault.message.contains("Unknown RDB encoding type"),
            "{fault}"
        );
        assert_eq!(fault.kind, FaultKind::Corrupt);
    }
}

#[test]
fn what_is_not_there_yet_is_named_with_its_key() {
    let id = 0x1234_5678_9ABC_DEF0_u64;
    let module = [&[0x81][..], &id.to_be_bytes()].concat();
    let fault = fault_of(&file(11, &key_record("doc", 7, &module)));
    assert_eq!(fault.kind, FaultKind::Unsupported);
    assert!(fault.message.contains("no matching module type"), "{fault}");
    assert!(fault.message.contains("key 'doc'"), "{fault}");
    let fault = fault_of(&file(11, b"\xF6\0"));
    assert!(
        fault.message.contains("Pre-release function format"),
        "{fault}"
    );
}

#[test]
fn a_value_that_is_wrong_is_named_with_its_key() {
    for (type_, name) in [(15, "stream"), (19, "stream-v2"), (21, "stream-v3")] {
        let fault = fault_of(&file(11, &key_record("orders", type_, b"\x01\x03abc")));
        assert_eq!(fault.kind, FaultKind::Corrupt);
        let context = format!("(key 'orders', type {type_}, {name})");
        assert!(fault.message.contains(&context), "{fault}");
    }
}

#[test]
fn the_name_of_a_module_is_in_its_number() {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let name = "ReJSON-RL";
    let id = name.bytes().fold(0u64, |id, letter| {
        let index = letters.iter().position(|&byte| byte == letter).unwrap();
        id << 6 | index as u64
    });
    assert_eq!(value::module_name(id << 10 | 3), name);
}

#[test]
fn data_of_modules_and_slots_is_passed_over() {
    let module_aux = [
        &[0xF7, 0x81][..],
        &7u64.to_be_bytes(),
        // When: before the keys.
        &[2, 1],
        &[1, 0x40, 100],
        &[2, 5],
        &[3, 0, 0, 0, 0],
        &[4, 0, 0, 0, 0, 0, 0, 0, 0],
        &[5, 2, b'a', b'b'],
        &[0],
    ]
    .concat();
    let slot_info = b"\xF4\x05\x0A\x02";
    let records = [&module_aux[..], slot_info, &string("a")].concat();
    for version in [12, 80] {
        let (records, _) = loaded(&file(version, &records), &options()).unwrap();
        assert_eq!(keys_of(&records), ["a"]);
    }
    let unknown_part = [&[0xF7, 7, 2, 1][..], &[9]].concat();
    let fault = fault_of(&file(12, &unknown_part));
    assert!(fault.message.contains("module AUX data"), "{fault}");
    let import = [&[0xF3][..], &text(b"job"), &[2, 1, 5, 7, 9], &string("a")].concat();
    assert!(loaded(&file(80, &import), &options()).is_ok());
    assert!(loaded(&file(12, &import), &options()).is_err());
}

#[test]
fn databases_are_those_of_this_server() {
    let fault = fault_of(&file(9, b"\xFE\x10"));
    assert_eq!(fault.kind, FaultKind::Unsupported);
    assert!(fault.message.contains("more than 16 databases"), "{fault}");
}

#[test]
fn the_checksum_is_checked_if_there_is_one_and_it_is_wanted() {
    let mut bytes = file(9, &string("a"));
    let len = bytes.len();
    bytes[len - 1] ^= 1;
    let fault = fault_of(&bytes);
    assert_eq!(fault.kind, FaultKind::Checksum);
    assert_eq!(fault.offset, len as u64);
    let ignoring = LoadOptions {
        verify_checksum: false,
        ..options()
    };
    let (_, summary) = loaded(&bytes, &ignoring).unwrap();
    assert_eq!(summary.checksum, Checksum::Ignored);
    bytes[len - 8..].fill(0);
    let (_, summary) = loaded(&bytes, &options()).unwrap();
    assert_eq!(summary.checksum, Checksum::Disabled);
    let (_, summary) = loaded(&file(4, &string("a")), &options()).unwrap();
    assert_eq!(summary.checksum, Checksum::Ignored);
}

#[test]
fn what_follows_the_end_is_somebody_elses() {
    let rdb = file(9, &string("a"));
    let with_tail = [&rdb[..], b"*1\r\n$4\r\nPING\r\n"].concat();
    let (_, summary) = loaded(&with_tail, &options()).unwrap();
    assert_eq!(summary.bytes, rdb.len() as u64);
}

/// Hands out a few bytes at a time, now and then an interruption.
struct Dripping<'a> {
    bytes: &'a [u8],
    turn: usize,
}

impl Read for Dripping<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.turn += 1;
        if self.turn.is_multiple_of(3) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = (self.turn % 7 + 1).min(buf.len()).min(self.bytes.len());
        let (now, rest) = self.bytes.split_at(len);
        buf[..len].copy_from_slice(now);
        self.bytes = rest;
        Ok(len)
    }
}

#[test]
fn input_may_come_in_pieces() {
    let records: Vec<u8> = (0..2000)
        .flat_map(|n| string(&format!("key:{n}")))
        .collect();
    let bytes = file(9, &records);
    let mut keys = 0;
    let input = Dripping {
        bytes: &bytes,
        turn: 0,
    };
    let mut before = 0;
    let summary = load(input, &options(), &mut |record, offset| {
        keys += u64::from(matches!(record, Record::Key { .. }));
        assert!(offset > before);
        before = offset;
        Ok(())
    });
    assert_eq!(summary.unwrap().checksum, Checksum::Verified);
    assert_eq!(keys, 2000);
}

/// Fails after its bytes.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.is_empty() {
            true => Err(io::Error::other("the disk is gone")),
            false => self.0.read(buf),
        }
    }
}

#[test]
fn errors_of_the_disk_and_of_the_receiver_end_it() {
    let bytes = file(9, &string("a"));
    let fault = load(Failing(&bytes[..15]), &options(), &mut |_, _| Ok(())).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Io);
    assert!(fault.message.contains("the disk is gone"));
    let fault = load(&bytes[..], &options(), &mut |_, _| Err("no".into())).unwrap_err();
    assert_eq!((fault.kind, &*fault.message), (FaultKind::Rejected, "no"));
}
