//! SET of new keys when the memory is full, so that each of them makes another key go.
//!
//! The server is filled until it evicts; then a run of new random keys is made as in `ops`. A run in
//! which fewer keys were evicted than written is an error, as far as it is not the difference that a
//! size class or a table makes.

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::load::{self, Draw, Run, Step, Stop};
use crate::options::Mode;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};
use crate::wire::Way;

const PIPELINE: u64 = 16;
/// Any of so many keys is most likely a new one.
const NEW: u64 = 1_000_000_000_000;

/// What is written, and under which policy.
struct Load {
    policy: &'static str,
    value_bytes: usize,
    has_ttl: bool,
}

impl Load {
    const fn new(policy: &'static str, value_bytes: usize, has_ttl: bool) -> Self {
        Self {
            policy,
            value_bytes,
            has_ttl,
        }
    }

    fn label(&self) -> String {
        let ttl = if self.has_ttl { " EX" } else { "" };
        format!("{}, SET of {} B{ttl}", self.policy, self.value_bytes)
    }

    fn step(&self) -> Result<Step> {
        let value = "v".repeat(self.value_bytes);
        let ttl = if self.has_ttl { " EX %1" } else { "" };
        let command = format!("SET key:%0 {value}{ttl}");
        Step::parse(&[&command], &[Draw::below(NEW), Draw::digits(5)])
    }
}

const LOADS: [Load; 7] = [
    Load::new("allkeys-lru", 16, false),
    Load::new("allkeys-lru", 100, false),
    Load::new("allkeys-lru", 1000, false),
    Load::new("allkeys-lfu", 100, false),
    Load::new("allkeys-random", 100, false),
    Load::new("volatile-lru", 100, true),
    Load::new("volatile-ttl", 100, true),
];

/// All loads, fresh servers for each.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let options = &bench.options;
    let mut tables = Vec::new();
    for mode in options.modes_or(&[Mode::Pinned, Mode::Default]) {
        let mut table = bench.table(format!(
            "SET of new keys at the limit, pipeline {PIPELINE}, {} connections, maxmemory {} MiB: {}",
            options.clients,
            options.limit_mib,
            mode.title()
        ));
        for load in LOADS {
            if options.wants(&load.label()) {
                match measure(bench, mode, &load) {
                    Ok(rows) => rows.into_iter().for_each(|row| table.push(row)),
                    Err(error) => table.fail(&load.label(), &error),
                }
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

fn measure(bench: &Bench, mode: Mode, load: &Load) -> Result<[Row; 2]> {
    let judged = |target| (!bench.options.quick).then_some(target);
    let contenders = bench.contenders.len();
    let mut rate =
        Row::new(load.label(), "k/s", contenders).target(judged(Target::RatioAtLeast(1.3)));
    let mut cpu = Row::new(format!("{}: CPU", load.label()), "µs/request", contenders)
        .target(judged(Target::RatioAtMost(0.7)));
    let limit = format!("{}mb", bench.options.limit_mib);
    let extra = ["--maxmemory", &limit, "--maxmemory-policy", load.policy];
    let mut servers = Vec::new();
    for index in 0..contenders {
        let server = Contender::start(bench, index, mode, &extra)?;
        fill(bench, mode, load, &server).with_context(|| bench.contenders[index].name.clone())?;
        servers.push(server);
    }
    for round in 0..bench.options.rounds {
        for index in bench.order(round) {
            let stop = Stop::After(bench.options.load);
            let (per_second, cpu_us) =
                once(bench, mode, load, &servers[index], stop, 100 + round as u64)
                    .with_context(|| bench.contenders[index].name.clone())?;
            rate.push(index, per_second / 1000.0);
            cpu.push(index, cpu_us);
        }
    }
    Ok([rate, cpu])
}

/// Writes until keys go.
fn fill(bench: &Bench, mode: Mode, load: &Load, server: &Server) -> Result<()> {
    let step = load.step()?;
    let mut control = server.connect()?;
    let least = bench.options.limit_mib * (1 << 20) / 2000;
    // Nothing needs less than 16 bytes.
    let most = bench.options.limit_mib * (1 << 20) / 16;
    let mut written = 0;
    for seed in 1.. {
        load::run(
            server,
            &plan(bench, mode, &step, Stop::Requests(least), seed),
        )?;
        written += least;
        if control.info("stats", "evicted_keys")? > 0 {
            break;
        }
        ensure!(written < most, "no key was evicted after {written} writes");
    }
    // What was too much at first has gone, tables have their size.
    load::run(server, &plan(bench, mode, &step, Stop::Requests(least), 0))?;
    server.quiet()
}

fn plan<'a>(bench: &Bench, mode: Mode, step: &'a Step, stop: Stop, seed: u64) -> Run<'a> {
    let options = &bench.options;
    Run {
        step,
        connections: options.clients,
        pipeline: PIPELINE,
        threads: options.client_threads.unwrap_or(1),
        cpus: match mode {
            Mode::Pinned => vec![options.cpus.1],
            _ => Vec::new(),
        },
        stop,
        seed,
        way: Way::default(),
    }
}

/// Requests per second and CPU time of each.
fn once(
    bench: &Bench,
    mode: Mode,
    load: &Load,
    server: &Server,
    stop: Stop,
    seed: u64,
) -> Result<(f64, f64)> {
    let step = load.step()?;
    let mut control = server.connect()?;
    let before = control.info("stats", "evicted_keys")?;
    let outcome = load::run(server, &plan(bench, mode, &step, stop, seed))?;
    let evicted = control.info("stats", "evicted_keys")? - before;
    ensure!(
        // A run of a moment may be what a table gives back when it has grown.
        evicted * 10 >= outcome.requests * 9 || bench.options.quick && evicted > 0,
        "only {evicted} keys were evicted by {} writes",
        outcome.requests
    );
    let used = control.info("memory", "used_memory")?;
    let limit = bench.options.limit_mib * (1 << 20);
    ensure!(
        used <= limit + limit / 10,
        "{used} bytes are used, the limit is {limit}"
    );
    Ok((outcome.per_second, outcome.cpu_us))
}
