//! Connection commands; expected replies are Valkey 9.1.2's.

use std::sync::atomic::Ordering;

use crate::commands::tests::Test;
use crate::exec::Flow;

const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &str = "-ERR AUTH <password> called without any password configured for the \
                           default user. Are you sure your configuration is correct?";
const NOAUTH: &str = "-NOAUTH Authentication required.";
const HELLO_NOAUTH: &str = "-NOAUTH HELLO must be called with the client already authenticated, \
                            otherwise the HELLO <proto> AUTH <user> <pass> option can be used to \
                            authenticate the client and select the RESP protocol version at the \
                            same time";
const BAD_NAME: &str = "-ERR Client names cannot contain spaces, newlines or special characters.";

fn denied(test: &Test) -> u64 {
    test.session
        .server()
        .stats
        .auth_denied
        .load(Ordering::Relaxed)
}

fn hello(proto: u8, id: u64, name: &str) -> String {
    let len = name.len();
    let header = if proto == 3 { "%7" } else { "*14" };
    format!(
        "{header} $6 server ${len} {name} $7 version $5 7.2.4 $5 proto :{proto} $2 id :{id} \
         $4 mode $10 standalone $4 role $6 master $7 modules *0"
    )
}

fn set_config(test: &Test, name: &str, value: &str) {
    let pair = [(name.as_bytes(), value.as_bytes())];
    test.session.server().set_config(&pair, true, true).unwrap();
}

#[test]
fn auth_without_a_password() {
    let mut test = Test::new();
    test.run("AUTH x").is(NO_PASSWORD);
    test.run("AUTH \"\"").is(NO_PASSWORD);
    test.run("AUTH default x").is("+OK");
    test.run("AUTH default \"\"").is("+OK");
    assert_eq!(denied(&test), 0);
    test.run("AUTH foo bar").is(WRONGPASS);
    test.run("AUTH \"\" \"\"").is(WRONGPASS);
    assert_eq!(denied(&test), 2);
    test.run("AUTH")
        .is("-ERR wrong number of arguments for 'auth' command");
    test.run("AUTH a b c").is("-ERR syntax error");
    test.run("PING").is("+PONG");
}

#[test]
fn auth_with_a_password() {
    let mut test = Test::with(&["--requirepass", "sekret"]);
    for line in [
        "PING",
        "GET a",
        "GET",
        "FOO",
        "CLIENT",
        "CLIENT foo",
        "CLIENT ID",
        "COMMAND COUNT",
    ] {
        test.run(line).is(NOAUTH);
    }
    test.run("AUTH")
        .is("-ERR wrong number of arguments for 'auth' command");
    test.run("AUTH a b c").is("-ERR syntax error");
    test.run("AUTH bad").is(WRONGPASS);
    test.run("AUTH default bad").is(WRONGPASS);
    test.run("AUTH nouser sekret").is(WRONGPASS);
    test.run("AUTH \"\"").is(WRONGPASS);
    test.run("PING").is(NOAUTH);
    assert_eq!(denied(&test), 4);
    test.run("AUTH sekret").is("+OK");
    test.run("PING").is("+PONG");
    // Who fails stays what he was.
    test.run("AUTH default bad").is(WRONGPASS);
    test.run("PING").is("+PONG");
    test.run("AUTH default sekret").is("+OK");
    test.run("RESET").is("+RESET");
    test.run("PING").is(NOAUTH);
    assert_eq!(test.flow("QUIT"), Flow::Close);
}

#[test]
fn a_password_that_is_set_or_taken_away_meanwhile() {
    let mut early = Test::new();
    set_config(&early, "requirepass", "sekret");
    early.run("PING").is("+PONG");
    let mut late = early.client();
    late.run("PING").is(NOAUTH);
    late.run("FOO").is(NOAUTH);
    set_config(&early, "requirepass", "");
    late.run("PING").is("+PONG");
    late.run("FOO")
        .is("-ERR unknown command 'FOO', with args beginning with: ");
    late.run("AUTH x").is(NO_PASSWORD);
    late.run("HELLO").is(&hello(2, 2, "kivi"));
}

#[test]
fn hello_tells_and_switches() {
    let mut test = Test::new();
    test.run("HELLO").is(&hello(2, 1, "kivi"));
    test.run("HELLO 2").is(&hello(2, 1, "kivi"));
    test.run("HELLO 3").is(&hello(3, 1, "kivi"));
    test.run("HELLO").is(&hello(3, 1, "kivi"));
    test.run("GET nosuch").is("_");
    test.run("HELLO 2").is(&hello(2, 1, "kivi"));
    test.run("GET nosuch").is("$-1");
    let mut other = test.client();
    other.run("HELLO 3").is(&hello(3, 2, "kivi"));
    test.run("GET nosuch").is("$-1");
}

#[test]
fn hello_in_compatibility_mode_and_with_a_zone() {
    let mut test = Test::with(&["--extended-redis-compatibility", "yes"]);
    test.run("HELLO").is(&hello(2, 1, "redis"));
    set_config(&test, "availability-zone", "zone-a");
    let with_zone = hello(2, 1, "redis").replace("*14", "*16") + " $17 availability_zone $6 zone-a";
    test.run("HELLO").is(&with_zone);
    let with_zone = hello(3, 1, "redis").replace("%7", "%8") + " $17 availability_zone $6 zone-a";
    test.run("HELLO 3").is(&with_zone);
}

#[test]
fn hello_refuses() {
    let mut test = Test::new();
    for version in ["4", "1", "0", "-1"] {
        test.run(&format!("HELLO {version}"))
            .is("-NOPROTO unsupported protocol version");
    }
    for version in [
        "abc",
        "3.0",
        "99999999999999999999",
        "\"\"",
        "\" 3\"",
        "03",
        "AUTH",
    ] {
        let line = format!("HELLO {version} AUTH default x");
        test.run(&line)
            .is("-ERR Protocol version is not an integer or out of range");
    }
    for (options, blamed) in [
        ("AUTH", "AUTH"),
        ("AUTH default", "AUTH"),
        ("SETNAME", "SETNAME"),
        ("FOO", "FOO"),
        ("FOO a b", "FOO"),
        ("SETNAME yy FOO", "FOO"),
        ("FOO SETNAME \"a b\"", "FOO"),
        ("\"a\\r\\nb\"", "a  b"),
        ("\"a\\x00b\"", "a"),
    ] {
        test.run(&format!("HELLO 3 {options}"))
            .is(&format!("-ERR Syntax error in HELLO option '{blamed}'"));
    }
    test.run("HELLO 3 SETNAME \"a b\"").is(BAD_NAME);
    test.run("HELLO 3 AUTH default x SETNAME \"a b\" FOO")
        .is(BAD_NAME);
    // Nothing of what was refused has happened.
    test.run("CLIENT GETNAME").is("$-1");
}

#[test]
fn hello_names_and_logs_in() {
    let mut test = Test::with(&["--requirepass", "sekret"]);
    test.run("HELLO").is(HELLO_NOAUTH);
    test.run("HELLO 3").is(HELLO_NOAUTH);
    test.run("HELLO 2 SETNAME foo").is(HELLO_NOAUTH);
    test.run("HELLO 4")
        .is("-NOPROTO unsupported protocol version");
    test.run("HELLO 2 AUTH default bad").is(WRONGPASS);
    test.run("HELLO 3 AUTH default bad SETNAME \"a b\"")
        .is(BAD_NAME);
    assert_eq!(denied(&test), 1);
    test.run("HELLO 3 AUTH default sekret SETNAME a SETNAME b")
        .is(&hello(3, 1, "kivi"));
    test.run("CLIENT GETNAME").is("$1 b");
    test.run("HELLO 2 SETNAME q AUTH default bad").is(WRONGPASS);
    test.run("CLIENT GETNAME").is("$1 b");
    test.run("GET nosuch").is("_");
    test.run("HELLO 2 SETNAME \"\"").is(&hello(2, 1, "kivi"));
    test.run("CLIENT GETNAME").is("$-1");
    test.run("HELLO 2 AUTH default sekret AUTH nouser y")
        .is(WRONGPASS);
}

#[test]
fn echo_and_ping() {
    let mut test = Test::new();
    test.run("ECHO hi").is("$2 hi");
    assert_eq!(
        test.args(&[b"ECHO", b"\x00\xff\r\n"]).0,
        b"$4\r\n\x00\xff\r\n\r\n"
    );
    test.run("ECHO")
        .is("-ERR wrong number of arguments for 'echo' command");
    test.run("ECHO a b")
        .is("-ERR wrong number of arguments for 'echo' command");
    test.run("PING").is("+PONG");
    test.run("PING hi").is("$2 hi");
    assert_eq!(test.run("PING \"\"").0, b"$0\r\n\r\n");
    test.run("PING a b")
        .is("-ERR wrong number of arguments for 'ping' command");
}

#[test]
fn select_checks_its_index() {
    let mut test = Test::new();
    test.run("SET k zero").is("+OK");
    test.run("SELECT 1").is("+OK");
    test.run("GET k").is("$-1");
    test.run("SELECT 15").is("+OK");
    test.run("SELECT 0").is("+OK");
    test.run("GET k").is("$4 zero");
    test.run("SELECT 16").is("-ERR DB index is out of range");
    test.run("SELECT -1").is("-ERR DB index is out of range");
    for index in [
        "abc",
        "1.5",
        "\"\"",
        "\"1 \"",
        "01",
        "+1",
        "-0",
        "9223372036854775808",
    ] {
        test.run(&format!("SELECT {index}"))
            .is("-ERR value is not an integer or out of range");
    }
    for index in ["99999999999", "2147483648", "-2147483649", "4294967296"] {
        test.run(&format!("SELECT {index}"))
            .is("-ERR value is out of range, value must between -2147483648 and 2147483647");
    }
    test.run("SELECT")
        .is("-ERR wrong number of arguments for 'select' command");
    test.run("SELECT 1 2")
        .is("-ERR wrong number of arguments for 'select' command");
    test.run("GET k").is("$4 zero");
}

#[test]
fn quit_answers_and_closes() {
    let mut test = Test::new();
    test.run("QUIT a b").is("+OK");
    assert_eq!(test.flow("QUIT"), Flow::Close);
}

#[test]
fn reset_forgets_all_but_the_library() {
    let mut test = Test::new();
    for line in [
        "HELLO 3",
        "SELECT 3",
        "CLIENT SETNAME x",
        "CLIENT SETINFO lib-name lib",
        "CLIENT NO-EVICT on",
        "CLIENT NO-TOUCH on",
    ] {
        let reply = test.run(line).text();
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    let before = test.run("CLIENT INFO").text();
    assert!(
        before.contains(" name=x ") && before.contains(" flags=eT "),
        "{before}"
    );
    assert!(
        before.contains(" db=3 ") && before.contains(" resp=3 "),
        "{before}"
    );
    test.run("RESET").is("+RESET");
    let after = test.run("CLIENT INFO").text();
    assert!(
        after.contains(" name= ") && after.contains(" flags=N "),
        "{after}"
    );
    assert!(
        after.contains(" db=0 ") && after.contains(" resp=2 lib-name=lib "),
        "{after}"
    );
    assert!(!test.session.client().no_touch);
    test.run("RESET x")
        .is("-ERR wrong number of arguments for 'reset' command");
}

#[test]
fn reset_and_the_mode_of_replies() {
    let mut test = Test::new();
    test.run("CLIENT REPLY OFF").is("");
    test.run("RESET").is("+RESET");
    test.run("PING").is("+PONG");
    test.run("CLIENT REPLY SKIP").is("");
    test.run("RESET").is("");
    test.run("PING").is("+PONG");
}

#[test]
fn requests_of_browsers_are_cut_off() {
    let mut test = Test::with(&["--requirepass", "sekret"]);
    for line in ["POST / HTTP/1.1", "post", "Host: localhost", "HOST:"] {
        assert_eq!(test.flow(line), Flow::Abort, "{line}");
    }
}
