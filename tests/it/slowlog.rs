//! What was unusual, compared with Valkey's: the command log with its sizes, the latency monitor's events, and how
//! INFO counts; and the audit log of a real server.

use std::collections::BTreeMap;

use crate::client::Client;
use crate::harness::{Server, eventually, kivi_to_end};

/// Every command is unusual in all ways.
const ALL: &[&str] = &[
    "--commandlog-execution-slower-than",
    "0",
    "--commandlog-request-larger-than",
    "0",
    "--commandlog-reply-larger-than",
    "0",
    "--enable-debug-command",
    "yes",
];

/// An entry without its time: what it measures, the request, and the name of its client.
type Entry = (i64, Vec<Vec<u8>>, Vec<u8>);

/// The entries of a kind, oldest first, without those of looking at it.
fn entries(client: &mut Client, kind: &str) -> Vec<Entry> {
    let reply = client.cmd(&["COMMANDLOG", "GET", "-1", kind]);
    let entries = reply.items().iter().rev().map(|entry| {
        let [_, at, value, args, addr, name] = entry.items() else {
            panic!("{entry:?}")
        };
        assert!(at.int() > 1_700_000_000, "{entry:?}");
        // Valkey logs what its interpreter of scripts asks at the start: that comes from nowhere.
        let addr = addr.text();
        assert!(
            addr.is_empty() || addr.starts_with("127.0.0.1:"),
            "{entry:?}"
        );
        let args = args.items().iter().map(|arg| arg.bytes().to_vec());
        (value.int(), args.collect(), name.bytes().to_vec())
    });
    let is_look = |entry: &Entry| entry.1[0].eq_ignore_ascii_case(b"commandlog");
    entries.filter(|entry| !is_look(entry)).collect()
}

/// Requests whose replies do not depend on the server.
fn requests() -> Vec<Vec<Vec<u8>>> {
    let line = |text: &str| {
        text.split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect()
    };
    let mut requests: Vec<Vec<Vec<u8>>> = [
        "SET k v",
        "get k",
        "GET",
        "NOSUCH x",
        "LPUSH k x",
        "CONFIG GET maxmemory",
        "CONFIG NOSUB",
        "CLIENT SETNAME bob",
        "PING",
        "HELLO 2 AUTH default pw SETNAME bob",
        "AUTH wrong",
        "AUTH nobody wrong",
        "CONFIG SET maxmemory 0 requirepass pw",
        "ACL SETUSER u on >pw",
        "ACL WHOAMI",
        "MULTI",
        "NOSUCH",
        "EXEC",
        "MULTI",
        "DISCARD",
        "WATCH x",
        "UNWATCH",
        "EVAL return{1,2} 0",
        "EVAL redis.call('set',KEYS[1],ARGV[1]);return(redis.call('get',KEYS[1])) 1 key value",
        "EVAL return(redis.call('GET','key')) 0",
        "EVAL return(redis.pcall('get')) 0",
        "SCRIPT LOAD return(1)",
        "RPUSH l a b c",
        "BLPOP l 0",
        "BLPOP nosuch 0.01",
        "SPOP nosuch",
        "GETEX k EX 10",
        "INCRBYFLOAT f 1.5",
        "SORT l BY nosort STORE m",
        "PUBLISH ch message",
        "DEBUG SLEEP 0",
        "SETEX z 10 v",
        "EXPIRE z -1",
        "OBJECT ENCODING k",
        "FLUSHALL",
        "SELECT 3",
        "SELECT 0",
    ]
    .into_iter()
    .map(line)
    .collect();
    let numbers = |upto: usize| (0..upto).map(|number| number.to_string().into_bytes());
    for count in [29, 30, 31, 40, 3000] {
        let head = [b"RPUSH".to_vec(), format!("l{count}").into_bytes()];
        requests.push(head.into_iter().chain(numbers(count)).collect());
    }
    for bytes in [127, 128, 129, 70_000] {
        requests.push(vec![b"SET".to_vec(), b"big".to_vec(), vec![b'x'; bytes]]);
        requests.push(vec![b"GET".to_vec(), b"big".to_vec()]);
    }
    requests.push(vec![b"EXISTS".to_vec(), b"a\0\r\n\xff".to_vec()]);
    requests
}

fn logged(server: &Server) -> [Vec<Entry>; 3] {
    let (mut client, mut reader) = (server.connect(), server.connect());
    for kind in ["slow-execution", "large-request", "large-reply"] {
        let directive = format!("commandlog-{kind}-max-len");
        reader.cmd(&["CONFIG", "SET", &directive, "1000"]);
    }
    for request in requests() {
        client.raw(&request);
    }
    ["slow", "large-request", "large-reply"].map(|kind| {
        let mut entries = entries(&mut reader, kind);
        // Preparations, and the time that it takes.
        let first = entries.iter().position(|entry| entry.1[0] == b"SET");
        entries.drain(..first.unwrap());
        if kind == "slow" {
            entries.iter_mut().for_each(|entry| entry.0 = 0);
        }
        entries
    })
}

/// Replies that name the server, or have other words.
fn is_of_the_server(entry: &Entry) -> bool {
    let name = entry.1[0].to_ascii_lowercase();
    name == b"hello"
}

#[test]
fn the_command_log_is_valkeys() {
    let Some(valkey) = Server::valkey(ALL) else {
        return;
    };
    let expected = logged(&valkey);
    assert!(expected[0].len() > 50, "{}", expected[0].len());
    for threads in ["1", "4"] {
        let args = [ALL, &["--io-threads", threads]].concat();
        let kivi = Server::kivi(&args);
        for (ours, theirs) in logged(&kivi).iter().zip(&expected) {
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(theirs) {
                if is_of_the_server(ours) {
                    assert_eq!((&ours.1, &ours.2), (&theirs.1, &theirs.2));
                } else {
                    assert_eq!(ours, theirs);
                }
            }
        }
    }
}

/// What LATENCY tells of DEBUG SLEEP, without times: of them only what they are at least is sure. The sleeps are
/// far from the threshold, so that a busy machine makes no event of what is none.
fn spikes(server: &Server) -> Vec<String> {
    let mut client = server.connect();
    let mut told = Vec::new();
    client.cmd(&["CONFIG", "SET", "latency-monitor-threshold", "300"]);
    for secs in ["0.4", "0.01", "0.8", "0.5"] {
        client.cmd(&["DEBUG", "SLEEP", secs]);
    }
    client.cmd(&["MULTI"]);
    client.cmd(&["DEBUG", "SLEEP", "0.6"]);
    client.cmd(&["EXEC"]);
    for event in client.cmd(&["LATENCY", "LATEST"]).items() {
        let [name, at, last, max, sum, count] = event.items() else {
            panic!("{event:?}")
        };
        assert!(at.int() > 1_700_000_000, "{event:?}");
        assert!(last.int() >= 600 && max.int() >= 800, "{event:?}");
        assert!(sum.int() >= 400 + 800 + 500 + 600, "{event:?}");
        told.push(format!("{} {}", name.text(), count.int()));
    }
    let history = client.cmd(&["LATENCY", "HISTORY", "command"]);
    let pairs = history.items().iter();
    assert!(pairs.clone().all(|pair| pair.items().len() == 2));
    let longest = pairs.map(|pair| pair.items()[1].int()).max();
    assert!(longest >= Some(800), "{history:?}");
    let graph = client.cmd(&["LATENCY", "GRAPH", "command"]).text();
    assert!(graph.starts_with("command - high "), "{graph}");
    let reset = client.cmd(&["LATENCY", "RESET", "Command"]);
    told.push(reset.int().to_string());
    told
}

#[test]
fn the_latency_monitor_tells_what_valkeys_does() {
    let args = ["--enable-debug-command", "yes"];
    let Some(valkey) = Server::valkey(&args) else {
        return;
    };
    let kivi = Server::kivi(&args);
    let (ours, theirs) = (spikes(&kivi), spikes(&valkey));
    assert_eq!(ours, theirs);
    assert!(ours[0].starts_with("command "), "{ours:?}");
}

/// calls, rejected_calls and failed_calls of INFO commandstats, and INFO errorstats.
fn counted(server: &Server) -> BTreeMap<String, String> {
    let (mut client, mut reader) = (server.connect(), server.connect());
    reader.cmd(&["CONFIG", "RESETSTAT"]);
    for request in requests() {
        client.raw(&request);
    }
    for number in 0..150 {
        let script = format!("return redis.error_reply('MYERR{number} x')");
        client.raw(&["EVAL", &script, "0"]);
    }
    client.raw(&["GET"]);
    let mut found = BTreeMap::new();
    for section in ["commandstats", "errorstats"] {
        for line in reader.cmd(&["INFO", section]).text().lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let counts = value
                .split(',')
                .filter(|figure| !figure.starts_with("usec"));
            found.insert(name.to_owned(), counts.collect::<Vec<_>>().join(","));
        }
    }
    found
}

#[test]
fn calls_and_errors_are_counted_as_in_valkey() {
    let args = ["--enable-debug-command", "yes"];
    let Some(valkey) = Server::valkey(&args) else {
        return;
    };
    let theirs = counted(&valkey);
    assert!(theirs.contains_key("errorstat_ERRORSTATS_OVERFLOW"));
    let kivi = Server::kivi(&["--enable-debug-command", "yes", "--io-threads", "1"]);
    let ours = counted(&kivi);
    for (name, value) in &theirs {
        assert_eq!(ours.get(name), Some(value), "{name}");
    }
    assert_eq!(ours.len(), theirs.len());
}

/// The lines of an audit log.
fn audit_lines(server: &Server, file: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(server.dir.path().join(file)).unwrap_or_default();
    let whole = text.lines().filter(|line| line.ends_with('}'));
    whole
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_audit_log_is_written_while_the_server_runs_and_can_be_moved_away() {
    let args = ["--audit-log-file", "audit.log", "--requirepass", "secret"];
    let server = Server::kivi(&args);
    let mut client = Client::tcp(("127.0.0.1", server.port)).unwrap();
    assert!(client.cmd(&["GET", "k"]).is_error());
    assert!(client.cmd(&["AUTH", "wrong"]).is_error());
    client.cmd(&["AUTH", "secret"]);
    client.cmd(&["CONFIG", "SET", "timeout", "0"]);
    client.cmd(&["SET", "k", "not shown"]);
    // Others have asked whether the server is there.
    let is_ping = |line: &serde_json::Value| line["command"] == "ping";
    let lines_of = |file: &str, count: usize| -> Vec<String> {
        let lines = eventually(&format!("{count} lines in {file}"), || {
            let mut lines = audit_lines(&server, file);
            lines.retain(|line| !is_ping(line));
            (lines.len() >= count).then_some(lines)
        });
        let shown = lines.into_iter().map(|line| {
            let text = |field: &str| line[field].as_str().unwrap().to_owned();
            assert!(text("address").starts_with("127.0.0.1:"));
            format!("{} {}", text("command"), text("outcome"))
        });
        shown.collect()
    };
    let shown = lines_of("audit.log", 4);
    assert_eq!(
        shown,
        ["get denied", "auth denied", "auth ok", "config|set ok"]
    );
    let path = server.dir.path().join("audit.log");
    std::fs::rename(&path, server.dir.path().join("audit.old")).unwrap();
    client.cmd(&["FLUSHALL"]);
    assert_eq!(lines_of("audit.log", 1), ["flushall ok"]);
    let old = std::fs::read_to_string(server.dir.path().join("audit.old")).unwrap();
    assert!(!old.contains("secret") && !old.contains("wrong") && !old.contains("not shown"));
    // What was told before the end is written.
    for _ in 0..100 {
        client.send(b"*1\r\n$8\r\nFLUSHALL\r\n");
    }
    (0..100).for_each(|_| drop(client.read()));
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("audit.log");
    std::fs::hard_link(&path, &link).unwrap();
    server.signal_and_wait("TERM");
    let text = std::fs::read_to_string(&link).unwrap();
    assert_eq!(text.matches("\"flushall\"").count(), 101);
}

#[test]
fn an_audit_log_that_cannot_be_opened_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let args = [
        "--port",
        "0",
        "--unixsocket",
        "s",
        "--audit-log-file",
        "no/such/dir/audit.log",
    ];
    let output = kivi_to_end(dir.path(), &args, &[], b"");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("Can't open the audit log"), "{said}");
}
