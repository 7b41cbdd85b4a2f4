//! Tests of DEBUG; the replies are Valkey 9.1.2's, but for the subcommands that it does not have.

use std::time::Duration;

use crate::client::Signal;
use crate::commands::tests::Test;
use crate::exec::Flow;

#[test]
fn it_is_refused_unless_enabled() {
    let mut t = Test::with(&[]);
    let error = t.run("DEBUG SLEEP 0").text();
    assert!(error.starts_with("-ERR DEBUG command not allowed. If the enable-debug-command"));
    Test::with(&["--enable-debug-command", "local"])
        .run("DEBUG SLEEP 0")
        .is("+OK");
}

#[test]
fn unknown_subcommands_and_numbers_of_arguments() {
    let mut t = Test::new();
    for line in [
        "FOO",
        "JMAP",
        "DIGEST x",
        "SLEEP",
        "SLEEP 0.01 a",
        "OBJECT",
        "OBJECT a b c",
        "SET-ACTIVE-EXPIRE",
        "POPULATE",
        "POPULATE 3 bar5 3 x",
        "PROTOCOL",
        "PROTOCOL string x",
        "HELP x",
        "ERROR",
        "ERROR FOO bar",
        "LOG",
        "STRINGMATCH-LEN a",
    ] {
        let name = line.split(' ').next().unwrap();
        let error = format!(
            "-ERR unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP."
        );
        t.run(&format!("DEBUG {line}")).is(&error);
    }
    t.run("DEBUG")
        .is("-ERR wrong number of arguments for 'debug' command");
    let long = t.run(&format!("DEBUG {}", "x".repeat(1000))).text();
    assert!(long.contains(&format!("'{}'", "x".repeat(128))), "{long}");
}

#[test]
fn help_names_every_subcommand() {
    let mut t = Test::new();
    let help = t.run("DEBUG HELP").text();
    for name in [
        "DIGEST",
        "DIGEST-VALUE",
        "ERROR",
        "LOG",
        "OBJECT",
        "POPULATE",
        "PROTOCOL",
        "SET-ACTIVE-EXPIRE",
        "SLEEP",
    ] {
        assert!(help.contains(&format!("+{name} ")), "{name}");
    }
    assert!(help.ends_with("+HELP +    Print this help."));
}

#[test]
fn sleep_keeps_everybody_waiting() {
    let mut t = Test::new();
    for (line, ms) in [("0.01", 10), ("2", 2000), ("0.5abc", 500), ("1e-3x", 1)] {
        let flow = t.flow(&format!("DEBUG SLEEP {line}"));
        assert_eq!(flow, Flow::Sleep(Duration::from_millis(ms)), "{line}");
    }
    for line in ["0", "x", "-1", "nan", "inf", "1e300", "''"] {
        assert_eq!(t.flow(&format!("DEBUG SLEEP {line}")), Flow::Done, "{line}");
        t.run(&format!("DEBUG SLEEP {line}")).is("+OK");
    }
    t.run("DEBUG SLEEP 0.01").is("+OK");
}

#[test]
fn errors_are_replied_and_not_counted() {
    let mut t = Test::new();
    t.run("DEBUG ERROR 'FOO bar baz'").is("-FOO bar baz");
    t.run("DEBUG ERROR ''").is("-");
    t.args(&[b"DEBUG", b"ERROR", b"ERR a\r\nb"]).is("-ERR a  b");
    t.run("INFO errorstats").is("$14 # Errorstats");
    t.args(&[b"DEBUG", b"LOG", b"a\r\nb"]).is("+OK");
}

/// DEBUG OBJECT without the address.
fn object(t: &mut Test, line: &str) -> String {
    let text = t.run(&format!("DEBUG OBJECT {line}")).text();
    let (value, rest) = text.split_once(" refcount:").expect(&text);
    assert!(value.starts_with("+Value at:0x"), "{value}");
    rest.to_owned()
}

#[test]
fn object_tells_of_use_what_is_measured() {
    let mut t = Test::new();
    t.run("CONFIG SET maxmemory 100gb").is("+OK");
    t.run("CONFIG SET maxmemory-policy allkeys-lru").is("+OK");
    let lru = 1_700_000_000 & 0xff_ffff;
    t.run("SET a b");
    t.clock.advance(5999);
    let text = format!("1 encoding:embstr lru:{lru} lru_seconds_idle:5");
    assert_eq!(object(&mut t, "a FAST"), text);
    let minutes = (1_700_000_005 / 60) & 0xffff;
    for maxmemory in ["0", "100gb"] {
        t.run(&format!("CONFIG SET maxmemory {maxmemory}"))
            .is("+OK");
        t.run("CONFIG SET maxmemory-policy allkeys-lfu").is("+OK");
        t.run("DEL a");
        t.run("SET a b");
        let text = "1 encoding:embstr serializedlength:2 lfu_freq:5 lfu_access_time_minutes:";
        assert_eq!(object(&mut t, "a"), format!("{text}{minutes}"));
    }
    t.clock.advance(3 * 60_000);
    let text = "1 encoding:embstr lfu_freq:2 lfu_access_time_minutes:";
    assert_eq!(object(&mut t, "a FAST"), format!("{text}{minutes}"));
}

#[test]
fn object_tells_how_a_value_is_stored() {
    let mut t = Test::new();
    let lru = 1_700_000_000 & 0xff_ffff;
    t.run("SET a b");
    let text = format!("1 encoding:embstr serializedlength:2 lru:{lru} lru_seconds_idle:0");
    assert_eq!(object(&mut t, "a"), text);
    assert_eq!(object(&mut t, "a b"), text);
    let text = format!("1 encoding:embstr lru:{lru} lru_seconds_idle:5");
    t.clock.advance(5999);
    assert_eq!(object(&mut t, "a FAST"), text);
    t.run("DEBUG OBJECT nokey").is("-ERR no such key");
    t.run("SELECT 1");
    t.run("DEBUG OBJECT a").is("-ERR no such key");
    t.run("SET a b PX 1");
    t.clock.advance(1);
    t.run("DEBUG OBJECT a").is("-ERR no such key");
    // No hits, no misses, no touch.
    assert!(
        t.run("INFO stats")
            .text()
            .contains("keyspace_hits:0 keyspace_misses:0")
    );
}

#[test]
fn serialized_lengths_are_those_of_rdb() {
    let mut t = Test::new();
    let random = "abcdefghij0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (value, length) in [
        ("1", 2),
        ("127", 2),
        ("128", 3),
        ("-129", 3),
        ("32767", 3),
        ("32768", 5),
        ("2147483647", 5),
        ("2147483648", 11),
        ("12345678901", 12),
        ("01", 3),
        ("-0", 3),
        (random, 47),
    ] {
        t.run(&format!("SET v {value}"));
        let text = object(&mut t, "v");
        assert!(
            text.contains(&format!(" serializedlength:{length} ")),
            "{value}: {text}"
        );
    }
    t.run("SET v 1");
    t.run("APPEND v 23");
    assert!(object(&mut t, "v").starts_with("1 encoding:raw serializedlength:2 "));
    // Valkey compresses these; here they count as they are.
    for (len, length) in [(63, 64), (64, 66), (16_383, 16_385), (16_384, 16_389)] {
        t.run(&format!("SET v {}", "x".repeat(len)));
        assert!(object(&mut t, "v").contains(&format!(" serializedlength:{length} ")));
    }
}

#[test]
fn set_active_expire_switches_the_cycle() {
    let mut t = Test::new();
    let server = t.session.server().clone();
    let due = |t: &Test| {
        server
            .keyspace
            .expire_due(t.session.server().clock.unix_ms())
    };
    let keys = |t: &mut Test| t.run("INFO keyspace").text().contains("keys=1");
    t.run("SET a 1 PX 10").is("+OK");
    t.run("DEBUG SET-ACTIVE-EXPIRE 0").is("+OK");
    t.clock.advance(10);
    due(&t);
    assert!(keys(&mut t));
    let stats = t.run("INFO stats").text();
    assert!(stats.contains(" expired_stale_perc:100.00 "), "{stats}");
    t.run("DEBUG SET-ACTIVE-EXPIRE 7").is("+OK");
    due(&t);
    assert!(!keys(&mut t));
    t.run("DEBUG SET-ACTIVE-EXPIRE x").is("+OK");
    t.run("SET a 1 PX 10").is("+OK");
    t.clock.advance(10);
    due(&t);
    assert!(keys(&mut t), "x counts as 0");
}

#[test]
fn stringmatch_asks_the_matcher() {
    let mut t = Test::new();
    t.run("DEBUG STRINGMATCH-LEN a*c abbbc").is(":1");
    t.run("DEBUG STRINGMATCH-LEN a*c abbb").is(":0");
    t.run("DEBUG STRINGMATCH-LEN '' ''").is(":1");
    t.run("DEBUG STRINGMATCH-TEST")
        .is("+Apparently the server did not crash: test passed");
}

#[test]
fn populate_creates_what_is_missing() {
    let mut t = Test::new();
    t.run("SET key:1 mine").is("+OK");
    let changes = t.session.server().keyspace.changes();
    t.run("DEBUG POPULATE 3").is("+OK");
    t.run("MGET key:0 key:1 key:2 key:3")
        .is("*4 $7 value:0 $4 mine $7 value:2 $-1");
    t.run("DEBUG POPULATE 2 bar 10").is("+OK");
    assert_eq!(t.run("GET bar:1").0, b"$10\r\nvalue:1\0\0\0\r\n");
    t.run("DEBUG POPULATE 11 p 7").is("+OK");
    t.run("GET p:10").is("$7 value:1");
    t.run("DEBUG POPULATE 1 z 0").is("+OK");
    t.run("GET z:0").is("$7 value:0");
    t.run("OBJECT ENCODING z:0").is("$6 embstr");
    t.run("DEBUG POPULATE 1 big 20000").is("+OK");
    t.run("STRLEN big:0").is(":20000");
    t.run("OBJECT ENCODING big:0").is("$3 raw");
    t.run("DEBUG POPULATE 0").is("+OK");
    assert_eq!(t.session.server().keyspace.changes(), changes);
    t.run("SELECT 2");
    t.run("DEBUG POPULATE 5000").is("+OK");
    t.run("DBSIZE").is(":5000");
}

#[test]
fn populate_errors() {
    let mut t = Test::with(&[
        "--enable-debug-command",
        "yes",
        "--proto-max-bulk-len",
        "2mb",
    ]);
    for line in [
        "x",
        "-1",
        "3.5",
        "99999999999999999999",
        "3 bar x",
        "3 bar -1",
    ] {
        let error = "-ERR value is out of range, must be positive";
        t.run(&format!("DEBUG POPULATE {line}")).is(error);
    }
    t.run("DEBUG POPULATE 1 k 9223372036854775807")
        .is("-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    t.run("DBSIZE").is(":0");
}

#[test]
fn populate_refuses_what_no_memory_holds() {
    let mut test = Test::with(&[
        "--enable-debug-command",
        "yes",
        "--proto-max-bulk-len",
        "9223372036854775807",
    ]);
    let reply = test.run("DEBUG POPULATE 1 key 9223372036854775807");
    assert!(reply.text().starts_with("-ERR string exceeds"), "{reply:?}");
    test.run("DBSIZE").is(":0");
}

#[test]
fn populate_ends_when_its_client_is_killed() {
    let mut t = Test::new();
    t.session.client().shared.raise(Signal::Kill);
    t.run("DEBUG POPULATE 9223372036854775807").is("+OK");
    t.run("DBSIZE").is(":0");
}

#[test]
fn protocol_has_every_type() {
    let bignum = "1234567999999999999999999999999999999";
    let text = "This is a verbatim\nstring";
    let attributed = "$39 Some real reply following the attribute";
    let popularity = "|1 $14 key-popularity *2 $7 key:123 :90";
    let mut t = Test::new();
    for (name, reply) in [
        ("string", "$11 Hello World"),
        ("integer", ":12345"),
        ("double", "$5 3.141"),
        ("null", "$-1"),
        ("array", "*3 :0 :1 :2"),
        ("set", "*3 :0 :1 :2"),
        ("map", "*6 :0 :0 :1 :1 :2 :0"),
        ("attrib", attributed),
        ("push", "-ERR RESP2 is not supported by this command"),
        ("verbatim", &format!("$25 {text}")),
        ("true", ":1"),
        ("FALSE", ":0"),
        ("bignum", &format!("$37 {bignum}")),
        (
            "foo",
            "-ERR Wrong protocol type name. Please use one of the following: \
             string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
        ),
    ] {
        t.run(&format!("DEBUG PROTOCOL {name}")).is(reply);
    }
    t.run("HELLO 3");
    for (name, reply) in [
        ("double", ",3.141"),
        ("null", "_"),
        ("set", "~3 :0 :1 :2"),
        ("map", "%3 :0 #f :1 #t :2 #f"),
        ("attrib", &format!("{popularity} {attributed}")),
        (
            "push",
            "$40 Some real reply following the push reply >2 $16 server-cpu-usage :42",
        ),
        ("verbatim", &format!("=29 txt:{text}")),
        ("true", "#t"),
        ("false", "#f"),
        ("bignum", &format!("({bignum}")),
    ] {
        t.run(&format!("DEBUG PROTOCOL {name}")).is(reply);
    }
}

/// As Valkey 9.1.2 tells with `rdbcompression no`.
#[test]
fn serialized_lengths_of_collections_are_those_of_rdb() {
    let mut t = Test::new();
    t.run("RPUSH l a b c 1 2 3");
    t.run("SADD s 1 2 3");
    t.run("HSET h a b c d");
    t.run("ZADD z 1 a 2.5 b");
    for n in 1..=1000 {
        t.run(&format!("ZADD zz {n} m{n}"));
        t.run(&format!("HSET hh f{n} {n}"));
        t.run(&format!("SADD ss m{n}"));
    }
    for n in 1..=3000 {
        t.run(&format!("RPUSH ll element{n}"));
    }
    for (key, length) in [
        ("l", 25),
        ("s", 15),
        ("h", 20),
        ("z", 21),
        ("zz", 12_895),
        ("hh", 7_768),
        ("ss", 4_895),
        ("ll", 37_944),
    ] {
        let text = object(&mut t, key);
        let expected = format!("serializedlength:{length} ");
        assert!(text.contains(&expected), "{key}: {text}");
    }
    let text = object(&mut t, "ll");
    assert!(
        text.ends_with(
            " ql_nodes:5 ql_avg_node:600.00 ql_listpack_max:-2 ql_compressed:0 \
             ql_uncompressed_size:37928"
        ),
        "{text}"
    );
    t.run("HEXPIRE hh 100 FIELDS 1 f1");
    assert!(object(&mut t, "hh").contains("serializedlength:15768 "));
}

/// A dataset with every type and encoding.
fn fill(t: &mut Test) {
    let list = |number: usize, item: &dyn Fn(usize) -> String| {
        (0..number).map(item).collect::<Vec<String>>().join(" ")
    };
    for line in [
        "SET s hello",
        "SET i 12345",
        "SET e v",
        "PEXPIREAT e 3333333333333",
        "RPUSH l a b 1 a",
        "SADD si 1 2 300",
        "SADD sl a b 7",
        "ZADD z 1 a 2.5 b 0.1 c -inf d 1e21 e",
        "HSET h f v g 5",
        "HSET ht f v g 5",
        "HPEXPIREAT ht 3333333333333 FIELDS 1 f",
        "PEXPIREAT z 3333333333333",
        &format!("RPUSH L {}", list(3000, &|i| format!("e{i}"))),
        &format!("SADD S {}", list(1000, &|i| format!("m{i}"))),
        &format!(
            "ZADD Z {}",
            list(1000, &|i| format!("{} m{i}", i as f64 / 4.0))
        ),
        &format!("HSET H {}", list(1000, &|i| format!("f{i} {i}"))),
    ] {
        let reply = t.run(line).text();
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
}

#[test]
fn digests_are_those_of_valkey() {
    let mut t = Test::new();
    let zeros = format!("+{}", "0".repeat(40));
    t.run("DEBUG DIGEST").is(&zeros);
    t.run("DEBUG DIGEST-VALUE").is("*0");
    fill(&mut t);
    t.run("DEBUG DIGEST")
        .is("+d5ae4cfb0ab9dba5631a0fa8a33594c679b2098f");
    let digests = [
        "0000000000000000000000000000000000000000",
        "36b23a1456b2dce2c3ed252c456761301dba8060",
        "e1cf90774e995ae03de66e8109dc5cb9d9c2dc83",
        "311b17018163335616e089f6b951c82c477335ac",
        "edb75ec996d7c1ff4813ec95d8d119af956d57f1",
        "bff1310353f341fe4488c7323df3673679c04f02",
        "4db2915dc242371e719444ddc8b328e38ac18e1c",
        "7012781c5d0669c5ab6b01100e70853e07520bdd",
        "a517316c9277e5f73e03ee50bbc7e094b6d7135d",
        "a517316c9277e5f73e03ee50bbc7e094b6d7135d",
        "775da397c479d43dc85a2e3938f7f9f998b0e6d2",
        "351b86706c8181e24728b9ef86e9e314ac39d342",
        "c6d063c379b1e6492b83132b96e6636cf47bb596",
        "0d888b592db77678a7cc12019e29d3af1601c69a",
    ];
    t.run("DEBUG DIGEST-VALUE nokey s i e l si sl z h ht L S Z H")
        .is(&format!("*14 +{}", digests.join(" +")));
    // Other databases count by their number; those without keys do not.
    t.run("SELECT 3");
    t.run("SET k v");
    t.run("DEBUG DIGEST")
        .is("+091ae9c278cd98d2e60fb811606c62d7b1d4e9e5");
    t.run("DEL k");
    t.run("DEBUG DIGEST")
        .is("+d5ae4cfb0ab9dba5631a0fa8a33594c679b2098f");
    t.run("DEBUG DIGEST-VALUE s").is(&format!("*1 {zeros}"));
}

#[test]
fn digests_leave_no_trace_and_see_no_expired_field() {
    let mut t = Test::new();
    t.run("DEBUG SET-ACTIVE-EXPIRE 0");
    t.run("HSET h f v g 5");
    let before = t.run("DEBUG DIGEST-VALUE h").text();
    t.run("HSET h x y");
    t.run("HPEXPIRE h 5 FIELDS 1 x");
    assert_ne!(t.run("DEBUG DIGEST-VALUE h").text(), before);
    t.clock.advance(5);
    t.run("DEBUG DIGEST-VALUE h").is(&before);
    t.clock.advance(9_995);
    t.run("DEBUG DIGEST-VALUE h nokey");
    t.run("DEBUG DIGEST");
    t.run("OBJECT IDLETIME h").is(":10");
    t.counted(
        "DEBUG DIGEST-VALUE h nokey",
        &format!("*2 {} +{}", &before[3..], "0".repeat(40)),
        [0; 4],
    );
}

/// Figures that Valkey 9.1.2 gives for the same commands.
#[test]
fn streams_are_measured_and_digested_as_in_valkey() {
    let mut t = Test::new();
    for line in [
        "XADD s1 1-1 a 1 b 2",
        "XADD s1 2-1 a 1 b 3",
        "XADD s1 2-2 c 5",
        "XDEL s1 2-1",
        "XADD s2 5-5 f v",
        "XGROUP CREATE s2 g 0",
        "XGROUP CREATE s2 g2 $",
        "XADD s3 5-5 f v",
        "XADD s3 6-5 f v2",
        "XGROUP CREATE s3 g 0",
        "XREADGROUP GROUP g c1 COUNT 1 STREAMS s3 >",
        "XGROUP CREATECONSUMER s3 g c0",
        "XGROUP CREATE s4 g $ MKSTREAM",
        "XADD s5 1-1 a b",
        "XDEL s5 1-1",
    ] {
        let reply = t.run(line).text();
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
    for (key, length, digest) in [
        // Valkey compresses the node, which makes it five bytes less.
        ("s1", 88, "481180682b4821ff7d6203c6f1e47a90d3b8c0d0"),
        ("s2", 88, "e0b42ffdb3a953c885acd413e988f80c9019c61a"),
        ("s3", 157, "93a900f3c8c33896cf35773cae0260237dac227c"),
        // Groups and figures are no part of it.
        ("s4", 25, "06bd01623de1d087bbd377851096317b1af476a2"),
        ("s5", 10, "06bd01623de1d087bbd377851096317b1af476a2"),
    ] {
        let text = object(&mut t, key);
        let expected = format!("1 encoding:stream serializedlength:{length} ");
        assert!(text.starts_with(&expected), "{key}: {text}");
        t.run(&format!("DEBUG DIGEST-VALUE {key}"))
            .is(&format!("*1 +{digest}"));
    }
    t.run("DEBUG DIGEST")
        .is("+423568c0796328216816fced4e3649879ab2804e");
}
