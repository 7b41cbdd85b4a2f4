//! Crashes of a process that a test starts for that: the test runs itself anew and reads its log.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::AtomicBool;

use super::*;

/// The second thread to crash, where there is one, and whether its time has come.
static SECOND: AtomicI32 = AtomicI32::new(0);
static IS_SECONDS_TURN: AtomicBool = AtomicBool::new(false);

/// What the crashing process did, and what it left in its log.
struct Crash {
    status: ExitStatus,
    log: String,
}

/// Has `case` run in a process of its own.
fn crash(case: &str) -> Crash {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let test = "sys::crash::tests::cases";
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--test-threads=1", "--nocapture"])
        .env("KIVI_CRASH_CASE", case)
        .env("KIVI_CRASH_LOG", &log)
        .output()
        .unwrap();
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    Crash {
        status: output.status,
        log,
    }
}

/// Not a test by itself: what the processes of the others do.
#[test]
fn cases() {
    let Ok(case) = std::env::var("KIVI_CRASH_CASE") else {
        return;
    };
    let case: &'static str = case.leak();
    let log = std::env::var_os("KIVI_CRASH_LOG").unwrap();
    // No core dumps of tests.
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is a valid place.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) };
    prepare(Path::new(&log), case);
    let run = || match case {
        "overflow" => drop(std::hint::black_box(deep(1))),
        "panic" | "exit" | "panic and fault" => panic!("first line\nforged line {}", 7),
        "twice" => drop(std::hint::black_box(deep(2))),
        "abort" => std::process::abort(),
        _ => segfault(),
    };
    let work = move || {
        let _stack = SignalStack::new();
        process_name();
        let (bytes, spans) = (b"getSECRETlong", [[0u32, 3], [3, 6], [9, 4]]);
        match case == "idle" {
            true => idle(),
            false => running(u16::from(case == "secret"), 42, bytes, &spans),
        }
        run();
    };
    std::thread::scope(|scope| {
        if has_second(case) {
            scope.spawn(second);
        }
        scope.spawn(work).join().unwrap();
    });
}

fn has_second(case: &str) -> bool {
    matches!(case, "two faults" | "panic and fault")
}

/// Crashes while the report of another thread's crash is written. It never sleeps before it has.
fn second() {
    let _stack = SignalStack::new();
    SECOND.store(thread_id(), Ordering::SeqCst);
    while !IS_SECONDS_TURN.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
    segfault();
}

/// Has the second thread crash, and waits until it has come to rest.
fn crash_second() {
    IS_SECONDS_TURN.store(true, Ordering::SeqCst);
    let is_at_rest = || {
        let stat = format!("/proc/self/task/{}/stat", SECOND.load(Ordering::SeqCst));
        let stat = std::fs::read_to_string(stat).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, state)| state.starts_with('S'))
    };
    while !is_at_rest() {
        std::thread::yield_now();
    }
}

fn process_name() {
    super::super::process::set_thread_name("kivi-io-7");
}

#[allow(unconditional_recursion)]
fn deep(step: u64) -> u64 {
    let room = std::hint::black_box([step; 64]);
    deep(room[step as usize % 64].wrapping_add(1)).wrapping_add(room[1])
}

fn prepare(log: &Path, case: &'static str) {
    let facts = move |client: Option<u64>, out: &mut dyn fmt::Write| {
        let _ = writeln!(out, "facts for {client:?}");
        if case == "twice" {
            segfault();
        }
        if has_second(case) {
            crash_second();
        }
    };
    let command = |name: &str, has_secrets| CommandName {
        name: name.to_owned(),
        has_secrets,
    };
    install(Setup {
        version: "Kivi 1.2.3".to_owned(),
        log: Some(log.to_owned()),
        commands: vec![command("get", false), command("auth", true)],
        facts: Box::new(facts),
        remove: None,
    })
    .unwrap();
    configure(Settings::default());
    configure(Settings {
        enabled: true,
        shows_arguments: case != "hidden",
        exits: case == "exit",
        context: "a\ncontext".to_owned(),
    });
}

#[test]
fn a_fault_is_reported_and_stays_a_fault() {
    let Crash { status, log } = crash("segfault");
    assert_eq!(status.signal(), Some(libc::SIGSEGV), "{log}");
    for text in [
        "=== KIVI BUG REPORT START",
        "Kivi 1.2.3 crashed by signal: 11 (SIGSEGV), si_code: 2",
        "Accessing address: 0x",
        "Thread: kivi-io-7",
        "Command: get",
        "Client: id=42",
        "argv[0]: \"get\"\nargv[1]: \"SECRET\"\nargv[2]: \"long\"\n",
        "Debug context: a context\n",
        "RIP:",
        "kivi::sys::crash::segfault",
        "facts for Some(42)",
        "=== KIVI BUG REPORT END",
    ] {
        assert!(
            log.contains(text) || text == "RIP:" && !cfg!(target_arch = "x86_64"),
            "{text}\n{log}"
        );
    }
    assert!(!log.contains("did not come in time"));
}

#[test]
fn arguments_are_hidden_where_they_have_to_be() {
    for case in ["hidden", "secret"] {
        let log = crash(case).log;
        assert!(log.contains("Arguments: 3, not shown"), "{log}");
        assert!(!log.contains("SECRET"), "{log}");
    }
    assert!(crash("idle").log.contains("Command: none"));
}

#[test]
fn a_stack_that_has_run_out_is_reported() {
    let Crash { status, log } = crash("overflow");
    assert_eq!(status.signal(), Some(libc::SIGSEGV), "{log}");
    assert!(log.contains("crash::tests::deep"), "{log}");
    assert!(log.contains("=== KIVI BUG REPORT END"), "{log}");
}

#[test]
fn a_panic_is_reported_and_ends_the_process() {
    let Crash { status, log } = crash("panic");
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{log}");
    assert!(
        log.contains("crashed by a panic\nGuru Meditation: first line forged line 7\nAt "),
        "{log}"
    );
    assert_eq!(log.matches("BUG REPORT START").count(), 1, "{log}");
    assert_eq!(crash("exit").status.code(), Some(1));
    let Crash { status, log } = crash("abort");
    assert_eq!(status.signal(), Some(libc::SIGABRT), "{log}");
    assert!(log.contains("signal: 6 (SIGABRT)"), "{log}");
}

#[test]
fn a_report_that_crashes_is_the_end() {
    let Crash { status, log } = crash("twice");
    assert_eq!(status.signal(), Some(libc::SIGSEGV), "{log}");
    assert!(log.contains("facts for Some(42)"), "{log}");
}

#[test]
fn a_second_crash_does_not_cut_the_report_off() {
    for (case, signal) in [
        ("two faults", libc::SIGSEGV),
        ("panic and fault", libc::SIGABRT),
    ] {
        let Crash { status, log } = crash(case);
        assert_eq!(status.signal(), Some(signal), "{case}\n{log}");
        assert!(log.contains("=== KIVI BUG REPORT END"), "{case}\n{log}");
        assert_eq!(log.matches("BUG REPORT START").count(), 1, "{log}");
        // With a sanitizer it takes longer to find the names of functions than the crashed thread waits.
        let is_slow = cfg!(kivi_system_alloc);
        assert!(is_slow || !log.contains("did not come in time"), "{log}");
    }
}
