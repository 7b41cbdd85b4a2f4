//! Sessions of HOTKEYS, with a clock that stands still: bytes are counted exactly, and so are times of the
//! session.

use crate::commands::tests::Test;
use crate::resp::read::Reply;

/// What GET tells, as RESP3 shows it.
struct Told(Vec<(String, Reply)>);

impl Told {
    fn of(test: &mut Test) -> Told {
        test.run("HELLO 3");
        let bytes = test.run("HOTKEYS GET").0;
        let replies = Reply::parse_all(&bytes).unwrap();
        let [Reply::Array(nodes)] = &replies[..] else {
            panic!("{replies:?}")
        };
        let [Reply::Map(pairs)] = &nodes[..] else {
            panic!("{nodes:?}")
        };
        let pairs = pairs
            .iter()
            .map(|(name, value)| (text(name), value.clone()));
        Told(pairs.collect())
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| &name[..]).collect()
    }

    fn get(&self, name: &str) -> &Reply {
        let found = self.0.iter().find(|(of, _)| of == name);
        &found.unwrap_or_else(|| panic!("no {name}")).1
    }

    fn int(&self, name: &str) -> i64 {
        int(self.get(name))
    }

    fn keys(&self, name: &str) -> Vec<(String, i64)> {
        let Reply::Array(flat) = self.get(name) else {
            panic!("{name} is no array")
        };
        let pairs = flat.chunks(2).map(|pair| (text(&pair[0]), int(&pair[1])));
        pairs.collect()
    }
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("{other:?}"),
    }
}

fn int(reply: &Reply) -> i64 {
    match reply {
        Reply::Int(number) => *number,
        other => panic!("{other:?}"),
    }
}

/// Bytes of the request `SET key value`, and of its reply.
fn set_bytes(key: &str, value: &str) -> i64 {
    let request = format!(
        "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n{value}\r\n+OK\r\n",
        key.len(),
        value.len()
    );
    request.len() as i64
}

#[test]
fn a_session_is_started_stopped_and_forgotten() {
    let mut test = Test::new();
    test.run("HOTKEYS GET").is("$-1");
    test.run("HOTKEYS STOP").is("$-1");
    test.run("HOTKEYS RESET").is("+OK");
    test.run("SET before x");
    test.run("HOTKEYS START METRICS 2 CPU NET").is("+OK");
    test.run("HOTKEYS START METRICS 1 NET")
        .is("-ERR hotkey tracking session already in progress");
    test.run("HOTKEYS RESET")
        .is("-ERR hotkey tracking session in progress, stop tracking first");
    test.run("SET key value");
    test.clock.advance(1234);
    let told = Told::of(&mut test);
    assert_eq!(told.int("tracking-active"), 1);
    assert_eq!(told.int("collection-duration-ms"), 1234);
    assert_eq!(
        told.keys("by-net-bytes"),
        [("key".into(), set_bytes("key", "value"))]
    );
    assert_eq!(told.keys("by-cpu-time-us")[0].0, "key");
    test.run("HOTKEYS STOP").is("+OK");
    test.run("HOTKEYS STOP").is("_");
    test.clock.advance(1000);
    test.run("SET after x");
    let told = Told::of(&mut test);
    assert_eq!(told.int("tracking-active"), 0);
    assert_eq!(told.int("collection-duration-ms"), 1234);
    assert_eq!(told.keys("by-net-bytes").len(), 1);
    // A new session knows nothing of the last one.
    test.run("HOTKEYS START METRICS 1 NET").is("+OK");
    assert_eq!(Told::of(&mut test).keys("by-net-bytes"), []);
    test.run("HOTKEYS STOP").is("+OK");
    test.run("HOTKEYS RESET").is("+OK");
    test.run("HOTKEYS GET").is("_");
    test.run("HELLO 2");
    test.run("HOTKEYS GET").is("$-1");
}

#[test]
fn fields_are_those_of_the_metrics() {
    let mut test = Test::new();
    let always = [
        "tracking-active",
        "sample-ratio",
        "selected-slots",
        "all-commands-all-slots-us",
        "net-bytes-all-commands-all-slots",
        "collection-start-time-unix-ms",
        "collection-duration-ms",
    ];
    let cpu = ["total-cpu-time-user-ms", "total-cpu-time-sys-ms"];
    for (metrics, fields) in [
        ("1 CPU", [&always[..], &cpu, &["by-cpu-time-us"]].concat()),
        (
            "1 net",
            [&always[..], &["total-net-bytes", "by-net-bytes"]].concat(),
        ),
        (
            "2 NET CPU",
            [
                &always[..],
                &cpu,
                &["total-net-bytes", "by-cpu-time-us", "by-net-bytes"],
            ]
            .concat(),
        ),
    ] {
        test.run(&format!("hotkeys start metrics {metrics}"))
            .is("+OK");
        assert_eq!(Told::of(&mut test).names(), fields);
        test.run("HOTKEYS STOP").is("+OK");
    }
    test.run("HELLO 2");
    test.run("HOTKEYS START METRICS 1 NET SAMPLE 7");
    test.run("HOTKEYS GET").is(
        "*1 *18 $15 tracking-active :1 $12 sample-ratio :7 $14 selected-slots *1 *2 :0 :16383 \
         $25 all-commands-all-slots-us :0 $32 net-bytes-all-commands-all-slots :0 \
         $29 collection-start-time-unix-ms :1700000000000 $22 collection-duration-ms :0 \
         $15 total-net-bytes :0 $12 by-net-bytes *0",
    );
}

#[test]
fn mistakes_are_told_apart() {
    let mut test = Test::new();
    for (line, error) in [
        ("", "METRICS parameter is required"),
        ("METRICS", "METRICS parameter is required"),
        ("COUNT 10 METRICS 1 CPU", "METRICS parameter is required"),
        ("METRICS x", "METRICS count must be > 0 and <= 2"),
        ("METRICS 0 CPU", "METRICS count must be > 0 and <= 2"),
        ("METRICS -1 CPU", "METRICS count must be > 0 and <= 2"),
        ("METRICS 3 CPU NET", "METRICS count must be > 0 and <= 2"),
        (
            "METRICS 1",
            "METRICS no valid metrics passed. Supported: CPU|NET",
        ),
        (
            "METRICS 1 x",
            "METRICS no valid metrics passed. Supported: CPU|NET",
        ),
        ("METRICS 2 CPU CPU", "METRICS CPU defined more than once!"),
        ("METRICS 2 NET NET", "METRICS NET defined more than once!"),
        (
            "METRICS 2 CPU",
            "METRICS count does not match number of metric types provided",
        ),
        (
            "METRICS 1 CPU NET",
            "METRICS count does not match number of metric types provided",
        ),
        ("METRICS 1 CPU x", "syntax error"),
        ("METRICS 1 CPU x 1", "syntax error"),
        ("METRICS 1 CPU COUNT", "syntax error"),
        ("METRICS 1 CPU COUNT 0", "COUNT must be between 1 and 64"),
        ("METRICS 1 CPU COUNT 65", "COUNT must be between 1 and 64"),
        ("METRICS 1 CPU COUNT x", "COUNT must be between 1 and 64"),
        (
            "METRICS 1 CPU DURATION 0",
            "DURATION must be between 1 and 1000000",
        ),
        (
            "METRICS 1 CPU DURATION 1000001",
            "DURATION must be between 1 and 1000000",
        ),
        ("METRICS 1 CPU SAMPLE 0", "SAMPLE ratio must be positive"),
        (
            "METRICS 1 CPU SAMPLE 2147483648",
            "SAMPLE ratio must be positive",
        ),
        (
            "METRICS 1 CPU SLOTS 1 5",
            "SLOTS parameter cannot be used in non-cluster mode",
        ),
        ("METRICS 1 CPU SLOTS", "syntax error"),
    ] {
        let reply = test.run(&format!("HOTKEYS START {line}"));
        assert_eq!(reply.text(), format!("-ERR {error}"), "{line:?}");
    }
    test.run("HOTKEYS GET").is("$-1");
    test.run("HOTKEYS START METRICS 1 CPU SAMPLE 2147483647 COUNT 64 DURATION 1000000")
        .is("+OK");
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    let mut test = Test::new();
    test.run("HOTKEYS START METRICS 1 NET DURATION 2").is("+OK");
    test.clock.advance(1999);
    test.run("SET in time");
    test.clock.advance(1);
    test.run("SET too late");
    // Whoever looks much later is told of its true end.
    test.clock.advance(60_000);
    let told = Told::of(&mut test);
    assert_eq!(told.int("tracking-active"), 0);
    assert_eq!(told.int("collection-duration-ms"), 2000);
    assert_eq!(
        told.keys("by-net-bytes"),
        [("in".into(), set_bytes("in", "time"))]
    );
    test.run("HOTKEYS STOP").is("_");
    test.run("HOTKEYS START METRICS 1 NET").is("+OK");
}

#[test]
fn a_command_costs_all_its_keys_alike() {
    let mut test = Test::new();
    test.run("SET a 12345");
    test.run("HOTKEYS START METRICS 1 NET COUNT 2");
    // "*4", "MGET", three keys, and a reply of one value and two nulls.
    let bytes = 4 + 10 + 3 * 7 + 4 + 11 + 2 * 5;
    test.run("MGET a b c").is("*3 $5 12345 $-1 $-1");
    let third = bytes / 3;
    let told = Told::of(&mut test);
    assert_eq!(
        told.keys("by-net-bytes"),
        [("a".into(), third), ("b".into(), third)]
    );
    // HELLO, whose reply has to be read to know its length, and what it was that has no keys.
    assert!(told.int("total-net-bytes") > bytes);
    assert_eq!(
        told.int("total-net-bytes"),
        told.int("net-bytes-all-commands-all-slots")
    );
}

#[test]
fn transactions_scripts_and_waits_count_once() {
    let mut test = Test::new();
    let mut other = test.client();
    test.run("HOTKEYS START METRICS 1 NET COUNT 64");
    test.run("MULTI");
    test.run("SET a 1");
    test.run("SET b 22");
    test.run("EXEC").is("*2 +OK +OK");
    let told = Told::of(&mut test).keys("by-net-bytes");
    assert_eq!(
        told,
        [
            ("b".into(), set_bytes("b", "22")),
            ("a".into(), set_bytes("a", "1"))
        ]
    );
    test.run("HOTKEYS STOP");
    test.run("HOTKEYS START METRICS 1 NET COUNT 64");
    // What a script calls is the script's.
    let script = "redis.call('SET', KEYS[2], 'long'); return 1";
    test.args(&[b"EVAL", script.as_bytes(), b"2", b"s1", b"s2"])
        .is(":1");
    let told = Told::of(&mut test).keys("by-net-bytes");
    let names: Vec<&str> = told.iter().map(|(key, _)| &key[..]).collect();
    assert_eq!(names, ["s1", "s2"]);
    assert_eq!(told[0].1, told[1].1);
    test.run("HOTKEYS STOP");
    test.run("HOTKEYS START METRICS 1 NET COUNT 64");
    let waiter = test.blocks("BLPOP queue 0");
    assert_eq!(Told::of(&mut other).keys("by-net-bytes"), []);
    other.run("RPUSH queue element");
    test.waited(&waiter).unwrap().has("element");
    let told = Told::of(&mut other).keys("by-net-bytes");
    // RPUSH, and BLPOP with its reply in RESP3, which test talks since it asked.
    let push = "*3\r\n$5\r\nRPUSH\r\n$5\r\nqueue\r\n$7\r\nelement\r\n:1\r\n".len();
    let pop = "*3\r\n$5\r\nBLPOP\r\n$5\r\nqueue\r\n$1\r\n0\r\n".len();
    let popped = "*2\r\n$5\r\nqueue\r\n$7\r\nelement\r\n".len();
    assert_eq!(told, [("queue".into(), (push + pop + popped) as i64)]);
}

#[test]
fn one_in_so_many_commands_is_looked_at() {
    let mut test = Test::new();
    test.run("HOTKEYS START METRICS 1 NET SAMPLE 10");
    for _ in 0..5000 {
        test.run("SET k v");
    }
    let told = Told::of(&mut test);
    let all = 5000 * set_bytes("k", "v");
    let sampled = told.keys("by-net-bytes")[0].1;
    assert!(told.int("total-net-bytes") >= all);
    // A tenth; ten standard deviations around it.
    assert!(
        (all * 6 / 100..all * 14 / 100).contains(&sampled),
        "{sampled} of {all}"
    );
}

#[test]
fn workers_are_added_up() {
    let mut test = Test::new();
    test.run("HOTKEYS START METRICS 2 CPU NET COUNT 3");
    let connect = test.connector();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let connect = &connect;
            scope.spawn(move || {
                let mut client = connect();
                for round in 0..200 {
                    client.run("SET hot 12345678");
                    client.run(&format!("SET cold:{thread}:{round} x"));
                }
            });
        }
    });
    let told = Told::of(&mut test);
    let hot = 4 * 200 * set_bytes("hot", "12345678");
    assert_eq!(told.keys("by-net-bytes")[0], ("hot".into(), hot));
    assert_eq!(told.keys("by-net-bytes").len(), 3);
    // How long a command takes is for the machine to say.
    let by_cpu = told.keys("by-cpu-time-us");
    assert_eq!(by_cpu.len(), 3);
    let total = told.int("all-commands-all-slots-us");
    assert!(by_cpu.iter().map(|(_, us)| us).sum::<i64>() <= total);
    test.run("HOTKEYS STOP");
    test.run("HOTKEYS RESET").is("+OK");
}
