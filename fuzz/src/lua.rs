//! Lua as inputs: sources drawn from what scripts can say, and changes of sources by tokens, statements
//! and values. Bytes that are changed at random hardly ever parse: without this nothing would run.

use kivi::commands::CommandTable;
use kivi::util::rng::Rng;
use libfuzzer_sys::fuzzer_mutate;

use crate::{put, words};

/// Plain values.
const VALUES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "0.5",
    "16",
    "255",
    "1e3",
    "1e15",
    "2^31",
    "2^53",
    "-2^63",
    "1e308",
    "1/0",
    "0/0",
    "-0",
    "nil",
    "true",
    "false",
    "''",
    "'a'",
    "'abc'",
    "'10'",
    "'0x10'",
    "' 7 '",
    "'\\0\\255'",
    "'a,b,c'",
    "'%a+'",
    "'key: value'",
    "KEYS",
    "ARGV",
    "#KEYS",
    "#ARGV",
    "KEYS[1]",
    "KEYS[1]",
    "KEYS[2]",
    "ARGV[1]",
    "ARGV[1]",
    "ARGV[2]",
    "ARGV[3]",
    "{}",
    "{1, 2, 3}",
    "{'a', 'b'}",
    "{a = 1}",
    "{ok = 'fine'}",
    "{err = 'E no'}",
    "{double = 1.5}",
    "{map = {a = 1}}",
    "{set = {a = true}}",
    "{big_number = '123'}",
    "{verbatim_string = {string = 's', format = 'txt'}}",
    "cjson.null",
    "math.huge",
    "redis",
    "_G",
    "...",
    "a",
    "b",
    "c",
    "k",
    "v",
    "t",
    "f",
];

/// Names of what is assigned and declared.
const NAMES: &[&str] = &["a", "b", "c", "k", "v", "t", "f"];

/// Operators of two values.
const OPERATORS: &[&str] = &[
    "+", "-", "*", "/", "%", "^", "..", "==", "~=", "<", "<=", ">", ">=", "and", "or",
];

/// Functions of values.
const FUNCTIONS: &[&str] = &[
    "assert",
    "error",
    "getmetatable",
    "ipairs",
    "next",
    "pairs",
    "pcall",
    "rawequal",
    "rawget",
    "rawset",
    "select",
    "setmetatable",
    "tonumber",
    "tostring",
    "type",
    "unpack",
    "xpcall",
    "load",
    "loadstring",
    "collectgarbage",
    "newproxy",
    "string.byte",
    "string.char",
    "string.len",
    "string.lower",
    "string.reverse",
    "string.sub",
    "string.upper",
    "table.concat",
    "table.getn",
    "table.insert",
    "table.maxn",
    "table.remove",
    "table.sort",
    "table.foreach",
    "table.foreachi",
    "math.abs",
    "math.ceil",
    "math.floor",
    "math.fmod",
    "math.frexp",
    "math.ldexp",
    "math.log",
    "math.max",
    "math.min",
    "math.modf",
    "math.pow",
    "math.random",
    "math.randomseed",
    "math.sqrt",
    "math.sin",
    "bit.band",
    "bit.bor",
    "bit.bxor",
    "bit.bnot",
    "bit.lshift",
    "bit.rshift",
    "bit.arshift",
    "bit.rol",
    "bit.ror",
    "bit.bswap",
    "bit.tobit",
    "bit.tohex",
    "cjson.encode",
    "cjson.encode",
    "cjson.decode",
    "cjson.new",
    "cjson.encode_keep_buffer",
    "cjson.encode_max_depth",
    "cjson.decode_max_depth",
    "cjson.encode_invalid_numbers",
    "cjson.decode_invalid_numbers",
    "cjson.encode_sparse_array",
    "cmsgpack.pack",
    "cmsgpack.pack",
    "cmsgpack.unpack",
    "cmsgpack.unpack_one",
    "cmsgpack.unpack_limit",
    "redis.sha1hex",
    "redis.error_reply",
    "redis.status_reply",
    "redis.setresp",
    "redis.set_repl",
    "redis.log",
    "redis.acl_check_cmd",
    "redis.replicate_commands",
    "redis.breakpoint",
    "redis.debug",
    "redis.register_function",
    "os.clock",
    "coroutine.create",
    "coroutine.resume",
    "coroutine.status",
    "coroutine.wrap",
    "coroutine.yield",
    "coroutine.running",
];

/// Whole calls whose arguments have to fit each other.
const CALLS: &[&str] = &[
    "string.rep('ab', 5)",
    "('x'):rep(100, ',')",
    "string.find('hello', 'l+', 2)",
    "('a.b'):gsub('%.', '%%')",
    "string.gsub('abc', '(%w)', function(x) return x:upper() end)",
    "string.gsub('abc', '%w', {a = 1})",
    "string.match('k=v', '(%w+)=(%w*)')",
    "string.gmatch('a b c', '%a+')",
    "('(a(b))'):match('%b()')",
    "('THE (x) END'):find('%f[%a]%a+')",
    "string.format('%d %s %q', 1, 'a', 'b')",
    "string.format('%5.2f|%-8s|%x|%c', 1.5, 'z', 255, 65)",
    "string.format('%10.3s%i%g%e%o%u%X', 's', 1, 2, 3, 4, 5, 6)",
    "struct.pack('>I2i4', 1, -2)",
    "struct.unpack('<HB', '\\1\\2\\3')",
    "struct.size('i8dc4')",
    "struct.pack('s', 'zero')",
    "struct.pack('Bc0', 3, 'abc')",
    "table.concat({1, 'a', 2.5}, ',')",
    "table.sort({3, 1, 2}, function(x, y) return x > y end)",
    "setmetatable({}, {__index = function(_, n) return n end})",
    "setmetatable({}, {__call = function(...) return ... end})",
    "setmetatable({}, {__tostring = function() return 'm' end})",
    "setmetatable({}, {__lt = function() return true end, __add = function() return 1 end})",
    "cjson.decode('{\"a\": [1, 2.5, null, true], \"b\": \"\\\\u00e9\"}')",
    "cjson.encode({1, 2, {a = 'b'}})",
    "cmsgpack.unpack(cmsgpack.pack({1, 'a', {b = 2}}, nil, 1.5))",
    "loadstring('return ' .. 'KEYS[1]')",
    "pcall(error, {err = 'E inside'})",
    "xpcall(function() return 1 end, function(e) return e end)",
    "select('#', unpack(ARGV))",
    "coroutine.wrap(function(x) coroutine.yield(x) return 2 end)",
];

/// What libraries do.
const REGISTRATIONS: &[&str] = &[
    "redis.register_function('f', function(keys, args) return {#keys, #args} end)",
    "redis.register_function('g', function(KEYS, ARGV) return redis.call('SET', KEYS[1], ARGV[1]) end)",
    "redis.register_function{function_name = 'h', callback = function(k) return redis.call('GET', k[1]) \
     end, flags = {'no-writes', 'allow-stale'}, description = 'reads'}",
    "local t = {n = 0} redis.register_function('count', function() t.n = t.n + 1 return t.n end)",
    "local function help(k) return redis.pcall('DEL', k) end redis.register_function('i', function(k) \
     return help(k[1]) end)",
];

/// What is inserted as it is where bytes are changed.
const FRAGMENTS: &[&str] = &[
    "#!lua\n",
    "#!lua flags=no-writes,allow-stale\n",
    "#!lua name=l\n",
    "-- note\n",
    "--[[ note ]] ",
    "; ",
    "return ",
    "do ",
    " end",
    "local ",
    "function f(...) ",
    "[==[ text ]==]",
    "\\065",
    "\\x41",
    "\r\n",
];

/// A changed source, in place of the one in the first `size` bytes of `data`, behind `head` bytes that are
/// no source; how long all is. One time in four libFuzzer changes bytes.
pub fn mutate(
    table: &CommandTable,
    head: usize,
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
) -> usize {
    let mut rng = Rng::from_seed(seed.into());
    if size < head || rng.below(4) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    if rng.below(8) == 0 {
        data[rng.index(head)] = rng.next_u64() as u8;
    }
    let mut author = Author { table, rng };
    let mut source = data[head..size].to_vec();
    for _ in 0..1 + author.rng.below(3) {
        source = author.change(&source);
    }
    head + put(&mut data[head..], max_size - head, source)
}

/// Makes and changes sources.
struct Author<'t> {
    table: &'t CommandTable,
    rng: Rng,
}

impl Author<'_> {
    fn change(&mut self, source: &[u8]) -> Vec<u8> {
        let mut tokens = tokens(source);
        let at = self.rng.index(tokens.len() + 1);
        let is_token = at < tokens.len();
        match self.rng.below(12) {
            0 => return self.block(3).into(),
            1 if is_token => drop(tokens.remove(at)),
            2 if is_token => {
                let copy = tokens[self.rng.index(tokens.len())].clone();
                tokens.insert(at, copy);
            }
            3 if is_token => {
                let other = self.rng.index(tokens.len());
                tokens.swap(at, other);
            }
            4 if is_token => {
                let end = (at + 1 + self.rng.index(20)).min(tokens.len());
                tokens.drain(at..end);
            }
            5 if self.rng.below(3) == 0 => return self.library().into(),
            5 => tokens.insert(at, self.one(FRAGMENTS).into()),
            6..9 => {
                let Some(at) = self.find(&tokens, at, is_value) else {
                    return self.block(2).into();
                };
                tokens[at] = self.value(2).into();
            }
            _ => {
                let statement = format!("{} ", self.statement(2));
                let at = self.find(&tokens, at, starts_statement).unwrap_or(0);
                tokens.insert(at, statement.into());
            }
        }
        tokens.concat()
    }

    /// The next token from here on, or from the beginning, that is such a one.
    fn find(&self, tokens: &[Vec<u8>], from: usize, is: impl Fn(&[u8]) -> bool) -> Option<usize> {
        let ahead = (from..tokens.len()).find(|&at| is(&tokens[at]));
        ahead.or_else(|| (0..from.min(tokens.len())).find(|&at| is(&tokens[at])))
    }

    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of[self.rng.index(of.len())]
    }

    fn values(&mut self, most: u64, depth: u32) -> String {
        let count = self.rng.below(most + 1);
        let values: Vec<String> = (0..count).map(|_| self.value(depth)).collect();
        values.join(", ")
    }

    fn value(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.one(VALUES).to_owned();
        }
        let depth = depth - 1;
        match self.rng.below(16) {
            0 | 1 => format!(
                "{} {} {}",
                self.value(depth),
                self.one(OPERATORS),
                self.value(depth)
            ),
            2 => format!(
                "{}({})",
                self.one(&["-", "not ", "#", "tostring", "tonumber"]),
                self.value(depth)
            ),
            3..6 => format!("{}({})", self.one(FUNCTIONS), self.values(3, depth)),
            6 => self.one(CALLS).to_owned(),
            7 => format!(
                "({}){}",
                self.value(depth),
                self.one(&[":upper()", ":len()", "[1]", ".a", "()"])
            ),
            8 => format!(
                "{{{}, [{}] = {}}}",
                self.values(3, depth),
                self.value(depth),
                self.value(depth)
            ),
            9 => format!(
                "function({}) {} end",
                self.one(&["", "a", "k, v", "..."]),
                self.block(depth)
            ),
            10 | 11 => self.call(),
            12 => format!(
                "{}[{}]",
                self.one(&["KEYS", "ARGV", "t", "redis"]),
                self.value(depth)
            ),
            _ => self.one(VALUES).to_owned(),
        }
    }

    /// A call of a command, drawn from its syntax; its words are literals, or what was given.
    fn call(&mut self) -> String {
        let request = words::request(self.table, &[], &mut self.rng);
        let literal = |word: &[u8]| {
            let bytes = word.iter().map(|byte| match byte {
                b'\'' | b'\\' | 0..32 | 127.. => format!("\\{byte:03}"),
                plain => char::from(*plain).to_string(),
            });
            format!("'{}'", bytes.collect::<String>())
        };
        let mut arguments = vec![literal(&request[0])];
        for word in &request[1..] {
            arguments.push(match self.rng.below(6) {
                0..3 => literal(word),
                3 => self.one(&["KEYS[1]", "KEYS[2]", "KEYS[i]", "k"]).to_owned(),
                4 => self
                    .one(&[
                        "ARGV[1]",
                        "ARGV[2]",
                        "#ARGV",
                        "unpack(ARGV)",
                        "unpack(KEYS)",
                    ])
                    .to_owned(),
                _ => self.value(0),
            });
        }
        let function = self.one(&["redis.call", "redis.call", "redis.pcall", "server.pcall"]);
        format!("{function}({})", arguments.join(", "))
    }

    /// A source that registers functions.
    fn library(&mut self) -> String {
        let count = 1 + self.rng.below(3);
        let statements: Vec<String> = (0..count)
            .map(|_| match self.rng.below(3) {
                0 => self.statement(1),
                1 => self.one(REGISTRATIONS).to_owned(),
                _ => format!(
                    "redis.register_function('{}', function(KEYS, ARGV) {} end)",
                    self.one(NAMES),
                    self.block(2)
                ),
            })
            .collect();
        statements.join("\n")
    }

    fn block(&mut self, depth: u32) -> String {
        let count = 1 + self.rng.below(3);
        let mut statements: Vec<String> = (0..count).map(|_| self.statement(depth)).collect();
        if self.rng.below(2) == 0 {
            statements.push(format!("return {}", self.values(2, depth)));
        }
        statements.join("\n")
    }

    fn statement(&mut self, depth: u32) -> String {
        let name = self.one(NAMES);
        let inner = depth.saturating_sub(1);
        match self.rng.below(if depth == 0 { 6 } else { 16 }) {
            0 => format!("local {name} = {}", self.value(depth)),
            1 => format!("local {name}, b = {}", self.values(2, depth)),
            2 => format!("{name} = {}", self.value(depth)),
            3 => format!("{name}[{}] = {}", self.value(inner), self.value(depth)),
            6 | 7 => format!(
                "if {} then {} else {} end",
                self.value(inner),
                self.block(inner),
                self.block(inner)
            ),
            8 => format!(
                "for i, v in ipairs({}) do {} end",
                self.one(&["KEYS", "ARGV", "t"]),
                self.block(inner)
            ),
            9 => format!(
                "for k, v in pairs({}) do {} end",
                self.value(inner),
                self.block(inner)
            ),
            10 => format!(
                "for i = 1, {} do {} end",
                self.one(&["#KEYS", "#ARGV", "3", "100", "0, -1"]),
                self.block(inner)
            ),
            11 => format!(
                "while {} do {} break end",
                self.value(inner),
                self.block(inner)
            ),
            12 => format!("repeat {} until {}", self.block(0), self.value(inner)),
            13 => format!(
                "local function f({}) {} end f({})",
                self.one(&["", "a", "..."]),
                self.block(inner),
                self.values(2, inner)
            ),
            14 => format!("do {} end", self.block(inner)),
            15 => format!("local {name} = pcall(function() {} end)", self.block(inner)),
            _ => self.call(),
        }
    }
}

/// The tokens of a source, roughly, with the space that stands between them.
fn tokens(source: &[u8]) -> Vec<Vec<u8>> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut tokens = Vec::new();
    let mut rest = source;
    while let [first, behind @ ..] = rest {
        let len = match first {
            first if is_word(first) => rest.iter().take_while(|byte| is_word(byte)).count(),
            b'\'' | b'"' => behind
                .iter()
                .position(|byte| byte == first)
                .map_or(1, |at| at + 2),
            first if first.is_ascii_whitespace() => rest
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count(),
            _ => 1,
        };
        tokens.push(rest[..len].to_vec());
        rest = &rest[len..];
    }
    tokens
}

/// Words behind which a value does not stand alone.
const KEYWORDS: &[&str] = &[
    "and", "break", "do", "else", "elseif", "end", "for", "function", "if", "in", "local", "not",
    "or", "repeat", "return", "then", "until", "while",
];

fn is_value(token: &[u8]) -> bool {
    let is_literal = token.len() > 1 && matches!(token[0], b'\'' | b'"');
    let is_word = token[0].is_ascii_alphanumeric() || token[0] == b'_';
    is_literal || is_word && !KEYWORDS.iter().any(|word| word.as_bytes() == token)
}

fn starts_statement(token: &[u8]) -> bool {
    [
        "local", "if", "for", "while", "repeat", "return", "redis", "end",
    ]
    .iter()
    .any(|word| word.as_bytes() == token)
}
