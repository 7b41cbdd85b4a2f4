//! Blocking commands: how a client begins to wait, is served, and goes on.
//!
//! A handler that finds nothing returns `Next::Block`. While its shards are still held the client is
//! queued under its keys (`db::wait`), so a key that is created afterwards finds it there. A command
//! that created such keys serves the waiters before it releases its own shards: the waiting command
//! is simply run again, by whoever created the key, and its reply handed to the connection that
//! waits. So nobody can come in between, waiters of a key are served in the order in which they
//! came, and an element is taken out of its key only for a client that still waits.
//!
//! A command that runs again sees the shards that are held. Those of its other keys are held if they
//! are free; else these look as if they were not there, as if they had been filled later. What it
//! must hold besides (BLMOVE's destination) is held if it is free; if it is not, the waiter is
//! served right after the writer's locks are released, with locks of its own.
//!
//! Of a key that is a stream all waiters have their turn: reading takes nothing away from others, but
//! for consumers of the same group. A consumer's wait (XREADGROUP) also ends when a key or its group
//! goes; its command needs all of its keys to tell that, so it is served later if one is not free.
//!
//! Serving may make further keys ready (BLMOVE): they are served in rounds, as in Redis.
//!
//! While a pause holds their commands back nobody is served: whoever could have been stops waiting and runs
//! his command once more when it is over ([`Outcome::Again`]), as in Valkey. That is asked with the shards at hand, so
//! nothing is written behind the reply of CLIENT PAUSE, however late it is served.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::client::{Client, Shared, Signal};
use crate::commands::{Block, BlockOn, Ctx, Next, Registered};
use crate::config::Config;
use crate::db::{Access, Effects, Keyspace, Lookup, Outcome, Ready, Request, Waiter, Waiting};
use crate::resp::parse::Argv;
use crate::resp::write::{Mark, ReplyWriter};
use crate::spec::{Args, CmdError, Flags, keys};
use crate::sys::{crash, tsc};
use crate::value::Type;

use super::{Exec, Moment, Ran, admit, run_handler, silence};

/// Rounds of serving under one hold of locks; what is ready then is served after a breath.
const ROUNDS_MAX: u32 = 32;

/// What a client that stops waiting is told when somebody ended its wait.
const UNBLOCKED: &[u8] = b"UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// A waiter that may be served by a key.
struct Candidate {
    /// The key, and the waiter's own ticket.
    key: Ready,
    waiter: Arc<Waiter>,
    client: Arc<Shared>,
}

impl Exec {
    /// Queues a client whose command found nothing. The shards of its keys are held.
    pub(super) fn wait(
        &self,
        ctx: &mut Ctx<'_>,
        command: &Registered,
        argv: Argv<'_>,
        block: Block,
    ) -> Arc<Waiter> {
        let mut found: SmallVec<[usize; 4]> = SmallVec::new();
        // The handler has found the same keys, or it would not block.
        let _ = keys::for_each_key(command.row.keys, argv, |at, _| found.push(at));
        let destination = match block.keys {
            BlockOn::All => None,
            BlockOn::First => {
                let destination = found.get(1).map(|&at| argv[at].to_vec());
                found.truncate(1);
                destination
            }
        };
        let is_tracked = command.row.flags.has(Flags::READONLY) && ctx.client.tracking.is_on();
        let waiter = Waiter::new(Waiting {
            client_id: ctx.client.shared.id,
            db: ctx.client.db,
            command: command.id,
            request: block.kept.unwrap_or_else(|| Request::new(argv)),
            is_resp3: ctx.out.is_resp3(),
            type_: block.type_,
            keys: found.iter().map(|&at| argv[at].to_vec()).collect(),
            destination,
            gone: block.gone,
            is_tracked: is_tracked && ctx.client.tracking.remembers(),
            deadline_ms: block.deadline_ms,
        });
        for key in &waiter.waiting.keys {
            ctx.db.side(key).waiters.add(key, &waiter);
        }
        ctx.client.shared.set_waiter(Some(waiter.clone()));
        waiter
    }

    /// Serves whoever waits for the keys that a command has made ready, while their shards are held;
    /// what the command and those that were served did, and the keys of waiters that need more.
    pub(super) fn serve_ready(
        &self,
        mut db: Access<'_>,
        ready: Vec<Ready>,
        config: &Config,
        moment: &mut Moment,
        later: &mut Vec<Ready>,
    ) -> Effects {
        db.set_partial(true);
        let mut held = Vec::with_capacity(ready.len());
        for key in ready {
            // A walk (SCAN) has let go of the shard of a key that it has found expired.
            match db.try_hold(&key.key) {
                true => held.push(key),
                false => push_new(later, key),
            }
        }
        self.serve_round(db, config, moment, held, later, ROUNDS_MAX)
    }

    fn serve_round(
        &self,
        mut db: Access<'_>,
        config: &Config,
        moment: &mut Moment,
        ready: Vec<Ready>,
        later: &mut Vec<Ready>,
        rounds: u32,
    ) -> Effects {
        let candidates = self.candidates(&mut db, merged(ready));
        // Keys that were found expired.
        db.settle();
        let Some(first) = candidates.first() else {
            return db.effects;
        };
        if rounds == 0 {
            let keys = candidates.into_iter().map(|candidate| candidate.key);
            keys.for_each(|key| push_new(later, key));
            return db.effects;
        }
        let mut out = ReplyWriter::new();
        let mut client = Client::on_behalf(first.client.clone(), &self.server.acl);
        let command = self.table.by_id(first.waiter.waiting.command);
        let mut ctx = Ctx {
            args: Args::new(first.waiter.waiting.request.argv(), 1),
            db,
            out: &mut out,
            client: &mut client,
            server: &self.server,
            config,
            table: &self.table,
            command,
            may_block: true,
            script: None,
        };
        let mut next_round: Vec<Ready> = Vec::new();
        for candidate in &candidates {
            if later.iter().any(|key| key.is_of(&candidate.key)) {
                continue;
            }
            match self.serve(&mut ctx, candidate, moment) {
                // Those who read a stream have all had their turn.
                Served::Yes if candidate.waiter.waiting.type_ == Type::Stream => {}
                // There may be more in the key than this round has candidates for.
                Served::Yes => push_new(&mut next_round, candidate.key.clone()),
                // It has taken the place of one who waits for this key alone.
                Served::Elsewhere => push_new(&mut next_round, candidate.key.clone()),
                Served::No => {}
                Served::NotHeld => push_new(later, candidate.key.clone()),
            }
        }
        let mut db = ctx.db;
        db.settle();
        next_round.iter_mut().for_each(|key| key.from = 0);
        next_round.append(&mut db.effects.take_ready());
        self.serve_round(db, config, moment, next_round, later, rounds - 1)
    }

    /// Those who wait for keys that are there, as many as a key may serve, and those whose wait ends
    /// with keys that are not; in order.
    fn candidates(&self, db: &mut Access<'_>, ready: Vec<Ready>) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for key in ready {
            db.select(key.db);
            let found = waited_for(db, &key.key);
            let mut left = match found {
                Some(_) if key.if_gone => 0,
                Some((Type::Stream, _)) => usize::MAX,
                Some((_, elements)) => elements,
                None => 0,
            };
            let mut from = key.from;
            loop {
                let waiters = &db.side(&key.key).waiters;
                if left == 0 && waiters.none_ends_with_key() {
                    break;
                }
                let Some((ticket, waiter)) = waiters.next(key.db, &key.key, from) else {
                    break;
                };
                from = ticket + 1;
                let is_there = found.is_some_and(|(type_, _)| type_ == waiter.waiting.type_);
                let may_end = if is_there {
                    left > 0
                } else {
                    waiter.waiting.gone.is_some()
                };
                if may_end
                    && let Some(client) = self.server.clients.get(waiter.waiting.client_id)
                    // One that is being cut off takes nothing with it.
                    && !client.has(Signal::Kill)
                    && waiter.hold().is_some()
                {
                    left -= is_there as usize;
                    candidates.push(Candidate {
                        key: Ready {
                            from: ticket,
                            ..key.clone()
                        },
                        waiter,
                        client,
                    });
                }
            }
        }
        candidates
    }

    /// Makes a context that of a waiter's command.
    fn go_in_for<'a>(&'a self, ctx: &mut Ctx<'a>, waiting: &'a Waiting, client: &Arc<Shared>) {
        *ctx.client = Client::on_behalf(client.clone(), &self.server.acl);
        ctx.client.db = waiting.db;
        ctx.command = self.table.by_id(waiting.command);
        ctx.args = Args::new(waiting.request.argv(), 1);
        ctx.out.set_resp3(waiting.is_resp3);
        // What was recorded so far is somebody else's doing.
        ctx.db.tell();
        ctx.db.set_client(waiting.client_id);
    }

    /// Whether a waiter's command may run by now.
    fn may_be_served(&self, ctx: &Ctx<'_>, waiting: &Waiting) -> Result<(), CmdError> {
        self.check_waiter(ctx, waiting.request.argv())?;
        match ctx.command.row.flags.has(Flags::DENYOOM) && self.memory.is_still_out(&self.server) {
            true => Err(admit::OUT_OF_MEMORY),
            false => Ok(()),
        }
    }

    /// Runs a waiter's command again.
    fn serve<'a>(
        &'a self,
        ctx: &mut Ctx<'a>,
        candidate: &'a Candidate,
        moment: &mut Moment,
    ) -> Served {
        let waiting = &candidate.waiter.waiting;
        ctx.db.select(waiting.db);
        let found = waited_for(&mut ctx.db, &candidate.key.key).map(|(type_, _)| type_);
        if found != Some(waiting.type_) && waiting.gone.is_none() {
            return Served::No;
        }
        let flags = || self.table.by_id(waiting.command).row.flags;
        if admit::is_held_back(&self.server, flags, moment.now_ms) {
            return match candidate.waiter.decide(Outcome::Again) {
                true => Served::Yes,
                false => Served::Elsewhere,
            };
        }
        let Some(held) = hold_others(&mut ctx.db, waiting) else {
            return Served::NotHeld;
        };
        let Some(undecided) = candidate.waiter.hold() else {
            return Served::Elsewhere;
        };
        self.go_in_for(ctx, waiting, &candidate.client);
        let mark = ctx.out.mark();
        let changes = ctx.db.effects.changes;
        if let Err(error) = self.may_be_served(ctx, waiting) {
            self.worker.lock().rejected(waiting.command);
            self.write_error(&error, ctx.out);
            undecided.decide(Outcome::Served {
                reply: ctx.out.take(),
                seq: 0,
                posted: candidate.client.posted(),
            });
            return Served::Yes;
        }
        let began = tsc::ticks();
        let result = run_again(ctx, waiting);
        if matches!(result, Ok(Next::Block(_))) {
            // It may have changed something all the same, but its request is not repeated.
            self.log_served(ctx, waiting, false);
            return Served::No;
        }
        if waiting.is_tracked {
            let keys = waiting.keys.iter().zip(&held);
            let keys = keys.filter(|(_, held)| **held).map(|(key, _)| &key[..]);
            self.remember_keys(&mut ctx.db, waiting.client_id, keys, moment);
        }
        if let Err(error) = &result {
            ctx.out.truncate(mark);
            self.write_error(error, ctx.out);
        }
        let request = (ctx.command, waiting.request.argv());
        let ran = Ran {
            failed: result.is_err(),
            is_hot: self.counts_hot(moment),
            ..Ran::of(request, ctx.client, (ctx.out, mark))
        };
        self.ran_within(moment, &ran, began);
        let has_changed = ctx.db.effects.changes > changes;
        let seq = self.log_served(ctx, waiting, has_changed);
        undecided.decide(Outcome::Served {
            reply: ctx.out.take(),
            seq: seq.unwrap_or(0),
            posted: candidate.client.posted(),
        });
        Served::Yes
    }

    /// Appends what a waiter's command did to the log, if one is on.
    fn log_served(&self, ctx: &mut Ctx<'_>, waiting: &Waiting, has_changed: bool) -> Option<u64> {
        let request = waiting.request.argv();
        match ctx.db.is_logged() {
            true => self.append(&mut ctx.db.effects, waiting.db, request, has_changed),
            false => None,
        }
    }

    /// Serves waiters that needed a shard which the writer could not get, each with locks of its
    /// own.
    #[cold]
    pub(super) fn serve_later(&self, moment: &mut Moment, config: &Config, mut later: Vec<Ready>) {
        let keyspace = &self.server.keyspace;
        while let Some(ready) = later.pop() {
            let locks = others_of_next(keyspace, &ready, moment.now_ms).and_then(|others| {
                let keys = others.iter().chain([&ready.key]);
                keyspace.claim_many(keys.map(|key| keyspace.hash(key)))
            });
            let Some(locks) = locks else {
                // Whoever has the keyspace for himself serves them, unless he has done with it.
                later.extend(keyspace.gate.postpone(ready));
                continue;
            };
            let access = Access::new(keyspace, locks, ready.db, moment.now_ms, true);
            let mut effects = self.serve_ready(access, vec![ready], config, moment, &mut later);
            super::fanout::fan_out(&self.server, moment, &mut effects);
        }
    }

    /// Ends a wait whose outcome is there: writes its reply, unless the command is to run again. The client may
    /// send on. It is in no queue any more ([`Exec::leave_queues`]).
    pub fn end_wait(
        &self,
        waiter: &Waiter,
        outcome: Outcome,
        client: &mut Client,
        out: &mut ReplyWriter,
        moment: &mut Moment,
    ) {
        client.shared.set_waiter(None);
        let mark = out.mark();
        match outcome {
            Outcome::Served { mut reply, seq, .. } => {
                out.append(&mut reply);
                moment.logged(seq);
            }
            Outcome::TimedOut => {
                out.null_array();
                self.count_wait(waiter, false, client, (out, mark), moment);
            }
            Outcome::Unblocked => {
                self.write_error(&CmdError::Text(UNBLOCKED.into()), out);
                self.count_wait(waiter, true, client, (out, mark), moment);
            }
            Outcome::Failed(error) => {
                self.write_error(&error, out);
                self.count_wait(waiter, true, client, (out, mark), moment);
            }
            Outcome::Again => return,
            Outcome::Gone => {}
        }
        client.ran();
        silence(client, out, mark);
    }

    /// Ends the wait of a client whose connection has ended. What it was served is lost with it, as
    /// any reply that does not arrive. It is to leave the queues, too.
    pub fn give_up_wait(&self, waiter: &Waiter, client: &Client) {
        waiter.decide(Outcome::Gone);
        client.shared.set_waiter(None);
    }

    /// Takes a waiter out of the queues of its keys. False if someone has the keyspace for himself: to
    /// be called again, when the gate is open.
    pub fn leave_queues(&self, waiter: &Waiter) -> bool {
        let keyspace = &self.server.keyspace;
        waiter.waiting.keys.iter().all(|key| {
            let Some(locks) = keyspace.claim_one(keyspace.hash(key)) else {
                return false;
            };
            let mut access = Access::new(keyspace, locks, waiter.waiting.db, 0, false);
            access.side(key).waiters.remove(key, waiter);
            true
        })
    }

    /// A wait that found nothing was a call of its command, too.
    fn count_wait(
        &self,
        waiter: &Waiter,
        failed: bool,
        client: &Client,
        (out, mark): (&ReplyWriter, Mark),
        moment: &mut Moment,
    ) {
        let ran = Ran {
            failed,
            ..Ran::of(
                (
                    self.table.by_id(waiter.waiting.command),
                    waiter.waiting.request.argv(),
                ),
                client,
                (out, mark),
            )
        };
        self.ran(moment, &ran);
    }
}

/// What became of an attempt to serve.
enum Served {
    Yes,
    No,
    /// Its wait has ended since it was found: another key has served it, or it has given up.
    Elsewhere,
    /// A shard that it needs is somebody else's at the moment.
    NotHeld,
}

/// Runs a waiter's command, noted for crash reports in place of the command that serves it.
fn run_again<'a>(ctx: &mut Ctx<'a>, waiting: &'a Waiting) -> Result<Next, CmdError> {
    let _outer = crash::outer();
    run_handler(ctx, waiting.request.argv())
}

/// Holds what a waiter's command looks at besides the key that is ready, unless somebody uses it just
/// now: which of the keys it waits for are held. `None` if one is not that it cannot do without.
fn hold_others(db: &mut Access<'_>, waiting: &Waiting) -> Option<SmallVec<[bool; 4]>> {
    let held: SmallVec<[bool; 4]> = waiting.keys.iter().map(|key| db.try_hold(key)).collect();
    if waiting.gone.is_some() && held.contains(&false) {
        return None;
    }
    match &waiting.destination {
        Some(destination) if !db.try_hold(destination) => None,
        _ => Some(held),
    }
}

/// Type and number of elements of a key that may end a wait.
fn waited_for(db: &mut Access<'_>, key: &[u8]) -> Option<(Type, usize)> {
    let entry = db.find(key, Lookup::Silent)?;
    let elements = entry.value().as_collection().map(|large| large.len());
    // A short collection has at most one element for every two bytes.
    let bytes = entry.value().as_bytes().map_or(0, |bytes| bytes.len() / 2);
    let type_ = Type::from_nibble(entry.type_());
    Some((type_, elements.unwrap_or(bytes).max(1)))
}

/// What the first waiter of a key that may be served needs besides: the key that it writes, or all that
/// it waits for. `None` when someone has the keyspace for himself.
fn others_of_next(keyspace: &Keyspace, ready: &Ready, now_ms: u64) -> Option<Vec<Vec<u8>>> {
    let (db, key) = (ready.db, &ready.key);
    let locks = keyspace.claim_one(keyspace.hash(key))?;
    let mut access = Access::new(keyspace, locks, db, now_ms, false);
    let found = waited_for(&mut access, key);
    access.settle();
    let waiters = &access.side(key).waiters;
    let mut from = ready.from;
    while let Some((ticket, waiter)) = waiters.next(db, key, from) {
        from = ticket + 1;
        let waiting = &waiter.waiting;
        let is_there = found.is_some_and(|(type_, _)| type_ == waiting.type_);
        if (is_there || waiting.gone.is_some()) && waiter.hold().is_some() {
            return Some(match waiting.gone {
                Some(_) => waiting.keys.clone(),
                None => waiting.destination.iter().cloned().collect(),
            });
        }
    }
    Some(Vec::new())
}

/// Each key once, with what is known of it at all.
fn merged(ready: Vec<Ready>) -> Vec<Ready> {
    let mut all: Vec<Ready> = Vec::with_capacity(ready.len());
    for key in ready {
        match all.iter_mut().find(|known| known.is_of(&key)) {
            Some(known) => {
                known.if_gone &= key.if_gone;
                known.from = known.from.min(key.from);
            }
            None => all.push(key),
        }
    }
    all
}

/// Adds a key unless it is there.
fn push_new(keys: &mut Vec<Ready>, key: Ready) {
    if !keys.iter().any(|known| known.is_of(&key)) {
        keys.push(key);
    }
}

#[cfg(all(test, feature = "model"))]
mod model;
#[cfg(test)]
mod tests;
