//! How long other clients wait while one key grows to millions of elements, while it is deleted and
//! while it expires.
//!
//! One connection GETs an existing key at a steady pace, another does the rest: first it writes one
//! small string over and over, which is the control (the same traffic and the same contention for
//! the CPUs, but nothing grows); then one key, element by element in batches of 100; DEL of it; the
//! same key again; PEXPIRE of it. Deletion and expiry last until the memory has stopped falling.
//!
//! The memory is read from `/proc/PID/status`: the exact figure would walk the server's pages under
//! a lock and cause the very stalls that are looked for.

use std::array;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::Bench;
use crate::client::{Client, Reply, encode};
use crate::data::{Kind, add_one};
use crate::options::Mode;
use crate::process;
use crate::report::{Row, Table, Target, percentile};
use crate::server::{Contender, Server};

const VALUE: &[u8; 16] = b"0123456789abcdef";
const BATCH: u64 = 100;
/// Between two probes: often enough to meet every stall of half a millisecond, seldom enough to
/// leave the CPUs to the server.
const PACE: Duration = Duration::from_micros(100);
/// What a request may take at most.
const LIMIT_MS: f64 = 5.0;
const EXPIRY_LIMIT: Duration = Duration::from_secs(30);

const KINDS: [(Kind, &str); 4] = [
    (Kind::WideFields, "hash"),
    (Kind::Items, "list"),
    (Kind::Members, "set"),
    (Kind::Fractions, "zset"),
];

/// What is going on while the probe runs; an index into the latencies.
const CONTROL: usize = 0;
const GROWTH: usize = 1;
const DELETION: usize = 2;
const EXPIRY: usize = 3;
/// Ends the probe.
const DONE: usize = 4;
const PHASES: [&str; DONE] = ["control", "growth", "DEL", "expiry"];

/// Runs the rounds, a fresh server for each.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let elements = bench.options.fill_keys;
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Default]) {
        let title = format!(
            "GET while one key grows to {elements} elements and goes: {}",
            mode.title()
        );
        let mut table = bench.table(title);
        for (kind, name) in KINDS {
            if bench.options.wants(name) {
                match measure(bench, mode, kind, name) {
                    Ok(rows) => rows.into_iter().for_each(|row| table.push(row)),
                    Err(error) => table.fail(name, &error),
                }
            }
        }
        table.note(
            "Control: the same traffic onto one small string. What it shows is the machine's \
             share (three busy threads), not that of large keys.",
        );
        tables.push(table);
    }
    Ok(tables)
}

/// The rows of one kind of key.
fn measure(bench: &Bench, mode: Mode, kind: Kind, name: &str) -> Result<Vec<Row>> {
    let row = |what: String, unit| Row::new(what, unit, bench.contenders.len());
    let mut tails = PHASES.map(|phase| row(format!("{name}, {phase}: p99.9"), "ms"));
    let mut worst = PHASES.map(|phase| row(format!("{name}, {phase}: slowest"), "ms"));
    let mut time = row(format!("{name}: time of a growth"), "s");
    for round in 0..bench.options.rounds {
        for index in bench.order(round) {
            let server = Contender::start(bench, index, mode, &[])?;
            let seen = observe(&server, kind, bench.options.fill_keys)
                .with_context(|| bench.contenders[index].name.clone())?;
            for (phase, latencies_ns) in seen.latencies_ns.iter().enumerate() {
                tails[phase].push(index, percentile(latencies_ns, 99.9) / 1e6);
                worst[phase].push(index, percentile(latencies_ns, 100.0) / 1e6);
            }
            time.push(index, seen.growth_s);
        }
    }
    let target = (!bench.options.quick).then_some(Target::AtMost(LIMIT_MS));
    let mut rows = Vec::new();
    for (phase, (tail, worst)) in tails.into_iter().zip(worst).enumerate() {
        rows.push(tail);
        rows.push(worst.target(target.filter(|_| phase != CONTROL)));
    }
    rows.push(time);
    Ok(rows)
}

struct Observed {
    /// Per phase, sorted.
    latencies_ns: [Vec<u32>; DONE],
    growth_s: f64,
}

/// One fresh server through all the phases.
fn observe(server: &Server, kind: Kind, elements: u64) -> Result<Observed> {
    let mut reader = server.connect()?;
    reader.call(&[b"SET", b"probe", VALUE])?;
    let phase = AtomicUsize::new(CONTROL);
    let (mut latencies_ns, growth_s) = thread::scope(|scope| {
        let reading = scope.spawn(|| read(&phase, &mut reader));
        let growth_s = write(server, kind, elements, &phase);
        phase.store(DONE, Ordering::Release);
        let latencies = reading.join().map_err(|_| anyhow!("the reader panicked"))?;
        anyhow::Ok((latencies?, growth_s?))
    })?;
    for (latencies, phase) in latencies_ns.iter_mut().zip(PHASES) {
        ensure!(!latencies.is_empty(), "the reader got no reply: {phase}");
        latencies.sort_unstable();
    }
    Ok(Observed {
        latencies_ns,
        growth_s,
    })
}

/// The probe: latencies of each phase until the last one has ended.
fn read(phase: &AtomicUsize, reader: &mut Client) -> Result<[Vec<u32>; DONE]> {
    let mut request = Vec::new();
    encode(&mut request, &[b"GET", b"probe"]);
    let mut latencies_ns = array::from_fn(|_| Vec::with_capacity(1 << 18));
    loop {
        let Some(latencies) = latencies_ns.get_mut(phase.load(Ordering::Acquire)) else {
            return Ok(latencies_ns);
        };
        let begin = Instant::now();
        reader.probe(&request)?;
        latencies.push(u32::try_from(begin.elapsed().as_nanos()).unwrap_or(u32::MAX));
        thread::sleep(PACE);
    }
}

/// All that is written and removed meanwhile; the mean time of a growth.
fn write(server: &Server, kind: Kind, elements: u64, phase: &AtomicUsize) -> Result<f64> {
    const KEY: &[u8] = b"growing";
    let mut client = server.connect()?;
    client.fill(0..elements / 5, BATCH, |out, _| {
        encode(out, &[b"SET", b"small", VALUE]);
    })?;
    let mut growth = Duration::ZERO;
    for end in [DELETION, EXPIRY] {
        phase.store(GROWTH, Ordering::Release);
        let begin = Instant::now();
        client.fill(0..elements, BATCH, |out, number| {
            add_one(out, kind, KEY, number);
        })?;
        growth += begin.elapsed();
        let count = client.call(&[kind.count_command(), KEY])?;
        ensure!(
            count == Reply::Int(elements.try_into()?),
            "{count:?} elements after a fill of {elements}"
        );
        phase.store(end, Ordering::Release);
        let request: &[&[u8]] = match end {
            DELETION => &[b"DEL", KEY],
            _ => &[b"PEXPIRE", KEY, b"20"],
        };
        let one = client.call(request)?;
        ensure!(one == Reply::Int(1), "the end of the key answered {one:?}");
        let begin = Instant::now();
        while client.dbsize()? > 2 {
            ensure!(begin.elapsed() < EXPIRY_LIMIT, "the key did not expire");
            thread::sleep(Duration::from_millis(2));
        }
        settle(server)?;
    }
    Ok(growth.as_secs_f64() / 2.0)
}

/// Waits for half a second, and until the memory has not fallen by 0.5 % for as long, at most 5 s.
fn settle(server: &Server) -> Result<()> {
    const STILL: Duration = Duration::from_millis(500);
    let begin = Instant::now();
    let mut last = (process::rss_bytes_quick(server.pid())?, begin);
    while last.1.elapsed() < STILL && begin.elapsed() < 10 * STILL {
        thread::sleep(Duration::from_millis(20));
        let rss = process::rss_bytes_quick(server.pid())?;
        if rss + last.0 / 200 < last.0 {
            last = (rss, Instant::now());
        }
    }
    Ok(())
}
