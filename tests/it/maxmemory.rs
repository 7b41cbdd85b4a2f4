//! Memory and its limit: how exactly it holds, and which commands are refused when it is reached.
//!
//! Every command of the table is sent to Kivi and to Valkey when nothing can go, when all keys have gone,
//! and when those with a time to live have: alone, in transactions and in scripts. Whoever of the two answers
//! with a refusal, the other must do so byte for byte; what else they answer is compared elsewhere
//! (`differential`). How much is in use at any moment is looked at while several threads write.
//!
//! Which keys go, and who is told, is in `eviction`; what a worker knows of memory, in `exec::memory`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::client::{Client, Reply, encode, show, show_command};
use crate::differences::Words;
use crate::differential::may_be_in_script;
use crate::eviction::{batch, config_set, counted, evicted, limit_to};
use crate::generate::{Generator, Rng, Step};
use crate::harness::{Server, StopAtEnd, env_number, eventually};

/// Rounds of the commands by chance; each is a few dozen commands in one state.
const ROUNDS_DEFAULT: u64 = 40;
const STEPS_PER_ROUND: usize = 60;

/// What is not sent: it ends the connection or the server, changes what it is told, waits, or needs what
/// only one of the two has.
const NOT_SENT: &[&str] = &[
    "shutdown",
    "debug",
    "quit",
    "monitor",
    "sync",
    "psync",
    "replicaof",
    "slaveof",
    "replconf",
    "failover",
    "cluster",
    "module",
    "acl",
    "config",
    "reset",
    "hello",
    "auth",
    "select",
    "swapdb",
    "bgsave",
    "save",
    "bgrewriteaof",
    "subscribe",
    "psubscribe",
    "ssubscribe",
    "lolwut",
    "hotkeys",
];

fn is_sent(argv: &[Vec<u8>]) -> bool {
    let words = Words::of(argv);
    let is_silent = words.are("client", "reply") || words.are("client", "pause");
    !words.among(NOT_SENT) && !is_silent && !words.are("client", "kill")
}

/// Both servers.
struct Pair {
    clients: [Client; 2],
}

impl Pair {
    fn of(kivi: &Server, valkey: &Server) -> Pair {
        let mut pair = Pair {
            clients: [kivi, valkey].map(Server::connect),
        };
        // Else a server that is not given a processor for some time runs the command, and evicts later.
        pair.both(&["CONFIG", "SET", "maxmemory-eviction-tenacity", "100"]);
        pair
    }

    /// Sends the commands to both, one by one; the replies of each.
    fn run(&mut self, commands: &[Vec<Vec<u8>>]) -> [Vec<Vec<u8>>; 2] {
        let bytes: Vec<u8> = commands.iter().flat_map(|argv| encode(argv)).collect();
        self.clients.each_mut().map(|client| {
            client.send(&bytes);
            commands.iter().map(|_| client.read().0.0).collect()
        })
    }

    /// The same for both, which has to work.
    fn both(&mut self, words: &[&str]) {
        for client in &mut self.clients {
            let reply = client.cmd(words);
            assert!(!reply.is_error(), "{words:?}: {reply:?}");
        }
    }

    fn set(&mut self, policy: &str, limit: &str) {
        self.both(&["CONFIG", "SET", "maxmemory-policy", policy]);
        self.both(&["CONFIG", "SET", "maxmemory", limit]);
    }

    /// Sends commands and checks that what one refuses for want of memory the other refuses, too.
    #[track_caller]
    fn same_refusals(&mut self, commands: &[Vec<Vec<u8>>], state: &str) {
        let [ours, theirs] = self.run(commands);
        for (argv, (our, their)) in commands.iter().zip(ours.iter().zip(&theirs)) {
            let has =
                |reply: &[u8], text: &[u8]| reply.windows(text.len()).any(|part| part == text);
            let is_refusal = |reply: &[u8]| has(reply, b"-OOM ") || has(reply, b": OOM ");
            let is_same = our == their || !is_refusal(our) && !is_refusal(their);
            assert!(
                is_same,
                "{state}: {}\n  Kivi:   {}\n  Valkey: {}",
                show_command(argv),
                show(our),
                show(their)
            );
        }
    }
}

fn words(text: &str) -> Vec<Vec<u8>> {
    text.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// A command in all the ways in which it may come: alone, in a transaction that is full from its beginning,
/// and in scripts.
fn in_all_ways(step: &Step) -> Vec<Vec<Vec<u8>>> {
    let argv = &step.argv;
    let mut all = vec![argv.clone()];
    if may_be_in_script(step) {
        for (name, source) in [
            ("EVAL", "return redis.call(unpack(ARGV))"),
            ("EVAL", "#!lua\nreturn redis.call(unpack(ARGV))"),
            (
                "EVAL",
                "#!lua flags=allow-oom\nreturn redis.call(unpack(ARGV))",
            ),
            (
                "EVAL",
                "#!lua flags=no-writes\nreturn redis.call(unpack(ARGV))",
            ),
            ("EVAL_RO", "return redis.call(unpack(ARGV))"),
            (
                "EVAL",
                "redis.call('del', 'nothing') return redis.pcall(unpack(ARGV))",
            ),
        ] {
            let script = [name, source, "0"].map(|word| word.as_bytes().to_vec());
            all.push(script.into_iter().chain(argv.iter().cloned()).collect());
        }
        all.extend([words("MULTI"), argv.clone(), words("EXEC"), words("PING")]);
    }
    all
}

/// Every command of the table with as many arguments as it needs, and with one too few.
#[test]
fn every_command_of_the_table() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let kivi = Server::kivi(&[]);
    let mut pair = Pair::of(&kivi, &valkey);
    let table = pair.clients[0].cmd(&["COMMAND"]);
    let mut commands: Vec<(String, i64)> = Vec::new();
    for row in table.items() {
        let subcommands = row.items()[9].items();
        for row in subcommands.iter().chain([row]) {
            commands.push((
                row.items()[0].text().replace('|', " "),
                row.items()[1].int(),
            ));
        }
    }
    assert!(commands.len() > 250, "{}", commands.len());
    let known: BTreeSet<String> = {
        let names = pair.clients[1].cmd(&["COMMAND", "LIST"]);
        names.items().iter().map(Reply::text).collect()
    };
    let states = [
        ("noeviction", "1"),
        ("volatile-lru", "1"),
        ("allkeys-random", "1"),
    ];
    let mut compared = 0;
    for (policy, limit) in states {
        for (name, arity) in &commands {
            let mut argv = words(name);
            let needed = arity.unsigned_abs() as usize;
            let is_known = known.contains(&name.split(' ').next().unwrap().to_lowercase());
            let blocks = name.starts_with('b') && name.contains("pop") || name.contains("wait");
            if !is_sent(&argv) || !is_known || blocks || argv.len() > needed {
                continue;
            }
            let few = argv.clone();
            argv.resize(needed, b"1".to_vec());
            pair.set(policy, "0");
            pair.both(&["SET", "1", "1"]);
            pair.set(policy, limit);
            let sent = [few, argv, words("DISCARD"), words("UNWATCH")];
            pair.same_refusals(&sent, &format!("{policy}, {name}"));
            compared += 1;
        }
    }
    assert!(compared > 500, "{compared}");
}

/// Commands by chance with all of their options, on keys of all types.
#[test]
fn commands_by_chance_when_memory_is_full() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let mut kivi = Server::kivi(&[]);
    let states = [
        "noeviction",
        "volatile-lru",
        "volatile-ttl",
        "allkeys-lru",
        "allkeys-lfu",
    ];
    for round in 1..=env_number("KIVI_TEST_ROUNDS", ROUNDS_DEFAULT) {
        let mut pair = Pair::of(&kivi, &valkey);
        let mut commands = Generator::new(round);
        let policy = states[commands.rng.below(states.len())];
        pair.set(policy, "0");
        pair.both(&["FLUSHALL"]);
        let mut next = || loop {
            let step = commands.step();
            if is_sent(&step.argv) && !step.silent {
                return step;
            }
        };
        let before: Vec<_> = (0..STEPS_PER_ROUND).map(|_| next().argv).collect();
        pair.run(&before);
        pair.run(&[words("DISCARD"), words("UNWATCH")]);
        pair.set(policy, "1");
        let state = format!("KIVI_TEST_ROUNDS up to {round}, {policy}");
        for _ in 0..STEPS_PER_ROUND {
            let step = next();
            pair.same_refusals(&in_all_ways(&step), &state);
            pair.run(&[words("DISCARD")]);
        }
    }
    kivi.assert_alive();
}

/// Large values are freed in the background, and count as free from the moment they are handed over: so they must not
/// count a second time when they are.
#[test]
fn what_is_freed_in_the_background_counts_once() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let refused: Vec<u8> = encode(&words("SET k v")).repeat(200);
    for round in 0..20 {
        config_set(&mut client, "maxmemory", "0");
        client.cmd(&["SETRANGE", "large", "33554432", "x"]);
        config_set(&mut client, "maxmemory", "1");
        client.send(&[encode(&words("UNLINK large")), refused.clone()].concat());
        assert_eq!(client.read().1.int(), 1);
        for at in 0..200 {
            let reply = client.read().1;
            assert!(reply.is_error(), "round {round}, command {at}: {reply:?}");
        }
    }
}

/// Scripts' own flags count when they are queued, and again when they run.
#[test]
fn what_is_queued_before_memory_is_full() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let kivi = Server::kivi(&[]);
    let mut pair = Pair::of(&kivi, &valkey);
    let mut control = Pair::of(&kivi, &valkey);
    let mut rng = Rng::new(7);
    let choices = [
        "SET k v",
        "GET k",
        "DEL k",
        "RPUSH l a",
        "LPOP l",
        "RENAME l m",
        "EVAL #!lua\nreturn 1 0",
        "EVAL #!lua\tflags=no-writes\nreturn 1 0",
        "EVAL #!lua\tflags=allow-oom\nreturn\tredis.call('set','x',1) 0",
        "EVAL return\tredis.call('set','x',1) 0",
        "EVAL redis.call('del','x')\treturn\tredis.call('set','x',1) 0",
        "EVAL_RO return\tredis.call('get','x') 0",
        "FCALL nothing 0",
        "WATCH k",
        "DBSIZE",
    ];
    for _ in 0..200 {
        control.set("noeviction", "0");
        let mut queued = vec![words("MULTI")];
        for _ in 0..1 + rng.below(4) {
            queued.push(words(choices[rng.below(choices.len())]));
        }
        let [ours, theirs] = pair.run(&queued);
        assert_eq!(ours, theirs, "{queued:?}");
        control.set("noeviction", "1");
        pair.same_refusals(&[words("EXEC")], &format!("{queued:?}"));
        pair.run(&[words("DISCARD")]);
    }
}

/// Four threads write values of 1 KB for all they are worth; the limit holds at every moment that anybody
/// looks.
#[test]
fn a_limit_holds_while_many_write() {
    for args in [&["--appendonly", "no"], &["--appendonly", "yes"]] {
        let server = Server::kivi(&[&["--io-threads", "4"], &args[..]].concat());
        let mut control = server.connect();
        config_set(&mut control, "maxmemory-policy", "allkeys-lru");
        let limit = limit_to(&mut control, 16 << 20);
        let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
        let highest = thread::scope(|scope| {
            let _stop = StopAtEnd(&stop);
            let writers = [0, 1, 2, 3].map(|seed| {
                let (server, stop, written) = (&server, &stop, &written);
                scope.spawn(move || write_values(server, seed, stop, written))
            });
            let mut highest = 0;
            // Whoever ends before has failed, and the scope says so.
            let fails = || writers.iter().any(|writer| writer.is_finished());
            while written.load(Ordering::Relaxed) < 60_000 && !fails() {
                highest = highest.max(counted(&mut control));
            }
            highest
        });
        let most = limit + limit / 100 + (1 << 20);
        assert!(highest <= most, "{args:?}: {highest} of {limit} bytes");
        assert!(
            highest > limit - limit / 10,
            "{args:?}: {highest} of {limit} bytes"
        );
        assert!(evicted(&mut control) > 30_000);
        assert!(
            counted(&mut control) > limit - limit / 10,
            "no more goes than has to"
        );
    }
}

fn write_values(server: &Server, seed: u64, stop: &AtomicBool, written: &AtomicU64) {
    let (mut client, mut rng) = (server.connect(), Rng::new(seed));
    let value = "v".repeat(1024);
    while !stop.load(Ordering::Relaxed) {
        let keys: Vec<String> = (0..16).map(|_| format!("key:{:x}", rng.next())).collect();
        let commands: Vec<_> = keys
            .iter()
            .map(|key| encode(&["SET", key, &value]))
            .collect();
        for reply in batch(&mut client, &commands) {
            assert_eq!(reply, Reply::Status(b"OK".to_vec()));
        }
        written.fetch_add(16, Ordering::Relaxed);
    }
}

/// What a snapshot keeps of keys that have gone is not made up for with other keys.
#[test]
fn a_snapshot_does_not_cost_keys() {
    let server = Server::kivi(&[
        "--maxmemory-policy",
        "allkeys-random",
        "--rdb-key-save-delay",
        "200",
        "--enable-debug-command",
        "yes",
    ]);
    let mut client = server.connect();
    let keys: Vec<_> = (0..8000)
        .map(|number| encode(&["SET", &format!("key:{number}"), &"v".repeat(1000)]))
        .collect();
    batch(&mut client, &keys);
    let limit = limit_to(&mut client, 0);
    client.cmd(&["BGSAVE"]);
    assert_eq!(
        client.info_number("persistence", "rdb_bgsave_in_progress"),
        1
    );
    let more: Vec<_> = (0..2000)
        .map(|number| encode(&["SET", &format!("more:{number}"), &"v".repeat(1000)]))
        .collect();
    for reply in batch(&mut client, &more) {
        assert_eq!(reply, Reply::Status(b"OK".to_vec()));
    }
    assert_eq!(
        client.info_number("persistence", "rdb_bgsave_in_progress"),
        1,
        "still"
    );
    let left = client.cmd(&["DBSIZE"]).int();
    // As many as without a snapshot, but for what it takes itself, some tens of kilobytes.
    assert!((7850..=8050).contains(&left), "{left} keys are left");
    assert!(counted(&mut client) <= limit + (64 << 10));
    config_set(&mut client, "rdb-key-save-delay", "0");
    eventually("the snapshot to end", || {
        (client.info_number("persistence", "rdb_bgsave_in_progress") == 0).then_some(())
    });
    assert_eq!(client.info_number("memory", "mem_not_counted_for_evict"), 0);
}

/// Large values that a snapshot shares with keys count as what it keeps when these have gone, and not before.
#[test]
fn what_a_snapshot_shares_is_kept_when_keys_have_gone() {
    let server = Server::kivi(&[
        "--maxmemory-policy",
        "allkeys-random",
        // Longer than the test: no more than one shard is read.
        "--rdb-key-save-delay",
        "1000000000",
    ]);
    let mut client = server.connect();
    let value = "v".repeat(20_000);
    let fields: Vec<String> = (0..70).map(|field| field.to_string()).collect();
    let hashes: Vec<String> = (0..32).map(|number| format!("hash:{number}")).collect();
    for hash in &hashes {
        let pairs = fields.iter().flat_map(|field| [field.as_str(), &value]);
        let argv: Vec<&str> = ["HSET", hash].into_iter().chain(pairs).collect();
        assert_eq!(client.cmd(&argv).int(), 70);
    }
    client.cmd(&["BGSAVE"]);
    let kept = |client: &mut Client| client.info_number("persistence", "current_cow_size");
    for hash in &hashes {
        assert_eq!(client.cmd(&["EXPIRE", hash, "10000"]).int(), 1);
    }
    let before = kept(&mut client);
    assert!(before < 1 << 20, "{before}");
    config_set(&mut client, "maxmemory", "1");
    eventually("what has gone to be kept", || {
        (kept(&mut client) > 8 * 70 * 20_000).then_some(())
    });
    assert_eq!(
        client.info_number("persistence", "rdb_bgsave_in_progress"),
        1,
        "still"
    );
    assert!(!client.cmd(&["BGSAVE", "CANCEL"]).is_error());
    eventually("the snapshot to end", || {
        (client.info_number("persistence", "rdb_bgsave_in_progress") == 0).then_some(())
    });
    assert_eq!(client.info_number("memory", "mem_not_counted_for_evict"), 0);
}

/// What waits for a client that does not read takes room from the keys.
#[test]
fn what_clients_are_sent_counts() {
    let server = Server::kivi(&[
        "--maxmemory-policy",
        "allkeys-random",
        "--client-output-buffer-limit",
        "pubsub 0 0 0",
    ]);
    let (mut client, mut deaf) = (server.connect(), server.connect());
    deaf.cmd(&["SUBSCRIBE", "channel"]);
    let keys: Vec<_> = (0..8000)
        .map(|number| encode(&["SET", &format!("key:{number}"), &"v".repeat(1000)]))
        .collect();
    batch(&mut client, &keys);
    let limit = limit_to(&mut client, 0);
    let message = "m".repeat(10_000);
    eventually("keys to make room for messages", || {
        let messages = vec![encode(&["PUBLISH", "channel", &message]); 50];
        batch(&mut client, &messages);
        (evicted(&mut client) > 1000).then_some(())
    });
    eventually("memory to be below the limit", || {
        (counted(&mut client) <= limit).then_some(())
    });
}

/// The times that INFO shows.
#[test]
fn how_long_memory_was_full_is_told() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let time = |client: &mut Client, which| {
        client.info_number("stats", &format!("{which}_eviction_exceeded_time"))
    };
    assert_eq!(time(&mut client, "total"), 0);
    config_set(&mut client, "maxmemory", "1");
    eventually("time to pass", || {
        (time(&mut client, "current") > 5).then_some(())
    });
    assert!(time(&mut client, "total") > 5);
    config_set(&mut client, "maxmemory", "0");
    config_set(&mut client, "maxmemory", "1gb");
    assert_eq!(time(&mut client, "current"), 0);
    let total = time(&mut client, "total");
    assert!(total > 5);
    assert_eq!(time(&mut client, "total"), total);
    client.cmd(&["CONFIG", "RESETSTAT"]);
    assert_eq!(time(&mut client, "total"), 0);
}

/// Limits that cannot be meant, at the start and later.
#[test]
fn little_memory_is_warned_of() {
    let server = Server::kivi(&["--maxmemory", "1023kb"]);
    let small = "WARNING: You specified a maxmemory value that is less than 1MB (current value is 1047552 bytes). \
                 Are you sure this is what you really want?";
    eventually("a warning at the start", || {
        server.log().contains(small).then_some(())
    });
    let mut client = server.connect();
    config_set(&mut client, "maxmemory", "1gb");
    config_set(&mut client, "maxmemory", "1024");
    let lower = "WARNING: the new maxmemory value set via CONFIG SET (1024) is smaller than the current memory usage (";
    eventually("a warning of CONFIG SET", || {
        server.log().contains(lower).then_some(())
    });
    assert!(!server.log().contains("CONFIG SET (1073741824)"));
    let server = Server::kivi(&["--maxmemory", "1mb"]);
    assert!(!server.log().contains("less than 1MB"));
}
