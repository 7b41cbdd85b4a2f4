//! The same random commands to Kivi and to Valkey, with somebody listening at each: the events of
//! keys must be the same ones in the same order, and the same keys must be told to a client that
//! caches all (CLIENT TRACKING BCAST), which is what WATCH goes by, too.
//!
//! Behind each command a message is published as a mark, so that events are compared command by
//! command, in all classes and on both channels. Touched keys are compared batch by batch: a server
//! tells a batch's together. Nothing expires by itself meanwhile, which would happen at another moment
//! in each.
//!
//! Environment: `KIVI_TEST_STEPS` commands; `KIVI_TEST_SEED` runs one episode only.

use std::collections::BTreeSet;

use crate::client::{Client, Reply, encode, show, show_command};
use crate::differences::Words;
use crate::generate::{Generator, Step};
use crate::harness::{Server, episodes, eventually};

const STEPS_DEFAULT: u64 = 15_000;
const STEPS_PER_EPISODE: u64 = 300;
/// Commands that are sent at once, at most.
const BATCH_MAX: usize = 6;
/// The channel of the marks.
const MARK: &str = "mark";
/// The mark behind a batch.
const END: &str = "end";
/// How many batches are transactions.
const TRANSACTIONS_PERCENT: usize = 15;
/// How many disagreements are shown.
const SHOWN: usize = 25;

const ARGS: &[&str] = &[
    "--enable-debug-command",
    "yes",
    "--notify-keyspace-events",
    "KEAmn",
];

/// Small encodings that end soon, so that changes meet all of them.
const SMALL_LIMITS: &[[&str; 2]] = &[
    ["hash-max-listpack-entries", "8"],
    ["list-max-listpack-size", "3"],
    ["set-max-intset-entries", "3"],
    ["set-max-listpack-entries", "8"],
    ["zset-max-listpack-entries", "8"],
];

/// A server with three clients: one that works, one that hears events, one that caches.
struct Side {
    worker: Client,
    listener: Client,
    cacher: Client,
}

/// What was told of a batch: the events of each command, and the keys that were touched.
#[derive(PartialEq, Eq)]
struct Told {
    events: Vec<Vec<String>>,
    touched: BTreeSet<Vec<u8>>,
}

impl Side {
    fn new(server: &Server) -> Side {
        let mut side = Side {
            worker: server.connect(),
            listener: server.connect(),
            cacher: server.connect(),
        };
        let worker = &mut side.worker;
        assert_eq!(
            worker.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]).text(),
            "OK"
        );
        assert_eq!(worker.cmd(&["FLUSHALL"]).text(), "OK");
        side.listener.cmd(&["SUBSCRIBE", MARK]);
        side.listener.cmd(&["PSUBSCRIBE", "__key*@*__:*"]);
        side.cacher.cmd(&["HELLO", "3"]);
        let reply = side.cacher.cmd(&["CLIENT", "TRACKING", "ON", "BCAST"]);
        assert_eq!(reply.text(), "OK");
        side
    }

    /// Runs commands, perhaps in a transaction; what is told of them.
    fn run(&mut self, batch: &[Step], is_transaction: bool) -> Told {
        let mut requests: Vec<Vec<u8>> = Vec::new();
        for step in batch {
            requests.push(encode(&step.argv));
            requests.push(encode(&["PUBLISH", MARK, "."]));
        }
        if is_transaction {
            requests.insert(0, encode(&["MULTI"]));
            requests.push(encode(&["EXEC"]));
        }
        requests.push(encode(&["PUBLISH", MARK, END]));
        self.worker.send(&requests.concat());
        for _ in 0..requests.len() {
            self.worker.read();
        }
        Told {
            events: self.events(batch),
            touched: self.touched(),
        }
    }

    /// The events of each command; of a transaction that was aborted there are none.
    fn events(&mut self, batch: &[Step]) -> Vec<Vec<String>> {
        let (mut all, mut events) = (Vec::new(), Vec::new());
        loop {
            let (_, message) = self.listener.read();
            match message.items() {
                [_, _, mark] => {
                    if mark.bytes() == END.as_bytes() {
                        return all;
                    }
                    if batch.get(all.len()).is_some_and(Step::sorts) {
                        // The members of a set are looked up in no order.
                        events.sort();
                    }
                    all.push(std::mem::take(&mut events));
                }
                parts => events.push(format!(
                    "{} {}",
                    show(parts[2].bytes()),
                    show(parts[3].bytes())
                )),
            }
        }
    }

    /// The keys that the cacher was told of, by the time that its question is answered.
    fn touched(&mut self) -> BTreeSet<Vec<u8>> {
        let mut touched = BTreeSet::new();
        self.cacher.send(&encode(&["PING"]));
        loop {
            match self.cacher.read().1 {
                Reply::Push(parts) => match &parts[1] {
                    Reply::Array(keys) => {
                        touched.extend(keys.iter().map(|key| key.bytes().to_vec()));
                    }
                    // All keys.
                    _ => drop(touched.insert(b"(all)".to_vec())),
                },
                _ => return touched,
            }
        }
    }
}

#[test]
fn the_events_are_valkeys() {
    let Some(valkey) = Server::valkey(ARGS) else {
        return;
    };
    let mut kivi = Server::kivi(ARGS);
    let seeds = episodes(STEPS_DEFAULT, STEPS_PER_EPISODE);
    let steps = (seeds.end - seeds.start) * STEPS_PER_EPISODE;
    let (mut faults, mut told) = (Vec::new(), 0);
    for seed in seeds {
        told += episode(seed, &kivi, &valkey, &mut faults);
    }
    kivi.assert_alive();
    let count = faults.len();
    faults.truncate(SHOWN);
    assert!(
        faults.is_empty(),
        "{count} disagreements\n{}",
        faults.join("\n")
    );
    assert!(told as u64 > steps / 4, "{told} events are too few to tell");
}

/// Runs the commands of a seed; how many events there were.
fn episode(seed: u64, kivi: &Server, valkey: &Server, faults: &mut Vec<String>) -> usize {
    let (mut ours, mut theirs) = (Side::new(kivi), Side::new(valkey));
    for [directive, value] in SMALL_LIMITS {
        let value = if seed.is_multiple_of(2) { value } else { "100" };
        for side in [&mut ours, &mut theirs] {
            let reply = side.worker.cmd(&["CONFIG", "SET", directive, value]);
            assert_eq!(reply.text(), "OK");
        }
    }
    let mut generator = Generator::new(seed);
    let (mut sent, mut told) = (0, 0);
    while sent < STEPS_PER_EPISODE as usize {
        let len = 1 + generator.rng.below(BATCH_MAX);
        let batch: Vec<Step> = std::iter::repeat_with(|| generator.step())
            .filter(is_comparable)
            .take(len)
            .collect();
        sent += len;
        let is_transaction = generator.rng.chance(TRANSACTIONS_PERCENT);
        let (our, their) = (
            ours.run(&batch, is_transaction),
            theirs.run(&batch, is_transaction),
        );
        told += our.events.iter().map(Vec::len).sum::<usize>();
        faults.extend(disagreements(seed, &batch, &our, &their));
    }
    told
}

fn disagreements(seed: u64, batch: &[Step], ours: &Told, theirs: &Told) -> Vec<String> {
    let mut faults = Vec::new();
    if ours.events.len() != theirs.events.len() {
        faults.push(format!(
            "KIVI_TEST_SEED={seed}: only one transaction was aborted"
        ));
    }
    for ((step, ours), theirs) in batch.iter().zip(&ours.events).zip(&theirs.events) {
        if ours != theirs {
            faults.push(format!(
                "KIVI_TEST_SEED={seed} {}\n  kivi:   {}\n  valkey: {}",
                show_command(&step.argv),
                ours.join(", "),
                theirs.join(", ")
            ));
        }
    }
    if ours.touched != theirs.touched {
        let commands: Vec<String> = batch.iter().map(|step| show_command(&step.argv)).collect();
        let only = |a: &Told, b: &Told| {
            let keys = a.touched.difference(&b.touched).map(|key| show(key));
            keys.collect::<Vec<_>>().join(" ")
        };
        faults.push(format!(
            "KIVI_TEST_SEED={seed} {}\n  touched by kivi only: {}\n  by valkey only: {}",
            commands.join(" | "),
            only(ours, theirs),
            only(theirs, ours)
        ));
    }
    faults
}

/// Whether both servers do the same, with one reply, tell of it, and go on.
fn is_comparable(step: &Step) -> bool {
    const OTHERS: &[&str] = &[
        "monitor",
        "multi",
        "exec",
        "discard",
        "watch",
        "unwatch",
        "publish",
        "spublish",
        "subscribe",
        "psubscribe",
        "ssubscribe",
        "unsubscribe",
        "punsubscribe",
        "sunsubscribe",
        // A random key may be one of many, of which some have expired.
        "randomkey",
    ];
    step.does_the_same() && !Words::of(&step.argv).among(OTHERS)
}

/// Keys and fields are told to have expired when they have, without anybody's looking. (How late they
/// are is for the benchmark `expiry` to say.)
#[test]
fn what_expires_is_told_at_once() {
    let kivi = Server::kivi(ARGS);
    let (mut worker, mut listener) = (kivi.connect(), kivi.connect());
    listener.cmd(&["PSUBSCRIBE", "__keyevent@0__:*expired"]);
    const KEYS: usize = 200;
    let now_ms = || {
        let time = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock");
        time.as_millis() as u64
    };
    let at_ms = |index: usize, first_ms: u64| first_ms + 5 * index as u64;
    let first_ms = now_ms() + 1000;
    for index in 0..KEYS {
        let (key, at) = (format!("k{index}"), at_ms(index, first_ms).to_string());
        let argv: &[&str] = match index % 2 {
            0 => &["SET", &key, "v", "PXAT", &at],
            _ => &["HSETEX", &key, "PXAT", &at, "FIELDS", "1", "f", "v"],
        };
        assert!(!worker.cmd(argv).is_error());
    }
    let mut told = BTreeSet::new();
    for _ in 0..KEYS {
        let (_, message) = listener.read();
        let told_ms = now_ms();
        let (event, key) = (message.items()[2].text(), message.items()[3].text());
        let index: usize = key[1..].parse().expect("a number");
        assert_eq!(
            event,
            ["__keyevent@0__:expired", "__keyevent@0__:hexpired"][index % 2]
        );
        assert!(told.insert(index), "{key} was told twice");
        let due_ms = at_ms(index, first_ms);
        assert!(
            told_ms >= due_ms,
            "{key}: {} ms too early",
            due_ms - told_ms
        );
    }
    eventually("all keys to be gone", || {
        (worker.cmd(&["DBSIZE"]).int() == 0).then_some(())
    });
}
