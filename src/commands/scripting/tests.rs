//! SCRIPT, and what EVAL makes of its arguments.

use crate::commands::tests::Test;
use crate::commands::tests::transcript::Transcript;

/// What Valkey 9.1.2 answers.
const VALKEY: &str = include_str!("valkey.txt");

#[test]
fn everything_is_as_valkey_has_it() {
    let transcript = Transcript {
        text: VALKEY,
        variants: 2,
        least: 200,
    };
    transcript.replay(|_| Test::new(), str::to_owned);
}

#[test]
fn an_error_is_one_line_whatever_it_repeats() {
    let mut t = Test::new();
    // Valkey sends the line feed as it is.
    t.run(r##"SCRIPT LOAD "#!lua flags=\"a\\r\\nb\"\n""##)
        .is("-ERR Unexpected flag in script shebang: a  b");
    t.run(r##"SCRIPT LOAD "#!lua \"a\\nb\"\n""##)
        .is("-ERR Unknown lua shebang option: a b");
    t.run(r##"SCRIPT LOAD "#!\"a\\nb\"\n""##)
        .is("-ERR Could not find scripting engine 'a b'");
}

#[test]
fn a_script_sees_the_error_of_a_command_as_a_client_does() {
    let mut t = Test::new();
    t.run(r#"EVAL "return redis.pcall('client', 'a\\r\\nb').err" 0"#)
        .is("$47 ERR unknown subcommand 'a  b'. Try CLIENT HELP.");
}

#[test]
fn there_is_no_debugger() {
    let mut t = Test::new();
    for mode in ["YES", "sync", "YES lua"] {
        t.run(&format!("SCRIPT DEBUG {mode}"))
            .is("-ERR SCRIPT DEBUG YES and SYNC are not supported");
    }
}

#[test]
fn help_lists_the_subcommands() {
    let mut t = Test::new();
    let help = t.run("SCRIPT HELP").text();
    for name in ["DEBUG", "EXISTS", "FLUSH", "KILL", "LOAD", "SHOW", "HELP"] {
        assert!(help.contains(&format!("+{name}")), "{name}: {help}");
    }
}

/// A field of INFO.
fn field(t: &mut Test, name: &str) -> u64 {
    let text = t.run("INFO everything").text();
    let start = format!("{name}:");
    let value = text.split(' ').find_map(|line| line.strip_prefix(&start));
    value.expect(name).parse().expect("a number")
}

#[test]
fn scripts_are_counted() {
    let mut t = Test::new();
    assert_eq!(field(&mut t, "number_of_cached_scripts"), 0);
    assert_eq!(field(&mut t, "used_memory_scripts_eval"), 0);
    t.run("SCRIPT LOAD 'return 1'");
    let one = field(&mut t, "used_memory_scripts_eval");
    assert!(one > 8, "{one}");
    let long = format!("SCRIPT LOAD 'return 1 --{}'", "x".repeat(10_000));
    t.run(&long);
    t.run("SCRIPT LOAD (");
    assert_eq!(field(&mut t, "number_of_cached_scripts"), 2);
    let two = field(&mut t, "used_memory_scripts_eval");
    // 10,027 bytes with what counts owners, 24 of the short one; blocks that are there for them.
    assert_eq!(two - 2 * one, 10_240 - 24);
    assert_eq!(field(&mut t, "used_memory_scripts"), two);
    t.run("SCRIPT FLUSH SYNC");
    assert_eq!(field(&mut t, "number_of_cached_scripts"), 0);
    assert_eq!(field(&mut t, "used_memory_scripts_eval"), 0);
}

#[test]
fn what_is_flushed_may_be_freed_in_the_background() {
    let mut t = Test::with(&["--lazyfree-lazy-user-flush", "yes"]);
    for (mode, freed) in [("", 1), ("SYNC", 1), ("ASYNC", 2)] {
        t.run("SCRIPT LOAD 'return 1'");
        t.run(&format!("SCRIPT FLUSH {mode}")).is("+OK");
        let lazyfree = &t.session.server().keyspace.lazyfree;
        while lazyfree.pending() > 0 {
            std::thread::yield_now();
        }
        assert_eq!(lazyfree.freed(), freed, "{mode}");
    }
}

#[test]
fn a_script_that_needs_too_much_memory_to_be_compiled_is_refused() {
    let mut t = Test::with(&["--lua-memory-limit", "1mb"]);
    let source = format!("return {{{}}}", "{},".repeat(100_000));
    t.args(&[b"SCRIPT", b"LOAD", source.as_bytes()])
        .has("not enough memory");
    t.run("SCRIPT LOAD 'return 1'").has("$40");
}
