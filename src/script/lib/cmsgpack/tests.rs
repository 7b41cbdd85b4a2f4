//! `redis.txt` has what Redis 7.0.15 answers to `prelude.lua` and a line behind it that shows an
//! expression, called protected: fixed ones and generated ones. Valkey 9.1.2 answers the same, but for
//! the order in which `pairs` comes to keys that are strings: it has its own hash for them.

use super::*;
use crate::sys::lua::{CallError, State};

const PRELUDE: &str = include_str!("prelude.lua");

fn state(limit_bytes: u64) -> State {
    let mut state = State::new(limit_bytes, 1_000_000);
    state.open_libraries();
    let mut stack = state.stack();
    stack.push_globals();
    open(&mut stack);
    stack.raw_set_name(-2, "cmsgpack").expect("a name");
    stack.set_top(0);
    state
}

fn eval(state: &mut State, source: &str) -> Result<String, String> {
    let mut stack = state.stack();
    let called = match stack.load(source.as_bytes(), c"@user_script") {
        Err(Raise) => Err(CallError::Runtime),
        Ok(()) => stack.call(0, 1, None),
    };
    let text = stack.string(-1).map(String::from_utf8_lossy);
    let text = text.unwrap_or_default().into_owned();
    stack.set_top(0);
    called.map(|()| text.clone()).map_err(|_| text)
}

#[test]
fn everything_is_as_redis_has_it() {
    let mut state = state(0);
    let prelude = PRELUDE.replace('\n', " ");
    let mut lines = include_str!("redis.txt").lines();
    let mut count = 0;
    while let (Some(expression), Some(expected)) = (lines.next(), lines.next()) {
        let source = format!("{prelude} return show(pcall(function() return {expression} end))");
        let shown = eval(&mut state, &source);
        let expected = expected.strip_prefix("= ").expect("a result");
        assert_eq!(shown.as_deref(), Ok(expected), "{expression}");
        count += 1;
    }
    assert!(count > 1_000, "{count} expressions");
}

#[test]
fn tables_that_hold_one_another_end_at_the_memory_limit() {
    let mut state = state(16 << 20);
    let bomb = "local t = {} for i = 1, 15 do local u = {} for j = 1, 100 do u[j] = t end t = u end \
                return cmsgpack.pack(t)";
    assert_eq!(eval(&mut state, bomb), Err("not enough memory".to_owned()));
    let strings = "local s = ('x'):rep(1048576) local t = {} for j = 1, 100 do t[j] = s end \
                   return cmsgpack.pack(t)";
    assert_eq!(
        eval(&mut state, strings),
        Err("not enough memory".to_owned())
    );
    assert_eq!(eval(&mut state, "return 'on'"), Ok("on".to_owned()));
}

#[test]
fn lengths_that_lie_take_no_memory() {
    let mut state = state(64 << 20);
    // Each of the arrays says that it has all elements that could follow.
    let lies = "local ok, text = pcall(cmsgpack.unpack, ('\\221\\255\\255\\255\\255'):rep(3000)) \
                return text";
    let before = state.used_bytes();
    assert_eq!(
        eval(&mut state, lies),
        Ok("Missing bytes in input.".to_owned())
    );
    state.stack().collect_garbage();
    assert!(state.used_bytes() < before + (1 << 20));
}

#[test]
fn many_small_tables_end_at_the_memory_limit() {
    let mut state = state(16 << 20);
    let many = "return #cmsgpack.unpack('\\221\\0\\15\\255\\255' .. ('\\144'):rep(1048575))";
    assert_eq!(eval(&mut state, many), Err("not enough memory".to_owned()));
}
