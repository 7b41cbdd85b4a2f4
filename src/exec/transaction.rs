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
//! is left for afterwards or refused. With a script in it EXEC may take for ever, so it runs on a stack
//! of its own ([`alone`](super::alone)).

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::client::Client;
use crate::client::transaction::{Need, Queue, Queued, Transaction};
use crate::commands::{Chore, CmdResult, Ctx, Next, Registered};
use crate::config::Config;
use crate::db::{Access, DbIndex, Effects, GateGuard};
use crate::resp::parse::Argv;
use crate::resp::write::{Mark, ReplyWriter};
use crate::server::Server;
use crate::spec::limits::OUTPUT_SOFT_BYTES;
use crate::spec::{Args, CmdError, Flags, keys};

use super::{Exec, Flow, Held, Moment, Ran, admit, begin_reply, fanout, guard, silence};

/// Commands that may touch any shard.
const WHOLE: Flags = Flags::EXCLUSIVE
    .and(Flags::ALL_SHARDS)
    .and(Flags::RUNS_SCRIPT);

/// What a transaction leaves to be done when its locks are released.
#[derive(Default)]
pub(super) struct Rest {
    /// Changes of the commands that have run.
    changes: u64,
    /// The client is to be closed, and is told no more.
    is_closed: bool,
    /// DEBUG SLEEP.
    sleep: Duration,
    chore: Option<Chore>,
    /// The last command was allowed no more: then EXEC counts as failed, as in Redis.
    is_denied: bool,
}

impl Rest {
    /// A script has run.
    pub(super) fn note_script(&mut self, changes: u64, chore: Option<Chore>) {
        self.changes += changes;
        self.chore = chore.or(self.chore);
    }
}

/// A transaction that runs.
struct Run<'a> {
    /// EXEC itself.
    exec: &'a Registered,
    argv: Argv<'a>,
    queue: &'a Queue,
    config: &'a Config,
    /// The configurations that it has made.
    made: &'a Made,
}

/// Configurations that the commands of a transaction have made, for those that follow. Mostly there is
/// none.
#[derive(Default)]
struct Made(OnceCell<Box<Later>>);

/// A configuration, and what has taken its place.
struct Later {
    config: Arc<Config>,
    epoch: u64,
    next: Made,
}

impl Made {
    /// What holds by now, as the next one.
    #[cold]
    fn add(&self, server: &Server) -> &Later {
        self.0.get_or_init(|| {
            Box::new(Later {
                epoch: server.config_epoch(),
                config: server.config(),
                next: Made::default(),
            })
        })
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // One after the other: the stack need not be as deep as there were changes.
        let mut next = self.0.take();
        while let Some(mut later) = next {
            next = later.next.0.take();
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
        let flags = match command.row.script {
            Some(_) => self.flags_by_script(command, argv),
            None => command.row.flags,
        };
        let needs_all = command.row.exclusive_if.is_some_and(|needs| needs(argv));
        let mut need = Need {
            command: command.id,
            flags,
            first_hash: None,
            hashes: SmallVec::new(),
            whole: needs_all || flags.any(WHOLE),
        };
        if let Some(key) = command.only_key(argv) {
            let hash = hash.unwrap_or_else(|| keyspace.hash(key));
            need.first_hash = Some(hash);
            need.hashes.push(hash);
            return need;
        }
        // As for a command alone, keys count up to a spec that leads nowhere.
        let _ = keys::for_each_key(command.row.keys, argv, |at, spec| {
            if spec.is_key() {
                need.hashes.push(keyspace.hash(&argv[at]));
            }
        });
        need
    }

    /// Runs what the client has queued, by its EXEC, and whether that counts as failed; `None` when
    /// someone else has the keyspace for himself, or a pause has begun.
    #[inline(never)]
    pub(super) fn run_queue(
        &self,
        command: &Registered,
        argv: Argv<'_>,
        moment: &mut Moment,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Option<(Flow, bool)> {
        let keyspace = &self.server.keyspace;
        let flags = client.transaction_mut().flags_of_exec(command.row.flags);
        let Held { locks, gate } = self.hold_for(client.transaction_mut())?;
        let mut db = Access::new(keyspace, locks, client.db, moment.now_ms, true);
        if admit::is_late(&self.server, flags, client, moment.now_ms) {
            self.let_go(db, gate, moment);
            return None;
        }
        db.set_client(client.shared.id);
        if client.is_import_source {
            db.see_expired();
        }
        let transaction = client.transaction_mut();
        let is_stale = transaction.is_stale(&mut db);
        transaction.unwatch(&mut db);
        let mut rest = Rest::default();
        if is_stale {
            client.has_lost = true;
            // Keys that were found expired.
            db.settle();
            self.show_exec(&db, command, client, argv);
            self.let_go(db, gate, moment);
            out.null_array();
        } else {
            let queue = transaction.take_queue();
            out.array(queue.len());
            let run = Run {
                exec: command,
                argv,
                queue: &queue,
                config: &self.config(),
                made: &Made::default(),
            };
            let (db, left) = self.run_all(run, db, moment, client, out);
            rest = left;
            let mut effects = self.end_group(db, gate, moment);
            effects.changes += rest.changes;
            fanout::fan_out(&self.server, moment, &mut effects);
            queue.give_back();
        }
        client.close_transaction();
        let has_failed = rest.is_denied;
        Some((self.after(rest), has_failed))
    }

    /// Locks what a transaction needs.
    fn hold_for(&self, transaction: &Transaction) -> Option<Held<'_>> {
        let keyspace = &self.server.keyspace;
        let queue = transaction.queue();
        if queue.needs_whole() {
            return self.hold_whole(queue.has_any(Flags::RUNS_SCRIPT));
        }
        let watched = transaction.watched_hashes(|key| keyspace.hash(key));
        let locks = keyspace.claim_many(queue.hashes().iter().copied().chain(watched))?;
        Some(Held { locks, gate: None })
    }

    /// Runs the commands in order.
    fn run_all<'a>(
        &'a self,
        run: Run<'a>,
        mut db: Access<'a>,
        moment: &mut Moment,
        client: &'a mut Client,
        out: &'a mut ReplyWriter,
    ) -> (Access<'a>, Rest) {
        let (mut rest, mut made) = (Rest::default(), run.made);
        let mut epoch = self.config_epoch.get();
        db.effects.set_grouped(true);
        let mut ctx = Ctx {
            args: Args::new(run.argv, 1),
            db,
            out,
            client,
            server: &self.server,
            config: run.config,
            table: &self.table,
            command: run.exec,
            may_block: false,
            script: None,
        };
        for queued in run.queue.iter() {
            self.run_queued(&mut ctx, queued, run.argv, moment, &mut rest);
            if self.server.config_epoch() != epoch {
                let later = made.add(&self.server);
                (epoch, made) = (later.epoch, &later.next);
                ctx.config = &later.config;
            }
        }
        self.show_exec(&ctx.db, run.exec, ctx.client, run.argv);
        (ctx.db, rest)
    }

    fn run_queued<'a>(
        &'a self,
        ctx: &mut Ctx<'a>,
        queued: Queued<'a>,
        exec: Argv<'_>,
        moment: &mut Moment,
        rest: &mut Rest,
    ) {
        let command = self.table.by_id(queued.command);
        if command.row.keys.is_empty() {
            moment.changes += std::mem::take(&mut rest.changes);
        }
        let is_of_server = self.settle(command, moment);
        let argv = queued.argv();
        let key = command.only_key(argv);
        let touch = !ctx.client.no_touch;
        ctx.db
            .begin_next(ctx.client.db, touch, key.zip(queued.first_hash));
        if ctx.client.is_import_source {
            ctx.db.see_expired();
        }
        ctx.args = Args::new(argv, 1 + command.is_subcommand() as usize);
        ctx.command = command;
        if let Err(error) = self.check_queued(ctx, argv, exec) {
            rest.is_denied = true;
            return self.write_error(&error, ctx.out);
        }
        rest.is_denied = false;
        let mark = ctx.out.mark();
        let (started, is_hot) = (moment.tick, self.counts_hot(moment));
        let (result, failed) = match self.invoke(ctx, argv, moment) {
            Ok(Next::Script(call)) => {
                let failed = self.run_script_in(ctx, (argv, call), moment, rest);
                moment.tick = started;
                (Ok(Next::Done), failed)
            }
            result => {
                let result = refuse_in_multi(command, result);
                let failed = result.is_err();
                (result, failed)
            }
        };
        if is_of_server {
            self.follow_bounds();
        }
        rest.changes += std::mem::take(&mut ctx.db.effects.changes);
        let pause = match &result {
            Ok(Next::Sleep(duration)) => *duration,
            _ => Duration::ZERO,
        };
        let ran = Ran {
            failed,
            error: result.as_ref().err(),
            is_hot,
            pause,
            ..Ran::of((command, argv), ctx.client, (ctx.out, mark))
        };
        self.ran(moment, &ran);
        ctx.client.ran();
        if guard::may_change_rights(command) {
            ctx.client.login.renew();
        }
        self.reply_queued(ctx, mark, result, rest);
    }

    /// What the client is told of a command of its transaction, and what that leaves to be done.
    fn reply_queued(&self, ctx: &mut Ctx<'_>, mark: Mark, result: CmdResult, rest: &mut Rest) {
        if rest.is_closed || (ctx.out.len() > OUTPUT_SOFT_BYTES && self.is_too_much(ctx)) {
            // What else it does is done, but nobody is told of it.
            rest.is_closed = true;
            ctx.out.truncate(mark);
            return;
        }
        let refusal = match result {
            Ok(Next::Done) => return,
            Ok(Next::Close) => {
                rest.is_closed = true;
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
            // Does not come here, see `refuse_in_multi`.
            Ok(Next::Chore(_) | Next::Block(_) | Next::Exec | Next::Script(_)) => return,
            Err(error) => error,
        };
        ctx.out.truncate(mark);
        self.write_error(&refusal, ctx.out);
    }

    /// Whether more is to be told to the client by now than its limit allows
    /// (`client-output-buffer-limit`): it is cut off then.
    #[cold]
    fn is_too_much(&self, ctx: &Ctx<'_>) -> bool {
        let (clients, client) = (&self.server.clients, &ctx.client.shared);
        let hard_bytes = clients.output_limits.get(client.output_class());
        let bytes = ctx.out.len() as u64 + client.waiting_bytes();
        let is_too_much = hard_bytes > 0 && bytes > hard_bytes;
        if is_too_much {
            clients.cut_off(client);
        }
        is_too_much
    }

    /// Releases the locks of what has not run; those are served that others have left to it.
    #[cold]
    pub(super) fn let_go(&self, db: Access<'_>, gate: Option<GateGuard<'_>>, moment: &mut Moment) {
        let mut effects = self.end_group(db, gate, moment);
        fanout::fan_out(&self.server, moment, &mut effects);
    }

    /// Does what is to be done once for all commands, and releases the locks.
    pub(super) fn end_group(
        &self,
        mut db: Access<'_>,
        gate: Option<GateGuard<'_>>,
        moment: &mut Moment,
    ) -> Effects {
        db.effects.set_grouped(false);
        let seq = db.effects.append_draft_to(&self.server.keyspace.oplog);
        moment.logged(seq.unwrap_or(0));
        let mut ready = db.effects.take_ready();
        if let Some(gate) = &gate {
            ready.append(&mut gate.end_long());
        }
        match ready.is_empty() {
            true => db.into_effects(),
            false => {
                let config = self.server.config();
                self.serve_waiters(db, ready, gate, &config, moment)
            }
        }
    }

    /// Shows EXEC itself to those who look at all commands, behind what it has run.
    fn show_exec(&self, db: &Access<'_>, command: &Registered, client: &Client, argv: Argv<'_>) {
        if db.effects.is_monitored() {
            self.show(command, client, argv, false);
        }
    }

    /// What follows when the locks are released.
    fn after(&self, rest: Rest) -> Flow {
        if let Some(chore) = rest.chore {
            // Nobody waits for it.
            drop(self.start_chore(chore));
        }
        match rest.is_closed {
            true => Flow::Close,
            false if rest.sleep.is_zero() => Flow::Done,
            false => Flow::Sleep(rest.sleep),
        }
    }

    /// Ends a client's transaction, if there is one: while nothing is held. False if some shard, which
    /// cannot be had now, still knows of it: to be called again.
    pub fn end_transaction(&self, client: &mut Client) -> bool {
        let keyspace = &self.server.keyspace;
        let locks = keyspace.lock_none();
        let mut db = Access::new(keyspace, locks, DbIndex::default(), 0, false);
        client.end_transaction(&mut db);
        client.has_left_nothing()
    }

    /// A command was refused: a transaction that it was to be part of will not take place, and EXEC
    /// itself ends it. What the client is told.
    #[cold]
    pub(super) fn note_refusal(
        &self,
        command: Option<(&Registered, Argv<'_>)>,
        error: CmdError,
        client: &mut Client,
    ) -> CmdError {
        client.refuse_transaction();
        let is_exec = |(command, _): &(&Registered, _)| command.row.flags.has(Flags::RUNS_QUEUE);
        let Some((command, argv)) = command.filter(is_exec) else {
            return error;
        };
        self.end_transaction(client);
        if self.server.keyspace.interest.is_monitored() {
            self.show(command, client, argv, false);
        }
        let reason = error.reply();
        let reason = reason.strip_prefix(b"ERR ").unwrap_or(&reason);
        CmdError::owned([b"EXECABORT Transaction discarded because of: ", reason].concat())
    }
}

/// What takes long, or waits, is refused in a transaction: handlers that can do with less do so.
fn refuse_in_multi(command: &Registered, result: CmdResult) -> CmdResult {
    match result {
        Ok(Next::Chore(Chore::SaveFlushed)) => result,
        Ok(Next::Chore(_) | Next::Block(_) | Next::Exec | Next::Script(_)) => {
            Err(admit::not_in_multi(command))
        }
        Ok(Next::Done | Next::Close | Next::Sleep(_)) | Err(_) => result,
    }
}

#[cfg(test)]
mod tests;
