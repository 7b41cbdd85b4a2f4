//! Tests of MEMORY; the replies are Valkey 9.1.2's.

mod accounting;
mod overhead;
mod truth;

use std::sync::atomic::Ordering::Relaxed;

use crate::commands::tests::Test;

/// What MEMORY USAGE says.
fn usage(t: &mut Test, key: &str) -> i64 {
    let text = t.run(&format!("MEMORY USAGE {key}")).text();
    text.strip_prefix(':').unwrap().parse().unwrap()
}

#[test]
fn memory_usage_is_what_the_key_takes() {
    let mut t = Test::new();
    t.run("SET k 12345").is("+OK");
    let small = usage(&mut t, "k");
    // A key of one byte and an integer: at most 24 bytes, and a share of a small table.
    assert!((16..2048).contains(&small), "{small}");
    let text = "x".repeat(1000);
    t.run(&format!("SET k {text}")).is("+OK");
    assert!((900..=1400).contains(&(usage(&mut t, "k") - small)));
    t.run(&format!("SET big {}", "x".repeat(100_000))).is("+OK");
    assert!((100_000..120_000).contains(&usage(&mut t, "big")));
    // Many keys share a table well: the sum is near what the allocator has handed out.
    for key in 0..20_000 {
        t.args(&[
            b"SET",
            format!("{key:016}").as_bytes(),
            b"sixteen bytes ...",
        ])
        .is("+OK");
    }
    let per_key = usage(&mut t, "0000000000000007");
    assert!((40..=72).contains(&per_key), "{per_key}");
}

#[test]
fn memory_usage_leaves_no_trace() {
    let mut t = Test::new();
    t.run("SET a 1 PX 10").is("+OK");
    usage(&mut t, "a");
    t.run("MEMORY USAGE nokey").is("$-1");
    t.clock.advance(10);
    t.run("MEMORY USAGE a").is("$-1");
    let stats = t.run("INFO stats").text();
    assert!(
        stats.contains("keyspace_hits:0 keyspace_misses:0"),
        "{stats}"
    );
}

#[test]
fn memory_options() {
    let mut t = Test::new();
    t.run("SET a b").is("+OK");
    let bytes = t.run("MEMORY USAGE a").text();
    t.run("MEMORY USAGE a SAMPLES 5").is(&bytes);
    t.run("MEMORY USAGE a samples 0 SAMPLES 6").is(&bytes);
    for (line, error) in [
        ("MEMORY USAGE a SAMPLES", "-ERR syntax error"),
        ("MEMORY USAGE a SAMPLES -1", "-ERR syntax error"),
        ("MEMORY USAGE a FOO 0", "-ERR syntax error"),
        ("MEMORY USAGE nokey FOO", "-ERR syntax error"),
        (
            "MEMORY USAGE nokey SAMPLES x",
            "-ERR value is not an integer or out of range",
        ),
        (
            "MEMORY USAGE",
            "-ERR wrong number of arguments for 'memory|usage' command",
        ),
        (
            "MEMORY",
            "-ERR wrong number of arguments for 'memory' command",
        ),
        (
            "MEMORY HELP x",
            "-ERR wrong number of arguments for 'memory|help' command",
        ),
        (
            "MEMORY FOO",
            "-ERR unknown subcommand 'FOO'. Try MEMORY HELP.",
        ),
    ] {
        t.run(line).is(error);
    }
    let help = t.run("MEMORY HELP").text();
    let first = "+MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:";
    assert!(help.starts_with(&format!("*14 {first} +DOCTOR ")), "{help}");
    assert!(help.ends_with("+HELP +    Print this help."), "{help}");
}

/// What MEMORY STATS answers, in RESP2: names with their values, those of databases as one line each.
fn stats(t: &mut Test) -> Vec<(String, String)> {
    let reply = String::from_utf8(t.run("MEMORY STATS").0).unwrap();
    let mut lines = reply.split("\r\n").peekable();
    let mut value = move || {
        let head = lines.next()?;
        match head.as_bytes().first()? {
            b'$' => lines.next().map(str::to_owned),
            b':' => Some(head[1..].to_owned()),
            _ => Some(head.to_owned()),
        }
    };
    let count: usize = value().unwrap()[1..].parse().unwrap();
    let mut fields = Vec::new();
    for _ in 0..count / 2 {
        let (name, mut text) = (value().unwrap(), value().unwrap());
        if text.starts_with('*') {
            let parts: Vec<String> = (0..4).map(|_| value().unwrap()).collect();
            text = parts.join(" ");
        }
        fields.push((name, text));
    }
    assert_eq!(value(), None);
    fields
}

#[test]
fn stats_are_valkey_s_and_add_up() {
    let mut t = Test::new();
    let server = t.session.server().clone();
    server.memory_startup_bytes.store(1000, Relaxed);
    let names = |t: &mut Test| -> Vec<String> {
        let fields = stats(t);
        fields.into_iter().map(|(name, _)| name).collect()
    };
    let valkey: Vec<&str> = include_str!("tests/stats.txt").lines().collect();
    let databases = ["db.0", "db.3"];
    let without = valkey.iter().filter(|name| !databases.contains(name));
    let without: Vec<&str> = without.copied().collect();
    assert_eq!(names(&mut t), without);
    t.run("SELECT 3").is("+OK");
    for number in 0..2000 {
        t.run(&format!("SET k{number} {} EX 100", "x".repeat(500)));
    }
    t.run("SELECT 0").is("+OK");
    t.run("SET a 1").is("+OK");
    assert_eq!(names(&mut t), valkey);
    let fields = stats(&mut t);
    let text = |name: &str| &fields.iter().find(|(known, _)| known == name).unwrap().1;
    let number = |name: &str| text(name).parse::<i64>().unwrap();
    assert_eq!(number("keys.count"), 2001);
    assert_eq!(number("startup.allocated"), 1000);
    assert!(number("peak.allocated") >= number("total.allocated"));
    assert_eq!(
        number("overhead.total") + number("dataset.bytes"),
        number("total.allocated")
    );
    assert_eq!(number("keys.bytes-per-key"), number("dataset.bytes") / 2001);
    assert!(number("dataset.bytes") > 1_000_000);
    let db = |name: &str| -> Vec<i64> {
        let parts: Vec<&str> = text(name).split(' ').collect();
        assert_eq!(parts[0], "overhead.hashtable.main");
        assert_eq!(parts[2], "overhead.hashtable.expires");
        [1, 3].map(|at| parts[at].parse().unwrap()).into()
    };
    let (first, third) = (db("db.0"), db("db.3"));
    assert!(
        (100..2000).contains(&first[0]) && first[1] == 0,
        "{first:?}"
    );
    assert!((20_000..80_000).contains(&third[0]), "{third:?}");
    assert!((4000..60_000).contains(&third[1]), "{third:?}");
    let tables = number("overhead.db.hashtable.lut");
    let heads = tables - first[0] - third.iter().sum::<i64>();
    assert!((0..100_000).contains(&heads), "{heads}");
    let share: f64 = text("dataset.percentage").parse().unwrap();
    assert!(share > 1.0 && share <= 100.0, "{share}");
    let whole: f64 = text("peak.percentage").parse().unwrap();
    assert!(whole > 1.0 && whole <= 100.0, "{whole}");
}

#[test]
fn stats_are_a_map_with_doubles() {
    let mut t = Test::new();
    t.run("HELLO 3");
    t.run("SET a 1");
    let reply = t.run("MEMORY STATS").text();
    assert!(reply.starts_with("%35 $14 peak.allocated :"), "{reply}");
    assert!(
        reply.contains(" $4 db.0 %2 $23 overhead.hashtable.main :"),
        "{reply}"
    );
    assert!(reply.contains(" $18 dataset.percentage ,"), "{reply}");
    assert!(reply.contains(" $13 fragmentation ,"), "{reply}");
    t.run("MEMORY DOCTOR").has("txt:");
    t.run("MEMORY MALLOC-STATS")
        .has("txt:___ Begin jemalloc statistics ___\nVersion: ");
    t.run("HELLO 2");
    t.run("MEMORY DOCTOR").has(" Sam, ");
    t.run("MEMORY MALLOC-STATS")
        .has("--- End jemalloc statistics ---");
}

#[test]
fn purge_gives_pages_back() {
    let mut t = Test::new();
    t.run("MEMORY PURGE").is("+OK");
    for line in ["PURGE x", "STATS x", "DOCTOR x", "MALLOC-STATS x"] {
        let name = line.split(' ').next().unwrap().to_ascii_lowercase();
        t.run(&format!("MEMORY {line}")).is(&format!(
            "-ERR wrong number of arguments for 'memory|{name}' command"
        ));
    }
}

/// A key's share of the tables is that of many shards, also while the command holds all of them.
#[test]
fn the_share_is_the_same_everywhere() {
    let mut t = Test::new();
    for number in 0..6400 {
        t.run(&format!("SET key:{number:06} sixteen-bytes..."));
    }
    let usages: Vec<i64> = (0..200)
        .map(|n| usage(&mut t, &format!("key:{n:06}")))
        .collect();
    let (least, most) = (*usages.iter().min().unwrap(), *usages.iter().max().unwrap());
    assert!(most - least <= 4, "{least} to {most}");
    t.run("MULTI").is("+OK");
    t.run("MEMORY USAGE key:000000").is("+QUEUED");
    t.run("DBSIZE").is("+QUEUED");
    t.run("EXEC").is(&format!("*2 :{} :6400", usages[0]));
}
