//! Blocking commands over TCP with many clients: who is served, in which order, and what ends a wait.
//!
//! A [`Waiter`] is a connection whose command the server is known to hold back: its flags in CLIENT
//! LIST say so before the test goes on. So the order in which clients came is certain, and nothing
//! depends on time but the tests of timeouts, which check that none is over too early.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Raw, Reply, encode, is_close};
use crate::expiry::info_number;
use crate::generate::Rng;
use crate::harness::{Launch, Server, env_number, eventually};

mod pauses;

/// Runs a test with one worker thread and with several.
fn with_threads(test: impl Fn(&Server)) {
    for threads in ["1", "4"] {
        let mut server = Server::kivi(&["--io-threads", threads]);
        test(&server);
        server.assert_alive();
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').collect()
}

/// Commands, one after the other, as bytes.
fn pipeline(commands: &[&str]) -> Vec<u8> {
    commands.iter().flat_map(|c| encode(&words(c))).collect()
}

/// A connection that looks on and does what the waiters wait for.
struct Other(Client);

impl Other {
    fn of(server: &Server) -> Other {
        Other(server.connect())
    }

    /// Sends a command and gives back the raw reply.
    fn raw(&mut self, command: &str) -> Raw {
        self.0.raw(&words(command))
    }

    /// Sends a command; panics unless the reply is `expected`.
    fn expect(&mut self, command: &str, expected: &str) {
        let reply = self.raw(command);
        assert_eq!(reply, expected.as_bytes(), "{command}");
    }

    fn is_blocked(&mut self, id: i64) -> bool {
        let list = self
            .0
            .cmd(&["CLIENT", "LIST", "ID", &id.to_string()])
            .text();
        let flags = list
            .split(' ')
            .find_map(|field| field.strip_prefix("flags="));
        flags.is_some_and(|flags| flags.contains('b'))
    }

    fn blocked_clients(&mut self) -> usize {
        let info = self.0.cmd(&["INFO", "clients"]).text();
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("blocked_clients:"));
        line.expect("blocked_clients in INFO")
            .trim()
            .parse()
            .expect("a number")
    }

    fn wait_for_blocked(&mut self, count: usize) {
        eventually("blocked_clients to be as expected", || {
            (self.blocked_clients() == count).then_some(())
        });
    }
}

/// A connection that waits for something.
struct Waiter {
    client: Client,
    id: i64,
}

impl Waiter {
    fn new(server: &Server) -> Waiter {
        Waiter::with_protocol(server, "2")
    }

    fn with_protocol(server: &Server, protocol: &str) -> Waiter {
        let mut client = server.connect();
        client.cmd(&["HELLO", protocol]);
        let id = client.cmd(&["CLIENT", "ID"]).int();
        Waiter { client, id }
    }

    /// A new connection that waits in `command`.
    fn on(server: &Server, other: &mut Other, command: &str) -> Waiter {
        let mut waiter = Waiter::new(server);
        waiter.wait(other, &[command]);
        waiter
    }

    /// Sends `commands`, the first of which must be held back.
    fn wait(&mut self, other: &mut Other, commands: &[&str]) {
        self.client.send(&pipeline(commands));
        self.wait_until_blocked(other, commands[0]);
    }

    fn wait_until_blocked(&self, other: &mut Other, command: &str) {
        eventually(&format!("{command} to wait"), || {
            other.is_blocked(self.id).then_some(())
        });
    }

    /// Panics unless the next reply is `expected`.
    fn expect(&mut self, expected: &str) {
        assert_eq!(self.client.read().0, expected.as_bytes());
    }

    /// The next reply as text: `[q, x]` for an array of bulk strings.
    fn next(&mut self) -> String {
        flat(&self.client.read().1)
    }
}

fn flat(reply: &Reply) -> String {
    match reply {
        Reply::Nil => "nil".to_owned(),
        Reply::Int(number) => number.to_string(),
        Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
        Reply::Array(items) => {
            let items: Vec<String> = items.iter().map(flat).collect();
            format!("[{}]", items.join(" "))
        }
        other => other.text(),
    }
}

#[test]
fn every_command_is_served_as_if_it_had_not_waited() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let cases = [
            ("BLPOP k 0", "RPUSH k a b", "[k a]", "[k a]"),
            ("BRPOP k 0", "RPUSH k a b", "[k b]", "[k b]"),
            ("BLPOP other k k 0", "LPUSH k a b", "[k b]", "[k b]"),
            ("BLMOVE k dst LEFT RIGHT 0", "RPUSH k a b", "a", "a"),
            ("BLMOVE k dst RIGHT LEFT 0", "RPUSH k a b", "b", "b"),
            ("BRPOPLPUSH k dst 0", "RPUSH k a b", "b", "b"),
            (
                "BLMPOP 0 2 other k LEFT",
                "RPUSH k a b",
                "[k [a]]",
                "[k [a]]",
            ),
            (
                "BLMPOP 0 1 k RIGHT COUNT 9",
                "RPUSH k a b",
                "[k [b a]]",
                "[k [b a]]",
            ),
            (
                "BZPOPMIN other k 0",
                "ZADD k 2 b 1.5 a",
                "[k a 1.5]",
                "[k a 1.5]",
            ),
            ("BZPOPMAX k 0", "ZADD k 2 b 1.5 a", "[k b 2]", "[k b 2]"),
            (
                "BZMPOP 0 1 k MIN",
                "ZADD k 2 b 1.5 a",
                "[k [[a 1.5]]]",
                "[k [[a 1.5]]]",
            ),
            (
                "BZMPOP 0 2 other k MAX COUNT 2",
                "ZADD k 2 b inf a",
                "[k [[a inf] [b 2]]]",
                "[k [[a inf] [b 2]]]",
            ),
        ];
        for (command, push, in_2, in_3) in cases {
            for (protocol, expected) in [("2", in_2), ("3", in_3)] {
                // First without waiting, then with; both must reply the same bytes.
                let mut waiter = Waiter::with_protocol(server, protocol);
                other.raw("FLUSHALL");
                other.raw(push);
                let at_once = waiter.client.raw(&words(command));
                other.raw("FLUSHALL");
                waiter.wait(&mut other, &[command]);
                other.expect(push, ":2\r\n");
                let (raw, reply) = waiter.client.read();
                assert_eq!(raw, at_once, "{command} in RESP{protocol}");
                assert_eq!(flat(&reply), expected, "{command} in RESP{protocol}");
                assert!(!other.is_blocked(waiter.id), "{command}");
            }
        }
    });
}

#[test]
fn clients_are_served_in_the_order_they_came() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut waiters: Vec<Waiter> = (0..12)
            .map(|n| {
                let keys = ["q", "a q", "q b", "a q b"][n % 4];
                Waiter::on(server, &mut other, &format!("BLPOP {keys} 0"))
            })
            .collect();
        // One by one, then all the rest with one command, which leaves one over.
        for (n, waiter) in waiters.iter_mut().take(5).enumerate() {
            other.expect(&format!("RPUSH q {n}"), ":1\r\n");
            assert_eq!(waiter.next(), format!("[q {n}]"));
        }
        other.expect("RPUSH q 5 6 7 8 9 10 11 12", ":8\r\n");
        for (n, waiter) in waiters.iter_mut().enumerate().skip(5) {
            assert_eq!(waiter.next(), format!("[q {n}]"));
        }
        other.expect("LRANGE q 0 -1", "*1\r\n$2\r\n12\r\n");
        assert_eq!(other.blocked_clients(), 0);
    });
}

#[test]
fn a_push_is_served_whole_before_anything_else() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let commands = [
            "BLPOP q 0",
            "BRPOP q 0",
            "BLMPOP 0 1 q LEFT COUNT 2",
            "BLPOP q 0",
        ];
        let mut waiters = commands.map(|command| Waiter::on(server, &mut other, command));
        // The reply of a push is the length before anybody was served, the commands after it see
        // what has been left.
        let push = [
            "RPUSH q a b c d e f g",
            "LRANGE q 0 -1",
            "LPUSHX q z",
            "DEL q",
        ];
        other.0.send(&pipeline(&push));
        assert_eq!(other.0.read().1.int(), 7);
        assert_eq!(flat(&other.0.read().1), "[e f]");
        assert_eq!(other.0.read().1.int(), 3);
        assert_eq!(other.0.read().1.int(), 1);
        let got: Vec<String> = waiters.iter_mut().map(Waiter::next).collect();
        assert_eq!(got, ["[q a]", "[q g]", "[q [b c]]", "[q d]"]);
        // LPUSH of several leaves the last in front.
        waiters[0].wait(&mut other, &["BLPOP q 0"]);
        other.0.send(&pipeline(&["LPUSH q a b c", "LPOP q 9"]));
        assert_eq!(other.0.read().1.int(), 3);
        assert_eq!(flat(&other.0.read().1), "[b a]");
        assert_eq!(waiters[0].next(), "[q c]");
    });
}

#[test]
fn every_key_has_a_queue_of_its_own() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut first = Waiter::on(server, &mut other, "BLPOP a b c 0");
        let mut second = Waiter::on(server, &mut other, "BLPOP c b 0");
        let mut third = Waiter::on(server, &mut other, "BRPOP b 0");
        other.raw("RPUSH c 1");
        assert_eq!(first.next(), "[c 1]");
        other.raw("RPUSH c 2");
        assert_eq!(second.next(), "[c 2]");
        other.raw("RPUSH b 3");
        assert_eq!(third.next(), "[b 3]");
        // Who was served has left all its queues.
        other.expect("RPUSH a 4", ":1\r\n");
        other.expect("RPUSH b 5", ":1\r\n");
        other.expect("EXISTS a b c", ":2\r\n");
        // A key named twice serves once.
        let mut twice = Waiter::on(server, &mut other, "BLPOP d d d 0");
        other.expect("RPUSH d 1 2", ":2\r\n");
        assert_eq!(twice.next(), "[d 1]");
        other.expect("LLEN d", ":1\r\n");
        // Keys of other databases are other keys.
        let mut elsewhere = Waiter::new(server);
        elsewhere.client.cmd(&["SELECT", "3"]);
        elsewhere.wait(&mut other, &["BLPOP e 0"]);
        other.expect("RPUSH e 0", ":1\r\n");
        assert!(other.is_blocked(elsewhere.id));
        other.0.cmd(&["SELECT", "3"]);
        other.raw("RPUSH e 3");
        assert_eq!(elsewhere.next(), "[e 3]");
    });
}

/// A model says who must get what, over many clients that wait for random keys.
#[test]
fn fairness_over_many_clients_and_keys() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut rng = Rng::new(7);
        let names: Vec<String> = (0..8).map(|n| format!("fair{n}")).collect();
        let mut waiters: Vec<Waiter> = (0..16).map(|_| Waiter::new(server)).collect();
        // Those that wait, in the order they came, with their keys.
        let mut queue: Vec<(usize, BTreeSet<usize>)> = Vec::new();
        let mut idle: Vec<usize> = (0..waiters.len()).collect();
        for round in 0..env_number("KIVI_TEST_ROUNDS", 1500) / 5 {
            while idle.len() > 3 {
                let waiter = idle.swap_remove(rng.below(idle.len()));
                let keys: BTreeSet<usize> = (0..1 + rng.below(5))
                    .map(|_| rng.below(names.len()))
                    .collect();
                let list: Vec<&str> = keys.iter().map(|key| names[*key].as_str()).collect();
                let command = match rng.below(3) {
                    0 => format!("BLMPOP 0 {} {} LEFT", list.len(), list.join(" ")),
                    1 => format!("BRPOP {} 0", list.join(" ")),
                    _ => format!("BLPOP {} 0", list.join(" ")),
                };
                waiters[waiter].wait(&mut other, &[&command]);
                queue.push((waiter, keys));
            }
            let key = rng.below(names.len());
            let elements: Vec<String> = (0..1 + rng.below(3))
                .map(|n| format!("{round}-{n}"))
                .collect();
            other.raw(&format!("RPUSH {} {}", names[key], elements.join(" ")));
            let mut left: BTreeSet<&str> = elements.iter().map(String::as_str).collect();
            while let Some(at) = queue.iter().position(|(_, keys)| keys.contains(&key)) {
                if left.is_empty() {
                    break;
                }
                let (waiter, _) = queue.remove(at);
                idle.push(waiter);
                let got = waiters[waiter].next().replace(['[', ']'], "");
                let (name, element) = got.split_once(' ').expect("key and element");
                assert_eq!(name, names[key], "round {round}");
                assert!(left.remove(element), "round {round}: {element}");
            }
            assert_eq!(other.blocked_clients(), queue.len(), "round {round}");
            other.expect(
                &format!("LLEN {}", names[key]),
                &format!(":{}\r\n", left.len()),
            );
            other.raw(&format!("DEL {}", names[key]));
        }
    });
}

#[test]
fn a_thousand_clients_wait_for_one_key() {
    let server = Server::kivi(&["--io-threads", "4"]);
    let mut other = Other::of(&server);
    let mut waiters: Vec<Waiter> = (0..1000)
        .map(|n| {
            let mut waiter = Waiter::new(&server);
            waiter.client.send(&pipeline(&["BLPOP crowd 0"]));
            other.wait_for_blocked(n + 1);
            waiter
        })
        .collect();
    let elements: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    other.expect(&format!("RPUSH crowd {}", elements.join(" ")), ":1000\r\n");
    for (waiter, element) in waiters.iter_mut().zip(&elements) {
        assert_eq!(waiter.next(), format!("[crowd {element}]"));
    }
    other.expect("EXISTS crowd", ":0\r\n");
    assert_eq!(other.blocked_clients(), 0);
}

#[test]
fn no_timeout_is_over_early_and_all_are_over() {
    with_threads(|server| {
        let cases = [
            ("BLPOP k 0.05", 50, "*-1\r\n", "_\r\n"),
            ("BRPOP k l m 0.12", 120, "*-1\r\n", "_\r\n"),
            ("BLMOVE k dst LEFT RIGHT 0.2", 200, "*-1\r\n", "_\r\n"),
            ("BRPOPLPUSH k dst 0.001", 1, "*-1\r\n", "_\r\n"),
            ("BLMPOP 0.07 2 k l LEFT COUNT 3", 70, "*-1\r\n", "_\r\n"),
            ("BZPOPMIN k 0.3", 300, "*-1\r\n", "_\r\n"),
            ("BZPOPMAX k l 0.0001", 0, "*-1\r\n", "_\r\n"),
            ("BZMPOP 1e-1 1 k MAX", 100, "*-1\r\n", "_\r\n"),
        ];
        thread::scope(|scope| {
            for (command, least_ms, in_2, in_3) in cases {
                for (protocol, expected) in [("2", in_2), ("3", in_3)] {
                    scope.spawn(move || {
                        let mut waiter = Waiter::with_protocol(server, protocol);
                        let start = Instant::now();
                        waiter.client.send(&pipeline(&[command, "PING"]));
                        waiter.expect(expected);
                        // The server's clock may have been read a millisecond before.
                        let least = Duration::from_millis(least_ms).saturating_sub(MILLI);
                        let took = start.elapsed();
                        assert!(took >= least, "{command} was over after {took:?}");
                        waiter.expect("+PONG\r\n");
                    });
                }
            }
        });
        assert_eq!(Other::of(server).blocked_clients(), 0);
        assert_eq!(Other::of(server).raw("DBSIZE"), b":0\r\n");
    });
}

const MILLI: Duration = Duration::from_millis(1);

#[test]
fn timeouts_are_over_in_their_own_order_and_zero_is_never() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut forever = Waiter::on(server, &mut other, "BLPOP q 0");
        let mut long = Waiter::on(server, &mut other, "BLPOP q 1000");
        let mut short: Vec<Waiter> = (0..20).map(|_| Waiter::new(server)).collect();
        for waiter in &mut short {
            waiter.client.send(&pipeline(&["BLPOP q 0.1"]));
        }
        for waiter in &mut short {
            assert_eq!(waiter.next(), "nil");
        }
        assert!(other.is_blocked(forever.id) && other.is_blocked(long.id));
        assert_eq!(other.blocked_clients(), 2);
        // Who has left early has left the queue.
        other.raw("RPUSH q 1 2 3");
        assert_eq!(forever.next(), "[q 1]");
        assert_eq!(long.next(), "[q 2]");
        other.expect("LLEN q", ":1\r\n");
    });
}

#[test]
fn bad_timeouts_and_wrong_types_do_not_wait() {
    let server = Server::kivi(&[]);
    let mut other = Other::of(&server);
    const NO_FLOAT: &str = "-ERR timeout is not a float or out of range\r\n";
    for (timeout, error) in [
        ("-1", "-ERR timeout is negative\r\n"),
        ("-inf", "-ERR timeout is negative\r\n"),
        ("nan", NO_FLOAT),
        ("abc", NO_FLOAT),
        ("", NO_FLOAT),
        ("1e400", "-ERR timeout is out of range\r\n"),
        ("1e20", "-ERR timeout is out of range\r\n"),
        ("inf", "-ERR timeout is out of range\r\n"),
    ] {
        for command in [
            "BLPOP k",
            "BRPOP k l",
            "BRPOPLPUSH k l",
            "BLMOVE k l LEFT LEFT",
            "BZPOPMIN k",
        ] {
            other.expect(&format!("{command} {timeout}"), error);
        }
        other.expect(&format!("BLMPOP {timeout} 1 k LEFT"), error);
        other.expect(&format!("BZMPOP {timeout} 1 k MIN"), error);
    }
    other.raw("SET text v");
    other.raw("RPUSH list a");
    other.raw("ZADD zset 1 m");
    const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
    for command in [
        "BLPOP text 0",
        "BLPOP none zset list 0",
        "BRPOP text list 0",
        "BLMOVE text dst LEFT LEFT 0",
        "BLMOVE list text LEFT LEFT 0",
        "BRPOPLPUSH list zset 0",
        "BLMPOP 0 2 none text LEFT",
        "BZPOPMIN list 0",
        "BZPOPMAX none text zset 0",
        "BZMPOP 0 1 text MIN",
    ] {
        other.expect(command, WRONG);
    }
    other.expect("BLPOP list text 0", "*2\r\n$4\r\nlist\r\n$1\r\na\r\n");
    assert_eq!(other.blocked_clients(), 0);
}

#[test]
fn waiting_while_the_key_becomes_other_things() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut list = Waiter::on(server, &mut other, "BLPOP k 0");
        let mut zset = Waiter::on(server, &mut other, "BZPOPMIN k 0");
        for setup in [
            "SET k v",
            "GETDEL k",
            "HSET k f v",
            "DEL k",
            "SADD k m",
            "UNLINK k",
            "SET k v PX 1",
        ] {
            other.raw(setup);
        }
        eventually("the key to expire", || {
            (other.raw("EXISTS k") == b":0\r\n").then_some(())
        });
        assert_eq!(other.blocked_clients(), 2);
        // A list does not serve who waits for a sorted set, and the other way round, whoever came
        // first.
        other.expect("ZADD k 1 m", ":1\r\n");
        assert_eq!(zset.next(), "[k m 1]");
        assert!(other.is_blocked(list.id));
        zset.wait(&mut other, &["BZPOPMAX k 0"]);
        other.expect("RPUSH k x", ":1\r\n");
        assert_eq!(list.next(), "[k x]");
        assert!(other.is_blocked(zset.id));
        list.wait(&mut other, &["BLMOVE k dst LEFT RIGHT 0"]);
        other.expect("ZADD k 1 m", ":1\r\n");
        assert_eq!(zset.next(), "[k m 1]");
        // Elements that were there and went before it waited are nobody's.
        other
            .0
            .send(&pipeline(&["SET k v", "DEL k", "RPUSH k y", "LLEN k"]));
        for _ in 0..3 {
            other.0.read();
        }
        assert_eq!(other.0.read().1.int(), 0);
        assert_eq!(list.next(), "y");
        other.expect("LRANGE dst 0 -1", "*1\r\n$1\r\ny\r\n");
    });
}

#[test]
fn flushing_ends_no_wait() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut waiter = Waiter::on(server, &mut other, "BLPOP k 0");
        for flush in ["FLUSHALL", "FLUSHDB ASYNC", "FLUSHALL SYNC"] {
            other.raw("SET k v");
            other.expect(flush, "+OK\r\n");
        }
        assert!(other.is_blocked(waiter.id));
        other.raw("RPUSH k x");
        assert_eq!(waiter.next(), "[k x]");
    });
}

#[test]
fn whatever_makes_the_key_serves() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut second = Other::of(server);
        second.0.cmd(&["SELECT", "1"]);
        let lists = [
            ("RPUSH o x", "RENAME o k"),
            ("RPUSH o x", "RENAMENX o k"),
            ("RPUSH o x", "COPY o k"),
            ("RPUSH o x", "LMOVE o k LEFT LEFT"),
            ("RPUSH o x", "RPOPLPUSH o k"),
            ("RPUSH o x", "BLMOVE o k LEFT RIGHT 0"),
            ("RPUSH o x", "BRPOPLPUSH o k 0"),
            ("SADD o x", "SORT o ALPHA STORE k"),
        ];
        let zsets = [
            ("ZADD o 1 x", "RENAME o k"),
            ("ZADD o 1 x", "COPY o k REPLACE"),
            ("ZADD o 1 x", "ZRANGESTORE k o 0 -1"),
            ("ZADD o 1 x", "ZUNIONSTORE k 1 o"),
            ("ZADD o 1 x", "ZINTERSTORE k 2 o o WEIGHTS 0.5 0.5"),
            ("ZADD o 1 x", "ZDIFFSTORE k 1 o"),
            ("SET o x", "ZINCRBY k 1 x"),
            ("SET o x", "ZADD k INCR 1 x"),
        ];
        let cases = lists.map(|case| ("BLPOP k 0", case, "[k x]"));
        let cases = cases
            .into_iter()
            .chain(zsets.map(|case| ("BZPOPMIN k 0", case, "[k x 1]")));
        for (command, (setup, make), expected) in cases {
            let mut waiter = Waiter::on(server, &mut other, command);
            other.raw("DEL o");
            other.raw(setup);
            let reply = other.raw(make);
            assert_ne!(reply[0], b'-', "{make}: {reply:?}");
            assert_eq!(waiter.next(), expected, "{make}");
            other.expect("EXISTS k", ":0\r\n");
        }
        // From another database.
        let mut waiter = Waiter::on(server, &mut other, "BLPOP k 0");
        second.raw("RPUSH k moved");
        second.expect("MOVE k 0", ":1\r\n");
        assert_eq!(waiter.next(), "[k moved]");
        waiter.wait(&mut other, &["BLPOP k 0"]);
        other.raw("RPUSH o copied");
        other.raw("DEL o");
        second.raw("RPUSH o copied");
        second.expect("COPY o k DB 0", ":1\r\n");
        assert_eq!(waiter.next(), "[k copied]");
        waiter.wait(&mut other, &["BLPOP k 0"]);
        second.raw("RPUSH k swapped");
        second.expect("SWAPDB 1 0", "+OK\r\n");
        assert_eq!(waiter.next(), "[k swapped]");
        // The waiter is still in database 0, which was 1 before.
        waiter.wait(&mut other, &["BLPOP k 0"]);
        second.expect("RPUSH k one", ":1\r\n");
        assert!(other.is_blocked(waiter.id));
        other.raw("RPUSH k zero");
        assert_eq!(waiter.next(), "[k zero]");
    });
}

#[test]
fn chains_of_moves() {
    with_threads(|server| {
        let mut other = Other::of(server);
        // The last one came first: every move must wake the one before it.
        let length = 20;
        let mut last = Waiter::on(server, &mut other, &format!("BLPOP chain{length} 0"));
        let mut movers: Vec<Waiter> = (0..length)
            .rev()
            .map(|n| {
                let command = match n % 3 {
                    0 => format!("BRPOPLPUSH chain{n} chain{} 0", n + 1),
                    1 => format!("BLMOVE chain{n} chain{} LEFT LEFT 0", n + 1),
                    _ => format!("BLMOVE chain{n} chain{} RIGHT LEFT 0", n + 1),
                };
                Waiter::on(server, &mut other, &command)
            })
            .collect();
        other.expect("RPUSH chain0 x", ":1\r\n");
        assert_eq!(last.next(), format!("[chain{length} x]"));
        assert!(movers.iter_mut().all(|mover| mover.next() == "x"));
        other.expect("DBSIZE", ":0\r\n");
        // Two that move to and fro; each is served once.
        let mut to = Waiter::on(server, &mut other, "BLMOVE a b LEFT RIGHT 0");
        let mut fro = Waiter::on(server, &mut other, "BLMOVE b a LEFT RIGHT 0");
        other.expect("RPUSH a x", ":1\r\n");
        assert_eq!((to.next(), fro.next()), ("x".to_owned(), "x".to_owned()));
        other.expect("LRANGE a 0 -1", "*1\r\n$1\r\nx\r\n");
        other.expect("EXISTS b", ":0\r\n");
        // Onto itself, and then the next one gets it.
        other.raw("DEL a");
        let mut itself = Waiter::on(server, &mut other, "BRPOPLPUSH a a 0");
        let mut next = Waiter::on(server, &mut other, "BRPOP a 0");
        other.expect("RPUSH a y", ":1\r\n");
        assert_eq!(
            (itself.next(), next.next()),
            ("y".to_owned(), "[a y]".to_owned())
        );
        other.expect("DBSIZE", ":0\r\n");
        // Fan-in: two sources into one key that two wait for.
        let mut waiters = [
            "BLPOP sink 0",
            "BRPOP sink 0",
            "BLMOVE s1 sink LEFT LEFT 0",
            "BLMOVE s2 sink LEFT LEFT 0",
        ]
        .map(|command| Waiter::on(server, &mut other, command));
        other.raw("RPUSH s2 second");
        other.raw("RPUSH s1 first");
        let got = waiters.each_mut().map(Waiter::next);
        assert_eq!(got, ["[sink second]", "[sink first]", "first", "second"]);
        other.expect("DBSIZE", ":0\r\n");
    });
}

#[test]
fn a_destination_of_another_type_ends_the_wait_and_loses_nothing() {
    with_threads(|server| {
        let mut other = Other::of(server);
        other.raw("SET dst text");
        let commands = [
            "BLMOVE src dst LEFT RIGHT 0",
            "BRPOPLPUSH src dst 0",
            "BLPOP src 0",
        ];
        let mut waiters = commands.map(|command| Waiter::on(server, &mut other, command));
        other.expect("RPUSH src x", ":1\r\n");
        let wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
        let got = waiters.each_mut().map(Waiter::next);
        assert_eq!(got, [wrong, wrong, "[src x]"]);
        other.expect("GET dst", "$4\r\ntext\r\n");
        other.expect("EXISTS src", ":0\r\n");
        // With nobody behind, the element stays.
        waiters[0].wait(&mut other, &["BLMOVE src dst LEFT RIGHT 0", "PING"]);
        other.expect("RPUSH src y", ":1\r\n");
        assert_eq!(waiters[0].next(), wrong);
        assert_eq!(waiters[0].next(), "PONG");
        other.expect("LRANGE src 0 -1", "*1\r\n$1\r\ny\r\n");
    });
}

#[test]
fn client_unblock() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut waiter = Waiter::new(server);
        let id = waiter.id;
        other.expect(&format!("CLIENT UNBLOCK {id}"), ":0\r\n");
        for (how, expected) in [
            ("", "nil"),
            (" TIMEOUT", "nil"),
            (" timeout", "nil"),
            (" error", "UNBLOCKED client unblocked via CLIENT UNBLOCK"),
        ] {
            for command in ["BLPOP k 0", "BLMOVE k l LEFT LEFT 9", "BZMPOP 0 2 k l MIN"] {
                waiter.wait(&mut other, &[command, "ECHO after"]);
                other.expect(&format!("CLIENT UNBLOCK {id}{how}"), ":1\r\n");
                assert_eq!(waiter.next(), expected, "{command}");
                assert_eq!(waiter.next(), "after");
                other.expect(&format!("CLIENT UNBLOCK {id}{how}"), ":0\r\n");
            }
        }
        other.expect("CLIENT UNBLOCK 123456789", ":0\r\n");
        let text = "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n";
        other.expect(&format!("CLIENT UNBLOCK {id} NOW"), text);
        let text = "-ERR value is not an integer or out of range\r\n";
        other.expect("CLIENT UNBLOCK abc", text);
        let text = "-ERR wrong number of arguments for 'client|unblock' command\r\n";
        other.expect("CLIENT UNBLOCK", text);
        // It has left the queue.
        other.expect("RPUSH k x", ":1\r\n");
        other.expect("LLEN k", ":1\r\n");
    });
}

#[test]
fn who_goes_away_while_waiting_gets_nothing() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut waiters: Vec<Waiter> = (0..40)
            .map(|_| Waiter::on(server, &mut other, "BLPOP k l 0"))
            .collect();
        // Every second one goes: by itself, or killed.
        let mut stay = Vec::new();
        for (n, mut waiter) in waiters.drain(..).enumerate() {
            match n % 4 {
                0 => drop(waiter),
                1 => {
                    other.expect(&format!("CLIENT KILL ID {}", waiter.id), ":1\r\n");
                    let closed = waiter.client.read_to_close().expect("the end");
                    assert_eq!(closed, b"");
                }
                _ => stay.push(waiter),
            }
        }
        other.wait_for_blocked(stay.len());
        for (n, waiter) in stay.iter_mut().enumerate() {
            let key = ["k", "l"][n % 2];
            other.expect(&format!("RPUSH {key} {n}"), ":1\r\n");
            assert_eq!(waiter.next(), format!("[{key} {n}]"));
        }
        other.expect("DBSIZE", ":0\r\n");
        assert_eq!(other.blocked_clients(), 0);
    });
}

#[test]
fn killing_all_others_reaches_those_who_wait() {
    let server = Server::kivi(&["--io-threads", "4"]);
    let mut other = Other::of(&server);
    let mut waiters: Vec<Waiter> = (0..10)
        .map(|n| Waiter::on(&server, &mut other, &format!("BZPOPMIN z{} 0", n % 3)))
        .collect();
    other.expect("CLIENT KILL TYPE normal SKIPME yes", ":10\r\n");
    for waiter in &mut waiters {
        assert_eq!(waiter.client.read_to_close().expect("the end"), b"");
    }
    other.wait_for_blocked(0);
    other.expect("ZADD z0 1 m", ":1\r\n");
    other.expect("ZCARD z0", ":1\r\n");
}

#[test]
fn commands_behind_a_waiting_one_wait() {
    with_threads(|server| {
        let mut other = Other::of(server);
        let mut waiter = Waiter::new(server);
        let commands = [
            "BLPOP k 0",
            "SET x 1",
            "INCR x",
            "RPUSH l a",
            "BLPOP l 0",
            "BRPOP k 0",
            "GET x",
        ];
        waiter.wait(&mut other, &commands);
        other.expect("EXISTS x l", ":0\r\n");
        // More may come while it waits.
        waiter.client.send(&pipeline(&["DEL x"]).repeat(3));
        other.expect("RPUSH k 1", ":1\r\n");
        let got: Vec<String> = (0..5).map(|_| waiter.next()).collect();
        assert_eq!(got, ["[k 1]", "OK", "2", "1", "[l a]"]);
        waiter.wait_until_blocked(&mut other, "BRPOP k 0");
        other.expect("GET x", "$1\r\n2\r\n");
        other.expect("RPUSH k 2", ":1\r\n");
        let got: Vec<String> = (0..5).map(|_| waiter.next()).collect();
        assert_eq!(got, ["[k 2]", "2", "1", "0", "0"]);
        // A long pipeline, of which the first part is there before and the second comes later.
        let increments = pipeline(&["INCR n"]).repeat(2000);
        waiter
            .client
            .send(&[pipeline(&["BLPOP k 0"]), increments.clone()].concat());
        waiter.wait_until_blocked(&mut other, "BLPOP k 0");
        waiter.client.send(&increments);
        other.expect("EXISTS n", ":0\r\n");
        other.expect("RPUSH k 3", ":1\r\n");
        assert_eq!(waiter.next(), "[k 3]");
        for n in 1..=4000 {
            assert_eq!(waiter.client.read().1.int(), n);
        }
        // What ends a connection waits, too.
        waiter.wait(
            &mut other,
            &[
                "BLPOP k 0",
                "SELECT 2",
                "RESET",
                "SET x reset",
                "QUIT",
                "PING",
            ],
        );
        other.expect("RPUSH k 4", ":1\r\n");
        let got: Vec<String> = (0..4).map(|_| waiter.next()).collect();
        assert_eq!(got, ["[k 4]", "OK", "RESET", "OK"]);
        waiter.expect("+OK\r\n");
        assert_eq!(waiter.client.read_to_close().expect("the end"), b"");
        other.expect("GET x", "$5\r\nreset\r\n");
    });
}

#[test]
fn waiting_shows_in_info_and_client_list() {
    let server = Server::kivi(&[]);
    let mut other = Other::of(&server);
    assert_eq!(other.blocked_clients(), 0);
    let mut first = Waiter::on(&server, &mut other, "BLPOP a b 0");
    let second = Waiter::on(&server, &mut other, "BZMPOP 0 1 b MIN");
    assert_eq!(other.blocked_clients(), 2);
    let info = other.0.cmd(&["INFO", "clients"]).text();
    assert!(info.contains("total_blocking_keys:2"), "{info}");
    let line = other
        .0
        .cmd(&["CLIENT", "LIST", "ID", &first.id.to_string()])
        .text();
    assert!(
        line.contains(" flags=b ") && line.contains(" cmd=blpop "),
        "{line}"
    );
    let line = other
        .0
        .cmd(&["CLIENT", "LIST", "ID", &second.id.to_string()])
        .text();
    assert!(
        line.contains(" flags=b ") && line.contains(" cmd=bzmpop "),
        "{line}"
    );
    drop(second);
    other.wait_for_blocked(1);
    other.raw("RPUSH b x");
    assert_eq!(first.next(), "[b x]");
    assert_eq!(other.blocked_clients(), 0);
    let line = other
        .0
        .cmd(&["CLIENT", "LIST", "ID", &first.id.to_string()])
        .text();
    assert!(line.contains(" flags=N "), "{line}");
    // One call each, however often it was tried.
    let stats = other.0.cmd(&["INFO", "commandstats"]).text();
    assert!(stats.contains("cmdstat_blpop:calls=1,"), "{stats}");
}

#[test]
fn who_waits_is_not_idle() {
    let server = Server::kivi(&["--timeout", "1"]);
    let mut other = Other::of(&server);
    let mut waiter = Waiter::on(&server, &mut other, "BLPOP k 0");
    let mut idle = Waiter::new(&server);
    // Until the idle one is closed, by which time the one that waits has been quiet for longer.
    let end = thread::spawn(move || idle.client.read_to_close().expect("the end"));
    eventually("an idle client to be closed", || {
        other.raw("PING");
        end.is_finished().then_some(())
    });
    assert_eq!(end.join().expect("reader"), b"");
    assert!(other.is_blocked(waiter.id));
    other.raw("RPUSH k x");
    assert_eq!(waiter.next(), "[k x]");
}

#[test]
fn shutdown_while_clients_wait() {
    for threads in ["1", "4"] {
        let mut server = Server::kivi(&["--io-threads", threads]);
        let mut other = Other::of(&server);
        let mut waiters: Vec<Waiter> = ["BLPOP a b 0", "BZPOPMIN a 100", "BLMOVE a b LEFT LEFT 0"]
            .iter()
            .map(|command| Waiter::on(&server, &mut other, command))
            .collect();
        other.0.send(&pipeline(&["SHUTDOWN NOSAVE"]));
        assert!(server.wait_exit().success(), "{}", server.log());
        for waiter in &mut waiters {
            match waiter.client.try_read() {
                Ok((_, reply)) => assert!(reply.is_error(), "{reply:?}"),
                Err(error) => assert!(is_close(&error), "{error}"),
            }
        }
    }
    // By a signal.
    let server = Launch::KIVI.start();
    let mut other = Other::of(&server);
    let _waiter = Waiter::on(&server, &mut other, "BLPOP a 0");
    let (status, log) = server.signal_and_wait("TERM");
    assert!(status.success(), "{log}");
}

#[test]
fn who_has_gone_before_the_reply_waits_for_nothing() {
    let server = Server::kivi(&[]);
    let mut other = Other::of(&server);
    let elements: Vec<String> = (0..50_000)
        .map(|n| format!("element:{}", n % 997))
        .collect();
    other.raw(&format!("RPUSH long {}", elements.join(" ")));
    for _ in 0..3 {
        let mut gone = TcpStream::connect(("127.0.0.1", server.port)).expect("connecting");
        gone.write_all(&pipeline(&["PING"])).expect("sending");
        gone.peek(&mut [0]).expect("a reply");
        // What was never read resets the connection when it is closed, while the server works on the
        // first command; so its reply fails in the moment when the client begins to wait.
        let commands = ["SORT long ALPHA STORE sorted", "BLPOP list 0"];
        gone.write_all(&pipeline(&commands)).expect("sending");
        drop(gone);
        eventually("the client to be gone", || {
            (info_number(&mut other.0, "connected_clients") == 1).then_some(())
        });
        assert_eq!(info_number(&mut other.0, "total_blocking_keys"), 0);
    }
}
