//! What command tests share: a server in the process, a fake clock, replies as text.

use std::sync::Arc;

use crate::commands::{CommandTable, acl};
use crate::config::{self, ConfigStore};
use crate::db::{Access, DbIndex, Waiter};
use crate::exec::Flow;
use crate::exec::session::Session;
use crate::persist::disk::fake::FakeDisk;
use crate::server::{Lifecycle, Server};
use crate::util::ascii;
use crate::util::clock::Clock;

mod events;
mod fuzz;
#[cfg(feature = "model")]
pub(crate) mod model;
pub(crate) mod propagation;
mod relocate;
mod requests;
mod script;
mod snapshot;
mod touched;
mod transactions;
pub(crate) mod transcript;

/// The fake clock's first moment, Unix ms.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// The data directory of servers that are not told another.
pub(crate) fn data_dir() -> String {
    store(&[]).config().dir.to_str().unwrap().to_owned()
}

/// A configuration with directives as on a command line.
fn store(args: &[&str]) -> ConfigStore {
    let args = args.iter().map(|arg| (*arg).into());
    let Ok(config::Invocation::Run(sources)) = config::parse(args, []) else {
        panic!("no run")
    };
    config::load(&sources).unwrap().0
}

/// A server and one client of it.
pub(crate) struct Test {
    pub(crate) session: Session,
    pub(crate) clock: Clock,
    pub(crate) table: Arc<CommandTable>,
}

impl Test {
    /// A server with default configuration, `enable-debug-command` on, and a clock that stands still.
    pub(crate) fn new() -> Test {
        Test::with(&["--enable-debug-command", "yes"])
    }

    /// A server with directives as on a command line.
    pub(crate) fn with(args: &[&str]) -> Test {
        let store = store(args);
        let dir = store.config().dir.to_str().unwrap().to_owned();
        Test::on_disk(store, FakeDisk::new(&dir))
    }

    /// As [`Test::with`], on a disk whose data directory has gone.
    pub(crate) fn broken(args: &[&str]) -> Test {
        Test::on_disk(store(args), FakeDisk::new("/elsewhere"))
    }

    /// As [`Test::with`], on a disk that may hold something already; its directory is
    /// [`data_dir`].
    pub(crate) fn on(args: &[&str], disk: &FakeDisk) -> Test {
        Test::on_disk(store(args), disk.clone())
    }

    fn on_disk(store: ConfigStore, disk: FakeDisk) -> Test {
        let clock = Clock::fake(START_MS);
        let table = Arc::new(CommandTable::new(&store.config().rename_command).unwrap());
        let server = Server::on_disk(store, clock.clone(), Arc::new(disk));
        let server = Arc::new(server);
        acl::load_at_start(&server, &table).unwrap();
        server.enter(Lifecycle::Running);
        // Every test is one of what is known of the sizes of values: see `Keyspace::check_sizes`.
        let keyspace = &server.keyspace;
        let mut access = Access::new(keyspace, keyspace.lock_none(), DbIndex(0), START_MS, false);
        access.sizes(usize::MAX).expect("nobody holds a shard");
        drop(access);
        Test {
            session: Session::new(server, table.clone()),
            clock,
            table,
        }
    }

    /// Another server with the same clock.
    pub(crate) fn fresh(&self) -> Test {
        let fresh = Test::new();
        let ahead_ms = self.clock.unix_ms() - START_MS;
        fresh.clock.advance(ahead_ms);
        fresh
    }

    /// One more client of the same server.
    pub(crate) fn client(&self) -> Test {
        self.connector()()
    }

    /// What makes clients of the same server, for other threads.
    pub(crate) fn connector(&self) -> impl Fn() -> Test + Send + Sync + use<> {
        let server = self.session.server().clone();
        let (clock, table) = (self.clock.clone(), self.table.clone());
        move || Test {
            session: Session::new(server.clone(), table.clone()),
            clock: clock.clone(),
            table: table.clone(),
        }
    }

    /// Runs a line as redis-cli would split it; the reply, raw.
    pub(crate) fn run(&mut self, line: &str) -> Reply {
        let words = ascii::split_args(line.as_bytes()).expect("balanced quotes");
        let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
        self.args(&words)
    }

    /// Runs arguments as they are.
    pub(crate) fn args(&mut self, args: &[&[u8]]) -> Reply {
        Reply(self.session.call(args).0)
    }

    /// What `INFO stats` says: hits, misses, changes, expired keys.
    pub(crate) fn counts(&self) -> [u64; 4] {
        let keyspace = &self.session.server().keyspace;
        let mut access = Access::new(keyspace, keyspace.lock_none(), DbIndex(0), START_MS, false);
        let mut counts = [0, 0, keyspace.changes(), 0];
        access.for_each_shard(|_, data| {
            counts[0] += data.stats.hits;
            counts[1] += data.stats.misses;
            counts[3] += data.stats.expired;
        });
        counts
    }

    /// Asserts the reply of a line and by how much it moved [`Test::counts`].
    #[track_caller]
    pub(crate) fn counted(&mut self, line: &str, reply: &str, moved: [u64; 4]) {
        let before = self.counts();
        self.run(line).is(reply);
        let after = self.counts();
        let differences: Vec<u64> = (0..4).map(|at| after[at] - before[at]).collect();
        assert_eq!(differences, moved, "{line}: hits, misses, changes, expired");
    }

    /// Runs lines in both protocols, beginning with nothing: each with its reply in RESP2, then, if it differs, in RESP3
    /// (`"*0 / ~0"`).
    #[track_caller]
    pub(crate) fn script(&mut self, lines: &[(&str, &str)]) {
        for resp3 in [false, true] {
            self.run("FLUSHALL");
            self.run(if resp3 { "HELLO 3" } else { "HELLO 2" });
            for (line, replies) in lines {
                let (resp2, other) = replies.split_once(" / ").unwrap_or((replies, replies));
                let reply = self.run(line).text();
                assert_eq!(reply, if resp3 { other } else { resp2 }, "{line}");
            }
        }
    }

    /// Runs a line that has to block; what it waits for. [`Test::waited`] tells how that ends.
    #[track_caller]
    pub(crate) fn blocks(&mut self, line: &str) -> Arc<Waiter> {
        match self.flow(line) {
            Flow::Block(waiter) => waiter,
            other => panic!("{line}: {other:?}"),
        }
    }

    /// The reply of a command that blocked; `None` while it does.
    pub(crate) fn waited(&mut self, waiter: &Waiter) -> Option<Reply> {
        self.session.end_wait(waiter).map(Reply)
    }

    /// What became of a command.
    pub(crate) fn flow(&mut self, line: &str) -> Flow {
        let words = ascii::split_args(line.as_bytes()).expect("balanced quotes");
        let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
        self.session.call(&words).1
    }
}

/// A raw reply, comparable with its text: CR LF written as a space between parts (`"$1 a"`, `"*2 :1 :2"`).
#[derive(PartialEq, Eq)]
pub(crate) struct Reply(pub(crate) Vec<u8>);

impl Reply {
    /// The reply with CR LF as spaces, non-UTF-8 replaced.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        text.trim_end_matches("\r\n").replace("\r\n", " ")
    }

    /// Asserts that the reply reads like this.
    #[track_caller]
    pub(crate) fn has(self, part: &str) {
        let text = self.text();
        assert!(text.contains(part), "no {part:?} in {text}");
    }

    /// Asserts the reply.
    #[track_caller]
    pub(crate) fn is(self, expected: &str) {
        assert_eq!(self.text(), expected);
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

/// `SET`, `CLIENT LIST`: the names in the table of README's section "What works".
fn named_in_readme() -> Vec<String> {
    const README: &str = include_str!("../../README.md");
    let section = README
        .split("\n## ")
        .find(|text| text.starts_with("What works\n"));
    let mut names = Vec::new();
    for line in section.expect("the section").lines() {
        let Some((_, commands)) = line.trim_matches('|').split_once('|') else {
            continue;
        };
        let (mut container, mut last) = (None, "");
        for word in commands.split_whitespace() {
            let name = word.trim_matches(['(', ')']);
            if word.starts_with('(') {
                container = Some(last);
            }
            match container {
                Some(container) => names.push(format!("{container} {name}")),
                None => names.push(name.to_owned()),
            }
            if word.ends_with(')') {
                container = None;
            }
            last = name;
        }
    }
    names.retain(|name| !["commands", "---"].contains(&name.as_str()));
    names.sort();
    names
}

#[test]
fn the_readme_names_every_command() {
    let table = CommandTable::new(&[]).unwrap();
    let mut wanted = Vec::new();
    for command in table.commands() {
        if command.row.flags.has(crate::spec::Flags::HIDDEN) {
            continue;
        }
        let name = command.row.name.to_ascii_uppercase();
        for subcommand in &command.subcommands {
            wanted.push(format!(
                "{name} {}",
                subcommand.row.name.to_ascii_uppercase()
            ));
        }
        wanted.push(name);
    }
    wanted.sort();
    assert_eq!(named_in_readme(), wanted);
}
