//! Books against fresh counts: while they are being made, whatever happens meanwhile.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::commands::tests::Test;
use crate::db::expire::Pass;
use crate::util::rng::Rng;

/// Shards with more keys are not looked at after each command of all tests.
const CHECKED_KEYS_MAX: usize = 32;

impl Keyspace {
    /// Asserts that the books of all shards that nobody holds say what a fresh walk does.
    pub(crate) fn check_sizes(&self, keys_max: usize) {
        for id in self.shard_ids() {
            let Some(data) = self.try_claim(id) else {
                continue;
            };
            let keys: usize = data.tables.iter().map(|table| table.len()).sum();
            if keys > keys_max {
                continue;
            }
            assert_eq!(data.check_sizes(|key| self.hash(key)), Ok(()));
        }
    }

    /// As [`Keyspace::check_sizes`], of small shards: after each command of a session.
    pub(crate) fn check_small_sizes(&self) {
        self.check_sizes(CHECKED_KEYS_MAX);
    }

    fn forget_sizes_now(&self) {
        for shard in self.all() {
            shard.lock().side.sizes = None;
        }
    }
}

fn sizes(test: &Test, budget: usize) -> Option<SizesReport> {
    let keyspace = &test.session.server().keyspace;
    let now_ms = test.clock.unix_ms();
    let mut access = Access::new(keyspace, keyspace.lock_none(), DbIndex(0), now_ms, false);
    access.sizes(budget)
}

/// How many keys of a type there are with sizes of the bin that this one belongs to.
fn count(report: &SizesReport, db: usize, type_: Type, size: u64) -> u64 {
    report.databases[db][type_ as usize][bin(size)]
}

#[test]
fn bins_are_powers_of_two() {
    assert_eq!([0, 1, 2, 3, 4, 7, 8].map(bin), [0, 1, 2, 2, 3, 3, 4]);
    assert_eq!(bin(u64::MAX), BINS - 1);
    for number in 0..BINS {
        let start = bin_start(number);
        assert_eq!(bin(start), number);
        assert!(start == 0 || bin(start - 1) == number - 1);
    }
}

/// Commands of all kinds while the books are made, key by key: at every moment they hold what has been
/// walked, and in the end everything.
#[test]
fn books_are_right_while_they_are_made() {
    let (mut test, mut rng) = (Test::new(), Rng::from_seed(3));
    let mut rounds = 0;
    for _ in 0..3 {
        for key in 0..2000 {
            test.run(&format!("SET {key} {}", "x".repeat(key % 50)));
        }
        let keyspace = &test.session.server().clone().keyspace;
        keyspace.forget_sizes_now();
        while sizes(&test, 20).is_none() {
            keyspace.check_sizes(usize::MAX);
            for _ in 0..10 {
                let line = random_line(&mut rng);
                test.run(&line);
            }
            rounds += 1;
        }
        keyspace.check_sizes(usize::MAX);
        let made = sizes(&test, usize::MAX).unwrap();
        keyspace.forget_sizes_now();
        let again = sizes(&test, usize::MAX).unwrap();
        assert_eq!(made.databases, again.databases);
    }
    assert!(rounds > 100, "{rounds} rounds: it took no steps");
}

fn random_line(rng: &mut Rng) -> String {
    let (a, b, n) = (rng.below(4000), rng.below(4000), rng.below(300));
    match rng.below(400) {
        0..60 => format!("SET {a} {}", "y".repeat(n as usize)),
        60..90 => format!("DEL {a} {b}"),
        90..110 => format!("RENAME {a} {b}"),
        110..130 => format!("APPEND {a} {n}"),
        130..150 => format!("COPY {a} {b} REPLACE"),
        150..180 => format!("RPUSH l{} {a} {b} {n}", a % 50),
        180..200 => format!("LPOP l{} 7", b % 50),
        200..220 => format!("HSET h{} {a} {b}", a % 50),
        220..240 => format!("SADD s{} {a} m{b}", a % 50),
        240..260 => format!("SUNIONSTORE s{} s{} s{}", a % 50, b % 50, n % 50),
        260..280 => format!("ZADD z{} {a} {b}", a % 50),
        280..300 => format!("MOVE {a} 1"),
        300..320 => format!("SETRANGE {a} {n} x"),
        320..340 => format!("GETDEL {a}"),
        340..360 => format!("XADD x{} * f v", a % 50),
        360..398 => format!("INCR n{a}"),
        398 => "SWAPDB 0 1".into(),
        _ => ["FLUSHDB", "SWAPDB 1 2", "SELECT 0", "SELECT 1"][a as usize % 4].into(),
    }
}

#[test]
fn what_expires_leaves_the_book() {
    let mut test = Test::new();
    let keyspace = &test.session.server().clone().keyspace;
    test.run("SET met 1234 PX 100");
    test.run("SET swept 12345678 PX 100");
    test.run("HSET fields a 1 b 2 c 3");
    test.run("HSET last a 1");
    test.run("HPEXPIRE fields 100 FIELDS 2 a b");
    test.run("HPEXPIRE last 100 FIELDS 1 a");
    let report = sizes(&test, usize::MAX).unwrap();
    assert_eq!(count(&report, 0, Type::String, 4), 1);
    assert_eq!(count(&report, 0, Type::Hash, 3), 1);
    test.clock.advance(100);
    test.run("GET met").is("$-1");
    keyspace.check_sizes(usize::MAX);
    let now_ms = test.clock.unix_ms();
    while keyspace.expire_pass(now_ms, &mut Vec::new()) != Pass::Done {}
    keyspace.check_sizes(usize::MAX);
    let report = sizes(&test, usize::MAX).unwrap();
    let all: u64 = report.databases[0].iter().flatten().sum();
    assert_eq!((all, count(&report, 0, Type::Hash, 1)), (1, 1));
}

#[test]
fn the_largest_are_remembered_by_type() {
    let mut test = Test::new();
    for size in 1..=2000u64 {
        test.run(&format!("SETRANGE s{size} {} x", size * 2 - 1));
    }
    test.run("SELECT 1");
    for size in [100, 127, 128, 129, 5000] {
        let elements: Vec<String> = (0..size).map(|n| n.to_string()).collect();
        test.run(&format!("SADD set{size} {}", elements.join(" ")));
    }
    let names = |report: &SizesReport, type_: Type| -> Vec<(u32, u64, String)> {
        let largest = report.largest[type_ as usize].iter();
        largest
            .map(|large| {
                let key = String::from_utf8_lossy(&large.key).into_owned();
                (large.db.0, large.size, key)
            })
            .collect()
    };
    let report = sizes(&test, usize::MAX).unwrap();
    let strings = names(&report, Type::String);
    // With 64 shards each has room for its largest: none is missing among the first.
    for (place, large) in strings.iter().take(10).enumerate() {
        let number = 2000 - place as u64;
        assert_eq!(*large, (0, 2 * number, format!("s{number}")));
    }
    assert_eq!(
        names(&report, Type::Set),
        [
            (1, 5000, "set5000".into()),
            (1, 129, "set129".into()),
            (1, 128, "set128".into()),
        ]
    );
    // What shrinks, goes or moves is seen.
    test.run("DEL set129");
    test.run("SREM set128 1");
    test.run("MOVE set5000 2");
    let report = sizes(&test, usize::MAX).unwrap();
    assert_eq!(names(&report, Type::Set), [(2, 5000, "set5000".into())]);
    test.run("SWAPDB 0 2");
    let report = sizes(&test, usize::MAX).unwrap();
    assert_eq!(names(&report, Type::Set), [(0, 5000, "set5000".into())]);
    assert_eq!(names(&report, Type::String)[0], (2, 4000, "s2000".into()));
    test.run("FLUSHALL");
    let report = sizes(&test, usize::MAX).unwrap();
    assert!(report.largest.iter().all(Vec::is_empty));
    assert_eq!(report.databases.iter().flatten().flatten().sum::<u64>(), 0);
}

#[test]
fn books_that_nobody_reads_are_thrown_away() {
    let mut test = Test::new();
    test.run("SET a 1");
    let server = test.session.server().clone();
    let has_books = || {
        let books = server.keyspace.all().iter();
        books
            .filter(|shard| shard.lock().side.sizes.is_some())
            .count()
    };
    sizes(&test, usize::MAX);
    let all = server.keyspace.shards();
    test.clock.advance(IDLE_MS - 1);
    server.keyspace.forget_idle_sizes(test.clock.unix_ms());
    assert_eq!(has_books(), all);
    test.clock.advance(1);
    server.keyspace.forget_idle_sizes(test.clock.unix_ms());
    assert_eq!(has_books(), 0);
    test.run("SET b 12");
    let report = sizes(&test, usize::MAX).unwrap();
    assert_eq!(
        [1, 2].map(|size| count(&report, 0, Type::String, size)),
        [1, 1]
    );
}

/// Who has the keyspace for himself for long is not waited for.
#[test]
fn books_are_thrown_away_when_the_shards_are_free() {
    let test = Test::new();
    let keyspace = &test.session.server().keyspace;
    sizes(&test, usize::MAX);
    test.clock.advance(IDLE_MS);
    let now_ms = test.clock.unix_ms();
    let gate = keyspace.gate.try_close().unwrap();
    gate.may_take_long();
    let held = keyspace.lock_all();
    thread::scope(|scope| {
        let (done, wait) = mpsc::channel();
        scope.spawn(move || {
            keyspace.forget_idle_sizes(now_ms);
            done.send(()).unwrap();
        });
        let returned = wait.recv_timeout(Duration::from_secs(60));
        drop(held);
        assert_eq!(returned, Ok(()));
    });
    drop(gate);
    keyspace.forget_idle_sizes(now_ms);
    let mut books = keyspace.all().iter().map(|shard| shard.lock());
    assert!(books.all(|data| data.side.sizes.is_none()));
}
