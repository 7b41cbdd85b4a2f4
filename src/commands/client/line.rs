//! The line that describes a client in CLIENT LIST and CLIENT INFO.
//!
//! Fields and their order are Valkey 9.1's. A figure of something that Kivi does without has the
//! value that a client has there who does not use it: `rbs` and `rbp` are 0, since replies are
//! written from a buffer of the worker. What a slow reader has not taken yet is `obl` (bytes), one
//! item (`oll`), and the memory that holds them (`omem`); what others have for it (its inbox) is one
//! more item and belongs to that memory.
//!
//! To add a field: its place in [`Writer::describe`]; a flag: its letter in [`flags`].

use std::io::Write as _;
use std::sync::atomic::Ordering::Relaxed;

use crate::acl::DEFAULT_USER;
use crate::client::subscriptions::Subject;
use crate::client::tracking::Mode;
use crate::client::{ClientId, Names, Shared, Signal};
use crate::commands::{CommandTable, Ctx};
use crate::resp::parse::Argv;

/// What all lines of one reply have in common.
pub(super) struct Writer<'t> {
    now_ms: u64,
    table: &'t CommandTable,
    /// The client whose command runs, and the bytes of its arguments.
    asking: ClientId,
    argv_bytes: usize,
}

impl<'t> Writer<'t> {
    /// For the reply to the command that runs.
    pub(super) fn new(ctx: &Ctx<'t>) -> Writer<'t> {
        let now_ms = ctx.clock_ms();
        Writer::of(ctx.table, now_ms, ctx.client.shared.id, ctx.args.argv())
    }

    /// For a request of the client `asking`.
    pub(super) fn of(
        table: &'t CommandTable,
        now_ms: u64,
        asking: ClientId,
        argv: Argv<'_>,
    ) -> Writer<'t> {
        Writer {
            now_ms,
            table,
            asking,
            argv_bytes: argv.iter().map(|arg| arg.len()).sum(),
        }
    }

    /// Appends a client's line.
    pub(super) fn describe(&self, client: &Shared, out: &mut Vec<u8>) {
        let names = client.names.lock().clone();
        self.describe_connection(client, &names, out);
        self.describe_buffers(client, out);
        let command = client.last_command.load(Relaxed).checked_sub(1);
        let command = command.map_or("NULL", |id| &self.table.by_id(id).full_name);
        write(out, format_args!(" cmd={command} user="));
        let (user, default) = (client.user(), DEFAULT_USER.as_bytes());
        out.extend_from_slice(user.as_ref().map_or(default, |user| &user.name));
        write(
            out,
            format_args!(
                " redir={} resp={} lib-name={} lib-ver={} tot-net-in={} tot-net-out={} tot-cmds={}\n",
                client.tracking.getredir(),
                client.resp.load(Relaxed),
                names.lib_name.escape_ascii(),
                names.lib_ver.escape_ascii(),
                client.net_in_bytes.load(Relaxed),
                client.net_out_bytes.load(Relaxed),
                client.commands.load(Relaxed),
            ),
        );
    }

    fn describe_connection(&self, client: &Shared, names: &Names, out: &mut Vec<u8>) {
        let seconds_since = |at_ms: u64| (self.now_ms / 1000).saturating_sub(at_ms / 1000);
        write(
            out,
            format_args!(
                "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} capa={} db={} sub={} psub={} ssub={}",
                client.id,
                client.endpoint.addr,
                client.endpoint.laddr,
                client.fd.load(Relaxed),
                names.name.escape_ascii(),
                seconds_since(client.created_at_ms),
                seconds_since(client.last_interaction_ms.load(Relaxed)),
                flags_of(client, client.id == self.asking),
                capabilities(client),
                client.db.load(Relaxed),
                client.subscription_count(Subject::Channel),
                client.subscription_count(Subject::Pattern),
                client.subscription_count(Subject::ShardChannel),
            ),
        );
    }

    fn describe_buffers(&self, client: &Shared, out: &mut Vec<u8>) {
        // The request that runs is in a buffer of the worker.
        let (argv_bytes, running_bytes) = match client.id == self.asking {
            true => (self.argv_bytes, self.argv_bytes),
            false => (client.blocked_argv_bytes(), 0),
        };
        let query_bytes = client.query_buffer_bytes.load(Relaxed);
        let query_free = client.query_buffer_capacity.load(Relaxed);
        let output_bytes = client.output_bytes.load(Relaxed);
        let inbox_bytes = client.inbox_bytes.load(Relaxed);
        let transaction = client.transaction.get();
        write(
            out,
            format_args!(
                " multi={} watch={} qbuf={query_bytes} qbuf-free={} argv-mem={argv_bytes} multi-mem={} rbs=0 rbp=0 \
                 obl={output_bytes} oll={} omem={} tot-mem={} events={}",
                transaction.map_or(-1, |seen| i64::from(seen.queued())),
                transaction.map_or(0, |seen| seen.watched()),
                query_free.saturating_sub(query_bytes),
                transaction.map_or(0, |seen| seen.queue_bytes()),
                (output_bytes > 0) as u8 + (inbox_bytes > 0) as u8,
                client.output_memory_bytes.load(Relaxed) + inbox_bytes,
                client.memory_bytes() + running_bytes,
                if output_bytes > 0 { "rw" } else { "r" },
            ),
        );
    }
}

/// Appends to a line: a Vec takes everything.
fn write(out: &mut Vec<u8>, args: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(args);
}

/// What a client has said that it can do (CLIENT CAPA), as letters.
pub(super) fn capabilities(client: &Shared) -> &'static str {
    match client.can_redirect.load(Relaxed) {
        true => "r",
        false => "",
    }
}

/// A client's flags as letters; `N` for none.
pub(super) fn flags(client: &Shared) -> String {
    flags_of(client, false)
}

/// [`flags`]; a client whose command runs does not wait, also if it has until now.
fn flags_of(client: &Shared, is_running: bool) -> String {
    let waits = client.paused.load(Relaxed) || client.is_blocked();
    let transaction = client.transaction.get();
    let mode = client.tracking.mode();
    let letters = [
        (client.is_monitor.load(Relaxed), 'O'),
        (client.is_subscriber(), 'P'),
        (transaction.is_some_and(|seen| seen.is_open()), 'x'),
        (waits && !is_running, 'b'),
        (mode.has(Mode::ON), 't'),
        (mode.has(Mode::BROKEN_REDIRECT), 'R'),
        (mode.has(Mode::BCAST), 'B'),
        (transaction.is_some_and(|seen| seen.is_stale()), 'd'),
        (client.has(Signal::Kill), 'A'),
        (client.endpoint.unix, 'U'),
        (client.no_evict.load(Relaxed), 'e'),
        (client.no_touch.load(Relaxed), 'T'),
        (client.is_import_source.load(Relaxed), 'I'),
    ];
    let set = letters.iter().filter(|(set, _)| *set);
    let letters: String = set.map(|(_, letter)| letter).collect();
    match letters.is_empty() {
        true => "N".into(),
        false => letters,
    }
}
