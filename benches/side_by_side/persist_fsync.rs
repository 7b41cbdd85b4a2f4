//! What the log costs: SET without a log, with `appendfsync everysec`, and with `always`; requests
//! per second and the server's CPU per request.
//!
//! With `always` a reply waits for the disk, so the rate at pipeline 1 is what counts there: it
//! shows how many replies one fsync serves. With `everysec` it is the CPU at pipeline 16. The log
//! is never rewritten during a run. A server of each kind stays alive over all the rounds.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::Bench;
use crate::load::{self, Draw, Run, Step, Stop};
use crate::options::Mode;
use crate::persist_writer::fill;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};
use crate::wire::Way;

/// The kinds of log, and their arguments.
const LOGS: [(&str, &[&str]); 3] = [
    ("no log", &[]),
    (
        "everysec",
        &["--appendonly", "yes", "--appendfsync", "everysec"],
    ),
    (
        "always",
        &["--appendonly", "yes", "--appendfsync", "always"],
    ),
];
const PIPELINES: [u64; 2] = [1, 16];
const VALUE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// One table per mode.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Pinned, Mode::Default]);
    modes.into_iter().map(|mode| compare(bench, mode)).collect()
}

/// The targets of rate and CPU.
fn targets(log: &str, pipeline: u64) -> (Option<Target>, Option<Target>) {
    match (log, pipeline) {
        ("always", 1) => (Some(Target::RatioAtLeast(1.5)), None),
        ("everysec", 16) => (None, Some(Target::RatioAtMost(0.6))),
        _ => (None, None),
    }
}

fn compare(bench: &Bench, mode: Mode) -> Result<Table> {
    let options = &bench.options;
    let contenders = bench.contenders.len();
    let mut table = bench.table(format!(
        "SET with and without a log, {} connections: {}",
        options.clients,
        mode.title()
    ));
    let step = Step::parse(
        &[&format!("SET key:%0 {VALUE}")],
        &[Draw::below(options.keys)],
    )?;
    let (mut rates, mut cpus) = (Vec::new(), Vec::new());
    for pipeline in PIPELINES {
        for (log, args) in LOGS {
            let label = format!("{log}, P{pipeline}");
            if !options.wants(&label) {
                continue;
            }
            let (rate_target, cpu_target) = match options.quick {
                true => (None, None),
                false => targets(log, pipeline),
            };
            let mut rate = Row::new(format!("rate, {label}"), "k/s", contenders);
            let mut cpu = Row::new(format!("CPU, {label}"), "µs/request", contenders);
            let servers = start(bench, mode, args)?;
            for round in 0..options.rounds {
                for index in bench.order(round) {
                    let run = Run {
                        step: &step,
                        connections: options.clients,
                        pipeline,
                        threads: options.client_threads.unwrap_or(1),
                        cpus: match mode {
                            Mode::Pinned => vec![options.cpus.1],
                            _ => Vec::new(),
                        },
                        stop: Stop::After(options.load),
                        seed: round as u64 + 1,
                        way: Way::default(),
                    };
                    let outcome = load::run(&servers[index], &run)
                        .with_context(|| format!("{label}: {}", bench.contenders[index].name))?;
                    rate.push(index, outcome.per_second / 1000.0);
                    cpu.push(index, outcome.cpu_us);
                    servers[index].quiet()?;
                }
            }
            rates.push(rate.target(rate_target));
            cpus.push(cpu.target(cpu_target));
        }
    }
    rates
        .into_iter()
        .chain(cpus)
        .for_each(|row| table.push(row));
    Ok(table)
}

/// Servers that hold every key, and have written it to their disk.
fn start(bench: &Bench, mode: Mode, log: &[&str]) -> Result<Vec<Server>> {
    let mut args = log.to_vec();
    if !log.is_empty() {
        args.extend(["--auto-aof-rewrite-percentage", "0"]);
    }
    let keys = bench.options.keys;
    let mut servers = Vec::new();
    for index in 0..bench.contenders.len() {
        let server = Contender::start(bench, index, mode, &args)?;
        fill(&mut server.connect()?, 0..keys)?;
        server.connect()?.expect_keys(keys)?;
        servers.push(server);
    }
    // The fill's fsync is over by then.
    std::thread::sleep(Duration::from_secs(u64::from(!bench.options.quick)));
    Ok(servers)
}
