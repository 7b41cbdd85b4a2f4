//! The same random commands to Kivi and to a real server; the replies must be the same bytes.
//!
//! An episode flushes both servers, sets the limits of the small encodings, runs some hundred
//! generated commands in pipelines of random depth, in RESP2 or RESP3 (which HELLO commands among
//! them happen to switch), then compares the whole keyspaces: values of all types, encodings, and
//! expiries of keys and fields. A disagreement is collected with the commands that touched its arguments, and the
//! next episode begins; the test fails at the end with all of them (one of a kind each).
//!
//! Where versions differ on purpose, `differences` says so, with the reason.
//!
//! Environment: `KIVI_TEST_STEPS` commands per peer; `KIVI_TEST_SEED` runs one episode only;
//! `KIVI_TEST_KINDS` how many kinds of disagreement to collect.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::client::{Client, Reply, encode, parse, show, show_command};
use crate::differences::{Allow, DIFFERENCES, Peer, Words};
use crate::generate::{ABSOLUTE_SECS, Agree, Generator, Step, commands_with_templates};
use crate::harness::{Server, env_number, eventually, is_stand_in};

const STEPS_DEFAULT: u64 = 150_000;
const STEPS_PER_EPISODE: usize = 300;
/// A batch ends with ECHO of this and a number, which shows where its replies end.
const SENTINEL: &str = "end-of-batch-";

/// With many looks at the clock a second, or short waits would be over much later.
const PEER_ARGS: &[&str] = &["--enable-debug-command", "yes", "--hz", "500"];

#[test]
fn the_same_replies_as_redis_7() {
    if let Some(redis) = Server::redis(PEER_ARGS) {
        compare_with(Peer::Redis7, &redis);
    }
}

#[test]
fn the_same_replies_as_valkey_9() {
    if let Some(valkey) = Server::valkey(PEER_ARGS) {
        compare_with(Peer::Valkey9, &valkey);
    }
}

/// The limits of the small encodings: directive, default, and values to try. Those of sets go
/// together: with fewer entries in an intset than in a listpack, the encoding of what a command such
/// as SUNIONSTORE makes depends on the order in which it comes upon numbers and texts.
const LIMITS: &[(&str, &str, &[&str])] = &[
    ("hash-max-listpack-entries", "512", &["2", "8", "0", "512"]),
    ("hash-max-listpack-value", "64", &["4", "20", "64"]),
    ("list-max-listpack-size", "-2", &["-1", "2", "3", "8", "-5"]),
    ("list-compress-depth", "0", &["0", "1", "2"]),
    (
        "set-max-listpack-entries",
        "512,128",
        &["3,3", "8,3", "8,8", "0,0", "512,0", "512,128"],
    ),
    ("set-max-listpack-value", "64", &["4", "20", "64"]),
    ("zset-max-listpack-entries", "128", &["3", "8", "0", "128"]),
    ("zset-max-listpack-value", "64", &["4", "20", "64"]),
    ("hll-sparse-max-bytes", "3000", &["20", "60", "300", "3000"]),
];

/// Scripts that run the command in their arguments.
const SCRIPTS: &[&str] = &[
    "return redis.call(unpack(ARGV))",
    "return redis.pcall(unpack(ARGV))",
    "local ok, reply = pcall(redis.call, unpack(ARGV)) return reply",
    "local reply = redis.pcall(unpack(ARGV)) return {type(reply), reply}",
];

/// Whether a script can run a command, and Valkey and Kivi do the same then. A number that a script of
/// Valkey's sets is no `int` there; and the names of the servers stand in what scripts may not do.
pub(crate) fn may_be_in_script(step: &Step) -> bool {
    const REFUSED: &[&str] = &[
        "multi", "exec", "discard", "watch", "unwatch", "role", "script", "function",
    ];
    const SETTING: &[&str] = &[
        "set", "append", "setnx", "setex", "psetex", "getset", "mset", "msetnx", "msetex",
    ];
    let words = Words::of(&step.argv);
    let name = words.0[0].as_str();
    let runs_others = name.starts_with("eval") || name.starts_with("fcall");
    let is_refused = runs_others || name.contains("subscribe") || words.among(REFUSED);
    !is_refused && !words.among(SETTING) && step.does_the_same()
}

/// A disagreement, with what is needed to understand it.
struct Disagreement {
    seed: u64,
    /// Commands and reply kinds without their arguments: one of a kind is enough.
    kind: String,
    text: String,
}

fn compare_with(peer: Peer, real: &Server) {
    let mut kivi = Server::kivi(PEER_ARGS);
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
        if found.len() >= env_number("KIVI_TEST_KINDS", 25) as usize {
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
    commands: Generator,
    kivi: Client,
    real: Client,
    history: Vec<Vec<Vec<u8>>>,
    batches: usize,
    start: Instant,
}

impl Episode {
    fn new(peer: Peer, seed: u64, kivi: &Server, real: &Server) -> Episode {
        let (kivi, real) = (kivi.connect(), real.connect());
        let commands = Generator::new(seed);
        Episode {
            peer,
            seed,
            commands,
            kivi,
            real,
            history: Vec::new(),
            batches: 0,
            start: Instant::now(),
        }
    }

    fn run(mut self) -> Result<(), Disagreement> {
        let protocol = ["2", "3"][self.commands.rng.below(2)];
        for client in [&mut self.kivi, &mut self.real] {
            for setup in ["FLUSHALL", "CLIENT UNPAUSE"] {
                client.cmd(&setup.split(' ').collect::<Vec<_>>());
            }
            client.cmd(&["CONFIG", "SET", "timeout", "0", "tcp-keepalive", "300"]);
            client.cmd(&["HELLO", protocol]);
        }
        self.set_limits();
        let mut done = 0;
        while done < STEPS_PER_EPISODE {
            let rng = &mut self.commands.rng;
            let depth = if rng.chance(30) { 1 } else { 1 + rng.below(40) };
            let mut batch = Vec::new();
            while batch.len() < depth {
                let mut next = self.commands.step();
                if self.allows(&next.argv, Allow::NotSent) {
                    continue;
                }
                self.hand_to_script(&mut next);
                // The real SORT makes a sorted set large, and Kivi's does not: away with it.
                if next.sorts() {
                    self.batch(&std::mem::take(&mut batch))?;
                    let rest = self.removal_of_sorted_set(&next);
                    batch.push(next);
                    batch.extend(rest);
                    continue;
                }
                let cursor = next.argv.get(next.cursor_at());
                if next.agree == Agree::Scan && cursor.is_some_and(|cursor| cursor == b"0") {
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

    /// Has a script run the command, now and then: what becomes of its reply must be the same, too.
    fn hand_to_script(&mut self, step: &mut Step) {
        let is_fit = step.agree != Agree::Scan && !step.sorts() && may_be_in_script(step);
        if self.peer == Peer::Valkey9 && is_fit && self.commands.rng.chance(5) {
            // The last one changes the place of what it returns.
            let some = SCRIPTS.len() - usize::from(step.agree != Agree::Exact);
            let code = *self.commands.rng.pick(&SCRIPTS[..some]);
            let script = ["EVAL", code, "0"].map(|word| word.as_bytes().to_vec());
            step.argv.splice(0..0, script);
        }
    }

    /// Sets the limits of the small encodings: the defaults, or so low that they are often crossed.
    fn set_limits(&mut self) {
        let low = self.commands.rng.chance(50);
        for (name, default, some) in LIMITS {
            let mut value = if low {
                *self.commands.rng.pick(some)
            } else {
                *default
            };
            if let Some((intset, listpack)) = value.split_once(',') {
                self.set_limit("set-max-intset-entries", intset);
                value = listpack;
            }
            self.set_limit(name, value);
        }
    }

    fn set_limit(&mut self, name: &str, value: &str) {
        for client in [&mut self.kivi, &mut self.real] {
            let reply = client.cmd(&["CONFIG", "SET", name, value]);
            let lacks = self.peer == Peer::Redis7 && name.starts_with("set-max-listpack");
            assert!(lacks || !reply.is_error(), "{name} {value}: {reply:?}");
        }
    }

    /// Adds a step; what silences replies brings along what ends the silence, and what takes
    /// members at random what removes the rest.
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
        if next.pops_some() {
            let gone = [b"DEL".to_vec()]
                .into_iter()
                .chain(next.argv.get(1).cloned());
            let del = Step {
                argv: gone.collect(),
                agree: Agree::Exact,
                silent: false,
            };
            batch.extend([next, del]);
        } else if next.silent {
            batch.extend([next, follow("SET k0 silently", true)]);
        } else {
            batch.push(next);
        }
        if off {
            batch.push(follow("CLIENT REPLY SKIP", true));
            batch.push(follow("CLIENT REPLY ON", false));
        }
    }

    /// DEL of what `step` names, if that is a sorted set.
    fn removal_of_sorted_set(&mut self, step: &Step) -> Option<Step> {
        let key = step.argv.get(1)?;
        let kind = self.real.cmd(&[b"TYPE".as_slice(), key]);
        (kind == Reply::Status(b"zset".to_vec())).then(|| Step {
            argv: vec![b"DEL".to_vec(), key.clone()],
            agree: Agree::Exact,
            silent: false,
        })
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
        let theirs = theirs.unwrap_or_else(|e| {
            let sent: Vec<String> = steps.iter().map(|s| show_command(&s.argv)).collect();
            panic!("the real server answers: {e}\n{}", sent.join("\n"))
        });
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
        if a.is_error() && self.allows(&step.argv, Allow::Error) {
            return true;
        }
        let is_longer = their.len() > our.len() && self.allows(&step.argv, Allow::LongerNumber);
        let same_number = is_longer || self.allows(&step.argv, Allow::SameNumber);
        if same_number && agrees_as_numbers(step.agree, &a, &b) {
            return true;
        }
        if self.allows(&step.argv, Allow::AsMany)
            && let (Reply::Array(ours), Reply::Array(theirs)) = (&a, &b)
            && ours.len() == theirs.len()
        {
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
        let ours = scan_all(&mut self.kivi, step);
        let theirs = scan_all(&mut self.real, step);
        if ours == theirs || self.allows(&step.argv, Allow::AnyReply) {
            return Ok(());
        }
        if self.allows(&step.argv, Allow::SameNumber) {
            let rewritten = |found: &BTreeSet<Vec<Reply>>| -> BTreeSet<Vec<Reply>> {
                let items = found.iter();
                items
                    .map(|item| item.iter().map(with_numbers).collect())
                    .collect()
            };
            if ours.as_ref().map(rewritten) == theirs.as_ref().map(rewritten) {
                return Ok(());
            }
        }
        let text = format!("  kivi: {ours:?}\n  {:?}: {theirs:?}", self.peer);
        let kind = format!("{} to its end", kind_of(step));
        Err(self.fail(&kind, std::slice::from_ref(step), &text))
    }

    fn compare_keyspaces(&mut self) -> Result<(), Disagreement> {
        for client in [&mut self.kivi, &mut self.real] {
            client.cmd(&["HELLO", "3"]);
        }
        for db in 0..16 {
            let ours = keyspace(&mut self.kivi, db, self.peer);
            eventually("DBSIZE of Kivi to count what KEYS finds", || {
                (self.kivi.cmd(&["DBSIZE"]).int() == ours.len() as i64).then_some(())
            });
            let theirs = keyspace(&mut self.real, db, self.peer);
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
    match agree {
        Agree::Exact => false,
        Agree::Count => close(a, b, 2),
        Agree::Seconds => close(a, b, slack_secs),
        Agree::Millis => close(a, b, slack_secs * 1000),
        Agree::Times => same_but_times(a, b, slack_secs * 1000),
        Agree::Shape => same_shape(a, b),
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

/// Whether two times, or arrays of times, are at most `most` apart.
fn close(a: &Reply, b: &Reply, most: u64) -> bool {
    match (a, b) {
        (Reply::Int(a), Reply::Int(b)) => a == b || *a >= 0 && *b >= 0 && a.abs_diff(*b) <= most,
        (Reply::Array(a), Reply::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b, most))
        }
        _ => false,
    }
}

/// Whether two replies of XPENDING or XINFO are the same, but for times that are at most `most` apart.
fn same_but_times(a: &Reply, b: &Reply, most: u64) -> bool {
    const TIMES: &[&[u8]] = &[b"idle", b"inactive", b"seen-time", b"active-time"];
    if !is_aggregate(a) || std::mem::discriminant(a) != std::mem::discriminant(b) {
        return a == b;
    }
    let (a, b) = (a.items(), b.items());
    // An entry's id, a consumer unless it is clear which, a time, a number.
    let time_of_entry = match a {
        [Reply::Bulk(_), Reply::Bulk(_), Reply::Int(_), Reply::Int(_)] => Some(2),
        [Reply::Bulk(_), Reply::Int(_), Reply::Int(_)] => Some(1),
        _ => None,
    };
    let is_time = |at: usize| {
        let follows =
            |name: &Reply| matches!(name, Reply::Bulk(name) if TIMES.contains(&&name[..]));
        time_of_entry == Some(at) || at > 0 && follows(&a[at - 1])
    };
    a.len() == b.len()
        && (0..a.len()).all(|at| match is_time(at) {
            true => close(&a[at], &b[at], most),
            false => same_but_times(&a[at], &b[at], most),
        })
}

/// Whether all aggregates are as long, and all elements of the same type.
fn same_shape(a: &Reply, b: &Reply) -> bool {
    if std::mem::discriminant(a) != std::mem::discriminant(b) || a.is_error() {
        return false;
    }
    if !is_aggregate(a) {
        return true;
    }
    let (a, b) = (a.items(), b.items());
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_shape(a, b))
}

/// [`agrees`] with all numbers written in one way.
fn agrees_as_numbers(agree: Agree, a: &Reply, b: &Reply) -> bool {
    let (a, b) = (with_numbers(a), with_numbers(b));
    a == b || agrees(agree, &a, &b, 0)
}

/// The reply with all numbers in it written in Rust's way, and zero without a sign.
fn with_numbers(reply: &Reply) -> Reply {
    let rewrite = |bytes: &[u8]| {
        let number = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| text.parse::<f64>().ok());
        number.map_or_else(
            || bytes.to_vec(),
            |number| (number + 0.0).to_string().into_bytes(),
        )
    };
    match reply {
        Reply::Bulk(bytes) => Reply::Bulk(rewrite(bytes)),
        Reply::Double(bytes) => Reply::Double(rewrite(bytes)),
        Reply::Array(items) => Reply::Array(items.iter().map(with_numbers).collect()),
        other => other.clone(),
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

/// The pairs of a map, of a flat array, or of an array of arrays, sorted.
fn pairs(reply: &Reply) -> Vec<Vec<&Reply>> {
    let nested = matches!(reply.items().first(), Some(Reply::Array(_)));
    let mut pairs: Vec<_> = reply
        .items()
        .chunks(if nested { 1 } else { 2 })
        .map(|pair| pair.iter().collect())
        .collect();
    pairs.sort();
    pairs
}

/// All that a SCAN finds (fields with their values), or the error it began with.
fn scan_all(client: &mut Client, step: &Step) -> Result<BTreeSet<Vec<Reply>>, Reply> {
    let mut argv = step.argv.clone();
    let words = Words::of(&argv);
    let alone = words.has("novalues") || words.has("noscores");
    let in_pairs = (words.is("hscan") || words.is("zscan")) && !alone;
    let mut found = BTreeSet::new();
    for _ in 0..100_000 {
        let reply = client.cmd(&argv);
        let Reply::Array(parts) = &reply else {
            return Err(reply);
        };
        let items = parts[1].items().chunks(1 + usize::from(in_pairs));
        found.extend(items.map(<[Reply]>::to_vec));
        if parts[0].bytes() == b"0" {
            return Ok(found);
        }
        argv[step.cursor_at()] = parts[0].bytes().to_vec();
    }
    panic!("a SCAN does not end: {}", show_command(&argv));
}

/// What is known of one key.
struct Entry {
    key: Vec<u8>,
    kind: Reply,
    value: Reply,
    /// The ends of all fields of a hash.
    field_ends_ms: Reply,
    end_ms: Reply,
    encoding: Reply,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |reply: &Reply| match reply {
            Reply::Status(bytes) | Reply::Bulk(bytes) => show(bytes),
            other => format!("{other:?}").chars().take(2000).collect(),
        };
        let (kind, value, encoding) = (text(&self.kind), text(&self.value), text(&self.encoding));
        let (key, end_ms) = (show(&self.key), self.end_ms.int());
        let fields = text(&self.field_ends_ms);
        write!(
            f,
            "{key} {kind} {encoding} expires {end_ms} {value} {fields}"
        )
    }
}

impl Entry {
    /// All about a key; the fields of a hash are asked about in the order of `fields`.
    fn read(client: &mut Client, key: Vec<u8>, peer: Peer) -> Entry {
        let kind = client.cmd(&[b"TYPE".as_slice(), &key]);
        let mut ask = |before: &str, after: &str| {
            let mut argv: Vec<&[u8]> = before.split(' ').map(str::as_bytes).collect();
            argv.push(&key);
            argv.extend(
                after
                    .split(' ')
                    .filter(|w| !w.is_empty())
                    .map(str::as_bytes),
            );
            client.cmd(&argv)
        };
        let encoding = ask("OBJECT ENCODING", "");
        let end_ms = ask("PEXPIRETIME", "");
        let mut value = match kind.bytes() {
            b"string" => ask("GET", ""),
            b"list" => ask("LRANGE", "0 -1"),
            b"set" => ask("SMEMBERS", ""),
            b"hash" => ask("HGETALL", ""),
            b"zset" => ask("ZRANGE", "0 -1 WITHSCORES"),
            b"stream" => ask("XRANGE", "- +"),
            other => panic!("a key of type {}", show(other)),
        };
        // Small hashes have the order they were filled in, large ones have none; nor have sets, as
        // *STORE writes them in any.
        match kind.bytes() {
            b"hash" if peer == Peer::Redis7 || encoding.bytes() == b"hashtable" => {
                value = Reply::Map(pairs(&value).concat().into_iter().cloned().collect());
            }
            b"set" if peer == Peer::Redis7 || encoding.bytes() != b"intset" => {
                value = Reply::Set(sorted(&value).into_iter().cloned().collect());
            }
            b"zset" if peer == Peer::Redis7 => value = with_numbers(&value),
            _ => {}
        }
        let field_ends_ms = match kind.bytes() {
            b"hash" if peer != Peer::Redis7 => {
                let fields: Vec<&[u8]> = keys(&value).into_iter().map(Reply::bytes).collect();
                let count = fields.len().to_string();
                let head = [
                    b"HPEXPIRETIME".as_slice(),
                    &key,
                    b"FIELDS",
                    count.as_bytes(),
                ];
                client.cmd(&[&head, fields.as_slice()].concat())
            }
            _ => Reply::Nil,
        };
        Entry {
            key,
            kind,
            value,
            field_ends_ms,
            end_ms,
            encoding,
        }
    }

    fn differs_from(&self, other: &Entry, peer: Peer, slack_ms: u64) -> Option<&'static str> {
        if self.kind != other.kind {
            Some("TYPE")
        } else if self.encoding != other.encoding && peer == Peer::Valkey9 {
            Some("OBJECT ENCODING")
        } else if self.value != other.value {
            Some("value")
        } else if !same_ends(&self.end_ms, &other.end_ms, slack_ms) {
            Some("PEXPIRETIME")
        } else if !same_ends(&self.field_ends_ms, &other.field_ends_ms, slack_ms) {
            Some("HPEXPIRETIME")
        } else {
            None
        }
    }
}

/// Whether expiries are the same: those given as points in time exactly, others about.
fn same_ends(ours: &Reply, theirs: &Reply, slack_ms: u64) -> bool {
    let absolute_ms = ABSOLUTE_SECS * 1000..(ABSOLUTE_SECS + 1_000_000) * 1000;
    match (ours, theirs) {
        (Reply::Array(a), Reply::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_ends(a, b, slack_ms))
        }
        (a, Reply::Int(at)) if *at < 0 || absolute_ms.contains(at) => *a == Reply::Int(*at),
        (a, b) => a == b || close(a, b, slack_ms),
    }
}

/// All keys of a database in order.
fn keyspace(client: &mut Client, db: u32, peer: Peer) -> Vec<Entry> {
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
        .map(|key| Entry::read(client, key, peer))
        .collect()
}

#[test]
fn every_command_has_a_template() {
    if is_stand_in() {
        return;
    }
    let list = Server::kivi(&[]).connect().cmd(&["COMMAND", "LIST"]);
    let templates = commands_with_templates();
    let missing = list.items().iter().map(Reply::text).filter(|name| {
        // QUIT ends the connection.
        !name.contains('|') && !templates.contains(name) && name != "quit"
    });
    assert_eq!(missing.collect::<Vec<_>>(), Vec::<String>::new());
}
