//! kill -9 at random moments, and what is there afterwards.
//!
//! Several clients write at once. Client `i` numbers its writes 1, 2, 3, ... through the whole test;
//! write `n` goes to one of five keys of its own (a string, a list, a hash, a sorted set, a stream
//! with a group, whose entries are added, delivered, then acknowledged or claimed), so what a
//! restarted server holds of a client must be exactly the state after its first `n` writes, for one
//! `n` that is not below what was acknowledged and not above what was sent. A kill comes after a
//! random number of acknowledged writes, alone, or while the log is rewritten, while a snapshot is
//! saved, or while the data is loaded.
//!
//! Environment: `KIVI_TEST_CRASHES` kills with appendfsync always (default 100; the other tests do a
//! part of that), `KIVI_TEST_SEED` the random numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::client::{Client, Reply, encode};
use crate::generate::Rng;
use crate::harness::{Server, env_number, eventually, is_stand_in};
use crate::store::{
    ALWAYS, EVERY_SECOND, Store, await_loaded, await_rest, bgrewriteaof, bgsave, info,
};

/// How many writes each client has on its way at a time.
const DEPTHS: [u64; 5] = [1, 1, 2, 5, 16];
/// Keys that are always there, so that saving and rewriting take a moment.
const FILLING: u64 = 20_000;
/// Kinds of writes, which take turns.
const KINDS: u64 = 7;
/// Those to the stream; the last kind follows.
const ADD: u64 = 4;
const READ: u64 = 5;
/// Fields of the hash, members of the sorted set.
const NAMES: u64 = 50;

fn crashes() -> u64 {
    env_number("KIVI_TEST_CRASHES", 100)
}

fn rng() -> Rng {
    Rng::new(env_number("KIVI_TEST_SEED", 1))
}

/// What one client has sent and been told, over all lives of the server.
#[derive(Default)]
struct Account {
    sent: AtomicU64,
    acked: AtomicU64,
}

/// All clients' accounts.
struct Ledger {
    accounts: Vec<Account>,
}

impl Ledger {
    fn new() -> Ledger {
        let account = |_: &u64| Account::default();
        Ledger {
            accounts: DEPTHS.iter().map(account).collect(),
        }
    }

    fn acked(&self) -> u64 {
        let acked = |account: &Account| account.acked.load(Ordering::Acquire);
        self.accounts.iter().map(acked).sum()
    }

    /// Lets all clients write until the server is gone, while `until_killed` sees to that.
    fn write_while(&self, server: Server, until_killed: impl FnOnce(Server)) {
        thread::scope(|scope| {
            for (client, depth) in DEPTHS.iter().enumerate() {
                let connection = server.connect();
                scope.spawn(move || self.write(client, *depth, connection));
            }
            until_killed(server);
        });
    }

    /// One client: batches of `depth` writes until the connection ends.
    fn write(&self, client: usize, depth: u64, mut connection: Client) {
        let account = &self.accounts[client];
        let mut next = account.acked.load(Ordering::Relaxed) + 1;
        loop {
            let batch: Vec<u8> = (next..next + depth)
                .flat_map(|n| encode(&write(client, n)))
                .collect();
            account.sent.store(next + depth - 1, Ordering::Release);
            if connection.try_send(&batch).is_err() {
                return;
            }
            for n in next..next + depth {
                match connection.try_read() {
                    Ok((_, reply)) => assert!(!reply.is_error(), "write {n}: {reply:?}"),
                    Err(_) => return,
                }
                account.acked.store(n, Ordering::Release);
            }
            next += depth;
        }
    }

    /// Panics unless the server holds a state that these clients may find; takes it as acknowledged.
    fn check(&self, server: &Server, what: &str) {
        let mut connection = server.connect();
        for (client, account) in self.accounts.iter().enumerate() {
            let found = State::found(&mut connection, client);
            let there = found.last();
            let acked = account.acked.load(Ordering::Acquire);
            let sent = account.sent.load(Ordering::Acquire);
            assert!(
                (acked..=sent).contains(&there),
                "{what}: client {client} finds {there} writes, not {acked} to {sent}"
            );
            let expected = State::after(there);
            assert!(
                found == expected,
                "{what}: client {client} finds no state it has made; after {there} writes it is\n\
                 {expected:?}\nnot\n{found:?}"
            );
            account.sent.store(there, Ordering::Release);
            account.acked.store(there, Ordering::Release);
        }
        let filling = connection.cmd(&["EXISTS", "filling:0", "filling:19999"]);
        assert_eq!(filling, Reply::Int(2), "{what}: other keys");
    }
}

/// The command of a client's write `n`.
fn write(client: usize, n: u64) -> Vec<String> {
    let stream = format!("stream:{client}");
    let command = match n % KINDS {
        0 => format!("SET string:{client} {n}"),
        1 => format!("RPUSH list:{client} {n}"),
        2 => format!("HSET hash:{client} f{} {n}", n / KINDS % NAMES),
        3 => format!("ZADD zset:{client} {n} m{}", n / KINDS % NAMES),
        ADD => format!("XADD {stream} {n}-1 field {n}"),
        READ => format!("XREADGROUP GROUP g reader COUNT 1 STREAMS {stream} >"),
        // What the two before have added and read.
        _ if is_acked(n - 2) => format!("XACK {stream} g {}-1", n - 2),
        _ => format!("XCLAIM {stream} g claimer 0 {}-1", n - 2),
    };
    command.split(' ').map(String::from).collect()
}

/// Whether the entry that write `n` has added is acknowledged in the end.
fn is_acked(n: u64) -> bool {
    !(n / KINDS).is_multiple_of(3)
}

/// What a client's keys hold: the numbers of its writes.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    string: Option<u64>,
    list: Vec<u64>,
    /// By field.
    hash: Vec<(u64, u64)>,
    /// By member.
    zset: Vec<(u64, u64)>,
    /// Entries.
    stream: Vec<u64>,
    /// The last one that was delivered.
    delivered: u64,
    /// Those of them that are pending, and whether they were claimed.
    pending: Vec<(u64, bool)>,
}

impl State {
    /// The state after the first `count` writes.
    fn after(count: u64) -> State {
        let of = |kind: u64| (1..=count).filter(move |n| n % KINDS == kind);
        let newest = |kind: u64| {
            let mut pairs = std::collections::BTreeMap::new();
            for n in of(kind) {
                pairs.insert(n / KINDS % NAMES, n);
            }
            pairs.into_iter().collect()
        };
        State {
            string: of(0).next_back(),
            list: of(1).collect(),
            hash: newest(2),
            zset: newest(3),
            stream: of(ADD).collect(),
            delivered: of(READ).next_back().map_or(0, |n| n - 1),
            pending: of(READ)
                .map(|n| (n - 1, n < count))
                .filter(|(n, is_settled)| !is_settled || !is_acked(*n))
                .collect(),
        }
    }

    /// What a server holds.
    fn found(connection: &mut Client, client: usize) -> State {
        let number = |reply: &Reply| -> u64 { reply.text().parse().expect("a number") };
        let name = |reply: &Reply| -> u64 { reply.text()[1..].parse().expect("a name") };
        let mut pairs = |command: &str, key: String, more: &[&str]| -> Vec<(u64, u64)> {
            let argv = [&[command, &key], more].concat();
            let reply = connection.cmd(&argv);
            let pairs = reply.items().chunks(2);
            let mut pairs: Vec<(u64, u64)> = pairs.map(|p| (name(&p[0]), number(&p[1]))).collect();
            pairs.sort_unstable();
            pairs
        };
        let hash = pairs("HGETALL", format!("hash:{client}"), &[]);
        let zset = pairs(
            "ZRANGE",
            format!("zset:{client}"),
            &["0", "-1", "WITHSCORES"],
        );
        let string = match connection.cmd(&["GET", &format!("string:{client}")]) {
            Reply::Nil => None,
            reply => Some(number(&reply)),
        };
        let list = connection.cmd(&["LRANGE", &format!("list:{client}"), "0", "-1"]);
        State {
            string,
            list: list.items().iter().map(number).collect(),
            hash,
            zset,
            ..State::of_stream(connection, &format!("stream:{client}"))
        }
    }

    /// What a stream holds.
    fn of_stream(connection: &mut Client, key: &str) -> State {
        let id = |reply: &Reply| -> u64 {
            let id = reply.text();
            let number = id.strip_suffix("-1").unwrap_or("0");
            number.parse().expect("an id")
        };
        let entries = connection.cmd(&["XRANGE", key, "-", "+"]);
        let entry = |entry: &Reply| {
            let number = id(&entry.items()[0]);
            let fields = entry.items()[1].items();
            assert_eq!(fields[1].text(), number.to_string(), "{entry:?}");
            number
        };
        let groups = connection.cmd(&["XINFO", "GROUPS", key]);
        let group = groups.items()[0].items();
        let is_id = |reply: &Reply| *reply == Reply::Bulk(b"last-delivered-id".to_vec());
        let at = group.iter().position(is_id);
        let delivered = id(&group[at.expect("an id") + 1]);
        let pending = connection.cmd(&["XPENDING", key, "g", "-", "+", "1000000"]);
        let one = |pending: &Reply| {
            let parts = pending.items();
            (id(&parts[0]), parts[1].text() == "claimer")
        };
        State {
            stream: entries.items().iter().map(entry).collect(),
            delivered,
            pending: pending.items().iter().map(one).collect(),
            ..State::default()
        }
    }

    /// The newest write that shows.
    fn last(&self) -> u64 {
        let pairs = self.hash.iter().chain(&self.zset).map(|pair| pair.1);
        let others = self.string.iter().chain(&self.list).chain(&self.stream);
        let delivered = self.delivered + 1;
        let settled = match self.pending.last() {
            Some((newest, false)) if *newest == self.delivered => 0,
            _ => self.delivered + 2,
        };
        let of_group = [delivered, settled].into_iter().filter(|n| *n > 2);
        pairs
            .chain(others.copied())
            .chain(of_group)
            .max()
            .unwrap_or(0)
    }
}

/// Writes the keys that are always there, and makes the groups.
fn fill(server: &Server) {
    let mut client = server.connect();
    for of in 0..DEPTHS.len() {
        let create = format!("XGROUP CREATE stream:{of} g 0 MKSTREAM");
        let create: Vec<&str> = create.split(' ').collect();
        assert_eq!(client.cmd(&create), Reply::Status(b"OK".to_vec()));
    }
    let numbers: Vec<u64> = (0..FILLING).collect();
    for chunk in numbers.chunks(500) {
        let mut mset = vec![b"MSET".to_vec()];
        for number in chunk {
            mset.push(format!("filling:{number}").into_bytes());
            mset.push(vec![b'a' + (number % 26) as u8; 100]);
        }
        assert_eq!(client.cmd(&mset), Reply::Status(b"OK".to_vec()));
    }
}

/// What goes on when the kill comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Plain,
    Rewrite,
    Save,
    Both,
    Loading,
}

const MOMENTS: [Moment; 8] = [
    Moment::Plain,
    Moment::Rewrite,
    Moment::Save,
    Moment::Plain,
    Moment::Loading,
    Moment::Rewrite,
    Moment::Both,
    Moment::Rewrite,
];

impl Moment {
    /// Starts what is to be interrupted. Refusals (one job at a time) are fine.
    fn begin(self, client: &mut Client) {
        if matches!(self, Moment::Rewrite | Moment::Both) {
            client.cmd(&["BGREWRITEAOF"]);
        }
        if matches!(self, Moment::Save | Moment::Both) {
            client.cmd(&["BGSAVE", "SCHEDULE"]);
        }
    }
}

/// Waits until the clients have been told of so many more writes.
fn await_acks(ledger: &Ledger, more: u64) {
    let goal = ledger.acked() + more;
    eventually("more writes to be acknowledged", || {
        (ledger.acked() >= goal).then_some(())
    });
}

#[test]
fn always_loses_nothing_that_was_acknowledged() {
    loses_nothing_acknowledged(ALWAYS, crashes());
}

/// What the operating system has been given outlives the process: only a power failure may take it.
#[test]
fn everysec_loses_nothing_that_was_acknowledged() {
    loses_nothing_acknowledged(EVERY_SECOND, crashes().div_ceil(2));
}

fn loses_nothing_acknowledged(options: &[&str], crashes: u64) {
    let store = Store::kivi();
    let mut rng = rng();
    let ledger = Ledger::new();
    let mut server = store.start(options);
    fill(&server);
    for crash in 1..=crashes {
        let moment = *rng.pick(&MOMENTS);
        let what = format!("crash {crash}, {moment:?}");
        let before = rng.below(300) as u64;
        // Most rewrites of so few keys are over after some writes.
        let after = rng.below(if moment == Moment::Plain { 300 } else { 30 }) as u64;
        let mut control = server.connect();
        ledger.write_while(server, |server| {
            await_acks(&ledger, before);
            moment.begin(&mut control);
            await_acks(&ledger, after);
            if rng.chance(20) {
                await_rest(&mut control);
            }
            drop(server);
        });
        if moment == Moment::Loading {
            drop(store.start_loading(&[], options));
        }
        server = store.start(options);
        ledger.check(&server, &what);
        if store.path("dump.rdb").exists() {
            store.accepted("check-rdb", &store.path("dump.rdb"));
        }
        // Whoever comes later cuts a torn tail off, so none is left where a server has started.
        if crash % 10 == 0 {
            store.accepted("check-aof", &store.log_file("manifest"));
            assert_no_litter(&store);
        }
    }
    let mut client = server.connect();
    assert_eq!(bgrewriteaof(&mut client), "ok");
    assert_eq!(bgsave(&mut client), "ok");
    drop(server);
    let server = store.start(options);
    ledger.check(&server, "the end");
    assert_no_litter(&store);
}

/// Temporary files of what was interrupted do not pile up. (Real servers' do.)
fn assert_no_litter(store: &Store) {
    let mut names: Vec<String> = Vec::new();
    for folder in ["", "appendonlydir"] {
        let entries = std::fs::read_dir(store.path(folder)).expect("the folder");
        names.extend(entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into()));
    }
    names.retain(|name| name.starts_with("temp"));
    assert!(
        names.len() < 5 || is_stand_in(),
        "files of the dead pile up: {}",
        names.join(" ")
    );
}

#[test]
fn a_kill_during_bgsave_leaves_a_whole_snapshot() {
    let store = Store::kivi();
    let mut rng = rng();
    let mut server = store.start(&[]);
    let keys = 10_000usize;
    let mut in_file = 0u64;
    renew(&mut server.connect(), keys, 0, || false);
    assert_eq!(bgsave(&mut server.connect()), "ok");
    for generation in 1..=crashes().div_ceil(5) {
        // All keys are of one generation when the save begins; the next is written meanwhile.
        renew(&mut server.connect(), keys, generation, || false);
        let mut control = server.connect();
        let reply = control.cmd(&["BGSAVE"]);
        assert!(!reply.is_error(), "BGSAVE: {reply:?}");
        let (mut writer, writes) = (server.connect(), rng.below(12));
        let mut batches = 0;
        renew(&mut writer, keys, generation + 1, || {
            batches += 1;
            batches > writes
        });
        if rng.chance(25) {
            await_rest(&mut control);
            assert_eq!(info(&mut control, "rdb_last_bgsave_status"), "ok");
            in_file = generation;
        }
        drop(server);
        store.accepted("check-rdb", &store.path("dump.rdb"));
        server = store.start(&[]);
        await_loaded(&server);
        let found = the_generation(&mut server.connect(), keys);
        assert!(
            found == in_file || found == generation,
            "generation {found} is neither {in_file}, saved before, nor {generation}"
        );
        in_file = found;
    }
}

/// Gives all keys the value `generation`, in batches, until `stop` says so.
fn renew(client: &mut Client, keys: usize, generation: u64, mut stop: impl FnMut() -> bool) {
    let numbers: Vec<usize> = (0..keys).collect();
    for chunk in numbers.chunks(250) {
        if stop() {
            return;
        }
        let mut mset = vec!["MSET".to_owned()];
        for number in chunk {
            mset.extend([format!("key:{number}"), generation.to_string()]);
        }
        assert_eq!(client.cmd(&mset), Reply::Status(b"OK".to_vec()));
    }
}

/// The value that all keys have.
fn the_generation(client: &mut Client, keys: usize) -> u64 {
    assert_eq!(client.cmd(&["DBSIZE"]), Reply::Int(keys as i64));
    let mget: Vec<String> = std::iter::once("MGET".to_owned())
        .chain((0..keys).map(|number| format!("key:{number}")))
        .collect();
    let reply = client.cmd(&mget);
    let values = reply.items();
    let mixed = values.iter().find(|value| **value != values[0]);
    assert!(
        mixed.is_none(),
        "a snapshot of two moments: {:?} and {mixed:?}",
        values[0]
    );
    values[0].text().parse().expect("a number")
}
