//! How long a reader waits while the table grows: one connection GETs an existing key, one request
//! at a time, while another fills the server from empty at full speed in batches of 100.
//!
//! Growing tables, rehashing and long batches show in the tail; so does the scheduler of a small
//! machine (client, reader and server are three busy threads), which both servers share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};

use crate::Bench;
use crate::client::{Client, encode, numbered};
use crate::options::Mode;
use crate::report::{Row, Table, Target, percentile};
use crate::server::{Contender, Server};

const VALUE: &[u8; 16] = b"0123456789abcdef";
const BATCH: u64 = 100;

/// Runs the rounds, a fresh server for each.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let keys = bench.options.fill_keys;
    let tail = (!bench.options.quick).then_some(Target::RatioAtMost(0.5));
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Default]) {
        let title = format!(
            "GET while another client fills {keys} keys: {}",
            mode.title()
        );
        let mut table = bench.table(title);
        let row = |label, unit| Row::new(label, unit, bench.contenders.len());
        let mut rows = [
            row("p50", "µs"),
            row("p99", "µs"),
            row("p99.9", "µs").target(tail),
            row("slowest", "µs").target(tail),
            row("GETs", "k"),
            row("time of the fill", "s"),
        ];
        for round in 0..bench.options.rounds {
            for index in bench.order(round) {
                let server = Contender::start(bench, index, mode, &[])?;
                let (latencies_ns, seconds) = observe(&server, keys)?;
                for (row, percent) in rows.iter_mut().zip([50.0, 99.0, 99.9, 100.0]) {
                    row.push(index, percentile(&latencies_ns, percent) / 1000.0);
                }
                rows[4].push(index, latencies_ns.len() as f64 / 1000.0);
                rows[5].push(index, seconds);
            }
        }
        rows.into_iter().for_each(|row| table.push(row));
        tables.push(table);
    }
    Ok(tables)
}

/// Fills the server beside a reader; the reader's latencies in ns, sorted, and the fill's seconds.
fn observe(server: &Server, keys: u64) -> Result<(Vec<u32>, f64)> {
    let mut reader = server.connect()?;
    reader.call(&[b"SET", b"probe", VALUE])?;
    let mut filler = server.connect()?;
    let done = AtomicBool::new(false);
    let (latencies, seconds) = thread::scope(|scope| {
        let reading = scope.spawn(|| read_until(&done, &mut reader));
        let begin = Instant::now();
        let filled = filler.fill(0..keys, BATCH, |out, number| {
            encode(out, &[b"SET", &numbered(b"key:", number), VALUE]);
        });
        let seconds = begin.elapsed().as_secs_f64();
        done.store(true, Ordering::Release);
        let latencies = reading.join().map_err(|_| anyhow!("the reader panicked"))?;
        filled?;
        anyhow::Ok((latencies?, seconds))
    })?;
    filler.expect_keys(keys + 1)?;
    ensure!(
        !latencies.is_empty(),
        "the reader got no reply during the fill"
    );
    Ok((latencies, seconds))
}

fn read_until(done: &AtomicBool, reader: &mut Client) -> Result<Vec<u32>> {
    let mut request = Vec::new();
    encode(&mut request, &[b"GET", b"probe"]);
    let mut latencies_ns = Vec::with_capacity(1 << 20);
    while !done.load(Ordering::Acquire) {
        let begin = Instant::now();
        reader.probe(&request)?;
        latencies_ns.push(u32::try_from(begin.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
    latencies_ns.sort_unstable();
    Ok(latencies_ns)
}
