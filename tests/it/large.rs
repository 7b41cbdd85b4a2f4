//! Large collections that change, move, and go while a snapshot walks them: themes of `consistency`,
//! and FLUSHALL in the middle of a snapshot.
//!
//! Elements come in pairs that are written by one command, so that a half of a change would show.
//! What is copied, renamed or deleted is either there as a whole or not at all.
//!
//! Environment: `KIVI_TEST_LARGE`, the elements of a collection (default 100,000).

use std::collections::BTreeMap;

use crate::client::{Client, Reply};
use crate::consistency::{Theme, words};
use crate::generate::Rng;
use crate::harness::env_number;
use crate::store::{EVERY_SECOND, Store, await_rest, bgsave};

/// Elements per command of a fill.
const CHUNK: u64 = 500;
/// The sum of a pair.
const SUM: usize = 1000;
const TYPES: [&str; 4] = ["list", "set", "hash", "zset"];

fn elements() -> u64 {
    env_number("KIVI_TEST_LARGE", 100_000)
}

pub(crate) const THEMES: &[Theme] = &[
    Theme {
        name: "pairs in a large hash",
        needs: "hset",
        setup: |client| fill(client, "hash", "big:hash"),
        step: |client, rng, _| {
            let (one, two, x) = pair(rng);
            let command = match rng.below(3) {
                0 => format!("HDEL big:hash f{one} f{two}"),
                _ => format!("HSET big:hash f{one} {x} f{two} {}", SUM - x),
            };
            client.cmd(&words(&command));
        },
        check: |client| pairs_are_whole(client, "HSCAN", "big:hash"),
    },
    Theme {
        name: "pairs in a large sorted set",
        needs: "zadd",
        setup: |client| fill(client, "zset", "big:zset"),
        step: |client, rng, _| {
            let (one, two, x) = pair(rng);
            let command = match rng.below(3) {
                0 => format!("ZREM big:zset f{one} f{two}"),
                _ => format!("ZADD big:zset {x} f{one} {} f{two}", SUM - x),
            };
            client.cmd(&words(&command));
        },
        check: |client| pairs_are_whole(client, "ZSCAN", "big:zset"),
    },
    Theme {
        name: "elements that move between large lists",
        needs: "lmove",
        setup: |client| fill(client, "list", "big:list:0"),
        step: |client, rng, _| {
            let (from, to) = (rng.below(2), rng.below(2));
            let ends = ["LEFT", "RIGHT"];
            let (first, second) = (rng.pick(&ends), rng.pick(&ends));
            let command = format!("LMOVE big:list:{from} big:list:{to} {first} {second}");
            client.cmd(&words(&command));
        },
        check: |client| {
            let mut all = list_elements(client, "big:list:0")?;
            all.extend(list_elements(client, "big:list:1")?);
            each_once(all)
        },
    },
    Theme {
        name: "elements in the middle of a large list",
        needs: "linsert",
        setup: |client| fill(client, "list", "big:middle"),
        step: |client, rng, _| {
            // Two that stand together: written, moved to another value, and taken away as pairs.
            let at = rng.below(elements() as usize / 2);
            let command = match rng.below(2) {
                0 => format!("LSET big:middle {at} e{}", rng.below(1000)),
                _ => format!("LINSERT big:middle BEFORE e{} x", rng.below(2000)),
            };
            client.cmd(&words(&command));
            client.cmd(&words("LREM big:middle 1 x"));
        },
        check: |client| {
            let length = list_elements(client, "big:middle")?.len() as u64;
            let most = elements() + 2;
            let whole = (elements()..=most).contains(&length);
            whole
                .then_some(())
                .ok_or_else(|| format!("{length} elements"))
        },
    },
    Theme {
        name: "members that move between large sets",
        needs: "smove",
        setup: |client| fill(client, "set", "big:set:0"),
        step: |client, rng, _| {
            let from = rng.below(2);
            let member = rng.below(elements() as usize);
            let command = format!("SMOVE big:set:{from} big:set:{} e{member}", 1 - from);
            client.cmd(&words(&command));
        },
        check: |client| {
            let mut all = scan(client, "SSCAN", "big:set:0")?;
            all.extend(scan(client, "SSCAN", "big:set:1")?);
            each_once(all)
        },
    },
    Theme {
        name: "large collections that are renamed",
        needs: "rename",
        setup: |client| {
            TYPES
                .iter()
                .for_each(|t| fill(client, t, &format!("walk:{t}:a")))
        },
        step: |client, rng, who| {
            // Only the first client: with two, a key could be renamed onto its own old name.
            if who == 0 {
                let (from, to) = *rng.pick(&[('a', 'b'), ('b', 'a')]);
                let kind = rng.pick(&TYPES);
                client.cmd(&words(&format!(
                    "RENAME walk:{kind}:{from} walk:{kind}:{to}"
                )));
            } else {
                client.cmd(&["PING"]);
            }
        },
        check: |client| {
            for kind in TYPES {
                let counts = ["a", "b"].map(|at| count(client, kind, &format!("walk:{kind}:{at}")));
                if counts[0] + counts[1] != elements() || counts.iter().all(|count| *count > 0) {
                    return Err(format!("{kind}: {counts:?}"));
                }
            }
            Ok(())
        },
    },
    Theme {
        name: "large collections that are copied, replaced and deleted",
        needs: "copy",
        setup: |client| {
            TYPES
                .iter()
                .for_each(|t| fill(client, t, &format!("model:{t}")))
        },
        step: |client, rng, who| {
            let kind = rng.pick(&TYPES);
            let key = format!("victim:{who}:{kind}");
            let command = match rng.below(6) {
                0 | 1 => format!("COPY model:{kind} {key} REPLACE"),
                2 => format!("DEL {key}"),
                3 => format!("UNLINK {key}"),
                4 => format!("SET {key} replaced"),
                _ => format!("PEXPIRE {key} 1"),
            };
            client.cmd(&words(&command));
        },
        check: check_victims,
    },
];

/// Two neighbours and the part of the first.
fn pair(rng: &mut Rng) -> (usize, usize, usize) {
    let first = rng.below(elements() as usize / 2) * 2;
    (first, first + 1, rng.below(SUM + 1))
}

/// Writes a collection; pairs get a half of the sum each.
fn fill(client: &mut Client, kind: &str, key: &str) {
    let mut next = 0;
    while next < elements() {
        let end = elements().min(next + CHUNK);
        let mut argv = match kind {
            "list" => vec!["RPUSH".to_owned(), key.to_owned()],
            "set" => vec!["SADD".to_owned(), key.to_owned()],
            "hash" => vec!["HSET".to_owned(), key.to_owned()],
            _ => vec!["ZADD".to_owned(), key.to_owned()],
        };
        let half = (SUM / 2).to_string();
        for number in next..end {
            match kind {
                "hash" => argv.extend([format!("f{number}"), half.clone()]),
                "zset" => argv.extend([half.clone(), format!("f{number}")]),
                _ => argv.push(format!("e{number}")),
            }
        }
        let reply = client.cmd(&argv);
        assert!(!reply.is_error(), "{} {key}: {reply:?}", argv[0]);
        next = end;
    }
}

/// The number of elements of a key of that type; 0 if it is missing.
fn count(client: &mut Client, kind: &str, key: &str) -> u64 {
    let command = match kind {
        "list" => "LLEN",
        "set" => "SCARD",
        "hash" => "HLEN",
        _ => "ZCARD",
    };
    match client.cmd(&[command, key]) {
        Reply::Int(count) => count as u64,
        other => panic!("{command} {key}: {other:?}"),
    }
}

/// All that a scan of a large key tells, in pieces, as this client reads large replies slowly.
fn scan(client: &mut Client, command: &str, key: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let reply = client.cmd(&[command, key, &cursor, "COUNT", "2000"]);
        let Reply::Array(parts) = &reply else {
            return Err(format!("{command} {key}: {reply:?}"));
        };
        found.extend(parts[1].items().iter().map(Reply::text));
        cursor = parts[0].text();
        if cursor == "0" {
            return Ok(found);
        }
    }
}

fn list_elements(client: &mut Client, key: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    loop {
        let (from, to) = (found.len(), found.len() + 1999);
        let reply = client.cmd(&["LRANGE", key, &from.to_string(), &to.to_string()]);
        let Reply::Array(items) = &reply else {
            return Err(format!("LRANGE {key}: {reply:?}"));
        };
        if items.is_empty() {
            return Ok(found);
        }
        found.extend(items.iter().map(Reply::text));
    }
}

/// Whether `e0`, `e1`, ... are all there, each once.
fn each_once(found: Vec<String>) -> Result<(), String> {
    let number = |text: &String| text[1..].parse().unwrap_or(u64::MAX);
    let mut numbers: Vec<u64> = found.iter().map(number).collect();
    numbers.sort_unstable();
    let whole = numbers.len() as u64 == elements()
        && numbers.iter().enumerate().all(|(i, n)| i as u64 == *n);
    whole
        .then_some(())
        .ok_or_else(|| format!("{} elements, or one twice", numbers.len()))
}

/// Whether of each pair both halves are there, with the right sum, or none.
fn pairs_are_whole(client: &mut Client, command: &str, key: &str) -> Result<(), String> {
    let found = scan(client, command, key)?;
    let mut pairs: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for entry in found.chunks(2) {
        let number: u64 = entry[0][1..].parse().map_err(|_| entry[0].clone())?;
        let part = entry[1].parse().map_err(|_| entry[1].clone())?;
        pairs.entry(number / 2).or_default().push(part);
    }
    for (pair, parts) in pairs {
        if parts.len() != 2 || parts.iter().sum::<usize>() != SUM {
            return Err(format!("pair {pair}: {parts:?}"));
        }
    }
    Ok(())
}

/// Whether each victim is missing, or replaced by a string, or as its model is.
fn check_victims(client: &mut Client) -> Result<(), String> {
    for who in 0..2 {
        for kind in TYPES {
            let (key, model) = (format!("victim:{who}:{kind}"), format!("model:{kind}"));
            let found = client.cmd(&["TYPE", &key]).text();
            match found.as_str() {
                "none" => {}
                "string" => {
                    let value = client.cmd(&["GET", &key]);
                    // It may have expired since its type was asked.
                    if value != Reply::Nil && value.text() != "replaced" {
                        return Err(format!("{key}: {value:?}"));
                    }
                }
                _ => {
                    let counts = [key.as_str(), &model].map(|key| count(client, kind, key));
                    let gone = client.cmd(&["EXISTS", &key]) == Reply::Int(0);
                    if found != kind || (counts[0] != elements() && !gone) {
                        return Err(format!("{key}: {found} of {counts:?}"));
                    }
                }
            }
        }
    }
    Ok(())
}

/// FLUSHALL ends a BGSAVE or lets it end with what was there when it began; it never tears it. A
/// rewrite of the log goes on, and FLUSHALL follows it there.
#[test]
fn flushall_does_not_tear_a_snapshot() {
    let store = Store::kivi();
    let server = store.start(EVERY_SECOND);
    let mut client = server.connect();
    let whole = |client: &mut Client| {
        let counts = TYPES.map(|kind| count(client, kind, &format!("doomed:{kind}")));
        counts.iter().all(|count| *count == elements())
    };
    for (round, flush) in ["FLUSHALL", "FLUSHALL ASYNC", "FLUSHALL SYNC", "FLUSHDB"]
        .iter()
        .enumerate()
    {
        TYPES
            .iter()
            .for_each(|kind| fill(&mut client, kind, &format!("doomed:{kind}")));
        if round == 0 {
            assert_eq!(bgsave(&mut client), "ok");
        }
        let mut saver = server.connect();
        let job = if round % 2 == 0 {
            "BGSAVE"
        } else {
            "BGREWRITEAOF"
        };
        assert!(!saver.cmd(&[job]).is_error(), "{job}");
        assert!(!client.cmd(&words(flush)).is_error(), "{flush}");
        assert_eq!(
            client.cmd(&["SET", "after", flush]),
            Reply::Status(b"OK".to_vec())
        );
        await_rest(&mut client);
        let file = match job {
            "BGSAVE" => store.path("dump.rdb"),
            _ => store.log_file("base.rdb"),
        };
        store.accepted("check-rdb", &file);
        let other = Store::kivi();
        std::fs::copy(&file, other.path("dump.rdb")).expect("copying a snapshot");
        let loaded = other.start(&[]);
        let mut loaded = loaded.connect();
        let is_empty =
            TYPES.map(|kind| count(&mut loaded, kind, &format!("doomed:{kind}"))) == [0; 4];
        // A rewrite may begin after its reply, as the log tells the rest.
        assert!(
            whole(&mut loaded) || (is_empty && job != "BGSAVE"),
            "{job} and {flush}: the snapshot has lost something"
        );
    }
    client.send(&crate::client::encode(&["SHUTDOWN", "NOSAVE"]));
    let mut server = server;
    server.wait_exit();
    let server = store.start(EVERY_SECOND);
    let mut client = server.connect();
    assert_eq!(client.cmd(&["DBSIZE"]), Reply::Int(1));
    assert_eq!(client.cmd(&["GET", "after"]).text(), "FLUSHDB");
}
