//! What scripts see and cannot change, what can be ended, and answers of Valkey to the same sources.

use super::{Globals, Options, install};
use crate::sys::lua::{Host, Kind, Raise, Stack, State};

/// An interpreter as scripts see it, without the libraries that are not of this module.
fn sandbox() -> (State, Globals) {
    let mut state = State::new(64 << 20, 1_000);
    state.open_libraries();
    let globals = install(&mut state, &Options::default());
    (state, globals)
}

/// What a source returns, or its error with a `!` in front.
fn eval(state: &mut State, source: &str) -> String {
    let mut stack = state.stack();
    let sign = match stack.load(source.as_bytes(), c"@user_script") {
        Err(Raise) => "!",
        Ok(()) => match stack.call(0, 1, None) {
            Ok(()) => "",
            Err(_) => "!",
        },
    };
    let text = show(&mut stack);
    stack.set_top(0);
    format!("{sign}{text}")
}

/// The value on top, strings as they are, values in order of a table in brackets.
fn show(stack: &mut Stack<'_>) -> String {
    match stack.kind(-1) {
        Kind::Boolean => stack.is_true(-1).to_string(),
        Kind::Table => {
            let at = stack.top();
            let mut texts = Vec::new();
            for index in 1..=stack.len(at) as i32 {
                stack.raw_get_index(at, index);
                texts.push(show(stack));
                stack.pop(1);
            }
            format!("[{}]", texts.join(" "))
        }
        _ => match stack.make_string(-1) {
            true => String::from_utf8_lossy(stack.string(-1).unwrap_or_default()).into_owned(),
            false => stack.kind(-1).name().to_owned(),
        },
    }
}

#[test]
fn globals_are_those_of_redis() {
    let (mut state, _globals) = sandbox();
    let source = "
        local names = {}
        for name in pairs(_G) do names[#names + 1] = name end
        table.sort(names)
        return table.concat(names, ' ')";
    assert_eq!(
        eval(&mut state, source),
        "_G _VERSION assert collectgarbage coroutine error gcinfo getmetatable ipairs load \
         loadstring math next os pairs pcall rawequal rawget rawset select setmetatable string \
         table tonumber tostring type unpack xpcall"
    );
}

#[test]
fn fronts_cannot_be_changed_in_any_way() {
    let (mut state, _globals) = sandbox();
    let ways = [
        "string.len = 1",
        "_G.string = 1",
        "rawset(string, 'len', 1)",
        "rawset(_G, 'x', 1)",
        "setmetatable(string, {})",
        "setmetatable(_G, nil)",
        "table.insert(string, 1)",
        "table.insert(string, 1, 1)",
        "getmetatable('').__index = nil",
        "getmetatable('').__index.len = nil",
        "getmetatable(_G).__index = nil",
        "rawset(getmetatable(''), '__index', 1)",
        "setmetatable(getmetatable(''), {})",
        "for k in pairs(_G) do _G[k] = nil end",
        "table.foreach(math, function(k) math[k] = nil end)",
        "setmetatable({}, {__newindex = string}).x = 1",
        "coroutine.wrap(function() string.x = 1 end)()",
        "loadstring('string.x = 1')()",
    ];
    for way in ways {
        let answer = eval(&mut state, way);
        assert!(
            answer.ends_with("Attempt to modify a readonly table"),
            "{way}: {answer}"
        );
    }
    assert_eq!(eval(&mut state, "return ('abc'):len()"), "3");
}

#[test]
fn fronts_look_like_the_tables_behind_them() {
    let (mut state, _globals) = sandbox();
    let source = "
        local found = {}
        for name, value in pairs(os) do found[#found + 1] = name .. type(value) end
        return {
            next(os), #found, found[1], rawget(string, 'len') == string.len, getmetatable(string),
            getmetatable('').__index == string, string == _G.string, _G == _G._G}";
    assert_eq!(
        eval(&mut state, source),
        "[clock 1 clockfunction true nil true true true]"
    );
}

/// Sources and what comes of them, written from Valkey's answers.
const ANSWERS: &str = include_str!("tests/answers.txt");
/// Runs what it is put in front of protected, and shows all results as text.
const SHOW: &str = include_str!("tests/show.lua");
/// A hundred uses of patterns, by a seed; what comes of them is in `lines`.
const PATTERNS: &str = include_str!("tests/patterns.lua");
/// Returns a number that `lines` are known by.
const SUM: &str = "
    local sum = 0
    for _, line in ipairs(lines) do
        for i = 1, #line do sum = (sum * 31 + line:byte(i)) % 2147483647 end
    end
    return string.format('%d', sum)";

/// Text as it is in [`ANSWERS`].
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b'\\' => text += "\\x5c",
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text += &format!("\\x{byte:02x}"),
        }
    }
    text
}

#[test]
fn answers_are_those_of_valkey() {
    let (mut state, _globals) = sandbox();
    let (mut count, mut faults) = (0, String::new());
    for line in ANSWERS.lines().skip(1) {
        let (source, answer) = line.split_once('\t').expect("a source and an answer");
        let whole = match source.strip_prefix("patterns ") {
            Some(seed) => format!("{}{SUM}", PATTERNS.replace("SEED", seed)),
            None => format!("{} {source} end))", SHOW.trim_end()),
        };
        super::seed(&mut state, 0);
        let mut stack = state.stack();
        stack
            .load(whole.as_bytes(), c"@user_script")
            .expect("it compiles");
        let _ = stack.call(0, 1, None);
        let shown = escape(stack.string(-1).unwrap_or_default());
        stack.set_top(0);
        count += 1;
        if shown != answer {
            faults += &format!("{source}\n  {answer}\n  {shown}\n");
        }
    }
    assert!(count > 700, "{count}");
    assert!(faults.is_empty(), "recorded, then Kivi's:\n{faults}");
}

/// A host that has had enough after so many ticks.
struct Impatient(u32);

impl Host for Impatient {
    fn call(&mut self, _: u32, stack: &mut Stack<'_>) -> Result<i32, Raise> {
        Err(stack.error("there are no such functions"))
    }

    fn tick(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        self.0 = self.0.saturating_sub(1);
        match self.0 {
            0 => Err(stack.error("enough")),
            _ => Ok(()),
        }
    }
}

#[test]
fn whatever_takes_long_can_be_ended() {
    let (mut state, _globals) = sandbox();
    let holes = "local t = {} for i = 0, 30 do t[2 ^ i] = 1 end ";
    let sources = [
        "string.find(string.rep('a', 200), string.rep('a-', 30) .. 'b')",
        "string.match(string.rep('a', 5000), string.rep('.-', 5) .. 'b')",
        "string.match(string.rep('a', 5000), string.rep('.*', 5) .. 'b')",
        "string.gsub(string.rep('a', 10000), '.-.-.-b', '')",
        "string.gmatch(string.rep('a', 200), string.rep('a?', 30) .. string.rep('a-', 30) .. 'b')()",
        "string.find(string.rep('(', 100000), string.rep('%b()', 30))
         while true do string.find(string.rep('(', 10000), '%b()') end",
        "while true do string.find(string.rep('a', 100000), 'b', 1, true) end",
        "while true do string.gsub(string.rep('a', 100000), 'a', 'b') end",
        "while true do pcall(string.find, string.rep('a', 200), string.rep('a-', 30) .. 'b') end",
        "while true do local x = string.rep('x', 10000000) end",
        "table.insert({}, -2147483648, 1)",
        &format!("{holes} while true do table.insert(t, 1, 'y') end"),
        &format!("{holes} while true do table.remove(t, 1) end"),
        &format!("{holes} table.foreachi(t, getmetatable) while true do end"),
        &format!("{holes} table.sort(t, getmetatable) while true do end"),
        "local t = {} for i = 1, 10000 do t[i] = i end while true do table.sort(t) end",
        "local t = {} for i = 1, 10000 do t[i] = i end while true do table.foreach(t, type) end",
        "while true do collectgarbage() end",
        "while true do collectgarbage('step') end",
        "load(function() return ' ' end) while true do end",
        "load(function() while true do end end) while true do end",
        "while true do pcall(load, function() return ' ' end) end",
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "coroutine.wrap(function() while true do end end)()",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "local function f() for i = 1, 10 do pcall(coroutine.wrap(f)) end end f() while true do end",
        "local t = setmetatable({}, {}) getmetatable(t).__index = function() while true do end end
         string.gsub('x', 'x', t)",
        "setmetatable({}, {__lt = function() while true do end end})
         table.sort({1, 2}, function() while true do end end)",
    ];
    for source in sources {
        let mut host = Impatient(5);
        let ended = state.with_host(&mut host, |stack| {
            stack
                .load(source.as_bytes(), c"@user_script")
                .expect("it compiles");
            let ended = stack.call(0, 0, None);
            stack.set_top(0);
            ended
        });
        assert!(ended.is_err() && host.0 == 0, "{source}");
        assert_eq!(eval(&mut state, "return 1 + 1"), "2", "{source}");
    }
}

#[test]
fn patterns_are_as_deep_as_they_may_be() {
    let (mut state, _globals) = sandbox();
    let source = "return string.find(string.rep('a', 10), string.rep('a?', 150))";
    assert_eq!(eval(&mut state, source), "1");
    let source = "return string.find(string.rep('a', 300), string.rep('a?', 300))";
    assert_eq!(
        eval(&mut state, source),
        "!user_script:1: pattern too complex"
    );
}

#[test]
fn environments_are_there_if_that_is_wished_and_are_undone() {
    let mut state = State::new(64 << 20, 1_000);
    state.open_libraries();
    let options = Options {
        has_insecure_api: true,
    };
    let globals = install(&mut state, &options);
    let source =
        "return {getfenv(1) == _G, getfenv(0) == _G, getfenv(string.len) == _G, type(setfenv)}";
    assert_eq!(eval(&mut state, source), "[true true true function]");
    let mut stack = state.stack();
    stack
        .load(b"setfenv(0, {}) setfenv(1, {poison = 1})", c"@user_script")
        .expect("it compiles");
    stack.push_value(-1);
    stack.call(0, 0, None).expect("it runs");
    globals.restore(&mut stack, -1);
    stack.set_top(0);
    assert_eq!(eval(&mut state, "return string.rep('x', 3)"), "xxx");
    let refused = eval(&mut state, "return poison");
    assert!(
        refused.contains("nonexistent global variable 'poison'"),
        "{refused}"
    );
}
