//! Worker threads: each a single-threaded runtime; a connection stays with its worker, so nothing on the path of a
//! command is shared but the keyspace.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::{Notify, mpsc};

use crate::commands::CommandTable;
use crate::ds::footprint::block_bytes;
use crate::exec::Exec;
use crate::resp::parse::{Batch, Limits};
use crate::resp::write::ReplyWriter;
use crate::server::{Lifecycle, Server};
use crate::spec::limits::{ARGS_MAX, INLINE_BYTES_MAX};
use crate::stats::cycles;
use crate::sys::alloc;
use crate::sys::crash::SignalStack;
use crate::sys::process::{self, ThreadCpu};

use super::connection;
use super::listener::rate::Cycle;
use super::outbox::{Line, Outbox};
use super::pace;
use super::parcel::Parcel;
use super::relay::Relay;

/// Size of a worker's read buffer, bytes.
const INPUT_BYTES: usize = 64 * 1024;
/// Polls of tasks between two looks at the sockets.
pub(super) const EVENT_INTERVAL: u32 = 61;
/// How exact the worker's short waits are.
const TIMER_SLACK: Duration = Duration::from_micros(1);
/// Readiness events taken at once.
const EVENTS_MAX: usize = 1024;
/// What the runtime adds to a task in its block, bytes: measured.
const TASK_BYTES: usize = 128;
/// What it keeps besides of a task and of a socket that it watches, bytes: measured.
const WATCHED_BYTES: usize = 80;

/// What the connections of one worker share, on its thread.
pub struct Worker {
    /// The way into the server.
    pub exec: Rc<Exec>,
    /// All workers.
    pub crew: Arc<Crew>,
    /// Waits for the log on behalf of all connections.
    pub relay: Relay,
    outbox: Outbox,
    desk: RefCell<Desk>,
}

/// Buffers that are used by one connection at a time, never across an await.
pub struct Desk {
    /// Where sockets are read into.
    pub input: Box<[u8]>,
    /// Its size; known also while the buffer is taken.
    pub input_bytes: usize,
    /// Parsed commands.
    pub batch: Batch,
    /// Replies.
    pub out: ReplyWriter,
    /// Bytes that the last unfinished request wants at least.
    pub missing_bytes: usize,
    /// Bytes read and not yet counted.
    pub read_bytes: u64,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            input: vec![0; INPUT_BYTES].into_boxed_slice(),
            input_bytes: INPUT_BYTES,
            batch: Batch::new(),
            out: ReplyWriter::new(),
            missing_bytes: 0,
            read_bytes: 0,
        }
    }

    /// The parser's limits for a client.
    pub fn limits(&self, exec: &Exec, authenticated: bool) -> Limits {
        Limits {
            max_args: ARGS_MAX,
            max_bulk_bytes: exec.config().proto_max_bulk_len,
            max_inline_bytes: INLINE_BYTES_MAX,
            authenticated,
        }
    }
}

impl Worker {
    /// Lends the worker's buffers.
    pub fn with_desk<R>(&self, work: impl FnOnce(&mut Desk) -> R) -> R {
        work(&mut self.desk.borrow_mut())
    }

    /// Keeps replies for a moment, to be sent with those of others.
    #[inline]
    pub fn keep(&self, line: &Rc<Line>, replies: &[u8], tick: u64) {
        if self.outbox.keep(line, replies, tick) {
            self.send_kept();
        }
    }

    /// Sends what was kept.
    #[inline]
    pub fn send_kept(&self) {
        if !self.outbox.is_empty() {
            let sent = self.outbox.send();
            self.count_writes(sent.writes, sent.bytes);
        }
    }

    /// Counts writes made outside of a batch.
    pub fn count_writes(&self, writes: u64, bytes: u64) {
        if writes > 0 {
            let mut local = self.exec.worker.lock();
            local.writes += writes;
            local.net_out_bytes += bytes;
        }
    }
}

/// All workers, as others see them.
pub struct Crew {
    members: Vec<Member>,
}

struct Member {
    parcels: mpsc::UnboundedSender<Parcel>,
    connections: AtomicUsize,
    cpu: OnceLock<ThreadCpu>,
    rest: Notify,
    /// Its runtime; `None` when it could not start.
    runtime: OnceLock<Option<Handle>>,
}

impl Crew {
    /// Number of workers.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// There is always at least one.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The runtime of a worker that is the only one, once it has started.
    pub fn only_runtime(&self) -> Option<Handle> {
        match &self.members[..] {
            [only] => only.runtime.wait().clone(),
            _ => None,
        }
    }

    /// Connections of a worker, those on their way to it included.
    pub fn connections(&self, worker: usize) -> usize {
        self.members[worker].connections.load(Ordering::Relaxed)
    }

    /// Processor time that a worker has used, nanoseconds.
    pub fn cpu_ns(&self, worker: usize) -> u64 {
        self.members[worker]
            .cpu
            .get()
            .and_then(|cpu| cpu.used_ns())
            .unwrap_or(0)
    }

    /// Has a worker that is at rest empty its cache of free memory.
    pub fn rest(&self, worker: usize) {
        self.members[worker].rest.notify_one();
    }

    /// Gives a connection to a worker.
    pub fn send(&self, worker: usize, parcel: Parcel) {
        let member = &self.members[worker];
        parcel
            .client()
            .shared
            .worker
            .store(worker, Ordering::Relaxed);
        member.connections.fetch_add(1, Ordering::Relaxed);
        // A worker that has ended drops the parcel, and with it closes the socket.
        let _ = member.parcels.send(parcel);
    }
}

/// Starts `count` workers; they end when the server stops.
pub fn start(
    count: usize,
    server: &Arc<Server>,
    table: &Arc<CommandTable>,
) -> io::Result<(Arc<Crew>, Vec<JoinHandle<()>>)> {
    let mut members = Vec::with_capacity(count);
    let mut inboxes = Vec::with_capacity(count);
    for _ in 0..count {
        let (parcels, inbox) = mpsc::unbounded_channel();
        members.push(Member {
            parcels,
            connections: AtomicUsize::new(0),
            cpu: OnceLock::new(),
            rest: Notify::new(),
            runtime: OnceLock::new(),
        });
        inboxes.push(inbox);
    }
    let crew = Arc::new(Crew { members });
    server.clients.hang_bells(count);
    let mut threads = Vec::with_capacity(count);
    for (index, inbox) in inboxes.into_iter().enumerate() {
        let (server, table, crew) = (server.clone(), table.clone(), crew.clone());
        let runtime = || {
            Builder::new_current_thread()
                .enable_all()
                .event_interval(EVENT_INTERVAL)
                .max_io_events_per_tick(EVENTS_MAX)
                .on_thread_park(pace::before_park)
                .on_thread_unpark(pace::after_park)
                .build_local(LocalOptions::default())
        };
        let work = move || {
            alloc::join_arena(index);
            let _signals = SignalStack::new();
            let runtime = runtime();
            let handle = runtime
                .as_ref()
                .ok()
                .map(|runtime| runtime.handle().clone());
            let _ = crew.members[index].runtime.set(handle);
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::error!("Worker {index} cannot start: {error}");
                    return server.enter(Lifecycle::Stopping);
                }
            };
            runtime.block_on(work(index, server, table, crew, inbox));
        };
        let builder = std::thread::Builder::new().name(format!("kivi-io-{index}"));
        threads.push(builder.spawn(work)?);
    }
    Ok((crew, threads))
}

async fn work(
    index: usize,
    server: Arc<Server>,
    table: Arc<CommandTable>,
    crew: Arc<Crew>,
    mut inbox: mpsc::UnboundedReceiver<Parcel>,
) {
    process::set_thread_name(&format!("kivi-io-{index}"));
    process::set_timer_slack(TIMER_SLACK);
    if let Some(cpu) = ThreadCpu::current() {
        let _ = crew.members[index].cpu.set(cpu);
    }
    let exec = Rc::new(Exec::new(server.clone(), table));
    let _ = exec.worker.number.set(index);
    cycles::feed(exec.worker.clone());
    let worker = Rc::new(Worker {
        exec,
        crew,
        relay: Relay::default(),
        outbox: Outbox::default(),
        desk: RefCell::new(Desk::new()),
    });
    let mut errands = run_errands(&worker, index);
    let mut connections = tokio::task::JoinSet::new();
    let mut cycle = Cycle::default();
    loop {
        tokio::select! {
            biased;
            parcel = inbox.recv() => {
                let Some(parcel) = parcel else { break };
                if let Some(most) = parcel.most_in_a_turn(&server.config()) {
                    cycle.take(most).await;
                }
                let (worker, shared) = (worker.clone(), parcel.client().shared.clone());
                let task = async move {
                    connection::run(worker.clone(), parcel).await;
                    worker.crew.members[index].connections.fetch_sub(1, Ordering::Relaxed);
                };
                let task_bytes = block_bytes(size_of_val(&task) + TASK_BYTES);
                let bytes = task_bytes + block_bytes(Line::BYTES) + WATCHED_BYTES;
                shared.connection_bytes.store(bytes, Ordering::Relaxed);
                connections.spawn_local(task);
            }
            Some(_) = connections.join_next() => {}
            () = server.reached(Lifecycle::Stopping) => break,
        }
    }
    // What still runs has been told to close by whoever stops the server; it writes its last replies.
    while connections.join_next().await.is_some() {}
    errands.abort_all();
}

/// Tasks that serve all connections of a worker; none ends by itself.
fn run_errands(worker: &Rc<Worker>, index: usize) -> tokio::task::JoinSet<()> {
    let mut errands = tokio::task::JoinSet::new();
    let relaying = worker.clone();
    errands.spawn_local(async move { relay_replies(&relaying).await });
    let keeping = worker.clone();
    errands.spawn_local(async move { keeping.outbox.run(|| keeping.send_kept()).await });
    let ringing = worker.clone();
    errands.spawn_local(async move {
        if let Some(bell) = ringing.exec.server.clients.bell(index) {
            bell.answer().await;
        }
    });
    let resting = worker.clone();
    errands.spawn_local(async move {
        loop {
            resting.crew.members[index].rest.notified().await;
            alloc::flush_thread_cache();
        }
    });
    errands
}

/// Lets replies go that wait for the log, and writes the log for them where that is left to workers.
async fn relay_replies(worker: &Worker) {
    let server = &worker.exec.server;
    let oplog = &server.keyspace.oplog;
    oplog.write_here();
    let write = || {
        if let Some(aof) = server.persist.aof() {
            let now_ms = server.clock.unix_ms();
            let cycles = &worker.exec.worker.cycles;
            cycles.writing_log(|| aof.write_through(oplog, now_ms));
        }
    };
    worker.relay.run(oplog, write).await;
}
