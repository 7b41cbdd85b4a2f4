//! Client-side caching against Valkey: the same random commands by clients that track in all modes,
//! to both servers; each client must be told the same, byte for byte and in the same order.
//!
//! Then what it is good for: that no copy stays stale, with many threads.
//!
//! Behind each step every client asks for something whose reply comes after all it was told. Left out
//! are commands of which the servers need not do the same (`is_comparable`), and times to live: Valkey
//! deletes expired keys when it comes upon them.
//!
//! Environment: `KIVI_TEST_STEPS` steps; `KIVI_TEST_SEED` runs one episode only.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Client, Reply, encode, show_command};
use crate::differences::{Allow, DIFFERENCES, Peer, Words};
use crate::generate::{Generator, Rng};
use crate::harness::{Server, episodes};

const STEPS_DEFAULT: u64 = 3_000;
const STEPS_PER_EPISODE: u64 = 150;

/// Longer requests are left out, bytes: the commands of a step come to a server at once.
const LONG_BYTES: usize = 2_000;

/// What clients there are: the number of the one that is told instead, and the options.
const ROLES: &[(Protocol, Option<usize>, &str)] = &[
    (Protocol::Resp3, None, ""),
    (Protocol::Resp3, None, "noloop"),
    (Protocol::Resp3, None, "optin"),
    (Protocol::Resp3, None, "optout noloop"),
    (Protocol::Resp3, None, "bcast"),
    (
        Protocol::Resp3,
        None,
        "bcast noloop prefix l prefix z1 prefix s",
    ),
    (Protocol::Resp2, Some(SUBSCRIBER), ""),
    (Protocol::Resp3, Some(4), "bcast prefix k"),
    (Protocol::Resp2, None, "bcast"),
    (Protocol::Resp2, None, ""),
];
/// A client that listens to the channel of redirected messages and does nothing else.
const SUBSCRIBER: usize = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Resp2,
    Resp3,
}

/// One server and its clients.
struct Side {
    clients: Vec<Client>,
    ids: Vec<i64>,
}

type Argv = Vec<Vec<u8>>;

#[test]
fn clients_are_told_what_valkey_tells_them() {
    const ARGS: &[&str] = &["--enable-debug-command", "yes"];
    let Some(valkey) = Server::valkey(ARGS) else {
        return;
    };
    let mut kivi = Server::kivi(ARGS);
    let seeds = episodes(STEPS_DEFAULT, STEPS_PER_EPISODE);
    let steps = (seeds.end - seeds.start) * STEPS_PER_EPISODE;
    let mut told = 0;
    for seed in seeds {
        told += episode(seed, &kivi, &valkey);
    }
    assert!(told as u64 > steps / 20, "only {told} messages");
    kivi.assert_alive();
    assert_eq!(figures(&mut kivi.connect()), figures(&mut valkey.connect()));
}

/// Runs the steps of a seed; how many messages there were.
fn episode(seed: u64, kivi: &Server, valkey: &Server) -> usize {
    let mut sides = [kivi, valkey].map(Side::new);
    let mut generator = Generator::new(seed);
    let (mut told, mut history) = (0, String::new());
    for step in 0..STEPS_PER_EPISODE {
        let who = generator.rng.below(SUBSCRIBER);
        let commands = step_of(&mut generator, who);
        let [ours, theirs] = sides.each_mut().map(|side| side.step(who, &commands));
        told += ours.iter().map(Vec::len).sum::<usize>();
        let shown: Vec<String> = commands.iter().map(|argv| show_command(argv)).collect();
        history += &format!("{step}: client {who} runs {}\n", shown.join(", "));
        for (client, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(
                ours, theirs,
                "what client {client} ({}) was told, seed {seed}, by the last of\n{history}",
                ROLES[client].2
            );
        }
    }
    let [ours, theirs] = sides.each_mut().map(|side| figures(&mut side.clients[0]));
    assert_eq!(ours, theirs, "seed {seed}");
    told
}

/// What a client does: one command, or a few in a transaction, or another mode of tracking.
fn step_of(generator: &mut Generator, who: usize) -> Vec<Argv> {
    let words = |line: &str| -> Argv {
        let words = line.split_whitespace();
        words.map(|word| word.as_bytes().to_vec()).collect()
    };
    let options = ROLES[who].2;
    match generator.rng.below(20) {
        0 => {
            let redirect = ROLES[who].1.map(|target| format!("redirect #{target}"));
            let redirect = redirect.unwrap_or_default();
            let again = format!("CLIENT TRACKING on {options} {redirect}");
            vec![words("CLIENT TRACKING off"), words(&again)]
        }
        1..4 if options.contains("opt") => {
            let word = if options.contains("optin") {
                "yes"
            } else {
                "no"
            };
            vec![words(&format!("CLIENT CACHING {word}")), command(generator)]
        }
        4 => {
            let mut commands = vec![words("MULTI")];
            for _ in 0..2 + generator.rng.below(4) {
                commands.push(command(generator));
            }
            commands.push(words("EXEC"));
            commands
        }
        // A pipeline: changes are told by the batch.
        11..13 => (0..3).map(|_| command(generator)).collect(),
        // Reads, so that there is something to tell.
        5..11 => vec![read(&mut generator.rng)],
        _ => vec![command(generator)],
    }
}

/// A command that both servers do alike.
fn command(generator: &mut Generator) -> Argv {
    loop {
        let step = generator.step();
        if !step.pops_some() && is_comparable(&step.argv) {
            return step.argv;
        }
    }
}

fn is_comparable(argv: &Argv) -> bool {
    const OTHERS: &[&str] = &[
        "auth",
        "bgrewriteaof",
        "bgsave",
        "client",
        "config",
        "debug",
        "discard",
        "exec",
        "hello",
        "lastsave",
        "monitor",
        "multi",
        "psubscribe",
        "publish",
        "punsubscribe",
        "quit",
        "reset",
        "restore",
        "save",
        "select",
        "shutdown",
        "spublish",
        "ssubscribe",
        "subscribe",
        "sunsubscribe",
        "unsubscribe",
        "unwatch",
        "wait",
        "watch",
    ];
    const TIMES: &[&str] = &["ex", "px", "exat", "pxat"];
    let words = Words::of(argv);
    let name = words.0[0].as_str();
    let expires = name.contains("expire") || name.contains("setex") || name.contains("getex");
    let has_time = words.0.iter().any(|word| TIMES.contains(&word.as_str()));
    let blocks = name.starts_with('b') && (name.contains("pop") || name == "blmove");
    let differs = DIFFERENCES.iter().any(|known| {
        known.allow == Allow::NotSent
            && known.peer.is_none_or(|peer| peer == Peer::Valkey9)
            && (known.when)(&words)
    });
    // What Valkey reads in pieces it executes in pieces, too, and tells in between.
    let is_long = argv.iter().map(Vec::len).sum::<usize>() > LONG_BYTES;
    !(words.among(OTHERS)
        || is_long
        || is_garbled(&words)
        || expires
        || has_time
        || blocks
        || differs
        || name == "psetex")
}

/// Whether the number of keys is none: Valkey takes `1 ` and `1x` for one, finds keys and remembers
/// them before the command finds fault with it.
fn is_garbled(words: &Words) -> bool {
    const NUMBERED: &[&str] = &["union", "inter", "diff", "mpop"];
    let name = words.0[0].as_str();
    let at = 1 + usize::from(name.ends_with("store"));
    let number = words.0.get(at).map_or("", |word| word.as_str());
    let is_plain = number.parse().is_ok_and(|n: i64| n.to_string() == number);
    NUMBERED.iter().any(|part| name.contains(part)) && !name.starts_with('s') && !is_plain
        || name == "sintercard" && !is_plain
}

/// A command that reads some of the keys that generated commands have.
fn read(rng: &mut Rng) -> Argv {
    const FAMILIES: &[(&str, &str)] = &[
        ("MGET", "k"),
        ("EXISTS", "k"),
        ("EXISTS", "l"),
        ("TOUCH", "s"),
        ("SUNION", "s"),
        ("ZUNION 2", "z"),
        ("EXISTS", "z"),
        ("TOUCH", "h"),
    ];
    let (name, prefix) = rng.pick(FAMILIES);
    let mut argv: Argv = name
        .split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect();
    for _ in 0..2 {
        argv.push(format!("{prefix}{}", rng.below(5)).into_bytes());
    }
    argv
}

/// What INFO says of tracking.
fn figures(client: &mut Client) -> Vec<String> {
    let info = client.cmd(&["INFO", "everything"]).text();
    let lines = info.lines().filter(|line| line.starts_with("tracking_"));
    lines.map(String::from).collect()
}

impl Side {
    /// Clients of their own on an empty server, which track already.
    fn new(server: &Server) -> Side {
        let mut clients: Vec<Client> = ROLES.iter().map(|_| server.connect()).collect();
        assert_eq!(clients[0].cmd(&["FLUSHALL"]).text(), "OK");
        let ids = clients
            .iter_mut()
            .map(|client| client.cmd(&["CLIENT", "ID"]).int())
            .collect();
        let mut side = Side { clients, ids };
        for (at, (protocol, redirect, options)) in ROLES.iter().enumerate() {
            if *protocol == Protocol::Resp3 {
                side.clients[at].cmd(&["HELLO", "3"]);
            }
            if at == SUBSCRIBER {
                side.clients[at].cmd(&["SUBSCRIBE", "__redis__:invalidate"]);
                continue;
            }
            let redirect = redirect.map(|target| format!("redirect {}", side.ids[target]));
            let line = format!(
                "CLIENT TRACKING on {options} {}",
                redirect.unwrap_or_default()
            );
            let argv: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(side.clients[at].cmd(&argv).text(), "OK", "{line}");
        }
        side
    }

    /// Has a client run commands in one go; what each client is told by it.
    fn step(&mut self, who: usize, commands: &[Argv]) -> Vec<Vec<Reply>> {
        let mut told: Vec<Vec<Reply>> = vec![Vec::new(); ROLES.len()];
        let mut bytes = Vec::new();
        for argv in commands {
            let argv: Argv = argv.iter().map(|word| self.with_ids(word)).collect();
            bytes.extend_from_slice(&encode(&argv));
        }
        self.clients[who].send(&bytes);
        for _ in commands {
            self.read_reply(who, &mut told);
        }
        for client in 0..ROLES.len() {
            let line: &[&str] = match client {
                SUBSCRIBER => &["PING"],
                _ => &["CLIENT", "ID"],
            };
            self.clients[client].send(&encode(line));
            self.read_reply(client, &mut told);
        }
        told
    }

    /// `#4`: the number of client 4.
    fn with_ids(&self, word: &[u8]) -> Vec<u8> {
        let number = word.strip_prefix(b"#");
        let number = number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        match number.and_then(|number: usize| self.ids.get(number)) {
            Some(id) => id.to_string().into_bytes(),
            None => word.to_vec(),
        }
    }

    /// Reads up to a client's next reply.
    fn read_reply(&mut self, client: usize, told: &mut [Vec<Reply>]) {
        loop {
            let (_, reply) = self.clients[client].read();
            let is_message = match &reply {
                Reply::Push(_) => true,
                Reply::Array(items) => {
                    client == SUBSCRIBER && items.first() == Some(&Reply::Bulk(b"message".to_vec()))
                }
                _ => false,
            };
            if !is_message {
                return;
            }
            told[client].push(reply);
        }
    }
}

/// Who waits in a blocking command is told meanwhile; so is who sends nothing.
#[test]
fn a_client_that_waits_is_told_at_once() {
    let kivi = Server::kivi(&[]);
    let [mut blocked, mut idle, mut writer] = [(); 3].map(|()| kivi.connect());
    for client in [&mut blocked, &mut idle] {
        client.cmd(&["HELLO", "3"]);
        client.cmd(&["CLIENT", "TRACKING", "on"]);
        assert_eq!(client.cmd(&["GET", "k"]), Reply::Nil);
    }
    blocked.send(&encode(&["BLPOP", "list", "0"]));
    assert_eq!(writer.cmd(&["SET", "k", "1"]).text(), "OK");
    const TOLD: &[u8] = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
    assert_eq!(idle.read().0, TOLD);
    assert_eq!(blocked.read().0, TOLD);
    assert_eq!(writer.cmd(&["RPUSH", "list", "x"]).int(), 1);
    assert_eq!(blocked.read().1.items().len(), 2);
}

/// What has changed is told before the reply of who has changed it can be seen, to those who track
/// prefixes as well, and by expiry too.
#[test]
fn changes_are_told_before_they_are_confirmed() {
    let kivi = Server::kivi(&[]);
    let [mut by_key, mut by_prefix, mut writer] = [(); 3].map(|()| kivi.connect());
    for (client, options) in [(&mut by_key, "noloop"), (&mut by_prefix, "bcast")] {
        client.cmd(&["HELLO", "3"]);
        client.cmd(&["CLIENT", "TRACKING", "on", options]);
    }
    for round in 0..300 {
        let value = round.to_string();
        by_key.cmd(&["GET", "k"]);
        assert_eq!(writer.cmd(&["SET", "k", &value]).text(), "OK");
        for client in [&mut by_key, &mut by_prefix] {
            client.send(&encode(&["GET", "k"]));
            assert!(matches!(client.read().1, Reply::Push(_)), "round {round}");
            assert_eq!(client.read().1.text(), value);
        }
    }
    assert_eq!(writer.cmd(&["SET", "e", "1", "PX", "30"]).text(), "OK");
    by_key.cmd(&["GET", "e"]);
    let is_about_e = |reply: &Reply| {
        let keys = Reply::Array(vec![Reply::Bulk(b"e".to_vec())]);
        reply.items()[1] == keys
    };
    // Set and expired.
    assert!(is_about_e(&by_prefix.read().1) && is_about_e(&by_prefix.read().1));
    let told = by_key.read().1;
    assert!(is_about_e(&told), "{told:?}");
}

/// Keys of [`no_copy_stays_stale`]: few, so that reads and writes meet.
const SHARED_KEYS: usize = 24;
const WRITERS: usize = 3;
const ROUNDS: usize = 400;

/// What client-side caching is for: readers that keep copies and drop what they are told of never
/// keep one that is older than the last write, however many threads write and read.
#[test]
fn no_copy_stays_stale() {
    for threads in ["1", "4", "8"] {
        let mut kivi = Server::kivi(&["--io-threads", threads]);
        let writing = AtomicUsize::new(WRITERS);
        std::thread::scope(|scope| {
            for seed in 0..WRITERS {
                let (mut client, writing) = (kivi.connect(), &writing);
                scope.spawn(move || {
                    write_at_random(&mut client, seed as u64);
                    writing.fetch_sub(1, Ordering::Release);
                });
            }
            for (seed, options) in ["", "noloop", "bcast", "bcast prefix c", ""]
                .iter()
                .enumerate()
            {
                let (client, control, writing) = (kivi.connect(), kivi.connect(), &writing);
                scope.spawn(move || {
                    let mut reader = Reader::new(client, options, seed as u64);
                    let mut rounds = 0;
                    while writing.load(Ordering::Acquire) > 0 || rounds < SHARED_KEYS {
                        reader.read_at_random();
                        rounds += 1;
                    }
                    // What the last writes take away comes with the next reply.
                    reader.read_at_random();
                    while reader.copies.is_empty() {
                        reader.read_at_random();
                    }
                    reader.assert_fresh(control, threads);
                });
            }
        });
        kivi.assert_alive();
    }
}

fn shared_key(rng: &mut Rng) -> String {
    format!("c{}", rng.below(SHARED_KEYS))
}

/// Counts keys up, one by one, in pipelines, several at once and in transactions.
fn write_at_random(client: &mut Client, seed: u64) {
    let mut rng = Rng::new(seed);
    for _ in 0..ROUNDS {
        let mut bytes = Vec::new();
        let mut replies = 0;
        for _ in 0..1 + rng.below(6) {
            let (one, two) = (shared_key(&mut rng), shared_key(&mut rng));
            let commands: &[&[&str]] = match rng.below(4) {
                0 => &[&["MULTI"], &["INCR", &one], &["INCR", &two], &["EXEC"]],
                1 => &[&["DEL", &one, &two]],
                _ => &[&["INCR", &one]],
            };
            replies += commands.len();
            commands.iter().for_each(|argv| bytes.extend(encode(argv)));
        }
        client.send(&bytes);
        for _ in 0..replies {
            assert!(!client.read().1.is_error());
        }
    }
}

/// A client with copies of what it has read.
struct Reader {
    client: Client,
    copies: BTreeMap<Vec<u8>, Reply>,
    rng: Rng,
}

impl Reader {
    fn new(mut client: Client, options: &str, seed: u64) -> Reader {
        client.cmd(&["HELLO", "3"]);
        let line = format!("CLIENT TRACKING on {options}");
        let argv: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(client.cmd(&argv).text(), "OK");
        Reader {
            client,
            copies: BTreeMap::new(),
            rng: Rng::new(100 + seed),
        }
    }

    /// Reads keys of which it has no copy, some at once.
    fn read_at_random(&mut self) {
        let keys = (0..1 + self.rng.below(4)).map(|_| shared_key(&mut self.rng));
        let keys: Vec<String> = keys.collect();
        let unknown = keys
            .iter()
            .filter(|key| !self.copies.contains_key(key.as_bytes()));
        let unknown: Vec<String> = unknown.cloned().collect();
        let requests = unknown
            .iter()
            .flat_map(|key| encode(&["GET", key.as_str()]));
        let requests: Vec<u8> = requests.chain(encode(&["CLIENT", "ID"])).collect();
        self.client.send(&requests);
        for key in unknown {
            let value = self.next_reply();
            self.copies.insert(key.into_bytes(), value);
        }
        self.next_reply();
    }

    /// The next reply; what is told before it is dropped.
    fn next_reply(&mut self) -> Reply {
        loop {
            let parts = match self.client.read().1 {
                Reply::Push(parts) => parts,
                reply => return reply,
            };
            match parts.get(1) {
                Some(Reply::Array(keys)) => {
                    for key in keys {
                        self.copies.remove(key.bytes());
                    }
                }
                other => panic!("told of {other:?}"),
            }
        }
    }

    /// Every copy is what the server has. Nobody writes any more.
    fn assert_fresh(&mut self, mut control: Client, threads: &str) {
        self.client.send(&encode(&["CLIENT", "ID"]));
        self.next_reply();
        for (key, copy) in &self.copies {
            let argv: [&[u8]; 2] = [b"GET", key];
            let now = control.cmd(&argv);
            let name = String::from_utf8_lossy(key);
            assert_eq!(*copy, now, "the copy of {name}, with {threads} threads");
        }
        assert!(!self.copies.is_empty());
    }
}
