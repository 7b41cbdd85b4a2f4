//! Scripts on Kivi and on real servers: a corpus of them, generated ones, the cache of scripts, and
//! what clients make of them.
//!
//! Valkey's replies must be the same bytes. Redis has other words in some errors and lacks some
//! functions, so there only the kind of an error is compared.
//!
//! The corpus is `reference/scripts.txt`: scripts with empty lines between them; a line `@ 2 k1 k2 a`
//! holds the arguments behind the script, `## ` begins a heading. To add a script: write it there.
//!
//! Environment: `KIVI_TEST_STEPS` generated scripts per protocol; `KIVI_TEST_SEED` begins elsewhere.

use crate::client::{Client, Raw, show, show_command};
use crate::differential::may_be_in_script;
use crate::generate::{Agree, Generator, Rng};
use crate::harness::{
    Server, env_number, eventually, is_stand_in, needs, python, run_on, run_tool,
};

const CORPUS: &str = include_str!("reference/scripts.txt");

/// A script and its arguments.
struct Sample {
    code: String,
    args: Vec<String>,
}

/// The corpus.
fn corpus() -> Vec<Sample> {
    let mut samples = Vec::new();
    for block in CORPUS.split("\n\n") {
        let is_code = |line: &&str| !line.starts_with("## ") && !line.starts_with("@ ");
        let code: Vec<&str> = block.lines().filter(is_code).collect();
        let mut args = block.lines().filter_map(|line| line.strip_prefix("@ "));
        let args = args.next().unwrap_or("0").split(' ');
        if !code.is_empty() {
            samples.push(Sample {
                code: code.join("\n"),
                args: args.map(str::to_owned).collect(),
            });
        }
    }
    samples
}

/// Two servers that are asked the same.
struct Pair {
    kivi: Client,
    real: Client,
    /// Errors need only be of one kind.
    is_loose: bool,
    faults: Vec<String>,
}

impl Pair {
    fn new(kivi: &Server, real: &Server) -> Pair {
        Pair {
            kivi: kivi.connect(),
            real: real.connect(),
            is_loose: real.name != "valkey",
            faults: Vec::new(),
        }
    }

    /// Asks both, where replies are not compared.
    fn both(&mut self, argv: &[&str]) {
        self.kivi.cmd(argv);
        self.real.cmd(argv);
    }

    /// Asks both and compares.
    fn ask<A: AsRef<[u8]>>(&mut self, argv: &[A]) {
        let (ours, theirs) = (self.kivi.raw(argv), self.real.raw(argv));
        if !self.is_same(&ours, &theirs) {
            let sent = show_command(argv);
            self.faults
                .push(format!("{sent}\n  kivi: {ours:?}\n  real: {theirs:?}"));
        }
    }

    fn is_same(&self, ours: &Raw, theirs: &Raw) -> bool {
        let is_error = |raw: &Raw| raw.starts_with(b"-");
        same_but_for_name(ours, theirs) || self.is_loose && is_error(ours) && is_error(theirs)
    }

    /// Whether all keys hold the same.
    fn compare_keys(&mut self) {
        let digest = ["DEBUG", "DIGEST"];
        let (ours, theirs) = (self.kivi.raw(&digest), self.real.raw(&digest));
        if ours != theirs {
            self.faults.push("the keyspaces differ".to_owned());
        }
    }

    #[track_caller]
    fn end(self, mut kivi: Server, real: &str) {
        kivi.assert_alive();
        let count = self.faults.len();
        let shown = &self.faults[..count.min(25)];
        assert!(
            count == 0,
            "{count} differences from {real}:\n{}",
            shown.join("\n")
        );
    }
}

/// Whether replies are the same, or differ in the name that the server has in errors: Kivi's is
/// Redis's.
fn same_but_for_name(ours: &Raw, theirs: &Raw) -> bool {
    let name = b"This Valkey command is not allowed";
    let has_name = || theirs.windows(name.len()).any(|part| part == name);
    let renamed = || String::from_utf8_lossy(theirs).replace("This Valkey", "This Redis");
    ours == theirs || has_name() && String::from_utf8_lossy(ours) == renamed()
}

const ARGS: &[&str] = &["--enable-debug-command", "yes"];

/// Runs the corpus in both protocols, by source and by SHA1.
fn run_corpus(real: &Server) {
    let kivi = Server::kivi(ARGS);
    let mut pair = Pair::new(&kivi, real);
    for protocol in ["2", "3"] {
        pair.both(&["FLUSHALL"]);
        pair.both(&["HELLO", protocol]);
        for sample in corpus() {
            let names = |words: &[&str]| words.iter().any(|word| sample.code.contains(word));
            if pair.is_loose && names(NOT_REDIS) || real.name == "redis" && names(NOT_REDIS_7) {
                continue;
            }
            let with = |command: &'static str, code: &str| {
                let mut argv = vec![command.to_owned(), code.to_owned()];
                argv.extend(sample.args.iter().cloned());
                argv
            };
            pair.ask(&with("EVAL", &sample.code));
            pair.ask(&with("EVAL_RO", &sample.code));
            if let crate::client::Reply::Bulk(sha) =
                pair.kivi.cmd(&["SCRIPT", "LOAD", &sample.code])
            {
                pair.ask(&["SCRIPT", "LOAD", &sample.code]);
                let sha = String::from_utf8(sha).expect("hexadecimal digits");
                pair.ask(&with("EVALSHA", &sha));
            }
        }
        pair.compare_keys();
    }
    pair.end(kivi, real.name);
}

/// What is in scripts that Redis answers in another way: it has other functions and other words, and
/// Redis 8 writes positions with less digits.
const NOT_REDIS: &[&str] = &[
    "server", "pairs(", "_VERSION", "err", "pcall", "format", "GEOPOS",
];
/// The same of Redis 7.0, which writes numbers with more digits, has neither a frozen clock nor `os`, refuses
/// what may block, and has no short lists of another encoding.
const NOT_REDIS_7: &[&str] = &[
    "OBJECT",
    "os.",
    "double",
    "-0.0",
    "0.1",
    "12345678901234567890",
    "'B",
    "TIME",
];

#[test]
fn the_corpus_is_answered_as_by_valkey() {
    if let Some(valkey) = Server::valkey(ARGS) {
        run_corpus(&valkey);
    }
}

#[test]
fn the_corpus_is_answered_as_by_redis_7() {
    if let Some(redis) = Server::redis(ARGS) {
        run_corpus(&redis);
    }
}

#[test]
fn the_corpus_is_answered_as_by_redis_8() {
    if let Some(redis) = Server::redis_8(ARGS) {
        run_corpus(&redis);
    }
}

/// Scripts within transactions, several in each.
#[test]
fn the_corpus_within_transactions() {
    let Some(valkey) = Server::valkey(ARGS) else {
        return;
    };
    let kivi = Server::kivi(ARGS);
    let mut pair = Pair::new(&kivi, &valkey);
    for some in corpus().chunks(7) {
        pair.ask(&["MULTI"]);
        for sample in some {
            let mut argv = vec!["EVAL".to_owned(), sample.code.clone()];
            argv.extend(sample.args.iter().cloned());
            pair.ask(&argv);
        }
        pair.ask(&["EXEC"]);
    }
    pair.compare_keys();
    pair.end(kivi, valkey.name);
}

/// Writes scripts.
struct Writer {
    rng: Rng,
    commands: Generator,
    names: usize,
}

impl Writer {
    fn new(seed: u64) -> Writer {
        Writer {
            rng: Rng::new(seed),
            commands: Generator::new(seed),
            names: 0,
        }
    }

    fn script(&mut self) -> String {
        self.names = 0;
        let mut code = String::new();
        if self.rng.chance(30) {
            code += &format!("redis.setresp({})\n", self.rng.pick(&[2, 3, 3]));
        }
        for _ in 0..self.rng.below(5) {
            code += &self.statement(0);
        }
        let result = self.value(0);
        code + &format!("return {result}\n")
    }

    fn statement(&mut self, depth: usize) -> String {
        let kind = if depth > 2 {
            self.rng.below(3)
        } else {
            self.rng.below(7)
        };
        match kind {
            0 => {
                let value = self.value(1);
                format!("local {} = {value}\n", self.new_name())
            }
            1 | 2 => {
                let call = self.call();
                format!("local {} = {call}\n", self.new_name())
            }
            3 => {
                let (condition, body) = (self.value(2), self.statement(depth + 1));
                format!("if {condition} then\n{body}end\n")
            }
            4 => {
                let (times, body) = (self.rng.below(4), self.statement(depth + 1));
                format!("for i = 1, {times} do\n{body}end\n")
            }
            5 => {
                let (body, name) = (self.statement(depth + 1), self.new_name());
                let error = self.new_name();
                format!("local {name}, {error} = pcall(function()\n{body}end)\n")
            }
            _ => {
                let (name, value) = (self.name(), self.value(2));
                format!("{name} = {value}\n")
            }
        }
    }

    fn new_name(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    /// A variable, which may be out of reach: then it is a global one that there is not.
    fn name(&mut self) -> String {
        format!("v{}", 1 + self.rng.below(self.names.max(1)))
    }

    /// A call of a command whose reply says the same everywhere.
    fn call(&mut self) -> String {
        let argv = loop {
            let step = self.commands.step();
            if step.agree == Agree::Exact && may_be_in_script(&step) {
                break step.argv;
            }
        };
        let args: Vec<String> = argv.iter().map(|arg| quoted(arg)).collect();
        let call = self.rng.pick(&["redis.call", "redis.pcall", "redis.pcall"]);
        format!("{call}({})", args.join(", "))
    }

    fn value(&mut self, depth: usize) -> String {
        let kind = if depth > 3 {
            self.rng.below(8)
        } else {
            self.rng.below(22)
        };
        match kind {
            0 => self.rng.pick(&["nil", "true", "false"]).to_string(),
            1 => (self.rng.below(2000) as i64 - 1000).to_string(),
            2 => self.rng.pick(NUMBERS).to_string(),
            3 | 4 => self.rng.pick(TEXTS).to_string(),
            5 => self
                .rng
                .pick(&["KEYS[1]", "ARGV[1]", "#ARGV", "KEYS", "ARGV[3]"])
                .to_string(),
            6 | 7 => self.name(),
            8..=10 => {
                let items: Vec<String> = (0..self.rng.below(4))
                    .map(|_| self.value(depth + 1))
                    .collect();
                format!("{{{}}}", items.join(", "))
            }
            11 => {
                let field = *self.rng.pick(FIELDS);
                format!("{{{field} = {}}}", self.value(depth + 1))
            }
            12 => {
                let (key, value) = (self.rng.pick(TEXTS), self.value(depth + 1));
                let field = self.rng.pick(&["map", "set"]);
                format!("{{{field} = {{[{key}] = {value}}}}}")
            }
            13 => {
                let operator = *self.rng.pick(OPERATORS);
                format!(
                    "({} {operator} {})",
                    self.value(depth + 1),
                    self.value(depth + 1)
                )
            }
            14 => format!("(not {})", self.value(depth + 1)),
            15 => {
                let function = *self.rng.pick(FUNCTIONS);
                format!("{function}({})", self.value(depth + 1))
            }
            16 => format!("{}.{}", self.name(), self.rng.pick(FIELDS)),
            17 => format!("{}[1]", self.name()),
            18 => self.call(),
            19 => format!("(function() return {} end)()", self.value(depth + 1)),
            20 => format!("cjson.encode({})", self.value(depth + 2)),
            _ => format!("cmsgpack.pack({})", self.value(depth + 2)),
        }
    }
}

const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1.5",
    "-2.75",
    "1e15",
    "1e16",
    "2^53",
    "2^63",
    "1e300",
    "1/0",
    "-1/0",
    "0x10",
    "0.1",
    "3.9999999",
    "123456789012",
    "1e-5",
];

const TEXTS: &[&str] = &[
    "''", "'a'", "'text'", "'10'", "' 7 '", "'a b'", "'\\r\\n'", "'\\0'", "'\\255'", "'ERR x'",
    "'-'", "'k1'", "'1e3'",
];

const FIELDS: &[&str] = &[
    "ok",
    "err",
    "double",
    "map",
    "set",
    "big_number",
    "verbatim_string",
    "string",
    "format",
    "other",
];

const OPERATORS: &[&str] = &[
    "+", "-", "*", "/", "%", "^", "..", "==", "~=", "<", "<=", "and", "or",
];

const FUNCTIONS: &[&str] = &[
    "tonumber",
    "type",
    "redis.error_reply",
    "redis.status_reply",
    "redis.sha1hex",
    "string.len",
    "string.upper",
    "string.reverse",
    "string.byte",
    "table.concat",
    "math.floor",
    "math.abs",
    "cjson.decode",
    "unpack",
    "select",
    "assert",
    "error",
    "next",
    "#",
    "-",
];

/// Bytes as Lua writes them down.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("'");
    for &byte in bytes {
        match byte {
            b' ' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'*' | b'(' => {
                text.push(byte.into());
            }
            _ => text += &format!("\\{byte:03}"),
        }
    }
    text + "'"
}

/// What a reply consists of, in alphabetical order: Valkey's Lua has a hash function of its own, so that
/// it visits the fields of a table in another order than Lua and Redis do.
fn leaves(raw: &Raw) -> Vec<String> {
    let lines = raw.split(|&byte| byte == b'\n');
    let mut leaves: Vec<String> = lines.map(show).collect();
    leaves.sort();
    leaves
}

/// Whether a script shows where something lies in memory, or the time.
fn is_shown_otherwise(raw: &Raw) -> bool {
    let text = show(&raw.0);
    ["table: ", "function: ", "builtin: "]
        .iter()
        .any(|what| text.contains(what))
}

#[test]
fn generated_scripts_are_answered_as_by_valkey() {
    let Some(valkey) = Server::valkey(ARGS) else {
        return;
    };
    let kivi = Server::kivi(ARGS);
    let mut pair = Pair::new(&kivi, &valkey);
    let first = env_number("KIVI_TEST_SEED", 1);
    for (index, protocol) in ["2", "3"].into_iter().enumerate() {
        let mut writer = Writer::new(first + index as u64);
        pair.both(&["HELLO", protocol]);
        for number in 0..env_number("KIVI_TEST_STEPS", 4000) {
            if number % 200 == 0 {
                pair.compare_keys();
                pair.both(&["FLUSHALL"]);
                writer = Writer::new(first + 1000 * number + index as u64);
            }
            let code = writer.script();
            let argv = ["EVAL", &code, "1", "k1", "a1"];
            let (ours, theirs) = (pair.kivi.raw(&argv), pair.real.raw(&argv));
            let has_maps = code.contains("setresp(3)");
            let is_packed = code.contains("cmsgpack") || code.contains("cjson");
            let in_other_order = match is_packed {
                true => ours.len() == theirs.len(),
                false => leaves(&ours) == leaves(&theirs),
            };
            let may_differ = is_shown_otherwise(&theirs) || has_maps && in_other_order;
            if !same_but_for_name(&ours, &theirs) && !may_differ {
                let fault = format!("{code}  kivi: {ours:?}\n  real: {theirs:?}");
                pair.faults.push(fault);
                pair.both(&["FLUSHALL"]);
            }
        }
        pair.compare_keys();
    }
    pair.end(kivi, valkey.name);
}

/// Which scripts stay in the cache, and how many had to go.
#[test]
fn scripts_leave_the_cache_as_in_valkey() {
    let Some(valkey) = Server::valkey(ARGS) else {
        return;
    };
    let kivi = Server::kivi(ARGS);
    let mut pair = Pair::new(&kivi, &valkey);
    let sources: Vec<String> = (0..700).map(|n| format!("return {n}")).collect();
    let mut shas: Vec<String> = Vec::new();
    for source in &sources {
        let sha = ["EVAL", "return redis.sha1hex(ARGV[1])", "0", source];
        pair.ask(&sha);
        shas.push(pair.kivi.cmd(&sha).text());
    }
    pair.ask(&["SCRIPT", "FLUSH"]);
    let mut rng = Rng::new(env_number("KIVI_TEST_SEED", 7));
    for round in 0..4000 {
        let at = rng.below(sources.len());
        match rng.below(20) {
            0 if round % 50 == 0 => pair.ask(&["SCRIPT", "LOAD", &sources[at]]),
            0..=5 => pair.ask(&["EVALSHA", &shas[at], "0"]),
            _ => pair.ask(&["EVAL", &sources[at], "0"]),
        }
        if round % 200 == 0 {
            let mut argv = vec!["SCRIPT", "EXISTS"];
            argv.extend(shas.iter().map(String::as_str));
            pair.ask(&argv);
        }
    }
    let field = |client: &mut Client, name: &str| {
        let info = client.cmd(&["INFO", "everything"]).text();
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.expect(name).to_owned()
    };
    for name in ["evicted_scripts:", "number_of_cached_scripts:"] {
        let (ours, theirs) = (field(&mut pair.kivi, name), field(&mut pair.real, name));
        assert_eq!(ours, theirs, "{name}");
    }
    pair.end(kivi, valkey.name);
}

#[test]
fn redis_py_runs_scripts() {
    let Some(python) = python() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/scripts.py");
    let kivi = Server::kivi(ARGS);
    for protocol in ["2", "3"] {
        let args = [script, &kivi.port.to_string(), protocol];
        let output = run_tool(&python, &args, &[], b"");
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (&*said, output.status.success()),
            ("ok\n", true),
            "{errors}"
        );
    }
}

#[test]
fn redis_cli_runs_scripts_from_files() {
    if !needs("redis-cli") {
        return;
    }
    let kivi = Server::kivi(ARGS);
    let file = kivi.dir.path().join("script.lua");
    let code = "redis.call('SET', KEYS[1], ARGV[1])\nreturn {KEYS[1], ARGV[1], ARGV[2]}\n";
    std::fs::write(&file, code).expect("a file");
    let run = |args: &[&str]| {
        let output = run_on(&kivi, "redis-cli", args, b"");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let file = file.to_str().expect("a path in UTF-8");
    assert_eq!(run(&["--eval", file, "k", ",", "a b", "c"]), "k\na b\nc\n");
    assert_eq!(run(&["GET", "k"]), "a b\n");
    let sha = run(&["-x", "SCRIPT", "LOAD"]);
    assert!(
        sha.starts_with("da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        "{sha}"
    );
    assert_eq!(
        run(&["--no-raw", "EVAL", "return {1.9, 'a', false}", "0"]),
        { "1) (integer) 1\n2) \"a\"\n3) (nil)\n" }
    );
    let error = run(&["EVAL", "return redis.call('INCR', KEYS[1])", "1", "k"]);
    assert!(
        error.starts_with("ERR value is not an integer or out of range script: "),
        "{error}"
    );
}

/// The figures that scripts and functions have in INFO.
#[test]
fn info_shows_what_scripts_take() {
    if is_stand_in() {
        return;
    }
    let kivi = Server::kivi(ARGS);
    let mut client = kivi.connect();
    let figures = |client: &mut Client| -> Vec<u64> {
        let info = client.cmd(&["INFO", "everything"]).text();
        let figure = |name: &str| -> u64 {
            let found = info.lines().find_map(|line| line.strip_prefix(name));
            let value = found.and_then(|rest| rest.strip_prefix(':')).expect(name);
            value.parse().expect("a number")
        };
        let names = [
            "used_memory_vm_eval",
            "used_memory_lua",
            "used_memory_scripts_eval",
        ];
        names.into_iter().map(figure).collect()
    };
    let before = figures(&mut client);
    assert_eq!(before, [0, 0, 0], "nothing has run yet");
    client.cmd(&["EVAL", "return 1", "0"]);
    let after = figures(&mut client);
    assert!(after[0] > 10_000 && after[0] == after[1], "{after:?}");
    assert!(after[2] > 0, "{after:?}");
}

/// What a script logs is there once, however often it had to begin again.
#[test]
fn a_line_is_logged_once() {
    let server = Server::kivi(&[]);
    let mut client = server.connect();
    let source = "redis.log(redis.LOG_WARNING, ARGV[1]) return redis.pcall(ARGV[2], 'k')";
    for (name, command) in [("EVAL_RO", "nosuch"), ("EVAL_RO", "get"), ("EVAL", "get")] {
        let line = format!("{name}-{command}");
        client.cmd(&[name, source, "0", &line, command]);
        let end = format!("{line}-end");
        client.cmd(&["EVAL", source, "0", &end, command]);
        let log = eventually("the last line", || {
            let log = server.log_since(0);
            log.contains(&end).then_some(log)
        });
        let lines = log.lines().filter(|shown| shown.ends_with(&line));
        assert_eq!(lines.count(), 1, "{line}: {log}");
    }
}
