//! What it costs to be careful: a user with rules of his own, and figures of everything that is done.
//!
//! Both are ratios within one server: the same load with and without. TLS is `exposed_tls`'s, strangers are
//! `exposed_unread`'s.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::client::{Reply, encode};
use crate::crowd;
use crate::data::{Data, Kind};
use crate::load::{self, Draw, Run, Step, Stop};
use crate::options::Mode;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server, free_port};
use crate::wire::Way;

/// What a user with rules may cost, as a part of the default user's cost.
const RIGHTS_LIMIT: f64 = 1.1;
/// What figures may cost, as a part of the cost without.
const FIGURES_LIMIT: f64 = 1.05;
/// The longest that a page of metrics may take.
const PAGE_LIMIT: Duration = Duration::from_secs(10);

/// Twenty rules, of which one lets the user read the keys of the load.
const OWN_RULES: &str = "on >secret ~app:* ~cache:* ~session:* %R~config:* %W~log:* ~user:*:profile \
    ~key:* &news:* &chat:* +@read +@write +@connection -@dangerous -@admin +config|get -keys \
    +client|list +info";
/// The same but for that one.
const OTHER_RULES: &str = "on >secret ~app:* ~cache:* ~session:* %R~config:* %W~log:* ~user:*:profile \
    ~none:* &news:* &chat:* +@read +@write +@connection -@dangerous -@admin +config|get -keys \
    +client|list +info";
const SELECTORS: [&str; 4] = [
    "(+@read ~tmp:*)",
    "(+set ~queue:*)",
    "(%R~stats:* +get)",
    "(+@hash ~h:*)",
];

/// The users: what is told of them, and their rules.
fn users() -> [(&'static str, &'static str, Vec<&'static str>); 2] {
    let user = |rules: &'static str, last: &'static str| {
        let rules = rules.split_whitespace().chain(SELECTORS);
        rules.chain([last]).collect::<Vec<_>>()
    };
    [
        (
            "own",
            "a user whose own rules allow it",
            user(OWN_RULES, "(+get ~other:*)"),
        ),
        (
            "selected",
            "a user whose last selector allows it",
            user(OTHER_RULES, "(+get ~key:*)"),
        ),
    ]
}

/// GET at pipeline 16 over random keys, on connections that are made in this way.
fn gets<'s>(bench: &Bench, mode: Mode, step: &'s Step, round: usize, way: Way) -> Run<'s> {
    Run {
        step,
        connections: bench.options.clients,
        pipeline: 16,
        threads: bench.options.client_threads.unwrap_or(1),
        cpus: crowd::client_cpu(bench, mode).into_iter().collect(),
        stop: Stop::After(bench.options.load),
        seed: round as u64 + 1,
        way,
    }
}

fn step(bench: &Bench) -> Result<Step> {
    Step::parse(&["GET key:%0"], &[Draw::below(bench.options.keys)])
}

/// One table per mode.
pub(crate) fn run_rights(bench: &Bench) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Pinned]);
    modes.into_iter().map(|mode| rights(bench, mode)).collect()
}

fn rights(bench: &Bench, mode: Mode) -> Result<Table> {
    let mut servers = Vec::new();
    for index in 0..bench.contenders.len() {
        let server = Contender::start(bench, index, mode, &[])?;
        Data::new(Kind::Text, bench.options.keys, 1).write(&server)?;
        add_users(&server)?;
        server.quiet()?;
        servers.push(server);
    }
    let clients = bench.options.clients;
    let title = mode.title();
    let mut table = bench.table(format!(
        "GET by users with 20 rules and 5 selectors, {clients} connections: {title}"
    ));
    let step = step(bench)?;
    let mut costs = Vec::new();
    for (name, label, _) in users() {
        if !bench.options.wants(label) {
            continue;
        }
        let mut greeting = Vec::new();
        encode(&mut greeting, &[b"AUTH", name.as_bytes(), b"secret"]);
        let way = Way {
            greeting,
            ..Way::default()
        };
        let of = format!("GET P16, {label}");
        let mut ratio = Row::new(format!("{of}, over the default user"), "x", servers.len());
        let mut cost = Row::new(of, "µs/request", servers.len());
        for round in 0..bench.options.rounds {
            for index in bench.order(round) {
                let once = |way: &Way| {
                    let run = gets(bench, mode, &step, round, way.clone());
                    let outcome = load::run(&servers[index], &run)?;
                    ensure!(outcome.empty == 0, "a key is missing");
                    anyhow::Ok(outcome.cpu_us)
                };
                let first = once(&Way::default())?;
                let with = once(&way).with_context(|| label)?;
                let second = once(&Way::default())?;
                ratio.push(index, with / f64::midpoint(first, second));
                cost.push(index, with);
            }
        }
        let target = (!bench.options.quick).then_some(Target::AtMost(RIGHTS_LIMIT));
        table.push(ratio.target(target));
        costs.push(cost);
    }
    costs.into_iter().for_each(|row| table.push(row));
    Ok(table)
}

fn add_users(server: &Server) -> Result<()> {
    let mut client = server.connect()?;
    for (name, _, rules) in users() {
        let mut words: Vec<&[u8]> = vec![b"ACL", b"SETUSER", name.as_bytes()];
        words.extend(rules.iter().map(|rule| rule.as_bytes()));
        let reply = client.call(&words)?;
        ensure!(reply == Reply::Text(b"OK".to_vec()), "got {reply:?}");
    }
    Ok(())
}

/// One table per mode.
pub(crate) fn run_figures(bench: &Bench) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Pinned]);
    modes.into_iter().map(|mode| figures(bench, mode)).collect()
}

/// A server that counts and one that does not, as far as it can be told not to.
struct Pair {
    with: Server,
    without: Server,
    metrics_port: Option<u16>,
}

impl Pair {
    fn start(bench: &Bench, index: usize, mode: Mode) -> Result<Pair> {
        let metrics_port = bench.contenders[index]
            .is_kivi()
            .then(free_port)
            .transpose()?;
        let mut on: Vec<String> = [
            "--latency-tracking",
            "yes",
            "--latency-monitor-threshold",
            "100",
        ]
        .map(String::from)
        .to_vec();
        if let Some(port) = metrics_port {
            on.extend(["--metrics-port".to_owned(), port.to_string()]);
        }
        let on: Vec<&str> = on.iter().map(String::as_str).collect();
        let off = [
            "--latency-tracking",
            "no",
            "--slowlog-log-slower-than",
            "-1",
        ];
        let with = Contender::start(bench, index, mode, &on)?;
        // With fixed ports the other one would get the same.
        ensure!(bench.options.port_base.is_none(), "it needs free ports");
        let without = Contender::start(bench, index, mode, &off)?;
        for server in [&with, &without] {
            Data::new(Kind::Text, bench.options.keys, 1).write(server)?;
            server.quiet()?;
        }
        Ok(Pair {
            with,
            without,
            metrics_port,
        })
    }
}

fn figures(bench: &Bench, mode: Mode) -> Result<Table> {
    let mut pairs = Vec::new();
    for index in 0..bench.contenders.len() {
        pairs.push(Pair::start(bench, index, mode)?);
    }
    let mut table = bench.table(format!(
        "GET with and without figures, {} connections: {}",
        bench.options.clients,
        mode.title()
    ));
    let step = step(bench)?;
    let label = "GET P16, with latencies, slow log and metrics";
    let mut ratio = Row::new(format!("{label}, over that without"), "x", pairs.len());
    let mut cost = Row::new(label, "µs/request", pairs.len());
    for round in 0..bench.options.rounds {
        for index in bench.order(round) {
            let pair = &pairs[index];
            let once = |server: &Server| {
                let run = gets(bench, mode, &step, round, Way::default());
                let outcome = load::run(server, &run)?;
                ensure!(outcome.empty == 0, "a key is missing");
                anyhow::Ok(outcome.cpu_us)
            };
            let first = once(&pair.without)?;
            let with = once(&pair.with)?;
            let second = once(&pair.without)?;
            if let Some(port) = pair.metrics_port {
                scrape(port).context("reading the metrics")?;
            }
            ratio.push(index, with / f64::midpoint(first, second));
            cost.push(index, with);
        }
    }
    let target = (!bench.options.quick).then_some(Target::AtMost(FIGURES_LIMIT));
    table.push(ratio.target(target));
    table.push(cost);
    Ok(table)
}

/// Reads a page of metrics: they are on, and the requests are in them.
fn scrape(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PAGE_LIMIT))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page)?;
    let page = String::from_utf8_lossy(&page);
    ensure!(page.starts_with("HTTP/1.1 200"), "it says {page:.200}");
    ensure!(page.contains("get"), "GET is not counted");
    Ok(())
}
