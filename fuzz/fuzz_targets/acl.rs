//! Rules of users: whatever they are, they are applied as a whole or refused; what was accepted can be told
//! again, and told again makes the same user, who may do the same. What begins as a file of users does is
//! one: it is taken over as a whole or changes nothing, and is saved as what loads as the same.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use kivi::acl::{Acl, Denial, Request, Rights, User, World, describe_user};
use kivi::commands::CommandTable;
use kivi::commands::table::Found;
use kivi::db::DbIndex;
use kivi::resp::{Argv, Span};
use libfuzzer_sys::fuzz_target;

static TABLE: LazyLock<CommandTable> =
    LazyLock::new(|| CommandTable::new(&[]).expect("no command is renamed"));

/// Where the file is: in memory, if there is such a place.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let shm = PathBuf::from("/dev/shm");
    let base = if shm.is_dir() {
        shm
    } else {
        std::env::temp_dir()
    };
    let folder = base.join(format!("kivi-fuzz-acl-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder.join("users.acl")
});

/// What users are asked about: keys that are read and written, patterns, channels, databases, subcommands.
const REQUESTS: &[&str] = &[
    "GET a",
    "SET b 1",
    "GETDEL abc",
    "COPY a b DB 1",
    "RENAME a key",
    "MGET a b key",
    "ZUNIONSTORE a 2 b key",
    "SORT a BY w* GET x*",
    "SORT_RO a BY nosort",
    "EVAL return 1 1 a",
    "PUBLISH a m",
    "SUBSCRIBE a news:1",
    "PSUBSCRIBE a*",
    "SSUBSCRIBE a",
    "SELECT 3",
    "MOVE a 1",
    "SWAPDB 0 1",
    "FLUSHALL",
    "CONFIG GET port",
    "CONFIG SET port 1",
    "CLIENT KILL ID 1",
    "XREAD STREAMS a b 0 0",
    "KEYS a*",
    "PING",
];

/// What is lacking for each of the requests.
fn answers(rights: &Rights) -> Vec<Result<(), Denial>> {
    let asked = REQUESTS.iter().map(|text| {
        let mut spans = Vec::new();
        let mut start = 0;
        for word in text.split(' ') {
            let len = word.len() as u32;
            spans.push(Span { start, len });
            start += len + 1;
        }
        let argv = Argv::new(text.as_bytes(), &spans);
        let Found::Command(command) = TABLE.find(argv) else {
            panic!("no command: {text}")
        };
        rights.check(&Request {
            command: command.id,
            row: command.row,
            argv,
            db: DbIndex(1),
        })
    });
    asked.collect()
}

fn told(user: &User) -> (Vec<u8>, Vec<Result<(), Denial>>) {
    let rights = user.rights();
    (describe_user(&rights), answers(&rights))
}

fn all(acl: &Acl) -> Vec<(Vec<u8>, Vec<u8>)> {
    let users = acl.users();
    let told = |user: &Arc<User>| (user.name.to_vec(), describe_user(&user.rights()));
    users.iter().map(told).collect()
}

fn all_answers(acl: &Acl) -> Vec<Vec<Result<(), Denial>>> {
    let users = acl.users();
    users.iter().map(|user| answers(&user.rights())).collect()
}

fn check_file(content: &[u8], world: World<'_>) {
    let (acl, again) = (Acl::default(), Acl::default());
    let before = all(&acl);
    fs::write(&*FILE, content).expect("a file");
    if let Err(error) = acl.load_file(&FILE, world) {
        assert!(!error.0.is_empty());
        assert_eq!(all(&acl), before);
        return;
    }
    acl.save_file(&FILE).expect("it is saved");
    let load_again = || {
        let loaded = again.load_file(&FILE, world);
        loaded.expect("what was saved can be loaded");
    };
    load_again();
    assert_eq!(all_answers(&acl), all_answers(&again));
    // Its text settles when it is told twice, see below.
    let once = all(&again);
    again.save_file(&FILE).expect("it is saved");
    let saved = fs::read(&*FILE).expect("a file");
    load_again();
    again.save_file(&FILE).expect("it is saved");
    assert_eq!(once, all(&again));
    assert_eq!(fs::read(&*FILE).expect("a file"), saved);
}

fuzz_target!(|data: &[u8]| {
    let world = World {
        catalog: TABLE.acl_catalog(),
        databases: 16,
        all_channels: data.len().is_multiple_of(2),
    };
    if data.starts_with(b"user ") {
        return check_file(data, world);
    }
    let acl = Acl::default();
    let rules: Vec<&[u8]> = data.split(|&byte| byte == b'\n').collect();
    if acl.set_user(b"u", &rules, world).is_err() {
        assert!(acl.user(b"u").is_none());
        return;
    }
    let once = told(&acl.user(b"u").expect("it was made"));
    let made_of = |words: &[u8]| {
        let words: Vec<&[u8]> = words.split(|&byte| byte == b' ').collect();
        acl.set_user(b"again", &[&[&b"reset"[..]], &words[..]].concat(), world)
            .expect("what was told is accepted");
        told(&acl.user(b"again").expect("it was made"))
    };
    let twice = made_of(&once.0);
    assert_eq!(once.1, twice.1, "{}", once.0.escape_ascii());
    // `~a %RW~*` is told as `~a ~*`, and that as `~*`.
    assert_eq!(twice, made_of(&twice.0));
});
