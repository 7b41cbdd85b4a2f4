//! Scripts that run for too long, over TCP: who is answered what meanwhile, on all threads, and how it ends.
//!
//! What each command is answered is tested beside the code (`exec::busy`), with scripts that are left in
//! the middle by hand. Here connections, threads, signals and the end of the process come in. A script is
//! known to be busy when others are told so.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::client::{Client, Reply, encode, is_close};
use crate::generate::Rng;
use crate::harness::{Launch, Server, StopAtEnd, eventually, oracle, run_on, send_signal};

const FOR_EVER: &[&str] = &["EVAL", "while true do end", "0"];
const KILLED: &str = "ERR Script killed by user with SCRIPT KILL. script: on @user_script:1.";

fn start(args: &[&str]) -> Server {
    let busy = ["--busy-reply-threshold", "5"];
    Server::kivi(&[&busy, args].concat())
}

/// Runs a test with one worker thread and with several.
fn with_threads(test: impl Fn(&Server)) {
    for threads in ["1", "4"] {
        let mut server = start(&["--io-threads", threads]);
        test(&server);
        server.assert_alive();
    }
}

fn error_text(reply: &Reply) -> String {
    match reply {
        Reply::Error(text) => String::from_utf8_lossy(text).into_owned(),
        other => panic!("no error: {other:?}"),
    }
}

fn is_busy(reply: &Reply) -> bool {
    reply.is_error() && error_text(reply).starts_with("BUSY ")
}

/// Sends a script, and returns when it is busy.
fn begin(script: &mut Client, other: &mut Client, request: &[&str]) {
    script.send(&encode(request));
    eventually("the server to be busy", || {
        is_busy(&other.cmd(&["PING"])).then_some(())
    });
}

fn kill(other: &mut Client) {
    assert_eq!(other.raw(&["SCRIPT", "KILL"]), b"+OK\r\n");
}

/// Several connections, so that every thread has some.
fn connections(server: &Server) -> Vec<Client> {
    (0..24).map(|_| server.connect()).collect()
}

/// Also scripts that only need some shards, or read: how long values are nobody can tell beforehand.
#[test]
fn scripts_that_hold_little_can_be_killed_too() {
    let hashes = "redis.sha1hex(a) ".repeat(200);
    let hashes = format!("local a = redis.call('get', KEYS[1]) {hashes}");
    let sorts =
        "local i = 0 while i < 900 do i = i + 1 redis.call('sort_ro', KEYS[1], 'alpha') end";
    with_threads(|server| {
        let (mut script, mut other) = (server.connect(), server.connect());
        script.raw(&["SETRANGE", "text", "33554431", "x"]);
        let members: Vec<String> = (0..20_000).map(|n| format!("member:{n}")).collect();
        let add = [&["SADD".to_owned(), "set".to_owned()], &members[..]].concat();
        assert_eq!(script.raw(&add), b":20000\r\n");
        for (source, key) in [(&hashes[..], "text"), (sorts, "set")] {
            begin(&mut script, &mut other, &["EVAL", source, "1", key]);
            kill(&mut other);
            assert!(error_text(&script.read().1).starts_with("ERR Script killed by user"));
        }
    });
}

#[test]
fn everybody_is_told_and_may_kill() {
    with_threads(|server| {
        let mut others = connections(server);
        for round in 0..4 {
            let mut script = server.connect();
            let killer = round * 5;
            begin(&mut script, &mut others[killer], FOR_EVER);
            for other in &mut others {
                assert!(is_busy(&other.cmd(&["GET", "x"])));
                assert_eq!(other.raw(&["SELECT", "0"]), b"+OK\r\n");
            }
            // Who comes now is served as well.
            let mut late = server.connect();
            assert!(is_busy(&late.cmd(&["PING"])));
            assert_eq!(late.raw(&["CLIENT", "SETNAME", "late"]), b"+OK\r\n");
            kill(&mut others[killer]);
            assert_eq!(error_text(&script.read().1), KILLED);
            for other in &mut others {
                assert_eq!(other.raw(&["GET", "x"]), b"$-1\r\n");
            }
            assert_eq!(late.raw(&["PING"]), b"+PONG\r\n");
            assert_eq!(script.raw(&["PING"]), b"+PONG\r\n");
        }
    });
}

#[test]
fn who_waits_already_is_told_too() {
    with_threads(|server| {
        let (mut script, mut others) = (server.connect(), connections(server));
        // All of them at once: those that come before it is busy wait at the gate.
        script.send(&encode(FOR_EVER));
        for other in &mut others {
            other.send(&encode(&["INCR", "x"]));
        }
        let mut ran = 0;
        for other in &mut others {
            match other.read().1 {
                Reply::Int(_) => ran += 1,
                reply => assert!(is_busy(&reply), "{reply:?}"),
            }
        }
        kill(&mut others[0]);
        assert_eq!(error_text(&script.read().1), KILLED);
        eventually("the script to end", || {
            (!others[0].cmd(&["GET", "x"]).is_error()).then_some(())
        });
        let count = match others[0].cmd(&["GET", "x"]) {
            Reply::Nil => 0,
            count => count.text().parse().expect("a number"),
        };
        assert_eq!(count, ran);
    });
}

#[test]
fn replies_stand_in_the_order_of_their_requests() {
    with_threads(|server| {
        let (mut script, mut other) = (server.connect(), server.connect());
        let requests: Vec<&[&str]> = vec![&["SET", "k", "1"], FOR_EVER, &["INCR", "k"]];
        let bytes: Vec<u8> = requests.into_iter().flat_map(encode).collect();
        script.send(&bytes);
        // What was answered before is sent at once.
        assert_eq!(script.read().0, b"+OK\r\n");
        eventually("the server to be busy", || {
            is_busy(&other.cmd(&["PING"])).then_some(())
        });
        script.send(&encode(&["INCR", "k"]));
        kill(&mut other);
        assert_eq!(error_text(&script.read().1), KILLED);
        assert_eq!(script.read().0, b":2\r\n");
        assert_eq!(script.read().0, b":3\r\n");
    });
}

#[test]
fn a_script_goes_on_when_its_client_has_gone() {
    with_threads(|server| {
        let (mut script, mut other) = (server.connect(), server.connect());
        begin(&mut script, &mut other, FOR_EVER);
        drop(script);
        for _ in 0..20 {
            assert!(is_busy(&other.cmd(&["GET", "x"])));
        }
        kill(&mut other);
        eventually("the script to end", || {
            (other.raw(&["GET", "x"]) == b"$-1\r\n").then_some(())
        });
        let list = other.cmd(&["CLIENT", "LIST"]).text();
        assert_eq!(list.lines().count(), 1, "{list}");
    });
}

#[test]
fn a_script_that_writes_ends_by_itself_and_is_whole() {
    with_threads(|server| {
        let (mut script, mut other) = (server.connect(), server.connect());
        let source = "for i = 1, 200000 do redis.call('incr', KEYS[i % 2 + 1]) end \
                      return redis.call('mget', KEYS[1], KEYS[2])";
        begin(&mut script, &mut other, &["EVAL", source, "2", "a", "b"]);
        assert!(
            error_text(&other.cmd(&["SCRIPT", "KILL"])).starts_with("UNKILLABLE ")
                || !is_busy(&other.cmd(&["PING"]))
        );
        let reply = script.read().1;
        let [a, b] = reply.items() else {
            panic!("{reply:?}")
        };
        assert_eq!((a.text().as_str(), b.text().as_str()), ("100000", "100000"));
    });
}

/// What clients see of pairs of keys that scripts change together.
fn look_on(server: &Server, stop: &AtomicBool, served: &AtomicU64, seed: u64) {
    let (mut client, mut rng) = (server.connect(), Rng::new(seed));
    while !stop.load(Ordering::Relaxed) {
        let reply = match rng.below(8) {
            0 => client.cmd(&["DBSIZE"]),
            1 => client.cmd(&["KEYS", "*"]),
            2 => client.cmd(&["SCAN", "0"]),
            3 => client.cmd(&["RANDOMKEY"]),
            4 => client.cmd(&["INFO", "keyspace"]),
            5 => client.cmd(&["BLPOP", "none", "0.001"]),
            _ => {
                let reply = client.cmd(&["MGET", "a", "b"]);
                if !reply.is_error() {
                    let [a, b] = reply.items() else {
                        panic!("{reply:?}")
                    };
                    assert_eq!(a, b, "a script is seen as a whole");
                }
                reply
            }
        };
        match reply.is_error() {
            true => assert!(is_busy(&reply), "{reply:?}"),
            false => drop(served.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// Clients that watch, and lose their connections in all states.
fn come_and_go(server: &Server, stop: &AtomicBool, seed: u64) {
    let mut rng = Rng::new(seed);
    while !stop.load(Ordering::Relaxed) {
        let mut client = server.connect();
        for _ in 0..rng.below(6) {
            let reply = match rng.below(5) {
                0 => client.cmd(&["WATCH", "a", "c"]),
                1 => client.cmd(&["UNWATCH"]),
                2 => client.cmd(&["MULTI"]),
                3 => client.cmd(&["EXEC"]),
                _ => client.cmd(&["GET", "c"]),
            };
            drop(reply);
        }
        if rng.below(4) == 0 {
            client.send(&encode(&["BLPOP", "none", "0"]));
        }
    }
}

#[test]
fn under_load_all_threads_answer() {
    with_threads(|server| {
        let (stop, served) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            let _stop = StopAtEnd(&stop);
            for seed in 0..6 {
                let (stop, served) = (&stop, &served);
                scope.spawn(move || look_on(server, stop, served, seed));
            }
            for seed in 10..13 {
                let stop = &stop;
                scope.spawn(move || come_and_go(server, stop, seed));
            }
            let (mut script, mut other) = (server.connect(), server.connect());
            for _ in 0..15 {
                let both = "redis.call('incr', 'a') for i = 1, 1e5 do end redis.call('incr', 'b')";
                script.cmd(&["EVAL", both, "0"]);
                begin(&mut script, &mut other, FOR_EVER);
                kill(&mut other);
                assert_eq!(error_text(&script.read().1), KILLED);
                let before = served.load(Ordering::Relaxed);
                eventually("others to be served again", || {
                    (served.load(Ordering::Relaxed) > before).then_some(())
                });
            }
        });
        let mut client = server.connect();
        eventually("all others to be gone", || {
            let list = client.cmd(&["CLIENT", "LIST"]).text();
            (list.lines().count() == 1).then_some(())
        });
        let info = client.cmd(&["INFO", "clients"]).text();
        for gauge in [
            "blocked_clients:0",
            "watching_clients:0",
            "total_watched_keys:0",
        ] {
            assert!(info.contains(gauge), "{gauge} in {info}");
        }
    });
}

#[test]
fn waits_end_when_the_script_has_ended() {
    with_threads(|server| {
        let (mut script, mut other) = (server.connect(), server.connect());
        let mut waiting = server.connect();
        let id = waiting.cmd(&["CLIENT", "ID"]).int().to_string();
        waiting.send(&encode(&["BLPOP", "none", "0.05"]));
        script.send(&encode(FOR_EVER));
        eventually("the server to be busy", || {
            is_busy(&other.cmd(&["PING"])).then_some(())
        });
        // Whether it timed out before or not: it gets its reply.
        kill(&mut other);
        assert_eq!(error_text(&script.read().1), KILLED);
        assert_eq!(waiting.read().1, Reply::Nil);
        let list = other.cmd(&["CLIENT", "LIST", "ID", &id]).text();
        assert!(list.contains("flags=N"), "{list}");
        assert_eq!(
            other.raw(&["RPUSH", "none", "x"]),
            b":1\r\n",
            "nobody waits"
        );
    });
}

#[test]
fn shutdown_without_saving_ends_a_script_that_writes() {
    for threads in ["1", "4"] {
        let args = [
            "--io-threads",
            threads,
            "--appendonly",
            "yes",
            "--busy-reply-threshold",
            "5",
        ];
        let mut server = Launch {
            args: &args,
            ..Launch::KIVI
        }
        .start();
        let (mut script, mut other) = (server.connect(), server.connect());
        let mut watching = server.connect();
        assert_eq!(watching.raw(&["SET", "kept", "1"]), b"+OK\r\n");
        assert_eq!(watching.raw(&["WATCH", "kept"]), b"+OK\r\n");
        let source =
            "redis.call('set', 'kept', '2') redis.call('set', 'lost', '1') while true do end";
        begin(&mut script, &mut other, &["EVAL", source, "0"]);
        assert!(error_text(&other.cmd(&["SCRIPT", "KILL"])).starts_with("UNKILLABLE "));
        for refused in [&["SHUTDOWN"][..], &["SHUTDOWN", "SAVE"]] {
            assert!(is_busy(&other.cmd(refused)));
        }
        let gone = other.try_raw(&["SHUTDOWN", "NOSAVE"]).unwrap_err();
        assert!(is_close(&gone), "{gone}");
        assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
        assert!(server.log().contains("bye bye"), "{}", server.log());
        let dir = server.dir.path().to_str().expect("utf-8").to_owned();
        let again = start(&["--dir", &dir, "--appendonly", "yes"]);
        let mut client = again.connect();
        let kept = eventually("the log to be loaded", || {
            let reply = client.cmd(&["GET", "kept"]);
            (!reply.is_error()).then(|| reply.text())
        });
        assert_eq!(kept, "1");
        assert_eq!(
            client.cmd(&["EXISTS", "lost"]).int(),
            0,
            "not the half of it"
        );
    }
}

#[test]
fn a_signal_waits_for_the_script() {
    with_threads_to_the_end(|server, script, other| {
        begin(script, other, FOR_EVER);
        send_signal(server.pid(), "TERM");
        eventually("the signal to be seen", || {
            server.log().contains("Received SIGTERM").then_some(())
        });
        for _ in 0..20 {
            assert!(is_busy(&other.cmd(&["PING"])));
        }
        kill(other);
        assert_eq!(error_text(&script.read().1), KILLED);
    });
}

#[test]
fn shutdown_without_saving_does_not_wait_for_a_signal_that_does() {
    with_threads_to_the_end(|server, script, other| {
        begin(script, other, FOR_EVER);
        send_signal(server.pid(), "TERM");
        eventually("the signal to be seen", || {
            server.log().contains("Received SIGTERM").then_some(())
        });
        let gone = other.try_raw(&["SHUTDOWN", "NOSAVE"]).unwrap_err();
        assert!(is_close(&gone), "{gone}");
    });
}

/// A server that ends in the course of a test.
fn with_threads_to_the_end(test: impl Fn(&Server, &mut Client, &mut Client)) {
    for threads in ["1", "4"] {
        let mut server = start(&["--io-threads", threads]);
        let (mut script, mut other) = (server.connect(), server.connect());
        test(&server, &mut script, &mut other);
        assert_eq!(server.wait_exit().code(), Some(0), "{}", server.log());
    }
}

#[test]
fn the_log_names_the_script() {
    let server = start(&[]);
    let (mut script, mut other) = (server.connect(), server.connect());
    begin(&mut script, &mut other, FOR_EVER);
    kill(&mut other);
    script.read();
    let log = server.log();
    for part in [
        "Slow script detected: still in execution after ",
        "You can try killing the script using the SCRIPT KILL command. Script name is: \
         694a5fe1ddb97a4c6a1bf299d9537c7d3d0f84e7.",
        "Script killed by user with SCRIPT KILL.",
    ] {
        assert!(log.contains(part), "{part:?} in {log}");
    }
}

#[test]
fn redis_cli_kills_a_script() {
    let server = start(&["--io-threads", "1"]);
    let (mut script, mut other) = (server.connect(), server.connect());
    begin(&mut script, &mut other, FOR_EVER);
    let cli = |args: &[&str]| {
        let output = run_on(&server, "redis-cli", args, b"");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(cli(&["PING"]).starts_with("BUSY Redis is busy running a script."));
    assert_eq!(cli(&["SCRIPT", "KILL"]).trim(), "OK");
    assert_eq!(error_text(&script.read().1), KILLED);
    assert_eq!(cli(&["PING"]).trim(), "PONG");
}

/// The same requests while a script runs, on Kivi and on Valkey.
#[test]
fn busy_answers_are_those_of_valkey() {
    if oracle().is_none() {
        return;
    }
    let valkey = Server::valkey(&["--busy-reply-threshold", "5"]).expect("an oracle");
    let kivi = start(&[]);
    let play = |server: &Server| {
        let (mut script, mut other) = (server.connect(), server.connect());
        begin(&mut script, &mut other, FOR_EVER);
        let mut table = server.connect();
        let mut seen = Vec::new();
        for request in [
            "WATCH a",
            "UNWATCH",
            "MULTI",
            "GET a",
            "SET a 1",
            "EXEC",
            "MULTI",
            "DISCARD",
            "EXEC",
            "SHUTDOWN",
            "SHUTDOWN ABORT",
            "CLIENT ID x",
            "CLIENT GETNAME",
            "CLIENT CACHING YES",
            "CLIENT NO-EVICT ON",
            "CLIENT NO-TOUCH ON",
            "CLIENT TRACKING ON",
            "CLIENT LIST",
            "CLIENT SETINFO LIB-NAME x",
            "CLIENT GETREDIR",
            "CLIENT KILL TYPE normal",
            "ECHO x",
            "SCRIPT EXISTS x",
            "SCRIPT FLUSH",
            "FUNCTION STATS",
            "FUNCTION KILL",
            "FUNCTION FLUSH",
            "EVAL x 0",
            "EVALSHA x 0",
            "FCALL x 0",
            "nosuch",
            "OBJECT nosuch",
            "GET",
            "HELLO 9",
            "AUTH x",
            "SELECT 99",
            "SELECT x",
            "SELECT 2",
            "SAVE",
            "BGSAVE",
            "INFO",
            "COMMAND COUNT",
            "PUBLISH a b",
            "SUBSCRIBE x",
            "CONFIG GET save",
            "SCRIPT nosuch",
            "FUNCTION nosuch",
            "RESET",
        ] {
            let words: Vec<&str> = request.split(' ').collect();
            let raw = table.raw(&words);
            let text = String::from_utf8_lossy(&raw).replace("Valkey is busy", "Redis is busy");
            seen.push(format!("{request}: {text}"));
        }
        kill(&mut other);
        seen.push(error_text(&script.read().1));
        seen
    };
    assert_eq!(play(&kivi), play(&valkey));
}
