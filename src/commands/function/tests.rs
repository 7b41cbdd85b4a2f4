//! FUNCTION, FCALL, and libraries in snapshots and logs.

use crate::commands::tests::propagation::Logged;
use crate::commands::tests::transcript::Transcript;
use crate::commands::tests::{Test, data_dir};
use crate::exec::load::at_start;
use crate::persist::disk::fake::FakeDisk;
use crate::persist::rdb::format::crc64;
use crate::server::rewriting;
use crate::util::rng::Rng;

/// What Valkey 9.1.2 answers.
const VALKEY: &str = include_str!("valkey.txt");

#[test]
fn everything_is_as_valkey_has_it() {
    let transcript = Transcript {
        text: VALKEY,
        variants: 2,
        least: 1200,
    };
    transcript.replay(|_| Test::new(), str::to_owned);
}

#[test]
fn every_row_is_in_the_transcript() {
    let text = VALKEY.to_ascii_lowercase();
    for row in super::COMMANDS {
        assert!(text.contains(&format!("\n{} ", row.name)), "{}", row.name);
        for sub in row.subcommands {
            let line = format!("\n{} {}", row.name, sub.name);
            assert!(text.contains(&line), "{line}");
        }
    }
}

/// A library with one function, whose name is what it answers.
fn library(name: &str, function: &str) -> String {
    format!(
        "#!lua name={name}\nredis.register_function('{function}', function(keys, args) \
         return redis.status_reply('{function}') end)"
    )
}

/// Loads a library, which works.
#[track_caller]
fn load(t: &mut Test, source: &str) {
    let answered = t.args(&[b"FUNCTION", b"LOAD", source.as_bytes()]).text();
    assert!(answered.starts_with('$'), "{source}: {answered}");
}

/// All that is told of libraries.
fn listed(t: &mut Test) -> String {
    t.run("FUNCTION LIST WITHCODE").text()
}

/// What FUNCTION DUMP answers.
fn payload(t: &mut Test) -> Vec<u8> {
    let (reply, _) = t.session.call(&[b"FUNCTION", b"DUMP"]);
    let at = reply
        .iter()
        .position(|&byte| byte == b'\n')
        .expect("a line");
    reply[at + 1..reply.len() - 2].to_vec()
}

/// Libraries with all that a function can have, long enough to be compressed or not.
fn load_various(t: &mut Test) {
    load(t, &library("zulu", "z"));
    load(t, &library("alpha", "a"));
    load(
        t,
        "#!lua name=rich\nredis.register_function{function_name='r', callback=function() return 1 end, \
         description='all of it', flags={'no-writes', 'allow-stale'}}\n\
         redis.register_function('s', function() return 2 end)",
    );
    let long = format!("{}\n-- {}", library("long", "l"), "a".repeat(1000));
    load(t, &long);
    t.run("SET key value").is("+OK");
}

#[test]
fn libraries_are_in_snapshots() {
    let disk = FakeDisk::new(&data_dir());
    let mut t = Test::on(&[], &disk);
    load_various(&mut t);
    let all = listed(&mut t);
    for (command, args) in [
        ("SAVE", ""),
        ("BGSAVE", ""),
        ("SAVE", "--rdbcompression no"),
    ] {
        let mut t = Test::on(&args.split_whitespace().collect::<Vec<_>>(), &disk);
        if command == "SAVE" && args.is_empty() {
            load_various(&mut t);
        } else {
            at_start(t.session.server(), &t.table).unwrap();
        }
        t.run(command);
        t.session.server().persist.wait_until_free();
        let mut t = Test::on(&[], &disk);
        at_start(t.session.server(), &t.table).unwrap();
        assert_eq!(listed(&mut t), all, "{command} {args}");
        t.run("FCALL l 0").is("+l");
        t.run("FCALL r 0").is(":1");
        t.run("GET key").is("$5 value");
        // They are no keys.
        t.run("DBSIZE").is(":1");
    }
}

#[test]
fn a_snapshot_whose_library_is_none_stops_the_start() {
    let disk = FakeDisk::new(&data_dir());
    let mut t = Test::on(&[], &disk);
    load(&mut t, &library("lib", "f"));
    t.run("SAVE").is("+OK");
    let name = std::path::Path::new(&data_dir()).join("dump.rdb");
    let mut file = disk.content(&name).expect("the file");
    let at = file
        .windows(8)
        .position(|bytes| bytes == b"register")
        .unwrap();
    file[at..at + 8].copy_from_slice(b"regisxxx");
    let end = file.len() - 8;
    file[end..].fill(0);
    disk.put(&name, &file);
    let t = Test::on(&[], &disk);
    assert!(at_start(t.session.server(), &t.table).is_err());
}

#[test]
fn reloading_brings_back_what_was_saved() {
    let mut t = Test::new();
    load(&mut t, &library("lib", "f"));
    let saved = listed(&mut t);
    t.run("DEBUG RELOAD").is("+OK");
    assert_eq!(listed(&mut t), saved);
    t.run("FCALL f 0").is("+f");
    load(&mut t, &library("other", "g"));
    t.args(&[
        b"FUNCTION",
        b"LOAD",
        b"REPLACE",
        library("lib", "h").as_bytes(),
    ])
    .is("$3 lib");
    let before = listed(&mut t);
    t.run("DEBUG RELOAD NOSAVE NOFLUSH")
        .is("-ERR Error trying to load the RDB dump, check server logs.");
    assert_eq!(listed(&mut t), before);
    t.run("DEBUG RELOAD NOSAVE NOFLUSH MERGE").is("+OK");
    t.run("FCALL f 0").is("+f");
    t.run("FCALL g 0").is("+g");
    t.run("FCALL h 0").is("-ERR Function not found");
    t.run("DEBUG RELOAD NOSAVE").is("+OK");
    assert_eq!(listed(&mut t), saved);
    t.run("FCALL g 0").is("-ERR Function not found");
}

#[test]
fn the_log_repeats_what_has_changed_libraries() {
    let mut logged = Logged::new();
    let (one, two) = (library("one", "f"), library("two", "g"));
    load(&mut logged.test, &one);
    assert_eq!(
        logged.records(),
        ["SELECT 0", &format!("FUNCTION LOAD {one}")]
    );
    let args: [&[u8]; 4] = [b"function", b"load", b"replace", one.as_bytes()];
    logged.test.args(&args).is("$3 one");
    assert_eq!(logged.records(), [format!("function load replace {one}")]);
    // What fails is not there.
    logged
        .test
        .args(&[b"FUNCTION", b"LOAD", one.as_bytes()])
        .has("already exists");
    logged.logs("FUNCTION LOAD \"#!lua name=x\\n\"", &[]);
    logged.logs("FUNCTION DELETE x", &[]);
    logged.logs("FUNCTION RESTORE x", &[]);
    logged.logs("FUNCTION LIST", &[]);
    logged.logs("FUNCTION STATS", &[]);
    logged.logs("FUNCTION DUMP", &[]);
    logged.logs("FUNCTION DELETE one", &["FUNCTION DELETE one"]);
    logged.logs("FUNCTION FLUSH", &["FUNCTION FLUSH"]);
    logged.logs("FUNCTION FLUSH async", &["FUNCTION FLUSH async"]);
    load(&mut logged.test, &two);
    let dumped = payload(&mut logged.test);
    logged.logs(
        "FUNCTION FLUSH SYNC",
        &[&*format!("FUNCTION LOAD {two}"), "FUNCTION FLUSH SYNC"],
    );
    logged
        .test
        .args(&[b"FUNCTION", b"RESTORE", &dumped])
        .is("+OK");
    let records = logged.records();
    assert_eq!(records.len(), 1);
    assert!(records[0].starts_with("FUNCTION RESTORE "));
    // Of functions their effects are repeated, not the calls.
    load(
        &mut logged.test,
        "#!lua name=w\nredis.register_function('set', function(k, a) return redis.call('SET', k[1], a[1]) \
         end) redis.register_function('two', function(k) redis.call('INCR', k[1]) redis.call('INCR', k[1]) end)",
    );
    logged.records();
    logged.logs("FCALL set 1 k v", &["SET k v"]);
    logged.logs("FCALL two 1 n", &["MULTI", "INCR n", "INCR n", "EXEC"]);
    logged.logs("FCALL g 0", &[]);
    logged.repeats();
}

#[test]
fn a_repeated_log_gives_the_same_libraries() {
    let mut logged = Logged::new();
    load_various(&mut logged.test);
    logged.test.run("FUNCTION DELETE alpha").is("+OK");
    let all = listed(&mut logged.test);
    let mut fresh = logged.repeated();
    assert_eq!(listed(&mut fresh), all);
    fresh.run("FCALL s 0").is(":2");
}

#[test]
fn a_rewritten_log_has_them_in_front() {
    for preamble in ["yes", "no"] {
        let disk = FakeDisk::new(&data_dir());
        let args = ["--appendonly", "yes", "--aof-use-rdb-preamble", preamble];
        let mut t = Test::on(&args, &disk);
        at_start(t.session.server(), &t.table).unwrap();
        load_various(&mut t);
        let all = listed(&mut t);
        t.run("BGREWRITEAOF")
            .is("+Background append only file rewriting started");
        t.session.server().persist.wait_until_free();
        rewriting::close(t.session.server());
        let mut t = Test::on(&args, &disk);
        at_start(t.session.server(), &t.table).unwrap();
        assert_eq!(listed(&mut t), all, "{preamble}");
        t.run("FCALL z 0").is("+z");
        t.run("GET key").is("$5 value");
        rewriting::close(t.session.server());
    }
}

/// FUNCTION DUMP of Redis 7.0.15 with one library, short and compressed.
const GOLDEN: [(&str, &str); 2] = [
    (
        "",
        "f5405723216c7561206e616d653d676f6c64656e0a72656469732e72656769737465725f66756e6374696f6e2827616e\
         73776572272c2066756e6374696f6e286b6579732c2061726773292072657475726e20343220656e64290a00933c35d8\
         ca9eb1a1",
    ),
    (
        "long",
        "f5c3405f40c01f23216c7561206e616d653d676f6c64656e0a72656469732e7265676973746572135f66756e6374696f\
         6e2827616e73776572272c20e000121e6b6579732c2061726773292072657475726e20343220656e6429202d2d2061e0\
         590001610a0a00ff331820cce16d94",
    ),
];

/// What Valkey 9.1.2 dumps of two libraries: its version is another one.
const OF_VALKEY: &[u8] =
    b"\xf5@E#!lua name=a\nredis.register_function('a', function(k,a) return 1 end)\
    P\x00\x17\xea\xdfE\x05\x1aT\xe1";

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks_exact(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn payloads_are_those_of_other_servers() {
    for (rest, golden) in GOLDEN {
        let golden = unhex(golden);
        let rest = match rest {
            "long" => format!(" -- {}\n", "a".repeat(100)),
            _ => String::new(),
        };
        let source = format!(
            "#!lua name=golden\nredis.register_function('answer', function(keys, args) return 42 end){rest}"
        );
        let mut t = Test::new();
        load(&mut t, &source);
        if rest.is_empty() {
            // What is compressed may be so in many ways.
            assert_eq!(payload(&mut t), golden);
        }
        let all = listed(&mut t);
        let mut t = Test::new();
        t.args(&[b"FUNCTION", b"RESTORE", &golden]).is("+OK");
        assert_eq!(listed(&mut t), all);
        t.run("FCALL answer 0").is(":42");
    }
    let mut t = Test::new();
    t.args(&[b"FUNCTION", b"RESTORE", OF_VALKEY]).is("+OK");
    t.run("FCALL a 0").is(":1");
    t.run("FUNCTION FLUSH").is("+OK");
    let (empty, _) = t.session.call(&[b"FUNCTION", b"DUMP"]);
    // As Redis 7.0 has it.
    assert_eq!(empty, b"$10\r\n\n\x00]\x9b\\@\x0f\x7f\xa2\xda\r\n");
}

#[test]
fn a_payload_comes_back_whole() {
    let mut t = Test::new();
    load_various(&mut t);
    let all = listed(&mut t);
    let dumped = payload(&mut t);
    for policy in ["FLUSH", "REPLACE"] {
        t.args(&[b"FUNCTION", b"RESTORE", &dumped, policy.as_bytes()])
            .is("+OK");
        assert_eq!(listed(&mut t), all, "{policy}");
        t.run("FCALL a 0").is("+a");
    }
    let mut other = Test::new();
    other.args(&[b"FUNCTION", b"RESTORE", &dumped]).is("+OK");
    assert_eq!(listed(&mut other), all);
}

/// Whatever was damaged, and signed again: an answer, and nothing changes unless that is OK.
#[test]
fn damaged_payloads_are_refused() {
    let mut t = Test::new();
    load_various(&mut t);
    let whole = payload(&mut t);
    let body = &whole[..whole.len() - 10];
    t.run("FUNCTION FLUSH").is("+OK");
    load(&mut t, &library("own", "own"));
    let before = listed(&mut t);
    let mut rng = Rng::from_seed(7);
    let mut refused = 0;
    for round in 0..3000 {
        let mut bytes = body.to_vec();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(4) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] = rng.below(256) as u8,
                2 => drop(bytes.drain(at..(at + 5).min(bytes.len()))),
                _ => bytes[at] ^= 1 << rng.below(8),
            }
            if bytes.is_empty() {
                bytes.push(0xf5);
            }
        }
        bytes.extend_from_slice(&[10, 0]);
        let checksum = crc64(0, &bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        let answer = t.args(&[b"FUNCTION", b"RESTORE", &bytes]).text();
        if answer == "+OK" {
            t.run("FUNCTION FLUSH").is("+OK");
            load(&mut t, &library("own", "own"));
            continue;
        }
        refused += 1;
        assert!(answer.starts_with("-ERR "), "{round}: {answer}");
        assert_eq!(listed(&mut t), before, "{round}");
    }
    assert!(refused > 1000, "{refused}");
    t.run("FCALL own 0").is("+own");
}

#[test]
fn what_a_library_keeps_is_the_same_for_all_clients() {
    let mut t = Test::new();
    load(
        &mut t,
        "#!lua name=s\nlocal n = 0\nredis.register_function('next', function() n = n + 1 return n end)",
    );
    let mut other = t.client();
    for round in 0..5 {
        t.run("FCALL next 0").is(&format!(":{}", 2 * round + 1));
        other.run("FCALL next 0").is(&format!(":{}", 2 * round + 2));
    }
    // A change of another library is none of this.
    load(&mut other, &library("other", "o"));
    t.run("FCALL next 0").is(":11");
    other.run("FUNCTION DELETE other").is("+OK");
    other.run("FCALL next 0").is(":12");
    // Loaded anew it begins anew.
    t.run("DEBUG RELOAD").is("+OK");
    other.run("FCALL next 0").is(":1");
}

#[test]
fn a_deleted_function_is_gone_for_all_clients() {
    let mut t = Test::new();
    let mut other = t.client();
    for round in 0..20 {
        load(&mut t, &library("lib", &format!("f{round}")));
        other
            .run(&format!("FCALL f{round} 0"))
            .is(&format!("+f{round}"));
        let replaced = library("lib", &format!("g{round}"));
        t.args(&[b"FUNCTION", b"LOAD", b"REPLACE", replaced.as_bytes()])
            .is("$3 lib");
        other
            .run(&format!("FCALL f{round} 0"))
            .is("-ERR Function not found");
        other
            .run(&format!("FCALL g{round} 0"))
            .is(&format!("+g{round}"));
        t.run("FUNCTION DELETE lib").is("+OK");
        other
            .run(&format!("FCALL g{round} 0"))
            .is("-ERR Function not found");
    }
}

#[test]
fn names_that_differ_in_case_are_one() {
    let mut t = Test::new();
    // Valkey takes these, and crashes when they shall go.
    t.run("FUNCTION LOAD \"#!lua name=p\\nlocal R=redis.register_function R('f',R) R('F',R)\"")
        .is("-ERR Function already exists in the library");
    t.run("FUNCTION LIST").is("*0");
}

#[test]
fn bombs_go_off_where_nobody_is_hurt() {
    let mut t = Test::with(&["--lua-memory-limit", "16mb"]);
    for code in [
        "local s = 'x' while true do s = s .. s end",
        "local t = {} local i = 0 while true do i = i + 1 t[i] = {} end",
        "local t = {} while true do t = {t} end",
        "local function f() return 1 + f() end f()",
        "local function f(...) return f(1, ...) end f()",
        "while true do redis.register_function('f', redis.log) end",
    ] {
        let source = format!("#!lua name=bomb\n{code}");
        let answered = t.args(&[b"FUNCTION", b"LOAD", source.as_bytes()]).text();
        assert!(
            answered.starts_with("-ERR Error registering functions: ERR "),
            "{code}: {answered}"
        );
    }
    load(&mut t, &library("fine", "f"));
    t.run("FCALL f 0").is("+f");
    let deep = format!(
        "#!lua name=deep\nlocal x = {}1{}",
        "(".repeat(10_000),
        ")".repeat(10_000)
    );
    t.args(&[b"FUNCTION", b"LOAD", deep.as_bytes()])
        .has("-ERR Error compiling function: ");
    t.run("FUNCTION STATS").has("$15 libraries_count :1 ");
}

#[test]
fn figures_tell_of_libraries() {
    let mut t = Test::new();
    let figure = |t: &mut Test, name: &str| -> u64 {
        let info = t.run("INFO memory").text();
        let at = info.find(&format!(" {name}:")).expect("the field") + name.len() + 2;
        let digits = info[at..].split(' ').next().unwrap();
        digits.parse().unwrap()
    };
    assert_eq!(figure(&mut t, "used_memory_vm_functions"), 0);
    assert_eq!(figure(&mut t, "used_memory_functions"), 0);
    load_various(&mut t);
    assert_eq!(figure(&mut t, "number_of_functions"), 5);
    assert_eq!(figure(&mut t, "number_of_libraries"), 4);
    assert!(figure(&mut t, "used_memory_vm_functions") > 10_000);
    assert!(figure(&mut t, "used_memory_functions") > 1_300);
    t.run("FUNCTION FLUSH").is("+OK");
    assert_eq!(figure(&mut t, "number_of_functions"), 0);
    assert_eq!(figure(&mut t, "number_of_libraries"), 0);
    assert_eq!(figure(&mut t, "used_memory_functions"), 0);
}
