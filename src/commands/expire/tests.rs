//! What Valkey 9.1.2 answered.

use crate::commands::tests::{START_MS, Test};

const NX_AND: &str = "-ERR NX and XX, GT or LT options at the same time are not compatible";
const GT_AND_LT: &str = "-ERR GT and LT options at the same time are not compatible";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const START_S: u64 = START_MS / 1000;

#[test]
fn wrong_numbers_of_arguments() {
    let mut t = Test::new();
    for line in [
        "EXPIRE x",
        "PEXPIRE x",
        "EXPIREAT x",
        "PEXPIREAT x",
        "TTL",
        "TTL a b",
        "PTTL",
        "EXPIRETIME",
        "PEXPIRETIME",
        "PERSIST",
        "PERSIST a b",
    ] {
        let name = line.split(' ').next().unwrap_or_default().to_lowercase();
        t.run(line).is(&format!(
            "-ERR wrong number of arguments for '{name}' command"
        ));
    }
}

#[test]
fn the_four_ways_to_set_an_expiry() {
    let mut t = Test::new();
    for (line, at_ms) in [
        ("EXPIRE k 100".to_owned(), START_MS + 100_000),
        ("PEXPIRE k 2500".to_owned(), START_MS + 2_500),
        (format!("EXPIREAT k {}", START_S + 7), START_MS + 7_000),
        (format!("PEXPIREAT k {}", START_MS + 1), START_MS + 1),
    ] {
        t.run("SET k v").is("+OK");
        t.run(&line).is(":1");
        t.run("PEXPIRETIME k").is(&format!(":{at_ms}"));
        t.run("PTTL k").is(&format!(":{}", at_ms - START_MS));
        t.run("EXPIRETIME k")
            .is(&format!(":{}", (at_ms + 500) / 1000));
        t.run("TTL k")
            .is(&format!(":{}", (at_ms - START_MS + 500) / 1000));
    }
    t.run("GET k").is("$1 v");
    t.clock.advance(1);
    t.run("GET k").is("$-1");
    t.run("EXPIRE k 10").is(":0");
    t.run("EXISTS k").is(":0");
}

#[test]
fn seconds_are_rounded() {
    let mut t = Test::new();
    for (ms, seconds) in [
        (1, 0),
        (100, 0),
        (499, 0),
        (500, 1),
        (1000, 1),
        (1499, 1),
        (1500, 2),
        (2499, 2),
        (2500, 3),
    ] {
        t.run(&format!("SET k v PX {ms}")).is("+OK");
        t.run("TTL k").is(&format!(":{seconds}"));
        t.run("PTTL k").is(&format!(":{ms}"));
    }
    for (ms, seconds) in [
        (9_000_000_000_000u64, 9_000_000_000u64),
        (9_000_000_000_499, 9_000_000_000),
        (9_000_000_000_500, 9_000_000_001),
        (9_000_000_000_999, 9_000_000_001),
    ] {
        t.run(&format!("SET k v PXAT {ms}")).is("+OK");
        t.run("EXPIRETIME k").is(&format!(":{seconds}"));
        t.run("PEXPIRETIME k").is(&format!(":{ms}"));
    }
}

#[test]
fn keys_without_expiry_and_missing_keys() {
    let mut t = Test::new();
    t.run("SET k v").is("+OK");
    t.run("SET e v PX 1").is("+OK");
    t.clock.advance(1);
    for name in ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"] {
        t.run(&format!("{name} k")).is(":-1");
        t.run(&format!("{name} e")).is(":-2");
        t.run(&format!("{name} x")).is(":-2");
    }
    for line in [
        "EXPIRE x 10",
        "PEXPIRE x 10",
        "EXPIREAT x 10",
        "PEXPIREAT x 10",
        "EXPIRE x -10",
        "EXPIRE x 10 XX GT",
        "PERSIST x",
        "PERSIST k",
    ] {
        t.run(line).is(":0");
    }
}

#[test]
fn persist_takes_the_expiry_off() {
    let mut t = Test::new();
    t.run("SET k v PX 100").is("+OK");
    t.run("PERSIST k").is(":1");
    t.run("PERSIST k").is(":0");
    t.run("TTL k").is(":-1");
    t.clock.advance(100);
    t.run("GET k").is("$1 v");
    t.run("PEXPIRE k 5").is(":1");
    t.clock.advance(5);
    t.run("PERSIST k").is(":0");
    t.run("EXISTS k").is(":0");
}

#[test]
fn options_are_judged_before_the_number() {
    let mut t = Test::new();
    for key in ["x", "k"] {
        t.run("SET k v").is("+OK");
        for (tail, reply) in [
            ("a", NOT_INTEGER),
            ("1.5", NOT_INTEGER),
            ("' 1'", NOT_INTEGER),
            ("01", NOT_INTEGER),
            ("''", NOT_INTEGER),
            ("9223372036854775808", NOT_INTEGER),
            ("-9223372036854775809", NOT_INTEGER),
            ("10 foo", "-ERR Unsupported option foo"),
            ("a foo", "-ERR Unsupported option foo"),
            ("10 ''", "-ERR Unsupported option "),
            ("10 NX foo", "-ERR Unsupported option foo"),
            ("10 NX XX foo", "-ERR Unsupported option foo"),
            ("10 NX XX", NX_AND),
            ("10 nx gt", NX_AND),
            ("10 LT NX", NX_AND),
            ("10 NX XX GT LT", NX_AND),
            ("a NX XX", NX_AND),
            ("10 GT LT", GT_AND_LT),
            ("10 XX LT GT", GT_AND_LT),
        ] {
            for name in ["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"] {
                t.run(&format!("{name} {key} {tail}")).is(reply);
            }
        }
        t.run("TTL k").is(":-1");
    }
    // No reply can be smuggled into an error, and C's strings end at a NUL.
    t.args(&[b"EXPIRE", b"k", b"10", b"fo\r\n+OK"])
        .is("-ERR Unsupported option fo  +OK");
    t.args(&[b"EXPIRE", b"k", b"10", b"fo\0o"])
        .is("-ERR Unsupported option fo");
    t.args(&[b"EXPIRE", b"k", b"10", b"xx\0o"]).is(":0");
    t.args(&[b"EXPIRE", b"k", b"10", b"nx\0o"]).is(":1");
}

/// With a current TTL of 100 s, or none: what each option makes of new ones.
#[test]
fn conditions() {
    #[rustfmt::skip]
    let table = [
        // option, then whether it sets 50, 100, 101, -1 without a TTL, and with one of 100 s
        ("",      [true,  true,  true,  true ], [true,  true,  true,  true ]),
        ("NX",    [true,  true,  true,  true ], [false, false, false, false]),
        ("XX",    [false, false, false, false], [true,  true,  true,  true ]),
        ("GT",    [false, false, false, false], [false, false, true,  false]),
        ("LT",    [true,  true,  true,  true ], [true,  false, false, true ]),
        ("XX GT", [false, false, false, false], [false, false, true,  false]),
        ("GT xx", [false, false, false, false], [false, false, true,  false]),
        ("XX LT", [false, false, false, false], [true,  false, false, true ]),
        ("LT LT", [true,  true,  true,  true ], [true,  false, false, true ]),
        ("NX NX", [true,  true,  true,  true ], [false, false, false, false]),
    ];
    let mut t = Test::new();
    for (option, without, with) in table {
        for (setup, before, allowed) in [
            ("SET k v", ":-1", without),
            ("SET k v EX 100", ":100", with),
        ] {
            for (seconds, allowed) in [50, 100, 101, -1].into_iter().zip(allowed) {
                t.run(setup).is("+OK");
                let line = format!("EXPIRE k {seconds} {option}");
                let reply = t.run(&line).text();
                assert_eq!(reply, format!(":{}", allowed as u8), "{setup}, {line}");
                let after = match (allowed, seconds) {
                    (false, _) => before.to_owned(),
                    (true, -1) => ":-2".to_owned(),
                    (true, seconds) => format!(":{seconds}"),
                };
                assert_eq!(t.run("TTL k").text(), after, "{setup}, {line}");
            }
        }
    }
}

#[test]
fn a_time_that_has_passed_deletes() {
    let mut t = Test::new();
    for line in [
        "EXPIRE k 0".to_owned(),
        "EXPIRE k -1".to_owned(),
        "EXPIRE k -9223372036854775".to_owned(),
        "PEXPIRE k 0".to_owned(),
        "PEXPIRE k -9223372036854775808".to_owned(),
        "EXPIREAT k 0".to_owned(),
        "EXPIREAT k -1".to_owned(),
        format!("EXPIREAT k {START_S}"),
        "PEXPIREAT k 5".to_owned(),
        "PEXPIREAT k -9223372036854775808".to_owned(),
        format!("PEXPIREAT k {START_MS}"),
    ] {
        t.run("SET k v").is("+OK");
        t.counted(&line, ":1", [0, 0, 1, 1]);
        t.run("DBSIZE").is(":0");
    }
}

/// `None`: refused, else the reply for a key that is there.
#[test]
fn times_that_overflow_are_refused() {
    const MAX: i64 = i64::MAX;
    const NOW: i64 = START_MS as i64;
    let deletes = Some(":-2".to_owned());
    let at = |ms: i64| Some(format!(":{ms}"));
    let cases = [
        ("expire", MAX, None),
        ("expire", MAX - 1, None),
        ("expire", i64::MIN, None),
        ("expire", -MAX, None),
        ("expire", MAX / 1000, None),
        ("expire", MAX / 1000 + 1, None),
        ("expire", -(MAX / 1000), deletes.clone()),
        ("expire", -(MAX / 1000) - 1, None),
        (
            "expire",
            (MAX - NOW) / 1000,
            at((MAX - NOW) / 1000 * 1000 + NOW),
        ),
        ("expire", (MAX - NOW) / 1000 + 1, None),
        ("pexpire", MAX, None),
        ("pexpire", MAX - NOW, at(MAX)),
        ("pexpire", MAX - NOW + 1, None),
        ("pexpire", i64::MIN, deletes.clone()),
        ("expireat", MAX, None),
        ("expireat", MAX / 1000, at(MAX / 1000 * 1000)),
        ("expireat", MAX / 1000 + 1, None),
        ("expireat", -(MAX / 1000), deletes.clone()),
        ("expireat", -(MAX / 1000) - 1, None),
        ("expireat", i64::MIN, None),
        ("pexpireat", MAX, at(MAX)),
        ("pexpireat", MAX - 1, at(MAX - 1)),
        ("pexpireat", i64::MIN, deletes),
    ];
    let mut t = Test::new();
    for (name, time, becomes) in cases {
        let refused = format!("-ERR invalid expire time in '{name}' command");
        for upper in [false, true] {
            let name = if upper {
                name.to_uppercase()
            } else {
                name.to_owned()
            };
            t.run("SET k v").is("+OK");
            match &becomes {
                None => {
                    t.run(&format!("{name} k {time}")).is(&refused);
                    t.run(&format!("{name} x {time}")).is(&refused);
                    t.run("TTL k").is(":-1");
                }
                Some(at_ms) => {
                    t.run(&format!("{name} k {time}")).is(":1");
                    t.run(&format!("{name} x {time}")).is(":0");
                    assert_eq!(t.run("PEXPIRETIME k").text(), *at_ms, "{name} {time}");
                }
            }
        }
    }
    // The furthest expiry rounds up and does not overflow.
    t.run("SET k v").is("+OK");
    t.run("PEXPIREAT k 9223372036854775807").is(":1");
    t.run("EXPIRETIME k").is(":9223372036854776");
    t.run("PTTL k").is(&format!(":{}", MAX - NOW));
    t.run("TTL k").is(&format!(":{}", (MAX - NOW + 500) / 1000));
}

#[test]
fn what_counts() {
    let mut t = Test::new();
    t.run("SET k v").is("+OK");
    t.counted("EXPIRE x 10", ":0", [0, 0, 0, 0]);
    t.counted("EXPIRE k 10", ":1", [0, 0, 1, 0]);
    t.counted("EXPIRE k 10 NX", ":0", [0, 0, 0, 0]);
    t.counted("TTL k", ":10", [1, 0, 0, 0]);
    t.counted("PTTL x", ":-2", [0, 1, 0, 0]);
    t.counted("PEXPIRETIME k", ":1700000010000", [1, 0, 0, 0]);
    t.counted("PERSIST k", ":1", [0, 0, 1, 0]);
    t.counted("PERSIST k", ":0", [0, 0, 0, 0]);
    t.counted("PEXPIRE k 1", ":1", [0, 0, 1, 0]);
    t.clock.advance(1);
    t.counted("EXPIRETIME k", ":-2", [0, 1, 0, 1]);
    t.run("SET k v PX 1").is("+OK");
    t.clock.advance(1);
    t.counted("EXPIRE k 10", ":0", [0, 0, 0, 1]);
}

#[test]
fn values_keep_whatever_becomes_of_the_expiry() {
    let mut t = Test::new();
    let big = "b".repeat(20_000);
    for value in ["", "5", "abc", &"m".repeat(300), &big] {
        for key in ["k".to_owned(), "k".repeat(300)] {
            t.args(&[b"SET", key.as_bytes(), value.as_bytes()])
                .is("+OK");
            for line in [
                "EXPIRE {} 100",
                "PEXPIRE {} 5000",
                "PERSIST {}",
                "EXPIRE {} 9",
            ] {
                t.run(&line.replace("{}", &key)).is(":1");
                let reply = t.run(&format!("GET {key}")).text();
                assert_eq!(reply, format!("${} {value}", value.len()).trim_end());
            }
            t.clock.advance(9_000);
            t.run(&format!("GET {key}")).is("$-1");
        }
    }
}
