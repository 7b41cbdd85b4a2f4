//! Chaos: clients that send anything of all families, in any way in which clients do, while everything goes wrong for
//! them at random (`trouble`); and the server is asked all the time, and at the end, whether it is still what its
//! modules promise (DEBUG CHECK-KEYSPACE, DEBUG CHECK-CLIENTS).
//!
//! What must hold: the server runs, whatever it is sent, and answers whoever may do everything; every reply is well
//! formed; no fault is ever found. When all have stopped, nobody waits for what is there, a reload brings back the very
//! keyspace that was there, what is in use is what keys say that they take; when all have gone, nothing is left of them.
//!
//! Environment: `KIVI_TEST_CHAOS_SECS` (default 15), `KIVI_TEST_SEED` (default 1; what threads do in which order no seed
//! decides); for machines with more processors `KIVI_TEST_CHAOS_THREADS` (the server's; 1 to 4 by the seed) and
//! `KIVI_TEST_CHAOS_CLIENTS` (6). `tests/chaos.sh` runs it for long, with sanitizers, too: what they report in the
//! server's log is a failure.
//!
//! To add something that clients do: a line in `deeds`, `turmoil::snippet`, or a template (`templates`).

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Client, Reply, encode, is_close};
use crate::generate::{Generator, Rng};
use crate::harness::{Server, begins_report, env_number, eventually_within, is_stand_in};
use crate::tls::TlsServer;
use crate::turmoil::{alone, listen, snippet, wait_for_rest};

mod deeds;
mod trouble;

use deeds::{deed, words};
use trouble::{DIRECTIVES, trouble};

/// Threads with a client each that sends anything, if nobody says how many.
const WILD: u64 = 6;
/// How long the server may keep whom it must serve waiting: long, for sanitizers on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Batches of requests between two looks at the keyspace, for which everybody waits.
const TURNS_PER_LOOK: u64 = 60;
/// Batches between two troubles.
const TURNS_PER_TROUBLE: u64 = 5;
/// Of 100 requests that empty databases, so many are sent: operators do that, too, and what has no time to grow tells
/// little.
const FLUSHES: usize = 10;
/// Commands that fill the databases before what is kept of them is compared.
const FILLING: usize = 3000;
/// How far what is in use may be from what keys say, in thousandths, and bytes besides.
const OFF_MAX: i64 = 20;
const SLACK_BYTES: i64 = 512 * 1024;

/// Where all happens.
struct Arena {
    tls: TlsServer,
    /// Where the server keeps its files; gone when it is.
    _files: TempDir,
    /// Threads shall end.
    over: AtomicBool,
    /// A client's number that is not long ago.
    newest: AtomicU64,
    /// Batches that were sent.
    turns: AtomicU64,
    seed: u64,
}

/// Ends the others, also when a thread panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Arena {
    fn new(seed: u64) -> Arena {
        let threads = env_number("KIVI_TEST_CHAOS_THREADS", 1 + seed % 4).to_string();
        // Files in memory, if that is to be had: how fast a disk is does not matter here.
        let memory = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        let files = memory.expect("a folder");
        let folder = files.path().to_str().expect("a path");
        let (users, audit) = (format!("{folder}/users.acl"), format!("{folder}/audit.log"));
        let all = "~* &* +@all\n";
        let text = format!("user default on nopass {all}user boss on >boss {all}");
        std::fs::write(&users, text).expect("users");
        let tls = TlsServer::start(&[
            ("dir", folder),
            ("aclfile", &users),
            ("audit-log-file", &audit),
            ("lua-memory-limit", "16mb"),
            ("io-threads", &threads),
            ("enable-debug-command", "yes"),
            ("appendonly", "yes"),
            ("busy-reply-threshold", "10"),
            ("latency-monitor-threshold", "50"),
        ]);
        let mut client = tls.server.connect();
        let newest = AtomicU64::new(client.cmd(&["CLIENT", "ID"]).int() as u64);
        Arena {
            tls,
            _files: files,
            over: AtomicBool::new(false),
            newest,
            turns: AtomicU64::new(0),
            seed,
        }
    }

    fn server(&self) -> &Server {
        &self.tls.server
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn rng(&self, part: u64) -> Rng {
        Rng::new(self.seed * 1000 + part)
    }
}

/// Somebody who may do everything, and comes again when he is killed.
struct Boss<'a> {
    arena: &'a Arena,
    client: Option<Client>,
}

impl<'a> Boss<'a> {
    fn new(arena: &'a Arena) -> Boss<'a> {
        Boss {
            arena,
            client: None,
        }
    }

    /// The reply; `None` when he was killed instead. That there is neither is a failure.
    fn ask<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Option<Reply> {
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let mut client = match self.arena.server().try_connect() {
                    Ok(client) => client,
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                        panic!("nobody listens any more\n{}", self.arena.server().log())
                    }
                    Err(_) => return None,
                };
                client.set_read_timeout(PATIENCE);
                // Others that may not be evicted may take all of `maxmemory-clients`: then one request is answered.
                client.try_raw(&["CLIENT", "NO-EVICT", "ON"]).ok()?;
                none.insert(client)
            }
        };
        let request = [encode(&["AUTH", "boss", "boss"]), encode(words)].concat();
        let mut exchange = || -> io::Result<Reply> {
            client.try_send(&request)?;
            client.try_read()?;
            Ok(client.try_read()?.1)
        };
        match exchange() {
            Ok(reply) => Some(reply),
            Err(error) if is_close(&error) => {
                self.client = None;
                None
            }
            Err(error) => panic!(
                "{:?} was not answered: {error}\n{}",
                words
                    .iter()
                    .map(|word| String::from_utf8_lossy(word.as_ref()))
                    .collect::<Vec<_>>(),
                self.arena.server().log()
            ),
        }
    }

    /// Asks until there is a reply that is no error, and ends scripts and pauses that are in the way.
    fn insist(&mut self, words: &[&str]) -> Reply {
        let start = Instant::now();
        loop {
            let why = match self.ask(words) {
                Some(Reply::Error(text)) => String::from_utf8_lossy(&text).into_owned(),
                Some(reply) => return reply,
                None => "BUSY killing".to_owned(),
            };
            let is_passing = ["BUSY", "LOADING", "NOAUTH", "NOPERM", "WRONGPASS"];
            let is_passing = is_passing.iter().any(|code| why.starts_with(code));
            let is_passing = is_passing || why.contains("in progress");
            let freed = self.free();
            assert!(
                is_passing && start.elapsed() < PATIENCE,
                "{words:?}: {why}; then {freed:?}\n{}",
                self.arena.server().log()
            );
        }
    }

    /// Ends what keeps others waiting; the replies.
    fn free(&mut self) -> Vec<Option<Reply>> {
        let lines = ["SCRIPT KILL", "FUNCTION KILL", "CLIENT UNPAUSE"];
        let lines = lines.map(|line| line.split(' ').collect::<Vec<_>>());
        lines.iter().map(|words| self.ask(words)).collect()
    }

    /// Faults that DEBUG finds, and what it counts besides.
    fn check(&mut self, what: &str) -> (Vec<String>, Vec<i64>) {
        let reply = self.insist(&["DEBUG", what]);
        let (names, values): (Vec<&Reply>, Vec<&Reply>) = reply
            .items()
            .chunks(2)
            .map(|pair| (&pair[0], &pair[1]))
            .unzip();
        assert_eq!(names.last().map(|name| name.text()), Some("faults".into()));
        let (faults, figures) = values.split_last().expect("faults");
        let faults = faults.items().iter().map(Reply::text).collect();
        (faults, figures.iter().map(|figure| figure.int()).collect())
    }

    /// Lets others have so many turns, and ends what keeps them waiting.
    fn let_others(&mut self, turns: u64) {
        let done = self.arena.turns.load(Ordering::Relaxed) + turns;
        eventually_within(PATIENCE, "clients to go on", || {
            if self.ask(&["PING"]).is_some_and(|reply| reply.is_error()) {
                self.free();
            }
            let now = self.arena.turns.load(Ordering::Relaxed);
            (self.arena.is_over() || now >= done).then_some(())
        });
    }

    fn keyspace(&mut self) -> [i64; 2] {
        let (faults, figures) = self.check("CHECK-KEYSPACE");
        let shown = faults.join("\n");
        assert!(
            faults.is_empty(),
            "seed {}: faults\n{shown}",
            self.arena.seed
        );
        figures.try_into().expect("keys and bytes")
    }
}

/// Whether a command empties databases.
fn empties(name: &[u8]) -> bool {
    name.to_ascii_lowercase().starts_with(b"flush")
}

/// A client that sends anything.
struct Wild<'a> {
    arena: &'a Arena,
    rng: Rng,
    generator: Generator,
    client: Option<Client>,
    speaks_tls: bool,
}

impl<'a> Wild<'a> {
    fn new(arena: &'a Arena, part: u64) -> Wild<'a> {
        Wild {
            arena,
            rng: arena.rng(part),
            generator: Generator::new(arena.seed * 100 + part),
            client: None,
            speaks_tls: part.is_multiple_of(3),
        }
    }

    /// Some requests, whole but for the last, perhaps.
    fn batch(&mut self) -> Vec<u8> {
        let newest = self.arena.newest.load(Ordering::Relaxed);
        let mut requests = Vec::new();
        let in_transaction = self.rng.chance(10);
        if in_transaction {
            requests.extend(words("MULTI"));
        }
        let most = 1 << self.rng.below(8);
        for _ in 0..1 + self.rng.below(most) {
            match self.rng.below(20) {
                0..=12 => {
                    let argv = self.generator.step().argv;
                    if !empties(&argv[0]) || self.rng.chance(FLUSHES) {
                        requests.extend(encode(&argv));
                    }
                }
                13..=16 => requests.extend(deed(&mut self.rng)),
                _ => {
                    let text = snippet(&mut self.rng, newest);
                    if !empties(text.as_bytes()) || self.rng.chance(FLUSHES) {
                        text.lines().for_each(|line| requests.extend(words(line)));
                    }
                }
            }
        }
        if in_transaction {
            requests.extend(words(if self.rng.chance(90) {
                "EXEC"
            } else {
                "DISCARD"
            }));
        }
        if self.rng.chance(2) && !requests.is_empty() {
            requests.truncate(self.rng.below(requests.len()));
        }
        requests
    }

    fn connect(&mut self) -> Option<Client> {
        let client = match self.speaks_tls {
            true => self.arena.tls.try_connect_plainly(),
            false => self.arena.server().try_connect(),
        };
        let client = client.ok()?;
        self.arena.newest.fetch_add(1, Ordering::Relaxed);
        Some(client)
    }

    /// Sends a batch and reads what comes; whether the connection is still of use.
    fn turn(&mut self) -> Option<()> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.connect()?,
        };
        client.try_send(&self.batch()).ok()?;
        self.arena.turns.fetch_add(1, Ordering::Relaxed);
        if self.rng.chance(85) && !listen(&mut client) {
            return None;
        }
        if !self.rng.chance(4) {
            self.client = Some(client);
        }
        Some(())
    }

    /// Goes on until all is over; the connection, as it is then.
    fn run(mut self) -> Option<Client> {
        let _ends = Ends(&self.arena.over);
        while !self.arena.is_over() {
            self.turn();
        }
        self.client
    }
}

/// Makes trouble until all is over.
fn operate(arena: &Arena, part: u64) {
    let _ends = Ends(&arena.over);
    let (mut rng, mut boss) = (arena.rng(part), Boss::new(arena));
    while !arena.is_over() {
        let newest = arena.newest.load(Ordering::Relaxed);
        let words = trouble(&mut rng, newest);
        if let Some(Reply::Error(text)) = boss.ask(&words)
            && text.starts_with(b"BUSY")
        {
            boss.free();
        }
        if let Some(Reply::Int(id)) = boss.ask(&["CLIENT", "ID"]) {
            arena.newest.store(id as u64, Ordering::Relaxed);
        }
        boss.let_others(TURNS_PER_TROUBLE);
    }
}

/// What all directives of [`DIRECTIVES`] are set to.
fn settings(boss: &mut Boss<'_>) -> Vec<(String, String)> {
    let value = |boss: &mut Boss<'_>, name: &str| {
        let reply = boss.insist(&["CONFIG", "GET", name]);
        reply.items()[1].text()
    };
    let names = DIRECTIVES.iter().map(|(name, _)| *name);
    names
        .map(|name| (name.to_owned(), value(boss, name)))
        .collect()
}

/// Ends what keeps anybody waiting, sets back what was changed, and waits until nothing is done any more.
fn calm(boss: &mut Boss<'_>, settings: &[(String, String)]) {
    boss.free();
    for (name, value) in settings {
        boss.insist(&["CONFIG", "SET", name, value]);
    }
    for line in [
        "ACL SETUSER default on nopass ~* &* +@all",
        "DEBUG SET-ACTIVE-EXPIRE 1",
        "CLIENT UNPAUSE",
    ] {
        boss.insist(&line.split(' ').collect::<Vec<_>>());
    }
    let fields = [
        "rdb_bgsave_in_progress:0",
        "aof_rewrite_in_progress:0",
        "aof_rewrite_scheduled:0",
        "lazyfree_pending_objects:0",
    ];
    eventually_within(PATIENCE, "everything in the background to end", || {
        let info = boss.insist(&["INFO", "everything"]).text();
        let is_there = |field: &&str| info.lines().any(|line| line == *field);
        fields.iter().all(is_there).then_some(())
    });
}

/// Clients that are still there but do nothing: all that is known of them is what they say.
fn check_clients(boss: &mut Boss<'_>) {
    // What they have sent before may still be executed.
    let start = Instant::now();
    loop {
        let faults = boss.check("CHECK-CLIENTS").0;
        if faults.is_empty() {
            return;
        }
        let (seed, shown) = (boss.arena.seed, faults.join("\n"));
        assert!(start.elapsed() < PATIENCE, "seed {seed}: faults\n{shown}");
    }
}

/// Keys of all families, in databases that were empty.
fn fill(arena: &Arena) {
    let mut generator = Generator::new(arena.seed);
    let mut client = arena.server().connect();
    let others: [&[u8]; 7] = [
        b"client", b"config", b"debug", b"hello", b"quit", b"reset", b"swapdb",
    ];
    assert_eq!(client.raw(&["FLUSHALL", "SYNC"]), b"+OK\r\n");
    for _ in 0..FILLING {
        let argv = generator.step().argv;
        let name = argv[0].to_ascii_lowercase();
        if !empties(&name) && !others.contains(&&*name) {
            client.send(&encode(&argv));
            client.read();
        }
    }
}

/// Whether what is loaded is what was there.
fn comes_back(boss: &mut Boss<'_>, how: &str) -> bool {
    let before = boss.insist(&["DEBUG", "DIGEST"]);
    boss.insist(&["DEBUG", how]);
    let after = boss.insist(&["DEBUG", "DIGEST"]);
    boss.keyspace();
    before == after
}

/// A snapshot and the log each bring back what was there, but for what expires meanwhile, and of what DEBUG POPULATE
/// has made the log does not know.
fn check_files(boss: &mut Boss<'_>) {
    for how in ["RELOAD", "LOADAOF"] {
        eventually_within(PATIENCE, &format!("DEBUG {how} to change nothing"), || {
            comes_back(boss, how).then_some(())
        });
    }
}

/// Where nothing expires, and all is told to the log, they bring back everything at once.
fn check_files_strictly(boss: &mut Boss<'_>) {
    for how in ["RELOAD", "LOADAOF"] {
        assert!(
            comes_back(boss, how),
            "seed {}: DEBUG {how} changed something",
            boss.arena.seed
        );
    }
}

/// What the keys of the databases take is what comes back when they go.
fn check_memory(server: &Server, arena: &Arena) {
    let mut client = server.connect();
    let memory = client.cmd(&["INFO", "memory"]).text();
    if !memory.contains("mem_allocator:jemalloc") {
        return;
    }
    let mut look = || {
        let [keys, bytes] = Boss::new(arena).keyspace();
        let used = client.info_number("memory", "used_memory");
        (keys, bytes, used as i64)
    };
    look();
    let (keys, bytes, used) = look();
    Boss::new(arena).insist(&["FLUSHALL", "SYNC"]);
    let (_, bytes_after, used_after) = look();
    let (told, truth) = (bytes - bytes_after, used - used_after);
    let off = (told - truth).abs();
    println!("chaos: {keys} keys take {told} bytes, in truth {truth}");
    assert!(
        off <= SLACK_BYTES + truth * OFF_MAX / 1000,
        "{told} is not {truth}"
    );
}

/// The server's whole log has nothing of sanitizers, panics or crashes.
fn check_log(server: &Server) {
    let log = std::fs::read(server.dir.path().join("out.log")).expect("the log");
    let log = String::from_utf8_lossy(&log);
    let has_report = log.lines().any(begins_report);
    assert!(!has_report, "in the log:\n{}", server.log());
}

/// Everybody at once, until the time is over; connections that are still there then.
fn storm(arena: &Arena, duration: Duration) -> Vec<Client> {
    let clients = env_number("KIVI_TEST_CHAOS_CLIENTS", WILD);
    thread::scope(|scope| {
        let wild: Vec<_> = (0..clients)
            .map(|part| scope.spawn(move || Wild::new(arena, part).run()))
            .collect();
        let operators: Vec<_> = (clients..clients + 2)
            .map(|part| scope.spawn(move || operate(arena, part)))
            .collect();
        let _ends = Ends(&arena.over);
        let (start, mut boss) = (Instant::now(), Boss::new(arena));
        let (mut looks, mut most) = (0, [0, 0]);
        while start.elapsed() < duration && !arena.is_over() {
            let [keys, bytes] = boss.keyspace();
            most = [most[0].max(keys), most[1].max(bytes)];
            looks += 1;
            boss.let_others(TURNS_PER_LOOK);
        }
        arena.over.store(true, Ordering::Relaxed);
        let turns = arena.turns.load(Ordering::Relaxed);
        println!(
            "chaos: {turns} batches, {looks} looks at the keyspace: {most:?} keys and bytes at most"
        );
        operators
            .into_iter()
            .for_each(|thread| thread.join().expect("an operator"));
        wild.into_iter()
            .filter_map(|thread| thread.join().expect("a client"))
            .collect()
    })
}

#[test]
fn everything_holds_whatever_happens() {
    if is_stand_in() {
        return;
    }
    let seed = env_number("KIVI_TEST_SEED", 1);
    let duration = Duration::from_secs(env_number("KIVI_TEST_CHAOS_SECS", 15));
    println!("chaos: KIVI_TEST_SEED={seed}, {duration:?}");
    let mut arena = Arena::new(seed);
    let before = settings(&mut Boss::new(&arena));
    let lingering = storm(&arena, duration);
    let mut boss = Boss::new(&arena);
    calm(&mut boss, &before);
    check_clients(&mut boss);
    let [keys, bytes] = boss.keyspace();
    println!(
        "chaos: {keys} keys of {bytes} bytes, {} clients linger",
        lingering.len()
    );
    drop(lingering);
    check_files(&mut boss);
    drop(boss);
    drop(alone(arena.server()));
    fill(&arena);
    check_files_strictly(&mut Boss::new(&arena));
    drop(alone(arena.server()));
    check_memory(arena.server(), &arena);
    wait_for_rest(arena.server());
    arena.tls.server.assert_alive();
    check_log(arena.server());
    let (status, log) = arena.tls.server.signal_and_wait("TERM");
    assert!(status.success(), "it ended with {status}\n{log}");
}
