//! `ConfigStore`: the values of all directives; CONFIG GET and CONFIG SET.
//!
//! The store holds one checked value per row of the table, and the typed image of those that work.
//! Invariant: `config` is always the image of `values`; `set_with` replaces both or neither.
//! The server keeps the store behind a lock; readers take `config()`, an `Arc` that never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::grammar::is_glob;
use super::kind::{Context, Kind, Value};
use super::table::{Directive, Mutability, Name, Row, Status, directives, find_name, names};
use super::typed::{Config, EnableCommand, Field};
use crate::util::glob::glob_match;

/// What a CONFIG SET changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Fields whose value is another than before (or may be, behind the same name), each once, in the order of [`Field::ALL`].
    pub fields: Vec<Field>,
}

/// Puts changed fields in force (before, after), or says which one cannot be, and why.
type Apply<'a> = dyn FnMut(&[Field], &Config, &Config) -> Result<(), (Field, String)> + 'a;

/// Said of a name that CONFIG SET does not know.
const UNKNOWN: &str = "ERR Unknown option or number of arguments for CONFIG SET";

/// The values of all directives. The server keeps it behind a lock and hands out `config()`.
#[derive(Debug, Clone)]
pub struct ConfigStore {
    pub(super) values: Vec<Value>,
    config: Arc<Config>,
    /// Absolute path of the configuration file.
    pub(super) file: Option<PathBuf>,
    /// Directory in which the process was started: relative paths of the file start here.
    pub(super) cwd: PathBuf,
    cores: usize,
}

impl Default for ConfigStore {
    /// The built-in defaults, without a file.
    fn default() -> Self {
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        ConfigStore::new(default_values(&cwd), None, cwd)
    }
}

impl Default for Config {
    fn default() -> Self {
        Config::clone(&ConfigStore::default().config)
    }
}

/// The value of every row before any source is read.
pub(super) fn default_values(cwd: &Path) -> Vec<Value> {
    directives()
        .iter()
        .map(|directive| default_value(directive, cwd))
        .collect()
}

fn default_value(directive: &Directive, cwd: &Path) -> Value {
    match directive.kind {
        Kind::RenameCommand | Kind::Lines => Value::Lines(Vec::new()),
        Kind::Ignored | Kind::Include => Value::Text(Vec::new()),
        Kind::ReplicaOf => Value::Words(Vec::new()),
        kind => {
            let old = Value::Words(Vec::new());
            let context = Context {
                name: directive.name,
                old: &old,
                first: true,
                cwd,
            };
            let parsed = kind.parse(&[directive.default.as_bytes().to_vec()], context);
            // Only `dir` can fail: the directory of the start may be gone.
            parsed.unwrap_or_else(|_| Value::Text(directive.default.as_bytes().to_vec()))
        }
    }
}

impl ConfigStore {
    pub(super) fn new(values: Vec<Value>, file: Option<PathBuf>, cwd: PathBuf) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let config = Arc::new(typed(&values, cores));
        ConfigStore {
            values,
            config,
            file,
            cwd,
            cores,
        }
    }

    /// The typed fields as they are now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    /// Absolute path of the configuration file the server was started with.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// CONFIG GET: names and values that any of `patterns` (globs, any case) matches, sorted by
    /// name, each once. A name asked for without a pattern is answered as it was spelled.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
        let mut found: BTreeMap<&'static str, (String, Vec<u8>)> = BTreeMap::new();
        let mut add = |name: &Name, spelled: String| {
            if name.row.directive().mutability != Mutability::FileOnly {
                found
                    .entry(name.name)
                    .or_insert_with(|| (spelled, self.shown(name.row)));
            }
        };
        for pattern in patterns {
            if is_glob(pattern) {
                let shown = |name: &&Name| {
                    !name.row.directive().hidden && glob_match(pattern, name.name.as_bytes(), true)
                };
                names()
                    .iter()
                    .filter(shown)
                    .for_each(|name| add(name, name.name.to_owned()));
            } else if let Some(name) = find_name(pattern) {
                add(&name, String::from_utf8_lossy(pattern).into_owned());
            }
        }
        let mut found: Vec<_> = found.into_values().collect();
        found.sort();
        found
    }

    /// A value as CONFIG GET shows it.
    pub(super) fn shown(&self, row: Row) -> Vec<u8> {
        match row.directive().kind {
            Kind::Threads => self.config.io_threads.to_string().into_bytes(),
            kind => kind.render(&self.values[row.0]),
        }
    }

    /// CONFIG SET without a hook: see [`ConfigStore::set_with`].
    pub fn set(&mut self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<Changes, String> {
        self.set_with(pairs, local, &mut |_, _, _| Ok(()))
    }

    /// CONFIG SET: checks every pair, then applies all of them or none.
    ///
    /// `local`: the client is on loopback or the unix socket (protected directives may ask).
    /// `apply` is called once, with the changed fields in the order of [`Field::ALL`] and the
    /// configurations before and after; when it refuses, with the field and the reason, it has left
    /// all as it was, and nothing is changed here.
    /// The error is the whole reply text, from `ERR` on.
    pub fn set_with(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        local: bool,
        apply: &mut Apply<'_>,
    ) -> Result<Changes, String> {
        let names = self.settable(pairs, local)?;
        let mut values = self.values.clone();
        for (name, (_, value)) in names.iter().zip(pairs) {
            let value = self.checked(name, &values[name.row.0], value)?;
            values[name.row.0] = value;
        }
        let (old, new) = (
            Arc::clone(&self.config),
            Arc::new(typed(&values, self.cores)),
        );
        let is_reapplied = |field: &Field| {
            let mut named = names.iter().map(|name| name.row.directive());
            named.any(|named| named.reapplied && named.name == field.directive())
        };
        let changed = |field: &Field| new.differs(&old, *field) || is_reapplied(field);
        let fields: Vec<Field> = Field::ALL.iter().copied().filter(changed).collect();
        apply(&fields, &old, &new).map_err(|(field, reason)| failed(field.directive(), &reason))?;
        self.values = values;
        self.config = new;
        Ok(Changes { fields })
    }

    /// The rows that the pairs name, if every one of them may be set now.
    fn settable(&self, pairs: &[(&[u8], &[u8])], local: bool) -> Result<Vec<Name>, String> {
        let protected_allowed = match self.config.enable_protected_configs {
            EnableCommand::No => false,
            EnableCommand::Yes => true,
            EnableCommand::Local => local,
        };
        let mut seen = BTreeSet::new();
        let mut found = Vec::with_capacity(pairs.len());
        for (spelled, _) in pairs {
            let shown = spelled.split(|&byte| byte == 0).next();
            let spelled_text = String::from_utf8_lossy(shown.unwrap_or_default());
            let name = find_name(spelled)
                .filter(|name| name.row.directive().mutability != Mutability::FileOnly)
                .ok_or_else(|| format!("{UNKNOWN} - '{spelled_text}'"))?;
            match name.row.directive().mutability {
                Mutability::Immutable => {
                    return Err(failed(name.name, "can't set immutable config"));
                }
                Mutability::Protected if !protected_allowed => {
                    return Err(failed(name.name, "can't set protected config"));
                }
                _ => {}
            }
            if !seen.insert(name.name) {
                return Err(failed(&spelled_text, "duplicate parameter"));
            }
            found.push(name);
        }
        Ok(found)
    }

    /// The value of one pair, if it is well-formed and Kivi can honour it.
    fn checked(&self, name: &Name, old: &Value, value: &[u8]) -> Result<Value, String> {
        let directive = name.row.directive();
        let context = Context {
            name: directive.name,
            old,
            first: true,
            cwd: &self.config.dir,
        };
        let new = directive
            .kind
            .parse(&[value.to_vec()], context)
            .map_err(|reason| failed(name.name, &reason))?;
        if directive.status == Status::Later && new != *old {
            return Err(failed(
                name.name,
                "this directive is not supported by Kivi yet",
            ));
        }
        Ok(new)
    }
}

fn failed(name: &str, reason: &str) -> String {
    format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
}

/// The typed image of `values` on a machine with `cores` cores.
fn typed(values: &[Value], cores: usize) -> Config {
    static NEUTRAL: Value = Value::Bool(false);
    let value_of = |name: &str| {
        let row = find_name(name.as_bytes()).map(|name| name.row);
        row.and_then(|row| values.get(row.0)).unwrap_or(&NEUTRAL)
    };
    let mut config = Config::from_values(value_of);
    if config.io_threads == 0 {
        config.io_threads = cores;
    }
    config
}
