//! Commands from a log: run again without the rules of admission, without being logged again, and
//! with nothing expiring but what the log says.
//!
//! Times in a log are absolute, so the moment at which it is read does not matter; those that are
//! relative (a log that somebody else has written) count from now.

use std::cell::OnceCell;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::client::{Client, Endpoint};
use crate::commands::table::Found;
use crate::commands::{CommandTable, Ctx, Next};
use crate::config::Config;
use crate::db::{Access, DbIndex};
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::server::Server;
use crate::spec::{Args, CmdError, Flags};

use super::{Exec, lock_keys};

/// Commands that need all shards.
const WHOLE: Flags = Flags::EXCLUSIVE.and(Flags::RUNS_SCRIPT);

/// See the module's text. One client, of one thread.
pub struct Replay {
    server: Arc<Server>,
    table: Arc<CommandTable>,
    config: Arc<Config>,
    client: Client,
    out: ReplyWriter,
    /// Runs scripts: logs of times in which those themselves were logged have some.
    exec: OnceCell<Exec>,
}

impl Replay {
    /// A client that nobody sees.
    pub fn new(server: Arc<Server>, table: Arc<CommandTable>) -> Replay {
        let endpoint = Endpoint::local("?:0");
        let shared = server.clients.connect(endpoint, -1, server.clock.unix_ms());
        server.clients.disconnect(shared.id);
        let mut client = Client::internal(shared);
        client.may_block = false;
        Replay {
            config: server.config(),
            server,
            table,
            client,
            out: ReplyWriter::new(),
            exec: OnceCell::new(),
        }
    }

    /// As [`Replay::run_argv`], of arguments that lie anywhere.
    #[cfg(test)]
    pub fn run(&mut self, db: DbIndex, request: &[&[u8]]) -> Result<(), String> {
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        for arg in request {
            let (start, len) = (bytes.len() as u32, arg.len() as u32);
            spans.push(crate::resp::parse::Span { start, len });
            bytes.extend_from_slice(arg);
        }
        self.run_argv(db, Argv::new(&bytes, &spans))
    }

    /// Brings into the cache what these commands look up.
    pub fn look_ahead(&self, db: DbIndex, requests: &[Argv<'_>]) {
        let keyspace = &self.server.keyspace;
        let mut hashes: SmallVec<[u64; 16]> = SmallVec::new();
        for argv in requests.iter().filter(|argv| !argv.is_empty()) {
            let Found::Command(command) = self.table.find_logged(*argv) else {
                continue;
            };
            let key = command.only_key(*argv);
            if let Some(key) = key {
                let hash = keyspace.hash(key);
                keyspace.prefetch(db, hash, false);
                hashes.push(hash);
            }
        }
        for hash in hashes {
            keyspace.prefetch(db, hash, true);
        }
    }

    /// Runs one command in a database. An error that the command itself answers is none: it was
    /// answered when the log was written, too.
    pub fn run_argv(&mut self, db: DbIndex, argv: Argv<'_>) -> Result<(), String> {
        self.invoke(db, argv)?;
        self.out.clear();
        Ok(())
    }

    /// The same, for who wants to know what the command answers if that is an error.
    pub fn try_argv(&mut self, db: DbIndex, argv: Argv<'_>) -> Result<Option<String>, String> {
        let refused = self.invoke(db, argv)?;
        let written = self.out.to_vec();
        self.out.clear();
        let error = match (refused, written.strip_prefix(b"-")) {
            (Some(error), _) => error.reply().to_vec(),
            (None, Some(error)) => error.to_vec(),
            (None, None) => return Ok(None),
        };
        Ok(Some(
            String::from_utf8_lossy(error.trim_ascii()).into_owned(),
        ))
    }

    /// Runs a command; the error of its handler is no reason to stop.
    fn invoke(&mut self, db: DbIndex, argv: Argv<'_>) -> Result<Option<CmdError>, String> {
        let Some(name) = argv.get(0) else {
            return Err("Empty command reading the append only file".into());
        };
        let name = name.escape_ascii();
        let Found::Command(command) = self.table.find_logged(argv) else {
            return Err(format!(
                "Unknown command '{name}' reading the append only file"
            ));
        };
        if !command.row.arity_fits(argv.len()) {
            return Err(format!(
                "Wrong number of arguments for '{name}' reading the append only file"
            ));
        }
        let keyspace = &self.server.keyspace;
        let needs_all = command.row.exclusive_if.is_some_and(|needs| needs(argv));
        let needs_all = needs_all || command.row.flags.any(WHOLE);
        let locks = match needs_all {
            true => keyspace.lock_all(),
            false => loop {
                // Nobody has the keyspace for himself while a log is repeated.
                if let Some((locks, _)) = lock_keys(keyspace, command, argv) {
                    break locks;
                }
            },
        };
        self.client.db = db;
        let now_ms = self.server.clock.unix_ms();
        let mut ctx = Ctx {
            args: Args::new(argv, 1 + command.is_subcommand() as usize),
            db: Access::new(keyspace, locks, db, now_ms, true).replaying(),
            out: &mut self.out,
            client: &mut self.client,
            server: &self.server,
            config: &self.config,
            table: &self.table,
            command,
            may_block: false,
            script: None,
        };
        let result = (command.row.run)(&mut ctx);
        let refused = result.as_ref().err().cloned();
        if let Ok(Next::Script(call)) = result {
            let uncounted = || Exec::uncounted(self.server.clone(), self.table.clone());
            let exec = self.exec.get_or_init(uncounted);
            exec.replay_script(command, (argv, call), &mut ctx.db, ctx.client);
        }
        ctx.db.tell();
        let Ctx { db, .. } = ctx;
        if let Some(rare) = db.into_effects().rare {
            rare.free(keyspace);
        }
        Ok(refused)
    }
}

#[cfg(test)]
mod tests;
