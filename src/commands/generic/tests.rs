//! What Valkey 9.1.2 answered, except where a comment says otherwise.

use std::sync::Arc;

use crate::commands::tests::{START_MS, Test};
use crate::db::usage::Measure;
use crate::db::{Access, DbIndex, Lookup, Policy};
use crate::ds::entry::ValueRef;

impl Test {
    /// Runs a line whose reply does not matter.
    fn does(&mut self, line: &str) {
        self.run(line);
    }

    /// Makes a key that has expired.
    fn expired(&mut self, key: &str) {
        self.run(&format!("SET {key} old PX 1")).is("+OK");
        self.clock.advance(2);
    }

    /// The shared bytes of a large value.
    fn shared(&self, db: u32, key: &[u8]) -> Arc<Vec<u8>> {
        let keyspace = &self.session.server().keyspace;
        let locks = keyspace.lock_one(keyspace.hash(key));
        let mut access = Access::new(keyspace, locks, DbIndex(db), START_MS, false);
        let entry = access.find(key, Lookup::Silent).expect("the key is there");
        match entry.value() {
            ValueRef::Shared(bytes) => bytes.clone(),
            other => panic!("not shared: {other:?}"),
        }
    }
}

const NO_LFU: &str = "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
                      Please note that when switching between policies at runtime LRU and LFU data \
                      will take some time to adjust.";
const SAME: &str = "-ERR source and destination objects are the same";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_INT32: &str = "-ERR value is out of range, value must between -2147483648 and 2147483647";
const NO_DB: &str = "-ERR DB index is out of range";

#[track_caller]
fn wrong_arity(lines: &[&str]) {
    let mut t = Test::new();
    for line in lines {
        let words = line
            .split(' ')
            .take(1 + line.starts_with("OBJECT ") as usize);
        let name = words.collect::<Vec<_>>().join("|").to_lowercase();
        t.run(line).is(&format!(
            "-ERR wrong number of arguments for '{name}' command"
        ));
    }
}

#[test]
fn wrong_numbers_of_arguments() {
    wrong_arity(&[
        "COPY",
        "COPY a",
        "DEL",
        "EXISTS",
        "MOVE x",
        "MOVE x 1 2",
        "OBJECT",
        "OBJECT ENCODING",
        "OBJECT ENCODING a b",
        "OBJECT FREQ",
        "OBJECT HELP x",
        "OBJECT IDLETIME",
        "OBJECT REFCOUNT",
        "RENAME x",
        "RENAME x y z",
        "RENAMENX x",
        "TOUCH",
        "TYPE",
        "TYPE a b",
        "UNLINK",
    ]);
}

#[test]
fn copy_refuses_bad_options() {
    let mut t = Test::new();
    for (line, reply) in [
        ("COPY a b c", "-ERR syntax error"),
        ("COPY a b DB", "-ERR syntax error"),
        ("COPY a b REPLACE DB", "-ERR syntax error"),
        ("COPY a a foo", "-ERR syntax error"),
        ("COPY a b foo DB x", "-ERR syntax error"),
        ("COPY a b DB x", NOT_INTEGER),
        ("COPY a b DB 01", NOT_INTEGER),
        ("COPY a b DB 1 DB x", NOT_INTEGER),
        ("COPY a b DB 99999999999999999999", NOT_INTEGER),
        ("COPY a b DB 99999999999", NOT_INT32),
        ("COPY a b DB 2147483648", NOT_INT32),
        ("COPY a b DB -2147483649", NOT_INT32),
        ("COPY a b DB 2147483647", NO_DB),
        ("COPY a b DB 16", NO_DB),
        ("COPY a b DB -1", NO_DB),
        ("COPY a b DB 16 foo", NO_DB),
        ("COPY a a DB 16", NO_DB),
        ("COPY a a", SAME),
        ("COPY a a DB 0", SAME),
        ("COPY a a REPLACE", SAME),
    ] {
        t.counted(line, reply, [0; 4]);
    }
}

#[test]
fn copy_copies_value_and_expiry() {
    let mut t = Test::new();
    for line in [
        "COPY a b",
        "COPY a b DB 1",
        "COPY a a DB 1",
        "COPY a b REPLACE",
        "COPY a b replace Replace",
        "COPY a b DB 1 DB 0",
        "COPY a b db 1 REPLACE",
        "COPY a b REPLACE DB 1",
    ] {
        t.counted(line, ":0", [0, 1, 0, 0]);
    }
    t.does("SET a 1 EX 100");
    t.does("SET b 2");
    t.counted("COPY a b", ":0", [1, 0, 0, 0]);
    t.run("GET b").is("$1 2");
    t.counted("COPY a b REPLACE", ":1", [1, 0, 1, 0]);
    t.run("TTL b").is(":100");
    t.run("GET b").is("$1 1");
    t.counted("COPY a b DB 1", ":1", [1, 0, 1, 0]);
    t.counted("COPY a b DB 1", ":0", [1, 0, 0, 0]);
    t.counted("COPY a b DB 1 REPLACE", ":1", [1, 0, 1, 0]);
    t.counted("COPY a a DB 1", ":1", [1, 0, 1, 0]);
    t.run("SELECT 1").is("+OK");
    t.run("MGET a b").is("*2 $1 1 $1 1");
    t.run("TTL a").is(":100");
    // The copy is another key's: neither sees what the other becomes.
    t.run("SET a 5").is("+OK");
    t.run("COPY a b DB 0 REPLACE").is(":1");
    t.run("SELECT 0").is("+OK");
    t.run("MGET a b").is("*2 $1 1 $1 5");
    t.run("TTL b").is(":-1");
}

#[test]
fn copy_takes_expired_keys_for_missing() {
    let mut t = Test::new();
    t.does("SET a 1");
    t.expired("e");
    t.counted("COPY e f", ":0", [0, 1, 0, 1]);
    t.run("EXISTS e f").is(":0");
    t.expired("e");
    t.counted("COPY a e", ":1", [1, 0, 1, 1]);
    t.run("TTL e").is(":-1");
    t.expired("e");
    t.counted("COPY a e REPLACE", ":1", [1, 0, 1, 1]);
}

#[test]
fn large_values_are_shared_and_handed_over() {
    let mut t = Test::new();
    let big = vec![b'x'; 20_000];
    t.args(&[b"SET", b"big", &big]).is("+OK");
    let bytes = t.shared(0, b"big");
    t.run("COPY big copy").is(":1");
    t.run("COPY big big DB 3").is(":1");
    t.run("RENAME big renamed").is("+OK");
    t.run("MOVE renamed 2").is(":1");
    for (db, key) in [(0, &b"copy"[..]), (3, b"big"), (2, b"renamed")] {
        assert!(Arc::ptr_eq(&bytes, &t.shared(db, key)), "{db}");
    }
    // A shared value is copied before it is changed.
    t.run("SETRANGE copy 0 y").is(":20000");
    t.run("GETRANGE copy 0 1").is("$2 yx");
    t.run("SELECT 3").is("+OK");
    t.run("GETRANGE big 0 1").is("$2 xx");
    assert_eq!(*bytes, big);
    // Copies that are gone leave the others whole.
    t.run("DEL big").is(":1");
    t.run("SELECT 2").is("+OK");
    t.run("STRLEN renamed").is(":20000");
}

#[test]
fn every_kind_of_value_moves() {
    let mut t = Test::new();
    for value in ["", "7", "-9223372036854775808", "abc", &"v".repeat(300)] {
        t.args(&[b"SET", b"k", value.as_bytes()]).is("+OK");
        let encoding = t.run("OBJECT ENCODING k").text();
        t.run("COPY k c REPLACE").is(":1");
        t.run("RENAME k r").is("+OK");
        t.run("SELECT 1").is("+OK");
        t.does("DEL r");
        t.run("SELECT 0").is("+OK");
        for key in ["c", "r"] {
            t.run(&format!("GET {key}"))
                .is(format!("${} {value}", value.len()).trim_end());
            t.run(&format!("OBJECT ENCODING {key}")).is(&encoding);
        }
        t.run("MOVE r 1").is(":1");
        t.run("SELECT 1").is("+OK");
        t.run("GET r")
            .is(format!("${} {value}", value.len()).trim_end());
        t.run("OBJECT ENCODING r").is(&encoding);
        t.run("SELECT 0").is("+OK");
    }
}

/// Valkey's names depend on what fits beside the key.
#[test]
fn encodings_follow_the_key() {
    let long = "k".repeat(40);
    for (len, option, long_copy, long_own) in [
        (60, "", "embstr", "embstr"),
        (60, " EX 1000", "embstr", "embstr"),
        (70, "", "embstr", "embstr"),
        (70, " EX 1000", "raw", "raw"),
        (75, "", "raw", "raw"),
        (110, "", "raw", "raw"),
    ] {
        let value = "x".repeat(len);
        for (from, to, before, after) in [
            ("a", &long[..], "embstr", long_copy),
            (&long, "a", long_own, long_own),
        ] {
            let mut t = Test::new();
            let before = format!("${} {before}", before.len());
            let after = format!("${} {after}", after.len());
            let ask = |key: &str| format!("OBJECT ENCODING {key}");
            t.run(&format!("SET {from} {value}{option}")).is("+OK");
            t.run(&ask(from)).is(&before);
            t.run(&format!("COPY {from} {to}")).is(":1");
            t.run(&ask(to)).is(&after);
            t.run(&format!("RENAME {from} {to}")).is("+OK");
            t.run(&ask(to)).is(&after);
            t.run(&format!("MOVE {to} 1")).is(":1");
            t.run("SELECT 1").is("+OK");
            t.run(&ask(to)).is(&after);
        }
    }
    let mut t = Test::new();
    t.does("SET a abc");
    t.does("APPEND a d");
    for line in ["COPY a b", "RENAME a z", "MOVE z 1"] {
        t.does(line);
    }
    t.run("OBJECT ENCODING b").is("$3 raw");
    t.run("SELECT 1").is("+OK");
    t.run("OBJECT ENCODING z").is("$3 raw");
}

#[test]
fn del_and_unlink_delete() {
    for name in ["DEL", "UNLINK", "del", "uNLiNK"] {
        let mut t = Test::new();
        t.does("MSET a 1 b 2 c 3");
        t.counted(&format!("{name} a a b x"), ":2", [0, 0, 2, 0]);
        t.run("MGET a b c").is("*3 $-1 $-1 $1 3");
        t.expired("e");
        t.counted(&format!("{name} e"), ":0", [0, 0, 0, 1]);
        t.counted(&format!("{name} c"), ":1", [0, 0, 1, 0]);
        t.run("DBSIZE").is(":0");
    }
}

#[test]
fn del_of_many_keys() {
    let mut t = Test::new();
    let keys: Vec<Vec<u8>> = (0..1000u32).map(|n| n.to_be_bytes().to_vec()).collect();
    for key in &keys {
        t.args(&[b"SET", key, b"v"]).is("+OK");
    }
    let with_keys = |name: &'static [u8]| {
        let mut request = vec![name];
        request.extend(keys.iter().map(|key| &key[..]));
        request
    };
    t.args(&with_keys(b"EXISTS")).is(":1000");
    t.args(&with_keys(b"DEL")).is(":1000");
    t.args(&with_keys(b"DEL")).is(":0");
    t.run("DBSIZE").is(":0");
}

#[test]
fn exists_and_touch_count() {
    let mut t = Test::new();
    t.does("MSET a 1 b 2");
    for name in ["EXISTS", "TOUCH"] {
        t.counted(&format!("{name} a a b x"), ":3", [3, 1, 0, 0]);
        t.expired("e");
        t.counted(&format!("{name} e"), ":0", [0, 1, 0, 1]);
    }
}

#[test]
fn type_names_the_type() {
    let mut t = Test::new();
    t.does("MSET a abc i 5");
    t.counted("TYPE a", "+string", [1, 0, 0, 0]);
    t.counted("TYPE i", "+string", [1, 0, 0, 0]);
    t.counted("TYPE x", "+none", [0, 1, 0, 0]);
    t.expired("e");
    t.counted("TYPE e", "+none", [0, 1, 0, 1]);
}

#[test]
fn move_takes_a_key_to_another_database() {
    let mut t = Test::new();
    for (line, reply) in [
        ("MOVE x 1", ":0"),
        ("MOVE x 0", SAME),
        ("MOVE x y", NOT_INTEGER),
        ("MOVE x 01", NOT_INTEGER),
        ("MOVE x 9223372036854775808", NOT_INTEGER),
        ("MOVE x 2147483648", NOT_INT32),
        ("MOVE x 16", NO_DB),
        ("MOVE x -1", NO_DB),
    ] {
        t.counted(line, reply, [0; 4]);
    }
    t.does("SET a 5 EX 100");
    t.counted("MOVE a 1", ":1", [0, 0, 1, 0]);
    t.run("EXISTS a").is(":0");
    t.counted("MOVE a 1", ":0", [0; 4]);
    t.does("SET a 6");
    t.counted("MOVE a 1", ":0", [0; 4]);
    t.run("GET a").is("$1 6");
    t.run("SELECT 1").is("+OK");
    t.run("TTL a").is(":100");
    t.run("GET a").is("$1 5");
    t.counted("MOVE a 0", ":0", [0; 4]);
    t.counted("MOVE a 15", ":1", [0, 0, 1, 0]);
    t.run("SELECT 15").is("+OK");
    t.run("TTL a").is(":100");
    t.clock.advance(100_000);
    t.run("EXISTS a").is(":0");
}

#[test]
fn move_takes_expired_keys_for_missing() {
    let mut t = Test::new();
    t.expired("e");
    t.counted("MOVE e 1", ":0", [0, 0, 0, 1]);
    t.run("SELECT 1").is("+OK");
    t.expired("a");
    t.run("SELECT 0").is("+OK");
    t.does("SET a 1");
    t.counted("MOVE a 1", ":1", [0, 0, 1, 1]);
    t.run("SELECT 1").is("+OK");
    t.run("TTL a").is(":-1");
}

#[test]
fn rename_moves_value_and_expiry() {
    let mut t = Test::new();
    for line in ["RENAME x y", "RENAME x x", "RENAMENX x x", "RENAMENX x y"] {
        t.counted(line, "-ERR no such key", [0; 4]);
    }
    t.does("SET a 1 EX 100");
    t.does("SET b 2 EX 5");
    t.counted("RENAME a a", "+OK", [0; 4]);
    t.counted("RENAMENX a a", ":0", [0; 4]);
    t.counted("RENAMENX a b", ":0", [0; 4]);
    t.run("GET b").is("$1 2");
    t.counted("RENAME a b", "+OK", [0, 0, 1, 0]);
    t.run("EXISTS a").is(":0");
    t.run("TTL b").is(":100");
    t.run("GET b").is("$1 1");
    t.counted("RENAMENX b c", ":1", [0, 0, 1, 0]);
    t.run("TTL c").is(":100");
    t.does("PERSIST c");
    t.does("SET d 4 EX 10");
    t.counted("RENAME c d", "+OK", [0, 0, 1, 0]);
    t.run("TTL d").is(":-1");
    t.run("DBSIZE").is(":1");
}

#[test]
fn rename_takes_expired_keys_for_missing() {
    let mut t = Test::new();
    for line in ["RENAME e f", "RENAME e e", "RENAMENX e f", "RENAMENX e e"] {
        t.expired("e");
        t.counted(line, "-ERR no such key", [0, 0, 0, 1]);
    }
    t.does("SET d 1 EX 100");
    t.expired("e");
    t.counted("RENAME d e", "+OK", [0, 0, 1, 1]);
    t.run("TTL e").is(":100");
    t.expired("d");
    t.counted("RENAMENX e d", ":1", [0, 0, 1, 1]);
    t.run("TTL d").is(":100");
}

#[test]
fn keys_of_any_bytes_and_length() {
    let mut t = Test::new();
    let long = vec![b'k'; 100_000];
    let keys: [&[u8]; 6] = [b"", b"\0", b"\r\n", &[0xff; 300], b"a b", &long];
    for pair in keys.windows(2) {
        let [from, to] = pair else { unreachable!() };
        t.args(&[b"SET", from, b"value"]).is("+OK");
        t.args(&[b"RENAME", from, to]).is("+OK");
        t.args(&[b"EXISTS", from, to]).is(":1");
        t.args(&[b"COPY", to, from]).is(":1");
        t.args(&[b"GET", from]).is("$5 value");
        t.args(&[b"MOVE", to, b"7"]).is(":1");
        t.args(&[b"TYPE", to]).is("+none");
        t.args(&[b"DEL", from, to]).is(":1");
        t.run("DBSIZE").is(":0");
    }
}

#[test]
fn object_looks_without_touching() {
    let mut t = Test::new();
    let raw = "x".repeat(200);
    t.does(&format!("MSET i 5 big 12345678901 emb abc raw {raw}"));
    for (key, encoding) in [
        ("i", "$3 int"),
        ("big", "$3 int"),
        ("emb", "$6 embstr"),
        ("raw", "$3 raw"),
    ] {
        t.counted(&format!("OBJECT ENCODING {key}"), encoding, [1, 0, 0, 0]);
        t.counted(&format!("OBJECT REFCOUNT {key}"), ":1", [1, 0, 0, 0]);
        t.counted(&format!("object freq {key}"), NO_LFU, [1, 0, 0, 0]);
        t.counted(&format!("OBJECT IDLETIME {key}"), ":0", [1, 0, 0, 0]);
    }
    for subcommand in ["ENCODING", "FREQ", "IDLETIME", "REFCOUNT"] {
        let line = format!("OBJECT {subcommand} e");
        t.counted(&line, "$-1", [0, 1, 0, 0]);
        t.expired("e");
        t.counted(&line, "$-1", [0, 1, 0, 1]);
    }
    let unknown = "-ERR unknown subcommand 'foo'. Try OBJECT HELP.";
    t.run("OBJECT foo").is(unknown);
    t.run("OBJECT foo bar").is(unknown);
    // Framed as Valkey's; the words are our own.
    let help = t.run("OBJECT HELP").text();
    assert!(
        help.starts_with(
            "*12 +OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are: +ENCODING <key> +"
        ),
        "{help}"
    );
    assert!(help.ends_with(" +HELP +    Print this help."), "{help}");
    t.run("HELLO 3");
    for subcommand in ["ENCODING", "FREQ", "IDLETIME", "REFCOUNT"] {
        t.run(&format!("OBJECT {subcommand} x")).is("_");
    }
}

#[test]
fn idle_time_is_the_time_since_the_last_use() {
    let mut t = Test::new();
    t.does("SET k 1");
    t.clock.advance(7_000);
    for line in ["TTL k", "TYPE k", "EXISTS k", "OBJECT ENCODING k"] {
        t.does(line);
        t.run("OBJECT IDLETIME k").is(":7");
    }
    for line in ["KEYS *", "SCAN 0", "RANDOMKEY"] {
        t.does(line);
        t.run("OBJECT IDLETIME k").is(":7");
    }
    t.does("GET k");
    for line in [
        "GET k",
        "TOUCH k",
        "EXPIRE k 100000",
        "EXPIRE k 100000 NX",
        "PERSIST k",
        "RENAME k k",
        "RENAMENX k k",
        "COPY k other REPLACE",
        "SETNX k 1",
        "INCR k",
    ] {
        t.clock.advance(3_000);
        t.run("OBJECT IDLETIME k").is(":3");
        t.does(line);
        t.run("OBJECT IDLETIME k").is(":0");
    }
    for (line, key) in [
        ("COPY k c", "c"),
        ("RENAME k r", "r"),
        ("RENAMENX r nx", "nx"),
    ] {
        t.clock.advance(3_000);
        t.does(line);
        t.run(&format!("OBJECT IDLETIME {key}")).is(":0");
    }
    t.clock.advance(3_000);
    t.run("MOVE nx 1").is(":1");
    t.run("SELECT 1").is("+OK");
    t.run("OBJECT IDLETIME nx").is(":0");
}

#[test]
fn the_idle_clock_wraps() {
    let mut t = Test::new();
    const LAP_SECONDS: u64 = 1 << 24;
    let into_lap = START_MS / 1000 % LAP_SECONDS;
    t.clock.advance((LAP_SECONDS - into_lap - 10) * 1000);
    t.does("SET k 1");
    t.clock.advance(25_000);
    t.run("OBJECT IDLETIME k").is(":25");
    t.clock.advance((LAP_SECONDS - 26) * 1000);
    t.run("OBJECT IDLETIME k").is(":16777215");
    t.clock.advance(1_000);
    t.run("OBJECT IDLETIME k").is(":0");
}

#[test]
fn no_touch_leaves_the_idle_clock_alone() {
    let mut t = Test::new();
    t.run("CLIENT NO-TOUCH ON").is("+OK");
    t.does("SET k 1");
    for (line, idle) in [
        ("GET k", ":3"),
        ("EXPIRE k 10000", ":6"),
        ("SET k 2", ":9"),
        ("INCR k", ":12"),
        ("COPY k f REPLACE", ":15"),
        ("RENAME k k", ":18"),
        ("TOUCH k", ":0"),
        ("RENAME k k", ":3"),
    ] {
        t.clock.advance(3_000);
        t.does(line);
        t.run("OBJECT IDLETIME k").is(idle);
    }
    // An entry that is made anew begins at 0.
    t.does("RENAME k f");
    t.run("OBJECT IDLETIME f").is(":0");
    t.clock.advance(3_000);
    t.run("CLIENT NO-TOUCH OFF").is("+OK");
    t.does("GET f");
    t.run("OBJECT IDLETIME f").is(":0");
}

const IS_LFU: &str = "-ERR An LFU maxmemory policy is selected, idle time not tracked. Please note \
                      that when switching between policies at runtime LRU and LFU data will take \
                      some time to adjust.";

#[test]
fn what_object_tells_of_use_depends_on_the_policy() {
    let mut t = Test::new();
    t.does("SET k 1");
    for maxmemory in ["0", "100gb"] {
        t.run(&format!("CONFIG SET maxmemory {maxmemory}"))
            .is("+OK");
        for policy in Policy::ALL {
            let line = format!("CONFIG SET maxmemory-policy {}", policy.as_str());
            t.run(&line).is("+OK");
            t.does("DEL k");
            t.does("SET k 1");
            let is_lfu = policy.measure() == Measure::Lfu;
            let (idle, freq) = if is_lfu {
                (IS_LFU, ":5")
            } else {
                (":0", NO_LFU)
            };
            t.counted("OBJECT IDLETIME k", idle, [1, 0, 0, 0]);
            t.counted("OBJECT FREQ k", freq, [1, 0, 0, 0]);
            t.run("OBJECT IDLETIME none").is("$-1");
            t.run("OBJECT FREQ none").is("$-1");
        }
    }
}

#[test]
fn frequency_grows_with_accesses_and_shrinks_with_time() {
    for maxmemory in ["0", "100gb"] {
        let mut t = Test::new();
        t.run(&format!("CONFIG SET maxmemory {maxmemory}"))
            .is("+OK");
        t.run("CONFIG SET maxmemory-policy volatile-lfu").is("+OK");
        t.run("CONFIG SET lfu-log-factor 0").is("+OK");
        t.does("SET k 1");
        for line in ["GET k", "INCR k", "EXPIRE k 100000", "TOUCH k", "SET k 7"] {
            t.does(line);
        }
        for line in ["TTL k", "TYPE k", "EXISTS k", "KEYS *", "OBJECT ENCODING k"] {
            t.does(line);
        }
        t.run("OBJECT FREQ k").is(":10");
        t.does("CLIENT NO-TOUCH ON");
        t.does("GET k");
        t.run("OBJECT FREQ k").is(":10");
        t.does("TOUCH k");
        t.run("OBJECT FREQ k").is(":11");
        t.clock.advance(4 * 60_000);
        t.run("OBJECT FREQ k").is(":7");
        t.run("CONFIG SET lfu-decay-time 2").is("+OK");
        t.run("OBJECT FREQ k").is(":9");
        t.run("CONFIG SET lfu-decay-time 0").is("+OK");
        t.run("OBJECT FREQ k").is(":11");
        // A copy, or another name, is a new key.
        for (line, key) in [
            ("COPY k c", "c"),
            ("RENAME k r", "r"),
            ("RENAMENX r n", "n"),
        ] {
            t.does(line);
            t.run(&format!("OBJECT FREQ {key}")).is(":5");
        }
    }
}

#[test]
fn least_recently_modified_is_what_was_written_last() {
    for maxmemory in ["0", "100gb"] {
        let mut t = Test::new();
        t.run(&format!("CONFIG SET maxmemory {maxmemory}"))
            .is("+OK");
        t.run("CONFIG SET maxmemory-policy allkeys-lrm").is("+OK");
        t.does("SADD s a");
        t.does("SET k 1");
        t.clock.advance(7_000);
        for line in [
            "GET k",
            "SADD s a",
            "SMEMBERS s",
            "TOUCH k s",
            "SREM s b",
            "SETNX k 2",
        ] {
            t.does(line);
            t.run("OBJECT IDLETIME k").is(":7");
            t.run("OBJECT IDLETIME s").is(":7");
        }
        for (line, key) in [("SADD s b", "s"), ("EXPIRE k 1000", "k"), ("SET k 2", "k")] {
            t.clock.advance(3_000);
            t.does(line);
            t.run(&format!("OBJECT IDLETIME {key}")).is(":0");
        }
        t.does("DEL s");
        t.run("OBJECT IDLETIME s").is("$-1");
    }
}
