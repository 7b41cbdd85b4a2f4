//! Transactions: commands are queued between MULTI and EXEC, then run with nobody in between.
//!
//! EXEC locks the shards of all keys that its commands name and of those that its client watches, in
//! ascending order, before it looks whether a watched key was touched, and releases them when the last
//! command has run. So whoever reads several of these keys in one command, or in a transaction, sees
//! all of it or nothing, and what made EXEC run is still true when it does. If a command works on the
//! whole keyspace, or looks at shards that it does not name (`Flags::ALL_SHARDS`), all of them are
//! held and the gate is closed, as on the exclusive path.
//!
//! Each command runs through [`Exec::invoke`] as any other does. What is theirs together: one record
//! of the log, one service of waiting clients, at the end. Nothing waits meanwhile: commands that block
//! elsewhere find nothing and say so (`Ctx::may_block`), and what would be done on a thread of its own
//! is left for afterwards or refused.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::client::Client;
use crate::client::transaction::{Need, Queue, Queued, Transaction};
use crate::commands::{Chore, Ctx, Next, Registered};
use crate::config::Config;
use crate::db::{Access, DbIndex, Effects, GateGuard};
use crate::resp::parse::Argv;
use crate::resp::write::{Mark, ReplyWriter};
use crate::server::Server;
use crate::spec::{Args, CmdError, Flags, keys};

use super::{Exec, Flow, Held, Moment, admit, begin_reply, fanout, silence};

/// What a transaction leaves to be done when its locks are released.
#[derive(Default)]
struct Rest {
    /// Changes of the commands that have run.
    changes: u64,
    /// The client is to be closed; what it is told ends here.
    closed: Option<Mark>,
    /// DEBUG SLEEP.
    sleep: Duration,
    chore: Option<Chore>,
}

/// The configuration as the commands of one transaction see it, each as the one before has left it.
struct Seen {
    config: Arc<Config>,
    epoch: u64,
    next: OnceCell<Box<Seen>>,
}

impl Seen {
    fn now(server: &Server) -> Seen {
        let epoch = server.config_epoch();
        Seen {
            config: server.config(),
            epoch,
            next: OnceCell::new(),
        }
    }

    /// This one, or what has taken its place.
    fn latest(&self, server: &Server) -> &Seen {
        match self.epoch == server.config_epoch() {
            true => self,
            false => self.next.get_or_init(|| Box::new(Seen::now(server))),
        }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        // One after the other: as deep as there were changes the stack need not be.
        let mut next = self.next.take();
        while let Some(mut seen) = next {
            next = seen.next.take();
        }
    }
}

impl Exec {
    /// Queues a command for EXEC. `hash` is its only key's, if that is known.
    #[inline(never)]
    pub(super) fn queue(
        &self,
        command: &Registered,
        argv: Argv<'_>,
        hash: Option<u64>,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Flow {
        let mark = out.mark();
        begin_reply(client);
        let transaction = client.transaction_mut();
        match transaction.is_lost() {
            true => transaction.drop_queue(),
            false => transaction.push(argv, &self.need(command, argv, hash)),
        }
        out.raw(b"+QUEUED\r\n");
        silence(client, out, mark);
        Flow::Done
    }

    /// What a command needs to run.
    fn need(&self, command: &Registered, argv: Argv<'_>, hash: Option<u64>) -> Need {
        let keyspace = &self.server.keyspace;
        let flags = command.row.flags;
        let needs_all = command.row.exclusive_if.is_some_and(|needs| needs(argv));
        let mut need = Need {
            command: command.id,
            flags,
            first_hash: None,
            hashes: SmallVec::new(),
            whole: needs_all || flags.any(Flags::EXCLUSIVE.and(Flags::ALL_SHARDS)),
        };
        if let Some(key) = command.single_key.and_then(|at| argv.get(at as usize)) {
            let hash = hash.unwrap_or_else(|| keyspace.hash(key));
            need.first_hash = Some(hash);
            need.hashes.push(hash);
            return need;
        }
        let found = keys::for_each_key(command.row.keys, argv, |at, _| {
            need.hashes.push(keyspace.hash(&argv[at]));
        });
        if found.is_err() {
            // The handler finds the same fault and answers it, without touching a key.
            need.hashes.clear();
        }
        need
    }

    /// Runs what the client has queued; `None` when someone else has the keyspace for himself.
    #[inline(never)]
    pub(super) fn run_queue(
        &self,
        moment: &mut Moment,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Option<Flow> {
        let keyspace = &self.server.keyspace;
        let Held { locks, gate } = self.hold_for(client.transaction_mut())?;
        let mut db = Access::new(keyspace, locks, client.db, moment.now_ms, true);
        db.set_client(client.shared.id);
        let transaction = client.transaction_mut();
        let is_stale = transaction.is_stale(&mut db);
        transaction.unwatch(&mut db);
        let mut rest = Rest::default();
        if is_stale {
            // Keys that were found expired.
            db.settle();
            fanout::fan_out(&self.server, moment, db.into_effects());
            out.null_array();
        } else {
            let queue = transaction.take_queue();
            let seen = Seen::now(&self.server);
            out.array(queue.len());
            let db = self.run_all(&queue, &seen, db, moment, client, out, &mut rest);
            let mut effects = self.end_group(db, gate, moment);
            effects.changes += rest.changes;
            fanout::fan_out(&self.server, moment, effects);
            queue.give_back();
        }
        self.end_transaction(client);
        Some(self.after(rest))
    }

    /// Locks what a transaction needs.
    fn hold_for(&self, transaction: &Transaction) -> Option<Held<'_>> {
        let keyspace = &self.server.keyspace;
        let queue = transaction.queue();
        if queue.needs_whole() {
            let gate = Some(keyspace.gate.try_close()?);
            let locks = keyspace.lock_all();
            return Some(Held { locks, gate });
        }
        let watched = transaction.watched_hashes(|key| keyspace.hash(key));
        let locks = keyspace.lock_many(queue.hashes().iter().copied().chain(watched));
        Some(Held { locks, gate: None })
    }

    /// Runs the commands in order.
    #[allow(clippy::too_many_arguments)]
    fn run_all<'a>(
        &'a self,
        queue: &'a Queue,
        mut seen: &'a Seen,
        mut db: Access<'a>,
        moment: &mut Moment,
        client: &'a mut Client,
        out: &'a mut ReplyWriter,
        rest: &mut Rest,
    ) -> Access<'a> {
        let Some(first) = queue.iter().next() else {
            return db;
        };
        db.effects.set_grouped(true);
        let mut ctx = Ctx {
            args: Args::new(first.argv(), 1),
            db,
            out,
            client,
            server: &self.server,
            config: &seen.config,
            table: &self.table,
            command: self.table.by_id(first.command),
            may_block: false,
        };
        for queued in queue.iter() {
            self.run_queued(&mut ctx, queued, moment, rest);
            seen = seen.latest(&self.server);
            ctx.config = &seen.config;
        }
        if let Some(mark) = rest.closed {
            ctx.out.truncate(mark);
        }
        ctx.db
    }

    fn run_queued<'a>(
        &'a self,
        ctx: &mut Ctx<'a>,
        queued: Queued<'a>,
        moment: &mut Moment,
        rest: &mut Rest,
    ) {
        let command = self.table.by_id(queued.command);
        if command.row.keys.is_empty() {
            // What reads the figures shall find those of the commands before.
            moment.changes += std::mem::take(&mut rest.changes);
            self.end(moment);
        }
        let argv = queued.argv();
        let key = command.single_key.and_then(|at| argv.get(at as usize));
        let touch = !ctx.client.no_touch;
        ctx.db
            .begin_next(ctx.client.db, touch, key.zip(queued.first_hash));
        ctx.args = Args::new(argv, 1 + command.is_subcommand() as usize);
        ctx.command = command;
        let mark = ctx.out.mark();
        let result = self.invoke(ctx, argv, moment);
        rest.changes += std::mem::take(&mut ctx.db.effects.changes);
        moment.ran(command, result.is_err());
        ctx.client.ran();
        let refusal = match result {
            Ok(Next::Done) => return,
            Ok(Next::Close) => {
                rest.closed.get_or_insert(ctx.out.mark());
                return;
            }
            Ok(Next::Sleep(duration)) => {
                rest.sleep = rest.sleep.saturating_add(duration);
                return;
            }
            Ok(Next::Chore(chore @ Chore::SaveFlushed)) => {
                rest.chore = Some(chore);
                ctx.out.ok();
                return;
            }
            // What takes long, or waits: handlers that can do with less do so.
            Ok(Next::Chore(_) | Next::Block(_) | Next::Exec) => admit::not_in_multi(command),
            Err(error) => error,
        };
        ctx.out.truncate(mark);
        self.write_error(&refusal, ctx.out);
    }

    /// Does what is to be done once for all commands, and releases the locks.
    fn end_group(
        &self,
        mut db: Access<'_>,
        gate: Option<GateGuard<'_>>,
        moment: &mut Moment,
    ) -> Effects {
        db.effects.set_grouped(false);
        let seq = db.effects.append_draft_to(&self.server.keyspace.oplog);
        moment.logged(seq.unwrap_or(0));
        let ready = db.effects.take_ready();
        match ready.is_empty() {
            true => db.into_effects(),
            false => {
                let config = self.server.config();
                self.serve_waiters(db, ready, gate, &config, moment)
            }
        }
    }

    /// What follows when the locks are released.
    fn after(&self, rest: Rest) -> Flow {
        if let Some(chore) = rest.chore {
            // Nobody waits for it.
            drop(self.start_chore(chore));
        }
        match rest.closed {
            Some(_) => Flow::Close,
            None if rest.sleep.is_zero() => Flow::Done,
            None => Flow::Sleep(rest.sleep),
        }
    }

    /// Ends a client's transaction, if there is one: while nothing is held.
    pub(super) fn end_transaction(&self, client: &mut Client) {
        let keyspace = &self.server.keyspace;
        let locks = keyspace.lock_none();
        let mut db = Access::new(keyspace, locks, DbIndex::default(), 0, false);
        client.end_transaction(&mut db);
    }

    /// A command was refused: a transaction that it was to be part of will not take place, and EXEC
    /// itself ends it. What the client is told.
    #[cold]
    pub(super) fn note_refusal(
        &self,
        command: Option<&Registered>,
        error: CmdError,
        client: &mut Client,
    ) -> CmdError {
        client.refuse_transaction();
        if !command.is_some_and(|command| command.row.flags.has(Flags::RUNS_QUEUE)) {
            return error;
        }
        self.end_transaction(client);
        let reason = error.reply();
        let reason = reason.strip_prefix(b"ERR ").unwrap_or(&reason);
        CmdError::owned([b"EXECABORT Transaction discarded because of: ", reason].concat())
    }
}

#[cfg(test)]
mod tests;
