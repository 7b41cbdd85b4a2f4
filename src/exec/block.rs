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
//! Serving may make further keys ready (BLMOVE): they are served in rounds, as in Redis.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::client::{Client, Shared};
use crate::commands::{Block, BlockOn, Ctx, Next, Registered};
use crate::config::Config;
use crate::db::{Access, DbIndex, Effects, Keyspace, Lookup, Outcome, Request, Waiter, Waiting};
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::{Args, CmdError, keys};
use crate::value::Type;

use super::{Exec, Moment, silence};

/// A key of a database.
type Key = (DbIndex, Vec<u8>);

/// Rounds of serving under one hold of locks; what is ready then is served after a breath.
const ROUNDS_MAX: u32 = 32;

/// What a client that stops waiting is told when somebody ended its wait.
const UNBLOCKED: &[u8] = b"UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// A waiter that may be served by a key.
struct Candidate {
    key: Key,
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
        block: &Block,
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
        let waiter = Waiter::new(Waiting {
            client_id: ctx.client.shared.id,
            db: ctx.client.db,
            command: command.id,
            request: Request::new(argv),
            is_resp3: ctx.out.is_resp3(),
            type_: block.type_,
            keys: found.iter().map(|&at| argv[at].to_vec()).collect(),
            destination,
            deadline_ms: block.deadline_ms,
        });
        for key in &waiter.waiting.keys {
            ctx.db.side(key).waiters.add(key, &waiter);
        }
        ctx.client.shared.set_waiter(Some(waiter.clone()));
        waiter
    }

    /// Serves whoever waits for the keys that a command has made ready, while its shards are held;
    /// what the command and those that were served did, and the keys of waiters that need more.
    pub(super) fn serve_ready(
        &self,
        mut db: Access<'_>,
        ready: Vec<Key>,
        config: &Config,
        moment: &mut Moment,
        later: &mut Vec<Key>,
    ) -> Effects {
        db.set_partial(true);
        self.serve_round(db, config, moment, ready, later, ROUNDS_MAX)
    }

    fn serve_round(
        &self,
        mut db: Access<'_>,
        config: &Config,
        moment: &mut Moment,
        ready: Vec<Key>,
        later: &mut Vec<Key>,
        rounds: u32,
    ) -> Effects {
        let candidates = self.candidates(&mut db, ready);
        // Keys that were found expired.
        db.settle();
        let Some(first) = candidates.first() else {
            return db.effects;
        };
        if rounds == 0 {
            later.extend(candidates.into_iter().map(|candidate| candidate.key));
            return db.effects;
        }
        let mut out = ReplyWriter::new();
        let mut client = Client::new(first.client.clone(), true);
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
        };
        let mut next_round: Vec<Key> = Vec::new();
        for candidate in &candidates {
            if later.contains(&candidate.key) {
                continue;
            }
            match self.serve(&mut ctx, candidate, moment) {
                Served::Yes => {
                    // There may be more in the key than this round has candidates for.
                    if next_round.last() != Some(&candidate.key) {
                        next_round.push(candidate.key.clone());
                    }
                }
                Served::No => {}
                Served::NotHeld => later.push(candidate.key.clone()),
            }
        }
        let mut db = ctx.db;
        db.settle();
        next_round.append(&mut db.effects.take_ready());
        self.serve_round(db, config, moment, next_round, later, rounds - 1)
    }

    /// Those who wait for keys that are there, as many as a key may serve, in order.
    fn candidates(&self, db: &mut Access<'_>, ready: Vec<Key>) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        let mut seen: Vec<Key> = Vec::new();
        for key in ready {
            if seen.contains(&key) {
                continue;
            }
            db.select(key.0);
            let Some((type_, mut left)) = waited_for(db, &key.1) else {
                continue;
            };
            let mut after = None;
            while left > 0 {
                let next = db.side(&key.1).waiters.next(key.0, &key.1, after);
                let Some((ticket, waiter)) = next else { break };
                after = Some(ticket);
                if waiter.waiting.type_ != type_ {
                    continue;
                }
                if let Some(client) = self.server.clients.get(waiter.waiting.client_id)
                    && waiter.hold().is_some()
                {
                    left -= 1;
                    candidates.push(Candidate {
                        key: key.clone(),
                        waiter,
                        client,
                    });
                }
            }
            seen.push(key);
        }
        candidates
    }

    /// Runs a waiter's command again.
    fn serve<'a>(
        &'a self,
        ctx: &mut Ctx<'a>,
        candidate: &'a Candidate,
        moment: &mut Moment,
    ) -> Served {
        let Candidate {
            key,
            waiter,
            client,
        } = candidate;
        let waiting = &waiter.waiting;
        ctx.db.select(waiting.db);
        if waited_for(&mut ctx.db, &key.1).map(|(type_, _)| type_) != Some(waiting.type_) {
            return Served::No;
        }
        // The other keys it waits for are looked at, too, unless somebody uses them just now.
        for other in &waiting.keys {
            ctx.db.try_hold(other);
        }
        if let Some(destination) = &waiting.destination
            && !ctx.db.try_hold(destination)
        {
            return Served::NotHeld;
        }
        let Some(undecided) = waiter.hold() else {
            return Served::No;
        };
        *ctx.client = Client::new(client.clone(), true);
        ctx.client.db = waiting.db;
        ctx.command = self.table.by_id(waiting.command);
        ctx.args = Args::new(waiting.request.argv(), 1);
        ctx.out.set_resp3(waiting.is_resp3);
        let mark = ctx.out.mark();
        let changes = ctx.db.effects.changes;
        // What was recorded so far is somebody else's doing.
        ctx.db.tell();
        ctx.db.set_client(waiting.client_id);
        let result = (ctx.command.row.run)(ctx);
        if matches!(result, Ok(Next::Block(_))) {
            return Served::No;
        }
        if let Err(error) = &result {
            ctx.out.truncate(mark);
            self.write_error(error, ctx.out);
        }
        moment.ran(ctx.command, result.is_err());
        let seq = match ctx.db.is_logged() {
            true => {
                let has_changed = ctx.db.effects.changes > changes;
                let request = waiting.request.argv();
                self.append(&mut ctx.db.effects, waiting.db, request, has_changed)
            }
            false => None,
        };
        undecided.decide(Outcome::Served {
            reply: ctx.out.take(),
            seq: seq.unwrap_or(0),
        });
        Served::Yes
    }

    /// Serves waiters that needed a shard which the writer could not get, each with locks of its
    /// own.
    #[cold]
    pub(super) fn serve_later(&self, moment: &mut Moment, config: &Config, mut later: Vec<Key>) {
        let keyspace = &self.server.keyspace;
        while let Some((db, key)) = later.pop() {
            let destination = destination_of_next(keyspace, db, &key, moment.now_ms);
            let hashes = [Some(&key), destination.as_ref()];
            let hashes = hashes.into_iter().flatten().map(|key| keyspace.hash(key));
            let locks = keyspace.lock_many(hashes);
            let access = Access::new(keyspace, locks, db, moment.now_ms, true);
            let ready = vec![(db, key)];
            let effects = self.serve_ready(access, ready, config, moment, &mut later);
            super::fanout::fan_out(&self.server, moment, effects);
        }
    }

    /// Ends a wait whose outcome is there: writes its reply. The client may send on.
    pub fn end_wait(
        &self,
        waiter: &Waiter,
        outcome: Outcome,
        client: &mut Client,
        out: &mut ReplyWriter,
        moment: &mut Moment,
    ) {
        self.leave_queues(waiter, client);
        let mark = out.mark();
        match outcome {
            Outcome::Served { mut reply, seq } => {
                out.append(&mut reply);
                moment.logged(seq);
            }
            Outcome::TimedOut => {
                out.null_array();
                self.count_wait(waiter, false);
            }
            Outcome::Unblocked => {
                self.write_error(&CmdError::Text(UNBLOCKED.into()), out);
                self.count_wait(waiter, true);
            }
            Outcome::Gone => {}
        }
        client.ran();
        silence(client, out, mark);
    }

    /// Ends the wait of a client whose connection has ended. What it was served is lost with it, as
    /// any reply that does not arrive.
    pub fn give_up_wait(&self, waiter: &Waiter, client: &Client) {
        waiter.decide(Outcome::Gone);
        self.leave_queues(waiter, client);
    }

    fn leave_queues(&self, waiter: &Waiter, client: &Client) {
        let keyspace = &self.server.keyspace;
        for key in &waiter.waiting.keys {
            let locks = keyspace.lock_one(keyspace.hash(key));
            let mut access = Access::new(keyspace, locks, waiter.waiting.db, 0, false);
            access.side(key).waiters.remove(key, waiter);
        }
        client.shared.set_waiter(None);
    }

    /// A wait that found nothing was a call of its command, too.
    fn count_wait(&self, waiter: &Waiter, failed: bool) {
        let mut local = self.worker.lock();
        local.executed(waiter.waiting.command, 0, failed, false);
    }
}

/// What became of an attempt to serve.
enum Served {
    Yes,
    No,
    /// A shard that it needs is somebody else's at the moment.
    NotHeld,
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

/// The key that the first waiter of a key writes besides.
fn destination_of_next(
    keyspace: &Keyspace,
    db: DbIndex,
    key: &[u8],
    now_ms: u64,
) -> Option<Vec<u8>> {
    let locks = keyspace.lock_one(keyspace.hash(key));
    let mut access = Access::new(keyspace, locks, db, now_ms, false);
    let found = waited_for(&mut access, key);
    access.settle();
    let (type_, _) = found?;
    let waiters = &access.side(key).waiters;
    let mut after = None;
    loop {
        let (ticket, waiter) = waiters.next(db, key, after)?;
        after = Some(ticket);
        if waiter.waiting.type_ == type_ && waiter.hold().is_some() {
            return waiter.waiting.destination.clone();
        }
    }
}

#[cfg(test)]
mod tests;
