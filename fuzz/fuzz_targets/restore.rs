//! RESTORE's payloads: any value is refused, or becomes one that DUMP writes so that it is read as the
//! same again.
//!
//! The first byte chooses the version; the rest is type and value. The footer is put right, so that
//! the fuzzer gets past it.
#![no_main]

use kivi::persist::rdb::encode::{self, EncodeOptions};
use kivi::persist::rdb::format::kind;
use kivi_fuzz::{payload, payloads, restored};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| {
    let [choice, value @ ..] = data else { return };
    let version: u16 = match choice % 3 {
        0 => 11,
        1 => 12,
        _ => 80,
    };
    let Some(entry) = restored(&payload(value, version)) else {
        return;
    };
    let written = EncodeOptions {
        compress: choice & 0x80 != 0,
        usage: None,
    };
    let first = encode::dump(entry.view(), &written);
    let read = |payload: &[u8]| restored(payload).expect("what was written is read");
    let second = encode::dump(read(&first).view(), &written);
    let third = encode::dump(read(&second).view(), &written);
    // Tables hand out their elements in the same order only if they have come in that order.
    assert_eq!(second.len(), third.len());
    // Tables are written member by member and may be compact when they are read: sets of integers, hashes
    // that were restored in the form of those whose fields expire.
    let is_members = matches!(first[0], kind::SET | kind::HASH);
    assert!(is_members || first.len() == second.len());
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    payloads::mutate(false, data, size, max_size, seed)
});
