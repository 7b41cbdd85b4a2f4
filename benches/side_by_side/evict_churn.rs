//! Resident memory over used memory under minutes of overwrites with changing sizes: what
//! fragmentation costs.
//!
//! Values are overwritten at random, at the same pace for all servers and at the same time, with sizes
//! that are as likely between 10 and 31 as between 310 and 1,000 bytes (log-uniform); of drifting ones
//! the middle wanders from small to large and back, twice in a run, so that memory of one size has to
//! become memory of another. `growing` values are appended to until they are long and then written
//! anew; `collections` are hashes, sets and lists whose elements come and go.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::Bench;
use crate::client::{Client, encode, numbered};
use crate::load::Random;
use crate::options::Mode;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};

/// Commands per batch, and so the grain of the pace.
const BATCH: u64 = 100;
const MOST_BYTES: usize = 1000;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Random,
    Drifting,
    Growing,
    Collections,
}

const LOADS: [(Load, &str); 4] = [
    (Load::Random, "random sizes"),
    (Load::Drifting, "drifting sizes"),
    (Load::Growing, "growing values"),
    (Load::Collections, "collections"),
];

/// All loads; the servers of a load run at the same time.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let options = &bench.options;
    let mut tables = Vec::new();
    for mode in options.modes_or(&[Mode::Default]) {
        let mut table = bench.table(format!(
            "{:.1} minutes of overwrites with changing sizes, {} keys, {}/s: {}",
            options.churn.as_secs_f64() / 60.0,
            options.keys,
            options.churn_rate,
            mode.title()
        ));
        for (load, label) in LOADS {
            if options.wants(label) {
                match measure(bench, mode, load, label) {
                    Ok(rows) => rows.into_iter().for_each(|row| table.push(row)),
                    Err(error) => table.fail(label, &error),
                }
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

fn measure(bench: &Bench, mode: Mode, load: Load, label: &str) -> Result<[Row; 4]> {
    let target = (!bench.options.quick).then_some(Target::RatioAtMost(1.0));
    let row = |what: &str, unit| Row::new(format!("{label}: {what}"), unit, bench.contenders.len());
    let mut end = row("RSS / used at the end", "x").target(target);
    let mut worst = row("RSS / used at its worst", "x");
    let mut rss = row("RSS at the end", "MiB");
    let mut used = row("used at the end", "MiB");
    for round in 0..bench.options.rounds {
        // From this thread: the kernel ends children with the thread that started them.
        let mut servers = Vec::new();
        for index in bench.order(round) {
            servers.push((index, Contender::start(bench, index, mode, &[])?));
        }
        let outcomes = thread::scope(|scope| -> Result<Vec<(usize, Churned)>> {
            let mut writers = Vec::new();
            for (index, server) in &servers {
                writers.push((*index, scope.spawn(move || churn(bench, server, load))));
            }
            let mut outcomes = Vec::new();
            for (index, writer) in writers {
                let churned = writer.join().map_err(|_| anyhow!("a writer panicked"))?;
                let churned = churned.with_context(|| bench.contenders[index].name.clone())?;
                outcomes.push((index, churned));
            }
            Ok(outcomes)
        })?;
        for (index, churned) in outcomes {
            end.push(index, churned.end.ratio());
            worst.push(index, churned.worst);
            rss.push(index, churned.end.rss / f64::from(1 << 20));
            used.push(index, churned.end.used / f64::from(1 << 20));
        }
    }
    Ok([end, worst, rss, used])
}

#[derive(Clone, Copy)]
struct Memory {
    rss: f64,
    used: f64,
}

impl Memory {
    fn now(server: &Server, control: &mut Client) -> Result<Self> {
        Ok(Self {
            rss: server.rss_bytes()? as f64,
            used: control.info("memory", "used_memory")? as f64,
        })
    }

    fn ratio(self) -> f64 {
        self.rss / self.used
    }
}

struct Churned {
    /// When the overwrites had ended, a second later.
    end: Memory,
    /// The highest ratio in the second half.
    worst: f64,
}

/// Writes all keys, then overwrites for the time of the options.
fn churn(bench: &Bench, server: &Server, load: Load) -> Result<Churned> {
    const SAMPLE: Duration = Duration::from_secs(1);
    let options = &bench.options;
    let mut control = server.connect()?;
    let mut writer = Writer {
        client: server.connect()?,
        random: Random(8),
        load,
        keys: options.keys,
    };
    let first = match load {
        // Fewer keys, each of many elements.
        Load::Collections => 20 * (options.keys / 10),
        _ => options.keys,
    };
    writer.write(first, 0.0, true)?;
    let begin = Instant::now();
    let period = Duration::from_secs_f64(BATCH as f64 / options.churn_rate as f64);
    let mut next = begin;
    let mut sample = begin;
    let mut worst = 0.0f64;
    while begin.elapsed() < options.churn {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        next += period;
        let progress = begin.elapsed().as_secs_f64() / options.churn.as_secs_f64();
        writer.write(BATCH, progress, false)?;
        if sample.elapsed() >= SAMPLE {
            sample = Instant::now();
            if progress > 0.5 {
                worst = worst.max(Memory::now(server, &mut control)?.ratio());
            }
        }
    }
    let behind = Instant::now().saturating_duration_since(next);
    ensure!(
        behind < options.churn / 4 || options.quick,
        "the server is {behind:?} behind: choose a lower --churn-rate"
    );
    thread::sleep(SAMPLE);
    let end = Memory::now(server, &mut control)?;
    Ok(Churned {
        end,
        worst: worst.max(end.ratio()),
    })
}

struct Writer {
    client: Client,
    random: Random,
    load: Load,
    keys: u64,
}

impl Writer {
    /// `count` commands; `all` takes the keys in turn instead of by chance.
    fn write(&mut self, count: u64, progress: f64, all: bool) -> Result<()> {
        const BYTES: [u8; MOST_BYTES] = [b'v'; MOST_BYTES];
        let Self {
            client,
            random,
            load,
            keys,
        } = self;
        client.fill(0..count, BATCH, |out, number| {
            let chosen = if all {
                number % *keys
            } else {
                random.below(*keys)
            };
            let value = &BYTES[..size(*load, random, progress)];
            match load {
                Load::Random | Load::Drifting => {
                    encode(out, &[b"SET", &numbered(b"key:", chosen), value]);
                }
                Load::Growing => grow(out, random, chosen, &value[..value.len() / 10 + 1]),
                Load::Collections => collect(out, random, chosen % (*keys / 10).max(1), value),
            }
        })
    }
}

/// The size of a value.
fn size(load: Load, random: &mut Random, progress: f64) -> usize {
    let unit = (random.next() >> 11) as f64 / (1u64 << 53) as f64;
    let (low, high) = match load {
        // From 10..30 to 333..1000 and back, twice.
        Load::Drifting => {
            let middle = 0.5 - 0.5 * (progress * 4.0 * std::f64::consts::PI).cos();
            let low = 10.0 * (1000.0f64 / 30.0).powf(middle);
            (low, 3.0 * low)
        }
        _ => (10.0, 1000.0),
    };
    let size = low * (high / low).powf(unit);
    (size as usize).clamp(1, MOST_BYTES)
}

/// Mostly more bytes for a key; one in ten begins anew.
fn grow(out: &mut Vec<u8>, random: &mut Random, key: u64, value: &[u8]) {
    let key = numbered(b"key:", key);
    match random.below(10) {
        0 => encode(out, &[b"SET", &key, value]),
        _ => encode(out, &[b"APPEND", &key, value]),
    }
}

/// An element for a hash, a set or a list, or one out of it; each has some twenty in the end.
fn collect(out: &mut Vec<u8>, random: &mut Random, key: u64, value: &[u8]) {
    let element = numbered(b"elt:", random.below(40));
    let is_addition = random.below(2) == 0;
    let value = &value[..value.len() / 4 + 1];
    match (key % 3, is_addition) {
        (0, true) => encode(out, &[b"HSET", &numbered(b"hsh:", key), &element, value]),
        (0, false) => encode(out, &[b"HDEL", &numbered(b"hsh:", key), &element]),
        (1, true) => encode(out, &[b"SADD", &numbered(b"set:", key), &element, value]),
        (1, false) => encode(out, &[b"SPOP", &numbered(b"set:", key)]),
        (_, true) => encode(out, &[b"RPUSH", &numbered(b"lst:", key), value]),
        (_, false) => encode(out, &[b"LPOP", &numbered(b"lst:", key)]),
    }
}
