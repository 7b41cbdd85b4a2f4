//! What is proven, and above all what must not be: sources that look as if, and lie.

use super::*;
use crate::spec::{Begin, Find, KeyFlags};

mod random;

const ONE: &[KeySpec] = &[KeySpec::at(1, KeyFlags::RW)];
const TWO: &[KeySpec] = &[KeySpec::range(1, 1, 1, KeyFlags::RW)];
const ALL: &[KeySpec] = &[KeySpec::range(1, -1, 1, KeyFlags::RM)];
const PAIRS: &[KeySpec] = &[KeySpec::range(1, -1, 2, KeyFlags::OW)];
const BUT_LAST: &[KeySpec] = &[KeySpec::range(1, -2, 1, KeyFlags::RW)];
const SECOND: &[KeySpec] = &[KeySpec::at(2, KeyFlags::RO)];
const COUNTED: &[KeySpec] = &[
    KeySpec::at(1, KeyFlags::OW),
    KeySpec::keynum(2, 1, 1, KeyFlags::RO),
];
const BEHIND_A_WORD: &[KeySpec] = &[
    KeySpec::at(1, KeyFlags::RO),
    KeySpec::keyword("STORE", 2, |_| None, KeyFlags::OW),
];
const HALVES: &[KeySpec] = &[KeySpec {
    find: Find::Range {
        last: -1,
        step: 1,
        limit: 2,
    },
    begin: Begin::Index(1),
    ..KeySpec::at(1, KeyFlags::RO)
}];

/// Commands: key specs, whether confined, whether reading only.
fn command(name: &[u8], second: Option<&[u8]>) -> Option<Facts> {
    let (keys, is_confined, reads_only): (&[KeySpec], bool, bool) =
        match &name.to_ascii_lowercase()[..] {
            b"get" | b"hgetall" | b"zscore" | b"ttl" | b"exists1" => (ONE, true, true),
            b"set" | b"incr" | b"incrby" | b"expire" | b"zadd" | b"sadd" | b"hset" | b"lpush"
            | b"pexpire" | b"zrem" | b"zremrangebyscore" | b"zcard" => (ONE, true, false),
            b"rename" => (TWO, true, false),
            b"del" => (ALL, true, false),
            b"mget" => (ALL, true, true),
            b"mset" => (PAIRS, true, false),
            b"blpop" => (BUT_LAST, true, false),
            b"zunionstore" => (COUNTED, true, false),
            b"georadius" => (BEHIND_A_WORD, true, false),
            b"halves" => (HALVES, true, true),
            b"publish" => (&[], true, false),
            b"time" => (&[], true, true),
            b"keys" => (&[], false, true),
            b"sort" => (ONE, false, false),
            b"object" if second == Some(b"encoding") => (SECOND, true, true),
            _ => return None,
        };
    let is_short = !name.eq_ignore_ascii_case(b"hgetall");
    Some(Facts {
        keys,
        is_confined,
        reads_only,
        is_short,
    })
}

fn of(source: &str) -> Proof {
    analyse(source.as_bytes(), &command)
}

fn is_bounded(source: &str) {
    assert!(of(source).is_bounded, "bounded: {source}");
}

fn is_not_bounded(source: &str) {
    assert!(!of(source).is_bounded, "not bounded: {source}");
}

#[test]
fn plain_scripts_are_bounded() {
    for source in [
        "",
        "return 1",
        "#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])",
        "return redis.call('incr', KEYS[1])",
        "return redis.call(\"GET\", KEYS [ 1 ] )",
        "return server.pcall([[get]], KEYS[1]) -- a comment\n--[==[ another ]] ]==]",
        "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end",
        "local key = KEYS[1] local limit = tonumber(ARGV[1])\n\
         local n = redis.call('incr', key)\n\
         if n == 1 then redis.call('pexpire', key, ARGV[2]) elseif n > limit then return {err='x'} end\n\
         return n",
        "local a, b = KEYS[1], KEYS[2] return redis.call('rename', a, b)",
        "local a, b = unpack(KEYS) return redis.call('rename', a, (b))",
        "return redis.call('sadd', KEYS[1], unpack(ARGV))",
        "return redis.call('sadd', KEYS[#KEYS], unpack(ARGV, 2, #ARGV))",
        "return redis.call('del', unpack(KEYS))",
        "return redis.call('del', KEYS[1], KEYS[2], unpack(KEYS, 3))",
        "return redis.call('mset', KEYS[1], ARGV[1], KEYS[2], cjson.encode({a=1}))",
        "return redis.call('zunionstore', KEYS[1], 2, KEYS[2], KEYS[3], 'weights', unpack(ARGV))",
        "return redis.call('zunionstore', KEYS[1], '1', KEYS[2])",
        "return redis.call('blpop', KEYS[1], KEYS[2], 0)",
        "return redis.call('object', 'encoding', KEYS[1])",
        "for i = 1, #KEYS do redis.call('del', KEYS[i]) end",
        "for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[i]) end return #KEYS",
        "local n = 0 for i = 1, #ARGV, 2 do n = n + redis.call('zadd', KEYS[1], ARGV[i], ARGV[i + 1]) end return n",
        "local t = redis.call('time') local now = t[1] * 1000 + math.floor(t[2] / 1000)\n\
         redis.call('zremrangebyscore', KEYS[1], 0, now - ARGV[1])\n\
         if redis.call('zcard', KEYS[1]) < tonumber(ARGV[2]) then\n\
         redis.call('zadd', KEYS[1], now, now .. ':' .. ARGV[3]) return 1 end return 0",
        "redis.call('publish', ARGV[1], 'x' .. ARGV[2]) return redis.status_reply('OK')",
        "return redis.error_reply('My Err')",
        "local t = {} t.x = 1 t[2] = {3; 4} return cjson.encode(t)",
        "return ARGV[1]:upper():sub(1, 2)",
        "local job = cjson.decode(ARGV[1]) return redis.call('hset', KEYS[1], job.id, job['x'])",
        "do local key = KEYS[2] redis.call('get', key) end return KEYS",
        "local x = KEYS[1] == KEYS[2] and 1 or -2 return x",
        "return redis.call('get', KEYS[tonumber(ARGV[1])])",
    ] {
        is_bounded(source);
    }
}

#[test]
fn what_might_touch_other_keys_is_not_bounded() {
    for source in [
        "return redis.call('get', ARGV[1])",
        "return redis.call('get', 'k')",
        "return redis.call('get', KEYS[1] .. ':x')",
        "return redis.call('get', KEYS[1] or 'k')",
        "return redis.call(ARGV[1], KEYS[1])",
        "return redis.call('g' .. 'et', KEYS[1])",
        "return redis.call('unknown', KEYS[1])",
        "return redis.call()",
        "return redis.call(unpack(ARGV))",
        "return redis.call('sadd', unpack(ARGV))",
        "return redis.call('del', KEYS[1], unpack(ARGV))",
        "return redis.call('del', KEYS[1], ARGV[1])",
        "return redis.call('del', KEYS[1], tostring(1))",
        "return redis.call('rename', KEYS[1], tostring(1))",
        "return redis.call('rename', KEYS[1], unpack(ARGV))",
        "return redis.call('mset', KEYS[1], unpack(KEYS))",
        "return redis.call('mset', KEYS[1], 1, ARGV[1], 2)",
        "return redis.call('zunionstore', KEYS[1], ARGV[1], KEYS[2], KEYS[3])",
        "return redis.call('zunionstore', KEYS[1], 2, KEYS[2], ARGV[1])",
        "return redis.call('zunionstore', KEYS[1], 2, KEYS[2], unpack(ARGV))",
        "return redis.call('zunionstore', KEYS[1], 0, ARGV[1])",
        "return redis.call('zunionstore', KEYS[1], unpack(ARGV))",
        "return redis.call('blpop', KEYS[1], ARGV[1], 0)",
        "return redis.call('georadius', KEYS[1], 1, 2, 3, 'm')",
        "return redis.call('halves', KEYS[1], 0)",
        "return redis.call('object', 'encoding', ARGV[1])",
        "return redis.call('object', ARGV[1], KEYS[1])",
        "return redis.call('object', 'freq', KEYS[1])",
        "return redis.call('keys', '*')",
        "return redis.call('sort', KEYS[1])",
        "KEYS[1] = 'x' return redis.call('get', KEYS[1])",
        "KEYS = ARGV return redis.call('get', KEYS[1])",
        "local KEYS = ARGV return redis.call('get', KEYS[1])",
        "local KEYS = {'x'} return redis.call('get', KEYS[1])",
        "table.insert(KEYS, 'x') return redis.call('get', KEYS[2])",
        "table.insert(KEYS, 1, 'x') return redis.call('get', KEYS[1])",
        "local k = KEYS k[1] = 'x' return redis.call('get', KEYS[1])",
        "local t = {KEYS} t[1][1] = 'x' return redis.call('get', KEYS[1])",
        "local k = (KEYS) k[1] = 'x' return redis.call('get', KEYS[1])",
        "local k = KEYS[1] k = 'x' return redis.call('get', k)",
        "local k = KEYS[1] if ARGV[1] then k = ARGV[1] end return redis.call('get', k)",
        "local k = KEYS[1] do local k = 'x' redis.call('get', k) end",
        "local k = ARGV[1] do local k = KEYS[1] end return redis.call('get', k)",
        "local a, b = KEYS[1] return redis.call('get', b) or redis.call('get', ARGV[1])",
        "local a, b = KEYS[1], unpack(ARGV) return redis.call('get', b)",
        "local a, b = (unpack(KEYS)), 'x' return redis.call('get', b)",
        "local k = KEYS[1]:upper() return redis.call('get', k)",
        "for i, k in ipairs(ARGV) do redis.call('get', k) end",
        "for k in ipairs(KEYS) do redis.call('get', k) end",
        "for i, k in ipairs(KEYS) do k = 'x' redis.call('get', k) end",
        "for i, k in pairs(KEYS) do redis.call('get', k) end",
        "local redis = redis redis.call('get', KEYS[1])",
        "local call = redis.call call('get', 'x')",
        "local c = {redis.call} c[1]('get', 'x')",
        "redis['call']('get', 'x')",
        "_G.redis.call('get', 'x')",
        "(redis).call('get', 'x')",
        "pcall(redis.call, 'get', 'x')",
        "coroutine.wrap(redis.call)('get', 'x')",
        "return redis.call('mset', KEYS[1], 1, KEYS[2], string.byte(ARGV[1], 1, -1))",
        "return redis.call('mset', KEYS[1], 1, tostring(1))",
        "return 3 ..redis.call('get', 'x')",
        "return 0x1e+redis.call('get', 'x')",
        "return --[[ ]] redis.call('get', 'x')",
        "return --[=[ ]] ]=] redis.call('get', 'x')",
        "--[==\nredis.call('get', 'x')",
        "--\rredis.call('get', 'x')",
        "return '\\'' .. redis.call('get', 'x') .. '\\''",
    ] {
        is_not_bounded(source);
    }
}

#[test]
fn what_might_take_long_is_not_bounded() {
    for source in [
        "while true do end",
        "repeat until false",
        "for i = 1, 1e9 do end",
        "for i = 1, 100000000 do end",
        "for i = 1, 10, 0 do end",
        "for i = 1, 10, -1 do end",
        "for i = 1, 10, 0.001 do end",
        "for i = -1000000000, 1 do end",
        "for i = 1, tonumber(ARGV[1]) do end",
        "for i = 1, #KEYS do for j = 1, #KEYS do end end",
        "for i, v in ipairs(redis.call('mget', KEYS[1])) do end",
        "local t = {1} for i, v in ipairs(t) do t[i + 1] = 1 end",
        "for i in ipairs(ARGV) do ARGV[i + 1] = 1 end",
        "for i in ipairs(ARGV) do table.insert(ARGV, 1) end",
        "local function f() return f() end f()",
        "local f = function() end f()",
        "return string.rep('x', 1000000000)",
        "return ('x'):rep(1000000000)",
        "return string.find(ARGV[1], ARGV[2])",
        "return ARGV[1]:match('.-b')",
        "return ARGV[1]:gsub('a', 'b')",
        "local s = ARGV[1] for i = 1, 40 do s = s .. s end",
        "local s = ARGV[1] for i = 1, 40 do local t = {} t[1] = s .. t[1] end",
        "for i = 1, #ARGV do cjson.encode(ARGV) end",
        "for i = 1, #ARGV do redis.call('hgetall', KEYS[1]) end",
        "local a = ARGV[1] for i = 1, 1000 do local h = redis.sha1hex(a) end",
        "local a = ARGV[1] for i = 1, 1000 do a:lower() end",
        "local a = ARGV[1] for i = 1, #ARGV do cmsgpack.unpack(a) end",
        "local a = ARGV[1] for i = 1, #ARGV do cjson.decode(a) end",
        "for i = 1, #ARGV do redis.call('sadd', KEYS[1], unpack(ARGV)) end",
        "local x = setmetatable({}, {})",
        "load('x')()",
        "loadstring('x')()",
        "return ...",
        "redis.breakpoint()",
        "redis.set_repl(0)",
        "math.randomseed(1)",
        "x = 1",
        "return x",
        "return tostring",
    ] {
        is_not_bounded(source);
    }
    let doubling = "local s = ARGV[1] ".to_owned() + &"s = s .. s ".repeat(9);
    is_not_bounded(&doubling);
    let calls = "redis.call('get', KEYS[1]) ".repeat(300);
    is_not_bounded(&calls);
    let compares = "local a, b, x = ARGV[1], ARGV[2] for i = 1, 1000 do ".to_owned();
    is_bounded(&(compares.clone() + "x = a < b end"));
    is_not_bounded(&(compares + &"x = a < b ".repeat(70) + "end"));
    let encodes = "cjson.encode(ARGV) ".repeat(5);
    is_not_bounded(&encodes);
}

#[test]
fn size_of_the_request_counts() {
    let proof = of("return redis.call('get', KEYS[1])");
    assert!(proof.is_bounded_for(2, 100));
    assert!(!proof.is_bounded_for(1025, 100));
    assert!(!proof.is_bounded_for(2, 2 << 20));
    assert!(!Proof::default().is_bounded_for(0, 0));
    let loops = of("for i = 1, #KEYS do redis.call('get', KEYS[i]) end");
    assert!(loops.is_bounded_for(1024, 60_000) && !loops.is_bounded_for(2, 70_000));
}

#[test]
fn scripts_that_only_read_are_told() {
    for source in [
        "return redis.call('get', ARGV[1])",
        "return redis.call('keys', '*')",
        "for i = 1, 1e9 do redis.pcall('mget', unpack(ARGV)) end",
        "local function f(k) return redis.call('get', k) end while true do f(ARGV[1]) end",
        "local t = {} for k, v in pairs(KEYS) do t[k] = redis.call('GET', v):gsub('x', 'y') end return t",
        "return redis.call('time')[1] .. redis.sha1hex('x') .. redis.LOG_WARNING",
        "redis.setresp(3) return redis.error_reply('x')",
        "local x = {redis = 1, call = 2} return x.redis",
        "return ARGV[1].redis",
    ] {
        assert!(of(source).reads_only, "reads only: {source}");
    }
    for source in [
        "return redis.call('set', KEYS[1], 1)",
        "return redis.call(ARGV[1], KEYS[1])",
        "return redis.call('publish', 'a', 'b')",
        "local function f() return redis.call('set', KEYS[1], 1) end",
        "return function() return redis.call('set', KEYS[1], 1) end",
        "local call = redis.call return call('set', 'x', 1)",
        "local r = redis return r.call('set', 'x', 1)",
        "return #redis",
        "return redis['call']('set', 'x', 1)",
        "return redis:call('set')",
        "return (redis).call('set', 'x', 1)",
        "return {redis}",
        "return f(redis)",
        "pcall(redis.call, 'set', 'x', 1)",
        "return _G.redis.call('set', 'x', 1)",
        "return _G['redis'].call('set', 'x', 1)",
        "return load('redis.call()')",
        "return getfenv(0).redis",
        "redis.unknown()",
        "redis.call = 1",
        "for i, v in ipairs({redis.call}) do v('set', 'x', 1) end",
        "local x x = redis.call",
        "if x then elseif redis.call('set', 'x', 1) then end",
        "repeat local x = redis.call until true",
        "return redis.call",
        "return not redis.call('set', 'x', 1)",
        "t[redis.call('set', 'x', 1)] = 1",
        "t[1][redis.call('set', 'x', 1)].x = 1",
        "function t.x() redis.call('set', 'x', 1) end",
        "return {a = redis.call('set', 'x', 1)}, {[redis.call('set', 'x', 1)] = 1}",
        "return f{redis.call('set', 'x', 1)}",
        "return ('x'):y(redis.call('set', 'x', 1))",
    ] {
        assert!(!of(source).reads_only, "does not read only: {source}");
    }
}

#[test]
fn what_is_not_understood_is_not_proven() {
    for source in [
        "return 1 return",
        "return (",
        "return 'x",
        "local 1 = 2",
        "x",
        "redis.call('get', KEYS[1]) = 1",
        "return {a = }",
        "for i do end",
        "if x then",
        "return @",
        "return \"\\300\"",
        "\u{1b}Lua",
        "end",
    ] {
        assert_eq!(of(source), Proof::default(), "{source}");
    }
    let deep = format!("return {}1{}", "(".repeat(1_000_000), ")".repeat(1_000_000));
    assert_eq!(of(&deep), Proof::default());
    let deep = format!("return {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(of(&deep), Proof::default());
    let deep = "do ".repeat(10_000);
    assert_eq!(of(&deep), Proof::default());
    let deep = "return ".to_owned() + &"{".repeat(10_000);
    assert_eq!(of(&deep), Proof::default());
    let deep = "return ".to_owned() + &"function() return ".repeat(1_000);
    assert_eq!(of(&deep), Proof::default());
    // What is long without being deep is fine.
    is_bounded(&("return 1".to_owned() + &" + 1".repeat(10_000)));
    is_bounded(&("return ".to_owned() + "-" + &" not".repeat(10_000) + " 1"));
    is_bounded(&("local x = {} return x".to_owned() + &".x".repeat(10_000)));
}

fn library(source: &str) -> LibraryProof {
    analyse_library(source.as_bytes(), &command)
}

fn proof(library: &LibraryProof, name: &str) -> Option<Proof> {
    let found = library.functions.iter();
    let mut found = found.filter(|(it, _)| it == name.as_bytes());
    found.next().map(|&(_, proof)| proof)
}

#[test]
fn functions_of_libraries_are_told() {
    let found = library(
        "#!lua name=x\n\
         local limit = 10\n\
         local function get(keys, args) return redis.call('get', keys[1]) end\n\
         local helper = function(k) return redis.call('get', k) end\n\
         local function writer(k) return redis.call('set', k, 1) end\n\
         redis.register_function('get', get)\n\
         redis.register_function('set', function(keys, args)\n\
             return redis.call('set', keys[1], args[1] + limit) end)\n\
         redis.register_function{function_name = 'any', flags = {'no-writes'},\n\
             callback = function(keys, args) return helper(args[1]) end}\n\
         redis.register_function('all', function(keys) while true do writer(keys[1]) end end)\n\
         redis.register_function('other', function(keys, args) return redis.call('set', args[1], 1) end)\n\
         redis.register_function('change', function(keys, args) keys = args\n\
             return redis.call('get', keys[1]) end)\n\
         redis.register_function('swap', function(args, keys) return redis.call('get', keys[1]) end)\n\
         redis.register_function('globals', function() return redis.call('get', KEYS[1]) end)\n",
    );
    assert!(found.is_stateless);
    let cases = [
        ("get", true, true),
        ("set", true, false),
        ("any", false, true),
        ("all", false, false),
        ("other", false, false),
        ("change", false, true),
        ("swap", false, true),
        ("globals", false, true),
    ];
    assert_eq!(found.functions.len(), cases.len());
    for (name, is_bounded, reads_only) in cases {
        let expected = Proof {
            has_loop: false,
            is_bounded,
            reads_only,
        };
        assert_eq!(proof(&found, name), Some(expected), "{name}");
    }
}

#[test]
fn functions_that_are_registered_in_other_ways_are_not_told() {
    let good = "redis.register_function('f', function(keys) return redis.call('get', keys[1]) end)";
    assert_eq!(library(good).functions.len(), 1);
    for source in [
        "local r = redis.register_function r('f', function() end) if false then GOOD end",
        "GOOD GOOD",
        "if x then GOOD end",
        "GOOD local r = redis",
        "GOOD redis['register_function']('f', x)",
        "GOOD pcall(redis.register_function, 'f', x)",
        "GOOD _G.redis.register_function('f', x)",
        "GOOD loadstring('x')()",
        "GOOD local function f() redis.register_function('g', f) end",
        "GOOD redis.register_function('g' .. 'h', function() end)",
        "GOOD redis.register_function{function_name = 'f', callback = g()}",
        "GOOD redis.register_function{function_name = 'g', function_name = 'f', callback = function() end}",
        "GOOD redis.register_function()",
    ] {
        let source = source.replace("GOOD", good);
        assert_eq!(library(&source).functions, [], "{source}");
    }
    // A local that is assigned might be another function.
    for source in [
        "local f = function(keys) return redis.call('get', keys[1]) end f = redis.call",
        "local f = function(keys) return redis.call('get', keys[1]) end function f() end",
    ] {
        let source = format!("{source} redis.register_function('f', f)");
        assert_eq!(library(&source).functions, [], "{source}");
    }
}

#[test]
fn libraries_that_keep_nothing_are_told() {
    let register = "redis.register_function('f', f)";
    for source in [
        "local function f() return 1 end",
        "local a, b, c = 1, 'x', nil local function f() return a .. b end",
        "local LIMITS = {a = 1, 2, ['b'] = 'x'} local function f(keys) \
         for k, v in pairs(LIMITS) do end return LIMITS.a + LIMITS[keys[1]] + #LIMITS end",
        "local M = {} function M.g() return M.h() end M.h = function() return 2 end M['x'] = 1 \
         local function f() return M.g() end",
        "local call = redis.call local function f() local t = {} t.x = call('get', 'x') return t end",
        "local f do local hidden = 1 function f() return hidden end end",
        "local function f() local n = 0 local function g() n = n + 1 end g() return n end",
        "local fmt = string.format local function f() return fmt('x') end",
    ] {
        let source = format!("{source} {register}");
        // One that is assigned later is not registered in a way that is understood.
        let is_late = source.starts_with("local f do");
        assert_eq!(library(&source).is_stateless, !is_late, "{source}");
    }
    for source in [
        "local n = 0 local function f() n = n + 1 return n end",
        "local n local function f() n = 1 end",
        "local t = {} local function f() t.x = 1 end",
        "local t = {} local function f() t[1] = 1 end",
        "local t = {} local function f() (t).x = 1 end",
        "local t = {} local function f() table.insert(t, 1) end",
        "local t = {} local function f() local u = t u.x = 1 end",
        "local t = {} local function f() return t end",
        "local t = {} local function f() g(t) end",
        "local t = {} local function f() return {t} end",
        "local t = {} local function f() return setmetatable({}, {__index = t}) end",
        "local t = {} local function f() t:add(1) end",
        "local t = {} local function f() return t or 1 end",
        "local t = {} local function f() function t.x() end end",
        "local t = {x = {}} local function f() t.x.y = 1 end",
        "local t = {} local u = {t} local function f() u[1].x = 1 end",
        "local t = {} local u = t local function f() u.x = 1 end",
        "local t = cjson.decode('{}') local function f() return t.x end",
        "local t = math.random() local function f() return t end",
        "local t t = {} local function f() t.x = 1 end",
        "local function make() local n = 0 return function() n = n + 1 return n end end local f = make()",
        "local function f() end do local n = 0 function f() n = n + 1 end end",
        "local co = coroutine.wrap(function() end) local function f() return co() end",
        "for i = 1, 2 do end local function f() end",
        "local function f() setfenv(1, {}) end",
        "local function f() return _G end",
        "local function f() loadstring('x')() end",
        "local n = 0 local function f() return function() n = n + 1 end end",
        "local n = 0 local function f() n, x = 1, 2 end",
        "local n = 0 local function f() for i = 1, 2 do repeat n = 1 until true end end",
        "local n = 0 local function f() function n() end end",
        "local t = {} local function f() local _, u = pairs(t) u.n = 1 end",
        "local t = {} local function f() select(2, ipairs(t)).n = 1 end",
        "local t = {} local function f() for k, v in pairs(t), t do v.n = 1 end end",
    ] {
        let source = format!("{source} {register}");
        assert!(!library(&source).is_stateless, "{source}");
    }
    let made = "local function make() local n = 0 return function() n = n + 1 end end \
                redis.register_function('f', make())";
    assert!(!library(made).is_stateless);
    let made = "local function make() local n = 0 return function() n = n + 1 end end \
                redis.register_function{function_name = 'f', callback = make()}";
    assert!(!library(made).is_stateless);
}
