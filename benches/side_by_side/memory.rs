//! Bytes per key: how much the resident memory (and `used_memory`) of a fresh server grows while a
//! client fills it, divided by the keys.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::Bench;
use crate::client::{Client, encode, numbered};
use crate::options::{Mode, Options};
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};

const VALUE: &[u8; 16] = b"0123456789abcdef";
const BATCH: u64 = 100;

/// What a fill writes.
#[derive(Clone, Copy, Debug)]
enum Data {
    Plain,
    WithTtl,
    Integer,
}

impl Data {
    const ALL: [(Self, &'static str, f64); 3] = [
        (Self::Plain, "16 B key, 16 B value", 54.0),
        (Self::WithTtl, "the same with a TTL", 66.0),
        (Self::Integer, "16 B key, 8-digit integer", 46.0),
    ];

    fn write(self, out: &mut Vec<u8>, number: u64) {
        let key = numbered(b"key:", number);
        let mut digits = itoa::Buffer::new();
        match self {
            Self::Plain => encode(out, &[b"SET", &key, VALUE]),
            Self::WithTtl => {
                let seconds = digits.format(3600 + number % 3600);
                encode(out, &[b"SET", &key, VALUE, b"EX", seconds.as_bytes()]);
            }
            Self::Integer => {
                let integer = digits.format(10_000_000 + number % 90_000_000);
                encode(out, &[b"SET", &key, integer.as_bytes()]);
            }
        }
    }
}

/// Memory of a server at one moment, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    rss: u64,
    used: u64,
}

impl Memory {
    fn now(server: &Server, client: &mut Client) -> Result<Self> {
        Ok(Self {
            rss: server.rss_bytes()?,
            used: client.info("memory", "used_memory")?,
        })
    }

    /// Waits until neither figure has moved by 0.1 % for a second: rehashing has ended, freed pages
    /// have gone back. Takes the last figures when they still move after 15 s.
    pub(crate) fn settled(server: &Server, client: &mut Client, options: &Options) -> Result<Self> {
        let (least, most) = match options.quick {
            true => (Duration::ZERO, Duration::from_millis(300)),
            false => (Duration::from_secs(3), Duration::from_secs(15)),
        };
        let begin = Instant::now();
        let mut still = (Self::now(server, client)?, Instant::now());
        loop {
            thread::sleep(Duration::from_millis(100));
            let memory = Self::now(server, client)?;
            let moved = |old: u64, new: u64| old.abs_diff(new) > old / 1000;
            if moved(still.0.rss, memory.rss) || moved(still.0.used, memory.used) {
                still = (memory, Instant::now());
            }
            let quiet = still.1.elapsed() >= Duration::from_secs(1) && begin.elapsed() >= least;
            if quiet || begin.elapsed() >= most {
                return Ok(memory);
            }
        }
    }

    /// Growth of RSS and of used memory since `base`, divided by `keys`.
    pub(crate) fn per_key_since(self, base: Self, keys: u64) -> (f64, f64) {
        let per_key = |now: u64, then: u64| (now as f64 - then as f64) / keys as f64;
        (per_key(self.rss, base.rss), per_key(self.used, base.used))
    }
}

/// The three data sets, a fresh server for each.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let keys = bench.options.keys;
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Default]) {
        let mut table = bench.table(format!("Memory per key, {keys} keys: {}", mode.title()));
        for (data, name, limit) in Data::ALL {
            let contenders = bench.contenders.len();
            let target = (!bench.options.quick).then_some(Target::AtMost(limit));
            let mut rss = Row::new(format!("RSS, {name}"), "B", contenders).target(target);
            let mut used = Row::new(format!("used_memory, {name}"), "B", contenders);
            for round in 0..bench.options.rounds {
                for index in bench.order(round) {
                    let server = Contender::start(bench, index, mode, &[])?;
                    let grown = grow(&server, bench, data, &[keys])?;
                    rss.push(index, grown[0].0);
                    used.push(index, grown[0].1);
                }
            }
            table.push(rss);
            table.push(used);
        }
        tables.push(table);
    }
    Ok(tables)
}

/// Memory per key while one server grows from 0.5 to 4 million keys.
pub(crate) fn run_curve(bench: &Bench) -> Result<Vec<Table>> {
    let step = bench.options.keys / 2;
    let stops: Vec<u64> = (1..=8).map(|count| count * step).collect();
    let contenders = bench.contenders.len();
    let row = |stop: &u64| Row::new(format!("RSS at {stop} keys"), "B", contenders);
    let mut rows: Vec<Row> = stops.iter().map(row).collect();
    for round in 0..bench.options.rounds {
        for index in bench.order(round) {
            let server = Contender::start(bench, index, Mode::Default, &[])?;
            let grown = grow(&server, bench, Data::Plain, &stops)?;
            for (row, (rss, _)) in rows.iter_mut().zip(grown) {
                row.push(index, rss);
            }
        }
    }
    let mut table = bench.table("Memory per key while a server grows, 16 B key, 16 B value");
    rows.into_iter().for_each(|row| table.push(row));
    Ok(vec![table])
}

/// Fills up to each stop in turn; RSS and used memory per key there.
fn grow(server: &Server, bench: &Bench, data: Data, stops: &[u64]) -> Result<Vec<(f64, f64)>> {
    let mut control = server.connect()?;
    let base = Memory::settled(server, &mut control, &bench.options)?;
    let mut keys = 0;
    let mut figures = Vec::new();
    for &stop in stops {
        // A connection of its own: its buffers are gone before the memory is read.
        server
            .connect()?
            .fill(keys..stop, BATCH, |out, number| data.write(out, number))?;
        keys = stop;
        control.expect_keys(keys)?;
        let memory = Memory::settled(server, &mut control, &bench.options)?;
        figures.push(memory.per_key_since(base, keys));
    }
    Ok(figures)
}
