//! What each command of the family answers, and what it leaves; the texts are Valkey 9.1.2's.

use crate::client::Signal;
use crate::commands::tests::Test;
use crate::exec::{Flow, Wait};

const PREVIOUS: &str = "-EXECABORT Transaction discarded because of previous errors.";

/// Runs lines, each with its reply.
#[track_caller]
fn script(test: &mut Test, lines: &[(&str, &str)]) {
    for (line, reply) in lines {
        assert_eq!(test.run(line).text(), *reply, "{line}");
    }
}

/// Runs lines of a fresh client of a fresh server.
#[track_caller]
fn fresh(lines: &[(&str, &str)]) -> Test {
    let mut test = Test::new();
    script(&mut test, lines);
    test
}

/// Fields of a client's line in CLIENT LIST.
#[track_caller]
fn seen(other: &mut Test, id: u64, fields: &[&str]) {
    let line = other.run(&format!("CLIENT LIST ID {id}")).text();
    for field in fields {
        let has = line.split(' ').any(|word| word == *field);
        assert!(has, "{field} in {line}");
    }
}

fn id(test: &Test) -> u64 {
    test.session.client().shared.id
}

#[test]
fn what_is_queued_runs_at_exec() {
    let mut test = fresh(&[
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("INCR a", "+QUEUED"),
        ("LPUSH a x", "+QUEUED"),
        ("SET b c EX 0", "+QUEUED"),
        ("MGET a b", "+QUEUED"),
    ]);
    test.client().run("GET a").is("$-1");
    script(
        &mut test,
        &[
            (
                "EXEC",
                "*5 +OK :2 -WRONGTYPE Operation against a key holding the wrong kind of value \
                 -ERR invalid expire time in 'set' command *2 $1 2 $-1",
            ),
            ("GET a", "$1 2"),
            ("EXEC", "-ERR EXEC without MULTI"),
            ("DISCARD", "-ERR DISCARD without MULTI"),
            ("MULTI", "+OK"),
            ("EXEC", "*0"),
        ],
    );
}

#[test]
fn discard_forgets() {
    fresh(&[
        ("WATCH k", "+OK"),
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("DISCARD", "+OK"),
        ("EXISTS a", ":0"),
        ("SET k 1", "+OK"),
        ("MULTI", "+OK"),
        ("PING", "+QUEUED"),
        ("EXEC", "*1 +PONG"),
    ]);
}

#[test]
fn what_cannot_be_queued_spoils_the_transaction() {
    for (line, reply) in [
        (
            "MULTI",
            "-ERR Command 'multi' not allowed inside a transaction",
        ),
        (
            "WATCH k",
            "-ERR Command 'watch' not allowed inside a transaction",
        ),
        (
            "SAVE",
            "-ERR Command 'save' not allowed inside a transaction",
        ),
        (
            "SHUTDOWN NOSAVE",
            "-ERR Command 'shutdown' not allowed inside a transaction",
        ),
        (
            "CLIENT REPLY OFF",
            "-ERR Command 'client|reply' not allowed inside a transaction",
        ),
        (
            "MULTI x",
            "-ERR wrong number of arguments for 'multi' command",
        ),
        (
            "WATCH",
            "-ERR wrong number of arguments for 'watch' command",
        ),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        (
            "DISCARD x",
            "-ERR wrong number of arguments for 'discard' command",
        ),
        (
            "RESET x",
            "-ERR wrong number of arguments for 'reset' command",
        ),
        (
            "CLIENT",
            "-ERR wrong number of arguments for 'client' command",
        ),
        (
            "CLIENT foo",
            "-ERR unknown subcommand 'foo'. Try CLIENT HELP.",
        ),
        (
            "FOO a b",
            "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' ",
        ),
    ] {
        let mut test = fresh(&[
            ("WATCH w", "+OK"),
            ("MULTI", "+OK"),
            ("SET a 1", "+QUEUED"),
            (line, reply),
            ("SET b 1", "+QUEUED"),
        ]);
        let (mut other, id) = (test.client(), id(&test));
        seen(
            &mut other,
            id,
            &["flags=x", "multi=0", "watch=1", "multi-mem=0"],
        );
        script(
            &mut test,
            &[
                ("EXEC", PREVIOUS),
                ("EXISTS a b", ":0"),
                ("SET w 1", "+OK"),
                ("MULTI", "+OK"),
                ("EXEC", "*0"),
                ("EXEC", "-ERR EXEC without MULTI"),
            ],
        );
    }
}

#[test]
fn an_exec_that_is_refused_ends_the_transaction() {
    let arity = "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' \
                 command";
    fresh(&[
        ("EXEC x", arity),
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("EXEC x", arity),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("EXISTS a", ":0"),
    ]);
    let mut test = Test::with(&["--requirepass", "secret"]);
    script(
        &mut test,
        &[
            ("MULTI", "-NOAUTH Authentication required."),
            (
                "EXEC",
                "-EXECABORT Transaction discarded because of: NOAUTH Authentication required.",
            ),
            ("AUTH secret", "+OK"),
            ("MULTI", "+OK"),
            ("AUTH wrong", "+QUEUED"),
            ("PING", "+QUEUED"),
            (
                "EXEC",
                "*2 -WRONGPASS invalid username-password pair or user is disabled. +PONG",
            ),
        ],
    );
}

#[test]
fn admission_judges_exec_by_what_is_queued() {
    use crate::persist::state::Marks;
    let mut test = Test::with(&["--save", "3600 1"]);
    let server = test.session.server().clone();
    let misconf = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to \
                   persist to disk.";
    script(&mut test, &[("MULTI", "+OK"), ("SET a 1", "+QUEUED")]);
    server.persist.mark(Marks::RDB_FAILED, true);
    let aborted = format!("-EXECABORT Transaction discarded because of: {misconf}");
    test.run("EXEC").has(&aborted);
    script(
        &mut test,
        &[
            ("EXEC", "-ERR EXEC without MULTI"),
            ("MULTI", "+OK"),
            ("GET a", "+QUEUED"),
            ("EXEC", "*1 $-1"),
            ("MULTI", "+OK"),
            ("GET a", "+QUEUED"),
        ],
    );
    test.run("SET a 1").has(misconf);
    test.run("EXEC").is(PREVIOUS);
    server.persist.mark(Marks::RDB_FAILED, false);

    script(&mut test, &[("MULTI", "+OK"), ("GET a", "+QUEUED")]);
    server.persist.mark(Marks::LOADING, true);
    test.run("EXEC").is(
        "-EXECABORT Transaction discarded because of: LOADING Redis is loading the dataset in \
         memory",
    );
    script(
        &mut test,
        &[
            ("MULTI", "+OK"),
            ("CLIENT GETNAME", "+QUEUED"),
            ("EXEC", "*1 $-1"),
        ],
    );
}

#[test]
fn a_pause_holds_writes_back_when_they_are_queued_and_when_they_run() {
    let mut test = Test::new();
    let mut other = test.client();
    script(&mut test, &[("MULTI", "+OK"), ("SET a 1", "+QUEUED")]);
    let mut reader = test.client();
    script(&mut reader, &[("MULTI", "+OK"), ("GET a", "+QUEUED")]);
    other.run("CLIENT PAUSE 1000 WRITE").is("+OK");
    assert_eq!(test.flow("SET b 1"), Flow::Wait(Wait::Pause));
    assert_eq!(test.flow("EXEC"), Flow::Wait(Wait::Pause));
    reader.run("EXEC").is("*1 $-1");
    other.run("CLIENT UNPAUSE").is("+OK");
    script(&mut test, &[("SET b 1", "+QUEUED"), ("EXEC", "*2 +OK +OK")]);
}

#[test]
fn a_touched_key_makes_exec_do_nothing() {
    let mut test = Test::new();
    let mut other = test.client();
    for (setup, act, touches) in [
        ("SET k v", "SET k v", true),
        ("SET k v", "DEL k", true),
        ("DEL k", "DEL k", false),
        ("DEL k", "SET k v", true),
        ("SET k v", "EXPIRE k 100", true),
        ("SET k v", "SET k w NX", false),
        ("SET k v", "COPY k j", false),
        ("SET k v", "COPY j k", false),
        ("SET k v", "MOVE k 3", true),
        ("SET k v", "RENAME k l", true),
        ("SET k v", "FLUSHALL", true),
        ("SET k v", "FLUSHDB", true),
        ("DEL k", "FLUSHALL", false),
        ("SET k v", "SWAPDB 0 9", true),
        ("DEL k", "SWAPDB 0 9", false),
        ("SET k v", "SWAPDB 8 9", false),
        ("SET k v", "GET k", false),
        ("SET k v", "TOUCH k", false),
        ("SADD k a", "SADD k a", false),
        ("SADD k a", "SADD k b", true),
        ("SADD k a", "SPOP k", true),
    ] {
        for line in ["FLUSHALL", setup] {
            other.run(line);
        }
        test.run("WATCH k").is("+OK");
        other.run(act);
        script(&mut test, &[("MULTI", "+OK"), ("PING", "+QUEUED")]);
        let reply = test.run("EXEC").text();
        let expected = if touches { "*-1" } else { "*1 +PONG" };
        assert_eq!(reply, expected, "{setup}, then {act}");
    }
}

/// As Valkey 9.1.2: a key that had expired by the time of WATCH, and was kept by a pause, was not there. When
/// it goes that is no change.
#[test]
fn what_had_expired_when_it_was_watched_may_go() {
    for (act, touches) in [
        ("PING", false),
        ("GET k", false),
        ("DEL k", false),
        ("expire", false),
        ("FLUSHALL", false),
        ("GET k, FLUSHALL", false),
        ("SWAPDB 0 9", false),
        ("SET k w", true),
        ("GET k, SET k w", true),
        ("expire, SET k w", true),
        ("SET k w, DEL k", true),
        ("SET other w, RENAME other k", true),
        ("SET k w, FLUSHALL", true),
        ("SET k w PX 10, wait", true),
        ("SELECT 9, SET k w, SWAPDB 0 9", true),
    ] {
        let mut test = Test::new();
        let (mut other, mut late) = (test.client(), test.client());
        other.run("SET k v PX 10").is("+OK");
        // It is there for this one.
        late.run("WATCH k").is("+OK");
        other.run("CLIENT PAUSE 100000 WRITE").is("+OK");
        test.clock.advance(20);
        test.run("WATCH k").is("+OK");
        other.run("CLIENT UNPAUSE").is("+OK");
        for step in act.split(", ") {
            match step {
                "expire" => {
                    let keyspace = &test.session.server().keyspace;
                    keyspace.expire_due(test.clock.unix_ms());
                }
                "wait" => test.clock.advance(10),
                line => drop(other.run(line)),
            }
        }
        for (client, touches) in [(&mut test, touches), (&mut late, true)] {
            script(client, &[("MULTI", "+OK"), ("PING", "+QUEUED")]);
            let reply = client.run("EXEC").text();
            let expected = if touches { "*-1" } else { "*1 +PONG" };
            assert_eq!(reply, expected, "{act}");
        }
    }
}

#[test]
fn a_client_touches_its_own_keys_too() {
    fresh(&[
        ("WATCH k", "+OK"),
        ("SET k 1", "+OK"),
        ("MULTI", "+OK"),
        ("EXEC", "*-1"),
        // EXEC forgets what is watched, whatever came of it.
        ("SET k 1", "+OK"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
        ("WATCH k", "+OK"),
        ("MULTI", "+OK"),
        ("SET k 2", "+QUEUED"),
        ("EXEC", "*1 +OK"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
        // Errors while queuing are told first.
        ("WATCH k", "+OK"),
        ("SET k 1", "+OK"),
        ("MULTI", "+OK"),
        (
            "NOSUCH",
            "-ERR unknown command 'NOSUCH', with args beginning with: ",
        ),
        ("EXEC", PREVIOUS),
        // UNWATCH makes it good again, as long as nothing is queued.
        ("WATCH k", "+OK"),
        ("SET k 1", "+OK"),
        ("WATCH other", "+OK"),
        ("UNWATCH", "+OK"),
        ("MULTI", "+OK"),
        ("UNWATCH", "+QUEUED"),
        ("EXEC", "*1 +OK"),
        ("HELLO 3 AUTH x", "-ERR Syntax error in HELLO option 'AUTH'"),
    ]);
}

#[test]
fn a_watched_key_is_one_of_its_database() {
    let mut test = Test::new();
    let mut other = test.client();
    script(
        &mut test,
        &[
            ("SELECT 3", "+OK"),
            ("WATCH k", "+OK"),
            ("SELECT 0", "+OK"),
            ("SET k 1", "+OK"),
            ("MULTI", "+OK"),
            ("EXEC", "*0"),
            ("SELECT 3", "+OK"),
            ("WATCH k", "+OK"),
            ("SELECT 0", "+OK"),
        ],
    );
    script(&mut other, &[("SELECT 3", "+OK"), ("SET k 1", "+OK")]);
    script(&mut test, &[("MULTI", "+OK"), ("EXEC", "*-1")]);
}

#[test]
fn a_watched_key_that_expires_has_changed() {
    let mut test = Test::new();
    test.run("DEBUG SET-ACTIVE-EXPIRE 0");
    script(
        &mut test,
        &[
            ("SET k v PX 10", "+OK"),
            ("WATCH k", "+OK"),
            ("MULTI", "+OK"),
            ("PING", "+QUEUED"),
        ],
    );
    test.clock.advance(10);
    test.run("EXEC").is("*-1");
    // One that had expired before was not there, and still is not.
    test.run("SET k v PX 10").is("+OK");
    test.clock.advance(10);
    script(&mut test, &[("WATCH k", "+OK"), ("EXISTS k", ":0")]);
    test.client().run("FLUSHALL").is("+OK");
    script(
        &mut test,
        &[("MULTI", "+OK"), ("PING", "+QUEUED"), ("EXEC", "*1 +PONG")],
    );
    test.run("SET k v PX 10").is("+OK");
    test.clock.advance(10);
    test.run("WATCH k").is("+OK");
    test.client().run("SET k v").is("+OK");
    script(&mut test, &[("MULTI", "+OK"), ("EXEC", "*-1")]);
    // The expiry cycle touches, too.
    script(&mut test, &[("SET k v PX 10", "+OK"), ("WATCH k", "+OK")]);
    test.clock.advance(10);
    let server = test.session.server().clone();
    server.keyspace.expire_due(test.clock.unix_ms());
    script(&mut test, &[("MULTI", "+OK"), ("EXEC", "*-1")]);
}

#[test]
fn what_others_see() {
    let mut test = Test::new();
    let (mut other, id) = (test.client(), id(&test));
    seen(
        &mut other,
        id,
        &["flags=N", "multi=-1", "watch=0", "multi-mem=0"],
    );
    script(
        &mut test,
        &[
            ("WATCH a b a", "+OK"),
            ("SELECT 1", "+OK"),
            ("WATCH a", "+OK"),
        ],
    );
    seen(&mut other, id, &["flags=N", "multi=0", "watch=3"]);
    other.run("INFO clients").has("watching_clients:1");
    other.run("INFO clients").has("total_watched_keys:3");
    script(&mut test, &[("MULTI", "+OK"), ("SET x y", "+QUEUED")]);
    seen(
        &mut other,
        id,
        &["flags=x", "multi=1", "watch=3", "cmd=set"],
    );
    let memory = test.session.client().shared.memory_bytes();
    script(&mut other, &[("SET a 1", "+OK")]);
    seen(&mut other, id, &["flags=xd", "multi=0", "watch=0"]);
    other.run("INFO clients").has("watching_clients:0");
    other.run("INFO clients").has("total_watched_keys:0");
    test.run("SET x y").is("+QUEUED");
    assert!(test.session.client().shared.memory_bytes() < memory);
    test.run("EXEC").is("*-1");
    seen(
        &mut other,
        id,
        &["flags=N", "multi=0", "watch=0", "multi-mem=0", "cmd=exec"],
    );

    script(&mut test, &[("MULTI", "+OK"), ("CLIENT INFO", "+QUEUED")]);
    let text = test.run("EXEC").text();
    for field in ["flags=x ", "multi=1 ", "cmd=exec "] {
        assert!(text.contains(field), "{field} in {text}");
    }
}

#[test]
fn what_is_counted() {
    let mut test = Test::new();
    script(
        &mut test,
        &[
            ("CONFIG RESETSTAT", "+OK"),
            ("MULTI", "+OK"),
            ("SET a b", "+QUEUED"),
            ("LPUSH a b", "+QUEUED"),
            ("INFO commandstats", "+QUEUED"),
        ],
    );
    let text = test.run("EXEC").text();
    assert!(text.contains("cmdstat_set:calls=1"), "{text}");
    assert!(!text.contains("cmdstat_exec"), "{text}");
    script(
        &mut test,
        &[(
            "EXEC x",
            "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command",
        )],
    );
    test.run("MULTI").is("+OK");
    test.run("MULTI").has("not allowed");
    test.run("EXEC").is(PREVIOUS);
    let text = test.run("INFO commandstats").text();
    for (command, figures) in [
        ("multi", ["calls=2", "rejected_calls=1,failed_calls=0"]),
        ("set", ["calls=1", "rejected_calls=0,failed_calls=0"]),
        ("lpush", ["calls=1", "rejected_calls=0,failed_calls=1"]),
        ("exec", ["calls=2", "rejected_calls=1,failed_calls=1"]),
    ] {
        let mut lines = text.split(' ');
        let line = lines.find(|line| line.starts_with(&format!("cmdstat_{command}:")));
        let line = line.unwrap_or_default();
        assert!(figures.iter().all(|part| line.contains(part)), "{line}");
    }
    test.run("INFO errorstats")
        .has("errorstat_EXECABORT:count=2");
    test.run("INFO stats").has("total_error_replies:4");
}

#[test]
fn the_connection_may_change_within() {
    let mut test = fresh(&[
        ("MULTI", "+OK"),
        ("SELECT 3", "+QUEUED"),
        ("SET a 3", "+QUEUED"),
        ("SELECT 99", "+QUEUED"),
        ("EXEC", "*3 +OK +OK -ERR DB index is out of range"),
        ("GET a", "$1 3"),
        ("MULTI", "+OK"),
        ("GET nok", "+QUEUED"),
        ("HELLO 3", "+QUEUED"),
        ("GET nok", "+QUEUED"),
    ]);
    let text = test.run("EXEC").text();
    assert!(
        text.starts_with("*3 $-1 %7 ") && text.ends_with(" _"),
        "{text}"
    );
    script(
        &mut test,
        &[
            ("WATCH a", "+OK"),
            ("SET a 1", "+OK"),
            ("MULTI", "+OK"),
            ("EXEC", "_"),
        ],
    );
}

#[test]
fn reset_quit_and_the_end_of_a_connection_end_it() {
    let mut test = fresh(&[
        ("WATCH k", "+OK"),
        ("MULTI", "+OK"),
        ("SET a 1", "+QUEUED"),
        ("RESET", "+RESET"),
        ("EXEC", "-ERR EXEC without MULTI"),
        ("SET k 1", "+OK"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
        ("WATCH k", "+OK"),
        ("SET k 1", "+OK"),
        ("RESET", "+RESET"),
        ("MULTI", "+OK"),
        ("EXEC", "*0"),
    ]);
    let mut gone = test.client();
    script(
        &mut gone,
        &[
            ("WATCH k l", "+OK"),
            ("MULTI", "+OK"),
            ("SET a 1", "+QUEUED"),
        ],
    );
    test.run("INFO clients").has("total_watched_keys:2");
    assert_eq!(gone.flow("QUIT"), Flow::Close);
    drop(gone);
    test.run("INFO clients").has("total_watched_keys:0");
    test.run("INFO clients").has("watching_clients:0");
    test.run("EXISTS a").is(":0");
}

#[test]
fn client_reply_silences_what_is_answered_at_once() {
    let mut test = fresh(&[
        ("CLIENT REPLY SKIP", ""),
        ("MULTI", ""),
        ("PING", "+QUEUED"),
        ("EXEC", "*1 +PONG"),
        ("CLIENT REPLY OFF", ""),
        ("MULTI", ""),
        ("SET a 1", ""),
        ("EXEC", ""),
        ("CLIENT REPLY ON", "+OK"),
        ("GET a", "$1 1"),
    ]);
    script(
        &mut test,
        &[
            ("MULTI", "+OK"),
            ("PING", "+QUEUED"),
            ("CLIENT KILL ID 1000", "+QUEUED"),
        ],
    );
    test.run("EXEC").is("*2 +PONG :0");
}

#[test]
fn nothing_is_told_to_a_client_that_has_killed_itself() {
    let mut test = Test::new();
    let kill = format!("CLIENT KILL ID {} SKIPME no", id(&test));
    for line in ["MULTI", "PING", &kill, "SET a 1"] {
        test.run(line);
    }
    let (reply, flow) = test.session.call(&[b"EXEC"]);
    assert_eq!(flow, Flow::Close);
    assert_eq!(String::from_utf8(reply).unwrap(), "*3\r\n+PONG\r\n:1\r\n");
    test.client().run("GET a").is("$1 1");
    assert!(!test.session.client().shared.has(Signal::Kill));
}
