//! What transactions have the log repeat: one record each, and repeating it gives the same keyspace.

use super::fuzz::{fill, is_left_out, random_request};
use super::propagation::{Logged, is_on_keys, request_on_what_expires};
use crate::commands::Registered;
use crate::util::rng::Rng;

/// Runs lines in a transaction; what EXEC answers.
fn transaction(logged: &mut Logged, lines: &[&str]) -> String {
    let test = &mut logged.test;
    test.run("MULTI").is("+OK");
    for line in lines {
        test.run(line).is("+QUEUED");
    }
    test.run("EXEC").text()
}

#[track_caller]
fn logs(logged: &mut Logged, lines: &[&str], records: &[&str]) {
    transaction(logged, lines);
    assert_eq!(logged.records(), records, "{lines:?}");
}

#[test]
fn a_transaction_is_one_record() {
    let mut logged = Logged::new();
    let cut = |logged: &Logged| logged.test.session.server().keyspace.oplog.cut();
    // One write needs no frame.
    let lines = ["GET a", "SET a 1", "GET a", "DEL b", "LPUSH a x"];
    logs(&mut logged, &lines, &["SELECT 0", "SET a 1"]);
    logs(&mut logged, &["GET a", "DEL b"], &[]);
    let before = cut(&logged);
    let lines = [
        "INCR a",
        "LPUSH a x",
        "INCR b",
        "SELECT 3",
        "SET a 3",
        "SET c 4 EX 100",
    ];
    let records = [
        "MULTI",
        "INCR a",
        "INCR b",
        "SELECT 3",
        "SET a 3",
        "SET c 4 PXAT 1700000100000",
        "EXEC",
    ];
    logs(&mut logged, &lines, &records);
    assert_eq!(cut(&logged), before + 1);
    // The database goes on where the record has left it.
    logs(&mut logged, &["SET a 4"], &["SET a 4"]);
    logs(
        &mut logged,
        &["SADD s a", "SPOP s", "SELECT 0", "FLUSHALL", "FLUSHALL"],
        &[
            "MULTI", "SADD s a", "SREM s a", "SELECT 0", "FLUSHALL", "FLUSHALL", "EXEC",
        ],
    );
    logs(&mut logged, &["SET a 1", "DEBUG POPULATE 3"], &["SET a 1"]);
    logged.test.run("DEL key:0 key:1 key:2");
    logged.repeats();
}

#[test]
fn what_has_expired_goes_first() {
    let mut logged = Logged::new();
    logged.test.run("DEBUG SET-ACTIVE-EXPIRE 0");
    for line in ["SET a 1 PX 10", "SET b 1 PX 10", "SET w 1 PX 10", "WATCH w"] {
        logged.test.run(line).is("+OK");
    }
    logged.records();
    logged.test.clock.advance(10);
    // A watched one is looked at by EXEC itself.
    logs(&mut logged, &["SET a 2"], &["UNLINK w"]);
    logs(
        &mut logged,
        &["GET a", "LPUSH b x y", "SETEX b 0 v"],
        &["MULTI", "UNLINK a", "UNLINK b", "LPUSH b x y", "EXEC"],
    );
    logged.test.run("SET w 1 PX 10");
    logged.records();
    logged.test.clock.advance(10);
    // One that had expired already goes when it is watched.
    logged.logs("WATCH w", &["UNLINK w"]);
    assert_eq!(transaction(&mut logged, &["SET a 2"]), "*1 +OK");
    logged.repeats();
}

#[test]
fn whom_it_serves_is_logged_behind_it() {
    let mut logged = Logged::new();
    let mut blocked = logged.test.client();
    let waiter = blocked.blocks("BLPOP l 0");
    logs(
        &mut logged,
        &["RPUSH l a", "LPOP l"],
        &["SELECT 0", "MULTI", "RPUSH l a", "LPOP l", "EXEC"],
    );
    assert!(blocked.waited(&waiter).is_none());
    logs(
        &mut logged,
        &["RPUSH l a", "LPUSH l b", "SET k v"],
        &[
            "MULTI",
            "RPUSH l a",
            "LPUSH l b",
            "SET k v",
            "EXEC",
            "LPOP l",
        ],
    );
    blocked.waited(&waiter).unwrap().is("*2 $1 l $1 b");
    logged.repeats();
}

/// Random transactions, while keys and fields expire.
#[test]
fn whatever_a_transaction_does_can_be_repeated() {
    let mut rng = Rng::from_seed(0x5EED_0006);
    for _ in 0..3 {
        let mut logged = Logged::new();
        fill(&mut logged.test, false);
        logged.test.run("RPUSH l 0 1 2").is(":3");
        let table = logged.test.table.clone();
        let commands: Vec<&Registered> =
            table.commands().iter().filter(|c| is_on_keys(c)).collect();
        let mut ran = 0;
        for round in 0..600 {
            if round % 200 == 199 {
                logged.repeats();
            }
            logged.test.run("MULTI").is("+OK");
            for _ in 0..rng.below(8) {
                let command = commands[rng.index(commands.len())];
                let (request, fits) = match rng.below(2) {
                    0 => (request_on_what_expires(&mut rng), true),
                    _ => {
                        let request = random_request(&mut rng, command);
                        let fits = command.row.arity_fits(request.len());
                        (request, fits)
                    }
                };
                if fits && !is_left_out(&request) {
                    let args: Vec<&[u8]> = request.iter().map(|arg| &arg[..]).collect();
                    logged.test.args(&args);
                }
            }
            ran += logged.test.run("EXEC").text().starts_with('*') as usize;
            logged.test.clock.advance(rng.below(50));
        }
        logged.repeats();
        assert!(ran > 550, "{ran} were not refused");
    }
}
