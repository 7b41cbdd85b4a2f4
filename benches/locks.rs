//! What the things cost that threads share on the path of a GET or a SET (ARCHITECTURE.md, "What
//! threads share"): the lock of a shard, the lock around a worker's figures, a counter of the whole
//! server, words that everybody reads.
//!
//! `cargo bench --bench locks` prints a table with 1 to 16 threads, two figures in each cell: nanoseconds
//! of processor time per operation, and operations per microsecond of all threads together. Without
//! contention the first stays what it is for one thread, and the second grows to that of all cores. What
//! a thread sleeps while another one holds a lock costs no processor time and shows in the second.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kivi::ds::lock::ShardLock;
use kivi::util::padded::Padded;
use parking_lot::Mutex;

const THREADS: [usize; 5] = [1, 2, 4, 8, 16];
const SHARDS: usize = 64;
/// Operations between two looks at the clock's verdict.
const CHUNK: u64 = 1000;

struct Shared {
    shards: Vec<Padded<ShardLock<u64>>>,
    mutex: Padded<Mutex<u64>>,
    own_mutexes: Vec<Padded<Mutex<u64>>>,
    counter: Padded<AtomicU64>,
    own_words: Vec<Padded<AtomicU64>>,
    word: Padded<AtomicU64>,
    /// A word that is read beside one that is written.
    neighbours: Padded<[AtomicU64; 2]>,
}

impl Shared {
    fn new() -> Self {
        let threads = THREADS[THREADS.len() - 1];
        Self {
            shards: (0..SHARDS).map(|_| Padded(ShardLock::new(0))).collect(),
            mutex: Padded(Mutex::new(0)),
            own_mutexes: (0..threads).map(|_| Padded(Mutex::new(0))).collect(),
            counter: Padded(AtomicU64::new(0)),
            own_words: (0..threads).map(|_| Padded(AtomicU64::new(0))).collect(),
            word: Padded(AtomicU64::new(0)),
            neighbours: Padded([AtomicU64::new(0), AtomicU64::new(0)]),
        }
    }

    fn add_in(&self, shard: usize) {
        *self.shards[shard].0.lock() += 1;
    }
}

/// What is measured: a label, and an operation of a thread of that number, in its step of that number.
type Operation = (&'static str, fn(&Shared, usize, u64));

const OPERATIONS: &[Operation] = &[
    ("nothing but the loop", |_, _, step| {
        black_box(step);
    }),
    ("a word that all read (gate, epoch)", |shared, _, _| {
        black_box(shared.word.0.load(Ordering::Relaxed));
    }),
    ("the same, and one counter apart", |shared, _, _| {
        black_box(shared.word.0.load(Ordering::Relaxed));
        shared.counter.0.fetch_add(1, Ordering::Relaxed);
    }),
    ("the same, and a counter in its line", |shared, _, _| {
        black_box(shared.neighbours.0[0].load(Ordering::Relaxed));
        shared.neighbours.0[1].fetch_add(1, Ordering::Relaxed);
    }),
    ("a word of the thread's own, stored", |shared, own, step| {
        shared.own_words[own].0.store(step, Ordering::Relaxed);
    }),
    ("a lock of the thread's own (figures)", |shared, own, _| {
        *shared.own_mutexes[own].0.lock() += 1;
    }),
    ("a shard's lock, of 64 at random", |shared, own, step| {
        let random = (step ^ (own as u64) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        shared.add_in((random >> 58) as usize);
    }),
    ("a shard's lock, all want the same", |shared, _, _| {
        shared.add_in(0);
    }),
    ("parking_lot's, all want the same", |shared, _, _| {
        *shared.mutex.0.lock() += 1;
    }),
    ("a counter of the server", |shared, _, _| {
        shared.counter.0.fetch_add(1, Ordering::Relaxed);
    }),
];

/// What so many threads needed: processor time per operation in ns, and operations per µs.
fn measure(operation: fn(&Shared, usize, u64), threads: usize, time: Duration) -> [f64; 2] {
    let shared = Shared::new();
    let stop = AtomicBool::new(false);
    let start = Barrier::new(threads + 1);
    let (elapsed, cpu_ns, done) = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|own| {
                let (shared, stop, start) = (&shared, &stop, &start);
                scope.spawn(move || {
                    start.wait();
                    let before = own_cpu_ns();
                    let mut step = 0;
                    while !stop.load(Ordering::Relaxed) {
                        for _ in 0..CHUNK {
                            operation(black_box(shared), own, step);
                            step += 1;
                        }
                    }
                    (own_cpu_ns() - before, step)
                })
            })
            .collect();
        start.wait();
        let begun = Instant::now();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let (mut cpu_ns, mut done) = (0, 0);
        for worker in workers {
            let (used_ns, steps) = worker.join().unwrap_or_default();
            cpu_ns += used_ns;
            done += steps;
        }
        (begun.elapsed(), cpu_ns, done)
    });
    let done = done as f64;
    [cpu_ns as f64 / done, done / elapsed.as_micros() as f64]
}

/// Processor time of the calling thread.
fn own_cpu_ns() -> u64 {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let word = line.split(' ').next().unwrap_or_default();
    word.parse().unwrap_or(0)
}

/// The middle ones of three.
fn median(operation: fn(&Shared, usize, u64), threads: usize, time: Duration) -> [f64; 2] {
    let all = [0; 3].map(|_| measure(operation, threads, time));
    [0, 1].map(|figure| {
        let mut values = all.map(|figures| figures[figure]);
        values.sort_by(f64::total_cmp);
        values[1]
    })
}

fn main() {
    // `cargo test --all-targets` starts benches without this word.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let cores = thread::available_parallelism().map_or(1, usize::from);
    println!("ns of processor time per operation / operations per µs, {cores} cores\n");
    let heads = THREADS.map(|threads| format!(" {threads} |"));
    println!("| threads |{}", heads.concat());
    println!("|---|{}", "---:|".repeat(THREADS.len()));
    for &(label, operation) in OPERATIONS {
        let cells = THREADS.map(|threads| {
            let [ns, rate] = median(operation, threads, Duration::from_millis(200));
            format!(" {ns:.1} / {rate:.0} |")
        });
        println!("| {label} |{}", cells.concat());
    }
}
