//! What is in use against what is stored, after random commands: the keys, as their structures tell it, and the
//! tables account for all that was taken since the keyspace was empty, and when it is empty again all of it has
//! come back.
//!
//! Other tests allocate at the same time, so each of these runs in a process of its own. Requests are drawn
//! from fixed seeds. `KIVI_ACCOUNTING_OPERATIONS` asks for more than a test run has time for; the ignored
//! test makes ten million.

use std::process::Command;

use crate::commands::tests::{START_MS, Test};
use crate::db::{Access, DbIndex};
use crate::sys::alloc::{self, allocated_bytes};
use crate::util::rng::Rng;

/// Requests of a kind between two looks.
const OPERATIONS: usize = 4000;
/// Bytes that come and go with nothing that is stored.
const SLACK_BYTES: u64 = 24 * 1024;
/// How far the sum may be from what is in use, in thousandths.
const OFF_MAX: u64 = 5;

/// A kind of value: its name, and templates of requests. `K` is a key, `E` one of a hundred short names, `T` a
/// text of any length, `N` a small number, `L` a large one, `F` a fraction.
struct Kind {
    name: &'static str,
    requests: &'static [&'static str],
}

/// Hashes are not copied here: copies share large values, which each of them counts.
const KINDS: &[Kind] = &[
    Kind {
        name: "strings",
        requests: &[
            "SET K T",
            "SET K T EX L",
            "SET K L",
            "APPEND K T",
            "SETRANGE K L T",
            "GETSET K T",
            "INCRBY K N",
            "PERSIST K",
            "EXPIRE K L",
            "SETBIT K L 1",
            "GETDEL K",
            "RENAME K K",
            "COPY K K REPLACE",
            "DEL K",
            "MSET K T K T K T",
            "GET K",
            "BITOP OR K K K",
            "PFADD K E E T",
            "PFMERGE K K",
        ],
    },
    Kind {
        name: "hashes",
        requests: &[
            "HSET K E T",
            "HSET K E T E T E T",
            "HDEL K E E",
            "HINCRBY K E N",
            "HSETEX K EX L FIELDS 2 E T E T",
            "HEXPIRE K L FIELDS 1 E",
            "HPERSIST K FIELDS 1 E",
            "HGETDEL K FIELDS 1 E",
            "EXPIRE K L",
            "RENAME K K",
            "DEL K",
            "HGETALL K",
            "HSET K T T",
        ],
    },
    Kind {
        name: "lists",
        requests: &[
            "RPUSH K T T",
            "LPUSH K T",
            "RPUSH K E E E E E E E E",
            "LPOP K N",
            "RPOP K N",
            "LINSERT K BEFORE E T",
            "LREM K N E",
            "LSET K N T",
            "LTRIM K N L",
            "LMOVE K K LEFT RIGHT",
            "RENAME K K",
            "COPY K K REPLACE",
            "DEL K",
            "EXPIRE K L",
            "LRANGE K 0 -1",
        ],
    },
    Kind {
        name: "sets",
        requests: &[
            "SADD K E E E",
            "SADD K N N N N",
            "SADD K L L L L L L",
            "SADD K T",
            "SREM K E E",
            "SPOP K N",
            "SMOVE K K E",
            "SUNIONSTORE K K K",
            "SDIFFSTORE K K K",
            "RENAME K K",
            "COPY K K REPLACE",
            "DEL K",
            "EXPIRE K L",
            "SMEMBERS K",
        ],
    },
    Kind {
        name: "sorted sets",
        requests: &[
            "ZADD K N E F E L E",
            "ZADD K F T",
            "ZADD K L L L L F L N L",
            "ZINCRBY K F E",
            "ZREM K E E",
            "ZPOPMIN K N",
            "ZREMRANGEBYRANK K N L",
            "ZREMRANGEBYSCORE K N L",
            "ZUNIONSTORE K 2 K K",
            "ZRANGESTORE K K 0 N",
            "RENAME K K",
            "COPY K K REPLACE",
            "DEL K",
            "EXPIRE K L",
            "ZRANGE K 0 -1",
        ],
    },
    Kind {
        name: "streams",
        requests: &[
            "XADD K * E T",
            "XADD K * E E E E E E",
            "XADD K MAXLEN ~ L * E T",
            "XTRIM K MAXLEN N",
            "XGROUP CREATE K E $ MKSTREAM",
            "XGROUP CREATE K E 0",
            "XREADGROUP GROUP E E COUNT N STREAMS K >",
            "XGROUP CREATECONSUMER K E E",
            "XGROUP DELCONSUMER K E E",
            "XGROUP DESTROY K E",
            "XAUTOCLAIM K E E 0 0 COUNT N",
            "DEL K",
            "RENAME K K",
            "COPY K K REPLACE",
            "XRANGE K - + COUNT N",
        ],
    },
];

/// A text: mostly short, rarely so long that it lies outside of its entry.
fn text(rng: &mut Rng) -> Vec<u8> {
    let len = match rng.below(100) {
        0 => 20_000,
        1..=4 => 3000,
        5..=19 => 300,
        _ => 40,
    };
    let mut text = vec![0; rng.index(len) + 1];
    rng.fill(&mut text);
    text
}

fn request(template: &str, keys: usize, rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut word = |word: &str| match word {
        "K" => format!("key:{:06}", rng.index(keys)).into_bytes(),
        "E" => format!("name{}", rng.index(100)).into_bytes(),
        "T" => text(rng),
        "N" => rng.index(20).to_string().into_bytes(),
        "L" => (100 + rng.index(3000)).to_string().into_bytes(),
        "F" => (rng.unit_f64() * 1000.0).to_string().into_bytes(),
        word => word.as_bytes().to_vec(),
    };
    template.split(' ').map(&mut word).collect()
}

fn run(t: &mut Test, kind: &Kind, operations: usize, keys: usize, rng: &mut Rng) {
    for number in 0..operations {
        let template = kind.requests[rng.index(kind.requests.len())];
        let request = request(template, keys, rng);
        let request: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let reply = t.args(&request).0;
        let is_unknown = reply.starts_with(b"-ERR unknown") || reply.starts_with(b"-ERR syntax");
        assert!(
            !is_unknown,
            "{template}: {}",
            String::from_utf8_lossy(&reply)
        );
        if number % 500 == 0 {
            // Some of what expires does.
            t.clock.advance(400_000);
        }
    }
}

/// Has the thread that drops it give back what it keeps for itself.
struct FlushAtDrop;

impl Drop for FlushAtDrop {
    fn drop(&mut self) {
        alloc::flush_thread_cache();
    }
}

/// What is in use when nothing waits to be freed any more, and the thread that frees keeps nothing back.
pub(super) fn used_bytes(t: &Test) -> u64 {
    let lazyfree = &t.session.server().keyspace.lazyfree;
    lazyfree.free_other(1, Box::new(FlushAtDrop));
    while lazyfree.pending() > 0 {
        std::thread::yield_now();
    }
    allocated_bytes()
}

/// What keys, tables, what is known of keys besides and figures of commands take, as they tell it.
fn stored_bytes(t: &Test) -> u64 {
    let keyspace = &t.session.server().keyspace;
    let mut access = Access::new(keyspace, keyspace.lock_none(), DbIndex(0), START_MS, false);
    let mut bytes = 0;
    access.for_each_shard(|_, shard| {
        shard.for_each_entry(|_, entry| bytes += entry.alloc_bytes(0) as u64);
    });
    // Every session leaves figures of its commands.
    let figures = t.session.server().stats.memory_bytes();
    let census = access.census(false);
    bytes + census.table_bytes + census.side_bytes + figures
}

/// Runs a test in a process of its own, in which nothing else allocates. It is asked for by the module and the
/// name.
pub(super) fn alone(module: &str, name: &str, test: impl FnOnce()) {
    if std::env::var_os("KIVI_ACCOUNTING_CHILD").is_some() {
        return test();
    }
    let (_, module) = module.split_once("::").unwrap();
    let path = format!("{module}::{name}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            &path,
            "--exact",
            "--include-ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env("KIVI_ACCOUNTING_CHILD", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{errors}"
    );
}

/// Rounds of random commands on keys of each kind, with a look at each of them full and empty.
fn rounds(operations: usize) {
    let mut report = String::new();
    for (seed, kind) in (1..).zip(KINDS) {
        let mut t = Test::new();
        let mut rng = Rng::from_seed(seed);
        // The first round finds out what is set up for good.
        let mut empty_bytes = 0;
        for round in 0..4 {
            // A client of its own, so that its buffers go before anything is looked at.
            run(&mut t.client(), kind, operations, 300, &mut rng);
            let taken = used_bytes(&t).saturating_sub(empty_bytes);
            let stored = stored_bytes(&t);
            let off = stored.abs_diff(taken);
            let name = kind.name;
            println!(
                "{name}: {stored} bytes are stored, {taken} were taken, {empty_bytes} are others"
            );
            if round > 0 && off > SLACK_BYTES + taken * OFF_MAX / 1000 {
                report += &format!("{name}: {stored} bytes are stored, {taken} were taken\n");
            }
            match round % 2 {
                0 => t.run("FLUSHALL SYNC").is("+OK"),
                _ => (0..300).for_each(|key| {
                    t.run(&format!("DEL key:{key:06}"));
                }),
            }
            // Tables that have become empty keep their first segment.
            let left = used_bytes(&t) - stored_bytes(&t);
            if round == 0 {
                empty_bytes = left;
            } else if left.abs_diff(empty_bytes) > SLACK_BYTES {
                report +=
                    &format!("{name}: {left} bytes are left, and {empty_bytes} were before\n");
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn what_is_stored_is_what_was_taken() {
    alone(module_path!(), "what_is_stored_is_what_was_taken", || {
        let asked = std::env::var("KIVI_ACCOUNTING_OPERATIONS");
        let asked = asked.ok().and_then(|text| text.parse().ok());
        rounds(asked.unwrap_or(OPERATIONS));
    });
}

#[test]
#[ignore = "takes minutes"]
fn ten_million_operations_leave_no_trace() {
    alone(
        module_path!(),
        "ten_million_operations_leave_no_trace",
        || {
            rounds(10_000_000 / (4 * KINDS.len()));
        },
    );
}
