//! RESTORE's payloads: any value is refused, or becomes one that DUMP writes so that it is read as the
//! same again.
//!
//! The first byte chooses the version; the rest is type and value. The footer is put right, so that
//! the fuzzer gets past it.
#![no_main]

use kivi::db::usage::Stamp;
use kivi::ds::hash::{HashFunction, KeyHash};
use kivi::persist::rdb::decode::{self, LoadOptions, RestoreError, RestoredKey};
use kivi::persist::rdb::encode::{self, EncodeOptions};
use kivi::persist::rdb::format::crc64;
use kivi::value::Limits;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [choice, value @ ..] = data else { return };
    let version: u16 = match choice % 3 {
        0 => 11,
        1 => 12,
        _ => 80,
    };
    let mut payload = [value, &version.to_le_bytes()].concat();
    payload.extend_from_slice(&crc64(0, &payload).to_le_bytes());
    let options = LoadOptions {
        limits: Limits::default(),
        key_hash: KeyHash::with_seed(HashFunction::Fast, 1),
        databases: 16,
        verify_checksum: true,
        now_ms: 1_700_000_000_000,
        usage: Stamp::default(),
        drop_expired: false,
        relaxed_version: false,
    };
    let key = RestoredKey {
        key: b"key",
        expire_at_ms: None,
        idle_secs: None,
        frequency: None,
    };
    let entry = match decode::restore(&payload, &key, &options) {
        Ok(entry) => entry,
        Err(RestoreError::Bad(_)) => return,
        Err(RestoreError::Footer) => panic!("the footer is right"),
    };
    let written = EncodeOptions {
        compress: choice & 0x80 != 0,
        usage: None,
    };
    let first = encode::dump(entry.view(), &written);
    let again = decode::restore(&first, &key, &options).expect("what was written is read");
    let again = encode::dump(again.view(), &written);
    // Tables hand out their elements in the same order only if they have come in that order.
    assert_eq!(first.len(), again.len());
});
