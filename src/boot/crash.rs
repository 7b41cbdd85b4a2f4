//! What the report of a crash (`sys::crash`) says of the server.
//!
//! It is written by a thread that nobody waits for long, so it may ask like anybody: INFO comes last,
//! since it takes locks that the crashed thread may hold.

use std::fmt::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::client::Client;
use crate::commands::CommandTable;
use crate::config::Config;
use crate::exec::session::Session;
use crate::server::Server;
use crate::spec::Secrets;
use crate::sys::crash::{self, CommandName, Settings, Setup};
use crate::sys::{alloc, process};

/// Prepares the reports of this process.
pub(super) fn install(server: &Arc<Server>, table: &Arc<CommandTable>, pid_file: Option<PathBuf>) {
    let config = server.config();
    let names = table.full_names();
    let name = |(id, name): (u16, &&str)| CommandName {
        name: (*name).to_owned(),
        has_secrets: !matches!(table.by_id(id).row.secrets, Secrets::None),
    };
    let (of_server, of_table) = (Arc::downgrade(server), Arc::downgrade(table));
    let setup = Setup {
        version: format!("Kivi {}", env!("CARGO_PKG_VERSION")),
        log: config.logfile.clone(),
        commands: (0..).zip(&names).map(name).collect(),
        facts: Box::new(move |client, out| {
            let _ = facts(&of_server, &of_table, client, out);
        }),
        remove: pid_file,
    };
    if let Err(error) = crash::install(setup) {
        tracing::warn!("A crash will leave no report: {error}");
    }
    configure(&config);
}

/// Puts the directives about reports into force.
pub(super) fn configure(config: &Config) {
    crash::configure(Settings {
        enabled: config.crash_log_enabled,
        shows_arguments: !config.hide_user_data_from_log,
        exits: config.use_exit_on_panic,
        context: config.debug_context.clone(),
    });
}

fn facts(
    server: &Weak<Server>,
    table: &Weak<CommandTable>,
    client: Option<u64>,
    out: &mut dyn Write,
) -> fmt::Result {
    let (Some(server), Some(table)) = (server.upgrade(), table.upgrade()) else {
        return Ok(());
    };
    out.write_str("\n------ SERVER ------\n")?;
    writeln!(out, "version: {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "executable: {}", process::executable_path().display())?;
    writeln!(out, "os: {}", process::os_name())?;
    let uptime_ms = server.clock.unix_ms().saturating_sub(server.started_at_ms);
    writeln!(out, "uptime_in_seconds: {}", uptime_ms / 1000)?;
    writeln!(out, "used_memory: {}", alloc::allocated_bytes())?;
    writeln!(out, "used_memory_rss: {}", process::rss_bytes())?;
    if let Some(id) = client {
        out.write_str("\n------ CURRENT CLIENT ------\n")?;
        current_client(&server, id, out)?;
    }
    out.write_str("\n------ INFO OUTPUT ------\n")?;
    info(server, table, out)
}

fn current_client(server: &Server, id: u64, out: &mut dyn Write) -> fmt::Result {
    let Some(shared) = server.clients.get(id) else {
        return writeln!(out, "id={id}: gone");
    };
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    writeln!(
        out,
        "id={id} addr={} laddr={} db={} resp={} tot-cmds={} tot-net-in={} tot-net-out={}",
        shared.endpoint.addr,
        shared.endpoint.laddr,
        shared.db.load(Ordering::Relaxed),
        shared.resp.load(Ordering::Relaxed),
        load(&shared.commands),
        load(&shared.net_in_bytes),
        load(&shared.net_out_bytes),
    )
}

/// What INFO says, whatever its name is here and whoever may use it.
fn info(server: Arc<Server>, table: Arc<CommandTable>, out: &mut dyn Write) -> fmt::Result {
    let mut session = Session::new(server, table);
    let client = Client::internal(session.client().shared.clone());
    *session.client_mut() = client;
    let (reply, _) = session.call(&[b"INFO", b"everything"]);
    // A bulk string: its length stands in the first line.
    let text = String::from_utf8_lossy(&reply).replace('\r', "");
    let text = text.split_once('\n').map_or("", |(_, text)| text);
    let result = out.write_str(text);
    // Leaving takes locks, too.
    std::mem::forget(session);
    result
}
