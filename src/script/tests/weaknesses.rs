//! What Redis's scripting was once exploited with, tried on ours: each published weakness since 2021, and
//! the older ones that the same code had. `weaknesses.txt` has the sources by their numbers, each with what
//! Valkey, mended, answers.

use crate::commands::tests::Test;

/// However slow the machine is: nobody else shall have his turn in the middle of a script.
const PATIENT: [&str; 2] = ["--busy-reply-threshold", "600000"];

const WEAKNESSES: &str = include_str!("weaknesses.txt");
/// What Valkey says with its own name in it, and what we say.
const NAMES: (&str, &str) = ("This Valkey command", "This Redis command");

/// Names, types and values of all that scripts see.
const FINGERPRINT: &str = "
    local lines = {}
    local function note(prefix, t)
        for name, value in pairs(t) do
            local line = prefix .. tostring(name) .. ':' .. type(value)
            if type(value) == 'string' or type(value) == 'number' then
                line = line .. '=' .. tostring(value)
            end
            lines[#lines + 1] = line
            if type(value) == 'table' and prefix == '' and name ~= '_G' then
                note(name .. '.', value)
            end
        end
    end
    note('', _G)
    note('string metatable.', getmetatable(''))
    note('global metatable.', getmetatable(_G))
    table.sort(lines)
    return table.concat(lines, ' ') .. ('x'):rep(3) .. cjson.encode({1}) .. bit.tohex(1)
        .. tostring(getmetatable(1)) .. tostring(getmetatable(cjson.null)) .. #KEYS .. #ARGV";

/// The reply to a script, as in `weaknesses.txt`.
fn eval(test: &mut Test, source: &str) -> String {
    let reply = test.args(&[b"EVAL", source.as_bytes(), b"0"]);
    let mut text = String::new();
    for &byte in &reply.0 {
        match byte {
            b'\r' => text += "\\r",
            b'\n' => text += "\\n",
            b'\\' => text += "\\x5c",
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text += &format!("\\x{byte:02x}"),
        }
    }
    text
}

#[test]
fn what_was_exploited_once_is_answered_as_valkey_does_now() {
    let mut attacker = Test::with(&PATIENT);
    let mut other = attacker.client();
    let before = eval(&mut other, FINGERPRINT);
    assert!(before.contains("redis.call:function"), "{before}");
    let (mut count, mut faults) = (0, String::new());
    for line in WEAKNESSES.lines() {
        let Some((source, recorded)) = line.split_once('\t') else {
            assert!(line.starts_with("## "), "{line}");
            continue;
        };
        let wanted = recorded.replace(NAMES.0, NAMES.1);
        let answer = eval(&mut attacker, source);
        count += 1;
        if answer != wanted {
            faults += &format!("{source}\n  {wanted}\n  {answer}\n");
        }
        let after = eval(&mut other, FINGERPRINT);
        assert_eq!(after, before, "what others see after {source}");
    }
    assert!(count > 300, "{count}");
    assert!(faults.is_empty(), "recorded, then Kivi's:\n{faults}");
}

#[test]
fn any_function_takes_any_number_of_arguments() {
    let mut test = Test::with(&PATIENT);
    // First arguments that lead deep into the libraries, and what all others are.
    let firsts = [
        "string.rep('[', 900) .. string.rep(']', 900)",
        "string.rep('\\145', 900) .. '\\1'",
        "string.rep('(a', 30)",
        "string.rep('b', 900)",
        "{{{{}}}}",
        "12",
        "type",
        "coroutine.create(function() end)",
        "'>I4'",
        "'set'",
    ];
    for first in firsts {
        for rest in [
            "nil", "1", "'x'", "{}", "type", "1e300", "-7", "'%s'", "true",
        ] {
            let source = format!(
                "local args = {{}}
                for i = 2, 7999 do args[i] = {rest} end
                local count = 0
                local function try(f)
                    for _, n in ipairs({{0, 1, 2, 3, 40, 7900, 7935, 7936, 7937, 7990, 7996}}) do
                        args[1] = {first}
                        pcall(string.gsub, 'x', 'x', function() return f(unpack(args, 1, n)) end)
                        count = count + 1
                    end
                    -- More than there are places to ask for.
                    pcall(string.gsub, 'x', 'x', function()
                        return f(args[1], 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, unpack(args, 1, 7996))
                    end)
                end
                for name, value in pairs(_G) do
                    if type(value) == 'table' and name ~= '_G' and name ~= 'server' then
                        for name, f in pairs(value) do
                            if type(f) == 'function' then try(f) end
                        end
                    elseif type(value) == 'function' then
                        try(value)
                    end
                end
                return count > 1000"
            );
            assert_eq!(eval(&mut test, &source), ":1\\r\\n", "{first} {rest}");
        }
    }
}

#[test]
fn memory_has_a_limit_behind_which_scripts_go_on() {
    let limit = ["--lua-memory-limit", "32mb"];
    let mut test = Test::with(&[&limit[..], &PATIENT].concat());
    test.run("SETRANGE k 20000000 x").is(":20000001");
    // Into a table that need not grow.
    let many_replies = format!(
        "local t = {{{}}} for i = 1, 50 do t[i] = redis.call('getrange', 'k', i, -1) end return 1",
        "1, ".repeat(50)
    );
    let hungry = [
        "return #string.rep('x', 2^31 - 1)",
        "return #string.rep('0123456789', 1e8)",
        "local s = 'x' while true do s = s .. s end",
        "local t = {} while true do t[#t + 1] = {} end",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "local t = {} for i = 1, 1e9 do t['k' .. i] = i end",
        "local t = {} for i = 1, 1000 do t[i] = string.rep('x', 1e5) end return table.concat(t)",
        "local s = string.rep('x', 1e5) return s:gsub('x', s)",
        "local s = string.rep('x', 1e5) return s:gsub('x', function() return s end)",
        "local s = string.rep('x', 1e7) return #(s:upper() .. s:lower() .. s:reverse() .. s)",
        "local function f() return coroutine.wrap(f) end local t = {} while true do t[#t + 1] = f() end",
        "local s = string.rep('x', 1e6) while true do s = cjson.encode({s, s}) end",
        "local s = string.rep('x', 1e6) while true do s = cmsgpack.pack({s, s}) end",
        "local s = string.rep('x', 1e6) while true do s = struct.pack('ss', s, s) end",
        "local s = string.rep('x', 1e7) return loadstring('return \"' .. s .. s .. '\"')()",
        "return load(function() return 'x = 1 ' end)",
        "local t = {} for i = 1, 1e6 do t[i] = loadstring('return ' .. i) end",
        "return string.format(string.rep('%99d', 1e6), 1)",
        &many_replies,
        "local s = string.rep('x', 12e6) local t = {1, 1, 1, 1}
         for i = 1, 4 do t[i] = struct.unpack('c' .. 12e6 - i, s) end return 1",
    ];
    for source in hungry {
        let answer = eval(&mut test, source);
        let is_refused = [
            "not enough memory",
            "stack overflow",
            "bad argument #3",
            "$-1",
        ]
        .iter()
        .any(|text| answer.contains(text));
        assert!(is_refused, "{source}: {answer}");
        assert_eq!(
            eval(&mut test, "return #string.rep('x', 1e6)"),
            ":1000000\\r\\n",
            "{source}"
        );
    }
    // What is garbage by now does not count.
    let source = "for i = 1, 10 do redis.call('getrange', 'k', i, -1) end return 1";
    assert_eq!(eval(&mut test, source), ":1\\r\\n");
}

#[test]
fn one_script_does_not_decide_how_the_next_one_runs() {
    let mut test = Test::with(&PATIENT);
    for source in [
        "math.randomseed(42) return math.random(1000000)",
        "collectgarbage('stop') collectgarbage('setpause', 1e9) return 1",
        "cjson.encode_max_depth(1) cjson.encode_number_precision(3) cjson.encode_keep_buffer(false) \
         cjson.encode_sparse_array(true, 1, 1) cjson.decode_max_depth(1) \
         cjson.encode_invalid_numbers(true) cjson.decode_invalid_numbers(false) return 1",
    ] {
        assert!(eval(&mut test, source).starts_with(':'), "{source}");
    }
    // The number that would be next.
    assert_ne!(
        eval(&mut test, "return tostring(math.random())"),
        "$16\\r\\n0.34270147855519\\r\\n"
    );
    let source = "
        for i = 1, 200 do local s = string.rep('x', 1000000 + i) end
        return collectgarbage('count') < 20000";
    assert_eq!(eval(&mut test, source), ":1\\r\\n", "garbage is collected");
    let source = "
        return {cjson.encode({{{0.12345678901}}}), cjson.decode('[[[1]]]')[1][1][1],
            tostring(pcall(cjson.encode, 1/0))}";
    assert_eq!(
        eval(&mut test, source),
        "*3\\r\\n$19\\r\\n[[[0.12345678901]]]\\r\\n:1\\r\\n$5\\r\\nfalse\\r\\n"
    );
}

#[test]
fn the_debugger_is_refused() {
    let mut test = Test::with(&PATIENT);
    for line in ["SCRIPT DEBUG YES", "SCRIPT DEBUG SYNC"] {
        let reply = test.run(line).text();
        assert!(reply.starts_with('-'), "{line}: {reply}");
    }
    assert_eq!(
        eval(
            &mut test,
            "return {redis.breakpoint(), redis.debug('x'), 1}"
        ),
        "*1\\r\\n$-1\\r\\n"
    );
}
