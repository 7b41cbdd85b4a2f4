//! Throughput at several numbers of I/O threads of both servers: what more cores buy.
//!
//! It is meant for a machine of many cores, lent for some minutes and without any tool: the load
//! comes from this program's own threads, runs are timed and not counted, and `--limit` divides the
//! time at hand among them. The client's threads need cores, too: where they never waited
//! (`client busy` near 1) the figure is theirs, not the server's, and a note says so.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::collections::{Bed, Filling, Load};
use crate::data::{Data, Kind};
use crate::load::{Draw, Run, Stop};
use crate::options::{Mode, Options};
use crate::process;
use crate::report::{Row, Table};
use crate::server::Contender;
use crate::wire::Way;
use crate::{Bench, Emit};

/// The time that starting and filling all servers takes, roughly; measured once it has been done.
const SETUP: Duration = Duration::from_secs(10);
/// The shortest run worth making.
const RUN_LEAST: Duration = Duration::from_millis(100);
/// What comes before each run and does not count: servers put threads to work as load comes.
const WARM: Duration = Duration::from_millis(250);
/// Client threads busier than this do not wait for the server.
const BUSY: f64 = 0.9;

/// Numbers of threads, unless others are asked for.
const THREADS: [usize; 5] = [1, 2, 4, 8, 16];

/// One table per number of threads that there are cores for, and one of speed-ups.
pub(crate) fn run(bench: &Bench, emit: Emit) -> Result<()> {
    let has_cores = |threads: &usize| *threads <= process::cores();
    let own: Vec<usize> = THREADS.into_iter().filter(has_cores).collect();
    sweep(bench, &loads(&bench.options)?, &own, emit)
}

/// The same of any loads; `own` are the numbers of threads unless others are asked for.
pub(crate) fn sweep(bench: &Bench, loads: &[Load], own: &[usize], emit: Emit) -> Result<()> {
    let begin = Instant::now();
    let options = &bench.options;
    let counts = match options.server_threads.is_empty() {
        true => own,
        false => &options.server_threads[..],
    };
    let runs = (loads.len() * bench.contenders.len() * options.rounds).max(1) as u32;
    let mut setup = SETUP;
    let mut rates: Vec<(usize, Vec<Row>)> = Vec::new();
    for (number, &threads) in counts.iter().enumerate() {
        let mut time = options.load;
        if let Some(limit) = options.limit {
            let left = limit.saturating_sub(begin.elapsed()) / (counts.len() - number) as u32;
            time = time.min((left.saturating_sub(setup) / runs).saturating_sub(WARM));
            if time < RUN_LEAST && number > 0 {
                eprintln!("# no time is left for {threads} I/O threads");
                continue;
            }
            time = time.max(RUN_LEAST);
        }
        let began = Instant::now();
        let deadline = options.limit.map(|limit| begin + limit);
        let (table, rows) = at(bench, loads, threads, time, deadline)?;
        setup = began.elapsed().saturating_sub((time + WARM) * runs);
        eprintln!(
            "# {threads} I/O threads, runs of {time:.1?}: {:.0} s",
            began.elapsed().as_secs_f64()
        );
        emit(table)?;
        rates.push((threads, rows));
    }
    if rates.len() > 1 {
        emit(speed_ups(bench, &rates))?;
    }
    Ok(())
}

/// A load under its name and pipeline, if it is asked for.
pub(crate) fn wanted(
    options: &Options,
    name: &str,
    data: Data,
    command: &str,
    draws: &[Draw],
    pipeline: u64,
) -> Result<Option<Load>> {
    let label = format!("{name} P{pipeline}");
    if !options.wants(&label) {
        return Ok(None);
    }
    let load = Load::new(name, data, &[command], draws)?;
    Ok(Some(load.named(label).pipeline(pipeline)))
}

/// GET and SET at every pipeline, then one write of each kind of collection. LPUSH comes last, as
/// it removes everything else.
fn loads(options: &Options) -> Result<Vec<Load>> {
    let keys = options.keys;
    let tenth = (keys / 10).max(1);
    let mut loads = Vec::new();
    let mut add = |name: &str, data, command: &str, draws: &[Draw], pipeline| {
        loads.extend(wanted(options, name, data, command, draws, pipeline)?);
        anyhow::Ok(())
    };
    let strings = Data::new(Kind::Text, keys, 1);
    for &pipeline in &options.pipelines {
        let draw = &[Draw::below(keys)];
        add("GET", strings, "GET key:%0", draw, pipeline)?;
        add(
            "SET",
            strings,
            "SET key:%0 fedcba9876543210",
            draw,
            pipeline,
        )?;
    }
    let (key, element) = (Draw::below(tenth), Draw::below(20));
    let hashes = Data::new(Kind::Fields, tenth, 20);
    let command = "HSET key:%0 f:%1 value-9876";
    add("HSET", hashes, command, &[key, element.wide(6)], 16)?;
    let zsets = Data::new(Kind::Scored, tenth, 20);
    let draws = [key, Draw::digits(6), element];
    add("ZADD", zsets, "ZADD key:%0 %1 mem:%2", &draws, 16)?;
    let lists = Data::new(Kind::Items, tenth, 0);
    let draws = [key, Draw::below(100_000).wide(5)];
    add("LPUSH", lists, "LPUSH key:%0 item:%1", &draws, 16)?;
    for load in &mut loads {
        load.grows = load.data == Filling::Elements(lists);
    }
    Ok(loads)
}

/// The client's threads beside so many of the server's.
fn client_threads(options: &Options, threads: usize) -> usize {
    let cores = process::cores();
    // Where the server could take all, they share.
    let left = cores.saturating_sub(threads).max(cores / 2).max(1);
    options.client_threads.unwrap_or(left.min(2 * threads))
}

/// All loads at one number of threads: the table, and its rows of rates.
fn at(
    bench: &Bench,
    loads: &[Load],
    threads: usize,
    time: Duration,
    deadline: Option<Instant>,
) -> Result<(Table, Vec<Row>)> {
    let options = &bench.options;
    let clients = client_threads(options, threads);
    let cores = process::cores();
    // With --pin the server has the first CPUs to itself if there are enough.
    let pinned = options.modes.contains(&Mode::Pinned) && cores > threads;
    let mut table = bench.table(format!(
        "{threads} I/O threads each, {clients} client threads, {} connections{}",
        options.clients,
        if pinned { ", pinned apart" } else { "" }
    ));
    let start = || start_all(bench, threads, pinned);
    let mut beds = start()?;
    let (mut rates, mut cpus_used) = (Vec::new(), Vec::new());
    for load in loads {
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            table.note(format!(
                "No time was left for {} and what follows.",
                load.label
            ));
            break;
        }
        let run = Run {
            step: &load.step,
            connections: options.clients,
            pipeline: load.pipeline,
            threads: clients,
            cpus: match pinned {
                true => (threads..cores).collect(),
                false => Vec::new(),
            },
            stop: Stop::Warm { warm: WARM, time },
            seed: 0,
            way: Way::default(),
        };
        match compare(bench, &mut beds, load, run) {
            Ok([rate, cpu, busy]) => {
                note_busy(bench, &mut table, load, &busy);
                rates.push(rate);
                cpus_used.push(cpu);
            }
            // A command that fails must not cost the figures of the others.
            Err(error) => {
                table.fail(&load.label, &error);
                beds.clear();
                beds = start()?;
            }
        }
    }
    let rows = rates.clone();
    rates
        .into_iter()
        .chain(cpus_used)
        .for_each(|row| table.push(row));
    Ok((table, rows))
}

fn start_all(bench: &Bench, threads: usize, pinned: bool) -> Result<Vec<Bed>> {
    let count = threads.to_string();
    let extra = ["--io-threads", &count];
    let cpus = pinned.then(|| format!("0-{}", threads - 1));
    let start = |index| Contender::start_on(bench, index, Mode::Default, &extra, cpus.as_deref());
    (0..bench.contenders.len())
        .map(|index| Ok(Bed::new(start(index)?)))
        .collect()
}

/// One load on all servers: its rows of rate, server CPU and client CPU.
fn compare(bench: &Bench, beds: &mut [Bed], load: &Load, mut run: Run) -> Result<[Row; 3]> {
    let mut rate = Row::new(&load.label, "k/s", beds.len());
    let mut cpu = Row::new(format!("CPU of {}", load.label), "µs/request", beds.len());
    let mut busy = Row::new("client busy", "", beds.len());
    for round in 0..bench.options.rounds {
        run.seed = round as u64 + 1;
        for index in bench.order(round) {
            let outcome = beds[index]
                .run(load, &run)
                .with_context(|| bench.contenders[index].name.clone())?;
            rate.push(index, outcome.per_second / 1000.0);
            cpu.push(index, outcome.cpu_us);
            busy.push(index, outcome.client_busy);
        }
    }
    Ok([rate, cpu, busy])
}

/// Says where the client was the limit.
fn note_busy(bench: &Bench, table: &mut Table, load: &Load, busy: &Row) {
    for (index, contender) in bench.contenders.iter().enumerate() {
        if busy.median(index) > BUSY {
            table.note(format!(
                "{} of {}: the client's threads never waited, {:.0} % busy.",
                load.label,
                contender.name,
                busy.median(index) * 100.0
            ));
        }
    }
}

/// Each rate divided by the same server's at the first number of threads.
fn speed_ups(bench: &Bench, rates: &[(usize, Vec<Row>)]) -> Table {
    let (base, first) = &rates[0];
    let mut table = bench.table(format!("Speed-up over {base} I/O threads"));
    for one in first {
        for (threads, rows) in &rates[1..] {
            let Some(more) = rows.iter().find(|row| row.label() == one.label()) else {
                continue;
            };
            let label = format!("{}, {threads} threads", one.label());
            let mut row = Row::new(label, "x", bench.contenders.len());
            for index in 0..bench.contenders.len() {
                row.push(index, more.median(index) / one.median(index));
            }
            table.push(row);
        }
    }
    table
}
