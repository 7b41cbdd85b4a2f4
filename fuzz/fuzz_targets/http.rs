//! Requests to the metrics port: whatever comes, the server answers with well-formed responses or closes
//! the connection, and stays there.
//!
//! The first byte chooses how requests are cut; the rest is what the client sends.
#![no_main]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use kivi::http::Portal;
use kivi_fuzz::{Plan, START_MS};
use libfuzzer_sys::fuzz_target;

/// Longer than any answer takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(20);

static ADDRESS: LazyLock<SocketAddr> = LazyLock::new(|| {
    let plan = Plan::new(&[
        "--metrics-port",
        "1",
        "--console-enabled",
        "yes",
        "--io-threads",
        "1",
    ]);
    let house = plan.house(START_MS);
    let mut client = house.client();
    for words in [
        &[&b"SET"[..], b"s", b"value"][..],
        &[b"RPUSH", b"l", b"1", b"2"],
        &[b"HSET", b"h", b"f", b"v"],
        &[b"ZADD", b"z", b"1", b"a"],
        &[b"SADD", b"t", b"a"],
        &[b"XADD", b"x", b"1-1", b"f", b"v"],
        &[b"SET", b"<b>&\"\xff", b"\x00\xfe"],
    ] {
        let (reply, _) = client.call(words);
        assert!(!reply.starts_with(b"-"));
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    listener.set_nonblocking(true).expect("a listener");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let portal = Portal::new(house.server.clone(), house.table.clone());
            portal.listen(vec![listener]).expect("a thread");
            std::future::pending::<()>().await;
        });
    });
    address
});

/// Takes a response apart; what is behind it.
fn response(bytes: &[u8], is_head: bool) -> &[u8] {
    let at = bytes
        .windows(4)
        .position(|part| part == b"\r\n\r\n")
        .expect("the end of a head");
    let (head, body) = (&bytes[..at], &bytes[at + 4..]);
    let head = std::str::from_utf8(head).expect("text");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
    let status = status.and_then(|line| line.get(2..5)?.parse::<u16>().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {head}"));
    assert!((100..600).contains(&status), "{head}");
    assert_ne!(status, 500, "{head}");
    let length = lines.find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    let length: usize = length.unwrap_or(0);
    if is_head {
        return body;
    }
    assert!(body.len() >= length, "the whole body: {head}");
    &body[length..]
}

fuzz_target!(|data: &[u8]| {
    let [cut, request @ ..] = data else { return };
    let has = |word: &[u8]| {
        request
            .windows(word.len())
            .any(|part| part.eq_ignore_ascii_case(word))
    };
    if has(b"authorization") {
        // Wrong passwords are answered late.
        return;
    }
    let mut stream = TcpStream::connect(*ADDRESS).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    let size = match cut {
        0..128 => request.len().max(1),
        _ => usize::from(cut - 127),
    };
    for piece in request.chunks(size).take(64) {
        // It may have been told to go.
        if stream.write_all(piece).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
        Err(error) => panic!("no end of the answer: {error}"),
    }
    // No port stays in use for it.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    if has(b"head ") {
        return;
    }
    let mut rest = &answer[..];
    while !rest.is_empty() {
        rest = response(rest, false);
    }
});
