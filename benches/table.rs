//! The keyspace table against the standard library's map (hashbrown), over 64 shards as the server
//! has them, with real entries and the server's allocator.
//!
//! `cargo bench --bench table` prints the memory of the table per key while it grows, then the
//! tail of insert times, then times per operation. `KIVI_BENCH_KEYS` sets the number of keys of the
//! timed part (1 million).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hdrhistogram::Histogram;
use kivi::ds::entry::{Entry, Meta, NewValue, ValueRef};
use kivi::ds::hash::{HashFunction, KeyHash};
use kivi::ds::table::Table;
use kivi::sys::alloc::{Jemalloc, allocated_bytes, purge};

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const SHARD_BITS: u32 = 6;
const BATCH: usize = 16;

struct Shards {
    hash: KeyHash,
    tables: Vec<Table<Entry>>,
}

impl Shards {
    fn new() -> Self {
        let hash = KeyHash::with_seed(HashFunction::Fast, 1);
        let tables = (0..1 << SHARD_BITS)
            .map(|_| Table::new(SHARD_BITS, hash))
            .collect();
        Self { hash, tables }
    }

    fn filled(keys: u64, expire_at_ms: Option<u64>) -> Self {
        let mut shards = Self::new();
        (0..keys).for_each(|number| shards.insert(number, expire_at_ms));
        shards
    }

    #[inline]
    fn shard(hash: u64) -> usize {
        (hash >> (64 - SHARD_BITS)) as usize
    }

    fn insert(&mut self, number: u64, expire_at_ms: Option<u64>) {
        let key = key(number);
        let value = NewValue::Bytes(b"0123456789abcdef");
        let entry = Entry::new(&key, Meta::default(), value, expire_at_ms);
        let hash = self.hash.hash(&key);
        self.tables[Self::shard(hash)].insert(hash, entry);
    }

    #[inline]
    fn get(&self, hash: u64, key: &[u8]) -> usize {
        let table = &self.tables[Self::shard(hash)];
        match table.find(hash, key).map(|slot| table.get(slot).value()) {
            Some(ValueRef::Bytes(bytes)) => usize::from(bytes[0]),
            _ => 0,
        }
    }

    fn table_bytes(&self) -> usize {
        self.tables.iter().map(Table::memory_bytes).sum()
    }
}

/// A key of 16 bytes.
fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn keys() -> u64 {
    std::env::var("KIVI_BENCH_KEYS")
        .ok()
        .and_then(|keys| keys.parse().ok())
        .unwrap_or(1_000_000)
}

/// Numbers below `limit` in a random order that repeats nothing within a run.
fn shuffled(limit: u64) -> impl FnMut() -> u64 {
    let mut state = 88172645463325252u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((u128::from(state) * u128::from(limit)) >> 64) as u64
    }
}

/// The resident memory of this process.
fn rss_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// Prints the memory per key from half a million to four million keys.
fn memory(_: &mut Criterion) {
    for (what, expire_at_ms) in [("no expiry", None), ("expiry", Some(1_800_000_000_000u64))] {
        println!("bytes/key over 64 shards, 16 B + 16 B, {what}:");
        println!(
            "{:>9} {:>7} {:>9} {:>7} {:>9}",
            "keys", "table", "all used", "RSS", "segments"
        );
        purge();
        let (before, rss_before) = (allocated_bytes(), rss_bytes());
        let mut shards = Shards::new();
        let (mut least, mut most) = (f64::MAX, 0.0f64);
        for number in 0..4_000_000u64 {
            shards.insert(number, expire_at_ms);
            let keys = number + 1;
            if keys % 20_000 == 0 && keys >= 500_000 {
                let table = shards.table_bytes() as f64 / keys as f64;
                (least, most) = (least.min(table), most.max(table));
                if keys % 250_000 == 0 {
                    let used = (allocated_bytes() - before) as f64 / keys as f64;
                    let segments: usize = shards.tables.iter().map(Table::segments).sum();
                    // Settled: without the pages that the allocator gives back within a second.
                    purge();
                    let rss = rss_bytes().saturating_sub(rss_before) as f64 / keys as f64;
                    println!("{keys:>9} {table:>7.2} {used:>9.2} {rss:>7.2} {segments:>9}");
                }
            }
        }
        println!("table: least {least:.2}, most {most:.2}\n");
    }
}

/// Prints how long single inserts take at worst.
fn tail(_: &mut Criterion) {
    let keys = keys();
    let mut times = Histogram::<u64>::new(3).expect("3 digits");
    let mut shards = Shards::new();
    for number in 0..keys {
        let start = Instant::now();
        shards.insert(number, None);
        times
            .record(start.elapsed().as_nanos() as u64)
            .expect("it resizes");
    }
    let [p50, p99, p999, p9999] = [0.5, 0.99, 0.999, 0.9999].map(|q| times.value_at_quantile(q));
    println!(
        "insert ns, table: p50 {p50} p99 {p99} p99.9 {p999} p99.99 {p9999} max {}",
        times.max()
    );
    times.reset();
    let mut map = HashMap::with_hasher(std::hash::RandomState::new());
    for number in 0..keys {
        let start = Instant::now();
        map.insert(
            Box::<[u8]>::from(&key(number)[..]),
            Box::<[u8]>::from(&key(number)[..]),
        );
        times
            .record(start.elapsed().as_nanos() as u64)
            .expect("it resizes");
    }
    let [p50, p99, p999, p9999] = [0.5, 0.99, 0.999, 0.9999].map(|q| times.value_at_quantile(q));
    println!(
        "insert ns, HashMap: p50 {p50} p99 {p99} p99.9 {p999} p99.99 {p9999} max {}\n",
        times.max()
    );
}

fn insert(c: &mut Criterion) {
    let keys = keys();
    let mut group = c.benchmark_group("insert");
    group.throughput(Throughput::Elements(keys)).sample_size(10);
    group.bench_function(BenchmarkId::new("table", keys), |b| {
        b.iter_with_large_drop(|| Shards::filled(keys, None));
    });
    group.bench_function(BenchmarkId::new("table, with expiry", keys), |b| {
        b.iter_with_large_drop(|| Shards::filled(keys, Some(1_800_000_000_000)));
    });
    group.bench_function(BenchmarkId::new("HashMap", keys), |b| {
        b.iter_with_large_drop(|| baseline(keys));
    });
    group.finish();
}

/// The map with the table's hash function and one allocation per entry.
fn baseline(keys: u64) -> HashMap<[u8; 16], Box<[u8; 16]>, RapidBuild> {
    let hash = KeyHash::with_seed(HashFunction::Fast, 1);
    let mut map = HashMap::with_hasher(RapidBuild(hash));
    for number in 0..keys {
        map.insert(key(number), Box::new(*b"0123456789abcdef"));
    }
    map
}

#[derive(Clone)]
struct RapidBuild(KeyHash);

struct RapidHasher(KeyHash, u64);

impl std::hash::BuildHasher for RapidBuild {
    type Hasher = RapidHasher;
    fn build_hasher(&self) -> RapidHasher {
        RapidHasher(self.0, 0)
    }
}

impl std::hash::Hasher for RapidHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.1 = self.0.hash(bytes);
    }
    // The length prefix of the array's hash.
    fn write_usize(&mut self, _: usize) {}
    fn finish(&self) -> u64 {
        self.1
    }
}

fn lookup(c: &mut Criterion) {
    let keys = keys();
    let shards = Shards::filled(keys, None);
    let map = baseline(keys);
    let mut group = c.benchmark_group("lookup");
    group
        .throughput(Throughput::Elements(BATCH as u64))
        .measurement_time(Duration::from_secs(3));
    for (what, offset) in [("hit", 0), ("miss", keys)] {
        let mut next = shuffled(keys);
        group.bench_function(BenchmarkId::new(format!("table, {what}"), keys), |b| {
            b.iter(|| {
                let mut sum = 0;
                for _ in 0..BATCH {
                    let key = key(offset + next());
                    sum += shards.get(shards.hash.hash(&key), &key) as u64;
                }
                sum
            });
        });
        let mut next = shuffled(keys);
        group.bench_function(
            BenchmarkId::new(format!("table, batch, {what}"), keys),
            |b| {
                b.iter(|| {
                    let batch: [_; BATCH] = std::array::from_fn(|_| {
                        let key = key(offset + next());
                        (shards.hash.hash(&key), key)
                    });
                    for (hash, _) in &batch {
                        shards.tables[Shards::shard(*hash)].prefetch_bucket(*hash);
                    }
                    for (hash, _) in &batch {
                        shards.tables[Shards::shard(*hash)].prefetch_entry(*hash);
                    }
                    batch
                        .iter()
                        .map(|(hash, key)| shards.get(*hash, key))
                        .sum::<usize>()
                });
            },
        );
        let mut next = shuffled(keys);
        group.bench_function(BenchmarkId::new(format!("HashMap, {what}"), keys), |b| {
            b.iter(|| {
                let mut sum = 0;
                for _ in 0..BATCH {
                    let key = key(offset + next());
                    sum += map.get(&key).map_or(0, |value| u64::from(value[0]));
                }
                sum
            });
        });
    }
    group.finish();
}

fn expiry(c: &mut Criterion) {
    let keys = keys();
    let mut group = c.benchmark_group("expiry");
    group.sample_size(10).throughput(Throughput::Elements(keys));
    group.bench_function(BenchmarkId::new("all due at once", keys), |b| {
        b.iter_batched(
            || Shards::filled(keys, Some(1_800_000_000_000)),
            |mut shards| {
                let mut taken = 0;
                for table in &mut shards.tables {
                    taken += table.take_expired(1_800_000_000_000, usize::MAX, &mut drop);
                }
                assert_eq!(taken as u64, keys);
                shards
            },
            criterion::BatchSize::LargeInput,
        );
    });
    // A steady state: expiries spread over an hour, a tick each 10 ms.
    let mut shards = Shards::new();
    let mut next = shuffled(3_600_000);
    let mut now_ms = 1_800_000_000_000u64;
    for table in &mut shards.tables {
        table.set_clock_ms(now_ms);
    }
    (0..keys).for_each(|number| shards.insert(number, Some(now_ms + next())));
    group.throughput(Throughput::Elements(1));
    group.bench_function(
        BenchmarkId::new("tick of 10 ms over 64 tables", keys),
        |b| {
            let mut number = keys;
            b.iter(|| {
                now_ms += 10;
                let mut taken = 0;
                for table in &mut shards.tables {
                    taken += table.take_expired(now_ms, usize::MAX, &mut drop);
                }
                for _ in 0..taken {
                    shards.insert(number, Some(now_ms + next()));
                    number += 1;
                }
                taken
            });
        },
    );
    group.finish();
}

criterion_group!(benches, memory, tail, insert, lookup, expiry);
criterion_main!(benches);
