//! The longest wait of any client while something happens to the whole server.
//!
//! A few clients GET one key each, one request at a time, a thousand per second and client and at
//! shifted moments, so that one of them meets every pause of a quarter of a millisecond and more.
//! They do not keep the machine busy: what they wait for is the server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::client::{Client, encode, numbered};
use crate::server::Server;

/// The clients.
pub(crate) const CLIENTS: u64 = 4;
/// The time between a client's requests.
pub(crate) const PERIOD: Duration = Duration::from_millis(1);
/// How long they are at work before anything happens.
const SETTLED: Duration = Duration::from_millis(50);

/// The clients' longest wait while `act` runs. Their keys are spread over `keys` that are there; `ask` sends
/// such a request and takes its reply.
pub(crate) fn watch<T>(
    server: &Server,
    keys: u64,
    ask: fn(&mut Client, &[u8]) -> Result<()>,
    act: impl FnOnce() -> Result<T>,
) -> Result<(Duration, T)> {
    let done = AtomicBool::new(false);
    // All of them before the first is at work: a scope that is left by an error waits for those who are.
    let connected = (0..CLIENTS).map(|_| server.connect());
    let connected = connected.collect::<Result<Vec<_>>>()?;
    let begin = Instant::now() + Duration::from_millis(20);
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for (number, mut client) in (0..CLIENTS).zip(connected) {
            let done = &done;
            let first = begin + PERIOD * number as u32 / CLIENTS as u32;
            let mut request = Vec::new();
            let key = numbered(b"key:", keys / CLIENTS * number);
            encode(&mut request, &[b"GET", &key]);
            clients.push(
                scope.spawn(move || slowest_until(done, first, || ask(&mut client, &request))),
            );
        }
        thread::sleep(begin + SETTLED - Instant::now());
        let acted = act();
        done.store(true, Ordering::Relaxed);
        let mut longest = Duration::ZERO;
        for client in clients {
            let slowest = client.join().map_err(|_| anyhow!("a client panicked"))??;
            longest = longest.max(slowest);
        }
        Ok((longest, acted?))
    })
}

/// One client: the slowest of its requests.
fn slowest_until(
    done: &AtomicBool,
    mut next: Instant,
    mut ask: impl FnMut() -> Result<()>,
) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    while !done.load(Ordering::Relaxed) {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let begin = Instant::now();
        ask()?;
        slowest = slowest.max(begin.elapsed());
        // What was missed during a pause is not made up for: the pause has been noted.
        next = (next + PERIOD).max(Instant::now());
    }
    Ok(slowest)
}
