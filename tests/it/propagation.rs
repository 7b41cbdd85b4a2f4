//! The same random commands to Kivi and to Valkey, both with an append-only file: each must have added
//! the same to it. Then each reads what the other has written.
//!
//! Behind each command comes a mark, so that what was added is compared command by command. Not
//! compared are the framing by MULTI and EXEC, where SELECT stands (the database of a record is), and
//! the moment at which a key that was born expired is deleted. Members that SPOP has chosen at random
//! are left out (`src/commands/tests/propagation.rs` has them).
//!
//! Environment: `KIVI_TEST_STEPS` commands; `KIVI_TEST_SEED` runs one episode only.

use std::path::Path;

use crate::client::{Client, encode, show_command};
use crate::differences::Words;
use crate::generate::{Generator, Step};
use crate::harness::{env_number, eventually};
use crate::store::{ALWAYS, Store};

const STEPS_DEFAULT: u64 = 15_000;
const STEPS_PER_EPISODE: u64 = 300;
/// Commands that are sent at once.
const BATCH: usize = 40;
/// The key of the marks.
const MARK: &[u8] = b"#";
/// How far apart the two servers may run a command, ms.
const SLACK_MS: u64 = 20_000;
/// Smaller numbers are no times of today, Unix ms.
const TIME_MS_MIN: u64 = 1_700_000_000_000;

const ARGS: &[&str] = &["--enable-debug-command", "yes", "--hz", "500"];

/// A request as it stands in the file.
type Request = Vec<Vec<u8>>;

/// A command of a log, with its database.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Record {
    db: Vec<u8>,
    argv: Request,
}

#[test]
fn the_log_says_what_valkeys_says() {
    let Some(valkey_store) = Store::of("valkey") else {
        return;
    };
    let kivi_store = Store::kivi();
    let args = [ARGS, ALWAYS].concat();
    let (mut kivi, valkey) = (kivi_store.start(&args), valkey_store.start(&args));
    let steps = env_number("KIVI_TEST_STEPS", STEPS_DEFAULT);
    let only = std::env::var("KIVI_TEST_SEED").ok();
    let seeds = match only {
        Some(seed) => {
            let seed: u64 = seed.parse().expect("KIVI_TEST_SEED");
            seed..seed + 1
        }
        None => 1..steps.div_ceil(STEPS_PER_EPISODE) + 1,
    };
    let mut sent: Vec<Step> = Vec::new();
    let (mut ours, mut theirs) = (kivi.connect(), valkey.connect());
    for seed in seeds {
        let steps = episode(seed, sent.len());
        for batch in steps.chunks(BATCH) {
            send(&mut ours, batch, sent.len());
            send(&mut theirs, batch, sent.len());
            sent.extend_from_slice(batch);
        }
    }
    let [ours, theirs] = [&kivi_store, &valkey_store]
        .map(|store| records(&std::fs::read(store.log_file("incr.aof")).expect("the log")));
    compare(&sent, &ours, &theirs);
    kivi.assert_alive();
    let digest = digest(&mut kivi.connect());
    eventually("expired keys to be gone at Valkey's, too", || {
        (self::digest(&mut valkey.connect()) == digest).then_some(())
    });
    let reply = kivi.connect().cmd(&["DEBUG", "LOADAOF"]);
    assert_eq!(reply.text(), "OK");
    assert_eq!(self::digest(&mut kivi.connect()), digest, "DEBUG LOADAOF");
    drop((kivi, valkey));
    exchange(&kivi_store, &valkey_store);
    for store in [&kivi_store, &valkey_store] {
        let server = store.start(&args);
        eventually("the same keyspace out of the other's log", || {
            (self::digest(&mut server.connect()) == digest).then_some(())
        });
    }
}

/// The commands of a seed, with a flush before.
fn episode(seed: u64, first: usize) -> Vec<Step> {
    let mut generator = Generator::new(seed);
    let mut steps = Vec::new();
    while steps.len() < STEPS_PER_EPISODE as usize {
        let step = generator.step();
        if is_comparable(&step) {
            steps.push(step);
        }
    }
    if first > 0 {
        steps[0].argv = vec![b"FLUSHALL".to_vec()];
    }
    steps
}

/// Whether both servers do the same, log it, and go on.
fn is_comparable(step: &Step) -> bool {
    let words = Words::of(&step.argv);
    let is_other = words.is("lastsave") || step.argv.contains(&MARK.to_vec());
    step.does_the_same() && !is_other && !is_garbled(&words)
}

/// Whether Valkey logs something else than it has done: of a time that is given twice it makes only
/// one absolute, which it cannot read, of HSETEX it leaves out a key that looks like an option, and of
/// BITFIELD that a value has grown for what was not written then.
fn is_garbled(words: &Words) -> bool {
    let is_time = |word: &String| ["ex", "px", "exat", "pxat", "keepttl"].contains(&word.as_str());
    let is_option = |word: &String| ["nx", "xx", "fnx", "fxx"].contains(&word.as_str());
    words.0.iter().filter(|word| is_time(word)).count() > 1
        || words.is("bitfield") && words.has("fail")
        || words.is("hsetex")
            && words
                .0
                .get(1)
                .is_some_and(|key| is_time(key) || is_option(key))
}

fn mark(number: usize) -> Request {
    vec![
        b"SET".to_vec(),
        MARK.to_vec(),
        number.to_string().into_bytes(),
    ]
}

/// Sends commands, each with its mark, and waits for the replies.
fn send(client: &mut Client, steps: &[Step], first: usize) {
    let mut bytes = Vec::new();
    for (step, number) in steps.iter().zip(first..) {
        bytes.extend_from_slice(&encode(&step.argv));
        bytes.extend_from_slice(&encode(&mark(number)));
    }
    client.send(&bytes);
    for _ in 0..2 * steps.len() {
        client.read();
    }
}

/// The records of a log, by the marks behind them.
fn records(mut bytes: &[u8]) -> Vec<Vec<Record>> {
    let mut all = Vec::new();
    let (mut db, mut since) = (b"0".to_vec(), Vec::new());
    while !bytes.is_empty() {
        if bytes[0] == b'#' {
            // An annotation: the beginning of a group, or room that is reserved.
            let end = bytes
                .iter()
                .position(|&byte| byte == b'\n')
                .expect("a line");
            bytes = &bytes[end + 1..];
            continue;
        }
        let argv = request(&mut bytes);
        match &argv[0].to_ascii_uppercase()[..] {
            b"SELECT" => db = argv[1].clone(),
            b"MULTI" | b"EXEC" => {}
            _ if argv == mark(all.len()) => all.push(std::mem::take(&mut since)),
            _ => since.push(Record {
                db: db.clone(),
                argv,
            }),
        }
    }
    all
}

/// Takes a request off a log.
fn request(bytes: &mut &[u8]) -> Request {
    let number = |bytes: &mut &[u8]| -> usize {
        let end = bytes
            .iter()
            .position(|&byte| byte == b'\r')
            .expect("a line");
        let text = std::str::from_utf8(&bytes[1..end]).expect("a number");
        *bytes = &bytes[end + 2..];
        text.parse().expect("a number")
    };
    let args = number(bytes);
    let arg = |_| {
        let len = number(bytes);
        let (arg, rest) = bytes.split_at(len);
        *bytes = &rest[2..];
        arg.to_vec()
    };
    (0..args).map(arg).collect()
}

fn compare(sent: &[Step], ours: &[Vec<Record>], theirs: &[Vec<Record>]) {
    assert_eq!(ours.len(), sent.len(), "marks in Kivi's log");
    assert_eq!(theirs.len(), sent.len(), "marks in Valkey's log");
    let mut faults = Vec::new();
    let mut logged = 0;
    for ((step, ours), theirs) in sent.iter().zip(ours).zip(theirs) {
        logged += ours.len();
        let (our_rest, their_rest) = (without_expired(ours), without_expired(theirs));
        let agree =
            same(ours, theirs) || same(&our_rest, &their_rest) || says_hset(&our_rest, &their_rest);
        if !agree {
            faults.push(format!(
                "{}\n  kivi:   {}\n  valkey: {}",
                show_command(&step.argv),
                shown(ours),
                shown(theirs)
            ));
        }
    }
    assert!(
        logged > sent.len() / 4,
        "{logged} records are too few to tell"
    );
    let count = faults.len();
    faults.truncate(30);
    assert!(
        faults.is_empty(),
        "{count} disagreements\n{}",
        faults.join("\n")
    );
}

fn shown(records: &[Record]) -> String {
    let one = |record: &Record| show_command(&record.argv);
    records.iter().map(one).collect::<Vec<_>>().join(" | ")
}

/// Without keys that were born expired, which are deleted when somebody comes upon them.
fn without_expired(records: &[Record]) -> Vec<Record> {
    let is_expired = |record: &&Record| record.argv.len() == 2 && record.argv[0] == b"UNLINK";
    records
        .iter()
        .filter(|record| !is_expired(record))
        .cloned()
        .collect()
}

/// Of a hash with fields that expire Valkey says what was set, not how it came to that.
fn says_hset(ours: &[Record], theirs: &[Record]) -> bool {
    let ([ours], [theirs]) = (ours, theirs) else {
        return false;
    };
    let name = ours.argv[0].to_ascii_uppercase();
    let field_at = match &theirs.argv[0][..] {
        b"HSET" => 2,
        b"HSETEX" => 6,
        _ => return false,
    };
    [&b"HSETNX"[..], b"HINCRBY"].contains(&&name[..])
        && ours.argv[1] == theirs.argv[1]
        && theirs.argv.get(field_at) == ours.argv.get(2)
}

fn same(ours: &[Record], theirs: &[Record]) -> bool {
    let same_record = |(ours, theirs): (&Record, &Record)| {
        ours.db == theirs.db
            && ours.argv.len() == theirs.argv.len()
            && ours
                .argv
                .iter()
                .zip(&theirs.argv)
                .all(|(a, b)| a.eq_ignore_ascii_case(b) || same_time(a, b))
    };
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(same_record)
}

/// Whether both are times after now, or a little before, and not far apart.
fn same_time(ours: &[u8], theirs: &[u8]) -> bool {
    let time = |text: &[u8]| -> Option<u64> { std::str::from_utf8(text).ok()?.parse().ok() };
    let (Some(ours), Some(theirs)) = (time(ours), time(theirs)) else {
        return false;
    };
    ours > TIME_MS_MIN && ours.abs_diff(theirs) < SLACK_MS
}

fn digest(client: &mut Client) -> String {
    client.cmd(&["DEBUG", "DIGEST"]).text()
}

/// Each store gets the other's log.
fn exchange(a: &Store, b: &Store) {
    let folder = "appendonlydir";
    let aside = tempfile::TempDir::new().expect("temporary folder");
    copy(&a.path(folder), aside.path());
    for (from, to) in [
        (b.path(folder), a.path(folder)),
        (aside.path().into(), b.path(folder)),
    ] {
        std::fs::remove_dir_all(&to).expect("removed");
        std::fs::create_dir(&to).expect("made");
        copy(&from, &to);
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
}
