//! Scripts: whatever the source, it is refused or it runs within its limits, what its calls are answered
//! becomes values and a well-formed reply, and the next script sees what it would have seen without it. One
//! that is proven to be bounded ends after few steps, and names no key that was not declared.
//!
//! The first byte chooses the arguments, the second what commands answer; the rest is the source, or a
//! library's.
#![no_main]

use std::cell::RefCell;
use std::sync::LazyLock;

use kivi::commands::CommandTable;
use kivi::commands::table::Found;
use kivi::resp::{Argv, Reply, ReplyWriter, Span};
use kivi::script::proof::{self, Facts};
use kivi::script::vm::{Settings, Use, Vm};
use kivi::script::{Caller, Repl, Script, Tick};
use kivi::spec::CmdError;
use kivi::spec::KeyFlags;
use kivi::spec::keys::for_each_key;
use libfuzzer_sys::fuzz_target;

/// Ticks of a script before it is ended; each is 10,000 instructions.
const TICKS_MAX: u32 = 20;
/// Ticks of a bounded one with few arguments.
const BOUNDED_TICKS_MAX: u32 = 8;

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
  walk(name, _G[name], 0)
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

    fn tick(&mut self) -> Tick {
        self.ticks += 1;
        assert!(
            !self.is_bounded || self.ticks < BOUNDED_TICKS_MAX,
            "a bounded script takes long"
        );
        match self.ticks < TICKS_MAX {
            true => Tick::Continue,
            false => Tick::End(CmdError::text("ERR Script killed")),
        }
    }

    fn set_repl(&mut self, _: Repl) {}

    fn acl_check_cmd(&mut self, argv: Argv<'_>) -> Result<bool, CmdError> {
        match TABLE.find(argv) {
            Found::Command(_) => Ok(argv.len() % 2 == 0),
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

fn run(vm: &mut Vm, source: &[u8], keys: &[&[u8]], arguments: &[&[u8]]) -> Option<Vec<u8>> {
    let script = Script::new(source).ok()?;
    let proof = proof::analyse(source, &facts);
    // In front of it: a proof relies on what others can have done to what it sees.
    let code = vm.script(&script, 0).ok()?;
    let given: Vec<&[u8]> = keys.iter().chain(arguments).copied().collect();
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for arg in &given {
        let (start, len) = (bytes.len() as u32, arg.len() as u32);
        spans.push(Span { start, len });
        bytes.extend_from_slice(arg);
    }
    let mut stage = Stage {
        answers: source.len(),
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
    Some(reply)
}

fn vm() -> Vm {
    Vm::new(&Settings {
        used_for: Use::Scripts,
        memory_limit_bytes: 32 << 20,
        has_insecure_api: false,
        redis_version: "7.2.4",
        kivi_version: "0.1.0",
    })
}

thread_local! {
    static VM: RefCell<(Vm, Vec<u8>)> = RefCell::new({
        let mut vm = vm();
        let seen = run(&mut vm, CANARY, &[], &[]).expect("the canary sings");
        (vm, seen)
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
    let _ = proof::analyse_library(source, &facts);
    VM.with_borrow_mut(|(vm, seen)| {
        run(vm, source, keys, arguments);
        assert_eq!(
            run(vm, CANARY, &[], &[]).as_ref(),
            Some(&*seen),
            "the next script sees it"
        );
    });
});
