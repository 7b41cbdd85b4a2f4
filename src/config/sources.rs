//! Where values come from: defaults, file, environment, command line; later wins.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::store::ConfigStore;

/// The configuration file of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// A file; `.toml` is read as TOML, anything else as redis.conf.
    Path(PathBuf),
    /// Standard input (`-`).
    Stdin,
}

/// Everything that a start reads its configuration from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The configuration file, if one is named.
    pub file: Option<FileSource>,
    /// `KIVI_<DIRECTIVE>` variables.
    pub env: Vec<(OsString, OsString)>,
    /// Directives of the command line, in order: name and arguments.
    pub args: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

/// Something the log should tell at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub String);

/// Why a configuration cannot be used. `Display` is the whole message for stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// File, environment or command line.
    pub source: String,
    /// Line number in `source`, from 1; 0: none.
    pub line: usize,
    /// The offending text.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)
    }
}

impl std::error::Error for ConfigError {}

/// Reads all sources. Changes nothing in the process: `dir`, limits and such are for boot to apply.
pub fn load(_sources: &Sources) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    Err(ConfigError {
        source: String::new(),
        line: 0,
        text: String::new(),
        reason: "not yet".to_owned(),
    })
}
