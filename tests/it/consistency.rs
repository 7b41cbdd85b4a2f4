//! Consistency under fire: what a snapshot holds is one moment of the keyspace, whatever goes on.
//!
//! Many clients make changes that keep an invariant (a transfer from one key to another by a single
//! command, a collection that moves as a whole) while BGSAVE and BGREWRITEAOF run again and again.
//! Every file that comes out is loaded by a second Kivi and by Debian's Redis, or by Valkey if it is of
//! a newer version; they must find every invariant. In the end the log alone must lead to the very state that was there (DEBUG DIGEST).
//!
//! A kind of change is a row of [`THEMES`]: its keys, one step of one client, and the invariant.
//! What needs a command that a server may lack says so (`needs`), and is left out there.
//!
//! Environment: `KIVI_TEST_SNAPSHOTS` (default 8), `KIVI_TEST_SEED`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::client::{Client, Reply, encode};
use crate::generate::Rng;
use crate::harness::{Server, StopAtEnd, env_number, eventually};
use crate::large;
use crate::store::{EVERY_SECOND, Store, bgrewriteaof, bgsave, newer_than_redis_7};
use crate::stream_snapshots;

/// Clients of each theme.
const CLIENTS: usize = 2;

/// A kind of change and what it leaves alone.
pub(crate) struct Theme {
    pub(crate) name: &'static str,
    /// A command without which it cannot be.
    pub(crate) needs: &'static str,
    /// Writes the keys.
    pub(crate) setup: fn(&mut Client),
    /// One step of the client of that number.
    pub(crate) step: fn(&mut Client, &mut Rng, usize),
    /// Whether the invariant holds; what is wrong if not.
    pub(crate) check: fn(&mut Client) -> Result<(), String>,
}

const THEMES: &[Theme] = &[
    Theme {
        name: "MSET of pairs with a constant sum",
        needs: "mset",
        setup: |client| (0..PAIRS).for_each(|pair| transfer(client, pair, 0)),
        step: |client, rng, _| transfer(client, rng.below(PAIRS), rng.below(SUM + 1)),
        check: check_pairs,
    },
    Theme {
        name: "MSET of many keys at once",
        needs: "mset",
        setup: |client| set_wide(client, 0),
        step: |client, rng, _| set_wide(client, rng.below(1_000_000)),
        check: check_wide,
    },
    Theme {
        name: "elements that move between lists",
        needs: "lmove",
        setup: |client| {
            for element in 0..ELEMENTS {
                client.cmd(&words(&format!(
                    "RPUSH line:{} {element}",
                    element % PLACES
                )));
            }
        },
        step: move_in_lists,
        check: |client| elements_are_whole(client, "line", "LRANGE"),
    },
    Theme {
        name: "members that move between sets",
        needs: "smove",
        setup: |client| {
            for member in 0..ELEMENTS {
                client.cmd(&words(&format!("SADD club:{} {member}", member % PLACES)));
            }
        },
        step: |client, rng, _| {
            let (from, to) = (rng.below(PLACES), rng.below(PLACES));
            let member = rng.below(ELEMENTS);
            client.cmd(&words(&format!("SMOVE club:{from} club:{to} {member}")));
        },
        check: |client| elements_are_whole(client, "club", "SMEMBERS"),
    },
    Theme {
        name: "keys that are renamed",
        needs: "rename",
        setup: |client| {
            for token in 0..TOKENS {
                client.cmd(&words(&format!("SET token:{token}:a {token}")));
            }
        },
        step: |client, rng, who| {
            // Each client has its own, so that nobody else takes one away in between.
            let token = rng.below(TOKENS / CLIENTS) * CLIENTS + who;
            let (from, to) = *rng.pick(&[('a', 'b'), ('b', 'a')]);
            let name = *rng.pick(&["RENAME", "RENAMENX"]);
            client.cmd(&words(&format!(
                "{name} token:{token}:{from} token:{token}:{to}"
            )));
        },
        check: check_tokens,
    },
    Theme {
        name: "keys that move between databases",
        needs: "move",
        setup: |client| {
            for token in 0..TOKENS {
                client.cmd(&words(&format!("SET nomad:{token} {token}")));
            }
        },
        step: |client, rng, who| {
            let token = rng.below(TOKENS / CLIENTS) * CLIENTS + who;
            let from = rng.below(2);
            client.cmd(&words(&format!("SELECT {from}")));
            client.cmd(&words(&format!("MOVE nomad:{token} {}", 1 - from)));
        },
        check: check_nomads,
    },
    Theme {
        name: "keys that are copied onto",
        needs: "copy",
        setup: |client| {
            client.cmd(&["SET", "model:0", &"x".repeat(3000)]);
            client.cmd(&["SET", "model:1", "17"]);
            (0..CLIENTS).for_each(|who| copy_model(client, who, 0));
        },
        step: |client, rng, who| copy_model(client, who, rng.below(2)),
        check: check_copies,
    },
    Theme {
        name: "sorted sets that are stored",
        needs: "zunionstore",
        setup: |client| {
            for member in 1..=MEMBERS {
                client.cmd(&words(&format!("ZADD base {member} m{member}")));
            }
            (0..CLIENTS).for_each(|who| store_weighted(client, who, 1));
        },
        step: |client, rng, who| store_weighted(client, who, 1 + rng.below(1000)),
        check: check_weighted,
    },
    Theme {
        name: "long strings that are written anew",
        needs: "set",
        setup: |client| set_blob(client, 0),
        step: |client, rng, _| set_blob(client, rng.below(26)),
        check: |client| {
            let blob = client.cmd(&["GET", "blob"]);
            let bytes = blob.bytes();
            let whole = bytes.len() == BLOB && bytes.iter().all(|byte| *byte == bytes[0]);
            whole.then_some(()).ok_or_else(|| format!("{blob:?}"))
        },
    },
    Theme {
        name: "transfers in MULTI",
        needs: "multi",
        setup: |client| {
            for account in 0..ACCOUNTS {
                client.cmd(&words(&format!("SET account:{account} {SUM}")));
            }
        },
        step: |client, rng, _| {
            let (from, to) = (rng.below(ACCOUNTS), rng.below(ACCOUNTS));
            let amount = rng.below(SUM);
            for command in [
                "MULTI".to_owned(),
                format!("DECRBY account:{from} {amount}"),
                format!("INCRBY account:{to} {amount}"),
                "EXEC".to_owned(),
            ] {
                let reply = client.cmd(&words(&command));
                assert!(!reply.is_error(), "{command}: {reply:?}");
            }
        },
        check: |client| check_accounts(client, "account"),
    },
    Theme {
        name: "transfers by scripts",
        needs: "eval",
        setup: |client| {
            for account in 0..ACCOUNTS {
                client.cmd(&words(&format!("SET deposit:{account} {SUM}")));
            }
        },
        step: |client, rng, who| {
            let [from, to] = [(); 2].map(|()| format!("deposit:{}", rng.below(ACCOUNTS)));
            let amount = (1 + rng.below(SUM)).to_string();
            // One that touches what it was told, and one that might touch anything.
            let script = match who % 2 {
                0 => {
                    "redis.call('DECRBY', KEYS[1], ARGV[1]) redis.call('INCRBY', KEYS[2], ARGV[1])"
                }
                _ => {
                    "for at, sign in ipairs({'-', ''}) do \
                     redis.call('INCRBY', KEYS[at], sign .. ARGV[1]) end"
                }
            };
            let reply = client.cmd(&["EVAL", script, "2", &from, &to, &amount]);
            assert!(!reply.is_error(), "{reply:?}");
        },
        check: |client| check_accounts(client, "deposit"),
    },
];

/// Whether no amount is lost.
fn check_accounts(client: &mut Client, name: &str) -> Result<(), String> {
    let sum: i64 = numbers(client, name, ACCOUNTS)?.iter().sum();
    let all = (ACCOUNTS * SUM) as i64;
    (sum == all)
        .then_some(())
        .ok_or_else(|| format!("{sum}, not {all}"))
}

const PAIRS: usize = 200;
const SUM: usize = 1000;
const WIDE: usize = 40;
const PLACES: usize = 4;
const ELEMENTS: usize = 300;
const TOKENS: usize = 40;
const MEMBERS: usize = 200;
const BLOB: usize = 100_000;
const ACCOUNTS: usize = 50;

/// A command out of words without blanks.
pub(crate) fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

fn transfer(client: &mut Client, pair: usize, part: usize) {
    let rest = SUM - part;
    client.cmd(&words(&format!(
        "MSET pair:{pair}:a {part} pair:{pair}:b {rest}"
    )));
}

/// The numbers in the keys `name:0`, `name:1`, ...
fn numbers(client: &mut Client, name: &str, count: usize) -> Result<Vec<i64>, String> {
    let keys = (0..count).map(|number| format!("{name}:{number}"));
    let mget: Vec<String> = std::iter::once("MGET".to_owned()).chain(keys).collect();
    let reply = client.cmd(&mget);
    let number = |item: &Reply| match item {
        Reply::Bulk(_) => item.text().parse().map_err(|_| format!("{item:?}")),
        _ => Err(format!("a {name} is missing")),
    };
    reply.items().iter().map(number).collect()
}

fn check_pairs(client: &mut Client) -> Result<(), String> {
    for pair in 0..PAIRS {
        let reply = client.cmd(&words(&format!("MGET pair:{pair}:a pair:{pair}:b")));
        let number = |item: &Reply| match item {
            Reply::Bulk(_) => item.text().parse::<usize>().unwrap_or(usize::MAX / 2),
            _ => usize::MAX / 2,
        };
        let sum: usize = reply.items().iter().map(number).sum();
        if sum != SUM {
            return Err(format!("pair {pair}: {reply:?}"));
        }
    }
    Ok(())
}

fn set_wide(client: &mut Client, value: usize) {
    let pairs = (0..WIDE).flat_map(|key| [format!("wide:{key}"), value.to_string()]);
    let mset: Vec<String> = std::iter::once("MSET".to_owned()).chain(pairs).collect();
    client.cmd(&mset);
}

fn check_wide(client: &mut Client) -> Result<(), String> {
    let values = numbers(client, "wide", WIDE)?;
    let same = values.iter().all(|value| *value == values[0]);
    same.then_some(()).ok_or_else(|| format!("{values:?}"))
}

fn move_in_lists(client: &mut Client, rng: &mut Rng, _: usize) {
    let (from, to) = (rng.below(PLACES), rng.below(PLACES));
    let command = match rng.below(3) {
        0 => format!("RPOPLPUSH line:{from} line:{to}"),
        _ => {
            let ends = ["LEFT", "RIGHT"];
            let (first, second) = (rng.pick(&ends), rng.pick(&ends));
            format!("LMOVE line:{from} line:{to} {first} {second}")
        }
    };
    client.cmd(&words(&command));
}

/// Whether all elements are there, each once.
fn elements_are_whole(client: &mut Client, name: &str, command: &str) -> Result<(), String> {
    let mut found: Vec<usize> = Vec::new();
    for place in 0..PLACES {
        let key = format!("{name}:{place}");
        let reply = match command {
            "LRANGE" => client.cmd(&[command, &key, "0", "-1"]),
            _ => client.cmd(&[command, &key]),
        };
        let number = |item: &Reply| item.text().parse().unwrap_or(usize::MAX);
        found.extend(reply.items().iter().map(number));
    }
    found.sort_unstable();
    let all: Vec<usize> = (0..ELEMENTS).collect();
    (found == all)
        .then_some(())
        .ok_or_else(|| format!("{} elements: {found:?}", found.len()))
}

fn check_tokens(client: &mut Client) -> Result<(), String> {
    for token in 0..TOKENS {
        let reply = client.cmd(&words(&format!("MGET token:{token}:a token:{token}:b")));
        let there: Vec<&Reply> = reply.items().iter().filter(|i| **i != Reply::Nil).collect();
        if there.len() != 1 || there[0].text() != token.to_string() {
            return Err(format!("token {token}: {reply:?}"));
        }
    }
    Ok(())
}

fn check_nomads(client: &mut Client) -> Result<(), String> {
    let mut homes: BTreeMap<usize, usize> = BTreeMap::new();
    for db in 0..2 {
        client.cmd(&words(&format!("SELECT {db}")));
        for token in 0..TOKENS {
            let found = client.cmd(&["GET", &format!("nomad:{token}")]);
            if found != Reply::Nil {
                *homes.entry(token).or_default() += 1;
            }
        }
    }
    client.cmd(&["SELECT", "0"]);
    let whole = homes.len() == TOKENS && homes.values().all(|count| *count == 1);
    whole.then_some(()).ok_or_else(|| format!("{homes:?}"))
}

fn copy_model(client: &mut Client, who: usize, model: usize) {
    client.cmd(&words(&format!("COPY model:{model} copy:{who} REPLACE")));
}

fn check_copies(client: &mut Client) -> Result<(), String> {
    let models = [0, 1].map(|model| client.cmd(&["GET", &format!("model:{model}")]));
    for who in 0..CLIENTS {
        let copy = client.cmd(&["GET", &format!("copy:{who}")]);
        if copy == Reply::Nil || !models.contains(&copy) {
            return Err(format!("copy {who}: {copy:?}"));
        }
    }
    Ok(())
}

fn store_weighted(client: &mut Client, who: usize, weight: usize) {
    client.cmd(&words(&format!(
        "ZUNIONSTORE sum:{who} 1 base WEIGHTS {weight}"
    )));
}

fn check_weighted(client: &mut Client) -> Result<(), String> {
    for who in 0..CLIENTS {
        let reply = client.cmd(&words(&format!("ZRANGE sum:{who} 0 -1 WITHSCORES")));
        let scores = reply.items().iter().skip(1).step_by(2);
        let scores: Vec<usize> = scores.map(|s| s.text().parse().unwrap_or(0)).collect();
        let weight = scores.first().copied().unwrap_or(0);
        let expected: Vec<usize> = (1..=MEMBERS).map(|member| member * weight).collect();
        if weight == 0 || scores != expected {
            return Err(format!("sum {who}: {scores:?}"));
        }
    }
    Ok(())
}

fn set_blob(client: &mut Client, letter: usize) {
    client.cmd(&[
        b"SET".to_vec(),
        b"blob".to_vec(),
        vec![b'a' + letter as u8; BLOB],
    ]);
}

/// The themes that a server is able to act out.
fn able<'a>(server: &Server, themes: &[&'a Theme]) -> Vec<&'a Theme> {
    let mut client = server.connect();
    let knows = |client: &mut Client, name: &str| {
        let reply = client.cmd(&["COMMAND", "INFO", name]);
        reply.items()[0] != Reply::Nil
    };
    themes
        .iter()
        .copied()
        .filter(|theme| knows(&mut client, theme.needs))
        .collect()
}

/// Lets the clients of all themes work while `meanwhile` runs, `round` being one of several times.
fn under_fire(server: &Server, themes: &[&Theme], round: u64, meanwhile: impl FnOnce(&mut Client)) {
    let done = AtomicBool::new(false);
    let steps = AtomicU64::new(0);
    let seed = env_number("KIVI_TEST_SEED", 1) * 1000 + round;
    thread::scope(|scope| {
        let mut clients = Vec::new();
        for (index, theme) in themes.iter().enumerate() {
            for who in 0..CLIENTS {
                let (done, steps) = (&done, &steps);
                let mut rng = Rng::new(seed * 1000 + (index * CLIENTS + who) as u64);
                let mut client = server.connect();
                clients.push(scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        (theme.step)(&mut client, &mut rng, who);
                        steps.fetch_add(1, Ordering::Relaxed);
                    }
                }));
            }
        }
        // A panic here must not leave the clients at work, which the scope waits for.
        let stop = StopAtEnd(&done);
        eventually("the clients to be at work", || {
            (steps.load(Ordering::Relaxed) > 500).then_some(())
        });
        meanwhile(&mut server.connect());
        drop(stop);
        let ended = clients.into_iter().all(|client| client.join().is_ok());
        assert!(ended, "a client failed");
    });
}

/// Panics unless servers that load the file find every invariant.
fn check_file(store: &Store, file: &std::path::Path, themes: &[&Theme], what: &str) {
    store.accepted("check-rdb", file);
    let peer = match newer_than_redis_7("check-rdb", file) {
        Some(_) => "valkey",
        None => "redis",
    };
    for kind in ["kivi", peer] {
        let Some(other) = Store::of(kind) else {
            continue;
        };
        std::fs::copy(file, other.path("dump.rdb")).expect("copying a snapshot");
        let server = other.start(&[]);
        let mut client = server.connect();
        for theme in themes {
            if let Err(wrong) = (theme.check)(&mut client) {
                panic!(
                    "{what} of {}, loaded by {kind}: {}: {wrong}",
                    store.kind, theme.name
                );
            }
        }
    }
}

/// The whole of it: snapshots of both kinds under fire, and the log at the end.
fn every_snapshot_is_one_moment(themes: &[&Theme], snapshots: u64, threads: &str) {
    let store = Store::kivi();
    let threads = ["--io-threads", threads];
    let debug = ["--enable-debug-command", "yes"];
    let args = [EVERY_SECOND, &threads, &debug].concat();
    let server = store.start(&args);
    let themes = able(&server, themes);
    let mut client = server.connect();
    themes.iter().for_each(|theme| (theme.setup)(&mut client));
    for round in 1..=snapshots {
        let mut snapshot = None;
        under_fire(&server, &themes, round, |control| {
            snapshot = Some(if round % 2 == 1 {
                assert_eq!(bgsave(control), "ok", "BGSAVE {round}");
                (store.path("dump.rdb"), format!("BGSAVE {round}"))
            } else {
                assert_eq!(bgrewriteaof(control), "ok", "BGREWRITEAOF {round}");
                let what = format!("the base of BGREWRITEAOF {round}");
                (store.log_file("base.rdb"), what)
            });
        });
        let (file, what) = snapshot.expect("one was made");
        check_file(&store, &file, &themes, &what);
    }
    // A rewrite may be at work while the last changes come in.
    under_fire(&server, &themes, 0, |control| {
        control.cmd(&["BGREWRITEAOF"]);
    });
    crate::store::await_rest(&mut client);
    let digest = client.cmd(&["DEBUG", "DIGEST"]);
    assert!(!digest.is_error(), "{digest:?}");
    store.accepted("check-aof", &store.log_file("manifest"));
    // In order, as an unwritten second may be lost otherwise.
    client.send(&encode(&["SHUTDOWN", "NOSAVE"]));
    let mut server = server;
    server.wait_exit();
    let server = store.start(&args);
    let mut client = server.connect();
    for theme in &themes {
        if let Err(wrong) = (theme.check)(&mut client) {
            panic!("the log: {}: {wrong}", theme.name);
        }
    }
    let loaded = client.cmd(&["DEBUG", "DIGEST"]);
    assert_eq!(loaded, digest, "the log leads to another state");
}

#[test]
fn transfers_keep_their_sums_in_every_snapshot() {
    let themes: Vec<&Theme> = THEMES.iter().collect();
    let snapshots = env_number("KIVI_TEST_SNAPSHOTS", 8);
    every_snapshot_is_one_moment(&themes, snapshots, "4");
}

#[test]
fn transfers_keep_their_sums_with_one_thread() {
    let themes: Vec<&Theme> = THEMES.iter().collect();
    let snapshots = env_number("KIVI_TEST_SNAPSHOTS", 8) / 2;
    every_snapshot_is_one_moment(&themes, snapshots, "1");
}

#[test]
fn large_collections_are_whole_in_every_snapshot() {
    let themes: Vec<&Theme> = large::THEMES.iter().collect();
    let snapshots = env_number("KIVI_TEST_SNAPSHOTS", 8) / 2;
    every_snapshot_is_one_moment(&themes, snapshots, "4");
}

#[test]
fn streams_are_whole_in_every_snapshot() {
    let themes: Vec<&Theme> = stream_snapshots::THEMES.iter().collect();
    let snapshots = env_number("KIVI_TEST_SNAPSHOTS", 8) / 2;
    every_snapshot_is_one_moment(&themes, snapshots, "4");
}
