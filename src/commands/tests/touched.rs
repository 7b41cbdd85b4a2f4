//! The keys that a command touches are those that its key specs find: what locks, ACL and COMMAND GETKEYS
//! go by. Random requests of every command are run, and what the access guards have recorded is compared
//! with what the specs say; then users of whom all keys are not allowed run them, by themselves, in
//! transactions and in scripts, and touch no other.

use std::collections::BTreeSet;

use crate::commands::tests::{Test, requests};
use crate::commands::{CommandTable, Registered};
use crate::db::Outcome;
use crate::db::access::record::{self, Touch};
use crate::exec::Flow;
use crate::resp::parse::{Argv, Span};
use crate::spec::{Flags, KeyFlags, keys};
use crate::util::rng::Rng;

/// Requests of each command.
const ROUNDS: usize = 30;

/// Commands that touch keys which no request names: whoever may run them may.
const NAME_NO_KEY: &[&str] = &[
    // They walk over the keyspace, or take a key out of it by chance.
    "keys",
    "scan",
    "randomkey", // For whoever looks after the server, as in Valkey.
    "debug",
];

/// Commands that end the connection or the process, or hold everybody up.
const LEFT_OUT: &[&str] = &[
    "shutdown",
    "quit",
    "monitor",
    "client|pause",
    "client|reply",
    "client|kill",
    "reset",
    "hello",
    "auth",
    "config|set",
    "config|rewrite",
    "pfselftest",
    "multi",
];

/// A request with where its arguments are.
struct Kept {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Kept {
    fn new(request: &[Vec<u8>]) -> Kept {
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        for arg in request {
            let (start, len) = (bytes.len() as u32, arg.len() as u32);
            spans.push(Span { start, len });
            bytes.extend_from_slice(arg);
        }
        Kept { bytes, spans }
    }

    /// Keys that the specs find, and whether each may be changed.
    fn keys(&self, command: &Registered) -> Vec<(Vec<u8>, bool)> {
        let argv = Argv::new(&self.bytes, &self.spans);
        let mut found = Vec::new();
        // Specs that lead nowhere: what was found before counts.
        let _ = keys::for_each_key(command.row.keys, argv, |at, spec| {
            if spec.is_key() {
                let flags = spec.flags_in(argv);
                let may_change = !flags.has(KeyFlags::RO);
                found.push((argv[at].to_vec(), may_change));
            }
        });
        found
    }

    fn needs_all(&self, command: &Registered) -> bool {
        let argv = Argv::new(&self.bytes, &self.spans);
        command.row.exclusive_if.is_some_and(|needs| needs(argv))
    }
}

/// Runs a request; its reply, and what it has touched.
fn run(test: &mut Test, request: &[Vec<u8>]) -> (String, Vec<Touch>) {
    let args: Vec<&[u8]> = request.iter().map(|arg| &arg[..]).collect();
    let ((bytes, flow), touched) = record::recorded(|| test.session.call(&args));
    if let Flow::Block(waiter) = &flow {
        waiter.decide(Outcome::TimedOut);
        let reply = test.session.end_wait(waiter);
        assert!(reply.is_some());
    }
    (String::from_utf8_lossy(&bytes).into_owned(), touched)
}

fn shown(request: &[Vec<u8>]) -> String {
    let words = request.iter().map(|arg| String::from_utf8_lossy(arg));
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn commands_touch_only_keys_that_their_specs_find() {
    let table = CommandTable::new(&[]).unwrap();
    let mut rng = Rng::from_seed(0x5EED_0009);
    let mut never: BTreeSet<&str> = BTreeSet::new();
    let mut unread: BTreeSet<&str> = BTreeSet::new();
    for command in table.commands() {
        for command in std::iter::once(command).chain(&command.subcommands) {
            let name = &*command.full_name;
            let is_left_out = LEFT_OUT.contains(&name) || !command.subcommands.is_empty();
            if is_left_out || command.row.flags.any(Flags::HIDDEN | Flags::PROTECTED) {
                continue;
            }
            let has_worked = check(command, &mut rng, &mut unread);
            if !has_worked && !command.row.keys.is_empty() {
                never.insert(name);
            }
        }
    }
    // A test that only sees errors tells nothing.
    assert_eq!(never, BTreeSet::new());
    // Which entries others have read is known to the group, in Valkey, too, for the price of reading.
    assert_eq!(unread, BTreeSet::from(["xreadgroup"]));
}

/// Whether any of the requests was no error.
fn check<'t>(command: &'t Registered, rng: &mut Rng, unread: &mut BTreeSet<&'t str>) -> bool {
    let mut has_worked = false;
    let mut test = Test::new();
    for round in 0..ROUNDS {
        if round % 15 == 0 {
            test = Test::new();
            requests::fill(&mut test);
        }
        let request = requests::request(rng, command);
        let kept = Kept::new(&request);
        let (reply, touched) = run(&mut test, &request);
        has_worked |= !reply.starts_with('-');
        let named = kept.keys(command);
        let names_all = NAME_NO_KEY.contains(&&*command.full_name) || kept.needs_all(command);
        for touch in &touched {
            let of_key = named.iter().filter(|(key, _)| *key == touch.key);
            let found: Vec<bool> = of_key.map(|(_, may_change)| *may_change).collect();
            let text = shown(&request);
            assert!(
                names_all || !found.is_empty(),
                "{text}: touches {touch:?}, {reply}"
            );
            if touch.is_change && !names_all && !found.contains(&true) {
                unread.insert(&command.full_name);
            }
        }
    }
    has_worked
}

/// What may be done with a key by the user of [`a_user_touches_no_key_but_its_own`]: it may read those that
/// end with 1 or 2, and write those that end with 1 or 3.
const RULES: &str = "ACL SETUSER anna on nopass +@all ~k?1 %R~k?2 %W~k?3";

/// Commands that may change a key which their user may only read, as in Valkey: who has read an entry of
/// a group is noted, an estimate is kept, and registers that are shown are unpacked.
const CHANGE_WHAT_THEY_READ: &[&str] = &["xreadgroup", "pfcount", "pfdebug"];

/// How a request comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Plain,
    Transaction,
    Script,
}

/// Runs a request in a way; the last reply, and what all of it has touched.
fn run_in(test: &mut Test, way: Way, request: &[Vec<u8>]) -> (String, Vec<Touch>) {
    match way {
        Way::Plain => run(test, request),
        Way::Transaction => {
            test.run("MULTI").is("+OK");
            let (_, mut touched) = run(test, request);
            let (reply, more) = run(test, &[b"EXEC".to_vec()]);
            touched.extend(more);
            (reply, touched)
        }
        Way::Script => {
            let eval = ["EVAL", "return redis.pcall(unpack(ARGV))", "0"];
            let eval = eval.iter().map(|word| word.as_bytes().to_vec());
            let request: Vec<Vec<u8>> = eval.chain(request.iter().cloned()).collect();
            run(test, &request)
        }
    }
}

#[test]
fn a_user_touches_no_key_but_its_own() {
    let table = CommandTable::new(&[]).unwrap();
    let mut rng = Rng::from_seed(0x5EED_000A);
    let mut denied = BTreeSet::new();
    for command in table.commands() {
        for command in std::iter::once(command).chain(&command.subcommands) {
            let name = &*command.full_name;
            let is_left_out = LEFT_OUT.contains(&name) || NAME_NO_KEY.contains(&name);
            if is_left_out || command.row.keys.is_empty() {
                continue;
            }
            let mut test = Test::new();
            for round in 0..ROUNDS {
                if round % 15 == 0 {
                    test = Test::new();
                    requests::fill(&mut test);
                    test.run(RULES).is("+OK");
                    test.run("AUTH anna x").is("+OK");
                }
                let way = [Way::Plain, Way::Transaction, Way::Script][round % 3];
                let request = requests::request(&mut rng, command);
                let (reply, touched) = run_in(&mut test, way, &request);
                if reply.contains("o permissions to access a key") {
                    denied.insert(name);
                }
                for touch in touched {
                    let allowed = match touch.is_change && !CHANGE_WHAT_THEY_READ.contains(&name) {
                        true => [b'1', b'3'].as_slice(),
                        false => [b'1', b'2', b'3'].as_slice(),
                    };
                    let last = touch.key.last().copied().unwrap_or_default();
                    let text = shown(&request);
                    assert!(
                        allowed.contains(&last),
                        "{way:?} {text}: {touch:?}, {reply}"
                    );
                }
            }
        }
    }
    assert!(
        denied.len() > 150,
        "only {} commands were denied keys",
        denied.len()
    );
}
