//! The interface to Lua: calls both ways, limits, errors.

use super::{CallError, Function, Host, Kind, Raise, Stack, State};

/// An interpreter with libraries, a limit of 64 MB, that ticks every 1,000 instructions.
fn state() -> State {
    let mut state = State::new(64 << 20, 1_000);
    state.open_libraries();
    state
}

/// What a source returns as text, or its error with a `!` in front.
fn eval(state: &mut State, source: &str) -> String {
    let mut stack = state.stack();
    let text = match stack.load(source.as_bytes(), c"@test") {
        Err(Raise) => "!",
        Ok(()) => match stack.call(0, 1, None) {
            Ok(()) => "",
            Err(_) => "!",
        },
    };
    stack.make_string(-1);
    let bytes = stack.string(-1).map(<[u8]>::to_vec).unwrap_or_default();
    stack.set_top(0);
    format!("{text}{}", String::from_utf8_lossy(&bytes))
}

fn register(state: &mut State, name: &str, function: Function) {
    let mut stack = state.stack();
    stack.push_globals();
    stack.push_function(function);
    stack.raw_set_name(-2, name).expect("a name");
    stack.set_top(0);
}

#[test]
fn a_script_calls_rust_and_gets_results_and_errors() {
    let mut state = state();
    register(&mut state, "double", |stack| {
        let Some(number) = stack.to_number(1) else {
            return Err(stack.type_error(1, "number"));
        };
        stack.push_number(number * 2.0);
        Ok(1)
    });
    assert_eq!(eval(&mut state, "return double(21)"), "42");
    assert_eq!(
        eval(&mut state, "return double({})"),
        "!test:1: bad argument #1 to 'double' (number expected, got table)"
    );
    assert_eq!(eval(&mut state, "return tostring(pcall(double))"), "false");
}

#[test]
fn compiled_code_is_not_loaded() {
    let mut state = state();
    assert_eq!(
        eval(&mut state, "\u{1b}Lua"),
        "!test:1: unexpected symbol near 'char(27)'"
    );
}

#[test]
fn memory_has_a_limit() {
    let mut state = state();
    let text = eval(&mut state, "return string.rep('x', 100 * 1024 * 1024)");
    assert_eq!(text, "!not enough memory");
    assert_eq!(eval(&mut state, "return 1"), "1", "it goes on");
}

struct Impatient(u32);

impl Host for Impatient {
    fn call(&mut self, number: u32, stack: &mut Stack<'_>) -> Result<i32, Raise> {
        stack.push_number(f64::from(number));
        Ok(1)
    }

    fn tick(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        self.0 += 1;
        match self.0 > 10 {
            true => Err(stack.error("enough")),
            false => Ok(()),
        }
    }
}

#[test]
fn a_loop_is_ended_by_the_host_whatever_it_protects() {
    let mut state = state();
    let mut host = Impatient(0);
    let source = b"while true do pcall(function() while true do end end) end";
    let ended = state.with_host(&mut host, |stack| {
        stack.load(source, c"@test").expect("it compiles");
        let ended = stack.call(0, 0, None);
        assert_eq!(stack.kind(-1), Kind::String);
        stack.set_top(0);
        ended
    });
    assert_eq!(ended, Err(CallError::Runtime));
}
