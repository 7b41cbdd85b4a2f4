//! The command line: what to do, and the directives given there.
//!
//! It is redis-server's: an optional configuration file, then `--directive` and its arguments up
//! to the next `--`; `-` reads a configuration from standard input. The argument right after a
//! directive's name is always its value, even when it starts with `--` (a password may), except
//! after `--save`, which then means no saving. A name and its value may share one argument
//! (`"--port 7000"`).
//! Kivi adds `--check-config` and `--ping`, which stand where a directive may stand, or before the
//! file, and `--check-rdb FILE`, `--check-aof FILE` and `--check-compat PATH`, which stand alone.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::grammar::split_args;
use super::sources::{ConfigError, ENV_PREFIX, Sources, load};
use super::typed::Config;

/// Where and how `--ping` asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Ping {
    /// Host to connect to.
    pub host: String,
    /// Port to connect to; 0: there is no TCP listener.
    pub port: u16,
    /// Unix socket to connect to when there is no TCP listener.
    pub unixsocket: Option<PathBuf>,
    /// Password to authenticate with; empty: none.
    pub password: Vec<u8>,
    /// There is no plain listener, but one for TLS: its port is `port`, and this says how to speak to it.
    pub tls: Option<Arc<Config>>,
}

/// What `--check-aof` is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckAof {
    /// A manifest, or a log in one file.
    pub file: PathBuf,
    /// Cut off what is wrong, after asking.
    pub fix: bool,
    /// Cut off what is younger than this (Unix seconds).
    pub truncate_to_timestamp: Option<i64>,
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Invocation {
    /// Start the server.
    Run(Sources),
    /// Load the configuration, report, exit.
    CheckConfig(Sources),
    /// Ask a running server for PONG; exit code 0 or 1.
    Ping(Ping),
    /// Check a snapshot, report; exit code 0 or 1.
    CheckRdb(PathBuf),
    /// Check a log, report, perhaps mend it; exit code 0 or 1.
    CheckAof(CheckAof),
    /// Read configuration, logs and snapshots of others, report what Kivi would not accept.
    CheckCompat(Vec<PathBuf>),
    /// Print this text, exit with 0.
    Help(String),
    /// Print this text, exit with 0.
    Version(String),
}

const HELP: &str = "\
Directives:
  --port 7000 --bind 127.0.0.1 ::1 --save \"\"
          Every directive of the configuration file, with its arguments up to the next `--`
  KIVI_PORT=7000
          Every directive as a variable of the environment, `-` written as `_`

  Later wins: built-in defaults, file, standard input, environment, command line.

Examples:
  kivi-server
  kivi-server /etc/kivi.conf
  kivi-server kivi.toml --port 7000 --loglevel verbose
  kivi-server - < kivi.conf
  kivi-server /etc/kivi.conf --check-config";

/// The fixed part of the command line, for `--help` and `--version`.
fn command() -> clap::Command {
    let flag = |name: &'static str, help: &'static str| {
        clap::Arg::new(name)
            .long(name)
            .help(help)
            .action(clap::ArgAction::SetTrue)
    };
    clap::Command::new("kivi-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .override_usage("kivi-server [CONFIG] [--DIRECTIVE VALUE...]...")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(
            clap::Arg::new("CONFIG")
                .help("Configuration file (redis.conf or .toml), or `-` for standard input"),
        )
        .arg(flag("check-config", "Checks the configuration and exits"))
        .arg(flag(
            "ping",
            "Asks the server of this configuration for PONG; exit code 0 or 1",
        ))
        .arg(
            clap::Arg::new("check-rdb")
                .long("check-rdb")
                .value_name("FILE")
                .help("Checks a snapshot and exits; exit code 0 or 1"),
        )
        .arg(
            clap::Arg::new("check-aof")
                .long("check-aof")
                .value_name("FILE")
                .help(
                    "Checks an append-only file or its manifest and exits; with --fix, or \
                     --truncate-to-timestamp and a number, mends it; exit code 0 or 1",
                ),
        )
        .arg(
            clap::Arg::new("check-compat")
                .long("check-compat")
                .value_name("PATH")
                .num_args(1..)
                .help(
                    "Reads configuration files, logs, snapshots, or folders with them, of Redis, \
                     Valkey or KeyDB, and lists what Kivi would not accept; exit code 0 or 1",
                ),
        )
        .arg(flag("help", "Prints this help").short('h'))
        .arg(flag("version", "Prints the version").short('v'))
        .after_help(HELP)
}

/// Reads the arguments (without the program's name) and the environment.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Invocation, ConfigError> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let ours = |name: &OsString| name.as_bytes().starts_with(ENV_PREFIX.as_bytes());
    let env = env.into_iter().filter(|(name, _)| ours(name)).collect();
    match args.first().and_then(|arg| arg.to_str()) {
        Some("-h" | "--help") => return Ok(Invocation::Help(command().render_help().to_string())),
        Some("-v" | "-V" | "--version") => {
            return Ok(Invocation::Version(command().render_version()));
        }
        Some("--check-rdb") => return check_rdb(&args),
        Some("--check-aof") => return check_aof(&args),
        Some("--check-compat") => return check_compat(&args),
        _ => {}
    }
    let mut sources = Sources {
        env,
        ..Sources::default()
    };
    // The file comes first, or right behind what is to be done with it.
    let is_mode = |arg: &&OsString| matches!(arg.as_bytes(), b"--check-config" | b"--ping");
    let first = args.iter().take_while(is_mode).count();
    if args
        .get(first)
        .is_some_and(|arg| !arg.as_bytes().starts_with(b"-"))
    {
        sources.file = Some(PathBuf::from(args.remove(first)));
    }
    let mut mode = Mode::Run;
    sources.stdin = parse_directives(&args, &mut sources.args, &mut mode)?;
    match mode {
        Mode::Run => Ok(Invocation::Run(sources)),
        Mode::CheckConfig => Ok(Invocation::CheckConfig(sources)),
        Mode::Ping => {
            let (store, _) = load(&sources)?;
            Ok(Invocation::Ping(Ping::of(store.config())))
        }
    }
}

/// `--check-rdb FILE`
fn check_rdb(args: &[OsString]) -> Result<Invocation, ConfigError> {
    match args {
        [_, file] => Ok(Invocation::CheckRdb(PathBuf::from(file))),
        _ => Err(wrong(&args[0], "expected `--check-rdb FILE`")),
    }
}

/// `--check-compat PATH...`
fn check_compat(args: &[OsString]) -> Result<Invocation, ConfigError> {
    match &args[1..] {
        [] => Err(wrong(&args[0], "expected `--check-compat PATH...`")),
        paths => Ok(Invocation::CheckCompat(
            paths.iter().map(PathBuf::from).collect(),
        )),
    }
}

/// `--check-aof FILE [--fix] [--truncate-to-timestamp T]`
fn check_aof(args: &[OsString]) -> Result<Invocation, ConfigError> {
    const USAGE: &str = "expected `--check-aof FILE [--fix | --truncate-to-timestamp T]`";
    let mut check = CheckAof::default();
    let mut file = None;
    let mut rest = args[1..].iter();
    while let Some(arg) = rest.next() {
        match arg.as_bytes() {
            b"--fix" => check.fix = true,
            b"--truncate-to-timestamp" => {
                let secs = rest.next().and_then(|secs| secs.to_str());
                let secs = secs.and_then(|secs| secs.parse().ok());
                let secs = secs.ok_or_else(|| wrong(arg, "Invalid timestamp, aborting..."))?;
                check.truncate_to_timestamp = Some(secs);
            }
            _ if file.is_none() => file = Some(PathBuf::from(arg)),
            _ => return Err(wrong(arg, USAGE)),
        }
    }
    check.file = file.ok_or_else(|| wrong(&args[0], USAGE))?;
    match check.fix && check.truncate_to_timestamp.is_some() {
        true => Err(wrong(&args[0], USAGE)),
        false => Ok(Invocation::CheckAof(check)),
    }
}

enum Mode {
    Run,
    CheckConfig,
    Ping,
}

/// Reads the directives; answers whether standard input is to be read.
fn parse_directives(
    args: &[OsString],
    directives: &mut Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    mode: &mut Mode,
) -> Result<bool, ConfigError> {
    let mut stdin = false;
    // Whether the next argument may be a name: not right after a name without a value.
    let mut name_may_follow = true;
    for (index, arg) in args.iter().enumerate() {
        let at_end = index + 1 == args.len();
        let text = arg.as_bytes();
        let name = text.strip_prefix(b"--").filter(|_| name_may_follow);
        match (name, text) {
            (None, b"-") if name_may_follow && (index == 0 || at_end) => stdin = true,
            (Some(b"check-config"), _) => *mode = Mode::CheckConfig,
            (Some(b"ping"), _) => *mode = Mode::Ping,
            (Some(name), _) => {
                let mut words = split_args(name)
                    .filter(|words| !words.is_empty())
                    .ok_or_else(|| wrong(arg, "expected the name of a directive after `--`"))?;
                let values = words.split_off(1);
                let name = words.remove(0);
                let next_is_name = args
                    .get(index + 1)
                    .is_some_and(|next| next.as_bytes().starts_with(b"--"));
                let alone = values.is_empty();
                let no_saving =
                    alone && name.eq_ignore_ascii_case(b"save") && (at_end || next_is_name);
                name_may_follow = !alone || no_saving;
                directives.push((name, if no_saving { vec![Vec::new()] } else { values }));
            }
            (None, value) => match directives.last_mut() {
                Some((_, values)) => {
                    values.push(value.to_vec());
                    name_may_follow = true;
                }
                None => return Err(wrong(arg, "expected `--` and the name of a directive")),
            },
        }
    }
    Ok(stdin)
}

fn wrong(arg: &OsStr, reason: &str) -> ConfigError {
    ConfigError {
        source: "command line".to_owned(),
        line: 0,
        text: arg.to_string_lossy().into_owned(),
        reason: reason.to_owned(),
    }
}

impl Ping {
    /// How to reach the server that `config` describes, from the same host.
    fn of(config: Arc<Config>) -> Self {
        let listens = config
            .bind
            .iter()
            .find(|bind| !bind.optional)
            .or(config.bind.first());
        let host = match listens.map(|bind| bind.address.as_str()) {
            None | Some("*" | "0.0.0.0") => "127.0.0.1",
            Some("::*" | "::") => "::1",
            Some(address) => address,
        };
        let by_tls = config.port == 0 && config.unixsocket.is_none() && config.tls_port > 0;
        let port = if by_tls { config.tls_port } else { config.port };
        Ping {
            host: host.to_owned(),
            port: if listens.is_some() { port } else { 0 },
            unixsocket: config.unixsocket.clone(),
            password: config.requirepass.clone(),
            tls: by_tls.then_some(config),
        }
    }
}
