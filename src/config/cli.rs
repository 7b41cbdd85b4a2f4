//! The command line: what to do, and the directives given there.

use std::ffi::OsString;
use std::path::PathBuf;

use super::sources::{ConfigError, Sources};

/// What `--help` shows.
pub const USAGE: &str = "";

/// Where and how `--ping` asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    /// Host to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// Unix socket to connect to instead.
    pub unixsocket: Option<PathBuf>,
    /// Password to authenticate with; empty: none.
    pub password: Vec<u8>,
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Start the server.
    Run(Sources),
    /// Load the configuration, report, exit.
    CheckConfig(Sources),
    /// Ask a running server for PONG; exit code 0 or 1.
    Ping(Ping),
    /// Print this text.
    Help(String),
    /// Print this text.
    Version(String),
}

/// Reads the arguments (without the program's name) and the environment.
pub fn parse(
    _args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Invocation, ConfigError> {
    Ok(Invocation::Run(Sources {
        env: env.into_iter().collect(),
        ..Sources::default()
    }))
}
