//! Files that `persist::rdb::encode` writes, read by Redis 7.0 and 8.0 and Valkey: every type and
//! encoding.
//!
//! The dataset is a list of entries, each with the commands that make the same on a real server. A
//! server that loaded the file must have the same digest as one that ran the commands.
//!
//! To add a type: a row in [`dataset`].

use std::path::{Path, PathBuf};

use kivi::db::DbIndex;
use kivi::db::usage::{Measure, Usage};
use kivi::ds::collection::{Collection, FieldTable, for_each_element};
use kivi::ds::entry::{Entry, Meta, NewValue, ValueRef};
use kivi::ds::hash::{HashFunction, KeyHash};
use kivi::ds::listpack::{self, Listpack, Value};
use kivi::ds::quicklist::{End, Fill, Quicklist};
use kivi::ds::stream::{Limits, Pending, References, Stream, StreamId};
use kivi::ds::table::Table;
use kivi::ds::{intset, zset::Zset};
use kivi::persist::rdb::encode::{self, Aux, EncodeOptions, LargeHead, LargeKind, Version};
use kivi::persist::rdb::format::crc64;
use kivi::value::{Encoding, Type};
use tempfile::TempDir;

use crate::client::{Client, Reply};
use crate::harness::{Launch, needs, oracle, run_tool};
use crate::stream_facts;

/// Up to where nodes of streams are filled.
const NODE: Limits = Limits {
    node_max_bytes: 4096,
    node_max_entries: 100,
};

/// Far enough in the future.
const EXPIRE_AT_MS: u64 = 7_000_000_000_123;

/// Texts that other texts are made of: too short for compression, of many forms.
fn texts(count: usize) -> Vec<String> {
    (0..count)
        .map(|i| match i % 5 {
            0 => format!("{i}"),
            1 => format!("-{}", i * 70_000),
            2 => format!("{}", i as u64 * 10_000_000_000),
            3 => format!("text-{i}-{}", "x".repeat(i % 70)),
            _ => format!("{i} {}", char::from(b'a' + (i % 26) as u8)),
        })
        .collect()
}

/// Bytes without repetitions.
fn noise(len: u32) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(0x9E37_79B1) >> 11) as u8)
        .collect()
}

fn hash() -> KeyHash {
    KeyHash::with_seed(HashFunction::Fast, 7)
}

fn table(entries: impl IntoIterator<Item = Entry>) -> Table<Entry> {
    let mut table = Table::new(0, hash());
    for entry in entries {
        table.insert(hash().hash(entry.view().key()), entry);
    }
    table
}

/// A key as it is stored, and the commands that make it on a real server.
struct Row {
    entry: Entry,
    commands: Vec<Vec<Vec<u8>>>,
}

struct Dataset(Vec<Row>);

impl Dataset {
    fn put(
        &mut self,
        key: &[u8],
        (type_, enc): (Type, Encoding),
        value: NewValue<'_>,
        command: &[&str],
        args: &[impl AsRef<[u8]>],
    ) {
        let meta = Meta {
            type_: type_ as u8,
            enc: enc as u8,
            lru: 1000,
        };
        let mut argv = vec![command[0].as_bytes().to_vec(), key.to_vec()];
        argv.extend(command[1..].iter().map(|word| word.as_bytes().to_vec()));
        argv.extend(args.iter().map(|arg| arg.as_ref().to_vec()));
        self.0.push(Row {
            entry: Entry::new(key, meta, value, None),
            commands: vec![argv],
        });
    }

    /// Gives the last key an expiry.
    fn expire(&mut self) {
        let row = self.0.last_mut().expect("a key");
        row.entry.set_expire_at_ms(Some(EXPIRE_AT_MS));
        let key = row.entry.view().key().to_vec();
        let at = EXPIRE_AT_MS.to_string();
        row.commands
            .push(vec![b"PEXPIREAT".to_vec(), key, at.into_bytes()]);
    }
}

fn strings(data: &mut Dataset) {
    let kind = (Type::String, Encoding::Raw);
    let long_key = "key".repeat(100);
    for (key, value) in [
        ("short", b"hello".to_vec()),
        ("empty", Vec::new()),
        ("", b"of the empty key".to_vec()),
        ("12345", b"-7".to_vec()),
        (&long_key, b"2147483648".to_vec()),
        ("repeats", b"abc".repeat(40)),
        ("noise", noise(100)),
        ("long noise", noise(70_000)),
        ("long repeats", b"0123456789".repeat(50_000)),
    ] {
        data.put(
            key.as_bytes(),
            kind,
            NewValue::Bytes(&value),
            &["SET"],
            &[&value],
        );
    }
    for value in [
        0,
        127,
        -128,
        300,
        -32_769,
        i64::from(i32::MIN),
        1 << 31,
        i64::MIN,
    ] {
        let key = format!("int{value}");
        let kind = (Type::String, Encoding::Int);
        data.put(
            key.as_bytes(),
            kind,
            NewValue::Int(value),
            &["SET"],
            &[value.to_string()],
        );
        data.expire();
    }
}

fn lists(data: &mut Dataset) {
    let few = texts(10);
    let bytes = listpack::from_elements(few.iter().map(|text| text.as_bytes()));
    let kind = (Type::List, Encoding::Listpack);
    data.put(b"list", kind, NewValue::Bytes(&bytes), &["RPUSH"], &few);
    data.expire();
    for depth in [0, 1] {
        let mut many: Vec<Vec<u8>> = texts(4000).into_iter().map(String::into_bytes).collect();
        many.insert(2000, noise(9000));
        many.push(b"one".repeat(5000));
        let empty = Listpack::new(&listpack::EMPTY);
        let mut list = Quicklist::from_listpack(empty, Fill::new(-1), depth);
        for text in &many {
            list.push(End::Tail, Value::from(&text[..]));
        }
        let value = NewValue::Collection(Box::new(Collection::List(list)));
        let key = format!("long list {depth}");
        data.put(
            key.as_bytes(),
            (Type::List, Encoding::Quicklist),
            value,
            &["RPUSH"],
            &many,
        );
    }
}

fn sets(data: &mut Dataset) {
    for factor in [1i64, 100_000, 10_000_000_000] {
        let ints: Vec<i64> = (-5..20).map(|i| i * factor).collect();
        let bytes = intset::from_sorted(ints.iter().copied());
        let texts: Vec<String> = ints.iter().map(i64::to_string).collect();
        let kind = (Type::Set, Encoding::Intset);
        let key = format!("intset {factor}");
        data.put(
            key.as_bytes(),
            kind,
            NewValue::Bytes(&bytes),
            &["SADD"],
            &texts,
        );
    }
    let few = texts(50);
    let bytes = listpack::from_elements(few.iter().map(|text| text.as_bytes()));
    let kind = (Type::Set, Encoding::Listpack);
    data.put(b"set", kind, NewValue::Bytes(&bytes), &["SADD"], &few);
    data.expire();
    let many = texts(1000);
    let members = many
        .iter()
        .map(|text| Entry::new(text.as_bytes(), Meta::default(), NewValue::Bytes(b""), None));
    let value = NewValue::Collection(Box::new(Collection::Set(table(members))));
    data.put(
        b"large set",
        (Type::Set, Encoding::Hashtable),
        value,
        &["SADD"],
        &many,
    );
}

/// Scores that Redis 7.0, whose digests have 17 digits, prints as Valkey does.
fn score(i: usize) -> f64 {
    match i % 40 {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => -0.5,
        i => i as f64 * 12.25,
    }
}

fn zsets(data: &mut Dataset) {
    let pairs = |texts: &[String]| -> Vec<(f64, String)> {
        let pairs = texts.iter().enumerate();
        let mut pairs: Vec<_> = pairs.map(|(i, text)| (score(i), text.clone())).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        pairs
    };
    let args = |pairs: &[(f64, String)]| -> Vec<String> {
        let args = pairs
            .iter()
            .flat_map(|(score, text)| [score.to_string(), text.clone()]);
        args.collect()
    };
    let few = pairs(&texts(30));
    let mut elements: Vec<String> = Vec::new();
    for (score, text) in &few {
        elements.extend([text.clone(), score.to_string()]);
    }
    let listpack = listpack::from_elements(elements.iter().map(|text| text.as_bytes()));
    let entries = Listpack::new(&listpack).entries();
    let bytes = [&(few.len() as u16).to_le_bytes(), entries].concat();
    let kind = (Type::Zset, Encoding::Listpack);
    data.put(
        b"zset",
        kind,
        NewValue::Bytes(&bytes),
        &["ZADD"],
        &args(&few),
    );
    data.expire();
    let many = pairs(&texts(1000));
    let mut zset = Zset::new(hash());
    for (score, text) in &many {
        zset.insert(hash().hash(text.as_bytes()), text.as_bytes(), *score);
    }
    let value = NewValue::Collection(Box::new(Collection::Zset(zset)));
    data.put(
        b"large zset",
        (Type::Zset, Encoding::Skiplist),
        value,
        &["ZADD"],
        &args(&many),
    );
}

fn hashes(data: &mut Dataset, fields_expire: bool) {
    let pairs = |texts: &[String]| -> Vec<String> {
        let values = texts.iter().rev();
        texts
            .iter()
            .zip(values)
            .flat_map(|(f, v)| [f.clone(), v.clone()])
            .collect()
    };
    let fields = |pairs: &[String], at_ms: &dyn Fn(usize) -> Option<u64>| {
        let field = |(i, pair): (usize, &[String])| {
            let value = match pair[1].parse() {
                Ok(int) if i % 2 == 0 => NewValue::Int(int),
                _ => NewValue::Bytes(pair[1].as_bytes()),
            };
            Entry::new(pair[0].as_bytes(), Meta::default(), value, at_ms(i))
        };
        let fields = table(pairs.chunks(2).enumerate().map(field));
        NewValue::Collection(Box::new(Collection::Hash(FieldTable::new(fields))))
    };
    let few = pairs(&texts(40));
    let bytes = listpack::from_elements(few.iter().map(|text| text.as_bytes()));
    let kind = (Type::Hash, Encoding::Listpack);
    data.put(b"hash", kind, NewValue::Bytes(&bytes), &["HSET"], &few);
    let many = pairs(&texts(1000));
    let kind = (Type::Hash, Encoding::Hashtable);
    data.put(
        b"large hash",
        kind,
        fields(&many, &|_| None),
        &["HSET"],
        &many,
    );
    data.expire();
    if fields_expire {
        let at_ms = |i: usize| (i < 5).then_some(EXPIRE_AT_MS);
        data.put(
            b"hash with expiries",
            kind,
            fields(&few, &at_ms),
            &["HSET"],
            &few,
        );
        let at = EXPIRE_AT_MS.to_string();
        let mut argv = ["HPEXPIREAT", "hash with expiries", &at, "FIELDS", "5"]
            .map(|word| word.as_bytes().to_vec())
            .to_vec();
        argv.extend(
            few.chunks(2)
                .take(5)
                .map(|pair| pair[0].clone().into_bytes()),
        );
        data.0.last_mut().expect("a key").commands.push(argv);
    }
}

/// Streams with deleted entries and groups; with consumers only where the version has their times.
fn streams(data: &mut Dataset, consumers: bool) {
    for (key, count) in [("stream", 3), ("long-stream", 1000)] {
        let mut stream = Stream::new();
        let mut commands = Vec::new();
        let mut command = |words: &[&str]| {
            let words = words.iter().map(|word| word.as_bytes().to_vec());
            commands.push(words.collect());
        };
        for (i, text) in (1..).zip(texts(count)) {
            let id = StreamId::new(1_700_000_000_000 + i / 3, i);
            let fields = ["a", &text, if i % 7 == 0 { "c" } else { "b" }, "12"];
            let bytes = fields.iter().map(|text| text.as_bytes());
            stream.entries_mut().append(id, bytes, &NODE);
            command(&[&["XADD", key, &id.to_string()][..], &fields].concat());
        }
        let (first, last) = (stream.entries().first_id(), stream.entries().last_id());
        for id in [first, last] {
            stream.delete(id, References::Keep);
            command(&["XDEL", key, &id.to_string()]);
        }
        stream.groups_mut().create(b"12", StreamId::MIN, Some(0));
        command(&["XGROUP", "CREATE", key, "12", "0", "ENTRIESREAD", "0"]);
        let group = stream.groups_mut().create(b"group", last, None);
        let group = group.expect("a new group");
        command(&["XGROUP", "CREATE", key, "group", &last.to_string()]);
        if consumers {
            group.create_consumer(b"idle", 5);
            command(&["XGROUP", "CREATECONSUMER", key, "group", "idle"]);
            let consumer = group.create_consumer(b"busy", 6);
            group.consumer_mut(consumer).active_at_ms = Some(3);
            let id = StreamId::new(1_700_000_000_000, 2);
            let pending = Pending {
                consumer,
                delivered_at_ms: 1_700_000_000_003,
                deliveries: 70_000,
            };
            group.set_pending(id, pending);
            let head = ["XCLAIM", key, "group", "busy", "0", &id.to_string()];
            let times = [
                "TIME",
                "1700000000003",
                "RETRYCOUNT",
                "70000",
                "FORCE",
                "JUSTID",
            ];
            command(&[&head[..], &times].concat());
        }
        let collection = Collection::Stream(Box::new(stream));
        let value = NewValue::Collection(Box::new(collection));
        let kind = (Type::Stream, Encoding::Stream);
        data.put(key.as_bytes(), kind, value, &["XLEN"], &[] as &[&str]);
        data.0.last_mut().expect("a key").commands = commands;
        data.expire();
    }
}

/// What XINFO says of a stream but for the times of its consumers.
fn stream_text(client: &mut Client, key: &str) -> String {
    let full = client.cmd(&["XINFO", "STREAM", key, "FULL", "COUNT", "0"]);
    stream_facts::text(&full, stream_facts::TIMES)
}

fn dataset(version: Version) -> Dataset {
    let mut data = Dataset(Vec::new());
    strings(&mut data);
    lists(&mut data);
    sets(&mut data);
    zsets(&mut data);
    hashes(&mut data, version == Version::Valkey80);
    streams(&mut data, version != Version::Redis10);
    data
}

/// A file with the dataset in databases 0 and 9; large collections are written in pieces in one of
/// them.
fn file(data: &Dataset, version: Version, options: &EncodeOptions) -> Vec<u8> {
    let aux = Aux {
        redis_version: "7.2.4",
        kivi_version: "0.1.0",
        ctime_unix_secs: 1_750_000_000,
        used_memory_bytes: 1 << 33,
        aof_base: false,
    };
    let mut out = Vec::new();
    encode::header(&mut out, version, &aux);
    for (db, pieces) in [(0, false), (9, true)] {
        let entries = data.0.iter().map(|row| row.entry.view());
        let expires = entries
            .clone()
            .filter(|entry| entry.expire_at_ms().is_some());
        encode::select(
            &mut out,
            DbIndex(db),
            data.0.len() as u64,
            expires.count() as u64,
        );
        for entry in entries {
            let ValueRef::Collection(collection) = entry.value() else {
                encode::entry(&mut out, entry, options);
                continue;
            };
            if !pieces {
                encode::entry(&mut out, entry, options);
                continue;
            }
            let kind = LargeKind::of(collection);
            let head = LargeHead {
                key: entry.key(),
                meta: entry.meta(),
                expire_at_ms: entry.expire_at_ms(),
                kind,
                len: collection.save_len(),
            };
            encode::large_head(&mut out, &head, options);
            for_each_element(collection, &mut |element| {
                encode::large_element(&mut out, kind, element, options);
            });
        }
    }
    encode::end(&mut out);
    let checksum = crc64(0, &out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// Runs a checker of files, inside `root` if that is another one.
fn check(tool: &str, root: Option<&Path>, file: &Path) {
    let output = match root {
        None => run_tool(Path::new(tool), &[path(file)], &[], b""),
        Some(root) => {
            let inside = Path::new("/").join(file.strip_prefix(root).expect("inside"));
            let args = [path(root), tool, path(&inside)];
            run_tool(Path::new("chroot"), &args, &[], b"")
        }
    };
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{tool}: {said}");
    assert!(said.contains("\\o/ RDB looks OK! \\o/"), "{tool}: {said}");
    assert!(said.contains("Checksum OK"), "{tool}: {said}");
}

fn path(path: &Path) -> &str {
    path.to_str().expect("utf-8")
}

fn ask(client: &mut Client, argv: &[&str]) -> Reply {
    let reply = client.cmd(argv);
    assert!(!reply.is_error(), "{argv:?}: {reply:?}");
    reply
}

/// Has a server load the file and compares it with one that runs the commands.
fn compare(launch: Launch<'_>, data: &Dataset, dir: &str) {
    let debug = ["--enable-debug-command", "yes"];
    let load = ["--dir", dir, "--dbfilename", "dump.rdb"];
    let loaded = Launch {
        args: &[&debug[..], &load].concat(),
        ..launch
    }
    .start();
    let made = Launch {
        args: &debug,
        ..launch
    }
    .start();
    let (mut loaded, mut made) = (loaded.connect(), made.connect());
    for db in ["0", "9"] {
        for client in [&mut loaded, &mut made] {
            ask(client, &["SELECT", db]);
        }
        let commands = data.0.iter().flat_map(|row| &row.commands);
        for command in commands {
            let reply = made.cmd(command);
            assert!(!reply.is_error(), "{reply:?}");
        }
        assert_eq!(ask(&mut loaded, &["DBSIZE"]).int(), data.0.len() as i64);
        for row in &data.0 {
            let key = row.entry.view().key();
            let mut both = |name: &str| {
                let argv: Vec<&[u8]> = name.split(' ').map(str::as_bytes).chain([key]).collect();
                let (ours, theirs) = (loaded.cmd(&argv), made.cmd(&argv));
                assert_eq!(ours, theirs, "{name} {}", key.escape_ascii());
            };
            both("OBJECT ENCODING");
            both("PEXPIRETIME");
            both("DEBUG DIGEST-VALUE");
            if row.entry.view().type_() == Type::Stream as u8 {
                let key = std::str::from_utf8(key).expect("a text");
                let (ours, theirs) = (stream_text(&mut loaded, key), stream_text(&mut made, key));
                assert_eq!(ours, theirs, "{key}");
            }
        }
    }
    let digests = [&mut loaded, &mut made].map(|client| ask(client, &["DEBUG", "DIGEST"]));
    assert_eq!(digests[0], digests[1]);
    for row in &data.0 {
        // Fields' expiries are in no digest.
        if let [_, times] = &row.commands[..]
            && times[0] == b"HPEXPIREAT"
        {
            let mut argv = vec![b"HPEXPIRETIME".to_vec(), times[1].clone()];
            argv.extend_from_slice(&times[3..]);
            let reply = loaded.cmd(&argv);
            let all = |reply: &Reply| reply.int() == EXPIRE_AT_MS as i64;
            assert!(reply.items().iter().all(all), "{reply:?}");
        }
    }
}

/// Ways in which the same dataset can be written.
fn ways() -> [EncodeOptions; 3] {
    let usage = Usage::default();
    let stamp = |measure| {
        usage.set(measure, false, 10, 1);
        Some(usage.stamp(100_000_000))
    };
    [
        EncodeOptions {
            compress: true,
            usage: None,
        },
        EncodeOptions {
            compress: false,
            usage: stamp(Measure::Lru),
        },
        EncodeOptions {
            compress: true,
            usage: stamp(Measure::Lfu),
        },
    ]
}

#[test]
fn redis_7_loads_all_that_needs_no_newer_version() {
    if !needs("redis-server") || !needs("redis-check-rdb") {
        return;
    }
    let data = dataset(Version::Redis10);
    for options in ways() {
        let dir = TempDir::new().expect("folder");
        let name = dir.path().join("dump.rdb");
        std::fs::write(&name, file(&data, Version::Redis10, &options)).expect("writing");
        check("redis-check-rdb", None, &name);
        let launch = Launch {
            name: "redis",
            ..Launch::KIVI
        };
        compare(launch, &data, path(dir.path()));
    }
}

#[test]
fn redis_8_loads_streams_with_consumers() {
    let Some(root) = oracle() else {
        return;
    };
    let data = dataset(Version::Redis11);
    for options in ways() {
        let dir = TempDir::new_in(root.join("tmp")).expect("folder");
        let name = dir.path().join("dump.rdb");
        std::fs::write(&name, file(&data, Version::Redis11, &options)).expect("writing");
        check("redis-check-rdb", Some(&root), &name);
        let inside: PathBuf = Path::new("/").join(dir.path().strip_prefix(&root).expect("in"));
        let launch = Launch {
            name: "redis8",
            ..Launch::KIVI
        };
        compare(launch, &data, path(&inside));
    }
}

#[test]
fn valkey_loads_everything() {
    let Some(root) = oracle() else {
        return;
    };
    for version in [Version::Redis10, Version::Redis11, Version::Valkey80] {
        let data = dataset(version);
        for options in ways() {
            let dir = TempDir::new_in(root.join("tmp")).expect("folder");
            let name = dir.path().join("dump.rdb");
            std::fs::write(&name, file(&data, version, &options)).expect("writing");
            check("valkey-check-rdb", Some(&root), &name);
            let inside: PathBuf = Path::new("/").join(dir.path().strip_prefix(&root).expect("in"));
            let launch = Launch {
                name: "valkey",
                ..Launch::KIVI
            };
            compare(launch, &data, path(&inside));
        }
    }
}
