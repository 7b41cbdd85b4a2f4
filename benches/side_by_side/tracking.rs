//! What those pay who do not take part: GET and SET of clients without tracking while a thousand
//! others track keys elsewhere, and with keyspace notifications on that nobody hears.
//!
//! Each figure is a server against itself: the same load without, with, and without again, on one
//! server; the ratio is the one with by the mean of the two without, so that a machine that becomes
//! slower or faster meanwhile does not count. Both servers take part in turn, but the target is
//! about Kivi's own ratio.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::client::{Reply, encode};
use crate::crowd;
use crate::data::{Data, Kind};
use crate::load::{self, Draw, Run, Step, Stop};
use crate::options::{Mode, Options};
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};
use crate::wire::Way;

/// Keys that every tracking client has read.
const KEYS_OF_EACH: usize = 10;
/// What the same load may cost with it, as a part of the cost without.
const LIMIT: f64 = 1.05;
const REPLY_LIMIT: Duration = Duration::from_secs(10);

/// What is there in the run with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Burden {
    /// Clients that have read keys of their own.
    Tracking,
    /// Clients in broadcasting mode, all with the same prefix, of other keys.
    Broadcast,
    /// Clients in broadcasting mode, each with another prefix.
    Prefixes,
    /// `notify-keyspace-events KEA` without a subscriber.
    Notifications,
}

impl Burden {
    const ALL: [Self; 4] = [
        Self::Tracking,
        Self::Broadcast,
        Self::Prefixes,
        Self::Notifications,
    ];

    fn label(self, options: &Options) -> String {
        let clients = options.trackers;
        match self {
            Self::Tracking => format!("{clients} clients tracking elsewhere"),
            Self::Broadcast => format!("{clients} clients with BCAST, one prefix elsewhere"),
            Self::Prefixes => format!("{clients} clients with BCAST, a prefix each elsewhere"),
            Self::Notifications => "notify-keyspace-events KEA".to_string(),
        }
    }

    /// Whether the issue limits it: notifications only while they are off, and prefixes of
    /// different clients all have to be compared with every key that is written.
    fn judged(self) -> bool {
        matches!(self, Self::Tracking | Self::Broadcast)
    }

    /// Puts it on a server; what is given back holds it there.
    fn lay_on(self, server: &Server, options: &Options) -> Result<Vec<TcpStream>> {
        match self {
            Self::Notifications => notifications(server, b"KEA").map(|()| Vec::new()),
            _ => (0..options.trackers)
                .map(|number| tracker(server.port, self, number))
                .collect(),
        }
    }

    /// Takes it away and waits until the server has noticed.
    fn take_off(self, server: &Server, held: Vec<TcpStream>) -> Result<()> {
        if self == Self::Notifications {
            return notifications(server, b"");
        }
        drop(held);
        let mut client = server.connect()?;
        let end = std::time::Instant::now() + REPLY_LIMIT;
        while client.info("clients", "connected_clients")? > 1 {
            ensure!(
                std::time::Instant::now() < end,
                "clients are still there that have gone"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        server.quiet()
    }
}

fn notifications(server: &Server, classes: &[u8]) -> Result<()> {
    let mut client = server.connect()?;
    let reply = client.call(&[b"CONFIG", b"SET", b"notify-keyspace-events", classes])?;
    ensure!(reply == Reply::Text(b"OK".to_vec()), "got {reply:?}");
    Ok(())
}

/// A client with tracking on, in protocol 3.
fn tracker(port: u16, burden: Burden, number: usize) -> Result<TcpStream> {
    const END: &[u8] = b"$3\r\nend\r\n";
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(REPLY_LIMIT))?;
    let mut request = Vec::new();
    encode(&mut request, &[b"HELLO", b"3"]);
    let on: [&[u8]; 5] = [b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX"];
    match burden {
        Burden::Broadcast => encode(&mut request, &[&on[..], &[b"elsewhere:"]].concat()),
        Burden::Prefixes => {
            let prefix = format!("elsewhere:{number:06}:");
            encode(&mut request, &[&on[..], &[prefix.as_bytes()]].concat());
        }
        Burden::Tracking | Burden::Notifications => {
            encode(&mut request, &on[..3]);
            for key in 0..KEYS_OF_EACH {
                let key = format!("elsewhere:{number:06}:{key}");
                encode(&mut request, &[b"GET", key.as_bytes()]);
            }
        }
    }
    encode(&mut request, &[b"ECHO", b"end"]);
    stream.write_all(&request)?;
    let mut replies = Vec::new();
    let mut piece = [0; 4096];
    while !replies.ends_with(END) {
        let count = stream.read(&mut piece)?;
        ensure!(count > 0, "the server closed the connection");
        replies.extend_from_slice(&piece[..count]);
    }
    let refused = replies.starts_with(b"-") || replies.windows(2).any(|bytes| bytes == b"\n-");
    ensure!(!refused, "tracking got {}", replies.escape_ascii());
    Ok(stream)
}

/// One table per mode.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Pinned]);
    modes.into_iter().map(|mode| compare(bench, mode)).collect()
}

fn compare(bench: &Bench, mode: Mode) -> Result<Table> {
    let options = &bench.options;
    let strings = Data::new(Kind::Text, options.keys, 1);
    let mut servers = Vec::new();
    for index in 0..bench.contenders.len() {
        let server = Contender::start(bench, index, mode, &[])?;
        strings.write(&server)?;
        server.quiet()?;
        servers.push(server);
    }
    let mut table = bench.table(format!(
        "CPU of those who do not take part, {} connections: {}",
        options.clients,
        mode.title()
    ));
    let draws = [Draw::below(options.keys)];
    let get = Step::parse(&["GET key:%0"], &draws)?;
    let set = Step::parse(&["SET key:%0 fedcba9876543210"], &draws)?;
    let mut costs = Vec::new();
    for burden in Burden::ALL {
        for (name, step) in [("GET", &get), ("SET", &set)] {
            let label = format!("{name} P16, {}", burden.label(options));
            if !options.wants(&label) {
                continue;
            }
            let mut ratio = Row::new(format!("{label}: with / without"), "x", servers.len());
            let mut cost = Row::new(format!("{label}: with"), "µs/request", servers.len());
            for round in 0..options.rounds {
                for index in bench.order(round) {
                    let run = Run {
                        step,
                        connections: options.clients,
                        pipeline: 16,
                        threads: options.client_threads.unwrap_or(1),
                        cpus: crowd::client_cpu(bench, mode).into_iter().collect(),
                        stop: Stop::After(options.load),
                        seed: round as u64 + 1,
                        way: Way::default(),
                    };
                    let [first, with, second] = measure(&servers[index], options, burden, &run)
                        .with_context(|| format!("{label}: {}", bench.contenders[index].name))?;
                    ratio.push(index, with / f64::midpoint(first, second));
                    cost.push(index, with);
                }
            }
            let judged = burden.judged() && !options.quick;
            table.push(ratio.target(judged.then_some(Target::AtMost(LIMIT))));
            costs.push(cost);
        }
    }
    costs.into_iter().for_each(|row| table.push(row));
    Ok(table)
}

/// CPU per request without, with, and again without.
fn measure(server: &Server, options: &Options, burden: Burden, run: &Run) -> Result<[f64; 3]> {
    let once = || anyhow::Ok(load::run(server, run)?.cpu_us);
    let first = once()?;
    let held = burden.lay_on(server, options)?;
    server.quiet()?;
    let with = once()?;
    burden.take_off(server, held)?;
    Ok([first, with, once()?])
}
