//! The thread that serves, and one connection of it.
//!
//! The first line is read before hyper is asked, so that whoever speaks something else (a client of Redis, TLS) is
//! told so in words. Limits: connections at once (what is accepted beyond them is
//! closed, so that a flood takes no file descriptors from clients), the size of a request's head, how long it may take to come,
//! and (`io`) how long a response may wait for its peer.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;

use crate::commands::CommandTable;
use crate::server::{Lifecycle, Server};
use crate::sys::process;

use super::io::{Io, Timer};
use super::portal::Accepted;
use super::router::{self, Desk};

/// Most connections at once.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// Most that are told at once, besides, that there are too many; others are closed without a word.
const REFUSALS_MAX: usize = 8;
/// File descriptors that the port needs: connections, the one that is looked at, the one that waits, and
/// what the thread's runtime opens.
pub const FDS_MAX: u64 = (CONNECTIONS_MAX + REFUSALS_MAX) as u64 + 6;
/// Those of each listener: its own, and of the connection that it has accepted.
pub const LISTENER_FDS: u64 = 2;
/// Longest head of a request, bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// How long a request's head may take to come, and a connection may be idle between two.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// How long the first line may take.
const FIRST_LINE_MAX: Duration = Duration::from_secs(10);
/// What is read of a peer that has been told that it is wrong, so that it gets to see that.
const LAST_BYTES_MAX: u64 = 64 * 1024;
const LAST_WORD_MAX: Duration = Duration::from_secs(1);

const CROWDED: &str = "Too many connections to the metrics port of Kivi, try again later.\n";
const IS_REDIS: &str = "This is the metrics port of Kivi, which speaks HTTP (GET /metrics). \
                        Clients of Redis connect to the port that the directive port names.\n";
const IS_TLS: &str = "This is the metrics port of Kivi, which speaks HTTP without TLS.\n";
const IS_HTTP2: &str = "This is the metrics port of Kivi, which speaks HTTP/1.1.\n";
const IS_ODD: &str =
    "This is the metrics port of Kivi, which speaks HTTP: this is no request of it.\n";
const IS_LONG: &str = "The first line of the request is too long.\n";

/// Serves what comes through `inbox` until nothing can come any more, or the server stops.
pub(super) fn run(server: Arc<Server>, table: Arc<CommandTable>, inbox: Receiver<Accepted>) {
    process::set_thread_name("kivi-http");
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(serve(server, table, inbox)),
        Err(error) => tracing::error!("The metrics port cannot be served: {error}"),
    }
}

async fn serve(server: Arc<Server>, table: Arc<CommandTable>, mut inbox: Receiver<Accepted>) {
    let desk = Rc::new(Desk::new(server.clone(), table));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = inbox.recv() => accepted,
            Some(_) = connections.join_next() => continue,
            () = server.reached(Lifecycle::Stopping) => return,
        };
        let Some((stream, peer)) = accepted else {
            return;
        };
        // To be told so takes a place, too, for as long as the peer does not read.
        if connections.len() >= CONNECTIONS_MAX + REFUSALS_MAX {
            continue;
        }
        let is_crowded = connections.len() >= CONNECTIONS_MAX;
        let desk = desk.clone();
        connections.spawn_local(async move {
            let _ = stream.set_nodelay(true);
            let served = match TcpStream::from_std(stream) {
                Ok(stream) if is_crowded => {
                    refuse(stream, "503 Service Unavailable", CROWDED).await
                }
                Ok(stream) => connection(stream, peer, desk).await,
                Err(error) => Err(error),
            };
            if let Err(error) = served {
                tracing::debug!("Connection of {peer} to the metrics port: {error}");
            }
        });
    }
}

async fn connection(mut stream: TcpStream, peer: SocketAddr, desk: Rc<Desk>) -> io::Result<()> {
    let mut begun = Vec::new();
    match within(FIRST_LINE_MAX, first_line(&mut stream, &mut begun)).await? {
        First::Gone => return Ok(()),
        First::Http => {}
        First::Wrong(status, text) => return refuse(stream, status, text).await,
    }
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(router::answer(&desk, peer, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(Timer)
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(Io::new(stream, begun), service);
    connection.await.map_err(io::Error::other)
}

/// What a connection begins with.
#[derive(PartialEq, Eq, Debug)]
enum First {
    /// The line of a request.
    Http,
    /// Nothing: the peer has closed.
    Gone,
    /// Something else: the status and the text that say so.
    Wrong(&'static str, &'static str),
}

/// Reads until it is known what a connection begins with.
async fn first_line(stream: &mut TcpStream, begun: &mut Vec<u8>) -> io::Result<First> {
    loop {
        if let Some(first) = judge(begun) {
            return Ok(first);
        }
        begun.reserve(1024);
        if stream.read_buf(begun).await? == 0 {
            return Ok(First::Gone);
        }
    }
}

/// What a connection begins with, as far as that is known.
fn judge(begun: &[u8]) -> Option<First> {
    const BAD: &str = "400 Bad Request";
    let first = begun.first()?;
    match first {
        b'*' | b'$' => return Some(First::Wrong(BAD, IS_REDIS)),
        // A record of TLS: a handshake.
        0x16 => return Some(First::Wrong(BAD, IS_TLS)),
        _ => {}
    }
    let Some(end) = memchr::memchr(b'\n', begun) else {
        let is_long = begun.len() >= HEAD_BYTES_MAX;
        return is_long.then_some(First::Wrong("414 URI Too Long", IS_LONG));
    };
    let line = begun[..end].strip_suffix(b"\r").unwrap_or(&begun[..end]);
    let version = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    Some(match version {
        b"HTTP/1.1" | b"HTTP/1.0" => First::Http,
        b"HTTP/2.0" => First::Wrong("505 HTTP Version Not Supported", IS_HTTP2),
        _ if first.is_ascii_alphabetic() && memchr::memmem::find(line, b"HTTP/").is_none() => {
            First::Wrong(BAD, IS_REDIS)
        }
        _ => First::Wrong(BAD, IS_ODD),
    })
}

/// Says why a connection is not served, and closes it.
async fn refuse(mut stream: TcpStream, status: &str, text: &str) -> io::Result<()> {
    let response = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{text}",
        text.len()
    );
    within(LAST_WORD_MAX, async {
        stream.write_all(response.as_bytes()).await?;
        stream.shutdown().await?;
        // Closed with bytes unread, the peer would see a reset instead of the text.
        let mut rest = stream.take(LAST_BYTES_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    })
    .await?;
    Ok(())
}

async fn within<T>(time: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = tokio::time::timeout(time, work).await;
    done.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_http_is_told_so() {
        let wrong = |begun: &[u8]| match judge(begun) {
            Some(First::Wrong(status, text)) => (&status[..3], text),
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong(b"*1\r\n$4\r\nPING\r\n"), ("400", IS_REDIS));
        assert_eq!(wrong(b"*"), ("400", IS_REDIS));
        assert_eq!(wrong(b"PING\r\n"), ("400", IS_REDIS));
        assert_eq!(wrong(b"\x16\x03\x01"), ("400", IS_TLS));
        assert_eq!(wrong(b"PRI * HTTP/2.0\r\n"), ("505", IS_HTTP2));
        assert_eq!(wrong(b"\0\0\n"), ("400", IS_ODD));
        assert_eq!(wrong(b"GET / HTTP/1.12\r\n"), ("400", IS_ODD));
        assert_eq!(wrong(&vec![b'a'; HEAD_BYTES_MAX]), ("414", IS_LONG));
        for begun in [&b""[..], b"G", b"GET /metrics HTTP/1.1\r", b"PING"] {
            assert_eq!(judge(begun), None);
        }
        for begun in [&b"GET / HTTP/1.1\r\n"[..], b"GET / HTTP/1.0\nHost: x"] {
            assert_eq!(judge(begun), Some(First::Http));
        }
    }
}
