//! Functions of ours that are given more arguments than Lua has room for behind them (`LUAI_MAXCSTACK`, 8,000):
//! Valkey's answers.

use crate::commands::tests::Test;

/// Calls functions with 7,990 and about 8,200 arguments.
const HEAD: &str = "
    local ones = {} for i = 1, 7999 do ones[i] = 1 end
    local function with(f, ...)
        local many, n = {...}, select('#', ...)
        for i = 1, 7990 do many[n + i] = 1 end
        return f(unpack(many, 1, 7990))
    end
    local wider = loadstring('local f, ones, a, b = ... return f(a, b, '
        .. string.rep('1, ', 200) .. 'unpack(ones))') ";

#[test]
fn very_many_arguments_are_too_many_only_where_valkey_says_so() {
    let mut test = Test::with(&["--busy-reply-threshold", "600000"]);
    let mut faults = String::new();
    for (source, want) in [
        ("tostring(with(next, {5}))", "$3 nil"),
        ("wider(next, ones, {5})", ":1"),
        ("with(rawget, {5}, 1)", ":5"),
        ("type(with(setmetatable, {}, {}))", "$5 table"),
        ("type(with(getmetatable, 'x'))", "$5 table"),
        ("type(with(pairs, {}))", "$8 function"),
        ("with(unpack, {1, 2, 3}, 1, 3)", ":1"),
        ("with(loadstring, 'return 1') ~= nil", ":1"),
        ("with(collectgarbage, 'count') > 0", ":1"),
        ("type(with(coroutine.wrap, function() end))", "$8 function"),
        ("with(cjson.encode, {})", "(expected 1 argument)"),
        ("with(cjson.decode, '1')", "(expected 1 argument)"),
        ("wider(cjson.encode, ones, {})", "(expected 1 argument)"),
        (
            "with(cjson.encode_max_depth, 1)",
            "bad argument #2 to 'f' (found too many arguments)",
        ),
        (
            "with(cmsgpack.pack)",
            "bad argument #0 to 'f' (Too many arguments for MessagePack pack.)",
        ),
        ("with(cmsgpack.unpack, '\\1')", ":1"),
        ("with(cmsgpack.unpack_one, '\\1')", ":-1"),
        ("with(cmsgpack.unpack_limit, '\\1\\1\\1', 1)", ":2"),
        ("#with(struct.pack, string.rep('b', 7989))", ":7989"),
        (
            "#wider(struct.pack, ones, string.rep('b', 8200), 1)",
            ":8200",
        ),
        (
            "wider(struct.pack, ones, string.rep('s', 8200), {})",
            "bad argument #2",
        ),
        (
            "#wider(struct.pack, ones, string.rep('s', 8200), 1)",
            ":16400",
        ),
        (
            "struct.pack(string.rep('b', 8500), unpack(ones))",
            "bad argument #8001 to 'pack' (number expected, got nil)",
        ),
        ("with(struct.unpack, 'b', 'x')", ":120"),
        ("with(struct.size, 'b')", ":1"),
        ("with(redis.sha1hex)", "-ERR wrong number of arguments"),
        (
            "with(redis.error_reply, 'x')",
            "-ERR wrong number or type of arguments",
        ),
        (
            "with(redis.call, 'ping')",
            "-ERR wrong number of arguments for 'ping' command",
        ),
        ("with(string.find, 'abcabc', 'b')", ":2"),
        ("with(string.match, 'abcabc', '(b)(c)')", "$1 b"),
        ("with(string.gsub, 'abc', 'b', 'x')", "$3 axc"),
        ("wider(string.gsub, ones, 'abc', 'b')", "$3 a1c"),
        ("with(string.rep, 'x', 3)", "$3 xxx"),
        ("wider(string.rep, ones, 'x', 3)", "$3 xxx"),
        ("type(with(string.gmatch, 'abc', 'b'))", "$8 function"),
        (
            "with(table.insert, {})",
            "wrong number of arguments to 'insert'",
        ),
        (
            "wider(table.insert, ones, {})",
            "wrong number of arguments to 'insert'",
        ),
        ("with(table.remove, {5}, 1)", ":5"),
        ("with(table.foreach, {5}, function() return 7 end)", ":7"),
        ("with(math.random)", "wrong number of arguments"),
        ("with(bit.bor, 1, 2)", ":3"),
        ("tostring(with(pcall, next, {}))", "$5 false"),
    ] {
        let script = format!("{HEAD} return {source}");
        let reply = test.args(&[b"EVAL", script.as_bytes(), b"0"]);
        let got = reply.text();
        let is_right = match want.starts_with(['$', ':']) {
            true => got == want,
            false => got.starts_with("-ERR") && got.contains(want),
        };
        if !is_right {
            faults += &format!("{source}: {got}\n");
        }
    }
    assert_eq!(faults, "");
}
