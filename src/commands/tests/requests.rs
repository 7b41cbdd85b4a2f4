//! Random requests that mean something: drawn from the syntax that the rows themselves tell (COMMAND
//! DOCS), with keys of the type that the command is about.
//!
//! What the syntax does not tell (what an `id` looks like, that a number says how many keys follow) is told
//! by the arguments' names: see [`Maker::word`].

use crate::commands::Registered;
use crate::commands::tests::Test;
use crate::spec::Group;
use crate::spec::syntax::{self, Argument, Kind};
use crate::util::rng::Rng;

/// Keys that [`fill`] makes, by the letter of their type; those with a 9 are not there.
const KEYS: &[(char, &[&str])] = &[
    ('s', &["ks1", "ks2", "ks3", "ks9"]),
    ('l', &["kl1", "kl2", "kl3", "kl9"]),
    ('t', &["kt1", "kt2", "kt3", "kt9"]),
    ('h', &["kh1", "kh2", "kh3", "kh9"]),
    ('z', &["kz1", "kz2", "kz3", "kz9"]),
    ('x', &["kx1", "kx2", "kx3", "kx9"]),
    ('g', &["kg1", "kg2", "kg3", "kg9"]),
    ('p', &["kp1", "kp2", "kp3", "kp9"]),
];

/// What DUMP makes of a string.
const DUMPED: &[u8] = b"\x00\xc0\x01P\x00\xe9R.'OSv\x08";

/// A library with one function.
const LIBRARY: &str = "#!lua name=l\\nredis.register_function{function_name='f', \
    callback=function() return 1 end, flags={'no-writes'}}";

/// Keys of all types, three of each; a script and a function.
pub(super) fn fill(test: &mut Test) {
    test.run("SCRIPT LOAD 'return 1'");
    test.run(&format!("FUNCTION LOAD \"{LIBRARY}\"")).is("$1 l");
    for n in 1..=3 {
        for line in [
            format!("SET ks{n} {n}"),
            format!("RPUSH kl{n} 1 2 3"),
            format!("SADD kt{n} 1 2 3"),
            format!("HSET kh{n} f 1 g 2"),
            format!("ZADD kz{n} 1 a 2 b 3 c"),
            format!("XADD kx{n} 1-{n} f v"),
            format!("XADD kx{n} 2-{n} f v"),
            format!("XGROUP CREATE kx{n} g 0"),
            format!("XREADGROUP GROUP g c COUNT 1 STREAMS kx{n} >"),
            format!("GEOADD kg{n} 1 1 a 1.01 1.01 b"),
            format!("PFADD kp{n} a b"),
        ] {
            let reply = test.run(&line);
            assert!(!reply.0.starts_with(b"-"), "{line}: {reply:?}");
        }
    }
}

/// What draws requests.
pub(super) struct Maker<'r> {
    rng: &'r mut Rng,
    /// The letter of the type that the command is about.
    type_: Option<char>,
    /// How often what comes next is repeated, if that was said.
    count: Option<u64>,
    request: Vec<Vec<u8>>,
}

/// A request of a command.
pub(super) fn request(rng: &mut Rng, command: &Registered) -> Vec<Vec<u8>> {
    let names = command.full_name.split('|');
    let mut maker = Maker {
        type_: match command.row.docs.group {
            Group::String | Group::Bitmap => Some('s'),
            Group::List => Some('l'),
            Group::Set => Some('t'),
            Group::Hash => Some('h'),
            Group::SortedSet => Some('z'),
            Group::Stream => Some('x'),
            Group::Geo => Some('g'),
            Group::HyperLogLog => Some('p'),
            _ => None,
        },
        rng,
        count: None,
        request: names.map(|name| name.as_bytes().to_vec()).collect(),
    };
    let arguments = syntax::parse(command.row.docs.syntax).expect("a syntax that a test reads");
    maker.sequence(&arguments);
    maker.request
}

impl Maker<'_> {
    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    fn pick<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.below(words.len())]
    }

    fn push(&mut self, word: &str) {
        self.request.push(word.as_bytes().to_vec());
    }

    fn sequence(&mut self, arguments: &[Argument]) {
        for argument in arguments {
            if argument.optional && self.rng.below(100) < 60 {
                continue;
            }
            let times = match argument.multiple {
                true => self.count.unwrap_or(1 + self.rng.below(3)),
                false => 1,
            };
            for at in 0..times {
                let is_first = at == 0 || argument.multiple_token;
                if let (Some(token), true) = (argument.token, is_first) {
                    self.push(token);
                }
                self.one(argument);
            }
            // As many ids as streams.
            let is_streams = matches!(argument.kind, Kind::Key(_)) && argument.multiple;
            match is_streams && self.count.is_none() {
                true => self.count = Some(times),
                false if argument.multiple => self.count = None,
                false => {}
            }
        }
        self.count = None;
    }

    fn one(&mut self, argument: &Argument) {
        match argument.kind {
            Kind::PureToken => {}
            Kind::OneOf => {
                let at = self.below(argument.arguments.len());
                let chosen = argument.arguments[at].clone();
                self.sequence(&[Argument {
                    optional: false,
                    ..chosen
                }]);
            }
            Kind::Block => self.sequence(&argument.arguments),
            Kind::Key(_) => {
                let key = self.key();
                self.push(key);
            }
            Kind::Integer if argument.name.starts_with("num") => {
                let count = 1 + self.rng.below(3);
                self.count = Some(count);
                self.push(&count.to_string());
            }
            Kind::Integer => {
                let word = match &*argument.name {
                    "destination-db" | "db" | "index1" | "index2" => self.pick(&["0", "1", "2"]),
                    name if name.contains("seconds") => self.pick(&["1000", "5000"]),
                    _ => self.pick(&["0", "1", "2", "3", "1", "10"]),
                };
                self.push(word);
            }
            Kind::Double => {
                let word = match argument.name.contains("timeout") {
                    true => "0.01",
                    false => self.pick(&["0", "1.5", "2", "1"]),
                };
                self.push(word);
            }
            Kind::UnixTime => self.push("99999999999"),
            Kind::Pattern => {
                let word = self.pick(&["*", "k*", "nosort", "kh*->f", "ks*", "#"]);
                self.push(word);
            }
            Kind::String => self.word(&argument.name),
        }
    }

    fn key(&mut self) -> &'static str {
        let any = KEYS[self.below(KEYS.len())].0;
        let type_ = match (self.type_, self.below(12)) {
            (Some(type_), 1..) => type_,
            _ => any,
        };
        let keys = KEYS.iter().find(|(letter, _)| *letter == type_);
        self.pick(keys.expect("a letter of the table").1)
    }

    /// A word for an argument of this name.
    fn word(&mut self, name: &str) {
        if name == "serialized-value" {
            return self.request.push(DUMPED.to_vec());
        }
        let is_stream = self.type_ == Some('x');
        let word = match name {
            "id" | "threshold" | "last-id" | "max-deleted-id" => {
                self.pick(&["1-1", "2-1", "0", "9-9", ">", "0-0"])
            }
            "start" if is_stream => self.pick(&["-", "0"]),
            "end" if is_stream => self.pick(&["+", "9"]),
            "group" => "g",
            "consumer" => "c",
            "field" => self.pick(&["f", "g", "n"]),
            "member" | "member1" | "member2" => self.pick(&["a", "b", "1", "2"]),
            "min" | "start" => self.pick(&["0", "-inf", "-", "1"]),
            "max" | "stop" => self.pick(&["2", "+inf", "+", "-1"]),
            "encoding" => self.pick(&["u8", "i5"]),
            "offset" => self.pick(&["0", "1"]),
            "script" => "return 1",
            "function" => "f",
            "subcommand" => "GETREG",
            "sha1" => "e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
            "cursor" => "0",
            _ => self.pick(&["1", "2", "a", "x"]),
        };
        self.push(word);
    }
}
