//! SAVE and its like, DEBUG RELOAD, and what every command is told when something is wrong.

use crate::commands::tests::{START_MS, Test};
use crate::persist::state::{Job, JobEnd, JobKind, Marks};

/// A job of this kind runs until it is ended.
fn running(t: &Test, kind: JobKind) -> Job {
    t.session.server().persist.begin(kind, START_MS).unwrap()
}

fn end(t: &Test, job: &Job) {
    let persist = &t.session.server().persist;
    persist.end(job, JobEnd::Cancelled, 0, START_MS);
}

/// Waits for the background job.
fn wait(t: &Test) {
    t.session.server().persist.wait_until_free();
}

#[test]
fn arguments() {
    let mut t = Test::new();
    for (line, error) in [
        ("BGSAVE x", "-ERR syntax error"),
        ("BGSAVE SCHEDULE x", "-ERR syntax error"),
        ("BGSAVE CANCEL x", "-ERR syntax error"),
        (
            "SAVE x",
            "-ERR wrong number of arguments for 'save' command",
        ),
        (
            "LASTSAVE x",
            "-ERR wrong number of arguments for 'lastsave' command",
        ),
        (
            "BGREWRITEAOF x",
            "-ERR wrong number of arguments for 'bgrewriteaof' command",
        ),
        (
            "BGSAVE CANCEL",
            "-ERR Background saving is currently not in progress or scheduled",
        ),
        (
            "DEBUG RELOAD x",
            "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
        ),
    ] {
        t.run(line).is(error);
    }
}

#[test]
fn a_save_is_there_when_it_is_answered() {
    let mut t = Test::new();
    t.run("SET a 1").is("+OK");
    t.run("LASTSAVE").is(":1700000000");
    t.clock.advance(7000);
    t.run("SAVE").is("+OK");
    t.run("LASTSAVE").is(":1700000007");
    t.run("SET a 2").is("+OK");
    t.run("DEBUG RELOAD NOSAVE").is("+OK");
    t.run("GET a").is("$1 1");
}

#[test]
fn a_background_save_ends_some_time() {
    let mut t = Test::new();
    t.run("RPUSH list 1 2 3").is(":3");
    t.run("SELECT 9").is("+OK");
    t.run("SET other x PX 100000").is("+OK");
    t.clock.advance(3000);
    t.run("BGSAVE").is("+Background saving started");
    wait(&t);
    t.run("LASTSAVE").is(":1700000003");
    t.run("FLUSHDB").is("+OK");
    t.run("BGSAVE SCHEDULE").is("+Background saving started");
    wait(&t);
    t.run("SET new 1").is("+OK");
    t.run("DEBUG RELOAD NOSAVE").is("+OK");
    t.run("DBSIZE").is(":0");
    t.run("SELECT 0").is("+OK");
    t.run("LRANGE list 0 -1").is("*3 $1 1 $1 2 $1 3");
}

#[test]
fn only_one_job_at_a_time() {
    let mut t = Test::new();
    const IN_PROGRESS: &str = "-ERR Background save already in progress";
    let job = running(&t, JobKind::BgSave);
    for line in ["SAVE", "BGSAVE", "BGSAVE SCHEDULE"] {
        t.run(line).is(IN_PROGRESS);
    }
    t.run("BGREWRITEAOF")
        .is("+Background append only file rewriting scheduled");
    assert!(t.session.server().persist.book().is_rewrite_scheduled);
    t.run("BGSAVE CANCEL").is("+Background saving cancelled");
    end(&t, &job);
    let job = running(&t, JobKind::Save);
    for line in ["SAVE", "BGSAVE"] {
        t.run(line).is(IN_PROGRESS);
    }
    end(&t, &job);
    let job = running(&t, JobKind::AofRewrite);
    t.run("BGSAVE").is(
        "-ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE \
         SCHEDULE in order to schedule a BGSAVE whenever possible.",
    );
    t.run("BGREWRITEAOF")
        .is("-ERR Background append only file rewriting already in progress");
    t.run("BGSAVE SCHEDULE").is("+Background saving scheduled");
    t.run("BGSAVE CANCEL")
        .is("+Scheduled background saving cancelled");
    t.run("BGSAVE CANCEL")
        .is("-ERR Background saving is currently not in progress or scheduled");
    end(&t, &job);
}

const MISCONF: &str = "-MISCONF Redis is configured to save RDB snapshots, but it's currently \
    unable to persist to disk. Commands that may modify the data set are disabled, because this \
    instance is configured to report errors during writes if RDB snapshotting fails \
    (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
    error.";

#[test]
fn writes_are_refused_after_a_background_save_failed() {
    let mut t = Test::broken(&["--save", "900 1"]);
    t.run("SET a 1").is("+OK");
    // A save that somebody has waited for does not count.
    t.run("SAVE").is("-ERR");
    t.run("SET a 2").is("+OK");
    t.run("BGSAVE").is("+Background saving started");
    wait(&t);
    for line in ["SET a 3", "DEL a", "PING", "FLUSHALL", "EXPIRE nokey 1"] {
        t.run(line).is(MISCONF);
    }
    t.run("GET a").is("$1 2");
    t.run("ECHO x").is("$1 x");
    let info = t.run("INFO persistence").text();
    assert!(info.contains("rdb_last_bgsave_status:err"), "{info}");
    // The rule does not hold without save points, or when it is switched off.
    t.run("CONFIG SET save \"\"").is("+OK");
    t.run("SET a 4").is("+OK");
    t.run("CONFIG SET save \"1 1\"").is("+OK");
    t.run("PING").is(MISCONF);
    t.run("CONFIG SET stop-writes-on-bgsave-error no").is("+OK");
    t.run("SET a 5").is("+OK");
    t.run("PING").is("+PONG");
}

#[test]
fn writes_are_refused_when_the_log_fails() {
    let mut t = Test::with(&["--appendonly", "yes", "--save", ""]);
    let persist = &t.session.server().clone().persist;
    persist.book().aof_error = "No space left on device".to_owned();
    persist.mark(Marks::AOF_FAILED, true);
    const FULL: &str = "-MISCONF Errors writing to the AOF file: No space left on device";
    for line in ["SET a 1", "PING"] {
        t.run(line).is(FULL);
    }
    t.run("GET a").is("$-1");
    persist.mark(Marks::AOF_FAILED, false);
    t.run("SET a 1").is("+OK");
}

#[test]
fn most_commands_wait_for_the_dataset() {
    let mut t = Test::new();
    let persist = &t.session.server().clone().persist;
    persist.mark(Marks::LOADING, true);
    const LOADING: &str = "-LOADING Redis is loading the dataset in memory";
    for line in [
        "PING",
        "GET a",
        "SET a 1",
        "SAVE",
        "BGSAVE",
        "BGREWRITEAOF",
        "DBSIZE",
        "CONFIG SET appendonly no",
        "CONFIG SET hz 10 dir /",
    ] {
        t.run(line).is(LOADING);
    }
    t.run("ECHO x").is("$1 x");
    t.run("LASTSAVE").is(":1700000000");
    t.run("SELECT 1").is("+OK");
    t.run("CONFIG SET hz 10").is("+OK");
    t.run("SHUTDOWN ABORT").is("-ERR No shutdown in progress.");
    // A write that could not be kept is told so first, as in Redis.
    persist.mark(Marks::RDB_FAILED, true);
    t.run("SET a 1").is(MISCONF);
    t.run("GET a").is(LOADING);
    persist.mark(Marks::RDB_FAILED, false);
    persist.mark(Marks::LOADING, false);
    t.run("PING").is("+PONG");
}

#[test]
fn a_shutdown_while_loading_saves_nothing() {
    let mut t = Test::new();
    let server = t.session.server().clone();
    server.persist.mark(Marks::LOADING, true);
    t.run("SHUTDOWN SAVE").is("");
    assert_eq!(server.persist.book().saves, 0);
    let stop = &server.persist.loading.stop;
    assert!(stop.load(std::sync::atomic::Ordering::Relaxed));
}

#[test]
fn reload_merges_or_refuses() {
    let mut t = Test::new();
    t.run("MSET a file b file").is("+OK");
    t.run("SAVE").is("+OK");
    t.run("MSET b memory c memory").is("+OK");
    t.run("DEBUG RELOAD NOSAVE NOFLUSH")
        .is("-ERR Error trying to load the RDB dump, check server logs.");
    t.run("DEBUG RELOAD NOSAVE NOFLUSH MERGE").is("+OK");
    t.run("MGET a b c").is("*3 $4 file $4 file $6 memory");
    t.run("DEBUG RELOAD").is("+OK");
    t.run("MGET a b c").is("*3 $4 file $4 file $6 memory");
    t.run("DEBUG RELOAD NOSAVE nosave").is("+OK");
    t.run("DBSIZE").is(":3");
}

#[test]
fn reload_without_a_place_to_save() {
    let mut t = Test::broken(&["--enable-debug-command", "yes"]);
    t.run("SET a 1").is("+OK");
    t.run("DEBUG RELOAD").is("-ERR");
    t.run("GET a").is("$1 1");
    t.run("PING").is("+PONG");
}

#[test]
fn expired_keys_are_not_loaded() {
    let mut t = Test::new();
    t.run("SET soon 1 PX 100").is("+OK");
    t.run("SET later 1 PX 100000").is("+OK");
    t.run("SAVE").is("+OK");
    t.clock.advance(101);
    t.run("DEBUG RELOAD NOSAVE").is("+OK");
    t.run("DBSIZE").is(":1");
    t.run("PTTL later").is(":99899");
    let info = t.run("INFO persistence").text();
    assert!(info.contains("rdb_last_load_keys_expired:1"), "{info}");
    assert!(info.contains("rdb_last_load_keys_loaded:1"), "{info}");
}
