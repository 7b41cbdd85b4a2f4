//! Clients that come, do anything, kill each other and go: at the end all is as it was.
//!
//! The soak draws sequences of everything that leaves a trace of a client in the server: watched and
//! tracked keys, queues of transactions, subscriptions, MONITOR, waits, settings, unfinished requests.
//! Connections end in every way in which they can: dropped with replies unread, closed by QUIT, killed
//! by others. What is read has to be well-formed, whatever it is. After each round everybody has gone,
//! the gauges of INFO are at rest, and the memory is where it was after the first.
//!
//! To add a feature: a snippet in `snippet`, its gauges in `GAUGES`.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::client::{Client, Reply, encode, is_close};
use crate::expiry::info_number;
use crate::generate::Rng;
use crate::harness::{Server, StopAtEnd, env_number, eventually};

/// What INFO says of clients and what they have asked for; all zero when nobody is there.
const GAUGES: [&str; 14] = [
    "blocked_clients",
    "tracking_clients",
    "pubsub_clients",
    "watching_clients",
    "clients_in_timeout_table",
    "total_watched_keys",
    "total_blocking_keys",
    "total_blocking_keys_on_nokey",
    "pubsub_channels",
    "pubsub_patterns",
    "pubsubshard_channels",
    "tracking_total_keys",
    "tracking_total_items",
    "tracking_total_prefixes",
];
/// Threads that make connections.
const CROWD: u64 = 4;
/// Connections that a thread leaves open while it goes on.
const LINGERING: usize = 12;
/// How long a visitor listens for more.
const LISTEN: Duration = Duration::from_millis(2);

/// A connection, once it is the only one. What others have sent may still be executed when they have
/// gone, and may end whoever asks too early.
pub(crate) fn alone(server: &Server) -> Client {
    eventually("everybody else to be gone", || {
        let mut asking = server.connect();
        let mut ask = |words: &[&str]| asking.try_raw(words).ok();
        ask(&["CLIENT", "UNPAUSE"])?;
        let info = ask(&["INFO", "clients"])?;
        let clients = String::from_utf8_lossy(&info).into_owned();
        let is_alone = clients.lines().any(|line| line == "connected_clients:1");
        is_alone.then_some(asking)
    })
}

/// Waits until the server is alone with the caller, and no gauge shows anything. What is tracked is
/// forgotten with the keys, so they are flushed.
pub(crate) fn wait_for_rest(server: &Server) {
    let mut asking = alone(server);
    for words in ["CONFIG SET notify-keyspace-events ", "FLUSHALL"] {
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(asking.raw(&words), b"+OK\r\n", "{words:?}");
    }
    let mut shown = Vec::new();
    for _ in 0..1000 {
        shown = at_work(&mut asking);
        if shown.is_empty() {
            let list = asking.cmd(&["CLIENT", "LIST"]).text();
            assert_eq!(list.lines().count(), 1, "{list}");
            return;
        }
    }
    panic!("{}: nobody is there, but INFO says {shown:?}", server.name);
}

/// The gauges of INFO that show something.
fn at_work(asking: &mut Client) -> Vec<String> {
    let info = asking.cmd(&["INFO", "everything"]).text();
    let line = |name: &str| {
        let start = format!("{name}:");
        let line = info.lines().find(|line| line.starts_with(&start));
        line.unwrap_or_else(|| panic!("no {name} in INFO"))
    };
    let gauges = GAUGES
        .iter()
        .map(|name| line(name))
        .filter(|line| !line.ends_with(":0"));
    let paused = line("paused_actions");
    let paused = (paused != "paused_actions:none").then_some(paused);
    gauges.chain(paused).map(str::to_string).collect()
}

/// One thing that a client may do. Names are few, so that clients meet.
pub(crate) fn snippet(rng: &mut Rng, newest: u64) -> String {
    let key = |rng: &mut Rng| format!("k{}", rng.below(20));
    let channel = |rng: &mut Rng| format!("c{}", rng.below(10));
    let (k, l, c, d) = (key(rng), key(rng), channel(rng), channel(rng));
    let other = newest.saturating_sub(rng.below(60) as u64).max(1);
    let long = "x".repeat(rng.below(2000));
    let plain = [
        format!("SET {k} {long}"),
        format!("SET {k} v PX {}", 1 + rng.below(20)),
        format!("MGET {k} {l}"),
        format!("DEL {k} {l}"),
        format!("RPUSH list{k} {long} b c"),
        format!("LPOP list{k} 2"),
        format!("XADD st{k} MAXLEN 50 * f {long}"),
        format!("XGROUP DESTROY st{k} g"),
    ];
    let rare = [
        "FLUSHALL".to_string(),
        "FLUSHDB".to_string(),
        "SWAPDB 0 1".to_string(),
        "CONFIG SET notify-keyspace-events KEA".to_string(),
        "CONFIG SET tracking-table-max-keys 5".to_string(),
        "CONFIG SET tracking-table-max-keys 1000000".to_string(),
        format!("CLIENT PAUSE {} WRITE", rng.below(8)),
        "CLIENT KILL TYPE pubsub".to_string(),
        "CLIENT KILL TYPE normal SKIPME no".to_string(),
        "CLIENT LIST".to_string(),
        "INFO everything".to_string(),
    ];
    let choices = [
        rng.pick(&plain).clone(),
        rng.pick(&plain).clone(),
        rng.pick(&plain).clone(),
        rng.pick(&rare).clone(),
        format!("WATCH {k} {l}"),
        "UNWATCH".into(),
        "MULTI".into(),
        format!("MULTI\n{}\n{}", rng.pick(&plain), rng.pick(&plain)),
        "EXEC".into(),
        "EXEC".into(),
        "DISCARD".into(),
        format!("SUBSCRIBE {c} {d}"),
        format!("PSUBSCRIBE {c}* [cd]* __key*"),
        format!("SSUBSCRIBE {c}"),
        format!("UNSUBSCRIBE {c}"),
        "UNSUBSCRIBE\nPUNSUBSCRIBE\nSUNSUBSCRIBE".into(),
        format!("PUBLISH {c} {long}"),
        format!("SPUBLISH {c} {long}"),
        "HELLO 3".into(),
        "HELLO 3".into(),
        "HELLO 2".into(),
        "CLIENT TRACKING ON".into(),
        "CLIENT TRACKING ON BCAST NOLOOP".into(),
        format!("CLIENT TRACKING ON BCAST PREFIX {k} PREFIX list"),
        format!("CLIENT TRACKING ON OPTIN\nCLIENT CACHING YES\nMGET {k} {l}"),
        format!("CLIENT TRACKING ON OPTOUT REDIRECT {other}\nMGET {k} {l}"),
        "CLIENT TRACKING OFF".into(),
        "MONITOR".into(),
        format!("CLIENT KILL ID {other}"),
        format!("CLIENT UNBLOCK {other} ERROR"),
        "CLIENT REPLY OFF".into(),
        "CLIENT REPLY SKIP".into(),
        format!("CLIENT SETNAME {k}\nCLIENT NO-EVICT on\nCLIENT NO-TOUCH on"),
        format!("BLPOP list{k} list{l} 0"),
        format!("BLMOVE list{k} list{l} LEFT RIGHT 0.01"),
        format!("BZPOPMIN {k} 0"),
        format!("XREAD BLOCK 0 STREAMS st{k} st{l} $ $"),
        format!("XREADGROUP GROUP g {c} BLOCK 0 STREAMS st{k} >"),
        format!("XGROUP CREATE st{k} g $ MKSTREAM\nXREADGROUP GROUP g {c} BLOCK 0 STREAMS st{k} >"),
        format!("SELECT {}", rng.below(3)),
        "RESET".into(),
        "QUIT".into(),
    ];
    rng.pick(&choices).clone()
}

/// Reads what comes until it is quiet; false when the server has closed.
pub(crate) fn listen(client: &mut Client) -> bool {
    client.set_read_timeout(LISTEN);
    loop {
        match client.try_read() {
            Ok(_) => {}
            Err(error) if is_close(&error) => return false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A connection that does some things; whether it is still of use.
fn visit(rng: &mut Rng, client: &mut Client, newest: u64) -> bool {
    let mut requests = Vec::new();
    for _ in 0..=rng.below(6) {
        for command in snippet(rng, newest).lines() {
            requests.extend(encode(&command.split(' ').collect::<Vec<_>>()));
        }
    }
    if rng.chance(10) {
        requests.truncate(rng.below(requests.len()));
    }
    match client.try_send(&requests) {
        Ok(()) => rng.chance(30) || listen(client),
        Err(_) => false,
    }
}

/// One thread's connections of a round.
fn crowd(server: &Server, seed: u64, visits: u64, newest: &AtomicU64) {
    let mut rng = Rng::new(seed);
    let mut lingering: VecDeque<Client> = VecDeque::new();
    for _ in 0..visits {
        let near = newest.fetch_add(1, Ordering::Relaxed);
        if rng.chance(30)
            && let Some(mut old) = lingering.pop_front()
            && visit(&mut rng, &mut old, near)
        {
            lingering.push_back(old);
        }
        let mut client = server.connect();
        if visit(&mut rng, &mut client, near) && rng.chance(70) {
            lingering.push_back(client);
        }
        if lingering.len() > LINGERING {
            lingering.pop_front();
        }
    }
}

/// One round: everybody comes and goes. The memory then, in bytes.
fn round(server: &Server, number: u64, visits: u64, newest: &AtomicU64) -> i64 {
    thread::scope(|scope| {
        for part in 0..CROWD {
            let seed = env_number("KIVI_TEST_SEED", 1) * 1000 + number * CROWD + part;
            scope.spawn(move || crowd(server, seed, visits / CROWD, newest));
        }
    });
    wait_for_rest(server);
    lowest_memory(&mut server.connect())
}

/// The memory when it no longer falls: what is freed in the background is.
fn lowest_memory(asking: &mut Client) -> i64 {
    let mut lowest = i64::MAX;
    let mut since = 0;
    eventually("the memory to stop falling", || {
        let now = info_number(asking, "used_memory");
        since = if now < lowest { 0 } else { since + 1 };
        lowest = lowest.min(now);
        (since == 30).then_some(lowest)
    })
}

#[test]
fn a_soak_of_clients_that_do_anything() {
    let server = Server::kivi(&["--io-threads", "2"]);
    let visits = env_number("KIVI_TEST_ROUNDS", 1500);
    let newest = AtomicU64::new(server.connect().cmd(&["CLIENT", "ID"]).int() as u64);
    // What is kept once it has been needed (buffers, tables) is there after the first two.
    let levels: Vec<i64> = (0..7)
        .map(|number| round(&server, number, visits, &newest))
        .collect();
    // Twenty bytes of each connection would already be too much. What is lost is lost in every round; what is needed
    // for the first time in one of them (a command's figures, a table that has grown) is not.
    let slack = visits as i64 * 20;
    let mut rounds = levels[1..].windows(2);
    let always_grows = rounds.all(|round| round[1] > round[0] + slack);
    assert!(!always_grows, "{levels:?} bytes");
}

/// A victim's first commands.
const KINDS: [&str; 10] = [
    "PING",
    "BLPOP nothing 0",
    "XREAD BLOCK 0 STREAMS nothing stream $ $",
    "XGROUP CREATE stream g $ MKSTREAM\nXREADGROUP GROUP g c BLOCK 0 STREAMS stream >",
    "WATCH a b\nMULTI\nSET a 1\nSET b 1",
    "SUBSCRIBE c d\nPSUBSCRIBE c* d*\nSSUBSCRIBE s",
    "HELLO 3\nCLIENT TRACKING ON\nMGET a b counter",
    "HELLO 3\nCLIENT TRACKING ON BCAST",
    "MONITOR",
    "CLIENT REPLY OFF\nBLMOVE nothing other LEFT LEFT 0",
];

/// Comes again and again as often as it is killed.
fn victim(server: &Server, kind: &str, over: &AtomicBool, killed: &AtomicU64) {
    let requests: Vec<u8> = kind
        .lines()
        .flat_map(|command| encode(&command.split(' ').collect::<Vec<_>>()))
        .collect();
    while !over.load(Ordering::Relaxed) {
        let mut client = server.connect();
        client.set_read_timeout(Duration::from_millis(20));
        let mut open = client.try_send(&requests).is_ok();
        while open && !over.load(Ordering::Relaxed) {
            open = match client.try_read() {
                Ok(_) => true,
                Err(error) => !is_close(&error),
            };
        }
        killed.fetch_add(u64::from(!open), Ordering::Relaxed);
    }
}

/// Writes, publishes and reads in transactions while others fall; nobody may disturb it.
fn undisturbed(mut client: Client, over: &AtomicBool) -> i64 {
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        count += 1;
        let mut requests = Vec::new();
        let commands = "MULTI\nINCR counter\nSET a 2\nPUBLISH c x\nSPUBLISH s x\nGET counter\nEXEC";
        for command in commands.lines() {
            requests.extend(encode(&command.split(' ').collect::<Vec<_>>()));
        }
        client.send(&requests);
        for _ in 0..6 {
            client.read();
        }
        let reply = client.read().1;
        let [incr, set, Reply::Int(_), Reply::Int(_), get] = reply.items() else {
            panic!("{reply:?}")
        };
        assert_eq!(
            (incr.int(), set.text(), get.text()),
            (count, "OK".into(), count.to_string())
        );
    }
    count
}

#[test]
fn kill_storms() {
    let server = Server::kivi(&["--io-threads", "2"]);
    let target = env_number("KIVI_TEST_ROUNDS", 1500);
    let (over, killed) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut writing = server.connect();
    let number = writing.cmd(&["CLIENT", "ID"]).int().to_string();
    thread::scope(|scope| {
        let stop = StopAtEnd(&over);
        let writer = scope.spawn(|| undisturbed(writing, &over));
        for kind in KINDS.iter().cycle().take(3 * KINDS.len()) {
            scope.spawn(|| victim(&server, kind, &over, &killed));
        }
        let mut killer = server.connect();
        let all = ["CLIENT", "KILL", "NOT-ID", &number, "SKIPME", "yes"];
        while killed.load(Ordering::Relaxed) < target && !writer.is_finished() {
            assert!(killer.cmd(&all).int() >= 0);
        }
        drop(stop);
        assert!(writer.join().expect("the writer goes on") > 0);
    });
    wait_for_rest(&server);
}
