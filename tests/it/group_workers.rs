//! Workers of a consumer group who die at any moment, and others who claim what they have left behind.
//!
//! A producer adds numbered jobs; workers read them as consumers of one group, claim what has been idle
//! for some milliseconds (XAUTOCLAIM, XPENDING and XCLAIM), look again at what they had before they
//! died (history), and acknowledge. Any request may be a worker's last, whether it reads the reply or
//! not. In one test the server is killed with them, again and again, its log synced before each reply.
//!
//! What is promised is checked as it happens:
//! - a request sent after the reply to a job's XACK brings that job to nobody;
//! - `>` brings a job to one consumer, once, and to each consumer in ascending order;
//! - at the end every job has been worked on, and nothing is pending;
//! - a server that comes back knows every job that was added, and all that was delivered is pending
//!   unless somebody has begun to acknowledge it; what was acknowledged is not.
//!
//! All of it holds for Valkey as well, which proves the test.
//! Environment: `KIVI_TEST_JOBS` (default 3000), `KIVI_TEST_SEED`.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use crate::client::{Client, Reply, encode};
use crate::generate::Rng;
use crate::harness::{Launch, Server, env_number, eventually, oracle};
use crate::store::{ALWAYS, Store};

const WORKERS: usize = 8;
/// Consumers come back under names of earlier ones.
const NAMES: usize = 20;
/// Since when a job must have been idle to be claimed.
const IDLE_MS: &str = "5";

#[test]
fn workers_die_and_others_claim_with_one_thread() {
    uninterrupted("kivi", &["--io-threads", "1"]);
}

#[test]
fn workers_die_and_others_claim_with_four_threads() {
    uninterrupted("kivi", &["--io-threads", "4"]);
}

#[test]
fn workers_die_and_others_claim_with_eight_threads() {
    uninterrupted("kivi", &["--io-threads", "8"]);
}

#[test]
fn workers_die_and_others_claim_on_valkey() {
    if oracle().is_some() {
        uninterrupted("valkey", &[]);
    }
}

#[test]
fn the_server_dies_with_the_workers() {
    for threads in ["1", "4"] {
        interrupted(Store::kivi(), &["--io-threads", threads]);
    }
}

#[test]
fn valkey_dies_with_the_workers() {
    if let Some(store) = Store::of("valkey") {
        interrupted(store, &[]);
    }
}

/// One server from the beginning to the end.
fn uninterrupted(name: &'static str, args: &[&str]) {
    let mut server = Launch {
        name,
        args,
        ..Launch::KIVI
    }
    .start();
    let site = Site::new(false);
    site.found(&server);
    thread::scope(|scope| {
        site.open(server.port);
        let _closing = Closing(&site);
        site.staff(scope);
        site.until_done(&server);
    });
    site.check_done(&server);
    server.assert_alive();
}

/// A server that is killed four times in between.
fn interrupted(store: Store, args: &[&str]) {
    let args: Vec<&str> = ALWAYS.iter().chain(args).copied().collect();
    let first = store.start(&args);
    let site = Site::new(true);
    site.found(&first);
    let kills = 4;
    let last = thread::scope(|scope| {
        let mut server = first;
        let _closing = Closing(&site);
        site.staff(scope);
        for kill in 1..=kills {
            site.open(server.port);
            let share = site.jobs.len() * kill / (kills + 1);
            eventually("the next share of the jobs to be done", || {
                (site.acked.load(Ordering::Relaxed) >= share).then_some(())
            });
            site.shut();
            drop(server);
            server = store.start(&args);
            site.check_survivors(&server);
        }
        site.open(server.port);
        site.until_done(&server);
        server
    });
    site.check_done(&last);
}

/// What is known of a job from what the server has replied.
#[derive(Default)]
struct Job {
    added: AtomicBool,
    /// How often `>` has brought it.
    fresh: AtomicU32,
    /// Somebody has had it.
    seen: AtomicBool,
    /// And the server has promised to remember that.
    delivered: AtomicBool,
    /// Somebody has begun to acknowledge it.
    leaving: AtomicBool,
    /// The moment when the reply to an XACK of it had come; 0 for never.
    acked_at: AtomicU64,
}

/// The jobs, the moments, and the server of this moment.
struct Site {
    jobs: Vec<Job>,
    clock: AtomicU64,
    /// Jobs that replies to XACK have counted, and those whose replies nobody has read.
    acked: AtomicUsize,
    unread: AtomicUsize,
    /// Where the server listens, while it does.
    port: Mutex<Option<u16>>,
    port_changed: Condvar,
    done: AtomicBool,
    /// Whether the server may go away.
    may_break: bool,
}

/// Sends the workers home, whatever happens, since a scope waits for them.
struct Closing<'a>(&'a Site);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Release);
        self.0.port_changed.notify_all();
    }
}

impl Site {
    fn new(may_break: bool) -> Site {
        let count = env_number("KIVI_TEST_JOBS", 3000);
        Site {
            jobs: (0..count).map(|_| Job::default()).collect(),
            clock: AtomicU64::new(1),
            acked: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            port: Mutex::new(None),
            port_changed: Condvar::new(),
            done: AtomicBool::new(false),
            may_break,
        }
    }

    fn found(&self, server: &Server) {
        let mut client = server.connect();
        client.cmd(&["FLUSHALL"]);
        let made = client.raw(&["XGROUP", "CREATE", "jobs", "crew", "0", "MKSTREAM"]);
        assert_eq!(made, b"+OK\r\n");
    }

    fn open(&self, port: u16) {
        *self.port.lock().unwrap_or_else(PoisonError::into_inner) = Some(port);
        self.port_changed.notify_all();
    }

    fn shut(&self) {
        *self.port.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// A connection, once there is a server; `None` when the work is done.
    fn connect(&self) -> Option<Client> {
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.is_done() {
            if let Some(port) = *port
                && let Ok(client) = Client::tcp(("127.0.0.1", port))
            {
                return Some(client);
            }
            let waited = self
                .port_changed
                .wait_timeout(port, std::time::Duration::from_millis(20));
            port = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    /// The producer and the workers.
    fn staff<'a>(&'a self, scope: &'a thread::Scope<'a, '_>) {
        scope.spawn(|| self.live(Site::produce));
        for number in 0..WORKERS {
            let seed = env_number("KIVI_TEST_SEED", 1) * 1000 + number as u64;
            let rng = Mutex::new(Rng::new(seed));
            scope.spawn(move || {
                self.live(|site, client| {
                    let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
                    Worker::new(site, client, &mut rng).work()
                });
            });
        }
    }

    /// One life after the other. A connection may only break when the server may.
    fn live(&self, life: impl Fn(&Site, Client) -> io::Result<()>) {
        while let Some(client) = self.connect() {
            if let Err(error) = life(self, client)
                && !self.may_break
            {
                panic!("the connection broke: {error}");
            }
        }
    }

    /// Adds what is not there yet, some jobs at a time. An id that is taken was added in an earlier
    /// life, whose reply got lost.
    fn produce(&self, mut client: Client) -> io::Result<()> {
        let missing: Vec<usize> = (0..self.jobs.len())
            .filter(|job| !self.jobs[*job].added.load(Ordering::Acquire))
            .collect();
        for batch in missing.chunks(7) {
            let requests = batch.iter().flat_map(|job| {
                let (id, text) = (id_of(*job), job.to_string());
                encode(&["XADD", "jobs", &id, "job", &text, "kind", "test"])
            });
            client.try_send(&requests.collect::<Vec<u8>>())?;
            for job in batch {
                match client.try_read()?.1 {
                    Reply::Bulk(id) => assert_eq!(id, id_of(*job).as_bytes()),
                    Reply::Error(text) => assert!(
                        self.may_break
                            && text.ends_with(b"smaller than the target stream top item"),
                        "{}",
                        text.escape_ascii()
                    ),
                    other => panic!("XADD: {other:?}"),
                }
                self.jobs[*job].added.store(true, Ordering::Release);
            }
        }
        // Stays until the server is gone or all is done.
        while !self.is_done() {
            client.try_raw(&["PING"])?;
            thread::yield_now();
        }
        Ok(())
    }

    /// Waits until nothing is left to do.
    fn until_done(&self, server: &Server) {
        let mut client = server.connect();
        let last = id_of(self.jobs.len() - 1);
        eventually("all jobs to be done", || {
            let group = group_of(&mut client);
            let pending = field(&group, "pending").int();
            let is_last = field(&group, "last-delivered-id").text() == last;
            (pending == 0 && is_last).then_some(())
        });
    }

    fn check_done(&self, server: &Server) {
        for (number, job) in self.jobs.iter().enumerate() {
            assert!(job.seen.load(Ordering::Acquire), "job {number} is lost");
        }
        // Every XACK that counted a job was the only one that did.
        let (acked, unread) = (
            self.acked.load(Ordering::Relaxed),
            self.unread.load(Ordering::Relaxed),
        );
        let count = self.jobs.len();
        assert!(
            (acked..=acked + unread).contains(&count),
            "{count} jobs, {acked} were acknowledged, {unread} perhaps"
        );
        let mut client = server.connect();
        let pending = client.raw(&["XPENDING", "jobs", "crew"]);
        assert_eq!(pending, b"*4\r\n:0\r\n$-1\r\n$-1\r\n*-1\r\n");
        let consumers = client.cmd(&["XINFO", "CONSUMERS", "jobs", "crew"]);
        for consumer in consumers.items() {
            assert_eq!(field(consumer, "pending"), Reply::Int(0), "{consumer:?}");
        }
        let group = group_of(&mut client);
        let (read, lag) = (field(&group, "entries-read"), field(&group, "lag"));
        assert_eq!((read, lag), (Reply::Int(count as i64), Reply::Int(0)));
    }

    /// What must have outlived the server.
    fn check_survivors(&self, server: &Server) {
        let mut client = server.connect();
        let entries = client.cmd(&["XRANGE", "jobs", "-", "+"]);
        let entries: HashSet<usize> = entries.items().iter().map(job_of).collect();
        let count = self.jobs.len().to_string();
        let pending = client.cmd(&["XPENDING", "jobs", "crew", "-", "+", &count]);
        let pending: HashSet<usize> = pending.items().iter().map(job_of).collect();
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        for (number, job) in self.jobs.iter().enumerate() {
            let acked = job.acked_at.load(Ordering::Acquire) > 0;
            assert!(
                !is(&job.added) || entries.contains(&number),
                "job {number} is lost"
            );
            assert!(
                !acked || !pending.contains(&number),
                "the XACK of {number} is lost"
            );
            let mine = is(&job.delivered) && !is(&job.leaving);
            assert!(
                !mine || pending.contains(&number),
                "job {number} is nobody's"
            );
        }
    }
}

/// The id of a job.
fn id_of(job: usize) -> String {
    format!("{}-1", job + 1)
}

/// The job of an entry, or of a line of XPENDING: both begin with the id.
fn job_of(entry: &Reply) -> usize {
    let id = entry.items()[0].text();
    let ms = id.strip_suffix("-1").expect("ids end with -1");
    ms.parse::<usize>().expect("a number") - 1
}

/// The reply of XINFO GROUPS for the only group.
fn group_of(client: &mut Client) -> Reply {
    client.cmd(&["XINFO", "GROUPS", "jobs"]).items()[0].clone()
}

/// A field of one of XINFO's maps.
fn field(map: &Reply, name: &str) -> Reply {
    let mut pairs = map.items().chunks(2);
    let pair = pairs.find(|pair| pair[0].text() == name);
    pair.unwrap_or_else(|| panic!("no {name} in {map:?}"))[1].clone()
}

/// One life of a worker.
struct Worker<'a> {
    site: &'a Site,
    client: Client,
    rng: &'a mut Rng,
    name: String,
    /// The last job that `>` has brought in this life.
    newest: Option<usize>,
    cursor: String,
}

/// What a request brings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Brings {
    Fresh,
    History,
    Claimed,
}

impl<'a> Worker<'a> {
    fn new(site: &'a Site, client: Client, rng: &'a mut Rng) -> Worker<'a> {
        let name = format!("worker{}", rng.below(NAMES));
        Worker {
            site,
            client,
            rng,
            name,
            newest: None,
            cursor: "0-0".to_owned(),
        }
    }

    /// Works until it dies or is sent home; the caller then closes the connection.
    fn work(mut self) -> io::Result<()> {
        while !self.site.is_done() {
            let Some(jobs) = self.get()? else {
                return Ok(());
            };
            // Dies with jobs in its hands.
            if self.rng.chance(4) || !self.acknowledge(&jobs)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends a request and reads the reply; `None`: it died in between.
    fn ask(&mut self, words: &[&str]) -> io::Result<Option<Reply>> {
        self.client.try_send(&encode(words))?;
        if self.rng.chance(2) {
            return Ok(None);
        }
        let reply = self.client.try_read()?.1;
        assert!(!reply.is_error(), "{words:?}: {reply:?}");
        Ok(Some(reply))
    }

    /// Some jobs; `None`: it died.
    fn get(&mut self) -> io::Result<Option<Vec<usize>>> {
        let begin = self.site.clock.fetch_add(1, Ordering::SeqCst);
        let count = (1 + self.rng.below(10)).to_string();
        let name = self.name.clone();
        let (brings, jobs) = match self.rng.below(20) {
            0..=11 => {
                let wait = ["1", "5", "50"][self.rng.below(3)];
                let words = ["XREADGROUP", "GROUP", "crew", &name, "COUNT", &count];
                let rest = ["BLOCK", wait, "STREAMS", "jobs", ">"];
                (Brings::Fresh, self.ask(&[&words[..], &rest].concat())?)
            }
            12..=13 => {
                let words = ["XREADGROUP", "GROUP", "crew", &name, "COUNT", &count];
                let rest = ["STREAMS", "jobs", "0"];
                (Brings::History, self.ask(&[&words[..], &rest].concat())?)
            }
            14..=16 => (Brings::Claimed, self.claim_by_cursor(&count)?),
            _ => (Brings::Claimed, self.claim_by_id(&count)?),
        };
        let Some(reply) = jobs else { return Ok(None) };
        let entries = match (&reply, brings) {
            (Reply::Nil, _) => return Ok(Some(Vec::new())),
            (_, Brings::Claimed) => reply.items(),
            // One stream: its name and the entries.
            _ => reply.items()[0].items()[1].items(),
        };
        let jobs: Vec<usize> = entries.iter().map(job_of).collect();
        self.receive(&jobs, brings, begin);
        Ok(Some(jobs))
    }

    fn claim_by_cursor(&mut self, count: &str) -> io::Result<Option<Reply>> {
        let (name, cursor) = (self.name.clone(), self.cursor.clone());
        let words = ["XAUTOCLAIM", "jobs", "crew", &name, IDLE_MS, &cursor];
        let Some(reply) = self.ask(&[&words[..], &["COUNT", count]].concat())? else {
            return Ok(None);
        };
        let [cursor, entries, deleted] = reply.items() else {
            panic!("XAUTOCLAIM: {reply:?}");
        };
        assert!(deleted.items().is_empty(), "nothing is deleted: {reply:?}");
        self.cursor = cursor.text();
        Ok(Some(entries.clone()))
    }

    fn claim_by_id(&mut self, count: &str) -> io::Result<Option<Reply>> {
        let words = ["XPENDING", "jobs", "crew", "IDLE", IDLE_MS, "-", "+", count];
        let Some(reply) = self.ask(&words)? else {
            return Ok(None);
        };
        let ids: Vec<String> = reply
            .items()
            .iter()
            .map(|line| line.items()[0].text())
            .collect();
        if ids.is_empty() {
            return Ok(Some(reply));
        }
        let name = self.name.clone();
        let ids = ids.iter().map(String::as_str);
        let words: Vec<&str> = ["XCLAIM", "jobs", "crew", &name, IDLE_MS]
            .into_iter()
            .chain(ids)
            .collect();
        self.ask(&words)
    }

    /// Checks what a request has brought that was sent at `begin`.
    fn receive(&mut self, jobs: &[usize], brings: Brings, begin: u64) {
        for number in jobs {
            let job = &self.site.jobs[*number];
            let acked = job.acked_at.load(Ordering::SeqCst);
            assert!(
                acked == 0 || acked > begin,
                "{} gets job {number} at {begin}, which was acknowledged at {acked}",
                self.name
            );
            job.seen.store(true, Ordering::Release);
            // Who reads only may see what is not on the disk yet, and lost with the server.
            if brings != Brings::History || !self.site.may_break {
                job.delivered.store(true, Ordering::Release);
            }
            if brings == Brings::Fresh {
                let before = job.fresh.fetch_add(1, Ordering::Relaxed);
                assert_eq!(before, 0, "job {number} is new to a second consumer");
                assert!(
                    self.newest < Some(*number),
                    "job {number} after {:?}",
                    self.newest
                );
                self.newest = Some(*number);
            }
        }
    }

    /// Acknowledges jobs, all at once or one by one; false: it died.
    fn acknowledge(&mut self, jobs: &[usize]) -> io::Result<bool> {
        let at_once = if self.rng.chance(50) {
            jobs.len().max(1)
        } else {
            1
        };
        for some in jobs.chunks(at_once) {
            let ids: Vec<String> = some.iter().map(|job| id_of(*job)).collect();
            let ids = ids.iter().map(String::as_str);
            let words: Vec<&str> = ["XACK", "jobs", "crew"].into_iter().chain(ids).collect();
            for job in some {
                self.site.jobs[*job].leaving.store(true, Ordering::Release);
            }
            self.site.unread.fetch_add(some.len(), Ordering::Relaxed);
            let Some(reply) = self.ask(&words)? else {
                return Ok(false);
            };
            self.site.unread.fetch_sub(some.len(), Ordering::Relaxed);
            let counted = reply.int() as usize;
            assert!(counted <= some.len());
            self.site.acked.fetch_add(counted, Ordering::Relaxed);
            // One that had nothing to do has seen another's, which may be lost with the server.
            if counted < some.len() && self.site.may_break {
                continue;
            }
            let now = self.site.clock.fetch_add(1, Ordering::SeqCst);
            for job in some {
                let acked = &self.site.jobs[*job].acked_at;
                // The first reply is what counts.
                let _ = acked.compare_exchange(0, now, Ordering::SeqCst, Ordering::SeqCst);
            }
        }
        Ok(true)
    }
}
