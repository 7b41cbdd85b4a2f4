//! Looking into the keyspace from outside: redis-cli --bigkeys, --memkeys and --hotkeys, INFO keysizes,
//! HOTKEYS.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::client::{Client, Reply, encode};
use crate::harness::{Server, StopAtEnd, eventually, is_stand_in, needs, oracle, run_on};

/// What redis-cli writes.
fn cli(server: &Server, args: &[&str]) -> String {
    let output = run_on(server, "redis-cli", args, b"");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The lines behind the heading, sorted: a server has its keys in an order of its own.
fn summary(said: &str) -> Vec<&str> {
    let (_, summary) = said.split_once("-------- summary -------").expect(said);
    let mut lines: Vec<&str> = summary.lines().filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}

/// Keys of all types, and of sizes that are all different within a type.
fn fill(client: &mut Client) {
    let mut requests = Vec::new();
    for n in [1, 2, 3, 127, 128, 600] {
        for i in 0..n {
            for words in [
                ["RPUSH", &format!("list:{n}"), &format!("element {i}")],
                ["SADD", &format!("set:{n}"), &format!("member {i}")],
                ["SADD", &format!("numbers:{n}"), &format!("{i}")],
            ] {
                requests.extend(encode(&words));
            }
            for words in [
                ["HSET", &format!("hash:{n}"), &format!("field {i}"), "value"],
                [
                    "ZADD",
                    &format!("zset:{n}"),
                    &format!("{i}"),
                    &format!("member {i}"),
                ],
            ] {
                requests.extend(encode(&words));
            }
            requests.extend(encode(&["XADD", &format!("stream:{n}"), "*", "f", "v"]));
        }
        // Of two keys with the most members the first one that is met would be the biggest.
        requests.extend(encode(&["SADD", &format!("set:{n}"), "one more"]));
        let text = "x".repeat(n * n * 10);
        requests.extend(encode(&["SET", &format!("string:{n}"), &text]));
    }
    requests.extend(encode(&["SET", "empty", ""]));
    requests.extend(encode(&["SET", "number", "1234567"]));
    requests.extend(encode(&["PFADD", "hll", "a", "b", "c"]));
    requests.extend(encode(&["PING", "filled"]));
    client.send(&requests);
    while client.read().1 != Reply::Bulk(b"filled".to_vec()) {}
}

#[test]
fn redis_cli_finds_the_biggest_keys() {
    let Some(redis) = Server::redis(&[]) else {
        return;
    };
    let kivi = Server::kivi(&[]);
    let servers = [&kivi, &redis];
    for server in servers {
        fill(&mut server.connect());
    }
    let [of_kivi, of_redis] = servers.map(|server| cli(server, &["--bigkeys"]));
    assert_eq!(summary(&of_kivi), summary(&of_redis));
    assert!(of_kivi.contains("Biggest   zset found '\"zset:600\"' has 600 members"));
    // A pattern, and what is in no database.
    let args = ["--bigkeys", "--pattern", "hash:*"];
    let [of_kivi, of_redis] = servers.map(|server| cli(server, &args));
    assert_eq!(summary(&of_kivi), summary(&of_redis));
    let [of_kivi, of_redis] = servers.map(|server| cli(server, &["-n", "5", "--bigkeys"]));
    assert_eq!(summary(&of_kivi), summary(&of_redis));
}

#[test]
fn redis_cli_finds_what_takes_most_memory() {
    if !needs("redis-cli") {
        return;
    }
    let kivi = Server::kivi(&[]);
    let mut client = kivi.connect();
    fill(&mut client);
    for args in [
        &["--memkeys"][..],
        &["--memkeys", "--memkeys-samples", "100000"],
    ] {
        let said = cli(&kivi, args);
        let mut types: BTreeMap<&str, &str> = BTreeMap::new();
        for line in summary(&said) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["Biggest", type_, "found", key, "has", bytes, "bytes"] = words[..] {
                let key = key.trim_matches(['\'', '"']);
                let usage = client.cmd(&["MEMORY", "USAGE", key, "SAMPLES", "0"]).int();
                let told: i64 = bytes.parse().expect(line);
                // Unless all elements are looked at, some are drawn.
                let tolerance = if args.len() == 1 { usage / 5 } else { 0 };
                assert!((told - usage).abs() <= tolerance, "{line}, and not {usage}");
                types.insert(type_, key);
            }
        }
        let all = [
            ("hash", "hash:600"),
            ("list", "list:600"),
            ("set", "set:600"),
            ("stream", "stream:600"),
            ("string", "string:600"),
            ("zset", "zset:600"),
        ];
        assert_eq!(types, all.into_iter().collect(), "{said}");
        assert!(said.contains("Sampled 45 keys in the keyspace!"), "{said}");
    }
}

#[test]
fn redis_cli_finds_the_keys_that_are_used_most() {
    let Some(redis) = Server::redis(&[]) else {
        return;
    };
    let kivi = Server::kivi(&[]);
    // Without LFU there are no frequencies.
    let said = [&kivi, &redis].map(|server| {
        server.connect().cmd(&["SET", "key", "x"]);
        let output = run_on(server, "redis-cli", &["--hotkeys"], b"");
        String::from_utf8_lossy(&output.stderr).into_owned()
    });
    assert!(
        said[0].contains("An LFU maxmemory policy is not selected"),
        "{said:?}"
    );
    assert_eq!(said[0], said[1]);
    for server in [&kivi, &redis] {
        let mut client = server.connect();
        for policy in ["allkeys-lfu", "volatile-lfu"] {
            client.cmd(&["CONFIG", "SET", "maxmemory-policy", policy]);
            for key in 0..100 {
                client.cmd(&["SET", &format!("cold:{key}"), "x"]);
            }
            let mut requests = encode(&["SET", "hot", "x"]);
            for _ in 0..3000 {
                requests.extend(encode(&["GET", "hot"]));
            }
            requests.extend(encode(&["PING", "hot enough"]));
            client.send(&requests);
            while client.read().1 != Reply::Bulk(b"hot enough".to_vec()) {}
            let said = cli(server, &["--hotkeys"]);
            let lines = summary(&said);
            let hottest = lines.iter().find(|line| line.ends_with("keyname: \"hot\""));
            let hottest = hottest.unwrap_or_else(|| panic!("{}: {said}", server.name));
            let counter: u32 = hottest
                .split_whitespace()
                .find_map(|word| word.parse().ok())
                .unwrap_or_default();
            assert!(counter > 20, "{}: {hottest}", server.name);
            assert!(said.contains("Sampled 10"), "{said}");
        }
    }
}

/// The lines of a section of INFO, without its heading.
fn section(client: &mut Client, name: &str) -> String {
    let text = client.cmd(&["INFO", name]).text();
    let (_, lines) = text.split_once("\r\n").expect("a heading");
    lines.to_owned()
}

#[test]
fn keysizes_are_those_of_redis_8() {
    if oracle().is_none() || is_stand_in() {
        return;
    }
    let Some(redis) = Server::redis_8(&[]) else {
        return;
    };
    let kivi = Server::kivi(&[]);
    let mut clients = [&kivi, &redis].map(|server| server.connect());
    let mut compare = |lines: &[&[&str]]| {
        let told = clients.each_mut().map(|client| {
            for line in lines {
                client.cmd(line);
            }
            section(client, "keysizes")
        });
        assert_eq!(told[0], told[1], "after {lines:?}");
    };
    compare(&[]);
    compare(&[
        &["SET", "a", "hello"],
        &["SET", "b", ""],
        &["SET", "n", "-12345"],
        &["RPUSH", "l", "1", "2", "3"],
        &["SADD", "s", "1", "2", "3"],
        &["SADD", "t", "x"],
        &["HSET", "h", "a", "1", "b", "2"],
        &["ZADD", "z", "1", "a"],
    ]);
    compare(&[&["XADD", "x", "*", "f", "v"]]);
    compare(&[
        &["APPEND", "a", " world, and everyone else"],
        &["INCR", "n"],
    ]);
    compare(&[
        &["LPOP", "l"],
        &["SREM", "s", "2"],
        &["HDEL", "h", "a"],
        &["ZADD", "z", "2", "b"],
    ]);
    compare(&[
        &["RENAME", "a", "c"],
        &["COPY", "l", "l2"],
        &["MOVE", "s", "4"],
    ]);
    compare(&[
        &["SINTERSTORE", "empty", "t", "s"],
        &["SUNIONSTORE", "both", "t", "t"],
    ]);
    compare(&[
        &["SET", "big", &"x".repeat(100_000)],
        &["PFADD", "p", "1", "2", "3", "4"],
    ]);
    compare(&[&["DEL", "l2"], &["GETDEL", "c"], &["UNLINK", "h"]]);
    compare(&[&["SWAPDB", "0", "4"]]);
    compare(&[&["FLUSHDB"]]);
    compare(&[&["FLUSHALL"]]);
}

/// The sums of all bins, by line.
fn counted(client: &mut Client) -> BTreeMap<String, u64> {
    let lines = section(client, "keysizes");
    lines
        .lines()
        .map(|line| {
            let (name, bins) = line.split_once(':').expect(line);
            let bins = bins.split(',').map(|bin| bin.split_once('=').expect(bin).1);
            let count = bins.map(|count| count.parse::<u64>().unwrap()).sum();
            (name.to_owned(), count)
        })
        .collect()
}

/// Many keys are counted in pieces, while two clients go on writing.
#[test]
fn keys_are_counted_while_others_write() {
    let kivi = Server::kivi(&["--io-threads", "2"]);
    let mut client = kivi.connect();
    let mut requests = Vec::new();
    for key in 0..100_000 {
        requests.extend(encode(&[
            "SET",
            &format!("key:{key}"),
            &"x".repeat(key % 40),
        ]));
    }
    requests.extend(encode(&["PING", "filled"]));
    client.send(&requests);
    while client.read().1 != Reply::Bulk(b"filled".to_vec()) {}
    let (is_over, port) = (AtomicBool::new(false), kivi.port);
    thread::scope(|scope| {
        let stop = StopAtEnd(&is_over);
        for writer in 0..2 {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut client = Client::tcp(("127.0.0.1", port)).unwrap();
                for round in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = |n: usize| format!("key:{}", (round * 7919 + n * 31) % 100_000);
                    let mut requests = Vec::new();
                    for n in 0..8 {
                        let text = "y".repeat((round + n) % 100);
                        requests.extend(encode(&["SET", &key(n), &text]));
                        requests.extend(encode(&["APPEND", &key(n + 1), &text]));
                        requests.extend(encode(&["RENAME", &key(n + 2), &format!("w{writer}")]));
                    }
                    client.send(&requests);
                    (0..24).for_each(|_| drop(client.read()));
                }
            });
        }
        // Once the books are made, and a few times more.
        let counts: Vec<u64> = (0..20)
            .map(|_| counted(&mut client)["db0_distrib_strings_sizes"])
            .collect();
        drop(stop);
        assert!(counts.iter().all(|&count| count > 50_000), "{counts:?}");
    });
    let keys = client.cmd(&["DBSIZE"]).int() as u64;
    assert_eq!(counted(&mut client)["db0_distrib_strings_sizes"], keys);
    client.cmd(&["FLUSHALL"]);
    assert!(counted(&mut client).is_empty());
}

/// Keys with their sums out of HOTKEYS GET.
fn hot(client: &mut Client, field: &str) -> Vec<(String, i64)> {
    let reply = client.cmd(&["HOTKEYS", "GET"]);
    let fields = reply.items()[0].items();
    let mut names = fields.iter().step_by(2);
    let at = names.position(|name| name.text() == field).expect(field);
    let pairs = fields[2 * at + 1].items().chunks(2);
    pairs.map(|pair| (pair[0].text(), pair[1].int())).collect()
}

#[test]
fn hot_keys_of_several_threads_are_found() {
    let kivi = Server::kivi(&["--io-threads", "4"]);
    let mut client = kivi.connect();
    let start = [
        "HOTKEYS", "START", "METRICS", "2", "CPU", "NET", "COUNT", "3",
    ];
    assert_eq!(client.cmd(&start), Reply::Status(b"OK".to_vec()));
    let port = kivi.port;
    thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                let mut client = Client::tcp(("127.0.0.1", port)).unwrap();
                for round in 0..50 {
                    let mut requests = Vec::new();
                    for n in 0..100 {
                        requests.extend(encode(&["SET", "hot", "12345678"]));
                        requests.extend(encode(&["INCR", "warm"]));
                        let cold = format!("cold:{number}:{round}:{n}");
                        requests.extend(encode(&["GET", &cold]));
                    }
                    client.send(&requests);
                    (0..300).for_each(|_| drop(client.read()));
                }
            });
        }
    });
    let by_net = hot(&mut client, "by-net-bytes");
    let set = encode(&["SET", "hot", "12345678"]).len() + b"+OK\r\n".len();
    assert_eq!(by_net[0], ("hot".into(), (20_000 * set) as i64));
    assert_eq!(by_net[1].0, "warm");
    // Which of the two takes longer is for the machine to say.
    let by_cpu = hot(&mut client, "by-cpu-time-us");
    for key in ["hot", "warm"] {
        assert!(by_cpu.iter().any(|(of, _)| of == key), "{by_cpu:?}");
    }
    client.cmd(&["HOTKEYS", "STOP"]);
    assert_eq!(hot(&mut client, "by-net-bytes"), by_net);
    // A session ends by itself.
    assert_eq!(
        client
            .cmd(&[&start[..], &["DURATION", "1"]].concat())
            .text(),
        "OK"
    );
    eventually("the end of the session", || {
        let reply = client.cmd(&["HOTKEYS", "GET"]);
        (reply.items()[0].items()[1] == Reply::Int(0)).then_some(())
    });
    let again = client.cmd(&start);
    assert_eq!(again, Reply::Status(b"OK".to_vec()));
}
