//! A BGSAVE while a client overwrites keys at a steady rate: what it costs the client in latency,
//! the machine in memory, and how long it takes.
//!
//! Each round has a fresh server and saves twice under the same load. The first save gives the
//! latencies and the time, with nobody looking at its memory, because whoever reads `smaps_rollup`
//! walks all the server's pages and slows it. The second gives the memory: the proportional sizes
//! of the server and its children, added, against the level before the first save.

use std::fs;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::client::Client;
use crate::memory::Memory;
use crate::options::{Mode, Options};
use crate::persist_writer::{Window, Writer, fill};
use crate::process;
use crate::report::{Row, Table, Target, median};
use crate::server::{Contender, Server};

/// The longest a BGSAVE may take.
const SAVE_LIMIT: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(10);
const MB: f64 = 1e6;

/// The figures of a round, in the order in which they stand in the table.
struct Figures {
    before: Window,
    during: Window,
    seconds: f64,
    file_bytes: u64,
    resting_bytes: f64,
    peak_bytes: f64,
}

type Figure = fn(&Figures) -> f64;

/// Label, unit, target and value of each row.
const ROWS: &[(&str, &str, Option<Target>, Figure)] = &[
    ("p50 before", "µs", None, |f| f.before.latency_us(50.0)),
    ("p99.9 before", "µs", None, |f| f.before.latency_us(99.9)),
    ("slowest before", "µs", None, |f| {
        f.before.latency_us(100.0)
    }),
    ("p50 during", "µs", None, |f| f.during.latency_us(50.0)),
    ("p99 during", "µs", None, |f| f.during.latency_us(99.0)),
    ("p99.9 during", "µs", Some(Target::RatioAtMost(1.0)), |f| {
        f.during.latency_us(99.9)
    }),
    (
        "p99.9 during / before",
        "x",
        Some(Target::AtMost(1.5)),
        |f| f.during.latency_us(99.9) / f.before.latency_us(99.9),
    ),
    ("slowest during", "µs", None, |f| {
        f.during.latency_us(100.0)
    }),
    ("p99.9 of the client's own delay", "µs", None, |f| {
        f.during.late_us(99.9)
    }),
    ("overwrites during", "k/s", None, |f| {
        f.during.per_second / 1000.0
    }),
    (
        "time of the BGSAVE",
        "s",
        Some(Target::RatioAtMost(0.4)),
        |f| f.seconds,
    ),
    ("memory at rest", "MB", None, |f| f.resting_bytes / MB),
    (
        "memory above it at the peak",
        "%",
        Some(Target::AtMost(8.0)),
        |f| (f.peak_bytes / f.resting_bytes - 1.0) * 100.0,
    ),
    ("size of the file", "MB", None, |f| f.file_bytes as f64 / MB),
];

/// Runs the rounds, a fresh server for each.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let options = &bench.options;
    let mut tables = Vec::new();
    for mode in options.modes_or(&[Mode::Default]) {
        let mut table = bench.table(format!(
            "BGSAVE of {} keys while a client overwrites {} per second: {}",
            options.save_keys,
            options.overwrites,
            mode.title()
        ));
        let row = |&(label, unit, target, _): &(&str, &'static str, Option<Target>, Figure)| {
            let target = target.filter(|_| !options.quick);
            Row::new(label, unit, bench.contenders.len()).target(target)
        };
        let mut rows: Vec<Row> = ROWS.iter().map(row).collect();
        for round in 0..options.rounds {
            for index in bench.order(round) {
                let server = Contender::start(bench, index, mode, &[])?;
                let figures = observe(&server, options)
                    .with_context(|| bench.contenders[index].name.clone())?;
                for (row, (.., figure)) in rows.iter_mut().zip(ROWS) {
                    row.push(index, figure(&figures));
                }
            }
        }
        rows.into_iter().for_each(|row| table.push(row));
        tables.push(table);
    }
    Ok(tables)
}

/// The writer's time before it is observed, and the time for which it is.
fn times(options: &Options) -> (Duration, Duration) {
    match options.quick {
        true => (Duration::from_millis(200), Duration::from_millis(500)),
        false => (Duration::from_secs(2), Duration::from_secs(5)),
    }
}

fn observe(server: &Server, options: &Options) -> Result<Figures> {
    let mut control = server.connect()?;
    fill(&mut server.connect()?, 0..options.save_keys)?;
    control.expect_keys(options.save_keys)?;
    Memory::settled(server, &mut control, options)?;
    let (warm, watched) = times(options);
    let writer = Writer::start(server, options.save_keys, options.overwrites)?;
    thread::sleep(warm);
    let resting_bytes = resting(server)?;
    thread::sleep(warm);
    let begin = Instant::now();
    thread::sleep(watched);
    let before = begin..Instant::now();
    let during = save(&mut control, || Ok(()))?;
    // What the first save has needed is given back by then.
    thread::sleep(warm * 2);
    let mut peak_bytes = 0f64;
    save(&mut control, || {
        peak_bytes = peak_bytes.max(process::pss_bytes_of_tree(server.pid())? as f64);
        Ok(())
    })?;
    let notes = writer.finish()?;
    control.expect_keys(options.save_keys)?;
    Ok(Figures {
        before: notes.window(&before)?,
        during: notes.window(&during)?,
        seconds: (during.end - during.start).as_secs_f64(),
        file_bytes: fs::metadata(server.folder().join("dump.rdb"))?.len(),
        resting_bytes,
        peak_bytes,
    })
}

/// The memory of a server that does nothing but serve: the median of some looks at it.
fn resting(server: &Server) -> Result<f64> {
    let mut looks = Vec::new();
    for _ in 0..5 {
        looks.push(process::pss_bytes_of_tree(server.pid())? as f64);
        thread::sleep(Duration::from_millis(200));
    }
    Ok(median(&looks))
}

/// Has the server save in the background and waits for the end; from when to when it took.
/// `look` is called again and again meanwhile.
pub(crate) fn save(
    control: &mut Client,
    mut look: impl FnMut() -> Result<()>,
) -> Result<Range<Instant>> {
    let begin = Instant::now();
    control.call(&[b"BGSAVE"])?;
    loop {
        look()?;
        let running = control.info("persistence", "rdb_bgsave_in_progress")?;
        let now = Instant::now();
        if running == 0 {
            let status = control.info_word("persistence", "rdb_last_bgsave_status")?;
            ensure!(status == "ok", "the BGSAVE ended with status {status}");
            return Ok(begin..now);
        }
        ensure!(now < begin + SAVE_LIMIT, "a BGSAVE takes {SAVE_LIMIT:?}");
        thread::sleep(POLL);
    }
}
