//! Many clients with scripts at once: what one script does, every other client sees whole or not at all,
//! whatever it locks: the whole keyspace, the shards of its keys, or what it comes upon.
//!
//! Each test runs with 1, 4 and 8 worker threads. Amounts move between accounts that lie in all shards, by
//! scripts of each kind; whoever adds all of them up, in a script, a transaction or a command, always gets
//! the same sum.

use std::collections::HashSet;
use std::sync::Mutex;
use std::thread;

use crate::client::{Client, Reply};
use crate::concurrency::{OK, Writer, keys, observe, rounds, with_keys, with_threads};
use crate::harness::Server;

const ACCOUNTS: usize = 24;
const AMOUNT: i64 = 100;

/// Moves an amount between two accounts that it makes the names of: needs everything.
const UNDECLARED: &str = "local from, to = 'account:' .. ARGV[1], 'account:' .. ARGV[2] \
    redis.call('DECRBY', from, ARGV[3]) redis.call('INCRBY', to, ARGV[3]) return redis.status_reply('OK')";
/// The same with keys that are declared: needs these.
const DECLARED: &str = "local from = KEYS[1] redis.call('DECRBY', from, ARGV[1]) \
    redis.call('INCRBY', KEYS[2], ARGV[1]) return redis.status_reply('OK')";
/// The same as functions; the second one keeps something in mind.
const LIBRARY: &str = "#!lua name=bank
local moved = 0
redis.register_function('move', function(keys, args)
  redis.call('DECRBY', keys[1], args[1])
  redis.call('INCRBY', keys[2], args[1])
  return redis.status_reply('OK')
end)
redis.register_function('move_and_count', function(keys, args)
  redis.call('DECRBY', keys[1], args[1])
  moved = moved + 1
  redis.call('INCRBY', keys[2], args[1])
  return redis.status_reply('OK')
end)
redis.register_function('moves', function(keys, args) return moved end)";
/// Adds all accounts up.
const SUM: &str = "local sum = 0 \
    for account = 0, 23 do sum = sum + redis.call('GET', 'account:' .. account) end return sum";

/// Runs `step(client, account, other account, amount)` for the rounds of a test.
fn writer(
    number: usize,
    step: impl Fn(&mut Client, usize, usize, usize) + Send + Sync + 'static,
) -> Writer {
    Box::new(move |client| {
        for round in 0..rounds() as usize / 3 {
            let from = (round * 7 + number) % ACCOUNTS;
            // Both ways: locks taken in that order would deadlock.
            let to = (round * 5 + 3 * number) % ACCOUNTS;
            step(client, from, to, round % 90);
        }
    })
}

/// A request that moves an amount between the accounts that it names as keys.
fn moves(
    words: &'static [&'static str],
) -> impl Fn(&mut Client, usize, usize, usize) + Send + Sync {
    move |client, from, to, amount| {
        let mut request: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let arguments = [
            "2".to_owned(),
            format!("account:{from}"),
            format!("account:{to}"),
            amount.to_string(),
        ];
        request.extend(arguments);
        assert_eq!(client.raw(&request), OK);
    }
}

fn writers() -> Vec<Writer> {
    vec![
        writer(0, |client, from, to, amount| {
            let [from, to, amount] = [from, to, amount].map(|number| number.to_string());
            let request = ["EVAL", UNDECLARED, "0", &from, &to, &amount];
            assert_eq!(client.raw(&request), OK);
        }),
        writer(1, moves(&["EVAL", DECLARED])),
        writer(2, moves(&["EVAL", DECLARED])),
        writer(3, moves(&["FCALL", "move"])),
        writer(4, moves(&["FCALL", "move_and_count"])),
        writer(5, |client, from, to, amount| {
            for request in [
                vec!["MULTI".to_owned()],
                vec![
                    "DECRBY".to_owned(),
                    format!("account:{from}"),
                    amount.to_string(),
                ],
                ["EVAL", "return redis.call('INCRBY', KEYS[1], ARGV[1])", "1"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain([format!("account:{to}"), amount.to_string()])
                    .collect(),
                vec!["EXEC".to_owned()],
            ] {
                let reply = client.cmd(&request);
                assert!(!reply.is_error(), "{request:?}: {reply:?}");
            }
        }),
    ]
}

fn sum(reply: &Reply) -> i64 {
    let numbers = reply.items().iter().map(|item| item.text());
    numbers.map(|text| text.parse::<i64>().unwrap()).sum()
}

/// Adds all accounts up in every way.
fn look(client: &mut Client, accounts: &[String]) {
    let all = ACCOUNTS as i64 * AMOUNT;
    assert_eq!(sum(&client.cmd(&with_keys("MGET", accounts))), all, "MGET");
    assert_eq!(client.cmd(&["EVAL_RO", SUM, "0"]).int(), all, "EVAL_RO");
    assert_eq!(client.cmd(&["EVAL", SUM, "0"]).int(), all, "EVAL");
    let unproven = SUM.replace("redis.call(", "redis['call'](");
    assert_eq!(
        client.cmd(&["EVAL", &unproven, "0"]).int(),
        all,
        "the same, alone"
    );
    client.cmd(&["MULTI"]);
    client.cmd(&with_keys("MGET", accounts));
    client.cmd(&["EVAL_RO", SUM, "0"]);
    let reply = client.cmd(&["EXEC"]);
    assert_eq!(sum(&reply.items()[0]), all, "MULTI");
    assert_eq!(reply.items()[1].int(), all, "EVAL_RO in MULTI");
}

fn open(client: &mut Client, accounts: &[String]) {
    for account in accounts {
        assert_eq!(client.raw(&["SET", account, &AMOUNT.to_string()]), OK);
    }
    client.cmd(&["FUNCTION", "LOAD", LIBRARY]);
}

#[test]
fn nobody_sees_half_of_a_script() {
    with_threads(|server| {
        let accounts = keys("account", ACCOUNTS);
        let mut client = server.connect();
        open(&mut client, &accounts);
        observe(server, writers(), |client| look(client, &accounts));
        let moves = client.cmd(&["FCALL", "moves", "0"]).int();
        assert_eq!(
            moves,
            rounds() as i64 / 3,
            "one interpreter has counted all"
        );
    });
}

/// Elements that scripts push reach clients that wait, each one of them.
#[test]
fn what_scripts_push_reaches_one_waiting_client() {
    const ELEMENTS: usize = 600;
    const WAITING: usize = 6;
    let push = "for n = 1, 3 do redis.call('RPUSH', 'queue:' .. n, ARGV[1] .. ':' .. n) end";
    let move_one = "return redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')";
    with_threads(|server| {
        let got = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..WAITING {
                scope.spawn(|| {
                    let mut client = server.connect();
                    loop {
                        let reply =
                            client.cmd(&["BLPOP", "end:0", "queue:1", "out:2", "queue:3", "0"]);
                        let [key, element] = [0, 1].map(|at| reply.items()[at].text());
                        if key == "end:0" {
                            break;
                        }
                        got.lock().unwrap().push(element);
                    }
                });
            }
            let mut client = server.connect();
            for number in 0..ELEMENTS / 3 {
                client.cmd(&["EVAL", push, "0", &number.to_string()]);
                client.cmd(&["EVAL", move_one, "2", "queue:2", "out:2"]);
            }
            let left = ["queue:1", "out:2", "queue:3"];
            while left.iter().any(|key| client.cmd(&["LLEN", key]).int() > 0) {
                thread::yield_now();
            }
            let end = "for n = 1, ARGV[1] do redis.call('RPUSH', KEYS[1], n) end";
            client.cmd(&["EVAL", end, "1", "end:0", &WAITING.to_string()]);
        });
        let got = got.into_inner().unwrap();
        assert_eq!(got.len(), ELEMENTS);
        assert_eq!(
            got.iter().collect::<HashSet<_>>().len(),
            ELEMENTS,
            "each once"
        );
    });
}

/// A log that was cut off anywhere has all of a script or nothing of it.
#[test]
fn a_log_has_scripts_whole() {
    let mut server = Server::kivi(&[
        "--appendonly",
        "yes",
        "--io-threads",
        "4",
        "--enable-debug-command",
        "yes",
    ]);
    let accounts = keys("account", ACCOUNTS);
    open(&mut server.connect(), &accounts);
    observe(&server, writers(), |client| {
        client.cmd(&["BGREWRITEAOF"]);
        look(client, &accounts);
    });
    let mut client = server.connect();
    let digest = client.cmd(&["DEBUG", "DIGEST"]);
    assert_eq!(client.raw(&["DEBUG", "LOADAOF"]), OK);
    assert_eq!(client.cmd(&["DEBUG", "DIGEST"]), digest);
    look(&mut client, &accounts);
    server.assert_alive();
}
