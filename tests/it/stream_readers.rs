//! Readers of streams: who follows one misses nothing, who waits is served, and told when there is
//! nothing left to wait for.
//!
//! Producers on several threads let the server choose the ids; so the ids of a stream must be unique and
//! ascend in the order in which readers see the entries, whatever the threads do.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::client::{Client, Reply, encode};
use crate::concurrency::{rounds, with_threads};
use crate::expiry::info_number;
use crate::harness::{PATIENCE, Server, eventually, is_stand_in};

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

/// What may happen to the key `s` that a reader waits for, one after the other where there are bars.
const ENDS: &str = "DEL s
UNLINK s
EXPIREAT s 1
SET s x
RPUSH s x
RENAME s t
RENAME t s
RENAME new s
RENAMENX new s
COPY new s REPLACE
MOVE s 1
FLUSHDB
FLUSHALL
SWAPDB 0 1
SORT list STORE s
SUNIONSTORE s set
ZUNIONSTORE s 1 zset
BITOP NOT s str
GEOSEARCHSTORE s zset FROMLONLAT 0 0 BYRADIUS 1 km
XGROUP DESTROY s g
XGROUP DELCONSUMER s g c
XGROUP SETID s g 0
XSETID s 100-1
XTRIM s MAXLEN 0
XDEL s 1-1
XADD s 5-5 f v
XADD s 100-5 f v
XADD s MAXLEN 0 100-5 f v
XADD t 100-1 f v
XCLAIM s g c 0 1-1 FORCE
XAUTOCLAIM s g c 0 0
DEL t
XGROUP CREATE t g 0 MKSTREAM
MULTI|XADD s 100-1 f v|XDEL s 100-1|EXEC
MULTI|XADD s 100-1 f v|DEL s|EXEC
MULTI|XADD s 100-1 f v|XGROUP DESTROY s g|EXEC
MULTI|XADD s 100-1 f v|XADD s 100-2 f v|EXEC
MULTI|DEL s|XGROUP CREATE s g $ MKSTREAM|EXEC
MULTI|DEL s|XADD s 100-1 f v|EXEC
MULTI|DEL s|RPUSH s a|EXEC
MULTI|XGROUP DESTROY s g|XGROUP CREATE s g 0|EXEC
MULTI|XGROUP DESTROY s g|XGROUP CREATE s g 0|XADD s 100-1 f v|EXEC";

const WAITS: &str = "XREADGROUP GROUP g c BLOCK 0 STREAMS s >
XREADGROUP GROUP g c BLOCK 0 NOACK STREAMS s t > >
XREAD BLOCK 0 STREAMS s $
XREAD BLOCK 0 STREAMS s +
XREAD BLOCK 0 STREAMS t s 99 99
BLPOP s 0";

/// What a reader in `wait` is told when `end` happens, and all replies: on any server the same.
fn what_comes_of(server: &Server, wait: &str, end: &str, setup: &str) -> Vec<Reply> {
    let mut control = server.connect();
    let before = "FLUSHALL|XADD new 50-1 f v|XGROUP CREATE new g 0|RPUSH list 1 2|SADD set a|\
                  ZADD zset 1 a|SET str abc|XGROUP CREATE t g 0 MKSTREAM";
    for command in before.split('|').chain(setup.split('|')) {
        let reply = control.cmd(&words(command));
        assert!(!reply.is_error(), "{command}: {reply:?}");
    }
    let mut reader = server.connect();
    let id = reader.cmd(&["CLIENT", "ID"]).int().to_string();
    reader.send(&encode(&words(wait)));
    let blocks = |control: &mut Client| {
        let line = control.cmd(&["CLIENT", "LIST", "ID", &id]).text();
        line.contains(" flags=b ")
    };
    let mut told = Vec::new();
    // It waits, or has been answered.
    reader.set_read_timeout(Duration::from_millis(2));
    eventually("the reader to wait", || {
        told.extend(reader.try_read().ok().map(|(_, reply)| reply));
        (!told.is_empty() || blocks(&mut control)).then_some(())
    });
    told.extend(end.split('|').map(|command| control.cmd(&words(command))));
    // Who is served is served before the next command.
    if told.len() == end.split('|').count() && !blocks(&mut control) {
        reader.set_read_timeout(PATIENCE);
        told.push(reader.read().1);
    }
    for look in ["XINFO GROUPS s", "XINFO GROUPS t", "XLEN s"] {
        told.push(control.cmd(&words(look)));
    }
    told
}

#[test]
fn whatever_becomes_of_a_stream_readers_are_told_as_in_valkey() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let kivi = Server::kivi(&["--io-threads", "2"]);
    for setup in [
        "XGROUP CREATE s g $ MKSTREAM",
        "XADD s 1-1 f v|XGROUP CREATE s g $",
    ] {
        for wait in WAITS.lines() {
            for end in ENDS.lines() {
                let [ours, theirs] =
                    [&kivi, &valkey].map(|server| what_comes_of(server, wait, end, setup));
                assert_eq!(ours, theirs, "{setup} / {wait} / {end}");
            }
        }
    }
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
