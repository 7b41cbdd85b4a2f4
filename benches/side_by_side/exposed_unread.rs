//! Memory that strangers can take: connections that have not logged in, send as fast as they can, and never
//! read what they are answered.
//!
//! The password is set when the server runs already. Every connection sends PINGs until the server takes
//! no more from any of them, or for [`SEND_MOST`]; the peak of the resident memory is what counts.

use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::client::{Reply, encode};
use crate::options::Mode;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};

/// How many strangers there are.
const STRANGERS: usize = 200;
/// By how much the memory may grow, MB.
const GROWTH_LIMIT: f64 = 16.0;
/// How long they send at most.
const SEND_MOST: Duration = Duration::from_secs(20);
/// When nothing was taken for so long, nothing will be.
const STUCK: Duration = Duration::from_secs(1);
/// Requests in one write.
const AT_ONCE: usize = 2000;
const MB: f64 = 1024.0 * 1024.0;

/// One table per mode.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let modes = bench.options.modes_or(&[Mode::Default]);
    modes.into_iter().map(|mode| measure(bench, mode)).collect()
}

fn measure(bench: &Bench, mode: Mode) -> Result<Table> {
    let mut table = bench.table(format!(
        "{STRANGERS} connections that have not logged in send PINGs and read nothing: {}",
        mode.title()
    ));
    let contenders = bench.contenders.len();
    let target = (!bench.options.quick).then_some(Target::AtMost(GROWTH_LIMIT));
    let mut growth = Row::new("growth of the RSS", "MB", contenders).target(target);
    let mut taken = Row::new("requests that it took", "millions", contenders);
    let mut wait = Row::new("how long a login takes meanwhile", "ms", contenders);
    for round in 0..bench.options.rounds {
        for index in bench.order(round) {
            let server = Contender::start(bench, index, mode, &[])?;
            let mut client = server.connect()?;
            let set: [&[u8]; 4] = [b"CONFIG", b"SET", b"requirepass", b"secret"];
            let reply = client.call(&set)?;
            ensure!(reply == Reply::Text(b"OK".to_vec()), "got {reply:?}");
            server.quiet()?;
            let siege = besiege(&server).with_context(|| bench.contenders[index].name.clone())?;
            growth.push(index, siege.grown_mb);
            taken.push(index, siege.millions);
            wait.push(index, siege.login_ms);
        }
    }
    table.push(growth);
    table.push(taken);
    table.push(wait);
    Ok(table)
}

/// A connection that sends and never reads.
struct Stranger {
    stream: Option<TcpStream>,
    /// Bytes of the last request that were sent.
    begun: usize,
}

impl Stranger {
    fn connect(server: &Server) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port))?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: Some(stream),
            begun: 0,
        })
    }

    /// Sends as much as is taken of requests of `each` bytes; how many bytes that was.
    fn send(&mut self, requests: &[u8], each: usize) -> u64 {
        let Some(stream) = &mut self.stream else {
            return 0;
        };
        match stream.write(&requests[self.begun..]) {
            Ok(count) => {
                self.begun = (self.begun + count) % each;
                count as u64
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            // The server has had enough of it, which is right, too.
            Err(_) => {
                self.stream = None;
                0
            }
        }
    }
}

/// What strangers have done to a server.
struct Siege {
    /// By how many MB the memory has grown at most.
    grown_mb: f64,
    /// How many millions of requests were taken.
    millions: f64,
    /// How long it took to connect and to log in when they had sent all of that.
    login_ms: f64,
}

fn besiege(server: &Server) -> Result<Siege> {
    let base = server.rss_bytes()?;
    let strangers = (0..STRANGERS).map(|_| Stranger::connect(server));
    let mut strangers = strangers.collect::<Result<Vec<_>>>()?;
    let mut ping = Vec::new();
    encode(&mut ping, &[b"PING"]);
    let requests = ping.repeat(AT_ONCE);
    let (begin, mut last) = (Instant::now(), Instant::now());
    let (mut peak, mut bytes) = (base, 0);
    while begin.elapsed() < SEND_MOST && last.elapsed() < STUCK {
        let sent = strangers.iter_mut();
        let sent: u64 = sent.map(|one| one.send(&requests, ping.len())).sum();
        if sent > 0 {
            (bytes, last) = (bytes + sent, Instant::now());
        } else {
            thread::sleep(Duration::from_millis(2));
        }
        peak = peak.max(server.rss_bytes()?);
    }
    // It still serves who is allowed to.
    let begin = Instant::now();
    let reply = server.connect()?.call(&[b"AUTH", b"secret"])?;
    ensure!(reply == Reply::Text(b"OK".to_vec()), "AUTH got {reply:?}");
    Ok(Siege {
        grown_mb: peak.saturating_sub(base) as f64 / MB,
        millions: bytes as f64 / ping.len() as f64 / 1e6,
        login_ms: begin.elapsed().as_secs_f64() * 1000.0,
    })
}
