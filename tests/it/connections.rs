//! Single connections at their edges: slow readers, unfinished requests, a password taken away.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::{Client, encode};
use crate::harness::{PATIENCE, Server, eventually, eventually_within};

const MIB: usize = 1 << 20;

/// A server with a value of `bytes` under `big`.
fn with_big_value(args: &[&str], bytes: usize) -> Server {
    let server = Server::kivi(args);
    let last = (bytes - 1).to_string();
    let reply = server.connect().raw(&["SETRANGE", "big", &last, "x"]);
    assert_eq!(reply, format!(":{bytes}\r\n").as_bytes());
    server
}

/// A raw connection that has asked for `big` and reads nothing yet.
fn asking(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connecting");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let request = encode(&["GET", "big"]);
    std::io::Write::write_all(&mut stream, &request).expect("sending");
    stream
}

fn list(client: &mut Client) -> Vec<String> {
    let text = client.cmd(&["CLIENT", "LIST"]).text();
    text.lines().map(str::to_owned).collect()
}

/// The number behind `name=` in a line of CLIENT LIST.
fn field(line: &str, name: &str) -> u64 {
    let mut words = line.split(' ');
    let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.expect(name).parse().expect(name)
}

#[test]
fn who_takes_a_long_reply_slowly_is_not_idle() {
    const SIZE: usize = 96 * MIB;
    let server = with_big_value(&["--timeout", "1"], SIZE);
    let mut stream = asking(&server);
    let mut piece = vec![0; 2 * MIB];
    let mut read = 0;
    let end = SIZE + format!("${SIZE}\r\n\r\n").len();
    let start = Instant::now();
    while read < end {
        match stream.read(&mut piece) {
            Ok(bytes @ 1..) => read += bytes,
            other => panic!("cut off after {read} of {end} bytes: {other:?}"),
        }
        // Three seconds for all of it, at an even pace.
        let due = Duration::from_secs(3).mul_f64(read as f64 / end as f64);
        eventually("the next piece to be due", || {
            (start.elapsed() >= due).then_some(())
        });
    }
}

#[test]
fn a_killed_slow_reader_is_gone_at_once() {
    let server = with_big_value(&[], 64 * MIB);
    let mut other = server.connect();
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(asking(&server));
    }
    let waiting = |other: &mut Client| -> Vec<u64> {
        let lines = list(other);
        let slow = lines.iter().filter(|line| field(line, "omem") > 0);
        slow.map(|line| field(line, "id")).collect()
    };
    let ids = eventually("three replies to wait", || {
        Some(waiting(&mut other)).filter(|ids| ids.len() == 3)
    });
    for id in &ids {
        let reply = other.cmd(&["CLIENT", "KILL", "ID", &id.to_string()]);
        assert_eq!(reply.int(), 1);
    }
    eventually_within(Duration::from_secs(3), "the killed to be gone", || {
        (list(&mut other).len() == 1).then_some(())
    });
}

#[test]
fn who_kills_himself_gets_all_of_his_replies() {
    const SIZE: usize = 32 * MIB;
    let server = with_big_value(&[], SIZE);
    let mut client = server.connect();
    let id = client.cmd(&["CLIENT", "ID"]).int().to_string();
    let mut requests = encode(&["GET", "big"]);
    requests.extend(encode(&["CLIENT", "KILL", "ID", &id, "SKIPME", "NO"]));
    client.send(&requests);
    let said = client.read_to_close().expect("closed");
    assert_eq!(said.len(), SIZE + format!("${SIZE}\r\n\r\n:1\r\n").len());
    assert!(said.ends_with(b"\r\n:1\r\n"));
}

#[test]
fn without_a_password_nobody_is_kept_short() {
    let server = Server::kivi(&["--requirepass", "secret"]);
    let mut early = server.connect();
    assert!(early.cmd(&["GET", "k"]).is_error());
    let mut owner = server.connect();
    assert_eq!(owner.raw(&["AUTH", "secret"]), b"+OK\r\n");
    assert_eq!(owner.raw(&["CONFIG", "SET", "requirepass", ""]), b"+OK\r\n");
    let long = "x".repeat(20_000);
    assert_eq!(early.raw(&["SET", "k", &long]), b"+OK\r\n");
    let many: Vec<&str> = std::iter::once("EXISTS").chain(vec!["k"; 50]).collect();
    assert_eq!(early.raw(&many), b":50\r\n");
}

#[test]
fn an_unfinished_request_takes_little_memory() {
    let server = Server::kivi(&[]);
    let mut asking = server.connect();
    let mut crowd: Vec<Client> = (0..20).map(|_| server.connect()).collect();
    let whole = encode(&["SET", "key", &"v".repeat(3000)]);
    let (first, rest) = whole.split_at(40);
    for client in &mut crowd {
        client.send(first);
    }
    let unfinished = |lines: &[String]| {
        let held = lines.iter().filter(|line| field(line, "qbuf") == 40);
        held.count()
    };
    let lines = eventually("forty bytes of each to wait", || {
        Some(list(&mut asking)).filter(|lines| unfinished(lines) == 20)
    });
    for line in lines.iter().filter(|line| field(line, "qbuf") == 40) {
        assert!(field(line, "tot-mem") < 8192, "{line}");
    }
    for client in &mut crowd {
        client.send(rest);
        assert_eq!(client.read().0, b"+OK\r\n");
    }
    let lines = list(&mut asking);
    let freed = lines.iter().filter(|line| field(line, "tot-mem") < 4096);
    assert!(freed.count() >= 20, "{lines:?}");
}

/// `timeout` is for those who say nothing, not for those who wait for the server.
#[test]
fn who_waits_for_the_server_is_not_idle() {
    let debug = ["--enable-debug-command", "yes"];
    let slow = ["--timeout", "1", "--rdb-key-save-delay", "20000"];
    let server = Server::kivi(&[&debug[..], &slow].concat());
    let mut first = server.connect();
    assert_eq!(first.raw(&["DEBUG", "POPULATE", "150"]).0, b"+OK\r\n");
    assert_eq!(first.raw(&["SAVE"]).0, b"+OK\r\n");

    let mut second = server.connect();
    first.send(&encode(&["DEBUG", "SLEEP", "5"]));
    eventually("a PING to wait at the gate", || {
        let start = Instant::now();
        assert_eq!(second.raw(&["PING"]).0, b"+PONG\r\n");
        (start.elapsed() > Duration::from_secs(2)).then_some(())
    });
    assert_eq!(first.read().0.0, b"+OK\r\n");
}
