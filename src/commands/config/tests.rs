//! Tests of CONFIG; the grammar of values is tested in `crate::config`.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::commands::CommandTable;
use crate::commands::tests::Test;
use crate::config;
use crate::db::Request;

#[test]
fn get_answers_globs_and_names() {
    let mut t = Test::new();
    t.run("CONFIG GET timeout").is("*2 $7 timeout $1 0");
    t.run("CONFIG GET TIMEOUT").is("*2 $7 TIMEOUT $1 0");
    t.run("CONFIG GET a").is("*0");
    t.run("CONFIG GET lfu-*")
        .is("*4 $14 lfu-decay-time $1 1 $14 lfu-log-factor $2 10");
    // Several patterns, an alias, and no directive twice.
    t.run("CONFIG GET hz h[z] slaveof nosuch*")
        .is("*4 $2 hz $2 10 $7 slaveof $0");
    assert!(t.run("CONFIG GET *").text().contains("$9 databases $2 16"));
    t.run("HELLO 3");
    t.run("CONFIG GET timeout").is("%1 $7 timeout $1 0");
    t.run("CONFIG GET nosuch").is("%0");
}

#[test]
fn set_takes_all_or_none() {
    let mut t = Test::new();
    let server = t.session.server().clone();
    t.run("CONFIG SET timeout 5 maxclients 77").is("+OK");
    assert_eq!(
        (server.config().timeout_secs, server.config().maxclients),
        (5, 77)
    );
    let failed = "-ERR CONFIG SET failed (possibly related to argument";
    for (line, error) in [
        ("timeout 6 foo", "-ERR syntax error".to_owned()),
        (
            "timeout 6 foo 1",
            "-ERR Unknown option or number of arguments for CONFIG SET - 'foo'".to_owned(),
        ),
        (
            "timeout 6 maxclients x",
            format!("{failed} 'maxclients') - argument couldn't be parsed into an integer"),
        ),
        (
            "timeout 6 timeout 7",
            format!("{failed} 'timeout') - duplicate parameter"),
        ),
        (
            "timeout 6 databases 3",
            format!("{failed} 'databases') - can't set immutable config"),
        ),
        (
            "timeout 6 enable-debug-command no",
            format!("{failed} 'enable-debug-command') - can't set immutable config"),
        ),
    ] {
        t.run(&format!("CONFIG SET {line}")).is(&error);
    }
    t.run("CONFIG GET timeout").is("*2 $7 timeout $1 5");
    t.run("CONFIG SET a")
        .is("-ERR wrong number of arguments for 'config|set' command");
}

#[test]
fn set_is_seen_by_the_next_command() {
    let mut t = Test::new();
    let mut other = t.client();
    t.run("CONFIG SET latency-tracking no").is("+OK");
    other.run("INFO latencystats").is("$16 # Latencystats");
    t.run("CONFIG SET latency-tracking yes").is("+OK");
    other.run("PING").is("+PONG");
    assert!(
        other
            .run("INFO latencystats")
            .text()
            .contains("latency_percentiles_usec_ping:p50=")
    );
}

#[test]
fn errors_cannot_smuggle_a_reply() {
    let mut t = Test::new();
    let reply = t.args(&[b"CONFIG", b"SET", b"a\r\n+OK\r\n\xff", b"1"]);
    assert_eq!(reply.0.iter().filter(|&&byte| byte == b'\n').count(), 1);
    assert!(reply.text().starts_with("-ERR Unknown option"));
}

#[test]
fn rewrite_needs_a_file_and_keeps_its_comments() {
    Test::new()
        .run("CONFIG REWRITE")
        .is("-ERR The server is running without a config file");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kivi.conf");
    fs::write(&path, "# mine\ntimeout 3\n").unwrap();
    let mut t = Test::with(&[path.to_str().unwrap()]);
    t.run("CONFIG SET timeout 4 maxclients 99").is("+OK");
    t.run("CONFIG REWRITE").is("+OK");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# mine\ntimeout 4\n"), "{text}");
    assert!(text.contains("\nmaxclients 99\n"), "{text}");
    t.run("CONFIG REWRITE a")
        .is("-ERR wrong number of arguments for 'config|rewrite' command");
    fs::write(&path, "nosuch 3\n").unwrap();
    let error = t.run("CONFIG REWRITE").text();
    assert!(error.starts_with("-ERR Rewriting config file: "), "{error}");
}

#[test]
fn resetstat_sets_counters_to_zero() {
    let mut t = Test::new();
    let server = t.session.server().clone();
    server
        .stats
        .connections_received
        .store(3, Ordering::Relaxed);
    server.stats.auth_denied.store(3, Ordering::Relaxed);
    t.run("SET a 1 PX 1");
    t.run("GET a");
    t.run("GET nokey");
    t.run("nosuch");
    t.clock.advance(1);
    t.run("GET a");
    let counters = [
        "total_connections_received:",
        "keyspace_hits:",
        "keyspace_misses:",
        "expired_keys:",
        "total_error_replies:",
        "acl_access_denied_auth:",
    ];
    let read = |t: &mut Test| -> Vec<u64> {
        let stats = t.run("INFO stats").text();
        let value = |name: &&str| {
            let line = stats.split(' ').find_map(|line| line.strip_prefix(name));
            line.unwrap().parse().unwrap()
        };
        counters.iter().map(value).collect()
    };
    assert_eq!(read(&mut t), [3, 1, 2, 1, 1, 3]);
    t.run("CONFIG RESETSTAT").is("+OK");
    assert_eq!(read(&mut t), [0; 6]);
    let commands = t.run("INFO commandstats").text();
    assert!(
        commands.contains("cmdstat_config|resetstat:calls=1,"),
        "{commands}"
    );
    assert!(!commands.contains("cmdstat_get:"), "{commands}");
    t.run("INFO errorstats").is("$14 # Errorstats");
    t.run("CONFIG RESETSTAT a")
        .is("-ERR wrong number of arguments for 'config|resetstat' command");
}

#[test]
fn the_container_has_the_usual_errors() {
    let mut t = Test::new();
    t.run("CONFIG")
        .is("-ERR wrong number of arguments for 'config' command");
    t.run("CONFIG GET")
        .is("-ERR wrong number of arguments for 'config|get' command");
    t.run("CONFIG FOO")
        .is("-ERR unknown subcommand 'FOO'. Try CONFIG HELP.");
    let help = t.run("CONFIG HELP").text();
    assert!(help.starts_with("*11 +CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands"));
}

/// What MONITOR, the command log and others must not show follows from the table of directives.
#[test]
fn every_secret_directive_is_hidden() {
    let table = CommandTable::new(&[]).unwrap();
    let row = table.by_full_name(b"config|set").unwrap().row;
    let hides = |name: &str| {
        let words: [&[u8]; 4] = [b"CONFIG", b"SET", name.as_bytes(), b"x"];
        let request = Request::of(words.into_iter());
        row.secrets.hides(request.argv(), 3)
    };
    let mut secrets = 0;
    for directive in config::directives() {
        for name in [directive.name].iter().chain(directive.aliases) {
            assert_eq!(hides(name), directive.is_secret(), "{name}");
            secrets += usize::from(directive.is_secret());
        }
    }
    assert!(secrets >= 7, "{secrets}");
}

/// As somebody finds it who comes while the new addresses are listened at: protected by what was and by what will be.
#[test]
fn what_protects_is_in_force_before_anything_opens_and_until_it_has_closed() {
    let mut t = Test::with(&["--protected-mode", "no"]);
    let server = t.session.server().clone();
    let seen = Arc::new(Mutex::new((false, false, false)));
    let (found, fails) = (seen.clone(), Arc::new(AtomicBool::new(false)));
    let refuses = fails.clone();
    server.on_config_change(Box::new(move |server, fields, _, _| {
        let config = server.config();
        *found.lock() = (
            config.protected_mode,
            server.acl.must_log_in(),
            config.console_enabled,
        );
        match refuses.load(Ordering::Relaxed) {
            true => Err((fields[0], "no".to_owned())),
            false => Ok(()),
        }
    }));
    let before = server.acl.default_user().rights();
    fails.store(true, Ordering::Relaxed);
    let opens = "CONFIG SET bind 127.0.0.2 protected-mode yes requirepass x console-enabled yes";
    let error = "-ERR CONFIG SET failed (possibly related to argument 'bind') - no";
    t.run(opens).is(error);
    assert_eq!(*seen.lock(), (true, true, false));
    // Nothing of it stays.
    assert!(!server.config().protected_mode && !server.acl.must_log_in());
    assert_eq!(*server.acl.default_user().rights(), *before);
    fails.store(false, Ordering::Relaxed);
    t.run(opens).is("+OK");
    assert_eq!(*seen.lock(), (true, true, false));
    assert!(server.config().protected_mode && server.acl.must_log_in());
    assert!(server.config().console_enabled);
    // And back.
    t.run("CONFIG SET bind 127.0.0.1 protected-mode no requirepass '' console-enabled no")
        .is("+OK");
    assert_eq!(*seen.lock(), (true, true, false));
    assert!(!server.config().protected_mode && !server.acl.must_log_in());
    // A user who is changed meanwhile is as he was changed.
    t.run("CONFIG SET requirepass x").is("+OK");
    t.run("ACL SETUSER default >other").is("+OK");
    t.run("CONFIG SET timeout 7").is("+OK");
    t.run("AUTH other").is("+OK");
}
