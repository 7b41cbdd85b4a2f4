//! An interpreter with everything that scripts see.
//!
//! A [`Vm`] is for scripts of EVAL or for functions of libraries ([`Use`]): these see slightly different
//! things. It keeps what it has compiled, as [`Code`]: scripts by their numbers ([`Vm::script`]), and the
//! callbacks of libraries that it was told to keep ([`Loading::keep`]). [`Vm::run`] runs one of them, and
//! leaves its result inside, so that whoever has locked something for it may release that before the result
//! is turned into a reply ([`Vm::reply`]).
//!
//! What scripts see is put together once, in [`Vm::new`]: Lua's libraries, ours, `redis`, and last
//! `sandbox::install`, which makes all of it unchangeable. The table that was Lua's global one stays the
//! real one behind what scripts see, and is where KEYS and ARGV are set.
//!
//! - `redis_api` has the functions of `redis` and `server`; those that need the server are reached through
//!   [`Host`], implemented here by `Run` and `Load`.
//! - `convert` has the values.
//!
//! To add a function to `redis`: a row in `redis_api::FUNCTIONS`.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};

use super::convert::{self, Names};
use super::lib::{bit, cjson, cmsgpack, structs};
use super::redis_api::{self, Ask};
use super::sandbox::{self, Globals};
use super::{Caller, Script, Tick};
use crate::resp::parse::{Argv, Span};
use crate::resp::write::ReplyWriter;
use crate::spec::CmdError;
use crate::sys::lua::{CallError, Host, Kind, Raise, Ref, Stack, State};

/// Instructions between two ticks.
const TICK: u32 = 10_000;
/// Most scripts that are kept compiled; beyond, those that ran longest ago are compiled again.
const SCRIPTS_MAX: usize = 2048;
/// Garbage that may lie about between two scripts, bytes.
const GARBAGE_BYTES_MAX: u64 = 8 << 20;
/// What a script's calls may keep of the buffers that they share, bytes.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

/// Spreads consecutive numbers (the golden ratio).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// What an interpreter is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Scripts of EVAL.
    Scripts,
    /// Functions of libraries.
    Functions,
}

/// What an interpreter is made by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it is for.
    pub used_for: Use,
    /// Most memory that it may have, bytes (0: as much as there can be).
    pub memory_limit_bytes: u64,
    /// Scripts have `getfenv` and `setfenv`, too (`lua-enable-insecure-api`).
    pub has_insecure_api: bool,
    /// `redis.REDIS_VERSION`
    pub redis_version: &'static str,
    /// `redis.KIVI_VERSION`
    pub kivi_version: &'static str,
}

/// Something that an interpreter has compiled and can run. Only good for the interpreter that it is
/// from, and until that is told to forget it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Code(u32);

/// Why a script has ended without a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What the client is told: the whole text.
    pub error: CmdError,
    /// It is the error of a command that the script has called, which was counted when it failed.
    pub is_counted: bool,
}

/// What hears of a library as it is loaded.
pub trait Loader {
    /// `redis.register_function` was called with what is on the stack. What it fails with is on top of the
    /// stack then, see [`push_error`](redis_api::push_error).
    fn register(&mut self, loading: &mut Loading<'_>, stack: &mut Stack<'_>) -> Result<(), Raise>;

    /// It has run for some ten thousands of instructions; an error ends it.
    fn tick(&mut self) -> Result<(), CmdError>;
}

/// What a [`Loader`] can do.
pub struct Loading<'a> {
    codes: &'a mut Codes,
    kept: &'a mut Vec<Code>,
}

impl Loading<'_> {
    /// Keeps the function on top of the stack, and takes it from there.
    pub fn keep(&mut self, stack: &mut Stack<'_>) -> Code {
        assert!(stack.kind(-1) == Kind::Function, "a function to keep");
        let code = self.codes.add(stack.keep());
        self.kept.push(code);
        code
    }
}

/// See the module's text.
pub struct Vm {
    /// The interpreter.
    state: State,
    used_for: Use,
    globals: Globals,
    /// Scripts can change what they see, so it is put right before each of them.
    is_restored: bool,
    /// The real table of globals.
    real_globals: Ref,
    /// Metatables of what functions take for the table of globals: for all times, and for when a library
    /// is loaded.
    globals_metas: Option<(Ref, Ref)>,
    /// What is called first with an error that nobody has caught.
    handler: Ref,
    names: Names,
    /// Settings of `cjson`: set before each run, so that no script sees what another has left.
    json: cjson::Config,
    codes: Codes,
    scripts: HashMap<u64, Compiled, BuildHasherDefault<IdHasher>>,
    /// Counts runs, and what is about to run, for [`Compiled::ran_at`].
    runs: u64,
    /// What random numbers of a run begin with, together with its number.
    seed: u64,
    /// The epoch of the registry that `scripts` follows.
    epoch: u64,
    scratch: Scratch,
    /// The result that waits for [`Vm::reply`] speaks RESP3.
    is_resp3: bool,
    /// Memory in use after the last full collection, bytes.
    collected_bytes: u64,
}

struct Compiled {
    code: Code,
    ran_at: u64,
}

/// Buffers that the calls of a script share.
#[derive(Default)]
pub(super) struct Scratch {
    /// Arguments of a call, one behind the other.
    pub(super) arguments: Vec<u8>,
    pub(super) spans: Vec<Span>,
    pub(super) reply: ReplyWriter,
    /// A reply that does not lie in one piece.
    pub(super) joined: Vec<u8>,
}

impl Scratch {
    fn shrink(&mut self) {
        for buffer in [&mut self.arguments, &mut self.joined] {
            if buffer.capacity() > SCRATCH_BYTES_MAX {
                *buffer = Vec::new();
            }
        }
        if self.spans.capacity() * size_of::<Span>() > SCRATCH_BYTES_MAX {
            self.spans = Vec::new();
        }
        self.reply.clear();
    }
}

impl Vm {
    /// An interpreter.
    pub fn new(settings: &Settings) -> Vm {
        let mut state = State::new(settings.memory_limit_bytes, TICK);
        state.open_libraries();
        let mut stack = state.stack();
        let names = Names::new(&mut stack);
        stack.push_host_function(Ask::Handler as u32);
        let handler = stack.keep();
        let json = open_libraries(&mut stack);
        redis_api::open(&mut stack, settings);
        let options = sandbox::Options {
            has_insecure_api: settings.has_insecure_api,
        };
        let globals = sandbox::install(&mut state, &options);
        let mut stack = state.stack();
        stack.set_top(0);
        globals.push_real(&mut stack);
        let real_globals = stack.keep();
        let globals_metas = (settings.used_for == Use::Functions)
            .then(|| redis_api::globals_metas(&mut stack, settings));
        stack.collect_garbage();
        let collected_bytes = state.used_bytes();
        Vm {
            state,
            used_for: settings.used_for,
            globals,
            is_restored: settings.has_insecure_api,
            real_globals,
            globals_metas,
            handler,
            names,
            json,
            codes: Codes::default(),
            scripts: HashMap::default(),
            runs: 0,
            seed: RandomState::new().hash_one(0),
            epoch: 0,
            scratch: Scratch::default(),
            is_resp3: false,
            collected_bytes,
        }
    }

    /// The script, compiled unless it is already; an error if it does not compile. `epoch` is that of the
    /// registry of scripts: when it has changed, what was compiled is forgotten first.
    pub fn script(&mut self, script: &Script, epoch: u64) -> Result<Code, CmdError> {
        if epoch != self.epoch {
            self.forget_scripts();
            self.epoch = epoch;
        }
        self.runs += 1;
        if let Some(compiled) = self.scripts.get_mut(&script.id) {
            compiled.ran_at = self.runs;
            return Ok(compiled.code);
        }
        if self.scripts.len() >= SCRIPTS_MAX {
            self.forget_older_half();
        }
        self.make_room(None);
        let mut stack = self.state.stack();
        stack.set_top(0);
        if stack.load(body(&script.source), c"@user_script") == Err(Raise) {
            let error = compile_error(&mut stack, "Error compiling script (new function): ");
            return Err(error);
        }
        let code = self.codes.add(stack.keep());
        let compiled = Compiled {
            code,
            ran_at: self.runs,
        };
        self.scripts.insert(script.id, compiled);
        Ok(code)
    }

    /// Forgets all compiled scripts.
    pub fn forget_scripts(&mut self) {
        self.forget_scripts_but(None);
    }

    fn forget_scripts_but(&mut self, spared: Option<Code>) {
        let (codes, mut stack) = (&mut self.codes, self.state.stack());
        self.scripts.retain(|_, compiled| {
            let stays = spared == Some(compiled.code);
            if !stays {
                codes.remove(compiled.code, &mut stack);
            }
            stays
        });
    }

    /// Forgets the half of the compiled scripts that ran longest ago.
    #[cold]
    fn forget_older_half(&mut self) {
        let mut times: Vec<u64> = self.scripts.values().map(|each| each.ran_at).collect();
        let middle = times.len() / 2;
        let (_, &mut limit, _) = times.select_nth_unstable(middle);
        let (codes, mut stack) = (&mut self.codes, self.state.stack());
        self.scripts.retain(|_, compiled| {
            let stays = compiled.ran_at >= limit;
            if !stays {
                codes.remove(compiled.code, &mut stack);
            }
            stays
        });
    }

    /// Loads a library: runs its source, which registers functions with `loader`.
    pub fn load(&mut self, source: &[u8], loader: &mut dyn Loader) -> Result<(), CmdError> {
        self.make_room(None);
        let mut stack = self.state.stack();
        stack.set_top(0);
        if stack.load(body(source), c"@user_function") == Err(Raise) {
            return Err(compile_error(&mut stack, "Error compiling function: "));
        }
        self.json.set(&mut stack, cjson::Settings::default());
        self.show_globals_of_loading(true);
        let mut kept = Vec::new();
        let mut load = Load {
            loader,
            codes: &mut self.codes,
            kept: &mut kept,
            end: None,
        };
        let ended = self
            .state
            .with_host(&mut load, |stack| stack.call(0, 0, None));
        let end = load.end.take();
        self.show_globals_of_loading(false);
        let mut stack = self.state.stack();
        // What the library has set is so for its functions.
        let settings = self.json.get(&mut stack);
        for code in kept {
            self.codes.set_json(code, settings);
        }
        let result = match (ended, end) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(error)) => Err(error.reply().into_owned()),
            (Err(_), None) => Err(convert::error_text(&mut stack)),
        };
        stack.set_top(0);
        result.map_err(|text| {
            CmdError::owned([&b"ERR Error registering functions: "[..], &text].concat())
        })
    }

    /// Has scripts see what there is while a library is loaded, or all again. Cannot fail.
    fn show_globals_of_loading(&mut self, is_loading: bool) {
        let Some((all, loading)) = &self.globals_metas else {
            return;
        };
        let mut stack = self.state.stack();
        stack.push_globals();
        stack.push_ref(if is_loading { loading } else { all });
        stack.set_metatable(-2);
        stack.pop(1);
    }

    /// Ends the keeping of a library's function.
    pub fn forget(&mut self, code: Code) {
        self.codes.remove(code, &mut self.state.stack());
    }

    /// Runs what was compiled, with the keys and then the arguments that it is called with. Its result is
    /// left inside.
    pub fn run(
        &mut self,
        code: Code,
        arguments: Argv<'_>,
        numkeys: usize,
        caller: &mut dyn Caller,
    ) -> Result<(), Failure> {
        self.make_room(Some(code));
        self.begin();
        self.is_resp3 = false;
        let settings = self.codes.json(code);
        self.json.set(&mut self.state.stack(), settings);
        let mut run = Run {
            caller,
            names: &self.names,
            scratch: std::mem::take(&mut self.scratch),
            is_resp3: false,
            failure: None,
        };
        let (handler, used_for) = (&self.handler, self.used_for);
        let (globals, is_restored) = (&self.globals, self.is_restored);
        let (real_globals, names, codes) = (&self.real_globals, &self.names, &self.codes);
        let ended = self.state.with_host(&mut run, |stack| {
            stack.set_top(0);
            stack.push_ref(handler);
            stack.push_ref(codes.get(code));
            if is_restored {
                globals.restore(stack, -1);
            }
            let numkeys = numkeys.min(arguments.len());
            let keys = arguments.iter().take(numkeys);
            let pushed = match used_for {
                Use::Scripts => {
                    stack.push_ref(real_globals);
                    stack.push_ref(&names.keys);
                    convert::push_strings(stack, keys)
                        .and_then(|()| stack.raw_set(-3))
                        .and_then(|()| {
                            stack.push_ref(&names.argv);
                            convert::push_strings(stack, arguments.from(numkeys).iter())
                        })
                        .and_then(|()| stack.raw_set(-3))
                        .map(|()| stack.pop(1))
                }
                Use::Functions => convert::push_strings(stack, keys)
                    .and_then(|()| convert::push_strings(stack, arguments.from(numkeys).iter())),
            };
            let arguments = match used_for {
                Use::Scripts => 0,
                Use::Functions => 2,
            };
            match pushed {
                Ok(()) => stack.call(arguments, 1, Some(1)),
                Err(Raise) => Err(CallError::Memory),
            }
        });
        self.is_resp3 = run.is_resp3;
        let failure = run.failure.take();
        self.scratch = run.scratch;
        self.scratch.shrink();
        match ended {
            Ok(()) => Ok(()),
            Err(error) => {
                let failure = failure.filter(|_| error == CallError::Runtime);
                let failure = failure.unwrap_or_else(|| self.unhandled());
                self.clean();
                Err(failure)
            }
        }
    }

    /// What one script has set, the next one does not see.
    fn begin(&mut self) {
        self.runs += 1;
        let seed = self.seed.wrapping_add(self.runs);
        sandbox::seed(&mut self.state, seed.wrapping_mul(SPREAD) >> 16);
    }

    /// The failure whose error is on top of the stack, and has not been through the handler.
    #[cold]
    fn unhandled(&mut self) -> Failure {
        let stack = self.state.stack();
        let text = stack.string(-1).unwrap_or(b"execution failure");
        let text = &text[..text.len().min(100)];
        Failure {
            error: CmdError::owned([&b"ERR Error running script, "[..], text].concat()),
            is_counted: false,
        }
    }

    /// Writes what the last [`Vm::run`] has left, and forgets it. `on_error` is told the texts of the
    /// errors in it, and whether they were counted before.
    pub fn reply(&mut self, out: &mut ReplyWriter, on_error: &mut dyn FnMut(&[u8], bool)) {
        let mut stack = self.state.stack();
        if stack.top() > 0 {
            convert::reply(&mut stack, &self.names, self.is_resp3, out, on_error);
        }
        self.clean();
    }

    /// Drops what a script has left, and its garbage if that is much.
    fn clean(&mut self) {
        self.state.stack().set_top(0);
        let used_bytes = self.state.used_bytes();
        if used_bytes > self.collected_bytes.saturating_mul(2) + GARBAGE_BYTES_MAX {
            self.collect();
        }
    }

    /// Before anything is done: what can be forgotten is, if memory is short; not so `running`, which is
    /// about to run.
    fn make_room(&mut self, running: Option<Code>) {
        if self.state.is_memory_short() {
            self.collect();
            if self.state.is_memory_short() {
                self.forget_scripts_but(running);
                self.collect();
            }
        }
    }

    #[cold]
    fn collect(&mut self) {
        self.state.stack().collect_garbage();
        self.collected_bytes = self.state.used_bytes();
    }

    /// Memory in use, bytes.
    pub fn used_bytes(&self) -> u64 {
        self.state.used_bytes()
    }
}

/// Makes our libraries globals.
fn open_libraries(stack: &mut Stack<'_>) -> cjson::Config {
    let json = cjson::open(stack);
    set_global(stack, "cjson");
    for (name, open) in [
        ("cmsgpack", cmsgpack::open as fn(&mut Stack<'_>)),
        ("struct", structs::open),
        ("bit", bit::open),
    ] {
        open(stack);
        set_global(stack, name);
    }
    json
}

/// Makes the value on top a global; takes it.
fn set_global(stack: &mut Stack<'_>, name: &str) {
    stack.push_globals();
    stack.insert(-2);
    stack
        .raw_set_name(-2, name)
        .expect("memory is not refused yet");
    stack.pop(1);
}

/// The source without the line that says what it is in; the end of that line stays, so that lines
/// have their numbers.
fn body(source: &[u8]) -> &[u8] {
    match source.starts_with(b"#!") {
        true => {
            let end = memchr::memchr(b'\n', source).unwrap_or(source.len());
            &source[end..]
        }
        false => source,
    }
}

/// The error that the compiler has left on the stack, which is emptied.
#[cold]
fn compile_error(stack: &mut Stack<'_>, what: &str) -> CmdError {
    let text = stack.string(-1).unwrap_or_default();
    let error = CmdError::owned([b"ERR ", what.as_bytes(), convert::until_nul(text)].concat());
    stack.set_top(0);
    error
}

/// Whoever runs a script.
pub(super) struct Run<'a> {
    pub(super) caller: &'a mut dyn Caller,
    pub(super) names: &'a Names,
    pub(super) scratch: Scratch,
    /// Replies of commands are RESP3 (`redis.setresp`).
    pub(super) is_resp3: bool,
    /// What the script ends with, once that is known.
    pub(super) failure: Option<Failure>,
}

impl Host for Run<'_> {
    fn call(&mut self, number: u32, stack: &mut Stack<'_>) -> Result<i32, Raise> {
        redis_api::call(self, number, stack)
    }

    fn tick(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        match self.caller.tick() {
            Tick::Continue => Ok(()),
            Tick::End(error) => {
                redis_api::push_error(stack, &error.reply(), false)?;
                Err(Raise)
            }
        }
    }
}

/// Whoever loads a library.
struct Load<'a> {
    loader: &'a mut dyn Loader,
    codes: &'a mut Codes,
    /// Functions that it has registered.
    kept: &'a mut Vec<Code>,
    /// What has ended it.
    end: Option<CmdError>,
}

impl Host for Load<'_> {
    fn call(&mut self, number: u32, stack: &mut Stack<'_>) -> Result<i32, Raise> {
        match Ask::of(number) {
            Some(Ask::RegisterFunction) => {
                // More than it takes are wrong, however many there are.
                stack.set_top(stack.top().min(3));
                let mut loading = Loading {
                    codes: self.codes,
                    kept: self.kept,
                };
                self.loader.register(&mut loading, stack).map(|()| 0)
            }
            Some(Ask::Log) => {
                let (level, text) = redis_api::log_line(stack)?;
                super::log(level, &text);
                Ok(0)
            }
            _ => {
                stack.set_top(0);
                Err(stack.error("only for scripts that run"))
            }
        }
    }

    fn tick(&mut self, stack: &mut Stack<'_>) -> Result<(), Raise> {
        let Err(error) = self.loader.tick() else {
            return Ok(());
        };
        redis_api::push_error(stack, &error.reply(), false)?;
        self.end = Some(error);
        Err(Raise)
    }
}

/// What was compiled: values kept in the interpreter, by number.
#[derive(Default)]
struct Codes {
    kept: Vec<Option<Kept>>,
    free: Vec<u32>,
}

impl Codes {
    fn add(&mut self, function: Ref) -> Code {
        let kept = Some(Kept {
            function,
            json: cjson::Settings::default(),
        });
        match self.free.pop() {
            Some(at) => {
                self.kept[at as usize] = kept;
                Code(at)
            }
            None => {
                self.kept.push(kept);
                Code(self.kept.len() as u32 - 1)
            }
        }
    }

    fn kept(&self, code: Code) -> &Kept {
        let kept = self.kept.get(code.0 as usize).and_then(Option::as_ref);
        kept.expect("code of this interpreter that is kept")
    }

    fn get(&self, code: Code) -> &Ref {
        &self.kept(code).function
    }

    fn json(&self, code: Code) -> cjson::Settings {
        self.kept(code).json
    }

    fn set_json(&mut self, code: Code, settings: cjson::Settings) {
        if let Some(Some(kept)) = self.kept.get_mut(code.0 as usize) {
            kept.json = settings;
        }
    }

    fn remove(&mut self, code: Code, stack: &mut Stack<'_>) {
        if let Some(kept) = self.kept.get_mut(code.0 as usize).and_then(Option::take) {
            stack.forget(kept.function);
            self.free.push(code.0);
        }
    }
}

/// A function that is kept.
#[derive(Debug)]
struct Kept {
    function: Ref,
    /// Settings of `cjson` when it begins.
    json: cjson::Settings,
}

/// Hashes the numbers of scripts, which are all different: no more than is needed to spread them.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte) ^ self.0);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(SPREAD).rotate_left(32);
    }
}

#[cfg(test)]
mod tests;
