//! The log of a server in the process, on a disk in memory: switched on and off, rewritten, loaded by
//! the next server.

use std::sync::Arc;

use super::*;
use crate::commands::CommandTable;
use crate::commands::tests::{Test, data_dir};
use crate::config::ShutdownFlags;
use crate::exec::load;
use crate::persist::disk::Disk;
use crate::persist::disk::fake::{FakeDisk, Fault, FaultKind};
use crate::server::saving::ShutdownFailed;

const LOGGED: [&str; 4] = ["--appendonly", "yes", "--save", ""];

fn disk() -> FakeDisk {
    FakeDisk::new(&data_dir())
}

/// A server that loads what is on the disk, and logs if it is told to.
fn start(args: &[&str], disk: &FakeDisk) -> Test {
    let t = Test::on(args, disk);
    let table = Arc::new(CommandTable::new(&[]).unwrap());
    assert_eq!(load::at_start(t.session.server(), &table), Ok(()));
    t
}

/// Every later operation of the disk fails.
fn break_disk(disk: &FakeDisk) {
    disk.fail(Some(Fault {
        at: disk.operations(),
        count: u64::MAX,
        kind: FaultKind::NoSpace,
    }));
}

fn stop(t: &Test) {
    close(t.session.server());
}

#[test]
fn what_is_logged_is_there_at_the_next_start() {
    for preamble in ["yes", "no"] {
        let disk = disk();
        let args = [&LOGGED[..], &["--aof-use-rdb-preamble", preamble]].concat();
        let mut t = start(&args, &disk);
        t.run("SET a 1").is("+OK");
        t.run("SADD s x y z").is(":3");
        t.run("BGREWRITEAOF")
            .is("+Background append only file rewriting started");
        t.run("SET b 2").is("+OK");
        t.session.server().persist.wait_until_free();
        t.run("DEL s").is(":1");
        stop(&t);
        let mut t = start(&args, &disk);
        t.run("MGET a b s").is("*3 $1 1 $1 2 $-1");
        t.run("DBSIZE").is(":2");
        assert!(
            t.session
                .server()
                .persist
                .book()
                .last_rewrite_took_secs
                .is_none()
        );
        stop(&t);
    }
}

#[test]
fn a_log_that_is_switched_on_holds_what_there_was() {
    let disk = disk();
    let mut t = start(&["--save", ""], &disk);
    let server = t.session.server().clone();
    let config = server.config();
    t.run("SET before 1").is("+OK");
    assert_eq!(switch_on(&server, &config), Ok(()));
    server.persist.wait_until_free();
    t.run("SET after 1").is("+OK");
    switch_off(&server);
    t.run("SET unlogged 1").is("+OK");
    // Once more, with what was not logged.
    let mut other = start(&LOGGED, &disk);
    other
        .run("MGET before after unlogged")
        .is("*3 $1 1 $1 1 $-1");
    stop(&other);
    assert_eq!(switch_on(&server, &config), Ok(()));
    server.persist.wait_until_free();
    stop(&t);
    let mut other = start(&LOGGED, &disk);
    other.run("DBSIZE").is(":3");
    stop(&other);
}

/// CONFIG SET dir between appendonly no and yes: a restart there finds the log.
#[test]
fn a_log_that_is_off_moves_with_the_directory() {
    let disk = disk();
    let mut t = start(&["--save", ""], &disk);
    let server = t.session.server().clone();
    let first = server.config();
    let mut second = (*first).clone();
    second.dir = first.dir.join("second");
    disk.create_dir(&second.dir).unwrap();
    let log_in = |config: &Config| {
        let name = format!("{}.manifest", config.appendfilename);
        disk.content(&config.dir.join(&config.appenddirname).join(name))
    };
    t.run("SET a 1").is("+OK");
    assert_eq!(switch_on(&server, &first), Ok(()));
    server.persist.wait_until_free();
    switch_off(&server);
    let former = log_in(&first);
    assert!(former.is_some() && log_in(&second).is_none());
    assert_eq!(switch_on(&server, &second), Ok(()));
    server.persist.wait_until_free();
    let aof = server.persist.aof().unwrap();
    assert_eq!(aof.state(), AofState::On);
    t.run("SET b 1").is("+OK");
    aof.flush(&server.keyspace.oplog).unwrap();
    assert_eq!(aof.current_bytes(), aof.total_bytes());
    stop(&t);
    assert_eq!(log_in(&first), former);
    let moved = log_in(&second).unwrap();
    assert_eq!(String::from_utf8(moved).unwrap().lines().count(), 2);
}

/// BGREWRITEAOF and CONFIG SET appendonly no at the same time.
#[test]
fn a_log_that_is_switched_off_is_not_rewritten_any_more() {
    let disk = disk();
    let mut t = start(&LOGGED, &disk);
    let server = t.session.server().clone();
    t.run("SET a 1").is("+OK");
    let aof = server.persist.aof().unwrap();
    let job = server.persist.begin(JobKind::AofRewrite, 0).unwrap();
    let rewrite = aof.begin_rewrite().unwrap();
    std::thread::scope(|scope| {
        let off = scope.spawn(|| switch_off(&server));
        while aof.state() != AofState::Off {
            std::thread::yield_now();
        }
        assert!(!off.is_finished(), "it waits for the rewrite");
        t.run("SET b 1").is("+OK");
        scope.spawn(|| run(&server, &aof, rewrite, &job));
    });
    assert!(!server.keyspace.oplog.is_on());
    assert_eq!(server.persist.book().running(), None);
    t.run("SET c 1").is("+OK");
    stop(&t);
    let mut other = start(&LOGGED, &disk);
    other.run("MGET a b c").is("*3 $1 1 $1 1 $-1");
    stop(&other);
}

#[test]
fn a_log_that_cannot_be_made_is_told() {
    let disk = disk();
    let mut t = start(&["--save", ""], &disk);
    let server = t.session.server().clone();
    break_disk(&disk);
    let told = "Unable to turn on AOF. Check server logs.";
    assert_eq!(switch_on(&server, &server.config()), Err(told.to_owned()));
    assert_eq!(server.persist.aof().unwrap().state(), AofState::Off);
    assert_eq!(server.persist.book().running(), None);
    assert!(!server.persist.book().is_rewrite_scheduled);
    // Nothing waits for a log that is not there.
    t.run("SET a 1").is("+OK");
    assert_eq!(prepare_shutdown(&server, false), Ok(()));
    disk.fail(None);
    assert_eq!(switch_on(&server, &server.config()), Ok(()));
    server.persist.wait_until_free();
    assert_eq!(server.persist.aof().unwrap().state(), AofState::On);
    stop(&t);
}

#[test]
fn a_rewrite_without_a_log_leaves_one() {
    let disk = disk();
    let mut t = start(&["--save", ""], &disk);
    t.run("SET a 1").is("+OK");
    t.run("BGREWRITEAOF")
        .is("+Background append only file rewriting started");
    t.session.server().persist.wait_until_free();
    let mut other = start(&LOGGED, &disk);
    other.run("GET a").is("$1 1");
    stop(&other);
}

/// A server whose log waits for its first rewrite.
fn waiting(disk: &FakeDisk) -> (Test, Arc<Aof>) {
    let t = start(&["--save", ""], disk);
    let server = t.session.server();
    let aof = open(server, &server.config()).unwrap();
    start_thread(server, &aof).unwrap();
    aof.switch_on();
    (t, aof)
}

/// Otherwise nobody would ever begin it.
#[test]
fn a_first_rewrite_that_does_not_begin_stays_scheduled() {
    let disk = disk();
    let (t, aof) = waiting(&disk);
    let server = t.session.server();
    server.persist.book().is_rewrite_scheduled = true;
    break_disk(&disk);
    tick(server);
    assert_eq!(server.persist.book().running(), None);
    assert_eq!(aof.state(), AofState::WaitRewrite);
    disk.fail(None);
    tick(server);
    server.persist.wait_until_free();
    assert_eq!(aof.state(), AofState::On);
    assert!(!server.persist.book().is_rewrite_scheduled);
    stop(&t);
}

#[test]
fn a_first_rewrite_that_was_cancelled_is_begun_again() {
    let disk = disk();
    let (t, aof) = waiting(&disk);
    let server = t.session.server();
    let job = server.persist.begin(JobKind::AofRewrite, 0).unwrap();
    assert!(server.persist.cancel(JobKind::AofRewrite));
    let rewrite = aof.begin_rewrite().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| run(server, &aof, rewrite, &job));
    });
    assert_eq!(aof.state(), AofState::WaitRewrite);
    tick(server);
    server.persist.wait_until_free();
    assert_eq!(aof.state(), AofState::On);
    stop(&t);
}

/// The first BASE is what there was before the log: without it the dataset would be lost.
#[test]
fn a_shutdown_waits_for_the_first_base() {
    let disk = disk();
    let t = start(&["--save", ""], &disk);
    let server = t.session.server().clone();
    let aof = open(&server, &server.config()).unwrap();
    aof.switch_on();
    let refused = saving::shutdown(&server, ShutdownFlags::default());
    assert_eq!(refused, Err(ShutdownFailed));
    assert_eq!(server.lifecycle(), Lifecycle::Running);
    let force = ShutdownFlags {
        force: true,
        ..ShutdownFlags::default()
    };
    assert_eq!(saving::shutdown(&server, force), Ok(()));
    assert_eq!(server.lifecycle(), Lifecycle::Stopping);
}

#[test]
fn the_cron_begins_what_is_scheduled_or_due() {
    let disk = disk();
    let args = [&LOGGED[..], &["--auto-aof-rewrite-min-size", "1000"]].concat();
    let mut t = start(&args, &disk);
    let server = t.session.server().clone();
    tick(&server);
    server.persist.wait_until_free();
    assert_eq!(server.persist.book().rewrites, 0, "nothing is due");
    server.persist.book().is_rewrite_scheduled = true;
    tick(&server);
    server.persist.wait_until_free();
    assert_eq!(server.persist.book().rewrites, 1);
    assert!(!server.persist.book().is_rewrite_scheduled);
    let value = "x".repeat(2000);
    t.run(&format!("SET a {value}")).is("+OK");
    let aof = server.persist.aof().unwrap();
    aof.flush(&server.keyspace.oplog).unwrap();
    tick(&server);
    server.persist.wait_until_free();
    assert_eq!(server.persist.book().rewrites, 2, "it has grown");
    stop(&t);
}

#[test]
fn writes_are_refused_as_long_as_the_disk_is_full() {
    let disk = disk();
    let mut t = start(&LOGGED, &disk);
    let server = t.session.server().clone();
    t.run("SET a 1").is("+OK");
    let aof = server.persist.aof().unwrap();
    aof.flush(&server.keyspace.oplog).unwrap();
    break_disk(&disk);
    t.run("SET a 2").is("+OK");
    assert!(aof.flush(&server.keyspace.oplog).is_err());
    // Told by the log's thread right after the failure.
    while !server.persist.marks().has(Marks::AOF_FAILED) {
        std::thread::yield_now();
    }
    t.run("SET a 3")
        .is("-MISCONF Errors writing to the AOF file: No space left on device");
    t.run("GET a").is("$1 2");
    disk.fail(None);
    while server.persist.marks().has(Marks::AOF_FAILED) {
        std::thread::yield_now();
    }
    t.run("SET a 4").is("+OK");
    stop(&t);
    let mut other = start(&LOGGED, &disk);
    other.run("GET a").is("$1 4");
    stop(&other);
}
