//! Files that real servers write, read by Kivi's decoder: Redis 7.0, Redis 8.0 and Valkey 9.1, with
//! every type and encoding that their directives give.
//!
//! The file is loaded into a server in this process; each key's digest, expiry and, against Valkey
//! with the same limits, encoding must be those of the server that wrote it.
//!
//! Streams are compared by XINFO, too: groups, consumers and what is pending are in no digest.
//!
//! To add a type: its commands in [`dataset`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use kivi::commands::CommandTable;
use kivi::config::{self, Invocation};
use kivi::exec::session::Session;
use kivi::persist::rdb::decode::{LoadOptions, LoadSummary};
use kivi::persist::rdb::{LoadProgress, load_into};
use kivi::server::{Lifecycle, Server as Kivi};
use kivi::util::clock::Clock;

use crate::client::{Client, Reply, parse};
use crate::harness::{Launch, Server, kivi_to_end, needs, oracle};
use crate::stream_facts;

/// Far enough in the future.
const EXPIRE_AT_MS: u64 = 7_000_000_000_123;

type Words = Vec<Vec<u8>>;

fn words(line: &str) -> Words {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

/// Texts of many forms: integers of all widths, words, longer ones.
fn text(i: usize) -> String {
    match i % 6 {
        0 => format!("{i}"),
        1 => format!("-{}", i * 70_001),
        2 => format!("{}", i as u64 * 10_000_000_019),
        3 => format!("text-{i}-{}", "x".repeat(i % 50)),
        4 => format!("{i} spaces"),
        _ => format!("m{i}"),
    }
}

fn noise(len: u32) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(0x9E37_79B1) >> 11) as u8)
        .collect()
}

fn collections(commands: &mut Vec<Words>) {
    for count in [1, 5, 20, 130, 600, 3000] {
        let texts: Vec<Vec<u8>> = (0..count).map(|i| text(i).into_bytes()).collect();
        let with = |head: String, args: &[Vec<u8>]| [&words(&head)[..], args].concat();
        commands.push(with(format!("RPUSH list:{count}"), &texts));
        commands.push(with(format!("SADD set:{count}"), &texts));
        for (name, factor) in [("16", 1), ("32", 100_000), ("64", 10_000_000_000i64)] {
            let ints: Vec<Vec<u8>> = (0..count as i64)
                .map(|i| ((i - 3) * factor).to_string().into_bytes())
                .collect();
            commands.push(with(format!("SADD intset:{name}:{count}"), &ints));
        }
        let pairs: Vec<Vec<u8>> = texts
            .iter()
            .enumerate()
            .flat_map(|(i, field)| [field.clone(), text(i * 7).into_bytes()])
            .collect();
        commands.push(with(format!("HSET hash:{count}"), &pairs));
        let scored: Vec<Vec<u8>> = texts
            .iter()
            .enumerate()
            .flat_map(|(i, member)| {
                let score = match i % 40 {
                    0 => "inf".to_owned(),
                    1 => "-inf".to_owned(),
                    i => (i as f64 * 12.25 - 100.0).to_string(),
                };
                [score.into_bytes(), member.clone()]
            })
            .collect();
        commands.push(with(format!("ZADD zset:{count}"), &scored));
    }
    let long = "y".repeat(100);
    for line in [
        format!("RPUSH long:list a {long}"),
        format!("SADD long:set a {long}"),
        format!("HSET long:hash a {long}"),
        format!("HSET long:hash2 {long} a"),
        format!("ZADD long:zset 1 a 2 {long}"),
    ] {
        commands.push(words(&line));
    }
    let mut plain = words("RPUSH plain a");
    plain.push(noise(9000));
    plain.push(b"abc".repeat(40_000));
    plain.push(b"z".to_vec());
    commands.push(plain);
}

/// Streams with deleted and trimmed entries, with fields that differ, with groups, consumers, and
/// entries that are pending although they have gone.
fn streams(commands: &mut Vec<Words>) {
    for (name, count) in [("one", 1), ("node", 100), ("nodes", 350)] {
        let key = format!("stream:{name}");
        for i in 0..count {
            let (ms, seq) = (1_700_000_000_000u64 + i / 3 * 7, i * 5);
            let mut argv = words(&format!("XADD {key} {ms}-{seq} field"));
            argv.push(text(i as usize).into_bytes());
            match i % 20 {
                7 => argv.extend(words("and another")),
                9 => argv[3] = b"other".to_vec(),
                11 => argv[4] = noise(300),
                _ => {}
            }
            commands.push(argv);
        }
        commands.push(words(&format!("XGROUP CREATE {key} unread 0")));
        commands.push(words(&format!("XGROUP CREATE {key} 12345 $")));
        if count == 1 {
            continue;
        }
        for i in [0, 4, 5, 50, 51, count - 1] {
            let (ms, seq) = (1_700_000_000_000u64 + i / 3 * 7, i * 5);
            commands.push(words(&format!("XDEL {key} {ms}-{seq}")));
        }
        for (consumer, count) in [("alice", 3), ("bob", 70), ("-7", 1)] {
            let read = format!("XREADGROUP GROUP g {consumer} COUNT {count} STREAMS {key} >");
            if consumer == "alice" {
                commands.push(words(&format!("XGROUP CREATE {key} g 0")));
            }
            commands.push(words(&read));
        }
        commands.push(words(&format!("XGROUP CREATECONSUMER {key} g idle")));
        commands.push(words(&format!(
            "XACK {key} g 1700000000000-5 1700000000014-35"
        )));
        commands.push(words(&format!(
            "XDEL {key} 1700000000007-20 1700000000021-45"
        )));
        let claim = "0 1700000000028-60 RETRYCOUNT 70000 TIME 1234567890123";
        commands.push(words(&format!("XCLAIM {key} g carol {claim}")));
    }
    commands.push(words("XTRIM stream:nodes MAXLEN 120"));
    commands.push(words("XADD stream:empty 7-7 a b"));
    commands.push(words("XGROUP CREATE stream:empty g 0"));
    commands.push(words("XREADGROUP GROUP g c STREAMS stream:empty >"));
    commands.push(words("XDEL stream:empty 7-7"));
    commands.push(words("XGROUP CREATE stream:new g $ MKSTREAM"));
    commands.push(words(
        "XADD stream:largest 18446744073709551615-18446744073709551615 a b",
    ));
    commands.push(words("XADD stream:apart 1-18446744073709551615 a b"));
    commands.push(words("XADD stream:apart 18446744073709551615-0 a b"));
    commands.push(words("XSETID stream:apart 18446744073709551615-9 ENTRIESADDED 9223372036854775807 MAXDELETEDID 4-4"));
}

/// What other types are made of: HyperLogLogs, geo.
fn others(commands: &mut Vec<Words>) {
    let members: Vec<Vec<u8>> = (0..3000).map(|i| text(i).into_bytes()).collect();
    for count in [1, 100, 3000] {
        let head = words(&format!("PFADD hll:{count}"));
        commands.push([&head[..], &members[..count]].concat());
    }
    commands.push(words("PFCOUNT hll:100"));
    commands.push(words("PFMERGE hll:merged hll:1 hll:3000"));
    for i in 0..300 {
        let (longitude, latitude) = (i as f64 * 1.19 - 179.0, i as f64 * 0.56 - 84.0);
        let place = format!("GEOADD geo:places {longitude} {latitude} place:{i}");
        commands.push(words(&place));
    }
    commands.push(words(
        "GEOADD geo:few 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
    ));
}

/// Commands that make keys of every type.
fn dataset(fields_expire: bool) -> Vec<Words> {
    let mut commands = Vec::new();
    streams(&mut commands);
    others(&mut commands);
    for (key, value) in [
        ("s:short", b"hello".to_vec()),
        ("s:empty", Vec::new()),
        ("s:int8", b"-100".to_vec()),
        ("s:int16", b"30000".to_vec()),
        ("s:int32", b"2147483647".to_vec()),
        ("s:int64", b"-9223372036854775808".to_vec()),
        ("s:almost", b"007".to_vec()),
        ("s:repeats", b"abc".repeat(100)),
        ("s:noise", noise(1000)),
        ("s:long", noise(300_000)),
        ("s:long repeats", b"0123456789".repeat(100_000)),
    ] {
        commands.push(vec![b"SET".to_vec(), key.into(), value]);
    }
    collections(&mut commands);
    for key in [
        "s:short", "s:int8", "list:5", "set:600", "hash:20", "zset:130",
    ] {
        commands.push(words(&format!("PEXPIREAT {key} {EXPIRE_AT_MS}")));
    }
    commands.push(words("SELECT 3"));
    commands.push(words("SET other database"));
    commands.push(words("SELECT 0"));
    if fields_expire {
        for count in [2, 300] {
            let pairs = (0..count).map(|i| format!("f{i} {}", text(i)));
            let pairs: Vec<String> = pairs.map(|pair| pair.replace(" spaces", "_")).collect();
            let key = format!("fields:{count}");
            commands.push(words(&format!("HSET {key} {}", pairs.join(" "))));
            commands.push(words(&format!(
                "HPEXPIREAT {key} {EXPIRE_AT_MS} FIELDS 1 f0"
            )));
            let later = EXPIRE_AT_MS + 5_000;
            commands.push(words(&format!("HPEXPIREAT {key} {later} FIELDS 1 f1")));
        }
    }
    commands
}

/// A server in this process.
struct Loaded {
    session: Session,
    summary: LoadSummary,
}

impl Loaded {
    fn new(args: &[&str], bytes: &[u8]) -> Loaded {
        let debug = ["--enable-debug-command", "yes"];
        let args = debug.iter().chain(args).map(|arg| (*arg).into());
        let Ok(Invocation::Run(sources)) = config::parse(args, []) else {
            panic!("no run");
        };
        let (store, _) = config::load(&sources).expect("a configuration");
        let limits = store.config().limits();
        let table = CommandTable::new(&[]).expect("a table");
        let server = Arc::new(Kivi::new(store, Clock::real()));
        let keyspace = &server.keyspace;
        let options = LoadOptions {
            limits,
            key_hash: keyspace.key_hash(),
            databases: keyspace.databases(),
            verify_checksum: true,
            now_ms: Clock::real().unix_ms(),
            usage: keyspace.usage.stamp(Clock::real().unix_ms()),
            drop_expired: true,
            relaxed_version: false,
        };
        let progress = LoadProgress::default();
        let mut none = |_: &[u8]| Err("no libraries".to_owned());
        let summary = load_into(keyspace, bytes, &options, &progress, &mut none);
        let summary = summary.unwrap_or_else(|error| panic!("{error}"));
        server.enter(Lifecycle::Running);
        Loaded {
            session: Session::new(server, Arc::new(table)),
            summary,
        }
    }

    fn cmd(&mut self, line: &str) -> Reply {
        let words = words(line);
        let words: Vec<&[u8]> = words.iter().map(|word| &word[..]).collect();
        let (reply, _) = self.session.call(&words);
        parse(&reply).expect("a whole reply").0
    }
}

fn ask(client: &mut Client, line: &str) -> Reply {
    client.cmd(&words(line))
}

/// A server with the dataset, saved; and where its file is.
struct Writer {
    server: Server,
    client: Client,
    path: PathBuf,
}

impl Writer {
    fn new(name: &'static str, args: &[&str]) -> Option<Writer> {
        if name == "redis" && !needs("redis-server") || name != "redis" && oracle().is_none() {
            return None;
        }
        let file = format!("kivi-rdb-{}-{name}-{}.rdb", std::process::id(), args.len());
        let mut all = vec!["--dbfilename", &file, "--enable-debug-command", "yes"];
        all.extend(args);
        let server = Launch {
            name,
            args: &all,
            ..Launch::KIVI
        }
        .start();
        let mut client = server.connect();
        for command in dataset(name != "redis") {
            let reply = client.cmd(&command);
            assert!(!reply.is_error(), "{name}: {reply:?}");
        }
        assert_eq!(ask(&mut client, "SAVE"), Reply::Status(b"OK".to_vec()));
        let path = server.dir.path().join(file);
        Some(Writer {
            server,
            client,
            path,
        })
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).expect("the file that the server wrote")
    }

    fn keys(&mut self) -> Vec<String> {
        let reply = ask(&mut self.client, "KEYS *");
        reply.items().iter().map(Reply::text).collect()
    }
}

/// What XINFO says of a stream. Redis 7.0 knows no times of activity; how a radix tree has grown is not
/// written into files.
fn stream_text(ask: &mut dyn FnMut(&str) -> Reply, key: &str, name: &str) -> String {
    let full = ask(&format!("XINFO STREAM {key} FULL COUNT 0"));
    let times = if name == "redis" {
        stream_facts::TIMES
    } else {
        &[]
    };
    stream_facts::text(&full, &[&["radix-tree-nodes"], times].concat())
}

/// The fields of a hash, each with its value and its expiry.
fn fields(ask: &mut dyn FnMut(&str) -> Reply, key: &str) -> BTreeMap<String, (String, i64)> {
    let all = ask(&format!("HGETALL {key}"));
    let mut fields = BTreeMap::new();
    for pair in all.items().chunks(2) {
        let (field, value) = (pair[0].text(), pair[1].text());
        let expiry = ask(&format!("HPEXPIRETIME {key} FIELDS 1 {field}"));
        fields.insert(field, (value, expiry.items()[0].int()));
    }
    fields
}

/// Every key of the writer is in Kivi as it is there.
fn compare(writer: &mut Writer, kivi: &mut Loaded) {
    let name = writer.server.name;
    let keys = writer.keys();
    assert_eq!(kivi.summary.keys, keys.len() as u64 + 1, "{name}");
    let size = Reply::Int(keys.len() as i64);
    assert_eq!(kivi.cmd("DBSIZE"), size, "{name}");
    for key in keys.iter().filter(|key| !key.contains(' ')) {
        for line in [format!("PEXPIRETIME {key}"), format!("TYPE {key}")] {
            let expected = ask(&mut writer.client, &line);
            assert_eq!(kivi.cmd(&line), expected, "{name}: {line}");
        }
        if key.starts_with("fields:") {
            let expected = fields(&mut |line| ask(&mut writer.client, line), key);
            let found = fields(&mut |line| kivi.cmd(line), key);
            assert_eq!(found, expected, "{name}: {key}");
        } else {
            let line = format!("DEBUG DIGEST-VALUE {key}");
            let expected = ask(&mut writer.client, &line);
            assert_eq!(kivi.cmd(&line), expected, "{name}: {key}");
        }
        if key.starts_with("stream:") {
            let expected = stream_text(&mut |line| ask(&mut writer.client, line), key, name);
            let found = stream_text(&mut |line| kivi.cmd(line), key, name);
            assert_eq!(found, expected, "{name}: {key}");
        }
    }
    // Redis 8 has another digest of fields that expire.
    if name != "redis8" {
        let expected = ask(&mut writer.client, "DEBUG DIGEST");
        let found = kivi.cmd("DEBUG DIGEST");
        assert_eq!(found.text(), expected.text(), "{name}");
    }
}

const LOWERED: &[&str] = &[
    "--hash-max-listpack-entries",
    "4",
    "--list-max-listpack-size",
    "3",
    "--set-max-intset-entries",
    "4",
    "--zset-max-listpack-entries",
    "4",
];
const RAISED: &[&str] = &[
    "--hash-max-listpack-entries",
    "5000",
    "--hash-max-listpack-value",
    "1000",
    "--list-max-listpack-size",
    "-5",
    "--set-max-intset-entries",
    "5000",
    "--zset-max-listpack-entries",
    "5000",
    "--zset-max-listpack-value",
    "1000",
];
/// Directives that Redis 7.0 does not have.
const SETS_LOWERED: &[&str] = &["--set-max-listpack-entries", "4"];
const SETS_RAISED: &[&str] = &[
    "--set-max-listpack-entries",
    "5000",
    "--set-max-listpack-value",
    "1000",
    "--list-compress-depth",
    "1",
];

#[test]
fn files_of_real_servers_are_loaded() {
    for name in ["redis", "redis8", "valkey"] {
        let newer = |args: &'static [&'static str]| if name == "redis" { &[] } else { args };
        let limits = [
            Vec::new(),
            [LOWERED, newer(SETS_LOWERED)].concat(),
            [RAISED, newer(SETS_RAISED)].concat(),
        ];
        for written_with in &limits {
            let Some(mut writer) = Writer::new(name, written_with) else {
                continue;
            };
            let bytes = writer.bytes();
            for loaded_with in &limits {
                let mut kivi = Loaded::new(loaded_with, &bytes);
                compare(&mut writer, &mut kivi);
            }
        }
    }
}

/// What a file becomes is what Valkey makes of it under the same limits.
#[test]
fn encodings_after_a_load_are_valkeys() {
    for limits in [
        Vec::new(),
        [LOWERED, SETS_LOWERED].concat(),
        [RAISED, SETS_RAISED].concat(),
    ] {
        let Some(mut writer) = Writer::new("valkey", &[]) else {
            return;
        };
        for pair in limits.chunks(2) {
            let name = pair[0].trim_start_matches("--");
            let set = format!("CONFIG SET {name} {}", pair[1]);
            assert!(!ask(&mut writer.client, &set).is_error(), "{set}");
        }
        let reloaded = ask(&mut writer.client, "DEBUG RELOAD");
        assert_eq!(reloaded, Reply::Status(b"OK".to_vec()));
        let mut kivi = Loaded::new(&limits, &writer.bytes());
        for key in writer.keys().iter().filter(|key| !key.contains(' ')) {
            let line = format!("OBJECT ENCODING {key}");
            let expected = ask(&mut writer.client, &line);
            assert_eq!(kivi.cmd(&line), expected, "{line} with {limits:?}");
        }
    }
}

/// Payloads of DUMP go both ways.
#[test]
fn payloads_are_restored_by_valkey_and_of_valkey() {
    let Some(mut writer) = Writer::new("valkey", &[]) else {
        return;
    };
    let mut kivi = Loaded::new(&[], &writer.bytes());
    for key in writer.keys().iter().filter(|key| !key.contains(' ')) {
        let digest = ask(&mut writer.client, &format!("DEBUG DIGEST-VALUE {key}"));
        let theirs = ask(&mut writer.client, &format!("DUMP {key}"));
        let args: [&[u8]; 4] = [b"RESTORE", b"copy", b"0", theirs.bytes()];
        let (reply, _) = kivi.session.call(&args);
        assert_eq!(reply, b"+OK\r\n", "{key}");
        // A digest of a value does not depend on its key, but tells whether that expires.
        kivi.cmd(&format!("PERSIST {key}"));
        let of_copy = kivi.cmd("DEBUG DIGEST-VALUE copy");
        assert_eq!(of_copy, kivi.cmd(&format!("DEBUG DIGEST-VALUE {key}")));
        let ours = kivi.cmd("DUMP copy");
        let args: [&[u8]; 5] = [b"RESTORE", b"copy", b"0", ours.bytes(), b"REPLACE"];
        let reply = writer.client.cmd(&args);
        assert_eq!(reply, Reply::Status(b"OK".to_vec()), "{key}");
        if ask(&mut writer.client, &format!("PTTL {key}")) == Reply::Int(-1) {
            let of_copy = ask(&mut writer.client, "DEBUG DIGEST-VALUE copy");
            assert_eq!(of_copy, digest, "{key}");
        }
        kivi.cmd("DEL copy");
    }
}

/// Payloads of streams are Valkey's to the byte, but for type and version: these are the oldest that
/// hold them, so that Redis 7.0 takes what it can.
#[test]
fn payloads_of_streams_are_valkeys() {
    const FOOTER_BYTES: usize = 10;
    let plain = ["--rdbcompression", "no"];
    let Some(mut writer) = Writer::new("valkey", &plain) else {
        return;
    };
    let mut kivi = Loaded::new(&plain, &writer.bytes());
    let without_consumers = ["stream:one", "stream:new", "stream:largest", "stream:apart"];
    let keys = writer.keys();
    let streams: Vec<&String> = keys
        .iter()
        .filter(|key| key.starts_with("stream:"))
        .collect();
    assert_eq!(streams.len(), 7);
    for key in streams {
        let theirs = ask(&mut writer.client, &format!("DUMP {key}"));
        let ours = kivi.cmd(&format!("DUMP {key}"));
        let parts = |reply: &Reply| {
            let bytes = reply.bytes();
            let body = &bytes[1..bytes.len() - FOOTER_BYTES];
            let version = bytes[bytes.len() - FOOTER_BYTES];
            (bytes[0], version, body.escape_ascii().to_string())
        };
        let (kind, version, body) = parts(&theirs);
        assert_eq!((kind, version), (21, 80), "{key}");
        let oldest = match without_consumers.contains(&key.as_str()) {
            true => (19, 10),
            false => (21, 11),
        };
        assert_eq!(parts(&ours), (oldest.0, oldest.1, body), "{key}");
    }
}

#[test]
fn check_rdb_tells_of_good_and_bad_files() {
    let Some(writer) = Writer::new("redis", &[]) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let good = folder.path().join("good.rdb");
    let bytes = writer.bytes();
    std::fs::write(&good, &bytes).expect("a file");
    let run = |path: &PathBuf| {
        let args = ["--check-rdb", path.to_str().expect("a path")];
        let output = kivi_to_end(folder.path(), &args, &[], b"");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    };
    let (code, text) = run(&good);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("AUX FIELD redis-ver = '7.0.15'"), "{text}");
    assert!(text.contains("Checksum OK") && text.contains("\\o/ RDB looks OK! \\o/"));
    assert!(text.contains("[info] 6 expires"), "{text}");
    let bad = folder.path().join("bad.rdb");
    std::fs::write(&bad, &bytes[..bytes.len() / 2]).expect("a file");
    let (code, text) = run(&bad);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("RDB ERROR DETECTED"), "{text}");
    assert!(text.contains("Unexpected EOF reading RDB file"), "{text}");
    let (code, _) = run(&folder.path().join("missing.rdb"));
    assert_eq!(code, Some(1));
}
