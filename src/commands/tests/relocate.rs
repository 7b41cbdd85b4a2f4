//! Moving the dataset in memory changes nothing that can be seen: two servers do the same, one of which
//! moves everything again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Test;
use super::snapshot::{EVERYTHING_LARGE, change};
use crate::db::defrag::{DefragStats, Settings};
use crate::util::rng::Rng;

#[test]
fn nothing_changes_when_everything_is_moved() {
    for seed in 0..8 {
        let mut args = vec!["--enable-debug-command", "yes"];
        if seed % 2 == 1 {
            args.extend(EVERYTHING_LARGE);
        }
        let (mut still, mut moving) = (Test::with(&args), Test::with(&args));
        let mut rngs = [Rng::from_seed(seed), Rng::from_seed(seed)];
        for number in 0..400 {
            let line = ["RPUSH L", "SADD T", "ZADD Z", "HSET H", "XADD X"][number % 5];
            let line = match number % 5 {
                2 => format!("{line} {} member:{number}", number % 37),
                3 => format!("{line} field:{number} {number}"),
                4 => format!("{line} {number}-1 f {number}"),
                _ => format!("{line} element:{number}"),
            };
            let expected = still.run(&line).text();
            moving.run(&line).is(&expected);
        }
        let long = "x".repeat(20_000);
        still.run(&format!("SET S {long}")).is("+OK");
        moving.run(&format!("SET S {long}")).is("+OK");
        for round in 0..30 {
            for _ in 0..30 {
                change(&mut still, &mut rngs[0]);
                change(&mut moving, &mut rngs[1]);
            }
            moving.session.server().keyspace.relocate_all();
            let expected = still.run("DEBUG DIGEST").text();
            moving.run("DEBUG DIGEST").is(&expected);
            for line in [
                "ZRANGE z1 0 -1 WITHSCORES",
                "ZRANK Z member:7",
                "XINFO STREAM X FULL",
            ] {
                let expected = still.run(line).text();
                assert_eq!(moving.run(line).text(), expected, "round {round}");
            }
        }
    }
}

/// The thread itself, over strings and a large collection, until it has moved what is left of them.
#[test]
fn the_thread_moves_what_lies_badly() {
    let mut test = Test::new();
    let value = vec![b'v'; 5000];
    for number in 0..1500 {
        let key = format!("key:{number}");
        test.args(&[b"SET", key.as_bytes(), &value]).is("+OK");
        let field = number.to_string();
        test.args(&[b"HSET", b"hash", field.as_bytes(), &value[..3000]])
            .is(":1");
    }
    for number in (0..1500).filter(|number| number % 10 != 0) {
        test.run(&format!("DEL key:{number}")).is(":1");
        test.run(&format!("HDEL hash {number}")).is(":1");
    }
    let digest = test.run("DEBUG DIGEST").text();
    let server = test.session.server().clone();
    let keyspace = &server.keyspace;
    let is_stopped = AtomicBool::new(false);
    let elements_max = 10;
    keyspace.defrag.set(Settings {
        is_on: true,
        cycle_min_percent: 99,
        cycle_max_percent: 99,
        cycle_us: 1000,
        elements_max,
        ..Settings::default()
    });
    std::thread::scope(|scope| {
        scope.spawn(|| keyspace.defrag_forever(|| is_stopped.load(Ordering::Relaxed)));
        let deadline = Instant::now() + Duration::from_secs(60);
        // Every key was looked at, some were moved, and fields of the hash besides them. How many, other tests have a
        // part in.
        let is_done = || {
            let stats = keyspace.defrag.stats();
            let looked_at = stats.key_hits + stats.key_misses;
            looked_at > 150 && stats.key_hits > 0 && stats.hits > stats.key_hits
        };
        while !is_done() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        is_stopped.store(true, Ordering::Relaxed);
        keyspace.defrag.wake();
        assert!(is_done(), "{:?}", keyspace.defrag.stats());
    });
    assert_eq!(keyspace.defrag.stats().running_percent, 0);
    test.run("DEBUG DIGEST").is(&digest);
    test.run("CONFIG RESETSTAT").is("+OK");
    assert_eq!(keyspace.defrag.stats(), DefragStats::default());
}
