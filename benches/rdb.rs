//! How fast keys become RDB: `cargo bench --bench rdb`. A snapshot of 5 million keys in half a second
//! leaves 100 ns for each, with walking the table and writing the file.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kivi::ds::entry::{Entry, Meta, NewValue};
use kivi::ds::listpack;
use kivi::persist::rdb::encode::{self, EncodeOptions};
use kivi::persist::rdb::format::crc64;
use kivi::sys::alloc::Jemalloc;
use kivi::util::rng::Rng;
use kivi::value::{Encoding, Type};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const KEYS: usize = 10_000;
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Keys of 16 bytes with values made by `value`.
fn entries(type_: Type, enc: Encoding, mut value: impl FnMut(&mut Rng) -> Vec<u8>) -> Vec<Entry> {
    let mut rng = Rng::from_seed(1);
    let meta = Meta {
        type_: type_ as u8,
        enc: enc as u8,
        lru: 0,
    };
    (0..KEYS)
        .map(|number| {
            let value = value(&mut rng);
            let key = format!("key:{number:012}");
            Entry::new(key.as_bytes(), meta, NewValue::Bytes(&value), Some(1 << 40))
        })
        .collect()
}

fn bench_entries(c: &mut Criterion) {
    let random = |len: usize| {
        move |rng: &mut Rng| -> Vec<u8> { (0..len).map(|_| LETTERS[rng.index(62)]).collect() }
    };
    let hash = |rng: &mut Rng| {
        let texts: Vec<Vec<u8>> = (0..20).map(|_| random(10)(rng)).collect();
        listpack::from_elements(texts.iter().map(|text| &text[..]))
    };
    let string = (Type::String, Encoding::Raw);
    let sets = [
        ("16 random bytes", entries(string.0, string.1, random(16))),
        ("64 random bytes", entries(string.0, string.1, random(64))),
        (
            "64 equal bytes",
            entries(string.0, string.1, |_| vec![b'x'; 64]),
        ),
        (
            "1000 random bytes",
            entries(string.0, string.1, random(1000)),
        ),
        (
            "hash of 10 fields",
            entries(Type::Hash, Encoding::Listpack, hash),
        ),
    ];
    for compress in [false, true] {
        let name = if compress { "compressed" } else { "plain" };
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(KEYS as u64));
        let options = EncodeOptions {
            compress,
            usage: None,
        };
        for (name, entries) in &sets {
            let mut out = Vec::new();
            group.bench_function(*name, |b| {
                b.iter(|| {
                    out.clear();
                    for entry in entries {
                        encode::entry(&mut out, entry.view(), &options);
                    }
                    black_box(out.len())
                });
            });
        }
    }
}

fn bench_checksum(c: &mut Criterion) {
    let mut bytes = vec![0; 256 * 1024];
    Rng::from_seed(2).fill(&mut bytes);
    let mut group = c.benchmark_group("checksum");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("256 KiB", |b| b.iter(|| crc64(0, black_box(&bytes))));
}

criterion_group!(benches, bench_entries, bench_checksum);
criterion_main!(benches);
