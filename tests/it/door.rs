//! Who comes to the door: floods of connections, those that say nothing or half of it, those that never read, proxies
//! that speak for others, and commands that have other names.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::SockRef;

use crate::client::{Client, Reply, is_close, show};
use crate::eviction::config_set;
use crate::harness::{
    Launch, PATIENCE, Reaped, Server, StopAtEnd, address_of_this_machine, eventually, free_port,
    is_stand_in, kivi_binary, kivi_to_end, needs, python, run_tool,
};

const PONG: &[u8] = b"+PONG\r\n";
const DENIED: &str = "-DENIED Redis is running in protected mode";

/// The client's own line of CLIENT LIST.
fn own_line(client: &mut Client) -> String {
    client.cmd(&["CLIENT", "INFO"]).text()
}

/// A connection that begins with these bytes.
fn greeted(server: &Server, header: &[u8]) -> Client {
    let mut client = server.connect();
    client.send(header);
    client
}

/// A header of version 2 that says TCP over IPv4.
fn binary_header(source: [u8; 4], port: u16) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(source);
    header.extend([198, 51, 100, 1]);
    header.extend(port.to_be_bytes());
    header.extend(6379u16.to_be_bytes());
    header
}

const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 4000 6379\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[test]
fn a_trusted_proxy_says_who_comes() {
    let server = Server::kivi(&["--requirepass", "secret"]);
    let mut control = server.connect();
    assert_eq!(control.raw(&["AUTH", "secret"]), b"+OK\r\n");
    config_set(
        &mut control,
        "proxy-protocol-trusted",
        "10.0.0.0/8 127.0.0.0/8",
    );
    let headers = [LINE.to_vec(), binary_header([203, 0, 113, 7], 4000)];
    for header in headers {
        // In one packet with the first request, and in pieces.
        let mut client = greeted(&server, &[&header[..], b"AUTH secret\r\n"].concat());
        assert_eq!(client.read().0, b"+OK\r\n");
        let line = own_line(&mut client);
        assert!(
            line.contains(" addr=203.0.113.7:4000 laddr=198.51.100.1:6379 "),
            "{line}"
        );
        let mut pieces = server.connect();
        for byte in &header {
            pieces.send(&[*byte]);
        }
        assert_eq!(pieces.raw(&["AUTH", "secret"]), b"+OK\r\n");
        let kill = ["CLIENT", "KILL", "ADDR", "203.0.113.7:4000"];
        assert_eq!(control.raw(&kill), b":2\r\n");
    }
    let mut client = greeted(&server, b"PROXY TCP6 2001:db8::9 fd00::1 7 6379\r\n");
    assert_eq!(client.raw(&["AUTH", "secret"]), b"+OK\r\n");
    let line = own_line(&mut client);
    assert!(
        line.contains(" addr=[2001:db8::9]:7 laddr=[fd00::1]:6379 "),
        "{line}"
    );
    // MONITOR shows the same address.
    let mut monitor = greeted(&server, LOCAL);
    assert_eq!(monitor.raw(&["AUTH", "secret"]), b"+OK\r\n");
    assert_eq!(monitor.raw(&["MONITOR"]), b"+OK\r\n");
    assert_eq!(client.raw(&["PING"]), PONG);
    let seen = monitor.read().1.text();
    assert!(seen.contains("[0 [2001:db8::9]:7] \"PING\""), "{seen}");
    // Nobody is asked any more; whoever says it nevertheless speaks no RESP.
    config_set(&mut control, "proxy-protocol-trusted", "");
    let mut plain = server.connect();
    assert_eq!(plain.raw(&["AUTH", "secret"]), b"+OK\r\n");
    assert!(greeted(&server, LINE).read().1.is_error());
}

#[test]
fn who_is_local_is_judged_by_what_the_proxy_says() {
    let server = Server::kivi(&["--enable-debug-command", "local"]);
    let mut control = server.connect();
    config_set(&mut control, "proxy-protocol-trusted", "127.0.0.1");
    let denied = [
        LINE,
        &binary_header([203, 0, 113, 7], 1),
        // The proxy cannot say who it is.
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0",
    ];
    for header in denied {
        let said = greeted(&server, header).read_to_close().expect("closed");
        assert!(said.starts_with(DENIED.as_bytes()), "{}", show(&said));
    }
    let local = [
        LOCAL,
        b"PROXY TCP4 127.0.0.9 127.0.0.1 4000 6379\r\n",
        b"PROXY TCP6 ::1 ::1 4000 6379\r\n",
    ];
    for header in local {
        let mut client = greeted(&server, header);
        assert_eq!(
            client.raw(&["DEBUG", "SLEEP", "0"]),
            b"+OK\r\n",
            "{}",
            show(header)
        );
    }
    config_set(&mut control, "protected-mode", "no");
    for header in denied {
        let mut client = greeted(&server, header);
        assert_eq!(client.raw(&["PING"]), PONG);
        let said = client.raw(&["DEBUG", "SLEEP", "0"]);
        assert!(said.0.starts_with(b"-ERR DEBUG command not allowed"));
    }
    // From elsewhere nobody is asked, and loopback of another machine is not ours.
    let Some(address) = address_of_this_machine() else {
        return eprintln!("skipped: this machine has no address but loopback");
    };
    config_set(&mut control, "bind", "*");
    let mut untrusted = Client::tcp((address, server.port)).expect("connecting");
    assert_eq!(untrusted.raw(&["PING"]), PONG);
    config_set(&mut control, "proxy-protocol-trusted", &address.to_string());
    let mut from_afar = Client::tcp((address, server.port)).expect("connecting");
    from_afar.send(b"PROXY TCP4 127.0.0.1 127.0.0.1 4000 6379\r\n");
    let said = from_afar.raw(&["DEBUG", "SLEEP", "0"]);
    assert!(
        said.0.starts_with(b"-ERR DEBUG command not allowed"),
        "{}",
        show(&said.0)
    );
}

/// On a port with TLS the header comes before the handshake, in the clear.
#[test]
fn a_proxy_speaks_before_the_handshake() {
    let Some(python) = python() else {
        return;
    };
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tls/testdata");
    let (cert, key) = (format!("{data}/server.crt"), format!("{data}/server.key"));
    let server = Server::kivi(&[
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
    ]);
    let mut control = server.connect();
    let tls_port = free_port().to_string();
    config_set(&mut control, "tls-port", &tls_port);
    config_set(&mut control, "protected-mode", "no");
    config_set(&mut control, "proxy-protocol-trusted", "127.0.0.1");
    let script = "import socket, ssl, sys\n\
        context = ssl.create_default_context()\n\
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n\
        raw = socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=30)\n\
        raw.sendall(sys.stdin.buffer.read())\n\
        secured = context.wrap_socket(raw)\n\
        secured.sendall(b'CLIENT INFO\\r\\n')\n\
        print(secured.recv(4096).decode())\n";
    for header in [LINE.to_vec(), binary_header([203, 0, 113, 7], 4000)] {
        let output = run_tool(&python, &["-c", script, &tls_port], &[], &header);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_right = said.contains(" addr=203.0.113.7:4000 laddr=198.51.100.1:6379 ");
        assert!(is_right, "{said} {output:?}");
    }
    // Without one there is no handshake either.
    let output = run_tool(&python, &["-c", script, &tls_port], &[], b"");
    assert!(!output.status.success(), "{output:?}");
}

/// As Valkey sees it: that the user `default` is off is no protection while it needs no password.
#[test]
fn protected_mode_asks_whether_the_default_user_has_a_password() {
    protected(&Server::kivi(&["--bind", "*"]));
    if let Some(valkey) = Server::valkey(&["--bind", "*"]) {
        protected(&valkey);
    }
}

fn protected(server: &Server) {
    let Some(address) = address_of_this_machine() else {
        return eprintln!("skipped: this machine has no address but loopback");
    };
    let mut control = server.connect();
    let rules: &[(&[&str], bool)] = &[
        (&[], false),
        (&["off"], false),
        (&["on", "resetpass"], true),
        (&["nopass"], false),
        (&[">secret"], true),
        (&["off"], true),
        (&["on", "nopass", "-@all", "resetkeys"], false),
    ];
    assert_eq!(
        control.raw(&[
            "ACL", "SETUSER", "root", "on", "nopass", "~*", "&*", "+@all"
        ]),
        b"+OK\r\n"
    );
    assert_eq!(control.raw(&["AUTH", "root", ""]), b"+OK\r\n");
    for (rule, admitted) in rules {
        let argv = [&["ACL", "SETUSER", "default"], *rule].concat();
        assert_eq!(control.raw(&argv), b"+OK\r\n");
        let mut stranger = Client::tcp((address, server.port)).expect("connecting");
        stranger.set_read_timeout(PATIENCE);
        let said = match stranger.try_raw(&["AUTH", "root", ""]) {
            Ok(reply) => reply.0,
            Err(error) => error.to_string().into_bytes(),
        };
        let is_admitted = said == b"+OK\r\n";
        assert_eq!(
            is_admitted,
            *admitted,
            "{} {rule:?}: {}",
            server.name,
            show(&said)
        );
    }
}

#[test]
fn half_headers_and_none_are_refused_and_hold_up_nobody() {
    let server = Server::kivi(&["--maxclients", "20"]);
    let mut control = server.connect();
    config_set(&mut control, "proxy-protocol-trusted", "127.0.0.1");
    let text = "-ERR Protocol error: a PROXY protocol header is expected from this address, see \
        proxy-protocol-trusted\r\n";
    for broken in [
        &b"PING\r\n"[..],
        b"PROXY TCP4 1.2.3.4\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\0\0\0",
        b"*",
    ] {
        let said = greeted(&server, broken).read_to_close().expect("closed");
        assert_eq!(show(&said), show(text.as_bytes()), "{}", show(broken));
    }
    eventually("a line in the log", || {
        let log = server.log();
        log.contains("Bad PROXY protocol header from 127.0.0.1:")
            .then_some(())
    });
    // Each that has not said all of it counts; those who have are served meanwhile.
    let halves: Vec<_> = (0..19).map(|_| greeted(&server, b"PROXY TCP4 ")).collect();
    eventually("no place to be left", || {
        let said = greeted(&server, LOCAL).read_to_close().ok()?;
        (said == b"-ERR max number of clients reached\r\n").then_some(())
    });
    assert_eq!(control.raw(&["PING"]), PONG);
    assert_eq!(control.info_number("clients", "connected_clients"), 1);
    drop(halves);
    eventually("places to be free again", || {
        let mut client = greeted(&server, LOCAL);
        client
            .try_raw(&["PING"])
            .ok()
            .filter(|reply| reply.0 == PONG)
    });
}

#[test]
fn whoever_does_not_log_in_in_time_is_closed() {
    let server = Server::kivi(&["--requirepass", "secret", "--unauthenticated-timeout", "1"]);
    let mut friend = server.connect();
    assert_eq!(friend.raw(&["AUTH", "secret"]), b"+OK\r\n");
    let mut silent = server.connect();
    let mut loud = server.connect();
    let mut half = greeted(&server, b"*2\r\n$4\r\nAUTH\r\n$6\r\nsec");
    // It counts from the start, whatever is sent meanwhile.
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| silent.read_to_close());
        eventually("the end", || match loud.try_raw(&["PING"]) {
            Ok(reply) => {
                assert_eq!(reply.0, b"-NOAUTH Authentication required.\r\n");
                None
            }
            Err(error) => is_close(&error).then_some(()),
        });
        assert_eq!(waiter.join().expect("waiter").expect("closed"), b"");
    });
    assert_eq!(half.read_to_close().expect("closed"), b"");
    assert_eq!(friend.raw(&["PING"]), PONG);
}

#[test]
fn a_request_that_does_not_go_on_ends_its_client() {
    let server = Server::kivi(&["--request-timeout", "1"]);
    let mut idle = server.connect();
    let mut blocked = greeted(&server, b"BLPOP nothing 0\r\n*1\r\n$4\r\nPI");
    let mut subscriber = server.connect();
    subscriber.cmd(&["SUBSCRIBE", "channel"]);
    let halves = [
        &b"*"[..],
        b"*2\r\n$3\r\nGET\r\n$5\r\nab",
        b"GET a",
        b"PING\r\nPIN",
    ];
    let halves = halves.map(|half| greeted(&server, half));
    for mut half in halves {
        let said = half.read_to_close().expect("closed");
        assert!(said.is_empty() || said == PONG, "{}", show(&said));
    }
    // So the time of the others, who came before, is over, too.
    assert_eq!(idle.raw(&["PING"]), PONG);
    assert_eq!(idle.raw(&["PUBLISH", "channel", "x"]), b":1\r\n");
    assert!(matches!(subscriber.read().1, Reply::Array(_)));
    assert_eq!(idle.raw(&["RPUSH", "nothing", "x"]), b":1\r\n");
    assert!(matches!(blocked.read().1, Reply::Array(_)));
    blocked.send(b"NG\r\n");
    assert_eq!(blocked.read().0, PONG);
}

#[test]
fn before_the_password_a_request_as_a_whole_is_small() {
    if is_stand_in() {
        return;
    }
    let server = Server::kivi(&["--requirepass", "secret"]);
    let argument = [&b"$16384\r\n"[..], &[b'x'; 16_384], b"\r\n"].concat();
    let auth = [&b"*3\r\n$4\r\nAUTH\r\n"[..], &argument, &argument].concat();
    let mut client = greeted(&server, &auth);
    let wrong = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    assert_eq!(client.read().0, wrong);
    client.send(&[&b"*10\r\n"[..], &argument.repeat(3)].concat());
    let said = client.read_to_close().expect("closed");
    assert_eq!(
        show(&said),
        show(b"-ERR Protocol error: unauthenticated bulk length\r\n")
    );
    let mut client = greeted(&server, &[b'x'; 40_000]);
    let said = client.read_to_close().expect("closed");
    assert_eq!(
        show(&said),
        show(b"-ERR Protocol error: too big inline request\r\n")
    );
    // With it, it may be large.
    let mut client = greeted(&server, b"AUTH secret\r\n");
    client.send(&[&b"*10\r\n$3\r\nDEL\r\n"[..], &argument.repeat(9)].concat());
    assert_eq!(
        [client.read().0.0, client.read().0.0],
        [&b"+OK\r\n"[..], b":0\r\n"]
    );
}

/// One that sends and never reads.
struct Stranger<'a> {
    stream: TcpStream,
    bytes: &'a [u8],
    /// Whether it begins again at the end of them, for as long as somebody takes them.
    repeats: bool,
    sent: usize,
}

impl Stranger<'_> {
    /// Sends until nothing more is taken, going on where it was; whether anything was taken.
    fn send(&mut self) -> bool {
        let before = self.sent;
        while self.repeats || self.sent < self.bytes.len() {
            let rest = &self.bytes[self.sent % self.bytes.len()..];
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Real servers end the connections of strangers with unread output.
                Err(error) => {
                    assert!(is_stand_in(), "a stranger was cut off: {error}");
                    break;
                }
            }
        }
        self.sent > before
    }
}

/// The target of issue 9: 200 connections that send without reading, before they log in.
#[test]
fn strangers_that_never_read_cost_little() {
    const STRANGERS: usize = 200;
    const MOST: u64 = 16 << 20;
    let mut server = Server::kivi(&["--requirepass", "secret"]);
    server.assert_alive();
    let before = server.rss_bytes();
    // Replies that nobody takes, and requests that do not end: as large as they may be.
    let argument = [&b"$16384\r\n"[..], &[b'x'; 16_384], b"\r\n"].concat();
    let requests = [
        b"*1\r\n$4\r\nPING\r\n".repeat(20_000),
        b"PING\r\n".repeat(40_000),
        [&b"*10\r\n"[..], &argument, &argument].concat(),
        vec![b'x'; 33 * 1024],
    ];
    let mut strangers = Vec::new();
    for number in 0..STRANGERS {
        let address = ("127.0.0.1", server.port);
        let stream = TcpStream::connect(address).expect("connecting");
        stream.set_nonblocking(true).expect("nonblocking");
        let mut stranger = Stranger {
            stream,
            bytes: &requests[number % requests.len()],
            repeats: number % requests.len() < 2,
            sent: 0,
        };
        stranger.send();
        strangers.push(stranger);
    }
    // Until nothing more is taken from anybody.
    let mut quiet = 0;
    eventually("the server to stop reading", || {
        let taken = strangers
            .iter_mut()
            .filter_map(|one| one.send().then_some(()));
        quiet = if taken.count() == 0 { quiet + 1 } else { 0 };
        (quiet > 20).then_some(())
    });
    for stranger in &strangers {
        let (sent, all) = (stranger.sent, stranger.bytes.len());
        assert!(sent >= all, "{sent} of {all}");
    }
    let grown = server.rss_bytes().saturating_sub(before);
    eprintln!("{STRANGERS} strangers cost {} KB", grown >> 10);
    assert!(
        grown < MOST || is_stand_in(),
        "{STRANGERS} strangers cost {} KB",
        grown >> 10
    );
    // All of that was measured while they were there.
    let mut control = server.connect();
    assert_eq!(control.raw(&["AUTH", "secret"]), b"+OK\r\n");
    let there = control.info_number("clients", "connected_clients");
    assert!(there as usize == STRANGERS + 1 || is_stand_in(), "{there}");
    server.assert_alive();
}

#[test]
fn a_storm_of_connections_is_served_whole_and_others_meanwhile() {
    const THREADS: usize = 8;
    const EACH: usize = 150;
    let server = Server::kivi(&[
        "--max-new-connections-per-cycle",
        "1",
        "--tcp-backlog",
        "2000",
    ]);
    let mut regular = server.connect();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = StopAtEnd(&is_over);
        let storms: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut clients: Vec<_> = (0..EACH).map(|_| server.connect()).collect();
                    for client in &mut clients {
                        client.send(b"PING\r\n");
                    }
                    for client in &mut clients {
                        assert_eq!(client.read().0, PONG);
                    }
                })
            })
            .collect();
        let served = scope.spawn(|| {
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(regular.raw(&["PING"]), PONG);
                count += 1;
            }
            count
        });
        for storm in storms {
            storm.join().expect("a storm");
        }
        drop(stop);
        assert!(served.join().expect("the regular client") > 0);
    });
    let received = regular.info_number("stats", "total_connections_received");
    assert!(received as usize > THREADS * EACH, "{received}");
    assert_eq!(regular.info_number("stats", "rejected_connections"), 0);
}

#[test]
fn connections_that_are_reset_at_once_hold_up_nobody() {
    let mut server = Server::kivi(&[]);
    let mut regular = server.connect();
    for round in 0..2_000 {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connecting");
        if round % 3 == 1 {
            let _ = stream.write_all(b"PING\r\n*1\r\n$4\r\nPI");
        }
        let now = Some(Duration::ZERO);
        SockRef::from(&stream).set_linger(now).expect("linger");
        drop(stream);
        if round % 100 == 0 {
            assert_eq!(regular.raw(&["PING"]), PONG);
        }
    }
    eventually("all of them to be gone", || {
        (regular.info_number("clients", "connected_clients") == 1).then_some(())
    });
    server.assert_alive();
}

#[test]
fn without_file_descriptors_clients_are_told_and_others_are_served() {
    if !needs("prlimit") {
        return;
    }
    let mut server = Server::kivi(&[]);
    let mut regular = server.connect();
    assert_eq!(regular.raw(&["PING"]), PONG);
    let pid = server.pid().to_string();
    let limit = |count: usize| {
        let limit = format!("--nofile={count}:");
        let output = run_tool(Path::new("prlimit"), &["--pid", &pid, &limit], &[], b"");
        assert!(output.status.success(), "{output:?}");
    };
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("descriptors")
        .count();
    limit(open + 2);
    // A few find a place; whoever comes then is closed, not kept waiting.
    let mut clients: Vec<_> = (0..30).map(|_| server.connect()).collect();
    let mut served = 0;
    for client in &mut clients {
        match client.try_raw(&["PING"]) {
            Ok(reply) => {
                assert_eq!(reply.0, PONG);
                served += 1;
            }
            Err(error) => assert!(is_close(&error), "{error}"),
        }
    }
    // Some numbers below the limit may have been free.
    assert!(served < clients.len(), "{served} were served");
    assert_eq!(regular.raw(&["PING"]), PONG);
    assert!(server.log().contains("Accepting client connection: "));
    limit(open + 100);
    eventually("room for others", || {
        let reply = server.try_connect().ok()?.try_raw(&["PING"]).ok()?;
        (reply.0 == PONG).then_some(())
    });
    server.assert_alive();
}

#[test]
fn http_is_answered_in_http_and_logged_once_a_minute() {
    if is_stand_in() {
        return;
    }
    let server = Server::kivi(&[]);
    let requests = [
        "GET / HTTP/1.1\r\nHost: localhost:6379\r\nAccept: */*\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\nSET stolen yes\r\n",
        "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ];
    for request in requests.iter().cycle().take(30) {
        let mut client = greeted(&server, request.as_bytes());
        let said = client.read_to_close().expect("closed");
        let text = String::from_utf8_lossy(&said).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{text}"
        );
        assert!(body.contains("RESP"), "{text}");
    }
    assert_eq!(server.connect().raw(&["EXISTS", "stolen"]), b":0\r\n");
    let log = std::fs::read_to_string(server.dir.path().join("out.log")).expect("log");
    assert_eq!(log.matches("SECURITY ATTACK").count(), 1, "{log}");
}

/// Whoever can connect to the socket finds its rights as they shall be: they are not given afterwards.
#[test]
fn a_unix_socket_never_has_other_rights_than_its_own() {
    for round in 0..10 {
        let dir = tempfile::TempDir::new().expect("folder");
        let path = dir.path().join("kivi.sock");
        let mode = ["700", "770"][round % 2];
        let child = std::process::Command::new(kivi_binary())
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--unixsocketperm",
                mode,
                "--unixsocket",
            ])
            .arg(&path)
            .current_dir(dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("starting the server");
        let _child = Reaped(child);
        let (mut stream, seen) = eventually("the first moment to connect", || {
            let stream = UnixStream::connect(&path).ok()?;
            Some((
                stream,
                std::fs::metadata(&path)
                    .expect("socket")
                    .permissions()
                    .mode(),
            ))
        });
        let mut reply = [0; 7];
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.write_all(b"PING\r\n").expect("sending");
        stream.read_exact(&mut reply).expect("a reply");
        assert_eq!(format!("{:o}", seen & 0o777), mode);
        assert_eq!(reply, PONG);
    }
}

/// The system calls in their order, which the race above may miss.
#[test]
fn a_unix_socket_listens_when_it_has_its_rights() {
    if !needs("strace") || is_stand_in() {
        return;
    }
    let calls = tempfile::NamedTempFile::new().expect("file");
    let path = calls.path().to_str().expect("path").to_owned();
    let trace = "trace=bind,listen,chmod,fchmod,fchmodat,chown,fchown,fchownat,lchown";
    let server = Launch {
        through: &["strace", "-f", "-qq", "-o", &path, "-e", trace],
        args: &["--unixsocket", "kivi.sock", "--unixsocketperm", "750"],
        ..Launch::KIVI
    }
    .start();
    let mut client = Client::unix(&server.dir.path().join("kivi.sock")).expect("connecting");
    assert_eq!(client.raw(&["PING"]), PONG);
    let text = std::fs::read_to_string(&path).expect("calls");
    let of_socket: Vec<&str> = text
        .lines()
        .skip_while(|line| !(line.contains("bind(") && line.contains("AF_UNIX")))
        .collect();
    let position = |what: &str| of_socket.iter().position(|line| line.contains(what));
    let (chmod, listen) = (position("chmod"), position("listen("));
    assert!(
        chmod.is_some() && listen.is_some() && chmod < listen,
        "{text}"
    );
    // The traced server ends with the one that traces it.
    assert!(client.try_raw(&["SHUTDOWN", "NOSAVE"]).is_err());
}

/// Commands under other names, as Valkey shows and takes them, with what a log says of it.
#[test]
fn renamed_commands_are_called_by_their_new_names_everywhere() {
    renamed(&Server::kivi(&RENAMED));
}

#[test]
fn the_expectations_of_renamed_commands_are_true_of_valkey() {
    if let Some(valkey) = Server::valkey(&RENAMED) {
        renamed(&valkey);
    }
}

const RENAMED: [&str; 28] = [
    "--requirepass",
    "secret",
    "--enable-debug-command",
    "yes",
    "--rename-command",
    "AUTH",
    "login",
    "--rename-command",
    "SET",
    "put",
    "--rename-command",
    "CONFIG",
    "settings",
    "--rename-command",
    "FLUSHALL",
    "",
    "--rename-command",
    "EVAL",
    "run",
    "--rename-command",
    "MULTI",
    "many",
    "--rename-command",
    "DEBUG",
    "dbg",
    "--rename-command",
    "CLIENT",
    "peer",
];

fn renamed(server: &Server) {
    let mut client = server.connect();
    let unknown =
        |name: &str| format!("-ERR unknown command '{name}', with args beginning with: \r\n");
    let cases: &[(&[&str], &str)] = &[
        (&["PING"], "-NOAUTH Authentication required.\r\n"),
        (&["LOGIN", "secret"], "+OK\r\n"),
        (&["auth"], &unknown("auth")),
        (&["flushall"], &unknown("flushall")),
        (&["Put", "a", "b"], "+OK\r\n"),
        (
            &["Put", "a"],
            "-ERR wrong number of arguments for 'set' command\r\n",
        ),
        (
            &["settings", "nonsense"],
            "-ERR unknown subcommand 'nonsense'. Try SETTINGS HELP.\r\n",
        ),
        (
            &["settings"],
            "-ERR wrong number of arguments for 'config' command\r\n",
        ),
        (
            &["dbg", "nonsense"],
            "-ERR unknown subcommand or wrong number of arguments for 'nonsense'. Try DBG HELP.\r\n",
        ),
        (&["dbg", "sleep", "0"], "+OK\r\n"),
        (
            &["run", "return redis.call('put', 'a', 'c')", "0"],
            "+OK\r\n",
        ),
        (
            &["run", "return redis.pcall('set', 'a', 'c')", "0"],
            "-ERR Unknown command called from script\r\n",
        ),
        (
            &["run", "return redis.acl_check_cmd('put', 'a', 'c')", "0"],
            ":1\r\n",
        ),
        (
            &["COMMAND", "GETKEYS", "put", "a", "b"],
            "*1\r\n$1\r\na\r\n",
        ),
        (
            &["COMMAND", "GETKEYS", "set", "a", "b"],
            "-ERR Invalid command specified\r\n",
        ),
        (&["COMMAND", "INFO", "set"], "*1\r\n$-1\r\n"),
        (
            &["COMMAND", "LIST", "FILTERBY", "PATTERN", "[sp][eu]t"],
            "*1\r\n$3\r\nset\r\n",
        ),
        (&["many"], "+OK\r\n"),
        (&["put", "a", "d"], "+QUEUED\r\n"),
        (
            &["set", "a", "e"],
            "-ERR unknown command 'set', with args beginning with: 'a' 'e' \r\n",
        ),
        (
            &["exec"],
            "-EXECABORT Transaction discarded because of previous errors.\r\n",
        ),
        (&["get", "a"], "$1\r\nc\r\n"),
    ];
    for (argv, expected) in cases {
        let said = show(&client.raw(argv).0);
        let is_right = said == show(expected.as_bytes());
        assert!(is_right, "{} to {argv:?}: {said}", server.name);
    }
    let help = client.cmd(&["peer", "help"]);
    assert!(
        help.items()[0].text().starts_with("PEER <subcommand>"),
        "{help:?}"
    );
    let stats = client.cmd(&["INFO", "commandstats"]).text();
    assert!(
        stats.contains("cmdstat_set:") && !stats.contains("put"),
        "{stats}"
    );
    // What MONITOR shows is what was said, but for secrets.
    let mut monitor = server.connect();
    assert_eq!(monitor.raw(&["login", "secret"]), b"+OK\r\n");
    assert_eq!(monitor.raw(&["MONITOR"]), b"+OK\r\n");
    client.cmd(&["pUt", "a", "b"]);
    client.cmd(&["login", "default", "wrong"]);
    let seen = [monitor.read().1.text(), monitor.read().1.text()];
    assert!(seen[0].ends_with("\"pUt\" \"a\" \"b\""), "{seen:?}");
    assert!(
        seen[1].ends_with("\"login\" \"(redacted)\" \"(redacted)\""),
        "{seen:?}"
    );
}

/// The log has the words of clients where they were written as they came, and the server's own where it has written
/// what came of a command. Both are understood, which Valkey does not when a command is renamed that it writes itself.
#[test]
fn a_log_of_renamed_commands_is_repeated() {
    let dir = tempfile::TempDir::new().expect("folder");
    let folder = dir.path().to_str().expect("path");
    let pairs = [
        ("SET", "put"),
        ("SELECT", "sel"),
        ("DEL", "rm"),
        ("UNLINK", "gone"),
        ("MULTI", "many"),
        ("EXEC", "go"),
        ("PEXPIREAT", "until"),
        ("EXPIRE", "for"),
        ("SADD", "also"),
        ("SREM", "less"),
        ("SPOP", "some"),
    ];
    let mut args = vec!["--appendonly", "yes", "--dir", folder];
    for (old, new) in pairs {
        args.extend(["--rename-command", old, new]);
    }
    let server = Server::kivi(&args);
    let mut client = server.connect();
    let requests: &[&[&str]] = &[
        &["put", "a", "1"],
        &["for", "a", "1000"],
        &["sel", "3"],
        &["put", "b", "2", "EX", "1000"],
        &["put", "c", "3", "PX", "1"],
        &["also", "s", "x", "y", "z"],
        &["some", "s", "2"],
        &["many"],
        &["put", "d", "4"],
        &["rm", "b"],
        &["go"],
        &["put", "e", "5"],
        &["gone", "e"],
    ];
    for request in requests {
        let reply = client.cmd(request);
        assert!(!reply.is_error(), "{request:?}: {reply:?}");
    }
    eventually("a key to expire", || {
        (client.raw(&["EXISTS", "c"]).0 == b":0\r\n").then_some(())
    });
    let keys = |client: &mut Client| {
        client.cmd(&["sel", "3"]);
        let keys = client.keys();
        let left = client.cmd(&["SMEMBERS", "s"]).items().len();
        client.cmd(&["sel", "0"]);
        let ttl = client.cmd(&["TTL", "a"]).int();
        (keys, left, ttl > 900)
    };
    let before = keys(&mut client);
    assert_eq!(before, (vec!["d".to_owned(), "s".to_owned()], 1, true));
    drop(client);
    let (status, _) = server.signal_and_wait("TERM");
    assert!(status.success());
    let server = Server::kivi(&args);
    assert_eq!(keys(&mut server.connect()), before);
}

#[test]
fn a_wrong_name_says_which_one() {
    let dir = tempfile::TempDir::new().expect("folder");
    let output = kivi_to_end(
        dir.path(),
        &["--port", "0", "--rename-command", "nosuch", "x"],
        &[],
        b"",
    );
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("rename-command \"nosuch\" \"x\": No such command"),
        "{said}"
    );
}
