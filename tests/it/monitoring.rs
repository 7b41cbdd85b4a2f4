//! The metrics port over TCP: what is told to whom, limits, and the tools that are made for it: Prometheus's own
//! parser, the exporter for Redis, and a browser.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::client::{Client, Reply, encode};
use crate::eviction::config_set;
use crate::harness::{
    Launch, PATIENCE, Reaped, Server, eventually, finish, free_port, kivi_binary, needs, python,
    run_tool, send_signal,
};

/// Kivi with a metrics port, and that.
fn start(args: &[&str]) -> (Server, u16) {
    let port = free_port();
    let port_text = port.to_string();
    let own = ["--metrics-port", &port_text];
    (Server::kivi(&[&own, args].concat()), port)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the metrics port");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    stream
}

/// What comes until the peer closes.
fn read_all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends bytes; all that is answered.
fn say(port: u16, bytes: &[u8]) -> String {
    let mut stream = connect(port);
    stream.write_all(bytes).expect("writing");
    read_all(stream)
}

/// Status and body of a page.
fn get(port: u16, path: &str) -> (u16, String) {
    // Of this version, since nobody then answers in chunks.
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    let answer = say(port, request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").expect(&answer);
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.expect(head), body.to_owned())
}

/// A metric's value; 0 for one that is not there.
fn metric(port: u16, sample: &str) -> f64 {
    let (_, text) = get(port, "/metrics");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect(value))
}

/// What a client's commands have done is counted just behind their replies: in front of the next one's.
fn settle(client: &mut Client) {
    assert_eq!(client.raw(&["PING"]), b"+PONG\r\n");
}

fn responses(command: &str, bound: &str) -> String {
    format!("kivi_command_response_seconds_bucket{{command=\"{command}\",le=\"{bound}\"}}")
}

#[test]
fn pages_are_served_one_after_the_other_on_a_connection() {
    let (server, port) = start(&[]);
    let mut client = server.connect();
    client.cmd(&["SET", "a", "1"]);
    settle(&mut client);
    assert_eq!(get(port, "/healthz"), (200, "ok\n".into()));
    assert_eq!(get(port, "/readyz"), (200, "ready\n".into()));
    let (status, text) = get(port, "/metrics");
    assert_eq!(status, 200);
    assert!(
        text.contains("\nkivi_commands_total{command=\"set\"} 1\n"),
        "{text}"
    );
    let request = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = say(port, [request, request, last].concat().as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 3, "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "HEAD has no body: {answer}");
}

#[test]
fn whoever_speaks_something_else_is_told_so() {
    let (mut server, port) = start(&[]);
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let long = vec![b'a'; 40_000];
    let flood = [
        b"GET / HTTP/1.1\r\n".to_vec(),
        b"x: y\r\n".repeat(100),
        b"\r\n".to_vec(),
    ]
    .concat();
    let wide = [
        b"GET / HTTP/1.1\r\nx: ".to_vec(),
        long.clone(),
        b"\r\n\r\n".to_vec(),
    ]
    .concat();
    for (bytes, status, words) in [
        (
            &b"*1\r\n$4\r\nPING\r\n"[..],
            "400",
            "Clients of Redis connect to the port",
        ),
        (b"PING\r\n", "400", "Clients of Redis connect to the port"),
        (tls, "400", "speaks HTTP without TLS"),
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "505",
            "speaks HTTP/1.1",
        ),
        (b"\0\0\0\n", "400", "no request of it"),
        (&long, "414", "too long"),
        (&flood, "431", ""),
        (&wide, "431", ""),
    ] {
        let answer = say(port, bytes);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.contains(words), "{answer}");
    }
    // And whoever speaks HTTP on the port for clients.
    let post = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = say(server.port, post);
    assert!(answer.contains("it speaks RESP"), "{answer}");
    assert_eq!(get(port, "/healthz").0, 200);
    server.assert_alive();
}

/// Who connects and says nothing takes a place, of which there are not many, but no more.
#[test]
fn the_idle_are_told_apart_from_the_many() {
    let (server, port) = start(&[]);
    let mut idle: Vec<TcpStream> = (0..64).map(|_| connect(port)).collect();
    idle[0].write_all(b"GET /met").expect("writing");
    let refused = eventually("the places to be taken", || {
        let answer = say(port, b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n");
        answer.starts_with("HTTP/1.1 503 ").then_some(answer)
    });
    assert!(refused.contains("Too many connections"), "{refused}");
    // Clients do not notice.
    assert_eq!(server.connect().raw(&["PING"]), b"+PONG\r\n");
    // One of them goes on.
    idle[0]
        .write_all(b"rics HTTP/1.1\r\nConnection: close\r\n\r\n")
        .expect("writing");
    let answer = read_all(idle.remove(0));
    assert!(answer.contains("\nkivi_connected_clients "), "{answer}");
    drop(idle);
    eventually("free places", || {
        let answer = say(port, b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n");
        answer.starts_with("HTTP/1.1 200 ").then_some(())
    });
}

#[test]
fn config_set_moves_the_port() {
    let (server, port) = start(&[]);
    let mut client = server.connect();
    assert_eq!(get(port, "/healthz").0, 200);
    let other = free_port().to_string();
    assert_eq!(
        client.raw(&["CONFIG", "SET", "metrics-port", &other]),
        b"+OK\r\n"
    );
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    let other_port = other.parse().expect("a port");
    assert_eq!(get(other_port, "/healthz").0, 200);
    // A port that is taken: everything stays as it was.
    let taken = server.port.to_string();
    let reply = client.cmd(&["CONFIG", "SET", "metrics-port", &taken, "maxmemory", "1gb"]);
    let Reply::Error(text) = reply else {
        panic!("{reply:?}");
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("Unable to listen on this port"), "{text}");
    assert_eq!(get(other_port, "/healthz").0, 200);
    let shown = client.cmd(&["CONFIG", "GET", "metrics-port"]);
    assert_eq!(shown.items()[1].text(), other);
    assert_eq!(
        client.raw(&["CONFIG", "SET", "metrics-port", "0"]),
        b"+OK\r\n"
    );
    assert!(TcpStream::connect(("127.0.0.1", other_port)).is_err());
    let text = port.to_string();
    let both = [
        "CONFIG",
        "SET",
        "metrics-port",
        &text,
        "metrics-bind",
        "127.0.0.1",
    ];
    assert_eq!(client.raw(&both), b"+OK\r\n");
    assert_eq!(get(port, "/healthz").0, 200);
}

#[test]
fn a_port_that_is_taken_stops_the_start() {
    let server = Server::kivi(&[]);
    let taken = server.port.to_string();
    let dir = tempfile::tempdir().expect("a folder");
    let port = free_port().to_string();
    let args = ["--port", &port, "--metrics-port", &taken, "--save", ""];
    let output = crate::harness::kivi_to_end(dir.path(), &args, &[], b"");
    assert!(!output.status.success());
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(
        said.contains("Could not create metrics listening socket 127.0.0.1"),
        "{said}"
    );
}

/// What a client sees of the server is more than the execution of its command.
#[test]
fn responses_include_the_time_that_they_wait_for_others() {
    let (server, port) = start(&["--enable-debug-command", "yes"]);
    let (mut sleeper, mut other) = (server.connect(), server.connect());
    other.cmd(&["SET", "a", "1"]);
    sleeper.send(&encode(&["DEBUG", "SLEEP", "0.6"]));
    // It may come before the sleep: then it is quick, and the next one is not.
    eventually("a GET that had to wait", || {
        other.cmd(&["GET", "a"]);
        let all = metric(port, &responses("get", "+Inf"));
        let slow = all - metric(port, &responses("get", "0.1"));
        (slow >= 1.0).then_some(())
    });
    let executed = metric(
        port,
        "kivi_command_execution_seconds_total{command=\"get\"}",
    );
    let waited = metric(port, "kivi_command_response_seconds_sum{command=\"get\"}");
    assert!(waited > executed + 0.1, "{waited}, {executed}");
}

/// Replies that wait for the disk are counted when they go.
#[test]
fn responses_that_wait_for_the_disk_are_counted_as_well() {
    let (server, port) = start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut client = server.connect();
    for _ in 0..20 {
        client.cmd(&["SET", "a", "1"]);
    }
    let pipeline = [encode(&["SET", "a", "1"]), encode(&["GET", "a"])]
        .concat()
        .repeat(20);
    client.send(&pipeline);
    for _ in 0..40 {
        client.read();
    }
    // The last one is counted just before it is sent, or just behind it.
    eventually("all to be counted", || {
        let counted = |command| metric(port, &responses(command, "+Inf"));
        (counted("set") == 40.0 && counted("get") == 20.0).then_some(())
    });
    assert_eq!(metric(port, "kivi_commands_total{command=\"set\"}"), 40.0);
}

#[test]
fn not_ready_while_the_dataset_is_loaded() {
    let (server, port) = start(&["--dbfilename", "dump.rdb"]);
    let mut client = server.connect();
    let requests: Vec<u8> = (0..600)
        .flat_map(|at| encode(&["SET", &format!("key:{at}"), "x"]))
        .collect();
    client.send(&requests);
    for _ in 0..600 {
        client.read();
    }
    assert_eq!(client.raw(&["SAVE"]), b"+OK\r\n");
    let from = server.dir.path().join("dump.rdb");
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::copy(from, dir.path().join("dump.rdb")).expect("the snapshot");
    drop(server);
    let own_port = free_port().to_string();
    let metrics_port = port.to_string();
    let child = Command::new(kivi_binary())
        .args([
            "--port",
            &own_port,
            "--metrics-port",
            &metrics_port,
            "--bind",
            "127.0.0.1",
        ])
        .args(["--save", "", "--key-load-delay", "100000", "--dir"])
        .arg(dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the server");
    let mut child = Reaped(child);
    let text = eventually("a server that is not ready", || {
        TcpStream::connect(("127.0.0.1", port)).ok()?;
        let (status, text) = get(port, "/readyz");
        (status == 503).then_some(text)
    });
    assert!(text.starts_with("loading: "), "{text}");
    assert_eq!(get(port, "/healthz").0, 200);
    // A minute and longer: this is what ends it.
    let mut client = eventually("the server's own port", || {
        Client::tcp(format!("127.0.0.1:{own_port}")).ok()
    });
    config_set(&mut client, "key-load-delay", "0");
    eventually("a server that is ready", || {
        (get(port, "/readyz").0 == 200).then_some(())
    });
    assert_eq!(metric(port, "kivi_keys{db=\"0\"}"), 600.0);
    send_signal(child.0.id(), "TERM");
    assert!(child.0.wait().expect("the end").success());
}

/// A scrape takes its time from nobody.
#[test]
fn scrapes_go_on_while_clients_work() {
    let (server, port) = start(&["--console-enabled", "yes"]);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut client = server.connect();
            let requests = encode(&["SET", "a", "1"]).repeat(100);
            for _ in 0..50 {
                client.send(&requests);
                for _ in 0..100 {
                    client.read();
                }
            }
            settle(&mut client);
        });
        let mut last = 0.0;
        while !worker.is_finished() {
            let now = metric(port, "kivi_commands_total{command=\"set\"}");
            assert!(now >= last);
            last = now;
            assert_eq!(get(port, "/console/api/keys").0, 200);
        }
    });
    assert_eq!(
        metric(port, "kivi_commands_total{command=\"set\"}"),
        5_000.0
    );
}

/// Prometheus's own library for Python reads the text, in the way that it reads its own.
#[test]
fn a_prometheus_library_reads_the_metrics() {
    let Some(python) = python() else { return };
    let (server, port) = start(&["--appendonly", "yes"]);
    let mut client = server.connect();
    for request in [
        &["SET", "a", "1"][..],
        &["LPUSH", "a", "1"],
        &["EVAL", "return redis.error_reply('ODD\\\\\"x y')", "0"],
        &["GET", "a"],
    ] {
        client.cmd(request);
    }
    settle(&mut client);
    let script = format!(
        "
import urllib.request
from prometheus_client.parser import text_string_to_metric_families as parse
answer = urllib.request.urlopen('http://127.0.0.1:{port}/metrics')
assert answer.headers['content-type'].startswith('text/plain; version=0.0.4'), answer.headers
text = answer.read().decode()
families = {{family.name: family for family in parse(text)}}
assert len(families) > 70, len(families)
for family in families.values():
    assert family.type in ('counter', 'gauge', 'histogram'), family
    assert family.documentation, family
commands = {{s.labels['command']: s.value for s in families['kivi_commands'].samples}}
assert commands['set'] == 1 and commands['lpush'] == 1, commands
histogram = families['kivi_command_response_seconds']
buckets = [s for s in histogram.samples if s.name.endswith('_bucket') and s.labels['command'] == 'get']
bounds = [float(s.labels['le']) for s in buckets]
assert bounds == sorted(bounds) and bounds[-1] == float('inf'), bounds
values = [s.value for s in buckets]
assert values == sorted(values) and values[-1] == 1, values
print('read')
"
    );
    let output = run_tool(&python, &["-c", &script], &[("NO_PROXY", "*")], b"");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(said.contains("read\n"), "{said}");
}

/// The names of the metrics that Debian's exporter makes of a server.
fn exported(exporter: u16, server: &Server) -> Option<(BTreeSet<String>, String)> {
    let target = format!("/scrape?target=redis://127.0.0.1:{}", server.port);
    TcpStream::connect(("127.0.0.1", exporter)).ok()?;
    let (status, text) = get(exporter, &target);
    assert_eq!(status, 200, "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let names = lines.map(|line| line.split(['{', ' ']).next().unwrap_or_default().to_owned());
    Some((names.collect(), text))
}

/// All the rights that the exporter needs, as docs/monitoring.md tells.
const EXPORTER_USER: &str = "ACL SETUSER exporter on >secret -@all +ping +client|setname +info +config|get \
                             +latency|latest +latency|histogram +slowlog|len +slowlog|get";

/// Debian's prometheus-redis-exporter makes the same metrics of Kivi as of Valkey.
#[test]
fn the_exporter_for_redis_works_as_well() {
    if !needs("prometheus-redis-exporter") {
        return;
    }
    let kivi = Server::kivi(&[]);
    let valkey = Server::valkey(&[]);
    for server in [&kivi].into_iter().chain(&valkey) {
        let mut client = server.connect();
        for request in [
            &["CONFIG", "SET", "slowlog-log-slower-than", "0"][..],
            &EXPORTER_USER.split(' ').collect::<Vec<_>>(),
            &["SET", "a", "1", "EX", "100"],
            &["LPUSH", "a", "1"],
            &["GET", "a"],
        ] {
            client.cmd(request);
        }
    }
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let log = std::fs::File::create(kivi.dir.path().join("exporter.log")).expect("a log");
    let exporter = Command::new("prometheus-redis-exporter")
        .args(["-web.listen-address", &address])
        .envs([
            ("REDIS_USER", "exporter"),
            ("REDIS_PASSWORD", "secret"),
            ("NO_PROXY", "*"),
        ])
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .spawn()
        .expect("the exporter");
    let exporter = Reaped(exporter);
    let (ours, text) = eventually("the exporter to scrape", || exported(port, &kivi));
    let theirs = valkey.as_ref().map(|valkey| {
        let (theirs, _) = eventually("the exporter to scrape Valkey", || exported(port, valkey));
        theirs
    });
    drop(exporter);
    assert!(text.contains("\nredis_up 1\n"), "{text}");
    assert!(
        text.contains("redis_exporter_last_scrape_error{err=\"\"} 0"),
        "{text}"
    );
    assert!(text.contains("\nredis_db_keys{db=\"db0\"} 1\n"), "{text}");
    assert!(
        text.contains("redis_commands_total{cmd=\"get\"} 1"),
        "{text}"
    );
    assert!(text.contains("redis_slowlog_length "), "{text}");
    if let Some(theirs) = theirs {
        let missing: Vec<_> = theirs.difference(&ours).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
    let log = std::fs::read_to_string(kivi.dir.path().join("exporter.log")).expect("the log");
    assert!(
        !log.contains("level=error") && !log.contains("WARNING"),
        "{log}"
    );
}

/// A browser, if there is one. It is large, so it need not be there but where `KIVI_TEST_BROWSER` says so (CI).
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "google-chrome", "chromium-browser"];
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file());
    let must = std::env::var_os("KIVI_TEST_BROWSER").is_some();
    assert!(found.is_some() || !must, "there is no browser: {names:?}");
    if found.is_none() {
        eprintln!("skipped: no browser ({names:?})");
    }
    found
}

/// What a page has become when its script has run for a while, and what the browser said.
fn browsed(browser: &PathBuf, url: &str) -> (String, String) {
    let profile = tempfile::tempdir().expect("a folder");
    let child = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--enable-logging=stderr",
            "--virtual-time-budget=6000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .env("NO_PROXY", "*")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the browser");
    let began = Instant::now();
    let output = finish(child, "the browser to end");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stderr);
    let complaints: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(":CONSOLE"))
        .collect();
    assert!(
        complaints.is_empty(),
        "after {:?}: {complaints:?}",
        began.elapsed()
    );
    (text(&output.stdout), said)
}

/// The console in a browser, behind a password: figures, keys, clients, the slow log; and no complaint of
/// the browser about what the page does.
#[test]
fn the_console_in_a_browser() {
    let Some(browser) = browser() else { return };
    let (server, port) = start(&[
        "--console-enabled",
        "yes",
        "--requirepass",
        "secret",
        "--slowlog-log-slower-than",
        "0",
    ]);
    let mut client = server.connect();
    for request in [
        &["AUTH", "secret"][..],
        &["CLIENT", "SETNAME", "the-name"],
        &["SET", "greeting", "hello"],
        &["HSET", "user:1", "name", "x", "city", "y"],
        &["SET", "session:1", "x", "EX", "5000"],
        &["SET", "<img src=x onerror=alert(1)>", "x"],
        &["SADD", "greeting", "x"],
    ] {
        client.cmd(request);
    }
    let url = |tab: &str| format!("http://default:secret@127.0.0.1:{port}/console#{tab}");
    for (tab, words) in [
        (
            "overview",
            &[
                "Ready",
                "Commands per second",
                "db0",
                "Response time",
                ">HSET<",
            ][..],
        ),
        (
            "keys",
            &[
                "user:1",
                ">hash<",
                "1 h 23 min",
                ">never<",
                "&lt;img src=x onerror",
            ],
        ),
        ("clients", &["the-name", "127.0.0.1:"]),
        ("slowlog", &["SADD greeting x", "the-name"]),
        ("commands", &[">SADD<", "class=\"wrong\">1<"]),
    ] {
        let (page, said) = browsed(&browser, &url(tab));
        for word in words {
            assert!(page.contains(word), "{tab}: {word}\n{page}\n{said}");
        }
        assert!(!page.contains("<img"), "{tab}");
    }
    let (page, _) = browsed(&browser, &format!("http://127.0.0.1:{port}/console"));
    assert!(!page.contains("Overview"), "{page}");
}

/// The metrics port closes before the server ends, and keeps it from nothing.
#[test]
fn the_end_of_the_server_waits_for_no_one_there() {
    let (server, port) = start(&[]);
    let mut idle = connect(port);
    idle.write_all(b"GET /metrics HTTP/1.1\r\n")
        .expect("writing");
    let (status, _) = server.signal_and_wait("TERM");
    assert!(status.success());
    let _ = idle.shutdown(Shutdown::Both);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

/// No other address than this machine's own unless somebody says so.
#[test]
fn it_listens_on_this_machine_only() {
    let (server, port) = start(&[]);
    let reply = server.connect().cmd(&["CONFIG", "GET", "metrics-bind"]);
    assert_eq!(reply.items()[1].text(), "127.0.0.1 -::1");
    let listening = ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let ours = format!(":{port:04X} ");
        // State 0A is a listener; the address is in the second column.
        let lines = text.lines().map(str::to_owned).collect::<Vec<_>>();
        let lines = lines.into_iter().filter(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            columns.len() > 3 && columns[3] == "0A" && format!("{} ", columns[1]).ends_with(&ours)
        });
        lines
            .map(|line| {
                line.split_whitespace()
                    .nth(1)
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect::<Vec<_>>()
    });
    let [v4, v6] = listening;
    assert_eq!(v4, [format!("0100007F:{port:04X}")]);
    for address in v6 {
        assert_eq!(
            address,
            format!("00000000000000000000000001000000:{port:04X}")
        );
    }
}

/// A redis.conf may name it as well.
#[test]
fn the_directives_may_stand_in_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("kivi.conf");
    let port = free_port();
    let text = format!("metrics-port {port}\nmetrics-bind 127.0.0.1\nconsole-enabled yes\n");
    std::fs::write(&file, text).expect("the file");
    let file = file.to_str().expect("UTF-8").to_owned();
    let _server = Launch {
        config: &[&file],
        ..Launch::KIVI
    }
    .start();
    assert_eq!(get(port, "/console").0, 200);
}

/// Its connections have file descriptors of their own, also when it is opened later.
#[test]
fn a_port_that_is_opened_later_takes_nothing_from_clients() {
    if !needs("prlimit") {
        return;
    }
    let server = Server::kivi(&["--maxclients", "100", "--io-threads", "1"]);
    let pid = server.pid().to_string();
    let prlimit = |args: &[&str]| {
        let output = run_tool(
            Path::new("prlimit"),
            &[&["--pid", &pid], args].concat(),
            &[],
            b"",
        );
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let limit = || -> u64 {
        let text = prlimit(&["--nofile", "--raw", "--noheadings", "--output", "SOFT"]);
        text.trim().parse().expect("a limit")
    };
    prlimit(&["--nofile=140:"]);
    let port = free_port().to_string();
    let set = ["CONFIG", "SET", "metrics-port", &port];
    assert_eq!(server.connect().raw(&set), b"+OK\r\n");
    assert!(limit() >= 200, "{}", limit());
}
