//! Admission: an ordered list of small checks that every command passes before it runs, in the
//! order in which Redis makes them, so that of several errors the same one is told.
//!
//! To add a rule: one function and its place in [`RULES`].

use std::sync::atomic::Ordering;

use crate::client::Client;
use crate::client::pause::PauseMode;
use crate::commands::{Registered, denied};
use crate::config::{Config, EnableCommand};
use crate::persist::state::Marks;
use crate::resp::parse::Argv;
use crate::server::Server;
use crate::spec::{CmdError, Flags};

use super::{Exec, Wait};

/// A command at the door.
pub(super) struct Admission<'a> {
    pub(super) exec: &'a Exec,
    pub(super) command: &'a Registered,
    pub(super) argv: Argv<'a>,
    /// What it is judged by, see [`flags_of`].
    pub(super) flags: Flags,
    pub(super) client: &'a Client,
    pub(super) config: &'a Config,
}

impl Admission<'_> {
    /// [`Admission::flags`], with what a script says of itself that is to run.
    #[cold]
    fn flags_now(&self) -> Flags {
        match self.flags.has(Flags::RUNS_SCRIPT) {
            true => self.exec.flags_by_script(self.command, self.argv),
            false => self.flags,
        }
    }
}

/// What the rules say.
#[derive(PartialEq, Debug)]
pub(super) enum Verdict {
    Run,
    Refuse(CmdError),
    Abort,
    Wait(Wait),
}

/// Bytes of a command's name, and of its arguments together, that an error repeats.
const PREVIEW_BYTES: usize = 128;

const RDB_FAILED: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently \
    unable to persist to disk. Commands that may modify the data set are disabled, because this \
    instance is configured to report errors during writes if RDB snapshotting fails \
    (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
    error.";

/// More is in use than `maxmemory` allows, and nothing can go.
pub(super) const OUT_OF_MEMORY: CmdError =
    CmdError::text("OOM command not allowed when used memory > 'maxmemory'.");

type Rule = fn(&Server, &Admission<'_>, u64) -> Verdict;

const RULES: &[Rule] = &[
    http,
    authenticated,
    arity,
    protected,
    no_multi,
    permitted,
    memory,
    dataset,
    subscribed,
    busy,
    monitor,
    paused,
    gate,
];

/// The flags by which a command is judged: its row's; of EXEC, those of what is queued, too.
#[inline]
pub(super) fn flags_of(command: &Registered, client: &Client) -> Flags {
    let flags = command.row.flags;
    match &client.transaction {
        Some(transaction) if flags.has(Flags::RUNS_QUEUE) => transaction.flags_of_exec(flags),
        _ => flags,
    }
}

/// Asks all rules in order.
#[inline]
pub(super) fn admit(server: &Server, admission: &Admission<'_>, now_ms: u64) -> Verdict {
    for rule in RULES {
        let verdict = rule(server, admission, now_ms);
        if verdict != Verdict::Run {
            return verdict;
        }
    }
    Verdict::Run
}

/// `POST` and `Host:` are what a browser sends that was tricked into talking to us.
#[inline]
fn http(server: &Server, admission: &Admission<'_>, now_ms: u64) -> Verdict {
    match admission.command.row.flags.has(Flags::HTTP) {
        true => is_http(server, admission, now_ms),
        false => Verdict::Run,
    }
}

#[cold]
fn is_http(server: &Server, admission: &Admission<'_>, now_ms: u64) -> Verdict {
    if !server.http_log.passes(now_ms) {
        return Verdict::Abort;
    }
    tracing::warn!(
        "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands to Kivi. \
         This is likely due to an attacker attempting to use Cross Protocol Scripting to compromise your Kivi \
         instance. Connection from {} aborted.",
        admission.client.shared.endpoint.addr
    );
    Verdict::Abort
}

#[inline]
fn arity(_: &Server, admission: &Admission<'_>, _: u64) -> Verdict {
    let command = admission.command;
    if command.row.arity_fits(admission.argv.len()) {
        return Verdict::Run;
    }
    Verdict::Refuse(CmdError::WrongArity(command.full_name.clone().into()))
}

/// DEBUG and MODULE, from where `enable-debug-command` and `enable-module-command` allow them.
#[inline]
fn protected(_: &Server, admission: &Admission<'_>, _: u64) -> Verdict {
    const PROTECTED: Flags = Flags::PROTECTED.and(Flags::MODULES);
    match admission.command.row.flags.any(PROTECTED) {
        true => may_be_used(admission),
        false => Verdict::Run,
    }
}

#[cold]
fn may_be_used(admission: &Admission<'_>) -> Verdict {
    let config = admission.config;
    let (allowed, name, directive) = match admission.command.row.flags.has(Flags::MODULES) {
        true => (
            config.enable_module_command,
            "MODULE",
            "enable-module-command",
        ),
        false => (config.enable_debug_command, "DEBUG", "enable-debug-command"),
    };
    match allowed {
        EnableCommand::Yes => Verdict::Run,
        EnableCommand::Local if admission.client.shared.endpoint.local => Verdict::Run,
        _ => Verdict::Refuse(CmdError::owned(format!(
            "ERR {name} command not allowed. If the {directive} option is set to \"local\", you can run it from \
             a local connection, otherwise you need to set this option in the configuration file, and then \
             restart the server."
        ))),
    }
}

#[inline]
fn no_multi(_: &Server, admission: &Admission<'_>, _: u64) -> Verdict {
    match admission.client.in_multi && admission.flags.has(Flags::NO_MULTI) {
        true => Verdict::Refuse(not_in_multi(admission.command)),
        false => Verdict::Run,
    }
}

/// The error for a command that cannot be part of a transaction.
#[cold]
pub(super) fn not_in_multi(command: &Registered) -> CmdError {
    let name = &command.full_name;
    CmdError::owned(format!(
        "ERR Command '{name}' not allowed inside a transaction"
    ))
}

/// What the client's user may do.
#[inline]
fn permitted(_: &Server, admission: &Admission<'_>, _: u64) -> Verdict {
    let Admission {
        command,
        argv,
        client,
        ..
    } = *admission;
    let request = denied::request(command, argv, client.db);
    match client.login.check(&request) {
        Ok(()) => Verdict::Run,
        Err(denial) => Verdict::Refuse(admission.exec.deny(command, argv, client, denial)),
    }
}

#[inline]
fn authenticated(server: &Server, admission: &Admission<'_>, _: u64) -> Verdict {
    let open = admission.command.row.flags.has(Flags::NO_AUTH);
    match !open && must_authenticate(admission.client, server) {
        true => Verdict::Refuse(CmdError::NoAuth),
        false => Verdict::Run,
    }
}

/// True for a client that has to say its password first. When there is none any more, nobody has
/// to.
#[inline]
pub(super) fn must_authenticate(client: &Client, server: &Server) -> bool {
    !client.authenticated && server.acl.must_log_in()
}

/// Makes room before a command runs, whichever it is; refuses those that may need more when there is none.
#[inline]
fn memory(server: &Server, admission: &Admission<'_>, now_ms: u64) -> Verdict {
    let is_out = admission
        .exec
        .memory
        .is_out(server, admission.flags, now_ms);
    match is_out && admission.flags_now().has(Flags::DENYOOM) {
        true => Verdict::Refuse(OUT_OF_MEMORY),
        false => Verdict::Run,
    }
}

/// Writes while the dataset cannot be kept, and most commands while it is not there yet.
#[inline]
fn dataset(server: &Server, admission: &Admission<'_>, _: u64) -> Verdict {
    let marks = server.persist.marks();
    if marks.is_empty() {
        return Verdict::Run;
    }
    out_of_the_ordinary(server, marks, admission)
}

#[cold]
fn out_of_the_ordinary(server: &Server, marks: Marks, admission: &Admission<'_>) -> Verdict {
    let Admission {
        command, config, ..
    } = admission;
    let flags = admission.flags_now();
    let concerns = flags.has(Flags::WRITE) || command.row.tells_misconf;
    if concerns && let Some(error) = unsaved(server, marks, config) {
        return Verdict::Refuse(error);
    }
    match marks.has(Marks::LOADING) && !flags.has(Flags::LOADING) {
        // The next rule comes before this one.
        true if must_stay_subscribed(admission) => Verdict::Run,
        true => Verdict::Refuse(CmdError::Loading),
        false => Verdict::Run,
    }
}

/// Why writes are refused while the dataset cannot be kept.
#[cold]
fn unsaved(server: &Server, marks: Marks, config: &Config) -> Option<CmdError> {
    let rdb_counts = config.stop_writes_on_bgsave_error && !config.save.is_empty();
    if marks.has(Marks::RDB_FAILED) && rdb_counts {
        return Some(CmdError::text(RDB_FAILED));
    }
    if marks.has(Marks::AOF_FAILED) && config.appendonly {
        let why = &server.persist.book().aof_error;
        let text = format!("MISCONF Errors writing to the AOF file: {why}");
        return Some(CmdError::owned(text));
    }
    None
}

/// Whether writes of a script are refused now, and why.
#[inline]
pub(super) fn writes_refused(server: &Server, config: &Config) -> Option<CmdError> {
    let marks = server.persist.marks();
    match marks.is_empty() {
        true => None,
        false => unsaved(server, marks, config),
    }
}

/// Keys are none of a replica's business, which a client that looks with MONITOR is to Redis.
#[inline]
fn monitor(_: &Server, admission: &Admission<'_>, _: u64) -> Verdict {
    const KEYSPACE: Flags = Flags::READONLY.and(Flags::WRITE).and(Flags::MAY_REPLICATE);
    match admission.client.is_monitor && admission.command.row.flags.any(KEYSPACE) {
        true => Verdict::Refuse(CmdError::text(
            "ERR Replica can't interact with the keyspace",
        )),
        false => Verdict::Run,
    }
}

/// A client that knows only RESP2 could not tell replies from messages.
#[inline]
fn subscribed(_: &Server, admission: &Admission<'_>, _: u64) -> Verdict {
    match must_stay_subscribed(admission) {
        true => Verdict::Refuse(not_while_subscribed(admission.command)),
        false => Verdict::Run,
    }
}

#[inline]
fn must_stay_subscribed(admission: &Admission<'_>) -> bool {
    let Admission {
        client, command, ..
    } = admission;
    client.is_subscriber()
        && client.shared.resp.load(Ordering::Relaxed) == 2
        && !command.row.flags.has(Flags::SUBSCRIBED)
}

#[cold]
fn not_while_subscribed(command: &Registered) -> CmdError {
    CmdError::owned(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are \
         allowed in this context",
        command.full_name
    ))
}

/// What a pause of writes holds back, and a script that only reads may not call: also what would be repeated
/// without being a write.
pub(super) const WRITES: Flags = Flags::WRITE.and(Flags::MAY_REPLICATE);

/// Whether a pause has begun since a command with these flags was let in. Asked when it holds its shards: who
/// begins a pause goes through all shards then, and knows that nobody writes any more. A script's own flags
/// are those of its call.
#[inline]
pub(super) fn is_late(server: &Server, flags: Flags, client: &Client, now_ms: u64) -> bool {
    flags.any(WRITES)
        && server.pause.is_on(now_ms)
        && !flags.has(Flags::RUNS_SCRIPT)
        && !client.is_monitor
}

/// Whether a pause holds back a command with these flags.
#[inline]
pub(super) fn is_held_back(server: &Server, flags: impl FnOnce() -> Flags, now_ms: u64) -> bool {
    match server.pause.mode(now_ms) {
        PauseMode::None => false,
        PauseMode::Write => flags().any(WRITES),
        PauseMode::All => true,
    }
}

#[inline]
fn paused(server: &Server, admission: &Admission<'_>, now_ms: u64) -> Verdict {
    // A replica is not held back.
    match is_held_back(server, || admission.flags_now(), now_ms) && !admission.client.is_monitor {
        true => Verdict::Wait(Wait::Pause),
        false => Verdict::Run,
    }
}

/// While a script runs for too long, hardly anything is served.
#[inline]
fn busy(server: &Server, admission: &Admission<'_>, _: u64) -> Verdict {
    match server.keyspace.gate.is_closed() {
        true => while_closed(server, admission),
        false => Verdict::Run,
    }
}

#[cold]
fn while_closed(server: &Server, admission: &Admission<'_>) -> Verdict {
    if admission.command.row.flags.has(Flags::ALLOW_BUSY) {
        return Verdict::Run;
    }
    match server.scripts.running.busy_error() {
        Some(error) => Verdict::Refuse(error),
        None => Verdict::Run,
    }
}

#[inline]
fn gate(server: &Server, admission: &Admission<'_>, _: u64) -> Verdict {
    let gate = &server.keyspace.gate;
    if !gate.is_closed() {
        return Verdict::Run;
    }
    match gate.is_busy() && admission.command.row.flags.has(Flags::ALLOW_BUSY) {
        true => Verdict::Run,
        false => Verdict::Wait(Wait::Gate),
    }
}

/// The error for a name that is in no row, with a preview of the arguments as Redis gives it.
pub(super) fn unknown(argv: Argv<'_>) -> CmdError {
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(preview(&argv[0], PREVIEW_BYTES));
    text.extend_from_slice(b"', with args beginning with: ");
    let start = text.len();
    for arg in argv.iter().skip(1) {
        let used = text.len() - start;
        if used >= PREVIEW_BYTES {
            break;
        }
        text.push(b'\'');
        text.extend_from_slice(preview(arg, PREVIEW_BYTES - used));
        text.extend_from_slice(b"' ");
    }
    CmdError::owned(text)
}

/// The error for a subcommand that a container does not have, which is called as the client has called it.
pub(super) fn unknown_subcommand(argv: Argv<'_>) -> CmdError {
    let mut text = b"ERR unknown subcommand '".to_vec();
    text.extend_from_slice(preview(&argv[1], PREVIEW_BYTES));
    text.extend_from_slice(b"'. Try ");
    text.extend_from_slice(&argv[0].to_ascii_uppercase());
    text.extend_from_slice(b" HELP.");
    CmdError::owned(text)
}

/// What a C format `%.*s` shows of an argument: at most `most` bytes, nothing from a NUL on.
fn preview(arg: &[u8], most: usize) -> &[u8] {
    let shown = &arg[..arg.len().min(most)];
    shown.split(|&byte| byte == 0).next().unwrap_or_default()
}
