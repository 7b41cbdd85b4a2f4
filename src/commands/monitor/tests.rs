//! MONITOR; expected replies and lines are Valkey 9.1.2's.

use crate::client::Endpoint;
use crate::commands::tests::{START_MS, Test};
use crate::exec::Flow;
use crate::exec::session::Session;

/// What a client was shown since it was asked last, without the time.
fn seen(test: &mut Test) -> Vec<String> {
    lines(&test.session.take_pushes())
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let shown = text.split_terminator("\r\n").map(|line| {
        let (time, shown) = line.split_once(' ').unwrap_or_default();
        assert!(time.starts_with('+') && time.contains('.'), "{line}");
        shown.to_owned()
    });
    shown.collect()
}

/// A client, and one that looks.
fn monitored() -> (Test, Test) {
    let test = Test::new();
    let mut monitor = test.client();
    monitor.run("MONITOR").is("+OK");
    (test, monitor)
}

#[test]
fn a_line_is_valkeys() {
    let (mut test, mut monitor) = monitored();
    test.clock.advance(123);
    test.args(&[b"SET", b"a", b"\"x\r\n\x00\xff\t\x07\x08\\ \x7f"]);
    let shown = monitor.session.take_pushes();
    let at = START_MS + 123;
    let time = format!("{}.{:03}000", at / 1000, at % 1000);
    assert_eq!(
        String::from_utf8(shown).unwrap(),
        format!(
            "+{time} [0 127.0.0.1:0] \"SET\" \"a\" \
             \"\\\"x\\r\\n\\x00\\xff\\t\\a\\b\\\\ \\x7f\"\r\n"
        )
    );
}

#[test]
fn what_is_shown() {
    let (mut test, mut monitor) = monitored();
    for (line, shown) in [
        ("INCR n", Some("[0 127.0.0.1:0] \"INCR\" \"n\"")),
        ("LPUSH n 1", Some("[0 127.0.0.1:0] \"LPUSH\" \"n\" \"1\"")),
        // What is refused does not run.
        ("GET", None),
        ("FOO", None),
        // The database after it.
        ("SELECT 3", Some("[3 127.0.0.1:0] \"SELECT\" \"3\"")),
        // What is administrative is not shown.
        ("CONFIG GET port", None),
        ("CONFIG SET requirepass \"\"", None),
        ("CLIENT LIST", None),
        ("CLIENT NO-EVICT ON", None),
        ("DEBUG SLEEP 0", None),
        ("SAVE", None),
        ("CLIENT ID", Some("[3 127.0.0.1:0] \"CLIENT\" \"ID\"")),
        ("INFO foo", Some("[3 127.0.0.1:0] \"INFO\" \"foo\"")),
        ("FLUSHALL", Some("[3 127.0.0.1:0] \"FLUSHALL\"")),
        ("DBSIZE", Some("[3 127.0.0.1:0] \"DBSIZE\"")),
        ("RESET", Some("[0 127.0.0.1:0] \"RESET\"")),
        ("QUIT", Some("[0 127.0.0.1:0] \"QUIT\"")),
    ] {
        test.run(line);
        let expected: Vec<&str> = shown.into_iter().collect();
        assert_eq!(seen(&mut monitor), expected, "{line}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let (mut test, mut monitor) = monitored();
    for (line, shown) in [
        ("AUTH x", "\"AUTH\" \"(redacted)\""),
        ("AUTH default x", "\"AUTH\" \"(redacted)\" \"(redacted)\""),
        (
            "AUTH a b c",
            "\"AUTH\" \"(redacted)\" \"(redacted)\" \"(redacted)\"",
        ),
        ("HELLO 3", "\"HELLO\" \"3\""),
        (
            "hello 3 auth default x",
            "\"hello\" \"3\" \"auth\" \"(redacted)\" \"(redacted)\"",
        ),
        (
            "HELLO 2 SETNAME foo AUTH default x",
            "\"HELLO\" \"2\" \"SETNAME\" \"foo\" \"AUTH\" \"(redacted)\" \"(redacted)\"",
        ),
        (
            "HELLO 2 AUTH default x SETNAME foo",
            "\"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"foo\"",
        ),
        // Valkey shows these two passwords: the request is at fault before it is read so far.
        (
            "HELLO x AUTH default pw",
            "\"HELLO\" \"x\" \"AUTH\" \"(redacted)\" \"(redacted)\"",
        ),
        ("HELLO 3 AUTH pw", "\"HELLO\" \"3\" \"AUTH\" \"(redacted)\""),
        // Whichever of the two is the option.
        (
            "HELLO 3 SETNAME AUTH AUTH default pw",
            "\"HELLO\" \"3\" \"SETNAME\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"(redacted)\"",
        ),
        ("ECHO AUTH", "\"ECHO\" \"AUTH\""),
    ] {
        test.run(line);
        let shown = format!("[0 127.0.0.1:0] {shown}");
        assert_eq!(seen(&mut monitor), [shown], "{line}");
    }
}

#[test]
fn what_waits_is_shown_once() {
    let (mut test, mut monitor) = monitored();
    let mut other = test.client();
    let waiter = test.blocks("BLPOP l 0");
    assert_eq!(
        seen(&mut monitor),
        ["[0 127.0.0.1:0] \"BLPOP\" \"l\" \"0\""]
    );
    other.run("RPUSH l x").is(":1");
    assert_eq!(
        seen(&mut monitor),
        ["[0 127.0.0.1:0] \"RPUSH\" \"l\" \"x\""]
    );
    test.waited(&waiter).unwrap().is("*2 $1 l $1 x");
    assert_eq!(seen(&mut monitor), [""; 0]);

    other.run("CLIENT PAUSE 1000").is("+OK");
    assert!(matches!(test.flow("SET a 1"), Flow::Wait(_)));
    assert_eq!(seen(&mut monitor), [""; 0]);
    test.clock.advance(1000);
    test.run("SET a 1").is("+OK");
    assert_eq!(seen(&mut monitor), ["[0 127.0.0.1:0] \"SET\" \"a\" \"1\""]);
}

#[test]
fn a_transaction_is_shown_when_it_runs() {
    let (mut test, mut monitor) = monitored();
    for line in [
        "WATCH w",
        "MULTI",
        "SET a 1",
        "LPUSH a x",
        "BLPOP nolist 0",
        "CONFIG GET port",
        "SELECT 2",
        "AUTH default pw",
        "MONITOR",
    ] {
        test.run(line);
    }
    assert_eq!(
        seen(&mut monitor),
        [
            "[0 127.0.0.1:0] \"WATCH\" \"w\"",
            "[0 127.0.0.1:0] \"MULTI\""
        ]
    );
    test.run("EXEC")
        .has("-ERR MONITOR isn't allowed for DENY BLOCKING client");
    assert_eq!(
        seen(&mut monitor),
        [
            "[0 127.0.0.1:0] \"SET\" \"a\" \"1\"",
            "[0 127.0.0.1:0] \"LPUSH\" \"a\" \"x\"",
            "[0 127.0.0.1:0] \"BLPOP\" \"nolist\" \"0\"",
            "[2 127.0.0.1:0] \"SELECT\" \"2\"",
            "[2 127.0.0.1:0] \"AUTH\" \"(redacted)\" \"(redacted)\"",
            "[2 127.0.0.1:0] \"EXEC\"",
        ]
    );
    // One that does not take place.
    for line in ["MULTI", "GET", "EXEC", "EXEC"] {
        test.run(line);
    }
    let shown = ["\"MULTI\"", "\"EXEC\"", "\"EXEC\""].map(|name| format!("[2 127.0.0.1:0] {name}"));
    assert_eq!(seen(&mut monitor), shown);
    let mut other = test.client();
    test.run("WATCH a");
    other.run("SELECT 2");
    other.run("SET a 5");
    seen(&mut monitor);
    test.run("MULTI");
    test.run("EXEC").is("*-1");
    let shown = ["\"MULTI\"", "\"EXEC\""].map(|name| format!("[2 127.0.0.1:0] {name}"));
    assert_eq!(seen(&mut monitor), shown);
}

#[test]
fn a_monitor_sees_itself_behind_its_reply() {
    let (_test, mut monitor) = monitored();
    let reply = monitor.args(&[b"PING"]).0;
    let own = reply.strip_prefix(b"+PONG\r\n").unwrap();
    assert_eq!(lines(own), ["[0 127.0.0.1:0] \"PING\""]);
    // No second time.
    assert_eq!(monitor.args(&[b"MONITOR"]).0, b"");
    assert_eq!(monitor.args(&[b"CLIENT", b"REPLY", b"OFF"]).0, b"");
}

#[test]
fn a_monitor_may_not_touch_keys() {
    let (mut test, mut monitor) = monitored();
    for line in [
        "GET a",
        "SET a b",
        "DBSIZE",
        "KEYS *",
        "FLUSHALL",
        "BLPOP x 1",
    ] {
        monitor
            .run(line)
            .is("-ERR Replica can't interact with the keyspace");
    }
    monitor
        .run("GET")
        .is("-ERR wrong number of arguments for 'get' command");
    // Nor is it held back.
    test.run("CLIENT PAUSE 100000").is("+OK");
    assert_eq!(monitor.flow("CLIENT UNPAUSE"), Flow::Done);
    test.run("GET a").is("$-1");
}

#[test]
fn it_is_listed() {
    let (mut test, mut monitor) = monitored();
    test.run("CLIENT LIST FLAGS O").has(" flags=O ");
    test.run("CLIENT LIST FLAGS SO").has(" flags=O ");
    test.run("CLIENT LIST TYPE replica").is("$0");
    test.run("CLIENT LIST TYPE normal").has(" flags=O ");
    let reply = monitor.args(&[b"RESET"]).0;
    assert_eq!(reply, b"+RESET\r\n");
    test.run("PING").is("+PONG");
    assert_eq!(seen(&mut monitor), [""; 0]);
    test.run("CLIENT LIST FLAGS O").is("$0");
    monitor.run("GET a").is("$-1");
}

#[test]
fn nobody_looks_when_the_last_one_has_gone() {
    let (mut test, mut monitor) = monitored();
    let mut second = test.client();
    second.run("MONITOR").is("+OK");
    drop(second);
    test.run("PING").is("+PONG");
    assert_eq!(seen(&mut monitor).len(), 1);
    drop(monitor);
    test.run("PING").is("+PONG");
    let mut third = test.client();
    third.run("MONITOR").is("+OK");
    assert_eq!(seen(&mut third), [""; 0]);
    test.run("PING").is("+PONG");
    assert_eq!(seen(&mut third).len(), 1);
}

#[test]
fn all_who_look_see_the_same() {
    let (mut test, mut monitor) = monitored();
    let mut second = test.client();
    second.run("HELLO 3");
    seen(&mut monitor);
    second.run("MONITOR").is("+OK");
    for line in ["SET a 1", "GET a", "DEL a"] {
        test.run(line);
    }
    let shown = monitor.session.take_pushes();
    assert_eq!(lines(&shown).len(), 3);
    assert_eq!(second.session.take_pushes(), shown);
}

#[test]
fn a_silent_monitor_is_shown_nothing() {
    let (mut test, mut monitor) = monitored();
    monitor.run("CLIENT REPLY OFF").is("");
    test.run("PING").is("+PONG");
    assert_eq!(seen(&mut monitor), [""; 0]);
    let reply = monitor.args(&[b"CLIENT", b"REPLY", b"ON"]).0;
    let own = reply.strip_prefix(b"+OK\r\n").unwrap();
    assert_eq!(lines(own), ["[0 127.0.0.1:0] \"CLIENT\" \"REPLY\" \"ON\""]);
    test.run("PING").is("+PONG");
    assert_eq!(seen(&mut monitor).len(), 1);
}

#[test]
fn a_unix_socket_shows_its_path() {
    let (test, mut monitor) = monitored();
    let server = test.session.server().clone();
    let mut session = Session::at(
        server,
        test.table.clone(),
        Endpoint {
            addr: "/run/kivi.sock:0".into(),
            laddr: "/run/kivi.sock:0".into(),
            local: true,
            unix: true,
        },
    );
    session.call(&[b"PING"]);
    assert_eq!(seen(&mut monitor), ["[0 unix:/run/kivi.sock] \"PING\""]);
}

#[test]
fn arity() {
    let mut test = Test::new();
    test.run("MONITOR x")
        .is("-ERR wrong number of arguments for 'monitor' command");
    test.session.client_mut().may_block = false;
    test.run("MONITOR")
        .is("-ERR MONITOR isn't allowed for DENY BLOCKING client");
}
