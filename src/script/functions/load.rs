//! A source becomes a library: its first line is read, then it is run, which registers its functions.
//!
//! All texts are Valkey's, but for the one about too many functions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::{Function, Library, Shelf};
use crate::script::redis_api::push_error;
use crate::script::shebang::{self, ENGINE};
use crate::script::vm::{Code, Loader, Loading};
use crate::script::{ScriptFlags, Vm};
use crate::spec::CmdError;
use crate::spec::args::c_str;
use crate::sys::lua::{Kind, Raise, Stack};

/// Functions of a library at most: what keeps them in the interpreter does not get smaller again, so one library that
/// registers for ever would leave no memory for others.
const FUNCTIONS_MAX: usize = 1 << 16;

const INVALID: CmdError = CmdError::text("ERR Invalid library metadata");
const BAD_LIBRARY_NAME: CmdError = CmdError::text(
    "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one \
     character long",
);
const BAD_FUNCTION_NAME: CmdError = CmdError::text(
    "ERR Function names can only contain letters, numbers, or underscores(_) and must be at least one \
     character long",
);
const TIMEOUT: CmdError = CmdError::text("ERR FUNCTION LOAD timeout");

/// What the first line of a library says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) name: Arc<str>,
}

/// Reads the first line of a library.
pub(super) fn header(source: &[u8]) -> Result<Header, CmdError> {
    let shebang = match shebang::words(source) {
        None => return Err(CmdError::text("ERR Missing library metadata")),
        Some(words) => words.map_err(|_| INVALID)?,
    };
    let mut name = None;
    for word in &shebang.words[1..] {
        match word.split_at_checked(5) {
            Some((key, value)) if key.eq_ignore_ascii_case(b"name=") => {
                if name.replace(value).is_some() {
                    return Err(CmdError::text(
                        "ERR Invalid metadata value, name argument was given multiple times",
                    ));
                }
            }
            _ => {
                let text = [b"ERR Invalid metadata value given: ", c_str(word)].concat();
                return Err(CmdError::owned(text));
            }
        }
    }
    let name = name.ok_or(CmdError::text("ERR Library name was not given"))?;
    let name = valid_name(name).ok_or(BAD_LIBRARY_NAME)?;
    let engine = &shebang.words[0];
    if !c_str(engine).eq_ignore_ascii_case(ENGINE.as_bytes()) {
        let text = [&b"ERR Engine '"[..], engine, b"' not found"].concat();
        return Err(CmdError::owned(text));
    }
    Ok(Header { name })
}

/// A name, if it is one that libraries and functions may have.
fn valid_name(name: &[u8]) -> Option<Arc<str>> {
    let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    (!name.is_empty() && name.iter().all(is_valid))
        .then(|| std::str::from_utf8(name).ok().map(Arc::from))?
}

/// Makes a library of a source whose first line was read, and keeps it in that interpreter.
pub(super) fn library(
    home: &mut Shelf,
    header: Header,
    source: &[u8],
    limit: Duration,
) -> Result<Arc<Library>, CmdError> {
    static NEXT_ID: AtomicU64 = AtomicU64::new(1);
    let registered = run(&mut home.vm, source, limit)?;
    let codes: Vec<Code> = registered.iter().map(|each| each.code).collect();
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    home.keep(id, codes);
    let functions = functions(registered).inspect_err(|_| home.forget(id))?;
    Ok(Arc::new(Library {
        id,
        name: header.name,
        source: source.into(),
        functions,
        proven: OnceLock::new(),
    }))
}

/// What was registered, if its names are valid.
fn functions(registered: Vec<Registered>) -> Result<Vec<Function>, CmdError> {
    if registered.is_empty() {
        return Err(CmdError::text("ERR No functions registered"));
    }
    let mut functions: Vec<Function> = Vec::with_capacity(registered.len());
    let mut names = std::collections::HashSet::with_capacity(registered.len());
    for each in registered {
        let name = valid_name(&each.name).ok_or(BAD_FUNCTION_NAME)?;
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(CmdError::text("ERR Function already exists in the library"));
        }
        functions.push(Function {
            name,
            description: each.description.map(Arc::from),
            flags: each.flags,
        });
    }
    Ok(functions)
}

/// Runs a source in an interpreter, which keeps the code of what it has registered.
pub(super) fn run(
    vm: &mut Vm,
    source: &[u8],
    limit: Duration,
) -> Result<Vec<Registered>, CmdError> {
    let mut registrar = Registrar {
        registered: Vec::new(),
        end: Instant::now() + limit,
    };
    // As Valkey's engine, which is given a text of C's.
    let loaded = vm.load(c_str(source), &mut registrar);
    let registered = registrar.registered;
    match loaded {
        Ok(()) => Ok(registered),
        Err(error) => {
            registered.iter().for_each(|each| vm.forget(each.code));
            Err(error)
        }
    }
}

/// What `redis.register_function` was given.
pub(super) struct Registered {
    pub(super) name: Vec<u8>,
    pub(super) code: Code,
    description: Option<Vec<u8>>,
    flags: ScriptFlags,
}

/// Hears of a library as it is loaded.
struct Registrar {
    registered: Vec<Registered>,
    end: Instant,
}

impl Loader for Registrar {
    fn register(&mut self, loading: &mut Loading<'_>, stack: &mut Stack<'_>) -> Result<(), Raise> {
        if self.registered.len() >= FUNCTIONS_MAX {
            return fail(stack, "too many functions in a library");
        }
        let registered = match stack.top() {
            1 if stack.kind(1) == Kind::Table => named(loading, stack)?,
            1 => {
                return fail(
                    stack,
                    "calling server.register_function with a single argument is only applicable to \
                     Lua table (representing named arguments).",
                );
            }
            2 => positional(loading, stack)?,
            _ => {
                return fail(
                    stack,
                    "wrong number of arguments to server.register_function",
                );
            }
        };
        self.registered.push(registered);
        Ok(())
    }

    fn tick(&mut self) -> Result<(), CmdError> {
        match Instant::now() < self.end {
            true => Ok(()),
            false => Err(TIMEOUT),
        }
    }
}

/// An error of `register_function`.
#[cold]
fn fail<T>(stack: &mut Stack<'_>, text: &str) -> Result<T, Raise> {
    push_error(stack, format!("ERR {text}").as_bytes(), false)?;
    Err(Raise)
}

/// A string, or a number made one; `None` if it is neither.
fn text_at(stack: &mut Stack<'_>, index: i32) -> Option<Vec<u8>> {
    match stack.make_string(index) {
        true => stack.string(index).map(<[u8]>::to_vec),
        false => None,
    }
}

/// `register_function(name, callback)`
fn positional(loading: &mut Loading<'_>, stack: &mut Stack<'_>) -> Result<Registered, Raise> {
    let Some(name) = text_at(stack, 1) else {
        return fail(
            stack,
            "first argument to server.register_function must be a string",
        );
    };
    if stack.kind(2) != Kind::Function {
        return fail(
            stack,
            "second argument to server.register_function must be a function",
        );
    }
    Ok(Registered {
        name,
        code: loading.keep(stack),
        description: None,
        flags: ScriptFlags::default(),
    })
}

/// `register_function{function_name=name, callback=callback, ...}`
fn named(loading: &mut Loading<'_>, stack: &mut Stack<'_>) -> Result<Registered, Raise> {
    let (mut name, mut description) = (None, None);
    let mut flags = ScriptFlags::default();
    // Where the callback is put.
    stack.push_nil();
    stack.push_nil();
    while stack.next(1)? {
        // A number that is a key must stay one, for the next step.
        stack.push_value(-2);
        let Some(key) = text_at(stack, -1) else {
            return fail(
                stack,
                "named argument key given to server.register_function is not a string",
            );
        };
        stack.pop(1);
        let key = c_str(&key).to_ascii_lowercase();
        match &*key {
            b"function_name" => match text_at(stack, -1) {
                Some(text) => name = Some(text),
                None => return fail_argument(stack, "function_name", "a string"),
            },
            b"description" => match text_at(stack, -1) {
                Some(text) => description = Some(c_str(&text).to_vec()),
                None => return fail_argument(stack, "description", "a string"),
            },
            b"callback" if stack.kind(-1) == Kind::Function => {
                stack.push_value(-1);
                stack.replace(2);
            }
            b"callback" => return fail_argument(stack, "callback", "a function"),
            b"flags" if stack.kind(-1) == Kind::Table => flags = read_flags(stack)?,
            b"flags" => {
                return fail(
                    stack,
                    "flags argument to server.register_function must be a table representing function \
                     flags",
                );
            }
            _ => return fail(stack, "unknown argument given to server.register_function"),
        }
        stack.pop(1);
    }
    let Some(name) = name else {
        return fail(
            stack,
            "server.register_function must get a function name argument",
        );
    };
    if stack.kind(2) != Kind::Function {
        return fail(
            stack,
            "server.register_function must get a callback argument",
        );
    }
    stack.push_value(2);
    Ok(Registered {
        name,
        code: loading.keep(stack),
        description,
        flags,
    })
}

#[cold]
fn fail_argument<T>(stack: &mut Stack<'_>, name: &str, what: &str) -> Result<T, Raise> {
    let text = format!("{name} argument given to server.register_function must be {what}");
    fail(stack, &text)
}

/// The flags that the table on top lists, up to the first `nil`.
fn read_flags(stack: &mut Stack<'_>) -> Result<ScriptFlags, Raise> {
    let mut flags = ScriptFlags::default();
    let table = stack.at(-1);
    for index in 1.. {
        stack.raw_get_index(table, index);
        if stack.kind(-1) == Kind::Nil {
            stack.pop(1);
            break;
        }
        let flag = text_at(stack, -1).map(|flag| c_str(&flag).to_ascii_lowercase());
        if !flag.is_some_and(|flag| flags.add(&flag)) {
            return fail(stack, "unknown flag given");
        }
        stack.pop(1);
    }
    Ok(flags)
}
