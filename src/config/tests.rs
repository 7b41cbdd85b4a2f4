//! Tests of the subsystem as a whole, by theme, and what they have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::cli::{CheckAof, Invocation, parse};
use super::kind::{Check, Kind, Value};
use super::sources::{ConfigError, Sources, Warning, load_from};
use super::store::{ConfigStore, default_values};
use super::table::{Directive, Mutability, Status, directives, find, find_name, later, names};
use super::typed::{Config, EnableCommand, Field, LogFormat, LogLevel};

mod arguments;
mod files;
mod rewrite;
mod set;
mod table;

/// Loads `conf` as a file, then `args` as the command line.
fn load_conf(
    conf: impl AsRef<[u8]>,
    args: &[&str],
) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kivi.conf");
    fs::write(&file, conf).unwrap();
    load_file(&file, args)
}

fn load_file(file: &Path, args: &[&str]) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    let args = std::iter::once(file.as_os_str().to_owned()).chain(args.iter().map(OsString::from));
    load_parsed(args.collect(), &[], b"")
}

fn load_parsed(
    args: Vec<OsString>,
    env: &[(&str, &str)],
    stdin: &[u8],
) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    let env = env
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    match parse(args, env)? {
        Invocation::Run(sources) => load_from(&sources, PathBuf::from("/"), &mut &stdin[..]),
        other => panic!("{other:?}"),
    }
}

fn load_args(args: &[&str]) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    load_parsed(args.iter().map(OsString::from).collect(), &[], b"")
}

fn load_env(env: &[(&str, &str)]) -> Result<(ConfigStore, Vec<Warning>), ConfigError> {
    load_parsed(Vec::new(), env, b"")
}

fn get(store: &ConfigStore, name: &str) -> String {
    let found = store.get(&[name.as_bytes()]);
    assert_eq!(found.len(), 1, "{name}");
    String::from_utf8_lossy(&found[0].1).into_owned()
}

fn set(store: &mut ConfigStore, name: &str, value: &str) -> Result<Vec<Field>, String> {
    store
        .set(&[(name.as_bytes(), value.as_bytes())], false)
        .map(|changes| changes.fields)
}

fn refused(name: &str, reason: &str) -> String {
    format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
}
