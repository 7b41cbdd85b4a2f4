//! Linearizability: what many clients see is what one server would have shown them that carries out
//! one request after the other, each at some moment between its sending and its reply.
//!
//! Clients send random requests for the same few keys, alone, in batches, in transactions, behind
//! WATCH, in scripts and waiting for elements; `checker` looks for the order in which they
//! can have happened, with the sequential Redis of `spec`. Each *episode* has keys of its own and is
//! small, so that the search is; there are many of them, in turn about each of the themes in
//! `generate`. That the checker notices what is wrong is tested with servers that are broken on
//! purpose (`proxy`).
//!
//! Environment: `KIVI_TEST_EPISODES` (default 120, of each test), `KIVI_TEST_SEED` for a single one.

mod checker;
mod generate;
mod proxy;
mod record;
mod spec;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::client::Client;
use crate::harness::{Server, StopAtEnd, env_number, is_stand_in};
use crate::store::{ALWAYS, EVERY_SECOND, Store, bgrewriteaof, bgsave};
use checker::Verdict;
use proxy::{FAULTS, Fault, Proxy};
use record::{Episode, Size, USUAL};

/// The numbers of the episodes of a test.
fn episodes() -> Range<u64> {
    match env_number("KIVI_TEST_SEED", 0) {
        0 => 1..env_number("KIVI_TEST_EPISODES", 120) + 1,
        seed => seed..seed + 1,
    }
}

/// Counts what could not be decided, and panics with what is wrong.
#[derive(Default)]
struct Judge {
    episodes: u64,
    unknown: u64,
}

impl Judge {
    fn judge(&mut self, episode: &Episode) {
        self.episodes += 1;
        match episode.verdict() {
            Verdict::Linearizable => {}
            Verdict::Refused(why) => panic!("not linearizable: {why}"),
            Verdict::Unknown => self.unknown += 1,
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        if !thread::panicking() {
            let Judge { episodes, unknown } = self;
            assert!(
                *unknown * 20 <= *episodes,
                "{unknown} of {episodes} undecided"
            );
        }
    }
}

fn run_episodes(connect: &(dyn Fn() -> Client + Sync), seeds: Range<u64>) {
    let mut judge = Judge::default();
    for seed in seeds {
        let mut episode = Episode::new(seed, USUAL);
        episode.run(connect, || {});
        judge.judge(&episode);
    }
}

#[test]
fn everything_happens_in_one_order() {
    for threads in ["1", "4"] {
        let mut server = Server::kivi(&["--io-threads", threads]);
        run_episodes(&|| server.connect(), episodes());
        server.assert_alive();
    }
}

#[test]
fn what_is_saved_meanwhile_changes_nothing() {
    let store = Store::kivi();
    let server = store.start(&[EVERY_SECOND, &["--io-threads", "4"]].concat());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.connect();
            while !done.load(Ordering::Relaxed) {
                bgsave(&mut client);
                bgrewriteaof(&mut client);
            }
        });
        let _stop = StopAtEnd(&done);
        run_episodes(&|| server.connect(), episodes());
    });
}

#[test]
fn what_was_confirmed_outlasts_a_kill() {
    if is_stand_in() {
        return;
    }
    let mut judge = Judge::default();
    for seed in episodes().step_by(11) {
        let store = Store::kivi();
        let size = Size {
            batches: 24,
            ..USUAL
        };
        let args = [ALWAYS, &["--io-threads", "4"]].concat();
        let mut episode = Episode::new(seed, size);
        let server = store.start(&args);
        let port = server.port;
        // kill -9, in the middle of it.
        let connect = || Client::tcp(("127.0.0.1", port)).expect("connecting");
        episode.run(&connect, || drop(server));
        let server = store.start(&args);
        episode.run(&|| server.connect(), || {});
        judge.judge(&episode);
    }
}

#[test]
fn a_broken_server_is_noticed() {
    let server = Server::kivi(&["--io-threads", "2"]);
    let sound = Proxy::new(server.port, Fault::None);
    run_episodes(&|| sound.connect(), 1..17);
    for fault in FAULTS {
        let proxy = Proxy::new(server.port, *fault);
        let seeds = (1000 * (1 + *fault as u64)..).take(400);
        let noticed = seeds.into_iter().find(|seed| {
            let mut episode = Episode::new(*seed, USUAL);
            episode.run(&|| proxy.connect(), || {});
            matches!(episode.verdict(), Verdict::Refused(_))
        });
        let seed = noticed.unwrap_or_else(|| panic!("{fault:?} was not noticed"));
        eprintln!("{fault:?} was noticed in episode {seed}");
    }
}

/// Other servers are linearizable too, by the same measure: what is refused is no rule of ours.
#[test]
fn peers_pass_as_well() {
    for server in [Server::valkey(&[]), Server::redis_8(&[])]
        .into_iter()
        .flatten()
    {
        run_episodes(&|| server.connect(), 1..25);
    }
}
