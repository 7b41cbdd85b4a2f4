//! How late keys disappear that are due at one instant, among many others that hold TTLs.
//!
//! Nobody touches the keys, so only the server's own expiry can remove them. A watcher asks every
//! millisecond for DBSIZE and for INFO's `expired_keys`; a key counts as gone at the first answer
//! that shows it in *both* (one may run ahead of the other). The lag therefore includes up to one
//! millisecond of sampling and a round trip.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::Bench;
use crate::client::{Client, Reply, encode, info_field, numbered};
use crate::options::Mode;
use crate::report::{Row, Table, Target, percentile};
use crate::server::{Contender, Server};

const VALUE: &[u8; 16] = b"0123456789abcdef";
const SAMPLE: Duration = Duration::from_millis(1);
/// The first of the others is due this long after it is written: later than the watching ends.
const OTHERS_FROM_MS: u64 = 300_000;
const HOUR_MS: u64 = 3_600_000;

/// Runs the rounds, a fresh server for each.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let (keys, due) = (bench.options.keys, bench.options.due);
    let limit = match bench.options.quick {
        true => Duration::from_secs(2),
        false => Duration::from_secs(10),
    };
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Default]) {
        let title = format!(
            "Expiry lag of {due} keys due at once among {keys}: {}",
            mode.title()
        );
        let mut table = bench.table(title);
        let row = |label: &str, unit| Row::new(label, unit, bench.contenders.len());
        let target = (!bench.options.quick).then_some(Target::AtMost(10.0));
        let mut rows = [
            row("p50", "ms"),
            row("p99", "ms").target(target),
            row("last key", "ms"),
            row("gone within the time watched", "keys"),
        ];
        for round in 0..bench.options.rounds {
            for index in bench.order(round) {
                let server = Contender::start(bench, index, mode, &[])?;
                let (lags_ms, gone) = watch(&server, keys, due, limit)?;
                for (row, percent) in rows.iter_mut().zip([50.0, 99.0, 100.0]) {
                    row.push(index, percentile(&lags_ms, percent));
                }
                rows[3].push(index, gone as f64);
            }
        }
        rows.into_iter().for_each(|row| table.push(row));
        table.note(format!(
            "Watched for {} s; a key that is still there then counts with that time.",
            limit.as_secs()
        ));
        tables.push(table);
    }
    Ok(tables)
}

/// The lags of the due keys in ms, sorted, and how many of them went at all.
fn watch(server: &Server, keys: u64, due: u64, limit: Duration) -> Result<(Vec<f64>, usize)> {
    let mut client = server.connect()?;
    client.fill(0..keys, 500, |out, number| {
        // Scattered over the hour: neighbours in the table are not neighbours in time.
        let ttl_ms = OTHERS_FROM_MS + number.wrapping_mul(2_654_435_761) % HOUR_MS;
        let mut digits = itoa::Buffer::new();
        let ttl_ms = digits.format(ttl_ms).as_bytes();
        encode(
            out,
            &[b"SET", &numbered(b"key:", number), VALUE, b"PX", ttl_ms],
        );
    })?;
    let instant_ms = now_ms()? as u64 + 1500;
    let at = instant_ms.to_string();
    client.fill(0..due, 100, |out, number| {
        encode(
            out,
            &[
                b"SET",
                &numbered(b"due:", number),
                VALUE,
                b"PXAT",
                at.as_bytes(),
            ],
        );
    })?;
    client.expect_keys(keys + due)?;
    let expired_before = client.info("stats", "expired_keys")?;
    if now_ms()? >= instant_ms as f64 {
        bail!("writing {due} keys took longer than their time to live");
    }
    sleep_until(instant_ms)?;
    let limit_ms = limit.as_secs_f64() * 1000.0;
    let mut lags_ms = Vec::new();
    let begin = Instant::now();
    while (lags_ms.len() as u64) < due && begin.elapsed() < limit {
        let sample = Sample::take(&mut client)?;
        let lag_ms = (now_ms()? - instant_ms as f64).clamp(0.0, limit_ms);
        let counted = sample.expired.saturating_sub(expired_before);
        let gone = (keys + due)
            .saturating_sub(sample.keys)
            .min(counted)
            .min(due);
        lags_ms.resize(lags_ms.len().max(gone as usize), lag_ms);
        thread::sleep(SAMPLE);
    }
    let gone = lags_ms.len();
    lags_ms.resize(due as usize, limit_ms);
    Ok((lags_ms, gone))
}

/// Waits until the wall clock shows the instant, so that the first sample is not early.
fn sleep_until(instant_ms: u64) -> Result<()> {
    let ahead_ms = instant_ms as f64 - now_ms()?;
    if ahead_ms > 0.0 {
        thread::sleep(Duration::from_secs_f64(ahead_ms / 1000.0));
    }
    Ok(())
}

struct Sample {
    keys: u64,
    expired: u64,
}

impl Sample {
    fn take(client: &mut Client) -> Result<Self> {
        let replies = client.pipeline(&[&[b"DBSIZE"], &[b"INFO", b"stats"]])?;
        let [Reply::Int(keys), info] = &replies[..] else {
            bail!("odd replies: {replies:?}")
        };
        let keys = u64::try_from(*keys).context("DBSIZE is negative")?;
        Ok(Self {
            keys,
            expired: info_field(info, "expired_keys")?,
        })
    }
}

/// The wall clock, which is what PXAT is about, in ms.
fn now_ms() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1000.0)
}
