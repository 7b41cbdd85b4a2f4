//! Scripts and libraries on a [`Vm`] whose server is a fake one.

use super::{Code, Failure, Loader, Loading, Settings, Use, Vm};
use crate::resp::parse::{Argv, Span};
use crate::resp::write::ReplyWriter;
use crate::script::{Caller, LogLevel, Repl, Script, Tick};
use crate::spec::CmdError;
use crate::sys::lua::{Raise, Stack};

/// A server of a few commands: ECHO, RAW (its argument is the reply), FAIL (is the error).
#[derive(Default)]
struct Fake {
    repl: Option<Repl>,
    /// Ticks until the script is killed.
    patience: Option<u32>,
    is_resp3: bool,
}

impl Caller for Fake {
    fn call(&mut self, argv: Argv<'_>, out: &mut ReplyWriter) -> Result<(), CmdError> {
        assert!(out.is_empty());
        self.is_resp3 = out.is_resp3();
        match (&argv[0], argv.get(1)) {
            (b"ECHO", Some(text)) => out.bulk(text),
            (b"RAW", Some(reply)) => out.raw(reply),
            (b"BIG", Some(text)) => out.bulk_shared(std::sync::Arc::new(text.to_vec())),
            (b"FAIL", Some(text)) => return Err(CmdError::owned(text)),
            _ => return Err(CmdError::text("ERR Unknown command called from script")),
        }
        Ok(())
    }

    fn tick(&mut self) -> Tick {
        match &mut self.patience {
            Some(0) => Tick::End(CmdError::text(
                "ERR Script killed by user with SCRIPT KILL.",
            )),
            Some(left) => {
                *left -= 1;
                Tick::Continue
            }
            None => Tick::Continue,
        }
    }

    fn log(&mut self, _: LogLevel, _: String) {}

    fn set_repl(&mut self, repl: Repl) {
        self.repl = Some(repl);
    }

    fn acl_check_cmd(&mut self, argv: Argv<'_>) -> Result<bool, CmdError> {
        match &argv[0] {
            b"ECHO" => Ok(true),
            b"FAIL" => Ok(false),
            _ => Err(CmdError::Syntax),
        }
    }
}

fn vm(used_for: Use) -> Vm {
    vm_of(used_for, 64 << 20)
}

fn vm_of(used_for: Use, memory_limit_bytes: u64) -> Vm {
    Vm::new(&Settings {
        used_for,
        memory_limit_bytes,
        has_insecure_api: false,
        redis_version: "7.2.4",
        kivi_version: "0.1.0",
    })
}

fn script(id: u64, source: &str) -> Script {
    let mut script = Script::new(source.as_bytes()).expect("a script");
    script.id = id;
    script
}

/// Words as arguments.
fn spans(words: &[&str]) -> (Vec<u8>, Vec<Span>) {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for word in words {
        spans.push(Span {
            start: bytes.len() as u32,
            len: word.len() as u32,
        });
        bytes.extend_from_slice(word.as_bytes());
    }
    (bytes, spans)
}

fn run(vm: &mut Vm, code: Code, fake: &mut Fake, out: &mut ReplyWriter) -> Result<(), Failure> {
    let (bytes, spans) = spans(&["k1", "a1", "a2"]);
    vm.run(code, Argv::new(&bytes, &spans), 1, fake)?;
    vm.reply(out, &mut |_, _| {});
    Ok(())
}

/// The reply to a script, with one key and two arguments, as text.
fn eval_as(source: &str, is_resp3: bool) -> String {
    let mut vm = vm(Use::Scripts);
    let mut out = ReplyWriter::new();
    out.set_resp3(is_resp3);
    let ended = match vm.script(&script(1, source), 0) {
        Ok(code) => run(&mut vm, code, &mut Fake::default(), &mut out),
        Err(error) => Err(Failure {
            error,
            is_counted: false,
        }),
    };
    if let Err(failure) = ended {
        out.error(&failure.error.reply());
    }
    String::from_utf8_lossy(&out.to_vec()).replace("\r\n", "|")
}

fn eval(source: &str) -> String {
    eval_as(source, false)
}

#[test]
fn a_script_has_its_keys_and_arguments_and_calls_commands() {
    assert_eq!(eval("return KEYS"), "*1|$2|k1|");
    assert_eq!(
        eval("return {ARGV[2], ARGV[1], #ARGV}"),
        "*3|$2|a2|$2|a1|:2|"
    );
    assert_eq!(eval("return redis.call('ECHO', ARGV[1])"), "$2|a1|");
    assert_eq!(eval("return server.call('ECHO', 1.5)"), "$3|1.5|");
    assert_eq!(
        eval("return redis.call('NOSUCH')"),
        "-ERR Unknown command called from script script: on @user_script:1.|"
    );
    assert_eq!(
        eval("return redis.pcall('FAIL', 'WRONGTYPE of \\r\\n\\r\\na kind\\r\\n')"),
        "-WRONGTYPE of     a kind|"
    );
    let big = eval("return #redis.call('BIG', string.rep('x', 100000))");
    assert_eq!(big, ":100000|");
}

#[test]
fn lines_are_counted_with_the_shebang() {
    assert_eq!(
        eval("#!lua flags=no-writes\n\nerror('x')"),
        "-ERR user_script:3: x script: on @user_script:3.|"
    );
    assert_eq!(eval("#!lua\n"), "$-1|");
}

#[test]
fn a_killed_script_ends_whatever_it_catches() {
    let mut vm = vm(Use::Scripts);
    let source = "while true do pcall(function() while true do end end) end";
    let code = vm.script(&script(1, source), 0).expect("it compiles");
    let mut fake = Fake {
        patience: Some(3),
        ..Fake::default()
    };
    let mut out = ReplyWriter::new();
    let failure = run(&mut vm, code, &mut fake, &mut out).expect_err("it is killed");
    assert_eq!(
        failure.error.to_string(),
        "ERR Script killed by user with SCRIPT KILL. script: on @user_script:1."
    );
    assert!(!failure.is_counted);
    let code = vm.script(&script(2, "return 1"), 0).expect("it compiles");
    run(&mut vm, code, &mut Fake::default(), &mut out).expect("the next one runs");
    assert_eq!(out.to_vec(), b":1\r\n");
}

#[test]
fn memory_has_a_limit_and_comes_back() {
    let mut vm = vm(Use::Scripts);
    let source = "local t = {} while true do t[#t + 1] = string.rep('x', 100000 + #t) end";
    let code = vm.script(&script(1, source), 0).expect("it compiles");
    let mut out = ReplyWriter::new();
    let failure = run(&mut vm, code, &mut Fake::default(), &mut out).expect_err("no memory");
    let text = failure.error.to_string();
    assert!(text.contains("not enough memory"), "{text}");
    assert!(vm.used_bytes() < 1 << 20, "{} bytes", vm.used_bytes());
}

#[test]
fn scripts_that_fill_the_memory_are_forgotten_but_for_the_one_that_runs() {
    let mut vm = vm_of(Use::Scripts, 1 << 20);
    let source = |id: u64| format!("return #'{}'", id.to_string().repeat(20_000));
    for id in 100..300 {
        // Twice: the second time it is not compiled, which would make room.
        for _ in 0..2 {
            let script = script(id, &source(id));
            let code = vm.script(&script, 0).expect("there is room");
            let mut out = ReplyWriter::new();
            run(&mut vm, code, &mut Fake::default(), &mut out).expect("it runs");
            assert_eq!(out.to_vec(), b":60000\r\n");
        }
    }
    assert!(vm.scripts.len() < 20, "{} scripts", vm.scripts.len());
}

#[test]
fn a_reply_that_doubles_with_every_level_is_refused() {
    let source = "local a = {1} for i = 1, 60 do a = {a, a} end return a";
    assert_eq!(eval(source), "-ERR The reply of the script is too large|");
}

#[test]
fn compiled_scripts_are_forgotten_with_the_epoch() {
    let mut vm = vm(Use::Scripts);
    for id in 0..10 {
        vm.script(&script(id, "return 1"), 7).expect("it compiles");
        vm.script(&script(id, "return 1"), 7).expect("it compiles");
    }
    assert_eq!(vm.scripts.len(), 10);
    vm.script(&script(3, "return 1"), 8).expect("it compiles");
    assert_eq!(vm.scripts.len(), 1);
    for id in 0..3_000 {
        vm.script(&script(id, "return 1"), 8).expect("it compiles");
    }
    assert!(vm.scripts.len() <= super::SCRIPTS_MAX);
}

#[test]
fn what_is_said_to_the_server_reaches_it() {
    let mut vm = vm(Use::Scripts);
    let source = "redis.setresp(3) redis.set_repl(redis.REPL_AOF) redis.call('ECHO', 1)
        return {redis.acl_check_cmd('ECHO'), redis.acl_check_cmd('FAIL')}";
    let code = vm.script(&script(1, source), 0).expect("it compiles");
    let (mut fake, mut out) = (Fake::default(), ReplyWriter::new());
    out.set_resp3(true);
    run(&mut vm, code, &mut fake, &mut out).expect("it runs");
    assert_eq!(out.to_vec(), b"*2\r\n#t\r\n#f\r\n");
    let repl = Repl {
        aof: true,
        replica: false,
    };
    assert_eq!(fake.repl, Some(repl));
    assert!(fake.is_resp3);
}

/// Keeps the callbacks that are registered by two arguments.
#[derive(Default)]
struct Names(Vec<(String, Code)>);

impl Loader for Names {
    fn register(&mut self, loading: &mut Loading<'_>, stack: &mut Stack<'_>) -> Result<(), Raise> {
        let name = stack.string(1).unwrap_or_default().to_vec();
        let code = loading.keep(stack);
        self.0
            .push((String::from_utf8_lossy(&name).into_owned(), code));
        Ok(())
    }

    fn tick(&mut self) -> Result<(), CmdError> {
        Err(CmdError::text("ERR FUNCTION LOAD timeout"))
    }
}

#[test]
fn a_library_registers_functions_that_run() {
    let mut vm = vm(Use::Functions);
    let mut names = Names::default();
    let source = b"#!lua name=l\nredis.register_function('f', function(keys, args)
        return {keys, args, redis.call('ECHO', 'x')} end)";
    vm.load(source, &mut names).expect("it loads");
    let [(name, code)] = names.0.as_slice() else {
        panic!("one function: {:?}", names.0);
    };
    assert_eq!(name, "f");
    let mut out = ReplyWriter::new();
    run(&mut vm, *code, &mut Fake::default(), &mut out).expect("it runs");
    let text = String::from_utf8_lossy(&out.to_vec()).replace("\r\n", "|");
    assert_eq!(text, "*3|*1|$2|k1|*2|$2|a1|$2|a2|$1|x|");
    vm.forget(*code);
}

#[test]
fn a_library_that_does_not_load_says_why() {
    let mut vm = vm(Use::Functions);
    let mut load = |source: &str| {
        let error = vm.load(source.as_bytes(), &mut Names::default());
        error.expect_err("it does not load").to_string()
    };
    assert_eq!(
        load("#!lua name=l\na b"),
        "ERR Error compiling function: user_function:2: '=' expected near 'b'"
    );
    assert_eq!(
        load("while true do end"),
        "ERR Error registering functions: ERR FUNCTION LOAD timeout"
    );
}

#[test]
fn scripts_see_what_is_in_redis_and_cannot_change_it() {
    let list = "local t = {} for name in pairs(redis) do t[#t + 1] = name end
        table.sort(t) return table.concat(t, ' ')";
    let always = "KIVI_VERSION KIVI_VERSION_NUM LOG_DEBUG LOG_NOTICE LOG_VERBOSE LOG_WARNING \
        REDIS_VERSION REDIS_VERSION_NUM REPL_ALL REPL_AOF REPL_NONE REPL_REPLICA REPL_SLAVE \
        SERVER_NAME acl_check_cmd ";
    let names = format!(
        "{always}breakpoint call debug error_reply log pcall replicate_commands set_repl setresp \
         sha1hex status_reply"
    );
    assert_eq!(eval(list), format!("${}|{names}|", names.len()));
    let source = format!(
        "redis.register_function('f', function() {list} end) \
         redis.register_function('g', function() redis.x = 1 end)"
    );
    let (mut vm, mut loaded) = (vm(Use::Functions), Names::default());
    vm.load(source.as_bytes(), &mut loaded).expect("it loads");
    let (mut out, codes) = (ReplyWriter::new(), loaded.0);
    run(&mut vm, codes[0].1, &mut Fake::default(), &mut out).expect("it runs");
    let names = format!("{always}call error_reply log pcall set_repl setresp sha1hex status_reply");
    let text = String::from_utf8_lossy(&out.to_vec()).replace("\r\n", "|");
    assert_eq!(text, format!("${}|{names}|", names.len()));
    let failure = run(&mut vm, codes[1].1, &mut Fake::default(), &mut out);
    let text = failure.expect_err("it may not").error.to_string();
    assert!(
        text.contains("Attempt to modify a readonly table"),
        "{text}"
    );
    let versions = eval(
        "return {redis.REDIS_VERSION, redis.REDIS_VERSION_NUM, server.SERVER_NAME, \
         redis.KIVI_VERSION, redis.KIVI_VERSION_NUM}",
    );
    assert_eq!(versions, "*5|$5|7.2.4|:459268|$4|kivi|$5|0.1.0|:256|");
}

#[test]
fn libraries_see_little_while_they_are_loaded() {
    let mut vm = vm(Use::Functions);
    for (source, name) in [
        ("local x = string", "string"),
        ("local x = redis.call", "call"),
        ("local x = KEYS", "KEYS"),
        ("local x = redis.setresp", "setresp"),
    ] {
        let error = vm.load(source.as_bytes(), &mut Names::default());
        let text = format!(
            "ERR Error registering functions: ERR user_function:1: Script attempted to access \
             nonexistent global variable '{name}'"
        );
        assert_eq!(error.expect_err(name).to_string(), text);
    }
    for source in ["x = 1", "redis.x = 1"] {
        let error = vm.load(source.as_bytes(), &mut Names::default());
        let text = error.expect_err(source).to_string();
        assert!(
            text.ends_with(":1: Attempt to modify a readonly table"),
            "{text}"
        );
    }
    let source = b"redis.log(redis.LOG_DEBUG, 'x', redis.REDIS_VERSION)";
    vm.load(source, &mut Names::default()).expect("it may log");
}

#[test]
fn the_handler_of_errors_is_there_for_scripts() {
    assert_eq!(
        eval("local e = __redis__err__handler('x') return {e.err, e.source, e.line}"),
        "*3|$5|ERR x|$12|@user_script|:1|"
    );
    assert_eq!(
        eval("local e = {} return rawequal(__server__err__handler(e), e) and e.line"),
        ":1|"
    );
    let refused = eval("return {pcall(__redis__err__handler, redis)}");
    assert!(
        refused.contains("Attempt to modify a readonly table"),
        "{refused}"
    );
}

#[test]
fn what_one_script_has_set_the_next_does_not_see() {
    let mut vm = vm(Use::Scripts);
    let first = "redis.setresp(3) cjson.encode_max_depth(3) math.randomseed(1)
        return {tostring(math.random()), KEYS, ARGV}";
    let second = "return {true, cjson.encode_max_depth(), tostring(math.random())}";
    let mut replies = Vec::new();
    for (id, source) in [(1, first), (2, second), (1, first), (2, second)] {
        let code = vm.script(&script(id, source), 0).expect("it compiles");
        let mut out = ReplyWriter::new();
        out.set_resp3(true);
        run(&mut vm, code, &mut Fake::default(), &mut out).expect("it runs");
        replies.push(String::from_utf8_lossy(&out.to_vec()).replace("\r\n", "|"));
    }
    assert_eq!(replies[0], replies[2], "by the seed");
    assert!(replies[1].starts_with("*3|:1|:1000|"), "{}", replies[1]);
    assert_ne!(replies[1], replies[3], "begun anew");
}
