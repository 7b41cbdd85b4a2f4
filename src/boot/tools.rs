//! What the program does besides being a server: checks, each of which answers and ends, and asking
//! another one whether it lives.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::commands::{CommandTable, load_users_at_start};
use crate::config::{self, CheckAof, Ping, Sources};
use crate::persist::aof;
use crate::persist::rdb::check;
use crate::server::Server;
use crate::util::clock::Clock;

use super::{compat, tls};

/// Loads the configuration and reports: the text for standard output.
pub fn check_config(sources: &Sources) -> anyhow::Result<String> {
    let (store, warnings) = config::load(sources)?;
    let config = store.config();
    let table = CommandTable::new(&config.rename_command).map_err(anyhow::Error::msg)?;
    std::env::set_current_dir(&config.dir)
        .with_context(|| format!("Can't chdir to '{}'", config.dir.display()))?;
    tls::at_start(&config)?;
    let server = Arc::new(Server::new(store, Clock::real()));
    load_users_at_start(&server, &table).map_err(anyhow::Error::msg)?;
    let mut report = String::new();
    for warning in warnings {
        report.push_str(&format!("warning: {}\n", warning.0));
    }
    report.push_str("Configuration OK\n");
    Ok(report)
}

/// Reads what another server has left and writes what Kivi would not accept to standard output; fails
/// if there is anything.
pub fn check_compat(paths: &[PathBuf]) -> anyhow::Result<()> {
    match compat::check(paths, &mut io::stdout().lock())? {
        0 => Ok(()),
        count => bail!("not accepted: {count}"),
    }
}

/// Checks a snapshot and writes what it finds to standard output; fails if it is not valid.
pub fn check_rdb(file: &Path) -> anyhow::Result<()> {
    let now_ms = Clock::real().unix_ms();
    match check::check_file(file, now_ms, &mut io::stdout().lock())? {
        true => Ok(()),
        false => bail!("{} is not a valid RDB file", file.display()),
    }
}

/// Checks a log and tells what it finds; an error when it is not valid.
pub fn check_aof(check: CheckAof) -> anyhow::Result<()> {
    let check = aof::Check {
        file: check.file,
        fix: check.fix,
        truncate_to_timestamp: check.truncate_to_timestamp,
        now_ms: Clock::real().unix_ms(),
    };
    match aof::check(&check, &mut io::stdin().lock(), &mut io::stdout().lock())? {
        true => Ok(()),
        false => bail!("{} is not a valid AOF", check.file.display()),
    }
}

/// Asks a running server for PONG; fails when it does not answer so within a few seconds.
pub fn ping(ping: &Ping) -> anyhow::Result<()> {
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(5));
    match &ping.unixsocket {
        Some(path) => {
            let stream = std::os::unix::net::UnixStream::connect(path)?;
            stream.set_read_timeout(PATIENCE)?;
            ask(stream, &ping.password)
        }
        None => {
            let stream = std::net::TcpStream::connect((ping.host.as_str(), ping.port))?;
            stream.set_read_timeout(PATIENCE)?;
            match &ping.tls {
                Some(config) => ask(tls::connect(stream, config)?, &ping.password),
                None => ask(stream, &ping.password),
            }
        }
    }
}

fn ask(mut stream: impl Read + Write, password: &[u8]) -> anyhow::Result<()> {
    let mut request = Vec::new();
    let mut expected = 1;
    if !password.is_empty() {
        request
            .extend_from_slice(format!("*2\r\n$4\r\nAUTH\r\n${}\r\n", password.len()).as_bytes());
        request.extend_from_slice(password);
        request.extend_from_slice(b"\r\n");
        expected = 2;
    }
    request.extend_from_slice(b"*1\r\n$4\r\nPING\r\n");
    stream.write_all(&request)?;
    let mut answer = Vec::new();
    let mut chunk = [0; 512];
    while answer.iter().filter(|&&byte| byte == b'\n').count() < expected {
        match stream.read(&mut chunk)? {
            0 => break,
            read => answer.extend_from_slice(&chunk[..read]),
        }
    }
    let text = String::from_utf8_lossy(&answer);
    // A server that wants a password is alive.
    match text.lines().last() {
        Some("+PONG") => Ok(()),
        Some(line) if line.starts_with("-NOAUTH") || line.starts_with("-LOADING") => Ok(()),
        _ => bail!("no PONG but: {}", text.trim_end()),
    }
}
