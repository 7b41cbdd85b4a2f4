//! Streams that change, move, and go while a snapshot walks them: themes of `consistency`.
//!
//! An entry is added and another one trimmed by one command; a group reads, and what it has read is
//! pending. What is copied, renamed or deleted is there as a whole or not at all.

use std::collections::BTreeMap;

use crate::client::{Client, Reply};
use crate::consistency::{Theme, words};
use crate::generate::Rng;

/// Entries of a stream.
const ENTRIES: usize = 5_000;
/// The sum of an entry's two numbers.
const SUM: usize = 1000;
/// Who reads a group.
const WORKERS: [&str; 5] = ["a", "b", "c", "d", "e"];

pub(crate) const THEMES: &[Theme] = &[
    Theme {
        name: "streams of constant length",
        needs: "xadd",
        setup: |client| {
            for who in 0..2 {
                fill(client, &format!("log:{who}"));
            }
        },
        step: |client, rng, who| {
            let add = add(&format!("log:{who} MAXLEN {ENTRIES}"), rng.below(SUM + 1));
            client.cmd(&words(&add));
        },
        check: |client| {
            (0..2).try_for_each(|who| {
                let sums = sums(client, &format!("log:{who}"))?;
                same("length", sums, ENTRIES)
            })
        },
    },
    Theme {
        name: "a group whose entries are read and claimed",
        needs: "xreadgroup",
        setup: |client| {
            fill(client, "queue");
            client.cmd(&words("XGROUP CREATE queue g 0"));
        },
        step: work,
        check: check_group,
    },
    Theme {
        name: "streams that are copied, renamed, deleted",
        needs: "xgroup",
        setup: |client| {
            fill(client, "base:stream");
            client.cmd(&words("XGROUP CREATE base:stream g 0"));
            let read = "XREADGROUP GROUP g reader COUNT 3000 STREAMS base:stream >";
            client.cmd(&words(read));
        },
        step: |client, rng, who| {
            let command = match rng.below(4) {
                0 => format!("DEL copy:{who}"),
                1 => format!("RENAME copy:{who} moved:{who}"),
                2 => format!("COPY moved:{who} copy:{who} REPLACE"),
                _ => format!("COPY base:stream copy:{who} REPLACE"),
            };
            client.cmd(&words(&command));
        },
        check: check_copies,
    },
];

fn add(key: &str, x: usize) -> String {
    format!("XADD {key} * x {x} y {}", SUM - x)
}

fn fill(client: &mut Client, key: &str) {
    for entry in 0..ENTRIES {
        client.cmd(&words(&add(key, entry % (SUM + 1))));
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: {found:?}, not {expected:?}")),
    }
}

/// How many entries a stream has, if the numbers of each have the right sum.
fn sums(client: &mut Client, key: &str) -> Result<usize, String> {
    let entries = client.cmd(&["XRANGE", key, "-", "+"]);
    for entry in entries.items() {
        let fields = entry.items()[1].items();
        let number = |at: usize| fields[at].text().parse::<usize>().unwrap_or(usize::MAX / 2);
        same("sum", number(1) + number(3), SUM)?;
    }
    Ok(entries.items().len())
}

/// Reads, claims, adds.
fn work(client: &mut Client, rng: &mut Rng, _: usize) {
    let worker = rng.pick(&WORKERS);
    let command = match rng.below(8) {
        0 | 1 => add("queue", rng.below(SUM + 1)),
        2 | 3 => format!(
            "XAUTOCLAIM queue g {worker} 0 0 COUNT {}",
            1 + rng.below(200)
        ),
        4 => format!("XGROUP CREATECONSUMER queue g {worker}"),
        _ => format!(
            "XREADGROUP GROUP g {worker} COUNT {} STREAMS queue >",
            1 + rng.below(5)
        ),
    };
    client.cmd(&words(&command));
}

/// The value behind a name in a reply that alternates them.
fn figure<'a>(reply: &'a Reply, name: &str) -> Result<&'a Reply, String> {
    let name = Reply::Bulk(name.as_bytes().to_vec());
    let mut pairs = reply.items().chunks(2);
    let pair = pairs.find(|pair| pair[0] == name);
    pair.map(|pair| &pair[1])
        .ok_or_else(|| format!("no {name:?}"))
}

/// What was read is pending, each entry with one consumer, and counted.
fn check_group(client: &mut Client) -> Result<(), String> {
    let groups = client.cmd(&words("XINFO GROUPS queue"));
    let Some(group) = groups.items().first() else {
        return Err("no group".to_owned());
    };
    let last = figure(group, "last-delivered-id")?.text();
    let pending = client.cmd(&words("XPENDING queue g - + 10000000"));
    let ids: Vec<String> = pending
        .items()
        .iter()
        .map(|p| p.items()[0].text())
        .collect();
    let read = client.cmd(&["XRANGE", "queue", "-", &last]);
    let read: Vec<String> = read
        .items()
        .iter()
        .map(|entry| entry.items()[0].text())
        .collect();
    if last == "0-0" {
        return same("pending", ids.len(), 0);
    }
    same("pending", ids, read.clone())?;
    same(
        "entries-read",
        figure(group, "entries-read")?.int(),
        read.len() as i64,
    )?;
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for pending in pending.items() {
        *counts.entry(pending.items()[1].text()).or_default() += 1;
    }
    let consumers = client.cmd(&words("XINFO CONSUMERS queue g"));
    for consumer in consumers.items() {
        let name = figure(consumer, "name")?.text();
        let count = counts.remove(&name).unwrap_or(0);
        same(&name, figure(consumer, "pending")?.int(), count)?;
    }
    same("consumers that are not there", counts.len(), 0)?;
    sums(client, "queue").map(drop)
}

/// Each copy is the stream that was copied.
fn check_copies(client: &mut Client) -> Result<(), String> {
    let full = |client: &mut Client, key: &str| {
        client.cmd(&["XINFO", "STREAM", key, "FULL", "COUNT", "0"])
    };
    let expected = full(client, "base:stream");
    let base = sums(client, "base:stream")?;
    same("length", base, ENTRIES)?;
    for who in 0..2 {
        for key in [format!("copy:{who}"), format!("moved:{who}")] {
            if client.cmd(&["EXISTS", &key]) == Reply::Int(1) {
                let found = full(client, &key);
                if found != expected {
                    return Err(format!("{key} is not the stream that was copied"));
                }
            }
        }
    }
    Ok(())
}
