//! Many clients at once: what one command does, every other client sees whole or not at all.
//!
//! Each test runs writers and observers for a number of rounds (`KIVI_TEST_ROUNDS`) with 1, 4 and 8
//! worker threads. An observer reads several keys by one command, so a state between two halves of
//! a writer's command would show. The keys are spread over all shards on purpose.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use crate::client::{Client, Reply, encode};
use crate::harness::{Server, StopAtEnd, env_number, eventually, is_stand_in};

/// Runs a test with every number of worker threads.
pub(crate) fn with_threads(test: impl Fn(&Server)) {
    for threads in ["1", "4", "8"] {
        let mut server = Server::kivi(&["--io-threads", threads]);
        test(&server);
        server.assert_alive();
    }
}

/// What a writer does with its connection.
pub(crate) type Writer = Box<dyn Fn(&mut Client) + Send + Sync>;

pub(crate) fn rounds() -> u64 {
    env_number("KIVI_TEST_ROUNDS", 1500)
}

/// Runs `writers` to their end while `observer` runs again and again on a connection of its own.
pub(crate) fn observe(
    server: &Server,
    writers: Vec<Writer>,
    observer: impl Fn(&mut Client) + Sync,
) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = server.connect();
                let mut seen = 0;
                while !done.load(Ordering::Relaxed) || seen == 0 {
                    observer(&mut client);
                    seen += 1;
                }
            });
        }
        let writers: Vec<_> = writers
            .iter()
            .map(|writer| scope.spawn(move || writer(&mut server.connect())))
            .collect();
        let results: Vec<_> = writers
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "a writer failed");
    });
}

pub(crate) const OK: &[u8] = b"+OK\r\n";

pub(crate) fn keys(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}:{n}")).collect()
}

/// `name key... ` as a command.
pub(crate) fn with_keys(name: &str, keys: &[String]) -> Vec<String> {
    std::iter::once(name.to_owned())
        .chain(keys.iter().cloned())
        .collect()
}

/// `name key value...` with the same value for all keys.
pub(crate) fn with_pairs(name: &str, keys: &[String], value: &str) -> Vec<String> {
    let pairs = keys.iter().flat_map(|key| [key.clone(), value.to_owned()]);
    std::iter::once(name.to_owned()).chain(pairs).collect()
}

/// Panics unless all elements of an MGET are the same.
pub(crate) fn assert_uniform(reply: &Reply, what: &str) {
    let items = reply.items();
    assert!(
        items.iter().all(|item| *item == items[0]),
        "{what} is seen in halves: {items:?}"
    );
}

#[test]
fn mset_is_all_or_nothing() {
    with_threads(|server| {
        let keys = keys("mset", 40);
        let mut writers: Vec<Writer> = Vec::new();
        for writer in 0..4 {
            let mut mine = keys.clone();
            // Every writer names the keys in another order: locks taken in that order would deadlock.
            mine.rotate_left(writer * 10);
            if writer % 2 == 1 {
                mine.reverse();
            }
            writers.push(Box::new(move |client| {
                for round in 0..rounds() {
                    let value = format!("{writer}-{round}");
                    assert_eq!(client.raw(&with_pairs("MSET", &mine, &value)), OK);
                }
            }));
        }
        let mget = with_keys("MGET", &keys);
        observe(server, writers, |client| {
            assert_uniform(&client.cmd(&mget), "MSET")
        });
    });
}

#[test]
fn msetnx_is_won_by_one() {
    with_threads(|server| {
        let winners = AtomicI64::new(0);
        let rounds = rounds() / 4;
        thread::scope(|scope| {
            for writer in 0..4 {
                let winners = &winners;
                scope.spawn(move || {
                    let mut client = server.connect();
                    for round in 0..rounds {
                        let mut keys = keys(&format!("nx{round}"), 7);
                        keys.rotate_left(writer);
                        let reply = client.cmd(&with_pairs("MSETNX", &keys, &writer.to_string()));
                        winners.fetch_add(reply.int(), Ordering::Relaxed);
                        let seen = client.cmd(&with_keys("MGET", &keys));
                        assert_uniform(&seen, "MSETNX");
                        assert_ne!(seen.items()[0], Reply::Nil, "somebody has won");
                    }
                });
            }
        });
        assert_eq!(
            winners.load(Ordering::Relaxed),
            rounds as i64,
            "one winner a round"
        );
    });
}

#[test]
fn flushall_and_mset_do_not_mix() {
    with_threads(|server| {
        let keys = keys("flush", 30);
        let (set, mget) = (with_pairs("MSET", &keys, "v"), with_keys("MGET", &keys));
        let writers: Vec<Writer> = vec![
            Box::new(move |client| {
                for _ in 0..rounds() {
                    assert_eq!(client.raw(&set), OK);
                }
            }),
            Box::new(|client| {
                for round in 0..rounds() / 2 {
                    let flush = ["FLUSHALL", "FLUSHDB"][round as usize % 2];
                    assert_eq!(client.raw(&[flush]), OK);
                }
            }),
        ];
        observe(server, writers, |client| {
            assert_uniform(&client.cmd(&mget), "FLUSHALL")
        });
    });
}

#[test]
fn del_of_many_keys_is_atomic() {
    with_threads(|server| {
        let keys = keys("del", 30);
        let (set, del) = (with_pairs("MSET", &keys, "v"), with_keys("DEL", &keys));
        let (unlink, exists) = (with_keys("UNLINK", &keys), with_keys("EXISTS", &keys));
        let writer = move |client: &mut Client| {
            for round in 0..rounds() {
                assert_eq!(client.raw(&set), OK);
                let removed = client.cmd(if round % 2 == 0 { &del } else { &unlink });
                assert_eq!(removed.int(), 30);
            }
        };
        observe(server, vec![Box::new(writer)], |client| {
            let seen = client.cmd(&exists).int();
            assert!(seen == 0 || seen == 30, "EXISTS sees {seen} of 30 keys");
        });
    });
}

#[test]
fn rename_never_shows_two_or_none() {
    with_threads(|server| {
        let names = keys("name", 6);
        server.connect().cmd(&["SET", &names[0], "the only one"]);
        let mget = with_keys("MGET", &names);
        let mut writers: Vec<Writer> = Vec::new();
        for writer in 0..3 {
            let names = names.clone();
            writers.push(Box::new(move |client| {
                for round in 0..rounds() as usize {
                    let from = &names[(round * 5 + writer) % 6];
                    let to = &names[(round * 7 + writer * 2 + 1) % 6];
                    let command = ["RENAME", "RENAMENX"][round % 2];
                    client.cmd(&[command, from, to]);
                }
            }));
        }
        observe(server, writers, |client| {
            let seen = client.cmd(&mget);
            let there = seen
                .items()
                .iter()
                .filter(|item| **item != Reply::Nil)
                .count();
            assert_eq!(there, 1, "RENAME shows {there} keys instead of one");
        });
    });
}

#[test]
fn copy_shows_whole_values() {
    with_threads(|server| {
        let mut setup = server.connect();
        for source in 0..4 {
            let value = format!("{source}").repeat(5000);
            setup.cmd(&["SET", &format!("source{source}"), &value]);
        }
        let writers: Vec<Writer> = (0..2)
            .map(|writer| -> Writer {
                Box::new(move |client| {
                    for round in 0..rounds() {
                        let source = format!("source{}", (round + writer) % 4);
                        assert_eq!(client.cmd(&["COPY", &source, "copy", "REPLACE"]).int(), 1);
                    }
                })
            })
            .collect();
        observe(server, writers, |client| {
            if let Reply::Bulk(value) = client.cmd(&["GET", "copy"]) {
                assert!(
                    value.len() == 5000 && value.iter().all(|b| *b == value[0]),
                    "half a copy"
                );
            }
        });
    });
}

#[test]
fn swapdb_is_seen_at_once() {
    with_threads(|server| {
        let keys = keys("swap", 20);
        let mut setup = server.connect();
        for db in ["1", "0"] {
            setup.cmd(&["SELECT", db]);
            setup.cmd(&with_pairs("MSET", &keys, db));
        }
        let mget = with_keys("MGET", &keys);
        let writer = |client: &mut Client| {
            for _ in 0..rounds() {
                assert_eq!(client.raw(&["SWAPDB", "0", "1"]), OK);
            }
        };
        observe(server, vec![Box::new(writer)], |client| {
            let seen = client.cmd(&mget);
            assert_uniform(&seen, "SWAPDB");
            assert_ne!(
                seen.items()[0],
                Reply::Nil,
                "SWAPDB shows an empty database"
            );
        });
    });
}

#[test]
fn move_takes_and_gives_once() {
    with_threads(|server| {
        server.connect().cmd(&["SET", "wanderer", "v"]);
        let there = AtomicI64::new(0);
        thread::scope(|scope| {
            for mover in 0..4 {
                let there = &there;
                scope.spawn(move || {
                    let mut client = server.connect();
                    let (from, to, step) = [("0", "5", 1), ("5", "0", -1)][mover % 2];
                    client.cmd(&["SELECT", from]);
                    for _ in 0..rounds() {
                        let moved = client.cmd(&["MOVE", "wanderer", to]).int();
                        there.fetch_add(moved * step, Ordering::Relaxed);
                    }
                });
            }
        });
        let mut client = server.connect();
        let in_0 = client.cmd(&["EXISTS", "wanderer"]).int();
        client.cmd(&["SELECT", "5"]);
        let in_5 = client.cmd(&["EXISTS", "wanderer"]).int();
        assert_eq!(
            (in_0, in_5),
            (
                1 - there.load(Ordering::Relaxed),
                there.load(Ordering::Relaxed)
            )
        );
    });
}

#[test]
fn increments_of_many_clients_add_up() {
    with_threads(|server| {
        let (clients, batches, depth) = (16, rounds() as usize / 20, 25);
        thread::scope(|scope| {
            for client in 0..clients {
                scope.spawn(move || {
                    let mut connection = server.connect();
                    let batch = [
                        encode(&["INCR", "sum"]),
                        encode(&["INCRBY", "sum", "3"]),
                        encode(&["DECR", "sum"]),
                        encode(&["INCRBYFLOAT", "float", "0.5"]),
                        encode(&["APPEND", "length", "x"]),
                        encode(&["INCR", &format!("own{client}")]),
                    ];
                    for _ in 0..batches {
                        connection.send(&batch.concat().repeat(depth));
                        for _ in 0..batch.len() * depth {
                            assert!(!connection.read().1.is_error());
                        }
                    }
                });
            }
        });
        let mut client = server.connect();
        let each = (batches * depth) as i64;
        let total = clients as i64 * each;
        assert_eq!(client.cmd(&["GET", "sum"]).text(), (total * 3).to_string());
        assert_eq!(
            client.cmd(&["GET", "float"]).text(),
            (total / 2).to_string()
        );
        assert_eq!(client.cmd(&["STRLEN", "length"]).int(), total);
        for owner in 0..clients {
            assert_eq!(
                client.cmd(&["GET", &format!("own{owner}")]).text(),
                each.to_string()
            );
        }
    });
}

#[test]
fn replies_stay_in_the_order_of_requests() {
    with_threads(|server| {
        thread::scope(|scope| {
            for client in 0..12 {
                scope.spawn(move || {
                    let mut connection = server.connect();
                    for round in 0..rounds() / 30 {
                        let mut batch = Vec::new();
                        for n in 0..50 {
                            let value = format!("{client}-{round}-{n}");
                            batch.extend(encode(&["SET", &format!("order{}", n * client), &value]));
                            batch.extend(encode(&["ECHO", &value]));
                        }
                        connection.send(&batch);
                        for n in 0..50 {
                            assert_eq!(connection.read().0, OK);
                            let echo = connection.read().1.text();
                            assert_eq!(echo, format!("{client}-{round}-{n}"));
                        }
                    }
                });
            }
        });
    });
}

#[test]
fn scan_finds_what_stays_while_others_come_and_go() {
    with_threads(|server| {
        let stable = keys("stay", 500);
        let mut setup = server.connect();
        setup.cmd(&with_pairs("MSET", &stable, "v"));
        let writers: Vec<Writer> = (0..2)
            .map(|writer| -> Writer {
                Box::new(move |client| {
                    for round in 0..rounds() / 50 {
                        let passing = keys(&format!("pass{writer}-{}", round % 3), 2000);
                        client.cmd(&with_pairs("MSET", &passing, "v"));
                        client.cmd(&with_keys("DEL", &passing));
                    }
                })
            })
            .collect();
        observe(server, writers, |client| {
            let mut found = std::collections::HashSet::new();
            let mut cursor = "0".to_owned();
            loop {
                let reply = client.cmd(&["SCAN", &cursor, "MATCH", "stay:*", "COUNT", "100"]);
                found.extend(reply.items()[1].items().iter().map(Reply::text));
                cursor = reply.items()[0].text();
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(found.len(), 500, "SCAN finds every key that stayed");
        });
    });
}

#[test]
fn many_connections_come_and_go() {
    with_threads(|server| {
        thread::scope(|scope| {
            for client in 0..8 {
                scope.spawn(move || {
                    for round in 0..rounds() / 15 {
                        let mut connection = server.connect();
                        let value = format!("{client}-{round}");
                        assert_eq!(
                            connection.raw(&["SET", &format!("own{client}"), &value]),
                            OK
                        );
                        assert_eq!(
                            connection.cmd(&["GET", &format!("own{client}")]).text(),
                            value
                        );
                    }
                });
            }
        });
    });
}

/// Worker threads of a server that have used more than `ns` of processor time.
fn busy_workers(server: &Server, ns: u64) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("threads");
    let used = tasks.filter_map(|task| {
        let folder = task.ok()?.path();
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        let figures = std::fs::read_to_string(folder.join("schedstat")).ok()?;
        name.starts_with("kivi-io-")
            .then(|| figures.split(' ').next()?.parse::<u64>().ok())?
    });
    used.filter(|used| *used > ns).count()
}

#[test]
fn a_busy_worker_gives_connections_away() {
    if is_stand_in() {
        return;
    }
    let server = Server::kivi(&["--io-threads", "4"]);
    let mut setup = server.connect();
    // Much work for the server, little for the client.
    for key in ["long1", "long2"] {
        let value = format!("{key}-abcdefghijklm").repeat(60);
        assert_eq!(setup.raw(&["SET", key, &value]).0, OK);
    }
    let common = setup.cmd(&["LCS", "long1", "long2", "LEN"]).int();
    let moved = AtomicBool::new(false);
    thread::scope(|scope| {
        for client in 0..16 {
            let (server, moved) = (&server, &moved);
            scope.spawn(move || {
                let mut connection = server.connect();
                let mut round = 0;
                while round < 5 || !moved.load(Ordering::Relaxed) {
                    let words: Vec<_> = (0..20).map(|n| format!("{client}-{round}-{n}")).collect();
                    let mut batch = Vec::new();
                    for word in &words {
                        batch.extend(encode(&["ECHO", word]));
                        batch.extend(encode(&["LCS", "long1", "long2", "LEN"]));
                        batch.extend(encode(&["INCR", &format!("own{client}")]));
                    }
                    connection.send(&batch);
                    for (n, word) in words.iter().enumerate() {
                        assert_eq!(connection.read().1.text(), *word);
                        assert_eq!(connection.read().1.int(), common);
                        assert_eq!(connection.read().1.int(), round * 20 + n as i64 + 1);
                    }
                    round += 1;
                }
            });
        }
        let _stop = StopAtEnd(&moved);
        eventually("a second worker to take connections over", || {
            (busy_workers(&server, 20_000_000) > 1).then_some(())
        });
    });
}

/// Behind the reply of CLIENT PAUSE nobody writes, however long before he was let in.
#[test]
fn nobody_writes_behind_the_reply_of_a_pause() {
    const KEYS: usize = 4_000;
    const SCRIPT: &str = "for _, key in ipairs(KEYS) do redis.call('set', key, ARGV[1]) end";
    let keys: Vec<String> = (0..KEYS).map(|number| format!("k{number}")).collect();
    let mset = |round: &str| {
        let mut argv = vec!["MSET"];
        argv.extend(keys.iter().flat_map(|key| [key, round]));
        encode(&argv)
    };
    let exec = |round: &str| [encode(&["MULTI"]), mset(round), encode(&["EXEC"])].concat();
    let script = |keys: &[String], round: &str| {
        let count = keys.len().to_string();
        let mut argv = vec!["EVAL", SCRIPT, &count];
        argv.extend(keys.iter().map(String::as_str));
        argv.push(round);
        encode(&argv)
    };
    // One that holds everything, and one that holds its keys.
    let whole = |round: &str| script(&keys, round);
    let bounded = |round: &str| script(&keys[..900], round);
    type Write<'w> = &'w (dyn Fn(&str) -> Vec<u8> + Sync);
    let kinds: [(Write<'_>, usize); 4] = [(&mset, 1), (&exec, 3), (&whole, 1), (&bounded, 1)];
    let server = Server::kivi(&["--io-threads", "2"]);
    for (write, replies) in kinds {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut writer = server.connect();
                for round in 0_u64.. {
                    writer.send(&write(&round.to_string()));
                    for _ in 0..replies {
                        assert!(!writer.read().0.starts_with(b"-"));
                    }
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let _stop = StopAtEnd(&done);
            let mut observer = server.connect();
            for round in 0..30 {
                observer.cmd(&["CLIENT", "PAUSE", "1000000", "WRITE"]);
                let seen = observer.cmd(&["MGET", "k0", "k899", "k3999"]);
                eventually("the writer to wait", || {
                    (observer.info("clients", "blocked_clients") == "1").then_some(())
                });
                assert_eq!(observer.cmd(&["MGET", "k0", "k899", "k3999"]), seen);
                observer.cmd(&["CLIENT", "UNPAUSE"]);
                // At ever other points of what the writer does.
                for _ in 0..round {
                    observer.cmd(&["PING"]);
                }
            }
        });
    }
}
