//! Real servers for the tests: Kivi's own binary, Debian's redis-server, Valkey out of the oracle folder.
//!
//! Every server runs on loopback, on a port of its own, in a temporary folder, and is killed by its
//! process id when the handle drops. Nothing here sleeps for luck: `eventually` polls a condition
//! until a deadline and names the condition when it fails.
//!
//! Environment:
//! - `KIVI_TEST_BINARY`: the server under test instead of the one cargo built beside the tests;
//! - `KIVI_ORACLE`: folder with a Debian root that has Valkey 9.1 and Redis 8, made as CONTRIBUTING.md says
//!   (default `/opt/oracle` if it is there);
//! - `KIVI_TEST_NO_PEERS`: tests that need redis-server, redis-cli or the virtual environment return
//!   early instead of failing; without it their absence is a failure, so that CI cannot pass by absence.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::Client;

/// How long a condition may take before a test gives up on it: far above what is ever needed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Polls `probe` until it yields a value; panics with `what` after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, probe)
}

/// [`eventually`] with a deadline of its own.
pub(crate) fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            start.elapsed() < patience,
            "did not happen within {patience:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// How a server is started; `Launch { args, ..Launch::KIVI }.start()`.
#[derive(Clone, Copy)]
pub(crate) struct Launch<'a> {
    /// `kivi`, `redis`, or out of the oracle folder `valkey` or `redis8`.
    pub(crate) name: &'static str,
    /// Environment variables.
    pub(crate) env: &'a [(&'a str, &'a str)],
    /// What comes before the harness's own arguments: a configuration file, or `-`.
    pub(crate) config: &'a [&'a str],
    /// What comes after them.
    pub(crate) args: &'a [&'a str],
    /// Standard input.
    pub(crate) stdin: &'a [u8],
    /// A limit of open files, soft and hard.
    pub(crate) open_files: Option<u32>,
    /// A program and its arguments that start the server's program in their place.
    pub(crate) through: &'a [&'a str],
}

impl Launch<'_> {
    /// Kivi with nothing special.
    pub(crate) const KIVI: Launch<'static> = Launch {
        name: "kivi",
        env: &[],
        config: &[],
        args: &[],
        stdin: b"",
        open_files: None,
        through: &[],
    };

    /// Starts it on a free port and waits until it answers.
    pub(crate) fn start(self) -> Server {
        for _ in 0..20 {
            if let Some(server) = self.try_start() {
                return server;
            }
        }
        panic!("{}: no free port found in 20 attempts", self.name);
    }

    /// `None` when somebody took the port in between.
    pub(crate) fn try_start(&self) -> Option<Server> {
        let in_oracle = matches!(self.name, "valkey" | "redis8");
        let dir = match oracle().filter(|_| in_oracle) {
            Some(root) => TempDir::new_in(root.join("tmp")),
            None => TempDir::new(),
        };
        let dir = dir.expect("temporary folder");
        let port = free_port();
        let mut command = self.command();
        // As the server sees it, which may have another root.
        let folder = match dir.path().file_name() {
            Some(name) if in_oracle => Path::new("/tmp").join(name),
            _ => dir.path().to_owned(),
        };
        command.args(self.config);
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ]);
        command.arg("--dir").arg(folder).args(self.args);
        command
            .env("LC_ALL", "C")
            .envs(self.env.iter().copied())
            .current_dir(dir.path());
        let out = File::create(dir.path().join("out.log")).expect("log file");
        command
            .stdin(Stdio::piped())
            .stdout(out.try_clone().expect("log file"))
            .stderr(out);
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("starting {}: {e}", self.name));
        // A server that does not read its standard input may close it before the bytes are written.
        let _ = child.stdin.take().expect("stdin").write_all(self.stdin);
        let mut server = Server {
            name: self.name,
            port,
            dir,
            child: Some(child),
        };
        eventually("the server to answer PING", || server.ready()).then_some(server)
    }

    /// The program with what comes before its arguments.
    pub(crate) fn command(&self) -> Command {
        let mut words: Vec<OsString> = self.through.iter().map(OsString::from).collect();
        if let Some(limit) = self.open_files {
            let script = format!("ulimit -n {limit}; exec \"$@\"");
            words.extend(["sh", "-c", &script, "sh"].map(OsString::from));
        }
        match self.name {
            "kivi" => words.push(kivi_binary().into()),
            "redis" => words.push("redis-server".into()),
            _ => {
                let folder = oracle().expect("oracle folder");
                let program = match self.name {
                    "redis8" => "redis-server",
                    _ => "valkey-server",
                };
                words.extend(["chroot".into(), folder.into(), program.into()]);
            }
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }
}

/// A running server: Kivi or a peer.
pub(crate) struct Server {
    /// What it is, for messages.
    pub(crate) name: &'static str,
    /// The TCP port on 127.0.0.1.
    pub(crate) port: u16,
    /// Its working folder, removed at the end.
    pub(crate) dir: TempDir,
    child: Option<Child>,
}

impl Server {
    /// Starts Kivi on a free port with `args` after the harness's own.
    pub(crate) fn kivi(args: &[&str]) -> Server {
        Launch {
            args,
            ..Launch::KIVI
        }
        .start()
    }

    /// Starts Debian's redis-server; `None` only when `KIVI_TEST_NO_PEERS` allows its absence.
    pub(crate) fn redis(args: &[&str]) -> Option<Server> {
        needs("redis-server").then(|| {
            Launch {
                name: "redis",
                args,
                ..Launch::KIVI
            }
            .start()
        })
    }

    /// Starts Valkey out of the oracle folder; `None` when there is no such folder.
    pub(crate) fn valkey(args: &[&str]) -> Option<Server> {
        oracle().map(|_| {
            Launch {
                name: "valkey",
                args,
                ..Launch::KIVI
            }
            .start()
        })
    }

    /// Starts Redis 8 out of the oracle folder; `None` when there is no such folder.
    pub(crate) fn redis_8(args: &[&str]) -> Option<Server> {
        oracle().map(|_| {
            Launch {
                name: "redis8",
                args,
                ..Launch::KIVI
            }
            .start()
        })
    }

    /// A connection with the harness's timeout.
    pub(crate) fn connect(&self) -> Client {
        self.try_connect().unwrap_or_else(|error| {
            panic!(
                "connecting to {} on port {}: {error}\n{}",
                self.name,
                self.port,
                self.log()
            )
        })
    }

    /// A connection, or the error of connecting.
    pub(crate) fn try_connect(&self) -> std::io::Result<Client> {
        Client::tcp(("127.0.0.1", self.port))
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// How much the server has written to its standard output and error; for [`Server::log_since`].
    pub(crate) fn log_length(&self) -> usize {
        self.whole_log().len()
    }

    /// What it wrote there behind the first `start` bytes: a text that was there before does not count.
    pub(crate) fn log_since(&self, start: usize) -> String {
        String::from_utf8_lossy(&self.whole_log()[start..]).into_owned()
    }

    fn whole_log(&self) -> Vec<u8> {
        std::fs::read(self.dir.path().join("out.log")).expect("the log")
    }

    /// The last lines the server wrote to its standard output and error; of a report that it ended with, the
    /// first ones as well, which name the cause.
    pub(crate) fn log(&self) -> String {
        tail(&self.dir.path().join("out.log"))
    }

    /// Panics with the server's log unless it still runs and answers.
    pub(crate) fn assert_alive(&mut self) {
        if let Some(status) = self
            .child
            .as_mut()
            .and_then(|c| c.try_wait().expect("wait"))
        {
            panic!("{} ended with {status}\n{}", self.name, self.log());
        }
        let reply = self.connect().raw(&["PING"]);
        assert!(!reply.is_empty(), "{} answers PING", self.name);
    }

    /// Sends `signal` ("TERM", "INT", ...) and waits for the end.
    pub(crate) fn signal_and_wait(mut self, signal: &str) -> (ExitStatus, String) {
        send_signal(self.pid(), signal);
        let mut child = self.child.take().expect("the server runs");
        let status = wait_for_exit(&mut child, "the server to end after a signal");
        (status, self.log())
    }

    /// Waits until the server ends by itself.
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("the server runs");
        wait_for_exit(child, "the server to end by itself")
    }

    /// Resident set size in bytes.
    pub(crate) fn rss_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("/proc status of the server");
        let line = status
            .lines()
            .find(|l| l.starts_with("VmRSS:"))
            .expect("VmRSS");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .expect("value")
            .parse()
            .expect("number");
        kib * 1024
    }

    /// `Some(true)` when it answers, `Some(false)` when its port was taken.
    fn ready(&mut self) -> Option<bool> {
        if let Some(status) = self.child.as_mut()?.try_wait().expect("wait") {
            let log = self.log();
            assert!(
                log.contains("in use"),
                "{} ended with {status} at start\n{log}",
                self.name
            );
            return Some(false);
        }
        let mut client = self.try_connect().ok()?;
        client.try_raw(&["PING"]).ok().map(|_| true)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if std::thread::panicking() {
                eprintln!(
                    "--- log of {} (port {}):\n{}",
                    self.name,
                    self.port,
                    self.log()
                );
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A process that a test starts by hand, and that does not outlive it, whatever becomes of the test.
pub(crate) struct Reaped(pub(crate) Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends the threads of a test whatever becomes of it: a scope waits for them when its closure panics, too.
pub(crate) struct StopAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The binary under test.
pub(crate) fn kivi_binary() -> PathBuf {
    let built_beside = env!("CARGO_BIN_EXE_kivi-server");
    std::env::var_os("KIVI_TEST_BINARY").map_or_else(|| built_beside.into(), PathBuf::from)
}

/// Whether the binary under test is a stand-in (a real Redis or Valkey) that lacks Kivi's own options.
pub(crate) fn is_stand_in() -> bool {
    let name = kivi_binary()
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    name.contains("redis") || name.contains("valkey")
}

/// Takes away what would configure Kivi from the tests' own environment.
fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(n, _)| n.as_encoded_bytes().starts_with(b"KIVI_"))
    {
        command.env_remove(name);
    }
}

/// Runs Kivi until it ends by itself (help, errors of configuration) and gives back its output.
pub(crate) fn kivi_to_end(dir: &Path, args: &[&str], env: &[(&str, &str)], stdin: &[u8]) -> Output {
    let mut command = Command::new(kivi_binary());
    clean_environment(&mut command);
    let mut child = command
        .args(args)
        .envs(env.iter().copied())
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starting the server");
    // A server that does not read its standard input may close it before the bytes are written.
    let _ = child.stdin.take().expect("stdin").write_all(stdin);
    finish(child, "the server to end by itself")
}

/// Waits for `child` with a deadline (killing it when it is missed) and collects its output.
pub(crate) fn finish(mut child: Child, what: &str) -> Output {
    let mut streams: Vec<_> = Vec::new();
    let pipes: [Option<Box<dyn std::io::Read + Send>>; 2] = [
        child
            .stdout
            .take()
            .map(|s| Box::new(s) as Box<dyn std::io::Read + Send>),
        child
            .stderr
            .take()
            .map(|s| Box::new(s) as Box<dyn std::io::Read + Send>),
    ];
    for pipe in pipes {
        streams.push(std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            bytes
        }));
    }
    let status = wait_for_exit(&mut child, what);
    let stderr = streams.pop().expect("two streams").join().expect("reader");
    let stdout = streams.pop().expect("two streams").join().expect("reader");
    Output {
        status,
        stdout,
        stderr,
    }
}

/// Runs a program of the peers that takes a server's port as redis-cli does.
pub(crate) fn run_on(server: &Server, program: &str, args: &[&str], stdin: &[u8]) -> Output {
    let port = server.port.to_string();
    let args = [&["-p", &port], args].concat();
    run_tool(Path::new(program), &args, &[], stdin)
}

/// Runs a program of the peers (redis-cli, python, ...) with `stdin` and gives back its output.
pub(crate) fn run_tool(
    program: &Path,
    args: &[&str],
    env: &[(&str, &str)],
    stdin: &[u8],
) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("starting {}: {error}", program.display()));
    let _ = child.stdin.take().expect("stdin").write_all(stdin);
    finish(child, &format!("{} {args:?} to end", program.display()))
}

fn wait_for_exit(child: &mut Child, what: &str) -> ExitStatus {
    let start = Instant::now();
    eventually_within(PATIENCE * 2, what, || {
        let status = child.try_wait().expect("wait");
        if status.is_none() && start.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("killed after {PATIENCE:?} of waiting for {what}");
        }
        status
    })
}

/// `kill -SIGNAL PID`.
pub(crate) fn send_signal(pid: u32, signal: &str) {
    let status = Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status();
    assert!(status.expect("kill").success(), "signal {signal} to {pid}");
}

/// Whether `program` is on the path. Its absence fails the test unless `KIVI_TEST_NO_PEERS` is set.
pub(crate) fn needs(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    found || absent(program)
}

/// The Python of the virtual environment that `tests/setup.sh` makes, with redis and hiredis.
pub(crate) fn python() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let python = std::env::var_os("KIVI_TEST_PYTHON").map_or(default, PathBuf::from);
    (python.exists() || absent(".venv (Python with redis and hiredis)")).then_some(python)
}

fn absent(what: &str) -> bool {
    let allowed = std::env::var_os("KIVI_TEST_NO_PEERS").is_some();
    assert!(
        allowed,
        "{what} is missing: run tests/setup.sh, or set KIVI_TEST_NO_PEERS to skip"
    );
    eprintln!("skipped: {what} is missing");
    false
}

/// The folder with real servers, if there is one. A folder that the environment names must be good.
pub(crate) fn oracle() -> Option<PathBuf> {
    let named = std::env::var_os("KIVI_ORACLE").map(PathBuf::from);
    let must = named.is_some();
    let folder = named.unwrap_or_else(|| PathBuf::from("/opt/oracle"));
    let there = folder.join("usr/bin/valkey-server").exists();
    assert!(
        there || !must,
        "KIVI_ORACLE={} holds no valkey-server",
        folder.display()
    );
    there.then_some(folder)
}

/// A number from the environment, for sizes of tests.
pub(crate) fn env_number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// Seeds of the episodes that make up `KIVI_TEST_STEPS` commands (or so many); with `KIVI_TEST_SEED` of that one only.
pub(crate) fn episodes(steps_default: u64, steps_per_episode: u64) -> std::ops::Range<u64> {
    let steps = env_number("KIVI_TEST_STEPS", steps_default);
    match env_number("KIVI_TEST_SEED", 0) {
        0 => 1..steps.div_ceil(steps_per_episode) + 1,
        seed => seed..seed + 1,
    }
}

/// A port nobody listens on. Below the range of outgoing connections, so that none of them takes it
/// before the server does; a lost race is caught by trying again.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = (std::process::id() % 11_000) as u16;
        let port = 20_000 + (start + step) % 11_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An address of this machine that is not loopback. Connecting a UDP socket sends nothing.
pub(crate) fn address_of_this_machine() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// Whether a report of a crash begins in this line of a log: Kivi's own, or a sanitizer's.
pub(crate) fn begins_report(line: &str) -> bool {
    let beginnings = ["BUG REPORT START", "panicked", "Sanitizer"];
    beginnings.iter().any(|words| line.contains(words))
}

/// The last 60 lines of a file, or why it cannot be read. Where there is a report of a crash, also the lines in
/// which it begins.
pub(crate) fn tail(path: &Path) -> String {
    const LAST: usize = 60;
    const BEFORE: usize = 10;
    const REPORT: usize = 150;
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return format!("({}: {error})", path.display()),
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.len().saturating_sub(LAST);
    let Some(report) = lines.iter().position(|line| begins_report(line)) else {
        return lines[last..].join("\n");
    };
    let first = report.saturating_sub(BEFORE).min(last);
    let end = (report + REPORT).min(lines.len());
    if end >= last {
        return lines[first..].join("\n");
    }
    let left_out = format!("({} lines more)", last - end);
    [&lines[first..end], &[&left_out], &lines[last..]]
        .concat()
        .join("\n")
}
