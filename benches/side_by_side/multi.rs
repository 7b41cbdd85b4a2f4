//! Transactions: what MULTI, two INCRs and EXEC cost, and what optimistic locking reaches when
//! fifty clients want the same key.
//!
//! The first is a load as in `cpu`. The second is a conversation: each client watches the key, reads
//! it, and tries to write one more in a transaction, until it has succeeded. No increment may be
//! lost or made twice, so the counter has to be what the clients say they have written.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::Bench;
use crate::client::{Reply, encode, numbered};
use crate::crowd::{self, Line};
use crate::load::{self, Draw, Outcome, Run, Step, Stop};
use crate::options::Mode;
use crate::process;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};
use crate::wire::Way;

/// The commands of a transaction.
const TRANSACTION: [&str; 4] = ["MULTI", "INCR key:%0", "INCR key:%1", "EXEC"];
/// The same work without being one.
const APART: [&str; 2] = ["INCR key:%0", "INCR key:%1"];
/// What a transaction may cost, as a part of the rival's cost.
const CPU_LIMIT: f64 = 0.7;

/// A row of `multi`: how many units (transactions, or pairs of INCR) are sent at a time.
struct Shape {
    label: &'static str,
    commands: &'static [&'static str],
    units: u64,
    judged: bool,
}

const SHAPES: &[Shape] = &[
    Shape {
        label: "transaction, 4 at a time (16 commands)",
        commands: &TRANSACTION,
        units: 4,
        judged: true,
    },
    Shape {
        label: "transaction, 16 at a time (64 commands)",
        commands: &TRANSACTION,
        units: 16,
        judged: true,
    },
    Shape {
        label: "transaction, 1 at a time",
        commands: &TRANSACTION,
        units: 1,
        judged: false,
    },
    Shape {
        label: "the two INCRs alone, 4 pairs at a time",
        commands: &APART,
        units: 4,
        judged: false,
    },
];

/// CPU per transaction: one table per mode.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Pinned, Mode::Default]);
    modes.into_iter().map(|mode| costs(bench, mode)).collect()
}

fn costs(bench: &Bench, mode: Mode) -> Result<Table> {
    let options = &bench.options;
    let mut servers = Vec::new();
    for index in 0..bench.contenders.len() {
        let server = Contender::start(bench, index, mode, &[])?;
        fill(&server, options.keys)?;
        servers.push(server);
    }
    let mut table = bench.table(format!(
        "MULTI, two INCRs, EXEC, {} connections: {}",
        options.clients,
        mode.title()
    ));
    let mut rates = Vec::new();
    for shape in SHAPES.iter().filter(|shape| options.wants(shape.label)) {
        let step = Step::parse(shape.commands, &[Draw::below(options.keys); 2])?;
        let commands = shape.commands.len() as u64;
        let target = (shape.judged && !options.quick).then_some(Target::RatioAtMost(CPU_LIMIT));
        let mut cpu = Row::new(format!("CPU, {}", shape.label), "µs", servers.len());
        let mut rate = Row::new(format!("rate, {}", shape.label), "k/s", servers.len());
        for round in 0..options.rounds {
            for index in bench.order(round) {
                let run = Run {
                    step: &step,
                    connections: options.clients,
                    pipeline: shape.units * commands,
                    threads: options.client_threads.unwrap_or(1),
                    cpus: crowd::client_cpu(bench, mode).into_iter().collect(),
                    stop: Stop::After(options.load),
                    seed: round as u64 + 1,
                    way: Way::default(),
                };
                let outcome = once(&servers[index], &run).with_context(|| {
                    format!("{}: {}", shape.label, bench.contenders[index].name)
                })?;
                cpu.push(index, outcome.cpu_us * commands as f64);
                rate.push(index, outcome.per_second / 1000.0 / commands as f64);
            }
        }
        table.push(cpu.target(target));
        rates.push(rate);
    }
    rates.into_iter().for_each(|row| table.push(row));
    Ok(table)
}

/// A run in which no transaction may have come to nothing.
fn once(server: &Server, run: &Run) -> Result<Outcome> {
    let outcome = load::run(server, run)?;
    ensure!(
        outcome.empty == 0,
        "{} transactions were not executed",
        outcome.empty
    );
    Ok(outcome)
}

/// Counters at 0 under every key that a transaction may name.
fn fill(server: &Server, keys: u64) -> Result<()> {
    let mut client = server.connect()?;
    client.fill(0..keys, 500, |out, number| {
        encode(out, &[b"SET", &numbered(b"key:", number), b"0"]);
    })?;
    client.expect_keys(keys)
}

/// Optimistic locking of one key by all clients: one table per mode.
pub(crate) fn run_watch(bench: &Bench) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Pinned, Mode::Default]);
    modes
        .into_iter()
        .map(|mode| contention(bench, mode))
        .collect()
}

fn contention(bench: &Bench, mode: Mode) -> Result<Table> {
    let options = &bench.options;
    let mut servers = Vec::new();
    for index in 0..bench.contenders.len() {
        servers.push(Contender::start(bench, index, mode, &[])?);
    }
    let mut table = bench.table(format!(
        "{} clients increment one key by WATCH, GET, MULTI, SET, EXEC: {}",
        options.clients,
        mode.title()
    ));
    let target = (!options.quick).then_some(Target::RatioAtLeast(1.0));
    let mut rate = Row::new("increments", "k/s", servers.len());
    let mut tries = Row::new("attempts per increment", "", servers.len());
    let mut cpu = Row::new("CPU per attempt", "µs", servers.len());
    for round in 0..options.rounds {
        for index in bench.order(round) {
            let server = &servers[index];
            let place = crowd::client_cpu(bench, mode);
            let work = || contend(server.port, server.pid(), options.clients, options.load);
            let fight = crowd::alone(place, work)
                .and_then(|fight| fight.checked(server))
                .with_context(|| bench.contenders[index].name.clone())?;
            rate.push(index, fight.won as f64 / fight.seconds / 1000.0);
            tries.push(index, fight.tried as f64 / fight.won as f64);
            cpu.push(index, fight.cpu_ns as f64 / 1000.0 / fight.tried as f64);
        }
    }
    table.push(rate.target(target));
    table.push(tries);
    table.push(cpu);
    table.note("Each attempt is three exchanges: WATCH, GET, and MULTI, SET, EXEC in one.");
    Ok(table)
}

/// What the clients say of a run.
struct Fight {
    /// Transactions that were executed.
    won: u64,
    tried: u64,
    seconds: f64,
    cpu_ns: u64,
}

impl Fight {
    /// An error unless the counter holds every increment once.
    fn checked(self, server: &Server) -> Result<Self> {
        let mut client = server.connect()?;
        let counter = client.call(&[b"GET", b"counter"])?;
        let expected = Reply::Text(self.won.to_string().into_bytes());
        ensure!(
            counter == expected && self.won > 0,
            "{} increments were made, the counter says {counter:?}",
            self.won
        );
        client.call(&[b"DEL", b"counter"])?;
        Ok(self)
    }
}

async fn contend(port: u16, pid: u32, clients: usize, time: Duration) -> Result<Fight> {
    let mut lines = Vec::new();
    for _ in 0..clients {
        lines.push(Line::open(port)?);
    }
    let tried = Rc::new(Cell::new(0));
    let before = process::cpu_ns(pid)?;
    let begin = Instant::now();
    let tasks = lines.into_iter().map(|line| {
        let tried = Rc::clone(&tried);
        tokio::task::spawn_local(increment(line, begin + time, tried))
    });
    let tasks: Vec<_> = tasks.collect();
    let mut won = 0;
    for task in tasks {
        won += task.await??;
    }
    let seconds = begin.elapsed().as_secs_f64();
    Ok(Fight {
        won,
        tried: tried.get(),
        seconds,
        cpu_ns: process::cpu_ns(pid)?.saturating_sub(before),
    })
}

/// One client: increments until `end`; how often it succeeded.
async fn increment(mut line: Line, end: Instant, tried: Rc<Cell<u64>>) -> Result<u64> {
    let mut won = 0;
    let (mut watch, mut get) = (Vec::new(), Vec::new());
    encode(&mut watch, &[b"WATCH", b"counter"]);
    encode(&mut get, &[b"GET", b"counter"]);
    let mut write = Vec::new();
    while Instant::now() < end {
        tried.set(tried.get() + 1);
        line.expect(&watch, b"+OK\r\n").await?;
        let next = 1 + number(line.ask(&get, 1).await?)?;
        write.clear();
        encode(&mut write, &[b"MULTI"]);
        encode(
            &mut write,
            &[b"SET", b"counter", next.to_string().as_bytes()],
        );
        encode(&mut write, &[b"EXEC"]);
        match line.ask(&write, 3).await? {
            b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n" => won += 1,
            b"+OK\r\n+QUEUED\r\n*-1\r\n" => {}
            other => bail!("a transaction got {}", other.escape_ascii()),
        }
    }
    Ok(won)
}

/// The number in the reply of GET; 0 if there is no key.
fn number(reply: &[u8]) -> Result<u64> {
    if reply == b"$-1\r\n" {
        return Ok(0);
    }
    let text = std::str::from_utf8(reply)?;
    let digits = text.split("\r\n").nth(1).context("no bulk string")?;
    digits.parse().with_context(|| format!("GET got {text}"))
}
