//! What only chaos does, besides templates and what leaves a trace of a client (`turmoil`): expiries that fall due,
//! waits without end, values that are large, scripts and functions that are killed, payloads that are restored.
//!
//! To add something: a line in [`lines`], a script in [`SCRIPTS`], a function in [`LIBRARY`]. Names are those of the
//! templates, so that everybody meets.

use crate::client::encode;
use crate::generate::Rng;

/// First letters of keys, one for each family of the templates.
const KINDS: [&str; 9] = ["k", "h", "l", "s", "z", "b", "p", "g", "t"];

/// Scripts, with a key. The first two have to be killed.
const SCRIPTS: [&str; 16] = [
    "while true do end",
    "while true do pcall(redis.call, 'get', 'k1') end",
    "for i = 1, 100 do redis.call('incr', 'k1') redis.call('rpush', 'l1', i) end",
    "local t = {} for i = 1, 500 do t[i] = string.rep('x', 50) end return #t",
    "return redis.call('lpop', KEYS[1])",
    "redis.call('zadd', 'z1', 1, 'm') redis.call('del', 's1') return redis.status_reply('x')",
    "return {redis.call('hgetall', 'h1'), redis.call('smembers', 's1')}",
    "redis.call('xadd', 't1', '*', 'f', 'v') redis.call('lpush', 'l2', 1) error('no')",
    // Large collections, of all kinds.
    "for i = 1, 2000 do redis.call('rpush', 'l3', i) redis.call('sadd', 's3', 'm' .. i) end",
    "for i = 1, 2000 do redis.call('hset', 'h3', 'f' .. i, i) redis.call('zadd', 'z3', i % 7, i) end",
    "for i = 1, 500 do redis.call('pfadd', 'p3', i) redis.call('setbit', 'b3', i * 640, 1) \
     redis.call('xadd', 't3', '*', 'f', i) redis.call('geoadd', 'g3', i % 180, i % 85, i) end",
    // What is fetched back is what was there.
    "local d = redis.call('dump', KEYS[1]) \
     if d then redis.call('restore', 'k4', 0, d, 'REPLACE') redis.call('rename', 'k4', KEYS[1]) end",
    "redis.setresp(3) return {redis.call('hgetall', 'h3'), redis.call('zrange', 'z3', 0, -1, 'withscores')}",
    "redis.call('select', 1) redis.call('set', 'k1', 1) return redis.call('publish', 'c1', 'x')",
    "local t = {} for i = 1, 1e6 do t[i] = string.rep('x', 1000) .. i end",
    "redis.call('flushdb') return redis.call('dbsize')",
];

/// Functions, of which one does not end. One word, so blanks are tabs.
const LIBRARY: &str = "#!lua\tname=chaos\n\
    local\tcalls=0\n\
    redis.register_function('spin',function()while\ttrue\tdo\tend\tend)\n\
    redis.register_function('fill',function(k)calls=calls+1\treturn\tredis.call('rpush',k[1],calls)end)\n\
    redis.register_function{function_name='look',flags={'no-writes'},\
    callback=function(k)return\tredis.call('type',k[1])end}";

/// Something that a client does.
pub(super) fn deed(rng: &mut Rng) -> Vec<u8> {
    let key = format!("{}{}", rng.pick(&KINDS), rng.below(5));
    if rng.chance(4) {
        // Few of those that have to be killed: everybody waits for that.
        let endless = usize::from(!rng.chance(4)) * 2;
        let script = SCRIPTS[endless + rng.below(SCRIPTS.len() - endless)];
        return encode(&["EVAL", script, "1", &key]);
    }
    if rng.chance(1) {
        // Long arguments are read into memory of their own, and long replies are sent from it.
        let long = "x".repeat(rng.below(400_000));
        return encode(&["APPEND", &format!("k{}", rng.below(5)), &long]);
    }
    let choices = lines(rng, &key);
    let line: &String = rng.pick(&choices);
    words(line)
}

/// A request in words.
pub(super) fn words(line: &str) -> Vec<u8> {
    encode(&line.split(' ').collect::<Vec<_>>())
}

fn lines(rng: &mut Rng, key: &str) -> Vec<String> {
    let n = |rng: &mut Rng| rng.below(5);
    let (a, b, ms) = (n(rng), n(rng), 1 + rng.below(60));
    let endless = if rng.chance(5) { "spin" } else { "fill" };
    vec![
        format!("PEXPIRE {key} {ms}"),
        format!("PEXPIRE {key} {ms}"),
        format!("SET k{a} v PX {ms}"),
        format!("HPEXPIRE h{a} {ms} FIELDS 3 f0 f1 f2"),
        format!("HSETEX h{a} PX {ms} FIELDS 2 f{b} v g v"),
        format!("GETEX k{a} PX {ms}"),
        format!("SETRANGE k{a} {} x", ms * 4000),
        format!("BLPOP l{a} l{b} 0"),
        format!("BRPOP l{a} 0.05"),
        format!("BLMOVE l{a} l{b} LEFT RIGHT 0"),
        format!("BLMPOP 0 2 l{a} l{b} LEFT COUNT 3"),
        format!("BZPOPMIN z{a} z{b} 0"),
        format!("BZMPOP 0.02 1 z{a} MAX COUNT 2"),
        format!("XREAD BLOCK 0 STREAMS t{a} t{b} $ $"),
        format!("XADD t{a} * f v{ms}"),
        format!("XGROUP CREATE t{a} g1 0 MKSTREAM"),
        format!("XREADGROUP GROUP g1 c{b} BLOCK 0 STREAMS t{a} >"),
        format!("XAUTOCLAIM t{a} g1 c{b} 0 0 COUNT 10"),
        format!("AUTH u{} p", rng.below(4)),
        format!("AUTH u{} wrong", rng.below(4)),
        "AUTH default x".into(),
        "SCAN 0 COUNT 100".into(),
        format!("OBJECT FREQ k{a}"),
        format!("MEMORY USAGE {key} SAMPLES 0"),
        format!("DEBUG OBJECT {key}"),
        format!("MOVE {key} 1"),
        format!("COPY {key} k{b} DB 1 REPLACE"),
        format!("SORT {key} BY w_* GET h*->f1 GET # STORE l{b}"),
        format!("PFMERGE p{a} p{b} p3"),
        format!("BITOP XOR b{a} b{b} b3"),
        format!("GEOSEARCHSTORE z{a} g3 FROMLONLAT 1 1 BYRADIUS 9000 km"),
        format!("WAIT 0 {ms}"),
        format!("WAITAOF 1 0 {ms}"),
        format!("FUNCTION LOAD REPLACE {LIBRARY}"),
        format!("FCALL {endless} 1 l{a}"),
        format!("FCALL_RO look 1 {key}"),
        "FUNCTION DUMP".into(),
        "DEBUG DIGEST".into(),
    ]
}
