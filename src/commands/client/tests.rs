//! CLIENT; expected replies are Valkey 9.1.2's.

use std::sync::atomic::Ordering;

use crate::client::{Endpoint, Signal};
use crate::commands::tests::{START_MS, Test};
use crate::db::{Access, DbIndex};
use crate::exec::{Flow, Wait};

/// The ids in a reply of CLIENT LIST, in its order.
fn ids(test: &mut Test, filter: &str) -> Vec<u64> {
    let text = test.run(&format!("CLIENT LIST {filter}")).text();
    assert!(!text.starts_with('-'), "{filter}: {text}");
    let lines = text
        .split_inclusive('\n')
        .filter_map(|line| line.split_once("id="));
    lines
        .map(|(_, line)| line.split(' ').next().unwrap().parse().unwrap())
        .collect()
}

/// One field of the client's own CLIENT INFO.
fn field(test: &mut Test, name: &str) -> String {
    let text = test.run("CLIENT INFO").text();
    let mut fields = text
        .trim_end()
        .split(' ')
        .skip(1)
        .filter_map(|field| field.split_once('='));
    fields
        .find(|(n, _)| *n == name)
        .map(|(_, value)| value.to_string())
        .unwrap()
}

#[test]
fn names() {
    let mut test = Test::new();
    test.run("CLIENT GETNAME").is("$-1");
    test.run("CLIENT SETNAME foo~!").is("+OK");
    test.run("CLIENT GETNAME").is("$5 foo~!");
    for bad in [
        "\"a b\"",
        "\"a\\nb\"",
        "\"\\xff\"",
        "\"a\\x7f\"",
        "\"a\\x00 id=2\"",
    ] {
        test.run(&format!("CLIENT SETNAME {bad}"))
            .is("-ERR Client names cannot contain spaces, newlines or special characters.");
    }
    test.run("CLIENT GETNAME").is("$5 foo~!");
    test.run("CLIENT SETNAME \"\"").is("+OK");
    test.run("CLIENT GETNAME").is("$-1");
    test.run("HELLO 3");
    test.run("CLIENT GETNAME").is("_");
}

#[test]
fn library() {
    let mut test = Test::new();
    test.run("CLIENT SETINFO LIB-NAME redis-py").is("+OK");
    test.run("CLIENT SETINFO lib-ver 1.2").is("+OK");
    assert_eq!(field(&mut test, "lib-name"), "redis-py");
    assert_eq!(field(&mut test, "lib-ver"), "1.2");
    test.run("CLIENT SETINFO lib-ver \"\"").is("+OK");
    assert_eq!(field(&mut test, "lib-ver"), "");
    test.run("CLIENT SETINFO foo bar")
        .is("-ERR Unrecognized option 'foo'");
    test.run("CLIENT SETINFO \"f\\r\\nX\" b")
        .is("-ERR Unrecognized option 'f  X'");
    test.run("CLIENT SETINFO LIB-NAME \"a b\"")
        .is("-ERR LIB-NAME cannot contain spaces, newlines or special characters.");
    test.run("CLIENT SETINFO LIB-ver \"a\\nb\"")
        .is("-ERR LIB-ver cannot contain spaces, newlines or special characters.");
    assert_eq!(field(&mut test, "lib-name"), "redis-py");
}

#[test]
fn numbers_are_never_used_again() {
    let mut test = Test::new();
    test.run("CLIENT ID").is(":1");
    drop(test.client());
    test.client().run("CLIENT ID").is(":3");
}

#[test]
fn errors_of_the_container() {
    let mut test = Test::new();
    test.run("CLIENT")
        .is("-ERR wrong number of arguments for 'client' command");
    test.run("CLIENT FOO")
        .is("-ERR unknown subcommand 'FOO'. Try CLIENT HELP.");
    test.run("CLIENT KILL")
        .is("-ERR wrong number of arguments for 'client|kill' command");
    test.run("CLIENT NO-EVICT")
        .is("-ERR wrong number of arguments for 'client|no-evict' command");
    test.run("CLIENT PAUSE")
        .is("-ERR wrong number of arguments for 'client|pause' command");
    test.run("CLIENT REPLY")
        .is("-ERR wrong number of arguments for 'client|reply' command");
    let help = test.run("CLIENT HELP").text();
    assert!(help.contains("+CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    assert!(help.ends_with(" +HELP +    Print this help."), "{help}");
}

#[test]
fn the_line_has_all_fields_in_order() {
    let mut test = Test::new();
    test.clock.advance(12_345);
    test.run("CLIENT SETNAME me").is("+OK");
    test.run("SELECT 4").is("+OK");
    let text = test.run("CLIENT INFO").text();
    let line = text.split_once(' ').unwrap().1;
    let memory = field(&mut test, "tot-mem");
    // 10: the bytes of CLIENT and INFO.
    let expected = format!(
        "id=1 addr=127.0.0.1:0 laddr=127.0.0.1:0 fd=-1 name=me age=12 idle=12 flags=N capa= db=4 \
         sub=0 psub=0 ssub=0 multi=-1 watch=0 qbuf=0 qbuf-free=0 argv-mem=10 multi-mem=0 rbs=0 \
         rbp=0 obl=0 oll=0 omem=0 tot-mem={memory} events=r cmd=client|info user=default \
         redir=-1 resp=2 lib-name= lib-ver= tot-net-in=0 tot-net-out=0 tot-cmds=2\n"
    );
    assert_eq!(line, expected);
    test.run("HELLO 3");
    let text = test.run("CLIENT INFO").text();
    assert!(
        text.starts_with('=') && text.contains(" txt:id=1 addr="),
        "{text}"
    );
    assert!(test.run("CLIENT LIST").text().contains(" txt:id=1 addr="));
}

#[test]
fn figures_of_buffers_are_those_of_the_connection() {
    let mut test = Test::new();
    let idle: usize = field(&mut test, "tot-mem").parse().unwrap();
    let shared = test.session.client().shared.clone();
    shared.query_buffer_bytes.store(30, Ordering::Relaxed);
    shared.query_buffer_capacity.store(100, Ordering::Relaxed);
    shared.note_output(1000, 1500);
    shared.connection_bytes.store(400, Ordering::Relaxed);
    shared.net_in_bytes.store(7, Ordering::Relaxed);
    test.session.client().wrote(9);
    for (name, value) in [
        ("qbuf", "30"),
        ("qbuf-free", "70"),
        ("obl", "1000"),
        ("oll", "1"),
        ("omem", "1500"),
        ("events", "rw"),
        ("tot-net-in", "7"),
        ("tot-net-out", "9"),
    ] {
        assert_eq!(field(&mut test, name), value, "{name}");
    }
    let busy: usize = field(&mut test, "tot-mem").parse().unwrap();
    // A block of 100 bytes has 112.
    assert_eq!(busy, idle + 112 + 1500 + 400);
}

#[test]
fn the_last_command_and_how_many_there_were() {
    let mut test = Test::new();
    let mut other = test.client();
    let mut seen = |other: &str| {
        let text = test.run("CLIENT LIST ID 2").text();
        let part = |name: &str| {
            let start = text.find(name).unwrap() + name.len();
            text[start..].split([' ', '\n']).next().unwrap().to_string()
        };
        assert_eq!(format!("{} {}", part(" cmd="), part(" tot-cmds=")), other);
    };
    seen("NULL 0");
    other.run("FOO");
    seen("NULL 0");
    other.run("GET");
    seen("get 0");
    other.run("CLIENT FOO");
    seen("NULL 0");
    other.run("CLIENT ID");
    seen("client|id 1");
    other.run("INCRBY k x");
    seen("incrby 2");
}

#[test]
fn flags_have_letters() {
    let mut test = Test::new();
    test.run("CLIENT NO-EVICT on").is("+OK");
    test.run("CLIENT NO-TOUCH ON").is("+OK");
    assert_eq!(field(&mut test, "flags"), "eT");
    test.run("CLIENT NO-EVICT OFF").is("+OK");
    assert_eq!(field(&mut test, "flags"), "T");
    test.run("CLIENT NO-TOUCH off").is("+OK");
    assert_eq!(field(&mut test, "flags"), "N");
    test.run("CLIENT NO-EVICT foo").is("-ERR syntax error");
    test.run("CLIENT NO-TOUCH foo").is("-ERR syntax error");
    let endpoint = Endpoint {
        addr: "/tmp/kivi.sock:0".into(),
        laddr: "/tmp/kivi.sock:0".into(),
        local: true,
        unix: true,
    };
    let unix = test.session.server().clients.connect(endpoint, 9, START_MS);
    unix.paused.store(true, Ordering::Relaxed);
    let text = test.run("CLIENT LIST FLAGS U").text();
    assert!(
        text.contains("id=2 addr=/tmp/kivi.sock:0 laddr=/tmp/kivi.sock:0 fd=9 "),
        "{text}"
    );
    assert!(
        text.contains(" flags=bU ") && !text.contains("id=1 "),
        "{text}"
    );
    assert_eq!(ids(&mut test, "ADDR /tmp/kivi.sock:0"), [2]);
    test.run("CLIENT KILL /tmp/kivi.sock:0").is("+OK");
    assert!(
        test.run("CLIENT LIST FLAGS U")
            .text()
            .contains(" flags=bAU ")
    );
}

#[test]
fn capabilities() {
    let mut test = Test::new();
    test.run("CLIENT CAPA foo").is("+OK");
    assert_eq!(field(&mut test, "capa"), "");
    test.run("CLIENT CAPA foo Redirect bar").is("+OK");
    assert_eq!(field(&mut test, "capa"), "r");
    test.client();
    assert_eq!(ids(&mut test, "CAPA r"), [1]);
    assert_eq!(ids(&mut test, "NOT-CAPA r"), [0; 0]);
    // It is what the client can do, whatever else it begins anew.
    test.run("RESET").is("+RESET");
    assert_eq!(field(&mut test, "capa"), "r");
}

#[test]
fn reset_makes_a_client_as_it_was() {
    let mut test = Test::new();
    test.run("CONFIG SET import-mode yes").is("+OK");
    let before = test.run("CLIENT INFO").text();
    for line in [
        "CLIENT SETNAME foo",
        "CLIENT NO-EVICT ON",
        "CLIENT NO-TOUCH ON",
        "CLIENT IMPORT-SOURCE ON",
        "WATCH k",
        "SELECT 3",
        "MULTI",
        "MONITOR",
        "EXEC",
        "HELLO 3",
    ] {
        test.run(line);
    }
    assert_eq!(field(&mut test, "flags"), "eTI");
    test.run("RESET").is("+RESET");
    let after = test.run("CLIENT INFO").text();
    let part = |text: &str| {
        let start = text.find(" name=").unwrap();
        let end = text.find(" multi=").unwrap();
        text[start..end].to_owned()
    };
    assert_eq!(part(&before), part(&after));
    assert_eq!(field(&mut test, "watch"), "0");
    assert_eq!(field(&mut test, "resp"), "2");
}

#[test]
fn a_blocked_client_shows_its_request() {
    let mut test = Test::new();
    let mut other = test.client();
    let idle: usize = field(&mut other, "tot-mem").parse().unwrap();
    let waiter = other.blocks("BLPOP key1 key2 0");
    let text = test.run("CLIENT LIST ID 2").text();
    assert!(text.contains(" argv-mem=14 "), "{text}");
    let shared = &other.session.client().shared;
    assert!(shared.memory_bytes() > idle + 14);
    other.session.give_up_wait(&waiter);
    test.run("CLIENT LIST ID 2").has(" argv-mem=0 ");
}

#[test]
fn clients_that_take_too_much_go() {
    let mut test = Test::new();
    let mut other = test.client();
    let take = |test: &Test, bytes: usize| {
        let shared = &test.session.client().shared;
        shared.note_output(bytes, bytes);
        test.session.server().clients.account(shared);
    };
    let killed = |test: &Test| test.session.client().shared.has(Signal::Kill);
    test.run("CLIENT NO-EVICT ON").is("+OK");
    test.run("CONFIG SET maxmemory-clients 1mb").is("+OK");
    take(&test, 700_000);
    assert!(!killed(&test) && !killed(&other));
    test.run("INFO stats").has("evicted_clients:0 ");
    take(&other, 400_000);
    assert!(!killed(&test) && killed(&other));
    test.run("INFO stats").has("evicted_clients:1 ");
    test.run("CONFIG RESETSTAT").is("+OK");
    test.run("INFO stats").has("evicted_clients:0 ");
    // Whoever is spared no longer goes, when it is too much still.
    take(&test, 1_200_000);
    assert!(!killed(&test));
    other.run("CLIENT ID");
    test.run("CLIENT NO-EVICT OFF").is("+OK");
    assert!(killed(&test));
}

#[test]
fn a_share_of_the_memory_for_clients() {
    let mut test = Test::with(&["--maxmemory", "100mb", "--maxmemory-clients", "5%"]);
    let limit = |test: &Test| test.session.server().clients.memory.limit_bytes();
    assert_eq!(limit(&test), 5 << 20);
    test.run("CONFIG SET maxmemory-clients 10%").is("+OK");
    assert_eq!(limit(&test), 10 << 20);
    test.run("CONFIG SET maxmemory-clients 3mb").is("+OK");
    assert_eq!(limit(&test), 3 << 20);
    test.run("CONFIG SET maxmemory-clients 0").is("+OK");
    assert_eq!(limit(&test), 0);
    let mut test = Test::with(&["--maxmemory-clients", "5%"]);
    assert_eq!(limit(&test), 0, "a share of no limit");
    test.run("CONFIG SET maxmemory-clients 1").is("+OK");
    assert_eq!(limit(&test), 128 << 10);
}

#[test]
fn no_touch_leaves_the_idle_time() {
    let mut test = Test::new();
    test.run("SET k v").is("+OK");
    test.clock.advance(10_000);
    test.run("CLIENT NO-TOUCH on").is("+OK");
    test.run("GET k").is("$1 v");
    test.run("OBJECT IDLETIME k").is(":10");
    test.run("CLIENT NO-TOUCH off").is("+OK");
    test.run("GET k").is("$1 v");
    test.run("OBJECT IDLETIME k").is(":0");
}

/// Three clients: 1, 2 (`aa`, in database 3), 3 (`bb`, library `lib` 1.0); client 1 is as old as
/// `age_ms`.
fn crowd(age_ms: u64) -> (Test, Test, Test) {
    let test = Test::new();
    test.clock.advance(age_ms);
    let (mut second, mut third) = (test.client(), test.client());
    second.run("CLIENT SETNAME aa").is("+OK");
    second.run("SELECT 3").is("+OK");
    third.run("CLIENT SETNAME bb").is("+OK");
    third.run("CLIENT SETINFO LIB-NAME lib").is("+OK");
    third.run("CLIENT SETINFO LIB-VER 1.0").is("+OK");
    (test, second, third)
}

#[test]
fn list_is_filtered() {
    let (mut test, _second, _third) = crowd(4_000);
    for (filter, expected) in [
        ("", &[1, 2, 3][..]),
        ("TYPE normal", &[1, 2, 3]),
        ("TYPE NORMAL TYPE pubsub", &[]),
        ("TYPE master", &[]),
        ("TYPE primary", &[]),
        ("TYPE slave", &[]),
        ("TYPE replica", &[]),
        ("TYPE pubsub", &[]),
        ("NOT-TYPE normal", &[]),
        ("NOT-TYPE pubsub", &[1, 2, 3]),
        ("ID 3 1 3", &[1, 3]),
        ("ID 3 ID 2", &[2, 3]),
        ("ID 9999", &[]),
        ("ID 2 3 USER default", &[2, 3]),
        ("ID USER default", &[]),
        ("NOT-ID 2", &[1, 3]),
        ("NOT-ID 2 NOT-ID 3", &[1]),
        ("ID 2 NOT-ID 2", &[]),
        ("ID 2 NAME bb", &[]),
        ("USER default", &[1, 2, 3]),
        ("NOT-USER default", &[]),
        ("ADDR 127.0.0.1:0", &[1, 2, 3]),
        ("ADDR 1.2.3.4:5", &[]),
        ("NOT-ADDR 1.2.3.4:5", &[1, 2, 3]),
        ("LADDR 127.0.0.1:0", &[1, 2, 3]),
        ("NOT-LADDR 127.0.0.1:0", &[]),
        ("IP 127.0.0.1", &[1, 2, 3]),
        ("IP 127.0.0.2", &[]),
        ("IP \"\"", &[]),
        ("NOT-IP 127.0.0.1", &[]),
        ("NOT-IP 127.0.0.2", &[1, 2, 3]),
        ("SKIPME yes", &[2, 3]),
        ("SKIPME no", &[1, 2, 3]),
        ("SKIPME yes SKIPME no", &[1, 2, 3]),
        ("MAXAGE 1", &[1]),
        ("MAXAGE 4", &[1]),
        ("MAXAGE 5", &[]),
        ("IDLE 4", &[1]),
        ("IDLE 5", &[]),
        ("NAME aa", &[2]),
        ("NAME AA", &[]),
        ("NAME \"\"", &[]),
        ("NAME \"a b\"", &[]),
        ("NAME aa NAME bb", &[3]),
        ("NOT-NAME aa", &[1, 3]),
        ("NOT-NAME \"\"", &[1, 2, 3]),
        ("LIB-NAME lib", &[3]),
        ("LIB-NAME \"\"", &[]),
        ("NOT-LIB-NAME lib", &[1, 2]),
        ("LIB-VER 1.0", &[3]),
        ("NOT-LIB-VER \"\"", &[1, 2, 3]),
        ("DB 0", &[1, 3]),
        ("DB 15", &[]),
        ("DB 0 DB 3", &[2]),
        ("NOT-DB 0", &[2]),
        ("FLAGS N", &[1, 2, 3]),
        ("FLAGS NN", &[1, 2, 3]),
        ("FLAGS NP", &[]),
        ("FLAGS \"\"", &[1, 2, 3]),
        ("NOT-FLAGS NP", &[1, 2, 3]),
        ("NOT-FLAGS N", &[]),
        ("NOT-FLAGS \"\"", &[]),
        ("CAPA r", &[]),
        ("CAPA \"\"", &[1, 2, 3]),
        ("NOT-CAPA r", &[1, 2, 3]),
        ("not-id 2 skipme YES", &[3]),
    ] {
        assert_eq!(ids(&mut test, filter), expected, "{filter}");
    }
    assert_eq!(test.run("CLIENT LIST ID 99").0, b"$0\r\n\r\n");
}

#[test]
fn filters_are_refused() {
    let mut test = Test::new();
    for (filter, error) in [
        ("TYPE", "syntax error"),
        ("TYPE foo", "Unknown client type 'foo'"),
        ("NOT-TYPE x", "Unknown client type 'x'"),
        ("TYPE \"f\\r\\nX\"", "Unknown client type 'f  X'"),
        ("ID", "syntax error"),
        ("ID abc", "syntax error"),
        ("ID 1 2 abc", "syntax error"),
        ("ID 99999999999999999999", "syntax error"),
        ("ID 0", "client-id should be greater than 0"),
        ("NOT-ID -1", "client-id should be greater than 0"),
        ("USER", "syntax error"),
        ("USER nouser", "No such user 'nouser'"),
        ("NOT-USER other", "No such user 'other'"),
        ("SKIPME", "syntax error"),
        ("SKIPME maybe", "syntax error"),
        ("MAXAGE abc", "maxage is not an integer or out of range"),
        ("MAXAGE 0", "maxage should be greater than 0"),
        ("MAXAGE -1", "maxage should be greater than 0"),
        ("IDLE abc", "idle is not an integer or out of range"),
        ("IDLE 0", "idle should be greater than 0"),
        ("FLAGS Z", "Unknown flags found in the provided filter: Z"),
        ("FLAGS n", "Unknown flags found in the provided filter: n"),
        (
            "NOT-FLAGS Z",
            "Unknown flags found in the NOT-FLAGS filter: Z",
        ),
        ("CAPA x", "Unknown capa found in the provided filter: x"),
        ("NOT-CAPA x", "Unknown capa found in the NOT-CAPA filter: x"),
        ("DB abc", "DB is not an integer or out of range"),
        ("DB 99999999999", "DB is not an integer or out of range"),
        ("DB 16", "DB number should be between 0 and 15"),
        ("DB -1", "DB number should be between 0 and 15"),
        ("NOT-DB x", "NOT-DB is not an integer or out of range"),
        ("NOT-DB 99", "NOT-DB number should be between 0 and 15"),
        ("NOT-MAXAGE 1", "syntax error"),
        ("NOT-IDLE 1", "syntax error"),
        ("NOT-SKIPME yes", "syntax error"),
        ("NOT- 1", "syntax error"),
        ("FOO", "syntax error"),
        ("FOO bar", "syntax error"),
        ("ID 4 foo", "syntax error"),
    ] {
        test.run(&format!("CLIENT LIST {filter}"))
            .is(&format!("-ERR {error}"));
        // With one argument it is KILL's older form: an address.
        if filter.contains(' ') {
            test.run(&format!("CLIENT KILL {filter}"))
                .is(&format!("-ERR {error}"));
        }
    }
}

#[test]
fn ipv6_hosts_have_no_brackets() {
    let mut test = Test::new();
    let endpoint = Endpoint {
        addr: "[::1]:50000".into(),
        laddr: "[::1]:6379".into(),
        local: true,
        unix: false,
    };
    test.session.server().clients.connect(endpoint, 9, START_MS);
    assert_eq!(ids(&mut test, "IP ::1"), [2]);
    assert_eq!(ids(&mut test, "IP [::1]"), [0; 0]);
    assert_eq!(ids(&mut test, "LADDR [::1]:6379"), [2]);
}

#[test]
fn kill_by_filters() {
    let (mut test, second, third) = crowd(0);
    let killed = |test: &Test| test.session.client().shared.has(Signal::Kill);
    test.run("CLIENT KILL ID 99").is(":0");
    test.run("CLIENT KILL TYPE pubsub").is(":0");
    test.run("CLIENT KILL DB 5").is(":0");
    test.run("CLIENT KILL MAXAGE 100000").is(":0");
    test.run("CLIENT KILL NAME \"\"").is(":0");
    assert!(!killed(&second) && !killed(&third));
    test.run("CLIENT KILL NAME aa").is(":1");
    assert!(killed(&second) && !killed(&third) && !killed(&test));
    // Who is dying already does not count again.
    test.run("CLIENT KILL NAME aa").is(":0");
    // SKIPME is YES unless told otherwise.
    test.run("CLIENT KILL TYPE normal").is(":1");
    assert!(killed(&third) && !killed(&test));
    test.run("CLIENT KILL ID 1").is(":0");
    assert_eq!(test.flow("CLIENT KILL ID 1"), Flow::Done);
    test.run("CLIENT KILL ID 1 SKIPME no").is(":1");
    assert_eq!(test.flow("CLIENT KILL TYPE normal SKIPME NO"), Flow::Close);
}

#[test]
fn kill_by_address() {
    let mut test = Test::new();
    let endpoint = Endpoint {
        addr: "10.0.0.1:5000".into(),
        laddr: "10.0.0.2:6379".into(),
        local: false,
        unix: false,
    };
    let other = test.session.server().clients.connect(endpoint, 9, START_MS);
    test.run("CLIENT KILL 10.0.0.1:5001")
        .is("-ERR No such client");
    test.run("CLIENT KILL ID").is("-ERR No such client");
    assert!(!other.has(Signal::Kill));
    test.run("CLIENT KILL 10.0.0.1:5000").is("+OK");
    assert!(other.has(Signal::Kill));
    test.run("CLIENT KILL 10.0.0.1:5000")
        .is("-ERR No such client");
    // The older form spares nobody.
    test.run("CLIENT KILL 127.0.0.1:0").is("+OK");
    assert_eq!(test.flow("CLIENT KILL 127.0.0.1:0"), Flow::Close);
}

#[test]
fn replies_off_on_and_skipped() {
    let mut test = Test::new();
    for (line, reply) in [
        ("CLIENT REPLY on", "+OK"),
        ("CLIENT REPLY foo", "-ERR syntax error"),
        ("CLIENT REPLY skip", ""),
        ("PING", ""),
        ("PING", "+PONG"),
        ("CLIENT REPLY off", ""),
        ("PING", ""),
        ("CLIENT REPLY foo", ""),
        ("CLIENT REPLY skip", ""),
        ("FOO", ""),
        ("HELLO 3", ""),
        ("CLIENT REPLY on", "+OK"),
        ("GET nosuch", "_"),
        ("CLIENT REPLY SKIP", ""),
        ("CLIENT REPLY SKIP", ""),
        ("PING", ""),
        ("PING", "+PONG"),
        ("CLIENT REPLY SKIP", ""),
        ("CLIENT REPLY foo", ""),
        ("PING", "+PONG"),
        ("CLIENT REPLY SKIP", ""),
        ("FOO", ""),
        ("PING", "+PONG"),
        ("CLIENT REPLY SKIP", ""),
        ("GET", ""),
        ("PING", "+PONG"),
        ("CLIENT REPLY SKIP", ""),
        ("CLIENT REPLY ON", "+OK"),
        ("PING", "+PONG"),
        ("CLIENT REPLY SKIP", ""),
        ("CLIENT REPLY OFF", ""),
        ("PING", ""),
        ("CLIENT REPLY ON", "+OK"),
    ] {
        assert_eq!(test.run(line).text(), reply, "{line}");
    }
}

#[test]
fn pause_checks_its_arguments() {
    let mut test = Test::new();
    for (args, reply) in [
        ("abc", "-ERR timeout is not an integer or out of range"),
        ("1.5", "-ERR timeout is not an integer or out of range"),
        (
            "9223372036854775808",
            "-ERR timeout is not an integer or out of range",
        ),
        ("-1", "-ERR timeout is negative"),
        ("1 foo", "-ERR CLIENT PAUSE mode must be WRITE or ALL"),
        ("abc foo", "-ERR CLIENT PAUSE mode must be WRITE or ALL"),
        ("9223372036854775807", "-ERR timeout is out of range"),
        ("0", "+OK"),
        ("0 write", "+OK"),
        ("0 ALL x", "+OK"),
        ("0 foo x", "+OK"),
    ] {
        assert_eq!(
            test.run(&format!("CLIENT PAUSE {args}")).text(),
            reply,
            "{args}"
        );
    }
    test.run("SET k v").is("+OK");
    test.run("CLIENT UNPAUSE").is("+OK");
    test.run("CLIENT PAUSE 9000000000000000000").is("+OK");
    assert_eq!(test.flow("PING"), Flow::Wait(Wait::Pause));
}

#[test]
fn pause_holds_writes_or_all() {
    let mut test = Test::new();
    let pause = Flow::Wait(Wait::Pause);
    test.run("CLIENT PAUSE 1000 WRITE").is("+OK");
    assert_eq!(test.flow("SET k v"), pause);
    assert_eq!(test.flow("GET k"), Flow::Done);
    // The stronger mode and the later end win.
    test.run("CLIENT PAUSE 1").is("+OK");
    assert_eq!(test.flow("GET k"), pause);
    assert_eq!(test.flow("CLIENT UNPAUSE"), pause);
    // What is refused in any case is refused at once.
    test.run("GET")
        .is("-ERR wrong number of arguments for 'get' command");
    test.clock.advance(999);
    assert_eq!(test.flow("GET k"), pause);
    test.clock.advance(1);
    test.run("SET k v").is("+OK");
    test.run("CLIENT PAUSE 1000 WRITE").is("+OK");
    assert_eq!(test.flow("DEL k"), pause);
    test.run("CLIENT UNPAUSE").is("+OK");
    test.run("DEL k").is(":1");
}

#[test]
fn a_waiting_command_keeps_the_mode_of_replies() {
    let mut test = Test::new();
    test.run("CLIENT PAUSE 1000 WRITE").is("+OK");
    test.run("CLIENT REPLY SKIP").is("");
    assert_eq!(test.flow("SET k v"), Flow::Wait(Wait::Pause));
    test.clock.advance(1000);
    test.run("SET k v").is("");
    test.run("GET k").is("$1 v");
}

#[test]
fn pause_holds_expiry_back() {
    let mut test = Test::new();
    let server = test.session.server().clone();
    let now_ms = || server.clock.unix_ms();
    test.run("SET k v PX 100").is("+OK");
    test.run("CLIENT PAUSE 1000 WRITE").is("+OK");
    test.clock.advance(500);
    assert_eq!(server.keyspace.expire_due(now_ms()), START_MS + 1000);
    assert_eq!(test.counts()[3], 0);
    test.run("CLIENT UNPAUSE");
    server.keyspace.expire_due(now_ms());
    assert_eq!(test.counts()[3], 1);

    test.run("SET k v PX 100").is("+OK");
    test.run("CLIENT PAUSE 1000").is("+OK");
    test.clock.advance(1001);
    server.keyspace.expire_due(now_ms());
    assert_eq!(test.counts()[3], 2);
}

#[test]
fn reads_delete_nothing_during_a_pause() {
    let mut test = Test::new();
    test.run("SET k v PX 100").is("+OK");
    test.run("HSET h f v g w").is(":2");
    test.run("HPEXPIRE h 100 FIELDS 1 f").is("*1 :1");
    test.run("CLIENT PAUSE 1000 WRITE").is("+OK");
    test.clock.advance(500);
    test.run("GET k").is("$-1");
    test.run("EXISTS k").is(":0");
    test.run("HGET h f").is("$-1");
    test.run("HLEN h").is(":1");
    test.run("DBSIZE").is(":2");
    assert_eq!((test.counts()[3], expired_fields(&test)), (0, 0));
    test.run("CLIENT UNPAUSE").is("+OK");
    test.run("GET k").is("$-1");
    test.run("HLEN h").is(":1");
    test.run("DBSIZE").is(":1");
    assert_eq!((test.counts()[3], expired_fields(&test)), (1, 1));
}

fn expired_fields(test: &Test) -> u64 {
    let keyspace = &test.session.server().keyspace;
    let mut access = Access::new(keyspace, keyspace.lock_none(), DbIndex(0), START_MS, false);
    let mut fields = 0;
    access.for_each_shard(|_, data| fields += data.stats.expired_fields);
    fields
}

/// As long as nobody deletes it, too, what has expired since WATCH is changed, and what had expired
/// before is not.
#[test]
fn a_watched_key_expires_during_a_pause() {
    let mut test = Test::new();
    test.run("SET k v PX 100").is("+OK");
    test.run("WATCH k").is("+OK");
    test.run("CLIENT PAUSE 1000 WRITE").is("+OK");
    test.clock.advance(500);
    for exec in ["*-1", "*1 $-1"] {
        test.run("MULTI").is("+OK");
        test.run("GET k").is("+QUEUED");
        test.run("EXEC").is(exec);
        assert_eq!(test.counts()[3], 0);
        test.run("WATCH k").is("+OK");
    }
}
