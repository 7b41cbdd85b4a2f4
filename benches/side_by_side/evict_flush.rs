//! Much that goes at once: FLUSHALL of millions of keys, and what comes back of the memory when nine of
//! ten keys are deleted.
//!
//! While FLUSHALL works a few clients are watched, as for the start of a BGSAVE (`watch`): their longest
//! wait counts. The memory is read from `/proc/PID/status`
//! meanwhile, as the exact figure would walk the server's pages under a lock.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::client::{Client, encode, numbered};
use crate::options::Mode;
use crate::process;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};
use crate::watch::watch;

const BATCH: u64 = 100;
/// How long the clients are watched before and after.
const WATCHED: Duration = Duration::from_secs(1);
/// The longest that memory may take to come back; what has not come by then counts so much.
const BACK_LIMIT: Duration = Duration::from_secs(30);
const MIB: f64 = (1 << 20) as f64;

/// FLUSHALL, asynchronous and not.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let options = &bench.options;
    let mut tables = Vec::new();
    for mode in options.modes_or(&[Mode::Default]) {
        let title = format!("FLUSHALL of {} keys: {}", options.flush_keys, mode.title());
        let mut table = bench.table(title);
        for how in ["ASYNC", "SYNC"] {
            if options.wants(how) {
                match flush(bench, mode, how) {
                    Ok(rows) => rows.into_iter().for_each(|row| table.push(row)),
                    Err(error) => table.fail(how, &error),
                }
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

fn flush(bench: &Bench, mode: Mode, how: &str) -> Result<[Row; 4]> {
    let row = |what: &str, unit| {
        let label = format!("FLUSHALL {how}: {what}");
        Row::new(label, unit, bench.contenders.len())
    };
    let target = (!bench.options.quick).then_some(Target::RatioAtMost(1.0));
    let mut control = row("longest wait of others before", "ms");
    let mut longest = row("longest wait of others", "ms").target(target);
    let mut reply = row("time to its reply", "ms");
    let mut back = row("memory back after", "s");
    for round in 0..bench.options.rounds {
        for index in bench.order(round) {
            let server = Contender::start(bench, index, mode, &[])?;
            let empty = process::rss_bytes_quick(server.pid())?;
            server
                .connect()?
                .fill(0..bench.options.flush_keys, BATCH, |out, number| {
                    encode(
                        out,
                        &[b"SET", &numbered(b"key:", number), b"0123456789abcdef"],
                    );
                })?;
            server.quiet()?;
            let full = process::rss_bytes_quick(server.pid())?;
            let mut flusher = server.connect()?;
            let keys = bench.options.flush_keys;
            let (before, ()) = watch(&server, keys, get, || {
                thread::sleep(WATCHED);
                Ok(())
            })?;
            control.push(index, ms(before));
            let (seen, (replied, back_after)) = watch(&server, keys, get, || {
                let begin = Instant::now();
                flusher.call(&[b"FLUSHALL", how.as_bytes()])?;
                let replied = begin.elapsed();
                let low = empty + full.saturating_sub(empty) / 10;
                let limit = if bench.options.quick {
                    WATCHED
                } else {
                    BACK_LIMIT
                };
                let back = back_after(&server, low, begin, limit)?;
                thread::sleep(WATCHED);
                Ok((replied, back))
            })
            .with_context(|| bench.contenders[index].name.clone())?;
            longest.push(index, ms(seen));
            reply.push(index, ms(replied));
            back.push(index, back_after.as_secs_f64());
        }
    }
    Ok([control, longest, reply, back])
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// When the resident memory was below that many bytes.
fn back_after(server: &Server, bytes: u64, begin: Instant, limit: Duration) -> Result<Duration> {
    while process::rss_bytes_quick(server.pid())? > bytes && begin.elapsed() < limit {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(begin.elapsed())
}

/// As [`Client::probe`], of a key that may go.
fn get(client: &mut Client, request: &[u8]) -> Result<()> {
    client.send(|out| out.extend_from_slice(request))?;
    client.expect_replies(1)
}

/// What is deleted: the bytes of all values together are about the same.
#[derive(Clone, Copy, Debug)]
enum Data {
    Strings(usize),
    Hashes,
}

const DATA: [(Data, &str); 4] = [
    (Data::Strings(16), "strings of 16 B"),
    (Data::Strings(100), "strings of 100 B"),
    (Data::Strings(1000), "strings of 1 KB"),
    (Data::Hashes, "hashes of 20 fields"),
];

/// The resident memory at some moments after nine of ten keys were deleted.
const MOMENTS_SECS: [u64; 4] = [0, 2, 5, 15];

/// Deletes nine of ten keys.
pub(crate) fn run_returned(bench: &Bench) -> Result<Vec<Table>> {
    let options = &bench.options;
    let mut tables = Vec::new();
    for mode in options.modes_or(&[Mode::Default]) {
        let mut table = bench.table(format!(
            "Memory when nine of ten keys are deleted: {}",
            mode.title()
        ));
        for (data, label) in DATA {
            if options.wants(label) {
                match returned(bench, mode, data, label) {
                    Ok(rows) => rows.into_iter().for_each(|row| table.push(row)),
                    Err(error) => table.fail(label, &error),
                }
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

fn returned(bench: &Bench, mode: Mode, data: Data, label: &str) -> Result<Vec<Row>> {
    let row =
        |what: String, unit| Row::new(format!("{label}: {what}"), unit, bench.contenders.len());
    let keys = match data {
        Data::Strings(bytes) => bench.options.keys * 100 / (bytes as u64 + 84),
        Data::Hashes => bench.options.keys / 4,
    };
    let target = (!bench.options.quick).then_some(Target::RatioAtMost(1.0));
    let mut full = row("RSS when full".into(), "MiB");
    let mut moments = MOMENTS_SECS.map(|secs| {
        let judged = target.filter(|_| secs == 5);
        row(format!("RSS {secs} s after"), "MiB").target(judged)
    });
    let mut used = row("used_memory at last".into(), "MiB");
    let mut ratio = row("RSS / used at last".into(), "x").target(target);
    for round in 0..bench.options.rounds {
        for index in bench.order(round) {
            let server = Contender::start(bench, index, mode, &[])?;
            write(&server, data, keys)?;
            full.push(index, process::rss_bytes_quick(server.pid())? as f64 / MIB);
            delete(&server, keys)?;
            let begin = Instant::now();
            let mut rss = 0.0;
            for (row, secs) in moments.iter_mut().zip(MOMENTS_SECS) {
                let moment = if bench.options.quick { 0 } else { secs };
                thread::sleep(Duration::from_secs(moment).saturating_sub(begin.elapsed()));
                rss = process::rss_bytes_quick(server.pid())? as f64;
                row.push(index, rss / MIB);
            }
            let last = server.connect()?.info("memory", "used_memory")? as f64;
            used.push(index, last / MIB);
            ratio.push(index, rss / last);
        }
    }
    let mut rows = vec![full];
    rows.extend(moments);
    rows.extend([used, ratio]);
    Ok(rows)
}

fn write(server: &Server, data: Data, keys: u64) -> Result<()> {
    let value = [b'v'; 1000];
    let fields: Vec<[u8; 16]> = (0..20).map(|n| numbered(b"fld:", n)).collect();
    let mut client = server.connect()?;
    client.fill(0..keys, BATCH, |out, number| {
        let key = numbered(b"key:", number);
        match data {
            Data::Strings(bytes) => encode(out, &[b"SET", &key, &value[..bytes]]),
            Data::Hashes => {
                let mut words: Vec<&[u8]> = vec![b"HSET", &key];
                words.extend(fields.iter().flat_map(|field| [&field[..], &value[..16]]));
                encode(out, &words);
            }
        }
    })?;
    client.expect_keys(keys)?;
    server.quiet()
}

/// Deletes all keys but each tenth.
fn delete(server: &Server, keys: u64) -> Result<()> {
    let mut client = server.connect()?;
    client.fill(0..keys, BATCH, |out, number| {
        let key = numbered(b"key:", number);
        match number % 10 {
            0 => encode(out, &[b"EXISTS", &key]),
            _ => encode(out, &[b"DEL", &key]),
        }
    })?;
    let left = Client::connect(server.port)?.dbsize()?;
    ensure!(left == keys.div_ceil(10), "{left} keys are left of {keys}");
    Ok(())
}
