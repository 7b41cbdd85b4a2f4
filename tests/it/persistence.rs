//! What steers persistence: commands, save points, the end and the start of the server. What the
//! disk does wrong is in `persist_faults`, what a crash leaves in `crash`.

use std::time::{Duration, Instant};

use crate::client::{Client, Reply};
use crate::harness::{Server, eventually, send_signal};
use crate::store::{Store, bgrewriteaof, info};
use crate::stream_facts;

/// Saving takes this long per key, microseconds: slow enough to be met while it goes on.
const SLOW: &str = "2000";
const SLOW_KEYS: &str = "2000";
const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&DEBUG[..], more].concat()
}

/// Sends lines one after the other; the replies as text.
fn replies(client: &mut Client, lines: &[&str]) -> Vec<String> {
    let reply = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        format!("{line} -> {}", text(&client.cmd(&words)))
    };
    lines.iter().map(reply).collect()
}

fn say(client: &mut Client, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    text(&client.cmd(&words))
}

/// A reply that is one line, without its type.
fn text(reply: &Reply) -> String {
    match reply {
        Reply::Status(bytes) | Reply::Error(bytes) | Reply::Bulk(bytes) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Reply::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn await_info(client: &mut Client, name: &str, value: &str) {
    eventually(&format!("{name}:{value}"), || {
        (info(client, name) == value).then_some(())
    });
}

/// Jobs that meet: the same words as Valkey's, whichever job runs.
#[test]
fn jobs_that_meet_are_answered_as_valkey_answers() {
    let script: &[&str] = &[
        "BGSAVE CANCEL",
        "BGSAVE",
        "BGSAVE",
        "BGSAVE SCHEDULE",
        "SAVE",
        "BGREWRITEAOF",
        "BGREWRITEAOF",
        "BGSAVE CANCEL",
    ];
    let rewriting: &[&str] = &[
        "BGREWRITEAOF",
        "BGSAVE",
        "BGSAVE SCHEDULE",
        "BGSAVE CANCEL",
        "BGSAVE CANCEL",
        "BGSAVE SCHEDULE",
        "CONFIG SET appendonly yes",
        "BGREWRITEAOF",
        "SHUTDOWN",
        "PING",
    ];
    let mut said = Vec::new();
    for kind in ["kivi", "valkey"] {
        let Some(store) = Store::of(kind) else {
            continue;
        };
        let server = store.start(&args(&["--rdb-key-save-delay", SLOW]));
        let mut client = server.connect();
        say(&mut client, &format!("DEBUG POPULATE {SLOW_KEYS}"));
        let mut all = replies(&mut client, script);
        // The rewrite that was scheduled begins.
        await_info(&mut client, "aof_rewrite_in_progress", "1");
        all.extend(replies(&mut client, rewriting));
        said.push((kind, all));
    }
    let (_, ours) = &said[0];
    for (kind, theirs) in &said[1..] {
        assert_eq!(ours, theirs, "{kind}");
    }
}

#[test]
fn save_points_save_in_the_background() {
    let store = Store::kivi();
    let server = store.start(&["--save", "1 2"]);
    let mut client = server.connect();
    say(&mut client, "SET a 1");
    assert_eq!(info(&mut client, "rdb_changes_since_last_save"), "1");
    say(&mut client, "SET b 2");
    await_info(&mut client, "rdb_saves", "1");
    await_info(&mut client, "rdb_changes_since_last_save", "0");
    assert!(server.log().contains("2 changes in 1 seconds. Saving..."));
    drop(server);
    let server = store.start(&[]);
    assert_eq!(say(&mut server.connect(), "DBSIZE"), "2");
    assert!(server.log().contains("Done loading RDB, keys loaded: 2"));
}

#[test]
fn others_are_served_while_one_saves() {
    let store = Store::kivi();
    let server = store.start(&args(&["--rdb-key-save-delay", SLOW]));
    let mut client = server.connect();
    say(&mut client, &format!("DEBUG POPULATE {SLOW_KEYS}"));
    let mut saver = server.connect();
    saver.send(b"*1\r\n$4\r\nSAVE\r\n");
    eventually("the save to go on", || {
        let done: u64 = info(&mut client, "current_save_keys_processed")
            .parse()
            .ok()?;
        (done > 0).then_some(())
    });
    assert_eq!(info(&mut client, "current_save_keys_total"), SLOW_KEYS);
    assert_eq!(
        info(&mut client, "rdb_bgsave_in_progress"),
        "0",
        "nobody's background"
    );
    let start = Instant::now();
    assert_eq!(say(&mut client, "SET key:7 new"), "OK");
    assert_eq!(say(&mut client, "GET key:7"), "new");
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "nobody else waits"
    );
    assert_eq!(
        say(&mut client, "BGSAVE"),
        "ERR Background save already in progress"
    );
    say(&mut client, "CONFIG SET rdb-key-save-delay 0");
    assert_eq!(text(&saver.read().1), "OK");
    // The snapshot is of the moment in which it began.
    assert_eq!(say(&mut client, "DEBUG RELOAD NOSAVE"), "OK");
    assert_eq!(say(&mut client, "GET key:7"), "value:7");
    assert_eq!(say(&mut client, "DBSIZE"), SLOW_KEYS);
}

#[test]
fn a_cancelled_save_leaves_the_old_one() {
    let store = Store::kivi();
    let server = store.start(&args(&[]));
    let mut client = server.connect();
    say(&mut client, "SET old 1");
    say(&mut client, "SAVE");
    let before = std::fs::read(store.path("dump.rdb")).expect("a snapshot");
    say(&mut client, &format!("DEBUG POPULATE {SLOW_KEYS}"));
    say(
        &mut client,
        &format!("CONFIG SET rdb-key-save-delay {SLOW}"),
    );
    assert_eq!(say(&mut client, "BGSAVE"), "Background saving started");
    assert_eq!(info(&mut client, "rdb_bgsave_in_progress"), "1");
    assert_eq!(
        say(&mut client, "BGSAVE CANCEL"),
        "Background saving cancelled"
    );
    await_info(&mut client, "rdb_bgsave_in_progress", "0");
    assert_eq!(info(&mut client, "rdb_last_bgsave_status"), "ok");
    assert_eq!(
        std::fs::read(store.path("dump.rdb")).expect("still"),
        before
    );
    let names = std::fs::read_dir(store.path("")).expect("folder");
    let temporary = names.filter(|name| {
        let name = name.as_ref().expect("name").file_name();
        name.to_string_lossy().starts_with("temp-")
    });
    assert_eq!(temporary.count(), 0);
    // A flush stops one, too, and what it would have saved does not come back.
    say(&mut client, "CONFIG SET save 900 1");
    say(&mut client, "CONFIG SET save \"\"");
    say(&mut client, "BGSAVE");
    say(&mut client, "FLUSHALL");
    await_info(&mut client, "rdb_bgsave_in_progress", "0");
}

#[test]
fn clients_are_told_that_the_dataset_is_being_loaded() {
    let store = Store::kivi();
    for log in ["no", "yes"] {
        let server = store.start(&args(&["--appendonly", log]));
        let mut client = server.connect();
        say(&mut client, &format!("DEBUG POPULATE {SLOW_KEYS}"));
        match log {
            "no" => say(&mut client, "SAVE"),
            _ => say(&mut client, "BGREWRITEAOF"),
        };
        await_info(&mut client, "aof_rewrite_in_progress", "0");
        drop((client, server));
        let delay = ["--key-load-delay", SLOW, "--appendonly", log];
        let server = store.start_loading(&[], &args(&delay));
        let mut client = server.connect();
        let loading = "LOADING Redis is loading the dataset in memory";
        for line in [
            "PING",
            "GET a",
            "SET a 1",
            "SAVE",
            "DBSIZE",
            "CONFIG SET appendonly yes",
        ] {
            assert_eq!(say(&mut client, line), loading, "{line}");
        }
        assert_eq!(say(&mut client, "ECHO x"), "x");
        assert_eq!(info(&mut client, "loading"), "1");
        eventually("progress", || {
            let loaded: f64 = info(&mut client, "loading_loaded_perc").parse().ok()?;
            (loaded > 1.0 && loaded <= 100.0).then_some(())
        });
        // A stop while loading writes nothing.
        send_signal(server.pid(), "TERM");
        let log_text = ended(server);
        assert!(
            log_text.contains("Received shutdown signal during loading"),
            "{log_text}"
        );
        assert!(!log_text.contains("Saving the final RDB"), "{log_text}");
        // What would take longer than anybody waits ends when it need not wait.
        let delay = ["--key-load-delay", "60000", "--appendonly", log];
        let server = store.start_loading(&[], &args(&delay));
        let mut client = server.connect();
        assert_eq!(say(&mut client, "GET a"), loading);
        assert_eq!(say(&mut client, "CONFIG SET key-load-delay 0"), "OK");
        eventually("loaded", || {
            (say(&mut client, "DBSIZE") == SLOW_KEYS).then_some(())
        });
    }
}

/// Waits for the end of a server that was told to; its log.
fn ended(mut server: Server) -> String {
    let status = server.wait_exit();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    server.log()
}

#[test]
fn a_shutdown_saves_what_is_to_be_saved() {
    // Save points, what is sent, and whether the data is there afterwards.
    let cases: &[(&str, &str, bool)] = &[
        ("", "SHUTDOWN", false),
        ("900 1", "SHUTDOWN", true),
        ("900 1", "SHUTDOWN NOSAVE", false),
        ("", "SHUTDOWN SAVE", true),
        ("", "SHUTDOWN SAVE NOW FORCE", true),
        ("900 1", "SIGTERM", true),
        ("900 1", "SIGINT", true),
        ("", "SIGTERM", false),
    ];
    for (points, how, is_kept) in cases {
        let store = Store::kivi();
        let server = store.start(&["--save", points]);
        let mut client = server.connect();
        say(&mut client, "SET a 1");
        match how.strip_prefix("SIG") {
            Some(signal) => send_signal(server.pid(), signal),
            None => client.send(format!("{how}\r\n").as_bytes()),
        }
        let log = ended(server);
        assert_eq!(client.read_to_close().unwrap_or_default(), b"", "{how}");
        assert_eq!(
            log.contains("Saving the final RDB snapshot before exiting."),
            *is_kept,
            "{how}: {log}"
        );
        let server = store.start(&[]);
        let size = say(&mut server.connect(), "DBSIZE");
        assert_eq!(size == "1", *is_kept, "{points:?} {how}");
    }
}

#[test]
fn signals_shut_down_as_they_are_told_to() {
    let store = Store::kivi();
    let flags = ["--shutdown-on-sigterm", "save", "--save", ""];
    let server = store.start(&flags);
    say(&mut server.connect(), "SET a 1");
    send_signal(server.pid(), "TERM");
    ended(server);
    let server = store.start(&["--save", "900 1", "--shutdown-on-sigint", "nosave"]);
    let mut client = server.connect();
    assert_eq!(say(&mut client, "GET a"), "1");
    say(&mut client, "SET a 2");
    send_signal(server.pid(), "INT");
    ended(server);
    let server = store.start(&[]);
    assert_eq!(say(&mut server.connect(), "GET a"), "1");
}

#[test]
fn a_shutdown_can_be_aborted_and_insisted_on() {
    let store = Store::kivi();
    let mut server = store.start(&args(&["--save", "900 1"]));
    let mut client = server.connect();
    say(&mut client, &format!("DEBUG POPULATE {SLOW_KEYS}"));
    say(
        &mut client,
        &format!("CONFIG SET rdb-key-save-delay {SLOW}"),
    );
    let mut stopper = server.connect();
    let saving = |client: &mut Client| {
        eventually("the save to go on", || {
            let done: u64 = info(client, "current_save_keys_processed").parse().ok()?;
            (done > 0).then_some(())
        });
    };
    stopper.send(b"SHUTDOWN\r\n");
    saving(&mut client);
    // Reads are served meanwhile.
    assert_eq!(say(&mut client, "GET key:1"), "value:1");
    assert_eq!(say(&mut client, "SHUTDOWN ABORT"), "OK");
    assert_eq!(
        text(&stopper.read().1),
        "ERR Errors trying to SHUTDOWN. Check logs."
    );
    assert_eq!(
        say(&mut client, "SHUTDOWN ABORT"),
        "ERR No shutdown in progress."
    );
    assert_eq!(say(&mut client, "SET a 1"), "OK", "writes are served again");
    // One that waits for the save of somebody else: that one goes on.
    let mut saver = server.connect();
    saver.send(b"SAVE\r\n");
    saving(&mut client);
    let before = server.log_length();
    stopper.send(b"SHUTDOWN\r\n");
    eventually("the shutdown to begin", || {
        let log = server.log_since(before);
        log.contains("User requested shutdown").then_some(())
    });
    assert_eq!(say(&mut client, "SHUTDOWN ABORT"), "OK");
    assert_eq!(
        text(&stopper.read().1),
        "ERR Errors trying to SHUTDOWN. Check logs."
    );
    assert_eq!(text(&saver.read().1), "OK");
    std::fs::remove_file(store.path("dump.rdb")).expect("it has saved");
    stopper.send(b"SHUTDOWN\r\n");
    saving(&mut client);
    send_signal(server.pid(), "INT");
    let status = server.wait_exit();
    assert_eq!(status.code(), Some(1));
    assert!(server.log().contains("You insist... exiting now."));
    assert!(!store.path("dump.rdb").exists(), "it was not whole");
}

/// A server whose final save is going on, and the client that asked for it.
fn saving_at_its_end(store: &Store) -> (Server, Client) {
    let server = store.start(&args(&["--rdb-key-save-delay", SLOW]));
    let mut client = server.connect();
    say(&mut client, &format!("DEBUG POPULATE {SLOW_KEYS}"));
    let mut stopper = server.connect();
    stopper.send(b"SHUTDOWN SAVE\r\n");
    eventually("the save to go on", || {
        let done: u64 = info(&mut client, "current_save_keys_processed")
            .parse()
            .ok()?;
        (done > 0).then_some(())
    });
    (server, stopper)
}

/// What is written behind the cut of the final save would be lost.
#[test]
fn client_unpause_does_not_end_the_pause_of_a_shutdown() {
    let store = Store::kivi();
    let (server, _stopper) = saving_at_its_end(&store);
    let (mut client, mut writer) = (server.connect(), server.connect());
    assert_eq!(say(&mut client, "CLIENT PAUSE 1 WRITE"), "OK");
    assert_eq!(say(&mut client, "CLIENT UNPAUSE"), "OK");
    writer.send(b"SET lost 1\r\n");
    ended(server);
    assert_eq!(writer.read_to_close().unwrap_or_default(), b"");
}

/// Why commands wait.
fn paused_reason(client: &mut Client) -> String {
    client.info("clients", "paused_reason")
}

#[test]
fn a_pause_begun_while_a_shutdown_saves_outlasts_it() {
    let store = Store::kivi();
    let (server, mut stopper) = saving_at_its_end(&store);
    let mut client = server.connect();
    assert_eq!(paused_reason(&mut client), "shutdown_in_progress");
    assert_eq!(say(&mut client, "CLIENT PAUSE 1000000 WRITE"), "OK");
    assert_eq!(say(&mut client, "SHUTDOWN ABORT"), "OK");
    stopper.read();
    assert_eq!(paused_reason(&mut client), "client_pause");
    assert_eq!(say(&mut client, "CLIENT UNPAUSE"), "OK");
    assert_eq!(paused_reason(&mut client), "none");
}

#[test]
fn a_pause_begun_while_a_shutdown_saves_is_as_short_as_it_was_to_be() {
    let store = Store::kivi();
    let (server, mut stopper) = saving_at_its_end(&store);
    let mut client = server.connect();
    assert_eq!(say(&mut client, "CLIENT PAUSE 10 WRITE"), "OK");
    assert_eq!(say(&mut client, "SHUTDOWN ABORT"), "OK");
    stopper.read();
    // Nothing holds expiry back, either.
    assert_eq!(say(&mut client, "SET short 1 PX 50"), "OK");
    eventually("the key to be gone", || {
        (say(&mut client, "DBSIZE") == SLOW_KEYS).then_some(())
    });
}

#[test]
fn the_log_is_switched_on_and_off() {
    let store = Store::kivi();
    let server = store.start(&args(&[]));
    let mut client = server.connect();
    say(&mut client, "SET before 1");
    assert_eq!(info(&mut client, "aof_enabled"), "0");
    assert_eq!(say(&mut client, "CONFIG SET appendonly yes"), "OK");
    say(&mut client, "SET during 1");
    await_info(&mut client, "aof_rewrite_in_progress", "0");
    say(&mut client, "SET after 1");
    let logged: u64 = info(&mut client, "aof_current_size")
        .parse()
        .expect("number");
    let base: u64 = info(&mut client, "aof_base_size").parse().expect("number");
    assert!(base > 0 && logged >= base);
    assert_eq!(say(&mut client, "DEBUG LOADAOF"), "OK");
    let all = ["MGET", "before", "during", "after"];
    let ones = Reply::Array(vec![Reply::Bulk(b"1".to_vec()); 3]);
    assert_eq!(client.cmd(&all), ones);
    assert_eq!(say(&mut client, "CONFIG SET appendonly no"), "OK");
    say(&mut client, "SET unlogged 1");
    drop(server);
    let server = store.start(&["--appendonly", "yes"]);
    let mut client = server.connect();
    assert_eq!(client.cmd(&all), ones);
    assert_eq!(say(&mut client, "EXISTS unlogged"), "0");
    drop(server);
    // Without the log, and without a snapshot, there is nothing.
    let server = store.start(&[]);
    assert_eq!(say(&mut server.connect(), "DBSIZE"), "0");
}

/// As Redis 7: the snapshot is not looked at when the log is on.
#[test]
fn a_server_with_a_log_does_not_load_the_snapshot() {
    for kind in ["kivi", "valkey"] {
        let Some(store) = Store::of(kind) else {
            continue;
        };
        let server = store.start(&[]);
        let mut client = server.connect();
        say(&mut client, "SET a 1");
        say(&mut client, "SAVE");
        drop(server);
        let server = store.start(&["--appendonly", "yes"]);
        let mut client = server.connect();
        assert_eq!(say(&mut client, "DBSIZE"), "0", "{kind}");
        say(&mut client, "SET b 1");
        client.send(b"SHUTDOWN\r\n");
        ended(server);
        let server = store.start(&["--appendonly", "yes"]);
        assert_eq!(say(&mut server.connect(), "EXISTS b"), "1", "{kind}");
    }
}

#[test]
fn a_log_that_grows_is_rewritten() {
    let store = Store::kivi();
    let limits = ["--auto-aof-rewrite-min-size", "10kb"];
    for preamble in ["yes", "no"] {
        let log = ["--appendonly", "yes", "--aof-use-rdb-preamble", preamble];
        let server = store.start(&[&log[..], &limits[..]].concat());
        let mut client = server.connect();
        let value = "x".repeat(1000);
        for _ in 0..50 {
            client.cmd(&["SET", "key", &value]);
        }
        eventually("a rewrite", || {
            let done = info(&mut client, "aof_rewrites") != "0";
            (done && info(&mut client, "aof_rewrite_in_progress") == "0").then_some(())
        });
        assert!(
            server
                .log()
                .contains("Starting automatic rewriting of AOF on")
        );
        let size: u64 = info(&mut client, "aof_current_size")
            .parse()
            .expect("number");
        assert!(size < 50_000, "{size}");
        assert_eq!(info(&mut client, "aof_last_bgrewrite_status"), "ok");
        client.send(b"SHUTDOWN\r\n");
        ended(server);
        let server = store.start(&log);
        assert_eq!(say(&mut server.connect(), "STRLEN key"), "1000");
    }
}

/// Counts of a stream that commands have raised beyond what they take: whatever is written can be read.
#[test]
fn the_largest_counts_of_a_stream_outlast_a_start() {
    for preamble in ["yes", "no"] {
        let store = Store::kivi();
        let log = ["--appendonly", "yes", "--aof-use-rdb-preamble", preamble];
        let server = store.start(&log);
        let mut client = server.connect();
        let most = i64::MAX;
        for line in [
            "XADD s 1-0 f v".to_owned(),
            format!("XGROUP CREATE s g 0 ENTRIESREAD {most}"),
            format!("XSETID s 1-0 ENTRIESADDED {most}"),
            "XADD s 2-0 f v".to_owned(),
            "XREADGROUP GROUP g c COUNT 1 STREAMS s >".to_owned(),
            format!("XCLAIM s g c 0 1-0 RETRYCOUNT {most} JUSTID"),
            "XREADGROUP GROUP g c STREAMS s 0".to_owned(),
        ] {
            assert!(
                !client.cmd(&line.split(' ').collect::<Vec<_>>()).is_error(),
                "{line}"
            );
        }
        bgrewriteaof(&mut client);
        say(&mut client, "XREADGROUP GROUP g c COUNT 1 STREAMS s >");
        client.send(b"SHUTDOWN\r\n");
        ended(server);
        let server = store.start(&log);
        let mut client = server.connect();
        let info = client.cmd(&["XINFO", "STREAM", "s", "FULL"]);
        let info = stream_facts::text(&info, &[]);
        assert!(info.contains("last-delivered-id 2-0"), "{preamble}: {info}");
        assert_eq!(say(&mut client, "XLEN s"), "2");
        let pending = client.cmd(&["XPENDING", "s", "g"]);
        assert_eq!(pending.items()[0].int(), 2, "{preamble}");
    }
}
