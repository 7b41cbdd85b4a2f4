//! CLIENT TRACKING and its like, and what clients are told by it; expected replies and messages are
//! Valkey 9.1.2's.

use crate::commands::tests::{Reply, Test};

/// What others have for a client.
fn pushes(test: &mut Test) -> String {
    Reply(test.session.take_pushes()).text()
}

/// A server, a client that writes, and one that knows RESP3 and tracks with these options.
fn pair(options: &str) -> (Test, Test) {
    let writer = Test::new();
    let reader = tracker(&writer, options);
    (writer, reader)
}

fn tracker(test: &Test, options: &str) -> Test {
    let mut reader = test.client();
    reader.run("HELLO 3");
    reader
        .run(&format!("CLIENT TRACKING on {options}"))
        .is("+OK");
    reader
}

/// A message about keys.
fn told(keys: &[&str]) -> String {
    let mut text = format!(">2 $10 invalidate *{}", keys.len());
    for key in keys {
        text += &format!(" ${} {key}", key.len());
    }
    text
}

const ALL: &str = ">2 $10 invalidate _";

/// `tracking_` fields of INFO: clients, keys, items, prefixes.
fn figures(test: &mut Test) -> [u64; 4] {
    let text = test.run("INFO clients stats").text();
    let figure = |name: &str| {
        let rest = text.split(&format!("tracking_{name}:")).nth(1).unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    ["clients", "total_keys", "total_items", "total_prefixes"].map(figure)
}

#[test]
fn what_may_be_asked_for() {
    let mut t = Test::new();
    t.run("CLIENT TRACKING")
        .is("-ERR wrong number of arguments for 'client|tracking' command");
    for line in ["x", "on foo", "off foo", "on redirect", "on prefix"] {
        t.run(&format!("CLIENT TRACKING {line}"))
            .is("-ERR syntax error");
    }
    t.run("CLIENT TRACKING on redirect x")
        .is("-ERR value is not an integer or out of range");
    for id in ["9999", "0", "-1", "off redirect 9999"] {
        t.run(&format!("CLIENT TRACKING on redirect {id}").replace("on redirect off", "off"))
            .is("-ERR The client ID you want redirect to does not exist");
    }
    t.run("CLIENT TRACKING on redirect 1 redirect 1")
        .is("-ERR A client can only redirect to a single other client");
    t.run("CLIENT TRACKING on prefix a")
        .is("-ERR PREFIX option requires BCAST mode to be enabled");
    t.run("CLIENT TRACKING off prefix a").is("+OK");
    t.run("CLIENT TRACKING off bcast optin optout").is("+OK");
    for option in ["optin", "optout"] {
        t.run(&format!("CLIENT TRACKING on bcast {option}"))
            .is("-ERR OPTIN and OPTOUT are not compatible with BCAST");
    }
    t.run("CLIENT TRACKING on optin optout")
        .is("-ERR You can't specify both OPTIN mode and OPTOUT mode");
    t.run("CLIENT TRACKING on optin").is("+OK");
    t.run("CLIENT TRACKING on optout").is(
        "-ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and \
         then re-enabling it with a different mode.",
    );
    t.run("CLIENT TRACKING on").is("+OK");
    t.run("CLIENT TRACKING on optout").is("+OK");
    for options in ["bcast", "bcast optin", "bcast prefix a optin"] {
        t.run(&format!("CLIENT TRACKING on {options}")).is(
            "-ERR You can't switch BCAST mode on/off before disabling tracking for this client, \
             and then re-enabling it with a different mode.",
        );
    }
    assert_eq!(figures(&mut t), [1, 0, 0, 0]);
    t.run("CLIENT TRACKING off").is("+OK");
    assert_eq!(figures(&mut t), [0, 0, 0, 0]);
}

#[test]
fn prefixes_must_not_overlap() {
    let mut t = Test::new();
    t.run("CLIENT TRACKING on bcast prefix a prefix b")
        .is("+OK");
    t.run("CLIENT TRACKING on bcast prefix c prefix ab").is(
        "-ERR Prefix 'ab' overlaps with an existing prefix 'a'. Prefixes for a single client must \
         not overlap.",
    );
    t.run("CLIENT TRACKING on bcast prefix c prefix d prefix cd")
        .is(
            "-ERR Prefix 'c' overlaps with another provided prefix 'cd'. Prefixes for a single \
             client must not overlap.",
        );
    t.run("CLIENT TRACKING on bcast prefix \"z\\x00z\" prefix \"z\\x00zy\"")
        .is(
            "-ERR Prefix 'z' overlaps with another provided prefix 'z'. Prefixes for a single \
             client must not overlap.",
        );
    // Of another client they may.
    let mut other = tracker(&t, "bcast prefix ab");
    t.run("CLIENT TRACKING on bcast prefix c noloop").is("+OK");
    t.run("CLIENT TRACKINGINFO")
        .is("*6 $5 flags *3 $2 on $5 bcast $6 noloop $8 redirect :0 $8 prefixes *3 $1 a $1 b $1 c");
    // Without any it means all keys, which overlaps with nothing.
    t.run("CLIENT TRACKING on bcast").is("+OK");
    t.run("CLIENT TRACKINGINFO")
        .is("*6 $5 flags *2 $2 on $5 bcast $8 redirect :0 $8 prefixes *4 $0  $1 a $1 b $1 c");
    assert_eq!(figures(&mut t), [2, 0, 0, 5]);
    other.run("CLIENT TRACKING off").is("+OK");
    t.run("CLIENT TRACKING off").is("+OK");
    assert_eq!(figures(&mut t), [0, 0, 0, 0]);
}

#[test]
fn what_it_says_of_itself() {
    let mut t = Test::new();
    let mut target = t.client();
    t.run("CLIENT GETREDIR").is(":-1");
    t.run("CLIENT TRACKINGINFO")
        .is("*6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0");
    t.run("CLIENT TRACKING on noloop optout redirect 2")
        .is("+OK");
    t.run("CLIENT GETREDIR").is(":2");
    t.run("CLIENT CACHING no").is("+OK");
    t.run("CLIENT TRACKINGINFO").is(
        "*6 $5 flags *4 $2 on $6 optout $10 caching-no $6 noloop $8 redirect :2 $8 prefixes *0",
    );
    t.run("CLIENT INFO").has("flags=t ");
    t.run("CLIENT INFO").has(" redir=2 ");
    t.run("HELLO 3");
    t.run("CLIENT TRACKINGINFO")
        .is("%3 $5 flags ~3 $2 on $6 optout $6 noloop $8 redirect :2 $8 prefixes *0");
    target.run("CLIENT TRACKING on bcast").is("+OK");
    target.run("CLIENT INFO").has("flags=tB ");
    target.run("RESET").is("+RESET");
    target.run("CLIENT INFO").has("flags=N ");
    target.run("CLIENT INFO").has(" redir=-1 ");
    assert_eq!(figures(&mut t), [1, 0, 0, 0]);
    drop(t);
    assert_eq!(figures(&mut target), [0, 0, 0, 0]);
}

#[test]
fn a_key_that_was_read_is_told_once() {
    let (mut writer, mut reader) = pair("");
    reader.run("MGET a b a").is("*3 _ _ _");
    assert_eq!(figures(&mut writer), [1, 2, 2, 0]);
    writer.run("SET a 1").is("+OK");
    assert_eq!(pushes(&mut reader), told(&["a"]));
    writer.run("SET a 2").is("+OK");
    assert_eq!(pushes(&mut reader), "");
    // Whatever the database.
    writer.run("SELECT 5").is("+OK");
    writer.run("LPUSH b x").is(":1");
    assert_eq!(pushes(&mut reader), told(&["b"]));
    // Each key is told by itself.
    reader.run("MGET a b").is("*2 $1 2 _");
    writer.run("MSET b 1 a 2").is("+OK");
    assert_eq!(pushes(&mut reader), told(&["b"]) + " " + &told(&["a"]));
    assert_eq!(figures(&mut writer), [1, 0, 0, 0]);
}

#[test]
fn only_commands_that_read_are_remembered() {
    let (mut writer, mut reader) = pair("");
    for (line, is_tracked) in [
        ("EXISTS k", true),
        ("TTL k", true),
        ("OBJECT ENCODING k", true),
        ("TOUCH k", true),
        ("SORT_RO k", true),
        ("SORT k", false),
        ("GETEX k", false),
        ("GETSET k x", false),
        ("MEMORY USAGE k", true),
        ("DEBUG OBJECT k", false),
        ("ZUNION 1 k", true),
        // The keys cannot be found.
        ("ZUNION 5 k", false),
        ("SINTERCARD 1 k", true),
        ("GETDEL k", false),
        ("PERSIST k", false),
        // It failed, but has read.
        ("LRANGE k 0 x", true),
        ("HGETALL k", true),
        ("GET", false),
        ("GET k k", false),
        ("KEYS k*", false),
        ("SCAN 0", false),
        ("COPY k q", false),
    ] {
        writer.run("DEL k");
        assert_eq!(figures(&mut writer)[1], 0, "{line}");
        reader.run(line);
        assert_eq!(figures(&mut writer)[1], u64::from(is_tracked), "{line}");
        writer.run("LPUSH k 1");
        let expected = if is_tracked { told(&["k"]) } else { "".into() };
        assert_eq!(pushes(&mut reader), expected, "{line}");
    }
    // A key of another type was looked at as well.
    writer.run("DEL k");
    writer.run("SET k 1");
    reader.run("LLEN k").has("WRONGTYPE");
    writer.run("DEL k");
    assert_eq!(pushes(&mut reader), told(&["k"]));
}

#[test]
fn the_own_change_is_told_behind_the_reply() {
    let (mut writer, mut reader) = pair("");
    reader.run("GET k").is("_");
    reader.run("SET k 1").is(&format!("+OK {}", told(&["k"])));
    reader.run("GET k").is("$1 1");
    reader.run("CLIENT REPLY off").is("");
    reader.run("SET k 2").is(&told(&["k"]));
    reader.run("CLIENT REPLY on").is("+OK");
    reader.run("FLUSHDB").is(&format!("+OK {ALL}"));
    assert_eq!(pushes(&mut reader), "");
    // NOLOOP: not told, and tracked no longer.
    reader.run("CLIENT TRACKING on noloop").is("+OK");
    reader.run("GET k").is("_");
    reader.run("SET k 1").is("+OK");
    assert_eq!(figures(&mut writer)[1], 0);
    reader.run("GET k").is("$1 1");
    writer.run("SET k 2").is("+OK");
    assert_eq!(pushes(&mut reader), told(&["k"]));
    // But everything may have gone.
    reader.run("FLUSHALL").is(&format!("+OK {ALL}"));
}

#[test]
fn opting_in_and_out() {
    let (mut writer, mut reader) = pair("optin");
    for (yes, no, mode) in [("yes", "no", "optin"), ("no", "yes", "optout")] {
        let upper = yes.to_uppercase();
        let needed = mode.to_uppercase();
        reader.run("CLIENT TRACKING off").is("+OK");
        reader.run(&format!("CLIENT CACHING {yes}")).is(
            "-ERR CLIENT CACHING can be called only when the client is in tracking mode with \
             OPTIN or OPTOUT mode enabled",
        );
        reader.run("CLIENT TRACKING on").is("+OK");
        reader.run("CLIENT CACHING x").is("-ERR syntax error");
        reader.run(&format!("CLIENT CACHING {yes}")).is(&format!(
            "-ERR CLIENT CACHING {upper} is only valid when tracking is enabled in {needed} mode."
        ));
        reader.run(&format!("CLIENT TRACKING on {mode}")).is("+OK");
        reader
            .run(&format!("CLIENT CACHING {no}"))
            .has("is only valid");
        let by_default = mode == "optout";
        for (between, is_over) in [
            ("", false),
            ("CLIENT ID", false),
            ("CLIENT CACHING x", false),
            ("CLIENT CACHING", false),
            ("CLIENT TRACKINGINFO", false),
            ("PING", true),
            ("NOSUCH", true),
            ("GET", true),
            ("CLIENT", true),
            ("CLIENT NOSUCH", true),
        ] {
            reader.run(&format!("CLIENT CACHING {yes}")).is("+OK");
            if !between.is_empty() {
                reader.run(between);
            }
            reader.run("GET k");
            writer.run("SET k 1");
            let expected = (by_default == is_over).then(|| told(&["k"]));
            let expected = expected.unwrap_or_default();
            assert_eq!(pushes(&mut reader), expected, "{mode} {between}");
        }
        reader.run("GET k");
        assert_eq!(figures(&mut writer)[1], u64::from(by_default));
        writer.run("FLUSHALL");
        pushes(&mut reader);
    }
}

#[test]
fn expired_keys_are_told() {
    let (mut writer, mut reader) = pair("noloop");
    let mut by_prefix = tracker(&writer, "bcast noloop");
    writer.run("SET k 1 PX 10").is("+OK");
    assert_eq!(pushes(&mut by_prefix), told(&["k"]));
    reader.run("GET k").is("$1 1");
    writer.clock.advance(10);
    // Whoever finds it has not changed it.
    by_prefix.run("GET k").is(&format!("_ {}", told(&["k"])));
    assert_eq!(pushes(&mut reader), told(&["k"]));
    // The cycle.
    by_prefix.run("HSET h f 1 g 2").is(":2");
    by_prefix.run("HPEXPIRE h 10 FIELDS 1 f").is("*1 :1");
    by_prefix.run("SET k 1 PX 10").is("+OK");
    by_prefix.run("SET l 1 PX 10").is("+OK");
    reader.run("MGET k l h").has("*3");
    writer.clock.advance(10);
    let now_ms = writer.clock.unix_ms();
    writer.session.server().keyspace.expire_due(now_ms);
    let mut by_key: Vec<String> = ["k", "l", "h"].iter().map(|key| told(&[key])).collect();
    by_key.sort();
    let all = pushes(&mut reader);
    let mut got: Vec<String> = all
        .split(" >2")
        .map(|part| part.trim_start_matches(">2").into())
        .collect();
    got.iter_mut().for_each(|part| part.insert_str(0, ">2"));
    got.sort();
    assert_eq!(got, by_key);
    let mut keys: Vec<String> = pushes(&mut by_prefix)
        .split_whitespace()
        .filter(|word| ["k", "l", "h"].contains(word))
        .map(String::from)
        .collect();
    keys.sort();
    assert_eq!(keys, ["h", "k", "l"]);
}

#[test]
fn a_batch_is_told_by_prefix() {
    let (mut writer, mut all) = pair("bcast");
    let mut some = tracker(&writer, "bcast prefix ba prefix a prefix r");
    writer.run("MSET zz 1 a2 1 r 1 a1 1 ba 1 a2 2").is("+OK");
    assert_eq!(pushes(&mut all), told(&["a1", "a2", "ba", "r", "zz"]));
    let expected = [told(&["a1", "a2"]), told(&["ba"]), told(&["r"])];
    assert_eq!(pushes(&mut some), expected.join(" "));
    // What is only read is nobody's business.
    writer.run("MGET a1 a2").has("*2");
    writer.run("DEL nokey").is(":0");
    assert_eq!(pushes(&mut all), "");
    assert_eq!(figures(&mut writer), [2, 0, 0, 4]);
    // The client's own, too, unless it does not want them.
    some.run("SET a1 1").is(&format!("+OK {}", told(&["a1"])));
    some.run("CLIENT TRACKING on bcast noloop prefix x")
        .is("+OK");
    some.run("MSET a1 1 ba 1").is("+OK");
    some.run("FLUSHALL").is(&format!("+OK {ALL}"));
    pushes(&mut all);
    some.run("CLIENT TRACKING off").is("+OK");
    writer.run("SET a1 1").is("+OK");
    assert_eq!(pushes(&mut some), "");
    assert_eq!(pushes(&mut all), told(&["a1"]));
    drop(all);
    assert_eq!(figures(&mut writer), [0, 0, 0, 0]);
}

#[test]
fn the_last_of_several_writers_counts() {
    let (mut writer, mut loops_not) = pair("bcast noloop");
    loops_not.run("SET l 1").is("+OK");
    let waiter = loops_not.blocks("BLPOP list 0");
    // The waiter itself takes it out again.
    writer.run("LPUSH list 1").is(":1");
    assert_eq!(pushes(&mut loops_not), "");
    let reply = loops_not.waited(&waiter).expect("an element");
    assert_eq!(reply.text(), "*2 $4 list $1 1");
    // A client that reads by key: the push was somebody else's.
    let mut reader = tracker(&writer, "noloop");
    reader.run("EXISTS list").is(":0");
    let waiter = reader.blocks("BLPOP list 0");
    writer.run("LPUSH list 1").is(":1");
    assert_eq!(pushes(&mut reader), told(&["list"]));
    assert!(reader.waited(&waiter).is_some());
}

#[test]
fn flushes_are_told_to_all_who_track() {
    let (mut writer, mut reader) = pair("optin noloop");
    let mut by_prefix = tracker(&writer, "bcast prefix x");
    let mut old = writer.client();
    old.run("CLIENT TRACKING on").is("+OK");
    reader.run("CLIENT CACHING yes").is("+OK");
    reader.run("GET k").is("_");
    for line in ["FLUSHDB", "FLUSHALL"] {
        writer.run(line).is("+OK");
        assert_eq!(pushes(&mut reader), ALL, "{line}");
        assert_eq!(pushes(&mut by_prefix), ALL, "{line}");
        assert_eq!(pushes(&mut old), "", "RESP2 has no way to tell it");
        assert_eq!(figures(&mut writer)[1], 0);
    }
    // Databases that are exchanged concern nobody, as in Valkey.
    writer.run("SET xa 1").is("+OK");
    pushes(&mut by_prefix);
    writer.run("SWAPDB 0 1").is("+OK");
    assert_eq!(pushes(&mut by_prefix), "");
}

#[test]
fn another_client_is_told_instead() {
    let mut writer = Test::new();
    let (mut target, mut reader) = (writer.client(), writer.client());
    let id = target.session.client().shared.id;
    reader
        .run(&format!("CLIENT TRACKING on redirect {id}"))
        .is("+OK");
    reader.run("GET k").is("$-1");
    writer.run("SET k 1").is("+OK");
    // It speaks RESP2 and listens to nothing.
    assert_eq!(pushes(&mut target), "");
    target.run("SSUBSCRIBE x").is("*3 $10 ssubscribe $1 x :1");
    reader.run("GET k").is("$1 1");
    writer.run("SET k 2").is("+OK");
    assert_eq!(pushes(&mut reader), "");
    assert_eq!(
        pushes(&mut target),
        "*3 $7 message $20 __redis__:invalidate *1 $1 k"
    );
    writer.run("FLUSHALL").is("+OK");
    assert_eq!(
        pushes(&mut target),
        "*3 $7 message $20 __redis__:invalidate $-1"
    );
    target
        .run("SUNSUBSCRIBE x")
        .is("*3 $12 sunsubscribe $1 x :0");
    target.run("HELLO 3");
    reader.run("GET k").is("$-1");
    // The reader's own change is the reader's, whoever is told of it.
    reader.run("SET k 1").is("+OK");
    assert_eq!(pushes(&mut target), told(&["k"]));
    // Nobody passes on what was passed on.
    let own = reader.session.client().shared.id;
    target
        .run(&format!("CLIENT TRACKING on redirect {own}"))
        .is("+OK");
    reader.run("GET k").is("$1 1");
    writer.run("SET k 1").is("+OK");
    assert_eq!(
        (pushes(&mut reader), pushes(&mut target)),
        ("".into(), told(&["k"]))
    );
}

#[test]
fn a_redirect_that_has_gone() {
    let (mut writer, mut reader) = pair("");
    let target = writer.client();
    let id = target.session.client().shared.id;
    reader
        .run(&format!("CLIENT TRACKING on redirect {id}"))
        .is("+OK");
    reader.run("MGET k l").has("*2");
    drop(target);
    // Nothing has happened yet.
    reader.run("CLIENT TRACKINGINFO").has("~1 $2 on $8");
    writer.run("SET k 1").is("+OK");
    let broken = format!(">2 $21 tracking-redir-broken :{id}");
    assert_eq!(pushes(&mut reader), broken);
    reader
        .run("CLIENT TRACKINGINFO")
        .has(&format!("~2 $2 on $15 broken_redirect $8 redirect :{id} "));
    reader.run("CLIENT INFO").has("flags=tR ");
    writer.run("SET l 1").is("+OK");
    assert_eq!(pushes(&mut reader), broken);
    reader.run("FLUSHALL").is(&format!("+OK {broken}"));
    reader.run("CLIENT TRACKING on").is("+OK");
    reader
        .run("CLIENT TRACKINGINFO")
        .has("~1 $2 on $8 redirect :0 ");
    // RESP2: no word of it, but it can be seen.
    let mut old = writer.client();
    let target = writer.client();
    let id = target.session.client().shared.id;
    old.run(&format!("CLIENT TRACKING on bcast prefix k redirect {id}"))
        .is("+OK");
    drop(target);
    writer.run("SET k 1").is("+OK");
    assert_eq!(pushes(&mut old), "");
    old.run("CLIENT INFO").has("flags=tRB ");
    old.run("RESET").is("+RESET");
    old.run("CLIENT INFO").has("flags=N ");
}

#[test]
fn what_was_read_before_tracking_was_switched_off_is_still_told() {
    let (mut writer, mut reader) = pair("");
    reader.run("MGET a b c").has("*3");
    reader.run("CLIENT TRACKING off").is("+OK");
    writer.run("SET a 1").is("+OK");
    assert_eq!(pushes(&mut reader), "");
    reader.run("CLIENT TRACKING on").is("+OK");
    writer.run("SET b 1").is("+OK");
    assert_eq!(pushes(&mut reader), told(&["b"]));
    reader.run("CLIENT TRACKING off").is("+OK");
    reader.run("CLIENT TRACKING on bcast prefix x").is("+OK");
    writer.run("SET c 1").is("+OK");
    assert_eq!(pushes(&mut reader), "");
    assert_eq!(figures(&mut writer), [1, 0, 0, 1]);
}

#[test]
fn no_more_keys_are_tracked_than_the_limit_says() {
    let (mut writer, mut reader) = pair("noloop");
    writer.run("CONFIG SET tracking-table-max-keys 5").is("+OK");
    let mut told_keys = 0;
    for number in 0..8 {
        let text = reader.run(&format!("GET x{number}")).text();
        told_keys += text.matches("invalidate").count();
    }
    assert_eq!(figures(&mut writer), [1, 5, 5, 0]);
    assert_eq!(
        told_keys, 3,
        "also the client whose command it was, NOLOOP or not"
    );
    let names: Vec<String> = (0..300).map(|number| format!("y{number}")).collect();
    reader.run(&format!("MGET {}", names.join(" ")));
    assert_eq!(figures(&mut writer), [1, 5, 5, 0]);
    writer.run("CONFIG SET tracking-table-max-keys 0").is("+OK");
    let text = reader.run(&format!("MGET {}", names.join(" "))).text();
    assert_eq!(text.matches("invalidate").count(), 0);
    // At least those of before that are among them.
    assert!(figures(&mut writer)[1] >= 300);
}

#[test]
fn random_keys_make_room() {
    let (mut writer, mut reader) = pair("");
    let names: Vec<String> = (0..64).map(|number| format!("k{number}")).collect();
    let mut evicted = std::collections::BTreeSet::new();
    for _ in 0..20 {
        writer.run("CONFIG SET tracking-table-max-keys 0").is("+OK");
        reader.run(&format!("MGET {}", names.join(" ")));
        writer
            .run("CONFIG SET tracking-table-max-keys 63")
            .is("+OK");
        let text = reader.run("GET k0").text();
        assert_eq!(text.matches("invalidate").count(), 1, "{text}");
        evicted.insert(text.split_once("invalidate").unwrap().1.to_owned());
    }
    assert!(evicted.len() > 5, "{evicted:?}");
    writer.run("FLUSHALL").is("+OK");
}

#[test]
fn prefixes_count_as_memory_of_the_client() {
    let mut t = Test::new();
    let memory = |t: &Test| t.session.client().shared.memory_bytes();
    let before = memory(&t);
    let long = "x".repeat(1000);
    t.run(&format!(
        "CLIENT TRACKING on bcast prefix a{long} prefix b{long}"
    ))
    .is("+OK");
    assert!(memory(&t) >= before + 2000);
    t.run("RESET").is("+RESET");
    assert_eq!(memory(&t), before);
}

#[test]
fn a_transaction_is_one_command() {
    for (lines, tracked) in [
        (
            "CLIENT CACHING yes|MULTI|GET a|CLIENT ID|GET b|EXEC|GET c",
            "a b",
        ),
        ("MULTI|CLIENT CACHING yes|GET a|GET b|EXEC|GET c", "a b"),
        ("MULTI|GET a|CLIENT CACHING yes|GET b|EXEC|GET c", "b"),
        ("CLIENT CACHING yes|MULTI|DISCARD|GET a", ""),
        ("CLIENT CACHING yes|MULTI|NOSUCH|EXEC|GET a", ""),
        ("CLIENT CACHING yes|MULTI|EXEC|GET a", ""),
    ] {
        let (mut writer, mut reader) = pair("optin");
        lines.split('|').for_each(|line| {
            reader.run(line);
        });
        let mut told_keys = Vec::new();
        for key in ["a", "b", "c"] {
            writer.run(&format!("SET {key} 1"));
            if pushes(&mut reader) == told(&[key]) {
                told_keys.push(key);
            }
        }
        assert_eq!(told_keys.join(" "), tracked, "{lines}");
    }
    let (mut writer, mut reader) = pair("optout");
    for line in "MULTI|GET a|CLIENT CACHING no|GET b|EXEC|GET c".split('|') {
        reader.run(line);
    }
    writer.run("MSET a 1 b 1 c 1").is("+OK");
    let expected = [told(&["a"]), told(&["c"])];
    assert_eq!(pushes(&mut reader), expected.join(" "));
}

/// Behind the reply of EXEC: first the events that the client has subscribed to, then its copies.
#[test]
fn what_a_transaction_makes_worthless_is_told_behind_it() {
    let (mut writer, mut reader) = pair("");
    let mut by_prefix = tracker(&writer, "bcast");
    writer
        .run("CONFIG SET notify-keyspace-events KEA")
        .is("+OK");
    reader.run("SUBSCRIBE __keyspace@0__:s").has("subscribe");
    for line in ["MULTI", "GET s", "SET s 1", "SET r 1", "GET s", "DEL s"] {
        reader.run(line);
    }
    let event = |name: &str| {
        let len = name.len();
        format!(" >3 $7 message $16 __keyspace@0__:s ${len} {name}")
    };
    let own = format!(" {}", told(&["s"]));
    let expected =
        String::from("*5 _ +OK +OK $1 1 :1") + &event("set") + &event("del") + &own + &own;
    reader.run("EXEC").is(&expected);
    assert_eq!(pushes(&mut by_prefix), told(&["r", "s"]));
    // A flush in between.
    for line in ["MULTI", "GET s", "FLUSHALL", "SET s 1", "EXEC"] {
        writer.run(line);
    }
    assert_eq!(pushes(&mut by_prefix), format!("{ALL} {}", told(&["s"])));
    assert_eq!(pushes(&mut reader).matches(ALL).count(), 1);
}

#[test]
fn prefixes_count_from_the_moment_they_are_there() {
    let (mut writer, mut reader) = pair("bcast prefix q");
    for line in ["MULTI", "SET xa 1", "EXEC"] {
        writer.run(line);
    }
    reader.run("CLIENT TRACKING on bcast prefix x").is("+OK");
    assert_eq!(pushes(&mut reader), "");
    writer.run("SET xb 1").is("+OK");
    assert_eq!(pushes(&mut reader), told(&["xb"]));
    // Within a transaction, too.
    for line in [
        "MULTI",
        "CLIENT TRACKING on bcast prefix y",
        "SET ya 1",
        "EXEC",
    ] {
        reader.run(line);
    }
    reader.run("GET ya").is("$1 1");
    writer.run("SET ya 1").is("+OK");
    assert_eq!(pushes(&mut reader), told(&["ya"]));
}
