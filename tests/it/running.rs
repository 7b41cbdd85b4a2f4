//! What those who run a server rely on: reports of crashes, rotation of logs, where threads run and how the
//! kernel chooses its victims, the check of what another server has left, and the files of packages.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::client::{Client, encode};
use crate::harness::{Launch, Server, eventually, is_stand_in, kivi_to_end, send_signal, tail};

const SIGSEGV: i32 = 11;
const SIGABRT: i32 = 6;

/// Starts a server that leaves no core dump, with a log and a pid file of its own.
fn mortal(args: &[&str]) -> Server {
    let own = [
        "--logfile",
        "server.log",
        "--pidfile",
        "server.pid",
        "--enable-debug-command",
        "yes",
    ];
    Launch {
        args: &[&own, args].concat(),
        through: &["sh", "-c", "ulimit -c 0; exec \"$@\"", "sh"],
        ..Launch::KIVI
    }
    .start()
}

fn log_of(server: &Server) -> String {
    std::fs::read_to_string(server.dir.path().join("server.log")).unwrap_or_default()
}

/// Has a client send what ends the server; how that has ended.
fn die(server: &mut Server, request: &[&str]) -> ExitStatus {
    let mut client = server.connect();
    client.cmd(&["SET", "topsecretkey", "topsecretvalue"]);
    client.send(&encode(request));
    server.wait_exit()
}

#[test]
fn a_crash_leaves_a_report_and_dies_of_its_signal() {
    if is_stand_in() {
        return;
    }
    let mut server = mortal(&["--debug-context", "the context", "--requirepass", "hunter2"]);
    let pid_file = server.dir.path().join("server.pid");
    assert!(pid_file.exists());
    let mut client = server.connect();
    client.cmd(&["AUTH", "hunter2"]);
    client.cmd(&["SET", "topsecretkey", "topsecretvalue"]);
    client.send(&encode(&["DEBUG", "SEGFAULT"]));
    assert_eq!(server.wait_exit().signal(), Some(SIGSEGV));
    let log = log_of(&server);
    for text in [
        "=== KIVI BUG REPORT START",
        "crashed by signal: 11 (SIGSEGV)",
        "Thread: kivi-io-",
        "Command: debug\n",
        "Arguments: 2, not shown\n",
        "Debug context: the context\n",
        "------ STACK TRACE ------",
        "kivi::commands::debug::debug",
        "------ CURRENT CLIENT ------",
        "laddr=127.0.0.1:",
        "------ INFO OUTPUT ------",
        "used_memory_human:",
        "cmdstat_set:",
        "=== KIVI BUG REPORT END",
    ] {
        assert!(log.contains(text), "{text:?} is missing:\n{log}");
    }
    for secret in ["topsecret", "hunter2"] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
    assert!(!pid_file.exists(), "the pid file is removed");
}

#[test]
fn a_panic_is_reported_too() {
    if is_stand_in() {
        return;
    }
    let mut server = mortal(&["--hide-user-data-from-log", "no"]);
    assert_eq!(
        die(&mut server, &["DEBUG", "PANIC"]).signal(),
        Some(SIGABRT)
    );
    let log = log_of(&server);
    assert!(
        log.contains("crashed by a panic\nGuru Meditation: DEBUG PANIC called"),
        "{log}"
    );
    assert!(log.contains("argv[1]: \"PANIC\""), "{log}");
    assert!(log.contains("=== KIVI BUG REPORT END"), "{log}");

    let mut server = mortal(&["--use-exit-on-panic", "yes"]);
    assert_eq!(die(&mut server, &["DEBUG", "ASSERT"]).code(), Some(1));
    assert!(log_of(&server).contains("=== KIVI BUG REPORT END"));
}

#[test]
fn reports_can_be_switched_off_and_on() {
    if is_stand_in() {
        return;
    }
    let mut server = mortal(&["--crash-log-enabled", "no"]);
    assert_eq!(
        die(&mut server, &["DEBUG", "SEGFAULT"]).signal(),
        Some(SIGSEGV)
    );
    assert!(!log_of(&server).contains("BUG REPORT"));

    let mut server = mortal(&["--crash-log-enabled", "no"]);
    let set = server
        .connect()
        .raw(&["CONFIG", "SET", "crash-log-enabled", "yes"]);
    assert_eq!(set, b"+OK\r\n");
    // From another process, which hits any thread.
    send_signal(server.pid(), "SEGV");
    assert_eq!(server.wait_exit().signal(), Some(SIGSEGV));
    let log = log_of(&server);
    assert!(
        log.contains("Sent by process ") && log.contains("Command: none\n"),
        "{log}"
    );
}

#[test]
fn the_log_can_be_moved_away_and_signals_are_taken() {
    if is_stand_in() {
        return;
    }
    let mut server = mortal(&[]);
    for signal in ["USR1", "HUP"] {
        let (log, old) = (
            server.dir.path().join("server.log"),
            server.dir.path().join("old.log"),
        );
        std::fs::rename(&log, &old).expect("moving the log");
        send_signal(server.pid(), signal);
        let said = format!("Received SIG{signal}");
        eventually("a line in the new log", || {
            tail(&log).contains(&said).then_some(())
        });
        assert!(!tail(&old).contains(&said));
        server.assert_alive();
    }
}

/// The order in which a server with some keys scans them.
fn order(args: &[&str]) -> Vec<u8> {
    let server = Server::kivi(args);
    let mut client = server.connect();
    for number in 0..100 {
        client.cmd(&["SET", &format!("key:{number}"), "x"]);
    }
    client.raw(&["SCAN", "0", "COUNT", "1000"]).to_vec()
}

#[test]
fn servers_with_one_seed_have_one_order() {
    if is_stand_in() {
        return;
    }
    let one = order(&["--hash-seed", "one"]);
    assert_eq!(order(&["--hash-seed", "one"]), one);
    assert_ne!(order(&["--hash-seed", "two"]), one);
    assert_ne!(order(&[]), one);
}

fn status_of(path: &Path, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(path.join("status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Where the threads with this beginning of a name may run.
fn processors(server: &Server, thread: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("threads");
    let paths: Vec<PathBuf> = tasks.map(|task| task.expect("a thread").path()).collect();
    let is = |path: &&PathBuf| status_of(path, "Name").is_some_and(|name| name.starts_with(thread));
    let threads = paths.iter().filter(is);
    threads
        .filter_map(|path| status_of(path, "Cpus_allowed_list"))
        .collect()
}

#[test]
fn threads_run_where_the_lists_say() {
    if is_stand_in() {
        return;
    }
    let free = Server::kivi(&["--server-cpulist", "1-0,nonsense", "--appendonly", "yes"]);
    assert!(
        free.log()
            .contains("server-cpulist '1-0,nonsense' is no list of processors")
    );
    let anywhere = processors(&free, "kivi-io").remove(0);
    let server = Server::kivi(&[
        "--server-cpulist",
        "0",
        "--appendonly",
        "yes",
        "--io-threads",
        "2",
    ]);
    assert_eq!(processors(&server, "kivi-io"), ["0", "0"]);
    assert_eq!(processors(&server, "kivi-expire"), ["0"]);
    assert_eq!(processors(&server, "kivi-aof"), [&*anywhere, &*anywhere]);
    let server = Server::kivi(&[
        "--bio-cpulist",
        "0",
        "--appendonly",
        "yes",
        "--io-threads",
        "1",
    ]);
    assert_eq!(processors(&server, "kivi-io"), [anywhere]);
    assert_eq!(processors(&server, "kivi-aof"), ["0", "0"]);
}

#[test]
fn the_kernel_is_told_whom_to_kill() {
    if is_stand_in() {
        return;
    }
    let args = [
        "--oom-score-adj",
        "yes",
        "--oom-score-adj-values",
        "50 60 70",
    ];
    let server = Server::kivi(&args);
    let file = format!("/proc/{}/oom_score_adj", server.pid());
    let score = || {
        let text = std::fs::read_to_string(&file).expect("oom_score_adj");
        text.trim().parse::<i32>().expect("a number")
    };
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").expect("oom_score_adj");
    let base: i32 = own.trim().parse().expect("a number");
    assert_eq!(score(), (base + 50).min(1000));
    let mut client = server.connect();
    let mut set = |args: &[&str]| client.raw(&[&["CONFIG", "SET"], args].concat());
    let absolute = [
        "oom-score-adj",
        "absolute",
        "oom-score-adj-values",
        "1500 1600 1700",
    ];
    assert_eq!(set(&absolute), b"+OK\r\n");
    assert_eq!(score(), 1000);
    assert_eq!(set(&["oom-score-adj-values", "900 800 700"]), b"+OK\r\n");
    assert_eq!(score(), 900);
    assert_eq!(set(&["oom-score-adj", "no"]), b"+OK\r\n");
    assert_eq!(score(), base);
    assert!(
        server
            .log()
            .contains("may not work for non-privileged processes")
    );
}

/// Fills a server with a bit of everything that a log and a snapshot may hold.
fn fill(client: &mut Client) {
    for line in [
        "SET s v",
        "SET t v EX 1000",
        "RPUSH l a b c",
        "SADD set a b 1",
        "ZADD z 1 a 2 b",
        "HSET h f v g w",
        "XADD x * f v",
        "XGROUP CREATE x g 0",
        "XREADGROUP GROUP g c STREAMS x >",
        "SETBIT bits 7 1",
        "PFADD hll a b",
        "GEOADD geo 13.361389 38.115556 Palermo",
        "SPOP set",
        "BITFIELD bf SET u8 0 255",
        "EVAL redis.call('set',KEYS[1],'x')return(1) 1 e",
        "SELECT 3",
        "SET other v",
        "DEL nothing",
        "PEXPIRE other 100000",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        client.cmd(&words);
    }
}

fn check_compat(dir: &Path, path: &Path) -> (Option<i32>, String) {
    let path = path.to_str().expect("utf-8");
    let output = kivi_to_end(dir, &["--check-compat", path], &[], b"");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// What real servers have written is accepted, whole: a folder with a log whose base is a snapshot, and
/// a snapshot alone.
#[test]
fn files_of_other_servers_are_accepted() {
    if is_stand_in() {
        return;
    }
    for start in [Server::redis, Server::valkey, Server::redis_8] {
        let Some(server) = start(&["--appendonly", "yes"]) else {
            continue;
        };
        let name = server.name;
        let mut client = server.connect();
        fill(&mut client);
        client.cmd(&["SAVE"]);
        client.cmd(&["BGREWRITEAOF"]);
        eventually("the end of the rewrite", || {
            let info = client.cmd(&["INFO", "persistence"]).text();
            let idle = info.contains("aof_rewrite_in_progress:0")
                && info.contains("aof_rewrite_scheduled:0");
            idle.then_some(())
        });
        client.cmd(&["SELECT", "0"]);
        fill(&mut client);
        let dir = server.dir.path();
        let (code, said) = check_compat(dir, dir);
        assert_eq!(code, Some(0), "{name}: {said}");
        assert!(said.contains("Everything is accepted."), "{name}: {said}");
        assert!(said.contains("appendonly.aof.manifest"), "{name}: {said}");
        assert!(said.contains("keys in its snapshot"), "{name}: {said}");
        let (code, said) = check_compat(dir, &dir.join("dump.rdb"));
        assert_eq!(code, Some(0), "{name}: {said}");
        assert!(said.contains(" of type string"), "{name}: {said}");
    }
}

#[test]
fn what_is_not_accepted_is_told_with_its_place() {
    if is_stand_in() {
        return;
    }
    let dir = tempfile::tempdir().expect("folder");
    let conf = dir.path().join("keydb.conf");
    let text = "port 6379\nserver-threads 4\nactive-replica yes\nmaxmemory lots\nreplicaof h 1\n";
    std::fs::write(&conf, text).expect("writing");
    let (code, said) = check_compat(dir.path(), &conf);
    assert_eq!(code, Some(1), "{said}");
    for line in [
        "unknown directive 'server-threads': KeyDB: `io-threads`",
        "unknown directive 'active-replica'",
        "'maxmemory' is refused",
        "'replicaof' has no effect yet",
        "keydb.conf, line 4",
        "4 kinds of faults.",
    ] {
        assert!(said.contains(line), "{line:?} is missing:\n{said}");
    }
    let (code, said) = check_compat(dir.path(), &dir.path().join("nothing"));
    assert_eq!(code, Some(1));
    assert!(
        said.contains("it cannot be read: No such file or directory (/")
            && said.contains("/nothing)"),
        "{said}"
    );
}

/// The configuration that packages install, the unit's arguments, and that the unit starts what the
/// package installs.
#[test]
fn the_packages_configuration_is_good() {
    if is_stand_in() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("packaging/kivi.conf")).expect("the file");
    // Its folders are those of an installed system.
    let dir = tempfile::tempdir().expect("folder");
    let conf = dir.path().join("kivi.conf");
    let mut here = text.clone();
    for folder in ["/var/lib/kivi", "/var/log/kivi"] {
        assert!(text.contains(folder));
        here = here.replace(folder, dir.path().to_str().expect("utf-8"));
    }
    std::fs::write(&conf, here).expect("writing");
    let args = [conf.to_str().expect("utf-8"), "--check-config"];
    let output = kivi_to_end(dir.path(), &args, &[], b"");
    assert_eq!(output.stdout, b"Configuration OK\n", "{output:?}");
    let unit = root.join("packaging/systemd/kivi.service");
    let unit = std::fs::read_to_string(unit).expect("the unit");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("\"packaging/kivi.conf\", \"etc/kivi/kivi.conf\""));
    assert!(
        unit.contains("ExecStart=/usr/bin/kivi-server /etc/kivi/kivi.conf --supervised systemd")
    );
    for line in [
        "Type=notify",
        "User=kivi",
        "StateDirectory=kivi",
        "LogsDirectory=kivi",
    ] {
        assert!(unit.contains(line), "{line}");
    }
}
