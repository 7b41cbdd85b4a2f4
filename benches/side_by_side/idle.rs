//! Resident memory per idle connection: many connections, one PING each, then silence.
//!
//! Two moments are shown and both are judged. Just after the last PING the servers still hold the
//! buffers that the PINGs needed; real servers shrink them within seconds and their allocator gives
//! pages back, so at rest they are much smaller.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use socket2::{Domain, Socket, Type};

use crate::Bench;
use crate::options::Mode;
use crate::report::{Row, Table, Target};
use crate::server::{Contender, Server};

/// Connections that share one source address; far below the 28,000 ports that each has.
const PER_ADDRESS: usize = 4096;
const KB: f64 = 1024.0;

/// Runs the rounds, a fresh server for each.
pub(crate) fn run(bench: &Bench) -> Result<Vec<Table>> {
    let count = bench.options.connections;
    let mut tables = Vec::new();
    for mode in bench.options.modes_or(&[Mode::Default]) {
        let mut table = bench.table(format!("{count} idle connections: {}", mode.title()));
        let target = (!bench.options.quick).then_some(Target::AtMost(4.0));
        let contenders = bench.contenders.len();
        let mut settled = Row::new("RSS per connection", "KB", contenders).target(target);
        let mut at_once =
            Row::new("the same just after the PINGs", "KB", contenders).target(target);
        let mut empty = Row::new("RSS of the empty server", "KB", contenders);
        for round in 0..bench.options.rounds {
            for index in bench.order(round) {
                let allowed = (count + 100).to_string();
                let extra = ["--maxclients", &allowed];
                let server = Contender::start(bench, index, mode, &extra)?;
                let figures = measure(&server, count, bench.options.quick)?;
                settled.push(index, figures.settled_kb);
                at_once.push(index, figures.at_once_kb);
                empty.push(index, figures.empty_kb);
            }
        }
        table.push(settled);
        table.push(at_once);
        table.push(empty);
        tables.push(table);
    }
    Ok(tables)
}

struct Figures {
    /// Per connection, when the memory has come to rest.
    settled_kb: f64,
    /// Per connection, when the last PING has been answered.
    at_once_kb: f64,
    /// The whole server before the first connection.
    empty_kb: f64,
}

fn measure(server: &Server, count: usize, quick: bool) -> Result<Figures> {
    let base = rest(server, quick)?;
    let mut connections = Vec::with_capacity(count);
    for number in 0..count {
        let stream = connect(server.port, number).with_context(|| {
            format!("connection {number} of {count} (`ulimit -n` must exceed it)")
        })?;
        connections.push(stream);
    }
    let at_once = server.rss_bytes()?;
    let settled = rest(server, quick)?;
    let mut control = server.connect()?;
    let alive = control.info("clients", "connected_clients")?;
    ensure!(
        alive == count as u64 + 1,
        "{alive} clients are connected, not {}",
        count + 1
    );
    let per_connection = |rss: u64| (rss as f64 - base as f64) / KB / count as f64;
    Ok(Figures {
        settled_kb: per_connection(settled),
        at_once_kb: per_connection(at_once),
        empty_kb: base as f64 / KB,
    })
}

/// A connection that has sent one PING and got its answer. Source addresses vary from server to
/// server and every `PER_ADDRESS` connections, so that closed ones never hold a wanted port.
fn connect(port: u16, number: usize) -> Result<TcpStream> {
    static SERVERS: AtomicU8 = AtomicU8::new(0);
    if number == 0 {
        SERVERS.fetch_add(1, Ordering::Relaxed);
    }
    let last = u8::try_from(1 + number / PER_ADDRESS).context("too many connections")?;
    let source = Ipv4Addr::new(127, 1, SERVERS.load(Ordering::Relaxed), last);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    socket.connect_timeout(&target.into(), Duration::from_secs(5))?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
    let mut reply = [0; 7];
    stream.read_exact(&mut reply)?;
    ensure!(
        &reply == b"+PONG\r\n",
        "PING was answered {}",
        reply.escape_ascii()
    );
    Ok(stream)
}

/// Resident bytes once they have stayed within 0.5 % for 4 s (jemalloc gives freed pages back over
/// some seconds), or after 20 s.
fn rest(server: &Server, quick: bool) -> Result<u64> {
    let (still, most) = match quick {
        true => (Duration::from_millis(200), Duration::from_secs(1)),
        false => (Duration::from_secs(4), Duration::from_secs(20)),
    };
    let begin = Instant::now();
    let mut last = (server.rss_bytes()?, Instant::now());
    loop {
        thread::sleep(Duration::from_millis(100));
        let rss = server.rss_bytes()?;
        if rss.abs_diff(last.0) > last.0 / 200 {
            last = (rss, Instant::now());
        }
        if last.1.elapsed() >= still || begin.elapsed() >= most {
            return Ok(rss);
        }
    }
}
