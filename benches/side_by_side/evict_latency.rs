//! The slowest requests while keys are evicted, and while a limit is lowered.
//!
//! One client writes new keys at full speed, in batches of 100, to a server that is full; a second one
//! SETs new keys one at a time, and a third GETs one key, both at a steady pace. What these two wait
//! for is the server's longest pause, and the machine's: the control is the same traffic onto one key,
//! so that nothing is evicted. With large values every thousandth of the keys is a hash of 2,000
//! fields. Then the limit is halved at once, the writer being still: how long the others wait until it
//! is reached, and when that is.

use std::array;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::Bench;
use crate::client::{Client, encode, encode_head, encode_word, numbered};
use crate::options::Mode;
use crate::report::{Row, Table, Target, percentile};
use crate::server::{Contender, Server};

const VALUE: [u8; 100] = [b'v'; 100];
const BATCH: u64 = 100;
/// Between two probes of a client.
const PACE: Duration = Duration::from_micros(100);
const FIELDS: u64 = 2000;
/// The longest that reaching a lower limit may take.
const LOWER_LIMIT: Duration = Duration::from_secs(60);

/// What goes on; an index into latencies.
const CONTROL: usize = 0;
const EVICTING: usize = 1;
const LOWERING: usize = 2;
/// Ends the probes.
const DONE: usize = 3;
/// While nothing is looked at.
const BREAK: usize = 4;
const PHASES: [&str; DONE] = ["control", "evicting", "limit halved"];

/// The two kinds of values, fresh servers for each round.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Default]) {
        let mut table = bench.table(format!(
            "Requests of others while one client writes at the limit, maxmemory {} MiB: {}",
            bench.options.limit_mib,
            mode.title()
        ));
        for (label, every) in [("100 B", u64::MAX), ("large ones among them", 1000)] {
            if bench.options.wants(label) {
                match measure(bench, mode, label, every) {
                    Ok(rows) => rows.into_iter().for_each(|row| table.push(row)),
                    Err(error) => table.fail(label, &error),
                }
            }
        }
        table.note("Control: the same traffic onto one key; what it shows is the machine's share.");
        tables.push(table);
    }
    Ok(tables)
}

fn measure(bench: &Bench, mode: Mode, label: &str, every: u64) -> Result<Vec<Row>> {
    let row = |what: String, unit| Row::new(what, unit, bench.contenders.len());
    let of = |phase: &str, what: &str| row(format!("{label}, {phase}: {what}"), "ms");
    let mut rows = PHASES.map(|phase| {
        ["GET p99.9", "GET slowest", "SET p99.9", "SET slowest"].map(|what| of(phase, what))
    });
    let mut time = of(PHASES[LOWERING], "reached after");
    let mut rate = row(format!("{label}, evicting: written meanwhile"), "k/s");
    for round in 0..bench.options.rounds {
        for index in bench.order(round) {
            let limit = format!("{}mb", bench.options.limit_mib);
            let extra = ["--maxmemory", &limit, "--maxmemory-policy", "allkeys-lru"];
            let server = Contender::start(bench, index, mode, &extra)?;
            let seen = observe(bench, &server, every)
                .with_context(|| bench.contenders[index].name.clone())?;
            for (phase, rows) in rows.iter_mut().enumerate() {
                let (gets, sets) = (&seen.gets_ns[phase], &seen.sets_ns[phase]);
                for (row, (ns, percent)) in
                    rows.iter_mut()
                        .zip([(gets, 99.9), (gets, 100.0), (sets, 99.9), (sets, 100.0)])
                {
                    row.push(index, percentile(ns, percent) / 1e6);
                }
            }
            time.push(index, seen.lowering.as_secs_f64() * 1000.0);
            rate.push(index, seen.per_second / 1000.0);
        }
    }
    let judged = (!bench.options.quick).then_some(Target::RatioAtMost(1.0));
    let mut all = Vec::new();
    for (phase, rows) in rows.into_iter().enumerate() {
        for (number, row) in rows.into_iter().enumerate() {
            // The slowest ones, but not of the control.
            let is_judged = number % 2 == 1 && phase != CONTROL;
            all.push(row.target(judged.filter(|_| is_judged)));
        }
    }
    all.push(time);
    all.push(rate);
    Ok(all)
}

struct Observed {
    /// Per phase, sorted.
    gets_ns: [Vec<u32>; DONE],
    sets_ns: [Vec<u32>; DONE],
    /// From the order of a lower limit to the moment when it was reached.
    lowering: Duration,
    /// Keys written while keys were evicted.
    per_second: f64,
}

fn observe(bench: &Bench, server: &Server, every: u64) -> Result<Observed> {
    let mut writer = Writer {
        client: server.connect()?,
        control: server.connect()?,
        next: 0,
        every,
    };
    writer.until_evicting(bench.options.limit_mib << 20)?;
    let phase = AtomicUsize::new(BREAK);
    let phase = &phase;
    let (mut getter, mut setter) = (server.connect()?, server.connect()?);
    thread::scope(|scope| {
        let gets = scope.spawn(move || {
            let get = |out: &mut Vec<u8>, _| encode(out, &[b"GET", b"probe"]);
            probe(phase, &mut getter, get)
        });
        let sets = scope.spawn(move || {
            let set = |out: &mut Vec<u8>, number: u64| {
                encode(out, &[b"SET", &numbered(b"own:", number), &VALUE]);
            };
            probe(phase, &mut setter, set)
        });
        let acted = writer.act(bench, phase);
        phase.store(DONE, Ordering::Release);
        let gets_ns = gets.join().map_err(|_| anyhow!("a probe panicked"))??;
        let sets_ns = sets.join().map_err(|_| anyhow!("a probe panicked"))??;
        let (lowering, per_second) = acted?;
        for (of, phase) in gets_ns.iter().chain(&sets_ns).zip(PHASES.iter().cycle()) {
            ensure!(!of.is_empty(), "a probe got no reply: {phase}");
        }
        Ok(Observed {
            gets_ns,
            sets_ns,
            lowering,
            per_second,
        })
    })
}

struct Writer {
    client: Client,
    control: Client,
    /// The number of the next key.
    next: u64,
    /// Every so many keys a large one.
    every: u64,
}

impl Writer {
    fn write(&mut self, count: u64) -> Result<()> {
        let every = self.every;
        let end = self.next + count;
        self.client.fill(self.next..end, BATCH, |out, number| {
            let key = numbered(b"key:", number);
            if number % every != every - 1 {
                encode(out, &[b"SET", &key, &VALUE]);
                return;
            }
            encode_head(out, 2 + 2 * FIELDS as usize);
            encode_word(out, b"HSET");
            encode_word(out, &key);
            for field in 0..FIELDS {
                encode_word(out, &numbered(b"fld:", field));
                encode_word(out, b"value");
            }
        })?;
        self.next = end;
        Ok(())
    }

    fn until_evicting(&mut self, limit_bytes: u64) -> Result<()> {
        while self.control.info("stats", "evicted_keys")? == 0 {
            ensure!(
                self.next < limit_bytes / 50,
                "no key was evicted after {} writes",
                self.next
            );
            self.write(limit_bytes / 2000)?;
        }
        // Several times over what the first evictions had to look at.
        self.write(limit_bytes / 500)
    }

    /// All phases; how long lowering took, and the rate of writing while keys were evicted.
    fn act(&mut self, bench: &Bench, phase: &AtomicUsize) -> Result<(Duration, f64)> {
        let time = bench.options.load * 2;
        let begin = Instant::now();
        phase.store(CONTROL, Ordering::Release);
        while begin.elapsed() < time {
            self.client.fill(0..10 * BATCH, BATCH, |out, _| {
                encode(out, &[b"SET", b"small", &VALUE]);
            })?;
        }
        let before = (Instant::now(), self.next);
        phase.store(EVICTING, Ordering::Release);
        while before.0.elapsed() < time {
            self.write(10 * BATCH)?;
        }
        let per_second = (self.next - before.1) as f64 / before.0.elapsed().as_secs_f64();
        phase.store(BREAK, Ordering::Release);
        thread::sleep(Duration::from_millis(200));
        let limit = (bench.options.limit_mib << 20) / 2;
        phase.store(LOWERING, Ordering::Release);
        let begin = Instant::now();
        let words = limit.to_string();
        self.control
            .call(&[b"CONFIG", b"SET", b"maxmemory", words.as_bytes()])?;
        while self.used()? > limit {
            ensure!(begin.elapsed() < LOWER_LIMIT, "the limit is not reached");
            thread::sleep(Duration::from_millis(1));
        }
        let lowering = begin.elapsed();
        // At least some probes, also if it was over at once.
        thread::sleep(Duration::from_millis(50));
        Ok((lowering, per_second))
    }

    fn used(&mut self) -> Result<u64> {
        self.control.info("memory", "used_memory")
    }
}

/// Sends one request at a time; latencies in ns of each phase, sorted.
fn probe(
    phase: &AtomicUsize,
    client: &mut Client,
    request: impl Fn(&mut Vec<u8>, u64),
) -> Result<[Vec<u32>; DONE]> {
    let mut latencies: [Vec<u32>; DONE] = array::from_fn(|_| Vec::with_capacity(1 << 18));
    for number in 0.. {
        let now = phase.load(Ordering::Acquire);
        if now == DONE {
            break;
        }
        let begin = Instant::now();
        client.send(|out| request(out, number))?;
        client.expect_replies(1)?;
        let ns = u32::try_from(begin.elapsed().as_nanos()).unwrap_or(u32::MAX);
        if let Some(latencies) = latencies.get_mut(now) {
            latencies.push(ns);
        }
        thread::sleep(PACE);
    }
    latencies.iter_mut().for_each(|of| of.sort_unstable());
    Ok(latencies)
}
