//! What clients do wrong with transactions, messages, tracking and each other: Redis's answers, nothing
//! left behind, nobody held up.
//!
//! Every scene names the bytes that it expects and is played on Valkey as well where the oracle is, so
//! that what it expects is what Valkey does. After each, the gauges have to be where they were.

use std::time::{Duration, Instant};

use crate::client::{Client, Reply, encode, is_close, show};
use crate::expiry::info_number;
use crate::harness::{Launch, Server, eventually, is_stand_in, oracle};
use crate::turmoil::wait_for_rest;

const MIB: usize = 1 << 20;

/// Plays a scene on every server that is there.
fn everywhere(scene: impl Fn(&Server)) {
    let mut names = vec!["kivi"];
    names.extend(oracle().map(|_| "valkey"));
    for name in names {
        let server = Launch {
            name,
            ..Launch::KIVI
        }
        .start();
        // Valkey finds what others have saved in its folder.
        says(&mut server.connect(), "FLUSHALL", "+OK");
        scene(&server);
        wait_for_rest(&server);
    }
}

/// Sends a command, words separated by blanks, and compares its reply.
fn says(client: &mut Client, command: &str, reply: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    let said = client.raw(&words);
    let expected = format!("{reply}\r\n");
    assert_eq!(show(&said), show(expected.as_bytes()), "{command}");
}

/// A table of commands and replies, a pair a line: `COMMAND -> REPLY`.
fn dialogue(client: &mut Client, table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, reply) = line.split_once(" -> ").expect("COMMAND -> REPLY");
        says(client, command, &reply.replace("\\r\\n", "\r\n"));
    }
}

/// The client's number.
fn id(client: &mut Client) -> String {
    client.cmd(&["CLIENT", "ID"]).int().to_string()
}

/// The line of CLIENT LIST of a client.
fn line(asking: &mut Client, id: &str) -> String {
    asking.cmd(&["CLIENT", "LIST", "ID", id]).text()
}

/// Waits for the server to close; what it has sent before.
fn until_closed(client: &mut Client) -> Vec<u8> {
    client.read_to_close().expect("the server closes")
}

#[test]
fn transactions_refuse() {
    everywhere(|server| {
        let c = &mut server.connect();
        dialogue(
            c,
            "EXEC -> -ERR EXEC without MULTI
             DISCARD -> -ERR DISCARD without MULTI
             MULTI x -> -ERR wrong number of arguments for 'multi' command
             WATCH -> -ERR wrong number of arguments for 'watch' command
             MULTI -> +OK
             MULTI -> -ERR Command 'multi' not allowed inside a transaction
             EXEC -> -EXECABORT Transaction discarded because of previous errors.
             MULTI -> +OK
             WATCH k -> -ERR Command 'watch' not allowed inside a transaction
             SET k 1 -> +QUEUED
             EXEC -> -EXECABORT Transaction discarded because of previous errors.
             MULTI -> +OK
             GET -> -ERR wrong number of arguments for 'get' command
             SET k 1 -> +QUEUED
             EXEC -> -EXECABORT Transaction discarded because of previous errors.
             MULTI -> +OK
             EXEC x -> -EXECABORT Transaction discarded because of: \
                       wrong number of arguments for 'exec' command
             GET k -> $-1
             MULTI -> +OK
             SET k 1 -> +QUEUED
             LPUSH k x -> +QUEUED
             INCR k -> +QUEUED
             EXEC -> *3\\r\\n+OK\\r\\n-WRONGTYPE Operation against a key holding the wrong kind of \
                     value\\r\\n:2
             WATCH k -> +OK
             SET k 5 -> +OK
             MULTI -> +OK
             PING -> +QUEUED
             EXEC -> *-1
             MULTI -> +OK
             PING -> +QUEUED
             DISCARD -> +OK
             EXEC -> -ERR EXEC without MULTI",
        );
        let unknown = |c: &mut Client| c.cmd(&["NONSENSE", "x"]);
        says(c, "MULTI", "+OK");
        let refused = unknown(c);
        assert!(refused.is_error(), "{refused:?}");
        says(
            c,
            "EXEC",
            "-EXECABORT Transaction discarded because of previous errors.",
        );
        says(c, "MULTI", "+OK");
        says(c, "INCR k", "+QUEUED");
        says(c, "RESET", "+RESET");
        says(c, "EXEC", "-ERR EXEC without MULTI");
        says(c, "GET k", "$1\r\n5");
    });
}

#[test]
fn messages_refuse() {
    everywhere(|server| {
        let c = &mut server.connect();
        let mode = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                    this context";
        dialogue(
            c,
            "SUBSCRIBE -> -ERR wrong number of arguments for 'subscribe' command
             PUBLISH c -> -ERR wrong number of arguments for 'publish' command
             PUBSUB -> -ERR wrong number of arguments for 'pubsub' command
             PUBSUB NONSENSE -> -ERR unknown subcommand 'NONSENSE'. Try PUBSUB HELP.
             UNSUBSCRIBE -> *3\\r\\n$11\\r\\nunsubscribe\\r\\n$-1\\r\\n:0
             UNSUBSCRIBE c -> *3\\r\\n$11\\r\\nunsubscribe\\r\\n$1\\r\\nc\\r\\n:0
             SUBSCRIBE c -> *3\\r\\n$9\\r\\nsubscribe\\r\\n$1\\r\\nc\\r\\n:1
             SUBSCRIBE c -> *3\\r\\n$9\\r\\nsubscribe\\r\\n$1\\r\\nc\\r\\n:1
             PING -> *2\\r\\n$4\\r\\npong\\r\\n$0\\r\\n
             PING x -> *2\\r\\n$4\\r\\npong\\r\\n$1\\r\\nx",
        );
        for command in ["GET k", "MULTI", "PUBLISH c x", "CLIENT ID", "HELLO 3"] {
            let name = match command {
                "CLIENT ID" => "client|id".to_string(),
                _ => command
                    .to_lowercase()
                    .split(' ')
                    .next()
                    .unwrap_or_default()
                    .to_string(),
            };
            says(c, command, &format!("-ERR Can't execute '{name}': {mode}"));
        }
        says(c, "RESET", "+RESET");
        says(c, "GET k", "$-1");
        // With protocol 3 there is no such mode.
        assert!(matches!(c.cmd(&["HELLO", "3"]), Reply::Map(_)));
        says(c, "SUBSCRIBE c", ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1");
        says(c, "GET k", "_");
    });
}

#[test]
fn tracking_refuses() {
    everywhere(|server| {
        let c = &mut server.connect();
        let one = "Prefixes for a single client must not overlap.";
        let switch = "before disabling tracking for this client, and then re-enabling it with a \
                      different mode.";
        let table = format!(
            "CLIENT TRACKING MAYBE -> -ERR syntax error
             CLIENT TRACKING ON NONSENSE -> -ERR syntax error
             CLIENT TRACKING ON REDIRECT x -> -ERR value is not an integer or out of range
             CLIENT TRACKING ON REDIRECT 99999 -> -ERR The client ID you want redirect to does \
                                                  not exist
             CLIENT TRACKING ON PREFIX a -> -ERR PREFIX option requires BCAST mode to be enabled
             CLIENT TRACKING ON BCAST PREFIX ab PREFIX a -> -ERR Prefix 'ab' overlaps with \
                                                            another provided prefix 'a'. {one}
             CLIENT TRACKING ON BCAST PREFIX a PREFIX a -> -ERR Prefix 'a' overlaps with another \
                                                           provided prefix 'a'. {one}
             CLIENT TRACKING ON BCAST PREFIX ab -> +OK
             CLIENT TRACKING ON BCAST PREFIX a -> -ERR Prefix 'a' overlaps with an existing \
                                                  prefix 'ab'. {one}
             CLIENT TRACKING ON -> -ERR You can't switch BCAST mode on/off {switch}
             CLIENT TRACKING ON BCAST PREFIX b -> +OK
             CLIENT TRACKINGINFO -> *6\\r\\n$5\\r\\nflags\\r\\n*2\\r\\n$2\\r\\non\\r\\n$5\\r\\nbcast\
                 \\r\\n$8\\r\\nredirect\\r\\n:0\\r\\n$8\\r\\nprefixes\\r\\n*2\\r\\n$2\\r\\nab\\r\\n$1\\r\\nb
             CLIENT TRACKING OFF -> +OK
             CLIENT TRACKING ON OPTIN OPTOUT -> -ERR You can't specify both OPTIN mode and OPTOUT \
                                                mode
             CLIENT TRACKING ON BCAST OPTIN -> -ERR OPTIN and OPTOUT are not compatible with BCAST
             CLIENT CACHING YES -> -ERR CLIENT CACHING can be called only when the client is in \
                                   tracking mode with OPTIN or OPTOUT mode enabled
             CLIENT TRACKING ON OPTIN -> +OK
             CLIENT CACHING NO -> -ERR CLIENT CACHING NO is only valid when tracking is enabled in \
                                  OPTOUT mode.
             CLIENT CACHING MAYBE -> -ERR syntax error
             CLIENT TRACKING ON OPTOUT -> -ERR You can't switch OPTIN/OPTOUT mode {switch}
             CLIENT GETREDIR -> :0
             CLIENT TRACKING OFF -> +OK
             CLIENT GETREDIR -> :-1"
        );
        dialogue(c, &table);
    });
}

#[test]
fn clients_refuse() {
    everywhere(|server| {
        dialogue(
            &mut server.connect(),
            "CLIENT KILL ID 0 -> -ERR client-id should be greater than 0
             CLIENT KILL ID 999999 -> :0
             CLIENT KILL 1.2.3.4:5 -> -ERR No such client
             CLIENT KILL TYPE x -> -ERR Unknown client type 'x'
             CLIENT KILL SKIPME x -> -ERR syntax error
             CLIENT KILL USER nobody -> -ERR No such user 'nobody'
             CLIENT UNBLOCK 999999 -> :0
             CLIENT UNBLOCK 1 X -> -ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
        );
    });
}

#[test]
fn a_queue_past_its_limit_ends_the_client() {
    everywhere(|server| {
        let mut other = server.connect();
        says(
            &mut other,
            "CONFIG SET client-query-buffer-limit 1mb",
            "+OK",
        );
        says(&mut other, "SET k before", "+OK");
        let mut greedy = server.connect();
        says(&mut greedy, "WATCH k", "+OK");
        says(&mut greedy, "MULTI", "+OK");
        let request = encode(&["SET", "k", &"x".repeat(100_000)]);
        let mut queued = 0;
        loop {
            let sent = greedy.try_send(&request).and_then(|()| greedy.try_read());
            match sent {
                Ok((raw, _)) if raw == b"+QUEUED\r\n" => queued += 1,
                Ok((raw, _)) => panic!("{raw:?}"),
                Err(error) if is_close(&error) => break,
                Err(error) => panic!("{error}"),
            }
            assert!(queued <= 11, "{queued} commands of 100 kB in 1 MB");
        }
        assert!(queued >= 9, "{queued}");
        says(&mut other, "GET k", "$6\r\nbefore");
        // Many small commands are no different.
        let mut greedy = server.connect();
        says(&mut greedy, "MULTI", "+OK");
        let request = encode(&["INCR", "k"]).repeat(1000);
        let closed = (0..200).any(|_| match greedy.try_send(&request) {
            Ok(()) => (0..1000).any(|_| greedy.try_read().is_err()),
            Err(_) => true,
        });
        assert!(closed, "200,000 commands in 1 MB");
        says(&mut other, "GET k", "$6\r\nbefore");
    });
}

/// Subscribers of `c`.
fn subscribers(server: &Server, count: usize) -> Vec<Client> {
    let subscribe = |_| {
        let mut client = server.connect();
        says(
            &mut client,
            "SUBSCRIBE c",
            "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1",
        );
        client
    };
    (0..count).map(subscribe).collect()
}

/// The highest level that the server's memory has had, in bytes.
fn peak_bytes(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let word = line.and_then(|line| line.split_whitespace().nth(1));
    word.and_then(|kib| kib.parse::<usize>().ok())
        .expect("a number")
        * 1024
}

#[test]
fn half_a_gigabyte_to_several_at_once() {
    const SIZE: usize = 512 * MIB;
    everywhere(|server| {
        let mut publisher = server.connect();
        let mut whole = b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$536870912\r\n".to_vec();
        whole.resize(whole.len() + SIZE, b'x');
        whole.extend_from_slice(b"\r\n");
        // By default a subscriber may be 32 MB behind: all get some of it and are cut off.
        let mut cut_off = subscribers(server, 4);
        publisher.send(&whole);
        assert_eq!(publisher.read().0, b":4\r\n");
        for client in &mut cut_off {
            let got = until_closed(client);
            assert!(got.len() < SIZE / 2, "{} bytes", got.len());
        }
        let limits = "CONFIG SET client-output-buffer-limit";
        let words: Vec<&str> = limits.split(' ').chain(["pubsub 0 0 0"]).collect();
        assert_eq!(publisher.raw(&words), b"+OK\r\n");
        // Without a limit all get all of it, which is there once (and once as the request; some of
        // the first may not be given back yet).
        let mut patient = subscribers(server, 4);
        publisher.send(&whole);
        assert_eq!(publisher.read().0, b":4\r\n");
        let peak = peak_bytes(server);
        assert!(peak < 4 * SIZE, "{} MiB at most", peak / MIB);
        drop(whole);
        for client in &mut patient {
            let got = client.read_until(b"x\r\n").expect("the message");
            let head = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$536870912\r\n";
            assert!(got.starts_with(head) && got.len() == head.len() + SIZE - 1);
        }
        // One byte more is no request.
        publisher.send(b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$536870913\r\n");
        let error = b"-ERR Protocol error: invalid bulk length\r\n";
        assert_eq!(show(&until_closed(&mut publisher)), show(error));
    });
}

/// Messages of `size` bytes to three subscribers that never read and one that does.
fn silent_subscribers(server: &Server, size: usize) {
    let mut asking = server.connect();
    let before = info_number(&mut asking, "client_output_buffer_limit_disconnections");
    let mut silent = subscribers(server, 3);
    let mut reading = subscribers(server, 1).remove(0);
    let request = encode(&["PUBLISH", "c", &"x".repeat(size)]);
    let mut slowest = Duration::ZERO;
    let mut published = 0;
    loop {
        let begin = Instant::now();
        asking.send(&request);
        let receivers = asking.read().1.int();
        slowest = slowest.max(begin.elapsed());
        published += size;
        let message = reading.read().1;
        assert_eq!(message.items()[2].bytes().len(), size);
        if receivers == 1 {
            break;
        }
        // 32 MB of buffer, and what the sockets of both sides hold.
        assert!(published < 60 * MIB, "{receivers} are left");
    }
    assert!(published > 32 * MIB, "cut off after {published} bytes");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(
        info_number(&mut asking, "client_output_buffer_limit_disconnections"),
        before + 3
    );
    let numbers = asking.cmd(&["PUBSUB", "NUMSUB", "c"]);
    assert_eq!(numbers.items()[1].int(), 1);
    for client in &mut silent {
        until_closed(client);
    }
}

#[test]
fn a_subscriber_that_never_reads_is_cut_off_and_holds_nobody_up() {
    everywhere(|server| silent_subscribers(server, 10_000));
}

#[test]
fn a_subscriber_that_never_reads_long_messages_is_cut_off_too() {
    // Valkey counts only the first of messages that it does not copy, so it never cuts them off.
    if is_stand_in() {
        return;
    }
    let server = Server::kivi(&[]);
    silent_subscribers(&server, MIB);
    wait_for_rest(&server);
}

#[test]
fn a_hundred_thousand_channels_of_one_client() {
    everywhere(|server| {
        let mut client = server.connect();
        let mut asking = server.connect();
        let names: Vec<String> = (0..100_000).map(|n| format!("channel:{n}")).collect();
        for (command, answer) in [("SUBSCRIBE", "subscribe"), ("UNSUBSCRIBE", "unsubscribe")] {
            let words = std::iter::once(command).chain(names.iter().map(String::as_str));
            client.send(&encode(&words.collect::<Vec<_>>()));
            for (number, name) in names.iter().enumerate() {
                let left = match answer {
                    "subscribe" => number + 1,
                    _ => names.len() - number - 1,
                };
                let reply = client.read().1;
                let [kind, channel, count] = reply.items() else {
                    panic!("{reply:?}")
                };
                assert_eq!((kind.text(), channel.text()), (answer.into(), name.clone()));
                assert_eq!(count.int(), left as i64);
            }
            let open = match answer {
                "subscribe" => names.len() as i64,
                _ => 0,
            };
            assert_eq!(info_number(&mut asking, "pubsub_channels"), open);
        }
        // Once more, and gone without a word.
        let words = std::iter::once("PSUBSCRIBE").chain(names.iter().map(String::as_str));
        client.send(&encode(&words.collect::<Vec<_>>()));
        eventually("all patterns to be there", || {
            (info_number(&mut asking, "pubsub_patterns") == names.len() as i64).then_some(())
        });
    });
}

#[test]
fn whoever_is_killed_leaves_nothing() {
    everywhere(|server| {
        let mut killer = server.connect();
        let mut victims = Vec::new();
        let mut victim = |commands: &[&str]| {
            let mut client = server.connect();
            let number = id(&mut client);
            for command in commands {
                let words: Vec<&str> = command.split(' ').collect();
                client.send(&encode(&words));
            }
            victims.push((client, number, commands.join(", ")));
        };
        victim(&["BLPOP list 0"]);
        victim(&["MULTI", "BLPOP list 0", "SET multi 1"]);
        victim(&["WATCH a b c", "MULTI", "SET multi 1"]);
        victim(&["SUBSCRIBE c d", "PSUBSCRIBE p*", "SSUBSCRIBE s"]);
        victim(&["HELLO 3", "CLIENT TRACKING ON", "MGET a b c"]);
        victim(&["HELLO 3", "CLIENT TRACKING ON BCAST PREFIX a PREFIX b"]);
        victim(&["MONITOR"]);
        victim(&["HELLO 3", "SUBSCRIBE c", "BRPOPLPUSH list other 0"]);
        victim(&[]);
        for name in ["list", "a", "c"] {
            says(&mut killer, &format!("EXISTS {name}"), ":0");
        }
        eventually("everybody to be at it", || {
            let gauge = |name: &str, asking: &mut Client| info_number(asking, name);
            let there = (
                gauge("blocked_clients", &mut killer),
                gauge("pubsub_clients", &mut killer),
                gauge("tracking_clients", &mut killer),
                gauge("watching_clients", &mut killer),
                gauge("total_watched_keys", &mut killer),
                gauge("pubsub_patterns", &mut killer),
            );
            (there == (2, 2, 2, 1, 3, 1)).then_some(())
        });
        let monitors = killer.cmd(&["CLIENT", "LIST"]).text();
        assert_eq!(monitors.matches("flags=O ").count(), 1, "{monitors}");
        for (client, number, what) in &mut victims {
            let reply = killer.raw(&["CLIENT", "KILL", "ID", number]);
            assert_eq!(reply, b":1\r\n", "{what}");
            until_closed(client);
        }
        for gauge in ["blocked_clients", "tracking_clients", "watching_clients"] {
            eventually(gauge, || {
                (info_number(&mut killer, gauge) == 0).then_some(())
            });
        }
        // What they waited for, watched, tracked and wanted to write belongs to others.
        dialogue(
            &mut killer,
            "RPUSH list x -> :1
             LLEN list -> :1
             EXISTS multi other -> :0
             PUBLISH c x -> :0
             SPUBLISH s x -> :0
             SET a 1 -> +OK
             DEL list a -> :2",
        );
        let own = id(&mut killer);
        let words = ["CLIENT", "KILL", "ID", &own, "SKIPME", "NO"];
        killer.send(&encode(&words));
        assert_eq!(until_closed(&mut killer), b":1\r\n");
        let mut transaction = server.connect();
        let own = id(&mut transaction);
        says(&mut transaction, "MULTI", "+OK");
        says(&mut transaction, "SET multi 1", "+QUEUED");
        says(
            &mut transaction,
            &format!("CLIENT KILL ID {own} SKIPME NO"),
            "+QUEUED",
        );
        says(&mut transaction, "SET multi 2", "+QUEUED");
        transaction.send(&encode(&["EXEC"]));
        // Nothing is answered behind the reply that ends the connection, but all is executed.
        let answered = b"*3\r\n+OK\r\n:1\r\n";
        assert_eq!(show(&until_closed(&mut transaction)), show(answered));
        says(&mut server.connect(), "GET multi", "$1\r\n2");
    });
}

#[test]
fn dead_redirects() {
    everywhere(|server| {
        let mut writer = server.connect();
        let listener = |server: &Server| {
            let mut ears = server.connect();
            let number = id(&mut ears);
            let subscribed = "*3\r\n$9\r\nsubscribe\r\n$20\r\n__redis__:invalidate\r\n:1";
            says(&mut ears, "SUBSCRIBE __redis__:invalidate", subscribed);
            (ears, number)
        };
        let (mut ears, number) = listener(server);
        let mut tracking = server.connect();
        let own = id(&mut tracking);
        assert!(matches!(tracking.cmd(&["HELLO", "3"]), Reply::Map(_)));
        says(
            &mut tracking,
            &format!("CLIENT TRACKING ON REDIRECT {number}"),
            "+OK",
        );
        says(&mut tracking, "GET k", "_");
        says(&mut writer, "SET k 1", "+OK");
        let message = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n";
        assert_eq!(show(&ears.read().0), show(message.as_bytes()));
        says(&mut tracking, "GET k", "$1\r\n1");
        drop(ears);
        eventually("the listener to be gone", || {
            line(&mut writer, &number).is_empty().then_some(())
        });
        // It is told when there would be something to send.
        let flags = |tracking: &mut Client| {
            let told = tracking.cmd(&["CLIENT", "TRACKINGINFO"]);
            let flags: Vec<String> = told.items()[1].items().iter().map(Reply::text).collect();
            flags
        };
        assert_eq!(flags(&mut tracking), ["on"]);
        says(&mut writer, "SET k 2", "+OK");
        let broken = format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{number}\r\n");
        assert_eq!(show(&tracking.read().0), show(broken.as_bytes()));
        assert_eq!(flags(&mut tracking), ["on", "broken_redirect"]);
        says(&mut tracking, "CLIENT GETREDIR", &format!(":{number}"));
        let listed = line(&mut writer, &own);
        assert!(listed.contains(" flags=tR "), "{listed}");
        says(&mut tracking, "GET k", "$1\r\n2");
        says(&mut writer, "SET k 3", "+OK");
        assert_eq!(show(&tracking.read().0), show(broken.as_bytes()));
        // Tracking on its own again mends it.
        says(&mut tracking, "CLIENT TRACKING ON", "+OK");
        assert_eq!(flags(&mut tracking), ["on"]);
        says(&mut tracking, "GET k", "$1\r\n3");
        says(&mut writer, "SET k 4", "+OK");
        let pushed = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
        assert_eq!(show(&tracking.read().0), show(pushed));
        // With protocol 2 there is nothing to tell it by.
        let (ears, number) = listener(server);
        let mut old = server.connect();
        says(
            &mut old,
            &format!("CLIENT TRACKING ON BCAST REDIRECT {number}"),
            "+OK",
        );
        drop(ears);
        eventually("the listener to be gone", || {
            line(&mut writer, &number).is_empty().then_some(())
        });
        says(&mut writer, "SET other 1", "+OK");
        says(&mut old, "PING", "+PONG");
        assert_eq!(flags(&mut old), ["on", "bcast", "broken_redirect"]);
        says(&mut writer, "DEL k other", ":2");
    });
}
