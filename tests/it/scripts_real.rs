//! Scripts of the sort that job queues, locks and rate limiters are made of.
//!
//! They stand in `scripts_real/scripts.lua`, a library of functions beside them. First the same random
//! calls go to Kivi and to real servers, whose replies and keys must be the same; time is an
//! argument, so that nothing depends on the clock. Then several clients use them at once, with one, four and
//! eight threads: nothing may be lost, done twice, or be seen half done, and what is in the log must
//! be what there was.
//!
//! Environment: `KIVI_TEST_STEPS` calls for each comparison; `KIVI_TEST_SEED` begins elsewhere.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::{Client, Reply, show_command};
use crate::generate::Rng;
use crate::harness::{Server, env_number, eventually};

mod calls;

const SCRIPTS: &str = include_str!("scripts_real/scripts.lua");
const LIBRARY: &str = include_str!("scripts_real/library.lua");
const COUNTER: &str = include_str!("scripts_real/counter.lua");
const CLIENTS: usize = 6;

/// The scripts by their names.
fn scripts() -> HashMap<&'static str, &'static str> {
    let sections = SCRIPTS.split("-- @ ").skip(1);
    sections
        .map(|section| section.split_once('\n').expect("a name and a script"))
        .collect()
}

/// A client with the SHA1 of each script.
struct App {
    client: Client,
    shas: HashMap<&'static str, String>,
}

impl App {
    fn new(server: &Server) -> App {
        let mut client = server.connect();
        let load = |(name, script)| {
            let sha = client.cmd(&["SCRIPT", "LOAD", script]).text();
            (name, sha)
        };
        let shas = scripts().into_iter().map(load).collect();
        App { client, shas }
    }

    /// The request that runs a script.
    fn request(&self, name: &str, keys: &[String], args: &[String]) -> Vec<String> {
        let mut argv = vec![
            "EVALSHA".to_owned(),
            self.shas[name].clone(),
            keys.len().to_string(),
        ];
        argv.extend(keys.iter().chain(args).cloned());
        argv
    }

    fn run(&mut self, name: &str, keys: &[&str], args: &[&str]) -> Reply {
        let owned = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        let request = self.request(name, &owned(keys), &owned(args));
        self.client.cmd(&request)
    }
}

// --- the same as real servers -----------------------------------------------------------------------

#[test]
fn applications_find_what_they_find_on_valkey_9() {
    if let Some(valkey) = Server::valkey(&["--enable-debug-command", "yes"]) {
        compare_with(&valkey);
    }
}

#[test]
fn applications_find_what_they_find_on_redis_7() {
    if let Some(redis) = Server::redis(&["--enable-debug-command", "yes"]) {
        compare_with(&redis);
    }
}

fn compare_with(real: &Server) {
    let steps = env_number("KIVI_TEST_STEPS", 300_000).div_ceil(100);
    let seed = env_number("KIVI_TEST_SEED", 1);
    for (round, protocol) in ["2", "3"].into_iter().enumerate() {
        let mut kivi = Server::kivi(&["--enable-debug-command", "yes", "--appendonly", "yes"]);
        let (mut ours, mut theirs) = (App::new(&kivi), App::new(real));
        for client in [&mut ours.client, &mut theirs.client] {
            client.cmd(&["FLUSHALL"]);
            client.cmd(&["HELLO", protocol]);
            client.cmd(&["FUNCTION", "FLUSH"]);
            client.cmd(&["FUNCTION", "LOAD", LIBRARY]);
            client.cmd(&["FUNCTION", "LOAD", COUNTER]);
        }
        let mut calls = calls::Calls::new(Rng::new(seed + round as u64));
        for _ in 0..steps {
            let request = calls.next(|name, keys, args| ours.request(name, keys, args));
            let (mine, its) = (ours.client.raw(&request), theirs.client.raw(&request));
            // The same errors have other words there.
            let is_loose = real.name != "valkey" && mine.starts_with(b"-") && its.starts_with(b"-");
            assert!(
                mine == its || is_loose,
                "{}\n  kivi: {mine:?}\n  {}: {its:?}",
                show_command(&request),
                real.name
            );
            calls.learn(&ours_reply(&mine));
        }
        let digest = |client: &mut Client| client.raw(&["DEBUG", "DIGEST"]);
        assert_eq!(
            digest(&mut ours.client),
            digest(&mut theirs.client),
            "the keys are the same"
        );
        assert_log_has_all(&mut ours.client);
        kivi.assert_alive();
    }
}

/// Whether repeating the log makes the same keys.
fn assert_log_has_all(client: &mut Client) {
    let keys = client.keys();
    let dump = |client: &mut Client| -> Vec<(String, String)> {
        let value = |key: &String| {
            let dump = client.cmd(&["DEBUG", "DIGEST-VALUE", key]);
            (key.clone(), format!("{dump:?}"))
        };
        keys.iter().map(value).collect()
    };
    let (before, size) = (dump(client), client.cmd(&["DBSIZE"]).int());
    assert_eq!(client.raw(&["DEBUG", "LOADAOF"]), b"+OK\r\n");
    for (before, after) in before.iter().zip(&dump(client)) {
        assert_eq!(before, after, "the log has another value");
    }
    assert_eq!(
        client.cmd(&["DBSIZE"]).int(),
        size,
        "the log has other keys"
    );
}

fn ours_reply(raw: &[u8]) -> Reply {
    crate::client::parse(raw).expect("a whole reply").0
}

// --- several clients --------------------------------------------------------------------------------

/// Runs the same for several clients, with one, four, and eight threads.
fn with_clients(work: impl Fn(usize, &mut App) + Sync, check: impl Fn(&mut App)) {
    for threads in ["1", "4", "8"] {
        let debug = ["--enable-debug-command", "yes"];
        let args = ["--io-threads", threads, "--appendonly", "yes"];
        let mut kivi = Server::kivi(&[&debug[..], &args[..]].concat());
        std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (work, kivi) = (&work, &kivi);
                scope.spawn(move || work(number, &mut App::new(kivi)));
            }
        });
        let mut app = App::new(&kivi);
        check(&mut app);
        let digest = app.client.raw(&["DEBUG", "DIGEST"]);
        assert_eq!(app.client.raw(&["DEBUG", "LOADAOF"]), b"+OK\r\n");
        assert_eq!(
            app.client.raw(&["DEBUG", "DIGEST"]),
            digest,
            "what the log has"
        );
        kivi.assert_alive();
    }
}

fn rounds() -> usize {
    env_number("KIVI_TEST_STEPS", 300_000).div_ceil(1_000) as usize
}

#[test]
fn a_lock_lets_in_one_at_a_time() {
    let rounds = rounds() / 10;
    with_clients(
        |number, app| {
            let token = format!("client {number}");
            let mut done = 0;
            while done < rounds {
                if app.run("lock", &["lock"], &[&token, "60000"]).int() == 0 {
                    continue;
                }
                let count = match app.client.cmd(&["GET", "inside"]) {
                    Reply::Nil => 0,
                    count => count.text().parse::<u64>().expect("a number"),
                };
                assert_eq!(app.run("unlock", &["lock"], &["another"]).int(), 0);
                app.client.cmd(&["SET", "inside", &(count + 1).to_string()]);
                assert_eq!(app.run("renew", &["lock"], &[&token, "60000"]).int(), 1);
                assert_eq!(app.run("unlock", &["lock"], &[&token]).int(), 1);
                done += 1;
            }
        },
        |app| {
            let count = app.client.cmd(&["GET", "inside"]).text();
            assert_eq!(count, (rounds * CLIENTS).to_string());
        },
    );
}

#[test]
fn a_limit_is_kept_by_all_together() {
    let rounds = rounds();
    with_clients(
        |number, app| {
            for round in 0..rounds {
                let limit = (rounds * 2).to_string();
                let reply = app.run("limit_window", &["window"], &[&limit, "600000"]);
                if reply.items()[0].int() == 1 {
                    app.client.cmd(&["INCR", "allowed"]);
                }
                let request = format!("{number}.{round}");
                let args = [&limit, "600000", "1000", &request];
                let reply = app.run("limit_sliding", &["sliding"], &args);
                if reply.items()[0].int() == 1 {
                    app.client.cmd(&["INCR", "allowed"]);
                }
                let held = app.run("semaphore", &["permits"], &[&request, "5", "1000", "100"]);
                if held != Reply::Nil {
                    app.client.cmd(&["INCR", "held"]);
                }
            }
        },
        |app| {
            let allowed = app.client.cmd(&["GET", "allowed"]).text();
            assert_eq!(allowed, (4 * rounds).to_string());
            assert_eq!(app.client.cmd(&["GET", "held"]).text(), "5");
            let sliding = app.client.cmd(&["ZCARD", "sliding"]).int();
            assert_eq!(sliding as usize, 2 * rounds);
        },
    );
}

const QUEUE: [&str; 9] = [
    "q:wait",
    "q:delayed",
    "q:prioritized",
    "q:id",
    "q:events",
    "q:counter",
    "q:active",
    "q:completed",
    "q:failed",
];

fn add_job(app: &mut App, rng: &mut Rng, data: &str) {
    let [wait, delayed, prioritized, id, events, counter, ..] = QUEUE;
    let delay = ["0", "0", "5"][rng.below(3)];
    let priority = ["0", "0", "1", "9"][rng.below(4)];
    let order = *rng.pick(&["fifo", "lifo"]);
    let args = ["q", "work", data, "2000", delay, priority, order];
    let keys = [wait, delayed, prioritized, id, events, counter];
    let added = app.run("queue_add", &keys, &args);
    assert!(added.text().parse::<u64>().is_ok(), "{added:?}");
}

/// Works on a job, if there is one; its data if it was completed.
fn work_on_job(app: &mut App, rng: &mut Rng, token: &str, now: &str) -> Option<String> {
    let [
        wait,
        delayed,
        prioritized,
        _,
        events,
        _,
        active,
        completed,
        failed,
    ] = QUEUE;
    let keys = [wait, active, prioritized, delayed, events];
    let taken = app.run("queue_take", &keys, &["q", now, token, "600000"]);
    let id = match &taken.items()[1] {
        Reply::Int(_) => return None,
        id => id.text(),
    };
    let data = taken.items()[0].items()[1].text();
    // One in four fails, and is tried again.
    let outcome = if rng.below(4) == 0 {
        "failed"
    } else {
        "completed"
    };
    let keys = [active, completed, failed, delayed, events];
    let other = [
        "q", &id, "another", now, "result", outcome, "1000", "0", "1000000",
    ];
    assert_eq!(app.run("queue_finish", &keys, &other).int(), -2);
    let args = [
        "q", &id, token, now, "result", outcome, "1000", "0", "1000000",
    ];
    assert_eq!(app.run("queue_finish", &keys, &args).int(), 0);
    assert_eq!(app.run("queue_finish", &keys, &args).int(), -2);
    (outcome == "completed").then_some(data)
}

#[test]
fn every_job_is_done_once() {
    let rounds = rounds() / 3;
    with_clients(
        |number, app| {
            let mut rng = Rng::new(number as u64);
            let token = format!("worker {number}");
            for round in 0..rounds {
                add_job(app, &mut rng, &format!("{number}.{round}"));
                if let Some(data) = work_on_job(app, &mut rng, &token, "2000") {
                    assert_eq!(app.client.cmd(&["SADD", "done", &data]).int(), 1, "{data}");
                }
            }
            // Now those that were delayed are due. Who finds nothing is done: what is left is in the hands
            // of others.
            app.client.cmd(&["INCR", "added"]);
            eventually("all jobs to be added", || {
                let added = app.client.cmd(&["GET", "added"]).text();
                (added == CLIENTS.to_string()).then_some(())
            });
            let counts = ["q:wait", "q:prioritized", "q:delayed"];
            loop {
                if let Some(data) = work_on_job(app, &mut rng, &token, "3000") {
                    assert_eq!(app.client.cmd(&["SADD", "done", &data]).int(), 1, "{data}");
                    continue;
                }
                let left = app.run("queue_counts", &counts, &[]);
                if left.items().iter().all(|count| count.int() == 0) {
                    break;
                }
            }
        },
        |app| {
            let all = (rounds * CLIENTS) as i64;
            let keys = [
                "q:wait",
                "q:delayed",
                "q:prioritized",
                "q:active",
                "q:failed",
                "q:completed",
            ];
            let counts = app.run("queue_counts", &keys, &[]);
            let counts: Vec<i64> = counts.items().iter().map(Reply::int).collect();
            assert_eq!(counts, [0, 0, 0, 0, 0, all]);
            assert_eq!(app.client.cmd(&["SCARD", "done"]).int(), all);
            let events = app.client.cmd(&["XLEN", "q:events"]).int();
            assert!(events >= 1000.min(3 * all), "{events} events");
        },
    );
}

#[test]
fn a_scheduled_job_is_popped_by_one() {
    let rounds = rounds();
    with_clients(
        |number, app| {
            let mut mine = Vec::new();
            for round in 0..rounds {
                let (job, at) = (format!("{number}.{round}"), (round % 100).to_string());
                app.client.cmd(&["ZADD", "schedule", &at, &job]);
                if let Reply::Bulk(job) = app.run("zpop", &["schedule"], &[&at]) {
                    mine.push(String::from_utf8(job).expect("text"));
                }
            }
            while let Reply::Bulk(job) = app.run("zpop", &["schedule"], &["1000"]) {
                mine.push(String::from_utf8(job).expect("text"));
            }
            let name = format!("queue {number}");
            for some in mine.chunks(50) {
                let args: Vec<&str> = std::iter::once(&name).chain(some).map(|it| &**it).collect();
                app.run("push_batch", &[&name, "queues"], &args);
            }
        },
        |app| {
            let mut seen = HashSet::new();
            for queue in app.client.cmd(&["SMEMBERS", "queues"]).items() {
                for job in app
                    .client
                    .cmd(&["LRANGE", &queue.text(), "0", "-1"])
                    .items()
                {
                    assert!(seen.insert(job.text()), "{job:?} was popped twice");
                }
            }
            assert_eq!(seen.len(), rounds * CLIENTS);
        },
    );
}

const ACCOUNTS: usize = 12;

#[test]
fn money_is_neither_made_nor_lost() {
    let rounds = rounds();
    let names: Vec<String> = (0..ACCOUNTS).map(|i| format!("account:{i}")).collect();
    let all: Vec<&str> = names.iter().map(|name| &**name).collect();
    let is_open = AtomicBool::new(false);
    let total = (ACCOUNTS * 100) as i64;
    with_clients(
        |number, app| {
            let mut rng = Rng::new(number as u64);
            // The first to come opens the accounts.
            if app.client.cmd(&["SET", "opens", "1", "NX"]) != Reply::Nil {
                let mut mset = vec!["MSET"];
                mset.extend(all.iter().flat_map(|&name| [name, "100"]));
                app.client.cmd(&mset);
                app.client.cmd(&["FUNCTION", "LOAD", "REPLACE", LIBRARY]);
                is_open.store(true, Ordering::SeqCst);
            }
            eventually("the accounts to be opened", || {
                is_open.load(Ordering::SeqCst).then_some(())
            });
            for _ in 0..rounds {
                let (from, to) = (*rng.pick(&all), *rng.pick(&all));
                let amount = (1 + rng.below(30)).to_string();
                match rng.below(6) {
                    0 => {
                        let sum = app.run("audit", &all, &[]);
                        assert_eq!(sum.int(), total, "declared keys");
                    }
                    1 => {
                        let count = ACCOUNTS.to_string();
                        let sum = app.run("audit_any", &[], &["account:", &count]);
                        assert_eq!(sum.int(), total, "undeclared keys");
                    }
                    2 => {
                        let mut mget = vec!["MGET"];
                        mget.extend(&all);
                        let values = app.client.cmd(&mget);
                        let values = values.items().iter();
                        let sum: i64 = values
                            .map(|it| it.text().parse::<i64>().expect("a number"))
                            .sum();
                        assert_eq!(sum, total, "MGET");
                    }
                    3 => {
                        let fcall = ["FCALL", "transfer", "2", from, to, &amount];
                        assert_transferred(app.client.cmd(&fcall));
                    }
                    _ => assert_transferred(app.run("transfer", &[from, to], &[&amount])),
                }
            }
        },
        |app| {
            assert_eq!(app.run("audit", &all, &[]).int(), total);
            is_open.store(false, Ordering::SeqCst);
        },
    );
}

/// It was, or there was not enough.
fn assert_transferred(reply: Reply) {
    match &reply {
        Reply::Int(_) => {}
        Reply::Error(text) if text.starts_with(b"POOR ") => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn functions_that_count_count_for_all_clients() {
    let rounds = rounds();
    with_clients(
        |number, app| {
            if number == 0 {
                app.client.cmd(&["FUNCTION", "LOAD", COUNTER]);
            }
            let ticket = ["FCALL", "ticket", "0"];
            while app.client.cmd(&ticket).is_error() {}
            app.client.cmd(&["INCR", "tickets"]);
            for _ in 1..rounds {
                let ticket = app.client.cmd(&ticket).int().to_string();
                assert_eq!(
                    app.client.cmd(&["SADD", "drawn", &ticket]).int(),
                    1,
                    "{ticket}"
                );
            }
        },
        |app| {
            let last = app.client.cmd(&["FCALL", "ticket", "0"]).int();
            assert_eq!(last as usize, rounds * CLIENTS + 1);
            let drawn = app.client.cmd(&["SCARD", "drawn"]).int() as usize;
            assert_eq!(drawn, (rounds - 1) * CLIENTS);
        },
    );
}
