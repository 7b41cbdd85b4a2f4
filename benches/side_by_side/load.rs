//! The load generator: connections that send batches of requests with random numbers in them and
//! count the replies, and what the server's CPU did meanwhile.
//!
//! It replaces `valkey-benchmark` where that cannot say what is needed (several numbers of different
//! ranges in one request, the same number in two requests, ranges that depend on a number) or where
//! it would be the limit: a batch is encoded once and only its digits are overwritten, so a request
//! costs the client some tens of nanoseconds. A thread runs all its connections on one event loop
//! and each connection always has one batch on its way, as clients with a pipeline do.
//!
//! CPU is counted from the moment when all connections stand to the end of the last reply. Every
//! reply is looked at: an error reply, a missing or a surplus reply fails the run.

use std::fs;
use std::ops::Range;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::client;
use crate::process;
use crate::replies::Scanner;
use crate::server::Server;
use crate::wire::{Link, Way, Wire};

/// The longest a run may take beyond what it was meant to take.
const RUN_LIMIT: Duration = Duration::from_secs(120);
const RECEIVE_BYTES: usize = 64 * 1024;

/// A number that is drawn anew for every step, in `low .. high`, written with leading zeros.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw {
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) width: usize,
    pub(crate) by: By,
}

/// How a number is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    /// Any of them is as likely.
    Chance,
    /// `low` and the number of the connection.
    Connection,
    /// `low` and the number of the pair of connections: 0 for the first two, 1 for the next.
    Pair,
    /// `low` in a connection's first step, then so much more in each.
    Count(u64),
}

impl Draw {
    /// `0 .. high` with twelve digits, as in `client::numbered`.
    pub(crate) fn below(high: u64) -> Self {
        Self {
            low: 0,
            high: high.max(1),
            width: 12,
            by: By::Chance,
        }
    }

    /// The number of the connection, of so many, with twelve digits.
    pub(crate) fn connection(connections: u64) -> Self {
        Self {
            by: By::Connection,
            ..Self::below(connections)
        }
    }

    /// The number of the pair of connections, of so many connections, with twelve digits.
    pub(crate) fn pair(connections: u64) -> Self {
        Self {
            by: By::Pair,
            ..Self::below(connections)
        }
    }

    /// From `low` on, `step` more in each step of a connection, with twelve digits. A run that goes
    /// beyond `most` is an error of its replies.
    pub(crate) fn counted(low: u64, step: u64, most: u64) -> Self {
        Self {
            low,
            by: By::Count(step),
            ..Self::below(most + 1)
        }
    }

    /// The same with another number of digits.
    pub(crate) fn wide(self, width: usize) -> Self {
        Self { width, ..self }
    }

    /// Numbers of exactly `width` digits: no leading zero, so that a server sees an integer.
    pub(crate) fn digits(width: usize) -> Self {
        let low = 10u64.pow(width as u32 - 1);
        Self {
            low,
            high: low * 10,
            width,
            by: By::Chance,
        }
    }
}

/// One or more commands that are sent together, with places for numbers.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The commands in RESP, zeros where numbers go.
    bytes: Vec<u8>,
    places: Vec<Place>,
    draws: Vec<Draw>,
    /// Where each command ends.
    ends: Vec<usize>,
    /// Commands, hence replies.
    requests: u64,
    /// What every other connection does instead.
    partner: Option<Box<Step>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    draw: usize,
    add: u64,
}

impl Step {
    /// Reads commands whose words are separated by blanks. `%0` to `%9` stand for the draws (the
    /// same number wherever the same draw is named) and `%0+99` for a number 99 above.
    pub(crate) fn parse(commands: &[&str], draws: &[Draw]) -> Result<Self> {
        let mut step = Self {
            bytes: Vec::new(),
            places: Vec::new(),
            draws: draws.to_vec(),
            ends: Vec::new(),
            requests: commands.len() as u64,
            partner: None,
        };
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            client::encode_head(&mut step.bytes, words.len());
            for word in words {
                step.word(word)
                    .with_context(|| format!("'{word}' in '{command}'"))?;
            }
            step.ends.push(step.bytes.len());
        }
        Ok(step)
    }

    /// The same for every other connection, and `partner`, of as many commands, for the rest: for
    /// connections that wait for each other. All of them make equally many steps, so such a run
    /// ends after a number of requests, and each must leave the other with what it waits for.
    pub(crate) fn with_partner(self, partner: Step) -> Result<Self> {
        ensure!(
            self.requests == partner.requests,
            "partners have equally many commands"
        );
        Ok(Self {
            partner: Some(Box::new(partner)),
            ..self
        })
    }

    /// What a connection does.
    fn of(&self, connection: u64) -> &Step {
        match &self.partner {
            Some(partner) if connection % 2 == 1 => partner,
            _ => self,
        }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        let mut pieces = word.split('%');
        let mut text = pieces.next().unwrap_or_default().as_bytes().to_vec();
        let mut places = Vec::new();
        for piece in pieces {
            let draw: usize = piece.get(..1).context("no number behind %")?.parse()?;
            let rest = &piece[1..];
            let digits = rest
                .strip_prefix('+')
                .map_or(0, |sum| sum.bytes().take_while(u8::is_ascii_digit).count());
            let (add, rest) = match digits {
                0 => (0, rest),
                _ => (rest[1..=digits].parse()?, &rest[1 + digits..]),
            };
            let Draw {
                low, high, width, ..
            } = *self.draws.get(draw).context("no such draw")?;
            let most = high - 1 + add;
            ensure!(
                low < high && most < 10u64.pow(width as u32),
                "it does not fit"
            );
            places.push((text.len(), draw, add));
            text.resize(text.len() + width, b'0');
            text.extend_from_slice(rest.as_bytes());
        }
        let begin = client::encode_word(&mut self.bytes, &text);
        self.places
            .extend(places.iter().map(|&(at, draw, add)| Place {
                at: begin + at,
                draw,
                add,
            }));
        Ok(())
    }
}

/// The steps of a batch, ready to be sent again and again with new numbers.
struct Batch {
    bytes: Vec<u8>,
    step: Step,
    steps: usize,
    random: Random,
    drawn: Vec<u64>,
    /// The number of its connection.
    connection: u64,
    /// Steps that have been made.
    made: u64,
}

impl Batch {
    fn new(step: &Step, steps: usize, seed: u64, connection: u64) -> Self {
        Self {
            bytes: step.bytes.repeat(steps),
            step: step.clone(),
            steps,
            random: Random(seed),
            drawn: vec![0; step.draws.len()],
            connection,
            made: 0,
        }
    }

    fn requests(&self) -> u64 {
        self.step.requests * self.steps as u64
    }

    /// What is sent before replies are awaited, and how many: the batch at once, or, without a
    /// pipeline, each command of a step by itself.
    fn parts(&self, pipeline: u64) -> Vec<(Range<usize>, u64)> {
        if pipeline > 1 {
            return vec![(0..self.bytes.len(), self.requests())];
        }
        let begins = std::iter::once(0).chain(self.step.ends.iter().copied());
        let ranges = begins.zip(&self.step.ends);
        ranges.map(|(begin, &end)| (begin..end, 1)).collect()
    }

    /// Writes new numbers into every step.
    fn renew(&mut self) {
        for index in 0..self.steps {
            for (value, draw) in self.drawn.iter_mut().zip(&self.step.draws) {
                *value = draw.low
                    + match draw.by {
                        By::Chance => self.random.below(draw.high - draw.low),
                        By::Connection => self.connection,
                        By::Pair => self.connection / 2,
                        By::Count(step) => self.made * step,
                    };
            }
            self.made += 1;
            let begin = index * self.step.bytes.len();
            for place in &self.step.places {
                let at = begin + place.at;
                let width = self.step.draws[place.draw].width;
                let mut value = self.drawn[place.draw] + place.add;
                for digit in self.bytes[at..at + width].iter_mut().rev() {
                    // Most of a number is leading zeros that are there already.
                    if value == 0 && *digit == b'0' {
                        continue;
                    }
                    *digit = b'0' + (value % 10) as u8;
                    value /= 10;
                }
            }
        }
    }
}

/// A splitmix64 generator: good enough to scatter keys, and free.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `count`.
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(count)) >> 64) as u64
    }
}

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// After this many requests: equal work for servers of unequal speed.
    Requests(u64),
    /// After this time.
    After(Duration),
    /// After this time, which begins when the load has lasted `warm`: what a server needs to put its threads to
    /// work does not count.
    Warm { warm: Duration, time: Duration },
}

impl Stop {
    /// What does not count, and what does; none if requests are counted.
    fn times(self) -> Option<(Duration, Duration)> {
        match self {
            Self::Requests(_) => None,
            Self::After(time) => Some((Duration::ZERO, time)),
            Self::Warm { warm, time } => Some((warm, time)),
        }
    }
}

/// A run to be made.
#[derive(Clone, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) step: &'a Step,
    pub(crate) connections: usize,
    /// Requests per batch. With 1 each command of a step is sent by itself.
    pub(crate) pipeline: u64,
    pub(crate) threads: usize,
    /// The CPUs that the threads take in turn; empty: wherever the kernel puts them.
    pub(crate) cpus: Vec<usize>,
    pub(crate) stop: Stop,
    pub(crate) seed: u64,
    /// How its connections are made.
    pub(crate) way: Way,
}

/// What a run showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    /// Requests whose reply was nil or an empty array.
    pub(crate) empty: u64,
    pub(crate) per_second: f64,
    /// CPU time of all the server's threads, per request.
    pub(crate) cpu_us: f64,
    /// The part of the time that the client's threads were running, 1 when none ever waited.
    pub(crate) client_busy: f64,
}

/// What the threads of a run share.
struct Shared {
    /// Requests not yet sent; as many as can never be sent when time ends the run.
    left: AtomicU64,
    stop: AtomicBool,
    /// Passed twice: when all threads stand ready, and when the clocks have been read.
    start: Barrier,
}

impl Shared {
    /// Whether another batch is to be sent.
    fn take(&self, requests: u64) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            return false;
        }
        let step = |left: u64| match left {
            0 => None,
            _ => Some(left.saturating_sub(requests)),
        };
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .is_ok()
    }
}

/// Runs a load to its end.
pub(crate) fn run(server: &Server, run: &Run) -> Result<Outcome> {
    let threads = run.threads.clamp(1, run.connections);
    let mut wires: Vec<Vec<Wire>> = (0..threads).map(|_| Vec::new()).collect();
    for number in 0..run.connections {
        wires[number % threads].push(Wire::connect(server.port, &run.way)?);
    }
    let shared = Arc::new(Shared {
        left: AtomicU64::new(match run.stop {
            Stop::Requests(count) => count,
            _ => u64::MAX,
        }),
        stop: AtomicBool::new(false),
        start: Barrier::new(threads + 1),
    });
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for (index, wires) in wires.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            workers.push(scope.spawn(move || work(run, index, wires, &shared)));
        }
        shared.start.wait();
        let mut before = process::cpu_ns(server.pid());
        let start = Instant::now();
        let (mut begin, mut left) = (start, u64::MAX);
        shared.start.wait();
        if let Some((warm, time)) = run.stop.times() {
            if !warm.is_zero() {
                thread::sleep(warm);
                left = shared.left.load(Ordering::Relaxed);
                before = process::cpu_ns(server.pid());
                begin = Instant::now();
            }
            thread::sleep(time);
            shared.stop.store(true, Ordering::Relaxed);
        }
        let mut sum = Part::default();
        for worker in workers {
            let part = worker
                .join()
                .map_err(|_| anyhow!("a load thread panicked"))??;
            sum.add(part);
        }
        let (seconds, in_all) = (begin.elapsed().as_secs_f64(), start.elapsed().as_secs_f64());
        // What was on its way at the one moment stands for what was at the other.
        let requests = sum.requests.saturating_sub(u64::MAX - left);
        // A thread's time is counted when it goes to sleep: let it.
        thread::sleep(Duration::from_millis(5));
        let used = process::cpu_ns(server.pid())?.saturating_sub(before?);
        ensure!(requests > 0, "no request was made");
        Ok(Outcome {
            requests,
            empty: sum.empty,
            per_second: requests as f64 / seconds,
            cpu_us: used as f64 / 1000.0 / requests as f64,
            client_busy: sum.cpu_ns as f64 / 1e9 / in_all / threads as f64,
        })
    })
}

/// What a connection, a thread or all of them have done.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    requests: u64,
    empty: u64,
    cpu_ns: u64,
}

impl Part {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.empty += other.empty;
        self.cpu_ns += other.cpu_ns;
    }
}

/// One thread: its connections on one event loop.
fn work(run: &Run, index: usize, wires: Vec<Wire>, shared: &Arc<Shared>) -> Result<Part> {
    // Whatever fails is told after the barriers: the others wait there.
    let ready = prepare(run, index);
    shared.start.wait();
    shared.start.wait();
    let runtime = ready?;
    let before = own_cpu_ns()?;
    let threads = run.threads.clamp(1, run.connections);
    let begin_seed = Random(run.seed ^ (index as u64) << 32).next();
    let mut sum = runtime.block_on(async {
        let mut tasks = Vec::new();
        for (number, wire) in wires.into_iter().enumerate() {
            let requests = run.step.requests;
            let steps = usize::try_from((run.pipeline / requests).max(1))?;
            let seed = begin_seed.wrapping_add(number as u64);
            let connection = (number * threads + index) as u64;
            let batch = Batch::new(run.step.of(connection), steps, seed, connection);
            let link = wire.into_link()?;
            let budget = match (&run.step.partner, run.stop) {
                (Some(_), Stop::Requests(count)) => {
                    Budget::Own(count.div_ceil(batch.requests() * run.connections as u64))
                }
                (Some(_), _) => bail!("partners cannot end by time"),
                (None, _) => Budget::Shared(Arc::clone(shared)),
            };
            tasks.push(tokio::spawn(converse(link, batch, run.pipeline, budget)));
        }
        let mut sum = Part::default();
        let deadline = tokio::time::Instant::now() + RUN_LIMIT;
        for task in tasks {
            match tokio::time::timeout_at(deadline, task).await {
                Ok(part) => sum.add(part??),
                Err(_) => bail!("the load did not end within {RUN_LIMIT:?}"),
            }
        }
        anyhow::Ok(sum)
    })?;
    sum.cpu_ns = own_cpu_ns()?.saturating_sub(before);
    Ok(sum)
}

fn prepare(run: &Run, index: usize) -> Result<tokio::runtime::Runtime> {
    event_loop(run.cpus.get(index % run.cpus.len().max(1)).copied())
}

/// An event loop for the calling thread, which stays on `cpu` from now on.
pub(crate) fn event_loop(cpu: Option<usize>) -> Result<tokio::runtime::Runtime> {
    if let Some(cpu) = cpu {
        let own = fs::read_link("/proc/thread-self")?;
        let thread = own.file_name().context("no thread id")?;
        let mut command = Command::new("taskset");
        command.args(["-pc", &cpu.to_string()]).arg(thread);
        let output = command.output().context("starting taskset")?;
        ensure!(output.status.success(), "taskset failed: {output:?}");
    }
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?)
}

/// CPU time of the calling thread.
fn own_cpu_ns() -> Result<u64> {
    let line = fs::read_to_string("/proc/thread-self/schedstat")?;
    let word = line.split(' ').next().unwrap_or_default();
    word.parse().with_context(|| format!("schedstat: {line}"))
}

/// How many batches a connection makes.
enum Budget {
    /// So many.
    Own(u64),
    /// As long as there are any left for all.
    Shared(Arc<Shared>),
}

impl Budget {
    /// Whether another batch of so many requests is to be sent.
    fn take(&mut self, requests: u64) -> bool {
        match self {
            Self::Own(0) => false,
            Self::Own(left) => {
                *left -= 1;
                true
            }
            Self::Shared(shared) => shared.take(requests),
        }
    }
}

/// One connection: a batch out, its replies in, again.
async fn converse(
    mut link: Link,
    mut batch: Batch,
    pipeline: u64,
    mut budget: Budget,
) -> Result<Part> {
    let mut received = vec![0; RECEIVE_BYTES];
    let mut replies = Scanner::default();
    let mut expected = 0;
    let parts = batch.parts(pipeline);
    while budget.take(batch.requests()) {
        batch.renew();
        for (range, requests) in &parts {
            link.send(&batch.bytes[range.clone()]).await?;
            expected += requests;
            while replies.complete < expected {
                let count = link.receive(&mut received).await?;
                ensure!(count > 0, "the server closed the connection");
                replies.feed(&received[..count])?;
            }
            ensure!(
                replies.complete == expected && replies.at_rest(),
                "more replies than requests"
            );
        }
    }
    Ok(Part {
        requests: expected,
        empty: replies.empty,
        cpu_ns: 0,
    })
}
