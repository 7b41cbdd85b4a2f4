//! MEMORY USAGE against the allocator: what a thousand keys are said to take is what has gone when they are
//! there, for every type and encoding.

use crate::commands::tests::Test;
use crate::sys::alloc::thread_net_bytes;

/// Keys of each kind; fewer of large ones.
const KEYS: usize = 1000;
/// About so many requests make all keys of one kind.
const REQUESTS: usize = 5000;
/// How far from the truth the sum may be, in thousandths.
const OFF_MAX: i64 = 50;
/// With all elements looked at it is nearer.
const OFF_EXACT_MAX: i64 = 20;

/// Runs a request.
type Run<'r> = &'r mut dyn FnMut(&str);

/// A kind of key: its name, and the requests that make one.
struct Shape {
    name: &'static str,
    make: fn(&str, Run<'_>),
}

/// A text of so many bytes that nothing compresses, other for each number.
fn text(number: usize, len: usize) -> String {
    let mut state = number as u64 + 1;
    let letter = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from(b'a' + (state >> 40) as u8 % 26)
    };
    (0..len).map(letter).collect()
}

fn many(run: Run<'_>, count: usize, line: impl Fn(usize) -> String) {
    (0..count).for_each(|number| run(&line(number)));
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "integer",
        make: |key, run| run(&format!("SET {key} 12345")),
    },
    Shape {
        name: "short string",
        make: |key, run| run(&format!("SET {key} sixteen-bytes...")),
    },
    Shape {
        name: "short string that expires",
        make: |key, run| run(&format!("SET {key} sixteen-bytes... EX 1000")),
    },
    Shape {
        name: "string of 1000",
        make: |key, run| run(&format!("SET {key} {}", text(1, 1000))),
    },
    Shape {
        name: "string of 16384",
        make: |key, run| run(&format!("SET {key} {}", text(1, 16_384))),
    },
    Shape {
        name: "string of 20000 that expires",
        make: |key, run| run(&format!("SET {key} {} PX 100000", text(1, 20_000))),
    },
    Shape {
        name: "string that has grown",
        make: |key, run| many(run, 40, |n| format!("APPEND {key} {}", text(n, 700))),
    },
    Shape {
        name: "bitmap",
        make: |key, run| run(&format!("SETBIT {key} 300000 1")),
    },
    Shape {
        name: "HyperLogLog",
        make: |key, run| many(run, 30, |n| format!("PFADD {key} {n}")),
    },
    Shape {
        name: "list of 10",
        make: |key, run| many(run, 10, |n| format!("RPUSH {key} {}", text(n, 20))),
    },
    Shape {
        name: "list of 2000",
        make: |key, run| many(run, 2000, |n| format!("RPUSH {key} {}", text(n, 20))),
    },
    Shape {
        name: "list of 2000, from the left",
        make: |key, run| many(run, 2000, |n| format!("LPUSH {key} {}", text(n, 20))),
    },
    Shape {
        name: "list with large elements",
        make: |key, run| many(run, 9, |n| format!("RPUSH {key} {}", text(n, 9000))),
    },
    Shape {
        name: "queue",
        make: |key, run| {
            many(run, 1200, |n| format!("RPUSH {key} {}", text(n, 20)));
            run(&format!("LPOP {key} 700"));
        },
    },
    Shape {
        name: "integers in a set",
        make: |key, run| many(run, 50, |n| format!("SADD {key} {}", n * 100_000)),
    },
    Shape {
        name: "set of 20",
        make: |key, run| many(run, 20, |n| format!("SADD {key} {}", text(n, 16))),
    },
    Shape {
        name: "set of 300",
        make: |key, run| many(run, 300, |n| format!("SADD {key} {}", text(n, 16))),
    },
    Shape {
        name: "set of one long member",
        make: |key, run| run(&format!("SADD {key} {}", text(1, 100))),
    },
    Shape {
        name: "hash of 10",
        make: |key, run| many(run, 10, |n| format!("HSET {key} f{n} {}", text(n, 16))),
    },
    Shape {
        name: "hash of 700",
        make: |key, run| many(run, 700, |n| format!("HSET {key} f{n} {}", text(n, 16))),
    },
    Shape {
        name: "hash of one long value",
        make: |key, run| run(&format!("HSET {key} f {}", text(1, 100))),
    },
    Shape {
        name: "hash of large values",
        make: |key, run| many(run, 3, |n| format!("HSET {key} f{n} {}", text(n, 20_000))),
    },
    Shape {
        name: "hash of 3 that expire",
        make: |key, run| {
            many(run, 3, |n| {
                format!("HSETEX {key} EX 99 FIELDS 1 f{n} {}", text(n, 16))
            })
        },
    },
    Shape {
        name: "hash of 300 that expire",
        make: |key, run| {
            many(run, 300, |n| {
                format!("HSETEX {key} EX 1{n} FIELDS 1 f{n} {}", text(n, 16))
            })
        },
    },
    Shape {
        name: "sorted set of 10",
        make: |key, run| many(run, 10, |n| format!("ZADD {key} {n}.5 {}", text(n, 16))),
    },
    Shape {
        name: "sorted set of 200",
        make: |key, run| many(run, 200, |n| format!("ZADD {key} {n}.5 {}", text(n, 16))),
    },
    Shape {
        name: "sorted set of 2000, in no order",
        make: |key, run| {
            many(run, 2000, |n| {
                format!("ZADD {key} {} {}", n * 7919 % 2003, text(n, 16))
            })
        },
    },
    Shape {
        name: "places",
        make: |key, run| {
            many(run, 10, |n| {
                format!("GEOADD {key} {n}.1 {n}.2 {}", text(n, 10))
            })
        },
    },
    Shape {
        name: "stream of 1",
        make: |key, run| run(&format!("XADD {key} 1-1 field value")),
    },
    Shape {
        name: "stream of 500",
        make: |key, run| {
            many(run, 500, |n| {
                format!("XADD {key} 1-{} field {}", n + 1, text(n, 16))
            })
        },
    },
    Shape {
        name: "stream, trimmed",
        make: |key, run| {
            many(run, 1000, |n| {
                format!("XADD {key} 1-{} field {}", n + 1, text(n, 16))
            });
            run(&format!("XTRIM {key} MAXLEN 150"));
        },
    },
    Shape {
        name: "stream with a group",
        make: |key, run| {
            run(&format!("XADD {key} 1-1 field value"));
            run(&format!("XGROUP CREATE {key} group 0"));
        },
    },
    Shape {
        name: "stream with groups, consumers and pending entries",
        make: |key, run| {
            many(run, 100, |n| {
                format!("XADD {key} 1-{} field {}", n + 1, text(n, 16))
            });
            for group in 0..3 {
                run(&format!("XGROUP CREATE {key} group{group} 0"));
                for consumer in 0..5 {
                    let names = format!("group{group} consumer{consumer}");
                    run(&format!("XREADGROUP GROUP {names} COUNT 7 STREAMS {key} >"));
                }
            }
        },
    },
    Shape {
        name: "stream with many groups",
        make: |key, run| {
            run(&format!("XADD {key} 1-1 field value"));
            many(run, 40, |n| format!("XGROUP CREATE {key} group{n} 0"));
        },
    },
    Shape {
        name: "stream with many consumers",
        make: |key, run| {
            run(&format!("XADD {key} 1-1 field value"));
            run(&format!("XGROUP CREATE {key} group 0"));
            many(run, 40, |n| {
                format!("XGROUP CREATECONSUMER {key} group {n}")
            });
        },
    },
];

/// What MEMORY USAGE says of all keys together.
fn told(t: &mut Test, keys: usize, options: &str) -> i64 {
    let mut usage = |number| {
        let text = t
            .run(&format!("MEMORY USAGE {} {options}", key(number)))
            .text();
        text.strip_prefix(':').unwrap().parse::<i64>().unwrap()
    };
    (0..keys).map(&mut usage).sum()
}

fn key(number: usize) -> String {
    format!("key:{number:08}")
}

fn fill(t: &mut Test, shape: &Shape, keys: usize) {
    for number in 0..keys {
        (shape.make)(&key(number), &mut |line| {
            let reply = t.run(line).text();
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        });
    }
}

#[test]
fn usage_is_what_the_allocator_gave() {
    let mut report = String::new();
    for shape in SHAPES {
        let mut t = Test::new();
        // Books of the sizes of values are no key's, and with few keys they are much: the names of the largest.
        t.session.server().keyspace.forget_idle_sizes(u64::MAX);
        // What is kept of slow commands is not the keys'.
        t.run("CONFIG SET latency-tracking no slowlog-log-slower-than -1")
            .is("+OK");
        // Whatever is set up once is set up for another database.
        t.run("SELECT 1").is("+OK");
        many(&mut |line| t.run(line).is("+OK"), 1500, |n| {
            format!("SET w{n} 1")
        });
        fill(&mut t, shape, 5);
        t.run("SELECT 0").is("+OK");
        let mut requests = 0;
        (shape.make)("", &mut |_| requests += 1);
        let keys = (REQUESTS / requests).clamp(10, KEYS);
        let before = thread_net_bytes();
        fill(&mut t, shape, keys);
        let truth = thread_net_bytes() - before;
        for (options, most) in [("SAMPLES 0", OFF_EXACT_MAX), ("", OFF_MAX)] {
            let told = told(&mut t, keys, options);
            let off = (told - truth) * 1000 / truth;
            let name = shape.name;
            println!("{name}: {told} {options}, {truth} in truth: {off} thousandths off");
            if off.abs() > most {
                report +=
                    &format!("{name}: {told} {options}, not {truth}: {off} thousandths off\n");
            }
        }
    }
    assert!(report.is_empty(), "{report}");
}
