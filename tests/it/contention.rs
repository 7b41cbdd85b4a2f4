//! One to sixteen threads on one hot key of each type, and on many keys, with as many worker threads:
//! what all of them did is there at the end, once.
//!
//! Every command here gives each of its callers a different answer, if and only if each ran alone: so
//! not only the sums are looked at, but that no two clients were told the same. How fast it is, is
//! measured elsewhere (`benches/side_by_side contention`).

use std::collections::HashSet;
use std::thread;

use crate::client::{Client, encode};
use crate::harness::{Server, env_number};

/// Worker threads, and clients with a thread each.
const THREADS: [usize; 5] = [1, 2, 4, 8, 16];
/// Commands that are sent at once.
const DEPTH: usize = 20;

/// Batches of each client.
fn batches(threads: usize) -> usize {
    (env_number("KIVI_TEST_ROUNDS", 1500) as usize / 40 / threads).max(2)
}

/// Has so many clients send batches at the same time; the answers of each.
fn all_at_once(
    server: &Server,
    clients: usize,
    batch: impl Fn(usize, usize) -> Vec<Vec<u8>> + Sync,
) -> Vec<Vec<i64>> {
    let ask = |client: usize| {
        let mut connection: Client = server.connect();
        let mut answers = Vec::new();
        for round in 0..batches(clients) {
            let requests = batch(client, round);
            connection.send(&requests.concat());
            for _ in &requests {
                answers.push(connection.read().1.int());
            }
        }
        answers
    };
    thread::scope(|scope| {
        let asking: Vec<_> = (0..clients)
            .map(|client| scope.spawn(move || ask(client)))
            .collect();
        let join = |asked: thread::ScopedJoinHandle<'_, Vec<i64>>| asked.join();
        let answers: Result<Vec<_>, _> = asking.into_iter().map(join).collect();
        answers.unwrap_or_else(|_| panic!("a client failed"))
    })
}

/// Runs a test with every number of threads.
fn with_threads(test: impl Fn(&Server, usize)) {
    for threads in THREADS {
        let mut server = Server::kivi(&["--io-threads", &threads.to_string()]);
        test(&server, threads);
        server.assert_alive();
    }
}

/// Commands that count up, each from what it finds, by one.
const COUNTING: &[&[&str]] = &[
    &["INCR", "string"],
    &["APPEND", "text", "x"],
    &["RPUSH", "list", "item"],
    &["LPUSH", "other list", "item"],
    &["HINCRBY", "hash", "field", "1"],
    &[
        "EVAL",
        "return redis.call('incr', KEYS[1])",
        "1",
        "by script",
    ],
];

#[test]
fn each_of_many_threads_counts_once_on_one_key() {
    with_threads(|server, threads| {
        for words in COUNTING {
            let request = encode(words);
            let answers = all_at_once(server, threads, |_, _| vec![request.clone(); DEPTH]);
            let total = threads * batches(threads) * DEPTH;
            for client in &answers {
                let rises = client.windows(2).all(|pair| pair[0] < pair[1]);
                assert!(rises, "{words:?}: a client's own answers rise: {client:?}");
            }
            let told: HashSet<i64> = answers.concat().into_iter().collect();
            assert_eq!(
                told,
                (1..=total as i64).collect(),
                "{words:?}, {threads} threads"
            );
        }
    });
}

#[test]
fn each_of_many_threads_adds_once_to_one_collection() {
    // Members are the clients' own, or all clients': what is new is told to one of them.
    const ADDING: &[(&str, &[&str], &str)] = &[
        ("SADD", &[], "SCARD"),
        ("ZADD", &["1"], "ZCARD"),
        ("HSETNX", &[], "HLEN"),
    ];
    with_threads(|server, threads| {
        for &(command, before, count) in ADDING {
            let answers = all_at_once(server, threads, |client, round| {
                let add = |member: String| {
                    let mut words = vec![command, command];
                    words.extend(before);
                    words.push(&member);
                    if command == "HSETNX" {
                        words.push("value");
                    }
                    encode(&words)
                };
                let own = (0..DEPTH).map(|n| add(format!("{client}-{round}-{n}")));
                let common = (0..DEPTH).map(|n| add(format!("common-{round}-{n}")));
                own.chain(common).collect()
            });
            let added = answers.concat().iter().sum::<i64>();
            let rounds = batches(threads) * DEPTH;
            let expected = (threads * rounds + rounds) as i64;
            assert_eq!(added, expected, "{command}, {threads} threads");
            assert_eq!(server.connect().cmd(&[count, command]).int(), expected);
        }
    });
}

#[test]
fn many_threads_on_many_keys_lose_nothing() {
    const KEYS: usize = 97;
    with_threads(|server, threads| {
        let key = |n: usize| format!("key:{}", n % KEYS);
        all_at_once(server, threads, |client, round| {
            let requests = (0..DEPTH).map(|n| encode(&["INCR", &key(client * 31 + round * 7 + n)]));
            requests.collect()
        });
        let mut client = server.connect();
        let keys: Vec<String> = (0..KEYS).map(key).collect();
        let sum: i64 = keys
            .iter()
            .map(|key| client.cmd(&["INCRBY", key, "0"]).int())
            .sum();
        assert_eq!(sum, (threads * batches(threads) * DEPTH) as i64);
    });
}

#[test]
fn what_is_pushed_once_is_taken_once() {
    with_threads(|server, threads| {
        let total = threads * batches(threads) * DEPTH;
        let mut setup = server.connect();
        for n in 0..total {
            setup.send(&encode(&["RPUSH", "queue", &n.to_string()]));
        }
        for _ in 0..total {
            setup.read();
        }
        // A script turns what it takes into a number, and puts it into the other list.
        let take = "local n = redis.call('lpop', KEYS[1]) redis.call('rpush', KEYS[2], n) return tonumber(n)";
        let request = encode(&["EVAL", take, "2", "queue", "taken"]);
        let answers = all_at_once(server, threads, |_, _| vec![request.clone(); DEPTH]);
        let taken: HashSet<i64> = answers.concat().into_iter().collect();
        assert_eq!(taken, (0..total as i64).collect(), "{threads} threads");
        assert_eq!(setup.cmd(&["LLEN", "taken"]).int(), total as i64);
        // They were taken in order, so they stand in order.
        let order: Vec<String> = setup
            .cmd(&["LRANGE", "taken", "0", "-1"])
            .items()
            .iter()
            .map(|item| item.text())
            .collect();
        let expected: Vec<String> = (0..total).map(|n| n.to_string()).collect();
        assert_eq!(order, expected, "{threads} threads");
    });
}
