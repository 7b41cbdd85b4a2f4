//! What goes when memory is full, and who is told: against real processes, and the same of Valkey.
//!
//! Which key a policy chooses is up to the server's samples, so most checks are of what must be true
//! whatever is chosen: a model of the keyspace that follows the events, keys that may never go, counters
//! that agree. They run against Valkey, too, so that they ask for nothing that Valkey does not do. Where
//! only one key may go (it is the only one with a time to live), everything that clients see of its end
//! is compared byte by byte.
//!
//! Memory is limited to what is in use and some room above, as servers differ in what they need.
//! Persistence under eviction is in `eviction_persist`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::client::{Client, Reply, encode, show};
use crate::generate::Rng;
use crate::harness::{Server, StopAtEnd, eventually};

/// What is answered when nothing may go.
pub(crate) const OOM: &[u8] = b"OOM command not allowed when used memory > 'maxmemory'.";
const MARK: &str = "mark";
const OK: &[u8] = b"OK";

/// The policies that both servers know, by what they may take.
const VOLATILE: [&str; 4] = [
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
];
const ALL_KEYS: [&str; 3] = ["allkeys-lru", "allkeys-lfu", "allkeys-random"];

/// Kivi, and Valkey if it is there, started alike.
pub(crate) fn servers(args: &[&str]) -> Vec<Server> {
    let mut servers = vec![Server::kivi(args)];
    servers.extend(Server::valkey(args));
    servers
}

pub(crate) fn config_set(client: &mut Client, name: &str, value: &str) {
    let reply = client.cmd(&["CONFIG", "SET", name, value]);
    assert_eq!(
        reply,
        Reply::Status(OK.to_vec()),
        "CONFIG SET {name} {value}"
    );
}

/// Limits memory to what is in use now and so much more; the limit.
pub(crate) fn limit_to(client: &mut Client, room: u64) -> u64 {
    // What is still to be freed would be room.
    eventually("all to be freed", || {
        let pending = client.info_number("memory", "lazyfree_pending_objects");
        (pending == 0).then_some(())
    });
    let limit = client.info_number("memory", "used_memory") + room;
    config_set(client, "maxmemory", &limit.to_string());
    limit
}

/// Memory that counts for the limit.
pub(crate) fn counted(client: &mut Client) -> u64 {
    let used = client.info_number("memory", "used_memory");
    used.saturating_sub(client.info_number("memory", "mem_not_counted_for_evict"))
}

pub(crate) fn evicted(client: &mut Client) -> u64 {
    client.info_number("stats", "evicted_keys")
}

/// Sends the commands at once; their replies.
pub(crate) fn batch(client: &mut Client, commands: &[Vec<u8>]) -> Vec<Reply> {
    client.send(&commands.concat());
    commands.iter().map(|_| client.read().1).collect()
}

fn set(key: &str, bytes: usize) -> Vec<u8> {
    encode(&["SET", key, &"v".repeat(bytes)])
}

fn assert_all_ok(replies: &[Reply], what: &str) {
    let bad = replies
        .iter()
        .find(|reply| **reply != Reply::Status(OK.to_vec()));
    assert!(bad.is_none(), "{what}: {bad:?}");
}

/// Writes keys `name:0`, ... without a time to live until one is refused; how many there are then.
fn fill_until_oom(client: &mut Client, name: &str, bytes: usize) -> usize {
    for number in 0..100_000 {
        let key = format!("{name}:{number}");
        match client.cmd(&["SET", &key, &"v".repeat(bytes)]) {
            Reply::Status(_) => {}
            reply => {
                assert_eq!(reply, Reply::Error(OOM.to_vec()));
                return number;
            }
        }
    }
    panic!("memory is never full");
}

fn names(client: &mut Client) -> BTreeSet<String> {
    client.keys().into_iter().collect()
}

#[test]
fn only_keys_with_a_time_to_live_go_and_then_writes_are_refused() {
    for server in servers(&[]) {
        let mut client = server.connect();
        for policy in VOLATILE {
            let what = format!("{}, {policy}", server.name);
            client.cmd(&["FLUSHALL"]);
            client.cmd(&["CONFIG", "RESETSTAT"]);
            config_set(&mut client, "maxmemory", "0");
            config_set(&mut client, "maxmemory-policy", policy);
            let mut kept = 0;
            for db in ["0", "3"] {
                client.cmd(&["SELECT", db]);
                let mut commands = Vec::new();
                for number in 0..400 {
                    let value = "v".repeat(1000);
                    let key = format!("volatile:{number}");
                    commands.push(encode(&["SET", &key, &value, "EX", "10000"]));
                    if number % 4 == 0 {
                        commands.push(set(&format!("kept:{number}"), 1000));
                        kept += 1;
                    }
                }
                assert_all_ok(&batch(&mut client, &commands), &what);
            }
            client.cmd(&["SELECT", "0"]);
            limit_to(&mut client, 30_000);
            let more = fill_until_oom(&mut client, "more", 1000);
            // All that may go has gone before anything is refused.
            assert!(more > 400, "{what}: {more} keys in the place of 800");
            assert_eq!(evicted(&mut client), 800, "{what}");
            let mut there = 0;
            for db in ["0", "3"] {
                client.cmd(&["SELECT", db]);
                let names = names(&mut client);
                let gone = names.iter().any(|name| name.starts_with("volatile"));
                assert!(!gone, "{what}: {names:?}");
                there += names.len();
            }
            assert_eq!(there, kept + more, "{what}");
            client.cmd(&["SELECT", "0"]);
            // Reading goes on, and making room.
            assert_eq!(client.cmd(&["STRLEN", "more:0"]), Reply::Int(1000));
            for number in 0..300 {
                let reply = client.cmd(&["DEL", &format!("more:{number}")]);
                assert_eq!(reply, Reply::Int(1), "{what}");
            }
            let reply = client.cmd(&["SET", "again", "v"]);
            assert_eq!(reply, Reply::Status(OK.to_vec()), "{what}");
        }
    }
}

#[test]
fn fields_with_a_time_to_live_do_not_make_a_key_volatile() {
    for server in servers(&[]) {
        let mut client = server.connect();
        config_set(&mut client, "maxmemory-policy", "volatile-ttl");
        client.cmd(&["HSET", "hash", "field", &"v".repeat(1000)]);
        let reply = client.cmd(&["HEXPIRE", "hash", "1000", "FIELDS", "1", "field"]);
        assert_eq!(reply.items(), [Reply::Int(1)], "{}", server.name);
        limit_to(&mut client, 20_000);
        fill_until_oom(&mut client, "key", 500);
        assert_eq!(client.cmd(&["HLEN", "hash"]), Reply::Int(1));
        assert_eq!(evicted(&mut client), 0, "{}", server.name);
    }
}

/// Of random ones: an order may well begin with those of one database.
#[test]
fn every_database_gives_keys() {
    for server in servers(&[]) {
        let mut client = server.connect();
        for policy in ["allkeys-random", "volatile-random"] {
            let what = format!("{}, {policy}", server.name);
            config_set(&mut client, "maxmemory", "0");
            config_set(&mut client, "maxmemory-policy", policy);
            client.cmd(&["FLUSHALL"]);
            for db in ["0", "1", "9", "15"] {
                client.cmd(&["SELECT", db]);
                let value = "v".repeat(500);
                let key = |n| encode(&["SET", &format!("key:{n}"), &value, "EX", "10000"]);
                let keys: Vec<_> = (0..500).map(key).collect();
                assert_all_ok(&batch(&mut client, &keys), &what);
            }
            limit_to(&mut client, 10_000);
            client.cmd(&["SELECT", "5"]);
            let keys: Vec<_> = (0..1000).map(|n| set(&format!("key:{n}"), 500)).collect();
            assert_all_ok(&batch(&mut client, &keys), &what);
            for db in ["0", "1", "9", "15"] {
                client.cmd(&["SELECT", db]);
                let keys = client.cmd(&["DBSIZE"]).int();
                assert!(
                    (1..500).contains(&keys),
                    "{what}: {keys} keys in database {db}"
                );
            }
            client.cmd(&["SELECT", "0"]);
        }
    }
}

#[test]
fn what_expires_first_goes_first() {
    const KEYS: usize = 2000;
    for server in servers(&["--maxmemory-policy", "volatile-ttl"]) {
        let mut client = server.connect();
        let mut rng = Rng::new(3);
        // Ranks by time to live, which come in no order.
        let mut ranks: Vec<usize> = (0..KEYS).collect();
        for number in 0..KEYS {
            ranks.swap(number, rng.below(KEYS));
        }
        let commands: Vec<Vec<u8>> = ranks
            .iter()
            .map(|rank| {
                let ttl = (10_000 + rank * 10).to_string();
                encode(&["SET", &format!("ttl:{rank}"), &"v".repeat(500), "EX", &ttl])
            })
            .collect();
        assert_all_ok(&batch(&mut client, &commands), server.name);
        limit_to(&mut client, 5_000);
        let mut number = 0;
        while evicted(&mut client) < KEYS as u64 / 2 {
            let more: Vec<_> = (0..10)
                .map(|n| set(&format!("more:{}", number + n), 500))
                .collect();
            assert_all_ok(&batch(&mut client, &more), server.name);
            number += 10;
        }
        let names = names(&mut client);
        let left = names.iter().filter_map(|name| name.strip_prefix("ttl:"));
        let left: Vec<usize> = left.map(|rank| rank.parse().expect("a rank")).collect();
        // Exact would be none of the first half.
        let early = left.iter().filter(|rank| **rank < KEYS * 2 / 5).count();
        assert!(
            early < left.len() / 10,
            "{}: {early} of {} that are left were to go",
            server.name,
            left.len()
        );
    }
}

/// Reads events up to a mark: their names and keys.
fn events(listener: &mut Client) -> Vec<(String, String)> {
    let mut events = Vec::new();
    loop {
        let message = listener.read().1;
        match message.items() {
            [_, _, _] => return events,
            parts => {
                let channel = parts[2].text();
                let name = channel.rsplit(':').next().expect("a name").to_owned();
                events.push((name, parts[3].text()));
            }
        }
    }
}

fn listen(server: &Server, pattern: &str) -> Client {
    let mut listener = server.connect();
    listener.cmd(&["SUBSCRIBE", MARK]);
    listener.cmd(&["PSUBSCRIBE", pattern]);
    listener
}

/// Follows the keyspace by its events; panics at one that cannot be.
fn follow(model: &mut BTreeSet<String>, events: &[(String, String)], what: &str) -> u64 {
    let mut gone = 0;
    for (name, key) in events {
        match name.as_str() {
            "set" => drop(model.insert(key.clone())),
            "evicted" => {
                assert!(model.remove(key), "{what}: {key} goes and is not there");
                gone += 1;
            }
            other => panic!("{what}: {other} {key}"),
        }
    }
    gone
}

#[test]
fn events_tell_of_every_key_that_goes() {
    for server in servers(&["--notify-keyspace-events", "E$e"]) {
        for policy in ALL_KEYS {
            let what = format!("{}, {policy}", server.name);
            let mut client = server.connect();
            config_set(&mut client, "maxmemory", "0");
            config_set(&mut client, "maxmemory-policy", policy);
            client.cmd(&["FLUSHALL"]);
            client.cmd(&["CONFIG", "RESETSTAT"]);
            let mut listener = listen(&server, "__keyevent@0__:*");
            limit_to(&mut client, 300_000);
            let mut model = BTreeSet::new();
            let mut gone = 0;
            for round in 0..40 {
                let mut commands: Vec<_> = (0..50)
                    .map(|n| set(&format!("key:{}", round * 50 + n), 500))
                    .collect();
                commands.push(encode(&["PUBLISH", MARK, "."]));
                let replies = batch(&mut client, &commands);
                assert_all_ok(&replies[..50], &what);
                gone += follow(&mut model, &events(&mut listener), &what);
            }
            // Looking at them makes room, too.
            client.cmd(&["PUBLISH", MARK, "."]);
            gone += follow(&mut model, &events(&mut listener), &what);
            config_set(&mut client, "maxmemory", "0");
            client.cmd(&["PUBLISH", MARK, "."]);
            gone += follow(&mut model, &events(&mut listener), &what);
            assert!(gone > 500, "{what}: only {gone} keys went");
            assert_eq!(evicted(&mut client), gone, "{what}");
            assert_eq!(names(&mut client), model, "{what}");
        }
    }
}

/// Writers on several threads; one listener follows them all.
#[test]
fn events_tell_of_every_key_that_goes_while_many_write() {
    let args = ["--notify-keyspace-events", "E$e", "--io-threads", "4"];
    for server in servers(&[&args[..], &["--maxmemory-policy", "allkeys-lru"]].concat()) {
        let mut client = server.connect();
        let mut listener = listen(&server, "__keyevent@0__:*");
        limit_to(&mut client, 500_000);
        thread::scope(|scope| {
            for writer in 0..4 {
                let mut client = server.connect();
                scope.spawn(move || {
                    for round in 0..30 {
                        // Each writes its keys again and again.
                        let key = |n| format!("key:{writer}:{}", (round * 20 + n) % 400);
                        let commands: Vec<_> = (0..20).map(|n| set(&key(n), 700)).collect();
                        assert_all_ok(&batch(&mut client, &commands), "a writer");
                    }
                });
            }
        });
        config_set(&mut client, "maxmemory", "0");
        client.cmd(&["PUBLISH", MARK, "."]);
        let mut model = BTreeSet::new();
        let gone = follow(&mut model, &events(&mut listener), server.name);
        assert!(gone > 500, "{}: only {gone} keys went", server.name);
        assert_eq!(evicted(&mut client), gone, "{}", server.name);
        assert_eq!(names(&mut client), model, "{}", server.name);
    }
}

#[test]
fn nothing_goes_in_the_middle_of_a_transaction_or_a_script() {
    const COUNT: usize = 60;
    let args = [
        "--notify-keyspace-events",
        "E$e",
        "--maxmemory-policy",
        "allkeys-random",
    ];
    for server in servers(&args) {
        let mut client = server.connect();
        let mut listener = listen(&server, "__keyevent@0__:*");
        // More than the requests take that wait for EXEC.
        limit_to(&mut client, 1_000_000);
        let mut number = 0;
        while evicted(&mut client) == 0 {
            let keys: Vec<_> = (0..50)
                .map(|n| set(&format!("key:{}", number + n), 1000))
                .collect();
            assert_all_ok(&batch(&mut client, &keys), server.name);
            number += 50;
        }
        let script = format!(
            "for i = 1, {COUNT} do redis.call('set', 'mine:' .. i, string.rep('v', 3000)) end"
        );
        let mut transaction = vec![encode(&["MULTI"])];
        transaction.extend((1..=COUNT).map(|n| set(&format!("mine:{n}"), 3000)));
        transaction.push(encode(&["EXEC"]));
        for (what, commands) in [
            ("MULTI", transaction),
            ("EVAL", vec![encode(&["EVAL", &script, "0"])]),
        ] {
            let what = format!("{}, {what}", server.name);
            client.cmd(&["PUBLISH", MARK, "."]);
            events(&mut listener);
            let replies = batch(&mut client, &commands);
            let bad = replies.iter().find(|reply| reply.is_error());
            assert!(bad.is_none(), "{what}: {bad:?}");
            // Whatever room there is: then what comes next has to make some.
            let before = evicted(&mut client);
            for round in 0.. {
                let key = |n| format!("more:{}", round * 50 + n);
                let more: Vec<_> = (0..50).map(|n| set(&key(n), 1000)).collect();
                assert_all_ok(&batch(&mut client, &more), &what);
                if evicted(&mut client) > before {
                    break;
                }
                assert!(round < 100, "{what}: nothing goes behind it");
            }
            client.cmd(&["PUBLISH", MARK, "."]);
            let events = events(&mut listener);
            let is_mine =
                |(name, key): &(String, String)| name == "set" && key.starts_with("mine:");
            let first = events.iter().position(is_mine).expect("an event");
            assert!(
                events[first..first + COUNT].iter().all(is_mine),
                "{what}: {:?}",
                &events[first..first + COUNT]
            );
            let after = &events[first + COUNT..];
            let makes_room = after.iter().any(|(name, _)| name == "evicted");
            assert!(makes_room, "{what}: {after:?}");
        }
    }
}

/// Everything that clients see of the end of the only key that may go, as text.
fn end_of_the_victim(server: &Server, create: &[&[&str]]) -> Vec<String> {
    let mut client = server.connect();
    for (name, value) in [("maxmemory", "0"), ("maxmemory-policy", "volatile-ttl")] {
        config_set(&mut client, name, value);
    }
    client.cmd(&["FLUSHALL"]);
    client.cmd(&["CONFIG", "RESETSTAT"]);
    for command in create {
        let reply = client.cmd(command);
        assert!(!reply.is_error(), "{command:?}: {reply:?}");
    }
    assert_eq!(client.cmd(&["EXPIRE", "victim", "10000"]), Reply::Int(1));
    let mut seen = Vec::new();
    let mut listener = listen(server, "__key*@0__:*");
    let mut watcher = server.connect();
    watcher.cmd(&["WATCH", "victim"]);
    let mut tracker = server.connect();
    tracker.cmd(&["HELLO", "3"]);
    tracker.cmd(&["CLIENT", "TRACKING", "ON"]);
    tracker.cmd(&["EXISTS", "victim"]);
    let mut blocked = server.connect();
    let has_group = create.iter().any(|command| command.contains(&"GROUP"));
    if has_group {
        let words = "XREADGROUP GROUP g me BLOCK 0 STREAMS victim >";
        blocked.send(&encode(&words.split(' ').collect::<Vec<_>>()));
        eventually("the reader to wait", || {
            (client.info_number("clients", "blocked_clients") == 1).then_some(())
        });
    }
    limit_to(&mut client, 20_000);
    fill_until_oom(&mut client, "key", 1000);
    if has_group {
        seen.push(format!("blocked: {:?}", blocked.read().0));
    }
    let multi = [encode(&["MULTI"]), encode(&["PING"]), encode(&["EXEC"])];
    seen.push(format!("watching: {:?}", batch(&mut watcher, &multi)));
    tracker.send(&encode(&["PING"]));
    seen.push(format!("tracking: {:?}", tracker.read().0));
    seen.push(format!("it: {:?}", client.cmd(&["TTL", "victim"])));
    for (section, field) in [
        ("stats", "evicted_keys"),
        ("stats", "expired_keys"),
        ("stats", "keyspace_hits"),
        ("stats", "keyspace_misses"),
    ] {
        seen.push(format!("{field}: {}", client.info_number(section, field)));
    }
    client.cmd(&["PUBLISH", MARK, "."]);
    loop {
        let message = listener.read().1;
        let [_, _, channel, text] = message.items() else {
            return seen;
        };
        let about_it = [channel, text]
            .iter()
            .any(|part| part.text().contains("victim"));
        if about_it {
            seen.push(format!("{} {}", show(channel.bytes()), show(text.bytes())));
        }
    }
}

#[test]
fn the_end_of_a_key_is_valkeys_to_all_who_care() {
    let big = "x".repeat(100_000);
    let members: Vec<String> = (0..2000).map(|n| format!("member:{n}")).collect();
    let with = |command: &'static str, every: usize| -> Vec<&str> {
        let mut words = vec![command, "victim"];
        for pair in members.chunks(every) {
            match command {
                "ZADD" => words.extend(["1", pair[0].as_str()]),
                _ => words.extend(pair.iter().map(String::as_str)),
            }
        }
        words
    };
    let creates: Vec<(&str, Vec<Vec<&str>>)> = vec![
        ("a short string", vec![vec!["SET", "victim", "v"]]),
        ("a long string", vec![vec!["SET", "victim", &big]]),
        ("a hash", vec![with("HSET", 2)]),
        ("a set", vec![with("SADD", 1)]),
        ("a list", vec![with("RPUSH", 1)]),
        ("a sorted set", vec![with("ZADD", 1)]),
        (
            "a stream",
            vec![
                vec!["XADD", "victim", "1-1", "field", "value"],
                vec!["XGROUP", "CREATE", "victim", "g", "$"],
            ],
        ),
    ];
    let servers = servers(&["--notify-keyspace-events", "KEAmn"]);
    for (what, create) in &creates {
        let create: Vec<&[&str]> = create.iter().map(Vec::as_slice).collect();
        let ours = end_of_the_victim(&servers[0], &create);
        assert!(
            ours.iter().any(|line| line.contains("evicted victim")),
            "{what}: {ours:#?}"
        );
        if let Some(valkey) = servers.get(1) {
            let theirs = end_of_the_victim(valkey, &create);
            assert_eq!(ours, theirs, "{what}");
        }
    }
}

/// What INFO counts of refusals, commands and errors.
#[test]
fn refusals_are_counted_as_by_valkey() {
    let mut told = Vec::new();
    for server in servers(&["--maxmemory-policy", "noeviction"]) {
        let mut client = server.connect();
        client.cmd(&["SET", "key:0", "v"]);
        config_set(&mut client, "maxmemory", "1");
        client.cmd(&["CONFIG", "RESETSTAT"]);
        let mut replies = Vec::new();
        let commands: [&[&str]; 14] = [
            &["SET", "a", "b"],
            &["SET", "a"],
            &["LPUSH", "list", "a"],
            &["GET", "key:0"],
            &["DEL", "none"],
            &["MULTI"],
            &["GET", "key:0"],
            &["INCR", "n"],
            &["EXEC"],
            &["EVAL", "return redis.call('incr', 'n')", "0"],
            &[
                "EVAL",
                "#!lua flags=no-writes\nreturn redis.call('exists', 'n')",
                "0",
            ],
            &["HINCRBY", "h", "f", "1"],
            &["EXPIRE", "key:0", "100"],
            &["APPEND", "key:0", "b"],
        ];
        for command in commands {
            replies.push(format!("{command:?}: {:?}", client.raw(command)));
        }
        let stats = client.cmd(&["INFO", "commandstats"]).text();
        let counts = stats.lines().filter_map(|line| {
            let (name, rest) = line.split_once(":calls=")?;
            let calls = rest.split(',').next()?;
            let refused = rest.split_once("rejected_calls=")?.1;
            Some(format!("{name} {calls} {refused}"))
        });
        // In no order.
        let counts: BTreeSet<String> = counts.collect();
        replies.extend(counts);
        let errors = client.cmd(&["INFO", "errorstats"]).text();
        let errors: BTreeSet<&str> = errors.lines().collect();
        replies.extend(errors.into_iter().map(String::from));
        for field in ["evicted_keys", "evicted_clients", "total_error_replies"] {
            let count = client.info_number("stats", field);
            replies.push(format!("{field} {count}"));
        }
        told.push(replies);
    }
    if let [ours, theirs] = &told[..] {
        assert_eq!(ours, theirs);
    }
}

/// The value that a key has, so that a mix-up shows.
fn value_of(key: &str) -> String {
    let rest = (key.bytes().map(usize::from).sum::<usize>() * 7) % 900;
    format!("{key}={}", "v".repeat(rest))
}

/// Writes keys by chance until it is told to stop; each is done or refused.
fn write_until(server: &Server, seed: u64, stop: &AtomicBool) -> u64 {
    let mut client = server.connect();
    let mut rng = Rng::new(seed);
    let mut written = 0;
    while !stop.load(Ordering::Acquire) {
        let keys: Vec<String> = (0..16)
            .map(|_| format!("key:{}", rng.below(20_000)))
            .collect();
        let mut commands: Vec<_> = keys
            .iter()
            .map(|key| match rng.chance(50) {
                true => encode(&["SET", key, &value_of(key)]),
                false => encode(&["SET", key, &value_of(key), "EX", "10000"]),
            })
            .collect();
        // When everything is refused, this makes room.
        let gone = [0; 3].map(|_| format!("key:{}", rng.below(20_000)));
        commands.push(encode(&["DEL", &gone[0], &gone[1], &gone[2]]));
        let mut replies = batch(&mut client, &commands);
        let deleted = replies.pop().expect("a reply");
        assert!(!deleted.is_error(), "{deleted:?}");
        for reply in replies {
            let is_fine =
                reply == Reply::Status(OK.to_vec()) || reply == Reply::Error(OOM.to_vec());
            assert!(is_fine, "{reply:?}");
        }
        written += 16;
    }
    written
}

/// Lets four clients write while `act` does something with the settings.
fn under_load(server: &Server, act: impl FnOnce(&mut Client)) {
    let stop = AtomicBool::new(false);
    let mut control = server.connect();
    thread::scope(|scope| {
        let stop = &stop;
        let _stop = StopAtEnd(stop);
        for seed in 0..4 {
            scope.spawn(move || write_until(server, seed, stop));
        }
        act(&mut control);
    });
}

/// Waits until so many more keys have gone.
fn await_evictions(control: &mut Client, more: u64) {
    let goal = evicted(control) + more;
    eventually("more keys to go", || {
        (evicted(control) >= goal).then_some(())
    });
}

/// Every key has its value.
fn check_values(server: &Server) {
    let mut client = server.connect();
    // Nothing goes any more.
    config_set(&mut client, "maxmemory", "0");
    let names: Vec<String> = names(&mut client).into_iter().collect();
    assert_eq!(client.cmd(&["DBSIZE"]), Reply::Int(names.len() as i64));
    for chunk in names.chunks(500) {
        let mget: Vec<&str> = std::iter::once("MGET")
            .chain(chunk.iter().map(String::as_str))
            .collect();
        for (key, value) in chunk.iter().zip(client.cmd(&mget).items()) {
            assert_eq!(value.text(), value_of(key), "{key}");
        }
    }
}

#[test]
fn the_policy_changes_under_load() {
    let mut server = Server::kivi(&["--io-threads", "4"]);
    let mut control = server.connect();
    config_set(&mut control, "maxmemory-policy", "allkeys-lru");
    let limit = limit_to(&mut control, 2_000_000);
    under_load(&server, |control| {
        let others = ["allkeys-lrm", "volatile-lrm"];
        for policy in VOLATILE
            .iter()
            .chain(&ALL_KEYS)
            .chain(&others)
            .cycle()
            .take(27)
        {
            config_set(control, "maxmemory-policy", policy);
            await_evictions(control, 100);
        }
        // Now nothing goes, and it is full for good.
        config_set(control, "maxmemory-policy", "noeviction");
        eventually("a refusal", || {
            (control
                .cmd(&["SET", "key:1", &value_of("key:1")])
                .is_error())
            .then_some(())
        });
        let before = evicted(control);
        config_set(control, "maxmemory-policy", "allkeys-random");
        eventually("keys to go again", || {
            (evicted(control) > before).then_some(())
        });
    });
    eventually("memory to be below its limit", || {
        (counted(&mut control) <= limit).then_some(())
    });
    check_values(&server);
    server.assert_alive();
}

#[test]
fn the_limit_changes_under_load() {
    let mut server = Server::kivi(&["--io-threads", "4", "--maxmemory-policy", "allkeys-lru"]);
    let mut control = server.connect();
    let base = control.info_number("memory", "used_memory");
    limit_to(&mut control, 3_000_000);
    under_load(&server, |control| {
        await_evictions(control, 1000);
        for room in [
            1_000_000u64,
            4_000_000,
            500_000,
            2_000_000,
            700_000,
            6_000_000,
            1_000_000,
        ] {
            let limit = base + room;
            config_set(control, "maxmemory", &limit.to_string());
            // Four writers may each be about to look again.
            let most = limit + limit / 100 + (1 << 20);
            eventually("memory to be at its limit", || {
                (counted(control) <= most).then_some(())
            });
            await_evictions(control, 200);
        }
        config_set(control, "maxmemory", "0");
        let before = evicted(control);
        let keys = control.cmd(&["DBSIZE"]).int();
        eventually("keys to become more", || {
            (control.cmd(&["DBSIZE"]).int() > keys + 500).then_some(())
        });
        // Those that were about to evict have done it.
        assert!(evicted(control) < before + 1000, "keys go without a limit");
        config_set(control, "maxmemory", &(base + 1_000_000).to_string());
        await_evictions(control, 1000);
    });
    check_values(&server);
    server.assert_alive();
}

/// Nobody writes: a lower limit is reached all the same.
#[test]
fn a_lower_limit_is_reached_without_writers() {
    for server in servers(&["--maxmemory-policy", "allkeys-lru"]) {
        let mut client = server.connect();
        let base = client.info_number("memory", "used_memory");
        let keys: Vec<_> = (0..5000).map(|n| set(&format!("key:{n}"), 500)).collect();
        for keys in keys.chunks(500) {
            assert_all_ok(&batch(&mut client, keys), server.name);
        }
        let used = client.info_number("memory", "used_memory");
        let limit = base + (used - base) / 4;
        config_set(&mut client, "maxmemory", &limit.to_string());
        eventually("memory to be below a lower limit", || {
            (counted(&mut client) <= limit).then_some(())
        });
        let left = client.cmd(&["DBSIZE"]).int();
        assert!((500..2000).contains(&left), "{}: {left} keys", server.name);
    }
}

/// The request itself takes more memory than there is: whether it is refused or not, nothing can stay.
#[test]
fn a_value_that_is_larger_than_the_limit() {
    for server in servers(&["--maxmemory-policy", "allkeys-lru"]) {
        let mut client = server.connect();
        let keys: Vec<_> = (0..100).map(|n| set(&format!("key:{n}"), 500)).collect();
        assert_all_ok(&batch(&mut client, &keys), server.name);
        limit_to(&mut client, 500_000);
        let first = client.cmd(&["SET", "huge", &"v".repeat(3_000_000)]);
        let is_fine = first == Reply::Status(OK.to_vec()) || first == Reply::Error(OOM.to_vec());
        assert!(is_fine, "{}: {first:?}", server.name);
        assert_eq!(client.cmd(&["GET", "huge"]), Reply::Nil, "{}", server.name);
        assert_eq!(client.cmd(&["DBSIZE"]), Reply::Int(0), "{}", server.name);
        assert!(evicted(&mut client) >= 100, "{}", server.name);
        // What the request took is given back, if not at once.
        eventually("a write to succeed again", || {
            (!client.cmd(&["SET", "next", "v"]).is_error()).then_some(())
        });
    }
}
