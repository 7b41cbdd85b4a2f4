//! Sequences of commands by a few clients: every request is answered with well-formed replies and nothing
//! panics; at the end a fresh server that repeats the log has the same keyspace, and so has this one after
//! it was written as a file and loaded.
//!
//! An input is text, see `kivi_fuzz::lines`; it is changed by lines and words.
#![no_main]

use std::sync::{Arc, LazyLock};

use kivi::db::oplog::Merge;
use kivi::db::{DbIndex, Outcome, Waiter};
use kivi::exec::Flow;
use kivi::exec::replay::Replay;
use kivi::exec::session::Session;
use kivi::resp::{Batch, Limits, Parser, Reply};
use kivi::sys::alloc::Jemalloc;
use kivi::util::num;
use kivi_fuzz::lines::{self, Line};
use kivi_fuzz::{House, Plan, START_MS};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

/// What counts memory; without it no size that INFO and MEMORY tell is right.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

static PLAN: LazyLock<Plan> = LazyLock::new(|| Plan::new(DIRECTIVES));

/// Small limits, so that values change their forms.
const DIRECTIVES: &[&str] = &[
    "--enable-debug-command",
    "yes",
    "--proto-max-bulk-len",
    "1mb",
    "--io-threads",
    "1",
    "--save",
    "",
    "--hash-max-listpack-entries",
    "4",
    "--set-max-listpack-entries",
    "4",
    "--set-max-intset-entries",
    "4",
    "--zset-max-listpack-entries",
    "4",
    "--list-max-listpack-size",
    "4",
    "--stream-node-max-entries",
    "3",
    "--hash-max-listpack-value",
    "32",
    "--zset-max-listpack-value",
    "32",
    "--list-compress-depth",
    "1",
];

/// Longest offset of a string: longer ones only take time.
const OFFSET_MAX: i64 = 4096;

/// What may be changed by CONFIG SET: limits of encodings.
const SETTABLE: &[&str] = &[
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "list-max-listpack-size",
    "list-compress-depth",
    "set-max-listpack-entries",
    "set-max-intset-entries",
    "zset-max-listpack-entries",
    "stream-node-max-entries",
    "notify-keyspace-events",
    "lazyfree-lazy-expire",
    "rdbcompression",
    "maxmemory-policy",
    "tracking-table-max-keys",
];

/// A client, and what it waits for.
struct Seat {
    session: Session,
    waiter: Option<Arc<Waiter>>,
    /// It may be sent what is no reply.
    hears: bool,
}

impl Seat {
    fn new(house: &House) -> Seat {
        let (session, waiter, hears) = (house.client(), None, false);
        Seat {
            session,
            waiter,
            hears,
        }
    }

    /// Looks whether a wait is over.
    fn look(&mut self) {
        if let Some(waiter) = &self.waiter
            && let Some(reply) = self.session.end_wait(waiter)
        {
            self.waiter = None;
            check_replies(&reply, "the end of a wait");
        }
    }

    /// Ends a wait.
    fn wake(&mut self) {
        if let Some(waiter) = self.waiter.take() {
            waiter.decide(Outcome::TimedOut);
            let reply = self.session.end_wait(&waiter).expect("the wait is over");
            check_replies(&reply, "a wait");
        }
    }
}

fn check_replies(bytes: &[u8], of: &str) -> usize {
    match Reply::parse_all(bytes) {
        Ok(replies) => replies
            .iter()
            .filter(|reply| !matches!(reply, Reply::Push(_)))
            .count(),
        Err(error) => panic!("{of}: {error:?} in {}", bytes.escape_ascii()),
    }
}

/// Requests whose effect is outside, that only take time, or that end the server.
fn is_left_out(words: &[Vec<u8>]) -> bool {
    let is = |at: usize, names: &[&str]| {
        let word = words.get(at);
        word.is_some_and(|word| {
            names
                .iter()
                .any(|name| word.eq_ignore_ascii_case(name.as_bytes()))
        })
    };
    let number = |at: usize| words.get(at).and_then(|word| num::parse_i64(word));
    let digits = |word: &[u8]| num::parse_i64(word.strip_prefix(b"#").unwrap_or(word));
    let is_far =
        |word: &Vec<u8>| digits(word).is_some_and(|far| (OFFSET_MAX..1 << 33).contains(&far));
    let loops = |word: &Vec<u8>| {
        let slow: &[&[u8]] = &[
            b"while",
            b"repeat",
            b"for",
            b"function",
            b"rep",
            b"sub",
            b"loadstring",
            b"pattern",
            b"match",
        ];
        word.len() > 3
            && slow
                .iter()
                .any(|slow| word.windows(slow.len()).any(|part| part == *slow))
    };
    is(0, &["shutdown", "monitor", "bgsave", "bgrewriteaof", "migrate", "sync", "psync", "replicaof", "slaveof"])
        || is(0, &["module", "pfselftest", "failover", "cluster", "pfdebug", "quit"])
        || (is(0, &["client"]) && is(1, &["reply", "pause"]))
        || (is(0, &["config"]) && is(1, &["set"]) && !(words.len() == 4 && is(2, SETTABLE)))
        || (is(0, &["config"]) && is(1, &["rewrite"]))
        || (is(0, &["debug"]) && !is(1, &["object", "digest", "digest-value", "reload", "set-active-expire"]))
        || (is(0, &["setrange", "setbit", "bitfield", "bitfield_ro"]) && words.iter().any(is_far))
        || (is(0, &["hrandfield", "zrandmember", "srandmember"])
            && number(2).is_some_and(|count| (-100_000_000..-1000).contains(&count)))
        || (is(0, &["eval", "eval_ro", "script"]) && words.iter().any(loops))
        // A library may loop when it is loaded, or later.
        || (is(0, &["function"]) && is(1, &["load"]) && !words.iter().any(|word| is_library(word)))
        || (is(0, &["function"]) && is(1, &["restore"]))
}

fn is_library(code: &[u8]) -> bool {
    code.starts_with(
        b"#!lua name=l\nredis.register_function('f', function(k, a) return redis.call('SET', k[1]",
    ) && !code.windows(5).any(|part| part == b"while")
        && !code.windows(3).any(|part| part == b"for")
}

/// A server, its clients, and the log of what they have changed.
struct Play {
    house: House,
    seats: Vec<Option<Seat>>,
    at: usize,
    merge: Merge,
    /// A script may keep what it does out of the log.
    has_secrets: bool,
}

impl Play {
    fn new() -> Play {
        let house = PLAN.house(START_MS);
        let oplog = &house.server.keyspace.oplog;
        oplog.set_on(true);
        let merge = Merge::after(oplog.cut());
        Play {
            house,
            seats: (0..3).map(|_| None).collect(),
            at: 0,
            merge,
            has_secrets: false,
        }
    }

    fn line(&mut self, line: Line) {
        match line {
            Line::Client(number) => self.at = number % self.seats.len(),
            Line::Pass(ms) => self.house.clock.advance(ms),
            Line::Reload => self.command(&[b"DEBUG".to_vec(), b"RELOAD".to_vec()]),
            Line::Expire => {
                let now_ms = self.house.clock.unix_ms();
                self.house.server.keyspace.expire_due(now_ms);
            }
            Line::Command(words) => {
                if !is_left_out(&words) {
                    self.command(&words);
                }
            }
        }
        self.seats.iter_mut().flatten().for_each(Seat::look);
    }

    fn command(&mut self, words: &[Vec<u8>]) {
        let is = |name: &str| words[0].eq_ignore_ascii_case(name.as_bytes());
        let secret = b"repl";
        self.has_secrets |= words
            .iter()
            .any(|word| word.windows(secret.len()).any(|part| part == secret));
        let seat = self.seats[self.at].get_or_insert_with(|| Seat::new(&self.house));
        seat.wake();
        seat.hears |= [
            "subscribe",
            "psubscribe",
            "ssubscribe",
            "client",
            "debug",
            "exec",
            "reset",
        ]
        .iter()
        .any(|name| is(name))
            || words[0].to_ascii_lowercase().ends_with(b"unsubscribe");
        let request: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
        let (mut reply, mut flow) = seat.session.call(&request);
        while flow == Flow::Alone {
            let killed = seat
                .session
                .server()
                .scripts
                .running
                .kill(kivi::script::running::Kind::Eval);
            drop(killed);
            (reply, flow) = seat.session.resume();
        }
        let replies = check_replies(&reply, "a reply");
        match flow {
            Flow::Block(waiter) => {
                assert_eq!(replies, 0, "{words:?}");
                seat.waiter = Some(waiter);
            }
            Flow::Close | Flow::Abort => self.seats[self.at] = None,
            Flow::Wait(wait) => panic!("{words:?} waits: {wait:?}"),
            Flow::Done | Flow::Sleep(_) | Flow::Delay(_) => {
                assert!(
                    replies == 1 || seat.hears,
                    "{words:?}: {}",
                    reply.escape_ascii()
                );
            }
            Flow::Chore(_) | Flow::Alone => panic!("{words:?} is not done: {flow:?}"),
        }
    }

    /// Ends it, and compares the keyspace with what others make of it.
    fn end(mut self) {
        for seat in self.seats.iter_mut().flatten() {
            if let Some(waiter) = seat.waiter.take() {
                seat.session.give_up_wait(&waiter);
            }
        }
        self.seats.clear();
        let keyspace = &self.house.server.keyspace;
        let mut log = Vec::new();
        keyspace.oplog.drain(&mut self.merge, &mut log, None);
        keyspace.oplog.set_on(false);
        let other = PLAN.house(self.house.clock.unix_ms());
        repeat(&other, &log);
        let digests = [&self.house, &other].map(digest);
        if !self.has_secrets {
            assert!(
                digests[0] == digests[1],
                "the log says something else:\n{}",
                log.escape_ascii()
            );
        }
        self.house.client().call(&[b"DEBUG", b"RELOAD"]);
        assert!(
            digest(&self.house) == digests[0],
            "the file says something else"
        );
    }
}

fn digest(house: &House) -> Vec<u8> {
    // What is due has to go, on both servers.
    house.client().call(&[b"DEBUG", b"SET-ACTIVE-EXPIRE", b"1"]);
    house.server.keyspace.expire_due(house.clock.unix_ms());
    let (digest, _) = house.client().call(&[b"DEBUG", b"DIGEST"]);
    assert!(digest.starts_with(b"+"), "{}", digest.escape_ascii());
    digest
}

/// Repeats a log on a server.
fn repeat(house: &House, log: &[u8]) {
    let expire_clock = &house.server.keyspace.expire_clock;
    expire_clock.set_loading(true);
    let mut replay = Replay::new(house.server.clone(), house.table.clone());
    let (mut parser, mut batch) = (Parser::new(), Batch::new());
    parser
        .parse(log, &Limits::default(), usize::MAX, &mut batch)
        .expect("a log");
    assert_eq!(batch.consumed(), log.len());
    let mut db = DbIndex(0);
    for at in 0..batch.len() {
        let argv = batch.argv(at, log);
        match &argv[0] {
            b"SELECT" => db = DbIndex(num::parse_u64(&argv[1]).expect("a number") as u32),
            b"MULTI" | b"EXEC" => {}
            _ => replay
                .run_argv(db, argv)
                .expect("what was logged can be repeated"),
        }
    }
    expire_clock.set_loading(false);
}

fuzz_target!(|data: &[u8]| {
    let mut play = Play::new();
    lines::lines(data).for_each(|line| play.line(line));
    play.end();
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    lines::mutate(PLAN.table(), &[], data, size, max_size, seed)
});
