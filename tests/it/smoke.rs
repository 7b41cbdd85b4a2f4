//! The tools that Redis users have, on Kivi: redis-cli in its modes, redis-benchmark, redis-py.

use std::path::Path;
use std::process::Output;

use crate::harness::{Server, is_stand_in, needs, python, run_on, run_tool};

/// Runs redis-cli on `server`; panics unless it succeeds.
fn cli(server: &Server, args: &[&str], stdin: &[u8]) -> Option<String> {
    tool("redis-cli", server, args, stdin, &[0])
}

/// Runs a tool with `-p PORT` and gives back what it wrote; `None` where peers may be missing.
fn tool(name: &str, server: &Server, args: &[&str], stdin: &[u8], codes: &[i32]) -> Option<String> {
    if !needs(name) {
        return None;
    }
    let output = run_on(server, name, args, stdin);
    Some(success(&format!("{name} {args:?}"), &output, codes))
}

fn success(what: &str, output: &Output, codes: &[i32]) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(
        code.is_some_and(|c| codes.contains(&c)),
        "{what}: {code:?}\n{said}\n{errors}"
    );
    said
}

/// A mode of redis-cli that runs until it is interrupted, for a second.
fn interrupted(server: &Server, args: &[&str]) -> Option<String> {
    if !needs("redis-cli") {
        return None;
    }
    let port = server.port.to_string();
    // Line by line, or what is buffered is lost with the interruption.
    let fixed = [
        "-s",
        "INT",
        "1.5",
        "stdbuf",
        "-oL",
        "redis-cli",
        "-p",
        &port,
    ];
    let args: Vec<&str> = fixed.into_iter().chain(args.iter().copied()).collect();
    let output = run_tool(Path::new("timeout"), &args, &[], b"");
    Some(success(
        &format!("timeout {args:?}"),
        &output,
        &[0, 124, 130],
    ))
}

#[test]
fn redis_cli_runs_commands() {
    let server = Server::kivi(&[]);
    let run = |args: &[&str]| cli(&server, args, b"");
    let Some(pong) = run(&["PING"]) else { return };
    assert_eq!(pong, "PONG\n");
    assert_eq!(
        run(&["SET", "a", "hello world"]).unwrap_or_default(),
        "OK\n"
    );
    assert_eq!(
        run(&["-n", "5", "SET", "a", "five"]).unwrap_or_default(),
        "OK\n"
    );
    assert_eq!(run(&["GET", "a"]).unwrap_or_default(), "hello world\n");
    assert_eq!(run(&["-n", "5", "GET", "a"]).unwrap_or_default(), "five\n");
    assert_eq!(
        run(&["-3", "--no-raw", "GET", "nokey"]).unwrap_or_default(),
        "(nil)\n"
    );
    assert_eq!(
        run(&["--json", "MGET", "a", "b"]).unwrap_or_default(),
        "[\"hello world\",null]\n"
    );
    assert_eq!(
        run(&["-r", "3", "INCR", "n"]).unwrap_or_default(),
        "1\n2\n3\n"
    );
    let info = run(&["INFO", "server"]).unwrap_or_default();
    assert!(info.contains("redis_version:"), "{info}");
    let stdin = cli(&server, &["-x", "SET", "x"], b"from stdin").unwrap_or_default();
    assert_eq!(stdin, "OK\n");
    assert_eq!(run(&["STRLEN", "x"]).unwrap_or_default(), "10\n");
}

#[test]
fn redis_cli_interactive_prompt() {
    let server = Server::kivi(&[]);
    let lines = b"SET k \"a b\\x41\"\nGET k\nSELECT 3\nGET k\nNONSENSE 1\nHELLO 3\nGET k\nCLIENT GETNAME\nhelp GET\nDBSIZE\nQUIT\n";
    let Some(said) = cli(&server, &["--no-raw"], lines) else {
        return;
    };
    for expected in [
        "OK",
        "\"a bA\"",
        "(nil)",
        "(error) ERR unknown command 'NONSENSE', with args beginning with: '1'",
        "\"proto\" => (integer) 3",
        "(integer) 0",
    ] {
        assert!(said.contains(expected), "no {expected:?} in:\n{said}");
    }
}

#[test]
fn redis_cli_authenticates() {
    let server = Server::kivi(&["--requirepass", "secret"]);
    let Some(said) = cli(&server, &["--no-auth-warning", "-a", "secret", "PING"], b"") else {
        return;
    };
    assert_eq!(said, "PONG\n");
    let user = [
        "--no-auth-warning",
        "--user",
        "default",
        "--pass",
        "secret",
        "-3",
        "PING",
    ];
    assert_eq!(cli(&server, &user, b"").unwrap_or_default(), "PONG\n");
    let refused = cli(&server, &["PING"], b"").unwrap_or_default();
    assert_eq!(refused.trim(), "NOAUTH Authentication required.");
}

#[test]
fn redis_cli_pipe_loads_in_bulk_and_scan_finds_it() {
    let server = Server::kivi(&[]);
    let mut protocol = Vec::new();
    let count = 20_000;
    for n in 0..count {
        let (key, value) = (format!("key:{n}"), format!("value {n}"));
        protocol.extend(crate::client::encode(&["SET", &key, &value]));
    }
    let Some(said) = cli(&server, &["--pipe"], &protocol) else {
        return;
    };
    assert!(
        said.contains(&format!("errors: 0, replies: {count}")),
        "{said}"
    );
    let scanned = cli(&server, &["--scan"], b"").unwrap_or_default();
    let unique: std::collections::HashSet<&str> = scanned.lines().collect();
    assert_eq!(unique.len(), count);
    let some = cli(&server, &["--scan", "--pattern", "key:1999?"], b"").unwrap_or_default();
    let mut some: Vec<&str> = some.lines().collect();
    some.sort_unstable();
    assert_eq!(
        some,
        (0..10).map(|n| format!("key:1999{n}")).collect::<Vec<_>>()
    );
}

#[test]
fn redis_cli_bigkeys_and_memkeys() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    for n in 1..=200 {
        client.cmd(&["SET", &format!("key:{n}"), &"x".repeat(n)]);
    }
    for n in 0..500 {
        let element = format!("element:{n}");
        client.cmd(&["RPUSH", "a list", &element]);
        client.cmd(&["HSET", "a hash", &element, "v"]);
        client.cmd(&["SADD", "a set", &element]);
        client.cmd(&["ZADD", "a zset", "1", &element]);
    }
    let Some(said) = cli(&server, &["--bigkeys"], b"") else {
        return;
    };
    assert!(
        said.contains("Biggest string found") && said.contains("key:200"),
        "{said}"
    );
    for expected in [
        "200 strings with 20100 bytes",
        "1 lists with 500 items",
        "1 hashs with 500 fields",
        "1 sets with 500 members",
        "1 zsets with 500 members",
    ] {
        assert!(said.contains(expected), "no {expected:?} in:\n{said}");
    }
    let said = cli(&server, &["--memkeys"], b"").unwrap_or_default();
    assert!(said.contains("Sampled 204 keys"), "{said}");
}

#[test]
fn redis_cli_latency_and_stat() {
    let server = Server::kivi(&[]);
    let Some(said) = interrupted(&server, &["--latency", "-i", "1", "--raw"]) else {
        return;
    };
    let numbers: Vec<f64> = said
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    assert!(numbers.len() >= 3, "min, max and average: {said:?}");
    let said = interrupted(&server, &["--stat", "-i", "0.2"]).unwrap_or_default();
    assert!(said.contains("keys") && said.lines().count() >= 4, "{said}");
}

#[test]
fn redis_benchmark_runs_its_tests() {
    let server = Server::kivi(&[]);
    let tests = "ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,\
                 zpopmin,lrange_100,mset";
    for args in [
        vec!["-t", tests, "-n", "3000", "-q"],
        vec![
            "-t", tests, "-n", "20000", "-q", "-P", "16", "-c", "20", "-r", "1000", "-d", "100",
        ],
        vec![
            "-t",
            "set,get",
            "-n",
            "5000",
            "-q",
            "--threads",
            "2",
            "--csv",
        ],
        vec!["-t", "get", "-n", "5000", "-q", "-3"],
        vec![
            "-n",
            "3000",
            "-q",
            "SETRANGE",
            "key:__rand_int__",
            "10",
            "x",
        ],
    ] {
        let Some(said) = tool("redis-benchmark", &server, &args, b"", &[0]) else {
            return;
        };
        assert!(
            !said.contains("Error") && !said.contains("ERR"),
            "{args:?}\n{said}"
        );
        let names: &[&str] = if args[1] == tests {
            &[
                "PING_INLINE",
                "PING_MBULK",
                "SET",
                "GET",
                "INCR",
                "LPUSH",
                "RPUSH",
                "LPOP",
                "RPOP",
                "SADD",
                "HSET",
                "SPOP",
                "ZADD",
                "ZPOPMIN",
                "LRANGE_100 (first 100 elements)",
                "MSET (10 keys)",
            ]
        } else {
            &[]
        };
        for name in names {
            assert!(said.contains(name), "no {name} in:\n{said}");
        }
    }
}

/// redis-py with one protocol and parser.
fn redis_py(protocol: &str, parser: &str) {
    let server = Server::kivi(&[]);
    let Some(python) = python() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/smoke.py");
    let output = run_tool(
        &python,
        &[script, &server.port.to_string(), protocol, parser],
        &[],
        b"",
    );
    assert_eq!(success("smoke.py", &output, &[0]), "ok\n");
}

#[test]
fn redis_py_with_protocol_2() {
    redis_py("2", "python");
}

#[test]
fn redis_py_with_protocol_3() {
    redis_py("3", "python");
}

#[test]
fn redis_py_with_hiredis_and_protocol_2() {
    redis_py("2", "hiredis");
}

#[test]
fn redis_py_with_hiredis_and_protocol_3() {
    redis_py("3", "hiredis");
}

/// What `smoke_types.py` prints of a server.
fn types_by_redis_py(server: &Server, more: &[&str]) -> Option<String> {
    let python = python()?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/smoke_types.py");
    let port = server.port.to_string();
    let args: Vec<&str> = [script, &port]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    let output = run_tool(&python, &args, &[], b"");
    let said = success("smoke_types.py", &output, &[0]);
    assert!(said.ends_with("ok\n"), "{said}");
    Some(said)
}

#[test]
fn redis_py_gets_the_same_of_the_types_as_from_valkey() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let kivi = Server::kivi(&[]);
    for protocol in ["2", "3"] {
        for parser in ["python", "hiredis"] {
            let said = [&kivi, &valkey].map(|s| types_by_redis_py(s, &[protocol, parser]));
            let [Some(ours), Some(theirs)] = said else {
                return;
            };
            for (our, their) in ours.lines().zip(theirs.lines()) {
                assert_eq!(our, their, "protocol {protocol}, {parser}");
            }
        }
    }
}

/// What is asked by redis-cli about the types that are written in more than one line.
const LOOKS: &str = "XADD s 1-1 a 1 b 2
XADD s 2-1 a 1 b 2
XGROUP CREATE s g 0
XREADGROUP GROUP g c COUNT 1 NOACK STREAMS s >
XREADGROUP GROUP none c STREAMS s >
XRANGE s - +
XREAD STREAMS s 0
XREAD STREAMS s $
XINFO STREAM s
XINFO GROUPS s
XINFO STREAM none
XPENDING s g
XAUTOCLAIM s g c 0 0
SETBIT b 4294967296 1
SETBIT b 9 1
BITFIELD b GET u8 8 OVERFLOW FAIL INCRBY u8 8 255
GET b
PFADD h a b c
GET h
PFCOUNT h
GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEOPOS g Palermo Catania none
GEODIST g Palermo Catania km
GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC WITHCOORD WITHDIST WITHHASH
";

#[test]
fn redis_cli_shows_the_same_of_the_types_as_of_valkey() {
    let Some(valkey) = Server::valkey(&[]) else {
        return;
    };
    let kivi = Server::kivi(&[]);
    let formats: [&[&str]; 5] = [
        &["--no-raw"],
        &["--no-raw", "-3"],
        &["--raw"],
        &["--json"],
        &["--csv"],
    ];
    for format in formats {
        let said = [&kivi, &valkey].map(|server| {
            server.connect().cmd(&["FLUSHALL"]);
            cli(server, format, LOOKS.as_bytes())
        });
        assert_eq!(said[0], said[1], "redis-cli {format:?}");
    }
    let said = [&kivi, &valkey].map(|server| {
        let text = cli(server, &["--bigkeys"], b"")?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains('%')).collect();
        let mut lines: Vec<String> = lines.into_iter().map(String::from).collect();
        lines.sort();
        Some(lines)
    });
    assert_eq!(said[0], said[1], "redis-cli --bigkeys");
}

/// What redis-py gets of Redis 8.2's commands, which no real server here has: as they are documented.
const OF_REDIS_8_2: &str = "\
xdelex ('refs', '1-1', '99-1') {} -> [1, -1]
xdelex ('refs', '1-1', '2-1') {'ref_policy': 'DELREF'} -> [-1, 1]
xdelex ('refs', '3-1', '8-1') {'ref_policy': 'ACKED'} -> [2, 2]
xackdel ('refs', 'one', '3-1', '4-1') {'ref_policy': 'ACKED'} -> [2, 2]
xackdel ('refs', 'one', '5-1') {'ref_policy': 'DELREF'} -> [1]
xackdel ('refs', 'one', '6-1', '77-1') {} -> [1, -1]
bitop ('DIFF', 'd', 'b1', 'b2', 'b3') {} -> 1
b'\\x08'
bitop ('DIFF1', 'd', 'b1', 'b2', 'b3') {} -> 1
b'p'
bitop ('ANDOR', 'd', 'b1', 'b2', 'b3') {} -> 1
b'\\x07'
bitop ('ONE', 'd', 'b1', 'b2', 'b3') {} -> 1
b'h'
";

#[test]
fn redis_py_uses_commands_of_redis_8_2() {
    if is_stand_in() {
        return;
    }
    let kivi = Server::kivi(&[]);
    for protocol in ["2", "3"] {
        let Some(said) = types_by_redis_py(&kivi, &[protocol, "python", "new"]) else {
            return;
        };
        let lines: Vec<&str> = said.lines().collect();
        for line in OF_REDIS_8_2.lines() {
            assert!(lines.contains(&line), "no {line:?} in\n{said}");
        }
    }
}
