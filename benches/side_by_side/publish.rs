//! PUBLISH to 1, 100 and 1,000 subscribers of one channel: messages delivered per CPU second of the
//! server.
//!
//! A message counts when its subscriber has read it; the CPU is that of all the server's threads from
//! the first PUBLISH to the last delivery. Publishers and subscribers are one thread of this program.
//! A publisher waits while the subscribers are `BEHIND_MOST` messages behind on average, so that no run
//! depends on how fast this program reads, and no limit of an output buffer is met.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::Bench;
use crate::client::encode;
use crate::crowd::{self, Line};
use crate::options::{Mode, Options};
use crate::process;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};

const CHANNEL: &[u8] = b"news";
const TEXT: &[u8; 64] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Messages that the average subscriber may be behind before publishers wait.
const BEHIND_MOST: u64 = 1000;
/// Bytes that a subscriber reads at a time.
const READ_BYTES: usize = 16 * 1024;
/// Delivered messages per CPU second, in parts of the rival's.
const LIMIT: f64 = 1.3;

/// Who publishes to how many.
#[derive(Clone, Copy, Debug)]
struct Shape {
    subscribers: usize,
    publishers: usize,
    /// Messages that a publisher sends at a time.
    pipeline: u64,
}

impl Shape {
    fn label(self) -> String {
        let subscribers = match self.subscribers {
            1 => "1 subscriber".to_string(),
            many => format!("{many} subscribers"),
        };
        let publishers = match self.publishers {
            1 => "1 publisher".to_string(),
            many => format!("{many} publishers"),
        };
        format!("{subscribers}, {publishers} P{}", self.pipeline)
    }
}

fn shapes(options: &Options) -> Vec<Shape> {
    let publishers = [(1, 1), (1, 16), (options.clients, 1)];
    let shape = |&subscribers: &usize| {
        publishers.map(|(publishers, pipeline)| Shape {
            subscribers,
            publishers,
            pipeline,
        })
    };
    options.subscribers.iter().flat_map(shape).collect()
}

/// One table per mode.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Pinned, Mode::Default]);
    modes.into_iter().map(|mode| compare(bench, mode)).collect()
}

fn compare(bench: &Bench, mode: Mode) -> Result<Table> {
    let options = &bench.options;
    let mut servers = Vec::new();
    for index in 0..bench.contenders.len() {
        servers.push(Contender::start(bench, index, mode, &[])?);
    }
    let mut table = bench.table(format!(
        "Messages of {} B delivered: {}",
        TEXT.len(),
        mode.title()
    ));
    let target = (!options.quick).then_some(Target::RatioAtLeast(LIMIT));
    let mut rates = Vec::new();
    for shape in shapes(options) {
        let label = shape.label();
        if !options.wants(&label) {
            continue;
        }
        let mut per_cpu = Row::new(format!("{label}: per CPU second"), "k", servers.len());
        let mut rate = Row::new(format!("{label}: rate"), "k/s", servers.len());
        for round in 0..options.rounds {
            for index in bench.order(round) {
                let server = &servers[index];
                let work = || deliver(server.port, server.pid(), shape, options.load);
                let done = crowd::alone(crowd::client_cpu(bench, mode), work)
                    .with_context(|| format!("{label}: {}", bench.contenders[index].name))?;
                let delivered = done.delivered as f64;
                per_cpu.push(index, delivered / (done.cpu_ns as f64 / 1e9) / 1000.0);
                rate.push(index, delivered / done.seconds / 1000.0);
                server.quiet()?;
            }
        }
        table.push(per_cpu.target(target));
        rates.push(rate);
    }
    rates.into_iter().for_each(|row| table.push(row));
    Ok(table)
}

/// What a run has delivered.
pub(crate) struct Delivered {
    pub(crate) delivered: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_ns: u64,
}

/// One publisher, so many messages at a time, and so many subscribers.
pub(crate) fn once(
    bench: &Bench,
    mode: Mode,
    server: &Server,
    (subscribers, pipeline, time): (usize, u64, Duration),
) -> Result<Delivered> {
    let shape = Shape {
        subscribers,
        publishers: 1,
        pipeline,
    };
    let work = || deliver(server.port, server.pid(), shape, time);
    crowd::alone(crowd::client_cpu(bench, mode), work)
}

/// What publishers and subscribers know of each other.
struct Hall {
    subscribers: u64,
    message: Vec<u8>,
    /// Messages sent.
    published: Cell<u64>,
    /// Bytes that have reached subscribers.
    heard_bytes: Cell<u64>,
    /// A subscriber has failed: nobody needs to wait any more.
    broken: Cell<bool>,
    /// Rung when a subscriber has read, or failed.
    heard: Notify,
}

impl Hall {
    /// Bytes that all subscribers together still have to get.
    fn missing_bytes(&self) -> u64 {
        self.published.get() * self.bytes_of_one() - self.heard_bytes.get()
    }

    /// Bytes that one message becomes.
    fn bytes_of_one(&self) -> u64 {
        self.subscribers * self.message.len() as u64
    }

    /// Waits until the average subscriber is at most so many messages behind.
    async fn catch_up(&self, most: u64) {
        while self.missing_bytes() > most * self.bytes_of_one() && !self.broken.get() {
            self.heard.notified().await;
        }
    }
}

async fn deliver(port: u16, pid: u32, shape: Shape, time: Duration) -> Result<Delivered> {
    let mut message = Vec::new();
    encode(&mut message, &[b"message", CHANNEL, TEXT]);
    let hall = Rc::new(Hall {
        subscribers: shape.subscribers as u64,
        message,
        published: Cell::new(0),
        heard_bytes: Cell::new(0),
        broken: Cell::new(false),
        heard: Notify::new(),
    });
    let subscribers = subscribe(port, &hall).await?;
    let mut publishers = Vec::new();
    for _ in 0..shape.publishers {
        publishers.push(Line::open(port)?);
    }
    let before = process::cpu_ns(pid)?;
    let begin = Instant::now();
    let tasks = publishers.into_iter().map(|line| {
        let work = publish(line, shape.pipeline, begin + time, Rc::clone(&hall));
        tokio::task::spawn_local(work)
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        task.await??;
    }
    hall.catch_up(0).await;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu_ns = process::cpu_ns(pid)?.saturating_sub(before);
    let published = hall.published.get();
    ensure!(published > 0, "nothing was published");
    for (task, own_bytes) in subscribers {
        let expected_bytes = published * hall.message.len() as u64;
        let heard_bytes = own_bytes.get();
        if task.is_finished() {
            task.await?
                .with_context(|| format!("after {heard_bytes} bytes"))?;
        }
        ensure!(
            heard_bytes == expected_bytes,
            "a subscriber got {heard_bytes} of {expected_bytes} bytes"
        );
    }
    Ok(Delivered {
        delivered: published * hall.subscribers,
        seconds,
        cpu_ns,
    })
}

/// A subscriber's task and the bytes that it has read.
type Subscriber = (JoinHandle<Result<()>>, Rc<Cell<u64>>);

/// Subscribers who listen.
async fn subscribe(port: u16, hall: &Rc<Hall>) -> Result<Vec<Subscriber>> {
    let mut request = Vec::new();
    encode(&mut request, &[b"SUBSCRIBE", CHANNEL]);
    let mut welcome = b"*3\r\n$9\r\nsubscribe\r\n$4\r\n".to_vec();
    welcome.extend_from_slice(CHANNEL);
    welcome.extend_from_slice(b"\r\n:1\r\n");
    let mut subscribers = Vec::new();
    for _ in 0..hall.subscribers {
        let mut line = Line::open(port)?;
        line.expect(&request, &welcome).await?;
        let own_bytes = Rc::new(Cell::new(0));
        let (there, bytes) = (Rc::clone(hall), Rc::clone(&own_bytes));
        let task = tokio::task::spawn_local(async move {
            let end = listen(line, &there, &bytes).await;
            there.broken.set(true);
            there.heard.notify_waiters();
            end
        });
        subscribers.push((task, own_bytes));
    }
    Ok(subscribers)
}

/// One subscriber, to the end of the run. Every byte is compared, so that a message that is torn or
/// of another channel ends it.
async fn listen(mut line: Line, hall: &Hall, own_bytes: &Cell<u64>) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let length = hall.message.len();
    loop {
        let count = line.listen(&mut buffer).await?;
        let mut at = (own_bytes.get() % length as u64) as usize;
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(length - at));
            ensure!(now == &hall.message[at..at + now.len()], "a torn message");
            at = (at + now.len()) % length;
            rest = later;
        }
        own_bytes.set(own_bytes.get() + count as u64);
        hall.heard_bytes.set(hall.heard_bytes.get() + count as u64);
        hall.heard.notify_waiters();
    }
}

/// One publisher: batches of `pipeline` messages, each of which every subscriber has to get.
async fn publish(mut line: Line, pipeline: u64, end: Instant, hall: Rc<Hall>) -> Result<()> {
    let mut request = Vec::new();
    (0..pipeline).for_each(|_| encode(&mut request, &[b"PUBLISH", CHANNEL, TEXT]));
    let receivers = format!(":{}\r\n", hall.subscribers).repeat(pipeline as usize);
    while Instant::now() < end && !hall.broken.get() {
        hall.catch_up(BEHIND_MOST).await;
        hall.published.set(hall.published.get() + pipeline);
        line.expect(&request, receivers.as_bytes()).await?;
    }
    Ok(())
}
