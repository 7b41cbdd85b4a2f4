//! The servers that are compared: which programs they are, how they are started alike, and the
//! running instance that ends with its owner.
//!
//! Every instance gets an empty folder of its own, listens on 127.0.0.1 only and persists nothing
//! unless a measurement asks for it. All folders lie below the rival's root, so that whatever is
//! written goes to the same file system. An instance may be ended and started again on its folder.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::Bench;
use crate::client::{Client, Reply};
use crate::options::{Mode, Options, Real};
use crate::process::{self, Process};

/// The longest a server may take until it answers PING.
const START_LIMIT: Duration = Duration::from_secs(10);
/// The longest a server may take to load its data, or to end.
const LOAD_LIMIT: Duration = Duration::from_secs(600);

/// A program that takes part in the comparison.
pub(crate) struct Contender {
    /// Name and version, the head of its column.
    pub(crate) name: String,
    /// Program and leading arguments, behind `chroot` if it lives in the oracle folder.
    words: Vec<OsString>,
    /// The folder that it takes for `/`.
    root: PathBuf,
    /// Kivi itself: other arguments, and worker threads to be limited.
    is_kivi: bool,
    extra_args: Vec<String>,
}

impl Contender {
    /// The contenders of a run: Kivi or its stand-in, the rival, perhaps others.
    pub(crate) fn choose(options: &Options) -> Result<Vec<Self>> {
        let has_oracle = options.oracle.join("usr/bin/valkey-server").exists();
        let rival = options.against.unwrap_or(if has_oracle {
            Real::Valkey
        } else {
            Real::Debian
        });
        let mut contenders = vec![
            match options.stand_in {
                None => Self::kivi(options, &options.kivi)?,
                Some(real) => Self::real(options, real)?,
            },
            Self::real(options, rival)?,
        ];
        if options.with_redis {
            contenders.push(Self::real(options, Real::Redis)?);
        }
        if let Some(path) = &options.before {
            let before = Self::kivi(options, path)?;
            let name = format!("{} before", before.name);
            contenders.push(Self { name, ..before });
        }
        Ok(contenders)
    }

    fn kivi(options: &Options, binary: &Path) -> Result<Self> {
        // Absolute, as the server runs elsewhere, but with links as they are: a program may go by
        // the name that it was started with.
        let path = std::path::absolute(binary)?;
        ensure!(
            path.is_file(),
            "no binary at {} (--kivi and --before give others)",
            path.display()
        );
        let words = vec![path.into_os_string()];
        Ok(Self {
            name: format!("Kivi {}", version(&words)?),
            words,
            root: "/".into(),
            is_kivi: true,
            extra_args: options.kivi_args.clone(),
        })
    }

    fn real(options: &Options, real: Real) -> Result<Self> {
        let chroot = |program: &str| -> Result<Vec<OsString>> {
            let path = options.oracle.join("usr/bin").join(program);
            ensure!(path.exists(), "{} is missing", path.display());
            Ok(vec![
                "chroot".into(),
                options.oracle.clone().into_os_string(),
                program.into(),
            ])
        };
        let (name, words, root) = match real {
            Real::Valkey => ("Valkey", chroot("valkey-server")?, options.oracle.clone()),
            Real::Redis => ("Redis", chroot("redis-server")?, options.oracle.clone()),
            Real::Debian => ("Redis", vec!["redis-server".into()], "/".into()),
        };
        let name = format!("{name} {}", version(&words)?);
        Ok(Self {
            name,
            words,
            root,
            is_kivi: false,
            extra_args: Vec::new(),
        })
    }

    /// Whether it is Kivi itself, which has directives of its own.
    pub(crate) fn is_kivi(&self) -> bool {
        self.is_kivi
    }

    /// A folder for files that instances of a contender read.
    pub(crate) fn folder(bench: &Bench, index: usize) -> Result<Folder> {
        Folder::new(shared_root(bench), &bench.contenders[index].root)
    }

    /// The arguments of an instance.
    fn args(&self, port: u16, dir: &str, mode: Mode) -> Vec<OsString> {
        let port = port.to_string();
        let mut args = vec!["--port", &port, "--bind", "127.0.0.1", "--dir", dir];
        args.extend(["--protected-mode", "no", "--daemonize", "no"]);
        args.extend(["--save", "", "--appendonly", "no"]);
        // Valkey's default is one thread that executes: the same for Kivi.
        if self.is_kivi && mode != Mode::Default {
            args.extend(["--io-threads", "1"]);
        }
        args.extend(self.extra_args.iter().map(String::as_str));
        args.into_iter().map(OsString::from).collect()
    }

    /// Starts an instance and waits until it answers.
    ///
    /// `index` keeps the ports of contenders apart when they are fixed; `extra` are more arguments,
    /// given to every contender alike.
    pub(crate) fn start(bench: &Bench, index: usize, mode: Mode, extra: &[&str]) -> Result<Server> {
        let cpu = (mode == Mode::Pinned).then(|| bench.options.cpus.0.to_string());
        Self::start_on(bench, index, mode, extra, cpu.as_deref())
    }

    /// The same on the CPUs of a list as of `taskset -c`.
    pub(crate) fn start_on(
        bench: &Bench,
        index: usize,
        mode: Mode,
        extra: &[&str],
        cpus: Option<&str>,
    ) -> Result<Server> {
        let contender = &bench.contenders[index];
        let port = match bench.options.port_base {
            Some(base) => base + u16::try_from(index)?,
            None => free_port()?,
        };
        let folder = Folder::new(shared_root(bench), &contender.root)?;
        let mut words = contender.words.clone();
        words.extend(contender.args(port, &folder.inside, mode));
        words.extend(extra.iter().map(OsString::from));
        let mut server = Server {
            name: contender.name.clone(),
            port,
            process: spawn(&words, cpus, &folder)?,
            words,
            cpus: cpus.map(String::from),
            folder,
        };
        server
            .await_ping()
            .with_context(|| server.does_not_serve())?;
        Ok(server)
    }
}

/// A port that nobody listens on at this moment.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// The root below which every contender can have its folder: the rival's if it is a `chroot`.
fn shared_root(bench: &Bench) -> &Path {
    let roots = bench.contenders.iter().map(|c| c.root.as_path());
    roots
        .max_by_key(|root| root.components().count())
        .unwrap_or(Path::new("/"))
}

fn spawn(words: &[OsString], cpus: Option<&str>, folder: &Folder) -> Result<Process> {
    let log = File::create(folder.path.join("log"))?;
    let errors = log.try_clone()?;
    Process::start(words, cpus, |command| {
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
    })
}

/// A running instance; it is killed and its folder removed when this is dropped.
pub(crate) struct Server {
    name: String,
    pub(crate) port: u16,
    // Declared before the folder: the process ends before its folder goes.
    process: Process,
    /// How it was started.
    words: Vec<OsString>,
    cpus: Option<String>,
    folder: Folder,
}

impl Server {
    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Result<Client> {
        Client::connect(self.port)
            .with_context(|| format!("connecting to the server in {}", self.folder.path.display()))
    }

    /// Bytes resident now.
    pub(crate) fn rss_bytes(&self) -> Result<u64> {
        process::rss_bytes(self.pid())
    }

    /// Its working folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder.path
    }

    /// Ends it in order, what it holds not being saved, as far as its log does not do that.
    pub(crate) fn shut_down(&mut self) -> Result<()> {
        let mut client = self.connect()?;
        // The connection ends without a reply.
        let refused = client.call(&[b"SHUTDOWN", b"NOSAVE"]);
        let status = self.process.wait(LOAD_LIMIT).with_context(|| {
            let reply = format!("{refused:?}");
            format!("SHUTDOWN NOSAVE got {reply}")
        })?;
        ensure!(status.success(), "SHUTDOWN NOSAVE: {status}");
        Ok(())
    }

    /// Starts it again, with its arguments and on its folder as they are; the time from the start
    /// to the moment when it has loaded its data.
    pub(crate) fn start_again(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        self.process = spawn(&self.words, self.cpus.as_deref(), &self.folder)?;
        self.await_loaded().with_context(|| self.does_not_serve())?;
        Ok(begin.elapsed())
    }

    fn await_loaded(&mut self) -> Result<()> {
        const PAUSE: Duration = Duration::from_millis(5);
        let deadline = Instant::now() + LOAD_LIMIT;
        let mut client = loop {
            self.ensure_alive()?;
            match Client::connect(self.port) {
                Ok(client) => break client,
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(PAUSE),
            }
        };
        while client.info("persistence", "loading")? != 0 {
            ensure!(Instant::now() < deadline, "it loads for {LOAD_LIMIT:?}");
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// What to say when a start fails.
    fn does_not_serve(&self) -> String {
        let log = fs::read_to_string(self.folder.path.join("log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(12).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        let tail = tail.join("\n");
        format!("{} does not serve; its log ends with:\n{tail}", self.name)
    }

    fn ensure_alive(&mut self) -> Result<()> {
        match self.process.ended()? {
            Some(status) => bail!("it ended at once: {status}"),
            None => Ok(()),
        }
    }

    /// Removes every key and waits until the server has done with it.
    pub(crate) fn empty(&self) -> Result<()> {
        let mut client = self.connect()?;
        client.call(&[b"FLUSHALL", b"SYNC"])?;
        client.expect_keys(0)?;
        self.quiet()
    }

    /// Waits until the server has used less than 2 % of a CPU for a moment (whatever it does in the
    /// background has ended), at most two seconds.
    pub(crate) fn quiet(&self) -> Result<()> {
        const MOMENT: Duration = Duration::from_millis(50);
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut before = process::cpu_ns(self.pid())?;
        while Instant::now() < deadline {
            thread::sleep(MOMENT);
            let now = process::cpu_ns(self.pid())?;
            if u128::from(now.saturating_sub(before)) * 50 < MOMENT.as_nanos() {
                break;
            }
            before = now;
        }
        Ok(())
    }

    fn await_ping(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            self.ensure_alive()?;
            let pong = Client::connect(self.port).and_then(|mut client| client.call(&[b"PING"]));
            match pong {
                Ok(reply) => {
                    ensure!(reply == Reply::Text(b"PONG".to_vec()), "PING got {reply:?}");
                    return Ok(());
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// A temporary folder, removed when this is dropped.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// The same folder as named by the process.
    inside: String,
}

impl Folder {
    /// A folder below `base` for a process that takes `root` for `/`.
    pub(crate) fn new(base: &Path, root: &Path) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kivi-bench-{}-{count}", std::process::id());
        let path = std::path::absolute(base)?.join("tmp").join(name);
        let seen = path.strip_prefix(std::path::absolute(root)?)?;
        let inside = format!("/{}", seen.display());
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self { path, inside })
    }
}

impl Folder {
    /// A file in it, as named by the process.
    pub(crate) fn inside(&self, file: &str) -> String {
        format!("{}/{file}", self.inside)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // At worst a small log stays behind in /tmp.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The version that a server's `--version` tells: the word behind `v=`, else the last one.
fn version(words: &[OsString]) -> Result<String> {
    let output = Command::new(&words[0])
        .args(&words[1..])
        .arg("--version")
        .output()
        .with_context(|| format!("starting {words:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next().with_context(|| {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        format!(
            "{words:?} --version says nothing ({}) {error}",
            output.status
        )
    })?;
    let mut parts = line.split_whitespace();
    let tagged = parts.clone().find_map(|word| word.strip_prefix("v="));
    Ok(tagged
        .or_else(|| parts.next_back())
        .unwrap_or("of unknown version")
        .to_string())
}
