//! A data folder that outlives the servers that use it: start, kill, start again.
//!
//! The folder of a server in the oracle lies in the oracle's own /tmp, as that server sees no other;
//! `path` names a file for the test, whatever the server calls it. A server is killed (kill -9) by
//! dropping it.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::Client;
use crate::harness::{
    Launch, Server, eventually_within, finish, free_port, needs, oracle, run_tool,
};

/// How long loading, saving or rewriting may take: these are work, and the machine may have other.
const LOAD_PATIENCE: Duration = Duration::from_secs(180);

/// A log that is synced before each reply and never rewritten by itself.
pub(crate) const ALWAYS: &[&str] = &[
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--auto-aof-rewrite-percentage",
    "0",
];

/// The same, synced every second.
pub(crate) const EVERY_SECOND: &[&str] = &[
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--auto-aof-rewrite-percentage",
    "0",
];

/// A folder and the kind of server that uses it: `kivi`, `redis`, `redis8` or `valkey`.
pub(crate) struct Store {
    pub(crate) kind: &'static str,
    folder: TempDir,
    /// What the server calls the folder.
    inside: String,
}

impl Store {
    /// An empty folder for servers of that kind; `None` where there is none of that kind.
    pub(crate) fn of(kind: &'static str) -> Option<Store> {
        let folder = match kind {
            "valkey" | "redis8" => TempDir::new_in(oracle()?.join("tmp")),
            "redis" if !needs("redis-server") => return None,
            _ => TempDir::new(),
        };
        let folder = folder.expect("temporary folder");
        let inside = match kind {
            "valkey" | "redis8" => format!("/tmp/{}", name_of(folder.path())),
            _ => folder.path().display().to_string(),
        };
        Some(Store {
            kind,
            folder,
            inside,
        })
    }

    /// An empty folder for Kivi.
    pub(crate) fn kivi() -> Store {
        Store::of("kivi").expect("Kivi is there")
    }

    /// A file in the folder, or the folder itself (`""`).
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as the server calls it.
    pub(crate) fn inside(&self, name: &str) -> String {
        format!("{}/{name}", self.inside)
    }

    /// Starts a server on the folder and waits until it has loaded what is there.
    pub(crate) fn start(&self, args: &[&str]) -> Server {
        self.start_through(&[], args)
    }

    /// The same; `through` is a program that starts the server's program in its place.
    pub(crate) fn start_through(&self, through: &[&str], args: &[&str]) -> Server {
        let server = self.start_loading(through, args);
        await_loaded(&server);
        server
    }

    /// Starts a server on the folder and waits until it answers anything at all.
    pub(crate) fn start_loading(&self, through: &[&str], args: &[&str]) -> Server {
        let dir = ["--dir", &self.inside];
        let args = [&dir[..], args].concat();
        let launch = Launch {
            name: self.kind,
            args: &args,
            through,
            ..Launch::KIVI
        };
        launch.start()
    }

    /// Starts a server that must end by itself instead of serving; what it says.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let launch = Launch {
            name: self.kind,
            ..Launch::KIVI
        };
        let mut command = launch.command();
        let port = free_port().to_string();
        let child = command
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", &self.inside])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starting the server");
        let output = finish(child, "the server to refuse what it finds");
        let said = said(&output);
        let code = output.status.code();
        assert_eq!(code, Some(1), "{} ended with {output:?}", self.kind);
        said
    }

    /// What the checking program (`check-rdb`, `check-aof`) says against a file in the folder: that
    /// of Debian's Redis, or Valkey's of the oracle for what it wrote and for what is too new for
    /// Redis 7.0. Nothing without it. (Valkey 9.1's check of logs takes a base of its own for a log of
    /// commands: not asked.)
    pub(crate) fn complaint(&self, program: &str, file: &Path) -> Option<String> {
        let output = if self.kind == "valkey" {
            let oracle = oracle().filter(|_| program != "check-aof")?;
            check_in_oracle(&oracle, program, file)
        } else if let Some(magic) = newer_than_redis_7(program, file) {
            let oracle = oracle().filter(|_| program != "check-aof" || !magic.is_valkeys)?;
            let folder = TempDir::new_in(oracle.join("tmp")).expect("temporary folder");
            let from = file.parent().expect("a folder");
            for entry in std::fs::read_dir(from).expect("the folder") {
                let path = entry.expect("an entry").path();
                if path.is_file() {
                    std::fs::copy(&path, folder.path().join(name_of(&path))).expect("a copy");
                }
            }
            check_in_oracle(&oracle, program, &folder.path().join(name_of(file)))
        } else {
            let program = format!("redis-{program}");
            if !needs(&program) {
                return None;
            }
            let file = file.display().to_string();
            run_tool(Path::new(&program), &[&file], &[], b"")
        };
        (!output.status.success()).then(|| said(&output))
    }

    /// Panics unless the checking program accepts a file in the folder.
    pub(crate) fn accepted(&self, program: &str, file: &Path) {
        if let Some(said) = self.complaint(program, file) {
            panic!(
                "{program} refuses {} of {}:\n{said}",
                file.display(),
                self.kind
            );
        }
    }

    /// The path of the newest file of the log of this kind: `base.rdb`, `incr.aof` or `manifest`.
    pub(crate) fn log_file(&self, ending: &str) -> PathBuf {
        let folder = self.path("appendonlydir");
        let entries = std::fs::read_dir(&folder).expect("the log's folder");
        let mut found: Vec<(u64, PathBuf)> = Vec::new();
        for entry in entries {
            let path = entry.expect("an entry").path();
            let name = name_of(&path);
            if name.ends_with(ending) {
                let number = name
                    .split('.')
                    .find_map(|part| part.parse().ok())
                    .unwrap_or(0);
                found.push((number, path));
            }
        }
        let newest = found.into_iter().max();
        newest
            .unwrap_or_else(|| panic!("no {ending} in {}", folder.display()))
            .1
    }
}

/// Runs Valkey's checking program on a file in the oracle.
fn check_in_oracle(oracle: &Path, program: &str, file: &Path) -> Output {
    let inside = Path::new("/").join(file.strip_prefix(oracle).expect("in the oracle"));
    let (root, file) = (oracle.display().to_string(), inside.display().to_string());
    let program = format!("valkey-{program}");
    run_tool(Path::new("chroot"), &[&root, &program, &file], &[], b"")
}

/// The beginning of an RDB file.
pub(crate) struct Magic {
    /// Of Valkey's line of the format, not of Redis's.
    pub(crate) is_valkeys: bool,
}

/// The beginning of a snapshot, or of the base beside the manifest of a log, if it is of a version
/// that Redis 7.0 does not read.
pub(crate) fn newer_than_redis_7(program: &str, file: &Path) -> Option<Magic> {
    let base = |name: &Path| name.to_string_lossy().ends_with("base.rdb");
    let file = match program {
        "check-aof" => {
            let entries = std::fs::read_dir(file.parent()?).ok()?;
            let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
            paths.find(|path| base(path))?
        }
        _ => file.to_owned(),
    };
    let bytes = std::fs::read(file).ok()?;
    let magic = bytes.get(..9)?;
    (magic > &b"REDIS0010"[..]).then(|| Magic {
        is_valkeys: magic.starts_with(b"VALKEY"),
    })
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().expect("a name");
    name.to_string_lossy().into_owned()
}

/// Both streams of a program that has ended.
pub(crate) fn said(output: &Output) -> String {
    let streams = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&streams).into_owned()
}

/// Waits until a server has loaded its data.
pub(crate) fn await_loaded(server: &Server) {
    let mut client = server.connect();
    eventually_within(LOAD_PATIENCE, "the data to be loaded", || {
        (info(&mut client, "loading") == "0").then_some(())
    });
}

/// A field of INFO persistence.
pub(crate) fn info(client: &mut Client, field: &str) -> String {
    client.info("persistence", field)
}

/// Waits for the end of a BGSAVE or a rewrite.
pub(crate) fn await_rest(client: &mut Client) {
    eventually_within(LOAD_PATIENCE, "saving and rewriting to end", || {
        let fields = [
            "rdb_bgsave_in_progress",
            "aof_rewrite_in_progress",
            "aof_rewrite_scheduled",
        ];
        fields
            .iter()
            .all(|field| info(client, field) == "0")
            .then_some(())
    });
}

/// Saves in the background and waits; the status.
pub(crate) fn bgsave(client: &mut Client) -> String {
    let reply = client.cmd(&["BGSAVE"]);
    assert!(!reply.is_error(), "BGSAVE: {reply:?}");
    await_rest(client);
    info(client, "rdb_last_bgsave_status")
}

/// Rewrites the log in the background and waits; the status.
pub(crate) fn bgrewriteaof(client: &mut Client) -> String {
    let reply = client.cmd(&["BGREWRITEAOF"]);
    assert!(!reply.is_error(), "BGREWRITEAOF: {reply:?}");
    await_rest(client);
    info(client, "aof_last_bgrewrite_status")
}
