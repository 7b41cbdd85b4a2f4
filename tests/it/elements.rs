//! Elements on the move: many connections carry them between keys, and at the end every one is
//! there exactly once; nobody who waits is forgotten; what one command does is seen whole.
//!
//! Like `concurrency`, with 1, 4 and 8 worker threads and `KIVI_TEST_ROUNDS`. A lost wake-up shows as
//! a reply that does not come, so that a test fails by the client's timeout.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::client::{Client, Reply, encode};
use crate::concurrency::{
    OK, Writer, assert_uniform, keys, observe, rounds, with_keys, with_pairs, with_threads,
};
use crate::generate::Rng;
use crate::harness::{Server, StopAtEnd, eventually};

const MOVERS: u64 = 8;

/// Sends commands in one go; panics on an error among the replies, gives them back.
fn pipeline(client: &mut Client, commands: &[String]) -> Vec<Reply> {
    let bytes: Vec<u8> = commands.iter().flat_map(|c| encode(&words(c))).collect();
    client.send(&bytes);
    let replies: Vec<Reply> = commands.iter().map(|_| client.read().1).collect();
    for (command, reply) in commands.iter().zip(&replies) {
        assert!(!reply.is_error(), "{command}: {reply:?}");
    }
    replies
}

fn cmd(client: &mut Client, command: &str) -> Reply {
    pipeline(client, &[command.to_owned()]).remove(0)
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

fn texts(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Nil => Vec::new(),
        reply => reply.items().iter().map(Reply::text).collect(),
    }
}

/// Runs `work` on [`MOVERS`] connections at once, each with random numbers of its own.
fn in_parallel(server: &Server, work: impl Fn(&mut Client, &mut Rng) + Sync) {
    thread::scope(|scope| {
        for mover in 0..MOVERS {
            let work = &work;
            scope.spawn(move || work(&mut server.connect(), &mut Rng::new(mover)));
        }
    });
}

/// Panics unless `found` are `expected`, each once.
fn assert_each_once(found: impl IntoIterator<Item = String>, expected: &[String], what: &str) {
    let mut times: BTreeMap<String, i32> = BTreeMap::new();
    found
        .into_iter()
        .for_each(|element| *times.entry(element).or_default() += 1);
    expected
        .iter()
        .for_each(|element| *times.entry(element.clone()).or_default() -= 1);
    times.retain(|_, balance| *balance != 0);
    assert!(
        times.is_empty(),
        "{what}: lost (-) or found too often (+): {times:?}"
    );
}

/// All elements of all lists named `prefix:N` and of `more`.
fn all_of_lists(client: &mut Client, prefix: &str, count: usize, more: &[&str]) -> Vec<String> {
    let mut names = keys(prefix, count);
    names.extend(more.iter().map(|name| (*name).to_owned()));
    names
        .iter()
        .flat_map(|name| texts(&cmd(client, &format!("LRANGE {name} 0 -1"))))
        .collect()
}

fn side(rng: &mut Rng) -> &'static str {
    ["LEFT", "RIGHT"][rng.below(2)]
}

/// Lists with many elements (large, never empty) and with few (often empty, so that many wait).
#[test]
fn lists_lose_nothing() {
    with_threads(|server| {
        for (lists, elements) in [(6, 3000), (6, 10)] {
            let prefix = format!("list{elements}");
            let elements = keys("element", elements);
            let mut setup = server.connect();
            for (n, part) in elements.chunks(elements.len().div_ceil(4)).enumerate() {
                cmd(
                    &mut setup,
                    &format!("RPUSH {prefix}:{n} {}", part.join(" ")),
                );
            }
            in_parallel(server, |client, rng| {
                for _ in 0..rounds() / 3 {
                    move_in_lists(client, rng, &prefix, lists);
                }
            });
            let found = all_of_lists(&mut setup, &prefix, lists, &[]);
            assert_each_once(found, &elements, &prefix);
            assert_eq!(
                setup.cmd(&["DBSIZE"]).int() as usize,
                non_empty(&mut setup, &prefix, lists)
            );
            cmd(&mut setup, "FLUSHALL");
        }
    });
}

fn non_empty(client: &mut Client, prefix: &str, lists: usize) -> usize {
    let lengths = keys(prefix, lists);
    lengths
        .iter()
        .filter(|name| cmd(client, &format!("LLEN {name}")).int() > 0)
        .count()
}

/// Moves an element or some from one list to another, in one of many ways.
fn move_in_lists(client: &mut Client, rng: &mut Rng, prefix: &str, lists: usize) {
    let from = format!("{prefix}:{}", rng.below(lists));
    let to = format!("{prefix}:{}", rng.below(lists));
    let (out, back) = (side(rng), side(rng));
    let taken = match rng.below(9) {
        0..=1 => return drop(cmd(client, &format!("LMOVE {from} {to} {out} {back}"))),
        2 => return drop(cmd(client, &format!("RPOPLPUSH {from} {to}"))),
        3 => {
            return drop(cmd(
                client,
                &format!("BLMOVE {from} {to} {out} {back} 0.01"),
            ));
        }
        4 => return drop(cmd(client, &format!("BRPOPLPUSH {from} {to} 0.01"))),
        5 => {
            let moves = format!("LMOVE {from} {to} {out} {back}");
            let commands = [moves.clone(), format!("RPOPLPUSH {to} {from}"), moves];
            pipeline(client, &commands);
            return;
        }
        6 => cmd(client, &format!("LMPOP 2 {from} {to} {out} COUNT 3")),
        7 => cmd(client, &format!("BLMPOP 0.01 2 {from} {to} {out} COUNT 2")),
        _ => {
            let popped = cmd(client, &format!("BLPOP {from} {to} 0.01"));
            if popped != Reply::Nil {
                cmd(client, &format!("LPUSH {to} {}", popped.items()[1].text()));
            }
            return;
        }
    };
    if taken != Reply::Nil {
        let elements = texts(&taken.items()[1]).join(" ");
        cmd(client, &format!("RPUSH {to} {elements}"));
    }
}

#[test]
fn sets_lose_nothing() {
    with_threads(|server| {
        // Integers and texts: intsets, listpacks and tables.
        let mut elements: Vec<String> = (0..600).map(|n| (n * 37).to_string()).collect();
        elements.extend(keys("member", 600));
        let mut setup = server.connect();
        for (n, part) in elements.chunks(150).enumerate() {
            cmd(&mut setup, &format!("SADD set:{n} {}", part.join(" ")));
        }
        in_parallel(server, |client, rng| {
            for _ in 0..rounds() / 2 {
                let (from, to) = (rng.below(8), rng.below(8));
                match rng.below(4) {
                    0 => {
                        let taken = texts(&cmd(client, &format!("SPOP set:{from} 2")));
                        if !taken.is_empty() {
                            let added = format!("SADD set:{to} {}", taken.join(" "));
                            assert_eq!(cmd(client, &added).int() as usize, taken.len());
                        }
                    }
                    _ => {
                        let member = cmd(client, &format!("SRANDMEMBER set:{from}"));
                        if member != Reply::Nil {
                            cmd(
                                client,
                                &format!("SMOVE set:{from} set:{to} {}", member.text()),
                            );
                        }
                    }
                }
            }
        });
        let found: Vec<String> = keys("set", 8)
            .iter()
            .flat_map(|name| texts(&cmd(&mut setup, &format!("SMEMBERS {name}"))))
            .collect();
        assert_each_once(found, &elements, "sets");
    });
}

#[test]
fn sorted_sets_lose_nothing() {
    with_threads(|server| {
        for count in [12, 1200] {
            let elements: Vec<String> = (0..count).map(|n| format!("{}.5 m{n}", n % 97)).collect();
            let mut setup = server.connect();
            for (n, part) in elements.chunks(elements.len() / 4).enumerate() {
                cmd(&mut setup, &format!("ZADD zset:{n} {}", part.join(" ")));
            }
            in_parallel(server, |client, rng| {
                for _ in 0..rounds() / 4 {
                    move_in_sorted_sets(client, rng);
                }
            });
            let mut found = Vec::new();
            for name in keys("zset", 6) {
                let all = texts(&cmd(&mut setup, &format!("ZRANGE {name} 0 -1 WITHSCORES")));
                found.extend(all.chunks(2).map(|pair| format!("{} {}", pair[1], pair[0])));
            }
            assert_each_once(found, &elements, "sorted sets");
            cmd(&mut setup, "FLUSHALL");
        }
    });
}

/// Takes members from one sorted set and puts them with their scores into another.
fn move_in_sorted_sets(client: &mut Client, rng: &mut Rng) {
    let (from, other, to) = (rng.below(6), rng.below(6), rng.below(6));
    let end = ["MIN", "MAX"][rng.below(2)];
    let taken = match rng.below(4) {
        0 => texts(&cmd(client, &format!("ZPOP{end} zset:{from} 2"))),
        1 => texts(&cmd(
            client,
            &format!("BZPOP{end} zset:{from} zset:{other} 0.01"),
        )),
        n => {
            let name = if n == 2 { "ZMPOP" } else { "BZMPOP 0.01" };
            match cmd(
                client,
                &format!("{name} 2 zset:{from} zset:{other} {end} COUNT 3"),
            ) {
                Reply::Nil => Vec::new(),
                reply => reply.items()[1].items().iter().flat_map(texts).collect(),
            }
        }
    };
    // BZPOP* put the key in front.
    let members = &taken[taken.len() % 2..];
    if !members.is_empty() {
        let pairs: Vec<String> = members
            .chunks(2)
            .map(|pair| format!("{} {}", pair[1], pair[0]))
            .collect();
        let added = cmd(client, &format!("ZADD zset:{to} {}", pairs.join(" "))).int();
        assert_eq!(added as usize, pairs.len());
    }
}

/// Renames take whole lists away and other commands bring them back, while elements move.
#[test]
fn whole_lists_move_as_well() {
    with_threads(|server| {
        let elements = keys("e", 300);
        let mut setup = server.connect();
        for (n, part) in elements.chunks(75).enumerate() {
            cmd(&mut setup, &format!("RPUSH whole:{n} {}", part.join(" ")));
        }
        let number = AtomicUsize::new(0);
        in_parallel(server, |client, rng| {
            let spare = format!("spare:{}", number.fetch_add(1, Ordering::Relaxed));
            for _ in 0..rounds() / 6 {
                let name = format!("whole:{}", rng.below(6));
                if rng.chance(60) {
                    move_in_lists(client, rng, "whole", 6);
                } else if client.raw(&["RENAMENX", &name, &spare]) == b":1\r\n" {
                    let all = texts(&cmd(client, &format!("LRANGE {spare} 0 -1")));
                    cmd(client, &format!("COPY {spare} {spare}:copy"));
                    assert_eq!(
                        texts(&cmd(client, &format!("LRANGE {spare}:copy 0 -1"))),
                        all
                    );
                    pipeline(
                        client,
                        &[format!("DEL {spare}:copy"), format!("MOVE {spare} 3")],
                    );
                    pipeline(client, &["SELECT 3".to_owned(), format!("MOVE {spare} 0")]);
                    cmd(client, "SELECT 0");
                    while cmd(client, &format!("LMOVE {spare} {name} LEFT RIGHT")) != Reply::Nil {}
                }
            }
        });
        let found = all_of_lists(&mut setup, "whole", 6, &[]);
        assert_each_once(found, &elements, "lists that are renamed");
    });
}

/// Producers and consumers: every element comes out once, however consumers wait.
#[test]
fn no_wake_up_is_lost() {
    with_threads(|server| {
        let (producers, consumers) = (4, 12);
        let each = rounds() as usize;
        let expected: Vec<String> = (0..producers)
            .flat_map(|p| keys(&format!("p{p}"), each))
            .collect();
        let (sender, receiver) = mpsc::channel::<String>();
        let mut control = server.connect();
        thread::scope(|scope| {
            for consumer in 0..consumers {
                let sender = sender.clone();
                scope.spawn(move || consume(&mut server.connect(), consumer, &sender));
            }
            wait_for_blocked(&mut control, consumers);
            let producers: Vec<_> = (0..producers)
                .map(|producer| scope.spawn(move || produce(&mut server.connect(), producer, each)))
                .collect();
            producers
                .into_iter()
                .for_each(|producer| producer.join().expect("a producer"));
            // Every consumer takes one and ends.
            for stop in 0..consumers {
                cmd(&mut control, &format!("RPUSH queue:{} stop", stop % 3));
                cmd(
                    &mut control,
                    &format!("ZADD zqueue:{} 9 stop{stop}", stop % 2),
                );
            }
        });
        drop(sender);
        assert_each_once(receiver.iter(), &expected, "producers and consumers");
    });
}

fn wait_for_blocked(client: &mut Client, count: usize) {
    eventually("all to wait", || {
        let info = client.cmd(&["INFO", "clients"]).text();
        info.contains(&format!("blocked_clients:{count}\r\n"))
            .then_some(())
    });
}

fn produce(client: &mut Client, producer: usize, count: usize) {
    let mut rng = Rng::new(producer as u64);
    let mut elements = keys(&format!("p{producer}"), count).into_iter().peekable();
    while elements.peek().is_some() {
        let some: Vec<String> = elements.by_ref().take(1 + rng.below(3)).collect();
        let queue = rng.below(3);
        let command = match rng.below(6) {
            0 => format!("LPUSH queue:{queue} {}", some.join(" ")),
            1 => {
                let members: Vec<String> = some.iter().map(|e| format!("1 {e}")).collect();
                format!("ZADD zqueue:{} {}", queue % 2, members.join(" "))
            }
            // By way of another key: what a RENAMENX or a move makes wakes as well.
            2 => {
                let own = format!("own:{producer}");
                cmd(client, &format!("RPUSH {own} {}", some.join(" ")));
                if cmd(client, &format!("RENAMENX {own} queue:{queue}")).int() == 1 {
                    continue;
                }
                let moves: Vec<String> = some
                    .iter()
                    .map(|_| format!("RPOPLPUSH {own} queue:{queue}"))
                    .collect();
                pipeline(client, &moves);
                continue;
            }
            _ => format!("RPUSH queue:{queue} {}", some.join(" ")),
        };
        cmd(client, &command);
    }
}

/// Takes elements until one says stop.
fn consume(client: &mut Client, consumer: usize, taken: &mpsc::Sender<String>) {
    let command = match consumer % 6 {
        0 => "BLPOP queue:0 queue:1 queue:2 0",
        1 => "BRPOP queue:2 queue:1 queue:0 0",
        2 => "BLMPOP 0 3 queue:1 queue:0 queue:2 LEFT COUNT 4",
        3 => "BLMOVE queue:0 kept LEFT RIGHT 0",
        4 => "BZPOPMIN zqueue:0 zqueue:1 0",
        _ => "BZMPOP 0 2 zqueue:1 zqueue:0 MIN COUNT 3",
    };
    loop {
        let reply = cmd(client, command);
        let elements = match consumer % 6 {
            0 | 1 | 4 => vec![reply.items()[1].text()],
            2 => texts(&reply.items()[1]),
            3 => vec![reply.text()],
            _ => reply.items()[1]
                .items()
                .iter()
                .map(|pair| pair.items()[0].text())
                .collect(),
        };
        let (stops, elements): (Vec<_>, Vec<_>) = elements
            .into_iter()
            .partition(|element| element.starts_with("stop"));
        for element in elements {
            taken.send(element).expect("the test listens");
        }
        if !stops.is_empty() {
            // The others want theirs.
            for stop in &stops[1..] {
                match consumer % 6 {
                    2 => cmd(client, "RPUSH queue:2 stop"),
                    _ => cmd(client, &format!("ZADD zqueue:1 9 {stop}")),
                };
            }
            return;
        }
    }
}

/// A single element goes round between clients: every hop needs a wake-up.
#[test]
fn a_token_goes_round() {
    with_threads(|server| {
        let laps = rounds() as usize / 3;
        thread::scope(|scope| {
            for ring in 0..3 {
                for station in 0..4 {
                    scope.spawn(move || {
                        let mut client = server.connect();
                        let from = format!("ring{ring}:{station}");
                        let to = format!("ring{ring}:{}", (station + 1) % 4);
                        for _ in 0..laps {
                            if station % 2 == ring % 2 {
                                let command = format!("BLMOVE {from} {to} LEFT RIGHT 0");
                                assert_eq!(cmd(&mut client, &command).text(), "token");
                            } else {
                                let popped = cmd(&mut client, &format!("BLPOP {from} 0"));
                                assert_eq!(texts(&popped), [from.as_str(), "token"]);
                                cmd(&mut client, &format!("RPUSH {to} token"));
                            }
                        }
                    });
                }
                cmd(&mut server.connect(), &format!("RPUSH ring{ring}:0 token"));
            }
        });
        let mut client = server.connect();
        for ring in 0..3 {
            let found = all_of_lists(&mut client, &format!("ring{ring}"), 4, &[]);
            assert_eq!(found, ["token"], "ring {ring}");
        }
    });
}

/// Waits end by timeouts, disconnections, kills and CLIENT UNBLOCK in the moment of the push.
#[test]
fn the_end_of_a_wait_loses_nothing() {
    with_threads(|server| {
        let total = rounds() as usize * 4;
        let elements = keys("e", total);
        let (over, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (sender, receiver) = mpsc::channel::<Vec<String>>();
        thread::scope(|scope| {
            let (over, ended) = (&over, &ended);
            let _stop = StopAtEnd(over);
            for consumer in 0..8 {
                let sender = sender.clone();
                scope.spawn(move || {
                    let _count = CountAtEnd(ended);
                    let mut rng = Rng::new(consumer);
                    while !over.load(Ordering::Relaxed) {
                        leave_in_between(server, &mut rng, consumer, &sender);
                    }
                });
            }
            // To the very end, or somebody might wait for ever.
            scope.spawn(move || disturb(&mut server.connect(), ended));
            let mut client = server.connect();
            for some in elements.chunks(2) {
                cmd(
                    &mut client,
                    &format!("RPUSH source:{} {}", some[0].len() % 2, some.join(" ")),
                );
            }
        });
        drop(sender);
        let mut client = server.connect();
        eventually("all who wait to be gone", || {
            let info = client.cmd(&["INFO", "clients"]).text();
            info.contains("blocked_clients:0\r\n").then_some(())
        });
        let mut found = all_of_lists(&mut client, "source", 2, &["kept"]);
        found.extend(receiver.iter().flatten());
        assert_each_once(found, &elements, "waits that end");
    });
}

/// One connection that takes some elements and goes away, often while it waits. Only what BLMOVE
/// carries may be left to it then: a reply to one who has gone is lost, as with Redis.
fn leave_in_between(server: &Server, rng: &mut Rng, kind: u64, sender: &mpsc::Sender<Vec<String>>) {
    let mut client = server.connect();
    for _ in 0..20 {
        if kind.is_multiple_of(2) {
            let timeout = ["0.001", "0.002", "0.0005"][rng.below(3)];
            let reply = client.cmd(&["BLPOP", "source:0", "source:1", timeout]);
            if let Reply::Array(_) = reply {
                sender
                    .send(vec![reply.items()[1].text()])
                    .expect("the test listens");
            }
        } else {
            let timeout = ["0.001", "0.05", "0"][rng.below(3)];
            let source = format!("source:{}", rng.below(2));
            let command = ["BLMOVE", &source, "kept", "LEFT", "RIGHT", timeout];
            client.send(&encode(&command));
            // Killed, or gone without reading the reply.
            if rng.chance(40) || client.try_read().is_err() {
                return;
            }
        }
    }
}

/// Counts a thread that has ended, whatever became of it.
struct CountAtEnd<'a>(&'a AtomicUsize);

impl Drop for CountAtEnd<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Kills and unblocks whoever waits in BLMOVE or BLPOP, until all eight consumers have ended.
fn disturb(client: &mut Client, ended: &AtomicUsize) {
    let mut round = 0;
    while ended.load(Ordering::Relaxed) < 8 {
        let list = client.cmd(&["CLIENT", "LIST"]).text();
        for line in list.lines().filter(|line| line.contains(" flags=b ")) {
            let id = line.split([' ', '=']).nth(1).expect("an id");
            round += 1;
            // A reply to BLPOP that is on its way would be lost with a kill.
            if line.contains("cmd=blmove") && round % 2 == 0 {
                client.cmd(&["CLIENT", "KILL", "ID", id]);
            } else {
                client.cmd(&["CLIENT", "UNBLOCK", id, ["TIMEOUT", "ERROR"][round / 2 % 2]]);
            }
        }
    }
}

#[test]
fn one_command_on_several_keys_is_seen_whole() {
    with_threads(|server| {
        let members = keys("m", 200);
        let mut setup = server.connect();
        cmd(&mut setup, &format!("SADD here {}", members.join(" ")));
        cmd(&mut setup, "RPUSH list:0 single");
        cmd(&mut setup, "ZADD zero 0 a 0 b 0 c 0 d");
        cmd(&mut setup, "ZADD one 1 a 1 b 1 c 1 d");
        cmd(&mut setup, "ZADD stored 0 a 0 b 0 c 0 d");
        let weights = keys("weight", 30);
        let names: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        cmd(&mut setup, &format!("RPUSH to-sort {}", names.join(" ")));
        cmd(&mut setup, &with_pairs("MSET", &weights, "0").join(" "));
        let smove = members.clone();
        let writers: Vec<Writer> = vec![
            Box::new(move |client| {
                for round in 0..rounds() as usize {
                    let (from, to) = [("here", "there"), ("there", "here")][round / 200 % 2];
                    client.cmd(&["SMOVE", from, to, &smove[round % 200]]);
                }
            }),
            Box::new(|client| {
                for round in 0..rounds() {
                    let (from, to) = (
                        format!("list:{}", round % 5),
                        format!("list:{}", (round + 1) % 5),
                    );
                    let moved = match round % 3 {
                        0 => client.cmd(&["LMOVE", &from, &to, "LEFT", "RIGHT"]),
                        1 => client.cmd(&["RPOPLPUSH", &from, &to]),
                        _ => client.cmd(&["BLMOVE", &from, &to, "RIGHT", "LEFT", "0"]),
                    };
                    assert_eq!(moved.text(), "single");
                }
            }),
            Box::new(|client| {
                for round in 0..rounds() {
                    let source = ["zero", "one"][round as usize % 2];
                    let command = match round % 3 {
                        0 => format!("ZRANGESTORE stored {source} 0 -1"),
                        1 => format!("ZUNIONSTORE stored 2 {source} {source} AGGREGATE MIN"),
                        _ => format!("ZINTERSTORE stored 1 {source}"),
                    };
                    assert_eq!(cmd(client, &command).int(), 4);
                }
            }),
            Box::new(move |client| {
                for round in 0..rounds() {
                    assert_eq!(
                        client.raw(&with_pairs("MSET", &weights, &round.to_string())),
                        OK
                    );
                }
            }),
        ];
        let lists = with_keys("EXISTS", &keys("list", 5));
        observe(server, writers, |client| {
            assert_eq!(client.cmd(&["SUNION", "here", "there"]).items().len(), 200);
            assert_eq!(client.cmd(&["SINTERCARD", "2", "here", "there"]).int(), 0);
            assert_eq!(client.cmd(&lists).int(), 1, "the list is in one place");
            let scores = client.cmd(&["ZMSCORE", "stored", "a", "b", "c", "d"]);
            assert_uniform(&scores, "what a command has stored");
            let sorted = client.cmd(&["SORT", "to-sort", "BY", "nosort", "GET", "weight:*"]);
            assert_eq!(sorted.items().len(), 30);
            assert_uniform(&sorted, "MSET, by SORT");
        });
    });
}

#[test]
fn one_command_on_a_value_is_seen_whole() {
    with_threads(|server| {
        // A small hash, and one that is large by its values.
        let fields = keys("f", 20);
        let writers: Vec<Writer> = (0..4)
            .map(|writer| -> Writer {
                let fields = fields.clone();
                Box::new(move |client| {
                    for round in 0..rounds() {
                        let value = format!("{writer}-{round}");
                        let set = with_pairs("HSET small", &fields, &value).join(" ");
                        cmd(client, &set);
                        let long = value + &"x".repeat(100);
                        cmd(client, &with_pairs("HSET large", &fields, &long).join(" "));
                        let list = format!("list{}", round % 2);
                        let push = ["RPUSH", "LPUSH"][writer % 2];
                        cmd(client, &format!("{push} {list} a b c d e"));
                        cmd(
                            client,
                            &format!("{} {list} 5", ["LPOP", "RPOP"][round as usize % 2]),
                        );
                    }
                })
            })
            .collect();
        let hmget = with_keys("HMGET small", &fields).join(" ");
        observe(server, writers, |client| {
            for name in ["small", "large"] {
                let values = client.cmd(&["HVALS", name]);
                if !values.items().is_empty() {
                    assert_eq!(values.items().len(), 20);
                    assert_uniform(&values, "HSET");
                }
            }
            assert_uniform(&cmd(client, &hmget), "HSET, by HMGET");
            for name in ["list0", "list1"] {
                let elements = client.cmd(&["LRANGE", name, "0", "-1"]).items().len();
                assert_eq!(elements % 5, 0, "pushes and pops of five");
            }
        });
    });
}

#[test]
fn increments_of_fields_and_scores_add_up() {
    with_threads(|server| {
        let (batches, depth) = (rounds() as usize / 30, 20);
        in_parallel(server, |client, rng| {
            for _ in 0..batches {
                let batch: Vec<String> = (0..depth)
                    .flat_map(|_| {
                        let member = rng.below(500);
                        [
                            format!("HINCRBY hash f{} 3", member % 5),
                            format!("HINCRBYFLOAT floats f{} 0.5", member % 700),
                            format!("ZINCRBY zset 2 m{member}"),
                            format!("SADD set {member}"),
                            "LPUSH list x".to_owned(),
                        ]
                    })
                    .collect();
                pipeline(client, &batch);
            }
        });
        let mut client = server.connect();
        let each = (batches * depth * MOVERS as usize) as f64;
        let mut sum = |command: &str, step: usize| -> f64 {
            let all = texts(&cmd(&mut client, command));
            all.iter()
                .skip(step - 1)
                .step_by(step)
                .map(|n| n.parse::<f64>().expect("a number"))
                .sum()
        };
        assert_eq!(sum("HVALS hash", 1), each * 3.0);
        assert_eq!(sum("HVALS floats", 1), each * 0.5);
        assert_eq!(sum("ZRANGE zset 0 -1 WITHSCORES", 2), each * 2.0);
        assert_eq!(cmd(&mut client, "LLEN list").int() as f64, each);
    });
}

/// While values grow to half a million elements and go away again, others are served.
#[test]
fn others_are_served_while_one_value_is_large() {
    let server = Server::kivi(&["--io-threads", "4"]);
    let mut client = server.connect();
    let total = 500_000;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopAtEnd(&done);
        for other in 0..3 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let mut client = server.connect();
                let mut round = 0;
                while !done.load(Ordering::Relaxed) || round == 0 {
                    let value = format!("{other}-{round}");
                    let key = format!("other{}", round % 50);
                    let own = format!("{key}-{other}");
                    assert_eq!(client.raw(&["SET", &own, &value]), OK);
                    assert_eq!(client.raw(&["PING"]), b"+PONG\r\n");
                    assert_eq!(client.cmd(&["GET", &own]).text(), value);
                    round += 1;
                }
            });
        }
        for (grow, count) in [
            ("HSET large", "HLEN large"),
            ("SADD large", "SCARD large"),
            ("ZADD large", "ZCARD large"),
            ("RPUSH large", "LLEN large"),
        ] {
            grow_to(&mut client, grow, total);
            assert_eq!(cmd(&mut client, count).int(), total as i64);
            assert_eq!(look_into(&mut client, grow), "found");
            assert_eq!(cmd(&mut client, "UNLINK large").int(), 1);
            assert_eq!(cmd(&mut client, "EXISTS large").int(), 0);
        }
    });
    // The memory comes back: another round of the same would not fit beside it.
    eventually("all values to be freed", || {
        (cmd(&mut client, "DBSIZE").int() == 150).then_some(())
    });
}

/// Adds elements 0 to `total`, some hundred a command.
fn grow_to(client: &mut Client, grow: &str, total: usize) {
    let mut argv: Vec<Vec<u8>> = Vec::new();
    for start in (0..total).step_by(5000) {
        let mut bytes = Vec::new();
        for start in (start..start + 5000).step_by(500) {
            argv.clear();
            argv.extend(grow.split(' ').map(|word| word.as_bytes().to_vec()));
            for n in start..start + 500 {
                match &grow[..4] {
                    "HSET" => argv.extend([format!("field:{n}").into_bytes(), b"value".to_vec()]),
                    "ZADD" => argv.extend(
                        [(n * 7 % total).to_string(), format!("member:{n}")]
                            .map(String::into_bytes),
                    ),
                    _ => argv.push(format!("element:{n}").into_bytes()),
                }
            }
            bytes.extend(encode(&argv));
        }
        client.send(&bytes);
        for _ in 0..10 {
            assert!(client.read().1.int() >= 500);
        }
    }
}

/// Asks for something in the middle.
fn look_into(client: &mut Client, grown: &str) -> &'static str {
    let (command, expected) = match &grown[..4] {
        "HSET" => ("HGET large field:345678", "value".to_owned()),
        "SADD" => ("SISMEMBER large element:345678", "1".to_owned()),
        "ZADD" => (
            "ZRANK large member:345678",
            (345_678 * 7 % 500_000).to_string(),
        ),
        _ => ("LINDEX large 345678", "element:345678".to_owned()),
    };
    let reply = match cmd(client, command) {
        Reply::Int(number) => number.to_string(),
        other => other.text(),
    };
    assert_eq!(reply, expected, "{command}");
    "found"
}
