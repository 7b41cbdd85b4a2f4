//! `redis.*` and `server.*`, and `pcall`.
//!
//! Two kinds of functions: those that need nobody are functions on the stack; those that need whoever runs
//! the script have a number (`Ask`), by which `call` finds them. Errors are tables with a field `err`,
//! which `redis.call` and its like raise and `redis.pcall` returns; `pcall` gives a script their text, as
//! before Redis 7.
//!
//! To add a function: a row in `FUNCTIONS`, of a plain function or of a `Ask` with its arm in `call`.
//!
//! Source: <https://redis.io/docs/latest/develop/programmability/lua-api/>.

use sha1::{Digest as _, Sha1};

use super::vm::{Run, Settings, Use};
use super::{LogLevel, Repl, convert, sandbox};
use crate::resp::parse::{Argv, Span};
use crate::sys::lua::{Function, Kind, Plain, Raise, Ref, Stack};

/// Most bytes that an argument of a call may have, and those before it together.
const ARGUMENT_BYTES_MAX: usize = 1 << 30;
/// Longest text that is logged, bytes.
const LOG_BYTES_MAX: usize = 1024;

/// Functions that need whoever runs the script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Ask {
    /// `redis.call`
    Call,
    /// `redis.pcall`
    Pcall,
    Log,
    SetResp,
    SetRepl,
    AclCheckCmd,
    /// What Lua calls with an error that nobody has caught.
    Handler,
    RegisterFunction,
}

impl Ask {
    const ALL: [Ask; 8] = [
        Ask::Call,
        Ask::Pcall,
        Ask::Log,
        Ask::SetResp,
        Ask::SetRepl,
        Ask::AclCheckCmd,
        Ask::Handler,
        Ask::RegisterFunction,
    ];

    /// By its number.
    pub(super) fn of(number: u32) -> Option<Ask> {
        Ask::ALL.get(number as usize).copied()
    }
}

enum Value {
    Function(Function),
    Ask(Ask),
    Number(f64),
}

/// Who sees something of `redis`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Scripts and functions.
    Always,
    /// Scripts of EVAL.
    Scripts,
    /// Scripts, functions, and libraries while they are loaded.
    Loading,
    /// Libraries while they are loaded.
    OnlyLoading,
}

impl Seen {
    fn by(self, used_for: Use, is_loading: bool) -> bool {
        match self {
            Seen::Loading => true,
            Seen::OnlyLoading => is_loading,
            Seen::Scripts => used_for == Use::Scripts && !is_loading,
            Seen::Always => !is_loading,
        }
    }
}

/// What is in `redis`, versions aside.
const FUNCTIONS: &[(&str, Seen, Value)] = &[
    ("call", Seen::Always, Value::Ask(Ask::Call)),
    ("pcall", Seen::Always, Value::Ask(Ask::Pcall)),
    ("log", Seen::Loading, Value::Ask(Ask::Log)),
    ("LOG_DEBUG", Seen::Loading, Value::Number(0.0)),
    ("LOG_VERBOSE", Seen::Loading, Value::Number(1.0)),
    ("LOG_NOTICE", Seen::Loading, Value::Number(2.0)),
    ("LOG_WARNING", Seen::Loading, Value::Number(3.0)),
    ("setresp", Seen::Always, Value::Ask(Ask::SetResp)),
    ("sha1hex", Seen::Always, Value::Function(sha1hex)),
    ("error_reply", Seen::Always, Value::Function(error_reply)),
    ("status_reply", Seen::Always, Value::Function(status_reply)),
    ("set_repl", Seen::Always, Value::Ask(Ask::SetRepl)),
    ("REPL_NONE", Seen::Always, Value::Number(0.0)),
    ("REPL_AOF", Seen::Always, Value::Number(1.0)),
    ("REPL_SLAVE", Seen::Always, Value::Number(2.0)),
    ("REPL_REPLICA", Seen::Always, Value::Number(2.0)),
    ("REPL_ALL", Seen::Always, Value::Number(3.0)),
    ("acl_check_cmd", Seen::Always, Value::Ask(Ask::AclCheckCmd)),
    // There is no debugger: as Valkey's without a session of it.
    ("breakpoint", Seen::Scripts, Value::Function(say_false)),
    ("debug", Seen::Scripts, Value::Function(say_nothing)),
    (
        "replicate_commands",
        Seen::Scripts,
        Value::Function(say_true),
    ),
    (
        "register_function",
        Seen::OnlyLoading,
        Value::Ask(Ask::RegisterFunction),
    ),
];

/// Sets `redis`, `server`, and what else scripts find as globals besides libraries.
pub(super) fn open(stack: &mut Stack<'_>, settings: &Settings) {
    stack.set_top(0);
    stack.push_globals();
    push_api(stack, settings, false);
    stack.push_value(-1);
    set(stack, 1, "server");
    set(stack, 1, "redis");
    stack.push_wide_function(pcall);
    set(stack, 1, "pcall");
    if settings.used_for == Use::Scripts {
        stack.push_function(error_handler);
        stack.push_value(-1);
        set(stack, 1, "__redis__err__handler");
        set(stack, 1, "__server__err__handler");
    }
    stack.set_top(0);
}

/// Sets a name in a table to what is on top, and takes it.
fn set(stack: &mut Stack<'_>, table: i32, name: &str) {
    stack
        .raw_set_name(table, name)
        .expect("a name, and memory, since no script has run");
}

/// The metatable of the globals that functions see, and the one with which libraries see only `redis` and
/// `server`, and there only what they may use while they are loaded. Called behind `sandbox::install`.
pub(super) fn globals_metas(stack: &mut Stack<'_>, settings: &Settings) -> (Ref, Ref) {
    stack.set_top(0);
    stack.push_table(0, 2);
    push_api(stack, settings, true);
    sandbox::refuse_unknown(stack);
    sandbox::make_front(stack);
    stack.push_value(-1);
    for name in ["redis", "server"] {
        set(stack, 1, name);
    }
    sandbox::refuse_unknown(stack);
    sandbox::make_front(stack);
    let has_metatable = stack.push_metatable(-1);
    assert!(has_metatable, "a front has a metatable");
    let loading = stack.keep();
    stack.push_globals();
    let has_metatable = stack.push_metatable(-1);
    assert!(has_metatable, "globals have a front");
    let all = stack.keep();
    stack.set_top(0);
    (all, loading)
}

/// Pushes the table `redis`.
fn push_api(stack: &mut Stack<'_>, settings: &Settings, is_loading: bool) {
    stack.push_table(0, 32);
    let table = stack.top();
    for (name, seen, value) in FUNCTIONS {
        if seen.by(settings.used_for, is_loading) {
            match *value {
                Value::Function(function) => stack.push_function(function),
                Value::Ask(ask) => stack.push_host_function(ask as u32),
                Value::Number(number) => stack.push_number(number),
            }
            set(stack, table, name);
        }
    }
    for (name, version) in [
        ("REDIS_VERSION", settings.redis_version),
        ("KIVI_VERSION", settings.kivi_version),
    ] {
        stack.push_string(version);
        set(stack, table, name);
        stack.push_number(version_number(version));
        set(stack, table, &format!("{name}_NUM"));
    }
    stack.push_string("kivi");
    set(stack, table, "SERVER_NAME");
}

/// A version of three numbers as one: a byte each.
fn version_number(version: &str) -> f64 {
    let parts = version.split(['.', '-']).take(3);
    let number = parts.fold(0, |number, part| {
        number << 8 | part.parse::<u32>().unwrap_or_default() & 0xff
    });
    f64::from(number)
}

/// Calls a function by its number.
#[inline]
pub(super) fn call(run: &mut Run<'_>, number: u32, stack: &mut Stack<'_>) -> Result<i32, Raise> {
    match Ask::of(number) {
        Some(Ask::Call) => match command(run, stack)? {
            Answered::Value => Ok(1),
            Answered::Error => Err(Raise),
        },
        Some(Ask::Pcall) => command(run, stack).map(|_| 1),
        Some(Ask::Log) => {
            let (level, text) = log_line(stack)?;
            run.caller.log(level, text);
            Ok(0)
        }
        Some(Ask::SetResp) => set_resp(run, stack),
        Some(Ask::SetRepl) => set_repl(run, stack),
        Some(Ask::AclCheckCmd) => acl_check_cmd(run, stack),
        Some(Ask::Handler) => {
            run.failure = Some(convert::failure(stack, run.names));
            Ok(1)
        }
        Some(Ask::RegisterFunction) | None => fail(stack, NOT_LOADING),
    }
}

/// What `register_function` fails with when it is called by a function.
const NOT_LOADING: &str =
    "ERR server.register_function can only be called on FUNCTION LOAD command";

/// What a command has answered, which is on top of the stack.
enum Answered {
    Value,
    Error,
}

/// Runs the command whose arguments are on the stack.
fn command(run: &mut Run<'_>, stack: &mut Stack<'_>) -> Result<Answered, Raise> {
    let scratch = &mut run.scratch;
    let read = read_arguments(stack, &mut scratch.arguments, &mut scratch.spans);
    // There may be so many that nothing else has room.
    stack.set_top(0);
    if let Err(text) = read {
        push_error(stack, text, false)?;
        return Ok(Answered::Error);
    }
    scratch.reply.clear();
    scratch.reply.set_resp3(run.is_resp3);
    let argv = Argv::new(&scratch.arguments, &scratch.spans);
    if let Err(error) = run.caller.call(argv, &mut scratch.reply) {
        convert::push_error(stack, run.names, &error.reply())?;
        return Ok(Answered::Error);
    }
    let bytes = match scratch.reply.as_contiguous() {
        Some(bytes) => bytes,
        None => {
            scratch.joined = scratch.reply.to_vec();
            &scratch.joined
        }
    };
    convert::push_reply(stack, run.names, bytes)?;
    stack.within_limit()?;
    match bytes.first() {
        Some(b'-') => Ok(Answered::Error),
        _ => Ok(Answered::Value),
    }
}

/// Collects the arguments of a command from the stack; what is wrong with them, else.
#[inline]
fn read_arguments(
    stack: &Stack<'_>,
    bytes: &mut Vec<u8>,
    spans: &mut Vec<Span>,
) -> Result<(), &'static [u8]> {
    bytes.clear();
    spans.clear();
    let count = stack.top();
    if count == 0 {
        return Err(b"ERR Please specify at least one argument for this call");
    }
    for index in 1..=count {
        let start = bytes.len();
        let Some(value) = stack.plain(index) else {
            return Err(b"ERR Command arguments must be strings or integers");
        };
        if matches!(value, Plain::String(text) if text.len() > ARGUMENT_BYTES_MAX)
            || start > ARGUMENT_BYTES_MAX
        {
            return Err(b"ERR The arguments of this call are too long");
        }
        convert::push_argument(value, bytes);
        spans.push(Span {
            start: start as u32,
            len: (bytes.len() - start) as u32,
        });
    }
    Ok(())
}

/// Pushes an error as the table that scripts know: the text, code first, and whether it was counted.
pub fn push_error(stack: &mut Stack<'_>, text: &[u8], is_counted: bool) -> Result<(), Raise> {
    stack.push_table(0, 1);
    stack.push_string(text);
    stack.raw_set_name(-2, "err")?;
    if is_counted {
        stack.push_bool(true);
        stack.raw_set_name(-2, "ignore_error_stats_update")?;
    }
    Ok(())
}

/// Raises an error as a table with this text.
#[cold]
fn fail<T>(stack: &mut Stack<'_>, text: &str) -> Result<T, Raise> {
    stack.set_top(0);
    push_error(stack, text.as_bytes(), false)?;
    Err(Raise)
}

/// A number as C's `(int)lua_tonumber` has it: 0 for what is none.
fn to_int(stack: &Stack<'_>, index: i32) -> i32 {
    let number = stack.to_number(index).unwrap_or_default();
    let range = f64::from(i32::MIN) - 1.0..f64::from(i32::MAX) + 1.0;
    match number > range.start && number < range.end {
        true => number as i32,
        false => i32::MIN,
    }
}

/// What `redis.log(level, ...)` is to write.
pub(super) fn log_line(stack: &mut Stack<'_>) -> Result<(LogLevel, String), Raise> {
    let count = stack.top();
    if count < 2 {
        return fail(stack, "ERR server.log() requires two arguments or more.");
    }
    if stack.to_number(1).is_none() {
        return fail(stack, "ERR First argument must be a number (log level).");
    }
    let level = match to_int(stack, 1) {
        0 => LogLevel::Debug,
        1 => LogLevel::Verbose,
        2 => LogLevel::Notice,
        3 => LogLevel::Warning,
        _ => return fail(stack, "ERR Invalid log level."),
    };
    let mut text = Vec::new();
    for index in 2..=count {
        if !stack.make_string(index) {
            continue;
        }
        if !text.is_empty() {
            text.push(b' ');
        }
        let part = convert::until_nul(stack.string(index).unwrap_or_default());
        let room = LOG_BYTES_MAX.saturating_sub(text.len());
        text.extend_from_slice(&part[..part.len().min(room)]);
    }
    Ok((level, String::from_utf8_lossy(&text).into_owned()))
}

/// `redis.setresp(version)`
fn set_resp(run: &mut Run<'_>, stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 1 {
        return fail(stack, "ERR server.setresp() requires one argument.");
    }
    run.is_resp3 = match to_int(stack, 1) {
        2 => false,
        3 => true,
        _ => return fail(stack, "ERR RESP version must be 2 or 3."),
    };
    Ok(0)
}

/// `redis.set_repl(where)`
fn set_repl(run: &mut Run<'_>, stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 1 {
        return fail(stack, "ERR server.set_repl() requires one argument.");
    }
    let flags = to_int(stack, 1);
    if flags & !3 != 0 {
        return fail(
            stack,
            "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        );
    }
    run.caller.set_repl(Repl {
        aof: flags & 1 != 0,
        replica: flags & 2 != 0,
    });
    Ok(0)
}

/// `redis.acl_check_cmd(...)`
fn acl_check_cmd(run: &mut Run<'_>, stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let scratch = &mut run.scratch;
    let read = read_arguments(stack, &mut scratch.arguments, &mut scratch.spans);
    stack.set_top(0);
    if let Err(text) = read {
        push_error(stack, text, false)?;
        return Err(Raise);
    }
    let argv = Argv::new(&scratch.arguments, &scratch.spans);
    match run.caller.acl_check_cmd(argv) {
        Ok(may) => {
            stack.push_bool(may);
            Ok(1)
        }
        Err(_) => fail(
            stack,
            "ERR Invalid command passed to server.acl_check_cmd()",
        ),
    }
}

/// So many bytes take about as long to hash as a step of Lua's.
const SHA1_STEP_BYTES: usize = 16;

/// `redis.sha1hex(text)`; what is neither a string nor a number is taken for an empty one.
fn sha1hex(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() != 1 {
        return fail(stack, "ERR wrong number of arguments");
    }
    stack.make_string(1);
    let bytes = stack.string(1).map_or(0, <[u8]>::len);
    stack.spend(bytes / SHA1_STEP_BYTES)?;
    let digest = Sha1::digest(stack.string(1).unwrap_or_default());
    let mut text = [0; 40];
    for (digits, byte) in text.chunks_exact_mut(2).zip(digest) {
        for (digit, value) in digits.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = b"0123456789abcdef"[usize::from(value)];
        }
    }
    stack.push_string(text);
    Ok(1)
}

/// `redis.error_reply(text)`
fn error_reply(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    let Some(text) = only_string(stack) else {
        return wrong_argument(stack);
    };
    let text = convert::coded(text.strip_prefix(b"-").unwrap_or(text));
    push_error(stack, &text, false)?;
    Ok(1)
}

/// `redis.status_reply(text)`
fn status_reply(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if only_string(stack).is_none() {
        return wrong_argument(stack);
    }
    stack.push_table(0, 1);
    stack.push_value(1);
    stack.raw_set_name(-2, "ok")?;
    Ok(1)
}

fn only_string<'a>(stack: &'a Stack<'_>) -> Option<&'a [u8]> {
    (stack.top() == 1).then(|| stack.string(1))?
}

/// This error is returned, not raised.
fn wrong_argument(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    push_error(stack, b"ERR wrong number or type of arguments", false)?;
    Ok(1)
}

fn say_true(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    stack.push_bool(true);
    Ok(1)
}

fn say_false(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    stack.push_bool(false);
    Ok(1)
}

fn say_nothing(_: &mut Stack<'_>) -> Result<i32, Raise> {
    Ok(0)
}

/// `__redis__err__handler(error)`: what Redis itself calls with errors that nobody has caught; scripts find
/// it, too.
fn error_handler(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() == 0 {
        stack.push_nil();
    }
    stack.set_top(1);
    if stack.kind(1) != Kind::Table {
        let text = convert::error_text(stack);
        push_error(stack, &text, false)?;
        stack.replace(1);
    }
    if let Some(place) = convert::place(stack) {
        stack.push_string(&place.source);
        set_field(stack, "source")?;
        stack.push_number(place.line.into());
        set_field(stack, "line")?;
    }
    Ok(1)
}

/// Sets a field of the table at 1 to what is on top, unless it is one that scripts can't change.
fn set_field(stack: &mut Stack<'_>, name: &str) -> Result<(), Raise> {
    match sandbox::is_front(stack, 1) {
        true => Err(stack.error("Attempt to modify a readonly table")),
        false => stack.raw_set_name(1, name),
    }
}

/// `pcall(function, ...)`: of an error that is a table it gives the field `err`, if that is a text.
fn pcall(stack: &mut Stack<'_>) -> Result<i32, Raise> {
    if stack.top() == 0 {
        stack.push_bool(false);
        stack.push_string("attempt to call a boolean value");
        return Ok(2);
    }
    stack.push_bool(true);
    stack.insert(1);
    if stack.call(stack.top() - 2, -1, None).is_err() {
        if stack.kind(-1) == Kind::Table {
            stack.push_string("err");
            stack.get(-2)?;
            if matches!(stack.kind(-1), Kind::String | Kind::Number) {
                stack.replace(-2);
            }
            // Else both stay: the value of the field follows the error, as in Valkey.
        }
        stack.push_bool(false);
        stack.replace(1);
    }
    Ok(stack.top())
}
