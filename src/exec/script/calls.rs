//! What a script asks of the server: `redis.call` and its like.
//!
//! A command of a script passes checks of its own, in the order and with the texts of Valkey, then runs
//! through [`Exec::invoke`] as any other, on shards that the script lends it (`db::access::lend`). What
//! the script does not hold is added, or the script has to begin again: see [`Way`].
//!
//! Invariant: a script that may begin again has done nothing that anybody could tell.

use smallvec::SmallVec;

use crate::acl::Denial;
use crate::client::Client;
use crate::commands::table::Found;
use crate::commands::{Chore, Ctx, Next, Registered, ScriptClock, denied};
use crate::config::Config;
use crate::db::{Access, Effects, Lookups, Needs};
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::script::running::Kind;
use crate::script::{self, Caller, LogLevel, Repl, Tick, cache};
use crate::spec::{Args, CmdError, Flags, ScriptCode, keys};
use crate::sys::{crash, tsc};

use super::super::busy::Course;
use super::super::{Exec, Moment, Ran, admit, guard};
use super::Way;

/// Commands that are counted together.
const COUNTED_TOGETHER: usize = 256;
/// How often somebody else's shard is asked for by a script that cannot begin again.
const ATTEMPTS_MAX: u32 = 100_000;

const UNKNOWN: CmdError = CmdError::text("ERR Unknown command called from script");
const WRONG_ARITY: CmdError =
    CmdError::text("ERR Wrong number of args calling command from script");
const NOT_FROM_SCRIPTS: CmdError =
    CmdError::text("ERR This Redis command is not allowed from script");
const READ_ONLY: CmdError =
    CmdError::text("ERR Write commands are not allowed from read-only scripts.");
const UNKNOWN_TO_ACL: CmdError =
    CmdError::text("ERR Invalid command passed to server.acl_check_cmd()");
/// From so many ticks on a command counts as a tick of its script, whose instructions come by too slowly:
/// a quarter of a millisecond, or a whole one where ticks are nanoseconds.
const LONG_CALL_TICKS: u64 = 1 << 20;
/// From so many ticks on a script that has done nothing yet that could be told begins again with everything, which others
/// hear of and can end: a tenth of a second, or a quarter.
const LONG_SCRIPT_TICKS: u64 = 1 << 28;
/// Seen by nobody: what a script is told that has to begin again.
const BEGINS_AGAIN: CmdError = CmdError::text("ERR the script begins again");
/// Seen by nobody, unless what was proven of a script is wrong.
const NOT_DECLARED: CmdError =
    CmdError::text("ERR Script attempted to access a key that was not declared");

/// What needs all shards.
const WHOLE: Flags = Flags::EXCLUSIVE.and(Flags::ALL_SHARDS);

/// See the module's text.
pub(super) struct Calls<'c, 'k> {
    pub(super) exec: &'c Exec,
    /// The request that runs the script, and what names that in it.
    pub(super) request: Argv<'c>,
    pub(super) code: ScriptCode,
    /// The time of one that holds everything.
    pub(super) course: Option<Course<'c>>,
    /// What the script holds.
    pub(super) db: &'c mut Access<'k>,
    pub(super) client: &'c mut Client,
    pub(super) moment: &'c mut Moment,
    pub(super) config: &'c Config,
    pub(super) way: Way,
    /// Commands that write are refused.
    pub(super) is_read_only: bool,
    /// Commands that may need memory are refused until one has written: there was none when it began.
    pub(super) is_out_of_memory: bool,
    /// A command that writes was let through.
    pub(super) has_written: bool,
    /// When it began, in ticks.
    pub(super) began: u64,
    /// Something has happened that others can tell: it cannot begin again any more.
    pub(super) is_told: bool,
    /// What was counted before it looked up keys, if it may have to begin again.
    pub(super) lookups: Lookups,
    /// What it has logged, if it may have to begin again.
    pub(super) lines: Vec<(LogLevel, String)>,
    pub(super) clock: ScriptClock,
    /// Commands that have run, and what they have changed.
    pub(super) commands: u64,
    pub(super) changes: u64,
    /// The script has to begin again, with all shards.
    pub(super) begins_again: bool,
    /// What is to be done when it has ended.
    pub(super) chore: Option<Chore>,
}

/// Why a script may not call something.
enum Refusal {
    /// The script is told this.
    Error(CmdError),
    /// The rights of its user do not allow it.
    Denied(Denial),
}

impl From<CmdError> for Refusal {
    fn from(error: CmdError) -> Refusal {
        Refusal::Error(error)
    }
}

impl Caller for Calls<'_, '_> {
    fn call(&mut self, argv: Argv<'_>, out: &mut ReplyWriter) -> Result<(), CmdError> {
        // `redis.pcall` has caught that.
        if self.begins_again {
            return Err(BEGINS_AGAIN);
        }
        let exec = self.exec;
        let command = match exec.table.find(argv) {
            Found::Command(command) if !command.row.flags.has(Flags::HTTP) => command,
            Found::UnknownSubcommand => {
                return self.refuse(None, admit::unknown_subcommand(argv));
            }
            Found::Command(_) | Found::Unknown => return self.refuse(None, UNKNOWN),
        };
        match self.admit(command, argv) {
            Ok(()) => self.run(command, argv, out),
            Err(Refusal::Error(error)) => self.refuse(Some((command, argv)), error),
            Err(Refusal::Denied(denial)) => self.deny((command, argv), denial),
        }
    }

    fn tick(&mut self) -> Tick {
        if self.takes_long(tsc::ticks()) || self.begins_again || self.way == Way::Reading {
            return Tick::End(self.begin_again());
        }
        let (request, code) = (self.request, self.code);
        match &mut self.course {
            Some(course) => course.tick(|| shown(request, code)),
            None => Tick::Continue,
        }
    }

    fn log(&mut self, level: LogLevel, text: String) {
        match self.way {
            _ if self.begins_again => {}
            Way::Reading => self.lines.push((level, text)),
            Way::Bounded | Way::Whole => {
                self.is_told = true;
                script::log(level, &text);
            }
        }
    }

    fn set_repl(&mut self, repl: Repl) {
        self.db.effects.set_muted(!repl.aof);
    }

    fn acl_check_cmd(&mut self, argv: Argv<'_>) -> Result<bool, CmdError> {
        match self.exec.table.find(argv) {
            Found::Command(command) if !command.row.flags.has(Flags::HTTP) => {
                let request = denied::request(command, argv, self.client.db);
                Ok(self.client.login.check(&request).is_ok())
            }
            _ => Err(UNKNOWN_TO_ACL),
        }
    }
}

impl Calls<'_, '_> {
    /// Whether a script may call this, asked in Valkey's order.
    #[inline]
    fn admit(&mut self, command: &Registered, argv: Argv<'_>) -> Result<(), Refusal> {
        let flags = command.row.flags;
        if !command.row.arity_fits(argv.len()) {
            return Err(WRONG_ARITY.into());
        }
        if flags.has(Flags::NOSCRIPT) {
            return Err(NOT_FROM_SCRIPTS.into());
        }
        let request = denied::request(command, argv, self.client.db);
        if let Err(denial) = self.client.login.check(&request) {
            return Err(Refusal::Denied(denial));
        }
        if self.is_out_of_memory && !self.has_written && flags.has(Flags::DENYOOM) {
            return Err(admit::OUT_OF_MEMORY.into());
        }
        if !flags.any(admit::WRITES) {
            return Ok(());
        }
        self.is_told = true;
        if self.is_read_only {
            return Err(READ_ONLY.into());
        }
        // What it has begun it may end: half of it would be worse than a write that is not saved, or too much.
        if flags.has(Flags::WRITE) && !self.has_written {
            if let Some(error) = admit::writes_refused(&self.exec.server, self.config) {
                return Err(error.into());
            }
            if let Some(course) = &self.course {
                course.begin_write()?;
            }
            self.has_written = true;
        }
        Ok(())
    }

    /// A call that is refused counts as that, and its error as one that was told.
    #[cold]
    fn refuse(
        &mut self,
        command: Option<(&Registered, Argv<'_>)>,
        error: CmdError,
    ) -> Result<(), CmdError> {
        if self.way == Way::Reading {
            return Err(self.begin_again());
        }
        self.is_told = true;
        if let Some((command, argv)) = command {
            self.exec.worker.lock().rejected(command.id);
            self.exec
                .audit_refusal(command, argv, self.client, true, &error);
        }
        self.count_error(&error);
        Err(error)
    }

    /// The user may not make this call.
    #[cold]
    fn deny(
        &mut self,
        (command, argv): (&Registered, Argv<'_>),
        denial: Denial,
    ) -> Result<(), CmdError> {
        if self.way == Way::Reading {
            return Err(self.begin_again());
        }
        self.is_told = true;
        self.exec
            .record_call((command, argv), self.client, self.request, denial);
        let mut local = self.exec.worker.lock();
        local.rejected(command.id);
        local.error(guard::NOPERM);
        Err(denied::in_script(self.client, command, denial))
    }

    /// Whether one that does not hold everything, and might begin again, has run for long at this moment, in ticks. It is
    /// remembered.
    fn takes_long(&mut self, now: u64) -> bool {
        let is_long = self.way != Way::Whole
            && !self.is_told
            && now.saturating_sub(self.began) > LONG_SCRIPT_TICKS;
        self.client.script_takes_long |= is_long;
        is_long
    }

    /// What has to be told or counted is left to the second attempt.
    #[cold]
    fn begin_again(&mut self) -> CmdError {
        self.begins_again = true;
        BEGINS_AGAIN
    }

    fn run(
        &mut self,
        command: &Registered,
        argv: Argv<'_>,
        out: &mut ReplyWriter,
    ) -> Result<(), CmdError> {
        let exec = self.exec;
        self.count(command);
        let mut hashes: SmallVec<[u64; 8]> = SmallVec::new();
        let needs = needs(exec, command, argv, &mut hashes);
        if self.way != Way::Whole {
            self.hold(command, needs)?;
        }
        let touch = !self.client.no_touch;
        let Some(mut db) = self.db.lend(needs, self.client.db, touch) else {
            return Err(NOT_DECLARED);
        };
        if self.client.is_import_source {
            db.see_expired();
        }
        let started = tsc::ticks();
        self.moment.tick = started;
        let mark = out.mark();
        let mut ctx = Ctx {
            args: Args::new(argv, 1 + command.is_subcommand() as usize),
            db,
            out,
            client: self.client,
            server: &exec.server,
            config: self.config,
            table: &exec.table,
            command,
            may_block: false,
            script: Some(&self.clock),
        };
        // A crash behind it is the script's.
        let outer = crash::outer();
        let result = exec.invoke(&mut ctx, argv, self.moment);
        drop(outer);
        let effects = end_loan(ctx);
        self.db.take_back(effects);
        self.changes += std::mem::take(&mut self.db.effects.changes);
        self.commands += 1;
        let ran = Ran {
            failed: result.is_err(),
            error: result.as_ref().err(),
            by_script: true,
            ..Ran::of((command, argv), self.client, (out, mark))
        };
        exec.ran(self.moment, &ran);
        let is_long = self.moment.tick.saturating_sub(started) > LONG_CALL_TICKS;
        if is_long
            && self.way == Way::Whole
            && let Tick::End(error) = self.tick()
        {
            return Err(error);
        }
        if self.takes_long(self.moment.tick) {
            return Err(self.begin_again());
        }
        self.end(command, result, out)
    }

    /// What is told the script.
    #[inline]
    fn end(
        &mut self,
        command: &Registered,
        result: Result<Next, CmdError>,
        out: &mut ReplyWriter,
    ) -> Result<(), CmdError> {
        let error = match result {
            Ok(Next::Done) => return Ok(()),
            Ok(Next::Chore(chore @ Chore::SaveFlushed)) => {
                self.chore = Some(chore);
                out.ok();
                return Ok(());
            }
            // Rows of what takes long, or waits, say that it is not for scripts.
            Ok(_) => admit::not_in_multi(command),
            Err(error) => error,
        };
        if self.way == Way::Reading {
            return Err(self.begin_again());
        }
        self.is_told = true;
        out.clear();
        self.count_error(&error);
        Err(error)
    }

    /// Counts an error that the script is told.
    #[cold]
    fn count_error(&self, error: &CmdError) {
        self.exec.count_error(&error.reply());
    }

    /// Has the figures catch up with what has run, before they are read, or when there is much to count.
    #[inline]
    fn count(&mut self, command: &Registered) {
        let reads_figures = command.row.keys.is_empty() && !command.row.flags.has(Flags::FAST);
        let is_due = reads_figures || self.moment.executed.len() >= COUNTED_TOGETHER;
        if is_due && self.way != Way::Reading {
            self.is_told = true;
            self.moment.changes += std::mem::take(&mut self.changes);
            self.exec.end(self.moment);
        }
    }

    /// Holds what a command needs, in a script that does not hold everything.
    fn hold(&mut self, command: &Registered, needs: Needs<'_>) -> Result<(), CmdError> {
        let is_reading = self.way == Way::Reading;
        if self.begins_again || is_reading && command.row.flags.any(admit::WRITES) {
            return Err(self.begin_again());
        }
        let one;
        let hashes = match needs {
            Needs::Nothing => return Ok(()),
            Needs::One(_, hash) => {
                one = [hash];
                &one[..]
            }
            Needs::Many(hashes) => hashes,
            Needs::All if is_reading => return Err(self.begin_again()),
            Needs::All => return Err(NOT_DECLARED),
        };
        if self.db.hold_more(hashes) {
            if is_reading {
                self.db.note_lookups(hashes, &mut self.lookups);
            }
            return Ok(());
        }
        if is_reading {
            return Err(self.begin_again());
        }
        // It was proven that this cannot be.
        debug_assert!(false, "{} of an undeclared key", command.full_name);
        for _ in 0..ATTEMPTS_MAX {
            std::thread::yield_now();
            if self.db.hold_more(hashes) {
                return Ok(());
            }
        }
        Err(NOT_DECLARED)
    }
}

/// How a script is shown to others: its kind, its name, the request.
#[cold]
fn shown(request: Argv<'_>, code: ScriptCode) -> (Kind, Vec<u8>, Vec<Vec<u8>>) {
    let (kind, name) = match code {
        ScriptCode::Source => (Kind::Eval, cache::hex(&cache::sha_of(&request[1])).to_vec()),
        ScriptCode::Sha => (Kind::Eval, request[1].to_ascii_lowercase()),
        ScriptCode::Function => (Kind::Function, request[1].to_vec()),
    };
    (kind, name, request.iter().map(<[u8]>::to_vec).collect())
}

/// What a command needs to hold.
#[inline]
fn needs<'n>(
    exec: &Exec,
    command: &Registered,
    argv: Argv<'n>,
    hashes: &'n mut SmallVec<[u64; 8]>,
) -> Needs<'n> {
    let keyspace = &exec.server.keyspace;
    let needs_all = command.row.exclusive_if.is_some_and(|needs| needs(argv));
    if needs_all || command.row.flags.any(WHOLE) {
        return Needs::All;
    }
    if let Some(key) = command.only_key(argv) {
        return Needs::One(key, keyspace.hash(key));
    }
    // As for a command alone, keys count up to a spec that leads nowhere.
    let _ = keys::for_each_key(command.row.keys, argv, |at, spec| {
        if spec.is_key() {
            hashes.push(keyspace.hash(&argv[at]));
        }
    });
    match hashes.is_empty() {
        true => Needs::Nothing,
        false => Needs::Many(hashes),
    }
}

/// What a command did with what was lent to it.
#[inline]
fn end_loan(ctx: Ctx<'_>) -> Effects {
    ctx.db.into_effects()
}
