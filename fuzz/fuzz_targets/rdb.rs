//! RDB files: any bytes are refused or become keys that can be read and written again.
//!
//! The first byte chooses the version; the rest is what stands behind the magic word. Checksums are
//! not looked at, so that the fuzzer gets past them.
#![no_main]

use kivi::persist::rdb::decode::{self, LoadOptions, Record, RestoredKey};
use kivi::persist::rdb::encode::{self, EncodeOptions};
use kivi_fuzz::{KEY, load_options, payloads};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| {
    let [choice, records @ ..] = data else { return };
    let magic: &[u8] = match choice % 6 {
        0 => b"REDIS0003",
        1 => b"REDIS0006",
        2 => b"REDIS0010",
        3 => b"REDIS0011",
        4 => b"REDIS0012",
        _ => b"VALKEY080",
    };
    let file = [magic, records].concat();
    let mut options = LoadOptions {
        verify_checksum: false,
        drop_expired: choice & 0x40 != 0,
        ..load_options()
    };
    if choice & 0x80 != 0 {
        let limits = &mut options.limits;
        limits.hash_max_listpack_entries = 2;
        limits.set_max_intset_entries = 2;
        limits.set_max_listpack_entries = 2;
        limits.zset_max_listpack_entries = 2;
        limits.list_max_listpack_size = 2;
        limits.list_compress_depth = 1;
    }
    let written = EncodeOptions {
        compress: true,
        usage: None,
    };
    let _ = decode::load(&file[..], &options, &mut |record, offset| {
        assert!(offset <= file.len() as u64);
        if let Record::Key { entry, .. } = record {
            let payload = encode::dump(entry.view(), &written);
            let key = RestoredKey {
                key: entry.view().key(),
                ..KEY
            };
            let options = LoadOptions {
                drop_expired: false,
                ..options
            };
            decode::restore(&payload, &key, &options).expect("what was written is read");
        }
        Ok(())
    });
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    payloads::mutate(true, data, size, max_size, seed)
});
