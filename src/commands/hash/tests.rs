//! Replies and changes of every hash command, most of them as Valkey 9.1.2 gave them: `valkey.txt`
//! is a transcript of a real server, one request a line with its reply, then how far it moved
//! rdb_changes_since_last_save, keyspace_hits, keyspace_misses and expired_keys. `!sleep` lets so
//! many milliseconds pass. It is run once as it is, and once with all hashes as tables.

use std::collections::BTreeMap;

use crate::commands::tests::propagation::Logged;
use crate::commands::tests::{START_MS, Test};
use crate::resp::read::Reply;

const TRANSCRIPT: &str = include_str!("valkey.txt");

/// Runs the transcript; `tables` makes every hash a table from the start. How many requests ran.
fn run_transcript(tables: bool) -> usize {
    let mut t = Test::new();
    let (mut section, mut requests) = ("", 0);
    for line in TRANSCRIPT.lines() {
        if line.starts_with("## ") {
            section = line;
            t = Test::new();
            if tables {
                t.run("CONFIG SET hash-max-listpack-entries 0").is("+OK");
            }
            continue;
        }
        if let Some(ms) = line.strip_prefix("!sleep ") {
            t.clock.advance(ms.parse().unwrap());
            continue;
        }
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("three fields");
        let (request, reply, moved) = (field(), field(), field());
        if tables && only_for_listpacks(section, request) {
            continue;
        }
        requests += 1;
        let [hits, misses, changes, expired] = t.counts();
        let before = [changes, hits, misses, expired];
        let ours = t.run(request).text();
        if request == "hello 3" {
            continue;
        }
        let reply = reply.replace("\\0", "\0");
        if is_ordered(request) {
            assert_eq!(ours, reply, "{section}: {request}");
        } else {
            assert_eq!(parts(&ours), parts(&reply), "{section}: {request}");
        }
        let [hits, misses, changes, expired] = t.counts();
        let after = [changes, hits, misses, expired];
        let difference: Vec<String> = (0..4).map(|i| (after[i] - before[i]).to_string()).collect();
        assert_eq!(difference.join(" "), moved, "{section}: {request}");
    }
    requests
}

/// What says something about short hashes.
fn only_for_listpacks(section: &str, request: &str) -> bool {
    section.ends_with("enc")
        || section.ends_with("encoding")
        || request.starts_with("object encoding")
        // A table keeps to COUNT and to the cursor.
        || request.starts_with("hscan h 5")
        || request.starts_with("hscan h 18446744073709551615")
        || request.starts_with("hscan") && request.ends_with("count 1")
}

/// The order of fields in a table is nobody's business.
fn is_ordered(request: &str) -> bool {
    let unordered = ["hgetall", "hkeys", "hvals", "hscan", "hrandfield"];
    !unordered.iter().any(|name| request.starts_with(name))
}

fn parts(reply: &str) -> Vec<&str> {
    // An empty text at the end of a reply has been cut off.
    let mut parts: Vec<&str> = reply.split(' ').filter(|part| !part.is_empty()).collect();
    parts.sort_unstable();
    parts
}

#[test]
fn everything_is_as_valkey_answers_it() {
    assert!(run_transcript(false) > 950);
}

#[test]
fn a_table_answers_as_a_listpack_does() {
    assert!(run_transcript(true) > 800);
}

#[test]
fn every_row_is_in_the_transcript() {
    let transcript = TRANSCRIPT.to_ascii_lowercase();
    for row in super::COMMANDS {
        let start = format!("\n{} ", row.name);
        assert!(transcript.contains(&start), "{}", row.name);
        assert!(!row.docs.summary.is_empty() && !row.docs.complexity.is_empty());
        assert!(!row.docs.syntax.is_empty() && !row.docs.since.is_empty());
    }
    assert_eq!(super::COMMANDS.len(), 28);
}

/// Fields of the reply to HGETALL or HSCAN.
fn pairs(elements: &[Reply]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let text = |reply: &Reply| match reply {
        Reply::Bulk(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    elements
        .chunks(2)
        .map(|pair| (text(&pair[0]), text(&pair[1])))
        .collect()
}

fn parsed(t: &mut Test, line: &str) -> Reply {
    let mut replies = Reply::parse_all(&t.run(line).0).expect("a well-formed reply");
    assert_eq!(replies.len(), 1, "{line}");
    replies.remove(0)
}

fn elements(reply: Reply) -> Vec<Reply> {
    match reply {
        Reply::Array(elements) => elements,
        other => panic!("{other:?}"),
    }
}

/// A hash `h` of so many fields, `f0` to `v0` and so on.
fn filled(t: &mut Test, fields: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut model = BTreeMap::new();
    for i in 0..fields {
        let (field, value) = (format!("f{i}"), format!("v{i}"));
        t.run(&format!("HSET h {field} {value}")).is(":1");
        model.insert(field.into_bytes(), value.into_bytes());
    }
    model
}

#[test]
fn hashes_of_all_sizes_are_read_whole() {
    for size in [1, 2, 511, 512, 513, 3000] {
        let mut t = Test::new();
        let model = filled(&mut t, size);
        let encoding = if size > 512 { "hashtable" } else { "listpack" };
        t.run("OBJECT ENCODING h")
            .is(&format!("${} {encoding}", encoding.len()));
        t.run("HLEN h").is(&format!(":{size}"));
        assert_eq!(pairs(&elements(parsed(&mut t, "HGETALL h"))), model);
        let keys = elements(parsed(&mut t, "HKEYS h"));
        let values = elements(parsed(&mut t, "HVALS h"));
        let both: Vec<Reply> = keys
            .into_iter()
            .zip(values)
            .flat_map(|(k, v)| [k, v])
            .collect();
        assert_eq!(pairs(&both), model);
        t.run("HELLO 3");
        match parsed(&mut t, "HGETALL h") {
            Reply::Map(found) => {
                let flat: Vec<Reply> = found.into_iter().flat_map(|(k, v)| [k, v]).collect();
                assert_eq!(flat.len(), 2 * size);
                assert_eq!(pairs(&flat), model);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_scan_returns_every_field_once() {
    for (size, count) in [(100, 10), (600, 1), (5000, 100), (5000, 100_000)] {
        let mut t = Test::new();
        let model = filled(&mut t, size);
        let (mut cursor, mut calls) = ("0".to_owned(), 0);
        let (mut all, mut names) = (Vec::new(), Vec::new());
        loop {
            let line = format!("HSCAN h {cursor} COUNT {count}");
            let mut reply = elements(parsed(&mut t, &line));
            // The same places without their values.
            let mut without = elements(parsed(&mut t, &format!("{line} NOVALUES")));
            assert_eq!(reply[0], without[0]);
            all.append(&mut elements(reply.remove(1)));
            names.append(&mut elements(without.remove(1)));
            calls += 1;
            let Reply::Bulk(next) = reply.remove(0) else {
                panic!("no cursor")
            };
            cursor = String::from_utf8(next).unwrap();
            if cursor == "0" {
                break;
            }
            // Cursors fit into 48 bits: clients that keep them as doubles stay right.
            assert!(cursor.parse::<u64>().unwrap() < 1 << 48);
        }
        assert_eq!(all.len(), 2 * size);
        assert_eq!(pairs(&all), model);
        let every_second: Vec<Reply> = all.into_iter().step_by(2).collect();
        assert_eq!(names, every_second);
        assert_eq!(calls > 1, size > 512 && count < size, "{size} {count}");
        // Behind the end there is nothing.
        let beyond = format!("HSCAN h {} COUNT {count}", u64::MAX);
        if size > 512 {
            t.run(&beyond).is("*2 $1 0 *0");
        }
    }
}

#[test]
fn scans_match_patterns_in_tables() {
    let mut t = Test::new();
    filled(&mut t, 600);
    t.run("HSCAN h 0 COUNT 100000 MATCH f59[0-9]5")
        .is("*2 $1 0 *0");
    let found = elements(parsed(&mut t, "HSCAN h 0 COUNT 100000 MATCH f59?"));
    assert_eq!(elements(found[1].clone()).len(), 20);
    let found = elements(parsed(&mut t, "HSCAN h 0 COUNT 100000 MATCH f59? NOVALUES"));
    assert_eq!(elements(found[1].clone()).len(), 10);
}

#[test]
fn random_fields_are_different_or_repeated_as_asked() {
    for size in [1, 7, 600] {
        let mut t = Test::new();
        let model = filled(&mut t, size);
        for count in [1, 2, 6, 7, 150, 599, 600, 601, 100_000] {
            let reply = elements(parsed(&mut t, &format!("HRANDFIELD h {count} WITHVALUES")));
            let found = pairs(&reply);
            assert_eq!(found.len(), count.min(size));
            assert_eq!(reply.len(), 2 * found.len(), "no field twice");
            assert!(
                found
                    .iter()
                    .all(|(field, value)| model.get(field) == Some(value))
            );
            let names = elements(parsed(&mut t, &format!("HRANDFIELD h {count}")));
            assert_eq!(names.len(), count.min(size));
        }
        for count in [1, 3, 2000] {
            let line = format!("HRANDFIELD h -{count} WITHVALUES");
            let reply = elements(parsed(&mut t, &line));
            assert_eq!(reply.len(), 2 * count);
            let found = pairs(&reply);
            assert!(
                found
                    .iter()
                    .all(|(field, value)| model.get(field) == Some(value))
            );
            let most = if count == 2000 { size / 2 + 1 } else { 1 };
            assert!(found.len() >= most.min(size), "{} of {size}", found.len());
        }
        let one = t.run("HRANDFIELD h").text();
        assert!(
            one.starts_with('$') && model.contains_key(&one.as_bytes()[3..]),
            "{one}"
        );
    }
}

#[test]
fn a_reply_of_repetitions_has_an_end() {
    let mut t = Test::new();
    t.run("HSET h a 1").is(":1");
    for count in [i64::MIN + 1, -1_000_000_000] {
        t.run(&format!("HRANDFIELD h {count}"))
            .is("-ERR value is out of range");
        t.run(&format!("HRANDFIELD nokey {count}")).is("*0");
    }
    let long = vec![b'x'; 60_000];
    t.args(&[b"HSET", b"h", b"a", &long]).is(":0");
    // Long values are sent from where they are, and still are as much of a reply.
    t.run("HRANDFIELD h -20000 WITHVALUES")
        .is("-ERR value is out of range");
    t.run("HRANDFIELD h -2").is("*2 $1 a $1 a");
}

#[test]
fn expired_fields_do_not_count() {
    let mut t = Test::new();
    filled(&mut t, 3000);
    for i in 0..2000 {
        t.run(&format!("HPEXPIRE h {} FIELDS 1 f{i}", 10 + i % 2))
            .is("*1 :1");
    }
    t.run("HLEN h").is(":3000");
    t.clock.advance(10);
    t.run("HLEN h").is(":2000");
    t.clock.advance(1);
    t.run("HLEN h").is(":1000");
    assert_eq!(pairs(&elements(parsed(&mut t, "HGETALL h"))).len(), 1000);
    assert_eq!(elements(parsed(&mut t, "HRANDFIELD h 100000")).len(), 1000);
    assert_eq!(elements(parsed(&mut t, "HKEYS h")).len(), 1000);
    assert_eq!(elements(parsed(&mut t, "HVALS h")).len(), 1000);
    t.run("HSET one a 1 b 2").is(":2");
    t.run("HPEXPIRE one 5 FIELDS 2 a b").is("*2 :1 :1");
    t.clock.advance(5);
    t.run("HLEN one").is(":0");
    t.run("EXISTS one").is(":0");
}

#[test]
fn all_readers_pass_over_expired_fields() {
    let mut t = Test::new();
    filled(&mut t, 600);
    for i in 0..590 {
        t.run(&format!("HPEXPIRE h 10 FIELDS 1 f{i}")).is("*1 :1");
    }
    t.clock.advance(10);
    let all = elements(parsed(&mut t, "HGETALL h"));
    assert_eq!(pairs(&all).len(), 10);
    assert_eq!(elements(parsed(&mut t, "HKEYS h")).len(), 10);
    let scanned = elements(parsed(&mut t, "HSCAN h 0 COUNT 1000"));
    assert_eq!(elements(scanned[1].clone()).len(), 20);
    let random = elements(parsed(&mut t, "HRANDFIELD h -50 WITHVALUES"));
    assert!(
        pairs(&random)
            .keys()
            .all(|field| pairs(&all).contains_key(field))
    );
    assert_eq!(elements(parsed(&mut t, "HRANDFIELD h 4")).len(), 4);
    assert_eq!(elements(parsed(&mut t, "HRANDFIELD h 40")).len(), 10);
}

#[test]
fn fields_expire_in_the_background() {
    let mut t = Test::new();
    t.run("HSETEX h PX 10 FIELDS 2 a 1 b 2").is(":1");
    t.run("HSETEX h PX 20 FIELDS 1 c 3").is(":1");
    let expire = |t: &Test| t.session.server().keyspace.expire_due(t.clock.unix_ms());
    assert_eq!(expire(&t), START_MS + 10);
    t.clock.advance(10);
    assert_eq!(expire(&t), START_MS + 20);
    t.run("HPEXPIRE h 5 FIELDS 1 c").is("*1 :1");
    assert_eq!(
        t.session.server().keyspace.next_expire_at_ms(),
        START_MS + 15
    );
    t.clock.advance(5);
    expire(&t);
    t.run("EXISTS h").is(":0");
    // A copy expires by itself, and so does what was renamed.
    t.run("HSETEX h PX 10 FIELDS 1 a 1").is(":1");
    t.run("COPY h copy").is(":1");
    t.run("RENAME h renamed").is("+OK");
    t.clock.advance(10);
    expire(&t);
    t.run("DBSIZE").is(":0");
}

#[test]
fn large_values_are_values_like_others() {
    let mut t = Test::new();
    let long = vec![b'x'; 100_000];
    let bulk = [format!("${}\r\n", long.len()).as_bytes(), &long, b"\r\n"].concat();
    t.args(&[b"HSET", b"h", &long, &long]).is(":1");
    t.run("OBJECT ENCODING h").is("$9 hashtable");
    assert_eq!(t.args(&[b"HGET", b"h", &long]).0, bulk);
    assert_eq!(t.run("HVALS h").0, [b"*1\r\n", &bulk[..]].concat());
    assert_eq!(t.run("HKEYS h").0, [b"*1\r\n", &bulk[..]].concat());
    t.args(&[b"HSTRLEN", b"h", &long]).is(":100000");
    t.args(&[b"HINCRBY", b"h", &long, b"1"])
        .is("-ERR hash value is not an integer");
    t.args(&[b"HSET", b"h", &long, b"1"]).is(":0");
    t.args(&[b"HINCRBY", b"h", &long, b"1"]).is(":2");
    t.args(&[b"HDEL", b"h", &long]).is(":1");
    t.run("EXISTS h").is(":0");
    // A listpack of more than 16 KiB.
    t.run("CONFIG SET hash-max-listpack-value 1000000")
        .is("+OK");
    t.args(&[b"HSET", b"h", b"a", &long, b"b", b"1"]).is(":2");
    t.run("OBJECT ENCODING h").is("$8 listpack");
    assert_eq!(t.run("HGET h a").0, bulk);
    t.run("HINCRBY h b 41").is(":42");
    t.run("COPY h c").is(":1");
    t.run("HSET h a 1 b 2").is(":0");
    t.run("HGETALL h").is("*4 $1 a $1 1 $1 b $1 2");
    assert_eq!(t.run("HGET c a").0, bulk);
}

#[test]
fn fields_and_values_are_any_bytes() {
    for entries in [512, 0] {
        let mut t = Test::new();
        t.run(&format!("CONFIG SET hash-max-listpack-entries {entries}"))
            .is("+OK");
        let texts: Vec<Vec<u8>> = vec![
            vec![],
            (0..=255).collect(),
            b"\r\n".to_vec(),
            b"0".to_vec(),
            b"-0".to_vec(),
            b"00".to_vec(),
            b" 1".to_vec(),
            i64::MIN.to_string().into_bytes(),
            i64::MAX.to_string().into_bytes(),
            b"9223372036854775808".to_vec(),
            b"1234567".to_vec(),
            b"12345678".to_vec(),
            b"-12345678".to_vec(),
        ];
        for field in &texts {
            for value in &texts {
                let (field, value) = (&field[..], &value[..]);
                t.args(&[b"HSET", b"h", field, value]);
                let bulk = [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat();
                assert_eq!(t.args(&[b"HGET", b"h", field]).0, bulk);
                t.args(&[b"HSTRLEN", b"h", field])
                    .is(&format!(":{}", value.len()));
            }
        }
        t.run("HLEN h").is(&format!(":{}", texts.len()));
    }
}

#[test]
fn a_relative_time_that_only_now_makes_too_large_is_refused() {
    let mut t = Test::new();
    t.run("HSET h a 1").is(":1");
    let most = (i64::MAX as u64 - START_MS) / 1000;
    t.run(&format!("HEXPIRE h {most} FIELDS 1 a")).is("*1 :1");
    t.run(&format!("HEXPIRE h {} FIELDS 1 a", most + 1))
        .is("-ERR invalid expire time in 'hexpire' command");
    let most = i64::MAX as u64 - START_MS;
    t.run(&format!("HPEXPIRE h {most} FIELDS 1 a")).is("*1 :1");
    t.run("HPEXPIRETIME h FIELDS 1 a")
        .is("*1 :9223372036854775807");
    t.run("HEXPIRETIME h FIELDS 1 a").is("*1 :9223372036854776");
    t.run(&format!("HSETEX h PX {} FIELDS 1 a 1", most + 1))
        .is("-ERR invalid expire time in 'hsetex' command");
    t.run(&format!("HGETEX h PX {} FIELDS 1 a", most + 1))
        .is("-ERR invalid expire time in 'hgetex' command");
    t.run("HPTTL h FIELDS 1 a").is(&format!("*1 :{most}"));
}

#[test]
fn float_sums_of_any_size() {
    let mut t = Test::new();
    t.run("HINCRBYFLOAT h a 1e4931").text();
    let digits = t.run("HGET h a").text();
    assert!(
        digits.len() > 4900 && digits.starts_with("$4932 1"),
        "{}",
        &digits[..20]
    );
    t.run("OBJECT ENCODING h").is("$9 hashtable");
    t.run("HINCRBYFLOAT h a -1e4931").is("$1 0");
}

#[test]
fn hlen_counts_the_fields_that_it_takes_out() {
    let mut t = Test::new();
    t.run("DEBUG SET-ACTIVE-EXPIRE 0").is("+OK");
    t.run("HSETEX h PX 5 FIELDS 2 a 1 b 2").is(":1");
    t.run("HSET h c 3").is(":1");
    t.clock.advance(5);
    t.run("HLEN h").is(":1");
    t.run("INFO stats").has("expired_fields:2");
}

/// As Valkey 9.1.2 with DEBUG SET-ACTIVE-EXPIRE 0: the hash is there, its field is not.
#[test]
fn hsetex_conditions_on_a_hash_whose_fields_have_expired() {
    for (options, reply, becomes_new) in [
        ("NX", ":0", false),
        ("XX", ":1", true),
        ("FNX", ":1", true),
        ("FXX", ":0", false),
        ("NX FNX", ":0", false),
        ("XX FNX", ":1", true),
        ("XX FXX", ":0", false),
        ("XX KEEPTTL", ":1", true),
        ("NX EX abc", ":0", false),
        (
            "XX EX -1",
            "-ERR invalid expire time in 'hsetex' command",
            false,
        ),
    ] {
        for field in ["a", "b"] {
            let mut logged = Logged::new();
            let mut unlogged = Test::new();
            for t in [&mut logged.test, &mut unlogged] {
                t.run("DEBUG SET-ACTIVE-EXPIRE 0").is("+OK");
                t.run("HSETEX h PX 5 FIELDS 1 a 1").is(":1");
                t.clock.advance(10);
                let request = format!("HSETEX h {options} FIELDS 1 {field} 2");
                assert_eq!(t.run(&request).text(), reply, "{request}");
                t.run("HGETALL h").is(&match becomes_new {
                    true => format!("*2 $1 {field} $1 2"),
                    false => "*0".into(),
                });
            }
            logged.test.run("DEBUG SET-ACTIVE-EXPIRE 1").is("+OK");
            logged.repeats();
        }
    }
}

/// As Valkey 9.1.2 with DEBUG SET-ACTIVE-EXPIRE 0, with a log and without: the only field of a hash has expired,
/// what is told of it, and what is there then. The hash keeps its own expiry, also when the log is repeated.
#[test]
fn a_hash_whose_last_field_has_expired_keeps_its_own_expiry() {
    for (request, reply, fields) in [
        ("HSETNX h f w", ":1", Some("*2 $1 f $1 w")),
        ("HSET h f w", ":1", Some("*2 $1 f $1 w")),
        ("HSET h g w", ":1", Some("*2 $1 g $1 w")),
        ("HINCRBY h f 1", ":1", Some("*2 $1 f $1 1")),
        ("HINCRBYFLOAT h f 1.5", "$3 1.5", Some("*2 $1 f $3 1.5")),
        ("HDEL h f", ":0", Some("*0")),
        ("HDEL h g f f", ":0", Some("*0")),
        ("HGETDEL h FIELDS 1 f", "*1 $-1", Some("*0")),
        ("HSETEX h FIELDS 1 f v", ":1", Some("*2 $1 f $1 v")),
        ("HSETEX h FNX FIELDS 1 f v", ":1", Some("*2 $1 f $1 v")),
        ("HSETEX h FXX FIELDS 1 f v", ":0", Some("*0")),
        ("HSETEX h KEEPTTL FIELDS 1 f v", ":1", Some("*2 $1 f $1 v")),
        (
            "HSETEX h KEEPTTL FIELDS 3 f u g w f v",
            ":1",
            Some("*4 $1 f $1 v $1 g $1 w"),
        ),
        ("HSETEX h FXX KEEPTTL FIELDS 1 f v", ":0", Some("*0")),
        ("HSETEX h PXAT 1 FIELDS 1 f v", ":1", None),
        ("HEXPIRE h 100 FIELDS 1 f", "*1 :-2", Some("*0")),
        ("HPEXPIREAT h 1 FIELDS 1 f", "*1 :-2", Some("*0")),
        ("HPERSIST h FIELDS 1 f", "*1 :-2", Some("*0")),
        ("HGETEX h EX 10 FIELDS 1 f", "*1 $-1", Some("*0")),
        ("HGETEX h PERSIST FIELDS 1 f", "*1 $-1", Some("*0")),
    ] {
        let mut logged = Logged::new();
        let mut unlogged = Test::new();
        for t in [&mut logged.test, &mut unlogged] {
            t.run("DEBUG SET-ACTIVE-EXPIRE 0").is("+OK");
            t.run("HSETEX h PX 5 FIELDS 1 f 5").is(":1");
            t.run("PEXPIRE h 1000").is(":1");
            t.clock.advance(10);
            assert_eq!(t.run(request).text(), reply, "{request}");
            let ttl = t.run("PTTL h").text();
            let kept = fields.map_or(":-2", |_| ":990");
            assert_eq!(ttl, kept, "{request}");
            let mut all = t.run("HGETALL h").text();
            if all == "*4 $1 g $1 w $1 f $1 v" {
                all = "*4 $1 f $1 v $1 g $1 w".into();
            }
            assert_eq!(all, fields.unwrap_or("*0"), "{request}");
            let none = t.run("HPTTL h FIELDS 1 f").text();
            assert!(
                ["*1 :-1", "*1 :-2"].contains(&&none[..]),
                "{request}: {none}"
            );
        }
        logged.test.run("DEBUG SET-ACTIVE-EXPIRE 1").is("+OK");
        logged.repeats();
    }
}

/// Some of the fields that are named have expired, others have not: the log names those.
#[test]
fn fields_that_had_expired_are_not_revived_by_the_log() {
    for request in [
        "HDEL h f g",
        "HGETDEL h FIELDS 2 f g",
        "HEXPIRE h 100 FIELDS 2 f g",
        "HPEXPIREAT h 99999999999999 XX FIELDS 2 f g",
        "HPEXPIREAT h 1 FIELDS 2 f g",
        "HPERSIST h FIELDS 2 f g",
        "HGETEX h PX 100 FIELDS 2 f g",
        "HGETEX h PXAT 1 FIELDS 2 f g",
        "HSETEX h KEEPTTL FIELDS 2 f 1 g 2",
        "HSETEX h FNX KEEPTTL FIELDS 1 f 1",
        "HSETEX h PXAT 1 FIELDS 2 f 1 g 2",
    ] {
        for more in [None, Some("HSET h i 1")] {
            let mut logged = Logged::new();
            let t = &mut logged.test;
            t.run("DEBUG SET-ACTIVE-EXPIRE 0").is("+OK");
            t.run("HSETEX h PX 5 FIELDS 1 f 5").is(":1");
            t.run("HSETEX h PX 500 FIELDS 1 g 5").is(":1");
            if let Some(more) = more {
                t.run(more).is(":1");
            }
            t.run("PEXPIRE h 1000").is(":1");
            t.clock.advance(10);
            let reply = t.run(request).text();
            assert!(!reply.starts_with('-'), "{request}: {reply}");
            t.run("DEBUG SET-ACTIVE-EXPIRE 1").is("+OK");
            logged.repeats();
            // Also that nothing of it shows when the other field has gone.
            logged.test.clock.advance(490);
            logged.repeats();
        }
    }
}

#[test]
fn however_few_are_drawn_a_reply_has_its_limit() {
    let long = "x".repeat(4 << 20);
    for (pair, options) in [
        (format!("{long} v"), ""),
        (format!("f {long}"), " WITHVALUES"),
    ] {
        let mut t = Test::new();
        t.run(&format!("HSET k {pair}"));
        let reply = t.run(&format!("HRANDFIELD k -140{options}")).text();
        let is_refused = reply == "-ERR value is out of range";
        assert!(is_refused, "{} bytes{options}", reply.len());
    }
}
