//! A client that overwrites keys at a steady rate and notes how long each overwrite took.
//!
//! Its schedule does not wait for the server: every request is due at a moment that was fixed
//! before, and its latency is the time from that moment to its reply. So a server that stops for
//! 10 ms is charged with every request that was due in these 10 ms, not with one (what is called
//! coordinated omission). One thread sends, four thousand small batches a second, another reads.
//! How late the sender itself was is noted as well: that part is the machine's, not the server's.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::client::{Client, encode, numbered};
use crate::load::Random;
use crate::replies::Scanner;
use crate::report::percentile;
use crate::server::Server;

/// Bytes of a value.
const VALUE_BYTES: usize = 64;
/// The characters of a value: six bits each.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BATCHES_PER_SECOND: u64 = 4000;
/// The most requests in one write, when the sender has to catch up.
const BURST: u64 = 2000;
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// A value that cannot be compressed.
fn value(random: &mut Random) -> [u8; VALUE_BYTES] {
    let mut text = [0; VALUE_BYTES];
    for chunk in text.chunks_mut(10) {
        let mut bits = random.next();
        for byte in chunk {
            *byte = ALPHABET[(bits % 64) as usize];
            bits /= 64;
        }
    }
    text
}

/// Appends an overwrite (or the first write) of a key.
fn set(out: &mut Vec<u8>, random: &mut Random, key: u64) {
    encode(out, &[b"SET", &numbered(b"key:", key), &value(random)]);
}

/// Writes the keys of a range, values of 64 B, at full speed.
pub(crate) fn fill(client: &mut Client, keys: Range<u64>) -> Result<()> {
    let mut random = Random(keys.start);
    client.fill(keys, 200, |out, key| set(out, &mut random, key))
}

/// When which request is due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start: Instant,
    per_batch: u64,
    interval: Duration,
}

impl Schedule {
    fn new(rate: u64) -> Self {
        let per_batch = (rate / BATCHES_PER_SECOND).max(1);
        Self {
            start: Instant::now(),
            per_batch,
            interval: Duration::from_nanos(per_batch * 1_000_000_000 / rate),
        }
    }

    fn due(&self, request: u64) -> Instant {
        let batches = u32::try_from(request / self.per_batch + 1).unwrap_or(u32::MAX);
        self.start + self.interval * batches
    }

    /// The number of requests that are due by a moment.
    fn due_by(&self, moment: Instant) -> u64 {
        let passed = moment.saturating_duration_since(self.start).as_nanos();
        (passed / self.interval.as_nanos()) as u64 * self.per_batch
    }
}

/// What the two threads share.
struct Shared {
    schedule: Schedule,
    keys: u64,
    stop: AtomicBool,
    /// Requests in all; `u64::MAX` until the last batch is sent.
    total: AtomicU64,
}

/// A writer at work; it stops when this is dropped.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    sender: Option<JoinHandle<Result<Vec<f64>>>>,
    receiver: Option<JoinHandle<Result<Vec<f64>>>>,
}

impl Writer {
    /// Begins to overwrite random ones of the first `keys` keys, `rate` per second.
    pub(crate) fn start(server: &Server, keys: u64, rate: u64) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        stream.set_write_timeout(Some(REPLY_LIMIT))?;
        let reading = stream.try_clone()?;
        let shared = Arc::new(Shared {
            schedule: Schedule::new(rate),
            keys,
            stop: AtomicBool::new(false),
            total: AtomicU64::new(u64::MAX),
        });
        let (first, second) = (Arc::clone(&shared), Arc::clone(&shared));
        Ok(Self {
            shared,
            sender: Some(thread::spawn(move || send(&first, stream))),
            receiver: Some(thread::spawn(move || {
                let latencies = receive(&second, &reading);
                // Without a reader the sender would wait for its limit.
                let _ = reading.shutdown(Shutdown::Both);
                latencies
            })),
        })
    }

    /// Ends it; what it has noted.
    pub(crate) fn finish(mut self) -> Result<Notes> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let join = |handle: Option<JoinHandle<Result<Vec<f64>>>>| -> Result<Vec<f64>> {
            let handle = handle.context("the writer was ended before")?;
            handle.join().map_err(|_| anyhow!("the writer panicked"))?
        };
        let late_us = join(self.sender.take());
        let latencies_us = join(self.receiver.take())?;
        Ok(Notes {
            schedule: self.shared.schedule,
            latencies_us,
            late_us: late_us?,
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// Sends what is due, when it is due; how late each batch was, in µs.
fn send(shared: &Shared, mut stream: TcpStream) -> Result<Vec<f64>> {
    wake_exactly();
    let schedule = shared.schedule;
    let mut random = Random(schedule.per_batch);
    let mut bytes = Vec::new();
    let mut late_us = Vec::new();
    let mut sent = 0;
    loop {
        let due = schedule.due(sent);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = Instant::now();
        let count = schedule.due_by(now).saturating_sub(sent).min(BURST);
        let stop = shared.stop.load(Ordering::Relaxed);
        if count == 0 && !stop {
            continue;
        }
        // The last batch has at least one request, whose reply tells the reader of the end.
        let count = count.max(1);
        bytes.clear();
        for _ in 0..count {
            let key = random.next() % shared.keys;
            set(&mut bytes, &mut random, key);
            late_us.push(micros(now, schedule.due(sent)));
            sent += 1;
        }
        if stop {
            shared.total.store(sent, Ordering::Release);
        }
        stream.write_all(&bytes)?;
        if stop {
            return Ok(late_us);
        }
    }
}

/// Asks the kernel to end this thread's sleeps when they are over, not up to 50 µs later. It works
/// without, only that the sender is late as often.
fn wake_exactly() {
    let link = fs::read_link("/proc/thread-self").unwrap_or_default();
    if let Some(thread) = link.file_name().and_then(|name| name.to_str()) {
        let _ = fs::write(format!("/proc/{thread}/timerslack_ns"), "1");
    }
}

/// Reads replies until all have come; the latency of each, in µs.
fn receive(shared: &Shared, mut stream: &TcpStream) -> Result<Vec<f64>> {
    let mut received = vec![0; 64 * 1024];
    let mut replies = Scanner::default();
    let mut latencies_us: Vec<f64> = Vec::with_capacity(1 << 20);
    while (latencies_us.len() as u64) < shared.total.load(Ordering::Acquire) {
        let count = stream.read(&mut received).context("awaiting replies")?;
        ensure!(count > 0, "the server closed the writer's connection");
        let now = Instant::now();
        replies.feed(&received[..count])?;
        for request in latencies_us.len() as u64..replies.complete {
            latencies_us.push(micros(now, shared.schedule.due(request)));
        }
    }
    Ok(latencies_us)
}

fn micros(now: Instant, then: Instant) -> f64 {
    now.saturating_duration_since(then).as_nanos() as f64 / 1000.0
}

/// What a writer has noted of each of its requests.
pub(crate) struct Notes {
    schedule: Schedule,
    latencies_us: Vec<f64>,
    late_us: Vec<f64>,
}

impl Notes {
    /// The requests that were due within a time.
    pub(crate) fn window(&self, time: &Range<Instant>) -> Result<Window> {
        let all = self.latencies_us.len().min(self.late_us.len());
        let [from, to] =
            [time.start, time.end].map(|at| (self.schedule.due_by(at) as usize).min(all));
        ensure!(from < to, "no request was due within {time:?}");
        let sorted = |values: &[f64]| {
            let mut values = values[from..to].to_vec();
            values.sort_by(f64::total_cmp);
            values
        };
        let answered = (from..to)
            .filter(|&request| {
                let latency = Duration::from_secs_f64(self.latencies_us[request] / 1e6);
                self.schedule.due(request as u64) + latency <= time.end
            })
            .count();
        Ok(Window {
            latencies_us: sorted(&self.latencies_us),
            late_us: sorted(&self.late_us),
            per_second: answered as f64 / (time.end - time.start).as_secs_f64(),
        })
    }
}

/// Requests of some time; figures sorted.
pub(crate) struct Window {
    latencies_us: Vec<f64>,
    late_us: Vec<f64>,
    /// Replies per second.
    pub(crate) per_second: f64,
}

impl Window {
    pub(crate) fn latency_us(&self, percent: f64) -> f64 {
        percentile(&self.latencies_us, percent)
    }

    /// How late requests were sent.
    pub(crate) fn late_us(&self, percent: f64) -> f64 {
        percentile(&self.late_us, percent)
    }
}
