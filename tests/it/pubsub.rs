//! Pub/sub over real sockets: what each client sees compared with Valkey for random commands of
//! several clients; subscribers that do not read; publishers that are faster than the server.

use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Reply, encode, is_close, parse};
use crate::generate::Rng;
use crate::harness::{Server, env_number, eventually};

/// What comes behind all that a client has got so far.
const END: &str = "the-end-of-what-came";

/// All that a client has got, as replies. A transaction that subscribes to several channels has
/// more replies in its array than it says; they stand behind it.
fn seen(client: &mut Client) -> Vec<Reply> {
    client.send(&encode(&["PING", END]));
    let end = format!("${}\r\n{END}\r\n", END.len());
    let mut bytes = &client.read_until(end.as_bytes()).expect("an answer")[..];
    let mut replies = Vec::new();
    // What is left in the end is how the answer to a RESP2 subscriber's PING begins.
    while !bytes.is_empty() && bytes != b"*2\r\n$4\r\npong\r\n" {
        let (reply, length) = parse(bytes).expect("a whole reply");
        replies.push(reply);
        bytes = &bytes[length..];
    }
    replies
}

/// Sorts what comes in the order of a table of hashes in Redis: messages of several patterns that
/// match one channel, lists of channels, and the ends of all subscriptions.
fn settle(replies: &mut [Reply], argv: &[String]) {
    let ends_all = argv.len() == 1 && argv[0].ends_with("UNSUBSCRIBE");
    if ends_all {
        let names: Vec<Reply> = replies
            .iter()
            .map(|reply| reply.items()[1].clone())
            .collect();
        let mut sorted = names;
        sorted.sort();
        for (reply, name) in replies.iter_mut().zip(sorted) {
            if let Reply::Array(items) | Reply::Push(items) = reply {
                items[1] = name;
            }
        }
    }
    if argv.len() > 1 && argv[1].ends_with("CHANNELS") {
        for reply in replies.iter_mut() {
            if let Reply::Array(items) = reply {
                items.sort();
            }
        }
    }
    let is_pattern = |reply: &Reply| match reply {
        Reply::Array(items) | Reply::Push(items) => {
            items.first() == Some(&Reply::Bulk(b"pmessage".to_vec()))
        }
        _ => false,
    };
    for run in replies.chunk_by_mut(|a, b| is_pattern(a) && is_pattern(b)) {
        run.sort();
    }
}

fn channel(rng: &mut Rng) -> String {
    rng.pick(&["a", "b", "ab", "abc", "chan-1", "chan-2", ""])
        .to_string()
}

fn pattern(rng: &mut Rng) -> String {
    let patterns = [
        "a*",
        "*",
        "?",
        "chan-[12]",
        "chan-1",
        "a?c",
        "\\a",
        "[^a]*",
        "",
    ];
    rng.pick(&patterns).to_string()
}

fn several(rng: &mut Rng, word: &str, name: fn(&mut Rng) -> String, least: usize) -> Vec<String> {
    let count = least + rng.below(3);
    let mut argv = vec![word.to_owned()];
    argv.extend((0..count).map(|_| name(rng)));
    argv
}

fn random_command(rng: &mut Rng, number: usize) -> Vec<String> {
    let message = format!("m{number}");
    match rng.below(24) {
        0..2 => several(rng, "SUBSCRIBE", channel, 1),
        2..4 => several(rng, "PSUBSCRIBE", pattern, 1),
        4 => several(rng, "SSUBSCRIBE", channel, 1),
        5..7 => several(rng, "UNSUBSCRIBE", channel, 0),
        7 => several(rng, "PUNSUBSCRIBE", pattern, 0),
        8 => several(rng, "SUNSUBSCRIBE", channel, 0),
        9..15 => vec!["PUBLISH".into(), channel(rng), message],
        15..17 => vec!["SPUBLISH".into(), channel(rng), message],
        17 => several(rng, "PUBSUB NUMSUB", channel, 0),
        18 => several(rng, "PUBSUB SHARDNUMSUB", channel, 0),
        19 => vec![
            rng.pick(&["PUBSUB NUMPAT", "PUBSUB CHANNELS", "PUBSUB SHARDCHANNELS"])
                .to_string(),
        ],
        20 => vec!["PUBSUB CHANNELS".into(), pattern(rng)],
        21 => vec![
            rng.pick(&["PING", "GET", "GET x", "SUBSCRIBE", "NOSUCH", "ECHO x"])
                .to_string(),
        ],
        22 => vec![rng.pick(&["RESET", "HELLO 3", "HELLO 3"]).to_string()],
        _ => vec!["MULTI".into()],
    }
}

/// One client of each server.
type Pair = [Client; 2];

/// A random request, words apart.
fn random_request(rng: &mut Rng, number: usize) -> Vec<String> {
    let argv = random_command(rng, number);
    let words = argv[0].split(' ').map(str::to_owned);
    words.chain(argv[1..].iter().cloned()).collect()
}

/// Runs requests on both servers; what all clients have got of them has to be the same.
fn compare(pairs: &mut [Pair], at: usize, requests: &[Vec<String>], history: &[String]) {
    let bytes: Vec<u8> = requests.iter().flat_map(|argv| encode(argv)).collect();
    for client in &mut pairs[at] {
        client.send(&bytes);
    }
    // Whoever publishes has posted before it answers, so it is asked first.
    let others = (0..pairs.len()).filter(|&other| other != at);
    for other in std::iter::once(at).chain(others) {
        let [mut ours, mut theirs] = pairs[other].each_mut().map(seen);
        settle(&mut ours, &requests[0]);
        settle(&mut theirs, &requests[0]);
        // HELLO's answer has the server's name.
        if requests[0][0] != "HELLO" {
            let history = history.join("\n");
            assert_eq!(ours, theirs, "client {other} after\n{history}");
        }
    }
}

#[test]
fn every_client_sees_what_it_sees_in_valkey() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let kivi = Server::kivi(&["--io-threads", "4"]);
    let rounds = env_number("KIVI_TEST_PUBSUB_ROUNDS", 20);
    for seed in 0..rounds {
        let mut rng = Rng::new(seed);
        let mut pairs: Vec<Pair> = (0..4).map(|_| [kivi.connect(), valkey.connect()]).collect();
        let mut history = vec![format!("seed {seed}")];
        for number in 0..80 {
            let at = rng.below(pairs.len());
            let mut requests = vec![random_request(&mut rng, number)];
            if requests[0][0] == "MULTI" {
                for _ in 0..rng.below(4) {
                    let mut request = random_request(&mut rng, number);
                    // Their order is that of a table of hashes, which nothing can mend in here; and
                    // HELLO's answer has the server's name.
                    let is_hello = request[0] == "HELLO";
                    if is_hello || request.len() == 1 || request[1].ends_with("CHANNELS") {
                        request = vec!["PING".into()];
                    }
                    requests.push(request);
                }
                requests.push(vec!["EXEC".into()]);
            }
            let texts = requests.iter().map(|request| request.join(" "));
            history.push(format!("{at}: {}", texts.collect::<Vec<_>>().join("; ")));
            compare(&mut pairs, at, &requests, &history);
            if rng.below(60) == 0 {
                pairs[at] = [kivi.connect(), valkey.connect()];
                history.push(format!("{at}: a new connection"));
                for server in [&kivi, &valkey] {
                    eventually("the old connection's end", || {
                        let list = server.connect().cmd(&["CLIENT", "LIST"]).text();
                        (list.lines().count() == pairs.len() + 1).then_some(())
                    });
                }
            }
        }
    }
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_off_and_nobody_waits_for_it() {
    let server = Server::kivi(&["--client-output-buffer-limit", "pubsub 4mb 0 0"]);
    let (mut deaf, mut reader) = (server.connect(), server.connect());
    for client in [&mut deaf, &mut reader] {
        assert!(!client.cmd(&["SUBSCRIBE", "c"]).is_error());
    }
    let mut publisher = server.connect();
    let text = "x".repeat(100_000);
    let mut sent = 0;
    let mut reached = 2;
    while reached == 2 {
        reached = publisher.cmd(&["PUBLISH", "c", &text]).int();
        assert_eq!(reader.read().1.items()[2].bytes().len(), text.len());
        sent += 1;
        assert!(sent < 10_000, "it is never cut off");
    }
    assert_eq!(reached, 1);
    let ended = eventually("the end of the connection", || {
        let error = deaf.try_read().err()?;
        Some(is_close(&error))
    });
    assert!(ended);
    let denied = publisher.info_number("stats", "client_output_buffer_limit_disconnections");
    assert_eq!(denied, 1);
    assert_eq!(publisher.info_number("clients", "pubsub_clients"), 1);
}

#[test]
fn the_soft_limit_gives_a_subscriber_time() {
    let server = Server::kivi(&["--client-output-buffer-limit", "pubsub 0 1mb 1"]);
    let mut deaf = server.connect();
    deaf.cmd(&["SUBSCRIBE", "c"]);
    let mut publisher = server.connect();
    let text = "x".repeat(100_000);
    // What the sockets take does not count.
    let started = Instant::now();
    let mut waits = 0;
    while waits < 2 << 20 {
        assert_eq!(publisher.cmd(&["PUBLISH", "c", &text]).int(), 1);
        let list = publisher.cmd(&["CLIENT", "LIST", "TYPE", "pubsub"]).text();
        let (_, omem) = list.split_once(" omem=").expect("the field");
        waits = omem.split(' ').next().unwrap().parse().expect("a number");
    }
    eventually("the end of its time", || {
        let clients = publisher.info_number("clients", "pubsub_clients");
        (clients == 0).then_some(())
    });
    assert!(started.elapsed() > Duration::from_secs(1));
}

/// More publishers than the server can write for at once: those who read lose nothing, though all
/// that is sent is many times their limit.
#[test]
fn publishers_do_not_outrun_subscribers_that_read() {
    const READERS: usize = 8;
    const PUBLISHERS: usize = 6;
    let messages = env_number("KIVI_TEST_PUBSUB_MESSAGES", 8000) as usize;
    // A third of what each is sent: a reader may be kept from its processor for a while.
    let args = ["--io-threads", "2", "--client-output-buffer-limit"];
    let server = Server::kivi(&[&args[..], &["pubsub 16mb 0 0"]].concat());
    let text = "x".repeat(1000);
    thread::scope(|scope| {
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let mut reader = server.connect();
            reader.cmd(&["SUBSCRIBE", "c"]);
            readers.push(scope.spawn(move || {
                let mut next = [0; PUBLISHERS];
                for _ in 0..PUBLISHERS * messages {
                    let message = reader.read().1.items()[2].text();
                    let mut words = message.split('.');
                    let publisher: usize = words.next().unwrap().parse().unwrap();
                    let number: usize = words.next().unwrap().parse().unwrap();
                    assert_eq!(number, next[publisher], "of publisher {publisher}");
                    next[publisher] += 1;
                }
            }));
        }
        for publisher in 0..PUBLISHERS {
            let mut client = server.connect();
            let text = &text;
            scope.spawn(move || {
                for first in (0..messages).step_by(500) {
                    let mut batch = Vec::new();
                    let numbers = first..messages.min(first + 500);
                    for number in numbers.clone() {
                        let message = format!("{publisher}.{number}.{text}");
                        batch.extend(encode(&["PUBLISH", "c", &message]));
                    }
                    client.send(&batch);
                    for _ in numbers {
                        assert_eq!(client.read().1.int(), READERS as i64);
                    }
                }
            });
        }
    });
}

/// Whoever has subscribed can go at any moment; nothing of it stays.
#[test]
fn subscribers_that_come_and_go_leave_nothing() {
    let server = Server::kivi(&["--io-threads", "4"]);
    thread::scope(|scope| {
        for worker in 0..4 {
            let server = &server;
            scope.spawn(move || {
                let mut rng = Rng::new(worker);
                for round in 0..60 {
                    let mut client = server.connect();
                    let own = format!("own-{worker}-{round}");
                    client.send(&encode(&["SUBSCRIBE", "all", &own]));
                    client.send(&encode(&["PSUBSCRIBE", "a*", &own]));
                    client.send(&encode(&["SSUBSCRIBE", "all"]));
                    if rng.chance(50) {
                        client.send(&encode(&["PING", END]));
                        let is_end = |reply: &Reply| match reply {
                            Reply::Array(items) => items.last() == Some(&Reply::Bulk(END.into())),
                            _ => false,
                        };
                        while !is_end(&client.read().1) {}
                    }
                    let mut publisher = server.connect();
                    publisher.cmd(&["PUBLISH", "all", "x"]);
                    publisher.cmd(&["SPUBLISH", "all", "x"]);
                }
            });
        }
    });
    let mut client = server.connect();
    eventually("the end of all subscriptions", || {
        let channels = client.info_number("stats", "pubsub_channels");
        let patterns = client.info_number("stats", "pubsub_patterns");
        let sharded = client.info_number("stats", "pubsubshard_channels");
        let clients = client.info_number("clients", "pubsub_clients");
        (channels + patterns + sharded + clients == 0).then_some(())
    });
    assert_eq!(client.cmd(&["PUBLISH", "all", "x"]).int(), 0);
}

/// A large message is kept once, however many get it.
#[test]
fn a_large_message_is_kept_once() {
    const BYTES: usize = 48 << 20;
    const READERS: usize = 8;
    let server = Server::kivi(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let mut readers: Vec<Client> = (0..READERS).map(|_| server.connect()).collect();
    for (at, reader) in readers.iter_mut().enumerate() {
        reader.cmd(&[["SUBSCRIBE", "PSUBSCRIBE"][at % 2], "c"]);
    }
    let before = server.rss_bytes();
    let mut publisher = server.connect();
    let text = "x".repeat(BYTES);
    assert_eq!(
        publisher.cmd(&["PUBLISH", "c", &text]).int(),
        READERS as i64
    );
    let grown = server.rss_bytes().saturating_sub(before);
    assert!(grown < 4 * BYTES as u64, "{grown} bytes more");
    for mut reader in readers {
        assert_eq!(reader.read().1.items().last().unwrap().bytes().len(), BYTES);
    }
}
