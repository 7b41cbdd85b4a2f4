//! `ConfigStore`: the values of all directives; CONFIG GET, SET and REWRITE.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::typed::{Config, Field};

/// What a CONFIG SET changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Fields whose value is another than before, each once, in table order.
    pub fields: Vec<Field>,
}

impl Changes {
    /// Whether `field` changed.
    pub fn has(&self, field: Field) -> bool {
        self.fields.contains(&field)
    }
}

/// Why CONFIG REWRITE failed.
#[derive(Debug)]
pub enum RewriteError {
    /// The server was started without a configuration file.
    NoFile,
    /// The file could not be read or written.
    Io(std::io::Error),
}

/// The values of all directives. The server keeps it behind a lock and hands out `config()`.
#[derive(Debug)]
pub struct ConfigStore {
    config: Arc<Config>,
    file: Option<PathBuf>,
}

impl ConfigStore {
    /// The typed fields as they are now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    /// Absolute path of the configuration file the server was started with.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// CONFIG GET: names and values that any of `patterns` (globs, any case) matches, sorted by
    /// name, each once.
    pub fn get(&self, _patterns: &[&[u8]]) -> Vec<(&'static str, Vec<u8>)> {
        Vec::new()
    }

    /// CONFIG SET without a hook: see [`ConfigStore::set_with`].
    pub fn set(&mut self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<Changes, String> {
        self.set_with(pairs, local, &mut |_, _, _| Ok(()))
    }

    /// CONFIG SET: checks every pair, then applies all of them or none.
    ///
    /// `local`: the client is on loopback or the unix socket (protected directives may ask).
    /// `apply` is called once per changed field with the configurations before and after; when it
    /// refuses, it is called in reverse for the fields already applied, and nothing is changed.
    /// The error is the whole reply text, from `ERR` on.
    pub fn set_with(
        &mut self,
        _pairs: &[(&[u8], &[u8])],
        _local: bool,
        _apply: &mut dyn FnMut(Field, &Config, &Config) -> Result<(), String>,
    ) -> Result<Changes, String> {
        Ok(Changes::default())
    }

    /// CONFIG REWRITE: writes the present values into the file the server was started with.
    pub fn rewrite(&self) -> Result<(), RewriteError> {
        Err(RewriteError::NoFile)
    }
}
