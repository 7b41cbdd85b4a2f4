//! Scripts: EVAL, EVALSHA and FCALL.
//!
//! The handler has read the arguments ([`Next::Script`](crate::commands::Next::Script)). Here the script
//! is found, what it needs is locked, and it runs in the worker's interpreter; what all of its commands did
//! becomes one record of the log, as a transaction does. Then the locks are released, and its result
//! becomes the reply.
//!
//! What is locked ([`Way`]): a script may touch any key, so in general it has the whole keyspace for
//! itself, as on the exclusive path. One that is proven to touch only keys which were declared, and to
//! end soon, locks just those. One that only reads locks what it comes upon, and holds it until the end;
//! if somebody else holds what it wants, or it takes long, it begins again with the whole keyspace,
//! which nobody can tell: it has done nothing.
//!
//! In a transaction a script runs with what that holds: everything. When a log is repeated it is as if
//! it ran in one.

use crate::client::Client;
use crate::commands::{Chore, Ctx, Registered, ScriptCall, ScriptClock};
use crate::config::Config;
use crate::db::{Access, Lookups};
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::script::vm::{Failure, Vm};
use crate::script::{self, LogLevel};
use crate::spec::Flags;
use crate::sys::{fiber, tsc};

use super::busy::Course;
use super::transaction::Rest;
use super::{Exec, Held, Moment, admit, fanout};

mod calls;
mod find;

use calls::Calls;
pub(super) use find::Desk;
use find::Found;

/// The request's first argument that is a script's: a key, or an argument.
const ARGUMENTS_AT: usize = 3;

/// The key of a request that declares just one.
pub(super) fn only_key(argv: Argv<'_>) -> Option<&[u8]> {
    let is_one = argv.get(ARGUMENTS_AT - 1) == Some(b"1");
    is_one.then(|| argv.get(ARGUMENTS_AT)).flatten()
}

/// What a script holds while it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// The shards of the keys that were declared: it touches no others.
    Bounded,
    /// The shards of the keys that it has read so far.
    Reading,
    /// Everything.
    Whole,
}

/// A script that is to run.
struct Run<'r> {
    command: &'r Registered,
    argv: Argv<'r>,
    call: ScriptCall,
    config: &'r Config,
    found: Found,
    /// Where it runs.
    vm: &'r mut Vm,
}

/// What is known of a script that has run; what it results in is still in the interpreter.
struct Played {
    result: Result<(), Failure>,
    begins_again: bool,
    lines: Vec<(LogLevel, String)>,
    commands: u64,
    changes: u64,
    chore: Option<Chore>,
}

impl Run<'_> {
    /// Commands that write are refused.
    fn is_read_only(&self) -> bool {
        self.call.is_read_only || self.found.flags.no_writes
    }

    fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let arguments = self.argv.iter().skip(ARGUMENTS_AT);
        arguments.take(self.call.numkeys)
    }
}

impl Exec {
    /// Runs the script that a request names; whether it has failed. `None` if it has not run: when it
    /// needs a stack of its own, or has that and someone else has the keyspace for himself.
    #[inline(never)]
    pub(super) fn run_script(
        &self,
        command: &Registered,
        (argv, call): (Argv<'_>, ScriptCall),
        moment: &mut Moment,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Option<bool> {
        let config = self.config();
        let ran = self.with_script(&config, argv, call, false, |found, vm| {
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    self.show_script(command, client, argv);
                    self.write_error(&error, out);
                    return Some(true);
                }
            };
            let mut run = Run {
                command,
                argv,
                call,
                config: &config,
                found,
                vm,
            };
            // It has shown that it takes long: everything, at once, or it might never come to that.
            let way = match client.script_takes_long {
                true => Way::Whole,
                false => self.way_of(&run),
            };
            if way != Way::Whole
                && let Some(held) = self.hold_some(&run, way)
                && let Some(ended) = self.run_held(&mut run, way, held, moment, client, out)
            {
                return Some(ended);
            }
            if !fiber::is_inside() {
                return None;
            }
            let held = self.hold_whole(true)?;
            self.run_held(&mut run, Way::Whole, held, moment, client, out)
        });
        let ran = ran.flatten();
        if ran.is_some() {
            client.script_takes_long = false;
        }
        ran
    }

    /// What a script has to hold.
    fn way_of(&self, run: &Run<'_>) -> Way {
        if run.found.keeps_state {
            return Way::Whole;
        }
        let proof = run.found.proof;
        if proof.is_bounded {
            let given = run.argv.iter().skip(ARGUMENTS_AT);
            if proof.is_bounded_for(given.len(), given.map(<[u8]>::len).sum()) {
                return Way::Bounded;
            }
        }
        // What others are told would be told twice.
        let is_told = self.server.keyspace.interest.is_any();
        match (run.is_read_only() || proof.reads_only) && !is_told {
            true => Way::Reading,
            false => Way::Whole,
        }
    }

    /// Locks what a script needs from the beginning that does not need everything; `None` when someone
    /// has the keyspace for himself.
    fn hold_some(&self, run: &Run<'_>, way: Way) -> Option<Held<'_>> {
        let keyspace = &self.server.keyspace;
        let locks = match (way, run.call.numkeys) {
            (Way::Reading, _) | (_, 0) => keyspace.lock_none(),
            (_, 1) => keyspace.claim_one(keyspace.hash(&run.argv[ARGUMENTS_AT]))?,
            _ => keyspace.claim_many(run.keys().map(|key| keyspace.hash(key)))?,
        };
        Some(Held { locks, gate: None })
    }

    /// Runs a script with what is held, releases it, and replies. `None` if it has to begin again.
    fn run_held(
        &self,
        run: &mut Run<'_>,
        way: Way,
        held: Held<'_>,
        moment: &mut Moment,
        client: &mut Client,
        out: &mut ReplyWriter,
    ) -> Option<bool> {
        let keyspace = &self.server.keyspace;
        let mut db = Access::new(keyspace, held.locks, client.db, moment.now_ms, true);
        if self.server.pause.is_on(moment.now_ms) {
            let flags = self.flags_by_script(run.command, run.argv);
            let flags = flags.without(Flags::RUNS_SCRIPT);
            if admit::is_late(&self.server, flags, client, moment.now_ms) {
                self.let_go(db, held.gate, moment);
                return None;
            }
        }
        db.set_client(client.shared.id);
        db.effects.set_grouped(true);
        self.show_script(run.command, client, run.argv);
        let (tick, counted) = (moment.tick, moment.executed.len());
        let told = self.told.borrow().len();
        let played = self.play(run, way, &mut db, moment, client);
        if played.begins_again {
            moment.executed.truncate(counted);
            self.told.borrow_mut().truncate(told);
            moment.tick = tick;
        }
        let mut effects = self.end_group(db, held.gate, moment);
        effects.changes += played.changes;
        fanout::fan_out(&self.server, moment, &mut effects);
        if played.begins_again {
            return None;
        }
        for (level, text) in &played.lines {
            script::log(*level, text);
        }
        client.ran_times(played.commands);
        if let Some(chore) = played.chore {
            // Nobody waits for it.
            drop(self.start_chore(chore));
        }
        Some(self.reply_of(run, played.result, out))
    }

    /// Runs a script in a transaction, with what that holds; whether it has failed.
    pub(super) fn run_script_in(
        &self,
        ctx: &mut Ctx<'_>,
        (argv, call): (Argv<'_>, ScriptCall),
        moment: &mut Moment,
        rest: &mut Rest,
    ) -> bool {
        let Ctx {
            db, out, client, ..
        } = ctx;
        let (command, config) = (ctx.command, ctx.config);
        let ran = self.with_script(config, argv, call, true, |found, vm| {
            self.show_script(command, client, argv);
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    self.write_error(&error, out);
                    return true;
                }
            };
            let mut run = Run {
                command,
                argv,
                call,
                config,
                found,
                vm,
            };
            let played = self.play(&mut run, Way::Whole, db, moment, client);
            rest.note_script(played.changes, played.chore);
            client.ran_times(played.commands);
            self.reply_of(&mut run, played.result, out)
        });
        ran.unwrap_or(true)
    }

    /// Runs a script that a log repeats. `db` holds everything. What it results in nobody wants to know.
    pub(super) fn replay_script(
        &self,
        command: &Registered,
        (argv, call): (Argv<'_>, ScriptCall),
        db: &mut Access<'_>,
        client: &mut Client,
    ) {
        let (config, mut moment) = (self.config(), self.begin());
        self.with_script(&config, argv, call, true, |found, vm| {
            let Ok(found) = found else { return };
            let mut run = Run {
                command,
                argv,
                call,
                config: &config,
                found,
                vm,
            };
            self.play(&mut run, Way::Whole, db, &mut moment, client);
            self.reply_of(&mut run, Ok(()), &mut ReplyWriter::new());
        });
    }

    /// Runs a script with what `db` holds. Its commands are one group of effects, which the caller ends.
    fn play(
        &self,
        run: &mut Run<'_>,
        way: Way,
        db: &mut Access<'_>,
        moment: &mut Moment,
        client: &mut Client,
    ) -> Played {
        let before = client.db;
        let threshold_ms = run.config.busy_reply_threshold_ms;
        let has_course = way == Way::Whole && !db.is_replaying();
        let is_out_of_memory = self.is_out_for(run, db);
        let course = has_course.then(|| Course::begin(&self.server, threshold_ms));
        let mut calls = Calls {
            exec: self,
            request: run.argv,
            code: run.call.code,
            course,
            db,
            client,
            moment,
            config: run.config,
            way,
            is_read_only: run.is_read_only(),
            is_out_of_memory,
            has_written: false,
            began: tsc::ticks(),
            is_told: way == Way::Whole || self.server.keyspace.interest.is_any(),
            lookups: Lookups::default(),
            lines: Vec::new(),
            clock: ScriptClock::default(),
            commands: 0,
            changes: 0,
            begins_again: false,
            chore: None,
        };
        let arguments = run.argv.from(ARGUMENTS_AT);
        let numkeys = run.call.numkeys;
        let result = run.vm.run(run.found.code, arguments, numkeys, &mut calls);
        calls.db.effects.set_muted(false);
        if calls.begins_again {
            let lookups = std::mem::take(&mut calls.lookups);
            calls.db.forget_lookups(lookups);
        }
        if calls.client.db != before {
            calls.client.select(before);
        }
        Played {
            result,
            begins_again: calls.begins_again,
            lines: calls.lines,
            commands: calls.commands,
            changes: calls.changes,
            chore: calls.chore,
        }
    }

    /// Whether a script is refused what may need memory.
    fn is_out_for(&self, run: &Run<'_>, db: &Access<'_>) -> bool {
        let may_be_out = run.found.flags.is_legacy || !run.found.flags.allow_oom;
        may_be_out && !db.is_replaying() && self.memory.was_out(&self.server)
    }

    /// Writes what a script has resulted in; whether that is an error, or has some in it. Each counts as
    /// one failure.
    fn reply_of(
        &self,
        run: &mut Run<'_>,
        result: Result<(), Failure>,
        out: &mut ReplyWriter,
    ) -> bool {
        let mut failures = 0u64;
        match result {
            Ok(()) => run.vm.reply(out, &mut |text, is_counted| {
                failures += 1;
                if !is_counted {
                    self.worker.lock().script_error(text);
                }
            }),
            Err(failure) => {
                failures = 1;
                let text = failure.error.reply();
                out.error(&text);
                if !failure.is_counted {
                    self.worker.lock().script_error(&text);
                }
            }
        }
        if failures > 1 {
            self.worker.lock().failed(run.command.id, failures - 1);
        }
        failures > 0
    }

    /// Shows a call of a script to those who look at all commands, in front of what it will run.
    fn show_script(&self, command: &Registered, client: &Client, argv: Argv<'_>) {
        if self.server.keyspace.interest.is_monitored() {
            self.show(command, client, argv, false);
        }
    }
}

#[cfg(test)]
mod tests;
