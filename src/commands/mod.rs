//! The commands: one file per family, each a table of rows, then the handlers, tests beside them.
//!
//! A handler is a plain synchronous function: it reads its arguments through [`Ctx::args`], works on the keys that its
//! row names through [`Ctx::db`], writes its reply to [`Ctx::out`] and returns. It knows no socket, no lock, no clock.
//! Whatever is larger is described in [`Next`] and done by `exec` or `net`. A handler that returns an error leaves no
//! half reply: `exec` truncates what it wrote.
//!
//! To add a command: one row, one function, tests, in one file. A new family: its file, and its rows in [`FAMILIES`].

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::config::{Config, ShutdownFlags};
use crate::db::{Access, GoneError, KeyMut, Lookup, Request};
use crate::ds::entry::{EntryRef, NewValue, ValueRef};
use crate::resp::write::ReplyWriter;
use crate::server::Server;
use crate::spec::args::c_str;
use crate::spec::{self, Args, CmdError, Flags};
use crate::value::{Encoding, Type};

pub mod table;

pub(crate) mod acl;
mod bitmap;
mod client;
mod command;
mod config;
mod connection;
mod debug;
pub(crate) mod denied;
mod dump;
mod expire;
mod foreign;
mod function;
mod generic;
mod geo;
mod hash;
mod hotkeys;
mod hyperloglog;
mod info;
mod latency;
mod list;
mod lolwut;
pub mod memory;
mod module;
pub(crate) mod monitor;
pub(crate) mod persistence;
mod pubsub;
mod scan;
mod scripting;
mod server;
mod set;
mod slowlog;
mod sort;
mod stream;
mod string;
mod timeout;
mod transaction;
mod zset;

pub(crate) use acl::load_at_start as load_users_at_start;
pub use table::{CommandTable, Registered};

#[cfg(test)]
pub(crate) mod tests;

/// A row of the command table.
pub type Command = spec::Command<Handler>;

/// The function behind a row.
pub type Handler = fn(&mut Ctx<'_>) -> CmdResult;

/// What a handler returns.
pub type CmdResult = Result<Next, CmdError>;

/// What is to be done when the handler has returned.
#[derive(Clone, Debug)]
pub enum Next {
    /// Nothing: the reply is written.
    Done,
    /// Write the reply, then close the connection (QUIT).
    Close,
    /// Keep everybody waiting for so long, then write the reply (DEBUG SLEEP).
    Sleep(Duration),
    /// Do this while the client waits, then reply.
    Chore(Chore),
    /// Nothing was found: have the client wait, and run the command again when a key is there. No
    /// reply was written.
    Block(Block),
    /// Run what the client has queued (EXEC).
    Exec,
    /// Run a script (EVAL, FCALL). No reply was written.
    Script(ScriptCall),
}

/// A call of a script. The request says the rest: the source, SHA1 or name is its second argument, the
/// keys begin with the fourth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScriptCall {
    /// What the second argument is.
    pub code: crate::spec::ScriptCode,
    /// How many of the arguments are keys.
    pub numkeys: usize,
    /// Commands that write are refused (EVAL_RO and its like).
    pub is_read_only: bool,
}

/// What takes long or touches files: done on a thread of its own. The reply is a line, mostly OK, or
/// what went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chore {
    /// SAVE.
    Save,
    /// BGSAVE, until it has begun.
    BgSave {
        /// As soon as it can, if the log is being rewritten now.
        schedule: bool,
    },
    /// BGREWRITEAOF, until it has begun.
    BgRewriteAof,
    /// What FLUSHALL leaves to be done when there are save points, after [`Chore::FreeFlushed`]; never fails.
    SaveFlushed,
    /// What FLUSHALL SYNC and FLUSHDB SYNC have taken out is freed; never fails.
    FreeFlushed,
    /// SHUTDOWN; no reply when it works.
    Shutdown(ShutdownFlags),
    /// DEBUG RELOAD.
    Reload {
        /// The file is written first.
        save: bool,
        /// The keyspace is emptied before it is loaded.
        flush: bool,
        /// Keys that are there already are kept.
        merge: bool,
    },
    /// DEBUG LOADAOF.
    LoadAof,
}

/// What a client waits for. When it gives up it gets a null array, whatever the command.
#[derive(Clone, Debug)]
pub struct Block {
    /// When it gives up, Unix ms; `None` for never.
    pub deadline_ms: Option<u64>,
    /// The type that a key must have to end the wait.
    pub type_: Type,
    /// For which of the keys that the row's specs find.
    pub keys: BlockOn,
    /// The wait also ends when a key goes or gets another type: what the client is told then
    /// (XREADGROUP). The command needs all of its keys to be run again.
    pub gone: Option<GoneError>,
    /// What is run again instead of the request (XREAD: `$` is what it was when the wait began).
    pub kept: Option<Request>,
}

impl Block {
    /// A wait for keys of a type.
    pub fn new(type_: Type, keys: BlockOn, deadline_ms: Option<u64>) -> Block {
        Block {
            deadline_ms,
            type_,
            keys,
            gone: None,
            kept: None,
        }
    }
}

/// Which keys a client waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockOn {
    /// All of them.
    All,
    /// The first; the second is where what is found there goes (BLMOVE).
    First,
}

/// Everything a handler works with.
pub struct Ctx<'a> {
    /// The request, positioned behind the name(s).
    pub args: Args<'a>,
    /// The keyspace: the shards of the command's keys are held.
    pub db: Access<'a>,
    /// The reply.
    pub out: &'a mut ReplyWriter,
    /// The connection that asks.
    pub client: &'a mut Client,
    /// The server.
    pub server: &'a Arc<Server>,
    /// The configuration.
    pub config: &'a Config,
    /// All commands.
    pub table: &'a CommandTable,
    /// The command that runs.
    pub command: &'a Registered,
    /// The client can wait: what would block it elsewhere (in a transaction, in a script) finds
    /// nothing there and replies as if the time were over.
    pub may_block: bool,
    /// A script runs the command.
    pub script: Option<&'a ScriptClock>,
}

/// The time of a script stands still: what TIME tells it, read when it is first asked, Unix time in
/// microseconds.
#[derive(Default, Debug)]
pub struct ScriptClock(OnceCell<u64>);

impl ScriptClock {
    /// The time of the script, which is `now_us` if it was not asked before.
    pub fn unix_us(&self, now_us: impl FnOnce() -> u64) -> u64 {
        *self.0.get_or_init(now_us)
    }
}

impl Ctx<'_> {
    /// The moment at which the command runs, Unix time in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.db.now_ms()
    }

    /// Most bytes of a value: `proto-max-bulk-len`. What a log repeats was allowed when it was written,
    /// perhaps under another limit.
    #[inline]
    fn value_bytes_max(&self) -> u64 {
        let max = self.config.proto_max_bulk_len;
        match self.db.is_replaying() {
            true => max.max(LOGGED_BYTES_MAX),
            false => max,
        }
    }

    /// The time from which relative times count, see [`Access::clock_ms`].
    pub fn clock_ms(&self) -> u64 {
        self.db.clock_ms()
    }
}

/// Most bytes of a value that a log may ask for, whatever the limit is by now: the default one. More
/// are not allocated because a damaged log says so.
const LOGGED_BYTES_MAX: u64 = 512 << 20;

/// Rows of all families.
pub const FAMILIES: &[&[Command]] = &[
    string::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    set::COMMANDS,
    sort::COMMANDS,
    zset::COMMANDS,
    stream::COMMANDS,
    stream::GROUP_COMMANDS,
    bitmap::COMMANDS,
    hyperloglog::COMMANDS,
    geo::COMMANDS,
    generic::COMMANDS,
    dump::COMMANDS,
    expire::COMMANDS,
    scan::COMMANDS,
    connection::COMMANDS,
    client::COMMANDS,
    acl::COMMANDS,
    server::COMMANDS,
    memory::COMMANDS,
    module::COMMANDS,
    persistence::COMMANDS,
    config::COMMANDS,
    info::COMMANDS,
    pubsub::COMMANDS,
    debug::COMMANDS,
    command::COMMANDS,
    lolwut::COMMANDS,
    transaction::COMMANDS,
    scripting::COMMANDS,
    function::COMMANDS,
    monitor::COMMANDS,
    hotkeys::COMMANDS,
    slowlog::COMMANDS,
    latency::COMMANDS,
];

/// The value of a key of this type to be read; an error if it has another one.
#[inline]
fn typed<'d>(
    db: &'d mut Access<'_>,
    key: &[u8],
    type_: Type,
) -> Result<Option<EntryRef<'d>>, CmdError> {
    match db.find(key, Lookup::Read) {
        Some(entry) if entry.type_() != type_ as u8 => Err(CmdError::WrongType),
        found => Ok(found),
    }
}

/// The value of a key of this type to be changed; an error if it has another one.
#[inline]
fn typed_mut<'d>(
    db: &'d mut Access<'_>,
    key: &[u8],
    type_: Type,
) -> Result<Option<KeyMut<'d>>, CmdError> {
    match db.find_mut(key) {
        Some(found) if found.entry().type_() != type_ as u8 => Err(CmdError::WrongType),
        found => Ok(found),
    }
}

/// The value of a key of this type to be changed, created with the given value if it is not there;
/// an error if it has another type.
#[inline]
fn typed_or_create<'d>(
    db: &'d mut Access<'_>,
    key: &[u8],
    type_: Type,
    enc: Encoding,
    value: NewValue<'_>,
) -> Result<KeyMut<'d>, CmdError> {
    let found = db.find_or_insert(key, type_, enc, value);
    match found.entry().type_() == type_ as u8 {
        true => Ok(found),
        false => Err(CmdError::WrongType),
    }
}

/// As [`typed_or_create`], of a value that is made only if it is wanted.
#[inline]
fn typed_or_create_with<'d, 'v>(
    db: &'d mut Access<'_>,
    key: &[u8],
    type_: Type,
    value: impl FnOnce() -> (Encoding, NewValue<'v>),
) -> Result<KeyMut<'d>, CmdError> {
    let found = db.find_or_insert_with(key, type_, value);
    match found.entry().type_() == type_ as u8 {
        true => Ok(found),
        false => Err(CmdError::WrongType),
    }
}

/// Answers a string, a field or a value; a large one is not copied.
#[inline]
fn reply(out: &mut ReplyWriter, value: ValueRef<'_>) {
    match value {
        ValueRef::Int(int) => out.bulk_int(int),
        ValueRef::Bytes(bytes) => out.bulk(bytes),
        ValueRef::Shared(shared) => out.bulk_shared(shared.clone()),
        // Neither is one, which its type has told before.
        ValueRef::Collection(_) => out.null(),
    }
}

/// Starts a row.
const fn command(name: &'static str, arity: i32, flags: Flags, run: Handler) -> Command {
    Command::new(name, arity, flags, run)
}

/// The handler of a container: never called, since `exec` looks its subcommands up.
fn container(ctx: &mut Ctx<'_>) -> CmdResult {
    Err(CmdError::WrongArity(ctx.command.full_name.clone().into()))
}

/// Whether an argument is this word, in any case, as C compares them.
#[inline]
fn is(arg: &[u8], word: &str) -> bool {
    c_str(arg).eq_ignore_ascii_case(word.as_bytes())
}

/// What C's `%s` shows of an argument in an error: nothing from a NUL on.
fn c_text(arg: &[u8]) -> &[u8] {
    arg.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The reply of a HELP subcommand: `lines` under a heading, framed as Redis does.
fn help(ctx: &mut Ctx<'_>, container: &str, lines: &[&str]) -> CmdResult {
    // As the client has called it: `rename-command` may have given it another name.
    let called = ctx.args.argv().get(0).unwrap_or(container.as_bytes());
    let called = String::from_utf8_lossy(called).to_ascii_uppercase();
    let heading = format!("{called} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    ctx.out.array(lines.len() + 3);
    ctx.out.simple(&heading);
    for line in lines {
        ctx.out.simple(line);
    }
    ctx.out.simple("HELP");
    ctx.out.simple("    Print this help.");
    Ok(Next::Done)
}
