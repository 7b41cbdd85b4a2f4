//! Every command against requests that nobody would send: whatever the arguments are, a command
//! answers with exactly one well-formed reply, in both protocols, and never panics.
//!
//! Requests are drawn from a fixed seed, so a failure comes again; it names the request.
//! `KIVI_FUZZ_ROUNDS` asks for more rounds than a test run has time for.

use crate::commands::tests::Test;
use crate::commands::{CommandTable, Registered};
use crate::db::Outcome;
use crate::exec::Flow;
use crate::resp::read::Reply;
use crate::spec::Flags;
use crate::util::rng::Rng;

/// Requests per command and protocol.
const ROUNDS: usize = 2_000;

/// Words that commands give a meaning to, or that break naive checks.
const WORDS: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"-1",
    b"2",
    b"3",
    b"10",
    b"-0",
    b"+1",
    b"01",
    b" 1",
    b"1.5",
    b"-1e400",
    b"nan",
    b"inf",
    b"1e3",
    b"0x10",
    b"100",
    b"16",
    b"15",
    b"1700000000",
    b"1700000001000",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"18446744073709551615",
    b"18446744073709551616",
    b"4294967296",
    b"2147483647",
    b"2147483648",
    b"-2147483649",
    b"536870912",
    b"536870911",
    b"99999999999999999999999999",
    b"EX",
    b"PX",
    b"EXAT",
    b"PXAT",
    b"KEEPTTL",
    b"PERSIST",
    b"NX",
    b"XX",
    b"GT",
    b"LT",
    b"IFEQ",
    b"GET",
    b"DB",
    b"REPLACE",
    b"MATCH",
    b"COUNT",
    b"TYPE",
    b"LEN",
    b"LEFT",
    b"RIGHT",
    b"BEFORE",
    b"AFTER",
    b"RANK",
    b"MAXLEN",
    b"IDX",
    b"MINMATCHLEN",
    b"BIT",
    b"BYTE",
    b"AND",
    b"NOT",
    b"DIFF1",
    b"ONE",
    b"SET",
    b"INCRBY",
    b"OVERFLOW",
    b"SAT",
    b"FAIL",
    b"u8",
    b"i64",
    b"u63",
    b"#1",
    b"WITHMATCHLEN",
    b"WITHSCORE",
    b"WITHSCORES",
    b"NOSCORES",
    b"INCR",
    b"CH",
    b"BYSCORE",
    b"BYLEX",
    b"REV",
    b"LIMIT",
    b"WEIGHTS",
    b"AGGREGATE",
    b"SUM",
    b"MIN",
    b"MAX",
    b"(1",
    b"[a",
    b"-",
    b"+",
    b"ON",
    b"OFF",
    b"SKIP",
    b"YES",
    b"NO",
    b"ID",
    b"USER",
    b"ADDR",
    b"LADDR",
    b"SKIPME",
    b"MAXAGE",
    b"IDLE",
    b"NAME",
    b"NOT-ID",
    b"NOT-DB",
    b"FLAGS",
    b"CAPA",
    b"IP",
    b"NOT-FLAGS",
    b"LIB-NAME",
    b"LIB-VER",
    b"AUTH",
    b"SETNAME",
    b"default",
    b"normal",
    b"WRITE",
    b"ALL",
    b"SYNC",
    b"ASYNC",
    b"FILTERBY",
    b"PATTERN",
    b"ACLCAT",
    b"MODULE",
    b"string",
    b"FIELDS",
    b"FNX",
    b"FXX",
    b"NOVALUES",
    b"WITHVALUES",
    b"f",
    b"SAMPLES",
    b"VERSION",
    b"get",
    b"set",
    b"mset",
    b"msetex",
    b"client",
    b"client|kill",
    b"HELP",
    b"help",
    b"keys",
    b"object",
    b"maxclients",
    b"requirepass",
    b"max*",
    b"*",
    b"a*b?[c-",
    b"[^a]\\",
    b"all",
    b"everything",
    b"keyspace",
    b"stats",
    b"STRINGMATCH-LEN",
    b"PROTOCOL",
    b"OBJECT",
    b"attrib",
    b"map",
    b"push",
    b"POPULATE",
    b"SET-ACTIVE-EXPIRE",
    b"k1",
    b"k2",
    b"k3",
    b"nosuch",
    b"\r\n",
    b"+OK\r\n",
    b"a\r\n$1\r\nb",
    b"\x00",
    b"\xff\xfe\x80",
    b"%s%n",
    b"'\"",
    b"\xc3\xa9",
];

/// Keys, so that many requests meet some.
const KEYS: &[&[u8]] = &[
    b"k1",
    b"k2",
    b"k3",
    b"n",
    b"big",
    b"",
    b"\x00\xff",
    b"h1",
    b"h2",
    b"l1",
    b"l2",
    b"z1",
    b"z2",
];

fn random_word(rng: &mut Rng) -> Vec<u8> {
    match rng.below(16) {
        0..=8 => WORDS[rng.below(WORDS.len() as u64) as usize].to_vec(),
        9..=12 => KEYS[rng.below(KEYS.len() as u64) as usize].to_vec(),
        13 => (rng.next_u64() as i64 >> rng.below(64))
            .to_string()
            .into_bytes(),
        14 => (0..rng.below(40)).map(|_| rng.next_u64() as u8).collect(),
        _ => vec![b'a' + rng.below(3) as u8; rng.below(300) as usize],
    }
}

/// A request: the command's name(s), then about as many words as it wants, or a few more or less.
pub(super) fn random_request(rng: &mut Rng, command: &Registered) -> Vec<Vec<u8>> {
    let mut request: Vec<Vec<u8>> = command
        .full_name
        .split('|')
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let least = command.row.arity.unsigned_abs() as usize;
    let most = match command.row.arity {
        0.. => least + 1,
        _ => least + 2 + rng.below(8) as usize,
    };
    let fewest = least.saturating_sub(1);
    let argc = fewest + rng.below((most - fewest + 1) as u64) as usize;
    while request.len() < argc {
        request.push(random_word(rng));
    }
    request
}

/// Requests that have their effect outside of the reply, or that would take the time away from the
/// others.
pub(super) fn is_left_out(request: &[Vec<u8>]) -> bool {
    let is = |at: usize, word: &str| {
        request
            .get(at)
            .is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    let huge = |at: usize| {
        let number = request
            .get(at)
            .and_then(|arg| crate::util::num::parse_i64(arg));
        number.is_some_and(|number| number > 1_000)
    };
    let huge_negative = |at: usize| {
        let number = request
            .get(at)
            .and_then(|arg| crate::util::num::parse_i64(arg));
        number.is_some_and(|number| (-100_000_000..-1_000).contains(&number))
    };
    let huge_offset = |at: usize| {
        let number = crate::util::num::parse_i64(&request[at]);
        number.is_some_and(|number| (100_000..1 << 32).contains(&number))
    };
    // No reply, as asked.
    (is(0, "client") && is(1, "reply") && (is(2, "off") || is(2, "skip")))
        // Every further request would be shown behind its reply.
        || (is(0, "monitor") && request.len() == 1)
        // A reply for each name, and then nearly everything is refused.
        || (["subscribe", "psubscribe", "ssubscribe"].iter().any(|name| is(0, name))
            && request.len() > 1)
        || (["unsubscribe", "punsubscribe", "sunsubscribe"].iter().any(|name| is(0, name))
            && request.len() > 2)
        // Would hold all that follows.
        || (is(0, "client") && is(1, "pause"))
        // Writes a file, or changes the password or the process.
        || (is(0, "config") && (is(1, "rewrite") || is(1, "set")))
        || is(0, "shutdown")
        || (is(0, "debug") && ["assert", "panic", "segfault", "sleep"].iter().any(|name| is(1, name)))
        // Millions of keys, or values of half a gigabyte: right, but not here.
        || (is(0, "debug") && is(1, "populate") && huge(2))
        || (is(0, "debug") && is(1, "stringmatch-len"))
        || (is(0, "setrange") && huge(2))
        || ((is(0, "setbit") || is(0, "bitfield")) && (2..request.len()).any(huge_offset))
        // Seconds of arithmetic without optimisation; it has a test of its own.
        || (is(0, "pfselftest") && request.len() == 1)
        || ((is(0, "hrandfield") || is(0, "zrandmember")) && huge_negative(2))
}

fn new_server(resp3: bool) -> Test {
    let mut test = Test::new();
    fill(&mut test, resp3);
    test
}

/// Keys of all types.
pub(super) fn fill(test: &mut Test, resp3: bool) {
    if resp3 {
        test.run("HELLO 3");
    }
    for line in [
        "SET k1 hello",
        "SET k2 world PX 100000",
        "SET n 41",
        "SET k3 \"\"",
    ] {
        test.run(line).is("+OK");
    }
    test.run("ZADD z1 1 a 2.5 b -inf 3").is(":3");
    for number in 0..200 {
        test.run(&format!("ZADD z2 {} m{number}", number % 50))
            .is(":1");
    }
    test.run("HSET h1 f 1 1 2 \"\" x").is(":3");
    test.run("HSETEX h2 PX 100000 FIELDS 2 f 1 1 2").is(":1");
    test.run("RPUSH l1 1 2 LEFT \"\" 1").is(":5");
    test.args(&[b"RPUSH", b"l2", b"1", &[b'x'; 9000], b"2"])
        .is(":3");
    test.args(&[b"SET", b"big", &[b'x'; 40_000]]).is("+OK");
}

/// Whether a command may have answers that are nobody's reply follow: messages, or what others do.
fn answers_much(command: &Registered) -> bool {
    command.row.flags.has(Flags::PUBSUB) || command.row.name == "monitor"
}

/// Sends a request and checks the reply. What the client may have changed of itself is set back.
/// One that subscribes answers for each channel, in the place of one reply (`many`).
fn check(test: &mut Test, request: &[Vec<u8>], resp3: bool, many: bool) {
    let args: Vec<&[u8]> = request.iter().map(|arg| &arg[..]).collect();
    let (mut bytes, mut flow) = test.session.call(&args);
    if matches!(flow, Flow::Abort) {
        assert!(bytes.is_empty(), "{:?}", shown(request));
        return;
    }
    if let Flow::Block(waiter) = &flow {
        assert!(bytes.is_empty(), "{:?}", shown(request));
        waiter.decide(Outcome::TimedOut);
        bytes = test.session.end_wait(waiter).unwrap_or_default();
        flow = Flow::Done;
    }
    assert!(
        matches!(flow, Flow::Done | Flow::Close),
        "{:?}: {flow:?}",
        shown(request)
    );
    let replies = Reply::parse_all(&bytes);
    let replies = match replies {
        Ok(replies) => replies,
        Err(error) => panic!(
            "{:?}: {error:?} in {}",
            shown(request),
            bytes.escape_ascii()
        ),
    };
    // DEBUG PROTOCOL PUSH writes a push message, which is nobody's reply, and may write an answer.
    let is_push = |reply: &Reply| matches!(reply, Reply::Push(_));
    let answers = replies.iter().filter(|reply| !is_push(reply)).count();
    let whole = many || answers == 1 || (answers == 0 && replies.len() == 1);
    assert!(whole, "{:?}: {} replies", shown(request), replies.len());
    // Clients that are killed here are only told so; the answers must not change for the requests
    // that follow.
    let wants = if resp3 { "HELLO 3" } else { "HELLO 2" };
    if many {
        test.run("RESET");
    }
    let is = |name: &[u8]| request[0].eq_ignore_ascii_case(name);
    if many || is(b"hello") || is(b"reset") {
        test.run(wants);
    }
    // Or else nothing that follows would be run.
    test.run("DISCARD");
}

fn shown(request: &[Vec<u8>]) -> Vec<String> {
    request
        .iter()
        .map(|arg| arg.escape_ascii().to_string())
        .collect()
}

fn rounds() -> usize {
    let asked = std::env::var("KIVI_FUZZ_ROUNDS").ok();
    asked
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(ROUNDS)
}

fn fuzz(resp3: bool, seed: u64) {
    let table = CommandTable::new(&[]).unwrap();
    let mut rng = Rng::from_seed(seed);
    let mut test = new_server(resp3);
    for command in table.commands() {
        for command in std::iter::once(command).chain(&command.subcommands) {
            // Commands that answer with the whole table take thousandfold the time of others.
            let rounds = match command.full_name.starts_with("command") {
                true => rounds() / 20,
                false => rounds(),
            };
            for round in 0..rounds {
                if round % 500 == 499 {
                    test = new_server(resp3);
                }
                let request = random_request(&mut rng, command);
                if !is_left_out(&request) {
                    let many = answers_much(command);
                    check(&mut test, &request, resp3, many);
                }
                test.clock.advance(rng.below(50));
            }
        }
    }
}

/// Each in a transaction of its own, behind another command.
fn fuzz_in_multi(resp3: bool, seed: u64) {
    let table = CommandTable::new(&[]).unwrap();
    let mut rng = Rng::from_seed(seed);
    let mut test = new_server(resp3);
    for command in table.commands() {
        for command in std::iter::once(command).chain(&command.subcommands) {
            let rounds = match command.full_name.starts_with("command") {
                true => rounds() / 200,
                false => rounds() / 10,
            };
            for round in 0..rounds {
                if round % 500 == 499 {
                    test = new_server(resp3);
                }
                let request = random_request(&mut rng, command);
                if is_left_out(&request) {
                    continue;
                }
                test.run("MULTI").is("+OK");
                test.run("GET k1").is("+QUEUED");
                let args: Vec<&[u8]> = request.iter().map(|arg| &arg[..]).collect();
                let queued = test.args(&args).text();
                let many = answers_much(command);
                check(&mut test, &[b"EXEC".to_vec()], resp3, many);
                if queued.starts_with("+QUEUED") {
                    test.run(if resp3 { "HELLO 3" } else { "HELLO 2" });
                }
                test.clock.advance(rng.below(50));
            }
        }
    }
}

#[test]
fn every_request_gets_one_reply_in_a_transaction() {
    fuzz_in_multi(false, 0x5EED_0004);
    fuzz_in_multi(true, 0x5EED_0005);
}

#[test]
fn every_request_gets_one_reply_in_resp2() {
    fuzz(false, 0x5EED_0001);
}

#[test]
fn every_request_gets_one_reply_in_resp3() {
    fuzz(true, 0x5EED_0002);
}
