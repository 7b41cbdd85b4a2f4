//! MONITOR over TCP: its lines compared with Valkey's, under many writers, and for a client that does
//! not read them.

use std::collections::BTreeMap;

use crate::client::{Client, encode};
use crate::harness::{Server, eventually};

/// A connection that is shown everything.
fn monitor(server: &Server) -> Client {
    let mut client = server.connect();
    assert_eq!(client.raw(&["MONITOR"]), b"+OK\r\n");
    client
}

/// The next line without the time and the client's port, which no two servers share.
fn next_line(monitor: &mut Client) -> String {
    let line = monitor.read().1.text();
    let (time, shown) = line.split_once(' ').expect("a time");
    let (secs, us) = time.split_once('.').expect("microseconds");
    assert!(secs.parse::<u64>().is_ok() && us.len() == 6, "{line}");
    match shown.split_once(" 127.0.0.1:") {
        Some((db, rest)) => {
            let (_, rest) = rest.split_once(']').expect("the end of the address");
            format!("{db} ADDR]{rest}")
        }
        None => shown.to_owned(),
    }
}

/// Requests of one client, one a line; what is shown of them.
const REQUESTS: &[&[&[u8]]] = &[
    &[b"SET", b"a", b"1"],
    &[b"get", b"a"],
    &[b"SET", b"a", b"\"x\r\n\x00\xff\t\x07\x08\\ \x7f'"],
    &[b"GET"],
    &[b"NONSENSE", b"a"],
    &[b"LPUSH", b"a", b"x"],
    &[b"SELECT", b"9"],
    &[b"SELECT", b"x"],
    &[b"AUTH", b"secret"],
    &[b"AUTH", b"default", b"secret"],
    &[
        b"HELLO", b"2", b"AUTH", b"default", b"secret", b"SETNAME", b"me",
    ],
    &[b"CONFIG", b"GET", b"port"],
    &[b"CLIENT", b"ID"],
    &[b"CLIENT", b"LIST"],
    &[b"CLIENT", b"NO-TOUCH", b"on"],
    &[b"MULTI"],
    &[b"INCR", b"n"],
    &[b"GET", b"n", b"n"],
    &[b"EXEC"],
    &[b"MULTI"],
    &[b"INCR", b"n"],
    &[b"SELECT", b"3"],
    &[b"CONFIG", b"GET", b"port"],
    &[b"INCR", b"a"],
    &[b"EXEC"],
    &[b"WATCH", b"n"],
    &[b"UNWATCH"],
    &[b"MULTI"],
    &[b"DISCARD"],
    &[b"EXEC"],
    &[b"BLPOP", b"nolist", b"0.01"],
    &[b"PUBLISH", b"c", b"m"],
    &[b"FLUSHDB"],
    &[b"FLUSHALL", b"ASYNC"],
    &[b"SWAPDB", b"0", b"1"],
    &[b"DBSIZE"],
    &[b"EXPIRE", b"a", b"-1"],
    &[b"SPOP", b"s"],
    &[b"GETEX", b"a", b"EX", b"10"],
    &[b"SORT", b"l", b"BY", b"w_*"],
    &[b"LASTSAVE"],
    &[b"SET", b"empty", b""],
    &[b"RESET"],
    &[b"ECHO", b"end"],
];

/// What is shown of [`REQUESTS`].
fn shown(server: &Server) -> Vec<String> {
    let (mut monitor, mut client) = (monitor(server), server.connect());
    for request in REQUESTS {
        client.raw(request);
    }
    let mut lines = Vec::new();
    while lines
        .last()
        .is_none_or(|line: &String| !line.contains("\"end\""))
    {
        lines.push(next_line(&mut monitor));
    }
    lines
}

#[test]
fn lines_are_valkeys() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let expected = shown(&valkey);
    assert!(expected.len() > 25, "{expected:?}");
    for threads in ["1", "4"] {
        let kivi = Server::kivi(&["--io-threads", threads]);
        assert_eq!(shown(&kivi), expected);
    }
}

/// Many clients write the same few keys; whoever looks sees every command once, and of each key the
/// last value last.
#[test]
fn every_write_of_many_clients_is_shown_in_order() {
    const CLIENTS: usize = 8;
    const WRITES: usize = 400;
    let server = Server::kivi(&["--io-threads", "4"]);
    let mut monitors = [monitor(&server), monitor(&server)];
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let mut client = server.connect();
            scope.spawn(move || {
                let requests = (0..WRITES).flat_map(|write| {
                    let key = format!("key{}", write % 3);
                    encode(&["SET", &key, &format!("{number}-{write}")])
                });
                client.send(&requests.collect::<Vec<u8>>());
                for _ in 0..WRITES {
                    assert_eq!(client.read().0, b"+OK\r\n");
                }
            });
        }
    });
    let seen: Vec<Vec<String>> = monitors
        .iter_mut()
        .map(|monitor| (0..CLIENTS * WRITES).map(|_| next_line(monitor)).collect())
        .collect();
    assert_eq!(seen[0], seen[1]);
    let mut last = BTreeMap::new();
    for line in &seen[0] {
        let words: Vec<&str> = line.split('"').collect();
        assert_eq!(words[1], "SET", "{line}");
        last.insert(words[3], words[5]);
    }
    let mut sorted = seen[0].clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), CLIENTS * WRITES, "each once");
    let mut client = server.connect();
    for (key, value) in last {
        assert_eq!(client.cmd(&["GET", key]).text(), value, "{key}");
    }
}

#[test]
fn one_that_does_not_read_is_cut_off() {
    let limits = ["--client-output-buffer-limit", "normal 4mb 0 0"];
    let mut server = Server::kivi(&limits);
    let mut silent = monitor(&server);
    let mut client = server.connect();
    let value = vec![b'v'; 256 << 10];
    let looks = |client: &mut Client| {
        let text = client.cmd(&["CLIENT", "LIST", "FLAGS", "O"]).text();
        !text.is_empty()
    };
    eventually("it to be cut off", || {
        client.raw(&[b"SET", &b"k"[..], &value]);
        (!looks(&mut client)).then_some(())
    });
    let text = client.cmd(&["INFO", "stats"]).text();
    assert!(text.contains("client_output_buffer_limit_disconnections:1\r\n"));
    silent.read_to_close().expect("an end");
    server.assert_alive();
}
