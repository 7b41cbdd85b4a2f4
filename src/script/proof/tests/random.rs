//! Random scripts that like to lie: what is proven of them is held against what they do.

use super::command;
use crate::resp::parse::{Argv, Span};
use crate::resp::write::ReplyWriter;
use crate::script::proof::{Proof, analyse};
use crate::script::vm::{Settings, Use};
use crate::script::{Caller, LogLevel, Repl, Script, Tick, Vm};
use crate::spec::{CmdError, keys};
use crate::util::rng::Rng;

const KEYS: [&str; 3] = ["k1", "k2", "k3"];
const ARGUMENTS: [&str; 4] = ["a1", "7", "a3", "get"];
const COMMANDS: [&str; 14] = [
    "get",
    "set",
    "del",
    "mset",
    "mget",
    "rename",
    "zunionstore",
    "blpop",
    "sadd",
    "keys",
    "sort",
    "publish",
    "time",
    "halves",
];

/// What a script has called.
struct Witness {
    rng: Rng,
    calls: Vec<Vec<Vec<u8>>>,
    ticks: u32,
}

impl Caller for Witness {
    fn call(&mut self, argv: Argv<'_>, out: &mut ReplyWriter) -> Result<(), CmdError> {
        self.calls.push(argv.iter().map(<[u8]>::to_vec).collect());
        match self.rng.below(5) {
            0 => out.integer(3),
            1 => out.bulk(b"r1"),
            2 => out.null(),
            3 => {
                out.array(2);
                out.bulk(b"r2");
                out.bulk(b"r3");
            }
            _ => return Err(CmdError::text("ERR no")),
        }
        Ok(())
    }

    fn tick(&mut self) -> Tick {
        self.ticks += 1;
        match self.ticks > 3 {
            true => Tick::End(CmdError::text("ERR enough")),
            false => Tick::Continue,
        }
    }

    fn log(&mut self, _: LogLevel, _: String) {}

    fn set_repl(&mut self, _: Repl) {}

    fn acl_check_cmd(&mut self, _: Argv<'_>) -> Result<bool, CmdError> {
        Ok(true)
    }
}

/// Makes sources.
struct Author(Rng);

impl Author {
    fn one<'o>(&mut self, of: &[&'o str]) -> &'o str {
        of[self.0.index(of.len())]
    }

    fn values(&mut self, count: u64, depth: u32) -> String {
        let values: Vec<String> = (0..count).map(|_| self.value(depth)).collect();
        values.join(", ")
    }

    fn call(&mut self, depth: u32) -> String {
        let function = self.one(&["redis.call", "redis.pcall", "redis.pcall", "server.call"]);
        let name = match self.0.below(24) {
            0 => "ARGV[4]".to_owned(),
            1 => "'g' .. 'et'".to_owned(),
            _ => format!("'{}'", self.one(&COMMANDS)),
        };
        let count = self.0.below(4);
        let mut values: Vec<String> = (0..count).map(|_| self.argument(depth)).collect();
        values.insert(0, name);
        format!("{function}({})", values.join(", "))
    }

    /// More often a key than other values are.
    fn argument(&mut self, depth: u32) -> String {
        match self.0.below(4) {
            0 | 1 => self
                .one(&["KEYS[1]", "KEYS[2]", "key", "KEYS[3]", "a"])
                .to_owned(),
            2 => self
                .one(&["unpack(KEYS)", "unpack(ARGV)", "2", "'1'", "ARGV[2]"])
                .to_owned(),
            _ => self.value(depth),
        }
    }

    fn value(&mut self, depth: u32) -> String {
        if depth == 0 {
            let plain = [
                "1", "'x'", "KEYS[1]", "ARGV[1]", "a", "b", "key", "#KEYS", "t",
            ];
            return self.one(&plain).to_owned();
        }
        let inner = self.value(depth - 1);
        match self.0.below(20) {
            0 => format!("KEYS[{inner}]"),
            1 => format!("({inner})"),
            2 => format!("{inner} or {}", self.value(depth - 1)),
            3 => format!("'x' .. {}", self.one(&["KEYS[1]", "ARGV[1]", "1"])),
            4 => format!("{{{inner}, {}}}", self.value(depth - 1)),
            5 => format!("t[{inner}]"),
            6 => "unpack(ARGV)".to_owned(),
            7 => "(unpack(KEYS))".to_owned(),
            8 => format!("unpack(KEYS, {})", self.one(&["1", "2", "b"])),
            9 => "cjson.encode(ARGV)".to_owned(),
            10 => format!("tostring({inner})"),
            11 => "KEYS".to_owned(),
            12 | 13 => self.call(depth - 1),
            14 => "ARGV[1]:upper()".to_owned(),
            15 => "string.byte('xyz', 1, -1)".to_owned(),
            _ => inner,
        }
    }

    fn block(&mut self, depth: u32) -> String {
        let count = 1 + self.0.below(3);
        let statements: Vec<String> = (0..count).map(|_| self.statement(depth)).collect();
        statements.join("\n")
    }

    fn statement(&mut self, depth: u32) -> String {
        let name = self.one(&["a", "b", "key", "t", "KEYS", "ARGV", "redis"]);
        let plain = self.one(&["a", "b", "key", "t"]);
        match self.0.below(if depth == 0 { 10 } else { 20 }) {
            0 => format!("local {name} = {}", self.value(2)),
            1 => format!("local {plain}, b = {}", self.values(2, 1)),
            2 => format!("{plain} = {}", self.value(2)),
            3 => format!("{plain}, b = {}", self.value(1)),
            4 => format!("t[{}] = {}", self.value(1), self.value(1)),
            5 => format!("local {plain} = KEYS[{}]", 1 + self.0.below(4)),
            6 if self.0.below(4) == 0 => format!("{name}[1] = {}", self.value(1)),
            7 if self.0.below(3) == 0 => format!("table.insert({name}, {})", self.value(1)),
            10 | 11 => format!(
                "if {} then {} else {} end",
                self.value(1),
                self.block(depth - 1),
                self.block(depth - 1)
            ),
            12 => format!("for i = 1, #KEYS do {} end", self.block(depth - 1)),
            13 => format!(
                "for i, {plain} in ipairs(KEYS) do {} end",
                self.block(depth - 1)
            ),
            14 => format!(
                "for i, {plain} in ipairs(ARGV) do {} end",
                self.block(depth - 1)
            ),
            15 => format!("do {} end", self.block(depth - 1)),
            16 if self.0.below(4) == 0 => {
                format!(
                    "local function f(a) {} end f({})",
                    self.block(0),
                    self.value(1)
                )
            }
            17 if self.0.below(4) == 0 => {
                format!("while #t < 3 do t[#t + 1] = 1 {} end", self.block(0))
            }
            _ => self.call(2),
        }
    }
}

fn check(source: &str, proof: Proof, witness: &Witness) {
    if proof.is_bounded {
        assert!(witness.ticks < 3, "takes long:\n{source}");
    }
    for call in &witness.calls {
        let second = call.get(1).map(Vec::as_slice);
        let Some(facts) = command(&call[0], second) else {
            assert!(!proof.is_bounded && !proof.reads_only, "{source}");
            continue;
        };
        if proof.reads_only {
            assert!(facts.reads_only, "does not read only:\n{source}\n{call:?}");
        }
        if proof.is_bounded {
            assert!(facts.is_confined, "touches more:\n{source}\n{call:?}");
            let (bytes, spans) = request(call);
            let argv = Argv::new(&bytes, &spans);
            let found = keys::for_each_key(facts.keys, argv, |at, _| {
                let is_declared = KEYS.iter().any(|key| key.as_bytes() == &argv[at]);
                assert!(is_declared, "touches another key:\n{source}\n{call:?}");
            });
            // Such a command is refused.
            let _ = found;
        }
    }
}

fn request(words: &[Vec<u8>]) -> (Vec<u8>, Vec<Span>) {
    let mut spans = Vec::new();
    let mut bytes = Vec::new();
    for word in words {
        spans.push(Span {
            start: bytes.len() as u32,
            len: word.len() as u32,
        });
        bytes.extend_from_slice(word);
    }
    (bytes, spans)
}

#[test]
fn what_is_proven_is_so() {
    let mut vm = Vm::new(&Settings {
        used_for: Use::Scripts,
        memory_limit_bytes: 64 << 20,
        has_insecure_api: false,
        redis_version: "9.1.2",
        kivi_version: "0.1.0",
    });
    let given: Vec<Vec<u8>> = KEYS
        .iter()
        .chain(&ARGUMENTS)
        .map(|it| it.as_bytes().to_vec())
        .collect();
    let (bytes, spans) = request(&given);
    let mut author = Author(Rng::from_seed(7));
    let (mut bounded, mut reading, mut calls) = (0, 0, 0);
    for seed in 0..6_000 {
        let source = format!(
            "local a, b, key, t = ARGV[1], 2, KEYS[2], {{}}\n{}",
            author.block(2)
        );
        let proof = analyse(source.as_bytes(), &command);
        if proof == Proof::default() {
            continue;
        }
        let script = Script::new(source.as_bytes()).expect("no shebang");
        let code = match vm.script(&script, 0) {
            Ok(code) => code,
            Err(error) => panic!("{source}\n{error:?}"),
        };
        let mut witness = Witness {
            rng: Rng::from_seed(seed),
            calls: Vec::new(),
            ticks: 0,
        };
        let ended = vm.run(code, Argv::new(&bytes, &spans), KEYS.len(), &mut witness);
        if ended.is_ok() {
            vm.reply(&mut ReplyWriter::new(), &mut |_, _| ());
        }
        check(&source, proof, &witness);
        bounded += u32::from(proof.is_bounded);
        reading += u32::from(proof.reads_only);
        calls += witness.calls.len();
    }
    assert!(bounded > 600, "{bounded} were bounded");
    assert!(reading > 600, "{reading} read only");
    assert!(calls > 1_000, "{calls} calls");
}
