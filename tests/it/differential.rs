//! The same random commands to Kivi and to a real server; the replies must be the same bytes.
//!
//! An episode flushes both servers, runs some hundred generated commands in pipelines of random
//! depth, in RESP2 and RESP3 as HELLO commands among them happen to switch, then compares the whole
//! keyspaces. A disagreement is collected with the commands that touched its arguments, and the
//! next episode begins; the test fails at the end with all of them (one of a kind each).
//!
//! Where versions differ on purpose, [`DIFFERENCES`] says so, with the reason; Valkey 9.1 is what Kivi
//! follows, so those rows mostly concern Debian's Redis 7.0.
//!
//! Environment: `KIVI_TEST_STEPS` commands per peer; `KIVI_TEST_SEED` runs one episode only.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::client::{Client, Reply, encode, parse, show, show_command};
use crate::generate::{ABSOLUTE_SECS, Agree, Rng, Step, step};
use crate::harness::{Server, env_number, eventually};

const STEPS_DEFAULT: u64 = 150_000;
const STEPS_PER_EPISODE: usize = 300;
/// A batch ends with ECHO of this and a number, which shows where its replies end.
const SENTINEL: &str = "end-of-batch-";

#[test]
fn the_same_replies_as_redis_7() {
    let args = ["--enable-debug-command", "yes"];
    if let Some(redis) = Server::redis(&args) {
        compare_with(Peer::Redis7, &redis);
    }
}

#[test]
fn the_same_replies_as_valkey_9() {
    let args = ["--enable-debug-command", "yes"];
    if let Some(valkey) = Server::valkey(&args) {
        compare_with(Peer::Valkey9, &valkey);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Redis7,
    Valkey9,
}

/// What a known difference allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allow {
    /// The command is not sent: it would change the two keyspaces differently.
    NotSent,
    /// Both reply with an error, of any text.
    OtherError,
    /// We reply with an error where the peer replies with nil.
    ErrorForNil,
    /// Any reply: the command changes nothing that later replies show.
    AnyReply,
}

/// One known difference between a peer and Kivi.
struct Difference {
    /// `None`: with every peer.
    peer: Option<Peer>,
    when: fn(&Words) -> bool,
    allow: Allow,
    reason: &'static str,
}

/// A command in lower case, for the predicates of [`DIFFERENCES`].
struct Words(Vec<String>);

impl Words {
    fn of(argv: &[Vec<u8>]) -> Words {
        Words(
            argv.iter()
                .map(|a| String::from_utf8_lossy(a).to_lowercase())
                .collect(),
        )
    }

    fn is(&self, name: &str) -> bool {
        self.0[0] == name
    }

    fn are(&self, name: &str, sub: &str) -> bool {
        self.is(name) && self.0.get(1).is_some_and(|s| s == sub)
    }

    fn has(&self, word: &str) -> bool {
        self.0[1..].iter().any(|w| w == word)
    }
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        peer: None,
        when: |w| w.is("save") || (w.is("command") && w.has("save")),
        allow: Allow::NotSent,
        reason: "SAVE is a word of SHUTDOWN here; the command comes with persistence",
    },
    Difference {
        peer: None,
        when: |w| w.are("debug", "stringmatch-len"),
        allow: Allow::NotSent,
        reason: "these servers do not have it",
    },
    Difference {
        peer: None,
        when: |w| w.is("command") && (w.0.len() < 3 || w.has("*")),
        allow: Allow::AnyReply,
        reason: "whole lists come in the order of a hash table; `server.rs` compares their contents",
    },
    Difference {
        peer: None,
        when: |w| w.are("config", "get") && w.has("*"),
        allow: Allow::AnyReply,
        reason: "all directives: paths and ports differ, and so do versions",
    },
    Difference {
        peer: None,
        when: |w| {
            w.0.iter().any(|a| a.contains('\0'))
                && (w.is("hello") || w.are("client", "setname") || w.are("client", "setinfo"))
        },
        allow: Allow::NotSent,
        reason: "Valkey 9.1 reads a name up to its first NUL; a name with NUL may as well be refused",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("delifeq") || w.is("msetex") || (w.is("set") && w.has("ifeq")),
        allow: Allow::NotSent,
        reason: "DELIFEQ, MSETEX and SET IFEQ came with Valkey 8.1 to 9.1",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("command") && w.has("msetex"),
        allow: Allow::AnyReply,
        reason: "MSETEX came with Valkey 9.1",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("command", "getkeys") || w.are("command", "getkeysandflags"),
        allow: Allow::OtherError,
        reason: "7.0 demands one argument more, so it complains of other things",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("client", "setinfo") || w.are("client", "no-touch"),
        allow: Allow::AnyReply,
        reason: "CLIENT SETINFO and NO-TOUCH came with 7.2",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("client", "kill") || w.are("client", "list"),
        allow: Allow::AnyReply,
        reason: "the filters of CLIENT KILL and LIST were rewritten in Valkey 8.1 and 9.0",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("config", "set") && w.has("loglevel"),
        allow: Allow::OtherError,
        reason: "the level `nothing` came with Valkey 8, and the text lists the levels",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("getex"),
        allow: Allow::ErrorForNil,
        reason: "7.0 looks for the key before it reads the options",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("object", "encoding"),
        allow: Allow::AnyReply,
        reason: "the longest embstr grew from 44 bytes",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("scan") && (w.has("nonsense") || w.has("type") || !digits(&w.0, 1)),
        allow: Allow::AnyReply,
        reason: "7.0 takes unknown types and negative cursors",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("object") && (w.has("refcount") || w.has("idletime")),
        allow: Allow::AnyReply,
        reason: "7.0 shares small integers, and does not touch keys in some writes",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("scan") && !digits(&w.0, 1),
        allow: Allow::OtherError,
        reason: "7.0 reads the options before the cursor",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("client", "getname") || w.is("hello"),
        allow: Allow::AnyReply,
        reason: "7.0 applies the options of a HELLO up to the one that fails",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.are("command", "info") || w.are("command", "docs"),
        allow: Allow::AnyReply,
        reason: "tips and subcommands were added since",
    },
    Difference {
        peer: Some(Peer::Redis7),
        when: |w| w.is("memory"),
        allow: Allow::AnyReply,
        reason: "7.0 finds keys that have expired",
    },
];

fn digits(words: &[String], index: usize) -> bool {
    words
        .get(index)
        .is_some_and(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit()))
}

/// A disagreement, with what is needed to understand it.
struct Disagreement {
    seed: u64,
    /// Commands and reply kinds without their arguments: one of a kind is enough.
    kind: String,
    text: String,
}

fn compare_with(peer: Peer, real: &Server) {
    let mut kivi = Server::kivi(&["--enable-debug-command", "yes"]);
    let only = std::env::var("KIVI_TEST_SEED")
        .ok()
        .map(|s| s.parse().expect("KIVI_TEST_SEED"));
    let steps = env_number("KIVI_TEST_STEPS", STEPS_DEFAULT);
    let episodes = steps.div_ceil(STEPS_PER_EPISODE as u64);
    let seeds = only.map_or(1..episodes + 1, |seed: u64| seed..seed + 1);
    let mut found: Vec<Disagreement> = Vec::new();
    for seed in seeds {
        let result = Episode::new(peer, seed, &kivi, real).run();
        let new = |d: &Disagreement| !found.iter().any(|known| known.kind == d.kind);
        found.extend(result.err().filter(new).into_iter().collect::<Vec<_>>());
        if found.len() >= 25 {
            break;
        }
    }
    kivi.assert_alive();
    let report: Vec<String> = found
        .iter()
        .map(|d| format!("KIVI_TEST_SEED={}  {}\n{}", d.seed, d.kind, d.text))
        .collect();
    assert!(
        found.is_empty(),
        "{} kinds of disagreement with {peer:?} ({} before):\n\n{}",
        found.len(),
        real.name,
        report.join("\n")
    );
}

struct Episode {
    peer: Peer,
    seed: u64,
    rng: Rng,
    kivi: Client,
    real: Client,
    history: Vec<Vec<Vec<u8>>>,
    batches: usize,
    start: Instant,
}

impl Episode {
    fn new(peer: Peer, seed: u64, kivi: &Server, real: &Server) -> Episode {
        let (kivi, real) = (kivi.connect(), real.connect());
        let rng = Rng::new(seed);
        Episode {
            peer,
            seed,
            rng,
            kivi,
            real,
            history: Vec::new(),
            batches: 0,
            start: Instant::now(),
        }
    }

    fn run(mut self) -> Result<(), Disagreement> {
        for client in [&mut self.kivi, &mut self.real] {
            for setup in ["FLUSHALL", "CLIENT UNPAUSE"] {
                client.cmd(&setup.split(' ').collect::<Vec<_>>());
            }
            client.cmd(&["CONFIG", "SET", "timeout", "0", "tcp-keepalive", "300"]);
        }
        let mut done = 0;
        while done < STEPS_PER_EPISODE {
            let depth = if self.rng.chance(30) {
                1
            } else {
                1 + self.rng.below(40)
            };
            let mut batch = Vec::new();
            while batch.len() < depth {
                let next = step(&mut self.rng);
                if self.allows(&next.argv, Allow::NotSent) {
                    continue;
                }
                if next.agree == Agree::Scan
                    && next.argv.get(1).is_some_and(|cursor| cursor == b"0")
                {
                    self.batch(&std::mem::take(&mut batch))?;
                    self.scan(&next)?;
                    done += 1;
                    break;
                }
                self.push_step(&mut batch, next);
            }
            done += batch.len();
            self.batch(&batch)?;
        }
        self.compare_keyspaces()
    }

    /// Adds a step; what silences replies brings along what ends the silence.
    fn push_step(&mut self, batch: &mut Vec<Step>, mut next: Step) {
        let words = Words::of(&next.argv);
        let silent = words.are("client", "reply") && next.argv.len() == 3;
        let off = silent && words.has("off");
        next.silent = off || (silent && words.has("skip"));
        let follow = |text: &str, silent| Step {
            argv: text.split(' ').map(|w| w.as_bytes().to_vec()).collect(),
            agree: Agree::Exact,
            silent,
        };
        if next.silent {
            batch.extend([next, follow("SET k0 silently", true)]);
        } else {
            batch.push(next);
        }
        if off {
            batch.push(follow("CLIENT REPLY SKIP", true));
            batch.push(follow("CLIENT REPLY ON", false));
        }
    }

    fn allows(&self, argv: &[Vec<u8>], allow: Allow) -> bool {
        let words = Words::of(argv);
        DIFFERENCES
            .iter()
            .any(|d| d.peer.is_none_or(|p| p == self.peer) && d.allow == allow && (d.when)(&words))
    }

    /// Sends a pipeline to both and compares what comes back.
    fn batch(&mut self, steps: &[Step]) -> Result<(), Disagreement> {
        self.batches += 1;
        let sentinel = format!("{SENTINEL}{}-{}", self.seed, self.batches);
        let mut bytes = Vec::new();
        for step in steps {
            bytes.extend_from_slice(&encode(&step.argv));
            self.history.push(step.argv.clone());
        }
        bytes.extend_from_slice(&encode(&["ECHO", &sentinel]));
        // Both work at the same time, unless the pipeline may not fit into the sockets' buffers.
        let at_once = bytes.len() < 100_000;
        let sent = self
            .kivi
            .try_send(&bytes)
            .map_err(|e| format!("sending: {e}"));
        if at_once {
            self.real.send(&bytes);
        }
        let ours = sent.and_then(|()| replies(&mut self.kivi, &sentinel));
        if !at_once {
            self.real.send(&bytes);
        }
        let theirs = replies(&mut self.real, &sentinel);
        let ours = ours.map_err(|e| self.fail("connection", steps, &e))?;
        let theirs = theirs.expect("the real server answers");
        let answered: Vec<&Step> = steps.iter().filter(|s| !s.silent).collect();
        assert_eq!(
            theirs.len(),
            answered.len(),
            "the real server answers every command"
        );
        if ours.len() != theirs.len() {
            let text = format!("{} replies instead of {}", ours.len(), theirs.len());
            return Err(self.fail("number of replies", steps, &text));
        }
        for (step, (our, their)) in answered.into_iter().zip(ours.iter().zip(&theirs)) {
            if !self.same(step, our, their) {
                let (command, peer) = (show_command(&step.argv), self.peer);
                let (ours, theirs) = (show(our), show(their));
                let text = format!("  command: {command}\n  kivi: {ours}\n  {peer:?}: {theirs}");
                let kind = format!("{} {}", kind_of(step), reply_kinds(our, their));
                return Err(self.fail(&kind, std::slice::from_ref(step), &text));
            }
        }
        Ok(())
    }

    /// How far apart times may be: the two servers ran the same command at most that far apart.
    fn slack_secs(&self) -> u64 {
        2 + self.start.elapsed().as_secs()
    }

    fn same(&self, step: &Step, our: &[u8], their: &[u8]) -> bool {
        if our == their {
            return true;
        }
        let (a, b) = (parse(our).expect("whole").0, parse(their).expect("whole").0);
        if a.is_error() && b == Reply::Nil && self.allows(&step.argv, Allow::ErrorForNil) {
            return true;
        }
        let other_error =
            a.is_error() && b.is_error() && self.allows(&step.argv, Allow::OtherError);
        other_error
            || self.allows(&step.argv, Allow::AnyReply)
            || agrees(step.agree, &a, &b, self.slack_secs())
    }

    /// Follows a SCAN to its end on both servers.
    fn scan(&mut self, step: &Step) -> Result<(), Disagreement> {
        self.history.push(step.argv.clone());
        let ours = scan_all(&mut self.kivi, &step.argv);
        let theirs = scan_all(&mut self.real, &step.argv);
        if ours == theirs || self.allows(&step.argv, Allow::AnyReply) {
            return Ok(());
        }
        let text = format!("  kivi: {ours:?}\n  {:?}: {theirs:?}", self.peer);
        Err(self.fail("SCAN to its end", std::slice::from_ref(step), &text))
    }

    fn compare_keyspaces(&mut self) -> Result<(), Disagreement> {
        for db in 0..16 {
            let ours = keyspace(&mut self.kivi, db);
            eventually("DBSIZE of Kivi to count what KEYS finds", || {
                (self.kivi.cmd(&["DBSIZE"]).int() == ours.len() as i64).then_some(())
            });
            let theirs = keyspace(&mut self.real, db);
            let keys = |space: &[Entry]| space.iter().map(|e| e.key.clone()).collect::<Vec<_>>();
            if keys(&ours) != keys(&theirs) {
                let text = format!(
                    "  keys of db {db}\n  kivi: {:?}\n  {:?}: {:?}",
                    keys(&ours).iter().map(|k| show(k)).collect::<Vec<_>>(),
                    self.peer,
                    keys(&theirs).iter().map(|k| show(k)).collect::<Vec<_>>()
                );
                return Err(self.fail("keyspace: keys", &[], &text));
            }
            for (our, their) in ours.iter().zip(&theirs) {
                if let Some(what) = our.differs_from(their, self.peer, self.slack_secs() * 1000) {
                    let key = Step {
                        argv: vec![our.key.clone()],
                        agree: Agree::Exact,
                        silent: false,
                    };
                    let text = format!("  db {db}\n  kivi: {our:?}\n  {:?}: {their:?}", self.peer);
                    return Err(self.fail(&format!("keyspace: {what}"), &[key], &text));
                }
            }
        }
        Ok(())
    }

    /// A disagreement with the commands that share an argument with the ones in question.
    fn fail(&self, kind: &str, steps: &[Step], text: &str) -> Disagreement {
        let args: BTreeSet<&Vec<u8>> = steps.iter().flat_map(|s| s.argv.iter()).collect();
        let related: Vec<String> = self
            .history
            .iter()
            .filter(|argv| steps.is_empty() || argv.iter().any(|arg| args.contains(arg)))
            .map(|argv| format!("    {}", show_command(argv)))
            .collect();
        let from = related.len().saturating_sub(25);
        let text = format!("{text}\n  before it:\n{}\n", related[from..].join("\n"));
        Disagreement {
            seed: self.seed,
            kind: kind.to_owned(),
            text,
        }
    }
}

/// Command and subcommand, to tell kinds of disagreement apart.
fn kind_of(step: &Step) -> String {
    let words = Words::of(&step.argv);
    let containers = ["object", "client", "config", "command", "debug", "memory"];
    let mut kind = words.0[0].chars().take(30).collect::<String>();
    if containers.contains(&words.0[0].as_str()) && words.0.len() > 1 {
        kind = format!("{kind} {}", words.0[1].chars().take(30).collect::<String>());
    }
    kind
}

fn reply_kinds(our: &[u8], their: &[u8]) -> String {
    let kind = |bytes: &[u8]| {
        let end = if bytes[0] == b'-' {
            bytes.len().min(24)
        } else {
            1
        };
        show(&bytes[..end])
    };
    format!("{} instead of {}", kind(our), kind(their))
}

/// Reads replies up to the sentinel.
fn replies(client: &mut Client, sentinel: &str) -> Result<Vec<Vec<u8>>, String> {
    let end = format!("${}\r\n{sentinel}\r\n", sentinel.len()).into_bytes();
    let mut replies = Vec::new();
    loop {
        let (raw, _) = client
            .try_read()
            .map_err(|e| format!("after {} replies: {e}", replies.len()))?;
        if *raw == *end {
            return Ok(replies);
        }
        replies.push(raw.0);
    }
}

fn agrees(agree: Agree, a: &Reply, b: &Reply, slack_secs: u64) -> bool {
    let close = |most: u64| match (a, b) {
        (Reply::Int(a), Reply::Int(b)) => *a >= 0 && *b >= 0 && a.abs_diff(*b) <= most,
        _ => false,
    };
    match agree {
        Agree::Exact => false,
        Agree::Count => close(2),
        Agree::Seconds => close(slack_secs),
        Agree::Millis => close(slack_secs * 1000),
        Agree::Kind | Agree::Scan => {
            std::mem::discriminant(a) == std::mem::discriminant(b) && !a.is_error()
        }
        Agree::AnyOrder => is_aggregate(a) && is_aggregate(b) && sorted(a) == sorted(b),
        Agree::Pairs => is_aggregate(a) && is_aggregate(b) && pairs(a) == pairs(b),
        Agree::MapKeys => {
            let same_type = std::mem::discriminant(a) == std::mem::discriminant(b);
            same_type && is_aggregate(a) && keys(a) == keys(b)
        }
    }
}

fn is_aggregate(reply: &Reply) -> bool {
    matches!(reply, Reply::Array(_) | Reply::Map(_) | Reply::Set(_))
}

fn sorted(reply: &Reply) -> Vec<&Reply> {
    let mut items: Vec<&Reply> = reply.items().iter().collect();
    items.sort();
    items
}

fn keys(map: &Reply) -> Vec<&Reply> {
    map.items().chunks(2).map(|pair| &pair[0]).collect()
}

fn pairs(reply: &Reply) -> Vec<(&Reply, &Reply)> {
    let mut pairs: Vec<_> = reply
        .items()
        .chunks(2)
        .map(|p| (&p[0], &p[p.len() - 1]))
        .collect();
    pairs.sort();
    pairs
}

/// All keys of a SCAN, or the error it began with.
fn scan_all(client: &mut Client, argv: &[Vec<u8>]) -> Result<BTreeSet<Reply>, Reply> {
    let mut argv = argv.to_vec();
    let mut keys = BTreeSet::new();
    for _ in 0..100_000 {
        let reply = client.cmd(&argv);
        let Reply::Array(parts) = &reply else {
            return Err(reply);
        };
        keys.extend(parts[1].items().iter().cloned());
        if parts[0].bytes() == b"0" {
            return Ok(keys);
        }
        argv[1] = parts[0].bytes().to_vec();
    }
    panic!("SCAN does not end: {}", show_command(&argv));
}

/// What is known of one key.
struct Entry {
    key: Vec<u8>,
    kind: Reply,
    value: Reply,
    expire_at_ms: i64,
    encoding: Reply,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |reply: &Reply| match reply {
            Reply::Status(bytes) | Reply::Bulk(bytes) => show(bytes),
            other => format!("{other:?}"),
        };
        let (kind, value, encoding) = (text(&self.kind), text(&self.value), text(&self.encoding));
        let (key, expire_at_ms) = (show(&self.key), self.expire_at_ms);
        write!(f, "{key} {kind} {value} expires {expire_at_ms} {encoding}")
    }
}

impl Entry {
    fn differs_from(&self, other: &Entry, peer: Peer, slack_ms: u64) -> Option<&'static str> {
        let exact = (ABSOLUTE_SECS * 1000..(ABSOLUTE_SECS + 1_000_000) * 1000)
            .contains(&other.expire_at_ms);
        let tolerance = if exact || other.expire_at_ms < 0 {
            0
        } else {
            slack_ms
        };
        if self.kind != other.kind {
            Some("TYPE")
        } else if self.value != other.value {
            Some("GET")
        } else if (self.expire_at_ms.abs_diff(other.expire_at_ms)) > tolerance {
            Some("PEXPIRETIME")
        } else if self.encoding != other.encoding && peer == Peer::Valkey9 {
            Some("OBJECT ENCODING")
        } else {
            None
        }
    }
}

/// All keys of a database in order.
fn keyspace(client: &mut Client, db: u32) -> Vec<Entry> {
    assert_eq!(
        client.cmd(&["SELECT", &db.to_string()]),
        Reply::Status(b"OK".to_vec())
    );
    let mut keys: Vec<Vec<u8>> = client
        .cmd(&["KEYS", "*"])
        .items()
        .iter()
        .map(|k| k.bytes().to_vec())
        .collect();
    keys.sort();
    keys.into_iter()
        .map(|key| Entry {
            kind: client.cmd(&[b"TYPE".as_slice(), &key]),
            value: client.cmd(&[b"GET".as_slice(), &key]),
            expire_at_ms: client.cmd(&[b"PEXPIRETIME".as_slice(), &key]).int(),
            encoding: client.cmd(&[b"OBJECT".as_slice(), b"ENCODING", &key]),
            key,
        })
        .collect()
}

#[test]
fn every_difference_has_a_reason() {
    for difference in DIFFERENCES {
        assert!(difference.reason.len() > 20, "{}", difference.reason);
    }
}
