//! Scripts: whatever the source, it is refused or it runs within its limits, what its calls are answered
//! becomes values and a well-formed reply, and the next script sees what it would have seen without it. One
//! that is proven to be bounded ends after few steps, and names no key that was not declared.
//!
//! The first byte chooses the arguments, and whether the rest is a script or a library, each of whose functions
//! is called; its length chooses what commands answer. It is changed by tokens and statements.
#![no_main]

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use kivi::commands::CommandTable;
use kivi::commands::table::Found;
use kivi::resp::{Argv, Reply, ReplyWriter, Span};
use kivi::script::functions::{self, Libraries, LoadOptions};
use kivi::script::proof::{self, Facts, Proof};
use kivi::script::vm::{Code, Settings, Use, Vm};
use kivi::script::{Caller, LogLevel, Repl, Script, Tick};
use kivi::spec::CmdError;
use kivi::spec::KeyFlags;
use kivi::spec::keys::for_each_key;
use kivi_fuzz::lua;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

/// Ticks of a script before it is ended; each is 10,000 instructions, of which one may copy all memory.
const TICKS_MAX: u32 = 4;
/// What a script may take: little, so that no input takes long.
const MEMORY_BYTES_MAX: u64 = 2 << 20;
/// Ticks of a bounded one with few arguments.
const BOUNDED_TICKS_MAX: u32 = 8;
/// For how long a library may run while it is loaded.
const LOADING_MAX: Duration = Duration::from_millis(500);
/// Most functions of a library that are called.
const FUNCTIONS_MAX: usize = 8;

/// What one script may do to the next: everything that it can see, by name and type.
const CANARY: &[u8] = b"
local seen, out = {}, {}
local function walk(name, value, depth)
  out[#out + 1] = name .. ':' .. type(value)
  if type(value) == 'table' and not seen[value] and depth < 3 then
    seen[value] = true
    local names = {}
    for key in pairs(value) do names[#names + 1] = tostring(key) end
    table.sort(names)
    for _, key in ipairs(names) do walk(name .. '.' .. key, value[key], depth + 1) end
  end
end
for _, name in ipairs{'string', 'table', 'math', 'cjson', 'cmsgpack', 'struct', 'bit', 'redis', 'os',
    'KEYS', 'ARGV', 'tostring', 'pcall', 'next', 'select', '_VERSION'} do
  -- Libraries have no KEYS.
  local _, value = pcall(function() return _G[name] end)
  walk(name, value, 0)
end
out[#out + 1] = ('x'):rep(2) .. tostring(1.5) .. cjson.encode({1, {a = 2}})
return table.concat(out, ' ')
";

static TABLE: LazyLock<CommandTable> =
    LazyLock::new(|| CommandTable::new(&[]).expect("no command is renamed"));

/// Replies of the server, in turn.
const REPLIES: &[&[u8]] = &[
    b"+OK\r\n",
    b":12\r\n",
    b"$3\r\nabc\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*3\r\n:1\r\n$1\r\na\r\n*1\r\n+b\r\n",
    b"%2\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n_\r\n",
    b"~2\r\n:1\r\n:2\r\n",
    b",1.5\r\n",
    b"#t\r\n",
    b"_\r\n",
    b"(12345678901234567890\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"*2\r\n-ERR inside\r\n:1\r\n",
    b"*0\r\n",
];

/// A server that answers what it likes.
struct Stage<'k> {
    answers: usize,
    ticks: u32,
    declared: &'k [&'k [u8]],
    is_bounded: bool,
}

impl Caller for Stage<'_> {
    fn call(&mut self, argv: Argv<'_>, out: &mut ReplyWriter) -> Result<(), CmdError> {
        let Found::Command(command) = TABLE.find(argv) else {
            assert!(
                !self.is_bounded,
                "a bounded script calls no unknown command"
            );
            return Err(CmdError::text(
                "ERR Unknown Redis command called from script",
            ));
        };
        if self.is_bounded {
            assert!(Facts::of(command.row).is_confined, "{}", command.full_name);
            let _ = for_each_key(command.row.keys, argv, |at, spec| {
                let is_declared =
                    spec.flags.has(KeyFlags::NOT_KEY) || self.declared.contains(&&argv[at]);
                assert!(is_declared, "{}", command.full_name);
            });
        }
        self.answers += 1;
        match self.answers % (REPLIES.len() + 1) {
            0 => return Err(CmdError::text("WRONGTYPE Operation against a key")),
            // As it would be in the protocol that the script has chosen.
            at => Reply::parse(REPLIES[at - 1])
                .expect("a reply")
                .expect("a whole one")
                .0
                .write(out),
        }
        Ok(())
    }

    fn log(&mut self, _: LogLevel, _: String) {}

    fn tick(&mut self) -> Tick {
        self.ticks += 1;
        assert!(
            !self.is_bounded || self.ticks < BOUNDED_TICKS_MAX,
            "a bounded script takes long"
        );
        match self.is_bounded || self.ticks < TICKS_MAX {
            true => Tick::Continue,
            false => Tick::End(CmdError::text("ERR Script killed")),
        }
    }

    fn set_repl(&mut self, _: Repl) {}

    fn acl_check_cmd(&mut self, argv: Argv<'_>) -> Result<bool, CmdError> {
        match TABLE.find(argv) {
            Found::Command(_) => Ok(argv.len().is_multiple_of(2)),
            _ => Err(CmdError::text(
                "ERR Invalid command passed to redis.acl_check_cmd()",
            )),
        }
    }
}

/// What is known of a command that a script names.
fn facts(name: &[u8], second: Option<&[u8]>) -> Option<Facts> {
    let command = TABLE.get(name)?;
    let command = match command.subcommands.is_empty() {
        true => command,
        false => command.subcommand(second?)?,
    };
    Some(Facts::of(command.row))
}

/// What an interpreter makes of something that it has compiled: the reply.
fn call(
    vm: &mut Vm,
    code: Code,
    proof: Proof,
    answers: usize,
    keys: &[&[u8]],
    arguments: &[&[u8]],
) -> Vec<u8> {
    let given: Vec<&[u8]> = keys.iter().chain(arguments).copied().collect();
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for arg in &given {
        let (start, len) = (bytes.len() as u32, arg.len() as u32);
        spans.push(Span { start, len });
        bytes.extend_from_slice(arg);
    }
    let mut stage = Stage {
        answers,
        ticks: 0,
        declared: keys,
        is_bounded: proof.is_bounded,
    };
    let mut out = ReplyWriter::new();
    let ran = vm.run(code, Argv::new(&bytes, &spans), keys.len(), &mut stage);
    match ran {
        Ok(()) => vm.reply(&mut out, &mut |_, _| {}),
        Err(failure) => out.error(&failure.error.reply()),
    }
    let reply = out.to_vec();
    let replies = Reply::parse_all(&reply);
    let is_one = replies.as_ref().is_ok_and(|replies| replies.len() == 1);
    assert!(is_one, "{replies:?}: {}", reply.escape_ascii());
    reply
}

fn run(vm: &mut Vm, source: &[u8], keys: &[&[u8]], arguments: &[&[u8]]) -> Option<Vec<u8>> {
    let script = Script::new(source).ok()?;
    let proof = proof::analyse(source, &facts);
    // In front of it: a proof relies on what others can have done to what it sees.
    let code = vm.script(&script, 0).ok()?;
    Some(call(vm, code, proof, source.len(), keys, arguments))
}

/// Loads a library and calls each of its functions; the replies, if it could be loaded.
fn run_library(
    libraries: &Libraries,
    source: &[u8],
    keys: &[&[u8]],
    arguments: &[&[u8]],
) -> Option<Vec<Vec<u8>>> {
    let options = LoadOptions {
        settings: settings(Use::Functions),
        limit: LOADING_MAX,
    };
    let library = libraries.load(source, false, &options).ok()?;
    let proof = proof::analyse_library(source, &facts);
    let mut home = libraries.home.lock();
    let home = home.as_mut().expect("it has loaded a library");
    home.follow(libraries.epoch(), &libraries.current());
    let mut replies = Vec::new();
    for (index, function) in library.functions.iter().enumerate().take(FUNCTIONS_MAX) {
        let library = library.clone();
        let found = functions::Found { library, index };
        let code = home.function(&found).expect("it is loaded");
        let proof = proof.function(&function.name);
        replies.push(call(
            &mut home.vm,
            code,
            proof,
            source.len(),
            keys,
            arguments,
        ));
    }
    Some(replies)
}

fn settings(used_for: Use) -> Settings {
    Settings {
        used_for,
        memory_limit_bytes: MEMORY_BYTES_MAX,
        has_insecure_api: false,
        redis_version: "7.2.4",
        kivi_version: "0.1.0",
    }
}

/// The canary as a library.
fn canary() -> Vec<u8> {
    let head = b"#!lua name=canary\nredis.register_function('canary', function(KEYS, ARGV)";
    [head, CANARY, b"end)"].concat()
}

thread_local! {
    static VM: RefCell<(Vm, Vec<u8>)> = RefCell::new({
        let mut vm = Vm::new(&settings(Use::Scripts));
        let seen = run(&mut vm, CANARY, &[], &[]).expect("the canary sings");
        (vm, seen)
    });

    static LIBRARIES: (Libraries, Vec<Vec<u8>>) = {
        let libraries = Libraries::default();
        let seen = run_library(&libraries, &canary(), &[], &[]).expect("the canary sings");
        assert!(seen[0].starts_with(b"$") && seen[0].len() > 1000, "{}", seen[0].escape_ascii());
        assert!(libraries.delete(b"canary"));
        (libraries, seen)
    };
}

/// Whether the canary looks at what a source has left: after one of sixteen, as it takes longer than most, and
/// what one leaves, others leave too.
fn sings_after(source: &[u8]) -> bool {
    source.iter().fold(0, |sum, byte| sum ^ byte) % 16 == 0
}

fn check_script(source: &[u8], keys: &[&[u8]], arguments: &[&[u8]]) {
    VM.with_borrow_mut(|(vm, seen)| {
        run(vm, source, keys, arguments);
        if sings_after(source) {
            let next = run(vm, CANARY, &[], &[]);
            assert_eq!(next.as_ref(), Some(&*seen), "the next script sees it");
        }
    });
}

/// As [`check_script`]; a source without a first line that says so is made a library.
fn check_library(source: &[u8], keys: &[&[u8]], arguments: &[&[u8]]) {
    let head: &[u8] = match source.starts_with(b"#!") {
        true => b"",
        false => b"#!lua name=l\n",
    };
    let source = [head, source].concat();
    LIBRARIES.with(|(libraries, seen)| {
        run_library(libraries, &source, keys, arguments);
        let names: Vec<Arc<str>> = libraries
            .current()
            .libraries()
            .map(|library| library.name.clone())
            .collect();
        for name in names {
            assert!(libraries.delete(name.as_bytes()));
        }
        if sings_after(&source) {
            let next = run_library(libraries, &canary(), &[], &[]);
            assert_eq!(next.as_ref(), Some(seen), "the next library sees it");
            assert!(libraries.delete(b"canary"));
        }
    });
}

fuzz_target!(|data: &[u8]| {
    let [choice, source @ ..] = data else { return };
    let keys: &[&[u8]] = match choice % 4 {
        0 => &[],
        1 => &[b"k1"],
        2 => &[b"k1", b"k2"],
        _ => &[b"", b"k1", b"\x00\xff"],
    };
    let arguments: &[&[u8]] = match choice >> 2 & 3 {
        0 => &[],
        1 => &[b"1"],
        2 => &[b"-1", b"abc"],
        _ => &[b"3", b"[1,2]", b"%d+", b"\x93\x01\x02\x03"],
    };
    match choice >> 4 & 3 {
        3 => check_library(source, keys, arguments),
        _ => check_script(source, keys, arguments),
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    lua::mutate(&TABLE, 1, data, size, max_size, seed)
});
