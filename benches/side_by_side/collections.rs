//! Server CPU per request of the commands on hashes, lists, sets and sorted sets: those that touch
//! one element (`ops`) and those that read or combine many (`ranges`).
//!
//! The requests come from this program's own load generator. Both servers get the same number of
//! requests, drawn from the same seed, over the same data; a load that lets its data grow gets the
//! data anew before each run. The loads are lists of rows: to measure another command, add a row.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::data::{Data, FIRST_INTEGER, Kind};
use crate::load::{self, By, Draw, Outcome, Run, Step, Stop};
use crate::options::{Mode, Options};
use crate::process;
use crate::report::{Row, Table, Target};
use crate::scripts;
use crate::server::{Contender, Server};
use crate::types::Fill;
use crate::wire::Way;

/// Elements of a small value at the start.
const SMALL: u64 = 10;
/// What one-element commands at pipeline 16 may cost, as a part of the rival's cost.
const OPS_LIMIT: f64 = 0.6;
/// The same for commands over many elements.
const RANGES_LIMIT: f64 = 0.8;

/// What is there before a load begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filling {
    /// Collections, or strings.
    Elements(Data),
    /// What has commands of its own.
    Types(Fill),
    /// What scripts need.
    Scripts(scripts::Fill),
}

impl Filling {
    fn write(self, server: &Server) -> Result<()> {
        match self {
            Self::Elements(data) => data.write(server),
            Self::Types(fill) => fill.write(server),
            Self::Scripts(fill) => fill.write(server),
        }
    }
}

/// One kind of request over one kind of data.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) label: String,
    pub(crate) step: Step,
    pub(crate) data: Filling,
    pub(crate) pipeline: u64,
    /// The requests add elements, so that each run needs the data anew.
    pub(crate) grows: bool,
    /// Requests of a run, so that a growing value keeps its size in bounds.
    most: u64,
}

impl Load {
    /// A load of pipeline 16 that leaves the data's size alone. It must find what it looks for: an
    /// empty reply fails the run.
    pub(crate) fn new(label: &str, data: Data, commands: &[&str], draws: &[Draw]) -> Result<Self> {
        let what = match data.keys {
            1 => format!("one key of {}", data.elements),
            keys => format!("{keys} keys of {}", data.elements),
        };
        let filling = Filling::Elements(data);
        Self::of(format!("{label}, {what}"), filling, commands, draws)
    }

    /// The same over what is no collection; the label says what that is.
    pub(crate) fn over(label: &str, fill: Fill, commands: &[&str], draws: &[Draw]) -> Result<Self> {
        Self::of(label.into(), Filling::Types(fill), commands, draws)
    }

    /// The same of scripts.
    pub(crate) fn scripted(label: &str, commands: &[&str], draws: &[Draw]) -> Result<Self> {
        let data = Filling::Scripts(scripts::Fill);
        Self::of(label.into(), data, commands, draws)
    }

    fn of(label: String, data: Filling, commands: &[&str], draws: &[Draw]) -> Result<Self> {
        Ok(Self {
            label,
            step: Step::parse(commands, draws)?,
            data,
            pipeline: 16,
            grows: false,
            most: u64::MAX,
        })
    }

    /// The same with data that are changed for good: written anew for each run, which makes at most
    /// so many requests.
    pub(crate) fn growing(self, most: u64) -> Self {
        Self {
            grows: true,
            most,
            ..self
        }
    }

    pub(crate) fn named(self, label: String) -> Self {
        Self { label, ..self }
    }

    pub(crate) fn pipeline(self, pipeline: u64) -> Self {
        Self { pipeline, ..self }
    }
}

/// A running server and the data that it holds.
pub(crate) struct Bed {
    pub(crate) server: Server,
    holds: Option<Filling>,
}

impl Bed {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server,
            holds: None,
        }
    }

    /// Sees to the data that a load needs.
    fn prepare(&mut self, load: &Load) -> Result<()> {
        if self.holds == Some(load.data) {
            return Ok(());
        }
        self.server.empty()?;
        load.data.write(&self.server)?;
        self.server.quiet()?;
        self.holds = Some(load.data);
        Ok(())
    }

    /// Runs a load once.
    pub(crate) fn run(&mut self, load: &Load, run: &Run) -> Result<Outcome> {
        self.prepare(load)?;
        if load.grows {
            self.holds = None;
        }
        let outcome = load::run(&self.server, run)?;
        ensure!(
            outcome.empty == 0,
            "{} of {} replies were empty",
            outcome.empty,
            outcome.requests
        );
        Ok(outcome)
    }
}

/// Commands on one element.
pub(crate) fn run_ops(bench: &Bench) -> Result<Vec<Table>> {
    let loads = ops(&bench.options)?;
    run(bench, "Commands on one element", &loads, OPS_LIMIT)
}

/// Commands over many elements.
pub(crate) fn run_ranges(bench: &Bench) -> Result<Vec<Table>> {
    let loads = ranges(&bench.options)?;
    run(bench, "Commands over many elements", &loads, RANGES_LIMIT)
}

/// Every load of `ops`: over many small values, then over a single large one.
fn ops(options: &Options) -> Result<Vec<Load>> {
    let keys = (options.keys / 10).max(1);
    let mut loads = small(keys)?;
    loads.extend(large(options.elements)?);
    Ok(loads)
}

/// A load of `ops` in short: its name, the kind of data, whether it adds to them, the commands and
/// their draws.
type Short<'a> = (&'a str, Kind, bool, &'a [&'a str], &'a [Draw]);

/// Loads over `keys` keys of `elements` elements each.
fn spell_out(shorts: &[Short], keys: u64, elements: u64) -> Result<Vec<Load>> {
    let spell = |&(label, kind, grows, commands, draws): &Short| {
        let data = Data::new(kind, keys, elements);
        let load = Load::new(label, data, commands, draws)?;
        // At most as many requests as there are elements at first.
        Ok(if grows {
            load.growing(data.total())
        } else {
            load
        })
    };
    shorts.iter().map(spell).collect()
}

const LPUSH: &[&str] = &["LPUSH key:%0 item:%1"];
const PUSH_POP: &[&str] = &["RPUSH key:%0 item:%1", "LPOP key:%0"];
const SADD: &[&str] = &["SADD key:%0 mem:%1"];
const SISMEMBER: &[&str] = &["SISMEMBER key:%0 mem:%1"];
const ZADD: &[&str] = &["ZADD key:%0 %1 mem:%2"];
const ZINCRBY: &[&str] = &["ZINCRBY key:%0 3 mem:%1"];

fn small(keys: u64) -> Result<Vec<Load>> {
    use Kind::{Counters, Fields, Integers, Items, Members, Scored};
    // Half of these exist; and few enough to keep a value small when all are added.
    let (key, double) = (Draw::below(keys), Draw::below(2 * SMALL));
    let (existing, any) = (Draw::below(SMALL), Draw::below(1_000_000));
    let (item, score) = (Draw::below(100_000).wide(5), Draw::digits(6));
    let (integer, known) = (Draw::digits(8), integers(2 * SMALL));
    let (hset, hget) = (&["HSET key:%0 f:%1 value-0123"], &["HGET key:%0 f:%1"]);
    let hincrby = &["HINCRBY key:%0 f:%1 3"];
    let (sadd, sismember) = (&["SADD key:%0 %1"], &["SISMEMBER key:%0 %1"]);
    let shorts: &[Short] = &[
        ("HSET", Fields, true, hset, &[key, double.wide(6)]),
        ("HGET", Fields, false, hget, &[key, existing.wide(6)]),
        (
            "HINCRBY",
            Counters,
            false,
            hincrby,
            &[key, existing.wide(6)],
        ),
        ("LPUSH", Items, true, LPUSH, &[key, item]),
        ("RPUSH+LPOP", Items, false, PUSH_POP, &[key, item]),
        ("SADD", Members, true, SADD, &[key, any]),
        ("SADD integers", Integers, true, sadd, &[key, integer]),
        ("SISMEMBER", Members, false, SISMEMBER, &[key, double]),
        (
            "SISMEMBER integers",
            Integers,
            false,
            sismember,
            &[key, known],
        ),
        ("ZADD", Scored, true, ZADD, &[key, score, double]),
        ("ZINCRBY", Scored, false, ZINCRBY, &[key, existing]),
    ];
    spell_out(shorts, keys, SMALL)
}

fn large(elements: u64) -> Result<Vec<Load>> {
    use Kind::{Items, Members, Scored, WideCounters, WideFields};
    let (key, double) = (Draw::below(1), Draw::below(2 * elements));
    let existing = Draw::below(elements);
    let (item, score) = (Draw::below(100_000).wide(5), Draw::digits(6));
    let hset = &["HSET key:%0 fld:%1 value-0123456789"];
    let hget = &["HGET key:%0 fld:%1"];
    let hincrby = &["HINCRBY key:%0 fld:%1 3"];
    let shorts: &[Short] = &[
        ("HSET", WideFields, true, hset, &[key, double]),
        ("HGET", WideFields, false, hget, &[key, existing]),
        ("HINCRBY", WideCounters, false, hincrby, &[key, existing]),
        ("LPUSH", Items, true, LPUSH, &[key, item]),
        ("RPUSH+LPOP", Items, false, PUSH_POP, &[key, item]),
        ("SADD", Members, true, SADD, &[key, double]),
        ("SISMEMBER", Members, false, SISMEMBER, &[key, double]),
        ("ZADD", Scored, true, ZADD, &[key, score, double]),
        ("ZINCRBY", Scored, false, ZINCRBY, &[key, existing]),
    ];
    spell_out(shorts, 1, elements)
}

/// Set members from the first integer on.
fn integers(count: u64) -> Draw {
    draw(FIRST_INTEGER, FIRST_INTEGER + count, 8)
}

/// Numbers of `low .. high` with so many digits.
pub(crate) fn draw(low: u64, high: u64, width: usize) -> Draw {
    let by = By::Chance;
    Draw {
        low,
        high,
        width,
        by,
    }
}

/// The start of a stretch of `span` elements among `elements`, without leading zeros: hence not
/// from the very first elements.
pub(crate) fn start_of(span: u64, elements: u64) -> Draw {
    let width = (elements - 1).to_string().len();
    draw(10u64.pow(width as u32 - 1), elements - span, width)
}

/// Every load of `ranges`.
fn ranges(options: &Options) -> Result<Vec<Load>> {
    let many = (options.keys / 100).max(2);
    let some = (options.keys / 1000).max(2);
    let few = (options.keys / 5000).max(2) & !1;
    let long = (options.elements / 10).max(1000);
    let key = Draw::below;
    // The two halves of the keys have half their members in common.
    let (first, second) = (key(few / 2), draw(few / 2, few, 12));
    let sets = Data::new(Kind::Members, few, 1000).overlapping();
    let zsets = Data::new(Kind::Scored, few, 1000).overlapping();
    let hashes = Data::new(Kind::Fields, many, 20);
    let (items, scored) = (
        Data::new(Kind::Items, some, 100),
        Data::new(Kind::Scored, some, 100),
    );
    let (long_list, long_zset) = (Data::one(Kind::Items, long), Data::one(Kind::Scored, long));
    let stretch = [key(1), start_of(100, long)];
    let score = draw(100_000, 900_000, 6);
    let by_score = "ZRANGEBYSCORE key:%0 %1 +inf LIMIT 0 10";
    let union = "ZUNIONSTORE dst:%2 2 key:%0 key:%1";
    let wide = |name, data, command, draws: &[Draw]| Load::new(name, data, &[command], draws);
    let long = |name, data, command, draws: &[Draw]| {
        anyhow::Ok(wide(name, data, command, draws)?.pipeline(4))
    };
    Ok(vec![
        wide("HGETALL", hashes, "HGETALL key:%0", &[key(many)])?,
        wide("LRANGE 100", items, "LRANGE key:%0 0 99", &[key(some)])?,
        wide("LRANGE 100", long_list, "LRANGE key:%0 %1 %1+99", &stretch)?,
        wide("ZRANGE 100", scored, "ZRANGE key:%0 0 99", &[key(some)])?,
        wide("ZRANGE 100", long_zset, "ZRANGE key:%0 %1 %1+99", &stretch)?,
        wide(
            "ZRANGEBYSCORE LIMIT 10",
            long_zset,
            by_score,
            &[key(1), score],
        )?,
        long("SMEMBERS", sets, "SMEMBERS key:%0", &[key(few)])?,
        long(
            "SINTER of two",
            sets,
            "SINTER key:%0 key:%1",
            &[first, second],
        )?,
        long(
            "SUNION of two",
            sets,
            "SUNION key:%0 key:%1",
            &[first, second],
        )?,
        long(
            "ZUNIONSTORE of two",
            zsets,
            union,
            &[first, second, key(few)],
        )?,
    ])
}

/// Runs loads: one table per mode.
pub(crate) fn run(bench: &Bench, title: &str, loads: &[Load], limit: f64) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Pinned]);
    let tables = modes.into_iter().map(|mode| {
        let mut beds = start_all(bench, mode)?;
        let clients = bench.options.clients;
        let title = format!("{title}, {clients} connections: {}", mode.title());
        let mut table = bench.table(title);
        let target = (!bench.options.quick).then_some(Target::RatioAtMost(limit));
        let mut rates = Vec::new();
        for load in loads {
            if !bench.options.wants(&load.label) {
                continue;
            }
            match compare(bench, &mut beds, mode, load) {
                Ok((cpu, rate)) => {
                    table.push(cpu.target(target));
                    rates.push(rate);
                }
                // A command that fails must not cost the figures of the others.
                Err(error) => {
                    table.fail(&load.label, &error);
                    beds.clear();
                    beds = start_all(bench, mode)?;
                }
            }
        }
        rates.into_iter().for_each(|row| table.push(row));
        Ok(table)
    });
    tables.collect()
}

/// A fresh server of each contender.
fn start_all(bench: &Bench, mode: Mode) -> Result<Vec<Bed>> {
    let servers = 0..bench.contenders.len();
    servers
        .map(|index| Ok(Bed::new(Contender::start(bench, index, mode, &[])?)))
        .collect()
}

/// One load on all servers: its rows of CPU and rate.
fn compare(bench: &Bench, beds: &mut [Bed], mode: Mode, load: &Load) -> Result<(Row, Row)> {
    let name = format!("{} P{}", load.label, load.pipeline);
    let mut cpu = Row::new(&name, "µs/request", beds.len());
    let mut rate = Row::new(format!("rate of {name}"), "k/s", beds.len());
    let options = &bench.options;
    let mut run = Run {
        step: &load.step,
        connections: options.clients,
        pipeline: load.pipeline,
        threads: options.client_threads.unwrap_or(1),
        cpus: Vec::new(),
        stop: Stop::After(options.load.min(Duration::from_millis(200))),
        seed: 0,
        way: Way::default(),
    };
    if mode == Mode::Pinned {
        let cores = process::cores();
        let cpus = (options.cpus.1..).take(run.threads);
        run.cpus = cpus.map(|cpu| cpu % cores).collect();
    }
    // The same number for all: the slowest one's.
    let mut requests = load.most;
    for (bed, contender) in beds.iter_mut().zip(&bench.contenders) {
        let outcome = bed
            .run(load, &run)
            .with_context(|| contender.name.clone())?;
        requests = requests.min((outcome.per_second * options.load.as_secs_f64()) as u64);
    }
    let least = 5 * run.pipeline * run.connections as u64;
    run.stop = Stop::Requests(requests.max(least));
    for round in 0..options.rounds {
        run.seed = round as u64 + 1;
        for index in bench.order(round) {
            let outcome = beds[index].run(load, &run)?;
            cpu.push(index, outcome.cpu_us);
            rate.push(index, outcome.per_second / 1000.0);
        }
    }
    Ok((cpu, rate))
}
