//! Scripts in the process: what runs inside of them, what follows, and what threads see of them.

use crate::commands::tests::Test;

/// Runs a script without keys.
fn eval(test: &mut Test, source: &str) -> String {
    let source = source.as_bytes();
    test.args(&[b"EVAL", source, b"0"]).text()
}

#[test]
fn commands_run_and_fail_in_scripts() {
    let mut test = Test::new();
    for (source, reply) in [
        ("return redis.call('set','k','v')", "+OK"),
        ("return redis.call('get','k')", "$1 v"),
        ("return redis.call('mget','k','x','k')", "*3 $1 v $-1 $1 v"),
        (
            "return redis.pcall('incr','k').err",
            "$43 ERR value is not an integer or out of range",
        ),
        ("return redis.call('dbsize')", ":1"),
        ("return redis.call('flushall')", "+OK"),
    ] {
        assert_eq!(eval(&mut test, source), reply, "{source}");
    }
}
