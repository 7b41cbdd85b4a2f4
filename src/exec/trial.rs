//! Running what others have logged, to see what of it would be refused: a server that nobody talks to
//! and that writes nothing, with as much data in it as the log says.

use std::io::Read;
use std::sync::Arc;

use crate::commands::CommandTable;
use crate::commands::table::Found;
use crate::config::Config;
use crate::db::DbIndex;
use crate::persist::rdb;
use crate::persist::rdb::decode::LoadSummary;
use crate::resp::parse::Argv;
use crate::server::Server;

use super::load::{load_library, load_options};
use super::replay::Replay;

/// See the module's text.
pub struct Trial {
    server: Arc<Server>,
    config: Arc<Config>,
    table: Arc<CommandTable>,
    replay: Replay,
}

/// Why a request is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// There is no such command.
    UnknownCommand,
    /// The command has no such subcommand.
    UnknownSubcommand,
    /// It answers this error.
    Error(String),
}

impl Trial {
    /// On an empty server.
    pub fn new(server: Arc<Server>, table: Arc<CommandTable>) -> Trial {
        Trial {
            replay: Replay::new(server.clone(), table.clone()),
            config: server.config(),
            server,
            table,
        }
    }

    /// Runs a request in a database.
    ///
    /// # Errors
    /// When it is refused. (What a command in a log answers is no error where the log comes from.)
    pub fn run(&mut self, db: DbIndex, argv: Argv<'_>) -> Result<(), Refusal> {
        let command = match self.table.find(argv) {
            Found::Command(command) => command,
            Found::Unknown => return Err(Refusal::UnknownCommand),
            Found::UnknownSubcommand => return Err(Refusal::UnknownSubcommand),
        };
        if !command.row.arity_fits(argv.len()) {
            return Err(Refusal::Error("wrong number of arguments".to_owned()));
        }
        if db.0 >= self.server.keyspace.databases() {
            return Err(Refusal::Error("ERR DB index is out of range".to_owned()));
        }
        match self.replay.try_argv(db, argv) {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(Refusal::Error(error)),
        }
    }

    /// Loads a snapshot that a log begins with.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub fn load_rdb(&mut self, input: Box<dyn Read + Send>) -> Result<LoadSummary, String> {
        let options = load_options(&self.server, &self.config, false);
        let progress = &self.server.persist.loading;
        let (server, config) = (&self.server, &self.config);
        let mut on_library = |source: &[u8]| load_library(server, config, source, false);
        let keyspace = &self.server.keyspace;
        let loaded = rdb::load_into(keyspace, input, &options, progress, &mut on_library);
        loaded.map_err(|error| error.to_string())
    }
}
