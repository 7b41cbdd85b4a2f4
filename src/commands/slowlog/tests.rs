//! What stands in the command log, as recorded of Valkey 9.1.2, and the commands that tell it.

use crate::commands::tests::Test;
use crate::db::Outcome;
use crate::resp::read::Reply;

/// A server on which every command is unusual in all ways.
fn all_logged() -> Test {
    Test::with(&[
        "--enable-debug-command",
        "yes",
        "--commandlog-execution-slower-than",
        "0",
        "--commandlog-request-larger-than",
        "0",
        "--commandlog-reply-larger-than",
        "0",
    ])
}

fn array(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(items) => items,
        other => panic!("{other:?}"),
    }
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Int(number) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

/// The entries of a kind, oldest first: numbers (id, time, value), the request, who sent it.
fn entries(of: &Test, kind: &str) -> Vec<(Vec<i64>, String, String)> {
    let mut reader = of.client();
    let bytes = reader.run(&format!("COMMANDLOG GET -1 {kind}")).0;
    let replies = Reply::parse_all(&bytes).unwrap();
    let entries = array(&replies[0]).iter().rev().map(|entry| {
        let fields = array(entry);
        assert_eq!(fields.len(), 6);
        let numbers = fields[..3].iter().map(|f| text(f).parse().unwrap());
        let args: Vec<String> = array(&fields[3]).iter().map(text).collect();
        let from = format!("{} {}", text(&fields[4]), text(&fields[5]));
        (numbers.collect(), args.join(" "), from)
    });
    entries.collect()
}

/// Bytes of request and reply of what was logged since the last reset, and the request.
#[track_caller]
fn sizes(of: &Test, expected: &[(i64, i64, &str)]) {
    let sized = |kind| {
        let entries = entries(of, kind).into_iter();
        entries.map(|(numbers, args, _)| (numbers[2], args))
    };
    let is_reader = |args: &String| args.starts_with("COMMANDLOG");
    let requests: Vec<_> = sized("large-request")
        .filter(|(_, a)| !is_reader(a))
        .collect();
    let replies = sized("large-reply").filter(|(_, a)| !is_reader(a));
    let found: Vec<(i64, i64, String)> = requests
        .into_iter()
        .zip(replies)
        .map(|((request, args), (reply, of_reply))| {
            assert_eq!(args, of_reply);
            (request, reply, args)
        })
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(request, reply, args)| (*request, *reply, (*args).to_owned()))
        .collect();
    assert_eq!(found, expected);
}

fn run(test: &mut Test, lines: &[&str]) {
    lines.iter().for_each(|line| drop(test.run(line)));
}

#[test]
fn commands_that_ran_are_logged_with_what_they_took() {
    let mut t = all_logged();
    run(
        &mut t,
        &[
            "SET k v",
            "GET k",
            "GET",
            "NOSUCH x",
            "LPUSH k x",
            "CONFIG GET port",
            "CLIENT SETNAME bob",
            "PING",
            "CONFIG NOSUB",
        ],
    );
    sizes(
        &t,
        &[
            (27, 5, "SET k v"),
            (20, 7, "GET k"),
            (29, 68, "LPUSH k x"),
            (35, 24, "CONFIG GET port"),
            (38, 5, "CLIENT SETNAME bob"),
            (14, 7, "PING"),
        ],
    );
    let slow = entries(&t, "slow");
    let (numbers, args, from) = &slow[0];
    assert_eq!((numbers[0], numbers[1]), (0, 1_700_000_000));
    assert_eq!((&**args, &**from), ("SET k v", "127.0.0.1:0 "));
    let (numbers, _, from) = &slow[4];
    assert_eq!(
        (numbers[0], &**from),
        (4, "127.0.0.1:0 bob"),
        "its name from then on"
    );
}

#[test]
fn secrets_are_not_logged() {
    let mut t = all_logged();
    run(
        &mut t,
        &[
            "AUTH x",
            "AUTH user x",
            "HELLO 2 AUTH default pw",
            "CONFIG SET maxmemory 0 requirepass ''",
            "CONFIG SET primaryuser me masterauth x",
        ],
    );
    let slow = entries(&t, "slow").into_iter();
    let slow: Vec<String> = slow.map(|(_, args, _)| args).collect();
    assert_eq!(
        slow[..5],
        [
            "AUTH (redacted)",
            "AUTH (redacted) (redacted)",
            "HELLO 2 AUTH (redacted) (redacted)",
            "CONFIG SET maxmemory 0 requirepass (redacted)",
            "CONFIG SET primaryuser (redacted) masterauth (redacted)",
        ]
    );
}

/// EXEC is not logged, what it runs is, each command with its own sizes (see README, Differences).
#[test]
fn of_a_transaction_each_command_is_logged() {
    let mut t = all_logged();
    run(
        &mut t,
        &[
            "MULTI", "SET a b", "GET a", "EXEC", "MULTI", "DISCARD", "WATCH x",
        ],
    );
    sizes(
        &t,
        &[
            (15, 5, "MULTI"),
            (27, 5, "SET a b"),
            (20, 7, "GET a"),
            (15, 5, "MULTI"),
            (17, 5, "DISCARD"),
            (22, 5, "WATCH x"),
        ],
    );
}

#[test]
fn scripts_are_logged_behind_what_they_called() {
    let mut t = all_logged();
    let read = "EVAL \"return redis.call('get',KEYS[1])\" 1 key";
    run(
        &mut t,
        &[
            "EVAL \"redis.call('set',KEYS[1],ARGV[1]); return redis.call('get',KEYS[1])\" 1 key value",
            "EVAL \"return redis.call('lpush',KEYS[1],1)\" 1 key",
            read,
            "EVAL_RO \"return redis.call('get','key')\" 0",
        ],
    );
    sizes(
        &t,
        &[
            (0, 5, "set key value"),
            (0, 11, "get key"),
            (
                115,
                11,
                "EVAL redis.call('set',KEYS[1],ARGV[1]); return redis.call('get',KEYS[1]) 1 key value",
            ),
            (0, 68, "lpush key 1"),
            (73, 95, "EVAL return redis.call('lpush',KEYS[1],1) 1 key"),
            (0, 11, "get key"),
            (69, 11, "EVAL return redis.call('get',KEYS[1]) 1 key"),
            (0, 11, "get key"),
            (61, 11, "EVAL_RO return redis.call('get','key') 0"),
        ],
    );
}

/// Somebody wants to hear of keys that are missing: the script begins anew, with everything.
#[test]
fn a_script_that_begins_again_is_logged_once() {
    let mut t = all_logged();
    run(
        &mut t,
        &[
            "SET key 1",
            "EVAL_RO \"redis.call('get','key'); return redis.pcall('incr','key')\" 0",
        ],
    );
    let slow = entries(&t, "slow").into_iter();
    let slow: Vec<String> = slow.map(|(_, args, _)| args).collect();
    assert_eq!(slow[1], "get key");
    assert!(slow[2].starts_with("EVAL_RO"), "{slow:?}");
}

#[test]
fn who_was_blocked_is_logged_when_he_is_served_behind_who_served_him() {
    let mut t = all_logged();
    let mut other = t.client();
    let waiter = t.blocks("BLPOP q 0");
    other.run("LPUSH q elem").is(":1");
    t.waited(&waiter).unwrap().is("*2 $1 q $4 elem");
    let waiter = t.blocks("BLPOP q 1");
    t.clock.advance(1000);
    t.waited(&waiter).unwrap().is("*-1");
    let waiter = t.blocks("BLPOP q 0");
    waiter.decide(Outcome::Unblocked);
    t.waited(&waiter).unwrap().has("UNBLOCKED");
    sizes(
        &t,
        &[
            (32, 4, "LPUSH q elem"),
            (29, 21, "BLPOP q 0"),
            (29, 5, "BLPOP q 1"),
            (29, 48, "BLPOP q 0"),
        ],
    );
}

#[test]
fn long_requests_are_shortened_and_counted_whole() {
    let mut t = all_logged();
    let push: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    t.run(&format!("RPUSH l {}", push.join(" ")));
    t.run(&format!("SET big {}", "x".repeat(200)));
    t.run("GET big");
    sizes(
        &t,
        &[
            (
                333,
                5,
                "RPUSH l 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 \
                 28 ... (11 more arguments)",
            ),
            (
                230,
                5,
                &format!("SET big {}... (72 more bytes)", "x".repeat(128)),
            ),
            (22, 208, "GET big"),
        ],
    );
}

#[test]
fn a_reply_that_is_not_sent_has_no_bytes() {
    let mut t = all_logged();
    run(
        &mut t,
        &["SET a 1", "CLIENT REPLY OFF", "GET a", "CLIENT REPLY ON"],
    );
    sizes(
        &t,
        &[
            (27, 5, "SET a 1"),
            (36, 0, "CLIENT REPLY OFF"),
            (20, 0, "GET a"),
            (35, 5, "CLIENT REPLY ON"),
        ],
    );
}

/// What the client waits for elsewhere is part of its command.
#[test]
fn waiting_counts_where_the_command_waits() {
    let mut t = Test::new();
    // So long does nothing take by chance.
    t.run("CONFIG SET slowlog-log-slower-than 1000000");
    t.run("DEBUG SLEEP 2");
    t.run("DEBUG SLEEP 0.5");
    t.run("MULTI");
    t.run("DEBUG SLEEP 3");
    t.run("EXEC");
    let slow = entries(&t, "slow");
    let sleeps: Vec<&str> = slow.iter().map(|(_, args, _)| &**args).collect();
    assert_eq!(sleeps, ["DEBUG SLEEP 2", "DEBUG SLEEP 3"]);
    for ((numbers, ..), least_us) in slow.iter().zip([1_990_000, 2_990_000]) {
        assert!((least_us..100_000_000).contains(&numbers[2]), "{numbers:?}");
    }
    t.run("CONFIG SET slowlog-log-slower-than 0");
    t.run("SAVE").is("+OK");
    let slow = entries(&t, "slow");
    assert!(slow.iter().any(|(_, args, _)| args == "SAVE"), "{slow:?}");
}

#[test]
fn only_what_exceeds_a_bound_is_logged() {
    let mut t = Test::with(&["--slowlog-log-slower-than", "-1"]);
    t.run("CONFIG SET commandlog-request-larger-than 100 commandlog-reply-larger-than 100");
    // 100 bytes as a request, and 99.
    t.run(&format!("SET k {}", "x".repeat(73)));
    t.run(&format!("SET k {}", "x".repeat(72)));
    // 100 bytes as a reply, and 99.
    t.run(&format!("SET a {}", "x".repeat(93)));
    t.run("GET a");
    t.run(&format!("SET a {}", "x".repeat(92)));
    t.run("GET a");
    let values = |of: &Test, kind| -> Vec<i64> {
        let entries = entries(of, kind).into_iter();
        let others = entries.filter(|(_, args, _)| !args.starts_with("COMMANDLOG"));
        others.map(|(numbers, ..)| numbers[2]).collect()
    };
    // (The first is that of CONFIG SET.)
    assert_eq!(values(&t, "large-request"), [115, 100, 120, 119]);
    assert_eq!(values(&t, "large-reply"), [100]);
    // What is shared with the keyspace counts, too.
    t.run("CONFIG SET commandlog-reply-larger-than 20000");
    t.args(&[b"SET", b"big", &[b'x'; 30_000]]);
    t.run("GET big");
    t.run("GET a");
    assert_eq!(values(&t, "large-reply"), [100, 30_010]);
    t.run("COMMANDLOG LEN slow").is(":0");
}

#[test]
fn a_bound_holds_for_the_command_that_has_set_it() {
    let mut t = Test::with(&["--slowlog-log-slower-than", "-1"]);
    let on = "CONFIG SET slowlog-log-slower-than 0";
    let off = "CONFIG SET slowlog-log-slower-than -1";
    let logged = |of: &Test| -> Vec<String> {
        let entries = entries(of, "slow").into_iter();
        entries.map(|(_, args, _)| args).collect()
    };
    run(&mut t, &[on, "SLOWLOG RESET", off]);
    assert_eq!(logged(&t), ["SLOWLOG RESET"]);
    run(&mut t, &["SLOWLOG RESET", on, off]);
    assert_eq!(logged(&t), [on]);
    run(
        &mut t,
        &["SLOWLOG RESET", "MULTI", on, "ECHO x", off, "EXEC"],
    );
    assert_eq!(logged(&t), [on, "ECHO x"]);
}

#[test]
fn lengths_are_limited_and_logs_are_forgotten() {
    let mut t = all_logged();
    let mut quiet = t.client();
    quiet.run("CONFIG SET commandlog-request-larger-than -1 commandlog-reply-larger-than -1");
    run(&mut t, &["PING", "PING", "PING", "PING"]);
    quiet.run("CONFIG SET slowlog-max-len 3");
    quiet.run("SLOWLOG LEN").is(":3");
    // Off: what is there stays.
    quiet.run("CONFIG SET slowlog-max-len 0");
    run(&mut t, &["PING", "PING"]);
    quiet.run("SLOWLOG LEN").is(":3");
    quiet.run("CONFIG SET slowlog-log-slower-than -1 slowlog-max-len 128");
    run(&mut t, &["PING", "PING"]);
    quiet.run("SLOWLOG LEN").is(":3");
    quiet.run("SLOWLOG RESET").is("+OK");
    quiet.run("SLOWLOG LEN").is(":0");
    quiet.run("SLOWLOG GET").is("*0");
    quiet.run("COMMANDLOG RESET Large-Request").is("+OK");
    quiet.run("COMMANDLOG LEN LARGE-REQUEST").is(":0");
}

#[test]
fn the_newest_are_told_first_ten_of_them_unless_asked() {
    let mut t = all_logged();
    (0..15).for_each(|number| drop(t.run(&format!("ECHO {number}"))));
    t.run("CONFIG SET slowlog-log-slower-than -1");
    let count = |test: &mut Test, line: &str| {
        let bytes = test.run(line).0;
        array(&Reply::parse_all(&bytes).unwrap()[0]).len()
    };
    assert_eq!(count(&mut t, "SLOWLOG GET"), 10);
    assert_eq!(count(&mut t, "SLOWLOG GET 0"), 0);
    assert_eq!(count(&mut t, "SLOWLOG GET 3"), 3);
    assert_eq!(count(&mut t, "SLOWLOG GET -1"), 15);
    assert_eq!(count(&mut t, "SLOWLOG GET 9223372036854775807"), 15);
    let bytes = t.run("SLOWLOG GET 1").0;
    let newest = &Reply::parse_all(&bytes).unwrap()[0];
    assert_eq!(text(&array(&array(newest)[0])[0]), "14");
}

#[test]
fn mistakes_are_told_in_valkeys_words() {
    let mut t = Test::new();
    let count = "-ERR count should be greater than or equal to -1";
    for line in [
        "SLOWLOG GET -2",
        "SLOWLOG GET a",
        "COMMANDLOG GET x nosuch",
        "COMMANDLOG GET -5 slow",
    ] {
        t.run(line).is(count);
    }
    let kind = "-ERR type should be one of the following: slow, large-request, large-reply";
    for line in [
        "COMMANDLOG GET 1 nosuch",
        "COMMANDLOG LEN x",
        "COMMANDLOG RESET x",
    ] {
        t.run(line).is(kind);
    }
    t.run("SLOWLOG Get 1 2")
        .is("-ERR unknown subcommand or wrong number of arguments for 'Get'. Try SLOWLOG HELP.");
    t.run("SLOWLOG LEN 1")
        .is("-ERR wrong number of arguments for 'slowlog|len' command");
    t.run("COMMANDLOG GET 1")
        .is("-ERR wrong number of arguments for 'commandlog|get' command");
    t.run("SLOWLOG NOSUCH")
        .is("-ERR unknown subcommand 'NOSUCH'. Try SLOWLOG HELP.");
    t.run("CONFIG SET slowlog-log-slower-than -2").is(
        "-ERR CONFIG SET failed (possibly related to argument 'slowlog-log-slower-than') - argument \
         must be between -1 and 9223372036854775807 inclusive",
    );
}
