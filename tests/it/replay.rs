//! What was written is read again: random writing commands, then the state that the log leads to, the
//! state out of a snapshot, and the state that Valkey reads out of both. All must be the state before.
//!
//! Several clients send the commands of `generate` to the same few keys at the same time, so a log
//! whose order is not the order in which the commands were done leads elsewhere. States are compared
//! key by key: the value's digest, the expiries of the key and of its fields, what XINFO says of a
//! stream.
//!
//! Environment: `KIVI_TEST_STEPS` commands in all (default 40,000); `KIVI_TEST_SEED` runs one episode
//! only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;

use crate::client::{Client, Reply, encode, show_command};
use crate::generate::Generator;
use crate::harness::{Server, env_number};
use crate::store::{EVERY_SECOND, Store, await_rest};
use crate::stream_facts;

const STEPS_PER_CLIENT: usize = 250;
const DATABASES: usize = 16;
/// Commands of each client that a failure shows of a key.
const SHOWN: usize = 25;

/// What there is to know of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    kind: String,
    digest: String,
    expire_at_ms: i64,
    /// Of the fields of a hash, in the order of their names.
    fields_expire_at_ms: Vec<(String, i64)>,
    /// Of a stream. When its consumers were seen is in no log.
    stream: String,
}

/// All keys of all databases.
pub(crate) type State = BTreeMap<(usize, Vec<u8>), Facts>;

/// What a server holds.
pub(crate) fn state(server: &Server) -> State {
    let mut client = server.connect();
    let mut state = State::new();
    for db in 0..DATABASES {
        client.cmd(&["SELECT", &db.to_string()]);
        for key in client.cmd(&["KEYS", "*"]).items() {
            let key = key.bytes().to_vec();
            let facts = facts(&mut client, &key);
            state.insert((db, key), facts);
        }
    }
    state
}

fn facts(client: &mut Client, key: &[u8]) -> Facts {
    let kind = client.cmd(&[&b"TYPE"[..], key]).text();
    let digest = client.cmd(&[&b"DEBUG"[..], b"DIGEST-VALUE", key]);
    let expires = client.cmd(&[&b"PEXPIRETIME"[..], key]).int();
    let mut fields_expire_at_ms = Vec::new();
    if kind == "hash" {
        let fields = client.cmd(&[&b"HKEYS"[..], key]);
        for field in fields.items() {
            let argv: [&[u8]; 5] = [b"HPEXPIRETIME", key, b"FIELDS", b"1", field.bytes()];
            // Debian's Redis knows no such fields; an error stands for none.
            let at = match client.cmd(&argv) {
                Reply::Array(items) => items[0].int(),
                _ => -1,
            };
            fields_expire_at_ms.push((field.text(), at));
        }
        fields_expire_at_ms.sort();
    }
    let mut stream = String::new();
    if kind == "stream" {
        let argv: [&[u8]; 6] = [b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"];
        let without = [stream_facts::TIMES, stream_facts::TREE].concat();
        stream = stream_facts::text(&client.cmd(&argv), &without);
    }
    let mut digest = digest.items()[0].text();
    if kind == "zset" {
        // A score of -0 is 0 as soon as the sorted set is short, as in Redis, and a digest tells.
        let found = client.cmd(&[&b"ZRANGE"[..], key, b"0", b"-1", b"WITHSCORES"]);
        let scored = found.items().chunks(2);
        let scored = scored.map(|pair| match pair[1].bytes() {
            b"-0" => (pair[0].clone(), Reply::Bulk(b"0".to_vec())),
            _ => (pair[0].clone(), pair[1].clone()),
        });
        digest = format!("{:?}", scored.collect::<Vec<_>>());
    }
    Facts {
        kind,
        digest,
        expire_at_ms: expires,
        fields_expire_at_ms,
        stream,
    }
}

/// The commands that write, by name in small letters, and SELECT.
fn writing_commands(server: &Server) -> BTreeSet<Vec<u8>> {
    let reply = server.connect().cmd(&["COMMAND"]);
    let writes = |row: &&Reply| {
        let flags = row.items()[2].items();
        flags.iter().any(|flag| flag.text() == "write")
    };
    let rows = reply.items().iter().filter(writes);
    let mut names: BTreeSet<Vec<u8>> = rows.map(|row| row.items()[0].bytes().to_vec()).collect();
    names.insert(b"select".to_vec());
    names
}

/// A command with its arguments.
pub(crate) type Argv = Vec<Vec<u8>>;

/// One client's part of an episode; what it has sent.
fn act(server: &Server, seed: u64, writes: &BTreeSet<Vec<u8>>) -> Vec<Argv> {
    let mut client = server.connect();
    let mut commands = Generator::new(seed);
    let mut sent = Vec::new();
    while sent.len() < STEPS_PER_CLIENT {
        let mut batch = Vec::new();
        let mut count = 0;
        for _ in 0..1 + commands.rng.below(12) {
            let argv = commands.step().argv;
            if !writes.contains(&argv[0].to_ascii_lowercase()) || is_newer(&argv) {
                continue;
            }
            batch.extend(encode(&argv));
            sent.push(argv);
            count += 1;
        }
        client.send(&batch);
        (0..count).for_each(|_| drop(client.read()));
    }
    sent
}

/// Whether it is Redis 8.2's: Valkey, which reads the logs, has none of it.
fn is_newer(argv: &[Vec<u8>]) -> bool {
    const WORDS: [&str; 9] = [
        "xackdel", "xdelex", "keepref", "delref", "acked", "diff", "diff1", "andor", "one",
    ];
    let is_one = |arg: &Vec<u8>| {
        WORDS
            .iter()
            .any(|word| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    argv.iter().any(is_one)
}

/// A running comparison.
struct Stage {
    store: Store,
    server: Server,
    args: Vec<&'static str>,
    writes: BTreeSet<Vec<u8>>,
    clients: u64,
}

impl Stage {
    fn new(threads: &'static str, clients: u64) -> Stage {
        let store = Store::kivi();
        let mut args = EVERY_SECOND.to_vec();
        args.extend(["--io-threads", threads, "--enable-debug-command", "yes"]);
        let server = store.start(&args);
        let writes = writing_commands(&server);
        Stage {
            store,
            server,
            args,
            writes,
            clients,
        }
    }

    /// One episode: act, then load what was logged, then what is saved.
    fn episode(&self, seed: u64) {
        let mut control = self.server.connect();
        if seed % 8 == 1 {
            control.cmd(&["FLUSHALL"]);
        }
        let histories: Vec<Vec<Argv>> = thread::scope(|scope| {
            let acting = |client| {
                let seed = seed * 100 + client;
                scope.spawn(move || act(&self.server, seed, &self.writes))
            };
            let acting: Vec<_> = (0..self.clients).map(acting).collect();
            // Sometimes the log is rewritten under it all.
            if seed.is_multiple_of(4) {
                control.cmd(&["BGREWRITEAOF"]);
            }
            let join = |client: thread::ScopedJoinHandle<_>| client.join().expect("a client");
            acting.into_iter().map(join).collect()
        });
        await_rest(&mut control);
        let before = state(&self.server);
        let alike = |what: &str, found: &State| {
            compare(&format!("seed {seed}, {what}"), &before, found, &histories);
        };
        for how in ["LOADAOF", "RELOAD"] {
            let reply = control.cmd(&["DEBUG", how]);
            assert_eq!(reply, Reply::Status(b"OK".to_vec()), "DEBUG {how}");
            alike(how, &state(&self.server));
        }
        if seed % 16 == 2 {
            alike("Valkey, snapshot", &self.in_valkey(&["dump.rdb"], &[]));
            let log = ["appendonlydir"];
            alike("Valkey, log", &self.in_valkey(&log, EVERY_SECOND));
        }
    }

    /// The state that Valkey finds in copies of these files.
    fn in_valkey(&self, names: &[&str], args: &[&str]) -> State {
        let Some(other) = Store::of("valkey") else {
            return state(&self.server);
        };
        for name in names {
            copy(&self.store.path(name), &other.path(name));
        }
        let debug = ["--enable-debug-command", "yes"];
        state(&other.start(&[args, &debug].concat()))
    }

    /// The end: a start of a new process on the same files.
    fn restart(mut self) {
        let before = state(&self.server);
        let mut client = self.server.connect();
        client.send(&encode(&["SHUTDOWN", "NOSAVE"]));
        self.server.wait_exit();
        let server = self.store.start(&self.args);
        compare("a restart", &before, &state(&server), &[]);
    }
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap_or_else(|e| panic!("copying {}: {e}", from.display()));
        return;
    }
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let name = entry.expect("an entry").file_name();
        copy(&from.join(&name), &to.join(&name));
    }
}

/// Panics with what differs and the commands that led there.
pub(crate) fn compare(what: &str, before: &State, after: &State, histories: &[Vec<Argv>]) {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differs = keys
        .into_iter()
        .find(|key| before.get(*key) != after.get(*key));
    let Some(at @ (db, key)) = differs else {
        return;
    };
    let mut text = String::new();
    for (client, history) in histories.iter().enumerate() {
        let touching = |argv: &&Argv| argv.contains(key) || is_sweeping(argv);
        let touching: Vec<&Argv> = history.iter().filter(touching).collect();
        let last = &touching[touching.len().saturating_sub(SHOWN)..];
        for argv in last {
            text.push_str(&format!("client {client}: {}\n", show_command(argv)));
        }
    }
    panic!(
        "{what}: key {} of database {db}: before {:?}, after {:?}; commands that name it:\n{text}",
        key.escape_ascii(),
        before.get(at),
        after.get(at)
    );
}

/// Commands that change keys without naming them.
fn is_sweeping(argv: &[Vec<u8>]) -> bool {
    let name = argv[0].to_ascii_lowercase();
    [&b"flushall"[..], b"flushdb", b"swapdb", b"select", b"move"].contains(&&name[..])
}

fn run(threads: &'static str, clients: u64, share: u64) {
    let stage = Stage::new(threads, clients);
    let steps = env_number("KIVI_TEST_STEPS", 40_000) / share;
    let episodes = steps.div_ceil(STEPS_PER_CLIENT as u64 * clients);
    match std::env::var("KIVI_TEST_SEED") {
        Ok(seed) => stage.episode(seed.parse().expect("KIVI_TEST_SEED")),
        Err(_) => (1..=episodes).for_each(|seed| stage.episode(seed)),
    }
    stage.restart();
}

#[test]
fn one_client_finds_all_that_it_wrote() {
    run("1", 1, 2);
}

#[test]
fn many_clients_find_all_that_they_wrote() {
    run("4", 4, 2);
}
