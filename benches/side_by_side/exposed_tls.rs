//! What TLS costs: CPU per GET over connections that stand, and full handshakes per CPU second.
//!
//! Both servers show the same certificate and are spoken to by the same client (`wire`), with the same
//! version and, as the first choice of both, the same suite. Handshakes are full ones: the client keeps no
//! session. One counts when a PING behind it is answered, so that what the server defers is in it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::Bench;
use crate::crowd;
use crate::data::{Data, Kind};
use crate::load::{self, Draw, Run, Step, Stop};
use crate::options::Mode;
use crate::process;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Folder, Server, free_port};
use crate::wire::{Way, Wire, client_config};

/// What a request may cost, as a part of the rival's cost.
const CPU_LIMIT: f64 = 0.9;
/// How many more handshakes there have to be.
const HANDSHAKES_LIMIT: f64 = 1.2;
/// Clients that shake hands at a time: the server always has one to work on.
const SHAKERS: usize = 8;

/// A kind of certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    P256,
    Rsa2048,
}

impl Key {
    fn label(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::Rsa2048 => "RSA 2048",
        }
    }

    /// Arguments of `openssl req` that make such a key.
    fn made_by(self) -> &'static [&'static str] {
        match self {
            Self::P256 => &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            Self::Rsa2048 => &["-newkey", "rsa:2048"],
        }
    }
}

/// A server that speaks TLS, beside its plain port.
struct Sealed {
    server: Server,
    tls_port: u16,
    /// Declared last: the server reads it until it ends.
    _certificate: Folder,
}

impl Sealed {
    fn start(bench: &Bench, index: usize, mode: Mode, key: Key) -> Result<Self> {
        let folder = Contender::folder(bench, index)?;
        make_certificate(&folder.path, key)?;
        let tls_port = match bench.options.port_base {
            Some(base) => base + 16 + u16::try_from(index)?,
            None => free_port()?,
        };
        let (certificate, private) = (folder.inside("certificate"), folder.inside("key"));
        let extra = [
            "--tls-port",
            &tls_port.to_string(),
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &private,
            "--tls-ca-cert-file",
            &certificate,
            "--tls-auth-clients",
            "no",
        ];
        Ok(Self {
            server: Contender::start(bench, index, mode, &extra)?,
            tls_port,
            _certificate: folder,
        })
    }

    fn way(&self, version: &'static SupportedProtocolVersion) -> Result<Way> {
        Ok(Way {
            port: Some(self.tls_port),
            tls: Some(client_config(version)?),
            ..Way::default()
        })
    }
}

fn start_all(bench: &Bench, mode: Mode, key: Key) -> Result<Vec<Sealed>> {
    let all = 0..bench.contenders.len();
    all.map(|index| Sealed::start(bench, index, mode, key))
        .collect()
}

/// A certificate signed by its own key, and the key, both readable by any server.
fn make_certificate(folder: &Path, key: Key) -> Result<()> {
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-x509",
        "-nodes",
        "-days",
        "30",
        "-subj",
        "/CN=localhost",
    ]);
    command.args(["-addext", "subjectAltName=IP:127.0.0.1"]);
    command.args(key.made_by());
    command.arg("-keyout").arg(folder.join("key"));
    command.arg("-out").arg(folder.join("certificate"));
    let output = command.output().context("starting openssl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl: {said}");
    // openssl keeps keys to their owner, who may be another than the server's.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(folder.join("key"), readable)?;
    Ok(())
}

/// One table per mode.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Pinned]);
    modes
        .into_iter()
        .map(|mode| requests(bench, mode))
        .collect()
}

fn requests(bench: &Bench, mode: Mode) -> Result<Table> {
    let options = &bench.options;
    let servers = start_all(bench, mode, Key::P256)?;
    for sealed in &servers {
        Data::new(Kind::Text, options.keys, 1).write(&sealed.server)?;
        sealed.server.quiet()?;
    }
    let (clients, title) = (options.clients, mode.title());
    let mut table = bench.table(format!("GET over TLS, {clients} connections: {title}"));
    let step = Step::parse(&["GET key:%0"], &[Draw::below(options.keys)])?;
    let mut rates = Vec::new();
    for (version, pipeline, judged) in [
        (Some(&TLS13), 1, true),
        (Some(&TLS13), 16, true),
        (Some(&TLS12), 1, false),
        (Some(&TLS12), 16, false),
        (None, 1, false),
        (None, 16, false),
    ] {
        let version_name = match version {
            None => "plain",
            Some(version) if *version == TLS13 => "TLS 1.3",
            Some(_) => "TLS 1.2",
        };
        let label = format!("GET P{pipeline}, {version_name}");
        if !options.wants(&label) {
            continue;
        }
        let target = (judged && !options.quick).then_some(Target::RatioAtMost(CPU_LIMIT));
        let mut cpu = Row::new(label.clone(), "µs/request", servers.len()).target(target);
        let mut rate = Row::new(format!("rate of {label}"), "k/s", servers.len());
        for round in 0..options.rounds {
            for index in bench.order(round) {
                let sealed = &servers[index];
                let run = Run {
                    step: &step,
                    connections: clients,
                    pipeline,
                    threads: options.client_threads.unwrap_or(1),
                    cpus: crowd::client_cpu(bench, mode).into_iter().collect(),
                    stop: Stop::After(options.load),
                    seed: round as u64 + 1,
                    way: match version {
                        Some(version) => sealed.way(version)?,
                        None => Way::default(),
                    },
                };
                let outcome = load::run(&sealed.server, &run)
                    .with_context(|| format!("{label}: {}", bench.contenders[index].name))?;
                ensure!(outcome.empty == 0, "{label}: a key is missing");
                cpu.push(index, outcome.cpu_us);
                rate.push(index, outcome.per_second / 1000.0);
            }
        }
        table.push(cpu);
        rates.push(rate);
    }
    rates.into_iter().for_each(|row| table.push(row));
    Ok(table)
}

/// One table per mode.
pub(crate) fn run_handshakes(bench: &Bench) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Pinned]);
    modes
        .into_iter()
        .map(|mode| handshakes(bench, mode))
        .collect()
}

fn handshakes(bench: &Bench, mode: Mode) -> Result<Table> {
    let mut table = bench.table(format!(
        "Full handshakes per CPU second of the server: {}",
        mode.title()
    ));
    for key in [Key::P256, Key::Rsa2048] {
        let servers = start_all(bench, mode, key)?;
        for (version, name, judged) in [(&TLS13, "TLS 1.3", true), (&TLS12, "TLS 1.2", false)] {
            let label = format!("{name}, {}", key.label());
            if !bench.options.wants(&label) {
                continue;
            }
            let judged = judged && !bench.options.quick;
            let target = judged.then_some(Target::RatioAtLeast(HANDSHAKES_LIMIT));
            let mut row = Row::new(label.clone(), "handshakes/s", servers.len()).target(target);
            for round in 0..bench.options.rounds {
                for index in bench.order(round) {
                    let sealed = &servers[index];
                    let per_second = shake(bench, mode, sealed, &sealed.way(version)?)
                        .with_context(|| format!("{label}: {}", bench.contenders[index].name))?;
                    row.push(index, per_second);
                }
            }
            table.push(row);
        }
    }
    Ok(table)
}

/// Shakes hands for as long as a run lasts; handshakes per second of the server's CPU.
fn shake(bench: &Bench, mode: Mode, sealed: &Sealed, way: &Way) -> Result<f64> {
    let cpu = crowd::client_cpu(bench, mode);
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (port, pid) = (sealed.server.port, sealed.server.pid());
    // Whatever a server makes at the first handshake is not counted.
    Wire::connect(port, way)?;
    sealed.server.quiet()?;
    let before = process::cpu_ns(pid)?;
    let begin = Instant::now();
    thread::scope(|scope| {
        let shaker = || {
            // Only for its place: this thread waits in blocking reads.
            load::event_loop(cpu)?;
            while !stop.load(Ordering::Relaxed) {
                Wire::connect(port, way)?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        };
        let shakers: Vec<_> = (0..SHAKERS).map(|_| scope.spawn(shaker)).collect();
        while begin.elapsed() < bench.options.load {
            thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
        shakers.into_iter().try_for_each(|shaker| {
            let ended = shaker.join();
            ended.map_err(|_| anyhow!("a client panicked"))?
        })
    })?;
    // The last connections have to be closed, too.
    sealed.server.quiet()?;
    let used = process::cpu_ns(pid)?.saturating_sub(before);
    let done = done.into_inner();
    ensure!(done > 0 && used > 0, "no handshake was made");
    Ok(done as f64 / (used as f64 / 1e9))
}
