//! Damaged input: every byte changed, every length cut, and claims that the bytes do not keep.

use super::corpus::{all, compressed, length, text};
use super::*;
use crate::persist::rdb::format::kind;

/// What a byte is replaced by: every bit flipped on its own, and values that mean something.
fn damaged(byte: u8) -> impl Iterator<Item = u8> {
    let special = [
        0, 1, 2, 5, 10, 12, 16, 17, 18, 20, 22, 25, 0x40, 0x80, 0x81, 0xC0, 0xC3, 0xF0, 0xF4, 0xFE,
        0xFF,
    ];
    let flips = (0..8).map(move |bit| byte ^ 1 << bit);
    flips.chain(special).filter(move |&new| new != byte)
}

/// Decodes and looks at everything that comes out.
fn look(result: std::result::Result<Entry, RestoreError>) {
    if let Ok(entry) = result {
        content(entry.view());
        let duplicate = entry
            .view()
            .value()
            .as_collection()
            .map(|all| all.duplicate());
        drop(duplicate);
    }
}

#[test]
fn payloads_with_any_byte_changed_do_no_harm() {
    let options = LoadOptions {
        drop_expired: false,
        ..options()
    };
    for case in all() {
        for at in 0..=case.body.len() {
            let mut body = [&[case.type_][..], &case.body].concat();
            for new in damaged(body[at]) {
                body[at] = new;
                look(restored(body[0], &body[1..], case.version, &options));
            }
        }
    }
}

#[test]
fn payloads_that_end_early_or_late_are_refused() {
    for case in all() {
        for len in 0..case.body.len() {
            let cut = restored(case.type_, &case.body[..len], case.version, &options());
            let Err(RestoreError::Bad(fault)) = cut else {
                panic!("{}: {len} bytes of it are a value", case.name);
            };
            assert!(fault.offset <= len as u64 + 1, "{}: {fault}", case.name);
        }
        let longer = [&case.body[..], b"x"].concat();
        let refused = restored(case.type_, &longer, case.version, &options());
        assert!(refused.is_err(), "{}", case.name);
        // The payload itself is cut, so that its footer is another one.
        let whole = payload(case.type_, &case.body, case.version);
        for len in 0..whole.len() {
            let key = RestoredKey {
                key: b"k",
                expire_at_ms: None,
                idle_secs: None,
                frequency: None,
            };
            let cut = restore(&whole[..len], &key, &options());
            assert_eq!(cut.err(), Some(RestoreError::Footer), "{}", case.name);
        }
    }
}

/// A file with every value of a version.
fn file_of(version: u16) -> Vec<u8> {
    let mut records = b"\xFA\x03ver\x011\xFE\0\xFB\x05\x01".to_vec();
    for (number, case) in all().into_iter().enumerate() {
        if case.version == version {
            records.extend_from_slice(b"\xFC\0\0\0\0\0\x02\0\0\xF8\x05");
            records.extend(key_record(&number.to_string(), case.type_, &case.body));
        }
    }
    file(version.into(), &records)
}

#[test]
fn files_that_are_damaged_are_refused_with_the_place() {
    for version in [2, 6, 8, 9, 10, 11, 12, 80] {
        let whole = file_of(version);
        let (records, summary) = loaded(&whole, &options()).unwrap();
        assert!(records.len() > 3, "{version}");
        assert_eq!(summary.bytes, whole.len() as u64);
        for len in 0..whole.len() {
            let fault = loaded(&whole[..len], &options()).expect_err("cut");
            assert_eq!(fault.kind, FaultKind::Truncated, "{version}: {fault}");
            assert!(fault.offset <= len as u64, "{version}, {len}: {fault}");
        }
        if version < 5 {
            continue;
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            let fault = loaded(&bytes, &options()).expect_err("changed");
            assert!(fault.offset <= whole.len() as u64, "{version}: {fault}");
        }
    }
}

#[test]
fn files_whose_checksum_nobody_asks_for_do_no_harm() {
    let options = LoadOptions {
        verify_checksum: false,
        drop_expired: false,
        ..options()
    };
    for version in [6, 10, 12, 80] {
        let whole = file_of(version);
        for at in 0..whole.len() {
            for new in damaged(whole[at]) {
                let mut bytes = whole.clone();
                bytes[at] = new;
                if let Ok((records, _)) = loaded(&bytes, &options) {
                    for record in records {
                        if let Record::Key { entry, .. } = record {
                            content(entry.view());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn lengths_that_are_not_there_allocate_nothing() {
    let huge = |len: u64| [&[0x81][..], &len.to_be_bytes()].concat();
    for len in [1 << 20, 1 << 31, 1 << 40, 1 << 62, u64::MAX - 1, u64::MAX] {
        for type_ in 0..=30 {
            for version in [9, 12, 80] {
                for body in [
                    huge(len),
                    [huge(len), b"x".to_vec()].concat(),
                    [length(2), huge(len)].concat(),
                    [vec![0; 8], huge(len)].concat(),
                    [&[0xC3][..], &huge(len), &huge(len)].concat(),
                    [&[0xC3, 3][..], &huge(len), b"\x01ab"].concat(),
                ] {
                    let result = restored(type_, &body, version, &options());
                    assert!(result.is_err(), "{type_}, {version}, {body:?}");
                }
            }
        }
    }
}

#[test]
fn a_compressed_string_must_be_what_it_says() {
    let good = compressed("abcabcabc".repeat(10).as_bytes());
    assert!(restored(kind::STRING, &good, 9, &options()).is_ok());
    for said in [0, 1, 89, 91, 5000, 16_000] {
        let packed = &good[good.len() - usize::from(good[1])..];
        let body = [&[0xC3][..], &length(packed.len()), &length(said), packed].concat();
        let refused = restored(kind::STRING, &body, 9, &options());
        assert!(refused.is_err(), "{said}");
    }
}

#[test]
fn strings_longer_than_any_block_are_read_and_cut_short_refused() {
    let long = vec![b'x'; 3_000_000];
    let records = key_record("k", kind::STRING, &text(&long));
    let whole = file(9, &records);
    let entry = only_key(&whole, &options());
    assert_eq!(content(entry.view()), Content::Text(long));
    for len in [100, 65_536, 262_144, 262_145, 1_000_000, 2_999_999] {
        let fault = loaded(&whole[..len], &options()).expect_err("cut");
        assert_eq!(fault.kind, FaultKind::Truncated);
    }
}
