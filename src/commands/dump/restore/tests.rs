//! Tests of RESTORE. Replies and their order are those of Valkey 9.1.2, but for the version 12 of
//! Redis 8, which Kivi takes.

use crate::commands::tests::{START_MS, Test};
use crate::persist::rdb::format::crc64;

/// The payload that DUMP answers.
fn dump(t: &mut Test, key: &str) -> Vec<u8> {
    let reply = t.args(&[b"DUMP", key.as_bytes()]).0;
    let head = reply.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    reply[head..].strip_suffix(b"\r\n").unwrap().to_vec()
}

fn payload(body: &[u8], version: u16) -> Vec<u8> {
    let mut bytes = body.to_vec();
    bytes.extend_from_slice(&version.to_le_bytes());
    let checksum = crc64(0, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

#[track_caller]
fn restore(t: &mut Test, key: &str, ttl: &str, payload: &[u8], options: &str, reply: &str) {
    let mut args: Vec<&[u8]> = vec![b"RESTORE", key.as_bytes(), ttl.as_bytes(), payload];
    args.extend(options.split_ascii_whitespace().map(str::as_bytes));
    t.args(&args).is(reply);
}

#[test]
fn what_was_dumped_is_restored() {
    let mut t = Test::new();
    for (make, look) in [
        ("SET k hello", "GET"),
        ("SET k 12345", "GET"),
        ("RPUSH k a b 3 4", "LRANGE 0 -1"),
        ("SADD k 1 2 3", "SMEMBERS"),
        ("SADD k a b 3", "SMEMBERS"),
        ("HSET k f v g 12", "HGETALL"),
        ("ZADD k 1 a 2.5 b -inf c", "ZRANGE 0 -1 WITHSCORES"),
    ] {
        t.run("FLUSHALL");
        t.run(make);
        let payload = dump(&mut t, "k");
        restore(&mut t, "copy", "0", &payload, "", "+OK");
        let (command, rest) = look.split_once(' ').unwrap_or((look, ""));
        let (old, new) = (
            t.run(&format!("{command} k {rest}")).text(),
            t.run(&format!("{command} copy {rest}")).text(),
        );
        assert_eq!(old, new, "{make}");
        let encoding = t.run("OBJECT ENCODING k").text();
        t.run("OBJECT ENCODING copy").is(&encoding);
        assert_eq!(dump(&mut t, "copy"), payload);
    }
}

#[test]
fn fields_keep_their_expiry() {
    let mut t = Test::new();
    t.run("HSET k f v g w");
    t.run("HPEXPIRE k 5000 FIELDS 1 f");
    let payload = dump(&mut t, "k");
    restore(&mut t, "copy", "0", &payload, "", "+OK");
    t.run("HPTTL copy FIELDS 2 f g").is("*2 :5000 :-1");
    t.clock.advance(5000);
    t.run("HGETALL copy").is("*2 $1 g $1 w");
    // All of its fields have expired.
    t.run("HSET h f v");
    t.run("HPEXPIRE h 10 FIELDS 1 f");
    let payload = dump(&mut t, "h");
    t.clock.advance(10);
    restore(&mut t, "gone", "0", &payload, "", "+OK");
    t.run("HGETALL gone").is("*0");
    t.session.server().keyspace.expire_due(t.clock.unix_ms());
    t.run("EXISTS gone").is(":0");
}

#[test]
fn errors_come_in_valkeys_order() {
    let mut t = Test::new();
    t.run("SET s hello");
    let good = dump(&mut t, "s");
    let busy = "-BUSYKEY Target key name already exists.";
    let footer = "-ERR DUMP payload version or checksum are wrong";
    let number = "-ERR value is not an integer or out of range";
    let syntax = "-ERR syntax error";
    restore(&mut t, "s", "0", &good, "", busy);
    restore(&mut t, "s", "x", b"junk", "", busy);
    restore(&mut t, "s", "x", b"junk", "bogus", syntax);
    restore(&mut t, "n", "x", b"junk", "", number);
    let negative = "-ERR Invalid TTL value, must be >= 0";
    restore(&mut t, "n", "-1", b"junk", "", negative);
    restore(&mut t, "n", "0", b"junk", "", footer);
    restore(&mut t, "s", "x", &good, "replace", number);
    restore(&mut t, "n", "0", &good, "idletime", syntax);
    restore(&mut t, "n", "0", &good, "idletime x", number);
    let idle = "-ERR Invalid IDLETIME value, must be >= 0";
    restore(&mut t, "n", "0", &good, "idletime -1", idle);
    restore(&mut t, "n", "0", &good, "freq x", number);
    let freq = "-ERR Invalid FREQ value, must be >= 0 and <= 255";
    restore(&mut t, "n", "0", &good, "freq 256", freq);
    restore(&mut t, "n", "0", &good, "freq -1", freq);
    restore(&mut t, "n", "0", &good, "freq 5 idletime 5", syntax);
    restore(&mut t, "n", "0", &good, "idletime 5 freq 5", syntax);
    restore(&mut t, "n", "0", &good, "bogus", syntax);
    t.run("RESTORE n 0")
        .is("-ERR wrong number of arguments for 'restore' command");
    t.run("EXISTS n").is(":0");
}

#[test]
fn bad_payloads_change_nothing() {
    let mut t = Test::new();
    t.run("SET s old");
    let footer = "-ERR DUMP payload version or checksum are wrong";
    let bad = "-ERR Bad data format";
    for body in [
        &b""[..],
        b"\0",
        b"\xFF",
        b"\0\x05hel",
        b"\x01\0",
        b"\x17\x01\x01a\x01b",
        b"\x0F\0",
    ] {
        restore(&mut t, "s", "0", &payload(body, 80), "replace", bad);
    }
    let string = b"\0\x05hello";
    for version in [0, 13, 79, 81, 100, 65535] {
        let payload = payload(string, version);
        restore(&mut t, "s", "0", &payload, "replace", footer);
    }
    let mut wrong = payload(string, 80);
    wrong[2] ^= 1;
    restore(&mut t, "s", "0", &wrong, "replace", footer);
    t.run("GET s").is("$3 old");
    for version in [1, 5, 9, 11, 12, 80] {
        restore(
            &mut t,
            "s",
            "0",
            &payload(string, version),
            "replace",
            "+OK",
        );
        t.run("GET s").is("$5 hello");
    }
}

#[test]
fn ttls_are_relative_or_absolute() {
    let mut t = Test::new();
    let string = payload(b"\0\x05hello", 80);
    restore(&mut t, "a", "100", &string, "", "+OK");
    t.run("PTTL a").is(":100");
    let at = (START_MS + 700).to_string();
    restore(&mut t, "b", &at, &string, "absttl", "+OK");
    t.run("PEXPIRETIME b").is(&format!(":{at}"));
    restore(&mut t, "a", "0", &string, "replace", "+OK");
    t.run("PTTL a").is(":-1");
    let end = i64::MAX.to_string();
    restore(&mut t, "c", &end, &string, "ABSTTL", "+OK");
    t.run("PEXPIRETIME c").is(&format!(":{end}"));
    // What has expired is not made, and takes the old one's place all the same.
    let now = START_MS.to_string();
    restore(&mut t, "gone", &now, &string, "absttl", "+OK");
    t.run("EXISTS gone").is(":0");
    restore(&mut t, "gone", &end, &string, "", "+OK");
    t.run("EXISTS gone").is(":0");
    restore(&mut t, "a", "1", &string, "absttl replace", "+OK");
    t.run("EXISTS a").is(":0");
}

#[test]
fn changes_are_counted_as_valkey_does() {
    let mut t = Test::new();
    let string = payload(b"\0\x05hello", 80);
    let line = |key: &str, rest: &str| {
        let quoted = string.escape_ascii().to_string();
        format!("RESTORE {key} {rest}").replace('%', &format!("\"{quoted}\""))
    };
    t.counted(&line("a", "0 %"), "+OK", [0, 0, 1, 0]);
    t.counted(&line("a", "0 % REPLACE"), "+OK", [0, 0, 1, 0]);
    t.counted(&line("a", "1 % REPLACE ABSTTL"), "+OK", [0, 0, 1, 0]);
    t.counted(&line("a", "1 % REPLACE ABSTTL"), "+OK", [0, 0, 0, 0]);
    t.counted(&line("a", "0 % BOGUS"), "-ERR syntax error", [0, 0, 0, 0]);
}

#[test]
fn idle_times_are_kept() {
    let mut t = Test::new();
    let string = payload(b"\0\x05hello", 80);
    for (option, idle) in [
        ("", 0),
        ("idletime 0", 0),
        ("idletime 100", 100),
        ("idletime 5 idletime 7", 7),
        ("idletime 16777215", 16_777_215),
        // The clock has 24 bits.
        ("idletime 16777216", 0),
        ("idletime 20000000", 3_222_784),
        ("idletime 9223372036854775807", 16_777_215),
        ("freq 5", 0),
    ] {
        let options = format!("replace {option}");
        restore(&mut t, "k", "0", &string, &options, "+OK");
        t.run("OBJECT IDLETIME k").is(&format!(":{idle}"));
    }
}

#[test]
fn a_client_that_waits_for_the_key_is_served() {
    let mut t = Test::new();
    t.run("RPUSH list a b");
    let list = dump(&mut t, "list");
    let mut waiting = t.client();
    let waiter = waiting.blocks("BLPOP k 0");
    restore(&mut t, "k", "0", &list, "", "+OK");
    waiting.waited(&waiter).unwrap().is("*2 $1 k $1 a");
    t.run("LRANGE k 0 -1").is("*1 $1 b");
}

#[test]
fn limits_are_those_of_this_server() {
    let mut t = Test::with(&["--hash-max-listpack-entries", "1"]);
    let hash = payload(b"\x04\x02\x01a\x01b\x01c\x01d", 9);
    restore(&mut t, "h", "0", &hash, "", "+OK");
    t.run("OBJECT ENCODING h").is("$9 hashtable");
}

#[test]
fn idle_time_and_frequency_count_where_they_are_measured() {
    let mut t = Test::new();
    t.run("SET v 1");
    let payload = dump(&mut t, "v");
    for maxmemory in ["0", "100gb"] {
        t.run(&format!("CONFIG SET maxmemory {maxmemory}"))
            .is("+OK");
        for (policy, options, idle, freq) in [
            ("allkeys-lru", "IDLETIME 1000", Some(":1000"), None),
            ("allkeys-lru", "FREQ 77", Some(":0"), None),
            ("volatile-lrm", "IDLETIME 16777215", Some(":16777215"), None),
            ("noeviction", "IDLETIME 16777217", Some(":1"), None),
            ("allkeys-lfu", "FREQ 0", None, Some(":0")),
            ("allkeys-lfu", "FREQ 255", None, Some(":255")),
            ("allkeys-lfu", "IDLETIME 1000", None, Some(":5")),
            ("volatile-lfu", "", None, Some(":5")),
        ] {
            t.run(&format!("CONFIG SET maxmemory-policy {policy}"))
                .is("+OK");
            let options = format!("REPLACE {options}");
            restore(&mut t, "k", "0", &payload, &options, "+OK");
            if let Some(idle) = idle {
                t.run("OBJECT IDLETIME k").is(idle);
            }
            if let Some(freq) = freq {
                t.run("OBJECT FREQ k").is(freq);
            }
        }
    }
}
