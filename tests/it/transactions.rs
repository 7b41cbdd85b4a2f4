//! Transactions over TCP: the same random histories of two clients to Kivi and to Valkey, and what
//! only a socket shows.
//!
//! A history is what two clients say in turns: commands of the templates, outside and inside of MULTI,
//! and all that concerns transactions, sensible or not. Every reply has to be the same bytes, that of
//! EXEC, too, so only commands take part whose replies are (`takes_part`).

use crate::client::{Client, Reply, is_close, parse, show, show_command};
use crate::concurrency::with_threads;
use crate::differences::{DIFFERENCES, Peer, Words};
use crate::generate::{Agree, Generator};
use crate::harness::{Server, env_number, eventually};

const ARGS: &[&str] = &["--enable-debug-command", "yes", "--hz", "500"];

/// Steps of a history.
const STEPS: usize = 300;

/// What is said about transactions, each with how often.
const CONTROL: &[(usize, &str)] = &[
    (30, "MULTI"),
    (30, "EXEC"),
    (4, "DISCARD"),
    (12, "WATCH k0 k1 l0 s0 h0 z0"),
    (6, "WATCH k0"),
    (4, "UNWATCH"),
    (2, "RESET"),
    (1, "EXEC now"),
    (1, "WATCH"),
    (1, "NOSUCH command"),
    (1, "GET"),
    (1, "SAVE"),
    (3, "SELECT 1"),
    (3, "SELECT 0"),
    (2, "SWAPDB 0 1"),
    (1, "FLUSHDB"),
    (1, "FLUSHALL"),
    (1, "DBSIZE"),
    (1, "DEBUG DIGEST"),
    (1, "BLPOP l0 l1 0.001"),
    (1, "BLMOVE l0 l1 LEFT RIGHT 0.001"),
    (1, "UNSUBSCRIBE"),
];

/// Whether a command's replies are the same bytes in both, and what it does concerns nobody else.
fn takes_part(argv: &[Vec<u8>], agree: Agree) -> bool {
    let words = Words::of(argv);
    let others = [
        "client",
        "command",
        "config",
        "debug",
        "hello",
        "info",
        "lolwut",
        "memory",
        "reset",
        "role",
        "monitor",
        "sort",
        "sort_ro",
        "dump",
        "restore",
        "bgsave",
        "bgrewriteaof",
        "lastsave",
        "acl",
        "object",
        "auth",
        "echo",
        "ping",
        "publish",
        "spublish",
        "pubsub",
        "subscribe",
        "psubscribe",
        "ssubscribe",
        "unsubscribe",
        "punsubscribe",
        "sunsubscribe",
        "shutdown",
    ];
    let differs = |d: &crate::differences::Difference| {
        d.peer.is_none_or(|peer| peer == Peer::Valkey9) && (d.when)(&words)
    };
    agree == Agree::Exact && !words.among(&others) && !DIFFERENCES.iter().any(differs)
}

/// A client of each of the two servers.
struct Pair {
    kivi: Client,
    real: Client,
}

impl Pair {
    fn new(kivi: &Server, real: &Server) -> Pair {
        let (kivi, real) = (kivi.connect(), real.connect());
        Pair { kivi, real }
    }

    /// Says the same to both; what they answer, if that is not the same.
    fn say<A: AsRef<[u8]>>(&mut self, argv: &[A]) -> Result<Vec<u8>, String> {
        let (ours, theirs) = (self.kivi.raw(argv), self.real.raw(argv));
        match ours == theirs {
            true => Ok(ours.to_vec()),
            false => Err(format!("kivi: {}\nvalkey: {}", show(&ours), show(&theirs))),
        }
    }
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

fn control(commands: &mut Generator) -> Vec<Vec<u8>> {
    let total: usize = CONTROL.iter().map(|(weight, _)| weight).sum();
    let mut ticket = commands.rng.below(total);
    let mut rows = CONTROL.iter();
    let (_, line) = rows
        .find(|(weight, _)| {
            let hit = ticket < *weight;
            ticket = ticket.wrapping_sub(*weight);
            hit
        })
        .expect("the ticket is below the total");
    words(line)
}

/// One history; the number of transactions that ran, and of those that a watch has stopped.
fn history(seed: u64, kivi: &Server, real: &Server) -> [usize; 2] {
    let mut clients = [Pair::new(kivi, real), Pair::new(kivi, real)];
    let mut commands = Generator::new(seed);
    let mut said: Vec<String> = Vec::new();
    let mut seen = [0, 0];
    let protocol = ["2", "3"][commands.rng.below(2)];
    for pair in &mut clients {
        pair.say(&words("FLUSHALL")).expect("the same");
        for client in [&mut pair.kivi, &mut pair.real] {
            client.cmd(&["HELLO", protocol]);
        }
    }
    for _ in 0..STEPS {
        let who = commands.rng.below(2);
        let argv = match commands.rng.chance(35) {
            true => control(&mut commands),
            false => loop {
                let step = commands.step();
                if takes_part(&step.argv, step.agree) {
                    break step.argv;
                }
            },
        };
        said.push(format!("{who}: {}", show_command(&argv)));
        let reply = clients[who].say(&argv).unwrap_or_else(|difference| {
            let from = said.len().saturating_sub(60);
            panic!(
                "KIVI_TEST_SEED={seed}\n{}\n{difference}",
                said[from..].join("\n")
            )
        });
        if argv[0].eq_ignore_ascii_case(b"exec") {
            seen[0] += reply.starts_with(b"*") as usize;
            seen[1] += (reply == b"*-1\r\n" || reply == b"_\r\n") as usize;
        }
    }
    for pair in &mut clients {
        pair.say(&words("RESET")).expect("the same");
    }
    let digests = clients[0].say(&words("DEBUG DIGEST"));
    digests.unwrap_or_else(|difference| panic!("KIVI_TEST_SEED={seed}\n{difference}"));
    seen
}

#[test]
fn two_clients_see_what_they_see_of_valkey() {
    let Some(real) = Server::valkey(ARGS) else {
        return;
    };
    let mut kivi = Server::kivi(ARGS);
    let only = std::env::var("KIVI_TEST_SEED").ok();
    let only = only.map(|seed| seed.parse::<u64>().expect("KIVI_TEST_SEED"));
    let histories = env_number("KIVI_TEST_STEPS", 24_000).div_ceil(STEPS as u64);
    let seeds = only.map_or(1..histories + 1, |seed| seed..seed + 1);
    let mut seen = [0, 0];
    for seed in seeds {
        let [ran, stopped] = history(seed, &kivi, &real);
        seen = [seen[0] + ran, seen[1] + stopped];
    }
    kivi.assert_alive();
    if only.is_none() {
        let enough = seen[0] as u64 > 2 * histories && seen[1] as u64 > histories / 8;
        assert!(enough, "{seen:?} transactions ran and were stopped");
    }
}

fn int_of(client: &mut Client, section: &str, field: &str) -> i64 {
    let text = client.cmd(&["INFO", section]).text();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|value| value.strip_prefix(':'))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or_else(|| panic!("no {field} in {text}"))
}

/// Does the same on Kivi and, if there is one, on Valkey.
fn on_both(args: &[&str], check: impl Fn(&Server)) {
    let servers = [Some(Server::kivi(args)), Server::valkey(args)];
    servers.iter().flatten().for_each(check);
}

#[test]
fn a_queue_past_the_limit_of_query_buffers_ends_its_client() {
    on_both(&["--client-query-buffer-limit", "1mb"], |server| {
        let mut other = server.connect();
        let mut client = server.connect();
        client.cmd(&["WATCH", "k"]);
        client.cmd(&["MULTI"]);
        let value = vec![b'x'; 50_000];
        let mut queued = 0;
        let error = loop {
            match client.try_raw(&[b"SET".as_slice(), b"k", &value]) {
                Ok(reply) => assert_eq!(reply, b"+QUEUED\r\n"),
                Err(error) => break error,
            }
            queued += 1;
            assert!(queued < 22, "{}: {queued} were queued", server.name);
        };
        assert!(is_close(&error), "{error}");
        assert!(queued >= 19, "{}: only {queued} were queued", server.name);
        let field = "client_query_buffer_limit_disconnections";
        assert_eq!(int_of(&mut other, "stats", field), 1);
        eventually("what the client watched to be forgotten", || {
            (int_of(&mut other, "clients", "total_watched_keys") == 0).then_some(())
        });
        assert_eq!(other.cmd(&["EXISTS", "k"]).int(), 0);
    });
}

#[test]
fn nothing_of_a_client_that_goes_away_stays() {
    on_both(&[], |server| {
        let mut other = server.connect();
        let mut gone: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        let ids: Vec<i64> = gone
            .iter_mut()
            .map(|c| c.cmd(&["CLIENT", "ID"]).int())
            .collect();
        for client in &mut gone {
            client.cmd(&["WATCH", "a", "b", "c"]);
            client.cmd(&["MULTI"]);
            client.cmd(&["SET", "x", &"y".repeat(1000)]);
        }
        assert_eq!(int_of(&mut other, "clients", "watching_clients"), 20);
        assert_eq!(int_of(&mut other, "clients", "total_watched_keys"), 3);
        for id in &ids[..10] {
            let killed = other.cmd(&["CLIENT", "KILL", "ID", &id.to_string()]);
            assert_eq!(killed.int(), 1);
        }
        gone.truncate(10);
        gone.drain(5..);
        for client in &mut gone[..] {
            // Killed already.
            assert!(client.try_raw(&["EXEC"]).is_err());
        }
        drop(gone);
        eventually("everything to be forgotten", || {
            let watching = int_of(&mut other, "clients", "watching_clients");
            let keys = int_of(&mut other, "clients", "total_watched_keys");
            (watching == 0 && keys == 0).then_some(())
        });
        assert_eq!(other.cmd(&["EXISTS", "x"]).int(), 0);
    });
}

#[test]
fn whole_transactions_in_pipelines_of_any_cut() {
    with_threads(|server| {
        let mut client = server.connect();
        let round = b"MULTI\r\nINCR a\r\n*2\r\n$4\r\nINCR\r\n$1\r\nb\r\nMGET a b\r\nEXEC\r\n";
        let rounds = 200;
        let mut bytes = Vec::new();
        (0..rounds).for_each(|_| bytes.extend_from_slice(round));
        for piece in [1, 7, 100, bytes.len()] {
            client.cmd(&["DEL", "a", "b"]);
            // Byte by byte only the first ones.
            let sent = if piece == 1 {
                round.len() * 5
            } else {
                bytes.len()
            };
            bytes[..sent]
                .chunks(piece)
                .for_each(|piece| client.send(piece));
            for number in 1..=(sent / round.len()) as i64 {
                let replies: Vec<Reply> = (0..5).map(|_| client.read().1).collect();
                let numbers = &replies[4].items()[..2];
                assert_eq!(numbers, [Reply::Int(number), Reply::Int(number)], "{piece}");
            }
        }
    });
}

#[test]
fn a_sleep_inside_keeps_everybody_waiting() {
    let server = Server::kivi(ARGS);
    let (mut client, mut other) = (server.connect(), server.connect());
    for line in ["MULTI", "SET a 1", "DEBUG SLEEP 0.3", "GET a"] {
        client.cmd(&words(line));
    }
    let start = std::time::Instant::now();
    client.send(b"EXEC\r\n");
    eventually("the change to be there", || {
        (other.cmd(&["GET", "a"]).text() == "1").then_some(())
    });
    let reply = client.read().0;
    assert_eq!(reply, b"*3\r\n+OK\r\n+OK\r\n$1\r\n1\r\n");
    assert!(start.elapsed().as_millis() >= 300);
    assert!(parse(&reply).is_some());
}

#[test]
fn a_snapshot_that_was_asked_for_inside_begins_afterwards() {
    let server = Server::kivi(&["--save", ""]);
    let mut client = server.connect();
    for line in ["MULTI", "SET a 1", "BGSAVE", "SET b 1"] {
        client.cmd(&words(line));
    }
    let reply = client.raw(&["EXEC"]);
    let expected = b"*3\r\n+OK\r\n+Background saving scheduled\r\n+OK\r\n";
    assert_eq!(reply, expected);
    eventually("the snapshot", || {
        (int_of(&mut client, "persistence", "rdb_saves") == 1).then_some(())
    });
    eventually("its end", || {
        let running = int_of(&mut client, "persistence", "rdb_bgsave_in_progress");
        let unsaved = int_of(&mut client, "persistence", "rdb_changes_since_last_save");
        (running == 0 && unsaved == 0).then_some(())
    });
}
