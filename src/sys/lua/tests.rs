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

#[test]
fn functions_share_numbers() {
    let mut state = state();
    let mut stack = state.stack();
    stack.push_globals();
    stack.push_cells([7; 12]);
    for name in ["count", "other"] {
        stack.push_value(2);
        let count = |stack: &mut Stack<'_>| {
            stack.push_upvalue(1);
            let mut cells = stack.cells(-1).expect("what was given");
            cells[0] += 1;
            assert!(stack.set_cells(-1, cells));
            stack.push_number(f64::from(cells[0]));
            Ok(1)
        };
        stack.push_closure(count, 1);
        stack.raw_set_name(1, name).expect("a name");
    }
    stack.set_top(0);
    assert_eq!(
        eval(&mut state, "return count() .. other() .. count()"),
        "8910"
    );
    let mut stack = state.stack();
    stack.push_nil();
    assert_eq!(stack.cells(-1), None);
    assert!(!stack.set_cells(-1, [0; 12]));
}

#[test]
fn a_walk_goes_over_all_entries_also_while_values_are_taken_away() {
    let mut state = state();
    let source = b"local t = {1, 2, 3, a = 4, b = 5, [2.5] = 6} return t";
    let mut stack = state.stack();
    stack.load(source, c"@test").expect("it compiles");
    stack.call(0, 1, None).expect("a table");
    let mut sum = 0.0;
    stack.push_nil();
    while stack.next(1).expect("keys that are there") {
        sum += stack.number(-1).expect("numbers");
        stack.pop(1);
        stack.push_value(-1);
        stack.push_nil();
        stack.raw_set(1).expect("a key");
    }
    assert_eq!((sum, stack.top()), (21.0, 1));
    stack.push_string("no key of it");
    assert!(stack.next(1).is_err());
    assert_eq!(
        stack.string(-1),
        Some(&b"invalid key to 'next'"[..]),
        "Lua's own error"
    );
}

#[test]
fn keys_that_are_numbers_are_visited() {
    let mut state = state();
    let mut stack = state.stack();
    for (source, is_all, want) in [
        (&b"return {5, 5, [10] = 5, [-0.5] = 5}"[..], true, 12.5),
        (b"return {}", true, 0.0),
        (b"return {5, 5, 5, x = 5}", false, 6.0),
    ] {
        stack.load(source, c"@test").expect("it compiles");
        stack.call(0, 1, None).expect("a table");
        let mut sum = 0.0;
        let all = stack.number_keys(-1, |key| {
            sum += key;
            true
        });
        assert_eq!((all, sum, stack.top()), (is_all, want, 1));
        assert!(is_all && sum == 0.0 || !stack.number_keys(-1, |_| false));
        stack.set_top(0);
    }
}

#[test]
fn what_would_be_too_large_is_an_error_before_it_is_made() {
    let mut state = State::new(1 << 20, 1_000);
    let mut stack = state.stack();
    assert!(stack.allow(100_000).is_ok());
    assert!(stack.allow(1 << 20).is_err());
    assert_eq!(stack.string(-1), Some(&b"not enough memory"[..]));
    assert!(stack.has_room(64) && stack.top() == 1);
}

#[test]
fn argument_errors_have_any_bytes() {
    let mut state = state();
    register(&mut state, "odd", |stack| {
        Err(stack.argument_error(2, b"\xff".as_slice()))
    });
    let mut stack = state.stack();
    stack.load(b"odd()", c"@test").expect("it compiles");
    assert!(stack.call(0, 0, None).is_err());
    assert_eq!(
        stack.string(-1),
        Some(&b"test:1: bad argument #2 to 'odd' (\xff)"[..])
    );
}

#[test]
fn a_tick_amid_thousands_of_values_takes_none_of_them() {
    let mut state = State::new(64 << 20, 1);
    state.open_libraries();
    let mut host = Impatient(0);
    let source = b"local t = {} for i = 1, 7990 do t[i] = i end
        local function count(...) return select('#', ...) end
        return count(unpack(t))";
    let mut stack = state.stack();
    stack.load(source, c"@test").expect("it compiles");
    stack.call(0, 1, None).expect("no host, no limit");
    assert_eq!(stack.number(-1), Some(7990.0));
    let source = b"local t = {...} return select('#', unpack(t, 1, 7990))";
    stack.load(source, c"@test").expect("it compiles");
    stack.call(0, 1, None).expect("no host, no limit");
    assert_eq!(stack.number(-1), Some(7990.0));
    stack.set_top(0);
    let ended = state.with_host(&mut host, |stack| {
        stack
            .load(
                b"while true do select('#', unpack({}, 1, 7990)) end",
                c"@test",
            )
            .expect("it compiles");
        stack.call(0, 0, None)
    });
    assert_eq!(ended, Err(CallError::Runtime));
}

#[test]
fn a_script_that_has_used_up_its_memory_is_still_asked() {
    // On a stack with no room for the host, which no memory is left for.
    let source = b"local run = coroutine.wrap(function() while true do end end)
        local l
        local function fill() while true do l = {l} end end
        for i = 1, 20 do pcall(fill) end
        run()";
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut state = State::new(1 << 20, 100_000);
        state.open_libraries();
        let mut host = Impatient(0);
        let is_ended = state.with_host(&mut host, |stack| {
            stack.load(source, c"@test").expect("it compiles");
            stack.call(0, 0, None).is_err()
        });
        sender.send((is_ended, host.0)).expect("the test waits");
    });
    // Else it runs for ever.
    let ended = ended.recv_timeout(std::time::Duration::from_secs(60));
    assert_eq!(ended, Ok((true, 11)));
}

#[test]
fn a_list_has_no_names() {
    let mut state = state();
    for (source, is_list) in [
        ("return {}", true),
        ("return {1, 2, 3}", true),
        ("return {1, nil, 3}", false),
        ("return {0, x = 1}", false),
        ("return {x = 1}", false),
        ("return {[0] = 1}", false),
    ] {
        let mut stack = state.stack();
        stack
            .load(source.as_bytes(), c"@test")
            .expect("it compiles");
        stack.call(0, 1, None).expect("it runs");
        assert_eq!(stack.is_list(-1), is_list, "{source}");
        stack.set_top(0);
    }
    // Whatever the order in which Lua finds them.
    for name in [
        "err", "ok", "map", "set", "a", "b", "c", "d", "double", "format",
    ] {
        for source in [
            format!("return {{{name} = 1, [1] = 1}}"),
            format!("return {{{name} = 1, [2] = 2, [1] = 1}}"),
            format!("local t = {{}} t[3] = 3 t[1] = 1 t.{name} = 1 t[2] = 2 return t"),
            format!("local t = {{}} t[2] = 2 t[1] = 1 t.{name} = 1 return t"),
        ] {
            let mut stack = state.stack();
            stack
                .load(source.as_bytes(), c"@test")
                .expect("it compiles");
            stack.call(0, 1, None).expect("it runs");
            assert!(!stack.is_list(-1), "{source}");
            stack.set_top(0);
        }
    }
}
