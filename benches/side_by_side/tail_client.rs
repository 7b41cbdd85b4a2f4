//! A client whose requests do not wait for the server: each is due at a moment that was fixed before,
//! on one of many connections, and its latency counts from that moment to its reply.
//!
//! So a server that stops for 10 ms is charged with every request that was due in these 10 ms (no
//! coordinated omission), and a client that is late itself makes every figure worse, never better. How
//! late it was is noted beside. Requests come as they do from many users: at random (the times between
//! them are distributed exponentially), on a random connection, one at a time.
//!
//! One thread does it all with `epoll`, whose waits end to the microsecond. It asks for the priority of a
//! real-time thread, since it stands for machines elsewhere, which do not compete with the server for a
//! CPU; and it sleeps between two requests, so the server has what it leaves.

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::load::Random;
use crate::replies::Scanner;
use crate::server::Server;

/// What is still unanswered so long after the last request was sent is an error.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
const RECEIVE_BYTES: usize = 64 * 1024;
/// Waits shorter than this are not worth a sleep.
const SPIN: Duration = Duration::from_micros(5);
const EVENTS: usize = 256;

/// Writes the next request; what kind it is, an index into `Seen::by_kind`.
pub(crate) type Requests<'a> = &'a mut dyn FnMut(&mut Vec<u8>, &mut Random) -> usize;

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many per second, whatever the server does.
    PerSecond(f64),
    /// The next one of a connection when the last one is answered: what the server can do.
    Closed,
}

/// A load to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    pub(crate) time: Duration,
    /// Kinds of requests.
    pub(crate) kinds: usize,
    pub(crate) seed: u64,
}

/// What a load has shown; times in µs.
pub(crate) struct Seen {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) by_kind: Vec<Histogram<u64>>,
    /// How late requests were sent.
    pub(crate) late: Histogram<u64>,
    /// The slowest request of each tenth of a second in which requests were due.
    pub(crate) slowest: Vec<u64>,
    /// Whether the kernel gave this thread its priority.
    pub(crate) is_real_time: bool,
}

/// So many entries of `Seen::slowest` make a second.
pub(crate) const SLICES_PER_SECOND: u64 = 10;

/// A histogram of µs, exact to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// Makes the load; the calling thread is the client.
pub(crate) fn run(server: &Server, plan: &Plan, requests: Requests) -> Result<Seen> {
    let mut client = Client::new(server, plan)?;
    client.seen.is_real_time = become_urgent();
    let begun = Instant::now();
    let outcome = match plan.pace {
        Pace::PerSecond(rate) => client.open(begun, plan.time, rate, requests),
        Pace::Closed => client.closed(begun, plan.time, requests),
    };
    become_usual();
    outcome?;
    client.seen.seconds = plan.time.as_secs_f64();
    Ok(client.seen)
}

struct Client {
    connections: Vec<Connection>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    received: Vec<u8>,
    /// Connections whose socket has not taken all of their bytes.
    stuck: Vec<usize>,
    random: Random,
    unanswered: u64,
    seen: Seen,
}

struct Connection {
    stream: TcpStream,
    /// Bytes still to be sent.
    unsent: Vec<u8>,
    /// When the requests on their way were due, and what they are.
    due: VecDeque<(Duration, usize)>,
    replies: Scanner,
}

impl Client {
    fn new(server: &Server, plan: &Plan) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
        let mut connections = Vec::with_capacity(plan.connections);
        for number in 0..plan.connections {
            let stream = TcpStream::connect(address).context("connecting the load")?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN)?;
            connections.push(Connection {
                stream,
                unsent: Vec::new(),
                due: VecDeque::new(),
                replies: Scanner::default(),
            });
        }
        Ok(Self {
            connections,
            epoll,
            events: Vec::with_capacity(EVENTS),
            received: vec![0; RECEIVE_BYTES],
            stuck: Vec::new(),
            random: Random(plan.seed),
            unanswered: 0,
            seen: Seen {
                requests: 0,
                seconds: 0.0,
                by_kind: (0..plan.kinds).map(|_| histogram()).collect(),
                late: histogram(),
                slowest: Vec::new(),
                is_real_time: false,
            },
        })
    }

    fn open(&mut self, begun: Instant, time: Duration, rate: f64, make: Requests) -> Result<()> {
        let mut due = self.interval(rate);
        let mut touched = Vec::new();
        while due < time || self.unanswered > 0 {
            let now = begun.elapsed();
            ensure!(
                now < time + DRAIN_LIMIT,
                "{} requests got no reply",
                self.unanswered
            );
            while due <= now && due < time {
                let index = self.random.below(self.connections.len() as u64) as usize;
                self.add(index, due, make);
                self.seen.late.record(micros(now - due))?;
                touched.push(index);
                due += self.interval(rate);
            }
            touched.append(&mut self.stuck);
            for index in touched.drain(..) {
                self.send(index)?;
            }
            let until = match due < time {
                true => due.saturating_sub(begun.elapsed()),
                false => Duration::from_millis(10),
            };
            for index in self.ready(until)? {
                self.receive(index, begun)?;
            }
        }
        Ok(())
    }

    fn closed(&mut self, begun: Instant, time: Duration, make: Requests) -> Result<()> {
        for index in 0..self.connections.len() {
            self.add(index, begun.elapsed(), make);
            self.send(index)?;
        }
        while self.unanswered > 0 {
            ensure!(begun.elapsed() < time + DRAIN_LIMIT, "replies are missing");
            for index in std::mem::take(&mut self.stuck) {
                self.send(index)?;
            }
            for index in self.ready(Duration::from_millis(10))? {
                self.receive(index, begun)?;
                let now = begun.elapsed();
                if now < time && self.connections[index].due.is_empty() {
                    self.add(index, now, make);
                    self.send(index)?;
                }
            }
        }
        Ok(())
    }

    /// The time to the next request.
    fn interval(&mut self, rate: f64) -> Duration {
        let chance = (self.random.next() >> 11) as f64 / (1u64 << 53) as f64;
        Duration::from_secs_f64(-(1.0 - chance).ln() / rate)
    }

    fn add(&mut self, index: usize, due: Duration, make: Requests) {
        let connection = &mut self.connections[index];
        let kind = make(&mut connection.unsent, &mut self.random);
        connection.due.push_back((due, kind));
        self.unanswered += 1;
        self.seen.requests += 1;
    }

    /// Sends what a connection has to send, as far as its socket takes it.
    fn send(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        while !connection.unsent.is_empty() {
            match connection.stream.write(&connection.unsent) {
                Ok(count) => drop(connection.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.stuck.push(index);
                    break;
                }
                Err(error) => return Err(error).context("sending"),
            }
        }
        Ok(())
    }

    /// Waits for replies; the connections that have some.
    fn ready(&mut self, until: Duration) -> Result<Vec<usize>> {
        let until = match until < SPIN {
            true => Duration::ZERO,
            false => until,
        };
        let timeout = Timespec {
            tv_sec: until.as_secs().try_into()?,
            tv_nsec: until.subsec_nanos().into(),
        };
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&timeout),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll_wait"),
        }
        let numbers = self.events.iter().map(|event| event.data.u64() as usize);
        Ok(numbers.collect())
    }

    fn receive(&mut self, index: usize, begun: Instant) -> Result<()> {
        let connection = &mut self.connections[index];
        let count = match connection.stream.read(&mut self.received) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("awaiting replies"),
        };
        ensure!(count > 0, "the server closed a connection");
        let now = begun.elapsed();
        let before = connection.replies.complete;
        connection.replies.feed(&self.received[..count])?;
        for _ in before..connection.replies.complete {
            let (due, kind) = connection.due.pop_front().context("a surplus reply")?;
            let latency = micros(now.saturating_sub(due));
            self.seen.by_kind[kind].record(latency)?;
            let slice = (due.as_millis() as u64 * SLICES_PER_SECOND / 1000) as usize;
            if self.seen.slowest.len() <= slice {
                self.seen.slowest.resize(slice + 1, 0);
            }
            let slowest = &mut self.seen.slowest[slice];
            *slowest = latency.max(*slowest);
            self.unanswered -= 1;
        }
        Ok(())
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

/// Makes the calling thread run as soon as it is to run; whether the kernel allows that.
fn become_urgent() -> bool {
    let Some(thread) = own_thread() else {
        return false;
    };
    // Ends sleeps when they are over, not up to 50 µs later.
    let _ = fs::write(format!("/proc/{thread}/timerslack_ns"), "1");
    chrt(&["-f", "-p", "1", &thread])
}

fn become_usual() {
    if let Some(thread) = own_thread() {
        chrt(&["-o", "-p", "0", &thread]);
    }
}

fn chrt(args: &[&str]) -> bool {
    let output = Command::new("chrt").args(args).output();
    output.is_ok_and(|output| output.status.success())
}

fn own_thread() -> Option<String> {
    let link = fs::read_link("/proc/thread-self").ok()?;
    Some(link.file_name()?.to_str()?.to_string())
}
