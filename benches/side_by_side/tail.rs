//! The slowest requests of some minutes in which a server does all that may hold others up, at a load
//! that it can bear: keys expire, keys are evicted, its tables grow, snapshots are written and the log
//! is rewritten.
//!
//! The load is a mix of reads and writes on many connections whose requests are due at moments fixed
//! before (`tail_client`). Both servers get the same number per second: 60 % of what the slower one can
//! do, found by a run of the same mix in which each connection sends its next request when the last one
//! is answered. So the slower one is at 60 %, and the faster one does not get more work for being
//! faster.
//!
//! What happens meanwhile is checked at the end: a run in which nothing was evicted or nothing expired,
//! in which a table did not grow or a snapshot failed, is an error. Which tenth of a second had the
//! slowest requests, and what went on then, is told on stderr.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use hdrhistogram::Histogram;

use crate::Bench;
use crate::client::{Client, Reply, encode, info_field, numbered};
use crate::load::{Random, event_loop};
use crate::options::{Mode, Options};
use crate::process;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};
use crate::tail_client::{self, Pace, Plan, SLICES_PER_SECOND, Seen};

const VALUE_BYTES: usize = 100;
/// The part of the slower server's capacity that both get.
const LOAD: f64 = 0.6;
/// Among so many numbers keys are drawn, for each that is there at first: most writes add a key.
const RANGE: u64 = 4;
/// The part of the time after which keys are evicted: until then the table of keys grows.
const GROWING: f64 = 0.25;
/// The most that the limit allows above the data that are there at first.
const GROWTH_MOST: f64 = 1.25;
/// Keys that are added for each request.
const ADDED: f64 = 0.15;
/// Counters, lists, sorted sets.
const FEW: u64 = 1000;
/// Seconds between the beginnings of two jobs (snapshots and rewrites in turn), and of two bursts of
/// keys that are due at one moment.
const PERIOD: Duration = Duration::from_secs(10);
/// Keys of such a burst.
const BURST: u64 = 10_000;
/// How long before they are due they are written.
const BURST_AHEAD: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// The longest a job may take when the load is over.
const JOB_LIMIT: Duration = Duration::from_secs(120);
/// Slowest moments told of each run.
const TOLD: usize = 8;

/// Of a hundred requests.
const READS: u64 = 50;
const KINDS: usize = 2;
const READ: usize = 0;
const WRITE: usize = 1;

/// What a run has shown.
struct Figures {
    all: Histogram<u64>,
    seen: Seen,
    did: Did,
    cpu_us: f64,
}

type Figure = fn(&Figures) -> f64;

/// Label, unit, whether it is judged, and value of each row.
const ROWS: &[(&str, &str, bool, Figure)] = &[
    ("p50", "µs", true, |f| at(&f.all, 50.0)),
    ("p99", "µs", true, |f| at(&f.all, 99.0)),
    ("p99.9", "µs", true, |f| at(&f.all, 99.9)),
    ("p99.99", "µs", true, |f| at(&f.all, 99.99)),
    ("slowest", "µs", true, |f| f.all.max() as f64),
    ("p99.9 of reads", "µs", false, |f| {
        at(&f.seen.by_kind[READ], 99.9)
    }),
    ("p99.9 of writes", "µs", false, |f| {
        at(&f.seen.by_kind[WRITE], 99.9)
    }),
    ("p99.9 of the client's own delay", "µs", false, |f| {
        at(&f.seen.late, 99.9)
    }),
    ("the client's longest own delay", "µs", false, |f| {
        f.seen.late.max() as f64
    }),
    (
        "server CPU, its children's included",
        "µs/request",
        false,
        |f| f.cpu_us,
    ),
    ("requests", "k/s", false, |f| {
        f.seen.requests as f64 / f.seen.seconds / 1000.0
    }),
    ("snapshots", "", false, |f| f.did.saves as f64),
    ("rewrites of the log", "", false, |f| f.did.rewrites as f64),
    ("part of the time with either", "%", false, |f| {
        f.did.busy.as_secs_f64() / f.seen.seconds * 100.0
    }),
    ("keys expired", "k", false, |f| {
        f.did.expired as f64 / 1000.0
    }),
    ("keys evicted", "k", false, |f| {
        f.did.evicted as f64 / 1000.0
    }),
    ("fields of the growing hash", "k", false, |f| {
        f.did.fields as f64 / 1000.0
    }),
];

fn at(histogram: &Histogram<u64>, percent: f64) -> f64 {
    histogram.value_at_quantile(percent / 100.0) as f64
}

/// A table for each mode.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Default]);
    modes.into_iter().map(|mode| table(bench, mode)).collect()
}

fn table(bench: &Bench, mode: Mode) -> Result<Table> {
    let options = &bench.options;
    if mode == Mode::Pinned {
        // The client is the calling thread.
        event_loop(Some(options.cpus.1))?;
    }
    let (rate, how) = choose_rate(bench, mode)?;
    let mut table = bench.table(format!(
        "Latencies during {} s with expiry, eviction, snapshots, rewrites of the log and growing tables, \
         {:.1} k requests/s, {} connections: {}",
        options.tail.as_secs_f64(),
        rate / 1000.0,
        options.clients,
        mode.title()
    ));
    let mut rows: Vec<Row> = ROWS
        .iter()
        .map(|&(label, unit, is_judged, _)| {
            let target = (is_judged && !options.quick).then_some(Target::RatioAtMost(1.0));
            Row::new(label, unit, bench.contenders.len()).target(target)
        })
        .collect();
    let mut is_real_time = true;
    for round in 0..options.rounds {
        for index in bench.order(round) {
            let name = &bench.contenders[index].name;
            let figures =
                observe(bench, index, mode, rate, round as u64).with_context(|| name.clone())?;
            is_real_time &= figures.seen.is_real_time;
            tell(name, round, &figures);
            for (row, (.., figure)) in rows.iter_mut().zip(ROWS) {
                row.push(index, figure(&figures));
            }
        }
    }
    rows.into_iter().for_each(|row| table.push(row));
    table.note(how);
    if !is_real_time {
        table.note("The client had no real-time priority: its own delay is part of the figures.");
    }
    Ok(table)
}

/// The requests per second that all servers get, and how it was found.
fn choose_rate(bench: &Bench, mode: Mode) -> Result<(f64, String)> {
    if let Some(rate) = bench.options.tail_rate {
        return Ok((rate as f64, "The rate was given.".to_string()));
    }
    let mut told = Vec::new();
    let mut least = f64::INFINITY;
    for (index, contender) in bench.contenders.iter().enumerate() {
        // Keys are evicted from the beginning.
        let server = start(bench, index, mode, 1.0)?;
        let mut mix = Mix::new(&bench.options);
        let mut plan = plan(&bench.options, Pace::Closed, 1);
        plan.time = bench.options.load * 2;
        let seen = tail_client::run(&server, &plan, &mut |out, random| mix.next(out, random))
            .with_context(|| format!("capacity of {}", contender.name))?;
        let rate = seen.requests as f64 / seen.seconds;
        told.push(format!("{} {:.1} k/s", contender.name, rate / 1000.0));
        eprintln!(
            "# tail: capacity of {} {rate:.0} requests/s",
            contender.name
        );
        // Others are only shown.
        if index < 2 {
            least = least.min(rate);
        }
    }
    let how = format!(
        "Capacity with the same mix, each connection sending its next request when the last one is \
         answered: {}. All get {LOAD} of the slower one's.",
        told.join(", ")
    );
    Ok((least * LOAD, how))
}

fn plan(options: &Options, pace: Pace, seed: u64) -> Plan {
    Plan {
        connections: options.clients,
        pace,
        time: options.tail,
        kinds: KINDS,
        seed,
    }
}

/// The keys that are there at first. Valkey's table doubles when 2^18 buckets of 7 are full, which is
/// soon with the default number of keys.
fn first_keys(options: &Options) -> u64 {
    (options.keys * 7 / 4).max(1)
}

/// How much the limit allows, as a multiple of what the first keys take.
fn growth(options: &Options, rate: f64) -> f64 {
    let added = rate * ADDED * options.tail.as_secs_f64() * GROWING;
    (1.0 + added / first_keys(options) as f64).min(GROWTH_MOST)
}

/// A server with a log, its first keys, and room for some more.
fn start(bench: &Bench, index: usize, mode: Mode, growth: f64) -> Result<Server> {
    let extra = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let policy = ["--maxmemory-policy", "allkeys-lru"];
    // Jobs begin when this program says so.
    let by_itself = ["--auto-aof-rewrite-percentage", "0"];
    let watched = ["--latency-monitor-threshold", "2"];
    let extra = [&extra[..], &policy, &by_itself, &watched].concat();
    let server = Contender::start(bench, index, mode, &extra)?;
    let mut control = server.connect()?;
    let mut mix = Mix::new(&bench.options);
    let mut random = Random(7);
    control.fill(0..first_keys(&bench.options), 100, |out, number| {
        let value = mix.value(&mut random);
        encode(out, &[b"SET", &numbered(b"key:", number), value]);
    })?;
    let used = control.info("memory", "used_memory")?;
    let limit = ((used as f64 * growth) as u64).to_string();
    control.call(&[b"CONFIG", b"SET", b"maxmemory", limit.as_bytes()])?;
    server.quiet()?;
    Ok(server)
}

/// The requests: half of them read. Some write for some seconds only, one in twenty adds a field to one
/// hash that grows all the time.
struct Mix {
    text: Vec<u8>,
    keys: u64,
    fields: u64,
}

impl Mix {
    fn new(options: &Options) -> Self {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut random = Random(1);
        let letter = |_| ALPHABET[random.below(64) as usize];
        Self {
            text: (0..1 << 16).map(letter).collect(),
            keys: first_keys(options) * RANGE,
            fields: 0,
        }
    }

    /// A value that is no other one's, as far as compression is concerned.
    fn value(&mut self, random: &mut Random) -> &[u8] {
        let begin = random.below((self.text.len() - VALUE_BYTES) as u64) as usize;
        &self.text[begin..begin + VALUE_BYTES]
    }

    fn next(&mut self, out: &mut Vec<u8>, random: &mut Random) -> usize {
        let key = numbered(b"key:", random.below(self.keys));
        let few = random.below(FEW);
        let draw = random.below(100);
        match draw {
            0..READS => encode(out, &[b"GET", &key]),
            READS..70 => encode(out, &[b"SET", &key, self.value(random)]),
            70..80 => {
                let time = (1000 + random.below(19_000)).to_string();
                let key = numbered(b"tmp:", random.below(self.keys));
                let value = self.value(random);
                encode(out, &[b"SET", &key, value, b"PX", time.as_bytes()]);
            }
            80..85 => encode(out, &[b"INCR", &numbered(b"cnt:", few)]),
            85..90 => {
                self.fields += 1;
                let field = numbered(b"fld:", self.fields);
                encode(out, &[b"HSET", b"growing", &field, b"0123456789abcdef"]);
            }
            90..95 => {
                let member = numbered(b"mem:", random.below(500));
                let score = random.below(1_000_000).to_string();
                let key = numbered(b"set:", few);
                encode(out, &[b"ZADD", &key, score.as_bytes(), &member]);
            }
            95..98 => {
                let item = numbered(b"itm:", random.below(1_000_000));
                encode(out, &[b"RPUSH", &numbered(b"lst:", few), &item]);
            }
            _ => encode(out, &[b"LPOP", &numbered(b"lst:", few)]),
        }
        if draw < READS { READ } else { WRITE }
    }
}

/// What a server has done during a run.
#[derive(Clone, Debug, Default)]
struct Did {
    saves: u64,
    rewrites: u64,
    /// The time during which either was going on.
    busy: Duration,
    /// What was going on from when to when.
    jobs: Vec<(&'static str, Duration, Duration)>,
    expired: u64,
    evicted: u64,
    fields: u64,
    /// What the server's latency monitor has seen: event, and the longest, ms.
    spikes: Vec<(String, i64)>,
}

fn observe(bench: &Bench, index: usize, mode: Mode, rate: f64, round: u64) -> Result<Figures> {
    let options = &bench.options;
    let server = start(bench, index, mode, growth(options, rate))?;
    let mut mix = Mix::new(options);
    let stop = Arc::new(AtomicBool::new(false));
    let jobs = Jobs {
        control: server.connect()?,
        burst: server.connect()?,
        period: PERIOD.min(options.tail / 3),
        stop: Arc::clone(&stop),
        did: Did::default(),
    };
    let jobs = thread::spawn(move || jobs.run());
    let before = process::cpu_ns_with_children(server.pid())?;
    let plan = plan(options, Pace::PerSecond(rate), round + 1);
    let seen = tail_client::run(&server, &plan, &mut |out, random| mix.next(out, random));
    stop.store(true, Ordering::Release);
    let did = jobs.join().map_err(|_| anyhow!("the jobs panicked"))?;
    let (seen, did) = (seen?, did?);
    let cpu_ns = process::cpu_ns_with_children(server.pid())?.saturating_sub(before);
    let mut all = tail_client::histogram();
    seen.by_kind.iter().try_for_each(|kind| all.add(kind))?;
    Ok(Figures {
        cpu_us: cpu_ns as f64 / 1000.0 / seen.requests as f64,
        all,
        seen,
        did,
    })
}

/// Has a server do this and that.
struct Jobs {
    control: Client,
    burst: Client,
    period: Duration,
    stop: Arc<AtomicBool>,
    did: Did,
}

impl Jobs {
    fn run(mut self) -> Result<Did> {
        let begun = Instant::now();
        let mut next_job = self.period / 5;
        let mut next_burst = Duration::ZERO;
        let mut running: Option<(&'static str, Duration)> = None;
        let mut next_is_save = true;
        while !self.stop.load(Ordering::Acquire) || running.is_some() {
            let now = begun.elapsed();
            if running.is_some() {
                running = self.watch(running, now)?;
            } else if now >= next_job && !self.stop.load(Ordering::Acquire) {
                let name = if next_is_save {
                    "BGSAVE"
                } else {
                    "BGREWRITEAOF"
                };
                self.control.call(&[name.as_bytes()])?;
                running = Some((name, now));
                next_is_save = !next_is_save;
                next_job += self.period;
            }
            if now >= next_burst && !self.stop.load(Ordering::Acquire) {
                self.write_burst()?;
                next_burst += self.period;
            }
            if let Some((name, since)) = running {
                ensure!(now - since < JOB_LIMIT, "a {name} takes {JOB_LIMIT:?}");
            }
            thread::sleep(POLL);
        }
        self.finish()
    }

    /// What is still going on of a job.
    fn watch(
        &mut self,
        running: Option<(&'static str, Duration)>,
        now: Duration,
    ) -> Result<Option<(&'static str, Duration)>> {
        let reply = self.control.call(&[b"INFO", b"persistence"])?;
        let field = |name| info_field(&reply, name);
        let saving = field("rdb_bgsave_in_progress")? + field("aof_rewrite_in_progress")?;
        if saving + field("aof_rewrite_scheduled")? > 0 {
            return Ok(running);
        }
        if let Some((name, since)) = running {
            self.did.jobs.push((name, since, now));
            self.did.busy += now - since;
            match name {
                "BGSAVE" => self.did.saves += 1,
                _ => self.did.rewrites += 1,
            }
        }
        Ok(None)
    }

    /// Keys that are all due at one moment.
    fn write_burst(&mut self) -> Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH)? + BURST_AHEAD.min(self.period);
        let at = since.as_millis().to_string();
        self.burst.fill(0..BURST, 10, |out, number| {
            let key = numbered(b"due:", number);
            encode(out, &[b"SET", &key, b"value", b"PXAT", at.as_bytes()]);
        })
    }

    /// What has happened, all of which must have.
    fn finish(mut self) -> Result<Did> {
        for status in ["rdb_last_bgsave_status", "aof_last_bgrewrite_status"] {
            let word = self.control.info_word("persistence", status)?;
            ensure!(word == "ok", "{status} is {word}");
        }
        let did = &mut self.did;
        did.expired = self.control.info("stats", "expired_keys")?;
        did.evicted = self.control.info("stats", "evicted_keys")?;
        did.spikes = spikes(self.control.call(&[b"LATENCY", b"LATEST"])?);
        did.fields = match self.control.call(&[b"HLEN", b"growing"])? {
            Reply::Int(fields) => fields.try_into()?,
            other => anyhow::bail!("HLEN answered {other:?}"),
        };
        ensure!(
            did.saves > 0 && did.rewrites > 0,
            "no snapshot or no rewrite in this run"
        );
        ensure!(
            did.expired > 0 && did.evicted > 0 && did.fields > 0,
            "something did not happen: {did:?}"
        );
        Ok(self.did)
    }
}

/// Events of LATENCY LATEST with their longest times.
fn spikes(latest: Reply) -> Vec<(String, i64)> {
    let Reply::Array(events) = latest else {
        return Vec::new();
    };
    let longest = |event| match event {
        Reply::Array(words) => match &words[..] {
            [Reply::Text(name), _, _, Reply::Int(most), ..] => {
                Some((String::from_utf8_lossy(name).into_owned(), *most))
            }
            _ => None,
        },
        _ => None,
    };
    events.into_iter().filter_map(longest).collect()
}

/// Progress, and the slowest moments with what went on then.
fn tell(name: &str, round: usize, figures: &Figures) {
    let [p50, p99, p999, p9999] = [50.0, 99.0, 99.9, 99.99].map(|p| at(&figures.all, p));
    eprintln!(
        "# tail: {name}, round {}: p50 {p50} p99 {p99} p99.9 {p999} p99.99 {p9999} slowest {} µs; CPU \
         {:.2} µs/request; the client late by {} µs at p99.9",
        round + 1,
        figures.all.max(),
        figures.cpu_us,
        at(&figures.seen.late, 99.9),
    );
    let spikes = &figures.did.spikes;
    eprintln!("#   its latency monitor, longest in ms: {spikes:?}");
    let slowest = &figures.seen.slowest;
    let mut order: Vec<usize> = (0..slowest.len()).collect();
    order.sort_unstable_by_key(|&slice| std::cmp::Reverse(slowest[slice]));
    for slice in order.into_iter().take(TOLD) {
        let second = slice as f64 / SLICES_PER_SECOND as f64;
        let going_on: Vec<String> = figures
            .did
            .jobs
            .iter()
            .map(|(name, from, to)| (name, from.as_secs_f64(), to.as_secs_f64()))
            .filter(|&(_, from, to)| second > from - 0.2 && second < to + 0.3)
            .map(|(name, from, to)| format!("{name} {from:.1}..{to:.1}"))
            .collect();
        eprintln!(
            "#   at {second:.1} s: {} µs {}",
            slowest[slice],
            going_on.join(", ")
        );
    }
}
