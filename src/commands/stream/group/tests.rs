//! Consumer groups in both protocols, most of it as Valkey 9.1.2 answered: `valkey.txt` is a transcript
//! of a real server, one request a line, then how far it moved keyspace_hits, keyspace_misses and
//! rdb_changes_since_last_save, then its reply in RESP2 and, if it differs, in RESP3. Lines below a
//! heading ran within one millisecond on an empty keyspace; `@5` is a time 5 ms after it.

use crate::commands::tests::transcript::Transcript;
use crate::commands::tests::{START_MS, Test};

/// A word of the transcript that may be a time: what it is when it is `now_ms`.
fn at(word: &str, now_ms: u64) -> String {
    let (sign, time) = match word.strip_prefix(':') {
        Some(time) => (":", time),
        None => ("", word),
    };
    match time.strip_prefix('@').map(str::parse::<i64>) {
        Some(Ok(ms)) => format!("{sign}{}", now_ms.saturating_add_signed(ms)),
        _ => word.to_owned(),
    }
}

/// Text of the transcript with its times filled in.
fn timed(text: &str, now_ms: u64) -> String {
    let words: Vec<String> = text.split(' ').map(|word| at(word, now_ms)).collect();
    words.join(" ")
}

#[test]
fn everything_is_as_valkey_answers_it() {
    let transcript = Transcript {
        text: include_str!("valkey.txt"),
        variants: 2,
        least: 1000,
    };
    transcript.replay(|_| Test::new(), |text| timed(text, START_MS));
}

#[test]
fn every_row_is_in_the_transcript() {
    let text = include_str!("valkey.txt").to_ascii_lowercase();
    for row in super::COMMANDS {
        // Valkey 9.1 does not have it.
        if row.name == "xackdel" {
            continue;
        }
        let start = format!("\n{} ", row.name);
        assert!(text.contains(&start), "{}", row.name);
        for sub in row.subcommands {
            let start = format!("\n{} {}", row.name, sub.name);
            assert!(text.contains(&start), "{} {}", row.name, sub.name);
        }
    }
}

/// A stream of five entries of which a group has read four, alice the first three.
fn read() -> Test {
    let mut t = Test::new();
    for ms in 1..=5 {
        t.run(&format!("XADD s {ms}-0 f {ms}"));
    }
    t.run("XGROUP CREATE s g 0").is("+OK");
    t.run("XREADGROUP GROUP g alice COUNT 3 STREAMS s >");
    t.run("XREADGROUP GROUP g bob COUNT 1 STREAMS s >");
    t
}

/// When consumers were seen and active, as Valkey tells it with time in between.
#[test]
fn who_asks_is_seen_and_who_gets_something_is_active() {
    let mut t = read();
    let idle = |t: &mut Test, alice: &str, bob: &str| {
        let names = ["$5 alice", "$3 bob"].into_iter().zip([alice, bob]);
        let maps: Vec<String> = names
            .map(|(name, figures)| {
                let [pending, idle, inactive] = figures.split(' ').collect::<Vec<_>>()[..] else {
                    panic!("three figures")
                };
                format!(
                    "*8 $4 name {name} $7 pending :{pending} $4 idle :{idle} $8 inactive :{inactive}"
                )
            })
            .collect();
        let text = format!("*2 {}", maps.join(" "));
        t.run("XINFO CONSUMERS s g").is(&text);
    };
    idle(&mut t, "3 0 0", "1 0 0");
    t.clock.advance(100);
    idle(&mut t, "3 100 100", "1 100 100");
    t.run("XCLAIM s g alice 101 4-0").is("*0");
    idle(&mut t, "3 0 100", "1 100 100");
    t.clock.advance(10);
    t.run("XAUTOCLAIM s g alice 1000 0").is("*3 $3 0-0 *0 *0");
    idle(&mut t, "3 0 110", "1 110 110");
    t.run("XCLAIM s g bob 110 1-0 JUSTID").is("*1 $3 1-0");
    idle(&mut t, "2 0 110", "2 0 0");
    t.clock.advance(10);
    t.run("XACK s g 1-0").is(":1");
    t.run("XGROUP CREATECONSUMER s g bob").is(":0");
    t.run("XPENDING s g - + 10 bob");
    idle(&mut t, "2 10 120", "1 10 10");
    // What is only found to be gone makes nobody active.
    t.run("XDEL s 2-0 3-0").is(":2");
    t.run("XCLAIM s g bob 0 2-0").is("*0");
    t.run("XAUTOCLAIM s g bob 0 3-0 COUNT 1")
        .is("*3 $3 4-0 *0 *1 $3 3-0");
    idle(&mut t, "0 10 120", "1 0 10");
}

#[test]
fn groups_are_not_what_watchers_watch() {
    let mut t = read();
    let mut other = t.client();
    for line in [
        "XGROUP CREATE s h 0",
        "XGROUP SETID s h 1",
        "XGROUP CREATECONSUMER s h c",
        "XCLAIM s g bob 0 1-0",
        "XAUTOCLAIM s g carol 0 0",
        "XACK s g 1-0",
        "XGROUP DELCONSUMER s h c",
        "XGROUP DESTROY s h",
    ] {
        t.run("WATCH s");
        other.run(line);
        t.run("MULTI");
        t.run("PING");
        t.run("EXEC").is("*1 +PONG");
    }
    for line in ["XACKDEL s g IDS 1 2-0", "XGROUP CREATE w g $ MKSTREAM"] {
        t.run("WATCH s w");
        other.run(line);
        t.run("MULTI");
        t.run("PING");
        t.run("EXEC").is("*-1");
    }
}

/// Who waits for entries of a group that is destroyed is told so; whoever else waits goes on.
#[test]
fn destroying_a_group_ends_waits_for_it() {
    let mut t = Test::new();
    t.run("XGROUP CREATE s g $ MKSTREAM");
    t.run("XGROUP CREATE s h $");
    let (mut a, mut b) = (t.client(), t.client());
    let for_g = a.blocks("XREADGROUP GROUP g c BLOCK 0 STREAMS s >");
    let for_h = b.blocks("XREADGROUP GROUP h c BLOCK 0 STREAMS s >");
    for line in [
        "XGROUP DELCONSUMER s g c",
        "XGROUP SETID s g 0",
        "XGROUP CREATECONSUMER s h d",
        "XAUTOCLAIM s h d 0 0",
    ] {
        t.run(line);
        assert!(a.waited(&for_g).is_none() && b.waited(&for_h).is_none());
    }
    t.run("XGROUP DESTROY s g").is(":1");
    let told = a.waited(&for_g).expect("an error");
    told.is("-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option");
    assert!(b.waited(&for_h).is_none());
    t.run("XADD s 1-1 f v");
    let told = b.waited(&for_h).expect("the entry");
    told.is("*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v");
}

#[test]
fn xackdel_deletes_what_it_acknowledges() {
    let mut t = read();
    // Not pending, or not there at all.
    t.counted("XACKDEL s g IDS 2 5-0 9-0", "*2 :-1 :-1", [1, 0, 0, 0]);
    t.counted("XACKDEL s nog IDS 1 1-0", "*1 :-1", [1, 0, 0, 0]);
    t.counted("XACKDEL nokey g IDS 2 1-0 2-0", "*2 :-1 :-1", [0, 1, 0, 0]);
    t.counted("XACKDEL s g IDS 2 1-0 1-0", "*2 :1 :-1", [1, 0, 1, 0]);
    t.run("XLEN s").is(":4");
    t.run("XPENDING s g")
        .is("*4 :3 $3 2-0 $3 4-0 *2 *2 $5 alice $1 2 *2 $3 bob $1 1");
    // Deleted before: there is only something to be acknowledged.
    t.run("XDEL s 2-0");
    t.run("XACKDEL s g KEEPREF IDS 1 2-0").is("*1 :1");
    t.run("XLEN s").is(":3");
}

#[test]
fn xackdel_keeps_or_deletes_what_other_groups_know() {
    let mut t = read();
    t.run("XGROUP CREATE s h 0");
    t.run("XREADGROUP GROUP h carol COUNT 3 STREAMS s >");
    t.run("XACKDEL s g KEEPREF IDS 1 1-0").is("*1 :1");
    t.run("XPENDING s h - + 9 carol").has("$3 1-0");
    t.run("XACKDEL s g delref IDS 1 2-0").is("*1 :1");
    t.run("XPENDING s h")
        .is("*4 :2 $3 1-0 $3 3-0 *1 *2 $5 carol $1 2");
    // Pending with h, then not yet read by it.
    t.run("XACKDEL s g ACKED IDS 2 3-0 4-0").is("*2 :2 :2");
    t.run("XLEN s").is(":3");
    t.run("XPENDING s g").is("*4 :0 $-1 $-1 *-1");
    t.run("XACKDEL s h ACKED IDS 1 3-0").is("*1 :1");
    t.run("XLEN s").is(":2");
    // What hangs on in other groups goes, too, though there is no entry any more.
    t.run("XGROUP CREATE s i 0");
    for group in ["h", "i"] {
        t.run(&format!("XREADGROUP GROUP {group} carol STREAMS s >"));
    }
    t.run("XDEL s 5-0");
    t.run("XACKDEL s h DELREF IDS 1 5-0").is("*1 :1");
    t.run("XPENDING s i")
        .is("*4 :1 $3 4-0 $3 4-0 *1 *2 $5 carol $1 1");
}

#[test]
fn xackdel_refuses_bad_requests() {
    let mut t = read();
    for (line, reply) in [
        ("IDS 0 1-0", "-ERR Number of IDs must be a positive integer"),
        (
            "IDS -1 1-0",
            "-ERR Number of IDs must be a positive integer",
        ),
        ("IDS x 1-0", "-ERR Number of IDs must be a positive integer"),
        (
            "IDS 2 1-0",
            "-ERR The `numids` parameter must match the number of arguments",
        ),
        (
            "IDS 9223372036854775807 1-0",
            "-ERR The `numids` parameter must match the number of arguments",
        ),
        ("IDS 1 1-0 2-0", "-ERR syntax error"),
        ("IDS 1 1-0 IDS 1 2-0", "-ERR syntax error"),
        ("BOGUS IDS 1 1-0", "-ERR syntax error"),
        ("ACKED DELREF IDS 1 1-0", "-ERR syntax error"),
        ("KEEPREF ACKED 1 1-0", "-ERR syntax error"),
        (
            "IDS 2 1-0 x",
            "-ERR Invalid stream ID specified as stream command argument",
        ),
        (
            "1-0",
            "-ERR wrong number of arguments for 'xackdel' command",
        ),
    ] {
        t.run(&format!("XACKDEL s g {line}")).is(reply);
    }
    t.run("SET str v");
    t.run("XACKDEL str g BOGUS x y")
        .is("-WRONGTYPE Operation against a key holding the wrong kind of value");
    t.run("XPENDING s g").has(":4");
    t.run("XLEN s").is(":5");
}

/// Nothing is set aside for a count, though Redis's limits hold.
#[test]
fn xautoclaim_takes_large_counts() {
    let mut t = read();
    t.run("XAUTOCLAIM s g c 0 2 COUNT 68719476736 JUSTID")
        .is("*3 $3 0-0 *3 $3 2-0 $3 3-0 $3 4-0 *0");
    for count in [68_719_476_737, 576_460_752_303_423_487_i64] {
        let line = format!("XAUTOCLAIM s g c 0 0 COUNT {count}");
        t.run(&line).is(
            "-ERR Insufficient memory, failed allocating transient memory, \
                         COUNT too high.",
        );
    }
    for count in [576_460_752_303_423_488, i64::MAX, i64::MIN] {
        t.run(&format!("XAUTOCLAIM s g c 0 0 COUNT {count}"))
            .is("-ERR COUNT must be > 0");
    }
}

/// `lag.txt`: what became of a stream, then how far each of its groups has read: id, count, lag, as
/// Valkey 9.1.2 said.
#[test]
fn progress_is_counted_as_valkey_does() {
    let mut t = Test::new();
    let mut known = 0;
    for line in include_str!("lag.txt").lines() {
        if line.starts_with("## ") {
            t = Test::new();
            continue;
        }
        let (request, groups) = line.split_once('\t').unwrap_or((line, ""));
        let reply = t.run(request).text();
        assert!(!reply.starts_with('-'), "{request}: {reply}");
        if groups.is_empty() {
            continue;
        }
        let reply = t.run("XINFO GROUPS s").text();
        let words: Vec<&str> = reply.split(' ').collect();
        let after = |at: usize, word: &str| {
            let word = words[at..].iter().position(|it| *it == word);
            at + word.expect("the figure's name") + 1
        };
        let (mut at, mut ours) = (0, Vec::new());
        while words[at..].contains(&"last-delivered-id") {
            let id = after(at, "last-delivered-id");
            let (read, lag) = (after(id, "entries-read"), after(id, "lag"));
            let figure = |at: usize| words[at].strip_prefix(':').unwrap_or("?");
            ours.push(format!(
                "{} {} {}",
                words[id + 1],
                figure(read),
                figure(lag)
            ));
            at = lag;
        }
        assert_eq!(ours.join(", "), groups, "{request}");
        known += groups.matches(',').count() + 1;
    }
    assert!(known > 500, "{known}");
}
