//! Values of scripts and replies, against what Valkey 9.1.2 answered.

use crate::commands::tests::Test;
use crate::commands::tests::transcript::Transcript;

/// Requests on a few keys, and scripts: what they return, what commands return to them, errors of all
/// sorts, and numbers.
const VALKEY: &str = include_str!("valkey.txt");

#[test]
fn values_and_errors_are_as_valkey_has_them() {
    let transcript = Transcript {
        text: VALKEY,
        variants: 4,
        least: 6800,
    };
    // With events of keys on, none of which come, no script begins again.
    let start = |variant| match variant < 2 {
        true => Test::with(&["--notify-keyspace-events", "Kd"]),
        false => Test::new(),
    };
    transcript.replay(start, str::to_owned);
}

/// Bytes of a reply, and how it ends.
fn deep(source: &str) -> (usize, String) {
    let mut t = Test::new();
    let text = t.run(&format!("EVAL \"{source}\" 0")).text();
    // Line ends were replaced by spaces, the last one cut off.
    let bytes = text.len() + text.matches(' ').count() + 2;
    (bytes - 4 * text.matches("-ERR").count(), text)
}

#[test]
fn what_contains_itself_ends_where_the_stack_of_lua_does() {
    for (source, bytes, errors) in [
        ("local a = {} a[1] = a return a", 32_010, 1),
        ("local a = {map = {}} a.map.a = a return a", 29_368, 2),
    ] {
        let (is, text) = deep(source);
        assert_eq!(text.matches("-ERR reached lua stack limit").count(), errors);
        assert_eq!(is, bytes, "{source}");
    }
    let (_, text) = deep("local a = {} for i = 1, 7000 do a = {a} end return a");
    assert_eq!(text, format!("{}*0", "*1 ".repeat(7000)));
}

#[test]
fn as_many_arguments_as_lua_can_pass_on_reach_a_command() {
    let mut t = Test::new();
    for (count, reply) in [
        (7_930, ":0"),
        (7_936, ":0"),
        (7_940, ":0"),
        (7_990, ":0"),
        (7_999, ":0"),
        (
            8_000,
            "-ERR user_script:1: too many results to unpack script: on @user_script:1.",
        ),
    ] {
        let source = format!(
            "local t = {{}} for i = 1, {count} do t[i] = 'k' .. i end \
             return redis.call('exists', unpack(t))"
        );
        let answer = t.run(&format!("EVAL \"{source}\" 0")).text();
        assert_eq!(answer, reply, "{count}");
    }
    // There are more places for arguments than those that can be asked for.
    let most = "local t = {} for i = 1, 7999 do t[i] = 1 end ";
    for (call, reply) in [
        ("redis.call('exists', 'a', unpack(t))", ":0"),
        ("redis.call('exists', 'a', 'b', unpack(t))", ":0"),
        ("redis.call('rpush', 'l', 2, 3, 4, unpack(t))", ":8002"),
        ("({pcall(redis.call, 'exists', 'a', unpack(t))})[2]", ":0"),
        (
            "({pcall(redis.call, 'lpush', 'l', 2, unpack(t))})[2]",
            ":16002",
        ),
        ("({pcall(bit.bor, 2, unpack(t))})[2]", ":3"),
        ("bit.bor(2, 4, 8, unpack(t))", ":15"),
    ] {
        t.run(&format!("EVAL \"{most} return {call}\" 0")).is(reply);
    }
    let many = "local t = {} for i = 1, 7998 do t[i] = i end return ";
    for (call, reply) in [
        (
            "redis.setresp(unpack(t))",
            "server.setresp() requires one argument.",
        ),
        (
            "redis.log('x', unpack(t))",
            "First argument must be a number (log level).",
        ),
        (
            "redis.call({}, unpack(t))",
            "Command arguments must be strings or integers",
        ),
    ] {
        t.run(&format!("EVAL \"{many}{call}\" 0"))
            .is(&format!("-ERR {reply} script: on @user_script:1."));
    }
}
