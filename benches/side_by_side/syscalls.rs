//! System calls per request, counted by `strace -c -f` during a short load.
//!
//! strace slows the server, so more requests wait at each wake-up than without it and epoll's share
//! is a little low; both servers are counted alike.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::cpu::{self, Workload};
use crate::options::Mode;
use crate::process::{self, Process};
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Folder, Server};

/// How a request's data come and go, and how the server waits for them.
const TRAFFIC: &[&str] = &[
    "read",
    "readv",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "write",
    "writev",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "io_uring_enter",
];
/// What connecting, disconnecting and the servers' periodic jobs need: not a request's cost.
const SETUP: &[&str] = &[
    "accept",
    "accept4",
    "setsockopt",
    "getsockopt",
    "getpeername",
    "getsockname",
    "epoll_ctl",
    "fcntl",
    "ioctl",
    "shutdown",
    "openat",
    "open",
    "close",
    "fstat",
    "newfstatat",
    "lseek",
    "getpid",
    "restart_syscall",
];

/// Counts at pipelines 1 and 16.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    ensure!(
        process::in_path("strace"),
        "strace is missing (apt install strace)"
    );
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Single]) {
        let mut servers = Vec::new();
        for index in 0..bench.contenders.len() {
            let server = Contender::start(bench, index, mode, &[])?;
            cpu::preload(&server, bench.options.keys)?;
            servers.push(server);
        }
        let mut table = bench.table(format!("System calls per request: {}", mode.title()));
        for (pipeline, limit) in [(1, 2.07), (16, 0.14)] {
            let target = (!bench.options.quick).then_some(Target::AtMost(limit));
            let name = |what| format!("{what}, GET P{pipeline}");
            let mut traffic = Row::new(name("read + write + epoll"), "calls", servers.len());
            let mut rest = Row::new(name("others (futex, memory, time)"), "calls", servers.len());
            for round in 0..bench.options.rounds {
                for index in bench.order(round) {
                    let counted = count(bench, &servers[index], mode, pipeline)?;
                    traffic.push(index, counted.0);
                    rest.push(index, counted.1);
                }
            }
            table.push(traffic.target(target));
            table.push(rest);
        }
        tables.push(table);
    }
    Ok(tables)
}

/// Calls per request of one load run: traffic and others.
fn count(bench: &Bench, server: &Server, mode: Mode, pipeline: u64) -> Result<(f64, f64)> {
    let folder = Folder::new(Path::new("/"), Path::new("/"))?;
    let summary = folder.path.join("summary");
    let mut words: Vec<OsString> = ["strace", "-c", "-f", "-o"].map(OsString::from).into();
    words.push(summary.clone().into());
    words.extend(["-p".into(), OsString::from(server.pid().to_string())]);
    let mut strace = Process::start(&words, None, |command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
    })?;
    let stderr = strace
        .child()
        .stderr
        .take()
        .context("strace has no stderr")?;
    let mut first = String::new();
    let mut stderr = BufReader::new(stderr);
    stderr.read_line(&mut first)?;
    ensure!(first.contains("attached"), "strace: {first}");
    let requests = match (bench.options.quick, pipeline) {
        (true, _) => 500 * pipeline,
        (false, 1) => 15_000,
        (false, _) => 8000 * pipeline,
    };
    let load = Workload {
        test: "get".into(),
        clients: 50,
        pipeline,
        one_key: false,
    };
    cpu::drive(bench, server, mode, &load, requests)?;
    strace.interrupt()?;
    strace.wait(Duration::from_secs(10))?;
    let calls = parse(&fs::read_to_string(&summary)?);
    let sum = |wanted: &dyn Fn(&str) -> bool| -> f64 {
        let calls = calls.iter().filter(|(name, _)| wanted(name));
        calls.map(|(_, count)| *count).sum::<u64>() as f64 / requests as f64
    };
    let traffic = sum(&|name| TRAFFIC.contains(&name));
    ensure!(traffic > 0.0, "strace counted nothing");
    let rest = sum(&|name| !TRAFFIC.contains(&name) && !SETUP.contains(&name));
    Ok((traffic, rest))
}

/// The summary's lines are: % time, seconds, usecs/call, calls, perhaps errors, name.
fn parse(summary: &str) -> BTreeMap<String, u64> {
    let mut calls = BTreeMap::new();
    for line in summary.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (Some(count), Some(name)) = (words.get(3), words.last()) else {
            continue;
        };
        if let (Ok(count), false) = (count.parse(), *name == "total") {
            calls.insert((*name).to_string(), count);
        }
    }
    calls
}
