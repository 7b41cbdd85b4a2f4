//! The audit log of commands, and bounds.

use serde_json::Value;

use super::*;
use crate::commands::CommandTable;
use crate::commands::tests::Test;

/// A server with an audit log, in a file of its own.
struct Audited {
    t: Test,
    dir: tempfile::TempDir,
}

impl Audited {
    fn with(args: &[&str]) -> Audited {
        let dir = tempfile::tempdir().unwrap();
        let t = Test::with(args);
        t.session
            .server()
            .audit
            .start(&dir.path().join("audit.log"))
            .unwrap();
        // Workers know of it from their beginning.
        Audited { t: t.client(), dir }
    }

    /// Ends the log; what is in it.
    fn lines(&self) -> Vec<Value> {
        self.t.session.server().audit.stop();
        let text = std::fs::read_to_string(self.dir.path().join("audit.log")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Command, keys, outcome and code of each line.
    fn shown(&self) -> Vec<String> {
        let lines = self.lines();
        let lines = lines.iter().map(|line| {
            let keys = line["keys"].as_array().unwrap().iter();
            let keys: Vec<&str> = keys.map(|key| key.as_str().unwrap()).collect();
            format!(
                "{} [{}] {} {}",
                line["command"].as_str().unwrap(),
                keys.join(" "),
                line["outcome"].as_str().unwrap(),
                line["error"].as_str().unwrap_or("-")
            )
        });
        lines.collect()
    }
}

#[test]
fn administration_logins_and_refusals_are_audited() {
    let mut a = Audited::with(&["--requirepass", "secret"]);
    let t = &mut a.t;
    t.run("GET k").has("NOAUTH");
    t.run("AUTH wrong").has("WRONGPASS");
    t.run("AUTH alice secret").has("WRONGPASS");
    t.run("HELLO 2 AUTH bob secret").has("WRONGPASS");
    t.run("AUTH default secret").is("+OK");
    t.run("SET k v").is("+OK");
    t.run("CONFIG SET maxmemory 0 requirepass secret2")
        .is("+OK");
    t.run("CONFIG SET nosuch 1").has("ERR");
    t.run("KEYS *").is("*1 $1 k");
    t.run("FLUSHALL").is("+OK");
    t.run("FLUSHALL wrong").has("ERR");
    t.run("DEBUG SLEEP 0").has("ERR");
    let text = {
        let shown = a.shown();
        assert_eq!(
            shown,
            [
                "get [k] denied NOAUTH",
                "auth [] denied WRONGPASS",
                "auth [] denied WRONGPASS",
                "hello [] denied WRONGPASS",
                "auth [] ok -",
                "config|set [] ok -",
                "config|set [] error ERR",
                "keys [] ok -",
                "flushall [] ok -",
                "flushall [] error ERR",
                "debug [] error ERR",
            ]
        );
        std::fs::read_to_string(a.dir.path().join("audit.log")).unwrap()
    };
    assert!(
        !text.contains("secret") && !text.contains("wrong"),
        "{text}"
    );
    let lines: Vec<Value> = text
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let login = |at: usize| lines[at].get("login").and_then(Value::as_str);
    assert_eq!(
        [login(1), login(2), login(3)],
        [None, Some("alice"), Some("bob")]
    );
    assert_eq!(lines[4]["user"], "default");
    assert_eq!(lines[4]["address"], "127.0.0.1:0");
    assert_eq!(lines[4]["time"], "2023-11-14T22:13:20.000000Z");
}

#[test]
fn transactions_and_scripts_hide_nothing() {
    let mut a = Audited::with(&["--audit-log-categories", "write @dangerous"]);
    let t = &mut a.t;
    for line in ["MULTI", "SET k v", "FLUSHALL", "GET k", "EXEC"] {
        t.run(line);
    }
    t.run("EVAL \"redis.call('set', 'in', 'script'); return redis.pcall('lpush', 'in', 'x')\" 0");
    t.run("EVAL_RO \"redis.call('get', 'in'); return redis.pcall('incr', 'in')\" 0");
    let waiter = t.blocks("BLPOP q 0");
    let mut other = t.client();
    other.run("RPUSH q a");
    t.waited(&waiter).unwrap();
    assert_eq!(
        a.shown(),
        [
            "set [k] ok -",
            "flushall [] ok -",
            "set [in] ok -",
            "lpush [in] error WRONGTYPE",
            "incr [in] error ERR",
            "rpush [q] ok -",
            "blpop [q] ok -",
        ]
    );
    let lines = a.lines();
    assert_eq!(lines[2]["script"], true);
    assert!(lines[0].get("script").is_none());
}

#[test]
fn categories_can_be_none_and_change() {
    let mut a = Audited::with(&[
        "--audit-log-categories",
        "",
        "--enable-protected-configs",
        "yes",
    ]);
    let t = &mut a.t;
    t.run("FLUSHALL").is("+OK");
    t.run("CONFIG SET audit-log-categories @nosuch").is(
        "-ERR CONFIG SET failed (possibly related to argument 'audit-log-categories') - Unknown ACL \
         category '@nosuch'",
    );
    t.run("CONFIG SET audit-log-categories \"READ @list\"")
        .is("+OK");
    t.run("CONFIG GET audit-log-categories")
        .is("*2 $20 audit-log-categories $11 @read @list");
    t.run("GET k").is("$-1");
    t.run("SET k v").is("+OK");
    assert_eq!(a.shown(), ["get [k] ok -"]);
}

/// Somebody who may change directives cannot so switch the log off, or have it written elsewhere.
#[test]
fn the_log_cannot_be_switched_off_from_afar() {
    let mut t = Test::new();
    t.run("CONFIG SET audit-log-file /tmp/elsewhere")
        .has("can't set immutable config");
    t.run("CONFIG SET audit-log-categories ''")
        .has("can't set protected config");
}

#[test]
fn without_anything_unusual_nothing_is_looked_at() {
    let t = Test::with(&[
        "--slowlog-log-slower-than",
        "-1",
        "--commandlog-request-larger-than",
        "-1",
        "--commandlog-reply-larger-than",
        "-1",
    ]);
    let server = t.session.server();
    let bounds = Bounds::of(server, &server.config(), true);
    assert_eq!(bounds.request_bytes, usize::MAX);
    assert_eq!(bounds.reply_bytes, usize::MAX);
    assert!(bounds.ticks > u64::MAX / 2);
}

/// If everything took long: what the server does besides commands is told where it does it.
#[test]
fn what_delays_commands_has_events_of_its_own() {
    let mut t = Test::with(&["--maxmemory-policy", "allkeys-random"]);
    let server = t.session.server().clone();
    server.keyspace.spikes.tell_all();
    let latency = &server.stats.latency;
    let is_told = |event: &str| latency.series(event.as_bytes()).is_some();
    // One who watches the slow log only has no bound for these.
    t.run("CONFIG SET latency-monitor-threshold 1");
    server.keyspace.spikes.tell_all();
    t.run("SET k v PX 10");
    t.clock.advance(20);
    server.keyspace.expire_due(t.clock.unix_ms());
    assert!(is_told("expire-cycle"));
    t.run("SAVE").is("+OK");
    assert!(is_told("snapshot-cut"));
    let waiter = t.blocks("BLPOP q 0");
    t.client().run("RPUSH q a").is(":1");
    t.waited(&waiter).unwrap();
    assert!(is_told("command-unblocking"));
    (0..100).for_each(|number| drop(t.run(&format!("SET k{number} v"))));
    assert!(!is_told("eviction-cycle") && !is_told("eviction-del"));
    t.run("CONFIG SET maxmemory 1");
    server.keyspace.spikes.tell_all();
    t.run("GET k");
    assert!(is_told("eviction-cycle") && is_told("eviction-del"));
}

#[test]
fn a_login_is_told_by_the_name_that_was_tried() {
    let mut a = Audited::with(&["--requirepass", "secret"]);
    a.t.run("HELLO 3 SETNAME auth AUTH alice wrong")
        .has("WRONGPASS");
    a.t.run("AUTH bob wrong").has("WRONGPASS");
    a.t.run("AUTH secret").is("+OK");
    let lines = a.lines();
    let logins: Vec<_> = lines.iter().map(|line| line["login"].as_str()).collect();
    assert_eq!(logins, [Some("alice"), Some("bob"), None]);
}

#[test]
fn what_a_transaction_refuses_is_told_as_refused() {
    let mut a = Audited::with(&["--enable-debug-command", "yes"]);
    a.t.run("MULTI").is("+OK");
    a.t.run("DEBUG RELOAD").is("+QUEUED");
    a.t.run("EXEC").has("not allowed inside a transaction");
    assert_eq!(a.shown(), ["debug [] error ERR"]);
}

#[test]
fn who_waits_for_what_runs_on_a_stack_of_its_own_has_waited_all_the_time() {
    let t = Test::new();
    let exec = Exec::new(
        t.session.server().clone(),
        Arc::new(CommandTable::new(&[]).unwrap()),
    );
    let mut moment = exec.begin();
    moment.ready_since(7);
    let branch = moment.branch();
    let mut later = exec.begin();
    later.join(branch);
    assert_eq!(later.ready_tick(), 7);
}
