//! Server CPU per request and requests per second, under the load of `valkey-benchmark`.
//!
//! CPU is what `/proc/PID/task/*/schedstat` counts for all threads between the start and the end of
//! a load run, divided by its requests: unlike the rate it hardly depends on what else the machine
//! does, and it is not limited by the client.
//!
//! All keys exist beforehand, so GET always finds and nothing grows during a run.

use std::ffi::OsString;
use std::io::Read;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::client::{encode, numbered};
use crate::options::{Mode, Options};
use crate::process::{self, Process};
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};

/// The value of every key that SET writes and GET reads.
const VALUE: &[u8; 16] = b"0123456789abcdef";
/// The longest a load run may take, whatever it was meant to take.
const LOAD_LIMIT: Duration = Duration::from_secs(120);

/// One kind of load.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// get, set or incr.
    pub(crate) test: String,
    pub(crate) clients: u64,
    pub(crate) pipeline: u64,
    /// All requests go to the same key.
    pub(crate) one_key: bool,
}

/// A group of loads and the modes in which they run by default.
pub(crate) struct Plan {
    title: &'static str,
    modes: Vec<Mode>,
    loads: Vec<Workload>,
    /// Whether the issue's targets are about these loads.
    judged: bool,
}

/// GET, SET and INCR at pipelines 1, 16, 64: the table that the targets are about.
pub(crate) fn grid(options: &Options) -> Plan {
    let mut loads = Vec::new();
    for &pipeline in &options.pipelines {
        for test in &options.tests {
            loads.push(Workload {
                test: test.clone(),
                clients: 50,
                pipeline,
                one_key: false,
            });
        }
    }
    let modes = options.modes_or(&[Mode::Pinned, Mode::Default]);
    Plan {
        title: "Random keys, 50 connections",
        modes,
        loads,
        judged: true,
    }
}

/// All connections increment one key.
pub(crate) fn hot_key() -> Plan {
    let load = Workload {
        test: "incr".into(),
        clients: 50,
        pipeline: 64,
        one_key: true,
    };
    Plan {
        title: "One hot key, 50 connections",
        modes: vec![Mode::Default],
        loads: vec![load],
        judged: false,
    }
}

/// Ten times the connections, short pipelines.
pub(crate) fn many_connections(options: &Options) -> Plan {
    let clients = if options.quick { 100 } else { 500 };
    let load = |test: &str| Workload {
        test: test.into(),
        clients,
        pipeline: 8,
        one_key: false,
    };
    Plan {
        title: "Random keys, many connections",
        modes: vec![Mode::Default],
        loads: vec![load("get"), load("set")],
        judged: false,
    }
}

/// Runs a plan: one table per mode.
pub(crate) fn run(bench: &Bench, plan: &Plan) -> Result<Vec<Table>> {
    let modes = match plan.judged {
        true => plan.modes.clone(),
        false => bench.options.modes_or(&plan.modes),
    };
    modes
        .into_iter()
        .map(|mode| run_mode(bench, plan, mode))
        .collect()
}

fn run_mode(bench: &Bench, plan: &Plan, mode: Mode) -> Result<Table> {
    let mut servers = Vec::new();
    for index in 0..bench.contenders.len() {
        let server = Contender::start(bench, index, mode, &[])?;
        preload(&server, bench.options.keys)?;
        servers.push(server);
    }
    let mut table = bench.table(format!("{}: {}", plan.title, mode.title()));
    let mut rates = Vec::new();
    for load in &plan.loads {
        let name = format!(
            "{} P{} c{}",
            load.test.to_uppercase(),
            load.pipeline,
            load.clients
        );
        let (cpu_target, rate_target) = match plan.judged && !bench.options.quick {
            true => targets(mode, load.pipeline),
            false => (None, None),
        };
        let contenders = servers.len();
        let mut cpu = Row::new(format!("CPU of {name}"), "µs/request", contenders);
        let mut rate = Row::new(format!("rate of {name}"), "k/s", contenders);
        let mut requests = Vec::new();
        for server in &servers {
            requests.push(calibrate(bench, server, mode, load)?);
        }
        for round in 0..bench.options.rounds {
            for index in bench.order(round) {
                let result = measure(bench, &servers[index], mode, load, requests[index])?;
                cpu.push(index, result.cpu_us);
                rate.push(index, result.per_second / 1000.0);
            }
        }
        table.push(cpu.target(cpu_target));
        rates.push(rate.target(rate_target));
    }
    rates.into_iter().for_each(|row| table.push(row));
    Ok(table)
}

/// What the issue asks of CPU per request and of the rate.
fn targets(mode: Mode, pipeline: u64) -> (Option<Target>, Option<Target>) {
    match (mode, pipeline) {
        (Mode::Default, 1) => (Some(Target::RatioAtMost(1.0)), None),
        (Mode::Default, _) => (None, None),
        (_, 1) => (Some(Target::RatioAtMost(0.80)), None),
        (_, 16) => (Some(Target::RatioAtMost(0.50)), None),
        (_, 64) => (
            Some(Target::RatioAtMost(0.45)),
            Some(Target::RatioAtLeast(1.7)),
        ),
        _ => (None, None),
    }
}

/// Writes every key that a load may name.
pub(crate) fn preload(server: &Server, keys: u64) -> Result<()> {
    let mut client = server.connect()?;
    client.fill(0..keys, 500, |out, number| {
        encode(out, &[b"SET", &numbered(b"key:", number), VALUE]);
    })?;
    client.fill(0..keys, 500, |out, number| {
        encode(out, &[b"SET", &counter(number), b"1"]);
    })?;
    client.expect_keys(2 * keys)
}

/// The keys of valkey-benchmark's INCR: `counter:` and twelve digits.
fn counter(number: u64) -> [u8; 20] {
    let mut key = *b"counter:000000000000";
    key[4 + 4..].copy_from_slice(&numbered(b"key:", number)[4..]);
    key
}

/// The number of requests that takes about as long as a load run should.
fn calibrate(bench: &Bench, server: &Server, mode: Mode, load: &Workload) -> Result<u64> {
    let first = match bench.options.quick {
        true => 2000 * load.pipeline,
        false => 20_000 * load.pipeline.min(16),
    };
    let rate = measure(bench, server, mode, load, first)?.per_second;
    let requests = (rate * bench.options.load.as_secs_f64()) as u64;
    Ok(requests.max(load.clients * load.pipeline))
}

struct Measured {
    cpu_us: f64,
    per_second: f64,
}

fn measure(
    bench: &Bench,
    server: &Server,
    mode: Mode,
    load: &Workload,
    requests: u64,
) -> Result<Measured> {
    let before = process::cpu_ns(server.pid())?;
    let per_second = drive(bench, server, mode, load, requests)?;
    // A thread's time is counted when it goes to sleep: let it.
    thread::sleep(Duration::from_millis(5));
    let used = process::cpu_ns(server.pid())?.saturating_sub(before);
    Ok(Measured {
        cpu_us: used as f64 / 1000.0 / requests as f64,
        per_second,
    })
}

/// Runs the load tool to its end and returns the requests per second that it saw.
pub(crate) fn drive(
    bench: &Bench,
    server: &Server,
    mode: Mode,
    load: &Workload,
    requests: u64,
) -> Result<f64> {
    let mut words = tool(bench)?;
    let port = server.port.to_string();
    let [clients, pipeline] = [load.clients, load.pipeline].map(|n| n.to_string());
    let (keys, requests) = (bench.options.keys.to_string(), requests.to_string());
    let mut args = vec!["-h", "127.0.0.1", "-p", &port, "-d", "16", "--csv"];
    args.extend([
        "-c", &clients, "-P", &pipeline, "-n", &requests, "-t", &load.test,
    ]);
    if !load.one_key {
        args.extend(["-r", &keys]);
    }
    words.extend(args.into_iter().map(OsString::from));
    let cpu = (mode == Mode::Pinned).then(|| match process::cores() {
        1 => bench.options.cpus.0,
        _ => bench.options.cpus.1,
    });
    let cpu = cpu.map(|cpu| cpu.to_string());
    let mut process = Process::start(&words, cpu.as_deref(), |command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
    })?;
    let status = process.wait(LOAD_LIMIT)?;
    let mut text = String::new();
    process
        .child()
        .stdout
        .take()
        .context("no output")?
        .read_to_string(&mut text)?;
    ensure!(status.success(), "{words:?} failed, {status}: {text}");
    rate(&text).with_context(|| format!("{words:?} printed: {text}"))
}

/// `valkey-benchmark` of the oracle folder, else `redis-benchmark` of the PATH.
fn tool(bench: &Bench) -> Result<Vec<OsString>> {
    let oracle = &bench.options.oracle;
    if oracle.join("usr/bin/valkey-benchmark").exists() {
        return Ok(vec![
            "chroot".into(),
            oracle.into(),
            "valkey-benchmark".into(),
        ]);
    }
    ensure!(
        process::in_path("redis-benchmark"),
        "neither {}/usr/bin/valkey-benchmark nor redis-benchmark (apt install redis-tools)",
        oracle.display()
    );
    Ok(vec!["redis-benchmark".into()])
}

/// The second column of the data line: `"GET","907441.00",...`.
fn rate(csv: &str) -> Option<f64> {
    let line = csv
        .lines()
        .find(|l| l.starts_with('"') && !l.starts_with("\"test\""))?;
    let rate: f64 = line.split(',').nth(1)?.trim_matches('"').parse().ok()?;
    (rate > 0.0).then_some(rate)
}
