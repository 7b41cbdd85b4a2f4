//! Random values of all types and encodings, dumped and restored, also where other limits apply than
//! where they were made.

use crate::commands::tests::Test;
use crate::persist::rdb::format::kind;
use crate::util::rng::Rng;

const ROUNDS: usize = 600;
/// Far enough from the test's clock.
const EXPIRE_AT_MS: u64 = 1_800_000_000_000;

struct Maker {
    rng: Rng,
    /// Texts are those of integers.
    only_ints: bool,
    /// Of the next entry of a stream.
    next_seq: usize,
}

impl Maker {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.index(from.len())]
    }

    fn text(&mut self) -> Vec<u8> {
        let int = self.rng.next_u64() as i64 >> self.rng.index(64);
        match self.rng.index(12) {
            _ if self.only_ints => int.to_string().into_bytes(),
            0 => Vec::new(),
            1..5 => int.to_string().into_bytes(),
            5 => format!("0{int}").into_bytes(),
            6 => b"ab".repeat(self.rng.index(200)),
            7 => {
                let len = self.pick(&[63, 64, 65, 4095, 4096, 5000, 20_000]);
                let mut bytes = vec![0; len];
                self.rng.fill(&mut bytes);
                bytes
            }
            _ => format!("text {}", self.rng.index(1000)).into_bytes(),
        }
    }

    /// No negative zero: a short sorted set has none, in Redis neither.
    fn score(&mut self) -> Vec<u8> {
        let fraction = self.rng.unit_f64() - 0.5;
        let text = match self.rng.index(8) {
            0 => "inf".to_owned(),
            1 => "-inf".to_owned(),
            3 => format!(
                "{:e}",
                fraction * 10f64.powi(self.rng.index(400) as i32 - 200)
            ),
            4 => fraction.to_string(),
            _ => (self.rng.index(1000) as i64 - 500).to_string(),
        };
        text.into_bytes()
    }

    /// A command that makes or changes the stream `k`, or is refused.
    fn stream_step(&mut self) -> Vec<Vec<u8>> {
        let id = |seq: usize| format!("{}-{seq}", seq / 7);
        let any = id(self.rng.index(self.next_seq));
        let group = format!("k g{}", self.rng.index(3));
        let consumer = format!("c{}", self.rng.index(4));
        let count = 1 + self.rng.index(9);
        let line = match self.rng.index(16) {
            0 => format!("XDEL k {any}"),
            1 => format!("XTRIM k MAXLEN {count}"),
            2 => format!("XSETID k {any}"),
            3 | 4 => format!("XGROUP CREATE {group} {any} MKSTREAM"),
            5 => format!("XGROUP CREATECONSUMER {group} {consumer}"),
            6 => format!("XACK {group} {any}"),
            7 => format!("XCLAIM {group} {consumer} 0 {any} RETRYCOUNT {count}00000 FORCE"),
            8 => {
                let group = &group[2..];
                format!("XREADGROUP GROUP {group} {consumer} COUNT {count} STREAMS k >")
            }
            _ => {
                let mut argv = vec![b"XADD".to_vec(), b"k".to_vec()];
                argv.push(id(self.next_seq).into_bytes());
                self.next_seq += 1 + count / 7;
                let pairs = self.pick(&[1, 1, 2, 3]);
                for pair in 0..pairs {
                    argv.push(match self.rng.index(4) {
                        0 => self.text(),
                        _ => format!("field{pair}").into_bytes(),
                    });
                    argv.push(self.text());
                }
                return argv;
            }
        };
        line.split(' ')
            .map(|word| word.as_bytes().to_vec())
            .collect()
    }

    /// A command that makes or changes the value of `k`.
    fn step(&mut self, type_: &str) -> Vec<Vec<u8>> {
        if type_ == "stream" {
            return self.stream_step();
        }
        let count = 1 + self.rng.index(40);
        let mut args: Vec<Vec<u8>> = Vec::new();
        let name = match (type_, self.rng.index(6)) {
            ("string", 0) => "APPEND",
            ("string", _) => "SET",
            ("list", 0) => "LPUSH",
            ("list", 1) => "LTRIM",
            ("list", _) => "RPUSH",
            ("set", 0) => "SREM",
            ("set", _) => "SADD",
            ("zset", 0) => "ZREM",
            ("zset", _) => "ZADD",
            ("hash", 0) => "HDEL",
            ("hash", 1) => "HPEXPIREAT",
            _ => "HSET",
        };
        match name {
            "LTRIM" => args.extend([b"1".to_vec(), b"-2".to_vec()]),
            "SET" | "APPEND" => args.push(self.text()),
            "HPEXPIREAT" => {
                let fields = (0..3).map(|_| self.text());
                let fields: Vec<Vec<u8>> = fields.collect();
                let head = [EXPIRE_AT_MS.to_string().into_bytes(), b"FIELDS".to_vec()];
                args.extend(head.into_iter().chain([b"3".to_vec()]));
                args.extend(fields);
            }
            _ => {
                for _ in 0..count {
                    match name {
                        "ZADD" => args.extend([self.score(), self.text()]),
                        "HSET" => args.extend([self.text(), self.text()]),
                        _ => args.push(self.text()),
                    }
                }
            }
        }
        [name.as_bytes().to_vec(), b"k".to_vec()]
            .into_iter()
            .chain(args)
            .collect()
    }

    fn limits(&mut self, t: &mut Test) {
        let entries = self.pick(&["0", "3", "30", "512"]);
        let value = self.pick(&["1", "20", "64", "100000"]);
        for name in ["hash", "set", "zset"] {
            t.run(&format!("CONFIG SET {name}-max-listpack-entries {entries}"))
                .is("+OK");
            t.run(&format!("CONFIG SET {name}-max-listpack-value {value}"))
                .is("+OK");
        }
        let size = self.pick(&["-2", "-1", "1", "5", "1000"]);
        t.run(&format!("CONFIG SET list-max-listpack-size {size}"))
            .is("+OK");
        let depth = self.pick(&["0", "1"]);
        t.run(&format!("CONFIG SET list-compress-depth {depth}"))
            .is("+OK");
        t.run(&format!("CONFIG SET set-max-intset-entries {entries}"))
            .is("+OK");
        let entries = self.pick(&["0", "1", "3", "100"]);
        t.run(&format!("CONFIG SET stream-node-max-entries {entries}"))
            .is("+OK");
        let compress = self.pick(&["yes", "no"]);
        t.run(&format!("CONFIG SET rdbcompression {compress}"))
            .is("+OK");
    }
}

/// The fields of `key` with their expiries.
fn expiries(t: &mut Test, key: &str) -> Vec<String> {
    let reply = t.args(&[b"HKEYS", key.as_bytes()]).0;
    let mut fields: Vec<Vec<u8>> = Vec::new();
    let mut rest = &reply[reply.iter().position(|&byte| byte == b'\n').unwrap() + 1..];
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let len: usize = std::str::from_utf8(&rest[1..end - 1])
            .unwrap()
            .parse()
            .unwrap();
        fields.push(rest[end + 1..][..len].to_vec());
        rest = &rest[end + 1 + len + 2..];
    }
    fields.sort();
    let mut times = Vec::new();
    for field in fields {
        let argv: [&[u8]; 5] = [b"HPEXPIRETIME", key.as_bytes(), b"FIELDS", b"1", &field];
        times.push(format!("{} {}", field.escape_ascii(), t.args(&argv).text()));
    }
    times
}

#[test]
fn what_was_dumped_is_restored() {
    let mut t = Test::new();
    let mut maker = Maker {
        rng: Rng::from_seed(4),
        only_ints: false,
        next_seq: 1,
    };
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..ROUNDS {
        maker.limits(&mut t);
        maker.only_ints = maker.rng.index(4) == 0;
        t.run("FLUSHALL");
        let type_ = maker.pick(&["string", "list", "set", "zset", "hash", "stream"]);
        let steps = if type_ == "stream" { 60 } else { 8 };
        for _ in 0..1 + maker.rng.index(steps) {
            let argv = maker.step(type_);
            let argv: Vec<&[u8]> = argv.iter().map(|arg| &arg[..]).collect();
            let reply = t.args(&argv).text();
            let is_expected = type_ == "stream" && !reply.starts_with("-ERR unknown");
            assert!(!reply.starts_with('-') || is_expected, "{reply}");
        }
        if t.run("EXISTS k").text() == ":0" {
            continue;
        }
        if maker.rng.index(2) == 0 {
            maker.limits(&mut t);
        }
        let (value, version) = super::dump(&mut t, "k");
        seen.insert((value[0], t.run("OBJECT ENCODING k").text()));
        assert_eq!(version == 80, value[0] == kind::VALKEY_HASH_2);
        let reply = t.args(&[b"DUMP", b"k"]).0;
        let head = reply.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let payload = reply[head..].strip_suffix(b"\r\n").unwrap();
        t.args(&[b"RESTORE", b"k2", b"0", payload]).is("+OK");
        let digests = t.run("DEBUG DIGEST-VALUE k k2").text();
        let words: Vec<&str> = digests.split(' ').collect();
        assert_eq!(words[1], words[2], "round {round}: {type_}");
        if type_ == "stream" {
            let again = t.args(&[b"DUMP", b"k2"]).0;
            assert!(reply == again, "round {round}");
        }
        if type_ == "hash" {
            assert_eq!(
                expiries(&mut t, "k"),
                expiries(&mut t, "k2"),
                "round {round}"
            );
        }
    }
    let forms: Vec<String> = seen
        .iter()
        .map(|(kind, enc)| format!("{kind} {enc}"))
        .collect();
    assert_eq!(seen.len(), 15, "{forms:?}");
}
