//! What a script asks of the server: `redis.call` and its like.
//!
//! A command of a script passes checks of its own, in the order and with the texts of Valkey, then runs
//! through [`Exec::invoke`] as any other, on shards that the script lends it (`db::access::lend`).

use smallvec::SmallVec;

use crate::client::Client;
use crate::commands::table::Found;
use crate::commands::{Chore, Ctx, Next, Registered, ScriptClock};
use crate::config::Config;
use crate::db::{Access, Needs};
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::script::{Caller, Repl, Tick};
use crate::spec::{Args, CmdError, Flags, keys};
use crate::sys::tsc;

use super::super::{Exec, Moment, admit};
use super::Way;

/// Commands that are counted at once.
const COUNTED_TOGETHER: usize = 256;
/// How often shards are asked for that somebody else uses, by a script that cannot begin again.
const HOLD_ATTEMPTS_MAX: u32 = 10_000;

const UNKNOWN: CmdError = CmdError::text("ERR Unknown command called from script");
const WRONG_ARITY: CmdError =
    CmdError::text("ERR Wrong number of args calling command from script");
const NOSCRIPT: CmdError =
    CmdError::text("ERR This Redis command is not allowed from script");
const READ_ONLY: CmdError =
    CmdError::text("ERR Write commands are not allowed from read-only scripts.");
const UNKNOWN_TO_ACL: CmdError =
    CmdError::text("ERR Invalid command passed to server.acl_check_cmd()");
/// Seen by nobody: the script begins again.
const BEGINS_AGAIN: CmdError = CmdError::text("ERR the script begins again");
/// Not seen either, unless what was proven of a script does not hold.
const NOT_HELD: CmdError = CmdError::text("ERR Script attempted to access an undeclared key");

/// Commands that a script which only reads may not call.
const WRITES: Flags = Flags::WRITE.and(Flags::MAY_REPLICATE);
/// Commands that need all shards.
const WHOLE: Flags = Flags::EXCLUSIVE.and(Flags::ALL_SHARDS);

/// See the module's text. `db` is what the script holds.
pub(super) struct Calls<'c, 'k> {
    pub(super) exec: &'c Exec,
    pub(super) db: &'c mut Access<'k>,
    pub(super) client: &'c mut Client,
    pub(super) moment: &'c mut Moment,
    pub(super) config: &'c Config,
    pub(super) way: Way,
    /// Commands that write are refused.
    pub(super) is_read_only: bool,
    pub(super) clock: ScriptClock,
    /// Changes of the commands that have run.
    pub(super) changes: u64,
    /// It has to begin again, with all shards: what it has done so far does not count.
    pub(super) begins_again: bool,
    /// What is to be done when it has ended.
    pub(super) chore: Option<Chore>,
}

impl Calls<'_, '_> {
    /// The command that a request names, if scripts may call it like that.
    fn find(&self, argv: Argv<'_>) -> Result<&'static str, CmdError> {
        let _ = argv;
        Err(UNKNOWN)
    }
}

impl Caller for Calls<'_, '_> {
    fn call(&mut self, argv: Argv<'_>, out: &mut ReplyWriter) -> Result<(), CmdError> {
        if self.begins_again {
            return Err(BEGINS_AGAIN);
        }
        let exec = self.exec;
        let command = match exec.table.find(argv) {
            Found::Command(command) if !command.row.flags.has(Flags::HTTP) => command,
            Found::UnknownSubcommand(container) => {
                return self.refuse(None, admit::unknown_subcommand(container, argv));
            }
            Found::Command(_) | Found::Unknown => return self.refuse(None, UNKNOWN),
        };
        if let Err(error) = self.admit(command, argv) {
            return self.refuse(Some(command), error);
        }
        self.run(command, argv, out)
    }

    fn tick(&mut self) -> Tick {
        match self.way {
            Way::Reading => {
                self.begins_again = true;
                Tick::End(BEGINS_AGAIN)
            }
            Way::Bounded | Way::Whole => Tick::Continue,
        }
    }

    fn set_repl(&mut self, repl: Repl) {
        self.db.effects.set_muted(!repl.aof);
    }

    fn acl_check_cmd(&mut self, argv: Argv<'_>) -> Result<bool, CmdError> {
        match self.exec.table.find(argv) {
            Found::Command(command) if !command.row.flags.has(Flags::HTTP) => Ok(true),
            _ => Err(UNKNOWN_TO_ACL),
        }
    }
}

impl Calls<'_, '_> {
    /// Whether a script may call this, in Valkey's order.
    #[inline]
    fn admit(&mut self, command: &Registered, argv: Argv<'_>) -> Result<(), CmdError> {
        let flags = command.row.flags;
        if !command.row.arity_fits(argv.len()) {
            return Err(WRONG_ARITY);
        }
        if flags.has(Flags::NOSCRIPT) {
            return Err(NOSCRIPT);
        }
        if flags.any(WRITES) {
            if self.is_read_only {
                return Err(READ_ONLY);
            }
            if flags.has(Flags::WRITE)
                && let Some(error) = admit::writes_refused(&self.exec.server, self.config)
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// A call that was refused is counted as such.
    #[cold]
    fn refuse(&self, command: Option<&Registered>, error: CmdError) -> Result<(), CmdError> {
        let mut local = self.exec.worker.lock();
        if let Some(command) = command {
            local.rejected(command.id);
        }
        local.error(&error.reply());
        Err(error)
    }

    fn run(
        &mut self,
        command: &Registered,
        argv: Argv<'_>,
        out: &mut ReplyWriter,
    ) -> Result<(), CmdError> {
        let exec = self.exec;
        self.before(command)?;
        let touch = !self.client.no_touch;
        let (db_index, client_id) = (self.client.db, self.client.shared.id);
        let _ = client_id;
        let lent = self.lend(command, argv, touch)?;
        let _ = (exec, db_index, lent, out);
        Ok(())
    }
}
