//! Readers of streams in large numbers: who follows one misses nothing, and who waits is served.
//!
//! Producers on several threads let the server choose the ids; so the ids of a stream must be unique and
//! ascend in the order in which readers see the entries, whatever the threads do.

use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::{Client, Reply, encode};
use crate::concurrency::{rounds, with_threads};
use crate::expiry::info_number;
use crate::harness::{Server, eventually, is_stand_in};

const STREAMS: [&str; 2] = ["events:a", "events:b"];
const PRODUCERS: usize = 3;
const FOLLOWERS: usize = 4;

/// A stream's name and its entries.
type Batch = (usize, Vec<Entry>);

/// An entry: its id, and its fields and values.
struct Entry {
    id: (u64, u64),
    words: Vec<String>,
}

fn entry(reply: &Reply) -> Entry {
    let [id, words] = reply.items() else {
        panic!("an entry: {reply:?}")
    };
    let id = id.text();
    let (ms, seq) = id.split_once('-').expect("an id");
    Entry {
        id: (ms.parse().expect("ms"), seq.parse().expect("seq")),
        words: words.items().iter().map(Reply::text).collect(),
    }
}

/// What XREAD and XREADGROUP reply, in RESP2.
fn batches(reply: &Reply) -> Vec<Batch> {
    let streams = reply.items().iter().map(|stream| {
        let [name, entries] = stream.items() else {
            panic!("a stream: {stream:?}")
        };
        let name = name.text();
        let number = STREAMS.iter().position(|known| *known == name);
        let entries = entries.items().iter().map(entry).collect();
        (number.expect("one of the streams"), entries)
    });
    streams.collect()
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

/// Adds `count` numbered entries to each stream, some at a time.
fn produce(mut client: Client, producer: usize, count: usize) {
    for first in (0..count).step_by(5) {
        let mut requests = Vec::new();
        for n in first..(first + 5).min(count) {
            for stream in STREAMS {
                let text = format!("XADD {stream} * from {producer} n {n}");
                requests.extend(encode(&words(&text)));
            }
        }
        let replies = 2 * ((first + 5).min(count) - first);
        client.send(&requests);
        for _ in 0..replies {
            let reply = client.read().1;
            assert!(matches!(reply, Reply::Bulk(_)), "{reply:?}");
        }
    }
}

/// Follows both streams until all of `count` entries of each producer have been seen.
fn follow(mut client: Client, count: usize) {
    let mut last = [(0, 0); 2];
    let mut next = [[0; PRODUCERS]; 2];
    let missing = |next: &[[usize; PRODUCERS]; 2]| next.iter().flatten().any(|n| *n < count);
    while missing(&next) {
        let [a, b] = last.map(|(ms, seq)| format!("{ms}-{seq}"));
        let [first, second] = STREAMS;
        let text = format!("XREAD COUNT 20 BLOCK 0 STREAMS {first} {second} {a} {b}");
        let reply = client.cmd(&words(&text));
        for (stream, entries) in batches(&reply) {
            assert!(!entries.is_empty() && entries.len() <= 20);
            for entry in entries {
                assert!(
                    entry.id > last[stream],
                    "{:?} after {:?}",
                    entry.id,
                    last[stream]
                );
                last[stream] = entry.id;
                let [_, producer, _, n] = &entry.words[..] else {
                    panic!("{:?}", entry.words)
                };
                let producer: usize = producer.parse().expect("a producer");
                assert_eq!(n, &next[stream][producer].to_string(), "of {producer}");
                next[stream][producer] += 1;
            }
        }
    }
}

#[test]
fn followers_see_every_entry_once_and_in_order() {
    with_threads(|server| {
        server.connect().cmd(&["FLUSHALL"]);
        let count = rounds() as usize / 3;
        thread::scope(|scope| {
            for _ in 0..FOLLOWERS {
                let client = server.connect();
                scope.spawn(move || follow(client, count));
            }
            for producer in 0..PRODUCERS {
                let client = server.connect();
                scope.spawn(move || produce(client, producer, count));
            }
        });
        let mut client = server.connect();
        for stream in STREAMS {
            let length = client.cmd(&["XLEN", stream]).int();
            assert_eq!(length as usize, PRODUCERS * count);
            let newest = client.cmd(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]);
            let (ms, _) = entry(&newest.items()[0]).id;
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now = now.expect("a time after 1970").as_millis() as u64;
            assert!((now - 60_000..=now).contains(&ms), "{ms} is not the time");
        }
    });
}

/// `count` connections that wait in `command`, in the order of the list.
fn waiting(server: &Server, count: usize, command: impl Fn(usize) -> String) -> Vec<Client> {
    let mut asking = server.connect();
    let mut waiting = Vec::new();
    for n in 0..count {
        let mut client = server.connect();
        client.send(&encode(&words(&command(n))));
        eventually("the client to wait", || {
            let blocked = info_number(&mut asking, "blocked_clients");
            (blocked == n as i64 + 1).then_some(())
        });
        waiting.push(client);
    }
    waiting
}

#[test]
fn hundreds_wait_for_one_stream() {
    const READERS: usize = 400;
    with_threads(|server| {
        let mut client = server.connect();
        client.cmd(&["FLUSHALL"]);
        let stream = STREAMS[0];
        // All that read get the entry.
        let readers = waiting(server, READERS, |n| {
            let after = ["$", "0", "5-5", "+"][n % 4];
            format!("XREAD BLOCK 0 STREAMS {stream} {after}")
        });
        assert_eq!(
            client.raw(&["XADD", stream, "6-0", "f", "v"]),
            b"$3\r\n6-0\r\n"
        );
        for mut reader in readers {
            let reply = reader.read().1;
            let got = batches(&reply);
            assert_eq!(got[0].1[0].id, (6, 0));
            assert_eq!(got[0].1.len(), 1);
        }
        // Of a group, each entry goes to the one who has waited longest.
        client.cmd(&["XGROUP", "CREATE", stream, "g", "$"]);
        let readers = waiting(server, READERS, |n| {
            format!("XREADGROUP GROUP g consumer{n} COUNT 2 BLOCK 0 STREAMS {stream} >")
        });
        let mut requests = encode(&["MULTI"]);
        for n in 0..2 * READERS {
            requests.extend(encode(&["XADD", stream, &format!("7-{n}"), "f", "v"]));
        }
        requests.extend(encode(&["EXEC"]));
        client.send(&requests);
        for (n, mut reader) in readers.into_iter().enumerate() {
            let reply = reader.read().1;
            let got = &batches(&reply)[0].1;
            let ids: Vec<(u64, u64)> = got.iter().map(|entry| entry.id).collect();
            assert_eq!(
                ids,
                [(7, 2 * n as u64), (7, 2 * n as u64 + 1)],
                "reader {n}"
            );
        }
        for _ in 0..2 * READERS + 2 {
            client.read();
        }
        // And all are told when the group is gone.
        let readers = waiting(server, READERS, |n| {
            format!("XREADGROUP GROUP g consumer{n} BLOCK 0 STREAMS {stream} >")
        });
        assert_eq!(client.raw(&["XGROUP", "DESTROY", stream, "g"]), b":1\r\n");
        for mut reader in readers {
            let reply = reader.read().1;
            assert!(matches!(&reply, Reply::Error(text) if text.starts_with(b"NOGROUP ")));
        }
        assert_eq!(info_number(&mut client, "blocked_clients"), 0);
    });
}

#[test]
fn hundreds_of_thousands_of_ids_in_one_command() {
    const IDS: u64 = 300_000;
    // Valkey does not have all of these commands.
    if is_stand_in() {
        return;
    }
    let mut server = Server::kivi(&[]);
    let mut client = server.connect();
    for n in 0..100 {
        client.cmd(&["XADD", "s", &format!("{}-1", 3000 * n + 1), "f", "v"]);
    }
    client.cmd(&["XGROUP", "CREATE", "s", "g", "0"]);
    client.cmd(&[
        "XREADGROUP",
        "GROUP",
        "g",
        "c",
        "COUNT",
        "70",
        "STREAMS",
        "s",
        ">",
    ]);
    let ids: Vec<String> = (1..=IDS).map(|n| format!("{n}-1")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let count = IDS.to_string();
    let mut send = |words: &str| {
        let mut argv: Vec<&str> = words.split(' ').collect();
        if let Some(place) = argv.iter().position(|word| *word == "@") {
            argv.splice(place..=place, ids.iter().copied());
        }
        client.cmd(&argv)
    };
    assert_eq!(send("XCLAIM s g d 0 @ JUSTID").items().len(), 70);
    let tell = |reply: &Reply, what: i64| {
        let items = reply.items();
        assert_eq!(items.len() as u64, IDS);
        items.iter().filter(|item| item.int() == what).count()
    };
    let kept = send(&format!("XACKDEL s g ACKED IDS {count} @"));
    assert_eq!((tell(&kept, 1), tell(&kept, -1)), (70, IDS as usize - 70));
    let deleted = send(&format!("XDELEX s IDS {count} @"));
    assert_eq!(
        (tell(&deleted, 1), tell(&deleted, -1)),
        (30, IDS as usize - 30)
    );
    assert_eq!(send("XACK s g @").int(), 0);
    assert_eq!(send("XDEL s @").int(), 0);
    assert_eq!(send("XLEN s").int(), 0);
    server.assert_alive();
}
