//! The libraries of scripts against a real server's: random expressions of `cjson`, `cmsgpack`, `struct` and
//! `bit`, shown as texts, which must be the same.
//!
//! A script is `src/script/lib/tests/show.lua` around such an expression. Where servers differ on purpose:
//! Valkey hashes strings in its own way, so members of objects come in another order there, and of two
//! errors in one table another one may come first. So of texts that `encode` and `pack` make the bytes are compared
//! after sorting, and one error that a value cannot be written is as good as another.
//!
//! Environment: `KIVI_TEST_STEPS` expressions; `KIVI_TEST_SEED` the first seed.

use crate::client::{Client, Reply, show};
use crate::generate::Rng;
use crate::harness::{Server, env_number};

const STEPS_DEFAULT: u64 = 4_000;
const SHOW: &str = include_str!("../../src/script/lib/tests/show.lua");
/// Put in front of it: texts whose order does not matter.
const SORTED: &str = "local function sorted(text)
  local bytes = {string.byte(text, 1, 4000)}
  table.sort(bytes)
  return #text .. ' ' .. table.concat(bytes, ' ')
end
";

#[test]
fn libraries_answer_as_those_of_valkey_9() {
    if let Some(valkey) = Server::valkey(&[]) {
        compare_with(&valkey);
    }
}

fn compare_with(real: &Server) {
    let mut kivi = Server::kivi(&[]);
    let (mut one, mut other) = (kivi.connect(), real.connect());
    let first = env_number("KIVI_TEST_SEED", 1);
    let mut faults = Vec::new();
    for seed in first..first + env_number("KIVI_TEST_STEPS", STEPS_DEFAULT) {
        let body = Expressions(Rng::new(seed)).body();
        let (got, want) = (eval(&mut one, &body), eval(&mut other, &body));
        let are_refusals = got.starts_with("! \"user_script:")
            && [&got, &want].map(|text| text.contains("Cannot serialise")) == [true; 2];
        if got != want && !are_refusals {
            faults.push(format!("seed {seed}: {body}\n  {want}\n  {got}"));
        }
        if faults.len() >= 20 {
            break;
        }
    }
    kivi.assert_alive();
    let faults = faults.join("\n");
    assert!(faults.is_empty(), "{}'s, then Kivi's:\n{faults}", real.name);
}

fn eval(client: &mut Client, body: &str) -> String {
    let script = format!("{SORTED}{}", SHOW.replace("BODY", body));
    match client.cmd(&["EVAL", &script, "0"]) {
        // A fault in a text can be one of the script.
        Reply::Error(text) => show(&text),
        reply => reply.text(),
    }
}

const SETTINGS: &[&str] = &[
    "encode_sparse_array",
    "encode_max_depth",
    "decode_max_depth",
    "encode_number_precision",
    "encode_keep_buffer",
    "encode_invalid_numbers",
    "decode_invalid_numbers",
];
const BIT: &[&str] = &[
    "tobit", "bnot", "bswap", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror",
    "tohex",
];
/// Arguments of anything.
const ODD: &[&str] = &[
    "nil",
    "true",
    "false",
    "'on'",
    "'off'",
    "'null'",
    "'x'",
    "0",
    "1",
    "2",
    "14",
    "15",
    "-1",
    "1.9",
    "2^31",
    "2^32+3",
    "1e300",
    "0/0",
    "'5'",
    "' 7 '",
    "'0x10'",
    "{}",
    "tostring",
    "cjson.null",
];
const NUMBERS: &[&str] = &[
    "0/0",
    "1/0",
    "-1/0",
    "-0",
    "1e308",
    "5e-324",
    "2^31",
    "2^32",
    "2^53",
    "2^63",
    "-2^63",
    "2^64",
    "1e15",
    "1e14",
    "99999999999999",
    "123456789012345",
    "0.1",
    "1e-5",
    "0.0001",
    "-1",
    "-2^31",
];
const STRINGS: &[&str] = &[
    "a",
    "id",
    "name",
    "",
    "1",
    "a/b",
    "q\\\"q",
    "\\\\",
    "\\000",
    "\\127\\031",
    "\\n\\r\\t\\b\\f",
    "\\195\\169",
    "\\255\\254",
    "hello world",
    "user:1000",
    "a longer text of more than thirty-two bytes, with \\\"quotes\\\" in it",
];
const WORDS_OF_JSON: &[&str] = &[
    "true",
    "false",
    "null",
    "null",
    "nul",
    "t",
    "+1",
    "-",
    "0x1F",
    "-0x1.8p3",
    "0x",
    "0x.",
    "inf",
    "-inf",
    "Infinity",
    "nan",
    "-nan",
    "NaN(12)",
    "nan(",
    "1.",
    ".5",
    "-.5",
    "1e",
    "1E5",
    "1e400",
    "00",
    "01",
    "-0",
    "1.5.5",
    "12345678901234567890",
    "0.1234567890123456789",
    "9007199254740993",
    "999999999999999",
    "9999999999999999",
    "i",
    "N",
    "0x1p-2000",
    "0X1P2000",
];
const PARTS_OF_STRINGS: &[&str] = &[
    "a",
    "bc",
    "x y",
    "{",
    "[",
    ",",
    ":",
    "\\\\n",
    "\\\\\\\"",
    "\\\\\\\\",
    "\\\\/",
    "\\\\b",
    "\\\\u0041",
    "\\\\u00e9",
    "\\\\uD83D\\\\uDE00",
    "\\\\u0000",
    "\\195\\169",
    "\\\\u12",
    "\\\\ud800",
    "\\\\udc00",
    "\\\\x",
    "\\\\",
    "\\000",
    "\\001",
];
const OPTIONS: &[&str] = &[
    "b",
    "B",
    "h",
    "H",
    "l",
    "L",
    "i",
    "I",
    "f",
    "d",
    "x",
    "c",
    "s",
    " ",
    "<",
    ">",
    "!",
    "i1",
    "i2",
    "i3",
    "I5",
    "i8",
    "i9",
    "I16",
    "i32",
    "c0",
    "c1",
    "c5",
    "!1",
    "!2",
    "!4",
    "!8",
    "!16",
    "i0",
    "i33",
    "!3",
    "z",
    "i99999999999",
    "c2147483648",
    "%",
    "5",
    "\\255",
];
/// What stands at the places of messages, and in the data of structures.
const BYTES: &[&str] = &[
    "\\000",
    "\\001",
    "\\127",
    "\\128",
    "\\129",
    "\\130",
    "\\144",
    "\\145",
    "\\147",
    "\\160",
    "\\161",
    "a",
    "\\192",
    "\\193",
    "\\194",
    "\\195",
    "\\202",
    "\\203",
    "\\204",
    "\\205",
    "\\206",
    "\\207",
    "\\208",
    "\\209",
    "\\210",
    "\\211",
    "\\217",
    "\\218",
    "\\219",
    "\\220",
    "\\221",
    "\\222",
    "\\223",
    "\\224",
    "\\255",
    "\\000\\000\\000\\002",
];

/// Random expressions in Lua.
struct Expressions(Rng);

impl Expressions {
    /// The body of a function.
    fn body(&mut self) -> String {
        let settings = match self.0.chance(20) {
            true => format!("{} {} ", self.setting(), self.setting()),
            false => String::new(),
        };
        let value = match self.0.below(13) {
            0..3 => format!("sorted(cjson.encode({}))", self.value(0)),
            3..6 => format!("cjson.decode({})", self.json()),
            6 => format!("sorted(cjson.encode(cjson.decode({})))", self.json()),
            7 => {
                let (call, arguments) = (*self.0.pick(SETTINGS), self.many(ODD, 4));
                let from = *self.0.pick(&["cjson", "cjson.new()"]);
                format!("{from}.{call}({arguments})")
            }
            8 => self.messages(),
            9 => self.pack(),
            10 => {
                let (format, data) = (self.text(OPTIONS, 7), self.text(BYTES, 30));
                let offset = *self.0.pick(&["", "", ", 2", ", 0", ", -1", ", 40"]);
                format!("struct.unpack({format}, {data}{offset})")
            }
            11 => format!("struct.size({})", self.text(OPTIONS, 7)),
            _ => {
                let (call, count) = (*self.0.pick(BIT), self.0.below(4));
                let arguments: Vec<_> = (0..count).map(|_| self.bits()).collect();
                format!("bit.{call}({})", arguments.join(", "))
            }
        };
        format!("{settings}return {value}")
    }

    fn setting(&mut self) -> String {
        let (name, value) = match self.0.below(7) {
            0 => {
                let (ratio, safe) = (self.0.below(6), self.0.below(20));
                let convert = self.0.chance(50);
                ("encode_sparse_array", format!("{convert}, {ratio}, {safe}"))
            }
            1 => ("encode_max_depth", (1 + self.0.below(5)).to_string()),
            2 => ("decode_max_depth", (1 + self.0.below(5)).to_string()),
            3 => (
                "encode_number_precision",
                (1 + self.0.below(14)).to_string(),
            ),
            4 => {
                let word = *self.0.pick(&["'on'", "'off'", "'null'"]);
                ("encode_invalid_numbers", word.to_string())
            }
            5 => ("decode_invalid_numbers", self.0.chance(50).to_string()),
            _ => ("encode_keep_buffer", self.0.chance(50).to_string()),
        };
        format!("cjson.{name}({value})")
    }

    /// Some of these, with commas between.
    fn many(&mut self, items: &[&str], most: usize) -> String {
        let count = self.0.below(most + 1);
        let items: Vec<_> = (0..count).map(|_| *self.0.pick(items)).collect();
        items.join(", ")
    }

    /// A string of these parts.
    fn text(&mut self, parts: &[&str], most: usize) -> String {
        let count = self.0.below(most + 1);
        let parts: String = (0..count).map(|_| *self.0.pick(parts)).collect();
        format!("\"{parts}\"")
    }

    fn number(&mut self) -> String {
        match self.0.below(7) {
            0 => (*self.0.pick(NUMBERS)).to_string(),
            1 => (self.0.next() as i32).to_string(),
            2 => format!("{:?}", self.0.next() as f64 / u64::MAX as f64),
            3 => match f64::from_bits(self.0.next()) {
                number if number.is_finite() => format!("{number:e}"),
                _ => "7".to_string(),
            },
            4 => {
                let digits = self.0.next() >> self.0.below(63);
                format!("{digits} / 1e{}", self.0.below(13))
            }
            5 => format!("2^{}", self.0.below(2100) as i32 - 1080),
            _ => self.0.below(100_000).to_string(),
        }
    }

    fn bits(&mut self) -> String {
        match self.0.below(4) {
            0 => (*self.0.pick(ODD)).to_string(),
            1 => (self.0.below(80) as i32 - 40).to_string(),
            2 => (self.0.next() as i64 >> 28).to_string(),
            _ => self.number(),
        }
    }

    fn value(&mut self, depth: usize) -> String {
        let most = if depth > 3 { 5 } else { 8 };
        match self.0.below(most) {
            0 | 1 => self.number(),
            2 | 3 => format!("\"{}\"", self.0.pick(STRINGS)),
            4 => (*self
                .0
                .pick(&["true", "false", "cjson.null", "{}", "1", "nil", "tostring"]))
            .to_string(),
            5 => self.table(depth, |_| String::new()),
            6 => self.table(depth, |this| {
                let key = *this.0.pick(&[
                    "1", "2", "3", "5", "10", "11", "12", "0", "-1", "1.5", "2^31", "2^31-1",
                    "2^32", "1e300", "true",
                ]);
                format!("[{key}] = ")
            }),
            _ => self.table(depth, |this| format!("[\"{}\"] = ", this.0.pick(STRINGS))),
        }
    }

    fn table(&mut self, depth: usize, mut key: impl FnMut(&mut Self) -> String) -> String {
        let count = self.0.below(5);
        let entries: Vec<_> = (0..count)
            .map(|_| key(self) + &self.value(depth + 1))
            .collect();
        format!("{{{}}}", entries.join(", "))
    }

    /// A text of JSON as a string of Lua's, sometimes with a fault.
    fn json(&mut self) -> String {
        let mut text = self.json_value(0);
        while self.0.chance(15) {
            let at = self.0.below(text.len() + 1);
            if text.is_char_boundary(at) {
                text.insert(
                    at,
                    *self.0.pick(&['{', '}', '[', ']', ',', ':', '0', 'e', '-']),
                );
            }
        }
        format!("\"{text}\"")
    }

    fn json_value(&mut self, depth: usize) -> String {
        let space = *self.0.pick(&["", "", "", " ", "\\n", "\\t\\r ", ""]);
        let most = if depth > 4 { 4 } else { 6 };
        let value = match self.0.below(most) {
            0 => (*self.0.pick(WORDS_OF_JSON)).to_string(),
            1 => self.0.below(1000).to_string(),
            2 => {
                let (whole, fraction) = (self.0.next() as i32, self.0.next() % 100_000);
                format!("{whole}.{fraction}")
            }
            3 => self.json_string(),
            4 => {
                let count = self.0.below(5);
                let items: Vec<_> = (0..count).map(|_| self.json_value(depth + 1)).collect();
                format!("[{}]", items.join(","))
            }
            _ => {
                let count = self.0.below(5);
                let members: Vec<_> = (0..count)
                    .map(|_| format!("{}:{}", self.json_string(), self.json_value(depth + 1)))
                    .collect();
                format!("{{{}}}", members.join(","))
            }
        };
        format!("{space}{value}{space}")
    }

    fn json_string(&mut self) -> String {
        // Mostly whole ones.
        let parts = match self.0.chance(90) {
            true => &PARTS_OF_STRINGS[..17],
            false => PARTS_OF_STRINGS,
        };
        let count = self.0.below(6);
        let parts: String = (0..count).map(|_| *self.0.pick(parts)).collect();
        format!("\\\"{parts}\\\"")
    }

    fn messages(&mut self) -> String {
        match self.0.below(4) {
            0 => {
                let values: Vec<_> = (0..self.0.below(4)).map(|_| self.value(1)).collect();
                format!("sorted(cmsgpack.pack({}))", values.join(", "))
            }
            1 => format!("cmsgpack.unpack({})", self.text(BYTES, 12)),
            2 => {
                let offset = self.0.below(14) as i32 - 1;
                format!("cmsgpack.unpack_one({}, {offset})", self.text(BYTES, 12))
            }
            _ => {
                let (limit, offset) = (self.0.below(5) as i32 - 1, self.0.below(6));
                let data = self.text(BYTES, 12);
                format!("cmsgpack.unpack_limit({data}, {limit}, {offset})")
            }
        }
    }

    fn pack(&mut self) -> String {
        let format = self.text(OPTIONS, 7);
        let arguments: String = (0..self.0.below(7))
            .map(|_| match self.0.below(10) {
                0 => format!(", {}", self.0.pick(ODD)),
                1..5 => format!(", \"{}\"", self.0.pick(STRINGS)),
                _ => format!(", {}", self.number()),
            })
            .collect();
        format!("struct.pack({format}{arguments})")
    }
}
