//! What the libraries answer, compared with what Valkey 9.1.2 did.
//!
//! A line of `tests/values.txt` is the body of a function and what it came to, as `tests/show.lua` shows it,
//! which had the body put into it and was given to EVAL. Members of objects have another order there:
//! Valkey hashes strings in its own way.

use super::{bit, cjson, structs};
use crate::sys::lua::{CallError, Host, Raise, Stack, State};

/// An interpreter with the libraries as globals.
struct Libraries {
    state: State,
    settings: cjson::Config,
}

impl Libraries {
    fn new() -> Libraries {
        Libraries::with_memory(256 << 20)
    }

    fn with_memory(limit_bytes: u64) -> Libraries {
        let mut state = State::new(limit_bytes, 100_000);
        state.open_libraries();
        let mut stack = state.stack();
        let settings = cjson::open(&mut stack);
        set_global(&mut stack, "cjson");
        structs::open(&mut stack);
        set_global(&mut stack, "struct");
        bit::open(&mut stack);
        set_global(&mut stack, "bit");
        Libraries { state, settings }
    }

    /// What a source returns, or its error with a `!` in front.
    fn eval(&mut self, source: &str) -> String {
        let mut stack = self.state.stack();
        let is_done = stack.load(source.as_bytes(), c"@user_script").is_ok()
            && stack.call(0, 1, None).is_ok();
        let text = match stack.make_string(-1) {
            true => stack.string(-1).unwrap_or_default().to_vec(),
            false => stack.kind(-1).name().as_bytes().to_vec(),
        };
        stack.set_top(0);
        let text = String::from_utf8_lossy(&text).into_owned();
        if is_done { text } else { format!("!{text}") }
    }
}

fn set_global(stack: &mut Stack<'_>, name: &str) {
    stack.push_globals();
    let at = stack.top() - 1;
    stack.insert(at);
    stack.raw_set_name(at, name).expect("memory");
    stack.set_top(0);
}

/// A result with the members of all objects in it sorted.
fn in_order(result: &str) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = result.bytes();
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            b'\\' => {
                let code: String = bytes.by_ref().take(3).map(char::from).collect();
                code.parse().expect("three digits")
            }
            // Around strings; those of JSON have a code.
            b'"' => b' ',
            byte => byte,
        });
    }
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        at = copy_sorted(&text, at, &mut out) + 1;
    }
    out
}

/// Copies a value of JSON, up to the comma or the bracket behind it, whose place is the result; or whatever
/// else stands there.
fn copy_sorted(text: &[u8], mut at: usize, out: &mut Vec<u8>) -> usize {
    let mut in_string = false;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' if in_string => {
                out.push(byte);
                at += 1;
                out.extend(text.get(at));
            }
            b'"' => {
                in_string = !in_string;
                out.push(byte);
            }
            b',' | b'}' | b']' if !in_string => return at,
            b'{' | b'[' if !in_string => {
                let mut members = Vec::new();
                loop {
                    let mut member = Vec::new();
                    at = copy_sorted(text, at + 1, &mut member);
                    members.push(member);
                    if text.get(at) != Some(&b',') {
                        break;
                    }
                }
                if byte == b'{' {
                    members.sort();
                }
                out.push(byte);
                out.extend(members.join(&b','));
                out.extend(text.get(at));
            }
            _ => out.push(byte),
        }
        at += 1;
    }
    at
}

#[test]
fn values_are_what_valkey_makes_of_them() {
    let show = include_str!("tests/show.lua");
    let values = include_str!("tests/values.txt");
    let mut libraries = Libraries::new();
    let (mut count, mut faults) = (0, String::new());
    for line in values.lines() {
        let (body, want) = line.split_once('\t').expect("a body and a result");
        let got = libraries.eval(&show.replace("BODY", body));
        if got != want && in_order(&got) != in_order(want) {
            faults += &format!("{body}\n  {want}\n  {got}\n");
        }
        count += 1;
    }
    assert!(count >= 2_000, "{count}");
    assert!(faults.is_empty(), "recorded, then Kivi's:\n{faults}");
}

#[test]
fn settings_are_those_of_whoever_runs_scripts() {
    let mut libraries = Libraries::new();
    let change = "cjson.encode_max_depth(1) cjson.encode_sparse_array(true)
        return cjson.encode({[100] = 1})";
    assert_eq!(libraries.eval(change), r#"{"100":1}"#);
    let mut stack = libraries.state.stack();
    let changed = libraries.settings.get(&mut stack);
    libraries
        .settings
        .set(&mut stack, cjson::Settings::default());
    assert_eq!(
        libraries.eval("return cjson.encode({{{[2] = 1}}})"),
        "[[[null,1]]]"
    );
    assert_eq!(
        libraries.eval("return cjson.encode({[100] = 1})"),
        "!user_script:1: Cannot serialise table: excessively sparse array"
    );
    libraries
        .settings
        .set(&mut libraries.state.stack(), changed);
    assert_eq!(
        libraries.eval("return cjson.encode({{}})"),
        "!user_script:1: Cannot serialise, excessive nesting (2)"
    );
}

#[test]
fn another_instance_has_settings_of_its_own() {
    let mut libraries = Libraries::new();
    let source = "local other = cjson.new()
        other.encode_max_depth(1)
        local ok, text = pcall(other.encode, {{}})
        return cjson.encode({{}}) .. text";
    assert_eq!(
        libraries.eval(source),
        "[{}]Cannot serialise, excessive nesting (2)"
    );
    assert_eq!(
        libraries.eval("other = cjson.new() other.encode_number_precision(3) return 1"),
        "1"
    );
    libraries
        .settings
        .set(&mut libraries.state.stack(), cjson::Settings::default());
    assert_eq!(libraries.eval("return other.encode(1/3)"), "0.333");
    assert_eq!(
        libraries.eval("return cjson.encode(1/3)"),
        "0.33333333333333"
    );
}

#[test]
fn nesting_ends_where_the_stack_of_lua_does() {
    let mut libraries = Libraries::new();
    for (source, want) in [
        (
            "cjson.decode_max_depth(100000) return cjson.decode(string.rep('[', 100000))",
            "Found too many nested data structures (7999) at character 7999",
        ),
        (
            "cjson.decode_max_depth(100000) return cjson.decode(string.rep('{\"a\":', 100000))",
            "Found too many nested data structures (4000) at character 19996",
        ),
        (
            "cjson.encode_max_depth(100000) local t = {} for i = 1, 50000 do t = {t} end
             return select(2, pcall(cjson.encode, t))",
            "Cannot serialise, excessive nesting (7998)",
        ),
        (
            "cjson.encode_max_depth(100000) local t = {} for i = 1, 50000 do t = {a = t} end
             return select(2, pcall(cjson.encode, t))",
            "Cannot serialise, excessive nesting (4000)",
        ),
        (
            "local t = {} t[1] = t return cjson.encode(t)",
            "Cannot serialise, excessive nesting (1001)",
        ),
        (
            "return cjson.decode(string.rep('[', 100000))",
            "Found too many nested data structures (1001) at character 1001",
        ),
        (
            "return struct.unpack(string.rep('x', 9000) .. string.rep('b', 9000),
             string.rep('a', 18000))",
            "stack overflow (too many results)",
        ),
    ] {
        let got = libraries.eval(source);
        assert!(got.starts_with('!') || source.contains("pcall"), "{got}");
        assert!(got.ends_with(want), "{source}: {got}");
        libraries
            .settings
            .set(&mut libraries.state.stack(), cjson::Settings::default());
    }
}

#[test]
fn a_few_tables_make_no_endless_text() {
    let mut libraries = Libraries::with_memory(8 << 20);
    let source = "local t = {} for i = 1, 200 do t = {t, t} end return cjson.encode(t)";
    assert_eq!(libraries.eval(source), "!not enough memory");
    let source = "local t = {string.rep('\\0', 1000000)} t = {t, t, t, t, t}
        return cjson.encode({t, t, t})";
    assert_eq!(libraries.eval(source), "!not enough memory");
    let source = "cjson.encode_sparse_array(true, 0)
        return cjson.encode({[2147483647] = 1})";
    assert_eq!(libraries.eval(source), "!not enough memory");
    assert_eq!(libraries.eval("return cjson.encode({1})"), "[1]");
}

#[test]
fn a_coroutine_uses_libraries_too() {
    let mut libraries = Libraries::new();
    let source = "local run = coroutine.wrap(function(text)
            text = coroutine.yield(cjson.encode(cjson.decode(text)))
            return select('#', struct.unpack('bbb', text)), bit.tohex(255, -4)
        end)
        return run('[1,{}]') .. table.concat({run('abc')}, ' ')";
    assert_eq!(libraries.eval(source), "[1,{}]4 00FF");
}

/// Ends a script with its first tick.
struct Impatient;

impl Host for Impatient {
    fn call(&mut self, _: u32, stack: &mut Stack<'_>) -> Result<i32, Raise> {
        Err(stack.error("no functions"))
    }

    fn tick(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        Err(stack.error("enough"))
    }
}

#[test]
fn long_texts_let_the_host_end_the_script() {
    let mut libraries = Libraries::with_memory(64 << 20);
    for source in [
        &b"t = {string.rep('x', 1000000)}"[..],
        b"text = cjson.encode(t)",
        b"values = cjson.encode({1, 2, 3, string.rep('y', 200000)})",
    ] {
        let mut stack = libraries.state.stack();
        assert!(stack.load(source, c"@test").is_ok());
        assert_eq!(stack.call(0, 0, None), Ok(()));
    }
    for source in [
        &b"return cjson.encode(t)"[..],
        b"pcall(cjson.encode, t) return 1",
        b"return cjson.decode('[' .. text .. ',' .. values .. ']')",
    ] {
        let ended = libraries.state.with_host(&mut Impatient, |stack| {
            assert!(stack.load(source, c"@test").is_ok());
            let ended = stack.call(0, 1, None);
            assert_eq!(
                stack.string(-1).map(|text| text.ends_with(b"enough")),
                Some(true)
            );
            stack.set_top(0);
            ended
        });
        assert_eq!(ended, Err(CallError::Runtime));
    }
}
