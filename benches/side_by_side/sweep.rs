//! The sweep: what every family of commands costs beside Valkey and Redis, in one table and one chart.
//!
//! `sweep_rows` lists the workloads, `sweep_data` what they meet. All servers hold all the data and stay
//! alive; each workload is run by them in turn, `--rounds` times, with as many requests for all of them as the
//! slowest does in `--seconds`, from the same seed. `sweep_state` keeps each figure as it comes, `sweep_page`
//! and `sweep_chart` make something to look at of them.
//!
//! A workload that fails is told, and the others go on with fresh servers.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::Bench;
use crate::client::{Client, Reply};
use crate::collections::{draw, start_of};
use crate::crowd;
use crate::data::FIRST_INTEGER;
use crate::load::{self, Draw, Run, Step, Stop};
use crate::options::{Mode, Options};
use crate::process;
use crate::publish;
use crate::report::Table;
use crate::scripts;
use crate::server::{Contender, Server};
use crate::sweep_chart;
use crate::sweep_data::{self, Part};
use crate::sweep_page;
use crate::sweep_rows::{Drive, FAMILIES, Line};
use crate::sweep_state::{Figures, State};
use crate::wire::{Way, Wire};

/// Keys and elements to choose from where nothing is written before.
const FREE: u64 = 100_000;
/// How long a run is that finds out how fast a server is.
const TRIAL: Duration = Duration::from_millis(80);
/// Batches of each connection, at least.
const BATCHES_MIN: u64 = 4;
/// What a server is started with: connections.
const EXTRA: &[&str] = &["--maxclients", "12000"];

/// A line of a list with one of its pipelines.
pub(crate) struct Workload {
    pub(crate) family: &'static str,
    pub(crate) name: &'static str,
    pub(crate) label: String,
    pub(crate) pipeline: u64,
    pub(crate) connections: usize,
    line: Line,
}

impl Workload {
    /// Those whose label holds the word that was asked for.
    fn all(options: &Options) -> Vec<Self> {
        let mut workloads = Vec::new();
        for &(family, lines) in FAMILIES {
            for &line in lines {
                let connections = match line.connections {
                    0 => options.clients,
                    some => some,
                };
                for &pipeline in line.pipelines {
                    let name = line.name;
                    workloads.push(Self {
                        family,
                        name,
                        label: format!("{family}: {name} c{connections} P{pipeline}"),
                        pipeline,
                        connections,
                        line,
                    });
                }
            }
        }
        workloads.retain(|workload| options.wants(&workload.label));
        workloads
    }

    /// Where the prefixes stand of all that must be there.
    fn texts(&self) -> [&'static str; 3] {
        let partner = match self.line.drive {
            Drive::Partners(commands) => commands,
            _ => "",
        };
        [self.line.commands, partner, self.line.needs]
    }

    /// Its commands as the load generator wants them.
    fn step(&self, parts: &[Part]) -> Result<Step> {
        let step = |text| {
            let mut spelled = Spelled::new(self, parts);
            let commands = spelled.commands(text);
            let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
            Step::parse(&commands, &spelled.draws)
        };
        match self.line.drive {
            Drive::Partners(others) => step(self.line.commands)?.with_partner(step(others)?),
            _ => step(self.line.commands),
        }
    }
}

/// Commands whose places have become draws.
struct Spelled<'a> {
    workload: &'a Workload,
    parts: &'a [Part],
    /// By letter and what it chooses from.
    known: Vec<(char, u64)>,
    draws: Vec<Draw>,
    /// Elements of the key that was named last.
    elements: u64,
}

impl<'a> Spelled<'a> {
    fn new(workload: &'a Workload, parts: &'a [Part]) -> Self {
        Self {
            workload,
            parts,
            known: Vec::new(),
            draws: Vec::new(),
            elements: FREE,
        }
    }

    fn commands(&mut self, text: &str) -> Vec<String> {
        let commands = text.split("; ");
        let mut spell = |command: &str| {
            let words = command.split(' ').map(|word| self.word(word));
            words.collect::<Vec<String>>().join(" ")
        };
        commands.map(&mut spell).collect()
    }

    fn word(&mut self, word: &str) -> String {
        let mut keys = FREE;
        if let Some(part) = self.parts.iter().find(|part| word.starts_with(part.prefix)) {
            (keys, self.elements) = (part.keys, part.elements);
        }
        let mut spelled = String::new();
        let mut rest = word.chars();
        while let Some(letter) = rest.next() {
            match (letter, if letter == '%' { rest.next() } else { None }) {
                ('%', Some('v')) => spelled += &"v".repeat(self.workload.line.bytes),
                ('%', Some('S')) => spelled += &scripts::sha(scripts::RELEASE),
                ('%', Some(place)) => spelled += &self.place(place, keys),
                (letter, _) => spelled.push(letter),
            }
        }
        spelled
    }

    /// The place of a draw, as [`Step::parse`] wants it.
    fn place(&mut self, letter: char, keys: u64) -> String {
        let elements = self.elements;
        let connections = self.workload.connections as u64;
        let integers = |from: u64| {
            let low = FIRST_INTEGER + from;
            draw(low, FIRST_INTEGER + 2 * elements, 8)
        };
        let of = match letter {
            'k' | 'K' => Draw::below(keys),
            'e' | 'E' => Draw::below(elements),
            'f' => Draw::below(elements.min(1_000_000)).wide(6),
            'd' => Draw::below(2 * elements),
            'a' => draw(elements, 2 * elements, 12),
            'i' => integers(0),
            'j' => integers(elements),
            's' => Draw::digits(6),
            'b' => start_of(1, 8 << 20),
            'x' | 'X' => draw(10, 80, 2),
            'y' | 'Y' => Draw::digits(6),
            'c' => Draw::connection(connections),
            'p' => Draw::pair(connections),
            _ => Draw::digits(8),
        };
        let known = (letter, of.high);
        let index = self.known.iter().position(|&there| there == known);
        let index = index.unwrap_or_else(|| {
            self.known.push(known);
            self.draws.push(of);
            self.draws.len() - 1
        });
        format!("%{index}")
    }
}

/// A running server and the data that it holds.
struct Bed {
    server: Server,
    holds: HashSet<&'static str>,
}

impl Bed {
    /// Writes what a workload needs and is not there.
    fn prepare(&mut self, workload: &Workload, parts: &[Part]) -> Result<()> {
        let mut written = false;
        for part in parts {
            let needed = |text: &&str| text.contains(part.prefix);
            if workload.texts().iter().any(needed) && self.holds.insert(part.prefix) {
                part.write(&self.server)?;
                written = true;
            }
        }
        if written {
            self.server.quiet()?;
        }
        Ok(())
    }
}

/// Everything that is measured with.
struct Sweep<'a> {
    bench: &'a Bench,
    mode: Mode,
    parts: Vec<Part>,
    beds: Vec<Bed>,
}

/// All workloads: a table, and the chart if a file for it was named.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let options = &bench.options;
    let mode = options.modes_or(&[Mode::Pinned])[0];
    let workloads = Workload::all(options);
    let names: Vec<&str> = bench.contenders.iter().map(|c| c.name.as_str()).collect();
    let mut state = State::open(&options.state, &names, options.goes_on)?;
    let mut sweep = Sweep {
        bench,
        mode,
        parts: sweep_data::parts(options),
        beds: Vec::new(),
    };
    let mut failures = Vec::new();
    let begin = Instant::now();
    for (number, workload) in workloads.iter().enumerate() {
        if state.rounds(&workload.label) >= options.rounds {
            continue;
        }
        let said = match sweep.measure(workload, &mut state) {
            Ok(()) => sweep_page::line(&state, &workload.label),
            Err(error) => {
                let said = format!("{error:#}");
                failures.push((workload.label.clone(), error));
                sweep.beds.clear();
                format!("FAILED: {said}")
            }
        };
        let (done, all) = (number + 1, workloads.len());
        let seconds = begin.elapsed().as_secs();
        eprintln!("# {seconds} s, {done} of {all}: {}: {said}", workload.label);
    }
    if let Some(path) = &options.svg {
        std::fs::write(path, sweep_chart::draw(&workloads, &state, &names))?;
    }
    let mut table = sweep_page::table(bench, mode, &workloads, &state);
    for (label, error) in &failures {
        table.fail(label, error);
    }
    Ok(vec![table])
}

impl Sweep<'_> {
    /// The rounds of a workload that are missing.
    fn measure(&mut self, workload: &Workload, state: &mut State) -> Result<()> {
        let options = &self.bench.options;
        if self.beds.is_empty() {
            for index in 0..self.bench.contenders.len() {
                self.beds.push(Bed {
                    server: Contender::start(self.bench, index, self.mode, EXTRA)?,
                    holds: HashSet::new(),
                });
            }
        }
        for (bed, contender) in self.beds.iter_mut().zip(&self.bench.contenders) {
            let prepared = bed.prepare(workload, &self.parts);
            prepared.with_context(|| contender.name.clone())?;
        }
        let step = workload.step(&self.parts)?;
        let requests = self.requests(workload, &step)?;
        for round in state.rounds(&workload.label)..options.rounds {
            for index in self.bench.order(round) {
                let figures = self.once(workload, &step, index, (requests, round as u64 + 1));
                let figures = figures.with_context(|| self.bench.contenders[index].name.clone())?;
                state.push(&workload.label, index, figures)?;
            }
        }
        Ok(())
    }

    /// As many requests as the slowest makes in the time of a run.
    fn requests(&self, workload: &Workload, step: &Step) -> Result<u64> {
        let least = BATCHES_MIN * workload.pipeline * workload.connections as u64;
        let seconds = self.bench.options.sweep_load.as_secs_f64();
        let mut requests = u64::MAX;
        for index in 0..self.beds.len() {
            let trial = |requests| {
                let trial = self.once(workload, step, index, (requests, 0));
                trial.with_context(|| self.bench.contenders[index].name.clone())
            };
            // The first is too short to tell how fast it is, but tells how long another may be.
            let first = trial(2 * least)?;
            let enough = (first.per_second * TRIAL.as_secs_f64().min(seconds)) as u64;
            let second = if enough > 4 * least {
                trial(enough)?
            } else {
                first
            };
            requests = requests.min((second.per_second * seconds) as u64);
        }
        Ok(requests.max(least))
    }

    /// One run of one server. Round 0 is a trial; what is measured by time takes less then.
    fn once(
        &self,
        workload: &Workload,
        step: &Step,
        index: usize,
        (requests, round): (u64, u64),
    ) -> Result<Figures> {
        let server = &self.beds[index].server;
        let time = match round {
            0 => self.bench.options.sweep_load.min(TRIAL),
            _ => self.bench.options.sweep_load,
        };
        let cpu = crowd::client_cpu(self.bench, self.mode);
        match workload.line.drive {
            Drive::Commands | Drive::Partners(_) => {
                let run = Run {
                    step,
                    connections: workload.connections,
                    pipeline: workload.pipeline,
                    threads: self.bench.options.client_threads.unwrap_or(1),
                    cpus: cpu.into_iter().collect(),
                    stop: Stop::Requests(requests),
                    seed: round,
                    way: Way::default(),
                };
                let outcome = load::run(server, &run)?;
                ensure!(
                    outcome.empty == 0 || workload.line.lenient,
                    "{} of {} replies were empty",
                    outcome.empty,
                    outcome.requests
                );
                Ok(Figures {
                    cpu_us: outcome.cpu_us,
                    per_second: outcome.per_second,
                })
            }
            Drive::Publish(subscribers) => {
                let shape = (subscribers, workload.pipeline, time);
                let done = publish::once(self.bench, self.mode, server, shape)?;
                let delivered = done.delivered as f64;
                Ok(Figures {
                    cpu_us: done.cpu_ns as f64 / 1000.0 / delivered,
                    per_second: delivered / done.seconds,
                })
            }
            Drive::Walk => repeat(server, cpu, time, |client| walk(client, workload)),
            Drive::Connect => repeat(server, cpu, time, |_| {
                Wire::connect(server.port, &Way::default())?;
                Ok(1)
            }),
        }
    }
}

/// Repeats `work` on a connection until the time is over; it tells how much it has done.
fn repeat(
    server: &Server,
    cpu: Option<usize>,
    time: Duration,
    mut work: impl FnMut(&mut Client) -> Result<u64> + Send,
) -> Result<Figures> {
    let (done, seconds, cpu_ns) = crowd::alone(cpu, || async {
        let mut client = server.connect()?;
        let before = process::cpu_ns(server.pid())?;
        let begin = Instant::now();
        let mut done = 0;
        while begin.elapsed() < time {
            done += work(&mut client)?;
        }
        let cpu_ns = process::cpu_ns(server.pid())?.saturating_sub(before);
        Ok((done as f64, begin.elapsed().as_secs_f64(), cpu_ns))
    })?;
    ensure!(done > 0.0, "nothing was found");
    Ok(Figures {
        cpu_us: cpu_ns as f64 / 1000.0 / done,
        per_second: done / seconds,
    })
}

/// Follows a cursor from 0 to 0; elements that came.
fn walk(client: &mut Client, workload: &Workload) -> Result<u64> {
    let mut cursor = b"0".to_vec();
    let mut found = 0;
    loop {
        let words = workload.line.commands.split(' ');
        let words: Vec<&[u8]> = words
            .map(|word| match word {
                "%z" => &cursor[..],
                word => word.as_bytes(),
            })
            .collect();
        let Reply::Array(reply) = client.call(&words)? else {
            bail!("not a page of a scan");
        };
        let [Reply::Text(next), Reply::Array(page)] = &reply[..] else {
            bail!("not a page of a scan: {reply:?}");
        };
        found += page.len() as u64;
        if next == b"0" {
            return Ok(found);
        }
        cursor = next.clone();
    }
}
