//! Words and requests out of which inputs are made: numbers at which checks break, keys of few names so
//! that commands meet, and requests drawn from the syntax that the rows themselves tell.

use kivi::commands::{CommandTable, Registered};
use kivi::spec::syntax::{self, Argument, Kind};
use kivi::spec::{Flags, Group};
use kivi::util::rng::Rng;

/// What is no name and no key.
const WORDS: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "10",
    "16",
    "100",
    "128",
    "129",
    "512",
    "1000",
    "-0",
    "01",
    "1.5",
    "-2.25",
    "1e3",
    "-1e400",
    "nan",
    "inf",
    "-inf",
    "+inf",
    "(1",
    "(2",
    "[a",
    "(b",
    "-",
    "+",
    "$",
    ">",
    "*",
    "0-0",
    "0-1",
    "1-1",
    "1-*",
    "2-0",
    "5-5",
    "18446744073709551615-18446744073709551615",
    "4294967296",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "1700000000",
    "1700000001000",
    "u8",
    "i64",
    "u63",
    "i5",
    "#1",
    "#0",
    "a*",
    "[^a]?",
    "h*->f",
    "s*",
    "nosort",
    "#",
    "m",
    "km",
    "ft",
    "13.361389",
    "38.115556",
    "179.99",
    "-85.05",
    "f",
    "g",
    "n",
    "a",
    "b",
    "c",
    "value",
    "default",
    "message",
    "__keyspace@0__:*",
];

/// Keys, four of each type.
const KEYS: &[(char, &[&str])] = &[
    ('s', &["s1", "s2", "s3", "s9"]),
    ('l', &["l1", "l2", "l3", "l9"]),
    ('t', &["t1", "t2", "t3", "t9"]),
    ('h', &["h1", "h2", "h3", "h9"]),
    ('z', &["z1", "z2", "z3", "z9"]),
    ('x', &["x1", "x2", "x3", "x9"]),
    ('p', &["p1", "p2", "p3", "p9"]),
];

/// A library with a function that writes and one that reads.
const LIBRARY: &str = "#!lua name=l\nredis.register_function('f', function(k, a) return \
     redis.call('SET', k[1], a[1]) end)\nredis.register_function{function_name='r', callback=function(k) \
     return redis.call('GET', k[1]) end, flags={'no-writes'}}";

/// Scripts.
const SCRIPTS: &[&str] = &[
    "return 1",
    "return {1,2,{3,'a'},{ok='x'},{err='E y'},false}",
    "return redis.call('SET', KEYS[1], ARGV[1])",
    "return redis.pcall('LPUSH', KEYS[1], unpack(ARGV))",
    "redis.setresp(3) return redis.call('HGETALL', KEYS[1])",
    "local v = redis.call('GET', KEYS[1]) if v then redis.call('DEL', KEYS[1]) end return v",
    "return cjson.encode(cjson.decode(ARGV[1]))",
    "return redis.sha1hex(KEYS[1]) .. tostring(redis.call('ZSCORE', KEYS[1], ARGV[1]))",
    "return redis.error_reply('MY error')",
    "return {double=1.5}",
    "return redis.call('XADD', KEYS[1], '*', 'f', ARGV[1])",
];

/// Any word.
pub fn any(rng: &mut Rng) -> Vec<u8> {
    match rng.below(16) {
        0..8 => pick(rng, WORDS).into(),
        8..13 => key(rng, None).into(),
        13 => (rng.next_u64() as i64 >> rng.below(64)).to_string().into(),
        14 => (0..rng.below(40)).map(|_| rng.next_u64() as u8).collect(),
        _ => vec![b'a' + rng.below(3) as u8; rng.index(300)],
    }
}

/// A line for the target itself.
pub fn aside(rng: &mut Rng) -> String {
    match rng.below(8) {
        0 => "@reload".into(),
        1 => "@expire".into(),
        2..4 => format!("@+{}", 1u64 << rng.below(24)),
        _ => format!("@{}", rng.below(3)),
    }
}

fn pick<'w>(rng: &mut Rng, words: &[&'w str]) -> &'w str {
    words[rng.index(words.len())]
}

fn key(rng: &mut Rng, type_: Option<char>) -> &'static str {
    let any = KEYS[rng.index(KEYS.len())].0;
    let type_ = match rng.below(12) {
        0 => any,
        _ => type_.unwrap_or(any),
    };
    let keys = KEYS.iter().find(|(letter, _)| *letter == type_);
    pick(rng, keys.expect("a letter of the table").1)
}

/// A request of any command of these families; all of them if none is named.
pub fn request(table: &CommandTable, families: &[&str], rng: &mut Rng) -> Vec<Vec<u8>> {
    let rows = table.commands();
    loop {
        let row = &rows[rng.index(rows.len())];
        let command = match row.subcommands.len() {
            0 => row,
            many => &row.subcommands[rng.index(many)],
        };
        let group = command.row.docs.group;
        let is_wanted = families.is_empty() || families.contains(&group.name());
        // Of a server's own commands there are many, and little that they do to each other.
        let is_rare = matches!(group, Group::Server | Group::Connection) && rng.below(4) > 0;
        if is_wanted && !is_rare && !command.row.flags.has(Flags::HIDDEN) {
            return of(command, rng);
        }
    }
}

fn of(command: &Registered, rng: &mut Rng) -> Vec<Vec<u8>> {
    let names = command
        .full_name
        .split('|')
        .map(|name| name.to_ascii_uppercase());
    let mut maker = Maker {
        type_: match command.row.docs.group {
            Group::String | Group::Bitmap => Some('s'),
            Group::List => Some('l'),
            Group::Set => Some('t'),
            Group::Hash => Some('h'),
            Group::SortedSet | Group::Geo => Some('z'),
            Group::Stream => Some('x'),
            Group::HyperLogLog => Some('p'),
            _ => None,
        },
        rng,
        count: None,
        request: names.map(String::into_bytes).collect(),
    };
    if let Ok(arguments) = syntax::parse(command.row.docs.syntax) {
        maker.all(&arguments);
    }
    if maker.rng.below(8) == 0 {
        let word = any(maker.rng);
        maker.request.push(word);
    }
    maker.request
}

/// What walks over a row's syntax.
struct Maker<'r> {
    rng: &'r mut Rng,
    /// The letter of the type that the command is about.
    type_: Option<char>,
    /// How often what is repeated next is repeated, if a number in front of it has said so.
    count: Option<u64>,
    request: Vec<Vec<u8>>,
}

impl Maker<'_> {
    fn push(&mut self, word: impl Into<Vec<u8>>) {
        self.request.push(word.into());
    }

    fn all(&mut self, arguments: &[Argument]) {
        for argument in arguments {
            if argument.optional && self.rng.below(2) == 0 {
                continue;
            }
            let count = match argument.multiple {
                true => self.count.take().unwrap_or_else(|| 1 + self.rng.below(4)),
                false => 1,
            };
            for at in 0..count {
                match argument.token {
                    Some(token) if at == 0 || argument.multiple_token => self.push(token),
                    _ => {}
                }
                self.one(argument);
            }
            // As many ids as streams.
            if argument.multiple && matches!(argument.kind, Kind::Key(_)) {
                self.count = Some(count);
            }
        }
    }

    fn one(&mut self, argument: &Argument) {
        match argument.kind {
            Kind::PureToken => {}
            Kind::Block => self.all(&argument.arguments),
            Kind::OneOf => {
                let chosen = &argument.arguments[self.rng.index(argument.arguments.len())];
                if let Some(token) = chosen.token {
                    self.push(token);
                }
                self.one(chosen);
            }
            Kind::Key(_) => {
                let word = key(self.rng, self.type_);
                self.push(word);
            }
            Kind::Integer if argument.name.starts_with("num") => {
                let count = 1 + self.rng.below(3);
                self.count = Some(count);
                self.push(count.to_string());
            }
            _ if self.rng.below(8) == 0 => {
                let word = any(self.rng);
                self.push(word);
            }
            Kind::Integer => {
                let number = self.rng.below(20) as i64 - 4;
                self.push(number.to_string());
            }
            Kind::Double => {
                let number = self.rng.below(40) as f64 / 4.0 - 2.0;
                self.push(number.to_string());
            }
            Kind::UnixTime => {
                let secs = crate::START_MS / 1000 + self.rng.below(100);
                let is_ms = argument.name.contains("milli");
                self.push((if is_ms { secs * 1000 } else { secs }).to_string());
            }
            Kind::Pattern => {
                let word = pick(
                    self.rng,
                    &["*", "s*", "h*->f", "?1", "[a-t]*", "nosort", "#"],
                );
                self.push(word);
            }
            Kind::String => self.named(&argument.name),
        }
    }

    /// A word for an argument of this name.
    fn named(&mut self, name: &str) {
        let is_stream = self.type_ == Some('x');
        let words: &[&str] = match name {
            "id" | "threshold" | "last-id" | "max-deleted-id" | "entriesread" => {
                &["1-1", "2-1", "0", "*", ">", "3-*", "$", "9-9"]
            }
            "start" if is_stream => &["-", "0", "(1-1"],
            "end" if is_stream => &["+", "9", "2-1"],
            "group" => &["g", "g", "other"],
            "consumer" => &["c", "d"],
            "field" => &["f", "g", "n"],
            "min" | "start" => &["0", "-inf", "-", "1", "[a", "(1"],
            "max" | "stop" => &["2", "+inf", "+", "-1", "[c", "(5"],
            "encoding" => &["u8", "i5", "u63", "i64"],
            "offset" => &["0", "1", "#1", "100"],
            "script" => SCRIPTS,
            "function-code" => &[LIBRARY],
            "function" => &["f", "r"],
            "sha1" => &["e0e1f9fabfc9d4800c877a703b823ac0578ff8db"],
            "cursor" => &["0", "3"],
            "channel" | "shardchannel" => &["a", "b", "__keyspace@0__:s1"],
            _ => WORDS,
        };
        let word = pick(self.rng, words);
        self.push(word);
    }
}
