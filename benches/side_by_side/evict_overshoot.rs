//! By how much `used_memory` exceeds `maxmemory` at any moment while four clients, a thread each,
//! write new values of 1 KB at full speed.
//!
//! INFO is asked for every millisecond; what it says is not counted (`mem_not_counted_for_evict`) is
//! taken off. Both servers have four I/O threads, as many as there are writers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::Bench;
use crate::client::{encode, info_field, numbered};
use crate::options::Mode;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};

const VALUE: [u8; 1000] = [b'v'; 1000];
const WRITERS: u64 = 4;
const PIPELINE: u64 = 16;
/// Keys are far from running out.
const KEYS_PER_WRITER: u64 = 100_000_000;
const MIB: f64 = (1 << 20) as f64;

/// What else makes it hard.
const CASES: [(&str, &[&str]); 3] = [
    ("plain", &[]),
    ("with a log", &["--appendonly", "yes"]),
    ("volatile-ttl", &["--maxmemory-policy", "volatile-ttl"]),
];

/// All cases, fresh servers for each round.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Default]) {
        let mut table = bench.table(format!(
            "Memory above maxmemory ({} MiB), {WRITERS} clients write values of 1 KB: {}, but \
             {WRITERS} I/O threads",
            bench.options.limit_mib,
            mode.title()
        ));
        for (label, extra) in CASES {
            if bench.options.wants(label) {
                match measure(bench, mode, label, extra) {
                    Ok(rows) => rows.into_iter().for_each(|row| table.push(row)),
                    Err(error) => table.fail(label, &error),
                }
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

fn measure(bench: &Bench, mode: Mode, label: &str, extra: &[&str]) -> Result<[Row; 3]> {
    let limit_mib = bench.options.limit_mib;
    let allowed = limit_mib as f64 / 100.0 + 1.0;
    let target = (!bench.options.quick).then_some(Target::AtMost(allowed));
    let row = |what: &str, unit| Row::new(format!("{label}: {what}"), unit, bench.contenders.len());
    let mut above = row("most above", "MiB").target(target);
    let mut below = row("mean below", "MiB");
    let mut rate = row("written", "k/s");
    for round in 0..bench.options.rounds {
        for index in bench.order(round) {
            let limit = format!("{limit_mib}mb");
            let mut args = vec!["--maxmemory", &limit, "--maxmemory-policy", "allkeys-lru"];
            args.extend(["--io-threads", "4"]);
            args.extend(extra);
            let server = Contender::start(bench, index, mode, &args)?;
            let seen = observe(bench, &server, extra.contains(&"volatile-ttl"))
                .with_context(|| bench.contenders[index].name.clone())?;
            above.push(index, seen.most_above.max(0.0) / MIB);
            below.push(index, seen.mean_below / MIB);
            rate.push(index, seen.per_second / 1000.0);
        }
    }
    Ok([above, below, rate])
}

struct Observed {
    most_above: f64,
    mean_below: f64,
    per_second: f64,
}

fn observe(bench: &Bench, server: &Server, has_ttl: bool) -> Result<Observed> {
    let limit = (bench.options.limit_mib << 20) as f64;
    let stop = AtomicBool::new(false);
    let stop = &stop;
    thread::scope(|scope| {
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            writers.push(scope.spawn(move || write(server, number, has_ttl, stop)));
        }
        let watched = watch(bench, server, limit);
        stop.store(true, Ordering::Release);
        let mut written = 0.0;
        for writer in writers {
            written += writer.join().map_err(|_| anyhow!("a writer panicked"))??;
        }
        let (most_above, mean_below) = watched?;
        Ok(Observed {
            most_above,
            mean_below,
            per_second: written,
        })
    })
}

/// Until it is told to stop: new keys; how many per second.
fn write(server: &Server, number: u64, has_ttl: bool, stop: &AtomicBool) -> Result<f64> {
    let mut client = server.connect()?;
    let first = number * KEYS_PER_WRITER;
    let begin = Instant::now();
    let mut next = first;
    while !stop.load(Ordering::Acquire) {
        let end = next + 16 * PIPELINE;
        client.fill(next..end, PIPELINE, |out, number| {
            let key = numbered(b"key:", number);
            match has_ttl {
                true => encode(out, &[b"SET", &key, &VALUE, b"EX", b"10000"]),
                false => encode(out, &[b"SET", &key, &VALUE]),
            }
        })?;
        next = end;
    }
    Ok((next - first) as f64 / begin.elapsed().as_secs_f64())
}

/// The most above the limit, from the start on, and the mean below it since keys are evicted.
fn watch(bench: &Bench, server: &Server, limit: f64) -> Result<(f64, f64)> {
    const FILL_LIMIT: Duration = Duration::from_secs(60);
    let mut control = server.connect()?;
    let begin = Instant::now();
    let mut evicting: Option<Instant> = None;
    let (mut most, mut sum, mut count) = (f64::NEG_INFINITY, 0.0, 0.0);
    loop {
        let memory = control.call(&[b"INFO", b"memory"])?;
        let used = info_field(&memory, "used_memory")? as f64;
        let free = info_field(&memory, "mem_not_counted_for_evict")? as f64;
        let above = used - free - limit;
        most = most.max(above);
        match evicting {
            Some(since) if since.elapsed() > bench.options.load * 2 => break,
            Some(_) => {
                sum -= above;
                count += 1.0;
            }
            None if control.info("stats", "evicted_keys")? > 0 => evicting = Some(Instant::now()),
            None => ensure!(begin.elapsed() < FILL_LIMIT, "no key was evicted"),
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok((most, sum / count))
}
