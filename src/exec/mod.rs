//! The path of a command: look up -> admit -> lock -> run -> fan out -> reply. This file is that
//! path.
//!
//! `net` (and in tests a [`session::Session`]) owns a connection, parses its requests and calls
//! [`Exec::run`] for each; [`Exec::look_ahead`] before a batch brings the table lines of its keys
//! into the cache. What cannot be done in a synchronous call comes back as a [`Flow`].
//!
//! Invariants: the shards of a command's keys are locked in ascending order before its handler runs
//! and released before anything is written to a socket; a handler that fails leaves only its error
//! in the reply; nothing here compares names.

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use smallvec::SmallVec;

use crate::client::{Client, Underway};
use crate::commands::table::Found;
use crate::commands::{Chore, CmdResult, CommandTable, Ctx, Next, Registered};
use crate::config::Config;
use crate::db::{Access, DbIndex, Effects, GateGuard, Keyspace, Locks, Ready, Waiter};
use crate::resp::parse::{Argv, Batch};
use crate::resp::write::ReplyWriter;
use crate::server::Server;
use crate::server::monitor::Shown;
use crate::spec::limits::BATCH_COMMANDS;
use crate::spec::{Args, CmdError, Flags, keys};
use crate::stats;
use crate::sys::{crash, fiber, tsc};

mod admit;
pub mod alone;
mod around;
mod block;
mod busy;
mod cached;
mod chore;
mod fanout;
mod guard;
mod hot;
pub mod load;
pub mod memory;
pub mod replay;
mod responses;
mod script;
pub mod session;
mod transaction;
pub mod trial;
mod unusual;

use around::{begin_reply, delayed, end_caching, not_run, silence};
use cached::Cached;
pub use responses::Late;
use unusual::{Bounds, Ran, Told};

/// Fewest commands in a batch for which prefetching pays.
const PREFETCH_COMMANDS_MIN: usize = 3;

/// What runs other commands.
const RUNS_OTHERS: Flags = Flags::RUNS_SCRIPT.and(Flags::RUNS_QUEUE);

/// How a worker counts, by its configuration.
#[derive(Clone, Copy)]
struct Habits {
    /// How long each command takes.
    track_latency: bool,
    /// Somebody may ask how long clients wait.
    is_watched: bool,
}

impl Habits {
    fn of(config: &Config) -> Habits {
        Habits {
            track_latency: config.latency_tracking,
            is_watched: config.metrics_port != 0,
        }
    }
}

/// One worker's way into the server. Shared by its connections, on one thread.
pub struct Exec {
    /// The server.
    pub server: Arc<Server>,
    /// All commands.
    pub table: Arc<CommandTable>,
    /// This worker's figures.
    pub worker: Arc<stats::Worker>,
    config: RefCell<Arc<Config>>,
    config_epoch: Cell<u64>,
    /// From where on it looks closer at what has run.
    bounds: Cell<Bounds>,
    /// How it counts.
    habits: Cell<Habits>,
    /// What is told of commands that were unusual, when they are counted.
    told: RefCell<Vec<Told>>,
    /// What it runs is counted, and told.
    is_counted: bool,
    /// What it knows of the memory in use.
    memory: memory::Memory,
    /// What it has for scripts.
    desk: script::Desk,
}

/// What became of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Replied; go on.
    Done,
    /// Replied; close once that is written.
    Close,
    /// Close at once, write nothing.
    Abort,
    /// Not run: wait, then run it again.
    Wait(Wait),
    /// Replied, but everybody waits so long first.
    Sleep(Duration),
    /// Replied, but the client waits so long first.
    Delay(Duration),
    /// No reply yet: have this done, see [`Exec::start_chore`].
    Chore(Chore),
    /// No reply yet: wait until this has an outcome, see [`Exec::end_wait`].
    Block(Arc<Waiter>),
    /// Not run: it needs a stack of its own, see [`Alone`](alone::Alone).
    Alone,
}

impl Flow {
    /// How long everybody waits.
    #[inline]
    fn pause(&self) -> Duration {
        match self {
            Flow::Sleep(duration) => *duration,
            _ => Duration::ZERO,
        }
    }
}

/// What a command waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Someone works on the whole keyspace: until he has done so, or others are told that it takes
    /// long.
    Gate,
    /// CLIENT PAUSE.
    Pause,
}

/// One batch: its moment, and its executions until they are counted.
#[derive(Default)]
pub struct Moment {
    now_ms: u64,
    tick: u64,
    /// When its requests could be read, in ticks.
    ready_tick: u64,
    /// Its replies wait for something: whom they are counted for then.
    late: Option<Late>,
    executed: SmallVec<[(u16, bool, u64); 32]>,
    changes: u64,
    prefetched: u64,
    /// The last record of the log that came of it, 0 for none.
    logged_seq: u64,
    /// What it means to those who cache.
    cached: Cached,
    /// Bytes read for it.
    pub net_in_bytes: u64,
    /// Bytes written of its replies.
    pub net_out_bytes: u64,
    /// Writes that this took.
    pub writes: u64,
}

/// The commands of a batch, looked up ahead; `None` for those that are in no row.
pub type Plan<'t> = SmallVec<[Option<Ahead<'t>>; BATCH_COMMANDS]>;

/// What is known of a command before it runs.
#[derive(Clone, Copy)]
pub struct Ahead<'t> {
    command: &'t Registered,
    /// Of its only key.
    hash: Option<u64>,
}

impl Moment {
    /// The batch's moment, Unix time in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The last record of the log that came of it, 0 for none.
    pub fn logged_seq(&self) -> u64 {
        self.logged_seq
    }

    /// Notes a record of the log.
    #[inline]
    fn logged(&mut self, seq: u64) {
        self.logged_seq = self.logged_seq.max(seq);
    }

    /// Notes that a command has run since the last one, and how long its client waits besides; how
    /// long it took, in ticks.
    #[inline]
    fn ran(&mut self, command: &Registered, failed: bool, pause: Duration) -> u64 {
        let tick = tsc::ticks();
        // The counters of two processors may differ, and the thread may have changed its processor.
        let mut ticks = tick.saturating_sub(self.tick);
        if !pause.is_zero() {
            let pause_ns = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
            ticks = ticks.saturating_add(tsc::ns_to_ticks(pause_ns));
        }
        self.executed.push((command.id, failed, ticks));
        self.tick = tick;
        ticks
    }

    /// The same, of one that ran in the middle of another one, whose time goes on behind it.
    fn ran_within(&mut self, command: &Registered, failed: bool, began: u64) -> u64 {
        let ticks = tsc::ticks().saturating_sub(began);
        self.executed.push((command.id, failed, ticks));
        self.tick = self.tick.saturating_add(ticks);
        ticks
    }

    /// The same moment, for a command that runs on a stack of its own.
    fn branch(&self) -> Moment {
        Moment {
            now_ms: self.now_ms,
            tick: self.tick,
            ready_tick: self.ready_tick,
            ..Moment::default()
        }
    }

    /// What came of such a command is part of the batch.
    fn join(&mut self, branch: Moment) {
        self.tick = branch.tick;
        self.ready_since(branch.ready_tick);
        self.executed.extend(branch.executed);
        self.changes += branch.changes;
        self.logged(branch.logged_seq);
        self.cached.join(branch.cached);
    }

    /// Counts the keys that were prefetched for it.
    pub fn note_plan(&mut self, plan: &Plan<'_>) {
        let keys = plan.iter().flatten().filter(|ahead| ahead.hash.is_some());
        self.prefetched += keys.count() as u64;
    }
}

impl Exec {
    /// A worker's way into `server`.
    pub fn new(server: Arc<Server>, table: Arc<CommandTable>) -> Exec {
        let worker = server.stats.add_worker();
        Exec::counted_by(worker, server, table, true)
    }

    /// The same, of which nobody sees the figures.
    fn uncounted(server: Arc<Server>, table: Arc<CommandTable>) -> Exec {
        Exec::counted_by(Arc::default(), server, table, false)
    }

    fn counted_by(
        worker: Arc<stats::Worker>,
        server: Arc<Server>,
        table: Arc<CommandTable>,
        is_counted: bool,
    ) -> Exec {
        let config_epoch = Cell::new(server.config_epoch());
        let config = server.config();
        let bounds = Cell::new(Bounds::of(&server, &config, is_counted));
        let habits = Cell::new(Habits::of(&config));
        let config = RefCell::new(config);
        Exec {
            server,
            table,
            worker,
            config,
            config_epoch,
            bounds,
            habits,
            told: RefCell::default(),
            is_counted,
            memory: memory::Memory::default(),
            desk: script::Desk::default(),
        }
    }

    /// The configuration; a copy that follows changes from batch to batch, or while a transaction runs
    /// from one to the next.
    pub fn config(&self) -> Ref<'_, Arc<Config>> {
        let epoch = self.server.config_epoch();
        if self.config_epoch.get() != epoch
            && let Ok(mut config) = self.config.try_borrow_mut()
        {
            self.config_epoch.set(epoch);
            *config = self.server.config();
            let bounds = Bounds::of(&self.server, &config, self.is_counted);
            self.bounds.set(bounds);
            self.habits.set(Habits::of(&config));
        }
        self.config.borrow()
    }

    /// Takes the bounds of what is unusual from the newest configuration; in a transaction, too, whose copy is in use.
    fn follow_bounds(&self) {
        let bounds = Bounds::of(&self.server, &self.server.config(), self.is_counted);
        self.bounds.set(bounds);
    }

    /// Begins a batch: the clock is read once for all its commands.
    #[inline]
    pub fn begin(&self) -> Moment {
        let tick = tsc::ticks();
        Moment {
            now_ms: self.server.clock.unix_ms(),
            tick,
            ready_tick: tick,
            ..Moment::default()
        }
    }

    /// Tells what was unusual of the batch so far. Called before its replies are sent, so that whoever has one finds what
    /// is told of its command, on whatever worker he asks.
    #[inline]
    pub fn tell_so_far(&self, moment: &Moment) {
        if !self.told.borrow().is_empty() {
            self.tell_unusual(moment.now_ms);
        }
    }

    /// Ends a batch: counts what ran.
    #[inline]
    pub fn end(&self, moment: &mut Moment) {
        self.server
            .keyspace
            .add_changes(std::mem::take(&mut moment.changes));
        crash::idle();
        self.tell_so_far(moment);
        if self.config_epoch.get() != self.server.config_epoch() {
            drop(self.config());
        }
        let Habits {
            track_latency,
            is_watched,
        } = self.habits.get();
        let mut local = self.worker.lock();
        if is_watched {
            responses::count(moment, &mut local);
        }
        local.reads += (moment.net_in_bytes > 0) as u64;
        local.net_in_bytes += std::mem::take(&mut moment.net_in_bytes);
        local.net_out_bytes += std::mem::take(&mut moment.net_out_bytes);
        local.writes += std::mem::take(&mut moment.writes);
        local.prefetch_batches += (moment.prefetched > 0) as u64;
        local.prefetch_entries += std::mem::take(&mut moment.prefetched);
        for &(command, failed, ticks) in &moment.executed {
            local.executed(command, ticks, failed, track_latency);
        }
        moment.executed.clear();
    }

    /// Looks the commands of a batch up ahead, and brings the lines that they will touch into the
    /// cache, in two stages: table lines, then entries. `plan` stays empty for a batch too small to
    /// gain by it.
    #[inline]
    pub fn look_ahead<'t>(
        &'t self,
        batch: &Batch,
        buf: &[u8],
        client: &Client,
        plan: &mut Plan<'t>,
    ) {
        if batch.len() >= PREFETCH_COMMANDS_MIN {
            self.plan(batch, buf, client, plan);
        }
    }

    #[inline(never)]
    fn plan<'t>(&'t self, batch: &Batch, buf: &[u8], client: &Client, plan: &mut Plan<'t>) {
        let keyspace = &self.server.keyspace;
        // A key that all want is brought once for all of them: each time costs its lock, which others want, too.
        let mut last = None;
        for index in 0..batch.len() {
            let argv = batch.argv(index, buf);
            let Found::Command(command) = self.table.find(argv) else {
                plan.push(None);
                continue;
            };
            let key = match command.row.flags.has(Flags::RUNS_SCRIPT) {
                true => script::only_key(argv),
                false => command.only_key(argv),
            };
            let hash = key.map(|key| keyspace.hash(key));
            if let Some(hash) = hash
                && last.replace(hash) != Some(hash)
            {
                keyspace.prefetch(client.db, hash, false);
            }
            plan.push(Some(Ahead { command, hash }));
        }
        last = None;
        for hash in plan.iter().flatten().filter_map(|ahead| ahead.hash) {
            if last.replace(hash) != Some(hash) {
                keyspace.prefetch(client.db, hash, true);
            }
        }
        self.look_into_collections(plan, batch, buf, client);
    }

    /// Goes on with the values of commands on collections: more than an entry's first line, and in
    /// large ones the line, then the entry, of the element that is asked for.
    fn look_into_collections(&self, plan: &Plan<'_>, batch: &Batch, buf: &[u8], client: &Client) {
        let keyspace = &self.server.keyspace;
        // Hashes of keys and elements.
        let mut elements: SmallVec<[(u64, u64); BATCH_COMMANDS]> = SmallVec::new();
        let mut last = (0, false);
        for (index, ahead) in plan.iter().enumerate() {
            let Some(Ahead {
                command,
                hash: Some(hash),
            }) = *ahead
            else {
                continue;
            };
            if !command.row.docs.group.is_collection() {
                continue;
            }
            if last.0 != hash {
                last = (hash, keyspace.prefetch_value(client.db, hash));
            }
            if last.1
                && let Some(at) = command.row.element
                && let Some(element) = batch.argv(index, buf).get(at as usize)
            {
                elements.push((hash, keyspace.hash(element)));
            }
        }
        for entries in [false, true] {
            for of_one_key in elements.chunk_by(|(key, _), (next, _)| key == next) {
                let wanted = of_one_key.iter().map(|&(_, element)| element);
                keyspace.prefetch_elements(client.db, of_one_key[0].0, wanted, entries);
            }
        }
    }

    /// Runs one request and writes its reply to `out`. `ahead` is its place in [`Exec::look_ahead`].
    pub fn run(
        &self,
        moment: &mut Moment,
        argv: Argv<'_>,
        ahead: Option<Ahead<'_>>,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Flow {
        let command = match self.enter(moment, argv, ahead, client, out) {
            Ok(command) => command,
            Err(flow) => return flow,
        };
        let is_queued = !command.row.flags.has(Flags::NOT_QUEUED);
        let hash = ahead.and_then(|ahead| ahead.hash);
        if client.in_multi && is_queued {
            return self.queue(command, argv, hash, client, out);
        }
        let is_of_server = is_queued && self.settle(command, moment);
        let (started, is_hot) = (moment.tick, self.counts_hot(moment));
        let (mark, told) = (out.mark(), self.told.borrow().len());
        let reply = begin_reply(client);
        let called = self.call(command, argv, hash, moment, client, out);
        let Some(called) = called else {
            out.truncate(mark);
            return not_run(Flow::Wait(Wait::Gate), reply, client);
        };
        if let Some(waiter) = called.waiter {
            end_caching(Some(command), client);
            return Flow::Block(waiter);
        }
        let mut failed = called.result.is_err();
        let flow = match called.result {
            Ok(next @ (Next::Exec | Next::Script(_))) => {
                match self.run_called(command, (argv, next), moment, client, out) {
                    Ok((flow, has_failed)) => {
                        failed = has_failed;
                        moment.tick = started;
                        delayed(flow, client)
                    }
                    Err(flow) => return not_run(flow, reply, client),
                }
            }
            Ok(next) => flow_of(next),
            Err(error) => {
                out.truncate(mark);
                self.write_error(&error, out);
                delayed(Flow::Done, client)
            }
        };
        end_caching(Some(command), client);
        if is_of_server {
            self.follow_bounds();
        }
        if let Flow::Chore(_) = flow {
            client.chore = Some(Box::new(Underway::new(command.id, argv, moment.tick)));
            return flow;
        }
        let ran = Ran {
            failed,
            is_hot,
            pause: flow.pause(),
            place: (!command.row.flags.any(RUNS_OTHERS)).then_some(told),
            ..Ran::of((command, argv), client, (out, mark))
        };
        self.ran(moment, &ran);
        client.ran();
        silence(client, out, mark);
        flow
    }

    /// Whether the command is one of the server's, which may read its figures or set directives; none of those is fast.
    /// What ran before it is counted then, and behind it the bounds of the command log are taken anew: its own entry goes
    /// by those that it has set, as in Redis.
    #[inline]
    fn settle(&self, command: &Registered, moment: &mut Moment) -> bool {
        let is_of_server = command.row.keys.is_empty() && !command.row.flags.has(Flags::FAST);
        if is_of_server {
            self.end(moment);
        }
        is_of_server
    }

    /// Runs what a command calls for: what the client has queued, a script. Whether it has failed; or
    /// what has to be before it can run.
    #[inline(never)]
    fn run_called(
        &self,
        command: &Registered,
        (argv, next): (Argv<'_>, Next),
        moment: &mut Moment,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Result<(Flow, bool), Flow> {
        let later = match fiber::is_inside() {
            true => Flow::Wait(Wait::Gate),
            false => Flow::Alone,
        };
        match next {
            Next::Script(call) => match self.run_script(command, (argv, call), moment, client, out)
            {
                Some(has_failed) => Ok((Flow::Done, has_failed)),
                None => Err(later),
            },
            _ if later == Flow::Alone && has_script(client) => Err(later),
            _ => match self.run_queue(command, argv, moment, client, out) {
                Some(ended) => Ok(ended),
                None => Err(Flow::Wait(Wait::Gate)),
            },
        }
    }

    /// Looks a request's command up and asks whether it may run now; else what became of it.
    #[inline(always)]
    fn enter<'t>(
        &'t self,
        moment: &Moment,
        argv: Argv<'_>,
        ahead: Option<Ahead<'t>>,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Result<&'t Registered, Flow> {
        let found = match ahead {
            Some(ahead) => Found::Command(ahead.command),
            None => self.table.find(argv),
        };
        let command = match found {
            Found::Command(command) => command,
            Found::Unknown => {
                return Err(self.refuse_unknown(admit::unknown(argv), client, out));
            }
            Found::UnknownSubcommand => {
                let error = admit::unknown_subcommand(argv);
                return Err(self.refuse_unknown(error, client, out));
            }
        };
        client
            .shared
            .last_command
            .store(command.id + 1, Ordering::Relaxed);
        if client.login.has_moved() {
            client.login.renew();
            if client.login.user.is_deleted() {
                // It is being cut off.
                return Err(Flow::Close);
            }
        }
        let config = self.config();
        let admission = admit::Admission {
            exec: self,
            command,
            argv,
            flags: admit::flags_of(command, client),
            client,
            config: &config,
        };
        match admit::admit(&self.server, &admission, moment.now_ms) {
            admit::Verdict::Run => Ok(command),
            admit::Verdict::Refuse(error) => {
                Err(self.refuse(Some((command, argv)), error, client, out))
            }
            admit::Verdict::Abort => Err(Flow::Abort),
            admit::Verdict::Wait(wait) => Err(Flow::Wait(wait)),
        }
    }

    /// The locks of a command without keys, with several, with one that has to be looked for, or on
    /// the exclusive path; `None` when someone else has the keyspace for himself.
    #[inline(never)]
    fn hold_several(&self, command: &Registered, argv: Argv<'_>) -> Option<(Held<'_>, OnlyKey)> {
        let keyspace = &self.server.keyspace;
        let needs_all = command.row.exclusive_if.is_some_and(|needs| needs(argv));
        if needs_all || command.row.flags.has(Flags::EXCLUSIVE) {
            return Some((self.hold_whole(false)?, None));
        }
        if command.row.flags.has(Flags::RUNS_SCRIPT) {
            // What it needs is known when the script is.
            let locks = keyspace.lock_none();
            return Some((Held { locks, gate: None }, None));
        }
        let (locks, only) = lock_keys(keyspace, command, argv)?;
        Some((Held { locks, gate: None }, only))
    }

    /// The whole keyspace, for something that may take very long, or not; `None` when someone else has it
    /// for himself.
    fn hold_whole(&self, may_take_long: bool) -> Option<Held<'_>> {
        let keyspace = &self.server.keyspace;
        let gate = keyspace.gate.try_close()?;
        if may_take_long {
            gate.may_take_long();
        }
        let locks = keyspace.lock_all();
        Some(Held {
            locks,
            gate: Some(gate),
        })
    }

    /// What a command holds that is served although someone has the keyspace for himself, and others are
    /// refused: nothing.
    #[cold]
    fn barred(&self, command: &Registered) -> Option<Held<'_>> {
        let keyspace = &self.server.keyspace;
        let is_served = keyspace.gate.is_busy() && command.row.flags.has(Flags::ALLOW_BUSY);
        is_served.then(|| Held {
            locks: keyspace.lock_none(),
            gate: None,
        })
    }

    /// [`Exec::hold_several`], for a database, a moment, and with or without refreshing LRU clocks.
    #[inline(never)]
    fn access_several(
        &self,
        command: &Registered,
        argv: Argv<'_>,
        (db, now_ms, touch): (DbIndex, u64, bool),
    ) -> Option<(Access<'_>, Option<GateGuard<'_>>)> {
        let keyspace = &self.server.keyspace;
        let Some((held, only)) = self.hold_several(command, argv) else {
            let held = self.barred(command)?;
            let db = Access::new(keyspace, held.locks, db, now_ms, touch);
            return Some((db.barred(), held.gate));
        };
        let db = Access::new(keyspace, held.locks, db, now_ms, touch);
        let db = match only {
            Some((at, hash)) => db.with_first_key(&argv[at], hash),
            None => db,
        };
        Some((db, held.gate))
    }

    /// Locks, runs, and hands the effects over; `None` when someone else has the keyspace for himself, or
    /// it has to be run again.
    #[inline]
    fn call(
        &self,
        command: &Registered,
        argv: Argv<'_>,
        hash: Option<u64>,
        moment: &mut Moment,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Option<Called> {
        let Some(key) = command.only_key(argv) else {
            return self.call_with_several(command, argv, moment, client, out);
        };
        let keyspace = &self.server.keyspace;
        let hash = hash.unwrap_or_else(|| keyspace.hash(key));
        let locks = keyspace.claim_one(hash)?;
        let touch = !client.no_touch;
        let db = Access::of_key(
            keyspace,
            locks,
            client.db,
            (moment.now_ms, touch),
            (key, hash),
        );
        self.call_holding(command, argv, (db, None), moment, client, out)
    }

    /// [`Exec::call`] of a command that has not just one key, in a place that is known.
    #[inline(never)]
    fn call_with_several(
        &self,
        command: &Registered,
        argv: Argv<'_>,
        moment: &mut Moment,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Option<Called> {
        let how = (client.db, moment.now_ms, !client.no_touch);
        let held = self.access_several(command, argv, how)?;
        self.call_holding(command, argv, held, moment, client, out)
    }

    /// [`Exec::call`] with the shards at hand; `None`, too, if a pause has begun meanwhile. Inlined, so that
    /// what a command works with is built where it is used.
    #[inline(always)]
    fn call_holding(
        &self,
        command: &Registered,
        argv: Argv<'_>,
        (db, gate): (Access<'_>, Option<GateGuard<'_>>),
        moment: &mut Moment,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Option<Called> {
        if admit::is_late(&self.server, command.row.flags, client, moment.now_ms) {
            return None;
        }
        let config = self.config.borrow();
        let skip = 1 + command.is_subcommand() as usize;
        let may_block = client.may_block;
        let mut ctx = Ctx {
            args: Args::new(argv, skip),
            db,
            out,
            client,
            server: &self.server,
            config: &config,
            table: &self.table,
            command,
            may_block,
            script: None,
        };

        ctx.db.set_client(ctx.client.shared.id);
        if ctx.client.is_import_source {
            ctx.db.see_expired();
        }
        let result = self.invoke(&mut ctx, argv, moment);
        let (result, waiter) = match result {
            Ok(Next::Block(block)) => (
                Ok(Next::Done),
                Some(self.wait(&mut ctx, command, argv, block)),
            ),
            result => (result, None),
        };
        let gave_up = ctx.db.gave_up() && !ctx.db.is_barred();
        match ctx.db.effects.has_ready() {
            false => {
                ctx.db.release();
                drop(gate);
                fanout::fan_out(&self.server, moment, &mut ctx.db.effects);
            }
            true => {
                let ready = ctx.db.effects.take_ready();
                let mut effects = self.serve_waiters(ctx.db, ready, gate, &config, moment);
                fanout::fan_out(&self.server, moment, &mut effects);
            }
        }
        (!gave_up).then_some(Called { result, waiter })
    }

    /// Runs a command whose shards are held, and does what has to be done before they are released:
    /// the log has its record, and those who want to know are told.
    #[inline]
    fn invoke(&self, ctx: &mut Ctx<'_>, argv: Argv<'_>, moment: &mut Moment) -> CmdResult {
        let db = ctx.client.db;
        let result = run_handler(ctx, argv);
        if ctx.client.tracking.is_on() && ctx.command.row.flags.has(Flags::READONLY) {
            self.remember(ctx, argv, moment);
        }
        if ctx.db.is_logged() {
            let has_changed = ctx.db.effects.changes > 0;
            let seq = self.append(&mut ctx.db.effects, db, argv, has_changed);
            moment.logged(seq.unwrap_or(0));
        }
        ctx.db.tell();
        // EXEC is shown behind what it has run, a script before that.
        let is_shown_elsewhere = matches!(result, Ok(Next::Exec | Next::Script(_)));
        let is_over = !is_shown_elsewhere && !ctx.db.gave_up();
        if is_over && ctx.db.effects.is_monitored() {
            self.show(ctx.command, ctx.client, argv, ctx.script.is_some());
        }
        result
    }

    /// Shows a command that has run to those who look at all of them (MONITOR).
    #[cold]
    fn show(&self, command: &Registered, client: &Client, argv: Argv<'_>, by_script: bool) {
        let row = &command.row;
        // What runs a script is shown all the same, only not behind what that has run.
        let skips = row.flags.has(Flags::SKIP_MONITOR) && !row.flags.has(Flags::RUNS_SCRIPT);
        if skips || row.flags.has(Flags::ADMIN) {
            return;
        }
        let args = argv.iter().enumerate();
        let argv = args.map(|(at, arg)| (arg, row.secrets.hides(argv, at)));
        let shown = Shown {
            client: &client.shared,
            by_script,
            db: client.db.0,
            argv,
        };
        self.server.monitors.show(&self.server.clock, shown);
    }

    /// Appends what a command did to the log, before its locks are released.
    #[inline(never)]
    fn append(
        &self,
        effects: &mut Effects,
        db: DbIndex,
        request: Argv<'_>,
        has_changed: bool,
    ) -> Option<u64> {
        let oplog = &self.server.keyspace.oplog;
        effects.append_to(oplog, db, request.iter(), has_changed)
    }

    /// Serves those who wait for what a command has created, then releases its locks.
    #[cold]
    fn serve_waiters(
        &self,
        db: Access<'_>,
        ready: Vec<Ready>,
        gate: Option<GateGuard<'_>>,
        config: &Config,
        moment: &mut Moment,
    ) -> Effects {
        let mut later = Vec::new();
        let begun = self.server.keyspace.spikes.begin();
        let effects = self.serve_ready(db, ready, config, moment, &mut later);
        drop(gate);
        if !later.is_empty() {
            self.serve_later(moment, config, later);
        }
        let spikes = &self.server.keyspace.spikes;
        spikes.end(begun, &["command-unblocking"]);
        effects
    }

    /// Answers a request that is in no row. Who has not authenticated does not learn that.
    fn refuse_unknown(&self, error: CmdError, client: &mut Client, out: &mut ReplyWriter) -> Flow {
        client.shared.last_command.store(0, Ordering::Relaxed);
        let error = match admit::must_authenticate(client, &self.server) {
            true => CmdError::NoAuth,
            false => error,
        };
        self.refuse(None, error, client, out)
    }

    /// Refuses a request that was let in.
    #[cold]
    fn refuse_found(
        &self,
        argv: Argv<'_>,
        error: CmdError,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Flow {
        let command = match self.table.find(argv) {
            Found::Command(command) => Some((command, argv)),
            Found::Unknown | Found::UnknownSubcommand => None,
        };
        self.refuse(command, error, client, out)
    }

    fn refuse(
        &self,
        command: Option<(&Registered, Argv<'_>)>,
        error: CmdError,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Flow {
        if let Some((command, argv)) = command {
            self.worker.lock().rejected(command.id);
            self.audit_refusal(command, argv, client, false, &error);
        }
        let error = self.note_refusal(command, error, client);
        end_caching(command.map(|(command, _)| command), client);
        let mark = out.mark();
        begin_reply(client);
        self.write_error(&error, out);
        silence(client, out, mark);
        Flow::Done
    }

    /// Counts an error that a client, or a script, is told.
    pub fn count_error(&self, text: &[u8]) {
        self.worker.lock().error(text);
    }

    fn write_error(&self, error: &CmdError, out: &mut ReplyWriter) {
        let text = error.reply();
        out.error(&text);
        self.count_error(&text);
    }
}

/// Runs a command's function, noted for crash reports.
#[inline]
fn run_handler(ctx: &mut Ctx<'_>, argv: Argv<'_>) -> CmdResult {
    let (bytes, spans) = (argv.bytes(), argv.spans());
    crash::running(ctx.command.id, ctx.client.shared.id, bytes, spans);
    let writes = ctx.command.row.flags.has(Flags::WRITE);
    ctx.db.effects.set_of_write(writes);
    (ctx.command.row.run)(ctx)
}

impl Drop for Exec {
    fn drop(&mut self) {
        self.desk.close(&self.server.scripts);
    }
}

/// What became of a call.
struct Called {
    result: Result<Next, CmdError>,
    /// The client waits.
    waiter: Option<Arc<Waiter>>,
}

/// What a command holds while it runs.
struct Held<'k> {
    locks: Locks<'k>,
    gate: Option<GateGuard<'k>>,
}

/// Where the only key of a request stands, and its hash; `None` if there is not just one.
type OnlyKey = Option<(usize, u64)>;

/// Locks the shards of the keys that a request names; `None` when someone has the keyspace for himself.
fn lock_keys<'k>(
    keyspace: &'k Keyspace,
    command: &Registered,
    argv: Argv<'_>,
) -> Option<(Locks<'k>, OnlyKey)> {
    let mut keys: SmallVec<[(usize, u64); 16]> = SmallVec::new();
    // Specs that lead nowhere: the handler finds the same fault and answers it, without touching a
    // key; or it needs no more than was found before (PFMERGE without sources).
    let _ = keys::for_each_key(command.row.keys, argv, |at, spec| {
        if spec.is_key() {
            keys.push((at, keyspace.hash(&argv[at])));
        }
    });
    Some(match keys.as_slice() {
        [] => (keyspace.lock_none(), None),
        &[only] => (keyspace.claim_one(only.1)?, Some(only)),
        [_, _, ..] => {
            let hashes = keys.iter().map(|&(_, hash)| hash);
            (keyspace.claim_many(hashes)?, None)
        }
    })
}

/// Whether the client's EXEC runs a script.
fn has_script(client: &Client) -> bool {
    let transaction = client.transaction.as_ref();
    transaction.is_some_and(|transaction| transaction.queue().has_any(Flags::RUNS_SCRIPT))
}

/// What is left to do after a command that did not fail.
#[inline]
fn flow_of(next: Next) -> Flow {
    match next {
        // What blocks has a waiter, EXEC has run its queue, a script has run: all were dealt with.
        Next::Done | Next::Block(_) | Next::Exec | Next::Script(_) => Flow::Done,
        Next::Close => Flow::Close,
        Next::Sleep(duration) => Flow::Sleep(duration),
        Next::Chore(chore) => Flow::Chore(chore),
    }
}
