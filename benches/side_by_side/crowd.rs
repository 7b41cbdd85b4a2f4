//! Connections that converse, all on one event loop: for measurements whose clients depend on each
//! other or on what they were told (subscribers, optimistic locking), which `load` cannot play.

use std::future::Future;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::Bench;
use crate::load;
use crate::options::Mode;
use crate::process;
use crate::replies::Scanner;
use crate::wire::{Way, Wire};

/// The longest that one of these measurements may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A connection that asks and listens.
pub(crate) struct Line {
    stream: TcpStream,
    /// What has come since the last request.
    received: Vec<u8>,
}

impl Line {
    /// Connects; only inside of [`alone`].
    pub(crate) fn open(port: u16) -> Result<Self> {
        Ok(Self {
            stream: TcpStream::from_std(Wire::connect(port, &Way::default())?.into_stream()?)?,
            received: Vec::new(),
        })
    }

    /// Sends a request and gives back its `replies` RESP2 replies, none of which may be an error.
    pub(crate) async fn ask(&mut self, request: &[u8], replies: u64) -> Result<&[u8]> {
        self.received.clear();
        self.stream.write_all(request).await?;
        let mut scanner = Scanner::default();
        while scanner.complete < replies {
            let from = self.receive().await?;
            scanner.feed(&self.received[from..])?;
        }
        ensure!(
            scanner.complete == replies && scanner.at_rest(),
            "more replies than requests: {}",
            self.received.escape_ascii()
        );
        Ok(&self.received)
    }

    /// Sends a request whose reply must be `expected`, byte for byte.
    pub(crate) async fn expect(&mut self, request: &[u8], expected: &[u8]) -> Result<()> {
        self.received.clear();
        self.stream.write_all(request).await?;
        while self.received.len() < expected.len() {
            self.receive().await?;
        }
        ensure!(
            self.received == expected,
            "{} instead of {}",
            self.received.escape_ascii(),
            expected.escape_ascii()
        );
        Ok(())
    }

    /// Reads what comes into `buffer`; how many bytes.
    pub(crate) async fn listen(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.stream.read(buffer).await?;
        ensure!(count > 0, "the server closed the connection");
        Ok(count)
    }

    /// Reads more; where it begins.
    async fn receive(&mut self) -> Result<usize> {
        let from = self.received.len();
        let count = self.stream.read_buf(&mut self.received).await?;
        ensure!(count > 0, "the server closed the connection");
        Ok(from)
    }
}

/// The CPU of a client in that mode; none: wherever the kernel puts it.
pub(crate) fn client_cpu(bench: &Bench, mode: Mode) -> Option<usize> {
    (mode == Mode::Pinned).then(|| bench.options.cpus.1 % process::cores())
}

/// Runs `work` on an event loop in a thread of its own, on `cpu`.
///
/// Not in the main thread: the servers that this starts later would inherit the CPU.
pub(crate) fn alone<T, W>(cpu: Option<usize>, work: impl FnOnce() -> W + Send) -> Result<T>
where
    T: Send,
    W: Future<Output = Result<T>>,
{
    let run = move || {
        let runtime = load::event_loop(cpu)?;
        let limited = async {
            let done = tokio::time::timeout(LIMIT, work()).await;
            done.with_context(|| format!("it did not end within {LIMIT:?}"))?
        };
        LocalSet::new().block_on(&runtime, limited)
    };
    thread::scope(|scope| {
        let worker = scope.spawn(run);
        let done = worker.join();
        done.map_err(|_| anyhow!("a client's thread panicked"))?
    })
}
