//! What the wire accepts and refuses: framing, limits, and exact replies to bad input.
//!
//! The expected bytes are in `protocol_cases.rs`; they were read off real servers and are replayed
//! against those too. The rest of the file is about how bytes arrive: split anywhere, thousands of
//! commands at once, half requests, and clients that never read.

use std::time::Duration;

use crate::client::{Client, Reply, encode, is_close, show};
use crate::harness::{Server, eventually, is_stand_in};
use crate::protocol_cases::{Case, REQUESTS, RESP3, TYPES_RESP2, WRONG};

const SENTINEL: &[u8] = b"*2\r\n$4\r\nECHO\r\n$15\r\nthe-end-of-case\r\n";
const SENTINEL_REPLY: &[u8] = b"$15\r\nthe-end-of-case\r\n";

#[test]
fn replies_are_byte_for_byte_those_of_valkey() {
    replay(&Server::kivi(&["--enable-debug-command", "yes"]), |_| true);
}

#[test]
fn the_tables_are_true_of_valkey() {
    if let Some(valkey) = Server::valkey(&["--enable-debug-command", "yes"]) {
        replay(&valkey, |_| true);
    }
}

#[test]
fn the_tables_are_true_of_redis_7() {
    if let Some(redis) = Server::redis(&["--enable-debug-command", "yes"]) {
        replay(&redis, |case| case.redis_7_too);
    }
}

fn replay(server: &Server, wanted: impl Fn(&Case) -> bool) {
    let mut control = server.connect();
    let mut wrong = Vec::new();
    let resp2 = [REQUESTS, WRONG, TYPES_RESP2]
        .into_iter()
        .flatten()
        .map(|case| (case, false));
    for (case, resp3) in resp2.chain(RESP3.iter().map(|case| (case, true))) {
        if !wanted(case) {
            continue;
        }
        control.cmd(&["FLUSHALL"]);
        control.cmd(&["CONFIG", "SET", "timeout", "0"]);
        let mut client = server.connect();
        if resp3 {
            client.cmd(&["HELLO", "3"]);
        }
        let reply = exchange(&mut client, case);
        if reply.as_deref() != Ok(case.reply) {
            let shown = reply.map_or_else(|problem| problem, |bytes| show(&bytes));
            let (send, expected) = (show(case.send), show(case.reply));
            wrong.push(format!(
                "send     {send}\nexpected {expected}\ngot      {shown}\n"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        server.name,
        wrong.join("\n")
    );
}

/// The reply to a case; an error when the connection closes or stays against expectation.
fn exchange(client: &mut Client, case: &Case) -> Result<Vec<u8>, String> {
    client.send(case.send);
    if case.closes {
        return client
            .read_to_close()
            .map_err(|_| "the connection stayed open".to_owned());
    }
    client.send(SENTINEL);
    let read = client.read_until(SENTINEL_REPLY);
    read.map_err(|error| format!("no reply to the command after it: {error}"))
}

/// Commands with every kind of framing, and what they reply to together.
const MIXED: &[u8] = b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$5\r\nv\r\n\0\xff\r\n\
    *2\r\n$3\r\nGET\r\n$3\r\nk\r\n\r\nPING\r\nset q \"a\\x41\\\" b\" \r\n\r\n*0\r\n\
    *2\r\n$3\r\nGET\r\n$1\r\nq\r\n*1\r\n$0\r\n\r\n*1\r\n$3\r\nGET\r\n\
    *3\r\n$6\r\nAPPEND\r\n$1\r\ne\r\n$0\r\n\r\nDEL e\n*-1\r\n\
    *2\r\n$4\r\nECHO\r\n$14\r\n*1\r\n$4\r\nPING\r\n\r\n";
const MIXED_REPLIES: &[u8] = b"+OK\r\n$5\r\nv\r\n\0\xff\r\n+PONG\r\n+OK\r\n$5\r\naA\" b\r\n\
    -ERR unknown command '', with args beginning with: \r\n\
    -ERR wrong number of arguments for 'get' command\r\n:0\r\n:1\r\n\
    $14\r\n*1\r\n$4\r\nPING\r\n\r\n";

#[test]
fn a_request_may_be_split_at_every_byte() {
    let (send, expected) = (MIXED, MIXED_REPLIES);
    let server = Server::kivi(&[]);
    let mut other = server.connect();
    let mut client = server.connect();
    for split in 1..send.len() {
        client.send(&send[..split]);
        // A round trip on another connection gives the server the time to see the first part alone.
        assert_eq!(other.raw(&["PING"]), b"+PONG\r\n");
        client.send(&send[split..]);
        client.send(SENTINEL);
        let replies = client.read_until(SENTINEL_REPLY).expect("replies");
        assert_eq!(show(&replies), show(expected), "split at byte {split}");
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let (send, expected) = (MIXED, MIXED_REPLIES);
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    for byte in [send, SENTINEL].concat() {
        client.send(&[byte]);
    }
    assert_eq!(
        show(&client.read_until(SENTINEL_REPLY).expect("replies")),
        show(expected)
    );
}

#[test]
fn a_pipeline_of_ten_thousand() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let (mut send, mut expected) = (Vec::new(), Vec::new());
    for n in 0..10_000 {
        match n % 4 {
            0 => {
                send.extend(encode(&[
                    "SET",
                    &format!("k{}", n % 100),
                    &"v".repeat(n % 300),
                ]));
                expected.extend_from_slice(b"+OK\r\n");
            }
            1 => {
                send.extend(encode(&["GET", &format!("k{}", (n - 1) % 100)]));
                let value = "v".repeat((n - 1) % 300);
                expected.extend(format!("${}\r\n{value}\r\n", value.len()).as_bytes());
            }
            2 => {
                send.extend(encode(&["INCR", "counter"]));
                expected.extend(format!(":{}\r\n", n / 4 + 1).as_bytes());
            }
            _ => {
                send.extend_from_slice(b"nonsense\r\n");
                let text = b"-ERR unknown command 'nonsense', with args beginning with: \r\n";
                expected.extend_from_slice(text);
            }
        }
    }
    send.extend_from_slice(SENTINEL);
    for _ in 0..3 {
        client.cmd(&["FLUSHALL"]);
        client.send(&send);
        let replies = client.read_until(SENTINEL_REPLY).expect("replies");
        assert!(
            replies == expected,
            "{} bytes of replies: {}",
            replies.len(),
            show(&replies)
        );
    }
}

#[test]
fn large_values_come_back_whole() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    for size in [16_383, 16_384, 65_535, 65_536, 1 << 20, (32 << 20) + 7] {
        let value: Vec<u8> = (0..size).map(|i: usize| (i * 31 + i / 256) as u8).collect();
        assert_eq!(
            client.raw(&[b"SET".as_slice(), b"big", &value]),
            b"+OK\r\n",
            "SET of {size}"
        );
        let Reply::Bulk(back) = client.cmd(&["GET", "big"]) else {
            panic!("GET of {size}")
        };
        assert!(back == value, "GET of {size} bytes gives back the same");
        assert_eq!(client.cmd(&["STRLEN", "big"]).int(), size as i64);
    }
}

#[test]
fn strings_may_not_outgrow_proto_max_bulk_len() {
    let server = Server::kivi(&["--proto-max-bulk-len", "1mb"]);
    let mut client = server.connect();
    let too_long = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n".as_bytes();
    assert_eq!(
        client.raw(&["SETRANGE", "k", "1048575", "x"]),
        b":1048576\r\n"
    );
    assert_eq!(client.raw(&["APPEND", "k", "y"]), too_long);
    assert_eq!(client.raw(&["SETRANGE", "k", "1048576", "y"]), too_long);
    assert_eq!(client.raw(&["STRLEN", "k"]), b":1048576\r\n");
    client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048577\r\n");
    let reply = client.read_to_close().expect("the connection closes");
    assert_eq!(
        show(&reply),
        "-ERR Protocol error: invalid bulk length\\r\\n"
    );
}

#[test]
fn the_connection_stays_open_after_wrong_requests() {
    let server = Server::kivi(&["--enable-debug-command", "yes"]);
    let mut client = server.connect();
    for case in WRONG {
        client.send(case.send);
        client.send(SENTINEL);
        let closed = format!("the connection closed after {}", show(case.send));
        client.read_until(SENTINEL_REPLY).expect(&closed);
    }
}

#[test]
fn half_requests_and_disconnects_leave_nothing_behind() {
    let mut server = Server::kivi(&[]);
    let send = MIXED;
    let mut control = server.connect();
    for round in 0..400 {
        let mut client = server.connect();
        client.send(&send[..1 + round * 7 % (send.len() - 1)]);
    }
    for _ in 0..50 {
        let mut client = server.connect();
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\nabc");
    }
    eventually("all clients but one to be gone", || {
        (connected_clients(&mut control) == 1).then_some(())
    });
    server.assert_alive();
}

#[test]
fn headers_that_promise_much_cost_nothing() {
    let mut server = Server::kivi(&[]);
    let before = server.rss_bytes();
    let mut clients = Vec::new();
    for _ in 0..200 {
        for header in [
            b"*1000000\r\n$500000000\r\n".as_slice(),
            b"*1048576\r\n$3\r\nSET\r\n$536870912\r\n",
        ] {
            let mut client = server.connect();
            client.send(header);
            clients.push(client);
        }
    }
    server.assert_alive();
    let grown = server.rss_bytes().saturating_sub(before);
    // Valkey takes some 20 KB for the query buffer of such a client and 8 MB for its arguments.
    assert!(
        is_stand_in() || grown < 64 << 20,
        "400 headers cost {} MB",
        grown >> 20
    );
}

#[test]
fn before_authentication_only_small_requests() {
    let server = Server::kivi(&["--requirepass", "secret"]);
    unauthenticated(&server);
}

#[test]
fn the_expectations_of_unauthenticated_clients_are_true_of_valkey() {
    if let Some(valkey) = Server::valkey(&["--requirepass", "secret"]) {
        unauthenticated(&valkey);
    }
}

/// What a client without the password may send, and what it is told.
fn unauthenticated(server: &Server) {
    const NOAUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";
    const WRONGPASS: &[u8] = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    const HELLO: &[u8] = b"-NOAUTH HELLO must be called with the client already authenticated, \
        otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the \
        client and select the RESP protocol version at the same time\r\n";
    let case = |send, reply, closes| Case {
        send,
        reply,
        closes,
        redis_7_too: false,
    };
    let mget = b"*11\r\n$4\r\nMGET\r\n$1\r\na\r\n";
    let cases = [
        case(
            b"*11\r\n",
            b"-ERR Protocol error: unauthenticated multibulk length\r\n",
            true,
        ),
        case(
            b"*1000000\r\n",
            b"-ERR Protocol error: unauthenticated multibulk length\r\n",
            true,
        ),
        case(
            mget,
            b"-ERR Protocol error: unauthenticated multibulk length\r\n",
            true,
        ),
        case(
            b"*2\r\n$16385\r\n",
            b"-ERR Protocol error: unauthenticated bulk length\r\n",
            true,
        ),
        case(b"PING\r\n", NOAUTH, false),
        case(b"GET a\r\n", NOAUTH, false),
        case(b"GET a b c\r\n", NOAUTH, false),
        case(b"nonsense\r\n", NOAUTH, false),
        case(b"COMMAND COUNT\r\n", NOAUTH, false),
        case(b"HELLO\r\n", HELLO, false),
        case(b"HELLO 3\r\n", HELLO, false),
        case(
            b"HELLO 4\r\n",
            b"-NOPROTO unsupported protocol version\r\n",
            false,
        ),
        case(b"HELLO 3 AUTH default bad\r\n", WRONGPASS, false),
        case(b"AUTH bad\r\n", WRONGPASS, false),
        case(b"AUTH default bad\r\n", WRONGPASS, false),
        case(b"AUTH nobody secret\r\n", WRONGPASS, false),
        case(b"AUTH a b c\r\n", b"-ERR syntax error\r\n", false),
        case(b"RESET\r\n", b"+RESET\r\n", false),
        case(b"QUIT\r\n", b"+OK\r\n", true),
    ];
    for case in &cases {
        let mut client = server.connect();
        client.send(case.send);
        let reply = if case.closes {
            client.read_to_close()
        } else {
            client.try_read().map(|(raw, _)| raw.0)
        };
        let shown = reply.map_or_else(|e| format!("{e}"), |bytes| show(&bytes));
        assert_eq!(
            shown,
            show(case.reply),
            "reply of {} to {}",
            server.name,
            show(case.send)
        );
    }
    // After authentication, in the same packet, the limits are gone; RESET brings them back.
    let many = [
        b"*11\r\n$4\r\nMGET\r\n".as_slice(),
        &b"$1\r\na\r\n".repeat(10),
    ]
    .concat();
    let mut client = server.connect();
    client.send(&[b"AUTH secret\r\n".as_slice(), &many].concat());
    assert_eq!(client.read().0, b"+OK\r\n");
    assert_eq!(client.read().1, Reply::Array(vec![Reply::Nil; 10]));
    assert_eq!(client.raw(&["AUTH", "default", "secret"]), b"+OK\r\n");
    assert_eq!(client.raw(&["RESET"]), b"+RESET\r\n");
    assert_eq!(client.raw(&["GET", "a"]), NOAUTH);
    client.send(b"HELLO 3 AUTH default secret SETNAME me\r\n");
    assert!(
        matches!(client.read().1, Reply::Map(_)),
        "HELLO 3 with AUTH"
    );
    assert_eq!(client.raw(&["CLIENT", "GETNAME"]), b"$2\r\nme\r\n");
}

#[test]
fn an_unauthenticated_client_that_never_reads_costs_little() {
    let mut server = Server::kivi(&["--requirepass", "secret"]);
    let before = server.rss_bytes();
    let pings = b"*1\r\n$4\r\nPING\r\n".repeat(10_000);
    let mut stuck = Vec::new();
    for _ in 0..20 {
        let mut client =
            Client::tcp_with_timeout(("127.0.0.1", server.port), Duration::from_millis(300))
                .expect("connect");
        // 140 KB a time, until the server stops reading or closes; both are good.
        let sent = (0..200)
            .take_while(|_| client.try_send(&pings).is_ok())
            .count();
        assert!(
            sent < 200,
            "the server took {sent} times 140 KB from a client that never reads"
        );
        stuck.push(client);
    }
    let grown = server.rss_bytes().saturating_sub(before);
    assert!(
        grown < 64 << 20,
        "20 clients that never read cost {} MB",
        grown >> 20
    );
    server.assert_alive();
}

#[test]
fn a_client_that_reads_late_gets_every_reply() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    client.cmd(&["SET", "k", &"v".repeat(10_000)]);
    let gets = encode(&["GET", "k"]).repeat(1000);
    client.send(&gets);
    for _ in 0..1000 {
        assert_eq!(client.read().1.bytes().len(), 10_000);
    }
    assert_eq!(client.raw(&["PING"]), b"+PONG\r\n");
}

#[test]
fn http_is_cut_off_and_logged() {
    let mut server = Server::kivi(&[]);
    for request in [
        b"POST /cgi HTTP/1.1\r\n".as_slice(),
        b"Host: example.org\r\nSET a b\r\n",
    ] {
        let mut client = server.connect();
        client.send(request);
        let said = show(&client.read_to_close().expect("the connection closes"));
        if is_stand_in() {
            assert_eq!(said, "");
        } else {
            assert!(said.starts_with("HTTP/1.1 400 Bad Request"), "{said}");
            assert!(said.contains("RESP"), "{said}");
        }
    }
    assert_eq!(server.connect().raw(&["EXISTS", "a"]), b":0\r\n");
    eventually("a line in the log", || {
        server
            .log()
            .to_lowercase()
            .contains("security")
            .then_some(())
    });
    server.assert_alive();
}

#[test]
fn a_killed_connection_is_told_by_its_end() {
    let server = Server::kivi(&[]);
    let (mut victim, mut killer) = (server.connect(), server.connect());
    let id = victim.cmd(&["CLIENT", "ID"]).int();
    assert_eq!(
        killer.raw(&["CLIENT", "KILL", "ID", &id.to_string()]),
        b":1\r\n"
    );
    let error = victim
        .try_raw(&["PING"])
        .expect_err("the connection is closed");
    assert!(is_close(&error), "{error}");
}

/// Whoever sends nonsense is seen in the figures.
#[test]
fn broken_requests_are_counted_as_errors() {
    for server in [Some(Server::kivi(&[])), Server::valkey(&[])]
        .into_iter()
        .flatten()
    {
        let (mut control, mut broken) = (server.connect(), server.connect());
        control.cmd(&["CONFIG", "RESETSTAT"]);
        broken.send(b"*1\r\n$x\r\n");
        assert!(broken.read().1.is_error());
        let info = control.cmd(&["INFO", "errorstats"]).text();
        assert!(info.contains("errorstat_ERR:count=1\r\n"), "{info}");
        let info = control.cmd(&["INFO", "stats"]).text();
        assert!(info.contains("total_error_replies:1\r\n"), "{info}");
    }
}

fn connected_clients(client: &mut Client) -> u64 {
    let info = client.cmd(&["INFO", "clients"]).text();
    let line = info
        .lines()
        .find_map(|l| l.strip_prefix("connected_clients:"));
    line.expect("connected_clients in INFO")
        .trim()
        .parse()
        .expect("a number")
}
