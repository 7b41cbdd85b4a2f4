//! The same random commands of many clients, most of which wait, to Kivi and to a real server.
//!
//! A step is a short pipeline of one client that does not wait: pushes, pops, moves, renames, and
//! commands that may wait (for ever, so that nothing depends on time). Then the real server is looked
//! at until it has come to rest, which clients wait there and what the others were told; Kivi
//! must come to the same. At the end CLIENT UNBLOCK frees all who wait, and the keyspaces are compared.
//!
//! What the clients do is a [`Script`]: lists and sorted sets here, streams in `stream_queues`.
//!
//! Environment: `KIVI_TEST_STEPS` / 200 steps per peer; `KIVI_TEST_SEED` runs one episode only.

use std::time::Duration;

use crate::client::{Client, Reply, encode};
use crate::generate::Rng;
use crate::harness::{Server, env_number, eventually};

pub(crate) const CLIENTS: usize = 10;
const STEPS_PER_EPISODE: u64 = 100;

/// What clients do, and how it is compared.
pub(crate) trait Script {
    /// Begins an episode: what is set on both servers before it, a command a line.
    fn begin(&mut self, rng: &mut Rng) -> Vec<String>;

    /// The next commands of one client, sent together. Words are separated by blanks; `id:N` is the
    /// id of client N. If `gentle`, none of them waits.
    fn commands(&mut self, rng: &mut Rng, gentle: bool) -> Vec<String>;

    /// A reply without what differs by nature.
    fn seen(&self, reply: Reply) -> Reply {
        reply
    }

    /// All keys of the selected database with their values.
    fn keyspace(&self, client: &mut Client) -> Vec<(String, Reply)>;
}

#[test]
fn the_same_order_of_service_as_redis_7() {
    if let Some(redis) = Server::redis(&[]) {
        compare_with(&redis, &mut Queues(Scope::Simple));
    }
}

#[test]
fn the_same_order_of_service_as_valkey_9() {
    if let Some(valkey) = Server::valkey(&[]) {
        compare_with(&valkey, &mut Queues(Scope::Chains));
    }
}

#[test]
fn the_same_order_of_service_as_valkey_9_whatever_keys_become() {
    if let Some(valkey) = Server::valkey(&[]) {
        compare_with(&valkey, &mut Queues(Scope::Types));
    }
}

/// How much of it all: since 7.2 who is woken runs its command anew, which shows in what 7.0
/// is not asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Scope {
    /// Pops that wait, one at a time.
    Simple,
    /// Moves wait, too, so that one service leads to the next, and other commands wait behind.
    Chains,
    /// Keys also become values of other types than their clients wait for.
    Types,
}

/// Plays episodes of a script on Kivi, with one thread and with four, and on a real server.
pub(crate) fn compare_with(real: &Server, script: &mut dyn Script) {
    let only = std::env::var("KIVI_TEST_SEED").ok();
    let episodes = (env_number("KIVI_TEST_STEPS", 300_000) / 200).div_ceil(STEPS_PER_EPISODE);
    let seeds = match only.map(|seed| seed.parse().expect("KIVI_TEST_SEED")) {
        Some(seed) => seed..seed + 1,
        None => 1..episodes + 1,
    };
    for threads in ["1", "4"] {
        let mut kivi = Server::kivi(&["--io-threads", threads]);
        for seed in seeds.clone() {
            let mut episode = Episode::new(seed, script, &kivi, real);
            for _ in 0..STEPS_PER_EPISODE {
                episode.step();
            }
            episode.end();
        }
        kivi.assert_alive();
    }
}

/// One server as an episode sees it.
struct Side {
    control: Client,
    clients: Vec<Waiter>,
}

struct Waiter {
    client: Client,
    id: i64,
    /// The commands so far.
    sent: Vec<String>,
    /// How many replies are to come.
    due: usize,
    /// All replies so far.
    replies: Vec<Reply>,
    waits: bool,
}

impl Side {
    fn new(server: &Server, wait: Duration) -> Side {
        let mut control = server.connect();
        control.cmd(&["FLUSHALL"]);
        let clients = (0..CLIENTS)
            .map(|n| {
                let mut patient = server.connect();
                let id = patient.cmd(&["CLIENT", "ID"]).int();
                if n % 3 == 0 {
                    patient.cmd(&["HELLO", "3"]);
                }
                patient.set_read_timeout(wait);
                Waiter {
                    client: patient,
                    id,
                    sent: Vec::new(),
                    due: 0,
                    replies: Vec::new(),
                    waits: false,
                }
            })
            .collect();
        Side { control, clients }
    }

    fn send(&mut self, client: usize, commands: &[String]) {
        let id = self.clients.iter().map(|w| w.id).collect::<Vec<_>>();
        let bytes: Vec<u8> = commands
            .iter()
            .flat_map(|text| encode(&fill_ids(text, &id)))
            .collect();
        self.clients[client].client.send(&bytes);
        self.clients[client].sent.extend_from_slice(commands);
        self.clients[client].due += commands.len();
    }

    /// Asks which clients wait.
    fn look(&mut self) -> Vec<bool> {
        let list = self.control.cmd(&["CLIENT", "LIST"]).text();
        let waits = |id: i64| {
            let mut lines = list.lines();
            let line = lines.find(|line| line.starts_with(&format!("id={id} ")));
            line.expect("every client is listed").contains(" flags=b ")
        };
        self.clients.iter().map(|w| waits(w.id)).collect()
    }

    /// Reads until every client either waits or has all its replies, and stays so.
    fn come_to_rest(&mut self, script: &dyn Script) {
        let mut quiet = 0;
        eventually("the real server to come to rest", || {
            let waits = self.look();
            let before: usize = self.clients.iter().map(|w| w.due).sum();
            for (waiter, waits) in self.clients.iter_mut().zip(&waits) {
                waiter.waits = *waits;
                while waiter.due > 0 && !waits {
                    let Ok((_, reply)) = waiter.client.try_read() else {
                        break;
                    };
                    waiter.replies.push(script.seen(reply));
                    waiter.due -= 1;
                }
            }
            let rest = self.clients.iter().all(|w| w.due == 0 || w.waits);
            let same = before == self.clients.iter().map(|w| w.due).sum::<usize>();
            quiet = if rest && same { quiet + 1 } else { 0 };
            (quiet == 2).then_some(())
        });
    }
}

/// The words of a command; `id:N` is the id of client N.
fn fill_ids(text: &str, ids: &[i64]) -> Vec<String> {
    let fill = |word: &str| match word.strip_prefix("id:") {
        Some(client) => ids[client.parse::<usize>().expect("a client")].to_string(),
        None => word.to_owned(),
    };
    text.split(' ').map(fill).collect()
}

struct Episode<'a> {
    seed: u64,
    rng: Rng,
    script: &'a mut dyn Script,
    kivi: Side,
    real: Side,
    history: Vec<String>,
}

impl<'a> Episode<'a> {
    fn new(seed: u64, script: &'a mut dyn Script, kivi: &Server, real: &Server) -> Episode<'a> {
        let mut rng = Rng::new(seed);
        let settings = script.begin(&mut rng);
        let mut episode = Episode {
            seed,
            rng,
            script,
            kivi: Side::new(kivi, Duration::from_secs(20)),
            real: Side::new(real, Duration::from_millis(1)),
            history: Vec::new(),
        };
        for side in [&mut episode.kivi, &mut episode.real] {
            for setting in &settings {
                let words: Vec<&str> = setting.split(' ').collect();
                assert_eq!(side.control.raw(&words), b"+OK\r\n", "{setting}");
            }
        }
        episode.history.extend(settings);
        episode
    }

    fn step(&mut self) {
        let free: Vec<usize> = (0..CLIENTS)
            .filter(|n| !self.real.clients[*n].waits)
            .collect();
        // Somebody must stay who can push.
        let crowded = free.len() <= 2;
        let client = *self.rng.pick(&free);
        let commands = self.script.commands(&mut self.rng, crowded);
        self.run(client, commands);
    }

    fn run(&mut self, client: usize, commands: Vec<String>) {
        self.history
            .push(format!("{client}: {}", commands.join(" / ")));
        self.real.send(client, &commands);
        self.real.come_to_rest(&*self.script);
        self.kivi.send(client, &commands);
        for n in 0..CLIENTS {
            let theirs = &self.real.clients[n];
            if theirs.due > 0 {
                continue;
            }
            let ours = &mut self.kivi.clients[n];
            while ours.due > 0 {
                match ours.client.try_read() {
                    Ok((_, reply)) => ours.replies.push(self.script.seen(reply)),
                    Err(error) => self.fail(n, &format!("no reply: {error}")),
                }
                ours.due -= 1;
            }
            let ours = &self.kivi.clients[n].replies;
            if *ours != theirs.replies {
                self.fail(n, "other replies");
            }
        }
        let expected: Vec<bool> = self.real.clients.iter().map(|w| w.waits).collect();
        let start = std::time::Instant::now();
        while self.kivi.look() != expected {
            if start.elapsed() > Duration::from_secs(20) {
                let ours = self.kivi.look();
                self.fail(
                    client,
                    &format!("waiting: {ours:?} instead of {expected:?}"),
                );
            }
        }
    }

    /// Panics with what happened last and what a client was told on both.
    fn fail(&self, client: usize, what: &str) -> ! {
        let (ours, theirs) = (&self.kivi.clients[client], &self.real.clients[client]);
        let same = ours.replies.iter().zip(&theirs.replies);
        let same = same.take_while(|(ours, theirs)| ours == theirs).count();
        let differ = match (ours.replies.get(same), theirs.replies.get(same)) {
            (Some(a), Some(b)) => Some(where_they_differ(a, b)),
            _ => None,
        };
        panic!(
            "KIVI_TEST_SEED={} client {client}: {what}: {:?}\n  kivi: {:?}\n  real: {:?}\n{}",
            self.seed,
            ours.sent.get(same),
            differ.map(|(ours, _)| ours),
            differ.map(|(_, theirs)| theirs),
            self.history[self.history.len().saturating_sub(60)..].join("\n")
        );
    }

    /// Frees all who wait, again and again, then compares all that is left.
    fn end(mut self) {
        for round in 0.. {
            let waits = (0..CLIENTS).find(|n| self.real.clients[*n].waits);
            let Some(waiting) = waits else { break };
            let free = (0..CLIENTS)
                .find(|n| !self.real.clients[*n].waits)
                .expect("one is free");
            let how = ["", " TIMEOUT", " ERROR"][round % 3];
            self.run(free, vec![format!("CLIENT UNBLOCK id:{waiting}{how}")]);
        }
        for db in ["0", "1"] {
            let [ours, theirs] = [&mut self.kivi, &mut self.real].map(|side| {
                side.control.cmd(&["SELECT", db]);
                self.script.keyspace(&mut side.control)
            });
            if ours != theirs {
                let keys = |all: &[(String, Reply)]| -> Vec<String> {
                    all.iter().map(|(key, _)| key.clone()).collect()
                };
                let differ = ours
                    .iter()
                    .zip(&theirs)
                    .find(|(ours, theirs)| ours != theirs);
                let differ = differ.map(|(ours, theirs)| {
                    let (ours, theirs) = where_they_differ(&ours.1, &theirs.1);
                    format!("\n  kivi: {ours:?}\n  real: {theirs:?}")
                });
                panic!(
                    "KIVI_TEST_SEED={}: keyspace {db}: {:?}, {:?}{}\n{}",
                    self.seed,
                    keys(&ours),
                    keys(&theirs),
                    differ.unwrap_or_default(),
                    self.history.join("\n"),
                );
            }
        }
        for side in [&mut self.kivi, &mut self.real] {
            let info = side.control.cmd(&["INFO", "clients"]).text();
            assert!(info.contains("blocked_clients:0\r\n"), "{info}");
        }
    }
}

/// The smallest parts of two replies that differ.
fn where_they_differ<'a>(ours: &'a Reply, theirs: &'a Reply) -> (&'a Reply, &'a Reply) {
    if let (Reply::Array(a) | Reply::Map(a), Reply::Array(b) | Reply::Map(b)) = (ours, theirs)
        && a.len() == b.len()
        && let Some((a, b)) = a.iter().zip(b).find(|(a, b)| a != b)
    {
        return where_they_differ(a, b);
    }
    (ours, theirs)
}

/// What waits for lists and sorted sets.
struct Queues(Scope);

impl Script for Queues {
    fn begin(&mut self, _: &mut Rng) -> Vec<String> {
        Vec::new()
    }

    fn commands(&mut self, rng: &mut Rng, gentle: bool) -> Vec<String> {
        let count = if self.0 >= Scope::Chains {
            [1, 1, 1, 2, 3][rng.below(5)]
        } else {
            1
        };
        (0..count).map(|_| self.command(rng, gentle)).collect()
    }

    fn keyspace(&self, client: &mut Client) -> Vec<(String, Reply)> {
        keyspace(client)
    }
}

impl Queues {
    /// A random command; a `gentle` one does not wait.
    fn command(&self, rng: &mut Rng, gentle: bool) -> String {
        let wait = if gentle { 100 } else { rng.below(100) };
        match wait {
            0..=9 => format!("BLPOP {} 0", list_keys(rng).join(" ")),
            10..=19 => format!("BRPOP {} 0", list_keys(rng).join(" ")),
            20..=24 => {
                let keys = list_keys(rng);
                format!("BLMPOP 0 {} {} LEFT COUNT 2", keys.len(), keys.join(" "))
            }
            25..=34 if self.0 >= Scope::Chains => {
                format!("BLMOVE {} {} LEFT RIGHT 0", list(rng), list(rng))
            }
            35..=39 if self.0 >= Scope::Chains => {
                format!("BRPOPLPUSH {} {} 0", list(rng), list(rng))
            }
            40..=42 => format!("BZPOPMIN {} 0", zset_keys(rng).join(" ")),
            43..=45 => format!("BZPOPMAX {} 0", zset_keys(rng).join(" ")),
            46..=48 => {
                let keys = zset_keys(rng);
                format!("BZMPOP 0 {} {} MIN COUNT 2", keys.len(), keys.join(" "))
            }
            _ => self.other_command(rng),
        }
    }

    /// A command that does not wait, most of which make somebody go on.
    fn other_command(&self, rng: &mut Rng) -> String {
        let (list, other) = (list(rng), list(rng));
        let (zset, other_zset) = (zset(rng), zset(rng));
        let elements = ["a", "a b", "a b c d", "1 2 3 4 5 6"][rng.below(4)];
        let waiting = rng.below(CLIENTS);
        match rng.below(50) {
            0..=14 => format!("RPUSH {list} {elements}"),
            15..=18 => format!("LPUSH {list} {elements}"),
            19..=22 => format!("ZADD {zset} 2 b 1 a 3 c"),
            23 => format!("ZINCRBY {zset} 1 a"),
            24 => format!("LPOP {list} 2"),
            25 => format!("RPOP {list}"),
            26..=27 => format!("LMOVE {list} {other} LEFT LEFT"),
            28 => format!("RPOPLPUSH {list} {other}"),
            29 => format!("LMPOP 2 {list} {other} RIGHT"),
            30 => format!("ZPOPMIN {zset} 2"),
            31..=32 => format!("RENAME {list} {other}"),
            33 => format!("RENAME {zset} {other_zset}"),
            34..=35 => format!("COPY {list} {other} REPLACE"),
            36 => format!("COPY {zset} {other_zset}"),
            37 => format!("SORT {list} ALPHA STORE {other}"),
            38 => format!("ZUNIONSTORE {zset} 2 {zset} {other_zset}"),
            39 => format!("ZRANGESTORE {zset} {other_zset} 0 1"),
            40..=41 => format!("DEL {list} {zset}"),
            42 => format!("LTRIM {list} 1 -1"),
            43 => format!("MOVE {list} {}", rng.below(2)),
            44 => format!("SELECT {}", rng.below(2)),
            45 => "FLUSHDB".to_owned(),
            46..=47 => format!("CLIENT UNBLOCK id:{waiting}"),
            48 => format!("CLIENT UNBLOCK id:{waiting} ERROR"),
            _ if self.0 >= Scope::Types => match rng.below(5) {
                0 => format!("SET {list} text"),
                1 => format!("ZADD {list} 1 a"),
                2 => format!("RPUSH {zset} a"),
                3 => format!("RENAME {zset} {list}"),
                _ => format!("SADD {list} a"),
            },
            _ => format!("LINSERT {list} BEFORE a z"),
        }
    }
}

fn list(rng: &mut Rng) -> String {
    format!("l{}", rng.below(5))
}

fn zset(rng: &mut Rng) -> String {
    format!("z{}", rng.below(3))
}

fn list_keys(rng: &mut Rng) -> Vec<String> {
    (0..1 + rng.below(3)).map(|_| list(rng)).collect()
}

fn zset_keys(rng: &mut Rng) -> Vec<String> {
    (0..1 + rng.below(2)).map(|_| zset(rng)).collect()
}

/// All keys of the selected database with their values.
fn keyspace(client: &mut Client) -> Vec<(String, Reply)> {
    let keys = client.keys();
    let mut value = |key: &str| match client.cmd(&["TYPE", key]).bytes() {
        b"list" => client.cmd(&["LRANGE", key, "0", "-1"]),
        b"zset" => client.cmd(&["ZRANGE", key, "0", "-1", "WITHSCORES"]),
        b"set" => client.cmd(&["SMEMBERS", key]),
        _ => client.cmd(&["GET", key]),
    };
    keys.iter().map(|key| (key.clone(), value(key))).collect()
}
